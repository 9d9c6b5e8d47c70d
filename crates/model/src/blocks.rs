//! How logs leave and enter a store: blocks of lines that answer questions.
//!
//! A reader rarely needs a line. It asks a [`LogBlock`] which rows contain a text and what shapes
//! the lines have, parses a [`Shape`] once instead of every line, and finds the values of a field
//! in the column of a slot; it rebuilds the line only of the rows it returns.
//! A store that keeps no columns says so with `None`, and the reader rebuilds the line and looks
//! for itself: the answers are the same, later.
//!
//! Contract of [`LogBlocks`]:
//! * blocks come ordered by their first row to be returned: descending newest timestamp for
//!   [`Direction::Backward`], ascending oldest timestamp for [`Direction::Forward`]; they may overlap,
//!   and a reader with a limit stops when no later block can hold a better row;
//! * rows inside a block ascend by timestamp; equal timestamps keep the order of arrival;
//! * rows outside the range or of streams that do not match are not in the block;
//! * lines are byte-exact.

use crate::{Labels, ReadError};
use memchr::memmem::Finder;
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

/// Some texts of which a wanted line contains at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnyOf {
    texts: Vec<Vec<u8>>,
    ignores_case: bool,
}

impl AnyOf {
    /// The texts, of which none is empty; `ignores_case` makes ASCII letters of either case alike.
    /// A text that contains another is left out: who contains it contains the other.
    ///
    /// # Panics
    /// If a text is empty or there is none.
    pub fn new(mut texts: Vec<Vec<u8>>, ignores_case: bool) -> AnyOf {
        assert!(
            !texts.is_empty() && texts.iter().all(|text| !text.is_empty()),
            "texts to look for"
        );
        if ignores_case {
            texts.iter_mut().for_each(|text| text.make_ascii_lowercase());
        }
        texts.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        let mut kept: Vec<Vec<u8>> = Vec::new();
        for text in texts {
            let has = |short: &Vec<u8>| text.windows(short.len()).any(|part| part == &short[..]);
            if !kept.iter().any(has) {
                kept.push(text);
            }
        }
        AnyOf { texts: kept, ignores_case }
    }

    /// The texts, the shortest first; in lower case if case does not count.
    pub fn texts(&self) -> &[Vec<u8>] {
        &self.texts
    }

    /// Whether ASCII letters of either case are alike.
    pub fn ignores_case(&self) -> bool {
        self.ignores_case
    }

    /// What finds them.
    pub fn finder(&self) -> TextFinder {
        if let ([text], false) = (&self.texts[..], self.ignores_case) {
            return TextFinder::One(Box::new(Finder::new(text).into_owned()));
        }
        let mut pattern = if self.ignores_case { "(?i-u:" } else { "(?-u:" }.to_owned();
        for (at, text) in self.texts.iter().enumerate() {
            pattern.push_str(if at > 0 { "|" } else { "" });
            text.iter().for_each(|byte| pattern.push_str(&format!("\\x{byte:02x}")));
        }
        pattern.push(')');
        let built = regex::bytes::RegexBuilder::new(&pattern).size_limit(usize::MAX).build();
        TextFinder::Some(built.expect("escaped bytes are a pattern"))
    }
}

/// Finds the texts of an [`AnyOf`].
#[derive(Clone, Debug)]
pub enum TextFinder {
    /// One text, as it is.
    One(Box<Finder<'static>>),
    /// Several, or in any case.
    Some(regex::bytes::Regex),
}

impl TextFinder {
    /// Where the first stands: start and end. Of texts none of which contains another there is never
    /// more than one at a place.
    pub fn find(&self, text: &[u8]) -> Option<(usize, usize)> {
        match self {
            TextFinder::One(finder) => finder.find(text).map(|at| (at, at + finder.needle().len())),
            TextFinder::Some(regex) => regex.find(text).map(|found| (found.start(), found.end())),
        }
    }

    /// Whether there is one.
    pub fn is_match(&self, text: impl AsRef<[u8]>) -> bool {
        match self {
            TextFinder::One(finder) => finder.find(text.as_ref()).is_some(),
            TextFinder::Some(regex) => regex.is_match(text.as_ref()),
        }
    }
}

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

/// What is known of the lines of a shape, whatever the values in their slots are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ShapeKind {
    /// Nothing; the one slot is the whole line.
    Text = 0,
    /// One JSON object. A slot is the inside of a string, escapes as they stand, or a number, or
    /// `true` or `false`; every other byte is static.
    Json = 1,
    /// logfmt pairs. A slot is a value, never empty and without escapes, with its quotes static.
    Logfmt = 2,
    /// logfmt pairs with escapes: no more is known than of text.
    Mixed = 3,
}

/// The fixed text of lines that differ only in their slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// What is known of the lines.
    pub kind: ShapeKind,
    /// The texts around the slots: one more than there are slots. The line is the first, the value
    /// of the first slot, the second, and so on.
    pub statics: Vec<Vec<u8>>,
}

/// A number for each row.
#[derive(Clone, Copy, Debug)]
pub enum Codes<'a> {
    /// The same for all rows.
    Same(u32),
    /// One after the other, from this one on.
    From(u32),
    /// Row by row.
    Each(&'a [u32]),
}

impl Codes<'_> {
    /// The number of a row.
    ///
    /// # Panics
    /// If the block has no such row, and the numbers stand row by row.
    pub fn at(&self, row: usize) -> u32 {
        match self {
            Codes::Same(code) => *code,
            Codes::From(first) => first + row as u32,
            Codes::Each(codes) => codes[row],
        }
    }
}

/// What tells rows apart besides their lines.
#[derive(Clone, Copy, Debug)]
pub struct Keys<'a> {
    /// The streams that rows of the block may be of.
    pub streams: &'a [StreamId],
    /// The place of each row's stream among them.
    pub stream_of_row: Codes<'a>,
    /// The structured metadata that rows of the block may have.
    pub sets: &'a [Labels],
    /// The place of each row's metadata among them.
    pub set_of_row: Codes<'a>,
}

/// The shapes of a block.
#[derive(Clone, Copy, Debug)]
pub struct Shapes<'a> {
    /// The shapes.
    pub shapes: &'a [Shape],
    /// The shape of each row.
    pub of_row: Codes<'a>,
    /// The place of each row among the stored rows of its shape: its index into [`SlotValues`].
    pub ranks: Codes<'a>,
}

/// The values of one slot of a shape, by rank.
#[derive(Clone, Copy, Debug)]
pub enum SlotValues<'a> {
    /// A dictionary, and a code per rank; no codes when there is one word.
    Words {
        /// The distinct values.
        words: &'a [Vec<u8>],
        /// Indexes into `words`.
        codes: &'a [u8],
    },
    /// Decimal numbers, exact: the value is the mantissa divided by ten to the `scale`, and so
    /// divided in floating point it is what reading the text would give.
    Numbers {
        /// The mantissas.
        mantissas: &'a [i64],
        /// Digits behind the point.
        scale: u32,
    },
    /// Anything; ask for the values one by one.
    Texts,
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
    /// Clears `rows[i]` for every row whose line contains none of the texts; like
    /// [`LogBlock::contains`].
    fn contains_any(&self, any: &AnyOf, rows: &mut [bool]) -> Result<(), ReadError> {
        let finder = any.finder();
        let mut line = Vec::new();
        for (row, wanted) in rows.iter_mut().enumerate().filter(|(_, wanted)| **wanted) {
            self.line(row, &mut line)?;
            *wanted = finder.is_match(&line);
        }
        Ok(())
    }
    /// The streams and the metadata of all rows at once; `None` when this block can only be asked row
    /// by row.
    fn keys(&self) -> Option<Keys<'_>> {
        None
    }
    /// The shapes of the lines; `None` when this block can only be asked line by line.
    fn shapes(&self) -> Option<Shapes<'_>>;
    /// The values of a slot of a shape, as columns.
    ///
    /// # Panics
    /// If the block has no such shape or slot.
    fn values(&self, shape: usize, slot: usize) -> Result<SlotValues<'_>, ReadError>;
    /// Appends one value of a slot to `out`.
    ///
    /// # Panics
    /// If the block has no such shape, slot or rank.
    fn value(
        &self,
        shape: usize,
        slot: usize,
        rank: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), ReadError>;
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
