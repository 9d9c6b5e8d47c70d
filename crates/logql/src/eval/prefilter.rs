//! Label filters answered by a block's columns, before any line is rebuilt.
//!
//! `{…} | json | duration_ms > 1000` needs the field of every line and the text of few.
//! A row is left out only where the whole pipeline would drop it: the filter is the first thing that
//! happens to what the parser finds, and neither the stream nor the row's metadata has the label
//! (theirs would be compared instead). Rows that stay go through the pipeline as ever.

use super::EvalError;
use crate::ast::{LabelFilter, Stage};
use crate::pipeline::labels::DUPLICATE_SUFFIX;
use crate::units::parse_go_float;
use vigie_model::Labels;
use vigie_model::blocks::{Field, FieldParser, FieldQuestion, LogBlock, StreamId};

/// The conditions that columns can answer.
pub(super) struct Prefilter<'a> {
    parser: FieldParser,
    conditions: Vec<&'a LabelFilter>,
}

impl<'a> Prefilter<'a> {
    /// What of `stages` columns can answer; `None` if nothing.
    pub(super) fn of(stages: &'a [Stage]) -> Option<Prefilter<'a>> {
        let mut stages = stages.iter().skip_while(|stage| matches!(stage, Stage::Line(_)));
        let parser = match stages.next()? {
            Stage::Json(extractions) if extractions.is_empty() => FieldParser::Json,
            Stage::Logfmt { strict: false, keep_empty: false, extractions }
                if extractions.is_empty() =>
            {
                FieldParser::Logfmt
            }
            _ => return None,
        };
        let mut conditions = Vec::new();
        for stage in stages {
            match stage {
                Stage::Line(_) => {}
                Stage::Label(filter) => conjuncts(filter, &mut conditions),
                _ => break,
            }
        }
        (!conditions.is_empty()).then_some(Prefilter { parser, conditions })
    }

    /// Clears the rows that the conditions drop. `labels` gives the labels of a stream.
    pub(super) fn apply(
        &self,
        block: &dyn LogBlock,
        labels: &mut dyn FnMut(StreamId) -> Labels,
        rows: &mut [bool],
    ) -> Result<(), EvalError> {
        for condition in &self.conditions {
            let name = name_of(condition);
            let Some(field) = block.field(FieldQuestion { parser: self.parser, name }) else {
                continue;
            };
            let answers = Answers::new(condition, field?);
            for (row, keep) in rows.iter_mut().enumerate().filter(|(_, keep)| **keep) {
                if answers.holds(row) {
                    continue;
                }
                let taken = labels(block.stream(row)).get(name).is_some()
                    || block.metadata(row).get(name).is_some();
                *keep = taken;
            }
        }
        Ok(())
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
fn is_plain(name: &str) -> bool {
    !name.starts_with("__") && !name.ends_with(DUPLICATE_SUFFIX)
}

fn name_of(condition: &LabelFilter) -> &str {
    match condition {
        LabelFilter::Number { name, .. } => name,
        LabelFilter::Text(matcher) => &matcher.name,
        _ => unreachable!("`conjuncts` takes numbers and texts only"),
    }
}

/// A condition's outcome by row or by word.
enum Answers {
    /// By row.
    Rows(Vec<bool>),
    /// By word, and of the rows without a word.
    Words { by_word: Vec<bool>, absent: bool, codes: Vec<Option<u32>> },
}

impl Answers {
    fn new(condition: &LabelFilter, field: Field) -> Answers {
        match (condition, field) {
            (LabelFilter::Number { op, value, .. }, Field::Numbers(numbers)) => Answers::Rows(
                numbers
                    .into_iter()
                    .map(|number| number.is_some_and(|number| op.holds(number, *value)))
                    .collect(),
            ),
            // A number's text is not at hand: the line decides.
            (_, Field::Numbers(numbers)) => Answers::Rows(vec![true; numbers.len()]),
            (condition, Field::Words { words, codes }) => Answers::Words {
                by_word: words.iter().map(|word| word_holds(condition, word)).collect(),
                absent: match condition {
                    LabelFilter::Text(matcher) => matcher.matches_empty(),
                    _ => false,
                },
                codes,
            },
        }
    }

    fn holds(&self, row: usize) -> bool {
        match self {
            Answers::Rows(rows) => rows[row],
            Answers::Words { by_word, absent, codes } => {
                codes[row].map_or(*absent, |code| by_word[code as usize])
            }
        }
    }
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
