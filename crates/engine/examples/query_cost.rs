//! What questions cost inside the engine, without HTTP: CPU milliseconds per question, the best of
//! many, over a store of its own that is filled first.
//!
//! `cargo run --release -p vigie-engine --example query_cost [SERIES] [STEPS] [FILTER]`

#![allow(clippy::unwrap_used, reason = "a measuring tool may stop with a panic")]

use std::time::Instant;
use vigie_engine::{Durability, Embedded, EmbeddedOptions, Engine, QueryOptions, When};
use vigie_model::{Labels, Row, SeriesId};

/// Series of one instance.
const PER_INSTANCE: usize = 450;
/// 2023-11-14, on a multiple of 15 s.
const START_MS: i64 = 1_700_000_010_000;
const STEP_MS: i64 = 15_000;

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
    let range = When::Range { start_ms: end_ms - 600_000, end_ms, step_ms: STEP_MS };
    for query in [
        "sum(rate(node_cpu_seconds_total{instance=~\"host-000[0-9][0-9]|host-0010.|host-0011.|host-0012[0-4]\"}[5m]))",
        "count({__name__=~\"node_.*\"})",
        "sum by(instance)(rate(node_cpu_seconds_total[2m]))",
        "max by(mode)(node_cpu_seconds_total)",
        "rate(node_cpu_seconds_total{instance=\"host-00007\"}[1m])",
        "topk(5, rate(node_cpu_seconds_total[1m]))",
        "sum(rate(node_cpu_seconds_total[1m])) / sum(rate(node_cpu_seconds_total[5m]))",
    ] {
        if !query.contains(&filter) {
            continue;
        }
        let expr = vigie_promql::parse(query).unwrap();
        let mut best = f64::INFINITY;
        let (started, mut asked) = (Instant::now(), 0);
        while asked < 5 || asked < 200 && started.elapsed().as_secs() < 3 {
            let before = cpu_ms();
            engine.query_metrics(&expr, range, &QueryOptions::default()).unwrap();
            best = best.min(cpu_ms() - before);
            asked += 1;
        }
        println!("{best:>10.3} ms CPU  {query}");
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
