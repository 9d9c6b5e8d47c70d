//! `push`: JSON and snappy protobuf, and OpenTelemetry's logs; gzip, deflate or zstd around them.

use crate::body::read_body;
use crate::error::ApiError;
use crate::state::{State, now_ns};
use axum::body::Body;
use axum::extract;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use flate2::read::{DeflateDecoder, MultiGzDecoder};
use std::borrow::Cow;
use std::io::Read;
use vigie_codec::compression::unpack_zstd;
use vigie_codec::loki_push::{self, PushError, PushRequest, ServiceName};
use vigie_codec::otlp_logs;
use vigie_engine::{Durability, Engine, EngineError, PushBatch};
use vigie_model::limits::{PUSH_BODY_BYTES_MAX, PUSH_DECODED_BYTES_MAX};

/// `/loki/api/v1/push`: 204 once every line is on stable storage.
pub async fn push(
    extract::State(state): extract::State<State>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match store(&state, &headers, body).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err((status, message)) => {
            (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{message}\n"))
                .into_response()
        }
    }
}

/// `/otlp/v1/logs`: the same lines, as OpenTelemetry's exporters send them. Errors are a
/// `google.rpc.Status`, as its specification wants them.
pub async fn otlp(
    extract::State(state): extract::State<State>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let kind = header(&headers, CONTENT_TYPE.as_str()).to_owned();
    let now_ns = now_ns();
    let decode = move |body: &[u8]| otlp_logs::decode(&kind, body, now_ns).map_err(refused);
    match receive(&state, &headers, body, decode).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err((status, message)) => {
            // Exporters give up at 500 and try again at 503.
            let status = match status {
                StatusCode::INTERNAL_SERVER_ERROR => StatusCode::SERVICE_UNAVAILABLE,
                status => status,
            };
            let body = otlp_logs::encode_status(&message);
            (status, [(CONTENT_TYPE, "application/octet-stream")], body).into_response()
        }
    }
}

pub(crate) type Refusal = (StatusCode, String);

async fn store(state: &State, headers: &HeaderMap, body: Body) -> Result<(), Refusal> {
    let kind = header(headers, CONTENT_TYPE.as_str()).to_owned();
    let decode =
        move |body: &[u8]| loki_push::decode(&kind, body, ServiceName::Discover).map_err(refused);
    receive(state, headers, body, decode).await
}

/// A header's text; empty when there is none.
pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
}

pub(crate) fn refused(error: PushError) -> Refusal {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
    (status, error.to_string())
}

/// Reads a body, undoes its encoding, decodes it and stores its lines; `Ok` once every line is on
/// stable storage.
async fn receive(
    state: &State,
    headers: &HeaderMap,
    body: Body,
    decode: impl FnOnce(&[u8]) -> Result<PushRequest, Refusal> + Send + 'static,
) -> Result<(), Refusal> {
    take(state, headers, body, move |body, keep| keep(decode(body)?)).await
}

/// The same for a decoder that stores by itself, with the function that it is given, and answers.
pub(crate) async fn take<T: Send + 'static>(
    state: &State,
    headers: &HeaderMap,
    body: Body,
    work: impl FnOnce(&[u8], &dyn Fn(PushRequest) -> Result<(), Refusal>) -> Result<T, Refusal>
    + Send
    + 'static,
) -> Result<T, Refusal> {
    let encoding = header(headers, CONTENT_ENCODING.as_str()).to_owned();
    let body = read_body(body, PUSH_BODY_BYTES_MAX)
        .await
        .map_err(|refusal| (refusal.status, refusal.message))?;
    let engine = state.engine.clone();
    let done = state.run_push(move || {
        let body = unpack(&encoding, &body, PUSH_DECODED_BYTES_MAX)?;
        work(&body, &|request| keep(&*engine, &request))
    });
    done.await.map_err(|error| (error.status(), error.message().to_owned()))?
}

fn keep(engine: &dyn Engine, request: &PushRequest) -> Result<(), Refusal> {
    let batches: Vec<PushBatch<'_>> = request
        .streams
        .iter()
        .map(|one| PushBatch { labels: &one.labels, entries: &one.entries })
        .collect();
    if batches.is_empty() {
        return Ok(());
    }
    let report = engine.push(&batches, Durability::Synced).map_err(|error| match error {
        EngineError::Refused(message) => (StatusCode::BAD_REQUEST, message),
        error => {
            let error = ApiError::from(error);
            let words = "the lines are not stored, send them again";
            (error.status(), format!("{words}: {}", error.message()))
        }
    })?;
    report.refusal.map_or(Ok(()), |words| Err((StatusCode::BAD_REQUEST, words)))
}

/// The body without its transport encoding, if it has at most `bytes_max` bytes then.
fn unpack<'a>(encoding: &str, body: &'a [u8], bytes_max: usize) -> Result<Cow<'a, [u8]>, Refusal> {
    let reader: Box<dyn Read + '_> = match encoding {
        // Snappy is a part of the protobuf form, whatever the header says.
        "" | "snappy" | "identity" => return Ok(Cow::Borrowed(body)),
        "zstd" => {
            let unpacked = unpack_zstd(body, bytes_max);
            return unpacked.map(Cow::Owned).map_err(|error| refused(error.into()));
        }
        "gzip" => Box::new(MultiGzDecoder::new(body)),
        "deflate" => Box::new(DeflateDecoder::new(body)),
        other => {
            return Err((
                StatusCode::BAD_REQUEST,
                format!("Content-Encoding {other:?} not supported"),
            ));
        }
    };
    let mut out = Vec::new();
    reader
        .take(bytes_max as u64 + 1)
        .read_to_end(&mut out)
        .map_err(|error| (StatusCode::BAD_REQUEST, format!("{encoding}: {error}")))?;
    if out.len() > bytes_max {
        return Err((
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("request body too large: limit: {bytes_max} bytes"),
        ));
    }
    Ok(Cow::Owned(out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder};
    use std::io::Write;

    #[test]
    fn a_body_is_unpacked_up_to_its_limit() {
        let text = b"0123456789".repeat(100);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&text).unwrap();
        let gzip = gzip.finish().unwrap();
        let mut deflate = DeflateEncoder::new(Vec::new(), Compression::fast());
        deflate.write_all(&text).unwrap();
        let deflate = deflate.finish().unwrap();
        let zstd = zstd::encode_all(text.as_slice(), 1).unwrap();
        for (encoding, body) in [
            ("", &text),
            ("snappy", &text),
            ("gzip", &gzip),
            ("deflate", &deflate),
            ("zstd", &zstd),
        ] {
            let whole = unpack(encoding, body, text.len()).map_err(|refusal| refusal.1);
            assert_eq!(whole.as_deref(), Ok(text.as_slice()), "{encoding}");
        }
        for (encoding, body, status) in [
            ("gzip", gzip.as_slice(), 413),
            ("deflate", &deflate, 413),
            ("zstd", &zstd, 413),
            ("zstd", b"x", 400),
            ("gzip", &gzip[..12], 400),
            ("gzip", b"x", 400),
            ("br", &text, 400),
        ] {
            let refused = unpack(encoding, body, text.len() - 1).unwrap_err().0.as_u16();
            assert_eq!(refused, status, "{encoding}");
        }
    }
}
