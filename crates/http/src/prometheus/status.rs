//! `status/*` and the doors that are not built.

use super::success;
use crate::error::ApiError;
use crate::state::{State, now_ms};
use axum::extract;
use axum::response::Response;

/// `/api/v1/status/buildinfo`. It must have no `features`: Grafana would take us for Mimir.
pub async fn buildinfo() -> Response {
    success(
        |json| {
            json.raw(r#"{"version":"#).text(crate::PROMETHEUS_VERSION);
            json.raw(r#","revision":"#).text(concat!("vigie-", env!("CARGO_PKG_VERSION")));
            json.raw(r#","branch":"main","buildUser":"vigie","buildDate":"","goVersion":""}"#);
        },
        &[],
        &[],
    )
}

/// `/api/v1/status/runtimeinfo`: what Prometheus' page shows and we know.
pub async fn runtimeinfo(extract::State(state): extract::State<State>) -> Response {
    let stats = state.engine.stats();
    success(
        |json| {
            json.raw(r#"{"startTime":"#).text(&crate::state::rfc3339(state.started_at_ms));
            json.raw(r#","serverTime":"#).text(&crate::state::rfc3339(now_ms()));
            json.raw(&format!(
                r#","reloadConfigSuccess":true,"corruptionCount":0,"timeSeriesCount":{},"storageRetention":"#,
                stats.series
            ));
            json.text(&state.retention_text).raw("}");
        },
        &[],
        &[],
    )
}

/// `/api/v1/status/flags`: those that mean the same here.
pub async fn flags(extract::State(state): extract::State<State>) -> Response {
    success(
        |json| {
            json.raw(r#"{"query.lookback-delta":"5m","query.max-samples":"50000000","query.timeout":"2m","#);
            json.raw(r#""storage.tsdb.retention.time":"#).text(&state.retention_text).raw("}");
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

/// `/api/v1/read`.
pub async fn no_remote_read() -> ApiError {
    ApiError::not_found("remote read is not built yet: ask /api/v1/query_range instead")
}
