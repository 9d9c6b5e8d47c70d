//! What reads bytes from the disk behind their checksums, for the fuzz targets.
//!
//! A checksum keeps accidents out, not bugs: whatever stands behind one must not make a decoder
//! panic, run long or take much memory.

use crate::section::{self, Head, Slot};
use crate::{chunk::Chunk, column, manifest};
use vigie_model::ABSENT;

/// Rows of a section whose head and columns one input has: of a real one there are as many as of
/// timestamps, and an input that says thirty thousand would be slow for nothing.
const ROWS_MAX: usize = 4096;

/// The body of a manifest.
pub fn manifest(bytes: &[u8]) {
    let _ = manifest::decode(bytes);
}

/// The head of a section, and the columns in it.
pub fn section(bytes: &[u8]) {
    let Ok(head) = Head::parse(bytes.to_vec(), u64::MAX / 2) else { return };
    assert!(head.timestamps_ms.windows(2).all(|pair| pair[0] < pair[1]), "rows ascend");
    let rows = head.timestamps_ms.len();
    for slot in head.slots.iter().filter(|_| rows <= ROWS_MAX).take(64) {
        if let Slot::Inline(from, to) = slot {
            pages(&head.payload[*from as usize..*to as usize], rows);
        }
    }
}

/// The body of a column of a section; the first two bytes say of how many rows.
pub fn body(bytes: &[u8]) {
    let Some((rows, body)) = bytes.split_first_chunk::<2>() else { return };
    pages(body, usize::from(u16::from_le_bytes(*rows)).clamp(1, ROWS_MAX));
}

fn pages(body: &[u8], rows: usize) {
    let mut next = 0;
    let _ = section::each_page(body, rows, &|_| true, &mut |first, page| {
        assert!(first >= next && first + page.len() <= rows, "pages ascend and end");
        next = first + page.len();
    });
}

/// A chunk and its columns.
pub fn chunk(bytes: &[u8]) {
    let Ok(chunk) = Chunk::parse(bytes) else { return };
    let mut values = vec![ABSENT; chunk.timestamps_ms.len()];
    for column in chunk.columns.iter().take(64) {
        let _ = chunk.body(*column).map(|body| column::decode(body, &mut values));
    }
}

/// Inputs of the right form: a manifest, a head, a body and a chunk.
pub fn seeds() -> [Vec<u8>; 4] {
    let times: Vec<i64> = (0..600).map(|n| n * 15_000 + n % 3).collect();
    let values: Vec<f64> = (0..600).map(|n| f64::from(n % 17) * 0.25).collect();
    let (mut builder, mut out) = (section::Builder::default(), vec![0, 0]);
    builder.column(0, &values, &mut out);
    builder.column(3, &vec![7.0; 600], &mut out);
    let head = builder.finish(1, &times).unwrap_or_default();
    out[..2].copy_from_slice(&600u16.to_le_bytes());
    out.truncate(out.len() - section::CRC_BYTES);
    let chunk =
        crate::chunk::Encoder::default().encode(1, &times[..16], &[0], &values[..16]).to_vec();
    [manifest::example(), head, out, chunk]
}
