//! The files of a log: their names and headers, and what is read of them when the log is opened.
//! The rules stand in `docs/formats/wal.md`.

use super::{HEADER_BYTES, Refused, Replay, SegmentId};
use crate::record::Records;
use crate::rescue::damaged_path;
use crate::{Disk, DiskError, DiskFile, put_aside};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

const MAGIC: [u8; 8] = *b"VIGIEWAL";
const VERSION: u32 = 1;
const PREFIX: &str = "wal-";
const SUFFIX: &str = ".log";
const TMP_SUFFIX: &str = ".tmp";

pub(super) fn segment_path(dir: &Path, id: SegmentId) -> PathBuf {
    dir.join(format!("{PREFIX}{:016x}{SUFFIX}", id.0))
}

/// The numbers of the segments there are, ascending. What a rescue left unfinished is removed.
fn segment_ids(disk: &dyn Disk, dir: &Path) -> Result<Vec<SegmentId>, DiskError> {
    let mut ids = Vec::new();
    for name in disk.list(dir)? {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        if rest.ends_with(TMP_SUFFIX) {
            disk.remove(&dir.join(&name))?;
        }
        let hex = rest.strip_suffix(SUFFIX);
        ids.extend(hex.and_then(|hex| u64::from_str_radix(hex, 16).ok()).map(SegmentId));
    }
    ids.sort_unstable();
    Ok(ids)
}

/// Makes a last segment again whose creation was cut short (rule 4 of the format).
fn finish_birth(disk: &dyn Disk, dir: &Path, last: SegmentId) -> Result<(), DiskError> {
    let path = segment_path(dir, last);
    let file = disk.open(&path)?;
    let len = file.len()?;
    if len > HEADER_BYTES as u64 {
        return Ok(());
    }
    let mut header = [0; HEADER_BYTES];
    if len == HEADER_BYTES as u64 {
        file.read_at(0, &mut header)?;
        if !matches!(check_header(&header, last), Err(Header::Damaged(_))) {
            return Ok(());
        }
    }
    create_segment(disk, dir, last)?;
    Ok(())
}

pub(super) fn create_segment(
    disk: &dyn Disk,
    dir: &Path,
    id: SegmentId,
) -> Result<Box<dyn DiskFile>, DiskError> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend_from_slice(&MAGIC);
    header.extend_from_slice(&VERSION.to_le_bytes());
    header.extend_from_slice(&[0; 4]);
    header.extend_from_slice(&id.0.to_le_bytes());
    header.extend_from_slice(&crc32c::crc32c(&header).to_le_bytes());
    assert_eq!(header.len(), HEADER_BYTES);
    let file = disk.create(&segment_path(dir, id))?;
    file.append(&header)?;
    file.sync()?;
    disk.sync_dir(dir)?;
    Ok(file)
}

/// Why a header is not a good one.
enum Header {
    /// It is not what was written.
    Damaged(&'static str),
    /// It is, but by another program or for another place.
    Foreign(String),
}

fn check_header(header: &[u8; HEADER_BYTES], id: SegmentId) -> Result<(), Header> {
    let number = |at: usize, bytes: usize| {
        header[at..at + bytes].iter().rev().fold(0u64, |n, byte| n << 8 | u64::from(*byte))
    };
    if header[..8] != MAGIC {
        return Err(Header::Damaged("is not a segment of a log"));
    }
    if number(24, 4) != u64::from(crc32c::crc32c(&header[..24])) {
        return Err(Header::Damaged("the header's checksum does not match"));
    }
    if number(8, 4) != u64::from(VERSION) {
        let version = number(8, 4);
        let what = format!("has version {version}; this Vigie reads version {VERSION}");
        return Err(Header::Foreign(what));
    }
    if number(16, 8) != id.0 {
        return Err(Header::Foreign(format!("says that it is segment {:016x}", number(16, 8))));
    }
    Ok(())
}

/// What opening a log comes upon.
#[derive(Default)]
pub(super) struct Found {
    pub(super) segments: VecDeque<(SegmentId, u64)>,
    pub(super) damaged: Vec<SegmentId>,
    pub(super) damage: Vec<DiskError>,
    pub(super) cut_bytes: u64,
}

impl Found {
    /// Reads all segments.
    pub(super) fn read(
        &mut self,
        disk: &dyn Disk,
        dir: &Path,
        replay: &mut Replay<'_>,
    ) -> Result<(), DiskError> {
        let ids = segment_ids(disk, dir)?;
        if let Some(last) = ids.last() {
            finish_birth(disk, dir, *last)?;
        }
        for (at, id) in ids.iter().enumerate() {
            let expected = self.segments.back().map(|(before, _)| SegmentId(before.0 + 1));
            if let Some(missing) = expected.filter(|expected| expected != id) {
                let what = "this segment of the log is missing";
                self.damage.push(DiskError::corrupt(&segment_path(dir, missing), 0, what));
            }
            let is_last = at + 1 == ids.len();
            if !self.read_segment(disk, dir, *id, is_last, replay)? {
                return put_away(disk, dir, &ids[at + 1..]);
            }
        }
        Ok(())
    }

    /// Reads a segment, and cuts what cannot stay. `false` when what follows cannot stay either.
    fn read_segment(
        &mut self,
        disk: &dyn Disk,
        dir: &Path,
        id: SegmentId,
        is_last: bool,
        replay: &mut Replay<'_>,
    ) -> Result<bool, DiskError> {
        let path = segment_path(dir, id);
        let file = disk.open(&path)?;
        let file_bytes = file.len()?;
        let damage_before = self.damage.len();
        self.read_header(&*file, id)?;
        let start = file_bytes.min(HEADER_BYTES as u64);
        let mut records = Records::new(&*file, start, file_bytes);
        let (len, fits) = self.read_records(&mut records, is_last, replay)?;
        if !fits {
            put_aside(disk, &path)?;
        } else if is_last {
            self.cut_bytes = file_bytes - len;
        }
        if len < file_bytes {
            let file = disk.append(&path)?;
            file.truncate(len)?;
            file.sync()?;
        }
        if self.damage.len() > damage_before {
            self.damaged.push(id);
        }
        self.segments.push_back((id, len));
        Ok(fits)
    }

    /// Reads records. Returns the offset behind the last that stays, and whether they fit.
    fn read_records(
        &mut self,
        records: &mut Records<'_>,
        is_last: bool,
        replay: &mut Replay<'_>,
    ) -> Result<(u64, bool), DiskError> {
        loop {
            let offset = records.offset();
            let path = records.path();
            let error = match records.next_payload() {
                Ok(None) => return Ok((offset, true)),
                Ok(Some(payload)) => match replay(payload) {
                    Ok(()) => continue,
                    Err(Refused::Record(what)) => {
                        let error = DiskError::corrupt(path, offset, what);
                        if self.damage.is_empty() {
                            return Err(error);
                        }
                        self.damage.push(error);
                        return Ok((offset, false));
                    }
                    Err(Refused::Disk(error)) => return Err(error),
                },
                Err(e) if !e.is_corrupt() => return Err(e),
                Err(e) => e,
            };
            if records.skip()? {
                self.damage.push(error);
            } else if is_last {
                // It was being written when the machine stopped.
                return Ok((offset, true));
            } else {
                self.damage.push(error);
                return Ok((records.end(), true));
            }
        }
    }

    /// Checks a header: a bad one is damage, and one of another version an error.
    fn read_header(&mut self, file: &dyn DiskFile, id: SegmentId) -> Result<(), DiskError> {
        let mut header = [0; HEADER_BYTES];
        let fault = match file.read_at(0, &mut header) {
            Ok(()) => check_header(&header, id),
            Err(e) if e.is_corrupt() => Err(Header::Damaged("the header is cut off")),
            Err(e) => return Err(e),
        };
        match fault {
            Ok(()) => Ok(()),
            Err(Header::Foreign(what)) => Err(DiskError::corrupt(file.path(), 0, what)),
            Err(Header::Damaged(what)) => {
                self.damage.push(DiskError::corrupt(file.path(), 0, what));
                Ok(())
            }
        }
    }
}

/// Takes segments out of the log, the last first, so that it never has a gap.
fn put_away(disk: &dyn Disk, dir: &Path, ids: &[SegmentId]) -> Result<(), DiskError> {
    for id in ids.iter().rev() {
        let path = segment_path(dir, *id);
        disk.rename(&path, &damaged_path(&path))?;
        disk.sync_dir(dir)?;
    }
    Ok(())
}
