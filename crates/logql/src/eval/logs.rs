//! Log queries: the best `limit` lines in time order, grouped by label set.
//!
//! Blocks come best first, so the walk ends at the first block that cannot hold a better line than
//! the worst one kept. Kept lines live in a heap of `limit` entries, whatever the range.

use super::filters::LineFilters;
use super::groups::Groups;
use super::prefilter::Prefilter;
use super::{Budget, EvalError, LogSource, Options};
use crate::ast::{Expr, LogExpr};
use crate::pipeline::labels::{Category, LabelSet, LineLabels};
use crate::pipeline::{Pipeline, required_texts};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use vigie_model::Labels;
use vigie_model::blocks::{Direction, LogBlock, LogBlocks, LogRange, Needle, StreamId};

/// One line of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRow {
    /// Nanoseconds since the epoch.
    pub ts_ns: i64,
    /// The line, as the pipeline left it.
    pub line: Vec<u8>,
    /// Its structured metadata, for `categorize-labels`.
    pub structured_metadata: LabelSet,
    /// What parsers and formatters found, and the error, for `categorize-labels`.
    pub parsed: LabelSet,
}

/// The lines of one label set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// All labels: the stream's, the structured metadata, the parsed ones.
    pub labels: LabelSet,
    /// The stream's own labels, without those dropped or replaced.
    pub stream_labels: LabelSet,
    /// The lines, in the direction asked for.
    pub entries: Vec<LogRow>,
}

/// The answer to a log query, by label set.
pub type Streams = Vec<Stream>;

/// A line among the best so far; the worst is the greatest.
struct Kept {
    key: (i64, u64),
    labels: LabelSet,
    stream_labels: LabelSet,
    row: LogRow,
}

impl Kept {
    /// About what it takes; a label without its text takes 64 bytes, and most are held twice.
    fn bytes(&self) -> usize {
        let labels = self.labels.iter().map(|(name, value)| 128 + name.len() + value.len());
        self.row.line.len() + labels.sum::<usize>()
    }
}

impl PartialEq for Kept {
    fn eq(&self, other: &Kept) -> bool {
        self.key == other.key
    }
}
impl Eq for Kept {}
impl PartialOrd for Kept {
    fn partial_cmp(&self, other: &Kept) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Kept {
    fn cmp(&self, other: &Kept) -> Ordering {
        self.key.cmp(&other.key)
    }
}

/// Answers a log query: at most `limit` lines, the newest first for [`Direction::Backward`].
pub fn query_logs(
    source: &dyn LogSource,
    expr: &Expr,
    range: LogRange,
    direction: Direction,
    limit: usize,
    options: &Options,
) -> Result<Streams, EvalError> {
    let Expr::Log(log) = expr else {
        return Err(EvalError::Kind("a metric query has no lines; ask for its values instead"));
    };
    if limit > options.entries_max {
        return Err(EvalError::Entries { asked: limit, most: options.entries_max });
    }
    if options.interval_ns > 0 {
        return thinned(source, log, range, direction, limit, options).map(grouped);
    }
    best(source, log, range, direction, limit, options).map(grouped)
}

/// The best `limit` lines that are at least an interval apart, whatever their streams, as Loki's
/// `interval` wants them. What follows a line that is kept begins an interval later, so the range
/// is read in pieces that each start there.
fn thinned(
    source: &dyn LogSource,
    log: &LogExpr,
    mut range: LogRange,
    direction: Direction,
    limit: usize,
    options: &Options,
) -> Result<Vec<Kept>, EvalError> {
    let mut kept: Vec<Kept> = Vec::new();
    while kept.len() < limit {
        let piece = best(source, log, range, direction, options.entries_max, options)?;
        let is_last = piece.len() < options.entries_max;
        let mut after: Option<i64> = None;
        for line in piece {
            let ts_ns = line.row.ts_ns;
            let far = after.is_none_or(|after| match direction {
                Direction::Forward => ts_ns >= after,
                Direction::Backward => ts_ns <= after,
            });
            if far && kept.len() < limit {
                after = Some(match direction {
                    Direction::Forward => ts_ns.saturating_add(options.interval_ns),
                    Direction::Backward => ts_ns.saturating_sub(options.interval_ns),
                });
                kept.push(line);
            }
        }
        match (direction, after) {
            (_, None) => break,
            (Direction::Forward, Some(after)) => range.start_ns = after,
            (Direction::Backward, Some(after)) => range.end_ns = after.saturating_add(1),
        }
        if is_last {
            break;
        }
    }
    Ok(kept)
}

/// The best `limit` lines, best first.
fn best(
    source: &dyn LogSource,
    log: &LogExpr,
    range: LogRange,
    direction: Direction,
    limit: usize,
    options: &Options,
) -> Result<Vec<Kept>, EvalError> {
    let mut pipeline = Pipeline::new(&log.stages)?;
    pipeline.set_now(options.now_ns);
    let texts = required_texts(&log.stages);
    let needles: Vec<Needle> = texts.iter().map(|text| Needle(text.to_vec())).collect();
    if limit == 0 || range.end_ns <= range.start_ns {
        return Ok(Vec::new());
    }
    let mut blocks = source.select(&log.matchers, range, direction, &needles)?;
    let mut search = Search {
        pipeline,
        filters: LineFilters::of(&log.stages),
        prefilter: Prefilter::of(&log.stages),
        direction,
        limit,
        kept: BinaryHeap::new(),
        kept_bytes: 0,
        answer_bytes_max: options.answer_bytes_max,
        seen: 0,
        budget: Budget::new(options),
        streams: HashMap::new(),
        labels: LineLabels::default(),
    };
    while let Some(block) = blocks.next_block() {
        search.budget.look()?;
        let block = block?;
        if search.is_beyond(block.as_ref()) {
            break;
        }
        search.block(block.as_ref(), blocks.as_ref())?;
    }
    Ok(search.kept.into_sorted_vec())
}

struct Search<'a> {
    pipeline: Pipeline,
    filters: LineFilters,
    prefilter: Option<Prefilter<'a>>,
    direction: Direction,
    limit: usize,
    kept: BinaryHeap<Kept>,
    kept_bytes: usize,
    answer_bytes_max: usize,
    seen: u64,
    budget: Budget<'a>,
    streams: HashMap<StreamId, Labels>,
    labels: LineLabels,
}

impl Search<'_> {
    /// Smaller is better.
    fn rank(&self, ts_ns: i64) -> i64 {
        match self.direction {
            Direction::Forward => ts_ns,
            Direction::Backward => !ts_ns,
        }
    }

    /// Whether a line at `ts_ns` would be pushed out at once.
    fn too_late(&self, ts_ns: i64) -> bool {
        self.kept.len() >= self.limit
            && self.kept.peek().is_some_and(|worst| self.rank(ts_ns) > worst.key.0)
    }

    fn is_beyond(&self, block: &dyn LogBlock) -> bool {
        let timestamps = block.timestamps_ns();
        let best = match self.direction {
            Direction::Forward => timestamps.first(),
            Direction::Backward => timestamps.last(),
        };
        best.is_some_and(|ts_ns| self.too_late(*ts_ns))
    }

    fn block(&mut self, block: &dyn LogBlock, blocks: &dyn LogBlocks) -> Result<(), EvalError> {
        let rows = block.timestamps_ns().len();
        let mut wanted = vec![true; rows];
        self.filters.apply(block, &mut wanted)?;
        if let Some(prefilter) = &self.prefilter
            && let Some(groups) = Groups::of(block)
        {
            let streams = &mut self.streams;
            let mut of = |id| streams.entry(id).or_insert_with(|| blocks.labels(id)).clone();
            let kind = Some(prefilter.kind());
            let plans = groups.plans(kind, &self.pipeline, &mut of, &mut self.labels);
            prefilter.apply(block, &groups, &plans, &mut wanted)?;
        }
        let mut line = Vec::new();
        for step in 0..rows {
            let row = match self.direction {
                Direction::Forward => step,
                Direction::Backward => rows - 1 - step,
            };
            let ts_ns = block.timestamps_ns()[row];
            if self.too_late(ts_ns) {
                break;
            }
            if wanted[row] {
                block.line(row, &mut line)?;
                self.budget.line(line.len())?;
                self.row(block, blocks, row, &mut line)?;
            }
        }
        Ok(())
    }

    fn row(
        &mut self,
        block: &dyn LogBlock,
        blocks: &dyn LogBlocks,
        row: usize,
        line: &mut Vec<u8>,
    ) -> Result<(), EvalError> {
        let ts_ns = block.timestamps_ns()[row];
        let stream = block.stream(row);
        let stream = self.streams.entry(stream).or_insert_with(|| blocks.labels(stream));
        self.labels.start(stream, &block.metadata(row));
        if !self.pipeline.run(ts_ns, line, &mut self.labels) {
            return Ok(());
        }
        self.seen += 1;
        let kept = Kept {
            key: (self.rank(ts_ns), self.seen),
            labels: self.labels.all(),
            stream_labels: self.labels.of(Category::Stream),
            row: LogRow {
                ts_ns,
                line: std::mem::take(line),
                structured_metadata: self.labels.of(Category::Metadata),
                parsed: self.labels.of(Category::Parsed),
            },
        };
        self.kept_bytes += kept.bytes();
        self.kept.push(kept);
        if self.kept.len() > self.limit
            && let Some(worst) = self.kept.pop()
        {
            self.kept_bytes -= worst.bytes();
        }
        if self.kept_bytes > self.answer_bytes_max {
            return Err(EvalError::AnswerBytes(self.answer_bytes_max));
        }
        Ok(())
    }
}

/// The same lines grouped by their streams' own labels, as `categorize-labels` wants them: what a
/// line adds is in its row.
pub fn categorized(streams: Streams, direction: Direction) -> Streams {
    let mut merged: BTreeMap<String, Stream> = BTreeMap::new();
    for stream in streams {
        let own = stream.stream_labels;
        let target = merged.entry(own.to_string()).or_insert_with(|| Stream {
            labels: own.clone(),
            stream_labels: own,
            entries: Vec::new(),
        });
        target.entries.extend(stream.entries);
    }
    for stream in merged.values_mut() {
        match direction {
            Direction::Forward => stream.entries.sort_by_key(|row| row.ts_ns),
            Direction::Backward => {
                stream.entries.sort_by_key(|row| std::cmp::Reverse(row.ts_ns));
            }
        }
    }
    merged.into_values().collect()
}

/// Groups lines by label set; result streams are ordered by the text of their labels.
fn grouped(kept: Vec<Kept>) -> Streams {
    let mut streams: BTreeMap<String, Stream> = BTreeMap::new();
    for line in kept {
        let stream = streams.entry(line.labels.to_string()).or_insert_with(|| Stream {
            labels: line.labels,
            stream_labels: line.stream_labels,
            entries: Vec::new(),
        });
        stream.entries.push(line.row);
    }
    streams.into_values().collect()
}
