//! Dates of the proleptic Gregorian calendar in UTC, from Unix seconds.

use vigie_model::civil::{date_of, days_in_month, days_of};

/// A day and a time of day.
struct Date {
    year: i64,
    month: i64,
    day: i64,
    /// Days since 1970-01-01.
    days: i64,
    second_of_day: i64,
}

fn date(seconds: i64) -> Date {
    let days = seconds.div_euclid(86_400);
    let (year, month, day) = date_of(days);
    Date { year, month, day, days, second_of_day: seconds.rem_euclid(86_400) }
}

/// A function of a date, by its PromQL name. Its argument is Unix seconds.
pub(super) fn function(name: &str) -> Option<fn(f64) -> f64> {
    fn of(seconds: f64) -> Date {
        // A NaN becomes the epoch; what no calendar reaches is cut off.
        date(seconds.clamp(-1e14, 1e14) as i64)
    }
    Some(match name {
        "day_of_month" => |seconds| of(seconds).day as f64,
        "day_of_week" => |seconds| (of(seconds).days + 4).rem_euclid(7) as f64,
        "day_of_year" => |seconds| {
            let date = of(seconds);
            (date.days - days_of(date.year, 1, 1) + 1) as f64
        },
        "days_in_month" => |seconds| {
            let Date { year, month, .. } = of(seconds);
            days_in_month(year, month) as f64
        },
        "hour" => |seconds| (of(seconds).second_of_day / 3600) as f64,
        "minute" => |seconds| (of(seconds).second_of_day / 60 % 60) as f64,
        "month" => |seconds| of(seconds).month as f64,
        "year" => |seconds| of(seconds).year as f64,
        _ => return None,
    })
}

/// `2026-11-26T01:20:00Z`.
pub(super) fn rfc3339(ts_ms: i64) -> String {
    let Date { year, month, day, second_of_day, .. } = date(ts_ms.div_euclid(1000));
    let (hour, minute) = (second_of_day / 3600, second_of_day / 60 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z", second_of_day % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_know_leap_years_and_weekdays() {
        for (name, seconds, wanted) in [
            ("year", 1_709_164_800.0, 2024.0),
            ("month", 1_709_164_800.0, 2.0),
            ("day_of_month", 1_709_164_800.0, 29.0),
            ("days_in_month", 1_709_164_800.0, 29.0),
            ("day_of_week", 1_709_164_800.0, 4.0),
            ("day_of_year", 1_709_251_200.0, 61.0),
            ("hour", 86_399.0, 23.0),
            ("minute", 86_399.0, 59.0),
            ("year", -1.0, 1969.0),
        ] {
            assert_eq!(function(name).unwrap()(seconds), wanted, "{name} {seconds}");
        }
        assert_eq!(rfc3339(1_709_164_801_000), "2024-02-29T00:00:01Z");
    }
}
