//! Each wrong file is refused with file, line, column, an excerpt and what would be right.

#![allow(clippy::unwrap_used, reason = "a test's panic is its report")]

use std::path::Path;
use vigie_config::{Config, ConfigError, Language, LoadOptions, load};

fn load_text(name: &str, text: &str) -> Result<Config, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::write(
        directory.path().join("bad.rules.yml"),
        "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: 'up ==='\n",
    )
    .unwrap();
    load(
        Some(&path),
        &LoadOptions {
            expand_env: false,
            check_expr: &|expr| {
                if expr.contains("===") { Err("unexpected =".to_owned()) } else { Ok(()) }
            },
        },
    )
}

#[test]
fn every_error_names_the_place_and_the_next_action() {
    let cases = [
        ("global:\n  scrape_intervall: 15s\n", ":2:3: ", "scrape_intervall"),
        ("global:\n  scrape_interval: 15\n", ":2:20: ", "for example 30s"),
        (
            "scrape_configs:\n- job_name: a\n  scrape_interval: 5s\n  scrape_timeout: 10s\n",
            ":4:19: ",
            "at most the interval",
        ),
        ("scrape_configs:\n- job_name: a\n- job_name: a\n", ":3:3: ", "multiple scrape configs"),
        (
            "scrape_configs:\n- job_name: a\n  kubernetes_sd_configs: []\n",
            ":3:26: ",
            "not built yet",
        ),
        (
            "scrape_configs:\n- job_name: a\n  relabel_configs:\n  - action: jump\n",
            ":4:5: ",
            "unknown relabel action",
        ),
        (
            "rule_files: [bad.rules.yml]\n",
            "bad.rules.yml:5:11: ",
            "could not parse expression: unexpected =",
        ),
        ("storage:\n  retention:\n    metrics: 30 days\n", ":3:14: ", "30d"),
        (
            "alerting:\n  route: {receiver: b}\n  receivers: [{name: a}]\n",
            ":2:21: ",
            "the receivers are a",
        ),
        ("alerting:\n  receivers: [{name: a}]\n", ":2:", "route"),
        ("language: de\n", ":1:11: ", "write en or fr"),
        ("oncall: {}\n", ":1:9: ", "not built yet"),
        ("storage: [\n", ":", ""),
        (
            "logs:\n  scrape_configs:\n  - job_name: x\n    static_configs:\n    - labels: {job: x}\n",
            ":3:5: ",
            "__path__",
        ),
    ];
    for (text, place, words) in cases {
        let error = load_text("vigie.yml", text).unwrap_err().to_string();
        assert!(error.contains(place) && error.contains(words), "{text}\n--\n{error}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let options = LoadOptions { expand_env: false, check_expr: &|_| Ok(()) };
    let error = load(Some(Path::new("/nonexistent/vigie.yml")), &options).unwrap_err().to_string();
    assert!(error.starts_with("cannot read /nonexistent/vigie.yml: "), "{error}");
}

#[test]
fn the_files_people_have_are_read() {
    let prometheus = "global:\n  scrape_interval: 15s\n  external_labels: {site: a}\nscrape_configs:\n- job_name: koprogo-api\n  static_configs:\n  - targets: ['localhost:8080']\n    labels: {env: prod}\n  metric_relabel_configs:\n  - source_labels: [__name__]\n    regex: 'go_.*'\n    action: drop\n";
    let config = load_text("prometheus.yml", prometheus).unwrap();
    let jobs = config.scrape_jobs.unwrap();
    assert_eq!((jobs.len(), jobs[0].interval_ms, jobs[0].timeout_ms), (1, 15_000, 10_000));
    assert_eq!(config.external_labels.get("site"), Some("a"));

    let vigie = "language: fr\nweb: {classic_ports: false}\nstorage: {retention: {metrics: 7d, logs: 1d}}\nalerting:\n  route:\n    receiver: slack\n    group_wait: 5s\n    routes:\n    - matchers: ['severity=\"high\"']\n      receiver: all\n  receivers:\n  - name: slack\n    slack_configs: [{api_url: 'http://127.0.0.1:1/s'}]\n  - name: all\n    pagerduty_configs: [{routing_key: k}]\n    sms_configs: [{url: 'http://127.0.0.1:1/m', from: '+1', to: ['+2']}]\n";
    let config = load_text("vigie.yml", vigie).unwrap();
    let alerting = config.alerting.unwrap();
    assert!(!config.classic_ports);
    assert_eq!(config.language, Language::French);
    assert_eq!(
        (config.metrics_retention_ms, config.logs_retention_ms),
        (7 * 86_400_000, 86_400_000)
    );
    assert_eq!(alerting.route.routes[0].receiver, "all");
    assert_eq!(alerting.route.routes[0].group_wait_ms, 5_000);
    assert_eq!(alerting.receivers[1].integrations.len(), 2);
}
