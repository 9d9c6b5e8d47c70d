//! Reads a part (`docs/formats/logs-part.md`): the index is kept, blocks are read when wanted.
//!
//! A part is immutable. No file stays open: [`OpenPart`] is opened by who reads, and what it has
//! open stays readable after retention has unlinked the file.

use crate::LABELS_MAX;
use crate::block::Columns;
use crate::head::Span;
use crate::part_write::{BLOCK_ROWS_MAX, FOOTER_BYTES, HEADER_BYTES, MAGIC, VERSION};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use vigie_disk::wire::{Bad, Bytes};
use vigie_disk::{Disk, DiskFile};
use vigie_model::{Labels, LogRange, ReadError, StreamId};

/// Largest section of a block, decompressed.
const SECTION_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Largest index, decompressed.
const INDEX_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What is kept in memory of a part.
pub(crate) struct Part {
    pub(crate) path: PathBuf,
    pub(crate) number: u64,
    pub(crate) file_bytes: u64,
    /// Over all rows.
    pub(crate) span: Span,
    /// By stream number.
    streams: Vec<(StreamId, Span)>,
    pub(crate) blocks: Vec<BlockMeta>,
    /// Set before retention unlinks the file: whoever cannot open it then has lost nothing.
    gone: AtomicBool,
}

/// A compressed run of bytes.
#[derive(Clone, Copy)]
struct Section {
    bytes: usize,
    raw_bytes: usize,
    crc: u32,
}

/// What the index says of a block.
pub(crate) struct BlockMeta {
    offset: u64,
    columns: Section,
    text: Section,
    rows: usize,
    pub(crate) min_ns: i64,
    pub(crate) max_ns: i64,
    pub(crate) streams: Box<[StreamId]>,
}

impl BlockMeta {
    pub(crate) fn touches(&self, range: LogRange) -> bool {
        self.min_ns < range.end_ns && range.start_ns <= self.max_ns
    }
}

impl Part {
    /// Reads and checks footer and index; `intern` numbers the streams.
    pub(crate) fn open(
        disk: &dyn Disk,
        path: &Path,
        number: u64,
        intern: &mut dyn FnMut(&Labels) -> StreamId,
    ) -> Result<Part, ReadError> {
        let file = disk.open(path)?;
        let file_bytes = file.len()?;
        let (index_at, index) = read_index(&*file, file_bytes)?;
        let body = |what: Bad| corrupt(path, index_at, &format!("in the index {what}"));
        let (streams, blocks) = parse_index(&index, intern).map_err(body)?;
        let end = blocks.last().map_or(HEADER_BYTES as u64, BlockMeta::end);
        if end != index_at || blocks.is_empty() {
            return Err(corrupt(path, index_at, "the blocks do not fill the file"));
        }
        let mut span = Span::NOTHING;
        for (_, stream) in &streams {
            span.min_ns = span.min_ns.min(stream.min_ns);
            span.max_ns = span.max_ns.max(stream.max_ns);
            span.rows += stream.rows;
            span.line_bytes += stream.line_bytes;
        }
        let path = path.to_path_buf();
        let gone = AtomicBool::new(false);
        let mut streams = streams;
        streams.sort_unstable_by_key(|(id, _)| *id);
        Ok(Part { path, number, file_bytes, span, streams, blocks, gone })
    }

    pub(crate) fn streams(&self) -> &[(StreamId, Span)] {
        &self.streams
    }

    pub(crate) fn stream_span(&self, id: StreamId) -> Option<Span> {
        let at = self.streams.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(self.streams[at].1)
    }

    pub(crate) fn set_gone(&self) {
        self.gone.store(true, Ordering::Release);
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }
}

impl BlockMeta {
    fn end(&self) -> u64 {
        self.offset + (self.columns.bytes + self.text.bytes) as u64
    }
}

fn corrupt(path: &Path, offset: u64, what: &str) -> ReadError {
    ReadError::Corrupt { file: path.display().to_string(), offset, what: what.to_owned() }
}

/// The place of the index and its decompressed bytes.
fn read_index(file: &dyn DiskFile, file_bytes: u64) -> Result<(u64, Vec<u8>), ReadError> {
    let path = file.path();
    let Some(footer_at) =
        file_bytes.checked_sub(FOOTER_BYTES as u64).filter(|&at| at >= HEADER_BYTES as u64)
    else {
        return Err(corrupt(path, 0, "is too short for a part"));
    };
    let mut header = [0; HEADER_BYTES];
    file.read_at(0, &mut header)?;
    let version = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
    if header[..8] != MAGIC || version != VERSION {
        return Err(corrupt(path, 0, "is not a part of version 1"));
    }
    let mut footer = [0; FOOTER_BYTES];
    file.read_at(footer_at, &mut footer)?;
    let word = |at: usize| {
        u32::from_le_bytes([footer[at], footer[at + 1], footer[at + 2], footer[at + 3]])
    };
    if footer[24..] != MAGIC || crc32c::crc32c(&footer[..20]) != word(20) {
        return Err(corrupt(path, footer_at, "the footer's checksum does not match"));
    }
    let index_at = u64::from(word(0)) | u64::from(word(4)) << 32;
    if index_at.checked_add(u64::from(word(8))) != Some(footer_at) {
        return Err(corrupt(path, footer_at, "the index does not end at the footer"));
    }
    let section = Section { bytes: word(8) as usize, raw_bytes: word(12) as usize, crc: word(16) };
    Ok((index_at, read_section(file, index_at, section, INDEX_BYTES_MAX)?))
}

fn read_section(
    file: &dyn DiskFile,
    offset: u64,
    section: Section,
    raw_bytes_max: usize,
) -> Result<Vec<u8>, ReadError> {
    let corrupt = |what: &str| corrupt(file.path(), offset, what);
    if section.raw_bytes > raw_bytes_max {
        return Err(corrupt("declares more than a section may hold"));
    }
    let mut packed = vec![0; section.bytes];
    file.read_at(offset, &mut packed)?;
    if crc32c::crc32c(&packed) != section.crc {
        return Err(corrupt("the checksum does not match"));
    }
    let raw = zstd::bulk::decompress(&packed, section.raw_bytes)
        .map_err(|_| corrupt("does not decompress"))?;
    if raw.len() != section.raw_bytes {
        return Err(corrupt("decompresses to another length"));
    }
    Ok(raw)
}

type Index = (Vec<(StreamId, Span)>, Vec<BlockMeta>);

fn parse_index(index: &[u8], intern: &mut dyn FnMut(&Labels) -> StreamId) -> Result<Index, Bad> {
    let mut input = Bytes::new(index);
    let count = input.count_here()?;
    let mut streams = Vec::with_capacity(count);
    for _ in 0..count {
        let labels = input.labels(LABELS_MAX)?;
        let min_ns = input.int()?;
        let max_ns = min_ns.wrapping_add(input.uint()? as i64);
        let (rows, line_bytes) = (input.uint()?, input.uint()?);
        streams.push((intern(&labels), Span { min_ns, max_ns, rows, line_bytes }));
    }
    let count = input.count_here()?;
    let mut blocks = Vec::with_capacity(count);
    let mut offset = HEADER_BYTES as u64;
    for _ in 0..count {
        let block = parse_block(&mut input, offset, &streams)?;
        offset = block.end();
        blocks.push(block);
    }
    input.end()?;
    Ok((streams, blocks))
}

fn parse_block(
    input: &mut Bytes<'_>,
    offset: u64,
    table: &[(StreamId, Span)],
) -> Result<BlockMeta, Bad> {
    let columns = parse_section(input)?;
    let text = parse_section(input)?;
    let rows = input.count(BLOCK_ROWS_MAX)?;
    let min_ns = input.int()?;
    let max_ns = min_ns.wrapping_add(input.uint()? as i64);
    let count = input.count_here()?;
    let mut streams = Vec::with_capacity(count);
    let mut place = 0usize;
    for _ in 0..count {
        place = place.saturating_add(input.count(table.len())?);
        let stream = table.get(place).ok_or("names an unknown stream")?;
        streams.push(stream.0);
    }
    if rows == 0 || streams.is_empty() || min_ns > max_ns {
        return Err("has an empty block");
    }
    let streams = streams.into_boxed_slice();
    Ok(BlockMeta { offset, columns, text, rows, min_ns, max_ns, streams })
}

fn parse_section(input: &mut Bytes<'_>) -> Result<Section, Bad> {
    let bytes = input.count(SECTION_BYTES_MAX + SECTION_BYTES_MAX / 2)?;
    let raw_bytes = input.count(SECTION_BYTES_MAX)?;
    Ok(Section { bytes, raw_bytes, crc: input.word()? })
}

/// A part whose file is open.
pub(crate) struct OpenPart {
    pub(crate) part: Arc<Part>,
    file: Box<dyn DiskFile>,
}

impl OpenPart {
    /// `None` when retention has taken the part away.
    pub(crate) fn open(disk: &dyn Disk, part: &Arc<Part>) -> Result<Option<OpenPart>, ReadError> {
        match disk.open(&part.path) {
            Ok(file) => Ok(Some(OpenPart { part: part.clone(), file })),
            Err(_) if part.is_gone() => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    pub(crate) fn columns(&self, block: usize) -> Result<Columns, ReadError> {
        let meta = &self.part.blocks[block];
        let raw = read_section(&*self.file, meta.offset, meta.columns, SECTION_BYTES_MAX)?;
        parse_columns(&raw, meta).map_err(|what| {
            corrupt(&self.part.path, meta.offset, &format!("in the columns {what}"))
        })
    }

    pub(crate) fn text(&self, block: usize) -> Result<Vec<u8>, ReadError> {
        let meta = &self.part.blocks[block];
        let offset = meta.offset + meta.columns.bytes as u64;
        read_section(&*self.file, offset, meta.text, SECTION_BYTES_MAX)
    }
}

fn parse_columns(raw: &[u8], meta: &BlockMeta) -> Result<Columns, Bad> {
    let mut input = Bytes::new(raw);
    let mut ts_ns = Vec::with_capacity(meta.rows);
    let mut ts = meta.min_ns;
    for _ in 0..meta.rows {
        let next = ts.wrapping_add(input.uint()? as i64);
        if next < ts {
            return Err("time goes backwards");
        }
        ts = next;
        ts_ns.push(ts);
    }
    if ts != meta.max_ns {
        return Err("the last row is not where the index says");
    }
    let mut lines = Vec::with_capacity(meta.rows);
    let mut at = 0usize;
    for _ in 0..meta.rows {
        let len = input.count(meta.text.raw_bytes - at)?;
        lines.push((at as u32, len as u32));
        at += len;
    }
    if at != meta.text.raw_bytes {
        return Err("the lines do not fill the text");
    }
    let mut streams = vec![meta.streams[0]; meta.rows];
    if meta.streams.len() > 1 {
        for stream in &mut streams {
            *stream = meta.streams[input.count(meta.streams.len() - 1)?];
        }
    }
    let (metadata, sets) = parse_metadata(&mut input, meta.rows)?;
    input.end()?;
    Ok(Columns { ts_ns, streams, lines, metadata, sets })
}

fn parse_metadata(input: &mut Bytes<'_>, rows: usize) -> Result<(Vec<u32>, Vec<Labels>), Bad> {
    let mut metadata = vec![0; rows];
    let mut sets = vec![Labels::default()];
    let count = input.count(rows)?;
    for _ in 0..count {
        sets.push(input.labels(LABELS_MAX)?);
    }
    if count > 0 {
        for code in &mut metadata {
            *code = input.count(count)? as u32;
        }
    }
    Ok((metadata, sets))
}
