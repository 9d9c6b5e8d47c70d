//! Prometheus' durations (`model.ParseDuration` of prometheus/common): `1h30m`, units from long to
//! short, each at most once, whole numbers only.

use crate::go_quote;

/// Milliseconds in each unit, longest first.
const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 24 * 3600 * 1000),
    ("w", 7 * 24 * 3600 * 1000),
    ("d", 24 * 3600 * 1000),
    ("h", 3600 * 1000),
    ("m", 60 * 1000),
    ("s", 1000),
    ("ms", 1),
];

/// Milliseconds of a duration text. The error is Prometheus' text.
pub fn parse_duration_ms(text: &str) -> Result<i64, String> {
    let invalid = || format!("not a valid duration string: {}", go_quote(text));
    if text.is_empty() {
        return Err("empty duration string".to_owned());
    }
    if text == "0" {
        return Ok(0);
    }
    let (mut rest, mut next_unit, mut total_ms) = (text, 0, 0i64);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let unit_end = rest[digits..].find(|c: char| c.is_ascii_digit());
        let unit = &rest[digits..unit_end.map_or(rest.len(), |end| digits + end)];
        if digits == 0 || unit.is_empty() {
            return Err(invalid());
        }
        let Some(at) = UNITS.iter().position(|(name, _)| *name == unit) else {
            return Err(format!("unknown unit {} in duration {}", go_quote(unit), go_quote(text)));
        };
        if at < next_unit {
            return Err(invalid());
        }
        let count: i64 = rest[..digits].parse().map_err(|_| "duration out of range".to_owned())?;
        total_ms = count
            .checked_mul(UNITS[at].1)
            .and_then(|part_ms| total_ms.checked_add(part_ms))
            .filter(|ms| *ms <= i64::MAX / 1_000_000)
            .ok_or_else(|| "duration out of range".to_owned())?;
        next_unit = at + 1;
        rest = &rest[digits + unit.len()..];
    }
    Ok(total_ms)
}

/// The shortest text that Prometheus would print: `1h30m`, `15s`, `0s`.
pub fn format_duration_ms(duration_ms: i64) -> String {
    if duration_ms == 0 {
        return "0s".to_owned();
    }
    let (mut rest, mut text) = (duration_ms.abs(), String::new());
    if duration_ms < 0 {
        text.push('-');
    }
    for (name, unit_ms) in UNITS {
        // Years and weeks only when nothing is left over, as `model.Duration.String` does.
        let exact_only = name == "y" || name == "w";
        if rest >= unit_ms && (!exact_only || rest % unit_ms == 0) {
            text.push_str(&format!("{}{name}", rest / unit_ms));
            rest %= unit_ms;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_parse_and_print_as_prometheus_does() {
        for (text, ms) in [
            ("0", 0),
            ("15s", 15_000),
            ("1h30m", 5_400_000),
            ("1d", 86_400_000),
            ("7d", 604_800_000),
            ("100ms", 100),
            ("1m500ms", 60_500),
        ] {
            assert_eq!(parse_duration_ms(text), Ok(ms), "{text}");
        }
        for text in ["", "1", "1.5h", "1m1h", "-1m", "1M", "5mm", "1h1h", " 1m", "99999999999999y"]
        {
            assert!(parse_duration_ms(text).is_err(), "{text}");
        }
        for (text, error) in [
            ("5é", r#"unknown unit "é" in duration "5é""#),
            ("1m2", r#"not a valid duration string: "1m2""#),
            ("1m1h", r#"not a valid duration string: "1m1h""#),
        ] {
            assert_eq!(parse_duration_ms(text), Err(error.to_owned()));
        }
        for (ms, text) in [
            (0, "0s"),
            (15_000, "15s"),
            (5_400_000, "1h30m"),
            (604_800_000, "1w"),
            (691_200_000, "8d"),
            (-500, "-500ms"),
        ] {
            assert_eq!(format_duration_ms(ms), text);
        }
    }
}
