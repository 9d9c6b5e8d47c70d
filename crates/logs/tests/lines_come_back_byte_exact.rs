//! Lines of every kind come back from the head, from parts and after a restart, once each.

#![allow(clippy::unwrap_used, reason = "a panic here is the failure report")]

mod common;

use common::*;
use std::fs;
use vigie_logs::{Batch, Durability, Options};
use vigie_model::{Direction, Labels, LogEntry, Matcher, Needle};

fn awkward_lines() -> Vec<Vec<u8>> {
    vec![
        b"plain".to_vec(),
        Vec::new(),
        vec![0],
        vec![0xff, 0xfe, 0x00, 0xc3, 0x28, b'\n', b'\r'],
        "é\u{1f980}".as_bytes().to_vec(),
        vec![b'x'; 1024 * 1024],
        (0..=255).cycle().take(1024 * 1024).collect(),
        b"plain ".to_vec(),
    ]
}

fn awkward_entries() -> Vec<LogEntry> {
    let lines = awkward_lines().into_iter().enumerate();
    let entries = lines.map(|(n, line)| LogEntry {
        // Some instants are equal, and yesterday's come after today's.
        ts_ns: NOW_NS - (n as i64 / 2 % 3) * DAY_NS,
        line,
        metadata: if n % 3 == 0 {
            Labels::from_pairs([("trace_id", format!("t{n}")), ("é", "ü".to_owned())])
        } else {
            Labels::default()
        },
    });
    entries.collect()
}

#[test]
fn from_the_head_from_parts_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let entries = awkward_entries();
    let mut wanted: Vec<_> = entries.iter().map(|e| (labels("a"), e.clone())).collect();
    wanted.push((labels("b"), entry(NOW_NS, "plain")));
    wanted.sort_by(|a, b| (a.1.ts_ns, &a.0, &a.1.line).cmp(&(b.1.ts_ns, &b.0, &b.1.line)));

    let store = open(dir.path(), options());
    assert_eq!(append(&store, "a", &entries).stored, entries.len() as u64);
    append(&store, "b", &[entry(NOW_NS, "plain")]);
    assert_eq!(read_all(&store), wanted, "from the head");
    drop(store);
    let store = open(dir.path(), options());
    assert_eq!(read_all(&store), wanted, "from the log");
    store.seal().unwrap();
    assert_eq!((store.stats().head_rows, store.stats().parts), (0, 3));
    assert_eq!(read_all(&store), wanted, "from parts");
    store.close().unwrap();
    assert!(store.append(&[], Durability::Synced).is_ok(), "nothing to refuse");
    drop(store);
    let store = open(dir.path(), options());
    assert_eq!((store.stats().head_rows, store.stats().parts), (0, 3));
    assert_eq!(read_all(&store), wanted, "from parts after a restart");
}

#[test]
fn what_is_sent_twice_is_stored_once_wherever_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let entries = awkward_entries();
    let count = entries.len() as u64;
    let mut store = open(dir.path(), options());
    let twice: Vec<_> = entries.iter().chain(&entries).cloned().collect();
    let appended = append(&store, "a", &twice);
    assert_eq!((appended.stored, appended.duplicates), (count, count), "within a request");
    for step in ["in the head", "in parts", "in parts after a restart"] {
        let appended = append(&store, "a", &entries);
        assert_eq!((appended.stored, appended.duplicates), (0, count), "{step}");
        store.seal().unwrap();
        if step == "in parts" {
            drop(store);
            store = open(dir.path(), options());
        }
    }
    assert_eq!(read_all(&store).len() as u64, count);
    let mut other = entries[1].clone();
    other.metadata = Labels::from_pairs([("a", "b")]);
    assert_eq!(append(&store, "a", &[other]).stored, 1, "other metadata is another entry");
    assert_eq!(append(&store, "b", &entries[..1]).stored, 1, "another stream is another entry");
}

#[test]
fn a_crash_between_a_part_and_the_removal_of_its_log_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let wal = dir.path().join("wal");
    let store = open(dir.path(), options());
    append(&store, "a", &awkward_entries());
    let saved: Vec<_> = fs::read_dir(&wal)
        .unwrap()
        .map(|file| file.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    let wanted = read_all(&store);
    store.seal().unwrap();
    drop(store);
    for file in fs::read_dir(&wal).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
    for (path, bytes) in saved {
        fs::write(path, bytes).unwrap();
    }
    fs::write(dir.path().join("parts/2026-11-26-0000000009.part.tmp"), b"unfinished").unwrap();
    let store = open(dir.path(), options());
    assert_eq!(read_all(&store), wanted);
    assert_eq!(store.stats().head_rows, 0);
    assert!(!dir.path().join("parts/2026-11-26-0000000009.part.tmp").exists());
}

#[test]
fn a_torn_log_tail_loses_only_what_was_not_written_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), options());
    for n in 0..3 {
        append(&store, "a", &[entry(NOW_NS + n, format!("line {n}"))]);
    }
    drop(store);
    let segment = fs::read_dir(dir.path().join("wal")).unwrap().next().unwrap().unwrap().path();
    let bytes = fs::read(&segment).unwrap();
    fs::write(&segment, &bytes[..bytes.len() - 3]).unwrap();
    let store = open(dir.path(), options());
    let lines: Vec<_> = read_all(&store).into_iter().map(|(_, entry)| entry.line).collect();
    assert_eq!(lines, [b"line 0", b"line 1"]);
    append(&store, "a", &[entry(NOW_NS + 2, "line 2")]);
    drop(store);
    assert_eq!(read_all(&open(dir.path(), options())).len(), 3);
}

#[test]
fn a_full_head_is_sealed_by_itself_and_needles_find_their_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { head_bytes_max: 100_000, ..options() };
    let store = open(dir.path(), options);
    let line = |n: i64| format!("{n} {}", "filler ".repeat(20));
    for chunk in 0..20 {
        let entries: Vec<_> =
            (0..100).map(|n| chunk * 100 + n).map(|n| entry(NOW_NS - n, line(n))).collect();
        append(&store, "a", &entries);
    }
    assert!(store.stats().parts > 2, "{:?}", store.stats());
    assert!(store.stats().head_bytes < 200_000);
    assert_eq!(read_all(&store).len(), 2000);

    let matchers = [Matcher::equal("app", "a")];
    for (needle, found) in [("1234 ", 1), ("filler", 2000), ("nowhere", 0)] {
        let needles = [Needle(needle.as_bytes().to_vec())];
        let mut blocks =
            store.select(&matchers, EVERYTHING, Direction::Backward, &needles).unwrap();
        let mut count = 0;
        while let Some(block) = blocks.next_block() {
            let block = block.unwrap();
            let mut rows = vec![true; block.timestamps_ns().len()];
            block.contains(needle.as_bytes(), &mut rows).unwrap();
            count += rows.iter().filter(|&&row| row).count();
        }
        assert_eq!(count, found, "{needle}");
    }
}

#[test]
fn every_flipped_byte_of_a_part_is_noticed_and_the_rest_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), options());
    append(&store, "a", &[entry(NOW_NS - DAY_NS, "yesterday")]);
    let metadata = Labels::from_pairs([("k", "v")]);
    append(&store, "b", &[LogEntry { metadata, ..entry(NOW_NS, "today") }]);
    store.seal().unwrap();
    drop(store);
    let wanted = |rows: Vec<(Labels, LogEntry)>| rows.iter().any(|(_, e)| e.line == b"yesterday");
    let mut files: Vec<_> =
        fs::read_dir(dir.path().join("parts")).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    let today = files.last().unwrap();
    let bytes = fs::read(today).unwrap();
    for at in (0..bytes.len()).filter(|at| !(12..16).contains(at)) {
        let mut bad = bytes.clone();
        bad[at] ^= 0x10;
        fs::write(today, bad).unwrap();
        let store = open(dir.path(), options());
        let mut blocks = store.select(&[], EVERYTHING, Direction::Forward, &[]).unwrap();
        let mut errors = store.stats().broken_parts;
        let mut rows = Vec::new();
        while let Some(block) = blocks.next_block() {
            let mut line = Vec::new();
            match block.and_then(|block| block.line(0, &mut line).map(|()| block)) {
                Ok(block) => rows.push((
                    blocks.labels(block.stream(0)),
                    LogEntry { line, ..entry(block.timestamps_ns()[0], "") },
                )),
                Err(error) => {
                    assert!(error.to_string().contains("2026-11-26-"), "{error}");
                    errors += 1;
                }
            }
        }
        assert_eq!(errors, 1, "byte {at}");
        assert!(wanted(rows), "byte {at}");
    }
}

#[test]
fn lines_that_are_only_written_are_readable_and_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), options());
    let batch = [Batch { labels: &labels("a"), entries: &[entry(NOW_NS, "x")] }];
    assert_eq!(store.append(&batch, Durability::Written).unwrap().stored, 1);
    assert_eq!(read_all(&store).len(), 1);
    store.tick(NOW_MS).unwrap();
    assert_eq!(store.stats().parts, 0);
    store.tick(NOW_MS + options().head_age_max_ms).unwrap();
    assert_eq!((store.stats().parts, store.stats().head_rows), (1, 0), "sealed by age");
    drop(store);

    let idle = Options { head_idle_bytes_min: 1, ..options() };
    let idle_ms = idle.head_idle_max_ms;
    let store = open(dir.path(), idle);
    let batch = [Batch { labels: &labels("a"), entries: &[entry(NOW_NS, "y")] }];
    assert_eq!(store.append(&batch, Durability::Written).unwrap().stored, 1);
    store.tick(NOW_MS + idle_ms - 1).unwrap();
    assert_eq!((store.stats().parts, store.stats().head_rows), (1, 1), "it waits for more");
    store.tick(NOW_MS + idle_ms).unwrap();
    assert_eq!((store.stats().parts, store.stats().head_rows), (2, 0), "sealed when idle");
    drop(store);
    assert_eq!(read_all(&open(dir.path(), options())).len(), 2);
}
