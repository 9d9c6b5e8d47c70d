//! Loki's own file, and the same things in vigie.yml: retention, delete requests, rules of LogQL.

#![allow(clippy::unwrap_used, reason = "a test's panic is its report")]

use std::path::Path;
use vigie_config::rules::QueryLanguage;
use vigie_config::{Config, ConfigError, LoadOptions, LogDeletes, load};
use vigie_model::Matcher;

const DAY_MS: i64 = 86_400_000;

/// A file as people have it.
const LOKI: &str = "\
auth_enabled: false
server: {http_listen_port: 3100}
common:
  path_prefix: /loki
  storage: {filesystem: {chunks_directory: /loki/chunks, rules_directory: unused}}
schema_config: {configs: [{from: 2024-01-01, store: tsdb, schema: v13}]}
limits_config:
  retention_period: 744h
  max_query_series: 500
  retention_stream:
  - {selector: '{app=\"debug\"}', priority: 1, period: 24h}
  - {selector: '{app=\"audit\"}', priority: 2, period: 2160h}
  - {selector: '{app=\"noise\"}', priority: 1, period: 2d}
compactor:
  retention_enabled: true
  delete_request_store: filesystem
  delete_request_cancel_period: 2h
ruler:
  evaluation_interval: 30s
  storage: {type: local, local: {directory: rules}}
";

const RULES: &str = "\
groups:
- name: g
  rules:
  - alert: A
    expr: count_over_time({app=\"a\"}[1m]) > 0
  - record: a:b
    expr: rate({app=\"a\"}[1m])
";

fn selector(text: &str) -> Result<Vec<Matcher>, String> {
    let name = text.strip_prefix("{app=\"").and_then(|rest| rest.strip_suffix("\"}"));
    let name = name.ok_or_else(|| "parse error at line 1, col 1: no selector".to_owned())?;
    Ok(vec![Matcher::equal("app", name)])
}

fn load_files(files: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let home = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = home.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let options = LoadOptions {
        check_log_expr: &|expr| match expr.contains("((") {
            true => Err("parse error at line 1, col 5: syntax error".to_owned()),
            false => Ok(()),
        },
        log_selector: &selector,
        ..LoadOptions::without_languages()
    };
    load(Some(&home.path().join("vigie.yml")), &options)
}

fn kept(config: &Config) -> Vec<(String, i64)> {
    let streams = config.logs_retention_streams.iter();
    streams.map(|one| (one.matchers[0].value.clone(), one.period_ms / DAY_MS)).collect()
}

fn groups(config: &Config) -> Vec<(String, String, i64)> {
    let logs = config.rule_groups.iter().filter(|one| one.language == QueryLanguage::LogQl);
    logs.map(|one| (one.file.clone(), one.name.clone(), one.interval_ms)).collect()
}

#[test]
fn an_unchanged_file_of_loki_counts() {
    let owned = |name: &str, days: i64| (name.to_owned(), days);
    for vigie in ["logs: loki.yml\n", "logs: {loki: loki.yml}\n"] {
        let config = load_files(&[
            ("vigie.yml", vigie),
            ("loki.yml", LOKI),
            ("rules/fake/api.yml", RULES),
            ("rules/fake/.hidden.yml.swp", "{"),
            ("rules/not-a-tenant.yml", "{"),
        ])
        .unwrap();
        assert_eq!(config.logs_retention_ms, 31 * DAY_MS);
        // The highest priority first, and of equals the shortest time.
        assert_eq!(kept(&config), [owned("audit", 90), owned("debug", 1), owned("noise", 2)]);
        assert_eq!(config.log_deletes, LogDeletes::FilterAndDelete);
        assert_eq!(config.log_delete_delay_ms, 7_200_000);
        assert_eq!(groups(&config), [("api.yml".to_owned(), "g".to_owned(), 30_000)]);
        assert!(config.log_files.is_none() && config.warnings.is_empty());
    }
}

#[test]
fn vigie_yml_says_the_same_and_wins() {
    let vigie = "\
storage:
  retention:
    logs: 14d
    streams:
    - {selector: '{app=\"short\"}', period: 6h}
  deletes: filter-only
metrics: {global: {evaluation_interval: 20s}}
logs:
  rule_files: ['rules/*.yml']
  loki: loki.yml
";
    let config = load_files(&[
        ("vigie.yml", vigie),
        ("loki.yml", &LOKI.replace("type: local, ", "").replace("rules}", "nothing}")),
        ("nothing/x", ""),
        ("rules/one.yml", RULES),
        ("rules/two.yml", RULES),
    ])
    .unwrap();
    assert_eq!(config.logs_retention_ms, 14 * DAY_MS);
    assert_eq!(config.logs_retention_streams[0].period_ms, 6 * 3_600_000);
    assert_eq!(config.log_deletes, LogDeletes::FilterOnly);
    let names: Vec<String> = groups(&config).into_iter().map(|(file, ..)| file).collect();
    assert_eq!(names, ["one.yml", "two.yml"]);
}

#[test]
fn a_retention_that_loki_would_not_apply_is_said() {
    let loki = LOKI.replace("retention_enabled: true", "retention_enabled: false");
    let config =
        load_files(&[("vigie.yml", "logs: loki.yml\n"), ("loki.yml", &loki), ("rules/fake/a", "")])
            .unwrap();
    assert_eq!(config.logs_retention_ms, 7 * DAY_MS);
    assert!(config.logs_retention_streams.is_empty());
    assert!(config.warnings[0].contains("retention_enabled is not true"), "{:?}", config.warnings);
}

#[test]
fn what_is_wrong_is_refused_with_its_place() {
    let mut wrong = Vec::new();
    let rules = ("rules/fake/api.yml", RULES);
    let loki = |from: &str, to: &str| LOKI.replace(from, to);
    let bad_rule = RULES.replace("rate({app=\"a\"}[1m])", "sum((");
    for (vigie, loki, rules, place, words) in [
        (
            "logs: loki.yml\n",
            loki("{app=\"debug\"}", "debug"),
            rules.1.to_owned(),
            "loki.yml:11:16: ",
            "invalid labels matchers: parse error at line 1, col 1: no selector",
        ),
        (
            "logs: loki.yml\n",
            loki("period: 2d", "period: 2h"),
            rules.1.to_owned(),
            "loki.yml:13:54: ",
            "retention period must be >= 24h was 2h",
        ),
        (
            "logs: loki.yml\n",
            loki("type: local", "type: s3"),
            rules.1.to_owned(),
            "loki.yml:20:19: ",
            "rules in \"s3\" are not read",
        ),
        (
            "logs: loki.yml\n",
            loki("directory: rules", "directory: nowhere"),
            rules.1.to_owned(),
            "loki.yml:20:45: ",
            "unable to read rule dir",
        ),
        (
            "logs: loki.yml\n",
            LOKI.to_owned(),
            bad_rule,
            "api.yml:7:11: ",
            "could not parse expression for record 'a:b' in group 'g': parse error at line 1, col 5: syntax error",
        ),
        (
            "logs: {loki: loki.yml, rule_files: [rules/fake/api.yml]}\n",
            LOKI.to_owned(),
            rules.1.to_owned(),
            "vigie.yml:1:37: ",
            "namespace \"api.yml\" has a group \"g\" already",
        ),
        (
            "storage: {deletes: never}\n",
            LOKI.to_owned(),
            rules.1.to_owned(),
            "vigie.yml:1:20: ",
            "write disabled, filter-only or filter-and-delete",
        ),
        (
            "storage: {retention: {streams: [{selector: '{app=\"a\"}', period: 0s}]}}\n",
            LOKI.to_owned(),
            rules.1.to_owned(),
            "vigie.yml:1:65: ",
            "retention period must be >= ",
        ),
    ] {
        let files = [("vigie.yml", vigie), ("loki.yml", &loki), (rules_path(), &rules)];
        let error = load_files(&files).unwrap_err().to_string();
        let first = error.lines().next().unwrap();
        if !(first.contains(place) && first.contains(words)) {
            wrong.push(format!("{place}{words}\n  {first}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn rules_path() -> &'static str {
    "rules/fake/api.yml"
}
