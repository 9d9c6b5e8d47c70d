//! Damaged files are errors that say where; nothing is guessed and nothing else is lost.
#![allow(clippy::unwrap_used, reason = "a panic is the failure report")]

mod support;

use std::path::{Path, PathBuf};
use support::{ALL, append, open, patient, read, target};
use vigie_metrics::Store;
use vigie_model::ReadError;

fn only(dir: &Path, ending: &str) -> PathBuf {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().ends_with(ending))
        .collect();
    files.sort();
    files.pop().unwrap()
}

fn filled(dir: &Path) -> Store {
    let store = open(dir, patient());
    let series = target(&store, 0, 4);
    for n in 0..50 {
        append(&store, n * 1000, &series, &[1.0, n as f64, 0.1 * n as f64, -1.0]);
    }
    store
}

fn flip(path: &Path, at: usize) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap();
    let mut bad = bytes.clone();
    bad[at] ^= 0x10;
    std::fs::write(path, bad).unwrap();
    bytes
}

#[test]
fn a_damaged_chunk_is_an_error_of_the_query_and_the_next_start_serves_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    store.flush().unwrap();
    append(&store, 60_000, &target(&store, 0, 4), &[5.0; 4]);
    store.flush().unwrap();
    let segment = only(&dir.path().join("segments"), ".chunks");
    let good = flip(&segment, 100);
    match store.select(&[], ALL).map(|_| ()).unwrap_err() {
        ReadError::Corrupt { file, offset: 32, .. } => assert_eq!(file, segment.to_str().unwrap()),
        other => panic!("{other}"),
    }
    // What is sent again is not refused because it cannot be compared with what is damaged.
    let again = append(&store, 3000, &target(&store, 0, 4), &[1.0; 4]);
    assert_eq!(again.appended, 4);
    drop(store);
    for late in [1000, 2000] {
        let store = open(dir.path(), patient());
        assert_eq!((store.stats().damaged, store.stats().segments), (1, 1));
        let kept = read(&store, &[], ALL);
        assert!(kept.keys().filter(|(_, ts_ms)| *ts_ms == 60_000).count() == 4, "{kept:?}");
        append(&store, late, &target(&store, 0, 4), &[2.0; 4]);
        assert_eq!(read(&store, &[], ALL).len(), kept.len() + 4);
    }
    let store = open(dir.path(), patient());
    store.flush().unwrap();
    assert_eq!(store.stats().segments, 2, "a damaged segment is not written to");
    assert_eq!(read(&store, &[], ALL).len(), 16);
    drop(store);
    // With the good bytes back, what it had is served again, and what was sent again stays once.
    std::fs::write(&segment, good).unwrap();
    let store = open(dir.path(), patient());
    assert_eq!((read(&store, &[], ALL).len(), store.stats().damaged), (204, 0));
}

#[test]
fn the_end_of_a_segment_that_was_durable_once_is_damage_and_no_unfinished_write() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    store.flush().unwrap();
    drop(store);
    let segment = only(&dir.path().join("segments"), ".chunks");
    flip(&segment, 100);
    let bad = std::fs::read(&segment).unwrap();
    for _ in 0..2 {
        let store = open(dir.path(), patient());
        assert_eq!(store.stats().damaged, 1);
        append(&store, 1_000_000, &target(&store, 0, 4), &[0.0; 4]);
        store.flush().unwrap();
        assert_eq!(read(&store, &[], ALL).len(), 4);
        drop(store);
        assert_eq!(std::fs::read(&segment).unwrap(), bad, "it is left as it is");
    }
}

#[test]
fn a_damaged_record_of_the_log_costs_its_rows_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    drop(store);
    let log = only(&dir.path().join("wal"), ".log");
    let len = std::fs::read(&log).unwrap().len();
    flip(&log, len / 2);
    let store = open(dir.path(), patient());
    assert_eq!(store.stats().damaged, 1);
    let kept = read(&store, &[], ALL).len();
    assert_eq!(kept, 196);
    assert!(only(&dir.path().join("wal"), ".damaged").exists());
    append(&store, 1_000_000, &target(&store, 0, 5), &[0.0; 5]);
    drop(store);
    let store = open(dir.path(), patient());
    assert_eq!((read(&store, &[], ALL).len(), store.stats().damaged), (kept + 5, 0));
}

#[test]
fn chunks_whose_series_a_damaged_log_has_lost_do_not_become_those_of_other_series() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    store.tick(1000).unwrap();
    store.tick(3 * 3600 * 1000).unwrap();
    assert_eq!(store.stats().chunks, 1);
    append(&store, 4 * 3600 * 1000, &target(&store, 1, 4), &[0.0; 4]);
    drop(store);
    let log = only(&dir.path().join("wal"), ".log");
    flip(&log, 40);
    let store = open(dir.path(), patient());
    // The record with the series, a mark or row that needs them, and the chunk.
    assert_eq!(store.stats().damaged, 3);
    for sub in ["wal", "segments"] {
        assert!(only(&dir.path().join(sub), ".damaged").exists());
    }
    append(&store, 0, &target(&store, 7, 6), &[7.0; 6]);
    store.flush().unwrap();
    drop(store);
    let found = read(&open(dir.path(), patient()), &[], ALL);
    assert_eq!(found.len(), 6);
    assert!(found.keys().all(|(name, _)| name.contains("host-7")), "{found:?}");
}

#[test]
fn a_damaged_or_missing_index_is_made_again() {
    for damage in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let store = filled(dir.path());
        store.flush().unwrap();
        store.tick(30 * 24 * 3600 * 1000).unwrap();
        drop(store);
        let index = only(&dir.path().join("segments"), ".index");
        if damage {
            flip(&index, 30);
        } else {
            std::fs::remove_file(&index).unwrap();
        }
        let store = open(dir.path(), patient());
        assert_eq!(read(&store, &[], ALL).len(), 200);
        append(&store, 1_000_000, &target(&store, 0, 4), &[0.0; 4]);
        store.flush().unwrap();
        store.tick(30 * 24 * 3600 * 1000).unwrap();
        drop(store);
        assert_eq!(read(&open(dir.path(), patient()), &[], ALL).len(), 204);
    }
}

#[test]
fn a_torn_end_of_the_log_or_the_segment_loses_only_what_was_being_written() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path()));
    let log = only(&dir.path().join("wal"), ".log");
    let bytes = std::fs::read(&log).unwrap();
    std::fs::write(&log, &bytes[..bytes.len() - 3]).unwrap();
    let store = open(dir.path(), patient());
    assert_eq!(read(&store, &[], ALL).len(), 196);
    store.flush().unwrap();
    drop(store);
    let segment = only(&dir.path().join("segments"), ".chunks");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes.extend_from_slice(&[200, 0, 0, 0, 1, 2, 3]);
    std::fs::write(&segment, bytes).unwrap();
    let store = open(dir.path(), patient());
    append(&store, 1_000_000, &target(&store, 0, 4), &[0.0; 4]);
    store.flush().unwrap();
    drop(store);
    assert_eq!(read(&open(dir.path(), patient()), &[], ALL).len(), 200);
}

#[test]
fn a_chunk_of_series_that_no_log_knows_was_never_acknowledged_and_is_cut_away() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    store.tick(1000).unwrap();
    store.tick(3 * 3600 * 1000).unwrap();
    assert_eq!(store.stats().chunks, 1);
    drop(store);
    // As after a power cut that took the log, which was not synced, and spared the segment.
    std::fs::remove_dir_all(dir.path().join("wal")).unwrap();
    let store = open(dir.path(), patient());
    assert!(read(&store, &[], ALL).is_empty());
    for n in 0..30 {
        append(&store, n * 7, &target(&store, 9, 4), &[7.0; 4]);
    }
    store.flush().unwrap();
    drop(store);
    let found = read(&open(dir.path(), patient()), &[], ALL);
    assert_eq!(found.len(), 120);
    assert!(found.keys().all(|(name, _)| name.contains("host-9")));
}
