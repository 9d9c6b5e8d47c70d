//! Prometheus' own answers (3.13.2) to 1,002 queries over real scrapes of node_exporter, asked again
//! over HTTP: values to a relative 1e-9, errors and annotations word for word.
//!
//! The corpus stands in `prometheus/golden` and says how the scrapes become three targets. Order
//! counts only where the query asks for one. What differs stands in `golden.differences.txt` with the
//! reason and upstream's commit; a line there that is alike by now is an error.

use crate::support::{House, encode};
use serde_json::Value;
use std::io::Read;
use vigie_codec::exposition::{Entry, Format, MetricKind, Sample, parse};
use vigie_engine::{Durability, Engine};
use vigie_model::{Labels, Row};

/// The first instant of each target.
const START_MS: i64 = 1_767_225_600_000;
/// Scrapes of one target.
const SCRAPES: usize = 240;
/// How far values may be apart.
const RELATIVE: f64 = 1e-9;
/// How many answers the corpus has.
const CASES: usize = 1_998;

/// Query, reason and commit, between tabs, one line each.
const DIFFERENCES: &str = include_str!("golden.differences.txt");

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_recorded_answers_are_given() {
    let Ok(corpora) = std::env::var("VIGIE_CORPORA") else {
        println!(
            "SKIPPED: VIGIE_CORPORA is not set, Prometheus' {CASES} recorded answers are not compared"
        );
        return;
    };
    let file = format!("{corpora}/prometheus/golden/prometheus_3.13.2_node.json.zst");
    let text = zstd::decode_all(std::fs::File::open(file).unwrap()).unwrap();
    let golden: Value = serde_json::from_slice(&text).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), CASES);

    let house = House::new();
    load(&house, &format!("{corpora}/node_exporter/scrapes_2s_763.tar.gz"));
    let meant: Vec<Vec<&str>> = DIFFERENCES
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("# "))
        .map(|line| line.split('\t').collect())
        .collect();
    for line in &meant {
        assert!(line.len() == 3, "query, reason, commit: {line:?}");
    }
    let (mut different, mut wrong) = (Vec::new(), Vec::new());
    for case in cases {
        let query = case["query"].as_str().unwrap();
        let on_purpose = meant.iter().any(|line| line[0] == query);
        match compare(&house, case).await {
            Ok(()) => {}
            Err(_) if on_purpose => different.push(query),
            Err(why) => wrong.push(format!("{}: {query}\n  {why}", case["endpoint"])),
        }
    }
    println!(
        "{} of {CASES} answers are Prometheus', {} differ on purpose",
        CASES - different.len() - wrong.len(),
        different.len()
    );
    for line in meant.iter().filter(|line| !different.contains(&line[0])) {
        wrong.push(format!("{}: alike by now, take it off the list", line[0]));
    }
    let shown = if std::env::var_os("VIGIE_SHOW").is_some() { wrong.len() } else { 20 };
    let list: Vec<String> = wrong.iter().take(shown).cloned().collect();
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), list.join("\n"));
}

/// Three targets of 240 scrapes each, 15 s apart, from the files in order of their names.
fn load(house: &House, archive: &str) {
    let mut tar = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(archive).unwrap())
        .read_to_end(&mut tar)
        .unwrap();
    let mut files = untar(&tar);
    files.sort();
    for (at, (_, body)) in files.iter().take(3 * SCRAPES).enumerate() {
        let host = ["host-a:9100", "host-b:9100", "host-c:9100"][at / SCRAPES];
        let (mut series, mut values) = (Vec::new(), Vec::new());
        parse(body, Format::Text, &mut |entry| {
            if let Entry::Sample(sample) = entry {
                // Untyped: the bounds stay as they were written.
                let untyped = Sample { kind: MetricKind::Unknown, ..sample };
                let mut labels = untyped.labels().unwrap().to_builder();
                labels.set("job", "node").set("instance", host);
                series.push(house.engine().intern(&labels.build()).unwrap());
                values.push(sample.value);
            }
        })
        .unwrap();
        let ts_ms = START_MS + 15_000 * (at % SCRAPES) as i64;
        let row = Row::floats(ts_ms, &series, &values);
        let report = house.engine().append(&[row], Durability::Written).unwrap();
        assert_eq!(report.appended as usize, values.len(), "scrape {at}");
    }
}

/// The files of a tar archive: name and body.
fn untar(mut tar: &[u8]) -> Vec<(String, &[u8])> {
    let mut files = Vec::new();
    while let Some((head, rest)) = tar.split_at_checked(512)
        && head[0] != 0
    {
        let text = |field: &[u8]| {
            let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
            String::from_utf8_lossy(&field[..end]).trim().to_owned()
        };
        let size = usize::from_str_radix(&text(&head[124..136]), 8).unwrap();
        if head[156] == b'0' {
            files.push((text(&head[..100]), &rest[..size]));
        }
        tar = &rest[size.next_multiple_of(512)..];
    }
    files
}

async fn compare(house: &House, case: &Value) -> Result<(), String> {
    let number = |name: &str| case[name].to_string();
    let query = encode(case["query"].as_str().unwrap());
    let instant = case["endpoint"] == "query";
    let path = if instant {
        format!("/api/v1/query?query={query}&time={}", number("time"))
    } else {
        let (start, end, step) = (number("start"), number("end"), number("step"));
        format!("/api/v1/query_range?query={query}&start={start}&end={end}&step={step}")
    };
    let answer = house.get(&path).await;
    let got = answer.json();
    if u64::from(answer.status) != case["code"].as_u64().unwrap() {
        let error = got.get("error").map_or(String::new(), Value::to_string);
        return Err(format!("{} instead of {}: {error}", answer.status, case["code"]));
    }
    for name in ["errorType", "error", "warnings", "infos"] {
        if got.get(name) != case.get(name) {
            return Err(format!("{name}: wanted {:?}, got {:?}", case.get(name), got.get(name)));
        }
    }
    let Some(wanted) = case.get("data") else { return Ok(()) };
    let data = &got["data"];
    if data["resultType"] != wanted["resultType"] {
        return Err(format!("{} instead of {}", data["resultType"], wanted["resultType"]));
    }
    let ordered = instant && in_order(case["query"].as_str().unwrap());
    same(&listed(&wanted["result"], ordered), &listed(&data["result"], ordered))
}

/// Whether the order of an instant answer is the query's own.
fn in_order(query: &str) -> bool {
    ["sort", "topk", "bottomk"].iter().any(|word| query.starts_with(word))
}

/// A result's parts: by label set, or as they stand.
fn listed(result: &Value, ordered: bool) -> Vec<(Labels, Vec<Value>)> {
    let list = result.as_array().unwrap();
    if list.iter().all(|one| one.get("metric").is_none()) {
        return vec![(Labels::default(), list.clone())];
    }
    let mut all: Vec<(Labels, Vec<Value>)> = list
        .iter()
        .map(|one| {
            let labels = one["metric"].as_object().unwrap().iter();
            let labels = Labels::from_pairs(labels.map(|(n, v)| (n.as_str(), v.as_str().unwrap())));
            let points = match one.get("value") {
                Some(point) => point.as_array().unwrap().clone(),
                None => {
                    let points = one["values"].as_array().unwrap().iter();
                    points.flat_map(|point| point.as_array().unwrap().clone()).collect()
                }
            };
            (labels, points)
        })
        .collect();
    if ordered {
        // Which of equals comes first is not defined.
        for equals in all.chunk_by_mut(|a, b| a.1 == b.1) {
            equals.sort_by(|a, b| a.0.cmp(&b.0));
        }
    } else {
        all.sort_by(|a, b| a.0.cmp(&b.0));
    }
    all
}

fn same(wanted: &[(Labels, Vec<Value>)], got: &[(Labels, Vec<Value>)]) -> Result<(), String> {
    if wanted.len() != got.len() {
        return Err(format!("{} series instead of {}", got.len(), wanted.len()));
    }
    for ((wanted_labels, wanted), (labels, got)) in wanted.iter().zip(got) {
        if wanted_labels != labels {
            return Err(format!("{labels} instead of {wanted_labels}"));
        }
        if wanted.len() != got.len() {
            return Err(format!("{labels}: {} values, not {}", got.len() / 2, wanted.len() / 2));
        }
        for (wanted, got) in wanted.iter().zip(got) {
            let alike = match (wanted.as_str(), got.as_str()) {
                (Some(wanted), Some(got)) => near(wanted, got),
                // Instants are exact.
                _ => wanted.as_f64() == got.as_f64(),
            };
            if !alike {
                return Err(format!("{labels}: {got} instead of {wanted}"));
            }
        }
    }
    Ok(())
}

fn near(wanted: &str, got: &str) -> bool {
    let (Ok(wanted), Ok(got)) = (wanted.parse::<f64>(), got.parse::<f64>()) else {
        return wanted == got;
    };
    wanted == got
        || (wanted.is_nan() && got.is_nan())
        || (wanted - got).abs() <= RELATIVE * wanted.abs().max(got.abs())
}
