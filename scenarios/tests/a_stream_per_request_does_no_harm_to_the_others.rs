//! Five thousand streams write, as many lines a second as the machine takes; then a client makes the
//! oldest mistake there is and gives every request a stream of its own, a hundred thousand of them.
//! Whatever is refused is refused in Loki's words, memory stays bounded, the old streams go on, and a
//! query over everything is answered or refused in words, within its budget.

#![allow(clippy::unwrap_used, reason = "a test's panic is its report")]

use vigie_scenarios::http::{Answer, encode, get};
use vigie_scenarios::{Vigie, now_ns, post, wait_for};

const STREAMS: usize = 5_000;
const REQUESTS: usize = 100_000;
/// Streams of one push.
const PER_PUSH: usize = 1_000;
/// What the process may ever take.
const PEAK_MIB_MAX: u64 = 400;
const TOO_MANY: &str = "Maximum active stream limit exceeded when trying to create stream {";

fn stream(labels: &str, line: &str) -> String {
    format!(r#"{{"stream":{{{labels}}},"values":[["{}","{line}"]]}}"#, now_ns())
}

fn push(port: u16, streams: &[String]) -> Answer {
    let body = format!(r#"{{"streams":[{}]}}"#, streams.join(","));
    post(port, "/loki/api/v1/push", "application/json", body.as_bytes()).expect("it is answered")
}

/// A line for each of the old streams.
fn push_round(port: u16, round: usize) {
    let one = |n: usize| {
        stream(&format!(r#""app":"shop","pod":"pod-{n}""#), &format!("round={round} pod={n}"))
    };
    let all: Vec<String> = (0..STREAMS).map(one).collect();
    for some in all.chunks(PER_PUSH) {
        let answer = push(port, some);
        assert_eq!(answer.status, 204, "{}", answer.text());
    }
}

fn count(port: u16, expr: &str) -> Option<f64> {
    let answer = get(port, &format!("/loki/api/v1/query?query={}", encode(expr)))?;
    assert_eq!(answer.status, 200, "{expr}: {}", answer.text());
    answer.json()["data"]["result"][0]["value"][1].as_str()?.parse().ok()
}

fn peak_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[test]
fn a_stream_per_request_does_no_harm_to_the_others() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("vigie.yml");
    let text = "web: {classic_ports: false}\nlogs: {scrape_configs: []}\nmetrics: {host: false, scrape_configs: []}\n";
    std::fs::write(&config, text).unwrap();
    let arguments = [
        format!("--config.file={}", config.display()),
        format!("--storage.path={}", home.path().join("data").display()),
    ];
    let arguments = [arguments[0].as_str(), arguments[1].as_str()];
    let vigie = Vigie::start(home.path(), &arguments);
    let port = vigie.port;
    push_round(port, 0);

    let (mut taken, mut refused) = (0, 0);
    for first in (0..REQUESTS).step_by(PER_PUSH) {
        let one = |n: usize| {
            stream(&format!(r#""app":"leaky","request":"r-{n:08}""#), &format!("request={n}"))
        };
        let some: Vec<String> = (first..first + PER_PUSH).map(one).collect();
        let answer = push(port, &some);
        match answer.status {
            204 => taken += PER_PUSH,
            400 | 429 => {
                let words = answer.text();
                assert!(words.contains(TOO_MANY), "refused in Loki's words: {words}");
                refused += PER_PUSH;
            }
            status => panic!("{status}: {}", answer.text()),
        }
        if first == REQUESTS / 2 {
            push_round(port, 1);
        }
    }
    push_round(port, 2);
    println!(
        "{taken} streams of requests taken, {refused} refused, at most {} MiB",
        peak_mib(vigie.pid())
    );

    let rounds = wait_for("the old streams' lines", 30, || {
        count(port, "sum(count_over_time({app=\"shop\"}[1h]))").filter(|lines| *lines > 0.0)
    });
    assert_eq!(rounds, 3.0 * STREAMS as f64, "the old streams go on");
    for expr in [
        "{app=~\".+\"}",
        "count_over_time({app=~\".+\"}[1h])",
        "sum by (request) (count_over_time({app=~\".+\"} | logfmt [1h]))",
        "topk(3, sum by (pod) (rate({app=~\".+\"}[5m])))",
    ] {
        let end = now_ns();
        let path = format!(
            "/loki/api/v1/query_range?limit=5000&step=60&start={}&end={end}&query={}",
            end - 3_600_000_000_000,
            encode(expr)
        );
        let answer = get(port, &path).expect("it is answered");
        let words = if answer.status == 200 { String::new() } else { answer.text() };
        let is_refused = answer.status == 400 && words.contains("quer");
        assert!(answer.status == 200 || is_refused, "{expr}: {}: {words}", answer.status);
        println!("{expr}: {} of {} bytes {words}", answer.status, answer.body.len());
    }
    let peak = peak_mib(vigie.pid());
    println!("at most {peak} MiB after the queries");
    assert!(peak < PEAK_MIB_MAX, "{peak} MiB");
    push_round(port, 3);

    vigie.kill();
    let again = Vigie::start(home.path(), &arguments);
    let lines = count(again.port, "sum(count_over_time({app=\"shop\"}[1h]))");
    assert_eq!(
        lines,
        Some(4.0 * STREAMS as f64),
        "all that was acknowledged is there after a kill"
    );
    let peak = peak_mib(again.pid());
    println!("at most {peak} MiB after the restart");
    assert!(peak < PEAK_MIB_MAX, "{peak} MiB after the restart");
}
