//! Metric queries: windows over lines, then functions over series, step by step.
//!
//! Every range aggregation reads its lines once, for all steps. Those that only count keep one number
//! per series and step, however many lines there are; the others keep their samples by series, and a
//! window is a slice of them. A series is a column with one slot per step.

use super::samples::Reader;
use super::value::{MatrixSeries, Value, VectorSample};
use super::window::{Point, Window, aggregate, counted};
use super::{Budget, EvalError, LogSource, Options, aggregate as vector, binary};
use crate::ast::{Expr, Grouping, LabelFilter, LabelReplace, MetricExpr, RangeAggregation, Stage};
use crate::pipeline::labels::{ERROR_LABEL, LabelSet};
use crate::pipeline::{Pipeline, Sample, required_texts};
use vigie_model::blocks::{Direction, LogRange, Needle};
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
pub(super) struct Steps {
    start_ns: i64,
    step_ns: i64,
    pub(super) count: usize,
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
    pub(super) fn seeing(&self, ts_ns: i64, range: &RangeAggregation) -> std::ops::Range<usize> {
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

    /// The last instant that the same steps see as `ts_ns`.
    pub(super) fn unchanged_until(&self, ts_ns: i64, range: &RangeAggregation) -> i64 {
        let seen = self.seeing(ts_ns, range);
        // A step sees no instant behind its window's end, and none a range before that.
        let last_of = |step: usize, before_ns: i64| {
            let of_step = i128::from(self.start_ns) + i128::from(self.step_ns) * step as i128;
            of_step - i128::from(range.offset_ns) - i128::from(before_ns)
        };
        let bounds = [(seen.start, 0), (seen.end, range.range_ns)];
        let next = bounds
            .into_iter()
            .filter(|(step, _)| *step < self.count)
            .map(|(step, before_ns)| last_of(step, before_ns))
            .filter(|last| *last >= i128::from(ts_ns))
            .min();
        next.map_or(i64::MAX, |last| last.min(i128::from(i64::MAX)) as i64)
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
        let mut reader = Reader::new(range, grouping, pipeline, sample, self.steps);
        let mut blocks =
            self.source.select(&range.log.matchers, wanted, Direction::Forward, &needles)?;
        while let Some(block) = blocks.next_block() {
            self.budget.look()?;
            reader.block(block?.as_ref(), blocks.as_ref(), &mut self.budget)?;
        }
        let mut collected = reader.into_collected();
        // In order, so that sums and the error reported do not depend on a hash.
        collected.sort_by(|(left, _), (right, _)| left.cmp(right));
        Ok(collected)
    }
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
pub(super) enum Collected {
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
