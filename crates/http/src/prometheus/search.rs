//! `search/{metric_names,label_names,label_values}`: names for who is still typing, as lines of JSON.
//!
//! Experimental upstream (`web/api/v1/search.go`) and behind the same flag here
//! (`--enable-feature=search-api`). The answer is batches (`{"results":[…]}`) and a last line that
//! says whether there are more.

use super::selectors;
use crate::error::ApiError;
use crate::json::{Json, float_text};
use crate::nearness::{jaro_winkler, subsequence, substring};
use crate::params::{Params, parse_time_ms};
use crate::state::{State, now_ms};
use axum::Router;
use axum::extract;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use vigie_model::{METRIC_NAME, Matcher, TimeRange};

/// The algorithms by name, the first without being asked for.
pub const ALGORITHMS: [&str; 2] = ["subsequence", "jarowinkler"];
/// Results when no number is asked for, and of one batch.
const COUNT_DEFAULT: usize = 100;
/// Most results (Prometheus' `web.search.max-limit`).
const LIMIT_MAX: usize = 10_000;
/// Most texts that are searched for at once.
const TERMS_MAX: usize = 32;
/// How far back names are looked for when no start is named.
const HOUR_MS: i64 = 3_600_000;

/// Below `/api/v1`.
pub fn router() -> Router<State> {
    Router::new()
        .route("/search/metric_names", get(metric_names).post(metric_names))
        .route("/search/label_names", get(label_names).post(label_names))
        .route("/search/label_values", get(label_values).post(label_values))
}

async fn metric_names(
    extract::State(state): extract::State<State>,
    params: Params,
) -> Result<Response, ApiError> {
    let asked = Asked::read(&state, &params, "metric_names")?;
    let with_metadata = flag(&params, "include_metadata", false)?;
    let names = asked.values(&state, METRIC_NAME.to_owned()).await?;
    let known = state.metadata.clone();
    Ok(asked.answer(names, "name", |json, name| {
        if !with_metadata {
            return;
        }
        for (_, entry) in known.list(Some(name), 1) {
            let told = [("type", &entry.kind), ("help", &entry.help), ("unit", &entry.unit)];
            for (field, text) in told.into_iter().filter(|(_, text)| !text.is_empty()) {
                json.raw(",").text(field).raw(":").text(text);
            }
        }
    }))
}

async fn label_names(
    extract::State(state): extract::State<State>,
    params: Params,
) -> Result<Response, ApiError> {
    let asked = Asked::read(&state, &params, "label_names")?;
    let (engine, selectors, range) = (state.engine.clone(), asked.selectors.clone(), asked.range);
    let names = state.run(move || engine.metric_label_names(&selectors, range)).await?;
    Ok(asked.answer(names, "name", |_, _| {}))
}

async fn label_values(
    extract::State(state): extract::State<State>,
    params: Params,
) -> Result<Response, ApiError> {
    let asked = Asked::read(&state, &params, "label_values")?;
    let label = params.get("label").map(str::to_owned);
    let label = label.ok_or_else(|| ApiError::bad_data("missing required parameter \"label\""))?;
    let values = asked.values(&state, label).await?;
    Ok(asked.answer(values, "value", |_, _| {}))
}

/// How results are ordered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Ascending,
    Descending,
    Score,
}

/// What all three take.
struct Asked {
    selectors: Vec<Vec<Matcher>>,
    range: TimeRange,
    terms: Vec<String>,
    threshold: f64,
    winkler: bool,
    case_sensitive: bool,
    with_score: bool,
    order: Order,
    limit: usize,
    batch: usize,
}

impl Asked {
    fn read(state: &State, params: &Params, endpoint: &str) -> Result<Asked, ApiError> {
        if !state.settings.search {
            return Err(ApiError::switched_off("search API disabled"));
        }
        let now = now_ms();
        let range = TimeRange {
            start_ms: time(params, "start", now - HOUR_MS)?,
            end_ms: time(params, "end", now)?,
        };
        if range.end_ms < range.start_ms {
            return Err(ApiError::bad_data("end timestamp must not be before start timestamp"));
        }
        let selectors = selectors(params).map_err(ApiError::bad_data)?;
        let mut terms: Vec<String> = params.all("search[]").map(str::to_owned).collect();
        if terms.len() > TERMS_MAX {
            return Err(ApiError::bad_data(format!(
                "too many search[] terms: got {}, maximum is {TERMS_MAX}",
                terms.len()
            )));
        }
        let searches = !terms.is_empty();
        let threshold = threshold(params)?;
        let winkler = winkler(params)?;
        let case_sensitive = flag(params, "case_sensitive", true)?;
        let with_score = flag(params, "include_score", false)?;
        let order = order(params, endpoint, searches)?;
        terms.retain(|term| !term.is_empty());
        if !case_sensitive {
            terms.iter_mut().for_each(|term| *term = term.to_lowercase());
        }
        let limit = count(params, "limit")?;
        if limit > LIMIT_MAX {
            return Err(ApiError::bad_data(format!(
                "limit {limit} exceeds the configured maximum ({LIMIT_MAX}, see --web.search.max-limit)"
            )));
        }
        let batch = count(params, "batch_size")?;
        Ok(Asked {
            selectors,
            range,
            terms,
            threshold,
            winkler,
            case_sensitive,
            with_score,
            order,
            limit,
            batch,
        })
    }

    async fn values(&self, state: &State, label: String) -> Result<Vec<String>, ApiError> {
        let (engine, selectors, range) = (state.engine.clone(), self.selectors.clone(), self.range);
        state.run(move || engine.metric_label_values(&label, &selectors, range)).await
    }

    /// The score of a name; `None` when it is not looked for.
    fn score(&self, name: &str) -> Option<f64> {
        if self.terms.is_empty() {
            return Some(1.0);
        }
        let folded = (!self.case_sensitive).then(|| name.to_lowercase());
        let name = folded.as_deref().unwrap_or(name);
        let scores = self.terms.iter().filter_map(|term| self.score_of(term, name));
        scores.max_by(f64::total_cmp)
    }

    fn score_of(&self, term: &str, name: &str) -> Option<f64> {
        if !self.winkler {
            if name.starts_with(term) {
                return Some(1.0);
            }
            let score = subsequence(term, name);
            return (score > 0.0 && score >= self.threshold).then_some(score);
        }
        substring(term, name).or_else(|| {
            // Without a threshold everything would be near enough.
            let score = (self.threshold > 0.0).then(|| jaro_winkler(term, name))?;
            (score >= self.threshold).then_some(score)
        })
    }

    fn answer(&self, names: Vec<String>, field: &str, more: impl Fn(&mut Json, &str)) -> Response {
        let scored = names.into_iter().filter_map(|name| Some((self.score(&name)?, name)));
        let mut found: Vec<(f64, String)> = scored.collect();
        match self.order {
            Order::Ascending => found.sort_by(|a, b| a.1.cmp(&b.1)),
            Order::Descending => found.sort_by(|a, b| b.1.cmp(&a.1)),
            Order::Score => found.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1))),
        }
        let has_more = found.len() > self.limit;
        found.truncate(self.limit);
        let mut json = Json::default();
        let batches: Vec<&[(f64, String)]> = found.chunks(self.batch).collect();
        // There is a first batch even of nothing.
        for batch in if batches.is_empty() { vec![&[][..]] } else { batches } {
            json.raw(r#"{"results":"#).list(batch, |json, (score, name)| {
                json.raw("{").text(field).raw(":").text(name);
                if self.with_score {
                    json.raw(r#","score":"#).raw(&float_text(*score));
                }
                more(json, name);
                json.raw("}");
            });
            json.raw("}\n");
        }
        json.raw(&format!("{{\"status\":\"success\",\"has_more\":{has_more}}}\n"));
        let kind = [(CONTENT_TYPE, "application/x-ndjson; charset=utf-8")];
        (kind, json.into_bytes()).into_response()
    }
}

fn time(params: &Params, name: &str, default_ms: i64) -> Result<i64, ApiError> {
    let Some(text) = params.get(name) else { return Ok(default_ms) };
    parse_time_ms(text).ok_or_else(|| {
        ApiError::bad_data(format!(
            "invalid time value for '{name}': cannot parse {text:?} to a valid timestamp"
        ))
    })
}

fn threshold(params: &Params) -> Result<f64, ApiError> {
    let Some(text) = params.get("fuzz_threshold") else { return Ok(0.0) };
    let percent = text.parse::<i64>().ok().filter(|percent| (0..=100).contains(percent));
    let percent = percent.ok_or_else(|| {
        ApiError::bad_data(format!("invalid fuzz_threshold {text:?}: must be 0-100"))
    })?;
    Ok(percent as f64 / 100.0)
}

fn winkler(params: &Params) -> Result<bool, ApiError> {
    let name = params.get("fuzz_alg").unwrap_or(ALGORITHMS[0]);
    if !ALGORITHMS.contains(&name) {
        let all = ALGORITHMS.join(" ");
        let words = format!("unsupported fuzz_alg {name:?}: must be one of [{all}]");
        return Err(ApiError::bad_data(words));
    }
    Ok(name == ALGORITHMS[1])
}

fn flag(params: &Params, name: &str, default: bool) -> Result<bool, ApiError> {
    match params.get(name) {
        None => Ok(default),
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(text) => Err(ApiError::bad_data(format!("invalid {name} {text:?}: must be boolean"))),
    }
}

fn order(params: &Params, endpoint: &str, searches: bool) -> Result<Order, ApiError> {
    let (by, direction) = (params.get("sort_by"), params.get("sort_dir"));
    let wrong = |words: String| Err(ApiError::bad_data(words));
    match (by, direction) {
        (None, Some(_)) => return wrong("sort_dir is only valid when sort_by is set".to_owned()),
        (Some("score"), Some(_)) => {
            return wrong("sort_dir is not supported for sort_by=score".to_owned());
        }
        (_, Some(text)) if !["asc", "dsc"].contains(&text) => {
            return wrong(format!("invalid sort_dir {text:?}: must be \"asc\" or \"dsc\""));
        }
        _ => {}
    }
    match by {
        Some("score") if !searches => wrong("sort_by=score requires search[] to be set".to_owned()),
        Some("score") => Ok(Order::Score),
        Some("alpha") if direction == Some("dsc") => Ok(Order::Descending),
        None | Some("alpha") => Ok(Order::Ascending),
        Some(text) => wrong(format!(
            "invalid sort_by {text:?} for {endpoint}: must be \"alpha\" or \"score\""
        )),
    }
}

fn count(params: &Params, name: &str) -> Result<usize, ApiError> {
    let Some(text) = params.get(name) else { return Ok(COUNT_DEFAULT) };
    text.parse::<usize>().ok().filter(|count| *count > 0).ok_or_else(|| {
        ApiError::bad_data(format!("invalid {name} {text:?}: must be a positive integer"))
    })
}
