//! Exchanges recorded from Loki 3.7.6 (corpus `loki/http_api_golden.json`), replayed in order.
//!
//! Each is answered with the same status, content type and JSON, or stands in
//! `recorded.differences.txt` with the reason and upstream's commit; a line there that is alike by now
//! is an error. What is left aside everywhere: `stats` and the order of streams.

use crate::support::House;
use serde_json::{Map, Value, json};

/// Exchange, reason and commit, between tabs, one line each.
const DIFFERENCES: &str = include_str!("recorded.differences.txt");
/// Pushes that Vigie takes and Loki does not.
const ASKED_LAST: [&str; 2] = ["push 16 labels", "push legacy labels form"];
/// How many the corpus has.
const CASES: usize = 142;

/// The exchanges that differ on purpose; a line without a reason or a commit is a failure.
fn on_purpose() -> Vec<&'static str> {
    let lines = DIFFERENCES.lines().filter(|line| !line.starts_with("# "));
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let [name, reason, commit] = fields[..] else {
                panic!("exchange, reason and commit, between tabs: {line:?}")
            };
            let hex = commit.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            assert!(hex && commit.len() == 40, "no commit: {line:?}");
            assert!(!name.is_empty() && !reason.is_empty(), "{line:?}");
            name
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn lokis_recorded_exchanges_are_answered_alike() {
    let Ok(corpora) = std::env::var("VIGIE_CORPORA") else {
        println!(
            "SKIPPED: VIGIE_CORPORA is not set, Loki's 142 recorded exchanges are not compared"
        );
        return;
    };
    let text = std::fs::read_to_string(format!("{corpora}/loki/http_api_golden.json")).unwrap();
    let corpus: Value = serde_json::from_str(&text).unwrap();
    let t0_ns: i64 = corpus["t0_ns"].as_str().unwrap().parse().unwrap();
    // An hour ago, whole minutes later than when it was recorded.
    let now_s = jiff::Timestamp::now().as_second();
    let later_s = (now_s - 3600 - t0_ns / 1_000_000_000) / 60 * 60;

    let house = House::new();
    let meant = on_purpose();
    let mut cases: Vec<&Value> = corpus["cases"].as_array().unwrap().iter().collect();
    assert_eq!(cases.len(), CASES);
    let name = |case: &Value| case["name"].as_str().unwrap().to_owned();
    cases.sort_by_key(|case| ASKED_LAST.contains(&name(case).as_str()));
    let (mut different, mut wrong) = (Vec::new(), Vec::new());
    for case in cases {
        let name = name(case);
        match compare(&house, case, later_s).await {
            Ok(()) => {}
            Err(_) if meant.contains(&name.as_str()) => different.push(name),
            Err(why) => wrong.push(format!("{name}: {why}")),
        }
    }
    println!(
        "{} of {CASES} exchanges are answered as Loki answers them, {} differ on purpose",
        CASES - different.len() - wrong.len(),
        different.len()
    );
    for name in meant.iter().filter(|name| !different.iter().any(|one| one == **name)) {
        wrong.push(format!("{name}: alike by now, take it off the list"));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Asks again, `later_s` seconds later than it was recorded.
async fn compare(house: &House, case: &Value, later_s: i64) -> Result<(), String> {
    let url = case["url"].as_str().unwrap().replace("%3A", ":");
    let headers: Vec<(&str, &str)> = case["headers"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
        .collect();
    let body = later(case["body"].as_str().unwrap_or(""), later_s);
    let method = case["method"].as_str().unwrap();
    let answer = house.ask(method, &later(&url, later_s), &headers, &body).await;
    let wanted = match &case["response"] {
        Value::String(text) => json!(later(text, later_s)),
        value => serde_json::from_str(&later(&value.to_string(), later_s)).unwrap(),
    };
    let got = match wanted {
        Value::String(_) => json!(answer.body),
        _ => serde_json::from_str(&answer.body).unwrap_or(json!(answer.body)),
    };
    let head = |status: u64, kind: &str| format!("{status} {}", kind.to_lowercase());
    let wanted_head =
        head(case["status"].as_u64().unwrap(), case["content_type"].as_str().unwrap_or(""));
    let got_head = head(u64::from(answer.status), answer.content_type());
    if wanted_head == got_head && plain(wanted.clone()) == plain(got.clone()) {
        return Ok(());
    }
    let (wanted, got) = (plain(wanted), plain(got));
    Err(format!("{url}\n  wanted {wanted_head} {wanted}\n  got    {got_head} {got}"))
}

/// Every instant in a text, in nanoseconds, seconds or RFC 3339, `later_s` seconds later.
fn later(text: &str, later_s: i64) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let start = &rest[at..];
        let digits = start.len() - start.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        out.push_str(&rest[..at]);
        let (number, after) = start.split_at(digits);
        let date = start.get(..20).and_then(|date| date.parse::<jiff::Timestamp>().ok());
        if let Some(date) = date {
            let date = jiff::Timestamp::from_second(date.as_second() + later_s).unwrap();
            out.push_str(&date.to_string());
            rest = &start[20..];
            continue;
        }
        match (digits, number.starts_with("179")) {
            (19, true) => {
                let ns: i64 = number.parse().unwrap();
                out.push_str(&(ns + later_s * 1_000_000_000).to_string());
            }
            (10, true) => out.push_str(&(number.parse::<i64>().unwrap() + later_s).to_string()),
            _ => out.push_str(number),
        }
        rest = after;
    }
    out + rest
}

/// Without what is left aside.
fn plain(value: Value) -> Value {
    let mut value = sorted(value);
    // Loki takes these out of maps.
    for name in ["fields", "detectedLabels", "values"] {
        if let Some(list) = value.get_mut(name).and_then(Value::as_array_mut) {
            list.sort_by_key(ToString::to_string);
        }
    }
    let Some(data) = value.get_mut("data").and_then(Value::as_object_mut) else {
        if let Some(list) = value.get_mut("data").and_then(Value::as_array_mut) {
            list.sort_by_key(ToString::to_string);
        }
        return value;
    };
    data.remove("stats");
    if data.get("resultType") == Some(&json!("streams")) {
        let streams = data["result"].as_array().unwrap().clone();
        data["result"] = by_stream(streams);
    } else if let Some(list) = data.get_mut("result").and_then(Value::as_array_mut) {
        list.sort_by_key(|one| one["metric"].to_string());
    }
    value
}

/// Streams by their labels; those that only the level set apart become one, the newest line first.
fn by_stream(streams: Vec<Value>) -> Value {
    let mut all: Map<String, Value> = Map::new();
    for stream in streams {
        let values = stream["values"].as_array().unwrap().clone();
        match all.get_mut(&stream["stream"].to_string()).and_then(Value::as_array_mut) {
            Some(known) => {
                known.extend(values);
                known.sort_by_key(|line| std::cmp::Reverse(line[0].as_str().unwrap().to_owned()));
            }
            None => {
                all.insert(stream["stream"].to_string(), Value::Array(values));
            }
        }
    }
    all.sort_keys();
    Value::Object(all)
}

/// With the members of objects in order.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let map = map.into_iter().map(|(name, value)| (name, sorted(value)));
            let mut map: Map<String, Value> = map.collect();
            map.sort_keys();
            Value::Object(map)
        }
        Value::Array(list) => list.into_iter().map(sorted).collect(),
        other => other,
    }
}
