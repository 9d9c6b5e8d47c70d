//! Writes a part (`docs/formats/logs-part.md`): sorted rows of the head become a file's bytes.

use crate::head::{Head, Row, Span};
use hashbrown::HashMap;
use vigie_disk::wire::{put_int, put_labels, put_uint};
use vigie_model::{Labels, StreamId};

pub(crate) const MAGIC: [u8; 8] = *b"VIGIELOG";
pub(crate) const VERSION: u32 = 1;
pub(crate) const HEADER_BYTES: usize = 16;
pub(crate) const FOOTER_BYTES: usize = 32;
/// A block ends before its text and metadata exceed this.
const BLOCK_BYTES: usize = 1024 * 1024;
/// Most rows of a block.
pub(crate) const BLOCK_ROWS_MAX: usize = 65_536;
/// zstd's middle way: level 7 packs text a tenth smaller at five times the cost.
const LEVEL: i32 = 3;

/// The bytes of a part that holds `rows` of `head`, which are sorted by timestamp.
pub(crate) fn encode(
    head: &Head,
    rows: &[u32],
    labels_of: &dyn Fn(StreamId) -> Labels,
) -> std::io::Result<Vec<u8>> {
    let rows: Vec<&Row> = rows.iter().map(|&at| &head.rows()[at as usize]).collect();
    assert!(!rows.is_empty(), "a part has rows");
    assert!(rows.windows(2).all(|pair| pair[0].ts_ns <= pair[1].ts_ns));
    let mut writer = PartWriter::default();
    writer.out.extend_from_slice(&MAGIC);
    writer.out.extend_from_slice(&VERSION.to_le_bytes());
    writer.out.extend_from_slice(&[0; 4]);
    writer.register_streams(head, &rows);
    let mut start = 0;
    while start < rows.len() {
        let end = start + block_rows(&rows[start..], head);
        writer.write_block(head, &rows[start..end])?;
        start = end;
    }
    writer.finish(labels_of)
}

/// How many of the rows make the next block, at least one.
fn block_rows(rows: &[&Row], head: &Head) -> usize {
    let mut bytes = 0;
    for (at, row) in rows.iter().enumerate() {
        let metadata = row.metadata.as_ref();
        bytes += head.line(row).len() + metadata.map_or(0, crate::head::metadata_bytes);
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
    fn register_streams(&mut self, head: &Head, rows: &[&Row]) {
        for row in rows {
            let place = *self.places.entry(row.stream).or_insert(self.streams.len());
            if place == self.streams.len() {
                self.streams.push((row.stream, Span::NOTHING));
            }
            self.streams[place].1.add(row.ts_ns, head.line(row).len());
        }
    }

    fn write_block(&mut self, head: &Head, rows: &[&Row]) -> std::io::Result<()> {
        let mut places: Vec<usize> = rows.iter().map(|row| self.places[&row.stream]).collect();
        places.sort_unstable();
        places.dedup();
        let columns = self.columns(head, rows, &places);
        let mut text = Vec::new();
        rows.iter().for_each(|row| text.extend_from_slice(head.line(row)));
        self.write_section(&columns)?;
        self.write_section(&text)?;

        let index = &mut self.block_index;
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

    /// Compresses a section behind what is there and notes it in the index.
    fn write_section(&mut self, raw: &[u8]) -> std::io::Result<()> {
        let packed = zstd::bulk::compress(raw, LEVEL)?;
        put_uint(&mut self.block_index, packed.len() as u64);
        put_uint(&mut self.block_index, raw.len() as u64);
        self.block_index.extend_from_slice(&crc32c::crc32c(&packed).to_le_bytes());
        self.out.extend_from_slice(&packed);
        Ok(())
    }

    fn columns(&self, head: &Head, rows: &[&Row], places: &[usize]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut previous = rows[0].ts_ns;
        for row in rows {
            put_uint(&mut out, row.ts_ns.wrapping_sub(previous) as u64);
            previous = row.ts_ns;
        }
        rows.iter().for_each(|row| put_uint(&mut out, head.line(row).len() as u64));
        if places.len() > 1 {
            for row in rows {
                let place = places.binary_search(&self.places[&row.stream]);
                put_uint(&mut out, place.expect("collected from these rows") as u64);
            }
        }
        put_metadata(&mut out, rows);
        out
    }

    fn finish(mut self, labels_of: &dyn Fn(StreamId) -> Labels) -> std::io::Result<Vec<u8>> {
        let mut index = Vec::new();
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

fn put_metadata(out: &mut Vec<u8>, rows: &[&Row]) {
    let mut places: HashMap<&Labels, u64> = HashMap::new();
    let mut sets = Vec::new();
    for set in rows.iter().filter_map(|row| row.metadata.as_ref()) {
        places.entry(set).or_insert_with(|| {
            sets.push(set);
            sets.len() as u64
        });
    }
    put_uint(out, sets.len() as u64);
    sets.iter().for_each(|set| put_labels(out, set));
    if !sets.is_empty() {
        for row in rows {
            put_uint(out, row.metadata.as_ref().map_or(0, |set| places[set]));
        }
    }
}
