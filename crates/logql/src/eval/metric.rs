//! Metric queries: windows over lines, then functions over series, step by step.
//!
//! Every range aggregation reads its lines once, for all steps. Those that only count keep one number
//! per series and step, however many lines there are; the others keep their samples by series, and a
//! window is a slice of them. A series is a column with one slot per step.

use super::columns::{Memo, Outcome, Plan, Recall};
use super::prefilter::{Prefilter, key_of};
use super::value::{MatrixSeries, Value, VectorSample};
use super::window::{Point, Window, aggregate, counted, only_counts};
use super::{Budget, EvalError, LogSource, Options, aggregate as vector, binary};
use crate::ast::{
    Expr, Grouping, LabelFilter, LabelReplace, LineFilter, LineOp, MetricExpr, RangeAggregation,
    Stage,
};
use crate::pipeline::labels::{ERROR_LABEL, LabelSet, LineLabels};
use crate::pipeline::{Pipeline, Sample, required_texts, series_labels};
use std::collections::HashMap;
use vigie_model::blocks::{Direction, LogBlock, LogBlocks, LogRange, Needle, StreamId};
use vigie_model::limits::{LABEL_VALUE_BYTES_MAX, QUERY_POINTS_MAX};
use vigie_model::{MatchOp, regexp};

/// Range aggregations that a `sum` around them may group early, as Loki does.
const SUMMED: [&str; 5] =
    ["bytes_over_time", "bytes_rate", "sum_over_time", "rate", "count_over_time"];

/// Longest label value that a query may make. An estimate is compared with it, so it is generous.
const LABEL_BYTES_MAX: usize = 4 * LABEL_VALUE_BYTES_MAX;

/// One series: its value at each step.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) labels: LabelSet,
    pub(super) points: Vec<Option<f64>>,
}

/// What an expression is worth.
pub(super) enum Evaluated {
    Scalar(f64),
    Series(Vec<Series>),
}

/// The instants of a query.
#[derive(Clone, Copy)]
struct Steps {
    start_ns: i64,
    step_ns: i64,
    count: usize,
}

impl Steps {
    fn at(&self, step: usize) -> i64 {
        self.start_ns + self.step_ns * step as i64
    }

    fn end_ns(&self) -> i64 {
        self.at(self.count - 1)
    }

    /// The steps whose windows `(end - range, end]` hold `ts_ns`, where a window ends `offset_ns`
    /// before its step: from the first to the one behind the last.
    fn seeing(&self, ts_ns: i64, range: &RangeAggregation) -> std::ops::Range<usize> {
        if let Some(age_ns) =
            self.end_ns().checked_sub(range.offset_ns).and_then(|end| end.checked_sub(ts_ns))
            && self.count == 1
        {
            let is_seen = age_ns >= 0 && age_ns < range.range_ns;
            return if is_seen { 0..1 } else { 0..0 };
        }
        let (start, step) = (i128::from(self.start_ns), i128::from(self.step_ns));
        let shifted = i128::from(ts_ns) + i128::from(range.offset_ns) - start;
        // Rounded up: the first step at or after the sample, and the first at or after its leaving.
        let at_or_after = |distance: i128| {
            let step_at = distance.div_euclid(step) + i128::from(distance.rem_euclid(step) > 0);
            step_at.clamp(0, self.count as i128) as usize
        };
        at_or_after(shifted)..at_or_after(shifted + i128::from(range.range_ns))
    }
}

/// Answers a metric query at one instant.
pub fn instant(
    source: &dyn LogSource,
    expr: &Expr,
    ts_ns: i64,
    options: &Options,
) -> Result<Value, EvalError> {
    let metric = metric_of(expr)?;
    let steps = Steps { start_ns: ts_ns, step_ns: 1, count: 1 };
    let mut evaluator = Evaluator { source, steps, budget: Budget::new(options) };
    let series = match evaluator.expression(metric)? {
        Evaluated::Scalar(value) => return Ok(Value::Scalar { ts_ns, value }),
        Evaluated::Series(series) => series,
    };
    let mut samples: Vec<VectorSample> = series
        .into_iter()
        .filter_map(|one| Some(VectorSample { value: one.points[0]?, labels: one.labels, ts_ns }))
        .collect();
    if !sorts(metric) {
        samples.sort_by(|left, right| left.labels.cmp(&right.labels));
    }
    Ok(Value::Vector(samples))
}

/// Answers a metric query from `start_ns` every `step_ns` to `end_ns` inclusive.
pub fn range(
    source: &dyn LogSource,
    expr: &Expr,
    start_ns: i64,
    end_ns: i64,
    step_ns: i64,
    options: &Options,
) -> Result<Value, EvalError> {
    let metric = metric_of(expr)?;
    let step_ns = step_ns.max(1);
    let count = end_ns.saturating_sub(start_ns).max(0) / step_ns + 1;
    if count > QUERY_POINTS_MAX {
        return Err(EvalError::Points);
    }
    if ranks_approximately(metric) {
        return Err(EvalError::Kind("approx_topk is only supported on instant queries"));
    }
    let steps = Steps { start_ns, step_ns, count: count as usize };
    let mut evaluator = Evaluator { source, steps, budget: Budget::new(options) };
    let series = match evaluator.expression(metric)? {
        Evaluated::Scalar(value) => {
            vec![Series { labels: LabelSet::default(), points: vec![Some(value); steps.count] }]
        }
        Evaluated::Series(series) => series,
    };
    let mut matrix: Vec<MatrixSeries> = series
        .into_iter()
        .map(|one| MatrixSeries {
            labels: one.labels,
            points: one
                .points
                .iter()
                .enumerate()
                .filter_map(|(step, value)| Some((steps.at(step), (*value)?)))
                .collect(),
        })
        .filter(|one| !one.points.is_empty())
        .collect();
    matrix.sort_by(|left, right| left.labels.cmp(&right.labels));
    Ok(Value::Matrix(matrix))
}

fn metric_of(expr: &Expr) -> Result<&MetricExpr, EvalError> {
    match expr {
        Expr::Metric(metric) => Ok(metric),
        Expr::Log(_) => Err(EvalError::Kind(
            "log queries are not supported as an instant query type, please change your query to a \
             range query type",
        )),
    }
}

fn ranks_approximately(expr: &MetricExpr) -> bool {
    match expr {
        MetricExpr::Vector(vector) => {
            vector.op == "approx_topk" || ranks_approximately(&vector.inner)
        }
        MetricExpr::Binary(binary) => {
            ranks_approximately(&binary.left) || ranks_approximately(&binary.right)
        }
        MetricExpr::LabelReplace(replace) => ranks_approximately(&replace.inner),
        _ => false,
    }
}

/// Whether the order of the answer is the query's own.
fn sorts(expr: &MetricExpr) -> bool {
    match expr {
        MetricExpr::Vector(vector) => vector.op.starts_with("sort") || sorts(&vector.inner),
        MetricExpr::Binary(binary) => sorts(&binary.left) || sorts(&binary.right),
        MetricExpr::LabelReplace(replace) => sorts(&replace.inner),
        _ => false,
    }
}

struct Evaluator<'a> {
    source: &'a dyn LogSource,
    steps: Steps,
    budget: Budget<'a>,
}

impl Evaluator<'_> {
    fn expression(&mut self, expr: &MetricExpr) -> Result<Evaluated, EvalError> {
        Ok(match expr {
            MetricExpr::Literal(value) => Evaluated::Scalar(*value),
            MetricExpr::VectorLiteral(value) => Evaluated::Series(vec![Series {
                labels: LabelSet::default(),
                points: vec![Some(*value); self.steps.count],
            }]),
            MetricExpr::Range(range) => Evaluated::Series(self.range(range, None)?),
            MetricExpr::Vector(aggregation) => {
                let series = match aggregation.inner.as_ref() {
                    MetricExpr::Range(range)
                        if aggregation.op == "sum" && SUMMED.contains(&range.op) =>
                    {
                        let whole = Grouping::default();
                        let grouping = aggregation.grouping.as_ref().unwrap_or(&whole);
                        self.range(range, Some(grouping))?
                    }
                    inner => self.series(inner)?,
                };
                Evaluated::Series(vector::aggregate(aggregation, series))
            }
            MetricExpr::Binary(operation) => {
                let left = self.expression(&operation.left)?;
                let right = self.expression(&operation.right)?;
                binary::evaluate(operation, left, right)?
            }
            MetricExpr::LabelReplace(replace) => {
                let series = self.series(&replace.inner)?;
                Evaluated::Series(replace_labels(replace, series)?)
            }
        })
    }

    /// An expression as series; a literal is one without labels.
    fn series(&mut self, expr: &MetricExpr) -> Result<Vec<Series>, EvalError> {
        Ok(match self.expression(expr)? {
            Evaluated::Series(series) => series,
            Evaluated::Scalar(value) => vec![Series {
                labels: LabelSet::default(),
                points: vec![Some(value); self.steps.count],
            }],
        })
    }

    fn range(
        &mut self,
        range: &RangeAggregation,
        outer: Option<&Grouping>,
    ) -> Result<Vec<Series>, EvalError> {
        let collected = self.collect(range, outer)?;
        if range.op == "absent_over_time" {
            return Ok(self.absent(range, &collected));
        }
        let keeps_errors = range.log.stages.iter().any(filters_error)
            || range.unwrap.iter().any(|u| u.filters.iter().any(names_error))
            || outer.or(range.grouping.as_ref()).is_some_and(|grouping| {
                !grouping.without && grouping.labels.iter().any(|label| label == ERROR_LABEL)
            });
        let mut out = Vec::with_capacity(collected.len());
        for (labels, collected) in collected {
            let column = match collected {
                Collected::Points(mut points) => {
                    points.sort_by_key(|(ts_ns, _)| *ts_ns);
                    self.windows(range, &points)?
                }
                Collected::Changes(changes) => counts(&changes)
                    .map(|(lines, bytes)| {
                        (lines > 0.0).then(|| counted(range.op, lines, bytes, range.range_ns))
                    })
                    .collect(),
            };
            let failed = labels.get(ERROR_LABEL).filter(|error| !error.is_empty());
            // Only a parser's error may be asked for; the others always fail the query.
            let asked = |error: &str| keeps_errors && error.ends_with("ParserErr");
            if let Some(error) = failed.filter(|error| !asked(error))
                && column.iter().any(Option::is_some)
            {
                return Err(EvalError::Pipeline {
                    error: error.to_owned(),
                    series: labels.to_string(),
                });
            }
            out.push(Series { labels, points: column });
        }
        Ok(out)
    }

    fn windows(
        &mut self,
        range: &RangeAggregation,
        points: &[Point],
    ) -> Result<Vec<Option<f64>>, EvalError> {
        let (mut low, mut high) = (0, 0);
        let mut column = Vec::with_capacity(self.steps.count);
        for step in 0..self.steps.count {
            let end_ns = self.steps.at(step).saturating_sub(range.offset_ns);
            let start_ns = end_ns.saturating_sub(range.range_ns);
            while high < points.len() && points[high].0 <= end_ns {
                high += 1;
            }
            while low < high && points[low].0 <= start_ns {
                low += 1;
            }
            self.budget.work(size_of_val(&points[low..high]))?;
            let window = Window { points: &points[low..high], end_ns, range_ns: range.range_ns };
            column.push(match low == high {
                true => None,
                false => aggregate(range.op, range.parameter, &window),
            });
        }
        Ok(column)
    }

    /// 1 at each step without any sample, under the labels that the selector fixes.
    fn absent(&self, range: &RangeAggregation, collected: &[(LabelSet, Collected)]) -> Vec<Series> {
        let mut points = vec![Some(1.0); self.steps.count];
        for (_, collected) in collected {
            let Collected::Changes(changes) = collected else { continue };
            for (point, (lines, _)) in points.iter_mut().zip(counts(changes)) {
                *point = point.filter(|_| lines == 0.0);
            }
        }
        if points.iter().all(Option::is_none) {
            return Vec::new();
        }
        let matchers = &range.log.matchers;
        let fixed = matchers.iter().filter(|m| {
            m.op == MatchOp::Equal && matchers.iter().filter(|n| n.name == m.name).count() == 1
        });
        let labels = fixed.map(|m| (m.name.as_str(), m.value.as_str()));
        vec![Series { labels: LabelSet::from_pairs(labels), points }]
    }

    /// What the lines that any step's window can see come to.
    fn collect(
        &mut self,
        range: &RangeAggregation,
        outer: Option<&Grouping>,
    ) -> Result<Vec<(LabelSet, Collected)>, EvalError> {
        let grouping = outer.or(range.grouping.as_ref());
        let unwrap = range.unwrap.as_ref();
        let sample = match unwrap {
            Some(unwrap) => Sample::unwrap(unwrap)?,
            None if range.op.starts_with("bytes") => Sample::Bytes,
            None => Sample::Count,
        };
        let texts = required_texts(&range.log.stages);
        let needles: Vec<Needle> = texts.iter().map(|text| Needle(text.to_vec())).collect();
        let wanted = LogRange {
            start_ns: self
                .steps
                .start_ns
                .saturating_sub(range.offset_ns)
                .saturating_sub(range.range_ns)
                .saturating_add(1),
            end_ns: self.steps.end_ns().saturating_sub(range.offset_ns).saturating_add(1),
        };
        let mut pipeline = Pipeline::for_samples(&range.log.stages, unwrap, grouping)?;
        pipeline.set_now(self.budget.now_ns());
        let mut reader = Reader {
            pipeline,
            sample,
            grouping,
            unwrapped: unwrap.map(|unwrap| unwrap.label.as_str()),
            texts,
            prefilter: Prefilter::of(&range.log.stages),
            recall: Recall::of(range, grouping),
            counts_only: counts_only(range),
            labels_fixed: range.unwrap.is_none() && only_line_filters(&range.log.stages),
            steps: self.steps,
            range,
            series: HashMap::new(),
            collected: Vec::new(),
            of_stream: HashMap::new(),
            labels: LineLabels::default(),
        };
        let mut blocks =
            self.source.select(&range.log.matchers, wanted, Direction::Forward, &needles)?;
        while let Some(block) = blocks.next_block() {
            self.budget.look()?;
            reader.block(block?.as_ref(), blocks.as_ref(), &mut self.budget)?;
        }
        let mut collected = reader.collected;
        // In order, so that sums and the error reported do not depend on a hash.
        collected.sort_by(|(left, _), (right, _)| left.cmp(right));
        Ok(collected)
    }
}

fn only_line_filters(stages: &[Stage]) -> bool {
    stages.iter().all(|stage| matches!(stage, Stage::Line(_)))
}

/// Whether a sample needs no line: only `|=` filters, which blocks answer, and counting.
fn counts_only(range: &RangeAggregation) -> bool {
    let answered = |stage: &Stage| {
        matches!(stage, Stage::Line(LineFilter { op: LineOp::Contains, texts })
            if texts.len() == 1 && !texts[0].is_ip && !texts[0].text.is_empty())
    };
    range.unwrap.is_none()
        && !range.op.starts_with("bytes")
        && range.log.stages.iter().all(answered)
}

fn names_error(filter: &LabelFilter) -> bool {
    match filter {
        LabelFilter::And(left, right) | LabelFilter::Or(left, right) => {
            names_error(left) || names_error(right)
        }
        LabelFilter::Text(matcher) => matcher.name == ERROR_LABEL,
        _ => false,
    }
}

fn filters_error(stage: &Stage) -> bool {
    matches!(stage, Stage::Label(filter) if names_error(filter))
}

/// The samples of one series, as far as its aggregation needs them.
enum Collected {
    /// Instants and values.
    Points(Vec<Point>),
    /// By how many lines and bytes the window of each step differs from the one before.
    Changes(Vec<(f64, f64)>),
}

/// Lines and bytes in the window of each step.
fn counts(changes: &[(f64, f64)]) -> impl Iterator<Item = (f64, f64)> {
    let inside = &changes[..changes.len() - 1];
    inside.iter().scan((0.0, 0.0), |total, change| {
        *total = (total.0 + change.0, total.1 + change.1);
        Some(*total)
    })
}

/// Turns lines into samples.
struct Reader<'a> {
    pipeline: Pipeline,
    sample: Sample,
    grouping: Option<&'a Grouping>,
    unwrapped: Option<&'a str>,
    texts: Vec<&'a [u8]>,
    prefilter: Option<Prefilter<'a>>,
    /// How the outcomes of rows are remembered.
    recall: Option<Recall<'a>>,
    counts_only: bool,
    labels_fixed: bool,
    steps: Steps,
    range: &'a RangeAggregation,
    series: HashMap<LabelSet, usize>,
    collected: Vec<(LabelSet, Collected)>,
    /// The stream's labels, and its series if its lines without metadata all have the same.
    of_stream: HashMap<StreamId, (vigie_model::Labels, Option<usize>)>,
    labels: LineLabels,
}

impl Reader<'_> {
    fn block(
        &mut self,
        block: &dyn LogBlock,
        blocks: &dyn LogBlocks,
        budget: &mut Budget<'_>,
    ) -> Result<(), EvalError> {
        let rows = block.timestamps_ns().len();
        let mut wanted = vec![true; rows];
        for text in &self.texts {
            block.contains(text, &mut wanted)?;
        }
        if let Some(prefilter) = &self.prefilter {
            let streams = &mut self.of_stream;
            let mut labels =
                |id| streams.entry(id).or_insert_with(|| (blocks.labels(id), None)).0.clone();
            prefilter.apply(&self.pipeline, block, &mut labels, &mut wanted)?;
        }
        match self.recall.take() {
            Some(recall) if !self.counts_only => {
                let done = self.recalled(&recall, block, blocks, &wanted, budget);
                self.recall = Some(recall);
                done
            }
            recall => {
                self.recall = recall;
                let mut line = Vec::new();
                for row in (0..rows).filter(|row| wanted[*row]) {
                    if !self.counts_only {
                        block.line(row, &mut line)?;
                    }
                    budget.line(line.len())?;
                    self.row(block, blocks, row, &mut line, budget)?;
                }
                Ok(())
            }
        }
    }

    /// Reads rows whose outcome repeats that of others with the same values, run by run of rows
    /// that share a memo.
    fn recalled(
        &mut self,
        recall: &Recall<'_>,
        block: &dyn LogBlock,
        blocks: &dyn LogBlocks,
        wanted: &[bool],
        budget: &mut Budget<'_>,
    ) -> Result<(), EvalError> {
        let shapes = block.shapes();
        let by_shape = shapes.filter(|_| recall.kind.is_some());
        let key_of = |row: usize| match by_shape {
            Some(shapes) => key_of(block, shapes, row),
            None => (0, block.stream(row), block.metadata_set(row)),
        };
        let mut known: HashMap<(u32, StreamId, u32), usize> = HashMap::new();
        let mut memos: Vec<Option<Memo<'_>>> = Vec::new();
        let mut start = 0;
        while start < wanted.len() {
            let key = key_of(start);
            let end = (start + 1..wanted.len()).find(|&row| key_of(row) != key);
            let run = start..end.unwrap_or(wanted.len());
            start = run.end;
            let Some(first) = run.clone().find(|row| wanted[*row]) else { continue };
            let at = match known.get(&key) {
                Some(&at) => at,
                None => {
                    memos.push(self.memo(recall, block, blocks, first, key.0)?);
                    known.insert(key, memos.len() - 1);
                    memos.len() - 1
                }
            };
            let rank = |row: usize| shapes.map_or(row, |shapes| shapes.ranks[row] as usize);
            let mut line = Vec::new();
            for row in run.filter(|row| wanted[*row]) {
                let memo = memos[at].as_mut();
                self.recalled_row(
                    recall,
                    memo,
                    (block, blocks),
                    (row, rank(row)),
                    &mut line,
                    budget,
                )?;
            }
        }
        Ok(())
    }

    fn recalled_row(
        &mut self,
        recall: &Recall<'_>,
        mut memo: Option<&mut Memo<'_>>,
        (block, blocks): (&dyn LogBlock, &dyn LogBlocks),
        (row, rank): (usize, usize),
        line: &mut Vec<u8>,
        budget: &mut Budget<'_>,
    ) -> Result<(), EvalError> {
        let outcome = match &mut memo {
            Some(memo) => memo.recall(rank)?,
            None => Outcome::EachItsOwn,
        };
        line.clear();
        if recall.needs_line || matches!(outcome, Outcome::Unknown | Outcome::EachItsOwn) {
            block.line(row, line)?;
        }
        budget.line(line.len())?;
        if recall.needs_line && !self.pipeline.line_passes(line) {
            return Ok(());
        }
        match (outcome, memo) {
            (Outcome::Dropped, _) => {}
            (Outcome::Series(series), Some(memo)) => {
                self.sample(series, block.timestamps_ns()[row], memo.sample(rank), budget)?;
            }
            (_, memo) => {
                let series = self.row(block, blocks, row, line, budget)?;
                if let Some(memo) = memo.filter(|_| outcome == Outcome::Unknown) {
                    let outcome = match series {
                        _ if self.labels.has_error() => Outcome::EachItsOwn,
                        None => Outcome::Dropped,
                        Some(series) => Outcome::Series(series),
                    };
                    memo.remember(rank, outcome);
                }
            }
        }
        Ok(())
    }

    /// How the outcomes of rows like this one are remembered; `None` if they are not.
    fn memo<'b>(
        &mut self,
        recall: &Recall<'_>,
        block: &'b dyn LogBlock,
        blocks: &dyn LogBlocks,
        row: usize,
        shape: u32,
    ) -> Result<Option<Memo<'b>>, EvalError> {
        let Some(kind) = recall.kind else {
            return Ok(Memo::of(recall, None, block, 0)?);
        };
        let Some(shapes) = block.shapes() else { return Ok(None) };
        let of_shape = &shapes.shapes[shape as usize];
        if of_shape.kind != kind {
            return Ok(None);
        }
        let id = block.stream(row);
        let stream = self.of_stream.entry(id).or_insert_with(|| (blocks.labels(id), None));
        let metadata = block.metadata(row);
        let plan = Plan::of(&self.pipeline, of_shape, &stream.0, &metadata, &mut self.labels);
        match plan {
            Some(plan) => Ok(Memo::of(recall, Some(&plan), block, shape as usize)?),
            None => Ok(None),
        }
    }

    /// Runs a row through the pipeline; the place of the series that it belongs to.
    fn row(
        &mut self,
        block: &dyn LogBlock,
        blocks: &dyn LogBlocks,
        row: usize,
        line: &mut Vec<u8>,
        budget: &mut Budget<'_>,
    ) -> Result<Option<usize>, EvalError> {
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
        self.sample(at, ts_ns, value, budget)?;
        Ok(Some(at))
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

fn replace_labels(replace: &LabelReplace, series: Vec<Series>) -> Result<Vec<Series>, EvalError> {
    let regex = regexp::whole(&replace.pattern, false)
        .map_err(|why| EvalError::Matching(format!("invalid regex in label_replace: {why}")))?;
    let mut out: Vec<Series> = Vec::with_capacity(series.len());
    for mut one in series {
        let value = one.labels.get(&replace.source).unwrap_or("");
        if let Some(captures) = regex.captures(value) {
            // Each reference is at most the whole value.
            let references = replace.replacement.matches('$').count();
            if replace.replacement.len() + references * value.len() > LABEL_BYTES_MAX {
                let text = format!("label value of more than {LABEL_BYTES_MAX} bytes");
                return Err(EvalError::Matching(format!("{text} in label_replace")));
            }
            let mut text = String::new();
            captures.expand(&replace.replacement, &mut text);
            let value = Some(text.as_str()).filter(|text| !text.is_empty());
            one.labels = one.labels.with(&replace.target, value);
        }
        out.push(one);
    }
    Ok(out)
}
