//! The same samples go into Vigie and into Debian's Prometheus by remote write, and both are asked the
//! same: questions from a grammar and a seed (500, all 5,000 with `VIGIE_SOAK`), each at an instant
//! and over a range, and every query of the shared dashboards.
//!
//! Debian's is 2.42, and Vigie speaks 3.x: [`CHANGED`] holds what has changed in between, each class
//! with the commit that changed it and how often it was met. Everything else is equal.

#![allow(clippy::unwrap_used, reason = "a test's panic is its report")]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use vigie_promql::{Node, NodeKind, VectorSelector};
use vigie_scenarios::alike::{Comparing, alike};
use vigie_scenarios::http::encode;
use vigie_scenarios::peer::Prometheus;
use vigie_scenarios::push::{Pushed, push};
use vigie_scenarios::queries::{self, Chance, SAMPLES, START_MS, STEP_MS};
use vigie_scenarios::{Answer, Vigie, post};

/// Questions of the grammar when nobody asks for all.
const ASKED: u64 = 500;
/// All of them.
const ASKED_SOAK: u64 = 5_000;
/// A push holds ten minutes.
const SLICE_MS: i64 = 600_000;
/// Nothing else than what was pushed.
const CONFIG: &str = "\
web: {classic_ports: false}
logs: {scrape_configs: []}
metrics: {host: false, scrape_configs: []}
";

/// What has changed between 2.42 and 3.x: name, commit, and whether it can be the reason why the
/// answers to a question differ as they do.
type Changed = (&'static str, &'static str, fn(&str, &str) -> bool);
const CHANGED: [Changed; 3] = [
    ("a deviation of NaN or an infinity is NaN", "5a4e4f6936", |query, why| {
        query.contains("std") && why.contains("\"NaN\" instead of")
    }),
    ("rate goes no further than to zero, whatever the threshold", "7f912db15a", |query, _| {
        let near_zero =
            ["temperature", "queue", "pausing", "late", "early", "ending", "undefined", "build"];
        ["rate(", "increase("].iter().any(|f| query.contains(f))
            && near_zero.iter().any(|name| query.contains(name))
    }),
    ("range vectors under @ are whole at every step", "86d7618d84", |query, _| {
        query.contains("predict_linear(") && query.contains(" @ ")
    }),
];

/// The two that are asked.
struct Both {
    vigie: Vigie,
    peer: Prometheus,
}

impl Both {
    fn start(home: &std::path::Path) -> Option<Both> {
        let peer = Prometheus::start(home)?;
        std::fs::write(home.join("vigie.yml"), CONFIG).unwrap();
        let config = format!("--config.file={}", home.join("vigie.yml").display());
        let data = format!("--storage.path={}", home.join("data").display());
        let vigie = Vigie::start(home, &[&config, &data, "--storage.tsdb.retention.time=100y"]);
        Some(Both { vigie, peer })
    }

    fn push(&self, series: &[Pushed]) {
        push(self.vigie.port, series, SLICE_MS);
        push(self.peer.port, series, SLICE_MS);
    }

    /// Asks both at an instant and over a range. `Err` is the first difference, `Ok` says whether
    /// there was anything to compare.
    fn ask(&self, query: &str) -> Result<bool, String> {
        let end = (START_MS + SAMPLES * STEP_MS) / 1000;
        // Whole instants that are no multiples of ten seconds.
        let (at, start, end) = (end - 1_795, end - 3_595, end - 595);
        let ordered = Comparing { ordered: queries::is_ordered(query) };
        let query = encode(query);
        let instant = format!("query={query}&time={at}");
        let one = self.compare("/api/v1/query", &instant, ordered);
        let one = one.map_err(|why| format!("instant: {why}"))?;
        let range = format!("query={query}&start={start}&end={end}&step=60");
        let many = self.compare("/api/v1/query_range", &range, Comparing { ordered: false });
        Ok(many.map_err(|why| format!("range: {why}"))? || one)
    }

    fn compare(&self, path: &str, form: &str, how: Comparing) -> Result<bool, String> {
        let ask = |port| -> Answer {
            post(port, path, "application/x-www-form-urlencoded", form.as_bytes())
                .expect("a question is answered")
        };
        let (wanted, got) = (ask(self.peer.port), ask(self.vigie.port));
        alike(&wanted, &got, how)?;
        Ok(wanted.json()["data"]["result"].as_array().is_some_and(|list| !list.is_empty()))
    }
}

/// Asks everything and says what came of it.
fn judge(what: &str, both: &Both, all: impl IntoIterator<Item = String>) {
    let (mut asked, mut equal, mut full) = (0, 0, 0);
    let (mut met, mut wrong) = (BTreeMap::new(), Vec::new());
    for query in all {
        asked += 1;
        match both.ask(&query) {
            Ok(with_data) => {
                equal += 1;
                full += u32::from(with_data);
            }
            Err(why) => match CHANGED.iter().find(|(_, _, touches)| touches(&query, &why)) {
                Some(changed) => *met.entry((changed.0, changed.1)).or_insert(0) += 1,
                None => wrong.push(format!("{query}\n  {why}")),
            },
        }
    }
    println!("{what}: {equal} of {asked} are answered as Prometheus 2.42 does, {full} with data");
    for ((name, commit), count) in &met {
        println!("  {count} differ, changed since by {commit}: {name}");
    }
    let shown: Vec<String> = wrong.iter().take(25).cloned().collect();
    assert!(wrong.is_empty(), "{} are not:\n{}", wrong.len(), shown.join("\n"));
    assert!(full * 2 > asked, "{full} of {asked} are too few to mean anything");
}

#[test]
fn generated_questions_are_answered_alike() {
    let home = tempfile::tempdir().unwrap();
    let Some(both) = Both::start(home.path()) else { return };
    both.push(&queries::series());
    let asked = if std::env::var_os("VIGIE_SOAK").is_some() { ASKED_SOAK } else { ASKED };
    let all = (0..asked).map(|seed| queries::query(&mut Chance::new(seed + 1)));
    judge("generated", &both, all);
}

#[test]
fn the_queries_of_dashboards_are_answered_alike() {
    let Ok(corpora) = std::env::var("VIGIE_CORPORA") else {
        println!("SKIPPED: VIGIE_CORPORA is not set, no query of a dashboard is compared");
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let Some(both) = Both::start(home.path()) else { return };
    let queries = dashboard_queries(&format!("{corpora}/dashboards"));
    assert!(queries.len() > 800, "only {} queries", queries.len());
    both.push(&series_of(&queries));
    judge("of dashboards", &both, queries);
}

/// Every PromQL text of the dashboards with the variables filled in, each once.
fn dashboard_queries(folder: &str) -> BTreeSet<String> {
    let mut texts = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|kind| kind == "json") {
            let dashboard = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            collect(&dashboard, &mut texts);
        }
    }
    // What is not PromQL is LogQL, or VictoriaMetrics' own.
    texts.retain(|text| vigie_promql::parse(text).is_ok());
    texts
}

fn collect(value: &Value, texts: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            if let Some(text) = map.get("expr").and_then(Value::as_str) {
                texts.insert(filled(text));
            }
            map.values().for_each(|value| collect(value, texts));
        }
        Value::Array(list) => list.iter().for_each(|value| collect(value, texts)),
        _ => {}
    }
}

/// The text with its variables filled in.
fn filled(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(['$', '[']) {
        out.push_str(&rest[..at]);
        let after = &rest[at..];
        let closed = |open: &str, close: &str| {
            let inner = after.strip_prefix(open)?;
            let (name, rest) = inner.split_once(close)?;
            Some((name.split(':').next().unwrap_or(name), rest))
        };
        let plain = || {
            let inner = after.strip_prefix('$')?;
            let end = inner.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            Some(inner.split_at(end.unwrap_or(inner.len()))).filter(|(name, _)| !name.is_empty())
        };
        match closed("${", "}").or_else(|| closed("[[", "]]")).or_else(plain) {
            Some((name, after)) => {
                out.push_str(value_of(name));
                rest = after;
            }
            None => {
                out.push_str(&after[..1]);
                rest = &after[1..];
            }
        }
    }
    out + rest
}

fn value_of(name: &str) -> &'static str {
    let lower = name.to_lowercase();
    let is = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    match () {
        () if lower == "__range_s" => "3600",
        () if lower.ends_with("_ms") => "60000",
        () if is(&["range", "interval", "resolution", "aggregation", "step"]) => "5m",
        () if is(&["percentile", "quantile"]) => "0.9",
        () if is(&["limit", "top"]) => "5",
        () => "one",
    }
}

/// Series for every selector of the queries, so that the answers are not empty: two instances each.
fn series_of(queries: &BTreeSet<String>) -> Vec<Pushed> {
    let mut known = BTreeSet::new();
    for query in queries {
        selectors(vigie_promql::parse(query).unwrap().root(), &mut |selector| {
            for instance in ["one", "two"] {
                known.extend(label_sets(selector, instance));
            }
        });
    }
    let mut chance = Chance::new(11);
    let mut all: Vec<Pushed> = Vec::new();
    for labels in known {
        let of = |name: &str| labels.get(name).map_or("", String::as_str);
        let growing = ["_total", "_count", "_sum", "_bucket"];
        let samples =
            if of("le") == "+Inf" || growing.iter().any(|end| of("__name__").ends_with(end)) {
                // Larger bounds grow faster, so that buckets stay in order.
                let most = 2 + 10 * of("le").len() as u64;
                queries::counter(&mut chance, most)
            } else {
                queries::gauge(&mut chance)
            };
        all.push(Pushed { labels: labels.into_iter().collect(), samples });
    }
    all
}

/// Label sets that a selector finds.
fn label_sets(selector: &VectorSelector, instance: &str) -> Vec<BTreeMap<String, String>> {
    let mut labels = BTreeMap::from([("instance".to_owned(), instance.to_owned())]);
    let mut found = false;
    for matcher in &selector.matchers {
        let first = matcher.value.split('|').next().unwrap_or("");
        let text = match matcher.op.as_str() {
            "=" => matcher.value.as_str(),
            "=~" if first.chars().all(|c| c.is_ascii_alphanumeric() || "_:/.-".contains(c)) => {
                first
            }
            "=~" => "x",
            _ => continue,
        };
        found |= matcher.name == "__name__";
        if !text.is_empty() {
            labels.insert(matcher.name.clone(), text.to_owned());
        }
    }
    if !found
        || !selector
            .matchers
            .iter()
            .all(|m| m.matches(labels.get(&m.name).map_or("", String::as_str)))
    {
        return Vec::new();
    }
    if !labels["__name__"].ends_with("_bucket") || labels.contains_key("le") {
        return vec![labels];
    }
    let with = |le: &&str| {
        let mut labels = labels.clone();
        labels.insert("le".to_owned(), (*le).to_owned());
        labels
    };
    ["0.1", "1", "+Inf"].iter().map(with).collect()
}

fn selectors(node: &Node, each: &mut dyn FnMut(&VectorSelector)) {
    match &node.kind {
        NodeKind::Number { .. } | NodeKind::Text(_) => {}
        NodeKind::Vector(selector) | NodeKind::Matrix { selector, .. } => each(selector),
        NodeKind::Subquery(subquery) => selectors(&subquery.expr, each),
        NodeKind::Aggregate(aggregate) => {
            aggregate.parameter.iter().for_each(|one| selectors(one, each));
            selectors(&aggregate.expr, each);
        }
        NodeKind::Call(call) => call.args.iter().for_each(|one| selectors(one, each)),
        NodeKind::Unary { operand, .. } => selectors(operand, each),
        NodeKind::Paren(inner) => selectors(inner, each),
        NodeKind::Binary(chain) => {
            selectors(&chain.first, each);
            chain.steps.iter().for_each(|step| selectors(&step.rhs, each));
        }
    }
}
