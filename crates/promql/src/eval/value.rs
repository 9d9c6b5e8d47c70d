//! What nodes hand to each other: steps, vectors of series, and identities that are resolved late.

use super::{Eval, EvalError, Result, execution};
use std::collections::HashMap;
use std::sync::Arc;
use vigie_model::{ABSENT, LabelLookup, Labels, METRIC_NAME, SeriesId, is_absent};

/// The instants at which a node is evaluated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steps {
    pub(super) start_ms: i64,
    pub(super) step_ms: i64,
    pub(super) count: usize,
}

impl Steps {
    /// From `start_ms` to at most `end_ms`; none when the end lies before the start.
    pub(super) fn between(start_ms: i64, end_ms: i64, step_ms: i64) -> Steps {
        let count =
            if end_ms < start_ms { 0 } else { end_ms.saturating_sub(start_ms) / step_ms + 1 };
        Steps { start_ms, step_ms, count: count as usize }
    }

    pub(super) fn at(self, step: usize) -> i64 {
        self.start_ms + self.step_ms * step as i64
    }

    pub(super) fn times(self) -> impl Iterator<Item = i64> {
        (0..self.count).map(move |step| self.at(step))
    }

    /// The last instant; the first one when there is none.
    pub(super) fn last(self) -> i64 {
        self.at(self.count.saturating_sub(1))
    }

    /// The values that exist, with their instants.
    pub(super) fn points(self, values: &[f64]) -> Vec<(i64, f64)> {
        self.times().zip(values.iter().copied()).filter(|(_, value)| !is_absent(*value)).collect()
    }
}

/// What a node evaluates to, per step.
pub(super) enum Out {
    Scalar(Vec<f64>),
    Vector(Vector),
    Text(String),
}

impl Out {
    pub(super) fn samples(&self) -> u64 {
        match self {
            Out::Scalar(values) => values.len() as u64,
            Out::Text(_) => 0,
            Out::Vector(vector) => vector.samples(),
        }
    }
}

/// Series with one value per step, [`ABSENT`] where there is none.
#[derive(Default)]
pub(super) struct Vector {
    pub(super) series: Vec<Series>,
    /// Whether all series are known to have the same metric name, so that dropping it keeps them apart.
    pub(super) one_name: bool,
}

/// One series of a [`Vector`].
#[derive(Clone)]
pub(super) struct Series {
    pub(super) metric: Metric,
    /// Whether the metric name goes at the end of the evaluation.
    pub(super) drop_name: bool,
    pub(super) values: Vec<f64>,
}

impl Vector {
    /// One series without labels.
    pub(super) fn lone(labels: Labels, values: Vec<f64>) -> Vector {
        let series = Series { metric: Metric::Built(labels), drop_name: false, values };
        Vector { series: vec![series], one_name: true }
    }

    pub(super) fn samples(&self) -> u64 {
        self.series.iter().map(|series| series.values.len() as u64).sum()
    }

    /// Whether any series has a value at `step`.
    pub(super) fn any_at(&self, step: usize) -> bool {
        self.series.iter().any(|series| !is_absent(series.values[step]))
    }

    /// Joins series that have come to have the same labels; two values at one step are an error.
    pub(super) fn merged(self) -> Result<Vector> {
        let mut places: HashMap<Labels, usize> = HashMap::with_capacity(self.series.len());
        let mut merged: Vec<Series> = Vec::with_capacity(self.series.len());
        for mut series in self.series {
            let labels = series.metric.labels();
            series.metric = Metric::Built(labels.clone());
            match places.get(&labels) {
                None => {
                    places.insert(labels, merged.len());
                    merged.push(series);
                }
                Some(at) => {
                    let target = &mut merged[*at];
                    for (left, right) in target.values.iter_mut().zip(&series.values) {
                        match (is_absent(*left), is_absent(*right)) {
                            (false, false) => return Err(same_labels()),
                            (true, _) => *left = *right,
                            _ => {}
                        }
                    }
                    target.drop_name |= series.drop_name;
                }
            }
        }
        Ok(Vector { series: merged, one_name: false })
    }
}

pub(super) fn same_labels() -> EvalError {
    execution("vector cannot contain metrics with the same labelset")
}

/// Who a series is. A stored series stays a number until somebody asks for its labels.
#[derive(Clone)]
pub(super) enum Metric {
    Stored { id: SeriesId, lookup: Arc<dyn LabelLookup>, nameless: bool },
    Built(Labels),
}

/// The labels that describe a metric rather than a series.
const METADATA: [&str; 3] = [METRIC_NAME, "__type__", "__unit__"];

impl Metric {
    pub(super) fn labels(&self) -> Labels {
        match self {
            Metric::Built(labels) => labels.clone(),
            Metric::Stored { id, lookup, nameless: false } => lookup.labels(*id),
            Metric::Stored { id, lookup, nameless: true } => lookup.labels(*id).without(&METADATA),
        }
    }

    pub(super) fn drop_name(&mut self) {
        match self {
            Metric::Stored { nameless, .. } => *nameless = true,
            Metric::Built(labels) if METADATA.iter().any(|name| labels.get(name).is_some()) => {
                *labels = labels.without(&METADATA);
            }
            Metric::Built(_) => {}
        }
    }
}

/// What a series is handed to: its identity, whether its name goes at the end, its values.
pub(super) type Visit<'v> = &'v mut dyn FnMut(&mut Eval<'_>, Metric, bool, &[f64]) -> Result<()>;

/// A row of steps without any value.
pub(super) fn absent(count: usize) -> Vec<f64> {
    vec![ABSENT; count]
}
