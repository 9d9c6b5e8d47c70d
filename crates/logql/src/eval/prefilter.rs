//! Label filters answered by a block's columns, before any line is rebuilt.
//!
//! `{…} | json | duration_ms > 1000` needs the field of every line and the text of few.
//! A row is left out only where the whole pipeline would drop it: the filter is the first thing that
//! happens to what the parser finds. Rows that stay go through the pipeline as ever.

use super::EvalError;
use super::columns::{Place, Plan, as_label, number, shape_kind};
use crate::ast::{LabelFilter, Stage};
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
        let mut answers: Vec<Vec<Answers>> = Vec::new();
        let mut labels = LineLabels::default();
        let mut last = None;
        for (row, keep) in rows.iter_mut().enumerate().filter(|(_, keep)| **keep) {
            let key = (shapes.of_row[row], block.stream(row), block.metadata_set(row));
            let at = match last.filter(|(of, _)| *of == key) {
                Some((_, at)) => at,
                None => *known.entry(key).or_insert_with(|| {
                    answers.push(self.answers(
                        pipeline,
                        shapes,
                        key.0,
                        &stream(key.1),
                        &block.metadata(row),
                        &mut labels,
                    ));
                    answers.len() - 1
                }),
            };
            last = Some((key, at));
            for answer in &mut answers[at] {
                if !answer.holds(block, key.0 as usize, shapes.ranks[row] as usize)? {
                    *keep = false;
                    break;
                }
            }
        }
        Ok(())
    }

    fn answers(
        &self,
        pipeline: &Pipeline,
        shapes: Shapes<'_>,
        shape: u32,
        stream: &Labels,
        metadata: &Labels,
        labels: &mut LineLabels,
    ) -> Vec<Answers<'a>> {
        let shape = &shapes.shapes[shape as usize];
        let plan = (shape.kind == self.kind)
            .then(|| Plan::of(pipeline, shape, stream, metadata, labels))
            .flatten();
        let Some(plan) = plan else { return Vec::new() };
        let answer = |condition: &&'a LabelFilter| match plan.place(name_of(condition)) {
            Some(Place::Slot(slot)) => Answers::Slot(condition, *slot, None),
            Some(Place::Fixed(value)) => Answers::Always(word_holds(condition, value)),
            None => Answers::Always(match condition {
                LabelFilter::Text(matcher) => matcher.matches_empty(),
                _ => false,
            }),
        };
        self.conditions.iter().map(answer).collect()
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
enum Answers<'a> {
    /// For all of them.
    Always(bool),
    /// By the values of a slot; by its words once they have been looked at.
    Slot(&'a LabelFilter, usize, Option<Vec<bool>>),
}

impl Answers<'_> {
    fn holds(
        &mut self,
        block: &dyn LogBlock,
        shape: usize,
        rank: usize,
    ) -> Result<bool, EvalError> {
        let (condition, slot, by_word) = match self {
            Answers::Always(holds) => return Ok(*holds),
            Answers::Slot(condition, slot, by_word) => (*condition, *slot, by_word),
        };
        Ok(match (block.values(shape, slot)?, condition) {
            (SlotValues::Words { words, codes }, _) => {
                let by_word = by_word.get_or_insert_with(|| {
                    words.iter().map(|word| bytes_hold(condition, word)).collect()
                });
                by_word[codes.get(rank).copied().map_or(0, usize::from)]
            }
            (SlotValues::Numbers { mantissas, scale }, LabelFilter::Number { op, value, .. }) => {
                op.holds(number(mantissas[rank], scale), *value)
            }
            _ => {
                let mut value = Vec::new();
                block.value(shape, slot, rank, &mut value)?;
                bytes_hold(condition, &value)
            }
        })
    }
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
