//! A directory that was written with version 2 of the formats, kept for ever.
//! `fixtures/v2` has a part that replaced others, a part as sealed, a log and a delete request; the
//! lines have columns of every type. What is in them follows from [`lines`]. It was written by
//! `write_the_fixture` with `VIGIE_FIXTURE_DIR` set to an empty directory.

#![allow(clippy::unwrap_used, reason = "a panic here is the failure report")]

mod common;

use common::*;
use std::path::{Path, PathBuf};
use vigie_logs::{LineTest, LineText};
use vigie_model::{Direction, Labels, LogEntry, LogRange, Matcher, Needle};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v2")
}

fn line(n: i64) -> Vec<u8> {
    let spread = n * 7919 % 100_003;
    match n % 5 {
        0..3 => format!(
            "{{\"time\":\"2026-11-26T11:02:{:02}.{spread:06}Z\",\"word\":\"w{}\",\"n\":{spread},\"ms\":{}.{},\
             \"id\":\"{:032x}\",\"uuid\":\"{spread:08x}-0000-4000-8000-{n:012x}\",\"ip\":\"10.0.{}.{}\",\
             \"user\":\"u-{spread}\",\"path\":\"/things/{spread}?q={n}\",\"null\":null}}",
            n % 60, n % 3, spread / 10, 1 + spread % 9, spread * spread, n % 3, spread % 256,
        )
        .into_bytes(),
        3 => format!("level=info n={n} msg=\"text {spread}\" d=0.{}5", spread % 10).into_bytes(),
        _ => vec![0xff, n as u8, b'x'],
    }
}

fn lines(range: std::ops::Range<i64>) -> Vec<LogEntry> {
    range
        .map(|n| {
            let metadata = match n % 3 {
                0 => Labels::from_pairs([
                    ("trace", format!("{:032x}", n * n)),
                    ("é", "ü".to_owned()),
                ]),
                _ => Labels::default(),
            };
            LogEntry { ts_ns: NOW_NS + n / 2 * 1_000_003, line: line(n), metadata }
        })
        .collect()
}

/// The request's text; the line that holds it is hidden.
const DELETED: &str = "\"word\":\"w1\",\"n\":";
const DELETED_RANGE: LogRange = LogRange { start_ns: NOW_NS, end_ns: NOW_NS + 30 * 1_000_003 };

fn is_deleted(entry: &LogEntry) -> bool {
    let holds = entry.line.windows(DELETED.len()).any(|part| part == DELETED.as_bytes());
    holds && entry.ts_ns < DELETED_RANGE.end_ns
}

#[test]
fn a_directory_of_version_2_is_read_byte_by_byte() {
    let dir = tempfile::tempdir().unwrap();
    for sub in ["wal", "parts", ""] {
        std::fs::create_dir_all(dir.path().join(sub)).unwrap();
        for file in std::fs::read_dir(fixture().join(sub)).unwrap().map(|file| file.unwrap()) {
            if file.file_type().unwrap().is_file() {
                std::fs::copy(file.path(), dir.path().join(sub).join(file.file_name())).unwrap();
            }
        }
    }
    let store = open(dir.path(), options());
    let stats = store.stats();
    assert_eq!((stats.parts, stats.broken_parts, stats.damaged), (2, 0, 0));
    assert_eq!(stats.head_rows, 20);
    let mut wanted: Vec<_> = lines(0..500)
        .into_iter()
        .filter(|entry| !is_deleted(entry))
        .map(|entry| (labels("a"), entry))
        .collect();
    wanted.sort_by(|a, b| (a.1.ts_ns, &a.1.line).cmp(&(b.1.ts_ns, &b.1.line)));
    assert!(read_all(&store) == wanted);
    assert_eq!(store.deletions().len(), 1);
    // Filters are read too: an id that is there, and one that is not.
    for (needle, hits) in [(format!("{:032x}", 15_838i64 * 15_838), 1), ("f".repeat(32), 0)] {
        let needles = [Needle(needle.clone().into_bytes())];
        let mut blocks = store.select(&[], EVERYTHING, Direction::Forward, &needles).unwrap();
        let mut found = 0;
        while let Some(block) = blocks.next_block() {
            let block = block.unwrap();
            let mut rows = vec![true; block.timestamps_ns().len()];
            block.contains(needle.as_bytes(), &mut rows).unwrap();
            found += rows.iter().filter(|found| **found).count();
        }
        assert_eq!(found, hits, "{needle}");
    }
}

#[test]
#[ignore = "writes the fixture; run by hand when a format gets a new version"]
fn write_the_fixture() {
    let dir = PathBuf::from(std::env::var("VIGIE_FIXTURE_DIR").unwrap());
    let store = open(&dir, options());
    for start in [0, 60, 120, 180, 240] {
        append(&store, "a", &lines(start..start + 60));
        store.seal().unwrap();
    }
    while store.compact(NOW_MS, &mut |_| true).unwrap() {}
    append(&store, "a", &lines(300..480));
    store.seal().unwrap();
    append(&store, "a", &lines(480..500));
    let what = LineText::Contains(DELETED.as_bytes().to_vec());
    let tests = vec![LineTest { negative: false, what }];
    store.delete(vec![Matcher::equal("app", "a")], DELETED_RANGE, tests).unwrap();
    store.close().unwrap();
}
