//! A log source in memory, in two overlapping blocks per direction, and the corpus' whereabouts.

#![allow(dead_code, clippy::unwrap_used, reason = "each test binary uses a part, and may panic")]

use std::path::PathBuf;
use std::sync::Arc;
use vigie_logql::LogSource;
use vigie_model::blocks::{
    Direction, LogBlock, LogBlocks, LogEntry, LogRange, Needle, Shapes, SlotValues, StreamId,
};
use vigie_model::{Labels, Matcher, ReadError};

/// Streams and their entries, in order of arrival.
#[derive(Default)]
pub struct Memory {
    pub streams: Vec<(Labels, Vec<LogEntry>)>,
}

impl Memory {
    pub fn push(&mut self, labels: &Labels, ts_ns: i64, line: &str, metadata: Labels) {
        let entry = LogEntry { ts_ns, line: line.as_bytes().to_vec(), metadata };
        match self.streams.iter_mut().find(|(have, _)| have == labels) {
            Some((_, entries)) => entries.push(entry),
            None => self.streams.push((labels.clone(), vec![entry])),
        }
    }
}

struct Block {
    timestamps: Vec<i64>,
    rows: Vec<(StreamId, LogEntry)>,
}

impl LogBlock for Block {
    fn timestamps_ns(&self) -> &[i64] {
        &self.timestamps
    }
    fn stream(&self, row: usize) -> StreamId {
        self.rows[row].0
    }
    fn metadata(&self, row: usize) -> Labels {
        self.rows[row].1.metadata.clone()
    }
    fn contains(&self, needle: &[u8], rows: &mut [bool]) -> Result<(), ReadError> {
        for (keep, (_, entry)) in rows.iter_mut().zip(&self.rows) {
            *keep = *keep && entry.line.windows(needle.len()).any(|part| part == needle);
        }
        Ok(())
    }
    fn shapes(&self) -> Option<Shapes<'_>> {
        None
    }
    fn values(&self, _: usize, _: usize) -> Result<SlotValues<'_>, ReadError> {
        unreachable!("the block has no shapes")
    }
    fn value(&self, _: usize, _: usize, _: usize, _: &mut Vec<u8>) -> Result<(), ReadError> {
        unreachable!("the block has no shapes")
    }
    fn line(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ReadError> {
        out.clear();
        out.extend_from_slice(&self.rows[row].1.line);
        Ok(())
    }
}

struct Blocks {
    labels: Vec<Labels>,
    blocks: std::vec::IntoIter<Arc<dyn LogBlock>>,
}

impl LogBlocks for Blocks {
    fn next_block(&mut self) -> Option<Result<Arc<dyn LogBlock>, ReadError>> {
        self.blocks.next().map(Ok)
    }
    fn labels(&self, id: StreamId) -> Labels {
        self.labels[id.0 as usize].clone()
    }
}

impl LogSource for Memory {
    fn select(
        &self,
        matchers: &[Matcher],
        range: LogRange,
        direction: Direction,
        needles: &[Needle],
    ) -> Result<Box<dyn LogBlocks>, ReadError> {
        let mut rows: Vec<(StreamId, LogEntry)> = Vec::new();
        for (at, (labels, entries)) in self.streams.iter().enumerate() {
            if matchers.iter().all(|m| m.matches_labels(labels)) {
                rows.extend(
                    entries
                        .iter()
                        .filter(|e| (range.start_ns..range.end_ns).contains(&e.ts_ns))
                        .map(|e| (StreamId(at as u32), e.clone())),
                );
            }
        }
        // A store may leave out lines without a needle; this one does, to prove that needles are right.
        rows.retain(|(_, e)| {
            needles.iter().all(|n| e.line.windows(n.0.len()).any(|part| part == n.0))
        });
        rows.sort_by_key(|(_, e)| e.ts_ns);
        // Odd and even rows in blocks of their own: blocks overlap, as in a real store.
        let block = |parity: usize| -> Arc<dyn LogBlock> {
            let rows: Vec<_> = rows.iter().skip(parity).step_by(2).cloned().collect();
            Arc::new(Block { timestamps: rows.iter().map(|(_, e)| e.ts_ns).collect(), rows })
        };
        let mut blocks: Vec<_> =
            [block(0), block(1)].into_iter().filter(|b| !b.timestamps_ns().is_empty()).collect();
        match direction {
            Direction::Forward => blocks.sort_by_key(|b| b.timestamps_ns()[0]),
            Direction::Backward => {
                blocks.sort_by_key(|b| std::cmp::Reverse(b.timestamps_ns().last().copied()));
            }
        }
        Ok(Box::new(Blocks {
            labels: self.streams.iter().map(|(labels, _)| labels.clone()).collect(),
            blocks: blocks.into_iter(),
        }))
    }
}

/// The directory of Loki's corpora, or `None`, said loudly.
pub fn corpus(what: &str) -> Option<PathBuf> {
    match std::env::var_os("VIGIE_CORPORA") {
        Some(root) => Some(PathBuf::from(root).join("loki")),
        None => {
            eprintln!("SKIPPED: all cases of {what}: VIGIE_CORPORA is not set");
            None
        }
    }
}

/// The starts of the queries that differ on purpose (`tests/differences.txt`); a line without a reason or a commit is a failure.
pub fn differences() -> Vec<&'static str> {
    let lines = include_str!("../differences.txt").lines().filter(|line| !line.starts_with("# "));
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let [start, reason, commit] = fields[..] else {
                panic!("query, reason and commit, between tabs: {line:?}")
            };
            let hex = commit.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            assert!(hex && commit.len() == 40, "no commit: {line:?}");
            assert!(!start.is_empty() && !reason.is_empty(), "no query or no reason: {line:?}");
            start
        })
        .collect()
}

/// Whether the query differs on purpose.
pub fn differs_on_purpose(query: &str) -> bool {
    differences().iter().any(|start| query.starts_with(start))
}

/// Compares a count with the floor kept in `tests/floors.txt`; it may only rise.
pub fn at_least_the_floor(name: &str, passed: usize, total: usize) {
    println!("{name}: {passed} of {total} pass");
    let floors = include_str!("../floors.txt");
    let floor: usize = floors
        .lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(have, _)| *have == name)
        .map_or(0, |(_, count)| count.trim().parse().unwrap());
    assert!(passed >= floor, "{name}: {passed} of {total} pass, fewer than the floor of {floor}");
    if passed > floor {
        println!("{name}: raise the floor from {floor} to {passed} in tests/floors.txt");
    }
}
