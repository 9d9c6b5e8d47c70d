//! `vigie tsdb`: what is on the disk, sample by sample if wished, and whether all of it is whole.
//!
//! Nothing is written and no lock is taken: the store is opened over a disk whose changes stay in
//! memory, so a running Vigie may be looked at, and a damaged directory stays as it is.
//! Of a running store the rows of the last moments may be missing; should it reorder its files
//! while they are being read, the reading starts again.

use crate::cli::{TsdbArgs, TsdbCommand};
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vigie_disk::OverlayDisk;
use vigie_metrics::{FileStats, Options, Store};
use vigie_model::{Labels, Matcher, TimeRange, is_absent};

/// How often a running store may disturb the reading.
const TRIES: usize = 5;

/// Does what was asked for. `Ok(false)`: there is damage.
pub fn run(arguments: &TsdbArgs) -> Result<bool> {
    let out = std::io::stdout();
    let mut out = BufWriter::new(out.lock());
    let done = match &arguments.command {
        TsdbCommand::Analyze { directory, limit } => read(directory, |store| Ok(store.analyze()?))
            .and_then(|analysis| Ok(print_analysis(&analysis, *limit, &mut out)?))
            .map(|()| true),
        TsdbCommand::Dump { directory, matches, min_time, max_time } => {
            let range = TimeRange { start_ms: *min_time, end_ms: *max_time };
            let store = open(directory)?;
            dump(&store, matches, range, &mut out).map(|()| true)
        }
        TsdbCommand::Verify { directory } => verify(directory, &mut out),
    };
    match done.and_then(|whole| Ok(out.flush().map(|()| whole)?)) {
        // Who reads through `head` has read enough.
        Err(error) if is_closed_pipe(&error) => Ok(true),
        done => done,
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe)
}

/// The directory of the metrics in a data directory, or the directory itself.
fn metrics_directory(directory: &Path) -> Result<PathBuf> {
    let is_store = |dir: &Path| dir.join("series.log").exists() || dir.join("MANIFEST").exists();
    let below = directory.join("metrics");
    if is_store(&below) {
        return Ok(below);
    }
    if !is_store(directory) {
        bail!(
            "{} has no metrics: name the directory given to --storage.path, or one of its snapshots",
            directory.display()
        );
    }
    Ok(directory.to_path_buf())
}

fn open(directory: &Path) -> Result<Store> {
    read(directory, |_| Ok(())).map(|(store, ())| store)
}

/// Opens the store and asks it something, again if its owner moved files meanwhile.
fn read<T>(directory: &Path, ask: impl Fn(&Store) -> Result<T>) -> Result<(Store, T)> {
    let metrics = metrics_directory(directory)?;
    let options = Options {
        retention_ms: i64::MAX / 4,
        free_bytes_min: 0,
        selection_bytes_max: usize::MAX,
        ..Options::default()
    };
    let mut last = None;
    for _ in 0..TRIES {
        let opened = Store::open(Arc::new(OverlayDisk::default()), &metrics, options.clone());
        match opened.map_err(anyhow::Error::from).and_then(|store| {
            let answer = ask(&store)?;
            Ok((store, answer))
        }) {
            Ok(found) => return Ok(found),
            Err(error) => last = Some(error),
        }
    }
    Err(last.context("nothing was tried")?)
}

fn verify(directory: &Path, out: &mut impl Write) -> Result<bool> {
    let (_, (verified, damage)) = read(directory, |store| {
        let mut damage = Vec::new();
        let verified = store.verify(&mut |error| damage.push(error.to_string()))?;
        Ok((verified, damage))
    })?;
    for error in &damage {
        writeln!(out, "{error}")?;
    }
    let (files, columns, samples) = (verified.files, verified.columns, verified.samples);
    writeln!(out, "{files} files, {columns} columns, {samples} samples read")?;
    if damage.is_empty() {
        writeln!(out, "every checksum and every invariant holds")?;
    } else {
        writeln!(
            out,
            "{} damaged places: what stands there is left out of answers; bring the files back from \
             a backup, or leave it at that",
            damage.len()
        )?;
    }
    Ok(damage.is_empty())
}

fn print_analysis(
    (store, analysis): &(Store, vigie_metrics::Analysis),
    limit: usize,
    out: &mut impl Write,
) -> std::io::Result<()> {
    let stats = store.stats();
    let samples: u64 = analysis.files.iter().map(|file| file.samples).sum();
    writeln!(
        out,
        "{:<58} {:>20} {:>20} {:>8} {:>11} {:>12} {:>8}",
        "file", "from", "to", "series", "samples", "bytes", "B/sample"
    )?;
    for file in &analysis.files {
        print_file(file, out)?;
    }
    let rest = stats.disk_bytes - analysis.files.iter().map(|file| file.bytes).sum::<u64>();
    writeln!(out, "{:<58} {rest:>73}", "list of series and write-ahead log")?;
    let per_sample = stats.disk_bytes as f64 / samples.max(1) as f64;
    let bytes = stats.disk_bytes;
    writeln!(out, "{:<58} {samples:>60} {bytes:>12} {per_sample:>8.3}", "everything")?;
    writeln!(
        out,
        "\n{} series ({} without a sample left), {} blocks, {} segments, {} deletions not folded in, \
         {} damaged places",
        stats.series, analysis.dead, stats.blocks, stats.segments, stats.tombstones, stats.damaged
    )?;
    writeln!(
        out,
        "\n{:<58} {:>20} {:>20} {:>12} {:>8}",
        "metric", "series", "samples", "bytes", "B/sample"
    )?;
    for metric in analysis.metrics.iter().take(limit) {
        let per_sample = metric.bytes as f64 / metric.samples.max(1) as f64;
        let (name, series) = (&metric.metric, metric.series);
        let (samples, bytes) = (metric.samples, metric.bytes);
        writeln!(out, "{name:<58} {series:>20} {samples:>20} {bytes:>12} {per_sample:>8.3}")?;
    }
    Ok(())
}

fn print_file(file: &FileStats, out: &mut impl Write) -> std::io::Result<()> {
    let name = Path::new(&file.file).file_name().unwrap_or_default().to_string_lossy();
    let (from, to) =
        (vigie_http::state::rfc3339(file.min_ms), vigie_http::state::rfc3339(file.max_ms));
    let per_sample = file.bytes as f64 / file.samples.max(1) as f64;
    let FileStats { series, samples, bytes, .. } = file;
    writeln!(
        out,
        "{name:<58} {from:>20.20} {to:>20.20} {series:>8} {samples:>11} {bytes:>12} {per_sample:>8.3}"
    )
}

/// Writes samples as `promtool tsdb dump` does: labels, value, milliseconds; series sorted.
fn dump(store: &Store, matches: &[String], range: TimeRange, out: &mut impl Write) -> Result<()> {
    let mut selectors: Vec<Vec<Matcher>> = Vec::new();
    for text in matches {
        let parsed = vigie_promql::parse_selector(text);
        selectors.push(parsed.map_err(|e| anyhow::anyhow!("--match {text}: {e}"))?);
    }
    if selectors.is_empty() {
        selectors.push(Vec::new());
    }
    let selections = selectors.iter().map(|matchers| store.select(matchers, range));
    let selections = selections.collect::<Result<Vec<_>, _>>()?;
    let mut columns: BTreeMap<Labels, (usize, usize, usize)> = BTreeMap::new();
    for (selection_at, selection) in selections.iter().enumerate() {
        for (group_at, group) in selection.groups.iter().enumerate() {
            for (at, id) in group.series().iter().enumerate() {
                columns.insert(selection.lookup.labels(*id), (selection_at, group_at, at));
            }
        }
    }
    let mut values = Vec::new();
    for (labels, (selection, group, at)) in columns {
        let group = &selections[selection].groups[group];
        group.read(at, &mut values)?;
        for (ts_ms, value) in group.timestamps_ms().iter().zip(&values) {
            if !is_absent(*value) {
                writeln!(out, "{labels} {} {ts_ms}", go_g(*value))?;
            }
        }
    }
    Ok(())
}

/// A number as Go's `%g` writes it.
fn go_g(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    // However many digits there are, six count for this decision (Go's strconv/ftoa.go).
    if (-4..6).contains(&exponent) {
        return value.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (5.0, "5"),
            (0.1 + 0.2, "0.30000000000000004"),
            (0.00001, "1e-05"),
            (0.0001, "0.0001"),
            (123_456.5, "123456.5"),
            (1_700_000_000.25, "1.70000000025e+09"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (1.5e300, "1.5e+300"),
            (5e-324, "5e-324"),
        ] {
            assert_eq!(go_g(value), text);
        }
    }

    #[test]
    fn a_store_is_dumped_and_verified_and_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let metrics = dir.path().join("metrics");
        let disk = Arc::new(vigie_disk::RealDisk);
        let store = Store::open(disk, &metrics, Options::default()).unwrap();
        let series: Vec<_> = ["b", "a"]
            .iter()
            .map(|job| Labels::from_pairs([("__name__", "up"), ("job", job)]))
            .map(|labels| store.intern(&labels).unwrap())
            .collect();
        for ts_ms in [1000, 2000] {
            let values = [1.0, 0.5 * ts_ms as f64];
            let row = vigie_model::Row::floats(ts_ms, &series, &values);
            store.append(&[row], vigie_metrics::Durability::Synced).unwrap();
        }
        // It runs on; it holds its rows in the log only.
        let range = TimeRange { start_ms: 1500, end_ms: i64::MAX };
        let mut out = Vec::new();
        dump(&open(dir.path()).unwrap(), &[], range, &mut out).unwrap();
        let wanted =
            "{__name__=\"up\", job=\"a\"} 1000 2000\n{__name__=\"up\", job=\"b\"} 1 2000\n";
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
        let mut out = Vec::new();
        let one = [r#"up{job="b"}"#.to_owned(), r#"{job=~"b|c"}"#.to_owned()];
        let all = TimeRange { start_ms: i64::MIN, end_ms: i64::MAX };
        dump(&open(dir.path()).unwrap(), &one, all, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap().lines().count(), 2);
        store.flush().unwrap();
        let mut out = Vec::new();
        assert!(verify(dir.path(), &mut out).unwrap());
        assert!(String::from_utf8(out).unwrap().starts_with("1 files, 2 columns, 4 samples read"));
        let analysed = read(dir.path(), |store| Ok(store.analyze().unwrap())).unwrap();
        let mut out = Vec::new();
        print_analysis(&analysed, 10, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.contains("2 series (0 without a sample left), 0 blocks, 1 segments"),
            "{text}"
        );
        assert!(metrics_directory(&dir.path().join("elsewhere")).is_err());
        let segment = metrics.join("segments/segment-00000001.chunks");
        let mut bytes = std::fs::read(&segment).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&segment, &bytes).unwrap();
        let mut out = Vec::new();
        assert!(!verify(dir.path(), &mut out).unwrap());
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("segment-00000001.chunks at byte 57"), "{text}");
        assert_eq!(std::fs::read(&segment).unwrap(), bytes, "nothing was changed");
    }
}
