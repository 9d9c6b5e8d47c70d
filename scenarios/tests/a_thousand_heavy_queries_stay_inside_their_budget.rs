//! A question that would need ten gigabytes is refused in the words of its limit while others are
//! answered; then a thousand heavy ones come at once, from a thousand connections of which two
//! hundred do not read their answers until all others have theirs, and the memory of the process
//! rises by no more than the configuration allows. Every answer is 200, or says why not.

#![allow(clippy::unwrap_used, reason = "a test's panic is its report")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use vigie_scenarios::http::encode;
use vigie_scenarios::push::{Pushed, push};
use vigie_scenarios::{Vigie, get, wait_for};

const SERIES: usize = 20_000;
const SAMPLES: i64 = 60;
const STEP_MS: i64 = 15_000;
const QUERIES: usize = 1_000;
/// Of them, those that read late.
const LATE: usize = 200;

/// Kept answers are held beside what questions hold.
const CONFIG: &str = "\
web: {classic_ports: false}
storage:
  queries: {memory: 16MB, memory_of_all: 96MB, at_once: 3, queue: 1500, cache: 4MB}
metrics: {host: false, scrape_configs: []}
";
const BUDGET_BYTES: u64 = (96 + 4) << 20;

/// What is asked; `{heavy}` stands for the series of 60 instances, and the other marks for the first
/// and the last instant in seconds.
const HEAVY: &[&str] = &[
    "query?query={heavy}&time={end}",
    "query?query={heavy}*2&time={end}",
    "query?query=sort_desc(rate({heavy}[5m]))&time={end}",
    "query?query={heavy}[5m]&time={end}",
    "query_range?query={heavy}&start={start}&end={end}&step=60",
    "query_range?query=sum by(instance)(rate({heavy}[5m]))&start={start}&end={end}&step=1",
    "query_range?query=topk(100, rate({heavy}[5m]))&start={start}&end={end}&step=15",
    "query_range?query={heavy} / on(instance, i) {heavy}&start={start}&end={end}&step=60",
    "query_range?query=max_over_time(sum by(i)(rate({heavy}[1m]))[10m:15s])&start={start}&end={end}&step=15",
];

/// 6,000 of the series.
const SOME: &str = "heavy_total{instance=~\"host-000[0-5].*\"}";

#[test]
fn a_thousand_heavy_queries_stay_inside_their_budget() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("vigie.yml");
    std::fs::write(&config, CONFIG).unwrap();
    let data = format!("--storage.path={}", home.path().join("data").display());
    let file = format!("--config.file={}", config.display());
    let vigie = Vigie::start(home.path(), &[&data, &file]);
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let end_ms = now_ms / STEP_MS * STEP_MS;
    load(vigie.port, end_ms);
    ten_gigabytes(vigie.port, end_ms / 1000);

    let before_kb = rss_kb(vigie.pid());
    let peak_kb = Arc::new(AtomicU64::new(before_kb));
    let (over, pid) = (Arc::new(AtomicBool::new(false)), vigie.pid());
    let watcher = {
        let (over, peak_kb) = (over.clone(), peak_kb.clone());
        thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                peak_kb.fetch_max(rss_kb(pid), Ordering::Relaxed);
                thread::park_timeout(Duration::from_millis(5));
            }
        })
    };
    let answers = storm(vigie.port, end_ms / 1000);
    over.store(true, Ordering::Relaxed);
    watcher.join().unwrap();

    let (mut good, mut refused) = (0, 0);
    for (path, status, text) in &answers {
        match status {
            200 => good += 1,
            422 | 503 => {
                assert!(text.contains(r#""error":""#), "{path}: {status} without a reason: {text}");
                refused += 1;
            }
            _ => panic!("{path}: {status}: {text}"),
        }
    }
    let rise_bytes = (peak_kb.load(Ordering::Relaxed) - before_kb) * 1024;
    wait_for("all memory is given back", 20, || {
        let page = get(vigie.port, "/metrics")?.text();
        page.lines().any(|line| line == "vigie_queries_memory_bytes 0").then_some(())
    });
    println!(
        "{good} answered, {refused} refused with a reason; VmRSS {} MiB before, +{} MiB at the \
         peak, {} MiB after; the budget is {} MiB",
        before_kb >> 10,
        rise_bytes >> 20,
        rss_kb(pid) >> 10,
        BUDGET_BYTES >> 20
    );
    assert_eq!(good + refused, QUERIES);
    assert!(good > QUERIES / 2, "only {good} of {QUERIES} were answered");
    assert!(rise_bytes <= BUDGET_BYTES, "{rise_bytes} bytes are more than {BUDGET_BYTES}");
    assert_eq!(vigie.query("count(heavy_total)")[0].1, SERIES as f64);
}

/// Series of two hundred instances, a quarter of an hour of each.
fn load(port: u16, end_ms: i64) {
    let series: Vec<Pushed> = (0..SERIES)
        .map(|at| Pushed {
            labels: vec![
                ("__name__".to_owned(), "heavy_total".to_owned()),
                ("i".to_owned(), (at % 100).to_string()),
                ("instance".to_owned(), format!("host-{:05}", at / 100)),
                ("job".to_owned(), "heavy".to_owned()),
            ],
            samples: (1..=SAMPLES)
                .map(|step| {
                    (end_ms - (SAMPLES - step) * STEP_MS, (at as i64 * 7 + step * 3) as f64 / 8.0)
                })
                .collect(),
        })
        .collect();
    push(port, &series, STEP_MS);
}

/// 20,000 series at 11,000 steps are 220 million points: more than ten gigabytes as an answer.
fn ten_gigabytes(port: u16, end_s: i64) {
    let over = Arc::new(AtomicBool::new(false));
    let others = {
        let over = over.clone();
        thread::spawn(move || {
            let mut answered = 0;
            while !over.load(Ordering::Relaxed) || answered == 0 {
                let answer = get(port, "/api/v1/query?query=count(heavy_total)").unwrap();
                assert_eq!(answer.status, 200, "{}", answer.text());
                answered += 1;
            }
            answered
        })
    };
    let start_s = end_s - 10_999;
    let path = format!("/api/v1/query_range?query=heavy_total&start={start_s}&end={end_s}&step=1");
    let answer = get(port, &path).unwrap();
    over.store(true, Ordering::Relaxed);
    let words = "query processing would take more than 16777216 bytes of memory in query execution";
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert!(answer.text().contains(words), "{}", answer.text());
    println!("refused; {} other questions were answered meanwhile", others.join().unwrap());
}

/// All at once. The late ones read when all others have been answered.
fn storm(port: u16, end_s: i64) -> Vec<(String, u16, String)> {
    let missing = Arc::new(AtomicU64::new((QUERIES - LATE) as u64));
    let clients: Vec<_> = (0..QUERIES)
        .map(|at| {
            let missing = missing.clone();
            let (path, text) = HEAVY[at % HEAVY.len()].split_once("query=").unwrap();
            let (text, rest) = text.split_once('&').unwrap();
            let text = text.replace("{heavy}", SOME);
            let rest = rest.replace("{end}", &end_s.to_string());
            // Nobody asks what another has asked.
            let rest = rest.replace("{start}", &(end_s - 900 + at as i64 % 7).to_string());
            let path = format!("/api/v1/{path}query={}&{rest}&n={at}", encode(&text));
            let client = thread::Builder::new().stack_size(256 << 10);
            client
                .spawn(move || {
                    let is_late = at < LATE;
                    let _done = Done(missing.clone(), is_late);
                    let (status, text) = ask(port, &path, || {
                        while is_late && missing.load(Ordering::Relaxed) > 0 {
                            thread::park_timeout(Duration::from_millis(20));
                        }
                    });
                    (path, status, text)
                })
                .unwrap()
        })
        .collect();
    clients.into_iter().map(|client| client.join().unwrap()).collect()
}

/// Counts a client down, however it ends.
struct Done(Arc<AtomicU64>, bool);

impl Drop for Done {
    fn drop(&mut self) {
        if !self.1 {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Asks, waits, and reads the whole answer; keeps its status and the beginning of its text.
fn ask(port: u16, path: &str, wait: impl FnOnce()) -> (u16, String) {
    let asked = Instant::now();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a place in the queue");
    let head =
        format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    wait();
    let (mut begin, mut buffer) = (Vec::new(), [0; 16 << 10]);
    loop {
        let count = stream.read(&mut buffer).unwrap_or_else(|error| {
            panic!("{path}: {error} after {:?}: {:?}", asked.elapsed(), begin.len())
        });
        if count == 0 {
            break;
        }
        if begin.len() < 2_000 {
            begin.extend_from_slice(&buffer[..count.min(2_000)]);
        }
    }
    let text = String::from_utf8_lossy(&begin).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("{path}: no answer: {text}")), text)
}

fn rss_kb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}
