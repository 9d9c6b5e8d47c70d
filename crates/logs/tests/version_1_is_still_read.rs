//! A directory that was written with version 1 of the formats, kept for ever.
//! `fixtures/v1` has two parts (two days; several streams and metadata, a line that is not UTF-8) and
//! a log with a record of either kind. What is in them follows from [`lines`]. To write one for a new
//! version, run `write_the_fixture` with `VIGIE_FIXTURE_DIR` set to an empty directory.

#![allow(clippy::unwrap_used, reason = "a panic here is the failure report")]

mod common;

use common::*;
use std::path::{Path, PathBuf};
use vigie_logs::Store;
use vigie_model::{Labels, LogEntry};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1")
}

/// Stream and entry of every line: those of the parts, then those of the log.
fn lines() -> [Vec<(&'static str, LogEntry)>; 2] {
    let line = |n: i64| -> Vec<u8> {
        match n % 10 {
            3 => vec![0xff, 0x00, n as u8],
            4 => Vec::new(),
            _ => format!("line {n} {}", "abc ".repeat(n as usize % 5)).into_bytes(),
        }
    };
    let entry = |n: i64| {
        let metadata = match n % 3 {
            0 => Labels::from_pairs([("trace", format!("t{}", n % 2)), ("é", "ü".to_owned())]),
            _ => Labels::default(),
        };
        let ts_ns = NOW_NS - n % 2 * DAY_NS + n / 4 * SECOND_NS;
        LogEntry { ts_ns, line: line(n), metadata }
    };
    let stream = |n: i64| if n % 7 == 0 { "b" } else { "a" };
    let all = |range: std::ops::Range<i64>| range.map(|n| (stream(n), entry(n))).collect();
    [all(0..40), all(40..140)]
}

fn put(store: &Store, lines: &[(&'static str, LogEntry)]) {
    for (at, (app, entry)) in lines.iter().enumerate() {
        // The first of the log come one by one, which makes records that are not compressed.
        if at < 60 {
            append(store, app, std::slice::from_ref(entry));
        }
    }
    let rest = lines.get(60..).unwrap_or_default();
    for app in ["a", "b"] {
        let of_app = rest.iter().filter(|(of, _)| *of == app).map(|(_, entry)| entry.clone());
        append(store, app, &of_app.collect::<Vec<_>>());
    }
}

#[test]
fn a_directory_of_version_1_is_read_byte_by_byte_and_can_be_written_on() {
    let dir = tempfile::tempdir().unwrap();
    for sub in ["wal", "parts"] {
        std::fs::create_dir(dir.path().join(sub)).unwrap();
        for file in std::fs::read_dir(fixture().join(sub)).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), dir.path().join(sub).join(file.file_name())).unwrap();
        }
    }
    let mut wanted: Vec<_> = lines().concat();
    wanted.sort_by(|a, b| (a.1.ts_ns, a.0, &a.1.line).cmp(&(b.1.ts_ns, b.0, &b.1.line)));
    let wanted: Vec<_> = wanted.into_iter().map(|(app, e)| (labels(app), e)).collect();
    for _ in 0..2 {
        let store = open(dir.path(), options());
        let stats = store.stats();
        assert_eq!((stats.broken_parts, stats.damaged), (0, 0));
        assert_eq!(read_all(&store), wanted);
        let (app, entry) = &lines()[1][3];
        assert_eq!(append(&store, app, std::slice::from_ref(entry)).duplicates, 1);
        store.seal().unwrap();
    }
}

#[test]
#[ignore = "writes the fixture; run by hand when a format gets a new version"]
fn write_the_fixture() {
    let dir = PathBuf::from(std::env::var("VIGIE_FIXTURE_DIR").unwrap());
    let [parts, log] = lines();
    let store = open(&dir, options());
    put(&store, &parts);
    store.seal().unwrap();
    put(&store, &log);
    store.close().unwrap();
}
