//! Evaluation: where lines come from, what a query may cost, and how it can fail.

mod aggregate;
pub(crate) mod binary;
mod columns;
pub(crate) mod fields;
mod filters;
pub(crate) mod follow;
mod groups;
pub(crate) mod logs;
pub(crate) mod metric;
pub(crate) mod patterns;
mod prefilter;
mod recall;
mod samples;
pub(crate) mod value;
mod window;

use crate::ast::{Expr, RangeAggregation};
use crate::parse::ParseError;
use crate::pipeline::{Pipeline, Sample};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use vigie_model::blocks::{Direction, LogBlocks, LogRange, Needle};
use vigie_model::limits::{
    LOG_ANSWER_BYTES_MAX, LOG_ENTRIES_PER_QUERY_MAX, QUERY_MEMORY_BYTES_MAX, QUERY_SAMPLES_MAX,
};
use vigie_model::{Matcher, ReadError};

/// A store of log lines.
pub trait LogSource: Send + Sync {
    /// The blocks whose streams fulfil all `matchers` and that touch `range`, as
    /// `vigie_model::blocks::LogBlocks` orders them. Every wanted line contains every needle.
    fn select(
        &self,
        matchers: &[Matcher],
        range: LogRange,
        direction: Direction,
        needles: &[Needle],
    ) -> Result<Box<dyn LogBlocks>, ReadError>;
}

/// What a query may cost.
#[derive(Clone, Debug)]
pub struct Options {
    /// Most lines that a log query may be asked for.
    pub entries_max: usize,
    /// Most lines that a query may rebuild and look at.
    pub lines_scanned_max: u64,
    /// Most samples that a metric query may hold, each of eight bytes, with what series take.
    pub samples_max: u64,
    /// Most bytes of lines and labels that a log query may answer.
    pub answer_bytes_max: usize,
    /// Lines closer than this to the last one kept are left out of a log query; 0 keeps all.
    pub interval_ns: i64,
    /// What `now` answers in a template.
    pub now_ns: i64,
    /// When to give up.
    pub deadline: Option<Instant>,
    /// Set from outside to stop the query.
    pub cancel: Option<Arc<AtomicBool>>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            entries_max: LOG_ENTRIES_PER_QUERY_MAX,
            lines_scanned_max: 500_000_000,
            samples_max: QUERY_SAMPLES_MAX.min(QUERY_MEMORY_BYTES_MAX / 8),
            answer_bytes_max: LOG_ANSWER_BYTES_MAX,
            interval_ns: 0,
            now_ns: 0,
            deadline: None,
            cancel: None,
        }
    }
}

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// The query parses, but a stage of it cannot work.
    #[error(transparent)]
    Stage(#[from] ParseError),
    /// A log query where a metric query is needed, or the other way round.
    #[error("{0}")]
    Kind(&'static str),
    /// Lines with errors in a metric query. Loki's text.
    #[error(
        "pipeline error: '{error}' for series: '{series}'.\nUse a label filter to intentionally \
         skip this error. (e.g | __error__!=\"{error}\").\nTo skip all potential errors you can \
         match empty errors.(e.g __error__=\"\")\nThe label filter can also be specified after \
         unwrap. (e.g | unwrap latency | __error__=\"\" )\n"
    )]
    Pipeline {
        /// The value of `__error__`.
        error: String,
        /// The series.
        series: String,
    },
    /// Two series that cannot be told apart, or any other impossible pairing.
    #[error("{0}")]
    Matching(String),
    /// More lines asked for than allowed. Loki's text.
    #[error(
        "max entries limit per query exceeded, limit > max_entries_limit_per_query ({asked} > {most})"
    )]
    Entries {
        /// Lines asked for.
        asked: usize,
        /// Lines allowed.
        most: usize,
    },
    /// More steps than allowed. Loki's text.
    #[error(
        "exceeded maximum resolution of 11,000 points per time series. Try increasing the value of \
         the step parameter"
    )]
    Points,
    /// More lines looked at than allowed.
    #[error("query looks at more than {0} lines; narrow its selector, its range or its filters")]
    Scanned(u64),
    /// More series and samples than allowed.
    #[error(
        "query holds more than {0} samples, a series counted as {CELLS_PER_SERIES}; sum its series, \
         or narrow its selector, its range or its filters"
    )]
    Samples(u64),
    /// More bytes answered than allowed.
    #[error("the answer is larger than {0} bytes; ask for fewer lines")]
    AnswerBytes(usize),
    /// The deadline passed. Loki's text.
    #[error(
        "request timed out, decrease the duration of the request or add more label matchers (prefer \
         exact match over regex match) to reduce the amount of data processed"
    )]
    Timeout,
    /// The caller stopped the query. Loki's text.
    #[error("the request was cancelled by the client")]
    Canceled,
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Checks what Loki checks after parsing: that every stage can be compiled.
pub fn check(expr: &Expr) -> Result<(), EvalError> {
    match expr {
        Expr::Log(log) => Pipeline::new(&log.stages).map(|_| ()).map_err(EvalError::Stage),
        Expr::Metric(metric) => {
            let mut checked = Ok(());
            metric.each_range(&mut |range: &RangeAggregation| {
                if checked.is_ok() {
                    checked = Pipeline::new(&range.log.stages).and_then(|_| {
                        range.unwrap.as_ref().map_or(Ok(()), |u| Sample::unwrap(u).map(|_| ()))
                    });
                }
            });
            checked.map_err(EvalError::Stage)
        }
    }
}

/// Counts what a query has cost so far.
pub(crate) struct Budget<'a> {
    options: &'a Options,
    lines_scanned: u64,
    /// Work done since the last look at the clock, about in bytes read.
    work: usize,
    /// What series and samples take, in units of eight bytes.
    cells: u64,
}

/// Work between two looks at the clock.
const WORK_PER_LOOK: usize = 512 * 1024;
/// What a line costs besides its bytes.
const WORK_PER_LINE: usize = 1024;
/// What a series takes besides its points, in cells of eight bytes: its labels, and its text in the
/// answer.
const CELLS_PER_SERIES: usize = 192;

impl<'a> Budget<'a> {
    pub(crate) fn new(options: &'a Options) -> Budget<'a> {
        Budget { options, lines_scanned: 0, work: 0, cells: 0 }
    }

    /// When the query is asked.
    pub(crate) fn now_ns(&self) -> i64 {
        self.options.now_ns
    }

    /// Accounts for one more line, of which `bytes` are read.
    pub(crate) fn line(&mut self, bytes: usize) -> Result<(), EvalError> {
        self.lines_scanned += 1;
        if self.lines_scanned > self.options.lines_scanned_max {
            return Err(EvalError::Scanned(self.options.lines_scanned_max));
        }
        self.work(WORK_PER_LINE + bytes)
    }

    /// Accounts for lines of which columns are read.
    pub(crate) fn lines(&mut self, count: usize) -> Result<(), EvalError> {
        self.lines_scanned += count as u64;
        if self.lines_scanned > self.options.lines_scanned_max {
            return Err(EvalError::Scanned(self.options.lines_scanned_max));
        }
        self.work(8 * count)
    }

    /// Accounts for work of about as many bytes, and looks at the clock now and then.
    pub(crate) fn work(&mut self, bytes: usize) -> Result<(), EvalError> {
        self.work += bytes;
        if self.work < WORK_PER_LOOK {
            return Ok(());
        }
        self.work = 0;
        self.look()
    }

    /// Accounts for memory of `cells` times eight bytes that is held to the end.
    pub(crate) fn hold(&mut self, cells: usize) -> Result<(), EvalError> {
        self.cells += cells as u64;
        if self.cells > self.options.samples_max {
            return Err(EvalError::Samples(self.options.samples_max));
        }
        Ok(())
    }

    /// Accounts for a series with as many points.
    pub(crate) fn series(&mut self, points: usize) -> Result<(), EvalError> {
        self.hold(CELLS_PER_SERIES + points)
    }

    /// Looks at the clock and at the cancel flag.
    pub(crate) fn look(&self) -> Result<(), EvalError> {
        if self.options.cancel.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed)) {
            return Err(EvalError::Canceled);
        }
        if self.options.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(EvalError::Timeout);
        }
        Ok(())
    }
}
