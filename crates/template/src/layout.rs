//! Reads a text by one of Go's layouts (`time.ParseInLocation`).

use crate::gotime::{self, MONTHS, WEEKDAYS};
use jiff::Zoned;
use jiff::civil::{date, time};
use jiff::tz::{Offset, TimeZone};

/// The instant that `text` names; `None` when it does not fit the layout.
pub(crate) fn parse(layout: &str, text: &str, zone: TimeZone) -> Option<Zoned> {
    let mut found = Found::default();
    let (mut layout, mut text, mut before) = (layout, text, String::new());
    while let Some(c) = layout.chars().next() {
        if let Some(digits) = gotime::fraction_digits(layout, &before) {
            if text.starts_with(['.', ',']) {
                text = found.fraction(text)?;
            }
            before.push_str(&layout[..digits + 1]);
            layout = &layout[digits + 1..];
        } else if let Some(piece) = gotime::chunk(layout) {
            text = found.read(piece, text)?;
            before.push_str(piece);
            layout = &layout[piece.len()..];
            // Go takes a fraction behind the seconds even if the layout has none.
            let seconds = matches!(piece, "05" | "5") && text.starts_with(['.', ',']);
            if seconds && gotime::fraction_digits(layout, &before).is_none() {
                text = found.fraction(text)?;
            }
        } else {
            text = text.strip_prefix(c)?;
            before.push(c);
            layout = &layout[c.len_utf8()..];
        }
    }
    if text.is_empty() { found.time(zone) } else { None }
}

/// What a text said so far.
#[derive(Default)]
struct Found {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    year_day: Option<i64>,
    hour: i64,
    minute: i64,
    second: i64,
    nanos: i32,
    afternoon: Option<bool>,
    offset_seconds: Option<i32>,
}

impl Found {
    fn read<'a>(&mut self, piece: &str, text: &'a str) -> Option<&'a str> {
        let width = match piece {
            "2006" => 4,
            "002" => 3,
            "06" | "01" | "02" | "03" | "04" | "05" => 2,
            "1" | "2" | "_2" | "3" | "4" | "5" | "15" => {
                let text = if piece == "_2" { text.trim_start_matches(' ') } else { text };
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
            "2006" => self.year = Some(value),
            "06" => self.year = Some(if value < 69 { 2000 + value } else { 1900 + value }),
            "01" | "1" => self.month = Some(value),
            "02" | "2" | "_2" => self.day = Some(value),
            "002" => self.year_day = Some(value),
            "15" | "03" | "3" => self.hour = value,
            "04" | "4" => self.minute = value,
            _ => self.second = value,
        }
        Some(())
    }

    fn word<'a>(&mut self, piece: &str, text: &'a str) -> Option<&'a str> {
        let starts = |name: &str| {
            text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
        };
        match piece {
            "January" | "Jan" => {
                let name = |full: &'static str| if piece == "Jan" { &full[..3] } else { full };
                let at = MONTHS.iter().position(|month| starts(name(month)))?;
                self.month = Some(at as i64 + 1);
                Some(&text[name(MONTHS[at]).len()..])
            }
            "Monday" | "Mon" => {
                let name = |full: &'static str| if piece == "Mon" { &full[..3] } else { full };
                let day = WEEKDAYS.iter().find(|day| starts(name(day)))?;
                Some(&text[name(day).len()..])
            }
            "PM" | "pm" => {
                self.afternoon = Some(match text.get(..2)? {
                    "PM" | "pm" => true,
                    "AM" | "am" => false,
                    _ => return None,
                });
                Some(&text[2..])
            }
            // A zone's letters say nothing without its tables: Go takes them with an offset of 0.
            "MST" => {
                let letters = text.bytes().take_while(u8::is_ascii_uppercase).count();
                (3..=5).contains(&letters).then(|| &text[letters..])
            }
            _ => self.offset(piece, text),
        }
    }

    fn offset<'a>(&mut self, piece: &str, text: &'a str) -> Option<&'a str> {
        if piece.starts_with('Z') && text.starts_with('Z') {
            self.offset_seconds = Some(0);
            return Some(&text[1..]);
        }
        let sign = if text.starts_with('-') { -1 } else { 1 };
        let body = text.strip_prefix(['+', '-'])?;
        let hours: i32 = body.get(..2)?.parse().ok()?;
        let (minutes, rest) = if piece == "-07" {
            (0, &body[2..])
        } else {
            let after = &body[2..];
            let after = if piece.contains(':') { after.strip_prefix(':')? } else { after };
            (after.get(..2)?.parse::<i32>().ok()?, &after[2..])
        };
        self.offset_seconds = Some(sign * (hours * 3600 + minutes * 60));
        Some(rest)
    }

    fn fraction<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        let digits = text[1..].bytes().take_while(u8::is_ascii_digit).count();
        let shown = &text[1..1 + digits.min(9)];
        self.nanos = format!("{shown:0<9}").parse().ok()?;
        Some(&text[1 + digits..])
    }

    fn time(&self, zone: TimeZone) -> Option<Zoned> {
        let hour = match self.afternoon {
            Some(true) if self.hour < 12 => self.hour + 12,
            Some(false) if self.hour == 12 => 0,
            _ => self.hour,
        };
        let small = |value: i64| i8::try_from(value).ok();
        let year = i16::try_from(self.year.unwrap_or(0)).ok()?;
        let day = match self.year_day {
            Some(day) if self.month.is_none() && self.day.is_none() => {
                date(year, 1, 1).with().day_of_year(i16::try_from(day).ok()?).build().ok()?
            }
            _ => jiff::civil::Date::new(
                year,
                small(self.month.unwrap_or(1))?,
                small(self.day.unwrap_or(1))?,
            )
            .ok()?,
        };
        let fits = (0..24).contains(&hour)
            && (0..60).contains(&self.minute)
            && (0..60).contains(&self.second);
        if !fits {
            return None;
        }
        let clock = time(small(hour)?, small(self.minute)?, small(self.second)?, self.nanos);
        let zone = match self.offset_seconds {
            None => zone,
            Some(0) => TimeZone::UTC,
            Some(seconds) => TimeZone::fixed(Offset::from_seconds(seconds).ok()?),
        };
        day.to_datetime(clock).to_zoned(zone).ok()
    }
}
