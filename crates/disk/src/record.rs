//! A record: a length, a checksum and a payload. The unit of every file that is appended to.
//!
//! ```text
//! ┌────────┬────────┬──────────────┐
//! │ length │ crc32c │ payload      │  little-endian; the checksum covers length and payload
//! │ u32    │ u32    │ length bytes │
//! └────────┴────────┴──────────────┘
//! ```

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

fn checksum(length: [u8; 4], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&length), payload)
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
