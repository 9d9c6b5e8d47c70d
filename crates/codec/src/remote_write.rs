//! Remote write, both protocols: `prometheus.WriteRequest` (1.0) and
//! `io.prometheus.write.v2.Request` (2.0), read where they lie.
//!
//! ```text
//! WriteRequest { 1: repeated TimeSeries, 3: repeated MetricMetadata }
//! TimeSeries   { 1: repeated Label { 1: name, 2: value },
//!                2: repeated Sample { 1: double value, 2: int64 milliseconds },
//!                3: repeated Exemplar { 1: repeated Label, 2: double value, 3: int64 ms },
//!                4: repeated Histogram }
//! MetricMetadata { 1: type, 2: family, 4: help, 5: unit }
//!
//! Request      { 4: repeated symbol, 5: repeated TimeSeries }
//! TimeSeries   { 1: repeated uint32 label reference, 2: repeated Sample (3: int64 start),
//!                3: repeated Histogram (17: int64 start),
//!                4: repeated Exemplar { 1: repeated reference, 2: value, 3: ms },
//!                5: Metadata { 1: type, 3: help reference, 4: unit reference } }
//! ```
//!
//! A sender repeats its series from request to request, so [`decode`] does not build labels: each
//! series gets a *key*, a hash of the bytes of its labels as they came, and a store that knows the key
//! knows the series. Only for a key it has not met does it ask [`Request::labels`].
//! A hash of references would mean something else in the next request, so 2.0's symbols are hashed
//! once per request and a key is the hash of those hashes.
//! The seed makes keys unpredictable: nobody can send two series with one key on purpose.
//!
//! Sources: `prompb/types.proto` and `prompb/io/prometheus/write/v2/types.proto` of Prometheus, the
//! remote write specifications 1.0 and 2.0.

pub(crate) mod histogram;
mod labels;
mod write;

pub use labels::LabelsError;
pub(crate) use write::put_histogram;
pub use write::{Pairs, WireSeries, encode_v1, encode_v2};

use crate::proto::{ProtoError, Reader, Value};
use vigie_model::{PushedHistogram, PushedSample, PushedStart};
use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

/// Most series, samples, histograms and exemplars of one request, each counted alone: a body of the
/// largest decoded size that consists of empty series must not become gigabytes.
pub const ITEMS_MAX: usize = 4 << 20;
/// A body of more is refused, so that a place in it fits 32 bits.
const BODY_BYTES_MAX: usize = u32::MAX as usize;
/// For so many bytes of a body room for one series is made ahead.
const SERIES_BYTES_USUAL: usize = 160;
/// Most symbols of one request of 2.0.
pub const SYMBOLS_MAX: usize = 1 << 20;

/// Which message a body holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `prometheus.WriteRequest`.
    V1,
    /// `io.prometheus.write.v2.Request`.
    V2,
}

/// Why a body is not a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The protobuf is broken.
    #[error("proto: {0}")]
    Proto(#[from] ProtoError),
    /// It would become too large in memory.
    #[error("too many {what} in one request, limit: {limit}: send less at once")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many are taken.
        limit: usize,
    },
    /// 2.0: the first symbol is not empty.
    #[error("the first symbol of a remote write 2.0 request must be the empty string")]
    FirstSymbol,
}

/// A decoded request, which borrows the body for what is rarely looked at.
#[derive(Default)]
pub struct Request<'a> {
    /// A key for each series, in the order of the body.
    pub keys: Vec<u64>,
    /// All samples, in the order of the body.
    pub samples: Vec<PushedSample>,
    /// All native histograms, in the order of the body, not validated.
    pub histograms: Vec<PushedHistogram>,
    /// All exemplars.
    pub exemplars: Vec<WireExemplar<'a>>,
    /// 2.0: the start timestamps of those samples and histograms that have one.
    pub starts: Vec<PushedStart>,
    /// What the sender says about metrics.
    pub metadata: Vec<WireMetadata<'a>>,
    body: &'a [u8],
    /// Where the `TimeSeries` messages start and end in the body, for their labels.
    series: Vec<(u32, u32)>,
    /// 2.0 only.
    symbols: Vec<&'a str>,
    is_v2: bool,
}

/// An exemplar on its way in; [`Request::exemplar_labels`] has its labels.
#[derive(Clone, Copy, Debug)]
pub struct WireExemplar<'a> {
    /// Which series of the request.
    pub series: u32,
    /// When; 0 when the sender does not say.
    pub ts_ms: i64,
    /// Its value.
    pub value: f64,
    message: Reader<'a>,
}

/// What a sender says about a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireMetadata<'a> {
    /// The metric family; empty for 2.0, where it is the name of series `series`.
    pub family: &'a str,
    /// 2.0: which series of the request.
    pub series: Option<u32>,
    /// As in Prometheus' text: `counter`, `gauge`, …, `unknown`.
    pub kind: &'static str,
    /// What it means.
    pub help: &'a str,
    /// In what it is counted.
    pub unit: &'a str,
}

/// Reads a body that is not compressed any more. `seed` goes into the keys.
///
/// # Errors
/// When the body is not such a message, or larger than the limits of this module.
pub fn decode(version: Version, body: &[u8], seed: u64) -> Result<Request<'_>, WriteError> {
    let mut request = Request { is_v2: version == Version::V2, body, ..Request::default() };
    room(body.len(), "bytes", BODY_BYTES_MAX)?;
    request.reserve(body.len() / SERIES_BYTES_USUAL);
    let mut hashes = Vec::new();
    if request.is_v2 {
        request.read_symbols(body, seed, &mut hashes)?;
    }
    let mut reader = Reader::new(body);
    let mut scratch = Vec::new();
    while let Some((number, value)) = reader.field()? {
        match (version, number, value) {
            (Version::V1, 1, Value::Bytes(series)) => request.read_v1(series, seed)?,
            (Version::V1, 3, Value::Bytes(message)) => request.read_metadata(message)?,
            (Version::V2, 5, Value::Bytes(series)) => {
                request.read_v2(series, seed, &hashes, &mut scratch)?;
            }
            _ => {}
        }
    }
    Ok(request)
}

impl<'a> Request<'a> {
    fn reserve(&mut self, series: usize) {
        let series = series.min(ITEMS_MAX / 16);
        self.series.reserve(series);
        self.keys.reserve(series);
        self.samples.reserve(series);
    }

    fn start_series(&mut self, series: Reader<'a>) -> Result<u32, WriteError> {
        room(self.series.len(), "series", ITEMS_MAX)?;
        let start = series.base();
        self.series.push((start as u32, (start + series.bytes.len()) as u32));
        Ok(self.series.len() as u32 - 1)
    }

    /// The message of a series, from its start.
    fn message(&self, series: usize) -> Reader<'a> {
        let (start, end) = self.series[series];
        Reader::within(self.body, start as usize, end as usize)
    }

    fn read_v1(&mut self, mut reader: Reader<'a>, seed: u64) -> Result<(), WriteError> {
        let series = self.start_series(reader)?;
        // The labels of every known sender stand side by side in front, and one sample behind them.
        let mut end = short_labels(reader.bytes);
        reader.skip(end);
        let mut apart = None::<Box<Xxh3>>;
        if let Some((ts_ms, value)) = only_sample(&reader.bytes[end..]) {
            room(self.samples.len(), "samples", ITEMS_MAX)?;
            self.samples.push(PushedSample { series, ts_ms, value });
            self.keys.push(xxh3_64_with_seed(&reader.bytes[..end], seed));
            return Ok(());
        }
        loop {
            let before = reader.at();
            let Some((number, value)) = reader.field()? else { break };
            match (number, value) {
                (1, Value::Bytes(_)) if before == end => end = reader.at(),
                (1, Value::Bytes(label)) => {
                    let hash = apart.get_or_insert_with(|| Box::new(Xxh3::with_seed(!seed)));
                    hash.update(&(label.bytes.len() as u64).to_le_bytes());
                    hash.update(label.bytes);
                }
                (2, Value::Bytes(sample)) => self.read_sample(series, sample)?,
                (3, Value::Bytes(message)) => self.read_exemplar(series, message)?,
                (4, Value::Bytes(message)) => self.read_histogram(series, message)?,
                _ => {}
            }
        }
        let front = xxh3_64_with_seed(&reader.bytes[..end], seed);
        self.keys.push(apart.map_or(front, |hash| front ^ hash.digest().rotate_left(1)));
        Ok(())
    }

    fn read_v2(
        &mut self,
        mut reader: Reader<'a>,
        seed: u64,
        hashes: &[u64],
        scratch: &mut Vec<u8>,
    ) -> Result<(), WriteError> {
        let series = self.start_series(reader)?;
        scratch.clear();
        while let Some((number, value)) = reader.field()? {
            match (number, value) {
                (1, Value::Bytes(mut references)) => {
                    while !references.is_at_end() {
                        let reference = references.varint()?;
                        put_hash(scratch, hashes, reference, &references)?;
                    }
                }
                (1, Value::Number(reference)) => put_hash(scratch, hashes, reference, &reader)?,
                (2, Value::Bytes(sample)) => self.read_sample(series, sample)?,
                (3, Value::Bytes(message)) => self.read_histogram(series, message)?,
                (4, Value::Bytes(message)) => self.read_exemplar(series, message)?,
                (5, Value::Bytes(message)) => self.read_metadata_v2(series, message)?,
                _ => {}
            }
        }
        self.keys.push(xxh3_64_with_seed(scratch, seed));
        Ok(())
    }

    #[inline]
    fn read_sample(&mut self, series: u32, mut reader: Reader<'_>) -> Result<(), WriteError> {
        room(self.samples.len(), "samples", ITEMS_MAX)?;
        let (mut value, mut ts_ms, mut start_ms) = (0.0, 0, 0);
        while let Some((number, field)) = reader.field()? {
            match (number, field) {
                (1, Value::Eight(bytes)) => value = f64::from_le_bytes(bytes),
                (2, Value::Number(number)) => ts_ms = number as i64,
                (3, Value::Number(number)) => start_ms = number as i64,
                _ => {}
            }
        }
        self.samples.push(PushedSample { series, ts_ms, value });
        self.start(series, ts_ms, start_ms);
        Ok(())
    }

    /// There are at most as many as samples and histograms. 1.0 has none.
    #[inline]
    fn start(&mut self, series: u32, ts_ms: i64, start_ms: i64) {
        if start_ms != 0 && self.is_v2 {
            self.starts.push(PushedStart { series, ts_ms, start_ms });
        }
    }

    fn read_histogram(&mut self, series: u32, message: Reader<'_>) -> Result<(), WriteError> {
        room(self.histograms.len(), "histograms", ITEMS_MAX / 16)?;
        let histogram::Read { ts_ms, start_ms, histogram } = histogram::read(message)?;
        self.histograms.push(PushedHistogram { series, ts_ms, histogram });
        self.start(series, ts_ms, start_ms);
        Ok(())
    }

    fn read_exemplar(&mut self, series: u32, message: Reader<'a>) -> Result<(), WriteError> {
        room(self.exemplars.len(), "exemplars", ITEMS_MAX / 16)?;
        let (mut reader, mut value, mut ts_ms) = (message, 0.0, 0);
        while let Some((number, field)) = reader.field()? {
            match (number, field) {
                (2, Value::Eight(bytes)) => value = f64::from_le_bytes(bytes),
                (3, Value::Number(number)) => ts_ms = number as i64,
                _ => {}
            }
        }
        self.exemplars.push(WireExemplar { series, ts_ms, value, message });
        Ok(())
    }

    fn read_metadata(&mut self, mut reader: Reader<'a>) -> Result<(), WriteError> {
        room(self.metadata.len(), "metadata", ITEMS_MAX / 16)?;
        let mut said =
            WireMetadata { family: "", series: None, kind: "unknown", help: "", unit: "" };
        while let Some((number, field)) = reader.field()? {
            match (number, field) {
                (1, Value::Number(number)) => said.kind = kind(number),
                (2, Value::Bytes(text)) => said.family = text.text()?,
                (4, Value::Bytes(text)) => said.help = text.text()?,
                (5, Value::Bytes(text)) => said.unit = text.text()?,
                _ => {}
            }
        }
        self.metadata.push(said);
        Ok(())
    }

    fn read_metadata_v2(&mut self, series: u32, mut reader: Reader<'a>) -> Result<(), WriteError> {
        room(self.metadata.len(), "metadata", ITEMS_MAX / 16)?;
        let mut said =
            WireMetadata { family: "", series: Some(series), kind: "unknown", help: "", unit: "" };
        while let Some((number, field)) = reader.field()? {
            match (number, field) {
                (1, Value::Number(number)) => said.kind = kind(number),
                (3, Value::Number(reference)) => said.help = self.symbol(reference, &reader)?,
                (4, Value::Number(reference)) => said.unit = self.symbol(reference, &reader)?,
                _ => {}
            }
        }
        // Every series has this message; most say nothing in it.
        if said.kind != "unknown" || !said.help.is_empty() || !said.unit.is_empty() {
            self.metadata.push(said);
        }
        Ok(())
    }

    fn read_symbols(
        &mut self,
        body: &'a [u8],
        seed: u64,
        hashes: &mut Vec<u64>,
    ) -> Result<(), WriteError> {
        let mut reader = Reader::new(body);
        while let Some((number, value)) = reader.field()? {
            if let (4, Value::Bytes(symbol)) = (number, value) {
                room(hashes.len(), "symbols", SYMBOLS_MAX)?;
                self.symbols.push(symbol.text()?);
                hashes.push(xxh3_64_with_seed(symbol.bytes, seed));
            }
        }
        if self.symbols.first().is_some_and(|first| !first.is_empty()) {
            return Err(WriteError::FirstSymbol);
        }
        Ok(())
    }

    fn symbol(&self, reference: u64, at: &Reader<'_>) -> Result<&'a str, ProtoError> {
        let symbol = usize::try_from(reference).ok().and_then(|at| self.symbols.get(at));
        symbol.copied().ok_or_else(|| at.error("a reference to a symbol that is not there"))
    }
}

/// How many bytes the labels take that stand in front of a series of 1.0, as long as each is shorter
/// than 128 bytes; what is not, and what is broken, is left to the reader.
#[inline]
fn short_labels(series: &[u8]) -> usize {
    let mut at = 0;
    while let Some([LABEL, len @ ..0x80]) = series.get(at..at + 2) {
        let end = at + 2 + *len as usize;
        if end > series.len() {
            break;
        }
        at = end;
    }
    at
}

/// The tag of a label in a series of 1.0: field 1, a sub-message.
const LABEL: u8 = 0x0a;

/// Time and value, when `rest` of a series of 1.0 is one sample as every known sender writes it and
/// nothing else: `12 len 09 <eight bytes> 10 <varint of at most eight bytes>`.
#[inline]
fn only_sample(rest: &[u8]) -> Option<(i64, f64)> {
    let [0x12, len, 0x09, more @ ..] = rest else { return None };
    let (value, more) = more.split_first_chunk::<8>()?;
    let [0x10, varint @ ..] = more else { return None };
    let fits = (1..=8).contains(&varint.len()) && usize::from(*len) + 2 == rest.len();
    let (last, before) = varint.split_last()?;
    if !fits || *last >= 0x80 || before.iter().any(|byte| *byte < 0x80) {
        return None;
    }
    let ts_ms = varint.iter().rev().fold(0u64, |ts, byte| ts << 7 | u64::from(byte & 0x7f));
    Some((ts_ms as i64, f64::from_le_bytes(*value)))
}

fn put_hash(
    scratch: &mut Vec<u8>,
    hashes: &[u64],
    reference: u64,
    at: &Reader<'_>,
) -> Result<(), ProtoError> {
    let hash = usize::try_from(reference).ok().and_then(|at| hashes.get(at));
    let hash = hash.ok_or_else(|| at.error("a reference to a symbol that is not there"))?;
    scratch.extend_from_slice(&hash.to_le_bytes());
    Ok(())
}

#[inline]
fn room(have: usize, what: &'static str, limit: usize) -> Result<(), WriteError> {
    if have < limit { Ok(()) } else { Err(WriteError::TooMany { what, limit }) }
}

/// Both protocols number the types alike.
fn kind(number: u64) -> &'static str {
    const KINDS: [&str; 8] = [
        "unknown",
        "counter",
        "gauge",
        "histogram",
        "gaugehistogram",
        "summary",
        "info",
        "stateset",
    ];
    usize::try_from(number).ok().and_then(|at| KINDS.get(at)).copied().unwrap_or("unknown")
}

#[cfg(test)]
mod tests;
