//! A rule of LogQL comes by Loki's API and one stands in a file: a line that says "panic" fires both
//! within two evaluations, the recorded series can be asked for, and a restart forgets nothing.

#![allow(clippy::unwrap_used, reason = "a test's panic is its report")]

use serde_json::json;
use std::path::Path;
use vigie_scenarios::http::{get, post};
use vigie_scenarios::{Vigie, now_ns, wait_for};

const CONFIG: &str = "\
web: {classic_ports: false}
metrics: {host: false, global: {scrape_interval: 1s, evaluation_interval: 1s}, scrape_configs: []}
logs: {scrape_configs: [], rule_files: [logs.rules.yml]}
";
const FILE: &str = "\
groups:
- name: file
  rules:
  - alert: PanicInFile
    expr: sum by (job) (count_over_time({job=\"api\"} |= \"panic\" [5m])) > 0
";
const SENT: &str = "\
name: sent
interval: 1s
rules:
- alert: PanicSent
  expr: sum by (job) (count_over_time({job=\"api\"} |= \"panic\" [5m])) > 0
  labels: {severity: high}
- record: job:panics:count5m
  expr: sum by (job) (count_over_time({job=\"api\"} |= \"panic\" [5m]))
";

fn start(home: &Path) -> Vigie {
    std::fs::write(home.join("vigie.yml"), CONFIG).unwrap();
    std::fs::write(home.join("logs.rules.yml"), FILE).unwrap();
    let config = format!("--config.file={}", home.join("vigie.yml").display());
    let data = format!("--storage.path={}", home.join("data").display());
    Vigie::start(home, &[&config, &data])
}

fn push(port: u16, line: &str) {
    let values = json!([[now_ns().to_string(), line]]);
    let body = json!({"streams": [{"stream": {"job": "api"}, "values": values}]}).to_string();
    let answer = post(port, "/loki/api/v1/push", "application/json", body.as_bytes()).unwrap();
    assert_eq!(answer.status, 204, "{}", answer.text());
}

/// The names of the firing alerts of Loki's ruler.
fn firing(port: u16) -> Vec<String> {
    let answer = get(port, "/prometheus/api/v1/alerts").unwrap().json();
    let alerts = answer["data"]["alerts"].as_array().unwrap().iter();
    let mut names: Vec<String> = alerts
        .filter(|alert| alert["state"] == "firing")
        .map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_log_line_wakes_people_by_a_rule_of_logql() {
    let home = tempfile::tempdir().unwrap();
    let vigie = start(home.path());
    let rules = "/loki/api/v1/rules/team";
    let wrong = post(vigie.port, rules, "application/yaml", b"name: x\nrules: []").unwrap();
    assert_eq!(wrong.status, 400);
    let sent = post(vigie.port, rules, "application/yaml", SENT.as_bytes()).unwrap();
    assert_eq!(sent.status, 202, "{}", sent.text());
    let listed = get(vigie.port, "/loki/api/v1/rules").unwrap().text();
    assert!(listed.contains("logs.rules.yml:") && listed.contains("team:"), "{listed}");

    push(vigie.port, "all is well");
    assert!(firing(vigie.port).is_empty());
    push(vigie.port, "thread 'main' panicked at src/main.rs: panic");
    let both = ["PanicInFile", "PanicSent"];
    wait_for("both alerts fire", 30, || (firing(vigie.port) == both).then_some(()));
    wait_for("the series is recorded", 30, || {
        vigie.query("job:panics:count5m").first().filter(|(_, value)| *value == 1.0).map(drop)
    });
    // Prometheus' list is PromQL's; Alertmanager's has everything that fires.
    let metrics = get(vigie.port, "/api/v1/rules").unwrap().text();
    assert!(!metrics.contains("PanicSent"));
    assert!(get(vigie.port, "/api/v2/alerts").unwrap().text().contains("PanicSent"));

    vigie.kill();
    let vigie = start(home.path());
    wait_for("both fire again", 60, || (firing(vigie.port) == both).then_some(()));
    let listed = get(vigie.port, "/loki/api/v1/rules/team/sent").unwrap();
    assert_eq!(listed.status, 200);
}
