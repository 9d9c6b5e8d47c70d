//! A simulated disk that gives an input/output error now and then, when reading too if it is told to.

use super::simulated::Dice;
use std::path::Path;
use std::sync::{Arc, Mutex};
use vigie_disk::sim::SimDisk;
use vigie_disk::{Disk, DiskError, DiskFile};

/// How often something fails.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mood {
    /// One changing operation in so many; 0: none.
    pub change: u64,
    /// One reading operation in so many; 0: none.
    pub read: u64,
}

/// The disk. Clones are the same disk.
#[derive(Clone)]
pub struct MoodyDisk {
    disk: SimDisk,
    state: Arc<Mutex<(Mood, Dice)>>,
}

struct MoodyFile {
    disk: MoodyDisk,
    file: Box<dyn DiskFile>,
}

impl MoodyDisk {
    pub fn new(disk: SimDisk, seed: u64) -> MoodyDisk {
        MoodyDisk { disk, state: Arc::new(Mutex::new((Mood::default(), Dice(seed)))) }
    }

    pub fn set(&self, mood: Mood) {
        self.state.lock().unwrap().0 = mood;
    }

    fn fails(&self, one_in: impl Fn(Mood) -> u64) -> bool {
        let mut state = self.state.lock().unwrap();
        let one_in = one_in(state.0);
        one_in > 0 && state.1.roll(one_in) == 0
    }

    fn change(&self, path: &Path) -> Result<(), DiskError> {
        if self.fails(|mood| mood.change) { Err(broken(path)) } else { Ok(()) }
    }

    fn reading(&self, path: &Path) -> Result<(), DiskError> {
        if self.fails(|mood| mood.read) { Err(broken(path)) } else { Ok(()) }
    }

    fn wrap(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(MoodyFile { disk: self.clone(), file })
    }
}

fn broken(path: &Path) -> DiskError {
    DiskError::io(path, "Input/output error (os error 5)")
}

impl Disk for MoodyDisk {
    fn create_dir_all(&self, dir: &Path) -> Result<(), DiskError> {
        self.change(dir)?;
        self.disk.create_dir_all(dir)
    }

    fn create(&self, path: &Path) -> Result<Box<dyn DiskFile>, DiskError> {
        self.change(path)?;
        self.disk.create(path).map(|file| self.wrap(file))
    }

    fn append(&self, path: &Path) -> Result<Box<dyn DiskFile>, DiskError> {
        self.reading(path)?;
        self.disk.append(path).map(|file| self.wrap(file))
    }

    fn open(&self, path: &Path) -> Result<Box<dyn DiskFile>, DiskError> {
        self.reading(path)?;
        self.disk.open(path).map(|file| self.wrap(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        self.change(from)?;
        self.disk.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        self.change(from)?;
        self.disk.link(from, to)
    }

    fn remove(&self, path: &Path) -> Result<(), DiskError> {
        self.change(path)?;
        self.disk.remove(path)
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>, DiskError> {
        self.reading(dir)?;
        self.disk.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), DiskError> {
        self.change(dir)?;
        self.disk.sync_dir(dir)
    }

    fn free_bytes(&self, dir: &Path) -> Result<u64, DiskError> {
        self.disk.free_bytes(dir)
    }

    fn exists(&self, path: &Path) -> bool {
        self.disk.exists(path)
    }
}

impl DiskFile for MoodyFile {
    fn path(&self) -> &Path {
        self.file.path()
    }

    fn append(&self, bytes: &[u8]) -> Result<(), DiskError> {
        if let Err(error) = self.disk.change(self.path()) {
            // What a disk wrote before it failed is there.
            self.file.append(&bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        self.file.append(bytes)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), DiskError> {
        self.disk.reading(self.path())?;
        self.file.read_at(offset, out)
    }

    fn len(&self) -> Result<u64, DiskError> {
        self.file.len()
    }

    fn truncate(&self, len: u64) -> Result<(), DiskError> {
        self.disk.change(self.path())?;
        self.file.truncate(len)
    }

    fn sync(&self) -> Result<(), DiskError> {
        self.disk.change(self.path())?;
        self.file.sync()
    }
}
