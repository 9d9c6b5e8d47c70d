//! A shredded block as a reader holds it: rows decoded, columns read on the first question.

use crate::catalog::StreamSet;
use crate::part::{OpenPart, Rows};
use crate::shred::column::{Column, Form, Place, Values, filter_admits, holds, print_hex};
use crate::shred::frames::Frame;
use crate::shred::needle::{Ask, ways};
use crate::shred::shapes::{Columns, Head};
use hashbrown::HashMap;
use memchr::memmem::Finder;
use std::sync::{Arc, OnceLock};
use vigie_disk::wire::Bad;
use vigie_model::blocks::{LogBlock, Shapes, SlotValues};
use vigie_model::{Labels, LogRange, ReadError, StreamId};

/// A stored set of columns, read on demand.
struct Slots {
    /// The rows' instants, by rank, which some columns count from.
    ts_ns: Vec<i64>,
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
    /// Of the wanted rows, like all below but `of_shape`.
    ts_ns: Vec<i64>,
    streams: Vec<StreamId>,
    shapes: Vec<u32>,
    ranks: Vec<u32>,
    /// Places in `sets`; 0 is the empty set.
    metadata: Vec<u32>,
    sets: Vec<Labels>,
    of_shape: Vec<Slots>,
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

/// Whether some line of the block may contain the text, from the head and the filters.
pub(crate) fn may_contain(
    part: &OpenPart,
    block: usize,
    head: &Head,
    needle: &[u8],
) -> Result<bool, ReadError> {
    for (shape, columns) in head.shapes.iter().zip(&head.columns) {
        let Some(ways) = ways(&shape.statics, needle) else { return Ok(true) };
        for way in ways {
            if way_is_open(part, block, columns, &way, needle)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn way_is_open(
    part: &OpenPart,
    block: usize,
    columns: &Columns,
    way: &[Ask],
    needle: &[u8],
) -> Result<bool, ReadError> {
    let known = |ask: &Ask| columns.slots[ask.slot].may_hold(ask.place, &needle[ask.part.clone()]);
    if !way.iter().all(known) {
        return Ok(false);
    }
    for ask in way {
        if let Some((filter, keys)) = columns.slots[ask.slot].filter_for(&needle[ask.part.clone()])
        {
            let admits = filter_admits(&part.frame(block, filter)?, &keys);
            if !admits.map_err(|what| part.corrupt(block, what))? {
                return Ok(false);
            }
        }
    }
    Ok(true)
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
        let range = wanted.map_or(0..rows.ts_ns.len(), |(_, range)| {
            let start = rows.ts_ns.partition_point(|&ts| ts < range.start_ns);
            start..rows.ts_ns.partition_point(|&ts| ts < range.end_ns).max(start)
        });
        let of_block = part.part.blocks[block].streams.iter();
        let all_streams =
            wanted.is_none_or(|(set, _)| of_block.clone().all(|&stream| set.contains(stream)));
        let is_whole = all_streams && range.len() == rows.ts_ns.len();
        let is_wanted =
            |row: &usize| wanted.is_none_or(|(set, _)| set.contains(rows.streams[*row]));
        let picks: Vec<usize> =
            if is_whole { Vec::new() } else { range.filter(is_wanted).collect() };
        if picks.is_empty() && !is_whole {
            return Ok(None);
        }
        if is_whole {
            let (of_shape, ranks) = by_shape(&rows, &head);
            let (metadata, sets) = metadata_sets(&part, block, &head, &rows)?;
            let Rows { ts_ns, streams, shapes, .. } = rows;
            return Ok(Some(ShreddedBlock {
                part,
                block,
                head,
                ts_ns,
                streams,
                shapes,
                ranks,
                metadata,
                sets,
                of_shape,
            }));
        }
        let (of_shape, ranks) = by_shape(&rows, &head);
        let (metadata, sets) = metadata_sets(&part, block, &head, &rows)?;
        let pick = |all: &[u32]| picks.iter().map(|&row| all[row]).collect();
        Ok(Some(ShreddedBlock {
            ts_ns: picks.iter().map(|&row| rows.ts_ns[row]).collect(),
            streams: picks.iter().map(|&row| rows.streams[row]).collect(),
            shapes: pick(&rows.shapes),
            ranks: pick(&ranks),
            metadata: pick(&metadata),
            part,
            block,
            head,
            sets,
            of_shape,
        }))
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
            (_, values) => print_value(column, values, rank, self.of_shape[shape].ts_ns[rank], out),
        }
        Ok(())
    }

    /// Which ranks hold `part` at `place`.
    fn answers(
        &self,
        shape: usize,
        slot: usize,
        place: Place,
        part: &[u8],
    ) -> Result<Vec<bool>, ReadError> {
        let column = &self.head.columns[shape].slots[slot];
        let rows = self.head.columns[shape].rows;
        match (column, self.loaded(shape, slot)?) {
            (Column::Words { words, .. }, Values::Codes(codes)) => {
                let by_word: Vec<bool> =
                    words.iter().map(|word| holds(word, place, part)).collect();
                if codes.is_empty() {
                    return Ok(vec![by_word[0]; rows]);
                }
                Ok(codes.iter().map(|&code| by_word[usize::from(code)]).collect())
            }
            (Column::Texts { frames, .. }, Values::Texts(places)) => {
                let finder = Finder::new(part);
                let mut out = Vec::with_capacity(rows);
                let mut places = places.iter();
                for (at, (values, frame)) in frames.iter().enumerate() {
                    let text = self.text_frame(shape, slot, at, frame)?;
                    let places: Vec<&(u32, u32)> = places.by_ref().take(*values).collect();
                    if place == Place::Anywhere {
                        find_all(&finder, text, &places, &mut out);
                    } else {
                        let value = |place: &&(u32, u32)| &text[place.0 as usize..place.1 as usize];
                        out.extend(places.iter().map(|at| holds(value(at), place, part)));
                    }
                }
                Ok(out)
            }
            (_, values) => {
                let mut text = Vec::new();
                let ts_ns = &self.of_shape[shape].ts_ns;
                Ok((0..rows)
                    .map(|rank| {
                        text.clear();
                        print_value(column, values, rank, ts_ns[rank], &mut text);
                        holds(&text, place, part)
                    })
                    .collect())
            }
        }
    }

    /// Clears the rows of one shape whose line does not contain the needle.
    fn contains_in_shape(
        &self,
        shape: usize,
        needle: &[u8],
        rows: &mut [bool],
    ) -> Result<(), ReadError> {
        let mine = |row: usize| self.shapes[row] as usize == shape;
        let Some(ways) = ways(&self.head.shapes[shape].statics, needle) else {
            let finder = Finder::new(needle);
            let mut line = Vec::new();
            for row in (0..rows.len()).filter(|row| mine(*row)) {
                if rows[row] {
                    self.line(row, &mut line)?;
                    rows[row] = finder.find(&line).is_some();
                }
            }
            return Ok(());
        };
        let columns = &self.head.columns[shape];
        let mut found: Option<Vec<bool>> = None;
        for way in ways {
            if way.is_empty() {
                return Ok(());
            }
            if !way_is_open(&self.part, self.block, columns, &way, needle)? {
                continue;
            }
            let mut all: Option<Vec<bool>> = None;
            for ask in &way {
                let answers =
                    self.answers(shape, ask.slot, ask.place, &needle[ask.part.clone()])?;
                all = Some(match all {
                    None => answers,
                    Some(all) => all.iter().zip(answers).map(|(a, b)| *a && b).collect(),
                });
            }
            let all = all.unwrap_or_default();
            found = Some(match found {
                None => all,
                Some(found) => found.iter().zip(all).map(|(a, b)| *a || b).collect(),
            });
        }
        for row in (0..rows.len()).filter(|row| mine(*row)) {
            rows[row] &= found.as_ref().is_some_and(|found| found[self.ranks[row] as usize]);
        }
        Ok(())
    }
}

/// Notes for each value of a frame whether the finder's needle is in it.
fn find_all(finder: &Finder<'_>, text: &[u8], places: &[&(u32, u32)], out: &mut Vec<bool>) {
    let start = out.len();
    out.resize(start + places.len(), false);
    let mut from = 0;
    while let Some(hit) = finder.find(&text[from..]) {
        let (hit, end) = (from + hit, from + hit + finder.needle().len());
        let at = places.partition_point(|place| place.1 as usize <= hit);
        let Some(place) = places.get(at) else { return };
        if end <= place.1 as usize {
            out[start + at] = true;
            from = place.1 as usize;
        } else {
            // It crosses into the next value; another may start inside it.
            from = hit + 1;
        }
    }
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

fn by_shape(rows: &Rows, head: &Head) -> (Vec<Slots>, Vec<u32>) {
    let slots = |column: &Column| Slot {
        texts: match column {
            Column::Texts { frames, .. } => frames.iter().map(|_| OnceLock::new()).collect(),
            _ => Vec::new(),
        },
        ..Slot::default()
    };
    let mut of_shape: Vec<Slots> = head
        .columns
        .iter()
        .map(|columns| Slots {
            ts_ns: Vec::with_capacity(columns.rows),
            slots: columns.slots.iter().map(slots).collect(),
        })
        .collect();
    if let [only] = &mut of_shape[..] {
        only.ts_ns = rows.ts_ns.clone();
        return (of_shape, (0..rows.shapes.len() as u32).collect());
    }
    let mut ranks = Vec::with_capacity(rows.shapes.len());
    for (&shape, &ts_ns) in rows.shapes.iter().zip(&rows.ts_ns) {
        let ts_of = &mut of_shape[shape as usize].ts_ns;
        ranks.push(ts_of.len() as u32);
        ts_of.push(ts_ns);
    }
    (of_shape, ranks)
}

/// The distinct metadata sets of all rows, the empty one first, and each row's.
fn metadata_sets(
    part: &OpenPart,
    block: usize,
    head: &Head,
    rows: &Rows,
) -> Result<(Vec<u32>, Vec<Labels>), ReadError> {
    let mut sets = vec![Labels::default()];
    if head.metadata.is_empty() {
        return Ok((vec![0; rows.metadata.len()], sets));
    }
    // By shape, values and where they end.
    let mut known: HashMap<Vec<u8>, u32> = HashMap::new();
    let mut columns = Vec::with_capacity(head.metadata.len());
    for (_, of_shape) in &head.metadata {
        columns.push(MetadataColumns::load(part, block, of_shape)?);
    }
    let mut ranks = vec![0; head.metadata.len()];
    let (mut key, mut out) = (Vec::new(), Vec::with_capacity(rows.metadata.len()));
    for (&shape, &ts_ns) in rows.metadata.iter().zip(&rows.ts_ns) {
        let Some(place) = (shape as usize).checked_sub(1) else {
            out.push(0);
            continue;
        };
        let rank = ranks[place];
        ranks[place] += 1;
        let (names, of_shape) = &head.metadata[place];
        key.clear();
        let ends = columns[place].print(of_shape, rank, ts_ns, &mut key);
        ends.iter().for_each(|&end| key.extend_from_slice(&(end as u32).to_le_bytes()));
        key.extend_from_slice(&shape.to_le_bytes());
        let id = match known.get(&key[..]) {
            Some(&id) => id,
            None => {
                let mut start = 0;
                let mut values = Vec::with_capacity(names.len());
                for end in ends {
                    values.push(String::from_utf8_lossy(&key[start..end]).into_owned());
                    start = end;
                }
                sets.push(Labels::from_pairs_with_empty(names.iter().cloned().zip(values)));
                known.insert(key.clone(), sets.len() as u32 - 1);
                sets.len() as u32 - 1
            }
        };
        out.push(id);
    }
    Ok((out, sets))
}

/// The columns of a metadata shape, all read.
struct MetadataColumns(Vec<(Values, Vec<Vec<u8>>)>);

impl MetadataColumns {
    fn load(
        part: &OpenPart,
        block: usize,
        columns: &Columns,
    ) -> Result<MetadataColumns, ReadError> {
        let mut out = Vec::with_capacity(columns.slots.len());
        for column in &columns.slots {
            let mut texts = Vec::new();
            if let Column::Texts { frames, .. } = column {
                for (_, frame) in frames {
                    texts.push(part.frame(block, frame)?);
                }
            }
            out.push((load(part, block, column, columns.rows)?, texts));
        }
        Ok(MetadataColumns(out))
    }

    /// Appends the values of a rank to `out`; where each ends.
    fn print(&self, columns: &Columns, rank: usize, ts_ns: i64, out: &mut Vec<u8>) -> Vec<usize> {
        let mut ends = Vec::with_capacity(columns.slots.len());
        for (column, (values, texts)) in columns.slots.iter().zip(&self.0) {
            match (column, values) {
                (Column::Texts { frames, .. }, Values::Texts(places)) => {
                    let mut start = 0;
                    for ((count, _), text) in frames.iter().zip(texts) {
                        if (start..start + count).contains(&rank) {
                            let (from, to) = places[rank];
                            out.extend_from_slice(&text[from as usize..to as usize]);
                        }
                        start += count;
                    }
                }
                _ => print_value(column, values, rank, ts_ns, out),
            }
            ends.push(out.len());
        }
        ends
    }
}

impl LogBlock for ShreddedBlock {
    fn timestamps_ns(&self) -> &[i64] {
        &self.ts_ns
    }

    fn stream(&self, row: usize) -> StreamId {
        self.streams[row]
    }

    fn metadata(&self, row: usize) -> Labels {
        self.sets[self.metadata[row] as usize].clone()
    }

    fn metadata_set(&self, row: usize) -> u32 {
        self.metadata[row]
    }

    fn contains(&self, needle: &[u8], rows: &mut [bool]) -> Result<(), ReadError> {
        assert_eq!(rows.len(), self.ts_ns.len(), "one answer per row");
        (0..self.head.shapes.len())
            .try_for_each(|shape| self.contains_in_shape(shape, needle, rows))
    }

    fn shapes(&self) -> Option<Shapes<'_>> {
        Some(Shapes { shapes: &self.head.shapes, of_row: &self.shapes, ranks: &self.ranks })
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
        let (shape, rank) = (self.shapes[row] as usize, self.ranks[row] as usize);
        let statics = &self.head.shapes[shape].statics;
        out.extend_from_slice(&statics[0]);
        for (slot, text) in statics[1..].iter().enumerate() {
            self.print(shape, slot, rank, out)?;
            out.extend_from_slice(text);
        }
        Ok(())
    }
}
