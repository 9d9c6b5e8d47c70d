//! What the scenarios share: opening, filling and reading a store.
#![allow(dead_code, reason = "each scenario uses its part")]

pub mod samples;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use vigie_disk::RealDisk;
use vigie_metrics::{Appended, Durability, Options, Store};
use vigie_model::{Labels, Matcher, Row, SeriesId, TimeRange, is_absent};

pub const ALL: TimeRange = TimeRange { start_ms: i64::MIN, end_ms: i64::MAX };

/// Accepts rows of any age, and does not look at the disk's free space.
pub fn patient() -> Options {
    Options {
        retention_ms: i64::MAX / 4,
        late_window_ms: i64::MAX / 4,
        free_bytes_min: 0,
        ..Options::default()
    }
}

pub fn open(dir: &Path, options: Options) -> Store {
    Store::open(Arc::new(RealDisk), dir, options).unwrap()
}

pub fn labels(name: &str, instance: usize, n: usize) -> Labels {
    Labels::from_pairs([
        ("__name__", name.to_owned()),
        ("job", "test".to_owned()),
        ("instance", format!("host-{instance}:9100")),
        ("n", n.to_string()),
    ])
}

/// The ids of `count` series of one target.
pub fn target(store: &Store, instance: usize, count: usize) -> Vec<SeriesId> {
    (0..count).map(|n| store.intern(&labels("m", instance, n)).unwrap()).collect()
}

pub fn append(store: &Store, ts_ms: i64, series: &[SeriesId], values: &[f64]) -> Appended {
    store.append(&[Row::floats(ts_ms, series, values)], Durability::Written).unwrap()
}

/// Every sample that a selection holds, as bits; panics if the selection breaks its contract.
pub fn read(store: &Store, matchers: &[Matcher], range: TimeRange) -> BTreeMap<(String, i64), u64> {
    let selection = store.select(matchers, range).unwrap();
    let mut found = BTreeMap::new();
    let mut seen = std::collections::HashSet::new();
    let (mut column, mut histograms) = (Vec::new(), Vec::new());
    for group in &selection.groups {
        let times = group.timestamps_ms();
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "timestamps ascend");
        assert!(times.iter().all(|ts_ms| range.contains(*ts_ms)), "inside the range");
        for (at, id) in group.series().iter().enumerate() {
            assert!(seen.insert(*id), "each series stands in one column");
            let name = selection.lookup.labels(*id).to_string();
            group.read(at, &mut column).unwrap();
            assert_eq!(column.len(), times.len());
            for (ts_ms, value) in times.iter().zip(&column) {
                if !is_absent(*value) {
                    found.insert((name.clone(), *ts_ms), value.to_bits());
                }
            }
            group.read_histograms(at, &mut histograms).unwrap();
            assert!(histograms.is_empty() || group.may_have_histograms(at), "no is certain");
            assert!(histograms.windows(2).all(|pair| pair[0].0 < pair[1].0), "rows ascend");
            for (row, histogram) in &histograms {
                let bits = samples::bits_of(histogram);
                let before = found.insert((name.clone(), times[*row]), bits);
                assert_eq!(before, None, "a row has a float or a histogram");
            }
        }
    }
    found
}

/// Copies a directory.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

/// A small generator of numbers, the same for the same seed on every machine.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

/// How often a suite does what it does: a slice in every run, all of it with `VIGIE_SOAK=1`.
pub fn slice_or_soak(slice: u64, soak: u64) -> u64 {
    if std::env::var("VIGIE_SOAK").is_ok_and(|value| value == "1") { soak } else { slice }
}
