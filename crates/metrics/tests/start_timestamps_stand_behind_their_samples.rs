//! Start timestamps are read beside their samples by those who ask, and are in no list; a restart, a
//! compaction and a deletion treat them as they treat the samples.
#![allow(clippy::unwrap_used, reason = "a panic is the failure report")]

mod support;

use std::collections::BTreeMap;
use support::{ALL, append, labels, open, patient, read, target};
use vigie_metrics::{Durability, MetricsError, Options, Store};
use vigie_model::{
    Labels, Matcher, Pushed, PushedSample, PushedStart, Row, SeriesId, TimeRange, is_absent,
};

/// Midnight (UTC): rows of this day are put into a block the day after.
const START_MS: i64 = 19_675 * 24 * 3600 * 1000;
const STEP_MS: i64 = 10_000;

fn options() -> Options {
    Options { starts: true, ..patient() }
}

/// When the count of row `n` began: it begins anew every 50 rows. The first does not know.
fn start(n: i64) -> i64 {
    if n == 0 { 0 } else { START_MS + n / 50 * 50 * STEP_MS - 7 }
}

/// Rows of three series, of which the first two have start timestamps.
fn fill(store: &Store, ids: &[SeriesId], rows: std::ops::Range<i64>) {
    for n in rows {
        let ts_ms = START_MS + n * STEP_MS;
        append(store, ts_ms, ids, &[n as f64, -n as f64, 1.0]);
        let starts = ids[..2].iter().map(|id| (*id, ts_ms, start(n))).collect::<Vec<_>>();
        let done = store.append_starts(&starts, Durability::Written).unwrap();
        assert_eq!(done.appended, if n == 0 { 0 } else { 2 });
    }
}

/// The start timestamps of all samples, with 0 where there is none.
fn starts(store: &Store, matchers: &[Matcher], range: TimeRange) -> BTreeMap<(String, i64), i64> {
    let selection = store.select_with_starts(matchers, range).unwrap();
    let (mut found, mut values, mut column) = (BTreeMap::new(), Vec::new(), Vec::new());
    for group in &selection.groups {
        for (at, id) in group.series().iter().enumerate() {
            let name = selection.lookup.labels(*id).to_string();
            group.read(at, &mut values).unwrap();
            group.read_starts_ms(at, &mut column).unwrap();
            column.resize(values.len(), 0);
            for ((ts_ms, value), start_ms) in group.timestamps_ms().iter().zip(&values).zip(&column)
            {
                if !is_absent(*value) {
                    found.insert((name.clone(), *ts_ms), *start_ms);
                }
            }
        }
    }
    found
}

/// What [`starts`] finds of rows that [`fill`] has written.
fn wanted(rows: std::ops::Range<i64>) -> BTreeMap<(String, i64), i64> {
    let series = (0..3).flat_map(|at| rows.clone().map(move |n| (at, n)));
    let of = |(at, n): (usize, i64)| {
        let name = labels("m", 0, at).to_string();
        ((name, START_MS + n * STEP_MS), if at < 2 { start(n) } else { 0 })
    };
    series.map(of).collect()
}

/// Nothing but [`Store::select_with_starts`] tells that there are companions.
fn assert_hidden(store: &Store, rows: i64) {
    assert_eq!(store.series(&[], ALL, usize::MAX).unwrap().len(), 3);
    assert_eq!(store.label_names(&[], ALL, 9).unwrap(), ["__name__", "instance", "job", "n"]);
    assert_eq!(store.label_values("n", &[], ALL, 9).unwrap(), ["0", "1", "2"]);
    assert_eq!(store.label_values("__start_ms__", &[], ALL, 9).unwrap(), [] as [&str; 0]);
    assert_eq!(read(store, &[], ALL).len() as i64, rows * 3);
    assert_eq!(read(store, &[Matcher::equal("__start_ms__", "1")], ALL), BTreeMap::new());
    assert_eq!(store.stats().series, 3);
    let analysis = store.analyze().unwrap();
    assert_eq!((analysis.metrics[0].series, analysis.dead), (3, 0));
}

#[test]
fn they_survive_restarts_and_compactions_and_no_list_shows_them() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), options());
    fill(&store, &target(&store, 0, 3), 0..300);
    assert_eq!(store.stats().samples_appended, 900);
    assert_eq!(starts(&store, &[], ALL), wanted(0..300));
    assert_hidden(&store, 300);
    // Dropped as a killed process leaves it: nothing is closed.
    drop(store);
    let store = open(dir.path(), options());
    assert_eq!(starts(&store, &[], ALL), wanted(0..300), "from the log");
    assert_hidden(&store, 300);
    fill(&store, &target(&store, 0, 3), 300..400);
    store.flush().unwrap();
    let later_ms = START_MS + 3 * 24 * 3600 * 1000;
    store.tick(later_ms).unwrap();
    while store.compact(later_ms, &mut |_| true).unwrap() {}
    assert!(store.stats().blocks > 0);
    assert_eq!(store.analyze().unwrap().metrics[0].samples, 1200, "starts are no samples");
    assert_eq!(starts(&store, &[], ALL), wanted(0..400), "from a block");
    assert_hidden(&store, 400);
    assert_eq!(store.verify(&mut |_| ()).unwrap().damaged, 0);
    assert_eq!(with_the_switch_off(dir.path()), wanted(0..400), "what is there stays readable");
}

/// What a copy of the directory holds, opened with the switch off.
fn with_the_switch_off(dir: &std::path::Path) -> BTreeMap<(String, i64), i64> {
    let twin = tempfile::tempdir().unwrap();
    support::copy(dir, twin.path());
    let store = open(twin.path(), patient());
    let id = store.intern(&labels("m", 0, 0)).unwrap();
    let ignored = store.append_starts(&[(id, START_MS, 5)], Durability::Written).unwrap();
    assert_eq!(ignored.appended + ignored.duplicates + ignored.conflicting, 0, "it is off");
    starts(&store, &[], ALL)
}

#[test]
fn a_range_and_matchers_join_only_what_they_select() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), options());
    fill(&store, &target(&store, 0, 3), 0..100);
    let range = TimeRange { start_ms: START_MS + 40 * STEP_MS, end_ms: START_MS + 59 * STEP_MS };
    let mut of_one = wanted(40..60);
    of_one.retain(|(name, _), _| *name == labels("m", 0, 1).to_string());
    assert_eq!(starts(&store, &[Matcher::equal("n", "1")], range), of_one);
    // One that a float cannot hold, and one of a sample that was never there, are not seen.
    let id = store.intern(&labels("m", 0, 2)).unwrap();
    let odd = [(id, START_MS, (1 << 53) + 1), (id, START_MS + 1, START_MS)];
    store.append_starts(&odd, Durability::Written).unwrap();
    assert_eq!(starts(&store, &[], ALL), wanted(0..100));
    // One after its sample is kept as it was said.
    store.append_starts(&[(id, START_MS, START_MS + 9)], Durability::Written).unwrap();
    let mut with_it = wanted(0..100);
    with_it.insert((labels("m", 0, 2).to_string(), START_MS), START_MS + 9);
    assert_eq!(starts(&store, &[], ALL), with_it);
}

#[test]
fn a_deletion_takes_them_with_the_samples() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), options());
    let ids = target(&store, 0, 3);
    fill(&store, &ids, 0..100);
    assert_eq!(store.delete_series(&[Matcher::equal("n", "0")], ALL).unwrap(), 1, "one is told");
    let mut left = wanted(0..100);
    left.retain(|(name, _), _| *name != labels("m", 0, 0).to_string());
    assert_eq!(starts(&store, &[], ALL), left);
    // Samples that come again at the same instants have no start until one comes too.
    append(&store, START_MS + STEP_MS, &ids[..1], &[5.0]);
    left.insert((labels("m", 0, 0).to_string(), START_MS + STEP_MS), 0);
    assert_eq!(starts(&store, &[], ALL), left);
}

#[test]
fn a_push_brings_them_and_the_reserved_name_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { series_max: 2, series_per_target_max: 2, ..options() };
    let store = open(dir.path(), options.clone());
    let of_key = |at: usize| -> Result<Labels, String> { Ok(labels("m", 0, at)) };
    let samples = [0, 1].map(|series| PushedSample { series, ts_ms: START_MS, value: 2.0 });
    let starts_sent =
        [0, 1].map(|series| PushedStart { series, ts_ms: START_MS, start_ms: START_MS - 5 });
    let pushed = Pushed {
        keys: &[10, 11],
        samples: &samples,
        histograms: &[],
        exemplars: &[],
        starts: &starts_sent,
        labels: &of_key,
    };
    let done = store.push(&pushed, Durability::Synced).unwrap();
    assert_eq!((done.samples.appended, done.reasons), (2, vec![]), "companions are not counted");
    drop(store);
    let store = open(dir.path(), options);
    let found = starts(&store, &[], ALL);
    assert_eq!(found.values().copied().collect::<Vec<_>>(), [START_MS - 5; 2]);
    let refused = store.intern(&labels("m", 0, 2)).unwrap_err().to_string();
    assert!(refused.contains("limit: 2"), "{refused}");
    let mut own = labels("m", 0, 0).to_builder();
    own.set("__start_ms__", "1");
    let refused = store.intern(&own.build()).unwrap_err();
    assert!(matches!(refused, MetricsError::Limit(_)), "{refused}");
}

#[test]
fn what_is_forgotten_takes_its_companion_along_and_gets_a_new_one() {
    const HOUR_MS: i64 = 3600 * 1000;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), Options { retention_ms: 24 * HOUR_MS, ..options() });
    store.tick(START_MS).unwrap();
    let ids = target(&store, 0, 3);
    fill(&store, &ids, 0..10);
    store.flush().unwrap();
    for hour in [60, 61, 62] {
        store.tick(START_MS + hour * HOUR_MS).unwrap();
    }
    assert_eq!(store.stats().series_forgotten, 5, "three and two companions");
    let told = store.append_starts(&[(ids[0], START_MS, 5)], Durability::Written);
    assert!(matches!(told, Err(MetricsError::Forgotten)), "{told:?}");
    let now_ms = START_MS + 62 * HOUR_MS;
    let id = store.intern(&labels("m", 0, 0)).unwrap();
    store.append(&[Row::floats(now_ms, &[id], &[1.0])], Durability::Written).unwrap();
    store.append_starts(&[(id, now_ms, now_ms - 3)], Durability::Written).unwrap();
    assert_eq!(starts(&store, &[], ALL).into_values().collect::<Vec<_>>(), [now_ms - 3]);
}
