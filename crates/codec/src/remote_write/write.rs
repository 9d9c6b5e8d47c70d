//! Requests as a sender writes them: for the load generator, the tests, and later for forwarding.

use super::Version;
use crate::proto::{put_bytes, put_double, put_number, put_signed, put_varint};
use std::collections::HashMap;
use vigie_model::Histogram;
use vigie_model::histogram::{Counts, Span};

/// Names and values, sorted by name.
pub type Pairs = Vec<(String, String)>;

/// One series to send.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WireSeries {
    /// `__name__` among them.
    pub labels: Pairs,
    /// Milliseconds and values.
    pub samples: Vec<(i64, f64)>,
    /// Milliseconds and native histograms.
    pub histograms: Vec<(i64, Histogram)>,
    /// Labels, value, milliseconds.
    pub exemplars: Vec<(Pairs, f64, i64)>,
    /// When all of them began to count, in milliseconds; 0 says nothing. 2.0 only.
    pub start_ms: i64,
}

/// A `prometheus.WriteRequest`, not compressed.
pub fn encode_v1(series: &[WireSeries]) -> Vec<u8> {
    let mut out = Vec::new();
    for one in series {
        let mut message = Vec::new();
        put_pairs(&mut message, &one.labels);
        put_samples(&mut message, one, Version::V1);
        for (labels, value, ts_ms) in &one.exemplars {
            let mut exemplar = Vec::new();
            put_pairs(&mut exemplar, labels);
            put_double(&mut exemplar, 2, *value);
            put_number(&mut exemplar, 3, *ts_ms as u64);
            put_bytes(&mut message, 3, &exemplar);
        }
        put_histograms(&mut message, one, Version::V1);
        put_bytes(&mut out, 1, &message);
    }
    out
}

/// An `io.prometheus.write.v2.Request`, not compressed.
pub fn encode_v2(series: &[WireSeries]) -> Vec<u8> {
    let mut symbols = Symbols::default();
    symbols.reference("");
    let mut messages = Vec::new();
    for one in series {
        let mut message = Vec::new();
        symbols.put_references(&mut message, &one.labels);
        put_samples(&mut message, one, Version::V2);
        put_histograms(&mut message, one, Version::V2);
        for (labels, value, ts_ms) in &one.exemplars {
            let mut exemplar = Vec::new();
            symbols.put_references(&mut exemplar, labels);
            put_double(&mut exemplar, 2, *value);
            put_number(&mut exemplar, 3, *ts_ms as u64);
            put_bytes(&mut message, 4, &exemplar);
        }
        put_bytes(&mut messages, 5, &message);
    }
    let mut out = Vec::new();
    for symbol in &symbols.texts {
        put_bytes(&mut out, 4, symbol.as_bytes());
    }
    out.extend_from_slice(&messages);
    out
}

#[derive(Default)]
struct Symbols {
    texts: Vec<String>,
    known: HashMap<String, u64>,
}

impl Symbols {
    fn reference(&mut self, text: &str) -> u64 {
        if let Some(reference) = self.known.get(text) {
            return *reference;
        }
        let reference = self.texts.len() as u64;
        self.texts.push(text.to_owned());
        self.known.insert(text.to_owned(), reference);
        reference
    }

    fn put_references(&mut self, out: &mut Vec<u8>, labels: &[(String, String)]) {
        let mut packed = Vec::new();
        for (name, value) in labels {
            put_varint(&mut packed, self.reference(name));
            put_varint(&mut packed, self.reference(value));
        }
        put_bytes(out, 1, &packed);
    }
}

fn put_pairs(out: &mut Vec<u8>, labels: &[(String, String)]) {
    for (name, value) in labels {
        let mut label = Vec::with_capacity(name.len() + value.len() + 8);
        put_bytes(&mut label, 1, name.as_bytes());
        put_bytes(&mut label, 2, value.as_bytes());
        put_bytes(out, 1, &label);
    }
}

fn put_samples(out: &mut Vec<u8>, series: &WireSeries, version: Version) {
    for (ts_ms, value) in &series.samples {
        let mut sample = Vec::with_capacity(20);
        put_double(&mut sample, 1, *value);
        put_number(&mut sample, 2, *ts_ms as u64);
        if version == Version::V2 {
            put_number(&mut sample, 3, series.start_ms as u64);
        }
        put_bytes(out, 2, &sample);
    }
}

fn put_histograms(out: &mut Vec<u8>, series: &WireSeries, version: Version) {
    let field = if version == Version::V1 { 4 } else { 3 };
    for (ts_ms, histogram) in &series.histograms {
        let mut message = encode_histogram(*ts_ms, histogram);
        if version == Version::V2 {
            put_number(&mut message, 17, series.start_ms as u64);
        }
        put_bytes(out, field, &message);
    }
}

/// A histogram in field `field` of a message.
pub(crate) fn put_histogram(out: &mut Vec<u8>, field: u64, ts_ms: i64, histogram: &Histogram) {
    put_bytes(out, field, &encode_histogram(ts_ms, histogram));
}

fn encode_histogram(ts_ms: i64, histogram: &Histogram) -> Vec<u8> {
    let mut out = Vec::new();
    match &histogram.counts {
        Counts::Integer { count, zero_count, .. } => {
            put_number(&mut out, 1, *count);
            put_number(&mut out, 6, *zero_count);
        }
        Counts::Float { count, zero_count, .. } => {
            put_double(&mut out, 2, *count);
            put_double(&mut out, 7, *zero_count);
        }
    }
    put_double(&mut out, 3, histogram.sum);
    put_signed(&mut out, 4, i64::from(histogram.schema));
    put_double(&mut out, 5, histogram.zero_threshold);
    put_spans(&mut out, 8, &histogram.negative_spans);
    put_spans(&mut out, 11, &histogram.positive_spans);
    match &histogram.counts {
        Counts::Integer { positive, negative, .. } => {
            put_deltas(&mut out, 9, negative);
            put_deltas(&mut out, 12, positive);
        }
        Counts::Float { positive, negative, .. } => {
            put_doubles(&mut out, 10, negative);
            put_doubles(&mut out, 13, positive);
        }
    }
    put_number(&mut out, 14, histogram.reset_hint as u64);
    put_number(&mut out, 15, ts_ms as u64);
    put_doubles(&mut out, 16, &histogram.custom_values);
    out
}

fn put_spans(out: &mut Vec<u8>, field: u64, spans: &[Span]) {
    for span in spans {
        let mut message = Vec::new();
        put_signed(&mut message, 1, i64::from(span.offset));
        put_number(&mut message, 2, u64::from(span.length));
        put_bytes(out, field, &message);
    }
}

fn put_deltas(out: &mut Vec<u8>, field: u64, deltas: &[i64]) {
    let mut packed = Vec::new();
    for delta in deltas {
        put_varint(&mut packed, ((delta << 1) ^ (delta >> 63)) as u64);
    }
    if !packed.is_empty() {
        put_bytes(out, field, &packed);
    }
}

fn put_doubles(out: &mut Vec<u8>, field: u64, values: &[f64]) {
    let packed: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    if !packed.is_empty() {
        put_bytes(out, field, &packed);
    }
}
