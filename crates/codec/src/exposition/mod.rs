//! The exposition formats that are scraped and served: Prometheus text 0.0.4 and OpenMetrics 1.0.
//!
//! [`parse`] walks a body once and hands out entries that borrow from it. It builds no labels: a
//! sample carries the raw bytes of its name and braces ([`Sample::series`]), which are the same from
//! scrape to scrape, so that a scraper can look them up; [`Sample::labels`] builds the set when the
//! look-up misses. [`encode_text`] is the way back, for our own `/metrics` pages.
//!
//! What is accepted and refused follows Prometheus' parsers (`model/textparse`), words included,
//! rather than the letter of the OpenMetrics specification, which is stricter in places: metadata
//! may come in any order, and counters need no `_total`.
//! Bucket bounds and quantiles are normalised as Prometheus 3 does (`le="1"` becomes `le="1.0"`).

mod created;
mod explain;
mod number;
pub mod protobuf;
mod scan;
mod series;
mod write;

pub use created::Created;
pub use number::{format_float, format_openmetrics_float};
pub use scan::parse;
pub use write::{Family, FamilySample, encode_text};

use vigie_model::Labels;

/// The dialect of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `text/plain; version=0.0.4`.
    Text,
    /// `application/openmetrics-text`.
    OpenMetrics,
    /// `application/vnd.google.protobuf` of metric families, each behind its length: for
    /// [`protobuf::Page::read`], not for [`parse`].
    Protobuf,
}

impl Format {
    /// The format that a `Content-Type` header names; `None` when it is missing or another one.
    pub fn from_content_type(content_type: &str) -> Option<Format> {
        let media_type = content_type.split(';').next().unwrap_or("").trim();
        match media_type.to_ascii_lowercase().as_str() {
            "application/vnd.google.protobuf" => {
                let parameters = content_type.split(';').skip(1).filter_map(|p| p.split_once('='));
                let is = |name: &str, wanted: &str| {
                    let mut found = parameters.clone().filter(|(key, _)| key.trim() == name);
                    found.all(|(_, value)| value.trim().trim_matches('"') == wanted)
                };
                let fits = is("proto", "io.prometheus.client.MetricFamily");
                (fits && is("encoding", "delimited")).then_some(Format::Protobuf)
            }
            "text/plain" => Some(Format::Text),
            "application/openmetrics-text" => Some(Format::OpenMetrics),
            _ => None,
        }
    }
}

/// What a family measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[expect(missing_docs, reason = "the names are the formats' own")]
pub enum MetricKind {
    Counter,
    Gauge,
    Histogram,
    GaugeHistogram,
    Summary,
    Info,
    StateSet,
    #[default]
    Unknown,
}

impl MetricKind {
    /// The word of OpenMetrics and of Prometheus' metadata API.
    pub fn as_str(self) -> &'static str {
        match self {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
            MetricKind::GaugeHistogram => "gaugehistogram",
            MetricKind::Summary => "summary",
            MetricKind::Info => "info",
            MetricKind::StateSet => "stateset",
            MetricKind::Unknown => "unknown",
        }
    }
}

/// One thing that a body says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Entry<'a> {
    /// A sample.
    Sample(Sample<'a>),
    /// `# TYPE`.
    Type {
        /// The family.
        name: &'a str,
        /// Its kind.
        kind: MetricKind,
    },
    /// `# HELP`, still escaped; [`unescape_help`] makes it readable.
    Help {
        /// The family.
        name: &'a str,
        /// The text.
        text: &'a str,
    },
    /// `# UNIT`.
    Unit {
        /// The family.
        name: &'a str,
        /// The unit.
        unit: &'a str,
    },
}

/// A sample as it stands in a body.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample<'a> {
    /// The name and the braces, raw: the key of a cache.
    pub series: &'a [u8],
    /// The value; a NaN is Prometheus' ordinary one.
    pub value: f64,
    /// The sample's own time, if it has one.
    pub ts_ms: Option<i64>,
    /// The kind that the last `# TYPE` gave.
    pub kind: MetricKind,
    /// What stands behind `#`, in OpenMetrics only.
    pub exemplar: Option<Exemplar<'a>>,
}

/// An exemplar as it stands in a body.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exemplar<'a> {
    /// The braces and what is between them, raw.
    pub braces: &'a [u8],
    /// The value.
    pub value: f64,
    /// Its own time, if it has one.
    pub ts_ms: Option<i64>,
}

impl Exemplar<'_> {
    /// The labels, escapes undone.
    pub fn labels(&self) -> Result<Labels, String> {
        series::exemplar_labels(self.braces)
    }
}

impl Sample<'_> {
    /// The labels, metric name included, escapes undone and bounds normalised.
    /// The error is Prometheus' own sentence for a sample that it cannot store.
    pub fn labels(&self) -> Result<Labels, String> {
        series::labels(self.series, self.kind)
    }
}

/// The labels of a line's name and braces, as [`Sample::labels`].
///
/// # Errors
/// Prometheus' own sentence for a sample that it cannot store.
pub fn labels(series: &[u8], kind: MetricKind) -> Result<Labels, String> {
    series::labels(series, kind)
}

/// Where a body stops making sense, in Prometheus' words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} (line {line})")]
pub struct ParseError {
    /// The line, counted from 1.
    pub line: usize,
    /// What was expected and what stands there.
    pub what: String,
}

/// Undoes the escapes of a help text.
pub fn unescape_help(text: &str) -> String {
    series::unescape(text, false)
}

#[cfg(test)]
mod tests;
