//! Valid questions to the evaluator: a grammar makes one from the input, and a small store is asked.
//!
//! Whatever the store says of itself (nothing; which columns have no gaps, and label sets in parts;
//! that there may be native histograms everywhere, which takes the evaluation of one series at a
//! time), the answer is the same to the last bit, or the same error. What the printer makes of the
//! question is asked, too.

use super::seeds;
use crate::Target;
use std::sync::{Arc, LazyLock};
use vigie_model::{
    ABSENT, Histogram, LabelLookup, Labels, Matcher, MetricGroup, ReadError, Selection, SeriesId,
    TimeRange, is_absent, is_stale,
};
use vigie_promql::{Expr, Options, Source, Value};
use vigie_scenarios::queries::{self, Chance, START_MS, STEP_MS};

/// Samples of a series: what the grammar asks about in the first ten minutes.
const SAMPLES: i64 = 40;
/// Most steps of a question.
const STEPS_MAX: u64 = 12;

pub(super) fn targets() -> Vec<Target> {
    vec![Target { name: "promql_questions", run: questions, seeds: some }]
}

fn some() -> Vec<Vec<u8>> {
    seeds(&["a question", "another", "\0", "0123456789abcdef"])
}

/// What a store says of itself.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Plain,
    Hinted,
    Single,
}

/// The bits of every point, by the labels of its series; or an error.
type Bits = Result<Vec<(String, Vec<(i64, u64)>)>, String>;

fn questions(data: &[u8]) {
    // FNV-1a: every change of the input is another question.
    let hash = data.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut chance = Chance::new(hash);
    let text = queries::query(&mut chance);
    // A few mix scalars and vectors as nobody may.
    let Ok(expr) = vigie_promql::parse(&text) else { return };
    let step_ms = [1_000, 7_000, 15_000, 60_000][chance.below(4) as usize];
    let start_ms = START_MS - 60_000 + chance.below(600_000).cast_signed();
    let when = (start_ms, step_ms, chance.below(STEPS_MAX).cast_signed());
    let plain = ask(Way::Plain, &expr, when);
    for way in [Way::Hinted, Way::Single] {
        let other = ask(way, &expr, when);
        assert!(plain == other, "{text} at {when:?}, {way:?}:\n{plain:?}\n{other:?}");
    }
    let printed = expr.to_string();
    let again = vigie_promql::parse(&printed);
    let again = again.unwrap_or_else(|error| panic!("{printed} does not parse again: {error}"));
    // Upstream prints Inf with a sign, which before a power is read as one of its own.
    if !printed.contains("+Inf ^") {
        assert_eq!(again.to_string(), printed, "the printed form is stable");
    }
    let (again, errs) = (ask(Way::Plain, &again, when), plain.is_err());
    // An error may name a place in the text.
    let same = if errs { again.is_err() } else { plain == again };
    assert!(same, "{text}, printed {printed}, at {when:?}:\n{plain:?}\n{again:?}");
}

fn ask(way: Way, expr: &Expr, (start_ms, step_ms, steps): (i64, i64, i64)) -> Bits {
    let source = Asked(way);
    let options = Options { samples_max: 500_000, ..Options::default() };
    let value = if steps == 0 {
        vigie_promql::instant(&source, expr, start_ms, &options)
    } else {
        let end_ms = start_ms + steps * step_ms;
        vigie_promql::range(&source, expr, start_ms, end_ms, step_ms, &options)
    };
    let value = value.map_err(|error| error.to_string())?.value;
    Ok(match value {
        Value::Scalar { ts_ms, value } => vec![(String::new(), vec![(ts_ms, value.to_bits())])],
        Value::String { ts_ms, value } => vec![(value, vec![(ts_ms, 0)])],
        Value::Vector(samples) => samples
            .into_iter()
            .map(|one| (one.labels.to_string(), vec![(one.ts_ms, one.value.to_bits())]))
            .collect(),
        Value::Matrix(series) => series
            .into_iter()
            .map(|one| {
                let points = one.points.iter().map(|(ts_ms, value)| (*ts_ms, value.to_bits()));
                (one.labels.to_string(), points.collect())
            })
            .collect(),
    })
}

/// One column.
struct Stored {
    labels: Labels,
    values: Vec<f64>,
}

/// The grammar's series on their common grid.
static STORED: LazyLock<Vec<Stored>> = LazyLock::new(|| {
    let stored = queries::series().into_iter().map(|pushed| {
        let mut values = vec![ABSENT; SAMPLES as usize];
        for (ts_ms, value) in &pushed.samples {
            if let Some(cell) = values.get_mut(((ts_ms - START_MS) / STEP_MS) as usize) {
                *cell = *value;
            }
        }
        Stored { labels: Labels::from_pairs(pushed.labels), values }
    });
    stored.collect()
});

struct Asked(Way);

impl Source for Asked {
    fn select(&self, matchers: &[Matcher], range: TimeRange) -> Result<Selection, ReadError> {
        let grid = (0..SAMPLES).map(|at| START_MS + at * STEP_MS);
        let timestamps_ms: Vec<i64> = grid.filter(|ts_ms| range.contains(*ts_ms)).collect();
        let first = timestamps_ms.first().map_or(0, |first| (first - START_MS) / STEP_MS) as usize;
        let mut groups: Vec<Box<dyn MetricGroup>> = Vec::new();
        // A group for each instance and one for all that have none, as scrapes would leave them.
        for instance in ["a:1", "b:1", "c:1", ""] {
            let ids = STORED.iter().enumerate().filter(|(_, stored)| {
                stored.labels.value_or_empty("instance") == instance
                    && matchers.iter().all(|matcher| matcher.matches_labels(&stored.labels))
            });
            groups.push(Box::new(Group {
                ids: ids.map(|(at, _)| SeriesId(at as u32)).collect(),
                timestamps_ms: timestamps_ms.clone(),
                first,
                way: self.0,
            }));
        }
        Ok(Selection { groups, lookup: Arc::new(Asked(self.0)) })
    }
}

impl LabelLookup for Asked {
    fn labels(&self, id: SeriesId) -> Labels {
        STORED[id.0 as usize].labels.clone()
    }
    fn parts(&self, id: SeriesId) -> Option<[u32; 2]> {
        // A part goes by the number of the first series that has it.
        let of = |place| {
            let part = self.part(place, id.0);
            (0..=id.0).find(|other| self.part(place, *other) == part)
        };
        (self.0 == Way::Hinted).then(|| [0, 1].map(|place| of(place).unwrap_or(id.0)))
    }
    fn part(&self, place: usize, number: u32) -> Labels {
        let labels = &STORED[number as usize].labels;
        labels.filter(|name| ["job", "instance"].contains(&name) == (place == 1))
    }
}

struct Group {
    ids: Vec<SeriesId>,
    timestamps_ms: Vec<i64>,
    /// The first row in the range.
    first: usize,
    way: Way,
}

impl Group {
    fn values(&self, column: usize) -> &[f64] {
        let stored = &STORED[self.ids[column].0 as usize];
        &stored.values[self.first..][..self.timestamps_ms.len()]
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
        out.extend_from_slice(self.values(column));
        Ok(())
    }
    fn is_plain(&self, column: usize) -> bool {
        let gap = |value: &f64| is_absent(*value) || is_stale(*value);
        self.way == Way::Hinted && !self.values(column).iter().any(gap)
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
