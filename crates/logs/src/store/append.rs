//! Lines come in: limits, duplicates, the log, the head.

use super::{RecentBlock, State, Store};
use crate::block::holds;
use crate::catalog::Catalog;
use crate::head::{metadata_bytes, row_hash};
use crate::part::{OpenPart, Part};
use crate::planted::{self, Bug};
use crate::time::rfc3339;
use crate::{LogsError, Options};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use vigie_codec::loki_push;
use vigie_disk::Disk;
use vigie_model::limits::LINE_BYTES_MAX;
use vigie_model::{Labels, LogEntry, ReadError, StreamId};

/// A log record is closed when its lines exceed this.
const RECORD_BYTES: usize = 1024 * 1024;
/// Most bytes of metadata of an entry (Loki's `max_structured_metadata_size`; names, values and
/// 64 bytes per label here).
const METADATA_BYTES_MAX: usize = 64 * 1024 + 128 * 64;
/// Blocks kept by the search for duplicates while lines come that may be some.
const RECENT_BLOCKS_MAX: usize = 4;
const NANOS_PER_MILLI: i64 = 1_000_000;

/// Entries of one stream on their way in.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// The stream.
    pub labels: &'a Labels,
    /// Its entries, in any order.
    pub entries: &'a [LogEntry],
}

/// When an append returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When the entries survive a power cut.
    Synced,
    /// When they survive the death of the process; the next [`Store::tick`] makes them durable.
    Written,
}

/// What became of the entries of an append.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// Stored, and durable as asked for.
    pub stored: u64,
    /// Stored before, and durable as asked for.
    pub duplicates: u64,
    /// Refused for their time or size. The others are stored, as in Loki, which then answers 400.
    pub refused: u64,
    /// Why the first was refused, in Loki's words, and how many were.
    pub refusal: Option<String>,
}

impl Store {
    /// Stores entries. After an error some of them may be stored: sending all of them again is
    /// right, because what is there already is not stored twice.
    pub fn append(
        &self,
        batches: &[Batch<'_>],
        durability: Durability,
    ) -> Result<Appended, LogsError> {
        self.floor.check()?;
        for batch in batches {
            let checked = loki_push::check_labels(batch.labels);
            checked.map_err(|error| LogsError::Limit(error.to_string()))?;
        }
        let now_ms = self.options.clock.now_ms();
        let mut outcome = Appended::default();
        let mut refusal = None;
        let mut entries = Entries { batches, batch: 0, entry: 0 };
        while !entries.is_done() {
            self.append_record(&mut entries, now_ms, &mut outcome, &mut refusal)?;
        }
        self.counters.refused.fetch_add(outcome.refused, Ordering::Relaxed);
        outcome.refusal = refusal.map(|first| match outcome.refused {
            1 => first,
            count => format!("{count} errors like: {first}"),
        });
        if durability == Durability::Synced && !planted::is(Bug::SyncLeftOut) {
            // A duplicate may be one of a line that another caller is still waiting for.
            self.wal.sync_all()?;
        }
        Ok(outcome)
    }

    /// Takes entries until a log record is full, and writes it.
    fn append_record(
        &self,
        entries: &mut Entries<'_>,
        now_ms: i64,
        outcome: &mut Appended,
        refusal: &mut Option<String>,
    ) -> Result<(), LogsError> {
        let mut state = self.state_with_room()?;
        let mark = state.head.mark();
        let mut record = std::mem::take(&mut state.record);
        let (mut bytes, mut stored, mut duplicates) = (0, 0, 0);
        let (mut stream_error, mut current) = (None, None::<(&Labels, StreamId)>);
        while bytes < RECORD_BYTES
            && let Some((labels, entry)) = entries.peek()
        {
            if let Some(reason) = refuse(&self.options, labels, entry, now_ms) {
                entries.advance();
                outcome.refused += 1;
                refusal.get_or_insert(reason);
                continue;
            }
            let same = current.filter(|(known, _)| std::ptr::eq(*known, labels));
            let Some(id) = same.map(|(_, id)| id).or_else(|| self.stream_id(labels)) else {
                stream_error = Some(LogsError::Streams { stream: labels.to_string() });
                break;
            };
            current = Some((labels, id));
            entries.advance();
            if state.take_up(&*self.disk, &self.catalog.read(), id, entry, now_ms) {
                record.add(labels, entry);
                bytes += entry.line.len() + metadata_bytes(&entry.metadata) + 16;
                stored += 1;
            } else {
                duplicates += 1;
            }
        }
        let written = record.finish().map_or(Ok(()), |record| self.wal.append(record).map(|_| ()));
        state.record = record;
        if let Err(error) = written {
            state.head.roll_back(&mark);
            return Err(error.into());
        }
        outcome.stored += stored;
        outcome.duplicates += duplicates;
        self.counters.stored.fetch_add(stored, Ordering::Relaxed);
        self.counters.duplicates.fetch_add(duplicates, Ordering::Relaxed);
        stream_error.map_or(Ok(()), Err)
    }

    /// The number of a stream; `None` when it would be one too many. For who holds `state`.
    fn stream_id(&self, labels: &Labels) -> Option<StreamId> {
        let known = self.catalog.read().live_id(labels);
        known.or_else(|| self.catalog.write().intern(labels, self.options.streams_max))
    }

    /// The state, locked, with room in the head; seals when there is none.
    fn state_with_room(&self) -> Result<parking_lot::MutexGuard<'_, State>, LogsError> {
        loop {
            let state = self.state.lock();
            if state.closed {
                return Err(LogsError::Closed(self.parts_dir.display().to_string()));
            }
            if state.head.bytes() < self.options.head_bytes_max {
                return Ok(state);
            }
            drop(state);
            self.seal_if(|state| self.must_seal(state))?;
        }
    }
}

impl State {
    /// Puts an entry into the head unless it is stored already; whether it did.
    pub(super) fn take_up(
        &mut self,
        disk: &dyn Disk,
        catalog: &Catalog,
        id: StreamId,
        entry: &LogEntry,
        now_ms: i64,
    ) -> bool {
        let hash = row_hash(id, entry);
        let frozen = self.frozen.as_ref().filter(|_| !planted::is(Bug::FrozenNotAsked));
        let stored = self.head.contains(hash, id, entry)
            || frozen.is_some_and(|(frozen, _)| frozen.contains(hash, id, entry))
            || (entry.ts_ns <= catalog.sealed_max_ns(id) && self.in_parts(disk, id, entry));
        if !stored {
            self.head.push(hash, id, entry, now_ms);
        }
        !stored
    }

    /// Whether a part holds the entry. A part that cannot be read cannot deny the entry its place:
    /// better stored twice than lost.
    fn in_parts(&mut self, disk: &dyn Disk, id: StreamId, entry: &LogEntry) -> bool {
        let ts_ns = entry.ts_ns;
        let parts = self.parts.clone();
        for part in parts.iter().rev() {
            let span = part.stream_span(id);
            if !span.is_some_and(|span| span.min_ns <= ts_ns && ts_ns <= span.max_ns) {
                continue;
            }
            for (at, meta) in part.blocks.iter().enumerate() {
                if meta.min_ns <= ts_ns && ts_ns <= meta.max_ns && meta.streams.contains(&id) {
                    let held = self.recent_block(disk, part, at).and_then(|recent| {
                        recent.map_or(Ok(false), |recent| holds(&*recent.rows, id, entry))
                    });
                    match held {
                        Ok(true) => return true,
                        Ok(false) => {}
                        Err(error) => tracing::debug!(%error, "no duplicates are looked for here"),
                    }
                }
            }
        }
        false
    }

    /// The block, decoded now or a moment ago; `None` when its part has gone.
    fn recent_block(
        &mut self,
        disk: &dyn Disk,
        part: &Arc<Part>,
        block: usize,
    ) -> Result<Option<&RecentBlock>, ReadError> {
        let number = part.number;
        let known = self.recent.iter().position(|r| (r.number, r.block) == (number, block));
        if let Some(at) = known {
            return Ok(Some(&self.recent[at]));
        }
        let Some(open) = OpenPart::open(disk, part)? else { return Ok(None) };
        let Some(rows) = Arc::new(open).block(block, None)? else { return Ok(None) };
        if self.recent.len() == RECENT_BLOCKS_MAX {
            self.recent.remove(0);
        }
        self.recent.push(RecentBlock { number, block, rows });
        Ok(self.recent.last())
    }
}

/// Walks the entries of all batches.
struct Entries<'a> {
    batches: &'a [Batch<'a>],
    batch: usize,
    entry: usize,
}

impl<'a> Entries<'a> {
    fn peek(&mut self) -> Option<(&'a Labels, &'a LogEntry)> {
        loop {
            let batch = self.batches.get(self.batch)?;
            if let Some(entry) = batch.entries.get(self.entry) {
                return Some((batch.labels, entry));
            }
            self.batch += 1;
            self.entry = 0;
        }
    }

    fn advance(&mut self) {
        self.entry += 1;
    }

    fn is_done(&mut self) -> bool {
        self.peek().is_none()
    }
}

/// Why an entry is not taken, in Loki's words.
fn refuse(options: &Options, labels: &Labels, entry: &LogEntry, now_ms: i64) -> Option<String> {
    let ns = |ms: i64| ms.saturating_mul(NANOS_PER_MILLI);
    let oldest_ns = options.reject_older_ms.map(|age_ms| ns(now_ms.saturating_sub(age_ms)));
    if let Some(oldest_ns) = oldest_ns.filter(|&oldest_ns| entry.ts_ns < oldest_ns) {
        return Some(format!(
            "entry for stream '{labels}' has timestamp too old: {}, oldest acceptable timestamp is: {}",
            rfc3339(entry.ts_ns),
            rfc3339(oldest_ns)
        ));
    }
    if entry.ts_ns > ns(now_ms.saturating_add(options.future_grace_ms)) {
        let ts = rfc3339(entry.ts_ns);
        return Some(format!("entry for stream '{labels}' has timestamp too new: {ts}"));
    }
    let bytes = entry.line.len();
    if bytes > LINE_BYTES_MAX {
        return Some(format!(
            "Max entry size '{LINE_BYTES_MAX}' bytes exceeded for stream '{labels}' while adding an entry with length '{bytes}' bytes"
        ));
    }
    let bytes = metadata_bytes(&entry.metadata);
    (bytes > METADATA_BYTES_MAX).then(|| {
        format!(
            "stream '{labels}' has structured metadata too large: '{bytes}' bytes, limit: '{METADATA_BYTES_MAX}' bytes. Please see `limits_config.max_structured_metadata_size` or contact your Loki administrator to increase it."
        )
    })
}
