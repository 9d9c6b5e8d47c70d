//! What was sealed is not kept a second time: a crash between a chunk and the mark that tells the log
//! of it leaves the rows in both, and the next start takes them out of one.
#![allow(clippy::unwrap_used, reason = "a panic is the failure report")]

mod support;

use std::path::Path;
use std::sync::Arc;
use support::{ALL, patient, read, target};
use vigie_disk::sim::SimDisk;
use vigie_metrics::{Durability, MetricsError, Store};
use vigie_model::Row;

fn live(store: &Store) -> Result<(), MetricsError> {
    let series = (0..40).map(|n| store.intern(&support::labels("m", 0, n)));
    let series = series.collect::<Result<Vec<_>, _>>()?;
    for n in 0..40 {
        store.append(&[Row::floats(n * 1000, &series, &[n as f64; 40])], Durability::Written)?;
    }
    Ok(())
}

/// The first number of operations after which the program died and a sample was kept twice.
fn first_doubled() -> Option<u64> {
    for stop in 0.. {
        let disk = SimDisk::new(stop);
        let open = || Store::open(Arc::new(disk.clone()), Path::new("/data"), patient());
        disk.stop_after(stop);
        let is_over = open().is_ok_and(|store| live(&store).is_ok());
        disk.revive();
        let store = open().unwrap();
        // A row more, so that whatever is open gets into a chunk.
        let series = target(&store, 0, 1);
        store.append(&[Row::floats(50_000, &series, &[1.0])], Durability::Synced).unwrap();
        store.flush().unwrap();
        let stored = store.verify(&mut |error| panic!("{error}")).unwrap().samples;
        if stored != read(&store, &[], ALL).len() as u64 {
            return Some(stop);
        }
        if is_over {
            return None;
        }
    }
    None
}

#[test]
fn a_death_between_a_chunk_and_its_mark_keeps_no_sample_twice() {
    assert_eq!(first_doubled(), None);
}

#[cfg(debug_assertions)]
#[test]
fn a_replay_that_puts_back_what_a_chunk_has_is_noticed() {
    use vigie_metrics::planted::{Bug, plant};
    plant(Some(Bug::ReplayedTwice));
    let noticed = first_doubled();
    plant(None);
    assert!(noticed.is_some());
}
