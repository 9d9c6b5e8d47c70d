//! The two engines as the rest of the program sees them.
//!
//! [`Engine`] is the one trait: metrics and logs go in, questions in either language come out.
//! [`Embedded`] joins the languages (which know no store) to the stores (which know no language).
//! A later `cluster` answers the same trait from an existing Prometheus- or Loki-compatible cluster.
//!
//! Every method blocks; callers on an async runtime hand the call to a thread that may block.
//! What `append` and `push` acknowledge is durable to the degree that [`Durability`] names.

#![forbid(unsafe_code)]

mod cache;
mod embedded;
mod error;
mod queries;

pub use embedded::{Embedded, EmbeddedOptions};
pub use error::{EngineError, QueryError, QueryErrorKind};
pub use queries::{About, Queries, QueryList, QueryStats, QueryView, Ticket};
pub use vigie_disk::Progress;
pub use vigie_promql::{Account, Detail, NodeCost};

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use vigie_model::{
    Direction, Exemplar, Labels, LogEntry, LogRange, Matcher, Pushed, Row, Selection, SeriesId,
    TimeRange,
};

/// How durable an acknowledged write is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// On stable storage before the call returns: what somebody pushed to us.
    Synced,
    /// In the operating system's hands before the call returns, on stable storage within a second:
    /// survives `kill -9` at once and a power cut after a second. What we collected ourselves.
    Written,
}

/// What became of appended samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AppendReport {
    /// Stored now.
    pub appended: u64,
    /// Already there with the same value.
    pub duplicates: u64,
    /// Refused: there with another value, out of order, or too old.
    pub refused: u64,
}

/// What became of a push of samples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SamplesReport {
    /// Floats that are stored: now, or before with the same value.
    pub samples: u64,
    /// Native histograms that are stored, likewise.
    pub histograms: u64,
    /// Exemplars that are stored, likewise. Those that are refused are no reason to refuse a push:
    /// Prometheus tells nobody either.
    pub exemplars: u64,
    /// Why some were refused, in Prometheus' words, the first reasons one per line; the rest is
    /// stored, and sending the push again will not help.
    pub refusal: Option<String>,
}

/// What became of pushed lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushReport {
    /// Stored now.
    pub appended: u64,
    /// Already there.
    pub duplicates: u64,
    /// Why some were refused, in Loki's words; the rest of the push is stored.
    pub refusal: Option<String>,
}

/// Lines of one stream on their way in.
#[derive(Clone, Copy, Debug)]
pub struct PushBatch<'a> {
    /// The stream.
    pub labels: &'a Labels,
    /// Its lines.
    pub entries: &'a [LogEntry],
}

/// How much of a stream lies in a range, about: what the range only touches may count whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogVolume {
    /// The stream.
    pub labels: Labels,
    /// Its lines.
    pub entries: u64,
    /// The bytes of its lines.
    pub bytes: u64,
    /// How many files it stands in.
    pub chunks: u64,
}

/// A request to delete lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDeletion {
    /// Its number.
    pub id: u64,
    /// When it came, in milliseconds.
    pub created_ms: i64,
    /// The selector and the line filters, as LogQL.
    pub query: String,
    /// Which instants.
    pub range: LogRange,
    /// Whether the lines have gone from disk.
    pub is_done: bool,
}

/// Sees lines as they are stored: who follows them, who counts them.
///
/// It is told after a push is durable and before the push is answered, so it must be quick and must
/// not push itself. Lines of a push that were there already, or that the store refused while it
/// took the rest, are among them.
pub trait LogObserver: Send + Sync {
    /// These were pushed.
    fn stored(&self, batches: &[PushBatch<'_>]);
}

/// The limits of one question.
#[derive(Clone, Default)]
pub struct QueryOptions {
    /// When to give up; [`QueryLimits::timeout_ms`](vigie_model::limits::QueryLimits) from now when
    /// not given.
    pub deadline: Option<Instant>,
    /// Set by the caller when the client has gone.
    pub cancel: Option<Arc<AtomicBool>>,
    /// How far back an instant vector looks, in milliseconds; as configured when not given.
    pub lookback_ms: Option<i64>,
    /// What the question takes is written down here ([`Queries::ask`]); into an account of its own
    /// when not given.
    pub account: Option<Arc<Account>>,
    /// Neither use a kept answer nor keep this one.
    pub no_cache: bool,
    /// Lines closer than this to the last one kept are left out (Loki's `interval`), in nanoseconds;
    /// 0 keeps all.
    pub log_interval_ns: i64,
}

impl QueryOptions {
    /// The deadline, which every question has.
    pub(crate) fn deadline(&self, timeout_ms: u64) -> Option<Instant> {
        let most = Duration::from_millis(timeout_ms);
        self.deadline.or_else(|| Instant::now().checked_add(most))
    }
}

/// The instants a metric question is asked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// One instant, in milliseconds.
    Instant(i64),
    /// From start to end, both included, in milliseconds.
    Range {
        /// First instant.
        start_ms: i64,
        /// Last instant.
        end_ms: i64,
        /// Distance, greater than zero.
        step_ms: i64,
    },
}

/// Sizes and counts for the status page and Vigie's own metrics.
#[derive(Clone, Copy, Debug, Default)]
pub struct EngineStats {
    /// Series the store knows.
    pub series: u64,
    /// Samples appended since start.
    pub samples_appended: u64,
    /// Bytes of metrics on disk.
    pub metrics_bytes: u64,
    /// Runs of samples that are sealed.
    pub metrics_chunks: u64,
    /// The oldest instant of the metrics, in milliseconds.
    pub metrics_oldest_ms: Option<i64>,
    /// The newest.
    pub metrics_newest_ms: Option<i64>,
    /// Streams the log store knows.
    pub streams: u64,
    /// Lines appended since start.
    pub lines_appended: u64,
    /// Bytes of logs on disk.
    pub logs_bytes: u64,
    /// Damaged places of the metrics store that are passed over.
    pub metrics_damaged: u64,
    /// Damaged places of the log store that are passed over.
    pub logs_damaged: u64,
    /// What is pushed to the metrics store is refused because the disk is full.
    pub metrics_paused: bool,
    /// The log store refuses lines because the disk is full.
    pub logs_paused: bool,
    /// What the disk of the metrics had left when it was last looked at, in bytes.
    pub metrics_free_bytes: Option<u64>,
    /// The same of the logs' disk.
    pub logs_free_bytes: Option<u64>,
    /// Questions.
    pub queries: QueryStats,
}

/// A block of metrics that is put in order for long keeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricsBlock {
    /// Its number; no other block of the store has or had it.
    pub number: u32,
    /// The checksum of its tables.
    pub checksum: u32,
    /// Its first instant, in milliseconds.
    pub min_ms: i64,
    /// Its last instant.
    pub max_ms: i64,
    /// Samples in it, deleted ones included.
    pub samples: u64,
    /// Series in it.
    pub series: u64,
    /// Its parts, each a group of series over some time.
    pub sections: u64,
}

/// Metrics and logs, wherever they are kept.
pub trait Engine: Send + Sync + 'static {
    /// The id of a series, made when it is new.
    fn intern(&self, labels: &Labels) -> Result<SeriesId, EngineError>;
    /// Appends rows; the ids come from [`Engine::intern`].
    fn append(&self, rows: &[Row<'_>], durability: Durability)
    -> Result<AppendReport, EngineError>;
    /// What goes into the keys of [`Engine::push_samples`].
    fn key_seed(&self) -> u64;
    /// Stores samples that somebody pushed.
    fn push_samples(
        &self,
        pushed: &Pushed<'_>,
        durability: Durability,
    ) -> Result<SamplesReport, EngineError>;
    /// Stores exemplars of series whose ids come from [`Engine::intern`]. What is too old or too long is
    /// left out.
    fn append_exemplars(
        &self,
        exemplars: &[(SeriesId, Exemplar)],
        durability: Durability,
    ) -> Result<(), EngineError>;
    /// Whether start timestamps are stored: otherwise nobody need look for them.
    fn stores_starts(&self) -> bool;
    /// Stores when samples began to count: the series, whose ids come from [`Engine::intern`], the
    /// instant of the sample, which is stored already, and the start, both in milliseconds.
    fn append_starts(
        &self,
        starts: &[(SeriesId, i64, i64)],
        durability: Durability,
    ) -> Result<(), EngineError>;
    /// The exemplars of the series that match any of the selectors, by series, in order of their
    /// labels and times.
    fn exemplars(
        &self,
        selectors: &[Vec<Matcher>],
        range: TimeRange,
    ) -> Result<Vec<(Labels, Vec<Exemplar>)>, EngineError>;
    /// The questions that are being answered.
    fn queries(&self) -> &Arc<Queries>;
    /// The samples of a range of the series that fulfil all matchers, as columns.
    fn select_metrics(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<Selection, EngineError>;
    /// Answers a PromQL question.
    fn query_metrics(
        &self,
        expr: &vigie_promql::Expr,
        when: When,
        options: &QueryOptions,
    ) -> Result<vigie_promql::Answer, QueryError>;
    /// The label names of the series that match any of the selectors (all series when there is none).
    fn metric_label_names(
        &self,
        selectors: &[Vec<Matcher>],
        range: TimeRange,
    ) -> Result<Vec<String>, EngineError>;
    /// The values of one label, likewise.
    fn metric_label_values(
        &self,
        name: &str,
        selectors: &[Vec<Matcher>],
        range: TimeRange,
    ) -> Result<Vec<String>, EngineError>;
    /// The label sets of the series that match any of the selectors.
    fn metric_series(
        &self,
        selectors: &[Vec<Matcher>],
        range: TimeRange,
    ) -> Result<Vec<Labels>, EngineError>;

    /// Stores lines.
    fn push(
        &self,
        batches: &[PushBatch<'_>],
        durability: Durability,
    ) -> Result<PushReport, EngineError>;
    /// Answers a LogQL question that yields lines.
    fn query_logs(
        &self,
        expr: &vigie_logql::Expr,
        range: LogRange,
        direction: Direction,
        limit: usize,
        options: &QueryOptions,
    ) -> Result<vigie_logql::Streams, QueryError>;
    /// Answers a LogQL question that yields numbers; the instants are in nanoseconds.
    fn query_log_metrics(
        &self,
        expr: &vigie_logql::Expr,
        when: LogWhen,
        options: &QueryOptions,
    ) -> Result<vigie_logql::Value, QueryError>;
    /// The label names of streams.
    fn log_label_names(
        &self,
        selector: &[Matcher],
        range: LogRange,
    ) -> Result<Vec<String>, EngineError>;
    /// The values of one stream label.
    fn log_label_values(
        &self,
        name: &str,
        selector: &[Matcher],
        range: LogRange,
    ) -> Result<Vec<String>, EngineError>;
    /// The label sets of the streams that match any of the selectors.
    fn log_series(
        &self,
        selectors: &[Vec<Matcher>],
        range: LogRange,
    ) -> Result<Vec<Labels>, EngineError>;

    /// Deletes the samples of a range of the metric series that fulfil all matchers: durable, and
    /// seen by no query, when this returns. Returns how many series are affected.
    fn delete_series(&self, matchers: &[Matcher], range: TimeRange) -> Result<usize, EngineError>;
    /// Leaves deleted samples out of all files, so that their room is free. May take minutes.
    fn clean_tombstones(&self) -> Result<(), EngineError>;
    /// Makes a snapshot of the metrics, which takes no room until the store removes what it has,
    /// and returns its name below `snapshots/` of the data directory. With `skip_head` the newest
    /// two hours or so are not in it.
    fn snapshot(&self, skip_head: bool) -> Result<String, EngineError>;

    /// The blocks of metrics, oldest first.
    fn metric_blocks(&self) -> Vec<MetricsBlock>;

    /// How much of each stream that fulfils all matchers lies in a range.
    fn log_volumes(
        &self,
        selector: &[Matcher],
        range: LogRange,
    ) -> Result<Vec<LogVolume>, EngineError>;
    /// The shapes of the lines of a selector, counted in steps of seconds.
    fn log_patterns(
        &self,
        selector: &[Matcher],
        range: LogRange,
        step_s: i64,
        options: &QueryOptions,
    ) -> Result<Vec<vigie_logql::PatternCount>, QueryError>;
    /// Deletes the lines of a range that a query of a selector and line filters finds: durable, and
    /// seen by nobody, when this returns the number of the request.
    fn delete_logs(&self, expr: &vigie_logql::Expr, range: LogRange) -> Result<u64, EngineError>;
    /// The requests to delete lines, oldest first.
    fn log_deletions(&self) -> Vec<LogDeletion>;
    /// Takes a request back, as far as its lines are still there; whether there was one to take.
    fn cancel_log_deletion(&self, id: u64) -> Result<bool, EngineError>;
    /// From now on `observer` sees what is pushed.
    fn observe_logs(&self, observer: Arc<dyn LogObserver>);

    /// Does what has to be done once a second: syncs, seals, retention.
    fn tick(&self, now_ms: i64) -> Result<(), EngineError>;
    /// Does one step of what has no hurry: what was sealed is put in order for long
    /// keeping, and deleted lines leave the disk. `Ok(true)`: there may be more. `pace` is told the bytes just read or written, may
    /// sleep, and ends the step by saying `false`.
    fn compact(&self, now_ms: i64, pace: &mut dyn FnMut(u64) -> bool) -> Result<bool, EngineError>;
    /// Sizes and counts.
    fn stats(&self) -> EngineStats;
}

/// The instants a metric question over logs is asked at, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogWhen {
    /// One instant.
    Instant(i64),
    /// From start to end, both included.
    Range {
        /// First instant.
        start_ns: i64,
        /// Last instant.
        end_ns: i64,
        /// Distance, greater than zero.
        step_ns: i64,
    },
}
