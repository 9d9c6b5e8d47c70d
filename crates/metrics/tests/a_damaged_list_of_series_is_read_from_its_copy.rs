//! The list of series is kept twice: what is damaged in one file is read from the other, reported and
//! mended; what is damaged in both costs its series and no others.
#![allow(clippy::unwrap_used, reason = "a panic is the failure report")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use support::{ALL, append, copy, open, patient, read, target};
use vigie_metrics::Store;

/// Both files start with so many bytes in front of the records.
const HEADER_BYTES: usize = 36;
const NAMES: [&str; 2] = ["series.log", "series.copy"];

type Samples = BTreeMap<(String, i64), u64>;

/// Three batches in the list: of two targets, of a later series of the first, and of a third.
/// Samples of each stand in a block, a segment and the log. What is in the store, and where the
/// batches start and end.
fn fill(dir: &Path) -> (Samples, Vec<usize>) {
    let store = open(dir, patient());
    let mut ends = vec![HEADER_BYTES];
    let mut clock_ms = 0;
    for step in 0..3 {
        let parts: &[(usize, usize)] = [&[(0, 4), (1, 4)][..], &[(0, 6)], &[(2, 3), (0, 6)]][step];
        for (instance, count) in parts {
            let series = target(&store, *instance, *count);
            for n in 0..5 {
                clock_ms += 1000;
                append(&store, clock_ms, &series, &vec![n as f64 + step as f64; *count]);
            }
        }
        store.flush().unwrap();
        ends.push(std::fs::metadata(dir.join(NAMES[0])).unwrap().len() as usize);
        if step < 2 {
            store.tick(clock_ms + 3 * 3600 * 1000).unwrap();
        }
        if step == 0 {
            while store.compact(clock_ms, &mut |_| true).unwrap() {}
            assert_eq!(store.stats().blocks, 1);
        }
    }
    append(&store, clock_ms + 1000, &target(&store, 0, 6), &[9.0; 6]);
    append(&store, clock_ms + 2000, &target(&store, 2, 3), &[9.0; 3]);
    store.close().unwrap();
    (read(&store, &[], ALL), ends)
}

fn change(dir: &Path, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let path = dir.join(name);
    let mut bytes = std::fs::read(&path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

fn assert_same(found: &Samples, wanted: &Samples, what: &str) {
    let lost = wanted.iter().find(|(key, bits)| found.get(key) != Some(bits));
    let made_up = found.keys().find(|key| !wanted.contains_key(key));
    assert!(lost.is_none() && made_up.is_none(), "{what}: lost {lost:?}, made up {made_up:?}");
}

fn reports(store: &Store) -> Vec<String> {
    let mut told = Vec::new();
    store.verify(&mut |error| told.push(error.to_string())).unwrap();
    told
}

#[test]
fn damage_of_one_file_costs_nothing_is_told_and_mended() {
    let first = tempfile::tempdir().unwrap();
    let (wanted, ends) = fill(first.path());
    type Damage = Box<dyn Fn(&mut Vec<u8>)>;
    let flip = |at: usize| Box::new(move |bytes: &mut Vec<u8>| bytes[at] ^= 4) as Damage;
    let (short, torn) = (ends[1], ends[3] - 2);
    // What is done, and whether it must be told of the list and of its copy: what is missing at the
    // end of a copy may have been an unfinished write, but it was synced here.
    let cases: Vec<(&str, Damage, [bool; 2])> = vec![
        ("magic", flip(3), [true, true]),
        ("generation", flip(25), [true, true]),
        ("first batch", flip(ends[0] + 9), [true, true]),
        ("second batch", flip(ends[1] + 1), [true, true]),
        ("last batch", flip(ends[3] - 1), [true, true]),
        ("short", Box::new(move |bytes| bytes.truncate(short)), [true, true]),
        ("torn", Box::new(move |bytes| bytes.truncate(torn)), [true, true]),
        ("longer", Box::new(|bytes| bytes.extend_from_slice(&[7; 30])), [false, true]),
        ("empty", Box::new(Vec::clear), [true, true]),
    ];
    for (what, damage, told) in &cases {
        for (name, told) in NAMES.iter().zip(told) {
            let dir = tempfile::tempdir().unwrap();
            copy(first.path(), dir.path());
            change(dir.path(), name, |bytes| damage(bytes));
            let store = open(dir.path(), patient());
            assert_same(&read(&store, &[], ALL), &wanted, &format!("{what} of {name}"));
            let reports = reports(&store);
            let is_told =
                reports.iter().any(|text| text.contains(name) && text.contains("at byte"));
            assert_eq!(is_told, *told, "{what} of {name}: {reports:?}");
            drop(store);
            let again = open(dir.path(), patient());
            assert_eq!((read(&again, &[], ALL), again.stats().damaged), (wanted.clone(), 0));
            let [list, copy] = NAMES.map(|name| std::fs::read(dir.path().join(name)).unwrap());
            assert_eq!(list, copy, "both are whole again");
        }
    }
}

#[test]
fn a_missing_file_is_made_again_from_the_other() {
    let first = tempfile::tempdir().unwrap();
    let (wanted, _) = fill(first.path());
    for name in NAMES {
        let dir = tempfile::tempdir().unwrap();
        copy(first.path(), dir.path());
        std::fs::remove_file(dir.path().join(name)).unwrap();
        assert_eq!(read(&open(dir.path(), patient()), &[], ALL), wanted);
        assert!(dir.path().join(name).exists());
    }
}

#[test]
fn an_older_generation_is_not_mixed_with_a_newer_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), patient());
    append(&store, 1000, &target(&store, 0, 3), &[1.0; 3]);
    store.flush().unwrap();
    drop(store);
    let old = std::fs::read(dir.path().join(NAMES[1])).unwrap();
    // Damage starts a new generation, as a crash between the two renames would find it.
    change(dir.path(), NAMES[0], |bytes| bytes[3] ^= 1);
    let store = open(dir.path(), patient());
    append(&store, 2000, &target(&store, 1, 3), &[2.0; 3]);
    store.flush().unwrap();
    let wanted = read(&store, &[], ALL);
    drop(store);
    for name in NAMES {
        let other = tempfile::tempdir().unwrap();
        copy(dir.path(), other.path());
        std::fs::write(other.path().join(name), &old).unwrap();
        let store = open(other.path(), patient());
        assert_eq!((read(&store, &[], ALL), store.stats().damaged), (wanted.clone(), 0), "{name}");
    }
}

#[test]
fn damage_of_the_same_place_in_both_costs_its_series_and_no_others() {
    let first = tempfile::tempdir().unwrap();
    let (all, ends) = fill(first.path());
    // Which batch is damaged, and of which series the samples are lost: those first met in it.
    let of = |name: &str, instance: usize, range: std::ops::Range<usize>| {
        let mut ns = range;
        let is_of = name.contains(&format!("host-{instance}:"));
        is_of && ns.any(|n| name.contains(&format!("n=\"{n}\"")))
    };
    for batch in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        copy(first.path(), dir.path());
        for name in NAMES {
            change(dir.path(), name, |bytes| bytes[ends[batch] + 10] ^= 1);
        }
        let is_lost = |name: &str| match batch {
            0 => of(name, 0, 0..4) || of(name, 1, 0..4),
            1 => of(name, 0, 4..6),
            _ => of(name, 2, 0..3),
        };
        let mut wanted = all.clone();
        wanted.retain(|(name, _), _| !is_lost(name));
        for start in 0..3 {
            let store = open(dir.path(), patient());
            let what = format!("batch {batch}, start {start}");
            assert_same(&read(&store, &[], ALL), &wanted, &what);
            let reports = reports(&store);
            if start == 0 {
                // Blocks say whose samples they have, the segment only in which columns.
                let told = [
                    "samples of series are lost with the list: numbers 0 to 7",
                    "2 columns of the chunk are of series that nobody knows",
                    "3 columns of the chunk are of series that nobody knows",
                ];
                let is_told = reports.iter().any(|text| text.ends_with(told[batch]));
                assert!(is_told, "batch {batch}: {reports:?}");
                let place = format!("series.log at byte {}", ends[batch]);
                assert!(reports[0].contains(&place), "{reports:?}");
            }
            // New series, of the same targets too, get none of the lost places.
            let instance = start % 3;
            let series = target(&store, instance, 7);
            append(&store, 1_000_000 + start as i64, &series, &[3.0; 7]);
            let found = read(&store, &[], ALL);
            assert_eq!(found.len(), wanted.len() + 7);
            wanted = found;
            if start == 1 {
                store.flush().unwrap();
                store.tick(1_000_000 + 3 * 3600 * 1000).unwrap();
                while store.compact(1_000_000, &mut |_| true).unwrap() {}
                assert_same(&read(&store, &[], ALL), &wanted, "after a compaction");
            }
        }
    }
}
