//! Prints what the program costs beside what it promises (`bench/budgets.toml`).
//!
//! Nothing here passes or fails: a figure over its gate is printed as `not met`.
//! The program is the release binary named by `VIGIE_BIN`, with its own folder, a private
//! PostgreSQL, the host collected every 15 s and the shipped rules evaluated.

mod disk;
mod lines;
mod load;
mod logs;
mod metrics;
mod peers;
mod queries;
mod shape;

use anyhow::{Context, Result};
use peers::Peers;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use vigie_scenarios::postgres::Postgres;
use vigie_scenarios::vigie::program;
use vigie_scenarios::{Vigie, get, http};

/// How long the program idles before its memory is read.
const IDLE_S: u64 = 60;
/// Starts that are timed; the best counts.
const STARTS: usize = 5;

/// The gates by name.
struct Gates(BTreeMap<String, f64>);

impl Gates {
    /// One line of a figure of which more is better.
    fn print_least(&self, name: &str, what: &str, value: f64) {
        match self.0.get(name) {
            Some(gate) => {
                let verdict = if value >= *gate { "met" } else { "not met" };
                println!("{what:<64} {value:>10.3} {gate:>10} {verdict}");
            }
            None => println!("{what:<64} {value:>10.3}"),
        }
    }

    /// One line: the figure, and its gate and verdict when it is ours and has one.
    fn print(&self, name: &str, what: &str, value: f64, is_ours: bool) {
        match self.0.get(name).filter(|_| is_ours) {
            Some(gate) => {
                let verdict = if value <= *gate { "met" } else { "not met" };
                println!("{what:<64} {value:>10.3} {gate:>10} {verdict}");
            }
            None => println!("{what:<64} {value:>10.3}"),
        }
    }
}

fn main() -> Result<()> {
    let gates = Gates(gates()?);
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number =
        |at: usize, default: u64| arguments.get(at).map_or(Ok(default), |text| text.parse::<u64>());
    match arguments.first().map_or("all", String::as_str) {
        "all" => {
            whole(&gates)?;
            disk::run(&gates)?;
            metrics::run(&gates, metrics::GATED_SERIES, metrics::GATED_STEPS)?;
            metrics::shapes(&gates, None, 100)?;
            logs::run(&gates)
        }
        "logs" => match arguments.get(1).map(String::as_str) {
            None => logs::run(&gates),
            Some("--raw-gb") => {
                let raw_gb = arguments.get(2).context("--raw-gb wants a number")?.parse()?;
                lines::run_raw(&gates, raw_gb)
            }
            Some(other) => anyhow::bail!("{other} is not known: logs [--raw-gb N]"),
        },
        "program" => whole(&gates),
        "metrics" => {
            let series = number(1, metrics::GATED_SERIES as u64)?;
            metrics::run(&gates, series as usize, number(2, metrics::GATED_STEPS)?)
        }
        "shapes" => {
            let only = arguments.get(1).map(String::as_str).filter(|name| *name != "all");
            metrics::shapes(&gates, only, number(2, 100)?)
        }
        "queries" => {
            let series = number(1, queries::SERIES as u64)? as usize;
            queries::run(&gates, series, number(2, queries::ALL_SERIES as u64)? as usize)
        }
        "disk" => disk::run(&gates),
        "load" => metrics::send(&arguments[1..]),
        other => anyhow::bail!(
            "unknown benchmark {other:?}: all, program, metrics [SERIES STEPS], shapes [all|churn|own|target|devops|million [PERCENT]], disk, logs [--raw-gb N], queries [SERIES ALL], load --url URL"
        ),
    }
}

/// The whole program, idle.
fn whole(gates: &Gates) -> Result<()> {
    println!(
        "Vigie {}, binary {} MB",
        env!("CARGO_PKG_VERSION"),
        std::fs::metadata(program())?.len() / 1_000_000
    );
    println!("{:<64} {:>10} {:>10}", "figure", "measured", "gate");
    let print = |name: &str, what: &str, value: f64| gates.print(name, what, value, true);
    let home = tempfile::tempdir()?;
    let data = format!("--storage.path={}", home.path().join("data").display());
    let postgres = Postgres::start();
    let dsn = format!("--postgres.dsn={}", postgres.dsn());
    print("ready_s", "start to ready, s (best of 5)", best_start(home.path(), &[&data, &dsn]));

    let started = Instant::now();
    let vigie = Vigie::start(home.path(), &[&data, &dsn]);
    let graphs = "count(rate(node_cpu_seconds_total[1m]))";
    vigie_scenarios::wait_for("host graphs", 60, || vigie.query(graphs).first().map(|_| ()));
    print("host_graphs_s", "start to host graphs, s", started.elapsed().as_secs_f64());
    print("first_page_kb", "first page, kB brotli", first_page_kb(vigie.port));
    // The peers idle beside it, over the same host and the same PostgreSQL, in the same minute.
    let peers = Peers::start(home.path(), &postgres.dsn())?;
    std::thread::sleep(Duration::from_secs(IDLE_S));
    let own_mib = rss_mib(vigie.pid())?;
    print("idle_rss_mib", "idle with PostgreSQL, VmRSS MiB after 60 s", own_mib);
    if let Some(peers) = peers {
        peers.print(own_mib)?;
    }
    let cpu_s = cpu_s(vigie.pid())?;
    println!("{:<44} {:>10.2}", "CPU of those 60 s and the start, s", cpu_s);
    Ok(())
}

/// `name = number` lines of the budgets.
fn gates() -> Result<BTreeMap<String, f64>> {
    let text = include_str!("../budgets.toml");
    let pairs = text
        .lines()
        .filter(|line| !line.starts_with(['#', '[']))
        .filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| Ok((name.trim().to_owned(), value.trim().parse()?))).collect()
}

fn best_start(home: &std::path::Path, arguments: &[&str]) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..STARTS {
        let started = Instant::now();
        let vigie = Vigie::start_without_pause(home, arguments);
        best = best.min(started.elapsed().as_secs_f64());
        drop(vigie);
    }
    best
}

fn first_page_kb(port: u16) -> f64 {
    let brotli = [("accept-encoding", "br")];
    let plain = get(port, "/").map(|answer| answer.text()).unwrap_or_default();
    let assets = plain.split('"').filter(|part| part.starts_with("/assets/")).map(str::to_owned);
    let mut bytes = 0;
    for path in std::iter::once("/".to_owned()).chain(assets) {
        bytes +=
            http::exchange(port, "GET", &path, &brotli, &[]).map_or(0, |answer| answer.body.len());
    }
    bytes as f64 / 1000.0
}

/// VmRSS of a process.
fn rss_mib(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("VmRSS")?;
    let kib: f64 = line.split_whitespace().nth(1).context("a number")?.parse()?;
    Ok(kib / 1024.0)
}

/// User and system time so far, from `/proc/PID/stat` (fields 14 and 15, in ticks of 10 ms).
fn cpu_s(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
    Ok(ticks / 100.0)
}
