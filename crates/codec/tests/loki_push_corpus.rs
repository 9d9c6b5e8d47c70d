//! Pushes that were sent to Loki 3.7.6, and what it answered, against our decoder.
//!
//! The corpus is not part of the repository: `VIGIE_CORPORA` names the directory that holds it.

#![allow(clippy::unwrap_used, reason = "a panic here is the failure report")]

use serde_json::Value;
use vigie_codec::loki_push::{ServiceName, decode};

/// Pushes that Loki refused for what only a store can know, or for its own smaller limits.
const NOT_DECIDED_HERE: [&str; 3] = ["push too far behind", "push future", "push 16 labels"];
/// Broken JSON: refused as by Loki, in words of our own, because its library's depend on where in
/// its buffer it gave up.
const OTHER_WORDS: [&str; 1] = ["push bad json"];

#[test]
fn pushes_get_the_answers_that_loki_gave() {
    let Some(corpora) = std::env::var_os("VIGIE_CORPORA") else {
        eprintln!("SKIPPED: about 26 pushes of loki/http_api_golden.json: VIGIE_CORPORA is unset");
        return;
    };
    let path = std::path::Path::new(&corpora).join("loki/http_api_golden.json");
    let golden: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut compared = 0;
    for case in golden["cases"].as_array().unwrap() {
        let (name, body) = (case["name"].as_str().unwrap(), case["body"].as_str());
        let (true, Some(body)) = (case["url"] == "/loki/api/v1/push", body) else { continue };
        let content_type = case["headers"]["Content-Type"].as_str().unwrap_or("");
        let decoded = decode(content_type, body.as_bytes(), ServiceName::Discover);
        if NOT_DECIDED_HERE.contains(&name) {
            assert!(decoded.is_ok(), "{name}");
            continue;
        }
        let (status, text) = match &decoded {
            Ok(_) => (204, String::new()),
            Err(error) => (error.status(), format!("{error}\n")),
        };
        assert_eq!(u64::from(status), case["status"].as_u64().unwrap(), "{name}: {text}");
        if !OTHER_WORDS.contains(&name) {
            assert_eq!(text, case["response"].as_str().unwrap(), "{name}");
        }
        compared += 1;
    }
    println!("{compared} pushes compared, {} left to the store", NOT_DECIDED_HERE.len());
    assert!(compared >= 20);
}
