//! Rows of shredded blocks without their lines.
//!
//! What a parser finds in a line of a known shape depends on the shape, not on the values: the
//! names, their order, which is a duplicate, which name is taken by the stream. So a [`Plan`] comes
//! from running the query's own parser over the shape once, with marks in place of the values, and
//! says in which slot each label's value stands.
//! From there a comparison is answered by columns ([`super::prefilter`]), and the outcome of the whole
//! pipeline is remembered for each combination of the values that the query looks at ([`super::recall`]):
//! the first row of a combination goes through the pipeline like any other, the rest repeat it.

use crate::ast::{Conversion, Grouping, LabelFilter, RangeAggregation, Stage};
use crate::pipeline::Pipeline;
use crate::pipeline::labels::{Category, LabelSet, LineLabels};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use vigie_model::Labels;
use vigie_model::blocks::{Shape, ShapeKind};

/// Stands around the number of a slot in place of its value; JSON and logfmt take it as any letter.
const MARK: char = '\u{e000}';
/// The shapes that a query's parser understands.
pub(super) fn shape_kind(stage: &Stage) -> Option<ShapeKind> {
    match stage {
        Stage::Json(extractions) if extractions.is_empty() => Some(ShapeKind::Json),
        Stage::Logfmt { strict: false, keep_empty: false, extractions }
            if extractions.is_empty() =>
        {
            Some(ShapeKind::Logfmt)
        }
        _ => None,
    }
}

/// Where the value of a label stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// In a slot.
    Slot(usize),
    /// The same in all rows.
    Fixed(Arc<str>),
}

/// What the query's parser finds in the lines of a shape.
pub(super) struct Parsed(HashMap<Arc<str>, Place>);

impl Parsed {
    /// `None` where the parser fails on the shape. `stream` and `metadata` are those of any rows with
    /// the same label names.
    pub(super) fn of(
        pipeline: &Pipeline,
        shape: &Shape,
        stream: &Labels,
        metadata: &Labels,
        labels: &mut LineLabels,
    ) -> Option<Parsed> {
        labels.start(stream, metadata);
        pipeline.parse_only(&mut marked(shape), labels);
        if labels.has_error() {
            return None;
        }
        let found = labels.of(Category::Parsed);
        let places = found.iter().map(|(name, value)| {
            let place = match unmarked(value) {
                Some(slot) => Place::Slot(slot),
                None => Place::Fixed(value.into()),
            };
            (Arc::from(name), place)
        });
        Some(Parsed(places.collect()))
    }
}

/// The labels of rows of one shape, stream and metadata set behind the parser.
pub(super) struct Plan {
    parsed: Option<Rc<Parsed>>,
    /// The labels in front of it.
    before: LabelSet,
}

impl Plan {
    /// Of rows with these labels; without a parser these are all that they have.
    pub(super) fn new(parsed: Option<Rc<Parsed>>, before: LabelSet) -> Plan {
        Plan { parsed, before }
    }

    pub(super) fn place(&self, name: &str) -> Option<Place> {
        let parsed = self.parsed.as_ref().and_then(|parsed| parsed.0.get(name));
        parsed.cloned().or_else(|| self.before.get(name).map(|value| Place::Fixed(value.into())))
    }

    pub(super) fn slot(&self, name: &str) -> Option<usize> {
        match self.place(name) {
            Some(Place::Slot(slot)) => Some(slot),
            _ => None,
        }
    }
}

/// A line of the shape with a mark in each slot.
fn marked(shape: &Shape) -> Vec<u8> {
    let mut line = shape.statics[0].clone();
    for (slot, text) in shape.statics[1..].iter().enumerate() {
        // A value that is no string starts like a number.
        let is_plain = shape.kind == ShapeKind::Json && line.last() != Some(&b'"');
        line.extend_from_slice(if is_plain { b"-" } else { b"" });
        line.extend_from_slice(format!("{MARK}{slot}{MARK}").as_bytes());
        line.extend_from_slice(text);
    }
    line
}

fn unmarked(value: &str) -> Option<usize> {
    let value = value.strip_prefix('-').unwrap_or(value);
    value.strip_prefix(MARK)?.strip_suffix(MARK)?.parse().ok()
}

/// The label that a slot's bytes become, if that is the bytes as they stand.
pub(super) fn as_label(value: &[u8]) -> Option<&str> {
    let is_plain = memchr::memchr(b'\\', value).is_none();
    let text = std::str::from_utf8(value).ok().filter(|_| is_plain)?;
    (!text.contains('\u{fffd}')).then_some(text)
}

/// A number of a column.
pub(super) fn number(mantissa: i64, scale: u32) -> f64 {
    mantissa as f64 / 10u64.pow(scale) as f64
}

/// How outcomes of a query are remembered, and what it needs besides.
pub(super) struct Recall<'a> {
    /// What the lines must be; `None` when there is no parser.
    pub(super) kind: Option<ShapeKind>,
    /// The labels that decide over the outcome.
    pub(super) looked_at: Vec<&'a str>,
    /// The label whose number is the sample.
    pub(super) unwrapped: Option<&'a str>,
    /// Labels that only number comparisons read, which columns have answered.
    pub(super) compared: Vec<&'a str>,
    /// All labels that such a comparison reads.
    pub(super) numbers: Vec<&'a str>,
    /// Whether all labels of a row decide: those of its stream and its metadata.
    pub(super) tells_groups_apart: bool,
}

impl<'a> Recall<'a> {
    /// How outcomes of this query can be remembered; `None` if each row is its own case.
    pub(super) fn of(
        range: &'a RangeAggregation,
        grouping: Option<&'a Grouping>,
    ) -> Option<Recall<'a>> {
        let unwrapped = match &range.unwrap {
            None if range.op.starts_with("bytes") => return None,
            None => None,
            Some(unwrap) => {
                let is_plain =
                    matches!(unwrap.conversion, Conversion::Number) && unwrap.filters.is_empty();
                Some(unwrap.label.as_str()).filter(|_| is_plain)?.into()
            }
        };
        let mut kind = None;
        let (mut read, mut compared) = (Vec::new(), Vec::new());
        for stage in &range.log.stages {
            match stage {
                Stage::Line(_) => {}
                Stage::Label(filter) => names(filter, true, &mut read, &mut compared),
                parser => {
                    let of_parser = shape_kind(parser)?;
                    if kind.replace(of_parser).is_some() {
                        return None;
                    }
                }
            }
        }
        let grouping = grouping.filter(|grouping| !grouping.without);
        if grouping.is_none() && (kind.is_some() || unwrapped.is_some()) {
            return None;
        }
        // A filter in front of the parser reads other labels than the same name behind it.
        let parser = range.log.stages.iter().position(|stage| shape_kind(stage).is_some());
        let first = range.log.stages.iter().position(|stage| matches!(stage, Stage::Label(_)));
        if first.is_some_and(|first| parser.is_some_and(|parser| first < parser)) {
            return None;
        }
        let only_compared =
            |name: &&str| count(&read, name) == count(&compared, name) && Some(*name) != unwrapped;
        let grouped = grouping.iter().flat_map(|g| g.labels.iter().map(String::as_str));
        let looked_at = read.iter().copied().filter(|name| !only_compared(name)).chain(grouped);
        let looked_at: Vec<&str> = looked_at.filter(|name| Some(*name) != unwrapped).collect();
        let in_group = unwrapped.filter(|name| {
            grouping.is_some_and(|grouping| grouping.labels.iter().any(|label| label == name))
        });
        if in_group.is_some() || unwrapped.is_some_and(|name| count(&read, name) > 0) {
            // Rare enough: the unwrapped label is grouped by or filtered as well.
            return None;
        }
        let numbers = compared.clone();
        compared.retain(|name| !looked_at.contains(name));
        let tells_groups_apart = grouping.is_none();
        Some(Recall { kind, looked_at, unwrapped, compared, numbers, tells_groups_apart })
    }
}

fn count(names: &[&str], wanted: &str) -> usize {
    names.iter().filter(|name| **name == wanted).count()
}

/// The names that a filter reads, and among them those of number comparisons that must hold.
fn names<'a>(
    filter: &'a LabelFilter,
    must_hold: bool,
    read: &mut Vec<&'a str>,
    compared: &mut Vec<&'a str>,
) {
    match filter {
        LabelFilter::And(left, right) => {
            names(left, must_hold, read, compared);
            names(right, must_hold, read, compared);
        }
        LabelFilter::Or(left, right) => {
            names(left, false, read, compared);
            names(right, false, read, compared);
        }
        LabelFilter::Text(matcher) => read.push(&matcher.name),
        LabelFilter::Number { name, .. } => {
            read.push(name);
            if must_hold && super::prefilter::is_plain(name) {
                compared.push(name);
            }
        }
        LabelFilter::Duration { name, .. }
        | LabelFilter::Bytes { name, .. }
        | LabelFilter::Ip { name, .. } => read.push(name),
    }
}
