//! The one error type of this crate.

use std::path::Path;

/// Why a file operation failed. Each text says what, where, and what to do when that is not plain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DiskError {
    /// Another process holds the directory.
    #[error(
        "{dir} is in use by another Vigie{}: stop that one first, or give this one a directory \
         of its own with --storage.path",
        pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    Locked {
        /// The directory.
        dir: String,
        /// The other process, if it wrote its number down.
        pid: Option<u32>,
    },
    /// A checksum or an invariant of the format does not hold.
    #[error("{file} at byte {offset}: {what}")]
    Corrupt {
        /// The file.
        file: String,
        /// Where in it.
        offset: u64,
        /// What does not hold.
        what: String,
    },
    /// The operating system refused.
    #[error("{file}: {what}")]
    Io {
        /// The file.
        file: String,
        /// The system's words.
        what: String,
    },
    /// There is no room left.
    #[error(
        "{file}: the disk is full ({free_bytes} bytes free): free some space or keep less; \
         writing goes on by itself once there is room"
    )]
    Full {
        /// The file or directory that was written to.
        file: String,
        /// What was left when it was looked at.
        free_bytes: u64,
    },
    /// The directory cannot be written.
    #[error(
        "Vigie cannot write to {dir} ({what}): let the user that runs it own the directory, or \
         name another one with --storage.path"
    )]
    NotWritable {
        /// The directory.
        dir: String,
        /// The system's words.
        what: String,
    },
}

impl DiskError {
    /// A [`DiskError::Corrupt`].
    pub fn corrupt(path: &Path, offset: u64, what: impl Into<String>) -> DiskError {
        DiskError::Corrupt { file: path.display().to_string(), offset, what: what.into() }
    }

    /// A [`DiskError::Io`].
    pub fn io(path: &Path, what: impl ToString) -> DiskError {
        DiskError::Io { file: path.display().to_string(), what: what.to_string() }
    }

    /// Whether waiting can help: the disk was full.
    pub fn is_full(&self) -> bool {
        matches!(self, DiskError::Full { .. })
    }
}
