//! Questions against Debian's Prometheus and VictoriaMetrics in one run: long ranges, and what a
//! question waits while samples come in.
//!
//! Per program: 10,000 series over 6 hours at 60 s, one series over 30 days at 60 s, both loaded by
//! remote write; then one dashboard's question again and again, alone and while half a million
//! samples per second are sent, with the percentiles of the answers.

use crate::load::{Fleet, Load};
use crate::metrics::{Running, Who, range_path};
use anyhow::{Context, Result};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use vigie_scenarios::get;

/// Series of the long range.
pub const SERIES: usize = 10_000;
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

/// Prints the figures of every program that is there.
pub fn run(series: usize) -> Result<()> {
    println!(
        "\n{series} series over 6 h, one over 30 d, and questions during {LOAD_PER_S} samples/s"
    );
    for who in [Who::Vigie, Who::Prometheus, Who::VictoriaMetrics] {
        if who.program().is_none() {
            println!("NOTICE: {} is not there: nothing is compared with it", who.name());
            continue;
        }
        measure(who, series).with_context(|| who.name())?;
    }
    Ok(())
}

fn measure(who: Who, series: usize) -> Result<()> {
    let home = tempfile::tempdir()?;
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;
    let end_ms = now_ms / 60_000 * 60_000;
    let (running, _) = Running::start(who, home.path())?;
    let figure = |what: &str, value: f64| {
        println!("{:<64} {value:>10.3}", format!("{}: {what}", who.name()));
    };
    // Oldest first: Prometheus takes samples in order only.
    let lone_end_ms = end_ms - LONG_STEPS as i64 * 60_000;
    let lone = Load { series: 1, ..at(lone_end_ms, LONE_STEPS) };
    let fleet = Fleet::new(lone);
    let mut door = running.door()?;
    fleet.send_steps(0..LONE_STEPS, &mut door)?;
    let end_s = end_ms / 1000;
    let lone_end_s = lone_end_ms / 1000;
    let lone = "rate(node_cpu_seconds_total[5m])";
    let path = range_path(lone, lone_end_s - LONE_STEPS as i64 * 60, lone_end_s, 3_600);
    let cost = running.ask(&path)?;
    figure("CPU ms, one series, 30 d, step 1 h", cost.cpu_ms);
    figure("p50 ms, one series, 30 d, step 1 h", cost.p50_ms);

    // Other names than the lone series: its instance is that of nobody here.
    let wide = Load { series, first_instance: 1, ..at(end_ms, LONG_STEPS) };
    let fleet = Fleet::new(wide);
    for step in 0..LONG_STEPS {
        fleet.send(step, &mut door)?;
    }
    let all = "sum by(instance)(rate({__name__=~\"node_.*\"}[5m]))";
    let cost = running.ask(&range_path(all, end_s - 6 * 3600, end_s, 60))?;
    figure("CPU ms, rate of all, 6 h, step 60 s", cost.cpu_ms);
    figure("p50 ms, rate of all, 6 h, step 60 s", cost.p50_ms);

    let dashboard =
        range_path("sum by(mode)(rate(node_cpu_seconds_total[5m]))", end_s - 3600, end_s, 60);
    let (p50_ms, p99_ms) = percentiles(running.port, &dashboard)?;
    figure("p50 ms, a panel of a dashboard, alone", p50_ms);
    figure("p99 ms, a panel of a dashboard, alone", p99_ms);
    let ((p50_ms, loaded_ms), rate) = during_load(&running, end_ms, &dashboard)?;
    figure("samples per second taken in meanwhile", rate);
    figure("p50 ms, the same panel meanwhile", p50_ms);
    figure("p99 ms, the same panel meanwhile", loaded_ms);
    figure("p99 loaded : alone", loaded_ms / p99_ms);
    Ok(())
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
        first_instance: 1_000,
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
