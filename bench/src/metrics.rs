//! The metrics store against Debian's Prometheus and VictoriaMetrics: the same series to each, one
//! after the other in one run, CPU seconds and memory of each process.

use crate::load::{Door, Fleet, Load};
use crate::shape::Shape;
use crate::{Gates, cpu_s, rss_mib};
use anyhow::{Context, Result, bail};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use vigie_scenarios::http::{encode, get};
use vigie_scenarios::vigie::program;
use vigie_scenarios::{free_port, wait_for};

/// The size for which the gates are written down.
pub const GATED_SERIES: usize = 250_000;
/// Steps of 15 s, registration included.
pub const GATED_STEPS: u64 = 60;

/// Who is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Who {
    Vigie,
    Prometheus,
    VictoriaMetrics,
}

impl Who {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Who::Vigie => "Vigie",
            Who::Prometheus => "prometheus (Debian)",
            Who::VictoriaMetrics => "victoria-metrics (Debian)",
        }
    }

    pub(crate) fn program(self) -> Option<PathBuf> {
        let peers = std::env::var("VIGIE_PEERS").unwrap_or_default();
        let found = match self {
            Who::Vigie => program(),
            Who::Prometheus => Path::new(&peers).join("usr/bin/prometheus"),
            Who::VictoriaMetrics => Path::new(&peers).join("usr/bin/victoria-metrics"),
        };
        found.exists().then_some(found)
    }
}

/// A running program with a folder of its own.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) port: u16,
}

impl Running {
    /// Starts it and says how long it took until it was ready.
    pub(crate) fn start(who: Who, home: &Path) -> Result<(Running, f64)> {
        let program = who.program().context("the program is not there")?;
        let port = free_port();
        let data = home.join("data").display().to_string();
        let mut command = Command::new(program);
        match who {
            Who::Vigie => {
                let config = home.join("vigie.yml");
                // Counting series that have instants of their own holds half a kilobyte of each.
                let text = "web: {classic_ports: false}\nstorage: {queries: {memory: 512MB, memory_of_all: 1GB}}\n";
                std::fs::write(&config, text)?;
                command.arg(format!("--config.file={}", config.display()));
                command.arg(format!("--storage.path={data}"));
                command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
            }
            Who::Prometheus => {
                let config = home.join("prometheus.yml");
                std::fs::write(&config, "global: {scrape_interval: 15s}\n")?;
                command.arg(format!("--config.file={}", config.display()));
                command.arg(format!("--storage.tsdb.path={data}"));
                command.arg("--storage.tsdb.retention.time=90d");
                command.arg("--web.enable-remote-write-receiver");
                command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
            }
            Who::VictoriaMetrics => {
                command.arg(format!("-storageDataPath={data}"));
                command.arg(format!("-httpListenAddr=127.0.0.1:{port}"));
                command.arg("-retentionPeriod=12");
                command.arg("-search.maxQueryDuration=120s");
            }
        }
        let log = std::fs::File::create(home.join("stderr.txt"))?;
        let started = Instant::now();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?;
        let mut running = Running { child, port };
        let path = if who == Who::VictoriaMetrics { "/health" } else { "/-/ready" };
        while get(port, path).is_none_or(|answer| answer.status != 200) {
            if let Some(status) = running.child.try_wait()? {
                let words = std::fs::read_to_string(home.join("stderr.txt"))?;
                bail!("{} ended with {status}: {words}", who.name());
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        Ok((running, started.elapsed().as_secs_f64()))
    }

    pub(crate) fn door(&self) -> Result<Door> {
        Door::open(&format!("http://127.0.0.1:{}/api/v1/write", self.port))
    }

    pub(crate) fn cpu_s(&self) -> Result<f64> {
        cpu_s(self.child.id())
    }

    /// What one question of a path costs: the mean CPU of many, and the time of the median.
    pub(crate) fn ask(&self, path: &str) -> Result<Cost> {
        // The clock of a process ticks every 10 ms: one question is a share of many.
        let (before, started) = (self.cpu_s()?, Instant::now());
        let mut walls_ms = Vec::new();
        while walls_ms.len() < 3 || walls_ms.len() < 100 && started.elapsed().as_secs() < 5 {
            let asked = Instant::now();
            let answer = get(self.port, path).context("no answer")?;
            walls_ms.push(asked.elapsed().as_secs_f64() * 1e3);
            let words = String::from_utf8_lossy(&answer.body);
            anyhow::ensure!(answer.status == 200, "{path}: {words}");
        }
        let cpu_ms = (self.cpu_s()? - before) * 1e3 / walls_ms.len() as f64;
        walls_ms.sort_by(f64::total_cmp);
        Ok(Cost { cpu_ms, p50_ms: walls_ms[walls_ms.len() / 2] })
    }
}

/// What a question costs.
pub(crate) struct Cost {
    pub(crate) cpu_ms: f64,
    pub(crate) p50_ms: f64,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One fleet and what is promised for it.
struct Case {
    /// What stands in front of its gates' names.
    prefix: &'static str,
    what: &'static str,
    load: Load,
    steps: u64,
    /// A smaller run gets figures and no verdicts.
    has_gates: bool,
    /// The questions are asked too.
    asks: bool,
}

/// Prints the figures. `series` and `steps` can be made smaller for a quick look.
pub fn run(gates: &Gates, series: usize, steps: u64) -> Result<()> {
    let has_gates = (series, steps) == (GATED_SERIES, GATED_STEPS);
    let load = Load { series, ..Load::default() };
    compare(gates, &Case { prefix: "", what: "aligned", load, steps, has_gates, asks: true })
}

/// The fleets that are hard on a store whose unit is the row: series that come and go, each with an
/// instant of its own, a million of them, all of one target. `only` takes one of them by its name.
pub fn shapes(gates: &Gates, only: Option<&str>, share_percent: u64) -> Result<()> {
    let of = |series: usize| Load { series, ..Load::default() };
    // At 240 steps an hour, one instance of 2,400 replaced per step is a tenth of them per hour.
    let churn = Load { churn_every: 2400, ..of(GATED_SERIES) };
    let own = Load { own_stamps: true, ..of(GATED_SERIES) };
    let target = Load { one_target: true, ..of(200_000) };
    let devops = Load { shape: Shape::Devops, ..of(GATED_SERIES) };
    let cases = [
        ("churn_", "10 % of the series replaced per hour", churn, GATED_STEPS),
        ("own_", "every series at an instant of its own", own, GATED_STEPS),
        ("target_", "all series of one target", target, GATED_STEPS),
        ("devops_", "TSBS devops", devops, GATED_STEPS),
        ("million_", "a million series", of(1_000_000), 20),
    ];
    for (prefix, what, mut load, steps) in cases {
        if only.is_some_and(|only| only != prefix.trim_end_matches('_')) {
            continue;
        }
        load.series = load.series * share_percent as usize / 100;
        let has_gates = share_percent == 100;
        compare(gates, &Case { prefix, what, load, steps, has_gates, asks: false })?;
    }
    Ok(())
}

fn compare(gates: &Gates, case: &Case) -> Result<()> {
    let (series, steps) = (case.load.series, case.steps);
    println!("\n{series} series, {}, {steps} steps of 15 s, one connection", case.what);
    let mut ours = Vec::new();
    for who in [Who::Vigie, Who::Prometheus, Who::VictoriaMetrics] {
        if who.program().is_none() {
            println!("NOTICE: {} is not there: nothing is compared with it", who.name());
            continue;
        }
        let figures = measure(gates, who, case)?;
        for ((what, value), (_, own)) in figures.iter().zip(&ours) {
            println!("{:<64} {:>10.3}", format!("Vigie : {}: {what}", who.name()), own / value);
        }
        if who == Who::Vigie {
            ours = figures;
        }
    }
    Ok(())
}

/// What was measured, by what it is.
type Figures = Vec<(String, f64)>;

fn measure(gates: &Gates, who: Who, case: &Case) -> Result<Figures> {
    let figures = RefCell::new(Figures::new());
    let home = tempfile::tempdir()?;
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;
    let (series, steps) = (case.load.series as f64, case.steps);
    let end_ms = now_ms / 15_000 * 15_000 - case.load.step_ms;
    let fleet = Fleet::new(Load { start_ms: end_ms - (steps as i64 - 1) * 15_000, ..case.load });
    let (running, _) = Running::start(who, home.path())?;
    let idle_mib = rss_mib(running.child.id())?;
    let mut door = running.door()?;
    let (before, started) = (running.cpu_s()?, Instant::now());
    fleet.send(0, &mut door)?;
    let first = running.cpu_s()?;
    for step in 1..steps {
        fleet.send(step, &mut door)?;
    }
    let (after, wall_s) = (running.cpu_s()?, started.elapsed().as_secs_f64());
    let samples = series * steps as f64;
    let rss_mib = rss_mib(running.child.id())?;
    let per = |seconds: f64, count: f64| seconds * 1e6 / count;
    let has_gates = who == Who::Vigie && case.has_gates;
    let figure = |name: &str, what: &str, value: f64| {
        let name = if name.is_empty() { String::new() } else { format!("{}{name}", case.prefix) };
        gates.print(&name, &format!("{}: {what}", who.name()), value, has_gates);
        figures.borrow_mut().push((what.to_owned(), value));
    };
    figure("push_cpu_us", "CPU µs per sample, registration included", per(after - before, samples));
    figure("steady_cpu_us", "CPU µs per sample, steady", per(after - first, samples - series));
    figure("new_series_cpu_us", "CPU µs per new series", per(first - before, series));
    figure("", "samples per wall second, millions", samples / wall_s / 1e6);
    let bytes = (rss_mib - idle_mib) * 1048576.0 / (series + fleet.replaced(steps) as f64);
    figure("series_rss_bytes", "RSS bytes per series over idle", bytes);
    if case.asks {
        queries(&running, figure, end_ms / 1000)?;
    }
    drop(door);
    let disk = disk_bytes(home.path())? as f64;
    figure("", "disk bytes per sample before compaction", disk / samples);
    drop(running); // kill -9
    let (again, ready_s) = Running::start(who, home.path())?;
    figure("restart_s", "ready after kill -9, s", ready_s);
    if who == Who::Vigie {
        // The list of series and its copy; the write-ahead log holds the newest series too.
        let list = disk_bytes_of(home.path(), &["series.log", "series.copy"])? as f64;
        figure("index_bytes", "bytes of both lists of series per series", list / series);
    }
    let asked_s = end_ms / 1000 + 15;
    let count = format!(
        "/api/v1/query?query={}&time={asked_s}",
        encode("count({__name__!=\"\",job=\"node\"})"),
    );
    let answer = wait_for("the count", 60, || get(again.port, &count).filter(|a| a.status == 200));
    let body: serde_json::Value = serde_json::from_slice(&answer.body)?;
    let count = body["data"]["result"][0]["value"][1].as_str().unwrap_or("none");
    println!("{:<64} {count:>10}", format!("{}: series there after the kill", who.name()));
    Ok(figures.into_inner())
}

pub(crate) fn queries(
    running: &Running,
    figure: impl Fn(&str, &str, f64),
    end_s: i64,
) -> Result<()> {
    for (name, query) in [
        ("sum_rate_cpu_ms", sum_rate()),
        ("count_all_cpu_ms", "count({__name__=~\"node_.*\"})".to_owned()),
        (
            "one_series_cpu_ms",
            "rate(node_network_receive_bytes_total{device=\"eth0\",instance=~\"host-000007.*\"}[1m])"
                .to_owned(),
        ),
        (
            "sum_by_instance_cpu_ms",
            "sum by(instance)(rate(node_softnet_processed_total[2m]))".to_owned(),
        ),
    ] {
        let cost = running.ask(&range_path(&query, end_s - 600, end_s, 15))?;
        let shown: String = query.chars().take(44).collect();
        figure(name, &format!("CPU ms, {shown}"), cost.cpu_ms);
        figure("", &format!("p50 ms, {shown}"), cost.p50_ms);
    }
    let path = "/api/v1/label/instance/values";
    let cost = running.ask(path)?;
    figure("label_values_cpu_ms", "CPU ms, values of instance", cost.cpu_ms);
    figure("", "p50 ms, values of instance", cost.p50_ms);
    Ok(())
}

/// A range query that no cache answers, neither ours nor VictoriaMetrics'.
pub(crate) fn range_path(query: &str, start_s: i64, end_s: i64, step_s: i64) -> String {
    format!(
        "/api/v1/query_range?query={}&start={start_s}&end={end_s}&step={step_s}&nocache=1&timeout=120s",
        encode(query)
    )
}

/// The instances of [`sum_rate`]: 125 of 64 series are 8,000.
const SUM_RATE_INSTANCES: usize = 125;

/// `sum(rate())` over 8,000 series: as many instances as the shape needs for them, by name.
fn sum_rate() -> String {
    let names = (0..SUM_RATE_INSTANCES).map(|at| format!("host-{at:06}[.].*"));
    let names = names.collect::<Vec<_>>().join("|");
    format!("sum(rate(node_cpu_seconds_total{{instance=~\"{names}\"}}[5m]))")
}

/// What the files of these names take in a folder and those below it.
fn disk_bytes_of(folder: &Path, names: &[&str]) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let about = entry.metadata()?;
        if about.is_dir() {
            bytes += disk_bytes_of(&entry.path(), names)?;
        } else if names.iter().any(|name| entry.file_name() == *name) {
            bytes += about.len();
        }
    }
    Ok(bytes)
}

/// What the files of a folder and of those in it take.
pub(crate) fn disk_bytes(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let about = entry.metadata()?;
        bytes += if about.is_dir() { disk_bytes(&entry.path())? } else { about.len() };
    }
    Ok(bytes)
}

/// What `load` was asked for.
struct Asked {
    url: String,
    load: Load,
    steps: u64,
    /// Samples per second; 0 for as many as the address takes.
    rate: f64,
    /// All bodies are made before the first is sent.
    prepared: bool,
}

impl Asked {
    fn read(arguments: &[String]) -> Result<Asked> {
        let load = Load::default();
        let mut asked = Asked { url: String::new(), load, steps: 10, rate: 0.0, prepared: false };
        for pair in arguments.chunks(2) {
            let [name, value] = pair else { bail!("{} wants a value", pair[0]) };
            match name.as_str() {
                "--url" => asked.url.clone_from(value),
                "--series" => asked.load.series = value.parse()?,
                "--steps" => asked.steps = value.parse()?,
                "--shape" if value == "devops" => asked.load.shape = Shape::Devops,
                "--shape" => asked.load.shape = Shape::Node,
                "--stamps" => asked.load.own_stamps = value == "own",
                "--churn" => asked.load.churn_every = value.parse()?,
                "--compression" => asked.load.zstd = value == "zstd",
                "--rate" => asked.rate = value.parse()?,
                "--prepared" => asked.prepared = value == "yes",
                other => bail!(
                    "{other} is not known: --url --series --steps --shape --stamps --churn --compression --rate --prepared"
                ),
            }
        }
        anyhow::ensure!(!asked.url.is_empty(), "--url names the address, or is `none`");
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;
        asked.load.start_ms = now_ms - (asked.steps as i64) * asked.load.step_ms;
        Ok(asked)
    }
}

/// `load --url URL|none [--series N] [--steps N] [--shape node|devops] [--stamps aligned|own]
/// [--churn N] [--compression snappy|zstd] [--rate SAMPLES_PER_S] [--prepared yes|no]`: sends as fast
/// as the address takes, or at a rate. `none` only makes the bodies, and says how fast.
pub fn send(arguments: &[String]) -> Result<()> {
    let asked = Asked::read(arguments)?;
    let fleet = Fleet::new(asked.load);
    let mut door = (asked.url != "none").then(|| Door::open(&asked.url)).transpose()?;
    let ahead = if asked.prepared { asked.steps } else { 0 };
    let mut ahead = (0..ahead).map(|step| fleet.packed(step)).collect::<Result<Vec<_>>>()?;
    ahead.reverse();
    let (begun, mut sent) = (Instant::now(), 0usize);
    for step in 0..asked.steps {
        let (started, before) = (Instant::now(), sent);
        let bodies = ahead.pop().map_or_else(|| fleet.packed(step), Ok)?;
        for (body, samples) in bodies {
            if let Some(door) = &mut door {
                door.write_packed(&body, asked.load.zstd)?;
            }
            sent += samples;
            if asked.rate > 0.0 {
                let due = std::time::Duration::from_secs_f64(sent as f64 / asked.rate);
                std::thread::sleep(due.saturating_sub(begun.elapsed()));
            }
        }
        let sent = sent - before;
        let rate = sent as f64 / started.elapsed().as_secs_f64() / 1e6;
        println!(
            "step {} of {}: {sent} samples, {rate:.2} million per second",
            step + 1,
            asked.steps
        );
    }
    Ok(())
}
