//! What questions cost inside the engine, without HTTP: CPU milliseconds per question, the best of
//! many, over a store of its own that is filled first; and which part of it is whose.
//!
//! A question is asked of the store as it is, then of selections that were made before, then of
//! columns that were decoded before. The differences are what selecting takes (matchers to groups
//! and columns) and what decoding takes; what is left is the evaluator's: kernels and folding, and
//! the labels that it asks for, which are timed one by one.
//!
//! `cargo run --release -p vigie-engine --example query_cost [SERIES] [STEPS] [FILTER]`

#![allow(clippy::unwrap_used, reason = "a measuring tool may stop with a panic")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use vigie_engine::{Durability, Embedded, EmbeddedOptions, Engine};
use vigie_model::{
    LabelLookup, Labels, Matcher, MetricGroup, ReadError, Row, Selection, SeriesId, TimeRange,
};
use vigie_promql::{Expr, Options, Source};

/// Series of one instance.
const PER_INSTANCE: usize = 450;
/// 2023-11-14, on a multiple of 15 s.
const START_MS: i64 = 1_700_000_010_000;
const STEP_MS: i64 = 15_000;
/// Blocks of runs, and how long one takes at least.
const BLOCKS: usize = 5;
const BLOCK: Duration = Duration::from_millis(400);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number =
        |at: usize, default| arguments.get(at).map_or(default, |text| text.parse().unwrap());
    let (series, steps) = (number(0, 250_000), number(1, 60));
    let filter = arguments.get(2).cloned().unwrap_or_default();
    let folder = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions {
        metrics_retention_ms: i64::MAX / 4,
        logs_retention_ms: i64::MAX / 4,
        ..Default::default()
    };
    let engine = Embedded::open(folder.path(), options).unwrap();
    fill(&engine, series, steps);
    let end_ms = START_MS + (steps as i64 - 1) * STEP_MS;
    println!(
        "{:>9} {:>9} {:>9} {:>9} {:>9} {:>9}  CPU ms",
        "parse", "all", "select", "decode", "evaluate", "labels"
    );
    // As a dashboard writes a choice of instances; 125 of 64 series are 8,000.
    let instances: Vec<String> = (0..125).map(|at| format!("host-{at:05}.*")).collect();
    let instances = instances.join("|");
    let queries = QUERIES.iter().map(|query| query.replace("INSTANCES", &instances));
    for query in queries.filter(|query| query.contains(&filter)) {
        let parse_ms = best_ms(&mut || drop(vigie_promql::parse(&query).unwrap()));
        let expr = vigie_promql::parse(&query).unwrap();
        let [all, held, plain] = [Stage::Store, Stage::Held, Stage::Decoded].map(|stage| {
            let source = Staged {
                engine: &engine,
                stage,
                kept: Mutex::default(),
                labels_ns: Arc::default(),
            };
            (best_ms(&mut || ask(&source, &expr, end_ms)), source)
        });
        let asked = plain.1.labels_ns.swap(0, Ordering::Relaxed);
        ask(&plain.1, &expr, end_ms);
        let labels_ms = (plain.1.labels_ns.load(Ordering::Relaxed).min(asked)) as f64 / 1e6;
        println!(
            "{parse_ms:>9.3} {:>9.3} {:>9.3} {:>9.3} {:>9.3} {labels_ms:>9.3}  {}",
            all.0,
            all.0 - held.0,
            held.0 - plain.0,
            plain.0 - labels_ms,
            query.replace(&instances, "…"),
        );
    }
}

const QUERIES: &[&str] = &[
    "sum(rate(node_cpu_seconds_total{instance=~\"INSTANCES\"}[5m]))",
    "count({__name__=~\"node_.*\"})",
    "count(present_over_time(node_cpu_seconds_total[1m]))",
    "absent({__name__=~\"node_.*\"})",
    "sum by(instance)(rate(node_cpu_seconds_total[2m]))",
    "max by(mode)(node_cpu_seconds_total)",
    "rate(node_cpu_seconds_total{instance=\"host-00007\"}[1m])",
    "topk(5, rate(node_cpu_seconds_total[1m]))",
    "sum(rate(node_cpu_seconds_total[1m])) / sum(rate(node_cpu_seconds_total[5m]))",
    "node_cpu_seconds_total / on(instance, cpu, mode) node_cpu_seconds_total",
    "node_cpu_seconds_total / ignoring(cpu, mode) group_left node_field_64",
];

fn ask(source: &Staged<'_>, expr: &Expr, end_ms: i64) {
    let (start_ms, options) = (end_ms - 600_000, Options::default());
    vigie_promql::range(source, expr, start_ms, end_ms, STEP_MS, &options).unwrap();
}

/// CPU time of one run, from the best of several blocks of runs: the system counts in ticks.
fn best_ms(work: &mut dyn FnMut()) -> f64 {
    work();
    let mut best = f64::INFINITY;
    for _ in 0..BLOCKS {
        let (started, before, mut runs) = (Instant::now(), cpu_ms(), 0);
        while started.elapsed() < BLOCK {
            work();
            runs += 1;
        }
        best = best.min((cpu_ms() - before) / f64::from(runs));
    }
    best
}

/// How much is done before the question is asked.
#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Store,
    Held,
    Decoded,
}

type Kept = HashMap<String, (Vec<Arc<dyn MetricGroup>>, Arc<dyn LabelLookup>)>;

/// The engine's store, with selections that are kept.
struct Staged<'a> {
    engine: &'a Embedded,
    stage: Stage,
    kept: Mutex<Kept>,
    labels_ns: Arc<AtomicU64>,
}

impl Source for Staged<'_> {
    fn select(&self, matchers: &[Matcher], range: TimeRange) -> Result<Selection, ReadError> {
        if self.stage == Stage::Store {
            return Ok(self.engine.select_metrics(matchers, range).unwrap());
        }
        let mut kept = self.kept.lock().unwrap();
        let (groups, lookup) = kept.entry(format!("{matchers:?} {range:?}")).or_insert_with(|| {
            let selection = self.engine.select_metrics(matchers, range).unwrap();
            let groups = selection.groups.into_iter().map(|group| match self.stage {
                Stage::Decoded => Arc::new(Decoded::of(group.as_ref())) as Arc<dyn MetricGroup>,
                _ => group.into(),
            });
            (groups.collect(), selection.lookup)
        });
        let shared = |group: &Arc<dyn MetricGroup>| Box::new(Shared(group.clone()));
        let groups = groups.iter().map(|group| shared(group) as Box<dyn MetricGroup>).collect();
        let lookup = Arc::new(Timed(lookup.clone(), self.labels_ns.clone()));
        Ok(Selection { groups, lookup })
    }
}

struct Timed(Arc<dyn LabelLookup>, Arc<AtomicU64>);

impl LabelLookup for Timed {
    fn labels(&self, id: SeriesId) -> Labels {
        let started = Instant::now();
        let labels = self.0.labels(id);
        self.1.fetch_add(started.elapsed().as_nanos() as u64, Ordering::Relaxed);
        labels
    }
    fn parts(&self, id: SeriesId) -> Option<[u32; 2]> {
        self.0.parts(id)
    }
    fn part(&self, place: usize, number: u32) -> Labels {
        self.0.part(place, number)
    }
}

struct Shared(Arc<dyn MetricGroup>);

impl MetricGroup for Shared {
    fn timestamps_ms(&self) -> &[i64] {
        self.0.timestamps_ms()
    }
    fn series(&self) -> &[SeriesId] {
        self.0.series()
    }
    fn read(&self, column: usize, out: &mut Vec<f64>) -> Result<(), ReadError> {
        self.0.read(column, out)
    }
    fn is_plain(&self, column: usize) -> bool {
        self.0.is_plain(column)
    }
}

/// A group that costs next to nothing to read: all its columns are the first one.
struct Decoded {
    timestamps_ms: Vec<i64>,
    ids: Vec<SeriesId>,
    column: Vec<f64>,
}

impl Decoded {
    fn of(group: &dyn MetricGroup) -> Decoded {
        let mut column = Vec::new();
        group.read(0, &mut column).unwrap();
        Decoded {
            timestamps_ms: group.timestamps_ms().to_vec(),
            ids: group.series().to_vec(),
            column,
        }
    }
}

impl MetricGroup for Decoded {
    fn timestamps_ms(&self) -> &[i64] {
        &self.timestamps_ms
    }
    fn series(&self) -> &[SeriesId] {
        &self.ids
    }
    fn read(&self, _column: usize, out: &mut Vec<f64>) -> Result<(), ReadError> {
        out.clear();
        out.extend_from_slice(&self.column);
        Ok(())
    }
}

fn fill(engine: &Embedded, series: usize, steps: usize) {
    let mut instances: Vec<Vec<SeriesId>> = Vec::new();
    for at in 0..series {
        let (instance, member) = (at / PER_INSTANCE, at % PER_INSTANCE);
        if member == 0 {
            instances.push(Vec::new());
        }
        let labels = if member < 64 {
            Labels::from_pairs([
                ("__name__", "node_cpu_seconds_total".to_owned()),
                ("cpu", (member / 8).to_string()),
                ("mode", format!("mode{}", member % 8)),
                ("instance", format!("host-{instance:05}")),
                ("job", "node".to_owned()),
            ])
        } else {
            Labels::from_pairs([
                ("__name__", format!("node_field_{member}")),
                ("instance", format!("host-{instance:05}")),
                ("job", "node".to_owned()),
            ])
        };
        instances.last_mut().unwrap().push(engine.intern(&labels).unwrap());
    }
    for step in 0..steps {
        for (instance, ids) in instances.iter().enumerate() {
            let values: Vec<f64> = (0..ids.len())
                .map(|member| match member % 3 {
                    0 => (step * (100 + member) + (instance * 7 + step * 13) % 50) as f64,
                    1 => 4096.0 * member as f64,
                    _ => ((instance * 31 + member * 17 + step * 7919) % 8000) as f64 / 1000.0,
                })
                .collect();
            let row = Row::floats(START_MS + step as i64 * STEP_MS, ids, &values);
            engine.append(&[row], Durability::Written).unwrap();
        }
    }
}

/// CPU time of this process, all threads.
fn cpu_ms() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    // The main thread only; the others are added.
    let own: f64 = text.split(' ').next().unwrap().parse().unwrap();
    let mut sum = 0.0;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let path = task.unwrap().path().join("schedstat");
        if let Ok(text) = std::fs::read_to_string(path) {
            sum += text.split(' ').next().unwrap().parse::<f64>().unwrap();
        }
    }
    sum.max(own) / 1e6
}
