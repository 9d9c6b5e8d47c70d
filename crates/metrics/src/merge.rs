//! Pieces of a group become one: chunks of segments and sections of blocks, without what is hidden.
//!
//! Rows are the union of the pieces' rows; a cell that stands in two pieces has the same bits in
//! both (the door refuses another value), and the later piece is believed. A column is decoded,
//! spread over the rows and encoded again one at a time, so the memory is that of the pieces'
//! encoded bytes and of one column.

use crate::block::{Block, Writer};
use crate::chunk::Chunk;
use crate::head::NO_SERIES;
use crate::planted::{self, Bug};
use crate::section::{self, Head};
use crate::tombstone::Tombstone;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use vigie_disk::DiskError;
use vigie_model::{ABSENT, Histogram, is_absent};

/// Rows of a group and where their columns stand.
pub(crate) struct Piece<'a> {
    pub(crate) body: Body<'a>,
    /// Those that may hide something here.
    pub(crate) tombstones: Vec<Arc<Tombstone>>,
    pub(crate) source: crate::tombstone::Source,
}

pub(crate) enum Body<'a> {
    /// A chunk, and where it stands.
    Chunk(&'a Chunk<'a>, &'a Path, u64),
    Section(&'a Block, &'a Head),
}

impl Piece<'_> {
    fn timestamps_ms(&self) -> &[i64] {
        match &self.body {
            Body::Chunk(chunk, ..) => &chunk.timestamps_ms,
            Body::Section(_, head) => &head.timestamps_ms,
        }
    }

    pub(crate) fn has_rows(&self, (start_ms, end_ms): (i64, i64)) -> bool {
        let times = self.timestamps_ms();
        times[0] <= end_ms && start_ms <= times[times.len() - 1]
    }

    fn columns(&self) -> &[u32] {
        match &self.body {
            Body::Chunk(chunk, ..) => &chunk.columns,
            Body::Section(_, head) => &head.columns,
        }
    }

    /// Fills `out` with a column's rows. `false` when the piece has no such column.
    fn read(&self, column: u32, out: &mut [f64]) -> Result<bool, DiskError> {
        match &self.body {
            Body::Chunk(chunk, path, offset) => {
                let Some(strip) = chunk.strip(column) else { return Ok(false) };
                strip.decode(out).map_err(|what| DiskError::corrupt(path, *offset, what))?;
            }
            Body::Section(block, head) => {
                let Some(slot) = head.slot(column) else { return Ok(false) };
                let Some(body) = block.body_in(head, slot)? else { return Ok(false) };
                out.fill(ABSENT);
                let rows = out.len();
                let take = &mut |first: usize, page: &[f64]| {
                    out[first..first + page.len()].copy_from_slice(page);
                };
                section::each_page(&body, rows, &|_| true, take)
                    .map_err(|what| DiskError::corrupt(block.path(), 0, what))?;
            }
        }
        Ok(true)
    }

    /// The objects of a column by row, without those that are hidden.
    fn objects(&self, column: u32, series: u32) -> Result<Vec<(usize, Arc<Histogram>)>, DiskError> {
        let mut objects = Vec::new();
        let times = self.timestamps_ms();
        let is_hidden = |row: usize| {
            let mut here = self.tombstones.iter().filter(|t| t.series.contains(series));
            here.any(|t| t.hides(self.source, series, times[row]))
        };
        let take = &mut |row: usize, histogram| {
            if !is_hidden(row) {
                objects.push((row, histogram));
            }
        };
        match &self.body {
            Body::Chunk(chunk, path, offset) => {
                let Some(strip) = chunk.strip(column) else { return Ok(objects) };
                strip
                    .decode_objects(times.len(), take)
                    .map_err(|what| DiskError::corrupt(path, *offset, what))?;
            }
            Body::Section(block, head) if head.has_objects(column) => {
                let Some(slot) = head.slot(column) else { return Ok(objects) };
                let Some(body) = block.body_in(head, slot)? else { return Ok(objects) };
                section::each_object(&body, times.len(), &|_| true, take)
                    .map_err(|what| DiskError::corrupt(block.path(), 0, what))?;
            }
            Body::Section(..) => {}
        }
        Ok(objects)
    }

    /// The damage that a column is whose series nobody knows, if there is such a column.
    fn of_nobody(&self, column: u32) -> Option<DiskError> {
        let what = format!("column {column} is of a series that is not known");
        match &self.body {
            Body::Chunk(chunk, path, offset) => {
                chunk.strip(column).map(|_| DiskError::corrupt(path, *offset, what))
            }
            Body::Section(block, head) => {
                head.slot(column).map(|_| DiskError::corrupt(block.path(), 0, what))
            }
        }
    }

    fn hide(&self, series: u32, out: &mut [f64]) {
        for tombstone in self.tombstones.iter().filter(|t| t.series.contains(series)) {
            for (ts_ms, value) in self.timestamps_ms().iter().zip(&mut *out) {
                if tombstone.hides(self.source, series, *ts_ms) {
                    *value = ABSENT;
                }
            }
        }
    }
}

/// Writes the rows of a group from `start_ms` to `end_ms`, both included, and hands every damaged
/// place that had to be left out to `damage`. Returns the bytes written to the disk.
pub(crate) fn merge(
    group: u32,
    series: &[u32],
    pieces: &[Piece<'_>],
    (start_ms, end_ms): (i64, i64),
    writer: &mut Writer,
    damage: &mut dyn FnMut(DiskError),
) -> Result<u64, DiskError> {
    let inside = |ts_ms: &i64| (start_ms..=end_ms).contains(ts_ms);
    let mut times: Vec<i64> =
        pieces.iter().flat_map(|p| p.timestamps_ms()).copied().filter(inside).collect();
    times.sort_unstable();
    times.dedup();
    if planted::is(Bug::LastRowLeftOut) {
        times.pop();
    }
    let mut columns: Vec<u32> = pieces.iter().flat_map(|p| p.columns()).copied().collect();
    columns.sort_unstable();
    columns.dedup();
    let mut bytes = 0;
    let mut scratch = Vec::new();
    for times in times.chunks(section::ROWS_MAX) {
        // Where each piece's rows go.
        let places: Vec<Vec<u32>> = pieces
            .iter()
            .map(|piece| {
                let place =
                    |ts_ms: &i64| times.binary_search(ts_ms).map_or(u32::MAX, |at| at as u32);
                piece.timestamps_ms().iter().map(place).collect()
            })
            .collect();
        let mut merged = Merged { values: vec![ABSENT; times.len()], objects: BTreeMap::new() };
        for column in &columns {
            merged.values.fill(ABSENT);
            let known = series.get(*column as usize).copied().filter(|id| *id != NO_SERIES);
            let Some(id) = known else {
                pieces.iter().filter_map(|piece| piece.of_nobody(*column)).for_each(&mut *damage);
                continue;
            };
            for (piece, places) in pieces.iter().zip(&places) {
                match merged.take_in(piece, (*column, id), places, &mut scratch) {
                    Err(error) if error.is_corrupt() => damage(error),
                    done => done?,
                }
            }
            let objects: Vec<_> = std::mem::take(&mut merged.objects).into_iter().collect();
            let floats = merged.values.iter().filter(|value| !is_absent(**value)).count();
            if floats + objects.len() > 0 {
                writer.column(*column, id, &merged.values, &objects, floats + objects.len());
            }
        }
        bytes += writer.section(group, times)?;
    }
    Ok(bytes)
}

/// One column of all pieces.
struct Merged {
    values: Vec<f64>,
    objects: BTreeMap<u32, Arc<Histogram>>,
}

impl Merged {
    /// Takes in what a piece has of a column: what comes later is believed.
    fn take_in(
        &mut self,
        piece: &Piece<'_>,
        (column, series): (u32, u32),
        places: &[u32],
        scratch: &mut Vec<f64>,
    ) -> Result<(), DiskError> {
        scratch.clear();
        scratch.resize(places.len(), ABSENT);
        if !piece.read(column, scratch)? {
            return Ok(());
        }
        let objects = piece.objects(column, series)?;
        piece.hide(series, scratch);
        spread(scratch, places, &mut self.values);
        let values = &self.values;
        self.objects.retain(|place, _| is_absent(values[*place as usize]));
        for (row, histogram) in objects {
            let place = places[row];
            if place != u32::MAX {
                self.values[place as usize] = ABSENT;
                self.objects.insert(place, histogram);
            }
        }
        Ok(())
    }
}

fn spread(from: &[f64], places: &[u32], to: &mut [f64]) {
    for (value, place) in from.iter().zip(places) {
        if *place != u32::MAX && !is_absent(*value) {
            to[*place as usize] = *value;
        }
    }
}
