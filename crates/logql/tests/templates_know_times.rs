//! Times in `line_format` and `label_format`: Go's methods, zones, and the instant of the query.

#![allow(clippy::unwrap_used, reason = "a panic is the failure report of a test")]

mod common;

use common::Memory;
use vigie_logql::{Options, parse, query_logs};
use vigie_model::Labels;
use vigie_model::blocks::{Direction, LogRange};

/// 2026-01-01 00:00:01 UTC, a Thursday.
const LINE_NS: i64 = 1_767_225_601_000_000_000;
/// An hour and a half later.
const NOW_NS: i64 = LINE_NS + 5_400_000_000_000;

fn formatted(template: &str) -> String {
    let mut memory = Memory::default();
    let labels = Labels::from_pairs([("app", "a"), ("Year", "label")]);
    memory.push(&labels, LINE_NS, "line", Labels::default());
    let expr = parse(&format!("{{app=\"a\"}} | line_format `{template}`")).unwrap();
    let options = Options { now_ns: NOW_NS, ..Options::default() };
    let all = LogRange { start_ns: 0, end_ns: i64::MAX };
    let streams = query_logs(&memory, &expr, all, Direction::Forward, 1, &options).unwrap();
    let row = &streams[0].entries[0];
    match row.parsed.get("__error_details__") {
        Some(details) => details.to_owned(),
        None => String::from_utf8(row.line.clone()).unwrap(),
    }
}

#[test]
fn methods_of_times_are_called() {
    for (template, wanted) in [
        ("{{ __timestamp__ }}", "2026-01-01 00:00:01 +0000 UTC"),
        ("{{ __timestamp__.Month }} {{ printf `%d` __timestamp__.Year }}", "January 2026"),
        ("{{ (now.Sub __timestamp__).Minutes }}", "90"),
        ("{{ now.Sub __timestamp__ }}", "1h30m0s"),
        ("{{ if gt (now.Sub __timestamp__) 3600000000000 }}old{{ else }}new{{ end }}", "old"),
        ("{{ (__timestamp__.Add 60000000000).Format `15:04:05` }}", "00:01:01"),
        (
            "{{ with toDate `2006-01-02` `2021-11-02` }}{{ .Weekday }} {{ .YearDay }}{{ end }}",
            "Tuesday 306",
        ),
        ("{{ $t := unixToTime `1679577215` }}{{ $t.Unix }} {{ $t.UTC.Hour }}", "1679577215 13"),
        (
            "{{ (toDateInZone `2006-01-02 15:04` `Europe/Paris` `2026-07-14 12:00`).Unix }}",
            "1784023200",
        ),
        ("{{ toDateInZone `2006` `No/Where` `x` }}", "0001-01-01 00:00:00 +0000 UTC"),
        ("{{ date `2006-01-02T15:04:05Z07:00` now }}", "2026-01-01T01:30:01Z"),
        ("{{ now | unixEpochMillis }}", "1767231001000"),
        ("{{ eq __timestamp__.Month 1 }} {{ int __timestamp__.Month | add 1 }}", "true 2"),
        // A label is a label, whatever its name.
        ("{{ .Year }} {{ __timestamp__.Year }} {{ .Month }}.", "label 2026 ."),
    ]
    .map(|(template, wanted)| (template.replace('`', "\""), wanted))
    {
        assert_eq!(formatted(&template), wanted, "{template}");
    }
}

#[test]
fn what_go_refuses_is_an_error_of_the_line() {
    for (template, wanted) in [
        ("{{ __timestamp__.Clock }}", "can't call method/function \"Clock\" with 3 results"),
        ("{{ __timestamp__.Years }}", "can't evaluate field Years in type time.Time"),
        ("{{ unixToTime \"12\" }}", "unable to parse time '12'"),
        ("{{ .app | unixEpoch }}", "wrong type for value; expected time.Time; got string"),
    ] {
        let details = formatted(template);
        assert!(details.contains(wanted), "{template}: {details}");
    }
}
