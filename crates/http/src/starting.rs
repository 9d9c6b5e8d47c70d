//! What is answered while the stores open: 503 on every path, with how far the start is.
//!
//! A path of an API gets Prometheus' envelope of an error and the numbers beside it, any other a
//! sentence. Health is answered as by Prometheus: the process is alive. `Retry-After` makes clients
//! that know it (remote write, Loki's agents) come again soon.

use crate::json::Json;
use crate::router::HEALTHY;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use vigie_engine::Progress;

const PLAIN: &str = "text/plain; charset=utf-8";
const RETRY_AFTER_S: &str = "1";

/// The answer to a request that came before the stores were open.
pub(crate) fn answer(path: &str, progress: Option<Progress>) -> Response {
    if path == "/-/healthy" {
        return ([(CONTENT_TYPE, PLAIN)], HEALTHY).into_response();
    }
    let words = words(progress);
    let (content_type, body) = match path.contains("/api/") {
        true => ("application/json", json(&words, progress)),
        false => (PLAIN, format!("Service Unavailable: {words}\n").into_bytes()),
    };
    let headers = [(CONTENT_TYPE, content_type), (RETRY_AFTER, RETRY_AFTER_S)];
    (StatusCode::SERVICE_UNAVAILABLE, headers, body).into_response()
}

fn words(progress: Option<Progress>) -> String {
    match progress {
        None => "Vigie is starting".to_owned(),
        Some(Progress { phase, done, total }) => {
            let percent = (done.min(total) * 100).checked_div(total);
            let percent = percent.map_or(String::new(), |percent| format!(" ({percent} %)"));
            format!("Vigie is starting: reading {phase}{percent}")
        }
    }
}

fn json(words: &str, progress: Option<Progress>) -> Vec<u8> {
    let mut json = Json::default();
    json.raw(r#"{"status":"error","errorType":"unavailable","error":"#).text(words);
    if let Some(Progress { phase, done, total }) = progress {
        json.raw(r#","progress":{"phase":"#).text(phase);
        json.raw(&format!(r#","done":{done},"total":{total}}}"#));
    }
    json.raw("}");
    json.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_in_words_and_in_numbers() {
        let at = |done, total| Some(Progress { phase: "the log of metrics", done, total });
        for (progress, wanted) in [
            (None, "Vigie is starting"),
            (at(0, 0), "Vigie is starting: reading the log of metrics"),
            (at(5, 20), "Vigie is starting: reading the log of metrics (25 %)"),
            (at(21, 20), "Vigie is starting: reading the log of metrics (100 %)"),
        ] {
            assert_eq!(words(progress), wanted);
        }
        let body: serde_json::Value =
            serde_json::from_slice(&json(&words(at(5, 20)), at(5, 20))).unwrap();
        assert_eq!(body["progress"]["done"], 5);
        assert_eq!(body["errorType"], "unavailable");
    }
}
