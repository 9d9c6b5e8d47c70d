//! `status/tsdb`: what the series are made of, so that somebody finds the label that has too many
//! values.
//!
//! The counts are taken one metric at a time: never more label sets than those of the largest metric
//! are held at once, beside one counter for each label pair.

use super::success;
use crate::error::ApiError;
use crate::json::Json;
use crate::params::Params;
use crate::state::State;
use axum::extract;
use axum::response::Response;
use std::collections::HashMap;
use vigie_engine::{Engine, EngineError};
use vigie_model::{METRIC_NAME, MatchOp, Matcher, TimeRange};

/// How many of each list when none are asked for.
const LIMIT_DEFAULT: usize = 10;
/// Most of each list.
const LIMIT_MAX: usize = 10_000;

/// A name and its count.
type Count = (String, u64);

/// What `status/tsdb` tells.
#[derive(Default)]
struct Cardinality {
    series: u64,
    pairs: u64,
    by_metric: Vec<Count>,
    values_by_label: Vec<Count>,
    bytes_by_label: Vec<Count>,
    series_by_pair: Vec<Count>,
}

/// `/api/v1/status/tsdb`.
pub async fn tsdb(
    extract::State(state): extract::State<State>,
    params: Params,
) -> Result<Response, ApiError> {
    let limit = match params.get("limit").map(str::parse::<usize>) {
        None => LIMIT_DEFAULT,
        Some(Ok(limit)) if limit > LIMIT_MAX => {
            return Err(ApiError::bad_data(format!("limit must not exceed {LIMIT_MAX}")));
        }
        Some(Ok(limit)) if limit > 0 => limit,
        Some(_) => return Err(ApiError::bad_data("limit must be a positive number")),
    };
    let engine = state.engine.clone();
    let counted = state.run(move || count(engine.as_ref(), limit)).await?;
    let stats = state.engine.stats();
    Ok(success(
        |json| {
            json.raw(&format!(
                r#"{{"headStats":{{"numSeries":{},"numLabelPairs":{},"chunkCount":{},"minTime":{},"maxTime":{}}}"#,
                counted.series,
                counted.pairs,
                stats.metrics_chunks,
                stats.metrics_oldest_ms.unwrap_or(i64::MAX),
                stats.metrics_newest_ms.unwrap_or(i64::MIN),
            ));
            write_counts(json, "seriesCountByMetricName", &counted.by_metric);
            write_counts(json, "labelValueCountByLabelName", &counted.values_by_label);
            write_counts(json, "memoryInBytesByLabelName", &counted.bytes_by_label);
            write_counts(json, "seriesCountByLabelValuePair", &counted.series_by_pair);
            json.raw("}");
        },
        &[],
        &[],
    ))
}

fn write_counts(json: &mut Json, name: &str, counts: &[Count]) {
    json.raw(",").text(name).raw(":").list(counts, |json, (name, count)| {
        json.raw(r#"{"name":"#).text(name).raw(&format!(r#","value":{count}}}"#));
    });
}

fn count(engine: &dyn Engine, limit: usize) -> Result<Cardinality, EngineError> {
    let ever = TimeRange { start_ms: i64::MIN / 2, end_ms: i64::MAX / 2 };
    let mut names = engine.metric_label_values(METRIC_NAME, &[], ever)?;
    // Series without a name are series too.
    names.push(String::new());
    let (mut all, mut by_pair) =
        (Cardinality::default(), HashMap::<String, HashMap<String, u64>>::new());
    for name in names {
        let matcher = Matcher::new(METRIC_NAME, MatchOp::Equal, name.as_str());
        let matcher = matcher.map_err(|error| EngineError::Refused(error.to_string()))?;
        let series = engine.metric_series(&[vec![matcher]], ever)?;
        all.series += series.len() as u64;
        if !name.is_empty() {
            all.by_metric.push((name, series.len() as u64));
        }
        for label in series.iter().flat_map(|labels| labels.iter()) {
            let values = match by_pair.get_mut(label.name.as_ref()) {
                Some(values) => values,
                None => by_pair.entry(label.name.to_string()).or_default(),
            };
            match values.get_mut(label.value.as_ref()) {
                Some(count) => *count += 1,
                None => drop(values.insert(label.value.to_string(), 1)),
            }
        }
    }
    for (name, values) in by_pair {
        all.pairs += values.len() as u64;
        all.values_by_label.push((name.clone(), values.len() as u64));
        let bytes = values.iter().map(|(value, series)| value.len() as u64 * series).sum();
        all.bytes_by_label.push((name.clone(), bytes));
        let pairs = values.into_iter().map(|(value, series)| (format!("{name}={value}"), series));
        all.series_by_pair.extend(pairs);
        // What cannot be among the largest any more need not be kept.
        all.series_by_pair = largest(std::mem::take(&mut all.series_by_pair), limit);
    }
    for list in [&mut all.by_metric, &mut all.values_by_label, &mut all.bytes_by_label] {
        *list = largest(std::mem::take(list), limit);
    }
    Ok(all)
}

/// The largest first; equals by name.
fn largest(mut counts: Vec<Count>, limit: usize) -> Vec<Count> {
    counts.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts.truncate(limit);
    counts
}
