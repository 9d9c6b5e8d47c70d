//! RFC 3339 instants, to the nanosecond, as found in legacy pushes and inside log lines.

use vigie_model::civil::{days_in_month, days_of};

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Nanoseconds since the epoch of an RFC 3339 instant. Also takes what loggers write in its place:
/// an offset without the colon (`+0000`, Suricata), and a blank between date and time.
/// More than nine digits of a fraction are cut.
pub fn parse_rfc3339_ns(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let number = |from: usize, len: usize| -> Option<i64> {
        let digits = bytes.get(from..from + len)?;
        digits
            .iter()
            .try_fold(0, |value, b| b.is_ascii_digit().then(|| value * 10 + i64::from(b - b'0')))
    };
    let is = |at: usize, any: &[u8]| bytes.get(at).is_some_and(|b| any.contains(b));
    if !(is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":")) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    let in_range = (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !in_range {
        return None;
    }
    let (nanos, rest) = fraction(&bytes[19..]);
    let offset_s = offset_seconds(rest)?;
    let seconds = days_of(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    (seconds - offset_s).checked_mul(NANOS_PER_SECOND)?.checked_add(nanos)
}

/// The nanoseconds of `.123…` and what follows.
fn fraction(bytes: &[u8]) -> (i64, &[u8]) {
    if !matches!(bytes.first(), Some(b'.' | b',')) {
        return (0, bytes);
    }
    let digits = bytes[1..].iter().take_while(|b| b.is_ascii_digit()).count();
    let nanos = (0..9).fold(0, |value, at| {
        value * 10 + if at < digits { i64::from(bytes[1 + at] - b'0') } else { 0 }
    });
    (nanos, &bytes[1 + digits..])
}

fn offset_seconds(bytes: &[u8]) -> Option<i64> {
    let (sign, digits) = match bytes {
        [b'Z' | b'z'] => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let [a, b, c, d] = match *digits {
        [a, b, b':', c, d] | [a, b, c, d] => [a, b, c, d],
        _ => return None,
    };
    if ![a, b, c, d].iter().all(u8::is_ascii_digit) {
        return None;
    }
    let two = |tens: u8, ones: u8| i64::from(tens - b'0') * 10 + i64::from(ones - b'0');
    let (hours, minutes) = (two(a, b), two(c, d));
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}
