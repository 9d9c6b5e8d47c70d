//! Requests to delete lines, and streams whose lines are kept for a time of their own.
//!
//! A request is durable when [`Store::delete`] returns, and from then on no reader sees a row of
//! it; the rows go from disk when compaction rewrites the parts that hold them, after a delay in
//! which the request can be taken back. A request covers its range until then: a line that comes late
//! is deleted too. `DIR/deletes` (`docs/formats/logs-part.md`) holds all requests, and
//! `DIR/deletes.twin` the same bytes: one damaged byte must neither bring deleted lines back nor keep
//! the store closed.

use super::Store;
use crate::LogsError;
use crate::catalog::{Catalog, StreamSet};
use crate::head::Span;
use crate::part::Part;
use crate::planted::{self, Bug};
use regex::bytes::Regex;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vigie_disk::frame::{self, FrameKind};
use vigie_disk::wire::{Bad, Bytes, put_bytes, put_int, put_uint};
use vigie_disk::{Disk, DiskError, write_atomic};
use vigie_model::blocks::LogBlock;
use vigie_model::{LogRange, MatchOp, Matcher, ReadError, StreamId, regexp};

const FILE: FrameKind = FrameKind { magic: *b"VIGIEDEL", version: 1 };
/// Most requests that are kept, done ones included; the oldest done ones go first.
const REQUESTS_MAX: usize = 1000;
/// Most line filters of a request.
const FILTERS_MAX: usize = 64;
const NANOS_PER_MILLI: i64 = 1_000_000;

/// A condition that a line must fulfil to be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineTest {
    /// Whether it must not.
    pub negative: bool,
    /// What the line must hold.
    pub what: LineText,
}

/// What a line must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineText {
    /// These bytes, anywhere.
    Contains(Vec<u8>),
    /// A match of this pattern (RE2's dialect), anywhere.
    Matches(String),
}

/// A request to delete lines.
#[derive(Clone, Debug)]
pub struct Deletion {
    /// Its number in this store.
    pub id: u64,
    /// When it came, in milliseconds since the epoch.
    pub created_ms: i64,
    /// Which streams.
    pub matchers: Vec<Matcher>,
    /// Which instants.
    pub range: LogRange,
    /// Which lines; all of them must hold.
    pub lines: Vec<LineTest>,
    /// When its rows had gone from disk, in milliseconds since the epoch.
    pub done_ms: Option<i64>,
}

/// The requests of a store, as its file holds them.
#[derive(Default)]
pub(crate) struct Deletions {
    next_id: u64,
    pub(super) all: Vec<Deletion>,
    /// Files that were damaged when the store was opened.
    pub(super) damaged: u64,
}

/// What one of the two files holds.
enum Held {
    Nothing,
    Requests(Deletions),
    Damaged,
}

impl Deletions {
    /// Reads the file, or its twin when it is damaged. When both are, the requests are lost: they are
    /// put aside, and the store opens without them.
    pub(super) fn open(disk: &dyn Disk, path: &Path) -> Result<Deletions, LogsError> {
        let (first, second) = (hold(disk, path)?, hold(disk, &twin(path))?);
        let damaged = [&first, &second].map(|held| u64::from(matches!(held, Held::Damaged)));
        let damaged = damaged.iter().sum();
        let none = Deletions { next_id: 1, all: Vec::new(), damaged: 0 };
        let opened = match (first, second) {
            (Held::Requests(held), _) | (_, Held::Requests(held)) => held,
            (Held::Damaged, _) | (_, Held::Damaged) => {
                for path in [path.to_path_buf(), twin(path)] {
                    if disk.exists(&path) {
                        disk.rename(&path, &with_ending(&path, ".damaged"))?;
                    }
                }
                disk.sync_dir(&vigie_disk::parent(path))?;
                tracing::error!("the requests to delete lines are lost: send them again");
                return Ok(Deletions { damaged, ..none });
            }
            (Held::Nothing, Held::Nothing) => return Ok(none),
        };
        if damaged > 0
            && let Err(error) = opened.write(disk, path)
        {
            // A full disk must not keep the store closed; the next change writes both.
            tracing::warn!(%error, "a file of delete requests is not written again yet");
        }
        Ok(Deletions { damaged, ..opened })
    }

    fn write(&self, disk: &dyn Disk, path: &Path) -> Result<(), LogsError> {
        let mut body = Vec::new();
        put_uint(&mut body, self.next_id);
        put_uint(&mut body, self.all.len() as u64);
        for one in &self.all {
            put_uint(&mut body, one.id);
            put_int(&mut body, one.created_ms);
            put_int(&mut body, one.range.start_ns);
            put_int(&mut body, one.range.end_ns);
            put_int(&mut body, one.done_ms.unwrap_or(0));
            put_uint(&mut body, one.matchers.len() as u64);
            for matcher in &one.matchers {
                put_bytes(&mut body, matcher.name.as_bytes());
                body.push(matcher.op as u8);
                put_bytes(&mut body, matcher.value.as_bytes());
            }
            put_uint(&mut body, one.lines.len() as u64);
            for test in &one.lines {
                let (kind, text) = match &test.what {
                    LineText::Contains(text) => (0, &text[..]),
                    LineText::Matches(pattern) => (2, pattern.as_bytes()),
                };
                body.push(kind | u8::from(test.negative));
                put_bytes(&mut body, text);
            }
        }
        let bytes = frame::encode(FILE, &body);
        write_atomic(disk, &twin(path), &bytes)?;
        Ok(write_atomic(disk, path, &bytes)?)
    }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    PathBuf::from(format!("{}{ending}", path.display()))
}

fn twin(path: &Path) -> PathBuf {
    with_ending(path, ".twin")
}

fn hold(disk: &dyn Disk, path: &Path) -> Result<Held, LogsError> {
    if !disk.exists(path) {
        return Ok(Held::Nothing);
    }
    let file = disk.open(path)?;
    let mut bytes = vec![0; file.len()? as usize];
    file.read_at(0, &mut bytes)?;
    let requests = frame::decode(FILE, &bytes, path)
        .and_then(|body| read(body).map_err(|what| DiskError::corrupt(path, 0, what)));
    match requests {
        Ok(requests) => Ok(Held::Requests(requests)),
        // Of another version, and not damaged.
        Err(error) if frame::is_whole(&bytes) => Err(error.into()),
        Err(error) => {
            tracing::error!(%error, "a file of requests to delete lines is damaged");
            Ok(Held::Damaged)
        }
    }
}

/// Reads the body of the file.
pub(crate) fn read(body: &[u8]) -> Result<Deletions, Bad> {
    let mut input = Bytes::new(body);
    let next_id = input.uint()?;
    let mut all = Vec::new();
    for _ in 0..input.count(REQUESTS_MAX)? {
        let (id, created_ms) = (input.uint()?, input.int()?);
        let range = LogRange { start_ns: input.int()?, end_ns: input.int()? };
        let done_ms = Some(input.int()?).filter(|&at| at != 0);
        let mut matchers = Vec::new();
        for _ in 0..input.count_here()? {
            let name = input.text()?;
            let op = match input.byte()? {
                0 => MatchOp::Equal,
                1 => MatchOp::NotEqual,
                2 => MatchOp::Regex,
                3 => MatchOp::NotRegex,
                _ => return Err("a matcher of an unknown kind"),
            };
            let matcher = Matcher::with_dot(name, op, input.text()?, false);
            matchers.push(matcher.map_err(|_| "a pattern that does not compile")?);
        }
        let mut lines = Vec::new();
        for _ in 0..input.count(FILTERS_MAX)? {
            let (kind, text) = (input.byte()?, input.bytes()?);
            let what = match kind & 2 {
                0 => LineText::Contains(text.to_vec()),
                _ => LineText::Matches(String::from_utf8(text.to_vec()).map_err(|_| "no pattern")?),
            };
            lines.push(LineTest { negative: kind & 1 == 1, what });
        }
        all.push(Deletion { id, created_ms, matchers, range, lines, done_ms });
    }
    input.end()?;
    Ok(Deletions { next_id, all, damaged: 0 })
}

/// Rows that no reader may see, or that compaction leaves out.
#[derive(Clone, Default)]
pub(crate) struct Doom {
    rules: Vec<Arc<Rule>>,
}

struct Rule {
    streams: StreamSet,
    range: LogRange,
    tests: Vec<(bool, Search)>,
    deletion: Option<Deletion>,
}

enum Search {
    Text(Vec<u8>),
    Regex(Regex),
}

impl Doom {
    fn add(&mut self, catalog: &Catalog, deletion: &Deletion) {
        let search = |test: &LineTest| {
            let search = match &test.what {
                LineText::Contains(text) => Search::Text(text.clone()),
                LineText::Matches(pattern) => Search::Regex(regexp::in_line(pattern).ok()?),
            };
            Some((test.negative, search))
        };
        // A pattern that no longer compiles deletes nothing; it was compiled when it came.
        let Some(tests) = deletion.lines.iter().map(search).collect() else { return };
        let streams = catalog.matching(&deletion.matchers);
        let (range, deletion) = (deletion.range, Some(deletion.clone()));
        self.rules.push(Arc::new(Rule { streams, range, tests, deletion }));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    pub(super) fn deletions(&self) -> impl Iterator<Item = &Deletion> {
        self.rules.iter().filter_map(|rule| rule.deletion.as_ref())
    }

    /// Changes when the rules do.
    pub(super) fn stamp(&self) -> u64 {
        self.deletions().map(|deletion| deletion.id).max().unwrap_or(0)
    }

    /// The parts that may hold rows of a rule.
    pub(super) fn parts_touched<'a>(
        &'a self,
        parts: &'a [Arc<Part>],
    ) -> impl Iterator<Item = &'a Arc<Part>> {
        parts.iter().filter(|part| self.touches(part.streams().iter().copied()))
    }

    /// Whether one of these streams may hold rows of a rule.
    pub(super) fn touches(&self, spans: impl IntoIterator<Item = (StreamId, Span)>) -> bool {
        spans.into_iter().any(|(id, span)| self.rules.iter().any(|rule| rule.touches(id, &span)))
    }

    /// Clears the rows that a rule takes.
    pub(crate) fn clear(&self, block: &dyn LogBlock, stays: &mut [bool]) -> Result<(), ReadError> {
        for rule in &self.rules {
            rule.clear(block, stays)?;
        }
        Ok(())
    }
}

impl Rule {
    /// Whether rows of a stream may be worth a rewrite. Those of a retention are when all of them
    /// go, or a part would be written again and again as time moves on.
    fn touches(&self, id: StreamId, span: &Span) -> bool {
        let is_due = self.deletion.is_some() || span.max_ns < self.range.end_ns;
        is_due && span.touches(self.range) && self.streams.contains(id)
    }

    fn clear(&self, block: &dyn LogBlock, stays: &mut [bool]) -> Result<(), ReadError> {
        let ts_ns = block.timestamps_ns();
        let start = ts_ns.partition_point(|&ts| ts < self.range.start_ns);
        let end = ts_ns.partition_point(|&ts| ts < self.range.end_ns);
        let mut goes = vec![false; ts_ns.len()];
        for row in start..end.max(start) {
            goes[row] = stays[row] && self.streams.contains(block.stream(row));
        }
        let mut line = Vec::new();
        for (negative, search) in &self.tests {
            if !goes.contains(&true) {
                return Ok(());
            }
            let mut found = goes.clone();
            match search {
                Search::Text(text) => block.contains(text, &mut found)?,
                Search::Regex(regex) => {
                    for (row, found) in found.iter_mut().enumerate().filter(|(_, found)| **found) {
                        block.line(row, &mut line)?;
                        *found = regex.is_match(&line);
                    }
                }
            }
            goes.iter_mut().zip(found).for_each(|(goes, found)| *goes &= found != *negative);
        }
        stays.iter_mut().zip(goes).for_each(|(stays, goes)| *stays &= !goes);
        Ok(())
    }
}

impl Store {
    /// Deletes the lines of the streams that fulfil all `matchers`, in `range`, that pass all
    /// `lines`; the number of the request. When it returns the request survives a power cut.
    /// At least one matcher is needed, so that nobody deletes everything by leaving them out.
    pub fn delete(
        &self,
        matchers: Vec<Matcher>,
        range: LogRange,
        lines: Vec<LineTest>,
    ) -> Result<u64, LogsError> {
        let refuse = |why: &str| Err(LogsError::Limit(why.to_owned()));
        if matchers.is_empty() {
            return refuse("a delete request needs a stream selector");
        }
        if range.start_ns >= range.end_ns {
            return refuse("a delete request ends before it starts; exchange start and end");
        }
        if lines.len() > FILTERS_MAX {
            return refuse("a delete request has more than 64 line filters; make several of it");
        }
        for test in &lines {
            if let LineText::Matches(pattern) = &test.what {
                regexp::in_line(pattern).map_err(|why| LogsError::Limit(why.to_string()))?;
            }
        }
        let created_ms = self.options.clock.now_ms();
        self.change_deletes(|deletions| {
            if deletions.all.len() >= REQUESTS_MAX {
                let done = deletions.all.iter().position(|one| one.done_ms.is_some());
                let why = "1000 delete requests wait already; wait until some are done";
                let done = done.ok_or_else(|| LogsError::Limit(why.to_owned()))?;
                deletions.all.remove(done);
            }
            let id = deletions.next_id;
            deletions.next_id += 1;
            deletions.all.push(Deletion { id, created_ms, matchers, range, lines, done_ms: None });
            Ok(id)
        })
    }

    /// All requests that are remembered, oldest first.
    pub fn deletions(&self) -> Vec<Deletion> {
        self.deletions.lock().all.clone()
    }

    /// Takes a request back, whose rows are seen again as far as they have not gone from disk;
    /// whether there was such a request that is not done.
    pub fn cancel_deletion(&self, id: u64) -> Result<bool, LogsError> {
        self.change_deletes(|deletions| {
            let before = deletions.all.len();
            deletions.all.retain(|one| one.id != id || one.done_ms.is_some());
            Ok(deletions.all.len() < before)
        })
    }

    pub(super) fn deletes_done(&self, done: &[&Deletion], now_ms: i64) -> Result<(), LogsError> {
        self.change_deletes(|deletions| {
            for one in &mut deletions.all {
                if done.iter().any(|done| done.id == one.id) {
                    one.done_ms = Some(now_ms.max(1));
                }
            }
            Ok(())
        })
    }

    /// Changes the requests in the file, then in memory: what is not durable is not done.
    fn change_deletes<T>(
        &self,
        change: impl FnOnce(&mut Deletions) -> Result<T, LogsError>,
    ) -> Result<T, LogsError> {
        let mut held = self.deletions.lock();
        let Deletions { next_id, damaged, .. } = *held;
        let mut changed = Deletions { next_id, all: held.all.clone(), damaged };
        let done = change(&mut changed)?;
        if !planted::is(Bug::RequestForgotten) {
            changed.write(&*self.disk, &self.deletes_path())?;
        }
        *held = changed;
        Ok(done)
    }

    pub(super) fn deletes_path(&self) -> PathBuf {
        deletes_path(&self.parts_dir)
    }

    /// What no reader may see: the rows of every request that is not done.
    pub(super) fn hidden(&self) -> Doom {
        let deletions = self.deletions.lock();
        let mut doom = Doom::default();
        let catalog = self.catalog.read();
        let waiting = deletions.all.iter().filter(|one| one.done_ms.is_none());
        waiting.for_each(|one| doom.add(&catalog, one));
        doom
    }

    /// What compaction leaves out: the rows of requests that have waited long enough, and those
    /// of streams whose own time is over.
    pub(super) fn doom(&self, now_ms: i64) -> Doom {
        let deletions = self.deletions.lock();
        let mut doom = Doom::default();
        let catalog = self.catalog.read();
        let is_due = |one: &&Deletion| {
            let age_ms = now_ms.saturating_sub(one.created_ms);
            one.done_ms.is_none() && age_ms >= self.options.delete_delay_ms
        };
        deletions.all.iter().filter(is_due).for_each(|one| doom.add(&catalog, one));
        for (at, own) in self.options.retention_streams.iter().enumerate() {
            let mut streams = catalog.matching(&own.matchers);
            // The first that matches a stream decides over it.
            for earlier in &self.options.retention_streams[..at] {
                streams.remove_all(&catalog.matching(&earlier.matchers));
            }
            let end_ms = now_ms.saturating_sub(own.retention_ms);
            let range =
                LogRange { start_ns: i64::MIN, end_ns: end_ms.saturating_mul(NANOS_PER_MILLI) };
            doom.rules.push(Arc::new(Rule { streams, range, tests: Vec::new(), deletion: None }));
        }
        doom
    }
}

pub(super) fn deletes_path(parts_dir: &Path) -> PathBuf {
    parts_dir.parent().unwrap_or(parts_dir).join("deletes")
}
