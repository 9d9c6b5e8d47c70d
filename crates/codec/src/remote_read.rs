//! Remote read: what another server asks of a store, and the two forms of the answer
//! (`prompb/remote.proto`; framing as `storage/remote/chunked.go`). Compression is the caller's.

use crate::proto::{ProtoError, Reader, Value, put_bytes, put_double, put_number, put_varint};
use crate::remote_write::put_histogram;
use crate::xor_chunk;
use vigie_model::{Histogram, Labels, MatchOp, Matcher};

/// Most questions of one request.
pub const QUERIES_MAX: usize = 100;
/// Most conditions of one question.
pub const MATCHERS_MAX: usize = 100;

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseType {
    /// Samples, all at once, snappy around them.
    Samples,
    /// XOR chunks, frame by frame.
    StreamedXorChunks,
}

/// One question.
#[derive(Clone, Debug)]
pub struct Query {
    /// The first instant, in milliseconds.
    pub start_ms: i64,
    /// The last instant.
    pub end_ms: i64,
    /// All of them must be fulfilled.
    pub matchers: Vec<Matcher>,
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Request {
    /// The questions.
    pub queries: Vec<Query>,
    /// The forms that the client takes, best first; empty for a client that knows only samples.
    pub accepted: Vec<ResponseType>,
}

/// Why a request is refused.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadRequestError {
    /// Broken protobuf.
    #[error("proto: {0}")]
    Proto(#[from] ProtoError),
    /// A condition that is none.
    #[error("{0}")]
    Matcher(String),
    /// More than anybody asks at once.
    #[error("too many {what} in one remote read request, limit: {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many are taken.
        limit: usize,
    },
}

/// Reads a request that is not compressed any more.
pub fn decode(body: &[u8]) -> Result<Request, ReadRequestError> {
    let mut request = Request { queries: Vec::new(), accepted: Vec::new() };
    let mut reader = Reader::new(body);
    while let Some((number, value)) = reader.field()? {
        match (number, value) {
            (1, Value::Bytes(message)) => {
                room(request.queries.len(), "queries", QUERIES_MAX)?;
                request.queries.push(query(message)?);
            }
            (2, Value::Number(kind)) => request.accepted.extend(response_type(kind)),
            (2, Value::Bytes(mut packed)) => {
                while !packed.is_at_end() {
                    request.accepted.extend(response_type(packed.varint()?));
                }
            }
            _ => {}
        }
        request.accepted.truncate(8);
    }
    Ok(request)
}

fn response_type(number: u64) -> Option<ResponseType> {
    match number {
        0 => Some(ResponseType::Samples),
        1 => Some(ResponseType::StreamedXorChunks),
        _ => None,
    }
}

fn query(mut reader: Reader<'_>) -> Result<Query, ReadRequestError> {
    let mut query = Query { start_ms: 0, end_ms: 0, matchers: Vec::new() };
    while let Some((number, value)) = reader.field()? {
        match (number, value) {
            (1, Value::Number(ms)) => query.start_ms = ms as i64,
            (2, Value::Number(ms)) => query.end_ms = ms as i64,
            (3, Value::Bytes(message)) => {
                room(query.matchers.len(), "matchers", MATCHERS_MAX)?;
                query.matchers.push(matcher(message)?);
            }
            // Hints are hints: what they allow to leave out is not left out.
            _ => {}
        }
    }
    Ok(query)
}

fn matcher(mut reader: Reader<'_>) -> Result<Matcher, ReadRequestError> {
    let (mut kind, mut name, mut text) = (0, "", "");
    while let Some((number, value)) = reader.field()? {
        match (number, value) {
            (1, Value::Number(number)) => kind = number,
            (2, Value::Bytes(bytes)) => name = bytes.text()?,
            (3, Value::Bytes(bytes)) => text = bytes.text()?,
            _ => {}
        }
    }
    let op = match kind {
        0 => MatchOp::Equal,
        1 => MatchOp::NotEqual,
        2 => MatchOp::Regex,
        3 => MatchOp::NotRegex,
        _ => return Err(ReadRequestError::Matcher("invalid matcher type".to_owned())),
    };
    Matcher::new(name, op, text).map_err(|error| ReadRequestError::Matcher(error.to_string()))
}

fn room(have: usize, what: &'static str, limit: usize) -> Result<(), ReadRequestError> {
    if have < limit { Ok(()) } else { Err(ReadRequestError::TooMany { what, limit }) }
}

/// A series of an answer.
#[derive(Clone, Debug, Default)]
pub struct ReadSeries {
    /// Its labels.
    pub labels: Labels,
    /// Floats, ascending by time.
    pub samples: Vec<(i64, f64)>,
    /// Native histograms, ascending by time.
    pub histograms: Vec<(i64, Histogram)>,
}

/// A `ReadResponse`, not compressed: for each question its series, in order of their labels.
pub fn encode_samples(results: &[Vec<ReadSeries>]) -> Vec<u8> {
    let mut out = Vec::new();
    for series in results {
        let mut result = Vec::new();
        for one in series {
            let mut message = Vec::new();
            put_labels(&mut message, &one.labels);
            for (ts_ms, value) in &one.samples {
                let mut sample = Vec::with_capacity(20);
                put_double(&mut sample, 1, *value);
                put_number(&mut sample, 2, *ts_ms as u64);
                put_bytes(&mut message, 2, &sample);
            }
            for (ts_ms, histogram) in &one.histograms {
                put_histogram(&mut message, 4, *ts_ms, histogram);
            }
            put_bytes(&mut result, 1, &message);
        }
        put_bytes(&mut out, 1, &result);
    }
    out
}

/// A frame of a streamed answer: a part of one series, whose labels are repeated in each.
pub fn encode_frame(query_index: usize, labels: &Labels, chunks: &[Vec<(i64, f64)>]) -> Vec<u8> {
    let mut series = Vec::new();
    put_labels(&mut series, labels);
    for samples in chunks {
        let mut chunk = Vec::new();
        put_number(&mut chunk, 1, samples[0].0 as u64);
        put_number(&mut chunk, 2, samples[samples.len() - 1].0 as u64);
        put_number(&mut chunk, 3, 1);
        put_bytes(&mut chunk, 4, &xor_chunk::encode(samples));
        put_bytes(&mut series, 2, &chunk);
    }
    let mut message = Vec::new();
    put_bytes(&mut message, 1, &series);
    put_number(&mut message, 2, query_index as u64);
    let mut frame = Vec::with_capacity(message.len() + 12);
    put_varint(&mut frame, message.len() as u64);
    frame.extend_from_slice(&crc32c::crc32c(&message).to_be_bytes());
    frame.extend_from_slice(&message);
    frame
}

fn put_labels(out: &mut Vec<u8>, labels: &Labels) {
    for label in labels {
        let mut message = Vec::with_capacity(label.name.len() + label.value.len() + 8);
        put_bytes(&mut message, 1, label.name.as_bytes());
        put_bytes(&mut message, 2, label.value.as_bytes());
        put_bytes(out, 1, &message);
    }
}

#[cfg(test)]
mod tests;
