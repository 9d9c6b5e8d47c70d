//! A block as a reader holds it: columns decoded and filtered, text when asked for.

use crate::part::OpenPart;
use hashbrown::HashMap;
use memchr::memmem::Finder;
use std::sync::{Arc, OnceLock};
use vigie_model::blocks::{AnyOf, Codes, Keys, LogBlock, Shapes, SlotValues};
use vigie_model::{Labels, LogEntry, LogRange, ReadError, StreamId};

use crate::catalog::StreamSet;

/// Where the lines are.
pub(crate) enum Text {
    /// In memory.
    Here(Vec<u8>),
    /// In a part's block, read on the first question about a line.
    OnDisk { part: Arc<OpenPart>, block: usize, loaded: OnceLock<Result<Vec<u8>, ReadError>> },
}

/// Rows by ascending timestamp.
pub(crate) struct Block {
    ts_ns: Vec<i64>,
    /// Places in `table`.
    streams: Vec<u32>,
    table: Vec<StreamId>,
    known_streams: HashMap<StreamId, u32>,
    /// Places in the text: start and length.
    lines: Vec<(u32, u32)>,
    /// Places in `sets`; 0 is the empty set.
    metadata: Vec<u32>,
    sets: Vec<Labels>,
    known_sets: HashMap<Labels, u32>,
    pub(crate) text: Text,
}

impl Default for Block {
    fn default() -> Block {
        Block {
            ts_ns: Vec::new(),
            streams: Vec::new(),
            table: Vec::new(),
            known_streams: HashMap::new(),
            lines: Vec::new(),
            metadata: Vec::new(),
            sets: vec![Labels::default()],
            known_sets: HashMap::new(),
            text: Text::Here(Vec::new()),
        }
    }
}

impl Block {
    pub(crate) fn push(
        &mut self,
        ts_ns: i64,
        stream: StreamId,
        line: (u32, u32),
        metadata: Option<&Labels>,
    ) {
        let code = metadata.map_or(0, |set| {
            *self.known_sets.entry_ref(set).or_insert_with(|| {
                self.sets.push(set.clone());
                (self.sets.len() - 1) as u32
            })
        });
        self.push_code(ts_ns, stream, line, code);
    }

    fn push_code(&mut self, ts_ns: i64, stream: StreamId, line: (u32, u32), code: u32) {
        debug_assert!(self.ts_ns.last().is_none_or(|&last| last <= ts_ns));
        self.ts_ns.push(ts_ns);
        let place = *self.known_streams.entry(stream).or_insert_with(|| {
            self.table.push(stream);
            (self.table.len() - 1) as u32
        });
        self.streams.push(place);
        self.lines.push(line);
        self.metadata.push(code);
    }

    /// The wanted rows of a decoded block; all of them without a wish.
    pub(crate) fn filtered(columns: Columns, wanted: Option<(&StreamSet, LogRange)>) -> Block {
        let mut block = Block { sets: columns.sets, ..Block::default() };
        let (start, end) = wanted.map_or((0, columns.ts_ns.len()), |(_, range)| {
            let start = columns.ts_ns.partition_point(|&ts| ts < range.start_ns);
            (start, columns.ts_ns.partition_point(|&ts| ts < range.end_ns))
        });
        for row in start..end.max(start) {
            if wanted.is_none_or(|(streams, _)| streams.contains(columns.streams[row])) {
                let (ts_ns, stream) = (columns.ts_ns[row], columns.streams[row]);
                block.push_code(ts_ns, stream, columns.lines[row], columns.metadata[row]);
            }
        }
        block
    }

    pub(crate) fn first_ns(&self) -> Option<i64> {
        self.ts_ns.first().copied()
    }

    pub(crate) fn whole_text(&self) -> Result<&[u8], ReadError> {
        match &self.text {
            Text::Here(text) => Ok(text),
            Text::OnDisk { part, block, loaded } => {
                loaded.get_or_init(|| part.text(*block)).as_deref().map_err(Clone::clone)
            }
        }
    }

    fn line_of<'a>(&self, text: &'a [u8], row: usize) -> &'a [u8] {
        let (at, len) = self.lines[row];
        &text[at as usize..][..len as usize]
    }
}

impl LogBlock for Block {
    fn timestamps_ns(&self) -> &[i64] {
        &self.ts_ns
    }

    fn stream(&self, row: usize) -> StreamId {
        self.table[self.streams[row] as usize]
    }

    fn metadata(&self, row: usize) -> Labels {
        self.sets[self.metadata[row] as usize].clone()
    }

    fn contains(&self, needle: &[u8], rows: &mut [bool]) -> Result<(), ReadError> {
        assert_eq!(rows.len(), self.ts_ns.len(), "one answer per row");
        let text = self.whole_text()?;
        let finder = Finder::new(needle);
        for (row, wanted) in rows.iter_mut().enumerate().filter(|(_, wanted)| **wanted) {
            *wanted = finder.find(self.line_of(text, row)).is_some();
        }
        Ok(())
    }

    fn contains_any(&self, any: &AnyOf, rows: &mut [bool]) -> Result<(), ReadError> {
        let text = self.whole_text()?;
        let finder = any.finder();
        for (row, wanted) in rows.iter_mut().enumerate().filter(|(_, wanted)| **wanted) {
            *wanted = finder.is_match(self.line_of(text, row));
        }
        Ok(())
    }

    fn keys(&self) -> Option<Keys<'_>> {
        Some(Keys {
            streams: &self.table,
            stream_of_row: Codes::Each(&self.streams),
            sets: &self.sets,
            set_of_row: Codes::Each(&self.metadata),
        })
    }

    fn shapes(&self) -> Option<Shapes<'_>> {
        None
    }

    fn values(&self, _: usize, _: usize) -> Result<SlotValues<'_>, ReadError> {
        unreachable!("the block has no shapes")
    }

    fn value(&self, _: usize, _: usize, _: usize, _: &mut Vec<u8>) -> Result<(), ReadError> {
        unreachable!("the block has no shapes")
    }

    fn line(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ReadError> {
        let text = self.whole_text()?;
        out.clear();
        out.extend_from_slice(self.line_of(text, row));
        Ok(())
    }
}

/// The columns of a part's block as they were stored.
pub(crate) struct Columns {
    pub(crate) ts_ns: Vec<i64>,
    pub(crate) streams: Vec<StreamId>,
    pub(crate) lines: Vec<(u32, u32)>,
    /// Places in `sets`; 0 is the empty set.
    pub(crate) metadata: Vec<u32>,
    pub(crate) sets: Vec<Labels>,
}

/// Whether the block holds the entry.
pub(crate) fn holds(
    block: &dyn LogBlock,
    stream: StreamId,
    entry: &LogEntry,
) -> Result<bool, ReadError> {
    let ts_ns = block.timestamps_ns();
    let start = ts_ns.partition_point(|&ts| ts < entry.ts_ns);
    let end = ts_ns.partition_point(|&ts| ts <= entry.ts_ns);
    let mut line = Vec::new();
    for row in start..end {
        if block.stream(row) == stream && block.metadata(row) == entry.metadata {
            block.line(row, &mut line)?;
            if line == entry.line {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
