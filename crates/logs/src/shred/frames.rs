//! Frames: runs of bytes behind a block's head, each with its own checksum, read alone.
//!
//! ```text
//! in the head:  u8 0 (as it is) or 1 (zstd), varint bytes, [1: varint bytes raw], u32 crc32c of the bytes
//! in the block: the bytes, one frame behind the other in the order of their descriptions
//! ```

use crate::planted::{self, Bug};
use std::cell::RefCell;
use vigie_disk::wire::{Bad, Bytes, put_uint};
use zstd::zstd_safe::CParameter;

/// Largest frame, decompressed.
pub(crate) const FRAME_BYTES_MAX: usize = 32 * 1024 * 1024;
const RAW: u8 = 0;
const ZSTD: u8 = 1;

/// zstd's level for columns of numbers and codes. With matches of [`COLUMN_MATCH_BYTES`] a higher one
/// makes them no smaller.
pub(crate) const COLUMN_LEVEL: i32 = 1;
/// The shortest match in a column. A shorter one says less than the codes of its bytes would, and takes
/// most of the time of unpacking: columns of few values come out smaller and are read twice as fast.
pub(crate) const COLUMN_MATCH_BYTES: u32 = 7;

/// How hard a block is packed.
#[derive(Clone, Copy)]
pub(crate) struct Levels {
    /// zstd's level for text.
    pub(crate) text: i32,
}

/// What the head is sealed with, while somebody may be waiting.
pub(crate) const QUICK: Levels = Levels { text: 3 };
/// What compaction packs with.
pub(crate) const THOROUGH: Levels = Levels { text: 6 };

/// Collects the frames of a block.
pub(crate) struct FrameWriter {
    pub(crate) body: Vec<u8>,
    columns: Packer,
    text: Packer,
}

/// A compressor that is made when it is first used, which is expensive.
struct Packer {
    level: i32,
    /// The shortest match, if it is not the level's own.
    match_bytes: Option<u32>,
    made: Option<zstd::bulk::Compressor<'static>>,
}

/// Shorter frames are not worth a compressor's while.
const PACK_FROM_BYTES: usize = 48;

impl Packer {
    /// The bytes packed; none when that is not worth it.
    fn pack(&mut self, raw: &[u8]) -> std::io::Result<Option<Vec<u8>>> {
        if raw.len() < PACK_FROM_BYTES {
            return Ok(None);
        }
        let compressor = match self.made.take() {
            Some(made) => made,
            None => compressor(self.level, self.match_bytes)?,
        };
        let packed = self.made.insert(compressor).compress(raw)?;
        // A twentieth is not worth the unpacking.
        Ok(Some(packed).filter(|packed| packed.len() < raw.len() - raw.len() / 20))
    }
}

fn compressor(
    level: i32,
    match_bytes: Option<u32>,
) -> std::io::Result<zstd::bulk::Compressor<'static>> {
    let mut made = zstd::bulk::Compressor::new(level)?;
    if let Some(bytes) = match_bytes {
        made.set_parameter(CParameter::MinMatch(bytes))?;
    }
    Ok(made)
}

/// Packs numbers as columns are packed.
pub(crate) fn pack_column(raw: &[u8]) -> std::io::Result<Vec<u8>> {
    compressor(COLUMN_LEVEL, Some(COLUMN_MATCH_BYTES))?.compress(raw)
}

thread_local! {
    /// Made once for each thread: making one takes longer than most frames do.
    static UNPACKER: RefCell<Option<zstd::bulk::Decompressor<'static>>> =
        const { RefCell::new(None) };
}

/// Undoes zstd, up to `raw_bytes_max`.
pub(crate) fn unpack(packed: &[u8], raw_bytes_max: usize) -> std::io::Result<Vec<u8>> {
    UNPACKER.with_borrow_mut(|unpacker| {
        let made = match unpacker.take() {
            Some(made) => made,
            None => zstd::bulk::Decompressor::new()?,
        };
        unpacker.insert(made).decompress(packed, raw_bytes_max)
    })
}

impl FrameWriter {
    pub(crate) fn new(levels: Levels) -> FrameWriter {
        let packer = |level, match_bytes| Packer { level, match_bytes, made: None };
        let columns = packer(COLUMN_LEVEL, Some(COLUMN_MATCH_BYTES));
        let text = packer(levels.text, None);
        FrameWriter { body: Vec::new(), columns, text }
    }

    /// Adds a frame of numbers or codes and describes it in `head`.
    pub(crate) fn column(&mut self, raw: &[u8], head: &mut Vec<u8>) -> std::io::Result<()> {
        let packed = self.columns.pack(raw)?;
        self.add(raw, packed.as_deref(), head);
        Ok(())
    }

    /// Adds a frame of text and describes it in `head`.
    pub(crate) fn text(&mut self, raw: &[u8], head: &mut Vec<u8>) -> std::io::Result<()> {
        let packed = self.text.pack(raw)?;
        self.add(raw, packed.as_deref(), head);
        Ok(())
    }

    /// Adds a frame that does not compress, as a filter does not.
    pub(crate) fn plain(&mut self, raw: &[u8], head: &mut Vec<u8>) {
        self.add(raw, None, head);
    }

    fn add(&mut self, raw: &[u8], packed: Option<&[u8]>, head: &mut Vec<u8>) {
        assert!(raw.len() <= FRAME_BYTES_MAX, "a frame holds a part of a block");
        let bytes = packed.unwrap_or(raw);
        head.push(if packed.is_some() { ZSTD } else { RAW });
        put_uint(head, bytes.len() as u64);
        if packed.is_some() {
            put_uint(head, raw.len() as u64);
        }
        head.extend_from_slice(&crc32c::crc32c(bytes).to_le_bytes());
        self.body.extend_from_slice(bytes);
    }
}

/// Where a frame lies in its block's frames.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub(crate) offset: u64,
    pub(crate) bytes: usize,
    pub(crate) raw_bytes: usize,
    is_packed: bool,
    crc: u32,
}

impl Frame {
    /// Reads a description; the frame lies at `*offset`, which moves behind it.
    pub(crate) fn read(input: &mut Bytes<'_>, offset: &mut u64) -> Result<Frame, Bad> {
        let is_packed = match input.byte()? {
            RAW => false,
            ZSTD => true,
            _ => return Err("has a frame of an unknown kind"),
        };
        let bytes = input.count(FRAME_BYTES_MAX)?;
        let raw_bytes = if is_packed { input.count(FRAME_BYTES_MAX)? } else { bytes };
        let frame = Frame { offset: *offset, bytes, raw_bytes, is_packed, crc: input.word()? };
        *offset += bytes as u64;
        Ok(frame)
    }

    /// The bytes of the frame, given what lies on disk.
    pub(crate) fn unpack(&self, stored: Vec<u8>) -> Result<Vec<u8>, Bad> {
        assert_eq!(stored.len(), self.bytes, "the frame's own bytes");
        if crc32c::crc32c(&stored) != self.crc && !planted::is(Bug::ChecksumsNotVerified) {
            return Err("the checksum does not match");
        }
        if !self.is_packed {
            return Ok(stored);
        }
        let raw = unpack(&stored, self.raw_bytes).map_err(|_| "does not decompress")?;
        if raw.len() != self.raw_bytes {
            return Err("decompresses to another length");
        }
        Ok(raw)
    }
}
