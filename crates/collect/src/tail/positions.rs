//! Where the tailer stands in every file, written down so that a restart goes on there.
//!
//! The file is JSON for the eyes of a person: `{"version":1,"files":[{"path":…,"offset":…,…}]}`.
//! It is replaced whole (written beside, synced, renamed). A file is known by device, inode and
//! a hash of its first bytes, because a new file may get the inode of one that was removed.

use super::follow::FileId;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Most first bytes that are hashed.
pub(super) const HEAD_BYTES_MAX: usize = 256;
/// Positions of files that have gone are dropped, oldest first, when there are more than this.
const POSITIONS_MAX: usize = 4096;
const VERSION: u32 = 1;

/// How far one file was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) path: PathBuf,
    pub(super) id: FileId,
    pub(super) head_bytes: usize,
    pub(super) head_hash: u64,
    pub(super) offset: u64,
    pub(super) skipping: bool,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    version: u32,
    files: Vec<SavedFile>,
}

#[derive(Serialize, Deserialize)]
struct SavedFile {
    path: PathBuf,
    device: u64,
    inode: u64,
    head_bytes: usize,
    head_hash: String,
    offset: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    skipping: bool,
}

/// All positions, the one touched last at the end.
#[derive(Default)]
pub(super) struct Positions {
    files: Vec<Position>,
    changed: bool,
}

impl Positions {
    pub(super) fn load(path: &Path) -> Positions {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Positions::default(),
            Err(error) => return Positions::unreadable(path, &error.to_string()),
        };
        match serde_json::from_slice::<Saved>(&bytes) {
            Ok(saved) if saved.version == VERSION => {
                let files = saved.files.into_iter().filter_map(position).collect();
                Positions { files, changed: false }
            }
            Ok(saved) => Positions::unreadable(path, &format!("it has version {}", saved.version)),
            Err(error) => Positions::unreadable(path, &error.to_string()),
        }
    }

    fn unreadable(path: &Path, error: &str) -> Positions {
        let path = path.display();
        tracing::warn!(%path, %error, "remembered positions cannot be read: log files count as new");
        Positions::default()
    }

    pub(super) fn all(&self) -> Vec<Position> {
        self.files.clone()
    }

    pub(super) fn get(&self, id: FileId) -> Option<Position> {
        self.files.iter().find(|position| position.id == id).cloned()
    }

    pub(super) fn set(&mut self, position: Position) {
        if self.files.contains(&position) {
            return;
        }
        self.forget(position.id);
        self.files.push(position);
        self.changed = true;
    }

    pub(super) fn forget(&mut self, id: FileId) {
        let before = self.files.len();
        self.files.retain(|position| position.id != id);
        self.changed |= self.files.len() != before;
    }

    /// Writes the positions down if they have changed since.
    pub(super) fn save(&mut self, path: &Path) -> io::Result<()> {
        if !self.changed {
            return Ok(());
        }
        let surplus = self.files.len().saturating_sub(POSITIONS_MAX);
        self.files.drain(..surplus);
        let files = self.files.iter().map(saved).collect();
        let bytes = serde_json::to_vec_pretty(&Saved { version: VERSION, files })?;
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        let tmp = path.with_extension("tmp");
        let mut file = File::create(&tmp)?;
        file.write_all(&bytes)?;
        file.sync_data()?;
        fs::rename(&tmp, path)?;
        self.changed = false;
        Ok(())
    }
}

fn position(saved: SavedFile) -> Option<Position> {
    let id = FileId { device: saved.device, inode: saved.inode };
    let head_hash = u64::from_str_radix(&saved.head_hash, 16).ok()?;
    let SavedFile { path, head_bytes, offset, skipping, .. } = saved;
    Some(Position { path, id, head_bytes, head_hash, offset, skipping })
}

fn saved(position: &Position) -> SavedFile {
    SavedFile {
        path: position.path.clone(),
        device: position.id.device,
        inode: position.id.inode,
        head_bytes: position.head_bytes,
        head_hash: format!("{:016x}", position.head_hash),
        offset: position.offset,
        skipping: position.skipping,
    }
}

/// FNV-1a: it only has to tell one log's first lines from another's, the same for ever.
pub(super) fn head_hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
