//! `Histogram` of both protocols, which number its fields alike.

use crate::proto::{ProtoError, Reader, Value, unzigzag};
use vigie_model::Histogram;
use vigie_model::histogram::{Counts, HISTOGRAM_BUCKETS_MAX, ResetHint, Span};

/// The fields as they come; which kind of counts they are is known at the end.
#[derive(Default)]
struct Fields {
    count_int: u64,
    count_float: f64,
    is_float: bool,
    zero_int: u64,
    zero_float: f64,
    positive_deltas: Vec<i64>,
    negative_deltas: Vec<i64>,
    positive_counts: Vec<f64>,
    negative_counts: Vec<f64>,
}

/// One message.
pub(super) struct Read {
    pub(super) ts_ms: i64,
    /// 2.0: when it began to count; 0 when that is not known.
    pub(super) start_ms: i64,
    /// Not validated.
    pub(super) histogram: Histogram,
}

/// Reads one message.
pub(super) fn read(mut reader: Reader<'_>) -> Result<Read, ProtoError> {
    let mut fields = Fields::default();
    let (mut ts_ms, mut start_ms) = (0, 0);
    let mut out = Histogram {
        reset_hint: ResetHint::Unknown,
        schema: 0,
        zero_threshold: 0.0,
        sum: 0.0,
        counts: Counts::Integer { count: 0, zero_count: 0, positive: vec![], negative: vec![] },
        positive_spans: Vec::new(),
        negative_spans: Vec::new(),
        custom_values: Vec::new(),
    };
    while let Some((number, value)) = reader.field()? {
        match (number, value) {
            (1, Value::Number(count)) => fields.count_int = count,
            (2, Value::Eight(bytes)) => {
                (fields.count_float, fields.is_float) = (f64::from_le_bytes(bytes), true);
            }
            (3, Value::Eight(bytes)) => out.sum = f64::from_le_bytes(bytes),
            (4, Value::Number(schema)) => out.schema = narrow(unzigzag(schema), &reader)?,
            (5, Value::Eight(bytes)) => out.zero_threshold = f64::from_le_bytes(bytes),
            (6, Value::Number(count)) => fields.zero_int = count,
            (7, Value::Eight(bytes)) => fields.zero_float = f64::from_le_bytes(bytes),
            (8, Value::Bytes(message)) => span(message, &mut out.negative_spans)?,
            (9, value) => deltas(value, &reader, &mut fields.negative_deltas)?,
            (10, value) => doubles(value, &reader, &mut fields.negative_counts)?,
            (11, Value::Bytes(message)) => span(message, &mut out.positive_spans)?,
            (12, value) => deltas(value, &reader, &mut fields.positive_deltas)?,
            (13, value) => doubles(value, &reader, &mut fields.positive_counts)?,
            (14, Value::Number(hint)) => out.reset_hint = reset_hint(hint),
            (15, Value::Number(number)) => ts_ms = number as i64,
            (16, value) => doubles(value, &reader, &mut out.custom_values)?,
            (17, Value::Number(number)) => start_ms = number as i64,
            _ => {}
        }
    }
    out.counts = if fields.is_float {
        Counts::Float {
            count: fields.count_float,
            zero_count: fields.zero_float,
            positive: fields.positive_counts,
            negative: fields.negative_counts,
        }
    } else {
        Counts::Integer {
            count: fields.count_int,
            zero_count: fields.zero_int,
            positive: fields.positive_deltas,
            negative: fields.negative_deltas,
        }
    };
    Ok(Read { ts_ms, start_ms, histogram: out })
}

pub(super) fn reset_hint(number: u64) -> ResetHint {
    match number {
        1 => ResetHint::Reset,
        2 => ResetHint::NotReset,
        3 => ResetHint::Gauge,
        _ => ResetHint::Unknown,
    }
}

pub(crate) fn narrow(value: i64, at: &Reader<'_>) -> Result<i32, ProtoError> {
    i32::try_from(value).map_err(|_| at.error("integer overflow"))
}

pub(crate) fn span(mut message: Reader<'_>, spans: &mut Vec<Span>) -> Result<(), ProtoError> {
    room(spans.len(), &message)?;
    let mut span = Span { offset: 0, length: 0 };
    while let Some((number, value)) = message.field()? {
        match (number, value) {
            (1, Value::Number(offset)) => span.offset = narrow(unzigzag(offset), &message)?,
            (2, Value::Number(length)) => {
                span.length =
                    u32::try_from(length).map_err(|_| message.error("integer overflow"))?;
            }
            _ => {}
        }
    }
    spans.push(span);
    Ok(())
}

/// Packed, or one by one, as protobuf allows both.
pub(crate) fn deltas(
    value: Value<'_>,
    at: &Reader<'_>,
    out: &mut Vec<i64>,
) -> Result<(), ProtoError> {
    match value {
        Value::Number(number) => {
            room(out.len(), at)?;
            out.push(unzigzag(number));
        }
        Value::Bytes(mut packed) => {
            while !packed.is_at_end() {
                room(out.len(), &packed)?;
                out.push(unzigzag(packed.varint()?));
            }
        }
        _ => {}
    }
    Ok(())
}

pub(crate) fn doubles(
    value: Value<'_>,
    at: &Reader<'_>,
    out: &mut Vec<f64>,
) -> Result<(), ProtoError> {
    match value {
        Value::Eight(bytes) => {
            room(out.len(), at)?;
            out.push(f64::from_le_bytes(bytes));
        }
        Value::Bytes(mut packed) => {
            while !packed.is_at_end() {
                room(out.len(), &packed)?;
                out.push(f64::from_le_bytes(packed.eight()?));
            }
        }
        _ => {}
    }
    Ok(())
}

pub(crate) fn room(have: usize, at: &Reader<'_>) -> Result<(), ProtoError> {
    if have < HISTOGRAM_BUCKETS_MAX {
        Ok(())
    } else {
        Err(at.error("a histogram has too many buckets"))
    }
}
