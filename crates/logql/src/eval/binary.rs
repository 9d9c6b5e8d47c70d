//! Binary operations between numbers and series.

use super::EvalError;
use super::metric::{Evaluated, Series};
use crate::ast::{Binary, Cardinality, VectorMatching};
use crate::pipeline::labels::LabelSet;
use std::collections::HashMap;

/// An operation on two numbers; comparisons give 1 or 0.
pub(crate) fn fold(op: &str, left: f64, right: f64) -> f64 {
    let truth = |holds: bool| if holds { 1.0 } else { 0.0 };
    match op {
        "+" => left + right,
        "-" => left - right,
        "*" => left * right,
        "/" if right == 0.0 => f64::NAN,
        "/" => left / right,
        "%" if right == 0.0 => f64::NAN,
        "%" => left % right,
        "^" => left.powf(right),
        "==" => truth(left == right),
        "!=" => truth(left != right),
        ">" => truth(left > right),
        ">=" => truth(left >= right),
        "<" => truth(left < right),
        "<=" => truth(left <= right),
        _ => unreachable!("set operations do not reach numbers: {op}"),
    }
}

fn is_comparison(op: &str) -> bool {
    matches!(op, "==" | "!=" | ">" | ">=" | "<" | "<=")
}

/// The operation on two samples; `None` where a comparison filters. `kept` is the value that stays.
fn apply(binary: &Binary, left: f64, right: f64, kept: f64) -> Option<f64> {
    let value = fold(binary.op, left, right);
    if is_comparison(binary.op) && !binary.return_bool {
        return (value == 1.0).then_some(kept);
    }
    Some(value)
}

/// Evaluates an operation whose sides are known.
pub(super) fn evaluate(
    binary: &Binary,
    left: Evaluated,
    right: Evaluated,
) -> Result<Evaluated, EvalError> {
    match (left, right) {
        (Evaluated::Scalar(left), Evaluated::Scalar(right)) => {
            Ok(Evaluated::Scalar(fold(binary.op, left, right)))
        }
        (Evaluated::Series(series), Evaluated::Scalar(right)) => {
            Ok(Evaluated::Series(each(series, |value| apply(binary, value, right, value))))
        }
        (Evaluated::Scalar(left), Evaluated::Series(series)) => {
            Ok(Evaluated::Series(each(series, |value| apply(binary, left, value, value))))
        }
        (Evaluated::Series(left), Evaluated::Series(right)) => {
            let paired = match binary.op {
                "and" | "unless" | "or" => Ok(sets(binary, left, right)),
                _ => pairs(binary, left, right),
            };
            Ok(Evaluated::Series(paired?))
        }
    }
}

fn each(mut series: Vec<Series>, f: impl Fn(f64) -> Option<f64>) -> Vec<Series> {
    for one in &mut series {
        for point in &mut one.points {
            *point = point.and_then(&f);
        }
    }
    series
}

/// What two series must have in common to be paired.
fn signature(matching: &VectorMatching, labels: &LabelSet) -> LabelSet {
    let named = |name: &str| matching.labels.iter().any(|label| label == name);
    labels.filter(|name| named(name) == matching.on)
}

fn sets(binary: &Binary, left: Vec<Series>, right: Vec<Series>) -> Vec<Series> {
    // A series is hidden at a step if the other side has its signature there.
    let presence = |series: &[Series]| {
        let mut map: HashMap<LabelSet, Vec<bool>> = HashMap::new();
        for one in series {
            let present = map
                .entry(signature(&binary.matching, &one.labels))
                .or_insert_with(|| vec![false; one.points.len()]);
            for (slot, point) in present.iter_mut().zip(&one.points) {
                *slot |= point.is_some();
            }
        }
        map
    };
    let keep = |mut series: Vec<Series>, other: &HashMap<LabelSet, Vec<bool>>, when: bool| {
        for one in &mut series {
            let present = other.get(&signature(&binary.matching, &one.labels));
            for (step, point) in one.points.iter_mut().enumerate() {
                if present.is_some_and(|present| present[step]) != when {
                    *point = None;
                }
            }
        }
        series
    };
    match binary.op {
        "and" => keep(left, &presence(&right), true),
        "unless" => keep(left, &presence(&right), false),
        _ => {
            let hidden = presence(&left);
            let mut all = left;
            let places = all.iter().enumerate().map(|(at, one)| (one.labels.clone(), at));
            let mut places: HashMap<LabelSet, usize> = places.collect();
            for extra in keep(right, &hidden, false) {
                match places.get(&extra.labels) {
                    Some(at) => {
                        for (slot, point) in all[*at].points.iter_mut().zip(extra.points) {
                            *slot = slot.or(point);
                        }
                    }
                    None => {
                        places.insert(extra.labels.clone(), all.len());
                        all.push(extra);
                    }
                }
            }
            all
        }
    }
}

fn pairs(binary: &Binary, left: Vec<Series>, right: Vec<Series>) -> Result<Vec<Series>, EvalError> {
    let matching = &binary.matching;
    let swapped = matching.cardinality == Cardinality::OneToMany;
    let (many, one) = if swapped { (right, left) } else { (left, right) };
    let mut by_signature: HashMap<LabelSet, Vec<usize>> = HashMap::new();
    for (at, series) in one.iter().enumerate() {
        by_signature.entry(signature(matching, &series.labels)).or_default().push(at);
    }
    let mut out: Vec<Series> = Vec::new();
    let mut places: HashMap<LabelSet, usize> = HashMap::new();
    for series in &many {
        let key = signature(matching, &series.labels);
        let Some(partners) = by_signature.get(&key) else { continue };
        for (step, point) in series.points.iter().enumerate() {
            let Some(many_value) = *point else { continue };
            let mut present = partners.iter().filter_map(|at| Some((*at, one[*at].points[step]?)));
            let Some((partner, one_value)) = present.next() else { continue };
            if let Some((other, _)) = present.next() {
                return Err(duplicate(swapped, &one[partner].labels, &one[other].labels));
            }
            let (l, r) = if swapped { (one_value, many_value) } else { (many_value, one_value) };
            let Some(value) = apply(binary, l, r, l) else { continue };
            let labels = result_labels(matching, &series.labels, &one[partner].labels);
            let place = *places.entry(labels.clone()).or_insert_with(|| {
                out.push(Series { labels, points: vec![None; series.points.len()] });
                out.len() - 1
            });
            if out[place].points[step].replace(value).is_some() {
                return Err(multiple(matching));
            }
        }
    }
    Ok(out)
}

fn duplicate(swapped: bool, first: &LabelSet, second: &LabelSet) -> EvalError {
    let side = if swapped { "left" } else { "right" };
    EvalError::Matching(format!(
        "found duplicate series on the {side} hand-side;many-to-many matching not allowed: matching \
         labels must be unique on one side: {first} and {second}"
    ))
}

fn multiple(matching: &VectorMatching) -> EvalError {
    EvalError::Matching(
        match matching.cardinality {
            Cardinality::OneToOne => {
                "multiple matches for labels: many-to-one matching must be explicit \
                 (group_left/group_right)"
            }
            _ => "multiple matches for labels: grouping labels must ensure unique matches",
        }
        .to_owned(),
    )
}

fn result_labels(matching: &VectorMatching, many: &LabelSet, one: &LabelSet) -> LabelSet {
    if matching.cardinality == Cardinality::OneToOne {
        return signature(matching, many);
    }
    matching.include.iter().fold(many.clone(), |labels, name| {
        labels.with(name, one.get(name).filter(|value| !value.is_empty()))
    })
}
