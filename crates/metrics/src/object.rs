//! Objects: native histograms as bytes, bit-exact and small.
//!
//! An object is written for itself (in the log and in open rows) or against the one before it (in a
//! chunk), where a histogram that stands still takes one byte and one that moves takes its changes.
//! There is one form for each histogram, so bytes are compared to find duplicates.
//! The bytes stand in `docs/formats/metrics-object.md`.
//!
//! Invariants: what is written was validated at the door ([`check`]), and what is read is validated
//! again, so nothing but damage is refused here and nothing invalid leaves.

use std::sync::Arc;
use vigie_disk::wire::{Bad, Bytes, put_int, put_uint};
use vigie_model::Histogram;
use vigie_model::histogram::{Counts, HISTOGRAM_BUCKETS_MAX, ResetHint, Span};

const HINT: u8 = 3;
const FLOAT: u8 = 4;
const LAYOUT: u8 = 8;
const STILL: u8 = 16;

/// Whether a histogram may be stored; the words are Prometheus'.
pub(crate) fn check(histogram: &Histogram) -> Result<(), String> {
    for (what, count) in [
        ("positive spans", histogram.positive_spans.len()),
        ("negative spans", histogram.negative_spans.len()),
        ("custom bounds", histogram.custom_values.len()),
    ] {
        if count > HISTOGRAM_BUCKETS_MAX {
            return Err(format!("histogram has {count} {what}, limit: {HISTOGRAM_BUCKETS_MAX}"));
        }
    }
    histogram.validate()
}

/// Numbers in a histogram: each takes at most ten bytes or so.
pub(crate) fn weight(histogram: &Histogram) -> usize {
    let spans = histogram.positive_spans.len() + histogram.negative_spans.len();
    8 + buckets_of(histogram) + 2 * spans + histogram.custom_values.len()
}

/// Appends a histogram to `out`, against the one `before` it or for itself.
pub(crate) fn encode(before: Option<&Histogram>, histogram: &Histogram, out: &mut Vec<u8>) {
    debug_assert_eq!(check(histogram), Ok(()), "the doors check");
    let before = before.filter(|before| has_same_layout(before, histogram));
    let flags_at = out.len();
    out.push(histogram.reset_hint as u8);
    if matches!(histogram.counts, Counts::Float { .. }) {
        out[flags_at] |= FLOAT;
    }
    if before.is_none() {
        out[flags_at] |= LAYOUT;
        put_layout(histogram, out);
    }
    let numbers_at = out.len();
    let mut moved = put_xor(before.map_or(0, |b| b.sum.to_bits()), histogram.sum.to_bits(), out);
    moved |= match &histogram.counts {
        Counts::Integer { .. } => put_numbers::<Whole>(before, histogram, out),
        Counts::Float { .. } => put_numbers::<Double>(before, histogram, out),
    };
    if before.is_some() && !moved {
        out.truncate(numbers_at);
        out[flags_at] |= STILL;
    }
}

/// Whether two objects that stand for themselves are the same sample.
pub(crate) fn is_same(a: &[u8], b: &[u8]) -> bool {
    match (a.split_first(), b.split_first()) {
        (Some((a_flags, a)), Some((b_flags, b))) => a_flags | HINT == b_flags | HINT && a == b,
        _ => false,
    }
}

/// [`is_same`] for histograms.
pub(crate) fn is_equal(a: &Histogram, b: &Histogram) -> bool {
    let alone = |histogram: &Histogram| {
        let mut out = Vec::new();
        encode(None, histogram, &mut out);
        out
    };
    is_same(&alone(a), &alone(b))
}

/// Reads the next object; `before` is the one in front of it.
pub(crate) fn decode(
    before: Option<&Arc<Histogram>>,
    input: &mut Bytes<'_>,
) -> Result<Arc<Histogram>, Bad> {
    let flags = input.byte()?;
    let reset_hint = hint(flags);
    if flags & !(HINT | FLOAT | LAYOUT | STILL) != 0 {
        return Err("an object has unknown flags");
    }
    let is_float = flags & FLOAT != 0;
    if flags & LAYOUT != 0 {
        if flags & STILL != 0 {
            return Err("an object has a layout and no numbers");
        }
        let empty = layout(reset_hint, is_float, input)?;
        return numbers(&empty, empty.clone(), input);
    }
    let before = before.ok_or("the first object of a column has no layout")?;
    if is_float != matches!(before.counts, Counts::Float { .. }) {
        return Err("an object has other counts than the one before");
    }
    if flags & STILL == 0 {
        return numbers(before, Histogram { reset_hint, ..(**before).clone() }, input);
    }
    if before.reset_hint == reset_hint {
        return Ok(before.clone());
    }
    Ok(Arc::new(Histogram { reset_hint, ..(**before).clone() }))
}

/// Reads an object that stands for itself and fills `bytes`.
pub(crate) fn decode_alone(bytes: &[u8]) -> Result<Arc<Histogram>, Bad> {
    let mut input = Bytes::new(bytes);
    let histogram = decode(None, &mut input)?;
    input.end()?;
    Ok(histogram)
}

fn has_same_layout(a: &Histogram, b: &Histogram) -> bool {
    let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    std::mem::discriminant(&a.counts) == std::mem::discriminant(&b.counts)
        && a.schema == b.schema
        && a.zero_threshold.to_bits() == b.zero_threshold.to_bits()
        && a.positive_spans == b.positive_spans
        && a.negative_spans == b.negative_spans
        && a.custom_values.len() == b.custom_values.len()
        && bits(&a.custom_values) == bits(&b.custom_values)
}

fn put_layout(histogram: &Histogram, out: &mut Vec<u8>) {
    put_int(out, i64::from(histogram.schema));
    put_xor(0, histogram.zero_threshold.to_bits(), out);
    for spans in [&histogram.positive_spans, &histogram.negative_spans] {
        put_uint(out, spans.len() as u64);
        for span in spans {
            put_int(out, i64::from(span.offset));
            put_uint(out, u64::from(span.length));
        }
    }
    put_uint(out, histogram.custom_values.len() as u64);
    let mut before = 0;
    for bound in &histogram.custom_values {
        put_xor(before, bound.to_bits(), out);
        before = bound.to_bits();
    }
}

/// A histogram of this layout in which everything is zero.
fn layout(hint: ResetHint, is_float: bool, input: &mut Bytes<'_>) -> Result<Histogram, Bad> {
    let schema = i32::try_from(input.int()?).map_err(|_| "a schema is impossible")?;
    let zero_threshold = f64::from_bits(xor(0, input)?);
    let (positive_spans, positive) = spans(input)?;
    let (negative_spans, negative) = spans(input)?;
    if positive + negative > HISTOGRAM_BUCKETS_MAX {
        return Err("a histogram has too many buckets");
    }
    let mut before = 0;
    let custom_values = (0..input.count(HISTOGRAM_BUCKETS_MAX)?)
        .map(|_| {
            before = xor(before, input)?;
            Ok(f64::from_bits(before))
        })
        .collect::<Result<Vec<_>, Bad>>()?;
    let counts = match is_float {
        false => Counts::Integer {
            count: 0,
            zero_count: 0,
            positive: vec![0; positive],
            negative: vec![0; negative],
        },
        true => Counts::Float {
            count: 0.0,
            zero_count: 0.0,
            positive: vec![0.0; positive],
            negative: vec![0.0; negative],
        },
    };
    Ok(Histogram {
        reset_hint: hint,
        schema,
        zero_threshold,
        sum: 0.0,
        counts,
        positive_spans,
        negative_spans,
        custom_values,
    })
}

fn spans(input: &mut Bytes<'_>) -> Result<(Vec<Span>, usize), Bad> {
    let count = input.count(HISTOGRAM_BUCKETS_MAX.min(input.rest.len() / 2))?;
    let mut spans = Vec::with_capacity(count);
    let mut buckets = 0;
    for _ in 0..count {
        let offset = i32::try_from(input.int()?).map_err(|_| "a span has an impossible offset")?;
        let length = input.count(HISTOGRAM_BUCKETS_MAX)?;
        buckets += length;
        spans.push(Span { offset, length: length as u32 });
    }
    // Refused before anything of this size is made: `buckets` is at most 2^28 here.
    if buckets > HISTOGRAM_BUCKETS_MAX {
        return Err("a histogram has too many buckets");
    }
    Ok((spans, buckets))
}

/// How the counts of a kind are written: as numbers of 64 bits, each against the one before.
trait Kind {
    fn put(before: u64, value: u64, out: &mut Vec<u8>);
    fn get(before: u64, input: &mut Bytes<'_>) -> Result<u64, Bad>;
}

struct Whole;
impl Kind for Whole {
    fn put(before: u64, value: u64, out: &mut Vec<u8>) {
        put_int(out, value.wrapping_sub(before) as i64);
    }
    fn get(before: u64, input: &mut Bytes<'_>) -> Result<u64, Bad> {
        Ok(before.wrapping_add(input.int()? as u64))
    }
}

struct Double;
impl Kind for Double {
    fn put(before: u64, value: u64, out: &mut Vec<u8>) {
        put_xor(before, value, out);
    }
    fn get(before: u64, input: &mut Bytes<'_>) -> Result<u64, Bad> {
        xor(before, input)
    }
}

/// Writes the counts; `false` when none moved.
fn put_numbers<K: Kind>(
    before: Option<&Histogram>,
    histogram: &Histogram,
    out: &mut Vec<u8>,
) -> bool {
    let now = Flat::of(histogram);
    let before = before.map_or_else(|| Flat::zero(now.buckets.len()), Flat::of);
    K::put(before.count, now.count, out);
    K::put(before.zero_count, now.zero_count, out);
    let mut moved = (before.count, before.zero_count) != (now.count, now.zero_count);
    let bits_at = out.len();
    out.resize(bits_at + now.buckets.len().div_ceil(8), 0);
    for (at, (before, now)) in before.buckets.iter().zip(&now.buckets).enumerate() {
        if before != now {
            out[bits_at + at / 8] |= 1 << (at % 8);
            K::put(*before, *now, out);
            moved = true;
        }
    }
    moved
}

/// Fills in the numbers of `histogram`, whose layout is that of `before`.
fn numbers(
    before: &Histogram,
    mut histogram: Histogram,
    input: &mut Bytes<'_>,
) -> Result<Arc<Histogram>, Bad> {
    let mut flat = Flat::of(before);
    histogram.sum = f64::from_bits(xor(before.sum.to_bits(), input)?);
    match &histogram.counts {
        Counts::Integer { .. } => get_numbers::<Whole>(&mut flat, input)?,
        Counts::Float { .. } => get_numbers::<Double>(&mut flat, input)?,
    }
    flat.put_back(&mut histogram.counts);
    check(&histogram).map_err(|_| "an object is no histogram that could have been stored")?;
    Ok(Arc::new(histogram))
}

fn get_numbers<K: Kind>(flat: &mut Flat, input: &mut Bytes<'_>) -> Result<(), Bad> {
    flat.count = K::get(flat.count, input)?;
    flat.zero_count = K::get(flat.zero_count, input)?;
    let changed = input.take(flat.buckets.len().div_ceil(8))?;
    for (at, bucket) in flat.buckets.iter_mut().enumerate() {
        if changed[at / 8] >> (at % 8) & 1 == 1 {
            *bucket = K::get(*bucket, input)?;
        }
    }
    Ok(())
}

fn buckets_of(histogram: &Histogram) -> usize {
    match &histogram.counts {
        Counts::Integer { positive, negative, .. } => positive.len() + negative.len(),
        Counts::Float { positive, negative, .. } => positive.len() + negative.len(),
    }
}

/// The counts of either kind as numbers of 64 bits: absolute ones, or the bits of floats.
struct Flat {
    count: u64,
    zero_count: u64,
    /// The positive ones, then the negative ones.
    buckets: Vec<u64>,
}

impl Flat {
    fn zero(buckets: usize) -> Flat {
        Flat { count: 0, zero_count: 0, buckets: vec![0; buckets] }
    }

    fn of(histogram: &Histogram) -> Flat {
        let mut buckets = Vec::with_capacity(buckets_of(histogram));
        match &histogram.counts {
            Counts::Integer { count, zero_count, positive, negative } => {
                for deltas in [positive, negative] {
                    let mut sum = 0i64;
                    buckets.extend(deltas.iter().map(|delta| {
                        sum = sum.wrapping_add(*delta);
                        sum as u64
                    }));
                }
                Flat { count: *count, zero_count: *zero_count, buckets }
            }
            Counts::Float { count, zero_count, positive, negative } => {
                buckets.extend(positive.iter().chain(negative).map(|count| count.to_bits()));
                Flat { count: count.to_bits(), zero_count: zero_count.to_bits(), buckets }
            }
        }
    }

    /// Puts the numbers into counts of the same kind and size.
    fn put_back(&self, counts: &mut Counts) {
        match counts {
            Counts::Integer { count, zero_count, positive, negative } => {
                (*count, *zero_count) = (self.count, self.zero_count);
                let (first, second) = self.buckets.split_at(positive.len());
                for (deltas, absolute) in [(positive, first), (negative, second)] {
                    let mut before = 0u64;
                    for (delta, bucket) in deltas.iter_mut().zip(absolute) {
                        *delta = bucket.wrapping_sub(before) as i64;
                        before = *bucket;
                    }
                }
            }
            Counts::Float { count, zero_count, positive, negative } => {
                *count = f64::from_bits(self.count);
                *zero_count = f64::from_bits(self.zero_count);
                for (value, bits) in positive.iter_mut().chain(negative).zip(&self.buckets) {
                    *value = f64::from_bits(*bits);
                }
            }
        }
    }
}

/// Writes a number of 64 bits against another; `false` when they are the same.
fn put_xor(before: u64, value: u64, out: &mut Vec<u8>) -> bool {
    let differs = before ^ value;
    if differs == 0 {
        out.push(0);
        return false;
    }
    let front = differs.leading_zeros() / 8;
    let behind = differs.trailing_zeros() / 8;
    let bytes = 8 - front - behind;
    out.push((front << 4 | bytes) as u8);
    let shifted = (differs >> (8 * behind)).to_le_bytes();
    out.extend_from_slice(&shifted[..bytes as usize]);
    true
}

fn xor(before: u64, input: &mut Bytes<'_>) -> Result<u64, Bad> {
    let control = input.byte()?;
    let (front, bytes) = (usize::from(control >> 4), usize::from(control & 15));
    if front + bytes > 8 {
        return Err("an object has an impossible control byte");
    }
    let mut differs = [0; 8];
    differs[8 - front - bytes..8 - front].copy_from_slice(input.take(bytes)?);
    Ok(before ^ u64::from_le_bytes(differs))
}

fn hint(flags: u8) -> ResetHint {
    match flags & HINT {
        1 => ResetHint::Reset,
        2 => ResetHint::NotReset,
        3 => ResetHint::Gauge,
        _ => ResetHint::Unknown,
    }
}

/// The objects of one row, each standing for itself, by column.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Objects {
    columns: Vec<u32>,
    ends: Vec<u32>,
    bytes: Vec<u8>,
}

impl Objects {
    /// None.
    pub(crate) const NONE: Objects =
        Objects { columns: Vec::new(), ends: Vec::new(), bytes: Vec::new() };

    /// Adds the object of a column behind those of all columns before it.
    pub(crate) fn push(&mut self, column: u32, object: &[u8]) {
        self.bytes.extend_from_slice(object);
        self.note(column);
    }

    /// Encodes a histogram for a column behind those of all columns before it.
    pub(crate) fn encode(&mut self, column: u32, histogram: &Histogram) {
        encode(None, histogram, &mut self.bytes);
        self.note(column);
    }

    fn note(&mut self, column: u32) {
        assert!(self.columns.last().is_none_or(|last| *last < column), "columns ascend");
        self.columns.push(column);
        self.ends.push(u32::try_from(self.bytes.len()).expect("the doors limit a row far below"));
    }

    /// Those of some columns, ascending.
    pub(crate) fn only(&self, columns: impl Iterator<Item = u32>) -> Objects {
        let mut only = Objects::default();
        for column in columns {
            if let Some(object) = self.get(column) {
                only.push(column, object);
            }
        }
        only
    }

    pub(crate) fn get(&self, column: u32) -> Option<&[u8]> {
        self.columns.binary_search(&column).ok().map(|at| self.at(at))
    }

    fn at(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start as usize..self.ends[at] as usize]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.columns.iter().enumerate().map(|(at, column)| (*column, self.at(at)))
    }

    pub(crate) fn len(&self) -> usize {
        self.columns.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Memory beside the struct itself.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.bytes.len() + 8 * self.columns.len()
    }
}

#[cfg(test)]
pub(crate) mod tests;
