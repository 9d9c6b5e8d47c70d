//! The store on a simulated disk whose power is cut, which is full, or which fails between any two
//! operations; the lives stand in `common/simulated.rs`.
//!
//! Kill -9 cannot show a missing fsync; this can. It proves itself: `planted_bugs_are_found.rs` plants
//! bugs in the store and lies in the disk, and expects that these lives show each of them.

#![allow(clippy::unwrap_used, reason = "a panic here is the failure report")]

mod common;

use common::simulated::{LIVES, Run, run};
use common::*;
use std::sync::Arc;
use vigie_disk::sim::{Lies, SimDisk};
use vigie_logs::{Batch, Durability, Options, Store};

const SEEDS: u64 = 40;
/// Seeds that once showed a fault, run always. 950: a merged part whose name was not durable when the
/// program died, and whose sources were removed after the next start.
const FOUND: [u64; 1] = [950];

#[test]
fn lines_survive_whatever_happens_between_any_two_operations() {
    let seeds = slice_or_soak(500, 10_000);
    for seed in FOUND.into_iter().chain(0..seeds) {
        run(seed, Lies::default()).unwrap_or_else(|what| panic!("{what}"));
        if seed % 500 == 499 {
            println!("{} seeds", seed + 1);
        }
    }
    println!("{seeds} seeds, {LIVES} lives each, nothing acknowledged is lost");
}

#[test]
fn a_full_disk_refuses_and_what_is_sent_again_is_there_once() {
    for seed in 0..SEEDS {
        let mut run = Run::new(seed);
        let mut store = run.open().unwrap();
        for round in 0..6 {
            let free_bytes = run.dice.roll(4000);
            run.disk.set_free_bytes(free_bytes);
            run.work(&store);
            run.disk.set_free_bytes(u64::MAX);
            assert_eq!(run.fault(&store), None, "seed {seed}, round {round}");
            while run.unanswered.is_some() {
                run.append(&store).unwrap();
            }
            run.tick(&store).unwrap();
            assert_eq!(run.fault(&store), None, "seed {seed}, round {round}, with room again");
            drop(store);
            store = run.open().unwrap();
            assert_eq!(run.fault(&store), None, "seed {seed}, round {round}, opened again");
        }
    }
}

#[test]
fn a_disk_that_fails_for_a_while_loses_and_doubles_nothing() {
    for seed in 0..2 * SEEDS {
        let mut run = Run::new(seed);
        for round in 0..4 {
            let store = run.open().unwrap();
            let operations = run.dice.roll(80);
            run.disk.stop_after(operations);
            run.work(&store);
            run.disk.stop_after(u64::MAX);
            for _ in 0..5 {
                let _ = run.tick(&store).and_then(|()| run.append(&store));
                assert_eq!(run.fault(&store), None, "seed {seed}, round {round}");
            }
            drop(store);
            let store = run.open().unwrap();
            assert_eq!(run.fault(&store), None, "seed {seed}, round {round}, opened again");
        }
    }
}

/// Syncs fail now and then. Nothing is opened again, and the power goes at the end.
#[test]
fn a_sync_that_fails_is_made_good_without_a_restart() {
    for seed in 0..SEEDS {
        let mut run = Run::new(seed);
        let store = run.open().unwrap();
        let mut failures = 0;
        for _ in 0..150 {
            if run.dice.roll(10) == 0 {
                run.disk.fail_sync_after(Some(run.dice.roll(5)));
            }
            let done = match run.dice.roll(12) {
                0 => store.seal(),
                1..4 => run.tick(&store),
                _ => run.append(&store),
            };
            failures += u32::from(done.is_err());
        }
        assert!(failures > 3, "seed {seed}: only {failures} failures");
        run.disk.fail_sync_after(None);
        run.tick(&store).unwrap();
        run.append(&store).unwrap();
        run.tick(&store).unwrap();
        store.close().unwrap();
        drop(store);
        run.disk.power_cut();
        assert_eq!(run.fault(&run.open().unwrap()), None, "seed {seed}");
    }
}

#[test]
fn a_store_opens_on_a_full_disk_and_seals_when_there_is_room() {
    let disk = SimDisk::new(3);
    let open = |head_bytes_max| {
        let options = Options { head_bytes_max, free_bytes_min: 1000, ..options() };
        Store::open(Arc::new(disk.clone()), "/logs", options)
    };
    let store = open(1 << 20).unwrap();
    for n in 0..50 {
        append(&store, "a", &[entry(NOW_NS + n, format!("{n} {}", "x".repeat(100)))]);
    }
    drop(store);
    disk.set_free_bytes(0);
    let store = open(2000).unwrap();
    assert_eq!(read_all(&store).len(), 50);
    let batch = [Batch { labels: &labels("a"), entries: &[entry(NOW_NS, "x")] }];
    let error = store.append(&batch, Durability::Written).unwrap_err().to_string();
    assert!(error.starts_with("/logs: the disk has only 0 MiB left"), "{error}");
    assert!(store.tick(NOW_MS).is_err());
    disk.set_free_bytes(1 << 20);
    store.tick(NOW_MS).unwrap();
    assert_eq!((store.stats().parts, store.stats().head_rows), (1, 0));
    append(&store, "a", &[entry(NOW_NS, "x")]);
    assert_eq!(read_all(&store).len(), 51);
}
