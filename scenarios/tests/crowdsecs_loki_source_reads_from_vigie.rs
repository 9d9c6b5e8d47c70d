//! What CrowdSec's Loki data source asks, byte for byte but for the numbers.
//!
//! The requests were recorded from the client itself (github.com/crowdsecurity/crowdsec, commit
//! a88b497b4, `pkg/acquisition/modules/loki` built with Go 1.27.3), run against this program over a
//! proxy that writes them down: its one-shot mode (a page after the other, each from one nanosecond
//! behind the newest line of the last), its streaming mode (the same without end, `end` moving
//! along), and its tail. It decodes an entry as a list of texts of at least two, and a
//! timestamp by `strconv.ParseInt`; so does this.

#![allow(clippy::unwrap_used, reason = "a test's panic is its report")]

use serde_json::{Value, json};
use std::path::Path;
use vigie_scenarios::http::{encode, exchange, post};
use vigie_scenarios::tail::Tail;
use vigie_scenarios::{Answer, Vigie, now_ns, wait_for};

const CONFIG: &str = "\
web: {classic_ports: false}
metrics: {host: false, scrape_configs: []}
logs: {scrape_configs: []}
";
const QUERY: &str = r#"{job="auth"}"#;
const HEADERS: [(&str, &str); 3] =
    [("User-Agent", "crowdsec/-linux"), ("X-Scope-Orgid", "1234"), ("Accept-Encoding", "gzip")];
const HOUR_NS: i64 = 3_600_000_000_000;

fn start(home: &Path) -> Vigie {
    std::fs::write(home.join("vigie.yml"), CONFIG).unwrap();
    let config = format!("--config.file={}", home.join("vigie.yml").display());
    let data = format!("--storage.path={}", home.join("data").display());
    Vigie::start(home, &[&config, &data])
}

fn line(n: i64) -> String {
    format!("Nov 27 11:02:00 h sshd[{n}]: Failed password for root from 10.0.0.{}", n % 250)
}

fn push(port: u16, lines: impl Iterator<Item = (i64, i64)>) {
    let values: Vec<Value> = lines.map(|(ts_ns, n)| json!([ts_ns.to_string(), line(n)])).collect();
    let body = json!({"streams": [{"stream": {"job": "auth"}, "values": values}]}).to_string();
    let answer = post(port, "/loki/api/v1/push", "application/json", body.as_bytes()).unwrap();
    assert_eq!(answer.status, 204, "{}", answer.text());
}

/// Go's client takes gzip when it is offered; what is here reads plain bytes.
fn ask(port: u16, path: &str) -> Answer {
    let answer = exchange(port, "GET", path, &HEADERS[..2], &[]).unwrap();
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer
}

/// A page as the client decodes it: instants and lines of all streams, in their order.
fn page(port: u16, start_ns: i64, end_ns: i64, limit: usize) -> Vec<(i64, String)> {
    let query = encode(QUERY);
    let path = format!(
        "/loki/api/v1/query_range?direction=forward&end={end_ns}&limit={limit}&query={query}&start={start_ns}"
    );
    let json = ask(port, &path).json();
    assert_eq!(
        (&json["status"], &json["data"]["resultType"]),
        (&json!("success"), &json!("streams"))
    );
    json["data"]["result"].as_array().unwrap().iter().flat_map(entries).collect()
}

fn entries(stream: &Value) -> Vec<(i64, String)> {
    assert!(stream["stream"].as_object().unwrap().values().all(Value::is_string));
    let entry = |value: &Value| {
        let texts = value.as_array().unwrap();
        assert!(texts.len() >= 2 && texts.iter().all(Value::is_string), "{value}");
        (texts[0].as_str().unwrap().parse().unwrap(), texts[1].as_str().unwrap().to_owned())
    };
    stream["values"].as_array().unwrap().iter().map(entry).collect()
}

#[test]
fn crowdsecs_loki_source_reads_from_vigie() {
    let home = tempfile::tempdir().unwrap();
    let vigie = start(home.path());
    assert_eq!(ask(vigie.port, "/ready").text().trim_end(), "ready");
    let first_ns = now_ns() - 60_000_000_000;
    // Three lines at each instant: pages end in the middle of them.
    push(vigie.port, (0..1_000).map(|n| (first_ns + n / 3 * 1_000_000, n)));
    let all = one_shot(vigie.port, first_ns);
    stream(vigie.port, &all);
    tail(vigie.port);
}

/// Pages until one is short. A page that ends between lines of one instant goes on behind that
/// instant, in CrowdSec as it is: with Loki too, it would lose those lines.
fn one_shot(port: u16, first_ns: i64) -> Vec<(i64, String)> {
    let limit = 300;
    let (mut start_ns, end_ns) = (now_ns() - HOUR_NS, now_ns());
    let mut all: Vec<(i64, String)> = Vec::new();
    loop {
        let page = page(port, start_ns, end_ns, limit);
        assert!(page.is_sorted_by_key(|(ts_ns, _)| *ts_ns), "oldest first");
        let is_last = page.len() < limit;
        start_ns = page.iter().map(|(ts_ns, _)| *ts_ns).max().map_or(start_ns, |ts_ns| ts_ns + 1);
        all.extend(page);
        if is_last {
            break;
        }
    }
    // 300 is three times 100: no page ends in the middle.
    let wanted: Vec<_> = (0..1_000).map(|n| (first_ns + n / 3 * 1_000_000, line(n))).collect();
    assert_eq!(all, wanted, "every line, once, in order");
    all
}

/// The streaming mode looks from now on, and moves the end along.
fn stream(port: u16, before: &[(i64, String)]) {
    let mut start_ns = before.last().unwrap().0 + 1;
    let mut seen: Vec<String> = Vec::new();
    assert_eq!(page(port, start_ns, now_ns(), 100), [], "nothing twice");
    let mut sent = 0;
    wait_for("all lines of the stream", 60, || {
        if sent < 500 {
            push(port, (0..50).map(|n| (now_ns(), 10_000 + sent + n)));
            sent += 50;
        }
        let page = page(port, start_ns, now_ns(), 100);
        start_ns = page.iter().map(|(ts_ns, _)| *ts_ns).max().map_or(start_ns, |ts_ns| ts_ns + 1);
        seen.extend(page.into_iter().map(|(_, line)| line));
        (seen.len() >= 500).then_some(())
    });
    assert_eq!(seen, (10_000..10_500).map(line).collect::<Vec<_>>());
}

/// The tail begins with the newest lines of the last hour and goes on with what comes.
fn tail(port: u16) {
    let path = format!(
        "/loki/api/v1/tail?delay_for=1&limit=100&query={}&start={}",
        encode(QUERY),
        now_ns() - HOUR_NS
    );
    let mut tail = Tail::open(port, &path, &HEADERS[..2]).unwrap();
    let mut seen = Vec::new();
    let mut read = |count: usize| -> Vec<String> {
        while seen.len() < count {
            let message = tail.next_json().unwrap();
            // `null` and nothing are the same to its decoder; anything else is lost lines.
            assert!(message.get("dropped_entries").is_none_or(Value::is_null), "{message}");
            let streams = message["streams"].as_array().unwrap();
            seen.extend(streams.iter().flat_map(entries).map(|(_, line)| line));
        }
        seen.drain(..count).collect()
    };
    let mut newest = read(100);
    newest.sort();
    assert_eq!(newest, (10_400..10_500).map(line).collect::<Vec<_>>());
    for round in 0..20 {
        push(port, (0..50).map(|n| (now_ns(), 20_000 + round * 50 + n)));
    }
    assert_eq!(read(1_000), (20_000..21_000).map(line).collect::<Vec<_>>());
    let refused = Tail::open(port, &path.replace("delay_for=1", "delay_for=6"), &HEADERS[..2]);
    let words = refused.err().unwrap();
    assert!(words.starts_with("HTTP/1.1 400 "), "{words}");
}
