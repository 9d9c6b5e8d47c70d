//! The instant of a line: when it was read, or what it says itself.

use serde::Deserialize;
use serde_json::value::RawValue;
use vigie_codec::loki_push::parse_rfc3339_ns;

/// A line's own instant may lie this far in the past; the store refuses older ones.
const PAST_NS_MAX: i64 = 7 * 24 * 3600 * 1_000_000_000;
/// And this far in the future.
const FUTURE_NS_MAX: i64 = 10 * 60 * 1_000_000_000;

/// Where the instant of a line comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimestampFrom {
    /// The clock, when the line was read.
    #[default]
    ReadTime,
    /// A member `timestamp`, `time`, `ts` or `@timestamp` of a JSON line, in RFC 3339 (an offset
    /// without a colon, as Suricata writes it, is fine), if it lies within the last seven days or
    /// the next ten minutes; otherwise the clock.
    Line,
}

/// Gives instants to the lines of one file.
///
/// Two lines that are alike must not get the same instant by accident: the store would take the
/// second for a repetition of the first. Instants by the clock therefore always rise, and a line
/// that repeats the one before it, instant included, is moved by a nanosecond.
#[derive(Clone, Debug)]
pub(super) struct Stamper {
    from: TimestampFrom,
    last_read_ns: i64,
    last_own: Option<(i64, i64, Vec<u8>)>,
}

impl Stamper {
    pub(super) fn new(from: TimestampFrom) -> Stamper {
        Stamper { from, last_read_ns: i64::MIN, last_own: None }
    }

    pub(super) fn stamp(&mut self, line: &[u8], now_ns: i64) -> i64 {
        let own = match self.from {
            TimestampFrom::ReadTime => None,
            TimestampFrom::Line => own_instant_ns(line).filter(|ts_ns| {
                (now_ns.saturating_sub(PAST_NS_MAX)..=now_ns.saturating_add(FUTURE_NS_MAX))
                    .contains(ts_ns)
            }),
        };
        match own {
            Some(ts_ns) => self.own(ts_ns, line),
            None => {
                self.last_read_ns = now_ns.max(self.last_read_ns.saturating_add(1));
                self.last_read_ns
            }
        }
    }

    fn own(&mut self, ts_ns: i64, line: &[u8]) -> i64 {
        let given_ns = match &self.last_own {
            Some((said_ns, given_ns, last)) if *said_ns == ts_ns && last == line => given_ns + 1,
            _ => ts_ns,
        };
        self.last_own = Some((ts_ns, given_ns, line.to_vec()));
        given_ns
    }
}

/// The members that loggers write an instant under, as raw JSON.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    time: Option<&'a RawValue>,
    #[serde(borrow)]
    ts: Option<&'a RawValue>,
    #[serde(borrow, rename = "@timestamp")]
    at_timestamp: Option<&'a RawValue>,
}

fn own_instant_ns(line: &[u8]) -> Option<i64> {
    if line.first() != Some(&b'{') {
        return None;
    }
    let members: Members<'_> = serde_json::from_slice(line).ok()?;
    [members.timestamp, members.time, members.ts, members.at_timestamp]
        .into_iter()
        .flatten()
        .find_map(|raw| parse_rfc3339_ns(raw.get().strip_prefix('"')?.strip_suffix('"')?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-26T11:02:00Z.
    const NOW_NS: i64 = 1_795_690_920_000_000_000;

    #[test]
    fn a_line_s_own_instant_counts_within_bounds() {
        for (line, offset_ns) in [
            (r#"{"a":{"time":"x"},"timestamp":"2026-11-26T11:01:59.5Z"}"#, Some(-500_000_000)),
            (r#"{"timestamp":"2026-11-26T12:01:59.000000+0100"}"#, Some(-1_000_000_000)),
            (r#"{"time":5,"ts":"2026-11-26T11:02:00Z"}"#, Some(0)),
            (r#"{"@timestamp":"2026-11-26T11:02:00Z"}"#, Some(0)),
            (r#"{"timestamp":"2026-11-26T11:12:00.001Z"}"#, None),
            (r#"{"timestamp":"2026-11-19T11:01:59Z"}"#, None),
            (r#"{"timestamp":"yesterday"}"#, None),
            (r#"{"timestamp":"2026-11-26T11:02:00Z""#, None),
            ("2026-11-26T11:01:00Z text", None),
            ("", None),
        ] {
            let stamped = Stamper::new(TimestampFrom::Line).stamp(line.as_bytes(), NOW_NS);
            assert_eq!(stamped, NOW_NS + offset_ns.unwrap_or(0), "{line}");
            let read = Stamper::new(TimestampFrom::ReadTime).stamp(line.as_bytes(), NOW_NS + 7);
            assert_eq!(read, NOW_NS + 7);
        }
    }

    #[test]
    fn lines_that_are_alike_get_instants_of_their_own() {
        let line = br#"{"ts":"2026-11-26T11:02:00Z"}"#;
        let mut stamper = Stamper::new(TimestampFrom::Line);
        let stamped: Vec<_> = (0..3).map(|_| stamper.stamp(line, NOW_NS) - NOW_NS).collect();
        assert_eq!(stamped, [0, 1, 2]);
        let stamped: Vec<_> = (0..3).map(|_| stamper.stamp(b"x", NOW_NS) - NOW_NS).collect();
        assert_eq!(stamped, [0, 1, 2]);
        assert_eq!(stamper.stamp(b"x", NOW_NS - 9), NOW_NS + 3, "a clock that goes back");
    }
}
