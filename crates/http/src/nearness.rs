//! How near a name is to what somebody types: the three measures of Prometheus' search API.
//!
//! All scores lie between 0 (no match) and 1, and count characters. [`substring`] is 1 at the start
//! of a name and falls to 0.1 at its end. [`subsequence`] wants all characters in order and likes
//! them in runs: the sum of the squares of the runs, less every gap as a part of the name (the one
//! at the end by half), as a part of the square of what is typed. [`jaro_winkler`] is the measure of
//! that name (W. E. Winkler, 1990) with its usual 0.1 for each of the first four characters.

/// What is left of a score that is not of the same text.
const NOT_THE_SAME: f64 = 0.999;
/// What the first characters that agree add.
const PREFIX_SCALE: f64 = 0.1;
/// How many of them count.
const PREFIX_MAX: usize = 4;

/// `None` when `typed` does not stand in `name`.
pub fn substring(typed: &str, name: &str) -> Option<f64> {
    let at = name.find(typed)?;
    let count = |text: &str| text.chars().count() as f64;
    let last = count(name) - count(typed);
    if at == 0 || last <= 0.0 {
        return Some(1.0);
    }
    Some(1.0 - 0.9 * count(&name[..at]) / last)
}

/// 0 when the characters of `typed` do not stand in `name` in order.
pub fn subsequence(typed: &str, name: &str) -> f64 {
    if typed.is_empty() || typed == name {
        return 1.0;
    }
    let (typed, name): (Vec<char>, Vec<char>) = (typed.chars().collect(), name.chars().collect());
    if typed.len() > name.len() {
        return 0.0;
    }
    let mut best = -1.0_f64;
    for start in 0..=name.len() - typed.len() {
        if name[start] != typed[0] {
            continue;
        }
        match runs_from(start, &typed, &name) {
            Some(score) => best = best.max(score),
            // What cannot be completed from here cannot be from later either.
            None => break,
        }
    }
    if best < 0.0 { 0.0 } else { best / (typed.len() * typed.len()) as f64 * NOT_THE_SAME }
}

/// The score of the greedy match that starts at `start`.
fn runs_from(start: usize, typed: &[char], name: &[char]) -> Option<f64> {
    let part = 1.0 / name.len() as f64;
    let (mut score, mut matched, mut end) = (0.0, 0, 0);
    let mut from = start;
    while matched < typed.len() {
        from += name[from..].iter().position(|c| *c == typed[matched])?;
        let same = name[from..].iter().zip(&typed[matched..]);
        let run = same.take_while(|(a, b)| a == b).count();
        score += (run * run) as f64 - (from - end) as f64 * part;
        matched += run;
        from += run;
        end = from;
    }
    Some(score - (name.len() - end) as f64 * part * 0.5)
}

/// 1 for the same text, 0 when no character agrees.
pub fn jaro_winkler(a: &str, b: &str) -> f64 {
    if a == b {
        return 1.0;
    }
    let (mut short, mut long): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if short.len() > long.len() {
        std::mem::swap(&mut short, &mut long);
    }
    let reach = (long.len() / 2).saturating_sub(1);
    let mut taken = vec![false; long.len()];
    let mut met = Vec::new();
    for (at, c) in short.iter().enumerate() {
        let window = at.saturating_sub(reach)..(at + reach + 1).min(long.len());
        if let Some(other) = window.into_iter().find(|other| !taken[*other] && long[*other] == *c) {
            taken[other] = true;
            met.push(*c);
        }
    }
    if met.is_empty() {
        return 0.0;
    }
    let others = long.iter().zip(&taken).filter(|(_, taken)| **taken).map(|(c, _)| c);
    let moved = met.iter().zip(others).filter(|(a, b)| a != b).count() as f64;
    let matches = met.len() as f64;
    let parts = matches / short.len() as f64 + matches / long.len() as f64;
    let jaro = (parts + (matches - moved * 0.5) / matches) / 3.0;
    let prefix = short.iter().zip(&long).take(PREFIX_MAX).take_while(|(a, b)| a == b).count();
    jaro + prefix as f64 * PREFIX_SCALE * (1.0 - jaro)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cases of upstream's tests (`util/strutil`), and of the definitions.
    #[test]
    fn names_are_as_near_as_upstream_has_them() {
        for (typed, name, wanted) in [
            ("", "anything", 1.0),
            ("abc", "", 0.0),
            ("my awesome text", "my awesome text", 1.0),
            ("my", "my awesome text", 107.0 / 120.0 * 0.999),
            ("tex", "my awesome text", 247.0 / 270.0 * 0.999),
            ("met", "my awesome text", 43.0 / 90.0 * 0.999),
            ("bac", "babac", 43.0 / 45.0 * 0.999),
            ("xyz", "abc", 0.0),
            ("ab", "ba", 0.0),
            ("é", "cafés", (1.0 - 3.0 / 5.0 - 0.5 / 5.0) * 0.999),
        ] {
            let score = subsequence(typed, name);
            assert!((score - wanted).abs() < 1e-12, "{typed} in {name}: {score}, not {wanted}");
        }
        for (a, b, least, most) in [
            ("prometheus", "prometheus", 1.0, 1.0),
            ("", "abc", 0.0, 0.0),
            ("abc", "xyz", 0.0, 0.01),
            ("mimir", "mimer", 0.90, 0.92),
            ("martha", "marhta", 0.96, 0.97),
            ("dwayne", "duane", 0.83, 0.85),
            ("dixon", "dicksonx", 0.81, 0.83),
            ("a", "b", 0.0, 0.0),
            ("café", "cafe", 0.88, 0.89),
            ("résumé", "resume", 0.79, 0.81),
            ("màrthà", "màrhtà", 0.96, 0.97),
            ("naïve_long", "naïve", 0.89, 0.91),
        ] {
            for score in [jaro_winkler(a, b), jaro_winkler(b, a)] {
                assert!((least..=most).contains(&score), "{a}, {b}: {score}");
            }
        }
        for (typed, name, wanted) in [
            ("", "x", Some(1.0)),
            ("up", "up_total", Some(1.0)),
            ("b", "ab", Some(0.1)),
            ("b", "éb", Some(0.1)),
            ("b", "abc", Some(0.55)),
            ("z", "abc", None),
        ] {
            let score = substring(typed, name).map(|score| (score * 1e6).round() / 1e6);
            assert_eq!(score, wanted, "{typed} in {name}");
        }
    }
}
