//! Vigie's own API, `/api/vigie/v1`, and the part of Grafana's that lists and shows dashboards.

use crate::error::ApiError;
use crate::json::Json;
use crate::params::Params;
use crate::queries;
use crate::runbooks::{self, Runbook};
use crate::state::{State, blocking, rfc3339};
use axum::Router;
use axum::extract::{self, Path};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, delete, get, post};
use vigie_dashboards::summary;

/// Most rows of the notification log in one answer.
const NOTIFICATIONS_MAX: usize = 500;

/// How many when none are asked for.
const NOTIFICATIONS_DEFAULT: usize = 100;

/// Everything under `/api/vigie/v1`.
pub fn router() -> Router<State> {
    Router::new()
        .route("/status", get(status))
        .route("/runbooks", get(list_runbooks))
        .route("/runbooks/{slug}", get(runbook))
        .route("/notifications", get(notifications))
        .route("/queries", get(queries::list))
        .route("/queries/{id}", delete(queries::kill))
        .route("/queries/{id}/kill", post(queries::kill))
        .fallback(any(unknown))
}

/// `/api/vigie/v1/status`: the program, its stores and its targets.
async fn status(extract::State(state): extract::State<State>) -> Response {
    let (stats, targets) = (state.engine.stats(), state.targets.list());
    let up = targets.iter().filter(|target| target.health == "up").count();
    let down = targets.iter().filter(|target| target.health == "down").count();
    let mut json = Json::default();
    json.raw(r#"{"version":"#).text(env!("CARGO_PKG_VERSION"));
    json.raw(&format!(
        r#","started_at_ms":{},"ready":true,"demo":{}"#,
        state.started_at_ms, state.demo
    ));
    json.raw(&format!(
        r#","storage":{{"metrics_bytes":{},"logs_bytes":{},"series":{},"streams":{},"samples_appended":{},"lines_appended":{},"free_bytes":{}"#,
        stats.metrics_bytes, stats.logs_bytes, stats.series, stats.streams, stats.samples_appended, stats.lines_appended, (state.free_bytes)()
    ));
    json.raw(r#","retention_metrics":"#).text(&state.retention_text);
    json.raw(r#","retention_logs":"#).text(&state.logs_retention_text);
    json.raw(&format!(r#"}},"targets":{{"up":{up},"down":{down}}},"collectors":"#));
    json.list(&targets, |json, target| {
        json.raw(r#"{"job":"#).text(target.labels.value_or_empty("job"));
        json.raw(r#","instance":"#).text(target.labels.value_or_empty("instance"));
        json.raw(&format!(r#","up":{},"last_error":"#, target.health == "up"))
            .text(&target.last_error)
            .raw("}");
    });
    json.raw("}");
    answer(json)
}

/// `/api/vigie/v1/runbooks?lang=`.
async fn list_runbooks(params: Params) -> Response {
    let mut json = Json::default();
    json.list(runbooks::list(language(&params)), |json, runbook| {
        write_head(json, &runbook);
        json.raw("}");
    });
    answer(json)
}

/// `/api/vigie/v1/runbooks/{slug}?lang=`.
async fn runbook(Path(slug): Path<String>, params: Params) -> Result<Response, ApiError> {
    let runbook = runbooks::find(&slug, language(&params)).ok_or_else(|| {
        ApiError::not_found(format!(
            "there is no runbook {slug:?}: /api/vigie/v1/runbooks lists them"
        ))
    })?;
    let mut json = Json::default();
    write_head(&mut json, &runbook);
    json.raw(r#","html":"#).text(&runbook.html()).raw("}");
    Ok(answer(json))
}

fn write_head(json: &mut Json, runbook: &Runbook) {
    json.raw(r#"{"slug":"#).text(&runbook.slug).raw(r#","title":"#).text(&runbook.title);
    json.raw(r#","alert":"#).text(&runbook.alert).raw(r#","severity":"#).text(&runbook.severity);
    json.raw(r#","lang":"#).text(runbook.language);
}

fn language(params: &Params) -> &'static str {
    if params.get("lang") == Some("fr") { "fr" } else { "en" }
}

/// `/api/vigie/v1/notifications?limit=`: the newest rows of the outbox.
async fn notifications(
    extract::State(state): extract::State<State>,
    params: Params,
) -> Result<Response, ApiError> {
    let limit = match params.limit()? {
        0 => NOTIFICATIONS_DEFAULT,
        limit => limit.min(NOTIFICATIONS_MAX),
    };
    let alerts = state.alerts.clone();
    let rows = blocking(move || alerts.notifications(limit)).await?.map_err(ApiError::internal)?;
    let mut json = Json::default();
    let time = |json: &mut Json, name: &str, at_ms: Option<i64>| {
        json.raw(",").text(name).raw(":");
        match at_ms {
            Some(at_ms) => json.text(&rfc3339(at_ms)),
            None => json.raw("null"),
        };
    };
    json.list(&rows, |json, row| {
        json.raw(&format!(r#"{{"id":{},"attempts":{}"#, row.id, row.attempts));
        for (name, text) in [
            ("alertname", &row.alertname),
            ("status", &row.status),
            ("receiver", &row.receiver),
            ("integration", &row.integration),
            ("state", &row.state),
            ("last_error", &row.last_error),
        ] {
            json.raw(",").text(name).raw(":").text(text);
        }
        time(json, "created_at", Some(row.created_at_ms));
        time(json, "next_at", row.next_at_ms);
        time(json, "sent_at", row.sent_at_ms);
        json.raw("}");
    });
    Ok(answer(json))
}

/// Grafana's `/api/search`, with `query`, `tag` (all of them), `type` and `limit`.
pub async fn search(
    extract::State(state): extract::State<State>,
    params: Params,
) -> Result<Response, ApiError> {
    let wanted = params.get("query").unwrap_or("").to_lowercase();
    let limit = match params.limit()? {
        0 => usize::MAX,
        limit => limit,
    };
    // There are no folders.
    let only_folders = params.get("type") == Some("dash-folder");
    let all = state.dashboards.iter().enumerate().filter(|_| !only_folders);
    let found = all
        .filter(|(_, one)| titles(one).any(|title| title.to_lowercase().contains(&wanted)))
        .filter(|(_, one)| params.all("tag").all(|tag| one.tags.iter().any(|own| own == tag)))
        .take(limit);
    let mut json = Json::default();
    json.list(found, |json, (at, one)| {
        let french = title_fr(one);
        let one = summary(one);
        json.raw(&format!(r#"{{"id":{},"uid":"#, at + 1)).text(&one.uid);
        json.raw(r#","title":"#).text(&one.title);
        if let Some(title) = french {
            json.raw(r#","title_fr":"#).text(title);
        }
        json.raw(r#","uri":"#).text(&format!("db/{}", one.slug));
        json.raw(r#","url":"#).text(&one.url);
        json.raw(r#","slug":"","type":"dash-db","isStarred":false,"tags":"#)
            .texts(one.tags.iter().map(String::as_str))
            .raw("}");
    });
    Ok(answer(json))
}

/// The French title, which Grafana's JSON does not know.
fn title_fr(dashboard: &vigie_dashboards::Dashboard) -> Option<&str> {
    dashboard.rest.get("title_fr").and_then(serde_json::Value::as_str)
}

fn titles(dashboard: &vigie_dashboards::Dashboard) -> impl Iterator<Item = &str> {
    std::iter::once(dashboard.title.as_str()).chain(title_fr(dashboard))
}

/// Grafana's `/api/dashboards/uid/{uid}`.
pub async fn dashboard(
    extract::State(state): extract::State<State>,
    Path(uid): Path<String>,
) -> Response {
    let Some(one) = state.dashboards.iter().find(|one| one.uid == uid) else {
        let body = r#"{"message":"Dashboard not found","status":"not-found"}"#;
        return (axum::http::StatusCode::NOT_FOUND, [(CONTENT_TYPE, "application/json")], body)
            .into_response();
    };
    let Ok(model) = serde_json::to_string(one) else {
        return ApiError::internal("the dashboard cannot be written as JSON").into_response();
    };
    let summary = summary(one);
    let mut json = Json::default();
    json.raw(r#"{"meta":{"type":"db","canSave":false,"canEdit":false,"slug":"#).text(&summary.slug);
    json.raw(r#","url":"#).text(&summary.url).raw(r#"},"dashboard":"#).raw(&model).raw("}");
    answer(json)
}

async fn unknown() -> ApiError {
    ApiError::not_found("there is nothing at this address of Vigie's API")
}

fn answer(json: Json) -> Response {
    ([(CONTENT_TYPE, "application/json")], json.into_bytes()).into_response()
}
