//! The store on a simulated disk whose power is cut between any two operations.
//!
//! Kill -9 cannot show a missing fsync; this can. It proves itself: with a disk that lies about
//! file syncs, or about directory syncs, it finds lost samples.

#![allow(clippy::unwrap_used, reason = "a panic is the failure report")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use support::{ALL, Dice, labels, patient, read};
use vigie_disk::sim::{Lies, SimDisk};
use vigie_metrics::{Durability, MetricsError, Options, Store};
use vigie_model::Row;

const SEEDS: u64 = 40;
const CUTS_PER_SEED: u64 = 6;

type Samples = BTreeMap<(String, i64), u64>;

struct Run {
    dice: Dice,
    clock_ms: i64,
    /// Written and synced.
    sure: Samples,
    /// Written, and not known to be synced: may be there, with these bits.
    perhaps: Samples,
}

impl Run {
    fn append(&mut self, store: &Store) -> Result<(), MetricsError> {
        self.clock_ms += 1000;
        let instance = self.dice.roll(3) as usize;
        let count = 1 + self.dice.roll(6) as usize;
        let churn = self.dice.roll(20) as usize;
        let (mut series, mut values) = (Vec::new(), Vec::new());
        let mut added = Samples::new();
        for n in (0..count).chain([100 + churn]) {
            let labels = labels("m", instance, n);
            let value = self.dice.roll(1000) as f64 / 8.0;
            series.push(store.intern(&labels)?);
            values.push(value);
            added.insert((labels.to_string(), self.clock_ms), value.to_bits());
        }
        self.perhaps.extend(added);
        let synced = self.dice.roll(3) == 0;
        let durability = if synced { Durability::Synced } else { Durability::Written };
        let row = Row { ts_ms: self.clock_ms, series: &series, values: &values };
        store.append(&[row], durability)?;
        if synced {
            self.sure.append(&mut self.perhaps);
        }
        Ok(())
    }

    /// Works until the power goes.
    fn work(&mut self, store: &Store) {
        loop {
            let step = self.dice.roll(30);
            let done = match step {
                0 => store.flush(),
                1 => store.tick(self.clock_ms + 25 * 3600 * 1000),
                2 => store.tick(self.clock_ms + 3 * 3600 * 1000),
                3..6 => store.tick(self.clock_ms),
                _ => self.append(store),
            };
            let ticked = step < 6;
            if done.is_err() {
                return;
            }
            if ticked {
                self.sure.append(&mut self.perhaps);
            }
        }
    }
}

/// What was lost or made up, or why the store could not be opened.
fn run(seed: u64, lies: Lies) -> Result<(), String> {
    let disk = SimDisk::new(seed);
    disk.lie(lies);
    let options = Options { log_bytes_max: 3_000, open_bytes_max: 4_000, ..patient() };
    let clock_ms = 1_700_000_000_000;
    let mut run = Run { dice: Dice(seed), clock_ms, sure: Samples::new(), perhaps: Samples::new() };
    for cut in 0..CUTS_PER_SEED {
        let operations = run.dice.roll(400);
        disk.stop_after(operations);
        // The power may go while the store is being opened, too.
        if let Ok(store) = Store::open(Arc::new(disk.clone()), Path::new("/data"), options.clone())
        {
            run.work(&store);
        }
        disk.power_cut();
        let store = Store::open(Arc::new(disk.clone()), Path::new("/data"), options.clone())
            .map_err(|e| format!("cut {cut}: {e}"))?;
        let found = read(&store, &[], ALL);
        for (key, bits) in &run.sure {
            if found.get(key) != Some(bits) {
                return Err(format!("cut {cut}: lost {key:?}"));
            }
        }
        for (key, bits) in &found {
            if run.sure.get(key).or(run.perhaps.get(key)) != Some(bits) {
                return Err(format!("cut {cut}: made up {key:?}"));
            }
        }
        // What was found when the store was opened is synced, by the promise of the log.
        run.sure = found;
        run.perhaps.clear();
    }
    Ok(())
}

#[test]
fn a_power_cut_at_any_operation_loses_nothing_that_was_synced() {
    for seed in 0..SEEDS {
        if let Err(e) = run(seed, Lies::default()) {
            panic!("seed {seed}: {e}");
        }
    }
}

#[test]
fn the_test_would_notice_syncs_that_are_left_out() {
    for lies in
        [Lies { file_sync: true, ..Lies::default() }, Lies { dir_sync: true, ..Lies::default() }]
    {
        let caught = (0..30).filter(|seed| run(*seed, lies).is_err()).count();
        assert!(caught >= 15, "{lies:?}: noticed in {caught} of 30 runs");
    }
}
