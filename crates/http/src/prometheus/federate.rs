//! `/federate`: the newest sample of each selected series, as text for another server to scrape.
//!
//! Upstream's rules (`web/federate.go`): what is not there any more is left out, samples carry their
//! own instants, every family is untyped, `external_labels` are added where a series has no such
//! label, and `instance=""` where it has none, so that the scraping server does not put its own.
//! Names that need quotes are written with underscores unless the client says that it takes UTF-8.

use crate::params::Params;
use crate::queries::client_of;
use crate::state::{State, now_ms};
use axum::extract;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use std::collections::BTreeMap;
use vigie_codec::exposition::format_float;
use vigie_engine::{About, Detail, Engine, QueryError, QueryErrorKind, QueryOptions, When};
use vigie_model::limits::QUERY_TIMEOUT_MS;
use vigie_model::{Labels, METRIC_NAME};
use vigie_promql::{Expr, Value, ValueType};

/// How far back a sample may lie: the lookback of an instant vector.
const LOOKBACK: &str = "5m";

/// What series are there, by name and labels, with the instant of their newest sample.
type Latest = BTreeMap<(String, Labels), (i64, f64)>;

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
    let page = Page { utf8: accept.contains("escaping=allow-utf-8"), state: state.clone() };
    let kind = format!(
        "text/plain; version=0.0.4; charset=utf-8; escaping={}",
        if page.utf8 { "allow-utf-8" } else { "underscores" }
    );
    let engine = state.engine.clone();
    let about = About {
        text: params.all("match[]").collect::<Vec<_>>().join(" or "),
        language: "promql",
        client: client_of(&headers),
    };
    let limits = (QUERY_TIMEOUT_MS, Detail::default());
    let written = state.ask(about, limits, move |options, _| {
        let latest = latest(engine.as_ref(), &selectors, now_ms(), &options)?;
        Ok(page.write(&latest))
    });
    match written.await {
        Ok(text) => ([(CONTENT_TYPE, kind)], text).into_response(),
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
        let last: BTreeMap<&Labels, (i64, f64)> =
            series.iter().filter_map(|one| Some((&one.labels, *one.points.last()?))).collect();
        // The text format has no native histograms.
        for sample in samples.into_iter().filter(|sample| sample.histogram.is_none()) {
            let Some(name) = sample.labels.metric_name().map(str::to_owned) else { continue };
            if let Some(point) = last.get(&sample.labels) {
                all.insert((name, sample.labels.without(&[METRIC_NAME])), *point);
            }
        }
    }
    Ok(all)
}

struct Page {
    utf8: bool,
    state: State,
}

impl Page {
    fn write(&self, latest: &Latest) -> String {
        let loaded = self.state.loading.now();
        let external = &loaded.external_labels;
        let mut added: BTreeMap<&str, &str> = BTreeMap::from([("instance", "")]);
        added.extend(external.iter().map(|label| (label.name.as_ref(), label.value.as_ref())));
        let (mut out, mut family) = (String::new(), None);
        for ((name, labels), (ts_ms, value)) in latest {
            if family != Some(name) {
                out.push_str(&format!("# TYPE {} untyped\n", self.name(name)));
                family = Some(name);
            }
            let quoted = !is_plain(name) && self.utf8;
            let mut parts = Vec::new();
            if quoted {
                parts.push(self.name(name));
            } else {
                out.push_str(&self.name(name));
            }
            let own = labels.iter().map(|label| (label.name.as_ref(), label.value.as_ref()));
            let others = added.iter().map(|(name, value)| (*name, *value));
            let others = others.filter(|(name, _)| labels.get(name).is_none());
            for (name, value) in own.chain(others) {
                parts.push(format!("{}=\"{}\"", self.name(name), escape(value)));
            }
            out.push_str(&format!("{{{}}} {} {ts_ms}\n", parts.join(","), format_float(*value)));
        }
        out
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
