//! Real logs of many programs through seal, compaction and restart: every line comes back byte-exact,
//! in order.
//!
//! The logs are not part of the repository: `VIGIE_CORPORA` names the directory that holds them. The
//! first 5,000 lines of each in every run, all of them with `VIGIE_SOAK=1`.

#![allow(clippy::unwrap_used, reason = "a panic here is the failure report")]

mod common;

use common::*;
use std::io::Read;
use std::path::{Path, PathBuf};
use vigie_logs::{Batch, Durability, Options, Store};
use vigie_model::{Direction, LogEntry};

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for file in std::fs::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
    found.sort();
}

fn lines(path: &Path, most: usize) -> Vec<Vec<u8>> {
    let mut bytes = std::fs::read(path).unwrap();
    if path.extension().is_some_and(|ending| ending == "gz") {
        let mut unpacked = Vec::new();
        flate2::read::MultiGzDecoder::new(&*bytes).read_to_end(&mut unpacked).unwrap();
        bytes = unpacked;
    }
    bytes.split(|byte| *byte == b'\n').take(most).map(<[u8]>::to_vec).collect()
}

/// Other lines than these, and where.
fn difference(store: &Store, wanted: &[LogEntry]) -> Option<String> {
    let rows = read(store, &[], EVERYTHING, Direction::Forward);
    let other = rows.iter().zip(wanted).position(|((_, found), wanted)| found != wanted);
    let other = other.or((rows.len() != wanted.len()).then_some(rows.len().min(wanted.len())));
    other.map(|at| format!("line {at} of {}, {} found", wanted.len(), rows.len()))
}

fn round_trip(name: &str, lines: Vec<Vec<u8>>) -> (usize, usize) {
    let dir = tempfile::tempdir().unwrap();
    let options = || Options { head_bytes_max: 64 * 1024 * 1024, ..options() };
    let store = open(dir.path(), options());
    let count = lines.len() as i64;
    let entries: Vec<LogEntry> =
        (0..).zip(&lines).map(|(n, line)| entry(NOW_NS - (count - n) * 1_000_000, line)).collect();
    // Five parts or more, and requests that end in the middle of one.
    for part in entries.chunks((entries.len() / 5).max(1)) {
        for entries in part.chunks(1000) {
            let batch = [Batch { labels: &labels(name), entries }];
            let stored = store.append(&batch, Durability::Written).unwrap();
            assert_eq!(stored.stored, entries.len() as u64, "{name}");
        }
        store.seal().unwrap();
    }
    assert_eq!(difference(&store, &entries), None, "{name}, sealed");
    while store.compact(NOW_MS + 2 * DAY_NS / 1_000_000, &mut |_| true).unwrap() {}
    assert_eq!(difference(&store, &entries), None, "{name}, compacted");
    drop(store);
    let store = open(dir.path(), options());
    assert_eq!(difference(&store, &entries), None, "{name}, opened again");
    let stats = store.stats();
    (stats.part_line_bytes as usize, stats.part_file_bytes as usize)
}

#[test]
fn all_samples() {
    let Some(corpora) = std::env::var_os("VIGIE_CORPORA") else {
        eprintln!("SKIPPED: the sample logs: VIGIE_CORPORA is unset");
        return;
    };
    let samples = Path::new(&corpora).join("loki/samples");
    let mut paths = Vec::new();
    files(&samples, &mut paths);
    let most = slice_or_soak(5_000, u64::MAX) as usize;
    let mut total = 0;
    for path in &paths {
        let name = path.strip_prefix(&samples).unwrap().display().to_string();
        let lines = lines(path, most);
        let count = lines.len();
        let (raw, packed) = round_trip(&name, lines);
        total += count;
        println!("{name:<48} {count:>7} lines {raw:>9} bytes, {:.1}:1", raw as f64 / packed as f64);
    }
    println!("{} samples, {total} lines, byte-exact", paths.len());
    assert!(paths.len() >= 18, "all samples are there");
}
