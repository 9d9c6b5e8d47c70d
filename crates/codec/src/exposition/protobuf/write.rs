//! Pages in protobuf, written: what `/federate` answers a server that asks for them.

use super::super::MetricKind;
use crate::proto::{put_bytes, put_double, put_number, put_signed, put_varint};
use vigie_model::histogram::{Counts, Histogram, Span};

/// A metric of a family.
#[derive(Clone, Debug, PartialEq)]
pub struct WrittenMetric {
    /// Names and values.
    pub labels: Vec<(String, String)>,
    /// Its instant.
    pub ts_ms: i64,
    /// What it is.
    pub value: WrittenValue,
}

/// The value of a metric.
#[derive(Clone, Debug, PartialEq)]
pub enum WrittenValue {
    /// A float of a family without a type.
    Untyped(f64),
    /// A native histogram of float counts.
    Native(Histogram),
    /// A classic histogram of float counts: count, sum, and cumulative counts by upper bound.
    Classic {
        /// Observations in all.
        count: f64,
        /// Their sum.
        sum: f64,
        /// Bounds and counts, without +Inf.
        buckets: Vec<(f64, f64)>,
    },
}

/// Appends a family behind its length.
pub fn put_family(out: &mut Vec<u8>, name: &str, kind: MetricKind, metrics: &[WrittenMetric]) {
    let mut family = Vec::new();
    put_bytes(&mut family, 1, name.as_bytes());
    let number = match kind {
        MetricKind::Counter => 0,
        MetricKind::Gauge => 1,
        MetricKind::Summary => 2,
        MetricKind::Histogram => 4,
        MetricKind::GaugeHistogram => 5,
        _ => 3,
    };
    put_number(&mut family, 3, number);
    for one in metrics {
        put_bytes(&mut family, 4, &metric(one));
    }
    put_varint(out, family.len() as u64);
    out.extend_from_slice(&family);
}

fn metric(one: &WrittenMetric) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in &one.labels {
        let mut pair = Vec::with_capacity(name.len() + value.len() + 8);
        put_bytes(&mut pair, 1, name.as_bytes());
        put_bytes(&mut pair, 2, value.as_bytes());
        put_bytes(&mut out, 1, &pair);
    }
    match &one.value {
        WrittenValue::Untyped(value) => {
            let mut inner = Vec::new();
            put_double(&mut inner, 1, *value);
            put_bytes(&mut out, 5, &inner);
        }
        WrittenValue::Native(histogram) => put_bytes(&mut out, 7, &native(histogram)),
        WrittenValue::Classic { count, sum, buckets } => {
            let mut inner = Vec::new();
            put_double(&mut inner, 2, *sum);
            for (bound, below) in buckets {
                let mut bucket = Vec::new();
                put_double(&mut bucket, 2, *bound);
                put_double(&mut bucket, 4, *below);
                put_bytes(&mut inner, 3, &bucket);
            }
            put_double(&mut inner, 4, *count);
            put_bytes(&mut out, 7, &inner);
        }
    }
    put_number(&mut out, 6, one.ts_ms.cast_unsigned());
    out
}

fn native(histogram: &Histogram) -> Vec<u8> {
    let mut out = Vec::new();
    put_double(&mut out, 2, histogram.sum);
    put_signed(&mut out, 5, i64::from(histogram.schema));
    put_double(&mut out, 6, histogram.zero_threshold);
    put_spans(&mut out, 9, &histogram.negative_spans);
    put_spans(&mut out, 12, &histogram.positive_spans);
    match &histogram.counts {
        Counts::Float { count, zero_count, positive, negative } => {
            put_double(&mut out, 4, *count);
            put_double(&mut out, 8, *zero_count);
            negative.iter().for_each(|count| put_double(&mut out, 11, *count));
            positive.iter().for_each(|count| put_double(&mut out, 14, *count));
        }
        Counts::Integer { count, zero_count, positive, negative } => {
            put_number(&mut out, 1, *count);
            put_number(&mut out, 7, *zero_count);
            negative.iter().for_each(|delta| put_signed(&mut out, 10, *delta));
            positive.iter().for_each(|delta| put_signed(&mut out, 13, *delta));
        }
    }
    out
}

fn put_spans(out: &mut Vec<u8>, field: u64, spans: &[Span]) {
    for span in spans {
        let mut inner = Vec::new();
        put_signed(&mut inner, 1, i64::from(span.offset));
        put_number(&mut inner, 2, u64::from(span.length));
        put_bytes(out, field, &inner);
    }
}
