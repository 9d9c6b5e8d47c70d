//! Keeps two programs out of one directory.

use crate::real::words;
use crate::{Disk, DiskError, RealDisk};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

/// The file that is locked. It is never removed: removing it would let two programs in.
const LOCK_FILE: &str = "LOCK";

/// The right to use a directory, held until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

impl DirLock {
    /// Makes the directory when it is not there, and locks it (`flock`).
    /// The process number is written into the lock file for the message of the one who comes second.
    pub fn acquire(dir: &Path) -> Result<DirLock, DiskError> {
        RealDisk.create_dir_all(dir)?;
        let not_writable = |e: &std::io::Error| DiskError::NotWritable {
            dir: dir.display().to_string(),
            what: words(e),
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(dir.join(LOCK_FILE))
            .map_err(|e| not_writable(&e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // The number only makes the message better: without it there still is one.
                let _ = (&file).take(32).read_to_string(&mut text);
                let pid = text.trim().parse().ok();
                return Err(DiskError::Locked { dir: dir.display().to_string(), pid });
            }
            Err(TryLockError::Error(e)) => return Err(not_writable(&e)),
        }
        // A full disk must not keep Vigie from starting: the lock holds without the number.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(DirLock { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_names_the_directory_and_the_holder_until_the_first_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let first = DirLock::acquire(&data).unwrap();
        let error = DirLock::acquire(&data).unwrap_err();
        assert_eq!(
            error,
            DiskError::Locked { dir: data.display().to_string(), pid: Some(std::process::id()) }
        );
        let text = error.to_string();
        let wanted = format!(
            "{} is in use by another Vigie (process {}): ",
            data.display(),
            std::process::id()
        );
        assert!(text.starts_with(&wanted), "{text}");
        drop(first);
        DirLock::acquire(&data).unwrap();
    }
}
