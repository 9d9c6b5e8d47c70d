//! The segment files: chunks one after the other, and an index beside each closed one.
//!
//! One segment is written to; it is closed after a day or when it is large, and from then on never
//! changes. Retention removes whole segments. The files in the directory are the truth:
//! an index is derived from its segment and is made again when it is missing or damaged.
//! The bytes stand in `docs/formats/metrics-segment.md`.

use crate::chunk::Chunk;
use crate::wire::{Bad, Bytes, put_int, put_uint};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vigie_disk::frame::{self, FrameKind};
use vigie_disk::{Disk, DiskError, DiskFile, record, write_atomic};

const SEGMENT: FrameKind = FrameKind { magic: *b"VIGIESEG", version: 1 };
const INDEX: FrameKind = FrameKind { magic: *b"VIGIEIDX", version: 1 };
/// Magic, version, checksum and an empty body: the frame of no bytes.
const HEADER_BYTES: u64 = frame::HEADER_BYTES as u64;
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

/// Which series have a chunk in a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bitmap {
    words: Vec<u64>,
}

impl Bitmap {
    pub(crate) fn insert(&mut self, id: u32) {
        let word = id as usize / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (id % 64);
    }

    pub(crate) fn contains(&self, id: u32) -> bool {
        self.words.get(id as usize / 64).is_some_and(|word| word >> (id % 64) & 1 == 1)
    }

    pub(crate) fn union(&mut self, other: &Bitmap) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (word, more) in self.words.iter_mut().zip(&other.words) {
            *word |= more;
        }
    }
}

pub(crate) struct Segment {
    pub(crate) id: u32,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) bytes: u64,
    pub(crate) min_ms: i64,
    pub(crate) max_ms: i64,
    pub(crate) series: Bitmap,
    closed: bool,
    /// Bytes of a chunk that failed may stand behind the last good one.
    ragged: bool,
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
}

impl Segments {
    pub(crate) fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<(Segments, Found), DiskError> {
        disk.create_dir_all(dir)?;
        let mut segments =
            Segments { disk, dir: dir.to_path_buf(), list: Vec::new(), next_id: 1, frame: vec![] };
        let mut ids: Vec<u32> = segments
            .disk
            .list(dir)?
            .iter()
            .filter_map(|name| name.strip_prefix("segment-")?.strip_suffix(".chunks"))
            .filter_map(|hex| u32::from_str_radix(hex, 16).ok())
            .collect();
        ids.sort_unstable();
        let mut found = Found::default();
        for (at, id) in ids.iter().enumerate() {
            segments.load(*id, at + 1 == ids.len(), &mut found)?;
            segments.next_id = id + 1;
        }
        Ok((segments, found))
    }

    fn load(&mut self, id: u32, is_last: bool, found: &mut Found) -> Result<(), DiskError> {
        let path = self.path(id);
        let file: Arc<dyn DiskFile> = self.disk.append(&path)?.into();
        let len = file.len()?;
        if len < HEADER_BYTES && is_last {
            // Its creation was cut short, so it has no chunk.
            drop(file);
            self.disk.remove(&path)?;
            return self.disk.sync_dir(&self.dir);
        }
        let mut header = [0; HEADER_BYTES as usize];
        file.read_at(0, &mut header)?;
        frame::decode(SEGMENT, &header, &path)?;
        let mut segment = Segment {
            id,
            file,
            bytes: len,
            min_ms: i64::MAX,
            max_ms: i64::MIN,
            series: Bitmap::default(),
            closed: false,
            ragged: false,
        };
        match self.read_index(id, len) {
            Ok(Some((chunks, series))) => {
                segment.series = series;
                segment.closed = true;
                for (group, meta) in chunks {
                    segment.span(&meta);
                    found.indexed.push((group, meta));
                }
            }
            Ok(None) => scan(&mut segment, is_last, found)?,
            Err(e) => {
                tracing::warn!(error = %e, "the index of a metrics segment is made again");
                scan(&mut segment, false, found)?;
            }
        }
        self.list.push(segment);
        Ok(())
    }

    /// Appends a chunk to the open segment, starting one when there is none.
    pub(crate) fn append(
        &mut self,
        payload: &[u8],
        rows: usize,
        (min_ms, max_ms): (i64, i64),
        series: impl Iterator<Item = u32>,
    ) -> Result<ChunkMeta, DiskError> {
        if self.list.last().is_none_or(|segment| segment.closed) {
            self.start()?;
        }
        let segment = self.list.last_mut().expect("started above");
        if segment.ragged {
            segment.file.truncate(segment.bytes)?;
            segment.ragged = false;
        }
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

    fn start(&mut self) -> Result<(), DiskError> {
        let id = self.next_id;
        let file: Arc<dyn DiskFile> = self.disk.create(&self.path(id))?.into();
        file.append(&frame::encode(SEGMENT, &[]))?;
        file.sync()?;
        self.disk.sync_dir(&self.dir)?;
        self.next_id += 1;
        self.list.push(Segment {
            id,
            file,
            bytes: HEADER_BYTES,
            min_ms: i64::MAX,
            max_ms: i64::MIN,
            series: Bitmap::default(),
            closed: false,
            ragged: false,
        });
        Ok(())
    }

    /// The segment being written, if there is one.
    pub(crate) fn active(&self) -> Option<&Segment> {
        self.list.last().filter(|segment| !segment.closed)
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
        if segment.ragged {
            segment.file.truncate(segment.bytes)?;
            segment.ragged = false;
        }
        segment.file.sync()?;
        let body = index_body(segment, chunks);
        write_atomic(&*self.disk, &path, &frame::encode(INDEX, &body))?;
        segment.closed = true;
        Ok(())
    }

    /// Cuts the open segment: chunks from `bytes` on were never acknowledged.
    pub(crate) fn cut(&mut self, id: u32, bytes: u64) -> Result<(), DiskError> {
        let segment = self.list.iter_mut().find(|s| s.id == id).expect("only known ids are cut");
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

    /// Removes a segment and its index.
    pub(crate) fn remove(&mut self, id: u32) -> Result<(), DiskError> {
        self.disk.remove(&self.path(id))?;
        if self.disk.exists(&self.index_path(id)) {
            self.disk.remove(&self.index_path(id))?;
        }
        self.list.retain(|segment| segment.id != id);
        self.disk.sync_dir(&self.dir)
    }

    pub(crate) fn get(&self, id: u32) -> Option<&Segment> {
        self.list.binary_search_by_key(&id, |segment| segment.id).ok().map(|at| &self.list[at])
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.list.iter().map(|segment| segment.bytes).sum()
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
    fn span(&mut self, meta: &ChunkMeta) {
        self.min_ms = self.min_ms.min(meta.min_ms);
        self.max_ms = self.max_ms.max(meta.max_ms);
    }

    pub(crate) fn overlaps(&self, start_ms: i64, end_ms: i64) -> bool {
        self.min_ms <= end_ms && start_ms <= self.max_ms
    }
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
    put_uint(&mut body, segment.series.words.len() as u64);
    for word in &segment.series.words {
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
    Ok((chunks, Bitmap { words: words.collect() }))
}

/// Reads a segment from end to end. An unfinished chunk at the end of the last one is left out.
fn scan(segment: &mut Segment, is_last: bool, found: &mut Found) -> Result<(), DiskError> {
    let (len, path) = (segment.bytes, segment.file.path().to_path_buf());
    let mut bytes = vec![0; usize::try_from(len - HEADER_BYTES).expect("segments are small")];
    segment.file.read_at(HEADER_BYTES, &mut bytes)?;
    let mut at = 0;
    while at < bytes.len() {
        let offset = HEADER_BYTES + at as u64;
        let payload = match record::decode(&bytes[at..]) {
            Ok(payload) => payload,
            Err(_) if is_last => {
                // Cut before the next append: until then nothing on the disk is changed.
                segment.ragged = true;
                found.cut_bytes = len - offset;
                segment.bytes = offset;
                break;
            }
            Err(what) => return Err(DiskError::corrupt(&path, offset, what)),
        };
        let chunk =
            Chunk::parse(payload).map_err(|what| DiskError::corrupt(&path, offset, what))?;
        let times = &chunk.timestamps_ms;
        let meta = ChunkMeta {
            segment: segment.id,
            offset: u32::try_from(offset)
                .map_err(|_| DiskError::corrupt(&path, offset, "a segment is longer than 4 GiB"))?,
            bytes: (record::HEADER_BYTES + payload.len()) as u32,
            rows: times.len() as u32,
            min_ms: times[0],
            max_ms: times[times.len() - 1],
        };
        segment.span(&meta);
        at += meta.bytes as usize;
        found.scanned.push(Scanned { meta, group: chunk.group, columns: chunk.columns });
    }
    Ok(())
}

/// Reads and checks the payload of a chunk's record.
pub(crate) fn read_chunk(file: &dyn DiskFile, meta: &ChunkMeta) -> Result<Vec<u8>, DiskError> {
    let offset = u64::from(meta.offset);
    let mut bytes = vec![0; meta.bytes as usize];
    file.read_at(offset, &mut bytes)?;
    match record::decode(&bytes) {
        Ok(payload) if payload.len() + record::HEADER_BYTES == bytes.len() => {
            bytes.drain(..record::HEADER_BYTES);
            Ok(bytes)
        }
        Ok(_) => Err(DiskError::corrupt(file.path(), offset, "the chunk has another length")),
        Err(what) => Err(DiskError::corrupt(file.path(), offset, what)),
    }
}
