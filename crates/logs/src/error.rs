//! The one error type of this crate.

use vigie_disk::DiskError;
use vigie_model::ReadError;

/// Why the store refused or failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogsError {
    /// The disk refused; nothing of what was being written is acknowledged.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Stored data could not be read back while looking for duplicates or opening the store.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The labels or sizes of a request break a limit; the text is Loki's. Nothing was stored.
    #[error("{0}")]
    Limit(String),
    /// There would be too many streams; the text is Loki's. Entries before it are stored.
    #[error(
        "Maximum active stream limit exceeded when trying to create stream {stream}, reduce the number of active streams (reduce labels or reduce label values), or contact your Loki administrator to see if the limit can be increased, user: 'fake'"
    )]
    Streams {
        /// The stream that was one too many.
        stream: String,
    },
    /// [`crate::Store::close`] was called.
    #[error("the log store in {0} is closed: start Vigie again to write to it")]
    Closed(String),
}
