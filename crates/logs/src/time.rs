//! Dates for file names and error texts, in UTC.

use vigie_model::civil::date_of;

const NANOS_PER_SECOND: i64 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
const NANOS_PER_DAY: i64 = SECONDS_PER_DAY * NANOS_PER_SECOND;

/// The number of the UTC day that holds an instant.
pub(crate) fn day_of(ts_ns: i64) -> i64 {
    ts_ns.div_euclid(NANOS_PER_DAY)
}

/// `2026-11-26`.
pub(crate) fn day_name(day: i64) -> String {
    let (year, month, day) = date_of(day);
    format!("{year:04}-{month:02}-{day:02}")
}

/// `2026-11-26T11:02:00Z`, as Loki prints instants in refusals.
pub(crate) fn rfc3339(ts_ns: i64) -> String {
    let seconds = ts_ns.div_euclid(NANOS_PER_SECOND);
    let in_day = seconds.rem_euclid(SECONDS_PER_DAY);
    let (hour, minute, second) = (in_day / 3600, in_day / 60 % 60, in_day % 60);
    format!("{}T{hour:02}:{minute:02}:{second:02}Z", day_name(day_of(ts_ns)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_print_as_loki_prints_them() {
        for (ts_ns, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (1_795_518_747_185_269_248, "2026-11-24T11:12:27Z"),
            (1_709_164_800_000_000_000, "2024-02-29T00:00:00Z"),
            (i64::MAX, "2262-04-11T23:47:16Z"),
            (i64::MIN, "1677-09-21T00:12:43Z"),
        ] {
            assert_eq!(rfc3339(ts_ns), text);
        }
    }
}
