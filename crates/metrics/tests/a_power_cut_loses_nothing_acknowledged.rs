//! The store on a simulated disk whose power is cut between any two operations.
//!
//! Kill -9 cannot show a missing fsync; this can. A cut keeps a part of what was not synced: of each
//! file a prefix, or one with zeros behind it; of the names some changes and not others. In some lives
//! the disk fills up or a sync fails, and the clock jumps by a day. The store appends, late rows too, ticks, cuts the log, compacts, deletes,
//! cleans, takes snapshots, lets everything grow too old, and forgets the series of it.
//!
//! It proves itself on planted faults, each of which it must notice. Left out are in turn the syncs of
//!
//! 1. segments, 2. `series.log`, 3. `series.copy`, 4. the log, 5. blocks, 6. the manifest, and
//! 7. to 10. of the directories of the store, of the log, of segments and of blocks.
//!
//! Bugs that are built in (`planted.rs`):
//!
//! 11. the manifest names a block whose name is not durable;
//! 12. a compaction's inputs go before the manifest names its output;
//! 13. a compaction leaves out the last row, 14. or late rows, 15. or gives deleted samples new life;
//! 16. a seal is off by one;
//! 17. a deletion is answered without the manifest, 18. or not applied after a restart;
//! 19. the retention drops a block that is still needed;
//! 20. a snapshot misses the open rows;
//! 21. a segment goes while the log speaks of a chunk that it lost;
//! 22. rows too few to seal are not carried over when the log is cut;
//! 23. the log is cut before the segment that has its rows is synced,
//! 24. or before its series are in their list; 25. the copy of that list is not synced.
//!
//! In `exemplars_survive_and_make_room`: 26. exemplars are answered without a sync; 27. the ring forgets
//! its end. In `a_cell_stands_in_one_place`: 28. a replay puts back rows that a chunk has already.
//!
//! Planted by hand, it found besides: a mark is believed without its chunk; an unfinished chunk is
//! not cut away; a segment, or the log, is synced a second time after a sync that failed, and
//! believed; a segment that lost a chunk is written to again; `series.log` is not synced when read.

#![allow(clippy::unwrap_used, reason = "a panic is the failure report")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use support::samples::{Sample, append_samples, histogram};
use support::{ALL, Dice, labels, patient, read};
use vigie_disk::sim::{Lies, SimDisk};
use vigie_metrics::{Durability, MetricsError, Options, Store};
use vigie_model::{Matcher, Row, TimeRange};

const SEEDS: u64 = 60;
const CUTS_PER_SEED: u64 = 20;

type Samples = BTreeMap<(String, i64), u64>;

struct Run {
    dice: Dice,
    clock_ms: i64,
    /// Written and synced.
    sure: Samples,
    /// Written: survives the death of the program, and may survive a power cut.
    written: Samples,
    /// Tried, with an error: may be there or not.
    tried: Samples,
    /// Deleted with an error, or old enough to be removed: may be there or not.
    fading: Samples,
    /// Snapshots, and what the store had when they were made.
    snapshots: Vec<(String, Samples)>,
    snapshot_next: u32,
    late_count: i64,
}

/// With it nothing is removed but by a tick that says so.
const RETENTION_MS: i64 = 10 * 24 * 3600 * 1000;

impl Run {
    fn new(seed: u64) -> Run {
        Run {
            dice: Dice(seed),
            clock_ms: 1_700_000_000_000,
            sure: Samples::new(),
            written: Samples::new(),
            tried: Samples::new(),
            fading: Samples::new(),
            snapshots: Vec::new(),
            snapshot_next: 0,
            late_count: 0,
        }
    }

    /// The program dies, or the power goes.
    fn end(&mut self, disk: &SimDisk, death_only: bool) {
        if death_only {
            disk.revive();
            self.sure.append(&mut self.written);
        } else {
            disk.power_cut();
        }
    }

    /// Compares a store that was opened again. What it has is sure from now on: it is synced, by
    /// the promise of the log.
    fn check(&mut self, store: &Store) -> Result<(), String> {
        let found = read(store, &[], ALL);
        for (key, bits) in &self.sure {
            if found.get(key) != Some(bits) {
                return Err(format!("lost {key:?}"));
            }
        }
        for (key, bits) in &found {
            let known = self.sure.get(key).or(self.written.get(key)).or(self.tried.get(key));
            let known = known.or(self.fading.get(key));
            if known != Some(bits) {
                return Err(format!("made up {key:?}"));
            }
        }
        self.sure = found;
        self.written.clear();
        self.tried.clear();
        self.fading.clear();
        Ok(())
    }

    /// Deletes a series or a target in a range.
    fn delete(&mut self, store: &Store) -> Result<(), MetricsError> {
        let instance = format!("host-{}:9100", self.dice.roll(3));
        let mut matchers = vec![Matcher::equal("instance", &instance)];
        let mut parts = vec![format!(r#"instance="{instance}""#)];
        if self.dice.roll(2) == 0 {
            let n = self.dice.roll(6).to_string();
            matchers.push(Matcher::equal("n", &n));
            parts.push(format!(r#"n="{n}""#));
        }
        let start_ms = self.clock_ms - self.dice.roll(100_000) as i64;
        let range = TimeRange { start_ms, end_ms: start_ms + self.dice.roll(100_000) as i64 };
        let is_meant = |key: &(String, i64)| {
            range.contains(key.1) && parts.iter().all(|part| key.0.contains(part))
        };
        for samples in [&mut self.sure, &mut self.written, &mut self.tried] {
            let (meant, others) =
                std::mem::take(samples).into_iter().partition(|(k, _)| is_meant(k));
            *samples = others;
            self.fading.append(&mut { meant });
        }
        store.delete_series(&matchers, range)?;
        self.fading.retain(|key, _| !is_meant(key));
        Ok(())
    }

    /// Time passes until everything is too old, and goes back again.
    fn forget(&mut self, store: &Store) -> Result<(), MetricsError> {
        self.fading.append(&mut self.sure);
        self.fading.append(&mut self.written);
        let later_ms = self.clock_ms + 2 * RETENTION_MS;
        store.tick(later_ms)?;
        // An hour later series without samples are forgotten.
        store.tick(later_ms + 3600 * 1000)?;
        store.tick(self.clock_ms)
    }

    fn snapshot(&mut self, store: &Store) -> Result<(), MetricsError> {
        self.snapshot_next += 1;
        let path = format!("/snapshots/{}", self.snapshot_next);
        store.snapshot(Path::new(&path), false)?;
        let content = read(store, &[], ALL);
        self.snapshots.push((path, content));
        Ok(())
    }

    /// Snapshots are stores of their own, with what there was when they were made.
    fn check_snapshots(&mut self, disk: &SimDisk) -> Result<(), String> {
        for (path, content) in self.snapshots.drain(..) {
            let store = Store::open(Arc::new(disk.clone()), Path::new(&path), patient());
            let store = store.map_err(|e| format!("{path}: {e}"))?;
            if store.stats().damaged > 0 || read(&store, &[], ALL) != content {
                return Err(format!("{path} has something else than the store had"));
            }
        }
        Ok(())
    }

    fn append(&mut self, store: &Store) -> Result<(), MetricsError> {
        self.clock_ms += 1000;
        let late = if self.dice.roll(8) == 0 { 1 + self.dice.roll(600) as i64 } else { 0 };
        // Between the seconds of other rows, and no two at one instant.
        let ts_ms = self.clock_ms - late * 1000 + if late > 0 { self.late_next() } else { 0 };
        let instance = self.dice.roll(3) as usize;
        let count = 1 + self.dice.roll(6) as usize;
        let churn = self.dice.roll(20) as usize;
        let (mut series, mut samples) = (Vec::new(), Vec::new());
        let mut added = Samples::new();
        for n in (0..count).chain([100 + churn]) {
            let labels = labels("m", instance, n);
            let sample = match n {
                2 => Sample::Histogram(histogram(&mut self.dice)),
                _ => Sample::Float(self.dice.roll(1000) as f64 / 8.0),
            };
            series.push(store.intern(&labels)?);
            added.insert((labels.to_string(), ts_ms), sample.bits());
            samples.push(sample);
        }
        self.tried = added;
        let synced = self.dice.roll(3) == 0;
        let durability = if synced { Durability::Synced } else { Durability::Written };
        let done = append_samples(store, ts_ms, &series, &samples, durability)?;
        assert_eq!(done.appended, series.len() as u64, "the clock is right: {done:?}");
        self.written.append(&mut self.tried);
        if synced {
            self.sure.append(&mut self.written);
        }
        Ok(())
    }

    fn late_next(&mut self) -> i64 {
        self.late_count = self.late_count % 998 + 1;
        self.late_count
    }

    /// Works until the power goes.
    fn work(&mut self, store: &Store) {
        loop {
            let step = self.dice.roll(40);
            let later_ms = self.clock_ms + 30 * 3600 * 1000;
            let done = match step {
                30..33 => store.compact(later_ms, &mut |_| true).map(|_| ()),
                33 => self.delete(store),
                34 => store.clean_tombstones(&mut |_| true),
                35 if self.dice.roll(4) == 0 => self.snapshot(store),
                36 if self.dice.roll(8) == 0 => self.forget(store),
                37 => {
                    self.clock_ms += 3600 * 1000;
                    store.tick(self.clock_ms)
                }
                38 => {
                    // The clock goes back by a day, and is put right.
                    let before_ms = self.clock_ms - 25 * 3600 * 1000;
                    store.tick(before_ms).and_then(|()| store.tick(self.clock_ms))
                }
                0 | 1 => store.flush(),
                2 => store.tick(self.clock_ms + 25 * 3600 * 1000),
                3 => store.tick(self.clock_ms + 3 * 3600 * 1000),
                4..6 => store.tick(self.clock_ms),
                _ => self.append(store),
            };
            let ticked = step < 6;
            if done.is_err() {
                return;
            }
            if ticked {
                self.sure.append(&mut self.written);
            }
        }
    }
}

/// What was lost or made up, or why the store could not be opened.
fn run(seed: u64, lies: Lies) -> Result<(), String> {
    let disk = SimDisk::new(seed);
    disk.lie(lies);
    let retention_ms = RETENTION_MS;
    let options =
        Options { log_bytes_max: 1_500, open_bytes_max: 4_000, retention_ms, ..patient() };
    let open = || Store::open(Arc::new(disk.clone()), Path::new("/data"), options.clone());
    let mut run = Run::new(seed);
    for cut in 0..CUTS_PER_SEED {
        disk.stop_after(run.dice.roll(120));
        // The disk fills up in some lives, and in others a sync fails.
        let trouble = run.dice.roll(12);
        disk.set_free_bytes(if trouble == 0 { run.dice.roll(4_000) } else { u64::MAX });
        disk.fail_sync_after((trouble == 1).then(|| run.dice.roll(30)));
        // The power may go while the store is being opened, too.
        if let Ok(store) = open() {
            run.work(&store);
        }
        disk.set_free_bytes(u64::MAX);
        disk.fail_sync_after(None);
        // What a failed sync has dropped, only a power cut shows, and then no start can bring it back.
        let death_only = run.dice.roll(3) == 0 && trouble != 1;
        run.end(&disk, death_only);
        let store = open().map_err(|e| format!("cut {cut}: {e}"))?;
        if store.stats().damaged > 0 {
            let mut told = Vec::new();
            let _ = store.verify(&mut |error| told.push(error.to_string()));
            return Err(format!("cut {cut}: an unfinished write was taken for damage: {told:?}"));
        }
        run.check(&store).map_err(|e| format!("cut {cut}: {e}"))?;
        run.check_snapshots(&disk).map_err(|e| format!("cut {cut}: {e}"))?;
    }
    Ok(())
}

#[test]
fn a_power_cut_at_any_operation_loses_nothing_that_was_synced() {
    let seeds = support::slice_or_soak(500, 10_000);
    // To see one again: VIGIE_SEED=32.
    let only = std::env::var("VIGIE_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in only.map_or(0..seeds, |seed: u64| seed..seed + 1) {
        if let Err(e) = run(seed, Lies::default()) {
            panic!("seed {seed}: {e}");
        }
    }
    let seeds = only.map_or(seeds, |_| 1);
    println!("{seeds} seeds, {CUTS_PER_SEED} cuts each, nothing synced is lost");
}

/// Rows of some targets, then waiting rows, then a new day: every kind of write there is.
fn short_life(run: &mut Run, store: &Store, flush: bool) -> Result<(), MetricsError> {
    for hours in [0, 3, 25] {
        for _ in 0..3 {
            run.append(store)?;
        }
        store.tick(run.clock_ms + hours * 3600 * 1000)?;
        run.sure.append(&mut run.written);
        if flush {
            store.flush()?;
        }
    }
    Ok(())
}

/// So many rows of one target that it is sealed, and no other.
fn full_group(run: &mut Run, store: &Store) {
    let id = store.intern(&labels("full", 9, 0)).unwrap();
    for _ in 0..130 {
        run.clock_ms += 1000;
        let series = [id];
        let row = Row::floats(run.clock_ms, &series, &[0.5]);
        store.append(&[row], Durability::Written).unwrap();
        let name = labels("full", 9, 0).to_string();
        run.written.insert((name, run.clock_ms), 0.5f64.to_bits());
    }
}

/// Every operation of a first life is the last one once; then comes a second life of another kind,
/// and its end.
#[test]
fn wherever_a_first_life_ends_a_second_one_loses_nothing_of_both() {
    for case in 0..24u64 {
        let (first_dies, second_dies, flush) = (case & 1 > 0, case & 2 > 0, case & 4 > 0);
        for stop in 0.. {
            let disk = SimDisk::new(stop * 24 + case);
            let open = || Store::open(Arc::new(disk.clone()), Path::new("/data"), patient());
            let mut run = Run::new(case);
            disk.stop_after(stop);
            let is_over = open().is_ok_and(|store| short_life(&mut run, &store, flush).is_ok());
            for dies in [first_dies, second_dies] {
                run.end(&disk, dies);
                let store = open().unwrap();
                run.check(&store).unwrap_or_else(|e| panic!("case {case}, stop {stop}: {e}"));
                match case / 8 {
                    0 => store.flush().unwrap(),
                    1 => full_group(&mut run, &store),
                    _ => short_life(&mut run, &store, false).unwrap(),
                }
            }
            run.end(&disk, true);
            run.check(&open().unwrap()).unwrap_or_else(|e| panic!("{case}, {stop}: {e}"));
            if is_over {
                break;
            }
        }
    }
}

/// Syncs fail now and then. Nothing is opened again, and the power goes at the end.
#[test]
fn a_sync_that_fails_is_made_good_without_a_restart() {
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        let options = Options { log_bytes_max: 1_500, open_bytes_max: 4_000, ..patient() };
        let open = || Store::open(Arc::new(disk.clone()), Path::new("/data"), options.clone());
        let mut run = Run::new(seed);
        let store = open().unwrap();
        let mut failures = 0;
        for _ in 0..200 {
            if run.dice.roll(10) == 0 {
                disk.fail_sync_after(Some(run.dice.roll(8)));
            }
            let mut tried = std::mem::take(&mut run.tried);
            let done = match run.dice.roll(12) {
                0 => store.flush(),
                1 => store.tick(run.clock_ms + 25 * 3600 * 1000),
                2 => store.tick(run.clock_ms),
                3 => store.compact(run.clock_ms, &mut |_| true).map(|_| ()),
                _ => run.append(&store),
            };
            run.tried.append(&mut tried);
            failures += u32::from(done.is_err());
        }
        assert!(failures > 3, "seed {seed}: only {failures} failures");
        disk.fail_sync_after(None);
        while store.tick(run.clock_ms).is_err() {
            run.clock_ms += 60_000;
        }
        run.sure.append(&mut run.written);
        let mut tried = std::mem::take(&mut run.tried);
        run.append(&store).unwrap();
        run.tried.append(&mut tried);
        store.close().unwrap();
        run.sure.append(&mut run.written);
        if seed % 2 == 0 {
            store.flush().unwrap();
        }
        disk.power_cut();
        run.check(&open().unwrap()).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    }
}

/// Runs until a planted fault is noticed, or many seeds have passed.
fn is_noticed(lies: Lies) -> bool {
    (0..400).any(|seed| run(seed, lies).is_err())
}

#[test]
fn syncs_that_are_left_out_are_noticed() {
    let files = ["", ".chunks", "series.log", "series.copy", "wal-", ".block", "MANIFEST"];
    for of in files {
        assert!(is_noticed(Lies { file_sync: true, of, ..Lies::default() }), "files {of:?}");
    }
    for of in ["", "/data", "/wal", "/segments", "/blocks"] {
        assert!(is_noticed(Lies { dir_sync: true, of, ..Lies::default() }), "directory {of:?}");
    }
}

#[cfg(debug_assertions)]
#[test]
fn bugs_that_are_planted_are_noticed() {
    use vigie_metrics::planted::{Bug, plant};
    for bug in [
        Bug::InputsGoFirst,
        Bug::ManifestFirst,
        Bug::DeletionForgotten,
        Bug::LastRowLeftOut,
        Bug::LogSpeaksOfLost,
        Bug::RowsNotCarried,
        Bug::DeletedComesBack,
        Bug::CopyNotSynced,
        Bug::SealOffByOne,
        Bug::LateLeftOut,
        Bug::NeededBlockDropped,
        Bug::TombstonesNotLoaded,
        Bug::SnapshotWithoutRows,
        Bug::LogCutFirst,
        Bug::SeriesNotListed,
    ] {
        plant(Some(bug));
        assert!(is_noticed(Lies::default()), "{bug:?}");
        plant(None);
    }
}
