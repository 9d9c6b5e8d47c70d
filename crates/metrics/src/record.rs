//! What the records of the write-ahead log and of `series.log` say.
//! The bytes stand in `docs/formats/metrics-log.md`.

use crate::GROUP_COLUMNS_MAX;
use crate::batch::{self, Batch};
use crate::object::{self, Objects};
use vigie_disk::wire::{Bad, Bytes, put_bytes, put_int, put_runs, put_uint};
use vigie_model::limits::LABELS_PER_SERIES_MAX;
use vigie_model::{ABSENT, Labels, is_absent};

const ROWS: u8 = 1;
const SEALED: u8 = 2;
/// Before the list of series had generations.
const CHECKPOINT_1: u8 = 3;
const CHECKPOINT: u8 = 4;
/// In place of a value's length: the cell holds an object.
const OBJECT: usize = 15;
const SERIES: u8 = 16;

/// A record of the write-ahead log.
#[derive(Debug)]
pub(crate) enum Record {
    /// Series that later records may use.
    Series(Batch),
    /// Rows; in version 1 behind the series that they use first.
    Rows(Vec<Definition>, Vec<Part>),
    /// Every row of `group` logged before this stands in a segment that is good up to `end`.
    Sealed { group: u32, segment: u32, end: u64 },
    /// What is known to be durable elsewhere.
    Checkpoint(Durable),
}

/// Up to where other files were synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Durable {
    /// Which writing of the list of series; 0 of a version that had none.
    pub(crate) generation: u64,
    pub(crate) series_log_bytes: u64,
    pub(crate) segment: u32,
    pub(crate) segment_bytes: u64,
}

/// A series and its place.
#[derive(Debug, PartialEq)]
pub(crate) struct Definition {
    pub(crate) id: u32,
    pub(crate) group: u32,
    pub(crate) column: u32,
    pub(crate) labels: Labels,
}

/// The cells of one row that belong to one group, columns ascending.
#[derive(Debug, PartialEq)]
pub(crate) struct Part {
    pub(crate) group: u32,
    pub(crate) ts_ms: i64,
    pub(crate) columns: Vec<u32>,
    /// [`ABSENT`] where the cell holds an object.
    pub(crate) values: Vec<f64>,
    pub(crate) objects: Objects,
}

fn definition(input: &mut Bytes<'_>) -> Result<Definition, Bad> {
    let id = input.count(u32::MAX as usize - 1)? as u32;
    let group = input.count(u32::MAX as usize - 1)? as u32;
    let column = input.count(GROUP_COLUMNS_MAX - 1)? as u32;
    let labels = input.labels(LABELS_PER_SERIES_MAX)?;
    if labels.is_empty() {
        return Err("a series has no label");
    }
    Ok(Definition { id, group, column, labels })
}

/// A list of definitions, as version 1 of `series.log` and its rows have them.
pub(crate) fn definitions(input: &mut Bytes<'_>) -> Result<Vec<Definition>, Bad> {
    let count = input.count(input.rest.len())?;
    (0..count).map(|_| definition(input)).collect()
}

/// Starts a [`Record::Rows`] of `part_count` parts, each added with [`put_part`].
pub(crate) fn put_rows_head(out: &mut Vec<u8>, part_count: usize) {
    out.push(ROWS);
    // Definitions stood here in version 1.
    put_uint(out, 0);
    put_uint(out, part_count as u64);
}

/// A part: group, instant, columns, then the values with the zero bytes at their ends cut off, then
/// the objects.
pub(crate) fn put_part(
    out: &mut Vec<u8>,
    group: u32,
    ts_ms: i64,
    columns: &[u32],
    values: &[f64],
    objects: &Objects,
) {
    assert_eq!(columns.len(), values.len());
    if !objects.is_empty() {
        let absent = values.iter().filter(|value| is_absent(**value)).count();
        assert_eq!(absent, objects.len(), "a cell is a value or an object");
    }
    put_uint(out, u64::from(group));
    put_int(out, ts_ms);
    put_runs(out, columns);
    for pair in values.chunks(2) {
        let second = pair.get(1).map_or(0, |value| byte_count(*value));
        out.push((byte_count(pair[0]) | second << 4) as u8);
    }
    for value in values {
        // An object has no bytes here: its count is longer than a value.
        let bytes = value.to_bits().to_be_bytes();
        out.extend_from_slice(bytes.get(..byte_count(*value)).unwrap_or(&[]));
    }
    for (_, object) in objects.iter() {
        put_bytes(out, object);
    }
}

/// How many bytes of a value, high ones first, are left when zeros at the end are cut off.
fn byte_count(value: f64) -> usize {
    if is_absent(value) {
        return OBJECT;
    }
    8 - (value.to_bits().trailing_zeros() / 8) as usize
}

fn part(input: &mut Bytes<'_>) -> Result<Part, Bad> {
    let group = input.count(u32::MAX as usize - 1)? as u32;
    let ts_ms = input.int()?;
    let columns = input.runs(GROUP_COLUMNS_MAX)?;
    let counts = input.take(columns.len().div_ceil(2))?;
    let mut values = Vec::with_capacity(columns.len());
    for at in 0..columns.len() {
        let count = usize::from(counts[at / 2] >> (4 * (at % 2)) & 15);
        if count == OBJECT {
            values.push(ABSENT);
            continue;
        }
        let mut bytes = [0; 8];
        bytes.get_mut(..count).ok_or("a value is too long")?.copy_from_slice(input.take(count)?);
        let value = f64::from_bits(u64::from_be_bytes(bytes));
        if is_absent(value) {
            return Err("a value has the bits that stand for none");
        }
        values.push(value);
    }
    let mut objects = Objects::default();
    for (column, _) in columns.iter().zip(&values).filter(|(_, value)| is_absent(**value)) {
        let object = input.bytes()?;
        object::decode_alone(object)?;
        objects.push(*column, object);
    }
    Ok(Part { group, ts_ms, columns, values, objects })
}

/// The record of a batch.
pub(crate) fn series(batch: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + batch.len());
    out.push(SERIES);
    out.extend_from_slice(batch);
    out
}

pub(crate) fn sealed(group: u32, segment: u32, end: u64) -> Vec<u8> {
    let mut out = vec![SEALED];
    put_uint(&mut out, u64::from(group));
    put_uint(&mut out, u64::from(segment));
    put_uint(&mut out, end);
    out
}

pub(crate) fn checkpoint(durable: Durable) -> Vec<u8> {
    let mut out = vec![CHECKPOINT];
    put_uint(&mut out, durable.generation);
    put_uint(&mut out, durable.series_log_bytes);
    put_uint(&mut out, u64::from(durable.segment));
    put_uint(&mut out, durable.segment_bytes);
    out
}

pub(crate) fn decode(payload: &[u8]) -> Result<Record, Bad> {
    let mut input = Bytes::new(payload);
    let record = match input.byte()? {
        SERIES => return batch::decode(input.rest).map(Record::Series),
        ROWS => {
            let definitions = definitions(&mut input)?;
            let count = input.count(input.rest.len())?;
            let parts = (0..count).map(|_| part(&mut input)).collect::<Result<_, _>>()?;
            Record::Rows(definitions, parts)
        }
        SEALED => Record::Sealed {
            group: input.count(u32::MAX as usize)? as u32,
            segment: input.count(u32::MAX as usize)? as u32,
            end: input.uint()?,
        },
        kind @ (CHECKPOINT_1 | CHECKPOINT) => Record::Checkpoint(Durable {
            generation: if kind == CHECKPOINT { input.uint()? } else { 0 },
            series_log_bytes: input.uint()?,
            segment: input.count(u32::MAX as usize)? as u32,
            segment_bytes: input.uint()?,
        }),
        _ => return Err("a record of the log is of an unknown kind"),
    };
    input.end()?;
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vigie_model::STALE_NAN;

    #[test]
    fn records_come_back_and_no_damage_makes_them_panic() {
        let part_of = |group, ts_ms, columns, values| {
            let objects = Objects::default();
            Part { group, ts_ms, columns, values, objects }
        };
        let mut mixed = part_of(2, 7, vec![1, 2, 3, 9], vec![ABSENT, 5.0, ABSENT, STALE_NAN]);
        for (column, count) in [(1, 5), (3, 1 << 40)] {
            mixed.objects.encode(column, &crate::object::tests::whole(count, &[1, 4, -2]));
        }
        let parts = vec![
            part_of(1, 1000, vec![0, 1, 5], vec![0.0, 0.1, -3.0]),
            part_of(0, -1, vec![4000], vec![f64::INFINITY]),
            mixed,
        ];
        let durable =
            Durable { generation: 300, series_log_bytes: 9, segment: 1, segment_bytes: 7 };
        let mut rows = Vec::new();
        put_rows_head(&mut rows, parts.len());
        for part in &parts {
            let Part { group, ts_ms, columns, values, objects } = part;
            put_part(&mut rows, *group, *ts_ms, columns, values, objects);
        }
        for (bytes, wanted) in [
            (rows, Record::Rows(Vec::new(), parts)),
            (sealed(3, 2, 1 << 30), Record::Sealed { group: 3, segment: 2, end: 1 << 30 }),
            (checkpoint(durable), Record::Checkpoint(durable)),
            (vec![CHECKPOINT_1, 9, 1, 7], Record::Checkpoint(Durable { generation: 0, ..durable })),
        ] {
            // As text: what has no value is NaN, which equals nothing.
            assert_eq!(format!("{:?}", decode(&bytes)), format!("{:?}", Ok::<_, Bad>(wanted)));
            for len in 0..bytes.len() {
                assert!(decode(&bytes[..len]).is_err());
            }
            for bit in 0..bytes.len() * 8 {
                let mut bad = bytes.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                let _ = decode(&bad);
            }
        }
    }
}
