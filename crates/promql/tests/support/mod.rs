//! A store in memory and the notation of Prometheus' test scripts for what is in it.

#![allow(dead_code)]

use regex::Regex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use vigie_model::{
    ABSENT, Column, LabelLookup, Labels, MatchOp, Matcher, MetricGroup, ReadError, STALE_NAN,
    Selection, SeriesId, TimeRange,
};
use vigie_promql::Source;

/// One item of a series description.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Item {
    Missing,
    Value(f64),
    Histogram,
}

/// Series in memory. To try both shapes of group, every other series stands in one shared matrix.
#[derive(Default)]
pub struct Memory {
    series: Vec<(Labels, BTreeMap<i64, f64>)>,
    /// Series that hold native histograms, which cannot be stored here.
    native: Vec<Labels>,
    /// Whether a selection should have yielded one of them.
    pub native_missed: AtomicBool,
}

impl Memory {
    pub fn set(&mut self, labels: &Labels, ts_ms: i64, value: f64) {
        let at = match self.series.iter().position(|(known, _)| known == labels) {
            Some(at) => at,
            None => {
                self.series.push((labels.clone(), BTreeMap::new()));
                self.series.len() - 1
            }
        };
        self.series[at].1.insert(ts_ms, value);
    }

    /// Remembers that a native histogram belongs here.
    pub fn set_native(&mut self, labels: Labels) {
        self.native.push(labels);
    }

    /// Loads lines of `metric{…} 1 2 3`, one value per `step_ms` from 0.
    pub fn load(&mut self, step_ms: i64, lines: &str) {
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (labels, items) = description(line);
            if items.contains(&Item::Histogram) {
                self.set_native(labels.clone());
            }
            for (at, item) in items.iter().enumerate() {
                if let Item::Value(value) = item {
                    self.set(&labels, step_ms * at as i64, *value);
                }
            }
        }
    }
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
    columns: Vec<Vec<f64>>,
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
        out.extend_from_slice(&self.columns[column]);
        Ok(())
    }
}

impl Source for Memory {
    fn select(&self, matchers: &[Matcher], range: TimeRange) -> Result<Selection, ReadError> {
        let selected = |labels: &Labels| matchers.iter().all(|m| m.matches_labels(labels));
        if self.native.iter().any(selected) {
            self.native_missed.store(true, Ordering::Relaxed);
        }
        let lookup = Lookup(self.series.iter().map(|(labels, _)| labels.clone()).collect());
        let mut groups: Vec<Box<dyn MetricGroup>> = Vec::new();
        let mut shared: Vec<(SeriesId, BTreeMap<i64, f64>)> = Vec::new();
        for (at, (labels, samples)) in self.series.iter().enumerate() {
            if !selected(labels) {
                continue;
            }
            let id = SeriesId(at as u32);
            let inside = samples.iter().filter(|(ts_ms, _)| range.contains(**ts_ms));
            let inside: BTreeMap<i64, f64> = inside.map(|(ts, value)| (*ts, *value)).collect();
            if at % 2 == 0 {
                shared.push((id, inside));
            } else {
                let (times, values) = inside.into_iter().unzip();
                groups.push(Box::new(Column::new(id, times, values)));
            }
        }
        let mut times: Vec<i64> = shared.iter().flat_map(|(_, s)| s.keys().copied()).collect();
        times.sort();
        times.dedup();
        let column = |samples: &BTreeMap<i64, f64>| {
            times.iter().map(|ts_ms| samples.get(ts_ms).copied().unwrap_or(ABSENT)).collect()
        };
        let columns = shared.iter().map(|(_, samples)| column(samples)).collect();
        let ids = shared.iter().map(|(id, _)| *id).collect();
        groups.push(Box::new(Matrix { ids, timestamps_ms: times, columns }));
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
static HISTOGRAM: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\{\{[^}]*\}\}(?:[+-]\{\{[^}]*\}\})?(x[0-9]+)?").unwrap());

fn items(text: &str) -> Vec<Item> {
    let text = HISTOGRAM.replace_all(text, " histogram$1 ");
    let mut items = Vec::new();
    for word in text.split_whitespace() {
        let (head, times) = match word.split_once('x') {
            Some((head @ ("_" | "histogram"), times)) => (head, times.parse::<usize>().unwrap()),
            _ => (word, 0),
        };
        match head {
            "_" => items.extend(vec![Item::Missing; times.max(1)]),
            "histogram" => items.extend(vec![Item::Histogram; times + 1]),
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
