//! `query`, `query_range`, `query_exemplars`.

use super::success;
use crate::error::ApiError;
use crate::json::Json;
use crate::params::Params;
use crate::state::{State, now_ms};
use axum::extract;
use axum::response::Response;
use vigie_engine::When;
use vigie_model::limits::{QUERY_POINTS_MAX, QUERY_TIMEOUT_MS};
use vigie_promql::{Answer, Value};

/// `/api/v1/query`: one instant.
pub async fn instant(
    extract::State(state): extract::State<State>,
    params: Params,
) -> Result<Response, ApiError> {
    let ts_ms = params.time_ms("time")?.unwrap_or_else(now_ms);
    ask(&state, &params, When::Instant(ts_ms)).await
}

/// `/api/v1/query_range`: many instants.
pub async fn range(
    extract::State(state): extract::State<State>,
    params: Params,
) -> Result<Response, ApiError> {
    let missing = |name: &str| {
        ApiError::bad_data(format!(
            "invalid parameter {name:?}: cannot parse \"\" to a valid timestamp"
        ))
    };
    let start_ms = params.time_ms("start")?.ok_or_else(|| missing("start"))?;
    let end_ms = params.time_ms("end")?.ok_or_else(|| missing("end"))?;
    if end_ms < start_ms {
        return Err(ApiError::bad_data(
            "invalid parameter \"end\": end timestamp must not be before start time",
        ));
    }
    let step_ms = params.duration_ms("step")?.ok_or_else(|| {
        ApiError::bad_data("invalid parameter \"step\": cannot parse \"\" to a valid duration")
    })?;
    if step_ms <= 0 {
        return Err(ApiError::bad_data(
            "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer",
        ));
    }
    if (end_ms - start_ms) / step_ms > QUERY_POINTS_MAX {
        return Err(ApiError::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ));
    }
    ask(&state, &params, When::Range { start_ms, end_ms, step_ms }).await
}

/// `/api/v1/query_exemplars`: none are stored yet, and the answer says so in a warning.
pub async fn exemplars(params: Params) -> Result<Response, ApiError> {
    let text = params.get("query").unwrap_or("");
    vigie_promql::parse(text)
        .map_err(|error| ApiError::bad_data(format!("invalid parameter \"query\": {error}")))?;
    let warning = "exemplars are not stored by this version".to_owned();
    Ok(success(
        |json| {
            json.raw("[]");
        },
        &[warning],
        &[],
    ))
}

async fn ask(state: &State, params: &Params, when: When) -> Result<Response, ApiError> {
    let text = params.get("query").unwrap_or("").to_owned();
    let expr = vigie_promql::parse(&text)
        .map_err(|error| ApiError::bad_data(format!("invalid parameter \"query\": {error}")))?;
    let timeout_ms = params
        .duration_ms("timeout")?
        .map_or(QUERY_TIMEOUT_MS, |ms| ms.max(1) as u64)
        .min(QUERY_TIMEOUT_MS);
    let limit = params.count("limit")?.unwrap_or(0);
    let lookback_ms = params.duration_ms("lookback_delta")?;
    let engine = state.engine.clone();
    let answer = state
        .run_query(timeout_ms, move |mut options| {
            options.lookback_ms = lookback_ms;
            engine.query_metrics(&expr, when, &options)
        })
        .await?;
    Ok(respond(answer, limit))
}

fn respond(answer: Answer, limit: usize) -> Response {
    let Answer { mut value, mut warnings, infos } = answer;
    let truncated = match &mut value {
        Value::Vector(samples) if limit > 0 && samples.len() > limit => {
            samples.truncate(limit);
            true
        }
        Value::Matrix(series) if limit > 0 && series.len() > limit => {
            series.truncate(limit);
            true
        }
        _ => false,
    };
    if truncated {
        warnings.push("results truncated due to limit".to_owned());
    }
    success(|json| write_value(json, &value), &warnings, &infos)
}

fn write_value(json: &mut Json, value: &Value) {
    match value {
        Value::Scalar { ts_ms, value } => {
            json.raw(r#"{"resultType":"scalar","result":"#).point(*ts_ms, *value);
        }
        Value::String { ts_ms, value } => {
            json.raw(r#"{"resultType":"string","result":["#)
                .seconds(*ts_ms)
                .raw(",")
                .text(value)
                .raw("]");
        }
        Value::Vector(samples) => {
            json.raw(r#"{"resultType":"vector","result":"#).list(samples, |json, sample| {
                json.raw(r#"{"metric":"#).labels(&sample.labels).raw(r#","value":"#);
                json.point(sample.ts_ms, sample.value).raw("}");
            });
        }
        Value::Matrix(series) => {
            json.raw(r#"{"resultType":"matrix","result":"#).list(series, |json, series| {
                json.raw(r#"{"metric":"#).labels(&series.labels).raw(r#","values":"#);
                json.list(&series.points, |json, (ts_ms, value)| {
                    json.point(*ts_ms, *value);
                });
                json.raw("}");
            });
        }
    }
    json.raw("}");
}
