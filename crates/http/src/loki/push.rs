//! `push`: JSON and snappy protobuf, gzip or deflate around it.

use crate::body::read_body;
use crate::error::ApiError;
use crate::state::State;
use axum::body::Body;
use axum::extract;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use flate2::read::{DeflateDecoder, MultiGzDecoder};
use std::borrow::Cow;
use std::io::Read;
use vigie_codec::loki_push::{self, ServiceName};
use vigie_engine::{Durability, EngineError, PushBatch};
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

type Refusal = (StatusCode, String);

async fn store(state: &State, headers: &HeaderMap, body: Body) -> Result<(), Refusal> {
    let text =
        |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
    let (encoding, content_type) = (text(CONTENT_ENCODING), text(CONTENT_TYPE));
    let body = read_body(body, PUSH_BODY_BYTES_MAX)
        .await
        .map_err(|refusal| (refusal.status, refusal.message))?;
    let engine = state.engine.clone();
    let done = state.run_push(move || {
        let body = unpack(&encoding, &body, PUSH_DECODED_BYTES_MAX)?;
        let request =
            loki_push::decode(&content_type, &body, ServiceName::Discover).map_err(|error| {
                let status =
                    StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
                (status, error.to_string())
            })?;
        let batches: Vec<PushBatch<'_>> = request
            .streams
            .iter()
            .map(|one| PushBatch { labels: &one.labels, entries: &one.entries })
            .collect();
        let report = engine.push(&batches, Durability::Synced).map_err(|error| match error {
            EngineError::Refused(message) => (StatusCode::BAD_REQUEST, message),
            error => {
                let error = ApiError::from(error);
                (
                    error.status(),
                    format!("the lines are not stored, send them again: {}", error.message()),
                )
            }
        })?;
        report.refusal.map_or(Ok(()), |words| Err((StatusCode::BAD_REQUEST, words)))
    });
    done.await.map_err(|error| (error.status(), error.message().to_owned()))?
}

/// The body without its transport encoding, if it has at most `bytes_max` bytes then.
fn unpack<'a>(encoding: &str, body: &'a [u8], bytes_max: usize) -> Result<Cow<'a, [u8]>, Refusal> {
    let reader: Box<dyn Read + '_> = match encoding {
        // Snappy is a part of the protobuf form, whatever the header says.
        "" | "snappy" | "identity" => return Ok(Cow::Borrowed(body)),
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
        for (encoding, body) in
            [("", &text), ("snappy", &text), ("gzip", &gzip), ("deflate", &deflate)]
        {
            let whole = unpack(encoding, body, text.len()).map_err(|refusal| refusal.1);
            assert_eq!(whole.as_deref(), Ok(text.as_slice()), "{encoding}");
        }
        for (encoding, body, status) in [
            ("gzip", gzip.as_slice(), 413),
            ("deflate", &deflate, 413),
            ("gzip", &gzip[..12], 400),
            ("gzip", b"x", 400),
            ("br", &text, 400),
        ] {
            let refused = unpack(encoding, body, text.len() - 1).unwrap_err().0.as_u16();
            assert_eq!(refused, status, "{encoding}");
        }
    }
}
