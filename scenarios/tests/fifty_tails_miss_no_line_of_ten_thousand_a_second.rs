//! Fifty clients follow a query while ten thousand lines a second are pushed: each gets every line that
//! matches, once, and none is told of a dropped one.

#![allow(clippy::unwrap_used, reason = "a test's panic is its report")]

use serde_json::{Value, json};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};
use vigie_scenarios::http::{encode, post};
use vigie_scenarios::tail::Tail;
use vigie_scenarios::{Vigie, now_ns};

const CONFIG: &str = "\
web: {classic_ports: false}
metrics: {host: false, scrape_configs: []}
logs: {scrape_configs: []}
";
const CLIENTS: usize = 50;
const LINES: usize = 20_000;
const PER_PUSH: usize = 100;
const PER_SECOND: usize = 10_000;
/// Stands in the last line only.
const LAST: &str = "and no more";

fn start(home: &Path) -> Vigie {
    std::fs::write(home.join("vigie.yml"), CONFIG).unwrap();
    let config = format!("--config.file={}", home.join("vigie.yml").display());
    let data = format!("--storage.path={}", home.join("data").display());
    Vigie::start(home, &[&config, &data])
}

/// Half of the lines match; the last one does.
fn line(n: usize) -> String {
    let word = if n.is_multiple_of(2) || n + 1 == LINES { "wanted" } else { "other" };
    format!("{word} {n:06} {}", if n + 1 == LINES { LAST } else { "" })
}

fn push(port: u16, first: usize) {
    let ts_ns = now_ns();
    let value = |n: usize| json!([(ts_ns + n as i64).to_string(), line(first + n)]);
    let values: Vec<Value> = (0..PER_PUSH).map(value).collect();
    let body = json!({"streams": [{"stream": {"app": "a"}, "values": values}]}).to_string();
    let answer = post(port, "/loki/api/v1/push", "application/json", body.as_bytes()).unwrap();
    assert_eq!(answer.status, 204, "{}", answer.text());
}

/// The frames up to the one with the last line.
fn follow(mut tail: Tail) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    loop {
        let frame = tail.next_text().unwrap();
        let end = &frame[frame.len().saturating_sub(200)..];
        let is_last = end.windows(LAST.len()).any(|w| w == LAST.as_bytes());
        frames.push(frame);
        if is_last {
            return frames;
        }
    }
}

/// The numbers of the lines of all frames.
fn numbers(frames: &[Vec<u8>]) -> Vec<usize> {
    let mut numbers = Vec::new();
    for frame in frames {
        let message: Value = serde_json::from_slice(frame).unwrap();
        assert!(message.get("dropped_entries").is_none(), "{}", message["dropped_entries"]);
        for stream in message["streams"].as_array().unwrap() {
            for value in stream["values"].as_array().unwrap() {
                let text = value[1].as_str().unwrap();
                numbers.push(text.split(' ').nth(1).unwrap().parse().unwrap());
            }
        }
    }
    numbers
}

#[test]
fn fifty_tails_miss_no_line_of_ten_thousand_a_second() {
    let home = tempfile::tempdir().unwrap();
    let vigie = start(home.path());
    let query = encode(r#"{app="a"} |= "wanted""#);
    let path = format!("/loki/api/v1/tail?query={query}&limit=10");
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let tail = Tail::open(vigie.port, &path, &[]).unwrap();
            thread::spawn(move || follow(tail))
        })
        .collect();
    let began = Instant::now();
    for first in (0..LINES).step_by(PER_PUSH) {
        // The pace of the sender, not a wait for anything.
        let due = Duration::from_micros((first * 1_000_000 / PER_SECOND) as u64);
        thread::sleep(due.saturating_sub(began.elapsed()));
        push(vigie.port, first);
    }
    println!("{LINES} lines pushed in {:.2} s", began.elapsed().as_secs_f64());
    let wanted: Vec<usize> = (0..LINES).filter(|n| line(*n).starts_with("wanted")).collect();
    for client in clients {
        let mut numbers = numbers(&client.join().unwrap());
        numbers.sort_unstable();
        assert_eq!(numbers.len(), wanted.len(), "none missing, none twice");
        assert!(numbers == wanted);
    }
}
