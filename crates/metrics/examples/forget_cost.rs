//! What is left of series that have no sample any more: memory, list, and how long forgetting takes.
//!
//! `cargo run --release -p vigie-metrics --example forget_cost -- [SERIES]`: nine of ten series end on
//! the first day, the retention takes it, and an hour later they are forgotten. Memory is that of the
//! process, and that of the store opened again by a process of its own.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use vigie_disk::RealDisk;
use vigie_metrics::{Durability, Options, Store};
use vigie_model::{Labels, Row, SeriesId};

const SERIES_PER_TARGET: usize = 500;
const HOUR_MS: i64 = 3600 * 1000;
const DAY_MS: i64 = 24 * HOUR_MS;
const START_MS: i64 = 19_000 * DAY_MS;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, home] = &arguments[..]
        && flag == "--open"
    {
        let before = rss_kb();
        let store = open(Path::new(home));
        println!("{} series, opened anew: {} kB", store.stats().series, rss_kb() - before);
        return;
    }
    let series = arguments.first().map_or(200_000, |text| text.parse().expect("a number"));
    let home = std::env::temp_dir().join(format!("vigie-forget-cost-{}", std::process::id()));
    let before = rss_kb();
    let store = open(&home);
    let ids = ids(&store, series);
    live(&store, &ids, &[0, 1, 4]);
    store.flush().expect("it flushes");
    tell(&store, &home, before);
    let started = Instant::now();
    live(&store, &ids, &[30, 60, 66, 69, 71]);
    println!("living on and forgetting took {:.2} s", started.elapsed().as_secs_f64());
    store.flush().expect("it flushes");
    tell(&store, &home, before);
    drop(store);
    std::fs::remove_dir_all(&home).expect("it was made above");
}

fn tell(store: &Store, home: &Path, before: u64) {
    let list = std::fs::metadata(home.join("series.log")).map_or(0, |about| about.len());
    let series = store.stats().series;
    println!("{series} series: {} kB in this process, list {list} bytes", rss_kb() - before);
    let itself = std::env::current_exe().expect("it runs");
    let done = std::process::Command::new(itself).arg("--open").arg(home).status();
    assert!(done.is_ok_and(|status| status.success()), "the store opens again");
}

fn open(home: &Path) -> Store {
    let options = Options { free_bytes_min: 0, retention_ms: 2 * DAY_MS, ..Options::default() };
    Store::open(Arc::new(RealDisk), home, options).expect("it opens")
}

/// The series of each target.
fn ids(store: &Store, series: usize) -> Vec<Vec<SeriesId>> {
    let of_target = |target: usize| {
        let labels = |n: usize| {
            let (name, instance) = (format!("metric_{n}_total"), format!("host-{target}:9100"));
            let pairs = [("__name__", name), ("instance", instance), ("job", "node".to_owned())];
            Labels::from_pairs(pairs)
        };
        let ids = (0..SERIES_PER_TARGET).map(|n| store.intern(&labels(n)));
        ids.map(|id| id.expect("there is room")).collect()
    };
    (0..series.div_ceil(SERIES_PER_TARGET)).map(of_target).collect()
}

/// A row of each target at each hour; the first nine of ten targets have none after the second.
fn live(store: &Store, ids: &[Vec<SeriesId>], hours: &[i64]) {
    for hour in hours {
        let now_ms = START_MS + hour * HOUR_MS;
        store.tick(now_ms).expect("a tick");
        for (target, of_target) in ids.iter().enumerate() {
            if *hour < 2 || target >= ids.len() * 9 / 10 {
                let values = [*hour as f64; SERIES_PER_TARGET];
                let row = Row::floats(now_ms, of_target, &values);
                store.append(&[row], Durability::Written).expect("there is room");
            }
        }
        while store.compact(now_ms, &mut |_| true).expect("it compacts") {}
    }
}

fn rss_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
}
