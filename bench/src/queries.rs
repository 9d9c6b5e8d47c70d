//! Questions against Debian's Prometheus and VictoriaMetrics in one run: long ranges, many series,
//! and what a question waits while samples come in.
//!
//! Per program, all loaded by remote write, the oldest first: one series over 30 days at 60 s, 10,000
//! series over 6 hours at 60 s, 250,000 series over a quarter of an hour at 15 s; then one
//! dashboard's question again and again, alone and while half a million samples per second are
//! sent, with the percentiles of the answers.

use crate::Gates;
use crate::load::{Fleet, Load};
use crate::metrics::{self, Running, Who, range_path};
use anyhow::{Context, Result};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use vigie_scenarios::http::encode;
use vigie_scenarios::{get, wait_for};

/// Series of the long range.
pub const SERIES: usize = 10_000;
/// Series of the short one.
pub const ALL_SERIES: usize = 250_000;
/// A quarter of an hour at 15 s.
const SHORT_STEPS: u64 = 60;
/// The numbers of the first instances: fleets share none.
const WIDE_INSTANCES: usize = 100_000;
const LOAD_INSTANCES: usize = 200_000;
const LONE_INSTANCE: usize = 300_000;
/// Six hours at 60 s.
const LONG_STEPS: u64 = 360;
/// Thirty days at 60 s, less the six hours behind them: older samples would be past retention.
const LONE_STEPS: u64 = 30 * 24 * 60 - 2 * LONG_STEPS;
/// Sent per second while questions are asked.
const LOAD_PER_S: usize = 500_000;
/// Series of that load: one step of them is a tenth of a second's.
const LOAD_SERIES: usize = 50_000;
/// Questions of which percentiles are made.
const ASKED: usize = 300;

/// Prints the figures of every program that is there. The numbers of series can be made smaller for
/// a quick look.
pub fn run(gates: &Gates, series: usize, all_series: usize) -> Result<()> {
    println!(
        "\n{series} series over 6 h, one over 30 d, {all_series} over 15 min, and questions during \
         {LOAD_PER_S} samples/s"
    );
    for who in [Who::Vigie, Who::Prometheus, Who::VictoriaMetrics] {
        if who.program().is_none() {
            println!("NOTICE: {} is not there: nothing is compared with it", who.name());
            continue;
        }
        measure(gates, who, series, all_series).with_context(|| who.name())?;
    }
    Ok(())
}

fn measure(gates: &Gates, who: Who, series: usize, all_series: usize) -> Result<()> {
    let home = tempfile::tempdir()?;
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;
    let end_ms = now_ms / 60_000 * 60_000;
    let (running, _) = Running::start(who, home.path())?;
    let has_gates = who == Who::Vigie && (series, all_series) == (SERIES, ALL_SERIES);
    let figure = |name: &str, what: &str, value: f64| {
        gates.print(name, &format!("{}: {what}", who.name()), value, has_gates);
    };
    lone(&running, end_ms, &figure)?;
    wide(&running, end_ms, series, &figure)?;
    let load = Load {
        series: all_series,
        start_ms: end_ms - (SHORT_STEPS as i64 - 1) * 15_000,
        ..Load::default()
    };
    let fleet = Fleet::new(load);
    let mut door = running.door()?;
    for step in 0..SHORT_STEPS {
        fleet.send(step, &mut door)?;
    }
    drop(fleet);
    until_seen(&running, "node_load1{instance=~\"host-000000.*\"}", end_ms / 1000);
    metrics::queries(&running, figure, end_ms / 1000)?;

    let dashboard = "sum by(mode)(rate(node_cpu_seconds_total{instance=~\"host-1.*\"}[5m]))";
    let end_s = end_ms / 1000;
    let dashboard = range_path(dashboard, end_s - 3600, end_s, 60);
    let (p50_ms, p99_ms) = percentiles(running.port, &dashboard)?;
    figure("", "p50 ms, a panel of a dashboard, alone", p50_ms);
    figure("", "p99 ms, a panel of a dashboard, alone", p99_ms);
    let ((p50_ms, loaded_ms), rate) = during_load(&running, end_ms, &dashboard)?;
    figure("", "samples per second taken in meanwhile", rate);
    figure("", "p50 ms, the same panel meanwhile", p50_ms);
    figure("", "p99 ms, the same panel meanwhile", loaded_ms);
    figure("loaded_p99_ratio", "p99 loaded : alone", loaded_ms / p99_ms);
    Ok(())
}

/// One series over 30 days, loaded and asked.
fn lone(running: &Running, end_ms: i64, figure: &dyn Fn(&str, &str, f64)) -> Result<()> {
    // Prometheus takes samples in order only: this ends where the six hours begin.
    let end_ms = end_ms - LONG_STEPS as i64 * 60_000;
    let load = Load { series: 1, first_instance: LONE_INSTANCE, ..at(end_ms, LONE_STEPS) };
    let fleet = Fleet::new(load);
    fleet.send_steps(0..LONE_STEPS, &mut running.door()?)?;
    let end_s = end_ms / 1000;
    let series = format!("node_cpu_seconds_total{{instance=~\"host-{LONE_INSTANCE}.*\"}}");
    until_seen(running, &series, end_s);
    let query = format!("rate({series}[5m])");
    let path = range_path(&query, end_s - LONE_STEPS as i64 * 60, end_s, 3_600);
    let cost = running.ask(&path)?;
    figure("", "CPU ms, one series, 30 d, step 1 h", cost.cpu_ms);
    figure("", "p50 ms, one series, 30 d, step 1 h", cost.p50_ms);
    Ok(())
}

/// Many series over 6 hours, loaded and asked.
fn wide(
    running: &Running,
    end_ms: i64,
    series: usize,
    figure: &dyn Fn(&str, &str, f64),
) -> Result<()> {
    let load = Load { series, first_instance: WIDE_INSTANCES, ..at(end_ms, LONG_STEPS) };
    let (fleet, mut door) = (Fleet::new(load), running.door()?);
    for step in 0..LONG_STEPS {
        fleet.send(step, &mut door)?;
    }
    let end_s = end_ms / 1000;
    until_seen(running, "node_cpu_seconds_total{instance=~\"host-1.*\"}", end_s);
    // No rate: without their names the series of an instance would be one another's.
    let query =
        "sum by(instance)(last_over_time({__name__=~\"node_.*\",instance=~\"host-1.*\"}[5m]))";
    let cost = running.ask(&range_path(query, end_s - 6 * 3600, end_s, 60))?;
    figure("", "CPU ms, windows of all, 6 h, step 60 s", cost.cpu_ms);
    figure("long_range_p50_ms", "p50 ms, windows of all, 6 h, step 60 s", cost.p50_ms);
    Ok(())
}

/// VictoriaMetrics shows samples a few seconds after it took them.
fn until_seen(running: &Running, series: &str, end_s: i64) {
    let path = format!("/api/v1/query?query=count({})&time={end_s}&nocache=1", encode(series));
    wait_for("the newest samples", 120, || {
        get(running.port, &path).filter(|answer| answer.text().contains("\"value\""))
    });
}

fn at(end_ms: i64, steps: u64) -> Load {
    Load { start_ms: end_ms - (steps as i64 - 1) * 60_000, step_ms: 60_000, ..Load::default() }
}

fn percentiles(port: u16, path: &str) -> Result<(f64, f64)> {
    let mut walls_ms = Vec::with_capacity(ASKED);
    for _ in 0..ASKED {
        let asked = Instant::now();
        let answer = get(port, path).context("no answer")?;
        anyhow::ensure!(answer.status == 200, "{}", String::from_utf8_lossy(&answer.body));
        walls_ms.push(asked.elapsed().as_secs_f64() * 1e3);
    }
    walls_ms.sort_by(f64::total_cmp);
    Ok((walls_ms[ASKED / 2], walls_ms[ASKED * 99 / 100]))
}

/// Percentiles while a fleet of its own sends, and how many samples per second it got in.
fn during_load(running: &Running, end_ms: i64, path: &str) -> Result<((f64, f64), f64)> {
    let load = Load {
        series: LOAD_SERIES,
        first_instance: LOAD_INSTANCES,
        start_ms: end_ms,
        step_ms: 100,
        samples_per_request: 10_000,
        ..Load::default()
    };
    let fleet = Fleet::new(load);
    let (over, mut door) = (AtomicBool::new(false), running.door()?);
    fleet.send(0, &mut door)?;
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| -> Result<f64> {
            let started = Instant::now();
            let mut step = 0;
            while !over.load(Ordering::Relaxed) {
                step += 1;
                fleet.send(step, &mut door)?;
                let due =
                    Duration::from_secs_f64(step as f64 * LOAD_SERIES as f64 / LOAD_PER_S as f64);
                std::thread::sleep(due.saturating_sub(started.elapsed()));
            }
            Ok(step as f64 * LOAD_SERIES as f64 / started.elapsed().as_secs_f64())
        });
        let found = percentiles(running.port, path);
        over.store(true, Ordering::Relaxed);
        let rate = sender.join().map_err(|_| anyhow::anyhow!("the sender panicked"))??;
        Ok((found?, rate))
    })
}
