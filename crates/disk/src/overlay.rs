//! A disk that is read and never written: changes stay in memory.
//!
//! A store that is opened on it recovers as at a start, and nothing of that reaches the files; so a
//! directory can be looked at while the program that owns it runs, or when it must not be touched.
//! A file has the length that it had when it was opened; what is appended to it later, by its owner,
//! is not seen.

use crate::{Disk, DiskError, DiskFile, RealDisk, parent};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The operating system's files with changes in memory. Clones are the same disk.
#[derive(Clone, Default)]
pub struct OverlayDisk {
    /// What was changed: a file, or that there is none.
    changed: Arc<Mutex<BTreeMap<PathBuf, Option<Arc<Contents>>>>>,
}

/// A file: the first bytes of a real one, and what was appended.
struct Contents {
    real: Option<Box<dyn DiskFile>>,
    state: Mutex<State>,
}

struct State {
    real_bytes: u64,
    tail: Vec<u8>,
}

struct OverlayFile {
    path: PathBuf,
    contents: Arc<Contents>,
}

impl OverlayDisk {
    fn contents(&self, path: &Path) -> Result<Arc<Contents>, DiskError> {
        let mut changed = self.changed.lock();
        match changed.get(path) {
            Some(Some(contents)) => Ok(contents.clone()),
            Some(None) => Err(DiskError::io(path, "No such file")),
            None => {
                let real = RealDisk.open(path)?;
                let state = State { real_bytes: real.len()?, tail: Vec::new() };
                let contents = Arc::new(Contents { real: Some(real), state: Mutex::new(state) });
                // Kept, so that every later reader sees the same length.
                changed.insert(path.to_path_buf(), Some(contents.clone()));
                Ok(contents)
            }
        }
    }

    fn file(path: &Path, contents: Arc<Contents>) -> Box<dyn DiskFile> {
        Box::new(OverlayFile { path: path.to_path_buf(), contents })
    }
}

impl Disk for OverlayDisk {
    fn create_dir_all(&self, _: &Path) -> Result<(), DiskError> {
        Ok(())
    }

    fn create(&self, path: &Path) -> Result<Box<dyn DiskFile>, DiskError> {
        let state = State { real_bytes: 0, tail: Vec::new() };
        let contents = Arc::new(Contents { real: None, state: Mutex::new(state) });
        self.changed.lock().insert(path.to_path_buf(), Some(contents.clone()));
        Ok(OverlayDisk::file(path, contents))
    }

    fn append(&self, path: &Path) -> Result<Box<dyn DiskFile>, DiskError> {
        Ok(OverlayDisk::file(path, self.contents(path)?))
    }

    fn open(&self, path: &Path) -> Result<Box<dyn DiskFile>, DiskError> {
        self.append(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        let contents = self.contents(from)?;
        let mut changed = self.changed.lock();
        changed.insert(from.to_path_buf(), None);
        changed.insert(to.to_path_buf(), Some(contents));
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        let contents = self.contents(from)?;
        self.changed.lock().insert(to.to_path_buf(), Some(contents));
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<(), DiskError> {
        self.contents(path)?;
        self.changed.lock().insert(path.to_path_buf(), None);
        Ok(())
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>, DiskError> {
        let mut names = if dir.is_dir() { RealDisk.list(dir)? } else { Vec::new() };
        for (path, contents) in self.changed.lock().iter().filter(|(p, _)| parent(p) == dir) {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            names.retain(|other| other != name);
            if contents.is_some() {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn sync_dir(&self, _: &Path) -> Result<(), DiskError> {
        Ok(())
    }

    fn free_bytes(&self, _: &Path) -> Result<u64, DiskError> {
        Ok(u64::MAX)
    }

    fn exists(&self, path: &Path) -> bool {
        match self.changed.lock().get(path) {
            Some(contents) => contents.is_some(),
            None => RealDisk.exists(path),
        }
    }
}

impl DiskFile for OverlayFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn append(&self, bytes: &[u8]) -> Result<(), DiskError> {
        self.contents.state.lock().tail.extend_from_slice(bytes);
        Ok(())
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), DiskError> {
        let state = self.contents.state.lock();
        let real_bytes = state.real_bytes.saturating_sub(offset).min(out.len() as u64) as usize;
        let (real, tail) = out.split_at_mut(real_bytes);
        if let (Some(file), false) = (&self.contents.real, real.is_empty()) {
            file.read_at(offset, real)?;
        }
        let from = offset.saturating_sub(state.real_bytes);
        let here =
            usize::try_from(from).ok().and_then(|at| state.tail.get(at..)?.get(..tail.len()));
        match here {
            Some(here) => tail.copy_from_slice(here),
            None if tail.is_empty() => {}
            None => {
                let what = format!("the file ends before the {} bytes expected here", out.len());
                return Err(DiskError::corrupt(&self.path, offset, what));
            }
        }
        Ok(())
    }

    fn len(&self) -> Result<u64, DiskError> {
        let state = self.contents.state.lock();
        Ok(state.real_bytes + state.tail.len() as u64)
    }

    fn truncate(&self, len: u64) -> Result<(), DiskError> {
        let mut state = self.contents.state.lock();
        let tail = len.saturating_sub(state.real_bytes);
        state.tail.truncate(usize::try_from(tail).unwrap_or(usize::MAX));
        state.real_bytes = state.real_bytes.min(len);
        Ok(())
    }

    fn sync(&self) -> Result<(), DiskError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_can_be_changed_and_nothing_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["a", "b", "c"] {
            std::fs::write(path(name), "hello world").unwrap();
        }
        let disk = OverlayDisk::default();
        let file = disk.append(&path("a")).unwrap();
        file.truncate(5).unwrap();
        file.append(b" there").unwrap();
        // What the owner appends is not seen.
        std::fs::write(path("c"), "hello world, again").unwrap();
        assert_eq!(disk.read(&path("a"), 100).unwrap(), b"hello there");
        let mut some = [0; 5];
        file.read_at(3, &mut some).unwrap();
        assert_eq!(&some, b"lo th");
        assert!(file.read_at(8, &mut some).unwrap_err().is_corrupt());
        disk.rename(&path("a"), &path("d")).unwrap();
        disk.remove(&path("b")).unwrap();
        disk.create(&path("e")).unwrap().append(b"new").unwrap();
        assert_eq!(disk.list(dir.path()).unwrap(), ["c", "d", "e"]);
        assert!(!disk.exists(&path("a")) && disk.exists(&path("d")));
        assert_eq!(RealDisk.list(dir.path()).unwrap(), ["a", "b", "c"]);
        assert_eq!(std::fs::read(path("a")).unwrap(), b"hello world");
    }
}
