//! Bugs that a test plants in the store to prove that it would find them.
//!
//! They exist in builds with debug assertions or with the feature `planted`, which only the fuzz targets
//! ask for; in others nothing can be planted.
//! Which suite finds which stands in `tests/planted_bugs_are_found.rs`.

#[cfg(any(debug_assertions, feature = "planted"))]
use std::cell::Cell;

/// A bug that somebody could have written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A `Synced` append is answered without the sync of the log.
    SyncLeftOut,
    /// Lines that the log refused stay in the head.
    RefusedStays,
    /// No duplicates are looked for in the head that is being sealed.
    FrozenNotAsked,
    /// The log goes before the part that holds its lines is written.
    LogGoesFirst,
    /// A seal leaves out the last line of a day.
    LastLineLost,
    /// A replay applies every record twice.
    ReplayedTwice,
    /// Parts are read beside the one that replaced them.
    ReplacedAreRead,
    /// A compaction removes its sources before the part made of them is listed.
    SourcesGoFirst,
    /// A merged part whose write failed at the end is forgotten under its name.
    MergedForgotten,
    /// A compaction takes lines of two streams at one instant for the same.
    EqualInstantsLost,
    /// A compaction writes deleted lines again, and the request is noted as done.
    DeletedComesBack,
    /// A request is noted as done while the log still holds its lines.
    LogOutlivesDelete,
    /// A request is noted as done while a part that could not be opened may hold its lines.
    LeftOutForgotten,
    /// A delete request is answered without being written down.
    RequestForgotten,
    /// Retention looks at a part's oldest line instead of its newest.
    RetentionTooEarly,
    /// Bytes are believed whatever their checksum says.
    ChecksumsNotVerified,
    /// The codes of a dictionary are off by one.
    CodeOffByOne,
    /// A text is looked for in the first word of a dictionary only.
    FirstWordOnly,
}

#[cfg(any(debug_assertions, feature = "planted"))]
thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Plants a bug in the stores of this thread, or takes it out.
#[cfg(any(debug_assertions, feature = "planted"))]
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Plants nothing.
#[cfg(not(any(debug_assertions, feature = "planted")))]
pub fn plant(_: Option<Bug>) {}

/// Whether a bug is planted.
#[cfg(any(debug_assertions, feature = "planted"))]
pub(crate) fn is(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Whether a bug is planted.
#[cfg(not(any(debug_assertions, feature = "planted")))]
pub(crate) fn is(_: Bug) -> bool {
    false
}
