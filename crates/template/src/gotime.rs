//! Instants and durations as Go writes them.

use crate::moment::Moment;
use jiff::Zoned;
use std::fmt::Write;

/// The words of Go's layouts, in the order in which they are tried: longer ones before their prefixes.
const CHUNKS: [&str; 30] = [
    "January", "Jan", "Monday", "Mon", "MST", "2006", "Z07:00", "Z0700", "-07:00", "-0700", "-07",
    "002", "01", "02", "03", "04", "05", "06", "_2", "15", "PM", "pm", "1", "2", "3", "4", "5",
    ".000", ".999", ",000",
];

/// Formats an instant by a Go layout (`2006-01-02T15:04:05Z07:00`).
pub(crate) fn format_layout(at: &Zoned, layout: &str) -> String {
    let (mut out, mut rest) = (String::new(), layout);
    while let Some(first) = rest.chars().next() {
        if let Some(digits) = fraction_digits(rest, &out) {
            write_fraction(at, &rest[..digits + 1], &mut out);
            rest = &rest[digits + 1..];
        } else if let Some(chunk) = chunk(rest) {
            write_chunk(at, chunk, &mut out);
            rest = &rest[chunk.len()..];
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

/// The word of a layout that `rest` starts with; `Month` is no month.
pub(crate) fn chunk(rest: &str) -> Option<&'static str> {
    CHUNKS.into_iter().find(|chunk| {
        let goes_on = ["Jan", "Mon"].contains(chunk)
            && rest.as_bytes().get(3).is_some_and(u8::is_ascii_lowercase);
        rest.starts_with(chunk) && !goes_on
    })
}

/// How many `0` or `9` follow a point or comma right after the seconds; `None` when it is no fraction.
pub(crate) fn fraction_digits(rest: &str, before: &str) -> Option<usize> {
    let mut chars = rest.chars();
    if !matches!(chars.next(), Some('.' | ',')) || !before.ends_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let digit = chars.next().filter(|c| matches!(c, '0' | '9'))?;
    let count = rest[1..].chars().take_while(|c| *c == digit).count();
    let ends = !rest[1 + count..].starts_with(|c: char| c.is_ascii_digit());
    (ends && count <= 9).then_some(count)
}

fn write_fraction(at: &Zoned, chunk: &str, out: &mut String) {
    let digits = chunk.len() - 1;
    let nanos = format!("{:09}", at.subsec_nanosecond());
    let shown = &nanos[..digits];
    let shown = if chunk.ends_with('9') { shown.trim_end_matches('0') } else { shown };
    if !shown.is_empty() {
        out.push_str(&chunk[..1]);
        out.push_str(shown);
    }
}

fn write_chunk(at: &Zoned, chunk: &str, out: &mut String) {
    let hour12 = match at.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    // Writing to a text cannot fail.
    let _ = match chunk {
        "January" => out.write_str(MONTHS[at.month() as usize - 1]),
        "Jan" => out.write_str(&MONTHS[at.month() as usize - 1][..3]),
        "Monday" => out.write_str(weekday(at)),
        "Mon" => out.write_str(&weekday(at)[..3]),
        "MST" => out.write_str(&zone_name(at)),
        "2006" => write!(out, "{:04}", at.year()),
        "06" => write!(out, "{:02}", at.year() % 100),
        "01" => write!(out, "{:02}", at.month()),
        "1" => write!(out, "{}", at.month()),
        "02" => write!(out, "{:02}", at.day()),
        "_2" => write!(out, "{:>2}", at.day()),
        "2" => write!(out, "{}", at.day()),
        "002" => write!(out, "{:03}", at.day_of_year()),
        "15" => write!(out, "{:02}", at.hour()),
        "03" => write!(out, "{hour12:02}"),
        "3" => write!(out, "{hour12}"),
        "04" => write!(out, "{:02}", at.minute()),
        "4" => write!(out, "{}", at.minute()),
        "05" => write!(out, "{:02}", at.second()),
        "5" => write!(out, "{}", at.second()),
        "PM" => out.write_str(if at.hour() < 12 { "AM" } else { "PM" }),
        "pm" => out.write_str(if at.hour() < 12 { "am" } else { "pm" }),
        "Z07:00" | "Z0700" if at.offset().seconds() == 0 => out.write_str("Z"),
        "Z07:00" | "-07:00" => out.write_str(&offset(at, ":")),
        "Z0700" | "-0700" => out.write_str(&offset(at, "")),
        "-07" => out.write_str(&offset(at, "")[..3]),
        other => out.write_str(other),
    };
}

fn offset(at: &Zoned, separator: &str) -> String {
    let seconds = at.offset().seconds();
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.abs() / 60;
    format!("{sign}{:02}{separator}{:02}", minutes / 60, minutes % 60)
}

fn zone_name(at: &Zoned) -> String {
    // A zone that is only an offset has no letters; Go writes the offset.
    if at.time_zone().iana_name().is_none() && at.offset().seconds() != 0 {
        return offset(at, "");
    }
    at.time_zone().to_offset_info(at.timestamp()).abbreviation().to_owned()
}

pub(crate) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// The days' names, Sunday first.
pub(crate) const WEEKDAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

fn weekday(at: &Zoned) -> &'static str {
    WEEKDAYS[at.weekday().to_sunday_zero_offset() as usize]
}

/// Go's `Month.String()`, of 1 to 12.
pub(crate) fn month_name(month: i64) -> String {
    let name = usize::try_from(month - 1).ok().and_then(|at| MONTHS.get(at));
    name.map_or_else(|| format!("%!Month({month})"), ToString::to_string)
}

/// Go's `Weekday.String()`, of 0 to 6.
pub(crate) fn weekday_name(day: i64) -> String {
    let name = usize::try_from(day).ok().and_then(|at| WEEKDAYS.get(at));
    name.map_or_else(|| format!("%!Weekday({day})"), ToString::to_string)
}

/// Go's `Time.String()`.
pub(crate) fn format_time(at: &Zoned) -> String {
    format_layout(at, "2006-01-02 15:04:05.999999999 -0700 MST")
}

/// Milliseconds since the epoch as Go's `RFC3339Nano` in UTC: `2025-11-10T09:30:00.5Z`.
pub fn format_rfc3339_ms(ts_ms: i64) -> String {
    Moment::from_ns(ts_ms.saturating_mul(1_000_000)).format("2006-01-02T15:04:05.999999999Z07:00")
}

/// Milliseconds since the epoch of an HTTP date (`Fri, 31 Dec 1999 23:59:59 GMT`).
pub fn parse_retry_after_date(text: &str) -> Option<i64> {
    jiff::fmt::rfc2822::parse(text.trim()).ok().map(|at| at.timestamp().as_millisecond())
}

/// Go's `Duration.String()`: `1h0m0s`, `1.5s`, `100ms`.
pub(crate) fn format_duration(duration_ns: i64) -> String {
    let sign = if duration_ns < 0 { "-" } else { "" };
    let nanos = duration_ns.unsigned_abs();
    if nanos == 0 {
        return "0s".to_owned();
    }
    if nanos < 1_000_000_000 {
        let (unit, scale) = match nanos {
            0..1_000 => ("ns", 1),
            1_000..1_000_000 => ("µs", 1_000),
            _ => ("ms", 1_000_000),
        };
        return format!("{sign}{}{unit}", decimal(nanos, scale));
    }
    let (hours, minutes) = (nanos / 3_600_000_000_000, nanos / 60_000_000_000 % 60);
    let seconds = decimal(nanos % 60_000_000_000, 1_000_000_000);
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}

fn decimal(nanos: u64, scale: u64) -> String {
    let digits = scale.ilog10() as usize;
    let fraction = format!("{:0digits$}", nanos % scale);
    let fraction = if digits == 0 { "" } else { fraction.trim_end_matches('0') };
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{}{point}{fraction}", nanos / scale)
}
