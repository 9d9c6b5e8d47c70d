//! What is too old, or too much, goes: whole blocks, oldest first, through the manifest.
//!
//! Segments go only when there is no block left that could: a compaction usually comes first.

use crate::checkpoint::Ticks;
use crate::compact::DAY_MS;
use crate::manifest;
use crate::planted::{self, Bug};
use crate::store::Store;
use vigie_disk::DiskError;

/// A full disk takes no block that has samples of the last day: the disk may be full of others'.
const KEPT_ON_A_FULL_DISK_MS: i64 = DAY_MS;

impl Store {
    /// Removes blocks that are wholly too old, and the oldest while the files are too large or the
    /// disk has too little left; of the last, one at a time.
    pub(crate) fn forget_old(&self, ticks: &mut Ticks, now_ms: i64) -> Result<(), DiskError> {
        let kept_ms = now_ms.saturating_sub(self.options.retention_ms);
        let is_eager = planted::is(Bug::NeededBlockDropped);
        self.forget_blocks(|max_ms, is_oldest| max_ms < kept_ms || is_eager && is_oldest)?;
        self.forget_segments(ticks, now_ms, |max_ms| max_ms < kept_ms)?;
        while let Some(max) = self.options.disk_bytes_max
            && self.stats().disk_bytes > max
        {
            if !self.forget_blocks(|_, is_oldest| is_oldest)?
                && !self.forget_segments(ticks, now_ms, |_| true)?
            {
                break;
            }
        }
        if self.floor.check().is_err() {
            let young_ms = now_ms.saturating_sub(KEPT_ON_A_FULL_DISK_MS);
            let gone = self.forget_blocks(|max_ms, oldest| oldest && max_ms < young_ms)?;
            if gone {
                tracing::warn!("the disk is full: the oldest block of metrics was removed");
                self.floor.look(&*self.disk)?;
            }
        }
        self.drop_tombstones()
    }

    /// Removes the blocks that end when `goes` says so, or are the oldest and it says so.
    /// Whether there were any.
    fn forget_blocks(&self, goes: impl Fn(i64, bool) -> bool) -> Result<bool, DiskError> {
        let mut manifest = self.manifest.lock();
        let oldest = manifest.blocks.iter().min_by_key(|entry| (entry.max_ms, entry.id));
        let Some(oldest) = oldest.map(|entry| entry.id) else { return Ok(false) };
        let mut next = manifest.clone();
        next.blocks.retain(|entry| !goes(entry.max_ms, entry.id == oldest));
        if next.blocks.len() == manifest.blocks.len() {
            return Ok(false);
        }
        manifest::store(&*self.disk, &self.dir, &next)?;
        let before = std::mem::replace(&mut *manifest, next);
        let is_kept = |id: u32| manifest.blocks.iter().any(|entry| entry.id == id);
        self.heads.lock().blocks.retain(|block| is_kept(block.entry.id));
        let gone = before.blocks.iter().map(|entry| entry.id).filter(|id| !is_kept(*id));
        self.remove_files(&[], gone);
        Ok(true)
    }

    /// Removes the oldest closed segment if it ends when `goes` says so, and those after it.
    fn forget_segments(
        &self,
        ticks: &mut Ticks,
        now_ms: i64,
        goes: impl Fn(i64) -> bool,
    ) -> Result<bool, DiskError> {
        let gone = |heads: &crate::head::Heads| -> Vec<u32> {
            let closed = heads.segments.closed_prefix(1);
            closed.iter().take_while(|s| goes(s.max_ms)).map(|s| s.id).collect()
        };
        if gone(&self.heads.lock()).is_empty() {
            return Ok(false);
        }
        // A log that mentions a removed segment would be read as "its rows are gone".
        self.checkpoint_or_wait(ticks, now_ms)?;
        let mut manifest = self.manifest.lock();
        let ids = gone(&self.heads.lock());
        let Some(last) = ids.last() else { return Ok(false) };
        let mut next = manifest.clone();
        next.segment_min = last + 1;
        manifest::store(&*self.disk, &self.dir, &next)?;
        *manifest = next;
        self.heads.lock().forget_segments_before(last + 1);
        self.remove_files(&ids, std::iter::empty());
        Ok(true)
    }

    /// Drops the tombstones that hide nothing any more.
    pub(crate) fn drop_tombstones(&self) -> Result<(), DiskError> {
        let mut manifest = self.manifest.lock();
        if manifest.tombstones.is_empty() {
            return Ok(());
        }
        let mut next = manifest.clone();
        {
            let heads = self.heads.lock();
            next.tombstones.retain(|tombstone| heads.has_hidden(tombstone));
        }
        if next.tombstones.len() < manifest.tombstones.len() {
            manifest::store(&*self.disk, &self.dir, &next)?;
            *manifest = next;
            self.heads.lock().tombstones.clone_from(&manifest.tombstones);
        }
        Ok(())
    }
}
