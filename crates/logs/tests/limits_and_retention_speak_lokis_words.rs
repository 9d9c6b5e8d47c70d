//! What is refused, with which words, and what goes by itself.

#![allow(clippy::unwrap_used, reason = "a panic here is the failure report")]

mod common;

use common::*;
use vigie_logs::{Batch, Durability, LogsError, Options};
use vigie_model::{Direction, Labels, LogRange, Matcher};

#[test]
fn entries_too_old_too_new_or_too_long_are_refused_and_the_others_stored() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), options());
    let long = vec![b'x'; 1024 * 1024 + 1];
    for (entries, refused, words) in [
        (
            vec![entry(NOW_NS - 8 * DAY_NS, "old"), entry(NOW_NS, "a")],
            1,
            "entry for stream '{app=\"a\", env=\"test\"}' has timestamp too old: 2026-11-18T11:02:00Z, oldest acceptable timestamp is: 2026-11-19T11:02:00Z",
        ),
        (
            vec![entry(NOW_NS, "b"), entry(NOW_NS + 601 * SECOND_NS, "new")],
            1,
            "entry for stream '{app=\"a\", env=\"test\"}' has timestamp too new: 2026-11-26T11:12:01Z",
        ),
        (
            vec![entry(NOW_NS, long), entry(NOW_NS, "c")],
            1,
            "Max entry size '1048576' bytes exceeded for stream '{app=\"a\", env=\"test\"}' while adding an entry with length '1048577' bytes",
        ),
        (
            vec![entry(i64::MIN, "x"), entry(0, "y"), entry(NOW_NS, "d")],
            2,
            "2 errors like: entry for stream '{app=\"a\", env=\"test\"}' has timestamp too old: 1677-09-21T00:12:43Z, oldest acceptable timestamp is: 2026-11-19T11:02:00Z",
        ),
    ] {
        let appended = append(&store, "a", &entries);
        assert_eq!((appended.stored, appended.refused), (1, refused));
        assert_eq!(appended.refusal.as_deref(), Some(words));
    }
    assert_eq!(read_all(&store).len(), 4);
    assert_eq!((store.stats().stored, store.stats().refused), (4, 5));
}

#[test]
fn bad_labels_refuse_the_whole_request() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), options());
    let many = Labels::from_pairs((0..65).map(|n| (format!("l{n}"), "x")));
    let long_name = Labels::from_pairs([("n".repeat(1025), "x")]);
    let long_value = Labels::from_pairs([("n", "x".repeat(16 * 1024 + 1))]);
    for (bad, words) in [
        (Labels::default(), "error at least one label pair is required per stream"),
        (many, "has 65 label names; limit 64"),
        (long_name, "has label name too long"),
        (long_value, "has label value too long"),
    ] {
        let (good, entries) = (labels("a"), [entry(NOW_NS, "x")]);
        let batches = [&good, &bad].map(|labels| Batch { labels, entries: &entries });
        let error = store.append(&batches, Durability::Synced).unwrap_err();
        assert!(matches!(error, LogsError::Limit(_)));
        assert!(error.to_string().contains(words), "{error}");
    }
    assert!(read_all(&store).is_empty());
}

#[test]
fn one_stream_too_many_is_refused_until_old_ones_go() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), Options { streams_max: 2, ..options() });
    append(&store, "a", &[entry(NOW_NS - DAY_NS, "x")]);
    append(&store, "b", &[entry(NOW_NS, "x")]);
    let batch = [Batch { labels: &labels("c"), entries: &[entry(NOW_NS, "x")] }];
    let error = store.append(&batch, Durability::Synced).unwrap_err().to_string();
    let words = "Maximum active stream limit exceeded when trying to create stream {app=\"c\", env=\"test\"}, reduce";
    assert!(error.starts_with(words), "{error}");
    append(&store, "a", &[entry(NOW_NS - DAY_NS, "y")]);
    store.seal().unwrap();
    store.tick(NOW_MS + 13 * DAY_NS / 2_000_000).unwrap();
    assert_eq!(append(&store, "c", &[entry(NOW_NS, "x")]).stored, 1);
}

#[test]
fn old_parts_go_and_so_do_the_oldest_when_there_is_too_much() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), options());
    for day in 0..5 {
        append(&store, "a", &[entry(NOW_NS - day * DAY_NS, format!("{day} days old"))]);
    }
    store.seal().unwrap();
    let mut open_select = store.select(&[], EVERYTHING, Direction::Forward, &[]).unwrap();
    let first = open_select.next_block().unwrap().unwrap();
    store.tick(NOW_MS + 3 * DAY_NS / 1_000_000 + 1).unwrap();
    let days = |store: &_| -> Vec<u8> { read_all(store).iter().map(|row| row.1.line[0]).collect() };
    assert_eq!(days(&store), b"3210");
    let mut line = Vec::new();
    first.line(0, &mut line).unwrap();
    assert_eq!(line, b"4 days old", "an open block outlives its file");
    let file_bytes = store.stats().part_file_bytes / 4;
    drop(store);

    let options = Options { disk_bytes_max: Some(2 * file_bytes + file_bytes / 2), ..options() };
    let store = open(dir.path(), options);
    store.tick(NOW_MS).unwrap();
    assert_eq!(days(&store), b"10");
    assert_eq!(std::fs::read_dir(dir.path().join("parts")).unwrap().count(), 2);
}

#[test]
fn labels_values_series_and_volumes_follow_matchers_and_range() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), options());
    let whole = EVERYTHING;
    assert!(store.label_names(&[], whole).unwrap().is_empty());
    append(&store, "a", &[entry(NOW_NS - 2 * DAY_NS, "four"), entry(NOW_NS, "x")]);
    append(&store, "b", &[entry(NOW_NS - 2 * DAY_NS, "x")]);
    store.seal().unwrap();
    append(&store, "a", &[entry(NOW_NS + 1, "xy")]);
    append(&store, "c", &[entry(NOW_NS, "x")]);
    let recent = LogRange { start_ns: NOW_NS - DAY_NS, end_ns: i64::MAX };
    assert_eq!(store.label_names(&[], whole).unwrap(), ["app", "env"]);
    assert_eq!(store.label_values("app", &[], whole).unwrap(), ["a", "b", "c"]);
    assert_eq!(store.label_values("app", &[], recent).unwrap(), ["a", "c"]);
    assert_eq!(store.label_values("nope", &[], whole).unwrap(), Vec::<String>::new());
    let not_a = [Matcher::new("app", vigie_model::MatchOp::NotEqual, "a").unwrap()];
    assert_eq!(store.series(&not_a, whole).unwrap(), [labels("b"), labels("c")]);
    let volumes = store.volumes(&[Matcher::equal("app", "a")], whole).unwrap();
    assert_eq!(volumes.len(), 1);
    assert_eq!((volumes[0].entries, volumes[0].bytes, volumes[0].chunks), (3, 7, 3));
}
