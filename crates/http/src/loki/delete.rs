//! `delete`: requests to delete lines, made, listed and taken back
//! (`pkg/compactor/deletion/request_handler.go`).
//!
//! A request is durable when it is answered, and nobody sees its lines from then on; they go from
//! disk later. A request takes a selector and line filters.

use super::parse_time_ns;
use super::push::Refusal;
use crate::json::Json;
use crate::params::Params;
use crate::state::{State, now_ns};
use axum::extract;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use vigie_engine::EngineError;
use vigie_model::LogRange;

/// The header that says which request was made.
const REQUEST_ID: &str = "X-Delete-Request-ID";

/// `POST` and `PUT`.
pub async fn make(extract::State(state): extract::State<State>, params: Params) -> Response {
    let work = async {
        allowed(&state)?;
        let (expr, range) = asked(&params)?;
        let engine = state.engine.clone();
        let done = crate::state::blocking(move || engine.delete_logs(&expr, range)).await;
        done.map_err(|error| (error.status(), error.message().to_owned()))?.map_err(refused)
    };
    match work.await {
        Ok(id) => (StatusCode::NO_CONTENT, [(REQUEST_ID, id.to_string())]).into_response(),
        Err(refused) => answer(Err(refused)),
    }
}

/// `GET`: all requests, oldest first.
pub async fn list(extract::State(state): extract::State<State>) -> Response {
    if let Err(refused) = allowed(&state) {
        return answer(Err(refused));
    }
    let mut json = Json::default();
    json.list(state.engine.log_deletions(), |json, one| {
        json.raw(&format!(r#"{{"request_id":"{}","start_time":"#, one.id));
        json.seconds(one.range.start_ns / 1_000_000).raw(r#","end_time":"#);
        json.seconds((one.range.end_ns - 1) / 1_000_000).raw(r#","query":"#).text(&one.query);
        let status = if one.is_done { "processed" } else { "received" };
        json.raw(r#","status":"#).text(status).raw(r#","created_at":"#);
        json.seconds(one.created_ms).raw("}");
    });
    json.raw("\n");
    ([(CONTENT_TYPE, "application/json; charset=utf-8")], json.into_bytes()).into_response()
}

/// `DELETE`: takes a request back, as far as its lines are still there.
pub async fn take_back(extract::State(state): extract::State<State>, params: Params) -> Response {
    if let Err(refused) = allowed(&state) {
        return answer(Err(refused));
    }
    let Some(text) = params.get("request_id") else {
        return answer(Err((StatusCode::BAD_REQUEST, "request_id not set".to_owned())));
    };
    let missing =
        || (StatusCode::NOT_FOUND, "could not find delete request with given id".to_owned());
    let Ok(id) = text.parse::<u64>() else { return answer(Err(missing())) };
    let engine = state.engine.clone();
    let done = crate::state::blocking(move || engine.cancel_log_deletion(id)).await;
    answer(match done {
        Err(error) => Err((error.status(), error.message().to_owned())),
        Ok(Err(error)) => Err(refused(error)),
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => Err(missing()),
    })
}

/// Whether `deletion_mode` lets anybody delete.
fn allowed(state: &State) -> Result<(), Refusal> {
    if !state.settings.log_deletes_refused {
        return Ok(());
    }
    Err((StatusCode::FORBIDDEN, "deletion is not available for this tenant".to_owned()))
}

fn asked(params: &Params) -> Result<(vigie_logql::Expr, LogRange), Refusal> {
    let bad = |words: &str| (StatusCode::BAD_REQUEST, words.to_owned());
    let query = params.get("query").ok_or_else(|| bad("query not set"))?;
    let expr = vigie_logql::parse(query).map_err(|error| bad(&error.to_string()))?;
    let instant = |name: &str, text: &str| {
        let words = format!("invalid {name} time: require unix seconds or RFC3339 format");
        parse_time_ns(text).ok_or_else(|| bad(&words))
    };
    let start = params.get("start").ok_or_else(|| bad("start time not set"))?;
    let start_ns = instant("start", start)?;
    let now_ns = now_ns();
    let end_ns = match params.get("end") {
        Some(text) => instant("end", text)?,
        None => now_ns,
    };
    if end_ns > now_ns.saturating_add(1_000_000) {
        return Err(bad("deletes in the future are not allowed"));
    }
    if start_ns > end_ns {
        return Err(bad("start time can't be greater than end time"));
    }
    Ok((expr, LogRange { start_ns, end_ns: end_ns.saturating_add(1) }))
}

fn refused(error: EngineError) -> Refusal {
    match error {
        EngineError::Refused(words) => (StatusCode::BAD_REQUEST, words),
        error => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

fn answer(done: Result<(), Refusal>) -> Response {
    match done {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err((status, words)) => {
            (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{words}\n"))
                .into_response()
        }
    }
}
