//! What nodes hand to each other: steps, vectors of series, and identities that are resolved late.

use super::{Eval, EvalError, Result, execution};
use crate::native::FloatHistogram;
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

    /// The floats of a row, with their instants.
    pub(super) fn points(self, row: Row<'_>) -> Vec<(i64, f64)> {
        let values = self.times().zip(row.values.iter().copied()).enumerate();
        let is_float = |step: usize, value: f64| !is_absent(value) && row.histogram(step).is_none();
        values
            .filter(|(step, (_, value))| is_float(*step, *value))
            .map(|(_, point)| point)
            .collect()
    }

    /// The histograms of a row, with their instants.
    pub(super) fn histograms(self, row: Row<'_>) -> Vec<(i64, Arc<FloatHistogram>)> {
        let all = self.times().zip(row.histograms);
        all.filter_map(|(ts_ms, histogram)| Some((ts_ms, Arc::clone(histogram.as_ref()?))))
            .collect()
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

impl Out {
    /// How many series there are; a number is none.
    pub(super) fn series(&self) -> u64 {
        match self {
            Out::Vector(vector) => vector.series.len() as u64,
            Out::Scalar(_) | Out::Text(_) => 0,
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

/// The native histograms of a row: empty, or one place per step.
pub(super) type Histograms = Vec<Option<Arc<FloatHistogram>>>;

/// What stands in `values` where a native histogram is the sample: anything but [`ABSENT`].
pub(super) const IS_HISTOGRAM: f64 = 0.0;

/// One sample.
#[derive(Clone)]
pub(super) enum Point {
    Float(f64),
    Histogram(Arc<FloatHistogram>),
}

/// The samples of a series, one per step. A step has a sample when its value is not [`ABSENT`]; it is
/// a histogram when there is one.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) values: &'a [f64],
    /// Empty when all samples are floats.
    pub(super) histograms: &'a [Option<Arc<FloatHistogram>>],
}

impl<'a> Row<'a> {
    pub(super) fn histogram(self, step: usize) -> Option<&'a Arc<FloatHistogram>> {
        self.histograms.get(step)?.as_ref()
    }

    /// Whether any sample is a float.
    pub(super) fn has_floats(self) -> bool {
        self.histograms.is_empty()
            || (0..self.values.len())
                .any(|step| !is_absent(self.values[step]) && self.histograms[step].is_none())
    }
}

/// One series of a [`Vector`].
#[derive(Clone)]
pub(super) struct Series {
    pub(super) metric: Metric,
    /// Whether the metric name goes at the end of the evaluation.
    pub(super) drop_name: bool,
    pub(super) values: Vec<f64>,
    pub(super) histograms: Histograms,
}

impl Series {
    /// A series of floats.
    pub(super) fn floats(metric: Metric, drop_name: bool, values: Vec<f64>) -> Series {
        Series { metric, drop_name, values, histograms: Vec::new() }
    }

    pub(super) fn row(&self) -> Row<'_> {
        Row { values: &self.values, histograms: &self.histograms }
    }

    pub(super) fn histogram(&self, step: usize) -> Option<&Arc<FloatHistogram>> {
        self.histograms.get(step)?.as_ref()
    }

    /// The sample at `step`, if there is one.
    pub(super) fn point(&self, step: usize) -> Option<Point> {
        match self.histogram(step) {
            Some(histogram) => Some(Point::Histogram(Arc::clone(histogram))),
            None => Some(self.values[step]).filter(|v| !is_absent(*v)).map(Point::Float),
        }
    }

    /// Sets the sample at `step`.
    pub(super) fn put(&mut self, step: usize, point: Option<Point>) {
        put(&mut self.values, &mut self.histograms, step, point);
    }

    /// Forgets all histograms.
    pub(super) fn drop_histograms(&mut self) {
        for (value, histogram) in self.values.iter_mut().zip(self.histograms.drain(..)) {
            if histogram.is_some() {
                *value = ABSENT;
            }
        }
    }

    /// Its size in units of a float sample.
    fn cells(&self) -> u64 {
        let native = self.histograms.iter().flatten().map(|histogram| histogram.cells() as u64);
        self.values.len() as u64 + native.sum::<u64>()
    }
}

/// Sets the sample at `step` of a row.
pub(super) fn put(
    values: &mut [f64],
    histograms: &mut Histograms,
    step: usize,
    point: Option<Point>,
) {
    let (value, histogram) = match point {
        None => (ABSENT, None),
        Some(Point::Float(value)) => (value, None),
        Some(Point::Histogram(histogram)) => (IS_HISTOGRAM, Some(histogram)),
    };
    values[step] = value;
    if histogram.is_some() && histograms.is_empty() {
        histograms.resize(values.len(), None);
    }
    if let Some(place) = histograms.get_mut(step) {
        *place = histogram;
    }
}

impl Vector {
    /// One series without labels.
    pub(super) fn lone(labels: Labels, values: Vec<f64>) -> Vector {
        let series = Series::floats(Metric::Built(labels), false, values);
        Vector { series: vec![series], one_name: true }
    }

    pub(super) fn samples(&self) -> u64 {
        self.series.iter().map(Series::cells).sum()
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
                    for step in 0..target.values.len() {
                        match (is_absent(target.values[step]), is_absent(series.values[step])) {
                            (false, false) => return Err(same_labels()),
                            (true, false) => target.put(step, series.point(step)),
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
pub(super) const METADATA: [&str; 3] = [METRIC_NAME, "__type__", "__unit__"];

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

/// What a series is handed to: its identity, whether its name goes at the end, its samples.
pub(super) type Visit<'v> = &'v mut dyn FnMut(&mut Eval<'_>, Metric, bool, Row<'_>) -> Result<()>;

/// A row of steps without any value.
pub(super) fn absent(count: usize) -> Vec<f64> {
    vec![ABSENT; count]
}
