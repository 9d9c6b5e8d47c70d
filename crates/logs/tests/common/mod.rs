//! What the scenarios share: a store in a directory, with a clock that stands still.

#![allow(dead_code, reason = "every scenario uses a part of this")]
#![allow(clippy::unwrap_used, reason = "a panic here is the failure report")]

pub mod flipped;
pub mod hostile;
pub mod moody;
pub mod simulated;

use std::path::Path;
use std::sync::Arc;
use vigie_disk::RealDisk;
use vigie_logs::{Appended, Batch, Clock, Durability, Options, Store};
use vigie_model::{Direction, Labels, LogEntry, LogRange, Matcher, ReadError};

/// 2026-11-26T11:02:00Z.
pub const NOW_MS: i64 = 1_795_690_920_000;
pub const NOW_NS: i64 = NOW_MS * 1_000_000;
pub const SECOND_NS: i64 = 1_000_000_000;
pub const DAY_NS: i64 = 86_400 * SECOND_NS;

pub const EVERYTHING: LogRange = LogRange { start_ns: i64::MIN, end_ns: i64::MAX };

pub fn options() -> Options {
    Options { clock: Clock(Arc::new(|| NOW_MS)), ..Options::default() }
}

pub fn open(dir: &Path, options: Options) -> Store {
    Store::open(Arc::new(RealDisk), dir, options).unwrap()
}

pub fn labels(app: &str) -> Labels {
    Labels::from_pairs([("app", app), ("env", "test")])
}

pub fn entry(ts_ns: i64, line: impl AsRef<[u8]>) -> LogEntry {
    LogEntry { ts_ns, line: line.as_ref().to_vec(), metadata: Labels::default() }
}

pub fn append(store: &Store, app: &str, entries: &[LogEntry]) -> Appended {
    let batch = [Batch { labels: &labels(app), entries }];
    store.append(&batch, Durability::Synced).unwrap()
}

/// All rows of a selection, in the order in which they come.
pub fn read(
    store: &Store,
    matchers: &[Matcher],
    range: LogRange,
    direction: Direction,
) -> Vec<(Labels, LogEntry)> {
    try_read(store, matchers, range, direction).unwrap()
}

/// [`read`], or what could not be read.
pub fn try_read(
    store: &Store,
    matchers: &[Matcher],
    range: LogRange,
    direction: Direction,
) -> Result<Vec<(Labels, LogEntry)>, ReadError> {
    let mut blocks = store.select(matchers, range, direction, &[])?;
    let mut rows = Vec::new();
    while let Some(block) = blocks.next_block() {
        let block = block?;
        for (row, &ts_ns) in block.timestamps_ns().iter().enumerate() {
            let mut line = vec![b'?'];
            block.line(row, &mut line)?;
            let metadata = block.metadata(row);
            rows.push((blocks.labels(block.stream(row)), LogEntry { ts_ns, line, metadata }));
        }
    }
    Ok(rows)
}

/// Everything, sorted.
pub fn read_all(store: &Store) -> Vec<(Labels, LogEntry)> {
    let mut rows = read(store, &[], EVERYTHING, Direction::Forward);
    rows.sort_by(|a, b| (a.1.ts_ns, &a.0, &a.1.line).cmp(&(b.1.ts_ns, &b.0, &b.1.line)));
    rows
}

/// How often a suite does what it does: a slice in every run, all of it with `VIGIE_SOAK=1`.
pub fn slice_or_soak(slice: u64, soak: u64) -> u64 {
    if std::env::var("VIGIE_SOAK").is_ok_and(|value| value == "1") { soak } else { slice }
}
