//! `status/*`: the build, the process, what it was told, and how far its start is.

use super::success;
use crate::json::Json;
use crate::loading::LastReading;
use crate::state::{State, now_ms, rfc3339};
use axum::extract;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

/// Go's memory limit when there is none.
const GO_MEMORY_LIMIT_NONE: i64 = i64::MAX;

/// `/api/v1/status/buildinfo`. It must have no `features`: Grafana would take us for Mimir.
pub async fn buildinfo() -> Response {
    success(write_build, &[], &[])
}

/// `/version`: the same without an envelope, and Vigie's own version beside it.
pub async fn version() -> Response {
    let mut json = Json::default();
    write_build(&mut json);
    json.raw("\n");
    ([(CONTENT_TYPE, "application/json")], json.into_bytes()).into_response()
}

fn write_build(json: &mut Json) {
    json.raw(r#"{"version":"#).text(crate::PROMETHEUS_VERSION);
    json.raw(r#","revision":"#).text(concat!("vigie-", env!("CARGO_PKG_VERSION")));
    json.raw(r#","branch":"main","buildUser":"vigie","buildDate":"","goVersion":""}"#);
}

/// `/api/v1/status/runtimeinfo`.
pub async fn runtimeinfo(extract::State(state): extract::State<State>) -> Response {
    let stats = state.engine.stats();
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    success(
        |json| {
            json.raw(r#"{"startTime":"#).text(&rfc3339(state.started_at_ms));
            json.raw(r#","CWD":"#).text(&state.settings.directory);
            json.raw(r#","hostname":"#).text(&state.settings.host_name);
            json.raw(r#","serverTime":"#).text(&rfc3339(now_ms()));
            let LastReading { is_successful, succeeded_at_ms } = state.loading.last_reading();
            json.raw(&format!(r#","reloadConfigSuccess":{is_successful},"lastConfigTime":"#));
            json.text(&rfc3339(succeeded_at_ms));
            json.raw(&format!(
                r#","corruptionCount":{},"goroutineCount":{tasks},"GOMAXPROCS":{cores},"GOMEMLIMIT":{GO_MEMORY_LIMIT_NONE},"GOGC":"","GODEBUG":"","timeSeriesCount":{},"storageRetention":"#,
                stats.metrics_damaged, stats.series
            ));
            json.text(&state.retention_text).raw("}");
        },
        &[],
        &[],
    )
}

/// `/api/v1/status/flags`: every flag with the value it has.
pub async fn flags(extract::State(state): extract::State<State>) -> Response {
    let flags = &state.settings.flags;
    success(
        |json| {
            json.pairs(flags.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        },
        &[],
        &[],
    )
}

/// `/api/v1/status/config`: what is scraped and evaluated, as Prometheus' file, secrets hidden.
pub async fn config(extract::State(state): extract::State<State>) -> Response {
    success(
        |json| {
            json.raw(r#"{"yaml":"#).text(&state.loading.now().config_yaml).raw("}");
        },
        &[],
        &[],
    )
}

/// `/api/v1/status/walreplay` of a server that is ready: all of it is read.
pub async fn walreplay() -> Response {
    success(
        |json| {
            json.raw(r#"{"min":0,"max":0,"current":0}"#);
        },
        &[],
        &[],
    )
}

/// `/api/v1/alertmanagers`: none; Vigie is its own.
pub async fn alertmanagers() -> Response {
    success(
        |json| {
            json.raw(r#"{"activeAlertmanagers":[],"droppedAlertmanagers":[]}"#);
        },
        &[],
        &[],
    )
}

/// POST and PUT of `/-/quit`.
pub async fn quit(extract::State(state): extract::State<State>) -> Response {
    match &state.settings.lifecycle {
        Some(end) => {
            end.notify_one();
            plain(StatusCode::OK, "Requesting termination... Goodbye!")
        }
        None => plain(StatusCode::FORBIDDEN, LIFECYCLE_OFF),
    }
}

/// POST and PUT of `/-/reload`: answered when the new configuration counts, or is refused.
pub async fn reload(extract::State(state): extract::State<State>) -> Response {
    match &state.settings.lifecycle {
        Some(_) => read_anew(state).await,
        None => plain(StatusCode::FORBIDDEN, LIFECYCLE_OFF),
    }
}

/// The same without asking whether it is allowed, as Alertmanager's is.
pub async fn read_anew(state: State) -> Response {
    match state.reload.ask().await {
        // Upstream says nothing; who reads the answer wants to know what is not so yet.
        Ok(for_restart) => {
            let lines = for_restart.iter().map(|line| format!("{line}\n"));
            plain(StatusCode::OK, lines.collect::<String>())
        }
        Err(why) => {
            plain(StatusCode::INTERNAL_SERVER_ERROR, format!("failed to reload config: {why}\n"))
        }
    }
}

/// GET of both.
pub async fn only_post_or_put() -> Response {
    plain(StatusCode::METHOD_NOT_ALLOWED, "Only POST or PUT requests allowed")
}

const LIFECYCLE_OFF: &str = "Lifecycle API is not enabled.";

fn plain(status: StatusCode, words: impl Into<String>) -> Response {
    (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], words.into()).into_response()
}
