//! Requests to delete lines: LogQL's selector and line filters on one side, the store's conditions on
//! the other.

use super::logs::error;
use crate::{EngineError, LogDeletion};
use vigie_logql::Expr;
use vigie_logql::ast::{FilterText, LineFilter, LineOp, LogExpr, Stage};
use vigie_logs::{Deletion, LineTest, LineText, Store};
use vigie_model::LogRange;

/// Deletes what a query of a selector and line filters finds.
pub(super) fn delete(store: &Store, expr: &Expr, range: LogRange) -> Result<u64, EngineError> {
    let Expr::Log(log) = expr else {
        return Err(EngineError::Refused("only lines can be deleted, not numbers".to_owned()));
    };
    let mut tests = Vec::new();
    for stage in &log.stages {
        match stage {
            Stage::Line(filter) => tests.extend(tests_of(filter)?),
            other => {
                return Err(EngineError::Refused(format!(
                    "a delete request takes line filters (|=, !=, |~, !~) and not {other}"
                )));
            }
        }
    }
    store.delete(log.matchers.clone(), range, tests).map_err(error)
}

fn tests_of(filter: &LineFilter) -> Result<Vec<LineTest>, EngineError> {
    let negative = filter.op.is_negative();
    let is_regex = match filter.op {
        LineOp::Contains | LineOp::NotContains => false,
        LineOp::Regex | LineOp::NotRegex => true,
        _ => return Err(EngineError::Refused(format!("a delete request does not take {filter}"))),
    };
    if filter.texts.iter().any(|text| text.is_ip) {
        return Err(EngineError::Refused(format!("a delete request does not take {filter}")));
    }
    let test = |what| LineTest { negative, what };
    let text = |one: &FilterText| one.text.clone();
    if negative || filter.texts.len() == 1 {
        // "Neither a nor b" is two conditions.
        let all = filter.texts.iter().map(|one| match is_regex {
            true => test(LineText::Matches(text(one))),
            false => test(LineText::Contains(text(one).into_bytes())),
        });
        return Ok(all.collect());
    }
    let any: Vec<String> = filter
        .texts
        .iter()
        .map(|one| if is_regex { format!("(?:{})", one.text) } else { regex::escape(&one.text) })
        .collect();
    Ok(vec![test(LineText::Matches(any.join("|")))])
}

/// A request as a query.
pub(super) fn shown(one: Deletion) -> LogDeletion {
    let stage = |test: &LineTest| {
        let (op, text) = match (&test.what, test.negative) {
            (LineText::Contains(text), false) => (LineOp::Contains, as_text(text)),
            (LineText::Contains(text), true) => (LineOp::NotContains, as_text(text)),
            (LineText::Matches(text), false) => (LineOp::Regex, text.clone()),
            (LineText::Matches(text), true) => (LineOp::NotRegex, text.clone()),
        };
        Stage::Line(LineFilter { op, texts: vec![FilterText { text, is_ip: false }] })
    };
    let stages = one.lines.iter().map(stage).collect();
    LogDeletion {
        id: one.id,
        created_ms: one.created_ms,
        query: LogExpr { matchers: one.matchers, stages }.to_string(),
        range: one.range,
        is_done: one.done_ms.is_some(),
    }
}

fn as_text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
