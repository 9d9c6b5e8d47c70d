//! Lines become samples of series: block by block, by columns where the query allows it.

use super::columns::Recall;
use super::filters::LineFilters;
use super::groups::Groups;
use super::metric::{Collected, Steps};
use super::prefilter::Prefilter;
use super::recall::{Memo, Memos, Outcome};
use super::window::only_counts;
use super::{Budget, EvalError};
use crate::ast::{Grouping, RangeAggregation, Stage};
use crate::pipeline::labels::{LabelSet, LineLabels};
use crate::pipeline::{Pipeline, Sample, series_labels};
use std::collections::HashMap;
use std::ops::Range;
use vigie_model::Labels;
use vigie_model::blocks::{LogBlock, LogBlocks, StreamId};

/// Reads the blocks of one range aggregation.
pub(super) struct Reader<'a> {
    pipeline: Pipeline,
    sample: Sample,
    grouping: Option<&'a Grouping>,
    unwrapped: Option<&'a str>,
    filters: LineFilters,
    prefilter: Option<Prefilter<'a>>,
    /// How the outcomes of rows are remembered.
    recall: Option<Recall<'a>>,
    /// Whether a sample needs no line: blocks answer all filters, and lines are counted.
    counts_only: bool,
    labels_fixed: bool,
    /// Whether the columns say which rows pass, and by which labels their series go.
    is_direct: bool,
    steps: Steps,
    range: &'a RangeAggregation,
    series: HashMap<LabelSet, usize>,
    collected: Vec<(LabelSet, Collected)>,
    /// The stream's labels, and its series if its lines without metadata all have the same.
    of_stream: HashMap<StreamId, (Labels, Option<usize>)>,
    labels: LineLabels,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        range: &'a RangeAggregation,
        grouping: Option<&'a Grouping>,
        pipeline: Pipeline,
        sample: Sample,
        steps: Steps,
    ) -> Reader<'a> {
        let stages = &range.log.stages;
        let filters = LineFilters::of(stages);
        let prefilter = Prefilter::of(stages);
        let only_line_filters = stages.iter().all(|stage| matches!(stage, Stage::Line(_)));
        Reader {
            pipeline,
            sample,
            grouping,
            unwrapped: range.unwrap.as_ref().map(|unwrap| unwrap.label.as_str()),
            is_direct: grouping.is_some_and(|grouping| !grouping.without)
                && match &prefilter {
                    Some(prefilter) => prefilter.is_whole(),
                    None => !stages.iter().any(|stage| matches!(stage, Stage::Label(_))),
                },
            prefilter,
            recall: Recall::of(range, grouping),
            counts_only: range.unwrap.is_none()
                && !range.op.starts_with("bytes")
                && only_line_filters
                && !filters.needs_line,
            filters,
            labels_fixed: range.unwrap.is_none() && only_line_filters,
            steps,
            range,
            series: HashMap::new(),
            collected: Vec::new(),
            of_stream: HashMap::new(),
            labels: LineLabels::default(),
        }
    }

    /// The series and what was collected of each.
    pub(super) fn into_collected(self) -> Vec<(LabelSet, Collected)> {
        self.collected
    }

    pub(super) fn block(
        &mut self,
        block: &dyn LogBlock,
        blocks: &dyn LogBlocks,
        budget: &mut Budget<'_>,
    ) -> Result<(), EvalError> {
        let rows = block.timestamps_ns().len();
        let mut wanted = vec![true; rows];
        self.filters.apply(block, &mut wanted)?;
        if !wanted.contains(&true) {
            return Ok(());
        }
        let kind = match (&self.prefilter, &self.recall) {
            (Some(prefilter), _) => Some(prefilter.kind()),
            (None, Some(recall)) => recall.kind,
            (None, None) => return self.lines(block, blocks, &wanted, budget),
        };
        let Some(groups) = Groups::of(block) else {
            return self.lines(block, blocks, &wanted, budget);
        };
        let streams = &mut self.of_stream;
        let mut labels_of =
            |id| streams.entry(id).or_insert_with(|| (blocks.labels(id), None)).0.clone();
        let plans = groups.plans(kind, &self.pipeline, &mut labels_of, &mut self.labels);
        if let Some(prefilter) = &self.prefilter {
            prefilter.apply(block, &groups, &plans, &mut wanted)?;
        }
        let Some(recall) = &self.recall else {
            return self.lines(block, blocks, &wanted, budget);
        };
        let mut memos = Memos::of(recall, block, &groups, &plans)?;
        if self.filters.needs_line {
            self.look(block, &mut wanted, budget)?;
        }
        self.recalled(&mut memos, &groups, (block, blocks), &wanted, budget)
    }

    /// Reads rows one by one.
    fn lines(
        &mut self,
        block: &dyn LogBlock,
        blocks: &dyn LogBlocks,
        wanted: &[bool],
        budget: &mut Budget<'_>,
    ) -> Result<(), EvalError> {
        let mut line = Vec::new();
        for row in (0..wanted.len()).filter(|row| wanted[*row]) {
            let done = self.row(block, blocks, row, &mut line, budget)?;
            budget.line(line.len())?;
            if let Some((at, value)) = done {
                self.sample(at, block.timestamps_ns()[row], value, budget)?;
            }
        }
        Ok(())
    }

    /// Clears the rows whose lines the line filters drop.
    fn look(
        &self,
        block: &dyn LogBlock,
        wanted: &mut [bool],
        budget: &mut Budget<'_>,
    ) -> Result<(), EvalError> {
        let mut line = Vec::new();
        for (row, wanted) in wanted.iter_mut().enumerate().filter(|(_, wanted)| **wanted) {
            block.line(row, &mut line)?;
            budget.line(line.len())?;
            *wanted = self.pipeline.line_passes(&line);
        }
        Ok(())
    }

    /// Reads rows whose outcome repeats that of others with the same values.
    fn recalled(
        &mut self,
        memos: &mut Memos<'_>,
        groups: &Groups<'_>,
        (block, blocks): (&dyn LogBlock, &dyn LogBlocks),
        wanted: &[bool],
        budget: &mut Budget<'_>,
    ) -> Result<(), EvalError> {
        let ts_ns = block.timestamps_ns();
        let counting = only_counts(self.range.op, self.range.unwrap.is_some());
        let mut tally = Tally::default();
        let only = match &memos.of_group[..] {
            [first @ Some(_), rest @ ..] if rest.iter().all(|memo| memo == first) => *first,
            _ => None,
        };
        if let Some(memo) = only.map(|memo| &memos.all[memo]).filter(|memo| memo.is_single())
            && counting
        {
            return self.alike(&mut tally, (memo, groups), (block, blocks), wanted, budget);
        }
        let of_row = if only.is_some() { &[][..] } else { groups.of_row(wanted.len()) };
        let mut line = Vec::new();
        for row in (0..wanted.len()).filter(|row| wanted[*row]) {
            let memo = only.or_else(|| memos.of_group[of_row[row] as usize]);
            let rank = groups.rank(row);
            let mut outcome = match memo {
                Some(memo) => memos.all[memo].recall(rank)?,
                None => Outcome::EACH_ITS_OWN,
            };
            budget.line(0)?;
            if let (Outcome::UNKNOWN, Some(memo)) = (outcome, memo)
                && let Some(at) = self.direct(&memos.all[memo], rank, budget)?
            {
                outcome = Outcome::series(at);
                memos.all[memo].remember(rank, outcome);
            }
            if outcome == Outcome::UNKNOWN || outcome == Outcome::EACH_ITS_OWN {
                let done = self.row(block, blocks, row, &mut line, budget)?;
                if self.labels.has_error() || outcome == Outcome::EACH_ITS_OWN {
                    if let Some(memo) = memo.filter(|_| outcome == Outcome::UNKNOWN) {
                        memos.all[memo].remember(rank, Outcome::EACH_ITS_OWN);
                    }
                    if let Some((at, value)) = done {
                        self.sample(at, ts_ns[row], value, budget)?;
                    }
                    continue;
                }
                outcome = done.map_or(Outcome::DROPPED, |(at, _)| Outcome::series(at));
                if let Some(memo) = memo {
                    memos.all[memo].remember(rank, outcome);
                }
            }
            let Some(at) = outcome.place() else { continue };
            if counting {
                self.count(&mut tally, at, ts_ns[row], 1);
            } else {
                let value = memo.map_or(1.0, |memo| memos.all[memo].sample(rank));
                self.sample(at, ts_ns[row], value, budget)?;
            }
        }
        self.note(&mut tally);
        Ok(())
    }

    /// The place of the series of a row that passes, without its line; `None` where only the pipeline
    /// knows. A line needs all columns of its block, and this only those that are grouped by.
    fn direct(
        &mut self,
        memo: &Memo<'_>,
        rank: usize,
        budget: &mut Budget<'_>,
    ) -> Result<Option<usize>, EvalError> {
        if !self.is_direct {
            return Ok(None);
        }
        let grouped = self.grouping.map_or(&[][..], |grouping| &grouping.labels);
        match memo.labels(grouped, rank)? {
            Some(labels) => self.place_of(labels, budget).map(Some),
            None => Ok(None),
        }
    }

    /// Counts rows that all have the outcome of the first.
    fn alike(
        &mut self,
        tally: &mut Tally,
        (memo, groups): (&Memo<'_>, &Groups<'_>),
        (block, blocks): (&dyn LogBlock, &dyn LogBlocks),
        wanted: &[bool],
        budget: &mut Budget<'_>,
    ) -> Result<(), EvalError> {
        let ts_ns = block.timestamps_ns();
        let Some(first) = wanted.iter().position(|wanted| *wanted) else { return Ok(()) };
        let at = match self.direct(memo, groups.rank(first), budget)? {
            Some(at) => Some(at),
            None => {
                let mut line = Vec::new();
                let done = self.row(block, blocks, first, &mut line, budget)?;
                if self.labels.has_error() {
                    return self.lines(block, blocks, wanted, budget);
                }
                done.map(|(at, _)| at)
            }
        };
        let count = |rows: Range<usize>| wanted[rows].iter().filter(|wanted| **wanted).count();
        budget.lines(count(0..wanted.len()))?;
        let Some(at) = at else { return Ok(()) };
        let mut start = first;
        while start < ts_ns.len() {
            let until_ns = self.steps.unchanged_until(ts_ns[start], self.range);
            let end = start + ts_ns[start..].partition_point(|&ts| ts <= until_ns).max(1);
            match count(start..end) {
                0 => {}
                rows => self.count(tally, at, ts_ns[start], rows as u32),
            }
            start = end;
        }
        self.note(tally);
        Ok(())
    }

    /// Counts rows of a series at an instant, or at instants that the same steps see.
    fn count(&mut self, tally: &mut Tally, at: usize, ts_ns: i64, rows: u32) {
        if tally.until_ns.is_none_or(|until_ns| ts_ns > until_ns) {
            self.note(tally);
            tally.seen = self.steps.seeing(ts_ns, self.range);
            tally.until_ns = Some(self.steps.unchanged_until(ts_ns, self.range));
        }
        if tally.counts.len() <= at {
            tally.counts.resize(self.collected.len().max(at + 1), 0);
        }
        if tally.counts[at] == 0 {
            tally.touched.push(at);
        }
        tally.counts[at] += rows;
    }

    /// Notes what the tally holds in the steps that saw it.
    fn note(&mut self, tally: &mut Tally) {
        for at in tally.touched.drain(..) {
            let rows = f64::from(std::mem::take(&mut tally.counts[at]));
            if let (Collected::Changes(changes), false) =
                (&mut self.collected[at].1, tally.seen.is_empty())
            {
                for (step, sign) in [(tally.seen.start, 1.0), (tally.seen.end, -1.0)] {
                    changes[step].0 += sign * rows;
                    changes[step].1 += sign * rows;
                }
            }
        }
    }

    /// Runs a row through the pipeline: the place of the series that it belongs to and its sample. `line`
    /// becomes what the pipeline makes of its line.
    fn row(
        &mut self,
        block: &dyn LogBlock,
        blocks: &dyn LogBlocks,
        row: usize,
        line: &mut Vec<u8>,
        budget: &mut Budget<'_>,
    ) -> Result<Option<(usize, f64)>, EvalError> {
        line.clear();
        if !self.counts_only {
            block.line(row, line)?;
        }
        let ts_ns = block.timestamps_ns()[row];
        let id = block.stream(row);
        let (stream, known) =
            self.of_stream.entry(id).or_insert_with(|| (blocks.labels(id), None)).clone();
        let metadata = block.metadata(row);
        self.labels.start(&stream, &metadata);
        if !self.counts_only && !self.pipeline.run(ts_ns, line, &mut self.labels) {
            return Ok(None);
        }
        let Some(value) = self.sample.take(line, &mut self.labels) else { return Ok(None) };
        let cacheable = self.labels_fixed && metadata.is_empty();
        let at = match known.filter(|_| cacheable) {
            Some(at) => at,
            None => self.place(budget)?,
        };
        if cacheable {
            self.of_stream.insert(id, (stream, Some(at)));
        }
        Ok(Some((at, value)))
    }

    /// Takes a sample of a series.
    fn sample(
        &mut self,
        at: usize,
        ts_ns: i64,
        value: f64,
        budget: &mut Budget<'_>,
    ) -> Result<(), EvalError> {
        match &mut self.collected[at].1 {
            Collected::Points(points) => {
                budget.hold(2)?;
                points.push((ts_ns, value));
            }
            Collected::Changes(changes) => {
                let steps = self.steps.seeing(ts_ns, self.range);
                if !steps.is_empty() {
                    for (step, sign) in [(steps.start, 1.0), (steps.end, -1.0)] {
                        changes[step].0 += sign;
                        changes[step].1 += sign * value;
                    }
                }
            }
        }
        Ok(())
    }

    /// Where the series of the labels at hand is collected.
    fn place(&mut self, budget: &mut Budget<'_>) -> Result<usize, EvalError> {
        let labels = series_labels(&self.labels, self.grouping, self.unwrapped);
        self.place_of(labels, budget)
    }

    fn place_of(&mut self, labels: LabelSet, budget: &mut Budget<'_>) -> Result<usize, EvalError> {
        if let Some(at) = self.series.get(&labels) {
            return Ok(*at);
        }
        let counting = only_counts(self.range.op, self.range.unwrap.is_some());
        let count = self.steps.count;
        // Two cells per step for the column to come, as many for changes.
        budget.series(if counting { 4 * count } else { 2 * count })?;
        let collected = match counting {
            true => Collected::Changes(vec![(0.0, 0.0); count + 1]),
            false => Collected::Points(Vec::new()),
        };
        self.series.insert(labels.clone(), self.collected.len());
        self.collected.push((labels, collected));
        Ok(self.collected.len() - 1)
    }
}

/// Rows counted by series while the same steps see them.
struct Tally {
    seen: Range<usize>,
    /// The last instant that they see; `None` when nothing was counted yet.
    until_ns: Option<i64>,
    counts: Vec<u32>,
    /// The series that have rows.
    touched: Vec<usize>,
}

impl Default for Tally {
    fn default() -> Tally {
        Tally { seen: 0..0, until_ns: None, counts: Vec::new(), touched: Vec::new() }
    }
}
