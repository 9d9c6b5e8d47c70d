//! Names, values and series of a range, and the limits on labels in Prometheus' words.

#![allow(clippy::unwrap_used, reason = "a panic is the failure report")]

mod support;

use support::{ALL, append, labels, open, patient};
use vigie_metrics::Options;
use vigie_model::{Labels, Matcher, TimeRange};

#[test]
fn names_values_and_series_are_sorted_matched_limited_and_inside_the_range() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), patient());
    let never = Labels::from_pairs([("__name__", "never_used"), ("unused", "x")]);
    store.intern(&never).unwrap();
    for (ts_ms, name, instance) in [(1000, "b", 1), (2000, "a", 2), (3000, "c", 3)] {
        let id = store.intern(&labels(name, instance, 0)).unwrap();
        append(&store, ts_ms, &[id], &[1.0]);
    }
    let values = |name, matchers: &[Matcher], range, limit| {
        store.label_values(name, matchers, range, limit).unwrap()
    };
    let until_2000 = TimeRange { start_ms: 0, end_ms: 2000 };
    assert_eq!(values("__name__", &[], ALL, 10), ["a", "b", "c"]);
    assert_eq!(values("__name__", &[], ALL, 2), ["a", "b"]);
    assert_eq!(values("__name__", &[], until_2000, 10), ["a", "b"]);
    assert_eq!(values("instance", &[Matcher::equal("__name__", "c")], ALL, 9), ["host-3:9100"]);
    assert!(values("nothing", &[], ALL, 10).is_empty());
    let names = store.label_names(&[], ALL, 10).unwrap();
    assert_eq!(names, ["__name__", "instance", "job", "n"]);
    assert_eq!(store.label_names(&[], ALL, 1).unwrap(), ["__name__"]);
    let series = store.series(&[Matcher::equal("job", "test")], until_2000, 10).unwrap();
    assert_eq!(series, [labels("a", 2, 0), labels("b", 1, 0)]);
    assert_eq!(store.series(&[], ALL, 1).unwrap().len(), 1);
}

#[test]
fn labels_beyond_a_limit_are_refused_in_prometheus_words() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        series_max: 1,
        labels_max: 3,
        label_name_bytes_max: 10,
        label_value_bytes_max: 10,
        ..patient()
    };
    let store = open(dir.path(), options);
    let refused = |pairs: &[(&str, &str)]| {
        let labels = Labels::from_pairs(pairs.iter().copied());
        store.intern(&labels).unwrap_err().to_string()
    };
    for (pairs, words) in [
        (&[][..], "empty labelset: invalid sample"),
        (
            &[("__name__", "m"), ("a", "1"), ("b", "1"), ("c", "1")],
            "label_limit exceeded (metric: m, number of labels: 4, limit: 3)",
        ),
        (
            &[("__name__", "m"), ("much_too_long", "1")],
            "label_name_length_limit exceeded (metric: m, label name: much_too_long, length: 13, \
             limit: 10)",
        ),
        (
            &[("__name__", "m"), ("a", "much too long")],
            "label_value_length_limit exceeded (metric: m, label name: a, value: \
             \"much too long\", length: 13, limit: 10)",
        ),
    ] {
        assert_eq!(refused(pairs), words);
    }
    store.intern(&Labels::from_pairs([("__name__", "one")])).unwrap();
    store.intern(&Labels::from_pairs([("__name__", "one")])).unwrap();
    let words = refused(&[("__name__", "two")]);
    assert!(words.starts_with("series limit exceeded (metric: two, limit: 1): send"), "{words}");
}

#[test]
fn one_target_may_have_so_many_series_and_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { series_per_target_max: 10, ..patient() };
    let store = open(dir.path(), options.clone());
    support::target(&store, 0, 10);
    let error = store.intern(&support::labels("m", 0, 10)).unwrap_err().to_string();
    let words = "series limit of a target exceeded (metric: m, job: test, instance: host-0:9100, \
                 limit: 10): send fewer";
    assert!(error.starts_with(words), "{error}");
    support::target(&store, 0, 10);
    let ids = support::target(&store, 1, 10);
    assert_eq!(append(&store, 1, &ids, &[1.0; 10]).appended, 10);
}

#[test]
fn a_selection_that_needs_too_much_memory_is_refused_with_advice() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), Options { selection_bytes_max: 1000, ..patient() });
    let ids = support::target(&store, 0, 100);
    for ts_ms in 0..20 {
        append(&store, ts_ms, &ids, &[ts_ms as f64 / 3.0; 100]);
    }
    store.flush().unwrap();
    let error = store.select(&[], ALL).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("more than 1000 bytes") && error.contains("select fewer"), "{error}");
    assert_eq!(support::read(&store, &[Matcher::equal("n", "7")], ALL).len(), 20);
}

#[test]
fn threads_that_append_tick_and_read_at_once_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { log_bytes_max: 5_000, open_bytes_max: 5_000, ..patient() };
    let store = open(dir.path(), options.clone());
    std::thread::scope(|scope| {
        for instance in 0..3 {
            let store = &store;
            scope.spawn(move || {
                for n in 0..200 {
                    let ids = support::target(store, instance, 5 + n / 50);
                    let appended = append(store, n as i64, &ids, &vec![n as f64; ids.len()]);
                    assert_eq!(appended.appended, ids.len() as u64);
                }
            });
        }
        for _ in 0..20 {
            store.tick(200).unwrap();
            let appended = store.stats().samples_appended as usize;
            assert!(support::read(&store, &[], ALL).len() >= appended, "{appended} were there");
            store.flush().unwrap();
        }
    });
    let samples = 3 * (0..200).map(|n| 5 + n / 50).sum::<usize>();
    assert_eq!(support::read(&store, &[], ALL).len(), samples);
    drop(store);
    assert_eq!(support::read(&open(dir.path(), options), &[], ALL).len(), samples);
}
