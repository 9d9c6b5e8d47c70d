//! A slice of a real access log through the store: byte-exact, and how small it gets.
//!
//! The log is not part of the repository: `VIGIE_CORPORA` names the directory that holds it.

#![allow(clippy::unwrap_used, reason = "a panic here is the failure report")]

mod common;

use common::*;
use std::io::{BufRead, BufReader};
use vigie_model::{Direction, LogBlocks, Matcher, Needle};

const LINES: usize = 30_000;
const NEEDLE: &[u8] = b"\"status\":50";

fn count_containing(blocks: &mut dyn LogBlocks) -> usize {
    let mut count = 0;
    while let Some(block) = blocks.next_block() {
        let block = block.unwrap();
        let mut rows = vec![true; block.timestamps_ns().len()];
        block.contains(NEEDLE, &mut rows).unwrap();
        count += rows.iter().filter(|&&row| row).count();
    }
    count
}

#[test]
fn every_line_and_every_needle() {
    let Some(corpora) = std::env::var_os("VIGIE_CORPORA") else {
        eprintln!("SKIPPED: {LINES} lines of an access log: VIGIE_CORPORA is unset");
        return;
    };
    let path = std::path::Path::new(&corpora).join("loki/bench/actix_json_200k.log.zst");
    let file = zstd::Decoder::new(std::fs::File::open(path).unwrap()).unwrap();
    let lines: Vec<Vec<u8>> =
        BufReader::new(file).split(b'\n').take(LINES).map(|line| line.unwrap()).collect();
    assert_eq!(lines.len(), LINES);

    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), options());
    for (chunk, lines) in lines.chunks(1000).enumerate() {
        let at = |n: usize| NOW_NS - DAY_NS / 2 + (chunk * 1000 + n) as i64 * 1_000_000;
        let entries: Vec<_> =
            lines.iter().enumerate().map(|(n, line)| entry(at(n), line)).collect();
        assert_eq!(append(&store, "koprogo-api", &entries).stored, lines.len() as u64);
        store.tick(NOW_MS).unwrap();
    }
    store.seal().unwrap();
    drop(store);
    let store = open(dir.path(), options());
    let rows = read(&store, &[], EVERYTHING, Direction::Forward);
    assert!(rows.iter().map(|(_, entry)| &entry.line).eq(&lines));

    let stats = store.stats();
    let ratio = stats.part_line_bytes as f64 / stats.part_file_bytes as f64;
    println!(
        "{LINES} lines, {} bytes, {} parts, ratio {ratio:.2}",
        stats.part_line_bytes, stats.parts
    );
    assert!(ratio > 4.0, "{ratio}");
    let matchers = [Matcher::equal("app", "koprogo-api")];
    let needles = [Needle(NEEDLE.to_vec())];
    let mut blocks = store.select(&matchers, EVERYTHING, Direction::Backward, &needles).unwrap();
    let wanted =
        lines.iter().filter(|line| line.windows(NEEDLE.len()).any(|w| w == NEEDLE)).count();
    assert_eq!(count_containing(&mut *blocks), wanted);
}
