//! gzip for the JSON and text of the APIs, at the fastest level: a phone on a train is slower than
//! any core. The UI's files come compressed already.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, VARY};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;

/// Below this a packet is a packet.
const PLAIN_BYTES_MAX: usize = 1400;

/// Compresses what gains from it.
pub async fn compress(request: Request, next: Next) -> Response {
    let accepted = request.headers().get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    let accepted = accepted.is_some_and(|names| {
        names.split(',').any(|one| one.trim().split(';').next() == Some("gzip"))
    });
    let response = next.run(request).await;
    let text = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let gains = text
        .is_some_and(|kind| kind.starts_with("application/json") || kind.starts_with("text/plain"));
    if !accepted || !gains || response.headers().contains_key(CONTENT_ENCODING) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // Handlers answer whole bodies that are in memory already.
    let Ok(plain) = to_bytes(body, usize::MAX).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    if plain.len() <= PLAIN_BYTES_MAX {
        return Response::from_parts(parts, Body::from(plain));
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
    let packed = encoder.write_all(&plain).and_then(|()| encoder.finish());
    let Ok(packed) = packed else { return Response::from_parts(parts, Body::from(plain)) };
    parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(packed))
}
