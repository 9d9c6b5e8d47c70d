//! Bits flipped anywhere in the files of a store: what comes back was stored, and what is missing is
//! reported. 500 flips in every run, 10,000 with `VIGIE_SOAK=1`.

#![allow(clippy::unwrap_used, reason = "a panic here is the failure report")]

mod common;

use common::*;
use std::collections::HashSet;
use std::path::PathBuf;
use vigie_model::{Direction, LogEntry};

fn lines() -> Vec<LogEntry> {
    let line = |n: i64| match n % 5 {
        0..3 => format!(
            r#"{{"n":{n},"ms":{}.5,"id":"{:032x}","ip":"10.0.0.{}"}}"#,
            n * 3,
            n * 7919,
            n % 256
        ),
        3 => format!("level=info n={n} path=/things/{n}"),
        _ => format!("plain text number {n}"),
    };
    (0..400).map(|n| entry(NOW_NS + n, line(n))).collect()
}

fn files(dir: &std::path::Path) -> Vec<PathBuf> {
    let in_dir = |dir: PathBuf| std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> = in_dir(dir.join("parts")).chain(in_dir(dir.join("wal"))).collect();
    files.sort();
    files
}

#[test]
fn flips_are_harmless_or_reported() {
    let dir = tempfile::tempdir().unwrap();
    let lines = lines();
    let store = open(dir.path(), options());
    append(&store, "a", &lines[..200]);
    store.seal().unwrap();
    append(&store, "a", &lines[200..350]);
    store.seal().unwrap();
    append(&store, "a", &lines[350..]);
    store.close().unwrap();
    drop(store);
    let wanted: HashSet<(i64, Vec<u8>)> = lines.iter().map(|e| (e.ts_ns, e.line.clone())).collect();
    let files: Vec<_> =
        files(dir.path()).into_iter().map(|p| (p.clone(), std::fs::read(p).unwrap())).collect();
    let total: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
    let flips = slice_or_soak(500, 10_000);
    let (mut dice, mut reported) = (1u64, 0);
    for flip in 0..flips {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut at = (dice >> 20) as usize % total;
        let (path, bytes) = files
            .iter()
            .find(|(_, bytes)| {
                at < bytes.len() || {
                    at -= bytes.len();
                    false
                }
            })
            .unwrap();
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (dice >> 60 & 7);
        std::fs::write(path, damaged).unwrap();

        let store = open(dir.path(), options());
        let mut faults = store.stats().broken_parts + store.stats().damaged;
        let mut found = HashSet::new();
        let mut blocks = store.select(&[], EVERYTHING, Direction::Forward, &[]).unwrap();
        while let Some(block) = blocks.next_block() {
            let Ok(block) = block.inspect_err(|_| faults += 1) else { continue };
            let mut line = Vec::new();
            for (row, &ts_ns) in block.timestamps_ns().iter().enumerate() {
                match block.line(row, &mut line) {
                    Ok(()) => assert!(found.insert((ts_ns, line.clone())), "flip {flip}: twice"),
                    Err(error) => {
                        assert!(error.to_string().contains(" at byte "), "{error}");
                        faults += 1;
                    }
                }
            }
        }
        assert!(
            found.is_subset(&wanted),
            "flip {flip} at {at} of {}: a line that was not stored",
            path.display()
        );
        // The end of the log that is not whole is a write that the power cut short, not damage.
        let is_torn = path.extension().is_some_and(|ending| ending == "log")
            && lines[..350].iter().all(|e| found.contains(&(e.ts_ns, e.line.clone())));
        let is_said = found.len() == wanted.len() || faults > 0 || is_torn;
        assert!(is_said, "flip {flip}: a line is missing and nothing says so");
        reported += u64::from(faults > 0);
        drop(store);
        for (path, bytes) in &files {
            std::fs::write(path, bytes).unwrap();
        }
        for path in self::files(dir.path()) {
            if files.iter().all(|(known, _)| *known != path) {
                std::fs::remove_file(path).unwrap();
            }
        }
    }
    println!("{flips} flips, {reported} reported, no wrong line");
    assert!(reported > flips / 2);
}
