//! OpenTelemetry's dense buckets as Prometheus' sparse ones.
//!
//! The bucket of index 0 holds what lies in (1, base] there and in (1/base, 1] here, so indices move
//! by one. A resolution finer than Prometheus' finest is halved until it fits: 2^n neighbours become
//! one bucket. Gaps of up to two empty buckets are written out, as client libraries do.

use super::{Buckets, Explicit, Exponential, Temporality};
use vigie_model::STALE_NAN;
use vigie_model::histogram::{
    CUSTOM_BUCKETS_SCHEMA, Counts, EXPONENTIAL_SCHEMA_MAX, EXPONENTIAL_SCHEMA_MIN, Histogram,
    ResetHint, Span,
};

/// Half width of the zero bucket: upstream does not read what the sender says of it.
const ZERO_THRESHOLD: f64 = 1e-128;
/// Empty buckets in a row that are written out.
const GAP_MAX: i64 = 2;

/// An exponential histogram; the error's words are upstream's.
pub(super) fn exponential(
    point: &Exponential,
    is_stale: bool,
    temporality: Temporality,
) -> Result<Histogram, String> {
    if point.scale < EXPONENTIAL_SCHEMA_MIN {
        return Err(format!(
            "cannot convert exponential to native histogram. Scale must be >= {EXPONENTIAL_SCHEMA_MIN}, was {}",
            point.scale
        ));
    }
    let schema = point.scale.min(EXPONENTIAL_SCHEMA_MAX);
    // Beyond 31 every index is 0 or −1.
    let halvings = point.scale.abs_diff(schema).min(31);
    let (positive_spans, positive) = sparse(&point.positive, halvings, true)?;
    let (negative_spans, negative) = sparse(&point.negative, halvings, true)?;
    let (count, sum) = whole(point.count, point.sum, is_stale);
    Ok(Histogram {
        reset_hint: hint(temporality),
        schema,
        zero_threshold: ZERO_THRESHOLD,
        sum,
        counts: Counts::Integer { count, zero_count: point.zero_count, positive, negative },
        positive_spans,
        negative_spans,
        custom_values: Vec::new(),
    })
}

/// A histogram with bounds of its own as a native one with custom buckets.
pub(super) fn custom(
    point: &Explicit,
    is_stale: bool,
    temporality: Temporality,
) -> Result<Histogram, String> {
    let first = point.counts.iter().position(|count| *count != 0).unwrap_or(point.counts.len());
    let offset = i32::try_from(first).unwrap_or(i32::MAX);
    let buckets = Buckets { offset, counts: point.counts[first..].to_vec() };
    let (positive_spans, positive) = sparse(&buckets, 0, false)?;
    let (count, sum) = whole(point.count, point.sum, is_stale);
    Ok(Histogram {
        reset_hint: hint(temporality),
        schema: CUSTOM_BUCKETS_SCHEMA,
        zero_threshold: 0.0,
        sum,
        counts: Counts::Integer { count, zero_count: 0, positive, negative: Vec::new() },
        positive_spans,
        negative_spans: Vec::new(),
        custom_values: point.bounds.clone(),
    })
}

/// Nobody says whether a counter was reset; deltas never are.
fn hint(temporality: Temporality) -> ResetHint {
    if temporality == Temporality::Delta { ResetHint::Gauge } else { ResetHint::Unknown }
}

fn whole(count: u64, sum: Option<f64>, is_stale: bool) -> (u64, f64) {
    if is_stale { (STALE_NAN.to_bits(), STALE_NAN) } else { (count, sum.unwrap_or(0.0)) }
}

/// Spans, and the differences of counts, of buckets merged 2^`halvings` at a time.
fn sparse(
    buckets: &Buckets,
    halvings: u32,
    moves_by_one: bool,
) -> Result<(Vec<Span>, Vec<i64>), String> {
    if buckets.counts.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let index = |at: i64| ((at + i64::from(buckets.offset)) >> halvings) + i64::from(moves_by_one);
    let mut out = Sparse { spans: Vec::new(), deltas: Vec::new(), previous: 0 };
    out.span(index(0))?;
    // The bucket that is being summed up, and where the next one would be written.
    let (mut current, mut count, mut next) = (index(0), 0u64, index(0));
    for (at, more) in buckets.counts.iter().enumerate() {
        let place = index(at as i64);
        if place != current && count != 0 {
            out.bucket(current - next, count)?;
            next = current + 1;
            count = 0;
        }
        current = if place != current { place } else { current };
        count = count.checked_add(*more).ok_or("histogram has more observations than fit")?;
    }
    out.bucket(current - next, count)?;
    Ok((out.spans, out.deltas))
}

struct Sparse {
    spans: Vec<Span>,
    deltas: Vec<i64>,
    previous: i64,
}

impl Sparse {
    fn span(&mut self, offset: i64) -> Result<(), String> {
        let offset = i32::try_from(offset).map_err(|_| "histogram has a bucket out of range")?;
        self.spans.push(Span { offset, length: 0 });
        Ok(())
    }

    /// A bucket after `gap` empty ones.
    fn bucket(&mut self, gap: i64, count: u64) -> Result<(), String> {
        if gap > GAP_MAX {
            self.span(gap)?;
        } else {
            (0..gap).for_each(|_| self.put(0));
        }
        self.put(i64::try_from(count).map_err(|_| "histogram has more observations than fit")?);
        Ok(())
    }

    fn put(&mut self, count: i64) {
        if let Some(span) = self.spans.last_mut() {
            span.length += 1;
        }
        self.deltas.push(count - self.previous);
        self.previous = count;
    }
}
