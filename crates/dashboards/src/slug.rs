//! Titles to the readable part of an address: lower-case ASCII letters and digits, joined by `-`.

/// Longest slug, in bytes.
const SLUG_LENGTH_MAX: usize = 80;

/// The readable part of a dashboard's address.
///
/// French accents lose their accent; everything else that is no letter or digit separates words.
/// A title without a single usable character gives `untitled`.
pub fn slug(title: &str) -> String {
    let mut slug = String::with_capacity(title.len().min(SLUG_LENGTH_MAX));
    for character in title.chars().flat_map(char::to_lowercase) {
        let plain = plain(character);
        if slug.len() + plain.len() > SLUG_LENGTH_MAX {
            break;
        }
        match plain {
            "" if slug.is_empty() || slug.ends_with('-') => {}
            "" => slug.push('-'),
            plain => slug.push_str(plain),
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { "untitled".to_owned() } else { slug.to_owned() }
}

/// A lower-case character without its accent; empty for what separates words.
fn plain(character: char) -> &'static str {
    const ASCII: &str = "0123456789abcdefghijklmnopqrstuvwxyz";
    if let Some(at) = ASCII.find(character) {
        return &ASCII[at..=at];
    }
    match character {
        'à' | 'á' | 'â' | 'ã' | 'ä' | 'å' => "a",
        'ç' => "c",
        'è' | 'é' | 'ê' | 'ë' => "e",
        'ì' | 'í' | 'î' | 'ï' => "i",
        'ñ' => "n",
        'ò' | 'ó' | 'ô' | 'õ' | 'ö' | 'ø' => "o",
        'ù' | 'ú' | 'û' | 'ü' => "u",
        'ý' | 'ÿ' => "y",
        'æ' => "ae",
        'œ' => "oe",
        'ß' => "ss",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_become_readable_addresses() {
        for (title, expected) in [
            ("API Overview", "api-overview"),
            ("  Slow queries (> 1s)  ", "slow-queries-1s"),
            ("Dépenses créées / validées", "depenses-creees-validees"),
            ("Cœur ÉLECTRIQUE", "coeur-electrique"),
            ("日本", "untitled"),
            ("", "untitled"),
            ("---", "untitled"),
        ] {
            assert_eq!(slug(title), expected, "{title}");
        }
        assert!(slug(&"é".repeat(500)).len() <= SLUG_LENGTH_MAX);
    }
}
