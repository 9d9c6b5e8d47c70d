//! Exemplars come back after a restart, a kill and a power cut; the oldest make room for the newest;
//! repetitions and what is too old are told apart; damage is left out and told.
#![allow(clippy::unwrap_used, reason = "a panic in a test is its failure report")]

mod support;

use std::path::Path;
use std::sync::Arc;
use support::{ALL, labels, open, patient, target};
use vigie_disk::sim::SimDisk;
use vigie_metrics::{Durability, ExemplarsAppended, Options, Store};
use vigie_model::{Exemplar, Labels, Matcher, Row, SeriesId, TimeRange};

fn exemplar(ts_ms: i64, trace: &str) -> Exemplar {
    Exemplar { ts_ms, value: 0.1 + 0.2, labels: Labels::from_pairs([("trace_id", trace)]) }
}

fn add(store: &Store, id: SeriesId, ts_ms: i64, trace: &str) -> ExemplarsAppended {
    store.append_exemplars(&[(id, exemplar(ts_ms, trace))], Durability::Synced).unwrap()
}

/// All traces there are, by series and time.
fn traces(store: &Store, range: TimeRange) -> Vec<String> {
    let found = store.exemplars(&[Matcher::equal("job", "test")], range);
    let of = |exemplars: Vec<Exemplar>| {
        exemplars.into_iter().map(|one| one.labels.get("trace_id").unwrap().to_owned())
    };
    found.into_iter().flat_map(|(_, exemplars)| of(exemplars)).collect()
}

fn small() -> Options {
    Options { exemplars_max: 3, ..patient() }
}

#[test]
fn they_come_back_and_the_oldest_make_room() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for life in 0..4 {
        let store = open(dir.path(), small());
        assert_eq!(traces(&store, ALL), expected, "life {life}");
        let ids = target(&store, 0, 2);
        support::append(&store, life * 10 + 1, &ids, &[1.0, 2.0]);
        for n in 0..3 {
            let trace = format!("{life}-{n}");
            let counts = add(&store, ids[0], life * 10 + n, &trace);
            assert_eq!(counts.appended, 1);
            expected.push(trace);
        }
        expected = expected.split_off(expected.len() - 3);
    }
    // The file holds twice what the ring does, and not all that ever came.
    let bytes = std::fs::metadata(dir.path().join("exemplars.log")).unwrap().len();
    assert!(bytes < 400, "{bytes} bytes");
}

#[test]
fn repetitions_old_ones_and_long_ones_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), patient());
    let ids = target(&store, 0, 2);
    support::append(&store, 1, &ids, &[1.0, 2.0]);
    let counts = |appended, duplicates, out_of_order, too_long| ExemplarsAppended {
        appended,
        duplicates,
        out_of_order,
        too_long,
    };
    for (series, ts_ms, trace, wanted) in [
        (0, 10, "a", counts(1, 0, 0, 0)),
        (0, 10, "a", counts(0, 1, 0, 0)),
        (0, 9, "b", counts(0, 0, 1, 0)),
        (1, 9, "b", counts(1, 0, 0, 0)),
        (0, 11, &"x".repeat(120), counts(1, 0, 0, 0)),
        (0, 12, &"x".repeat(121), counts(0, 0, 0, 1)),
        // Characters, not bytes.
        (0, 13, &"é".repeat(120), counts(1, 0, 0, 0)),
    ] {
        assert_eq!(add(&store, ids[series], ts_ms, trace), wanted, "{ts_ms} {trace}");
    }
    assert_eq!(traces(&store, TimeRange { start_ms: 9, end_ms: 10 }), ["a", "b"]);
    assert!(store.exemplars(&[Matcher::equal("job", "nobody")], ALL).is_empty());
    let off = open(tempfile::tempdir().unwrap().path(), Options { exemplars_max: 0, ..patient() });
    let id = off.intern(&labels("m", 0, 0)).unwrap();
    add(&off, id, 1, "a");
    assert!(traces(&off, ALL).is_empty());
}

#[test]
fn a_power_cut_after_any_operation_loses_none_that_was_acknowledged() {
    let (cuts, kept) = cut_power_everywhere().unwrap();
    println!("{cuts} power cuts, {kept} exemplars that had to be there");
    assert!(kept > 200, "the test must have had something to lose");
}

#[cfg(debug_assertions)]
#[test]
fn exemplars_that_are_not_synced_and_a_ring_without_an_end_are_noticed() {
    use vigie_metrics::planted::{Bug, plant};
    for bug in [Bug::ExemplarsNotSynced, Bug::RingWithoutEnd] {
        plant(Some(bug));
        let noticed = cut_power_everywhere();
        plant(None);
        assert!(noticed.is_err(), "{bug:?}");
    }
}

/// How often the power was cut, and how many exemplars had to be there; or which was not.
fn cut_power_everywhere() -> Result<(usize, usize), String> {
    let (mut cuts, mut kept) = (0, 0);
    for stop in (5..400).step_by(3) {
        let disk = Arc::new(SimDisk::new(stop));
        let mut acknowledged = Vec::new();
        let open = || Store::open(disk.clone(), Path::new("/m"), small());
        disk.stop_after(stop);
        if let Ok(store) = open() {
            let _ = store.tick(1);
            for n in 0..40 {
                let Ok(id) = store.intern(&labels("m", 0, 0)) else { break };
                let ids = [id];
                let row = [Row::floats(n, &ids, &[1.0])];
                let trace = n.to_string();
                let given = [(id, exemplar(n, &trace))];
                let done = store
                    .append(&row, Durability::Synced)
                    .and_then(|_| store.append_exemplars(&given, Durability::Synced));
                if done.is_err() {
                    break;
                }
                acknowledged.push(trace);
            }
        }
        disk.power_cut();
        disk.revive();
        let store = open().unwrap();
        let found = traces(&store, ALL);
        let newest = acknowledged.split_off(acknowledged.len().saturating_sub(3));
        // One that was not acknowledged may be there, and then one less of the older ones is.
        let oldest_gone = usize::from(newest.last().is_some_and(|last| found.last() != Some(last)));
        for trace in newest.iter().skip(oldest_gone) {
            if !found.contains(trace) {
                return Err(format!("stop {stop}: {trace} of {newest:?} is not in {found:?}"));
            }
        }
        if found.len() > small().exemplars_max {
            return Err(format!("stop {stop}: the ring has {} exemplars", found.len()));
        }
        (cuts, kept) = (cuts + 1, kept + newest.len());
    }
    Ok((cuts, kept))
}

#[test]
fn damage_is_left_out_told_and_mended() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("exemplars.log");
    {
        let store = open(dir.path(), patient());
        let ids = target(&store, 0, 1);
        support::append(&store, 1, &ids, &[1.0]);
        for (ts_ms, trace) in [(1, "a"), (2, "b"), (3, "c")] {
            add(&store, ids[0], ts_ms, trace);
        }
    }
    let whole = std::fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        std::fs::write(&path, &bytes).unwrap();
        let store = open(dir.path(), patient());
        let found = traces(&store, ALL);
        assert!(found.len() < 3, "byte {at}");
        assert!(["a", "b", "c"].starts_with(&found.iter().map(String::as_str).collect::<Vec<_>>()));
        assert_eq!(store.stats().damaged, 1, "byte {at}");
        let id = store.intern(&labels("m", 0, 0)).unwrap();
        add(&store, id, 4, "d");
        drop(store);
        let store = open(dir.path(), patient());
        assert_eq!(traces(&store, ALL).last().unwrap(), "d", "byte {at}");
        assert_eq!(store.stats().damaged, 0, "byte {at}");
    }
}
