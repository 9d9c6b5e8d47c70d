//! The metrics store: rows in, columns out, nothing acknowledged lost.
//!
//! A scrape is a row: one instant, many series. The store keeps it so. Series that arrive together
//! form a *group*; its newest rows are open, in memory and in a write-ahead log; when there are
//! enough of them they are turned into a *chunk*, column by column, and appended to a *segment*
//! file. Every two hours the segment becomes a *block*, sorted by group; a day's blocks become one
//! ([`Store::compact`]). A query reads the columns it needs and the open rows, and gets columns with
//! shared timestamps ([`vigie_model::columns`]).
//!
//! The promise of [`Store::append`]: [`Durability::Synced`] returns when the rows survive a power
//! cut; [`Durability::Written`] when they survive the death of the process, and [`Store::tick`],
//! called every second, makes them survive a power cut too.
//!
//! Values are bit-exact. A full disk refuses new rows and nothing else, and ends by itself; so does
//! a sync that fails: the file is written again. Damage is named with file and offset:
//! a damaged place is an error of the first query that meets it; from then on it is left out, logged
//! and counted ([`Stats::damaged`]), and the rest serves.
//! The list of series, without which no chunk can be understood, is kept twice.
//! The store takes no lock on its directory and starts no thread: the program does both.
//! Formats: `docs/formats/metrics-manifest.md`, `docs/formats/metrics-block.md`,
//! `docs/formats/metrics-segment.md`, `docs/formats/metrics-log.md` and `docs/formats/wal.md`.

#![forbid(unsafe_code)]

mod batch;
mod bitmap;
mod block;
mod blocks;
mod catalog;
mod checkpoint;
mod chunk;
mod column;
mod compact;
#[doc(hidden)]
pub mod decoders;
mod delete;
mod exemplars;
mod forget;
mod head;
mod inspect;
mod ints;
mod listed;
mod loose;
mod manifest;
mod merge;
mod object;
mod part;
#[doc(hidden)]
pub mod planted;
mod push;
mod read;
mod record;
mod retention;
mod row;
mod sealed;
mod section;
mod segment;
mod series_log;
mod snapshot;
mod sound;
mod starts;
mod store;
mod strip;
mod tombstone;

pub use compact::Pace;
pub use exemplars::ExemplarsAppended;
pub use inspect::{Analysis, FileStats, MetricStats, Verified};
pub use listed::BlockInfo;
pub use push::PushOutcome;
pub use store::Store;

use vigie_disk::DiskError;
use vigie_model::limits::{
    EXEMPLARS_MAX, LABEL_NAME_BYTES_MAX, LABEL_VALUE_BYTES_MAX, LABELS_PER_SERIES_MAX, SERIES_MAX,
    SERIES_PER_TARGET_MAX,
};

/// Rows of a chunk.
const CHUNK_ROWS_MAX: usize = 120;
/// Rows of a page of a block's column: where the forms of a column have paid their fixed costs.
const PAGE_ROWS_MAX: usize = 480;
/// Columns of a group; a target with more series gets several groups.
const GROUP_COLUMNS_MAX: usize = 4096;
/// Numbers of groups that may be missing between two that a log names.
const GROUP_GAP_MAX: usize = 1 << 20;
/// Samples written to the log in one record, give or take a row.
const CELLS_PER_RECORD_MAX: usize = 1 << 20;

/// What the store is told once.
#[derive(Clone, Debug)]
pub struct Options {
    /// Samples older than this may be removed, and are refused at the door.
    pub retention_ms: i64,
    /// The oldest segments are removed when all files together are larger than this.
    pub disk_bytes_max: Option<u64>,
    /// New samples are refused while the disk has less than this left.
    pub free_bytes_min: u64,
    /// A sample may be older than the newest of its group by this much; 0 takes them in order only.
    pub late_window_ms: i64,
    /// Memory for open rows, or 128 bytes per series if that is more.
    pub open_bytes_max: usize,
    /// The log is cut when it has grown by this, or by 48 bytes per series if that is more.
    pub log_bytes_max: u64,
    /// Most bytes of encoded columns that one selection may hold.
    pub selection_bytes_max: usize,
    /// Most series.
    pub series_max: usize,
    /// Most series of one target: with the same `instance`, `job` and other labels that say where a
    /// series comes from.
    pub series_per_target_max: usize,
    /// Most labels of a series.
    pub labels_max: usize,
    /// Longest label name.
    pub label_name_bytes_max: usize,
    /// Longest label value.
    pub label_value_bytes_max: usize,
    /// Exemplars that are kept; 0 keeps none.
    pub exemplars_max: usize,
    /// Whether start timestamps are taken in; those that are there can be read anyway.
    pub starts: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            retention_ms: 30 * 24 * 3600 * 1000,
            disk_bytes_max: None,
            free_bytes_min: 512 * 1024 * 1024,
            late_window_ms: 3600 * 1000,
            open_bytes_max: 8 * 1024 * 1024,
            log_bytes_max: 8 * 1024 * 1024,
            selection_bytes_max: 128 * 1024 * 1024,
            series_max: SERIES_MAX,
            series_per_target_max: SERIES_PER_TARGET_MAX,
            labels_max: LABELS_PER_SERIES_MAX,
            label_name_bytes_max: LABEL_NAME_BYTES_MAX,
            label_value_bytes_max: LABEL_VALUE_BYTES_MAX,
            exemplars_max: EXEMPLARS_MAX,
            starts: false,
        }
    }
}

/// What [`Store::append`] waits for, and whose the rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The rows survive a power cut: for what somebody pushed and will forget.
    Synced,
    /// The rows survive the death of the process, and within a second a power cut: for what Vigie
    /// collects. A full disk takes them longer than what is pushed.
    Written,
}

/// What became of the samples of an append.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// Taken in.
    pub appended: u64,
    /// There already, with the same bits: fine.
    pub duplicates: u64,
    /// Refused: there is another value at this instant.
    pub conflicting: u64,
    /// Refused: older than the newest, and the late window is 0.
    pub out_of_order: u64,
    /// Refused: older than the late window or the retention.
    pub too_old: u64,
    /// Refused: more than ten minutes in the future.
    pub too_new: u64,
    /// Refused: histograms whose parts do not fit together.
    pub invalid: u64,
    /// How many of `appended` and `duplicates` are native histograms.
    pub histograms: u64,
}

impl Appended {
    /// Counts a sample that met another at its place.
    pub(crate) fn met(&mut self, is_same: bool, is_histogram: bool) {
        if is_same {
            self.duplicates += 1;
            self.histograms += u64::from(is_histogram);
        } else {
            self.conflicting += 1;
        }
    }
}

/// The store in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Series that have had a sample.
    pub series: u64,
    /// Groups of series that arrive together.
    pub groups: u64,
    /// Series without a sample left that were forgotten since the store was opened.
    pub series_forgotten: u64,
    /// Samples taken in since the store was opened.
    pub samples_appended: u64,
    /// Memory of the open rows.
    pub open_bytes: u64,
    /// Chunks in all segments.
    pub chunks: u64,
    /// Segment files.
    pub segments: u64,
    /// Blocks.
    pub blocks: u64,
    /// Deletions that are not folded in yet.
    pub tombstones: u64,
    /// Length of the write-ahead log.
    pub log_bytes: u64,
    /// Length of all files, the log included.
    pub disk_bytes: u64,
    /// The oldest instant there is.
    pub oldest_ms: Option<i64>,
    /// Exemplars kept.
    pub exemplars: u64,
    /// The newest instant there is.
    pub newest_ms: Option<i64>,
    /// What is pushed is refused because the disk is full; it ends by itself.
    pub is_paused: bool,
    /// What the disk had left when it was last looked at.
    pub free_bytes: Option<u64>,
    /// Damaged places that are passed over; each was logged with file and offset.
    pub damaged: u64,
    /// Bytes at the ends of files that a dead process had not finished, as found at the start.
    pub unfinished_bytes: u64,
}

/// Why the store could not do something.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetricsError {
    /// A file operation failed; the text names the file and says what to do.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// What the store cannot do without is damaged.
    #[error(
        "the metrics cannot be opened: {error}. Nothing was changed. Bring {dir} back from a backup, \
         or rename it and start again: then the history of metrics begins anew, and the logs stay"
    )]
    Damaged {
        /// The store's directory.
        dir: String,
        /// The file, the offset and what is wrong there.
        error: DiskError,
    },
    /// The number of a series is no longer one.
    #[error(
        "a series of these rows had no sample left and was forgotten: look its labels up again, and \
         send them again"
    )]
    Forgotten,
    /// A limit; the text says which, in Prometheus' words where it has any.
    #[error("{0}")]
    Limit(String),
}

impl MetricsError {
    /// Whether waiting can help: the disk is full.
    pub fn is_full(&self) -> bool {
        matches!(self, MetricsError::Disk(e) if e.is_full())
    }
}
