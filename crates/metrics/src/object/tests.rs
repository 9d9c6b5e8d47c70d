//! Every histogram comes back with its bits, steady ones in few bytes, and damage never panics.

use super::*;
use proptest::prelude::*;
use vigie_model::STALE_NAN;

/// A histogram's bits: floats that are NaN compare too.
pub(crate) fn bits(histogram: &Histogram) -> String {
    let floats = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let counts = match &histogram.counts {
        Counts::Float { count, zero_count, positive, negative } => format!(
            "{:?}",
            (count.to_bits(), zero_count.to_bits(), floats(positive), floats(negative))
        ),
        whole => format!("{whole:?}"),
    };
    let numbers = (histogram.zero_threshold.to_bits(), histogram.sum.to_bits());
    format!(
        "{:?} {} {numbers:?} {counts} {:?} {:?} {:?}",
        histogram.reset_hint,
        histogram.schema,
        histogram.positive_spans,
        histogram.negative_spans,
        floats(&histogram.custom_values)
    )
}

pub(crate) fn whole(count: u64, deltas: &[i64]) -> Histogram {
    Histogram {
        reset_hint: ResetHint::Unknown,
        schema: 3,
        zero_threshold: 1e-128,
        sum: count as f64 * 0.37,
        counts: Counts::Integer {
            count,
            zero_count: 1,
            positive: deltas.to_vec(),
            negative: vec![],
        },
        positive_spans: vec![Span { offset: -7, length: deltas.len() as u32 }],
        negative_spans: vec![],
        custom_values: vec![],
    }
}

fn stale() -> Histogram {
    let counts = Counts::Integer { count: 0, zero_count: 0, positive: vec![], negative: vec![] };
    Histogram { sum: STALE_NAN, counts, positive_spans: vec![], schema: 0, ..whole(0, &[]) }
}

fn round_trip(column: &[Histogram]) -> usize {
    let mut bytes = Vec::new();
    let mut before = None;
    for histogram in column {
        encode(before, histogram, &mut bytes);
        before = Some(histogram);
    }
    let mut input = Bytes::new(&bytes);
    let mut before: Option<Arc<Histogram>> = None;
    for histogram in column {
        let read = decode(before.as_ref(), &mut input).unwrap();
        assert_eq!(bits(&read), bits(histogram));
        before = Some(read);
    }
    input.end().unwrap();
    bytes.len()
}

#[test]
fn a_steady_histogram_takes_a_byte_and_a_moving_one_its_changes() {
    let still = whole(100, &[5, -1, 3, 0, 2, -4, 9, 1, -3, 2]);
    let mut moved = still.clone();
    // One observation more in the fourth bucket: two deltas change, one count does.
    moved.counts = Counts::Integer {
        count: 101,
        zero_count: 1,
        positive: vec![5, -1, 3, 1, 1, -4, 9, 1, -3, 2],
        negative: vec![],
    };
    let first = round_trip(std::slice::from_ref(&still));
    assert!(first < 60, "{first} bytes");
    assert_eq!(round_trip(&vec![still.clone(); 120]), first + 119);
    assert_eq!(round_trip(&[still.clone(), moved]), first + 1 + 1 + 1 + 1 + 2 + 1);
    let mut hinted = still.clone();
    hinted.reset_hint = ResetHint::NotReset;
    assert_eq!(round_trip(&[still.clone(), hinted]), first + 1);
    round_trip(&[still.clone(), stale(), stale(), still]);
}

#[test]
fn samples_are_told_apart_by_all_but_the_hint() {
    let alone = |histogram: &Histogram| {
        let mut out = Vec::new();
        encode(None, histogram, &mut out);
        out
    };
    let one = whole(9, &[4, -1]);
    for (change, same) in [
        ((|h| h.reset_hint = ResetHint::Gauge) as fn(&mut Histogram), true),
        (|h| h.sum = -0.0, false),
        (|h| h.sum = STALE_NAN, false),
        (|h| h.schema = 4, false),
        (|h| h.positive_spans[0].offset = 0, false),
    ] {
        let mut other = one.clone();
        change(&mut other);
        assert_eq!(is_same(&alone(&one), &alone(&other)), same, "{other:?}");
    }
}

fn any_bits() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        Just(STALE_NAN),
        Just(vigie_model::ABSENT),
        (0u32..1000).prop_map(f64::from),
    ]
}

fn spans(lengths: &[(i32, u32)]) -> Vec<Span> {
    let spans = lengths.iter().enumerate();
    spans
        .map(|(at, (offset, length))| Span {
            offset: if at == 0 { *offset } else { offset.abs() },
            length: *length,
        })
        .collect()
}

fn any_spans() -> impl Strategy<Value = Vec<(i32, u32)>> {
    prop::collection::vec((-300i32..300, 0u32..9), 0..4)
}

prop_compose! {
    /// Any histogram that the doors let in.
    pub(crate) fn any_histogram()(
        hint in 0u8..4,
        schema in -4i32..9,
        kind in 0u8..3,
        positive in any_spans(),
        negative in any_spans(),
        numbers in prop::collection::vec(any::<u64>(), 64),
        floats in prop::collection::vec(any_bits(), 64),
        zero_threshold in any_bits(),
    ) -> Histogram {
        let is_custom = kind == 2;
        let total = |spans: &[(i32, u32)]| spans.iter().map(|span| span.1 as usize).sum::<usize>();
        let positive = if is_custom { vec![(0, total(&positive) as u32)] } else { positive };
        let negative = if is_custom { vec![] } else { negative };
        let (p, n) = (total(&positive), total(&negative));
        let whole = |from: usize, count: usize| -> Vec<i64> {
            let mut before = 0i64;
            (from..from + count).map(|at| {
                let now = (numbers[at % 60] >> (1 + numbers[at % 60] % 63)) as i64;
                let delta = now.wrapping_sub(before);
                before = now;
                delta
            }).collect()
        };
        let double = |from: usize, count: usize| -> Vec<f64> {
            (from..from + count).map(|at| floats[at % 60]).map(|v| if v < 0.0 { -v } else { v }).collect()
        };
        let (zero_int, zero_float) = if is_custom { (0, 0.0) } else { (numbers[63], floats[63]) };
        let counts = match hint % 2 == 0 {
            true => Counts::Integer {
                count: numbers[62], zero_count: zero_int,
                positive: whole(0, p), negative: whole(30, n),
            },
            false => Counts::Float {
                count: floats[62], zero_count: zero_float,
                positive: double(0, p), negative: double(30, n),
            },
        };
        Histogram {
            reset_hint: super::hint(hint),
            schema: if is_custom { vigie_model::histogram::CUSTOM_BUCKETS_SCHEMA } else { schema },
            zero_threshold: if is_custom { 0.0 } else { zero_threshold },
            sum: floats[61],
            counts,
            positive_spans: spans(&positive),
            negative_spans: spans(&negative),
            custom_values: if is_custom { (0..p).map(|at| at as f64 / 8.0 - 1.0).collect() } else { vec![] },
        }
    }
}

proptest! {
    #[test]
    fn any_histograms_come_back(column in prop::collection::vec(any_histogram(), 1..8)) {
        for histogram in &column {
            prop_assert_eq!(check(histogram), Ok(()));
            let mut alone = Objects::default();
            alone.encode(3, histogram);
            let object = alone.get(3).unwrap();
            prop_assert_eq!(bits(&decode_alone(object).unwrap()), bits(histogram));
            prop_assert!(is_same(object, object));
            for len in 0..object.len() {
                prop_assert!(decode_alone(&object[..len]).is_err());
            }
        }
        round_trip(&column);
    }

    #[test]
    fn damage_gives_an_error_or_a_valid_histogram(
        histogram in any_histogram(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 1..4),
    ) {
        let mut bytes = Vec::new();
        encode(None, &histogram, &mut bytes);
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        if let Ok(read) = decode_alone(&bytes) {
            prop_assert_eq!(check(&read), Ok(()));
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = decode_alone(&bytes);
    }
}
