//! Crash-safe files, shared by the two stores.
//!
//! What is here: the [`Disk`] trait, through which every byte of a store goes so that a simulator
//! can take the disk's place; the real disk, and [`OverlayDisk`], which never writes to it; the [`Wal`], a write-ahead log with group commit;
//! [`DirLock`], which keeps two Vigies out of one directory; [`Floor`], which keeps Vigie out of the
//! disk's last bytes; [`frame`] and [`record`], the two shapes in which bytes get a checksum; and
//! [`wire`], the integers and texts inside them.
//!
//! This crate knows nothing about metrics or logs, reads no clock and starts no thread.
//!
//! Invariants: a file that is not being appended to is only ever replaced whole ([`write_atomic`]);
//! every byte read back is covered by a crc32c; bytes that do not check are a
//! [`DiskError::Corrupt`] that names file and offset, never a guess.
//! The formats stand in `docs/formats/wal.md` and `docs/formats/frame.md`.

#![forbid(unsafe_code)]

mod error;
pub mod frame;
mod lock;
mod overlay;
mod progress;
mod real;
pub mod record;
mod rescue;
pub mod sim;
mod space;
mod wal;
pub mod wire;

pub use error::DiskError;
pub use frame::write_atomic;
pub use lock::DirLock;
pub use overlay::OverlayDisk;
pub use progress::{Meter, Progress, Tell};
pub use real::RealDisk;
pub use rescue::{put_aside, write_again};
pub use space::Floor;
pub use wal::{Lsn, Refused, SegmentId, Wal, WalOptions};

use std::path::{Path, PathBuf};

/// The operations on files that a store needs, and no others.
///
/// Every method names the path in its error.
pub trait Disk: Send + Sync {
    /// Makes a directory and its parents, and their names durable; an existing one is fine.
    fn create_dir_all(&self, dir: &Path) -> Result<(), DiskError>;
    /// Makes an empty file to append to; an existing one is emptied.
    fn create(&self, path: &Path) -> Result<Box<dyn DiskFile>, DiskError>;
    /// Opens an existing file to read and to append to.
    fn append(&self, path: &Path) -> Result<Box<dyn DiskFile>, DiskError>;
    /// Opens an existing file to read.
    fn open(&self, path: &Path) -> Result<Box<dyn DiskFile>, DiskError>;
    /// Gives a file another name in the same file system, replacing what had it.
    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError>;
    /// Gives a file a second name in the same file system, which no file has yet.
    fn link(&self, from: &Path, to: &Path) -> Result<(), DiskError>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> Result<(), DiskError>;
    /// The names of the files in a directory (directories left out), sorted.
    fn list(&self, dir: &Path) -> Result<Vec<String>, DiskError>;
    /// Makes creations, renames and removals in a directory durable.
    fn sync_dir(&self, dir: &Path) -> Result<(), DiskError>;
    /// Bytes that this process may still write to the file system of `dir`.
    fn free_bytes(&self, dir: &Path) -> Result<u64, DiskError>;

    /// Whether a file of this name is there.
    fn exists(&self, path: &Path) -> bool;

    /// The whole file, which must not be longer than `bytes_max`.
    fn read(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, DiskError> {
        let file = self.open(path)?;
        let len = file.len()?;
        if len > bytes_max {
            let what = format!("is {len} bytes long, more than the {bytes_max} expected at most");
            return Err(DiskError::corrupt(path, 0, what));
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| too_long(path))?];
        file.read_at(0, &mut bytes)?;
        Ok(bytes)
    }
}

fn too_long(path: &Path) -> DiskError {
    DiskError::corrupt(path, 0, "is longer than this machine can address".to_owned())
}

/// An open file. Appends from several threads must be kept apart by the caller.
pub trait DiskFile: Send + Sync {
    /// Its path, for messages.
    fn path(&self) -> &Path;
    /// Writes all of `bytes` at the end. After an error some of them may be there.
    fn append(&self, bytes: &[u8]) -> Result<(), DiskError>;
    /// Fills `out` from `offset` on; a file too short for that is corrupt.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), DiskError>;
    /// The length in bytes.
    fn len(&self) -> Result<u64, DiskError>;
    /// Whether the file has no byte.
    fn is_empty(&self) -> Result<bool, DiskError> {
        Ok(self.len()? == 0)
    }
    /// Cuts the file to `len` bytes.
    fn truncate(&self, len: u64) -> Result<(), DiskError>;
    /// Makes contents and length durable (`fdatasync`).
    fn sync(&self) -> Result<(), DiskError>;
}

/// Opens a file to append to, making it (and its name durable) when it is not there.
pub fn append_or_create(disk: &dyn Disk, path: &Path) -> Result<Box<dyn DiskFile>, DiskError> {
    if disk.exists(path) {
        return disk.append(path);
    }
    let file = disk.create(path)?;
    file.sync()?;
    disk.sync_dir(&parent(path))?;
    Ok(file)
}

/// The checksum of everything on the disk.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// The directory that holds `path`.
pub fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(dir) if dir != Path::new("") => dir.to_path_buf(),
        _ => PathBuf::from("."),
    }
}
