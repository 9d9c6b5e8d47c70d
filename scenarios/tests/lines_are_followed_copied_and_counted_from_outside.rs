//! What people do with lines from a terminal: show and follow them, ask as Loki's client asks, copy
//! them to another Vigie (killed on the way), and find the requests that access lines tell of.

#![allow(clippy::unwrap_used, reason = "a test's panic is its report")]

use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use vigie_scenarios::http::post;
use vigie_scenarios::vigie::program;
use vigie_scenarios::{Vigie, now_ns, wait_for};

const CONFIG: &str = "\
web: {classic_ports: false}
metrics: {host: false, global: {scrape_interval: 1s}, scrape_configs: []}
logs:
  scrape_configs: []
  metrics:
    - {preset: actix-web-json, match: '{job=\"koprogo-api\"}'}
";

fn start(home: &Path) -> Vigie {
    std::fs::write(home.join("vigie.yml"), CONFIG).unwrap();
    let config = format!("--config.file={}", home.join("vigie.yml").display());
    let data = format!("--storage.path={}", home.join("data").display());
    Vigie::start(home, &[&config, &data])
}

fn push(port: u16, lines: impl Iterator<Item = (i64, String)>) {
    let values: Vec<Value> =
        lines.map(|(ts_ns, line)| json!([ts_ns.to_string(), line, {"trace_id": "t"}])).collect();
    let body = json!({"streams": [{"stream": {"job": "koprogo-api"}, "values": values}]});
    let body = body.to_string();
    let answer = post(port, "/loki/api/v1/push", "application/json", body.as_bytes()).unwrap();
    assert_eq!(answer.status, 204, "{}", answer.text());
}

fn access(n: i64) -> String {
    json!({"method": "GET", "path": "/a", "status": 200, "duration_ms": 100, "n": n}).to_string()
}

/// Exit code, stdout and stderr.
fn run(program: &Path, url: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(program);
    command.args(arguments).env("VIGIE_URL", url).env("LOKI_ADDR", url);
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

const SELECTOR: &str = r#"{job="koprogo-api"}"#;
const LINES: i64 = 40_000;

#[test]
fn lines_are_followed_copied_and_counted_from_outside() {
    let (home, away) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let here = start(home.path());
    let start_ns = now_ns() - 3_000_000_000_000;
    for part in 0..20 {
        let each = LINES / 20;
        push(
            here.port,
            (part * each..(part + 1) * each).map(|n| (start_ns + n * 1_000_000, access(n))),
        );
    }
    let url = format!("http://127.0.0.1:{}", here.port);
    shown(&url);
    as_logcli(home.path(), &url);
    followed(&here, &url);
    counted(&here);
    copied(&url, away.path());
}

fn shown(url: &str) {
    let ask = |arguments: &[&str]| run(&program(), url, arguments);
    let (code, all, _) = ask(&["logs", SELECTOR, "--limit", "0", "-o", "raw"]);
    assert_eq!((code, all.lines().count()), (Some(0), LINES as usize));
    let lines: Vec<&str> = all.lines().collect();
    assert!(lines.windows(2).take(100).all(|pair| pair[0] != pair[1]), "in order, none twice");
    assert_eq!(lines[0], access(0));
    let (_, last, _) = ask(&["logs", SELECTOR, "--limit", "1", "-o", "jsonl"]);
    let last: Value = serde_json::from_str(&last).unwrap();
    assert_eq!(last["line"], access(LINES - 1));
    assert_eq!(last["labels"]["job"], "koprogo-api");
    let (code, _, error) = ask(&["logs", "{job="]);
    assert_eq!(code, Some(1));
    assert!(error.contains("parse error at line 1, col 6"), "{error}");
}

fn as_logcli(home: &Path, url: &str) {
    let logcli = home.join("logcli");
    std::os::unix::fs::symlink(program(), &logcli).unwrap();
    let ask = |arguments: &[&str]| run(&logcli, url, arguments);
    let (code, lines, said) = ask(&["query", SELECTOR, "--limit=2", "--timezone=UTC"]);
    assert_eq!((code, lines.lines().count()), (Some(0), 2));
    assert!(lines.contains(&format!("Z {{}} {}", access(LINES - 1))), "{lines}");
    assert!(said.contains("/loki/api/v1/query_range?direction=BACKWARD&"), "{said}");
    assert!(said.contains("Common labels: {") && said.contains("job=\"koprogo-api\""), "{said}");
    let (_, raw, quiet) = ask(&["query", SELECTOR, "--limit=0", "--batch=999", "-o", "raw", "-q"]);
    assert_eq!((raw.lines().count(), quiet.as_str()), (LINES as usize, ""));
    assert_eq!(ask(&["labels", "job", "-q"]).1, "koprogo-api\n");
    let series = "{job=\"koprogo-api\", service_name=\"koprogo-api\"}\n";
    assert_eq!(ask(&["series", SELECTOR, "-q"]).1, series);
    assert!(ask(&["stats", SELECTOR, "-q"]).1.contains("entries: 40000\n"));
    let query = format!("sum(count_over_time({SELECTOR}[2h]))");
    let number: Value = serde_json::from_str(&ask(&["instant-query", &query, "-q"]).1).unwrap();
    assert_eq!(number[0]["value"][1], "40000");
    let volume: Value = serde_json::from_str(&ask(&["volume", SELECTOR, "-q"]).1).unwrap();
    assert_eq!(volume[0]["metric"], json!({"job": "koprogo-api"}));
    let fields = ask(&["detected-fields", SELECTOR, "-q"]).1;
    assert!(fields.contains("label: duration_ms\t\ttype: int\t\tcardinality: 1\n"), "{fields}");
}

fn followed(here: &Vigie, url: &str) {
    let mut child = Command::new(program())
        .args(["logs", SELECTOR, "-f", "--limit", "1", "-o", "raw"])
        .env("VIGIE_URL", url)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), access(LINES - 1));
    for n in 0..3 {
        push(here.port, std::iter::once((now_ns(), access(LINES + n))));
        assert_eq!(lines.next().unwrap().unwrap(), access(LINES + n));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

fn counted(here: &Vigie) {
    let expr = r#"http_requests_total{job="koprogo-api",method="GET",status="200"}"#;
    let all = (LINES + 3) as f64;
    wait_for("all requests to be counted", 30, || {
        here.query(expr).first().filter(|(_, value)| *value == all).map(drop)
    });
    let below = r#"http_request_duration_seconds_bucket{job="koprogo-api",le="0.1"}"#;
    assert_eq!(here.query(below)[0].1, all);
}

/// Killed as soon as it has written down how far it came, and started again.
fn copied(source: &str, away: &Path) {
    let there = start(away);
    let target = format!("http://127.0.0.1:{}", there.port);
    let state = away.join("state.json");
    let state_text = state.display().to_string();
    let arguments = ["import", "loki", source, "--since", "2h", "--state", &state_text];
    let mut child = Command::new(program())
        .args(arguments)
        .env("VIGIE_URL", &target)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the first page", 60, || state.exists().then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
    let (code, told, said) = run(&program(), &target, &arguments);
    assert_eq!(code, Some(0), "{told}{said}");
    assert!(said.contains("Going on after "), "{said}");
    assert!(told.contains("40003 lines there, 40003 lines here"), "{told}");
    assert!(!state.exists(), "a copy that is done leaves nothing behind");
    let query = r#"{job="koprogo-api"} | trace_id="t" |= "39999""#;
    let (_, line, _) = run(&program(), &target, &["logs", query, "-o", "raw"]);
    assert_eq!(line, access(39_999) + "\n");
}
