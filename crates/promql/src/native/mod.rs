//! Native histograms as values: one sample that is a whole distribution, with float counts.
//!
//! A [`FloatHistogram`] holds its buckets as sorted lists of (index, count), one list per sign; which
//! bounds an index has follows from the schema, or from `custom_values` for custom buckets. A bucket
//! that is listed with a count of zero is the same as one that is not listed.
//! Sums are compensated (Neumaier): every count carries what it has lost until
//! [`FloatHistogram::settle`] adds it, exactly where Prometheus adds its compensation histogram.
//! Semantics: `model/histogram/float_histogram.go` of Prometheus 3.14.

mod add;
mod estimate;
mod reset;
mod trim;

pub(crate) use add::{Combined, Mixed};
pub(crate) use estimate::Oddity;

use crate::syntax::go_general;
use std::fmt::{self, Display, Formatter};
use std::sync::Arc;
use vigie_model::histogram::{CUSTOM_BUCKETS_SCHEMA, Counts, Histogram, ResetHint, Span};

/// One listed bucket of one sign.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    pub(crate) index: i32,
    pub(crate) count: f64,
    /// What the count lacks.
    pub(crate) lost: f64,
}

/// What the totals of a compensated sum lack.
#[derive(Clone, Copy, Debug, Default)]
struct Lost {
    zero_count: f64,
    count: f64,
    sum: f64,
}

/// A native histogram with float counts.
#[derive(Clone, Debug)]
pub struct FloatHistogram {
    /// What is known about a counter reset before this sample.
    pub reset_hint: ResetHint,
    /// Resolution: −4 to 8, or `CUSTOM_BUCKETS_SCHEMA`.
    pub schema: i32,
    /// Half width of the zero bucket.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: f64,
    /// Observations in all.
    pub count: f64,
    /// Sum of the observations.
    pub sum: f64,
    /// Ascending bounds of custom buckets, without +Inf.
    pub custom_values: Arc<[f64]>,
    pub(crate) positive: Vec<Bucket>,
    pub(crate) negative: Vec<Bucket>,
    lost: Lost,
}

/// A bucket with its bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BucketRange {
    /// The lower bound.
    pub lower: f64,
    /// The upper bound.
    pub upper: f64,
    /// Whether the lower bound belongs to the bucket.
    pub lower_inclusive: bool,
    /// Whether the upper bound belongs to the bucket.
    pub upper_inclusive: bool,
    /// Observations in the bucket.
    pub count: f64,
}

/// Two histograms are equal when all that they say is: bit for bit, the reset hint apart.
impl PartialEq for FloatHistogram {
    fn eq(&self, other: &FloatHistogram) -> bool {
        let same = |left: f64, right: f64| left.to_bits() == right.to_bits();
        let buckets = |left: &[Bucket], right: &[Bucket]| {
            let pairs = left.iter().zip(right);
            left.len() == right.len()
                && pairs.into_iter().all(|(l, r)| l.index == r.index && same(l.count, r.count))
        };
        self.schema == other.schema
            && same(self.count, other.count)
            && same(self.sum, other.sum)
            && self.custom_values == other.custom_values
            && self.zero_threshold == other.zero_threshold
            && same(self.zero_count, other.zero_count)
            && buckets(&self.negative, &other.negative)
            && buckets(&self.positive, &other.positive)
    }
}

impl FloatHistogram {
    /// A histogram without observations.
    pub(crate) fn empty(schema: i32, custom_values: Arc<[f64]>) -> FloatHistogram {
        FloatHistogram {
            reset_hint: ResetHint::Unknown,
            schema,
            zero_threshold: 0.0,
            zero_count: 0.0,
            count: 0.0,
            sum: 0.0,
            custom_values,
            positive: Vec::new(),
            negative: Vec::new(),
            lost: Lost::default(),
        }
    }

    /// The sample as stored, with float counts.
    pub fn from_stored(stored: &Histogram) -> FloatHistogram {
        let mut histogram =
            FloatHistogram::empty(stored.schema, Arc::from(&stored.custom_values[..]));
        histogram.reset_hint = stored.reset_hint;
        histogram.zero_threshold = stored.zero_threshold;
        histogram.sum = stored.sum;
        match &stored.counts {
            Counts::Integer { count, zero_count, positive, negative } => {
                histogram.count = *count as f64;
                histogram.zero_count = *zero_count as f64;
                histogram.positive = listed(&stored.positive_spans, absolute(positive));
                histogram.negative = listed(&stored.negative_spans, absolute(negative));
            }
            Counts::Float { count, zero_count, positive, negative } => {
                histogram.count = *count;
                histogram.zero_count = *zero_count;
                histogram.positive = listed(&stored.positive_spans, positive.iter().copied());
                histogram.negative = listed(&stored.negative_spans, negative.iter().copied());
            }
        }
        histogram
    }

    /// The sample as it is stored, with float counts and as few spans as there are gaps.
    pub fn to_stored(&self) -> Histogram {
        let counts = |buckets: &[Bucket]| buckets.iter().map(|bucket| bucket.count).collect();
        Histogram {
            reset_hint: self.reset_hint,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            sum: self.sum,
            counts: Counts::Float {
                count: self.count,
                zero_count: self.zero_count,
                positive: counts(&self.positive),
                negative: counts(&self.negative),
            },
            positive_spans: spans(&self.positive),
            negative_spans: spans(&self.negative),
            custom_values: self.custom_values.to_vec(),
        }
    }

    /// Whether the bucket bounds are the sample's own.
    pub fn has_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }

    /// Its size in memory, in units of a float sample.
    pub(crate) fn cells(&self) -> usize {
        16 + 3 * (self.positive.len() + self.negative.len())
    }

    /// Forgets buckets without observations.
    pub(crate) fn compact(mut self) -> FloatHistogram {
        for buckets in [&mut self.positive, &mut self.negative] {
            buckets.retain(|bucket| bucket.count != 0.0 || bucket.lost != 0.0);
        }
        self
    }

    /// Every listed bucket from the lowest to the highest, the zero bucket in its place if anything
    /// is in it; buckets that overlap with the zero bucket are cut.
    pub fn ascending(&self) -> Vec<BucketRange> {
        let mut found = Vec::with_capacity(self.negative.len() + self.positive.len() + 1);
        let width = self.zero_threshold;
        for bucket in self.negative.iter().rev() {
            let mut range = self.range(bucket, false);
            if range.upper < 0.0 && range.upper > -width {
                range.upper = -width;
            }
            found.push(range);
        }
        if self.zero_count > 0.0 {
            found.push(self.zero_range());
        }
        for bucket in &self.positive {
            let mut range = self.range(bucket, true);
            if !self.has_custom_buckets() && range.lower > 0.0 && range.lower < width {
                range.lower = width;
            }
            found.push(range);
        }
        found
    }

    fn zero_range(&self) -> BucketRange {
        BucketRange {
            lower: -self.zero_threshold,
            upper: self.zero_threshold,
            lower_inclusive: true,
            upper_inclusive: true,
            count: self.zero_count,
        }
    }

    fn range(&self, bucket: &Bucket, positive: bool) -> BucketRange {
        let (near, far) = (self.bound(bucket.index - 1), self.bound(bucket.index));
        let (lower, upper) = if positive { (near, far) } else { (-far, -near) };
        let custom = self.has_custom_buckets();
        BucketRange {
            lower,
            upper,
            lower_inclusive: if custom { bucket.index == 0 } else { lower < 0.0 },
            upper_inclusive: custom || upper > 0.0,
            count: bucket.count,
        }
    }

    /// The bound of a positive bucket that lies away from zero.
    fn bound(&self, index: i32) -> f64 {
        if !self.has_custom_buckets() {
            return exponential_bound(index, self.schema);
        }
        match usize::try_from(index) {
            Err(_) => f64::NEG_INFINITY,
            Ok(at) => self.custom_values.get(at).copied().unwrap_or(f64::INFINITY),
        }
    }
}

/// The upper bound of a positive exponential bucket. The last bucket for finite observations ends
/// at the largest float instead of infinity.
fn exponential_bound(index: i32, schema: i32) -> f64 {
    let exponent = if schema < 0 {
        f64::from(index) * f64::from(-schema).exp2()
    } else {
        f64::from(index) / f64::from(schema).exp2()
    };
    if exponent == 1024.0 { f64::MAX } else { exponent.exp2() }
}

/// Deltas to counts.
fn absolute(deltas: &[i64]) -> impl Iterator<Item = f64> {
    deltas.iter().scan(0i64, |count, delta| {
        *count = count.wrapping_add(*delta);
        Some(*count as f64)
    })
}

fn listed(spans: &[Span], mut counts: impl Iterator<Item = f64>) -> Vec<Bucket> {
    let mut buckets = Vec::new();
    let mut index = 0i32;
    for span in spans {
        index = index.saturating_add(span.offset);
        for _ in 0..span.length {
            let Some(count) = counts.next() else { return buckets };
            buckets.push(Bucket { index, count, lost: 0.0 });
            index = index.saturating_add(1);
        }
    }
    buckets
}

fn spans(buckets: &[Bucket]) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut next = 0;
    for bucket in buckets {
        match spans.last_mut() {
            Some(span) if bucket.index == next => span.length += 1,
            _ => spans.push(Span { offset: bucket.index - next, length: 1 }),
        }
        next = bucket.index + 1;
    }
    spans
}

/// As Prometheus prints it: `{count:3, sum:1.5, (0.5,1]:3}`.
impl Display for FloatHistogram {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let number = |value: f64| go_general(value, None);
        write!(f, "{{count:{}, sum:{}", number(self.count), number(self.sum))?;
        let negative = self.negative.iter().rev().map(|bucket| self.range(bucket, false));
        let zero = Some(self.zero_range()).filter(|_| self.zero_count != 0.0);
        let positive = self.positive.iter().map(|bucket| self.range(bucket, true));
        for range in negative.chain(zero).chain(positive).filter(|range| range.count != 0.0) {
            let (open, close) = (
                if range.lower_inclusive { '[' } else { '(' },
                if range.upper_inclusive { ']' } else { ')' },
            );
            let (lower, upper) = (number(range.lower), number(range.upper));
            write!(f, ", {open}{lower},{upper}{close}:{}", number(range.count))?;
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests;
