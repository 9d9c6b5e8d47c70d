//! Which address is answered by whom: one router for the main listener, one for each classic port.
//!
//! An unknown path is 404 with the original's body; the page of the web UI is served only at the
//! UI's own addresses, so that a client that looks for an API never gets HTML with a 200.

use crate::state::State;
use crate::{alertmanager, loki, own, prometheus, ui};
use axum::Router;
use axum::extract;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The addresses of the UI's pages.
const PAGES: [&str; 13] = [
    "/",
    "/explore",
    "/graph",
    "/dashboards",
    "/d/{uid}",
    "/d/{uid}/{slug}",
    "/alerts",
    "/alerts/{*rest}",
    "/runbooks",
    "/runbooks/{slug}",
    "/system",
    "/system/{*rest}",
    "/help",
];

/// The main listener: everything.
pub fn main(state: State) -> Router {
    let router = pages(Router::new())
        .nest("/api/v1", prometheus::router())
        .nest("/loki/api/v1", loki::router())
        .nest("/api/v2", alertmanager::router())
        .nest("/alertmanager/api/v2", alertmanager::router())
        .nest("/api/vigie/v1", own::router())
        .route("/api/search", get(own::search))
        .route("/api/dashboards/uid/{uid}", get(own::dashboard))
        .route("/api/prom/push", axum::routing::post(loki::push::push))
        .route("/ready", get(loki_ready))
        .route("/version", get(version));
    finish(health(router), state)
}

/// Port 3001, where Grafana was: the UI and what it reads.
pub fn grafana(state: State) -> Router {
    let router = pages(Router::new())
        .nest("/api/v1", prometheus::router())
        .nest("/loki/api/v1", loki::read_router())
        .nest("/api/v2", alertmanager::router())
        .nest("/api/vigie/v1", own::router())
        .route("/api/search", get(own::search))
        .route("/api/dashboards/uid/{uid}", get(own::dashboard))
        .route(
            "/api/health",
            get(|| async { ([(CONTENT_TYPE, "application/json")], r#"{"database":"ok"}"#) }),
        );
    finish(router, state)
}

/// Port 3100, where Loki was.
pub fn loki(state: State) -> Router {
    let router = Router::new()
        .nest("/loki/api/v1", loki::router())
        .route("/api/prom/push", axum::routing::post(loki::push::push))
        .route("/ready", get(loki_ready))
        .route("/metrics", get(own_metrics));
    finish(router, state)
}

/// Port 9093, where Alertmanager was.
pub fn alertmanager(state: State) -> Router {
    finish(health(Router::new().nest("/api/v2", alertmanager::router())), state)
}

/// A text that somebody else writes anew for each request: an exporter's page.
pub type Page = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = String> + Send>> + Send + Sync>;

/// Ports 9100 and 9187, where the exporters were.
pub fn exporter(page: Page, name: &'static str) -> Router {
    let index = format!(
        "<html><head><title>{name}</title></head><body><h1>{name}</h1><a href=\"/metrics\">Metrics</a></body></html>"
    );
    let metrics = move || async move { ([(CONTENT_TYPE, EXPOSITION)], page().await) };
    Router::new()
        .route(
            "/",
            get(move || async move { ([(CONTENT_TYPE, "text/html; charset=utf-8")], index) }),
        )
        .route("/metrics", get(metrics))
        .fallback(prometheus::not_found)
}

/// The content type of Prometheus' text format.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

fn pages(mut router: Router<State>) -> Router<State> {
    for page in PAGES {
        router = router.route(page, get(ui::index));
    }
    router.route("/assets/{name}", get(ui::asset))
}

fn health(router: Router<State>) -> Router<State> {
    router
        .route("/-/healthy", get(|| async { "Vigie is Healthy.\n" }))
        .route("/-/ready", get(ready))
        .route("/metrics", get(own_metrics))
}

fn finish(router: Router<State>, state: State) -> Router {
    router
        .fallback(prometheus::not_found)
        .layer(middleware::from_fn(crate::compress::compress))
        .layer(middleware::from_fn(guard))
        .with_state(state)
}

/// Refuses writes that a page of another site sends through a visitor's browser, and adds the
/// headers that keep an answer from being taken for something else.
async fn guard(
    method: Method,
    headers: HeaderMap,
    request: extract::Request,
    next: Next,
) -> Response {
    if method != Method::GET && method != Method::HEAD && from_another_site(&headers) {
        return (StatusCode::FORBIDDEN, "this request comes from a page of another site\n")
            .into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert("x-content-type-options", axum::http::HeaderValue::from_static("nosniff"));
    headers.insert("referrer-policy", axum::http::HeaderValue::from_static("same-origin"));
    response
}

fn from_another_site(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match (text("origin"), text("host")) {
        (Some("null"), _) => true,
        (Some(origin), Some(host)) => origin.split_once("://").is_none_or(|(_, site)| site != host),
        _ => false,
    }
}

async fn ready(extract::State(state): extract::State<State>) -> Response {
    if state.ready.load(Ordering::Relaxed) {
        return "Vigie is Ready.\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable").into_response()
}

async fn loki_ready(extract::State(state): extract::State<State>) -> Response {
    if state.ready.load(Ordering::Relaxed) {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, "Ingester not ready\n").into_response()
}

async fn version() -> Response {
    let body = format!(r#"{{"version":"{}"}}"#, env!("CARGO_PKG_VERSION"));
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

async fn own_metrics(extract::State(state): extract::State<State>) -> Response {
    // Counting reads the ledger, which may be in the middle of a transaction.
    match tokio::task::spawn_blocking(move || (state.own_metrics)()).await {
        Ok(page) => ([(CONTENT_TYPE, EXPOSITION)], page).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_site_may_write_from_a_browser() {
        for (origin, refused) in [
            (None, false),
            (Some("http://127.0.0.1:9090"), false),
            (Some("http://evil.example"), true),
            (Some("http://127.0.0.1:80"), true),
            (Some("null"), true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("host", "127.0.0.1:9090".parse().unwrap());
            if let Some(origin) = origin {
                headers.insert("origin", origin.parse().unwrap());
            }
            assert_eq!(from_another_site(&headers), refused, "{origin:?}");
        }
    }
}
