//! The store on a simulated disk whose power is cut, or which is full, between any two operations.
//!
//! Kill -9 cannot show a missing fsync; this can. It proves itself: with a disk that lies about
//! file syncs, or about directory syncs, it finds lost lines.
//! Faults that were planted by hand and that this file found: an append that the log refused and
//! that stayed in the head; a `Synced` append without the sync; the log removed before the part was
//! written; no look into the head that is being sealed for duplicates; a part written again under
//! a new number after a failed sync of the directory; a log synced a second time after a sync that
//! failed, and believed.

#![allow(clippy::unwrap_used, reason = "a panic here is the failure report")]

mod common;

use common::*;
use std::collections::BTreeSet;
use std::sync::Arc;
use vigie_disk::sim::{Lies, SimDisk};
use vigie_logs::{Batch, Durability, LineTest, LineText, LogsError, Options, Store};
use vigie_model::{Direction, LogEntry, LogRange};

const SEEDS: u64 = 40;
const CUTS_PER_SEED: u64 = 8;

/// A row, for comparison: stream, instant, line.
type Rows = BTreeSet<(String, i64, Vec<u8>)>;

type Request = (String, Vec<LogEntry>);

struct Dice(u64);

impl Dice {
    fn roll(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % end
    }
}

struct Run {
    dice: Dice,
    disk: SimDisk,
    next: i64,
    /// Acknowledged as durable.
    sure: Rows,
    /// Acknowledged as written since the power came.
    written: Rows,
    /// Everything that was ever sent: nothing else may be there.
    sent: Rows,
    /// The last request that was refused by the disk, to be sent again.
    unanswered: Option<Request>,
    /// Deleted, and acknowledged.
    deleted: Rows,
    /// Requests that were answered, some of which are sent again all the same.
    answered: Vec<Request>,
}

impl Run {
    fn new(seed: u64) -> Run {
        let (disk, dice) = (SimDisk::new(seed), Dice(seed ^ 0x5bd1));
        let (sure, written, sent) = (Rows::new(), Rows::new(), Rows::new());
        Run {
            dice,
            disk,
            next: 0,
            sure,
            written,
            sent,
            unanswered: None,
            deleted: Rows::new(),
            answered: Vec::new(),
        }
    }

    fn open(&self) -> Result<Store, LogsError> {
        let options =
            Options { head_bytes_max: 3000, free_bytes_min: 0, delete_delay_ms: 0, ..options() };
        Store::open(Arc::new(self.disk.clone()), "/logs", options)
    }

    fn request(&mut self) -> Request {
        if let Some(again) = self.unanswered.take() {
            return again;
        }
        if !self.answered.is_empty() && self.dice.roll(4) == 0 {
            let at = self.dice.roll(self.answered.len() as u64) as usize;
            return self.answered[at].clone();
        }
        let count = 1 + self.dice.roll(8) as i64;
        let filler = "x".repeat(self.dice.roll(60) as usize);
        let entries = (self.next..self.next + count)
            // Instants go back and forth over three days.
            .map(|n| entry(NOW_NS - n % 3 * DAY_NS + n / 7, format!("{n} {filler}")))
            .collect();
        self.next += count;
        (format!("app{}", self.dice.roll(3)), entries)
    }

    fn append(&mut self, store: &Store) -> Result<(), LogsError> {
        let (app, entries) = self.request();
        let rows: Rows = entries.iter().map(|e| (app.clone(), e.ts_ns, e.line.clone())).collect();
        self.sent.extend(rows.clone());
        let synced = self.dice.roll(2) == 0;
        let durability = if synced { Durability::Synced } else { Durability::Written };
        let batch = [Batch { labels: &labels(&app), entries: &entries }];
        if let Err(error) = store.append(&batch, durability) {
            self.unanswered = Some((app, entries));
            return Err(error);
        }
        self.written.extend(rows);
        self.answered.push((app, entries));
        if synced {
            self.sure.append(&mut self.written);
        }
        Ok(())
    }

    /// Deletes a line, and is sure of it when that is acknowledged.
    fn delete(&mut self, store: &Store) -> Result<(), LogsError> {
        let lines: Vec<_> = self.sent.iter().cloned().collect();
        if lines.is_empty() {
            return Ok(());
        }
        let (app, ts_ns, line) = lines[self.dice.roll(lines.len() as u64) as usize].clone();
        let range = LogRange { start_ns: ts_ns, end_ns: ts_ns + 1 };
        let test = LineTest { negative: false, what: LineText::Contains(line.clone()) };
        let row = |row: &(String, i64, Vec<u8>)| {
            row.0 == app && row.1 == ts_ns && row.2.windows(line.len()).any(|w| w == line)
        };
        let hit: Rows = self.sent.iter().filter(|one| row(one)).cloned().collect();
        // Once asked for, it may be done, whatever the answer.
        let is_hit = |one: &(String, i64, Vec<u8>)| hit.contains(one);
        self.sure.retain(|one| !is_hit(one));
        self.written.retain(|one| !is_hit(one));
        // A request that is sent again is no new line.
        self.answered.retain(|(app, entries)| {
            !entries.iter().any(|e| is_hit(&(app.clone(), e.ts_ns, e.line.clone())))
        });
        if let Some((app, entries)) = &self.unanswered
            && entries.iter().any(|e| is_hit(&(app.clone(), e.ts_ns, e.line.clone())))
        {
            self.unanswered = None;
        }
        store.delete(vec![vigie_model::Matcher::equal("app", app.as_str())], range, vec![test])?;
        self.deleted.extend(hit);
        Ok(())
    }

    /// Works until the disk refuses.
    fn work(&mut self, store: &Store) {
        loop {
            let done = match self.dice.roll(20) {
                0 => store.seal(),
                1..4 => store.tick(NOW_MS).map(|()| self.sure.append(&mut self.written)),
                // As late as needs be for every neighbour to be merged.
                4 => store.compact(NOW_MS + 40 * DAY_NS / 1_000_000, &mut |_| true).map(|_| ()),
                5 => self.delete(store),
                _ => self.append(store),
            };
            if done.is_err() {
                return;
            }
        }
    }

    /// What is lost, doubled or made up.
    fn fault(&self, store: &Store) -> Option<String> {
        let rows: Vec<_> = read(store, &[], EVERYTHING, Direction::Forward)
            .into_iter()
            .map(|(labels, e)| (labels.get("app").unwrap().to_owned(), e.ts_ns, e.line))
            .collect();
        let found: Rows = rows.iter().cloned().collect();
        if found.len() != rows.len() {
            return Some("a line is there twice".to_owned());
        }
        if let Some(lost) = self.sure.difference(&found).next() {
            return Some(format!("lost: {lost:?}"));
        }
        if let Some(risen) = self.deleted.intersection(&found).next() {
            return Some(format!("deleted and still there: {risen:?}"));
        }
        let made_up = found.difference(&self.sent).next();
        made_up.map(|row| format!("made up: {row:?}"))
    }

    fn cut_the_power(&mut self) -> Option<String> {
        match self.open() {
            Err(error) => Some(format!("not opened: {error}")),
            Ok(store) => {
                if let Some(fault) = self.fault(&store) {
                    return Some(fault);
                }
                let stats = store.stats();
                if (stats.damaged, stats.broken_parts) != (0, 0) {
                    return Some("an unfinished write was taken for damage".to_owned());
                }
                let operations = self.dice.roll(120);
                self.disk.stop_after(operations);
                self.work(&store);
                drop(store);
                self.disk.power_cut();
                self.written.clear();
                None
            }
        }
    }
}

/// The first fault that a seed's cuts show.
fn run(seed: u64, lies: Lies) -> Option<String> {
    let mut run = Run::new(seed);
    run.disk.lie(lies);
    let fault = (0..CUTS_PER_SEED).find_map(|_| run.cut_the_power());
    fault.or_else(|| match run.open() {
        Ok(store) => run.fault(&store),
        Err(error) => Some(format!("not opened: {error}")),
    })
}

#[test]
fn lines_survive_cuts_between_any_two_operations() {
    let seeds = slice_or_soak(500, 10_000);
    for seed in 0..seeds {
        assert_eq!(run(seed, Lies::default()), None, "seed {seed}");
    }
    println!("{seeds} seeds, {CUTS_PER_SEED} cuts each, nothing synced is lost");
}

#[test]
fn a_disk_that_lies_about_syncs_is_found_out() {
    let file_sync = Lies { file_sync: true, ..Lies::default() };
    let dir_sync = Lies { dir_sync: true, ..Lies::default() };
    for lies in [file_sync, dir_sync] {
        let found = (0..SEEDS).filter(|&seed| run(seed, lies).is_some()).count();
        assert!(found > SEEDS as usize / 2, "{lies:?}: {found} of {SEEDS} seeds");
    }
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
            store.tick(NOW_MS).unwrap();
            run.sure.append(&mut run.written);
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
                let _ = store.tick(NOW_MS).and_then(|()| run.append(&store));
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
                1..4 => store.tick(NOW_MS).map(|()| run.sure.append(&mut run.written)),
                _ => run.append(&store),
            };
            failures += u32::from(done.is_err());
        }
        assert!(failures > 3, "seed {seed}: only {failures} failures");
        run.disk.fail_sync_after(None);
        store.tick(NOW_MS).unwrap();
        run.sure.append(&mut run.written);
        run.append(&store).unwrap();
        store.close().unwrap();
        run.sure.append(&mut run.written);
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
