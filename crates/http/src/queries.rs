//! `/api/vigie/v1/queries`: what is being asked, by whom, and what it takes; and the way to end it.
//!
//! ```json
//! {"open":[{"id":7,"text":"sum(up)","language":"promql","client":"Grafana/11.2","state":"running",
//!           "asked_at":"2026-11-26T21:00:00.000Z","queued_ms":0.1,"running_ms":8.4,
//!           "series":8000,"samples":480000,"bytes":1048576}],
//!  "slowest":[…],"held_bytes":1048576,"bytes_max":268435456}
//! ```
//! `state` is `queued`, `running` or `done`; `slowest` holds those that ended during the last hour,
//! the slowest first. `DELETE /queries/{id}` and `POST /queries/{id}/kill` end one: its client gets
//! 499 and Prometheus' words.

use crate::error::ApiError;
use crate::json::Json;
use crate::state::{State, rfc3339};
use axum::extract::{self, Path};
use axum::http::header::{CONTENT_TYPE, USER_AGENT};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use vigie_engine::QueryView;

/// Longest part of what a client says of itself.
const CLIENT_CHARS_MAX: usize = 120;

/// What a client says of itself: the address a proxy saw, and its program.
pub(crate) fn client_of(headers: &HeaderMap) -> String {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let parts = [text("x-forwarded-for"), text(USER_AGENT.as_str())];
    let client = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
    client.chars().take(CLIENT_CHARS_MAX).collect()
}

/// GET: the list.
pub(crate) async fn list(extract::State(state): extract::State<State>) -> Response {
    let list = state.engine.queries().list();
    let mut json = Json::default();
    json.raw(r#"{"open":"#).list(&list.open, write);
    json.raw(r#","slowest":"#).list(&list.slowest, write);
    json.raw(&format!(r#","held_bytes":{},"bytes_max":{}}}"#, list.held_bytes, list.bytes_max));
    ([(CONTENT_TYPE, "application/json")], json.into_bytes()).into_response()
}

fn write(json: &mut Json, query: &QueryView) {
    json.raw(&format!(r#"{{"id":{},"text":"#, query.id)).text(&query.text);
    json.raw(r#","language":"#).text(query.language);
    json.raw(r#","client":"#).text(&query.client);
    json.raw(r#","state":"#).text(query.state);
    json.raw(r#","asked_at":"#).text(&rfc3339(query.asked_at_ms));
    json.raw(&format!(
        r#","queued_ms":{:.3},"running_ms":{:.3},"series":{},"samples":{},"bytes":{}}}"#,
        query.queued_ms, query.running_ms, query.series, query.samples, query.bytes
    ));
}

/// DELETE, or POST with `/kill`: ends one.
pub(crate) async fn kill(
    extract::State(state): extract::State<State>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let number = id.parse::<u64>().map_err(|_| {
        ApiError::bad_data(format!("{id:?} is not the number of a query: GET /queries lists them"))
    })?;
    if state.engine.queries().kill(number) {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(ApiError::not_found(format!("query {number} has ended, or there never was one")))
}
