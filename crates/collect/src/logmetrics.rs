//! Metrics made of lines as they arrive: counters and histograms that rules (`logs.metrics`) keep.
//!
//! A rule is a LogQL query for lines. Each line that comes out of it counts: one, or the number in
//! the label named by `value`, times `scale`. The labels named by the rule tell its series apart; they may be labels of
//! the stream, structured metadata or what the query's parsers found.
//!
//! [`LogMetrics::look`] is called with every push, before it is answered; [`LogMetrics::write`]
//! stores the sums, a row per call, under the labels as they are. Sums start at nothing when the program starts, which
//! Prometheus' functions take for a counter's reset. A rule has at most [`SERIES_MAX`] series: what
//! would be one more goes into the series whose labels all have the value `other`.

use crate::sink::MetricSink;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use vigie_codec::exposition::MetricKind;
use vigie_config::{LogMetric, LogMetricKind};
use vigie_logql::{Followed, Follower};
use vigie_model::{Labels, LogEntry, Row, STALE_NAN, SeriesId};

/// Most series of one rule; of a histogram, most sets of its labels.
pub const SERIES_MAX: usize = 1000;
/// The value of all labels of the series that takes what is too much.
const OTHER: &str = "other";

/// All rules and their sums.
pub struct LogMetrics {
    rules: Vec<Arc<Mutex<Rule>>>,
}

struct Rule {
    follower: Follower,
    metric: LogMetric,
    sums: HashMap<Vec<String>, Sums>,
    is_described: bool,
}

/// What one set of labels has come to.
struct Sums {
    /// For a counter the sum, for a histogram the sum of observations.
    sum: f64,
    count: f64,
    /// Observations in each bucket alone, the one without a bound last.
    buckets: Vec<f64>,
    series: Vec<SeriesId>,
}

impl LogMetrics {
    /// Compiles the rules.
    ///
    /// # Errors
    /// A query that is not one for lines; the text names the metric.
    pub fn new(metrics: &[LogMetric]) -> Result<LogMetrics, String> {
        LogMetrics { rules: Vec::new() }.succeeded_by(metrics)
    }

    /// Compiles the rules of a new configuration. Those that stay as they are keep their sums, which
    /// both share from then on.
    ///
    /// # Errors
    /// See [`LogMetrics::new`].
    pub fn succeeded_by(&self, metrics: &[LogMetric]) -> Result<LogMetrics, String> {
        let known = |metric: &LogMetric| {
            let is_same = |rule: &&Arc<Mutex<Rule>>| {
                rule.lock().unwrap_or_else(PoisonError::into_inner).metric == *metric
            };
            self.rules.iter().find(is_same).cloned()
        };
        let rules = metrics.iter().map(|metric| match known(metric) {
            Some(rule) => Ok(rule),
            None => Rule::compile(metric).map(|rule| Arc::new(Mutex::new(rule))),
        });
        Ok(LogMetrics { rules: rules.collect::<Result<_, String>>()? })
    }

    /// Marks the series of rules stale that `next` does not have.
    ///
    /// # Errors
    /// The sink's sentence.
    pub fn end(&self, next: &LogMetrics, sink: &dyn MetricSink, ts_ms: i64) -> Result<(), String> {
        let stays =
            |rule: &&Arc<Mutex<Rule>>| next.rules.iter().any(|other| Arc::ptr_eq(rule, other));
        let mut series = Vec::new();
        for rule in self.rules.iter().filter(|rule| !stays(rule)) {
            let rule = rule.lock().unwrap_or_else(PoisonError::into_inner);
            series.extend(rule.sums.values().flat_map(|sums| &sums.series));
        }
        if series.is_empty() {
            return Ok(());
        }
        let values = vec![STALE_NAN; series.len()];
        sink.append(&[Row::floats(ts_ms, &series, &values)])
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Counts lines of a stream.
    pub fn look(&self, stream: &Labels, entries: &[LogEntry]) {
        for rule in &self.rules {
            let mut rule = rule.lock().unwrap_or_else(PoisonError::into_inner);
            let wanted =
                rule.follower.matchers().iter().all(|matcher| matcher.matches_labels(stream));
            for entry in entries.iter().filter(|_| wanted) {
                if let Some(line) = rule.follower.look(stream, entry) {
                    rule.count(&line);
                }
            }
        }
    }

    /// Stores all sums at an instant.
    ///
    /// # Errors
    /// The sink's sentence; the sums are kept and stored the next time.
    pub fn write(&self, sink: &dyn MetricSink, ts_ms: i64) -> Result<(), String> {
        let (mut series, mut values) = (Vec::new(), Vec::new());
        for rule in &self.rules {
            let mut rule = rule.lock().unwrap_or_else(PoisonError::into_inner);
            rule.write(sink, &mut series, &mut values)?;
        }
        if series.is_empty() {
            return Ok(());
        }
        sink.append(&[Row::floats(ts_ms, &series, &values)]).inspect_err(|_| self.look_up_again())
    }

    /// The store may have forgotten series that were away for long, and has told so.
    fn look_up_again(&self) {
        for rule in &self.rules {
            let mut rule = rule.lock().unwrap_or_else(PoisonError::into_inner);
            rule.sums.values_mut().for_each(|sums| sums.series.clear());
        }
    }
}

impl Rule {
    fn compile(metric: &LogMetric) -> Result<Rule, String> {
        let wrong = |why: String| {
            format!("logs.metrics: {}: {why} in match: {}", metric.name, metric.query)
        };
        let expr = vigie_logql::parse(&metric.query).map_err(|error| wrong(error.to_string()))?;
        let follower = Follower::new(&expr).map_err(|error| wrong(error.to_string()))?;
        Ok(Rule { follower, metric: metric.clone(), sums: HashMap::new(), is_described: false })
    }

    fn count(&mut self, line: &Followed) {
        let value = match &self.metric.value {
            None => 1.0,
            Some(label) => match line.labels.get(label).and_then(|text| text.parse::<f64>().ok()) {
                // A counter only rises.
                Some(value) if value.is_finite() && value >= 0.0 => value * self.metric.scale,
                _ => return,
            },
        };
        let labels = self.metric.labels.iter();
        let mut key: Vec<String> =
            labels.map(|name| line.labels.get(name).unwrap_or_default().to_owned()).collect();
        if self.sums.len() >= SERIES_MAX && !self.sums.contains_key(&key) {
            key = vec![OTHER.to_owned(); key.len()];
        }
        let bounds: &[f64] = match &self.metric.kind {
            LogMetricKind::Counter => &[],
            LogMetricKind::Histogram(bounds) => bounds,
        };
        let sums = self.sums.entry(key).or_insert_with(|| Sums {
            sum: 0.0,
            count: 0.0,
            buckets: vec![0.0; bounds.len() + 1],
            series: Vec::new(),
        });
        sums.sum += value;
        sums.count += 1.0;
        sums.buckets[bounds.partition_point(|bound| *bound < value)] += 1.0;
    }

    fn write(
        &mut self,
        sink: &dyn MetricSink,
        series: &mut Vec<SeriesId>,
        values: &mut Vec<f64>,
    ) -> Result<(), String> {
        let metric = &self.metric;
        if !self.is_described {
            let kind = match metric.kind {
                LogMetricKind::Counter => MetricKind::Counter,
                LogMetricKind::Histogram(_) => MetricKind::Histogram,
            };
            sink.metadata(&metric.name, kind, &metric.help, "");
            self.is_described = true;
        }
        for (key, sums) in &mut self.sums {
            if sums.series.is_empty() {
                sums.series = interned(sink, metric, key)?;
            }
            series.extend_from_slice(&sums.series);
            if metric.kind == LogMetricKind::Counter {
                values.push(sums.sum);
                continue;
            }
            let mut below = 0.0;
            values.extend(sums.buckets.iter().map(|count| {
                below += count;
                below
            }));
            values.extend([sums.sum, sums.count]);
        }
        Ok(())
    }
}

/// The series of one set of labels, in the order in which their values are written.
fn interned(
    sink: &dyn MetricSink,
    metric: &LogMetric,
    key: &[String],
) -> Result<Vec<SeriesId>, String> {
    let own = || metric.labels.iter().cloned().zip(key.iter().cloned());
    let series = |suffix: &str, le: Option<String>| {
        let name = ("__name__".to_owned(), format!("{}{suffix}", metric.name));
        let le = le.map(|bound| ("le".to_owned(), bound));
        sink.intern(&Labels::from_pairs(own().chain([name]).chain(le)))
    };
    let LogMetricKind::Histogram(bounds) = &metric.kind else {
        return Ok(vec![series("", None)?]);
    };
    let bounds = bounds.iter().map(|bound| vigie_model::value::format_value(*bound));
    let mut all = Vec::new();
    for bound in bounds.chain(["+Inf".to_owned()]) {
        all.push(series("_bucket", Some(bound))?);
    }
    all.push(series("_sum", None)?);
    all.push(series("_count", None)?);
    Ok(all)
}

#[cfg(test)]
mod tests;
