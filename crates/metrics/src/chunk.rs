//! A chunk: some rows of one group, column by column. The payload of a record in a segment.
//! The bytes stand in `docs/formats/metrics-segment.md`.

use crate::column::{self, Scratch};
use crate::ints;
use crate::{CHUNK_ROWS_MAX, GROUP_COLUMNS_MAX};
use std::sync::Arc;
use vigie_disk::wire::{Bad, Bytes, put_runs, put_uint};
use vigie_model::Histogram;

/// Says that a record is a chunk; other kinds may follow in later versions.
const KIND: u8 = 1;

/// A column, and its objects by row.
pub(crate) type ObjectColumn = (u32, Vec<(u32, Arc<Histogram>)>);

/// Writes chunks, with its buffers kept from one to the next.
#[derive(Default)]
pub(crate) struct Encoder {
    scratch: Scratch,
    lengths: Vec<u8>,
    bodies: Vec<u8>,
    out: Vec<u8>,
}

impl Encoder {
    /// The bytes of a chunk: `matrix` holds the columns one after the other, each with a value or
    /// `ABSENT` per timestamp and at least one value or object; `objects` has the columns with
    /// objects, ascending.
    pub(crate) fn encode(
        &mut self,
        group: u32,
        timestamps_ms: &[i64],
        columns: &[u32],
        matrix: &[f64],
        objects: &[ObjectColumn],
    ) -> &[u8] {
        let rows = timestamps_ms.len();
        assert!((1..=CHUNK_ROWS_MAX).contains(&rows), "a chunk of {rows} rows");
        assert!((1..=GROUP_COLUMNS_MAX).contains(&columns.len()));
        assert_eq!(matrix.len(), rows * columns.len());
        assert!(timestamps_ms.windows(2).all(|pair| pair[0] < pair[1]), "rows ascend");
        self.bodies.clear();
        self.lengths.clear();
        let mut objects = objects.iter().peekable();
        for (column, values) in columns.iter().zip(matrix.chunks_exact(rows)) {
            let before = self.bodies.len();
            match objects.next_if(|of| of.0 == *column) {
                Some((_, objects)) => {
                    let (scratch, out) = (&mut self.scratch, &mut self.bodies);
                    column::encode_objects(values, objects, column::encode, scratch, out);
                }
                None => column::encode(values, &mut self.scratch, &mut self.bodies),
            }
            put_uint(&mut self.lengths, (self.bodies.len() - before) as u64);
        }
        assert!(objects.next().is_none(), "objects are of the chunk's columns");
        self.out.clear();
        self.out.push(KIND);
        put_uint(&mut self.out, u64::from(group));
        put_uint(&mut self.out, rows as u64);
        let mut times = Vec::new();
        ints::encode(timestamps_ms, &mut times);
        put_uint(&mut self.out, times.len() as u64);
        self.out.extend_from_slice(&times);
        put_runs(&mut self.out, columns);
        self.out.extend_from_slice(&self.lengths);
        self.out.extend_from_slice(&self.bodies);
        &self.out
    }
}

/// A chunk, read as far as its directory.
#[derive(Debug)]
pub(crate) struct Chunk<'a> {
    pub(crate) group: u32,
    pub(crate) timestamps_ms: Vec<i64>,
    /// Ascending.
    pub(crate) columns: Vec<u32>,
    /// Where each column's body starts in `bodies`, and the end of the last.
    starts: Vec<u32>,
    bodies: &'a [u8],
}

impl<'a> Chunk<'a> {
    pub(crate) fn parse(payload: &'a [u8]) -> Result<Chunk<'a>, Bad> {
        let mut input = Bytes::new(payload);
        if input.byte()? != KIND {
            return Err("the record is not a chunk");
        }
        let group = input.count(u32::MAX as usize)? as u32;
        let rows = input.count(CHUNK_ROWS_MAX)?;
        if rows == 0 {
            return Err("a chunk has no row");
        }
        let mut timestamps_ms = vec![0; rows];
        let times_bytes = input.count(payload.len())?;
        ints::decode(input.take(times_bytes)?, &mut timestamps_ms)?;
        if timestamps_ms.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err("the timestamps of a chunk do not ascend");
        }
        let columns = input.runs(GROUP_COLUMNS_MAX)?;
        let mut starts = Vec::with_capacity(columns.len() + 1);
        let mut end = 0u32;
        starts.push(0);
        for _ in &columns {
            end =
                end.checked_add(input.count(payload.len())? as u32).ok_or("a chunk is too long")?;
            starts.push(end);
        }
        if end as usize != input.rest.len() {
            return Err("the columns of a chunk do not fill it");
        }
        Ok(Chunk { group, timestamps_ms, columns, starts, bodies: input.rest })
    }

    /// The encoded body of a group's column, for [`column::decode`].
    pub(crate) fn body(&self, column: u32) -> Option<&'a [u8]> {
        let at = self.columns.binary_search(&column).ok()?;
        Some(&self.bodies[self.starts[at] as usize..self.starts[at + 1] as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vigie_model::ABSENT;

    #[test]
    fn a_chunk_comes_back_and_no_damage_makes_it_panic() {
        let times = [1000, 2000, 3001];
        let columns = [0, 1, 9];
        let matrix = [1.0, 2.0, 3.0, 0.5, 0.5, 0.5, ABSENT, f64::NAN, ABSENT];
        let mut encoder = Encoder::default();
        let bytes = encoder.encode(7, &times, &columns, &matrix, &[]).to_vec();
        let chunk = Chunk::parse(&bytes).unwrap();
        assert_eq!((chunk.group, &chunk.timestamps_ms[..]), (7, &times[..]));
        assert_eq!(chunk.columns, columns);
        for (at, column) in columns.iter().enumerate() {
            let mut out = [0.0; 3];
            column::decode(chunk.body(*column).unwrap(), &mut out).unwrap();
            let bits = out.map(f64::to_bits);
            assert_eq!(
                bits.to_vec(),
                matrix[at * 3..at * 3 + 3].iter().map(|v| v.to_bits()).collect::<Vec<_>>()
            );
        }
        assert!(chunk.body(2).is_none());
        for len in 0..bytes.len() {
            assert!(Chunk::parse(&bytes[..len]).is_err(), "{len} bytes");
        }
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            if let Ok(chunk) = Chunk::parse(&bad) {
                let mut out = vec![0.0; chunk.timestamps_ms.len()];
                for column in &chunk.columns {
                    let _ = column::decode(chunk.body(*column).unwrap(), &mut out);
                }
            }
        }
    }
}
