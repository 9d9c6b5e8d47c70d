//! `query` and `query_range`: lines or numbers, by what the question asks for.

use super::push::header;
use super::{parse_time_ns, range_ns, success};
use crate::error::{ApiError, LokiError};
use crate::held::charge;
use crate::json::Json;
use crate::params::{Params, parse_step_ms};
use crate::queries::client_of;
use crate::state::{State, now_ns};
use axum::extract;
use axum::http::HeaderMap;
use axum::response::Response;
use vigie_engine::{About, Detail, LogWhen};
use vigie_logql::{Expr, Stream, Streams, Value};
use vigie_model::limits::{LOG_ENTRIES_PER_QUERY_MAX, QUERY_POINTS_MAX, QUERY_TIMEOUT_MS};
use vigie_model::{Direction, LogRange};

/// Lines answered when the question names no limit.
const LIMIT_DEFAULT: usize = 100;

/// `/loki/api/v1/query`: one instant, numbers only.
pub async fn instant(
    extract::State(state): extract::State<State>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, LokiError> {
    let expr = parse(&params)?;
    let ts_ns = match params.get("time") {
        Some(text) => parse_time_ns(text).ok_or_else(|| {
            ApiError::bad_data(format!("could not parse 'time' parameter: cannot parse {text:?}"))
        })?,
        None => now_ns(),
    };
    if expr.is_log() {
        let text = "log queries are not supported as an instant query type, please change your query to a range query type";
        return Err(ApiError::bad_data(text).into());
    }
    numbers(&state, &headers, expr, LogWhen::Instant(ts_ns)).await
}

/// `/loki/api/v1/query_range`.
pub async fn range(
    extract::State(state): extract::State<State>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, LokiError> {
    let expr = parse(&params)?;
    let (start_ns, end_ns) = range_ns(&params)?;
    if expr.is_log() {
        return lines(&state, expr, LogRange { start_ns, end_ns }, &headers, &params).await;
    }
    let width_ns = end_ns.saturating_sub(start_ns);
    let step_ns = match params.get("step") {
        Some(text) => parse_step_ms(text).map_err(ApiError::bad_data)?.saturating_mul(1_000_000),
        // About 250 points, a second apart at least.
        None => (width_ns / 250 / 1_000_000_000).max(1) * 1_000_000_000,
    };
    if step_ns <= 0 {
        let text = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(ApiError::bad_data(text).into());
    }
    if width_ns / step_ns > QUERY_POINTS_MAX {
        let text = "exceeded maximum resolution of 11,000 points per time series. Try increasing the value of the step parameter";
        return Err(ApiError::bad_data(text).into());
    }
    numbers(&state, &headers, expr, LogWhen::Range { start_ns, end_ns, step_ns }).await
}

fn parse(params: &Params) -> Result<Expr, ApiError> {
    vigie_logql::parse(params.get("query").unwrap_or(""))
        .map_err(|error| ApiError::bad_data(error.to_string()))
}

async fn lines(
    state: &State,
    expr: Expr,
    range: LogRange,
    headers: &HeaderMap,
    params: &Params,
) -> Result<Response, LokiError> {
    let limit = limit(params)?;
    let direction = match params.get("direction").unwrap_or("backward").to_lowercase().as_str() {
        "forward" => Direction::Forward,
        "backward" => Direction::Backward,
        other => return Err(ApiError::bad_data(format!("invalid direction '{other}'")).into()),
    };
    let interval_ns = match params.get("interval") {
        Some(text) => parse_step_ms(text).map_err(ApiError::bad_data)?.saturating_mul(1_000_000),
        None => 0,
    };
    if interval_ns < 0 {
        return Err(ApiError::bad_data("interval must be >= 0").into());
    }
    let categorize = categorizes(headers);
    let engine = state.engine.clone();
    let answer = state
        .ask(
            about(&expr, headers),
            (QUERY_TIMEOUT_MS, Detail::default()),
            move |mut options, ticket| {
                options.log_interval_ns = interval_ns;
                let streams = engine.query_logs(&expr, range, direction, limit, &options)?;
                Ok(charge(write_streams(streams, direction, categorize), ticket))
            },
        )
        .await?;
    Ok(answer)
}

/// How many lines a question wants.
pub(crate) fn limit(params: &Params) -> Result<usize, ApiError> {
    let limit = match params.get("limit") {
        Some(text) => text
            .parse::<usize>()
            .ok()
            .filter(|limit| *limit > 0)
            .ok_or_else(|| ApiError::bad_data("limit must be a positive value"))?,
        None => LIMIT_DEFAULT,
    };
    if limit > LOG_ENTRIES_PER_QUERY_MAX {
        let text = format!(
            "max entries limit per query exceeded, limit > max_entries_limit_per_query ({limit} > {LOG_ENTRIES_PER_QUERY_MAX})"
        );
        return Err(ApiError::bad_data(text));
    }
    Ok(limit)
}

/// Whether the client wants the categories of labels told apart.
pub(crate) fn categorizes(headers: &HeaderMap) -> bool {
    let flags = header(headers, "x-loki-response-encoding-flags");
    flags.split(',').any(|flag| flag.trim() == "categorize-labels")
}

fn write_streams(mut streams: Streams, direction: Direction, categorize: bool) -> Response {
    if categorize {
        // What sets lines of one stream apart stands at each line then.
        streams = vigie_logql::categorized(streams, direction);
    }
    success(|json| {
        json.raw(r#"{"resultType":"streams","#);
        if categorize {
            json.raw(r#""encodingFlags":["categorize-labels"],"#);
        }
        json.raw(r#""result":"#)
            .list(&streams, |json, stream| write_stream(json, stream, categorize));
        json.raw(r#","stats":{}}"#);
    })
}

pub(crate) fn write_stream(json: &mut Json, stream: &Stream, categorize: bool) {
    json.raw(r#"{"stream":"#).pairs(stream.labels.iter());
    json.raw(r#","values":"#).list(&stream.entries, |json, entry| {
        json.raw(&format!("[\"{}\",", entry.ts_ns)).text(&String::from_utf8_lossy(&entry.line));
        if categorize {
            json.raw(",{");
            let categories =
                [("structuredMetadata", &entry.structured_metadata), ("parsed", &entry.parsed)];
            for (at, (name, labels)) in
                categories.into_iter().filter(|(_, labels)| !labels.is_empty()).enumerate()
            {
                json.raw(if at > 0 { "," } else { "" }).text(name).raw(":").pairs(labels.iter());
            }
            json.raw("}");
        }
        json.raw("]");
    });
    json.raw("}");
}

fn about(expr: &Expr, headers: &HeaderMap) -> About {
    About { text: expr.to_string(), language: "logql", client: client_of(headers) }
}

async fn numbers(
    state: &State,
    headers: &HeaderMap,
    expr: Expr,
    when: LogWhen,
) -> Result<Response, LokiError> {
    let engine = state.engine.clone();
    let answer = state
        .ask(
            about(&expr, headers),
            (QUERY_TIMEOUT_MS, Detail::default()),
            move |options, ticket| {
                let value = engine.query_log_metrics(&expr, when, &options)?;
                let answer = success(|json| {
                    write_value(json, &value);
                    json.raw(r#","stats":{}}"#);
                });
                Ok(charge(answer, ticket))
            },
        )
        .await?;
    Ok(answer)
}

fn write_value(json: &mut Json, value: &Value) {
    match value {
        Value::Scalar { ts_ns, value } => {
            json.raw(r#"{"resultType":"scalar","result":"#).plain_point(ts_ns / 1_000_000, *value);
        }
        Value::Vector(samples) => {
            json.raw(r#"{"resultType":"vector","result":"#).list(samples, |json, sample| {
                json.raw(r#"{"metric":"#).pairs(sample.labels.iter()).raw(r#","value":"#);
                json.plain_point(sample.ts_ns / 1_000_000, sample.value).raw("}");
            });
        }
        Value::Matrix(series) => {
            json.raw(r#"{"resultType":"matrix","result":"#).list(series, |json, series| {
                json.raw(r#"{"metric":"#).pairs(series.labels.iter()).raw(r#","values":"#);
                json.list(&series.points, |json, (ts_ns, value)| {
                    json.plain_point(ts_ns / 1_000_000, *value);
                });
                json.raw("}");
            });
        }
    }
}
