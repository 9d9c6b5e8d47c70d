//! Doors for JSON documents: Elasticsearch's bulk API under `/elasticsearch/`, as Filebeat, Vector,
//! Fluent Bit and Logstash speak it, and `/insert/jsonline`, a document to a line, with
//! VictoriaLogs' parameters.
//!
//! A document is the line, byte for byte, so that `| json` finds everything in it. Parameters (or
//! headers, as VictoriaLogs takes them: `VL-Stream-Fields` …) say otherwise:
//! * `_stream_fields=a,b.c`: these members are labels of the stream;
//! * `_time_field=a,b`: the first of these that holds an instant counts; by default `@timestamp`,
//!   `_time`, `timestamp`, `time`, `ts`;
//! * `_msg_field=a,b`: the first of these that is a text is the line, and the other members are
//!   structured metadata;
//! * `extra_fields=a=b,c=d`: labels of every line.
//!
//! What Elasticsearch's clients ask before they send (version, licence, templates, life cycles) is
//! answered so that they go on. A document that cannot be taken is refused alone, with its reason.

use crate::json::Json;
use crate::loki::push::{Refusal, header, refused, take};
use crate::params::Params;
use crate::prometheus::not_found;
use crate::state::{State, now_ns};
use axum::Router;
use axum::body::Body;
use axum::extract::{self, Path};
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use vigie_codec::documents::{Action, Documents, decode_bulk, decode_lines};

/// The version that clients find: one that every Beat of these years talks to.
const ELASTIC_VERSION: &str = "8.17.0";
/// The index of documents that name none.
const INDEX: &str = "logs";
/// Members that hold an instant, unless others are named.
const TIME_FIELDS: [&str; 5] = ["@timestamp", "_time", "timestamp", "time", "ts"];

/// Everything under `/elasticsearch`.
pub fn elasticsearch() -> Router<State> {
    Router::new()
        .route("/", get(version))
        .route("/_bulk", post(bulk).put(bulk))
        .route("/{index}/_bulk", post(bulk_into).put(bulk_into))
        .route("/_license", get(license))
        .route("/_xpack", get(license))
        .route("/_cluster/health", get(health))
        // What a client wants to set up once, and is there as far as it can see.
        .route("/_ilm/policy/{*rest}", any(acknowledged))
        .route("/_index_template/{*rest}", any(acknowledged))
        .route("/_component_template/{*rest}", any(acknowledged))
        .route("/_template/{*rest}", any(acknowledged))
        .route("/_data_stream/{*rest}", any(acknowledged))
        .route("/_ingest/{*rest}", any(acknowledged))
        .route("/_alias/{*rest}", any(acknowledged))
        .route("/_nodes/{*rest}", any(acknowledged))
        .fallback(any(not_found))
}

/// `/insert/jsonline`.
pub async fn json_lines(
    extract::State(state): extract::State<State>,
    headers: HeaderMap,
    uri: Uri,
    body: Body,
) -> Response {
    let how = how(&uri, &headers);
    let done = take(&state, &headers, body, move |body, keep| {
        keep(decode_lines(body, &how).map_err(refused)?)
    });
    match done.await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err((status, message)) => {
            (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{message}\n"))
                .into_response()
        }
    }
}

async fn bulk(state: extract::State<State>, headers: HeaderMap, uri: Uri, body: Body) -> Response {
    bulk_into(state, Path(INDEX.to_owned()), headers, uri, body).await
}

async fn bulk_into(
    extract::State(state): extract::State<State>,
    Path(index): Path<String>,
    headers: HeaderMap,
    uri: Uri,
    body: Body,
) -> Response {
    let how = how(&uri, &headers);
    let done = take(&state, &headers, body, move |body, keep| {
        let bulk = decode_bulk(body, &index, &how).map_err(refused)?;
        bulk.request.map_or(Ok(()), keep)?;
        Ok(bulk.actions)
    });
    match done.await {
        Ok(actions) => elastic(StatusCode::OK, taken(&actions)),
        Err(refusal) => failed(refusal),
    }
}

/// How this request wants its documents read.
fn how(uri: &Uri, headers: &HeaderMap) -> Documents {
    let params = Params::parse(uri.query().unwrap_or(""));
    let list = |name: &str, heading: &str| -> Vec<String> {
        let text = params.get(name).unwrap_or_else(|| header(headers, heading));
        text.split(',').map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned).collect()
    };
    let mut time_fields = list("_time_field", "vl-time-field");
    if time_fields.is_empty() {
        time_fields = TIME_FIELDS.map(str::to_owned).into();
    }
    let extra = list("extra_fields", "vl-extra-fields");
    let pair = |text: &String| text.split_once('=').map(|(a, b)| (a.to_owned(), b.to_owned()));
    Documents {
        stream_fields: list("_stream_fields", "vl-stream-fields"),
        time_fields,
        message_fields: list("_msg_field", "vl-msg-field"),
        labels: extra.iter().filter_map(pair).collect(),
        now_ns: now_ns(),
    }
}

/// What became of each action.
fn taken(actions: &[Action]) -> Vec<u8> {
    let has_errors = actions.iter().any(|one| one.refusal.is_some());
    let mut json = Json::default();
    json.raw(&format!(r#"{{"took":0,"errors":{has_errors},"items":"#));
    json.list(actions, |json, one| {
        json.raw("{").text(&one.verb).raw(r#":{"_index":"#).text(&one.index);
        match &one.refusal {
            None => json.raw(r#","status":201}}"#),
            Some(why) => json
                .raw(r#","status":400,"error":{"type":"illegal_argument_exception","reason":"#)
                .text(why)
                .raw("}}}"),
        };
    });
    json.raw("}");
    json.into_bytes()
}

fn failed((status, message): Refusal) -> Response {
    let mut json = Json::default();
    json.raw(r#"{"error":{"type":"illegal_argument_exception","reason":"#).text(&message);
    json.raw(&format!(r#"}},"status":{}}}"#, status.as_u16()));
    elastic(status, json.into_bytes())
}

/// An answer that Elasticsearch's clients know as one.
fn elastic(status: StatusCode, body: impl Into<Body>) -> Response {
    let product = HeaderName::from_static("x-elastic-product");
    (status, [(CONTENT_TYPE, "application/json"), (product, "Elasticsearch")], body.into())
        .into_response()
}

/// `/elasticsearch/`: who this is.
pub async fn version() -> Response {
    let body = format!(
        r#"{{"name":"vigie","cluster_name":"vigie","cluster_uuid":"vigie","version":{{"number":"{ELASTIC_VERSION}","build_flavor":"default","build_type":"tar","build_hash":"vigie-{}","build_date":"2025-01-01T00:00:00Z","build_snapshot":false,"lucene_version":"9.12.0","minimum_wire_compatibility_version":"7.17.0","minimum_index_compatibility_version":"7.0.0"}},"tagline":"You Know, for Search"}}"#,
        env!("CARGO_PKG_VERSION")
    );
    elastic(StatusCode::OK, body)
}

async fn license() -> Response {
    let body = r#"{"license":{"status":"active","uid":"vigie","type":"basic","mode":"basic","issue_date_in_millis":0,"start_date_in_millis":-1},"features":{}}"#;
    elastic(StatusCode::OK, body)
}

async fn health() -> Response {
    let body = r#"{"cluster_name":"vigie","status":"green","timed_out":false,"number_of_nodes":1,"number_of_data_nodes":1,"active_primary_shards":1,"active_shards":1}"#;
    elastic(StatusCode::OK, body)
}

async fn acknowledged() -> Response {
    elastic(StatusCode::OK, r#"{"acknowledged":true}"#)
}
