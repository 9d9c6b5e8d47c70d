//! How logs leave and enter a store: blocks of lines that answer questions.
//!
//! A reader rarely needs a line. It asks a [`LogBlock`] which rows contain a text, what the values
//! of a field are, and rebuilds the line only of the rows it returns.
//! A store that cannot answer a question from columns or dictionaries says so with `None`,
//! and the reader rebuilds the line and looks for itself: the answers are the same, later.
//!
//! Contract of [`LogBlocks`]:
//! * blocks come ordered by their first row to be returned: descending newest timestamp for
//!   [`Direction::Backward`], ascending oldest timestamp for [`Direction::Forward`]; they may overlap,
//!   and a reader with a limit stops when no later block can hold a better row;
//! * rows inside a block ascend by timestamp; equal timestamps keep the order of arrival;
//! * rows outside the range or of streams that do not match are not in the block;
//! * lines are byte-exact.

use crate::{Labels, ReadError};
use std::sync::Arc;

/// A stream (a label set) inside one store, dense from 0, stable while the store is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u32);

/// Nanoseconds since the epoch: the start is included, the end is not (Loki's rule).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRange {
    /// The first instant wanted.
    pub start_ns: i64,
    /// The first instant no longer wanted.
    pub end_ns: i64,
}

/// Which rows come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Oldest first.
    Forward,
    /// Newest first.
    Backward,
}

/// A text that every wanted line contains. A store may use it to leave out blocks that cannot
/// match; it must not leave out any that can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needle(pub Vec<u8>);

/// One line on its way in or out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Nanoseconds since the epoch.
    pub ts_ns: i64,
    /// The line, byte-exact; not always UTF-8.
    pub line: Vec<u8>,
    /// Loki's structured metadata.
    pub metadata: Labels,
}

/// A question about a field of every line of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldQuestion<'a> {
    /// How the field is found.
    pub parser: FieldParser,
    /// Its name as the parser would extract it (Loki's flattened, sanitised name).
    pub name: &'a str,
}

/// The parsers whose fields a store may keep as columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldParser {
    /// `| json`.
    Json,
    /// `| logfmt`.
    Logfmt,
}

/// The answer to a [`FieldQuestion`], one entry per row of the block.
#[derive(Clone, Debug)]
pub enum Field {
    /// Numbers whose text form is canonical; `None` where the line has no such field.
    Numbers(Vec<Option<f64>>),
    /// A dictionary and a code per row; `None` where the line has no such field.
    Words {
        /// The distinct values.
        words: Vec<Arc<str>>,
        /// Indexes into `words`.
        codes: Vec<Option<u32>>,
    },
}

/// Some lines of some streams.
pub trait LogBlock: Send + Sync {
    /// The rows' instants, ascending (equal ones allowed), in nanoseconds. Its length is the number of rows.
    fn timestamps_ns(&self) -> &[i64];
    /// The stream of a row.
    fn stream(&self, row: usize) -> StreamId;
    /// The structured metadata of a row.
    fn metadata(&self, row: usize) -> Labels;
    /// The text question: clears `rows[i]` for every row whose line does not contain `needle`.
    /// Rows already cleared stay so and need not be looked at.
    fn contains(&self, needle: &[u8], rows: &mut [bool]) -> Result<(), ReadError>;
    /// The column or dictionary question; `None` when this block can only be asked line by line.
    fn field(&self, question: FieldQuestion<'_>) -> Option<Result<Field, ReadError>>;
    /// Replaces `out` by the line of a row, byte-exact.
    fn line(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ReadError>;
}

/// The blocks that a selector and a range touch, read one after the other.
pub trait LogBlocks: Send {
    /// The next block, or `None` after the last. An error does not end the walk.
    fn next_block(&mut self) -> Option<Result<Arc<dyn LogBlock>, ReadError>>;
    /// The labels of a stream met in a block.
    ///
    /// # Panics
    /// If `id` did not come from the same store.
    fn labels(&self, id: StreamId) -> Labels;
}
