//! The head: the lines that are in the log but in no part yet, in order of arrival.
//!
//! One arena holds the text of all streams. A table over the rows' hashes finds duplicates;
//! a hit is always compared byte by byte.
//! An append that the log refuses is taken back with [`Head::roll_back`], so that a line
//! can never be in the head without being in the log.

use hashbrown::{HashMap, HashTable};
use std::collections::BTreeMap;
use vigie_model::{Labels, LogEntry, LogRange, StreamId};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::block::{Block, Text};
use crate::catalog::StreamSet;
use crate::planted::{self, Bug};
use crate::shred::shapes::InRow;
use crate::time::day_of;

/// What a row takes beside its text: itself and its place in the table.
const ROW_BYTES: usize = size_of::<Row>() + 8;

pub(crate) struct Row {
    pub(crate) ts_ns: i64,
    hash: u64,
    pub(crate) stream: StreamId,
    at: u32,
    len: u32,
    /// `None` when empty.
    pub(crate) metadata: Option<Labels>,
}

/// First and last instant, rows and bytes of lines of one stream somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) min_ns: i64,
    pub(crate) max_ns: i64,
    pub(crate) rows: u64,
    pub(crate) line_bytes: u64,
}

impl Span {
    pub(crate) const NOTHING: Span =
        Span { min_ns: i64::MAX, max_ns: i64::MIN, rows: 0, line_bytes: 0 };

    pub(crate) fn add(&mut self, ts_ns: i64, line_bytes: usize) {
        self.min_ns = self.min_ns.min(ts_ns);
        self.max_ns = self.max_ns.max(ts_ns);
        self.rows += 1;
        self.line_bytes += line_bytes as u64;
    }

    pub(crate) fn touches(&self, range: LogRange) -> bool {
        self.min_ns < range.end_ns && range.start_ns <= self.max_ns
    }
}

#[derive(Default)]
pub(crate) struct Head {
    rows: Vec<Row>,
    text: Vec<u8>,
    metadata_bytes: usize,
    table: HashTable<u32>,
    /// When the oldest row came.
    pub(crate) since_ms: Option<i64>,
    /// When the newest row came.
    pub(crate) last_ms: i64,
}

/// A state of the head to go back to.
pub(crate) struct Mark {
    rows: usize,
    text: usize,
    metadata_bytes: usize,
}

/// The hash under which duplicates meet.
pub(crate) fn row_hash(stream: StreamId, entry: &LogEntry) -> u64 {
    let place = (entry.ts_ns as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut hash = xxh3_64_with_seed(&entry.line, place ^ u64::from(stream.0));
    for label in &entry.metadata {
        hash = xxh3_64_with_seed(label.name.as_bytes(), hash);
        hash = xxh3_64_with_seed(label.value.as_bytes(), hash);
    }
    hash
}

impl Head {
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// A row, as a part takes it.
    pub(crate) fn in_row(&self, at: u32) -> InRow<'_> {
        let row = &self.rows[at as usize];
        let metadata = row.metadata.as_ref();
        InRow { ts_ns: row.ts_ns, stream: row.stream, line: self.line(row), metadata }
    }

    pub(crate) fn line(&self, row: &Row) -> &[u8] {
        &self.text[row.at as usize..][..row.len as usize]
    }

    /// What it takes in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        self.text.len() + self.metadata_bytes + self.rows.len() * ROW_BYTES
    }

    pub(crate) fn contains(&self, hash: u64, stream: StreamId, entry: &LogEntry) -> bool {
        let same = |at: &u32| {
            let row = &self.rows[*at as usize];
            row.hash == hash
                && row.ts_ns == entry.ts_ns
                && row.stream == stream
                && self.line(row) == entry.line
                && match &row.metadata {
                    Some(metadata) => *metadata == entry.metadata,
                    None => entry.metadata.is_empty(),
                }
        };
        self.table.find(hash, same).is_some()
    }

    pub(crate) fn push(&mut self, hash: u64, stream: StreamId, entry: &LogEntry, now_ms: i64) {
        let place = |n: usize| u32::try_from(n).expect("the head is sealed long before 4 GiB");
        let at = place(self.rows.len());
        self.rows.push(Row {
            ts_ns: entry.ts_ns,
            hash,
            stream,
            at: place(self.text.len()),
            len: place(entry.line.len()),
            metadata: (!entry.metadata.is_empty()).then(|| entry.metadata.clone()),
        });
        self.text.extend_from_slice(&entry.line);
        self.metadata_bytes += metadata_bytes(&entry.metadata);
        let rows = &self.rows;
        self.table.insert_unique(hash, at, |&at| rows[at as usize].hash);
        self.since_ms.get_or_insert(now_ms);
        self.last_ms = now_ms;
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark { rows: self.rows.len(), text: self.text.len(), metadata_bytes: self.metadata_bytes }
    }

    /// Forgets what was pushed since `mark`.
    pub(crate) fn roll_back(&mut self, mark: &Mark) {
        if planted::is(Bug::RefusedStays) {
            return;
        }
        for at in mark.rows..self.rows.len() {
            let found = self.table.find_entry(self.rows[at].hash, |&known| known as usize == at);
            if let Ok(entry) = found {
                entry.remove();
            }
        }
        self.rows.truncate(mark.rows);
        self.text.truncate(mark.text);
        self.metadata_bytes = mark.metadata_bytes;
        if self.rows.is_empty() {
            self.since_ms = None;
        }
        assert_eq!(self.table.len(), self.rows.len());
    }

    /// Streams and their spans.
    pub(crate) fn spans(&self) -> HashMap<StreamId, Span> {
        let mut spans = HashMap::new();
        for row in &self.rows {
            spans.entry(row.stream).or_insert(Span::NOTHING).add(row.ts_ns, row.len as usize);
        }
        spans
    }

    /// The rows of each UTC day, by timestamp, equal ones in order of arrival.
    pub(crate) fn days(&self) -> BTreeMap<i64, Vec<u32>> {
        let mut days: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        for (at, row) in (0..).zip(&self.rows) {
            days.entry(day_of(row.ts_ns)).or_default().push(at);
        }
        for rows in days.values_mut() {
            rows.sort_by_key(|&at| self.rows[at as usize].ts_ns);
        }
        days
    }

    /// The wanted rows as a block of their own, or `None` when there is none.
    pub(crate) fn block(&self, streams: &StreamSet, range: LogRange) -> Option<Block> {
        let wanted = |row: &Row| {
            range.start_ns <= row.ts_ns && row.ts_ns < range.end_ns && streams.contains(row.stream)
        };
        let mut rows: Vec<&Row> = self.rows.iter().filter(|row| wanted(row)).collect();
        rows.sort_by_key(|row| row.ts_ns);
        if rows.is_empty() {
            return None;
        }
        let mut text = Vec::with_capacity(rows.iter().map(|row| row.len as usize).sum());
        let mut block = Block::default();
        for row in rows {
            let at = u32::try_from(text.len()).expect("the head is sealed long before 4 GiB");
            text.extend_from_slice(self.line(row));
            block.push(row.ts_ns, row.stream, (at, row.len), row.metadata.as_ref());
        }
        block.text = Text::Here(text);
        Some(block)
    }
}

/// What a row's metadata takes in memory, about.
pub(crate) fn metadata_bytes(metadata: &Labels) -> usize {
    metadata.iter().map(|label| label.name.len() + label.value.len() + 64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_rolled_back_is_gone_and_may_come_again() {
        let entry = |n: u8| LogEntry { ts_ns: 1, line: vec![n], metadata: Labels::default() };
        let mut head = Head::default();
        let stream = StreamId(0);
        head.push(row_hash(stream, &entry(0)), stream, &entry(0), 7);
        let (mark, bytes) = (head.mark(), head.bytes());
        for n in 1..200 {
            head.push(row_hash(stream, &entry(n)), stream, &entry(n), 8);
        }
        head.roll_back(&mark);
        assert_eq!((head.bytes(), head.since_ms), (bytes, Some(7)));
        for n in 0..200 {
            assert_eq!(head.contains(row_hash(stream, &entry(n)), stream, &entry(n)), n == 0);
        }
    }
}
