//! Lives of a store on a simulated disk: what it does until the power goes, what the disk does to it
//! meanwhile, and what must be there afterwards.
//!
//! A life appends, ticks, seals, compacts, deletes and retains while the clock jumps by a day. What
//! was acknowledged as durable must be found, once; what was deleted must not; and nothing may be
//! there that was never sent.

use super::moody::{Mood, MoodyDisk};
use super::*;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use vigie_disk::Disk;
use vigie_disk::sim::{Lies, SimDisk};
use vigie_logs::{Batch, Clock, Durability, LineTest, LineText, LogsError, Options, Store};
use vigie_model::{Direction, LogEntry, LogRange};

/// Lives of one seed.
pub const LIVES: u64 = 8;
const DAY_MS: i64 = DAY_NS / 1_000_000;
/// With it, lines go when the clock has jumped ahead of them.
const RETENTION_MS: i64 = 3 * DAY_MS;
/// Of a life that goes on after errors.
const STEPS: u64 = 40;

/// A row, for comparison: stream, instant, line.
pub type Row = (String, i64, Vec<u8>);
type Rows = BTreeSet<Row>;
type Request = (String, Vec<LogEntry>);

pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % end
    }
}

/// What the disk does during a life.
#[derive(Clone, Copy, Debug)]
enum Weather {
    /// It works until the power goes, or the program dies.
    Cut,
    /// It is full for a while.
    Full,
    /// It gives input/output errors.
    Broken,
    /// Syncs fail, and what they should have written is lost.
    Unsynced,
}

pub struct Run {
    pub dice: Dice,
    pub disk: SimDisk,
    moody: MoodyDisk,
    now_ms: Arc<AtomicI64>,
    next: i64,
    /// Acknowledged as durable.
    sure: Rows,
    /// Acknowledged as written since the power came.
    pub written: Rows,
    /// Everything that was ever sent: nothing else may be there.
    sent: Rows,
    /// The last request that was refused by the disk, to be sent again.
    pub unanswered: Option<Request>,
    /// Deleted, and acknowledged.
    deleted: Rows,
    /// Requests that were answered, some of which are sent again all the same.
    answered: Vec<Request>,
    /// A part that could not be read may hold a line that was sent again.
    may_double: bool,
    /// The disk writes sectors in any order: what was not synced may look like damage.
    tears: bool,
}

impl Run {
    pub fn new(seed: u64) -> Run {
        let disk = SimDisk::new(seed);
        Run {
            dice: Dice(seed ^ 0x5bd1),
            moody: MoodyDisk::new(disk.clone(), seed ^ 0xe10),
            disk,
            now_ms: Arc::new(AtomicI64::new(NOW_MS)),
            next: 0,
            sure: Rows::new(),
            written: Rows::new(),
            sent: Rows::new(),
            unanswered: None,
            deleted: Rows::new(),
            answered: Vec::new(),
            may_double: false,
            tears: false,
        }
    }

    pub fn open(&self) -> Result<Store, LogsError> {
        let now_ms = self.now_ms.clone();
        let options = Options {
            head_bytes_max: 3000,
            free_bytes_min: 0,
            delete_delay_ms: 0,
            retention_ms: RETENTION_MS,
            clock: Clock(Arc::new(move || now_ms.load(Ordering::Relaxed))),
            ..Options::default()
        };
        Store::open(Arc::new(self.moody.clone()), "/logs", options)
    }

    fn now_ms(&self) -> i64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    /// The clock is right, or a day ahead or behind.
    fn jump(&mut self) {
        let days = self.dice.roll(3) as i64 - 1;
        self.now_ms.store(NOW_MS + days * DAY_MS, Ordering::Relaxed);
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
        let now_ns = self.now_ms() * 1_000_000;
        let hours = self.dice.roll(20) as i64;
        let entries = (self.next..self.next + count)
            // Instants go back and forth over days, and some are equal.
            .map(|n| {
                let ts_ns = now_ns - n % 3 * DAY_NS - hours * 3600 * SECOND_NS + n / 7;
                entry(ts_ns, format!("{n} {filler}"))
            })
            .collect();
        self.next += count;
        (format!("app{}", self.dice.roll(3)), entries)
    }

    pub fn append(&mut self, store: &Store) -> Result<(), LogsError> {
        let (app, entries) = self.request();
        let rows: Rows = entries.iter().map(|e| (app.clone(), e.ts_ns, e.line.clone())).collect();
        self.sent.extend(rows.clone());
        let synced = self.dice.roll(2) == 0;
        let durability = if synced { Durability::Synced } else { Durability::Written };
        let batch = [Batch { labels: &labels(&app), entries: &entries }];
        let outcome = match store.append(&batch, durability) {
            Ok(outcome) => outcome,
            Err(error) => {
                self.unanswered = Some((app, entries));
                return Err(error);
            }
        };
        // A clock that went back refuses what it takes for the future.
        let newest_ns = (self.now_ms() + 10 * 60_000) * 1_000_000;
        let taken: Rows = rows.into_iter().filter(|row| row.1 <= newest_ns).collect();
        assert_eq!(outcome.refused, (entries.len() - taken.len()) as u64);
        self.written.extend(taken);
        self.answered.push((app, entries));
        if synced {
            self.sure.append(&mut self.written);
        }
        Ok(())
    }

    /// Deletes a line, and is sure of it when that is acknowledged.
    fn delete(&mut self, store: &Store) -> Result<(), LogsError> {
        if self.answered.is_empty() {
            return Ok(());
        }
        // One of the last requests as a rule: its lines may be on their way into a part.
        let back = if self.dice.roll(3) > 0 { 6 } else { self.answered.len() };
        let back = self.dice.roll(back.min(self.answered.len()) as u64) as usize;
        let (app, entries) = &self.answered[self.answered.len() - 1 - back];
        let LogEntry { ts_ns, line, .. } =
            entries[self.dice.roll(entries.len() as u64) as usize].clone();
        let app = app.clone();
        let range = LogRange { start_ns: ts_ns, end_ns: ts_ns + 1 };
        let test = LineTest { negative: false, what: LineText::Contains(line.clone()) };
        let row = |row: &Row| {
            row.0 == app && row.1 == ts_ns && row.2.windows(line.len()).any(|w| w == line)
        };
        let hit: Rows = self.sent.iter().filter(|one| row(one)).cloned().collect();
        // Once asked for, it may be done, whatever the answer.
        let is_hit = |one: &Row| hit.contains(one);
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

    /// Syncs, seals what is due, and takes away what is too old by the clock of the moment.
    pub fn tick(&mut self, store: &Store) -> Result<(), LogsError> {
        let cutoff_ns = (self.now_ms() - RETENTION_MS) * 1_000_000;
        self.sure.retain(|row| row.1 >= cutoff_ns);
        self.written.retain(|row| row.1 >= cutoff_ns);
        store.tick(self.now_ms())?;
        self.sure.append(&mut self.written);
        Ok(())
    }

    /// Compacts until there is nothing to do, as late as needs be for every neighbour to be merged.
    fn compact(&self, store: &Store) -> Result<(), LogsError> {
        while store.compact(self.now_ms() + 40 * DAY_MS, &mut |_| true)? {}
        Ok(())
    }

    /// One thing that a store is asked to do.
    fn step(&mut self, store: &Store) -> Result<(), LogsError> {
        if self.dice.roll(20) == 0 {
            self.jump();
        }
        match self.dice.roll(20) {
            0 => store.seal(),
            1..4 => self.tick(store),
            4 => store.compact(self.now_ms() + 40 * DAY_MS, &mut |_| true).map(|_| ()),
            5 => self.compact(store),
            6 => self.delete(store).and_then(|()| self.compact(store)),
            _ => self.append(store),
        }
    }

    /// Works until the disk refuses.
    pub fn work(&mut self, store: &Store) {
        while self.step(store).is_ok() {}
    }

    /// What is lost, doubled or made up.
    pub fn fault(&self, store: &Store) -> Option<String> {
        let rows = match try_read(store, &[], EVERYTHING, Direction::Forward) {
            Ok(rows) => rows,
            Err(error) => return Some(format!("not read: {error}")),
        };
        let rows: Vec<_> = rows
            .into_iter()
            .map(|(labels, e)| (labels.get("app").unwrap().to_owned(), e.ts_ns, e.line))
            .collect();
        let found: Rows = rows.iter().cloned().collect();
        if found.len() != rows.len() && !self.may_double {
            return Some("a line is there twice".to_owned());
        }
        if let Some(lost) = self.sure.difference(&found).next() {
            return Some(format!("lost: {}", show(lost)));
        }
        if let Some(risen) = self.deleted.intersection(&found).next() {
            return Some(format!("deleted and still there: {}", show(risen)));
        }
        let made_up = found.difference(&self.sent).next();
        made_up.map(|row| format!("made up: {}", show(row)))
    }

    fn check(&self, store: &Store, when: &str) -> Result<(), String> {
        match self.fault(store) {
            Some(fault) => Err(format!("{when}: {fault}")),
            None => Ok(()),
        }
    }

    fn open_and_check(&self) -> Result<Store, String> {
        let store = self.open().map_err(|error| format!("not opened: {error}"))?;
        self.check(&store, "opened")?;
        let stats = store.stats();
        let is_damaged = stats.damaged > 0 && !self.tears;
        if is_damaged || stats.broken_parts > 0 {
            return Err(format!("an unfinished write was taken for damage: {stats:?}"));
        }
        Ok(store)
    }

    /// The program dies, or the power goes.
    fn end(&mut self, store: Option<Store>) {
        drop(store);
        if self.dice.roll(3) == 0 {
            self.disk.revive();
        } else {
            self.disk.power_cut();
            self.written.clear();
        }
    }

    /// A store that lives until an operation fails, which may be one of its opening.
    fn cut(&mut self) -> Result<(), String> {
        let operations = self.dice.roll(120);
        let store = self.open_and_check()?;
        match self.dice.roll(8) {
            0 => {
                drop(store);
                self.disk.stop_after(operations % 16);
                let store = self.open().ok();
                self.end(store);
                return Ok(());
            }
            1 => {
                // What cannot be read at the moment is not lost: the next opening finds it.
                drop(store);
                self.moody.set(Mood { change: 0, read: 2 + operations % 20 });
                let store = self.open();
                self.moody.set(Mood::default());
                if let Ok(store) = store {
                    // Lines that are in a part left out and in the log are sealed again.
                    self.may_double = true;
                    for _ in 0..STEPS {
                        self.step(&store)
                            .map_err(|error| format!("a part is left out: {error}"))?;
                    }
                }
                return Ok(());
            }
            _ => {}
        }
        self.disk.stop_after(operations);
        self.work(&store);
        self.end(Some(store));
        Ok(())
    }

    /// A store that goes on while the disk fails, and has nothing forgotten when it works again.
    fn endure(&mut self, weather: Weather) -> Result<(), String> {
        let store = self.open_and_check()?;
        self.start(weather);
        for _ in 0..STEPS {
            if matches!(weather, Weather::Unsynced) && self.dice.roll(8) == 0 {
                self.disk.fail_sync_after(Some(self.dice.roll(5)));
            }
            // Refused or not: what counts is what is there afterwards.
            let _ = self.step(&store);
        }
        if matches!(weather, Weather::Full) {
            self.check(&store, "while the disk is full")?;
        }
        self.disk.set_free_bytes(u64::MAX);
        self.disk.fail_sync_after(None);
        self.moody.set(Mood::default());
        self.check(&store, "when the disk works again")?;
        // A compaction leaves aside what it could not read, until the store is opened again.
        self.tick(&store).map_err(|error| format!("no tick after {weather:?}: {error}"))?;
        while self.unanswered.is_some() {
            let sent = self.append(&store);
            sent.map_err(|error| format!("nothing is taken after {weather:?}: {error}"))?;
        }
        self.compact(&store)
            .map_err(|error| format!("no compaction after {weather:?}: {error}"))?;
        self.tick(&store).map_err(|error| format!("no second tick after {weather:?}: {error}"))?;
        self.check(&store, "after a compaction")?;
        self.leaves_nothing()?;
        self.end(Some(store));
        Ok(())
    }

    fn start(&mut self, weather: Weather) {
        match weather {
            Weather::Cut | Weather::Unsynced => {}
            Weather::Full => {
                let free_bytes = self.dice.roll(6000);
                self.disk.set_free_bytes(free_bytes);
            }
            Weather::Broken => {
                let read = if self.dice.roll(3) == 0 { 20 } else { 0 };
                self.may_double |= read > 0;
                self.moody.set(Mood { change: 4 + self.dice.roll(30), read });
            }
        }
    }

    /// What was begun and could not be finished takes no room.
    fn leaves_nothing(&self) -> Result<(), String> {
        let names = self.disk.list("/logs/parts".as_ref()).map_err(|error| error.to_string())?;
        match names.iter().find(|name| name.ends_with(".tmp")) {
            Some(name) => Err(format!("{name} was left")),
            None => Ok(()),
        }
    }

    fn live(&mut self) -> Result<(), String> {
        match self.dice.roll(8) {
            0 | 1 => self.endure(Weather::Full),
            2 => self.endure(Weather::Broken),
            3 => self.endure(Weather::Unsynced),
            _ => self.cut(),
        }
    }
}

fn show((app, ts_ns, line): &Row) -> String {
    format!("{ts_ns} of {app}: {}", String::from_utf8_lossy(line).trim_end_matches('x'))
}

/// Lives a seed's lives; the first fault that they show.
pub fn run(seed: u64, lies: Lies) -> Result<(), String> {
    let mut run = Run::new(seed);
    run.disk.lie(lies);
    run.tears = seed.is_multiple_of(4);
    if run.tears {
        run.disk.tear_sectors();
    }
    for life in 0..LIVES {
        run.live().map_err(|what| format!("seed {seed}, life {life}: {what}"))?;
    }
    run.open_and_check().map_err(|what| format!("seed {seed}, in the end: {what}"))?;
    Ok(())
}
