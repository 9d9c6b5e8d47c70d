//! Opening what the manifest names, and cleaning up what it does not.

use crate::block::{self, Block, Place};
use crate::manifest::{self, BlockEntry, Found, Manifest};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vigie_disk::{Disk, DiskError};

/// What the manifest says, before the files are looked at.
pub(crate) struct Start {
    pub(crate) manifest: Manifest,
    /// The manifest was damaged: all files are taken in and none is removed.
    rebuilt: bool,
    pub(crate) damage: Vec<DiskError>,
}

/// Reads the manifest, or starts one from the files that are there.
pub(crate) fn start(disk: &dyn Disk, dir: &Path) -> Result<Start, DiskError> {
    let blocks = dir.join("blocks");
    disk.create_dir_all(&blocks)?;
    let mut start = Start {
        manifest: Manifest { block_next: 1, ..Manifest::default() },
        rebuilt: false,
        damage: Vec::new(),
    };
    match manifest::load(disk, dir)? {
        Found::Whole(manifest) => start.manifest = manifest,
        Found::Missing => {
            // The first start writes one, before there is any block.
            if disk.list(&blocks)?.iter().any(|name| block::id_of(name).is_some()) {
                let what = "the manifest is missing: all blocks there are were taken in";
                start.damage.push(DiskError::corrupt(&manifest::path(dir), 0, what));
                start.rebuilt = true;
            } else if let Err(error) = manifest::store(disk, dir, &start.manifest)
                && !error.is_full()
            {
                // A full disk must not keep the store closed.
                return Err(error);
            }
        }
        Found::Damaged(error) => {
            start.damage.push(error);
            start.rebuilt = true;
        }
    }
    Ok(start)
}

impl Start {
    /// Opens the blocks, oldest first, and hands their sections to `each`, which says whether it
    /// knows the group. Files that the manifest does not name are removed.
    pub(crate) fn open(
        &mut self,
        disk: &dyn Disk,
        dir: &Path,
        each: &mut dyn FnMut(&Place) -> bool,
    ) -> Result<Vec<Arc<Block>>, DiskError> {
        let blocks = dir.join("blocks");
        let names = disk.list(&blocks)?;
        if self.rebuilt {
            self.adopt(&names);
        }
        let mut opened = Vec::new();
        for entry in self.manifest.blocks.clone() {
            let path = blocks.join(block::name(entry.id));
            match self.open_one(disk, &path, &entry, each) {
                Ok(block) => opened.push(Arc::new(block)),
                // What cannot be read now may be read at the next start.
                Err(error) if error.is_corrupt() || !disk.exists(&path) => self.damage.push(error),
                Err(error) => return Err(error),
            }
        }
        if self.rebuilt {
            self.manifest.blocks = opened.iter().map(|block| block.entry).collect();
            manifest::store(disk, dir, &self.manifest)?;
        }
        self.remove_unnamed(disk, &blocks, &names)?;
        Ok(opened)
    }

    fn open_one(
        &self,
        disk: &dyn Disk,
        path: &Path,
        entry: &BlockEntry,
        each: &mut dyn FnMut(&Place) -> bool,
    ) -> Result<Block, DiskError> {
        let corrupt = |what: &str| Err(DiskError::corrupt(path, 0, what));
        if !disk.exists(path) {
            return corrupt("the block is missing, though the manifest names it");
        }
        let mut unknown = None;
        let mut places = Vec::new();
        let block = Block::open(disk, path, entry.id, &mut |place| places.push(*place))?;
        if !self.rebuilt && block.entry != *entry {
            return corrupt("the block is another than the one that the manifest names");
        }
        for place in &places {
            if !each(place) {
                unknown = unknown.or(Some(place.head_offset));
            }
        }
        match unknown {
            Some(offset) => {
                let what = "the section is of series that series.log does not know";
                Err(DiskError::corrupt(path, offset, what))
            }
            None => Ok(block),
        }
    }

    /// Names every block file in the manifest.
    fn adopt(&mut self, names: &[String]) {
        let mut ids: Vec<u32> = names.iter().filter_map(|name| block::id_of(name)).collect();
        ids.sort_unstable();
        self.manifest.block_next = ids.last().map_or(1, |last| last.saturating_add(1));
        let unknown = |id| BlockEntry { id, bytes: 0, min_ms: 0, max_ms: 0, footer_crc: 0 };
        self.manifest.blocks = ids.into_iter().map(unknown).collect();
    }

    fn remove_unnamed(
        &self,
        disk: &dyn Disk,
        blocks: &Path,
        names: &[String],
    ) -> Result<(), DiskError> {
        let is_named = |id: u32| self.manifest.blocks.iter().any(|entry| entry.id == id);
        let unnamed = names.iter().filter(|name| {
            let is_unnamed = block::id_of(name).is_some_and(|id| !is_named(id));
            name.ends_with(".tmp") || (is_unnamed && !self.rebuilt)
        });
        let paths: Vec<PathBuf> = unnamed.map(|name| blocks.join(name)).collect();
        paths.iter().try_for_each(|path| disk.remove(path))
    }
}
