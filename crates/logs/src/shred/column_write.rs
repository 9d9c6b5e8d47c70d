//! Packs the values of one slot, by the first type whose print gives every value back exactly:
//! words, whole numbers, decimals, dates, hexadecimal ids, IPv4 addresses, a prefix and a number;
//! texts last, which everything is.

use super::column::{Trim, print_number};
use super::frames::FrameWriter;
use super::fuse::Fuse;
use super::planes;
use hashbrown::HashMap;
use vigie_disk::wire::{put_bytes, put_uint};
use vigie_model::civil::{days_in_month, days_of};
use xxhash_rust::xxh3::xxh3_64;

pub(crate) const WORDS: u8 = 0;
pub(crate) const INT: u8 = 1;
pub(crate) const DECIMAL: u8 = 2;
pub(crate) const TIME: u8 = 3;
pub(crate) const HEX: u8 = 4;
pub(crate) const IPV4: u8 = 5;
pub(crate) const NUMBERED: u8 = 6;
pub(crate) const TEXTS: u8 = 7;

/// Most words of a dictionary.
pub(crate) const WORDS_MAX: usize = 256;
/// Most bytes of a dictionary's words.
const WORDS_BYTES_MAX: usize = 64 * 1024;
/// A text frame ends before its values exceed this.
const TEXT_FRAME_BYTES: usize = 1024 * 1024;
/// Most trigrams of a filter; a column with more holds so much that a filter would let all in.
const TRIGRAMS_MAX: usize = 65_536;
/// Decimals and times keep so few digits that they are exact as floating-point numbers.
pub(crate) const EXACT_MAX: i64 = 1 << 53;
const SECONDS_PER_DAY: i64 = 86_400;

/// Packs `values`, of which the rows' instants are `ts_ns`; describes the column in `head`.
pub(crate) fn write(
    values: &[&[u8]],
    ts_ns: &[i64],
    frames: &mut FrameWriter,
    head: &mut Vec<u8>,
) -> std::io::Result<()> {
    assert_eq!(values.len(), ts_ns.len());
    if let Some((words, codes)) = words(values) {
        return write_words(&words, &codes, frames, head);
    }
    if let Some(numbers) = ints(values) {
        head.push(INT);
        return planes::write(&numbers, None, frames, head);
    }
    if let Some((numbers, trim, scale)) = decimals(values) {
        head.extend_from_slice(&[DECIMAL, trim as u8, scale]);
        return planes::write(&numbers, None, frames, head);
    }
    if let Some(times) = times(values) {
        return write_times(&times, ts_ns, frames, head);
    }
    if let Some((bytes, is_uuid)) = hex(values) {
        return write_hex(&bytes, values.len(), is_uuid, frames, head);
    }
    if let Some(numbers) = all(values, ipv4) {
        head.push(IPV4);
        return planes::write(&numbers, Some(0), frames, head);
    }
    if let Some((prefix, numbers)) = numbered(values) {
        head.push(NUMBERED);
        put_bytes(head, prefix);
        return planes::write(&numbers, None, frames, head);
    }
    write_texts(values, frames, head)
}

fn all(values: &[&[u8]], parse: impl Fn(&[u8]) -> Option<i64>) -> Option<Vec<i64>> {
    values.iter().map(|value| parse(value)).collect()
}

fn words<'a>(values: &[&'a [u8]]) -> Option<(Vec<&'a [u8]>, Vec<u8>)> {
    let most = WORDS_MAX.min((values.len() / 2).max(1));
    let mut short: HashMap<Short, u8, foldhash::fast::FixedState> = HashMap::default();
    let mut long: HashMap<&[u8], u8, foldhash::fast::FixedState> = HashMap::default();
    let (mut words, mut codes) = (Vec::new(), Vec::with_capacity(values.len()));
    let mut bytes = 0;
    let mut last: Option<(&[u8], Option<Short>, u8)> = None;
    for &value in values {
        let number = Short::of(value);
        if let Some((before, of_before, code)) = last
            && number == of_before
            && (number.is_some() || value == before)
        {
            codes.push(code);
            continue;
        }
        let known = match &number {
            Some(number) => short.get(number),
            None => long.get(value),
        };
        let code = match known {
            Some(&code) => code,
            None => {
                bytes += value.len();
                if words.len() == most || bytes > WORDS_BYTES_MAX {
                    return None;
                }
                let code = words.len() as u8;
                match number {
                    Some(number) => short.insert(number, code),
                    None => long.insert(value, code),
                };
                words.push(value);
                code
            }
        };
        last = Some((value, number, code));
        codes.push(code);
    }
    Some((words, codes))
}

/// A value of at most 16 bytes as numbers: most words are, and these compare without a call.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Short {
    first: u64,
    last: u64,
    length: u8,
}

impl Short {
    fn of(value: &[u8]) -> Option<Short> {
        let (first, last) = match value.len() {
            0 => (0, 0),
            length @ 1..4 => {
                // All of its bytes, the middle one or the last one more than once.
                let bytes = [value[0], value[length / 2], value[length - 1], 0];
                (u64::from(u32::from_le_bytes(bytes)), 0)
            }
            4..8 => {
                let word = |bytes: Option<&[u8; 4]>| {
                    bytes.map_or(0, |bytes| u64::from(u32::from_le_bytes(*bytes)))
                };
                (word(value.first_chunk()), word(value.last_chunk()))
            }
            8..17 => {
                let word =
                    |bytes: Option<&[u8; 8]>| bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes));
                (word(value.first_chunk()), word(value.last_chunk()))
            }
            _ => return None,
        };
        Some(Short { first, last, length: value.len() as u8 })
    }
}

fn write_words(
    words: &[&[u8]],
    codes: &[u8],
    frames: &mut FrameWriter,
    head: &mut Vec<u8>,
) -> std::io::Result<()> {
    head.push(WORDS);
    put_uint(head, words.len() as u64);
    words.iter().for_each(|word| put_bytes(head, word));
    if words.len() > 1 { frames.column(codes, head) } else { Ok(()) }
}

/// Digits without a leading zero.
fn plain_digits(text: &[u8]) -> Option<i64> {
    let is_plain = !text.is_empty() && text.len() <= 18 && (text[0] != b'0' || text.len() == 1);
    if !is_plain {
        return None;
    }
    digits(text)
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0i64, |sum, byte| {
        byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0'))
    })
}

fn int(text: &[u8]) -> Option<i64> {
    match text.strip_prefix(b"-") {
        Some(rest) => plain_digits(rest).filter(|&number| number != 0).map(|number| -number),
        None => plain_digits(text),
    }
}

fn ints(values: &[&[u8]]) -> Option<Vec<i64>> {
    all(values, int)
}

fn point(text: &[u8]) -> Option<usize> {
    memchr::memchr(b'.', text)
}

fn decimals(values: &[&[u8]]) -> Option<(Vec<i64>, Trim, u8)> {
    let places = |value: &&[u8]| point(value).map_or(0, |at| value.len() - at - 1);
    let first = values.first()?;
    if !first.last()?.is_ascii_digit() || !(first[0] == b'-' || first[0].is_ascii_digit()) {
        return None;
    }
    let (least, most) = (values.iter().map(places).min()?, values.iter().map(places).max()?);
    if most == 0 || most > 15 {
        return None;
    }
    let trim = match least {
        0 => Trim::Whole,
        _ if least == most => Trim::Fixed,
        _ => Trim::Tenth,
    };
    let scale = most as u8;
    let mut print = Vec::new();
    let mut numbers = Vec::with_capacity(values.len());
    for text in values {
        let number = decimal(text, most)?;
        print.clear();
        print_number(number, scale, trim, &mut print);
        if print != *text {
            return None;
        }
        numbers.push(number);
    }
    Some((numbers, trim, scale))
}

fn decimal(text: &[u8], scale: usize) -> Option<i64> {
    let (is_negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = match point(text) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &b""[..]),
    };
    if whole.len() + scale > 18 {
        return None;
    }
    let padding = 10i64.pow((scale - fraction.len()) as u32);
    let number = plain_digits(whole)? * 10i64.pow(scale as u32) + digits(fraction)? * padding;
    (number < EXACT_MAX).then_some(if is_negative { -number } else { number })
}

struct Times<'a> {
    /// Since the epoch, in units of ten to the minus `digits` seconds.
    units: Vec<i64>,
    digits: usize,
    separator: u8,
    suffix: &'a [u8],
}

/// `2026-01-15T00:00:00.018512Z` and its like, all with as many digits and the same suffix.
fn times<'a>(values: &[&'a [u8]]) -> Option<Times<'a>> {
    let first = values.first()?;
    let separator = *first.get(10)?;
    if first.len() < 19 || !matches!(separator, b'T' | b' ') {
        return None;
    }
    let fraction = match first.get(19) {
        Some(b'.') => first[20..].iter().take_while(|b| b.is_ascii_digit()).count(),
        _ => 0,
    };
    let digits_at = if fraction > 0 { 20 } else { 19 };
    let suffix = &first[digits_at + fraction..];
    if fraction > 9 || suffix.len() > 8 {
        return None;
    }
    let mut day: (&[u8], i64) = (b"", 0);
    let units = values.iter().map(|text| {
        let fits = text.len() == first.len()
            && text[10] == separator
            && text[digits_at + fraction..] == *suffix
            && (fraction == 0 || text[19] == b'.');
        if !fits {
            return None;
        }
        if day.0 != &text[..10] {
            day = (&text[..10], date(&text[..10])?);
        }
        let seconds = day.1 * SECONDS_PER_DAY + time_of_day(&text[11..19])?;
        let scale = 10i64.checked_pow(fraction as u32)?;
        seconds.checked_mul(scale)?.checked_add(digits(&text[digits_at..digits_at + fraction])?)
    });
    let units = units.collect::<Option<Vec<i64>>>()?;
    Some(Times { units, digits: fraction, separator, suffix })
}

fn date(text: &[u8]) -> Option<i64> {
    let (year, month, day) = (digits(&text[..4])?, digits(&text[5..7])?, digits(&text[8..10])?);
    let is_date = text[4] == b'-'
        && text[7] == b'-'
        && (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day);
    is_date.then(|| days_of(year, month, day))
}

fn time_of_day(text: &[u8]) -> Option<i64> {
    let (hour, minute, second) = (digits(&text[..2])?, digits(&text[3..5])?, digits(&text[6..])?);
    let is_time = text[2] == b':' && text[5] == b':' && hour < 24 && minute < 60 && second < 60;
    is_time.then_some(hour * 3600 + minute * 60 + second)
}

fn write_times(
    times: &Times<'_>,
    ts_ns: &[i64],
    frames: &mut FrameWriter,
    head: &mut Vec<u8>,
) -> std::io::Result<()> {
    let unit_ns = 10i64.pow(9 - times.digits as u32);
    let of_row: Vec<i64> = times
        .units
        .iter()
        .zip(ts_ns)
        .map(|(units, ts_ns)| units.wrapping_sub(ts_ns.div_euclid(unit_ns)))
        .collect();
    // A line's own time is mostly near the instant it came with.
    let is_relative = planes::width(&of_row) < planes::width(&times.units);
    let numbers = if is_relative { &of_row } else { &times.units };
    head.extend_from_slice(&[TIME, times.digits as u8, times.separator, u8::from(is_relative)]);
    put_bytes(head, times.suffix);
    planes::write(numbers, None, frames, head)
}

/// Where the dashes of a UUID stand.
pub(crate) const UUID_DASHES: [usize; 4] = [8, 13, 18, 23];
const UUID_BYTES: usize = 36;

/// Lower-case hexadecimal of one even length, or UUIDs; the bytes that they print.
fn hex(values: &[&[u8]]) -> Option<(Vec<u8>, bool)> {
    let length = values.first()?.len();
    let is_uuid = length == UUID_BYTES && values[0][8] == b'-';
    if !is_uuid && (length % 2 == 1 || !(8..=128).contains(&length)) {
        return None;
    }
    let mut bytes = Vec::with_capacity(values.len() * length / 2);
    let mut digits = Vec::with_capacity(length);
    for value in values {
        if value.len() != length {
            return None;
        }
        let mut of_value: &[u8] = value;
        if is_uuid {
            if UUID_DASHES.iter().any(|&at| value[at] != b'-') {
                return None;
            }
            digits.clear();
            let is_digit = |(at, _): &(usize, &u8)| !UUID_DASHES.contains(at);
            digits.extend(value.iter().enumerate().filter(is_digit).map(|(_, byte)| *byte));
            of_value = &digits;
        }
        // Without a branch at each digit, which nobody could foresee.
        let mut all = 0;
        bytes.extend(of_value.chunks_exact(2).map(|two| {
            let (high, low) = (HEX_DIGITS[usize::from(two[0])], HEX_DIGITS[usize::from(two[1])]);
            all |= high | low;
            high << 4 | low & 15
        }));
        if all >= NO_DIGIT {
            return None;
        }
    }
    Some((bytes, is_uuid))
}

const NO_DIGIT: u8 = 0x80;
/// The value of each lower-case hexadecimal digit.
const HEX_DIGITS: [u8; 256] = {
    let mut table = [NO_DIGIT; 256];
    let mut digit = 0;
    while digit < 16 {
        table[b"0123456789abcdef"[digit] as usize] = digit as u8;
        digit += 1;
    }
    table
};

pub(crate) fn hex_digit(byte: u8) -> Option<u8> {
    Some(HEX_DIGITS[usize::from(byte)]).filter(|digit| *digit != NO_DIGIT)
}

fn write_hex(
    bytes: &[u8],
    rows: usize,
    is_uuid: bool,
    frames: &mut FrameWriter,
    head: &mut Vec<u8>,
) -> std::io::Result<()> {
    let length = bytes.len() / rows;
    head.extend_from_slice(&[HEX, u8::from(is_uuid), length as u8]);
    frames.column(bytes, head)?;
    write_filter(bytes.chunks_exact(length).map(xxh3_64).collect(), frames, head);
    Ok(())
}

/// A filter over `keys`, behind a byte that says whether there is one.
fn write_filter(mut keys: Vec<u64>, frames: &mut FrameWriter, head: &mut Vec<u8>) {
    keys.sort_unstable();
    keys.dedup();
    let Some(filter) = Fuse::of(&keys) else { return head.push(0) };
    let mut bytes = Vec::new();
    filter.write(&mut bytes);
    head.push(1);
    frames.plain(&bytes, head);
}

fn ipv4(text: &[u8]) -> Option<i64> {
    let mut parts = text.split(|&byte| byte == b'.');
    let mut number = 0;
    for _ in 0..4 {
        let part = plain_digits(parts.next()?).filter(|&part| part < 256)?;
        number = number << 8 | part;
    }
    parts.next().is_none().then_some(number)
}

fn numbered<'a>(values: &[&'a [u8]]) -> Option<(&'a [u8], Vec<i64>)> {
    let first = values.first()?;
    let digits = first.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let prefix = &first[..first.len() - digits];
    if prefix.is_empty() || prefix.len() > 255 {
        return None;
    }
    let numbers = all(values, |text| plain_digits(text.strip_prefix(prefix)?))?;
    Some((prefix, numbers))
}

/// The key of three successive bytes in a trigram filter.
pub(crate) fn trigram(bytes: &[u8]) -> u64 {
    u64::from(bytes[0]) | u64::from(bytes[1]) << 8 | u64::from(bytes[2]) << 16
}

fn write_texts(
    values: &[&[u8]],
    frames: &mut FrameWriter,
    head: &mut Vec<u8>,
) -> std::io::Result<()> {
    head.push(TEXTS);
    let lengths: Vec<i64> = values.iter().map(|value| value.len() as i64).collect();
    planes::write(&lengths, Some(0), frames, head)?;
    let mut ends = Vec::new();
    let mut bytes = 0;
    for (at, value) in values.iter().enumerate() {
        if bytes > 0 && bytes + value.len() > TEXT_FRAME_BYTES {
            ends.push(at);
            bytes = 0;
        }
        bytes += value.len();
    }
    ends.push(values.len());
    put_uint(head, ends.len() as u64);
    let mut start = 0;
    let mut text = Vec::with_capacity(TEXT_FRAME_BYTES);
    for end in ends {
        text.clear();
        values[start..end].iter().for_each(|value| text.extend_from_slice(value));
        put_uint(head, (end - start) as u64);
        frames.text(&text, head)?;
        start = end;
    }
    match trigrams(values) {
        Some(keys) => write_filter(keys, frames, head),
        None => head.push(0),
    }
    Ok(())
}

/// The distinct trigrams, unless there are too many.
fn trigrams(values: &[&[u8]]) -> Option<Vec<u64>> {
    let bytes: usize = values.iter().map(|value| value.len()).sum();
    if bytes < TRIGRAMS_MAX {
        return Some(values.iter().flat_map(|value| value.windows(3)).map(trigram).collect());
    }
    // A bit per possible trigram: 2 MiB, and no hashing.
    let mut met = vec![0u64; 1 << 18];
    let mut keys = Vec::new();
    for value in values {
        for three in value.windows(3) {
            let key = trigram(three);
            let (word, bit) = (&mut met[(key >> 6) as usize], 1u64 << (key & 63));
            if *word & bit == 0 {
                *word |= bit;
                keys.push(key);
                if keys.len() > TRIGRAMS_MAX {
                    return None;
                }
            }
        }
    }
    Some(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_values_are_the_same_numbers_only_if_they_are_the_same() {
        let mut values: Vec<Vec<u8>> = vec![Vec::new()];
        for length in 1..=17 {
            for at in 0..length {
                for byte in [0, 1, 0xff] {
                    let mut value = vec![0; length];
                    value[at] = byte;
                    values.push(value);
                }
            }
        }
        for left in &values {
            for right in &values {
                let (one, other) = (Short::of(left), Short::of(right));
                assert_eq!(one.is_none(), left.len() > 16);
                assert!(one.is_none() || (one == other) == (left == right), "{left:?} {right:?}");
            }
        }
    }
}
