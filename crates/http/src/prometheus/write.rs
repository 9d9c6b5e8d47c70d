//! `/api/v1/write`: remote write 1.0 and 2.0, snappy or zstd around them.
//!
//! 204 says that every sample is on stable storage. 400 says that some were refused, in Prometheus'
//! words, and that the others are stored: sending it again will not help. Only 5xx asks a sender to
//! try again, so it is kept for what passes: a full disk, a stop.
//! What the answers look like is fixed by the remote write specifications 1.0 and 2.0.

use crate::body::read_body;
use crate::error::ApiError;
use crate::metadata::Metadata;
use crate::state::State;
use axum::body::Body;
use axum::extract;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use std::cell::RefCell;
use vigie_codec::compression::{UnpackError, Unpacker, unpack_zstd};
use vigie_codec::remote_write::{Request, Version, decode};
use vigie_engine::{Durability, Engine, EngineError, SamplesReport};
use vigie_model::limits::{PUSH_BODY_BYTES_MAX, PUSH_DECODED_BYTES_MAX};
use vigie_model::{Exemplar, Pushed, PushedExemplar};

/// The media type of both protocols.
const PROTOBUF: &str = "application/x-protobuf";
const V1: &str = "prometheus.WriteRequest";
const V2: &str = "io.prometheus.write.v2.Request";

pub(super) type Refusal = (StatusCode, String);

thread_local! {
    /// Bodies are unpacked by a few threads, one after the other.
    static UNPACKER: RefCell<Unpacker> = RefCell::default();
}

/// The handler.
pub async fn write(
    extract::State(state): extract::State<State>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let version = match version(&text(&headers, CONTENT_TYPE)) {
        Ok(version) => version,
        Err(words) => return plain((StatusCode::UNSUPPORTED_MEDIA_TYPE, words)),
    };
    let encoding = text(&headers, CONTENT_ENCODING).to_ascii_lowercase();
    if !["", "snappy", "zstd"].contains(&encoding.as_str()) {
        let words = format!(
            "{encoding} encoding (compression) is not accepted by this server; only snappy and zstd are acceptable"
        );
        return plain((StatusCode::UNSUPPORTED_MEDIA_TYPE, words));
    }
    let body = match read_body(body, PUSH_BODY_BYTES_MAX).await {
        Ok(body) => body,
        Err(refusal) => return plain((refusal.status, refusal.message)),
    };
    let (engine, metadata) = (state.engine.clone(), state.metadata.clone());
    let done = state.run_push(move || match encoding.as_str() {
        "zstd" => {
            let body = unpack_zstd(&body, PUSH_DECODED_BYTES_MAX).map_err(packed)?;
            store(&*engine, &metadata, version, &body)
        }
        _ => UNPACKER.with_borrow_mut(|unpacker| {
            let body = unpacker.snappy(&body, PUSH_DECODED_BYTES_MAX).map_err(packed)?;
            store(&*engine, &metadata, version, body)
        }),
    });
    let (report, answer) = match done.await {
        Ok(Ok(report)) => {
            let answer = match &report.refusal {
                None => StatusCode::NO_CONTENT.into_response(),
                Some(words) => plain((StatusCode::BAD_REQUEST, words.clone())),
            };
            (report, answer)
        }
        Ok(Err(refusal)) => (SamplesReport::default(), plain(refusal)),
        Err(error) => {
            let refusal = (error.status(), error.message().to_owned());
            (SamplesReport::default(), plain(refusal))
        }
    };
    if version == Version::V2 { with_counts(answer, &report) } else { answer }
}

/// Which message a content type announces; without one it is 1.0, as Prometheus has it.
fn version(content_type: &str) -> Result<Version, String> {
    let content_type = content_type.trim();
    if content_type.is_empty() {
        return Ok(Version::V1);
    }
    let mut parts = content_type.split(';');
    if parts.next().map(str::trim) != Some(PROTOBUF) {
        return Err(format!(
            "expected {PROTOBUF} as the first (media) part, got {content_type} content-type"
        ));
    }
    for part in parts {
        match part.trim().split_once('=') {
            Some(("proto", V1)) => return Ok(Version::V1),
            Some(("proto", V2)) => return Ok(Version::V2),
            Some(("proto", other)) => {
                return Err(format!(
                    "got {content_type} content type; unknown type for remote write protobuf message {other}, supported: {V1}, {V2}"
                ));
            }
            Some(_) => {}
            None => {
                return Err(format!(
                    "as per https://www.rfc-editor.org/rfc/rfc9110#parameter expected parameters to be key-values, got {part} in {content_type} content-type"
                ));
            }
        }
    }
    Ok(Version::V1)
}

/// What to say of a body that could not be unpacked.
fn packed(error: UnpackError) -> Refusal {
    match error {
        UnpackError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
        error => (StatusCode::BAD_REQUEST, error.to_string()),
    }
}

/// Stores a body that is not packed any more. What can be stored is, whatever else is refused.
fn store(
    engine: &dyn Engine,
    metadata: &Metadata,
    version: Version,
    body: &[u8],
) -> Result<SamplesReport, Refusal> {
    let request = decode(version, body, engine.key_seed())
        .map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
    let labels = |series| request.labels(series).map_err(|error| error.to_string());
    let exemplars = exemplars(&request);
    let pushed = Pushed {
        keys: &request.keys,
        samples: &request.samples,
        histograms: &request.histograms,
        exemplars: &exemplars,
        starts: &request.starts,
        labels: &labels,
    };
    let report = engine.push_samples(&pushed, Durability::Synced).map_err(not_stored)?;
    learn(metadata, &request);
    Ok(report)
}

/// The exemplars whose labels can be read; Prometheus passes the others over too.
fn exemplars(request: &Request<'_>) -> Vec<PushedExemplar> {
    let read = |wire: &vigie_codec::remote_write::WireExemplar<'_>| {
        let labels = request.exemplar_labels(wire).ok()?;
        let exemplar = Exemplar { ts_ms: wire.ts_ms, value: wire.value, labels };
        Some(PushedExemplar { series: wire.series, exemplar })
    };
    request.exemplars.iter().filter_map(read).collect()
}

/// What to say to who pushed samples that were not stored; only what passes is to be sent again.
pub(super) fn not_stored(error: EngineError) -> Refusal {
    match error {
        EngineError::Refused(words) => (StatusCode::BAD_REQUEST, words),
        error => {
            let error = ApiError::from(error);
            let words = format!("not all of it is stored, send it again: {}", error.message());
            (error.status(), words)
        }
    }
}

/// Remembers what the sender says of its metrics.
fn learn(metadata: &Metadata, request: &Request<'_>) {
    for said in &request.metadata {
        let name = match said.series {
            Some(series) => family(request.metric_name(series as usize), said.kind),
            None => said.family,
        };
        if !name.is_empty() {
            metadata.learn(name, said.kind, said.help, said.unit);
        }
    }
}

/// The family to which a series of a histogram or summary belongs.
fn family<'a>(name: &'a str, kind: &str) -> &'a str {
    let suffixes: &[&str] = match kind {
        "histogram" | "gaugehistogram" => &["_bucket", "_sum", "_count"],
        "summary" => &["_sum", "_count"],
        _ => &[],
    };
    suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}

/// What 2.0 wants to know.
fn with_counts(mut answer: Response, report: &SamplesReport) -> Response {
    let counts = [
        ("samples", report.samples),
        ("histograms", report.histograms),
        ("exemplars", report.exemplars),
    ];
    for (name, count) in counts {
        let name = format!("x-prometheus-remote-write-{name}-written");
        if let Ok(name) = HeaderName::try_from(name) {
            answer.headers_mut().insert(name, count.into());
        }
    }
    answer
}

fn text(headers: &HeaderMap, name: HeaderName) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned()
}

fn plain((status, words): Refusal) -> Response {
    (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{words}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_says_which_message_it_is() {
        for (content_type, wanted) in [
            ("", Ok(Version::V1)),
            ("application/x-protobuf", Ok(Version::V1)),
            ("application/x-protobuf;proto=prometheus.WriteRequest", Ok(Version::V1)),
            ("application/x-protobuf; proto=io.prometheus.write.v2.Request", Ok(Version::V2)),
            (
                "application/x-protobuf;proto=x",
                Err("unknown type for remote write protobuf message x"),
            ),
            ("application/x-protobuf;x", Err("expected parameters to be key-values, got x in")),
            ("application/json", Err("expected application/x-protobuf as the first (media) part")),
        ] {
            match (version(content_type), wanted) {
                (Err(got), Err(wanted)) => assert!(got.contains(wanted), "{got}"),
                (got, wanted) => assert_eq!(got, wanted.map_err(str::to_owned), "{content_type}"),
            }
        }
    }
}
