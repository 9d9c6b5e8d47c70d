//! Functions over the series of an instant.

use super::metric::Series;
use super::window::{extreme, mean, variance};
use crate::ast::{Grouping, VectorAggregation};
use crate::pipeline::labels::LabelSet;
use std::collections::HashMap;

/// The labels that a group of series has in common.
fn group_labels(labels: &LabelSet, grouping: Option<&Grouping>) -> LabelSet {
    match grouping {
        None => LabelSet::default(),
        Some(Grouping { labels: names, without: true }) => {
            labels.filter(|name| !names.iter().any(|have| have == name))
        }
        Some(Grouping { labels: names, without: false }) => {
            labels.filter(|name| names.iter().any(|have| have == name))
        }
    }
}

/// Aggregates series over their groups, step by step.
pub(super) fn aggregate(vector: &VectorAggregation, series: Vec<Series>) -> Vec<Series> {
    if vector.op.starts_with("sort") {
        return sorted(series, vector.op == "sort_desc");
    }
    let mut order: Vec<LabelSet> = Vec::new();
    let mut groups: HashMap<LabelSet, Vec<usize>> = HashMap::new();
    for (at, one) in series.iter().enumerate() {
        let key = group_labels(&one.labels, vector.grouping.as_ref());
        let members = groups.entry(key.clone()).or_default();
        if members.is_empty() {
            order.push(key);
        }
        members.push(at);
    }
    if vector.op.ends_with('k') {
        return ranked(vector, series, groups.into_values());
    }
    order
        .into_iter()
        .map(|labels| {
            let members = &groups[&labels];
            let steps = series.first().map_or(0, |one| one.points.len());
            let points = (0..steps)
                .map(|step| {
                    let present = members.iter().filter_map(|at| series[*at].points[step]);
                    fold(vector.op, present.collect())
                })
                .collect();
            Series { labels, points }
        })
        .collect()
}

fn fold(op: &str, values: Vec<f64>) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let count = values.len() as f64;
    let values = values.into_iter();
    Some(match op {
        "sum" => values.sum(),
        "avg" => mean(values),
        "max" => extreme(values, |new, best| new > best),
        "min" => extreme(values, |new, best| new < best),
        "count" => count,
        "stdvar" => variance(values),
        "stddev" => variance(values).sqrt(),
        _ => unreachable!("the parser knows no other vector aggregation: {op}"),
    })
}

/// Orders by the first step's value; NaN comes last.
fn sorted(mut series: Vec<Series>, descending: bool) -> Vec<Series> {
    let value = |one: &Series| one.points.first().copied().flatten().unwrap_or(f64::NAN);
    series.sort_by(|left, right| {
        let (left, right) = (value(left), value(right));
        match (left.is_nan(), right.is_nan()) {
            (false, false) if descending => right.total_cmp(&left),
            (false, false) => left.total_cmp(&right),
            (left, right) => left.cmp(&right),
        }
    });
    series
}

/// `topk` and `bottomk`: at each step the best of each group keep their value.
fn ranked(
    vector: &VectorAggregation,
    mut series: Vec<Series>,
    groups: impl Iterator<Item = Vec<usize>>,
) -> Vec<Series> {
    // The approximation is for clusters; one machine gives the exact answer.
    let top = vector.op != "bottomk";
    for members in groups {
        let steps = series.first().map_or(0, |one| one.points.len());
        for step in 0..steps {
            let mut present: Vec<(f64, usize)> =
                members.iter().filter_map(|at| Some((series[*at].points[step]?, *at))).collect();
            present.sort_by(|(left, _), (right, _)| match (left.is_nan(), right.is_nan()) {
                (false, false) if top => right.total_cmp(left),
                (false, false) => left.total_cmp(right),
                (left, right) => left.cmp(&right),
            });
            for (_, at) in present.iter().skip(vector.parameter) {
                series[*at].points[step] = None;
            }
        }
    }
    series
}
