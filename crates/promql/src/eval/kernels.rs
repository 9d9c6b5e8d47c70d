//! The functions over windows of samples. Each sees one window of one series, which is never empty
//! and holds neither gaps nor stale markers.

use super::math::{self, Mean, kahan, regression};
use super::stretch::Stretch;
use crate::syntax::Span;
use vigie_model::value::quantile;

/// The samples of a window with its ends.
#[derive(Clone, Copy)]
pub(super) struct Window<'a> {
    pub(super) timestamps_ms: &'a [i64],
    pub(super) values: &'a [f64],
    /// The open left end.
    pub(super) start_ms: i64,
    /// The closed right end.
    pub(super) end_ms: i64,
    /// The step that is evaluated, before `@` and `offset`.
    pub(super) now_ms: i64,
    /// When the counters of the samples began, 0 where unknown; empty when nothing is known.
    pub(super) starts_ms: &'a [i64],
    /// Whether no value of the series is below the one before it, so that there are no resets.
    pub(super) ascending: bool,
    /// The scalar arguments.
    pub(super) args: [f64; 2],
    /// Where the first argument stands.
    pub(super) first_span: Span,
    /// Whether the function is `changes`.
    pub(super) counts_changes: bool,
}

impl Window<'_> {
    /// A window without samples or arguments.
    pub(super) fn nothing(first_span: Span) -> Window<'static> {
        Window {
            timestamps_ms: &[],
            values: &[],
            starts_ms: &[],
            start_ms: 0,
            end_ms: 0,
            now_ms: 0,
            ascending: false,
            args: [0.0; 2],
            first_span,
            counts_changes: false,
        }
    }

    /// Whether the start timestamps tell of a reset after sample `old`.
    pub(super) fn started_anew(&self, old: usize) -> bool {
        match self.starts_ms.get(old..old + 2) {
            Some(&[before, now]) => math::started_anew(
                (before, self.timestamps_ms[old]),
                (now, self.timestamps_ms[old + 1]),
            ),
            _ => false,
        }
    }
}

/// A kernel answers nothing when the window has too few samples for it.
pub(super) type Kernel = fn(&Window<'_>) -> Option<f64>;

/// The kernel of that name.
pub(super) fn kernel(name: &str) -> Option<Kernel> {
    Some(match name {
        "avg_over_time" => |w| {
            let mut mean = Mean::default();
            w.values.iter().for_each(|value| mean.add(*value));
            Some(mean.result())
        },
        "changes" => |w| Some(pairs(w, |a, b| a != b && !(a.is_nan() && b.is_nan()))),
        "count_over_time" => |w| Some(w.values.len() as f64),
        "delta" => |w| extrapolated(w, false, false),
        "deriv" => |w| {
            let enough = w.values.len() >= 2;
            enough.then(|| regression(w.timestamps_ms, w.values, w.timestamps_ms[0]).0)
        },
        "double_exponential_smoothing" => smoothed,
        "first_over_time" => |w| w.values.first().copied(),
        "idelta" => |w| last_two(w, false),
        "increase" => |w| extrapolated(w, true, false),
        "irate" => |w| last_two(w, true),
        "last_over_time" => |w| w.values.last().copied(),
        "mad_over_time" => deviation,
        "max_over_time" => |w| Some(extreme(w, |new, old| new > old).1),
        "min_over_time" => |w| Some(extreme(w, |new, old| new < old).1),
        "predict_linear" => |w| {
            (w.values.len() >= 2).then(|| {
                let (slope, value) = regression(w.timestamps_ms, w.values, w.now_ms);
                slope * w.args[0] + value
            })
        },
        "absent_over_time" | "present_over_time" => |_| Some(1.0),
        "quantile_over_time" => |w| Some(quantile(w.args[0], &mut w.values.to_vec())),
        "rate" => |w| extrapolated(w, true, true),
        "resets" => |w| Some(resets(w)),
        "stddev_over_time" => |w| Some(variance(w.values).sqrt()),
        "stdvar_over_time" => |w| Some(variance(w.values)),
        "sum_over_time" => |w| Some(math::sum(w.values.iter().copied())),
        "ts_of_first_over_time" => |w| w.timestamps_ms.first().map(|ts| *ts as f64 / 1000.0),
        "ts_of_last_over_time" => |w| w.timestamps_ms.last().map(|ts| *ts as f64 / 1000.0),
        "ts_of_max_over_time" => |w| Some(extreme(w, |new, old| new >= old).0),
        "ts_of_min_over_time" => |w| Some(extreme(w, |new, old| new <= old).0),
        _ => return None,
    })
}

/// How many neighbours fulfil `test`.
fn pairs(w: &Window<'_>, test: fn(f64, f64) -> bool) -> f64 {
    w.values.windows(2).filter(|pair| test(pair[0], pair[1])).count() as f64
}

/// Time in seconds and value of the sample that beats all others; NaN only if all are NaN.
fn extreme(w: &Window<'_>, beats: fn(f64, f64) -> bool) -> (f64, f64) {
    let mut best = (w.timestamps_ms[0], w.values[0]);
    for (ts_ms, value) in w.timestamps_ms.iter().zip(w.values) {
        if beats(*value, best.1) || best.1.is_nan() {
            best = (*ts_ms, *value);
        }
    }
    (best.0 as f64 / 1000.0, best.1)
}

/// How often a counter was reset.
fn resets(w: &Window<'_>) -> f64 {
    let values = w.values.windows(2).enumerate();
    values.filter(|(at, pair)| pair[1] < pair[0] || w.started_anew(*at)).count() as f64
}

/// `rate`, `increase` and `delta`: the difference over the samples, stretched to the window.
fn extrapolated(w: &Window<'_>, is_counter: bool, is_rate: bool) -> Option<f64> {
    let last = w.values.len().checked_sub(1)?;
    let first = w.values[0];
    let mut result = w.values[last] - first;
    if is_counter && !w.ascending {
        // After a reset the counter starts from zero: what it had reached is added again.
        for (at, pair) in w.values.windows(2).enumerate() {
            if pair[1] < pair[0] || w.started_anew(at) {
                result += pair[0];
            }
        }
    }
    let samples = (w.timestamps_ms[0], w.timestamps_ms[last], last);
    let ends = (w.start_ms, w.end_ms);
    let began_ms = w.starts_ms.first().copied().unwrap_or(0);
    if is_counter && began_ms != 0 && began_ms > w.start_ms && began_ms < samples.0 {
        let stretch = Stretch::begun(began_ms, samples, ends, is_rate);
        return Some(stretch.of(first, result + first, is_counter));
    }
    (last > 0).then(|| Stretch::new(samples, ends, is_rate).of(first, result, is_counter))
}

/// `irate` and `idelta`.
fn last_two(w: &Window<'_>, is_rate: bool) -> Option<f64> {
    let last = w.values.len().checked_sub(1)?;
    let before = last.checked_sub(1)?;
    let (old, new) = (w.values[before], w.values[last]);
    let interval_ms = w.timestamps_ms[last] - w.timestamps_ms[before];
    let is_reset = new < old || w.started_anew(before);
    let difference = if is_rate && is_reset { new } else { new - old };
    Some(if is_rate { difference / (interval_ms as f64 / 1000.0) } else { difference })
}

fn variance(values: &[f64]) -> f64 {
    let (mut count, mut mean, mut sum) = (0.0, (0.0, 0.0), (0.0, 0.0));
    for value in values {
        count += 1.0;
        let delta = value - (mean.0 + mean.1);
        mean = kahan(delta / count, mean.0, mean.1);
        sum = kahan(delta * (value - (mean.0 + mean.1)), sum.0, sum.1);
    }
    (sum.0 + sum.1) / count
}

/// The median of the distances from the median.
fn deviation(w: &Window<'_>) -> Option<f64> {
    if w.values.iter().any(|value| value.is_nan()) {
        return Some(f64::NAN);
    }
    let mut values = w.values.to_vec();
    let median = quantile(0.5, &mut values);
    values.iter_mut().for_each(|value| *value = (*value - median).abs());
    Some(quantile(0.5, &mut values))
}

fn smoothed(w: &Window<'_>) -> Option<f64> {
    let [smoothing, trend_factor] = w.args;
    let (first, second) = (*w.values.first()?, *w.values.get(1)?);
    let (mut before, mut level, mut trend) = (0.0, first, second - first);
    for (at, value) in w.values.iter().enumerate().skip(1) {
        if at > 1 {
            trend = trend_factor * (level - before) + (1.0 - trend_factor) * trend;
        }
        let next = smoothing * value + (1.0 - smoothing) * (level + trend);
        (before, level) = (level, next);
    }
    Some(level)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str, timestamps_ms: &[i64], values: &[f64], start_ms: i64, end_ms: i64) -> f64 {
        let args = [0.5, 0.5];
        let (now_ms, ascending) = (end_ms, false);
        let window = Window {
            timestamps_ms,
            values,
            starts_ms: &[],
            start_ms,
            end_ms,
            now_ms,
            ascending,
            args,
            first_span: Span::default(),
            counts_changes: name == "changes",
        };
        kernel(name).unwrap()(&window).unwrap_or(-1.0)
    }

    #[test]
    fn rates_stretch_to_the_window_but_not_below_zero() {
        let times = [10_000, 20_000, 30_000];
        // Gaps of 10 s; 10 s to the left end is less than 1.1 gaps, so all of it counts.
        assert_eq!(run("increase", &times, &[10.0, 20.0, 30.0], 0, 30_000), 30.0);
        // The counter would have been zero 5 s before its first sample.
        assert_eq!(run("increase", &times, &[5.0, 15.0, 25.0], 0, 30_000), 25.0);
        // A gauge may well have been negative.
        assert_eq!(run("delta", &times, &[5.0, 15.0, 25.0], 0, 30_000), 30.0);
        // A reset: 15 → 5 counts as 15 lost and 5 gained.
        assert_eq!(run("increase", &times, &[10.0, 15.0, 5.0], 10_000, 30_000), 10.0);
        assert_eq!(run("rate", &[1], &[1.0], 0, 10), -1.0);
        assert_eq!(run("irate", &times, &[0.0, 30.0, 10.0], 0, 30_000), 1.0);
    }

    #[test]
    fn windows_are_counted_and_compared() {
        let times = [1, 2, 3, 4];
        let values = [1.0, f64::NAN, f64::NAN, 0.5];
        for (name, wanted) in
            [("changes", 2.0), ("resets", 0.0), ("max_over_time", 1.0), ("min_over_time", 0.5)]
        {
            assert_eq!(run(name, &times, &values, 0, 4), wanted, "{name}");
        }
    }
}
