//! A record: a length, a checksum and a payload. The unit of every file that is appended to.
//!
//! ```text
//! ┌────────┬────────┬──────────────┐
//! │ length │ crc32c │ payload      │  little-endian; the checksum covers length and payload
//! │ u32    │ u32    │ length bytes │
//! └────────┴────────┴──────────────┘
//! ```

use crate::{DiskError, DiskFile};
use std::path::Path;

/// Read at once by [`Records`]; a longer record gets a buffer of its own length.
pub(crate) const READ_BYTES: usize = 256 * 1024;

/// How far behind a bad record a good one is looked for, and how many bytes are summed up for it.
const SEARCH_BYTES_MAX: u64 = 16 * 1024 * 1024;
const SEARCH_SUMMED_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Bytes in front of a payload.
pub const HEADER_BYTES: usize = 8;

/// Largest payload. Larger than the largest push after decompression.
pub const PAYLOAD_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Appends the record of `payload` to `out`.
///
/// # Panics
/// If the payload is empty or larger than [`PAYLOAD_BYTES_MAX`]: the doors limit it far below.
pub fn encode(payload: &[u8], out: &mut Vec<u8>) {
    assert!(!payload.is_empty(), "a record has a payload");
    assert!(payload.len() <= PAYLOAD_BYTES_MAX, "a payload of {} bytes", payload.len());
    let length = u32::try_from(payload.len()).expect("checked above").to_le_bytes();
    out.extend_from_slice(&length);
    out.extend_from_slice(&checksum(length, payload).to_le_bytes());
    out.extend_from_slice(payload);
}

/// The payload of the record at the start of `bytes`, or why there is none.
pub fn decode(bytes: &[u8]) -> Result<&[u8], &'static str> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Err("the record's header is cut off");
    };
    let [l0, l1, l2, l3, c0, c1, c2, c3] = *header;
    let length = [l0, l1, l2, l3];
    let payload_bytes = u32::from_le_bytes(length) as usize;
    if payload_bytes == 0 || payload_bytes > PAYLOAD_BYTES_MAX {
        return Err("the record's length is impossible");
    }
    let Some(payload) = rest.get(..payload_bytes) else {
        return Err("the record's payload is cut off");
    };
    if checksum(length, payload) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Err("the record's checksum does not match");
    }
    Ok(payload)
}

/// Walks the records of a file with one buffer, which holds the next record whole.
pub struct Records<'a> {
    file: &'a dyn DiskFile,
    end: u64,
    /// The file's offset behind the buffer.
    next: u64,
    buffer: Vec<u8>,
    at: usize,
}

impl<'a> Records<'a> {
    /// The records that stand from `start` to `end`.
    pub fn new(file: &'a dyn DiskFile, start: u64, end: u64) -> Records<'a> {
        assert!(start <= end, "{} ends at {end}, before {start}", file.path().display());
        Records { file, end, next: start, buffer: Vec::new(), at: 0 }
    }

    /// The file's path.
    pub fn path(&self) -> &'a Path {
        self.file.path()
    }

    /// Where the last record ends.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Where the next record starts.
    pub fn offset(&self) -> u64 {
        self.next - (self.buffer.len() - self.at) as u64
    }

    /// The payload of the next record, `None` at the end. After a [`DiskError::Corrupt`] the walk
    /// stands before the bad record; [`Records::skip`] may lead over it.
    pub fn next_payload(&mut self) -> Result<Option<&[u8]>, DiskError> {
        let offset = self.offset();
        if offset == self.end {
            return Ok(None);
        }
        self.fill_record()?;
        match decode(&self.buffer[self.at..]) {
            Ok(payload) => {
                let end = self.at + HEADER_BYTES + payload.len();
                let start = std::mem::replace(&mut self.at, end) + HEADER_BYTES;
                Ok(Some(&self.buffer[start..end]))
            }
            Err(what) => Err(DiskError::corrupt(self.file.path(), offset, what)),
        }
    }

    /// Goes over a bad record to the next good one. `false`, and nothing done, if there is none:
    /// then the bad one may be a write that was not finished.
    pub fn skip(&mut self) -> Result<bool, DiskError> {
        let offset = self.offset();
        let mut rest = vec![0; (self.end - offset).min(SEARCH_BYTES_MAX) as usize];
        self.file.read_at(offset, &mut rest)?;
        let Some(found) = search(&rest) else { return Ok(false) };
        *self = Records::new(self.file, offset + found as u64, self.end);
        Ok(true)
    }

    /// Makes the buffer hold the next record, or all that there is.
    fn fill_record(&mut self) -> Result<(), DiskError> {
        self.fill(HEADER_BYTES)?;
        if let Some((length, _)) = self.buffer[self.at..].split_first_chunk::<4>() {
            let payload_bytes = u32::from_le_bytes(*length) as usize;
            if payload_bytes <= PAYLOAD_BYTES_MAX {
                self.fill(HEADER_BYTES + payload_bytes)?;
            }
        }
        Ok(())
    }

    /// Makes the buffer hold `wanted` bytes from here on, if there are so many.
    fn fill(&mut self, wanted: usize) -> Result<(), DiskError> {
        let held = self.buffer.len() - self.at;
        if held >= wanted {
            return Ok(());
        }
        self.buffer.drain(..self.at);
        self.at = 0;
        let left = self.end - self.next;
        let more = left.min(wanted.max(READ_BYTES).saturating_sub(held) as u64);
        self.buffer.resize(held + more as usize, 0);
        self.file.read_at(self.next, &mut self.buffer[held..])?;
        self.next += more;
        Ok(())
    }
}

/// Where the first good record behind the start of `bytes` starts: where the bad one's length says,
/// or anywhere, should that be what is bad.
fn search(bytes: &[u8]) -> Option<usize> {
    let length = bytes.first_chunk::<4>()?;
    let after = HEADER_BYTES.checked_add(u32::from_le_bytes(*length) as usize)?;
    let mut summed_bytes = 0;
    std::iter::once(after).chain(1..bytes.len()).find(|at| {
        let Some(here) = bytes.get(*at..) else { return false };
        let length =
            here.first_chunk::<4>().map_or(0, |length| u32::from_le_bytes(*length) as usize);
        if length > 0 && length < here.len() {
            summed_bytes += length;
        }
        summed_bytes <= SEARCH_SUMMED_BYTES_MAX && decode(here).is_ok()
    })
}

fn checksum(length: [u8; 4], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&length), payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Disk;
    use crate::sim::SimDisk;

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let mut record = Vec::new();
        encode(b"payload", &mut record);
        assert_eq!(decode(&record), Ok(&b"payload"[..]));
        for bit in 0..record.len() * 8 {
            let mut bad = record.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bad).is_err(), "bit {bit}");
        }
        for len in 0..record.len() {
            assert!(decode(&record[..len]).is_err(), "{len} bytes");
        }
        assert!(decode(&[0; 64]).is_err(), "zeros are not a record");
    }

    #[test]
    fn a_walk_goes_over_a_bad_record_only_to_a_good_one() {
        let disk = SimDisk::new(0);
        let path = Path::new("/d/file");
        let mut bytes = b"head".to_vec();
        let mut starts = Vec::new();
        for payload in [&b"one"[..], &vec![7; 3 * READ_BYTES], b"three"] {
            starts.push(bytes.len());
            encode(payload, &mut bytes);
        }
        // Which byte is flipped, and how many records are read around it.
        for (at, wanted) in [
            (None, 3),
            (Some(starts[0] + HEADER_BYTES), 2),
            (Some(starts[1] + 4), 2),
            (Some(starts[1] + 1), 2),
            (Some(starts[2] + HEADER_BYTES), 2),
            (Some(starts[2]), 2),
        ] {
            let mut bytes = bytes.clone();
            at.into_iter().for_each(|at| bytes[at] ^= 1);
            let file = disk.create(path).unwrap();
            file.append(&bytes).unwrap();
            let mut records = Records::new(&*file, 4, bytes.len() as u64);
            let mut found = 0;
            loop {
                match records.next_payload() {
                    Ok(Some(_)) => found += 1,
                    Ok(None) => break,
                    Err(e) => {
                        assert!(e.is_corrupt(), "{e}");
                        if !records.skip().unwrap() {
                            break;
                        }
                    }
                }
            }
            assert_eq!(found, wanted, "flipped at {at:?}");
        }
    }
}
