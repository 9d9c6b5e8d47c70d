//! Writes a part (`docs/formats/logs-part.md`): sorted rows become a file's bytes.

use crate::head::{Span, metadata_bytes};
use crate::shred::frames::{Levels, pack_column};
use crate::shred::shapes::{InRow, Shredded, shred};
use hashbrown::HashMap;
use vigie_disk::wire::{put_int, put_labels, put_uint};
use vigie_model::{Labels, StreamId};

pub(crate) const MAGIC: [u8; 8] = *b"VIGIELOG";
pub(crate) const VERSION: u32 = 2;
pub(crate) const HEADER_BYTES: usize = 16;
pub(crate) const FOOTER_BYTES: usize = 32;
/// A block ends before its text and metadata exceed this.
const BLOCK_BYTES: usize = 16 * 1024 * 1024;
/// Most rows of a block.
pub(crate) const BLOCK_ROWS_MAX: usize = 65_536;
/// zstd's level for heads and indexes, which are small.
const LEVEL: i32 = 3;

/// What a part says of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origin {
    /// Its place in order of arrival.
    pub(crate) order: u64,
    /// The numbers of the parts it takes the place of.
    pub(crate) replaces: Vec<u64>,
}

/// The bytes of a part that holds `rows`, which are sorted by timestamp.
pub(crate) fn encode(
    rows: &[InRow<'_>],
    origin: &Origin,
    levels: Levels,
    labels_of: &dyn Fn(StreamId) -> Labels,
) -> std::io::Result<Vec<u8>> {
    assert!(!rows.is_empty(), "a part has rows");
    assert!(rows.windows(2).all(|pair| pair[0].ts_ns <= pair[1].ts_ns));
    let mut writer = PartWriter::default();
    writer.out.extend_from_slice(&MAGIC);
    writer.out.extend_from_slice(&VERSION.to_le_bytes());
    writer.out.extend_from_slice(&[0; 4]);
    writer.register_streams(rows);
    let mut start = 0;
    while start < rows.len() {
        let end = start + block_rows(&rows[start..]);
        writer.write_block(&rows[start..end], levels)?;
        start = end;
    }
    writer.finish(origin, labels_of)
}

/// How many of the rows make the next block, at least one.
fn block_rows(rows: &[InRow<'_>]) -> usize {
    let mut bytes = 0;
    for (at, row) in rows.iter().enumerate() {
        bytes += row.line.len() + row.metadata.map_or(0, metadata_bytes);
        if at > 0 && (bytes > BLOCK_BYTES || at == BLOCK_ROWS_MAX) {
            return at;
        }
    }
    rows.len()
}

#[derive(Default)]
struct PartWriter {
    out: Vec<u8>,
    places: HashMap<StreamId, usize>,
    streams: Vec<(StreamId, Span)>,
    blocks: u64,
    block_index: Vec<u8>,
}

impl PartWriter {
    fn register_streams(&mut self, rows: &[InRow<'_>]) {
        for row in rows {
            let place = *self.places.entry(row.stream).or_insert(self.streams.len());
            if place == self.streams.len() {
                self.streams.push((row.stream, Span::NOTHING));
            }
            self.streams[place].1.add(row.ts_ns, row.line.len());
        }
    }

    fn write_block(&mut self, rows: &[InRow<'_>], levels: Levels) -> std::io::Result<()> {
        let mut places: Vec<usize> = rows.iter().map(|row| self.places[&row.stream]).collect();
        places.sort_unstable();
        places.dedup();
        let shredded = shred(rows, levels)?;
        self.write_section(&shredded.head, zstd::bulk::compress(&shredded.head, LEVEL)?);
        let of_rows = self.rows(rows, &places, &shredded);
        self.write_section(&of_rows, pack_column(&of_rows)?);
        self.out.extend_from_slice(&shredded.frames);

        let index = &mut self.block_index;
        put_uint(index, shredded.frames.len() as u64);
        let (min_ns, max_ns) = (rows[0].ts_ns, rows[rows.len() - 1].ts_ns);
        put_uint(index, rows.len() as u64);
        put_int(index, min_ns);
        put_uint(index, max_ns.wrapping_sub(min_ns) as u64);
        put_uint(index, places.len() as u64);
        let mut previous = 0;
        for place in places {
            put_uint(index, (place - previous) as u64);
            previous = place;
        }
        self.blocks += 1;
        Ok(())
    }

    /// Writes a section behind what is there and notes it in the index.
    fn write_section(&mut self, raw: &[u8], packed: Vec<u8>) {
        put_uint(&mut self.block_index, packed.len() as u64);
        put_uint(&mut self.block_index, raw.len() as u64);
        self.block_index.extend_from_slice(&crc32c::crc32c(&packed).to_le_bytes());
        self.out.extend_from_slice(&packed);
    }

    fn rows(&self, rows: &[InRow<'_>], places: &[usize], shredded: &Shredded) -> Vec<u8> {
        let mut out = Vec::new();
        let mut previous = rows[0].ts_ns;
        for row in rows {
            put_uint(&mut out, row.ts_ns.wrapping_sub(previous) as u64);
            previous = row.ts_ns;
        }
        if places.len() > 1 {
            for row in rows {
                let place = places.binary_search(&self.places[&row.stream]);
                put_uint(&mut out, place.expect("collected from these rows") as u64);
            }
        }
        if shredded.shapes > 1 {
            shredded.shape_of_row.iter().for_each(|&shape| put_uint(&mut out, u64::from(shape)));
        }
        if shredded.metadata_shapes > 0 {
            shredded.metadata_of_row.iter().for_each(|&code| put_uint(&mut out, u64::from(code)));
        }
        out
    }

    fn finish(
        mut self,
        origin: &Origin,
        labels_of: &dyn Fn(StreamId) -> Labels,
    ) -> std::io::Result<Vec<u8>> {
        let mut index = Vec::new();
        put_uint(&mut index, origin.order);
        put_uint(&mut index, origin.replaces.len() as u64);
        origin.replaces.iter().for_each(|&number| put_uint(&mut index, number));
        put_uint(&mut index, self.streams.len() as u64);
        for (id, span) in &self.streams {
            put_labels(&mut index, &labels_of(*id));
            put_int(&mut index, span.min_ns);
            put_uint(&mut index, span.max_ns.wrapping_sub(span.min_ns) as u64);
            put_uint(&mut index, span.rows);
            put_uint(&mut index, span.line_bytes);
        }
        put_uint(&mut index, self.blocks);
        index.append(&mut self.block_index);
        let packed = zstd::bulk::compress(&index, LEVEL)?;
        let length = |n: usize| u32::try_from(n).expect("an index is far smaller than 4 GiB");
        let mut footer = (self.out.len() as u64).to_le_bytes().to_vec();
        footer.extend_from_slice(&length(packed.len()).to_le_bytes());
        footer.extend_from_slice(&length(index.len()).to_le_bytes());
        footer.extend_from_slice(&crc32c::crc32c(&packed).to_le_bytes());
        footer.extend_from_slice(&crc32c::crc32c(&footer).to_le_bytes());
        footer.extend_from_slice(&MAGIC);
        assert_eq!(footer.len(), FOOTER_BYTES);
        self.out.extend_from_slice(&packed);
        self.out.extend_from_slice(&footer);
        Ok(self.out)
    }
}
