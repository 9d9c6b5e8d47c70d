//! What lines and questions about them cost inside the engine, without HTTP: CPU time of the one thread
//! that works. Lines go in as the bodies of pushes, as over HTTP.
//!
//! `cargo run --release -p vigie-engine --example log_cost FILE [FILTER]`, where FILE holds one line of a
//! log per line and FILTER is a part of the questions to ask.

#![allow(clippy::unwrap_used, reason = "a measuring tool may stop with a panic")]

use std::time::{Instant, SystemTime, UNIX_EPOCH};
use vigie_codec::loki_push::{self, PushRequest, PushStream, ServiceName};
use vigie_engine::{
    Durability, Embedded, EmbeddedOptions, Engine, LogWhen, PushBatch, QueryOptions,
};
use vigie_model::{Direction, Labels, LogEntry, LogRange};

const LINES_PER_PUSH: usize = 5_000;
const STEP_NS: i64 = 10_000_000;
const DAY_MS: i64 = 86_400_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let text = std::fs::read(&arguments[0]).unwrap();
    let filter = arguments.get(1).cloned().unwrap_or_default();
    let folder = tempfile::tempdir().unwrap();
    let engine = Embedded::open(folder.path(), EmbeddedOptions::default()).unwrap();
    let now_ns = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64;
    let end_ns = fill(&engine, &text, now_ns - 2 * DAY_MS * 1_000_000);
    let now_ms = now_ns / 1_000_000 + DAY_MS;
    let (_, sealed_ms) = timed(|| engine.tick(now_ms).unwrap());
    let (_, packed_ms) = timed(|| while engine.compact(now_ms, &mut |_| true).unwrap() {});
    println!("{sealed_ms:>10.1} ms CPU  the last seal");
    println!("{packed_ms:>10.1} ms CPU  compaction");
    let bytes = engine.stats().logs_bytes;
    println!(
        "{:>10.2} ratio on disk, with what the log still holds",
        text.len() as f64 / bytes as f64
    );
    for query in [
        "sum(count_over_time({app=\"bench\"} | json | duration_ms > 1000 [1h]))",
        "sum(count_over_time({app=\"bench\"} | json | status >= 500 [1h]))",
        "sum(count_over_time({app=\"bench\"} | json | status >= 500 | duration_ms > 1000 [1h]))",
        "sum(count_over_time({app=\"bench\"} | json | method=\"GET\" [1h]))",
        "sum(count_over_time({app=\"bench\"} |= \"no such needle\" [1h]))",
        "sum(count_over_time({app=\"bench\"} |= \"\\\"status\\\":50\" [1h]))",
        "sum(count_over_time({app=\"bench\"} |= \"e77b20aec4233f8ec9ddc8f042775a71\" [1h]))",
        "sum(count_over_time({app=\"bench\"} |~ \"(?i)error\" [1h]))",
        "sum(count_over_time({app=\"bench\"} |~ \"error|timeout\" [1h]))",
        "sum(count_over_time({app=\"bench\"} |~ \"status\\\":5[0-9]+\" [1h]))",
        "sum by (status) (count_over_time({app=\"bench\"} | json [1h]))",
        "sum by (path) (count_over_time({app=\"bench\"} | json [1h]))",
        "quantile_over_time(0.99, {app=\"bench\"} | json | unwrap duration_ms [1h]) by (path)",
        "quantile_over_time(0.99, {app=\"bench\"} | json | unwrap duration_ms [1h]) by (status)",
        "{app=\"bench\"} | json | duration_ms > 1000",
    ] {
        if query.contains(&filter) {
            ask(&engine, query, end_ns);
        }
    }
}

/// Asks often and prints the mean and the best.
fn ask(engine: &Embedded, query: &str, end_ns: i64) {
    let expr = vigie_logql::parse(query).unwrap();
    let options = QueryOptions::default();
    let range = LogRange { start_ns: end_ns - 3_600_000_000_000, end_ns };
    let (mut best, mut sum, mut asked) = (f64::INFINITY, 0.0, 0u32);
    let started = Instant::now();
    while asked < 5 || asked < 2000 && started.elapsed().as_millis() < 1500 {
        let (_, ms) = timed(|| match &expr {
            vigie_logql::Expr::Log(_) => {
                engine.query_logs(&expr, range, Direction::Backward, 100, &options).map(|_| ())
            }
            _ => engine.query_log_metrics(&expr, LogWhen::Instant(end_ns), &options).map(|_| ()),
        });
        best = f64::min(best, ms);
        sum += ms;
        asked += 1;
    }
    println!("{best:>10.3} ms CPU, mean {:.3}  {query}", sum / f64::from(asked));
}

/// Pushes the lines from an instant on; the instant behind the last.
fn fill(engine: &Embedded, text: &[u8], start_ns: i64) -> i64 {
    let lines: Vec<&[u8]> = text.split(|&byte| byte == b'\n').filter(|l| !l.is_empty()).collect();
    let labels = Labels::from_pairs([("app", "bench")]);
    let (mut decoded_ms, mut pushed_ms, mut next_ns) = (0.0, 0.0, start_ns);
    for push in lines.chunks(LINES_PER_PUSH) {
        let entries = push.iter().map(|line| {
            next_ns += STEP_NS;
            LogEntry { ts_ns: next_ns, line: line.to_vec(), metadata: Labels::default() }
        });
        let stream = PushStream { labels: labels.clone(), entries: entries.collect() };
        let body = loki_push::encode_json(&PushRequest { streams: vec![stream] });
        let (request, ms) =
            timed(|| loki_push::decode("application/json", &body, ServiceName::Discover).unwrap());
        decoded_ms += ms;
        let (_, ms) = timed(|| {
            let batches: Vec<PushBatch<'_>> = request
                .streams
                .iter()
                .map(|one| PushBatch { labels: &one.labels, entries: &one.entries })
                .collect();
            engine.push(&batches, Durability::Synced).unwrap();
        });
        pushed_ms += ms;
        let (_, ms) = timed(|| drop(request));
        pushed_ms += ms;
    }
    let megabytes = text.len() as f64 / 1e6;
    println!("{decoded_ms:>10.1} ms CPU  decoding, {:.0} MB/s", megabytes / decoded_ms * 1e3);
    println!("{pushed_ms:>10.1} ms CPU  pushing, {:.0} MB/s", megabytes / pushed_ms * 1e3);
    println!("{:>10.0} MB/s together", megabytes / (decoded_ms + pushed_ms) * 1e3);
    next_ns + 1
}

/// CPU milliseconds of this thread.
fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let before = cpu_ms();
    let done = work();
    (done, cpu_ms() - before)
}

fn cpu_ms() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e6
}
