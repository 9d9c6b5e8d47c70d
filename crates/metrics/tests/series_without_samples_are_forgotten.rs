//! Series of which retention has dropped the last sample leave memory and the list; the others keep
//! their numbers, whatever happens meanwhile.
#![allow(clippy::unwrap_used, reason = "a panic is the failure report")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use support::{ALL, append, labels, open, patient, read, target};
use vigie_disk::sim::SimDisk;
use vigie_metrics::{Durability, MetricsError, Options, Store};
use vigie_model::{Exemplar, Labels, Matcher, Pushed, PushedSample, Row, STALE_NAN, SeriesId};

const HOUR_MS: i64 = 3600 * 1000;
const DAY_MS: i64 = 24 * HOUR_MS;
const START_MS: i64 = 19_000 * DAY_MS;

fn options() -> Options {
    Options { retention_ms: 2 * DAY_MS, ..patient() }
}

/// Target 0 has 30 series that end on the first day, target 1 has 3 that go on.
fn fill(store: &Store) -> Result<i64, MetricsError> {
    store.tick(START_MS)?;
    let dying: Vec<SeriesId> =
        (0..30).map(|n| store.intern(&labels("m", 0, n))).collect::<Result<_, _>>()?;
    let living: Vec<SeriesId> =
        (0..3).map(|n| store.intern(&labels("m", 1, n))).collect::<Result<_, _>>()?;
    let mut now_ms = START_MS;
    for hour in 0..70 {
        now_ms = START_MS + hour * HOUR_MS;
        store.tick(now_ms)?;
        if hour < 3 {
            store
                .append(&[Row::floats(now_ms, &dying, &[hour as f64; 30])], Durability::Written)?;
        }
        store.append(&[Row::floats(now_ms, &living, &[hour as f64; 3])], Durability::Written)?;
        while hour % 5 == 0 && store.compact(now_ms, &mut |_| true)? {}
    }
    Ok(now_ms)
}

/// When the first day has become too old.
const LATER_MS: i64 = 5 * HOUR_MS;

/// Two looks, an hour apart.
fn forget(store: &Store, now_ms: i64) -> Result<(), MetricsError> {
    store.tick(now_ms + LATER_MS)?;
    store.tick(now_ms + LATER_MS + HOUR_MS)
}

#[test]
fn the_dead_go_from_memory_and_list_and_the_living_stay() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), options());
    let now_ms = fill(&store).unwrap();
    let living = target(&store, 1, 3);
    let of_list = |name: &str| std::fs::metadata(dir.path().join(name)).unwrap().len();
    store.flush().unwrap();
    let (before, list_before) = (store.stats(), of_list("series.log"));
    assert_eq!((before.series, store.analyze().unwrap().dead), (33, 0));
    store.tick(now_ms + LATER_MS).unwrap();
    assert_eq!((store.stats().series, store.analyze().unwrap().dead), (33, 30));
    forget(&store, now_ms).unwrap();
    let wanted = read(&store, &[], ALL);
    assert!(wanted.keys().all(|(name, _)| name.contains("host-1")), "the others are too old");
    let stats = store.stats();
    assert_eq!((stats.series, stats.series_forgotten), (3, 30));
    assert_eq!(store.analyze().unwrap().dead, 0);
    assert!(of_list("series.log") < list_before, "the list is shorter");
    assert_eq!(of_list("series.log"), of_list("series.copy"));
    assert_eq!(target(&store, 1, 3), living, "who lives keeps the number");
    // What was forgotten comes back under another number, also beside a living series.
    let again = target(&store, 0, 30);
    assert!(again.iter().all(|id| id.0 >= 33), "{again:?}");
    let series = [living[0], again[4]];
    append(&store, now_ms + 2 * HOUR_MS, &series, &[5.0, 6.0]);
    let wanted = read(&store, &[], ALL);
    for flush in [false, true, true] {
        drop(open(dir.path(), options()));
        let store = open(dir.path(), options());
        assert_eq!(store.stats().damaged, 0);
        assert_eq!(read(&store, &[], ALL), wanted);
        if flush {
            store.flush().unwrap();
        }
    }
}

#[test]
fn a_series_with_an_exemplar_or_a_sample_that_came_back_lives() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), options());
    let now_ms = fill(&store).unwrap();
    let dying = target(&store, 0, 30);
    let exemplar = Exemplar { ts_ms: now_ms, value: 1.0, labels: Labels::default() };
    store.append_exemplars(&[(dying[7], exemplar)], Durability::Written).unwrap();
    store.tick(now_ms + LATER_MS).unwrap();
    append(&store, now_ms + LATER_MS, &dying[3..4], &[1.0]);
    store.tick(now_ms + LATER_MS + HOUR_MS).unwrap();
    assert_eq!(store.stats().series_forgotten, 28);
    assert_eq!(store.intern(&labels("m", 0, 3)).unwrap(), dying[3]);
    assert_eq!(store.exemplars(&[], ALL).len(), 1);
    let found = read(&store, &[Matcher::equal("n", "3")], ALL);
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn who_kept_a_number_is_told_and_a_push_looks_it_up_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), options());
    let now_ms = fill(&store).unwrap();
    let dying = target(&store, 0, 30);
    let living = target(&store, 1, 3);
    let of_key = |series: usize| Ok(labels("m", 0, series));
    let samples = [PushedSample { series: 0, ts_ms: now_ms + 3, value: 1.0 }];
    let keys = [77u64];
    let push = || {
        let pushed = Pushed {
            keys: &keys,
            samples: &samples,
            histograms: &[],
            exemplars: &[],
            starts: &[],
            labels: &of_key,
        };
        store.push(&pushed, Durability::Synced)
    };
    // The key is learned without a sample that stays.
    let old = [PushedSample { series: 0, ts_ms: START_MS, value: 1.0 }];
    let pushed = Pushed {
        keys: &keys,
        samples: &old,
        histograms: &[],
        exemplars: &[],
        starts: &[],
        labels: &of_key,
    };
    assert_eq!(store.push(&pushed, Durability::Synced).unwrap().samples.too_old, 1);
    forget(&store, now_ms).unwrap();
    assert_eq!(store.stats().series_forgotten, 30);
    let row = Row::floats(now_ms, &dying, &[1.0; 30]);
    assert!(matches!(store.append(&[row], Durability::Written), Err(MetricsError::Forgotten)));
    // An end is not worth an error: it has ended long ago.
    let both = [dying[2], living[0]];
    let ended = append(&store, now_ms + 1, &both, &[STALE_NAN, 4.0]);
    assert_eq!(ended.appended, 1);
    assert_eq!(push().unwrap().samples.appended, 1);
    assert_eq!(read(&store, &[Matcher::equal("instance", "host-0:9100")], ALL).len(), 1);
}

/// Lives, forgets and dies after `stop` operations; what a second life finds. `None` when it did not
/// come to an end before.
fn die_at(stop: u64, power: bool) -> Result<bool, String> {
    let disk = SimDisk::new(stop);
    let start = || Store::open(Arc::new(disk.clone()), Path::new("/data"), options());
    let store = start().map_err(|e| e.to_string())?;
    let now_ms = fill(&store).unwrap();
    store.flush().unwrap();
    let wanted: BTreeMap<_, _> = read(&store, &[Matcher::equal("instance", "host-1:9100")], ALL);
    disk.stop_after(stop);
    let is_over = forget(&store, now_ms).is_ok();
    drop(store);
    if power {
        disk.power_cut();
    } else {
        disk.revive();
    }
    let store = start().map_err(|e| e.to_string())?;
    let found = read(&store, &[], ALL);
    let damaged = store.stats().damaged;
    // Retention may have taken what is too old, and nothing else.
    let kept_ms = now_ms + LATER_MS + HOUR_MS - options().retention_ms;
    let lost = wanted.iter().find(|(key, bits)| key.1 >= kept_ms && found.get(key) != Some(bits));
    let made_up = found.keys().find(|key| key.0.contains("host-1") && !wanted.contains_key(key));
    if damaged > 0 || lost.is_some() || made_up.is_some() {
        return Err(format!("stop {stop}: {damaged} damaged, lost {lost:?}, made up {made_up:?}"));
    }
    // It is done at last, and new series get no wrong place.
    forget(&store, now_ms).map_err(|e| e.to_string())?;
    append(&store, now_ms, &target(&store, 5, 4), &[1.0; 4]);
    store.flush().map_err(|e| e.to_string())?;
    let samples = read(&store, &[], ALL);
    let again = start().map_err(|e| e.to_string())?;
    if again.stats().series != 7 || read(&again, &[], ALL) != samples {
        return Err(format!("stop {stop}: {} series afterwards", again.stats().series));
    }
    Ok(is_over)
}

#[test]
fn a_death_or_a_power_cut_while_series_are_forgotten_takes_nothing_else() {
    for power in [false, true] {
        let deaths = (0..).find(|stop| die_at(*stop, power).unwrap()).unwrap();
        assert!(deaths > 10, "only {deaths} operations");
        println!("{deaths} deaths, power cut: {power}");
    }
}

#[cfg(debug_assertions)]
#[test]
fn series_that_are_forgotten_though_they_came_back_are_noticed() {
    use vigie_metrics::planted::{Bug, plant};
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), options());
    let now_ms = fill(&store).unwrap();
    let dying = target(&store, 0, 30);
    store.tick(now_ms + LATER_MS).unwrap();
    append(&store, now_ms + LATER_MS, &dying[3..4], &[1.0]);
    plant(Some(Bug::LivingForgotten));
    store.tick(now_ms + LATER_MS + HOUR_MS).unwrap();
    plant(None);
    assert!(read(&store, &[Matcher::equal("n", "3")], ALL).is_empty(), "the bug took it");
}
