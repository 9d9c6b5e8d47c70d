//! Native histograms as the scripts write them, and as a store would hand them out.

use super::{Item, almost_equal, number};
use std::collections::BTreeMap;
use vigie_model::histogram::{Counts, Histogram, ResetHint, Span};
use vigie_promql::FloatHistogram;

/// A histogram of a script, and whether the script says anything about resets.
#[derive(Clone, Debug)]
pub struct Native {
    pub histogram: Histogram,
    pub hint_given: bool,
}

/// Reads `{{…}}`, `{{…}}x3` and `{{…}}+{{…}}x3`.
pub fn items(word: &str) -> Vec<Item> {
    let end = word.find("}}").unwrap() + 2;
    let first = one(&word[..end]);
    let rest = &word[end..];
    if rest.is_empty() {
        return vec![item(first.histogram, first.hint_given)];
    }
    if let Some(times) = rest.strip_prefix('x') {
        let times = times.parse::<usize>().unwrap();
        return vec![item(first.histogram, first.hint_given); times + 1];
    }
    let (step, times) = rest[1..].rsplit_once('x').unwrap();
    let step = one(step);
    let more = FloatHistogram::from_stored(&step.histogram);
    let mut current = FloatHistogram::from_stored(&first.histogram);
    let mut found = vec![item(first.histogram, step.hint_given)];
    for _ in 0..times.parse::<usize>().unwrap() {
        let next = if rest.starts_with('+') { current.plus(&more) } else { current.minus(&more) };
        current = next.unwrap();
        found.push(item(current.to_stored(), step.hint_given));
    }
    found
}

fn item(histogram: Histogram, hint_given: bool) -> Item {
    Item::Histogram(Box::new(Native { histogram, hint_given }))
}

fn one(text: &str) -> Native {
    let inner = text.trim_start_matches("{{").trim_end_matches("}}");
    let mut fields: BTreeMap<&str, String> = BTreeMap::new();
    let mut key = "";
    for word in inner.split_whitespace() {
        match word.split_once(':') {
            Some((name, value)) => {
                key = name;
                fields.insert(name, value.to_owned());
            }
            None => {
                let list = fields.get_mut(key).unwrap();
                list.push(' ');
                list.push_str(word);
            }
        }
    }
    let float = |name: &str| {
        let text = fields.get(name).map_or("0", |text| text.as_str());
        number(text).unwrap_or_else(|| panic!("{name}:{text}"))
    };
    let list = |name: &str| -> Vec<f64> {
        let text = fields.get(name).map_or("", |text| text.as_str());
        text.trim_matches(['[', ']']).split_whitespace().map(|v| number(v).unwrap()).collect()
    };
    let spans = |buckets: &[f64], name: &str| match buckets.is_empty() {
        true => Vec::new(),
        false => vec![Span { offset: float(name) as i32, length: buckets.len() as u32 }],
    };
    let (positive, negative) = (list("buckets"), list("n_buckets"));
    let hint = fields.get("counter_reset_hint").map(String::as_str);
    let histogram = Histogram {
        reset_hint: match hint {
            Some("reset") => ResetHint::Reset,
            Some("not_reset") => ResetHint::NotReset,
            Some("gauge") => ResetHint::Gauge,
            _ => ResetHint::Unknown,
        },
        schema: float("schema") as i32,
        zero_threshold: float("z_bucket_w"),
        sum: match fields.get("sum").map(String::as_str) {
            Some("stale") => vigie_model::STALE_NAN,
            _ => float("sum"),
        },
        positive_spans: spans(&positive, "offset"),
        negative_spans: spans(&negative, "n_offset"),
        counts: Counts::Float {
            count: float("count"),
            zero_count: float("z_bucket"),
            positive,
            negative,
        },
        custom_values: list("custom_values"),
    };
    Native { histogram, hint_given: hint.is_some() }
}

fn floats(histogram: &Histogram) -> (f64, f64, &[f64], &[f64]) {
    match &histogram.counts {
        Counts::Float { count, zero_count, positive, negative } => {
            (*count, *zero_count, positive, negative)
        }
        Counts::Integer { .. } => panic!("the scripts have float counts"),
    }
}

/// The buckets that are not empty, by index.
fn buckets(spans: &[Span], counts: &[f64]) -> BTreeMap<i32, f64> {
    let (mut index, mut at, mut found) = (0, 0, BTreeMap::new());
    for span in spans {
        index += span.offset;
        for _ in 0..span.length {
            if counts[at] != 0.0 {
                found.insert(index, counts[at]);
            }
            (index, at) = (index + 1, at + 1);
        }
    }
    found
}

/// The sample with the hint that Prometheus' chunks would give it: inside a chunk there are no resets,
/// and of the first sample of a chunk nothing is known. A chunk ends at a reset or where the layout
/// changes (`tsdb/chunkenc/float_histogram.go`).
pub fn as_stored(before: Option<&Histogram>, mut histogram: Histogram) -> Histogram {
    if histogram.reset_hint != ResetHint::Gauge {
        let continues = before.is_some_and(|before| continues(before, &histogram));
        histogram.reset_hint = if continues { ResetHint::NotReset } else { ResetHint::Unknown };
    }
    histogram
}

fn continues(before: &Histogram, histogram: &Histogram) -> bool {
    if before.reset_hint == ResetHint::Gauge || histogram.reset_hint == ResetHint::Reset {
        return false;
    }
    if histogram.is_stale() || before.is_stale() {
        return histogram.is_stale();
    }
    let (old, new) = (floats(before), floats(histogram));
    let grown = |old: BTreeMap<i32, f64>, new: BTreeMap<i32, f64>| {
        old.iter().all(|(index, count)| new.get(index).is_some_and(|now| now >= count))
    };
    new.0 >= old.0
        && new.1 >= old.1
        && before.schema == histogram.schema
        && before.zero_threshold == histogram.zero_threshold
        && before.custom_values == histogram.custom_values
        && grown(buckets(&before.positive_spans, old.2), buckets(&histogram.positive_spans, new.2))
        && grown(buckets(&before.negative_spans, old.3), buckets(&histogram.negative_spans, new.3))
}

/// Equal up to a millionth, empty buckets apart; the hint counts when the script gives one.
pub fn same_histogram(wanted: &Native, got: &FloatHistogram) -> bool {
    let (wanted, hint_given, got) = (&wanted.histogram, wanted.hint_given, got.to_stored());
    let (left, right) = (floats(wanted), floats(&got));
    let same = |left: BTreeMap<i32, f64>, right: BTreeMap<i32, f64>| {
        left.len() == right.len()
            && left.iter().zip(&right).all(|(l, r)| l.0 == r.0 && almost_equal(*l.1, *r.1))
    };
    wanted.schema == got.schema
        && almost_equal(left.0, right.0)
        && almost_equal(wanted.sum, got.sum)
        && wanted.custom_values == got.custom_values
        && wanted.zero_threshold == got.zero_threshold
        && almost_equal(left.1, right.1)
        && same(buckets(&wanted.positive_spans, left.2), buckets(&got.positive_spans, right.2))
        && same(buckets(&wanted.negative_spans, left.3), buckets(&got.negative_spans, right.3))
        && (!hint_given || wanted.reset_hint == got.reset_hint)
}
