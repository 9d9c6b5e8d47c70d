//! Random rows, restarts, checkpoints, compactions and deletions against a map from (series, instant) to bits.
//!
//! A failure names its seed; the same seed fails again.
#![allow(clippy::unwrap_used, reason = "a panic is the failure report")]

mod support;

use std::collections::BTreeMap;
use support::samples::{Sample, append_samples, histogram};
use support::{ALL, Dice, labels, open, patient, read};
use vigie_metrics::{Appended, Durability, Options, Store};
use vigie_model::{ABSENT, Matcher, Row, STALE_NAN, SeriesId, TimeRange};

const SEEDS: u64 = 40;
const STEPS: u64 = 80;

type Samples = BTreeMap<(String, i64), u64>;

fn sample(dice: &mut Dice) -> Sample {
    if dice.roll(5) == 0 {
        return Sample::Histogram(histogram(dice));
    }
    Sample::Float(match dice.roll(8) {
        0 => f64::from_bits(dice.roll(u64::MAX)),
        1 => ABSENT,
        2 => STALE_NAN,
        3 => dice.roll(100_000) as f64 / 1000.0,
        4 => -0.0,
        _ => dice.roll(5) as f64,
    })
}

/// A target's number and a series' in it.
type One = (usize, usize);

/// One row over some series of some targets, or of one series, and what the map makes of it.
fn step(store: &Store, dice: &mut Dice, clock_ms: &mut i64, only: Option<One>, map: &mut Samples) {
    let late = dice.roll(5) == 0;
    *clock_ms += 1 + dice.roll(if only.is_some() { 1_500 } else { 15_000 }) as i64;
    let ts_ms = if late { *clock_ms - dice.roll(600_000) as i64 } else { *clock_ms };
    // Sometimes an instant that is there already.
    let instants: Vec<i64> = map.keys().map(|key| key.1).collect();
    let ts_ms = match dice.roll(8) {
        0 if !instants.is_empty() => instants[dice.roll(instants.len() as u64) as usize],
        _ => ts_ms,
    };
    let (mut series, mut samples, mut wanted) = (vec![], vec![], Appended::default());
    let whole = dice.roll(2) == 0;
    for instance in 0..3 {
        for n in 0..20 {
            let is_left_out = match only {
                Some(one) => one != (instance, n),
                None => instance > 0 && dice.roll(3) > 0 || !whole && dice.roll(4) > 0,
            };
            if is_left_out {
                continue;
            }
            let labels = labels("m", instance, n);
            let sample = sample(dice);
            series.push(store.intern(&labels).unwrap());
            let bits = sample.bits();
            let is_histogram = matches!(sample, Sample::Histogram(_));
            samples.push(sample);
            match map.insert((labels.to_string(), ts_ms), bits) {
                None => {
                    wanted.appended += 1;
                    wanted.histograms += u64::from(is_histogram);
                }
                Some(before) => {
                    map.insert((labels.to_string(), ts_ms), before);
                    if before == bits {
                        wanted.duplicates += 1;
                        wanted.histograms += u64::from(is_histogram);
                    } else {
                        wanted.conflicting += 1;
                    }
                }
            }
        }
    }
    let durability = if dice.roll(10) == 0 { Durability::Synced } else { Durability::Written };
    assert_eq!(append_samples(store, ts_ms, &series, &samples, durability).unwrap(), wanted);
}

fn within(map: &Samples, range: TimeRange) -> Samples {
    map.iter().filter(|(key, _)| range.contains(key.1)).map(|(k, v)| (k.clone(), *v)).collect()
}

fn compact(store: &Store, now_ms: i64) {
    while store.compact(now_ms, &mut |_| true).unwrap() {}
}

/// Deletes some series in some range, in the store and in the map.
fn delete(store: &Store, dice: &mut Dice, clock_ms: i64, map: &mut Samples) {
    let start_ms = clock_ms - dice.roll(2_000_000) as i64;
    let range = TimeRange { start_ms, end_ms: start_ms + dice.roll(1_000_000) as i64 };
    let n = dice.roll(20).to_string();
    let by_instance = dice.roll(3) == 0;
    let matcher = match by_instance {
        true => Matcher::equal("instance", "host-0:9100"),
        false => Matcher::equal("n", &n),
    };
    let part = if by_instance { "host-0".to_owned() } else { format!(r#"n="{n}""#) };
    store.delete_series(&[matcher], range).unwrap();
    map.retain(|(name, ts_ms), _| !(range.contains(*ts_ms) && name.contains(&part)));
    assert_eq!(read(store, &[], ALL), *map, "after a deletion");
}

#[test]
fn the_store_agrees_with_a_map_through_restarts_and_checkpoints() {
    for seed in 0..SEEDS {
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            open_bytes_max: if seed % 2 == 0 { 20_000 } else { 1 << 20 },
            log_bytes_max: if seed % 3 == 0 { 10_000 } else { 1 << 20 },
            ..patient()
        };
        let mut dice = Dice(seed);
        let mut map = Samples::new();
        let mut clock_ms = 1_700_000_000_000;
        let mut store = open(dir.path(), options.clone());
        for _ in 0..STEPS {
            match dice.roll(48) {
                40..43 => compact(&store, clock_ms + 30 * 3600 * 1000),
                43 => delete(&store, &mut dice, clock_ms, &mut map),
                44 => store.clean_tombstones(&mut |_| true).unwrap(),
                // A day passes.
                45 => {
                    clock_ms += 24 * 3600 * 1000;
                    store.tick(clock_ms).unwrap();
                }
                0 => {
                    drop(store);
                    store = open(dir.path(), options.clone());
                    assert_eq!(read(&store, &[], ALL), map, "seed {seed}, after a restart");
                }
                1 => store.flush().unwrap(),
                // Three hours later: rows that wait are sealed, a day later segments are closed.
                2 => store.tick(clock_ms + 3 * 3600 * 1000).unwrap(),
                3 => store.tick(clock_ms + 25 * 3600 * 1000).unwrap(),
                4..8 => store.tick(clock_ms).unwrap(),
                // Series with instants of their own; every other time all are of one target.
                8..20 => {
                    for _ in 0..8 {
                        let one =
                            (dice.roll(3) as usize * (seed % 2) as usize, dice.roll(20) as usize);
                        step(&store, &mut dice, &mut clock_ms, Some(one), &mut map);
                    }
                }
                _ => step(&store, &mut dice, &mut clock_ms, None, &mut map),
            }
        }
        assert_eq!(read(&store, &[], ALL), map, "seed {seed}");
        for _ in 0..5 {
            let start_ms = clock_ms - dice.roll(1_000_000) as i64;
            let range = TimeRange { start_ms, end_ms: start_ms + dice.roll(500_000) as i64 };
            assert_eq!(read(&store, &[], range), within(&map, range), "seed {seed}, {range:?}");
        }
        let one = [Matcher::equal("n", "7"), Matcher::equal("instance", "host-0:9100")];
        let wanted: Samples = map
            .iter()
            .filter(|((name, _), _)| name.contains(r#"n="7""#) && name.contains("host-0"))
            .map(|(key, bits)| (key.clone(), *bits))
            .collect();
        assert_eq!(read(&store, &one, ALL), wanted, "seed {seed}");
    }
}

#[test]
fn a_row_that_names_a_series_twice_keeps_the_first_value() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), patient());
    let a = store.intern(&labels("m", 0, 0)).unwrap();
    let b = store.intern(&labels("m", 0, 1)).unwrap();
    let series: [SeriesId; 4] = [b, a, a, b];
    let row = Row::floats(1, &series, &[1.0, 2.0, 3.0, 1.0]);
    let wanted = Appended { appended: 2, duplicates: 1, conflicting: 1, ..Appended::default() };
    assert_eq!(store.append(&[row], Durability::Synced).unwrap(), wanted);
    let samples: Vec<u64> = read(&store, &[], ALL).into_values().collect();
    assert_eq!(samples, [2f64.to_bits(), 1f64.to_bits()]);
}
