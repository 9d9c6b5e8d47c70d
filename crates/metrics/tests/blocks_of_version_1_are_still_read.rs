//! A directory with version 1 of the manifest and of blocks, kept for ever.
//!
//! `fixtures/blocks-v1` holds a block of a day, one of two hours, a segment, a log and a deletion
//! that is not folded in. To write one for a new version, run `write_the_fixture` with
//! `VIGIE_FIXTURE_DIR` set to an empty directory.

#![allow(clippy::unwrap_used, reason = "a panic is the failure report")]

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use support::{ALL, append, labels, open, patient, read};
use vigie_disk::OverlayDisk;
use vigie_metrics::Store;
use vigie_model::{Matcher, STALE_NAN, TimeRange, value::canonical};

const HOUR_MS: i64 = 3600 * 1000;
const START_MS: i64 = 19_700 * 24 * HOUR_MS;
/// Two rows a minute over 32 hours would be many; one in three minutes is enough.
const ROWS: i64 = 640;

/// Row `n`: columns of every kind.
fn row(n: i64) -> (i64, Vec<f64>) {
    let noise = 0x3ff0_0000_0000_0000 | (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 12;
    let values = vec![
        1.0,
        n as f64 * 4096.0,
        if n % 100 == 50 { 1e9 } else { (n % 13) as f64 / 100.0 },
        f64::from_bits(noise),
        if n % 97 == 0 { STALE_NAN } else { n as f64 * 0.5 },
        if n < 300 { f64::NEG_INFINITY } else { -0.0 },
    ];
    (START_MS + n * 180_000 + n % 3, values)
}

/// What the deletion hides.
fn is_deleted(n: i64, series: usize) -> bool {
    series == 1 && (10..=500).contains(&n)
}

#[test]
#[ignore = "writes the fixture; run by hand when a format gets a new version"]
fn write_the_fixture() {
    let dir = PathBuf::from(std::env::var("VIGIE_FIXTURE_DIR").unwrap());
    let store = open(&dir, patient());
    let ids: Vec<_> = (0..6).map(|n| store.intern(&labels("block", 0, n)).unwrap()).collect();
    for n in 0..ROWS {
        let (ts_ms, values) = row(n);
        assert_eq!(append(&store, ts_ms, &ids, &values).appended, 6);
        store.tick(ts_ms).unwrap();
        while n < ROWS - 30 && store.compact(ts_ms, &mut |_| true).unwrap() {}
    }
    let range = TimeRange { start_ms: row(10).0, end_ms: row(500).0 };
    store.delete_series(&[Matcher::equal("n", "1")], range).unwrap();
    let stats = store.stats();
    assert!(stats.blocks >= 2 && stats.segments > 0 && stats.tombstones == 1, "{stats:?}");
    store.close().unwrap();
}

#[test]
fn blocks_of_version_1_are_read_bit_by_bit() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/blocks-v1");
    // Over a disk that keeps changes in memory, so the fixture stays what it is.
    let store = Store::open(Arc::new(OverlayDisk::default()), &dir, patient()).unwrap();
    let found = read(&store, &[], ALL);
    let mut wanted = 0;
    for n in 0..ROWS {
        let (ts_ms, values) = row(n);
        for (series, value) in values.into_iter().enumerate() {
            let key = (labels("block", 0, series).to_string(), ts_ms);
            let bits = (!is_deleted(n, series)).then(|| canonical(value).to_bits());
            assert_eq!(found.get(&key).copied(), bits, "row {n}, series {series}");
            wanted += usize::from(bits.is_some());
        }
    }
    assert_eq!((found.len(), store.stats().damaged), (wanted, 0));
    let verified = store.verify(&mut |error| panic!("{error}")).unwrap();
    assert!(verified.files >= 3, "{verified:?}");
    store.clean_tombstones(&mut |_| true).unwrap();
    assert_eq!(read(&store, &[], ALL), found);
}
