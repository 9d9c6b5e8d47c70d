//! The decoders of what stands on the disk, as functions of bytes: for the fuzz targets.
//!
//! Each must return whatever the bytes are; where something can be written again, it checks that it
//! is then read as the same. Seeds are made by the encoders. Checksums are not verified here, or no
//! change would get past them: the bug that leaves them out is planted, which is possible with
//! debug assertions or the feature `planted`.

use crate::head::{Head, row_hash};
use crate::part_write::{self, FOOTER_BYTES, HEADER_BYTES, MAGIC, Origin};
use crate::planted::{self, Bug};
use crate::record::{self, RecordWriter};
use crate::shred::column::filter_admits;
use crate::shred::frames::{QUICK, THOROUGH};
use crate::shred::fuse::Fuse;
use crate::shred::shapes::{InRow, shred};
use crate::store::read_deletes;
use crate::{Clock, Options, Store};
use std::path::Path;
use std::sync::Arc;
use vigie_disk::Disk;
use vigie_disk::sim::SimDisk;
use vigie_disk::wire::{Bad, Bytes, put_bytes, put_int, put_labels, put_uint};
use vigie_model::blocks::LogBlock;
use vigie_model::{Direction, Labels, LogEntry, LogRange, Needle, ReadError, StreamId};

/// A decoder: its name, the function, inputs to start from.
pub type Decoder = (&'static str, fn(&[u8]), fn() -> Vec<Vec<u8>>);

/// All of them.
pub fn decoders() -> Vec<Decoder> {
    vec![
        ("logs_log_record", log_record, log_records),
        ("logs_deletes", |data| drop(read_deletes(data)), deletes),
        ("logs_filter", filter, filters),
        ("logs_part", |data| unverified(|| ask(data)), parts),
        ("logs_part_index", part_index, part_indexes),
        ("logs_block", block, blocks),
        ("logs_block_of_version_1", block_of_version_1, blocks_of_version_1),
        ("logs_shred", shredded, lines),
    ]
}

/// Rows of a block that are looked at one by one.
const ROWS_ASKED: usize = 24;
/// A part's name in a store.
const PART: &str = "/logs/parts/2026-11-26-0000000001.part";
const TS_NS: i64 = 1_795_690_920_000_000_000;

fn unverified(run: impl FnOnce()) {
    planted::plant(Some(Bug::ChecksumsNotVerified));
    run();
    planted::plant(None);
}

/// What a record says is said again by a record made of it.
fn log_record(data: &[u8]) {
    let mut writer = RecordWriter::default();
    let mut first = Vec::new();
    let mut take = |labels: &Labels, entry: LogEntry| {
        writer.add(labels, &entry);
        first.push((labels.clone(), entry));
    };
    if record::replay(data, &mut take).is_err() {
        return;
    }
    let Some(again) = writer.finish() else { return };
    let mut second = Vec::new();
    let replayed = record::replay(again, &mut |labels, entry| second.push((labels.clone(), entry)));
    assert_eq!(replayed, Ok(()));
    assert!(first == second, "a record came back as another");
}

/// The bytes as a filter, and as the keys of one, which must know all of them.
fn filter(data: &[u8]) {
    let mut keys: Vec<u64> =
        data.as_chunks::<8>().0.iter().map(|k| u64::from_le_bytes(*k)).collect();
    keys.truncate(4096);
    let _ = filter_admits(data, std::slice::from_ref(&keys));
    keys.sort_unstable();
    keys.dedup();
    if let Some(fuse) = Fuse::of(&keys) {
        let mut raw = Vec::new();
        fuse.write(&mut raw);
        let groups: Vec<Vec<u64>> = keys.iter().map(|key| vec![*key]).collect();
        assert_eq!(filter_admits(&raw, &groups), Ok(true), "a filter does not know its keys");
    }
}

/// Opens a store with one part of these bytes and asks it everything.
fn ask(part: &[u8]) {
    let disk = SimDisk::new(0);
    let file = disk.create(Path::new(PART)).expect("the disk works");
    file.append(part).expect("the disk works");
    let options = Options { clock: Clock(Arc::new(|| TS_NS / 1_000_000)), ..Options::default() };
    let store = Store::open(Arc::new(disk), "/logs", options).expect("a bad part is left out");
    let everything = LogRange { start_ns: i64::MIN, end_ns: i64::MAX };
    let half = LogRange { start_ns: TS_NS, end_ns: TS_NS + 20 };
    let questions = [
        (everything, Direction::Forward, &b"10"[..]),
        (everything, Direction::Forward, b""),
        (half, Direction::Backward, b"7-f"),
    ];
    for (range, direction, needle) in questions {
        let needles = [Needle(needle.to_vec())];
        let needles = if needle.is_empty() { &[][..] } else { &needles };
        let Ok(mut blocks) = store.select(&[], range, direction, needles) else { continue };
        while let Some(block) = blocks.next_block() {
            if let Ok(block) = block {
                let _ = ask_block(&*block, needle);
            }
        }
    }
}

fn ask_block(block: &dyn LogBlock, needle: &[u8]) -> Result<(), ReadError> {
    let rows = block.timestamps_ns().len();
    assert!(block.timestamps_ns().is_sorted(), "rows are out of order");
    let mut line = Vec::new();
    for row in 0..rows.min(ROWS_ASKED) {
        let _ = block.line(row, &mut line);
        let _ = (block.metadata(row), block.stream(row));
    }
    let mut found = vec![true; rows];
    block.contains(needle, &mut found)?;
    if let Some(shapes) = block.shapes() {
        for (shape, of_shape) in shapes.shapes.iter().enumerate() {
            for slot in 0..of_shape.statics.len() - 1 {
                let _ = block.values(shape, slot);
            }
        }
    }
    Ok(())
}

/// An index behind bytes that may be its blocks: `u16` bytes of the index, the index, the blocks.
fn part_index(data: &[u8]) {
    let Some((bytes, rest)) = data.split_first_chunk::<2>() else { return };
    let bytes = usize::from(u16::from_le_bytes(*bytes));
    let Some((index, blocks)) = rest.split_at_checked(bytes) else { return };
    unverified(|| ask(&part_of(2, blocks, index)));
}

/// A part of these blocks and this index, with everything around them right.
fn part_of(version: u32, blocks: &[u8], index: &[u8]) -> Vec<u8> {
    let packed = pack(index);
    let mut part = MAGIC.to_vec();
    part.extend_from_slice(&version.to_le_bytes());
    part.extend_from_slice(&[0; 4]);
    part.extend_from_slice(blocks);
    let mut footer = (part.len() as u64).to_le_bytes().to_vec();
    footer.extend_from_slice(&(packed.len() as u32).to_le_bytes());
    footer.extend_from_slice(&(index.len() as u32).to_le_bytes());
    footer.extend_from_slice(&crc32c::crc32c(&packed).to_le_bytes());
    footer.extend_from_slice(&crc32c::crc32c(&footer).to_le_bytes());
    footer.extend_from_slice(&MAGIC);
    part.extend_from_slice(&packed);
    part.extend_from_slice(&footer);
    part
}

fn pack(raw: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(raw, 1).unwrap_or_default()
}

/// The sections of a block as they are inside, so that a change of a byte stays one:
/// `u16` rows, `u16` bytes of the first section, `u16` of the second, `u8` streams, varint of the span;
/// the two sections; the frames.
struct Sections<'a> {
    rows: u16,
    streams: u8,
    span_ns: u64,
    first: &'a [u8],
    second: &'a [u8],
    frames: &'a [u8],
}

impl<'a> Sections<'a> {
    fn read(data: &'a [u8]) -> Result<Sections<'a>, Bad> {
        let mut input = Bytes::new(data);
        let mut short =
            || -> Result<u16, Bad> { Ok(u16::from_le_bytes([input.byte()?, input.byte()?])) };
        let (rows, first, second) = (short()?, short()?, short()?);
        let (streams, span_ns) = (input.byte()?, input.uint()?);
        let (first, second) = (input.take(first.into())?, input.take(second.into())?);
        Ok(Sections { rows, streams, span_ns, first, second, frames: input.rest })
    }

    fn write(&self) -> Vec<u8> {
        let short = |n: usize| u16::try_from(n).expect("a small section").to_le_bytes();
        let mut out = self.rows.to_le_bytes().to_vec();
        out.extend_from_slice(&short(self.first.len()));
        out.extend_from_slice(&short(self.second.len()));
        out.push(self.streams);
        put_uint(&mut out, self.span_ns);
        [&out, self.first, self.second, self.frames].concat()
    }

    fn part(&self, version: u32) -> Vec<u8> {
        let mut index = Vec::new();
        if version > 1 {
            index.extend_from_slice(&[1, 0]);
        }
        let streams = self.streams.clamp(1, 4);
        put_uint(&mut index, u64::from(streams));
        for stream in 0..streams {
            put_labels(&mut index, &Labels::from_pairs([("s", stream.to_string())]));
            put_int(&mut index, TS_NS);
            put_uint(&mut index, self.span_ns);
            put_uint(&mut index, u64::from(self.rows));
            put_uint(&mut index, 100);
        }
        put_uint(&mut index, 1);
        let mut blocks = Vec::new();
        for section in [self.first, self.second] {
            let packed = pack(section);
            put_uint(&mut index, packed.len() as u64);
            put_uint(&mut index, section.len() as u64);
            index.extend_from_slice(&crc32c::crc32c(&packed).to_le_bytes());
            blocks.extend_from_slice(&packed);
        }
        if version > 1 {
            put_uint(&mut index, self.frames.len() as u64);
            blocks.extend_from_slice(self.frames);
        }
        put_uint(&mut index, u64::from(self.rows));
        put_int(&mut index, TS_NS);
        put_uint(&mut index, self.span_ns);
        put_uint(&mut index, u64::from(streams));
        (0..streams).for_each(|stream| put_uint(&mut index, u64::from(stream > 0)));
        part_of(version, &blocks, &index)
    }
}

fn block(data: &[u8]) {
    if let Ok(sections) = Sections::read(data) {
        unverified(|| ask(&sections.part(2)));
    }
}

fn block_of_version_1(data: &[u8]) {
    if let Ok(sections) = Sections::read(data) {
        unverified(|| ask(&sections.part(1)));
    }
}

/// How often a line is repeated with another digit, so that it is of a shape of its own.
const TIMES: usize = 17;

/// Lines through the encoder: what comes back is what went in, and a text is found where it is.
fn shredded(data: &[u8]) {
    let mut head = Head::default();
    let stream = StreamId(0);
    for (n, line) in data.split(|byte| *byte == b'\n').take(8).enumerate() {
        let line = &line[..line.len().min(4096)];
        for time in 0..TIMES {
            let mut line = line.to_vec();
            if let Some(digit) = line.iter_mut().find(|byte| byte.is_ascii_digit()) {
                *digit = b'0' + (time % 10) as u8;
            }
            let value = String::from_utf8_lossy(&line[..line.len().min(9)]).into_owned();
            let has = time % 3 == 0;
            let metadata = if has { Labels::from_pairs([("k", value)]) } else { Labels::default() };
            let entry = LogEntry { ts_ns: TS_NS + (n * TIMES + time) as i64, line, metadata };
            head.push(row_hash(stream, &entry), stream, &entry, 0);
        }
    }
    let rows: Vec<InRow<'_>> = (0..head.rows().len() as u32).map(|at| head.in_row(at)).collect();
    let labels_of = |_: StreamId| Labels::from_pairs([("s", "0")]);
    let levels = if data.len().is_multiple_of(2) { QUICK } else { THOROUGH };
    let part = part_write::encode(&rows, &Origin::default(), levels, &labels_of);
    let part = part.expect("memory takes everything");
    compare(&part, &rows).expect("what was written is read");
}

fn compare(part: &[u8], rows: &[InRow<'_>]) -> Result<(), ReadError> {
    let disk = SimDisk::new(0);
    disk.create(Path::new(PART))?.append(part)?;
    let options = Options { clock: Clock(Arc::new(|| TS_NS / 1_000_000)), ..Options::default() };
    let store = Store::open(Arc::new(disk), "/logs", options).expect("the part is whole");
    assert_eq!(store.stats().broken_parts, 0);
    let range = LogRange { start_ns: i64::MIN, end_ns: i64::MAX };
    let mut blocks = store.select(&[], range, Direction::Forward, &[])?;
    let block = blocks.next_block().expect("there are rows")?;
    let mut line = Vec::new();
    for (row, wanted) in rows.iter().enumerate() {
        block.line(row, &mut line)?;
        assert!(line == wanted.line, "row {row} came back as another line");
        assert_eq!(block.timestamps_ns()[row], wanted.ts_ns);
        assert_eq!(block.metadata(row), wanted.metadata.cloned().unwrap_or_default());
    }
    for wanted in rows.iter().step_by(TIMES) {
        let (middle, end) = (wanted.line.len() / 2, wanted.line.len());
        for place in [0..end.min(5), middle..end.min(middle + 4), end.saturating_sub(3)..end] {
            let needle = &wanted.line[place];
            let mut found = vec![true; rows.len()];
            block.contains(needle, &mut found)?;
            for (row, found) in rows.iter().zip(found) {
                let is_there = memchr::memmem::find(row.line, needle).is_some();
                assert_eq!(found, is_there, "{:?}", String::from_utf8_lossy(needle));
            }
        }
    }
    Ok(())
}

/// Lines that make columns of every type.
fn example(n: i64) -> Vec<u8> {
    match n % 4 {
        0 => format!(
            "{{\"ts\":\"2026-11-26T11:02:{:02}.{n:03}Z\",\"m\":\"GET\",\"ms\":{}.5,\"n\":{n},\
             \"id\":\"{:032x}\",\"ip\":\"10.0.0.{n}\",\"u\":\"u-{n}\",\"p\":\"/things/{}/x\"}}",
            n % 60,
            n * 3,
            n * 7919,
            n * 31
        ),
        1 => format!(
            "level=info n={n} path=\"/things/{}\" id=0000000{}-0000-4000-8000-00000000000{}",
            n * 17,
            n % 10,
            n % 7
        ),
        2 => format!("level={} d={}.25ms", if n % 3 == 0 { "warn" } else { "info" }, n),
        _ => format!("10.0.0.{n} - - \"GET /{} HTTP/1.1\" 200 {}", n * 13, n * 7),
    }
    .into_bytes()
}

fn example_head() -> Head {
    let mut head = Head::default();
    for n in 0..100 {
        let stream = StreamId((n % 2) as u32);
        let metadata = match n % 5 {
            0 => Labels::from_pairs([("trace", format!("{:032x}", n * 31)), ("l", "x".to_owned())]),
            1 => Labels::from_pairs([("l", format!("v{}", n % 3))]),
            _ => Labels::default(),
        };
        let entry = LogEntry { ts_ns: TS_NS + n, line: example(n), metadata };
        head.push(row_hash(stream, &entry), stream, &entry, 0);
    }
    head
}

fn parts() -> Vec<Vec<u8>> {
    let head = example_head();
    let rows: Vec<InRow<'_>> = (0..100).map(|at| head.in_row(at)).collect();
    let labels_of = |id: StreamId| Labels::from_pairs([("s", id.0.to_string())]);
    let part = |rows: &[InRow<'_>]| {
        let origin = Origin { order: 3, replaces: vec![7, 8] };
        part_write::encode(rows, &origin, QUICK, &labels_of).unwrap_or_default()
    };
    vec![part(&rows), part(&rows[..3])]
}

fn part_indexes() -> Vec<Vec<u8>> {
    let taken_apart = parts().into_iter().map(|part| {
        let footer = &part[part.len() - FOOTER_BYTES..];
        let at = u64::from_le_bytes(footer[..8].try_into().unwrap_or_default()) as usize;
        let packed = &part[at..part.len() - FOOTER_BYTES];
        let index = zstd::bulk::decompress(packed, 1 << 16).unwrap_or_default();
        let bytes = (index.len() as u16).to_le_bytes();
        [&bytes[..], &index, &part[HEADER_BYTES..at]].concat()
    });
    taken_apart.collect()
}

fn blocks() -> Vec<Vec<u8>> {
    let head = example_head();
    let rows: Vec<InRow<'_>> = (0..100).map(|at| head.in_row(at)).collect();
    let block = |rows: &[InRow<'_>]| {
        let shredded = shred(rows, QUICK).expect("memory takes everything");
        let mut second = vec![0];
        second.extend(vec![1; rows.len() - 1]);
        second.extend(rows.iter().map(|row| row.stream.0 as u8));
        if shredded.shapes > 1 {
            second.extend(shredded.shape_of_row.iter().map(|&shape| shape as u8));
        }
        if shredded.metadata_shapes > 0 {
            second.extend(shredded.metadata_of_row.iter().map(|&code| code as u8));
        }
        let (first, frames) = (&shredded.head[..], &shredded.frames[..]);
        let (count, span_ns) = (rows.len() as u16, rows.len() as u64 - 1);
        Sections { rows: count, streams: 2, span_ns, first, second: &second, frames }.write()
    };
    vec![block(&rows), block(&rows[..10])]
}

fn blocks_of_version_1() -> Vec<Vec<u8>> {
    let lines: Vec<Vec<u8>> = (0..20).map(example).collect();
    let mut columns = vec![0];
    columns.extend([1; 19]);
    lines.iter().for_each(|line| put_uint(&mut columns, line.len() as u64));
    columns.extend((0..20).map(|row| row % 2));
    put_uint(&mut columns, 1);
    put_labels(&mut columns, &Labels::from_pairs([("k", "v")]));
    columns.extend((0..20).map(|row| u8::from(row % 3 == 0)));
    let text = lines.concat();
    let (first, second) = (&columns[..], &text[..]);
    vec![Sections { rows: 20, streams: 2, span_ns: 19, first, second, frames: &[] }.write()]
}

fn lines() -> Vec<Vec<u8>> {
    let all: Vec<Vec<u8>> = (0..4).map(example).collect();
    let odd = b"{\"a\":1e400,\"a\":-0,\"b\":01,\"c\":\"\\u0041\"}\na=\"b c\" d= e==\xff\n\0\n\n9223372036854775808";
    vec![all.join(&b'\n'), odd.to_vec(), example(0), example(1)]
}

fn filters() -> Vec<Vec<u8>> {
    let keys: Vec<u64> = (0..200).map(|n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
    let mut raw = Vec::new();
    if let Some(fuse) = Fuse::of(&keys) {
        fuse.write(&mut raw);
    }
    vec![raw, keys.iter().flat_map(|key| key.to_le_bytes()).collect()]
}

fn log_records() -> Vec<Vec<u8>> {
    let records = [3, 100].map(|rows| {
        let mut writer = RecordWriter::default();
        for n in 0..rows {
            let labels = Labels::from_pairs([("app", format!("a{}", n / 40))]);
            let metadata = Labels::from_pairs([("k", format!("v{}", n % 3))]);
            writer.add(&labels, &LogEntry { ts_ns: TS_NS - n, line: example(n), metadata });
        }
        writer.finish().unwrap_or_default().to_vec()
    });
    records.into()
}

/// Two requests, one of them done.
fn deletes() -> Vec<Vec<u8>> {
    let mut body = Vec::new();
    put_uint(&mut body, 3);
    put_uint(&mut body, 2);
    for (id, done_ms) in [(1, 0), (2, 77)] {
        put_uint(&mut body, id);
        for instant in [5, TS_NS, TS_NS + 9, done_ms] {
            put_int(&mut body, instant);
        }
        put_uint(&mut body, 2);
        for (op, value) in [(0, "a"), (2, "a|b.*")] {
            put_bytes(&mut body, b"app");
            body.push(op);
            put_bytes(&mut body, value.as_bytes());
        }
        put_uint(&mut body, 2);
        body.push(1);
        put_bytes(&mut body, b"text");
        body.push(2);
        put_bytes(&mut body, b"p.t{1,3}");
    }
    vec![body]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_are_what_the_encoders_write() {
        for (name, run, seeds) in decoders() {
            for seed in seeds() {
                run(&seed);
            }
            assert!(!seeds().is_empty(), "{name}");
        }
        assert!(log_records().iter().all(|seed| record::replay(seed, &mut |_, _| {}).is_ok()));
        assert!(deletes().iter().all(|seed| read_deletes(seed).is_ok()));
    }

    /// Parts put together by hand are whole, checksums included.
    #[test]
    fn parts_made_of_seeds_hold_their_lines() {
        let of_blocks = |seeds: Vec<Vec<u8>>, version| -> Vec<Vec<u8>> {
            let parts = seeds.iter().map(|seed| Sections::read(seed).unwrap().part(version));
            parts.collect()
        };
        let made = [of_blocks(blocks(), 2), of_blocks(blocks_of_version_1(), 1), parts()].concat();
        for part in made {
            let disk = SimDisk::new(0);
            disk.create(Path::new(PART)).unwrap().append(&part).unwrap();
            let now = Clock(Arc::new(|| TS_NS / 1_000_000));
            let options = Options { clock: now, ..Options::default() };
            let store = Store::open(Arc::new(disk), "/logs", options).unwrap();
            assert_eq!(store.stats().broken_parts, 0);
            let range = LogRange { start_ns: i64::MIN, end_ns: i64::MAX };
            let mut blocks = store.select(&[], range, Direction::Forward, &[]).unwrap();
            let block = blocks.next_block().unwrap().unwrap();
            let mut line = Vec::new();
            for row in 0..block.timestamps_ns().len() {
                block.line(row, &mut line).unwrap();
                assert!(line == example(row as i64), "row {row}");
            }
        }
    }
}
