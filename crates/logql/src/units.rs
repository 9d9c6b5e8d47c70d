//! Numbers, durations and sizes in Go's and Loki's text forms, both ways.
//!
//! Loki reads label values with Go's `time.ParseDuration`, `strconv.ParseFloat` and the
//! `go-humanize` library, and prints queries with their counterparts.
//! Error texts are theirs: they reach users through `__error_details__`.

use vigie_model::go_quote;

/// Nanoseconds of Go's duration units.
const GO_UNITS: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("μs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3600e9),
];

/// Go's `time.ParseDuration`, in nanoseconds.
pub fn parse_go_duration_ns(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {}", go_quote(text));
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total_ns = 0i128;
    while !rest.is_empty() {
        let number = rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        let digits = rest[..number].bytes().filter(u8::is_ascii_digit).count();
        if digits == 0 || rest[..number].matches('.').count() > 1 {
            return Err(invalid());
        }
        let unit_bytes = rest[number..]
            .find(|c: char| c == '.' || c.is_ascii_digit())
            .unwrap_or(rest.len() - number);
        let unit = &rest[number..number + unit_bytes];
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {}", go_quote(text)));
        }
        let Some((_, unit_ns)) = GO_UNITS.iter().find(|(name, _)| *name == unit) else {
            let (unit, whole) = (go_quote(unit), go_quote(text));
            return Err(format!("time: unknown unit {unit} in duration {whole}"));
        };
        total_ns += scaled_ns(&rest[..number], *unit_ns).ok_or_else(invalid)?;
        if total_ns > i64::MAX as i128 {
            return Err(invalid());
        }
        rest = &rest[number + unit_bytes..];
    }
    Ok(if negative { -total_ns as i64 } else { total_ns as i64 })
}

/// `1.5` × unit without losing whole nanoseconds to floating point.
fn scaled_ns(number: &str, unit_ns: f64) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse::<i64>().ok()?.into() };
    let fraction: f64 =
        if fraction.is_empty() { 0.0 } else { format!("0.{fraction}").parse().ok()? };
    Some(whole * unit_ns as i128 + (fraction * unit_ns) as i128)
}

/// Go's `time.Duration.String`.
pub fn format_go_duration(duration_ns: i64) -> String {
    let sign = if duration_ns < 0 { "-" } else { "" };
    let ns = duration_ns.unsigned_abs();
    if ns == 0 {
        return "0s".to_owned();
    }
    if ns < 1_000_000_000 {
        let (unit, scale) = match ns {
            0..1_000 => ("ns", 1),
            1_000..1_000_000 => ("µs", 1_000),
            _ => ("ms", 1_000_000),
        };
        return format!("{sign}{}{unit}", decimal(ns, scale));
    }
    let (minutes, rest_ns) = (ns / 60_000_000_000, ns % 60_000_000_000);
    let seconds = decimal(rest_ns, 1_000_000_000);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}

/// `value / scale` in decimal, without trailing zeros.
fn decimal(value: u64, scale: u64) -> String {
    let (whole, rest) = (value / scale, value % scale);
    if rest == 0 {
        return whole.to_string();
    }
    let width = scale.ilog10() as usize;
    format!("{whole}.{}", format!("{rest:0width$}").trim_end_matches('0'))
}

/// A duration as a query writes it: Prometheus' units first, then Go's.
pub fn parse_query_duration_ns(text: &str) -> Option<i64> {
    match vigie_model::duration::parse_duration_ms(text) {
        Ok(ms) => ms.checked_mul(1_000_000),
        Err(_) => parse_go_duration_ns(text).ok(),
    }
}

/// `go-humanize`'s `ParseBytes`.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let number_bytes =
        text.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.' || *b == b',').count();
    let number = text[..number_bytes].replace(',', "");
    let value = parse_go_float(&number)?;
    let unit = text[number_bytes..].trim().to_lowercase();
    let scale = byte_scale(&unit).ok_or_else(|| format!("unhandled size name: {unit}"))?;
    let size = value * scale;
    if size >= u64::MAX as f64 {
        return Err(format!("too large: {text}"));
    }
    Ok(size as u64)
}

/// Bytes in a unit, written in lower case.
fn byte_scale(unit: &str) -> Option<f64> {
    let (prefix, base): (&str, f64) = match unit {
        "" | "b" => return Some(1.0),
        _ => match unit.strip_suffix("ib").or_else(|| unit.strip_suffix('i')) {
            Some(prefix) => (prefix, 1024.0),
            None => (unit.strip_suffix('b').unwrap_or(unit), 1000.0),
        },
    };
    let power = match prefix {
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        "e" => 6,
        _ => return None,
    };
    Some(base.powi(power))
}

/// `go-humanize`'s `Bytes` without its space: `1.0kB`, `20MB`.
pub fn format_bytes(size_bytes: u64) -> String {
    const NAMES: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if size_bytes < 10 {
        return format!("{size_bytes}B");
    }
    let power = (size_bytes as f64).log(1000.0).floor() as usize;
    let value = size_bytes as f64 / 1000f64.powi(power as i32);
    let value = (value * 10.0 + 0.5).floor() / 10.0;
    if value < 10.0 {
        format!("{value:.1}{}", NAMES[power])
    } else {
        format!("{value:.0}{}", NAMES[power])
    }
}

/// Go's `strconv.ParseFloat(text, 64)`.
pub fn parse_go_float(text: &str) -> Result<f64, String> {
    let error = || format!("strconv.ParseFloat: parsing {}: invalid syntax", go_quote(text));
    let plain = text.trim_start_matches(['+', '-']);
    if text.len() - plain.len() > 1 {
        return Err(error());
    }
    if ["inf", "infinity", "nan"].iter().any(|word| plain.eq_ignore_ascii_case(word)) {
        return text.parse().map_err(|_| error());
    }
    if let Some(value) = hexadecimal(plain) {
        return Ok(if text.starts_with('-') { -value } else { value });
    }
    let digits = match plain.contains('_') {
        false => text.to_owned(),
        true if underscores_separate_digits(plain) => text.replace('_', ""),
        true => return Err(error()),
    };
    let shaped = plain
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-' | b'_'));
    if !shaped {
        return Err(error());
    }
    let value: f64 = digits.parse().map_err(|_| error())?;
    if value.is_infinite() {
        return Err(format!("strconv.ParseFloat: parsing {}: value out of range", go_quote(text)));
    }
    Ok(value)
}

/// `0x1.8p3`: hexadecimal digits always come with a binary exponent.
fn hexadecimal(text: &str) -> Option<f64> {
    let body = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
    let (digits, exponent) = body.split_once(['p', 'P'])?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mantissa = u64::from_str_radix(&format!("{whole}{fraction}"), 16).ok()?;
    let exponent: i32 = exponent.parse().ok()?;
    Some(mantissa as f64 * 2f64.powi(exponent.checked_sub(4 * fraction.len() as i32)?))
}

fn underscores_separate_digits(text: &str) -> bool {
    let bytes = text.as_bytes();
    (0..bytes.len()).filter(|at| bytes[*at] == b'_').all(|at| {
        at > 0
            && bytes[at - 1].is_ascii_digit()
            && bytes.get(at + 1).is_some_and(u8::is_ascii_digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_parse_and_print() {
        for (text, ns) in [
            ("0", 0),
            ("1.5s", 1_500_000_000),
            ("1h30m", 5_400_000_000_000),
            ("-1s", -1_000_000_000),
            ("1us", 1_000),
            ("1µs", 1_000),
            ("16.652862ms", 16_652_862),
        ] {
            assert_eq!(parse_go_duration_ns(text), Ok(ns), "{text}");
        }
        for (text, error) in [
            ("100", "time: missing unit in duration \"100\""),
            ("1d", "time: unknown unit \"d\" in duration \"1d\""),
            ("abc", "time: invalid duration \"abc\""),
            ("", "time: invalid duration \"\""),
        ] {
            assert_eq!(parse_go_duration_ns(text), Err(error.to_owned()));
        }
        for (ns, text) in [
            (0, "0s"),
            (1_500_000_000, "1.5s"),
            (5_400_000_000_000, "1h30m0s"),
            (60_000_000_000, "1m0s"),
            (1_000, "1µs"),
            (16_652_862, "16.652862ms"),
            (-1_000_000_000, "-1s"),
        ] {
            assert_eq!(format_go_duration(ns), text);
        }
    }

    #[test]
    fn sizes_and_floats_parse_as_go_does() {
        for (text, size) in [("1KB", 1000), ("1KiB", 1024), ("100", 100), ("10 MB", 10_000_000)] {
            assert_eq!(parse_bytes(text), Ok(size), "{text}");
        }
        assert!(parse_bytes("-1KB").is_err());
        for (size, text) in [(1000, "1.0kB"), (20_000_000, "20MB"), (1, "1B"), (1 << 40, "1.1TB")] {
            assert_eq!(format_bytes(size), text);
        }
        for text in ["1e3", "+3", ".5", "5.", "1_000", "-0", "Inf", "nan"] {
            assert!(parse_go_float(text).is_ok(), "{text}");
        }
        for text in ["0x10", " 7", "abc", "", "1__0", "--1"] {
            assert!(parse_go_float(text).is_err(), "{text}");
        }
    }
}
