//! Label filters answered by a block's columns, before any line is rebuilt.
//!
//! `{…} | json | duration_ms > 1000` needs the field of every line and the text of few.
//! A row is left out only where the whole pipeline would drop it: the filter is the first thing that
//! happens to what the parser finds. Rows that stay go through the pipeline as ever.

use super::EvalError;
use super::columns::{Place, Plan, as_label, shape_kind};
use crate::ast::{Comparison, LabelFilter, Stage};
use crate::pipeline::Pipeline;
use crate::pipeline::labels::{DUPLICATE_SUFFIX, LineLabels};
use crate::units::parse_go_float;
use std::collections::HashMap;
use vigie_model::Labels;
use vigie_model::blocks::{LogBlock, ShapeKind, Shapes, SlotValues, StreamId};

/// The conditions that columns can answer.
pub(super) struct Prefilter<'a> {
    kind: ShapeKind,
    conditions: Vec<&'a LabelFilter>,
}

impl<'a> Prefilter<'a> {
    /// What of `stages` columns can answer; `None` if nothing.
    pub(super) fn of(stages: &'a [Stage]) -> Option<Prefilter<'a>> {
        let mut stages = stages.iter().skip_while(|stage| matches!(stage, Stage::Line(_)));
        let kind = shape_kind(stages.next()?)?;
        let mut conditions = Vec::new();
        for stage in stages {
            match stage {
                Stage::Line(_) => {}
                Stage::Label(filter) => conjuncts(filter, &mut conditions),
                _ => break,
            }
        }
        (!conditions.is_empty()).then_some(Prefilter { kind, conditions })
    }

    /// Clears the rows that the conditions drop. `stream` gives the labels of a stream.
    pub(super) fn apply(
        &self,
        pipeline: &Pipeline,
        block: &dyn LogBlock,
        stream: &mut dyn FnMut(StreamId) -> Labels,
        rows: &mut [bool],
    ) -> Result<(), EvalError> {
        let Some(shapes) = block.shapes() else { return Ok(()) };
        // What is known of the rows of a shape, a stream and a metadata set: their answers' place.
        let mut known: HashMap<(u32, StreamId, u32), usize> = HashMap::new();
        let mut answers: Vec<Vec<Answers<'_, '_>>> = Vec::new();
        let mut labels = LineLabels::default();
        let mut start = 0;
        while start < rows.len() {
            let key = key_of(block, shapes, start);
            let same = (start + 1..rows.len()).find(|&row| key_of(block, shapes, row) != key);
            let run = start..same.unwrap_or(rows.len());
            start = run.end;
            if !rows[run.clone()].contains(&true) {
                continue;
            }
            let at = match known.get(&key) {
                Some(&at) => at,
                None => {
                    let (of_stream, metadata) = (stream(key.1), block.metadata(run.start));
                    let of_row = (&of_stream, &metadata);
                    let plan = self.plan(pipeline, shapes, key.0, of_row, &mut labels);
                    answers.push(self.answers(block, key.0 as usize, plan)?);
                    known.insert(key, answers.len() - 1);
                    answers.len() - 1
                }
            };
            for answer in &answers[at] {
                let ranks = &shapes.ranks[run.clone()];
                answer.clear(block, key.0 as usize, ranks, &mut rows[run.clone()])?;
            }
        }
        Ok(())
    }

    fn plan(
        &self,
        pipeline: &Pipeline,
        shapes: Shapes<'_>,
        shape: u32,
        (stream, metadata): (&Labels, &Labels),
        labels: &mut LineLabels,
    ) -> Option<Plan> {
        let shape = &shapes.shapes[shape as usize];
        let is_known = shape.kind == self.kind;
        is_known.then(|| Plan::of(pipeline, shape, stream, metadata, labels)).flatten()
    }

    fn answers<'b>(
        &self,
        block: &'b dyn LogBlock,
        shape: usize,
        plan: Option<Plan>,
    ) -> Result<Vec<Answers<'a, 'b>>, EvalError> {
        let Some(plan) = plan else { return Ok(Vec::new()) };
        let mut answers = Vec::with_capacity(self.conditions.len());
        for &condition in &self.conditions {
            answers.push(match plan.place(name_of(condition)) {
                Some(Place::Slot(slot)) => Answers::of_slot(condition, block, shape, *slot)?,
                Some(Place::Fixed(value)) => Answers::Always(word_holds(condition, value)),
                None => Answers::Always(match condition {
                    LabelFilter::Text(matcher) => matcher.matches_empty(),
                    _ => false,
                }),
            });
        }
        Ok(answers)
    }
}

/// The comparisons of a filter that must all hold and that columns know.
fn conjuncts<'a>(filter: &'a LabelFilter, out: &mut Vec<&'a LabelFilter>) {
    match filter {
        LabelFilter::And(left, right) => {
            conjuncts(left, out);
            conjuncts(right, out);
        }
        LabelFilter::Number { name, .. } if is_plain(name) => out.push(filter),
        LabelFilter::Text(matcher) if is_plain(&matcher.name) => out.push(filter),
        _ => {}
    }
}

/// Whether a label of this name can only be the field of this name: errors are made, and a suffix
/// is given to a field whose name is taken.
pub(super) fn is_plain(name: &str) -> bool {
    !name.starts_with("__") && !name.ends_with(DUPLICATE_SUFFIX)
}

fn name_of(condition: &LabelFilter) -> &str {
    match condition {
        LabelFilter::Number { name, .. } => name,
        LabelFilter::Text(matcher) => &matcher.name,
        _ => unreachable!("`conjuncts` takes numbers and texts only"),
    }
}

/// A condition's outcome for rows of one shape.
enum Answers<'a, 'b> {
    /// For all of them.
    Always(bool),
    /// By word.
    Words { by_word: Vec<bool>, codes: &'b [u8] },
    /// By number.
    Numbers { op: Comparison, value: f64, mantissas: &'b [i64], scale: u32 },
    /// By the text of the value in a slot.
    Texts(&'a LabelFilter, usize),
}

impl<'a, 'b> Answers<'a, 'b> {
    fn of_slot(
        condition: &'a LabelFilter,
        block: &'b dyn LogBlock,
        shape: usize,
        slot: usize,
    ) -> Result<Answers<'a, 'b>, EvalError> {
        Ok(match (block.values(shape, slot)?, condition) {
            (SlotValues::Words { words, codes }, _) => {
                let by_word = words.iter().map(|word| bytes_hold(condition, word)).collect();
                Answers::Words { by_word, codes }
            }
            (SlotValues::Numbers { mantissas, scale }, LabelFilter::Number { op, value, .. }) => {
                Answers::Numbers { op: *op, value: *value, mantissas, scale }
            }
            _ => Answers::Texts(condition, slot),
        })
    }

    /// Clears the rows that do not pass; `ranks` are theirs.
    fn clear(
        &self,
        block: &dyn LogBlock,
        shape: usize,
        ranks: &[u32],
        rows: &mut [bool],
    ) -> Result<(), EvalError> {
        let rows = rows.iter_mut().zip(ranks);
        match self {
            Answers::Always(holds) => rows.for_each(|(row, _)| *row &= *holds),
            Answers::Words { by_word, codes } => rows.for_each(|(row, &rank)| {
                *row &= by_word[codes.get(rank as usize).copied().map_or(0, usize::from)];
            }),
            Answers::Numbers { op, value, mantissas, scale } => {
                let unit = 10u64.pow(*scale) as f64;
                rows.for_each(|(row, &rank)| {
                    *row &= op.holds(mantissas[rank as usize] as f64 / unit, *value);
                });
            }
            Answers::Texts(condition, slot) => {
                let mut text = Vec::new();
                for (row, &rank) in rows.filter(|(row, _)| **row) {
                    text.clear();
                    block.value(shape, *slot, rank as usize, &mut text)?;
                    *row = bytes_hold(condition, &text);
                }
            }
        }
        Ok(())
    }
}

/// What rows have in common that share a plan: shape, stream, metadata.
pub(super) fn key_of(block: &dyn LogBlock, shapes: Shapes<'_>, row: usize) -> (u32, StreamId, u32) {
    (shapes.of_row[row], block.stream(row), block.metadata_set(row))
}

/// Whether a value passes; one that only a parser can read does, for the pipeline to decide.
fn bytes_hold(condition: &LabelFilter, value: &[u8]) -> bool {
    as_label(value).is_none_or(|word| word_holds(condition, word))
}

/// Whether a word passes; one that is no number passes, with an error that the pipeline notes.
fn word_holds(condition: &LabelFilter, word: &str) -> bool {
    match condition {
        LabelFilter::Number { op, value, .. } => {
            parse_go_float(word).map_or(true, |number| op.holds(number, *value))
        }
        LabelFilter::Text(matcher) => matcher.matches(word),
        _ => unreachable!("`conjuncts` takes numbers and texts only"),
    }
}
