//! `query`, `query_range`, `query_exemplars`.

use super::report::Report;
use super::success;
use crate::error::ApiError;
use crate::held::charge;
use crate::json::{Json, float_text};
use crate::params::{Params, parse_step_ms};
use crate::queries::client_of;
use crate::state::{State, now_ms};
use axum::extract;
use axum::http::HeaderMap;
use axum::response::Response;
use std::time::Instant;
use vigie_engine::{About, QueryError, QueryErrorKind, When};
use vigie_model::limits::QUERY_POINTS_MAX;
use vigie_model::value::format_value;
use vigie_model::{Labels, TimeRange};
use vigie_promql::{Answer, FloatHistogram, Series, Value};

/// `/api/v1/query`: one instant.
pub async fn instant(
    extract::State(state): extract::State<State>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, ApiError> {
    let ts_ms = params.time_ms("time")?.unwrap_or_else(now_ms);
    ask(&state, &headers, &params, When::Instant(ts_ms)).await
}

/// `/api/v1/query_range`: many instants.
pub async fn range(
    extract::State(state): extract::State<State>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, ApiError> {
    let (start_ms, end_ms) = (params.required_time_ms("start")?, params.required_time_ms("end")?);
    if end_ms < start_ms {
        return Err(ApiError::invalid_parameter(
            "end",
            "end timestamp must not be before start time",
        ));
    }
    let step_ms = params.duration_ms("step")?.ok_or_else(|| {
        ApiError::invalid_parameter("step", "cannot parse \"\" to a valid duration")
    })?;
    if step_ms <= 0 {
        return Err(ApiError::invalid_parameter(
            "step",
            "zero or negative query resolution step widths are not accepted. Try a positive integer",
        ));
    }
    if (end_ms - start_ms) / step_ms > QUERY_POINTS_MAX {
        return Err(ApiError::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ));
    }
    ask(&state, &headers, &params, When::Range { start_ms, end_ms, step_ms }).await
}

/// `/api/v1/query_exemplars`: the exemplars of every series that the query selects.
pub async fn exemplars(
    extract::State(state): extract::State<State>,
    params: Params,
) -> Result<Response, ApiError> {
    let start_ms = params.time_ms("start")?.unwrap_or(i64::MIN);
    let end_ms = params.time_ms("end")?.unwrap_or(i64::MAX);
    if end_ms < start_ms {
        let words = "end timestamp must not be before start timestamp";
        return Err(ApiError::bad_data(words));
    }
    let text = params.get("query").unwrap_or("");
    let expr = vigie_promql::parse(text).map_err(|error| ApiError::bad_data(error.to_string()))?;
    let selectors: Vec<_> = expr.selectors().into_iter().map(<[_]>::to_vec).collect();
    let engine = state.engine.clone();
    let range = TimeRange { start_ms, end_ms };
    let found = state.run(move || engine.exemplars(&selectors, range)).await?;
    Ok(success(
        |json| {
            json.list(&found, |json, (labels, exemplars)| {
                json.raw("{\"seriesLabels\":").labels(labels).raw(",\"exemplars\":");
                json.list(exemplars, |json, exemplar| {
                    json.raw("{\"labels\":").labels(&exemplar.labels);
                    json.raw(",\"value\":").text(&format_value(exemplar.value));
                    json.raw(",\"timestamp\":").seconds(exemplar.ts_ms).raw("}");
                });
                json.raw("}");
            });
        },
        &[],
        &[],
    ))
}

async fn ask(
    state: &State,
    headers: &HeaderMap,
    params: &Params,
    when: When,
) -> Result<Response, ApiError> {
    let limit = params.limit()?;
    let longest_ms = state.engine.queries().limits().timeout_ms;
    let timeout_ms = params.duration_ms("timeout")?.map_or(longest_ms, |ms| {
        // In the past already when it is not above zero.
        u64::try_from(ms).unwrap_or(0).min(longest_ms)
    });
    let lookback_ms = match params.get("lookback_delta") {
        Some(text) => Some(parse_step_ms(text).map_err(|reason| {
            ApiError::bad_data(format!("error parsing lookback delta duration: {reason}"))
        })?),
        None => None,
    };
    let text = params.get("query").unwrap_or("").to_owned();
    let preparing = Instant::now();
    let expr =
        vigie_promql::parse(&text).map_err(|error| ApiError::invalid_parameter("query", error))?;
    let report = Report::asked_for(params, when, preparing.elapsed());
    let no_cache = report.is_wanted() || params.get("nocache") == Some("1");
    let engine = state.engine.clone();
    let about = About { text, language: "promql", client: client_of(headers) };
    state
        .ask(about, (timeout_ms, report.detail), move |mut options, ticket| {
            options.lookback_ms = lookback_ms.filter(|ms| *ms > 0);
            options.no_cache = no_cache;
            let started = Instant::now();
            let mut answer = engine.query_metrics(&expr, when, &options).map_err(refused)?;
            // Still on the thread that may block: a million points take a while to write.
            answer.warnings.extend(report.warning());
            let response = respond(answer, limit, |json| {
                report.write(json, &expr, ticket, started.elapsed());
            });
            Ok(charge(response, ticket))
        })
        .await
}

/// What Prometheus finds before it evaluates is the parameter's fault to it.
fn refused(error: QueryError) -> QueryError {
    match error.kind {
        QueryErrorKind::BadData => {
            let message = format!("invalid parameter \"query\": {}", error.message);
            QueryError { message, ..error }
        }
        _ => error,
    }
}

fn respond(answer: Answer, limit: usize, report: impl FnOnce(&mut Json)) -> Response {
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
    success(
        |json| {
            json.reserve(bytes_of(&value));
            write_value(json, &value);
            report(json);
            json.raw("}");
        },
        &warnings,
        &infos,
    )
}

/// About how long the text of a value is, so that it need not grow by doubling.
fn bytes_of(value: &Value) -> usize {
    const POINT_BYTES: usize = 36;
    let of_labels = |labels: &Labels| {
        let texts = labels.iter().map(|label| label.name.len() + label.value.len() + 6);
        30 + texts.sum::<usize>()
    };
    match value {
        Value::Scalar { .. } | Value::String { .. } => 0,
        Value::Vector(samples) => {
            samples.iter().map(|sample| of_labels(&sample.labels) + POINT_BYTES).sum()
        }
        Value::Matrix(series) => {
            let bytes = |one: &Series| of_labels(&one.labels) + POINT_BYTES * one.points.len();
            series.iter().map(bytes).sum()
        }
    }
}

/// Writes the value without the brace that ends it.
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
                json.raw(r#"{"metric":"#).labels(&sample.labels);
                match &sample.histogram {
                    None => {
                        json.raw(r#","value":"#).point(sample.ts_ms, sample.value).raw("}");
                    }
                    Some(histogram) => {
                        json.raw(r#","histogram":"#);
                        write_histogram(json, sample.ts_ms, histogram);
                        json.raw("}");
                    }
                }
            });
        }
        Value::Matrix(series) => {
            json.raw(r#"{"resultType":"matrix","result":"#).list(series, |json, series| {
                json.raw(r#"{"metric":"#).labels(&series.labels);
                if !series.points.is_empty() || series.histograms.is_empty() {
                    json.raw(r#","values":"#);
                    json.list(&series.points, |json, (ts_ms, value)| {
                        json.point(*ts_ms, *value);
                    });
                }
                if !series.histograms.is_empty() {
                    json.raw(r#","histograms":"#);
                    json.list(&series.histograms, |json, (ts_ms, histogram)| {
                        write_histogram(json, *ts_ms, histogram);
                    });
                }
                json.raw("}");
            });
        }
    }
}

/// `[seconds,{count,sum,buckets}]`, as Prometheus' `jsonutil.MarshalHistogram` writes it: each bucket
/// with something in it is `[boundaries,"lower","upper","count"]`.
fn write_histogram(json: &mut Json, ts_ms: i64, histogram: &FloatHistogram) {
    json.raw("[").seconds(ts_ms).raw(r#",{"count":"#).text(&float_text(histogram.count));
    json.raw(r#","sum":"#).text(&float_text(histogram.sum));
    let mut buckets = histogram.ascending();
    buckets.retain(|bucket| bucket.count != 0.0);
    if !buckets.is_empty() {
        json.raw(r#","buckets":"#).list(&buckets, |json, bucket| {
            // Which ends belong to the bucket.
            let ends = match (bucket.lower_inclusive, bucket.upper_inclusive) {
                (false, true) => "0",
                (true, false) => "1",
                (false, false) => "2",
                (true, true) => "3",
            };
            json.raw("[").raw(ends);
            for number in [bucket.lower, bucket.upper, bucket.count] {
                json.raw(",").text(&float_text(number));
            }
            json.raw("]");
        });
    }
    json.raw("}]");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use vigie_model::histogram::{Counts, Histogram, ResetHint, Span};
    use vigie_promql::Sample;

    #[test]
    fn native_histograms_are_written_with_the_ends_of_their_buckets() {
        let stored = Histogram {
            reset_hint: ResetHint::Unknown,
            schema: 0,
            zero_threshold: 0.001,
            sum: 5.0,
            counts: Counts::Float {
                count: 7.0,
                zero_count: 2.0,
                positive: vec![1.0, 0.0, 2.0],
                negative: vec![2.0],
            },
            positive_spans: vec![Span { offset: 0, length: 3 }],
            negative_spans: vec![Span { offset: 0, length: 1 }],
            custom_values: Vec::new(),
        };
        let histogram = Arc::new(FloatHistogram::from_stored(&stored));
        let labels = Labels::from_pairs([("a", "b")]);
        let inner = r#"{"count":"7","sum":"5","buckets":[[1,"-1","-0.5","2"],[3,"-0.001","0.001","2"],[0,"0.5","1","1"],[0,"2","4","2"]]}"#;
        let vector = Value::Vector(vec![Sample {
            labels: labels.clone(),
            ts_ms: 1_500,
            value: 0.0,
            histogram: Some(histogram.clone()),
        }]);
        let matrix = Value::Matrix(vec![Series {
            labels,
            points: Vec::new(),
            histograms: vec![(1_500, histogram)],
        }]);
        for (value, wanted) in [
            (
                vector,
                format!(
                    r#"{{"resultType":"vector","result":[{{"metric":{{"a":"b"}},"histogram":[1.500,{inner}]}}]}}"#
                ),
            ),
            (
                matrix,
                format!(
                    r#"{{"resultType":"matrix","result":[{{"metric":{{"a":"b"}},"histograms":[[1.500,{inner}]]}}]}}"#
                ),
            ),
        ] {
            let mut json = Json::default();
            write_value(&mut json, &value);
            json.raw("}");
            assert_eq!(String::from_utf8(json.into_bytes()).unwrap(), wanted);
        }
    }
}
