//! A store in memory and the notation of Prometheus' test scripts for what is in it.

#![allow(dead_code)]

mod native;

pub use native::{Native, same_histogram};

use regex::Regex;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use vigie_model::histogram::Histogram;
use vigie_model::{
    ABSENT, LabelLookup, Labels, MatchOp, Matcher, MetricGroup, ReadError, STALE_NAN, Selection,
    SeriesId, TimeRange,
};
use vigie_promql::Source;

/// One item of a series description.
#[derive(Clone, Debug)]
pub enum Item {
    Missing,
    Value(f64),
    Histogram(Box<Native>),
}

/// One stored sample.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    pub value: f64,
    pub histogram: Option<Arc<Histogram>>,
    pub start_ms: i64,
}

/// Series in memory. To try both shapes of group, every other series stands in one shared matrix.
#[derive(Default)]
pub struct Memory {
    series: Vec<(Labels, BTreeMap<i64, Stored>)>,
}

impl Memory {
    /// The samples of a series, which is made if it is not there.
    pub fn samples(&mut self, labels: &Labels) -> &mut BTreeMap<i64, Stored> {
        let at = match self.series.iter().position(|(known, _)| known == labels) {
            Some(at) => at,
            None => {
                self.series.push((labels.clone(), BTreeMap::new()));
                self.series.len() - 1
            }
        };
        &mut self.series[at].1
    }

    pub fn set(&mut self, labels: &Labels, ts_ms: i64, value: f64) {
        self.samples(labels).insert(ts_ms, Stored { value, ..Stored::default() });
    }

    /// Stores a native histogram and what a store would know about the reset before it.
    pub fn set_native(&mut self, labels: &Labels, ts_ms: i64, histogram: Histogram) {
        let samples = self.samples(labels);
        let before = samples.range(..ts_ms).next_back();
        let before = before.and_then(|(_, stored)| stored.histogram.as_deref());
        let histogram = Some(Arc::new(native::as_stored(before, histogram)));
        samples.insert(ts_ms, Stored { value: ABSENT, histogram, start_ms: 0 });
    }

    /// Loads lines of `metric{…} 1 2 3`, one value per `step_ms` from 0.
    pub fn load(&mut self, step_ms: i64, lines: &str) {
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (labels, items) = description(line);
            for (at, item) in items.into_iter().enumerate() {
                let ts_ms = step_ms * at as i64;
                match item {
                    Item::Missing => {}
                    Item::Value(value) => self.set(&labels, ts_ms, value),
                    Item::Histogram(native) => self.set_native(&labels, ts_ms, native.histogram),
                }
            }
        }
    }

    /// Loads a line of `metric{…}@st -1m _ -30s-1mx3`: when the counters of its samples began, as
    /// distances from the samples' own times.
    pub fn load_starts(&mut self, step_ms: i64, line: &str) {
        let (metric, rest) = line.split_once("@st").unwrap();
        let samples = self.samples(&labels(metric.trim()));
        let mut ts_ms = 0;
        for word in rest.split_whitespace() {
            let (first, step, times) = match STARTS.captures(word) {
                None => {
                    assert_eq!(word, "_", "{line}");
                    ts_ms += step_ms;
                    continue;
                }
                Some(found) => (
                    signed_ms(&found[1]),
                    found.get(2).map_or(0, |step| signed_ms(step.as_str())),
                    found.get(3).map_or(0, |times| times.as_str().parse::<i64>().unwrap()),
                ),
            };
            for time in 0..=times {
                if let Some(stored) = samples.get_mut(&ts_ms) {
                    stored.start_ms = ts_ms + first + time * step;
                }
                ts_ms += step_ms;
            }
        }
    }

    /// All series as loaded.
    pub fn all(&self) -> &[(Labels, BTreeMap<i64, Stored>)] {
        &self.series
    }
}

fn signed_ms(text: &str) -> i64 {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if text == "0" { 0 } else { sign * vigie_model::duration::parse_duration_ms(text).unwrap() }
}

struct Lookup(Vec<Labels>);

impl LabelLookup for Lookup {
    fn labels(&self, id: SeriesId) -> Labels {
        self.0[id.0 as usize].clone()
    }
}

struct Matrix {
    ids: Vec<SeriesId>,
    timestamps_ms: Vec<i64>,
    columns: Vec<Vec<Option<Stored>>>,
}

impl MetricGroup for Matrix {
    fn timestamps_ms(&self) -> &[i64] {
        &self.timestamps_ms
    }
    fn series(&self) -> &[SeriesId] {
        &self.ids
    }
    fn read(&self, column: usize, out: &mut Vec<f64>) -> Result<(), ReadError> {
        out.clear();
        let stored = self.columns[column].iter();
        out.extend(stored.map(|stored| stored.as_ref().map_or(ABSENT, |stored| stored.value)));
        Ok(())
    }
    fn may_have_histograms(&self, column: usize) -> bool {
        let stored = self.columns[column].iter().flatten();
        stored.into_iter().any(|stored| stored.histogram.is_some())
    }
    fn read_histograms(
        &self,
        column: usize,
        out: &mut Vec<(usize, Arc<Histogram>)>,
    ) -> Result<(), ReadError> {
        out.clear();
        for (row, stored) in self.columns[column].iter().enumerate() {
            let histogram = stored.as_ref().and_then(|stored| stored.histogram.as_ref());
            out.extend(histogram.map(|histogram| (row, Arc::clone(histogram))));
        }
        Ok(())
    }
    fn read_starts_ms(&self, column: usize, out: &mut Vec<i64>) -> Result<(), ReadError> {
        out.clear();
        let start = |stored: &Option<Stored>| stored.as_ref().map_or(0, |stored| stored.start_ms);
        if self.columns[column].iter().any(|stored| start(stored) != 0) {
            out.extend(self.columns[column].iter().map(start));
        }
        Ok(())
    }
}

fn matrix(series: Vec<(SeriesId, BTreeMap<i64, Stored>)>) -> Box<dyn MetricGroup> {
    let mut times: Vec<i64> = series.iter().flat_map(|(_, s)| s.keys().copied()).collect();
    times.sort();
    times.dedup();
    let column = |samples: &BTreeMap<i64, Stored>| {
        times.iter().map(|ts_ms| samples.get(ts_ms).cloned()).collect()
    };
    let columns = series.iter().map(|(_, samples)| column(samples)).collect();
    let ids = series.iter().map(|(id, _)| *id).collect();
    Box::new(Matrix { ids, timestamps_ms: times, columns })
}

impl Source for Memory {
    fn select(&self, matchers: &[Matcher], range: TimeRange) -> Result<Selection, ReadError> {
        let selected = |labels: &Labels| matchers.iter().all(|m| m.matches_labels(labels));
        let lookup = Lookup(self.series.iter().map(|(labels, _)| labels.clone()).collect());
        let mut groups: Vec<Box<dyn MetricGroup>> = Vec::new();
        let mut shared: Vec<(SeriesId, BTreeMap<i64, Stored>)> = Vec::new();
        for (at, (labels, samples)) in self.series.iter().enumerate() {
            if !selected(labels) {
                continue;
            }
            let id = SeriesId(at as u32);
            let inside = samples.iter().filter(|(ts_ms, _)| range.contains(**ts_ms));
            let inside = inside.map(|(ts_ms, stored)| (*ts_ms, stored.clone())).collect();
            if at % 2 == 0 {
                shared.push((id, inside));
            } else {
                groups.push(matrix(vec![(id, inside)]));
            }
        }
        groups.push(matrix(shared));
        Ok(Selection { groups, lookup: Arc::new(lookup) })
    }
}

/// Reads `metric{a="b"} 1 2+3x4 _ stale`.
pub fn description(line: &str) -> (Labels, Vec<Item>) {
    let split = metric_end(line);
    let (metric, values) = line.split_at(split);
    (labels(metric.trim()), items(values))
}

fn metric_end(line: &str) -> usize {
    let (mut quote, mut escaped, mut braces) = (None, false, 0);
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some('"' | '\''), '\\') => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => quote = Some(c),
            (None, '{') => braces += 1,
            (None, '}') => braces -= 1,
            (None, ' ' | '\t') if braces == 0 => return at,
            _ => {}
        }
    }
    line.len()
}

/// Reads `metric{a="b"}` as a label set.
pub fn labels(metric: &str) -> Labels {
    if metric.replace(' ', "") == "{}" {
        return Labels::default();
    }
    let matchers = vigie_promql::parse_selector(metric).unwrap_or_else(|e| panic!("{metric}: {e}"));
    assert!(matchers.iter().all(|matcher| matcher.op == MatchOp::Equal), "{metric}");
    Labels::from_pairs(matchers.into_iter().map(|matcher| (matcher.name, matcher.value)))
}

/// A number as the scripts write it.
pub fn number(text: &str) -> Option<f64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if let Some(hex) = digits.strip_prefix("0x") {
        return i64::from_str_radix(hex, 16).ok().map(|value| sign * value as f64);
    }
    digits.parse::<f64>().ok().map(|value| sign * value)
}

static SERIES: LazyLock<Regex> = LazyLock::new(|| {
    let number = r"(?:inf|nan|[0-9.]+(?:e[+-]?[0-9]+)?)";
    Regex::new(&format!(r"(?i)^([+-]?{number})([+-]{number})?x([0-9]+)$")).unwrap()
});
static STARTS: LazyLock<Regex> = LazyLock::new(|| {
    let length = "[+-]?(?:0|[0-9]+(?:ms|[smhdwy]))";
    Regex::new(&format!("^({length})([+-][0-9]+(?:ms|[smhdwy]))?(?:x([0-9]+))?$")).unwrap()
});

/// Words at spaces, histograms in braces left whole.
fn words(text: &str) -> Vec<&str> {
    let (mut words, mut start, mut depth) = (Vec::new(), None, 0);
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if c.is_whitespace() && depth == 0 {
            words.extend(start.take().map(|start| &text[start..at]));
        } else if start.is_none() {
            start = Some(at);
        }
    }
    words.extend(start.map(|start| &text[start..]));
    words
}

fn items(text: &str) -> Vec<Item> {
    let mut items = Vec::new();
    for word in words(text) {
        if word.starts_with("{{") {
            items.extend(native::items(word));
            continue;
        }
        if let Some(times) = word.strip_prefix("_x") {
            items.extend(vec![Item::Missing; times.parse::<usize>().unwrap().max(1)]);
            continue;
        }
        match word {
            "_" => items.push(Item::Missing),
            "stale" => items.push(Item::Value(STALE_NAN)),
            word => match SERIES.captures(word) {
                Some(found) => {
                    let mut value = number(&found[1]).unwrap();
                    let step = found.get(2).map_or(0.0, |step| number(step.as_str()).unwrap());
                    for _ in 0..=found[3].parse::<usize>().unwrap() {
                        items.push(Item::Value(value));
                        value += step;
                    }
                }
                None => {
                    let value = number(word).unwrap_or_else(|| panic!("value {word:?}"));
                    items.push(Item::Value(value));
                }
            },
        }
    }
    items
}

/// Equal up to a millionth of the sum of both; all NaN are equal.
pub fn almost_equal(left: f64, right: f64) -> bool {
    if left == right || (left.is_nan() && right.is_nan()) {
        return true;
    }
    let (sum, difference) = (left.abs() + right.abs(), (left - right).abs());
    if left == 0.0 || right == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < 1e-6 * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < 1e-6
}
