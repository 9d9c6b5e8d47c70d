//! The column of one slot as a reader meets it: a description in the block's head, values read on
//! demand, and questions answered from the description where that is enough.
//!
//! ```text
//! 0 words:    varint count, per word bytes; if more than one: frame of a byte per row
//! 1 int:      planes
//! 2 decimal:  u8 trim, u8 scale, planes (value times ten to the scale)
//! 3 time:     u8 digits of the fraction, u8 separator, u8 relative to the row's instant, bytes suffix, planes
//! 4 hex:      u8 uuid, u8 bytes of a value, frame, filter of xxh3 of the values' bytes
//! 5 IPv4:     planes of the address as a number
//! 6 numbered: bytes prefix, planes
//! 7 texts:    planes of the lengths, varint frames, per frame: varint values, frame; filter of trigrams
//! filter:     u8 0 for none; or u8 1, frame
//! ```

use super::column_write as tag;
use super::column_write::{UUID_DASHES, trigram};
use super::frames::Frame;
use super::fuse::Fuse;
use super::planes::Planes;
use vigie_disk::wire::{Bad, Bytes};
use vigie_model::civil::date_of;
use xxhash_rust::xxh3::xxh3_64;

/// How a decimal ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trim {
    /// With as many digits as the scale says.
    Fixed = 0,
    /// Without trailing zeros, but for the first digit: `1.0`.
    Tenth = 1,
    /// Without trailing zeros, and without the point if only they follow: `1`.
    Whole = 2,
}

/// What a column's numbers print as.
#[derive(Debug)]
pub(crate) enum Form {
    Int,
    Decimal { scale: u8, trim: Trim },
    Time { digits: u8, separator: u8, is_relative: bool, suffix: Vec<u8> },
    Ipv4,
    Numbered { prefix: Vec<u8> },
}

/// A column's description.
#[derive(Debug)]
pub(crate) enum Column {
    Words { words: Vec<Vec<u8>>, codes: Option<Frame> },
    Numbers { form: Form, planes: Planes },
    Hex { is_uuid: bool, length: usize, bytes: Frame, filter: Option<Frame> },
    Texts { lengths: Planes, frames: Vec<(usize, Frame)>, filter: Option<Frame> },
}

/// A text that a value has to begin with, end with, be or contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Starts,
    Ends,
    Is,
    Anywhere,
}

impl Column {
    pub(crate) fn read(input: &mut Bytes<'_>, rows: usize, at: &mut u64) -> Result<Column, Bad> {
        let numbers = |form, input: &mut Bytes<'_>, at: &mut u64| {
            Ok(Column::Numbers { form, planes: Planes::read(input, rows, at)? })
        };
        match input.byte()? {
            tag::WORDS => read_words(input, rows, at),
            tag::INT => numbers(Form::Int, input, at),
            tag::DECIMAL => {
                let trim = match input.byte()? {
                    0 => Trim::Fixed,
                    1 => Trim::Tenth,
                    2 => Trim::Whole,
                    _ => return Err("has decimals of an unknown kind"),
                };
                let scale = input.byte()?;
                if !(1..=15).contains(&scale) {
                    return Err("has decimals of too many digits");
                }
                numbers(Form::Decimal { scale, trim }, input, at)
            }
            tag::TIME => {
                let (digits, separator, relative) = (input.byte()?, input.byte()?, input.byte()?);
                let suffix = input.bytes()?.to_vec();
                if digits > 9 || relative > 1 {
                    return Err("has times of an unknown kind");
                }
                let is_relative = relative == 1;
                numbers(Form::Time { digits, separator, is_relative, suffix }, input, at)
            }
            tag::HEX => read_hex(input, rows, at),
            tag::IPV4 => numbers(Form::Ipv4, input, at),
            tag::NUMBERED => {
                let prefix = input.bytes()?.to_vec();
                numbers(Form::Numbered { prefix }, input, at)
            }
            tag::TEXTS => read_texts(input, rows, at),
            _ => Err("has a column of an unknown type"),
        }
    }

    /// Whether a value may hold `part` at `place`, as far as the description tells.
    pub(crate) fn may_hold(&self, place: Place, part: &[u8], case: Case) -> bool {
        let is_made_of = |extra: &[u8]| {
            let is_known = |byte: &u8| extra.iter().any(|extra| case.alike(*byte, *extra));
            part.iter().all(|byte| byte.is_ascii_digit() || is_known(byte))
        };
        match self {
            Column::Words { words, .. } => words.iter().any(|word| case.holds(word, place, part)),
            Column::Numbers { form: Form::Int, .. } => part.len() <= 20 && is_made_of(b"-"),
            Column::Numbers { form: Form::Decimal { .. }, .. } => is_made_of(b"-."),
            Column::Numbers { form: Form::Ipv4, .. } => part.len() <= 15 && is_made_of(b"."),
            Column::Numbers { form: Form::Numbered { prefix }, .. } => is_made_of(prefix),
            Column::Numbers { form: Form::Time { separator, suffix, .. }, .. } => {
                let is_known = |byte: u8| {
                    suffix.iter().chain([separator]).any(|known| case.alike(byte, *known))
                };
                part.iter()
                    .all(|byte| byte.is_ascii_digit() || b"-:.".contains(byte) || is_known(*byte))
            }
            Column::Hex { is_uuid, length, .. } => {
                let printed = 2 * length + if *is_uuid { 4 } else { 0 };
                let fits =
                    if place == Place::Is { part.len() == printed } else { part.len() <= printed };
                fits && is_made_of(if *is_uuid { b"abcdef-" } else { b"abcdef" })
            }
            Column::Texts { .. } => true,
        }
    }

    /// The filter that may say more, and the keys of which one in each group must be in it.
    pub(crate) fn filter_for(&self, part: &[u8], case: Case) -> Option<(&Frame, Vec<Vec<u64>>)> {
        match self {
            Column::Texts { filter: Some(filter), .. } if part.len() >= 3 => {
                Some((filter, part.windows(3).map(|three| case.trigrams(three)).collect()))
            }
            Column::Hex { is_uuid, length, filter: Some(filter), .. } => {
                let part = if case == Case::Ignored { &part.to_ascii_lowercase() } else { part };
                let bytes = parse_hex(part, *is_uuid)?;
                (bytes.len() == *length).then(|| (filter, vec![vec![xxh3_64(&bytes)]]))
            }
            _ => None,
        }
    }
}

/// Whether the two cases of an ASCII letter are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    Counts,
    Ignored,
}

impl Case {
    fn alike(self, left: u8, right: u8) -> bool {
        left == right || self == Case::Ignored && left.eq_ignore_ascii_case(&right)
    }

    fn same(self, left: &[u8], right: &[u8]) -> bool {
        left == right || self == Case::Ignored && left.eq_ignore_ascii_case(right)
    }

    /// Whether `value` holds `part` at `place`.
    pub(crate) fn holds(self, value: &[u8], place: Place, part: &[u8]) -> bool {
        match place {
            Place::Starts => value.get(..part.len()).is_some_and(|start| self.same(start, part)),
            Place::Ends => {
                let start = value.len().checked_sub(part.len());
                start.is_some_and(|start| self.same(&value[start..], part))
            }
            Place::Is => self.same(value, part),
            Place::Anywhere if self == Case::Counts => memchr::memmem::find(value, part).is_some(),
            Place::Anywhere => value.windows(part.len()).any(|inside| self.same(inside, part)),
        }
    }

    /// The keys of three bytes, of which one must be there.
    fn trigrams(self, three: &[u8]) -> Vec<u64> {
        let mut keys = vec![trigram(three)];
        if self == Case::Counts {
            return keys;
        }
        for (at, byte) in three.iter().enumerate().filter(|(_, byte)| byte.is_ascii_alphabetic()) {
            let flip = u64::from(byte.to_ascii_lowercase() ^ byte.to_ascii_uppercase());
            keys.extend_from_within(..);
            let half = keys.len() / 2;
            keys[half..].iter_mut().for_each(|key| *key ^= flip << (8 * at));
        }
        keys
    }
}

/// Whether the filter knows a key of each group.
pub(crate) fn filter_admits(filter: &[u8], groups: &[Vec<u64>]) -> Result<bool, Bad> {
    let filter = Fuse::read(filter)?;
    Ok(groups.iter().all(|keys| keys.iter().any(|&key| filter.may_hold(key))))
}

fn parse_hex(text: &[u8], is_uuid: bool) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .iter()
        .enumerate()
        .filter(|(at, _)| !(is_uuid && UUID_DASHES.contains(at)))
        .map(|(_, byte)| tag::hex_digit(*byte))
        .collect::<Option<_>>()?;
    digits
        .len()
        .is_multiple_of(2)
        .then(|| digits.chunks_exact(2).map(|two| two[0] << 4 | two[1]).collect())
}

fn read_words(input: &mut Bytes<'_>, rows: usize, at: &mut u64) -> Result<Column, Bad> {
    let count = input.count(tag::WORDS_MAX)?;
    if count == 0 {
        return Err("has a dictionary without words");
    }
    let words = (0..count).map(|_| Ok(input.bytes()?.to_vec())).collect::<Result<_, Bad>>()?;
    let codes = if count > 1 { Some(Frame::read(input, at)?) } else { None };
    if codes.is_some_and(|codes| codes.raw_bytes != rows) {
        return Err("has codes of another length");
    }
    Ok(Column::Words { words, codes })
}

fn read_hex(input: &mut Bytes<'_>, rows: usize, at: &mut u64) -> Result<Column, Bad> {
    let (uuid, length) = (input.byte()?, input.byte()? as usize);
    let bytes = Frame::read(input, at)?;
    if uuid > 1 || length == 0 || (uuid == 1 && length != 16) || bytes.raw_bytes != rows * length {
        return Err("has ids of another length");
    }
    Ok(Column::Hex { is_uuid: uuid == 1, length, bytes, filter: read_filter(input, at)? })
}

fn read_filter(input: &mut Bytes<'_>, at: &mut u64) -> Result<Option<Frame>, Bad> {
    match input.byte()? {
        0 => Ok(None),
        1 => Frame::read(input, at).map(Some),
        _ => Err("has a filter of an unknown kind"),
    }
}

fn read_texts(input: &mut Bytes<'_>, rows: usize, at: &mut u64) -> Result<Column, Bad> {
    let lengths = Planes::read(input, rows, at)?;
    let count = input.count_here()?;
    let mut frames = Vec::with_capacity(count);
    let mut left = rows;
    for _ in 0..count {
        let values = input.count(left)?;
        left -= values;
        frames.push((values, Frame::read(input, at)?));
    }
    if left > 0 {
        return Err("has texts that stand nowhere");
    }
    Ok(Column::Texts { lengths, frames, filter: read_filter(input, at)? })
}

/// Prints a decimal.
pub(crate) fn print_number(number: i64, scale: u8, trim: Trim, out: &mut Vec<u8>) {
    if number < 0 {
        out.push(b'-');
    }
    let unit = 10u64.pow(u32::from(scale));
    print_uint(number.unsigned_abs() / unit, 1, out);
    let fraction = number.unsigned_abs() % unit;
    if trim == Trim::Whole && fraction == 0 {
        return;
    }
    out.push(b'.');
    let start = out.len();
    print_uint(fraction, usize::from(scale), out);
    if trim != Trim::Fixed {
        while out.len() > start + 1 && out.last() == Some(&b'0') {
            out.pop();
        }
    }
}

/// Prints with at least `width` digits.
fn print_uint(mut number: u64, width: usize, out: &mut Vec<u8>) {
    let mut text = [b'0'; 20];
    let mut at = text.len();
    while number > 0 {
        at -= 1;
        text[at] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&text[at.min(text.len() - width.min(20))..]);
}

impl Form {
    /// Prints a value; `ts_ns` is the row's instant.
    pub(crate) fn print(&self, value: i64, ts_ns: i64, out: &mut Vec<u8>) {
        match self {
            Form::Int => {
                if value < 0 {
                    out.push(b'-');
                }
                print_uint(value.unsigned_abs(), 1, out);
            }
            Form::Decimal { scale, trim } => print_number(value, *scale, *trim, out),
            Form::Ipv4 => {
                for shift in [24, 16, 8, 0] {
                    print_uint((value >> shift) as u64 & 0xff, 1, out);
                    out.push(b'.');
                }
                out.pop();
            }
            Form::Numbered { prefix } => {
                out.extend_from_slice(prefix);
                print_uint(value as u64, 1, out);
            }
            Form::Time { digits, separator, is_relative, suffix } => {
                let unit_ns = 10i64.pow(9 - u32::from(*digits));
                let base = if *is_relative { ts_ns.div_euclid(unit_ns) } else { 0 };
                print_time(value.wrapping_add(base), *digits, *separator, out);
                out.extend_from_slice(suffix);
            }
        }
    }
}

fn print_time(units: i64, digits: u8, separator: u8, out: &mut Vec<u8>) {
    let per_second = 10i64.pow(u32::from(digits));
    let seconds = units.div_euclid(per_second);
    let (year, month, day) = date_of(seconds.div_euclid(86_400));
    let of_day = seconds.rem_euclid(86_400);
    let mut two = |number: i64, width: usize, behind: u8| {
        print_uint(number as u64, width, out);
        out.push(behind);
    };
    two(year, 4, b'-');
    two(month, 2, b'-');
    two(day, 2, separator);
    two(of_day / 3600, 2, b':');
    two(of_day / 60 % 60, 2, b':');
    print_uint(of_day as u64 % 60, 2, out);
    if digits > 0 {
        out.push(b'.');
        print_uint(units.rem_euclid(per_second) as u64, usize::from(digits), out);
    }
}

/// The values of a column, in memory.
#[derive(Debug)]
pub(crate) enum Values {
    /// A code per row into the description's words; empty when there is one word.
    Codes(Vec<u8>),
    /// What the form prints.
    Numbers(Vec<i64>),
    /// As many bytes per row as the description says.
    Bytes(Vec<u8>),
    /// Where each value starts and ends in its frame.
    Texts(Vec<(u32, u32)>),
}

impl Column {
    /// Reads the values, but for the frames of texts.
    pub(crate) fn values<E: From<Bad>>(
        &self,
        rows: usize,
        load: &mut dyn FnMut(&Frame) -> Result<Vec<u8>, E>,
    ) -> Result<Values, E> {
        Ok(match self {
            Column::Words { codes: None, .. } => Values::Codes(Vec::new()),
            Column::Words { words, codes: Some(frame) } => {
                let codes = load(frame)?;
                let greatest = codes.iter().fold(0, |greatest, &code| code.max(greatest));
                if usize::from(greatest) >= words.len() {
                    return Err("has a code without a word".into());
                }
                Values::Codes(codes)
            }
            Column::Numbers { planes, .. } => Values::Numbers(planes.values(rows, load)?),
            Column::Hex { bytes, .. } => Values::Bytes(load(bytes)?),
            Column::Texts { lengths, frames, .. } => {
                let lengths = lengths.values(rows, load)?;
                let mut places = Vec::with_capacity(rows);
                let mut next = lengths.iter();
                for (values, frame) in frames {
                    let mut at = 0usize;
                    for &length in next.by_ref().take(*values) {
                        let end = usize::try_from(length).ok().and_then(|l| at.checked_add(l));
                        let end = end.filter(|&end| end <= frame.raw_bytes);
                        let end = end.ok_or("has texts that are longer than their frame")?;
                        places.push((at as u32, end as u32));
                        at = end;
                    }
                    if at != frame.raw_bytes {
                        return Err("has texts that do not fill their frame".into());
                    }
                }
                Values::Texts(places)
            }
        })
    }
}

/// Prints a hexadecimal id.
pub(crate) fn print_hex(bytes: &[u8], is_uuid: bool, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let start = out.len();
    for byte in bytes {
        if is_uuid && UUID_DASHES.contains(&(out.len() - start)) {
            out.push(b'-');
        }
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
}
