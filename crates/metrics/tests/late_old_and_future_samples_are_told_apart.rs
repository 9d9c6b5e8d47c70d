//! The words that the doors need: what was taken, what was refused and why.
#![allow(clippy::unwrap_used, reason = "a panic is the failure report")]

mod support;

use support::{ALL, append, open, patient, read, target};
use vigie_metrics::{Appended, Options};

const NOW_MS: i64 = 1_700_000_000_000;
const MINUTE_MS: i64 = 60_000;

#[test]
fn late_old_and_future_samples_are_told_apart() {
    let none = Appended::default();
    let hour = 60 * MINUTE_MS;
    for (late_window_ms, ts_ms, wanted) in [
        (hour, NOW_MS, Appended { duplicates: 1, ..none }),
        (hour, NOW_MS + 1, Appended { appended: 1, ..none }),
        (hour, NOW_MS - 59 * MINUTE_MS, Appended { appended: 1, ..none }),
        (hour, NOW_MS - 61 * MINUTE_MS, Appended { too_old: 1, ..none }),
        (0, NOW_MS - 1, Appended { out_of_order: 1, ..none }),
        (0, NOW_MS, Appended { duplicates: 1, ..none }),
        (hour, NOW_MS - 25 * hour, Appended { too_old: 1, ..none }),
        (hour, NOW_MS + 9 * MINUTE_MS, Appended { appended: 1, ..none }),
        (hour, NOW_MS + 11 * MINUTE_MS, Appended { too_new: 1, ..none }),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { late_window_ms, retention_ms: 24 * hour, ..patient() };
        let store = open(dir.path(), options);
        store.tick(NOW_MS).unwrap();
        let series = target(&store, 0, 1);
        append(&store, NOW_MS, &series, &[1.0]);
        for flushed in [false, true] {
            if flushed {
                store.flush().unwrap();
            }
            let got = append(&store, ts_ms, &series, &[1.0]);
            let again = Appended { appended: 0, duplicates: wanted.appended, ..wanted };
            let wanted = if flushed && wanted.appended > 0 { again } else { wanted };
            assert_eq!(got, wanted, "window {late_window_ms}, {} ms, {flushed}", ts_ms - NOW_MS);
        }
    }
}

#[test]
fn a_late_row_is_compared_with_what_is_sealed_and_read_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), patient());
    let series = target(&store, 0, 3);
    for n in 0..10 {
        append(&store, n * 1000, &series[..2], &[n as f64, 0.5]);
    }
    store.flush().unwrap();
    let late = append(&store, 3000, &series, &[3.0, 0.7, 9.0]);
    let wanted = Appended { appended: 1, duplicates: 1, conflicting: 1, ..Appended::default() };
    assert_eq!(late, wanted);
    assert_eq!(append(&store, 3500, &series, &[1.0, 2.0, 3.0]).appended, 3);
    let before = read(&store, &[], ALL);
    assert_eq!(before.len(), 24);
    store.flush().unwrap();
    drop(store);
    assert_eq!(read(&open(dir.path(), patient()), &[], ALL), before);
}
