//! Reads a part (`docs/formats/logs-part.md`): the index is kept, blocks are read when wanted.
//!
//! A part is immutable. No file stays open: [`OpenPart`] is opened by who reads, and what it has
//! open stays readable after retention has unlinked the file.

use crate::LABELS_MAX;
use crate::block::{Block, Columns, Text};
use crate::catalog::StreamSet;
use crate::head::Span;
use crate::numbers::Numbers;
use crate::part_write::{BLOCK_ROWS_MAX, FOOTER_BYTES, HEADER_BYTES, MAGIC, VERSION};
use crate::planted::{self, Bug};
use crate::shred::frames::{FRAME_BYTES_MAX, Frame, unpack};
use crate::shred::shapes::Head;
use crate::shredded::ShreddedBlock;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use vigie_disk::wire::{Bad, Bytes};
use vigie_disk::{Disk, DiskFile};
use vigie_model::{Labels, LogBlock, LogRange, ReadError, StreamId};

/// Largest section of a block, decompressed.
const SECTION_BYTES_MAX: usize = FRAME_BYTES_MAX;
/// Most bytes of a block's frames.
const BODY_MAX: usize = 1024 * 1024 * 1024;
/// Largest index, decompressed.
const INDEX_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What is kept in memory of a part.
pub(crate) struct Part {
    pub(crate) path: PathBuf,
    pub(crate) number: u64,
    /// Its place among the parts in order of arrival: the number, or, of a part made of others, that of
    /// the last of them.
    pub(crate) order: u64,
    /// The parts that this one was made of.
    pub(crate) replaces: Vec<u64>,
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

/// How the rows of a block are kept.
#[derive(Clone, Copy)]
enum Body {
    /// Version 1: columns, then all lines.
    Lines { columns: Section, text: Section },
    /// Version 2: a head, the rows' instants and places, then frames.
    Shredded { head: Section, rows: Section, frame_bytes: u64 },
}

/// What the index says of a block.
pub(crate) struct BlockMeta {
    offset: u64,
    body: Body,
    pub(crate) rows: usize,
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
        let (version, index_at, index) = read_index(&*file, file_bytes)?;
        let body = |what: Bad| corrupt(path, index_at, &format!("in the index {what}"));
        let Index { order, replaces, streams, blocks } =
            parse_index(version, &index, number, intern).map_err(body)?;
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
        Ok(Part { path, number, order, replaces, file_bytes, span, streams, blocks, gone })
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
    /// Whether the block answers from columns.
    pub(crate) fn is_shredded(&self) -> bool {
        matches!(self.body, Body::Shredded { .. })
    }

    fn end(&self) -> u64 {
        self.offset
            + match self.body {
                Body::Lines { columns, text } => (columns.bytes + text.bytes) as u64,
                Body::Shredded { head, rows, frame_bytes } => {
                    (head.bytes + rows.bytes) as u64 + frame_bytes
                }
            }
    }
}

fn corrupt(path: &Path, offset: u64, what: &str) -> ReadError {
    ReadError::Corrupt { file: path.display().to_string(), offset, what: what.to_owned() }
}

/// The version, the place of the index and its decompressed bytes.
fn read_index(file: &dyn DiskFile, file_bytes: u64) -> Result<(u32, u64, Vec<u8>), ReadError> {
    let path = file.path();
    let Some(footer_at) =
        file_bytes.checked_sub(FOOTER_BYTES as u64).filter(|&at| at >= HEADER_BYTES as u64)
    else {
        return Err(corrupt(path, 0, "is too short for a part"));
    };
    let mut header = [0; HEADER_BYTES];
    file.read_at(0, &mut header)?;
    let version = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
    if header[..8] != MAGIC || !(1..=VERSION).contains(&version) {
        return Err(corrupt(path, 0, "is not a part of version 1 or 2"));
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
    Ok((version, index_at, read_section(file, index_at, section, INDEX_BYTES_MAX)?))
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
    if crc32c::crc32c(&packed) != section.crc && !planted::is(Bug::ChecksumsNotVerified) {
        return Err(corrupt("the checksum does not match"));
    }
    let raw = unpack(&packed, section.raw_bytes).map_err(|_| corrupt("does not decompress"))?;
    if raw.len() != section.raw_bytes {
        return Err(corrupt("decompresses to another length"));
    }
    Ok(raw)
}

struct Index {
    order: u64,
    replaces: Vec<u64>,
    streams: Vec<(StreamId, Span)>,
    blocks: Vec<BlockMeta>,
}

fn parse_index(
    version: u32,
    index: &[u8],
    number: u64,
    intern: &mut dyn FnMut(&Labels) -> StreamId,
) -> Result<Index, Bad> {
    let mut input = Bytes::new(index);
    let (mut order, mut replaces) = (number, Vec::new());
    if version > 1 {
        order = input.uint()?;
        for _ in 0..input.count_here()? {
            replaces.push(input.uint()?);
        }
    }
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
        let block = parse_block(version, &mut input, offset, &streams)?;
        offset = block.end();
        blocks.push(block);
    }
    input.end()?;
    Ok(Index { order, replaces, streams, blocks })
}

fn parse_block(
    version: u32,
    input: &mut Bytes<'_>,
    offset: u64,
    table: &[(StreamId, Span)],
) -> Result<BlockMeta, Bad> {
    let (first, second) = (parse_section(input)?, parse_section(input)?);
    let body = match version {
        1 => Body::Lines { columns: first, text: second },
        _ => {
            Body::Shredded { head: first, rows: second, frame_bytes: input.count(BODY_MAX)? as u64 }
        }
    };
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
    Ok(BlockMeta { offset, body, rows, min_ns, max_ns, streams })
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

    /// The wanted rows of a block, or all of them; `None` when there is none.
    pub(crate) fn block(
        self: &Arc<OpenPart>,
        at: usize,
        wanted: Option<(&StreamSet, LogRange)>,
    ) -> Result<Option<Arc<dyn LogBlock>>, ReadError> {
        if self.part.blocks[at].is_shredded() {
            let head = self.head(at)?;
            let block = ShreddedBlock::open(self.clone(), at, head, wanted)?;
            return Ok(block.map(|block| Arc::new(block) as Arc<dyn LogBlock>));
        }
        let mut block = Block::filtered(self.columns(at)?, wanted);
        if block.first_ns().is_none() {
            return Ok(None);
        }
        block.text = Text::OnDisk { part: self.clone(), block: at, loaded: OnceLock::new() };
        Ok(Some(Arc::new(block)))
    }

    /// The columns of a block of version 1.
    fn columns(&self, block: usize) -> Result<Columns, ReadError> {
        let meta = &self.part.blocks[block];
        let Body::Lines { columns, text } = meta.body else { unreachable!("asked of version 1") };
        let raw = read_section(&*self.file, meta.offset, columns, SECTION_BYTES_MAX)?;
        parse_columns(&raw, meta, text.raw_bytes).map_err(|what| {
            corrupt(&self.part.path, meta.offset, &format!("in the columns {what}"))
        })
    }

    /// The lines of a block of version 1.
    pub(crate) fn text(&self, block: usize) -> Result<Vec<u8>, ReadError> {
        let meta = &self.part.blocks[block];
        let Body::Lines { columns, text } = meta.body else { unreachable!("asked of version 1") };
        let offset = meta.offset + columns.bytes as u64;
        read_section(&*self.file, offset, text, SECTION_BYTES_MAX)
    }

    /// The head of a shredded block.
    pub(crate) fn head(&self, block: usize) -> Result<Head, ReadError> {
        let meta = &self.part.blocks[block];
        let Body::Shredded { head, frame_bytes, .. } = meta.body else {
            unreachable!("asked of version 2")
        };
        let raw = read_section(&*self.file, meta.offset, head, SECTION_BYTES_MAX)?;
        let read = Head::read(&raw, meta.rows).and_then(|head| {
            let fits = head.frame_bytes == frame_bytes;
            if fits { Ok(head) } else { Err("has frames that do not fill the block") }
        });
        read.map_err(|what| {
            corrupt(&self.part.path, meta.offset, &format!("the block's head {what}"))
        })
    }

    /// The rows of a shredded block.
    pub(crate) fn rows(&self, block: usize, head: &Head) -> Result<Rows, ReadError> {
        let meta = &self.part.blocks[block];
        let Body::Shredded { head: first, rows, .. } = meta.body else {
            unreachable!("asked of version 2")
        };
        let offset = meta.offset + first.bytes as u64;
        let raw = read_section(&*self.file, offset, rows, SECTION_BYTES_MAX)?;
        parse_rows(&raw, meta, head)
            .map_err(|what| corrupt(&self.part.path, offset, &format!("in the rows {what}")))
    }

    /// A frame of a shredded block.
    pub(crate) fn frame(&self, block: usize, frame: &Frame) -> Result<Vec<u8>, ReadError> {
        let meta = &self.part.blocks[block];
        let Body::Shredded { head, rows, .. } = meta.body else {
            unreachable!("asked of version 2")
        };
        let offset = meta.offset + (head.bytes + rows.bytes) as u64 + frame.offset;
        let mut stored = vec![0; frame.bytes];
        self.file.read_at(offset, &mut stored)?;
        frame.unpack(stored).map_err(|what| corrupt(&self.part.path, offset, what))
    }

    /// The error of a block whose frames say what they cannot.
    pub(crate) fn corrupt(&self, block: usize, what: &str) -> ReadError {
        corrupt(&self.part.path, self.part.blocks[block].offset, what)
    }
}

/// The rows of a shredded block.
pub(crate) struct Rows {
    pub(crate) ts_ns: Vec<i64>,
    /// Places among the block's streams.
    pub(crate) streams: Numbers,
    pub(crate) shapes: Numbers,
    /// 0 for none, else the metadata shape's number plus one.
    pub(crate) metadata: Numbers,
}

fn parse_rows(raw: &[u8], meta: &BlockMeta, head: &Head) -> Result<Rows, Bad> {
    let mut input = Bytes::new(raw);
    let ts_ns = parse_instants(&mut input, meta)?;
    let streams = parse_codes(&mut input, meta.rows, meta.streams.len() - 1)?;
    let shapes = parse_codes(&mut input, meta.rows, head.shapes.len().saturating_sub(1))?;
    let metadata = parse_codes(&mut input, meta.rows, head.metadata.len())?;
    input.end()?;
    let of_shapes = head.columns.iter().map(|columns| columns.rows);
    let of_sets = head.metadata.iter().map(|(_, columns)| columns.rows);
    if !counts(&shapes, meta.rows, 0, of_shapes) || !counts(&metadata, meta.rows, 1, of_sets) {
        return Err("shapes have other rows than the head says");
    }
    Ok(Rows { ts_ns, streams, shapes, metadata })
}

/// A number per row, none of them above `most`; 0 for all when nothing else is possible.
fn parse_codes(input: &mut Bytes<'_>, rows: usize, most: usize) -> Result<Numbers, Bad> {
    if most == 0 {
        return Ok(Numbers::Same(0));
    }
    // Nearly always a byte each.
    if let Some((bytes, rest)) = input.rest.split_at_checked(rows)
        && bytes.iter().fold(0, |all, byte| all | byte) < 0x80
    {
        if bytes.iter().fold(0, |top, &byte| top.max(byte)) as usize > most {
            return Err("a number is larger than it can be");
        }
        input.rest = rest;
        if let Some(&first) = bytes.first()
            && bytes.iter().fold(0, |all, byte| all | (byte ^ first)) == 0
        {
            return Ok(Numbers::Same(u32::from(first)));
        }
        return Ok(Numbers::Each(bytes.iter().map(|&byte| u32::from(byte)).collect()));
    }
    let codes = (0..rows).map(|_| Ok(input.count(most)? as u32));
    Ok(Numbers::Each(codes.collect::<Result<_, Bad>>()?))
}

/// Whether each number from `first` on occurs as often as it should.
fn counts(
    numbers: &Numbers,
    rows: usize,
    first: usize,
    wanted: impl Iterator<Item = usize>,
) -> bool {
    let wanted: Vec<usize> = wanted.collect();
    let mut met = vec![0; first + wanted.len()];
    match numbers {
        Numbers::Same(number) => match met.get_mut(*number as usize) {
            Some(count) => *count = rows,
            None => return false,
        },
        Numbers::Ascending => return false,
        Numbers::Each(numbers) => {
            for &number in numbers {
                match met.get_mut(number as usize) {
                    Some(count) => *count += 1,
                    None => return false,
                }
            }
        }
    }
    met[first..] == wanted
}

fn parse_instants(input: &mut Bytes<'_>, meta: &BlockMeta) -> Result<Vec<i64>, Bad> {
    let mut ts_ns = Vec::with_capacity(meta.rows);
    let mut ts = meta.min_ns;
    // A number of at most eight bytes at once, while there are as many; the last ones one by one.
    while ts_ns.len() < meta.rows
        && let Some((word, _)) = input.rest.split_first_chunk::<8>()
    {
        let word = u64::from_le_bytes(*word);
        let ends = !word & 0x8080_8080_8080_8080;
        if ends == 0 {
            break;
        }
        let bits = ends.trailing_zeros() + 1;
        let delta = sevens(word & (u64::MAX >> (64 - bits)));
        input.rest = &input.rest[bits as usize / 8..];
        let next = ts.wrapping_add(delta as i64);
        if next < ts {
            return Err("time goes backwards");
        }
        ts = next;
        ts_ns.push(ts);
    }
    while ts_ns.len() < meta.rows {
        let next = ts.wrapping_add(input.uint()? as i64);
        if next < ts {
            return Err("time goes backwards");
        }
        ts = next;
        ts_ns.push(ts);
    }
    if ts == meta.max_ns { Ok(ts_ns) } else { Err("the last row is not where the index says") }
}

/// The low seven bits of each of eight bytes, one behind the other.
fn sevens(word: u64) -> u64 {
    let word = word & 0x7f7f_7f7f_7f7f_7f7f;
    let word = (word & 0x007f_007f_007f_007f) | (word & 0x7f00_7f00_7f00_7f00) >> 1;
    let word = (word & 0x0000_3fff_0000_3fff) | (word & 0x3fff_0000_3fff_0000) >> 2;
    (word & 0x0fff_ffff) | (word & 0x0fff_ffff_0000_0000) >> 4
}

fn parse_columns(raw: &[u8], meta: &BlockMeta, text_bytes: usize) -> Result<Columns, Bad> {
    let mut input = Bytes::new(raw);
    let ts_ns = parse_instants(&mut input, meta)?;
    let mut lines = Vec::with_capacity(meta.rows);
    let mut at = 0usize;
    for _ in 0..meta.rows {
        let len = input.count(text_bytes - at)?;
        lines.push((at as u32, len as u32));
        at += len;
    }
    if at != text_bytes {
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
