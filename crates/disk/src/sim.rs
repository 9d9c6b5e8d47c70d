//! A disk in memory that loses what was not synced, for tests of what survives a power cut.
//!
//! It keeps two states of everything: what a running program sees, and what is on the platter.
//! A file's bytes reach the platter with [`DiskFile::sync`], a directory's names with
//! [`Disk::sync_dir`]. [`SimDisk::power_cut`] throws the first state away, except for a part that a
//! real disk may have written on its own, drawn from the seed: a prefix of every unsynced tail, with or
//! without zeros behind it; and of the unsynced changes of names a prefix, or some of them.
//! [`SimDisk::fail_sync_after`] makes one sync fail as it does on Linux: what it should have written is
//! taken for clean, and no later sync of the file brings it to the platter.
//! [`SimDisk::stop_after`] makes every operation fail from some moment on, so that a test can cut
//! the power between any two steps.

use crate::{Disk, DiskError, DiskFile, parent};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Syncs that the disk says it did and did not: planted faults, with which a test proves that it
/// would notice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lies {
    /// `sync` of a file does nothing.
    pub file_sync: bool,
    /// `sync_dir` does nothing.
    pub dir_sync: bool,
    /// Only for files whose path has this in it, and for directories whose path ends so.
    pub of: &'static str,
}

/// The simulated disk. Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

struct State {
    /// Contents by number; a file that is open lives on without a name.
    files: Vec<Contents>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    /// Changes of names since the last sync of their directories, in order.
    unsynced: Vec<Change>,
    operations_left: Option<u64>,
    free_bytes: u64,
    syncs_left: Option<u64>,
    lies: Lies,
    random: u64,
}

#[derive(Clone, Default)]
struct Contents {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    /// From where to where a failed sync has dropped what was written.
    dropped: Vec<(usize, usize)>,
}

impl Contents {
    /// What a sync brings to the platter.
    fn kept(&self) -> Vec<u8> {
        let mut kept = self.bytes.clone();
        for (from, to) in &self.dropped {
            let to = kept.len().min(*to);
            kept[to.min(*from)..to].fill(0);
        }
        kept
    }
}

enum Change {
    Name(PathBuf, usize),
    Forget(PathBuf),
    Rename(PathBuf, PathBuf),
}

struct SimFile {
    disk: SimDisk,
    path: PathBuf,
    number: usize,
}

impl SimDisk {
    /// An empty disk; the seed decides what survives power cuts.
    pub fn new(seed: u64) -> SimDisk {
        SimDisk {
            state: Arc::new(Mutex::new(State {
                files: Vec::new(),
                names: BTreeMap::new(),
                durable_names: BTreeMap::new(),
                unsynced: Vec::new(),
                operations_left: None,
                free_bytes: u64::MAX,
                syncs_left: None,
                lies: Lies::default(),
                random: seed,
            })),
        }
    }

    /// Plants faults.
    pub fn lie(&self, lies: Lies) {
        self.state.lock().lies = lies;
    }

    /// After this many changing operations every further one fails, until the power comes back.
    pub fn stop_after(&self, operations: u64) {
        self.state.lock().operations_left = Some(operations);
    }

    /// What [`Disk::free_bytes`] says; appends that do not fit fail half-way.
    pub fn set_free_bytes(&self, free_bytes: u64) {
        self.state.lock().free_bytes = free_bytes;
    }

    /// After this many more syncs of files one fails, and the system forgets what was not synced;
    /// `None`: none does.
    pub fn fail_sync_after(&self, syncs: Option<u64>) {
        self.state.lock().syncs_left = syncs;
    }

    /// Only the program died: what it had written is there, synced or not.
    pub fn revive(&self) {
        self.state.lock().operations_left = None;
    }

    /// Cuts the power and brings it back: what was not synced is gone, or a prefix of it is left.
    pub fn power_cut(&self) {
        let mut state = self.state.lock();
        state.operations_left = None;
        let changes: Vec<Change> = std::mem::take(&mut state.unsynced);
        let kept = state.below(changes.len() as u64 + 1) as usize;
        // Without a sync between them, a later change may be kept and an earlier one not.
        let in_order = state.below(2) == 0;
        let mut names = std::mem::take(&mut state.durable_names);
        for (at, change) in changes.into_iter().enumerate() {
            if if in_order { at < kept } else { state.below(2) == 0 } {
                apply(&change, &mut names);
            }
        }
        for at in 0..state.files.len() {
            let bytes = state.files[at].kept();
            let mut left = state.files[at].durable.clone();
            if bytes.len() >= left.len() && bytes.starts_with(&left) {
                let tail = &bytes[left.len()..];
                let kept = state.below(tail.len() as u64 + 1) as usize;
                left.extend_from_slice(&tail[..kept]);
                if state.below(4) == 0 {
                    // The length was written, and not all that it counts.
                    let zeros = state.below((tail.len() - kept) as u64 + 1) as usize;
                    left.resize(left.len() + zeros, 0);
                }
            } else if state.below(2) == 0 {
                // A cut that was not synced may have happened or not.
                left = bytes;
            }
            state.files[at] = Contents { bytes: left.clone(), durable: left, dropped: Vec::new() };
        }
        state.names = names.clone();
        state.durable_names = names;
    }
}

impl State {
    fn below(&mut self, end: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) % end
    }

    fn change(&mut self, path: &Path) -> Result<(), DiskError> {
        match &mut self.operations_left {
            Some(0) => Err(DiskError::io(path, "the power is off")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn number(&self, path: &Path) -> Result<usize, DiskError> {
        self.names.get(path).copied().ok_or_else(|| DiskError::io(path, "No such file"))
    }

    fn rename(&mut self, change: Change) {
        apply(&change, &mut self.names);
        self.unsynced.push(change);
    }
}

fn apply(change: &Change, names: &mut BTreeMap<PathBuf, usize>) {
    match change {
        Change::Name(path, number) => {
            names.insert(path.clone(), *number);
        }
        Change::Forget(path) => {
            names.remove(path);
        }
        Change::Rename(from, to) => {
            if let Some(number) = names.remove(from) {
                names.insert(to.clone(), number);
            }
        }
    }
}

impl Change {
    fn is_in(&self, dir: &Path) -> bool {
        let (Change::Name(path, _) | Change::Forget(path) | Change::Rename(_, path)) = self;
        parent(path) == dir
    }
}

impl Disk for SimDisk {
    fn create_dir_all(&self, dir: &Path) -> Result<(), DiskError> {
        self.state.lock().change(dir)
    }

    fn create(&self, path: &Path) -> Result<Box<dyn DiskFile>, DiskError> {
        let mut state = self.state.lock();
        state.change(path)?;
        let number = match state.names.get(path) {
            Some(number) => *number,
            None => {
                let number = state.files.len();
                state.files.push(Contents::default());
                state.rename(Change::Name(path.to_path_buf(), number));
                number
            }
        };
        state.files[number].bytes.clear();
        state.files[number].dropped.clear();
        Ok(Box::new(SimFile { disk: self.clone(), path: path.to_path_buf(), number }))
    }

    fn append(&self, path: &Path) -> Result<Box<dyn DiskFile>, DiskError> {
        let number = self.state.lock().number(path)?;
        Ok(Box::new(SimFile { disk: self.clone(), path: path.to_path_buf(), number }))
    }

    fn open(&self, path: &Path) -> Result<Box<dyn DiskFile>, DiskError> {
        self.append(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        let mut state = self.state.lock();
        state.change(from)?;
        state.number(from)?;
        state.rename(Change::Rename(from.to_path_buf(), to.to_path_buf()));
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        let mut state = self.state.lock();
        state.change(from)?;
        let number = state.number(from)?;
        if state.names.contains_key(to) {
            return Err(DiskError::io(to, "File exists"));
        }
        state.rename(Change::Name(to.to_path_buf(), number));
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<(), DiskError> {
        let mut state = self.state.lock();
        state.change(path)?;
        state.number(path)?;
        state.rename(Change::Forget(path.to_path_buf()));
        Ok(())
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>, DiskError> {
        let state = self.state.lock();
        let here = state.names.keys().filter(|path| parent(path) == dir);
        let names = here.filter_map(|path| path.file_name()?.to_str().map(str::to_owned));
        Ok(names.collect())
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), DiskError> {
        let mut state = self.state.lock();
        state.change(dir)?;
        if state.lies.dir_sync && dir.to_string_lossy().ends_with(state.lies.of) {
            return Ok(());
        }
        let (synced, left): (Vec<Change>, Vec<Change>) =
            std::mem::take(&mut state.unsynced).into_iter().partition(|c| c.is_in(dir));
        state.unsynced = left;
        for change in synced {
            apply(&change, &mut state.durable_names);
        }
        Ok(())
    }

    fn free_bytes(&self, _: &Path) -> Result<u64, DiskError> {
        Ok(self.state.lock().free_bytes)
    }

    fn exists(&self, path: &Path) -> bool {
        self.state.lock().names.contains_key(path)
    }
}

impl DiskFile for SimFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn append(&self, bytes: &[u8]) -> Result<(), DiskError> {
        let mut state = self.disk.state.lock();
        state.change(&self.path)?;
        let fits = bytes.len().min(usize::try_from(state.free_bytes).unwrap_or(usize::MAX));
        state.files[self.number].bytes.extend_from_slice(&bytes[..fits]);
        if state.free_bytes != u64::MAX {
            state.free_bytes -= fits as u64;
        }
        if fits < bytes.len() {
            let file = self.path.display().to_string();
            return Err(DiskError::Full { file, free_bytes: state.free_bytes });
        }
        Ok(())
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), DiskError> {
        let state = self.disk.state.lock();
        let bytes = &state.files[self.number].bytes;
        let range = usize::try_from(offset).ok().and_then(|at| bytes.get(at..at + out.len()));
        let here = range.ok_or_else(|| DiskError::corrupt(&self.path, offset, "the file ends"))?;
        out.copy_from_slice(here);
        Ok(())
    }

    fn len(&self) -> Result<u64, DiskError> {
        Ok(self.disk.state.lock().files[self.number].bytes.len() as u64)
    }

    fn truncate(&self, len: u64) -> Result<(), DiskError> {
        let mut state = self.disk.state.lock();
        state.change(&self.path)?;
        let contents = &mut state.files[self.number];
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        contents.bytes.truncate(len);
        contents.dropped.iter_mut().for_each(|(_, to)| *to = len.min(*to));
        Ok(())
    }

    fn sync(&self) -> Result<(), DiskError> {
        let mut state = self.disk.state.lock();
        state.change(&self.path)?;
        let lies = state.lies.file_sync && self.path.to_string_lossy().contains(state.lies.of);
        let fails = state.syncs_left == Some(0);
        state.syncs_left = state.syncs_left.and_then(|left| left.checked_sub(1));
        let contents = &mut state.files[self.number];
        if fails {
            contents.dropped.push((contents.durable.len(), contents.bytes.len()));
            return Err(DiskError::io(&self.path, "Input/output error"));
        }
        if !lies {
            contents.durable = contents.kept();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_synced_is_sure_to_survive() {
        let (mut lost_bytes, mut zeros, mut lost_names) = (0, 0, 0);
        for seed in 0..50 {
            let disk = SimDisk::new(seed);
            let (dir, path) = (Path::new("/d"), Path::new("/d/file"));
            let file = disk.create(path).unwrap();
            file.append(b"synced").unwrap();
            file.sync().unwrap();
            disk.sync_dir(dir).unwrap();
            file.append(b" and not").unwrap();
            disk.create(Path::new("/d/other")).unwrap();
            disk.power_cut();
            let bytes = disk.read(path, 100).unwrap();
            let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            assert!(b"synced and not".starts_with(&bytes[..written]) && written >= 6);
            assert!(bytes.len() <= 14, "no longer than it was");
            zeros += u32::from(written < bytes.len());
            lost_bytes += u32::from(written < 14);
            lost_names += u32::from(!disk.exists(Path::new("/d/other")));
        }
        assert!(lost_bytes > 10 && lost_names > 10, "{lost_bytes} {lost_names}");
        assert!(zeros > 2, "{zeros}");
    }

    #[test]
    fn of_changes_of_names_that_were_not_synced_a_later_one_may_be_kept_alone() {
        let (mut first_alone, mut second_alone) = (0, 0);
        for seed in 0..100 {
            let disk = SimDisk::new(seed);
            let paths = [Path::new("/d/a"), Path::new("/d/b")];
            paths.iter().for_each(|path| drop(disk.create(path).unwrap()));
            disk.power_cut();
            match paths.map(|path| disk.exists(path)) {
                [true, false] => first_alone += 1,
                [false, true] => second_alone += 1,
                _ => {}
            }
        }
        assert!(first_alone > 10 && second_alone > 5, "{first_alone} {second_alone}");
    }

    #[test]
    fn after_a_failed_sync_a_second_one_says_that_all_is_well() {
        let disk = SimDisk::new(0);
        let path = Path::new("/d/file");
        let file = disk.create(path).unwrap();
        disk.sync_dir(Path::new("/d")).unwrap();
        file.append(b"ab").unwrap();
        file.sync().unwrap();
        file.append(b"cd").unwrap();
        disk.fail_sync_after(Some(0));
        file.sync().unwrap_err();
        file.append(b"ef").unwrap();
        file.sync().unwrap();
        assert_eq!(disk.read(path, 100).unwrap(), b"abcdef");
        disk.power_cut();
        assert_eq!(disk.read(path, 100).unwrap(), b"ab\0\0ef");
    }
}
