//! The functions that change labels or order series.

use super::value::{Metric, Series, Steps, Vector};
use super::{Eval, Result, execution};
use crate::syntax::{Node, NodeKind, Text};
use std::cmp::Ordering;
use vigie_model::limits::LABEL_VALUE_BYTES_MAX;
use vigie_model::{Labels, LabelsBuilder, METRIC_NAME, MatchOp, regexp};

/// Longest label value that a query may make. An estimate is compared with it, so it is generous.
const LABEL_BYTES_MAX: usize = 4 * LABEL_VALUE_BYTES_MAX;

impl Eval<'_> {
    /// `label_replace(vector, dst, replacement, src, regex)`.
    pub(super) fn label_replace(&mut self, args: &[Node], steps: Steps) -> Result<Vector> {
        let (target, replacement) = (text(&args[1]), &text(&args[2]).value);
        let (source, pattern) = (&text(&args[3]).value, &text(&args[4]).value);
        let regex = regexp::whole(pattern, true).map_err(|_| {
            execution(format!("invalid regular expression in label_replace(): {pattern}"))
        })?;
        let target = label_name(target, "destination", "label_replace")?;
        let vector = self.vector(&args[0], steps)?;
        let references = replacement.matches('$').count();
        self.relabel(vector, target, |labels| {
            let value = labels.value_or_empty(source);
            let Some(found) = regex.captures(value) else { return Ok(None) };
            // Each reference is at most the whole value.
            check_length(replacement.len() + references * value.len(), "label_replace")?;
            let mut value = String::new();
            found.expand(replacement, &mut value);
            Ok(Some(value))
        })
    }

    /// `label_join(vector, dst, separator, src…)`.
    pub(super) fn label_join(&mut self, args: &[Node], steps: Steps) -> Result<Vector> {
        let separator = &text(&args[2]).value;
        let mut sources = Vec::new();
        for arg in &args[3..] {
            sources.push(label_name(text(arg), "source", "label_join")?);
        }
        let target = label_name(text(&args[1]), "destination", "label_join")?;
        let vector = self.vector(&args[0], steps)?;
        self.relabel(vector, target, |labels| {
            let values = sources.iter().map(|name| labels.value_or_empty(name));
            let bytes: usize = values.clone().map(|value| value.len() + separator.len()).sum();
            check_length(bytes, "label_join")?;
            Ok(Some(values.collect::<Vec<_>>().join(separator)))
        })
    }

    /// `sort` and its relatives; the order lasts only in an instant query.
    pub(super) fn sorted(&mut self, name: &str, args: &[Node], steps: Steps) -> Result<Vector> {
        let mut vector = self.vector(&args[0], steps)?;
        if !name.starts_with("sort_by_label") {
            vector.series.iter_mut().for_each(Series::drop_histograms);
        }
        if steps.count != 1 {
            return Ok(vector);
        }
        let descending = name.ends_with("_desc");
        if name.starts_with("sort_by_label") {
            let names: Vec<&str> = args[1..].iter().map(|arg| text(arg).value.as_str()).collect();
            let mut keyed: Vec<(Labels, Series)> =
                vector.series.into_iter().map(|series| (series.metric.labels(), series)).collect();
            keyed.sort_by(|(left, _), (right, _)| {
                let order = by_labels(left, right, &names);
                if descending { order.reverse() } else { order }
            });
            vector.series = keyed.into_iter().map(|(_, series)| series).collect();
        } else {
            vector
                .series
                .sort_by(|left, right| by_value(left.values[0], right.values[0], descending));
        }
        Ok(vector)
    }

    /// Sets `target` to what `value` answers, if it answers; series that meet are joined.
    fn relabel(
        &self,
        mut vector: Vector,
        target: &str,
        value: impl Fn(&Labels) -> Result<Option<String>>,
    ) -> Result<Vector> {
        for series in &mut vector.series {
            self.tick()?;
            let labels = series.metric.labels();
            let Some(value) = value(&labels)? else {
                series.metric = Metric::Built(labels);
                continue;
            };
            let mut builder = labels.to_builder();
            builder.set(target, value);
            series.metric = Metric::Built(builder.build());
            if target == METRIC_NAME {
                series.drop_name = false;
            }
        }
        vector.merged()
    }
}

/// What `by`, `without`, `on` or `ignoring` leaves of labels, ready to be applied to many series.
pub(super) struct Projection<'a> {
    /// Sorted, so that a list of any length costs little per series.
    names: Vec<&'a str>,
    keep: bool,
}

impl<'a> Projection<'a> {
    /// Keeps the labels named, or all others.
    pub(super) fn new(names: &'a [String], keep: bool) -> Projection<'a> {
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        names.sort_unstable();
        Projection { names, keep }
    }

    /// Names one more label.
    pub(super) fn add(&mut self, name: &'a str) {
        let at = self.names.partition_point(|have| *have < name);
        self.names.insert(at, name);
    }

    /// The labels that are left.
    pub(super) fn of(&self, labels: &Labels) -> Labels {
        labels.filter(|name| self.names.binary_search(&name).is_ok() == self.keep)
    }
}

/// NaN last in either direction.
pub(super) fn by_value(left: f64, right: f64, descending: bool) -> Ordering {
    match (left.is_nan(), right.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        _ if descending => right.total_cmp(&left),
        _ => left.total_cmp(&right),
    }
}

fn by_labels(left: &Labels, right: &Labels, names: &[&str]) -> Ordering {
    for name in names {
        let order = natural(left.value_or_empty(name), right.value_or_empty(name));
        if order != Ordering::Equal {
            return order;
        }
    }
    left.cmp(right)
}

/// Text order in which runs of digits compare as numbers: `a2` before `a10`.
fn natural(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.as_bytes(), right.as_bytes());
    while let (Some(l), Some(r)) = (left.first(), right.first()) {
        if l.is_ascii_digit() && r.is_ascii_digit() {
            let (l, r) = (take_digits(&mut left), take_digits(&mut right));
            let (plain_l, plain_r) = (trim_zeros(l), trim_zeros(r));
            let order = plain_l.len().cmp(&plain_r.len()).then(plain_l.cmp(plain_r));
            let order = order.then(l.len().cmp(&r.len()));
            if order != Ordering::Equal {
                return order;
            }
        } else if l != r {
            return l.cmp(r);
        } else {
            (left, right) = (&left[1..], &right[1..]);
        }
    }
    left.len().cmp(&right.len())
}

fn take_digits<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(count);
    *text = rest;
    digits
}

fn trim_zeros(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|byte| **byte == b'0').count();
    &digits[zeros..]
}

/// Refuses to make a label that no door would accept.
fn check_length(bytes: usize, function: &str) -> Result<()> {
    if bytes <= LABEL_BYTES_MAX {
        return Ok(());
    }
    Err(execution(format!("label value of more than {LABEL_BYTES_MAX} bytes in {function}()")))
}

/// The text of a string argument.
pub(super) fn text(node: &Node) -> &Text {
    static EMPTY: Text = Text { value: String::new(), raw: None };
    match &node.unparenthesised().kind {
        NodeKind::Text(text) => text,
        _ => &EMPTY,
    }
}

fn label_name<'a>(name: &'a Text, role: &str, function: &str) -> Result<&'a str> {
    if name.value.is_empty() || name.raw.is_some() {
        let name = &name.value;
        return Err(execution(format!("invalid {role} label name in {function}(): {name}")));
    }
    Ok(&name.value)
}

/// The labels that `absent` and `absent_over_time` can tell: those that one equality demands.
pub(super) fn of_absent(arg: &Node) -> Labels {
    let selector = match &arg.unparenthesised().kind {
        NodeKind::Vector(selector) | NodeKind::Matrix { selector, .. } => selector,
        _ => return Labels::default(),
    };
    let mut builder = LabelsBuilder::default();
    let mut seen = Vec::new();
    for matcher in selector.matchers.iter().filter(|matcher| matcher.name != METRIC_NAME) {
        let name = matcher.name.as_str();
        if matcher.op == MatchOp::Equal && !seen.contains(&name) {
            builder.set(name, matcher.value.as_str());
            seen.push(name);
        } else {
            builder.remove(name);
        }
    }
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_inside_text_compare_as_numbers() {
        for (left, right, order) in [
            ("a2", "a10", Ordering::Less),
            ("a", "b", Ordering::Less),
            ("x10y", "x10a", Ordering::Greater),
            ("1", "1", Ordering::Equal),
            ("", "0", Ordering::Less),
        ] {
            assert_eq!(natural(left, right), order, "{left} {right}");
        }
    }
}
