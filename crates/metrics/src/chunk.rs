//! A chunk: some rows of one group, column by column. The payload of a record in a segment.
//! The bytes stand in `docs/formats/metrics-segment.md`.
//!
//! Chunks of kind 2 are written; those of kind 1, of before, are read. A [`Directory`] is what a
//! reader of some columns needs of a chunk; a [`Chunk`] is all of one.

use crate::ints;
use crate::strip::{self, NOTHING, Scratch, Strip};
use crate::{CHUNK_ROWS_MAX, GROUP_COLUMNS_MAX};
use std::ops::Range;
use std::sync::Arc;
use vigie_disk::wire::{Bad, Bytes, put_runs, put_uint};
use vigie_model::Histogram;

/// The kind of before, whose columns are tagged.
const KIND_1: u8 = 1;
/// Columns are strips; their forms stand in the directory.
const KIND_2: u8 = 2;

/// A column, and its objects by row.
pub(crate) type ObjectColumn = (u32, Vec<(u32, Arc<Histogram>)>);

/// Writes chunks, with its buffers kept from one to the next.
#[derive(Default)]
pub(crate) struct Encoder {
    scratch: Scratch,
    forms: Vec<u8>,
    lengths: Vec<u32>,
    strips: Vec<u8>,
    times: Vec<u8>,
    out: Vec<u8>,
}

impl Encoder {
    /// The bytes of a chunk: `fill` gives the rows of the column at an index of `columns`, a value
    /// or `ABSENT` per timestamp and at least one value or object; `objects` has the columns with
    /// objects, ascending.
    pub(crate) fn encode(
        &mut self,
        group: u32,
        timestamps_ms: &[i64],
        columns: &[u32],
        mut fill: impl FnMut(usize, &mut [f64]),
        objects: &[ObjectColumn],
    ) -> &[u8] {
        let rows = timestamps_ms.len();
        assert!((1..=CHUNK_ROWS_MAX).contains(&rows), "a chunk of {rows} rows");
        assert!((1..=GROUP_COLUMNS_MAX).contains(&columns.len()));
        assert!(timestamps_ms.windows(2).all(|pair| pair[0] < pair[1]), "rows ascend");
        self.strips.clear();
        self.forms.clear();
        self.lengths.clear();
        let mut values = [0.0; CHUNK_ROWS_MAX];
        let values = &mut values[..rows];
        let mut objects = objects.iter().peekable();
        for (at, column) in columns.iter().enumerate() {
            let before = self.strips.len();
            fill(at, values);
            let (scratch, out) = (&mut self.scratch, &mut self.strips);
            let form = match objects.next_if(|of| of.0 == *column) {
                Some((_, objects)) => strip::encode_objects(values, objects, scratch, out),
                None => strip::encode(values, scratch, out),
            };
            self.forms.push(form);
            self.lengths.push((self.strips.len() - before) as u32);
        }
        assert!(objects.next().is_none(), "objects are of the chunk's columns");
        self.finish(group, timestamps_ms, columns)
    }

    fn finish(&mut self, group: u32, timestamps_ms: &[i64], columns: &[u32]) -> &[u8] {
        let out = &mut self.out;
        out.clear();
        out.push(KIND_2);
        put_uint(out, u64::from(group));
        put_uint(out, timestamps_ms.len() as u64);
        self.times.clear();
        ints::encode(timestamps_ms, &mut self.times);
        put_uint(out, self.times.len() as u64);
        out.extend_from_slice(&self.times);
        put_runs(out, columns);
        let width = match self.lengths.iter().max() {
            Some(longest) if *longest > 0xffff => 4,
            Some(longest) if *longest > 0xff => 2,
            _ => 1,
        };
        out.push(width as u8);
        out.extend_from_slice(&self.forms);
        if width == 1 {
            out.extend(self.lengths.iter().map(|length| *length as u8));
        } else {
            let bytes = self.lengths.iter().map(|length| length.to_le_bytes());
            bytes.for_each(|bytes| out.extend_from_slice(&bytes[..width]));
        }
        out.extend_from_slice(&self.strips);
        out
    }
}

/// A chunk as far as a reader of some of its columns needs it. Nothing of it grows with the columns.
#[derive(Clone, Debug)]
pub(crate) struct Directory<'a> {
    pub(crate) group: u32,
    pub(crate) rows: usize,
    times: &'a [u8],
    /// The columns, ascending.
    runs: Vec<Range<u32>>,
    table: Table<'a>,
}

/// What a chunk says about its columns, and their bytes.
#[derive(Clone, Debug)]
struct Table<'a> {
    /// `None` in a chunk of kind 1: all are tagged.
    forms: Option<&'a [u8]>,
    lengths: Lengths<'a>,
    strips: &'a [u8],
}

#[derive(Clone, Debug)]
enum Lengths<'a> {
    Bytes(&'a [u8]),
    Words(Vec<u32>),
}

impl Lengths<'_> {
    fn read<'a>(input: &mut Bytes<'a>, width: u8, count: usize) -> Result<Lengths<'a>, Bad> {
        let bytes = input.take(count * usize::from(width))?;
        match width {
            1 => Ok(Lengths::Bytes(bytes)),
            2 | 4 => {
                let word = |bytes: &[u8]| {
                    bytes.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte))
                };
                let words = bytes.chunks_exact(usize::from(width)).map(word);
                Ok(Lengths::Words(words.collect()))
            }
            _ => Err("the lengths of a chunk have an unknown width"),
        }
    }

    /// The length of one column.
    fn get(&self, at: usize) -> usize {
        match self {
            Lengths::Bytes(lengths) => usize::from(lengths[at]),
            Lengths::Words(lengths) => lengths[at] as usize,
        }
    }

    /// Bytes of some columns together.
    fn sum(&self, range: Range<usize>) -> u64 {
        match self {
            Lengths::Bytes(lengths) => {
                u64::from(lengths[range].iter().map(|length| u32::from(*length)).sum::<u32>())
            }
            Lengths::Words(lengths) => lengths[range].iter().map(|l| u64::from(*l)).sum(),
        }
    }

    fn len(&self) -> usize {
        match self {
            Lengths::Bytes(lengths) => lengths.len(),
            Lengths::Words(lengths) => lengths.len(),
        }
    }
}

impl<'a> Directory<'a> {
    pub(crate) fn parse(payload: &'a [u8]) -> Result<Directory<'a>, Bad> {
        let mut input = Bytes::new(payload);
        let kind = input.byte()?;
        if kind != KIND_1 && kind != KIND_2 {
            return Err("the record is not a chunk");
        }
        let group = input.count(u32::MAX as usize)? as u32;
        let rows = input.count(CHUNK_ROWS_MAX)?;
        if rows == 0 {
            return Err("a chunk has no row");
        }
        let times_bytes = input.count(payload.len())?;
        let times = input.take(times_bytes)?;
        let runs = input.ranges(GROUP_COLUMNS_MAX)?;
        let columns = runs.iter().map(|run| run.len()).sum();
        let table = match kind {
            KIND_1 => {
                let lengths = (0..columns).map(|_| Ok(input.count(payload.len())? as u32));
                let lengths = Lengths::Words(lengths.collect::<Result<_, Bad>>()?);
                Table { forms: None, lengths, strips: input.rest }
            }
            _ => {
                let width = input.byte()?;
                let forms = Some(input.take(columns)?);
                if forms.is_some_and(|forms| forms.contains(&NOTHING)) {
                    return Err("a column of a chunk is not there");
                }
                let lengths = Lengths::read(&mut input, width, columns)?;
                Table { forms, lengths, strips: input.rest }
            }
        };
        if table.lengths.sum(0..columns) != table.strips.len() as u64 {
            return Err("the columns of a chunk do not fill it");
        }
        Ok(Directory { group, rows, times, runs, table })
    }

    /// Replaces `out` by the instants of the rows.
    pub(crate) fn read_times(&self, out: &mut Vec<i64>) -> Result<(), Bad> {
        out.clear();
        out.resize(self.rows, 0);
        ints::decode(self.times, out)?;
        if out.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err("the timestamps of a chunk do not ascend");
        }
        Ok(())
    }
}

/// Some columns of a group taken out of its chunks: for each chunk and each column that was asked
/// for, a form and bytes. All chunks share three buffers.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// [`NOTHING`] for a column that the chunk has not.
    forms: Vec<u8>,
    /// Where the bytes of each start, and behind each chunk where those of the last end.
    starts: Vec<u32>,
    bytes: Vec<u8>,
}

impl Held {
    /// Takes the same ascending columns of one more chunk; `false` when it has none of them. The
    /// chunks have numbers from 0 on, and about `more` are still to come.
    pub(crate) fn add(&mut self, chunk: &Directory<'_>, columns: &[u32], more: usize) -> bool {
        let before = (self.forms.len(), self.starts.len());
        if self.forms.is_empty() {
            self.forms.reserve_exact(columns.len() * (1 + more));
            self.starts.reserve_exact((columns.len() + 1) * (1 + more));
        }
        let (mut rest, mut run_at) = (columns, 0);
        // The next column of the chunk, and where its bytes start.
        let (mut at, mut start) = (0, 0);
        for run in &chunk.runs {
            let before = rest.partition_point(|column| *column < run.start);
            self.skip(before);
            rest = &rest[before..];
            while let Some(first) = rest.first().filter(|column| **column < run.end) {
                let pairs = rest.windows(2).take((run.end - first) as usize - 1);
                let count = 1 + pairs.take_while(|pair| pair[0] + 1 == pair[1]).count();
                let from = run_at + (first - run.start) as usize;
                start += chunk.table.lengths.sum(at..from) as usize;
                at = from + count;
                start = self.take(&chunk.table, from..at, start);
                rest = &rest[count..];
            }
            run_at += run.len();
        }
        self.skip(rest.len());
        self.starts.push(self.bytes.len() as u32);
        if at == 0 {
            self.forms.truncate(before.0);
            self.starts.truncate(before.1);
        } else if before.0 == 0 {
            // The others will be about as long.
            self.bytes.reserve(self.bytes.len() * more);
        }
        at != 0
    }

    /// Takes neighbours whose bytes start at `start`, and returns where they end.
    fn take(&mut self, table: &Table<'_>, columns: Range<usize>, start: usize) -> usize {
        match table.forms {
            Some(forms) => self.forms.extend_from_slice(&forms[columns.clone()]),
            None => self.forms.extend(columns.clone().map(|_| Strip::tagged(&[]).form)),
        }
        let mut next = self.bytes.len() as u32;
        let mut place = |length: u32| {
            let start = next;
            next += length;
            start
        };
        match &table.lengths {
            Lengths::Bytes(lengths) => {
                let lengths = lengths[columns].iter();
                self.starts.extend(lengths.map(|length| place(u32::from(*length))));
            }
            Lengths::Words(lengths) => {
                self.starts.extend(lengths[columns].iter().map(|length| place(*length)));
            }
        }
        let end = start + next as usize - self.bytes.len();
        self.bytes.extend_from_slice(&table.strips[start..end]);
        end
    }

    fn skip(&mut self, count: usize) {
        self.forms.resize(self.forms.len() + count, NOTHING);
        self.starts.resize(self.starts.len() + count, self.bytes.len() as u32);
    }

    /// A column of a chunk, both by their numbers; `columns` were asked for.
    #[inline]
    pub(crate) fn strip(&self, chunk: usize, at: usize, columns: usize) -> Option<Strip<'_>> {
        let form = self.forms[chunk * columns + at];
        let starts = &self.starts[chunk * (columns + 1) + at..][..2];
        let bytes = &self.bytes[starts[0] as usize..starts[1] as usize];
        (form != NOTHING).then_some(Strip { form, bytes })
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.bytes.len() + self.forms.len() + 4 * self.starts.len()
    }
}

/// A chunk, read as far as its columns.
#[derive(Debug)]
pub(crate) struct Chunk<'a> {
    pub(crate) group: u32,
    pub(crate) timestamps_ms: Vec<i64>,
    /// Ascending.
    pub(crate) columns: Vec<u32>,
    /// Where each column's bytes start, and the end of the last.
    starts: Vec<u32>,
    table: Table<'a>,
}

impl<'a> Chunk<'a> {
    pub(crate) fn parse(payload: &'a [u8]) -> Result<Chunk<'a>, Bad> {
        let directory = Directory::parse(payload)?;
        let mut timestamps_ms = Vec::new();
        directory.read_times(&mut timestamps_ms)?;
        let Directory { group, runs, table, .. } = directory;
        let columns: Vec<u32> = runs.into_iter().flatten().collect();
        let mut starts = Vec::with_capacity(columns.len() + 1);
        let mut end = 0;
        starts.push(0);
        for at in 0..table.lengths.len() {
            // All together they are as long as the rest of the payload.
            end += table.lengths.get(at) as u32;
            starts.push(end);
        }
        Ok(Chunk { group, timestamps_ms, columns, starts, table })
    }

    /// A group's column.
    pub(crate) fn strip(&self, column: u32) -> Option<Strip<'a>> {
        let at = self.columns.binary_search(&column).ok()?;
        let bytes = &self.table.strips[self.starts[at] as usize..self.starts[at + 1] as usize];
        Some(match self.table.forms {
            Some(forms) => Strip { form: forms[at], bytes },
            None => Strip::tagged(bytes),
        })
    }
}

/// A column of a matrix whose columns stand one after the other, for [`Encoder::encode`].
pub(crate) fn of_matrix(matrix: &[f64]) -> impl FnMut(usize, &mut [f64]) {
    move |at, out| out.copy_from_slice(&matrix[at * out.len()..][..out.len()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decoders::chunk_of_kind_1;
    use vigie_model::ABSENT;

    const TIMES: [i64; 3] = [1000, 2000, 3001];
    const MATRIX: [f64; 9] = [1.0, 2.0, 3.0, 0.5, 0.5, 0.5, ABSENT, f64::NAN, ABSENT];

    fn is_as_written(bytes: &[u8], columns: &[u32]) {
        let chunk = Chunk::parse(bytes).unwrap();
        assert_eq!(&chunk.timestamps_ms[..], &TIMES[..]);
        assert_eq!(chunk.columns, columns);
        for (at, column) in columns.iter().enumerate() {
            let mut out = [0.0; 3];
            chunk.strip(*column).unwrap().decode(&mut out).unwrap();
            let wanted = &MATRIX[at * 3..at * 3 + 3];
            let same = out.iter().zip(wanted).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same, "{out:?} is not {wanted:?}");
        }
    }

    fn no_damage_makes_it_panic(bytes: &[u8]) {
        for len in 0..bytes.len() {
            assert!(Chunk::parse(&bytes[..len]).is_err(), "{len} bytes");
        }
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            let Ok(chunk) = Chunk::parse(&bad) else { continue };
            let mut out = vec![0.0; chunk.timestamps_ms.len()];
            for column in &chunk.columns {
                let _ = chunk.strip(*column).unwrap().decode(&mut out);
            }
        }
    }

    #[test]
    fn a_chunk_comes_back_and_no_damage_makes_it_panic() {
        let columns = [0, 1, 9];
        let mut encoder = Encoder::default();
        let bytes = encoder.encode(7, &TIMES, &columns, of_matrix(&MATRIX), &[]).to_vec();
        assert_eq!(Chunk::parse(&bytes).unwrap().group, 7);
        assert!(Chunk::parse(&bytes).unwrap().strip(2).is_none());
        is_as_written(&bytes, &columns);
        no_damage_makes_it_panic(&bytes);
    }

    #[test]
    fn a_chunk_of_kind_1_is_read_and_no_damage_makes_it_panic() {
        let columns: Vec<Vec<f64>> = MATRIX.chunks(3).map(<[f64]>::to_vec).collect();
        let bytes = chunk_of_kind_1(&TIMES, &columns);
        is_as_written(&bytes, &[0, 1, 2]);
        no_damage_makes_it_panic(&bytes);
    }

    #[test]
    fn some_columns_are_taken_out_as_they_are() {
        let columns: Vec<u32> = (0..20).chain(30..31).chain(40..300).collect();
        let value = |at: usize, row: usize| (columns[at] as usize * 7 + row * row) as f64 / 4.0;
        // The longest strip decides how wide the lengths are.
        for rows in [3, 16, 100] {
            let times: Vec<i64> = (0..rows as i64).map(|n| n * 1000).collect();
            let fill = |at: usize, out: &mut [f64]| {
                out.iter_mut().enumerate().for_each(|(row, out)| *out = value(at, row));
            };
            let mut encoder = Encoder::default();
            let bytes = encoder.encode(7, &times, &columns, fill, &[]).to_vec();
            let chunk = Directory::parse(&bytes).unwrap();
            for wanted in [
                vec![0],
                vec![299],
                vec![19, 20, 30, 31],
                (0..400).collect(),
                (0..400).step_by(3).collect(),
                vec![25],
            ] {
                let mut held = Held::default();
                let has_any = wanted.iter().any(|column| columns.contains(column));
                for _ in 0..2 {
                    assert_eq!(held.add(&chunk, &wanted, 1), has_any, "{wanted:?}");
                }
                for (at, column) in wanted.iter().enumerate().filter(|_| has_any) {
                    let strip = held.strip(1, at, wanted.len());
                    let known = columns.iter().position(|known| known == column);
                    assert_eq!(strip.is_some(), known.is_some(), "column {column}");
                    let mut out = vec![0.0; rows];
                    if let (Some(strip), Some(known)) = (strip, known) {
                        strip.decode(&mut out).unwrap();
                        assert!((0..rows).all(|row| out[row] == value(known, row)));
                    }
                }
            }
        }
    }
}
