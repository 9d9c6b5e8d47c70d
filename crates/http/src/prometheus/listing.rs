//! `labels`, `label/{name}/values`, `series`, `metadata`.

use super::{selectors, success};
use crate::error::ApiError;
use crate::params::Params;
use crate::state::State;
use axum::extract::{self, Path};
use axum::response::Response;
use vigie_model::TimeRange;

/// What is truncated says so in these words.
const TRUNCATED: &str = "results truncated due to limit";

/// `/api/v1/labels`.
pub async fn labels(
    extract::State(state): extract::State<State>,
    params: Params,
) -> Result<Response, ApiError> {
    let (limit, range) = (params.limit()?, time_range(&params)?);
    let selectors = selectors(&params).map_err(ApiError::bad_data)?;
    let Some(range) = range else { return Ok(texts(Vec::new(), limit)) };
    let engine = state.engine.clone();
    let names = state.run(move || engine.metric_label_names(&selectors, range)).await?;
    Ok(texts(names, limit))
}

/// `/api/v1/label/{name}/values`; the name may be in Prometheus' `U__` form.
pub async fn label_values(
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
    params: Params,
) -> Result<Response, ApiError> {
    let name = unescape_name(&name);
    if name.is_empty() {
        return Err(ApiError::bad_data(format!("invalid label name: {name:?}")));
    }
    let (limit, range) = (params.limit()?, time_range(&params)?);
    let selectors = selectors(&params).map_err(ApiError::bad_data)?;
    let Some(range) = range else { return Ok(texts(Vec::new(), limit)) };
    let engine = state.engine.clone();
    let values = state.run(move || engine.metric_label_values(&name, &selectors, range)).await?;
    Ok(texts(values, limit))
}

/// `/api/v1/series`.
pub async fn series(
    extract::State(state): extract::State<State>,
    params: Params,
) -> Result<Response, ApiError> {
    if params.all("match[]").next().is_none() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let (limit, range) = (params.limit()?, time_range(&params)?);
    let selectors =
        selectors(&params).map_err(|text| ApiError::invalid_parameter("match[]", text))?;
    let engine = state.engine.clone();
    let mut series = match range {
        Some(range) => state.run(move || engine.metric_series(&selectors, range)).await?,
        None => Vec::new(),
    };
    let warnings = truncate(&mut series, limit);
    Ok(success(
        |json| {
            json.list(&series, |json, labels| {
                json.labels(labels);
            });
        },
        &warnings,
        &[],
    ))
}

/// `/api/v1/metadata`: what targets said of their metrics, one word each, so that
/// `limit_per_metric` has nothing to cut.
pub async fn metadata(
    extract::State(state): extract::State<State>,
    params: Params,
) -> Result<Response, ApiError> {
    let number = |name: &str| match params.get(name).map(str::parse::<i64>) {
        None => Ok(usize::MAX),
        Some(Ok(limit)) => Ok(usize::try_from(limit).unwrap_or(usize::MAX)),
        Some(Err(_)) => Err(ApiError::bad_data(format!("{name} must be a number"))),
    };
    let (limit, _) = (number("limit")?, number("limit_per_metric")?);
    let wanted = params.get("metric");
    let known = state.metadata.list(wanted, limit);
    Ok(success(
        |json| {
            json.raw("{");
            for (at, (name, entry)) in known.iter().enumerate() {
                json.raw(if at > 0 { "," } else { "" }).text(name);
                json.raw(r#":[{"type":"#).text(&entry.kind);
                json.raw(r#","help":"#).text(&entry.help);
                json.raw(r#","unit":"#).text(&entry.unit).raw("}]");
            }
            json.raw("}");
        },
        &[],
        &[],
    ))
}

fn texts(mut texts: Vec<String>, limit: usize) -> Response {
    let warnings = truncate(&mut texts, limit);
    success(
        |json| {
            json.texts(texts.iter().map(String::as_str));
        },
        &warnings,
        &[],
    )
}

fn truncate<T>(items: &mut Vec<T>, limit: usize) -> Vec<String> {
    if limit == 0 || items.len() <= limit {
        return Vec::new();
    }
    items.truncate(limit);
    vec![TRUNCATED.to_owned()]
}

/// The range asked for; `None` when it ends before it starts, and so holds nothing.
pub(super) fn time_range(params: &Params) -> Result<Option<TimeRange>, ApiError> {
    let start_ms = params.time_ms("start")?.unwrap_or(i64::MIN / 2);
    let end_ms = params.time_ms("end")?.unwrap_or(i64::MAX / 2);
    Ok((start_ms <= end_ms).then_some(TimeRange { start_ms, end_ms }))
}

/// `U__a_2e_b` is `a.b`: Prometheus' escaping of names in paths.
fn unescape_name(name: &str) -> String {
    let Some(escaped) = name.strip_prefix("U__") else { return name.to_owned() };
    let (mut out, mut rest) = (String::new(), escaped);
    while let Some(at) = rest.find('_') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(after) = after.strip_prefix('_') {
            out.push('_');
            rest = after;
        } else if let Some((hex, after)) = after.split_once('_')
            && let Some(c) = u32::from_str_radix(hex, 16).ok().and_then(char::from_u32)
        {
            out.push(c);
            rest = after;
        } else {
            return name.to_owned();
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_names_are_read() {
        for (name, wanted) in
            [("job", "job"), ("U__a_2e_b", "a.b"), ("U__a__b", "a_b"), ("U__bad_zz", "U__bad_zz")]
        {
            assert_eq!(unescape_name(name), wanted);
        }
    }
}
