//! Follows log files: what is appended to them reaches the store, once it is a line.
//!
//! [`Tailer`] expands globs every few seconds, follows every file it finds by device and inode,
//! and gives whole lines to a [`LogSink`]. It notices rotation by rename (the old file is read to
//! its end, then the new one from its start), rotation by copytruncate (a file that became shorter
//! or begins with other bytes is read from its start), and files rotated while it did not run.
//!
//! Invariants: a position moves only after the sink has taken the lines before it, and is written
//! down only after it has moved, so that a line may come twice after a crash but never not at all;
//! a sink that refuses stops only the file in question, which is tried again with back-off;
//! lines are given on as they are, terminal escapes and bytes that are not UTF-8 included.
//!
//! One worker reads all the files, in the runtime's blocking pool: reading is cheap, the sink is
//! one anyway, and so nothing has to be locked.

mod follow;
mod glob;
mod positions;
mod stamp;

pub use stamp::TimestampFrom;

use crate::stages::Stages;
use follow::{FileId, Follower, Polled};
use glob::Pattern;
use positions::{Position, Positions};
use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use vigie_config::stages::PlacedStage;
use vigie_model::{Labels, LogEntry};

/// Most files followed at one time; more are left out, with a warning.
pub const FILES_MAX: usize = 1024;
/// The label that names the file of a line.
pub const FILENAME: &str = "filename";
/// Positions are written down at most this often; after a crash the lines of this long may come again.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// Names that end so are what logrotate has packed, not logs.
const PACKED: [&str; 4] = [".gz", ".bz2", ".xz", ".zst"];

/// Takes the lines. Called from a thread that may block.
pub trait LogSink: Send + Sync {
    /// Stores entries of one stream and returns when they need not be sent again. Entries that can
    /// never be stored are the sink's to count: an error means "send all of these again, later".
    fn push(&self, labels: &Labels, entries: &[LogEntry]) -> Result<(), String>;
}

/// Where a file without a remembered position is read from when the tailer starts.
/// Files that appear later are read from their start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartAt {
    /// Its first byte, as promtail does.
    #[default]
    Beginning,
    /// Its end: only what is written from now on.
    End,
}

/// Some files and what their lines are labelled with.
#[derive(Clone, Debug, PartialEq)]
pub struct TailSource {
    /// Globs: `*`, `?`, `[a-z]`, `{a,b}` inside a name, `**` for any number of directories.
    pub paths: Vec<String>,
    /// Globs of files to leave out.
    pub exclude: Vec<String>,
    /// The labels of the stream; `filename` is added unless it is here.
    pub labels: Labels,
    /// What is made of the lines, in order.
    pub stages: Vec<PlacedStage>,
    /// Where the instant of a line comes from.
    pub timestamp: TimestampFrom,
    /// Where new files are read from at the start.
    pub start_at: StartAt,
}

/// What to follow and how.
#[derive(Clone, Debug)]
pub struct TailConfig {
    /// The files; one that several sources name belongs to the first.
    pub sources: Vec<TailSource>,
    /// Where the positions are remembered.
    pub positions_path: PathBuf,
    /// How often the files are looked at.
    pub poll: Duration,
    /// How often the globs are expanded.
    pub rescan: Duration,
    /// How long a file that was renamed or removed must be silent before it is let go.
    pub rotated_linger: Duration,
}

impl TailConfig {
    /// The usual intervals.
    pub fn new(sources: Vec<TailSource>, positions_path: impl Into<PathBuf>) -> TailConfig {
        TailConfig {
            sources,
            positions_path: positions_path.into(),
            poll: Duration::from_millis(250),
            rescan: Duration::from_secs(3),
            rotated_linger: Duration::from_secs(5),
        }
    }
}

impl TailConfig {
    /// Whether a tailer can be made of it.
    pub fn check(&self) -> Result<(), TailError> {
        patterns(&self.sources).map(drop)
    }
}

/// Why a tailer cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TailError {
    /// A glob is not one.
    #[error("the path pattern {pattern:?} cannot be used: {reason}")]
    Pattern {
        /// The glob as written.
        pattern: String,
        /// Why not.
        reason: String,
    },
    /// A stage is not one.
    #[error("{0}")]
    Stage(String),
}

/// What a tailer has done, readable while it runs.
#[derive(Debug, Default)]
pub struct TailStats {
    /// Files followed now.
    pub files: AtomicU64,
    /// Lines that the sink took.
    pub lines: AtomicU64,
    /// Their bytes.
    pub bytes: AtomicU64,
    /// Lines cut because they exceeded `LINE_BYTES_MAX`.
    pub cut_lines: AtomicU64,
    /// Pushes that the sink refused.
    pub refused_pushes: AtomicU64,
    /// Files that could not be opened or read.
    pub unreadable: AtomicU64,
}

/// Follows files until it is told to stop.
pub struct Tailer {
    config: TailConfig,
    sources: Vec<Patterns>,
    sink: Arc<dyn LogSink>,
    positions: Positions,
    followers: Vec<Follower>,
    warned: HashSet<PathBuf>,
    next_scan: Option<Instant>,
    next_save: Option<Instant>,
    moved: bool,
    first_scan: bool,
    stats: Arc<TailStats>,
}

struct Patterns {
    paths: Vec<Pattern>,
    exclude: Vec<Pattern>,
}

fn patterns(sources: &[TailSource]) -> Result<Vec<Patterns>, TailError> {
    let of = |source: &TailSource| {
        let paths = Pattern::parse_all(&source.paths)?;
        Stages::new(&source.stages).map_err(TailError::Stage)?;
        Ok(Patterns { paths, exclude: Pattern::parse_all(&source.exclude)? })
    };
    sources.iter().map(of).collect()
}

impl Tailer {
    /// Checks the globs and reads the remembered positions. A positions file that cannot be read
    /// is a warning: everything is then read as if new.
    pub fn new(config: TailConfig, sink: Arc<dyn LogSink>) -> Result<Tailer, TailError> {
        let sources = patterns(&config.sources)?;
        let positions = Positions::load(&config.positions_path);
        Ok(Tailer {
            config,
            sources,
            sink,
            positions,
            followers: Vec::new(),
            warned: HashSet::new(),
            next_scan: None,
            next_save: None,
            moved: false,
            first_scan: true,
            stats: Arc::default(),
        })
    }

    /// The same, counting on where another stopped.
    pub fn with_stats(self, stats: Arc<TailStats>) -> Tailer {
        Tailer { stats, ..self }
    }

    /// What it has done so far.
    pub fn stats(&self) -> Arc<TailStats> {
        self.stats.clone()
    }

    /// Follows until `shutdown` is ready, then remembers where it stands.
    pub async fn run(mut self, shutdown: impl Future<Output = ()> + Send) {
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let pause = self.config.poll;
            let polled = tokio::task::spawn_blocking(move || {
                let busy = self.poll(Instant::now());
                (self, busy)
            });
            let busy = match polled.await {
                Ok((tailer, busy)) => {
                    self = tailer;
                    busy
                }
                Err(error) => {
                    tracing::error!(%error, "the log tailer has died");
                    return;
                }
            };
            let pause = if busy { Duration::ZERO } else { pause };
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
        let saved = tokio::task::spawn_blocking(move || self.remember());
        if let Err(error) = saved.await {
            tracing::error!(%error, "the log tailer has died");
        }
    }

    /// Looks at every file once; whether one has more to read right now.
    fn poll(&mut self, now: Instant) -> bool {
        if self.next_scan.is_none_or(|at| at <= now) {
            self.scan(now);
            self.next_scan = Some(now + self.config.rescan);
        }
        let (mut busy, mut moved) = (false, false);
        let mut kept = Vec::with_capacity(self.followers.len());
        for mut follower in std::mem::take(&mut self.followers) {
            match follower.poll(now, now_ns(), &*self.sink, &self.stats) {
                Polled::More => (busy, moved) = (true, true),
                Polled::Moved => moved = true,
                Polled::Idle => {}
                Polled::Finished => {
                    moved = true;
                    // A file that only has another name may fit a glob under that name, too.
                    if follower.is_removed() {
                        self.positions.forget(follower.id());
                    } else {
                        self.positions.set(follower.position());
                    }
                    continue;
                }
            }
            kept.push(follower);
        }
        self.followers = kept;
        self.stats.files.store(self.followers.len() as u64, Ordering::Relaxed);
        self.moved |= moved;
        if self.moved && self.next_save.is_none_or(|at| at <= now) {
            self.remember();
            self.next_save = Some(now + SAVE_EVERY);
        }
        busy
    }

    fn remember(&mut self) {
        self.moved = false;
        for follower in &self.followers {
            self.positions.set(follower.position());
        }
        if let Err(error) = self.positions.save(&self.config.positions_path) {
            let path = self.config.positions_path.display();
            tracing::warn!(%path, %error, "positions of log files cannot be remembered");
        }
    }

    /// Expands the globs: new files are followed, those no longer at their path are let go.
    fn scan(&mut self, now: Instant) {
        for follower in &mut self.followers {
            follower.check_path(now, self.config.rotated_linger);
        }
        if self.first_scan {
            self.take_up_rotated(now);
        }
        for at in 0..self.sources.len() {
            let patterns = &self.sources[at];
            let mut paths = Vec::new();
            for pattern in &patterns.paths {
                pattern.expand(&mut paths, FILES_MAX);
            }
            let excluded = |path: &PathBuf| {
                patterns.exclude.iter().any(|pattern| pattern.matches(path)) || is_packed(path)
            };
            paths.retain(|path| !excluded(path));
            for path in paths {
                self.consider(at, &path);
            }
        }
        self.first_scan = false;
    }

    /// Files that were being followed when the last tailer stopped and have since got another name.
    fn take_up_rotated(&mut self, now: Instant) {
        for position in self.positions.all() {
            if id_at(&position.path) == Some(position.id) {
                continue;
            }
            let Some(source) = self.source_of(&position.path) else { continue };
            let Some(path) = renamed(&position) else {
                self.positions.forget(position.id);
                continue;
            };
            let labels = self.labels(source, &position.path);
            let handling = self.handling(source);
            if let Ok(mut follower) = Follower::open(&path, labels, handling)
                && follower.resume(&position)
            {
                follower.set_path(position.path);
                follower.let_go(now, self.config.rotated_linger);
                self.followers.push(follower);
            }
        }
    }

    fn source_of(&self, path: &Path) -> Option<usize> {
        self.sources.iter().position(|patterns| {
            patterns.paths.iter().any(|pattern| pattern.matches(path))
                && !patterns.exclude.iter().any(|pattern| pattern.matches(path))
        })
    }

    /// Follows a path unless its file is followed already.
    fn consider(&mut self, source: usize, path: &Path) {
        let Some(id) = id_at(path) else { return };
        if self.followers.iter().any(|follower| follower.id() == id) {
            return;
        }
        if self.followers.len() >= FILES_MAX {
            if self.warned.insert(path.to_path_buf()) {
                let path = path.display();
                tracing::warn!(%path, "not followed: {FILES_MAX} log files are already");
            }
            return;
        }
        let labels = self.labels(source, path);
        let start_at = self.config.sources[source].start_at;
        match Follower::open(path, labels, self.handling(source)) {
            Ok(mut follower) => {
                let known = self.positions.get(follower.id());
                let resumed = known.is_some_and(|position| follower.resume(&position));
                if !resumed && self.first_scan && start_at == StartAt::End {
                    follower.skip_to_end();
                }
                self.warned.remove(path);
                self.followers.push(follower);
            }
            Err(error) => {
                if self.warned.insert(path.to_path_buf()) {
                    self.stats.unreadable.fetch_add(1, Ordering::Relaxed);
                    let path = path.display();
                    tracing::warn!(%path, %error, "a log file cannot be read");
                }
            }
        }
    }

    /// What becomes of the lines of a source, for one file.
    fn handling(&self, source: usize) -> (TimestampFrom, Stages) {
        let source = &self.config.sources[source];
        // They were compiled when the tailer was made.
        (source.timestamp, Stages::new(&source.stages).unwrap_or_default())
    }

    fn labels(&self, source: usize, path: &Path) -> Labels {
        let labels = &self.config.sources[source].labels;
        if labels.get(FILENAME).is_some() {
            return labels.clone();
        }
        let mut builder = labels.to_builder();
        builder.set(FILENAME, path.to_string_lossy().as_ref());
        builder.build()
    }
}

fn is_packed(path: &Path) -> bool {
    let name = path.as_os_str().as_encoded_bytes();
    PACKED.iter().any(|suffix| name.ends_with(suffix.as_bytes()))
}

/// The regular file that a path leads to.
fn id_at(path: &Path) -> Option<FileId> {
    let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    Some(FileId { device: metadata.dev(), inode: metadata.ino() })
}

/// Where in its directory the file of a position is now.
fn renamed(position: &Position) -> Option<PathBuf> {
    let entries = fs::read_dir(position.path.parent()?).ok()?;
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.find(|path| id_at(path) == Some(position.id))
}

fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
