//! Random appends, seals and restarts against a plain list: what a selection hands out, in which
//! order, and what a reader that stops early may rely on.

#![allow(clippy::unwrap_used, reason = "a panic here is the failure report")]

mod common;

use common::*;
use proptest::prelude::*;
use vigie_logs::{Options, Store};
use vigie_model::{Direction, Labels, LogEntry, LogRange, Matcher};

#[derive(Clone, Debug)]
enum Step {
    Append { app: u8, entries: Vec<(i64, u8)> },
    Seal,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let entries = proptest::collection::vec((0..40i64, 0..6u8), 1..30);
    prop_oneof![
        6 => (0..3u8, entries).prop_map(|(app, entries)| Step::Append { app, entries }),
        2 => Just(Step::Seal),
        1 => Just(Step::Restart),
    ]
}

fn app_name(app: u8) -> String {
    format!("app{app}")
}

/// The row as stored: instants are hours apart so that several days come up.
fn stored((ts, n): (i64, u8)) -> LogEntry {
    let metadata = if n == 5 { Labels::from_pairs([("n", "5")]) } else { Labels::default() };
    LogEntry { metadata, ..entry(NOW_NS - 2 * DAY_NS + ts * 3600 * SECOND_NS, format!("line {n}")) }
}

/// Reads as a query with a limit does: takes blocks until no later one can hold a better row.
fn read_limited(
    store: &Store,
    matchers: &[Matcher],
    range: LogRange,
    direction: Direction,
    limit: usize,
) -> Vec<i64> {
    let mut blocks = store.select(matchers, range, direction, &[]).unwrap();
    let mut best: Vec<i64> = Vec::new();
    let mut previous = None;
    while let Some(block) = blocks.next_block() {
        let block = block.unwrap();
        let times = block.timestamps_ns();
        assert!(!times.is_empty() && times.is_sorted());
        let (first, sorts_before): (i64, fn(&i64, &i64) -> bool) = match direction {
            Direction::Forward => (times[0], |a, b| a <= b),
            Direction::Backward => (times[times.len() - 1], |a, b| a >= b),
        };
        if let Some(previous) = previous {
            assert!(sorts_before(&previous, &first), "blocks out of order");
        }
        previous = Some(first);
        if best.len() >= limit && sorts_before(&best[limit - 1], &first) {
            break;
        }
        best.extend(times);
        best.sort_unstable();
        if direction == Direction::Backward {
            best.reverse();
        }
        best.truncate(limit);
    }
    best
}

fn check(store: &Store, oracle: &[(u8, LogEntry)], range: LogRange, app: Option<u8>, limit: usize) {
    let matchers: Vec<_> = app.iter().map(|&app| Matcher::equal("app", app_name(app))).collect();
    let wanted = |(of, e): &&(u8, LogEntry)| {
        app.is_none_or(|app| app == *of) && range.start_ns <= e.ts_ns && e.ts_ns < range.end_ns
    };
    let mut rows: Vec<_> =
        oracle.iter().filter(wanted).map(|(app, e)| (labels(&app_name(*app)), e.clone())).collect();
    rows.sort_by_key(|(_, e)| e.ts_ns);
    for direction in [Direction::Forward, Direction::Backward] {
        let mut times: Vec<i64> = rows.iter().map(|(_, e)| e.ts_ns).collect();
        if direction == Direction::Backward {
            times.reverse();
        }
        times.truncate(limit);
        assert_eq!(read_limited(store, &matchers, range, direction, limit), times);
        let key =
            |(l, e): &(Labels, LogEntry)| (e.ts_ns, l.clone(), e.line.clone(), e.metadata.clone());
        let mut got = read(store, &matchers, range, direction);
        let mut all = rows.clone();
        got.sort_by_key(key);
        all.sort_by_key(key);
        assert_eq!(got, all);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_store_and_a_list_agree(
        steps in proptest::collection::vec(step(), 1..25),
        ranges in proptest::collection::vec((0..41i64, 0..41i64, proptest::option::of(0..3u8), 1..20usize), 4),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { head_bytes_max: 4000, ..options() };
        let mut store = open(dir.path(), options.clone());
        let mut oracle: Vec<(u8, LogEntry)> = Vec::new();
        for step in steps {
            match step {
                Step::Append { app, entries } => {
                    let entries: Vec<_> = entries.into_iter().map(stored).collect();
                    let before = oracle.len();
                    for entry in &entries {
                        if !oracle.contains(&(app, entry.clone())) {
                            oracle.push((app, entry.clone()));
                        }
                    }
                    let appended = append(&store, &app_name(app), &entries);
                    prop_assert_eq!(appended.stored as usize, oracle.len() - before);
                }
                Step::Seal => store.seal().unwrap(),
                Step::Restart => {
                    drop(store);
                    store = open(dir.path(), options.clone());
                }
            }
        }
        let instant = |ts| stored((ts, 0)).ts_ns;
        for (start, end, app, limit) in ranges {
            let range = LogRange { start_ns: instant(start), end_ns: instant(end) };
            check(&store, &oracle, range, app, limit);
        }
        check(&store, &oracle, EVERYTHING, None, 10);
    }
}

#[test]
fn equal_instants_keep_the_order_of_arrival_across_seals() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), options());
    for n in 0..6 {
        append(&store, "a", &[entry(NOW_NS, format!("{n}"))]);
        if n % 2 == 1 && n < 5 {
            store.seal().unwrap();
        }
    }
    let text = |direction| -> Vec<u8> {
        read(&store, &[], EVERYTHING, direction).into_iter().map(|(_, e)| e.line[0]).collect()
    };
    assert_eq!(text(Direction::Forward), b"012345");
    assert_eq!(text(Direction::Backward), b"452301", "blocks newest first, rows ascending");
}
