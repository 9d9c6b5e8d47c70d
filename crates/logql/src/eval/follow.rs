//! One log query over lines as they arrive, for `tail`: no blocks, no order, no limit.

use super::EvalError;
use super::logs::LogRow;
use crate::ast::Expr;
use crate::pipeline::Pipeline;
use crate::pipeline::labels::{Category, LabelSet, LineLabels};
use vigie_model::{Labels, LogEntry, Matcher};

/// A log query, ready to look at lines.
pub struct Follower {
    matchers: Vec<Matcher>,
    pipeline: Pipeline,
    labels: LineLabels,
    line: Vec<u8>,
}

/// A line that the query wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// All labels.
    pub labels: LabelSet,
    /// The stream's own labels, without those dropped or replaced.
    pub stream_labels: LabelSet,
    /// The line, as the pipeline left it.
    pub row: LogRow,
}

impl Follower {
    /// Compiles a log query.
    ///
    /// # Errors
    /// A metric query, or a stage that cannot work.
    pub fn new(expr: &Expr) -> Result<Follower, EvalError> {
        let Expr::Log(log) = expr else {
            return Err(EvalError::Kind("only log queries can be followed"));
        };
        Ok(Follower {
            matchers: log.matchers.clone(),
            pipeline: Pipeline::new(&log.stages)?,
            labels: LineLabels::default(),
            line: Vec::new(),
        })
    }

    /// What a stream must be for its lines to be wanted.
    pub fn matchers(&self) -> &[Matcher] {
        &self.matchers
    }

    /// Runs a line of a stream that matches through the pipeline; `None` drops it.
    pub fn look(&mut self, stream: &Labels, entry: &LogEntry) -> Option<Followed> {
        self.line.clear();
        self.line.extend_from_slice(&entry.line);
        self.labels.start(stream, &entry.metadata);
        // A line is looked at when it comes.
        self.pipeline.set_now(entry.ts_ns);
        if !self.pipeline.run(entry.ts_ns, &mut self.line, &mut self.labels) {
            return None;
        }
        Some(Followed {
            labels: self.labels.all(),
            stream_labels: self.labels.of(Category::Stream),
            row: LogRow {
                ts_ns: entry.ts_ns,
                line: self.line.clone(),
                structured_metadata: self.labels.of(Category::Metadata),
                parsed: self.labels.of(Category::Parsed),
            },
        })
    }
}
