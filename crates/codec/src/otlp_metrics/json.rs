//! The JSON form: protobuf's mapping, with ids in hexadecimal, 64-bit integers as texts or numbers,
//! and enumerations as numbers or names. Names are taken in both spellings, as OpenTelemetry's own
//! library takes them.

use super::{
    Buckets, Data, Explicit, Exponential, Metric, Point, Resource, Scope, Summary, Temporality,
    WireExemplar,
};
use crate::loki_push::{Budget, PushError};
use crate::otlp_logs::json::{Pair, attributes, id};
use serde::Deserialize;
use serde_json::Value;

/// The flag of a point at which nothing was recorded.
const NO_RECORDED_VALUE: u64 = 1;

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Request {
    #[serde(alias = "resource_metrics")]
    resource_metrics: Vec<ResourceMetrics>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct ResourceMetrics {
    resource: Attributed,
    #[serde(alias = "scope_metrics")]
    scope_metrics: Vec<ScopeMetrics>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Attributed {
    attributes: Vec<Pair>,
    name: String,
    version: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct ScopeMetrics {
    scope: Attributed,
    metrics: Vec<WireMetric>,
    #[serde(alias = "schema_url")]
    schema_url: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct WireMetric {
    name: String,
    description: String,
    unit: String,
    gauge: Option<WireData>,
    sum: Option<WireData>,
    histogram: Option<WireData>,
    #[serde(alias = "exponential_histogram")]
    exponential_histogram: Option<WireData>,
    summary: Option<WireData>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct WireData {
    #[serde(alias = "data_points")]
    data_points: Vec<WirePoint>,
    #[serde(alias = "aggregation_temporality")]
    aggregation_temporality: Value,
    #[serde(alias = "is_monotonic")]
    is_monotonic: bool,
}

/// The fields of all kinds of points.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct WirePoint {
    attributes: Vec<Pair>,
    #[serde(alias = "time_unix_nano")]
    time_unix_nano: Value,
    #[serde(alias = "start_time_unix_nano")]
    start_time_unix_nano: Value,
    flags: Value,
    exemplars: Vec<JsonExemplar>,
    #[serde(alias = "as_double")]
    as_double: Value,
    #[serde(alias = "as_int")]
    as_int: Value,
    count: Value,
    sum: Value,
    #[serde(alias = "bucket_counts")]
    bucket_counts: Vec<Value>,
    #[serde(alias = "explicit_bounds")]
    explicit_bounds: Vec<Value>,
    scale: Value,
    #[serde(alias = "zero_count")]
    zero_count: Value,
    positive: JsonBuckets,
    negative: JsonBuckets,
    #[serde(alias = "quantile_values")]
    quantile_values: Vec<Quantile>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct JsonBuckets {
    offset: Value,
    #[serde(alias = "bucket_counts")]
    bucket_counts: Vec<Value>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Quantile {
    quantile: Value,
    value: Value,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct JsonExemplar {
    #[serde(alias = "time_unix_nano")]
    time_unix_nano: Value,
    #[serde(alias = "as_double")]
    as_double: Value,
    #[serde(alias = "as_int")]
    as_int: Value,
    #[serde(alias = "trace_id")]
    trace_id: String,
    #[serde(alias = "span_id")]
    span_id: String,
    #[serde(alias = "filtered_attributes")]
    filtered_attributes: Vec<Pair>,
}

pub(super) fn decode(body: &[u8], budget: &Budget) -> Result<Vec<Resource>, PushError> {
    let request: Request = serde_json::from_slice(body)
        .map_err(|error| PushError::Json(format!("ReadObject: {error}")))?;
    let resources = request.resource_metrics.into_iter();
    resources.map(|one| resource(one, budget)).collect()
}

fn resource(one: ResourceMetrics, budget: &Budget) -> Result<Resource, PushError> {
    let scopes = one.scope_metrics.into_iter().map(|one| scope(one, budget));
    Ok(Resource {
        attributes: attributes(one.resource.attributes, budget, 0)?,
        scopes: scopes.collect::<Result<_, _>>()?,
    })
}

fn scope(one: ScopeMetrics, budget: &Budget) -> Result<Scope, PushError> {
    let metrics = one.metrics.into_iter().map(|one| metric(one, budget));
    Ok(Scope {
        name: one.scope.name,
        version: one.scope.version,
        schema_url: one.schema_url,
        attributes: attributes(one.scope.attributes, budget, 0)?,
        metrics: metrics.collect::<Result<_, _>>()?,
    })
}

fn metric(one: WireMetric, budget: &Budget) -> Result<Metric, PushError> {
    let data = if let Some(data) = one.gauge {
        Data::Gauge(points(data, budget, number)?.0)
    } else if let Some(data) = one.sum {
        let is_monotonic = data.is_monotonic;
        let (points, temporality) = points(data, budget, number)?;
        Data::Sum { points, temporality, is_monotonic }
    } else if let Some(data) = one.histogram {
        let (points, temporality) = points(data, budget, explicit)?;
        Data::Histogram(points, temporality)
    } else if let Some(data) = one.exponential_histogram {
        let (points, temporality) = points(data, budget, exponential)?;
        Data::Exponential(points, temporality)
    } else if let Some(data) = one.summary {
        Data::Summary(points(data, budget, summary)?.0)
    } else {
        Data::Nothing
    };
    Ok(Metric { name: one.name, description: one.description, unit: one.unit, data })
}

fn points<T>(
    data: WireData,
    budget: &Budget,
    value: impl Fn(&WirePoint) -> Result<T, PushError>,
) -> Result<(Vec<Point<T>>, Temporality), PushError> {
    let point = |one: WirePoint| {
        let items = one.bucket_counts.len()
            + one.explicit_bounds.len()
            + one.positive.bucket_counts.len()
            + one.negative.bucket_counts.len()
            + one.quantile_values.len()
            + one.exemplars.len();
        budget.take(1 + items)?;
        let value = value(&one)?;
        let exemplars = one.exemplars.into_iter().map(|one| exemplar(one, budget));
        Ok(Point {
            time_ns: whole(&one.time_unix_nano)?,
            start_ns: whole(&one.start_time_unix_nano)?,
            is_stale: whole(&one.flags)? & NO_RECORDED_VALUE != 0,
            exemplars: exemplars.collect::<Result<_, PushError>>()?,
            attributes: attributes(one.attributes, budget, 0)?,
            value,
        })
    };
    let temporality = match data.aggregation_temporality.as_str() {
        Some("AGGREGATION_TEMPORALITY_DELTA") => Temporality::Delta,
        Some("AGGREGATION_TEMPORALITY_CUMULATIVE") => Temporality::Cumulative,
        Some("AGGREGATION_TEMPORALITY_UNSPECIFIED") => Temporality::Unspecified,
        _ => Temporality::of(whole(&data.aggregation_temporality)?),
    };
    let points = data.data_points.into_iter().map(point);
    Ok((points.collect::<Result<_, PushError>>()?, temporality))
}

fn number(point: &WirePoint) -> Result<f64, PushError> {
    Ok(either(&point.as_double, &point.as_int)?.unwrap_or(0.0))
}

fn explicit(point: &WirePoint) -> Result<Explicit, PushError> {
    Ok(Explicit {
        count: whole(&point.count)?,
        sum: double(&point.sum)?,
        counts: wholes(&point.bucket_counts)?,
        bounds: point
            .explicit_bounds
            .iter()
            .map(|bound| Ok(double(bound)?.unwrap_or(0.0)))
            .collect::<Result<_, PushError>>()?,
    })
}

fn exponential(point: &WirePoint) -> Result<Exponential, PushError> {
    let buckets = |one: &JsonBuckets| {
        Ok::<_, PushError>(Buckets {
            offset: small(&one.offset)?,
            counts: wholes(&one.bucket_counts)?,
        })
    };
    Ok(Exponential {
        count: whole(&point.count)?,
        sum: double(&point.sum)?,
        scale: small(&point.scale)?,
        zero_count: whole(&point.zero_count)?,
        positive: buckets(&point.positive)?,
        negative: buckets(&point.negative)?,
    })
}

fn summary(point: &WirePoint) -> Result<Summary, PushError> {
    let pair = |one: &Quantile| {
        Ok((double(&one.quantile)?.unwrap_or(0.0), double(&one.value)?.unwrap_or(0.0)))
    };
    Ok(Summary {
        count: whole(&point.count)?,
        sum: double(&point.sum)?.unwrap_or(0.0),
        quantiles: point.quantile_values.iter().map(pair).collect::<Result<_, PushError>>()?,
    })
}

fn exemplar(one: JsonExemplar, budget: &Budget) -> Result<WireExemplar, PushError> {
    Ok(WireExemplar {
        time_ns: whole(&one.time_unix_nano)?,
        value: either(&one.as_double, &one.as_int)?,
        trace_id: id(one.trace_id),
        span_id: id(one.span_id),
        attributes: attributes(one.filtered_attributes, budget, 0)?,
    })
}

/// A value that is a double or an integer.
fn either(as_double: &Value, as_int: &Value) -> Result<Option<f64>, PushError> {
    let integer = match as_int {
        Value::Null => None,
        other => Some(signed(other)? as f64),
    };
    Ok(integer.or(double(as_double)?))
}

fn wrong(value: &Value, what: &str) -> PushError {
    PushError::Json(format!("{value} is not {what}"))
}

/// An integer of 64 bits without a sign: a number, or its text.
fn whole(value: &Value) -> Result<u64, PushError> {
    let number = match value {
        Value::Null => Some(0),
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    };
    number.ok_or_else(|| wrong(value, "a whole number"))
}

fn wholes(values: &[Value]) -> Result<Vec<u64>, PushError> {
    values.iter().map(whole).collect()
}

fn signed(value: &Value) -> Result<i64, PushError> {
    crate::otlp_logs::json::integer(value)
}

fn small(value: &Value) -> Result<i32, PushError> {
    i32::try_from(signed(value)?).map_err(|_| wrong(value, "an integer of 32 bits"))
}

/// A number, or the text of one: what JSON cannot say is written `"NaN"`, `"Infinity"`.
fn double(value: &Value) -> Result<Option<f64>, PushError> {
    let number = match value {
        Value::Null => return Ok(None),
        Value::String(text) => text.parse().ok(),
        other => other.as_f64(),
    };
    number.map(Some).ok_or_else(|| wrong(value, "a number"))
}
