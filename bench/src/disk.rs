//! Bytes per sample, everything on disk: real scrapes of a node_exporter, re-timed to 15 s and
//! repeated to a day with a simulated clock, appended, sealed and compacted as the program does it.
//!
//! A repetition goes on where the one before ended: what only rises (counters) is raised by what it
//! rose to, so that nothing jumps back 31 times a day. The CPU of the compaction is printed as its
//! share at the 66,000 samples a second of a million series. A day of the load generator is measured
//! in the same way.

use crate::Gates;
use crate::shape::{Shape, series};
use anyhow::{Context, Result};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vigie_disk::RealDisk;
use vigie_metrics::{Durability, Options, Store};
use vigie_model::{Labels, Row, SeriesId};

const STEP_MS: i64 = 15_000;
const HOUR_MS: i64 = 3600 * 1000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// A midnight.
const START_MS: i64 = 20_000 * DAY_MS;
/// A million series every 15 s.
const FULL_SAMPLES_PER_S: f64 = 66_667.0;

/// A scrape: per series its labels as text and its value.
type Scrape = Vec<(String, f64)>;

/// Instances of the generator's day.
const INSTANCES: usize = 10;

/// Prints what a day takes, of the corpus and of the load generator.
pub fn run(gates: &Gates) -> Result<()> {
    corpus(gates)?;
    generated(gates)
}

/// A day of the load generator's node_exporters.
fn generated(gates: &Gates) -> Result<()> {
    let home = tempfile::tempdir()?;
    let store = Store::open(Arc::new(RealDisk), home.path(), Options::default())?;
    let shape = series(Shape::Node);
    let mut ids = Vec::new();
    for instance in 0..INSTANCES {
        for one in &shape {
            let mut labels = one.labels.clone();
            labels.push(("instance".to_owned(), format!("host-{instance:06}:9100")));
            labels.push(("job".to_owned(), "node".to_owned()));
            ids.push(store.intern(&Labels::from_pairs(labels))?);
        }
    }
    let mut samples = 0;
    for step in 0..DAY_MS / STEP_MS {
        let ts_ms = START_MS + step * STEP_MS + jitter_ms(step);
        for (instance, ids) in ids.chunks(shape.len()).enumerate() {
            let values = shape
                .iter()
                .enumerate()
                .map(|(member, one)| one.motion.value(instance as u64, member as u64, step as u64));
            let values: Vec<f64> = values.collect();
            let row = Row::floats(ts_ms, ids, &values);
            samples += store.append(&[row], Durability::Written)?.appended;
        }
        store.tick(ts_ms)?;
        if step % 240 == 239 {
            compact(&store, ts_ms)?;
        }
    }
    store.flush()?;
    for hours in [26, 28, 30] {
        store.tick(START_MS + hours * HOUR_MS)?;
        compact(&store, START_MS + hours * HOUR_MS)?;
    }
    let per_sample = folder_bytes(home.path())? as f64 / samples as f64;
    let what = "bytes per sample of the generator's day, everything on disk";
    gates.print("generated_bytes_per_sample", what, per_sample, true);
    Ok(())
}

fn corpus(gates: &Gates) -> Result<()> {
    let corpora = std::env::var("VIGIE_CORPORA").context("VIGIE_CORPORA names no folder")?;
    let path = Path::new(&corpora).join("node_exporter/scrapes_1s_30min.bin.zst");
    let scrapes = read(&path)?;
    let home = tempfile::tempdir()?;
    let store = Store::open(Arc::new(RealDisk), home.path(), Options::default())?;
    let day = Day::new(&store, &scrapes)?;
    let (mut samples, mut compaction_s) = (0u64, 0.0);
    for step in 0..DAY_MS / STEP_MS {
        let ts_ms = START_MS + step * STEP_MS + jitter_ms(step);
        samples += day.append(&store, step as usize, ts_ms)?;
        store.tick(ts_ms)?;
        if step % 240 == 239 {
            compaction_s += compact(&store, ts_ms)?;
        }
    }
    // The day is over: what is open is sealed, and its blocks become one.
    store.flush()?;
    for hours in [26, 28, 30] {
        store.tick(START_MS + hours * HOUR_MS)?;
        compaction_s += compact(&store, START_MS + hours * HOUR_MS)?;
    }
    let (stats, bytes) = (store.stats(), folder_bytes(home.path())?);
    let analysis = store.analyze()?;
    println!("{} scrapes, {} series, {samples} samples", scrapes.len(), stats.series);
    println!("{} blocks, {} segments, {} bytes in all files", stats.blocks, stats.segments, bytes);
    for metric in analysis.metrics.iter().take(5) {
        println!("  {:<56} {:>10} bytes", metric.metric, metric.bytes);
    }
    let per_sample = bytes as f64 / samples as f64;
    gates.print(
        "bytes_per_sample",
        "bytes per sample of a day, everything on disk",
        per_sample,
        true,
    );
    let share = compaction_s / samples as f64 * FULL_SAMPLES_PER_S * 100.0;
    gates.print(
        "compaction_share_percent",
        "compaction, % of a core at 66 k samples/s",
        share,
        true,
    );
    Ok(())
}

/// Does all there is to do, and says what CPU it took in this thread.
fn compact(store: &Store, now_ms: i64) -> Result<f64> {
    let before_s = thread_cpu_s()?;
    while store.compact(now_ms, &mut |_| true)? {}
    Ok(thread_cpu_s()? - before_s)
}

/// A scrape is some milliseconds late, as scrapes are.
fn jitter_ms(step: i64) -> i64 {
    crate::shape::mix(step as u64, 1, 2) as i64 & 3
}

/// The day's rows.
struct Day<'a> {
    scrapes: &'a [Scrape],
    ids: HashMap<&'a str, SeriesId>,
    /// What a series rises by from one repetition to the next; 0 for a gauge.
    rise: HashMap<&'a str, f64>,
}

impl<'a> Day<'a> {
    fn new(store: &Store, scrapes: &'a [Scrape]) -> Result<Day<'a>> {
        let mut day = Day { scrapes, ids: HashMap::new(), rise: HashMap::new() };
        let mut series: HashMap<&str, Vec<f64>> = HashMap::new();
        for (key, value) in scrapes.iter().flatten() {
            series.entry(key).or_default().push(*value);
        }
        for (key, values) in series {
            let rises = values.windows(2).all(|pair| pair[0] <= pair[1]);
            let ends = (values.first().copied(), values.last().copied());
            let rise = if let (true, (Some(a), Some(b))) = (rises, ends) { b - a } else { 0.0 };
            day.rise.insert(key, if rise.is_finite() { rise } else { 0.0 });
            day.ids.insert(key, store.intern(&labels(key)?)?);
        }
        Ok(day)
    }

    fn append(&self, store: &Store, step: usize, ts_ms: i64) -> Result<u64> {
        let (round, at) = (step / self.scrapes.len(), step % self.scrapes.len());
        let scrape = &self.scrapes[at];
        let ids: Vec<SeriesId> = scrape.iter().map(|(key, _)| self.ids[key.as_str()]).collect();
        let raised = |(key, value): &(String, f64)| {
            let rise = round as f64 * self.rise[key.as_str()];
            // What has few decimals keeps them.
            if rise == 0.0 { *value } else { ((value + rise) * 1e9).round() / 1e9 }
        };
        let values: Vec<f64> = scrape.iter().map(raised).collect();
        let row = Row::floats(ts_ms, &ids, &values);
        let done = store.append(&[row], Durability::Written)?;
        Ok(done.appended)
    }
}

/// `name{label="value"}` as labels, with a job and an instance.
fn labels(key: &str) -> Result<Labels> {
    let (name, rest) = key.split_once('{').unwrap_or((key, "}"));
    let mut pairs = vec![("__name__".to_owned(), name.to_owned())];
    let inside = rest.trim_end_matches('}');
    for pair in inside.split("\",").filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once("=\"").context("a label without a value")?;
        pairs.push((name.to_owned(), value.trim_end_matches('"').to_owned()));
    }
    pairs.push(("job".to_owned(), "node".to_owned()));
    pairs.push(("instance".to_owned(), "localhost:9100".to_owned()));
    Ok(Labels::from_pairs(pairs))
}

/// The frames of the corpus: milliseconds, length, body; little-endian.
fn read(path: &PathBuf) -> Result<Vec<Scrape>> {
    let packed = std::fs::read(path).with_context(|| path.display().to_string())?;
    let bytes = zstd::decode_all(&packed[..])?;
    let mut rest = &bytes[..];
    let mut scrapes = Vec::new();
    while let Some((head, behind)) = rest.split_first_chunk::<12>() {
        let len = u32::from_le_bytes([head[8], head[9], head[10], head[11]]) as usize;
        let (body, behind) = behind.split_at_checked(len).context("the corpus ends early")?;
        let lines = std::str::from_utf8(body)?.lines().filter(|line| !line.starts_with('#'));
        let samples = lines.filter_map(|line| line.rsplit_once(' '));
        let samples = samples.map(|(key, value)| Ok((key.to_owned(), value.parse::<f64>()?)));
        scrapes.push(samples.collect::<Result<Scrape>>()?);
        rest = behind;
    }
    Ok(scrapes)
}

fn folder_bytes(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        bytes += if meta.is_dir() { folder_bytes(&entry.path())? } else { meta.len() };
    }
    Ok(bytes)
}

/// The CPU of this thread so far, in seconds (`/proc/thread-self/schedstat`, first field, ns).
fn thread_cpu_s() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let ns: f64 = text.split_whitespace().next().context("a number")?.parse()?;
    Ok(ns / 1e9)
}
