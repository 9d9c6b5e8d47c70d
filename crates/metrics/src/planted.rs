//! Bugs that a test plants in the store to prove that it would find them.
//!
//! They exist in builds with debug assertions only; in others nothing can be planted.

#[cfg(debug_assertions)]
use std::cell::Cell;

/// A bug that somebody could have written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A compaction removes its inputs before the manifest names the output.
    InputsGoFirst,
    /// The manifest names a block before the block has its name.
    ManifestFirst,
    /// A deletion is answered without the manifest.
    DeletionForgotten,
    /// A compaction leaves out the last row.
    LastRowLeftOut,
    /// A segment goes while the log still speaks of a chunk that it lost.
    LogSpeaksOfLost,
    /// Rows too few to seal are not carried over when the log is cut.
    RowsNotCarried,
    /// A compaction gives deleted samples new life.
    DeletedComesBack,
    /// The copy of the list of series is not synced.
    CopyNotSynced,
    /// A seal leaves out its last row.
    SealOffByOne,
    /// A compaction leaves out chunks that overlap the one before them.
    LateLeftOut,
    /// The retention takes the oldest block, whatever it has.
    NeededBlockDropped,
    /// A start does not load the deletions.
    TombstonesNotLoaded,
    /// A snapshot is made without the open rows.
    SnapshotWithoutRows,
    /// The log is cut before the segment that has its rows is synced.
    LogCutFirst,
    /// The log is cut before its series are in their list.
    SeriesNotListed,
    /// Rows that a chunk has already are put back from the log a second time.
    ReplayedTwice,
    /// Series that came back to life while the dead were collected are forgotten with them.
    LivingForgotten,
    /// Exemplars are answered without a sync.
    ExemplarsNotSynced,
    /// Exemplars that the ring has lost are not forgotten when its file is read.
    RingWithoutEnd,
}

#[cfg(debug_assertions)]
thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Plants a bug in the stores of this thread, or takes it out.
#[cfg(debug_assertions)]
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Whether a bug is planted.
#[cfg(debug_assertions)]
pub(crate) fn is(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Whether a bug is planted.
#[cfg(not(debug_assertions))]
pub(crate) fn is(_: Bug) -> bool {
    false
}
