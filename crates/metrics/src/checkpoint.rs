//! What the store does each second and not at the door: syncing, sealing, cutting the log,
//! closing segments, retention, and watching the disk's free space. All of it in bounded steps.

use crate::MetricsError;
use crate::head::CHUNK_ROWS_MIN;
use crate::record;
use crate::segment::SEGMENT_BYTES;
use crate::store::Store;
use std::sync::atomic::Ordering;
use vigie_disk::DiskError;

/// Rows that have waited this long are sealed, however few they are.
const OPEN_MS_MAX: i64 = 2 * 3600 * 1000;
/// A segment is closed when it spans this much.
const SEGMENT_MS: i64 = 24 * 3600 * 1000;
const RETENTION_EVERY_MS: i64 = 60 * 1000;
const FREE_SPACE_EVERY_MS: i64 = 5 * 1000;
/// Groups handled under one hold of the lock.
const GROUPS_PER_STEP: usize = 16;

/// When things were last done.
#[derive(Default)]
pub(crate) struct Ticks {
    retention_ms: Option<i64>,
    free_space_ms: Option<i64>,
}

impl Ticks {
    /// Whether `every_ms` have passed since `last`; a clock set back counts as passed.
    fn is_due(last: &mut Option<i64>, now_ms: i64, every_ms: i64) -> bool {
        let due = last.is_none_or(|last| now_ms - last >= every_ms || now_ms < last);
        if due {
            *last = Some(now_ms);
        }
        due
    }
}

impl Store {
    /// To be called every second with the time. One caller at a time does the work.
    /// After an error the other steps are still tried; the first error is returned.
    pub fn tick(&self, now_ms: i64) -> Result<(), MetricsError> {
        let mut ticks = self.ticks.lock();
        let mut first = self.wal.sync_all();
        let mut step = |result: Result<(), DiskError>| {
            if first.is_ok() {
                first = result;
            }
        };
        if Ticks::is_due(&mut ticks.free_space_ms, now_ms, FREE_SPACE_EVERY_MS) {
            step(self.watch_free_space());
        }
        step(self.seal_waiting(now_ms));
        step(self.seal_over_budget());
        step(self.cut_log());
        step(self.close_segments(now_ms));
        if Ticks::is_due(&mut ticks.retention_ms, now_ms, RETENTION_EVERY_MS) {
            step(self.forget_old(now_ms));
        }
        Ok(first?)
    }

    fn watch_free_space(&self) -> Result<(), DiskError> {
        let free_bytes = self.disk.free_bytes(&self.dir)?;
        let is_low = free_bytes < self.options.free_bytes_min;
        let low = if is_low { free_bytes } else { u64::MAX };
        let before = self.low_free_bytes.swap(low, Ordering::Relaxed);
        match (before == u64::MAX, is_low) {
            (true, true) => {
                tracing::error!(free_bytes, "the disk is full: metrics are refused until it is not")
            }
            (false, false) => tracing::info!(free_bytes, "the disk has room: metrics go on"),
            _ => {}
        }
        Ok(())
    }

    fn seal_waiting(&self, now_ms: i64) -> Result<(), DiskError> {
        let waiting = self.heads.lock().waiting(now_ms, OPEN_MS_MAX);
        self.seal_groups(&waiting, |_| true)
    }

    /// Seals the largest groups until half the budget for open rows is free.
    fn seal_over_budget(&self) -> Result<(), DiskError> {
        let (groups, budget) = {
            let heads = self.heads.lock();
            let budget = self.open_bytes_max(&heads);
            if heads.open_bytes <= budget {
                return Ok(());
            }
            (heads.by_open_bytes(), budget)
        };
        self.seal_groups(&groups, |open_bytes| open_bytes > budget / 2)
    }

    fn seal_groups(&self, groups: &[u32], go_on: impl Fn(usize) -> bool) -> Result<(), DiskError> {
        for groups in groups.chunks(GROUPS_PER_STEP) {
            let mut heads = self.heads.lock();
            for group in groups {
                if !go_on(heads.open_bytes) {
                    return Ok(());
                }
                self.seal(&mut heads, *group)?;
            }
        }
        Ok(())
    }

    /// Cuts the log when it is long: what it says is first made durable elsewhere.
    fn cut_log(&self) -> Result<(), DiskError> {
        let open_bytes = self.heads.lock().open_bytes as u64;
        if self.wal.bytes() > self.options.log_bytes_max + 2 * open_bytes {
            self.checkpoint()?;
        }
        Ok(())
    }

    /// Moves everything out of the log but rows too few to seal, which are written to its new part.
    /// The order of the steps is the proof: the old part goes last, when nothing needs it.
    pub(crate) fn checkpoint(&self) -> Result<(), DiskError> {
        let new_part = self.wal.rotate()?;
        let count = self.heads.lock().groups.len() as u32;
        for first in (0..count).step_by(GROUPS_PER_STEP) {
            let mut heads = self.heads.lock();
            for at in first..count.min(first + GROUPS_PER_STEP as u32) {
                let rows = &heads.groups[at as usize].rows;
                if rows.len() >= CHUNK_ROWS_MIN {
                    self.seal(&mut heads, at)?;
                } else if !rows.is_empty() {
                    let mut payload = Vec::new();
                    record::put_rows_head(&mut payload, &[], rows.len());
                    for row in rows {
                        record::put_part(&mut payload, at, row.ts_ms, &row.columns, &row.values);
                    }
                    self.wal.append(&payload)?;
                }
            }
        }
        let mut series_log = self.series_log.lock();
        let (new_series, pending_count) = {
            let heads = self.heads.lock();
            let catalog = self.catalog.read();
            let new = heads.pending.iter().map(|id| heads.definition(*id, &catalog));
            (new.collect::<Vec<_>>(), heads.pending.len())
        };
        series_log.append(&new_series)?;
        self.heads.lock().pending.drain(..pending_count);
        let active = {
            let heads = self.heads.lock();
            heads.segments.active().map(|active| (active.id, active.bytes, active.file.clone()))
        };
        let (segment, segment_bytes) = match active {
            Some((id, bytes, file)) => {
                file.sync()?;
                (id, bytes)
            }
            None => (0, 0),
        };
        self.wal.append(&record::checkpoint(series_log.bytes(), segment, segment_bytes))?;
        self.wal.sync_all()?;
        self.wal.remove_before(new_part)
    }

    /// Closes the open segment when it is large or spans a day, and finishes what a crash left.
    fn close_segments(&self, now_ms: i64) -> Result<(), DiskError> {
        let mut due = Vec::new();
        {
            let heads = self.heads.lock();
            due.extend(heads.segments.unindexed());
            if let Some(active) = heads.segments.active()
                && (active.bytes >= SEGMENT_BYTES
                    || active.min_ms.saturating_add(SEGMENT_MS) <= now_ms)
            {
                due.push(active.id);
            }
        }
        if due.is_empty() {
            return Ok(());
        }
        for id in due {
            let mut heads = self.heads.lock();
            // The chunks of a closed segment must not know series that the log could still lose.
            self.wal.sync_all()?;
            let chunks = heads.chunks_of(id);
            heads.segments.close(id, &chunks)?;
        }
        Ok(())
    }

    /// Removes segments that are wholly too old, and the oldest while the files are too large.
    fn forget_old(&self, now_ms: i64) -> Result<(), DiskError> {
        let oldest_kept_ms = now_ms.saturating_sub(self.options.retention_ms);
        loop {
            let disk_bytes = self.stats().disk_bytes;
            let mut heads = self.heads.lock();
            let is_over = self.options.disk_bytes_max.is_some_and(|max| disk_bytes > max);
            let active = heads.segments.active().map(|active| active.id);
            let oldest = heads
                .segments
                .list
                .iter()
                .filter(|s| s.max_ms < oldest_kept_ms || is_over && Some(s.id) != active)
                .min_by_key(|segment| segment.max_ms)
                .map(|segment| segment.id);
            let Some(id) = oldest else { return Ok(()) };
            heads.segments.remove(id)?;
            heads.forget_segment(id);
        }
    }

    /// Makes everything durable and the log empty, so that the next start has nothing to replay.
    /// For a clean end and before a copy of the directory is made.
    pub fn flush(&self) -> Result<(), MetricsError> {
        let count = self.heads.lock().groups.len() as u32;
        self.seal_groups(&(0..count).collect::<Vec<_>>(), |_| true)?;
        Ok(self.checkpoint()?)
    }
}
