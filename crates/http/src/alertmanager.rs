//! Alertmanager's API v2: what is active. There are no silences yet, and no alerts from outside;
//! who tries to add some is refused with 400, whose text Alertmanager's tools show.

use crate::error::ApiError;
use crate::json::Json;
use crate::params::Params;
use crate::state::{State, rfc3339};
use crate::views::ActiveView;
use axum::Router;
use axum::extract::{self, OriginalUri};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};

/// Everything under `/api/v2`.
pub fn router() -> Router<State> {
    Router::new()
        .route("/status", get(status))
        .route("/alerts", get(alerts).post(no_alerts_from_outside))
        .route("/receivers", get(receivers))
        .route("/silences", get(silences).post(no_new_silences))
        .fallback(any(not_found))
}

/// `POST /-/reload`, which Alertmanager serves without a flag. A page of another site cannot send it
/// (see `guard`).
pub(crate) async fn reload(extract::State(state): extract::State<State>) -> Response {
    crate::prometheus::status::read_anew(state).await
}

/// `/api/v2/alerts`, with `filter` (matchers, repeatable), `receiver`, and Alertmanager's four switches.
async fn alerts(
    extract::State(state): extract::State<State>,
    params: Params,
) -> Result<Response, V2Error> {
    let mut matchers = Vec::new();
    for filter in params.all("filter") {
        if filter.trim().is_empty() {
            return Err(V2Error::bad(format!("bad matcher format: {filter}")));
        }
        matchers.extend(vigie_config::parse_matchers(filter).map_err(V2Error::bad)?);
    }
    let receiver = match params.get("receiver") {
        Some(pattern) => Some(
            vigie_model::Matcher::new("receiver", vigie_model::MatchOp::Regex, pattern).map_err(
                |error| V2Error::bad(format!("failed to parse receiver param: {error}")),
            )?,
        ),
        None => None,
    };
    let mut active = state.alerts.active();
    if params.get("active").is_some_and(|text| !is_true(text)) {
        active.clear();
    }
    active.retain(|alert| {
        matchers.iter().all(|matcher| matcher.matches_labels(&alert.labels))
            && receiver
                .as_ref()
                .is_none_or(|wanted| alert.receivers.iter().any(|name| wanted.matches(name)))
    });
    let mut json = Json::default();
    json.list(&active, write);
    Ok(answer(json))
}

/// What Alertmanager's parameters take for yes.
fn is_true(text: &str) -> bool {
    ["true", "1", "yes", "ok", "y", "on", "selected", "checked", "t", "enabled"]
        .contains(&text.to_lowercase().as_str())
}

fn write(json: &mut Json, alert: &ActiveView) {
    json.raw(r#"{"annotations":"#).labels(&alert.annotations);
    json.raw(r#","endsAt":"#).text(&rfc3339(alert.ends_at_ms));
    json.raw(r#","fingerprint":"#).text(&alert.fingerprint);
    json.raw(r#","receivers":"#).list(&alert.receivers, |json, name| {
        json.raw(r#"{"name":"#).text(name).raw("}");
    });
    json.raw(r#","startsAt":"#).text(&rfc3339(alert.starts_at_ms));
    json.raw(r#","status":{"inhibitedBy":[],"mutedBy":[],"silencedBy":[],"state":"active"},"updatedAt":"#);
    json.text(&rfc3339(alert.updated_at_ms));
    json.raw(r#","generatorURL":"#).text(&alert.generator_url);
    json.raw(r#","labels":"#).labels(&alert.labels).raw("}");
}

/// `/api/v2/status`.
async fn status(extract::State(state): extract::State<State>) -> Response {
    let mut json = Json::default();
    json.raw(r#"{"cluster":{"status":"disabled","peers":[]},"config":{"original":""},"uptime":"#);
    json.text(&rfc3339(state.started_at_ms));
    json.raw(r#","versionInfo":{"branch":"main","buildDate":"","buildUser":"vigie","goVersion":"","revision":"#);
    json.text(concat!("vigie-", env!("CARGO_PKG_VERSION")))
        .raw(r#","version":"#)
        .text(crate::ALERTMANAGER_VERSION)
        .raw("}}");
    answer(json)
}

/// `/api/v2/receivers`.
async fn receivers(extract::State(state): extract::State<State>) -> Response {
    let names = state.alerts.receivers();
    let mut json = Json::default();
    json.list(&names, |json, name| {
        json.raw(r#"{"name":"#).text(name).raw("}");
    });
    answer(json)
}

/// `/api/v2/silences`: none, until they are built.
async fn silences(params: Params) -> Result<Response, V2Error> {
    for filter in params.all("filter") {
        vigie_config::parse_matchers(filter).map_err(V2Error::bad)?;
    }
    let mut json = Json::default();
    json.raw("[]");
    Ok(answer(json))
}

async fn no_new_silences() -> V2Error {
    V2Error::bad("silences are not built yet in this version of Vigie")
}

async fn no_alerts_from_outside() -> V2Error {
    V2Error::bad(
        "alerts from another Prometheus are not accepted yet: let Vigie evaluate the rules (rule_files)",
    )
}

async fn not_found(OriginalUri(uri): OriginalUri) -> Response {
    let mut json = Json::default();
    json.raw(r#"{"code":404,"message":"#)
        .text(&format!("path {} was not found", uri.path()))
        .raw("}");
    (StatusCode::NOT_FOUND, [(CONTENT_TYPE, "application/json")], json.into_bytes()).into_response()
}

fn answer(json: Json) -> Response {
    ([(CONTENT_TYPE, "application/json")], json.into_bytes()).into_response()
}

/// Alertmanager's errors: the text as a JSON string.
struct V2Error(StatusCode, String);

impl V2Error {
    fn bad(message: impl Into<String>) -> V2Error {
        V2Error(StatusCode::BAD_REQUEST, message.into())
    }
}

impl From<ApiError> for V2Error {
    fn from(error: ApiError) -> V2Error {
        V2Error(error.status(), error.message().to_owned())
    }
}

impl IntoResponse for V2Error {
    fn into_response(self) -> Response {
        let mut json = Json::default();
        json.text(&self.1);
        (self.0, [(CONTENT_TYPE, "application/json")], json.into_bytes()).into_response()
    }
}
