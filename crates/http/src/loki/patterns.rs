//! `patterns`: the shapes of the lines of a selector, with their numbers over time.

use super::listing::log_range;
use super::success;
use crate::error::{ApiError, LokiError};
use crate::params::{Params, parse_step_ms};
use crate::state::State;
use axum::extract;
use axum::response::Response;
use vigie_model::limits::QUERY_TIMEOUT_MS;

/// Seconds of a step when the question names none.
const STEP_DEFAULT_S: i64 = 10;

/// `/loki/api/v1/patterns`.
pub async fn patterns(
    extract::State(state): extract::State<State>,
    params: Params,
) -> Result<Response, LokiError> {
    let selector = vigie_logql::parse_selector(params.get("query").unwrap_or(""))
        .map_err(|error| ApiError::bad_data(error.to_string()))?;
    let range = log_range(&params)?;
    let step_s = match params.get("step") {
        Some(text) => parse_step_ms(text).map_err(ApiError::bad_data)? / 1000,
        None => STEP_DEFAULT_S,
    };
    let engine = state.engine.clone();
    let patterns = state
        .run_query(QUERY_TIMEOUT_MS, move |options| {
            engine.log_patterns(&selector, range, step_s.max(1), &options)
        })
        .await?;
    Ok(success(|json| {
        json.list(&patterns, |json, one| {
            json.raw(r#"{"pattern":"#).text(&one.pattern).raw(r#","level":"#).text(&one.level);
            json.raw(r#","samples":"#).list(&one.counts, |json, (at_s, lines)| {
                json.raw(&format!("[{at_s},{lines}]"));
            });
            json.raw("}");
        });
    }))
}
