//! The write-ahead log: numbered segments of checksummed records, with group commit.
//!
//! The log owns the files `wal-*.log` of its directory and nothing else there.
//! [`Wal::append`] returns when the record is in the operating system's hands: it survives the
//! death of this process. [`Wal::sync`] returns when it survives a power cut; callers that wait at
//! the same time share one `fdatasync`.
//!
//! Invariants: a segment that is not the last is complete and synced; after a failed `fdatasync`
//! nothing more is accepted, because the system may have dropped what it could not write;
//! a record that was not written whole is cut away before the next one.
//! Locks: `tail` may be held while `commit` is taken, never the other way round.
//! The format and the rules of recovery stand in `docs/formats/wal.md`.

use crate::{Disk, DiskError, DiskFile, record};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const MAGIC: [u8; 8] = *b"VIGIEWAL";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 28;
const PREFIX: &str = "wal-";
const SUFFIX: &str = ".log";
/// Read at once during replay; a longer record gets a buffer of its own length.
const READ_BYTES: usize = 256 * 1024;

/// The number of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub u64);

/// The place of a record in the order of appends since the log was opened; the first is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

/// How a log behaves.
#[derive(Clone, Copy, Debug)]
pub struct WalOptions {
    /// A segment that has grown to this is followed by a new one.
    pub segment_bytes: u64,
    /// How long the first of several waiting callers waits for more before it syncs.
    /// At 0 those that come while a sync runs still share the next one.
    pub gather_ms: u64,
}

impl Default for WalOptions {
    fn default() -> Self {
        WalOptions { segment_bytes: 8 * 1024 * 1024, gather_ms: 0 }
    }
}

/// A write-ahead log. Shared between threads; every method blocks.
pub struct Wal {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: WalOptions,
    tail: Mutex<Tail>,
    commit: Mutex<Commit>,
    committed: Condvar,
    cut_bytes: u64,
}

/// The segment being written.
struct Tail {
    file: Arc<dyn DiskFile>,
    /// All segments, ascending, the one being written last, with their lengths.
    segments: VecDeque<(SegmentId, u64)>,
    written: Lsn,
    /// Bytes of a record that failed may stand behind the last good one.
    ragged: bool,
    scratch: Vec<u8>,
}

impl Tail {
    fn segment(&self) -> SegmentId {
        self.segments.back().expect("a log has a segment").0
    }

    fn len_mut(&mut self) -> &mut u64 {
        &mut self.segments.back_mut().expect("a log has a segment").1
    }
}

struct Commit {
    durable: Lsn,
    syncing: bool,
    failed: Option<DiskError>,
}

impl Wal {
    /// Opens the log of a directory, making both when they are not there, and hands every record
    /// to `replay` in the order in which it was appended. An error of `replay` ends the opening.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: WalOptions,
        replay: &mut dyn FnMut(&[u8]) -> Result<(), DiskError>,
    ) -> Result<Wal, DiskError> {
        disk.create_dir_all(dir)?;
        let ids = segment_ids(&*disk, dir)?;
        let mut cut_bytes = 0;
        if let Some(last) = ids.last() {
            finish_birth(&*disk, dir, *last)?;
        }
        let mut segments = VecDeque::with_capacity(ids.len());
        for (at, id) in ids.iter().enumerate() {
            let is_last = at + 1 == ids.len();
            let (len, file_len) = replay_segment(&*disk, dir, *id, is_last, replay)?;
            if len < file_len {
                disk.append(&segment_path(dir, *id))?.truncate(len)?;
                cut_bytes = file_len - len;
            }
            segments.push_back((*id, len));
        }
        let file: Arc<dyn DiskFile> = match segments.back() {
            Some((id, _)) => disk.append(&segment_path(dir, *id))?.into(),
            None => {
                segments.push_back((SegmentId(1), HEADER_BYTES as u64));
                create_segment(&*disk, dir, SegmentId(1))?.into()
            }
        };
        // What was replayed counts as kept from here on: a dead process may not have synced it.
        file.sync()?;
        let tail = Tail { file, segments, written: Lsn(0), ragged: false, scratch: Vec::new() };
        let commit = Commit { durable: Lsn(0), syncing: false, failed: None };
        Ok(Wal {
            disk,
            dir: dir.to_path_buf(),
            options,
            tail: Mutex::new(tail),
            commit: Mutex::new(commit),
            committed: Condvar::new(),
            cut_bytes,
        })
    }

    /// Writes a record. When this returns, the record survives the death of the process.
    ///
    /// # Panics
    /// If the record is empty or longer than [`record::PAYLOAD_BYTES_MAX`].
    pub fn append(&self, payload: &[u8]) -> Result<Lsn, DiskError> {
        let mut tail = self.tail.lock();
        self.refuse_if_failed()?;
        if *tail.len_mut() >= self.options.segment_bytes {
            self.rotate_locked(&mut tail)?;
        }
        if tail.ragged {
            let len = *tail.len_mut();
            tail.file.truncate(len)?;
            tail.ragged = false;
        }
        let mut scratch = std::mem::take(&mut tail.scratch);
        scratch.clear();
        record::encode(payload, &mut scratch);
        let written = tail.file.append(&scratch);
        let record_bytes = scratch.len() as u64;
        // One large push must not hold its memory for ever.
        if scratch.capacity() <= READ_BYTES {
            tail.scratch = scratch;
        }
        if let Err(e) = written {
            tail.ragged = true;
            return Err(e);
        }
        *tail.len_mut() += record_bytes;
        tail.written = Lsn(tail.written.0 + 1);
        Ok(tail.written)
    }

    /// Returns when the record `lsn` and all before it survive a power cut.
    pub fn sync(&self, lsn: Lsn) -> Result<(), DiskError> {
        let mut commit = self.commit.lock();
        loop {
            if let Some(e) = &commit.failed {
                return Err(e.clone());
            }
            if commit.durable >= lsn {
                return Ok(());
            }
            if commit.syncing {
                self.committed.wait(&mut commit);
                continue;
            }
            commit.syncing = true;
            drop(commit);
            if self.options.gather_ms > 0 {
                std::thread::sleep(Duration::from_millis(self.options.gather_ms));
            }
            let (file, written) = {
                let tail = self.tail.lock();
                (tail.file.clone(), tail.written)
            };
            assert!(written >= lsn, "{lsn:?} was never appended");
            // A rotation in between has synced everything that was in an older file.
            let result = file.sync();
            commit = self.commit.lock();
            commit.syncing = false;
            match result {
                Ok(()) => commit.durable = commit.durable.max(written),
                Err(e) => commit.failed = Some(e),
            }
            self.committed.notify_all();
        }
    }

    /// [`Wal::sync`] for everything appended so far. Free when there is nothing new.
    pub fn sync_all(&self) -> Result<(), DiskError> {
        let written = self.tail.lock().written;
        self.sync(written)
    }

    /// Starts a new segment and returns its number: every record appended before stands in a
    /// segment with a smaller one and is durable.
    pub fn rotate(&self) -> Result<SegmentId, DiskError> {
        let mut tail = self.tail.lock();
        self.refuse_if_failed()?;
        self.rotate_locked(&mut tail)?;
        Ok(tail.segment())
    }

    /// Removes the segments before `id`, oldest first. The one being written always stays.
    pub fn remove_before(&self, id: SegmentId) -> Result<(), DiskError> {
        let mut tail = self.tail.lock();
        let mut removed = false;
        while tail.segments.len() > 1 {
            let Some((oldest, _)) = tail.segments.front().copied() else { break };
            if oldest >= id {
                break;
            }
            self.disk.remove(&segment_path(&self.dir, oldest))?;
            tail.segments.pop_front();
            removed = true;
        }
        if removed { self.disk.sync_dir(&self.dir) } else { Ok(()) }
    }

    /// The segment being written.
    pub fn segment(&self) -> SegmentId {
        self.tail.lock().segment()
    }

    /// The length of all segments.
    pub fn bytes(&self) -> u64 {
        self.tail.lock().segments.iter().map(|(_, len)| len).sum()
    }

    /// How many bytes of an unfinished record were cut away when the log was opened.
    pub fn cut_bytes(&self) -> u64 {
        self.cut_bytes
    }

    fn refuse_if_failed(&self) -> Result<(), DiskError> {
        match &self.commit.lock().failed {
            Some(e) => Err(e.clone()),
            None => Ok(()),
        }
    }

    /// The order of the steps is rule 2 of the format.
    fn rotate_locked(&self, tail: &mut Tail) -> Result<(), DiskError> {
        if tail.ragged {
            let len = *tail.len_mut();
            tail.file.truncate(len)?;
            tail.ragged = false;
        }
        let synced = tail.file.sync();
        {
            let mut commit = self.commit.lock();
            match synced {
                Ok(()) => commit.durable = commit.durable.max(tail.written),
                Err(e) => {
                    commit.failed = Some(e.clone());
                    return Err(e);
                }
            }
        }
        let next = SegmentId(tail.segment().0 + 1);
        tail.file = create_segment(&*self.disk, &self.dir, next)?.into();
        tail.segments.push_back((next, HEADER_BYTES as u64));
        Ok(())
    }
}

fn segment_path(dir: &Path, id: SegmentId) -> PathBuf {
    dir.join(format!("{PREFIX}{:016x}{SUFFIX}", id.0))
}

/// The numbers of the segments there are, ascending, without a gap.
fn segment_ids(disk: &dyn Disk, dir: &Path) -> Result<Vec<SegmentId>, DiskError> {
    let mut ids: Vec<SegmentId> = disk
        .list(dir)?
        .iter()
        .filter_map(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX))
        .filter_map(|hex| u64::from_str_radix(hex, 16).ok())
        .map(SegmentId)
        .collect();
    ids.sort_unstable();
    for pair in ids.windows(2) {
        if pair[0].0 + 1 != pair[1].0 {
            let missing = segment_path(dir, SegmentId(pair[0].0 + 1));
            return Err(DiskError::corrupt(&missing, 0, "this segment of the log is missing"));
        }
    }
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
        if check_header(&header, last).is_ok() {
            return Ok(());
        }
    }
    create_segment(disk, dir, last)?;
    Ok(())
}

fn create_segment(
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

fn check_header(header: &[u8; HEADER_BYTES], id: SegmentId) -> Result<(), String> {
    let number = |at: usize, bytes: usize| {
        header[at..at + bytes].iter().rev().fold(0u64, |n, byte| n << 8 | u64::from(*byte))
    };
    if header[..8] != MAGIC {
        return Err("is not a segment of a log".to_owned());
    }
    if number(8, 4) != u64::from(VERSION) {
        let version = number(8, 4);
        return Err(format!("has version {version}; this Vigie reads version {VERSION}"));
    }
    if number(24, 4) != u64::from(crc32c::crc32c(&header[..24])) {
        return Err("the header's checksum does not match".to_owned());
    }
    if number(16, 8) != id.0 {
        return Err(format!("says that it is segment {:016x}", number(16, 8)));
    }
    Ok(())
}

/// Replays a segment. Returns the length of its good part and of the file: they differ only in
/// the last segment.
fn replay_segment(
    disk: &dyn Disk,
    dir: &Path,
    id: SegmentId,
    is_last: bool,
    replay: &mut dyn FnMut(&[u8]) -> Result<(), DiskError>,
) -> Result<(u64, u64), DiskError> {
    let path = segment_path(dir, id);
    let file = disk.open(&path)?;
    let len = file.len()?;
    let mut header = [0; HEADER_BYTES];
    file.read_at(0, &mut header)?;
    check_header(&header, id).map_err(|what| DiskError::corrupt(&path, 0, what))?;
    let mut reader =
        Reader { file: &*file, len, next: HEADER_BYTES as u64, buffer: Vec::new(), at: 0 };
    loop {
        let offset = reader.offset();
        if offset == len {
            return Ok((len, len));
        }
        match record::decode(reader.window()?) {
            Ok(payload) => {
                let record_bytes = record::HEADER_BYTES + payload.len();
                replay(payload)?;
                reader.at += record_bytes;
            }
            Err(_) if is_last => return Ok((offset, len)),
            Err(what) => return Err(DiskError::corrupt(&path, offset, what)),
        }
    }
}

/// Walks a file with one buffer that holds at least the next record.
struct Reader<'a> {
    file: &'a dyn DiskFile,
    len: u64,
    /// The file's offset behind the buffer.
    next: u64,
    buffer: Vec<u8>,
    at: usize,
}

impl Reader<'_> {
    fn offset(&self) -> u64 {
        self.next - (self.buffer.len() - self.at) as u64
    }

    /// The bytes from here on: the whole next record, or all that the file has.
    fn window(&mut self) -> Result<&[u8], DiskError> {
        self.fill(record::HEADER_BYTES)?;
        let rest = &self.buffer[self.at..];
        if let Some((length, _)) = rest.split_first_chunk::<4>() {
            let payload_bytes = u32::from_le_bytes(*length) as usize;
            if payload_bytes <= record::PAYLOAD_BYTES_MAX {
                self.fill(record::HEADER_BYTES + payload_bytes)?;
            }
        }
        Ok(&self.buffer[self.at..])
    }

    /// Makes the buffer hold `wanted` bytes from here on, if the file has them.
    fn fill(&mut self, wanted: usize) -> Result<(), DiskError> {
        let held = self.buffer.len() - self.at;
        if held >= wanted {
            return Ok(());
        }
        self.buffer.drain(..self.at);
        self.at = 0;
        let left = self.len - self.next;
        let more = left.min(wanted.max(READ_BYTES).saturating_sub(held) as u64);
        self.buffer.resize(held + more as usize, 0);
        self.file.read_at(self.next, &mut self.buffer[held..])?;
        self.next += more;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RealDisk;

    const SMALL: WalOptions = WalOptions { segment_bytes: 100, gather_ms: 0 };

    fn open(dir: &Path, options: WalOptions) -> Result<(Wal, Vec<Vec<u8>>), DiskError> {
        let mut records = Vec::new();
        let wal = Wal::open(Arc::new(RealDisk), dir, options, &mut |payload| {
            records.push(payload.to_vec());
            Ok(())
        })?;
        Ok((wal, records))
    }

    fn numbered(range: std::ops::Range<usize>) -> Vec<Vec<u8>> {
        range.map(|n| format!("record number {n}").into_bytes()).collect()
    }

    fn fill(dir: &Path, count: usize) -> Wal {
        let (wal, _) = open(dir, SMALL).unwrap();
        for payload in numbered(0..count) {
            wal.append(&payload).unwrap();
        }
        wal
    }

    fn last_segment(dir: &Path) -> PathBuf {
        dir.join(RealDisk.list(dir).unwrap().last().unwrap())
    }

    #[test]
    fn records_come_back_in_order_over_many_segments_and_reopenings() {
        let dir = tempfile::tempdir().unwrap();
        drop(fill(dir.path(), 20));
        assert!(RealDisk.list(dir.path()).unwrap().len() > 3);
        let (wal, records) = open(dir.path(), SMALL).unwrap();
        assert_eq!(records, numbered(0..20));
        wal.append(b"one more").unwrap();
        drop(wal);
        let (_, records) = open(dir.path(), SMALL).unwrap();
        assert_eq!(records.len(), 21);
        assert_eq!(records[20], b"one more");
    }

    #[test]
    fn a_record_longer_than_the_read_buffer_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let (wal, _) = open(dir.path(), WalOptions::default()).unwrap();
        let long: Vec<u8> = (0..READ_BYTES * 3 + 17).map(|n| n as u8).collect();
        let wanted = vec![b"a".to_vec(), long, b"b".to_vec()];
        for payload in &wanted {
            wal.append(payload).unwrap();
        }
        drop(wal);
        assert_eq!(open(dir.path(), WalOptions::default()).unwrap().1, wanted);
    }

    #[test]
    fn wherever_the_last_segment_is_cut_the_whole_records_before_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let roomy = WalOptions { segment_bytes: 1 << 20, gather_ms: 0 };
        let (wal, _) = open(dir.path(), roomy).unwrap();
        let mut ends = vec![HEADER_BYTES];
        for payload in numbered(0..5) {
            wal.append(&payload).unwrap();
            ends.push(ends.last().unwrap() + record::HEADER_BYTES + payload.len());
        }
        drop(wal);
        let path = last_segment(dir.path());
        let whole = std::fs::read(&path).unwrap();
        for len in 0..whole.len() {
            std::fs::write(&path, &whole[..len]).unwrap();
            let kept = ends.iter().filter(|end| **end <= len).count().saturating_sub(1);
            let (wal, records) = open(dir.path(), roomy).unwrap();
            assert_eq!(records, numbered(0..kept), "cut at {len}");
            wal.append(b"next").unwrap();
            drop(wal);
            let (_, records) = open(dir.path(), roomy).unwrap();
            assert_eq!(records.len(), kept + 1, "cut at {len}");
        }
        let mut flipped = whole.clone();
        flipped[ends[3] + 10] ^= 1;
        std::fs::write(&path, &flipped).unwrap();
        let (wal, records) = open(dir.path(), roomy).unwrap();
        assert_eq!(records, numbered(0..3));
        assert_eq!(wal.cut_bytes(), (whole.len() - ends[3]) as u64);
    }

    #[test]
    fn damage_in_a_segment_that_is_not_the_last_names_file_and_offset_and_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        drop(fill(dir.path(), 20));
        let first = dir.path().join("wal-0000000000000001.log");
        let whole = std::fs::read(&first).unwrap();
        for (at, offset) in [(HEADER_BYTES + 9, HEADER_BYTES as u64), (9, 0), (17, 0)] {
            let mut bad = whole.clone();
            bad[at] ^= 4;
            std::fs::write(&first, &bad).unwrap();
            match open(dir.path(), SMALL).map(|_| ()).unwrap_err() {
                DiskError::Corrupt { file, offset: found, .. } => {
                    assert_eq!((file, found), (first.display().to_string(), offset));
                }
                other => panic!("{other}"),
            }
            assert_eq!(std::fs::read(&first).unwrap(), bad);
        }
        std::fs::write(&first, &whole[..whole.len() - 1]).unwrap();
        assert!(matches!(open(dir.path(), SMALL).map(|_| ()), Err(DiskError::Corrupt { .. })));
        std::fs::write(&first, &whole).unwrap();
        std::fs::remove_file(dir.path().join("wal-0000000000000002.log")).unwrap();
        let error = open(dir.path(), SMALL).map(|_| ()).unwrap_err().to_string();
        assert!(
            error.contains("0002.log at byte 0: this segment of the log is missing"),
            "{error}"
        );
    }

    #[test]
    fn a_segment_whose_creation_was_cut_short_is_made_again() {
        for leftover in [&b""[..], b"VIGIEW", &[0; HEADER_BYTES]] {
            let dir = tempfile::tempdir().unwrap();
            let wal = fill(dir.path(), 20);
            let next = SegmentId(wal.rotate().unwrap().0 + 1);
            drop(wal);
            std::fs::write(segment_path(dir.path(), next), leftover).unwrap();
            let (wal, records) = open(dir.path(), SMALL).unwrap();
            assert_eq!(records, numbered(0..20));
            assert_eq!(wal.segment(), next);
            wal.append(b"x").unwrap();
            drop(wal);
            assert_eq!(open(dir.path(), SMALL).unwrap().1.len(), 21);
        }
    }

    #[test]
    fn segments_before_a_rotation_can_be_removed() {
        let dir = tempfile::tempdir().unwrap();
        let wal = fill(dir.path(), 20);
        let id = wal.rotate().unwrap();
        wal.append(b"kept").unwrap();
        let before = wal.bytes();
        wal.remove_before(id).unwrap();
        assert!(wal.bytes() < before);
        wal.remove_before(SegmentId(u64::MAX)).unwrap();
        drop(wal);
        let (wal, records) = open(dir.path(), SMALL).unwrap();
        assert_eq!(records, [b"kept".to_vec()]);
        assert_eq!(wal.segment(), id);
    }

    #[test]
    fn many_threads_that_append_and_sync_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (wal, _) = open(dir.path(), WalOptions { segment_bytes: 500, gather_ms: 1 }).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let wal = &wal;
                scope.spawn(move || {
                    for n in 0..10 {
                        let lsn = wal.append(format!("{thread}/{n}").as_bytes()).unwrap();
                        wal.sync(lsn).unwrap();
                    }
                });
            }
        });
        wal.sync_all().unwrap();
        drop(wal);
        let mut records = open(dir.path(), SMALL).unwrap().1;
        assert_eq!(records.len(), 40);
        records.sort();
        records.dedup();
        assert_eq!(records.len(), 40);
    }

    /// A real disk whose files refuse to write or to sync when told so.
    #[derive(Default)]
    struct Moody {
        budget: Arc<Mutex<Option<usize>>>,
        sync_fails: Arc<Mutex<bool>>,
    }

    struct MoodyFile {
        file: Box<dyn DiskFile>,
        budget: Arc<Mutex<Option<usize>>>,
        sync_fails: Arc<Mutex<bool>>,
    }

    impl Moody {
        fn wrap(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
            let (budget, sync_fails) = (self.budget.clone(), self.sync_fails.clone());
            Box::new(MoodyFile { file, budget, sync_fails })
        }
    }

    impl Disk for Moody {
        fn create_dir_all(&self, dir: &Path) -> Result<(), DiskError> {
            RealDisk.create_dir_all(dir)
        }
        fn create(&self, path: &Path) -> Result<Box<dyn DiskFile>, DiskError> {
            RealDisk.create(path).map(|file| self.wrap(file))
        }
        fn append(&self, path: &Path) -> Result<Box<dyn DiskFile>, DiskError> {
            RealDisk.append(path).map(|file| self.wrap(file))
        }
        fn open(&self, path: &Path) -> Result<Box<dyn DiskFile>, DiskError> {
            RealDisk.open(path)
        }
        fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
            RealDisk.rename(from, to)
        }
        fn remove(&self, path: &Path) -> Result<(), DiskError> {
            RealDisk.remove(path)
        }
        fn list(&self, dir: &Path) -> Result<Vec<String>, DiskError> {
            RealDisk.list(dir)
        }
        fn sync_dir(&self, dir: &Path) -> Result<(), DiskError> {
            RealDisk.sync_dir(dir)
        }
        fn free_bytes(&self, _: &Path) -> Result<u64, DiskError> {
            Ok(0)
        }
        fn exists(&self, path: &Path) -> bool {
            path.exists()
        }
    }

    impl DiskFile for MoodyFile {
        fn path(&self) -> &Path {
            self.file.path()
        }
        fn append(&self, bytes: &[u8]) -> Result<(), DiskError> {
            let mut budget = self.budget.lock();
            let Some(left) = &mut *budget else { return self.file.append(bytes) };
            let part = bytes.len().min(*left);
            *left -= part;
            self.file.append(&bytes[..part])?;
            if part == bytes.len() {
                return Ok(());
            }
            Err(DiskError::Full { file: self.path().display().to_string(), free_bytes: 0 })
        }
        fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), DiskError> {
            self.file.read_at(offset, out)
        }
        fn len(&self) -> Result<u64, DiskError> {
            self.file.len()
        }
        fn truncate(&self, len: u64) -> Result<(), DiskError> {
            self.file.truncate(len)
        }
        fn sync(&self) -> Result<(), DiskError> {
            if *self.sync_fails.lock() {
                return Err(DiskError::io(self.path(), "Input/output error"));
            }
            self.file.sync()
        }
    }

    #[test]
    fn a_full_disk_is_an_error_and_writing_goes_on_when_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Moody::default();
        let budget = disk.budget.clone();
        let wal =
            Wal::open(Arc::new(disk), dir.path(), WalOptions::default(), &mut |_| Ok(())).unwrap();
        wal.append(b"before").unwrap();
        for room in [0, 5, 11] {
            *budget.lock() = Some(room);
            assert!(wal.append(b"refused").unwrap_err().is_full());
        }
        *budget.lock() = None;
        wal.append(b"after").unwrap();
        drop(wal);
        let records = open(dir.path(), SMALL).unwrap().1;
        assert_eq!(records, [b"before".to_vec(), b"after".to_vec()]);
    }

    #[test]
    fn after_a_failed_sync_nothing_more_is_accepted() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Moody::default();
        let sync_fails = disk.sync_fails.clone();
        let wal =
            Wal::open(Arc::new(disk), dir.path(), WalOptions::default(), &mut |_| Ok(())).unwrap();
        let lsn = wal.append(b"x").unwrap();
        *sync_fails.lock() = true;
        assert!(wal.sync(lsn).is_err());
        *sync_fails.lock() = false;
        assert!(wal.sync(lsn).is_err());
        assert!(wal.append(b"y").is_err());
        assert!(wal.rotate().is_err());
    }
}
