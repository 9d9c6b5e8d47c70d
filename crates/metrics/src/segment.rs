//! The segment files: chunks one after the other, and an index beside each closed one.
//!
//! One segment is written to; it is closed after two hours or when it is large, and from then on
//! never changes until a compaction has made a block of it. Which segments are in force the manifest
//! says, by the smallest of their numbers.
//! An index is derived from its segment and is made again when it is missing or damaged.
//! A segment with a damaged place keeps serving its other chunks, and is not written to any more.
//! The bytes stand in `docs/formats/metrics-segment.md`.

use crate::bitmap::Bitmap;
use crate::chunk::Chunk;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vigie_disk::frame::{self, FrameKind};
use vigie_disk::record::{self, Records};
use vigie_disk::wire::{Bad, Bytes, put_int, put_uint};
use vigie_disk::{Disk, DiskError, DiskFile, put_aside, write_again, write_atomic};

const SEGMENT: FrameKind = FrameKind { magic: *b"VIGIESEG", version: 1 };
const INDEX: FrameKind = FrameKind { magic: *b"VIGIEIDX", version: 1 };
/// A frame whose body is the time at which the segment was started.
const HEADER_BYTES: u64 = frame::HEADER_BYTES as u64 + 8;
const INDEX_BYTES_MAX: u64 = 1 << 30;
/// A segment is closed when it has grown to this.
pub(crate) const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

/// Where a chunk is and what it spans. 40 bytes per chunk stay in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkMeta {
    pub(crate) segment: u32,
    /// Of its record.
    pub(crate) offset: u32,
    /// Of its record.
    pub(crate) bytes: u32,
    pub(crate) rows: u32,
    pub(crate) min_ms: i64,
    pub(crate) max_ms: i64,
}

pub(crate) struct Segment {
    pub(crate) id: u32,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) bytes: u64,
    pub(crate) min_ms: i64,
    pub(crate) max_ms: i64,
    /// When it was started; 0 when the time was not known.
    pub(crate) started_ms: i64,
    pub(crate) series: Bitmap,
    closed: bool,
    /// Bytes of a chunk that failed may stand behind the last good one.
    ragged: bool,
    /// A sync failed: the system may have dropped what it says it has.
    unkept: bool,
    /// From where to where there is no good chunk.
    damage: Vec<(u64, u64)>,
}

/// A chunk met while a segment was scanned, whose series are not known yet.
pub(crate) struct Scanned {
    pub(crate) meta: ChunkMeta,
    pub(crate) group: u32,
    pub(crate) columns: Vec<u32>,
}

/// What is found when the directory is opened.
#[derive(Default)]
pub(crate) struct Found {
    /// From indexes: group and chunk.
    pub(crate) indexed: Vec<(u32, ChunkMeta)>,
    /// From segments without one, in file order.
    pub(crate) scanned: Vec<Scanned>,
    /// Bytes of an unfinished chunk cut away.
    pub(crate) cut_bytes: u64,
}

pub(crate) struct Segments {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// Ascending by id; only the last may be open.
    pub(crate) list: Vec<Segment>,
    next_id: u32,
    frame: Vec<u8>,
    /// What was found damaged at the opening.
    pub(crate) damage: Vec<DiskError>,
    /// Chunks that were found damaged since.
    pub(crate) aside: Arc<Aside>,
}

/// Chunks that a query found damaged, by segment and offset: they were reported, and are passed
/// over from then on.
#[derive(Default)]
pub(crate) struct Aside(Mutex<BTreeSet<(u32, u32)>>);

impl Aside {
    pub(crate) fn contains(&self, meta: &ChunkMeta) -> bool {
        self.0.lock().contains(&(meta.segment, meta.offset))
    }

    /// Reports damage once.
    pub(crate) fn note(&self, meta: &ChunkMeta, error: &DiskError) {
        if error.is_corrupt() && self.0.lock().insert((meta.segment, meta.offset)) {
            tracing::error!(%error, "stored metrics are damaged: what stood there is left out");
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }
}

impl Segments {
    /// Opens the segments from number `min` on; those before it have been compacted and are removed.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        min: u32,
    ) -> Result<(Segments, Found), DiskError> {
        disk.create_dir_all(dir)?;
        let names = disk.list(dir)?;
        let mut segments = Segments {
            disk,
            dir: dir.to_path_buf(),
            list: Vec::new(),
            next_id: min.max(1),
            frame: Vec::new(),
            damage: Vec::new(),
            aside: Arc::default(),
        };
        let mut ids: Vec<u32> = names.iter().filter_map(|n| id_of(n, ".chunks")).collect();
        ids.retain(|id| *id >= min);
        ids.sort_unstable();
        for name in &names {
            let is_over = id_of(name, ".chunks").is_some_and(|id| id < min);
            let is_alone = id_of(name, ".index").is_some_and(|id| ids.binary_search(&id).is_err());
            if is_over || is_alone || name.ends_with(".tmp") {
                segments.disk.remove(&dir.join(name))?;
            }
        }
        let mut found = Found::default();
        for (at, id) in ids.iter().enumerate() {
            segments.load(*id, at + 1 == ids.len(), &mut found)?;
            segments.next_id = id + 1;
        }
        // A process that died may not have synced the name of its last segment.
        segments.disk.sync_dir(dir)?;
        Ok((segments, found))
    }

    fn load(&mut self, id: u32, is_last: bool, found: &mut Found) -> Result<(), DiskError> {
        let path = self.path(id);
        let file: Arc<dyn DiskFile> = self.disk.append(&path)?.into();
        let len = file.len()?;
        let mut bytes = [0; HEADER_BYTES as usize];
        if len >= HEADER_BYTES || !is_last {
            file.read_at(0, &mut bytes)?;
        }
        if len <= HEADER_BYTES && is_last && !frame::is_whole(&bytes) {
            // Its creation was cut short, so it has no chunk.
            drop(file);
            self.disk.remove(&path)?;
            return self.disk.sync_dir(&self.dir);
        }
        let header = frame::decode(SEGMENT, &bytes, &path)
            .map(|body| i64::from_le_bytes(body.try_into().expect("eight bytes follow a frame")));
        let mut segment = Segment::new(id, file, len, *header.as_ref().unwrap_or(&0));
        if let Err(error) = header {
            if frame::is_whole(&bytes) {
                return Err(error);
            }
            // The chunks have checksums of their own; only nothing is written behind them any more.
            segment.damage.push((0, HEADER_BYTES));
            self.damage.push(error);
        }
        match self.read_index(id, len) {
            Ok(Some((chunks, series))) => {
                segment.series = series;
                segment.closed = true;
                for (group, meta) in chunks {
                    segment.span(&meta);
                    found.indexed.push((group, meta));
                }
            }
            Ok(None) => {
                // A log that is synced later will speak of chunks that a dead process wrote.
                segment.file.sync()?;
                scan(&mut segment, is_last, found, &mut self.damage)?;
            }
            Err(e) => {
                tracing::warn!(error = %e, "the index of a metrics segment is made again");
                scan(&mut segment, false, found, &mut self.damage)?;
            }
        }
        self.list.push(segment);
        Ok(())
    }

    /// Appends a chunk to the open segment, starting one when there is none.
    pub(crate) fn append(
        &mut self,
        now_ms: i64,
        payload: &[u8],
        rows: usize,
        (min_ms, max_ms): (i64, i64),
        series: impl Iterator<Item = u32>,
    ) -> Result<ChunkMeta, DiskError> {
        if self.list.last().is_none_or(|segment| segment.closed) {
            self.start(now_ms)?;
        }
        let segment = self.list.last_mut().expect("started above");
        segment.trim()?;
        self.frame.clear();
        record::encode(payload, &mut self.frame);
        if let Err(e) = segment.file.append(&self.frame) {
            segment.ragged = true;
            return Err(e);
        }
        let meta = ChunkMeta {
            segment: segment.id,
            offset: u32::try_from(segment.bytes).expect("closed long before"),
            bytes: self.frame.len() as u32,
            rows: rows as u32,
            min_ms,
            max_ms,
        };
        segment.bytes += u64::from(meta.bytes);
        segment.span(&meta);
        series.for_each(|id| segment.series.insert(id));
        Ok(meta)
    }

    fn start(&mut self, now_ms: i64) -> Result<(), DiskError> {
        let id = self.next_id;
        let file: Arc<dyn DiskFile> = self.disk.create(&self.path(id))?.into();
        file.append(&frame::encode(SEGMENT, &now_ms.to_le_bytes()))?;
        file.sync()?;
        self.disk.sync_dir(&self.dir)?;
        self.next_id += 1;
        self.list.push(Segment::new(id, file, HEADER_BYTES, now_ms));
        Ok(())
    }

    /// The segment being written, if there is one.
    pub(crate) fn active(&self) -> Option<&Segment> {
        self.list.last().filter(|segment| !segment.closed)
    }

    /// The largest number of a segment that gets no more chunks, whether it is there or not.
    pub(crate) fn last_closed(&self) -> u32 {
        self.active().map_or(self.next_id, |active| active.id) - 1
    }

    /// Segments that are complete but have no index yet, as after a crash.
    pub(crate) fn unindexed(&self) -> Vec<u32> {
        let last = self.list.len().saturating_sub(1);
        self.list[..last].iter().filter(|s| !s.closed).map(|s| s.id).collect()
    }

    /// Syncs a segment, writes its index and never writes to it again.
    /// `chunks` are all of its chunks, by offset.
    pub(crate) fn close(&mut self, id: u32, chunks: &[(u32, ChunkMeta)]) -> Result<(), DiskError> {
        let path = self.index_path(id);
        let segment = self.list.iter_mut().find(|s| s.id == id).expect("only known ids are closed");
        segment.sync(&*self.disk)?;
        let body = index_body(segment, chunks);
        write_atomic(&*self.disk, &path, &frame::encode(INDEX, &body))?;
        segment.closed = true;
        Ok(())
    }

    /// Makes the open segment durable if a sync of it failed before: its file is written again.
    /// Usually there is nothing to do, and the caller syncs the file without a lock; after an error
    /// it says so with [`Segments::not_kept`].
    pub(crate) fn sync_unkept(&mut self) -> Result<(), DiskError> {
        match self.list.last_mut().filter(|segment| segment.unkept) {
            Some(segment) => segment.sync(&*self.disk),
            None => Ok(()),
        }
    }

    /// Notes that a sync of a segment failed.
    pub(crate) fn not_kept(&mut self, id: u32) {
        if let Some(segment) = self.list.iter_mut().find(|segment| segment.id == id) {
            segment.unkept = true;
        }
    }

    /// Takes what stands behind the good part of a segment for damaged: it was durable up to
    /// `synced_bytes`. The file is left as it is.
    pub(crate) fn retire(&mut self, id: u32, synced_bytes: u64) {
        let Some(segment) = self.list.iter_mut().find(|segment| segment.id == id) else { return };
        assert!(segment.bytes < synced_bytes, "a segment that is whole is not retired");
        let what = format!("the segment is damaged here; {synced_bytes} bytes were good");
        self.damage.push(DiskError::corrupt(segment.file.path(), segment.bytes, what));
        segment.damage.push((segment.bytes, u64::MAX));
        segment.closed = true;
        segment.ragged = false;
    }

    /// Never writes to a segment again, though it has no index.
    pub(crate) fn leave(&mut self, id: u32) {
        if let Some(segment) = self.list.iter_mut().find(|segment| segment.id == id) {
            segment.closed = true;
        }
    }

    /// Whether the chunk that ended at byte `end` of a segment is not there any more. A segment
    /// that is gone went by retention, with all that it had.
    pub(crate) fn has_lost(&self, id: u32, end: u64) -> bool {
        self.get(id).is_some_and(|segment| {
            let is_damaged = |(from, to): &(u64, u64)| *from < end && end <= *to;
            segment.bytes < end || segment.damage.iter().any(is_damaged)
        })
    }

    /// Cuts the open segment: chunks from `bytes` on were never acknowledged, or the log that knew
    /// their series is damaged; then a copy is kept.
    pub(crate) fn cut(&mut self, id: u32, bytes: u64, keeps_copy: bool) -> Result<(), DiskError> {
        let path = self.path(id);
        let segment = self.list.iter_mut().find(|s| s.id == id).expect("only known ids are cut");
        if keeps_copy {
            put_aside(&*self.disk, &path)?;
            let what = "the damaged log knew the series of the chunks from here on";
            self.damage.push(DiskError::corrupt(&path, bytes, what));
        }
        assert!(!segment.closed && bytes >= HEADER_BYTES && bytes <= segment.bytes);
        segment.file.truncate(bytes)?;
        segment.file.sync()?;
        segment.bytes = bytes;
        segment.ragged = false;
        Ok(())
    }

    /// Never gives the number `id`, nor one before it, to a new segment: a log speaks of it.
    pub(crate) fn reserve(&mut self, id: u32) {
        self.next_id = self.next_id.max(id.saturating_add(1));
    }

    /// Notes that a segment has chunks of these series.
    pub(crate) fn note_series(&mut self, id: u32, series: &[u32]) {
        if let Some(segment) = self.list.iter_mut().find(|segment| segment.id == id) {
            series.iter().for_each(|id| segment.series.insert(*id));
        }
    }

    /// Tells that a chunk has columns of series that nobody knows.
    pub(crate) fn note_unknown(&mut self, meta: &ChunkMeta, columns: usize) {
        if columns > 0 {
            let what = format!("{columns} columns of the chunk are of series that nobody knows");
            let path = self.path(meta.segment);
            self.damage.push(DiskError::corrupt(&path, u64::from(meta.offset), what));
        }
    }

    /// Forgets the segments before `end`, whose files are the caller's matter.
    pub(crate) fn forget_before(&mut self, end: u32) {
        self.list.retain(|segment| segment.id >= end);
        self.reserve(end.saturating_sub(1));
    }

    /// The oldest segments up to the first that is still written to, of `bytes_max` together or
    /// at least one.
    pub(crate) fn closed_prefix(&self, bytes_max: u64) -> Vec<&Segment> {
        let mut bytes = 0;
        let prefix = self.list.iter().take_while(|segment| {
            let fits = bytes == 0 || bytes + segment.bytes <= bytes_max;
            bytes += segment.bytes;
            segment.closed && fits
        });
        prefix.collect()
    }

    pub(crate) fn get(&self, id: u32) -> Option<&Segment> {
        self.list.binary_search_by_key(&id, |segment| segment.id).ok().map(|at| &self.list[at])
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.list.iter().map(|segment| segment.bytes).sum()
    }

    /// The files of a segment. The index comes first: one without a segment would stay for ever.
    pub(crate) fn paths(&self, id: u32) -> [PathBuf; 2] {
        [self.index_path(id), self.path(id)]
    }

    fn path(&self, id: u32) -> PathBuf {
        self.dir.join(format!("segment-{id:08x}.chunks"))
    }

    fn index_path(&self, id: u32) -> PathBuf {
        self.dir.join(format!("segment-{id:08x}.index"))
    }

    #[expect(clippy::type_complexity, reason = "used once, right above")]
    fn read_index(
        &self,
        id: u32,
        segment_bytes: u64,
    ) -> Result<Option<(Vec<(u32, ChunkMeta)>, Bitmap)>, DiskError> {
        let path = self.index_path(id);
        if !self.disk.exists(&path) {
            return Ok(None);
        }
        let bytes = self.disk.read(&path, INDEX_BYTES_MAX)?;
        let body = frame::decode(INDEX, &bytes, &path)?;
        match parse_index(body, id, segment_bytes) {
            Ok(index) => Ok(Some(index)),
            Err(what) => Err(DiskError::corrupt(&path, HEADER_BYTES, what)),
        }
    }
}

impl Segment {
    fn new(id: u32, file: Arc<dyn DiskFile>, bytes: u64, started_ms: i64) -> Segment {
        Segment {
            id,
            file,
            bytes,
            min_ms: i64::MAX,
            max_ms: i64::MIN,
            started_ms,
            series: Bitmap::default(),
            closed: false,
            ragged: false,
            unkept: false,
            damage: Vec::new(),
        }
    }

    /// Cuts away what is left of a chunk that failed.
    fn trim(&mut self) -> Result<(), DiskError> {
        if self.ragged {
            self.file.truncate(self.bytes)?;
            self.ragged = false;
        }
        Ok(())
    }

    /// After an error the file is written again the next time: a second sync would say that all is
    /// well.
    fn sync(&mut self, disk: &dyn Disk) -> Result<(), DiskError> {
        if self.unkept {
            self.file = write_again(disk, &*self.file, HEADER_BYTES, self.bytes)?.into();
            self.unkept = false;
            self.ragged = false;
            tracing::warn!(file = %self.file.path().display(), "the segment was written again");
            return Ok(());
        }
        self.trim()?;
        self.file.sync().map_err(|error| {
            self.unkept = true;
            error.not_kept()
        })
    }

    fn span(&mut self, meta: &ChunkMeta) {
        self.min_ms = self.min_ms.min(meta.min_ms);
        self.max_ms = self.max_ms.max(meta.max_ms);
    }
}

/// The number of the segment with this file name.
pub(crate) fn id_of(name: &str, ending: &str) -> Option<u32> {
    u32::from_str_radix(name.strip_prefix("segment-")?.strip_suffix(ending)?, 16).ok()
}

fn index_body(segment: &Segment, chunks: &[(u32, ChunkMeta)]) -> Vec<u8> {
    let mut body = Vec::new();
    put_uint(&mut body, segment.bytes);
    put_uint(&mut body, chunks.len() as u64);
    let mut end = HEADER_BYTES as u32;
    for (group, meta) in chunks {
        assert_eq!(meta.offset, end, "chunks fill their segment");
        end += meta.bytes;
        put_uint(&mut body, u64::from(meta.bytes));
        put_uint(&mut body, u64::from(*group));
        put_uint(&mut body, u64::from(meta.rows));
        put_int(&mut body, meta.min_ms);
        put_uint(&mut body, meta.max_ms.abs_diff(meta.min_ms));
    }
    assert_eq!(u64::from(end), segment.bytes, "chunks fill their segment");
    put_uint(&mut body, segment.series.words().len() as u64);
    for word in segment.series.words() {
        body.extend_from_slice(&word.to_le_bytes());
    }
    body
}

fn parse_index(
    body: &[u8],
    segment: u32,
    segment_bytes: u64,
) -> Result<(Vec<(u32, ChunkMeta)>, Bitmap), Bad> {
    let mut input = Bytes::new(body);
    if input.uint()? != segment_bytes {
        return Err("the index belongs to a segment of another length");
    }
    let mut chunks = Vec::new();
    let mut offset = HEADER_BYTES as u32;
    for _ in 0..input.count(body.len())? {
        let bytes = input.count(u32::MAX as usize)? as u32;
        let group = input.count(u32::MAX as usize)? as u32;
        let rows = input.count(crate::CHUNK_ROWS_MAX)? as u32;
        let min_ms = input.int()?;
        let max_ms = min_ms.checked_add_unsigned(input.uint()?).ok_or("a chunk ends too late")?;
        chunks.push((group, ChunkMeta { segment, offset, bytes, rows, min_ms, max_ms }));
        offset = offset.checked_add(bytes).ok_or("the chunks are too long")?;
    }
    if u64::from(offset) != segment_bytes {
        return Err("the chunks of the index do not fill the segment");
    }
    let words = input.count(body.len())?;
    let words = input
        .take(words * 8)?
        .chunks_exact(8)
        .map(|eight| u64::from_le_bytes(eight.try_into().expect("chunks of exactly eight")));
    Ok((chunks, Bitmap::from_words(words.collect())))
}

/// Reads a segment from end to end. An unfinished chunk at the end of the last one is left out;
/// anything else that is bad is damage, which is passed over.
fn scan(
    segment: &mut Segment,
    is_last: bool,
    found: &mut Found,
    damage: &mut Vec<DiskError>,
) -> Result<(), DiskError> {
    let (len, file) = (segment.bytes, segment.file.clone());
    let mut records = Records::new(&*file, HEADER_BYTES, len);
    loop {
        let offset = records.offset();
        let error = match records.next_payload() {
            Ok(None) => break,
            Ok(Some(payload)) => match scan_chunk(segment.id, offset, payload) {
                Ok(scanned) => {
                    segment.span(&scanned.meta);
                    found.scanned.push(scanned);
                    continue;
                }
                Err(what) => DiskError::corrupt(file.path(), offset, what),
            },
            Err(e) if !e.is_corrupt() => return Err(e),
            Err(e) => {
                let goes_on = records.skip()?;
                if !goes_on && is_last && segment.damage.is_empty() {
                    // Cut before the next append: until then nothing on the disk is changed.
                    segment.ragged = true;
                    segment.bytes = offset;
                    found.cut_bytes = len - offset;
                    break;
                }
                if !goes_on {
                    segment.damage.push((offset, len));
                    damage.push(e);
                    break;
                }
                e
            }
        };
        segment.damage.push((offset, records.offset()));
        damage.push(error);
    }
    segment.closed |= !segment.damage.is_empty();
    Ok(())
}

fn scan_chunk(segment: u32, offset: u64, payload: &[u8]) -> Result<Scanned, Bad> {
    let chunk = Chunk::parse(payload)?;
    let times = &chunk.timestamps_ms;
    let meta = ChunkMeta {
        segment,
        offset: u32::try_from(offset).map_err(|_| "a segment is longer than 4 GiB")?,
        bytes: (record::HEADER_BYTES + payload.len()) as u32,
        rows: times.len() as u32,
        min_ms: times[0],
        max_ms: times[times.len() - 1],
    };
    Ok(Scanned { meta, group: chunk.group, columns: chunk.columns })
}

/// Reads and checks the payload of a chunk's record.
pub(crate) fn read_chunk(file: &dyn DiskFile, meta: &ChunkMeta) -> Result<Vec<u8>, DiskError> {
    let mut bytes = Vec::new();
    read_chunk_into(file, meta, &mut bytes)?;
    bytes.drain(..record::HEADER_BYTES);
    Ok(bytes)
}

/// [`read_chunk`] into a buffer that is used again.
pub(crate) fn read_chunk_into<'a>(
    file: &dyn DiskFile,
    meta: &ChunkMeta,
    bytes: &'a mut Vec<u8>,
) -> Result<&'a [u8], DiskError> {
    let offset = u64::from(meta.offset);
    // What it held is overwritten, so only what it grows by is filled with zeros.
    bytes.resize(meta.bytes as usize, 0);
    file.read_at(offset, bytes)?;
    match record::decode(bytes) {
        Ok(payload) if payload.len() + record::HEADER_BYTES == bytes.len() => Ok(payload),
        Ok(_) => Err(DiskError::corrupt(file.path(), offset, "the chunk has another length")),
        Err(what) => Err(DiskError::corrupt(file.path(), offset, what)),
    }
}
