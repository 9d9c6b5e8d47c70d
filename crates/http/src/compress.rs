//! gzip for the JSON and text of the APIs, at the fastest level: a phone on a train is slower than
//! any core. The UI's files come compressed already.

use crate::held::Charged;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;

/// Below this a packet is a packet.
const PLAIN_BYTES_MAX: usize = 1400;

/// From here on it is done where it does not keep others waiting.
const LARGE_BYTES: usize = 256 * 1024;

/// Whether the client takes an encoding (`gzip`, `br`).
pub(crate) fn accepts(headers: &HeaderMap, encoding: &str) -> bool {
    let names = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or("");
    names.split(',').any(|one| {
        let (name, quality) = one.split_once(';').unwrap_or((one, ""));
        let quality = quality.trim().strip_prefix("q=").and_then(|q| q.trim().parse::<f32>().ok());
        name.trim().eq_ignore_ascii_case(encoding) && quality != Some(0.0)
    })
}

/// Compresses what gains from it.
pub async fn compress(request: Request, next: Next) -> Response {
    let accepted = accepts(request.headers(), "gzip");
    let mut response = next.run(request).await;
    match response.extensions_mut().remove::<Charged>() {
        Some(charged) => charged.hold(pack(response, accepted).await),
        None => pack(response, accepted).await,
    }
}

async fn pack(mut response: Response, accepted: bool) -> Response {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let gains = kind
        .is_some_and(|kind| kind.starts_with("application/json") || kind.starts_with("text/plain"));
    if !gains || response.headers().contains_key(CONTENT_ENCODING) {
        return response;
    }
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept-encoding"));
    if !accepted {
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
    let packed = if plain.len() < LARGE_BYTES {
        Some(gzip(&plain))
    } else {
        let plain = plain.clone();
        tokio::task::spawn_blocking(move || gzip(&plain)).await.ok()
    };
    let Some(Ok(packed)) = packed else { return Response::from_parts(parts, Body::from(plain)) };
    parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(packed))
}

fn gzip(plain: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
    encoder.write_all(plain)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoding_that_is_refused_is_not_accepted() {
        for (header, accepted) in [
            ("gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("br, gzip; q=1.0", true),
            ("gzip;q=0", false),
            ("br", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, header.parse().unwrap());
            assert_eq!(accepts(&headers, "gzip"), accepted, "{header}");
        }
    }
}
