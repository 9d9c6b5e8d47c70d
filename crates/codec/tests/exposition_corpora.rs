//! Upstream's own cases and real exporters' pages, read from `VIGIE_CORPORA`.
#![allow(clippy::unwrap_used, reason = "a panic in a test is its failure report")]

use serde_json::Value;
use std::path::{Path, PathBuf};
use vigie_codec::exposition::{Entry, Format, parse};

fn corpora(what: &str) -> Option<PathBuf> {
    match std::env::var_os("VIGIE_CORPORA") {
        Some(root) => Some(root.into()),
        None => {
            eprintln!("SKIPPED: {what}: VIGIE_CORPORA is not set");
            None
        }
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Parses a page, builds every label set, and returns how many samples it had.
fn count(body: &[u8], format: Format) -> Result<usize, String> {
    let mut samples = 0;
    let mut error = None;
    parse(body, format, &mut |entry| {
        if let Entry::Sample(sample) = entry {
            samples += 1;
            if let Err(what) = sample.labels() {
                error.get_or_insert(what);
            }
        }
    })
    .map_err(|error| error.to_string())?;
    error.map_or(Ok(samples), Err)
}

#[test]
fn pages_of_real_exporters_parse_line_by_line() {
    let Some(root) = corpora("15 pages of real exporters and 3 of upstream") else { return };
    let mut pages = files(&root.join("exporters"));
    pages.extend(files(&root.join("prometheus/prometheus/model/textparse/testdata")));
    let (mut total, mut seen) = (0, 0);
    for page in pages {
        let name = page.file_name().unwrap().to_string_lossy().into_owned();
        if name.ends_with(".md") {
            continue;
        }
        let body = std::fs::read(&page).unwrap();
        // Not by name: node_exporter answers text to a client that asks for OpenMetrics.
        let openmetrics = body.ends_with(b"# EOF\n");
        let format = if openmetrics { Format::OpenMetrics } else { Format::Text };
        let samples = count(&body, format).unwrap_or_else(|error| panic!("{name}: {error}"));
        let lines = body.split(|b| *b == b'\n').filter(|line| !line.is_empty() && line[0] != b'#');
        assert_eq!(samples, lines.count(), "{name}");
        (total, seen) = (total + samples, seen + 1);
    }
    assert!(seen >= 17 && total > 10_000, "{seen} pages, {total} samples");
    println!("{seen} pages, {total} samples");
}

fn input(case: &Value) -> Vec<u8> {
    match &case["input"] {
        Value::String(text) => text.clone().into_bytes(),
        other => {
            let hex = other["_bytes_hex"].as_str().unwrap();
            let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            (0..hex.len()).step_by(2).map(digit).collect()
        }
    }
}

/// Where we differ on purpose: the input and why.
const DIFFERENT: &[(&str, &str)] = &[
    (
        "custom_metric_total 1 # {b=\"\0ss\"} 1\n",
        "a null byte is a character of an exemplar's label as it is of a sample's",
    ),
    (
        "a{b=\"\0",
        "upstream's OpenMetrics lexer stops at the null byte; ours quotes it all the same",
    ),
];

#[test]
fn errors_are_worded_as_upstream_words_them() {
    let Some(root) = corpora("109 error cases of upstream's text parsers") else { return };
    let (mut total, mut same, mut refused) = (0, 0, 0);
    for (file, format) in [
        ("prom_errors", Format::Text),
        ("prom_nullbyte", Format::Text),
        ("openmetrics_errors", Format::OpenMetrics),
        ("openmetrics_nullbyte", Format::OpenMetrics),
    ] {
        let path = root.join(format!("prometheus/extracted/textparse_{file}.cases.json"));
        let cases: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        for case in cases.as_array().unwrap() {
            let (body, wanted) = (input(case), case["err"].as_str().unwrap());
            let got = parse(&body, format, &mut |_| {}).map_err(|error| error.what);
            let wants_error = !wanted.is_empty() && wanted != "EOF";
            total += 1;
            if DIFFERENT.iter().any(|(input, _)| input.as_bytes() == body) {
                continue;
            }
            assert_eq!(got.is_err(), wants_error, "{body:?} {got:?} {wanted}");
            refused += usize::from(wants_error);
            match got {
                Err(what) if what != wanted => println!("got {what}\n{wanted} wanted"),
                _ => same += 1,
            }
        }
    }
    println!("{total} cases: {refused} refused as upstream does, {same} with the very same words");
    assert!(same + DIFFERENT.len() + 1 == total, "{same} of {total} cases");
}

#[test]
fn the_openmetrics_suite_is_accepted_where_it_is_valid() {
    let Some(root) = corpora("211 cases of the OpenMetrics test suite") else { return };
    let (mut valid, mut refused, mut bad) = (0, 0, 0);
    for case in files(&root.join("prometheus/OpenMetrics/tests/testdata/parsers")) {
        let description: Value =
            serde_json::from_slice(&std::fs::read(case.join("test.json")).unwrap()).unwrap();
        let body = std::fs::read(case.join("metrics")).unwrap();
        let got = count(&body, Format::OpenMetrics);
        if description["shouldParse"].as_bool().unwrap() {
            valid += 1;
            assert!(got.is_ok(), "{}: {got:?}", case.display());
        } else {
            bad += 1;
            refused += usize::from(got.is_err());
        }
    }
    println!("{valid} valid bodies accepted; {refused} of {bad} bad ones refused");
    // Prometheus' own parser is laxer than the specification, and so are we.
    assert!(refused * 2 > bad, "{refused} of {bad} bad bodies refused");
}
