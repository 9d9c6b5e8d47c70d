//! Integers of a column in few bits.
//!
//! ```text
//! ints = head:u8 [divisor:uint] seed* ( base:int width:u8 packed [patches] | int* )
//! head: bits 0–1 order of differences (0, 1, 2); bit 2: residuals are `int`s and not packed;
//!       bit 3: a divisor follows; bit 4: patches follow
//! patches = count:uint (gap:uint high:uint)*
//! ```
//! `order` seeds (the first value, the first difference) come first as `int`s.
//! The residuals, divided by their greatest common divisor, are either written as `int`s or
//! packed: each minus `base`, in `width` bits, low bits first. Those that need more bits have the
//! rest in a patch, so that one burst does not make a page of quiet values wide; `base` is then not
//! the smallest residual but a small one.
//! The encoder measures every choice and takes the smallest; arithmetic wraps, so that any `i64`
//! comes back. [`encode`] is for rows that are still being collected and looks for no patches;
//! [`encode_dense`] is for what is kept long.

use vigie_disk::wire::{Bad, Bytes, put_int, put_uint, uint_bytes, zigzag};

const ORDER_MASK: u8 = 3;
const PLAIN: u8 = 4;
const DIVIDED: u8 = 8;
const PATCHED: u8 = 16;

struct Choice {
    head: u8,
    seeds: Vec<i64>,
    divisor: i64,
    residuals: Vec<i64>,
    base: i64,
    width: u32,
    bytes: usize,
}

/// Appends `values`, of which there is at least one, in as few bytes as is known.
pub(crate) fn encode_dense(values: &[i64], out: &mut Vec<u8>) {
    assert!(!values.is_empty(), "an empty column is not written");
    let mut sorted = Vec::with_capacity(values.len());
    let best = (0..=2.min(values.len() - 1))
        .map(|order| {
            let mut choice = measure(values, order);
            patch(&mut choice, &mut sorted);
            choice
        })
        .min_by_key(|choice| choice.bytes)
        .expect("order 0 is always possible");
    put(&best, out);
}

/// Appends `values`, of which there is at least one.
pub(crate) fn encode(values: &[i64], out: &mut Vec<u8>) {
    assert!(!values.is_empty(), "an empty column is not written");
    let best = (0..=2.min(values.len() - 1))
        .map(|order| measure(values, order))
        .min_by_key(|choice| choice.bytes)
        .expect("order 0 is always possible");
    let before = out.len();
    put(&best, out);
    debug_assert_eq!(out.len() - before, best.bytes);
}

fn put(choice: &Choice, out: &mut Vec<u8>) {
    out.push(choice.head);
    if choice.head & DIVIDED != 0 {
        put_uint(out, choice.divisor as u64);
    }
    for seed in &choice.seeds {
        put_int(out, *seed);
    }
    if choice.head & PLAIN != 0 {
        for residual in &choice.residuals {
            put_int(out, *residual);
        }
        return;
    }
    put_int(out, choice.base);
    out.push(choice.width as u8);
    pack(&choice.residuals, choice.base, choice.width, out);
    if choice.head & PATCHED != 0 {
        put_patches(choice, out);
    }
}

fn put_patches(choice: &Choice, out: &mut Vec<u8>) {
    let highs = choice.residuals.iter().enumerate().filter_map(|(at, residual)| {
        let high = residual.wrapping_sub(choice.base) as u64 >> choice.width;
        (high != 0).then_some((at, high))
    });
    put_uint(out, highs.clone().count() as u64);
    let mut next = 0;
    for (at, high) in highs {
        put_uint(out, (at - next) as u64);
        put_uint(out, high);
        next = at + 1;
    }
}

/// Looks for a base and a width with which a few patches are cheaper than what was chosen.
fn patch(choice: &mut Choice, sorted: &mut Vec<i64>) {
    let count = choice.residuals.len();
    let fixed = choice.bytes - residual_bytes(choice);
    sorted.clear();
    sorted.extend_from_slice(&choice.residuals);
    sorted.sort_unstable();
    let mut best = choice.bytes;
    let mut tried = None;
    for at in [0, 1, 2, count / 64, count / 24] {
        let Some(base) = sorted.get(at).copied() else { continue };
        if tried == Some(base) {
            continue;
        }
        tried = Some(base);
        let mut of_bits = [0usize; 65];
        for residual in &choice.residuals {
            let bits = u64::BITS - (residual.wrapping_sub(base) as u64).leading_zeros();
            of_bits[bits as usize] += 1;
        }
        for width in 0..64u32 {
            let wider = width as usize + 1..65;
            // A gap of a page nearly always fits one byte.
            let patches: usize =
                wider.map(|bits| of_bits[bits] * (1 + (bits - width as usize).div_ceil(7))).sum();
            let packed = uint_bytes(zigzag(base)) + 1 + (count * width as usize).div_ceil(8);
            let bytes = fixed + packed + 2 + patches;
            if patches > 0 && bytes < best {
                best = bytes;
                (choice.base, choice.width) = (base, width);
                choice.head = choice.head & !PLAIN | PATCHED;
            }
        }
    }
    choice.bytes = best;
}

fn residual_bytes(choice: &Choice) -> usize {
    if choice.head & PLAIN != 0 {
        return choice.residuals.iter().map(|r| uint_bytes(zigzag(*r))).sum();
    }
    let packed = (choice.residuals.len() * choice.width as usize).div_ceil(8);
    uint_bytes(zigzag(choice.base)) + 1 + packed
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

/// The low `width` bits of each value minus `base`.
fn pack(values: &[i64], base: i64, width: u32, out: &mut Vec<u8>) {
    let mask = if width == 0 { 0 } else { u64::MAX >> (64 - width) };
    let (mut word, mut held) = (0u128, 0);
    for value in values {
        word |= u128::from(value.wrapping_sub(base) as u64 & mask) << held;
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
    let known = ORDER_MASK | PLAIN | DIVIDED | PATCHED;
    let both = PLAIN | PATCHED;
    if order > 2 || order > out.len() || head > known || head & both == both {
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
        if head & PATCHED != 0 {
            read_patches(&mut input, width, residuals)?;
        }
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

fn read_patches(input: &mut Bytes<'_>, width: u32, out: &mut [i64]) -> Result<(), Bad> {
    if width >= 64 {
        return Err("an integer column has patches and no room for them");
    }
    let mut at = 0;
    for _ in 0..input.count(out.len())? {
        at += input.count(out.len())?;
        let value = out.get_mut(at).ok_or("a patch lies outside its column")?;
        *value = value.wrapping_add((input.uint()? << width) as i64);
        at += 1;
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
        let mut shortest = usize::MAX;
        for encode in [encode, encode_dense] {
            let mut bytes = Vec::new();
            encode(values, &mut bytes);
            let mut out = vec![0; values.len()];
            decode(&bytes, &mut out).unwrap();
            assert_eq!(out, values);
            shortest = shortest.min(bytes.len());
        }
        shortest
    }

    #[test]
    fn a_few_bursts_do_not_make_a_column_wide() {
        let quiet = |n: i64| 1000 + (n * 7919) % 7;
        for burst in [1 << 40, -(1 << 40), i64::MIN] {
            let values = (0..480).map(|n| if n % 100 == 50 { burst } else { quiet(n) });
            let bytes = round_trip(&values.collect::<Vec<_>>());
            assert!(bytes < 260, "{bytes} bytes with bursts of {burst}");
        }
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
