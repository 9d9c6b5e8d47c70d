//! Directories written by every version of the formats, kept for ever.
//!
//! `fixtures/v1` holds a closed segment with its index, an open segment, `series.log` and a
//! write-ahead log with new series, rows and marks. `fixtures/v2` holds the same and a manifest; its
//! logs speak of series in batches. `fixtures/v3` has the list of series twice, with a generation, and
//! chunks of kind 2. To write one for a new version, run `write_the_fixture` with
//! `VIGIE_FIXTURE_DIR` set to an empty directory.

#![allow(clippy::unwrap_used, reason = "a panic is the failure report")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use support::{ALL, Dice, append, copy, labels, open, patient, read};
use vigie_model::{STALE_NAN, SeriesId};

const DAY_MS: i64 = 24 * 3600 * 1000;
const START_MS: i64 = 1_700_000_000_000;

/// Row `n`: its instant and the cells (instance, series, value), every kind of column among them.
fn row(n: i64) -> (i64, Vec<(usize, usize, f64)>) {
    let ts_ms = START_MS + n * 15_000 + if n >= 40 { DAY_MS } else { 0 };
    let mut dice = Dice(n as u64);
    let mut cells = vec![
        (0, 0, 1.0),
        (0, 1, n as f64 * 4096.0),
        (0, 2, (n * n) as f64 / 100.0),
        (0, 3, f64::from_bits(dice.roll(u64::MAX))),
        (1, 0, if n % 7 == 0 { STALE_NAN } else { -0.0 }),
    ];
    if n % 3 == 0 {
        cells.push((0, 4, f64::INFINITY));
    }
    if n >= 70 {
        cells.push((2, 0, n as f64));
    }
    (ts_ms, cells)
}

fn expected() -> BTreeMap<(String, i64), u64> {
    let mut samples = BTreeMap::new();
    for n in 0..80 {
        let (ts_ms, cells) = row(n);
        for (instance, series, value) in cells {
            let name = labels("fixture", instance, series).to_string();
            samples.insert((name, ts_ms), vigie_model::value::canonical(value).to_bits());
        }
    }
    samples
}

#[test]
#[ignore = "writes the fixture; run by hand when a format gets a new version"]
fn write_the_fixture() {
    let dir = PathBuf::from(std::env::var("VIGIE_FIXTURE_DIR").unwrap());
    let store = open(&dir, patient());
    for n in 0..80 {
        let (ts_ms, cells) = row(n);
        let ids: Vec<SeriesId> = cells
            .iter()
            .map(|(instance, series, _)| store.intern(&labels("fixture", *instance, *series)))
            .map(Result::unwrap)
            .collect();
        let values: Vec<f64> = cells.iter().map(|cell| cell.2).collect();
        append(&store, ts_ms, &ids, &values);
        match n {
            39 => {
                store.flush().unwrap();
                store.tick(ts_ms + DAY_MS).unwrap();
            }
            59 => store.flush().unwrap(),
            65 => {
                store.tick(ts_ms).unwrap();
                store.tick(ts_ms + 3 * 3600 * 1000).unwrap();
            }
            _ => {}
        }
    }
    store.close().unwrap();
    assert_eq!(read(&store, &[], ALL), expected());
}

#[test]
fn a_directory_of_any_version_is_read_bit_by_bit_and_can_be_written_on() {
    for version in ["v1", "v2", "v3"] {
        let dir = tempfile::tempdir().unwrap();
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        copy(&fixtures.join(version), dir.path());
        let store = open(dir.path(), patient());
        let stats = store.stats();
        assert_eq!(stats.segments, 2, "{version}");
        assert!(stats.chunks >= 6 && stats.open_bytes > 0, "{version}: {stats:?}");
        assert_eq!(read(&store, &[], ALL), expected(), "{version}");
        let known = store.intern(&labels("fixture", 0, 0)).unwrap();
        let new = store.intern(&labels("fixture", 3, 0)).unwrap();
        append(&store, START_MS + 2 * DAY_MS, &[known, new], &[2.0, 3.0]);
        store.flush().unwrap();
        drop(store);
        let samples = read(&open(dir.path(), patient()), &[], ALL);
        assert_eq!(samples.len(), expected().len() + 2, "{version}");
    }
}
