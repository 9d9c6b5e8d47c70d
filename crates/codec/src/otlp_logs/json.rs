//! The JSON form: protobuf's mapping, with ids in hexadecimal and 64-bit integers as texts or
//! numbers. Names are taken in both spellings, as OpenTelemetry's own library takes them.

use super::value::{Any, Attributes};
use super::{DEPTH_MAX, Record, Resource, Scope};
use crate::loki_push::{Budget, PushError};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Request {
    #[serde(alias = "resource_logs")]
    resource_logs: Vec<ResourceLogs>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct ResourceLogs {
    resource: Attributed,
    #[serde(alias = "scope_logs")]
    scope_logs: Vec<ScopeLogs>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Attributed {
    attributes: Vec<Pair>,
    name: String,
    version: String,
    #[serde(alias = "dropped_attributes_count")]
    dropped_attributes_count: Value,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct ScopeLogs {
    scope: Attributed,
    #[serde(alias = "log_records")]
    log_records: Vec<LogRecord>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct LogRecord {
    #[serde(alias = "time_unix_nano")]
    time_unix_nano: Value,
    #[serde(alias = "observed_time_unix_nano")]
    observed_time_unix_nano: Value,
    #[serde(alias = "severity_number")]
    severity_number: Value,
    #[serde(alias = "severity_text")]
    severity_text: String,
    body: Option<Value>,
    attributes: Vec<Pair>,
    #[serde(alias = "dropped_attributes_count")]
    dropped_attributes_count: Value,
    flags: Value,
    #[serde(alias = "trace_id")]
    trace_id: String,
    #[serde(alias = "span_id")]
    span_id: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Pair {
    key: String,
    value: Value,
}

pub(super) fn decode(body: &[u8], budget: &Budget) -> Result<Vec<Resource>, PushError> {
    let request: Request = serde_json::from_slice(body)
        .map_err(|error| PushError::Json(format!("ReadObject: {error}")))?;
    request.resource_logs.into_iter().map(|one| resource(one, budget)).collect()
}

fn resource(logs: ResourceLogs, budget: &Budget) -> Result<Resource, PushError> {
    let scopes = logs.scope_logs.into_iter().map(|one| scope(one, budget));
    Ok(Resource {
        attributes: attributes(logs.resource.attributes, budget, 0)?,
        scopes: scopes.collect::<Result<_, _>>()?,
    })
}

fn scope(logs: ScopeLogs, budget: &Budget) -> Result<Scope, PushError> {
    let records = logs.log_records.into_iter().map(|one| record(one, budget));
    Ok(Scope {
        name: logs.scope.name,
        version: logs.scope.version,
        attributes: attributes(logs.scope.attributes, budget, 0)?,
        dropped: integer(&logs.scope.dropped_attributes_count)?.unsigned_abs(),
        records: records.collect::<Result<_, _>>()?,
    })
}

fn record(log: LogRecord, budget: &Budget) -> Result<Record, PushError> {
    budget.take(1)?;
    Ok(Record {
        time_ns: integer(&log.time_unix_nano)?.unsigned_abs(),
        observed_ns: integer(&log.observed_time_unix_nano)?.unsigned_abs(),
        severity_number: severity(&log.severity_number)?,
        severity_text: log.severity_text,
        body: log.body.map(|body| any(body, budget, 0)).transpose()?,
        attributes: attributes(log.attributes, budget, 0)?,
        dropped: integer(&log.dropped_attributes_count)?.unsigned_abs(),
        flags: integer(&log.flags)? as u32,
        trace_id: id(log.trace_id),
        span_id: id(log.span_id),
    })
}

/// An id in small letters; one of zeros is none.
pub(crate) fn id(text: String) -> String {
    if text.bytes().all(|byte| byte == b'0') { String::new() } else { text.to_lowercase() }
}

pub(crate) fn attributes(
    pairs: Vec<Pair>,
    budget: &Budget,
    depth: usize,
) -> Result<Attributes, PushError> {
    let pair = |pair: Pair| Ok((pair.key, any(pair.value, budget, depth)?));
    pairs.into_iter().map(pair).collect()
}

/// A 64-bit integer: a number, or its text.
pub(crate) fn integer(value: &Value) -> Result<i64, PushError> {
    let number = match value {
        Value::Null => Some(0),
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.as_i64(),
        _ => None,
    };
    number.ok_or_else(|| PushError::Json(format!("{value} is not an integer")))
}

/// A severity: a number, or the name of one, `SEVERITY_NUMBER_ERROR2`.
fn severity(value: &Value) -> Result<i64, PushError> {
    let Some(name) = value.as_str().and_then(|text| text.strip_prefix("SEVERITY_NUMBER_")) else {
        return integer(value);
    };
    let levels = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
    let level = levels.iter().position(|level| name.starts_with(level));
    Ok(level.map_or(0, |at| {
        let step: i64 = name[levels[at].len()..].parse().unwrap_or(1);
        at as i64 * 4 + step.clamp(1, 4)
    }))
}

fn any(value: Value, budget: &Budget, depth: usize) -> Result<Any, PushError> {
    budget.take(1)?;
    if depth > DEPTH_MAX {
        return Err(PushError::Limit(format!("a value is nested deeper than {DEPTH_MAX}")));
    }
    let Value::Object(object) = value else { return Ok(Any::Empty) };
    let Some((kind, value)) = object.into_iter().next() else { return Ok(Any::Empty) };
    let wrong = |value: &Value| PushError::Json(format!("{value} is not a {kind}"));
    Ok(match kind.as_str() {
        "stringValue" | "string_value" => match value {
            Value::String(text) => Any::Text(text),
            other => return Err(wrong(&other)),
        },
        "boolValue" | "bool_value" => Any::Bool(value.as_bool().ok_or_else(|| wrong(&value))?),
        "intValue" | "int_value" => Any::Int(integer(&value)?),
        "doubleValue" | "double_value" => {
            let number = value.as_f64().or_else(|| value.as_str()?.parse().ok());
            Any::Double(number.ok_or_else(|| wrong(&value))?)
        }
        // Base64 already, which is what becomes of bytes.
        "bytesValue" | "bytes_value" => Any::Text(value.as_str().unwrap_or("").to_owned()),
        "arrayValue" | "array_value" => {
            let list = inner(value).into_iter().map(|one| any(one, budget, depth + 1));
            Any::List(list.collect::<Result<_, _>>()?)
        }
        "kvlistValue" | "kvlist_value" => {
            let pairs = serde_json::from_value(Value::Array(inner(value)))
                .map_err(|error| PushError::Json(error.to_string()))?;
            Any::Map(attributes(pairs, budget, depth + 1)?)
        }
        _ => Any::Empty,
    })
}

/// `{"values":[…]}`.
fn inner(value: Value) -> Vec<Value> {
    match value {
        Value::Object(mut object) => match object.get_mut("values").map(Value::take) {
            Some(Value::Array(list)) => list,
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}
