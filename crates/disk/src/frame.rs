//! Files that are written whole: a magic, a version, a checksum and a body
//! (`docs/formats/frame.md`).

use crate::rescue::with_ending;
use crate::{Disk, DiskError, parent};
use std::path::Path;

/// Bytes in front of the body.
pub const HEADER_BYTES: usize = 24;

/// What a kind of file starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameKind {
    /// The first eight bytes.
    pub magic: [u8; 8],
    /// The version of the body that is written, and the only one that is read.
    pub version: u32,
}

/// The bytes of a framed file.
pub fn encode(kind: FrameKind, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
    bytes.extend_from_slice(&kind.magic);
    bytes.extend_from_slice(&kind.version.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
    bytes.extend_from_slice(body);
    let crc = checksum(&bytes);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(bytes.len(), HEADER_BYTES + body.len());
    bytes
}

/// The body of a framed file; `path` is for the message.
pub fn decode<'a>(kind: FrameKind, bytes: &'a [u8], path: &Path) -> Result<&'a [u8], DiskError> {
    let corrupt = |offset: u64, what: String| Err(DiskError::corrupt(path, offset, what));
    if bytes.len() < HEADER_BYTES {
        return corrupt(0, format!("is only {} bytes long", bytes.len()));
    }
    let (header, body) = bytes.split_at(HEADER_BYTES);
    if header[..8] != kind.magic {
        return corrupt(0, "is not the kind of file expected here".to_owned());
    }
    let version = word(header, 8);
    if version != kind.version {
        let what = format!("has version {version}; this Vigie reads version {}", kind.version);
        return corrupt(8, what);
    }
    let length = u64::from(word(header, 16)) | u64::from(word(header, 20)) << 32;
    if length != body.len() as u64 {
        return corrupt(16, format!("says {length} bytes and has {}", body.len()));
    }
    if checksum(bytes) != word(header, 12) {
        return corrupt(12, "the checksum does not match".to_owned());
    }
    Ok(body)
}

/// Whether the checksum of a frame is right, whatever kind and version it is of: what does not decode
/// and is whole was written by another program, and is not damaged.
pub fn is_whole(bytes: &[u8]) -> bool {
    bytes.len() >= HEADER_BYTES && checksum(bytes) == word(bytes, 12)
}

/// Replaces a file so that after a crash either the old or the new one is there, whole.
pub fn write_atomic(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    let tmp = with_ending(path, ".tmp");
    let file = disk.create(&tmp)?;
    file.append(bytes)?;
    file.sync()?;
    drop(file);
    disk.rename(&tmp, path)?;
    disk.sync_dir(&parent(path))
}

/// Over everything but the checksum itself.
fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..])
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RealDisk;

    const KIND: FrameKind = FrameKind { magic: *b"VIGIETST", version: 3 };

    #[test]
    fn a_frame_comes_back_and_every_flipped_bit_is_an_error() {
        let bytes = encode(KIND, b"body");
        let path = Path::new("x/file");
        assert_eq!(decode(KIND, &bytes, path).unwrap(), b"body");
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(KIND, &bad, path).is_err(), "bit {bit}");
        }
        let newer = FrameKind { version: 4, ..KIND };
        let error = decode(newer, &bytes, path).unwrap_err().to_string();
        assert_eq!(error, "x/file at byte 8: has version 3; this Vigie reads version 4");
    }

    #[test]
    fn an_atomic_write_replaces_the_file_and_leaves_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for body in [&b"one"[..], b"two"] {
            write_atomic(&RealDisk, &path, &encode(KIND, body)).unwrap();
            let bytes = RealDisk.read(&path, 100).unwrap();
            assert_eq!(decode(KIND, &bytes, &path).unwrap(), body);
        }
        assert_eq!(RealDisk.list(dir.path()).unwrap(), ["file"]);
    }
}
