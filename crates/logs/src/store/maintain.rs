//! What happens by itself: the log is synced, the head is sealed, old parts go.

use super::{PART_SUFFIX, State, Store, raise_sealed};
use crate::LogsError;
use crate::head::Head;
use crate::part::Part;
use crate::part_write::{self, Origin};
use crate::planted::{self, Bug};
use crate::shred::frames::QUICK;
use crate::shred::shapes::InRow;
use crate::time::{day_name, day_of};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use vigie_disk::{DiskError, SegmentId, write_atomic};
use vigie_model::StreamId;

const NANOS_PER_MILLI: i64 = 1_000_000;

/// How far the seal under way has come, so that one that failed in the middle goes on where it
/// stopped: it neither writes a day twice nor leaves a file of another number behind.
#[derive(Default)]
pub(super) struct Progress {
    numbers: BTreeMap<i64, u64>,
    written: Vec<(i64, Arc<Part>)>,
}

impl Store {
    /// To be called about every second: makes [`super::Durability::Written`] lines durable, seals
    /// a head that is full, old or idle, and applies retention. Everything is tried; the first error
    /// is returned, and what failed is tried again the next time.
    pub fn tick(&self, now_ms: i64) -> Result<(), LogsError> {
        let synced = self.wal.heal().and_then(|()| self.wal.sync_all());
        let looked = self.floor.look(&*self.disk);
        self.state.lock().recent = Vec::new();
        let sealed = self.seal_if(|state| {
            let age_ms = state.head.since_ms.map_or(0, |since_ms| now_ms - since_ms);
            let is_idle = state.head.bytes() >= self.options.head_idle_bytes_min
                && now_ms - state.head.last_ms >= self.options.head_idle_max_ms;
            self.must_seal(state) || age_ms >= self.options.head_age_max_ms || is_idle
        });
        let retained = self.apply_retention(now_ms);
        synced.and(looked).map_err(LogsError::from).and(sealed).and(retained)
    }

    /// Writes the head into parts, one per day, and lets the log behind it go.
    pub fn seal(&self) -> Result<(), LogsError> {
        self.seal_if(|_| true)
    }

    /// Whether there is no room for another line.
    pub(super) fn must_seal(&self, state: &State) -> bool {
        state.frozen.is_some() || state.head.bytes() >= self.options.head_bytes_max
    }

    /// [`Store::seal`], if it is still wanted when nobody else seals any more: of several that find
    /// the head full, one seals it, and the others do not make small parts of what came since.
    pub(super) fn seal_if(&self, is_wanted: impl Fn(&State) -> bool) -> Result<(), LogsError> {
        let mut progress = self.sealing.lock();
        let Some((head, segment)) = self.freeze(is_wanted)? else { return Ok(()) };
        if planted::is(Bug::LogGoesFirst) {
            self.wal.remove_before(segment)?;
        }
        for (day, rows) in head.days() {
            if progress.written.iter().all(|(done, _)| *done != day) {
                let number = *progress.numbers.entry(day).or_insert_with(|| self.next_number());
                let part = self.write_part(&head, day, number, &rows)?;
                progress.written.push((day, Arc::new(part)));
            }
        }
        let mut state = self.state.lock();
        let mut parts = state.parts.to_vec();
        let rows: u64 = progress.written.iter().map(|(_, part)| part.span.rows).sum();
        let is_all = rows == head.rows().len() as u64 || planted::is(Bug::LastLineLost);
        assert!(is_all, "every row of the head stands in one part");
        for (_, part) in std::mem::take(&mut *progress).written {
            raise_sealed(&mut self.catalog.write(), &part);
            parts.push(part);
        }
        parts.sort_unstable_by_key(|part| part.order);
        state.parts = Arc::new(parts);
        state.frozen = None;
        drop(state);
        self.wal.remove_before(segment)?;
        Ok(())
    }

    /// Sets the head aside; what a failed seal set aside comes first. For who holds `sealing`.
    fn freeze(
        &self,
        is_wanted: impl Fn(&State) -> bool,
    ) -> Result<Option<(Arc<Head>, SegmentId)>, LogsError> {
        {
            let state = self.state.lock();
            if !is_wanted(&state) {
                return Ok(None);
            }
            if state.frozen.is_some() || state.head.is_empty() {
                return Ok(state.frozen.clone());
            }
        }
        // Without the lock: readers do not wait for the disk. Lines that come in between stand in
        // the head that is set aside and in the log that stays; a replay finds them in the part.
        let segment = self.wal.rotate()?;
        let mut state = self.state.lock();
        let head = std::mem::take(&mut state.head);
        state.frozen = Some((Arc::new(head), segment));
        Ok(state.frozen.clone())
    }

    pub(super) fn next_number(&self) -> u64 {
        let mut state = self.state.lock();
        state.next_number += 1;
        state.next_number - 1
    }

    fn write_part(
        &self,
        head: &Head,
        day: i64,
        number: u64,
        rows: &[u32],
    ) -> Result<Part, LogsError> {
        let path = self.parts_dir.join(format!("{}-{number:010}{PART_SUFFIX}", day_name(day)));
        let labels_of = |id: StreamId| self.catalog.read().labels(id).clone();
        let lost = usize::from(rows.len() > 1 && planted::is(Bug::LastLineLost));
        let rows = &rows[..rows.len() - lost];
        let rows: Vec<InRow<'_>> = rows.iter().map(|&at| head.in_row(at)).collect();
        let origin = Origin { order: number, replaces: Vec::new() };
        let bytes = part_write::encode(&rows, &origin, QUICK, &labels_of)
            .map_err(|e| DiskError::io(&path, e))?;
        write_atomic(&*self.disk, &path, &bytes)?;
        let mut intern = |labels: &_| {
            let id = self.catalog.write().intern(labels, usize::MAX);
            id.expect("no limit, fewer than 2^32 streams")
        };
        let part = Part::open(&*self.disk, &path, number, &mut intern)?;
        assert_eq!(part.span.rows, rows.len() as u64, "what was written reads back");
        Ok(part)
    }

    /// Takes away parts that are too old, then the oldest while they take too much room.
    fn apply_retention(&self, now_ms: i64) -> Result<(), LogsError> {
        let cutoff_ns =
            now_ms.saturating_sub(self.options.retention_ms).saturating_mul(NANOS_PER_MILLI);
        // What compaction replaced goes first: it must not outlive what replaced it.
        self.remove_leftovers()?;
        let doomed = {
            let mut state = self.state.lock();
            let doomed = doomed(&state.parts, cutoff_ns, self.options.disk_bytes_max);
            let first_day = day_name(day_of(cutoff_ns));
            let state = &mut *state;
            state.leftover.extend(state.broken.extract_if(.., |path| day_in(path) < &*first_day));
            state.leftover.extend(doomed.iter().map(|part| part.path.clone()));
            let stays = |part: &&Arc<Part>| doomed.iter().all(|gone| gone.number != part.number);
            if !doomed.is_empty() {
                state.parts = Arc::new(state.parts.iter().filter(stays).cloned().collect());
                self.catalog.write().set_live(live_streams(state).into_iter());
            }
            doomed
        };
        doomed.iter().for_each(|part| part.set_gone());
        self.remove_leftovers().map(|_| ())
    }
}

/// The `2026-11-26` at the start of a part's name; later than any day when there is none.
fn day_in(path: &Path) -> &str {
    let day = path.file_name().and_then(|name| name.to_str()?.get(..10));
    day.filter(|day| day.as_bytes()[4] == b'-' && day.as_bytes()[7] == b'-').unwrap_or("never")
}

fn doomed(parts: &[Arc<Part>], cutoff_ns: i64, bytes_max: Option<u64>) -> Vec<Arc<Part>> {
    let mut by_age: Vec<&Arc<Part>> = parts.iter().collect();
    by_age.sort_by_key(|part| part.span.max_ns);
    let mut bytes: u64 = parts.iter().map(|part| part.file_bytes).sum();
    let goes = |part: &&&Arc<Part>| {
        let too_much = bytes_max.is_some_and(|bytes_max| bytes > bytes_max);
        let newest_ns =
            if planted::is(Bug::RetentionTooEarly) { part.span.min_ns } else { part.span.max_ns };
        let goes = newest_ns < cutoff_ns || too_much;
        bytes -= if goes { part.file_bytes } else { 0 };
        goes
    };
    by_age.iter().filter(goes).map(|part| Arc::clone(part)).collect()
}

pub(super) fn live_streams(state: &State) -> Vec<StreamId> {
    let in_parts = state.parts.iter().flat_map(|part| part.streams()).map(|(id, _)| *id);
    let heads = std::iter::once(&state.head).chain(state.frozen.iter().map(|f| &*f.0));
    in_parts.chain(heads.flat_map(|head| head.rows()).map(|row| row.stream)).collect()
}
