//! What lies around a body: snappy's block format and zstd, undone under a limit.
//!
//! gzip and deflate belong to HTTP and are undone there.

use std::io::Read;

/// Why a body could not be unpacked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// The bytes are not what they are said to be.
    #[error("{encoding}: corrupt input")]
    Corrupt {
        /// `snappy` or `zstd`.
        encoding: &'static str,
    },
    /// Unpacked it would be larger than the limit.
    #[error("request body too large after decompression: more than {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: usize,
    },
}

/// Snappy cannot say more in fewer bytes: three of them copy at most 64.
const SNAPPY_RATIO_MAX: usize = 22;

/// A buffer longer than this is not kept from one body to the next.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// Undoes snappy's block format into a buffer that is kept: for doors through which bodies of one
/// size come all the time, where a new buffer would cost as much as the unpacking.
#[derive(Default)]
pub struct Unpacker {
    buffer: Vec<u8>,
}

impl Unpacker {
    /// [`unpack_snappy`] without a new buffer.
    ///
    /// # Errors
    /// As there.
    pub fn snappy(&mut self, body: &[u8], limit_bytes: usize) -> Result<&[u8], UnpackError> {
        let bytes = snappy_bytes(body, limit_bytes)?;
        if self.buffer.len() > KEPT_BYTES_MAX {
            self.buffer = Vec::new();
        }
        if self.buffer.len() < bytes {
            self.buffer.resize(bytes, 0);
        }
        let out = &mut self.buffer[..bytes];
        let corrupt = |_| UnpackError::Corrupt { encoding: "snappy" };
        let written = snap::raw::Decoder::new().decompress(body, out).map_err(corrupt)?;
        Ok(&self.buffer[..written])
    }
}

/// How long a body of snappy is unpacked, as far as that can be believed.
fn snappy_bytes(body: &[u8], limit_bytes: usize) -> Result<usize, UnpackError> {
    let corrupt = UnpackError::Corrupt { encoding: "snappy" };
    let bytes = snap::raw::decompress_len(body).map_err(|_| corrupt.clone())?;
    if bytes > limit_bytes {
        return Err(UnpackError::TooLarge { limit_bytes });
    }
    if bytes > body.len().saturating_mul(SNAPPY_RATIO_MAX) {
        return Err(corrupt);
    }
    Ok(bytes)
}

/// Undoes snappy's block format. The length that the body declares is checked before anything is
/// allocated: against the limit, and against what so few bytes can hold.
///
/// # Errors
/// When the body is not snappy, or larger than `limit_bytes` unpacked.
pub fn unpack_snappy(body: &[u8], limit_bytes: usize) -> Result<Vec<u8>, UnpackError> {
    let mut unpacker = Unpacker::default();
    let written = unpacker.snappy(body, limit_bytes)?.len();
    unpacker.buffer.truncate(written);
    Ok(unpacker.buffer)
}

/// Undoes one or more zstd frames.
///
/// # Errors
/// When the body is not zstd, or larger than `limit_bytes` unpacked.
pub fn unpack_zstd(body: &[u8], limit_bytes: usize) -> Result<Vec<u8>, UnpackError> {
    let corrupt = |_| UnpackError::Corrupt { encoding: "zstd" };
    let mut out = Vec::with_capacity(body.len().saturating_mul(8).min(limit_bytes));
    let decoder = zstd::stream::read::Decoder::new(body).map_err(corrupt)?;
    decoder.take(limit_bytes as u64 + 1).read_to_end(&mut out).map_err(corrupt)?;
    if out.len() > limit_bytes {
        return Err(UnpackError::TooLarge { limit_bytes });
    }
    Ok(out)
}

/// Packs a body as snappy's block format.
///
/// # Errors
/// When it is longer than snappy can say (4 GiB).
pub fn pack_snappy(body: &[u8]) -> Result<Vec<u8>, UnpackError> {
    let too_large = |_| UnpackError::TooLarge { limit_bytes: u32::MAX as usize };
    snap::raw::Encoder::new().compress_vec(body).map_err(too_large)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_back_up_to_the_limit() {
        let text = b"0123456789".repeat(1000);
        let zeros = vec![0; 1 << 20];
        assert_eq!(unpack_snappy(&pack_snappy(&zeros).unwrap(), 1 << 20), Ok(zeros.clone()));
        let snappy = pack_snappy(&text).unwrap();
        let zstd = zstd::encode_all(&text[..], 1).unwrap();
        assert_eq!(unpack_snappy(&snappy, text.len()), Ok(text.clone()));
        assert_eq!(unpack_zstd(&zstd, text.len()), Ok(text.clone()));
        let too_large = Err(UnpackError::TooLarge { limit_bytes: text.len() - 1 });
        assert_eq!(unpack_snappy(&snappy, text.len() - 1), too_large);
        assert_eq!(unpack_zstd(&zstd, text.len() - 1), too_large);
        let mut unpacker = Unpacker::default();
        for bytes in [&zeros, &text, &zeros] {
            let packed = pack_snappy(bytes).unwrap();
            assert_eq!(unpacker.snappy(&packed, 1 << 20), Ok(&bytes[..]), "what was there is gone");
        }
        let boast = [0x80, 0x80, 0x80, 0x01, 0x00, 0x61];
        assert_eq!(
            unpack_snappy(&boast, 1 << 30).unwrap_err().to_string(),
            "snappy: corrupt input",
            "six bytes are not two megabytes"
        );
        assert_eq!(
            unpack_snappy(b"\xff\xff", 10).unwrap_err().to_string(),
            "snappy: corrupt input"
        );
        assert_eq!(unpack_zstd(b"zstd", 10).unwrap_err().to_string(), "zstd: corrupt input");
    }
}
