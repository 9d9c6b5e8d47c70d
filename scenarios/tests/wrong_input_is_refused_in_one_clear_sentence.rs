//! Wrong files, wrong questions, wrong pushes, taken folders and ports: each is refused with what,
//! where and the next action, and nothing of it is kept.

#![allow(clippy::unwrap_used, reason = "a test's panic is its report")]

use std::net::TcpListener;
use vigie_scenarios::vigie::run_to_end;
use vigie_scenarios::{Vigie, free_port, get, http::encode, post};

const QUIET: &str = "web: {classic_ports: false}\nmetrics: {scrape_configs: [], host: false}\nlogs: {scrape_configs: []}\n";

#[test]
fn the_program_refuses_to_start_with_one_sentence_and_exit_code_1() {
    let home = tempfile::tempdir().unwrap();
    let wrong = home.path().join("wrong.yml");
    std::fs::write(&wrong, "storage:\n  retention:\n    metrics: 30 days\n").unwrap();
    let quiet = home.path().join("vigie.yml");
    std::fs::write(&quiet, QUIET).unwrap();
    let file = home.path().join("a-file");
    std::fs::write(&file, "x").unwrap();
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = format!("--web.listen-address={}", busy.local_addr().unwrap());
    let quiet = format!("--config.file={}", quiet.display());
    let free = format!("--web.listen-address=127.0.0.1:{}", free_port());
    let taken_home = home.path().join("taken");
    std::fs::create_dir(&taken_home).unwrap();
    let taken = format!("--storage.path={}", taken_home.join("data").display());
    let running = Vigie::start(&taken_home, &[&taken, &quiet]);

    let fresh = format!("--storage.path={}", home.path().join("fresh").display());
    let cases: [(&[&str], &[&str]); 6] = [
        (
            &[&format!("--config.file={}", wrong.display()), &fresh, &free],
            &["wrong.yml:3:14", "30d", "metrics: 30 days"],
        ),
        (&["--config.file=/nonexistent.yml", &fresh], &["cannot read /nonexistent.yml"]),
        (&[&quiet, &free, &format!("--storage.path={}", file.display())], &["a-file"]),
        (&[&quiet, &free, &taken], &["taken/data", "another Vigie"]),
        (&[&quiet, &busy, &fresh], &["cannot listen on 127.0.0.1:"]),
        (&[&quiet, "--web.listen-address=0.0.0.0:9", &fresh], &["--web.behind-proxy"]),
    ];
    for (arguments, words) in cases {
        let output = run_to_end(arguments);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
        for word in words {
            assert!(text.contains(word), "{arguments:?} should say {word:?}: {text}");
        }
        assert!(!text.contains("panicked"), "{text}");
    }
    drop(running);
}

#[test]
fn wrong_questions_and_pushes_answer_400_in_the_originals_words() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("vigie.yml");
    std::fs::write(&file, QUIET).unwrap();
    let data = format!("--storage.path={}", home.path().join("data").display());
    let vigie = Vigie::start(home.path(), &[&format!("--config.file={}", file.display()), &data]);
    let prometheus = [
        ("/api/v1/query?query=up%7B", "parse error: unexpected end of input inside braces"),
        ("/api/v1/query?query=nosuch(up)", "unknown function with name \"nosuch\""),
        (
            "/api/v1/query_range?query=up&start=10&end=5&step=1",
            "end timestamp must not be before start time",
        ),
        (
            "/api/v1/query_range?query=up&start=1&end=5&step=0",
            "zero or negative query resolution step widths are not accepted",
        ),
        (
            "/api/v1/query_range?query=up&start=0&end=100000&step=1",
            "exceeded maximum resolution of 11,000 points per timeseries",
        ),
        ("/api/v1/series", "no match[] parameter provided"),
        (
            "/api/v1/query?query=up&time=yesterday",
            "cannot parse \\\"yesterday\\\" to a valid timestamp",
        ),
    ];
    for (path, words) in prometheus {
        let answer = get(vigie.port, path).unwrap();
        assert_eq!(answer.status, 400, "{path}: {}", answer.text());
        assert_eq!(answer.json()["errorType"], "bad_data", "{path}");
        assert!(
            answer.text().contains(words)
                || answer.json()["error"].as_str().unwrap_or("").contains(words),
            "{path}: {}",
            answer.text()
        );
    }
    for (query, words) in [
        ("{app=", "parse error at line 1, col"),
        ("{}", "at least one"),
        ("sum({a=\"b\"})", "parse error"),
    ] {
        let answer =
            get(vigie.port, &format!("/loki/api/v1/query_range?query={}", encode(query))).unwrap();
        assert_eq!(answer.status, 400, "{query}: {}", answer.text());
        assert!(answer.text().contains(words), "{query}: {}", answer.text());
    }

    let good = r#"{"stream":{"job":"x"},"values":[["1","kept?"]]}"#;
    for (kind, body) in [
        ("application/json", "{".to_owned()),
        (
            "application/json",
            format!(
                r#"{{"streams":[{good},{{"stream":{{"job":"y"}},"values":[[1,"ts is a number"]]}}]}}"#
            ),
        ),
        (
            "application/json",
            format!(r#"{{"streams":[{good},{{"stream":{{}},"values":[["1","no label"]]}}]}}"#),
        ),
        ("application/x-protobuf", "not snappy".to_owned()),
    ] {
        let answer = post(vigie.port, "/loki/api/v1/push", kind, body.as_bytes()).unwrap();
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
    }
    let streams = get(vigie.port, "/loki/api/v1/series?start=0").unwrap().json();
    assert_eq!(streams["data"], serde_json::json!([]), "nothing of a refused push is kept");

    for path in [
        "/api/v1/nosuch",
        "/loki/api/v1/nosuch",
        "/api/v2/nosuch",
        "/alertmanager/alertmanager/api/v2/status",
        "/prometheus/x",
        "/nosuch",
    ] {
        let answer = get(vigie.port, path).unwrap();
        assert_eq!(answer.status, 404, "{path}");
        assert!(!answer.text().contains("<html"), "{path} must not answer the UI");
    }
}
