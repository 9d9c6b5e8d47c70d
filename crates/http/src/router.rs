//! Which address is answered by whom: one router for the main listener, one for each classic port.
//!
//! An unknown path is 404 with the original's body; the page of the web UI is served only at the
//! UI's own addresses, so that a client that looks for an API never gets HTML with a 200.

use crate::guard::{Hosts, guard};
use crate::prometheus::status;
use crate::state::State;
use crate::{alertmanager, documents, loki, own, prometheus, ui};
use axum::Router;
use axum::extract;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

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

/// What Prometheus' `/-/healthy` says; people's checks look for it.
pub(crate) const HEALTHY: &str = "Prometheus Server is Healthy.\n";

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
        .merge(lines())
        .route("/federate", get(prometheus::federate::federate))
        .route("/-/quit", lifecycle(post(status::quit).put(status::quit)))
        .route("/-/reload", lifecycle(post(status::reload).put(status::reload)))
        .route("/version", get(status::version));
    finish(health(router, HEALTHY, "Prometheus Server is Ready.\n"), state)
}

/// Port 3001, where Grafana was: the UI and what it reads.
pub fn grafana(state: State) -> Router {
    let router = pages(Router::new())
        .nest("/api/v1", prometheus::read_router())
        .nest("/loki/api/v1", loki::read_router())
        .nest("/prometheus/api/v1", loki::ruler_router())
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
        .merge(lines())
        .route("/metrics", get(own_metrics));
    finish(router, state)
}

/// The doors for lines that are not under `/loki/api/v1`, and what is asked of Loki beside them.
fn lines() -> Router<State> {
    Router::new()
        .nest("/prometheus/api/v1", loki::ruler_router())
        .nest("/elasticsearch", documents::elasticsearch())
        .route("/elasticsearch/", get(documents::version))
        .route("/insert/jsonline", post(documents::json_lines))
        .route("/otlp/v1/logs", post(loki::push::otlp))
        .route("/api/prom/push", post(loki::push::push))
        .nest("/api/prom/rules", loki::rules_router())
        .route("/services", get(loki::about::services))
        .route("/config", get(loki::about::config))
        .route("/ready", get(loki_ready))
}

/// Port 9093, where Alertmanager was.
pub fn alertmanager(state: State) -> Router {
    let router = Router::new()
        .nest("/api/v2", alertmanager::router())
        .route("/-/reload", post(alertmanager::reload));
    finish(health(router, "OK", "OK"), state)
}

/// A text that somebody else writes anew for each request: an exporter's page.
pub type Page = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = String> + Send>> + Send + Sync>;

/// Ports 9100 and 9187, where the exporters were.
pub fn exporter(page: Page, name: &'static str, hosts: Hosts) -> Router {
    let index = format!(
        "<html><head><title>{name}</title></head><body><h1>{name}</h1><a href=\"/metrics\">Metrics</a></body></html>"
    );
    let metrics = move || async move { ([(CONTENT_TYPE, EXPOSITION)], page().await) };
    let router = Router::new()
        .route(
            "/",
            get(move || async move { ([(CONTENT_TYPE, "text/html; charset=utf-8")], index) }),
        )
        .route("/metrics", get(metrics));
    wrap(router, hosts)
}

/// The content type of Prometheus' text format.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

fn pages(mut router: Router<State>) -> Router<State> {
    for page in PAGES {
        router = router.route(page, get(ui::index));
    }
    router.route("/assets/{name}", get(ui::asset))
}

/// What ends or changes the program takes POST and PUT only.
fn lifecycle(methods: MethodRouter<State>) -> MethodRouter<State> {
    methods.get(status::only_post_or_put)
}

fn health(router: Router<State>, healthy: &'static str, ready: &'static str) -> Router<State> {
    router
        .route("/-/healthy", get(move || async move { healthy }))
        .route("/-/ready", get(move || async move { ready }))
        .route("/metrics", get(own_metrics))
}

fn finish(router: Router<State>, state: State) -> Router {
    let hosts = state.hosts.clone();
    wrap(router.with_state(state), hosts)
}

/// What every listener has in common.
fn wrap(router: Router, hosts: Hosts) -> Router {
    router
        .fallback(prometheus::not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn(crate::compress::compress))
        .layer(middleware::from_fn(move |request: extract::Request, next: Next| {
            guard(hosts.clone(), request, next)
        }))
}

/// 405 in Prometheus' words. A browser that asks whether it may send a request from another site
/// gets no permission, and no error either.
async fn method_not_allowed(method: Method) -> Response {
    if method == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response();
    }
    let plain = [(CONTENT_TYPE, "text/plain; charset=utf-8")];
    (StatusCode::METHOD_NOT_ALLOWED, plain, "Method Not Allowed\n").into_response()
}

/// Loki's `/ready`.
async fn loki_ready() -> &'static str {
    "ready\n"
}

async fn own_metrics(extract::State(state): extract::State<State>) -> Response {
    // Counting reads the ledger, which may be in the middle of a transaction.
    match tokio::task::spawn_blocking(move || (state.own_metrics)()).await {
        Ok(page) => ([(CONTENT_TYPE, EXPOSITION)], page).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
