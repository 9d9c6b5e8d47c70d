//! The command-line tools of Prometheus and Alertmanager, unchanged, ask a running Vigie and print
//! what they would print of the originals.

#![allow(clippy::unwrap_used, reason = "a test's panic is its report")]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use vigie_scenarios::peer::tool;
use vigie_scenarios::{Vigie, get, wait_for};

/// A target that nobody answers for, and an alert that says so.
const CONFIG: &str = "\
web: {classic_ports: false}
logs: {scrape_configs: []}
metrics:
  host: false
  global: {scrape_interval: 1s, evaluation_interval: 1s}
  scrape_configs:
  - job_name: dead
    scrape_timeout: 1s
    static_configs: [{targets: ['127.0.0.1:1']}]
  rule_files: [rules.yml]
alerting:
  route: {receiver: team}
  receivers: [{name: team}]
";
const RULES: &str = "\
groups:
- name: g
  rules:
  - alert: Gone
    expr: up{job=\"dead\"} == 0
    labels: {severity: high}
    annotations: {summary: it is gone}
";

/// Whether it ended well, and what it printed.
fn ask(tool: &PathBuf, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(tool).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// What Vigie serves and ships passes the checks of the original's tool.
fn checks(promtool: &PathBuf, home: &Path, vigie: &Vigie) {
    for path in ["/metrics", "/federate?match[]=up"] {
        let page = get(vigie.port, path).unwrap();
        assert_eq!(page.status, 200, "{path}");
        let file = home.join("page.prom");
        std::fs::write(&file, &page.body).unwrap();
        let mut check = Command::new(promtool);
        check.args(["check", "metrics"]).stdin(File::open(&file).unwrap());
        let output = check.output().unwrap();
        // 3 says that a name could be better, which is a matter of taste; 1 that it cannot be read.
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!([Some(0), Some(3)].contains(&output.status.code()), "{path}: {words}");
    }
    let shown = get(vigie.port, "/api/v1/status/config").unwrap().json();
    let shown_file = home.join("shown.yml");
    std::fs::write(&shown_file, shown["data"]["yaml"].as_str().unwrap()).unwrap();
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../content/rules/koprogo.yml");
    for (what, file) in
        [("config", &shown_file), ("rules", &home.join("rules.yml")), ("rules", &rules)]
    {
        let (good, text) = ask(promtool, &["check", what, &file.display().to_string()]);
        assert!(good && text.contains("SUCCESS"), "promtool check {what}: {text}");
    }
    let archive = home.join("debug.tar.gz");
    let url = format!("http://127.0.0.1:{}", vigie.port);
    let debug = Command::new(promtool).current_dir(home).args(["debug", "metrics", &url]).output();
    assert!(debug.unwrap().status.success() && archive.exists(), "promtool debug metrics");
}

#[test]
fn promtool_and_amtool_get_answers() {
    let (promtool, amtool) = (tool("promtool"), tool("amtool"));
    if promtool.is_none() && amtool.is_none() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("vigie.yml"), CONFIG).unwrap();
    std::fs::write(home.path().join("rules.yml"), RULES).unwrap();
    let config = format!("--config.file={}", home.path().join("vigie.yml").display());
    let data = format!("--storage.path={}", home.path().join("data").display());
    let vigie = Vigie::start(home.path(), &[&config, &data]);
    wait_for("the alert", 30, || (vigie.alert_state("Gone") == "firing").then_some(()));
    let url = format!("http://127.0.0.1:{}", vigie.port);

    if let Some(promtool) = promtool {
        let dead = "up{job=\"dead\"}";
        let labels = "{__name__=\"up\", instance=\"127.0.0.1:1\", job=\"dead\"}";
        let cases: [(&[&str], bool, &str); 7] = [
            (&["instant", &url, dead], true, "up{instance=\"127.0.0.1:1\", job=\"dead\"} => 0 @["),
            (&["instant", &url, "1/0"], true, "scalar: +Inf @["),
            (&["range", "--step=1s", &url, dead], true, "\n0 @["),
            (&["series", "--match=up{job=\"dead\"}", &url], true, labels),
            (&["series", "--match=up", "--start=0", &url], true, labels),
            (&["labels", &url, "alertname"], true, "Gone\n"),
            (
                &["instant", &url, "up{"],
                false,
                "bad_data: invalid parameter \"query\": 1:4: parse error",
            ),
        ];
        for (arguments, good, words) in cases {
            let (ended_well, text) = ask(&promtool, &[&["query"], arguments].concat());
            assert_eq!(ended_well, good, "promtool query {arguments:?}: {text}");
            assert!(text.contains(words), "promtool query {arguments:?}: {text}");
        }
    }
    if let Some(promtool) = tool("promtool") {
        checks(&promtool, home.path(), &vigie);
    }
    if let Some(amtool) = amtool {
        let at = format!("--alertmanager.url={url}");
        let cases: [(&[&str], bool, &str); 6] = [
            (&["alert", "query"], true, "it is gone  active"),
            (&["alert", "query", "Gone", "-o", "extended"], true, "severity=\"high\""),
            (&["alert", "query", "severity=~hi.*"], true, "Gone"),
            (&["cluster", "show"], true, "disabled"),
            (&["silence", "query"], true, "Comment"),
            (&["silence", "add", "a=b", "-c", "x"], false, "silences are not built yet"),
        ];
        for (arguments, good, words) in cases {
            let (ended_well, text) = ask(&amtool, &[&[at.as_str()], arguments].concat());
            assert_eq!(ended_well, good, "amtool {arguments:?}: {text}");
            assert!(text.contains(words), "amtool {arguments:?}: {text}");
        }
        let (_, none) = ask(&amtool, &[&at, "alert", "query", "severity=low"]);
        assert!(!none.contains("Gone"), "{none}");
    }
}
