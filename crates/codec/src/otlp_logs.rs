//! OpenTelemetry's logs (`ExportLogsServiceRequest` of opentelemetry-proto 1.x, protobuf or JSON) as
//! Loki stores them (`pkg/loghttp/push/otlp.go`).
//!
//! * Eighteen attributes of a resource become labels of the stream ([`LABELS`]); the other ones, those of
//!   the scope and of the record, and the record's own fields become structured metadata: names with
//!   `_` for what a label may not hold, lists of pairs flattened.
//! * The body is the line; a body that is no text is written as JSON.
//! * The instant is the record's, else when it was observed, else when it arrived.
//!
//! ```text
//! Request      { 1: repeated ResourceLogs { 1: Resource { 1: attributes }, 2: repeated ScopeLogs } }
//! ScopeLogs    { 1: Scope { 1: name, 2: version, 3: attributes, 4: dropped }, 2: repeated LogRecord }
//! LogRecord    { 1: time (fixed64), 2: severity number, 3: severity text, 5: body, 6: attributes,
//!                7: dropped, 8: flags (fixed32), 9: trace id, 10: span id, 11: observed (fixed64) }
//! ```
//! A value inside values is followed [`DEPTH_MAX`] deep.

pub(crate) mod json;
pub(crate) mod proto;
pub(crate) mod value;

use crate::loki_push::{Budget, PushError, PushRequest, PushStream, ServiceName, finish};
use crate::proto::put_bytes;
use std::collections::HashMap;
use value::{Any, Attributes, flatten};
use vigie_model::{Labels, LogEntry};

/// The resource attributes that become labels (Loki's `default_resource_attributes_as_index_labels`).
pub const LABELS: [&str; 18] = [
    "service.name",
    "service.namespace",
    "service.instance.id",
    "deployment.environment",
    "deployment.environment.name",
    "cloud.region",
    "cloud.availability_zone",
    "k8s.cluster.name",
    "k8s.namespace.name",
    "k8s.pod.name",
    "k8s.container.name",
    "container.name",
    "k8s.replicaset.name",
    "k8s.deployment.name",
    "k8s.statefulset.name",
    "k8s.daemonset.name",
    "k8s.cronjob.name",
    "k8s.job.name",
];

/// How deep values may stand in each other.
pub const DEPTH_MAX: usize = 32;

/// One record, whichever form it came in.
#[derive(Default)]
struct Record {
    time_ns: u64,
    observed_ns: u64,
    severity_number: i64,
    severity_text: String,
    body: Option<Any>,
    attributes: Attributes,
    dropped: u64,
    flags: u32,
    trace_id: String,
    span_id: String,
}

#[derive(Default)]
struct Scope {
    name: String,
    version: String,
    attributes: Attributes,
    dropped: u64,
    records: Vec<Record>,
}

#[derive(Default)]
struct Resource {
    attributes: Attributes,
    scopes: Vec<Scope>,
}

/// Decodes a body that is not compressed any more. `now_ns` is the instant of records without one.
///
/// # Errors
/// A content type that is neither `application/json` nor `application/x-protobuf`, a broken body, or
/// a limit of [`crate::loki_push`]; nothing of the body counts then.
pub fn decode(content_type: &str, body: &[u8], now_ns: i64) -> Result<PushRequest, PushError> {
    let budget = Budget::new();
    let resources = match content_type.split(';').next().unwrap_or("").trim() {
        "application/x-protobuf" => proto::decode(body, &budget)?,
        "application/json" => json::decode(body, &budget)?,
        _ => {
            let text = format!("content type: {content_type} is not supported");
            return Err(PushError::Limit(text));
        }
    };
    let mut streams: Vec<PushStream> = Vec::new();
    let mut places: HashMap<Labels, usize> = HashMap::new();
    for resource in resources {
        let (labels, shared) = split(&resource.attributes);
        let at = *places.entry(labels.clone()).or_insert_with(|| {
            streams.push(PushStream { labels, entries: Vec::new() });
            streams.len() - 1
        });
        for scope in resource.scopes {
            let mut shared = shared.clone();
            of_scope(&scope, &mut shared);
            let entries = scope.records.into_iter().map(|record| entry(record, &shared, now_ns));
            streams[at].entries.extend(entries);
        }
    }
    if streams.iter().all(|stream| stream.entries.is_empty()) {
        // An exporter that has nothing to say is not at fault.
        return Ok(PushRequest::default());
    }
    finish(PushRequest { streams }, ServiceName::Discover)
}

/// An error as OpenTelemetry's exporters read it: a `google.rpc.Status` with nothing but a message.
pub fn encode_status(message: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 4);
    put_bytes(&mut out, 2, message.as_bytes());
    out
}

/// The stream's labels, and what becomes metadata of every line.
fn split(attributes: &Attributes) -> (Labels, Vec<(String, String)>) {
    let (mut labels, mut rest) = (Vec::new(), Vec::new());
    for (name, value) in attributes {
        let out = if LABELS.contains(&name.as_str()) { &mut labels } else { &mut rest };
        flatten(name, value, out);
    }
    (Labels::from_pairs(labels), rest)
}

fn of_scope(scope: &Scope, out: &mut Vec<(String, String)>) {
    for (name, value) in &scope.attributes {
        flatten(name, value, out);
    }
    let dropped = if scope.dropped == 0 { String::new() } else { scope.dropped.to_string() };
    let own = [
        ("scope_name", &scope.name),
        ("scope_version", &scope.version),
        ("scope_dropped_attributes_count", &dropped),
    ];
    let said = own.into_iter().filter(|(_, value)| !value.is_empty());
    out.extend(said.map(|(name, value)| (name.to_owned(), value.clone())));
}

fn entry(record: Record, shared: &[(String, String)], now_ns: i64) -> LogEntry {
    let mut metadata = Vec::with_capacity(record.attributes.len() + shared.len() + 4);
    for (name, value) in &record.attributes {
        flatten(name, value, &mut metadata);
    }
    let number = |number: u64| if number == 0 { String::new() } else { number.to_string() };
    let severity = record.severity_number;
    let own = [
        ("dropped_attributes_count", number(record.dropped)),
        ("observed_timestamp", number(record.observed_ns)),
        ("severity_number", if severity == 0 { String::new() } else { severity.to_string() }),
        ("severity_text", record.severity_text),
        ("flags", number(u64::from(record.flags))),
        ("trace_id", record.trace_id),
        ("span_id", record.span_id),
    ];
    let own = own.into_iter().filter(|(_, value)| !value.is_empty());
    metadata.extend(own.map(|(name, value)| (name.to_owned(), value)));
    metadata.extend(shared.iter().cloned());
    let instant = [record.time_ns, record.observed_ns].into_iter().find(|ns| *ns != 0);
    LogEntry {
        ts_ns: instant.map_or(now_ns, |ns| i64::try_from(ns).unwrap_or(i64::MAX)),
        line: record.body.map_or_else(Vec::new, Any::into_line),
        metadata: Labels::from_pairs_with_empty(metadata),
    }
}

#[cfg(test)]
mod tests;
