//! Groups the rows of a block by shape, and reads such a block's head back.
//!
//! ```text
//! head: varint shapes, per shape: u8 kind, varint rows, varint slots, slots + 1 times bytes static,
//!         per slot: column
//!       varint metadata shapes, per shape: varint rows, varint names, per name: bytes, column
//! ```
//! Kinds: 0 text (one slot, the whole line), 1 JSON, 2 logfmt, 3 mixed. A shape's columns hold its
//! rows only, in the order of the block.

use super::column::Column;
use super::column_write;
use super::frames::{FrameWriter, Levels};
use super::tokens::{self, SLOTS_MAX};
use hashbrown::HashMap;
use std::ops::Range;
use std::sync::Arc;
use vigie_disk::wire::{Bad, Bytes, put_bytes, put_uint};
use vigie_model::blocks::{Shape, ShapeKind};
use vigie_model::{Labels, StreamId};

use crate::LABELS_MAX;

/// A shape with fewer rows is not worth its columns: its lines are kept as text.
const SHAPE_ROWS_MIN: usize = 16;
/// Most shapes that are looked at in a block; lines of further ones are kept as text.
const SHAPES_MAX: usize = 1024;

/// Shapes that a line is compared with before it is read.
const RECENT_SHAPES: usize = 3;

/// A row on its way into a block.
#[derive(Clone, Copy)]
pub(crate) struct InRow<'a> {
    pub(crate) ts_ns: i64,
    pub(crate) stream: StreamId,
    pub(crate) line: &'a [u8],
    /// `None` when empty.
    pub(crate) metadata: Option<&'a Labels>,
}

/// What a block is written as, but for its rows' instants and streams.
pub(crate) struct Shredded {
    pub(crate) head: Vec<u8>,
    pub(crate) frames: Vec<u8>,
    pub(crate) shapes: usize,
    pub(crate) shape_of_row: Vec<u32>,
    pub(crate) metadata_shapes: usize,
    /// 0 for none, else the shape's number plus one.
    pub(crate) metadata_of_row: Vec<u32>,
}

#[derive(Default)]
struct Group {
    kind: Option<ShapeKind>,
    statics: Vec<Vec<u8>>,
    rows: Vec<u32>,
    /// As many per row as the shape has slots.
    slots: Vec<Range<u32>>,
}

/// Shreds the rows of a block.
pub(crate) fn shred(rows: &[InRow<'_>], levels: Levels) -> std::io::Result<Shredded> {
    let (groups, shape_of_row) = group(rows);
    let mut frames = FrameWriter::new(levels);
    let mut head = Vec::new();
    put_uint(&mut head, groups.len() as u64);
    for group in &groups {
        write_group(group, rows, &mut frames, &mut head)?;
    }
    let (metadata_shapes, metadata_of_row) = write_metadata(rows, &mut frames, &mut head)?;
    let (shapes, frames) = (groups.len(), frames.body);
    Ok(Shredded { head, frames, shapes, shape_of_row, metadata_shapes, metadata_of_row })
}

/// The group of a row whose line is kept as text.
const TEXT: u32 = u32::MAX;

/// The groups that are worth it, the text last, and the group of each row.
fn group(rows: &[InRow<'_>]) -> (Vec<Group>, Vec<u32>) {
    let mut known: HashMap<Vec<u8>, u32, foldhash::fast::FixedState> = HashMap::default();
    let mut groups: Vec<Group> = Vec::new();
    let mut group_of_row = Vec::with_capacity(rows.len());
    let (mut slots, mut key) = (Vec::new(), Vec::new());
    // The shapes met last, the last one first.
    let mut recent = [TEXT; RECENT_SHAPES];
    for (at, row) in (0u32..).zip(rows) {
        let is_like = |place: &u32| {
            let group = groups.get(*place as usize);
            group.is_some_and(|group| {
                group.kind == Some(ShapeKind::Json)
                    && tokens::cut_like(row.line, &group.statics, &mut slots)
            })
        };
        let place = match recent.iter().position(is_like) {
            Some(known) => {
                recent[..=known].rotate_right(1);
                recent[0]
            }
            None => {
                let found = tokens::cut(row.line, &mut slots).and_then(|kind| {
                    shape_key(kind, row.line, &slots, &mut key);
                    if let Some(&place) = known.get(&key[..]) {
                        return Some(place);
                    }
                    if groups.len() == SHAPES_MAX {
                        return None;
                    }
                    let statics = statics_of(row.line, &slots);
                    groups.push(Group { kind: Some(kind), statics, ..Group::default() });
                    known.insert(key.clone(), groups.len() as u32 - 1);
                    Some(groups.len() as u32 - 1)
                });
                let Some(place) = found else {
                    group_of_row.push(TEXT);
                    continue;
                };
                recent.rotate_right(1);
                recent[0] = place;
                place
            }
        };
        let group = &mut groups[place as usize];
        group.rows.push(at);
        group.slots.extend_from_slice(&slots);
        group_of_row.push(place);
    }
    settled(groups, group_of_row, rows)
}

/// The groups that stay, and the text behind them for the rows of the others.
fn settled(
    mut groups: Vec<Group>,
    mut group_of_row: Vec<u32>,
    rows: &[InRow<'_>],
) -> (Vec<Group>, Vec<u32>) {
    // Numbers in the block: those that stay, in order of appearance, then the text.
    let stays: Vec<bool> = groups.iter().map(|g| g.rows.len() >= SHAPE_ROWS_MIN).collect();
    let numbers: Vec<u32> = stays
        .iter()
        .scan(0, |next, &stays| {
            *next += u32::from(stays);
            Some(if stays { *next - 1 } else { TEXT })
        })
        .collect();
    groups.retain(|group| group.rows.len() >= SHAPE_ROWS_MIN);
    let text = groups.len() as u32;
    let mut whole = Group { statics: vec![Vec::new(); 2], ..Group::default() };
    for (at, place) in (0u32..).zip(&mut group_of_row) {
        let number = numbers.get(*place as usize).copied().unwrap_or(TEXT);
        *place = number.min(text);
        if *place == text {
            whole.rows.push(at);
            whole.slots.push(0..rows[at as usize].line.len() as u32);
        }
    }
    if !whole.rows.is_empty() {
        groups.push(whole);
    }
    (groups, group_of_row)
}

/// What two lines of the same shape have in common, and no others.
fn shape_key(kind: ShapeKind, line: &[u8], slots: &[Range<u32>], key: &mut Vec<u8>) {
    key.clear();
    key.push(kind as u8);
    let mut at = 0;
    for slot in slots {
        let text = &line[at..slot.start as usize];
        key.extend_from_slice(&(text.len() as u32).to_le_bytes());
        key.extend_from_slice(text);
        at = slot.end as usize;
    }
    key.extend_from_slice(&line[at..]);
}

fn statics_of(line: &[u8], slots: &[Range<u32>]) -> Vec<Vec<u8>> {
    let ends = slots.iter().map(|slot| slot.start as usize).chain([line.len()]);
    let starts = [0].into_iter().chain(slots.iter().map(|slot| slot.end as usize));
    starts.zip(ends).map(|(start, end)| line[start..end].to_vec()).collect()
}

fn write_group(
    group: &Group,
    rows: &[InRow<'_>],
    frames: &mut FrameWriter,
    head: &mut Vec<u8>,
) -> std::io::Result<()> {
    head.push(group.kind.map_or(ShapeKind::Text, |kind| kind) as u8);
    put_uint(head, group.rows.len() as u64);
    let slots = group.statics.len() - 1;
    put_uint(head, slots as u64);
    group.statics.iter().for_each(|text| put_bytes(head, text));
    let ts_ns: Vec<i64> = group.rows.iter().map(|&row| rows[row as usize].ts_ns).collect();
    let mut values: Vec<&[u8]> = Vec::with_capacity(group.rows.len());
    for slot in 0..slots {
        values.clear();
        values.extend(group.rows.iter().zip(group.slots[slot..].iter().step_by(slots)).map(
            |(&row, place)| &rows[row as usize].line[place.start as usize..place.end as usize],
        ));
        column_write::write(&values, &ts_ns, frames, head)?;
    }
    Ok(())
}

fn write_metadata(
    rows: &[InRow<'_>],
    frames: &mut FrameWriter,
    head: &mut Vec<u8>,
) -> std::io::Result<(usize, Vec<u32>)> {
    let mut known: HashMap<Vec<&str>, u32> = HashMap::new();
    let mut groups: Vec<Vec<(i64, &Labels)>> = Vec::new();
    let mut of_row = Vec::with_capacity(rows.len());
    let mut names: Vec<&str> = Vec::new();
    for row in rows {
        let Some(set) = row.metadata else {
            of_row.push(0);
            continue;
        };
        names.clear();
        names.extend(set.iter().map(|label| &*label.name));
        let place = *known.entry_ref(&names[..]).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() as u32
        });
        groups[place as usize - 1].push((row.ts_ns, set));
        of_row.push(place);
    }
    put_uint(head, groups.len() as u64);
    for group in &groups {
        let ts_ns: Vec<i64> = group.iter().map(|(ts_ns, _)| *ts_ns).collect();
        put_uint(head, group.len() as u64);
        put_uint(head, group[0].1.len() as u64);
        for (at, label) in group[0].1.iter().enumerate() {
            put_bytes(head, label.name.as_bytes());
            let value = |(_, set): &(i64, &'_ Labels)| set.iter().nth(at).map(|l| l.value.clone());
            let values: Vec<Arc<str>> = group.iter().filter_map(value).collect();
            let values: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
            column_write::write(&values, &ts_ns, frames, head)?;
        }
    }
    Ok((groups.len(), of_row))
}

/// The head of a block, read.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) shapes: Vec<Shape>,
    pub(crate) columns: Vec<Columns>,
    pub(crate) metadata: Vec<(Vec<Arc<str>>, Columns)>,
    /// What the frames of all columns take.
    pub(crate) frame_bytes: u64,
}

/// The columns of one shape.
#[derive(Debug)]
pub(crate) struct Columns {
    pub(crate) rows: usize,
    pub(crate) slots: Vec<Column>,
}

impl Head {
    pub(crate) fn read(raw: &[u8], rows: usize) -> Result<Head, Bad> {
        let mut input = Bytes::new(raw);
        let mut at = 0;
        let (mut shapes, mut columns, mut metadata) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..input.count(SHAPES_MAX + 1)? {
            let (shape, of_shape) = read_shape(&mut input, rows, &mut at)?;
            shapes.push(shape);
            columns.push(of_shape);
        }
        if columns.iter().map(|c: &Columns| c.rows).sum::<usize>() != rows {
            return Err("has shapes of more rows or fewer than the index says");
        }
        for _ in 0..input.count(rows)? {
            let rows = input.count(rows)?;
            let (mut names, mut slots) = (Vec::new(), Vec::new());
            for _ in 0..input.count(LABELS_MAX)? {
                names.push(Arc::from(input.text()?));
                slots.push(Column::read(&mut input, rows, &mut at)?);
            }
            metadata.push((names, Columns { rows, slots }));
        }
        input.end()?;
        Ok(Head { shapes, columns, metadata, frame_bytes: at })
    }
}

fn read_shape(input: &mut Bytes<'_>, most: usize, at: &mut u64) -> Result<(Shape, Columns), Bad> {
    let kind = match input.byte()? {
        0 => ShapeKind::Text,
        1 => ShapeKind::Json,
        2 => ShapeKind::Logfmt,
        3 => ShapeKind::Mixed,
        _ => return Err("has a shape of an unknown kind"),
    };
    let rows = input.count(most)?;
    let slots = input.count(SLOTS_MAX)?;
    let statics = (0..=slots).map(|_| Ok(input.bytes()?.to_vec())).collect::<Result<_, Bad>>()?;
    let columns = (0..slots).map(|_| Column::read(input, rows, at)).collect::<Result<_, Bad>>()?;
    Ok((Shape { kind, statics }, Columns { rows, slots: columns }))
}
