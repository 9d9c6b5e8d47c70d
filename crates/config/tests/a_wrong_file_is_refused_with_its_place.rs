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
    std::fs::write(directory.path().join("broken.yml"), "global: {scrape_intervall: 1s}\n")
        .unwrap();
    std::fs::write(
        directory.path().join("template.rules.yml"),
        "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up\n    annotations: {summary: '{{ $labels.a }'}\n",
    )
    .unwrap();
    load(
        Some(&path),
        &LoadOptions {
            check_expr: &|expr| {
                if expr.contains("===") { Err("unexpected =".to_owned()) } else { Ok(()) }
            },
            ..LoadOptions::without_languages()
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
        (
            "otlp:\n  translation_strategy: Nothing\n",
            ":2:25: ",
            "unsupported OTLP translation strategy \"Nothing\"",
        ),
        (
            "otlp:\n  promote_all_resource_attributes: true\n  promote_resource_attributes: [a]\n",
            ":2:36: ",
            "'promote_all_resource_attributes' and 'promote_resource_attributes' cannot be",
        ),
        (
            "otlp: {ignore_resource_attributes: [a]}\n",
            ":1:37: ",
            "cannot be configured unless 'promote_all_resource_attributes' is true",
        ),
        (
            "otlp:\n  promote_resource_attributes: [a, ' a']\n",
            ":2:36: ",
            "invalid 'promote_resource_attributes': duplicated promoted OTel resource attribute \"a\"",
        ),
        (
            "otlp:\n  promote_all_resource_attributes: true\n  ignore_resource_attributes: ['']\n",
            ":3:32: ",
            "invalid 'ignore_resource_attributes': empty ignored OTel resource attribute",
        ),
        ("oncall: {}\n", ":1:9: ", "not built yet"),
        ("storage: [\n", ":", ""),
        (
            "global: {scrape_interval: 5s, scrape_timeout: 10s}\n",
            ":1:47: ",
            "global scrape timeout greater than scrape interval",
        ),
        (
            "scrape_configs:\n- job_name: a\n  static_configs:\n  - targets: ['http://a:1/metrics']\n",
            ":4:15: ",
            "\"http://a:1/metrics\" is not a valid hostname: write host:port",
        ),
        (
            "scrape_configs:\n- job_name: a\n  basic_auth: {username: u, password_file: f}\n",
            ":3:44: ",
            "not built yet",
        ),
        (
            "alerting:\n  route: {receiver: a}\n  receivers: [{name: a, slack_configs: [{api_url: hooks.slack.com/x}]}]\n",
            ":3:41: ",
            "begins with http:// or https://",
        ),
        (
            "rule_files: [template.rules.yml]\n",
            "template.rules.yml:4:5: ",
            "annotation \"summary\": error parsing template __alert_A: ",
        ),
        (
            "alerting:\n  route: {receiver: a}\n  receivers: [{name: a, slack_configs: [{api_url: 'http://a', title: '{{ .x'}]}]\n",
            ":3:41: ",
            "error parsing template message: ",
        ),
        ("metric: {}\n", ":1:1: ", "did you mean `metrics`?"),
        ("allerting: {}\n", ":1:1: ", "did you mean `alerting`?"),
        ("xyz: {}\n", ":1:1: ", "there is no key `xyz` here (the keys are web,"),
        ("web: {}\nweb: {}\n", ":2:1: ", "the key `web` stands here a second time"),
        ("web: {}\n---\nweb: {}\n", ":3:1: ", "a second document"),
        ("web: {classic_ports: maybe}\n", ":1:22: ", "write true or false"),
        ("\u{feff}web: {classic_ports: maybe}\n", ":1:22: ", "    1 | web:"),
        ("web:\r\n  classic_ports: maybe\r\n", ":2:18: ", "true or false"),
        ("web:\n\tclassic_ports: true\n", ":2:2: ", "tabs"),
        ("- a\n", ":1:1: ", "mapping"),
        ("storage: {retention: {logs: 0s}}\n", ":1:29: ", "greater than zero"),
        ("storage: {disk: {logs: 1MB}}\n", ":1:24: ", "at least 256MB"),
        ("storage: {queries: {memory: 1KB}}\n", ":1:29: ", "between 1MB and 1TB"),
        (
            "storage: {queries: {memory: 64MB, memory_of_all: 32MB}}\n",
            ":1:50: ",
            "must be at least that of one",
        ),
        ("storage: {queries: {samples: 0}}\n", ":1:30: ", "greater than zero"),
        ("storage: {queries: {at_once: 0}}\n", ":1:30: ", "between 1 and 1024"),
        ("storage: {queries: {queue: 100000}}\n", ":1:28: ", "between 1 and 65536"),
        ("storage: {queries: {timeout: 0s}}\n", ":1:30: ", "between 1ms and 1d"),
        ("storage: {queries: {lookback: 0s}}\n", ":1:31: ", "for example 5m"),
        ("storage: {queries: {cache: much}}\n", ":1:28: ", "for example 512MB or 20GB"),
        ("storage: {queries: {size: 1}}\n", ":1:21: ", "size"),
        ("storage: {disk: {metrics: lots}}\n", ":1:27: ", "for example 512MB or 20GB"),
        ("metrics: nosuch.yml\n", "vigie.yml:1:10: cannot read ", "nosuch.yml: No such file"),
        ("rule_files:\n- nosuch.yml\n", "vigie.yml:2:3: cannot read ", "nosuch.yml: No such"),
        ("metrics: broken.yml\n", "broken.yml:1:10: ", "scrape_intervall"),
        ("route: {receiver: a}\n", ":1:8: ", "`alerting: FILE`"),
        ("clients: []\nscrape_configs: []\n", ":1:10: ", "`logs: FILE`"),
        ("groups: []\n", ":1:9: ", "`rule_files`"),
        (
            "alerting:\n  route: {receiver: a}\n  receivers: [{name: a, slak_configs: []}]\n",
            ":3:25: ",
            "did you mean `slack_configs`?",
        ),
        (
            "scrape_configs:\n- job_name: a\n  relabel_configs:\n  - regex: '('\n    target_label: a\n",
            ":4:12: ",
            "error parsing regexp: missing closing )",
        ),
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
fn what_is_left_empty_is_left_out() {
    // The file that Prometheus ships names no rule files, but the key stands there.
    let shipped = "global:\n  scrape_interval: 15s\nalerting:\n  alertmanagers:\n    - static_configs:\n        - targets:\n          # - alertmanager:9093\nrule_files:\n  # - \"first_rules.yml\"\nscrape_configs:\n  - job_name: \"prometheus\"\n    static_configs:\n      - targets: [\"localhost:9090\"]\n";
    assert_eq!(load_text("prometheus.yml", shipped).unwrap().scrape_jobs.unwrap().len(), 1);
    for text in [
        "",
        "# nothing\n# at all\n",
        "---\n",
        "web:\nstorage:\nmetrics:\nlogs:\nalerting:\n",
        "\u{feff}",
        "storage:\n  retention:\n",
        "global:\nscrape_configs:\n",
    ] {
        let config = load_text("vigie.yml", text).unwrap_or_else(|error| panic!("{text}\n{error}"));
        assert_eq!(config.logs_retention_ms, 7 * 86_400_000, "{text}");
    }
}

#[test]
fn a_disk_budget_is_read_in_powers_of_1024() {
    let text = "storage: {queries: {memory: 512MB, at_once: 4, timeout: 30s, cache: 0B}}\n";
    let queries = load_text("vigie.yml", text).unwrap().queries;
    assert_eq!((queries.memory_bytes_max, queries.all_memory_bytes_max), (512 << 20, 512 << 20));
    assert_eq!((queries.at_once(), queries.timeout_ms, queries.cache_bytes_max), (4, 30_000, 0));
    assert_eq!(queries.lookback_ms, 300_000);
    let config = load_text("vigie.yml", "storage: {disk: {metrics: 20GB}}\n").unwrap();
    assert_eq!(config.metrics_disk_bytes_max, Some(20 << 30));
    assert_eq!(config.logs_disk_bytes_max, None);
}

#[test]
fn opentelemetrys_metrics_are_configured_as_in_prometheus() {
    use vigie_codec::otlp_metrics::{Promote, Settings, Strategy};
    let otlp = |text: &str| load_text("prometheus.yml", text).unwrap().otlp;
    assert_eq!(otlp("otlp:\n"), Settings::default());
    assert_eq!(otlp("otlp: {translation_strategy: ''}\n"), Settings::default());
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let wanted = Settings {
        strategy: Strategy::NoUtf8EscapingWithSuffixes,
        promote: Promote::Only(names(&["service.name", "x"])),
        keep_identifying: true,
        histograms_to_nhcb: true,
        promote_scope: true,
        key_before_underscore: false,
        keep_underscores: false,
        ..Settings::default()
    };
    let text = "otlp:\n  translation_strategy: NoUTF8EscapingWithSuffixes\n  promote_resource_attributes: [' service.name ', x]\n  keep_identifying_resource_attributes: true\n  convert_histograms_to_nhcb: true\n  promote_scope_metadata: true\n  label_name_underscore_sanitization: false\n  label_name_preserve_multiple_underscores: false\n";
    assert_eq!(otlp(text), wanted);
    let all =
        otlp("otlp:\n  promote_all_resource_attributes: true\n  ignore_resource_attributes: [a]\n");
    assert_eq!(all.promote, Promote::AllBut(names(&["a"])));
}

#[test]
fn a_zero_is_prometheus_way_to_write_nothing() {
    let text = "global: {scrape_interval: 0s, scrape_timeout: 0s, evaluation_interval: 0s}\nscrape_configs:\n- {job_name: a, scrape_interval: 0s, scrape_timeout: 0s}\n";
    let config = load_text("prometheus.yml", text).unwrap();
    assert_eq!((config.scrape_interval_ms, config.evaluation_interval_ms), (15_000, 15_000));
    let job = &config.scrape_jobs.unwrap()[0];
    assert_eq!((job.interval_ms, job.timeout_ms), (60_000, 10_000));
}

#[test]
fn anchors_and_merges_are_read() {
    let text = "scrape_configs:\n- &first\n  job_name: a\n  scrape_interval: &every 5s\n  scrape_timeout: *every\n- <<: *first\n  job_name: b\n";
    let jobs = load_text("prometheus.yml", text).unwrap().scrape_jobs.unwrap();
    assert_eq!((jobs.len(), jobs[1].interval_ms, jobs[1].timeout_ms), (2, 5_000, 5_000));
}

#[test]
fn a_long_line_is_cut_around_the_place() {
    let text = format!("web: {{classic_ports: true, {}: 1}}\n", "x".repeat(4000));
    let error = load_text("vigie.yml", &text).unwrap_err().to_string();
    let longest = error.lines().skip(1).map(|line| line.chars().count()).max().unwrap();
    assert!(longest < 140, "{longest}");
}

#[test]
fn a_missing_file_is_named() {
    let options = LoadOptions::without_languages();
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
