//! Loki's HTTP API (`pkg/loghttp`), shapes and words its own.

pub mod about;
pub mod delete;
pub mod detected;
pub mod index;
pub mod listing;
pub mod patterns;
pub mod push;
pub mod query;
pub mod ruler;
pub mod tail;

use crate::error::ApiError;
use crate::json::Json;
use crate::params::Params;
use crate::prometheus::not_found;
use crate::state::State;
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};

/// Everything under `/loki/api/v1`.
pub fn router() -> Router<State> {
    read_router()
        .route("/push", post(push::push))
        .route(
            "/delete",
            get(delete::list).post(delete::make).put(delete::make).delete(delete::take_back),
        )
        .nest("/rules", rules_router())
        .fallback(any(not_found))
}

/// The rules that clients list, send and remove, under `/loki/api/v1/rules` and `/api/prom/rules`.
pub fn rules_router() -> Router<State> {
    Router::new()
        .route("/", get(ruler::list))
        .route(
            "/{namespace}",
            get(ruler::namespace).post(ruler::put).delete(ruler::remove_namespace),
        )
        .route("/{namespace}/{group}", get(ruler::group).delete(ruler::remove_group))
}

/// Loki's ruler as Prometheus' API shows it, under `/prometheus/api/v1`.
pub fn ruler_router() -> Router<State> {
    Router::new()
        .route("/rules", get(ruler::states))
        .route("/alerts", get(ruler::alerts))
        .fallback(any(not_found))
}

/// The part that only reads.
pub fn read_router() -> Router<State> {
    Router::new()
        .route("/query", get(query::instant).post(query::instant))
        .route("/query_range", get(query::range).post(query::range))
        .route("/labels", get(listing::labels).post(listing::labels))
        .route("/label", get(listing::labels))
        .route("/label/{name}/values", get(listing::label_values))
        .route("/series", get(listing::series).post(listing::series))
        .route("/index/stats", get(index::stats).post(index::stats))
        .route("/index/volume", get(index::volume).post(index::volume))
        .route("/index/volume_range", get(index::volume_range).post(index::volume_range))
        .route("/patterns", get(patterns::patterns).post(patterns::patterns))
        .route("/detected_labels", get(detected::labels).post(detected::labels))
        .route("/detected_fields", get(detected::fields).post(detected::fields))
        .route("/detected_field/{name}/values", get(detected::values).post(detected::values))
        .route("/tail", get(tail::tail))
        .route("/format_query", get(about::format_query).post(about::format_query))
        .route("/drilldown-limits", get(about::drilldown_limits))
        .route("/status/buildinfo", get(buildinfo))
}

/// `/loki/api/v1/status/buildinfo`, without Prometheus' envelope.
async fn buildinfo() -> Response {
    let body = format!(
        r#"{{"version":"{}","revision":"vigie-{}","branch":"main","buildUser":"vigie","buildDate":"","goVersion":""}}"#,
        crate::LOKI_VERSION,
        env!("CARGO_PKG_VERSION")
    );
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

/// A time as Loki reads it: up to ten digits are seconds, more are nanoseconds, a fraction makes it
/// seconds, else RFC 3339. In nanoseconds.
pub fn parse_time_ns(text: &str) -> Option<i64> {
    if text.contains('.')
        && let Ok(seconds) = text.parse::<f64>()
    {
        // Rounded to milliseconds, as Loki does.
        return Some((seconds * 1000.0).round() as i64 * 1_000_000);
    }
    if let Ok(number) = text.parse::<i64>() {
        return if text.trim_start_matches('-').len() <= 10 {
            number.checked_mul(1_000_000_000)
        } else {
            Some(number)
        };
    }
    let at = text.parse::<jiff::Timestamp>().ok()?;
    i64::try_from(at.as_nanosecond()).ok()
}

/// `start` and `end` (or `since`), one hour by default.
pub(crate) fn range_ns(params: &Params) -> Result<(i64, i64), ApiError> {
    let bad = |name: &str, text: &str| {
        ApiError::bad_data(format!(
            "could not parse '{name}' parameter: cannot parse {text:?} to a valid timestamp"
        ))
    };
    let time = |name: &str| match params.get(name) {
        Some(text) => parse_time_ns(text).map(Some).ok_or_else(|| bad(name, text)),
        None => Ok(None),
    };
    let now_ns = crate::state::now_ns();
    let end_ns = time("end")?.unwrap_or(now_ns);
    let since_ns = match params.get("since") {
        Some(text) => crate::params::parse_step_ms(text)
            .map_err(|_| bad("since", text))?
            .saturating_mul(1_000_000),
        None => 3_600_000_000_000,
    };
    let start_ns = time("start")?.unwrap_or_else(|| end_ns.min(now_ns).saturating_sub(since_ns));
    if start_ns > end_ns {
        return Err(ApiError::bad_data("end timestamp must not be before or equal to start time"));
    }
    Ok((start_ns, end_ns))
}

/// A successful answer: `{"status":"success","data":…}` with `data` written by the caller.
pub(crate) fn success(data: impl FnOnce(&mut Json)) -> Response {
    let mut json = Json::default();
    json.raw(r#"{"status":"success","data":"#);
    data(&mut json);
    json.raw("}");
    answer(json.into_bytes())
}

/// A body with the content type that Loki writes.
pub(crate) fn answer(body: Vec<u8>) -> Response {
    ([(CONTENT_TYPE, "application/json; charset=UTF-8")], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_loki_reads_them() {
        for (text, ns) in [
            ("1700000000", Some(1_700_000_000_000_000_000)),
            ("1700000000123456789", Some(1_700_000_000_123_456_789)),
            ("1700000000.1234", Some(1_700_000_000_123_000_000)),
            ("1970-01-01T00:00:01.5Z", Some(1_500_000_000)),
            ("x", None),
        ] {
            assert_eq!(parse_time_ns(text), ns, "{text}");
        }
    }
}
