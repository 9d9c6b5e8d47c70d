//! Protobuf's wire format, read in place and written by hand.
//!
//! A [`Reader`] is a cursor over one message that borrows the body; a field is a number, eight or
//! four bytes, or a sub-message or text that is another cursor. Nothing is allocated, and no length
//! is believed that the body does not hold. Unknown fields are the caller's to skip, by not matching
//! them. Groups (wire types 3 and 4) are refused, as every current implementation does.

/// What is wrong with a message, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {offset}")]
pub struct ProtoError {
    /// The words of Go's protobuf library where it has any.
    pub what: &'static str,
    /// Of the whole body.
    pub offset: usize,
}

/// A value of a field, still in the body.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    /// Wire type 0.
    Number(u64),
    /// Wire type 1: a double's bits, or a fixed integer.
    Eight([u8; 8]),
    /// Wire type 2.
    Bytes(Reader<'a>),
    /// Wire type 5: a fixed integer.
    Four([u8; 4]),
}

/// A cursor over one message; `base` is the place of its first byte in the whole body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    pub(crate) bytes: &'a [u8],
    at: usize,
    base: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Reader<'a> {
        Reader { bytes: body, at: 0, base: 0 }
    }

    /// The message that stands between two places of a body.
    ///
    /// # Panics
    /// If it does not.
    pub(crate) fn within(body: &'a [u8], start: usize, end: usize) -> Reader<'a> {
        Reader { bytes: &body[start..end], at: 0, base: start }
    }

    /// The place of the first byte in the whole body.
    pub(crate) fn base(&self) -> usize {
        self.base
    }

    /// How far it has read.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Goes on behind bytes that the caller has looked at.
    pub(crate) fn skip(&mut self, bytes: usize) {
        self.at += bytes;
        assert!(self.at <= self.bytes.len(), "a reader stays in its message");
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub(crate) fn error(&self, what: &'static str) -> ProtoError {
        ProtoError { what, offset: self.base + self.at }
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, ProtoError> {
        match self.bytes.get(self.at) {
            Some(byte) if *byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, ProtoError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or_else(|| self.error("unexpected EOF"))?;
            self.at += 1;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.error("integer overflow"))
    }

    #[inline]
    pub(crate) fn take(&mut self, len: u64) -> Result<Reader<'a>, ProtoError> {
        let rest = self.bytes.len() - self.at;
        let len = usize::try_from(len)
            .ok()
            .filter(|&len| len <= rest)
            .ok_or_else(|| self.error("unexpected EOF"))?;
        let taken =
            Reader { bytes: &self.bytes[self.at..self.at + len], at: 0, base: self.base + self.at };
        self.at += len;
        Ok(taken)
    }

    pub(crate) fn eight(&mut self) -> Result<[u8; 8], ProtoError> {
        let taken = self.take(8)?;
        taken.bytes.try_into().map_err(|_| self.error("unexpected EOF"))
    }

    /// The next field's number and value, or `None` at the end of the message.
    #[inline]
    pub(crate) fn field(&mut self) -> Result<Option<(u64, Value<'a>)>, ProtoError> {
        if self.is_at_end() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => Value::Eight(self.eight()?),
            2 => {
                let len = self.varint()?;
                Value::Bytes(self.take(len)?)
            }
            5 => {
                let taken = self.take(4)?;
                Value::Four(taken.bytes.try_into().map_err(|_| self.error("unexpected EOF"))?)
            }
            _ => return Err(self.error("illegal wireType")),
        };
        if tag >> 3 == 0 {
            return Err(self.error("illegal tag 0"));
        }
        Ok(Some((tag >> 3, value)))
    }

    /// The bytes as text.
    pub(crate) fn text(&self) -> Result<&'a str, ProtoError> {
        std::str::from_utf8(self.bytes).map_err(|_| self.error("text is not UTF-8"))
    }
}

/// What zig-zag hides.
#[inline]
pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_number(out: &mut Vec<u8>, field: u64, value: u64) {
    put_varint(out, field << 3);
    put_varint(out, value);
}

pub(crate) fn put_signed(out: &mut Vec<u8>, field: u64, value: i64) {
    put_number(out, field, ((value << 1) ^ (value >> 63)) as u64);
}

pub(crate) fn put_double(out: &mut Vec<u8>, field: u64, value: f64) {
    put_varint(out, field << 3 | 1);
    out.extend_from_slice(&value.to_bits().to_le_bytes());
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_varint(out, field << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
