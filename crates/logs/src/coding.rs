//! Integers, bytes and label sets as the files of this crate write them
//! (`docs/formats/logs-part.md`), and a reader that cannot run past the end.

use vigie_model::{Label, Labels};

/// Longest encoding of a u64.
const VARINT_BYTES_MAX: usize = 10;

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_zigzag(out: &mut Vec<u8>, value: i64) {
    put_varint(out, ((value << 1) ^ (value >> 63)) as u64);
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(crate) fn put_labels(out: &mut Vec<u8>, labels: &Labels) {
    put_varint(out, labels.len() as u64);
    for Label { name, value } in labels {
        put_bytes(out, name.as_bytes());
        put_bytes(out, value.as_bytes());
    }
}

/// What does not hold, and at which byte of the section that was being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) at: usize,
    pub(crate) what: &'static str,
}

/// Reads a section from its start; every method fails rather than run past the end.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    pub(crate) fn broken(&self, what: &'static str) -> Broken {
        Broken { at: self.at, what }
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Broken> {
        let byte = *self.bytes.get(self.at).ok_or_else(|| self.broken("ends too early"))?;
        self.at += 1;
        Ok(byte)
    }

    pub(crate) fn varint(&mut self) -> Result<u64, Broken> {
        let mut value = 0u64;
        for place in 0..VARINT_BYTES_MAX {
            let byte = self.byte()?;
            if place == VARINT_BYTES_MAX - 1 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.broken("has an integer that is too large"))
    }

    pub(crate) fn zigzag(&mut self) -> Result<i64, Broken> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    pub(crate) fn u32_fixed(&mut self) -> Result<u32, Broken> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// A count or length that must not exceed `max`.
    pub(crate) fn count(&mut self, max: usize) -> Result<usize, Broken> {
        let value = self.varint()?;
        usize::try_from(value)
            .ok()
            .filter(|&value| value <= max)
            .ok_or_else(|| self.broken("has a count that is too large"))
    }

    /// A count of things that each take at least one byte of what is left.
    pub(crate) fn count_here(&mut self) -> Result<usize, Broken> {
        let max = self.remaining();
        self.count(max)
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], Broken> {
        let taken = self.bytes.get(self.at..self.at.saturating_add(len));
        let taken = taken.ok_or_else(|| self.broken("ends too early"))?;
        self.at += len;
        Ok(taken)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Broken> {
        let len = self.count_here()?;
        self.take(len)
    }

    pub(crate) fn labels(&mut self) -> Result<Labels, Broken> {
        let count = self.count_here()?;
        let mut pairs = Vec::with_capacity(count.min(64));
        for _ in 0..count {
            pairs.push((self.text()?, self.text()?));
        }
        Ok(Labels::from_pairs(pairs))
    }

    fn text(&mut self) -> Result<&'a str, Broken> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|_| self.broken("has a label that is not UTF-8"))
    }

    pub(crate) fn end(&self) -> Result<(), Broken> {
        if self.remaining() == 0 { Ok(()) } else { Err(self.broken("has bytes left over")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_come_back_and_ends_are_noticed() {
        for value in [0, 1, -1, 63, 64, i64::MAX, i64::MIN, 1_795_518_747_185_269_248] {
            let mut out = Vec::new();
            put_zigzag(&mut out, value);
            put_varint(&mut out, value as u64);
            let mut reader = Reader::new(&out);
            assert_eq!(reader.zigzag(), Ok(value));
            assert_eq!(reader.varint(), Ok(value as u64));
            assert!(reader.end().is_ok());
            assert!(reader.varint().is_err());
        }
        assert!(Reader::new(&[0xff; 10]).varint().is_err());
        assert!(Reader::new(&[5, 1]).bytes().is_err());
    }
}
