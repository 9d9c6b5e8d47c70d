//! The protobuf form: `logproto.PushRequest`, read and written by hand.
//!
//! ```text
//! PushRequest { 1: repeated Stream }
//! Stream      { 1: labels (text), 2: repeated Entry, 3: hash (ignored) }
//! Entry       { 1: Timestamp { 1: seconds, 2: nanos }, 2: line, 3: repeated LabelPair }
//! LabelPair   { 1: name, 2: value }
//! ```
//! Unknown fields are skipped. Nothing is allocated on the word of a length that the body
//! does not hold.

use super::labels::parse_labels;
use super::{Budget, PushError, PushRequest, PushStream, check_pairs, metadata_name};
use crate::compression::pack_snappy;
use crate::proto::{ProtoError, Reader, Value, put_bytes, put_number};
use vigie_model::{Labels, LogEntry};

const NANOS_PER_SECOND: i64 = 1_000_000_000;

impl From<ProtoError> for PushError {
    fn from(error: ProtoError) -> PushError {
        PushError::Proto { what: error.what, offset: error.offset }
    }
}

/// Decodes a whole body that is not compressed any more.
pub(super) fn decode(body: &[u8]) -> Result<PushRequest, PushError> {
    let mut reader = Reader::new(body);
    let mut request = PushRequest::default();
    let budget = Budget::new();
    while let Some((number, value)) = reader.field()? {
        if let (1, Value::Bytes(stream)) = (number, value) {
            request.streams.push(decode_stream(stream, &budget)?);
        }
    }
    Ok(request)
}

fn decode_stream(mut reader: Reader<'_>, budget: &Budget) -> Result<PushStream, PushError> {
    budget.take(1)?;
    let mut stream = PushStream::default();
    let mut labels = "{}";
    while let Some((number, value)) = reader.field()? {
        match (number, value) {
            (1, Value::Bytes(text)) => labels = text.text()?,
            (2, Value::Bytes(entry)) => stream.entries.push(decode_entry(entry, budget)?),
            _ => {}
        }
    }
    stream.labels = parse_labels(labels)?;
    budget.take(stream.labels.len())?;
    Ok(stream)
}

fn decode_entry(mut reader: Reader<'_>, budget: &Budget) -> Result<LogEntry, PushError> {
    let (mut ts_ns, mut line, mut metadata) = (0, Vec::new(), Vec::new());
    budget.take(1)?;
    while let Some((number, value)) = reader.field()? {
        match (number, value) {
            (1, Value::Bytes(ts)) => ts_ns = decode_timestamp(ts)?,
            (2, Value::Bytes(bytes)) => line = bytes.bytes.to_vec(),
            (3, Value::Bytes(pair)) => {
                let (name, value) = decode_pair(pair)?;
                check_pairs(metadata.len())?;
                budget.take(1)?;
                metadata.push((metadata_name(name), value));
            }
            _ => {}
        }
    }
    Ok(LogEntry { ts_ns, line, metadata: Labels::from_pairs_with_empty(metadata) })
}

fn decode_timestamp(mut reader: Reader<'_>) -> Result<i64, PushError> {
    let (mut seconds, mut nanos) = (0, 0);
    while let Some((number, value)) = reader.field()? {
        match (number, value) {
            (1, Value::Number(value)) => seconds = value as i64,
            (2, Value::Number(value)) => nanos = value as i64,
            _ => {}
        }
    }
    if !(0..NANOS_PER_SECOND).contains(&nanos) {
        return Err(reader.error("nanos not in range [0, 1e9)").into());
    }
    seconds
        .checked_mul(NANOS_PER_SECOND)
        .and_then(|ns| ns.checked_add(nanos))
        .ok_or_else(|| reader.error("timestamp is out of range").into())
}

fn decode_pair<'a>(mut reader: Reader<'a>) -> Result<(&'a str, &'a str), PushError> {
    let (mut name, mut text) = ("", "");
    while let Some((number, value)) = reader.field()? {
        match (number, value) {
            (1, Value::Bytes(bytes)) => name = bytes.text()?,
            (2, Value::Bytes(bytes)) => text = bytes.text()?,
            _ => {}
        }
    }
    Ok((name, text))
}

/// Encodes a `logproto.PushRequest`, not compressed.
pub fn encode_proto(request: &PushRequest) -> Vec<u8> {
    let mut out = Vec::new();
    for stream in &request.streams {
        let mut message = Vec::new();
        put_bytes(&mut message, 1, stream.labels.to_string().as_bytes());
        for entry in &stream.entries {
            put_bytes(&mut message, 2, &encode_entry(entry));
        }
        put_bytes(&mut out, 1, &message);
    }
    out
}

/// Encodes a body as Loki's clients send it: [`encode_proto`] and snappy over it.
pub fn encode_snappy(request: &PushRequest) -> Result<Vec<u8>, PushError> {
    Ok(pack_snappy(&encode_proto(request))?)
}

fn encode_entry(entry: &LogEntry) -> Vec<u8> {
    let mut timestamp = Vec::new();
    put_number(&mut timestamp, 1, entry.ts_ns.div_euclid(NANOS_PER_SECOND) as u64);
    put_number(&mut timestamp, 2, entry.ts_ns.rem_euclid(NANOS_PER_SECOND) as u64);
    let mut out = Vec::with_capacity(entry.line.len() + 32);
    put_bytes(&mut out, 1, &timestamp);
    put_bytes(&mut out, 2, &entry.line);
    for label in &entry.metadata {
        let mut pair = Vec::new();
        put_bytes(&mut pair, 1, label.name.as_bytes());
        put_bytes(&mut pair, 2, label.value.as_bytes());
        put_bytes(&mut out, 3, &pair);
    }
    out
}
