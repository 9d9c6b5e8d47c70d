//! `series.log` and `series.copy`: the labels and places of all series that the write-ahead log no
//! longer has, twice.
//!
//! Every chunk and block depends on this list and it is tiny (a byte or two a series), so it is kept
//! twice: what is damaged in one file is read from the other. Both are written at checkpoints only,
//! before the write-ahead log is cut, one after the other and each synced; so what is lost at their
//! ends in a crash still stands in the write-ahead log, and the copy is never ahead of the list.
//!
//! Invariant: within a *generation* no offset of the two is ever written twice, so they have the same
//! record at the same offset, or one of them has none. Whatever is wrong (damage, an unfinished end,
//! a write that failed, an older version) ends the generation: both files are written anew from
//! memory, beside the old ones, and renamed. The bytes stand in `docs/formats/metrics-log.md`.

mod twin;

use crate::batch::{self, Batch};
use crate::planted::{self, Bug};
use crate::record::{self, Definition};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use twin::{Twin, Walked};
use vigie_disk::frame::{self, FrameKind};
use vigie_disk::record::{self as framed, Records};
use vigie_disk::wire::{Bad, Bytes};
use vigie_disk::{Disk, DiskError, DiskFile, Meter, Tell};

const KIND: FrameKind = FrameKind { magic: *b"VIGIESER", version: 3 };
/// Versions without a body in the header: in 2 all records are batches, in 1 some are definitions.
const KINDS_BEFORE: [FrameKind; 2] =
    [FrameKind { version: 2, ..KIND }, FrameKind { version: 1, ..KIND }];
/// The generation, and how many groups are closed.
const BODY_BYTES: usize = 12;
const HEADER_BYTES: u64 = (frame::HEADER_BYTES + BODY_BYTES) as u64;
/// Most of a file's start that is read to see whether another program wrote it.
const OTHER_HEADER_BYTES_MAX: u64 = 4096;
/// The first byte of a batch's payload, where a list of definitions says how many there are.
const BATCH: u8 = 0;
const NAMES: [&str; 2] = ["series.log", "series.copy"];

/// What a record says.
pub(crate) enum Said {
    /// In version 1.
    Definitions(Vec<Definition>),
    /// Since.
    Batch(Batch),
}

/// Writes a batch.
pub(crate) type Put<'a> = dyn FnMut(&[u8]) -> Result<(), DiskError> + 'a;

pub(crate) struct SeriesLog {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// `None` when both must be written anew before anything is appended.
    files: Option<[Arc<dyn DiskFile>; 2]>,
    generation: u64,
    groups_closed: u32,
    /// The length of the good part.
    bytes: u64,
    /// How far the copy was good when the list was opened.
    copy_bytes: u64,
    /// What opening found damaged. Of a hole, neither file has what stood there.
    pub(crate) damage: Vec<DiskError>,
    pub(crate) has_hole: bool,
}

/// The header of one of the two files.
enum Header {
    Missing,
    /// Of the current version.
    Good {
        generation: u64,
        groups_closed: u32,
    },
    /// Of a version that kept the list once.
    Before,
    Damaged(DiskError),
}

/// A file as it is found.
struct FoundFile {
    header: Header,
    file: Option<Arc<dyn DiskFile>>,
}

impl SeriesLog {
    /// Opens the list, and hands over all series in the order written. A list that is new, of an
    /// older version or not whole waits to be written: [`SeriesLog::is_sound`].
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        tell: &Tell<'_>,
        take: &mut dyn FnMut(Said) -> Result<(), &'static str>,
    ) -> Result<SeriesLog, DiskError> {
        // A process that died may have renamed a file and not synced the name.
        disk.sync_dir(dir)?;
        for beside in NAMES.map(|name| dir.join(format!("{name}.tmp"))) {
            if disk.exists(&beside) {
                disk.remove(&beside)?;
            }
        }
        let [first, second] = NAMES.map(|name| find(&**disk, &dir.join(name)));
        let (first, second) = (first?, second?);
        let mut list = SeriesLog {
            disk: disk.clone(),
            dir: dir.to_path_buf(),
            files: None,
            generation: 0,
            groups_closed: 0,
            bytes: HEADER_BYTES,
            copy_bytes: u64::MAX,
            damage: Vec::new(),
            has_hole: false,
        };
        for found in [&first, &second] {
            if let Header::Damaged(error) = &found.header {
                list.damage.push(error.clone());
            }
            if let Header::Good { generation, groups_closed } = found.header
                && generation >= list.generation
            {
                (list.generation, list.groups_closed) = (generation, groups_closed);
            }
        }
        let Some(sources) = list.sources(&first, &second)? else { return Ok(list) };
        let len = sources.0.len()?.max(sources.1.as_ref().map_or(Ok(0), |file| file.len())?);
        let start = start_of(&*sources.0, len)?;
        let mut meter = Meter::start(tell, "the list of series", len);
        let twin = Twin::new(&*sources.0, sources.1.as_deref(), start)?;
        let walked = twin.walk(&mut |payload| {
            meter.add(payload.len() as u64);
            said(payload).and_then(&mut *take)
        })?;
        list.take_walked(walked, sources)?;
        Ok(list)
    }

    /// The files to read: the newer generation, or both of one. `None` when there is none.
    #[expect(clippy::type_complexity, reason = "used once, right above")]
    fn sources(
        &mut self,
        first: &FoundFile,
        second: &FoundFile,
    ) -> Result<Option<(Arc<dyn DiskFile>, Option<Arc<dyn DiskFile>>)>, DiskError> {
        let (Some(one), Some(other)) = (&first.file, &second.file) else {
            let alone = first.file.clone().or_else(|| second.file.clone());
            let header = if first.file.is_some() { &first.header } else { &second.header };
            // Which groups are closed it no longer says.
            self.has_hole = matches!(header, Header::Damaged(_));
            return Ok(alone.map(|file| (file, None)));
        };
        let rank = |header: &Header| match header {
            Header::Missing | Header::Damaged(_) => 0,
            Header::Before => 1,
            Header::Good { generation, .. } => 2 + *generation,
        };
        let (one_rank, other_rank) = (rank(&first.header), rank(&second.header));
        self.has_hole = one_rank == 0 && other_rank == 0;
        Ok(Some(match one_rank.cmp(&other_rank) {
            std::cmp::Ordering::Equal => (one.clone(), Some(other.clone())),
            std::cmp::Ordering::Greater => (one.clone(), None),
            std::cmp::Ordering::Less => (other.clone(), None),
        }))
    }

    fn take_walked(
        &mut self,
        walked: Walked,
        sources: (Arc<dyn DiskFile>, Option<Arc<dyn DiskFile>>),
    ) -> Result<(), DiskError> {
        self.has_hole |= walked.has_hole;
        self.damage.extend(walked.damage);
        self.bytes = walked.end;
        self.copy_bytes = walked.other_end;
        if let (one, Some(other)) = sources
            && walked.is_whole
            && self.generation > 0
            && self.damage.is_empty()
        {
            // Series read from here are not written here again, so they must be durable.
            one.sync()?;
            other.sync()?;
            self.files = Some([one, other]);
        }
        Ok(())
    }

    /// Whether both files are there and whole. If not, they must be written anew.
    pub(crate) fn is_sound(&self) -> bool {
        self.files.is_some()
    }

    /// Groups below this number get no more columns: some of theirs may be lost.
    pub(crate) fn groups_closed(&self) -> u32 {
        self.groups_closed
    }

    pub(crate) fn close_groups(&mut self, count: u32) {
        if self.groups_closed < count {
            self.groups_closed = count;
            self.files = None;
        }
    }

    /// Both must be written anew: what memory has is no longer what they have.
    pub(crate) fn outdate(&mut self) {
        self.files = None;
    }

    /// Writes batches and makes them durable, in the list and then in its copy.
    ///
    /// # Panics
    /// If the files are not sound.
    pub(crate) fn append(&mut self, batches: &[Vec<u8>]) -> Result<(), DiskError> {
        let mut records = Vec::new();
        batches.iter().for_each(|batch| put_record(batch, &mut records));
        if records.is_empty() {
            return Ok(());
        }
        // A write that fails ends the generation.
        let files = self.files.take().expect("the caller has looked");
        for (file, name) in files.iter().zip(NAMES) {
            file.append(&records)?;
            if !(planted::is(Bug::CopyNotSynced) && name == NAMES[1]) {
                file.sync()?;
            }
        }
        self.files = Some(files);
        self.bytes += records.len() as u64;
        Ok(())
    }

    /// Starts a new generation: both files with all that `each` hands over, whole or not at all.
    pub(crate) fn write_anew(
        &mut self,
        each: &mut dyn FnMut(&mut Put<'_>) -> Result<(), DiskError>,
    ) -> Result<(), DiskError> {
        self.files = None;
        let generation = self.generation + 1;
        let paths = NAMES.map(|name| self.dir.join(name));
        let beside = NAMES.map(|name| self.dir.join(format!("{name}.tmp")));
        let mut body = generation.to_le_bytes().to_vec();
        body.extend_from_slice(&self.groups_closed.to_le_bytes());
        let header = frame::encode(KIND, &body);
        let [one, other] = [self.disk.create(&beside[0])?, self.disk.create(&beside[1])?];
        one.append(&header)?;
        other.append(&header)?;
        let mut bytes = header.len() as u64;
        let mut record = Vec::new();
        each(&mut |batch| {
            record.clear();
            put_record(batch, &mut record);
            bytes += record.len() as u64;
            one.append(&record)?;
            other.append(&record)
        })?;
        one.sync()?;
        other.sync()?;
        drop((one, other));
        self.disk.rename(&beside[0], &paths[0])?;
        self.disk.rename(&beside[1], &paths[1])?;
        // From here on a crash may leave either generation, and the newer one is believed.
        self.generation = generation;
        self.disk.sync_dir(&self.dir)?;
        self.bytes = bytes;
        self.files =
            Some([self.disk.append(&paths[0])?.into(), self.disk.append(&paths[1])?.into()]);
        Ok(())
    }

    /// The length of the list; the copy is as long.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Which writing of the whole list this is, and how long it is.
    pub(crate) fn version(&self) -> (u64, u64) {
        (self.generation, self.bytes)
    }

    /// The names of the files, and how much of them belongs into a copy of the store.
    pub(crate) fn names_to_copy(&self) -> ([&'static str; 2], u64) {
        (NAMES, self.bytes)
    }

    /// Notes damage if one of the files is shorter than it was when it was last synced.
    pub(crate) fn check(&mut self, generation: u64, synced_bytes: u64) {
        if self.generation != generation {
            return;
        }
        let what = format!("the list of series is damaged here; {synced_bytes} bytes were good");
        if self.bytes < synced_bytes && !self.has_hole {
            self.damage.push(DiskError::corrupt(&self.dir.join(NAMES[0]), self.bytes, what));
            self.has_hole = true;
        } else if self.copy_bytes < synced_bytes && self.damage.is_empty() {
            self.damage.push(DiskError::corrupt(&self.dir.join(NAMES[1]), self.copy_bytes, what));
        }
    }
}

fn put_record(batch: &[u8], out: &mut Vec<u8>) {
    let mut payload = Vec::with_capacity(1 + batch.len());
    payload.push(BATCH);
    payload.extend_from_slice(batch);
    framed::encode(&payload, out);
}

fn said(payload: &[u8]) -> Result<Said, Bad> {
    match payload.split_first() {
        Some((&BATCH, batch)) => batch::decode(batch).map(Said::Batch),
        _ => record::definitions(&mut Bytes::new(payload)).map(Said::Definitions),
    }
}

/// Looks at a file and its header. A header that is whole and of another program is an error.
fn find(disk: &dyn Disk, path: &Path) -> Result<FoundFile, DiskError> {
    if !disk.exists(path) {
        return Ok(FoundFile { header: Header::Missing, file: None });
    }
    let file: Arc<dyn DiskFile> = disk.append(path)?.into();
    let mut bytes = vec![0; HEADER_BYTES.min(file.len()?) as usize];
    file.read_at(0, &mut bytes)?;
    let short = &bytes[..bytes.len().min(frame::HEADER_BYTES)];
    let header = match frame::decode(KIND, &bytes, path) {
        Ok(body) => {
            let (generation, closed) = body.split_at(8);
            let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b));
            Header::Good { generation: word(generation), groups_closed: word(closed) as u32 }
        }
        Err(_) if KINDS_BEFORE.iter().any(|kind| frame::decode(*kind, short, path).is_ok()) => {
            Header::Before
        }
        Err(error) if is_of_another(&*file)? => return Err(error),
        Err(error) => Header::Damaged(error),
    };
    Ok(FoundFile { header, file: Some(file) })
}

/// Whether a header is whole, however long its version made it.
fn is_of_another(file: &dyn DiskFile) -> Result<bool, DiskError> {
    let mut bytes = vec![0; OTHER_HEADER_BYTES_MAX.min(file.len()?) as usize];
    file.read_at(0, &mut bytes)?;
    let Some(length) = bytes.get(16..18) else { return Ok(false) };
    let end = frame::HEADER_BYTES + usize::from(u16::from_le_bytes([length[0], length[1]]));
    Ok([frame::HEADER_BYTES, end].iter().any(|end| bytes.get(..*end).is_some_and(frame::is_whole)))
}

/// Where the records of a file start, whose header may be damaged: where there is one.
fn start_of(file: &dyn DiskFile, len: u64) -> Result<u64, DiskError> {
    let before = frame::HEADER_BYTES as u64;
    let mut header = vec![0; HEADER_BYTES.min(file.len()?) as usize];
    file.read_at(0, &mut header)?;
    if frame::decode(KIND, &header, file.path()).is_ok() {
        return Ok(HEADER_BYTES);
    }
    let len = len.min(file.len()?);
    let starts = |at: u64| {
        at <= len && Records::new(file, at, len).next_payload().is_ok_and(|p| p.is_some())
    };
    Ok(if starts(before) || len < HEADER_BYTES { before.min(len) } else { HEADER_BYTES })
}
