//! OpenTelemetry's metrics (`ExportMetricsServiceRequest` of opentelemetry-proto 1.x, protobuf or
//! JSON) as Prometheus stores them (`storage/remote/otlptranslator` of Prometheus 3.14 and its library
//! `otlptranslator`).
//!
//! * Names get what the [`Strategy`] says: characters that Prometheus' classic names cannot hold
//!   become `_`, units and `_total` are appended (`names`).
//! * Of the resource, `service.namespace/service.name` becomes `job`, `service.instance.id` becomes
//!   `instance`, what is promoted becomes labels of every series, and all the rest labels of one
//!   series `target_info`.
//! * Gauges, sums and summaries become floats; histograms classic buckets, or native ones with
//!   custom buckets; exponential histograms native ones, made coarser where Prometheus' finest
//!   resolution ends (`histogram`).
//! * A point that says that nothing was recorded becomes a stale marker.
//!
//! ```text
//! Request       { 1: repeated ResourceMetrics { 1: Resource { 1: attributes }, 2: repeated ScopeMetrics } }
//! ScopeMetrics  { 1: Scope { 1: name, 2: version, 3: attributes }, 2: repeated Metric, 3: schema url }
//! Metric        { 1: name, 2: description, 3: unit,
//!                 5: Gauge { 1: points }, 7: Sum { 1: points, 2: temporality, 3: is monotonic },
//!                 9: Histogram, 10: ExponentialHistogram { 1: points, 2: temporality }, 11: Summary }
//! ```
//! The points are described where they are read (`proto`).
//!
//! As upstream, a request is translated whole or not at all: one metric that cannot be translated
//! refuses all of it. What a stranger sends is bounded: the number of things (the budget of all the
//! pushes), the depth of values, the buckets of a point, the samples of `target_info`
//! ([`TARGET_INFO_MAX`]) and the sentences of an answer ([`REASONS_MAX`]).

mod histogram;
mod json;
mod names;
mod proto;
mod target_info;
mod translate;

pub use names::{MetricType, Namer, unit_name};

use crate::loki_push::{Budget, PushError};
use crate::otlp_logs::value::Attributes;
use std::collections::BTreeSet;
use vigie_model::{Labels, PushedExemplar, PushedHistogram, PushedSample, PushedStart};

/// Most samples of `target_info` that one resource leads to; the newest are made.
pub const TARGET_INFO_MAX: usize = 1_000;
/// Most reasons that an error tells.
pub const REASONS_MAX: usize = 20;
/// Half of how far an instant looks back: samples of `target_info` stand no further apart.
const TARGET_INFO_EVERY_NS: u64 = 150_000_000_000;

/// What becomes of names (`otlp.translation_strategy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Characters become `_`, units and types are appended.
    #[default]
    UnderscoreEscapingWithSuffixes,
    /// Characters become `_`.
    UnderscoreEscapingWithoutSuffixes,
    /// Names stay, units and types are appended.
    NoUtf8EscapingWithSuffixes,
    /// Names stay.
    NoTranslation,
}

impl Strategy {
    /// The strategy with this name in a configuration.
    pub fn parse(name: &str) -> Option<Strategy> {
        Some(match name {
            "UnderscoreEscapingWithSuffixes" => Strategy::UnderscoreEscapingWithSuffixes,
            "UnderscoreEscapingWithoutSuffixes" => Strategy::UnderscoreEscapingWithoutSuffixes,
            "NoUTF8EscapingWithSuffixes" => Strategy::NoUtf8EscapingWithSuffixes,
            "NoTranslation" => Strategy::NoTranslation,
            _ => return None,
        })
    }

    /// Whether names are made to fit Prometheus' classic ones.
    pub fn escapes(self) -> bool {
        matches!(
            self,
            Strategy::UnderscoreEscapingWithSuffixes | Strategy::UnderscoreEscapingWithoutSuffixes
        )
    }

    /// Whether units and types are appended.
    pub fn has_suffixes(self) -> bool {
        matches!(
            self,
            Strategy::UnderscoreEscapingWithSuffixes | Strategy::NoUtf8EscapingWithSuffixes
        )
    }
}

/// Which attributes of a resource become labels of all its series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Promote {
    /// These.
    Only(BTreeSet<String>),
    /// All but these.
    AllBut(BTreeSet<String>),
}

impl Default for Promote {
    fn default() -> Self {
        Promote::Only(BTreeSet::new())
    }
}

impl Promote {
    fn takes(&self, name: &str) -> bool {
        match self {
            Promote::Only(names) => names.contains(name),
            Promote::AllBut(names) => !names.contains(name),
        }
    }
}

/// The section `otlp` of prometheus.yml, and what flags say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What becomes of names.
    pub strategy: Strategy,
    /// `promote_resource_attributes`, or all with `ignore_resource_attributes`.
    pub promote: Promote,
    /// Whether `target_info` also keeps what became `job` and `instance`.
    pub keep_identifying: bool,
    /// Whether histograms become native ones with custom buckets.
    pub histograms_to_nhcb: bool,
    /// Whether the scope becomes labels (`otel_scope_*`).
    pub promote_scope: bool,
    /// Whether a label that begins with one `_` gets `key` before it.
    pub key_before_underscore: bool,
    /// Whether several `_` in a row stay in the name of a label.
    pub keep_underscores: bool,
    /// Whether deltas are stored as they are (the feature `otlp-native-delta-ingestion`).
    pub allow_delta: bool,
    /// Whether series get `__type__` and `__unit__` (the feature `type-and-unit-labels`).
    pub type_and_unit_labels: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            strategy: Strategy::default(),
            promote: Promote::default(),
            keep_identifying: false,
            histograms_to_nhcb: false,
            promote_scope: false,
            key_before_underscore: true,
            keep_underscores: true,
            allow_delta: false,
            type_and_unit_labels: false,
        }
    }
}

/// What a request says of a metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The metric's name as stored, without the suffixes of a histogram's or summary's series.
    pub name: String,
    /// Prometheus' word for its type.
    pub kind: &'static str,
    /// What it is.
    pub help: String,
    /// Its unit in Prometheus' words.
    pub unit: String,
}

/// A request as Prometheus would store it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Translated {
    /// The series.
    pub series: Vec<Labels>,
    /// Floats, by series.
    pub samples: Vec<PushedSample>,
    /// Native histograms, by series.
    pub histograms: Vec<PushedHistogram>,
    /// Exemplars, those of a series in the order of their times.
    pub exemplars: Vec<PushedExemplar>,
    /// The start timestamps of points that have one.
    pub starts: Vec<PushedStart>,
    /// What was said of metrics.
    pub described: Vec<Described>,
}

impl Translated {
    /// A key for each series, for a store's `seed`: no other way in makes the same bytes.
    pub fn keys(&self, seed: u64) -> Vec<u64> {
        let key = |labels: &Labels| {
            let mut hash = xxhash_rust::xxh3::Xxh3::with_seed(seed);
            hash.update(b"otlp");
            for label in labels {
                for text in [&label.name, &label.value] {
                    hash.update(&(text.len() as u64).to_le_bytes());
                    hash.update(text.as_bytes());
                }
            }
            hash.digest()
        };
        self.series.iter().map(key).collect()
    }
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OtlpError {
    /// Neither protobuf nor JSON; upstream's words.
    #[error("unsupported content type: {0}, supported: [application/json, application/x-protobuf]")]
    ContentType(String),
    /// The body is not such a message, or holds more than is read.
    #[error("{0}")]
    Body(String),
    /// It is, but cannot be said in Prometheus' terms; upstream's words, one reason a line.
    #[error("{0}")]
    Untranslatable(String),
}

impl From<PushError> for OtlpError {
    fn from(error: PushError) -> OtlpError {
        OtlpError::Body(match error {
            PushError::Proto { what, offset } => format!("proto: {what} at byte {offset}"),
            other => other.to_string(),
        })
    }
}

/// Decodes and translates a body that is not compressed any more.
///
/// # Errors
/// A content type that is neither `application/json` nor `application/x-protobuf`, a broken body, a
/// limit, or what Prometheus does not translate either.
pub fn decode(
    content_type: &str,
    body: &[u8],
    settings: &Settings,
) -> Result<Translated, OtlpError> {
    let budget = Budget::of("points, buckets and attributes");
    let resources = match content_type.split(';').next().unwrap_or("").trim() {
        "application/x-protobuf" => proto::decode(body, &budget)?,
        "application/json" => json::decode(body, &budget)?,
        _ => return Err(OtlpError::ContentType(content_type.to_owned())),
    };
    translate::translate(&resources, settings)
}

/// What came from one resource, whichever form it came in.
#[derive(Default)]
struct Resource {
    attributes: Attributes,
    scopes: Vec<Scope>,
}

#[derive(Default)]
struct Scope {
    name: String,
    version: String,
    schema_url: String,
    attributes: Attributes,
    metrics: Vec<Metric>,
}

#[derive(Default)]
struct Metric {
    name: String,
    description: String,
    unit: String,
    data: Data,
}

/// Whether points count from the start or from the point before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Temporality {
    #[default]
    Unspecified,
    Delta,
    Cumulative,
}

impl Temporality {
    fn of(number: u64) -> Temporality {
        match number {
            1 => Temporality::Delta,
            2 => Temporality::Cumulative,
            _ => Temporality::Unspecified,
        }
    }
}

#[derive(Default)]
enum Data {
    #[default]
    Nothing,
    Gauge(Vec<Point<f64>>),
    Sum {
        points: Vec<Point<f64>>,
        temporality: Temporality,
        is_monotonic: bool,
    },
    Histogram(Vec<Point<Explicit>>, Temporality),
    Exponential(Vec<Point<Exponential>>, Temporality),
    Summary(Vec<Point<Summary>>),
}

/// What all points have in common, and what only some have.
#[derive(Default)]
struct Point<T> {
    attributes: Attributes,
    time_ns: u64,
    /// 0 when it is not known.
    start_ns: u64,
    is_stale: bool,
    exemplars: Vec<WireExemplar>,
    value: T,
}

#[derive(Default)]
struct Explicit {
    count: u64,
    sum: Option<f64>,
    counts: Vec<u64>,
    bounds: Vec<f64>,
}

#[derive(Default)]
struct Exponential {
    count: u64,
    sum: Option<f64>,
    scale: i32,
    zero_count: u64,
    positive: Buckets,
    negative: Buckets,
}

/// Counts of neighbouring buckets, beginning with that of index `offset`.
#[derive(Default)]
struct Buckets {
    offset: i32,
    counts: Vec<u64>,
}

#[derive(Default)]
struct Summary {
    count: u64,
    sum: f64,
    quantiles: Vec<(f64, f64)>,
}

#[derive(Default)]
struct WireExemplar {
    time_ns: u64,
    value: Option<f64>,
    trace_id: String,
    span_id: String,
    attributes: Attributes,
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
