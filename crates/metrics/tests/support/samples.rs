//! Samples of both kinds: floats and native histograms, with 64 bits that tell them apart.

use super::Dice;
use std::hash::{DefaultHasher, Hash, Hasher};
use vigie_metrics::{Appended, Durability, MetricsError, Store};
use vigie_model::histogram::{CUSTOM_BUCKETS_SCHEMA, Counts, ResetHint, Span};
use vigie_model::value::canonical;
use vigie_model::{ABSENT, Histogram, Row, STALE_NAN, SeriesId};

#[derive(Clone, Debug)]
pub enum Sample {
    Float(f64),
    Histogram(Histogram),
}

impl Sample {
    pub fn bits(&self) -> u64 {
        match self {
            Sample::Float(value) => canonical(*value).to_bits(),
            Sample::Histogram(histogram) => bits_of(histogram),
        }
    }
}

/// A number for all bits of a histogram.
pub fn bits_of(histogram: &Histogram) -> u64 {
    let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let spans = |spans: &[Span]| spans.iter().map(|s| (s.offset, s.length)).collect::<Vec<_>>();
    let mut state = DefaultHasher::new();
    (histogram.reset_hint as u8, histogram.schema).hash(&mut state);
    (histogram.zero_threshold.to_bits(), histogram.sum.to_bits()).hash(&mut state);
    (spans(&histogram.positive_spans), spans(&histogram.negative_spans)).hash(&mut state);
    bits(&histogram.custom_values).hash(&mut state);
    match &histogram.counts {
        Counts::Integer { count, zero_count, positive, negative } => {
            (0, count, zero_count, positive, negative).hash(&mut state);
        }
        Counts::Float { count, zero_count, positive, negative } => {
            let counts = (count.to_bits(), zero_count.to_bits());
            (1, counts, bits(positive), bits(negative)).hash(&mut state);
        }
    }
    state.finish()
}

/// One of a few thousand histograms of every kind, so that some come twice.
pub fn histogram(dice: &mut Dice) -> Histogram {
    let kind = dice.roll(6);
    let buckets = 1 + dice.roll(3) as usize * 2;
    let count = dice.roll(50);
    let whole: Vec<i64> = (0..buckets).map(|at| if at == 0 { count as i64 } else { 1 }).collect();
    let double: Vec<f64> = whole.iter().map(|count| *count as f64 / 3.0).collect();
    let is_float = matches!(kind, 1 | 3);
    let is_custom = matches!(kind, 2 | 3);
    let is_stale = kind == 4;
    let length = if is_stale { 0 } else { buckets };
    let negative = if is_custom || is_stale { 0 } else { dice.roll(2) as usize };
    let zero_count = if is_custom { 0 } else { count };
    let counts = match is_float {
        false => Counts::Integer {
            count: count << dice.roll(40),
            zero_count,
            positive: whole[..length].to_vec(),
            negative: vec![5; negative],
        },
        true => Counts::Float {
            count: count as f64 / 7.0,
            zero_count: zero_count as f64,
            positive: double,
            negative: vec![f64::NAN; negative],
        },
    };
    let span = |offset, length: usize| match length {
        0 => vec![],
        length => vec![Span { offset, length: length as u32 }],
    };
    Histogram {
        reset_hint: [ResetHint::Unknown, ResetHint::NotReset, ResetHint::Gauge][count as usize % 3],
        schema: if is_custom { CUSTOM_BUCKETS_SCHEMA } else { (count % 5) as i32 - 2 },
        zero_threshold: if is_custom { 0.0 } else { 1e-128 },
        sum: if is_stale { STALE_NAN } else { count as f64 * 0.1 },
        counts,
        positive_spans: span(if is_custom { 0 } else { -3 }, length),
        negative_spans: span(7, negative),
        custom_values: match is_custom {
            true => (0..buckets).map(|at| at as f64 + 0.5).collect(),
            false => vec![],
        },
    }
}

/// Appends a row of samples of both kinds.
pub fn append_samples(
    store: &Store,
    ts_ms: i64,
    series: &[SeriesId],
    samples: &[Sample],
    durability: Durability,
) -> Result<Appended, MetricsError> {
    let mut histograms = Vec::new();
    let mut values = Vec::new();
    for (at, sample) in samples.iter().enumerate() {
        values.push(match sample {
            Sample::Float(value) => *value,
            Sample::Histogram(histogram) => {
                histograms.push((at, histogram));
                ABSENT
            }
        });
    }
    let row = Row { ts_ms, series, values: &values, histograms: &histograms };
    store.append(&[row], durability)
}
