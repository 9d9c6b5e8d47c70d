//! Prometheus' HTTP API (`web/api/v1/api.go`), shapes and words its own.

pub mod admin;
pub mod alerting;
pub mod cardinality;
pub mod features;
pub mod federate;
pub mod listing;
pub mod notices;
mod otlp;
pub mod query;
mod read;
mod report;
pub mod search;
pub mod selfmetrics;
pub mod status;
pub mod syntax;
pub mod targets;
pub mod write;

use crate::json::Json;
use crate::params::Params;
use crate::state::State;
use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use vigie_model::Matcher;

/// Everything under `/api/v1`.
pub fn router() -> Router<State> {
    read_router()
        .merge(admin::router())
        .route("/write", post(write::write))
        .route("/otlp/v1/metrics", post(otlp::metrics))
}

/// The part that only reads.
pub fn read_router() -> Router<State> {
    Router::new()
        .route("/query", get(query::instant).post(query::instant))
        .route("/query_range", get(query::range).post(query::range))
        .route("/query_exemplars", get(query::exemplars).post(query::exemplars))
        .route("/format_query", get(syntax::format).post(syntax::format))
        .route("/parse_query", get(syntax::parse).post(syntax::parse))
        .route("/labels", get(listing::labels).post(listing::labels))
        .route("/label/{name}/values", get(listing::label_values))
        .route("/series", get(listing::series).post(listing::series))
        .route("/metadata", get(listing::metadata))
        .route("/read", get(read::read).post(read::read))
        .route("/targets", get(targets::targets))
        .route("/targets/metadata", get(targets::metadata))
        .route("/targets/relabel_steps", get(targets::relabel_steps))
        .route("/scrape_pools", get(targets::scrape_pools))
        .route("/scrape_pools/config", get(targets::scrape_pool_config))
        .route("/rules", get(alerting::rules))
        .route("/alerts", get(alerting::alerts))
        .route("/alertmanagers", get(status::alertmanagers))
        .route("/status/buildinfo", get(status::buildinfo))
        .route("/status/config", get(status::config))
        .route("/status/runtimeinfo", get(status::runtimeinfo))
        .route("/status/self_metrics", get(selfmetrics::self_metrics))
        .route("/status/tsdb", get(cardinality::tsdb))
        .route("/status/tsdb/blocks", get(admin::blocks))
        .route("/status/walreplay", get(status::walreplay))
        .route("/features", get(features::features))
        .route("/notifications", get(notices::list))
        .route("/notifications/live", get(notices::live))
        .route("/status/flags", get(status::flags))
        .merge(search::router())
        .fallback(any(not_found))
}

/// A successful answer: `{"status":"success","data":…}` with `data` written by the caller.
pub(crate) fn success(
    data: impl FnOnce(&mut Json),
    warnings: &[String],
    infos: &[String],
) -> Response {
    let mut json = Json::default();
    json.raw(r#"{"status":"success","data":"#);
    data(&mut json);
    for (name, texts) in [("warnings", warnings), ("infos", infos)] {
        if !texts.is_empty() {
            json.raw(",").text(name).raw(":").texts(texts.iter().map(String::as_str));
        }
    }
    json.raw("}");
    (StatusCode::OK, [(CONTENT_TYPE, "application/json")], json.into_bytes()).into_response()
}

/// What Prometheus' router answers to a path it does not know.
pub(crate) async fn not_found() -> Response {
    (StatusCode::NOT_FOUND, [(CONTENT_TYPE, "text/plain; charset=utf-8")], "404 page not found\n")
        .into_response()
}

/// Selectors of `match[]`; the error is Prometheus' text, which not every address puts more before.
pub(crate) fn selectors(params: &Params) -> Result<Vec<Vec<Matcher>>, String> {
    let selectors = params
        .all("match[]")
        .map(|text| vigie_promql::parse_selector(text).map_err(|error| error.to_string()));
    selectors.collect::<Result<Vec<_>, _>>().map_err(|text| {
        if text.ends_with(MATCHES_EVERYTHING) { MATCH_MATCHES_EVERYTHING.to_owned() } else { text }
    })
}

/// What the parser says of a selector that would select everything.
const MATCHES_EVERYTHING: &str = "vector selector must contain at least one non-empty matcher";
/// What the API says of it.
const MATCH_MATCHES_EVERYTHING: &str = "match[] must contain at least one non-empty matcher";
