//! Some streams are kept for a shorter and some for a longer time than the rest; a delete request may
//! hide lines and leave them on the disk.

#![allow(clippy::unwrap_used, reason = "a panic is the failure report of a test")]

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use vigie_engine::{Durability, Embedded, EmbeddedOptions, Engine, PushBatch, QueryOptions};
use vigie_model::{Direction, Labels, LogEntry, LogRange, Matcher};

const DAY_MS: i64 = 86_400_000;
const ALL: LogRange = LogRange { start_ns: 0, end_ns: i64::MAX };

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

fn push(engine: &Embedded, app: &str, ts_ms: i64) {
    let labels = Labels::from_pairs([("app", app)]);
    let line = format!("{app} {ts_ms}").into_bytes();
    let entry = LogEntry { ts_ns: ts_ms * 1_000_000, line, metadata: Labels::default() };
    let batch = PushBatch { labels: &labels, entries: &[entry] };
    assert_eq!(engine.push(&[batch], Durability::Written).unwrap().appended, 1);
}

/// How many lines each application has.
fn lines(engine: &Embedded) -> Vec<(String, usize)> {
    let expr = vigie_logql::parse(r#"{app=~".+"}"#).unwrap();
    let options = QueryOptions::default();
    let streams = engine.query_logs(&expr, ALL, Direction::Forward, 100, &options).unwrap();
    let count = |app: &str| {
        let own = streams.iter().filter(|one| one.labels.get("app") == Some(app));
        own.map(|one| one.entries.len()).sum::<usize>()
    };
    ["audit", "debug", "web"].map(|app| (app.to_owned(), count(app))).into()
}

/// Lets the store do all that it has to do at an instant.
fn tidy(engine: &Embedded, at_ms: i64) {
    engine.tick(at_ms).unwrap();
    while engine.compact(at_ms, &mut |_| true).unwrap() {}
    engine.tick(at_ms).unwrap();
}

fn open(directory: &Path, log_delete_delay_ms: i64) -> Embedded {
    let app = |name: &str| vec![Matcher::equal("app", name)];
    let options = EmbeddedOptions {
        logs_retention_ms: 3 * DAY_MS,
        // The first that matches counts.
        logs_retention_streams: vec![
            (app("audit"), 30 * DAY_MS),
            (app("debug"), DAY_MS),
            (app("audit"), DAY_MS),
        ],
        log_delete_delay_ms,
        ..Default::default()
    };
    Embedded::open(directory, options).unwrap()
}

fn counts(audit: usize, debug: usize, web: usize) -> Vec<(String, usize)> {
    vec![("audit".to_owned(), audit), ("debug".to_owned(), debug), ("web".to_owned(), web)]
}

#[test]
fn streams_are_kept_for_a_time_of_their_own() {
    let (directory, now_ms) = (tempfile::tempdir().unwrap(), now_ms());
    let engine = open(directory.path(), DAY_MS);
    for app in ["audit", "debug", "web"] {
        // One line a day, half a day from the edges.
        (0..6).for_each(|day| push(&engine, app, now_ms - day * DAY_MS - DAY_MS / 2));
    }
    engine.close().unwrap();
    drop(engine);
    let engine = open(directory.path(), DAY_MS);
    assert_eq!(lines(&engine), counts(6, 6, 6));
    // The head is sealed when it is an hour old.
    tidy(&engine, now_ms + DAY_MS / 12);
    // Lines go when all of a stream's lines of a part are too old, so a day may stay for longer.
    let kept = lines(&engine);
    assert_eq!(kept[0].1, 6, "{kept:?}");
    assert!((1..=2).contains(&kept[1].1), "{kept:?}");
    assert!((3..=4).contains(&kept[2].1), "{kept:?}");
    tidy(&engine, now_ms + 10 * DAY_MS);
    assert_eq!(lines(&engine), counts(6, 0, 0));
    tidy(&engine, now_ms + 40 * DAY_MS);
    assert_eq!(lines(&engine), counts(0, 0, 0));
}

#[test]
fn hidden_lines_may_stay_on_the_disk() {
    let (directory, now_ms) = (tempfile::tempdir().unwrap(), now_ms());
    // (delay, whether the request is done after two days)
    for (at, (delay_ms, is_done)) in [(DAY_MS, true), (i64::MAX, false)].into_iter().enumerate() {
        let home = directory.path().join(at.to_string());
        let engine = open(&home, delay_ms);
        push(&engine, "web", now_ms);
        push(&engine, "audit", now_ms);
        engine.close().unwrap();
        drop(engine);
        let engine = open(&home, delay_ms);
        let expr = vigie_logql::parse(r#"{app="web"}"#).unwrap();
        engine.delete_logs(&expr, ALL).unwrap();
        assert_eq!(lines(&engine), counts(1, 0, 0));
        tidy(&engine, now_ms + 2 * DAY_MS);
        assert_eq!(lines(&engine), counts(1, 0, 0));
        assert_eq!(engine.log_deletions()[0].is_done, is_done, "{delay_ms}");
    }
}
