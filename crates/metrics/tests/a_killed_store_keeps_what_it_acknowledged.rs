//! A child process appends, compacts, deletes, takes snapshots and lets rows grow too old, and prints what
//! was acknowledged; it is killed with SIGKILL at a random moment, and the store is opened again, many times on the
//! same directory.

#![allow(clippy::unwrap_used, reason = "a panic is the failure report")]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use support::samples::{Sample, append_samples, histogram};
use support::{Dice, labels, open, patient, read};
use vigie_metrics::{Durability, Options, Store};
use vigie_model::{Matcher, TimeRange};

const DIR_VARIABLE: &str = "VIGIE_KILL_TEST_DIR";
/// A thousand rows before midnight (UTC): their day's block is over soon, and then too old.
const START_MS: i64 = 19_675 * 24 * HOUR_MS - 1000 * 1000;
const HOUR_MS: i64 = 3600 * 1000;
/// The clock is a day and an hour ahead now and then, so rows of the last hour are always kept.
const RETENTION_MS: i64 = 26 * HOUR_MS;

fn options() -> Options {
    let retention_ms = RETENTION_MS;
    Options { log_bytes_max: 20_000, open_bytes_max: 20_000, retention_ms, ..patient() }
}

/// Whether the retention may have taken row `n` when row `last` was acknowledged.
fn may_be_too_old(n: u64, last: u64) -> bool {
    n + 3600 <= last
}

/// Row `n` is the same whoever makes it: its instant, its series and their samples.
fn row(n: u64) -> (i64, Vec<(usize, usize, Sample)>) {
    let dice = Dice(n);
    let instance = (n % 3) as usize;
    let cells =
        (0..10).filter(|at| at % 5 == 0 || !dice.0.is_multiple_of(7)).map(|at| (instance, at));
    let new = (instance, 100 + (n / 50) as usize);
    let cells = cells.chain([new]).collect::<Vec<_>>();
    let value = |at| match at % 5 {
        3 => Sample::Histogram(histogram(&mut Dice(n * 31 + at))),
        _ => Sample::Float(Dice(n * 31 + at).roll(1 << 40) as f64 / 1024.0),
    };
    let cells = cells.into_iter().map(|(instance, at)| (instance, at, value(at as u64)));
    let cells = cells.collect();
    (START_MS + n as i64 * 1000, cells)
}

fn append(store: &Store, n: u64) {
    let (ts_ms, cells) = row(n);
    let ids = cells.iter().map(|(instance, at, _)| store.intern(&labels("m", *instance, *at)));
    let ids: Vec<_> = ids.map(Result::unwrap).collect();
    let samples: Vec<Sample> = cells.into_iter().map(|cell| cell.2).collect();
    let durability = if n.is_multiple_of(16) { Durability::Synced } else { Durability::Written };
    let done = append_samples(store, ts_ms, &ids, &samples, durability).unwrap();
    assert_eq!(done.conflicting, 0);
}

/// The row that is deleted after row `n` was appended.
fn deleted_by(n: u64) -> u64 {
    n - 90
}

fn delete(store: &Store, n: u64) {
    let (ts_ms, _) = row(deleted_by(n));
    let range = TimeRange { start_ms: ts_ms, end_ms: ts_ms };
    store.delete_series(&[Matcher::equal("__name__", "m")], range).unwrap();
}

/// Whether a deletion was begun that would delete the row, by when row `last` was acknowledged.
fn may_be_deleted(n: u64, last: u64) -> bool {
    let by = n + 90;
    by % 160 == 100 && by <= last
}

#[test]
#[ignore = "the child of the test below"]
fn child() {
    let Ok(dir) = std::env::var(DIR_VARIABLE) else { return };
    let store = open(Path::new(&dir), options());
    let first = std::env::var("VIGIE_KILL_TEST_FIRST").unwrap().parse().unwrap();
    let mut out = std::io::stdout();
    for n in first..u64::MAX {
        append(&store, n);
        writeln!(out, "acknowledged {n}").unwrap();
        if n % 40 == 0 {
            let day_ms = if n % 400 == 0 { 25 * HOUR_MS } else { 0 };
            store.tick(START_MS + n as i64 * 1000 + day_ms).unwrap();
        }
        if n % 300 == 0 {
            store.flush().unwrap();
        }
        if n % 40 == 20 {
            // Two days later, so that days are joined too.
            let now_ms = START_MS + n as i64 * 1000 + 48 * HOUR_MS;
            while store.compact(now_ms, &mut |_| true).unwrap() {}
        }
        if n % 160 == 100 {
            delete(&store, n);
            writeln!(out, "deleted {n}").unwrap();
        }
        if n % 500 == 250 {
            store.clean_tombstones(&mut |_| true).unwrap();
        }
        if n % 1000 == 700 {
            let to = Path::new(&dir).join("snapshots").join(n.to_string());
            let _ = std::fs::remove_dir_all(&to);
            store.snapshot(&to, false).unwrap();
        }
    }
}

/// Runs the child from row `first` on, kills it after `acks` and returns the last row acknowledged.
/// Notes the deletions that were.
fn run_and_kill(dir: &Path, first: u64, acks: u64, deletions: &mut Vec<u64>) -> Option<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(DIR_VARIABLE, dir)
        .env("VIGIE_KILL_TEST_FIRST", first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut last = None;
    let mut left = acks;
    // After the kill the pipe still holds acknowledgements that count.
    while let Some(Ok(line)) = lines.next() {
        if let Some(n) = line.strip_prefix("deleted ") {
            deletions.push(n.parse().unwrap());
        }
        if let Some(n) = line.strip_prefix("acknowledged ") {
            last = n.parse().ok().or(last);
            left = left.saturating_sub(1);
            if left == 0 {
                child.kill().unwrap();
            }
        }
    }
    child.wait().unwrap();
    last
}

#[test]
fn a_killed_store_keeps_what_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut dice = Dice(20);
    let (mut next, mut acknowledged) = (0, 0);
    let mut deletions = Vec::new();
    let kills = support::slice_or_soak(50, 1_000);
    for kill in 0..kills {
        let acks = 1 + dice.roll(if kill % 2 == 0 { 40 } else { 400 });
        let last = run_and_kill(dir.path(), next, acks, &mut deletions)
            .expect("something was acknowledged");
        let from = next.saturating_sub(50);
        let store = open(dir.path(), options());
        let range = TimeRange { start_ms: row(from).0, end_ms: i64::MAX };
        let found = read(&store, &[], range);
        for n in (from..=last).filter(|n| !may_be_deleted(*n, last)) {
            let (ts_ms, cells) = row(n);
            for (instance, at, value) in cells {
                let key = (labels("m", instance, at).to_string(), ts_ms);
                assert_eq!(found.get(&key), Some(&value.bits()), "kill {kill}, row {n}");
            }
        }
        acknowledged += last + 1 - next;
        // The row after may have been written without an acknowledgement: it is sent again.
        next = last + 1;
        append(&store, next);
        next += 1;
    }
    let store = open(dir.path(), options());
    let found = read(&store, &[], support::ALL);
    for n in (0..next).filter(|n| !may_be_deleted(*n, next) && !may_be_too_old(*n, next)) {
        let (ts_ms, cells) = row(n);
        for (instance, at, _) in cells {
            assert!(found.contains_key(&(labels("m", instance, at).to_string(), ts_ms)), "row {n}");
        }
    }
    for n in &deletions {
        let (ts_ms, _) = row(deleted_by(*n));
        assert!(found.keys().all(|(_, at_ms)| *at_ms != ts_ms), "row {} came back", deleted_by(*n));
    }
    assert!(!deletions.is_empty() && store.stats().blocks > 0, "{:?}", store.stats());
    let oldest_ms = found.keys().map(|(_, at_ms)| *at_ms).min().unwrap();
    let too_old = (oldest_ms - START_MS) / 1000;
    assert!(next < 6_000 || too_old > 0, "nothing grew too old");
    println!("{kills} kills, {acknowledged} rows acknowledged, none lost, {too_old} grew too old");
}
