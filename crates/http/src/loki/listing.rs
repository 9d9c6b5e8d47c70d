//! `labels`, `label/{name}/values`, `series`.

use super::{answer, range_ns, success};
use crate::error::{ApiError, LokiError};
use crate::params::Params;
use crate::state::State;
use axum::extract::{self, Path};
use axum::response::Response;
use vigie_model::{LogRange, Matcher};

/// `/loki/api/v1/labels`.
pub async fn labels(
    extract::State(state): extract::State<State>,
    params: Params,
) -> Result<Response, LokiError> {
    let (selector, range) = (one_selector(&params)?, log_range(&params)?);
    let engine = state.engine.clone();
    let names = state.run(move || engine.log_label_names(&selector, range)).await?;
    Ok(texts(&names))
}

/// `/loki/api/v1/label/{name}/values`.
pub async fn label_values(
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
    params: Params,
) -> Result<Response, LokiError> {
    let (selector, range) = (one_selector(&params)?, log_range(&params)?);
    let engine = state.engine.clone();
    let values = state.run(move || engine.log_label_values(&name, &selector, range)).await?;
    Ok(texts(&values))
}

/// `/loki/api/v1/series`; without `match[]` all streams.
pub async fn series(
    extract::State(state): extract::State<State>,
    params: Params,
) -> Result<Response, LokiError> {
    let selectors = params
        .all("match[]")
        .chain(params.all("match"))
        .map(selector)
        .collect::<Result<Vec<_>, _>>()?;
    let range = log_range(&params)?;
    let engine = state.engine.clone();
    let series = state.run(move || engine.log_series(&selectors, range)).await?;
    Ok(success(|json| {
        json.list(&series, |json, labels| {
            json.labels(labels);
        });
    }))
}

/// A list of texts; Loki leaves `data` out when there is none.
fn texts(texts: &[String]) -> Response {
    if texts.is_empty() {
        return answer(r#"{"status":"success"}"#.into());
    }
    success(|json| {
        json.texts(texts.iter().map(String::as_str));
    })
}

pub(super) fn one_selector(params: &Params) -> Result<Vec<Matcher>, ApiError> {
    params.get("query").map_or_else(|| Ok(Vec::new()), selector)
}

fn selector(text: &str) -> Result<Vec<Matcher>, ApiError> {
    // Grafana asks for `{}` where it has nothing to narrow.
    if text.trim() == "{}" {
        return Ok(Vec::new());
    }
    vigie_logql::parse_selector(text).map_err(|error| ApiError::bad_data(error.to_string()))
}

pub(super) fn log_range(params: &Params) -> Result<LogRange, ApiError> {
    let (start_ns, end_ns) = range_ns(params)?;
    Ok(LogRange { start_ns, end_ns })
}
