//! The web UI: its files, their encodings, and the paths at which the one page is served.
//!
//! `VIGIE_UI_DIR` serves the files from a folder instead, for work on the UI.

use crate::compress::accepts;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    VARY,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

include!(concat!(env!("OUT_DIR"), "/ui.rs"));

/// One file, in the three encodings that browsers ask for.
pub(crate) struct UiFile {
    pub(crate) path: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) etag: &'static str,
    pub(crate) immutable: bool,
    pub(crate) plain: &'static [u8],
    pub(crate) brotli: &'static [u8],
    pub(crate) gzip: &'static [u8],
}

/// Nothing from elsewhere, no inline script; uPlot and we set styles through the CSSOM.
const POLICY: &str = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'";

/// The page.
pub async fn index(headers: HeaderMap) -> Response {
    serve("index.html", &headers)
}

/// A file under `/assets/`.
pub async fn asset(
    axum::extract::Path(name): axum::extract::Path<String>,
    headers: HeaderMap,
) -> Response {
    serve(&format!("assets/{name}"), &headers)
}

fn serve(path: &str, headers: &HeaderMap) -> Response {
    if let Some(directory) = std::env::var_os("VIGIE_UI_DIR") {
        return from_directory(std::path::Path::new(&directory), path);
    }
    let Some(file) = FILES.iter().find(|file| file.path == path) else {
        return if FILES.is_empty() { without_ui() } else { not_found() };
    };
    let etag = format!("\"{}\"", file.etag);
    let cache = if file.immutable { "public, max-age=31536000, immutable" } else { "no-cache" };
    if knows(headers, &etag) {
        return (StatusCode::NOT_MODIFIED, [(ETAG, etag.as_str()), (CACHE_CONTROL, cache)])
            .into_response();
    }
    let common = [
        (CONTENT_TYPE, file.content_type),
        (ETAG, etag.as_str()),
        (CACHE_CONTROL, cache),
        (VARY, "accept-encoding"),
        (CONTENT_SECURITY_POLICY, POLICY),
    ];
    if accepts(headers, "br") {
        (common, [(CONTENT_ENCODING, "br")], file.brotli).into_response()
    } else if accepts(headers, "gzip") {
        (common, [(CONTENT_ENCODING, "gzip")], file.gzip).into_response()
    } else {
        (common, file.plain).into_response()
    }
}

/// Whether the client has this version already; proxies that compress weaken the tag.
fn knows(headers: &HeaderMap, etag: &str) -> bool {
    let known = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or("");
    known.split(',').any(|one| one.trim().trim_start_matches("W/") == etag)
}

fn from_directory(directory: &std::path::Path, path: &str) -> Response {
    let types = [
        ("html", "text/html; charset=utf-8"),
        ("js", "text/javascript; charset=utf-8"),
        ("css", "text/css; charset=utf-8"),
        ("svg", "image/svg+xml"),
    ];
    let extension = path.rsplit('.').next().unwrap_or("");
    let content_type =
        types.iter().find(|(e, _)| *e == extension).map_or("text/plain; charset=utf-8", |(_, t)| t);
    let inside = !path.split('/').any(|part| part == ".." || part.is_empty());
    match inside.then(|| std::fs::read(directory.join(path))) {
        Some(Ok(bytes)) => (
            [
                (CONTENT_TYPE, content_type),
                (CACHE_CONTROL, "no-store"),
                (CONTENT_SECURITY_POLICY, POLICY),
            ],
            bytes,
        )
            .into_response(),
        _ => not_found(),
    }
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "404 page not found\n").into_response()
}

fn without_ui() -> Response {
    (
        StatusCode::NOT_FOUND,
        "this Vigie was built without its web UI (feature `ui`); the APIs are served\n",
    )
        .into_response()
}
