//! Damaged files are errors that say where; nothing is guessed and nothing else is lost.
#![allow(clippy::unwrap_used, reason = "a panic is the failure report")]

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use support::{ALL, append, open, patient, read, target};
use vigie_disk::RealDisk;
use vigie_metrics::{MetricsError, Store};
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
fn a_damaged_chunk_is_an_error_of_the_query_and_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    store.flush().unwrap();
    let segment = only(&dir.path().join("segments"), ".chunks");
    let good = flip(&segment, 100);
    match store.select(&[], ALL).map(|_| ()).unwrap_err() {
        ReadError::Corrupt { file, offset: 24, .. } => assert_eq!(file, segment.to_str().unwrap()),
        other => panic!("{other}"),
    }
    drop(store);
    // The checkpoint says that the segment was good beyond this point: it is not a torn tail.
    let error = Store::open(Arc::new(RealDisk), dir.path(), patient()).map(|_| ()).unwrap_err();
    let wanted = format!("{} at byte 24: the segment is damaged here", segment.display());
    assert!(error.to_string().starts_with(&wanted), "{error}");
    std::fs::write(&segment, good).unwrap();
    assert_eq!(read(&open(dir.path(), patient()), &[], ALL).len(), 200);
}

#[test]
fn a_damaged_list_of_series_is_an_error_of_the_start() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).flush().unwrap();
    let log = dir.path().join("series.log");
    let good = flip(&log, 60);
    let error = Store::open(Arc::new(RealDisk), dir.path(), patient()).map(|_| ()).unwrap_err();
    assert!(matches!(error, MetricsError::Disk(_)));
    let wanted = format!("{} at byte 24: the list of series is damaged here", log.display());
    assert!(error.to_string().starts_with(&wanted), "{error}");
    std::fs::write(&log, good).unwrap();
    assert_eq!(read(&open(dir.path(), patient()), &[], ALL).len(), 200);
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
