//! Snapshots: a second name for every file that never changes, and a copy of those that do.
//!
//! A snapshot is a store of its own in another directory of the same file system: opening it reads
//! the same samples. It takes no room until the store removes what it still has.
//! Its manifest is written last; without one it was not finished.

use crate::MetricsError;
use crate::manifest;
use crate::planted::{self, Bug};
use crate::store::Store;
use std::path::Path;
use vigie_disk::{Disk, DiskError};

/// Read and written at once when the list of series is copied.
const COPY_BYTES: usize = 1 << 20;

impl Store {
    /// Makes `to`, which must not be there yet, a store with the samples of this one. With
    /// `skip_head` it has the blocks only, and not the last two hours or so.
    pub fn snapshot(&self, to: &Path, skip_head: bool) -> Result<(), MetricsError> {
        let disk = &*self.disk;
        disk.create_dir_all(&to.join("blocks"))?;
        disk.create_dir_all(&to.join("segments"))?;
        if disk.exists(&manifest::path(to)) {
            let text = format!("{} is a snapshot already: give it another name", to.display());
            return Err(MetricsError::Limit(text));
        }
        if !skip_head {
            if !planted::is(Bug::SnapshotWithoutRows) {
                self.flush()?;
            }
            self.close_active()?;
        }
        // The manifest stands still meanwhile, and with it every file that it names.
        let manifest = self.manifest.lock();
        let mut copy = manifest.clone();
        for entry in &manifest.blocks {
            let path = self.block_path(entry.id);
            // A block that is damaged as a whole was reported; it is left out here too.
            if disk.exists(&path) {
                disk.link(&path, &to.join("blocks").join(crate::block::name(entry.id)))?;
            } else {
                copy.blocks.retain(|kept| kept.id != entry.id);
            }
        }
        let (segments, next) = {
            let heads = self.heads.lock();
            let closed = heads.segments.closed_prefix(u64::MAX);
            (closed.iter().map(|segment| segment.id).collect(), heads.segments.last_closed() + 1)
        };
        let segments: Vec<u32> = if skip_head { Vec::new() } else { segments };
        if skip_head {
            copy.segment_min = next;
        }
        for path in segments.iter().flat_map(|id| self.segment_paths(*id)) {
            if let (true, Some(name)) = (disk.exists(&path), path.file_name()) {
                disk.link(&path, &to.join("segments").join(name))?;
            }
        }
        self.copy_series_log(to)?;
        for dir in [to.join("blocks"), to.join("segments"), to.to_path_buf()] {
            disk.sync_dir(&dir)?;
        }
        Ok(manifest::store(disk, to, &copy)?)
    }

    fn copy_series_log(&self, to: &Path) -> Result<(), DiskError> {
        // Held, so that nothing is appended meanwhile.
        let mut series_log = self.series_log.lock();
        if !series_log.is_sound() {
            self.write_pending_series(&mut series_log)?;
        }
        let (names, bytes) = series_log.names_to_copy();
        names
            .iter()
            .try_for_each(|name| copy(&*self.disk, &self.dir.join(name), &to.join(name), bytes))
    }
}

fn copy(disk: &dyn Disk, from: &Path, to: &Path, bytes: u64) -> Result<(), DiskError> {
    let (from, to) = (disk.open(from)?, disk.create(to)?);
    let mut buffer = vec![0; COPY_BYTES];
    let mut at = 0;
    while at < bytes {
        let some = &mut buffer[..(bytes - at).min(COPY_BYTES as u64) as usize];
        from.read_at(at, some)?;
        to.append(some)?;
        at += some.len() as u64;
    }
    to.sync()
}
