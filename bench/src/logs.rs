//! The log store over the fixed sets, over HTTP ([`crate::lines`]) and in this process: CPU seconds of
//! the one thread that works.
//!
//! The same run compresses the same bytes with zstd-1 and searches them with memmem, so that figures
//! of different machines can be compared; the peers' figures are those of Loki 3.7.6 and
//! VictoriaLogs 1.26 over the same sets, measured over HTTP on another day.

use crate::{Gates, lines};
use anyhow::{Context, Result};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vigie_disk::RealDisk;
use vigie_logql::{LogSource, Options, Value, instant, parse, query_logs};
use vigie_logs::{Batch, Clock, Durability, Store};
use vigie_model::{Direction, Labels, LogBlocks, LogEntry, LogRange, Matcher, Needle, ReadError};

/// Lines of a push.
const LINES_PER_PUSH: usize = 5_000;
/// The sets' first line came at this instant, and one follows each 10 ms.
const FIRST_NS: i64 = 1_768_435_200_000_000_000;
const STEP_NS: i64 = 10_000_000;
/// Each question is asked for so long, and at least and at most so often.
const ASKED_S: f64 = 0.5;
const CALLS_MIN: u32 = 5;
const CALLS_MAX: u32 = 2_000;

struct Source(Store);

impl LogSource for Source {
    fn select(
        &self,
        matchers: &[Matcher],
        range: LogRange,
        direction: Direction,
        needles: &[Needle],
    ) -> Result<Box<dyn LogBlocks>, ReadError> {
        self.0.select(matchers, range, direction, needles)
    }
}

/// CPU time of this thread so far, in seconds.
fn thread_cpu_s() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1e9
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let before = thread_cpu_s();
    let done = work();
    (done, thread_cpu_s() - before)
}

/// CPU milliseconds of one call, on average of enough calls for a clock that ticks in milliseconds.
fn mean_ms(mut ask: impl FnMut() -> Result<()>) -> Result<f64> {
    ask()?;
    let mut calls = 0;
    let before = thread_cpu_s();
    while calls < CALLS_MIN || (thread_cpu_s() - before < ASKED_S && calls < CALLS_MAX) {
        ask()?;
        calls += 1;
    }
    Ok((thread_cpu_s() - before) / f64::from(calls) * 1e3)
}

/// The access log of the corpora that `VIGIE_CORPORA` names; `None` without them.
pub fn json_set() -> Result<Option<Vec<u8>>> {
    let Some(loki) = corpora() else { return Ok(None) };
    let packed = std::fs::File::open(loki.join("bench/actix_json_200k.log.zst"))?;
    let mut json = Vec::new();
    zstd::stream::read::Decoder::new(packed)?.read_to_end(&mut json)?;
    Ok(Some(json))
}

fn corpora() -> Option<PathBuf> {
    std::env::var_os("VIGIE_CORPORA").map(|corpora| PathBuf::from(corpora).join("loki"))
}

/// Runs the benchmark over these corpora.
pub fn run(gates: &Gates) -> Result<()> {
    let (Some(json), Some(loki)) = (json_set()?, corpora()) else {
        println!("NOTICE: VIGIE_CORPORA is not set: the log benchmarks have no lines");
        return Ok(());
    };
    let mut nginx = Vec::new();
    let packed = std::fs::read(loki.join("samples/alloy/long-access.gz"))?;
    flate2::read::MultiGzDecoder::new(&packed[..]).read_to_end(&mut nginx)?;
    println!("{:<64} {:>10} {:>10}", "figure", "measured", "gate");
    calibrate(&json)?;
    lines::run(gates, &json)?;
    access_log(gates, &json)?;
    text_log(gates, &nginx)
}

fn calibrate(text: &[u8]) -> Result<()> {
    let megabytes = text.len() as f64 / 1e6;
    let (packed, cpu_s) = timed(|| zstd::bulk::compress(text, 1));
    println!("{:<64} {:>10.0}", "calibration: zstd-1, MB/s", megabytes / cpu_s);
    println!(
        "{:<64} {:>10.2}",
        "calibration: zstd-1, ratio",
        text.len() as f64 / packed?.len() as f64
    );
    // Often enough for a clock that ticks in milliseconds.
    let searches = 50;
    let (found, cpu_s) = timed(|| {
        (0..searches).filter(|_| memchr::memmem::find(text, b"no such needle").is_some()).count()
    });
    assert_eq!(found, 0);
    let cpu_s = cpu_s / f64::from(searches);
    println!(
        "{:<64} {:>10.0}",
        "calibration: memmem of a text that is absent, MB/s",
        megabytes / cpu_s
    );
    Ok(())
}

/// A store filled with lines, and the CPU seconds that took.
fn filled(dir: &Path, text: &[u8]) -> Result<(Source, f64)> {
    let lines: Vec<&[u8]> = text.split(|&byte| byte == b'\n').filter(|l| !l.is_empty()).collect();
    let now_ms = (FIRST_NS + lines.len() as i64 * STEP_NS) / 1_000_000;
    let options = vigie_logs::Options {
        clock: Clock(Arc::new(move || now_ms)),
        free_bytes_min: 0,
        ..vigie_logs::Options::default()
    };
    let store = Store::open(Arc::new(RealDisk), dir, options)?;
    let labels = Labels::from_pairs([("app", "bench")]);
    let mut cpu_s = 0.0;
    let mut next_ns = FIRST_NS;
    for push in lines.chunks(LINES_PER_PUSH) {
        let entries: Vec<LogEntry> = push
            .iter()
            .map(|line| {
                next_ns += STEP_NS;
                LogEntry { ts_ns: next_ns, line: line.to_vec(), metadata: Labels::default() }
            })
            .collect();
        let batch = [Batch { labels: &labels, entries: &entries }];
        let (stored, took_s) = timed(|| store.append(&batch, Durability::Written));
        anyhow::ensure!(stored?.refused == 0, "the set is refused");
        cpu_s += took_s;
    }
    let (sealed, took_s) = timed(|| store.seal());
    sealed?;
    Ok((Source(store), cpu_s + took_s))
}

fn access_log(gates: &Gates, text: &[u8]) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (source, cpu_s) = filled(dir.path(), text)?;
    let megabytes = text.len() as f64 / 1e6;
    gates.print_least(
        "",
        "in process: JSON, append and seal, MB per CPU second",
        megabytes / cpu_s,
    );
    let ratio = |source: &Source| {
        let stats = source.0.stats();
        text.len() as f64 / stats.part_file_bytes as f64
    };
    println!("{:<64} {:>10.2}", "in process: disk ratio as sealed", ratio(&source));
    let (compacted, cpu_s) = timed(|| compact(&source));
    compacted?;
    println!("{:<64} {:>10.0}", "in process: compaction, MB per CPU second", megabytes / cpu_s);
    gates.print_least(
        "json_ratio",
        "in process: disk ratio (Loki 2.9, VictoriaLogs 5.1)",
        ratio(&source),
    );
    questions(gates, &source)
}

/// Questions about the access log.
fn questions(gates: &Gates, source: &Source) -> Result<()> {
    let print = |name: &str, what: &str, value: f64| gates.print(name, what, value, true);
    let end_ns = FIRST_NS + 3600 * 1_000_000_000;
    let ask = |query: &str, wanted: Option<f64>| -> Result<f64> {
        let expr = parse(query).map_err(|error| anyhow::anyhow!("{query}: {error}"))?;
        mean_ms(|| {
            let answer = instant(source, &expr, end_ns, &Options::default())?;
            let Value::Vector(samples) = answer else { anyhow::bail!("{query}: no vector") };
            let sum: f64 = samples.iter().map(|sample| sample.value).sum();
            anyhow::ensure!(wanted.is_none_or(|wanted| wanted == sum), "{query}: {sum}");
            Ok(())
        })
    };
    let count = |filter: &str| format!("sum(count_over_time({{app=\"bench\"}} {filter} [1h]))");
    print(
        "absent_cpu_ms",
        "in process: absent substring, CPU ms (Loki 95, VictoriaLogs 64)",
        ask(&count("|= \"no such needle\""), Some(0.0))?,
    );
    print(
        "duration_cpu_ms",
        "in process: json | duration_ms > 1000, CPU ms (305, 248)",
        ask(&count("| json | duration_ms > 1000"), Some(66_650.0))?,
    );
    print(
        "status_cpu_ms",
        "in process: |= \"status\":50, CPU ms (145, 76)",
        ask(&count(r#"|= "\"status\":50""#), Some(18_229.0))?,
    );
    print(
        "rare_id_cpu_ms",
        "in process: |= a request id, CPU ms",
        ask(&count("|= \"e77b20aec4233f8ec9ddc8f042775a71\""), Some(1.0))?,
    );
    print(
        "regex_cpu_ms",
        "in process: |~ (?i)error, CPU ms (Loki 220)",
        ask(&count("|~ \"(?i)error\""), None)?,
    );
    let by_status = "sum by (status) (count_over_time({app=\"bench\"} | json [1h]))";
    print(
        "by_status_cpu_ms",
        "in process: count by status, CPU ms",
        ask(by_status, Some(200_000.0))?,
    );
    let quantile =
        "quantile_over_time(0.99, {app=\"bench\"} | json | unwrap duration_ms [1h]) by (status)";
    print(
        "quantile_cpu_ms",
        "in process: p99 by status, CPU ms (Loki 595, VictoriaLogs 184)",
        ask(quantile, None)?,
    );
    let by_path = "sum by (path) (count_over_time({app=\"bench\"} | json [1h]))";
    print("by_path_cpu_ms", "in process: count by path, CPU ms", ask(by_path, Some(200_000.0))?);
    let lines = parse("{app=\"bench\"} | json | duration_ms > 1000").context("a log query")?;
    let range = LogRange { start_ns: FIRST_NS, end_ns };
    let newest = mean_ms(|| {
        let options = Options::default();
        let rows = query_logs(source, &lines, range, Direction::Backward, 100, &options)?;
        anyhow::ensure!(rows.iter().map(|stream| stream.entries.len()).sum::<usize>() == 100);
        Ok(())
    })?;
    print("hundred_lines_cpu_ms", "in process: the newest 100 of those lines, CPU ms", newest);
    println!(
        "{:<64} {:>10.1}",
        "VmRSS of this process with the raw sets in memory, MiB",
        crate::rss_mib(std::process::id())?
    );
    Ok(())
}

/// Compacts as the next day would.
fn compact(source: &Source) -> Result<()> {
    let tomorrow_ms = FIRST_NS / 1_000_000 + 86_400_000;
    while source.0.compact(tomorrow_ms, &mut |_| true)? {}
    Ok(())
}

fn text_log(gates: &Gates, text: &[u8]) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (source, cpu_s) = filled(dir.path(), text)?;
    let megabytes = text.len() as f64 / 1e6;
    println!(
        "{:<64} {:>10.0}",
        "in process: nginx, append and seal, MB per CPU second (no HTTP)",
        megabytes / cpu_s
    );
    let ratio = |source: &Source| text.len() as f64 / source.0.stats().part_file_bytes as f64;
    println!("{:<64} {:>10.2}", "nginx: disk ratio as sealed", ratio(&source));
    compact(&source)?;
    gates.print_least(
        "nginx_ratio",
        "nginx: disk ratio (Loki 5.2, VictoriaLogs 14.6)",
        ratio(&source),
    );
    Ok(())
}
