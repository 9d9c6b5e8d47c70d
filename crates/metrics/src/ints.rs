//! Integers of a column in few bits.
//!
//! ```text
//! ints = head:u8 [divisor:uint] seed* ( base:int width:u8 packed | int* )
//! head: bits 0–1 order of differences (0, 1, 2); bit 2: residuals are `int`s and not packed;
//!       bit 3: a divisor follows
//! ```
//! `order` seeds (the first value, the first difference) come first as `int`s.
//! The residuals, divided by their greatest common divisor, are either written as `int`s or
//! packed: each minus the smallest one (`base`), in `width` bits, low bits first.
//! The encoder measures every choice and takes the smallest; arithmetic wraps, so that any `i64`
//! comes back.

use vigie_disk::wire::{Bad, Bytes, put_int, put_uint, uint_bytes, zigzag};

const ORDER_MASK: u8 = 3;
const PLAIN: u8 = 4;
const DIVIDED: u8 = 8;

struct Choice {
    head: u8,
    seeds: Vec<i64>,
    divisor: i64,
    residuals: Vec<i64>,
    base: i64,
    width: u32,
    bytes: usize,
}

/// Appends `values`, of which there is at least one.
pub(crate) fn encode(values: &[i64], out: &mut Vec<u8>) {
    assert!(!values.is_empty(), "an empty column is not written");
    let best = (0..=2.min(values.len() - 1))
        .map(|order| measure(values, order))
        .min_by_key(|choice| choice.bytes)
        .expect("order 0 is always possible");
    let before = out.len();
    out.push(best.head);
    if best.head & DIVIDED != 0 {
        put_uint(out, best.divisor as u64);
    }
    for seed in &best.seeds {
        put_int(out, *seed);
    }
    if best.head & PLAIN != 0 {
        for residual in &best.residuals {
            put_int(out, *residual);
        }
    } else {
        put_int(out, best.base);
        out.push(best.width as u8);
        pack(&best.residuals, best.base, best.width, out);
    }
    debug_assert_eq!(out.len() - before, best.bytes);
}

/// The residuals of one order of differences, and what they would cost.
fn measure(values: &[i64], order: usize) -> Choice {
    let mut residuals = values.to_vec();
    let mut seeds = Vec::with_capacity(order);
    for _ in 0..order {
        seeds.push(residuals[0]);
        for at in 0..residuals.len() - 1 {
            residuals[at] = residuals[at + 1].wrapping_sub(residuals[at]);
        }
        residuals.pop();
    }
    let divisor = common_divisor(&residuals);
    if divisor > 1 {
        residuals.iter_mut().for_each(|residual| *residual /= divisor);
    }
    let base = residuals.iter().copied().min().unwrap_or(0);
    let spread = residuals.iter().map(|r| r.wrapping_sub(base) as u64).max().unwrap_or(0);
    let width = u64::BITS - spread.leading_zeros();
    let packed = uint_bytes(zigzag(base)) + 1 + (residuals.len() * width as usize).div_ceil(8);
    let plain: usize = residuals.iter().map(|r| uint_bytes(zigzag(*r))).sum();
    let mut head = order as u8;
    let mut bytes = 1 + packed.min(plain);
    bytes += seeds.iter().map(|seed| uint_bytes(zigzag(*seed))).sum::<usize>();
    if plain < packed {
        head |= PLAIN;
    }
    if divisor > 1 {
        head |= DIVIDED;
        bytes += uint_bytes(divisor as u64);
    }
    Choice { head, seeds, divisor, residuals, base, width, bytes }
}

/// The greatest common divisor, 1 when dividing is of no use.
fn common_divisor(values: &[i64]) -> i64 {
    let mut divisor = 0u64;
    for value in values {
        let (mut a, mut b) = (divisor, value.unsigned_abs());
        while b != 0 {
            (a, b) = (b, a % b);
        }
        divisor = a;
        if divisor == 1 {
            break;
        }
    }
    i64::try_from(divisor).unwrap_or(1).max(1)
}

fn pack(values: &[i64], base: i64, width: u32, out: &mut Vec<u8>) {
    let (mut word, mut held) = (0u128, 0);
    for value in values {
        word |= u128::from(value.wrapping_sub(base) as u64) << held;
        held += width;
        while held >= 8 {
            out.push(word as u8);
            word >>= 8;
            held -= 8;
        }
    }
    if held > 0 {
        out.push(word as u8);
    }
}

/// Reads `out.len()` values, which must be all that `bytes` holds.
pub(crate) fn decode(bytes: &[u8], out: &mut [i64]) -> Result<(), Bad> {
    let mut input = Bytes::new(bytes);
    let head = input.byte()?;
    let order = usize::from(head & ORDER_MASK);
    if order > 2 || order > out.len() || head > (ORDER_MASK | PLAIN | DIVIDED) {
        return Err("an integer column has an unknown form");
    }
    let divisor = if head & DIVIDED != 0 { input.uint()? as i64 } else { 1 };
    let mut seeds = [0; 2];
    for seed in &mut seeds[..order] {
        *seed = input.int()?;
    }
    let residuals = &mut out[order..];
    if head & PLAIN != 0 {
        for residual in residuals.iter_mut() {
            *residual = input.int()?;
        }
    } else {
        let base = input.int()?;
        let width = u32::from(input.byte()?);
        unpack(&mut input, base, width, residuals)?;
    }
    if !input.rest.is_empty() {
        return Err("an integer column has bytes too many");
    }
    if divisor != 1 {
        residuals.iter_mut().for_each(|residual| *residual = residual.wrapping_mul(divisor));
    }
    for level in (0..order).rev() {
        out[level] = seeds[level];
        for at in level + 1..out.len() {
            out[at] = out[at].wrapping_add(out[at - 1]);
        }
    }
    Ok(())
}

fn unpack(input: &mut Bytes<'_>, base: i64, width: u32, out: &mut [i64]) -> Result<(), Bad> {
    if width > 64 {
        return Err("an integer column is wider than 64 bits");
    }
    let packed = input.take((out.len() * width as usize).div_ceil(8))?;
    let mask = if width == 0 { 0 } else { u64::MAX >> (64 - width) };
    let (mut word, mut held, mut at) = (0u128, 0, 0);
    for value in out {
        while held < width {
            word |= u128::from(packed[at]) << held;
            at += 1;
            held += 8;
        }
        *value = base.wrapping_add((word as u64 & mask) as i64);
        word >>= width;
        held -= width;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(values: &[i64]) -> usize {
        let mut bytes = Vec::new();
        encode(values, &mut bytes);
        let mut out = vec![0; values.len()];
        decode(&bytes, &mut out).unwrap();
        assert_eq!(out, values);
        bytes.len()
    }

    #[test]
    fn regular_columns_take_few_bytes() {
        let ramp: Vec<i64> = (0..120).map(|n| 1_700_000_000_000 + n * 15_000).collect();
        let pages: Vec<i64> = (0..120).map(|n| 4096 * (100_000 + (n * 7919) % 31)).collect();
        let noise: Vec<i64> = (0..120).map(|n| (n * 7919) % 13).collect();
        for (values, bytes_max) in [(ramp, 16), (pages, 85), (noise, 65)] {
            let bytes = round_trip(&values);
            assert!(bytes <= bytes_max, "{bytes} bytes for {values:?}");
        }
    }

    #[test]
    fn the_ends_of_the_number_range_come_back() {
        for values in [
            vec![i64::MIN],
            vec![i64::MAX, i64::MIN],
            vec![i64::MIN, i64::MAX, 0, i64::MIN, -1],
            vec![0; 5],
            vec![i64::MIN; 5],
        ] {
            round_trip(&values);
        }
    }

    proptest! {
        #[test]
        fn any_integers_come_back(values in prop::collection::vec(any::<i64>(), 1..200)) {
            round_trip(&values);
        }

        #[test]
        fn small_integers_come_back(values in prop::collection::vec(-300i64..300, 1..200)) {
            round_trip(&values);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..100),
            count in 1usize..50,
        ) {
            let _ = decode(&bytes, &mut vec![0; count]);
        }
    }
}
