//! What the store does each second and not at the door: syncing, sealing, cutting the log,
//! closing segments, and watching the disk's free space. All of it in bounded steps.

use crate::MetricsError;
use crate::planted::{self, Bug};
use crate::record::{self, Durable};
use crate::segment::SEGMENT_BYTES;
use crate::series_log::SeriesLog;
use crate::store::Store;
use std::sync::atomic::Ordering;
use vigie_disk::DiskError;

/// Rows that have waited this long are sealed, however few they are.
const OPEN_MS_MAX: i64 = 2 * 3600 * 1000;
/// A segment is closed when it is this old; then a compaction makes a block of it.
const SEGMENT_MS: i64 = 2 * 3600 * 1000;
/// The log may grow by this for each series, so that most groups have enough rows to seal when it
/// is cut.
const LOG_BYTES_PER_SERIES: u64 = 48;
const RETENTION_EVERY_MS: i64 = 60 * 1000;
const CLOSE_EVERY_MS: i64 = 60 * 1000;
/// After a checkpoint that failed: each one writes rows to the log again, and the disk may be full.
const CHECKPOINT_AGAIN_MS: i64 = 5 * 60 * 1000;
const FREE_SPACE_EVERY_MS: i64 = 5 * 1000;
/// Groups handled under one hold of the lock.
const GROUPS_PER_STEP: usize = 4;

/// When things were last done.
#[derive(Default)]
pub(crate) struct Ticks {
    retention_ms: Option<i64>,
    free_space_ms: Option<i64>,
    close_ms: Option<i64>,
    pub(crate) dying: crate::forget::Dying,
    /// When the last checkpoint failed, and why.
    failed_checkpoint: Option<(i64, DiskError)>,
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
    /// To be called every second with the time, and once before the first append: until then the
    /// store does not know what is too old or in the future. One caller at a time does the work.
    /// After an error the other steps are still tried; the first error is returned.
    pub fn tick(&self, now_ms: i64) -> Result<(), MetricsError> {
        let mut ticks = self.ticks.lock();
        let mut first = self.wal.heal().and_then(|()| self.wal.sync_all());
        let mut step = |result: Result<(), DiskError>| {
            if first.is_ok() {
                first = result;
            }
        };
        step(self.exemplars.lock().sync());
        if Ticks::is_due(&mut ticks.free_space_ms, now_ms, FREE_SPACE_EVERY_MS) {
            step(self.floor.look(&*self.disk));
        }
        step(self.seal_waiting(now_ms));
        step(self.seal_over_budget());
        step(self.cut_log(&mut ticks, now_ms));
        if Ticks::is_due(&mut ticks.close_ms, now_ms, CLOSE_EVERY_MS) {
            step(self.close_segments(&mut ticks, now_ms));
        }
        if Ticks::is_due(&mut ticks.retention_ms, now_ms, RETENTION_EVERY_MS) {
            step(self.forget_old(&mut ticks, now_ms));
            step(self.forget_series(&mut ticks, now_ms));
        }
        Ok(first?)
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

    pub(crate) fn seal_groups(
        &self,
        groups: &[u32],
        go_on: impl Fn(usize) -> bool,
    ) -> Result<(), DiskError> {
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
    fn cut_log(&self, ticks: &mut Ticks, now_ms: i64) -> Result<(), DiskError> {
        let series = self.heads.lock().placed() as u64;
        let growth_max = self.options.log_bytes_max.max(series * LOG_BYTES_PER_SERIES);
        let after_last_cut = self.log_bytes_after_cut.load(Ordering::Relaxed);
        if self.wal.bytes() > after_last_cut + growth_max {
            self.checkpoint_or_wait(ticks, now_ms)?;
        }
        Ok(())
    }

    /// A checkpoint, but not soon after one that failed; until then its error.
    pub(crate) fn checkpoint_or_wait(
        &self,
        ticks: &mut Ticks,
        now_ms: i64,
    ) -> Result<(), DiskError> {
        if let Some((failed_ms, error)) = &ticks.failed_checkpoint
            && (*failed_ms..*failed_ms + CHECKPOINT_AGAIN_MS).contains(&now_ms)
        {
            return Err(error.clone());
        }
        let done = self.checkpoint();
        ticks.failed_checkpoint = done.as_ref().err().map(|error| (now_ms, error.clone()));
        done
    }

    /// Moves everything out of the log but rows too few to seal, which are written to its new part.
    /// The order of the steps is the proof: the old part goes last, when nothing needs it.
    pub(crate) fn checkpoint(&self) -> Result<(), DiskError> {
        let new_part = self.wal.rotate()?;
        let count = self.heads.lock().groups.len() as u32;
        for first in (0..count).step_by(GROUPS_PER_STEP) {
            let mut heads = self.heads.lock();
            for at in first..count.min(first + GROUPS_PER_STEP as u32) {
                // Cells that are in no row are long in the log, so they go when they are half of
                // what is sealed otherwise.
                if heads.is_near_full(at, 2) {
                    self.seal(&mut heads, at)?;
                } else if let Some(payload) = heads.open_record(at)
                    && !planted::is(Bug::RowsNotCarried)
                {
                    self.wal.append(&payload)?;
                }
            }
        }
        let mut series_log = self.series_log.lock();
        if !planted::is(Bug::SeriesNotListed) {
            self.write_pending_series(&mut series_log)?;
        }
        let (segment, segment_bytes) = self.sync_active()?;
        let (generation, series_log_bytes) = series_log.version();
        let durable = Durable { generation, series_log_bytes, segment, segment_bytes };
        self.wal.append(&record::checkpoint(durable))?;
        self.wal.sync_all()?;
        self.wal.remove_before(new_part)?;
        self.heads.lock().log_mentions_lost = false;
        self.log_bytes_after_cut.store(self.wal.bytes(), Ordering::Relaxed);
        Ok(())
    }

    /// Makes the series durable that only the log has; all of them when the list is not sound.
    pub(crate) fn write_pending_series(&self, series_log: &mut SeriesLog) -> Result<(), DiskError> {
        let pending_count = self.heads.lock().pending.len();
        if series_log.is_sound() {
            let mut batches = Vec::new();
            {
                let heads = self.heads.lock();
                let catalog = self.catalog.read();
                heads.batches(&heads.pending[..pending_count], &catalog, |batch, _| {
                    batches.push(batch.to_vec());
                    Ok::<(), DiskError>(())
                })?;
            }
            series_log.append(&batches)?;
        } else {
            // A series that comes meanwhile may be written now and again later, which says the same.
            let groups = self.heads.lock().groups.len();
            series_log.write_anew(&mut |put| {
                let mut first = 0;
                while first < groups {
                    let heads = self.heads.lock();
                    let (ids, end) = heads.placed_from(first, groups);
                    heads.batches(&ids, &self.catalog.read(), |batch, _| put(batch))?;
                    first = end;
                }
                Ok(())
            })?;
        }
        self.heads.lock().pending.drain(..pending_count);
        Ok(())
    }

    /// Makes the open segment durable, without a lock while the disk works: its number, 0 when
    /// there is none, and its durable length.
    fn sync_active(&self) -> Result<(u32, u64), DiskError> {
        let (id, bytes, file) = {
            let mut heads = self.heads.lock();
            heads.segments.sync_unkept()?;
            let Some(active) = heads.segments.active() else { return Ok((0, 0)) };
            (active.id, active.bytes, active.file.clone())
        };
        if planted::is(Bug::LogCutFirst) {
            return Ok((id, bytes));
        }
        file.sync().map_err(|error| {
            self.heads.lock().segments.not_kept(id);
            error.not_kept()
        })?;
        Ok((id, bytes))
    }

    /// Closes the open segment when it is large or two hours old, and finishes what a crash left.
    fn close_segments(&self, ticks: &mut Ticks, now_ms: i64) -> Result<(), DiskError> {
        let mut due = Vec::new();
        {
            let heads = self.heads.lock();
            due.extend(heads.segments.unindexed());
            if let Some(active) = heads.segments.active()
                && (active.bytes >= SEGMENT_BYTES
                    || active.started_ms.saturating_add(SEGMENT_MS) <= now_ms)
            {
                due.push(active.id);
            }
        }
        if due.is_empty() {
            return Ok(());
        }
        // The chunks of a closed segment must not know series that the log could still lose.
        // With what a checkpoint syncs, little is left to sync under the lock.
        self.checkpoint_or_wait(ticks, now_ms)?;
        due.into_iter().try_for_each(|id| self.close_segment(id))
    }

    fn close_segment(&self, id: u32) -> Result<(), DiskError> {
        let mut heads = self.heads.lock();
        self.wal.sync_all()?;
        let chunks = heads.chunks_of(id);
        heads.segments.close(id, &chunks)
    }

    /// Closes the open segment, if there is one, right after a checkpoint.
    pub(crate) fn close_active(&self) -> Result<(), DiskError> {
        let id = self.heads.lock().segments.active().map(|active| active.id);
        id.map_or(Ok(()), |id| self.close_segment(id))
    }

    /// Makes everything durable and the log empty, so that the next start has nothing to replay.
    /// For a clean end and before a copy of the directory is made.
    pub fn flush(&self) -> Result<(), MetricsError> {
        let count = self.heads.lock().groups.len() as u32;
        self.seal_groups(&(0..count).collect::<Vec<_>>(), |_| true)?;
        Ok(self.checkpoint()?)
    }
}
