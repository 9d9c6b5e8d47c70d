//! The log store over HTTP: the release binary takes the access log as clients push it, and answers
//! questions; CPU seconds of the process, the most memory it ever had, and what stands on disk.
//!
//! The set is 200,000 lines of JSON, about 61 MB. For more, it is repeated with its times moved and its
//! request ids changed, so that neither repeats: `logs --raw-gb 10`.

use crate::load::Post;
use crate::metrics::{Running, Who, disk_bytes};
use crate::{Gates, cpu_s, logs};
use anyhow::{Context, Result};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use vigie_codec::compression::pack_snappy;
use vigie_codec::loki_push::{PushRequest, PushStream, encode_proto, parse_rfc3339_ns};
use vigie_model::civil::date_of;
use vigie_model::{Labels, LogEntry};
use vigie_scenarios::http::encode;

const LINES_PER_PUSH: usize = 5_000;
/// What came last is sealed by then: the questions are those of somebody who looks at what was.
const SEALED_AFTER: Duration = Duration::from_secs(8);
/// Nothing changes on disk for so long when compaction has nothing to do.
const QUIET: Duration = Duration::from_secs(45);
const QUIET_WITHIN: Duration = Duration::from_secs(180);
const NANOS: i64 = 1_000_000_000;
const ID: &[u8] = b"\"request_id\":\"";

/// The access log, line by line, with the instants that stand in it.
struct Set<'a> {
    lines: Vec<(&'a [u8], i64)>,
    bytes: usize,
}

impl<'a> Set<'a> {
    fn of(text: &'a [u8]) -> Result<Set<'a>> {
        let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        let instant = |line: &'a [u8]| {
            let text = line.get(14..41).and_then(|text| std::str::from_utf8(text).ok());
            text.and_then(parse_rfc3339_ns).map(|ts_ns| (line, ts_ns))
        };
        let lines = lines.map(instant).collect::<Option<Vec<_>>>();
        Ok(Set { lines: lines.context("each line starts with its time")?, bytes: text.len() })
    }

    fn span_ns(&self) -> i64 {
        let last = self.lines.len() - 1;
        self.lines[last].1 - self.lines[0].1 + NANOS
    }

    /// Lines whose times are moved and, but in round 0, whose ids are others.
    fn moved(&self, at: usize, round: usize, by_ns: i64) -> (i64, Vec<u8>) {
        let (line, ts_ns) = self.lines[at];
        let (ts_ns, mut line) = (ts_ns + by_ns, line.to_vec());
        line[14..41].copy_from_slice(rfc3339(ts_ns).as_bytes());
        if let (1.., Some(id)) = (round, memchr::memmem::find(&line, ID)) {
            let id = &mut line[id + ID.len()..][..32];
            let mut state = round as u64 * 0x9e37_79b9_7f4a_7c15;
            for digit in id {
                state =
                    state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(u64::from(*digit));
                *digit = b"0123456789abcdef"[(state >> 60) as usize];
            }
        }
        (ts_ns, line)
    }
}

/// `2026-01-15T00:00:00.018512Z`.
fn rfc3339(ts_ns: i64) -> String {
    let seconds = ts_ns.div_euclid(NANOS);
    let (year, month, day) = date_of(seconds.div_euclid(86_400));
    let of_day = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let micros = ts_ns.rem_euclid(NANOS) / 1000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

/// How lines are pushed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Protobuf,
}

fn json_body(entries: &[(i64, Vec<u8>)]) -> Vec<u8> {
    let mut body = br#"{"streams":[{"stream":{"app":"bench"},"values":["#.to_vec();
    for (at, (ts_ns, line)) in entries.iter().enumerate() {
        body.extend_from_slice(if at > 0 { b",[\"" } else { b"[\"" });
        body.extend_from_slice(ts_ns.to_string().as_bytes());
        body.extend_from_slice(b"\",\"");
        for &byte in line {
            if matches!(byte, b'"' | b'\\') {
                body.push(b'\\');
            }
            body.push(byte);
        }
        body.extend_from_slice(b"\"]");
    }
    body.extend_from_slice(b"]}]}");
    body
}

fn snappy_body(entries: Vec<(i64, Vec<u8>)>) -> Result<Vec<u8>> {
    let entry = |(ts_ns, line)| LogEntry { ts_ns, line, metadata: Labels::default() };
    let labels = Labels::from_pairs([("app", "bench")]);
    let stream = PushStream { labels, entries: entries.into_iter().map(entry).collect() };
    Ok(pack_snappy(&encode_proto(&PushRequest { streams: vec![stream] }))?)
}

/// The most memory that a process ever had.
fn peak_mib(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).context("VmHWM")?;
    let kib: f64 = line.split_whitespace().nth(1).context("a number")?.parse()?;
    Ok(kib / 1024.0)
}

/// A process that has taken lines.
struct Filled {
    running: Running,
    /// Behind the last line.
    end_s: i64,
    hours: i64,
    raw_mb: f64,
    cpu_s: f64,
    wall_s: f64,
    home: tempfile::TempDir,
}

fn fill(set: &Set<'_>, rounds: usize, form: Form) -> Result<Filled> {
    let home = tempfile::tempdir()?;
    let (running, _) = Running::start(Who::Vigie, home.path())?;
    let url = format!("http://127.0.0.1:{}/loki/api/v1/push", running.port);
    let mut post = Post::open(&url)?;
    let now_ns = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as i64;
    let first_ns = now_ns - set.span_ns() * rounds as i64 - 60 * NANOS;
    let (mut cpu_s, mut wall_s) = (0.0, 0.0);
    for round in 0..rounds {
        let by_ns = first_ns + set.span_ns() * round as i64 - set.lines[0].1;
        for start in (0..set.lines.len()).step_by(LINES_PER_PUSH) {
            let end = (start + LINES_PER_PUSH).min(set.lines.len());
            let entries: Vec<(i64, Vec<u8>)> =
                (start..end).map(|at| set.moved(at, round, by_ns)).collect();
            let (body, kind) = match form {
                Form::Json => (json_body(&entries), "application/json"),
                Form::Protobuf => (snappy_body(entries)?, "application/x-protobuf"),
            };
            let (before, started) = (running.cpu_s()?, Instant::now());
            post.send(kind, None, &body)?;
            wall_s += started.elapsed().as_secs_f64();
            cpu_s += running.cpu_s()? - before;
        }
        if rounds > 1 && (round + 1) % 10 == 0 {
            let peak = peak_mib(running.child.id())?;
            println!("  {} of {rounds} rounds, at most {peak:.0} MiB", round + 1);
        }
    }
    let raw_mb = set.bytes as f64 * rounds as f64 / 1e6;
    let hours = (set.span_ns() * rounds as i64) / (3600 * NANOS) + 2;
    Ok(Filled { running, end_s: now_ns / NANOS, hours, raw_mb, cpu_s, wall_s, home })
}

/// Waits until compaction has nothing to do; what then stands on disk.
fn settled_bytes(home: &Path) -> Result<u64> {
    let folder = home.join("data/logs");
    let (started, mut last, mut since) = (Instant::now(), disk_bytes(&folder)?, Instant::now());
    while since.elapsed() < QUIET && started.elapsed() < QUIET_WITHIN {
        std::thread::sleep(Duration::from_millis(500));
        // A file may go while it is counted.
        let Ok(bytes) = disk_bytes(&folder) else { continue };
        if bytes != last {
            (last, since) = (bytes, Instant::now());
        }
    }
    Ok(last)
}

/// The questions, and what the peers took in CPU milliseconds for the set once.
const QUESTIONS: [(&str, &str, &str); 9] = [
    (
        "absent_cpu_ms",
        "absent substring (Loki 95, VictoriaLogs 64)",
        "sum(count_over_time({app=\"bench\"} |= \"no such needle\" [RANGE]))",
    ),
    (
        "duration_cpu_ms",
        "json | duration_ms > 1000 (305, 248)",
        "sum(count_over_time({app=\"bench\"} | json | duration_ms > 1000 [RANGE]))",
    ),
    (
        "status_cpu_ms",
        "|= \"status\":50 (145, 76)",
        "sum(count_over_time({app=\"bench\"} |= `\"status\":50` [RANGE]))",
    ),
    (
        "rare_id_cpu_ms",
        "|= a request id",
        "sum(count_over_time({app=\"bench\"} |= \"e77b20aec4233f8ec9ddc8f042775a71\" [RANGE]))",
    ),
    (
        "regex_cpu_ms",
        "|~ (?i)error (Loki 220)",
        "sum(count_over_time({app=\"bench\"} |~ \"(?i)error\" [RANGE]))",
    ),
    (
        "by_status_cpu_ms",
        "count by status",
        "sum by (status) (count_over_time({app=\"bench\"} | json [RANGE]))",
    ),
    (
        "quantile_cpu_ms",
        "p99 by status, the last half hour (595, 184)",
        "quantile_over_time(0.99, {app=\"bench\"} | json | unwrap duration_ms [30m]) by (status)",
    ),
    (
        "by_path_cpu_ms",
        "p99 by path, the last half hour",
        "quantile_over_time(0.99, {app=\"bench\"} | json | unwrap duration_ms [30m]) by (path)",
    ),
    ("hundred_lines_cpu_ms", "the newest 100 lines of json | duration_ms > 1000", ""),
];

fn ask(filled: &Filled, figure: &dyn Fn(&str, &str, f64)) -> Result<()> {
    for (name, what, query) in QUESTIONS {
        let (end_s, query) = (filled.end_s, query.replace("RANGE", &format!("{}h", filled.hours)));
        let path = match query.is_empty() {
            false => format!("/loki/api/v1/query?query={}&time={end_s}", encode(&query)),
            true => format!(
                "/loki/api/v1/query_range?query={}&start={}&end={end_s}&limit=100",
                encode("{app=\"bench\"} | json | duration_ms > 1000"),
                end_s - filled.hours * 3600
            ),
        };
        let cost = filled.running.ask(&path)?;
        figure(name, &format!("HTTP: {what}, CPU ms"), cost.cpu_ms);
    }
    Ok(())
}

/// The set once, in both forms.
pub fn run(gates: &Gates, text: &[u8]) -> Result<()> {
    if Who::Vigie.program().is_none() {
        println!("NOTICE: VIGIE_BIN is not there: nothing is measured over HTTP");
        return Ok(());
    }
    let set = Set::of(text)?;
    let protobuf = fill(&set, 1, Form::Protobuf)?;
    gates.print_least(
        "http_protobuf_ingest_mb_per_cpu_s",
        "HTTP: snappy protobuf, MB per CPU second",
        protobuf.raw_mb / protobuf.cpu_s,
    );
    drop(protobuf);
    let json = fill(&set, 1, Form::Json)?;
    gates.print_least(
        "http_json_ingest_mb_per_cpu_s",
        "HTTP: JSON, MB per CPU second (Loki 27-43, VictoriaLogs 42-43)",
        json.raw_mb / json.cpu_s,
    );
    report(gates, &json)
}

fn report(gates: &Gates, filled: &Filled) -> Result<()> {
    let what = "HTTP: MB per second of the clock, one connection";
    println!("{what:<64} {:>10.0}", filled.raw_mb / filled.wall_s);
    std::thread::sleep(SEALED_AFTER);
    ask(filled, &|name, what, value| gates.print(name, what, value, filled.raw_mb < 100.0))?;
    let peak = peak_mib(filled.running.child.id())?;
    gates.print("peak_rss_mib", "HTTP: the most memory over the run, MiB (242)", peak, true);
    let before = cpu_s(filled.running.child.id())?;
    let bytes = settled_bytes(filled.home.path())?;
    let spent_s = cpu_s(filled.running.child.id())? - before;
    println!("{:<64} {spent_s:>10.2}", "HTTP: compaction and idling, CPU s");
    println!(
        "{:<64} {:>10.2}",
        "HTTP: ratio on disk with the log and the head (2.9, 5.1)",
        filled.raw_mb * 1e6 / bytes as f64
    );
    Ok(())
}

/// As much of the set, repeated, as makes so many gigabytes.
pub fn run_raw(gates: &Gates, raw_gb: f64) -> Result<()> {
    let text = logs::json_set()?.context("VIGIE_CORPORA names the folder with the lines")?;
    let set = Set::of(&text)?;
    let rounds = ((raw_gb * 1e9 / set.bytes as f64).round() as usize).max(1);
    println!("{rounds} rounds of {:.0} MB over HTTP, as JSON", set.bytes as f64 / 1e6);
    println!("{:<64} {:>10} {:>10}", "figure", "measured", "gate");
    let filled = fill(&set, rounds, Form::Json)?;
    gates.print_least(
        "http_json_ingest_mb_per_cpu_s",
        "HTTP: JSON, MB per CPU second",
        filled.raw_mb / filled.cpu_s,
    );
    report(gates, &filled)
}
