//! Native histograms through every layer: the door's rules, the log, chunks, blocks and the reader.

#![allow(clippy::unwrap_used, reason = "a panic is the failure report")]

mod support;

use std::path::{Path, PathBuf};
use support::samples::{Sample, append_samples, bits_of, histogram};
use support::{ALL, Dice, labels, open, patient, read, target};
use vigie_metrics::{Appended, Durability, Store};
use vigie_model::histogram::{Counts, ResetHint};
use vigie_model::{Histogram, Labels, Pushed, PushedHistogram, PushedSample, SeriesId, TimeRange};

const START_MS: i64 = 1_700_000_000_000;
const DAY_MS: i64 = 24 * 3600 * 1000;

fn one(seed: u64) -> Histogram {
    // Kind 0: whole numbers.
    (seed..).map(|seed| histogram(&mut Dice(seed))).find(|h| h.positive_spans.len() == 1).unwrap()
}

fn add(store: &Store, ts_ms: i64, id: SeriesId, sample: Sample) -> Appended {
    append_samples(store, ts_ms, &[id], &[sample], Durability::Written).unwrap()
}

/// Puts the store through a stage, in which its newest data lie somewhere else.
type Stage = fn(&Store);
const STAGES: [(&str, Stage); 3] = [
    ("open rows", |_| ()),
    ("a chunk", |store| store.flush().unwrap()),
    ("a block", |store| {
        store.flush().unwrap();
        store.tick(START_MS + 2 * DAY_MS).unwrap();
        while store.compact(START_MS + 3 * DAY_MS, &mut |_| true).unwrap() {}
        assert_eq!(store.stats().chunks, 0, "everything is in blocks");
    }),
];

#[test]
fn a_repetition_is_no_news_and_another_sample_is_refused() {
    let none = Appended::default();
    let same = Appended { duplicates: 1, histograms: 1, ..none };
    let other = Appended { conflicting: 1, ..none };
    for (stage, settle) in STAGES {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path(), patient());
        let ids = target(&store, 0, 2);
        let given = one(1);
        let added = add(&store, START_MS, ids[0], Sample::Histogram(given.clone()));
        assert_eq!(added, Appended { appended: 1, histograms: 1, ..none });
        add(&store, START_MS, ids[1], Sample::Float(1.0));
        settle(&store);
        let hinted = Histogram { reset_hint: ResetHint::Reset, ..given.clone() };
        let moved = Histogram { sum: given.sum + 1.0, ..given.clone() };
        for (what, id, sample, wanted) in [
            ("the same", ids[0], Sample::Histogram(given.clone()), same),
            ("another hint", ids[0], Sample::Histogram(hinted), same),
            ("another sum", ids[0], Sample::Histogram(moved), other),
            ("a float", ids[0], Sample::Float(1.0), other),
            ("a histogram over a float", ids[1], Sample::Histogram(given.clone()), other),
        ] {
            assert_eq!(add(&store, START_MS, id, sample), wanted, "{what} over {stage}");
        }
        let found: Vec<u64> = read(&store, &[], ALL).into_values().collect();
        assert_eq!(found, [bits_of(&given), 1f64.to_bits()], "{stage}");
    }
}

#[test]
fn a_series_may_turn_from_floats_to_histograms_and_back() {
    for (stage, settle) in STAGES {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path(), patient());
        let id = target(&store, 0, 1)[0];
        let mut dice = Dice(7);
        let mut wanted = Vec::new();
        // More rows than a page has.
        for n in 0..1_100 {
            let sample = match n / 7 % 2 {
                0 => Sample::Float(n as f64),
                _ => Sample::Histogram(histogram(&mut dice)),
            };
            wanted.push(sample.bits());
            add(&store, START_MS + n * 1000, id, sample);
        }
        settle(&store);
        let found: Vec<u64> = read(&store, &[], ALL).into_values().collect();
        assert_eq!(found, wanted, "{stage}");
        let verified = store.verify(&mut |error| panic!("{stage}: {error}")).unwrap();
        assert_eq!(verified.damaged, 0);
        if stage == "a block" {
            assert_eq!(verified.samples, wanted.len() as u64, "histograms are counted");
        }
        let range = TimeRange { start_ms: START_MS + 498_000, end_ms: START_MS + 610_000 };
        let found: Vec<u64> = read(&store, &[], range).into_values().collect();
        assert_eq!(found, wanted[498..=610], "{stage}");
        store.delete_series(&[], range).unwrap();
        let found: Vec<u64> = read(&store, &[], ALL).into_values().collect();
        let left: Vec<u64> = wanted[..498].iter().chain(&wanted[611..]).copied().collect();
        assert_eq!(found, left, "{stage}, after a deletion");
    }
}

#[test]
fn histograms_that_move_little_take_few_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), patient());
    let ids = target(&store, 0, 50);
    let mut given = one(1);
    given.positive_spans[0].length = 40;
    let rows = 1_000u64;
    for n in 0..rows {
        // One observation more in one bucket per row.
        let at = (n % 39) as usize;
        let mut positive = vec![0; 40];
        positive[0] = n as i64 / 39;
        (positive[at], positive[at + 1]) = (positive[at] + 1, -1);
        given.sum = n as f64 * 0.25;
        given.counts = Counts::Integer { count: n, zero_count: 0, positive, negative: vec![] };
        given.negative_spans.clear();
        let samples = vec![Sample::Histogram(given.clone()); ids.len()];
        let ts_ms = START_MS + n as i64 * 15_000;
        append_samples(&store, ts_ms, &ids, &samples, Durability::Written).unwrap();
    }
    store.flush().unwrap();
    let chunks = store.stats().disk_bytes as f64 / (rows * 50) as f64;
    store.tick(START_MS + 2 * DAY_MS).unwrap();
    while store.compact(START_MS + 3 * DAY_MS, &mut |_| true).unwrap() {}
    let blocks = store.stats().disk_bytes as f64 / (rows * 50) as f64;
    println!("{chunks:.1} bytes a histogram of 40 buckets in chunks, {blocks:.1} in blocks");
    assert!(chunks < 30.0 && blocks < 25.0, "{chunks} and {blocks} bytes");
}

#[test]
fn a_push_keeps_both_kinds_and_names_what_it_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), patient());
    let mut broken = one(1);
    broken.positive_spans[0].length += 1;
    let pushed = |series, ts_ms, histogram| PushedHistogram { series, ts_ms, histogram };
    let histograms = [
        pushed(0, START_MS, one(1)),
        pushed(0, START_MS + 1000, one(9)),
        pushed(1, START_MS, broken),
        pushed(2, START_MS, one(3)),
    ];
    let sample = |series, ts_ms, value| PushedSample { series, ts_ms, value };
    let samples = [sample(1, START_MS + 1000, 4.0), sample(2, START_MS + 1000, 5.0)];
    let by_series = |at: usize| -> Result<Labels, String> { Ok(labels("pushed", 0, at)) };
    for round in 0..2 {
        let done = store
            .push(
                &Pushed {
                    keys: &[11, 12, 13],
                    samples: &samples,
                    histograms: &histograms,
                    exemplars: &[],
                    starts: &[],
                    labels: &by_series,
                },
                Durability::Synced,
            )
            .unwrap();
        let none = Appended::default();
        let wanted = match round {
            0 => Appended { appended: 5, histograms: 3, invalid: 1, ..none },
            _ => Appended { duplicates: 5, histograms: 3, invalid: 1, ..none },
        };
        assert_eq!(done.samples, wanted);
        assert!(done.reasons[0].contains("spans need"), "{:?}", done.reasons);
    }
    let found: Vec<u64> = read(&store, &[], ALL).into_values().collect();
    let wanted =
        [bits_of(&one(1)), bits_of(&one(9)), 4f64.to_bits(), bits_of(&one(3)), 5f64.to_bits()];
    assert_eq!(found, wanted);
}

#[test]
fn rows_of_the_largest_histograms_are_cut_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), patient());
    let ids = target(&store, 0, 90);
    let mut large = one(1);
    large.positive_spans[0].length = 16 * 1024;
    let mut positive = vec![0; 16 * 1024];
    positive[0] = i64::MAX;
    large.counts = Counts::Integer { count: 1, zero_count: 0, positive, negative: vec![] };
    large.negative_spans.clear();
    let mut samples = vec![Sample::Histogram(large.clone()); ids.len()];
    samples[40] = Sample::Float(1.0);
    let done = append_samples(&store, START_MS, &ids, &samples, Durability::Synced).unwrap();
    assert_eq!((done.appended, done.histograms), (90, 89));
    assert!(store.stats().chunks > 0, "so many bytes are sealed at once");
    drop(store);
    let found = read(&open(dir.path(), patient()), &[], ALL);
    let bits = bits_of(&large);
    assert_eq!(found.values().filter(|found| **found == bits).count(), 89);
    assert_eq!(found.len(), 90);
}

/// The samples of `fixtures/objects-v1`: open rows, a chunk and a block with histograms.
fn fixture_row(n: u64) -> Vec<Sample> {
    let mut dice = Dice(n);
    let mixed = match n % 3 {
        0 => Sample::Float(n as f64),
        _ => Sample::Histogram(histogram(&mut dice)),
    };
    vec![Sample::Histogram(histogram(&mut dice)), Sample::Float(n as f64 / 4.0), mixed]
}

fn fixture_bits() -> Vec<u64> {
    let columns = (0..3).map(|at| (0..60).map(move |n| fixture_row(n)[at].bits()));
    columns.flatten().collect()
}

#[test]
#[ignore = "writes the fixture; run by hand when a format gets a new version"]
fn write_the_fixture() {
    let dir = PathBuf::from(std::env::var("VIGIE_FIXTURE_DIR").unwrap());
    let store = open(&dir, patient());
    let ids = target(&store, 0, 3);
    for n in 0..60 {
        let ts_ms = START_MS + n as i64 * 15_000;
        append_samples(&store, ts_ms, &ids, &fixture_row(n), Durability::Written).unwrap();
        match n {
            29 => STAGES[2].1(&store),
            49 => store.flush().unwrap(),
            _ => {}
        }
    }
    store.close().unwrap();
    let found: Vec<u64> = read(&store, &[], ALL).into_values().collect();
    assert_eq!(found, fixture_bits());
}

#[test]
fn what_version_1_of_objects_wrote_is_read_bit_by_bit() {
    let dir = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/objects-v1");
    support::copy(&from, dir.path());
    let store = open(dir.path(), patient());
    let stats = store.stats();
    assert!(stats.chunks > 0 && stats.open_bytes > 0, "{stats:?}");
    let found: Vec<u64> = read(&store, &[], ALL).into_values().collect();
    assert_eq!(found, fixture_bits());
}
