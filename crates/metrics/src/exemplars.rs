//! Exemplars: for some samples, the trace (or whatever else) that stands behind them.
//!
//! A ring of fixed size in memory, and a file that is appended to and written anew when it holds
//! twice what the ring does. So exemplars survive a kill and a power cut as samples do, cost a fixed
//! amount of memory and disk, and the oldest make room for the newest.
//! Which exemplars are taken follows Prometheus' `tsdb/exemplar.go`: a repetition is a no-op; one
//! that is older than the newest of its series is refused.
//! The bytes stand in `docs/formats/metrics-exemplars.md`.

use crate::bitmap::Bitmap;
use crate::catalog::Catalog;
use crate::planted::{self, Bug};
use crate::{Durability, MetricsError, Store};
use hashbrown::HashMap;
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vigie_disk::frame::{self, FrameKind};
use vigie_disk::record::{self as framed, Records};
use vigie_disk::wire::{Bad, Bytes, put_int, put_labels, put_uint};
use vigie_disk::{Disk, DiskError, DiskFile};
use vigie_model::{Exemplar, Labels, Matcher, SeriesId, TimeRange};

const KIND: FrameKind = FrameKind { magic: *b"VIGIEEXM", version: 1 };
const HEADER_BYTES: u64 = frame::HEADER_BYTES as u64;
/// Most characters that the labels of an exemplar may have, names and values together
/// (`model/exemplar/exemplar.go`).
const LABELS_CHARS_MAX: usize = 128;
/// Most labels that are read from the disk; the limit of characters is what counts.
const LABELS_MAX: usize = LABELS_CHARS_MAX;
/// Exemplars written in one record of a file that is written anew.
const RECORD_EXEMPLARS: usize = 1024;

/// What became of exemplars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExemplarsAppended {
    /// Taken in.
    pub appended: u64,
    /// The newest of its series already.
    pub duplicates: u64,
    /// Refused: older than the newest of its series.
    pub out_of_order: u64,
    /// Refused: its labels are longer than 128 characters.
    pub too_long: u64,
}

struct Entry {
    series: u32,
    exemplar: Exemplar,
}

/// The ring and its file.
pub(crate) struct Exemplars {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    ring: VecDeque<Entry>,
    ring_max: usize,
    /// By series: the newest exemplar that was taken.
    newest: HashMap<u32, Exemplar, foldhash::fast::RandomState>,
    /// `None` when the file must be written anew before the next append.
    file: Option<Box<dyn DiskFile>>,
    /// Exemplars that the file holds, those that the ring has lost included.
    in_file: usize,
    unsynced: bool,
    /// What was damaged when the file was opened.
    damage: Option<DiskError>,
}

impl Exemplars {
    /// Reads the file, if there is one. Exemplars whose series is not known any more are left out.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        ring_max: usize,
        catalog: &Catalog,
    ) -> Result<Exemplars, DiskError> {
        let path = dir.join("exemplars.log");
        let mut exemplars = Exemplars {
            disk: disk.clone(),
            path: path.clone(),
            ring: VecDeque::new(),
            ring_max,
            newest: HashMap::default(),
            file: None,
            in_file: 0,
            unsynced: false,
            damage: None,
        };
        if !disk.exists(&path) {
            return Ok(exemplars);
        }
        // A process that died may have renamed it and not synced the name.
        disk.sync_dir(dir)?;
        let file = disk.append(&path)?;
        match exemplars.read(&*file, catalog) {
            Ok(()) => {
                file.sync()?;
                exemplars.file = Some(file);
            }
            Err(error) if error.is_corrupt() => {
                tracing::warn!(%error, "exemplars are damaged: those behind are left out");
                exemplars.damage = Some(error);
            }
            Err(error) => return Err(error),
        }
        Ok(exemplars)
    }

    fn read(&mut self, file: &dyn DiskFile, catalog: &Catalog) -> Result<(), DiskError> {
        let len = file.len()?;
        let mut header = vec![0; frame::HEADER_BYTES.min(len as usize)];
        file.read_at(0, &mut header)?;
        frame::decode(KIND, &header, &self.path)?;
        let mut records = Records::new(file, HEADER_BYTES, len);
        loop {
            let offset = records.offset();
            let Some(payload) = records.next_payload()? else { return Ok(()) };
            let corrupt = |what| DiskError::corrupt(&self.path, offset, what);
            for (check, entry) in decode(payload).map_err(corrupt)? {
                self.in_file += 1;
                let is_known = (entry.series as usize) < catalog.len()
                    && check_of(&catalog.labels(entry.series)) == check;
                if is_known {
                    self.push(entry);
                }
            }
        }
    }

    /// Takes exemplars in, in order; `labels` gives those of a series.
    fn append(
        &mut self,
        given: &[(SeriesId, Exemplar)],
        labels: impl Fn(u32) -> Labels,
    ) -> Result<ExemplarsAppended, DiskError> {
        let mut counts = ExemplarsAppended::default();
        let (mut payload, mut taken) = (Vec::new(), 0u64);
        for (id, exemplar) in given {
            if !self.accepts(id.0, exemplar, &mut counts) {
                continue;
            }
            put_exemplar(&mut payload, id.0, check_of(&labels(id.0)), exemplar);
            self.push(Entry { series: id.0, exemplar: exemplar.clone() });
            taken += 1;
        }
        counts.appended = taken;
        if taken == 0 || self.ring_max == 0 {
            return Ok(counts);
        }
        self.unsynced = true;
        let written = match self.file.take() {
            // What the ring holds is written with it.
            file if file.is_none() || self.in_file > 2 * self.ring_max => self.write_anew(labels),
            Some(file) => {
                let mut record = Vec::with_capacity(payload.len() + 16);
                let mut counted = Vec::with_capacity(payload.len() + 4);
                put_uint(&mut counted, taken);
                counted.append(&mut payload);
                framed::encode(&counted, &mut record);
                file.append(&record).map(|()| {
                    self.in_file += taken as usize;
                    self.file = Some(file);
                })
            }
            None => unreachable!("the first arm takes it"),
        };
        written.map(|()| counts)
    }

    fn accepts(
        &mut self,
        series: u32,
        exemplar: &Exemplar,
        counts: &mut ExemplarsAppended,
    ) -> bool {
        let chars =
            exemplar.labels.iter().map(|l| l.name.chars().count() + l.value.chars().count());
        if chars.sum::<usize>() > LABELS_CHARS_MAX {
            counts.too_long += 1;
            return false;
        }
        let Some(newest) = self.newest.get(&series) else { return true };
        if newest == exemplar {
            counts.duplicates += 1;
            return false;
        }
        let is_before = exemplar.ts_ms < newest.ts_ms
            || exemplar.ts_ms == newest.ts_ms && exemplar.value < newest.value;
        counts.out_of_order += u64::from(is_before);
        !is_before
    }

    fn push(&mut self, entry: Entry) {
        self.newest.insert(entry.series, entry.exemplar.clone());
        self.ring.push_back(entry);
        // A file holds twice as many as the ring, so this would only be seen after a start.
        let is_endless = planted::is(Bug::RingWithoutEnd) && self.file.is_none();
        while self.ring.len() > self.ring_max && !is_endless {
            let Some(gone) = self.ring.pop_front() else { break };
            if self.newest.get(&gone.series).is_some_and(|newest| *newest == gone.exemplar) {
                self.newest.remove(&gone.series);
            }
        }
    }

    /// Replaces the file by one that holds the ring and nothing else, durably.
    fn write_anew(&mut self, labels: impl Fn(u32) -> Labels) -> Result<(), DiskError> {
        let mut bytes = frame::encode(KIND, &[]);
        let (entries, rest) = self.ring.as_slices();
        for entries in entries.chunks(RECORD_EXEMPLARS).chain(rest.chunks(RECORD_EXEMPLARS)) {
            let mut payload = Vec::new();
            put_uint(&mut payload, entries.len() as u64);
            for entry in entries {
                let check = check_of(&labels(entry.series));
                put_exemplar(&mut payload, entry.series, check, &entry.exemplar);
            }
            framed::encode(&payload, &mut bytes);
        }
        vigie_disk::write_atomic(&*self.disk, &self.path, &bytes)?;
        self.file = Some(self.disk.append(&self.path)?);
        self.in_file = self.ring.len();
        self.unsynced = false;
        Ok(())
    }

    /// Makes what was appended durable. After an error the file is written anew the next time: a
    /// second sync would say that all is well.
    pub(crate) fn sync(&mut self) -> Result<(), DiskError> {
        if !self.unsynced {
            return Ok(());
        }
        let Some(file) = &self.file else { return Ok(()) };
        if planted::is(Bug::ExemplarsNotSynced) {
            return Ok(());
        }
        if let Err(error) = file.sync() {
            self.file = None;
            return Err(error);
        }
        self.unsynced = false;
        Ok(())
    }

    /// How many are kept, and how many there is room for.
    pub(crate) fn len(&self) -> usize {
        self.ring.len()
    }

    /// The series that have one.
    pub(crate) fn series(&self) -> Bitmap {
        let mut series = Bitmap::default();
        self.ring.iter().for_each(|entry| series.insert(entry.series));
        series
    }

    /// What was found damaged at the opening.
    pub(crate) fn damage(&self) -> usize {
        usize::from(self.damage.is_some())
    }

    /// The length of the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.file.as_ref().and_then(|file| file.len().ok()).unwrap_or(0)
    }
}

impl Store {
    /// Takes exemplars in. Those that are refused are counted, and the others are kept.
    ///
    /// # Panics
    /// If an id did not come from this store.
    pub fn append_exemplars(
        &self,
        exemplars: &[(SeriesId, Exemplar)],
        durability: Durability,
    ) -> Result<ExemplarsAppended, MetricsError> {
        if exemplars.is_empty() {
            return Ok(ExemplarsAppended::default());
        }
        match durability {
            Durability::Synced => self.floor.check()?,
            Durability::Written => self.floor.check_collected()?,
        }
        let mut ring = self.exemplars.lock();
        let counts = ring.append(exemplars, |id| self.catalog.read().labels(id))?;
        if durability == Durability::Synced {
            ring.sync()?;
        }
        Ok(counts)
    }

    /// The exemplars in a range of the series that fulfil all matchers, both in order.
    pub fn exemplars(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Vec<(Labels, Vec<Exemplar>)> {
        let mut ids = self.catalog.read().select(matchers);
        ids.sort_unstable();
        let mut found: BTreeMap<u32, Vec<Exemplar>> = BTreeMap::new();
        for entry in &self.exemplars.lock().ring {
            if range.contains(entry.exemplar.ts_ms) && ids.binary_search(&entry.series).is_ok() {
                found.entry(entry.series).or_default().push(entry.exemplar.clone());
            }
        }
        let catalog = self.catalog.read();
        let mut found: Vec<(Labels, Vec<Exemplar>)> =
            found.into_iter().map(|(id, exemplars)| (catalog.labels(id), exemplars)).collect();
        found.sort_by(|left, right| left.0.cmp(&right.0));
        found
    }
}

fn check_of(labels: &Labels) -> u32 {
    let mut bytes = Vec::new();
    put_labels(&mut bytes, labels);
    crc32c::crc32c(&bytes)
}

fn put_exemplar(out: &mut Vec<u8>, series: u32, check: u32, exemplar: &Exemplar) {
    put_uint(out, u64::from(series));
    out.extend_from_slice(&check.to_le_bytes());
    put_int(out, exemplar.ts_ms);
    out.extend_from_slice(&exemplar.value.to_bits().to_le_bytes());
    put_labels(out, &exemplar.labels);
}

/// Each with the check of its series.
fn decode(payload: &[u8]) -> Result<Vec<(u32, Entry)>, Bad> {
    let mut input = Bytes::new(payload);
    let count = input.count(payload.len())?;
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        let series = input.count(u32::MAX as usize)? as u32;
        let check = input.word()?;
        let ts_ms = input.int()?;
        let bits = u64::from_le_bytes(input.take(8)?.try_into().map_err(|_| "a value is short")?);
        let labels = input.labels(LABELS_MAX)?;
        let exemplar = Exemplar { ts_ms, value: f64::from_bits(bits), labels };
        entries.push((check, Entry { series, exemplar }));
    }
    input.end()?;
    Ok(entries)
}
