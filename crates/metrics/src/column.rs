//! The values of one series in one chunk, bit-exact.
//!
//! ```text
//! column  = tag:u8 [present] body
//! tag     = kind | 0x80 when the column is sparse | 0x40 when its rows are given as runs
//! present = 0x80: one bit per row, low bits first, (rows + 7) / 8 bytes
//!           0x40: the rows that have a sample, as `runs`
//! body    = kind 0, constant:  the value's bytes, high ones first, zeros behind cut off
//!           kind 1, decimals:  exponent:u8 ints      value = integer / 10^exponent
//!           kind 2, xor:       the first value (8 bytes), then per value
//!                              control:u8 (zero bytes in front << 4 | bytes), and the bytes
//!           kind 3, decimals with exceptions:
//!                              count:uint (gap:uint bits:u64)* and then as kind 1
//!           kind 8, objects:   floats:uint [a column] present object*   never sparse
//! ```
//! Runs and exceptions stand in blocks only ([`encode_dense`]): a chunk of few rows has no use for
//! them. An exception is a value that is no decimal (a stale marker, say), or not with the exponent
//! of the others; in its place the integers repeat the one before.
//! The body holds the present values only. A value is written as a decimal only if dividing gives
//! its exact bits back; so NaN payloads, infinities and −0 go the way of constants or xor.

use crate::ints;
use crate::object;
use std::sync::Arc;
use vigie_disk::wire::{Bad, Bytes, put_runs, put_uint};
use vigie_model::{ABSENT, Histogram, is_absent};

const CONSTANT: u8 = 0;
const DECIMALS: u8 = 1;
const XOR: u8 = 2;
const EXCEPTIONS: u8 = 3;
const OBJECTS: u8 = 8;
const SPARSE: u8 = 0x80;
const RUNS: u8 = 0x40;

/// Largest decimal exponent tried.
const EXPONENT_MAX: usize = 12;
const POWERS: [f64; EXPONENT_MAX + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12];
/// Integers up to here are exact in a double.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// Buffers used again from column to column.
#[derive(Default)]
pub(crate) struct Scratch {
    present: Vec<f64>,
    ints: Vec<i64>,
    places: Vec<u32>,
    exceptions: Vec<(u32, u64)>,
    other: Vec<u8>,
}

/// Appends the column of `rows` ([`ABSENT`] where there is no sample) to `out`.
///
/// # Panics
/// If no row has a sample: such a column is not written.
pub(crate) fn encode(rows: &[f64], scratch: &mut Scratch, out: &mut Vec<u8>) {
    scratch.present.clear();
    scratch.present.extend(rows.iter().copied().filter(|value| !is_absent(*value)));
    assert!(!scratch.present.is_empty(), "a column without a sample");
    let tag_at = out.len();
    out.push(0);
    let mut tag = 0;
    if scratch.present.len() < rows.len() {
        tag = SPARSE;
        put_present(rows, out);
    }
    let values = &scratch.present;
    let first = values[0].to_bits();
    if values.iter().all(|value| value.to_bits() == first) {
        tag |= CONSTANT;
        out.extend_from_slice(significant(first.to_be_bytes().as_slice()));
    } else if let Some(exponent) = decimals(values, &mut scratch.ints) {
        tag |= DECIMALS;
        out.push(exponent);
        ints::encode(&scratch.ints, out);
    } else {
        tag |= XOR;
        put_xor(values, out);
    }
    out[tag_at] = tag;
}

/// [`encode`] for what is kept long: every form is tried and the shortest taken.
///
/// # Panics
/// If no row has a sample.
pub(crate) fn encode_dense(rows: &[f64], scratch: &mut Scratch, out: &mut Vec<u8>) {
    scratch.present.clear();
    scratch.places.clear();
    for (at, value) in rows.iter().enumerate().filter(|(_, value)| !is_absent(**value)) {
        scratch.present.push(*value);
        scratch.places.push(at as u32);
    }
    assert!(!scratch.present.is_empty(), "a column without a sample");
    let tag_at = out.len();
    out.push(0);
    let mut tag = 0;
    if scratch.present.len() < rows.len() {
        scratch.other.clear();
        put_runs(&mut scratch.other, &scratch.places);
        if scratch.other.len() < rows.len().div_ceil(8) {
            tag = RUNS;
            out.extend_from_slice(&scratch.other);
        } else {
            tag = SPARSE;
            put_present(rows, out);
        }
    }
    let first = scratch.present[0].to_bits();
    if scratch.present.iter().all(|value| value.to_bits() == first) {
        tag |= CONSTANT;
        out.extend_from_slice(significant(first.to_be_bytes().as_slice()));
    } else {
        tag |= put_varying(scratch, out);
    }
    out[tag_at] = tag;
}

/// Writes values that are not all the same and returns the kind.
fn put_varying(scratch: &mut Scratch, out: &mut Vec<u8>) -> u8 {
    let Some(exponent) = most_decimals(scratch) else {
        put_xor(&scratch.present, out);
        return XOR;
    };
    let body_at = out.len();
    let mut kind = DECIMALS;
    if !scratch.exceptions.is_empty() {
        kind = EXCEPTIONS;
        put_uint(out, scratch.exceptions.len() as u64);
        let mut next = 0;
        for (at, bits) in &scratch.exceptions {
            put_uint(out, u64::from(at - next));
            out.extend_from_slice(&bits.to_le_bytes());
            next = at + 1;
        }
    }
    out.push(exponent);
    ints::encode_dense(&scratch.ints, out);
    if out.len() - body_at > scratch.present.len() {
        scratch.other.clear();
        put_xor(&scratch.present, &mut scratch.other);
        if scratch.other.len() < out.len() - body_at {
            out.truncate(body_at);
            out.extend_from_slice(&scratch.other);
            return XOR;
        }
    }
    kind
}

/// The exponent that suits nearly all values; the others become exceptions. `None` when too many
/// would.
fn most_decimals(scratch: &mut Scratch) -> Option<u8> {
    let values = &scratch.present;
    let mut exponent = 0;
    for value in values {
        if decimal(*value, exponent).is_none()
            && let Some(more) =
                (exponent + 1..=EXPONENT_MAX).find(|e| decimal(*value, *e).is_some())
        {
            exponent = more;
        }
    }
    scratch.ints.clear();
    scratch.exceptions.clear();
    let exceptions_max = values.len() / 8;
    let mut before = None;
    for (at, value) in values.iter().enumerate() {
        match decimal(*value, exponent) {
            Some(int) => {
                if before.is_none() {
                    scratch.ints.fill(int);
                }
                before = Some(int);
                scratch.ints.push(int);
            }
            None => {
                scratch.exceptions.push((at as u32, value.to_bits()));
                scratch.ints.push(before.unwrap_or(0));
                if scratch.exceptions.len() > exceptions_max {
                    return None;
                }
            }
        }
    }
    Some(exponent as u8)
}

fn put_present(rows: &[f64], out: &mut Vec<u8>) {
    for eight in rows.chunks(8) {
        let bits = eight.iter().enumerate();
        out.push(bits.fold(0, |byte, (at, value)| byte | u8::from(!is_absent(*value)) << at));
    }
}

/// Appends a column of which some rows hold objects: `objects` has them by row, ascending and at
/// least one, and `rows` is [`ABSENT`] there. `encode_floats` writes the other rows: [`encode`] or
/// [`encode_dense`].
pub(crate) fn encode_objects(
    rows: &[f64],
    objects: &[(u32, Arc<Histogram>)],
    encode_floats: fn(&[f64], &mut Scratch, &mut Vec<u8>),
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) {
    assert!(!objects.is_empty(), "a column of floats");
    assert!(objects.windows(2).all(|pair| pair[0].0 < pair[1].0), "rows ascend");
    out.push(OBJECTS);
    let mut floats = Vec::new();
    if rows.iter().any(|value| !is_absent(*value)) {
        encode_floats(rows, scratch, &mut floats);
    }
    put_uint(out, floats.len() as u64);
    out.extend_from_slice(&floats);
    let present_at = out.len();
    out.resize(present_at + rows.len().div_ceil(8), 0);
    let mut before = None;
    for (row, histogram) in objects {
        assert!(is_absent(rows[*row as usize]), "a row has a float or an object");
        out[present_at + *row as usize / 8] |= 1 << (row % 8);
        object::encode(before, histogram, out);
        before = Some(histogram);
    }
}

/// Whether a column has objects.
pub(crate) fn has_objects(bytes: &[u8]) -> bool {
    bytes.first() == Some(&OBJECTS)
}

/// Hands over the objects of a column of `rows` rows, each with its row, ascending.
pub(crate) fn decode_objects(
    bytes: &[u8],
    rows: usize,
    take: &mut dyn FnMut(usize, Arc<Histogram>),
) -> Result<(), Bad> {
    if !has_objects(bytes) {
        return Ok(());
    }
    let mut input = Bytes::new(&bytes[1..]);
    input.bytes()?;
    let present = input.take(rows.div_ceil(8))?;
    if present.last().is_some_and(|last| !rows.is_multiple_of(8) && last >> (rows % 8) != 0) {
        return Err("a column has an object in no row");
    }
    let mut before = None;
    for row in (0..rows).filter(|row| present[row / 8] >> (row % 8) & 1 == 1) {
        let histogram = object::decode(before.as_ref(), &mut input)?;
        take(row, histogram.clone());
        before = Some(histogram);
    }
    if before.is_none() {
        return Err("a column of objects has none");
    }
    input.end()
}

/// Bytes without the zeros at their end.
pub(crate) fn significant(bytes: &[u8]) -> &[u8] {
    let len = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    &bytes[..len]
}

/// The smallest exponent with which every value is an integer divided by a power of ten.
fn decimals(values: &[f64], ints: &mut Vec<i64>) -> Option<u8> {
    let mut exponent = 0;
    'again: loop {
        ints.clear();
        for value in values {
            loop {
                match decimal(*value, exponent) {
                    Some(int) => {
                        ints.push(int);
                        break;
                    }
                    None if exponent == EXPONENT_MAX => return None,
                    None => exponent += 1,
                }
                if !ints.is_empty() {
                    continue 'again;
                }
            }
        }
        return Some(exponent as u8);
    }
}

fn decimal(value: f64, exponent: usize) -> Option<i64> {
    let scaled = (value * POWERS[exponent]).round();
    if scaled.is_nan() || scaled.abs() > EXACT_MAX {
        return None;
    }
    let int = scaled as i64;
    (from_decimal(int, exponent).to_bits() == value.to_bits()).then_some(int)
}

fn from_decimal(int: i64, exponent: usize) -> f64 {
    int as f64 / POWERS[exponent]
}

fn put_xor(values: &[f64], out: &mut Vec<u8>) {
    let mut before = values[0].to_bits();
    out.extend_from_slice(&before.to_le_bytes());
    for value in &values[1..] {
        let bits = value.to_bits();
        let differs = bits ^ before;
        before = bits;
        if differs == 0 {
            out.push(0);
            continue;
        }
        let front = differs.leading_zeros() / 8;
        let behind = differs.trailing_zeros() / 8;
        let bytes = 8 - front - behind;
        out.push((front << 4 | bytes) as u8);
        let shifted = (differs >> (8 * behind)).to_le_bytes();
        out.extend_from_slice(&shifted[..bytes as usize]);
    }
}

/// Fills `out` with the rows of a column, [`ABSENT`] where there is no sample or an object.
pub(crate) fn decode(bytes: &[u8], out: &mut [f64]) -> Result<(), Bad> {
    let mut input = Bytes::new(bytes);
    let tag = input.byte()?;
    if tag == OBJECTS {
        out.fill(ABSENT);
        return match input.bytes()? {
            [] => Ok(()),
            [OBJECTS, ..] => Err("a column of objects stands in another"),
            floats => decode(floats, out),
        };
    }
    if tag & RUNS != 0 {
        return decode_runs(tag & !RUNS, input, out);
    }
    if tag & SPARSE == 0 {
        return decode_body(tag, input, out);
    }
    let present = input.take(out.len().div_ceil(8))?;
    let count = present.iter().map(|byte| byte.count_ones() as usize).sum::<usize>();
    if count == 0 || count > out.len() {
        return Err("a sparse column has an impossible number of samples");
    }
    decode_body(tag & !SPARSE, input, &mut out[..count])?;
    // Spread the values from the back, so that none is overwritten before it has moved.
    let mut next = count;
    for row in (0..out.len()).rev() {
        if present[row / 8] >> (row % 8) & 1 == 1 {
            next -= 1;
            out[row] = out[next];
        } else {
            out[row] = ABSENT;
        }
    }
    if next != 0 { Err("a sparse column has a sample in no row") } else { Ok(()) }
}

/// [`decode`] when the rows that have a sample are given as runs.
fn decode_runs(kind: u8, mut input: Bytes<'_>, out: &mut [f64]) -> Result<(), Bad> {
    let places = input.runs(out.len())?;
    let fits = places.last().is_some_and(|last| (*last as usize) < out.len());
    if !fits || kind & SPARSE != 0 {
        return Err("a sparse column has impossible rows");
    }
    decode_body(kind, input, &mut out[..places.len()])?;
    let mut end = out.len();
    for (next, place) in places.iter().enumerate().rev() {
        let place = *place as usize;
        out[place] = out[next];
        out[place + 1..end].fill(ABSENT);
        end = place;
    }
    out[..end].fill(ABSENT);
    Ok(())
}

fn decode_body(kind: u8, input: Bytes<'_>, out: &mut [f64]) -> Result<(), Bad> {
    match kind {
        CONSTANT => {
            let mut bits = [0; 8];
            let bytes = input.rest;
            bits.get_mut(..bytes.len()).ok_or("a constant is too long")?.copy_from_slice(bytes);
            out.fill(f64::from_bits(u64::from_be_bytes(bits)));
            Ok(())
        }
        DECIMALS => get_decimals(input, out),
        EXCEPTIONS => get_exceptions(input, out),
        XOR => get_xor(input, out),
        _ => Err("a column has an unknown kind"),
    }
}

fn get_decimals(mut input: Bytes<'_>, out: &mut [f64]) -> Result<(), Bad> {
    let exponent = usize::from(input.byte()?);
    if exponent > EXPONENT_MAX {
        return Err("a decimal column has an unknown exponent");
    }
    let mut ints = [0i64; crate::PAGE_ROWS_MAX];
    let ints = ints.get_mut(..out.len()).ok_or("a column has too many rows")?;
    ints::decode(input.rest, ints)?;
    let power = POWERS[exponent];
    for (value, int) in out.iter_mut().zip(ints) {
        *value = *int as f64 / power;
    }
    Ok(())
}

fn get_exceptions(mut input: Bytes<'_>, out: &mut [f64]) -> Result<(), Bad> {
    let count = input.count(out.len())?;
    let mut exceptions = input.clone();
    for _ in 0..count {
        input.uint()?;
        input.take(8)?;
    }
    get_decimals(input, out)?;
    let mut at = 0;
    for _ in 0..count {
        at += exceptions.count(out.len())?;
        let bits = exceptions.take(8)?.try_into().map_err(|_| "eight bytes were taken")?;
        *out.get_mut(at).ok_or("an exception lies outside its column")? =
            f64::from_bits(u64::from_le_bytes(bits));
        at += 1;
    }
    Ok(())
}

fn get_xor(mut input: Bytes<'_>, out: &mut [f64]) -> Result<(), Bad> {
    let mut bits = 0;
    for (at, value) in out.iter_mut().enumerate() {
        let control = if at == 0 { 8 } else { input.byte()? };
        let (front, bytes) = (usize::from(control >> 4), usize::from(control & 15));
        if front + bytes > 8 {
            return Err("an xor column has an impossible control byte");
        }
        let mut differs = [0; 8];
        differs[8 - front - bytes..8 - front].copy_from_slice(input.take(bytes)?);
        bits ^= u64::from_le_bytes(differs);
        *value = f64::from_bits(bits);
    }
    if input.rest.is_empty() { Ok(()) } else { Err("an xor column has bytes too many") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use vigie_model::STALE_NAN;
    use vigie_model::value::{NORMAL_NAN, canonical};

    fn round_trip(rows: &[f64]) -> usize {
        let mut shortest = usize::MAX;
        for encode in [encode, encode_dense] {
            let mut bytes = Vec::new();
            encode(rows, &mut Scratch::default(), &mut bytes);
            let mut out = vec![7.0; rows.len()];
            decode(&bytes, &mut out).unwrap();
            let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&out), bits(rows));
            shortest = shortest.min(bytes.len());
        }
        shortest
    }

    #[test]
    fn an_end_a_start_and_a_hole_cost_a_page_few_bytes() {
        let counter: Vec<f64> = (0..480).map(|n| 1e6 + f64::from(n) * 15.0).collect();
        let mut ended = counter.clone();
        ended[479] = STALE_NAN;
        let mut begun = vec![ABSENT; 400];
        begun.extend_from_slice(&counter[400..]);
        let mut torn = counter;
        torn[100..200].fill(ABSENT);
        for (rows, bytes_max) in [(ended, 35), (begun, 20), (torn, 35)] {
            let bytes = round_trip(&rows);
            assert!(bytes <= bytes_max, "{bytes} bytes");
        }
    }

    #[test]
    fn columns_of_every_kind_come_back_in_few_bytes() {
        let counter: Vec<f64> = (0..120).map(|n| 1e6 + f64::from(n) * 15.0).collect();
        let seconds: Vec<f64> = (0..120).map(|n| f64::from(1_234_567 + n * n) / 100.0).collect();
        let mut gap = counter.clone();
        gap[7] = ABSENT;
        let mut ended = counter.clone();
        ended[119] = STALE_NAN;
        for (rows, bytes_max) in [
            (vec![0.0; 120], 1),
            (vec![-0.0; 3], 2),
            (vec![1.0; 120], 3),
            (vec![NORMAL_NAN; 120], 9),
            (counter, 12),
            (seconds, 50),
            (gap, 45),
            (ended, 500),
            (vec![0.1 + 0.2, f64::MAX, f64::MIN_POSITIVE, 5e-324, f64::INFINITY, -0.0], 60),
            (vec![ABSENT, ABSENT, 3.0], 4),
        ] {
            let bytes = round_trip(&rows);
            assert!(bytes <= bytes_max, "{bytes} bytes for {rows:?}");
        }
    }

    fn any_value() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<u64>().prop_map(|bits| canonical(f64::from_bits(bits))),
            (-1000i32..1000).prop_map(f64::from),
            (-100_000i32..100_000).prop_map(|n| f64::from(n) / 1000.0),
            Just(ABSENT),
            Just(STALE_NAN),
            Just(-0.0),
        ]
    }

    proptest! {
        #[test]
        fn any_bit_patterns_come_back(
            mut rows in prop::collection::vec(any_value(), 1..crate::CHUNK_ROWS_MAX),
        ) {
            rows[0] = canonical(rows[0]);
            round_trip(&rows);
        }

        #[test]
        fn decimals_come_back(
            rows in prop::collection::vec(-100_000i32..100_000, 1..100),
            digits in 0usize..8,
        ) {
            round_trip(&rows.iter().map(|n| f64::from(*n) / POWERS[digits]).collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..100),
            count in 1usize..50,
        ) {
            let _ = decode(&bytes, &mut vec![0.0; count]);
        }
    }
}
