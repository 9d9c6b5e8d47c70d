//! The smallest parts of the formats: variable-length integers and texts.
//!
//! A `uint` is LEB128 (seven bits a byte, low ones first, at most ten bytes); an `int` is a
//! zig-zag `uint`; a text is its length as a `uint` and its bytes.
//! Reading never panics: what does not fit is a [`Bad`], and the caller adds file and offset.

/// Why bytes could not be read.
pub(crate) type Bad = &'static str;

pub(crate) fn put_uint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_int(out: &mut Vec<u8>, value: i64) {
    put_uint(out, zigzag(value));
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_uint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// The bytes that [`put_uint`] would write.
pub(crate) fn uint_bytes(value: u64) -> usize {
    (70 - (value | 1).leading_zeros() as usize) / 7
}

/// Writes ascending numbers as runs: their count, then per run the gap before it and its length.
pub(crate) fn put_runs(out: &mut Vec<u8>, ascending: &[u32]) {
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
pub(crate) struct Bytes<'a> {
    pub(crate) rest: &'a [u8],
}

impl<'a> Bytes<'a> {
    pub(crate) fn new(rest: &'a [u8]) -> Bytes<'a> {
        Bytes { rest }
    }

    pub(crate) fn take(&mut self, bytes: usize) -> Result<&'a [u8], Bad> {
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or("the bytes end too early")?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Bad> {
        Ok(self.take(1)?[0])
    }

    pub(crate) fn uint(&mut self) -> Result<u64, Bad> {
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

    pub(crate) fn int(&mut self) -> Result<i64, Bad> {
        self.uint().map(unzigzag)
    }

    /// A number that counts or names something, at most `max`.
    pub(crate) fn count(&mut self, max: usize) -> Result<usize, Bad> {
        match usize::try_from(self.uint()?) {
            Ok(count) if count <= max => Ok(count),
            _ => Err("a number is larger than it can be"),
        }
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Bad> {
        let bytes = self.count(u32::MAX as usize)?;
        std::str::from_utf8(self.take(bytes)?).map_err(|_| "a text is not UTF-8")
    }

    /// What [`put_runs`] wrote: at most `count_max` numbers.
    pub(crate) fn runs(&mut self, count_max: usize) -> Result<Vec<u32>, Bad> {
        let mut numbers = Vec::new();
        let mut next = 0u64;
        for _ in 0..self.count(count_max)? {
            let start = next.checked_add(self.uint()?).ok_or("a run starts too late")?;
            let len = self.count(count_max - numbers.len())? as u64;
            next = start.checked_add(len).ok_or("a run starts too late")?;
            if len == 0 || next > u64::from(u32::MAX) {
                return Err("a run is impossible");
            }
            numbers.extend(start as u32..next as u32);
        }
        Ok(numbers)
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
