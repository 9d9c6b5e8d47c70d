//! The store itself: opening, the door for rows, numbers.
//!
//! Locks, in the order in which they may be taken: `compaction`, `manifest`, `keys`, `heads`, `catalog`;
//! the log has its own. Callers wait for their sync without `heads`; it is held during a sync only when a segment
//! of the log or of the chunks is full, every few million samples.
//! A row is written to the log and put into its group under one hold of `heads`, so the log's order
//! is the order in which the groups saw the rows.

use crate::blocks;
use crate::catalog::{Catalog, START_NAME};
use crate::exemplars::Exemplars;
use crate::head::Heads;
use crate::manifest::Manifest;
use crate::planted::{self, Bug};
use crate::push::Keys;
use crate::record::{self, Durable, Part, Record};
use crate::segment::{Found, Segments};
use crate::series_log::{Said, SeriesLog};
use crate::sound;
use crate::{Appended, CELLS_PER_RECORD_MAX, Durability, MetricsError, Options, Stats};
use parking_lot::{Mutex, RwLock, RwLockUpgradableReadGuard};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use vigie_disk::{Disk, DiskError, Floor, Meter, Refused, Tell, Wal, WalOptions};
use vigie_model::{Labels, Row, SeriesId};

/// The log's segments: small, so that cutting it frees space soon.
const LOG_SEGMENT_BYTES: u64 = 4 * 1024 * 1024;
/// Runs of lost series that are named.
const RUNS_TOLD_MAX: usize = 20;
/// Open rows may outgrow their budget by this factor before rows are refused because the segments
/// cannot be written.
const OPEN_BYTES_SLACK: usize = 4;

/// The metrics of one machine. Shared between threads; every method blocks.
pub struct Store {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) options: Options,
    pub(crate) wal: Wal,
    pub(crate) catalog: Arc<RwLock<Catalog>>,
    pub(crate) heads: Mutex<Heads>,
    /// The manifest as it is on the disk.
    pub(crate) manifest: Mutex<Manifest>,
    /// Held by the one compaction that may run.
    pub(crate) compaction: Mutex<()>,
    unfinished_bytes: u64,
    /// Damage found in the manifest and in whole blocks when the store was opened.
    pub(crate) damage: Vec<DiskError>,
    pub(crate) series_log: Mutex<SeriesLog>,
    pub(crate) keys: Mutex<Keys>,
    /// The companion of each series, by id. May be held while `catalog` is taken.
    pub(crate) companions: Mutex<Vec<u32>>,
    /// Start timestamps appended since the start; they are in the count of samples too.
    pub(crate) starts_appended: AtomicU64,
    /// May be held while `catalog` is taken.
    pub(crate) exemplars: Mutex<Exemplars>,
    pub(crate) floor: Floor,
    /// The log's length when it was last cut: the rows that were carried over.
    pub(crate) log_bytes_after_cut: AtomicU64,
    pub(crate) ticks: Mutex<crate::checkpoint::Ticks>,
    /// Series forgotten since the start.
    pub(crate) forgotten: AtomicU64,
}

impl Store {
    /// Opens the store of a directory, making it when it is not there.
    /// Everything that was ever acknowledged is back when this returns, but for what the disk has
    /// damaged, which is logged with file and offset and counted.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, options: Options) -> Result<Store, MetricsError> {
        Store::open_telling(disk, dir, options, &|_| ())
    }

    /// [`Store::open`] that tells how far it is.
    pub fn open_telling(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: Options,
        tell: &Tell<'_>,
    ) -> Result<Store, MetricsError> {
        Store::open_in(disk, dir, options, tell).map_err(|error| match error.is_corrupt() {
            true => MetricsError::Damaged { dir: dir.display().to_string(), error },
            false => error.into(),
        })
    }

    /// The order is: manifest, list of series, log, blocks, chunks. A log may build on series that another record of
    /// it defined, so after damage what could be read is moved out of it at once.
    fn open_in(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: Options,
        tell: &Tell<'_>,
    ) -> Result<Store, DiskError> {
        Meter::start(tell, "the chunks of metrics", 0);
        disk.create_dir_all(dir)?;
        let mut catalog = Catalog::default();
        let mut start = blocks::start(&*disk, dir)?;
        let (segments, found) =
            Segments::open(disk.clone(), &dir.join("segments"), start.manifest.segment_min)?;
        let mut heads = Heads::new(segments);
        let hidden = start.manifest.tombstones.iter();
        hidden.for_each(|tombstone| heads.segments.reserve(tombstone.segment_max));
        let mut series_log = SeriesLog::open(&disk, dir, tell, &mut |said| match said {
            Said::Batch(batch) => heads.restore_batch(&batch, &mut catalog, |_, _| ()),
            Said::Definitions(definitions) => definitions
                .iter()
                .try_for_each(|definition| heads.restore(definition, &mut catalog).map(|_| ())),
        })?;
        heads.close_groups(series_log.groups_closed());
        let wal = open_log(&disk, dir, &mut series_log, &mut heads, &mut catalog, tell)?;
        heads.has_lost_series = series_log.has_hole;
        note_unfinished(wal.cut_bytes(), found.cut_bytes);
        heads.blocks = start.open(&*disk, dir, &mut |place| heads.note_section(place))?;
        if !planted::is(Bug::TombstonesNotLoaded) {
            heads.tombstones.clone_from(&start.manifest.tombstones);
        }
        let unfinished_bytes = wal.cut_bytes() + found.cut_bytes;
        take_in(found, &mut heads, !wal.damage().is_empty())?;
        start.damage.extend(lost_series(&mut series_log, &mut heads, dir));
        for error in heads.segments.damage.iter().chain(&start.damage) {
            tracing::error!(%error, "stored metrics are damaged: what stood there is left out");
        }
        heads.retire_torn()?;
        heads.drop_sealed_again();
        let exemplars = Exemplars::open(disk.clone(), dir, options.exemplars_max, &catalog)?;
        let floor = Floor::new(dir, options.free_bytes_min);
        floor.look(&*disk)?;
        let store = Store {
            disk,
            dir: dir.to_path_buf(),
            options,
            wal,
            catalog: Arc::new(RwLock::new(catalog)),
            heads: Mutex::new(heads),
            manifest: Mutex::new(start.manifest),
            compaction: Mutex::default(),
            unfinished_bytes,
            damage: start.damage,
            series_log: Mutex::new(series_log),
            keys: Mutex::default(),
            companions: Mutex::default(),
            starts_appended: AtomicU64::new(0),
            exemplars: Mutex::new(exemplars),
            floor,
            log_bytes_after_cut: AtomicU64::new(0),
            ticks: Mutex::default(),
            forgotten: AtomicU64::new(0),
        };
        store.mend();
        Ok(store)
    }

    /// Writes anew what was found damaged or of an older version. What cannot be written now is
    /// written by the next checkpoint: a full disk must not keep the store closed.
    fn mend(&self) {
        if !self.wal.damage().is_empty() {
            if let Err(error) = self.checkpoint() {
                tracing::warn!(%error, "what is left of the damaged log is not moved out of it yet");
            }
            return;
        }
        let mut series_log = self.series_log.lock();
        if !series_log.is_sound()
            && let Err(error) = self.write_pending_series(&mut series_log)
        {
            tracing::warn!(%error, "the list of series is not written anew yet");
        }
    }

    /// The id of a label set. It is durable with the first row that uses it.
    pub fn intern(&self, labels: &Labels) -> Result<SeriesId, MetricsError> {
        if labels.get(START_NAME).is_some() {
            let words = format!("the label name {START_NAME} is the store's own: leave it out");
            return Err(MetricsError::Limit(words));
        }
        let catalog = self.catalog.upgradable_read();
        let look = catalog.look(labels);
        if let Some(id) = catalog.find(&look) {
            return Ok(SeriesId(id));
        }
        check_labels(labels, &self.options)?;
        let metric = labels.metric_name().unwrap_or("");
        let limit = self.options.series_max;
        if catalog.sent() >= limit {
            return Err(MetricsError::Limit(format!(
                "series limit exceeded (metric: {metric:.50}, limit: {limit}): send fewer series, or \
                 drop labels whose values never end"
            )));
        }
        let limit = self.options.series_per_target_max;
        if catalog.series_of_target(&look) >= limit {
            return Err(MetricsError::Limit(format!(
                "series limit of a target exceeded (metric: {metric:.50}, job: {:.50}, instance: \
                 {:.50}, limit: {limit}): send fewer series of it, or drop labels whose values never \
                 end",
                labels.value_or_empty("job"),
                labels.value_or_empty("instance"),
            )));
        }
        Ok(SeriesId(RwLockUpgradableReadGuard::upgrade(catalog).add(labels, &look)))
    }

    /// The labels of a series.
    ///
    /// # Panics
    /// If `id` did not come from this store.
    pub fn labels(&self, id: SeriesId) -> Labels {
        self.catalog.read().labels(id.0)
    }

    /// Takes rows in and returns when they are as durable as asked for.
    /// Samples that are refused are counted, and the others are kept.
    ///
    /// # Panics
    /// If a row has not as many values as series, or an id of another store.
    pub fn append(
        &self,
        rows: &[Row<'_>],
        durability: Durability,
    ) -> Result<Appended, MetricsError> {
        // What is collected goes on for a while on a full disk, see `Floor`.
        match durability {
            Durability::Synced => self.floor.check()?,
            Durability::Written => self.floor.check_collected()?,
        }
        let mut counts = Appended::default();
        sound::with_sound_rows(rows, &mut counts, |rows, counts| self.append_all(rows, counts))?;
        if durability == Durability::Synced {
            // Everything, so that duplicates of rows that are only written yet are synced too.
            self.wal.sync_all()?;
        }
        Ok(counts)
    }

    fn append_all(&self, rows: &[Row<'_>], counts: &mut Appended) -> Result<(), MetricsError> {
        let mut rest = rows;
        while !rest.is_empty() {
            let mut cells = 0;
            let fits = rest.iter().take_while(|row| {
                let fits = cells < CELLS_PER_RECORD_MAX;
                cells += sound::weight(row);
                fits
            });
            let (batch, later) = rest.split_at(fits.count());
            self.append_batch(batch, counts)?;
            rest = later;
        }
        Ok(())
    }

    fn append_batch(&self, rows: &[Row<'_>], counts: &mut Appended) -> Result<(), MetricsError> {
        let mut parts = Vec::with_capacity(rows.len());
        let mut payload = Vec::new();
        let mut heads = self.heads.lock();
        if heads.open_bytes > OPEN_BYTES_SLACK * self.open_bytes_max(&heads)
            && let Some(e) = &heads.seal_error
        {
            return Err(e.clone().into());
        }
        {
            let catalog = self.catalog.read();
            for row in rows {
                heads.stage(row, &self.options, &catalog, &mut parts, counts)?;
            }
            if parts.is_empty() {
                return Ok(());
            }
            self.log_series(&mut heads, &catalog)?;
        }
        record::put_rows_head(&mut payload, parts.len());
        for part in &parts {
            let Part { group, ts_ms, columns, values, objects } = part;
            record::put_part(&mut payload, *group, *ts_ms, columns, values, objects);
        }
        self.wal.append(&payload)?;
        for part in parts {
            let group = part.group;
            heads.insert(part, counts);
            if heads.is_full(group) {
                // Should this fail, the rows stay open and the next tick tries again and tells.
                let _ = self.seal(&mut heads, group);
            }
        }
        Ok(())
    }

    /// Tells the log about the series that have got a place since it was last told.
    fn log_series(&self, heads: &mut Heads, catalog: &Catalog) -> Result<(), DiskError> {
        let new = std::mem::take(&mut heads.unlogged);
        let mut logged = 0;
        let told = heads.batches(&new, catalog, |batch, count| {
            self.wal.append(&record::series(batch))?;
            logged += count;
            Ok(())
        });
        heads.pending.extend_from_slice(&new[..logged]);
        heads.unlogged.extend_from_slice(&new[logged..]);
        told
    }

    /// Seals a group and marks it in the log, so that a restart need not look for duplicates.
    pub(crate) fn seal(&self, heads: &mut Heads, group: u32) -> Result<(), DiskError> {
        let sealed = heads.seal(group);
        heads.seal_error = sealed.as_ref().err().cloned();
        if let Some((segment, end)) = sealed? {
            // Without the mark a restart compares the rows with the chunk; it is only slower.
            let _ = self.wal.append(&record::sealed(group, segment, end));
        }
        Ok(())
    }

    /// Makes everything durable. The store may be used further; dropping it loses nothing.
    pub fn close(&self) -> Result<(), MetricsError> {
        self.exemplars.lock().sync()?;
        Ok(self.wal.sync_all()?)
    }

    /// The store in numbers.
    pub fn stats(&self) -> Stats {
        let log_bytes = self.wal.bytes();
        let series_log_bytes = self.series_log.lock().bytes();
        let (exemplars, exemplar_bytes, exemplar_damage) = {
            let ring = self.exemplars.lock();
            (ring.len() as u64, ring.bytes(), ring.damage())
        };
        let heads = self.heads.lock();
        Stats {
            series: (heads.placed() - self.placed_companions(&heads)) as u64,
            groups: heads.groups.len() as u64,
            series_forgotten: self.forgotten.load(Ordering::Relaxed),
            samples_appended: heads.samples - self.starts_appended.load(Ordering::Relaxed),
            open_bytes: heads.open_bytes as u64,
            chunks: heads.groups.iter().map(|group| group.chunks.len() as u64).sum(),
            segments: heads.segments.list.len() as u64,
            blocks: heads.blocks.len() as u64,
            tombstones: heads.tombstones.len() as u64,
            log_bytes,
            disk_bytes: log_bytes
                + series_log_bytes
                + exemplar_bytes
                + heads.segments.bytes()
                + heads.blocks.iter().map(|block| block.entry.bytes).sum::<u64>(),
            oldest_ms: heads.oldest_ms(),
            newest_ms: heads.newest_ms(),
            exemplars,
            is_paused: self.floor.is_low(),
            free_bytes: self.floor.free_bytes(),
            unfinished_bytes: self.unfinished_bytes,
            damaged: (self.wal.damage().len() + heads.segments.damage.len() + exemplar_damage)
                as u64
                + heads.blocks.iter().map(|block| block.damaged()).sum::<u64>()
                + (self.damage.len() + heads.segments.aside.len()) as u64,
        }
    }

    /// The files of a segment.
    pub(crate) fn segment_paths(&self, id: u32) -> [PathBuf; 2] {
        self.heads.lock().segments.paths(id)
    }

    /// The budget for open rows.
    pub(crate) fn open_bytes_max(&self, heads: &Heads) -> usize {
        self.options.open_bytes_max.max(heads.placed() * crate::head::SEAL_ROWS * 8)
    }
}

/// Replays the log into the groups.
fn open_log(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    series_log: &mut SeriesLog,
    heads: &mut Heads,
    catalog: &mut Catalog,
    tell: &Tell<'_>,
) -> Result<Wal, DiskError> {
    let log_dir = dir.join("wal");
    let log_options = WalOptions { segment_bytes: LOG_SEGMENT_BYTES, gather_ms: 0 };
    let mut meter = Meter::start(tell, "the log of metrics", dir_bytes(&**disk, &log_dir)?);
    Wal::open(disk.clone(), &log_dir, log_options, &mut |payload| {
        meter.add(payload.len() as u64);
        match record::decode(payload)? {
            Record::Checkpoint(Durable {
                generation,
                series_log_bytes,
                segment,
                segment_bytes,
            }) => {
                series_log.check(generation, series_log_bytes);
                heads.segments.reserve(segment);
                // It may be gone (retention), but not shorter than when it was last synced.
                if heads.segments.get(segment).is_some_and(|s| s.bytes < segment_bytes) {
                    heads.segments.retire(segment, segment_bytes);
                }
                Ok(())
            }
            record => replay(record, heads, catalog).map_err(Refused::Record),
        }
    })
}

/// The length of the files of a directory, 0 when it is not there yet.
fn dir_bytes(disk: &dyn Disk, dir: &Path) -> Result<u64, DiskError> {
    disk.create_dir_all(dir)?;
    let names = disk.list(dir)?;
    names.iter().map(|name| disk.open(&dir.join(name))?.len()).sum()
}

/// Says that a dead process left something unfinished.
fn note_unfinished(log_bytes: u64, segment_bytes: u64) {
    if log_bytes > 0 || segment_bytes > 0 {
        tracing::info!(
            log_bytes,
            segment_bytes,
            "the metrics store was not closed: unfinished writes were left out"
        );
    }
}

fn replay(record: Record, heads: &mut Heads, catalog: &mut Catalog) -> Result<(), &'static str> {
    match record {
        Record::Series(batch) => {
            heads.restore_batch(&batch, catalog, |heads, id| heads.pending.push(id))
        }
        Record::Rows(definitions, parts) => {
            for definition in definitions {
                if heads.restore(&definition, catalog)? {
                    heads.pending.push(definition.id);
                }
            }
            parts.into_iter().for_each(|part| heads.replay(part));
            Ok(())
        }
        Record::Sealed { group, segment, end } => {
            heads.segments.reserve(segment);
            if heads.segments.has_lost(segment, end) {
                // A chunk that did not survive a power cut is made again from the rows.
                heads.note_lost(group, segment);
            } else {
                heads.drop_open(group);
            }
            Ok(())
        }
        Record::Checkpoint(_) => unreachable!("checked by the caller"),
    }
}

/// Gives the chunks found in the segments to their groups.
fn take_in(found: Found, heads: &mut Heads, log_is_damaged: bool) -> Result<(), DiskError> {
    for (group, meta) in found.indexed {
        if !heads.add_chunk(group, meta) {
            return Err(unknown_series(heads, meta.segment, meta.offset));
        }
    }
    for scanned in found.scanned {
        let id = scanned.meta.segment;
        let Some(series) = heads.series_of(&scanned) else {
            // Its series were never acknowledged: a power cut took them out of the log. Or damage
            // did; then the places in their groups would be given to others.
            let is_active = heads.segments.active().is_some_and(|active| active.id == id);
            if !is_active {
                return Err(unknown_series(heads, id, scanned.meta.offset));
            }
            heads.segments.cut(id, u64::from(scanned.meta.offset), log_is_damaged)?;
            break;
        };
        heads.segments.note_series(id, &series);
        heads.segments.note_unknown(&scanned.meta, scanned.columns.len() - series.len());
        heads.add_chunk(scanned.group, scanned.meta);
    }
    Ok(())
}

/// What the list of series and the log do not know of what files have: told, and from then on left
/// out.
fn lost_series(series_log: &mut SeriesLog, heads: &mut Heads, dir: &Path) -> Vec<DiskError> {
    let mut damage = series_log.damage.clone();
    if series_log.has_hole {
        let groups = heads.groups.len() as u32;
        series_log.close_groups(groups);
        heads.close_groups(groups);
        let lost = heads.lost_ids();
        if let (false, Some(DiskError::Corrupt { file, offset, .. })) =
            (lost.is_empty(), damage.first().cloned())
        {
            let what = format!("samples of series are lost with the list: {}", as_runs(&lost));
            damage.push(DiskError::Corrupt { file, offset, what });
        }
    }
    if heads.rows_left_out > 0 {
        let rows = heads.rows_left_out;
        let what = format!("{rows} rows of the log are left out: their series are not known");
        damage.push(DiskError::corrupt(&dir.join("wal"), 0, what));
    }
    damage
}

/// Numbers as a person reads them, the first of them.
fn as_runs(ids: &[u32]) -> String {
    let runs = ids.chunk_by(|a, b| *b == a + 1);
    let count = runs.clone().count();
    let texts = runs.take(RUNS_TOLD_MAX).map(|run| match run {
        [one] => format!("number {one}"),
        run => format!("numbers {} to {}", run[0], run[run.len() - 1]),
    });
    let mut text = texts.collect::<Vec<_>>().join(", ");
    if count > RUNS_TOLD_MAX {
        text.push_str(" and others");
    }
    text
}

fn unknown_series(heads: &Heads, segment: u32, offset: u32) -> DiskError {
    let segment = heads.segments.get(segment).expect("the chunk was found in it");
    let what = "the chunk is of series that series.log does not know";
    DiskError::corrupt(segment.file.path(), u64::from(offset), what)
}

/// Prometheus' limits on labels, in its words.
fn check_labels(labels: &Labels, options: &Options) -> Result<(), MetricsError> {
    let metric = labels.metric_name().unwrap_or("");
    let refuse = |text: String| Err(MetricsError::Limit(text));
    if labels.is_empty() {
        return refuse("empty labelset: invalid sample".to_owned());
    }
    if labels.len() > options.labels_max {
        return refuse(format!(
            "label_limit exceeded (metric: {metric:.50}, number of labels: {}, limit: {})",
            labels.len(),
            options.labels_max
        ));
    }
    for label in labels {
        let (name, value) = (&label.name, &label.value);
        if name.len() > options.label_name_bytes_max {
            return refuse(format!(
                "label_name_length_limit exceeded (metric: {metric:.50}, label name: {name:.50}, \
                 length: {}, limit: {})",
                name.len(),
                options.label_name_bytes_max
            ));
        }
        if value.len() > options.label_value_bytes_max {
            let start: String = value.chars().take(50).collect();
            return refuse(format!(
                "label_value_length_limit exceeded (metric: {metric:.50}, label name: {name:.50}, \
                 value: {start:?}, length: {}, limit: {})",
                value.len(),
                options.label_value_bytes_max
            ));
        }
    }
    Ok(())
}
