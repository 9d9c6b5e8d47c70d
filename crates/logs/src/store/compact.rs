//! Small parts become larger ones, and rows that must go are left out on the way.
//!
//! A compaction reads a run of neighbouring parts of one day, writes their rows into one part that
//! names those it replaces, and unlinks them. Until the new part's name is durable the old ones
//! count, and from then on it does: whoever opens the store and finds both takes the new one.
//! So that an old part can never come back behind the one that replaced it, nothing is compacted
//! while a file of an earlier compaction is still there.

use super::delete::{Deletion, Doom};
use super::{PART_SUFFIX, State, Store, TMP_SUFFIX};
use crate::LogsError;
use crate::part::{OpenPart, Part};
use crate::part_write::{self, Origin};
use crate::planted::{self, Bug};
use crate::shred::frames::THOROUGH;
use crate::shred::shapes::InRow;
use crate::time::{day_name, day_of};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vigie_disk::{DiskError, write_atomic};
use vigie_model::{Labels, ReadError, StreamId};

/// A part whose lines take less is small.
const SMALL_BYTES: u64 = 10 * 1024 * 1024;
/// Lines of a part that is made of others take about this at most.
const MERGED_BYTES: u64 = 24 * 1024 * 1024;
/// Most rows of such a part.
const MERGED_ROWS: u64 = 1 << 20;
/// So many neighbours make a merge while their day goes on; afterwards two do.
const NEIGHBOURS_MIN: usize = 5;
/// Parts that one block of a damaged file keeps out of every compaction until the next start.
const SPOILT_MAX: usize = 4096;

/// The rows of the parts that are made into one.
struct Gathered {
    text: Vec<u8>,
    /// Instant, stream, place in the text, metadata.
    rows: Vec<(i64, StreamId, std::ops::Range<usize>, Option<Labels>)>,
    /// Rows left out.
    dropped: u64,
}

impl Store {
    /// Makes one larger part of small ones, or rewrites one of which rows must go; whether there
    /// was anything to do. To be called now and then while nothing is urgent: it takes about
    /// 24 MiB of lines at a time, and readers and writers go on meanwhile. `pace` is told the bytes
    /// just read or written, may sleep, and ends the step by saying `false`.
    pub fn compact(
        &self,
        now_ms: i64,
        pace: &mut dyn FnMut(u64) -> bool,
    ) -> Result<bool, LogsError> {
        let _one_at_a_time = self.compacting.lock();
        if !self.remove_leftovers()? {
            return Ok(false);
        }
        let doom = self.doom(now_ms);
        let sources = {
            let state = self.state.lock();
            let is_open = |part: &&Arc<Part>| {
                !state.spoilt.contains(&part.number)
                    && !state.clean.contains(&(part.number, doom.stamp()))
            };
            match doom.parts_touched(&state.parts).find(is_open) {
                Some(part) => vec![part.clone()],
                None => neighbours(&state, day_of(now_ms.saturating_mul(1_000_000))),
            }
        };
        if sources.is_empty() {
            return self.finish_deletes(now_ms, &doom);
        }
        let gathered = match self.gather(&sources, &doom) {
            Ok(gathered) => gathered,
            Err(error) => {
                // What can be read of it still serves where it is.
                let mut state = self.state.lock();
                if state.spoilt.len() < SPOILT_MAX {
                    state.spoilt.extend(sources.iter().map(|part| part.number));
                }
                return Err(error.into());
            }
        };
        if !pace(sources.iter().map(|part| part.file_bytes).sum()) {
            return Ok(false);
        }
        if sources.len() == 1 && gathered.dropped == 0 {
            self.state.lock().clean.insert((sources[0].number, doom.stamp()));
            return Ok(true);
        }
        if planted::is(Bug::SourcesGoFirst) {
            sources.iter().try_for_each(|part| self.disk.remove(&part.path))?;
            self.disk.sync_dir(&self.parts_dir)?;
        }
        let made = self.write_merged(&sources, &gathered)?;
        let bytes = made.as_ref().map_or(0, |part| part.file_bytes);
        self.replace(&sources, made)?;
        Ok(pace(bytes))
    }

    fn gather(&self, sources: &[Arc<Part>], doom: &Doom) -> Result<Gathered, ReadError> {
        // At once: growing would take the room of the lines twice over.
        let sum = |of: fn(&Arc<Part>) -> u64| sources.iter().map(of).sum::<u64>() as usize;
        let mut gathered = Gathered {
            text: Vec::with_capacity(sum(|part| part.span.line_bytes)),
            rows: Vec::with_capacity(sum(|part| part.span.rows)),
            dropped: 0,
        };
        let mut line = Vec::new();
        for part in sources {
            let Some(open) = OpenPart::open(&*self.disk, part)?.map(Arc::new) else { continue };
            for at in 0..part.blocks.len() {
                let Some(block) = open.block(at, None)? else { continue };
                let mut stays = vec![true; block.timestamps_ns().len()];
                if !planted::is(Bug::DeletedComesBack) {
                    doom.clear(&*block, &mut stays)?;
                }
                for (row, _) in stays.iter().enumerate().filter(|(_, stays)| **stays) {
                    block.line(row, &mut line)?;
                    let start = gathered.text.len();
                    gathered.text.extend_from_slice(&line);
                    let metadata = Some(block.metadata(row)).filter(|set| !set.is_empty());
                    let place = start..gathered.text.len();
                    let ts_ns = block.timestamps_ns()[row];
                    gathered.rows.push((ts_ns, block.stream(row), place, metadata));
                }
                gathered.dropped += stays.iter().filter(|stays| !**stays).count() as u64;
            }
        }
        // Stable: equal instants keep the order of arrival, in which the parts come.
        gathered.rows.sort_by_key(|(ts_ns, ..)| *ts_ns);
        if planted::is(Bug::EqualInstantsLost) {
            gathered.rows.dedup_by(|next, kept| next.0 == kept.0 && next.1 != kept.1);
        }
        Ok(gathered)
    }

    /// Writes the rows as one part; `None` when no row is left.
    fn write_merged(
        &self,
        sources: &[Arc<Part>],
        gathered: &Gathered,
    ) -> Result<Option<Part>, LogsError> {
        let Some((first_ns, ..)) = gathered.rows.first() else { return Ok(None) };
        let number = self.next_number();
        let day = day_name(day_of(*first_ns));
        let path = self.parts_dir.join(format!("{day}-{number:010}{PART_SUFFIX}"));
        let rows: Vec<InRow<'_>> = gathered
            .rows
            .iter()
            .map(|(ts_ns, stream, place, metadata)| InRow {
                ts_ns: *ts_ns,
                stream: *stream,
                line: &gathered.text[place.clone()],
                metadata: metadata.as_ref(),
            })
            .collect();
        let origin = Origin {
            order: sources.iter().map(|part| part.order).max().unwrap_or(number),
            replaces: sources.iter().map(|part| part.number).collect(),
        };
        let labels_of = |id: StreamId| self.catalog.read().labels(id).clone();
        let bytes = part_write::encode(&rows, &origin, THOROUGH, &labels_of)
            .map_err(|e| DiskError::io(&path, e))?;
        let part = self.write_and_open(&path, number, &bytes).inspect_err(|_| {
            // It may have its name already, and would be found beside what is made next of the same
            // sources; and what was begun of it takes room that may be what is missing.
            let begun = PathBuf::from(format!("{}{TMP_SUFFIX}", path.display()));
            let mut state = self.state.lock();
            state.leftover.push(begun);
            if !planted::is(Bug::MergedForgotten) {
                state.leftover.push(path.clone());
            }
        })?;
        assert_eq!(part.span.rows, rows.len() as u64, "what was written reads back");
        Ok(Some(part))
    }

    fn write_and_open(&self, path: &Path, number: u64, bytes: &[u8]) -> Result<Part, LogsError> {
        write_atomic(&*self.disk, path, bytes)?;
        let mut intern = |labels: &_| {
            let id = self.catalog.write().intern(labels, usize::MAX);
            id.expect("no limit, fewer than 2^32 streams")
        };
        Ok(Part::open(&*self.disk, path, number, &mut intern)?)
    }

    /// Lets the new part take the place of the old ones, and unlinks these.
    fn replace(&self, sources: &[Arc<Part>], made: Option<Part>) -> Result<(), LogsError> {
        {
            let mut state = self.state.lock();
            let is_source = |part: &Arc<Part>| sources.iter().any(|s| s.number == part.number);
            let all_there = state.parts.iter().filter(|part| is_source(part)).count();
            if all_there != sources.len() {
                // Retention took one meanwhile: what was made of it must not bring it back.
                state.leftover.extend(made.map(|part| part.path));
                return Ok(());
            }
            let mut parts: Vec<Arc<Part>> =
                state.parts.iter().filter(|part| !is_source(part)).cloned().collect();
            parts.extend(made.map(Arc::new));
            parts.sort_unstable_by_key(|part| part.order);
            state.parts = Arc::new(parts);
            state.leftover.extend(sources.iter().map(|part| part.path.clone()));
            state.recent = Vec::new();
            let live = super::maintain::live_streams(&state);
            self.catalog.write().set_live(live.into_iter());
        }
        sources.iter().for_each(|part| part.set_gone());
        self.remove_leftovers().map(|_| ())
    }

    /// Unlinks what compaction and retention took away; whether all of it is gone for good.
    pub(super) fn remove_leftovers(&self) -> Result<bool, LogsError> {
        let files = self.state.lock().leftover.clone();
        if files.is_empty() {
            return Ok(true);
        }
        for path in &files {
            if self.disk.exists(path) {
                self.disk.remove(path)?;
            }
        }
        self.disk.sync_dir(&self.parts_dir)?;
        let mut state = self.state.lock();
        state.leftover.retain(|path| !files.contains(path));
        Ok(state.leftover.is_empty())
    }

    /// Notes the deletes that are carried out: no part has a row of theirs. Whether there is more
    /// to do for one.
    fn finish_deletes(&self, now_ms: i64, doom: &Doom) -> Result<bool, LogsError> {
        let due: Vec<&Deletion> = doom.deletions().collect();
        if due.is_empty() {
            return Ok(false);
        }
        let (in_head, is_unreadable) = {
            let state = self.state.lock();
            let is_spoilt = |part: &Arc<Part>| state.spoilt.contains(&part.number);
            let frozen = state.frozen.iter().flat_map(|(frozen, _)| frozen.spans());
            let in_head = doom.touches(state.head.spans().into_iter().chain(frozen));
            // A part that could not be opened may hold rows too, and be read the next time.
            let is_unreadable = doom.parts_touched(&state.parts).any(is_spoilt);
            let is_left_out = !state.broken.is_empty() && !planted::is(Bug::LeftOutForgotten);
            (in_head, is_unreadable || is_left_out)
        };
        if in_head {
            // The next time they are in a part.
            return self.seal().map(|()| true);
        }
        let passes = planted::is(Bug::LogOutlivesDelete);
        if is_unreadable || !(passes || self.pass_the_log()?) {
            return Ok(false);
        }
        self.deletes_done(&due, now_ms).map(|()| false)
    }

    /// Lets every record go that is in the log now; `false` when it has to be tried again. A line may
    /// stand in a part and in the log at once, and would come back from there when the part
    /// has lost it.
    fn pass_the_log(&self) -> Result<bool, LogsError> {
        {
            let _no_seal = self.sealing.lock();
            let state = self.state.lock();
            if state.frozen.is_some() {
                // A seal that failed: its log starts at an older place. The next tick ends it.
                return Ok(false);
            }
            if state.head.is_empty() {
                // Nobody appends while `state` is held.
                let segment = self.wal.rotate()?;
                self.wal.remove_before(segment)?;
                return Ok(true);
            }
        }
        self.seal().map(|()| true)
    }
}

/// The first run of small parts that is worth a merge.
fn neighbours(state: &State, today: i64) -> Vec<Arc<Part>> {
    let mut days: BTreeMap<i64, Vec<&Arc<Part>>> = BTreeMap::new();
    for part in state.parts.iter() {
        days.entry(day_of(part.span.min_ns)).or_default().push(part);
    }
    for (day, parts) in days {
        let least = if day < today { 2 } else { NEIGHBOURS_MIN };
        let mut run: Vec<Arc<Part>> = Vec::new();
        let (mut bytes, mut rows) = (0, 0);
        for part in parts {
            let is_small = part.span.line_bytes < SMALL_BYTES
                && part.span.rows < MERGED_ROWS / 2
                && !state.spoilt.contains(&part.number);
            let is_full =
                bytes + part.span.line_bytes > MERGED_BYTES || rows + part.span.rows > MERGED_ROWS;
            if !is_small || is_full {
                if run.len() >= least {
                    return run;
                }
                run.clear();
                (bytes, rows) = (0, 0);
            }
            if is_small {
                bytes += part.span.line_bytes;
                rows += part.span.rows;
                run.push(part.clone());
            }
        }
        if run.len() >= least {
            return run;
        }
    }
    Vec::new()
}
