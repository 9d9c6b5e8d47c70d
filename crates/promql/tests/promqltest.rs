//! Prometheus' own test scripts (`promql/promqltest/testdata/*.test`), against a floor per file.
//!
//! The scripts expect metric names to be dropped at the end of an evaluation; they are run a second
//! time with names dropped at once, as servers do by default, and counted apart.
//! Every instant evaluation is repeated as a range query around its instant, and both again at other
//! times with all selectors pinned by `@`, as upstream does.
#![allow(clippy::unwrap_used)]

mod support;

use regex::Regex;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::{Item, Memory, Stored, almost_equal, description, number, same_histogram};
use vigie_model::Labels;
use vigie_model::duration::parse_duration_ms;
use vigie_model::histogram::{CUSTOM_BUCKETS_SCHEMA, Counts, Histogram, ResetHint, Span};
use vigie_promql::{Answer, At, Features, Node, NodeKind, Options, Value, instant, parse, range};

macro_rules! pattern {
    ($name:ident, $text:expr) => {
        static $name: LazyLock<Regex> = LazyLock::new(|| Regex::new($text).unwrap());
    };
}

pattern!(START_TIMES, r"^[^\s]*@st\s");
pattern!(INSTANT, r"^eval(?:_(\w+))? instant\s+at\s+(\S+)\s+(.+)$");
pattern!(RANGE, r"^eval(?:_(\w+))? range\s+from\s+(\S+)\s+to\s+(\S+)\s+step\s+(\S+)\s+(.+)$");
pattern!(CONTEXT, r"(start|end|range|step)\(\)");
pattern!(EXPECT, r"^expect\s+(ordered|fail|warn|no_warn|info|no_info)(?:\s+(regex|msg):\s*(.+))?$");
pattern!(ROWS, r"^expect range vector from (\S+) to (\S+) step (\S+)$");

enum When {
    At(i64),
    Range(i64, i64, i64),
}

#[derive(Default)]
struct Expected {
    series: Vec<(Labels, Vec<Item>)>,
    scalar: Option<f64>,
    text: Option<String>,
    range_vector: Option<(i64, i64)>,
    ordered: bool,
    fails: Option<Text>,
    warns: Option<Text>,
    informs: Option<Text>,
    never_warns: bool,
    never_informs: bool,
}

/// Evaluations repeated with `@`.
static AGAIN: AtomicUsize = AtomicUsize::new(0);

/// What a message must be.
enum Text {
    Any,
    Exactly(String),
    Matches(Regex),
}

impl Text {
    fn fits(&self, text: &str) -> bool {
        match self {
            Text::Any => true,
            Text::Exactly(wanted) => wanted == text,
            Text::Matches(regex) => regex.is_match(text),
        }
    }
}

#[test]
fn prometheus_scripts_pass_as_often_as_they_did() {
    let Some(root) = std::env::var_os("VIGIE_CORPORA") else {
        println!("VIGIE_CORPORA is unset: skipped 21 promqltest files, 2213 evals");
        return;
    };
    let folder = PathBuf::from(root).join("prometheus/prometheus/promql/promqltest/testdata");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let (mut passed, mut total, mut immediate) = (0, 0, 0);
    let mut short = Vec::new();
    for path in files.iter().filter(|path| path.extension().is_some_and(|e| e == "test")) {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let script = std::fs::read_to_string(path).unwrap();
        immediate += run(&name, &script, false).iter().filter(|good| **good).count();
        println!("-- {name}, names dropped at the end");
        let results = run(&name, &script, true);
        let (good, all) = (results.iter().filter(|good| **good).count(), results.len());
        println!("promqltest {name}: {good} of {all}");
        (passed, total) = (passed + good, total + all);
        if good < floor(&name) {
            short.push(format!("{name}: {good}, floor {}", floor(&name)));
        }
    }
    let again = AGAIN.load(Ordering::Relaxed);
    println!("promqltest: {passed} of {total} evals pass; pinned by @, {again} times more");
    assert!(again > 2 * total, "hardly any evaluation was repeated with @");
    println!("promqltest: {immediate} of {total} evals pass when names are dropped at once");
    assert!(immediate >= floor("immediate"), "floor {}", floor("immediate"));
    assert!(short.is_empty(), "fewer pass than before: {short:?}");
}

fn floor(name: &str) -> usize {
    let floors = include_str!("promqltest.floor.toml").lines().filter_map(|l| l.split_once('='));
    let floors: BTreeMap<&str, &str> = floors.map(|(k, v)| (k.trim(), v.trim())).collect();
    floors.get(name).map_or(0, |count| count.parse().unwrap())
}

/// Runs one script; one result per evaluation.
fn run(file: &str, script: &str, delayed: bool) -> Vec<bool> {
    let lines: Vec<&str> = script
        .lines()
        .map(str::trim)
        .map(|line| if line.starts_with('#') { "" } else { line })
        .collect();
    let mut memory = Memory::default();
    let mut results = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        at += 1;
        let mut block = Vec::new();
        if line == "clear" {
            memory = Memory::default();
        } else if line.starts_with("load") || line.starts_with("eval") {
            while at < lines.len() && !lines[at].is_empty() {
                block.push(lines[at]);
                at += 1;
            }
        }
        if let Some(step) = line.strip_prefix("load") {
            let custom_buckets = step.starts_with("_with_nhcb");
            let step = step.trim_start_matches("_with_nhcb").trim();
            load(&mut memory, parse_duration_ms(step).unwrap(), &block, custom_buckets);
        } else if line.starts_with("eval") {
            let result = evaluate(&memory, line, &block, delayed);
            if let Err(reason) = &result {
                println!("FAIL {file}: {line}: {reason}");
            }
            results.push(result.is_ok());
        }
    }
    results
}

fn load(memory: &mut Memory, step_ms: i64, lines: &[&str], custom_buckets: bool) {
    for line in lines.iter().filter(|line| !START_TIMES.is_match(line)) {
        memory.load(step_ms, line);
    }
    for line in lines.iter().filter(|line| START_TIMES.is_match(line)) {
        memory.load_starts(step_ms, line);
    }
    if custom_buckets {
        for ((labels, ts_ms), classic) in classic_histograms(lines, step_ms) {
            if let Some(histogram) = classic.native() {
                memory.set_native(&labels, ts_ms, histogram);
            }
        }
    }
}

/// A classic histogram at one instant.
#[derive(Default)]
struct Classic {
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
}

impl Classic {
    /// As one native histogram with custom buckets; nothing when its counts do not ascend.
    fn native(mut self) -> Option<Histogram> {
        self.buckets.sort_by(|left, right| left.0.total_cmp(&right.0));
        self.buckets.dedup_by(|next, kept| next.0 == kept.0);
        let count = self.count.or(self.buckets.last().map(|bucket| bucket.1)).unwrap_or(0.0);
        if self.buckets.last().is_none_or(|last| last.0 != f64::INFINITY) {
            self.buckets.push((f64::INFINITY, count));
        }
        if self.buckets.windows(2).any(|pair| pair[1].1 < pair[0].1) {
            return None;
        }
        let mut before = 0.0;
        let counts =
            self.buckets.iter().map(|(_, count)| count - std::mem::replace(&mut before, *count));
        let positive: Vec<f64> = counts.collect();
        let bounds = self.buckets.iter().map(|bucket| bucket.0).filter(|bound| bound.is_finite());
        Some(Histogram {
            reset_hint: ResetHint::Unknown,
            schema: CUSTOM_BUCKETS_SCHEMA,
            zero_threshold: 0.0,
            sum: self.sum,
            positive_spans: vec![Span { offset: 0, length: positive.len() as u32 }],
            negative_spans: vec![],
            counts: Counts::Float { count, zero_count: 0.0, positive, negative: vec![] },
            custom_values: bounds.collect(),
        })
    }
}

/// The classic histograms of a block, by the labels of the native one and the instant.
fn classic_histograms(lines: &[&str], step_ms: i64) -> BTreeMap<(Labels, i64), Classic> {
    let mut found: BTreeMap<(Labels, i64), Classic> = BTreeMap::new();
    for line in lines.iter().filter(|line| !START_TIMES.is_match(line)) {
        let mut memory = Memory::default();
        memory.load(step_ms, line);
        let (labels, samples) = &memory.all()[0];
        let name = labels.metric_name().unwrap_or("");
        let suffixes = ["_bucket", "_count", "_sum"];
        let Some(kind) = suffixes.iter().find(|suffix| name.ends_with(**suffix)) else { continue };
        let upper = labels.value_or_empty("le").parse::<f64>();
        if *kind == "_bucket" && !upper.as_ref().is_ok_and(|upper| !upper.is_nan()) {
            continue;
        }
        let mut builder = labels.to_builder();
        builder.set("__name__", name.strip_suffix(kind).unwrap()).remove("le");
        let base = builder.build();
        for (ts_ms, Stored { value, histogram, .. }) in samples {
            if histogram.is_some() {
                continue;
            }
            let classic = found.entry((base.clone(), *ts_ms)).or_default();
            match *kind {
                "_bucket" => classic.buckets.push((*upper.as_ref().unwrap(), *value)),
                "_count" => classic.count = Some(*value),
                _ => classic.sum = *value,
            }
        }
    }
    found
}

fn evaluate(memory: &Memory, line: &str, block: &[&str], delayed: bool) -> Result<(), String> {
    let ms = |text: &str| parse_duration_ms(text).unwrap();
    let (kind, when, query) = if let Some(found) = RANGE.captures(line) {
        let when = When::Range(ms(&found[2]), ms(&found[3]), ms(&found[4]));
        (found.get(1).map(|m| m.as_str().to_owned()), when, found[5].to_owned())
    } else {
        let found = INSTANT.captures(line).unwrap_or_else(|| panic!("{line}"));
        let kind = found.get(1).map(|m| m.as_str().to_owned());
        (kind, When::At(ms(&found[2])), found[3].to_owned())
    };
    let mut expected = expectations(block)?;
    match kind.as_deref() {
        Some("fail") => expected.fails = Some(Text::Any),
        Some("warn") => expected.warns = Some(Text::Any),
        Some("info") => expected.informs = Some(Text::Any),
        Some("ordered") => expected.ordered = true,
        _ => {}
    }
    let expr = parse(&query).map_err(|e| e.to_string())?;
    let pinned = match when {
        When::At(ts) => pinned(&expr, ts),
        When::Range(..) => None,
    };
    let features = Features { type_and_unit_labels: false, ..Features::ALL };
    let options = Options { delayed_name_removal: delayed, features, ..Options::default() };
    check(memory, &expr, &query, &when, &options, &expected)?;
    let (Some((text, times)), When::At(_)) = (pinned, &when) else { return Ok(()) };
    let expr = parse(&text).map_err(|e| format!("{text}: {e}"))?;
    for ts in times {
        AGAIN.fetch_add(1, Ordering::Relaxed);
        check(memory, &expr, &query, &When::At(ts), &options, &expected)
            .map_err(|reason| format!("as {text} at {ts}: {reason}"))?;
    }
    Ok(())
}

/// Evaluates once and compares.
fn check(
    memory: &Memory,
    expr: &vigie_promql::Expr,
    query: &str,
    when: &When,
    options: &Options,
    expected: &Expected,
) -> Result<(), String> {
    let answer = match *when {
        When::At(ts) => instant(memory, expr, ts, options),
        When::Range(start, end, step) => range(memory, expr, start, end, step, options),
    };
    let answer = match (answer, &expected.fails) {
        (Err(error), Some(text)) if text.fits(&error.to_string()) => return Ok(()),
        (Err(error), _) => return Err(format!("error {error}")),
        (Ok(_), Some(_)) => return Err("should fail".to_owned()),
        (Ok(answer), None) => answer,
    };
    annotations(&answer, expected)?;
    compare(&answer.value, when, expected)?;
    let When::At(ts) = *when else { return Ok(()) };
    if expected.text.is_some() || expected.range_vector.is_some() || CONTEXT.is_match(query) {
        return Ok(());
    }
    around(memory, expr, ts, options, expected)
}

/// Functions whose result depends on the time of the evaluation itself.
const UNSAFE: [&str; 15] = [
    "days_in_month",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "end",
    "hour",
    "minute",
    "month",
    "year",
    "predict_linear",
    "range",
    "start",
    "step",
    "time",
    "timestamp",
];

/// The query with every selector pinned to `ts`, and the times at which it must then answer the same.
/// Nothing when its answer depends on the time of the evaluation itself.
fn pinned(expr: &vigie_promql::Expr, ts: i64) -> Option<(String, Vec<i64>)> {
    let mut root = expr.root().clone();
    if !pin(&mut root, ts) {
        return None;
    }
    let times = if ts == 0 { vec![-1000, 0, 1000] } else { vec![-10 * ts, 0, ts / 5, ts, 10 * ts] };
    Some((root.to_string(), times))
}

/// Pins the selectors of a tree; says whether no function in it is unsafe.
fn pin(node: &mut Node, ts: i64) -> bool {
    match &mut node.kind {
        NodeKind::Vector(selector) | NodeKind::Matrix { selector, .. } => {
            selector.at.get_or_insert(At::Instant(ts));
            true
        }
        // What is inside a pinned subquery is pinned with it; the subquery comes first.
        NodeKind::Subquery(subquery) => {
            subquery.at.get_or_insert(At::Instant(ts));
            is_safe(&subquery.expr)
        }
        NodeKind::Aggregate(aggregate) => {
            let parameter = aggregate.parameter.as_mut().is_none_or(|parameter| pin(parameter, ts));
            pin(&mut aggregate.expr, ts) && parameter
        }
        NodeKind::Call(call) => {
            let mut safe = true;
            for arg in &mut call.args {
                safe &= pin(arg, ts);
            }
            safe && !UNSAFE.contains(&call.function.name)
        }
        NodeKind::Unary { operand, .. } => pin(operand, ts),
        NodeKind::Paren(inner) => pin(inner, ts),
        NodeKind::Binary(chain) => {
            let mut safe = pin(&mut chain.first, ts);
            for step in &mut chain.steps {
                safe &= pin(&mut step.rhs, ts);
            }
            safe
        }
        NodeKind::Number { .. } | NodeKind::Text(_) => true,
    }
}

fn is_safe(node: &Node) -> bool {
    pin(&mut node.clone(), 0)
}

/// Evaluates a range around an instant and compares the value at that instant.
fn around(
    memory: &Memory,
    expr: &vigie_promql::Expr,
    ts: i64,
    options: &Options,
    expected: &Expected,
) -> Result<(), String> {
    let answer = range(memory, expr, ts - 60_000, ts + 60_000, 60_000, options)
        .map_err(|e| format!("as a range: {e}"))?;
    let Value::Matrix(series) = answer.value else { return Err("no matrix".to_owned()) };
    let samples = series.into_iter().filter_map(|series| {
        let value = series.points.iter().find(|(at, _)| *at == ts).map(|point| point.1);
        let histogram = series.histograms.into_iter().find(|(at, _)| *at == ts);
        let histogram = histogram.map(|point| point.1);
        if value.is_none() && histogram.is_none() {
            return None;
        }
        let value = value.unwrap_or(0.0);
        Some(vigie_promql::Sample { labels: series.labels, ts_ms: ts, value, histogram })
    });
    let samples: Vec<_> = samples.collect();
    if let Some(wanted) = expected.scalar {
        let got = samples.first().map_or(f64::NAN, |sample| sample.value);
        let good = samples.len() == 1 && almost_equal(got, wanted);
        return if good { Ok(()) } else { Err(format!("as a range: {got}")) };
    }
    compare_samples(&samples, &expected.series, false).map_err(|e| format!("as a range: {e}"))
}

fn expectations(block: &[&str]) -> Result<Expected, String> {
    let mut expected = Expected::default();
    for line in block {
        if let Some(found) = ROWS.captures(line) {
            let ms = |at: usize| parse_duration_ms(&found[at]).unwrap();
            expected.range_vector = Some((ms(1), ms(3)));
        } else if let Some(text) = line.strip_prefix("expect string") {
            let text = text.trim();
            expected.text = Some(text[1..text.len() - 1].to_owned());
        } else if let Some(found) = EXPECT.captures(line) {
            let text = || match found.get(2).map(|kind| kind.as_str()) {
                None => Text::Any,
                Some("msg") => Text::Exactly(found[3].trim().to_owned()),
                Some(_) => Text::Matches(Regex::new(found[3].trim()).unwrap()),
            };
            match &found[1] {
                "ordered" => expected.ordered = true,
                "fail" => expected.fails = Some(text()),
                "warn" => expected.warns = Some(text()),
                "info" => expected.informs = Some(text()),
                "no_warn" => expected.never_warns = true,
                _ => expected.never_informs = true,
            }
        } else if let Some(value) = number(line) {
            expected.scalar = Some(value);
        } else if !line.starts_with("expected_fail") {
            expected.series.push(description(line));
        }
    }
    Ok(expected)
}

fn annotations(answer: &Answer, expected: &Expected) -> Result<(), String> {
    for (texts, wanted, never) in [
        (&answer.warnings, &expected.warns, expected.never_warns),
        (&answer.infos, &expected.informs, expected.never_informs),
    ] {
        if never && !texts.is_empty() {
            return Err(format!("unwanted {texts:?}"));
        }
        if let Some(text) = wanted {
            if texts.is_empty() {
                return Err("lacks an annotation".to_owned());
            }
            if let Some(other) = texts.iter().find(|got| !text.fits(got)) {
                return Err(format!("annotation {other:?}"));
            }
        }
    }
    Ok(())
}

fn compare(value: &Value, when: &When, expected: &Expected) -> Result<(), String> {
    match (value, when) {
        (Value::Scalar { value, .. }, _) => match expected.scalar {
            Some(wanted) if almost_equal(*value, wanted) => Ok(()),
            wanted => Err(format!("{value}, wanted {wanted:?}")),
        },
        (Value::String { value, .. }, _) => match &expected.text {
            Some(wanted) if wanted == value => Ok(()),
            wanted => Err(format!("{value:?}, wanted {wanted:?}")),
        },
        (Value::Vector(samples), _) => compare_samples(samples, &expected.series, expected.ordered),
        (Value::Matrix(series), When::Range(start, _, step)) => {
            compare_matrix(series, *start, *step, expected)
        }
        (Value::Matrix(series), When::At(_)) => match expected.range_vector {
            Some((start, step)) => compare_matrix(series, start, step, expected),
            None => Err("a matrix".to_owned()),
        },
    }
}

fn compare_samples(
    samples: &[vigie_promql::Sample],
    wanted: &[(Labels, Vec<Item>)],
    ordered: bool,
) -> Result<(), String> {
    if samples.len() != wanted.len() {
        return Err(format!("{} series, wanted {}: {samples:?}", samples.len(), wanted.len()));
    }
    for (at, (labels, items)) in wanted.iter().enumerate() {
        let place = samples.iter().position(|sample| sample.labels == *labels);
        let Some(place) = place else { return Err(format!("lacks {labels}: {samples:?}")) };
        if ordered && place != at {
            return Err(format!("{labels} at {place}, wanted at {at}"));
        }
        let got = samples[place].value;
        match (items.first(), &samples[place].histogram) {
            (Some(Item::Value(value)), None) if almost_equal(got, *value) => {}
            (Some(Item::Histogram(wanted)), Some(got)) if same_histogram(wanted, got) => {}
            (item, None) => return Err(format!("{labels} {got}, wanted {item:?}")),
            (item, Some(got)) => {
                let hint = got.reset_hint;
                return Err(format!("{labels} {got} {hint:?}, wanted {item:?}"));
            }
        }
    }
    Ok(())
}

fn compare_matrix(
    series: &[vigie_promql::Series],
    start: i64,
    step: i64,
    expected: &Expected,
) -> Result<(), String> {
    let sorted = series.windows(2).all(|pair| pair[0].labels < pair[1].labels);
    if !sorted {
        return Err("matrix is not sorted".to_owned());
    }
    if let Some(wanted) = expected.scalar {
        let points = series.first().map(|one| &one.points[..]).unwrap_or(&[]);
        let good = !points.is_empty() && points.iter().all(|(_, v)| almost_equal(*v, wanted));
        return if good { Ok(()) } else { Err(format!("{points:?}")) };
    }
    if series.len() != expected.series.len() {
        return Err(format!("{} series, wanted {}", series.len(), expected.series.len()));
    }
    for (labels, items) in &expected.series {
        let Some(got) = series.iter().find(|one| one.labels == *labels) else {
            return Err(format!("lacks {labels}: {:?}", series[0].labels));
        };
        let (mut points, mut histograms) = (Vec::new(), Vec::new());
        for (at, item) in items.iter().enumerate() {
            let ts_ms = start + step * at as i64;
            match item {
                Item::Missing => {}
                Item::Value(value) => points.push((ts_ms, *value)),
                Item::Histogram(wanted) => histograms.push((ts_ms, wanted)),
            }
        }
        let natives = histograms.iter().zip(&got.histograms);
        let other = natives.into_iter().find(|(w, g)| w.0 != g.0 || !same_histogram(w.1, &g.1));
        if let Some((wanted, got)) = other {
            return Err(format!("{labels} {got:?}, wanted {wanted:?}"));
        }
        if histograms.len() != got.histograms.len() {
            let (wanted, got) = (histograms.len(), got.histograms.len());
            return Err(format!("{labels} has {got} histograms, wanted {wanted}"));
        }
        let same = points.len() == got.points.len()
            && points.iter().zip(&got.points).all(|(w, g)| w.0 == g.0 && almost_equal(w.1, g.1));
        if !same {
            return Err(format!("{labels} {:?}, wanted {points:?}", got.points));
        }
    }
    Ok(())
}
