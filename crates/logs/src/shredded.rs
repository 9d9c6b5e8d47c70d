//! A shredded block as a reader holds it: rows decoded, columns read on the first question.

mod metadata;
mod search;

use search::Sought;
pub(crate) use search::may_contain;

use crate::catalog::StreamSet;
use crate::numbers::Numbers;
use crate::part::{OpenPart, Rows};
use crate::shred::column::{Column, Form, Values, print_hex};
use crate::shred::frames::Frame;
use crate::shred::shapes::Head;
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use vigie_disk::wire::Bad;
use vigie_model::blocks::{AnyOf, Keys, LogBlock, Shapes, SlotValues};
use vigie_model::{Labels, LogRange, ReadError, StreamId};

/// A stored set of columns, read on demand.
struct Slots {
    /// The rows' instants, by rank, which some columns count from; not asked for when the block has one
    /// shape only.
    ts_ns: OnceLock<Vec<i64>>,
    slots: Vec<Slot>,
}

#[derive(Default)]
struct Slot {
    values: OnceLock<Result<Values, ReadError>>,
    /// The frames of texts.
    texts: Vec<OnceLock<Result<Vec<u8>, ReadError>>>,
}

/// Rows by ascending timestamp.
pub(crate) struct ShreddedBlock {
    part: Arc<OpenPart>,
    block: usize,
    head: Head,
    /// All that are stored.
    rows: Rows,
    seen: Seen,
    /// The empty set first.
    sets: Vec<Labels>,
    of_shape: Vec<Slots>,
}

/// The rows that the reader sees.
struct Seen {
    /// Their places among those stored, or among those picked.
    run: Range<usize>,
    /// Their instants and streams and shapes, if they were picked one by one.
    picked: Option<(Vec<i64>, Numbers, Numbers)>,
    /// Of the rows stored or picked.
    ranks: Numbers,
    sets: Numbers,
}

/// A frame's own error, before it has a place.
enum Fault {
    Bad(Bad),
    Read(ReadError),
}

impl From<Bad> for Fault {
    fn from(what: Bad) -> Fault {
        Fault::Bad(what)
    }
}

impl ShreddedBlock {
    /// The rows that `wanted` asks for; `None` when there is none.
    pub(crate) fn open(
        part: Arc<OpenPart>,
        block: usize,
        head: Head,
        wanted: Option<(&StreamSet, LogRange)>,
    ) -> Result<Option<ShreddedBlock>, ReadError> {
        let rows = part.rows(block, &head)?;
        let run = wanted.map_or(0..rows.ts_ns.len(), |(_, range)| {
            let start = rows.ts_ns.partition_point(|&ts| ts < range.start_ns);
            start..rows.ts_ns.partition_point(|&ts| ts < range.end_ns).max(start)
        });
        let streams = &part.part.blocks[block].streams;
        let is_wanted: Vec<bool> = streams
            .iter()
            .map(|&stream| wanted.is_none_or(|(set, _)| set.contains(stream)))
            .collect();
        let picks: Option<Vec<usize>> = is_wanted.contains(&false).then(|| {
            let is_wanted = |row: &usize| is_wanted[rows.streams.at(*row) as usize];
            run.clone().filter(is_wanted).collect()
        });
        if picks.as_ref().map_or(run.is_empty(), Vec::is_empty) {
            return Ok(None);
        }
        let ranks = ranks(&rows, &head);
        let (sets_of_rows, sets) = metadata::sets(&part, block, &head, &rows)?;
        let seen = match picks {
            None => Seen { run, picked: None, ranks, sets: sets_of_rows },
            Some(picks) => Seen {
                run: 0..picks.len(),
                picked: Some((
                    picks.iter().map(|&row| rows.ts_ns[row]).collect(),
                    rows.streams.picked(&picks),
                    rows.shapes.picked(&picks),
                )),
                ranks: ranks.picked(&picks),
                sets: sets_of_rows.picked(&picks),
            },
        };
        let of_shape = head.columns.iter().map(|columns| slots(&columns.slots)).collect();
        Ok(Some(ShreddedBlock { part, block, head, rows, seen, sets, of_shape }))
    }

    fn streams(&self) -> &Numbers {
        self.seen.picked.as_ref().map_or(&self.rows.streams, |(_, streams, _)| streams)
    }

    fn row_shapes(&self) -> &Numbers {
        self.seen.picked.as_ref().map_or(&self.rows.shapes, |(.., shapes)| shapes)
    }

    /// The place of a row that the reader sees, among those that the numbers are of.
    fn place(&self, row: usize) -> usize {
        assert!(row < self.seen.run.len(), "the block has no such row");
        self.seen.run.start + row
    }

    /// The instants of the stored rows of a shape, by rank.
    fn ts_of(&self, shape: usize) -> &[i64] {
        if let Numbers::Same(_) = self.rows.shapes {
            return &self.rows.ts_ns;
        }
        self.of_shape[shape].ts_ns.get_or_init(|| {
            let of_shape = |(row, ts_ns): (usize, &i64)| {
                (self.rows.shapes.at(row) as usize == shape).then_some(*ts_ns)
            };
            self.rows.ts_ns.iter().enumerate().filter_map(of_shape).collect()
        })
    }

    /// The instant that a value is printed from; 0 when it needs none.
    fn origin_ns(&self, shape: usize, column: &Column, rank: usize) -> i64 {
        if counts_from_row(column) { self.ts_of(shape)[rank] } else { 0 }
    }

    fn loaded(&self, shape: usize, slot: usize) -> Result<&Values, ReadError> {
        let column = &self.head.columns[shape].slots[slot];
        let rows = self.head.columns[shape].rows;
        let cell = &self.of_shape[shape].slots[slot].values;
        cell.get_or_init(|| load(&self.part, self.block, column, rows))
            .as_ref()
            .map_err(Clone::clone)
    }

    /// A frame of texts, and its bytes.
    fn text_frame(
        &self,
        shape: usize,
        slot: usize,
        at: usize,
        frame: &Frame,
    ) -> Result<&[u8], ReadError> {
        let cell = &self.of_shape[shape].slots[slot].texts[at];
        let text = cell.get_or_init(|| self.part.frame(self.block, frame));
        text.as_deref().map_err(Clone::clone)
    }

    fn print(
        &self,
        shape: usize,
        slot: usize,
        rank: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), ReadError> {
        let column = &self.head.columns[shape].slots[slot];
        match (column, self.loaded(shape, slot)?) {
            (Column::Texts { frames, .. }, Values::Texts(places)) => {
                let mut start = 0;
                for (at, (values, frame)) in frames.iter().enumerate() {
                    if rank < start + values {
                        let (from, to) = places[rank];
                        let text = self.text_frame(shape, slot, at, frame)?;
                        out.extend_from_slice(&text[from as usize..to as usize]);
                        return Ok(());
                    }
                    start += values;
                }
                unreachable!("the frames hold all ranks");
            }
            (_, values) => {
                print_value(column, values, rank, self.origin_ns(shape, column, rank), out);
            }
        }
        Ok(())
    }
}

fn slots(columns: &[Column]) -> Slots {
    let slot = |column: &Column| Slot {
        texts: match column {
            Column::Texts { frames, .. } => frames.iter().map(|_| OnceLock::new()).collect(),
            _ => Vec::new(),
        },
        ..Slot::default()
    };
    Slots { ts_ns: OnceLock::new(), slots: columns.iter().map(slot).collect() }
}

/// The place of each stored row among those of its shape.
fn ranks(rows: &Rows, head: &Head) -> Numbers {
    let Numbers::Each(shapes) = &rows.shapes else { return Numbers::Ascending };
    let mut next = vec![0; head.shapes.len()];
    let rank = |&shape: &u32| {
        let rank = &mut next[shape as usize];
        *rank += 1;
        *rank - 1
    };
    Numbers::Each(shapes.iter().map(rank).collect())
}

/// Whether the values of a column are printed from the instants of their rows.
fn counts_from_row(column: &Column) -> bool {
    matches!(column, Column::Numbers { form: Form::Time { is_relative: true, .. }, .. })
}

fn load(part: &OpenPart, block: usize, column: &Column, rows: usize) -> Result<Values, ReadError> {
    let mut load = |frame: &Frame| part.frame(block, frame).map_err(Fault::Read);
    column.values(rows, &mut load).map_err(|fault| match fault {
        Fault::Read(error) => error,
        Fault::Bad(what) => part.corrupt(block, what),
    })
}

/// Prints a value of a column that has no texts.
fn print_value(column: &Column, values: &Values, rank: usize, ts_ns: i64, out: &mut Vec<u8>) {
    match (column, values) {
        (Column::Words { words, .. }, Values::Codes(codes)) => {
            let code = codes.get(rank).copied().unwrap_or(0);
            out.extend_from_slice(&words[usize::from(code)]);
        }
        (Column::Numbers { form, .. }, Values::Numbers(numbers)) => {
            form.print(numbers[rank], ts_ns, out);
        }
        (Column::Hex { is_uuid, length, .. }, Values::Bytes(bytes)) => {
            print_hex(&bytes[rank * length..][..*length], *is_uuid, out);
        }
        _ => unreachable!("values are those of their column"),
    }
}

impl LogBlock for ShreddedBlock {
    fn timestamps_ns(&self) -> &[i64] {
        match &self.seen.picked {
            Some((ts_ns, ..)) => ts_ns,
            None => &self.rows.ts_ns[self.seen.run.clone()],
        }
    }

    fn stream(&self, row: usize) -> StreamId {
        let place = self.streams().at(self.place(row));
        self.part.part.blocks[self.block].streams[place as usize]
    }

    fn metadata(&self, row: usize) -> Labels {
        self.sets[self.seen.sets.at(self.place(row)) as usize].clone()
    }

    fn contains(&self, needle: &[u8], rows: &mut [bool]) -> Result<(), ReadError> {
        if needle.is_empty() {
            return Ok(());
        }
        self.contains_any(&AnyOf::new(vec![needle.to_vec()], false), rows)
    }

    fn contains_any(&self, any: &AnyOf, rows: &mut [bool]) -> Result<(), ReadError> {
        assert_eq!(rows.len(), self.timestamps_ns().len(), "one answer per row");
        self.find(&Sought::new(any), rows)
    }

    fn keys(&self) -> Option<Keys<'_>> {
        Some(Keys {
            streams: &self.part.part.blocks[self.block].streams,
            stream_of_row: self.streams().of(&self.seen.run),
            sets: &self.sets,
            set_of_row: self.seen.sets.of(&self.seen.run),
        })
    }

    fn shapes(&self) -> Option<Shapes<'_>> {
        Some(Shapes {
            shapes: &self.head.shapes,
            of_row: self.row_shapes().of(&self.seen.run),
            ranks: self.seen.ranks.of(&self.seen.run),
        })
    }

    fn values(&self, shape: usize, slot: usize) -> Result<SlotValues<'_>, ReadError> {
        let column = &self.head.columns[shape].slots[slot];
        Ok(match (column, self.loaded(shape, slot)?) {
            (Column::Words { words, .. }, Values::Codes(codes)) => {
                SlotValues::Words { words, codes }
            }
            (Column::Numbers { form: Form::Int, .. }, Values::Numbers(mantissas)) => {
                SlotValues::Numbers { mantissas, scale: 0 }
            }
            (
                Column::Numbers { form: Form::Decimal { scale, .. }, .. },
                Values::Numbers(mantissas),
            ) => SlotValues::Numbers { mantissas, scale: u32::from(*scale) },
            _ => SlotValues::Texts,
        })
    }

    fn value(
        &self,
        shape: usize,
        slot: usize,
        rank: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), ReadError> {
        self.print(shape, slot, rank, out)
    }

    fn line(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ReadError> {
        out.clear();
        let at = self.place(row);
        let (shape, rank) = (self.row_shapes().at(at) as usize, self.seen.ranks.at(at) as usize);
        let statics = &self.head.shapes[shape].statics;
        out.extend_from_slice(&statics[0]);
        for (slot, text) in statics[1..].iter().enumerate() {
            self.print(shape, slot, rank, out)?;
            out.extend_from_slice(text);
        }
        Ok(())
    }
}
