//! Label filters: comparisons of texts, numbers, durations, sizes and addresses.

use super::ip::IpPattern;
use super::labels::LineLabels;
use crate::ast::LabelFilter;
use crate::units::{parse_bytes, parse_go_duration_ns, parse_go_float};

/// A label filter, ready to run.
pub(crate) enum Condition {
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
    Leaf(LabelFilter),
    Ip { name: String, negative: bool, pattern: IpPattern },
}

impl Condition {
    /// Compiles a filter.
    pub(super) fn new(filter: &LabelFilter) -> Result<Condition, String> {
        Ok(match filter {
            LabelFilter::And(left, right) => {
                Condition::And(Box::new(Self::new(left)?), Box::new(Self::new(right)?))
            }
            LabelFilter::Or(left, right) => {
                Condition::Or(Box::new(Self::new(left)?), Box::new(Self::new(right)?))
            }
            LabelFilter::Ip { name, negative, pattern } => Condition::Ip {
                name: name.clone(),
                negative: *negative,
                pattern: IpPattern::parse(pattern)?,
            },
            leaf => Condition::Leaf(leaf.clone()),
        })
    }

    /// Whether the line stays. A value that cannot be compared keeps it, with an error.
    pub(super) fn holds(&self, labels: &mut LineLabels) -> bool {
        match self {
            Condition::And(left, right) => {
                let left = left.holds(labels);
                right.holds(labels) && left
            }
            Condition::Or(left, right) => left.holds(labels) || right.holds(labels),
            // Unlike the numeric comparisons, it keeps a line with an error even without the label.
            Condition::Ip { .. } if labels.has_error() => true,
            Condition::Ip { name, negative, pattern } => labels
                .get(name)
                .is_some_and(|value| pattern.found_in(value.as_bytes()) != *negative),
            Condition::Leaf(filter) => leaf_holds(filter, labels),
        }
    }
}

fn leaf_holds(filter: &LabelFilter, labels: &mut LineLabels) -> bool {
    if let LabelFilter::Text(matcher) = filter {
        return matcher.matches(labels.text(&matcher.name));
    }
    let (LabelFilter::Number { name, .. }
    | LabelFilter::Duration { name, .. }
    | LabelFilter::Bytes { name, .. }) = filter
    else {
        unreachable!("`Condition::new` takes the others")
    };
    let Some(value) = labels.get(name) else { return false };
    let outcome = match filter {
        LabelFilter::Number { op, value: right, .. } => {
            parse_go_float(value).map(|left| op.holds(left, *right))
        }
        LabelFilter::Duration { op, ns, .. } => {
            parse_go_duration_ns(value).map(|left| op.holds(left, *ns))
        }
        LabelFilter::Bytes { op, size_bytes, .. } => {
            parse_bytes(value).map(|left| op.holds(left, *size_bytes))
        }
        _ => unreachable!("`Condition::new` takes the others"),
    };
    outcome.unwrap_or_else(|why| {
        if !labels.has_error() {
            labels.set_error("LabelFilterErr", why);
        }
        true
    })
}

/// The labels that a filter reads, added to `needed`.
pub(super) fn names_read(filter: &LabelFilter, needed: &mut Vec<String>) {
    match filter {
        LabelFilter::And(left, right) | LabelFilter::Or(left, right) => {
            names_read(left, needed);
            names_read(right, needed);
        }
        LabelFilter::Text(matcher) => needed.push(matcher.name.clone()),
        LabelFilter::Number { name, .. }
        | LabelFilter::Duration { name, .. }
        | LabelFilter::Bytes { name, .. }
        | LabelFilter::Ip { name, .. } => needed.push(name.clone()),
    }
}
