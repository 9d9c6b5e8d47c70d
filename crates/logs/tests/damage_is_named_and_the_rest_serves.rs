//! Damaged files: what is lost is named and counted, everything else is there, and nothing is kept
//! for ever.

#![allow(clippy::unwrap_used, reason = "a panic here is the failure report")]

mod common;

use common::*;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vigie_disk::sim::SimDisk;
use vigie_logs::{Options, Store};

fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.to_str().unwrap().ends_with(ending))
        .collect();
    files.sort();
    files
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 4;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_record_of_the_log_costs_its_lines_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), options());
    for n in 0..20 {
        append(&store, "a", &[entry(NOW_NS + n, format!("line {n}"))]);
    }
    drop(store);
    let wal = dir.path().join("wal");
    flip(&files(&wal, ".log")[0], 200);
    for _ in 0..2 {
        let store = open(dir.path(), options());
        assert_eq!((read_all(&store).len(), store.stats().damaged), (19, 1));
    }
    let store = open(dir.path(), options());
    append(&store, "a", &[entry(NOW_NS, "one more")]);
    store.seal().unwrap();
    drop(store);
    assert_eq!(files(&wal, ".damaged").len(), 1, "kept for who wants to look at it");
    let store = open(dir.path(), options());
    assert_eq!((read_all(&store).len(), store.stats().damaged), (20, 0));
}

#[test]
fn a_damaged_part_is_left_out_and_goes_when_its_day_is_too_old() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), options());
    for day in [0, 1] {
        append(&store, "a", &[entry(NOW_NS - day * DAY_NS, format!("{day} days old"))]);
    }
    store.seal().unwrap();
    drop(store);
    let parts = dir.path().join("parts");
    let oldest = files(&parts, ".part")[0].clone();
    let end = std::fs::read(&oldest).unwrap().len();
    flip(&oldest, end - 20);
    let day_ms = DAY_NS / 1_000_000;
    let store = open(dir.path(), options());
    assert_eq!((read_all(&store).len(), store.stats().broken_parts), (1, 1));
    store.tick(NOW_MS + 5 * day_ms).unwrap();
    assert!(oldest.exists());
    store.tick(NOW_MS + 7 * day_ms).unwrap();
    assert!(!oldest.exists());
    assert_eq!((read_all(&store).len(), store.stats().broken_parts), (1, 0));
}

#[test]
fn a_part_that_could_not_be_removed_is_removed_later() {
    let disk = SimDisk::new(0);
    let options = Options { free_bytes_min: 0, ..options() };
    let store = Store::open(Arc::new(disk.clone()), "/logs", options).unwrap();
    for day in 0..4 {
        append(&store, "a", &[entry(NOW_NS - day * DAY_NS, format!("{day} days old"))]);
    }
    store.seal().unwrap();
    let count = || vigie_disk::Disk::list(&disk, Path::new("/logs/parts")).unwrap().len();
    assert_eq!(count(), 4);
    let later_ms = NOW_MS + 5 * DAY_NS / 1_000_000 + 1;
    disk.stop_after(0);
    store.tick(later_ms).unwrap_err();
    disk.stop_after(u64::MAX);
    assert_eq!((read_all(&store).len(), count()), (2, 4));
    store.tick(later_ms).unwrap();
    assert_eq!((read_all(&store).len(), count()), (2, 2));
}
