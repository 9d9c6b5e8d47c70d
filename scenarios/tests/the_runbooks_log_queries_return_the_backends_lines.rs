//! The four LogQL queries of the runbook return exactly the lines that the backend and PostgreSQL
//! wrote: the files are read here by other means and compared.

#![allow(clippy::unwrap_used, reason = "a test's panic is its report")]

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use vigie_scenarios::demo::Demo;
use vigie_scenarios::{get, http::encode, wait_for};

/// The lines of a query, by the instant they were logged at, from one range for all.
fn ask(port: u16, expr: &str, end_ns: i64) -> Vec<String> {
    let path = format!(
        "/loki/api/v1/query_range?limit=5000&start=0&end={end_ns}&direction=forward&query={}",
        encode(expr)
    );
    let answer = get(port, &path).unwrap();
    assert_eq!(answer.status, 200, "{expr}: {}", answer.text());
    let mut lines = Vec::new();
    for stream in answer.json()["data"]["result"].as_array().unwrap() {
        for value in stream["values"].as_array().unwrap() {
            lines.push(value[1].as_str().unwrap().to_owned());
        }
    }
    lines.sort();
    lines
}

/// The visitors of this backend and of no other: those that were given its address.
fn load_pids(url: &str) -> Vec<u32> {
    let running = fs::read_dir("/proc").unwrap().flatten();
    let pids = running.filter_map(|entry| {
        let command = fs::read(entry.path().join("cmdline")).ok()?;
        let text = String::from_utf8_lossy(&command).replace('\0', " ");
        let ours = text.contains("syndic load ") && text.contains(url) && !text.contains("setpriv");
        ours.then(|| entry.file_name().to_string_lossy().parse().ok())?
    });
    pids.collect()
}

/// The file that the lines of a query come from, by their label.
fn file_of(port: u16, expr: &str) -> String {
    let path = format!("/loki/api/v1/query_range?start=0&query={}", encode(expr));
    let json = get(port, &path).unwrap().json();
    json["data"]["result"][0]["stream"]["filename"].as_str().unwrap().to_owned()
}

/// What should come back: the lines of a file that `wanted` takes, as often as they stand there.
fn expected(text: &str, wanted: impl Fn(&str, &Value) -> bool) -> Vec<String> {
    let mut lines: Vec<String> = text
        .lines()
        .filter(|line| wanted(line, &serde_json::from_str(line).unwrap_or(Value::Null)))
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines
}

#[test]
fn the_runbooks_log_queries_return_the_backends_lines() {
    let demo = Demo::start("web: {classic_ports: false}\n");
    let port = demo.vigie.port;
    // Until each query has something to find.
    let queries = [
        r#"{job="koprogo-api"} |= "ERROR" | json"#,
        r#"{job="koprogo-api"} | json | duration_ms > 1000"#,
        r#"{job="koprogo-api"} |= "401" | json | path="/api/v1/auth/login""#,
        r#"{job="postgresql"} |= "ERROR" | logfmt"#,
    ];
    wait_for("every query finds two lines", 150, || {
        queries.iter().all(|query| ask(port, query, i64::MAX / 2).len() >= 2).then_some(())
    });
    // The load stops, and what was written becomes what is stored.
    for pid in load_pids(&demo.backend_url()) {
        vigie_scenarios::demo::end(pid, "-TERM");
    }
    let api = demo.folder().join("api.log");
    let mut seen = BTreeMap::new();
    let text = wait_for("the log is quiet and stored", 60, || {
        let text = fs::read_to_string(&api).ok()?;
        let stored = demo.vigie.query("sum(vigie_tail_lines_total)").first()?.1 as u64;
        let calm = seen.insert("api", (text.len(), stored)) == Some((text.len(), stored));
        std::thread::sleep(std::time::Duration::from_millis(1500));
        calm.then_some(text)
    });
    let of_json = |name: &str, value: &Value| value.get(name).cloned().unwrap_or(Value::Null);
    let cases = [
        (queries[0], expected(&text, |line, _| line.contains("ERROR"))),
        (
            queries[1],
            expected(&text, |_, json| {
                of_json("duration_ms", json).as_f64().is_some_and(|ms| ms > 1000.0)
            }),
        ),
        (
            queries[2],
            expected(&text, |line, json| {
                line.contains("401") && of_json("path", json) == "/api/v1/auth/login"
            }),
        ),
    ];
    for (query, wanted) in cases {
        let got = ask(port, query, i64::MAX / 2);
        println!("{query}: {} lines", got.len());
        assert!(!wanted.is_empty(), "{query} has something to find");
        assert_eq!(got, wanted, "{query}");
    }
    let log = file_of(port, queries[3]);
    let wanted = expected(&fs::read_to_string(log).unwrap(), |line, _| line.contains("ERROR"));
    let got = ask(port, queries[3], i64::MAX / 2);
    println!("{}: {} lines", queries[3], got.len());
    assert_eq!(got, wanted);
    let count = demo.vigie.port;
    let sum = get(
        count,
        &format!(
            "/loki/api/v1/query?query={}",
            encode(r#"sum by (job) (count_over_time({job="koprogo-api"}[1h]))"#)
        ),
    )
    .unwrap()
    .json();
    let counted: usize = sum["data"]["result"][0]["value"][1].as_str().unwrap().parse().unwrap();
    assert_eq!(counted, text.lines().count(), "every line of the file is counted once");
}
