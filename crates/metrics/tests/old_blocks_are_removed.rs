//! Retention by time and by size: whole blocks, oldest first, and what is left can be read.
#![allow(clippy::unwrap_used, reason = "a panic is the failure report")]

mod support;

use support::{ALL, append, open, patient, read, target};
use vigie_metrics::Options;
use vigie_model::TimeRange;

const DAY_MS: i64 = 24 * 3600 * 1000;

fn fill(store: &vigie_metrics::Store, days: std::ops::Range<i64>) {
    let series = target(store, 0, 5);
    for day in days {
        let churned = store.intern(&support::labels("churned", 0, day as usize)).unwrap();
        for minute in 0..100 {
            let ts_ms = day * DAY_MS + minute * 60_000;
            let mut row = series.clone();
            row.push(churned);
            let noise =
                f64::from_bits(0x3ff0_0000_0000_0000 | (ts_ms as u64).wrapping_mul(0x9e37_79b9));
            append(store, ts_ms, &row, &[1.0, 2.0, noise, noise, 5.0, 6.0]);
        }
        store.tick((day + 1) * DAY_MS).unwrap();
        store.tick((day + 1) * DAY_MS + 3 * 3600 * 1000).unwrap();
        while store.compact((day + 1) * DAY_MS + 3 * 3600 * 1000, &mut |_| true).unwrap() {}
    }
}

#[test]
fn blocks_older_than_the_retention_are_removed_and_stay_away_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { retention_ms: 3 * DAY_MS, ..patient() };
    let store = open(dir.path(), options.clone());
    fill(&store, 100..110);
    let stats = store.stats();
    assert!((1..=3).contains(&stats.blocks), "{stats:?}");
    assert!(stats.oldest_ms.unwrap() >= 107 * DAY_MS, "{stats:?}");
    let left = read(&store, &[], ALL);
    assert!(left.keys().all(|(_, ts_ms)| *ts_ms >= 107 * DAY_MS));
    let everywhere = store.label_values("__name__", &[], ALL, 10).unwrap();
    assert_eq!(everywhere, ["churned", "m"]);
    let churned = store.series(&[vigie_model::Matcher::equal("__name__", "churned")], ALL, 100);
    assert!(churned.unwrap().len() <= 5, "series whose samples are gone are not listed");
    drop(store);
    let store = open(dir.path(), options);
    assert_eq!(read(&store, &[], ALL), left);
    assert_eq!(store.stats().blocks, stats.blocks);
    fill(&store, 110..112);
    assert!(!read(&store, &[], TimeRange { start_ms: 111 * DAY_MS, end_ms: i64::MAX }).is_empty());
}

#[test]
fn the_oldest_blocks_are_removed_while_the_files_are_too_large() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { disk_bytes_max: Some(60_000), log_bytes_max: 4_000, ..patient() };
    let store = open(dir.path(), options);
    fill(&store, 0..60);
    let stats = store.stats();
    assert!(stats.disk_bytes < 70_000, "{stats:?}");
    assert!(stats.oldest_ms.unwrap() > 10 * DAY_MS, "{stats:?}");
    assert_eq!(read(&store, &[], TimeRange { start_ms: 59 * DAY_MS, end_ms: i64::MAX }).len(), 600);
}
