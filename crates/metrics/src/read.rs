//! Reading: from matchers and a range to groups of columns, and to lists of labels.
//!
//! A selection is a snapshot. The open rows are shared with the store (they are copied only when
//! somebody changes them); of the chunks, the encoded bytes of the selected columns are kept and
//! nothing else, so a selection costs about as much memory as its columns take on the disk.
//! Every chunk is checked when it is selected, so a column that is read later cannot be torn.

use crate::CHUNK_ROWS_MAX;
use crate::catalog::Catalog;
use crate::chunk::Chunk;
use crate::column;
use crate::head::{Heads, OpenRow};
use crate::segment::{Bitmap, ChunkMeta, read_chunk};
use crate::store::Store;
use parking_lot::RwLock;
use std::sync::Arc;
use vigie_disk::{DiskError, DiskFile};
use vigie_model::{
    ABSENT, LabelLookup, Labels, Matcher, MetricGroup, ReadError, Selection, SeriesId, TimeRange,
};

/// For a row of a chunk that is outside the range.
const OUTSIDE: u32 = u32::MAX;

impl Store {
    /// The series that fulfil all matchers and have samples in the range, as groups of columns.
    pub fn select(&self, matchers: &[Matcher], range: TimeRange) -> Result<Selection, ReadError> {
        let ids = self.catalog.read().select(matchers);
        let snapshots = {
            let heads = self.heads.lock();
            let live = live(&heads, range);
            let mut places: Vec<(u32, u32, u32)> = ids
                .into_iter()
                .filter(|id| live.contains(*id))
                .filter_map(|id| heads.place(id).map(|place| (place.group, place.column, id)))
                .collect();
            places.sort_unstable();
            let groups = places.chunk_by(|a, b| a.0 == b.0);
            groups.map(|places| Snapshot::take(&heads, places, range)).collect::<Vec<_>>()
        };
        let mut budget = Budget::new(self.options.selection_bytes_max);
        let mut groups: Vec<Box<dyn MetricGroup>> = Vec::with_capacity(snapshots.len());
        for snapshot in snapshots {
            let group = snapshot.load(range, &mut budget)?;
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
        let pairs = pairs_of(&catalog, &ids);
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
        let pairs = pairs_of(&catalog, &ids);
        let values = catalog.values(name).filter(|(_, pair)| pairs.contains(*pair));
        Ok(values.map(|(value, _)| value.to_string()).take(limit).collect())
    }

    fn live_ids(&self, matchers: &[Matcher], range: TimeRange) -> Vec<u32> {
        let mut ids = self.catalog.read().select(matchers);
        let live = live(&self.heads.lock(), range);
        ids.retain(|id| live.contains(*id));
        ids
    }
}

/// The pairs that any of the series has.
fn pairs_of(catalog: &Catalog, ids: &[u32]) -> Bitmap {
    let mut pairs = Bitmap::default();
    for id in ids {
        catalog.pairs_of(*id).iter().for_each(|pair| pairs.insert(*pair));
    }
    pairs
}

/// The series with samples in the range: exactly for open rows, and for whole segments.
fn live(heads: &Heads, range: TimeRange) -> Bitmap {
    let mut live = Bitmap::default();
    let segments = heads.segments.list.iter();
    for segment in segments.filter(|s| s.overlaps(range.start_ms, range.end_ms)) {
        live.union(&segment.series);
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

/// What is taken of a group while the store is locked.
struct Snapshot {
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
            columns: places.iter().map(|place| place.1).collect(),
            ids: places.iter().map(|place| SeriesId(place.2)).collect(),
            chunks: chunks.collect(),
            rows: rows.cloned().collect(),
        }
    }

    /// Reads the chunks and lays out the rows.
    fn load(self, range: TimeRange, budget: &mut Budget) -> Result<Group, ReadError> {
        let mut timestamps_ms = Vec::new();
        let mut parts = Vec::with_capacity(self.chunks.len());
        for (meta, file) in &self.chunks {
            let payload = read_chunk(&**file, meta)?;
            let corrupt = |what| DiskError::corrupt(file.path(), u64::from(meta.offset), what);
            let chunk = Chunk::parse(&payload).map_err(corrupt)?;
            let part = Part::new(&chunk, &self.columns, meta, file);
            let inside = chunk.timestamps_ms.iter().filter(|ts_ms| range.contains(**ts_ms));
            if part.bodies.is_empty() || inside.clone().next().is_none() {
                continue;
            }
            timestamps_ms.extend(inside);
            budget.take(part.bytes())?;
            parts.push((part, chunk.timestamps_ms));
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

/// The selected columns of one chunk, still encoded.
struct Part {
    /// Per row of the chunk: its row in the group, or [`OUTSIDE`].
    places: Vec<u32>,
    /// Per selected column that the chunk has: its index and where its body ends in `bodies`.
    slots: Vec<(u32, u32)>,
    bodies: Vec<u8>,
    file: Arc<dyn DiskFile>,
    offset: u64,
}

impl Part {
    fn new(chunk: &Chunk<'_>, columns: &[u32], meta: &ChunkMeta, file: &Arc<dyn DiskFile>) -> Part {
        let (mut slots, mut bodies) = (Vec::new(), Vec::new());
        for (at, column) in columns.iter().enumerate() {
            if let Some(body) = chunk.body(*column) {
                bodies.extend_from_slice(body);
                slots.push((at as u32, bodies.len() as u32));
            }
        }
        let offset = u64::from(meta.offset);
        Part { places: Vec::new(), slots, bodies, file: file.clone(), offset }
    }

    fn bytes(&self) -> usize {
        self.bodies.len() + 8 * self.slots.len() + size_of::<Part>()
    }

    fn read(&self, column: usize, out: &mut [f64]) -> Result<(), DiskError> {
        let Ok(slot) = self.slots.binary_search_by_key(&(column as u32), |slot| slot.0) else {
            return Ok(());
        };
        let start = slot.checked_sub(1).map_or(0, |before| self.slots[before].1);
        let body = &self.bodies[start as usize..self.slots[slot].1 as usize];
        let mut values = [ABSENT; CHUNK_ROWS_MAX];
        let values = &mut values[..self.places.len()];
        column::decode(body, values)
            .map_err(|what| DiskError::corrupt(self.file.path(), self.offset, what))?;
        for (place, value) in self.places.iter().zip(values) {
            if *place != OUTSIDE && value.to_bits() != ABSENT.to_bits() {
                out[*place as usize] = *value;
            }
        }
        Ok(())
    }
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
            part.read(column, out)?;
        }
        for (at, row) in &self.rows {
            if let Some(value) = row.value(self.columns[column]) {
                out[*at] = value;
            }
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
