//! Rows of shredded blocks without their lines.
//!
//! What a parser finds in a line of a known shape depends on the shape, not on the values: the
//! names, their order, which is a duplicate, which name is taken by the stream. So a [`Plan`] comes
//! from running the query's own parser over the shape once, with marks in place of the values, and
//! says in which slot each label's value stands.
//! From there a comparison is answered by columns ([`super::prefilter`]), and the outcome of the whole
//! pipeline is remembered for each combination of the values that the query looks at ([`Memo`]):
//! the first row of a combination goes through the pipeline like any other, the rest repeat it.

use crate::ast::{Conversion, Grouping, LabelFilter, LineOp, RangeAggregation, Stage};
use crate::pipeline::Pipeline;
use crate::pipeline::labels::LineLabels;
use std::collections::HashMap;
use std::sync::Arc;
use vigie_model::blocks::{LogBlock, Shape, ShapeKind, SlotValues};
use vigie_model::{Labels, ReadError};

/// Stands around the number of a slot in place of its value; JSON and logfmt take it as any letter.
const MARK: char = '\u{e000}';
/// Most combinations that are found by index.
const DENSE_MAX: usize = 65_536;
/// Most combinations that are remembered of a shape; further ones go through the pipeline.
const COMBINATIONS_MAX: usize = 1 << 20;

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
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Place {
    /// In a slot.
    Slot(usize),
    /// The same in all rows.
    Fixed(Arc<str>),
}

/// The labels of rows of one shape, stream and metadata set behind the parser.
pub(super) struct Plan {
    places: HashMap<Arc<str>, Place>,
}

impl Plan {
    /// What `pipeline`'s parser finds; `None` where it fails on the shape.
    pub(super) fn of(
        pipeline: &Pipeline,
        shape: &Shape,
        stream: &Labels,
        metadata: &Labels,
        labels: &mut LineLabels,
    ) -> Option<Plan> {
        labels.start(stream, metadata);
        pipeline.parse_only(&mut marked(shape), labels);
        if labels.has_error() {
            return None;
        }
        let all = labels.all();
        let places = all.iter().map(|(name, value)| {
            let place = match unmarked(value) {
                Some(slot) => Place::Slot(slot),
                None => Place::Fixed(value.into()),
            };
            (Arc::from(name), place)
        });
        Some(Plan { places: places.collect() })
    }

    pub(super) fn place(&self, name: &str) -> Option<&Place> {
        self.places.get(name)
    }

    fn slot(&self, name: &str) -> Option<usize> {
        match self.places.get(name) {
            Some(Place::Slot(slot)) => Some(*slot),
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

/// What a query needs of a row besides its combination of values.
pub(super) struct Recall<'a> {
    /// What the lines must be; `None` when there is no parser.
    pub(super) kind: Option<ShapeKind>,
    /// The labels that decide over the outcome.
    looked_at: Vec<&'a str>,
    /// The label whose number is the sample.
    pub(super) unwrapped: Option<&'a str>,
    /// Labels that only number comparisons read, which columns have answered.
    compared: Vec<&'a str>,
    /// Whether a line filter is left that needs the line.
    pub(super) needs_line: bool,
}

impl<'a> Recall<'a> {
    /// How outcomes of this query can be remembered; `None` if each row is its own case.
    pub(super) fn of(
        range: &'a RangeAggregation,
        grouping: Option<&'a Grouping>,
    ) -> Option<Recall<'a>> {
        let grouping = grouping.filter(|grouping| !grouping.without)?;
        let unwrapped = match &range.unwrap {
            None if range.op.starts_with("bytes") => return None,
            None => None,
            Some(unwrap) => {
                let is_plain =
                    matches!(unwrap.conversion, Conversion::Number) && unwrap.filters.is_empty();
                Some(unwrap.label.as_str()).filter(|_| is_plain)?.into()
            }
        };
        let (mut kind, mut needs_line) = (None, false);
        let (mut read, mut compared) = (Vec::new(), Vec::new());
        for stage in &range.log.stages {
            match stage {
                Stage::Line(filter) => {
                    let answered = filter.op == LineOp::Contains
                        && matches!(&filter.texts[..], [one] if !one.is_ip && !one.text.is_empty());
                    needs_line |= !answered;
                }
                Stage::Label(filter) => names(filter, true, &mut read, &mut compared),
                parser => {
                    let of_parser = shape_kind(parser)?;
                    if kind.replace(of_parser).is_some() {
                        return None;
                    }
                }
            }
        }
        // A filter in front of the parser reads other labels than the same name behind it.
        let parser = range.log.stages.iter().position(|stage| shape_kind(stage).is_some());
        let first = range.log.stages.iter().position(|stage| matches!(stage, Stage::Label(_)));
        if first.is_some_and(|first| parser.is_some_and(|parser| first < parser)) {
            return None;
        }
        let only_compared =
            |name: &&str| count(&read, name) == count(&compared, name) && Some(*name) != unwrapped;
        let grouped = grouping.labels.iter().map(String::as_str);
        let looked_at = read.iter().copied().filter(|name| !only_compared(name)).chain(grouped);
        let looked_at: Vec<&str> = looked_at.filter(|name| Some(*name) != unwrapped).collect();
        let in_group = unwrapped.filter(|name| grouping.labels.iter().any(|label| label == name));
        if in_group.is_some() || unwrapped.is_some_and(|name| count(&read, name) > 0) {
            // Rare enough: the unwrapped label is grouped by or filtered as well.
            return None;
        }
        compared.retain(|name| !looked_at.contains(name));
        Some(Recall { kind, looked_at, unwrapped, compared, needs_line })
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

/// What becomes of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Not known yet: the row goes through the pipeline, and what comes out is remembered.
    Unknown,
    /// The pipeline drops it.
    Dropped,
    /// It belongs to the series collected there.
    Series(usize),
    /// Each row goes through the pipeline.
    EachItsOwn,
}

/// The outcomes of the rows of one shape, stream and metadata set of a block.
pub(super) struct Memo<'b> {
    block: &'b dyn LogBlock,
    shape: usize,
    slots: Vec<usize>,
    /// The codes of each slot and how many words it has, if the combinations can be numbered.
    words: Vec<(&'b [u8], usize)>,
    dense: Vec<Outcome>,
    sparse: HashMap<Vec<u8>, Outcome>,
    key: Vec<u8>,
    /// The mantissas and the scale of the numbers that are the samples.
    unwrapped: Option<(&'b [i64], u32)>,
}

impl<'b> Memo<'b> {
    /// `None` if every row of the shape is its own case.
    pub(super) fn of(
        recall: &Recall<'_>,
        plan: Option<&Plan>,
        block: &'b dyn LogBlock,
        shape: usize,
    ) -> Result<Option<Memo<'b>>, ReadError> {
        let mut slots = Vec::new();
        let mut unwrapped = None;
        if let Some(plan) = plan {
            slots.extend(recall.looked_at.iter().filter_map(|name| plan.slot(name)));
            for slot in recall.compared.iter().filter_map(|name| plan.slot(name)) {
                // Not a column of numbers: some may compare with an error.
                if !matches!(block.values(shape, slot)?, SlotValues::Numbers { .. }) {
                    slots.push(slot);
                }
            }
            slots.sort_unstable();
            slots.dedup();
            if let Some(label) = recall.unwrapped {
                let Some(slot) = plan.slot(label) else { return Ok(None) };
                let SlotValues::Numbers { mantissas, scale } = block.values(shape, slot)? else {
                    return Ok(None);
                };
                unwrapped = Some((mantissas, scale));
            }
        } else if recall.unwrapped.is_some() {
            return Ok(None);
        }
        let mut words = Vec::with_capacity(slots.len());
        let mut combinations = 1usize;
        for &slot in &slots {
            let SlotValues::Words { words: of_slot, codes } = block.values(shape, slot)? else {
                break;
            };
            words.push((codes, of_slot.len()));
            combinations = combinations.saturating_mul(of_slot.len());
        }
        let is_dense = words.len() == slots.len() && combinations <= DENSE_MAX;
        let dense = if is_dense { vec![Outcome::Unknown; combinations] } else { Vec::new() };
        if !is_dense {
            words.clear();
        }
        let (sparse, key) = (HashMap::new(), Vec::new());
        Ok(Some(Memo { block, shape, slots, words, dense, sparse, key, unwrapped }))
    }

    /// What is known of a row; its combination is at hand for [`Memo::remember`].
    pub(super) fn recall(&mut self, rank: usize) -> Result<Outcome, ReadError> {
        if !self.dense.is_empty() {
            return Ok(self.dense[self.index(rank)]);
        }
        self.key.clear();
        for &slot in &self.slots {
            let start = self.key.len();
            self.block.value(self.shape, slot, rank, &mut self.key)?;
            let length = (self.key.len() - start) as u32;
            self.key.extend_from_slice(&length.to_le_bytes());
        }
        Ok(self.sparse.get(&self.key).copied().unwrap_or(Outcome::Unknown))
    }

    fn index(&self, rank: usize) -> usize {
        self.words.iter().fold(0, |index, (codes, count)| {
            index * count + codes.get(rank).copied().map_or(0, usize::from)
        })
    }

    /// Remembers what became of the row that [`Memo::recall`] was asked for last.
    pub(super) fn remember(&mut self, rank: usize, outcome: Outcome) {
        if !self.dense.is_empty() {
            let index = self.index(rank);
            self.dense[index] = outcome;
        } else if self.sparse.len() < COMBINATIONS_MAX {
            self.sparse.insert(self.key.clone(), outcome);
        }
    }

    /// The sample of a row that belongs to a series.
    pub(super) fn sample(&self, rank: usize) -> f64 {
        self.unwrapped.map_or(1.0, |(mantissas, scale)| number(mantissas[rank], scale))
    }
}
