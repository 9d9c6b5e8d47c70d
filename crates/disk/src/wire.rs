//! The smallest parts of both stores' formats: variable-length integers, bytes and label sets.
//!
//! A `uint` is LEB128 (seven bits a byte, low ones first, at most ten bytes); an `int` is a
//! zig-zag `uint`; bytes and texts are their length as a `uint` and themselves; labels are their
//! count as a `uint` and, label by label, name and value as texts.
//! Reading never panics: what does not fit is a [`Bad`], and the caller adds file and offset.

use std::ops::Range;
use vigie_model::Labels;

/// Why bytes could not be read.
pub type Bad = &'static str;

/// Appends a `uint`.
pub fn put_uint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends an `int`.
pub fn put_int(out: &mut Vec<u8>, value: i64) {
    put_uint(out, zigzag(value));
}

/// Appends bytes, their length first.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_uint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a label set.
pub fn put_labels(out: &mut Vec<u8>, labels: &Labels) {
    put_uint(out, labels.len() as u64);
    for label in labels {
        put_bytes(out, label.name.as_bytes());
        put_bytes(out, label.value.as_bytes());
    }
}

/// Small numbers of either sign as small numbers.
pub fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// The bytes that [`put_uint`] would write.
pub fn uint_bytes(value: u64) -> usize {
    (70 - (value | 1).leading_zeros() as usize) / 7
}

/// Writes ascending numbers as runs: their count, then per run the gap before it and its length.
pub fn put_runs(out: &mut Vec<u8>, ascending: &[u32]) {
    debug_assert!(ascending.windows(2).all(|pair| pair[0] < pair[1]));
    let runs = || ascending.chunk_by(|a, b| a + 1 == *b);
    put_uint(out, runs().count() as u64);
    let mut next = 0;
    for run in runs() {
        put_uint(out, u64::from(run[0] - next));
        put_uint(out, run.len() as u64);
        next = run[0] + run.len() as u32;
    }
}

/// Reads from the front of a slice.
#[derive(Clone, Debug)]
pub struct Bytes<'a> {
    /// What has not been read yet.
    pub rest: &'a [u8],
}

impl<'a> Bytes<'a> {
    /// Reads `rest`.
    pub fn new(rest: &'a [u8]) -> Bytes<'a> {
        Bytes { rest }
    }

    /// The next `bytes` bytes.
    pub fn take(&mut self, bytes: usize) -> Result<&'a [u8], Bad> {
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or("the bytes end too early")?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next byte.
    pub fn byte(&mut self) -> Result<u8, Bad> {
        Ok(self.take(1)?[0])
    }

    /// What [`put_uint`] wrote.
    pub fn uint(&mut self) -> Result<u64, Bad> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("a number is too long")
    }

    /// What [`put_int`] wrote.
    pub fn int(&mut self) -> Result<i64, Bad> {
        self.uint().map(unzigzag)
    }

    /// A number that counts or names something, at most `max`.
    pub fn count(&mut self, max: usize) -> Result<usize, Bad> {
        match usize::try_from(self.uint()?) {
            Ok(count) if count <= max => Ok(count),
            _ => Err("a number is larger than it can be"),
        }
    }

    /// The next four bytes as a number, low ones first.
    pub fn word(&mut self) -> Result<u32, Bad> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// A count of things of which each takes a byte or more.
    pub fn count_here(&mut self) -> Result<usize, Bad> {
        self.count(self.rest.len())
    }

    /// What [`put_bytes`] wrote.
    pub fn bytes(&mut self) -> Result<&'a [u8], Bad> {
        let bytes = self.count_here()?;
        self.take(bytes)
    }

    /// The same, when it must be a text.
    pub fn text(&mut self) -> Result<&'a str, Bad> {
        std::str::from_utf8(self.bytes()?).map_err(|_| "a text is not UTF-8")
    }

    /// What [`put_labels`] wrote: at most `labels_max` labels, each with a name of its own.
    pub fn labels(&mut self, labels_max: usize) -> Result<Labels, Bad> {
        let count = self.count(labels_max)?;
        let mut pairs = Vec::with_capacity(count.min(64));
        for _ in 0..count {
            pairs.push((self.text()?, self.text()?));
        }
        let labels = Labels::from_pairs_with_empty(pairs);
        if labels.len() == count { Ok(labels) } else { Err("labels are not a set") }
    }

    /// Fails if something is left.
    pub fn end(&self) -> Result<(), Bad> {
        if self.rest.is_empty() { Ok(()) } else { Err("there are bytes too many") }
    }

    /// What [`put_runs`] wrote: at most `count_max` numbers.
    pub fn runs(&mut self, count_max: usize) -> Result<Vec<u32>, Bad> {
        Ok(self.ranges(count_max)?.into_iter().flatten().collect())
    }

    /// The same as the runs themselves, ascending and apart.
    pub fn ranges(&mut self, count_max: usize) -> Result<Vec<Range<u32>>, Bad> {
        let mut ranges = Vec::new();
        let (mut next, mut left) = (0u64, count_max);
        for _ in 0..self.count(count_max)? {
            let start = next.checked_add(self.uint()?).ok_or("a run starts too late")?;
            let len = self.count(left)?;
            next = start.checked_add(len as u64).ok_or("a run starts too late")?;
            if len == 0 || next > u64::from(u32::MAX) {
                return Err("a run is impossible");
            }
            left -= len;
            ranges.push(start as u32..next as u32);
        }
        Ok(ranges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_their_lengths_are_foretold() {
        for value in [0, 1, 127, 128, 300, 1 << 35, u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            put_uint(&mut out, value);
            assert_eq!(out.len(), uint_bytes(value), "{value}");
            assert_eq!(Bytes::new(&out).uint(), Ok(value));
            out.clear();
            put_int(&mut out, value as i64);
            assert_eq!(Bytes::new(&out).int(), Ok(value as i64));
        }
        assert!(Bytes::new(&[0xff; 10]).uint().is_err());
        assert!(Bytes::new(&[0x80]).uint().is_err());
    }

    #[test]
    fn labels_come_back_and_what_is_not_a_set_is_refused() {
        let labels = Labels::from_pairs_with_empty([("a", "é"), ("b", ""), ("c", "2")]);
        let mut out = Vec::new();
        put_labels(&mut out, &labels);
        let mut input = Bytes::new(&out);
        assert_eq!(input.labels(3), Ok(labels));
        assert_eq!(input.end(), Ok(()));
        assert!(Bytes::new(&out).labels(2).is_err());
        for len in 0..out.len() {
            assert!(Bytes::new(&out[..len]).labels(64).is_err(), "{len} bytes");
        }
        for bad in [&b"\x02\x01a\x01x\x01a\x01y"[..], b"\x01\x01\xff\x01y"] {
            assert!(Bytes::new(bad).labels(64).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn runs_come_back_and_impossible_ones_are_refused() {
        for numbers in [vec![], vec![0], vec![0, 1, 2, 7, 9, 10], (5..4000).collect()] {
            let mut out = Vec::new();
            put_runs(&mut out, &numbers);
            assert_eq!(Bytes::new(&out).runs(4096), Ok(numbers));
        }
        for bad in [&[1, 0, 0][..], &[1, 0, 200, 40], &[2, 0, 1], &[1, 255, 255, 255, 255, 16, 1]] {
            assert!(Bytes::new(bad).runs(4096).is_err(), "{bad:?}");
        }
    }
}
