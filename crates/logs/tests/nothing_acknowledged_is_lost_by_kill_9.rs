//! A child process appends lines and prints each acknowledgement; it is killed at an arbitrary
//! moment, many times over the same directory. Every acknowledged line must be there, once,
//! and no line that was not sent.
//!
//! Kill -9 cannot show a missing fsync; that needs the simulated disk.

#![allow(clippy::unwrap_used, reason = "a panic here is the failure report")]

mod common;

use common::*;
use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use vigie_logs::Options;

const DIR: &str = "VIGIE_LOGS_KILL_DIR";
const FIRST: &str = "VIGIE_LOGS_KILL_FIRST";

fn small_heads() -> Options {
    Options { head_bytes_max: 20_000, ..options() }
}

fn line(n: i64) -> String {
    format!("line {n} {}", "x".repeat((n % 97) as usize))
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
            append(&store, "a", &[entry(NOW_NS - n % 3 * DAY_NS + n, line(n))]);
        }
        println!("ack {n}");
    }
}

#[test]
fn killed_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = HashSet::new();
    let mut next = 0;
    let kills = slice_or_soak(50, 1_000) as usize;
    for kill in 0..kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env(DIR, dir.path())
            .env(FIRST, next.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let wanted = 1 + kill * 13 % 120;
        let acks = BufReader::new(child.stdout.take().unwrap());
        // The child goes on while these are counted, so the kill falls anywhere in its work.
        let read = |line: std::io::Result<String>| -> Option<i64> {
            let line = line.ok()?;
            line[line.find("ack ")? + 4..].parse().ok()
        };
        let mut acks = acks.lines();
        let mut numbers: Vec<i64> = acks.by_ref().filter_map(read).take(wanted).collect();
        child.kill().unwrap();
        numbers.extend(acks.filter_map(read));
        child.wait().unwrap();
        assert!(numbers.len() >= wanted, "the child died by itself");
        next = numbers.iter().max().unwrap() + 1;
        acknowledged.extend(numbers);

        let store = open(dir.path(), small_heads());
        let rows = read_all(&store);
        let stored: HashSet<i64> = rows
            .iter()
            .map(|(_, entry)| {
                let text = String::from_utf8(entry.line.clone()).unwrap();
                let n = text.split(' ').nth(1).unwrap().parse().unwrap();
                assert_eq!(text, line(n), "a line that was not sent");
                n
            })
            .collect();
        assert_eq!(stored.len(), rows.len(), "a line twice");
        assert!(acknowledged.is_subset(&stored), "an acknowledged line is lost");
        // At most the one that was under way in each life was stored without an answer.
        assert!(stored.len() - acknowledged.len() <= kill + 1);
        assert!(stored.iter().all(|&n| n <= next));
    }
    println!("{kills} kills, {} lines acknowledged, none lost", acknowledged.len());
    assert!(open(dir.path(), small_heads()).stats().parts > 0, "no head was ever sealed");
}
