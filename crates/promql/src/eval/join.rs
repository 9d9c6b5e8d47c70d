//! Joins in which every series has at most one partner: whole rows are combined, pair by pair.
//!
//! That is what nearly all joins are. What could go wrong at one step and not at another (two series
//! for one signature, two results with the same labels) sends the join the general way, step by step
//! ([`super::binary`]), with its errors; so do native histograms and `fill`.
//! The results stand in the order in which the general way would find them: by the first step at
//! which a pair meets, and there as on the side of many.

use super::binary::{Partner, Sides, compares, number};
use super::value::{Metric, Series, Steps, absent};
use super::{Eval, Result};
use crate::syntax::Cardinality;
use std::collections::HashSet;
use vigie_model::{ABSENT, Labels, is_absent};

/// A pair that meets: the first step at which it does, and its places.
type Met = (usize, usize, usize);

/// The results of all pairs, if this is such a join. `keys` are the signatures of both sides.
pub(super) fn paired(
    eval: &mut Eval<'_>,
    sides: &Sides<'_>,
    [many, one]: [&[usize]; 2],
    steps: Steps,
) -> Result<Option<Vec<Series>>> {
    let has_histograms = |series: &Series| !series.histograms.is_empty();
    let odd = sides.step.op.is_trim()
        || sides.step.matching.fill.is_some()
        || sides.left.series.iter().any(has_histograms)
        || sides.right.series.iter().any(has_histograms);
    if odd {
        return Ok(None);
    }
    let Some(pairs) = pairs(sides, many, one) else { return Ok(None) };
    eval.tick()?;
    let mut found = Vec::with_capacity(pairs.len());
    let mut known: HashSet<Labels> = HashSet::with_capacity(pairs.len());
    for (_, left, right) in pairs {
        eval.room_for_rows(found.len() + 1, steps.count)?;
        let partners = (Partner::Series(left), Partner::Series(right));
        let labels = sides.result_labels(partners.0, partners.1, many[left]);
        if !known.insert(labels.clone()) {
            return Ok(None);
        }
        let (left, right) = (&sides.left.series[left], &sides.right.series[right]);
        let drop_name = sides.step.return_bool || left.drop_name;
        let mut values = absent(steps.count);
        combine(sides, &left.values, &right.values, &mut values);
        found.push(Series::floats(Metric::Built(labels), drop_name, values));
    }
    Ok(Some(found))
}

/// All pairs that meet, in the order of the results. `None` when a signature stands for more than
/// one series where there may be one only.
fn pairs(sides: &Sides<'_>, many: &[usize], one: &[usize]) -> Option<Vec<Met>> {
    let signatures = many.iter().chain(one).max().map_or(0, |last| last + 1);
    let mut partners: Vec<Option<usize>> = vec![None; signatures];
    for (index, signature) in one.iter().enumerate() {
        if partners[*signature].replace(index).is_some() {
            return None;
        }
    }
    let is_single = sides.step.matching.cardinality == Cardinality::OneToOne;
    let mut taken = vec![false; signatures];
    let mut pairs = Vec::new();
    for (left, signature) in many.iter().enumerate() {
        let Some(right) = partners[*signature] else { continue };
        if is_single && std::mem::replace(&mut taken[*signature], true) {
            return None;
        }
        let rows = sides.left.series[left].values.iter().zip(&sides.right.series[right].values);
        let mut both = rows.map(|(left, right)| !is_absent(*left) && !is_absent(*right));
        if let Some(first) = both.position(|both| both) {
            pairs.push((first, left, right));
        }
    }
    pairs.sort_by_key(|pair| pair.0);
    Some(pairs)
}

/// Fills `out`, which is [`ABSENT`] everywhere, where both rows have a value.
fn combine(sides: &Sides<'_>, left: &[f64], right: &[f64], out: &mut [f64]) {
    let (op, return_bool) = (sides.step.op, sides.step.return_bool);
    let (first, second) = if sides.swapped { (right, left) } else { (left, right) };
    for (out, (first, second)) in out.iter_mut().zip(first.iter().zip(second)) {
        if is_absent(*first) || is_absent(*second) {
            continue;
        }
        *out = if !op.is_comparison() || return_bool {
            number(op, *first, *second)
        } else if compares(op, *first, *second) {
            *first
        } else {
            ABSENT
        };
    }
}
