//! Label filters answered by a block's columns, before any line is rebuilt.
//!
//! `{…} | json | duration_ms > 1000` needs the field of every line and the text of few.
//! A row is left out only where the whole pipeline would drop it: the filter is the first thing that
//! happens to what the parser finds. Rows that stay go through the pipeline as ever.

use super::EvalError;
use super::columns::{Place, Plan, as_label, number, shape_kind};
use super::groups::Groups;
use crate::ast::{Comparison, LabelFilter, Stage};
use crate::pipeline::labels::DUPLICATE_SUFFIX;
use crate::units::parse_go_float;
use std::borrow::Cow;
use std::collections::HashMap;
use vigie_model::blocks::{LogBlock, ShapeKind, SlotValues};

/// The conditions that columns can answer.
pub(super) struct Prefilter<'a> {
    kind: ShapeKind,
    conditions: Vec<&'a LabelFilter>,
    /// Whether these are all label filters that there are.
    is_whole: bool,
}

impl<'a> Prefilter<'a> {
    /// What of `stages` columns can answer; `None` if nothing.
    pub(super) fn of(stages: &'a [Stage]) -> Option<Prefilter<'a>> {
        let mut stages = stages.iter().skip_while(|stage| matches!(stage, Stage::Line(_)));
        let kind = shape_kind(stages.next()?)?;
        let (mut conditions, mut is_whole) = (Vec::new(), true);
        for stage in stages {
            match stage {
                Stage::Line(_) => {}
                Stage::Label(filter) => is_whole &= conjuncts(filter, &mut conditions),
                _ => {
                    is_whole = false;
                    break;
                }
            }
        }
        (!conditions.is_empty()).then_some(Prefilter { kind, conditions, is_whole })
    }

    /// Whether a row that is left passes all label filters, if its values are as they stand and its
    /// numbers are numbers.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// The shapes that can be asked.
    pub(super) fn kind(&self) -> ShapeKind {
        self.kind
    }

    /// Clears the rows that the conditions drop; a group without a plan drops none.
    pub(super) fn apply(
        &self,
        block: &dyn LogBlock,
        groups: &Groups<'_>,
        plans: &[Option<Plan>],
        rows: &mut [bool],
    ) -> Result<(), EvalError> {
        let mut answers = Answers::default();
        let mut of_group = Vec::with_capacity(plans.len());
        for (group, plan) in groups.all.iter().zip(plans) {
            let asked = match plan {
                Some(plan) => self.ask(block, group.shape, plan, &mut answers)?,
                None => Vec::new(),
            };
            of_group.push(answers.numbered(asked));
        }
        answers.clear(block, groups, &of_group, rows)
    }

    /// What is asked of the rows of a group.
    fn ask(
        &self,
        block: &dyn LogBlock,
        shape: usize,
        plan: &Plan,
        answers: &mut Answers<'a>,
    ) -> Result<Vec<Asked>, EvalError> {
        let mut asked = Vec::new();
        for (at, &condition) in self.conditions.iter().enumerate() {
            let holds = match plan.place(name_of(condition)) {
                Some(Place::Slot(slot)) => {
                    asked.push(answers.of_slot((at, condition), block, shape, slot)?);
                    continue;
                }
                Some(Place::Fixed(value)) => word_holds(condition, &value),
                None => match condition {
                    LabelFilter::Text(matcher) => matcher.matches_empty(),
                    _ => false,
                },
            };
            if !holds {
                return Ok(vec![Asked::Never]);
            }
        }
        Ok(asked)
    }
}

/// The comparisons of a filter that must all hold and that columns know; whether these are all.
fn conjuncts<'a>(filter: &'a LabelFilter, out: &mut Vec<&'a LabelFilter>) -> bool {
    match filter {
        LabelFilter::And(left, right) => conjuncts(left, out) & conjuncts(right, out),
        LabelFilter::Number { name, .. } if is_plain(name) => {
            out.push(filter);
            true
        }
        LabelFilter::Text(matcher) if is_plain(&matcher.name) => {
            out.push(filter);
            true
        }
        _ => false,
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

/// A question about the rows of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Asked {
    /// They are dropped.
    Never,
    /// A mask over their ranks says which pass.
    Mask(usize),
    /// The text in a slot says, by the condition of that number.
    Text { condition: usize, slot: usize },
}

/// Which rows of a group pass, by rank.
enum Passes<'m> {
    All,
    None,
    Some(Cow<'m, [bool]>),
}

/// Answers from the columns of a block, each found once.
#[derive(Default)]
struct Answers<'a> {
    /// By rank.
    masks: Vec<Vec<bool>>,
    of_slots: HashMap<(usize, usize, usize), Asked>,
    conditions: HashMap<usize, &'a LabelFilter>,
    /// The different lists of questions.
    lists: Vec<Vec<Asked>>,
    known: HashMap<Vec<Asked>, usize>,
}

impl<'a> Answers<'a> {
    /// The number of a list of questions.
    fn numbered(&mut self, list: Vec<Asked>) -> usize {
        *self.known.entry(list).or_insert_with_key(|list| {
            self.lists.push(list.clone());
            self.lists.len() - 1
        })
    }

    fn of_slot(
        &mut self,
        (at, condition): (usize, &'a LabelFilter),
        block: &dyn LogBlock,
        shape: usize,
        slot: usize,
    ) -> Result<Asked, EvalError> {
        if let Some(known) = self.of_slots.get(&(at, shape, slot)) {
            return Ok(*known);
        }
        let mask = match (block.values(shape, slot)?, condition) {
            (SlotValues::Words { words, codes: [] }, _) => {
                bytes_hold(condition, &words[0]).then(Vec::new)
            }
            (SlotValues::Words { words, codes }, _) => {
                let by_word: Vec<bool> =
                    words.iter().map(|word| bytes_hold(condition, word)).collect();
                Some(codes.iter().map(|&code| by_word[usize::from(code)]).collect())
            }
            (SlotValues::Numbers { mantissas, scale }, LabelFilter::Number { op, value, .. }) => {
                Some(Between::of(*op, *value, scale).mask(mantissas))
            }
            _ => {
                self.conditions.insert(at, condition);
                let asked = Asked::Text { condition: at, slot };
                self.of_slots.insert((at, shape, slot), asked);
                return Ok(asked);
            }
        };
        let asked = match mask {
            None => Asked::Never,
            Some(mask) => {
                self.masks.push(mask);
                Asked::Mask(self.masks.len() - 1)
            }
        };
        self.of_slots.insert((at, shape, slot), asked);
        Ok(asked)
    }

    /// Clears the rows that do not pass the questions of their group.
    fn clear(
        &self,
        block: &dyn LogBlock,
        groups: &Groups<'_>,
        of_group: &[usize],
        rows: &mut [bool],
    ) -> Result<(), EvalError> {
        let lists: Vec<Passes<'_>> = self.lists.iter().map(|list| self.passes(list)).collect();
        if let ([passes], Some(first)) = (&lists[..], groups.first_rank()) {
            match passes {
                Passes::All => {}
                Passes::None => rows.fill(false),
                Passes::Some(mask) => {
                    rows.iter_mut().zip(&mask[first..]).for_each(|(row, passes)| *row &= passes);
                }
            }
        } else if lists.iter().any(|passes| !matches!(passes, Passes::All)) {
            let of_group: Vec<&Passes<'_>> = of_group.iter().map(|list| &lists[*list]).collect();
            let of_row = groups.of_row(rows.len());
            for (row, (wanted, group)) in rows.iter_mut().zip(of_row.iter()).enumerate() {
                *wanted &= match of_group[*group as usize] {
                    Passes::All => true,
                    Passes::None => false,
                    Passes::Some(mask) => mask[groups.rank(row)],
                };
            }
        }
        if !self.conditions.is_empty() {
            self.clear_texts(block, groups, of_group, rows)?;
        }
        Ok(())
    }

    /// What the masks of a list of questions come to.
    fn passes(&self, list: &[Asked]) -> Passes<'_> {
        let mut passes = Passes::All;
        for asked in list {
            passes = match (asked, passes) {
                (Asked::Never, _) => return Passes::None,
                (Asked::Text { .. }, passes) => passes,
                (Asked::Mask(mask), passes) if self.masks[*mask].is_empty() => passes,
                (Asked::Mask(mask), Passes::Some(before)) => {
                    let both = before.iter().zip(&self.masks[*mask]).map(|(a, b)| a & b);
                    Passes::Some(both.collect())
                }
                (Asked::Mask(mask), _) => Passes::Some(Cow::Borrowed(&self.masks[*mask])),
            };
        }
        passes
    }

    /// The questions about texts, of the rows that are left.
    fn clear_texts(
        &self,
        block: &dyn LogBlock,
        groups: &Groups<'_>,
        of_group: &[usize],
        rows: &mut [bool],
    ) -> Result<(), EvalError> {
        let of_row = groups.of_row(rows.len());
        let mut text = Vec::new();
        for (row, wanted) in rows.iter_mut().enumerate().filter(|(_, wanted)| **wanted) {
            let group = of_row[row] as usize;
            for asked in &self.lists[of_group[group]] {
                let Asked::Text { condition, slot } = asked else { continue };
                text.clear();
                block.value(groups.all[group].shape, *slot, groups.rank(row), &mut text)?;
                *wanted &= bytes_hold(self.conditions[condition], &text);
            }
        }
        Ok(())
    }
}

/// The mantissas for which a comparison of numbers holds, or does not: dividing by the scale keeps
/// their order, so that they lie between two of them, and whole numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Between {
    least: i64,
    /// How many follow the least; none at all when `is_empty`.
    span: u64,
    is_empty: bool,
    is_inside: bool,
}

impl Between {
    fn of(op: Comparison, value: f64, scale: u32) -> Between {
        // The first mantissa of which `holds` is true: false ones come before, true ones behind.
        let first = |holds: &dyn Fn(f64) -> bool| {
            let (mut low, mut high) = (i128::from(i64::MIN), i128::from(i64::MAX) + 1);
            while low < high {
                let middle = (low + high).div_euclid(2);
                match holds(number(middle as i64, scale)) {
                    true => high = middle,
                    false => low = middle + 1,
                }
            }
            low
        };
        let (least, most) = (i128::from(i64::MIN), i128::from(i64::MAX));
        let not_below = || first(&|number| number >= value);
        let above = || first(&|number| number > value);
        let (from, to) = match op {
            Comparison::Greater => (above(), most),
            Comparison::GreaterOrEqual => (not_below(), most),
            Comparison::Less if value.is_nan() => (most + 1, most),
            Comparison::LessOrEqual if value.is_nan() => (most + 1, most),
            Comparison::Less => (least, not_below() - 1),
            Comparison::LessOrEqual => (least, above() - 1),
            Comparison::Equal | Comparison::NotEqual => (not_below(), above() - 1),
        };
        let is_empty = from > to;
        Between {
            least: if is_empty { 0 } else { from as i64 },
            span: if is_empty { 0 } else { (to - from) as u64 },
            is_empty,
            is_inside: op != Comparison::NotEqual,
        }
    }

    fn mask(self, mantissas: &[i64]) -> Vec<bool> {
        if self.is_empty {
            return vec![!self.is_inside; mantissas.len()];
        }
        let is_between = |mantissa: &i64| mantissa.wrapping_sub(self.least) as u64 <= self.span;
        mantissas.iter().map(|mantissa| is_between(mantissa) == self.is_inside).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_between_two_are_those_that_compare() {
        use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
        let values = [
            0.0,
            -0.0,
            1.0,
            1000.0,
            0.1,
            0.3,
            1e300,
            -1e300,
            1e19,
            2.5,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
            9_007_199_254_740_993.0,
            201.903,
        ];
        let near = |mantissa: i64| (-3..=3).map(move |by| mantissa.saturating_add(by));
        for scale in [0, 1, 3, 15] {
            for value in values {
                let at = (value * 10f64.powi(scale as i32)) as i64;
                let mantissas: Vec<i64> = [at, 0, i64::MIN, i64::MAX, 1 << 53, 201_903, -1_000_000]
                    .into_iter()
                    .flat_map(near)
                    .collect();
                for op in [Equal, NotEqual, Greater, GreaterOrEqual, Less, LessOrEqual] {
                    let wanted: Vec<bool> =
                        mantissas.iter().map(|m| op.holds(number(*m, scale), value)).collect();
                    let got = Between::of(op, value, scale).mask(&mantissas);
                    assert_eq!(got, wanted, "{op:?} {value} at scale {scale}: {mantissas:?}");
                }
            }
        }
    }
}
