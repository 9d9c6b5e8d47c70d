//! Bits flipped anywhere in the files of a store: what comes back was stored, and what is missing is
//! reported with file and offset; no flip keeps a store closed or brings a deleted line back.

use super::simulated::Dice;
use super::*;
use std::collections::HashSet;
use std::path::PathBuf;
use vigie_disk::RealDisk;
use vigie_logs::{LineTest, LineText, Options, Store};
use vigie_model::{Direction, LogEntry};

/// Of the lines, those before this one stand in a part that compaction made.
const MERGED: usize = 150;
/// Those from here on stand in the log only.
const IN_LOG: usize = 350;
const DELETED: &[u8] = b"plain text number 4";

/// Lines by instant.
type Found = HashSet<(i64, Vec<u8>)>;

fn lines() -> Vec<LogEntry> {
    let line = |n: i64| match n % 5 {
        0..3 => format!(
            r#"{{"n":{n},"ms":{}.5,"id":"{:032x}","ip":"10.0.0.{}","word":"w{}"}}"#,
            n * 3,
            n * 7919,
            n % 256,
            n % 7
        ),
        3 => format!("level=info n={n} path=/things/{n}"),
        _ => format!("plain text number {n}"),
    };
    (0..400).map(|n| entry(NOW_NS + n, line(n))).collect()
}

/// Files of every kind: a merged part, one of a seal, the log, delete requests.
fn fill(dir: &Path, lines: &[LogEntry]) {
    let store = open(dir, quiet());
    for part in lines[..MERGED].chunks(MERGED / 5) {
        append(&store, "a", part);
        store.seal().unwrap();
    }
    while store.compact(NOW_MS, &mut |_| true).unwrap() {}
    assert_eq!(store.stats().parts, 1);
    append(&store, "a", &lines[MERGED..IN_LOG]);
    store.seal().unwrap();
    let test = LineTest { negative: false, what: LineText::Contains(DELETED.to_vec()) };
    store.delete(vec![Matcher::equal("app", "a")], EVERYTHING, vec![test]).unwrap();
    append(&store, "a", &lines[IN_LOG..]);
    store.close().unwrap();
}

/// Deleted lines stay hidden and on disk.
fn quiet() -> Options {
    Options { delete_delay_ms: i64::MAX, ..options() }
}

/// Every file of the store, with its bytes.
fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for dir in [dir.to_path_buf(), dir.join("parts"), dir.join("wal")] {
        for file in std::fs::read_dir(dir).unwrap() {
            let path = file.unwrap().path();
            if path.is_file() {
                files.push((path.clone(), std::fs::read(path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

fn put_back(dir: &Path, files: &[(PathBuf, Vec<u8>)]) {
    for (path, _) in self::files(dir) {
        if files.iter().all(|(known, _)| *known != path) {
            std::fs::remove_file(path).unwrap();
        }
    }
    files.iter().for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
}

/// Lines found, faults told, or what must not be.
fn look(store: &Store) -> Result<(Found, u64), String> {
    let mut faults = store.stats().broken_parts + store.stats().damaged;
    let mut found = HashSet::new();
    let mut told = |error: String| {
        faults += 1;
        let names = error.contains(" at byte ");
        if names { Ok(()) } else { Err(format!("no file and offset in {error:?}")) }
    };
    let mut blocks = store.select(&[], EVERYTHING, Direction::Forward, &[]).unwrap();
    while let Some(block) = blocks.next_block() {
        let block = match block {
            Ok(block) => block,
            Err(error) => {
                told(error.to_string())?;
                continue;
            }
        };
        let mut line = Vec::new();
        for (row, &ts_ns) in block.timestamps_ns().iter().enumerate() {
            match block.line(row, &mut line) {
                Ok(()) => {
                    if !found.insert((ts_ns, line.clone())) {
                        return Err("a line is there twice".to_owned());
                    }
                }
                Err(error) => told(error.to_string())?,
            }
        }
    }
    Ok((found, faults))
}

/// Flips that many bits, one at a time; how many were reported, or what was wrong.
pub fn flips(count: u64) -> Result<u64, String> {
    let dir = tempfile::tempdir().unwrap();
    let lines = lines();
    fill(dir.path(), &lines);
    let is_deleted = |line: &[u8]| line.windows(DELETED.len()).any(|w| w == DELETED);
    let kept = lines.iter().filter(|e| !is_deleted(&e.line));
    let wanted: Found = kept.map(|e| (e.ts_ns, e.line.clone())).collect();
    let sealed: Found =
        wanted.iter().filter(|(ts, _)| *ts < NOW_NS + IN_LOG as i64).cloned().collect();
    let files = files(dir.path());
    let total: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
    let (mut dice, mut reported) = (Dice(7), 0);
    for flip in 0..count {
        let (mut at, bit) = (dice.roll(total as u64) as usize, dice.roll(8));
        let mut files_before = files.iter();
        let (path, bytes) = loop {
            let (path, bytes) = files_before.next().unwrap();
            if at < bytes.len() {
                break (path, bytes);
            }
            at -= bytes.len();
        };
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << bit;
        std::fs::write(path, damaged).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let place = format!("flip {flip}, bit {bit} of byte {at} of {name}");
        let store = Store::open(Arc::new(RealDisk), dir.path(), quiet());
        let store = store.map_err(|error| format!("{place}: closed: {error}"))?;
        let (found, faults) = look(&store).map_err(|what| format!("{place}: {what}"))?;
        if let Some((_, line)) = found.difference(&wanted).next() {
            let line = String::from_utf8_lossy(line);
            return Err(format!("{place}: a line that is not stored or deleted: {line}"));
        }
        // The end of the log that is not whole is a write that the power cut short, not damage.
        let is_torn = name.ends_with(".log") && sealed.is_subset(&found);
        if found.len() < wanted.len() && faults == 0 && !is_torn {
            return Err(format!("{place}: a line is missing and nothing says so"));
        }
        reported += u64::from(faults > 0);
        drop(store);
        put_back(dir.path(), &files);
        if flip % 1_000 == 999 {
            println!("{} flips, {reported} reported", flip + 1);
        }
    }
    Ok(reported)
}
