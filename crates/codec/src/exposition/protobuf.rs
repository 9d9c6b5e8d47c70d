//! The protobuf exposition format: `io.prometheus.client.MetricFamily`, each behind its length.
//!
//! [`Page::read`] turns a page into the text format, line by line, because that is what a scraper's
//! cache is keyed by and what normalises bounds; beside the text stand the things that text cannot
//! say: native histograms, exemplars, and what families are. A sample costs more this way than from
//! text, which is why protobuf is asked for only where native histograms are wanted.
//! The shapes are those of `io/prometheus/client/metrics.proto` (prometheus/client_model), read as
//! Prometheus' `model/textparse/protobufparse.go` does.

mod write;

pub use write::{WrittenMetric, WrittenValue, put_family};

use super::{MetricKind, format_float, format_openmetrics_float};
use crate::proto::unzigzag;
use crate::proto::{ProtoError, Reader, Value};
use crate::remote_write::histogram::{deltas, doubles, narrow, room, span};
use vigie_model::histogram::{Counts, ResetHint};
use vigie_model::limits::LABELS_PER_SERIES_MAX;
use vigie_model::{Histogram, Labels};

/// Most exemplars of one page.
const EXEMPLARS_MAX: usize = 10_000;

/// Which form of a histogram is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// Native histograms; without this only the classic buckets are read.
    pub native: bool,
    /// The classic buckets of a histogram that is native too.
    pub classic_beside: bool,
    /// When what counters, summaries and histograms count began.
    pub starts: bool,
}

/// A family and what is said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FamilySaid<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it measures.
    pub kind: MetricKind,
    /// What it means.
    pub help: &'a str,
    /// In what.
    pub unit: &'a str,
}

/// A native histogram of a page.
#[derive(Clone, Debug, PartialEq)]
pub struct NativeSample {
    /// Name and braces as text would have them: the key of a cache.
    pub series: Vec<u8>,
    /// Its own time, if it has one.
    pub ts_ms: Option<i64>,
    /// Validated.
    pub histogram: Histogram,
}

/// An exemplar of a page.
#[derive(Clone, Debug, PartialEq)]
pub struct PageExemplar {
    /// Name and braces of the sample that it stands behind.
    pub series: Vec<u8>,
    /// Its labels.
    pub labels: Labels,
    /// Its value.
    pub value: f64,
    /// Its own time, if it has one.
    pub ts_ms: Option<i64>,
}

/// When what a sample of a page counts began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageStart {
    /// Name and braces of the sample.
    pub series: Vec<u8>,
    /// The sample's own time, if it has one.
    pub ts_ms: Option<i64>,
    /// When it began.
    pub start_ms: i64,
}

/// A page, read.
#[derive(Clone, Debug, Default)]
pub struct Page<'a> {
    /// The samples in the text format, without comments.
    pub text: Vec<u8>,
    /// The families, in their order.
    pub families: Vec<FamilySaid<'a>>,
    /// The native histograms.
    pub natives: Vec<NativeSample>,
    /// The exemplars.
    pub exemplars: Vec<PageExemplar>,
    /// The start timestamps, if they are wanted.
    pub starts: Vec<PageStart>,
}

/// Why a page is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PageError {
    /// Broken protobuf.
    #[error("proto: {0}")]
    Proto(#[from] ProtoError),
    /// A metric without what its family's type demands, or a name that is none.
    #[error("invalid metric in family {family:?}: {what}")]
    Metric {
        /// The family.
        family: String,
        /// What is wrong.
        what: String,
    },
}

impl<'a> Page<'a> {
    /// Reads a page that is not compressed any more.
    ///
    /// # Errors
    /// When it is not such a page; a page is taken whole or not at all.
    pub fn read(body: &'a [u8], wants: Wants) -> Result<Page<'a>, PageError> {
        let mut page = Page::default();
        let mut reader = Reader::new(body);
        while !reader.is_at_end() {
            let len = reader.varint()?;
            let family = reader.take(len)?;
            page.family(family, wants)?;
        }
        Ok(page)
    }

    fn family(&mut self, mut reader: Reader<'a>, wants: Wants) -> Result<(), PageError> {
        let mut said = FamilySaid { name: "", kind: MetricKind::Counter, help: "", unit: "" };
        let (mut metrics, mut kind) = (Vec::new(), 0);
        while let Some((number, value)) = reader.field()? {
            match (number, value) {
                (1, Value::Bytes(text)) => said.name = text.text()?,
                (2, Value::Bytes(text)) => said.help = text.text()?,
                (3, Value::Number(number)) => kind = number,
                (4, Value::Bytes(metric)) => metrics.push(metric),
                (5, Value::Bytes(text)) => said.unit = text.text()?,
                _ => {}
            }
        }
        said.kind = match kind {
            0 => MetricKind::Counter,
            1 => MetricKind::Gauge,
            2 => MetricKind::Summary,
            3 => MetricKind::Unknown,
            4 => MetricKind::Histogram,
            5 => MetricKind::GaugeHistogram,
            _ => return Err(broken(said.name, format!("unknown metric type {kind}"))),
        };
        if said.name.is_empty() {
            return Err(broken("", "a family without a name".to_owned()));
        }
        for metric in metrics {
            self.metric(&said, metric, wants)?;
        }
        self.families.push(said);
        Ok(())
    }

    fn metric(
        &mut self,
        said: &FamilySaid<'a>,
        mut reader: Reader<'a>,
        wants: Wants,
    ) -> Result<(), PageError> {
        let (mut pairs, mut ts_ms, mut body) = (Vec::new(), None, None);
        while let Some((number, value)) = reader.field()? {
            match (number, value) {
                (1, Value::Bytes(label)) => {
                    if pairs.len() == LABELS_PER_SERIES_MAX {
                        let what = format!("more than {LABELS_PER_SERIES_MAX} labels");
                        return Err(broken(said.name, what));
                    }
                    pairs.push(pair(label)?);
                }
                (6, Value::Number(number)) => ts_ms = Some(number as i64),
                (number @ (2 | 3 | 4 | 5 | 7), Value::Bytes(message)) => {
                    body = Some((number, message));
                }
                _ => {}
            }
        }
        // Where a counter, a summary and a histogram say when they began.
        let place = match body {
            Some((3, _)) => 3,
            Some((4, _)) => 4,
            _ => 15,
        };
        let start_ms = match body {
            Some((3 | 4 | 7, message)) if wants.starts => start(message, place)?,
            _ => None,
        };
        let ts_ms = ts_ms.filter(|ts_ms| *ts_ms != 0);
        let mut line = Line { page: self, pairs, ts_ms, start_ms };
        match (said.kind, body) {
            (MetricKind::Counter, Some((3, message))) => line.number(said.name, message, true),
            (MetricKind::Gauge, Some((2, message))) | (MetricKind::Unknown, Some((5, message))) => {
                line.number(said.name, message, false)
            }
            (MetricKind::Summary, Some((4, message))) => line.summary(said.name, message),
            (MetricKind::Histogram | MetricKind::GaugeHistogram, Some((7, message))) => {
                line.histogram(said, message, wants)
            }
            (kind, _) => {
                let what = format!("a {} without its value", kind.as_str());
                Err(broken(said.name, what))
            }
        }
    }
}

fn broken(family: &str, what: String) -> PageError {
    PageError::Metric { family: family.to_owned(), what }
}

/// The lines of one metric.
struct Line<'p, 'a> {
    page: &'p mut Page<'a>,
    pairs: Vec<(&'a str, &'a str)>,
    ts_ms: Option<i64>,
    start_ms: Option<i64>,
}

impl<'a> Line<'_, 'a> {
    /// A counter, a gauge or something untyped: its value is field 1.
    fn number(
        &mut self,
        name: &str,
        mut reader: Reader<'a>,
        is_counter: bool,
    ) -> Result<(), PageError> {
        let (mut value, mut exemplar) = (0.0, None);
        while let Some((number, field)) = reader.field()? {
            match (number, field) {
                (1, Value::Eight(bytes)) => value = f64::from_le_bytes(bytes),
                (2, Value::Bytes(message)) if is_counter => exemplar = Some(message),
                _ => {}
            }
        }
        let series = self.put(name, "", None, value);
        exemplar.map_or(Ok(()), |message| self.exemplar(&series, message))
    }

    fn summary(&mut self, name: &str, mut reader: Reader<'a>) -> Result<(), PageError> {
        let (mut count, mut sum, mut quantiles) = (0, 0.0, Vec::new());
        while let Some((number, field)) = reader.field()? {
            match (number, field) {
                (1, Value::Number(number)) => count = number,
                (2, Value::Eight(bytes)) => sum = f64::from_le_bytes(bytes),
                (3, Value::Bytes(mut message)) => {
                    let (mut quantile, mut value) = (0.0, 0.0);
                    while let Some((number, field)) = message.field()? {
                        match (number, field) {
                            (1, Value::Eight(bytes)) => quantile = f64::from_le_bytes(bytes),
                            (2, Value::Eight(bytes)) => value = f64::from_le_bytes(bytes),
                            _ => {}
                        }
                    }
                    quantiles.push((quantile, value));
                }
                _ => {}
            }
        }
        self.put(name, "_count", None, count as f64);
        self.put(name, "_sum", None, sum);
        for (quantile, value) in quantiles {
            self.put(name, "", Some(("quantile", quantile)), value);
        }
        Ok(())
    }

    fn histogram(
        &mut self,
        said: &FamilySaid<'a>,
        message: Reader<'a>,
        wants: Wants,
    ) -> Result<(), PageError> {
        let read = WireHistogram::read(message)?;
        let is_native = wants.native && read.is_native();
        if is_native {
            let histogram = read.native(said.kind == MetricKind::GaugeHistogram);
            histogram.validate().map_err(|what| broken(said.name, what))?;
            let series = self.series(said.name, "", None);
            for exemplar in &read.exemplars {
                self.exemplar(&series, *exemplar)?;
            }
            let ts_ms = self.ts_ms;
            self.start(&series);
            self.page.natives.push(NativeSample { series, ts_ms, histogram });
        }
        if !is_native || (wants.classic_beside && !read.buckets.is_empty()) {
            self.classic(said.name, &read)?;
        }
        Ok(())
    }

    fn classic(&mut self, name: &str, read: &WireHistogram<'a>) -> Result<(), PageError> {
        let count = read.count();
        self.put(name, "_count", None, count);
        self.put(name, "_sum", None, read.sum);
        let mut is_complete = false;
        for bucket in &read.buckets {
            is_complete |= bucket.upper == f64::INFINITY;
            let series = self.put(name, "_bucket", Some(("le", bucket.upper)), bucket.count);
            if let Some(exemplar) = bucket.exemplar {
                self.exemplar(&series, exemplar)?;
            }
        }
        // The last bucket goes without saying in this format.
        if !is_complete {
            self.put(name, "_bucket", Some(("le", f64::INFINITY)), count);
        }
        Ok(())
    }

    fn exemplar(&mut self, series: &[u8], mut reader: Reader<'a>) -> Result<(), PageError> {
        let (mut labels, mut value, mut ts_ms) = (Vec::new(), 0.0, None);
        while let Some((number, field)) = reader.field()? {
            match (number, field) {
                (1, Value::Bytes(label)) if labels.len() < LABELS_PER_SERIES_MAX => {
                    labels.push(pair(label)?);
                }
                (2, Value::Eight(bytes)) => value = f64::from_le_bytes(bytes),
                (3, Value::Bytes(message)) => ts_ms = timestamp(message)?,
                _ => {}
            }
        }
        if self.page.exemplars.len() < EXEMPLARS_MAX {
            let labels = Labels::from_pairs(labels);
            self.page.exemplars.push(PageExemplar {
                series: series.to_vec(),
                labels,
                value,
                ts_ms,
            });
        }
        Ok(())
    }

    /// Writes a line and returns the bytes of its series.
    fn put(&mut self, name: &str, suffix: &str, extra: Option<(&str, f64)>, value: f64) -> Vec<u8> {
        let series = self.series(name, suffix, extra);
        let text = &mut self.page.text;
        text.extend_from_slice(&series);
        text.push(b' ');
        text.extend_from_slice(format_float(value).as_bytes());
        if let Some(ts_ms) = self.ts_ms {
            text.push(b' ');
            text.extend_from_slice(ts_ms.to_string().as_bytes());
        }
        text.push(b'\n');
        self.start(&series);
        series
    }

    /// Says when a sample's count began.
    fn start(&mut self, series: &[u8]) {
        if let Some(start_ms) = self.start_ms {
            let (series, ts_ms) = (series.to_vec(), self.ts_ms);
            self.page.starts.push(PageStart { series, ts_ms, start_ms });
        }
    }

    /// Name and braces. A name that needs quotes stands inside the braces.
    fn series(&self, name: &str, suffix: &str, extra: Option<(&str, f64)>) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        let legacy = is_legacy(name, true);
        if legacy {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(suffix.as_bytes());
        }
        if legacy && self.pairs.is_empty() && extra.is_none() {
            return out;
        }
        out.push(b'{');
        if !legacy {
            put_quoted(&mut out, &format!("{name}{suffix}"));
        }
        let extra = extra.map(|(name, value)| (name, format_openmetrics_float(value)));
        let extra = extra.as_ref().map(|(name, value)| (*name, value.as_str()));
        for (name, value) in self.pairs.iter().copied().chain(extra) {
            if out.last() != Some(&b'{') {
                out.push(b',');
            }
            match is_legacy(name, false) {
                true => out.extend_from_slice(name.as_bytes()),
                false => put_quoted(&mut out, name),
            }
            out.push(b'=');
            put_quoted(&mut out, value);
        }
        out.push(b'}');
        out
    }
}

fn is_legacy(name: &str, colons: bool) -> bool {
    let fits = |(at, byte): (usize, u8)| {
        byte.is_ascii_alphabetic()
            || byte == b'_'
            || (colons && byte == b':')
            || at > 0 && byte.is_ascii_digit()
    };
    !name.is_empty() && name.bytes().enumerate().all(fits)
}

fn put_quoted(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            byte => out.push(byte),
        }
    }
    out.push(b'"');
}

fn pair<'a>(mut label: Reader<'a>) -> Result<(&'a str, &'a str), ProtoError> {
    let (mut name, mut text) = ("", "");
    while let Some((number, value)) = label.field()? {
        match (number, value) {
            (1, Value::Bytes(bytes)) => name = bytes.text()?,
            (2, Value::Bytes(bytes)) => text = bytes.text()?,
            _ => {}
        }
    }
    Ok((name, text))
}

/// The start timestamp of a message in which it is field `place`.
fn start(mut reader: Reader<'_>, place: u64) -> Result<Option<i64>, ProtoError> {
    while let Some((number, field)) = reader.field()? {
        match field {
            Value::Bytes(message) if number == place => return timestamp(message),
            _ => {}
        }
    }
    Ok(None)
}

/// `google.protobuf.Timestamp` in milliseconds.
fn timestamp(mut reader: Reader<'_>) -> Result<Option<i64>, ProtoError> {
    let (mut seconds, mut nanos) = (0i64, 0i64);
    while let Some((number, value)) = reader.field()? {
        match (number, value) {
            (1, Value::Number(number)) => seconds = number as i64,
            (2, Value::Number(number)) => nanos = number as i64,
            _ => {}
        }
    }
    Ok(seconds.checked_mul(1000).and_then(|ms| ms.checked_add(nanos / 1_000_000)))
}

/// A bucket of a classic histogram.
struct WireBucket<'a> {
    upper: f64,
    count: f64,
    exemplar: Option<Reader<'a>>,
}

/// A histogram as it stands in the page: either kind, or both.
#[derive(Default)]
struct WireHistogram<'a> {
    count_int: u64,
    count_float: f64,
    sum: f64,
    buckets: Vec<WireBucket<'a>>,
    schema: i32,
    zero_threshold: f64,
    zero_int: u64,
    zero_float: f64,
    positive_spans: Vec<vigie_model::histogram::Span>,
    negative_spans: Vec<vigie_model::histogram::Span>,
    positive_deltas: Vec<i64>,
    negative_deltas: Vec<i64>,
    positive_counts: Vec<f64>,
    negative_counts: Vec<f64>,
    exemplars: Vec<Reader<'a>>,
}

impl<'a> WireHistogram<'a> {
    fn read(mut reader: Reader<'a>) -> Result<WireHistogram<'a>, ProtoError> {
        let mut out = WireHistogram::default();
        while let Some((number, value)) = reader.field()? {
            match (number, value) {
                (1, Value::Number(count)) => out.count_int = count,
                (2, Value::Eight(bytes)) => out.sum = f64::from_le_bytes(bytes),
                (3, Value::Bytes(message)) => {
                    room(out.buckets.len(), &reader)?;
                    out.buckets.push(bucket(message)?);
                }
                (4, Value::Eight(bytes)) => out.count_float = f64::from_le_bytes(bytes),
                (5, Value::Number(schema)) => out.schema = narrow(unzigzag(schema), &reader)?,
                (6, Value::Eight(bytes)) => out.zero_threshold = f64::from_le_bytes(bytes),
                (7, Value::Number(count)) => out.zero_int = count,
                (8, Value::Eight(bytes)) => out.zero_float = f64::from_le_bytes(bytes),
                (9, Value::Bytes(message)) => span(message, &mut out.negative_spans)?,
                (10, value) => deltas(value, &reader, &mut out.negative_deltas)?,
                (11, value) => doubles(value, &reader, &mut out.negative_counts)?,
                (12, Value::Bytes(message)) => span(message, &mut out.positive_spans)?,
                (13, value) => deltas(value, &reader, &mut out.positive_deltas)?,
                (14, value) => doubles(value, &reader, &mut out.positive_counts)?,
                (16, Value::Bytes(message)) if out.exemplars.len() < EXEMPLARS_MAX => {
                    out.exemplars.push(message);
                }
                _ => {}
            }
        }
        Ok(out)
    }

    fn count(&self) -> f64 {
        if self.count_float > 0.0 { self.count_float } else { self.count_int as f64 }
    }

    /// An empty native histogram says that it is one by a span of length 0.
    fn is_native(&self) -> bool {
        self.zero_threshold > 0.0
            || self.zero_int > 0
            || self.zero_float > 0.0
            || !self.positive_spans.is_empty()
            || !self.negative_spans.is_empty()
    }

    fn native(&self, is_gauge: bool) -> Histogram {
        let is_float = self.count_float > 0.0 || self.zero_float > 0.0;
        let counts = match is_float {
            true => Counts::Float {
                count: self.count_float,
                zero_count: self.zero_float,
                positive: self.positive_counts.clone(),
                negative: self.negative_counts.clone(),
            },
            false => Counts::Integer {
                count: self.count_int,
                zero_count: self.zero_int,
                positive: self.positive_deltas.clone(),
                negative: self.negative_deltas.clone(),
            },
        };
        let full = |spans: &[vigie_model::histogram::Span]| {
            spans.iter().copied().filter(|span| span.length > 0 || span.offset != 0).collect()
        };
        Histogram {
            reset_hint: if is_gauge { ResetHint::Gauge } else { ResetHint::Unknown },
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            sum: self.sum,
            counts,
            positive_spans: full(&self.positive_spans),
            negative_spans: full(&self.negative_spans),
            custom_values: Vec::new(),
        }
    }
}

fn bucket<'a>(mut reader: Reader<'a>) -> Result<WireBucket<'a>, ProtoError> {
    let mut bucket = WireBucket { upper: 0.0, count: 0.0, exemplar: None };
    while let Some((number, value)) = reader.field()? {
        match (number, value) {
            (1, Value::Number(count)) if bucket.count == 0.0 => bucket.count = count as f64,
            (2, Value::Eight(bytes)) => bucket.upper = f64::from_le_bytes(bytes),
            (3, Value::Bytes(message)) => bucket.exemplar = Some(message),
            (4, Value::Eight(bytes)) if f64::from_le_bytes(bytes) > 0.0 => {
                bucket.count = f64::from_le_bytes(bytes);
            }
            _ => {}
        }
    }
    Ok(bucket)
}

#[cfg(test)]
mod tests;
