//! `logs.metrics`: which metrics are made of lines as they arrive.

use crate::error::ConfigError;
use crate::yaml::{Source, Spanned};
use crate::{LogMetric, LogMetricKind};
use serde::Deserialize;

/// A metric, or a preset that stands for some.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Metric {
    preset: Option<String>,
    #[serde(rename = "match")]
    query: String,
    name: Option<String>,
    #[serde(rename = "type")]
    kind: Option<Kind>,
    help: Option<String>,
    labels: Option<Vec<String>>,
    value: Option<String>,
    scale: Option<f64>,
    buckets: Option<Vec<f64>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Counter,
    Histogram,
}

/// Prometheus' client libraries' own.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Most buckets of a histogram.
const BUCKETS_MAX: usize = 64;

/// The access lines that are known by name: how fields are found, which of them is the duration,
/// and how many seconds it counts in.
const PRESETS: [(&str, &str, &str, f64); 5] = [
    // actix-web's `Logger` with its default format.
    ("actix-web", COMBINED, "duration", 1.0),
    // A line of JSON for each request, as `tracing` writes it.
    (
        "actix-web-json",
        "| json method, path, status, duration_ms | status != \"\"",
        "duration_ms",
        0.001,
    ),
    // `combined`, with `$request_time` at the end when somebody put it there.
    ("nginx", COMBINED, "duration", 1.0),
    // Traefik's common log format.
    (
        "traefik",
        "| regexp `\"(?P<method>[A-Z]+) (?P<path>[^ \"]*)[^\"]*\" (?P<status>[0-9]{3}) .* (?P<duration_ms>[0-9]+)ms$` | status != \"\"",
        "duration_ms",
        0.001,
    ),
    // Its JSON format, whose durations are nanoseconds.
    (
        "traefik-json",
        "| json method=\"RequestMethod\", path=\"RequestPath\", status=\"DownstreamStatus\", duration=\"Duration\" | status != \"\"",
        "duration",
        1e-9,
    ),
];
/// Request, status, bytes, referer, agent, and a duration in seconds if there is one.
const COMBINED: &str = "| regexp `\"(?P<method>[A-Z]+) (?P<path>[^ \"]*)[^\"]*\" (?P<status>[0-9]{3}) (?P<bytes>[0-9]+|-)(?: \"[^\"]*\" \"[^\"]*\"(?: \"[^\"]*\")?(?: (?P<duration>[0-9]+\\.[0-9]+))?)?` | status != \"\"";

/// The metrics as used.
pub(crate) fn read(
    source: &Source<'_>,
    written: &[Spanned<Metric>],
) -> Result<Vec<LogMetric>, ConfigError> {
    let mut metrics = Vec::new();
    for one in written {
        let made = match &one.value.preset {
            Some(preset) => of_preset(&one.value, preset),
            None => alone(&one.value).map(|metric| vec![metric]),
        };
        metrics.extend(made.map_err(|message| source.wrong_at(one, &message))?);
    }
    Ok(metrics)
}

/// A counter of requests and a histogram of their durations.
fn of_preset(written: &Metric, preset: &str) -> Result<Vec<LogMetric>, String> {
    let known = PRESETS.iter().find(|(name, ..)| *name == preset);
    let Some((_, stages, duration, scale)) = known else {
        let names: Vec<&str> = PRESETS.iter().map(|(name, ..)| *name).collect();
        return Err(format!("there is no preset {preset:?}: write one of {}", names.join(", ")));
    };
    if written.name.is_some() || written.kind.is_some() || written.value.is_some() {
        return Err("a preset brings its own name, type and value: leave them out".to_owned());
    }
    let labels = |default: &[&str]| {
        let default = || default.iter().map(|name| (*name).to_owned()).collect();
        written.labels.clone().unwrap_or_else(default)
    };
    let query = format!("{} {stages}", written.query);
    Ok(vec![
        LogMetric {
            query: query.clone(),
            name: "http_requests_total".to_owned(),
            help: "Requests, counted from access lines.".to_owned(),
            kind: LogMetricKind::Counter,
            labels: labels(&["job", "method", "status"]),
            value: None,
            scale: 1.0,
        },
        LogMetric {
            query: format!("{query} | {duration} != \"\""),
            name: "http_request_duration_seconds".to_owned(),
            help: "How long requests took, from access lines.".to_owned(),
            kind: LogMetricKind::Histogram(buckets(written)?),
            labels: labels(&["job", "method"]),
            value: Some((*duration).to_owned()),
            scale: *scale,
        },
    ])
}

fn alone(written: &Metric) -> Result<LogMetric, String> {
    let Some(name) = &written.name else {
        return Err("a metric of lines needs a `name`, or a `preset`".to_owned());
    };
    let first = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    let is_name = name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit());
    if !is_name {
        return Err(format!("{name:?} is not the name of a metric"));
    }
    let kind = match written.kind.unwrap_or(Kind::Counter) {
        Kind::Counter if written.buckets.is_some() => {
            return Err("a counter has no buckets: write `type: histogram`".to_owned());
        }
        Kind::Counter => LogMetricKind::Counter,
        Kind::Histogram if written.value.is_none() => {
            return Err("a histogram needs `value`: the label whose number is observed".to_owned());
        }
        Kind::Histogram => LogMetricKind::Histogram(buckets(written)?),
    };
    let scale = written.scale.unwrap_or(1.0);
    if !scale.is_finite() || scale <= 0.0 {
        return Err("`scale` must be a number greater than zero".to_owned());
    }
    Ok(LogMetric {
        query: written.query.clone(),
        name: name.clone(),
        help: written.help.clone().unwrap_or_else(|| "Made of log lines.".to_owned()),
        kind,
        labels: written.labels.clone().unwrap_or_else(|| vec!["job".to_owned()]),
        value: written.value.clone(),
        scale,
    })
}

fn buckets(written: &Metric) -> Result<Vec<f64>, String> {
    let buckets = written.buckets.clone().unwrap_or_else(|| BUCKETS.to_vec());
    let rise = buckets.windows(2).all(|pair| pair[0] < pair[1]);
    if buckets.is_empty()
        || buckets.len() > BUCKETS_MAX
        || !rise
        || buckets.iter().any(|one| !one.is_finite())
    {
        return Err(format!("`buckets` must be 1 to {BUCKETS_MAX} numbers that rise"));
    }
    Ok(buckets)
}
