//! Line filters answered by blocks, before any line is rebuilt.
//!
//! `|= "text"` is a question to a block as it stands, and so are most patterns: `|~ "(?i)error"` asks
//! for a text in any case, `|~ "GET|POST"` for two. Of other patterns blocks answer what they can,
//! namely which lines hold the texts that a match needs, and the pattern runs over what is left.

use crate::ast::{LineFilter, LineOp, Stage};
use vigie_model::ReadError;
use vigie_model::blocks::{AnyOf, LogBlock};
use vigie_model::regexp;

/// The line filters in front of any stage that changes the line.
pub(super) struct LineFilters {
    /// Texts of which a line must contain one, or none.
    asked: Vec<(AnyOf, bool)>,
    /// Whether a filter is left that only the line answers.
    pub(super) needs_line: bool,
}

impl LineFilters {
    pub(super) fn of(stages: &[Stage]) -> LineFilters {
        let mut filters = LineFilters { asked: Vec::new(), needs_line: false };
        for stage in stages {
            match stage {
                Stage::Line(filter) => filters.add(filter),
                Stage::LineFormat(_) | Stage::Decolorize | Stage::Unpack => break,
                _ => {}
            }
        }
        // What leaves fewer lines comes first.
        filters.asked.sort_by_key(|(_, is_negative)| *is_negative);
        filters
    }

    fn add(&mut self, filter: &LineFilter) {
        let is_negative = filter.op.is_negative();
        match texts_of(filter) {
            Some((any, is_all)) if is_all || !is_negative => {
                self.asked.push((any, is_negative));
                self.needs_line |= !is_all;
            }
            _ => self.needs_line = true,
        }
    }

    /// Clears the rows that the filters drop, as far as the block tells.
    pub(super) fn apply(&self, block: &dyn LogBlock, rows: &mut [bool]) -> Result<(), ReadError> {
        for (any, is_negative) in &self.asked {
            if !rows.contains(&true) {
                return Ok(());
            }
            if !is_negative {
                block.contains_any(any, rows)?;
                continue;
            }
            let mut found = rows.to_vec();
            block.contains_any(any, &mut found)?;
            rows.iter_mut().zip(found).for_each(|(row, found)| *row &= !found);
        }
        Ok(())
    }
}

/// The texts of which a line that a filter looks for contains one, and whether they are all that it
/// looks for.
fn texts_of(filter: &LineFilter) -> Option<(AnyOf, bool)> {
    let (mut texts, mut ignores_case, mut is_all) = (Vec::new(), None, true);
    for one in &filter.texts {
        if one.is_ip {
            return None;
        }
        match filter.op {
            LineOp::Contains | LineOp::NotContains => {
                if one.text.is_empty() || ignores_case.replace(false) == Some(true) {
                    return None;
                }
                texts.push(one.text.as_bytes().to_vec());
            }
            LineOp::Regex | LineOp::NotRegex => {
                let found = regexp::literals(&one.text)?;
                let of_pattern = found.any.ignores_case();
                if ignores_case.replace(of_pattern).is_some_and(|before| before != of_pattern) {
                    return None;
                }
                texts.extend_from_slice(found.any.texts());
                is_all &= found.is_all;
            }
            LineOp::Pattern | LineOp::NotPattern => return None,
        }
    }
    (!texts.is_empty()).then(|| (AnyOf::new(texts, ignores_case == Some(true)), is_all))
}
