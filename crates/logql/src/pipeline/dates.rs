//! Times in templates: Go's layouts over UTC.
//!
//! gotmpl has no value of the kind "time", so a time travels from function to function as the text
//! that Go prints for it (`2026-01-01 00:00:00 +0000 UTC`); a template that prints it is right, and
//! the functions here read it back. Only UTC is known: there are no zone tables without IO.

use vigie_model::civil::{date_of, days_of};

/// A time: seconds since the epoch and nanoseconds in the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Time {
    seconds: i64,
    nanos: u32,
}

/// Go's zero time, which failed conversions give.
const ZERO: Time = Time { seconds: -62_135_596_800, nanos: 0 };
const MONTHS: [&str; 12] = [
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
const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
/// Pieces of a layout, those that contain others first.
const PIECES: [&str; 25] = [
    "January", "Jan", "Monday", "Mon", "MST", "2006", "-07:00", "-0700", "-07", "Z07:00", "Z0700",
    "_2", "01", "02", "03", "04", "05", "06", "15", "PM", "pm", "1", "2", "3", "4",
];

impl Time {
    /// The time of a timestamp in nanoseconds.
    pub(super) fn from_ns(ts_ns: i64) -> Time {
        let nanos = ts_ns.rem_euclid(1_000_000_000);
        Time { seconds: ts_ns.div_euclid(1_000_000_000), nanos: nanos as u32 }
    }

    /// Nanoseconds since the epoch, saturating.
    pub(super) fn ns(self) -> i64 {
        self.seconds.saturating_mul(1_000_000_000).saturating_add(self.nanos.into())
    }

    /// Year, month, day.
    fn civil(self) -> (i64, usize, u32) {
        let (year, month, day) = date_of(self.seconds.div_euclid(86_400));
        (year, month as usize, day as u32)
    }

    fn from_civil(year: i64, month: i64, day: i64, second: i64, nanos: u32) -> Time {
        Time { seconds: days_of(year, month, day) * 86_400 + second, nanos }
    }

    /// Go's `Time.String` of a UTC time.
    pub(super) fn to_text(self) -> String {
        let fraction = match self.nanos {
            0 => String::new(),
            nanos => format!(".{}", format!("{nanos:09}").trim_end_matches('0')),
        };
        format!("{}{fraction} +0000 UTC", self.format("2006-01-02 15:04:05"))
    }

    /// Reads what [`Time::to_text`] wrote.
    pub(super) fn from_text(text: &str) -> Option<Time> {
        let body = text.strip_suffix(" +0000 UTC")?;
        let (whole, fraction) = body.split_once('.').unwrap_or((body, ""));
        let nanos = format!("{fraction:0<9}").parse().ok()?;
        Some(Time { nanos, ..Time::parse("2006-01-02 15:04:05", whole)? })
    }

    /// sprig's `unixToTime`: the number of digits tells the unit.
    pub(super) fn from_epoch(text: &str) -> Result<Time, String> {
        let number: i64 = text.parse().map_err(|_| format!("unable to parse time '{text}'"))?;
        let scale: i64 = match text.len() {
            // Days, as Loki reads five digits.
            5 => return Ok(Time { seconds: number * 86_400, nanos: 0 }),
            10 => 1_000_000_000,
            13 => 1_000_000,
            16 => 1_000,
            19 => 1,
            _ => return Err(format!("unable to parse time '{text}': unknown unit")),
        };
        number.checked_mul(scale).map(Time::from_ns).ok_or_else(|| "time out of range".to_owned())
    }

    /// Go's `Time.Format`.
    pub(super) fn format(self, layout: &str) -> String {
        let mut out = String::new();
        let mut rest = layout;
        while let Some(c) = rest.chars().next() {
            if let Some(piece) = PIECES.iter().find(|piece| rest.starts_with(**piece)) {
                out.push_str(&self.piece(piece));
                rest = &rest[piece.len()..];
            } else if let Some(digits) = fraction_digits(rest) {
                let nanos = format!("{:09}", self.nanos);
                let shown = &nanos[..digits.min(9)];
                let optional = rest[1..].starts_with('9');
                let shown = if optional { shown.trim_end_matches('0') } else { shown };
                if !shown.is_empty() {
                    out.push(c);
                    out.push_str(shown);
                }
                rest = &rest[digits + 1..];
            } else {
                out.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
        out
    }

    fn piece(self, piece: &str) -> String {
        let (year, month, day) = self.civil();
        let second = self.seconds.rem_euclid(86_400);
        let hour = second / 3600;
        let hour_12 = if hour % 12 == 0 { 12 } else { hour % 12 };
        let weekday = DAYS[(self.seconds.div_euclid(86_400) + 4).rem_euclid(7) as usize];
        match piece {
            "2006" => format!("{year:04}"),
            "06" => format!("{:02}", year.rem_euclid(100)),
            "January" => MONTHS[month - 1].to_owned(),
            "Jan" => MONTHS[month - 1][..3].to_owned(),
            "01" => format!("{month:02}"),
            "1" => month.to_string(),
            "02" => format!("{day:02}"),
            "_2" => format!("{day:2}"),
            "2" => day.to_string(),
            "Monday" => weekday.to_owned(),
            "Mon" => weekday[..3].to_owned(),
            "15" => format!("{hour:02}"),
            "03" => format!("{hour_12:02}"),
            "3" => hour_12.to_string(),
            "04" => format!("{:02}", second / 60 % 60),
            "4" => (second / 60 % 60).to_string(),
            "05" => format!("{:02}", second % 60),
            "PM" => if hour < 12 { "AM" } else { "PM" }.to_owned(),
            "pm" => if hour < 12 { "am" } else { "pm" }.to_owned(),
            "MST" => "UTC".to_owned(),
            "-07:00" => "+00:00".to_owned(),
            "-0700" => "+0000".to_owned(),
            "-07" => "+00".to_owned(),
            _ => "Z".to_owned(),
        }
    }

    /// Go's `time.Parse`, or the zero time as `toDate` gives it for a text that does not fit.
    pub(super) fn parse_or_zero(layout: &str, text: &str) -> Time {
        Time::parse(layout, text).unwrap_or(ZERO)
    }

    fn parse(layout: &str, text: &str) -> Option<Time> {
        let mut found = Found::default();
        let (mut layout, mut text) = (layout, text);
        while let Some(c) = layout.chars().next() {
            if let Some(piece) = PIECES.iter().find(|piece| layout.starts_with(**piece)) {
                text = found.read(piece, text)?;
                layout = &layout[piece.len()..];
                // Go takes a fraction behind the seconds even if the layout has none.
                if *piece == "05" && text.starts_with('.') && fraction_digits(layout).is_none() {
                    text = found.fraction(text)?;
                }
            } else if let Some(digits) = fraction_digits(layout) {
                if text.starts_with('.') {
                    text = found.fraction(text)?;
                }
                layout = &layout[digits + 1..];
            } else {
                text = text.strip_prefix(c)?;
                layout = &layout[c.len_utf8()..];
            }
        }
        text.is_empty().then(|| found.time())?
    }
}

/// How many digits a fraction (`.000`, `.999`) at the start of a layout has.
fn fraction_digits(layout: &str) -> Option<usize> {
    let digits = layout.strip_prefix(['.', ','])?;
    let first = digits.chars().next().filter(|c| *c == '0' || *c == '9')?;
    let count = digits.chars().take_while(|c| *c == first).count();
    let ends = !digits[count..].starts_with(|c: char| c.is_ascii_digit());
    ends.then_some(count)
}

/// What a text said so far.
#[derive(Default)]
struct Found {
    year: i64,
    month: Option<i64>,
    day: Option<i64>,
    hour: i64,
    minute: i64,
    second: i64,
    nanos: u32,
    afternoon: Option<bool>,
    offset_seconds: i64,
}

impl Found {
    fn read<'a>(&mut self, piece: &str, text: &'a str) -> Option<&'a str> {
        let width = match piece {
            "2006" => 4,
            "06" | "01" | "02" | "03" | "04" | "05" | "15" => 2,
            "1" | "2" | "_2" | "3" | "4" => {
                let text = text.trim_start_matches(' ');
                let digits = text.bytes().take(2).take_while(u8::is_ascii_digit).count();
                self.number(piece, text.get(..digits)?)?;
                return Some(&text[digits..]);
            }
            _ => return self.word(piece, text),
        };
        self.number(piece, text.get(..width)?)?;
        Some(&text[width..])
    }

    fn number(&mut self, piece: &str, digits: &str) -> Option<()> {
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let value: i64 = digits.parse().ok()?;
        match piece {
            "2006" => self.year = value,
            "06" => self.year = if value < 69 { 2000 + value } else { 1900 + value },
            "01" | "1" => self.month = Some(value),
            "02" | "2" | "_2" => self.day = Some(value),
            "15" | "03" | "3" => self.hour = value,
            "04" | "4" => self.minute = value,
            _ => self.second = value,
        }
        Some(())
    }

    fn word<'a>(&mut self, piece: &str, text: &'a str) -> Option<&'a str> {
        match piece {
            "January" | "Jan" => {
                let short = piece == "Jan";
                let name = |name: &'static str| if short { &name[..3] } else { name };
                let at = MONTHS.iter().position(|month| text.starts_with(name(month)))?;
                self.month = Some(at as i64 + 1);
                Some(&text[name(MONTHS[at]).len()..])
            }
            "Monday" | "Mon" => {
                let short = piece == "Mon";
                let name = |name: &'static str| if short { &name[..3] } else { name };
                let day = DAYS.iter().find(|day| text.starts_with(name(day)))?;
                Some(&text[name(day).len()..])
            }
            "PM" | "pm" => {
                self.afternoon = Some(text.get(..2)?.eq_ignore_ascii_case("pm"));
                Some(&text[2..])
            }
            "MST" => text.strip_prefix("UTC").or_else(|| text.strip_prefix("GMT")),
            _ => self.offset(piece, text),
        }
    }

    fn offset<'a>(&mut self, piece: &str, text: &'a str) -> Option<&'a str> {
        if piece.starts_with('Z') && text.starts_with('Z') {
            return Some(&text[1..]);
        }
        let sign = if text.starts_with('-') { -1 } else { 1 };
        let body = text.strip_prefix(['+', '-'])?;
        let hours: i64 = body.get(..2)?.parse().ok()?;
        let (minutes, rest) = match piece {
            "-07" => (0, &body[2..]),
            _ => {
                let after = body[2..].strip_prefix(':').unwrap_or(&body[2..]);
                (after.get(..2)?.parse::<i64>().ok()?, &after[2..])
            }
        };
        self.offset_seconds = sign * (hours * 3600 + minutes * 60);
        Some(rest)
    }

    fn fraction<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        let digits = text[1..].bytes().take_while(u8::is_ascii_digit).count();
        let shown = &text[1..1 + digits.min(9)];
        self.nanos = format!("{shown:0<9}").parse().ok()?;
        Some(&text[1 + digits..])
    }

    fn time(&self) -> Option<Time> {
        let (month, day) = (self.month.unwrap_or(1), self.day.unwrap_or(1));
        let hour = match self.afternoon {
            Some(true) if self.hour < 12 => self.hour + 12,
            Some(false) if self.hour == 12 => 0,
            _ => self.hour,
        };
        let fits = (1..=12).contains(&month)
            && (1..=31).contains(&day)
            && (0..24).contains(&hour)
            && (0..60).contains(&self.minute)
            && (0..60).contains(&self.second);
        let second = hour * 3600 + self.minute * 60 + self.second - self.offset_seconds;
        fits.then(|| Time::from_civil(self.year, month, day, second, self.nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_print_and_parse_in_gos_layouts() {
        let time = Time::from_ns(1_767_225_600_123_000_000);
        assert_eq!(time.to_text(), "2026-01-01 00:00:00.123 +0000 UTC");
        assert_eq!(Time::from_text(&time.to_text()), Some(time));
        for (layout, text) in [
            ("2006-01-02", "2026-01-01"),
            ("15:04:05.000", "00:00:00.123"),
            ("Mon, 02 Jan 2006 15:04:05 MST", "Thu, 01 Jan 2026 00:00:00 UTC"),
            ("2006-01-02T15:04:05.999999999Z07:00", "2026-01-01T00:00:00.123Z"),
            ("3:04PM", "12:00AM"),
        ] {
            assert_eq!(time.format(layout), text);
        }
        let parsed = Time::parse_or_zero("2006-01-02T15:04:05Z07:00", "2026-01-01T02:00:00+02:00");
        assert_eq!(parsed, Time::from_ns(1_767_225_600_000_000_000));
        assert_eq!(Time::parse_or_zero("2006", "x").to_text(), "0001-01-01 00:00:00 +0000 UTC");
        assert_eq!(
            Time::from_epoch("1679577215").map(|t| t.format("2006-01-02")).unwrap(),
            "2023-03-23"
        );
    }
}
