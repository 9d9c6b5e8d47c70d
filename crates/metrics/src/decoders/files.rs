//! Whole files of a store, as functions of bytes: each takes the place of the one that a small store
//! has, the store is opened, read, written to and compacted, and must get through that.
//!
//! A changed byte is nearly always caught by a checksum, so an input is tried twice: as it is, and
//! with every checksum made right, as a bug of a writer would leave it.

use super::Decoder;
use crate::{Durability, MetricsError, Options, Store};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use vigie_disk::sim::SimDisk;
use vigie_disk::{Disk, record};
use vigie_model::{Exemplar, Labels, Row, SeriesId, TimeRange};

const DIR: &str = "/store";
const ALL: TimeRange = TimeRange { start_ms: i64::MIN, end_ms: i64::MAX };
const HOUR_MS: i64 = 3600 * 1000;

/// A file of the store: where it stands, and how its checksums are made right.
struct Kind {
    sub: &'static str,
    ending: &'static str,
    reseal: fn(&mut [u8]),
}

const LOG: Kind = Kind { sub: "wal", ending: ".log", reseal: |b| reseal_records(b, 28) };
const SERIES: Kind = Kind { sub: "", ending: "series.log", reseal: |b| reseal_records(b, 36) };
const EXEMPLARS: Kind =
    Kind { sub: "", ending: "exemplars.log", reseal: |b| reseal_records(b, 24) };
const SEGMENT: Kind =
    Kind { sub: "segments", ending: ".chunks", reseal: |b| reseal_records(b, 32) };
const INDEX: Kind = Kind { sub: "segments", ending: ".index", reseal: reseal_frame };
const BLOCK: Kind = Kind { sub: "blocks", ending: ".block", reseal: reseal_block };
const MANIFEST: Kind = Kind { sub: "", ending: "MANIFEST", reseal: reseal_frame };

/// The files, each as a decoder.
pub(super) fn files() -> Vec<Decoder> {
    vec![
        ("metrics_file_log", |data| replace(&LOG, data), || seeds(&LOG)),
        ("metrics_file_series", |data| replace(&SERIES, data), || seeds(&SERIES)),
        ("metrics_file_exemplars", |data| replace(&EXEMPLARS, data), || seeds(&EXEMPLARS)),
        ("metrics_file_segment", |data| replace(&SEGMENT, data), || seeds(&SEGMENT)),
        ("metrics_file_index", |data| replace(&INDEX, data), || seeds(&INDEX)),
        ("metrics_file_block", |data| replace(&BLOCK, data), || seeds(&BLOCK)),
        ("metrics_file_manifest", |data| replace(&MANIFEST, data), || seeds(&MANIFEST)),
    ]
}

type Files = Vec<(PathBuf, Vec<u8>)>;

fn options() -> Options {
    Options {
        retention_ms: i64::MAX / 4,
        late_window_ms: i64::MAX / 4,
        free_bytes_min: 0,
        ..Options::default()
    }
}

/// A store with a block, a closed and an open segment, open rows, a deletion and exemplars.
fn made() -> Result<Files, MetricsError> {
    let disk = SimDisk::new(0);
    let store = Store::open(Arc::new(disk.clone()), Path::new(DIR), options())?;
    let mut clock_ms = 1_700_000_000_000;
    for step in 0..4 {
        for instance in ["a", "b"] {
            let ids = ids(&store, instance, 3 + step)?;
            for n in 0..6 {
                let values: Vec<f64> = (0..ids.len()).map(|at| (at * n) as f64 / 3.0).collect();
                store.append(
                    &[Row::floats(clock_ms + n as i64, &ids, &values)],
                    Durability::Written,
                )?;
            }
            let labels = Labels::from_pairs([("trace_id", "x")]);
            let exemplar = Exemplar { ts_ms: clock_ms, value: 1.5, labels };
            store.append_exemplars(&[(ids[0], exemplar)], Durability::Synced)?;
        }
        clock_ms += HOUR_MS;
        match step {
            0 | 1 => {
                store.flush()?;
                store.tick(clock_ms + 3 * HOUR_MS)?;
            }
            2 => store.flush()?,
            _ => {}
        }
        while step == 0 && store.compact(clock_ms, &mut |_| true)? {}
    }
    let range = TimeRange { start_ms: 0, end_ms: clock_ms - 4 * HOUR_MS };
    store.delete_series(&[vigie_model::Matcher::equal("n", "1")], range)?;
    let ids = ids(&store, "a", 4)?;
    store.append(&[Row::floats(clock_ms, &ids, &[1.0; 4])], Durability::Synced)?;
    let mut files = Vec::new();
    for sub in ["", "blocks", "segments", "wal"] {
        let dir = if sub.is_empty() { PathBuf::from(DIR) } else { Path::new(DIR).join(sub) };
        for name in disk.list(&dir)? {
            let path = dir.join(name);
            files.push((path.clone(), disk.read(&path, u64::MAX)?));
        }
    }
    Ok(files)
}

fn ids(store: &Store, instance: &str, count: usize) -> Result<Vec<SeriesId>, MetricsError> {
    let labels = |n: usize| {
        let n = n.to_string();
        Labels::from_pairs([("__name__", "m"), ("instance", instance), ("job", "j"), ("n", &n)])
    };
    (0..count).map(|n| store.intern(&labels(n))).collect()
}

fn base() -> &'static Files {
    static FILES: OnceLock<Files> = OnceLock::new();
    FILES.get_or_init(|| made().expect("a disk in memory does not fail"))
}

fn is_of(kind: &Kind, path: &Path) -> bool {
    let text = path.to_string_lossy();
    text.ends_with(kind.ending) && (kind.sub.is_empty() || text.contains(kind.sub))
}

fn seeds(kind: &Kind) -> Vec<Vec<u8>> {
    let of_kind = base().iter().filter(|(path, _)| is_of(kind, path));
    of_kind.map(|(_, bytes)| bytes.clone()).collect()
}

fn replace(kind: &Kind, data: &[u8]) {
    live_with(kind, data);
    let mut sealed = data.to_vec();
    (kind.reseal)(&mut sealed);
    if sealed != data {
        live_with(kind, &sealed);
    }
}

/// Opens a store with this file, and does what one does. Errors are answers; panics are findings.
fn live_with(kind: &Kind, data: &[u8]) {
    let disk = SimDisk::new(1);
    let last = base().iter().rposition(|(path, _)| is_of(kind, path));
    for (at, (path, bytes)) in base().iter().enumerate() {
        // Of a list that is kept twice both are changed, else the other one is read.
        let is_copy = kind.ending == "series.log" && path.ends_with("series.copy");
        let bytes = if Some(at) == last || is_copy { data } else { bytes };
        let written = disk.create(path).and_then(|file| file.append(bytes));
        assert!(written.is_ok(), "a disk in memory does not fail: {written:?}");
    }
    for _ in 0..2 {
        let disk = Arc::new(disk.clone());
        let Ok(store) = Store::open(disk, Path::new(DIR), options()) else { return };
        let _ = read_all(&store);
        let clock_ms = 1_700_000_000_000 + 9 * HOUR_MS;
        if let Ok(ids) = ids(&store, "a", 5) {
            let _ = store.append(&[Row::floats(clock_ms, &ids, &[2.0; 5])], Durability::Synced);
        }
        let _ = store.flush().and_then(|()| store.tick(clock_ms + 3 * HOUR_MS));
        let _ = store.compact(clock_ms, &mut |_| true);
        let _ = store.verify(&mut |_| ());
    }
}

fn read_all(store: &Store) -> Result<(), vigie_model::ReadError> {
    let selection = store.select(&[], ALL)?;
    let (mut column, mut histograms) = (Vec::new(), Vec::new());
    for group in &selection.groups {
        for (at, id) in group.series().iter().enumerate() {
            assert!(!selection.lookup.labels(*id).is_empty(), "a series without labels is read");
            group.read(at, &mut column)?;
            group.read_histograms(at, &mut histograms)?;
        }
    }
    store.exemplars(&[], ALL);
    Ok(())
}

/// Makes the checksums of the records behind a header right; a length that is impossible is made to
/// reach to the end.
fn reseal_records(bytes: &mut [u8], header_bytes: usize) {
    let mut at = header_bytes;
    while let Some(rest) = bytes.get_mut(at..).filter(|rest| rest.len() > record::HEADER_BYTES) {
        let length = rest.first_chunk::<4>().map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize);
        let room = rest.len() - record::HEADER_BYTES;
        let length = if (1..=room).contains(&length) { length } else { room };
        let mut sealed = Vec::new();
        record::encode(&rest[record::HEADER_BYTES..][..length], &mut sealed);
        rest[..sealed.len()].copy_from_slice(&sealed);
        at += sealed.len();
    }
}

/// Makes length and checksum of a frame right.
fn reseal_frame(bytes: &mut [u8]) {
    let header_bytes = vigie_disk::frame::HEADER_BYTES;
    if bytes.len() >= header_bytes {
        let length = (bytes.len() - header_bytes) as u64;
        bytes[16..24].copy_from_slice(&length.to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    }
}

/// Makes the checksums of a block right, of what its footer names.
fn reseal_block(bytes: &mut [u8]) {
    const FOOTER: usize = 64;
    const ENTRY: usize = 32;
    const PAGE: usize = 64 * ENTRY;
    let Some(footer) = bytes.len().checked_sub(FOOTER) else { return };
    let word = |bytes: &[u8], at: usize| {
        bytes.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])) as usize
    };
    let (directory, entries) = (word(bytes, footer + 8), word(bytes, footer + 16));
    let mut at = directory;
    let mut left = entries.min(1 << 12);
    while left > 0 {
        let page_bytes = left.min(PAGE / ENTRY) * ENTRY;
        let Some(page) = bytes.get(at..at + page_bytes).map(<[u8]>::to_vec) else { break };
        if at + page_bytes + 4 > footer {
            break;
        }
        bytes[at + page_bytes..][..4].copy_from_slice(&crc32c::crc32c(&page).to_le_bytes());
        for entry in page.chunks_exact(ENTRY) {
            let (head_bytes, head) = (word(entry, 4), word(entry, 8));
            if head_bytes > record::HEADER_BYTES && head + head_bytes <= directory {
                let mut sealed = Vec::new();
                let payload = &bytes[head + record::HEADER_BYTES..head + head_bytes];
                record::encode(payload, &mut sealed);
                bytes[head..head + head_bytes].copy_from_slice(&sealed);
            }
        }
        left -= page_bytes / ENTRY;
        at += page_bytes + 4;
    }
    let series_crc = bytes.get(at..footer).map_or(0, crc32c::crc32c);
    bytes[footer + 24..][..4].copy_from_slice(&series_crc.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[footer..footer + 60]);
    bytes[footer + 60..].copy_from_slice(&crc.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_a_seed_whose_checksums_are_right_already() {
        for kind in [LOG, SERIES, EXEMPLARS, SEGMENT, INDEX, BLOCK, MANIFEST] {
            let seeds = seeds(&kind);
            assert!(!seeds.is_empty(), "{}", kind.ending);
            for seed in seeds {
                let mut sealed = seed.clone();
                (kind.reseal)(&mut sealed);
                assert_eq!(sealed, seed, "{}", kind.ending);
            }
        }
    }

    #[test]
    fn the_store_that_the_seeds_are_of_is_whole() {
        let seed = &seeds(&MANIFEST)[0];
        live_with(&MANIFEST, seed);
        let disk = SimDisk::new(1);
        for (path, bytes) in base() {
            disk.create(path).unwrap().append(bytes).unwrap();
        }
        let store = Store::open(Arc::new(disk), Path::new(DIR), options()).unwrap();
        let stats = store.stats();
        assert!(stats.blocks > 0 && stats.segments > 1 && stats.exemplars > 0, "{stats:?}");
        assert_eq!((stats.damaged, stats.tombstones), (0, 1), "{stats:?}");
        read_all(&store).unwrap();
    }
}
