//! The open rows of every group, and how rows come in and are sealed into chunks.
//!
//! A *group* is a set of series that arrive together: those first seen in one row under the same
//! `job` and `instance`. A row of a group is one instant with some of its columns; consecutive rows
//! with the same columns share the list of them, so an open sample costs eight bytes.
//! When a group has enough rows they are turned into columns and appended to a segment.
//! Samples that do not come in rows stand loose ([`Loose`]): series with instants of their own, and
//! what comes later than the row it belongs to was sealed. Series of a target that come alone share
//! a group of few columns.
//!
//! Invariants: the open rows of a group ascend strictly by time; a cell (series, instant) stands in
//! at most one place, open row, loose or chunk: what arrives again is compared and dropped at the door;
//! a series has one place (group, column) for ever.

mod living;
mod seal;

use crate::batch::{self, Batch};
use crate::block::{Block, Place as SectionPlace};
use crate::catalog::{Catalog, NO_PAIR};
use crate::chunk::{Chunk, Encoder};
use crate::loose::{self, Loose};
use crate::object::{self, Objects};
use crate::record::{Definition, Part};
use crate::row::OpenRow;
use crate::sealed::{self, Stored};
use crate::segment::{ChunkMeta, Segments, read_chunk};
use crate::tombstone::{Source, Tombstone};
use crate::{Appended, GROUP_COLUMNS_MAX, MetricsError, Options};
use hashbrown::HashMap;
use living::Known;
use std::sync::Arc;
use vigie_disk::DiskError;
use vigie_disk::wire::Bad;
use vigie_model::value::canonical;
use vigie_model::{ABSENT, Histogram, Row, SeriesId, is_absent};

/// A group is sealed when it has so many rows, so that few are open and few are replayed.
pub(crate) const SEAL_ROWS: usize = 16;
/// Small groups wait until a chunk has about so many cells, as long as its rows are few enough.
const SEAL_CELLS_MIN: usize = 512;
/// How far in the future a sample may lie, as in Prometheus' doors.
const FUTURE_MS_MAX: i64 = 10 * 60 * 1000;
/// Series of a target that came alone and share a group. A chunk of such a group has a row for each
/// instant of each, so they are few.
const POOL_COLUMNS_MAX: usize = 8;
/// Bytes of objects with which a group is sealed, however few rows they are.
const OBJECT_BYTES_MAX: usize = 4 * 1024 * 1024;
const NO_GROUP: u32 = u32::MAX;
/// In place of a column's series: it was forgotten, or the list that had it is damaged.
pub(crate) const NO_SERIES: u32 = u32::MAX;
const TWO_IDS: Bad = "two series have one id, or one series two";

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) group: u32,
    pub(crate) column: u32,
}

pub(crate) struct Group {
    /// The pairs of `job` and `instance`, so that a row of two targets makes two groups.
    key: (u32, u32),
    /// The series of each column.
    pub(crate) series: Vec<u32>,
    pub(crate) rows: Vec<Arc<OpenRow>>,
    /// What the objects of the open rows take.
    object_bytes: usize,
    /// Open cells that are in no row; `None` as long as there was none.
    pub(crate) loose: Option<Box<Loose>>,
    /// Series that came alone are put together here.
    is_pool: bool,
    pub(crate) chunks: Vec<ChunkMeta>,
    /// The newest instant, open or sealed.
    newest_ms: i64,
    /// The newest instant of any chunk.
    sealed_ms: i64,
    /// When the first open row came in; 0 when that is not known.
    opened_ms: i64,
    /// A chunk of it is lost whose rows the log still has: a mark of a later chunk says nothing
    /// about them.
    keeps_rows: bool,
    /// By how many 256ths the next chunk is shorter than others.
    head_start: u8,
}

impl Group {
    fn open_bytes(&self) -> usize {
        let rows: usize = self.rows.iter().map(|row| row.bytes()).sum();
        rows + self.loose_bytes()
    }

    fn loose_bytes(&self) -> usize {
        self.loose.as_ref().map_or(0, |loose| loose.len() * loose::CELL_BYTES)
    }

    /// Whether nothing is open.
    fn is_sealed(&self) -> bool {
        self.rows.is_empty() && self.loose.as_ref().is_none_or(|loose| loose.is_empty())
    }

    /// Open cells that are in no row.
    pub(crate) fn loose_cells(&self) -> impl Iterator<Item = loose::Sample> {
        self.loose.iter().flat_map(|loose| loose.iter())
    }

    /// The oldest open instant.
    fn oldest_open_ms(&self) -> Option<i64> {
        let row = self.rows.first().map(|row| row.ts_ms);
        row.into_iter().chain(self.loose.as_ref().and_then(|loose| loose.oldest_ms())).min()
    }

    /// Whether all of a part is newer than any sample of its series, as far as that is known.
    fn is_newer(&self, part: &Part) -> bool {
        match &self.loose {
            Some(loose) => part.columns.iter().all(|at| loose.newest_ms(*at) < part.ts_ms),
            None => self.newest_ms < part.ts_ms,
        }
    }

    /// Takes in a chunk that was found, whose series are not known.
    fn add_chunk(&mut self, meta: ChunkMeta) {
        self.note_sealed(meta.max_ms);
        if let Some(loose) = &mut self.loose {
            loose.note_all(meta.max_ms);
        }
        self.chunks.push(meta);
    }

    fn note_sealed(&mut self, max_ms: i64) {
        self.sealed_ms = self.sealed_ms.max(max_ms);
        self.newest_ms = self.newest_ms.max(max_ms);
    }
}

/// A cell: group, column and value.
type Cell = (u32, u32, f64);
/// A histogram and its group and column.
type Placed<'a> = ((u32, u32), &'a Histogram);

/// A chunk that was read to look for duplicates, kept because the next question is about it too.
struct Recent {
    segment: u32,
    offset: u32,
    payload: Vec<u8>,
}

/// Everything that changes when rows come in. Behind one lock.
pub(crate) struct Heads {
    pub(crate) groups: Vec<Group>,
    pub(crate) segments: Segments,
    /// Ascending by id.
    pub(crate) blocks: Vec<Arc<Block>>,
    /// Those of the manifest.
    pub(crate) tombstones: Vec<Arc<Tombstone>>,
    /// By series id.
    places: Vec<Place>,
    /// By target: the group of its series that came alone.
    pools: HashMap<(u32, u32), u32, foldhash::fast::RandomState>,
    /// Series with a place that no log has yet.
    pub(crate) unlogged: Vec<u32>,
    /// Series that only the write-ahead log has, in the order of their columns.
    pub(crate) pending: Vec<u32>,
    pub(crate) open_bytes: usize,
    pub(crate) samples: u64,
    /// The time of the last tick; 0 before the first.
    pub(crate) now_ms: i64,
    /// Why the last seal failed, until one works.
    pub(crate) seal_error: Option<DiskError>,
    /// The segment of which a log mentions a chunk that is not there.
    torn: Option<u32>,
    /// The log mentions a chunk that is not there, so its segment must not go before the log is cut:
    /// a mark of a segment that is gone says that its rows are safe.
    pub(crate) log_mentions_lost: bool,
    placed: usize,
    /// Groups below this number get no more columns: those that a damaged list has lost may have
    /// samples.
    closed_groups: u32,
    /// The list of series has lost some: chunks, sections and rows may speak of series that nobody
    /// knows.
    pub(crate) has_lost_series: bool,
    /// Rows of the log of which a series is not known.
    pub(crate) rows_left_out: u64,
    encoder: Encoder,
    recent: Option<Recent>,
}

impl Heads {
    pub(crate) fn new(segments: Segments) -> Heads {
        Heads {
            groups: Vec::new(),
            segments,
            blocks: Vec::new(),
            tombstones: Vec::new(),
            places: Vec::new(),
            pools: HashMap::default(),
            unlogged: Vec::new(),
            pending: Vec::new(),
            open_bytes: 0,
            samples: 0,
            now_ms: 0,
            seal_error: None,
            torn: None,
            log_mentions_lost: false,
            placed: 0,
            closed_groups: 0,
            has_lost_series: false,
            rows_left_out: 0,
            encoder: Encoder::default(),
            recent: None,
        }
    }

    /// Where a series stands, once it has had a sample.
    pub(crate) fn place(&self, id: u32) -> Option<Place> {
        self.places.get(id as usize).copied().filter(|place| place.group != NO_GROUP)
    }

    /// How many series have a place.
    pub(crate) fn placed(&self) -> usize {
        self.placed
    }

    /// Turns a row into parts, one per group, leaving out what is too old or too new.
    pub(crate) fn stage(
        &mut self,
        row: &Row<'_>,
        options: &Options,
        catalog: &Catalog,
        parts: &mut Vec<Part>,
        counts: &mut Appended,
    ) -> Result<(), MetricsError> {
        assert_eq!(row.series.len(), row.values.len(), "one value per series");
        if self.now_ms > 0 {
            let samples = row.series.len() as u64;
            if row.ts_ms > self.now_ms.saturating_add(FUTURE_MS_MAX) {
                counts.too_new += samples;
                return Ok(());
            }
            if row.ts_ms < self.now_ms.saturating_sub(options.retention_ms) {
                counts.too_old += samples;
                return Ok(());
            }
        }
        if self.has_forgotten(row, catalog) {
            let known = Known::of(row, catalog).ok_or(MetricsError::Forgotten)?;
            return self.stage(&known.row(row.ts_ms), options, catalog, parts, counts);
        }
        self.assign(row, catalog);
        let histograms = self.histograms_of(row, counts);
        let cells = self.cells_of(row, counts);
        for cells in cells.chunk_by(|a, b| a.0 == b.0) {
            let group = &self.groups[cells[0].0 as usize];
            // Series with instants of their own are not measured by one another.
            let mut newest_ms = match &group.loose {
                Some(loose) if cells.len() == 1 => loose.newest_ms(cells[0].1),
                _ => group.newest_ms,
            };
            if self.now_ms > 0 && options.late_window_ms > 0 {
                // A clock that ran ahead for a while must not make all that follows too old.
                newest_ms = newest_ms.min(self.now_ms);
            }
            if row.ts_ms < newest_ms.saturating_sub(options.late_window_ms) {
                let counter = match options.late_window_ms {
                    0 => &mut counts.out_of_order,
                    _ => &mut counts.too_old,
                };
                *counter += cells.len() as u64;
                continue;
            }
            parts.push(Part {
                group: cells[0].0,
                ts_ms: row.ts_ms,
                columns: cells.iter().map(|cell| cell.1).collect(),
                values: cells.iter().map(|cell| cell.2).collect(),
                objects: encoded(cells, &histograms),
            });
        }
        Ok(())
    }

    /// The cells of a row by place, each once: the first counts. [`ABSENT`] for a histogram's.
    fn cells_of(&self, row: &Row<'_>, counts: &mut Appended) -> Vec<Cell> {
        let place = |(id, value): (&SeriesId, &f64)| {
            let Place { group, column } = self.places[id.0 as usize];
            (group, column, canonical(*value))
        };
        let mut cells: Vec<Cell> = row.series.iter().zip(row.values).map(place).collect();
        for (at, _) in row.histograms {
            cells[*at].2 = ABSENT;
        }
        if !cells.windows(2).all(|pair| (pair[0].0, pair[0].1) < (pair[1].0, pair[1].1)) {
            cells.sort_by_key(|(group, column, _)| (*group, *column));
            cells.dedup_by(|later, first| {
                let again = (later.0, later.1) == (first.0, first.1);
                // Two histograms are compared where they are collected.
                if again && !(is_absent(later.2) && is_absent(first.2)) {
                    counts.met(later.2.to_bits() == first.2.to_bits(), false);
                }
                again
            });
        }
        cells
    }

    /// The histograms of a row by place, each once: the first counts.
    fn histograms_of<'a>(&self, row: &Row<'a>, counts: &mut Appended) -> Vec<Placed<'a>> {
        let place = |(at, histogram): &(usize, &'a Histogram)| {
            let Place { group, column } = self.places[row.series[*at].0 as usize];
            ((group, column), *histogram)
        };
        let mut placed: Vec<Placed<'_>> = row.histograms.iter().map(place).collect();
        placed.sort_by_key(|(place, _)| *place);
        placed.dedup_by(|later, first| {
            let again = later.0 == first.0;
            if again {
                counts.met(object::is_equal(later.1, first.1), true);
            }
            again
        });
        placed
    }

    /// Gives a place to the series of a row that have none: in the group of a series of the same
    /// target that came in the same row, or in a new group.
    fn assign(&mut self, row: &Row<'_>, catalog: &Catalog) {
        if row.series.iter().all(|id| self.place(id.0).is_some()) {
            return;
        }
        let mut groups: HashMap<(u32, u32), u32, foldhash::fast::RandomState> = HashMap::default();
        for id in row.series {
            if let Some(place) = self.place(id.0)
                && !self.groups[place.group as usize].is_pool
            {
                let key = self.groups[place.group as usize].key;
                // Of several groups the newest is the one that has room.
                let group = groups.entry(key).or_insert(place.group);
                *group = place.group.max(*group);
            }
        }
        let is_alone = row.series.len() == 1;
        for id in row.series.iter().map(|id| id.0) {
            if self.place(id).is_some() {
                continue;
            }
            let key = (catalog.pair_named(id, "job"), catalog.pair_named(id, "instance"));
            let group = match groups.get(&key) {
                _ if is_alone => self.pool(key),
                Some(g) if self.has_room(*g) => *g,
                _ => {
                    let group = self.groups.len() as u32;
                    self.add_group(key);
                    groups.insert(key, group);
                    group
                }
            };
            self.settle(id, group);
            self.unlogged.push(id);
        }
    }

    /// A group of series of a target that came alone, with room for one more.
    fn pool(&mut self, key: (u32, u32)) -> u32 {
        let known = self.pools.get(&key).copied();
        let has_room = |at: &u32| {
            *at >= self.closed_groups && self.groups[*at as usize].series.len() < POOL_COLUMNS_MAX
        };
        if let Some(group) = known.filter(has_room) {
            return group;
        }
        let group = self.groups.len() as u32;
        self.add_group(key);
        self.groups[group as usize].is_pool = true;
        self.pools.insert(key, group);
        group
    }

    fn has_room(&self, group: u32) -> bool {
        group >= self.closed_groups && self.groups[group as usize].series.len() < GROUP_COLUMNS_MAX
    }

    /// Makes all groups below `count` known.
    fn know_groups(&mut self, count: usize) {
        while self.groups.len() < count {
            self.add_group((NO_PAIR, NO_PAIR));
        }
    }

    fn add_group(&mut self, key: (u32, u32)) {
        // Multiples of the golden ratio lie evenly between 0 and 1.
        let head_start = (self.groups.len() as u32).wrapping_mul(0x9e37_79b9) >> 24;
        self.groups.push(Group {
            head_start: head_start as u8,
            key,
            series: Vec::new(),
            rows: Vec::new(),
            object_bytes: 0,
            loose: None,
            is_pool: false,
            chunks: Vec::new(),
            newest_ms: i64::MIN,
            sealed_ms: i64::MIN,
            opened_ms: 0,
            keeps_rows: false,
        });
    }

    fn settle(&mut self, id: u32, group: u32) {
        let known = &mut self.groups[group as usize];
        let place = Place { group, column: known.series.len() as u32 };
        if known.is_pool {
            known.series.reserve_exact(POOL_COLUMNS_MAX - known.series.len());
        }
        known.series.push(id);
        if let Some(loose) = &mut known.loose {
            loose.grow(known.series.len());
        }
        if self.places.len() <= id as usize {
            let nowhere = Place { group: NO_GROUP, column: 0 };
            self.places.resize(id as usize + 1, nowhere);
        }
        assert_eq!(self.places[id as usize].group, NO_GROUP, "a series has one place");
        self.places[id as usize] = place;
        self.placed += 1;
    }

    /// Gives a series the id and the place it had before a restart. `Ok(false)` when it has them.
    pub(crate) fn restore(
        &mut self,
        definition: &Definition,
        catalog: &mut Catalog,
    ) -> Result<bool, Bad> {
        let Definition { id, group, column, labels } = definition;
        if !catalog.define(*id, labels) {
            return Err(TWO_IDS);
        }
        self.settle_again(*id, Place { group: *group, column: *column }, catalog)
    }

    /// [`Heads::restore`] for a batch. `new` gets the series that had no place.
    pub(crate) fn restore_batch(
        &mut self,
        batch: &Batch,
        catalog: &mut Catalog,
        mut new: impl FnMut(&mut Heads, u32),
    ) -> Result<(), Bad> {
        for (member, is_good) in catalog.take_in(batch) {
            if !is_good {
                return Err(TWO_IDS);
            }
            let place = Place { group: member.group, column: member.column };
            if self.settle_again(member.id, place, catalog)? {
                new(self, member.id);
            }
        }
        Ok(())
    }

    fn settle_again(&mut self, id: u32, place: Place, catalog: &Catalog) -> Result<bool, Bad> {
        if let Some(known) = self.place(id) {
            return if known == place { Ok(false) } else { Err("a series has two places") };
        }
        let Place { group, column } = place;
        if group as usize > self.groups.len() + crate::GROUP_GAP_MAX {
            return Err("a group has an impossible number");
        }
        self.know_groups(group as usize + 1);
        let known = &mut self.groups[group as usize];
        if known.key == (NO_PAIR, NO_PAIR) {
            known.key = (catalog.pair_named(id, "job"), catalog.pair_named(id, "instance"));
        }
        if known.series.len() > column as usize {
            return Err("a column of a group has two series");
        }
        known.series.resize(column as usize, NO_SERIES);
        self.settle(id, group);
        Ok(true)
    }

    /// Writes what the logs say about series, which must have places: `done` gets batches and how
    /// many series are in each.
    pub(crate) fn batches<E>(
        &self,
        ids: &[u32],
        catalog: &Catalog,
        done: impl FnMut(&[u8], usize) -> Result<(), E>,
    ) -> Result<(), E> {
        batch::encode(catalog, ids, |id| self.places[id as usize], done)
    }

    /// Puts a part into its group, cell by cell where it meets what is there already.
    pub(crate) fn insert(&mut self, part: Part, counts: &mut Appended) {
        let group = &self.groups[part.group as usize];
        let may_be_sealed = part.ts_ms <= group.sealed_ms && !group.is_newer(&part);
        let part = if may_be_sealed { self.unsealed(part, counts) } else { part };
        self.insert_open(part, counts);
    }

    /// [`Heads::insert`] for a part of which no chunk has a cell.
    fn insert_open(&mut self, part: Part, counts: &mut Appended) {
        // What is left of a part of series that nobody knows may have no group either.
        if part.columns.is_empty() {
            return;
        }
        let now_ms = self.now_ms;
        let group = &mut self.groups[part.group as usize];
        let part = match &group.loose {
            Some(loose) if loose.may_have(part.ts_ms) => without_loose(part, loose, counts),
            _ => part,
        };
        if part.columns.is_empty() {
            return;
        }
        if group.is_sealed() {
            group.opened_ms = now_ms;
        }
        let added = match group.takes_loose(&part) {
            true => group.add_loose(&part),
            false => group.merge(part, counts),
        };
        counts.appended += added.cells as u64;
        counts.histograms += added.objects as u64;
        self.samples += added.cells as u64;
        self.open_bytes += added.bytes;
    }

    /// Puts a part of the log back, but for what is of series that nobody knows. Whether a chunk has
    /// it too is found out at the end.
    pub(crate) fn replay(&mut self, mut part: Part) {
        let is_known = |column: &u32| {
            let group = self.groups.get(part.group as usize);
            let series = group.and_then(|group| group.series.get(*column as usize));
            series.is_some_and(|series| *series != NO_SERIES)
        };
        if !part.columns.iter().all(is_known) {
            self.rows_left_out += 1;
            let cells = part.columns.iter().copied().zip(part.values.iter().copied());
            let (columns, values): (Vec<u32>, Vec<f64>) =
                cells.filter(|(column, _)| is_known(column)).unzip();
            let Part { group, ts_ms, .. } = part;
            let objects = part.objects.only(columns.iter().copied());
            part = Part { group, ts_ms, columns, values, objects };
        }
        let samples = self.samples;
        self.insert_open(part, &mut Appended::default());
        self.samples = samples;
    }

    /// A part without the cells that a chunk has already. A chunk that cannot be read has none:
    /// what is damaged must not keep out what somebody still has and sends.
    fn unsealed(&mut self, part: Part, counts: &mut Appended) -> Part {
        let chunks: Vec<ChunkMeta> = self.groups[part.group as usize]
            .chunks
            .iter()
            .filter(|meta| meta.min_ms <= part.ts_ms && part.ts_ms <= meta.max_ms)
            .copied()
            .collect();
        let mut left: Vec<(u32, f64)> = part.columns.into_iter().zip(part.values).collect();
        let objects = part.objects;
        let here = self.blocks.iter().filter(|block| block.overlaps(part.ts_ms, part.ts_ms));
        for block in here.cloned().collect::<Vec<_>>() {
            match sealed::without_those_in(
                self,
                &block,
                (part.group, part.ts_ms),
                &left,
                &objects,
                counts,
            ) {
                Ok(still) => left = still,
                Err(error) => tracing::debug!(%error, "no duplicates are looked for here"),
            }
        }
        for meta in chunks {
            match self.without_those_in(&meta, part.ts_ms, &left, &objects, counts) {
                Ok(still) => left = still,
                Err(error) => tracing::debug!(%error, "no duplicates are looked for here"),
            }
        }
        let objects = objects.only(left.iter().map(|(column, _)| *column));
        let (columns, values) = left.into_iter().unzip();
        Part { columns, values, objects, group: part.group, ts_ms: part.ts_ms }
    }

    fn is_hidden(&self, group: u32, column: u32, segment: u32, ts_ms: i64) -> bool {
        !self.tombstones.is_empty() && {
            let id = self.groups[group as usize].series[column as usize];
            let source = Source::Segment(segment);
            self.tombstones.iter().any(|tombstone| tombstone.hides(source, id, ts_ms))
        }
    }

    /// The cells of one instant that a chunk does not have.
    fn without_those_in(
        &mut self,
        meta: &ChunkMeta,
        ts_ms: i64,
        cells: &[(u32, f64)],
        objects: &Objects,
        counts: &mut Appended,
    ) -> Result<Vec<(u32, f64)>, DiskError> {
        let Some(segment) = self.segments.get(meta.segment) else { return Ok(cells.to_vec()) };
        let file = segment.file.clone();
        let corrupt = |what| DiskError::corrupt(file.path(), u64::from(meta.offset), what);
        let here = (meta.segment, meta.offset);
        let payload = match self.recent.take() {
            Some(recent) if (recent.segment, recent.offset) == here => recent.payload,
            _ => read_chunk(&*file, meta)?,
        };
        let chunk = Chunk::parse(&payload).map_err(corrupt)?;
        let mut still = Vec::with_capacity(cells.len());
        let mut found = Appended::default();
        if let Ok(at) = chunk.timestamps_ms.binary_search(&ts_ms) {
            let group = chunk.group;
            for (column, value) in cells {
                let stored = match chunk.strip(*column) {
                    Some(strip) if !self.is_hidden(group, *column, meta.segment, ts_ms) => {
                        Stored::in_strip(strip, chunk.timestamps_ms.len(), at).map_err(corrupt)?
                    }
                    _ => Stored::Nothing,
                };
                if !stored.is_met_by(*value, objects.get(*column), &mut found) {
                    still.push((*column, *value));
                }
            }
        } else {
            still.extend_from_slice(cells);
        }
        counts.duplicates += found.duplicates;
        counts.conflicting += found.conflicting;
        counts.histograms += found.histograms;
        self.recent = Some(Recent { segment: here.0, offset: here.1, payload });
        Ok(still)
    }

    /// Notes that a chunk which a log mentions is not there: the rows stay open and are sealed again.
    pub(crate) fn note_lost(&mut self, group: u32, segment: u32) {
        self.torn = Some(segment);
        self.log_mentions_lost = true;
        if let Some(group) = self.groups.get_mut(group as usize) {
            group.keeps_rows = true;
        }
    }

    /// Takes in a chunk found in a segment. `false` when the group is not known.
    pub(crate) fn add_chunk(&mut self, group: u32, meta: ChunkMeta) -> bool {
        self.know_if_lost(group);
        let Some(group) = self.groups.get_mut(group as usize) else { return false };
        group.add_chunk(meta);
        true
    }

    /// Closes a segment that lost a chunk. Were it written to again, it would grow past the place
    /// that the log mentions, and the next start would take another chunk for the lost one.
    pub(crate) fn retire_torn(&mut self) -> Result<(), DiskError> {
        let Some(id) = self.torn.take() else { return Ok(()) };
        if self.segments.active().is_some_and(|active| active.id == id) {
            let chunks = self.chunks_of(id);
            match self.segments.close(id, &chunks) {
                // A full disk must not keep the store closed: without an index it is only slower.
                Err(e) if e.is_full() => self.segments.leave(id),
                done => done?,
            }
        }
        Ok(())
    }

    /// All chunks of a segment by offset, each with its group.
    pub(crate) fn chunks_of(&self, segment: u32) -> Vec<(u32, ChunkMeta)> {
        let mut chunks: Vec<(u32, ChunkMeta)> = Vec::new();
        for (at, group) in self.groups.iter().enumerate() {
            let of_segment = group.chunks.iter().filter(|meta| meta.segment == segment);
            chunks.extend(of_segment.map(|meta| (at as u32, *meta)));
        }
        chunks.sort_unstable_by_key(|(_, meta)| meta.offset);
        chunks
    }

    /// Forgets the segments before `end` and their chunks.
    pub(crate) fn forget_segments_before(&mut self, end: u32) {
        self.recent = None;
        self.segments.forget_before(end);
        for group in &mut self.groups {
            group.chunks.retain(|meta| meta.segment >= end);
        }
    }

    /// Takes in a section of a block. `false` when its group is not known.
    pub(crate) fn note_section(&mut self, place: &SectionPlace) -> bool {
        self.know_if_lost(place.group);
        let Some(group) = self.groups.get_mut(place.group as usize) else { return false };
        group.note_sealed(place.max_ms);
        if let Some(loose) = &mut group.loose {
            loose.note_all(place.max_ms);
        }
        true
    }

    /// The oldest instant there is.
    pub(crate) fn oldest_ms(&self) -> Option<i64> {
        let sealed = self.segments.list.iter().map(|segment| segment.min_ms);
        let blocks = self.blocks.iter().map(|block| block.entry.min_ms);
        let open = self.groups.iter().filter_map(|group| group.oldest_open_ms());
        sealed.chain(blocks).chain(open).min().filter(|ms| *ms != i64::MAX)
    }

    /// The newest instant there is.
    pub(crate) fn newest_ms(&self) -> Option<i64> {
        self.groups.iter().map(|group| group.newest_ms).max().filter(|ms| *ms != i64::MIN)
    }
}

/// The histograms of a group's cells as objects.
fn encoded(cells: &[Cell], histograms: &[Placed<'_>]) -> Objects {
    let mut objects = Objects::default();
    if histograms.is_empty() {
        return objects;
    }
    for (group, column, _) in cells.iter().filter(|cell| is_absent(cell.2)) {
        let at = histograms.binary_search_by_key(&(*group, *column), |(place, _)| *place);
        objects.encode(*column, histograms[at.expect("a cell without a value has one")].1);
    }
    objects
}

/// A part without the cells that stand loose already.
fn without_loose(part: Part, loose: &Loose, counts: &mut Appended) -> Part {
    let Part { group, ts_ms, columns, values, objects } = part;
    let mut left = Vec::with_capacity(columns.len());
    for (column, value) in columns.into_iter().zip(values) {
        match loose.value(column, ts_ms) {
            None => left.push((column, value)),
            Some(known) => {
                counts.met(known.to_bits() == value.to_bits(), objects.get(column).is_some());
            }
        }
    }
    let objects = objects.only(left.iter().map(|(column, _)| *column));
    let (columns, values) = left.into_iter().unzip();
    Part { group, ts_ms, columns, values, objects }
}

/// What a merge did.
struct Added {
    cells: usize,
    /// How many of the cells.
    objects: usize,
    bytes: usize,
}

impl Group {
    /// Whether a part is kept cell by cell: it is small, and its instant has no row.
    fn takes_loose(&self, part: &Part) -> bool {
        loose::suits(part, self.series.len())
            && self.loose.as_ref().is_none_or(|loose| loose.takes(part.ts_ms))
            && self.rows.binary_search_by_key(&part.ts_ms, |row| row.ts_ms).is_err()
    }

    fn add_loose(&mut self, part: &Part) -> Added {
        let (columns, newest_ms) = (self.series.len(), self.newest_ms);
        let loose = self.loose.get_or_insert_with(|| Box::new(Loose::new(columns, newest_ms)));
        self.newest_ms = newest_ms.max(part.ts_ms);
        for (column, value) in part.columns.iter().zip(&part.values) {
            loose.push(*column, part.ts_ms, *value);
        }
        let cells = part.columns.len();
        Added { cells, objects: 0, bytes: cells * loose::CELL_BYTES }
    }

    /// Adds the cells of a part that are not there yet.
    fn merge(&mut self, part: Part, counts: &mut Appended) -> Added {
        self.newest_ms = self.newest_ms.max(part.ts_ms);
        if let Some(loose) = &mut self.loose {
            part.columns.iter().for_each(|column| loose.note(*column, part.ts_ms));
        }
        match self.rows.binary_search_by_key(&part.ts_ms, |row| row.ts_ms) {
            Err(at) => {
                let like = at.checked_sub(1).map(|before| &self.rows[before].columns);
                let row = OpenRow::new(part, like);
                let objects = row.objects().len();
                let added = Added { cells: row.values.len(), objects, bytes: row.bytes() };
                self.object_bytes += row.object_bytes();
                self.rows.insert(at, Arc::new(row));
                added
            }
            Ok(at) => {
                let row = Arc::make_mut(&mut self.rows[at]);
                let before = (row.values.len(), row.objects().len(), row.bytes());
                self.object_bytes -= row.object_bytes();
                row.merge(&part, counts);
                self.object_bytes += row.object_bytes();
                Added {
                    cells: row.values.len() - before.0,
                    objects: row.objects().len() - before.1,
                    bytes: row.bytes() - before.2,
                }
            }
        }
    }
}
