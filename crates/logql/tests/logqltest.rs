//! Loki's own declarative scripts of metric queries (`*.logqltest`, described in `FORMAT.md`).

#![allow(clippy::unwrap_used, reason = "a panic is the failure report of a test")]

mod common;

use common::{Memory, at_least_the_floor, corpus};
use regex::Regex;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use vigie_logql::units::parse_go_duration_ns;
use vigie_logql::{LabelSet, Options, Value, instant, parse, range};
use vigie_model::Labels;

/// The corpus' `t=0`.
const EPOCH_NS: i64 = 1_700_000_000_000_000_000;

static PAIR: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"("[^"]*"|[^\s,{}="]+)\s*=\s*"((?:[^"\\]|\\.)*)""#).unwrap());
static REPEAT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^(-?[\d.]+(?:e[+-]?\d+)?|NaN|_)([+-][\d.]+)?x(\d+)$").unwrap());

fn duration_ns(text: &str) -> i64 {
    parse_go_duration_ns(text).unwrap_or_else(|e| panic!("{e}"))
}

/// Cuts a comment, which a quoted text may look like.
fn without_comment(line: &str) -> &str {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match quote {
            Some('"') if escaped => escaped = false,
            Some('"') if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '`' => quote = Some(c),
            None if c == '#' => return line[..at].trim_end(),
            None => {}
        }
    }
    line.trim_end()
}

fn pairs(text: &str) -> impl Iterator<Item = (String, String)> {
    PAIR.captures_iter(text).map(|c| {
        let name = c[1].trim_matches('"').to_owned();
        let value = c[2].replace("\\\"", "\"").replace("\\n", "\n").replace("\\\\", "\\");
        (name, value)
    })
}

fn label_set(text: &str) -> LabelSet {
    LabelSet::from_pairs(pairs(text))
}

/// `{…}` at the start of `text`, and the rest; braces in quotes do not count.
fn braces(text: &str) -> (&str, &str) {
    let mut quoted = false;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '}' if !quoted => return (&text[..=at], text[at + 1..].trim_start()),
            _ => {}
        }
    }
    panic!("no closing brace: {text}")
}

fn load(memory: &mut Memory, line: &str) {
    let (selector, rest) = braces(line.trim());
    let labels = Labels::from_pairs(pairs(selector));
    let quote = rest.chars().next().unwrap();
    let end = rest[1..].find(quote).unwrap() + 1;
    let (text, rest) = (&rest[1..end], rest[end + 1..].trim());
    let at = rest.strip_prefix('@').unwrap().trim();
    let start_ns = duration_ns(at.split_whitespace().next().unwrap());
    let (mut step_ns, mut count) = (0, 1);
    if let Some((_, repeat)) = at.split_once("[repeat every ") {
        let (step, repeat) = repeat.split_once(" for ").unwrap();
        step_ns = duration_ns(step.trim());
        count = repeat.split(']').next().unwrap().trim().parse().unwrap();
    }
    let metadata = at.split_once("[metadata ").map_or_else(Labels::default, |(_, metadata)| {
        Labels::from_pairs_with_empty(pairs(metadata.split(']').next().unwrap()))
    });
    for index in 0..count {
        let text = text.replace("{{.i}}", &index.to_string());
        memory.push(&labels, EPOCH_NS + start_ns + step_ns * index, &text, metadata.clone());
    }
}

enum When {
    Instant(i64),
    Range(i64, i64, i64),
}

fn when(text: &str) -> (When, &str) {
    let ns = |text: &str| EPOCH_NS + if text == "0" { 0 } else { duration_ns(text) };
    if let Some(rest) = text.strip_prefix("instant at ") {
        let (at, query) = rest.split_once(' ').unwrap();
        return (When::Instant(ns(at)), query.trim());
    }
    let rest = text.strip_prefix("range from ").unwrap();
    let (start, rest) = rest.split_once(" to ").unwrap();
    let (end, rest) = rest.split_once(" step ").unwrap();
    let (step, query) = rest.split_once(' ').unwrap();
    (When::Range(ns(start.trim()), ns(end.trim()), duration_ns(step.trim())), query.trim())
}

fn number(text: &str) -> f64 {
    match text {
        "NaN" => f64::NAN,
        "Inf" | "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        _ => text.parse().unwrap_or_else(|e| panic!("{text}: {e}")),
    }
}

fn points(text: &str) -> Vec<Option<f64>> {
    text.split_whitespace()
        .flat_map(|word| match REPEAT.captures(word) {
            Some(c) => {
                let count: usize = c[3].parse().unwrap();
                let step = c.get(2).map_or(0.0, |s| s.as_str().parse().unwrap());
                let base = (&c[1] != "_").then(|| number(&c[1]));
                (0..=count).map(|at| base.map(|base| base + step * at as f64)).collect()
            }
            None if word == "_" => vec![None],
            None => vec![Some(number(word))],
        })
        .collect()
}

fn same(left: f64, right: f64) -> bool {
    (left.is_nan() && right.is_nan())
        || left == right
        || (left - right).abs() <= 1e-9 * left.abs().max(right.abs())
}

/// Evaluates, giving per series its points by step; a scalar has no labels and comes alone.
fn evaluate(memory: &Memory, when: &When, query: &str) -> Result<Value, String> {
    let expr = parse(query).map_err(|e| e.to_string())?;
    let options = Options::default();
    match when {
        When::Instant(at) => instant(memory, &expr, *at, &options).map_err(|e| e.to_string()),
        When::Range(start, end, step) => {
            range(memory, &expr, *start, *end, *step, &options).map_err(|e| e.to_string())
        }
    }
}

fn columns(value: &Value, when: &When) -> Vec<(LabelSet, Vec<Option<f64>>)> {
    match value {
        Value::Scalar { value, .. } => vec![(LabelSet::default(), vec![Some(*value)])],
        Value::Vector(samples) => {
            samples.iter().map(|s| (s.labels.clone(), vec![Some(s.value)])).collect()
        }
        Value::Matrix(series) => {
            let When::Range(start, end, step) = when else { panic!("a matrix at an instant") };
            let count = ((end - start) / step + 1) as usize;
            let column = |points: &[(i64, f64)]| {
                let mut column = vec![None; count];
                for (ts, value) in points {
                    column[((ts - start) / step) as usize] = Some(*value);
                }
                column
            };
            series.iter().map(|s| (s.labels.clone(), column(&s.points))).collect()
        }
    }
}

fn compare(have: &Result<Value, String>, when: &When, expected: &[&str]) -> Result<(), String> {
    let rest = |prefix: &str| expected.iter().find_map(|line| line.strip_prefix(prefix));
    if let Some(how) = rest("expect fail") {
        let Err(error) = have else { return Err(format!("want a failure, have {have:?}")) };
        let how = how.trim();
        let fits = match (how.strip_prefix("msg:"), how.strip_prefix("regex:")) {
            (Some(text), _) => {
                error.contains(text.trim()) || error.contains(&text.trim().replace("\\\"", "\""))
            }
            (_, Some(pattern)) => Regex::new(pattern.trim()).unwrap().is_match(error),
            _ => true,
        };
        return if fits { Ok(()) } else { Err(format!("want {how}, have {error}")) };
    }
    let value = have.as_ref().map_err(|error| format!("failed: {error}"))?;
    let have = columns(value, when);
    if rest("expect empty").is_some() {
        return if have.is_empty() { Ok(()) } else { Err(format!("want empty, have {have:?}")) };
    }
    let ordered = rest("expect ordered").is_some();
    let wanted: Vec<(LabelSet, Vec<Option<f64>>)> = expected
        .iter()
        .filter(|line| !line.starts_with("expect") && !line.starts_with("skip"))
        .map(|line| {
            if line.starts_with('{') {
                let (labels, rest) = braces(line);
                (label_set(labels), points(rest))
            } else {
                (LabelSet::default(), points(line))
            }
        })
        .collect();
    let mismatch = || Err(format!("want {wanted:?}\n      have {have:?}"));
    if wanted.len() != have.len() {
        return mismatch();
    }
    for (at, (labels, column)) in wanted.iter().enumerate() {
        let found = if ordered { have.get(at) } else { have.iter().find(|(l, _)| l == labels) };
        let Some((have_labels, found)) = found else { return mismatch() };
        let fits = have_labels == labels
            && column.len() == found.len()
            && column.iter().zip(found).all(|pair| match pair {
                (None, None) => true,
                (Some(left), Some(right)) => same(*left, *right),
                _ => false,
            });
        if !fits {
            return mismatch();
        }
    }
    Ok(())
}

#[test]
fn lokis_scripts_give_the_expected_series() {
    let Some(root) = corpus("*.logqltest") else { return };
    let (mut passed, mut total) = (0, 0);
    let mut by_file: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut files: Vec<_> = std::fs::read_dir(root.join("logqltest"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "logqltest"))
        .collect();
    files.sort();
    for path in files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let raw: Vec<&str> = text.lines().collect();
        let lines: Vec<&str> = raw.iter().map(|line| without_comment(line)).collect();
        let mut memory = Memory::default();
        let mut at = 0;
        while at < lines.len() {
            let line = lines[at];
            at += 1;
            let start = at;
            while at < raw.len() && raw[at].starts_with([' ', '\t']) {
                at += 1;
            }
            let block: Vec<&str> =
                lines[start..at].iter().map(|l| l.trim()).filter(|l| !l.is_empty()).collect();
            if line == "clear" {
                memory = Memory::default();
            } else if line == "load" {
                block.iter().for_each(|line| load(&mut memory, line));
            } else if let Some(eval) = line.strip_prefix("eval ") {
                let (when, query) = when(eval);
                let have = evaluate(&memory, &when, query);
                total += 1;
                let counts = by_file.entry(name.clone()).or_default();
                counts.1 += 1;
                match compare(&have, &when, &block) {
                    Ok(()) => {
                        passed += 1;
                        counts.0 += 1;
                    }
                    Err(why) if std::env::var_os("VIGIE_SHOW").is_some() => {
                        println!("  {name}:{start} {eval}\n      {why}");
                    }
                    Err(_) => {}
                }
            }
        }
    }
    for (name, (passed, total)) in by_file {
        println!("  {name}: {passed} of {total}");
    }
    at_least_the_floor("logqltest", passed, total);
}
