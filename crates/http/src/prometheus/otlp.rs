//! `/api/v1/otlp/v1/metrics`: OpenTelemetry's metrics, protobuf or JSON, gzip or zstd around them.
//!
//! 200 says that every sample is on stable storage. Status codes and words are upstream's
//! (`storage/remote/write_otlp_handler.go`): what cannot be translated is 500 and nothing of the
//! request is stored; what the store refuses is 400, and here the rest of the request is stored.

use crate::body::read_body;
use crate::metadata::Metadata;
use crate::prometheus::write::{Refusal, not_stored};
use crate::state::State;
use axum::body::Body;
use axum::extract;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use flate2::read::MultiGzDecoder;
use std::borrow::Cow;
use std::io::Read;
use vigie_codec::compression::unpack_zstd;
use vigie_codec::otlp_metrics::{OtlpError, Settings, decode};
use vigie_engine::{Durability, Engine};
use vigie_model::Pushed;
use vigie_model::limits::{PUSH_BODY_BYTES_MAX, PUSH_DECODED_BYTES_MAX};

/// Upstream's words without the flag.
const OFF: &str = "otlp write receiver needs to be enabled with --web.enable-otlp-receiver";

/// The handler.
pub async fn metrics(
    extract::State(state): extract::State<State>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if !state.settings.otlp {
        return plain((StatusCode::NOT_FOUND, OFF.to_owned()));
    }
    let (kind, encoding) = (text(&headers, CONTENT_TYPE), text(&headers, CONTENT_ENCODING));
    let body = match read_body(body, PUSH_BODY_BYTES_MAX).await {
        Ok(body) => body,
        Err(refusal) => return plain((refusal.status, refusal.message)),
    };
    let (engine, metadata) = (state.engine.clone(), state.metadata.clone());
    let loaded = state.loading.now();
    let done = state.run_push(move || {
        let body = unpack(&encoding, &body)?;
        store(&*engine, &metadata, &loaded.otlp, (&kind, &body))
    });
    match done.await {
        Ok(Ok(())) => StatusCode::OK.into_response(),
        Ok(Err(refusal)) => plain(refusal),
        Err(error) => plain((error.status(), error.message().to_owned())),
    }
}

fn unpack<'a>(encoding: &str, body: &'a [u8]) -> Result<Cow<'a, [u8]>, Refusal> {
    let bad = |words: String| (StatusCode::BAD_REQUEST, words);
    match encoding {
        "" | "identity" => Ok(Cow::Borrowed(body)),
        "gzip" => {
            let mut out = Vec::new();
            let mut reader = MultiGzDecoder::new(body).take(PUSH_DECODED_BYTES_MAX as u64 + 1);
            reader.read_to_end(&mut out).map_err(|error| bad(format!("gzip: {error}")))?;
            if out.len() > PUSH_DECODED_BYTES_MAX {
                let words =
                    format!("request body too large: limit: {PUSH_DECODED_BYTES_MAX} bytes");
                return Err((StatusCode::PAYLOAD_TOO_LARGE, words));
            }
            Ok(Cow::Owned(out))
        }
        // Upstream does not take it; OpenTelemetry's collector can send it.
        "zstd" => {
            let unpacked = unpack_zstd(body, PUSH_DECODED_BYTES_MAX);
            unpacked.map(Cow::Owned).map_err(|error| bad(error.to_string()))
        }
        other => Err(bad(format!(
            "unsupported compression: {other}. Only \"gzip\" or no compression supported"
        ))),
    }
}

/// Stores a body that is not packed any more. What can be stored is, whatever else is refused.
fn store(
    engine: &dyn Engine,
    metadata: &Metadata,
    settings: &Settings,
    (kind, body): (&str, &[u8]),
) -> Result<(), Refusal> {
    let translated = decode(kind, body, settings).map_err(|error| match error {
        OtlpError::Untranslatable(words) => (StatusCode::INTERNAL_SERVER_ERROR, words),
        error => (StatusCode::BAD_REQUEST, error.to_string()),
    })?;
    let labels = |series: usize| Ok(translated.series[series].clone());
    let keys = translated.keys(engine.key_seed());
    let pushed = Pushed {
        keys: &keys,
        samples: &translated.samples,
        histograms: &translated.histograms,
        exemplars: &translated.exemplars,
        starts: &translated.starts,
        labels: &labels,
    };
    let report = engine.push_samples(&pushed, Durability::Synced).map_err(not_stored)?;
    for said in &translated.described {
        metadata.learn(&said.name, said.kind, &said.help, &said.unit);
    }
    report.refusal.map_or(Ok(()), |words| Err((StatusCode::BAD_REQUEST, words)))
}

fn text(headers: &HeaderMap, name: HeaderName) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned()
}

fn plain((status, words): Refusal) -> Response {
    (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{words}\n")).into_response()
}
