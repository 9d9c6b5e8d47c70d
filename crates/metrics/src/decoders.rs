//! The decoders of what stands on the disk, as functions of bytes: for the fuzz targets.
//!
//! Each must return whatever the bytes are; where something can be written again, it checks that it
//! is then read as the same. Seeds are made by the encoders.

mod files;

use crate::catalog::Catalog;
use crate::chunk::{Chunk, Directory, Encoder, Held, of_matrix};
use crate::head::Place;
use crate::object::{self, Objects};
use crate::record::{self, Durable, Part};
use crate::section::{self, Builder, Head, Slot};
use crate::{batch, column, ints, manifest};
use std::sync::Arc;
use vigie_disk::wire::{put_bytes, put_runs, put_uint};
use vigie_model::histogram::{Counts, ResetHint, Span};
use vigie_model::{ABSENT, Histogram, Labels, STALE_NAN};

/// A decoder: its name, the function, inputs to start from.
pub type Decoder = (&'static str, fn(&[u8]), fn() -> Vec<Vec<u8>>);

/// All of them.
pub fn decoders() -> Vec<Decoder> {
    let mut all: Vec<Decoder> = vec![
        ("metrics_log_record", |data| drop(record::decode(data)), log_records),
        ("metrics_series_batch", series_batch, batches),
        ("metrics_object", one_object, objects),
        ("metrics_chunk", chunk, chunks),
        ("metrics_section", section, sections),
        ("metrics_manifest", |data| drop(manifest::decode(data)), || vec![vec![0, 0, 0, 0]]),
    ];
    all.extend(files::files());
    all
}

fn series_batch(data: &[u8]) {
    if let Ok(batch) = batch::decode(data) {
        Catalog::default().take_in(&batch);
    }
}

fn one_object(data: &[u8]) {
    let Ok(histogram) = object::decode_alone(data) else { return };
    let mut again = Vec::new();
    object::encode(None, &histogram, &mut again);
    let read = object::decode_alone(&again).expect("what was written is read");
    assert!(object::is_equal(&histogram, &read), "an object came back as another");
}

fn chunk(data: &[u8]) {
    let Ok(chunk) = Chunk::parse(data) else { return };
    let mut values = vec![ABSENT; chunk.timestamps_ms.len()];
    for column in &chunk.columns {
        let strip = chunk.strip(*column).expect("a column of the chunk has a strip");
        let _ = strip.decode(&mut values);
        let _ = strip.decode_objects(values.len(), &mut |row, _| {
            assert!(row < values.len(), "an object stands outside its chunk");
        });
    }
    // A reader of some columns gets the same bytes.
    let mut some: Vec<u32> = chunk.columns.iter().step_by(2).copied().collect();
    some.extend(chunk.columns.last().and_then(|last| last.checked_add(1)));
    let directory = Directory::parse(data).expect("it was parsed above");
    let mut held = Held::default();
    // Two times, as two chunks of a group.
    let there = [held.add(&directory, &some, 1), held.add(&directory, &some, 0)];
    assert_eq!(there, [!chunk.columns.is_empty(); 2]);
    for (at, column) in some.iter().enumerate().filter(|_| there[0]) {
        let strip = held.strip(1, at, some.len()).map(|s| (s.form, s.bytes));
        assert_eq!(strip, chunk.strip(*column).map(|s| (s.form, s.bytes)));
    }
}

/// A head, and its columns behind it in place of in front.
fn section(data: &[u8]) {
    let (head_bytes, rest) = match data.split_first_chunk::<2>() {
        Some((bytes, rest)) => (usize::from(u16::from_le_bytes(*bytes)), rest),
        None => return,
    };
    let Some((head, bodies)) = rest.split_at_checked(head_bytes) else { return };
    let Ok(head) = Head::parse(head.to_vec(), bodies.len() as u64) else { return };
    let rows = head.timestamps_ms.len();
    for column in &head.columns {
        let body = match head.slot(*column) {
            Some(Slot::Inline(from, to)) => &head.payload[from as usize..to as usize],
            Some(Slot::Stored(offset, bytes)) => {
                &bodies[offset as usize..offset as usize + bytes as usize]
            }
            None => unreachable!("a column of the section has a slot"),
        };
        let _ = section::each_page(body, rows, &|_| true, &mut |first, page| {
            assert!(first + page.len() <= rows, "a page stands outside its section");
        });
        if head.has_objects(*column) {
            let _ = section::each_object(body, rows, &|_| true, &mut |row, _| assert!(row < rows));
        }
    }
}

/// A histogram of each kind.
fn histograms() -> Vec<Arc<Histogram>> {
    let span = |offset, length| vec![Span { offset, length }];
    let whole = Histogram {
        reset_hint: ResetHint::NotReset,
        schema: 2,
        zero_threshold: 1e-128,
        sum: 12.5,
        counts: Counts::Integer {
            count: 9,
            zero_count: 1,
            positive: vec![3, -1, 2],
            negative: vec![1],
        },
        positive_spans: span(-2, 3),
        negative_spans: span(4, 1),
        custom_values: vec![],
    };
    let mut moved = whole.clone();
    moved.counts =
        Counts::Integer { count: 10, zero_count: 2, positive: vec![4, -1, 2], negative: vec![1] };
    let custom = Histogram {
        schema: vigie_model::histogram::CUSTOM_BUCKETS_SCHEMA,
        zero_threshold: 0.0,
        counts: Counts::Float {
            count: 3.5,
            zero_count: 0.0,
            positive: vec![1.0, 2.5],
            negative: vec![],
        },
        positive_spans: span(0, 2),
        negative_spans: vec![],
        custom_values: vec![0.5],
        ..whole.clone()
    };
    let stale = Histogram { sum: STALE_NAN, ..moved.clone() };
    [whole, moved, custom, stale].map(Arc::new).to_vec()
}

fn objects() -> Vec<Vec<u8>> {
    let alone = |histogram: &Arc<Histogram>| {
        let mut out = Vec::new();
        object::encode(None, histogram, &mut out);
        out
    };
    histograms().iter().map(alone).collect()
}

fn log_records() -> Vec<Vec<u8>> {
    let histograms = histograms();
    let mut part = Part {
        group: 1,
        ts_ms: 1_700_000_000_000,
        columns: vec![0, 1, 2, 7],
        values: vec![1.0, ABSENT, 0.1, ABSENT],
        objects: Objects::default(),
    };
    part.objects.encode(1, &histograms[0]);
    part.objects.encode(7, &histograms[2]);
    let mut rows = Vec::new();
    record::put_rows_head(&mut rows, 1);
    let Part { group, ts_ms, columns, values, objects } = &part;
    record::put_part(&mut rows, *group, *ts_ms, columns, values, objects);
    let series = batches().iter().map(|batch| record::series(batch)).collect::<Vec<_>>();
    let durable = Durable { generation: 2, series_log_bytes: 9, segment: 1, segment_bytes: 7 };
    let marks = [record::sealed(3, 2, 1 << 20), record::checkpoint(durable)];
    [rows].into_iter().chain(series).chain(marks).collect()
}

fn batches() -> Vec<Vec<u8>> {
    let mut catalog = Catalog::default();
    for (name, instance) in [("up", "a"), ("cpu", "a"), ("up", "b")] {
        let pairs = [("__name__", name), ("instance", instance), ("job", "j")];
        catalog.intern(&Labels::from_pairs(pairs));
    }
    let mut batches = Vec::new();
    let place = |id: u32| Place { group: id / 2, column: id % 2 };
    let done = batch::encode(&catalog, &[0, 1, 2], place, |bytes, _| {
        batches.push(bytes.to_vec());
        Ok::<(), ()>(())
    });
    assert_eq!(done, Ok(()));
    batches
}

/// Instants, columns and the objects of the last one.
type Example = (Vec<i64>, Vec<Vec<f64>>, Vec<(u32, Arc<Histogram>)>);

/// Columns of every kind, the last with objects in all rows but the first.
fn example(rows: usize) -> Example {
    let times = (0..rows as i64).map(|n| n * 15_000 + n % 3).collect();
    let counter = (0..rows).map(|n| n as f64 * 15.0);
    let noise = (0..rows).map(|n| f64::from_bits(0x3ff0_0000_0000_0001 + n as u64 * 7919));
    let holes = (0..rows).map(|n| if n % 3 == 0 { ABSENT } else { 7.0 });
    let mixed = (0..rows).map(|n| if n == 0 { 1.0 } else { ABSENT });
    let columns =
        vec![vec![1.5; rows], counter.collect(), noise.collect(), holes.collect(), mixed.collect()];
    let histograms = histograms();
    let objects = (1..rows).map(|row| (row as u32, histograms[row / 2 % histograms.len()].clone()));
    (times, columns, objects.collect())
}

fn chunks() -> Vec<Vec<u8>> {
    let (times, columns, objects) = example(16);
    let matrix = columns.concat();
    let mut encoder = Encoder::default();
    let fill = || of_matrix(&matrix);
    let floats = encoder.encode(1, &times, &[0, 1, 2], fill(), &[]).to_vec();
    let mixed = encoder.encode(1, &times, &[0, 1, 2, 5, 9], fill(), &[(9, objects)]).to_vec();
    let before = chunk_of_kind_1(&times, &columns);
    assert!(Chunk::parse(&before).is_ok(), "chunks of kind 1 are read for ever");
    vec![floats, mixed, before]
}

/// A chunk as it was written before kind 2.
pub(crate) fn chunk_of_kind_1(times: &[i64], columns: &[Vec<f64>]) -> Vec<u8> {
    let mut out = vec![1, 1];
    put_uint(&mut out, times.len() as u64);
    let mut bytes = Vec::new();
    ints::encode(times, &mut bytes);
    put_bytes(&mut out, &bytes);
    put_runs(&mut out, &(0..columns.len() as u32).collect::<Vec<_>>());
    let mut scratch = column::Scratch::default();
    let mut bodies = Vec::new();
    for values in columns {
        let before = bodies.len();
        column::encode(values, &mut scratch, &mut bodies);
        put_uint(&mut out, (bodies.len() - before) as u64);
    }
    out.extend_from_slice(&bodies);
    out
}

fn sections() -> Vec<Vec<u8>> {
    let made = [16, 700].map(|rows| {
        let (times, columns, objects) = example(rows);
        let (mut builder, mut bodies) = (Builder::default(), Vec::new());
        for (at, values) in columns.iter().enumerate() {
            let objects = if at == 4 { &objects[..] } else { &[] };
            builder.column(at as u32, values, objects, &mut bodies);
        }
        let head = builder.finish(3, &times).expect("columns were added");
        let head_bytes = u16::try_from(head.len()).expect("a small section").to_le_bytes();
        [&head_bytes[..], &head, &bodies].concat()
    });
    made.to_vec()
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
        assert!(log_records().iter().all(|record| record::decode(record).is_ok()));
        assert!(objects().iter().all(|object| object::decode_alone(object).is_ok()));
        assert!(chunks().iter().all(|chunk| Chunk::parse(chunk).is_ok()));
        for seed in sections() {
            let (head, bodies) =
                seed[2..].split_at(usize::from(seed[0]) | usize::from(seed[1]) << 8);
            assert!(Head::parse(head.to_vec(), bodies.len() as u64).is_ok());
        }
    }

    #[test]
    fn no_flipped_bit_of_a_chunk_makes_a_reader_panic() {
        for seed in chunks() {
            for bit in 0..seed.len() * 8 {
                let mut bad = seed.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                chunk(&bad);
            }
        }
    }
}
