//! `/federate`: the newest sample of each selected series, as text or protobuf for another server to
//! scrape.
//!
//! Upstream's rules (`web/federate.go`): what is not there any more is left out, samples carry their
//! own instants, every family is untyped, `external_labels` are added where a series has no such
//! label, and `instance=""` where it has none, so that the scraping server does not put its own.
//! Names that need quotes are written with underscores unless the client says that it takes UTF-8.
//! Native histograms go out in protobuf, to who accepts it; those with custom buckets become classic
//! ones in both forms. There are no exemplars, as upstream.

use crate::held::charge;
use crate::params::Params;
use crate::queries::client_of;
use crate::state::{State, now_ms};
use axum::extract;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use std::collections::BTreeMap;
use std::sync::Arc;
use vigie_codec::exposition::protobuf::{WrittenMetric, WrittenValue, put_family};
use vigie_codec::exposition::{MetricKind, format_float};
use vigie_engine::{About, Detail, Engine, QueryError, QueryErrorKind, QueryOptions, When};
use vigie_model::histogram::ResetHint;
use vigie_model::{Labels, METRIC_NAME};
use vigie_promql::{Expr, FloatHistogram, Value, ValueType};

/// How far back a sample may lie: the lookback of an instant vector.
const LOOKBACK: &str = "5m";

/// What series are there, by name and labels, with the instant of their newest sample.
type Latest = BTreeMap<(String, Labels), (i64, Newest)>;

/// The newest sample of a series.
#[derive(Clone)]
enum Newest {
    Float(f64),
    Native(Arc<FloatHistogram>),
}

/// The media type of protobuf pages.
const PROTOBUF: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// GET `/federate?match[]=…`.
pub async fn federate(
    extract::State(state): extract::State<State>,
    headers: HeaderMap,
    params: Params,
) -> Response {
    let selectors: Result<Vec<Expr>, String> = params.all("match[]").map(selector).collect();
    let selectors = match selectors {
        Ok(selectors) => selectors,
        Err(words) => return plain(StatusCode::BAD_REQUEST, words),
    };
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    let form = Form::of(accept);
    let utf8 = accept.contains("escaping=allow-utf-8");
    let page = Page { utf8, external: state.loading.now().external_labels.clone() };
    let media_type = match form {
        Form::Text => "text/plain; version=0.0.4; charset=utf-8",
        Form::Protobuf => PROTOBUF,
    };
    let escaping = if page.utf8 { "allow-utf-8" } else { "underscores" };
    let kind = format!("{media_type}; escaping={escaping}");
    let engine = state.engine.clone();
    let about = About {
        text: params.all("match[]").collect::<Vec<_>>().join(" or "),
        language: "promql",
        client: client_of(&headers),
    };
    let limits = (state.engine.queries().limits().timeout_ms, Detail::default());
    let written = state.ask(about, limits, move |options, ticket| {
        let latest = latest(engine.as_ref(), &selectors, now_ms(), &options)?;
        let page = match form {
            Form::Text => page.write(&latest).into_bytes(),
            Form::Protobuf => page.write_protobuf(&latest),
        };
        Ok(charge(([(CONTENT_TYPE, kind)], page).into_response(), ticket))
    });
    match written.await {
        Ok(response) => response,
        Err(error) => plain(error.status(), error.message().to_owned()),
    }
}

fn plain(status: StatusCode, words: String) -> Response {
    (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], words + "\n").into_response()
}

fn selector(text: &str) -> Result<Expr, String> {
    vigie_promql::parse_selector(text).map_err(|error| error.to_string())?;
    let expr = vigie_promql::parse(text).map_err(|error| error.to_string())?;
    assert_eq!(expr.value_type(), ValueType::Vector, "a selector is a vector");
    Ok(expr)
}

/// An instant vector says what is still there, and a range vector when its samples are from.
fn latest(
    engine: &dyn Engine,
    selectors: &[Expr],
    now_ms: i64,
    options: &QueryOptions,
) -> Result<Latest, QueryError> {
    let mut all = Latest::new();
    for selector in selectors {
        let when = When::Instant(now_ms);
        let Value::Vector(samples) = engine.query_metrics(selector, when, options)?.value else {
            continue;
        };
        let range = vigie_promql::parse(&format!("{selector}[{LOOKBACK}]")).map_err(|error| {
            QueryError { kind: QueryErrorKind::Internal, message: error.to_string() }
        })?;
        let Value::Matrix(series) = engine.query_metrics(&range, when, options)?.value else {
            continue;
        };
        let by_labels: BTreeMap<&Labels, _> = series.iter().map(|one| (&one.labels, one)).collect();
        for sample in samples {
            let Some(name) = sample.labels.metric_name().map(str::to_owned) else { continue };
            let Some(series) = by_labels.get(&sample.labels) else { continue };
            let newest = match sample.histogram {
                None => series.points.last().map(|(ts_ms, value)| (*ts_ms, Newest::Float(*value))),
                Some(native) => {
                    let last = series.histograms.last();
                    last.map(|(ts_ms, _)| (*ts_ms, Newest::Native(native)))
                }
            };
            if let Some(newest) = newest {
                all.insert((name, sample.labels.without(&[METRIC_NAME])), newest);
            }
        }
    }
    Ok(all)
}

/// What a page is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    Protobuf,
}

impl Form {
    /// The first of the client's favourites that is written here; text for everybody else.
    fn of(accept: &str) -> Form {
        let weight = |one: &&str| {
            let q = one.split(';').find_map(|part| part.trim().strip_prefix("q="));
            // In thousandths, as a header may have them.
            let q = q.map_or(1.0, |text| text.trim().parse().unwrap_or(0.0));
            (q * -1000.0) as i32
        };
        let mut ranges: Vec<&str> = accept.split(',').collect();
        ranges.sort_by_key(weight);
        for range in ranges {
            let mut parts = range.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or("");
            let parameter = |wanted: &str| {
                let mut pairs = range.split(';').filter_map(|part| part.trim().split_once('='));
                pairs.find(|(name, _)| *name == wanted).map_or("", |(_, value)| value)
            };
            let is_text =
                media_type == "text/plain" && ["", "0.0.4"].contains(&parameter("version"));
            if is_text {
                return Form::Text;
            }
            if media_type == "application/vnd.google.protobuf"
                && parameter("proto") == "io.prometheus.client.MetricFamily"
                && parameter("encoding") == "delimited"
            {
                return Form::Protobuf;
            }
        }
        Form::Text
    }
}

/// The type of the family that a sample belongs to.
fn kind_of(newest: &Newest) -> MetricKind {
    match newest {
        Newest::Float(_) => MetricKind::Unknown,
        Newest::Native(native) if native.reset_hint == ResetHint::Gauge => {
            MetricKind::GaugeHistogram
        }
        Newest::Native(_) => MetricKind::Histogram,
    }
}

/// The cumulative buckets of a histogram with custom ones, by upper bound, without +Inf.
fn classic(native: &FloatHistogram) -> Vec<(f64, f64)> {
    let ranges = native.ascending();
    let below = |bound: f64| {
        ranges.iter().filter(|one| one.upper <= bound).map(|one| one.count).sum::<f64>()
    };
    native.custom_values.iter().map(|bound| (*bound, below(*bound))).collect()
}

struct Page {
    utf8: bool,
    external: Labels,
}

impl Page {
    fn write(&self, latest: &Latest) -> String {
        let (mut out, mut family) = (String::new(), None);
        for ((name, labels), (ts_ms, newest)) in latest {
            if let Newest::Native(native) = newest
                && !native.has_custom_buckets()
            {
                // Text cannot say it.
                continue;
            }
            let kind = kind_of(newest);
            if family != Some((name, kind)) {
                // What has no type is said in the word of this form.
                let word = match kind {
                    MetricKind::Unknown => "untyped",
                    // Nor has it gauges of histograms.
                    _ => "histogram",
                };
                out.push_str(&format!("# TYPE {} {word}\n", self.name(name)));
                family = Some((name, kind));
            }
            let mut line = |suffix: &str, le: Option<f64>, value: f64| {
                let mut pairs = self.labels(labels);
                pairs.extend(le.map(|bound| ("le".to_owned(), format_float(bound))));
                self.line(&mut out, &format!("{name}{suffix}"), &pairs, (value, *ts_ms));
            };
            match newest {
                Newest::Float(value) => line("", None, *value),
                Newest::Native(native) => {
                    for (bound, below) in classic(native) {
                        line("_bucket", Some(bound), below);
                    }
                    line("_bucket", Some(f64::INFINITY), native.count);
                    line("_sum", None, native.sum);
                    line("_count", None, native.count);
                }
            }
        }
        out
    }

    fn line(
        &self,
        out: &mut String,
        name: &str,
        pairs: &[(String, String)],
        (value, ts_ms): (f64, i64),
    ) {
        let mut parts = Vec::with_capacity(pairs.len() + 1);
        if !is_plain(name) && self.utf8 {
            parts.push(self.name(name));
        } else {
            out.push_str(&self.name(name));
        }
        let pair =
            |(name, value): &(String, String)| format!("{}=\"{}\"", self.name(name), escape(value));
        parts.extend(pairs.iter().map(pair));
        out.push_str(&format!("{{{}}} {} {ts_ms}\n", parts.join(","), format_float(value)));
    }

    fn write_protobuf(&self, latest: &Latest) -> Vec<u8> {
        let mut out = Vec::new();
        let mut families: Vec<(&str, MetricKind, Vec<WrittenMetric>)> = Vec::new();
        for ((name, labels), (ts_ms, newest)) in latest {
            let value = match newest {
                Newest::Float(value) => WrittenValue::Untyped(*value),
                Newest::Native(native) if native.has_custom_buckets() => WrittenValue::Classic {
                    count: native.count,
                    sum: native.sum,
                    buckets: classic(native),
                },
                Newest::Native(native) => WrittenValue::Native(native.to_stored()),
            };
            let labels = self.labels(labels).into_iter();
            let labels = labels.map(|(name, value)| (self.plain_name(&name), value)).collect();
            let metric = WrittenMetric { labels, ts_ms: *ts_ms, value };
            let kind = kind_of(newest);
            match families.last_mut() {
                Some((last, of, metrics)) if *last == name && *of == kind => metrics.push(metric),
                _ => families.push((name, kind, vec![metric])),
            }
        }
        for (name, kind, metrics) in families {
            put_family(&mut out, &self.plain_name(name), kind, &metrics);
        }
        out
    }

    /// A series' own labels and those that are added where it has none of that name.
    fn labels(&self, labels: &Labels) -> Vec<(String, String)> {
        let mut added: BTreeMap<&str, &str> = BTreeMap::from([("instance", "")]);
        let external = self.external.iter();
        added.extend(external.map(|label| (label.name.as_ref(), label.value.as_ref())));
        let own = labels.iter().map(|label| (label.name.as_ref(), label.value.as_ref()));
        let others = added.iter().map(|(name, value)| (*name, *value));
        let others = others.filter(|(name, _)| labels.get(name).is_none());
        own.chain(others).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// A name as this client reads it in protobuf, where nothing needs quotes.
    fn plain_name(&self, name: &str) -> String {
        if self.utf8 { name.to_owned() } else { self.name(name) }
    }

    /// A name as this client reads it.
    fn name(&self, name: &str) -> String {
        match (is_plain(name), self.utf8) {
            (true, _) => name.to_owned(),
            (false, true) => format!("\"{}\"", escape(name)),
            (false, false) => {
                let plain = |(at, c): (usize, char)| if is_part(at, c) { c } else { '_' };
                name.chars().enumerate().map(plain).collect()
            }
        }
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().enumerate().all(|(at, c)| is_part(at, c))
}

fn is_part(at: usize, c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || c == ':' || (at > 0 && c.is_ascii_digit())
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::Form;

    #[test]
    fn the_clients_favourite_counts() {
        let protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
        for (accept, wanted) in [
            (protobuf.to_owned(), Form::Protobuf),
            (format!("{protobuf};q=0.6,text/plain;version=0.0.4;q=0.4"), Form::Protobuf),
            (format!("{protobuf};q=0.4,text/plain;version=0.0.4;q=0.6"), Form::Text),
            (
                format!("application/openmetrics-text;version=1.0.0;q=0.7,{protobuf};q=0.4"),
                Form::Protobuf,
            ),
            (protobuf.replace("delimited", "text"), Form::Text),
            ("*/*".to_owned(), Form::Text),
            (String::new(), Form::Text),
        ] {
            assert_eq!(Form::of(&accept), wanted, "{accept}");
        }
    }
}
