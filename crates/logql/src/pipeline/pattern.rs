//! Loki's patterns: literals and captures (`<ip> - <user> <_>`), as a parser and as a line filter.

use memchr::memmem;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Vec<u8>),
    /// A capture; `None` for `<_>`.
    Capture(Option<String>),
}

/// A parsed pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Part>,
}

impl Pattern {
    /// For `| pattern`: at least one named capture, none twice, none side by side.
    pub fn parser(text: &str) -> Result<Pattern, String> {
        let pattern = Pattern::split(text);
        let names: Vec<&String> = pattern.names().collect();
        if names.is_empty() && !pattern.has_captures_side_by_side() {
            return Err("at least one capture is required".to_owned());
        }
        pattern.check_neighbours()?;
        for (at, name) in names.iter().enumerate() {
            if names[..at].contains(name) {
                return Err(format!("duplicate capture name ({name}): invalid expression"));
            }
        }
        Ok(pattern)
    }

    /// For `|>`: no named captures, none side by side.
    pub fn filter(text: &str) -> Result<Pattern, String> {
        let pattern = Pattern::split(text);
        if let Some(name) = pattern.names().next() {
            return Err(format!("named captures are not allowed: found '<{name}>'"));
        }
        pattern.check_neighbours()?;
        Ok(pattern)
    }

    fn split(text: &str) -> Pattern {
        let mut parts = Vec::new();
        let (mut literal, mut rest) = (String::new(), text);
        while let Some(c) = rest.chars().next() {
            if let Some(name) = capture_at(rest) {
                if !literal.is_empty() {
                    parts.push(Part::Literal(std::mem::take(&mut literal).into_bytes()));
                }
                parts.push(Part::Capture((name != "_").then(|| name.to_owned())));
                rest = &rest[name.len() + 2..];
            } else {
                literal.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.into_bytes()));
        }
        Pattern { parts }
    }

    fn names(&self) -> impl Iterator<Item = &String> {
        self.parts.iter().filter_map(|part| match part {
            Part::Capture(name) => name.as_ref(),
            Part::Literal(_) => None,
        })
    }

    fn has_captures_side_by_side(&self) -> bool {
        self.check_neighbours().is_err()
    }

    fn check_neighbours(&self) -> Result<(), String> {
        for pair in self.parts.windows(2) {
            if let [Part::Capture(left), Part::Capture(right)] = pair {
                let show = |name: &Option<String>| format!("<{}>", name.as_deref().unwrap_or("_"));
                return Err(format!(
                    "found consecutive capture '{}{}': invalid expression",
                    show(left),
                    show(right)
                ));
            }
        }
        Ok(())
    }

    /// The captures of a line. One whose end is not found takes the rest, and ends the match.
    pub fn captures<'a>(&'a self, line: &'a [u8], found: &mut dyn FnMut(&'a str, &'a [u8])) {
        let (mut parts, mut rest) = (self.parts.as_slice(), line);
        if line.is_empty() {
            return;
        }
        if let [Part::Literal(first), behind @ ..] = parts {
            let Some(after) = rest.strip_prefix(first.as_slice()) else { return };
            (parts, rest) = (behind, after);
        }
        while let [Part::Capture(name), behind @ ..] = parts {
            let end = match behind.first() {
                Some(Part::Literal(literal)) => {
                    memmem::find(rest, literal).map(|at| (at, at + literal.len()))
                }
                _ => None,
            };
            if let Some(name) = name {
                found(name, &rest[..end.map_or(rest.len(), |(at, _)| at)]);
            }
            let Some((_, after)) = end else { return };
            (parts, rest) = (&behind[1..], &rest[after..]);
        }
    }

    /// Whether a whole line has the pattern's shape; captures take at least one byte.
    pub fn matches(&self, line: &[u8]) -> bool {
        if line.is_empty() || self.parts.is_empty() {
            return line.is_empty() && self.parts.is_empty();
        }
        let mut at = 0;
        for (index, part) in self.parts.iter().enumerate() {
            let Part::Literal(literal) = part else { continue };
            match memmem::find(&line[at..], literal) {
                None => return false,
                Some(0) if index != 0 => return false,
                Some(found) => at += found + literal.len(),
            }
        }
        matches!(self.parts.last(), Some(Part::Capture(_))) == (at != line.len())
    }
}

/// The name of the capture at the start of `text`.
fn capture_at(text: &str) -> Option<&str> {
    let inside = text.strip_prefix('<')?;
    let end = inside.bytes().take_while(|b| *b == b'_' || b.is_ascii_alphanumeric()).count();
    let name = &inside[..end];
    let shaped = inside[end..].starts_with('>')
        && name.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic());
    shaped.then_some(name)
}
