//! Columns read whole and in morsels answer what one series at a time answers, bit for bit.
//!
//! The same store is asked three times: as it is; as one that knows which columns have no gaps and
//! keeps label sets in parts; and as one that says of every column that it may hold histograms,
//! which takes the other way. A join is asked with a native histogram beside it, too, which has no
//! partner and sends the join the general way. Data and queries are random, from a seed that a
//! failure prints; groups are wide enough that helpers are woken.

#![allow(clippy::unwrap_used, reason = "a panic is the failure report of a test")]

use std::sync::Arc;
use vigie_model::histogram::{Counts, ResetHint, Span};
use vigie_model::{
    ABSENT, Histogram, LabelLookup, Labels, Matcher, MetricGroup, ReadError, STALE_NAN, Selection,
    SeriesId, TimeRange, is_absent, is_stale,
};
use vigie_promql::{Answer, Options, Source, Value, parse, range};

/// Data sets; each is asked every query of [`QUERIES`] in two ranges. `VIGIE_SOAK` has more of them.
fn seeds() -> u64 {
    if std::env::var_os("VIGIE_SOAK").is_some() { 200 } else { 3 }
}

const QUERIES: &[&str] = &[
    "a",
    "{__name__=~\"a|b\"}",
    "a offset 37s",
    "a @ 400",
    "timestamp(a)",
    "sum(a)",
    "avg by(mode)(a)",
    "stddev without(i)(a)",
    "count by(mode)({__name__=~\"a|b\"})",
    "max by(mode)(a)",
    "min(a)",
    "group(a)",
    "topk(3, a)",
    "quantile(0.7, a)",
    "count_values(\"v\", b)",
    "a / on(i, mode) b",
    "sum by(i)(a) > on(i) sum by(i)(b)",
    "sum(rate(a[2m]))",
    "sum by(mode)(increase(a[70s] offset 11s))",
    "rate({__name__=~\"a|b\"}[45s])",
    "delta(b[3m])",
    "irate(a[1m])",
    "idelta(b[1m])",
    "changes(b[2m])",
    "resets(b[2m])",
    "count_over_time(a[90s])",
    "present_over_time(a[20s])",
    "absent_over_time(a[20s])",
    "last_over_time(a[50s])",
    "first_over_time(a[50s])",
    "max_over_time(b[2m])",
    "min_over_time(b[200s] @ 500)",
    "sum_over_time(b[2m])",
    "avg_over_time(b[2m] @ end())",
    "stdvar_over_time(b[2m])",
    "quantile_over_time(0.3, b[2m])",
    "predict_linear(b[2m], 60)",
    "deriv(b[2m])",
    "max_over_time(rate(a[1m])[2m:17s])",
    "count({__name__=~\"a|b\"})",
    "count without(i)(a)",
    "group by(mode)(b offset 20s)",
    "absent(a{i=\"3\"})",
    "absent({mode=\"2\"})",
    "count(present_over_time({__name__=~\"a|b\"}[20s]))",
    "sum by(mode, i)(count_over_time(b[30s]))",
    "sum without(mode)(-a)",
    "quantile by(mode)(0.5, a)",
    "topk by(mode)(2, b)",
    "a and on(i, mode) b > 100",
    "a unless ignoring(mode) b",
    "sum(a) or sum by(mode)(b)",
];

/// Joins of every kind; what is made of them depends on the order of their results.
const JOINS: &[&str] = &[
    "a / on(i, mode) b",
    "sum by(mode)(a - on(i, mode) b)",
    "a > on(i, mode) b",
    "a <= bool on(i, mode) b",
    "a ^ ignoring(i, mode) group_left sum(b{i!=\"stranger\"})",
    "sum by(mode)(a) * on(mode) group_right a",
    "a / on(mode) group_left(none) sum by(mode)(b)",
    "a / on(mode) group_left b",
    "a + on(mode) b",
    "a == ignoring(mode) a",
    "sum(a atan2 a)",
    "-a % a",
];

/// A generator that needs nothing (xorshift64*).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11
    }

    fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    /// A value with something to get wrong.
    fn value(&mut self, before: f64) -> f64 {
        match self.below(40) {
            0 => ABSENT,
            1 => STALE_NAN,
            2 => f64::NAN,
            3 => f64::INFINITY,
            4 => -0.0,
            5 => 0.0,
            6 => -1e-300,
            7 => before / 3.0,
            8..=20 => before,
            _ if before.is_finite() => before + self.below(1000) as f64 / 7.0,
            _ => self.below(1 << 40) as f64 * 0.1,
        }
    }
}

struct Group {
    timestamps_ms: Vec<i64>,
    ids: Vec<SeriesId>,
    columns: Vec<Vec<f64>>,
    way: Way,
}

/// What a store says of itself.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Plain,
    /// Which columns have no gaps; label sets in parts.
    Hinted,
    /// That there may be histograms everywhere.
    Single,
}

/// A native histogram that no other series has to do with.
struct Stranger {
    ts_ms: i64,
    id: SeriesId,
}

impl MetricGroup for Stranger {
    fn timestamps_ms(&self) -> &[i64] {
        std::slice::from_ref(&self.ts_ms)
    }
    fn series(&self) -> &[SeriesId] {
        std::slice::from_ref(&self.id)
    }
    fn read(&self, _column: usize, out: &mut Vec<f64>) -> Result<(), ReadError> {
        out.clear();
        out.push(ABSENT);
        Ok(())
    }
    fn may_have_histograms(&self, _column: usize) -> bool {
        true
    }
    fn read_histograms(
        &self,
        _column: usize,
        out: &mut Vec<(usize, Arc<Histogram>)>,
    ) -> Result<(), ReadError> {
        out.clear();
        out.push((
            0,
            Arc::new(Histogram {
                reset_hint: ResetHint::Unknown,
                schema: 0,
                zero_threshold: 0.001,
                sum: 1.0,
                counts: Counts::Float {
                    count: 1.0,
                    zero_count: 0.0,
                    positive: vec![1.0],
                    negative: Vec::new(),
                },
                positive_spans: vec![Span { offset: 0, length: 1 }],
                negative_spans: Vec::new(),
                custom_values: Vec::new(),
            }),
        ));
        Ok(())
    }
}

impl MetricGroup for Group {
    fn timestamps_ms(&self) -> &[i64] {
        &self.timestamps_ms
    }
    fn series(&self) -> &[SeriesId] {
        &self.ids
    }
    fn read(&self, column: usize, out: &mut Vec<f64>) -> Result<(), ReadError> {
        out.clear();
        out.extend_from_slice(&self.columns[column]);
        Ok(())
    }
    fn is_plain(&self, column: usize) -> bool {
        let values = &self.columns[column];
        self.way == Way::Hinted && !values.iter().any(|v| is_absent(*v) || is_stale(*v))
    }
    fn may_have_histograms(&self, _column: usize) -> bool {
        self.way == Way::Single
    }
    fn read_histograms(
        &self,
        _column: usize,
        out: &mut Vec<(usize, Arc<Histogram>)>,
    ) -> Result<(), ReadError> {
        out.clear();
        Ok(())
    }
}

/// Timestamps, and per column the series and its values.
type Stored = (Vec<i64>, Vec<(u32, Vec<f64>)>);
/// Series with instants and bits, warnings, infos.
type Bits = (Vec<(String, Vec<(i64, u64)>)>, Vec<String>, Vec<String>);

struct Store {
    labels: Vec<Labels>,
    groups: Vec<Stored>,
    way: Way,
    /// Whether there is a [`Stranger`] of each name.
    has_strangers: bool,
}

struct Lookup(Vec<Labels>, Way);

impl LabelLookup for Lookup {
    fn labels(&self, id: SeriesId) -> Labels {
        self.0[id.0 as usize].clone()
    }
    /// `i` is the target's label, and the numbers of parts are those of a series that has them.
    fn parts(&self, id: SeriesId) -> Option<[u32; 2]> {
        (self.1 == Way::Hinted).then_some([id.0 % 14, id.0])
    }
    fn part(&self, place: usize, number: u32) -> Labels {
        self.0[number as usize].filter(|name| (name == "i") == (place == 1))
    }
}

impl Store {
    fn new(dice: &mut Dice) -> Store {
        let mut store =
            Store { labels: Vec::new(), groups: Vec::new(), way: Way::Plain, has_strangers: false };
        for _ in 0..2 + dice.below(4) {
            let mut at_ms = dice.below(30_000) as i64;
            let timestamps_ms: Vec<i64> = (0..40 + dice.below(40))
                .map(|_| {
                    at_ms += if dice.below(9) == 0 { 100_000 } else { 14_000 }
                        + dice.below(2_000) as i64;
                    at_ms
                })
                .collect();
            let broken = dice.below(3);
            let mut columns = Vec::new();
            for _ in 0..1 + dice.below(500) {
                let id = store.labels.len() as u32;
                let name = if id.is_multiple_of(2) { "a" } else { "b" };
                store.labels.push(Labels::from_pairs([
                    ("__name__", name.to_owned()),
                    ("i", (id / 2).to_string()),
                    ("mode", (id / 2 % 7).to_string()),
                ]));
                let mut value = dice.below(1_000_000) as f64 / 9.0;
                let values = timestamps_ms.iter().map(|_| {
                    let next = if broken == 0 || dice.below(4) < broken {
                        value + dice.below(1000) as f64 / 7.0
                    } else {
                        dice.value(value)
                    };
                    value = if next.is_nan() { value } else { next };
                    next
                });
                columns.push((id, values.collect()));
            }
            store.groups.push((timestamps_ms, columns));
        }
        store
    }
}

impl Source for Store {
    fn select(&self, matchers: &[Matcher], range: TimeRange) -> Result<Selection, ReadError> {
        let mut groups: Vec<Box<dyn MetricGroup>> = Vec::new();
        for (times, columns) in &self.groups {
            let from = times.partition_point(|ts_ms| *ts_ms < range.start_ms);
            let to = times.partition_point(|ts_ms| *ts_ms <= range.end_ms).max(from);
            let of = |id: &u32| &self.labels[*id as usize];
            let selected: Vec<&(u32, Vec<f64>)> = columns
                .iter()
                .filter(|(id, _)| matchers.iter().all(|matcher| matcher.matches_labels(of(id))))
                .collect();
            groups.push(Box::new(Group {
                timestamps_ms: times[from..to].to_vec(),
                ids: selected.iter().map(|(id, _)| SeriesId(*id)).collect(),
                columns: selected.iter().map(|(_, values)| values[from..to].to_vec()).collect(),
                way: self.way,
            }));
        }
        let mut labels = self.labels.clone();
        for name in ["a", "b"].into_iter().filter(|_| self.has_strangers) {
            let id = SeriesId(labels.len() as u32);
            labels.push(Labels::from_pairs([
                ("__name__", name),
                ("i", "stranger"),
                ("mode", if name == "a" { "here" } else { "there" }),
            ]));
            if matchers.iter().all(|matcher| matcher.matches_labels(&labels[id.0 as usize])) {
                groups.push(Box::new(Stranger { ts_ms: range.start_ms, id }));
            }
        }
        Ok(Selection { groups, lookup: Arc::new(Lookup(labels, self.way)) })
    }
}

/// The answer with every value as its bits.
fn bits(answer: Answer) -> Bits {
    let Value::Matrix(series) = answer.value else { panic!("a matrix") };
    let series = series.into_iter().map(|series| {
        let points = series.points.iter().map(|(ts_ms, value)| (*ts_ms, value.to_bits()));
        (format!("{}", series.labels), points.collect())
    });
    (series.collect(), answer.warnings, answer.infos)
}

/// What a query answers, or the text of its error.
fn ask(
    store: &Store,
    query: &str,
    (start_ms, step_ms, count): (i64, i64, i64),
) -> Result<Bits, String> {
    let (expr, options) = (parse(query).unwrap(), Options::default());
    let answer = range(store, &expr, start_ms, start_ms + step_ms * count, step_ms, &options);
    answer.map(bits).map_err(|error| error.to_string())
}

#[test]
fn whole_columns_answer_what_single_series_answer() {
    let mut compared = 0;
    for seed in 1..=seeds() {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut store = Store::new(&mut dice);
        for query in QUERIES.iter().chain(JOINS) {
            for (step_ms, count) in [(7_000, 90), (31_000, 3 + dice.below(30) as i64)] {
                let when = (dice.below(400_000) as i64, step_ms, count);
                let mut ask = |way| {
                    store.way = way;
                    ask(&store, query, when)
                };
                let (scanned, hinted) = (ask(Way::Plain), ask(Way::Hinted));
                assert!(scanned == hinted, "seed {seed}: {query} at {when:?}: hints");
                assert!(scanned == ask(Way::Single), "seed {seed}: {query} at {when:?}");
                compared += 1;
            }
        }
    }
    println!("{compared} random queries: the same bits");
}

#[test]
fn joins_of_rows_answer_what_joins_of_steps_answer() {
    let (mut compared, mut refused) = (0, 0);
    for seed in 1..=seeds() {
        let mut dice = Dice(seed.wrapping_mul(0xD1B5_4A32_D192_ED03));
        let mut store = Store::new(&mut dice);
        for query in JOINS {
            let when = (dice.below(400_000) as i64, 9_000, 20 + dice.below(30) as i64);
            let mut ask = |has_strangers| {
                store.has_strangers = has_strangers;
                ask(&store, query, when)
            };
            let (rows, mut steps) = (ask(false), ask(true));
            if let Ok((series, _, infos)) = &mut steps {
                // What only the stranger leaves, and what is told of it.
                series
                    .retain(|(labels, points)| !labels.contains("stranger") && !points.is_empty());
                infos.clear();
            }
            refused += u32::from(rows.is_err());
            assert!(rows == steps, "seed {seed}: {query} at {when:?}\n{rows:?}\n{steps:?}");
            compared += 1;
        }
    }
    assert!(refused > 0 && refused < compared / 2, "{refused} of {compared} are errors");
    println!("{compared} random joins: the same bits, or the same {refused} errors");
}
