//! Sealing: open rows and cells become chunks, and what a start finds of both.

use super::{Group, Heads, OBJECT_BYTES_MAX, SEAL_CELLS_MIN, SEAL_ROWS};
use crate::chunk::of_matrix;
use crate::loose::{self, Matrix};
use crate::object::Objects;
use crate::planted::{self, Bug};
use crate::record::{self, Part};
use crate::row::{Turned, columns_of, objects_of};
use crate::{Appended, CHUNK_ROWS_MAX};
use vigie_disk::DiskError;

impl Group {
    /// How many rows are sealed. The first chunk after a start may be shorter, so that groups whose
    /// rows come together are not all sealed together.
    pub(crate) fn seal_rows(&self) -> usize {
        let rows = SEAL_CELLS_MIN / self.series.len().max(1);
        self.without_head_start(rows.clamp(SEAL_ROWS, CHUNK_ROWS_MAX))
    }

    /// How many cells that are in no row are sealed.
    fn seal_cells(&self) -> usize {
        self.without_head_start(CHUNK_ROWS_MAX * self.series.len().div_ceil(8))
    }

    fn without_head_start(&self, count: usize) -> usize {
        count - count * usize::from(self.head_start) / 256
    }
}

impl Heads {
    /// Seals the open rows of a group. Returns where the chunk ends; `None` when there is no row.
    /// On an error the rows that have no chunk yet stay open.
    pub(crate) fn seal(&mut self, at: u32) -> Result<Option<(u32, u64)>, DiskError> {
        let mut end = self.seal_loose(at)?;
        // A group restored from a log may hold more rows than one chunk takes.
        while !self.groups[at as usize].rows.is_empty() {
            let group = &mut self.groups[at as usize];
            let count = group.rows.len().min(CHUNK_ROWS_MAX);
            let is_short = planted::is(Bug::SealOffByOne) && count > 1;
            let rows = &group.rows[..count - usize::from(is_short)];
            let columns = columns_of(rows);
            let mut turned = Turned::new(rows, &columns);
            let fill = |at: usize, out: &mut [f64]| turned.fill(at, out);
            let times: Vec<i64> = rows.iter().map(|row| row.ts_ms).collect();
            let objects = objects_of(rows);
            let payload = self.encoder.encode(at, &times, &columns, fill, &objects);
            let series = columns.iter().map(|column| group.series[*column as usize]);
            let span = (times[0], times[times.len() - 1]);
            let meta = self.segments.append(self.now_ms, payload, times.len(), span, series)?;
            group.note_sealed(meta.max_ms);
            group.chunks.push(meta);
            let sealed = group.rows.drain(..count);
            self.open_bytes -= sealed.map(|row| row.bytes()).sum::<usize>();
            end = Some((meta.segment, u64::from(meta.offset) + u64::from(meta.bytes)));
        }
        let group = &mut self.groups[at as usize];
        group.rows.shrink_to(SEAL_ROWS);
        group.object_bytes = 0;
        group.opened_ms = 0;
        group.head_start = 0;
        Ok(end)
    }

    /// Seals the open cells that are in no row.
    fn seal_loose(&mut self, at: u32) -> Result<Option<(u32, u64)>, DiskError> {
        let group = &mut self.groups[at as usize];
        let Some(loose) = group.loose.as_mut().filter(|loose| !loose.is_empty()) else {
            return Ok(None);
        };
        let mut cells = loose.take();
        let mut end = None;
        while !cells.is_empty() {
            let before = cells.len();
            let matrix = loose::take_matrix(&mut cells);
            let Matrix { timestamps_ms: times, columns, values } = &matrix;
            let payload = self.encoder.encode(at, times, columns, of_matrix(values), &[]);
            let series = columns.iter().map(|column| group.series[*column as usize]);
            let span = (times[0], times[times.len() - 1]);
            match self.segments.append(self.now_ms, payload, times.len(), span, series) {
                Ok(meta) => {
                    group.note_sealed(meta.max_ms);
                    group.chunks.push(meta);
                    self.open_bytes -= (before - cells.len()) * loose::CELL_BYTES;
                    end = Some((meta.segment, u64::from(meta.offset) + u64::from(meta.bytes)));
                }
                Err(error) => {
                    // What has no chunk yet stays open.
                    cells.extend(matrix.cells());
                    let loose = group.loose.as_mut().expect("it had these cells");
                    loose.put_back(&cells);
                    return Err(error);
                }
            }
        }
        Ok(end)
    }

    /// A record of all that is open in a group; `None` when nothing is.
    pub(crate) fn open_record(&self, at: u32) -> Option<Vec<u8>> {
        let group = &self.groups[at as usize];
        let count = group.rows.len() + group.loose_cells().count();
        if count == 0 {
            return None;
        }
        let mut payload = Vec::new();
        record::put_rows_head(&mut payload, count);
        for row in &group.rows {
            let (columns, objects) = (&row.columns, row.objects());
            record::put_part(&mut payload, at, row.ts_ms, columns, &row.values, objects);
        }
        let objects = Objects::default();
        for (column, ts_ms, value) in group.loose_cells() {
            record::put_part(&mut payload, at, ts_ms, &[column], &[value], &objects);
        }
        Some(payload)
    }

    /// Whether a group has enough rows or cells to seal, or enough bytes of objects.
    pub(crate) fn is_full(&self, group: u32) -> bool {
        self.is_near_full(group, 1)
    }

    /// Whether a group has a part of the rows or cells that are enough to seal, or enough bytes of
    /// objects.
    pub(crate) fn is_near_full(&self, group: u32, cells_part: usize) -> bool {
        let group = &self.groups[group as usize];
        let cells = group.loose.as_ref().map_or(0, |loose| loose.len());
        group.rows.len() >= group.seal_rows()
            || group.object_bytes >= OBJECT_BYTES_MAX
            || cells > 0 && cells >= group.seal_cells() / cells_part
    }

    /// Forgets the open rows of a group: a log says that a chunk has them.
    pub(crate) fn drop_open(&mut self, group: u32) {
        if let Some(group) = self.groups.get_mut(group as usize).filter(|group| !group.keeps_rows) {
            self.open_bytes -= group.open_bytes();
            group.rows.clear();
            if let Some(loose) = &mut group.loose {
                loose.take();
            }
            group.object_bytes = 0;
        }
    }

    /// Puts open rows aside that stand in chunks too: a crash came between a chunk and its mark.
    pub(crate) fn drop_sealed_again(&mut self) {
        if planted::is(Bug::ReplayedTwice) {
            return;
        }
        let mut ignored = Appended::default();
        for at in 0..self.groups.len() {
            let group = &mut self.groups[at];
            if group.oldest_open_ms().is_none_or(|oldest_ms| oldest_ms > group.sealed_ms) {
                continue;
            }
            let bytes = group.open_bytes();
            let rows = std::mem::take(&mut group.rows);
            let cells = group.loose.take().map_or(Vec::new(), |mut loose| loose.take());
            group.object_bytes = 0;
            self.open_bytes -= bytes;
            let samples = self.samples;
            let cells = cells.into_iter().map(|(column, ts_ms, value)| Part {
                group: at as u32,
                ts_ms,
                columns: vec![column],
                values: vec![value],
                objects: Objects::default(),
            });
            let rows = rows.into_iter().map(|row| row.to_part(at as u32));
            for part in rows.chain(cells) {
                self.insert(part, &mut ignored);
            }
            self.samples = samples;
        }
    }

    /// The groups to seal because their rows have waited long, and notes the time.
    pub(crate) fn waiting(&mut self, now_ms: i64, wait_ms: i64) -> Vec<u32> {
        self.now_ms = now_ms;
        let mut waiting = Vec::new();
        for (at, group) in self.groups.iter_mut().enumerate() {
            if group.is_sealed() {
                continue;
            }
            if group.opened_ms == 0 {
                group.opened_ms = now_ms;
            }
            if now_ms - group.opened_ms >= wait_ms {
                waiting.push(at as u32);
            }
        }
        waiting
    }

    /// Groups with open rows, those with the most bytes first.
    pub(crate) fn by_open_bytes(&self) -> Vec<u32> {
        let mut groups: Vec<(usize, u32)> = (0..self.groups.len() as u32)
            .map(|at| (self.groups[at as usize].open_bytes(), at))
            .filter(|(bytes, _)| *bytes > 0)
            .collect();
        groups.sort_unstable_by(|a, b| b.cmp(a));
        groups.into_iter().map(|(_, at)| at).collect()
    }
}
