//! What the store alone costs, without HTTP and without parsing: CPU per pushed sample and per new
//! series, memory per series, bytes on disk, and how long a store that was not closed takes to open.
//!
//! `cargo run --release -p vigie-metrics --example push_cost -- [SERIES] [STEPS] [SHAPE]`, where
//! the shape is `fleet` (targets of 507 series, the default), `own` (every series has an instant of
//! its own), `one` (all series are of one target) or `churn` (a tenth of the targets is new at every
//! eighth step). Every request is pushed as a sender's would be: 2,000 samples, synced.

use std::sync::Arc;
use std::time::Instant;
use vigie_disk::RealDisk;
use vigie_metrics::{Durability, Options, Store};
use vigie_model::{Labels, Pushed, PushedSample};

const SERIES_PER_TARGET: usize = 507;
const SAMPLES_PER_REQUEST: usize = 2_000;
const STEP_MS: i64 = 15_000;
const START_MS: i64 = 1_700_000_000_000;

#[derive(Clone, Copy, PartialEq)]
enum Shape {
    Fleet,
    Own,
    One,
    Churn,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: usize| {
        arguments.get(at).map_or(default, |text| text.parse().expect("a number"))
    };
    let (series, steps) = (number(0, 250_000), number(1, 60));
    let shape = match arguments.get(2).map_or("fleet", String::as_str) {
        "fleet" => Shape::Fleet,
        "own" => Shape::Own,
        "one" => Shape::One,
        "churn" => Shape::Churn,
        other => panic!("{other} is no shape: fleet, own, one, churn"),
    };
    let home = std::env::temp_dir().join(format!("vigie-push-cost-{}", std::process::id()));
    let options = Options { free_bytes_min: 0, ..Options::default() };
    let open = || Store::open(Arc::new(RealDisk), &home, options.clone()).expect("it opens");
    let rss_idle = rss_bytes();
    let store = open();
    store.tick(START_MS).expect("a tick");
    let before = cpu_s();
    push(&store, series, 0, shape);
    let first = cpu_s();
    for step in 1..steps {
        push(&store, series, step, shape);
        store.tick(START_MS + step as i64 * STEP_MS).expect("a tick");
    }
    let after = cpu_s();
    let samples = (series * steps) as f64;
    let stats = store.stats();
    println!("series {} groups {} chunks {}", stats.series, stats.groups, stats.chunks);
    println!("CPU µs per sample        {:.4}", (after - before) * 1e6 / samples);
    println!("  steady                 {:.4}", (after - first) * 1e6 / (samples - series as f64));
    println!("CPU µs per new series    {:.4}", (first - before) * 1e6 / series as f64);
    let rss = (rss_bytes() - rss_idle) as f64;
    println!("RSS bytes per series     {:.1}", rss / stats.series as f64);
    println!("  open rows of these     {:.1}", stats.open_bytes as f64 / stats.series as f64);
    println!(
        "disk bytes per sample    {:.3}",
        (stats.disk_bytes - stats.log_bytes) as f64 / samples
    );
    println!("log MB                   {:.1}", stats.log_bytes as f64 / 1e6);
    let list = std::fs::metadata(home.join("series.log")).map_or(0, |about| about.len());
    println!("list bytes per series    {:.1}", list as f64 / stats.series as f64);
    // As after `kill -9`: nothing of it is closed.
    drop(store);
    let (started, cpu) = (Instant::now(), cpu_s());
    let store = open();
    println!(
        "open s                   {:.3} (CPU {:.3})",
        started.elapsed().as_secs_f64(),
        cpu_s() - cpu
    );
    assert_eq!(store.stats().series, stats.series);
    std::fs::remove_dir_all(&home).expect("it was made above");
}

fn push(store: &Store, series: usize, step: usize, shape: Shape) {
    let ids: Vec<usize> = (0..series).collect();
    for ids in ids.chunks(SAMPLES_PER_REQUEST) {
        let seed = store.key_seed();
        let keys: Vec<u64> = ids.iter().map(|id| key(*id, step, shape, seed) as u64).collect();
        let samples: Vec<PushedSample> = ids
            .iter()
            .enumerate()
            .map(|(at, id)| PushedSample {
                series: at as u32,
                ts_ms: START_MS
                    + step as i64 * STEP_MS
                    + if shape == Shape::Own { *id as i64 * 7919 % STEP_MS } else { 0 },
                value: value(*id, step),
            })
            .collect();
        let labels = |at: usize| Ok(labels(ids[at], step, shape));
        let pushed = Pushed {
            keys: &keys,
            samples: &samples,
            histograms: &[],
            exemplars: &[],
            starts: &[],
            labels: &labels,
        };
        let outcome = store.push(&pushed, Durability::Synced).expect("a push");
        assert!(outcome.reasons.is_empty() && outcome.samples.appended == ids.len() as u64);
    }
}

fn generation(target: usize, step: usize, shape: Shape) -> usize {
    if shape == Shape::Churn { (step / 8 + target % 10) / 10 } else { 0 }
}

fn key(id: usize, step: usize, shape: Shape, seed: u64) -> u128 {
    let generation = generation(id / SERIES_PER_TARGET, step, shape) as u128;
    let mixed = (id as u128 + 1 + (generation << 40))
        .wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    (mixed ^ mixed >> 61).wrapping_mul(u128::from(seed | 1) << 64 | 0xd6e8_feb8_6659_fd93)
}

fn labels(id: usize, step: usize, shape: Shape) -> Labels {
    let (target, member) = match shape {
        Shape::One => (0, id),
        _ => (id / SERIES_PER_TARGET, id % SERIES_PER_TARGET),
    };
    let target =
        format!("host-{target:06}-{}.internal.example.org:9100", generation(target, step, shape));
    Labels::from_pairs([
        ("__name__".to_owned(), format!("node_some_subsystem_metric_{}_total", member % 97)),
        ("cpu".to_owned(), (member / 97).to_string()),
        ("device".to_owned(), format!("eth{}", member % 3)),
        ("instance".to_owned(), target),
        ("job".to_owned(), "node".to_owned()),
        ("mode".to_owned(), ["idle", "user", "system"][member % 3].to_owned()),
    ])
}

fn value(id: usize, step: usize) -> f64 {
    let (member, step) = (id % SERIES_PER_TARGET, step as f64);
    match member % 10 {
        0..6 => member as f64 * 1e6,
        6 | 7 => (id as f64 * 17.0 + step * (member as f64 + 3.0)).floor(),
        8 => (id as f64 + step * 0.25 * member as f64) / 100.0,
        _ => ((id * 31 + step as usize * 17) % 4096) as f64 * 4096.0,
    }
}

/// User and system time of this process, in seconds, from the clock of the scheduler.
fn cpu_s() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").expect("Linux");
    // The main thread pushes and ticks; the store starts no thread.
    let nanoseconds: f64 = text.split(' ').next().expect("a field").parse().expect("a number");
    nanoseconds / 1e9
}

fn rss_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}
