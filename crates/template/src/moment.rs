//! Go's `time.Time`, `time.Duration`, `time.Month` and `time.Weekday` as values of a template.
//!
//! The engine has no value of these kinds, so each is a map that names its type; the
//! methods that a template may call on one are found by name ([`method`]).
//! A method that gives two results in Go (`Date`, `Clock`, `ISOWeek`, `Zone`) is an error there, and
//! here too.
//!
//! Zones are looked up by name in the machine's own tables, as Go does; `Local` is UTC, because
//! that is what the originals run in.

use crate::data::{self, TYPE, nanoseconds, type_of};
use crate::gotime;
use crate::methods::error;
use gotmpl::{TemplateError, Value};
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, Zoned};

type Answer = Result<Value, TemplateError>;

/// Seconds of Go's zero time, the first instant of the year 1.
const ZERO_SECONDS: i64 = -62_135_596_800;
const SECOND_NS: i128 = 1_000_000_000;
/// Go's zero time counts from here when it rounds.
const ZERO_NS: i128 = ZERO_SECONDS as i128 * SECOND_NS;
const TIME: &str = "Time";
const DURATION: &str = "Duration";
const MONTH: &str = "Month";
const WEEKDAY: &str = "Weekday";

/// An instant in a zone, as Go's `time.Time` is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment(pub(crate) Zoned);

impl Moment {
    /// An instant in UTC.
    pub fn from_ns(ts_ns: i64) -> Moment {
        Moment::at(i128::from(ts_ns), TimeZone::UTC)
    }

    /// Whole seconds since the epoch, in UTC.
    pub fn from_seconds(seconds: i64) -> Moment {
        Moment::at(i128::from(seconds) * SECOND_NS, TimeZone::UTC)
    }

    /// Go's zero time, which failed conversions give.
    pub fn zero() -> Moment {
        Moment::from_seconds(ZERO_SECONDS)
    }

    /// Go's `time.ParseInLocation`; an unknown zone is UTC.
    pub fn parse(layout: &str, text: &str, zone: &str) -> Option<Moment> {
        crate::layout::parse(layout, text, zone_of(zone)).map(Moment)
    }

    /// Go's `Time.Format`.
    pub fn format(&self, layout: &str) -> String {
        gotime::format_layout(&self.0, layout)
    }

    /// Nanoseconds since the epoch, as far as they fit.
    pub fn ns(&self) -> i64 {
        let exact = self.exact_ns();
        i64::try_from(exact).unwrap_or(if exact < 0 { i64::MIN } else { i64::MAX })
    }

    /// The same instant in another zone.
    pub(crate) fn in_zone(&self, zone: &str) -> Moment {
        Moment(self.0.with_time_zone(zone_of(zone)))
    }

    /// As a value of a template.
    pub fn to_value(&self) -> Value {
        let ns = self.exact_ns();
        data::map([
            (TYPE, data::text(TIME)),
            ("seconds", Value::Int(ns.div_euclid(SECOND_NS) as i64)),
            ("nanos", Value::Int(ns.rem_euclid(SECOND_NS) as i64)),
            ("zone", data::text(&zone_text(self.0.time_zone()))),
        ])
    }

    /// Back from [`Moment::to_value`].
    pub fn of(value: &Value) -> Option<Moment> {
        if type_of(value) != Some(TIME) {
            return None;
        }
        let number = |name: &str| value.field(name).and_then(Value::as_int).map(i128::from);
        let zone = value.field("zone").and_then(Value::as_str)?;
        Some(Moment::at(number("seconds")? * SECOND_NS + number("nanos")?, zone_of(zone)))
    }

    /// An instant as near as the calendar has one: it ends with the year 9999.
    fn at(ns: i128, zone: TimeZone) -> Moment {
        let edge = if ns < 0 { Timestamp::MIN } else { Timestamp::MAX };
        Moment(Timestamp::from_nanosecond(ns).unwrap_or(edge).to_zoned(zone))
    }

    fn moved(&self, ns: i128) -> Moment {
        Moment::at(ns, self.0.time_zone().clone())
    }

    fn exact_ns(&self) -> i128 {
        self.0.timestamp().as_nanosecond()
    }

    /// `year`, `month` and `day` added, days that a month does not have running into the next.
    fn add_date(&self, years: i64, months: i64, days: i64) -> Moment {
        let months = i64::from(self.0.month()) - 1 + months;
        let year = i64::from(self.0.year()) + years + months.div_euclid(12);
        let day = vigie_model::civil::days_of(year, months.rem_euclid(12) + 1, 1)
            + i64::from(self.0.day())
            - 1
            + days;
        let within = self.0.datetime().time();
        let time = jiff::civil::DateTime::from_parts(jiff::civil::date(1970, 1, 1), within);
        let midnight = time.checked_add(jiff::Span::new().days(day.clamp(-3_000_000, 2_932_000)));
        let moved = midnight.ok().and_then(|at| at.to_zoned(self.0.time_zone().clone()).ok());
        moved.map_or_else(|| self.clone(), Moment)
    }
}

/// A zone by its name, or by `+7200` for a fixed number of seconds.
fn zone_of(name: &str) -> TimeZone {
    if let Ok(seconds) = name.parse::<i32>()
        && let Ok(offset) = Offset::from_seconds(seconds)
    {
        return TimeZone::fixed(offset);
    }
    match name {
        "" | "UTC" | "Local" => TimeZone::UTC,
        name => TimeZone::get(name).unwrap_or(TimeZone::UTC),
    }
}

fn zone_text(zone: &TimeZone) -> String {
    match (zone.iana_name(), zone.to_fixed_offset()) {
        (Some(name), _) => name.to_owned(),
        (None, Ok(offset)) => format!("{:+}", offset.seconds()),
        (None, Err(_)) => "UTC".to_owned(),
    }
}

/// A `time.Duration` as a value.
pub fn duration(duration_ns: i64) -> Value {
    data::map([(TYPE, data::text(DURATION)), ("ns", Value::Int(duration_ns))])
}

fn numbered(kind: &str, number: i64) -> Value {
    data::map([(TYPE, data::text(kind)), ("ns", Value::Int(number))])
}

/// The number of a value that is one in Go (`Duration`, `Month`, `Weekday`), for comparisons.
pub fn number_of(value: &Value) -> Option<i64> {
    [DURATION, MONTH, WEEKDAY].iter().find_map(|kind| nanoseconds(value, kind))
}

/// What Go prints for one of the types here; `None` for every other value.
pub fn printed(value: &Value) -> Option<String> {
    match type_of(value)? {
        TIME => Some(gotime::format_time(&Moment::of(value)?.0)),
        DURATION => Some(gotime::format_duration(nanoseconds(value, DURATION)?)),
        MONTH => Some(gotime::month_name(nanoseconds(value, MONTH)?)),
        WEEKDAY => Some(gotime::weekday_name(nanoseconds(value, WEEKDAY)?)),
        _ => None,
    }
}

/// Calls a method; `None` if the receiver is of no type here.
pub fn method(receiver: &Value, name: &str, arguments: &[Value]) -> Option<Answer> {
    match type_of(receiver)? {
        TIME => Some(time(&Moment::of(receiver)?, name, arguments)),
        DURATION => Some(of_duration(nanoseconds(receiver, DURATION)?, name, arguments)),
        kind @ (MONTH | WEEKDAY) => Some(match (name, printed(receiver)) {
            ("String", Some(text)) => Ok(data::text(&text)),
            _ => Err(error(format!("can't evaluate field {name} in type time.{kind}"))),
        }),
        _ => None,
    }
}

/// The methods of `time.Time`.
fn time(at: &Moment, name: &str, arguments: &[Value]) -> Answer {
    let int = |number: i64| Ok(Value::Int(number));
    match name {
        "Format" => {
            let layout = arguments.first().and_then(Value::as_str);
            Ok(data::text(&at.format(layout.ok_or_else(|| error("Format needs a layout"))?)))
        }
        "String" => Ok(data::text(&gotime::format_time(&at.0))),
        "Unix" => int(at.exact_ns().div_euclid(SECOND_NS) as i64),
        "UnixMilli" => int(at.exact_ns().div_euclid(1_000_000) as i64),
        "UnixMicro" => int(at.exact_ns().div_euclid(1_000) as i64),
        "UnixNano" => int(at.exact_ns() as i64),
        "UTC" | "Local" => Ok(at.in_zone("UTC").to_value()),
        "In" => {
            let zone = arguments.first().and_then(Value::as_str);
            Ok(at.in_zone(zone.ok_or_else(|| error("In needs a location"))?).to_value())
        }
        "Location" => Ok(data::text(&zone_text(at.0.time_zone()))),
        "Year" => int(at.0.year().into()),
        "Month" => Ok(numbered(MONTH, at.0.month().into())),
        "Day" => int(at.0.day().into()),
        "YearDay" => int(at.0.day_of_year().into()),
        "Weekday" => Ok(numbered(WEEKDAY, at.0.weekday().to_sunday_zero_offset().into())),
        "Hour" => int(at.0.hour().into()),
        "Minute" => int(at.0.minute().into()),
        "Second" => int(at.0.second().into()),
        "Nanosecond" => int(at.0.subsec_nanosecond().into()),
        "IsZero" => Ok(Value::Bool(at.exact_ns() == ZERO_NS)),
        "IsDST" => {
            let dst = at.0.time_zone().to_offset_info(at.0.timestamp()).dst();
            Ok(Value::Bool(dst.is_dst()))
        }
        "Date" | "Clock" | "ISOWeek" | "Zone" => {
            let results = if ["Date", "Clock"].contains(&name) { 3 } else { 2 };
            Err(error(format!("can't call method/function \"{name}\" with {results} results")))
        }
        _ => with_another(at, name, arguments),
    }
}

/// The methods that take a time or a duration.
fn with_another(at: &Moment, name: &str, arguments: &[Value]) -> Answer {
    let other = || {
        let other = arguments.first().and_then(Moment::of);
        other.map(|m| m.exact_ns()).ok_or_else(|| error(format!("{name} needs a time")))
    };
    let by = |index: usize| {
        let argument = arguments.get(index);
        argument
            .and_then(|value| value.as_int().or_else(|| nanoseconds(value, DURATION)))
            .ok_or_else(|| error(format!("{name} needs a duration")))
    };
    let ns = at.exact_ns();
    match name {
        "Before" => Ok(Value::Bool(ns < other()?)),
        "After" => Ok(Value::Bool(ns > other()?)),
        "Equal" => Ok(Value::Bool(ns == other()?)),
        "Compare" => Ok(Value::Int(ns.cmp(&other()?) as i64)),
        "Sub" => {
            let by = ns - other()?;
            let edge = if by < 0 { i64::MIN } else { i64::MAX };
            Ok(duration(i64::try_from(by).unwrap_or(edge)))
        }
        "Add" => Ok(at.moved(ns + i128::from(by(0)?)).to_value()),
        "AddDate" => Ok(at.add_date(by(0)?, by(1)?, by(2)?).to_value()),
        "Truncate" | "Round" => {
            let unit = i128::from(by(0)?);
            if unit <= 0 {
                return Ok(at.to_value());
            }
            let past = (ns - ZERO_NS).rem_euclid(unit);
            let up = name == "Round" && past * 2 >= unit;
            Ok(at.moved(if up { ns - past + unit } else { ns - past }).to_value())
        }
        _ => Err(error(format!("can't evaluate field {name} in type time.Time"))),
    }
}

/// The methods of `time.Duration`.
fn of_duration(duration_ns: i64, name: &str, arguments: &[Value]) -> Answer {
    let unit = || {
        let argument = arguments.first();
        argument
            .and_then(|value| value.as_int().or_else(|| nanoseconds(value, DURATION)))
            .ok_or_else(|| error(format!("{name} needs a duration")))
    };
    match name {
        "String" => Ok(data::text(&gotime::format_duration(duration_ns))),
        "Seconds" => Ok(Value::Float(duration_ns as f64 / 1e9)),
        "Minutes" => Ok(Value::Float(duration_ns as f64 / 60e9)),
        "Hours" => Ok(Value::Float(duration_ns as f64 / 3600e9)),
        "Milliseconds" => Ok(Value::Int(duration_ns / 1_000_000)),
        "Microseconds" => Ok(Value::Int(duration_ns / 1_000)),
        "Nanoseconds" => Ok(Value::Int(duration_ns)),
        "Abs" => Ok(duration(duration_ns.saturating_abs())),
        "Truncate" | "Round" => {
            let unit = unit()?;
            if unit <= 0 {
                return Ok(duration(duration_ns));
            }
            let past = duration_ns % unit;
            let away = i128::from(past).abs() * 2 >= i128::from(unit) && name == "Round";
            let step = if duration_ns < 0 { unit.saturating_neg() } else { unit };
            let down = duration_ns - past;
            Ok(duration(if away { down.saturating_add(step) } else { down }))
        }
        _ => Err(error(format!("can't evaluate field {name} in type time.Duration"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_parse_print_and_come_back() {
        let time = Moment::from_ns(1_767_225_600_123_000_000);
        assert_eq!(printed(&time.to_value()).unwrap(), "2026-01-01 00:00:00.123 +0000 UTC");
        assert_eq!(Moment::of(&time.to_value()), Some(time.clone()));
        for (layout, text) in [
            ("2006-01-02", "2026-01-01"),
            ("15:04:05.000", "00:00:00.123"),
            ("Mon, 02 Jan 2006 15:04:05 MST", "Thu, 01 Jan 2026 00:00:00 UTC"),
            ("2006-01-02T15:04:05.999999999Z07:00", "2026-01-01T00:00:00.123Z"),
            ("3:04PM", "12:00AM"),
            ("Month 1", "Month 1"),
        ] {
            assert_eq!(time.format(layout), text);
        }
        for (layout, text, zone, printed_as) in [
            (
                "2006-01-02T15:04:05Z07:00",
                "2026-01-01T02:00:00+02:00",
                "",
                "2026-01-01 02:00:00 +0200 +0200",
            ),
            (
                "2006-01-02T15:04:05Z07:00",
                "2026-01-01T00:00:00Z",
                "",
                "2026-01-01 00:00:00 +0000 UTC",
            ),
            ("2006-01-02", "2026-07-14", "Europe/Paris", "2026-07-14 00:00:00 +0200 CEST"),
            ("2006-01-02", "2026-07-14", "Nowhere/Land", "2026-07-14 00:00:00 +0000 UTC"),
            (
                "Jan _2 2006 15:04:05",
                "Feb  3 2026 04:05:06.5",
                "",
                "2026-02-03 04:05:06.5 +0000 UTC",
            ),
        ] {
            let parsed = Moment::parse(layout, text, zone).unwrap();
            assert_eq!(printed(&parsed.to_value()).unwrap(), printed_as, "{text}");
            assert_eq!(Moment::of(&parsed.to_value()), Some(parsed), "{text}");
        }
        assert_eq!(Moment::parse("2006-01-02", "2026-02-30", ""), None);
        assert_eq!(printed(&Moment::zero().to_value()).unwrap(), "0001-01-01 00:00:00 +0000 UTC");
    }

    #[test]
    fn times_and_durations_have_gos_methods() {
        let time = Moment::parse("2006-01-02 15:04:05", "2021-11-02 10:20:35", "").unwrap();
        let int = Value::Int;
        let hour = duration(3_600_000_000_000);
        for (receiver, name, arguments, wanted) in [
            (time.to_value(), "Year", vec![], "2021"),
            (time.to_value(), "Month", vec![], "November"),
            (time.to_value(), "Weekday", vec![], "Tuesday"),
            (time.to_value(), "YearDay", vec![], "306"),
            (time.to_value(), "Unix", vec![], "1635848435"),
            (time.to_value(), "Add", vec![hour.clone()], "2021-11-02 11:20:35 +0000 UTC"),
            (
                time.to_value(),
                "AddDate",
                vec![int(0), int(3), int(29)],
                "2022-03-03 10:20:35 +0000 UTC",
            ),
            (time.to_value(), "Truncate", vec![hour.clone()], "2021-11-02 10:00:00 +0000 UTC"),
            (time.to_value(), "Round", vec![int(60_000_000_000)], "2021-11-02 10:21:00 +0000 UTC"),
            (time.to_value(), "Sub", vec![Moment::from_seconds(1_635_848_400).to_value()], "35s"),
            (
                time.to_value(),
                "In",
                vec![data::text("Europe/Paris")],
                "2021-11-02 11:20:35 +0100 CET",
            ),
            (hour.clone(), "Minutes", vec![], "60"),
            (duration(-1_700_000_000), "Round", vec![int(1_000_000_000)], "-2s"),
        ] {
            let answer = method(&receiver, name, &arguments).unwrap().unwrap();
            let text = printed(&answer).unwrap_or_else(|| answer.to_string());
            assert_eq!(text, wanted, "{name}");
        }
        for (name, words) in [
            ("Date", "can't call method/function \"Date\" with 3 results"),
            ("Nothing", "can't evaluate field Nothing in type time.Time"),
        ] {
            let refused = method(&time.to_value(), name, &[]).unwrap().unwrap_err();
            assert!(refused.to_string().ends_with(words), "{refused}");
        }
    }
}
