//! Loki 3.7.6 as the oracle: what it parses, what it refuses and how, and what its pipelines make of lines.

#![allow(clippy::unwrap_used, reason = "a panic is the failure report of a test")]

mod common;

use common::{Memory, at_least_the_floor, corpus, differences, differs_on_purpose};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::Path;
use vigie_logql::{LabelSet, Options, Value, check, instant, parse, query_logs};
use vigie_model::Labels;
use vigie_model::blocks::{Direction, LogRange};

fn load(path: &Path) -> Json {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Query and what is wrong with it.
type Failures = Vec<(String, String)>;

/// Counts what fails on purpose; anything else is wrong.
fn only_on_purpose(failures: &Failures) {
    let (meant, wrong): (Vec<_>, Vec<_>) =
        failures.iter().partition(|(query, _)| differs_on_purpose(query));
    println!("{} differ on purpose (tests/differences.txt)", meant.len());
    let wrong: Vec<&str> = wrong.iter().map(|(_, failure)| failure.as_str()).collect();
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn queries_parse_or_fail_as_in_loki() {
    let Some(root) = corpus("logql_parse.json") else { return };
    only_on_purpose(&parse_failures(&root));
}

#[test]
fn pipelines_make_of_lines_what_loki_makes() {
    let Some(root) = corpus("logql_pipeline_golden.json") else { return };
    only_on_purpose(&pipeline_failures(&root));
}

#[test]
fn every_difference_is_one() {
    let all = differences();
    let Some(root) = corpus("differences.txt") else { return };
    let mut failures = parse_failures(&root);
    failures.extend(pipeline_failures(&root));
    let met = |start: &str| failures.iter().any(|(query, _)| query.starts_with(start));
    let alike: Vec<&str> = all.into_iter().filter(|start| !met(start)).collect();
    assert!(alike.is_empty(), "alike by now, take off the list:\n{}", alike.join("\n"));
}

fn parse_failures(root: &Path) -> Failures {
    let data = load(&root.join("logql_parse.json"));
    let cases = data["cases"].as_array().unwrap();
    let (mut parsed, mut texts, mut errors, mut canonical, mut accepted) = (0, 0, 0, 0, 0);
    let (mut built, mut builds) = (0, 0);
    let mut failures = Vec::new();
    for case in cases {
        let query = case["query"].as_str().unwrap();
        let ok = case["ok"].as_bool().unwrap();
        let result = parse(query);
        if result.is_ok() == ok {
            parsed += 1;
        } else {
            failures.push((query.to_owned(), format!("{query:?}: want ok={ok}, have {result:?}")));
        }
        match (&result, case["error"].as_str()) {
            (Err(error), Some(wanted)) => {
                texts += 1;
                if error.to_string() == wanted {
                    errors += 1;
                } else {
                    failures.push((
                        query.to_owned(),
                        format!("{query:?}\n    want {wanted}\n    have {error}"),
                    ));
                }
            }
            (_, Some(_)) => texts += 1,
            (Ok(expr), None) => {
                accepted += 1;
                if expr.to_string() == case["canonical"].as_str().unwrap() {
                    canonical += 1;
                } else {
                    failures.push((
                        query.to_owned(),
                        format!("{query:?}\n    want {}\n    have {expr}", case["canonical"]),
                    ));
                }
                let wanted = case["build_error"].as_str();
                builds += usize::from(wanted.is_some());
                match (wanted, check(expr)) {
                    (Some(wanted), Err(error)) if error.to_string() == wanted => built += 1,
                    (None, Ok(())) => {}
                    (wanted, have) => failures.push((
                        query.to_owned(),
                        format!("{query:?}\n    build want {wanted:?}\n    have {have:?}"),
                    )),
                }
            }
            (Err(_), None) => accepted += 1,
        }
    }
    at_least_the_floor("parse", parsed, cases.len());
    at_least_the_floor("parse_errors", errors, texts);
    at_least_the_floor("canonical", canonical, accepted);
    at_least_the_floor("build_errors", built, builds);
    failures
}

fn labels(json: &Json) -> Labels {
    Labels::from_pairs(
        json.as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.as_str(), value.as_str().unwrap())),
    )
}

fn set(json: &Json) -> LabelSet {
    LabelSet::from_pairs(
        json.as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.as_str(), value.as_str().unwrap())),
    )
}

/// What our engine makes of one line, in the corpus' shape.
fn ours(
    query: &str,
    stream: &Labels,
    entry: &Json,
) -> Result<BTreeMap<&'static str, String>, String> {
    let expr = parse(query).map_err(|e| e.to_string())?;
    let ts_ns = entry["ts"].as_i64().unwrap();
    let mut memory = Memory::default();
    memory.push(
        stream,
        ts_ns,
        entry["line"].as_str().unwrap(),
        labels(&entry["structured_metadata"]),
    );
    let mut out = BTreeMap::new();
    if expr.is_log() {
        let all = LogRange { start_ns: ts_ns, end_ns: ts_ns + 1 };
        let streams = query_logs(&memory, &expr, all, Direction::Forward, 10, &Options::default())
            .map_err(|e| e.to_string())?;
        out.insert("keep", (!streams.is_empty()).to_string());
        if let Some(stream) = streams.first() {
            let row = &stream.entries[0];
            out.insert("line", String::from_utf8_lossy(&row.line).into_owned());
            out.insert("labels", stream.labels.to_string());
            out.insert("stream_labels", stream.stream_labels.to_string());
            out.insert("structured_metadata", row.structured_metadata.to_string());
            out.insert("parsed", row.parsed.to_string());
        }
        return Ok(out);
    }
    match instant(&memory, &expr, ts_ns, &Options::default()).map_err(|e| e.to_string())? {
        Value::Vector(samples) => {
            out.insert("keep", (!samples.is_empty()).to_string());
            if let Some(sample) = samples.first() {
                out.insert("labels", sample.labels.to_string());
                // The corpus has what is taken from the line; a rate spreads that over its minute.
                let spread = query.contains("rate(");
                let value = if spread { sample.value * 60.0 } else { sample.value };
                out.insert("value", value.to_string());
            }
        }
        other => return Err(format!("{other:?}")),
    }
    Ok(out)
}

fn theirs(result: &Json, is_log: bool) -> BTreeMap<&'static str, String> {
    let mut out = BTreeMap::new();
    let keep = result["keep"].as_bool().unwrap();
    out.insert("keep", keep.to_string());
    if keep && is_log {
        out.insert("line", result["line"].as_str().unwrap_or("").to_owned());
        for name in ["labels", "stream_labels", "structured_metadata", "parsed"] {
            out.insert(name, set(&result[name]).to_string());
        }
    } else if keep {
        out.insert("labels", set(&result["labels"]).to_string());
        let value: f64 = result["value"].as_str().unwrap().parse().unwrap();
        out.insert("value", value.to_string());
    }
    out
}

fn pipeline_failures(root: &Path) -> Failures {
    let data = load(&root.join("logql_pipeline_golden.json"));
    let stream = labels(&data["stream"]);
    let (mut passed, mut total) = (0, 0);
    let mut failures = Vec::new();
    for case in data["cases"].as_array().unwrap() {
        let query = case["query"].as_str().unwrap();
        if let Some(error) = case["error"].as_str() {
            total += 1;
            let have = parse(query)
                .map_err(|e| e.to_string())
                .and_then(|expr| check(&expr).map_err(|e| e.to_string()));
            match have {
                Err(have) if error.ends_with(&have) => passed += 1,
                have => failures.push((
                    query.to_owned(),
                    format!("{query}\n    want {error}\n    have {have:?}"),
                )),
            }
            continue;
        }
        let set = case["entry_set"].as_u64().unwrap() as usize;
        let entries = data["entry_sets"][set].as_array().unwrap();
        for (entry, result) in entries.iter().zip(case["results"].as_array().unwrap()) {
            total += 1;
            let wanted = theirs(result, case["kind"] == "log");
            let have = ours(query, &stream, entry);
            // A metric query over a line with an error fails; the corpus shows the labels instead.
            let failed = matches!(&have, Err(error) if error.contains("pipeline error"));
            let fails = wanted.get("labels").is_some_and(|l| l.contains("__error__"));
            if have.as_ref() == Ok(&wanted) || (failed && fails && case["kind"] != "log") {
                passed += 1;
            } else {
                failures.push((
                    query.to_owned(),
                    format!("{query} on {}\n    want {wanted:?}\n    have {have:?}", entry["line"]),
                ));
            }
        }
    }
    at_least_the_floor("pipeline", passed, total);
    failures
}

#[test]
fn expressions_of_lokis_parser_tests_are_accepted_or_refused() {
    let Some(root) = corpus("loki_parser_exprs.json") else { return };
    let data = load(&root.join("loki_parser_exprs.json"));
    let cases = data.as_array().unwrap();
    let mut failures = Vec::new();
    for case in cases {
        let (query, fails) = (case["q"].as_str().unwrap(), case["fail"].as_bool().unwrap());
        let result = parse(query).map(|_| ());
        if result.is_err() != fails {
            failures
                .push((query.to_owned(), format!("{query:?}: want fail={fails}, have {result:?}")));
        }
    }
    only_on_purpose(&failures);
    at_least_the_floor("parser_exprs", cases.len() - failures.len(), cases.len());
}
