//! The floor: the last bytes of a file system that a store leaves to others.
//!
//! A store that has written a disk full can neither seal nor cut its log, and the database beside it
//! stops too. So new data is refused while less than the floor is free; what is there already is
//! still sealed, checked and read. Looked at every few seconds, not at every write.

use crate::{Disk, DiskError};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

/// Says that the disk has room.
const ENOUGH: u64 = u64::MAX;

/// Whether there is room for new data below a directory.
#[derive(Debug)]
pub struct Floor {
    dir: PathBuf,
    floor_bytes: u64,
    /// What was free when it was last looked at and was too little; [`ENOUGH`] otherwise.
    low_bytes: AtomicU64,
}

impl Floor {
    /// Leaves `floor_bytes` of the file system of `dir` free.
    pub fn new(dir: impl Into<PathBuf>, floor_bytes: u64) -> Floor {
        Floor { dir: dir.into(), floor_bytes, low_bytes: AtomicU64::new(ENOUGH) }
    }

    /// Looks at the disk. A change for the worse or the better is logged once.
    pub fn look(&self, disk: &dyn Disk) -> Result<(), DiskError> {
        let free_bytes = disk.free_bytes(&self.dir)?;
        let is_low = free_bytes < self.floor_bytes;
        let low_bytes = if is_low { free_bytes } else { ENOUGH };
        let was_low = self.low_bytes.swap(low_bytes, Ordering::Relaxed) != ENOUGH;
        let dir = self.dir.display();
        match (was_low, is_low) {
            (false, true) => {
                let floor_bytes = self.floor_bytes;
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
        match self.low_bytes.load(Ordering::Relaxed) {
            ENOUGH => Ok(()),
            free_bytes => Err(DiskError::Low {
                dir: self.dir.display().to_string(),
                free_bytes,
                floor_bytes: self.floor_bytes,
            }),
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
        disk.set_free_bytes(512 << 20);
        floor.look(&disk).unwrap();
        assert_eq!(floor.check(), Ok(()));
    }
}
