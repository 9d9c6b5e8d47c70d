//! A deletion hides at once, survives a restart, is left out by compaction, and hides nothing that
//! comes later; a snapshot is a store of its own.
#![allow(clippy::unwrap_used, reason = "a panic is the failure report")]

mod support;

use support::{ALL, append, open, patient, read, target};
use vigie_metrics::Store;
use vigie_model::{Matcher, TimeRange};

const HOUR_MS: i64 = 3600 * 1000;
const START_MS: i64 = 19_000 * 24 * HOUR_MS;

fn compact(store: &Store, now_ms: i64) {
    while store.compact(now_ms, &mut |_| true).unwrap() {}
}

/// Six hours of two targets: some in blocks, some in a segment, some open.
fn filled(dir: &std::path::Path) -> Store {
    let store = open(dir, patient());
    for minute in 0..360 {
        let ts_ms = START_MS + minute * 60_000;
        for instance in 0..2 {
            append(&store, ts_ms, &target(&store, instance, 3), &[1.0, minute as f64, 0.5]);
        }
        if minute % 5 == 4 {
            store.tick(ts_ms).unwrap();
            if minute < 300 {
                compact(&store, ts_ms);
            }
        }
    }
    assert!(store.stats().blocks > 0 && store.stats().open_bytes > 0, "{:?}", store.stats());
    store
}

fn minutes(from: i64, to: i64) -> TimeRange {
    TimeRange { start_ms: START_MS + from * 60_000, end_ms: START_MS + to * 60_000 }
}

#[test]
fn what_is_deleted_is_gone_from_everything_and_may_come_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = filled(dir.path());
    let one = [Matcher::equal("instance", "host-0:9100"), Matcher::equal("n", "1")];
    assert_eq!(store.delete_series(&one, minutes(30, 400)).unwrap(), 1);
    assert_eq!(store.delete_series(&[Matcher::equal("n", "none")], ALL).unwrap(), 0);
    let wanted = 6 * 360 - 330;
    for step in 0..4 {
        assert_eq!(read(&store, &[], ALL).len(), wanted, "step {step}");
        assert_eq!(read(&store, &one, ALL).len(), 30, "step {step}");
        // A series of which nothing is left in a file is not listed for it.
        let listed = store.series(&one, minutes(120, 400), 10).unwrap();
        assert!(step > 1 || listed.is_empty(), "step {step}");
        assert_eq!(store.series(&one, ALL, 10).unwrap().len(), 1, "step {step}");
        match step {
            0 => {
                drop(store);
                store = open(dir.path(), patient());
            }
            1 => {
                let stored = |store: &Store| {
                    let files = store.analyze().unwrap().files;
                    files.iter().map(|file| file.samples).sum::<u64>()
                };
                let before = stored(&store);
                assert_eq!(store.stats().tombstones, 1);
                store.clean_tombstones(&mut |_| true).unwrap();
                assert_eq!(store.stats().tombstones, 0);
                // They are in no file any more.
                assert_eq!(stored(&store), before - 330);
            }
            _ => compact(&store, START_MS + 30 * HOUR_MS),
        }
    }
    // The same samples again are new: not duplicates, nor in conflict with what is gone.
    let id = target(&store, 0, 2)[1];
    let again = append(&store, START_MS + 40 * 60_000, &[id], &[7.0]);
    assert_eq!((again.appended, again.conflicting), (1, 0));
    store.flush().unwrap();
    drop(store);
    assert_eq!(read(&open(dir.path(), patient()), &one, ALL).len(), 31);
}

#[test]
fn samples_that_come_again_before_the_cleaning_are_not_hidden() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    let all = [Matcher::equal("__name__", "m")];
    assert_eq!(store.delete_series(&all, ALL).unwrap(), 6);
    assert!(read(&store, &[], ALL).is_empty());
    assert!(store.label_values("instance", &[], ALL, 10).unwrap().is_empty());
    let again = append(&store, START_MS, &target(&store, 0, 3), &[9.0; 3]);
    assert_eq!((again.appended, again.conflicting), (3, 0));
    drop(store);
    let store = open(dir.path(), patient());
    assert_eq!(read(&store, &[], ALL).len(), 3);
    store.clean_tombstones(&mut |_| true).unwrap();
    assert_eq!((read(&store, &[], ALL).len(), store.stats().blocks), (3, 0));
}

#[test]
fn a_snapshot_keeps_what_the_store_removes() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(&dir.path().join("metrics"));
    let everything = read(&store, &[], ALL);
    let (whole, blocks) = (dir.path().join("snapshots/1"), dir.path().join("snapshots/2"));
    store.snapshot(&whole, false).unwrap();
    append(&store, START_MS + 7 * HOUR_MS, &target(&store, 0, 3), &[1.0; 3]);
    store.snapshot(&blocks, true).unwrap();
    let error = store.snapshot(&blocks, true).unwrap_err().to_string();
    assert!(error.contains("is a snapshot already"), "{error}");
    store.delete_series(&[Matcher::equal("__name__", "m")], ALL).unwrap();
    store.clean_tombstones(&mut |_| true).unwrap();
    drop(store);
    let copy = open(&whole, patient());
    assert_eq!(read(&copy, &[], ALL), everything);
    // It can be written on, and the store beside it does not see that.
    append(&copy, START_MS + 9 * HOUR_MS, &target(&copy, 5, 2), &[1.0; 2]);
    compact(&copy, START_MS + 40 * HOUR_MS);
    assert_eq!(read(&copy, &[], ALL).len(), everything.len() + 2);
    let older = read(&open(&blocks, patient()), &[], ALL);
    assert!(!older.is_empty() && older.len() < everything.len());
    assert!(read(&open(&dir.path().join("metrics"), patient()), &[], ALL).is_empty());
}
