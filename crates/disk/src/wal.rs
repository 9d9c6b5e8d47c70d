//! The write-ahead log: numbered segments of checksummed records, with group commit.
//!
//! The log owns the files `wal-*.log` of its directory and nothing else there.
//! [`Wal::append`] returns when the record is in the operating system's hands: it survives the
//! death of this process. [`Wal::sync`] returns when it survives a power cut; callers that wait at
//! the same time share one `fdatasync`.
//!
//! Invariants: a segment that is not the last is complete and synced; after a failed `fdatasync`
//! nothing more is accepted, because the system may have dropped what it could not write, until
//! [`Wal::heal`] has written the segment again;
//! a record that was not written whole is cut away before the next one.
//! Locks: `tail` may be held while `commit` is taken, never the other way round.
//! The format and the rules of recovery stand in `docs/formats/wal.md`.

mod recovery;

use crate::rescue::damaged_path;
use crate::{Disk, DiskError, DiskFile, record, write_again};
use parking_lot::{Condvar, Mutex};
use recovery::{Found, create_segment, segment_path};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const HEADER_BYTES: usize = 28;
/// A buffer longer than this is not kept from one append to the next.
const SCRATCH_BYTES_MAX: usize = 256 * 1024;

/// The number of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub u64);

/// The place of a record in the order of appends since the log was opened; the first is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

/// Why a record was not taken by who replays it.
#[derive(Clone, Debug)]
pub enum Refused {
    /// It does not fit to those before it, though its checksum holds.
    Record(&'static str),
    /// Something else went wrong.
    Disk(DiskError),
}

impl From<&'static str> for Refused {
    fn from(what: &'static str) -> Refused {
        Refused::Record(what)
    }
}

impl From<DiskError> for Refused {
    fn from(error: DiskError) -> Refused {
        Refused::Disk(error)
    }
}

/// Takes a record that is replayed.
type Replay<'a> = dyn FnMut(&[u8]) -> Result<(), Refused> + 'a;

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
    damage: Vec<DiskError>,
    /// Segments with damaged records, which are kept under another name when the log is cut.
    damaged: Vec<SegmentId>,
}

/// The segment being written.
struct Tail {
    file: Arc<dyn DiskFile>,
    /// All segments, ascending, the one being written last, with their lengths.
    segments: VecDeque<(SegmentId, u64)>,
    written: Lsn,
    /// Bytes of a record that failed may stand behind the last good one.
    ragged: bool,
    /// The next segment may lie there unfinished. While it does, this one would be taken for
    /// complete.
    stillborn: bool,
    scratch: Vec<u8>,
}

impl Tail {
    fn segment(&self) -> SegmentId {
        self.segments.back().expect("a log has a segment").0
    }

    fn next_segment(&self) -> SegmentId {
        SegmentId(self.segment().0 + 1)
    }

    /// Cuts away what is left of a record that failed.
    fn trim(&mut self) -> Result<(), DiskError> {
        if self.ragged {
            let len = *self.len_mut();
            self.file.truncate(len)?;
            self.ragged = false;
        }
        Ok(())
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
    ///
    /// Damage is passed over, told by [`Wal::damage`], and its files are kept under another name.
    /// Behind it a record that does not fit is damage too: it builds on what is lost, and so may
    /// all that follows, which is put aside.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: WalOptions,
        replay: &mut Replay<'_>,
    ) -> Result<Wal, DiskError> {
        disk.create_dir_all(dir)?;
        let mut found = Found::default();
        found.read(&*disk, dir, replay)?;
        let Found { mut segments, damaged, damage, cut_bytes } = found;
        for error in &damage {
            tracing::error!(%error, "a part of the log is lost; the file is kept as *.damaged");
        }
        let file = match segments.back() {
            Some((id, _)) => disk.append(&segment_path(dir, *id))?,
            None => {
                segments.push_back((SegmentId(1), HEADER_BYTES as u64));
                create_segment(&*disk, dir, SegmentId(1))?
            }
        };
        // What was replayed counts as kept from here on: a process that died may have synced
        // neither the records nor the name of the segment.
        file.sync()?;
        disk.sync_dir(dir)?;
        let tail = Tail {
            file: file.into(),
            segments,
            written: Lsn(0),
            ragged: false,
            stillborn: false,
            scratch: Vec::new(),
        };
        let commit = Commit { durable: Lsn(0), syncing: false, failed: None };
        let wal = Wal {
            disk,
            dir: dir.to_path_buf(),
            options,
            tail: Mutex::new(tail),
            commit: Mutex::new(commit),
            committed: Condvar::new(),
            cut_bytes,
            damage,
            damaged,
        };
        if wal.damaged.contains(&wal.segment()) {
            wal.rotate()?;
        }
        Ok(wal)
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
        if tail.stillborn {
            self.remove_stillborn(&mut tail)?;
        }
        tail.trim()?;
        let mut scratch = std::mem::take(&mut tail.scratch);
        scratch.clear();
        record::encode(payload, &mut scratch);
        let written = tail.file.append(&scratch);
        let record_bytes = scratch.len() as u64;
        // One large push must not hold its memory for ever.
        if scratch.capacity() <= SCRATCH_BYTES_MAX {
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
                Err(e) => commit.failed = Some(e.not_kept()),
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
        // Most of the work before the lock that appends wait for.
        self.sync_all()?;
        let mut tail = self.tail.lock();
        self.refuse_if_failed()?;
        self.rotate_locked(&mut tail)?;
        Ok(tail.segment())
    }

    /// Removes the segments before `id`, oldest first. The one being written always stays.
    pub fn remove_before(&self, id: SegmentId) -> Result<(), DiskError> {
        let mut tail = self.tail.lock();
        while tail.segments.len() > 1 {
            let Some((oldest, _)) = tail.segments.front().copied() else { break };
            if oldest >= id {
                break;
            }
            let path = segment_path(&self.dir, oldest);
            let aside = damaged_path(&path);
            match self.damaged.contains(&oldest) && !self.disk.exists(&aside) {
                true => self.disk.rename(&path, &aside)?,
                false => self.disk.remove(&path)?,
            }
            tail.segments.pop_front();
            // One after the other: a power cut that kept a later removal only would leave a gap.
            self.disk.sync_dir(&self.dir)?;
        }
        Ok(())
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

    /// Takes up work again after a failed `fdatasync`: the segment is written again from what can
    /// still be read of it, and takes the old one's place when it is durable. Nothing to do, and
    /// free, when no sync has failed.
    pub fn heal(&self) -> Result<(), DiskError> {
        let mut tail = self.tail.lock();
        if self.refuse_if_failed().is_ok() {
            return Ok(());
        }
        let len = *tail.len_mut();
        tail.file = write_again(&*self.disk, &*tail.file, HEADER_BYTES as u64, len)?.into();
        tail.ragged = false;
        let mut commit = self.commit.lock();
        commit.failed = None;
        commit.durable = commit.durable.max(tail.written);
        tracing::warn!(file = %tail.file.path().display(), "the log was written again and goes on");
        Ok(())
    }

    /// What opening the log found damaged, and passed over.
    pub fn damage(&self) -> &[DiskError] {
        &self.damage
    }

    fn remove_stillborn(&self, tail: &mut Tail) -> Result<(), DiskError> {
        let path = segment_path(&self.dir, tail.next_segment());
        if self.disk.exists(&path) {
            self.disk.remove(&path)?;
        }
        self.disk.sync_dir(&self.dir)?;
        tail.stillborn = false;
        Ok(())
    }

    fn refuse_if_failed(&self) -> Result<(), DiskError> {
        match &self.commit.lock().failed {
            Some(e) => Err(e.clone()),
            None => Ok(()),
        }
    }

    /// The order of the steps is rule 2 of the format.
    fn rotate_locked(&self, tail: &mut Tail) -> Result<(), DiskError> {
        tail.trim()?;
        let synced = tail.file.sync().map_err(DiskError::not_kept);
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
        let next = tail.next_segment();
        tail.stillborn = true;
        tail.file = create_segment(&*self.disk, &self.dir, next)?.into();
        tail.stillborn = false;
        tail.segments.push_back((next, HEADER_BYTES as u64));
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
        let long: Vec<u8> = (0..record::READ_BYTES * 3 + 17).map(|n| n as u8).collect();
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
        let roomy = WalOptions { segment_bytes: 1 << 20, ..SMALL };
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
        let mut flipped = whole[..ends[4]].to_vec();
        flipped[ends[3] + 10] ^= 1;
        std::fs::write(&path, &flipped).unwrap();
        let (wal, records) = open(dir.path(), roomy).unwrap();
        assert_eq!(records, numbered(0..3));
        assert_eq!(wal.cut_bytes(), (ends[4] - ends[3]) as u64);
    }

    /// What is read of 20 records, four to a segment, one file of which is changed first; and what
    /// is read when the log is opened again after one more.
    fn read_damaged(change: impl Fn(&Path)) -> (Vec<Vec<u8>>, Vec<DiskError>, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        drop(fill(dir.path(), 20));
        change(dir.path());
        let (wal, records) = open(dir.path(), SMALL).unwrap();
        wal.append(b"one more").unwrap();
        wal.remove_before(SegmentId(2)).unwrap();
        let damage = wal.damage().to_vec();
        drop(wal);
        let again = open(dir.path(), SMALL).unwrap().1;
        assert_eq!(again.last().unwrap(), b"one more");
        (records, damage, dir)
    }

    fn flip(path: &Path, at: usize) {
        let mut bytes = std::fs::read(path).unwrap();
        bytes[at] ^= 4;
        std::fs::write(path, bytes).unwrap();
    }

    #[test]
    fn damage_names_file_and_offset_and_the_rest_is_read() {
        let first = |dir: &Path| segment_path(dir, SegmentId(1));
        let second = HEADER_BYTES + record::HEADER_BYTES + "record number 0".len();
        let all = numbered(0..20);
        // A flipped byte, where the damage is found, and which records are lost.
        for (at, offset, lost) in [
            (9, 0, 0..0),
            (17, 0, 0..0),
            (HEADER_BYTES + 9, HEADER_BYTES, 0..1),
            (HEADER_BYTES, HEADER_BYTES, 0..1),
            (second + 9, second, 1..2),
            (second + 3, second, 1..2),
        ] {
            let (records, damage, dir) = read_damaged(|dir| flip(&first(dir), at));
            let file = first(dir.path());
            let left: Vec<_> = [&all[..lost.start], &all[lost.end..]].concat();
            assert_eq!(records, left, "byte {at}");
            assert_eq!(damage.len(), 1);
            let words = format!("{} at byte {offset}: ", file.display());
            assert!(damage[0].to_string().starts_with(&words), "{}", damage[0]);
            assert!(!file.exists() && damaged_path(&file).exists(), "byte {at}");
        }
    }

    #[test]
    fn behind_damage_a_record_that_does_not_fit_and_all_that_follows_are_put_aside() {
        let misfit = b"record number 6";
        let open_until_misfit = |dir: &Path| {
            let mut records = Vec::new();
            let wal = Wal::open(Arc::new(RealDisk), dir, SMALL, &mut |payload| {
                if payload == misfit {
                    return Err("it builds on what is lost".into());
                }
                records.push(payload.to_vec());
                Ok(())
            });
            wal.map(|wal| (wal, records))
        };
        let dir = tempfile::tempdir().unwrap();
        drop(fill(dir.path(), 20));
        let error = open_until_misfit(dir.path()).map(|_| ()).unwrap_err().to_string();
        assert!(error.ends_with("it builds on what is lost"), "without damage: {error}");
        flip(&segment_path(dir.path(), SegmentId(1)), HEADER_BYTES + 9);
        let (wal, records) = open_until_misfit(dir.path()).unwrap();
        assert_eq!(records, numbered(1..6));
        assert_eq!(wal.damage().len(), 2);
        wal.append(b"one more").unwrap();
        drop(wal);
        let names = RealDisk.list(dir.path()).unwrap();
        assert_eq!(names.iter().filter(|name| name.ends_with(".damaged")).count(), 5, "{names:?}");
        let (wal, records) = open_until_misfit(dir.path()).unwrap();
        assert_eq!(records, [numbered(1..6), vec![b"one more".to_vec()]].concat());
        wal.remove_before(wal.segment()).unwrap();
        drop(wal);
        assert_eq!(open(dir.path(), SMALL).unwrap().1, [b"one more".to_vec()]);
    }

    #[test]
    fn a_missing_segment_is_damage_and_another_version_is_refused() {
        let remove = |dir: &Path| std::fs::remove_file(segment_path(dir, SegmentId(2))).unwrap();
        let (records, damage, _) = read_damaged(remove);
        assert_eq!(records.len(), 16);
        let words = "0002.log at byte 0: this segment of the log is missing";
        assert!(damage[0].to_string().contains(words), "{}", damage[0]);
        let dir = tempfile::tempdir().unwrap();
        drop(fill(dir.path(), 20));
        let path = segment_path(dir.path(), SegmentId(1));
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[8] = 2;
        let crc = crc32c::crc32c(&bytes[..24]);
        bytes[24..28].copy_from_slice(&crc.to_le_bytes());
        std::fs::write(&path, &bytes).unwrap();
        let error = open(dir.path(), SMALL).map(|_| ()).unwrap_err().to_string();
        assert!(error.ends_with("has version 2; this Vigie reads version 1"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }

    #[test]
    fn damage_in_the_middle_of_the_last_segment_is_told_and_never_written_behind() {
        let dir = tempfile::tempdir().unwrap();
        let options = WalOptions { segment_bytes: 1 << 20, ..SMALL };
        let (wal, _) = open(dir.path(), options).unwrap();
        for payload in numbered(0..5) {
            wal.append(&payload).unwrap();
        }
        drop(wal);
        flip(&last_segment(dir.path()), HEADER_BYTES + 10);
        let (wal, records) = open(dir.path(), options).unwrap();
        assert_eq!(records, numbered(1..5));
        assert_eq!((wal.damage().len(), wal.cut_bytes()), (1, 0));
        wal.append(b"next").unwrap();
        assert_eq!(wal.segment(), SegmentId(2));
        drop(wal);
        assert_eq!(open(dir.path(), options).unwrap().1.len(), 5);
    }

    #[test]
    fn a_segment_that_could_not_be_started_does_not_end_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Moody::default();
        let budget = disk.budget.clone();
        let wal =
            Wal::open(Arc::new(disk), dir.path(), WalOptions::default(), &mut |_| Ok(())).unwrap();
        wal.append(b"before").unwrap();
        *budget.lock() = Some(5);
        assert!(wal.rotate().unwrap_err().is_full());
        *budget.lock() = None;
        wal.append(b"after").unwrap();
        drop(wal);
        // The process dies in the middle of a record: only a last segment may end so.
        let path = segment_path(dir.path(), SegmentId(1));
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        let (wal, records) = open(dir.path(), SMALL).unwrap();
        assert_eq!(records, [b"before".to_vec()]);
        assert!(wal.damage().is_empty(), "{:?}", wal.damage());
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
        fn link(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
            RealDisk.link(from, to)
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
    fn after_a_failed_sync_nothing_more_is_accepted_until_the_segment_is_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Moody::default();
        let (sync_fails, budget) = (disk.sync_fails.clone(), disk.budget.clone());
        let wal =
            Wal::open(Arc::new(disk), dir.path(), WalOptions::default(), &mut |_| Ok(())).unwrap();
        wal.heal().unwrap();
        let lsn = wal.append(b"x").unwrap();
        *sync_fails.lock() = true;
        let error = wal.sync(lsn).unwrap_err();
        assert!(error.to_string().contains("the disk did not keep what was written"), "{error}");
        *sync_fails.lock() = false;
        assert_eq!(wal.sync(lsn), Err(error.clone()));
        assert_eq!(wal.append(b"y"), Err(error.clone()));
        assert_eq!(wal.rotate(), Err(error));
        // It cannot be written again yet, and then it can.
        *budget.lock() = Some(9);
        assert!(wal.heal().unwrap_err().is_full());
        *budget.lock() = None;
        *sync_fails.lock() = true;
        wal.heal().unwrap_err();
        *sync_fails.lock() = false;
        assert!(wal.append(b"y").is_err());
        wal.heal().unwrap();
        wal.sync(lsn).unwrap();
        let lsn = wal.append(b"z").unwrap();
        wal.sync(lsn).unwrap();
        drop(wal);
        std::fs::write(dir.path().join("wal-0000000000000001.log.tmp"), b"left over").unwrap();
        let records = open(dir.path(), SMALL).unwrap().1;
        assert_eq!(records, [b"x".to_vec(), b"z".to_vec()]);
        assert_eq!(RealDisk.list(dir.path()).unwrap().len(), 1);
    }
}
