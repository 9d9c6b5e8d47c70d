//! A section of a block: rows of one group, column by column.
//!
//! A column is one run of bytes, so that a long range of one series is one read; it is cut into
//! pages of 480 rows, so that a short range decodes little. Columns that hardly move stand in the
//! section's head, which is read anyway. The bytes stand in `docs/formats/metrics-block.md`.

use crate::column::{self, Scratch};
use crate::ints;
use crate::{GROUP_COLUMNS_MAX, PAGE_ROWS_MAX};
use vigie_disk::wire::{Bad, Bytes, put_runs, put_uint};
use vigie_model::{ABSENT, is_absent};

/// Says that a record is the head of a section.
const KIND: u8 = 1;
const ONE_PAGE: u8 = 0;
const PAGES: u8 = 1;
/// Bodies up to here stand in the head.
const INLINE_BYTES_MAX: usize = 16;
/// Rows of a section; more make another one.
pub(crate) const ROWS_MAX: usize = 32 * 1024;
/// Bytes of a column's checksum, which follows it.
pub(crate) const CRC_BYTES: usize = 4;

/// Collects the columns of one section.
#[derive(Default)]
pub(crate) struct Builder {
    scratch: Scratch,
    body: Vec<u8>,
    pages: Vec<u8>,
    columns: Vec<u32>,
    entries: Vec<u8>,
    bodies_bytes: u64,
}

impl Builder {
    /// Adds a column that has at least one value, and appends what does not stand in the head to
    /// `out`. Columns ascend.
    pub(crate) fn column(&mut self, column: u32, values: &[f64], out: &mut Vec<u8>) {
        assert!(self.columns.last().is_none_or(|before| *before < column), "columns ascend");
        assert!((1..=ROWS_MAX).contains(&values.len()), "a section of {} rows", values.len());
        self.columns.push(column);
        self.encode(values);
        let is_inline = self.body.len() <= INLINE_BYTES_MAX;
        put_uint(&mut self.entries, (self.body.len() as u64) << 1 | u64::from(is_inline));
        if is_inline {
            self.entries.extend_from_slice(&self.body);
        } else {
            out.extend_from_slice(&self.body);
            out.extend_from_slice(&crc32c(&self.body).to_le_bytes());
            self.bodies_bytes += (self.body.len() + CRC_BYTES) as u64;
        }
    }

    fn encode(&mut self, values: &[f64]) {
        self.body.clear();
        let mut present = values.iter().filter(|value| !is_absent(**value));
        let first = present.next().expect("a column has a value").to_bits();
        if values.len() <= PAGE_ROWS_MAX || present.all(|value| value.to_bits() == first) {
            self.body.push(ONE_PAGE);
            column::encode_dense(values, &mut self.scratch, &mut self.body);
            return;
        }
        self.body.push(PAGES);
        self.pages.clear();
        for page in values.chunks(PAGE_ROWS_MAX) {
            let before = self.pages.len();
            if page.iter().any(|value| !is_absent(*value)) {
                column::encode_dense(page, &mut self.scratch, &mut self.pages);
            }
            put_uint(&mut self.body, (self.pages.len() - before) as u64);
        }
        self.body.extend_from_slice(&self.pages);
    }

    /// The payload of the head, and nothing collected any more; `None` when no column was added.
    pub(crate) fn finish(&mut self, group: u32, timestamps_ms: &[i64]) -> Option<Vec<u8>> {
        let columns = std::mem::take(&mut self.columns);
        let entries = std::mem::take(&mut self.entries);
        let bodies_bytes = std::mem::take(&mut self.bodies_bytes);
        if columns.is_empty() {
            return None;
        }
        assert!(timestamps_ms.windows(2).all(|pair| pair[0] < pair[1]), "rows ascend");
        let mut head = vec![KIND];
        put_uint(&mut head, u64::from(group));
        put_uint(&mut head, timestamps_ms.len() as u64);
        let mut times = Vec::new();
        ints::encode_dense(timestamps_ms, &mut times);
        put_uint(&mut head, times.len() as u64);
        head.extend_from_slice(&times);
        put_runs(&mut head, &columns);
        put_uint(&mut head, bodies_bytes);
        head.extend_from_slice(&entries);
        Some(head)
    }
}

/// Where the body of a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// In the head's payload, from here to there.
    Inline(u32, u32),
    /// In the file, at this offset, so many bytes and then their checksum.
    Stored(u64, u32),
}

/// The head of a section.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) group: u32,
    pub(crate) timestamps_ms: Vec<i64>,
    /// Ascending.
    pub(crate) columns: Vec<u32>,
    /// As many.
    pub(crate) slots: Vec<Slot>,
    pub(crate) payload: Vec<u8>,
}

impl Head {
    /// Reads a head that stands at `offset` of its file.
    pub(crate) fn parse(payload: Vec<u8>, offset: u64) -> Result<Head, Bad> {
        let mut input = Bytes::new(&payload);
        if input.byte()? != KIND {
            return Err("the record is not the head of a section");
        }
        let group = input.count(u32::MAX as usize)? as u32;
        let rows = input.count(ROWS_MAX)?;
        if rows == 0 {
            return Err("a section has no row");
        }
        let mut timestamps_ms = vec![0; rows];
        let times_bytes = input.count(payload.len())?;
        ints::decode(input.take(times_bytes)?, &mut timestamps_ms)?;
        if timestamps_ms.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err("the timestamps of a section do not ascend");
        }
        let columns = input.runs(GROUP_COLUMNS_MAX)?;
        let mut at = offset.checked_sub(input.uint()?).ok_or("a section starts before its file")?;
        let mut slots = Vec::with_capacity(columns.len());
        for _ in &columns {
            let size = input.count(u32::MAX as usize)?;
            let bytes = size >> 1;
            if size & 1 == 1 {
                let start = payload.len() - input.rest.len();
                input.take(bytes)?;
                slots.push(Slot::Inline(start as u32, (start + bytes) as u32));
            } else {
                slots.push(Slot::Stored(at, bytes as u32));
                at += (bytes + CRC_BYTES) as u64;
            }
        }
        input.end()?;
        if at != offset || columns.is_empty() {
            return Err("the columns of a section do not fill it");
        }
        Ok(Head { group, timestamps_ms, columns, slots, payload })
    }

    /// Where a group's column stands.
    pub(crate) fn slot(&self, column: u32) -> Option<Slot> {
        self.columns.binary_search(&column).ok().map(|at| self.slots[at])
    }
}

/// Takes the checksum off the bytes of a stored column.
pub(crate) fn checked(bytes: &[u8]) -> Result<&[u8], Bad> {
    let (body, crc) = bytes.split_last_chunk::<CRC_BYTES>().ok_or("a column is too short")?;
    match crc32c(body) == u32::from_le_bytes(*crc) {
        true => Ok(body),
        false => Err("the checksum of a column does not match"),
    }
}

/// Decodes the pages of a body of `rows` rows for which `wanted` says so, and hands each over with
/// the number of its first row.
pub(crate) fn each_page(
    body: &[u8],
    rows: usize,
    wanted: &dyn Fn(std::ops::Range<usize>) -> bool,
    take: &mut dyn FnMut(usize, &[f64]),
) -> Result<(), Bad> {
    let mut input = Bytes::new(body);
    let mut page = [ABSENT; PAGE_ROWS_MAX];
    match input.byte()? {
        ONE_PAGE if rows <= PAGE_ROWS_MAX => {
            column::decode(input.rest, &mut page[..rows])?;
            take(0, &page[..rows]);
            Ok(())
        }
        ONE_PAGE => {
            let mut long = vec![ABSENT; rows];
            column::decode(input.rest, &mut long)?;
            take(0, &long);
            Ok(())
        }
        PAGES => {
            let mut lengths = input.clone();
            for _ in 0..rows.div_ceil(PAGE_ROWS_MAX) {
                input.uint()?;
            }
            for first in (0..rows).step_by(PAGE_ROWS_MAX) {
                let bytes = input.take(lengths.count(body.len())?)?;
                let end = rows.min(first + PAGE_ROWS_MAX);
                if !bytes.is_empty() && wanted(first..end) {
                    column::decode(bytes, &mut page[..end - first])?;
                    take(first, &page[..end - first]);
                }
            }
            input.end()
        }
        _ => Err("a column has an unknown number of pages"),
    }
}

pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    vigie_disk::crc32c(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(rows: usize) -> Vec<Vec<f64>> {
        let ascending = (0..rows).map(|n| n as f64 * 15.0);
        let noise = (0..rows).map(|n| f64::from_bits(0x3ff0_0000_0000_0001 + (n as u64 * 7919)));
        let holes = (0..rows).map(|n| if n % 700 < 500 { ABSENT } else { (n % 9) as f64 });
        vec![vec![7.5; rows], ascending.collect(), noise.collect(), holes.collect()]
    }

    #[test]
    fn a_section_comes_back_and_no_damage_makes_it_panic() {
        for rows in [700, 5760] {
            let times: Vec<i64> = (0..rows as i64).map(|n| n * 15_000 + n % 3).collect();
            let (mut builder, mut out) = (Builder::default(), vec![0; 24]);
            let matrix = matrix(rows);
            for (at, values) in matrix.iter().enumerate() {
                builder.column(at as u32 * 3, values, &mut out);
            }
            let payload = builder.finish(9, &times).unwrap();
            assert!(builder.finish(9, &times).is_none(), "nothing is collected any more");
            let head = Head::parse(payload.clone(), out.len() as u64).unwrap();
            assert_eq!((head.group, &head.timestamps_ms), (9, &times));
            assert!(
                matches!(head.slot(0), Some(Slot::Inline(..))),
                "a still column is in the head"
            );
            for (at, values) in matrix.iter().enumerate() {
                let body = match head.slot(at as u32 * 3).unwrap() {
                    Slot::Inline(from, to) => &head.payload[from as usize..to as usize],
                    Slot::Stored(offset, bytes) => {
                        let end = offset as usize + bytes as usize + CRC_BYTES;
                        checked(&out[offset as usize..end]).unwrap()
                    }
                };
                let mut read = vec![ABSENT; rows];
                let take = &mut |first: usize, page: &[f64]| {
                    read[first..first + page.len()].copy_from_slice(page);
                };
                each_page(body, rows, &|_| true, take).unwrap();
                let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&read), bits(values));
                for bit in 0..body.len().min(200) * 8 {
                    let mut bad = body.to_vec();
                    bad[bit / 8] ^= 1 << (bit % 8);
                    let _ = each_page(&bad, rows, &|_| true, &mut |_, _| {});
                }
            }
            for bit in 0..payload.len() * 8 {
                let mut bad = payload.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                let _ = Head::parse(bad, out.len() as u64);
            }
            for len in 0..payload.len() {
                assert!(Head::parse(payload[..len].to_vec(), out.len() as u64).is_err());
            }
        }
    }
}
