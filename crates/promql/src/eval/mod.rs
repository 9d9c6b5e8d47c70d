//! A tree to an answer, over any [`Source`] of columns.
//!
//! All steps of a range query are evaluated at once, node by node: a vector is a list of series with
//! one value per step ([`value::Vector`]), so a selector reads each column once, finds the bounds of
//! its windows once per group, and asks for labels only when an operator needs them.
//! An instant query is a range query of one step.

mod aggregate;
mod binary;
mod call;
mod cells;
mod dates;
mod extended;
mod features;
mod histogram;
mod info;
mod join;
mod kernels;
mod keys;
mod labels;
mod length;
mod math;
mod native_aggregate;
mod native_binary;
mod native_kernels;
mod notes;
mod scan;
mod select;
mod stretch;
mod trace;
mod value;

use crate::account::Account;
use crate::native::FloatHistogram;
use crate::syntax::{Expr, Extended, Node, NodeKind, ValueType};
pub use features::Features;
pub(crate) use math::kahan;
use notes::Notes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use value::{Out, Steps, Vector};
use vigie_model::limits::QUERY_SAMPLES_MAX;
use vigie_model::{Labels, Matcher, ReadError, Selection, TimeRange, is_absent};

/// Where the samples come from.
pub trait Source: Send + Sync {
    /// The series that fulfil all `matchers`, with their samples inside `range`.
    fn select(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> std::result::Result<Selection, ReadError>;
}

/// What an evaluation may cost and how it behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// How far back an instant looks for a sample, the far end excluded.
    pub lookback_ms: i64,
    /// Most samples held at once; working space of the same size counts like samples.
    pub samples_max: u64,
    /// When to give up.
    pub deadline: Option<Instant>,
    /// Set to true when the client is gone.
    pub cancel: Option<Arc<AtomicBool>>,
    /// The step of a subquery that names none.
    pub default_subquery_step_ms: i64,
    /// Whether metric names are dropped at the end only (Prometheus' `promql-delayed-name-removal`).
    pub delayed_name_removal: bool,
    /// Where what the query takes is written down, and by what it is bounded.
    pub account: Option<Arc<Account>>,
    /// Which experimental parts of the language may be used, and what they change.
    pub features: Features,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            lookback_ms: 300_000,
            samples_max: QUERY_SAMPLES_MAX,
            deadline: None,
            cancel: None,
            default_subquery_step_ms: 60_000,
            delayed_name_removal: false,
            account: None,
            features: Features::default(),
        }
    }
}

impl Options {
    /// Whether to go on.
    fn look(&self) -> Result<()> {
        const WHERE: &str = "expression evaluation";
        let cancelled = |flag: &Arc<AtomicBool>| flag.load(Ordering::Relaxed);
        if self.cancel.as_ref().is_some_and(cancelled) {
            return Err(EvalError::Canceled(WHERE));
        }
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(EvalError::Timeout(WHERE));
        }
        Ok(())
    }
}

/// An evaluated query.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The value.
    pub value: Value,
    /// What is probably wrong with the query or the data, with positions.
    pub warnings: Vec<String>,
    /// What may be wrong.
    pub infos: Vec<String>,
}

/// The value of a query.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// One number.
    Scalar {
        /// When.
        ts_ms: i64,
        /// The number.
        value: f64,
    },
    /// One sample per series, ordered only where the query asks for an order.
    Vector(Vec<Sample>),
    /// Many points per series, ordered by labels.
    Matrix(Vec<Series>),
    /// A text.
    String {
        /// When.
        ts_ms: i64,
        /// The text.
        value: String,
    },
}

/// A series at one instant.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The series.
    pub labels: Labels,
    /// The instant.
    pub ts_ms: i64,
    /// The value; meaningless when the sample is a native histogram.
    pub value: f64,
    /// The native histogram, if the sample is one.
    pub histogram: Option<Arc<FloatHistogram>>,
}

/// A series over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The series.
    pub labels: Labels,
    /// Instants in milliseconds and values, in order.
    pub points: Vec<(i64, f64)>,
    /// Instants in milliseconds and native histograms, in order; no instant is in both.
    pub histograms: Vec<(i64, Arc<FloatHistogram>)>,
}

/// Why there is no answer. The texts are Prometheus' own.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// The query cannot be evaluated with these parameters.
    #[error("{0}")]
    BadData(String),
    /// The data does not allow it.
    #[error("{0}")]
    Execution(String),
    /// The deadline has passed.
    #[error("query timed out in {0}")]
    Timeout(&'static str),
    /// The client has gone.
    #[error("query was canceled in {0}")]
    Canceled(&'static str),
    /// The source failed.
    #[error("expanding series: {0}")]
    Storage(#[from] ReadError),
}

impl EvalError {
    /// The `errorType` of Prometheus' HTTP API.
    pub fn error_type(&self) -> &'static str {
        match self {
            EvalError::BadData(_) => "bad_data",
            EvalError::Execution(_) | EvalError::Storage(ReadError::Limit(_)) => "execution",
            EvalError::Timeout(_) => "timeout",
            EvalError::Canceled(_) => "canceled",
            EvalError::Storage(_) => "internal",
        }
    }
}

/// What a point of an answer takes beside its sample: instant and value, and its text.
const POINT_BYTES: u64 = 50;
/// What a series of a vector takes beside its samples: who it is, and its lists.
const SERIES_BYTES: u64 = 160;
/// What a series of an answer takes beside its points: its labels, and their text.
const ANSWERED_SERIES_BYTES: u64 = 600;
/// Steps between two looks at the clock, where a step costs as much as there are series.
const STEPS_PER_LOOK: usize = 64;

pub(crate) type Result<T> = std::result::Result<T, EvalError>;

/// Evaluates at one instant.
pub fn instant(source: &dyn Source, expr: &Expr, ts_ms: i64, options: &Options) -> Result<Answer> {
    options.features.check(expr)?;
    let steps = Steps { start_ms: ts_ms, step_ms: 1, count: 1 };
    let query = Query { start_ms: ts_ms, end_ms: ts_ms, step_ms: 0 };
    let mut eval = Eval::new(source, expr, query, options);
    let root = expr.root().unparenthesised();
    let value = match expr.value_type() {
        ValueType::Matrix => Value::Matrix(eval.matrix(root, steps)?),
        _ => match eval.node(root, steps)? {
            Out::Scalar(values) => Value::Scalar { ts_ms, value: values[0] },
            Out::Text(value) => Value::String { ts_ms, value },
            Out::Vector(vector) => {
                eval.room_for_answer(vector.series.len(), 1)?;
                let found = eval.finish(vector)?.into_iter();
                let found = found.filter(|(_, series)| !is_absent(series.values[0]));
                let samples = found.map(|(labels, series)| Sample {
                    labels,
                    ts_ms,
                    value: series.values[0],
                    histogram: series.histogram(0).cloned(),
                });
                Value::Vector(samples.collect())
            }
        },
    };
    Ok(eval.answer(value))
}

/// Evaluates at every step from `start_ms` to at most `end_ms`.
pub fn range(
    source: &dyn Source,
    expr: &Expr,
    start_ms: i64,
    end_ms: i64,
    step_ms: i64,
    options: &Options,
) -> Result<Answer> {
    options.features.check(expr)?;
    let value_type = expr.value_type();
    if !matches!(value_type, ValueType::Scalar | ValueType::Vector) {
        return Err(EvalError::BadData(format!(
            "invalid expression type \"{}\" for range query, must be Scalar or instant Vector",
            value_type.documented()
        )));
    }
    if step_ms <= 0 {
        let text = "zero or negative query resolution step widths are not accepted. \
                    Try a positive integer";
        return Err(EvalError::BadData(text.to_owned()));
    }
    if end_ms < start_ms {
        return Err(EvalError::BadData("end timestamp must not be before start time".to_owned()));
    }
    let steps = Steps::between(start_ms, end_ms, step_ms);
    let mut eval = Eval::new(source, expr, Query { start_ms, end_ms, step_ms }, options);
    eval.room_for(steps.count as u64)?;
    let mut series = match eval.node(expr.root(), steps)? {
        Out::Vector(vector) => {
            eval.room_for_answer(vector.series.len(), steps.count)?;
            eval.finish(vector)?
        }
        Out::Scalar(values) => {
            let labels = Labels::default();
            let metric = value::Metric::Built(labels.clone());
            vec![(labels, value::Series::floats(metric, false, values))]
        }
        Out::Text(_) => Vec::new(),
    };
    series.sort_by(|left, right| left.0.cmp(&right.0));
    let series = series
        .into_iter()
        .map(|(labels, series)| Series {
            labels,
            points: steps.points(series.row()),
            histograms: steps.histograms(series.row()),
        })
        .filter(|series| !series.points.is_empty() || !series.histograms.is_empty())
        .collect();
    Ok(eval.answer(Value::Matrix(series)))
}

/// The times of the whole query, which `start()`, `@ end()`, `step()` and their like mean.
#[derive(Clone, Copy)]
struct Query {
    start_ms: i64,
    end_ms: i64,
    step_ms: i64,
}

/// The state of one evaluation.
struct Eval<'a> {
    source: &'a dyn Source,
    expr: &'a Expr,
    query: Query,
    options: &'a Options,
    notes: Notes,
    /// Samples held by the nodes that are being evaluated.
    samples: u64,
    /// Series held by them.
    series: u64,
    /// Bytes held by the selections that are being read.
    selected_bytes: u64,
    /// Bytes of the answer as far as it stands already.
    answer_bytes: u64,
    /// Nodes around the one that is being evaluated.
    depth: usize,
    /// Subqueries around it: their grids are not the query's steps.
    grids: usize,
    /// What is to be known about the resets of histograms that are read.
    hints: Hints,
}

/// What is known about the counter resets of histograms as they are read from the source.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hints {
    /// As stored.
    Stored,
    /// Found out where nothing is stored. Prometheus does so where it reads counts and sums only
    /// (`promql/histogram_stats_iterator.go`).
    Resolved,
    /// As stored in everything below, too.
    StoredBelow,
}

impl Hints {
    /// For what stands below a node.
    fn below(self, node: &Node) -> Hints {
        let is_trim = |chain: &crate::syntax::Chain| chain.steps.iter().any(|s| s.op.is_trim());
        let needs_buckets = match &node.kind {
            NodeKind::Call(call) => {
                let name = call.function.name;
                if matches!(name, "histogram_count" | "histogram_sum" | "histogram_avg")
                    && self == Hints::Stored
                {
                    return Hints::Resolved;
                }
                matches!(name, "histogram_quantile" | "histogram_quantiles" | "histogram_fraction")
            }
            NodeKind::Binary(chain) => is_trim(chain),
            NodeKind::Subquery(_) => true,
            _ => false,
        };
        if needs_buckets { Hints::StoredBelow } else { self }
    }
}

impl<'a> Eval<'a> {
    fn new(source: &'a dyn Source, expr: &'a Expr, query: Query, options: &'a Options) -> Self {
        Eval {
            source,
            expr,
            query,
            options,
            notes: Notes::default(),
            samples: 0,
            series: 0,
            selected_bytes: 0,
            answer_bytes: 0,
            depth: 0,
            grids: 0,
            hints: Hints::Stored,
        }
    }

    fn answer(self, value: Value) -> Answer {
        let (warnings, infos) = self.notes.into_texts(self.expr.text());
        Answer { value, warnings, infos }
    }

    /// Whether to go on.
    fn tick(&self) -> Result<()> {
        self.options.look()
    }

    /// Whether `more` samples still fit.
    fn room_for(&self, more: u64) -> Result<()> {
        self.room(more, 0)
    }

    /// Whether `rows` more series of `steps` samples still fit.
    fn room_for_rows(&self, rows: usize, steps: usize) -> Result<()> {
        self.room((rows as u64).saturating_mul(steps as u64), rows as u64)
    }

    fn room(&self, more: u64, series: u64) -> Result<()> {
        let held = self.samples.saturating_add(more);
        if held > self.options.samples_max {
            return Err(execution(
                "query processing would load too many samples into memory in query execution",
            ));
        }
        match &self.options.account {
            Some(account) => {
                let series_bytes = (self.series + series) * SERIES_BYTES;
                let bytes = self.selected_bytes + self.answer_bytes + series_bytes;
                account.hold(held, bytes).map_err(execution)
            }
            None => Ok(()),
        }
    }

    /// Whether there is room for an answer of `series` series with `points` points each, in memory
    /// and as text.
    fn room_for_answer(&self, series: usize, points: usize) -> Result<()> {
        let Some(account) = &self.options.account else { return Ok(()) };
        let each = ANSWERED_SERIES_BYTES + POINT_BYTES * points as u64;
        let bytes = (series as u64).saturating_mul(each);
        account.hold(self.samples, self.series * SERIES_BYTES + bytes).map_err(execution)
    }

    /// Accounts for working space of `cells` times the size of a sample, which is held until the
    /// node at hand is evaluated.
    fn hold(&mut self, cells: usize) -> Result<()> {
        self.room_for(cells as u64)?;
        self.samples += cells as u64;
        Ok(())
    }

    /// Evaluates one node at every step.
    fn node(&mut self, node: &Node, steps: Steps) -> Result<Out> {
        self.tick()?;
        self.room_for(steps.count as u64)?;
        let before = (self.samples, self.series);
        // An error ends the evaluation, so only an answer needs the hints of the node above again.
        let hints = self.hints;
        self.hints = hints.below(node);
        let out = self.timed(node, |eval| eval.kind(node, steps));
        self.hints = hints;
        let out = out?;
        (self.samples, self.series) = before;
        self.room(out.samples(), out.series())?;
        self.samples += out.samples();
        self.series += out.series();
        Ok(out)
    }

    fn kind(&mut self, node: &Node, steps: Steps) -> Result<Out> {
        Ok(match &node.kind {
            NodeKind::Number { value, .. } => Out::Scalar(vec![*value; steps.count]),
            NodeKind::Text(text) => Out::Text(text.value.clone()),
            NodeKind::Paren(inner) => self.node(inner, steps)?,
            NodeKind::Vector(selector) => {
                Out::Vector(self.selector(selector, steps, select::Reading::Value)?)
            }
            NodeKind::Unary { negative: false, operand } => self.node(operand, steps)?,
            NodeKind::Unary { negative: true, operand } => {
                let out = self.node(operand, steps)?;
                self.negated(out)?
            }
            NodeKind::Aggregate(aggregate) => {
                Out::Vector(self.aggregate(aggregate, node.span, steps)?)
            }
            NodeKind::Call(call) => self.call(call, node, steps)?,
            NodeKind::Binary(chain) => self.chain(chain, steps)?,
            NodeKind::Matrix { .. } | NodeKind::Subquery(_) => {
                return Err(execution("cannot do range evaluation of matrix selector"));
            }
        })
    }

    /// A node that the type check has found to be a vector.
    fn vector(&mut self, node: &Node, steps: Steps) -> Result<Vector> {
        match self.node(node, steps)? {
            Out::Vector(vector) => Ok(vector),
            _ => Err(execution("expected an instant vector")),
        }
    }

    /// A node that the type check has found to be a scalar.
    fn scalar(&mut self, node: &Node, steps: Steps) -> Result<Vec<f64>> {
        match self.node(node, steps)? {
            Out::Scalar(values) => Ok(values),
            _ => Err(execution("expected a scalar")),
        }
    }

    fn negated(&mut self, out: Out) -> Result<Out> {
        match out {
            Out::Scalar(values) => Ok(Out::Scalar(values.iter().map(|value| -value).collect())),
            Out::Vector(mut vector) => {
                for series in &mut vector.series {
                    series.values.iter_mut().filter(|v| !is_absent(**v)).for_each(|v| *v = -*v);
                    for histogram in series.histograms.iter_mut().flatten() {
                        *histogram = Arc::new(FloatHistogram::clone(histogram).mul(-1.0));
                    }
                }
                self.nameless(vector).map(Out::Vector)
            }
            Out::Text(text) => Ok(Out::Text(text)),
        }
    }

    /// Applies `f` to every float, forgets the histograms and drops the metric names.
    fn mapped(&mut self, mut vector: Vector, f: impl Fn(usize, f64) -> f64) -> Result<Vector> {
        for series in &mut vector.series {
            series.drop_histograms();
            for (step, value) in series.values.iter_mut().enumerate() {
                if !is_absent(*value) {
                    *value = f(step, *value);
                }
            }
        }
        self.nameless(vector)
    }

    /// Drops the metric names, now or at the end.
    fn nameless(&mut self, mut vector: Vector) -> Result<Vector> {
        let delayed = self.options.delayed_name_removal;
        for series in &mut vector.series {
            if delayed {
                series.drop_name = true;
            } else {
                series.metric.drop_name();
            }
        }
        if delayed || vector.one_name { Ok(vector) } else { vector.merged() }
    }

    /// The labels and values of a finished vector.
    fn finish(&mut self, mut vector: Vector) -> Result<Vec<(Labels, value::Series)>> {
        let mut dropped = false;
        for series in vector.series.iter_mut().filter(|series| series.drop_name) {
            series.metric.drop_name();
            dropped = true;
        }
        if dropped && !vector.one_name {
            vector = vector.merged()?;
        }
        let series = vector.series.into_iter();
        Ok(series.map(|series| (series.metric.labels(), series)).collect())
    }

    /// The raw points of a range selector or a subquery at the one instant of an instant query.
    fn matrix(&mut self, node: &Node, steps: Steps) -> Result<Vec<Series>> {
        let mut found = Vec::new();
        let windows = self.windows(node, steps)?;
        self.each_column(node, &windows, steps, |eval, column| {
            let (low, high) = column.bounds[0];
            if low < high && windows.extended != Extended::No {
                return eval.extended_matrix(&windows, &column, &mut found);
            }
            if low < high {
                eval.hold(high - low)?;
                eval.answer_bytes += ANSWERED_SERIES_BYTES + POINT_BYTES * (high - low) as u64;
                eval.room_for(0)?;
                let times = column.timestamps_ms[low..high].iter().copied();
                let natives = column.histograms.get(low..high).unwrap_or(&[]);
                let found_at = |at: usize| natives.get(at).and_then(Option::as_ref);
                let floats = times.clone().zip(column.values[low..high].iter().copied());
                let floats = floats.enumerate().filter(|(at, _)| found_at(*at).is_none());
                let points = floats.map(|(_, point)| point).collect();
                let histograms = times
                    .zip(natives)
                    .filter_map(|(ts_ms, native)| Some((ts_ms, Arc::clone(native.as_ref()?))))
                    .collect();
                let mut metric = column.metric.clone();
                if column.drop_name {
                    metric.drop_name();
                }
                found.push(Series { labels: metric.labels(), points, histograms });
            }
            Ok(())
        })?;
        found.sort_by(|left: &Series, right| left.labels.cmp(&right.labels));
        if found.windows(2).any(|pair| pair[0].labels == pair[1].labels) {
            return Err(value::same_labels());
        }
        Ok(found)
    }
}

impl Eval<'_> {
    fn extended_matrix(
        &mut self,
        windows: &select::Windows,
        column: &select::WindowColumn<'_>,
        found: &mut Vec<Series>,
    ) -> Result<()> {
        let (low, high) = column.bounds[0];
        if column.histograms.iter().any(Option::is_some) {
            let modifier = windows.extended.as_str();
            let text = format!("{modifier} modifier is not supported with histograms");
            return Err(execution(text));
        }
        self.hold(high - low)?;
        self.answer_bytes += ANSWERED_SERIES_BYTES + POINT_BYTES * (high - low) as u64;
        self.room_for(0)?;
        let window = kernels::Window {
            timestamps_ms: &column.timestamps_ms[low..high],
            values: &column.values[low..high],
            start_ms: windows.ends_ms[0].saturating_sub(windows.length_ms),
            end_ms: windows.ends_ms[0],
            ..kernels::Window::nothing(crate::syntax::Span::default())
        };
        let points = extended::points(&window, windows.extended);
        if !points.is_empty() {
            let labels = column.metric.labels();
            found.push(Series { labels, points, histograms: Vec::new() });
        }
        Ok(())
    }
}

fn execution(text: impl Into<String>) -> EvalError {
    EvalError::Execution(text.into())
}
