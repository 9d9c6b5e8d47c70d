//! A strip: the values of one column in a chunk, bit-exact, made to be written and read fast.
//!
//! A chunk is sealed every sixteen rows, so what a column costs beside its values counts as much as
//! they do. A strip is made in one pass and read in one: a form that stands in the chunk's directory
//! says what its bytes mean, numbers have residuals of whole bytes (or halves), and the loops are
//! plain ones over sixteen values, which the compiler turns into vector instructions.
//! The bytes stand in `docs/formats/metrics-segment.md`.
//!
//! Invariants: the form of a column says whether each of its rows has a plain number ([`is_plain`]);
//! any other bits than `ABSENT`'s come back as they were; no bytes make a reader panic.

use crate::CHUNK_ROWS_MAX;
use crate::column::{self, significant};
use std::sync::Arc;
use vigie_disk::wire::{Bad, zigzag};
use vigie_model::{Histogram, is_absent, is_stale};

/// Not every row has a number that is no stale marker.
const ODD: u8 = 0x80;
const CONSTANT: u8 = 0;
const TAGGED: u8 = 1;
const BITS: u8 = 2;
const LEVEL: u8 = 16;
const SLOPE: u8 = 32;
/// Bits of a residual by class.
const WIDTHS: [u32; 6] = [0, 4, 8, 16, 24, 32];
const SHIFT_MAX: u32 = 31;

/// Rows of the usual chunk, for which the loops have a fixed length.
const USUAL_ROWS: usize = 16;
const EXPONENT_MAX: usize = 12;
const POWERS: [f64; EXPONENT_MAX + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12];
/// Added to a number of at most 2^51 and taken away again, it rounds to an integer, and between the
/// two the integer stands in the low bits.
const ROUND: f64 = 6_755_399_441_055_744.0;
const INT_MAX: i64 = 1 << 51;

/// A column as a chunk holds it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strip<'a> {
    pub(crate) form: u8,
    pub(crate) bytes: &'a [u8],
}

impl<'a> Strip<'a> {
    /// A column of a chunk of kind 1.
    pub(crate) fn tagged(bytes: &'a [u8]) -> Strip<'a> {
        Strip { form: TAGGED | ODD, bytes }
    }

    /// Fills `out` with the rows, `ABSENT` where there is no sample or an object.
    pub(crate) fn decode(&self, out: &mut [f64]) -> Result<(), Bad> {
        decode(self.form, self.bytes, out)
    }

    pub(crate) fn is_plain(&self) -> bool {
        is_plain(self.form)
    }

    pub(crate) fn has_objects(&self) -> bool {
        self.form & !ODD == TAGGED && column::has_objects(self.bytes)
    }

    /// Hands over the objects of `rows` rows, each with its row, ascending.
    pub(crate) fn decode_objects(
        &self,
        rows: usize,
        take: &mut dyn FnMut(usize, Arc<Histogram>),
    ) -> Result<(), Bad> {
        if !self.has_objects() {
            return Ok(());
        }
        column::decode_objects(self.bytes, rows, take)
    }
}

/// Whether every row of a column of this form certainly has a number that is no stale marker.
pub(crate) fn is_plain(form: u8) -> bool {
    form & ODD == 0
}

/// The form of a column that is not there.
pub(crate) const NOTHING: u8 = 0xff;

/// Buffers used again from column to column.
pub(crate) struct Scratch {
    column: column::Scratch,
    ints: [i64; CHUNK_ROWS_MAX],
    bytes: [u8; SCRATCH_BYTES],
}

/// The longest strip that is not tagged, and room to write eight bytes at its end.
const SCRATCH_BYTES: usize = 32 + 8 * CHUNK_ROWS_MAX;

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch {
            column: column::Scratch::default(),
            ints: [0; CHUNK_ROWS_MAX],
            bytes: [0; SCRATCH_BYTES],
        }
    }
}

/// Appends the strip of a column with objects in some rows, and returns its form.
pub(crate) fn encode_objects(
    rows: &[f64],
    objects: &[(u32, Arc<Histogram>)],
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) -> u8 {
    column::encode_objects(rows, objects, column::encode, &mut scratch.column, out);
    TAGGED | ODD
}

/// Appends the strip of a column, `ABSENT` where there is no sample, and returns its form.
///
/// # Panics
/// If no row has a sample: such a column is not written.
pub(crate) fn encode(rows: &[f64], scratch: &mut Scratch, out: &mut Vec<u8>) -> u8 {
    match <&[f64; USUAL_ROWS]>::try_from(rows) {
        Ok(rows) => encode_rows(rows, scratch, out),
        Err(_) => encode_rows(rows, scratch, out),
    }
}

#[inline(always)]
fn encode_rows(rows: &[f64], scratch: &mut Scratch, out: &mut Vec<u8>) -> u8 {
    let first = rows[0].to_bits();
    let differs = rows.iter().fold(0, |differs, value| differs | (value.to_bits() ^ first));
    let has_nan = rows.iter().fold(false, |any, value| any | value.is_nan());
    let mut odd = 0;
    if has_nan {
        if rows.iter().any(|value| is_absent(*value)) {
            column::encode(rows, &mut scratch.column, out);
            return TAGGED | ODD;
        }
        if rows.iter().any(|value| is_stale(*value)) {
            odd = ODD;
        }
    }
    if differs == 0 {
        out.extend_from_slice(significant(&first.to_be_bytes()));
        return CONSTANT | odd;
    }
    let ints = &mut scratch.ints[..rows.len()];
    let numbers = match has_nan {
        true => None,
        false => integers(rows, ints).and_then(|exponent| Numbers::of(exponent, ints)),
    };
    match numbers {
        Some(numbers) => {
            let end = numbers.put(ints, &mut scratch.bytes);
            out.extend_from_slice(&scratch.bytes[..end]);
            numbers.form
        }
        None => {
            put_bits(rows, differs, out);
            BITS | odd
        }
    }
}

/// The smallest exponent with which every value is an integer divided by a power of ten, and the
/// integers.
#[inline(always)]
fn integers(rows: &[f64], ints: &mut [i64]) -> Option<usize> {
    let mut exponent = 0;
    loop {
        let wrong = match exponent {
            0 => rows.iter().zip(&mut *ints).fold(0, |wrong, (value, int)| {
                let moved = value + ROUND;
                *int = (moved.to_bits() as i64).wrapping_sub(ROUND.to_bits() as i64);
                wrong | ((moved - ROUND).to_bits() ^ value.to_bits())
            }),
            _ => {
                let power = POWERS[exponent];
                rows.iter().zip(&mut *ints).fold(0, |wrong, (value, int)| {
                    let moved = value * power + ROUND;
                    *int = (moved.to_bits() as i64).wrapping_sub(ROUND.to_bits() as i64);
                    wrong | (((moved - ROUND) / power).to_bits() ^ value.to_bits())
                })
            }
        };
        if wrong == 0 {
            return Some(exponent);
        }
        let fits = |value: &f64, exponent: usize| {
            let power = POWERS[exponent];
            let rounded = (value * power + ROUND) - ROUND;
            (rounded / power).to_bits() == value.to_bits()
        };
        // Each value in turn asks for more, until one asks for too much.
        for value in rows {
            while !fits(value, exponent) {
                exponent += 1;
                if exponent > EXPONENT_MAX {
                    return None;
                }
            }
        }
    }
}

/// How integers are written.
struct Numbers {
    form: u8,
    exponent: usize,
    first: i64,
    base: i64,
    shift: u32,
}

impl Numbers {
    /// `None` when no class is wide enough.
    #[inline(always)]
    fn of(exponent: usize, ints: &[i64]) -> Option<Numbers> {
        let low = ints.iter().fold(i64::MAX, |low, int| low.min(*int));
        let spread = ints.iter().fold(0, |spread, int| spread | int.wrapping_sub(low) as u64);
        if low < -INT_MAX || spread > INT_MAX as u64 || low + spread as i64 > INT_MAX {
            return None;
        }
        let steps = || ints.windows(2).map(|pair| pair[1] - pair[0]);
        let base = steps().fold(i64::MAX, i64::min);
        let bends = steps().fold(0, |bends, step| bends | (step - base) as u64);
        let (level, level_shift) = class(spread);
        let (slope, slope_shift) = class(bends);
        let rows = ints.len();
        let bytes = |class: Option<usize>, rows: usize, more: usize| {
            class.map(|class| packed_bytes(class, rows) + more)
        };
        let level_bytes = bytes(level, rows, signed_bytes(low));
        let slope_bytes = bytes(slope, rows - 1, signed_bytes(ints[0]).max(1) + signed_bytes(base));
        // `None` is less than any length.
        if slope_bytes.is_some() && (level_bytes.is_none() || slope_bytes < level_bytes) {
            let form = SLOPE + slope? as u8;
            return Some(Numbers { form, exponent, first: ints[0], base, shift: slope_shift });
        }
        let form = LEVEL + level? as u8;
        Some(Numbers { form, exponent, first: low, base: 0, shift: level_shift })
    }

    /// Writes all of a strip to the front of `out` and returns where it ends.
    #[inline(always)]
    fn put(&self, ints: &[i64], out: &mut [u8; SCRATCH_BYTES]) -> usize {
        let is_slope = self.form >= SLOPE;
        let class = usize::from(self.form & 15);
        let first_bytes = signed_bytes(self.first).max(1);
        let base_bytes = if is_slope { signed_bytes(self.base) } else { 0 };
        let parameters =
            self.exponent | (self.shift as usize) << 4 | (first_bytes - 1) << 9 | base_bytes << 12;
        out[..2].copy_from_slice(&(parameters as u16).to_le_bytes());
        out[2..10].copy_from_slice(&self.first.to_le_bytes());
        let at = 2 + first_bytes;
        out[at..at + 8].copy_from_slice(&self.base.to_le_bytes());
        let at = at + base_bytes;
        let rows = ints.len() - usize::from(is_slope);
        let (out, bytes) = (&mut out[at..], packed_bytes(class, rows));
        let packed = &mut out[..bytes];
        if is_slope {
            let steps = ints.windows(2).map(|pair| (pair[1] - pair[0] - self.base) as u64);
            pack(class, steps.map(|step| step >> self.shift), packed);
        } else {
            let above = ints.iter().map(|int| (int - self.first) as u64);
            pack(class, above.map(|above| above >> self.shift), packed);
        }
        at + bytes
    }
}

/// The class of residuals of which these bits are set in any, and the zeros at their ends that are
/// cut off.
fn class(any: u64) -> (Option<usize>, u32) {
    if any == 0 {
        return (Some(0), 0);
    }
    let shift = any.trailing_zeros().min(SHIFT_MAX);
    let bits = u64::BITS - (any >> shift).leading_zeros();
    (WIDTHS.iter().position(|width| bits <= *width), shift)
}

/// Bytes of a signed number, 0 for 0.
fn signed_bytes(value: i64) -> usize {
    (u64::BITS - zigzag(value).leading_zeros()).div_ceil(8) as usize
}

fn packed_bytes(class: usize, rows: usize) -> usize {
    (rows * WIDTHS[class] as usize).div_ceil(8)
}

#[inline(always)]
fn pack(class: usize, residuals: impl Iterator<Item = u64>, out: &mut [u8]) {
    match class {
        1 => {
            let mut residuals = residuals;
            for byte in out {
                let low = residuals.next().unwrap_or(0);
                *byte = (low | residuals.next().unwrap_or(0) << 4) as u8;
            }
        }
        2 => out.iter_mut().zip(residuals).for_each(|(byte, residual)| *byte = residual as u8),
        3 => put_each::<2>(residuals, out),
        4 => put_each::<3>(residuals, out),
        5 => put_each::<4>(residuals, out),
        _ => {}
    }
}

#[inline(always)]
fn put_each<const BYTES: usize>(residuals: impl Iterator<Item = u64>, out: &mut [u8]) {
    for (bytes, residual) in out.chunks_exact_mut(BYTES).zip(residuals) {
        bytes.copy_from_slice(&residual.to_le_bytes()[..BYTES]);
    }
}

/// Values of which not all bits are the same.
fn put_bits(rows: &[f64], differs: u64, out: &mut Vec<u8>) {
    let any = rows.iter().fold(0, |any, value| any | value.to_bits());
    let high = differs.leading_zeros() / 8;
    let low = (any.trailing_zeros() / 8).min(7 - high);
    let middle = (8 - high - low) as usize;
    out.push((high | low << 4) as u8);
    out.extend_from_slice(&rows[0].to_bits().to_le_bytes()[(8 - high) as usize..]);
    for value in rows {
        let bytes = (value.to_bits() >> (8 * low)).to_le_bytes();
        out.extend_from_slice(&bytes[..middle]);
    }
}

/// Fills `out` with the rows of a strip, `ABSENT` where there is no sample or an object.
#[inline]
pub(crate) fn decode(form: u8, bytes: &[u8], out: &mut [f64]) -> Result<(), Bad> {
    match form & !ODD {
        CONSTANT => {
            let value = high_first(bytes).ok_or("a constant is too long")?;
            out.fill(f64::from_bits(value));
            Ok(())
        }
        TAGGED => column::decode(bytes, out),
        BITS => get_bits(bytes, out),
        numbers => {
            if let Ok(out) = <&mut [f64; USUAL_ROWS]>::try_from(&mut *out) {
                return get_numbers(numbers, bytes, &mut [0; USUAL_ROWS], out);
            }
            let mut ints = [0; CHUNK_ROWS_MAX];
            let ints = ints.get_mut(..out.len()).ok_or("a strip has too many rows")?;
            get_numbers(numbers, bytes, ints, out)
        }
    }
}

/// At most eight bytes, high ones first, with zeros behind.
#[inline]
fn high_first(bytes: &[u8]) -> Option<u64> {
    let mut all = [0; 8];
    all.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(u64::from_be_bytes(all))
}

/// The first `count` bytes, at most eight, as a signed number.
#[inline(always)]
fn signed(bytes: &[u8], count: usize) -> Option<i64> {
    let word = match bytes.first_chunk::<8>() {
        Some(word) => i64::from_le_bytes(*word),
        None => {
            let mut word = [0; 8];
            word.get_mut(..count)?.copy_from_slice(bytes.get(..count)?);
            i64::from_le_bytes(word)
        }
    };
    let unused = 64 - 8 * count as u32;
    Some(if count == 0 { 0 } else { word << unused >> unused })
}

#[inline(always)]
fn get_numbers(form: u8, bytes: &[u8], ints: &mut [i64], out: &mut [f64]) -> Result<(), Bad> {
    const CUT: Bad = "a strip is cut off";
    let is_slope = match form & !15 {
        LEVEL => false,
        SLOPE => true,
        _ => return Err("a strip has an unknown form"),
    };
    let class = usize::from(form & 15);
    let (head, rest) = bytes.split_first_chunk::<2>().ok_or(CUT)?;
    let parameters = usize::from(u16::from_le_bytes(*head));
    let exponent = parameters & 15;
    let shift = (parameters >> 4 & 31) as u32;
    let (first_bytes, base_bytes) = ((parameters >> 9 & 7) + 1, parameters >> 12 & 7);
    if class >= WIDTHS.len() || exponent > EXPONENT_MAX || parameters >> 15 != 0 {
        return Err("a strip has unknown parameters");
    }
    let first = signed(rest, first_bytes).ok_or(CUT)?;
    let rest = rest.get(first_bytes..).ok_or(CUT)?;
    let base = signed(rest, base_bytes).ok_or(CUT)?;
    let packed = rest.get(base_bytes..).ok_or(CUT)?;
    let skip = usize::from(is_slope);
    if packed.len() != packed_bytes(class, out.len() - skip) || (!is_slope && base_bytes != 0) {
        return Err("a strip has another length than its rows need");
    }
    unpack(class, packed, &mut ints[skip..]);
    if is_slope {
        let mut int = first;
        ints[0] = int;
        for residual in &mut ints[1..] {
            int = int.wrapping_add(base).wrapping_add(*residual << shift);
            *residual = int;
        }
    } else {
        ints.iter_mut().for_each(|int| *int = first.wrapping_add(*int << shift));
    }
    let float = |int: i64| f64::from_bits(int.wrapping_add(ROUND.to_bits() as i64) as u64) - ROUND;
    if exponent == 0 {
        out.iter_mut().zip(ints).for_each(|(value, int)| *value = float(*int));
    } else {
        let power = POWERS[exponent];
        out.iter_mut().zip(ints).for_each(|(value, int)| *value = float(*int) / power);
    }
    Ok(())
}

#[inline(always)]
fn unpack(class: usize, packed: &[u8], out: &mut [i64]) {
    match class {
        1 => {
            for (two, byte) in out.chunks_mut(2).zip(packed) {
                two[0] = i64::from(byte & 15);
                if let Some(second) = two.get_mut(1) {
                    *second = i64::from(byte >> 4);
                }
            }
        }
        2 => out.iter_mut().zip(packed).for_each(|(int, byte)| *int = i64::from(*byte)),
        3 => get_each::<2>(packed, out),
        4 => get_each::<3>(packed, out),
        5 => get_each::<4>(packed, out),
        _ => {}
    }
}

#[inline(always)]
fn get_each<const BYTES: usize>(packed: &[u8], out: &mut [i64]) {
    for (int, bytes) in out.iter_mut().zip(packed.chunks_exact(BYTES)) {
        let mut word = [0; 8];
        word[..BYTES].copy_from_slice(bytes);
        *int = i64::from_le_bytes(word);
    }
}

fn get_bits(bytes: &[u8], out: &mut [f64]) -> Result<(), Bad> {
    let (ends, rest) = bytes.split_first().ok_or("a strip is cut off")?;
    let (high, low) = (usize::from(ends & 15), usize::from(ends >> 4));
    if high + low > 7 {
        return Err("a strip has values without bytes");
    }
    let middle = 8 - high - low;
    let (shared, rest) = rest.split_at_checked(high).ok_or("a strip is cut off")?;
    if rest.len() != middle * out.len() {
        return Err("a strip has another length than its rows need");
    }
    let mut word = [0; 8];
    word[8 - high..].copy_from_slice(shared);
    for (value, bytes) in out.iter_mut().zip(rest.chunks_exact(middle)) {
        word[low..8 - high].copy_from_slice(bytes);
        *value = f64::from_bits(u64::from_le_bytes(word));
    }
    Ok(())
}

/// Whether a row has what a plain column has in all: a number that is no stale marker.
pub(crate) fn is_number(value: f64) -> bool {
    !is_absent(value) && !is_stale(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use vigie_model::{ABSENT, STALE_NAN};

    fn strip_of(rows: &[f64]) -> (u8, Vec<u8>) {
        let (mut scratch, mut bytes) = (Scratch::default(), vec![7]);
        let form = encode(rows, &mut scratch, &mut bytes);
        (form, bytes.split_off(1))
    }

    /// Encodes and decodes; the form and the length.
    fn round_trip(rows: &[f64]) -> (u8, usize) {
        let (form, bytes) = strip_of(rows);
        let mut out = vec![1.0; rows.len()];
        decode(form, &bytes, &mut out).unwrap();
        let bits = |rows: &[f64]| rows.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&out), bits(rows), "form {form}");
        assert_eq!(is_plain(form), rows.iter().all(|value| is_number(*value)), "{rows:?}");
        (form, bytes.len())
    }

    #[test]
    fn each_kind_of_column_gets_the_form_made_for_it() {
        let make = |value: fn(i64) -> f64| (0..16).map(value).collect::<Vec<f64>>();
        let noise = |n: i64| (n * n * 7919 % 13) as f64;
        let jumps = |n: i64| 1e6 + 1e3 * n as f64 + 10.0 * noise(n) + (n % 2) as f64;
        let pages = |n: i64| 1e9 + 4096.0 * noise(n);
        for (what, rows, form, bytes_max) in [
            ("still", make(|_| 4096.0), CONSTANT, 2),
            ("zero", make(|_| 0.0), CONSTANT, 0),
            ("stale", make(|_| STALE_NAN), CONSTANT | ODD, 8),
            ("infinite", make(|_| f64::NEG_INFINITY), CONSTANT, 2),
            ("steady counter", make(|n| (1_000_000 + 15 * n) as f64), SLOPE, 6),
            ("counter", (0..16).map(jumps).collect(), SLOPE + 2, 22),
            ("quiet gauge", (0..16).map(noise).collect(), LEVEL + 1, 11),
            ("gauge of pages", (0..16).map(pages).collect(), LEVEL + 1, 14),
            ("hundredths", make(|n| (n * n) as f64 / 100.0), SLOPE + 1, 12),
            ("wide", make(|n| (n * 0xabc_def) as f64 * (n % 3) as f64), LEVEL + 5, 68),
            ("bits", make(|n| f64::from_bits(0x3ff0_0000_0000_0001 + n as u64)), BITS, 24),
            ("zeros of both signs", make(|n| if n % 2 == 0 { 0.0 } else { -0.0 }), BITS, 17),
            ("one stale", make(|n| if n == 15 { STALE_NAN } else { 1.0 }), BITS | ODD, 129),
            ("a gap", make(|n| if n == 3 { ABSENT } else { 1.0 }), TAGGED | ODD, 6),
        ] {
            let (found, bytes) = round_trip(&rows);
            assert_eq!(found, form, "{what}");
            assert!(bytes <= bytes_max, "{what}: {bytes} bytes");
        }
    }

    #[test]
    fn the_ends_of_what_an_integer_may_be_come_back() {
        let most = INT_MAX as f64;
        for rows in [
            vec![most, -most],
            vec![most + 1.0, 0.0, -most - 1.0],
            vec![2.0 * most, 1.0],
            vec![4.0 * most, 4.0 * most + 2.0],
            vec![f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324],
            vec![f64::INFINITY, f64::NEG_INFINITY, 0.0],
            vec![f64::INFINITY, f64::MAX],
            vec![f64::NAN, 1.0],
            vec![0.1, 0.2, 0.30000000000000004, 0.3],
            vec![1e22, 1e23],
            vec![0.5, 1e15],
            vec![-1.0, -4_503_599_627_370_497.5],
        ] {
            round_trip(&rows);
        }
    }

    /// Values of every kind that a column may have.
    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<u64>().prop_map(|bits| vigie_model::value::canonical(f64::from_bits(bits))),
            (-5_000i64..5_000).prop_map(|n| n as f64),
            any::<i32>().prop_map(|n| f64::from(n) * 4096.0),
            (any::<i32>(), 0..15).prop_map(|(n, e)| f64::from(n) / 10f64.powi(e)),
            any::<i64>().prop_map(|n| n as f64),
            Just(STALE_NAN),
            Just(-0.0),
        ]
    }

    proptest! {
        #[test]
        fn any_column_comes_back(rows in prop::collection::vec(value(), 1..=CHUNK_ROWS_MAX)) {
            round_trip(&rows);
        }

        #[test]
        fn a_column_of_one_kind_comes_back(
            (first, step, noise) in (any::<i32>(), -100_000i64..100_000, 1u64..1 << 40),
            exponent in 0..16,
            rows in 1..=40i64,
        ) {
            let power = 10f64.powi(exponent);
            let int = |n: i64| {
                let noise = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) % noise;
                i64::from(first) + n * step + noise as i64
            };
            round_trip(&(0..rows).map(|n| int(n) as f64 / power).collect::<Vec<_>>());
        }

        #[test]
        fn gaps_come_back(rows in prop::collection::vec(prop_oneof![value(), Just(ABSENT)], 2..40)) {
            if rows.iter().any(|value| !is_absent(*value)) {
                round_trip(&rows);
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(
            form in any::<u8>(),
            bytes in prop::collection::vec(any::<u8>(), 0..80),
            rows in 1..=CHUNK_ROWS_MAX,
        ) {
            let _ = decode(form, &bytes, &mut vec![0.0; rows]);
            let _ = decode(form, &bytes, &mut [0.0; USUAL_ROWS]);
        }
    }

    #[test]
    fn no_flipped_bit_makes_a_reader_panic() {
        for rows in [
            (0..16).map(|n| 1e6 + 1e3 * f64::from(n * n)).collect::<Vec<f64>>(),
            (0..16).map(|n| f64::from(n % 5) / 10.0).collect(),
            (0..16).map(|n| f64::from_bits(0x3ff0_0000_0000_0001 + n)).collect(),
            (0..16).map(|n| if n == 3 { ABSENT } else { 1.0 }).collect(),
        ] {
            let (form, bytes) = strip_of(&rows);
            for bit in 0..8 * (bytes.len() + 1) {
                let (mut form, mut bytes) = (form, bytes.clone());
                match bit / 8 {
                    0 => form ^= 1 << (bit % 8),
                    at => bytes[at - 1] ^= 1 << (bit % 8),
                }
                let _ = decode(form, &bytes, &mut [0.0; 16]);
            }
            for len in 0..bytes.len() {
                let read = decode(form, &bytes[..len], &mut [0.0; 16]);
                // A constant that is cut off is another constant.
                assert!(read.is_err() || form == TAGGED | ODD, "{len} bytes");
            }
        }
    }
}
