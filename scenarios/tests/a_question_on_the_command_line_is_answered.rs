//! `vigie query` against a running Vigie: three ways to write the answer, and what is said when there
//! is none.

#![allow(clippy::unwrap_used, reason = "a test's panic is its report")]

use serde_json::{Value, json};
use std::process::Command;
use vigie_scenarios::push::{Pushed, push};
use vigie_scenarios::vigie::program;
use vigie_scenarios::{Vigie, free_port, now_ns};

const CONFIG: &str = "\
web: {classic_ports: false}
logs: {scrape_configs: []}
metrics: {host: false, scrape_configs: []}
";

/// Exit code, stdout and stderr.
fn asked(url: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(program())
        .arg("query")
        .args(arguments)
        .env("VIGIE_URL", url)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_question_on_the_command_line_is_answered() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("vigie.yml"), CONFIG).unwrap();
    let config = format!("--config.file={}", home.path().join("vigie.yml").display());
    let data = format!("--storage.path={}", home.path().join("data").display());
    let vigie = Vigie::start(home.path(), &[&config, &data]);
    let now_s = now_ns() / 1_000_000_000;
    let labels = [("__name__", "boiler"), ("room", "cellar")];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let samples = (0..10).map(|at| ((now_s - 100 + at * 10) * 1000, at as f64)).collect();
    push(vigie.port, &[Pushed { labels, samples }], 600_000);

    let url = format!("http://127.0.0.1:{}", vigie.port);
    let time = (now_s - 10).to_string();
    let ask = |arguments: &[&str]| asked(&url, arguments);
    let good = |text: &str| (Some(0), text.to_owned(), String::new());
    let series = "boiler{room=\"cellar\"}  9\n";
    assert_eq!(ask(&["boiler", "--time", &time]), good(series));
    assert_eq!(ask(&["-boiler", "--time", &time]), good("{room=\"cellar\"}  -9\n"));
    assert_eq!(ask(&["1 + 1"]), good("2\n"));
    assert_eq!(ask(&["nothing"]), good(""));
    let (code, lines, _) = ask(&["boiler", "--time", &time, "-o", "jsonl"]);
    let line: Value = serde_json::from_str(&lines).unwrap();
    assert_eq!((code, &line["value"][1]), (Some(0), &json!("9")));
    let (_, body, _) =
        ask(&["boiler", "--range", "20s", "--step", "10s", "--time", &time, "-o", "json"]);
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["data"]["result"][0]["values"].as_array().unwrap().len(), 3);
    let (_, table, _) = ask(&["boiler", "--range", "20s", "--step", "10s", "--time", &time]);
    assert_eq!(table.lines().count(), 4, "{table}");

    let (code, _, notes) = ask(&["rate(boiler[1m])", "--time", &time]);
    assert_eq!(code, Some(0));
    assert!(notes.starts_with("info: PromQL info: metric might not be a counter"), "{notes}");
    let (code, out, why) = ask(&["sum(boiler"]);
    let mark = "vigie: 1:11: parse error: unclosed left parenthesis\n  sum(boiler\n            ^\n";
    assert_eq!((code, out.as_str(), why.as_str()), (Some(1), "", mark));

    let nobody = format!("http://127.0.0.1:{}", free_port());
    let (code, _, why) = asked(&nobody, &["up"]);
    assert_eq!(code, Some(1));
    assert!(why.contains("nobody answers at") && why.contains("--url or VIGIE_URL"), "{why}");
    let (_, _, why) = asked("127.0.0.1:9090", &["up"]);
    assert!(why.contains("is not an address: write for example http://"), "{why}");
    let (_, _, why) = asked(&format!("{url}/nosuch"), &["up"]);
    assert!(why.contains("does not answer as Prometheus does (HTTP 404)"), "{why}");
}
