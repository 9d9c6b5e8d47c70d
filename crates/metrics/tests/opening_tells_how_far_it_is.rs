//! A store that was not closed tells phase by phase how far its opening is, in bytes.

#![allow(clippy::unwrap_used, reason = "a panic is the failure report")]

mod support;

use std::cell::RefCell;
use std::sync::Arc;
use support::{ALL, append, open, patient, read, target};
use vigie_disk::{Progress, RealDisk};
use vigie_metrics::Store;

#[test]
fn every_phase_is_told_and_its_bytes_ascend_to_what_there_was() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), patient());
    let series = target(&store, 0, 200);
    append(&store, 0, &series, &[1.0; 200]);
    store.flush().unwrap();
    for n in 1..10 {
        append(&store, n, &series, &vec![n as f64 / 3.0; 200]);
    }
    let list_bytes = std::fs::metadata(dir.path().join("series.log")).unwrap().len();
    let log_bytes = store.stats().log_bytes;
    drop(store);

    let told: RefCell<Vec<Progress>> = RefCell::default();
    let tell = |progress| told.borrow_mut().push(progress);
    let store = Store::open_telling(Arc::new(RealDisk), dir.path(), patient(), &tell).unwrap();
    assert_eq!(read(&store, &[], ALL).len(), 2_000);
    let told = told.into_inner();
    let phases: Vec<&[Progress]> = told.chunk_by(|a, b| a.phase == b.phase).collect();
    let names: Vec<&str> = phases.iter().map(|phase| phase[0].phase).collect();
    assert_eq!(names, ["the chunks of metrics", "the list of series", "the log of metrics"]);
    for (phase, total) in [(phases[1], list_bytes), (phases[2], log_bytes)] {
        assert!(phase.iter().all(|progress| progress.total == total), "{phase:?}");
        assert!(phase.is_sorted_by_key(|progress| progress.done), "{phase:?}");
        let done = phase.last().unwrap().done;
        assert!(total / 2 < done && done <= total, "{phase:?}");
    }
}
