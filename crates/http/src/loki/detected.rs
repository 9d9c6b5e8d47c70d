//! `detected_labels`, `detected_fields` and `detected_field/{name}/values`: what there is to choose
//! from, for people who click instead of typing.

use super::listing::{log_range, one_selector};
use crate::error::{ApiError, LokiError};
use crate::params::Params;
use crate::state::State;
use axum::extract::{self, Path};
use axum::response::Response;
use std::collections::{BTreeMap, BTreeSet};
use vigie_logql::{DetectedField, Fields, is_id};
use vigie_model::Direction;
use vigie_model::limits::{LOG_ENTRIES_PER_QUERY_MAX, QUERY_TIMEOUT_MS};

/// Lines looked at when the question names no number of them.
const LINES_DEFAULT: usize = 100;
/// Fields or values answered when the question names no limit.
const LIMIT_DEFAULT: usize = 1000;
/// Labels that are listed even if all their values are numbers (Loki's static labels).
const ALWAYS: [&str; 4] = ["cluster", "namespace", "instance", "pod"];

/// `/loki/api/v1/detected_labels`: labels of streams with their numbers of values; those that have
/// only ids are left out.
pub async fn labels(
    extract::State(state): extract::State<State>,
    params: Params,
) -> Result<Response, LokiError> {
    let (selector, range) = (one_selector(&params)?, log_range(&params)?);
    let engine = state.engine.clone();
    let selectors = if selector.is_empty() { Vec::new() } else { vec![selector] };
    let series = state.run(move || engine.log_series(&selectors, range)).await?;
    let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for label in series.iter().flatten() {
        labels.entry(&label.name).or_default().insert(&label.value);
    }
    labels.retain(|name, values| ALWAYS.contains(name) || !values.iter().all(|one| is_id(one)));
    if labels.is_empty() {
        return Ok(super::answer(b"{}".to_vec()));
    }
    let mut json = crate::json::Json::default();
    json.raw(r#"{"detectedLabels":"#).list(&labels, |json, (name, values)| {
        json.raw(r#"{"label":"#).text(name);
        json.raw(&format!(r#","cardinality":{}}}"#, values.len()));
    });
    json.raw("}");
    Ok(super::answer(json.into_bytes()))
}

/// `/loki/api/v1/detected_fields`.
pub async fn fields(
    extract::State(state): extract::State<State>,
    params: Params,
) -> Result<Response, LokiError> {
    let limit = limit(&params)?;
    let fields = detect(&state, &params, limit).await?;
    if fields.is_empty() {
        return Ok(super::answer(b"{}".to_vec()));
    }
    let mut json = crate::json::Json::default();
    json.raw(r#"{"fields":"#).list(&fields, |json, (name, field)| {
        json.raw(r#"{"label":"#).text(name).raw(r#","type":"#).text(field.kind);
        json.raw(&format!(r#","cardinality":{},"parsers":"#, field.values.len()));
        if field.parsers.is_empty() {
            json.raw("null");
        } else {
            json.texts(field.parsers.iter().copied());
        }
        json.raw("}");
    });
    json.raw(&format!(r#","limit":{limit}}}"#));
    Ok(super::answer(json.into_bytes()))
}

/// `/loki/api/v1/detected_field/{name}/values`.
pub async fn values(
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
    params: Params,
) -> Result<Response, LokiError> {
    let limit = limit(&params)?;
    let mut fields = detect(&state, &params, usize::MAX).await?;
    let values = fields.remove(&name).unwrap_or_default().values;
    let mut json = crate::json::Json::default();
    json.raw("{");
    if !values.is_empty() {
        json.raw(r#""values":"#).texts(values.iter().take(limit).map(String::as_str)).raw(",");
    }
    json.raw(&format!(r#""limit":{limit}}}"#));
    Ok(super::answer(json.into_bytes()))
}

fn limit(params: &Params) -> Result<usize, ApiError> {
    let named = params.get("limit").or_else(|| params.get("field_limit"));
    let Some(text) = named else { return Ok(LIMIT_DEFAULT) };
    let limit = text.parse().ok().filter(|limit| *limit > 0);
    limit.ok_or_else(|| ApiError::bad_data("limit must be a positive value"))
}

/// The fields of the newest lines.
async fn detect(
    state: &State,
    params: &Params,
    limit: usize,
) -> Result<BTreeMap<String, DetectedField>, ApiError> {
    let query = params.get("query").unwrap_or("");
    let expr = vigie_logql::parse(query).map_err(|error| ApiError::bad_data(error.to_string()))?;
    if !expr.is_log() {
        return Err(ApiError::bad_data("only log selector is supported"));
    }
    let range = log_range(params)?;
    let lines = match params.get("line_limit") {
        Some(text) => text
            .parse::<usize>()
            .ok()
            .filter(|lines| *lines > 0)
            .ok_or_else(|| ApiError::bad_data("limit must be a positive value"))?,
        None => LINES_DEFAULT,
    };
    let lines = lines.min(LOG_ENTRIES_PER_QUERY_MAX);
    let engine = state.engine.clone();
    state
        .run_query(QUERY_TIMEOUT_MS, move |options| {
            let direction = Direction::Backward;
            let streams = engine.query_logs(&expr, range, direction, lines, &options)?;
            let mut fields = Fields::new(limit);
            streams.iter().for_each(|stream| fields.add(stream));
            Ok(fields.into_inner())
        })
        .await
}
