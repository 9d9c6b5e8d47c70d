//! `MANIFEST`: which files are the store, and what is hidden in them.
//!
//! Replaced whole at every change, so it has no torn end: bytes that do not check are damage.
//! A file is durable before the manifest names it, and is removed only after the manifest has
//! stopped to. The bytes stand in `docs/formats/metrics-manifest.md`.

use crate::tombstone::{self, Tombstone};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vigie_disk::frame::{self, FrameKind};
use vigie_disk::wire::{Bad, Bytes, put_int, put_uint};
use vigie_disk::{Disk, DiskError, put_aside, write_atomic};

const KIND: FrameKind = FrameKind { magic: *b"VIGIEMAN", version: 1 };
const NAME: &str = "MANIFEST";
/// A store has a block a day; a deletion names series as runs.
const BYTES_MAX: u64 = 256 << 20;
/// Blocks that a manifest may name.
const BLOCKS_MAX: usize = 1 << 20;

/// A block as the manifest knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockEntry {
    pub(crate) id: u32,
    pub(crate) bytes: u64,
    pub(crate) min_ms: i64,
    pub(crate) max_ms: i64,
    pub(crate) footer_crc: u32,
}

/// The contents of the manifest.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Manifest {
    /// Segments with smaller numbers are gone.
    pub(crate) segment_min: u32,
    pub(crate) block_next: u32,
    /// Ascending by id.
    pub(crate) blocks: Vec<BlockEntry>,
    pub(crate) tombstones: Vec<Arc<Tombstone>>,
}

/// What was found of a manifest.
pub(crate) enum Found {
    /// It says what the store is.
    Whole(Manifest),
    /// There is none: the store is new, or of a version that had none.
    Missing,
    /// It was damaged; a copy is kept.
    Damaged(DiskError),
}

pub(crate) fn path(dir: &Path) -> PathBuf {
    dir.join(NAME)
}

/// Reads the manifest of a store's directory without changing anything.
pub(crate) fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<Manifest>, DiskError> {
    let path = path(dir);
    if !disk.exists(&path) {
        return Ok(None);
    }
    let bytes = disk.read(&path, BYTES_MAX)?;
    let body = frame::decode(KIND, &bytes, &path)?;
    let corrupt = |what| DiskError::corrupt(&path, frame::HEADER_BYTES as u64, what);
    decode(body).map(Some).map_err(corrupt)
}

/// [`read`] for the store's own start.
pub(crate) fn load(disk: &dyn Disk, dir: &Path) -> Result<Found, DiskError> {
    // A process that died may have renamed it and not synced the name.
    disk.sync_dir(dir)?;
    match read(disk, dir) {
        Ok(Some(manifest)) => Ok(Found::Whole(manifest)),
        Ok(None) => Ok(Found::Missing),
        Err(e) if e.is_corrupt() => {
            put_aside(disk, &path(dir))?;
            Ok(Found::Damaged(e))
        }
        Err(e) => Err(e),
    }
}

/// Makes a manifest the truth. After an error either the old or the new one is.
pub(crate) fn store(disk: &dyn Disk, dir: &Path, manifest: &Manifest) -> Result<(), DiskError> {
    let body = encode(manifest);
    debug_assert_eq!(decode(&body).as_ref(), Ok(manifest), "what is written can be read");
    write_atomic(disk, &path(dir), &frame::encode(KIND, &body))
}

fn encode(manifest: &Manifest) -> Vec<u8> {
    let mut out = Vec::new();
    put_uint(&mut out, u64::from(manifest.segment_min));
    put_uint(&mut out, u64::from(manifest.block_next));
    put_uint(&mut out, manifest.blocks.len() as u64);
    for block in &manifest.blocks {
        put_uint(&mut out, u64::from(block.id));
        put_uint(&mut out, block.bytes);
        put_span(&mut out, block.min_ms, block.max_ms);
        out.extend_from_slice(&block.footer_crc.to_le_bytes());
    }
    put_uint(&mut out, manifest.tombstones.len() as u64);
    for tombstone in &manifest.tombstones {
        tombstone::put(&mut out, tombstone);
    }
    out
}

/// Appends two instants, the first not after the second.
pub(crate) fn put_span(out: &mut Vec<u8>, min_ms: i64, max_ms: i64) {
    assert!(min_ms <= max_ms, "a span ends before it starts");
    put_int(out, min_ms);
    put_uint(out, max_ms.abs_diff(min_ms));
}

/// Reads what [`put_span`] wrote.
pub(crate) fn span(input: &mut Bytes<'_>) -> Result<(i64, i64), Bad> {
    let min_ms = input.int()?;
    let max_ms = min_ms.checked_add_unsigned(input.uint()?).ok_or("a span ends too late")?;
    Ok((min_ms, max_ms))
}

/// Reads the body of a manifest.
pub(crate) fn decode(body: &[u8]) -> Result<Manifest, Bad> {
    let mut input = Bytes::new(body);
    let segment_min = input.count(u32::MAX as usize)? as u32;
    let block_next = input.count(u32::MAX as usize)? as u32;
    let mut blocks: Vec<BlockEntry> = Vec::new();
    for _ in 0..input.count(BLOCKS_MAX)? {
        let id = input.count(u32::MAX as usize)? as u32;
        let bytes = input.uint()?;
        let (min_ms, max_ms) = span(&mut input)?;
        let crc = input.take(4)?.try_into().map_err(|_| "four bytes were taken")?;
        if id >= block_next || blocks.last().is_some_and(|before| before.id >= id) {
            return Err("the blocks of the manifest are not in order");
        }
        blocks.push(BlockEntry { id, bytes, min_ms, max_ms, footer_crc: u32::from_le_bytes(crc) });
    }
    let count = input.count(body.len())?;
    let tombstones = (0..count).map(|_| tombstone::get(&mut input).map(Arc::new));
    let tombstones = tombstones.collect::<Result<_, _>>()?;
    input.end()?;
    Ok(Manifest { segment_min, block_next, blocks, tombstones })
}

#[cfg(test)]
mod tests {
    use super::*;
    use vigie_disk::sim::SimDisk;

    fn example() -> Manifest {
        let block = |id, min_ms| BlockEntry { id, bytes: 99, min_ms, max_ms: 7, footer_crc: 5 };
        let tombstone = Tombstone::new(3, 8, (-5, 9), &[1, 2, 3, 90]);
        Manifest {
            segment_min: 4,
            block_next: 9,
            blocks: vec![block(1, i64::MIN), block(8, 6)],
            tombstones: vec![Arc::new(tombstone)],
        }
    }

    #[test]
    fn a_manifest_comes_back_and_no_damage_makes_reading_it_panic() {
        let bytes = encode(&example());
        assert_eq!(decode(&bytes), Ok(example()));
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len]).is_err(), "{len} bytes");
        }
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let _ = decode(&bad);
        }
    }

    #[test]
    fn a_damaged_manifest_is_told_from_a_missing_one_and_kept() {
        let (disk, dir) = (SimDisk::new(0), Path::new("/d"));
        assert!(matches!(load(&disk, dir), Ok(Found::Missing)));
        store(&disk, dir, &example()).unwrap();
        assert!(matches!(load(&disk, dir), Ok(Found::Whole(found)) if found == example()));
        let mut bytes = disk.read(&path(dir), 1000).unwrap();
        bytes[30] ^= 1;
        disk.create(&path(dir)).unwrap().append(&bytes).unwrap();
        match load(&disk, dir).unwrap() {
            Found::Damaged(e) => {
                assert!(e.to_string().starts_with("/d/MANIFEST at byte 12"), "{e}")
            }
            _ => panic!("the damage was not seen"),
        }
        assert!(disk.exists(Path::new("/d/MANIFEST.damaged")));
    }
}
