//! No room: new rows are refused with words, queries go on, and it ends by itself.

#![allow(clippy::unwrap_used, reason = "a panic is the failure report")]

mod support;

use std::path::Path;
use std::sync::Arc;
use support::{ALL, patient, read, target};
use vigie_disk::Disk;
use vigie_disk::sim::SimDisk;
use vigie_metrics::{Durability, MetricsError, Options, Store};
use vigie_model::{Labels, Matcher, Row, SeriesId};

fn try_append(store: &Store, ts_ms: i64, series: &[SeriesId]) -> Result<(), MetricsError> {
    let values = vec![ts_ms as f64 / 3.0; series.len()];
    store.append(&[Row::floats(ts_ms, series, &values)], Durability::Synced).map(|_| ())
}

#[test]
fn a_disk_that_fills_up_refuses_rows_and_takes_them_again_when_there_is_room() {
    let disk = SimDisk::new(1);
    let open = || Store::open(Arc::new(disk.clone()), Path::new("/data"), patient()).unwrap();
    let store = open();
    let series = target(&store, 0, 50);
    let mut kept = 0;
    for room in [0, 100, 700, 5000] {
        disk.set_free_bytes(room);
        let error = loop {
            match try_append(&store, kept, &series) {
                Ok(()) => kept += 1,
                Err(e) => break e,
            }
        };
        assert!(error.is_full(), "{error}");
        assert!(error.to_string().contains("the disk is full"), "{error}");
        assert!(store.flush().is_err() || room > 0);
        assert_eq!(read(&store, &[], ALL).len() as i64, kept * 50, "queries go on");
        disk.set_free_bytes(u64::MAX);
        try_append(&store, kept, &series).unwrap();
        kept += 1;
        store.flush().unwrap();
    }
    drop(store);
    assert_eq!(read(&open(), &[], ALL).len() as i64, kept * 50);
}

/// Compaction and the manifest fill the disk at every place where they can, and nothing is lost.
#[test]
fn a_disk_that_fills_up_during_a_compaction_loses_nothing_and_leaves_nothing_behind() {
    let day_ms = 24 * 3600 * 1000;
    let mut failures = 0;
    for room in (0..6_000).step_by(37) {
        let disk = SimDisk::new(room);
        let open = || Store::open(Arc::new(disk.clone()), Path::new("/data"), patient()).unwrap();
        let store = open();
        let series = target(&store, 0, 20);
        for n in 0..40 {
            try_append(&store, n * 15_000, &series).unwrap();
        }
        store.flush().unwrap();
        store.tick(day_ms).unwrap();
        disk.set_free_bytes(room);
        let deleted = store.delete_series(&[Matcher::equal("n", "3")], ALL);
        let compacted = store.compact(2 * day_ms, &mut |_| true);
        for error in [deleted.as_ref().err(), compacted.as_ref().err()].into_iter().flatten() {
            assert!(error.is_full(), "{error}");
            failures += 1;
        }
        let hidden = if deleted.is_ok() { 40 } else { 0 };
        assert_eq!(read(&store, &[], ALL).len(), 800 - hidden, "with room for {room} bytes");
        // There is room again, and it goes on without a restart.
        disk.set_free_bytes(u64::MAX);
        store.delete_series(&[Matcher::equal("n", "3")], ALL).unwrap();
        while store.compact(2 * day_ms, &mut |_| true).unwrap() {}
        assert_eq!((read(&store, &[], ALL).len(), store.stats().blocks), (760, 1));
        drop(store);
        let store = open();
        assert_eq!((read(&store, &[], ALL).len(), store.stats().damaged), (760, 0));
        let files = disk.list(Path::new("/data/blocks")).unwrap();
        assert_eq!(files.len(), 1, "{files:?}");
    }
    assert!(failures > 10, "the disk was full only {failures} times");
}

#[test]
fn the_last_bytes_of_the_disk_are_left_free() {
    let disk = SimDisk::new(1);
    let options = Options { free_bytes_min: 1 << 20, ..patient() };
    let store = Store::open(Arc::new(disk.clone()), Path::new("/data"), options).unwrap();
    let series = target(&store, 0, 5);
    try_append(&store, 0, &series).unwrap();
    disk.set_free_bytes(1000);
    store.tick(10_000).unwrap();
    let error = try_append(&store, 1, &series).unwrap_err();
    let words = "/data: the disk has only 0 MiB left, and the last 1 MiB are not written to";
    assert!(error.is_full() && error.to_string().starts_with(words), "{error}");
    disk.set_free_bytes(u64::MAX);
    store.tick(20_000).unwrap();
    try_append(&store, 2, &series).unwrap();
    assert_eq!(read(&store, &[], ALL).len(), 10);
}

/// Cutting the log writes the rows that are too few to seal again. Tried every second on a disk that
/// fails, it would fill the disk.
#[test]
fn a_log_that_cannot_be_cut_does_not_grow_by_trying() {
    let disk = SimDisk::new(1);
    let options = Options { log_bytes_max: 2_000, ..patient() };
    let store = Store::open(Arc::new(disk.clone()), Path::new("/data"), options).unwrap();
    for instance in 0..10 {
        let mut series = target(&store, instance, 40);
        let long = format!("{instance}{}", "x".repeat(4_000));
        series.push(store.intern(&Labels::from_pairs([("path", long)])).unwrap());
        for n in 0..5 {
            try_append(&store, n, &series).unwrap();
        }
    }
    let before = store.stats().log_bytes;
    assert!(before > 2_000);
    for second in 0..60 {
        // Enough for the rows, and not for the list of series behind them.
        disk.set_free_bytes(20_000);
        assert!(store.tick(1000 * second).unwrap_err().is_full());
    }
    disk.set_free_bytes(u64::MAX);
    let after = store.stats().log_bytes;
    assert!(after < 3 * before, "{before} bytes became {after}");
    assert!(store.tick(4 * 60_000).unwrap_err().is_full(), "the trouble is not over yet");
    store.tick(6 * 60_000).unwrap();
    assert!(store.stats().log_bytes < before, "{}", store.stats().log_bytes);
}
