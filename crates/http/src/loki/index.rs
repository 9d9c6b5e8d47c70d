//! `index/stats`, `index/volume` and `index/volume_range`: how much there is, by stream or by label.
//!
//! The first two come from what the store knows of its files, without reading a line, and are as
//! rough as Loki's: a file that the range only touches counts whole. Metadata is not counted.
//! `volume_range` measures the lines of every step.

use super::listing::{log_range, one_selector};
use super::{range_ns, success};
use crate::error::{ApiError, LokiError};
use crate::json::Json;
use crate::params::{Params, parse_step_ms};
use crate::state::State;
use axum::extract;
use axum::response::Response;
use std::collections::BTreeMap;
use vigie_engine::{LogVolume, LogWhen};
use vigie_logql::Value;
use vigie_model::limits::{QUERY_POINTS_MAX, QUERY_TIMEOUT_MS};
use vigie_model::{Labels, Matcher};

/// Volumes answered when the question names no limit.
const LIMIT_DEFAULT: usize = 100;
/// Most volumes that may be asked for (Loki's `volume_max_series`).
const LIMIT_MAX: usize = 1000;

/// `/loki/api/v1/index/stats`.
pub async fn stats(
    extract::State(state): extract::State<State>,
    params: Params,
) -> Result<Response, LokiError> {
    let (selector, range) = (one_selector(&params)?, log_range(&params)?);
    let engine = state.engine.clone();
    let volumes = state.run(move || engine.log_volumes(&selector, range)).await?;
    let sum = |of: fn(&LogVolume) -> u64| volumes.iter().map(of).sum::<u64>();
    let body = format!(
        r#"{{"streams":{},"chunks":{},"bytes":{},"entries":{}}}"#,
        volumes.len(),
        sum(|one| one.chunks),
        sum(|one| one.bytes),
        sum(|one| one.entries)
    );
    Ok(super::answer(body.into_bytes()))
}

/// How volumes are added up.
struct Grouping {
    /// The labels that tell series apart, in the order of their names.
    targets: Vec<String>,
    /// By the names of labels instead of by their values.
    by_name: bool,
    limit: usize,
}

impl Grouping {
    fn of(params: &Params, selector: &[Matcher]) -> Result<Grouping, ApiError> {
        let limit = match params.get("limit") {
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| *limit > 0)
                .ok_or_else(|| ApiError::bad_data("limit must be a positive value"))?,
            None => LIMIT_DEFAULT,
        };
        if limit > LIMIT_MAX {
            let text = format!("max volume series limit exceeded, limit > ({limit} > {LIMIT_MAX})");
            return Err(ApiError::bad_data(text));
        }
        let by_name = match params.get("aggregateBy").unwrap_or("series") {
            "series" => false,
            "labels" => true,
            _ => return Err(ApiError::bad_data("invalid aggregation option")),
        };
        let named: Vec<String> = params
            .get("targetLabels")
            .map(|text| text.split(',').map(|name| name.trim().to_owned()).collect())
            .unwrap_or_default();
        let mut targets = match (named.is_empty(), by_name) {
            (false, _) => named,
            (true, true) => Vec::new(),
            (true, false) => selector.iter().map(|matcher| matcher.name.clone()).collect(),
        };
        targets.sort();
        targets.dedup();
        Ok(Grouping { targets, by_name, limit })
    }

    /// The sums that a stream's volume goes into.
    fn keys(&self, stream: &Labels) -> Vec<Vec<(String, String)>> {
        let wanted = |name: &str| {
            self.targets.is_empty() || self.targets.iter().any(|target| target == name)
        };
        let chosen = stream.iter().filter(|label| wanted(&label.name));
        if self.by_name {
            return chosen.map(|label| vec![(label.name.to_string(), String::new())]).collect();
        }
        vec![chosen.map(|label| (label.name.to_string(), label.value.to_string())).collect()]
    }
}

/// `/loki/api/v1/index/volume`.
pub async fn volume(
    extract::State(state): extract::State<State>,
    params: Params,
) -> Result<Response, LokiError> {
    let (selector, range) = (one_selector(&params)?, log_range(&params)?);
    let grouping = Grouping::of(&params, &selector)?;
    let engine = state.engine.clone();
    let volumes = state.run(move || engine.log_volumes(&selector, range)).await?;
    let mut sums: BTreeMap<Vec<(String, String)>, u64> = BTreeMap::new();
    for one in &volumes {
        for key in grouping.keys(&one.labels) {
            *sums.entry(key).or_default() += one.bytes;
        }
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    sums.truncate(grouping.limit);
    let at_ms = range.end_ns / 1_000_000;
    Ok(success(|json| {
        json.raw(r#"{"resultType":"vector","result":"#).list(&sums, |json, (labels, bytes)| {
            write_metric(json, labels).raw(r#","value":"#);
            json.plain_point(at_ms, *bytes as f64).raw("}");
        });
        json.raw(r#","stats":{}}"#);
    }))
}

fn write_metric<'a>(json: &'a mut Json, labels: &[(String, String)]) -> &'a mut Json {
    json.raw(r#"{"metric":"#)
        .pairs(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}

/// Bytes by the end of each step, under labels.
type Steps = BTreeMap<Vec<(String, String)>, Vec<(i64, f64)>>;

/// `/loki/api/v1/index/volume_range`: the bytes of the lines of each step, at its last millisecond.
pub async fn volume_range(
    extract::State(state): extract::State<State>,
    params: Params,
) -> Result<Response, LokiError> {
    let selector = one_selector(&params)?;
    let grouping = Grouping::of(&params, &selector)?;
    let (start_ns, end_ns) = range_ns(&params)?;
    let width_ns = end_ns.saturating_sub(start_ns);
    let step_ns = match params.get("step") {
        Some(text) => parse_step_ms(text).map_err(ApiError::bad_data)?.saturating_mul(1_000_000),
        None => (width_ns / 250 / 1_000_000_000).max(1) * 1_000_000_000,
    };
    if step_ns <= 0 || width_ns / step_ns.max(1) > QUERY_POINTS_MAX {
        let text = "the step is too small for the range: ask for at most 11,000 steps";
        return Err(ApiError::bad_data(text).into());
    }
    let expr = question(&selector, &grouping, step_ns)?;
    let engine = state.engine.clone();
    // Steps are multiples of their width, and end before the next one begins.
    let first_ns =
        start_ns.saturating_sub(start_ns.rem_euclid(step_ns)).saturating_add(step_ns - 1);
    let when =
        LogWhen::Range { start_ns: first_ns, end_ns: end_ns.saturating_add(step_ns), step_ns };
    let value = state
        .run_query(QUERY_TIMEOUT_MS, move |options| engine.query_log_metrics(&expr, when, &options))
        .await?;
    Ok(write_steps(&added(value, &grouping), grouping.limit))
}

/// The bytes of a step, as a question of the language.
fn question(
    selector: &[Matcher],
    grouping: &Grouping,
    step_ns: i64,
) -> Result<vigie_logql::Expr, ApiError> {
    if selector.is_empty() {
        let text = "queries require at least one regexp or equality matcher that does not have an empty-compatible value";
        return Err(ApiError::bad_data(text));
    }
    let log = vigie_logql::Expr::of_selector(selector);
    let window = format!("{}ms", (step_ns / 1_000_000).max(1));
    let text = if grouping.by_name {
        format!("bytes_over_time({log}[{window}])")
    } else if grouping.targets.is_empty() {
        format!("sum without (detected_level) (bytes_over_time({log}[{window}]))")
    } else {
        format!("sum by ({})(bytes_over_time({log}[{window}]))", grouping.targets.join(","))
    };
    vigie_logql::parse(&text).map_err(|error| ApiError::bad_data(error.to_string()))
}

fn added(value: Value, grouping: &Grouping) -> Steps {
    let mut steps: BTreeMap<Vec<(String, String)>, BTreeMap<i64, f64>> = BTreeMap::new();
    let Value::Matrix(series) = value else { return Steps::new() };
    for one in series {
        let labels = Labels::from_pairs(one.labels.iter());
        for key in grouping.keys(&labels) {
            let sums = steps.entry(key).or_default();
            for (ts_ns, bytes) in one.points.iter().filter(|(_, bytes)| *bytes > 0.0) {
                *sums.entry(ts_ns / 1_000_000).or_default() += bytes;
            }
        }
    }
    steps.into_iter().map(|(key, sums)| (key, sums.into_iter().collect())).collect()
}

fn write_steps(steps: &Steps, limit: usize) -> Response {
    let mut steps: Vec<_> = steps.iter().filter(|(_, points)| !points.is_empty()).collect();
    let total = |points: &[(i64, f64)]| points.iter().map(|(_, bytes)| bytes).sum::<f64>();
    steps.sort_by(|a, b| total(b.1).total_cmp(&total(a.1)).then_with(|| a.0.cmp(b.0)));
    steps.truncate(limit);
    // Loki writes a vector when no series has two points.
    let is_matrix = steps.iter().any(|(_, points)| points.len() > 1);
    success(|json| {
        let kind = if is_matrix { "matrix" } else { "vector" };
        json.raw(&format!(r#"{{"resultType":"{kind}","result":"#));
        json.list(&steps, |json, (labels, points)| {
            write_metric(json, labels);
            if is_matrix {
                json.raw(r#","values":"#).list(points.iter(), |json, (at_ms, bytes)| {
                    json.plain_point(*at_ms, *bytes);
                });
            } else if let Some((at_ms, bytes)) = points.first() {
                json.raw(r#","value":"#).plain_point(*at_ms, *bytes);
            }
            json.raw("}");
        });
        json.raw(r#","stats":{}}"#);
    })
}
