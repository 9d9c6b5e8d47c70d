//! The real disk: the operating system's files, unbuffered, with its errors made readable.

use crate::{Disk, DiskError, DiskFile, parent};
use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The operating system's file systems.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

struct RealFile {
    file: File,
    path: PathBuf,
}

impl RealDisk {
    fn file(options: &OpenOptions, path: &Path) -> Result<Box<dyn DiskFile>, DiskError> {
        match options.open(path) {
            Ok(file) => Ok(Box::new(RealFile { file, path: path.to_path_buf() })),
            Err(e) => Err(readable(path, &e)),
        }
    }
}

impl Disk for RealDisk {
    fn create_dir_all(&self, dir: &Path) -> Result<(), DiskError> {
        let made: Vec<&Path> = dir.ancestors().take_while(|dir| !dir.exists()).collect();
        std::fs::create_dir_all(dir).map_err(|e| match e.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => readable(dir, &e),
            _ => DiskError::NotWritable { dir: dir.display().to_string(), what: words(&e) },
        })?;
        // A directory whose name is not durable takes its files with it.
        made.iter().rev().try_for_each(|dir| self.sync_dir(&parent(dir)))
    }

    fn create(&self, path: &Path) -> Result<Box<dyn DiskFile>, DiskError> {
        // `append` forbids `truncate`, so an old file of this name is emptied afterwards.
        let file = RealDisk::file(OpenOptions::new().read(true).append(true).create(true), path)?;
        file.truncate(0)?;
        Ok(file)
    }

    fn append(&self, path: &Path) -> Result<Box<dyn DiskFile>, DiskError> {
        RealDisk::file(OpenOptions::new().read(true).append(true), path)
    }

    fn open(&self, path: &Path) -> Result<Box<dyn DiskFile>, DiskError> {
        RealDisk::file(OpenOptions::new().read(true), path)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        std::fs::rename(from, to).map_err(|e| readable(from, &e))
    }

    fn link(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        std::fs::hard_link(from, to).map_err(|e| readable(to, &e))
    }

    fn remove(&self, path: &Path) -> Result<(), DiskError> {
        std::fs::remove_file(path).map_err(|e| readable(path, &e))
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>, DiskError> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(|e| readable(dir, &e))? {
            let entry = entry.map_err(|e| readable(dir, &e))?;
            let is_dir = entry.file_type().map_err(|e| readable(dir, &e))?.is_dir();
            if let (false, Ok(name)) = (is_dir, entry.file_name().into_string()) {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), DiskError> {
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(|e| readable(dir, &e))
    }

    fn free_bytes(&self, dir: &Path) -> Result<u64, DiskError> {
        free_bytes(dir).map_err(|e| readable(dir, &e))
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }
}

impl DiskFile for RealFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn append(&self, bytes: &[u8]) -> Result<(), DiskError> {
        (&self.file).write_all(bytes).map_err(|e| readable(&self.path, &e))
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), DiskError> {
        self.file.read_exact_at(out, offset).map_err(|e| match e.kind() {
            ErrorKind::UnexpectedEof => {
                let what = format!("the file ends before the {} bytes expected here", out.len());
                DiskError::corrupt(&self.path, offset, what)
            }
            _ => readable(&self.path, &e),
        })
    }

    fn len(&self) -> Result<u64, DiskError> {
        self.file.metadata().map(|m| m.len()).map_err(|e| readable(&self.path, &e))
    }

    fn truncate(&self, len: u64) -> Result<(), DiskError> {
        self.file.set_len(len).map_err(|e| readable(&self.path, &e))
    }

    fn sync(&self) -> Result<(), DiskError> {
        self.file.sync_data().map_err(|e| readable(&self.path, &e))
    }
}

fn free_bytes(dir: &Path) -> Result<u64, Error> {
    let stats = rustix::fs::statvfs(dir)?;
    Ok(stats.f_bavail.saturating_mul(stats.f_frsize))
}

/// The system's error in this crate's terms.
pub(crate) fn readable(path: &Path, error: &Error) -> DiskError {
    let file = path.display().to_string();
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            DiskError::Full { file, free_bytes: free_bytes(&parent(path)).unwrap_or(0) }
        }
        _ => DiskError::Io { file, what: words(error) },
    }
}

/// The system's words without `(os error 13)`.
pub(crate) fn words(error: &Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_read_cut_renamed_listed_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        let file = RealDisk.create(&a).unwrap();
        file.append(b"hello ").unwrap();
        file.append(b"world").unwrap();
        file.truncate(8).unwrap();
        file.append(b"!").unwrap();
        file.sync().unwrap();
        assert_eq!(RealDisk.read(&a, 100).unwrap(), b"hello wo!");
        RealDisk.rename(&a, &b).unwrap();
        RealDisk.create_dir_all(&dir.path().join("sub/deep")).unwrap();
        RealDisk.sync_dir(dir.path()).unwrap();
        assert_eq!(RealDisk.list(dir.path()).unwrap(), ["b"]);
        assert!(RealDisk.free_bytes(dir.path()).unwrap() > 0);
        RealDisk.remove(&b).unwrap();
        assert!(!RealDisk.exists(&b));
    }

    #[test]
    fn reading_past_the_end_is_corruption_with_file_and_offset() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("short");
        let file = RealDisk.create(&path).unwrap();
        file.append(b"abc").unwrap();
        let error = file.read_at(2, &mut [0; 4]).unwrap_err();
        assert!(matches!(error, DiskError::Corrupt { offset: 2, .. }), "{error}");
        assert!(error.to_string().starts_with(&path.display().to_string()));
        let error = RealDisk.read(&path, 2).unwrap_err();
        assert!(error.to_string().contains("more than the 2 expected"), "{error}");
    }

    #[test]
    fn creating_a_directory_under_a_file_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        RealDisk.create(&dir.path().join("file")).unwrap();
        let error = RealDisk.create_dir_all(&dir.path().join("file/sub")).unwrap_err();
        assert!(matches!(error, DiskError::NotWritable { .. }), "{error}");
        assert!(error.to_string().contains("--storage.path"), "{error}");
    }
}
