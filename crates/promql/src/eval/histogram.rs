//! Quantiles and fractions of histograms: native ones, each a sample of its own, and classic ones,
//! whose series differ only in `le` and are the cumulative buckets of one histogram.

use super::math::almost_equal;
use super::notes::{Note, Repair};
use super::value::{Metric, Series, Steps, Vector, absent};
use super::{Eval, Result};
use crate::native::{FloatHistogram, Oddity};
use crate::syntax::{Node, Span};
use std::collections::HashMap;
use vigie_model::value::parse_value;
use vigie_model::{Labels, is_absent};

const BUCKET: &str = "le";

/// Counts that differ by less than this part of their sum are the same count.
const TOLERANCE: f64 = 1e-12;

/// A cumulative bucket at one step.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    upper: f64,
    count: f64,
}

/// The series of one histogram.
struct Classic {
    labels: Labels,
    drop_name: bool,
    /// Upper bound and place in the vector.
    buckets: Vec<(f64, usize)>,
}

impl Eval<'_> {
    /// `histogram_quantile(q, buckets)`.
    pub(super) fn histogram_quantile(&mut self, args: &[Node], steps: Steps) -> Result<Vector> {
        let quantiles = self.scalar(&args[0], steps)?;
        self.quantiles(&quantiles, &args[0], &args[1], steps)
    }

    fn quantiles(
        &mut self,
        quantiles: &[f64],
        quantile_arg: &Node,
        buckets_arg: &Node,
        steps: Steps,
    ) -> Result<Vector> {
        let vector = self.vector(buckets_arg, steps)?;
        for q in quantiles.iter().filter(|q| !(0.0..=1.0).contains(*q)) {
            self.notes.invalid_quantile(*q, quantile_arg.span);
        }
        let span = buckets_arg.span;
        let delayed = self.options.delayed_name_removal;
        let native = |histogram: &FloatHistogram, step: usize| histogram.quantile(quantiles[step]);
        self.histograms(vector, steps, span, native, |eval, histogram, step, buckets| {
            let (value, repair) = bucket_quantile(quantiles[step], buckets);
            if let Some(mut repair) = repair {
                (repair.first_ms, repair.last_ms) = (steps.at(step), steps.at(step));
                let name = histogram.labels.metric_name().filter(|_| delayed).unwrap_or("");
                eval.notes.forced_monotonicity(name, span, repair);
            }
            value
        })
    }

    /// `histogram_quantiles(buckets, label, q…)`: one series per quantile, told apart by a label.
    pub(super) fn histogram_quantiles(&mut self, args: &[Node], steps: Steps) -> Result<Vector> {
        let label = super::labels::text(&args[1]).value.as_str();
        let mut all = Vector::default();
        for arg in &args[2..] {
            let quantiles = self.scalar(arg, steps)?;
            let found = self.quantiles(&quantiles, arg, &args[0], steps)?;
            let Some(q) = quantiles.first() else { continue };
            if quantiles.iter().any(|other| other.to_bits() != q.to_bits()) {
                let position = arg.span.line_column(self.expr.text());
                let text = "histogram_quantiles() needs quantiles that do not change over time";
                return Err(super::execution(format!("{position}: {text}")));
            }
            for mut series in found.series {
                let mut builder = series.metric.labels().to_builder();
                builder.set(label, open_metrics_float(*q));
                series.metric = Metric::Built(builder.build());
                all.series.push(series);
            }
        }
        all.merged()
    }

    /// `histogram_fraction(lower, upper, buckets)`.
    pub(super) fn histogram_fraction(&mut self, args: &[Node], steps: Steps) -> Result<Vector> {
        let (lower, upper) = (self.scalar(&args[0], steps)?, self.scalar(&args[1], steps)?);
        let vector = self.vector(&args[2], steps)?;
        let native =
            |histogram: &FloatHistogram, step: usize| histogram.fraction(lower[step], upper[step]);
        self.histograms(vector, steps, args[2].span, native, |_, _, step, buckets| {
            bucket_fraction(lower[step], upper[step], buckets)
        })
    }

    fn histograms(
        &mut self,
        vector: Vector,
        steps: Steps,
        span: Span,
        native: impl Fn(&FloatHistogram, usize) -> (f64, Option<Oddity>),
        mut f: impl FnMut(&mut Self, &Classic, usize, &mut Vec<Bucket>) -> f64,
    ) -> Result<Vector> {
        let mut found = Vec::new();
        let mut buckets = Vec::new();
        let classic = self.group_buckets(&vector, span);
        let mixed = self.mixed(&vector, &classic, span);
        for series in vector.series.iter().filter(|series| !series.histograms.is_empty()) {
            self.tick()?;
            found.push(self.of_natives(series, &mixed, span, &native));
        }
        for histogram in classic {
            self.tick()?;
            let mut values = absent(steps.count);
            let is_mixed = mixed.get(&histogram.labels);
            for (step, value) in values.iter_mut().enumerate() {
                if is_mixed.is_some_and(|steps| steps[step]) {
                    continue;
                }
                buckets.clear();
                for (upper, at) in &histogram.buckets {
                    let series = &vector.series[*at];
                    let count = series.values[step];
                    if !is_absent(count) && series.histogram(step).is_none() {
                        buckets.push(Bucket { upper: *upper, count });
                    }
                }
                if !buckets.is_empty() {
                    *value = f(self, &histogram, step, &mut buckets);
                }
            }
            let metric = Metric::Built(histogram.labels);
            found.push(Series::floats(metric, histogram.drop_name, values));
        }
        // A native histogram and its classic twin may take turns.
        self.nameless(Vector { series: found, one_name: false })
    }

    /// The steps at which a native histogram has a classic twin of the same labels: neither counts.
    fn mixed(
        &mut self,
        vector: &Vector,
        classic: &[Classic],
        span: Span,
    ) -> HashMap<Labels, Vec<bool>> {
        let delayed = self.options.delayed_name_removal;
        let mut mixed = HashMap::new();
        for series in vector.series.iter().filter(|series| !series.histograms.is_empty()) {
            let labels = series.metric.labels();
            let Some(twin) = classic.iter().find(|twin| twin.labels == labels) else { continue };
            let has_bucket = |step: usize| {
                let present = |(_, at): &(f64, usize)| {
                    let bucket = &vector.series[*at];
                    !is_absent(bucket.values[step]) && bucket.histogram(step).is_none()
                };
                twin.buckets.iter().any(present)
            };
            let steps = series.histograms.iter().enumerate();
            let both: Vec<bool> =
                steps.map(|(step, native)| native.is_some() && has_bucket(step)).collect();
            if both.iter().any(|both| *both) {
                let name = labels.metric_name().filter(|_| delayed).unwrap_or("").to_owned();
                self.notes.told(&Note::MixedClassic(name), span);
            }
            mixed.insert(labels, both);
        }
        mixed
    }

    fn of_natives(
        &mut self,
        series: &Series,
        mixed: &HashMap<Labels, Vec<bool>>,
        span: Span,
        native: impl Fn(&FloatHistogram, usize) -> (f64, Option<Oddity>),
    ) -> Series {
        let labels = series.metric.labels();
        let delayed = self.options.delayed_name_removal;
        let name = labels.metric_name().filter(|_| delayed).unwrap_or("");
        let is_mixed = mixed.get(&labels);
        let mut values = absent(series.values.len());
        for (step, histogram) in series.histograms.iter().enumerate() {
            let skipped = is_mixed.is_some_and(|steps| steps[step]);
            let Some(histogram) = histogram.as_ref().filter(|_| !skipped) else { continue };
            let (value, oddity) = native(histogram, step);
            values[step] = value;
            let note = oddity.map(|oddity| match oddity {
                Oddity::NanResult => Note::NanResult(name.to_owned()),
                Oddity::NanSkew => Note::NanSkew(name.to_owned()),
                Oddity::NanFraction => Note::NanFraction(name.to_owned()),
            });
            if let Some(note) = note {
                self.notes.told(&note, span);
            }
        }
        Series::floats(series.metric.clone(), series.drop_name, values)
    }

    fn group_buckets(&mut self, vector: &Vector, span: Span) -> Vec<Classic> {
        let delayed = self.options.delayed_name_removal;
        let mut places: HashMap<Labels, usize> = HashMap::new();
        let mut histograms: Vec<Classic> = Vec::new();
        let exists = |series: &Series| {
            series.row().has_floats() && !series.values.iter().all(|value| is_absent(*value))
        };
        for (at, series) in vector.series.iter().enumerate().filter(|(_, s)| exists(s)) {
            let labels = series.metric.labels();
            let text = labels.value_or_empty(BUCKET);
            let Some(upper) = parse_value(text) else {
                let name = labels.metric_name().filter(|_| delayed).unwrap_or("");
                self.notes.bad_bucket(name, text, span);
                continue;
            };
            let rest = labels.without(&[BUCKET]);
            let place = *places.entry(rest.clone()).or_insert_with(|| {
                let drop_name = series.drop_name;
                histograms.push(Classic { labels: rest, drop_name, buckets: Vec::new() });
                histograms.len() - 1
            });
            histograms[place].buckets.push((upper, at));
        }
        histograms
    }
}

/// A quantile as a label value: always with a point or an exponent.
fn open_metrics_float(value: f64) -> String {
    let text = crate::syntax::go_general(value, None);
    let whole = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    if whole { format!("{text}.0") } else { text }
}

/// Sorts the buckets and joins those with the same bound; false when there is no `+Inf` bucket.
fn prepare(buckets: &mut Vec<Bucket>) -> bool {
    buckets.sort_by(|left, right| left.upper.total_cmp(&right.upper));
    if buckets.last().is_none_or(|last| last.upper != f64::INFINITY) {
        return false;
    }
    buckets.dedup_by(|next, kept| {
        let same = next.upper == kept.upper;
        if same {
            kept.count += next.count;
        }
        same
    });
    true
}

/// Makes the counts ascend; says how, unless only rounding was at fault.
fn make_monotonic(buckets: &mut [Bucket]) -> Option<Repair> {
    let mut repair: Option<Repair> = None;
    let mut previous = buckets[0].count;
    for bucket in &mut buckets[1..] {
        let count = bucket.count;
        if almost_equal(previous, count, TOLERANCE) {
            bucket.count = previous;
        } else if count < previous {
            bucket.count = previous;
            let entry = repair.get_or_insert(Repair {
                first_ms: 0,
                last_ms: 0,
                bucket_min: f64::INFINITY,
                bucket_max: f64::NEG_INFINITY,
                difference_max: 0.0,
                count: 0,
            });
            entry.bucket_min = entry.bucket_min.min(bucket.upper);
            entry.bucket_max = entry.bucket_max.max(bucket.upper);
            entry.difference_max = entry.difference_max.max(previous - count);
        } else {
            previous = count;
        }
    }
    repair
}

fn bucket_quantile(q: f64, buckets: &mut Vec<Bucket>) -> (f64, Option<Repair>) {
    if q.is_nan() {
        return (f64::NAN, None);
    }
    if !(0.0..=1.0).contains(&q) {
        return (f64::INFINITY.copysign(q), None);
    }
    if !prepare(buckets) {
        return (f64::NAN, None);
    }
    let repair = make_monotonic(buckets);
    let last = buckets.len() - 1;
    let observations = buckets[last].count;
    if last == 0 || observations == 0.0 {
        return (f64::NAN, repair);
    }
    let mut rank = q * observations;
    // Like a binary search over the buckets before the last; a NaN rank ends in the last one.
    let at = buckets[..last]
        .partition_point(|bucket| bucket.count < rank || (bucket.count - rank).is_nan());
    let value = if at == last {
        buckets[last - 1].upper
    } else if at == 0 && buckets[0].upper <= 0.0 {
        buckets[0].upper
    } else {
        let (mut start, end, mut count) = (0.0, buckets[at].upper, buckets[at].count);
        if at > 0 {
            start = buckets[at - 1].upper;
            count -= buckets[at - 1].count;
            rank -= buckets[at - 1].count;
        }
        start + (end - start) * (rank / count)
    };
    (value, repair)
}

fn bucket_fraction(lower: f64, upper: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if !prepare(buckets) {
        return f64::NAN;
    }
    let total = buckets[buckets.len() - 1].count;
    if total == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    (rank_of(upper, buckets, total) - rank_of(lower, buckets, total)) / total
}

/// How many observations lie below `value`, interpolated inside its bucket.
fn rank_of(value: f64, buckets: &[Bucket], total: f64) -> f64 {
    let mut rank: f64 = 0.0;
    let mut start = if buckets[0].upper <= 0.0 { f64::NEG_INFINITY } else { 0.0 };
    for bucket in buckets {
        if start >= value {
            return rank.min(total);
        }
        if bucket.upper > value {
            let inside = if start == f64::NEG_INFINITY {
                bucket.count
            } else {
                rank + (bucket.count - rank) * (value - start) / (bucket.upper - start)
            };
            return if inside > total { total } else { inside };
        }
        rank = bucket.count;
        start = bucket.upper;
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(pairs: &[(f64, f64)]) -> Vec<Bucket> {
        pairs.iter().map(|(upper, count)| Bucket { upper: *upper, count: *count }).collect()
    }

    #[test]
    fn quantiles_interpolate_inside_a_bucket() {
        const INF: f64 = f64::INFINITY;
        for (q, pairs, wanted) in [
            (0.5, &[(1.0, 5.0), (2.0, 10.0), (INF, 10.0)][..], 1.0),
            (0.75, &[(1.0, 5.0), (2.0, 10.0), (INF, 10.0)], 1.5),
            (1.0, &[(1.0, 5.0), (INF, 10.0)], 1.0),
            (0.1, &[(-1.0, 5.0), (INF, 10.0)], -1.0),
            (-0.1, &[(1.0, 5.0), (INF, 10.0)], -INF),
            (0.75, &[(INF, 10.0), (2.0, 5.0), (2.0, 5.0), (1.0, 5.0)], 1.5),
        ] {
            assert_eq!(bucket_quantile(q, &mut buckets(pairs)).0, wanted, "{q} {pairs:?}");
        }
        assert!(bucket_quantile(0.5, &mut buckets(&[(1.0, 1.0)])).0.is_nan());
        let mut broken = buckets(&[(1.0, 5.0), (2.0, 4.0), (INF, 10.0)]);
        assert_eq!(bucket_quantile(0.5, &mut broken).1.map(|r| r.difference_max), Some(1.0));
    }
}
