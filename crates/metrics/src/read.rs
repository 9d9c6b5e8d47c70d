//! Reading: from matchers and a range to groups of columns, and to lists of labels.
//!
//! A selection is a snapshot. The open rows are shared with the store (they are copied only when
//! somebody changes them); of the chunks, the encoded bytes of the selected columns are kept and
//! nothing else. Every chunk is checked when it is selected, so a column that is read later cannot
//! be torn. Of a block only the places of the columns are kept: it never changes, and stays readable
//! when it is removed; each column is checked when it is read.

use crate::bitmap::Bitmap;
use crate::block::Block;
use crate::catalog::{Catalog, Side};
use crate::chunk::{Directory, Held};
use crate::head::Heads;
use crate::loose;
use crate::part::{Group, Layout, Open, Part};
use crate::row::OpenRow;
use crate::segment::{Aside, ChunkMeta, read_chunk_into};
use crate::store::Store;
use crate::tombstone::{self, Source, Tombstone};
use parking_lot::RwLock;
use std::sync::Arc;
use vigie_disk::{DiskError, DiskFile};
use vigie_model::{
    LabelLookup, Labels, Matcher, MetricGroup, ReadError, Selection, SeriesId, TimeRange,
};

impl Store {
    /// The series that fulfil all matchers and have samples in the range, as groups of columns.
    pub fn select(&self, matchers: &[Matcher], range: TimeRange) -> Result<Selection, ReadError> {
        let ids = self.catalog.read().select(matchers);
        self.select_ids(ids, range)
    }

    /// The samples of the series that have any in the range.
    pub(crate) fn select_ids(
        &self,
        ids: Vec<u32>,
        range: TimeRange,
    ) -> Result<Selection, ReadError> {
        let (snapshots, sources) = {
            let heads = self.heads.lock();
            let mut places: Vec<(u32, u32, u32)> = live(&heads, ids, range)
                .into_iter()
                .filter_map(|id| heads.place(id).map(|place| (place.group, place.column, id)))
                .collect();
            places.sort_unstable();
            let groups = places.chunk_by(|a, b| a.0 == b.0);
            let snapshots = groups.map(|places| Snapshot::take(&heads, places, range));
            (snapshots.collect::<Vec<_>>(), Sources::take(&heads, range))
        };
        let mut budget = Budget::new(self.options.selection_bytes_max);
        let mut scratch = Scratch::default();
        let mut groups: Vec<Box<dyn MetricGroup>> = Vec::with_capacity(snapshots.len());
        for snapshot in snapshots {
            let group = snapshot.load(range, &sources, &mut budget, &mut scratch)?;
            if !group.timestamps_ms.is_empty() {
                groups.push(Box::new(group));
            }
        }
        let looked_at = self.catalog.read().look_at();
        let lookup = Lookup { catalog: self.catalog.clone(), _looked_at: looked_at };
        Ok(Selection { groups, lookup: Arc::new(lookup) })
    }

    /// The label sets that fulfil all matchers and have samples in the range, sorted; at most
    /// `limit`.
    pub fn series(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<Labels>, ReadError> {
        let ids = self.live_ids(matchers, range);
        let catalog = self.catalog.read();
        let mut series: Vec<Labels> = ids.into_iter().map(|id| catalog.labels(id)).collect();
        series.sort_unstable();
        series.truncate(limit);
        Ok(series)
    }

    /// The names of the labels of those series, sorted; at most `limit`.
    pub fn label_names(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<String>, ReadError> {
        let ids = self.live_ids(matchers, range);
        let catalog = self.catalog.read();
        let pairs = catalog.pairs_among(&ids);
        let names = catalog.names().filter_map(|(name, mut of_name)| {
            of_name.any(|pair| pairs.contains(pair)).then(|| name.to_string())
        });
        Ok(names.take(limit).collect())
    }

    /// The values that those series have under `name`, sorted; at most `limit`.
    pub fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<String>, ReadError> {
        let ids = self.live_ids(matchers, range);
        let catalog = self.catalog.read();
        let pairs = catalog.pairs_among(&ids);
        let values = catalog.values(name).filter(|(_, pair)| pairs.contains(*pair));
        Ok(values.map(|(value, _)| value.to_string()).take(limit).collect())
    }

    pub(crate) fn live_ids(&self, matchers: &[Matcher], range: TimeRange) -> Vec<u32> {
        let ids = self.catalog.read().select(matchers);
        self.living(ids, range)
    }

    /// Those of the series that have samples in the range.
    pub(crate) fn living(&self, ids: Vec<u32>, range: TimeRange) -> Vec<u32> {
        live(&self.heads.lock(), ids, range)
    }
}

/// Of these series, ascending, those with samples in the range: exactly for what is open, and for
/// whole segments and blocks.
fn live(heads: &Heads, mut ids: Vec<u32>, range: TimeRange) -> Vec<u32> {
    let mut live = sealed(heads, range);
    if ids.len() >= heads.placed() / LOOKED_UP_ONE_IN {
        add_open(heads, range, &mut live);
        ids.retain(|id| live.contains(*id));
    } else {
        ids.retain(|id| live.contains(*id) || is_open(heads, *id, range));
    }
    ids
}

/// When fewer than one series in so many are asked about, open rows are looked into for each alone.
const LOOKED_UP_ONE_IN: usize = 8;

/// The series of the segments and blocks that overlap the range.
fn sealed(heads: &Heads, range: TimeRange) -> Bitmap {
    let mut live = Bitmap::default();
    let mut add = |source, series: &Bitmap, (min_ms, max_ms): (i64, i64)| {
        if min_ms > range.end_ms || range.start_ms > max_ms {
            return;
        }
        if heads.tombstones.is_empty() {
            live.union(series);
            return;
        }
        let mut series = series.clone();
        let span = (min_ms.max(range.start_ms), max_ms.min(range.end_ms));
        heads.without_hidden(&mut series, source, span);
        live.union(&series);
    };
    for segment in &heads.segments.list {
        add(Source::Segment(segment.id), &segment.series, (segment.min_ms, segment.max_ms));
    }
    for block in &heads.blocks {
        add(Source::Block(block.entry.id), &block.series, block.span());
    }
    live
}

/// Adds the series with open samples in the range.
fn add_open(heads: &Heads, range: TimeRange, live: &mut Bitmap) {
    for group in &heads.groups {
        let mut before: Option<&Arc<[u32]>> = None;
        for row in group.rows.iter().filter(|row| range.contains(row.ts_ms)) {
            if !before.is_some_and(|columns| Arc::ptr_eq(columns, &row.columns)) {
                row.columns.iter().for_each(|column| live.insert(group.series[*column as usize]));
            }
            before = Some(&row.columns);
        }
        for (column, _, _) in group.loose_cells().filter(|cell| range.contains(cell.1)) {
            live.insert(group.series[column as usize]);
        }
    }
}

/// Whether a series has an open sample in the range.
fn is_open(heads: &Heads, id: u32, range: TimeRange) -> bool {
    let Some(place) = heads.place(id) else { return false };
    let group = &heads.groups[place.group as usize];
    let mut rows = group.rows.iter().filter(|row| range.contains(row.ts_ms));
    rows.any(|row| row.columns.binary_search(&place.column).is_ok())
        || group.loose_cells().any(|cell| cell.0 == place.column && range.contains(cell.1))
}

/// The memory that a selection may still take.
struct Budget {
    left: usize,
    max: usize,
}

impl Budget {
    fn new(max: usize) -> Budget {
        // What is held is found by offsets of 32 bits.
        let max = max.min(u32::MAX as usize);
        Budget { left: max, max }
    }

    fn take(&mut self, bytes: usize) -> Result<(), ReadError> {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(ReadError::Limit(format!(
                "the selection needs more than {} bytes of stored samples: select fewer series or \
                 a shorter range",
                self.max
            ))),
        }
    }
}

/// What all groups of a selection share.
struct Sources {
    /// Those that overlap the range.
    blocks: Vec<Arc<Block>>,
    tombstones: Vec<Arc<Tombstone>>,
    aside: Arc<Aside>,
}

impl Sources {
    fn take(heads: &Heads, range: TimeRange) -> Sources {
        let blocks = heads.blocks.iter().filter(|b| b.overlaps(range.start_ms, range.end_ms));
        Sources {
            blocks: blocks.cloned().collect(),
            tombstones: heads.tombstones.clone(),
            aside: heads.segments.aside.clone(),
        }
    }

    /// What is hidden of selected series in a source, as index and instants.
    fn hidden(&self, source: Source, span: (i64, i64), ids: &[SeriesId]) -> Vec<(u32, i64, i64)> {
        let mut hidden = Vec::new();
        for tombstone in tombstone::of(&self.tombstones, source, span) {
            let series = ids.iter().enumerate().filter(|(_, id)| tombstone.series.contains(id.0));
            hidden.extend(series.map(|(at, _)| (at as u32, tombstone.min_ms, tombstone.max_ms)));
        }
        hidden
    }
}

/// What is taken of a group while the store is locked.
struct Snapshot {
    group: u32,
    /// Ascending.
    columns: Vec<u32>,
    ids: Vec<SeriesId>,
    chunks: Vec<(ChunkMeta, Arc<dyn DiskFile>)>,
    rows: Vec<Arc<OpenRow>>,
    /// Open cells that are in no row, by index of their series.
    loose: Vec<loose::Sample>,
}

impl Snapshot {
    fn take(heads: &Heads, places: &[(u32, u32, u32)], range: TimeRange) -> Snapshot {
        let group = &heads.groups[places[0].0 as usize];
        let chunks = group
            .chunks
            .iter()
            .filter(|meta| meta.min_ms <= range.end_ms && range.start_ms <= meta.max_ms)
            .filter_map(|meta| Some((*meta, heads.segments.get(meta.segment)?.file.clone())));
        let rows = group.rows.iter().filter(|row| range.contains(row.ts_ms));
        let columns: Vec<u32> = places.iter().map(|place| place.1).collect();
        let cells = group.loose_cells().filter(|cell| range.contains(cell.1));
        let loose = cells.filter_map(|(column, ts_ms, value)| {
            columns.binary_search(&column).ok().map(|at| (at as u32, ts_ms, value))
        });
        Snapshot {
            group: places[0].0,
            loose: loose.collect(),
            columns,
            ids: places.iter().map(|place| SeriesId(place.2)).collect(),
            chunks: chunks.collect(),
            rows: rows.cloned().collect(),
        }
    }

    /// Reads the heads of sections and the chunks, and lays out the rows.
    fn load(
        self,
        range: TimeRange,
        sources: &Sources,
        budget: &mut Budget,
        scratch: &mut Scratch,
    ) -> Result<Group, ReadError> {
        let mut parts = Vec::with_capacity(self.chunks.len());
        let (mut layout, mut held) = (Layout::new(range), Held::default());
        // Blocks first: what stands in a segment came later.
        for block in &sources.blocks {
            for place in block.places_of(self.group, (range.start_ms, range.end_ms))? {
                let head = block.head(&place)?;
                let hidden = sources.hidden(Source::Block(block.entry.id), block.span(), &self.ids);
                let part = Part::of_section(block, &head, &self.columns, hidden);
                if let Some(part) = part.filter(|_| layout.wants(&head.timestamps_ms)) {
                    budget.take(part.bytes() + 4 * head.timestamps_ms.len())?;
                    layout.add(&head.timestamps_ms);
                    parts.push(part);
                }
            }
        }
        let Scratch { bytes, times } = scratch;
        let chunks = self.chunks.iter().filter(|(meta, _)| !sources.aside.contains(meta));
        for (at, (meta, file)) in chunks.enumerate() {
            let corrupt = |what| DiskError::corrupt(file.path(), u64::from(meta.offset), what);
            let note = |error: &DiskError| sources.aside.note(meta, error);
            let payload = read_chunk_into(&**file, meta, bytes).inspect_err(note)?;
            let chunk = Directory::parse(payload).map_err(corrupt).inspect_err(note)?;
            chunk.read_times(times).map_err(corrupt).inspect_err(note)?;
            let before = held.heap_bytes();
            let more = self.chunks.len() - 1 - at;
            if !layout.wants(times) || !held.add(&chunk, &self.columns, more) {
                continue;
            }
            let source = Source::Segment(meta.segment);
            let hidden = sources.hidden(source, (meta.min_ms, meta.max_ms), &self.ids);
            let part = Part::of_chunk(file.clone(), u64::from(meta.offset), hidden);
            budget.take(held.heap_bytes() - before + part.bytes() + 4 * times.len())?;
            layout.add(times);
            parts.push(part);
        }
        let mut loose = self.loose;
        budget.take(size_of::<loose::Sample>() * loose.len())?;
        loose.sort_unstable_by_key(|(_, ts_ms, _)| *ts_ms);
        let instants = loose.chunk_by(|a, b| a.1 == b.1).map(|cells| cells[0].1);
        let open = self.rows.iter().map(|row| row.ts_ms).chain(instants);
        let (timestamps_ms, is_laid) = layout.finish(open, &mut parts);
        let at = |ts_ms| timestamps_ms.binary_search(&ts_ms).expect("it was laid out");
        let rows = self.rows.into_iter().map(|row| Open { at: at(row.ts_ms), row });
        let rows = rows.collect();
        let mut loose: Vec<_> = loose.iter().map(|c| (c.0, at(c.1) as u32, c.2)).collect();
        loose.sort_unstable_by_key(|(column, place, _)| (*column, *place));
        let (ids, columns) = (self.ids, self.columns);
        Ok(Group { timestamps_ms, ids, columns, parts, held, rows, loose, is_laid })
    }
}

/// Buffers kept from chunk to chunk.
#[derive(Default)]
struct Scratch {
    bytes: Vec<u8>,
    times: Vec<i64>,
}

struct Lookup {
    catalog: Arc<RwLock<Catalog>>,
    /// Queries go by the numbers of halves.
    _looked_at: Arc<()>,
}

impl LabelLookup for Lookup {
    fn labels(&self, id: SeriesId) -> Labels {
        self.catalog.read().labels(id.0)
    }

    fn parts(&self, id: SeriesId) -> Option<[u32; 2]> {
        self.catalog.read().halves_of_series(id.0)
    }

    fn part(&self, place: usize, number: u32) -> Labels {
        let side = if place == 0 { Side::Own } else { Side::Target };
        let catalog = self.catalog.read();
        let pairs = catalog.half(side, number).iter().map(|pair| catalog.pair(*pair));
        Labels::from_pairs(pairs.map(|(name, value)| (name.clone(), value.clone())))
    }
}
