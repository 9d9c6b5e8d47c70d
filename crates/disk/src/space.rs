//! The floor: the last bytes of a file system that a store leaves to others.
//!
//! A store that has written a disk full can neither seal nor cut its log, and the database beside it
//! stops too. So new data is refused while less than the floor is free, and what the program collects
//! itself while less than half of it is; what is there already is
//! still sealed, checked and read. Looked at every few seconds, not at every write.

use crate::{Disk, DiskError};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

/// The disk was not looked at yet.
const UNKNOWN: u64 = u64::MAX;

/// Whether there is room for new data below a directory.
#[derive(Debug)]
pub struct Floor {
    dir: PathBuf,
    floor_bytes: u64,
    /// What was free when it was last looked at; [`UNKNOWN`] before.
    free_bytes: AtomicU64,
}

impl Floor {
    /// Leaves `floor_bytes` of the file system of `dir` free.
    pub fn new(dir: impl Into<PathBuf>, floor_bytes: u64) -> Floor {
        Floor { dir: dir.into(), floor_bytes, free_bytes: AtomicU64::new(UNKNOWN) }
    }

    /// Looks at the disk. A change for the worse or the better is logged once.
    pub fn look(&self, disk: &dyn Disk) -> Result<(), DiskError> {
        let was_low = self.is_low();
        let (free_bytes, floor_bytes) = (disk.free_bytes(&self.dir)?, self.floor_bytes);
        self.free_bytes.store(free_bytes, Ordering::Relaxed);
        let dir = self.dir.display();
        match (was_low, self.is_low()) {
            (false, true) => {
                tracing::error!(%dir, free_bytes, floor_bytes, "the disk is full: new data is refused");
            }
            (true, false) => {
                tracing::info!(%dir, free_bytes, "the disk has room: new data is taken")
            }
            _ => {}
        }
        Ok(())
    }

    /// Refuses when there was too little when it was last looked at.
    pub fn check(&self) -> Result<(), DiskError> {
        self.refuse_below(self.floor_bytes)
    }

    /// [`Floor::check`] for what the program collects itself, a few megabytes a day: it may use half
    /// of what is left free, so that the alert about the full disk has something to go by.
    pub fn check_collected(&self) -> Result<(), DiskError> {
        self.refuse_below(self.floor_bytes / 2)
    }

    /// Whether new data is refused.
    pub fn is_low(&self) -> bool {
        self.check().is_err()
    }

    /// What was free when it was last looked at.
    pub fn free_bytes(&self) -> Option<u64> {
        Some(self.free_bytes.load(Ordering::Relaxed)).filter(|free_bytes| *free_bytes != UNKNOWN)
    }

    fn refuse_below(&self, least_bytes: u64) -> Result<(), DiskError> {
        match self.free_bytes() {
            Some(free_bytes) if free_bytes < least_bytes => Err(DiskError::Low {
                dir: self.dir.display().to_string(),
                free_bytes,
                floor_bytes: self.floor_bytes,
            }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::SimDisk;

    #[test]
    fn less_than_the_floor_is_refused_in_words_until_there_is_more() {
        let disk = SimDisk::new(0);
        let floor = Floor::new("/data", 512 << 20);
        assert_eq!(floor.check(), Ok(()));
        disk.set_free_bytes(100 << 20);
        assert_eq!(floor.check(), Ok(()), "not looked at yet");
        floor.look(&disk).unwrap();
        let error = floor.check().unwrap_err();
        assert!(error.is_full());
        let words =
            "/data: the disk has only 100 MiB left, and the last 512 MiB are not written to";
        assert!(error.to_string().starts_with(words), "{error}");
        assert!(floor.check_collected().is_err() && floor.is_low());
        disk.set_free_bytes(256 << 20);
        floor.look(&disk).unwrap();
        assert_eq!((floor.check_collected(), floor.is_low()), (Ok(()), true));
        assert_eq!(floor.free_bytes(), Some(256 << 20));
        disk.set_free_bytes(512 << 20);
        floor.look(&disk).unwrap();
        assert_eq!(floor.check(), Ok(()));
    }
}
