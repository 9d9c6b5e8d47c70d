//! Functions over the samples of one window.

use vigie_model::value::quantile;

/// A sample: its instant in nanoseconds and its number.
pub(super) type Point = (i64, f64);

/// One window of one series.
pub(super) struct Window<'a> {
    /// The samples in `(end - range, end]`, ascending, at least one.
    pub(super) points: &'a [Point],
    /// The window's end.
    pub(super) end_ns: i64,
    /// The window's length.
    pub(super) range_ns: i64,
}

/// Whether an aggregation needs no more of a window than how many lines it has and how long they
/// are; both are whole numbers, so sums of them are exact in any order.
pub(super) fn only_counts(op: &str, unwrapped: bool) -> bool {
    match op {
        "rate" => !unwrapped,
        "count_over_time" | "bytes_over_time" | "bytes_rate" | "absent_over_time" => true,
        _ => false,
    }
}

/// The value of such an aggregation over a window that is not empty.
pub(super) fn counted(op: &str, lines: f64, bytes: f64, range_ns: i64) -> f64 {
    let seconds = range_ns as f64 / 1e9;
    match op {
        "rate" => lines / seconds,
        "bytes_over_time" => bytes,
        "bytes_rate" => bytes / seconds,
        _ => lines,
    }
}

/// The value of any other range aggregation over a window; `None` where it has none.
pub(super) fn aggregate(op: &str, parameter: Option<f64>, window: &Window<'_>) -> Option<f64> {
    let points = window.points;
    let values = || points.iter().map(|(_, value)| *value);
    Some(match op {
        "rate" => values().sum::<f64>() / (window.range_ns as f64 / 1e9),
        "rate_counter" => return counter_rate(window),
        "sum_over_time" => values().sum(),
        "avg_over_time" => mean(values()),
        "max_over_time" => extreme(values(), |new, best| new > best),
        "min_over_time" => extreme(values(), |new, best| new < best),
        "stdvar_over_time" => variance(values()),
        "stddev_over_time" => variance(values()).sqrt(),
        "first_over_time" => points.first()?.1,
        "last_over_time" => points.last()?.1,
        "quantile_over_time" => {
            quantile(parameter.unwrap_or(f64::NAN), &mut values().collect::<Vec<_>>())
        }
        _ => unreachable!("the parser knows no other range aggregation: {op}"),
    })
}

/// A running mean, which does not overflow where a sum would; infinities stay.
pub(super) fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (mut mean, mut count) = (0.0, 0.0);
    for value in values {
        count += 1.0;
        if f64::is_infinite(mean) && (value.is_finite() || mean == value) {
            continue;
        }
        if mean.is_infinite() && value.is_infinite() {
            return f64::NAN;
        }
        mean += value / count - mean / count;
    }
    mean
}

/// The greatest or least value; a number beats NaN.
pub(super) fn extreme(values: impl Iterator<Item = f64>, better: fn(f64, f64) -> bool) -> f64 {
    values
        .reduce(|best, new| if better(new, best) || best.is_nan() { new } else { best })
        .unwrap_or(f64::NAN)
}

/// Welford's population variance.
pub(super) fn variance(values: impl Iterator<Item = f64>) -> f64 {
    let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
    for value in values {
        count += 1.0;
        let delta = value - mean;
        mean += delta / count;
        squares += delta * (value - mean);
    }
    squares / count
}

/// Prometheus' extrapolated rate of a counter, resets added back.
fn counter_rate(window: &Window<'_>) -> Option<f64> {
    let points = window.points;
    let ([first, ..], [.., last]) = (points, points) else { return None };
    if points.len() < 2 || first.0 == last.0 {
        return Some(0.0);
    }
    let mut increase = last.1 - first.1;
    for pair in points.windows(2) {
        if pair[1].1 < pair[0].1 {
            increase += pair[0].1;
        }
    }
    let seconds = |ns: i64| ns as f64 / 1e9;
    let mut to_start = seconds(first.0 - (window.end_ns - window.range_ns));
    let mut to_end = seconds(window.end_ns - last.0);
    let sampled = seconds(last.0 - first.0);
    let between = sampled / (points.len() - 1) as f64;
    let threshold = between * 1.1;
    if to_start >= threshold {
        to_start = between / 2.0;
    }
    if increase > 0.0 && first.1 >= 0.0 {
        // A counter does not start below zero.
        to_start = to_start.min(sampled * (first.1 / increase));
    }
    if to_end >= threshold {
        to_end = between / 2.0;
    }
    let factor = (sampled + to_start + to_end) / sampled;
    Some(increase * factor / seconds(window.range_ns))
}
