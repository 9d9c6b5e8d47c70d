//! The one error type of this crate.

use std::path::Path;
use vigie_model::ReadError;

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
    /// There is room, but not more than is always left free.
    #[error(
        "{dir}: the disk has only {} MiB left, and the last {} MiB are not written to: free some \
         space or keep less; writing goes on by itself once there is room",
        free_bytes >> 20,
        floor_bytes >> 20
    )]
    Low {
        /// The directory that would be written to.
        dir: String,
        /// What was left when it was looked at.
        free_bytes: u64,
        /// What is always left.
        floor_bytes: u64,
    },
    /// A sync failed: what was written before it may be lost.
    #[error(
        "{file}: the disk did not keep what was written ({what}): nothing more is taken until the \
         file has been written again, which is tried every second; look at the disk and at the \
         kernel's messages (dmesg)"
    )]
    NotKept {
        /// The file.
        file: String,
        /// The system's words.
        what: String,
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
        matches!(self, DiskError::Full { .. } | DiskError::Low { .. })
    }

    /// Whether bytes that were read are not what was once written.
    pub fn is_corrupt(&self) -> bool {
        matches!(self, DiskError::Corrupt { .. })
    }

    /// What a failed sync means; a full disk stays a full disk.
    pub fn not_kept(self) -> DiskError {
        match self {
            DiskError::Io { file, what } => DiskError::NotKept { file, what },
            other => other,
        }
    }
}

/// For who reads what a store keeps.
impl From<DiskError> for ReadError {
    fn from(error: DiskError) -> ReadError {
        match error {
            DiskError::Corrupt { file, offset, what } => ReadError::Corrupt { file, offset, what },
            DiskError::Io { file, what } => ReadError::Io { file, what },
            other => {
                ReadError::Io { file: "the data directory".to_owned(), what: other.to_string() }
            }
        }
    }
}
