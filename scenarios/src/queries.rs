//! Questions in PromQL, made by a grammar from a seed, and the series they ask about.
//!
//! Everything Prometheus 2.42 knows is in it. Where 3.x has changed the meaning, the data and the
//! lengths keep off the place: samples lie half a second beside every instant that is asked for
//! (windows have become left-open), lengths of subqueries are no multiples of their steps (so have
//! theirs), and counters are so large that `rate` never extrapolates to zero (where its rule
//! changed).

use crate::push::Pushed;
use std::fmt::Write;

/// The first sample, in milliseconds.
pub const START_MS: i64 = 1_767_225_600_500;
/// Milliseconds between samples.
pub const STEP_MS: i64 = 15_000;
/// Samples of a series that is always there: two hours.
pub const SAMPLES: i64 = 480;

/// Numbers from a seed (xorshift64*).
pub struct Chance(u64);

impl Chance {
    /// The same seed, the same numbers.
    pub fn new(seed: u64) -> Chance {
        Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }

    /// One of a list.
    pub fn of<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.below(list.len() as u64) as usize]
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// The series that the grammar's selectors find.
pub fn series() -> Vec<Pushed> {
    let mut chance = Chance::new(7);
    let mut all = Vec::new();
    for job in ["api", "db"] {
        for instance in ["a:1", "b:1", "c:1"] {
            let base = [("job", job), ("instance", instance)];
            for code in ["200", "404", "500"] {
                let labels =
                    [&[("__name__", "requests_total"), ("code", code)], &base[..]].concat();
                all.push(made(&labels, counter(&mut chance, 40)));
            }
            let names = ["temperature", "queue_length"];
            for name in names {
                let labels = [&[("__name__", name)], &base[..]].concat();
                all.push(made(&labels, gauge(&mut chance)));
            }
            all.extend(buckets(&mut chance, &base));
            let labels = [&[("__name__", "build_info"), ("version", "1.2")], &base[..]].concat();
            all.push(made(&labels, grid().map(|ts_ms| (ts_ms, 1.0)).collect()));
        }
    }
    // Comes late, goes early, pauses, is sometimes no number.
    let some =
        |keep: fn(i64) -> bool| grid().filter(move |ts_ms| keep((ts_ms - START_MS) / STEP_MS));
    let mut odd = |name: &str, samples: Vec<(i64, f64)>| {
        all.push(made(&[("__name__", name), ("job", "api"), ("instance", "a:1")], samples));
    };
    odd("late", some(|at| at > 200).map(|ts_ms| (ts_ms, 3.0)).collect());
    odd("early", some(|at| at < 200).map(|ts_ms| (ts_ms, 4.0)).collect());
    odd("pausing", some(|at| at % 60 < 20).map(|ts_ms| (ts_ms, (ts_ms % 7) as f64)).collect());
    let stale = f64::from_bits(0x7ff0_0000_0000_0002);
    odd("ending", some(|at| at <= 240).map(|ts_ms| (ts_ms, 5.0)).collect());
    let last = all.last_mut().and_then(|one| one.samples.last_mut());
    if let Some(last) = last {
        last.1 = stale;
    }
    all.push(made(
        &[("__name__", "undefined"), ("job", "db")],
        grid()
            .map(|ts_ms| (ts_ms, if ts_ms / STEP_MS % 5 == 0 { f64::NAN } else { 2.0 }))
            .collect(),
    ));
    all
}

fn grid() -> impl Iterator<Item = i64> {
    (0..SAMPLES).map(|at| START_MS + at * STEP_MS)
}

fn made(labels: &[(&str, &str)], samples: Vec<(i64, f64)>) -> Pushed {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Pushed { labels: labels.collect(), samples }
}

/// A counter that starts high and is set back to another high value now and then.
pub fn counter(chance: &mut Chance, most: u64) -> Vec<(i64, f64)> {
    let mut value = 1e7;
    let step = |ts_ms| {
        value += chance.below(most) as f64;
        if chance.one_in(150) {
            value = 1e6;
        }
        (ts_ms, value)
    };
    grid().map(step).collect()
}

/// A value that wanders above zero.
pub fn gauge(chance: &mut Chance) -> Vec<(i64, f64)> {
    let mut value = 50.0;
    let step = |ts_ms| {
        value = (value + chance.below(2_001) as f64 / 1000.0 - 1.0).max(0.5);
        (ts_ms, value)
    };
    grid().map(step).collect()
}

/// The buckets, the sum and the count of a classic histogram.
fn buckets(chance: &mut Chance, base: &[(&str, &str)]) -> Vec<Pushed> {
    let bounds = ["0.1", "0.5", "1", "5", "+Inf"];
    let mut counts = [1e6, 2e6, 3e6, 4e6, 5e6];
    let mut rows: Vec<Vec<(i64, f64)>> = vec![Vec::new(); bounds.len() + 1];
    for ts_ms in grid() {
        let mut grown = 0.0;
        for (at, count) in counts.iter_mut().enumerate() {
            grown += chance.below(10) as f64;
            *count += grown;
            rows[at].push((ts_ms, *count));
        }
        rows[bounds.len()].push((ts_ms, counts[4] * 0.7));
    }
    let sum = rows.pop().unwrap_or_default();
    let mut all = vec![
        made(&[&[("__name__", "latency_seconds_sum")], base].concat(), sum),
        made(&[&[("__name__", "latency_seconds_count")], base].concat(), rows[4].clone()),
    ];
    for (bound, row) in bounds.iter().zip(rows) {
        let labels = [&[("__name__", "latency_seconds_bucket"), ("le", *bound)], base].concat();
        all.push(made(&labels, row));
    }
    all
}

/// A question.
pub fn query(chance: &mut Chance) -> String {
    match chance.below(12) {
        0 => scalar(chance, 2),
        1 => range(chance),
        _ => vector(chance, 3),
    }
}

/// Whether the order of its answer is the question's own.
pub fn is_ordered(query: &str) -> bool {
    // Groups come in any order.
    ["sort", "topk (", "bottomk ("].iter().any(|word| query.starts_with(word))
}

fn selector(chance: &mut Chance) -> String {
    let name = chance.of(&[
        "requests_total",
        "requests_total",
        "temperature",
        "temperature",
        "queue_length",
        "latency_seconds_bucket",
        "latency_seconds_count",
        "build_info",
        "late",
        "early",
        "pausing",
        "ending",
        "undefined",
        "nothing",
    ]);
    let mut matchers = Vec::new();
    if chance.one_in(2) {
        matchers.push(chance.of(&[
            "job=\"api\"",
            "job!=\"api\"",
            "job=~\"a.*\"",
            "job!~\"d.*\"",
            "job=\"\"",
            "job=~\"api|db\"",
        ]));
    }
    if chance.one_in(3) {
        matchers.push(chance.of(&[
            "instance=\"a:1\"",
            "instance=~\"[ab]:1\"",
            "instance!=\"c:1\"",
            "code=\"200\"",
            "code!=\"200\"",
            "code=~\"4..|5..\"",
            "le!=\"+Inf\"",
            "absent_label=\"\"",
        ]));
    }
    match matchers.is_empty() {
        true => name.to_owned(),
        false => format!("{name}{{{}}}", matchers.join(",")),
    }
}

/// `offset` and `@`.
fn times(chance: &mut Chance) -> String {
    let mut text = String::new();
    if chance.one_in(8) {
        text.push_str(chance.of(&[" offset 1m", " offset 10m", " offset -5m", " offset 1h"]));
    }
    if chance.one_in(12) {
        let at = START_MS / 1000 + 60 * chance.below(120).cast_signed();
        let _ = match chance.below(3) {
            0 => write!(text, " @ start()"),
            1 => write!(text, " @ end()"),
            _ => write!(text, " @ {at}"),
        };
    }
    text
}

/// A range vector: a selector or a subquery.
fn range(chance: &mut Chance) -> String {
    let length = chance.of(&["1m", "2m", "5m", "10m", "1h", "33s"]);
    if chance.one_in(5) {
        // No multiple of a step, and no step that the whole instants are multiples of.
        let length = chance.of(&["63s", "303s", "603s"]);
        let step = chance.of(&["10s", "30s", "60s"]);
        let inner = vector(chance, 1);
        return format!("({inner})[{length}:{step}]{}", times(chance));
    }
    format!("{}[{length}]{}", selector(chance), times(chance))
}

const OVER_TIME: [&str; 19] = [
    "rate",
    "increase",
    "delta",
    "irate",
    "idelta",
    "resets",
    "changes",
    "deriv",
    "avg_over_time",
    "min_over_time",
    "max_over_time",
    "sum_over_time",
    "count_over_time",
    "stddev_over_time",
    "stdvar_over_time",
    "last_over_time",
    "present_over_time",
    "absent_over_time",
    "rate",
];
/// Smooth: what is a hair apart before is a hair apart after.
const MAPS: [&str; 14] = [
    "abs",
    "exp",
    "ln",
    "log2",
    "log10",
    "sqrt",
    "sin",
    "cos",
    "tan",
    "asinh",
    "atan",
    "deg",
    "rad",
    "timestamp",
];
/// With steps, for plain samples only.
const STEPS: [&str; 4] = ["ceil", "floor", "round", "sgn"];
/// For instants only: Go leaves it to the processor what a number without one is.
const DATES: [&str; 7] =
    ["hour", "minute", "month", "year", "day_of_week", "day_of_month", "days_in_month"];

fn vector(chance: &mut Chance, depth: u32) -> String {
    if depth == 0 {
        return selector(chance) + &times(chance);
    }
    let depth = depth - 1;
    match chance.below(16) {
        0 | 1 => selector(chance) + &times(chance),
        2..=5 => over_time(chance),
        6 => match chance.below(5) {
            0 => format!("{}({})", chance.of(&STEPS), selector(chance)),
            1 => format!("{}(timestamp({}))", chance.of(&DATES), selector(chance)),
            _ => format!("{}({})", chance.of(&MAPS), vector(chance, depth)),
        },
        7..=9 => aggregate(chance, depth),
        10 | 11 => binary(chance, depth),
        12 => function(chance, depth),
        13 => format!("-{}", vector(chance, depth)),
        14 => format!("({})", vector(chance, depth)),
        _ => format!("vector({})", scalar(chance, depth)),
    }
}

fn over_time(chance: &mut Chance) -> String {
    match chance.below(10) {
        0 => {
            let q = chance.of(&["0", "0.5", "0.99", "1", "2", "-1"]);
            format!("quantile_over_time({q}, {})", range(chance))
        }
        1 => format!("predict_linear({}, {})", range(chance), chance.of(&["0", "60", "3600"])),
        _ => format!("{}({})", chance.of(&OVER_TIME), range(chance)),
    }
}

fn labels(chance: &mut Chance) -> &'static str {
    chance.of(&["", "job", "instance", "job, instance", "code", "le", "nosuch"])
}

fn aggregate(chance: &mut Chance, depth: u32) -> String {
    let grouping = match chance.below(3) {
        0 => String::new(),
        1 => format!(" by ({})", labels(chance)),
        _ => format!(" without ({})", labels(chance)),
    };
    let inner = vector(chance, depth);
    match chance.below(10) {
        0 => {
            let k = chance.of(&["1", "2", "100"]);
            let inner = over_time_distinct(chance);
            format!("{}{grouping} ({k}, {inner})", chance.of(&["topk", "bottomk"]))
        }
        1 => format!("quantile{grouping} ({}, {inner})", chance.of(&["0", "0.5", "0.9", "1", "2"])),
        // Labels that are values: nothing may be a hair apart.
        2 => format!("count_values{grouping} (\"v\", {})", selector(chance)),
        _ => {
            let op = chance.of(&["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"]);
            format!("{op}{grouping} ({inner})")
        }
    }
}

/// Values that no two series share: which of equals `topk` takes is nobody's business.
fn over_time_distinct(chance: &mut Chance) -> String {
    let f = chance.of(&["avg_over_time", "max_over_time", "sum_over_time"]);
    format!("{f}(temperature[{}])", chance.of(&["5m", "10m", "1h"]))
}

fn matching(chance: &mut Chance) -> String {
    match chance.below(7) {
        0 => format!(" on ({})", labels(chance)),
        1 => format!(" ignoring ({})", labels(chance)),
        2 => " on (job, instance) group_left ()".to_owned(),
        3 => " on (job, instance) group_right (version)".to_owned(),
        4 => " ignoring (code) group_left ()".to_owned(),
        _ => String::new(),
    }
}

fn binary(chance: &mut Chance, depth: u32) -> String {
    let (arithmetic, comparison, set) = (
        ["+", "-", "*", "/", "%", "^"],
        ["==", "!=", ">", "<", ">=", "<="],
        ["and", "or", "unless"],
    );
    match chance.below(9) {
        0 => {
            let sides = [vector(chance, depth), scalar(chance, depth)];
            let op = chance.of(&arithmetic);
            let (left, right) = if chance.one_in(2) { (0, 1) } else { (1, 0) };
            format!("{} {op} {}", sides[left], sides[right])
        }
        1 => {
            let bool = if chance.one_in(2) { " bool" } else { "" };
            let (left, right) = (vector(chance, depth), scalar(chance, depth));
            format!("{left} {}{bool} {right}", chance.of(&comparison))
        }
        2 => format!("{} % {}", selector(chance), chance.of(&["7", "-2.5", "temperature", "0"])),
        3 => {
            let on = match chance.below(3) {
                0 => format!(" on ({})", labels(chance)),
                1 => format!(" ignoring ({})", labels(chance)),
                _ => String::new(),
            };
            let (left, right) = (vector(chance, depth), vector(chance, depth));
            format!("{left} {}{on} {right}", chance.of(&set))
        }
        4 => {
            let bool = if chance.one_in(2) { " bool" } else { "" };
            let (left, right) = (vector(chance, depth), vector(chance, depth));
            let op = chance.of(&comparison);
            format!("{left} {op}{bool}{} {right}", matching(chance))
        }
        _ => {
            let (left, right) = (vector(chance, depth), vector(chance, depth));
            let op = chance.of(&arithmetic);
            format!("{left} {op}{} {right}", matching(chance))
        }
    }
}

fn function(chance: &mut Chance, depth: u32) -> String {
    match chance.below(9) {
        0 => format!(
            "clamp({}, {}, {})",
            vector(chance, depth),
            scalar(chance, 0),
            scalar(chance, 0)
        ),
        1 => format!("clamp_max({}, {})", vector(chance, depth), scalar(chance, 0)),
        2 => format!("clamp_min({}, {})", vector(chance, depth), scalar(chance, 0)),
        3 => format!("absent({})", vector(chance, depth)),
        4 => {
            let regex = chance.of(&["(.*):1", "a.*", "(", "(?P<x>.)(.*)"]);
            let to = chance.of(&["$1", "x", "", "$2-${x}"]);
            let target = chance.of(&["host", "job", "instance"]);
            let inner = vector(chance, depth);
            format!("label_replace({inner}, \"{target}\", \"{to}\", \"instance\", \"{regex}\")")
        }
        5 => {
            let inner = vector(chance, depth);
            format!("label_join({inner}, \"both\", \"-\", \"job\", \"instance\")")
        }
        6 => {
            let q = chance.of(&["0.5", "0.9", "0", "1", "-1", "2"]);
            let by = chance.of(&["le", "le, job", "le, job, instance"]);
            format!("histogram_quantile({q}, sum by ({by}) (rate(latency_seconds_bucket[5m])))")
        }
        7 => format!("{}({})", chance.of(&["sort", "sort_desc"]), over_time_distinct(chance)),
        _ => format!("round({}, {})", selector(chance), chance.of(&["0.1", "1", "5"])),
    }
}

fn scalar(chance: &mut Chance, depth: u32) -> String {
    if depth == 0 {
        return chance
            .of(&["0", "1", "2", "-1", "0.5", "1e3", "60", "NaN", "Inf", "-Inf"])
            .to_owned();
    }
    let depth = depth - 1;
    match chance.below(6) {
        0 => "time()".to_owned(),
        1 => format!("scalar({})", vector(chance, depth)),
        2 => {
            let (left, right) = (scalar(chance, depth), scalar(chance, depth));
            format!("({left} {} {right})", chance.of(&["+", "-", "*", "/", "^", "> bool"]))
        }
        3 => "pi()".to_owned(),
        _ => scalar(chance, 0),
    }
}
