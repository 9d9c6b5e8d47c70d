//! Native histograms: one sample that is a whole distribution.
//!
//! [`Histogram`] is the sample as it travels and is stored, bit-exact: integer counts as bucket
//! deltas, or float counts, with the spans that say which buckets they are
//! (`model/histogram/histogram.go` and `float_histogram.go` of Prometheus, `prompb/types.proto`).
//! Arithmetic over it belongs to `promql`.
//!
//! Invariants, checked by [`Histogram::validate`] at every door: the spans' lengths sum to the number
//! of buckets; no bucket count is negative; custom buckets (schema −53) have ascending finite bounds,
//! no negative and no zero bucket.

use crate::value::is_stale;

/// The schema of histograms whose bucket bounds are [`Histogram::custom_values`].
pub const CUSTOM_BUCKETS_SCHEMA: i32 = -53;
/// The coarsest exponential schema: each bucket is 2^16 times the one before.
pub const EXPONENTIAL_SCHEMA_MIN: i32 = -4;
/// The finest exponential schema.
pub const EXPONENTIAL_SCHEMA_MAX: i32 = 8;
/// Most buckets that one sample may have, positive and negative together.
pub const HISTOGRAM_BUCKETS_MAX: usize = 16 * 1024;

/// A run of consecutive buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Buckets between the end of the span before and this one; the first span's is the index of
    /// its first bucket and may be negative.
    pub offset: i32,
    /// Buckets in the span.
    pub length: u32,
}

/// What a sender says about the sample before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum ResetHint {
    /// Nothing: compare.
    #[default]
    Unknown = 0,
    /// The counter was reset before this sample.
    Reset = 1,
    /// It was not.
    NotReset = 2,
    /// A gauge: there are no resets.
    Gauge = 3,
}

/// The counts of a histogram, in the order of its buckets.
#[derive(Clone, Debug, PartialEq)]
pub enum Counts {
    /// Whole numbers; buckets hold the difference from the bucket before in the same direction.
    Integer {
        /// Observations in all.
        count: u64,
        /// Observations in the zero bucket.
        zero_count: u64,
        /// Deltas of the positive buckets.
        positive: Vec<i64>,
        /// Deltas of the negative buckets.
        negative: Vec<i64>,
    },
    /// Floats; buckets hold absolute counts.
    Float {
        /// Observations in all.
        count: f64,
        /// Observations in the zero bucket.
        zero_count: f64,
        /// Counts of the positive buckets.
        positive: Vec<f64>,
        /// Counts of the negative buckets.
        negative: Vec<f64>,
    },
}

/// One native histogram sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// What the sender says about resets.
    pub reset_hint: ResetHint,
    /// Resolution: −4 to 8, or [`CUSTOM_BUCKETS_SCHEMA`].
    pub schema: i32,
    /// Half width of the zero bucket.
    pub zero_threshold: f64,
    /// Sum of the observations; a stale marker here makes the whole sample one.
    pub sum: f64,
    /// How many observations fell where.
    pub counts: Counts,
    /// Which positive buckets there are.
    pub positive_spans: Vec<Span>,
    /// Which negative buckets there are.
    pub negative_spans: Vec<Span>,
    /// Upper bounds of custom buckets, ascending, without +Inf.
    pub custom_values: Vec<f64>,
}

impl Histogram {
    /// Whether the sample marks the end of its series.
    pub fn is_stale(&self) -> bool {
        is_stale(self.sum)
    }

    /// Whether the bucket bounds are the sample's own.
    pub fn has_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }

    /// Checks the invariants; the words are Prometheus' (`model/histogram/generic.go`).
    pub fn validate(&self) -> Result<(), String> {
        let (positive, negative) = match &self.counts {
            Counts::Integer { positive, negative, .. } => {
                check_deltas("positive", positive)?;
                check_deltas("negative", negative)?;
                (positive.len(), negative.len())
            }
            Counts::Float { positive, negative, .. } => {
                check_counts("positive", positive)?;
                check_counts("negative", negative)?;
                (positive.len(), negative.len())
            }
        };
        if positive + negative > HISTOGRAM_BUCKETS_MAX {
            return Err(format!(
                "histogram has {} buckets, limit: {HISTOGRAM_BUCKETS_MAX}",
                positive + negative
            ));
        }
        check_spans("positive", &self.positive_spans, positive)?;
        check_spans("negative", &self.negative_spans, negative)?;
        if self.has_custom_buckets() {
            return self.check_custom(negative);
        }
        if !(EXPONENTIAL_SCHEMA_MIN..=EXPONENTIAL_SCHEMA_MAX).contains(&self.schema) {
            return Err(format!(
                "histogram has an invalid schema, which must be between {EXPONENTIAL_SCHEMA_MIN} \
                 and {EXPONENTIAL_SCHEMA_MAX} for exponential buckets, or {CUSTOM_BUCKETS_SCHEMA} \
                 for custom buckets, got schema {}",
                self.schema
            ));
        }
        if !self.custom_values.is_empty() {
            return Err("histogram with exponential schema must not have custom bounds".to_owned());
        }
        Ok(())
    }

    fn check_custom(&self, negative: usize) -> Result<(), String> {
        if negative > 0 || !self.negative_spans.is_empty() {
            return Err("custom buckets: must not have negative buckets".to_owned());
        }
        let zero_is_empty = match self.counts {
            Counts::Integer { zero_count, .. } => zero_count == 0,
            Counts::Float { zero_count, .. } => zero_count == 0.0,
        };
        if !zero_is_empty || self.zero_threshold != 0.0 {
            return Err("custom buckets: must have zero count of 0".to_owned());
        }
        let ascend = self.custom_values.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascend
            || self.custom_values.iter().any(|bound| bound.is_nan() || *bound == f64::INFINITY)
        {
            return Err(
                "custom buckets: bounds must be in strictly increasing order and finite".to_owned()
            );
        }
        let buckets: i64 =
            self.positive_spans.iter().map(|s| i64::from(s.offset) + i64::from(s.length)).sum();
        if buckets > self.custom_values.len() as i64 + 1 {
            return Err(format!(
                "custom buckets: only {} custom bounds defined which is insufficient to cover total \
                 span length of {buckets}",
                self.custom_values.len()
            ));
        }
        Ok(())
    }
}

fn check_spans(side: &str, spans: &[Span], buckets: usize) -> Result<(), String> {
    let mut covered = 0usize;
    for (at, span) in spans.iter().enumerate() {
        if at > 0 && span.offset < 0 {
            return Err(format!(
                "{side} side: span number {} with offset {}: histogram has a span whose offset is negative",
                at + 1,
                span.offset
            ));
        }
        covered = covered.saturating_add(span.length as usize);
    }
    if covered != buckets {
        return Err(format!(
            "{side} side: spans need {covered} buckets, have {buckets} buckets: histogram spans \
             specify different number of buckets than provided"
        ));
    }
    Ok(())
}

fn check_deltas(side: &str, deltas: &[i64]) -> Result<(), String> {
    let mut count = 0i64;
    for (at, delta) in deltas.iter().enumerate() {
        count = count.wrapping_add(*delta);
        if count < 0 {
            return Err(format!(
                "{side} side: bucket number {} has observation count of {count}: histogram has a \
                 bucket whose observation count is negative",
                at + 1
            ));
        }
    }
    Ok(())
}

fn check_counts(side: &str, counts: &[f64]) -> Result<(), String> {
    match counts.iter().position(|count| *count < 0.0) {
        Some(at) => Err(format!(
            "{side} side: bucket number {} has observation count of {}: histogram has a bucket \
             whose observation count is negative",
            at + 1,
            counts[at]
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(
        schema: i32,
        spans: &[(i32, u32)],
        positive: Vec<i64>,
        custom: Vec<f64>,
    ) -> Histogram {
        Histogram {
            reset_hint: ResetHint::Unknown,
            schema,
            zero_threshold: 0.0,
            sum: 1.0,
            counts: Counts::Integer { count: 3, zero_count: 0, positive, negative: vec![] },
            positive_spans: spans
                .iter()
                .map(|(offset, length)| Span { offset: *offset, length: *length })
                .collect(),
            negative_spans: vec![],
            custom_values: custom,
        }
    }

    #[test]
    fn what_does_not_fit_together_is_refused_with_the_reason() {
        for (histogram, wanted) in [
            (sample(0, &[(0, 2)], vec![1, 1], vec![]), None),
            (sample(0, &[(-3, 1), (2, 1)], vec![1, 1], vec![]), None),
            (sample(-53, &[(0, 2)], vec![1, 1], vec![1.0]), None),
            (sample(0, &[(0, 3)], vec![1, 1], vec![]), Some("spans need 3 buckets")),
            (sample(0, &[(0, 1), (-1, 1)], vec![1, 1], vec![]), Some("offset is negative")),
            (sample(0, &[(0, 2)], vec![1, -2], vec![]), Some("bucket number 2")),
            (sample(9, &[(0, 2)], vec![1, 1], vec![]), Some("got schema 9")),
            (sample(-53, &[(0, 3)], vec![1, 1, 1], vec![1.0]), Some("insufficient")),
            (sample(-53, &[(0, 2)], vec![1, 1], vec![2.0, 1.0]), Some("increasing order")),
        ] {
            match (histogram.validate(), wanted) {
                (Ok(()), None) => {}
                (Err(text), Some(part)) => assert!(text.contains(part), "{text}"),
                (got, wanted) => panic!("{histogram:?}: {got:?}, wanted {wanted:?}"),
            }
        }
    }
}
