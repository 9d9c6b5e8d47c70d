//! What the parts of the store cost, one by one: CPU nanoseconds per sample of taking rows in, of
//! sealing them, of a selection (finding, checking and parsing chunks) and of reading its columns.
//!
//! `cargo run --release -p vigie-metrics --example hot_cost -- [SERIES] [COLUMNS] [ROUNDS] [REPEATS]`, where
//! COLUMNS is how many series a target has; reads are the best of REPEATS. A round is as many rows as
//! a group has when it is sealed: what the last one costs more than the others is the seal. Two thirds of the series stand still; the others are counters, gauges of pages,
//! hundredths and, rarely, random bits.

use std::ops::Range;
use std::sync::Arc;
use vigie_disk::RealDisk;
use vigie_metrics::{Durability, Options, Store};
use vigie_model::{Labels, Matcher, Row, Selection, SeriesId, TimeRange};

/// Rows with which a group of many columns is sealed.
const SEAL_ROWS: usize = 16;
const STEP_MS: i64 = 15_000;
const START_MS: i64 = 1_700_000_000_000;
const ALL: TimeRange = TimeRange { start_ms: 0, end_ms: i64::MAX };

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: usize| {
        arguments.get(at).map_or(default, |text| text.parse().expect("a number"))
    };
    let (series, columns, rounds) = (number(0, 250_000), number(1, 1_000), number(2, 4));
    let home = std::env::temp_dir().join(format!("vigie-hot-cost-{}", std::process::id()));
    let options = Options { free_bytes_min: 0, open_bytes_max: 1 << 40, ..Options::default() };
    let options = Options { selection_bytes_max: 1 << 40, ..options };
    let store = Store::open(Arc::new(RealDisk), &home, options).expect("it opens");
    store.tick(START_MS).expect("a tick");
    let ids: Vec<SeriesId> =
        (0..series).map(|id| store.intern(&labels(id, columns)).expect("a series")).collect();
    // First chunks are shorter, so groups are made and sealed before anything is measured.
    rows_in(&store, &ids, columns, 0..1);
    store.flush().expect("a flush");
    let (mut rows_s, mut seal_s) = (0.0, 0.0);
    let before = store.stats();
    for round in 0..rounds {
        let first = 1 + round * SEAL_ROWS;
        let others = rows_in(&store, &ids, columns, first..first + SEAL_ROWS - 1);
        let last = first + SEAL_ROWS - 1;
        seal_s += rows_in(&store, &ids, columns, last..last + 1);
        seal_s -= others / (SEAL_ROWS - 1) as f64;
        rows_s += others * SEAL_ROWS as f64 / (SEAL_ROWS - 1) as f64;
    }
    store.flush().expect("a flush");
    let after = store.stats();
    let samples = (series * rounds * SEAL_ROWS) as f64;
    println!("series {series}, {columns} of a target, {} groups", after.groups);
    println!("rows in, ns per sample   {:.2}", rows_s * 1e9 / samples);
    println!("seal, ns per sample      {:.2}", seal_s * 1e9 / samples);
    let bytes = (after.disk_bytes - before.disk_bytes) as f64;
    println!("disk bytes per sample    {:.3}", bytes / samples);
    let (rows, repeats) = (1 + rounds * SEAL_ROWS, number(3, 5));
    assert_eq!(after.chunks, (rounds + 1) as u64 * after.groups, "a chunk has 16 rows");
    read(&store, "all", &[], rows, repeats);
    read(&store, "some", &[Matcher::equal("mode", "m1")], rows, repeats);
    rows_in(&store, &ids, columns, rows..rows + 8);
    read(&store, "all, 8 rows open", &[], rows + 8, repeats);
    std::fs::remove_dir_all(&home).expect("it was made above");
}

/// Appends rows; returns the CPU seconds of the store.
fn rows_in(store: &Store, ids: &[SeriesId], columns: usize, steps: Range<usize>) -> f64 {
    let mut spent = 0.0;
    for step in steps {
        let ts_ms = START_MS + step as i64 * STEP_MS;
        let values: Vec<f64> = (0..ids.len()).map(|id| value(id, step)).collect();
        store.tick(ts_ms).expect("a tick");
        let mut appended = 0;
        let append = || {
            for (ids, values) in ids.chunks(columns).zip(values.chunks(columns)) {
                let rows = [Row::floats(ts_ms, ids, values)];
                appended += store.append(&rows, Durability::Written).expect("a row").appended;
            }
        };
        spent += cpu_of(append).1;
        assert_eq!(appended, ids.len() as u64);
    }
    spent
}

fn read(store: &Store, what: &str, matchers: &[Matcher], rows: usize, repeats: usize) {
    let best =
        |task: &mut dyn FnMut() -> f64| (0..repeats).map(|_| task()).fold(f64::MAX, f64::min);
    let select = || store.select(matchers, ALL).expect("a selection");
    let select_s = best(&mut || cpu_of(|| drop(select())).1);
    let selection = select();
    let series: usize = selection.groups.iter().map(|group| group.series().len()).sum();
    let mut sum = 0;
    let read_s = best(&mut || cpu_of(|| sum = sum_of(&selection)).1);
    let mut plain = 0;
    let plain_s = best(&mut || cpu_of(|| plain = plain_of(&selection)).1);
    let samples = (series * rows) as f64;
    println!("{what}: {series} series of {rows} rows, sum {sum:x}");
    let per_sample = |seconds: f64| seconds * 1e9 / samples;
    println!("  select: {:.2} ms, ns per sample {:.2}", select_s * 1e3, per_sample(select_s));
    println!("  read: {:.2} ms, ns per sample {:.2}", read_s * 1e3, per_sample(read_s));
    println!("  {plain} plain columns: {:.2} ms", plain_s * 1e3);
}

/// How many columns need no reading to know where their samples are.
fn plain_of(selection: &Selection) -> usize {
    let mut plain = 0;
    for group in &selection.groups {
        plain += (0..group.series().len()).filter(|at| group.is_plain(*at)).count();
    }
    plain
}

/// Reads every column, so that no read can be left out.
fn sum_of(selection: &Selection) -> u64 {
    let (mut sum, mut column) = (0u64, Vec::new());
    for group in &selection.groups {
        for at in 0..group.series().len() {
            group.read(at, &mut column).expect("a column");
            let last = column.last().map_or(0, |value| value.to_bits());
            sum = sum.wrapping_add(last ^ column[column.len() / 3].to_bits());
        }
    }
    sum
}

fn labels(id: usize, columns: usize) -> Labels {
    let (target, member) = (id / columns, id % columns);
    Labels::from_pairs([
        ("__name__".to_owned(), format!("node_some_subsystem_metric_{}_total", member % 97)),
        ("cpu".to_owned(), (member / 97).to_string()),
        ("instance".to_owned(), format!("host-{target:06}.internal.example.org:9100")),
        ("job".to_owned(), "node".to_owned()),
        ("mode".to_owned(), format!("m{}", member % 60)),
    ])
}

fn value(id: usize, step: usize) -> f64 {
    let jitter = (id ^ step << 20).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    match id % 60 {
        0..38 => (id % 1_000) as f64 * 4096.0,
        38..50 => (id * 17 + step * (id % 97) * 10 + jitter % (id % 97 * 2 + 1)) as f64,
        50..54 => 1e9 + 4096.0 * (jitter % 512) as f64,
        54..58 => (id + step * 1500 + jitter % 100) as f64 / 100.0,
        58 => (jitter % 8000) as f64 / 1000.0,
        _ => f64::from_bits(0x3ff0_0000_0000_0000 | (jitter as u64) << 20),
    }
}

/// Runs a task; its result and its CPU seconds, from the clock of the scheduler.
fn cpu_of<T>(task: impl FnOnce() -> T) -> (T, f64) {
    let before = cpu_s();
    let result = task();
    (result, cpu_s() - before)
}

fn cpu_s() -> f64 {
    // The clock stands still until the scheduler looks.
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/self/schedstat").expect("Linux");
    // The store starts no thread.
    let nanoseconds: f64 = text.split(' ').next().expect("a field").parse().expect("a number");
    nanoseconds / 1e9
}
