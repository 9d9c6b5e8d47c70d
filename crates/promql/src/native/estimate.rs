//! What a histogram tells about its observations: quantiles, fractions, variance.
//!
//! Inside a bucket observations are spread evenly over the logarithm of the value; inside the zero
//! bucket and custom buckets over the value itself (`promql/quantile.go`).

use super::{BucketRange, FloatHistogram};
use crate::eval::kahan;

/// What is odd about an estimate: some observations were no numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Oddity {
    /// The quantile lies among the observations that were no numbers.
    NanResult,
    /// The quantile would be lower without them.
    NanSkew,
    /// No fraction counts them.
    NanFraction,
}

impl BucketRange {
    /// Which part of the bucket lies at or below `value`, which lies inside it.
    pub(super) fn fraction_below(&self, value: f64, linear: bool) -> f64 {
        if linear {
            return (value - self.lower) / (self.upper - self.lower);
        }
        let [lower, upper, at] = [self.lower, self.upper, value].map(|v| v.abs().log2());
        if value > 0.0 {
            (at - lower) / (upper - lower)
        } else {
            1.0 - (at - upper) / (lower - upper)
        }
    }
}

impl FloatHistogram {
    /// The zero bucket reaches only to the side on which there are buckets.
    fn one_sided(&self, bucket: &mut BucketRange) {
        match (self.negative.is_empty(), self.positive.is_empty()) {
            (true, false) => bucket.lower = 0.0,
            (false, true) => bucket.upper = 0.0,
            _ => {}
        }
    }

    /// The `q`-quantile of the observations.
    pub(crate) fn quantile(&self, q: f64) -> (f64, Option<Oddity>) {
        if q < 0.0 {
            return (f64::NEG_INFINITY, None);
        }
        if q > 1.0 {
            return (f64::INFINITY, None);
        }
        if self.count == 0.0 || q.is_nan() {
            return (f64::NAN, None);
        }
        let upwards = self.sum.is_nan() || q < 0.5;
        let mut ranges = self.ascending();
        if !upwards {
            ranges.reverse();
        }
        let mut rank = if upwards { q * self.count } else { (1.0 - q) * self.count };
        let nothing = BucketRange {
            lower: 0.0,
            upper: 0.0,
            lower_inclusive: false,
            upper_inclusive: false,
            count: 0.0,
        };
        let (mut count, mut bucket, mut next) = (0.0, nothing, ranges.len());
        for (at, range) in ranges.iter().enumerate() {
            bucket = *range;
            count += range.count;
            if range.count != 0.0 && count >= rank {
                next = at + 1;
                break;
            }
        }
        if self.has_custom_buckets() {
            if bucket.lower == f64::NEG_INFINITY {
                if bucket.upper <= 0.0 {
                    return (bucket.upper, None);
                }
                bucket.lower = 0.0;
            } else if bucket.upper == f64::INFINITY {
                return (bucket.lower, None);
            }
        } else if bucket.lower < 0.0 && bucket.upper > 0.0 {
            self.one_sided(&mut bucket);
        }
        count = count.min(self.count);
        if count < rank {
            return match self.sum.is_nan() {
                true => (f64::NAN, Some(Oddity::NanResult)),
                false => (bucket.upper, None),
            };
        }
        rank = if upwards { rank - (count - bucket.count) } else { count - rank };
        let mut oddity = None;
        if self.sum.is_nan() {
            let all = ranges[next..].iter().fold(count, |sum, range| sum + range.count);
            oddity = (all < self.count).then_some(Oddity::NanSkew);
        }
        (self.inside(&bucket, rank / bucket.count), oddity)
    }

    /// The value below which a fraction of the bucket lies.
    fn inside(&self, bucket: &BucketRange, fraction: f64) -> f64 {
        let (lower, upper) = (bucket.lower, bucket.upper);
        if self.has_custom_buckets() || (lower <= 0.0 && upper >= 0.0) {
            return lower + (upper - lower) * fraction;
        }
        let (log_lower, log_upper) = (lower.abs().log2(), upper.abs().log2());
        if lower > 0.0 {
            (log_lower + (log_upper - log_lower) * fraction).exp2()
        } else {
            -(log_upper + (log_lower - log_upper) * (1.0 - fraction)).exp2()
        }
    }

    /// The part of the observations between two values.
    pub(crate) fn fraction(&self, lower: f64, upper: f64) -> (f64, Option<Oddity>) {
        if self.count == 0.0 || lower.is_nan() || upper.is_nan() {
            return (f64::NAN, None);
        }
        if lower >= upper {
            return (0.0, None);
        }
        let ranges = self.ascending();
        let (mut count, mut oddity) = (self.count, None);
        if self.sum.is_nan() {
            count = ranges.iter().map(|range| range.count).sum();
            oddity = (count < self.count).then_some(Oddity::NanFraction);
        }
        let below = |value: f64| self.rank_of(value, &ranges).map_or(count, |rank| rank.min(count));
        ((below(upper) - below(lower)) / self.count, oddity)
    }

    /// How many observations lie below `value`; nothing when it lies above all buckets.
    fn rank_of(&self, value: f64, ranges: &[BucketRange]) -> Option<f64> {
        let mut rank = 0.0;
        for range in ranges {
            let mut range = *range;
            let is_zero = range.lower <= 0.0 && range.upper >= 0.0;
            if is_zero {
                self.one_sided(&mut range);
            }
            if range.lower >= value {
                return Some(rank);
            }
            if range.upper > value {
                let linear = self.has_custom_buckets() || is_zero;
                if linear && range.lower == f64::NEG_INFINITY {
                    return Some(range.count);
                }
                return Some(rank + range.count * range.fraction_below(value, linear));
            }
            rank += range.count;
        }
        None
    }

    /// The variance of the observations, each taken to lie in the middle of its bucket.
    pub(crate) fn variance(&self) -> f64 {
        let mean = self.sum / self.count;
        let (mut variance, mut lost) = (0.0, 0.0);
        for range in self.ascending().iter().filter(|range| range.count != 0.0) {
            let middle = if self.has_custom_buckets() {
                (range.upper + range.lower) / 2.0
            } else if range.lower <= 0.0 && range.upper >= 0.0 {
                0.0
            } else {
                (range.upper * range.lower).sqrt().copysign(range.upper)
            };
            let delta = middle - mean;
            (variance, lost) = kahan(range.count * delta * delta, variance, lost);
        }
        (variance + lost) / self.count
    }
}
