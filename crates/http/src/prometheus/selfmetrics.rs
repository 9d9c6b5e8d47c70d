//! `status/self_metrics`: Vigie's own page of metrics as JSON, in the form that protobuf's JSON mapping
//! gives to `io.prometheus.client.MetricFamily`.
//!
//! Our page has counters, gauges and values without a type. A sample that is a part of a histogram
//! or of a summary stands here as a value without a type, under its own name.

use super::success;
use crate::error::ApiError;
use crate::params::Params;
use crate::state::{State, blocking};
use axum::extract;
use axum::response::Response;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use vigie_codec::exposition::{Entry, Format, MetricKind, parse, unescape_help};
use vigie_model::{METRIC_NAME, MatchOp, Matcher};

/// What is known of a family while the page is read.
#[derive(Default)]
struct Family {
    help: String,
    kind: MetricKind,
    samples: Vec<Value>,
}

/// `/api/v1/status/self_metrics`, with `metric_name_pattern`.
pub async fn self_metrics(
    extract::State(state): extract::State<State>,
    params: Params,
) -> Result<Response, ApiError> {
    let wanted = match params.get("metric_name_pattern") {
        None => None,
        Some(pattern) => {
            let matcher = Matcher::new(METRIC_NAME, MatchOp::Regex, pattern);
            Some(matcher.map_err(|error| {
                ApiError::bad_data(format!("invalid metric_name_pattern: {error}"))
            })?)
        }
    };
    // Counting reads the ledger, which may be in the middle of a transaction.
    let page = blocking(move || (state.own_metrics)()).await?;
    let families = families(&page).map_err(ApiError::internal)?;
    let shown = families.into_iter().filter(|(name, family)| {
        !family.samples.is_empty() && wanted.as_ref().is_none_or(|wanted| wanted.matches(name))
    });
    let shown: Vec<Value> = shown.map(|(name, family)| shape(&name, family)).collect();
    Ok(success(
        |json| {
            json.list(&shown, |json, family| {
                json.raw(&family.to_string());
            });
        },
        &[],
        &[],
    ))
}

fn families(page: &str) -> Result<BTreeMap<String, Family>, String> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut wrong = None;
    parse(page.as_bytes(), Format::Text, &mut |entry| match entry {
        Entry::Help { name, text } => {
            families.entry(name.to_owned()).or_default().help = unescape_help(text);
        }
        Entry::Type { name, kind } => families.entry(name.to_owned()).or_default().kind = kind,
        Entry::Unit { .. } => {}
        Entry::Sample(sample) => match sample.labels() {
            Ok(labels) => {
                let name = labels.metric_name().unwrap_or("").to_owned();
                let family = families.entry(name).or_default();
                let kind = family.kind;
                let pairs = labels.iter().filter(|label| label.name.as_ref() != METRIC_NAME);
                let pairs: Vec<Value> = pairs
                    .map(|label| json!({"name": label.name.as_ref(), "value": label.value.as_ref()}))
                    .collect();
                let mut metric = json!({ field(kind): {"value": number(sample.value)} });
                if !pairs.is_empty() {
                    metric["label"] = Value::Array(pairs);
                }
                family.samples.push(metric);
            }
            Err(error) => wrong = Some(error),
        },
    })
    .map_err(|error| error.to_string())?;
    wrong.map_or(Ok(families), Err)
}

fn shape(name: &str, family: Family) -> Value {
    let kind = field(family.kind).to_uppercase();
    json!({"name": name, "help": family.help, "type": kind, "metric": family.samples})
}

/// The field of a value of this kind.
fn field(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        _ => "untyped",
    }
}

/// A double in protobuf's JSON: three of them are texts.
fn number(value: f64) -> Value {
    match value {
        _ if value.is_nan() => json!("NaN"),
        f64::INFINITY => json!("Infinity"),
        f64::NEG_INFINITY => json!("-Infinity"),
        value => json!(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_becomes_families() {
        let page = "# HELP up_total How\\noften.\n# TYPE up_total counter\nup_total{a=\"b\"} 2\n\
                    # TYPE g gauge\ng +Inf\n";
        let shown: Vec<Value> =
            families(page).unwrap().into_iter().map(|(name, one)| shape(&name, one)).collect();
        assert_eq!(
            shown,
            [
                json!({"name": "g", "help": "", "type": "GAUGE",
                    "metric": [{"gauge": {"value": "Infinity"}}]}),
                json!({"name": "up_total", "help": "How\noften.", "type": "COUNTER",
                    "metric": [{"counter": {"value": 2.0},
                        "label": [{"name": "a", "value": "b"}]}]}),
            ]
        );
    }
}
