//! Reading: from matchers and a range to groups of columns, and to lists of labels.
//!
//! A selection is a snapshot. The open rows are shared with the store (they are copied only when
//! somebody changes them); of the chunks, the encoded bytes of the selected columns are kept and
//! nothing else. Every chunk is checked when it is selected, so a column that is read later cannot
//! be torn. Of a block only the places of the columns are kept: it never changes, and stays readable
//! when it is removed; each column is checked when it is read.

use crate::CHUNK_ROWS_MAX;
use crate::bitmap::Bitmap;
use crate::block::Block;
use crate::catalog::Catalog;
use crate::chunk::Chunk;
use crate::column;
use crate::head::Heads;
use crate::object;
use crate::row::OpenRow;
use crate::section::{self, Head, Slot};
use crate::segment::{Aside, ChunkMeta, read_chunk};
use crate::store::Store;
use crate::tombstone::{self, Source, Tombstone};
use parking_lot::RwLock;
use std::borrow::Cow;
use std::sync::Arc;
use vigie_disk::{DiskError, DiskFile};
use vigie_model::{
    ABSENT, Histogram, LabelLookup, Labels, Matcher, MetricGroup, ReadError, Selection, SeriesId,
    TimeRange,
};

/// For a row of a chunk that is outside the range.
const OUTSIDE: u32 = u32::MAX;

impl Store {
    /// The series that fulfil all matchers and have samples in the range, as groups of columns.
    pub fn select(&self, matchers: &[Matcher], range: TimeRange) -> Result<Selection, ReadError> {
        let ids = self.catalog.read().select(matchers);
        let (snapshots, sources) = {
            let heads = self.heads.lock();
            let live = live(&heads, range);
            let mut places: Vec<(u32, u32, u32)> = ids
                .into_iter()
                .filter(|id| live.contains(*id))
                .filter_map(|id| heads.place(id).map(|place| (place.group, place.column, id)))
                .collect();
            places.sort_unstable();
            let groups = places.chunk_by(|a, b| a.0 == b.0);
            let snapshots = groups.map(|places| Snapshot::take(&heads, places, range));
            (snapshots.collect::<Vec<_>>(), Sources::take(&heads, range))
        };
        let mut budget = Budget::new(self.options.selection_bytes_max);
        let mut groups: Vec<Box<dyn MetricGroup>> = Vec::with_capacity(snapshots.len());
        for snapshot in snapshots {
            let group = snapshot.load(range, &sources, &mut budget)?;
            if !group.timestamps_ms.is_empty() {
                groups.push(Box::new(group));
            }
        }
        Ok(Selection { groups, lookup: Arc::new(Lookup(self.catalog.clone())) })
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
        let mut ids = self.catalog.read().select(matchers);
        let live = live(&self.heads.lock(), range);
        ids.retain(|id| live.contains(*id));
        ids
    }
}

/// The series with samples in the range: exactly for open rows, and for whole segments and blocks.
fn live(heads: &Heads, range: TimeRange) -> Bitmap {
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
    for group in &heads.groups {
        let mut before: Option<&Arc<[u32]>> = None;
        for row in group.rows.iter().filter(|row| range.contains(row.ts_ms)) {
            if !before.is_some_and(|columns| Arc::ptr_eq(columns, &row.columns)) {
                row.columns.iter().for_each(|column| live.insert(group.series[*column as usize]));
            }
            before = Some(&row.columns);
        }
    }
    live
}

/// The memory that a selection may still take.
struct Budget {
    left: usize,
    max: usize,
}

impl Budget {
    fn new(max: usize) -> Budget {
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
        Snapshot {
            group: places[0].0,
            columns: places.iter().map(|place| place.1).collect(),
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
    ) -> Result<Group, ReadError> {
        let mut parts: Vec<(Part, Vec<i64>)> = Vec::with_capacity(self.chunks.len());
        let mut timestamps_ms = Vec::new();
        let mut add = |part: Part, times: Vec<i64>| {
            let inside = times.iter().filter(|ts_ms| range.contains(**ts_ms));
            if part.slots.is_empty() || inside.clone().next().is_none() {
                return Ok(());
            }
            timestamps_ms.extend(inside);
            budget.take(part.bytes() + 4 * times.len())?;
            parts.push((part, times));
            Ok::<(), ReadError>(())
        };
        // Blocks first: what stands in a segment came later.
        for block in &sources.blocks {
            for place in block.places_of(self.group, (range.start_ms, range.end_ms))? {
                let head = block.head(&place)?;
                let hidden = sources.hidden(Source::Block(block.entry.id), block.span(), &self.ids);
                let part = Part::of_section(block, &head, &self.columns, hidden);
                add(part, head.timestamps_ms)?;
            }
        }
        for (meta, file) in self.chunks.iter().filter(|(meta, _)| !sources.aside.contains(meta)) {
            let corrupt = |what| DiskError::corrupt(file.path(), u64::from(meta.offset), what);
            let note = |error: &DiskError| sources.aside.note(meta, error);
            let payload = read_chunk(&**file, meta).inspect_err(note)?;
            let chunk = Chunk::parse(&payload).map_err(corrupt).inspect_err(note)?;
            let source = Source::Segment(meta.segment);
            let hidden = sources.hidden(source, (meta.min_ms, meta.max_ms), &self.ids);
            let part = Part::of_chunk(&chunk, &self.columns, meta, file, hidden);
            add(part, chunk.timestamps_ms)?;
        }
        timestamps_ms.extend(self.rows.iter().map(|row| row.ts_ms));
        // Late rows make chunks overlap; otherwise everything ascends already.
        if !timestamps_ms.windows(2).all(|pair| pair[0] < pair[1]) {
            timestamps_ms.sort_unstable();
            timestamps_ms.dedup();
        }
        let at = |ts_ms: &i64| match timestamps_ms.binary_search(ts_ms) {
            Ok(at) => at as u32,
            Err(_) => OUTSIDE,
        };
        let parts = parts.into_iter().map(|(mut part, times)| {
            part.places = times.iter().map(at).collect();
            part
        });
        let parts = parts.collect();
        let rows = self.rows.into_iter().map(|row| (at(&row.ts_ms) as usize, row)).collect();
        Ok(Group { timestamps_ms, ids: self.ids, columns: self.columns, parts, rows })
    }
}

/// The bytes of a body and where they stand in their file.
type Placed<'a> = (Cow<'a, [u8]>, u64);

/// Where a selected column's body is.
enum Body {
    /// In `bodies`, from here to there.
    Held(u32, u32),
    /// In the block, at this offset, so many bytes.
    Stored(u64, u32),
}

enum Origin {
    Chunk(Arc<dyn DiskFile>, u64),
    Section(Arc<Block>),
}

/// The selected columns of one chunk or section, still encoded.
struct Part {
    /// Per row of it: its row in the group, or [`OUTSIDE`].
    places: Vec<u32>,
    /// Per selected column that is there: its index and its body.
    slots: Vec<(u32, Body)>,
    bodies: Vec<u8>,
    /// The selected columns with objects, by index, ascending.
    object_columns: Vec<u32>,
    origin: Origin,
    /// Instants between which a column's samples are hidden.
    hidden: Vec<(u32, i64, i64)>,
}

impl Part {
    fn of_chunk(
        chunk: &Chunk<'_>,
        columns: &[u32],
        meta: &ChunkMeta,
        file: &Arc<dyn DiskFile>,
        hidden: Vec<(u32, i64, i64)>,
    ) -> Part {
        let (mut slots, mut bodies, mut object_columns) = (Vec::new(), Vec::new(), Vec::new());
        for (at, column) in columns.iter().enumerate() {
            if let Some(body) = chunk.body(*column) {
                if column::has_objects(body) {
                    object_columns.push(at as u32);
                }
                slots.push((at as u32, hold(&mut bodies, body)));
            }
        }
        let origin = Origin::Chunk(file.clone(), u64::from(meta.offset));
        Part { places: Vec::new(), slots, bodies, object_columns, origin, hidden }
    }

    fn of_section(
        block: &Arc<Block>,
        head: &Head,
        columns: &[u32],
        hidden: Vec<(u32, i64, i64)>,
    ) -> Part {
        let (mut slots, mut bodies, mut object_columns) = (Vec::new(), Vec::new(), Vec::new());
        for (at, column) in columns.iter().enumerate() {
            if head.has_objects(*column) {
                object_columns.push(at as u32);
            }
            let body = match head.slot(*column) {
                Some(Slot::Inline(from, to)) => {
                    hold(&mut bodies, &head.payload[from as usize..to as usize])
                }
                Some(Slot::Stored(offset, bytes)) => Body::Stored(offset, bytes),
                None => continue,
            };
            slots.push((at as u32, body));
        }
        let origin = Origin::Section(block.clone());
        Part { places: Vec::new(), slots, bodies, object_columns, origin, hidden }
    }

    fn bytes(&self) -> usize {
        self.bodies.len() + size_of::<(u32, Body)>() * self.slots.len() + size_of::<Part>()
    }

    fn read(&self, column: usize, times: &[i64], out: &mut [f64]) -> Result<(), DiskError> {
        let Ok(slot) = self.slots.binary_search_by_key(&(column as u32), |slot| slot.0) else {
            return Ok(());
        };
        let mut spread = |first: usize, values: &[f64]| {
            for (place, value) in self.places[first..].iter().zip(values) {
                if *place != OUTSIDE && value.to_bits() != ABSENT.to_bits() {
                    let at = *place as usize;
                    if !self.is_hidden(column, times[at]) {
                        out[at] = *value;
                    }
                }
            }
        };
        match (&self.origin, &self.slots[slot].1) {
            (Origin::Chunk(file, offset), Body::Held(from, to)) => {
                let mut values = [ABSENT; CHUNK_ROWS_MAX];
                let values = &mut values[..self.places.len()];
                column::decode(&self.bodies[*from as usize..*to as usize], values)
                    .map_err(|what| DiskError::corrupt(file.path(), *offset, what))?;
                spread(0, values);
                Ok(())
            }
            (Origin::Chunk(..), Body::Stored(..)) => unreachable!("a chunk is held"),
            (Origin::Section(block), body) => {
                let Some((bytes, offset)) = self.bytes_of(block, body)? else { return Ok(()) };
                let wanted = |rows| self.is_wanted(rows);
                section::each_page(&bytes, self.places.len(), &wanted, &mut spread)
                    .map_err(|what| block.corrupt(offset, what))
            }
        }
    }

    fn has_objects(&self, column: usize) -> bool {
        self.object_columns.binary_search(&(column as u32)).is_ok()
    }

    /// Hands over the objects of a column with their rows in the group.
    fn each_object(
        &self,
        column: usize,
        times: &[i64],
        out: &mut dyn FnMut(usize, Arc<Histogram>),
    ) -> Result<(), DiskError> {
        let Ok(slot) = self.slots.binary_search_by_key(&(column as u32), |slot| slot.0) else {
            return Ok(());
        };
        let rows = self.places.len();
        let take = &mut |row: usize, histogram| {
            let place = self.places[row];
            if place != OUTSIDE && !self.is_hidden(column, times[place as usize]) {
                out(place as usize, histogram);
            }
        };
        match (&self.origin, &self.slots[slot].1) {
            (Origin::Chunk(file, offset), Body::Held(from, to)) => {
                column::decode_objects(&self.bodies[*from as usize..*to as usize], rows, take)
                    .map_err(|what| DiskError::corrupt(file.path(), *offset, what))
            }
            (Origin::Chunk(..), Body::Stored(..)) => unreachable!("a chunk is held"),
            (Origin::Section(block), body) => {
                let Some((bytes, offset)) = self.bytes_of(block, body)? else { return Ok(()) };
                section::each_object(&bytes, rows, &|rows| self.is_wanted(rows), take)
                    .map_err(|what| block.corrupt(offset, what))
            }
        }
    }

    /// The bytes of a section's column and where they stand; `None` when they are set aside.
    fn bytes_of<'a>(&'a self, block: &Block, body: &Body) -> Result<Option<Placed<'a>>, DiskError> {
        match body {
            Body::Held(from, to) => {
                Ok(Some((Cow::Borrowed(&self.bodies[*from as usize..*to as usize]), 0)))
            }
            Body::Stored(offset, bytes) => {
                Ok(block.body(*offset, *bytes)?.map(|body| (Cow::Owned(body), *offset)))
            }
        }
    }

    fn is_wanted(&self, rows: std::ops::Range<usize>) -> bool {
        self.places[rows].iter().any(|place| *place != OUTSIDE)
    }

    fn is_hidden(&self, column: usize, ts_ms: i64) -> bool {
        let mut of_column = self.hidden.iter().filter(|hidden| hidden.0 as usize == column);
        of_column.any(|(_, min_ms, max_ms)| (*min_ms..=*max_ms).contains(&ts_ms))
    }
}

/// Keeps a body and says where.
fn hold(bodies: &mut Vec<u8>, body: &[u8]) -> Body {
    let from = bodies.len() as u32;
    bodies.extend_from_slice(body);
    Body::Held(from, bodies.len() as u32)
}

/// A group of a selection.
struct Group {
    timestamps_ms: Vec<i64>,
    ids: Vec<SeriesId>,
    columns: Vec<u32>,
    parts: Vec<Part>,
    rows: Vec<(usize, Arc<OpenRow>)>,
}

impl MetricGroup for Group {
    fn timestamps_ms(&self) -> &[i64] {
        &self.timestamps_ms
    }

    fn series(&self) -> &[SeriesId] {
        &self.ids
    }

    fn held_bytes(&self) -> usize {
        let parts: usize = self.parts.iter().map(|part| part.bytes() + 4 * part.places.len()).sum();
        parts + 8 * self.timestamps_ms.len() + 8 * self.ids.len()
    }

    fn read(&self, column: usize, out: &mut Vec<f64>) -> Result<(), ReadError> {
        out.clear();
        out.resize(self.timestamps_ms.len(), ABSENT);
        for part in &self.parts {
            part.read(column, &self.timestamps_ms, out)?;
        }
        for (at, row) in &self.rows {
            if let Some(value) = row.value(self.columns[column]) {
                out[*at] = value;
            }
        }
        Ok(())
    }

    fn may_have_histograms(&self, column: usize) -> bool {
        self.parts.iter().any(|part| part.has_objects(column))
            || self.rows.iter().any(|(_, row)| row.objects().get(self.columns[column]).is_some())
    }

    fn read_histograms(
        &self,
        column: usize,
        out: &mut Vec<(usize, Arc<Histogram>)>,
    ) -> Result<(), ReadError> {
        out.clear();
        for part in self.parts.iter().filter(|part| part.has_objects(column)) {
            part.each_object(column, &self.timestamps_ms, &mut |at, histogram| {
                out.push((at, histogram));
            })?;
        }
        for (at, row) in &self.rows {
            if let Some(object) = row.objects().get(self.columns[column]) {
                let histogram = object::decode_alone(object);
                out.push((*at, histogram.expect("open rows hold what was checked")));
            }
        }
        // Late rows make chunks overlap; of a cell that stands twice the later place is believed.
        if !out.windows(2).all(|pair| pair[0].0 < pair[1].0) {
            out.reverse();
            out.sort_by_key(|(at, _)| *at);
            out.dedup_by_key(|(at, _)| *at);
        }
        Ok(())
    }
}

struct Lookup(Arc<RwLock<Catalog>>);

impl LabelLookup for Lookup {
    fn labels(&self, id: SeriesId) -> Labels {
        self.0.read().labels(id.0)
    }
}
