//! One file: bytes to lines, lines to the sink, and the position behind what the sink has taken.

use super::positions::{HEAD_BYTES_MAX, Position, head_hash};
use super::stamp::Stamper;
use super::{LogSink, TailStats, TimestampFrom, id_at};
use crate::stages::Stages;
use std::fs::File;
use std::io::{self, Error, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use vigie_codec::loki_push::add_level;
use vigie_model::limits::LINE_BYTES_MAX;
use vigie_model::{Labels, LogEntry};

/// Read from the file at once.
const READ_BYTES: usize = 256 * 1024;
/// Most reads of one file before the others have their turn.
const READS_PER_POLL: usize = 8;
const BACKOFF_FIRST: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Which file a path led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FileId {
    pub(super) device: u64,
    pub(super) inode: u64,
}

/// What a look at a file came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Polled {
    /// Nothing new, or nothing that could be given on.
    Idle,
    /// Everything there was has been given on.
    Moved,
    /// Some was given on and there is more.
    More,
    /// The file has another name or none, and has been read to its end.
    Finished,
}

pub(super) struct Follower {
    path: PathBuf,
    file: File,
    id: FileId,
    labels: Labels,
    stamper: Stamper,
    stages: Stages,
    /// The first byte that the sink has not taken.
    offset: u64,
    /// What was read from there on.
    buffer: Vec<u8>,
    /// Inside a line whose beginning was given on, cut.
    skipping: bool,
    /// How many first bytes were hashed, and their hash.
    head: (usize, u64),
    backoff: Option<(Instant, Duration)>,
    /// Since when the file is silent, and how long it must be, once its path is not its own.
    let_go: Option<(Instant, Duration)>,
    /// What the file looked like when everything in it had been given on.
    exhausted: Option<Look>,
}

/// What tells without reading whether a file has changed.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Look {
    len: u64,
    modified: (i64, i64),
}

impl Look {
    fn at(file: &File) -> io::Result<Look> {
        let metadata = file.metadata()?;
        Ok(Look { len: metadata.len(), modified: (metadata.mtime(), metadata.mtime_nsec()) })
    }
}

impl Follower {
    pub(super) fn open(
        path: &Path,
        labels: Labels,
        (timestamp, stages): (TimestampFrom, Stages),
    ) -> io::Result<Follower> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(Error::new(ErrorKind::InvalidInput, "not a regular file"));
        }
        let mut follower = Follower {
            path: path.to_path_buf(),
            id: FileId { device: metadata.dev(), inode: metadata.ino() },
            file,
            labels,
            stamper: Stamper::new(timestamp),
            stages,
            offset: 0,
            buffer: Vec::new(),
            skipping: false,
            head: (0, head_hash(&[])),
            backoff: None,
            let_go: None,
            exhausted: None,
        };
        follower.learn_head()?;
        Ok(follower)
    }

    pub(super) fn id(&self) -> FileId {
        self.id
    }

    pub(super) fn position(&self) -> Position {
        Position {
            path: self.path.clone(),
            id: self.id,
            head_bytes: self.head.0,
            head_hash: self.head.1,
            offset: self.offset,
            skipping: self.skipping,
        }
    }

    /// Goes on where a remembered position says, if this is still the same file.
    pub(super) fn resume(&mut self, position: &Position) -> bool {
        let same = self.id == position.id
            && self.head_is((position.head_bytes, position.head_hash)).unwrap_or(false)
            && self.file.metadata().is_ok_and(|metadata| position.offset <= metadata.len());
        if same {
            self.offset = position.offset;
            self.skipping = position.skipping;
        }
        same
    }

    /// Says under which path the file was found first.
    pub(super) fn set_path(&mut self, path: PathBuf) {
        self.path = path;
    }

    /// Whether the file has no name any more.
    pub(super) fn is_removed(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
    }

    pub(super) fn skip_to_end(&mut self) {
        self.offset = self.file.metadata().map_or(0, |metadata| metadata.len());
    }

    /// Notices that the path leads elsewhere.
    pub(super) fn check_path(&mut self, now: Instant, linger: Duration) {
        if id_at(&self.path) == Some(self.id) {
            self.let_go = None;
        } else {
            self.let_go(now, linger);
        }
    }

    /// Ends with the file's end, once it has been silent for `linger`.
    pub(super) fn let_go(&mut self, now: Instant, linger: Duration) {
        self.let_go.get_or_insert((now, linger));
    }

    pub(super) fn poll(
        &mut self,
        now: Instant,
        now_ns: i64,
        sink: &dyn LogSink,
        stats: &TailStats,
    ) -> Polled {
        if self.backoff.is_some_and(|(until, _)| now < until) {
            return Polled::Idle;
        }
        match self.try_poll(now, now_ns, sink, stats) {
            Ok(polled) => polled,
            Err(error) => {
                stats.unreadable.fetch_add(1, Ordering::Relaxed);
                self.back_off(now, &error.to_string());
                Polled::Idle
            }
        }
    }

    fn try_poll(
        &mut self,
        now: Instant,
        now_ns: i64,
        sink: &dyn LogSink,
        stats: &TailStats,
    ) -> io::Result<Polled> {
        let look = Look::at(&self.file)?;
        if self.exhausted == Some(look) && self.let_go.is_none() {
            return Ok(Polled::Idle);
        }
        self.exhausted = None;
        if self.is_written_anew(look)? {
            // The end of what was there before has no newline to wait for.
            if !self.give_lines(now, now_ns, true, sink, stats) {
                return Ok(Polled::Idle);
            }
            self.start_anew();
        }
        if self.head.0 < HEAD_BYTES_MAX {
            self.learn_head()?;
        }
        let mut moved = false;
        for _ in 0..READS_PER_POLL {
            let read = self.read(look.len)?;
            if !self.give_lines(now, now_ns, false, sink, stats) {
                return Ok(if moved { Polled::Moved } else { Polled::Idle });
            }
            if read == 0 {
                self.exhausted = Some(look);
                return Ok(self.at_end(now, now_ns, moved, sink, stats));
            }
            moved = true;
            if let Some((since, _)) = &mut self.let_go {
                *since = now;
            }
        }
        Ok(Polled::More)
    }

    /// What to do when there is nothing more to read.
    fn at_end(
        &mut self,
        now: Instant,
        now_ns: i64,
        moved: bool,
        sink: &dyn LogSink,
        stats: &TailStats,
    ) -> Polled {
        let silent = self.let_go.is_some_and(|(since, linger)| since + linger <= now);
        // The last line of a file that nobody will write to any more needs no newline.
        if silent && self.give_lines(now, now_ns, true, sink, stats) {
            return Polled::Finished;
        }
        if moved { Polled::Moved } else { Polled::Idle }
    }

    /// A file that is shorter than what was read of it, or begins with other bytes, was emptied
    /// and written anew: logrotate's copytruncate. It is read from its start.
    fn is_written_anew(&self, look: Look) -> io::Result<bool> {
        let read_to = self.offset + self.buffer.len() as u64;
        Ok(look.len < read_to || !self.head_is(self.head)?)
    }

    fn start_anew(&mut self) {
        tracing::debug!(path = %self.path.display(), "the log file was emptied");
        self.offset = 0;
        self.buffer = Vec::new();
        self.skipping = false;
        self.head = (0, head_hash(&[]));
    }

    fn head_is(&self, (bytes, hash): (usize, u64)) -> io::Result<bool> {
        let mut head = [0; HEAD_BYTES_MAX];
        let read = read_some(&self.file, &mut head[..bytes.min(HEAD_BYTES_MAX)], 0)?;
        Ok(read == bytes && head_hash(&head[..read]) == hash)
    }

    fn learn_head(&mut self) -> io::Result<()> {
        let mut head = [0; HEAD_BYTES_MAX];
        let read = read_some(&self.file, &mut head, 0)?;
        self.head = (read, head_hash(&head[..read]));
        Ok(())
    }

    /// Appends to the buffer what comes behind it in the file, which is `len` long.
    fn read(&mut self, len: u64) -> io::Result<usize> {
        let kept = self.buffer.len();
        let at = self.offset + kept as u64;
        let wanted = usize::try_from(len.saturating_sub(at)).unwrap_or(READ_BYTES).min(READ_BYTES);
        if wanted == 0 {
            return Ok(0);
        }
        self.buffer.resize(kept + wanted, 0);
        let read = read_some(&self.file, &mut self.buffer[kept..], at);
        self.buffer.truncate(kept + *read.as_ref().unwrap_or(&0));
        read
    }

    /// Gives the whole lines of the buffer to the sink; with `all`, what is behind them too.
    /// Whether the sink took them; if not, everything stays as it was.
    fn give_lines(
        &mut self,
        now: Instant,
        now_ns: i64,
        all: bool,
        sink: &dyn LogSink,
        stats: &TailStats,
    ) -> bool {
        let mut stamper = self.stamper.clone();
        let cut = cut_lines(&self.buffer, self.skipping, all);
        let mut streams: Vec<(Labels, Vec<LogEntry>)> = Vec::new();
        for line in &cut.lines {
            let ts_ns = stamper.stamp(line, now_ns);
            let Some((labels, mut entry)) =
                staged(&mut self.stages, &self.labels, line, ts_ns, now_ns)
            else {
                continue;
            };
            add_level(&labels, &mut entry);
            match streams.iter_mut().find(|(known, _)| *known == labels) {
                Some((_, entries)) => entries.push(entry),
                None => streams.push((labels, vec![entry])),
            }
        }
        // Streams that were taken before one is refused come again with it: that is what the
        // sink asks for.
        for (labels, entries) in &streams {
            if let Err(error) = sink.push(labels, entries) {
                stats.refused_pushes.fetch_add(1, Ordering::Relaxed);
                self.back_off(now, &error);
                return false;
            }
            let bytes: usize = entries.iter().map(|entry| entry.line.len()).sum();
            stats.lines.fetch_add(entries.len() as u64, Ordering::Relaxed);
            stats.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        }
        stats.cut_lines.fetch_add(cut.too_long, Ordering::Relaxed);
        let (consumed, skipping) = (cut.consumed, cut.skipping);
        self.stamper = stamper;
        self.backoff = None;
        self.offset += consumed as u64;
        self.skipping = skipping;
        self.buffer.drain(..consumed);
        if self.buffer.is_empty() {
            // An idle file keeps no buffer.
            self.buffer = Vec::new();
        }
        true
    }

    fn back_off(&mut self, now: Instant, error: &str) {
        let pause = self.backoff.map_or(BACKOFF_FIRST, |(_, last)| (last * 2).min(BACKOFF_MAX));
        tracing::warn!(
            path = %self.path.display(), %error, pause_ms = pause.as_millis() as u64,
            "lines of a log file wait"
        );
        self.backoff = Some((now + pause, pause));
    }
}

/// What a line becomes, and its stream; `None` when a stage drops it.
fn staged(
    stages: &mut Stages,
    stream: &Labels,
    line: &[u8],
    ts_ns: i64,
    now_ns: i64,
) -> Option<(Labels, LogEntry)> {
    if stages.is_empty() {
        let entry = LogEntry { ts_ns, line: line.to_vec(), metadata: Labels::default() };
        return Some((stream.clone(), entry));
    }
    let item = stages.run(stream, line, ts_ns, now_ns)?;
    let pairs = |texts: &std::collections::BTreeMap<String, String>| {
        Labels::from_pairs(texts.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    };
    let (labels, metadata) = (pairs(&item.labels), pairs(&item.metadata));
    Some((labels, LogEntry { ts_ns: item.ts_ns, line: item.line.into_bytes(), metadata }))
}

struct Cut<'a> {
    lines: Vec<&'a [u8]>,
    too_long: u64,
    consumed: usize,
    skipping: bool,
}

/// Splits a buffer into lines. A line longer than `LINE_BYTES_MAX` is cut there, and the rest of
/// it is skipped, over as many buffers as it takes.
fn cut_lines(buffer: &[u8], mut skipping: bool, all: bool) -> Cut<'_> {
    let (mut lines, mut too_long, mut consumed) = (Vec::new(), 0, 0);
    loop {
        let rest = &buffer[consumed..];
        let newline = rest.iter().position(|&byte| byte == b'\n');
        let line = &rest[..newline.unwrap_or(rest.len())];
        let whole = newline.is_some() || (all && !rest.is_empty());
        if skipping {
            consumed += newline.map_or(rest.len(), |at| at + 1);
            skipping = newline.is_none();
        } else if line.len() > LINE_BYTES_MAX {
            lines.push(&line[..LINE_BYTES_MAX]);
            too_long += 1;
            skipping = true;
            consumed += LINE_BYTES_MAX;
        } else if whole {
            lines.push(line);
            consumed += line.len() + usize::from(newline.is_some());
        } else {
            return Cut { lines, too_long, consumed, skipping };
        }
        if consumed == buffer.len() {
            return Cut { lines, too_long, consumed, skipping };
        }
    }
}

/// Fills as much of `out` as the file has from `offset` on.
fn read_some(file: &File, out: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < out.len() {
        match file.read_at(&mut out[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
