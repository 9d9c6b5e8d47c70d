//! A block: the samples of two hours or of a day, of all groups, in one file that never changes.
//!
//! [`Writer`] writes one from front to back, with the section of one group in memory. [`Block`]
//! reads it by `pread`; in memory stay a set of its series and a number per 64 groups.
//! Every byte is under a checksum: directory and series are checked when the block is opened, a
//! section's head and its columns when they are read.
//! The bytes stand in `docs/formats/metrics-block.md`.

use crate::bitmap::Bitmap;
use crate::manifest::BlockEntry;
use crate::planted::{self, Bug};
use crate::section::{self, Builder, Head, Slot, crc32c};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vigie_disk::frame::{self, FrameKind};
use vigie_disk::record;
use vigie_disk::wire::{Bytes, put_runs};
use vigie_disk::{Disk, DiskError, DiskFile};

const KIND: FrameKind = FrameKind { magic: *b"VIGIEBLK", version: 1 };
const FOOTER_MAGIC: [u8; 8] = *b"VIGIEBLE";
const FOOTER_BYTES: usize = 64;
const ENTRY_BYTES: usize = 32;
/// Entries of a page of the directory, which has one checksum.
const PAGE_ENTRIES: usize = 64;
const PAGE_BYTES: usize = PAGE_ENTRIES * ENTRY_BYTES + 4;
/// Written to the disk at once.
const BUFFER_BYTES: usize = 1 << 20;
/// Most series of a block, as a guard against damage.
const SERIES_MAX: usize = 1 << 28;
/// Most bytes of directory and series, likewise.
const TABLES_BYTES_MAX: u64 = 1 << 30;

/// The name of a block's file.
pub(crate) fn name(id: u32) -> String {
    format!("block-{id:08x}.block")
}

/// The number of the block with this file name.
pub(crate) fn id_of(name: &str) -> Option<u32> {
    u32::from_str_radix(name.strip_prefix("block-")?.strip_suffix(".block")?, 16).ok()
}

/// Where a section is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) group: u32,
    pub(crate) head_bytes: u32,
    pub(crate) head_offset: u64,
    pub(crate) min_ms: i64,
    pub(crate) max_ms: i64,
}

/// Writes a block: sections by group, and within a group by time.
pub(crate) struct Writer {
    disk: Arc<dyn Disk>,
    id: u32,
    path: PathBuf,
    tmp: PathBuf,
    file: Box<dyn DiskFile>,
    buffer: Vec<u8>,
    written: u64,
    builder: Builder,
    places: Vec<Place>,
    series: Bitmap,
    samples: u64,
}

impl Writer {
    /// Starts the block `id` in a directory, under another name until it is whole.
    pub(crate) fn create(disk: Arc<dyn Disk>, dir: &Path, id: u32) -> Result<Writer, DiskError> {
        let path = dir.join(name(id));
        let tmp = dir.join(format!("{}.tmp", name(id)));
        let file = disk.create(&tmp)?;
        Ok(Writer {
            disk,
            id,
            path,
            tmp,
            file,
            buffer: frame::encode(KIND, &[]),
            written: 0,
            builder: Builder::default(),
            places: Vec::new(),
            series: Bitmap::default(),
            samples: 0,
        })
    }

    /// Adds a column to the section being written; it has at least one value.
    pub(crate) fn column(&mut self, column: u32, series: u32, values: &[f64], samples: usize) {
        assert!(samples > 0, "a column has a sample");
        self.builder.column(column, values, &mut self.buffer);
        self.series.insert(series);
        self.samples += samples as u64;
    }

    /// Ends a section. Returns the bytes that were written to the disk.
    pub(crate) fn section(&mut self, group: u32, timestamps_ms: &[i64]) -> Result<u64, DiskError> {
        let Some(payload) = self.builder.finish(group, timestamps_ms) else { return Ok(0) };
        let place = Place {
            group,
            head_bytes: (record::HEADER_BYTES + payload.len()) as u32,
            head_offset: self.written + self.buffer.len() as u64,
            min_ms: timestamps_ms[0],
            max_ms: timestamps_ms[timestamps_ms.len() - 1],
        };
        let in_order = self.places.last().is_none_or(|before| {
            (before.group, before.max_ms) < (group, place.min_ms) || before.group < group
        });
        assert!(in_order, "sections stand by group and time");
        self.places.push(place);
        record::encode(&payload, &mut self.buffer);
        if self.buffer.len() < BUFFER_BYTES {
            return Ok(0);
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<u64, DiskError> {
        self.file.append(&self.buffer)?;
        let bytes = self.buffer.len() as u64;
        self.written += bytes;
        self.buffer.clear();
        Ok(bytes)
    }

    /// Makes the block durable under its name. `None`, and no file, when nothing was added.
    pub(crate) fn finish(mut self) -> Result<Option<BlockEntry>, DiskError> {
        if self.places.is_empty() {
            self.abandon();
            return Ok(None);
        }
        let footer = self.put_tables();
        self.flush()?;
        self.file.sync()?;
        drop(self.file);
        self.disk.rename(&self.tmp, &self.path)?;
        if !planted::is(Bug::ManifestFirst) {
            self.disk.sync_dir(&vigie_disk::parent(&self.path))?;
        }
        Ok(Some(BlockEntry {
            id: self.id,
            bytes: self.written,
            min_ms: footer.min_ms,
            max_ms: footer.max_ms,
            footer_crc: footer.crc,
        }))
    }

    /// Removes what was written.
    pub(crate) fn abandon(self) {
        drop(self.file);
        // Should it fail, the next start removes it.
        let _ = self.disk.remove(&self.tmp);
    }

    fn put_tables(&mut self) -> Footer {
        let directory_offset = self.written + self.buffer.len() as u64;
        for page in self.places.chunks(PAGE_ENTRIES) {
            let start = self.buffer.len();
            page.iter().for_each(|place| put_place(&mut self.buffer, place));
            let crc = crc32c(&self.buffer[start..]);
            self.buffer.extend_from_slice(&crc.to_le_bytes());
        }
        let mut series = Vec::new();
        put_runs(&mut series, &self.series.ids());
        self.buffer.extend_from_slice(&series);
        let mut footer = Footer {
            directory_offset,
            entries: self.places.len() as u32,
            series_bytes: series.len() as u32,
            series_crc: crc32c(&series),
            samples: self.samples,
            min_ms: self.places.iter().map(|place| place.min_ms).min().unwrap_or(0),
            max_ms: self.places.iter().map(|place| place.max_ms).max().unwrap_or(0),
            crc: 0,
        };
        footer.crc = footer.put(&mut self.buffer);
        footer
    }
}

fn put_place(out: &mut Vec<u8>, place: &Place) {
    out.extend_from_slice(&place.group.to_le_bytes());
    out.extend_from_slice(&place.head_bytes.to_le_bytes());
    out.extend_from_slice(&place.head_offset.to_le_bytes());
    out.extend_from_slice(&place.min_ms.to_le_bytes());
    out.extend_from_slice(&place.max_ms.to_le_bytes());
}

fn place(bytes: &[u8]) -> Place {
    Place {
        group: u64_at(bytes, 0) as u32,
        head_bytes: (u64_at(bytes, 0) >> 32) as u32,
        head_offset: u64_at(bytes, 8),
        min_ms: u64_at(bytes, 16) as i64,
        max_ms: u64_at(bytes, 24) as i64,
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("a slice of eight bytes"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("a slice of four bytes"))
}

/// The last bytes of a block.
struct Footer {
    directory_offset: u64,
    entries: u32,
    series_bytes: u32,
    series_crc: u32,
    samples: u64,
    min_ms: i64,
    max_ms: i64,
    crc: u32,
}

impl Footer {
    /// Appends the footer and returns its checksum.
    fn put(&self, out: &mut Vec<u8>) -> u32 {
        let start = out.len();
        out.extend_from_slice(&FOOTER_MAGIC);
        out.extend_from_slice(&self.directory_offset.to_le_bytes());
        for word in [self.entries, self.series_bytes, self.series_crc, 0] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&self.samples.to_le_bytes());
        out.extend_from_slice(&self.min_ms.to_le_bytes());
        out.extend_from_slice(&self.max_ms.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        let crc = crc32c(&out[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
        assert_eq!(out.len() - start, FOOTER_BYTES);
        crc
    }

    fn parse(bytes: &[u8; FOOTER_BYTES], file_bytes: u64) -> Result<Footer, &'static str> {
        let crc = u32_at(bytes, 60);
        if bytes[..8] != FOOTER_MAGIC || crc32c(&bytes[..60]) != crc {
            return Err("the footer of the block does not check");
        }
        let footer = Footer {
            directory_offset: u64_at(bytes, 8),
            entries: u32_at(bytes, 16),
            series_bytes: u32_at(bytes, 20),
            series_crc: u32_at(bytes, 24),
            samples: u64_at(bytes, 32),
            min_ms: u64_at(bytes, 40) as i64,
            max_ms: u64_at(bytes, 48) as i64,
            crc,
        };
        let tables = footer.directory_bytes() + u64::from(footer.series_bytes);
        let end = footer.directory_offset.checked_add(tables + FOOTER_BYTES as u64);
        if end != Some(file_bytes) || tables > TABLES_BYTES_MAX || footer.entries == 0 {
            return Err("the tables of the block do not fill it");
        }
        Ok(footer)
    }

    fn directory_bytes(&self) -> u64 {
        let entries = u64::from(self.entries);
        entries * ENTRY_BYTES as u64 + 4 * entries.div_ceil(PAGE_ENTRIES as u64)
    }
}

/// An open block.
pub(crate) struct Block {
    pub(crate) entry: BlockEntry,
    pub(crate) samples: u64,
    pub(crate) series: Bitmap,
    pub(crate) sections: u32,
    file: Box<dyn DiskFile>,
    directory_offset: u64,
    /// The group of the first entry of each page of the directory.
    pages: Vec<u32>,
    /// Offsets of heads and columns that were found damaged: they were reported, and are passed
    /// over from then on.
    aside: Mutex<BTreeSet<u64>>,
}

impl Block {
    /// Opens a block and checks all but its sections, whose places are handed to `each`.
    pub(crate) fn open(
        disk: &dyn Disk,
        path: &Path,
        id: u32,
        each: &mut dyn FnMut(&Place),
    ) -> Result<Block, DiskError> {
        let file = disk.open(path)?;
        let bytes = file.len()?;
        let corrupt = |offset, what: &str| DiskError::corrupt(path, offset, what);
        let header_bytes = frame::HEADER_BYTES as u64;
        if bytes < header_bytes + FOOTER_BYTES as u64 {
            return Err(corrupt(0, "the block is too short"));
        }
        let mut header = [0; frame::HEADER_BYTES];
        file.read_at(0, &mut header)?;
        frame::decode(KIND, &header, path)?;
        let footer_offset = bytes - FOOTER_BYTES as u64;
        let mut tail = [0; FOOTER_BYTES];
        file.read_at(footer_offset, &mut tail)?;
        let footer = Footer::parse(&tail, bytes).map_err(|what| corrupt(footer_offset, what))?;
        let mut block = Block {
            entry: BlockEntry {
                id,
                bytes,
                min_ms: footer.min_ms,
                max_ms: footer.max_ms,
                footer_crc: footer.crc,
            },
            samples: footer.samples,
            series: Bitmap::default(),
            sections: footer.entries,
            file,
            directory_offset: footer.directory_offset,
            pages: Vec::new(),
            aside: Mutex::default(),
        };
        block.read_series(&footer)?;
        for page in 0..footer.entries.div_ceil(PAGE_ENTRIES as u32) as usize {
            let places = block.page(page)?;
            block.pages.push(places[0].group);
            places.iter().for_each(&mut *each);
        }
        if !block.pages.is_sorted() {
            return Err(corrupt(footer.directory_offset, "the directory is not in order"));
        }
        Ok(block)
    }

    fn read_series(&mut self, footer: &Footer) -> Result<(), DiskError> {
        let offset = footer.directory_offset + footer.directory_bytes();
        let mut bytes = vec![0; footer.series_bytes as usize];
        self.file.read_at(offset, &mut bytes)?;
        if crc32c(&bytes) != footer.series_crc {
            return Err(self.corrupt(offset, "the checksum of the series does not match"));
        }
        let ids = Bytes::new(&bytes).runs(SERIES_MAX).map_err(|what| self.corrupt(offset, what))?;
        ids.into_iter().for_each(|id| self.series.insert(id));
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    pub(crate) fn corrupt(&self, offset: u64, what: &str) -> DiskError {
        DiskError::corrupt(self.file.path(), offset, what)
    }

    pub(crate) fn span(&self) -> (i64, i64) {
        (self.entry.min_ms, self.entry.max_ms)
    }

    pub(crate) fn overlaps(&self, start_ms: i64, end_ms: i64) -> bool {
        self.entry.min_ms <= end_ms && start_ms <= self.entry.max_ms
    }

    /// A page of the directory.
    fn page(&self, page: usize) -> Result<Vec<Place>, DiskError> {
        let offset = self.directory_offset + (page * PAGE_BYTES) as u64;
        let entries = (self.sections as usize - page * PAGE_ENTRIES).min(PAGE_ENTRIES);
        let mut bytes = vec![0; entries * ENTRY_BYTES + 4];
        self.file.read_at(offset, &mut bytes)?;
        let (entries, crc) = bytes.split_at(entries * ENTRY_BYTES);
        if crc32c(entries) != u32_at(crc, 0) {
            return Err(self.corrupt(offset, "the checksum of the directory does not match"));
        }
        Ok(entries.chunks_exact(ENTRY_BYTES).map(place).collect())
    }

    /// The sections of groups, in order; `groups` ascend.
    pub(crate) fn places(&self, groups: &[u32]) -> Result<Vec<Place>, DiskError> {
        let mut found = Vec::new();
        let mut held: Option<(usize, Vec<Place>)> = None;
        for group in groups {
            // A group may start on the page before the first that begins with it.
            let first = self.pages.partition_point(|start| start < group).saturating_sub(1);
            for page in first..self.pages.len() {
                if self.pages[page] > *group {
                    break;
                }
                let places = match held.take() {
                    Some((at, places)) if at == page => places,
                    _ => self.page(page)?,
                };
                found.extend(places.iter().filter(|place| place.group == *group));
                held = Some((page, places));
            }
        }
        Ok(found)
    }

    /// The sections of a group that overlap a range, but for those set aside.
    pub(crate) fn places_of(
        &self,
        group: u32,
        (start_ms, end_ms): (i64, i64),
    ) -> Result<Vec<Place>, DiskError> {
        let mut places = self.places(&[group])?;
        places.retain(|p| {
            p.min_ms <= end_ms && start_ms <= p.max_ms && !self.is_aside(p.head_offset)
        });
        Ok(places)
    }

    /// The places of all sections, for who reads the block from end to end.
    pub(crate) fn all_places(&self) -> Result<Vec<Place>, DiskError> {
        let mut places = Vec::with_capacity(self.sections as usize);
        for page in 0..self.pages.len() {
            places.extend(self.page(page)?);
        }
        Ok(places)
    }

    /// Reads and checks the head of a section.
    pub(crate) fn head(&self, place: &Place) -> Result<Head, DiskError> {
        self.try_head(place).inspect_err(|error| self.set_aside(error, place.head_offset))
    }

    fn try_head(&self, place: &Place) -> Result<Head, DiskError> {
        let offset = place.head_offset;
        let corrupt = |what| self.corrupt(offset, what);
        let end = offset.checked_add(u64::from(place.head_bytes));
        if end.is_none_or(|end| end > self.directory_offset) {
            return Err(corrupt("the section lies outside its block"));
        }
        let mut bytes = vec![0; place.head_bytes as usize];
        self.file.read_at(offset, &mut bytes)?;
        let payload_bytes = record::decode(&bytes).map_err(corrupt)?.len();
        if payload_bytes + record::HEADER_BYTES != bytes.len() {
            return Err(corrupt("the head of a section has another length"));
        }
        bytes.drain(..record::HEADER_BYTES);
        let head = Head::parse(bytes, offset).map_err(corrupt)?;
        let times = &head.timestamps_ms;
        let span = (times[0], times[times.len() - 1]);
        if head.group != place.group || span != (place.min_ms, place.max_ms) {
            return Err(corrupt("the section is of another group or time than the directory says"));
        }
        Ok(head)
    }

    /// Reads and checks the body of a column; `None` when it was found damaged before.
    pub(crate) fn body(&self, offset: u64, bytes: u32) -> Result<Option<Vec<u8>>, DiskError> {
        if self.is_aside(offset) {
            return Ok(None);
        }
        self.try_body(offset, bytes).map(Some).inspect_err(|error| self.set_aside(error, offset))
    }

    fn try_body(&self, offset: u64, bytes: u32) -> Result<Vec<u8>, DiskError> {
        let mut body = vec![0; bytes as usize + section::CRC_BYTES];
        self.file.read_at(offset, &mut body)?;
        let len = section::checked(&body).map_err(|what| self.corrupt(offset, what))?.len();
        body.truncate(len);
        Ok(body)
    }

    /// The body of a column of a head.
    pub(crate) fn body_in(&self, head: &Head, slot: Slot) -> Result<Option<Vec<u8>>, DiskError> {
        match slot {
            Slot::Inline(from, to) => Ok(Some(head.payload[from as usize..to as usize].to_vec())),
            Slot::Stored(offset, bytes) => self.body(offset, bytes),
        }
    }

    /// Reports damage once, and passes over it from now on.
    pub(crate) fn set_aside(&self, error: &DiskError, offset: u64) {
        if error.is_corrupt() && self.aside.lock().insert(offset) {
            tracing::error!(%error, "stored metrics are damaged: what stood there is left out");
        }
    }

    fn is_aside(&self, offset: u64) -> bool {
        self.aside.lock().contains(&offset)
    }

    /// How many damaged places were found.
    pub(crate) fn damaged(&self) -> u64 {
        self.aside.lock().len() as u64
    }
}
