//! A child process appends, compacts, deletes and retains, and tells what it is about to do and what
//! was acknowledged; it is killed at an arbitrary moment, many times over the same directory. Every
//! acknowledged line must be there, once, but for those that were deleted or grew too old; no deleted
//! line may come back; and no line may be there that was not sent.
//!
//! Kill -9 cannot show a missing fsync; that needs the simulated disk.
//! 50 kills in every run, 1,000 with `VIGIE_SOAK=1`.

#![allow(clippy::unwrap_used, reason = "a panic here is the failure report")]

mod common;

use common::*;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use vigie_logs::{LineTest, LineText, Options, Store};
use vigie_model::{LogRange, Matcher};

const DIR: &str = "VIGIE_LOGS_KILL_DIR";
const FIRST: &str = "VIGIE_LOGS_KILL_FIRST";
const DAY_MS: i64 = DAY_NS / 1_000_000;

fn small_heads() -> Options {
    Options { head_bytes_max: 20_000, delete_delay_ms: 0, ..options() }
}

fn line(n: i64) -> String {
    format!("line {n} {}", "x".repeat((n % 97) as usize))
}

/// One line in forty is of the day that retention takes away.
fn instant(n: i64) -> i64 {
    let days = if n % 40 == 39 { 6 } else { n % 3 };
    NOW_NS - days * DAY_NS + n
}

fn is_old(n: i64) -> bool {
    n % 40 == 39
}

/// Not a test of its own: the part that the child plays.
#[test]
fn child() {
    let (Ok(dir), Ok(first)) = (std::env::var(DIR), std::env::var(FIRST)) else { return };
    let store = open(dir.as_ref(), small_heads());
    let first: i64 = first.parse().unwrap();
    for n in first.. {
        // Every seventh request is sent twice, as a client does that saw no answer.
        for _ in 0..if n % 7 == 0 { 2 } else { 1 } {
            append(&store, "a", &[entry(instant(n), line(n))]);
        }
        println!("ack {n}");
        if n % 23 == 0 {
            delete(&store, n - n % 19);
        }
        if n % 31 == 0 {
            while store.compact(NOW_MS + 3 * DAY_MS, &mut |_| true).unwrap() {}
        }
        if n % 53 == 0 {
            println!("retain 0");
            store.tick(NOW_MS + 2 * DAY_MS).unwrap();
        }
    }
}

fn delete(store: &Store, n: i64) {
    println!("delete {n}");
    let range = LogRange { start_ns: instant(n), end_ns: instant(n) + 1 };
    let text = LineText::Contains(format!("line {n} ").into_bytes());
    let test = LineTest { negative: false, what: text };
    store.delete(vec![Matcher::equal("app", "a")], range, vec![test]).unwrap();
    println!("deleted {n}");
}

/// What the children told, over all their lives.
#[derive(Default)]
struct Told {
    acknowledged: BTreeSet<i64>,
    /// May be gone: somebody began to delete them.
    fading: BTreeSet<i64>,
    /// Must be gone.
    deleted: BTreeSet<i64>,
    retains: u64,
}

impl Told {
    fn take(&mut self, what: &str, n: i64) {
        match what {
            "ack" => drop(self.acknowledged.insert(n)),
            "delete" => drop(self.fading.insert(n)),
            "deleted" => drop(self.deleted.insert(n)),
            _ => self.retains += 1,
        }
    }
}

/// Starts a child and kills it after so many words of it.
fn live(dir: &Path, first: i64, words: usize, told: &mut Told) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    // The child goes on while these are counted, so the kill falls anywhere in its work.
    let word = |line: std::io::Result<String>| -> Option<(&'static str, i64)> {
        let line = line.ok()?;
        ["ack ", "delete ", "deleted ", "retain "].into_iter().find_map(|what| {
            let number = line[line.find(what)? + what.len()..].parse().ok()?;
            Some((what.trim(), number))
        })
    };
    let mut out = out.lines();
    let mut heard: Vec<_> = out.by_ref().filter_map(word).take(words).collect();
    child.kill().unwrap();
    heard.extend(out.filter_map(word));
    child.wait().unwrap();
    assert!(heard.len() >= words, "the child died by itself");
    heard.into_iter().for_each(|(what, n)| told.take(what, n));
}

#[test]
fn killed_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut told = Told::default();
    let (mut next, mut compacted) = (0, 0);
    let kills = slice_or_soak(50, 1_000) as usize;
    for kill in 0..kills {
        live(dir.path(), next, 1 + kill * 13 % 120, &mut told);
        next = told.acknowledged.last().unwrap() + 1;
        let store = open(dir.path(), small_heads());
        let mut stored: BTreeMap<i64, u64> = BTreeMap::new();
        for (_, entry) in read_all(&store) {
            let text = String::from_utf8(entry.line).unwrap();
            let n = text.split(' ').nth(1).unwrap().parse().unwrap();
            assert_eq!((text, entry.ts_ns), (line(n), instant(n)), "a line that was not sent");
            *stored.entry(n).or_default() += 1;
        }
        assert_eq!(stored.values().find(|&&times| times > 1), None, "kill {kill}: a line twice");
        let may_be_gone = |n: &i64| told.fading.contains(n) || is_old(*n) && told.retains > 0;
        let lost = told.acknowledged.iter().find(|n| !stored.contains_key(n) && !may_be_gone(n));
        assert_eq!(lost, None, "kill {kill}: an acknowledged line is lost");
        let risen = told.deleted.iter().find(|n| stored.contains_key(n));
        assert_eq!(risen, None, "kill {kill}: a deleted line is there");
        // At most the one that was under way in each life was stored without an answer.
        let unanswered = stored.keys().filter(|n| !told.acknowledged.contains(n)).count();
        assert!(unanswered <= kill + 1);
        assert!(stored.keys().all(|&n| n <= next));
        let (stats, done) = (store.stats(), store.deletions());
        assert_eq!((stats.broken_parts, stats.damaged), (0, 0), "kill {kill}");
        compacted += u64::from(done.iter().any(|one| one.done_ms.is_some()));
        if kill % 100 == 99 {
            println!("{} kills, {} lines acknowledged", kill + 1, told.acknowledged.len());
        }
    }
    let Told { acknowledged, deleted, retains, .. } = &told;
    println!(
        "{kills} kills, {} lines acknowledged, {} deleted, {retains} retentions: none lost, none risen",
        acknowledged.len(),
        deleted.len()
    );
    assert!(open(dir.path(), small_heads()).stats().parts > 0, "no head was ever sealed");
    assert!(
        compacted > 0 && *retains > 0 && !deleted.is_empty(),
        "not all kinds of work were done"
    );
}
