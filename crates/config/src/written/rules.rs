//! `groups:` (Prometheus' `model/rulefmt`).

use super::prometheus::more_than_zero;
use crate::error::ConfigError;
use crate::rules::{Rule, RuleGroup, RuleKind};
use crate::yaml::{DurationMs, Source, Spanned, TextMap, or_default};
use serde::Deserialize;
use std::collections::BTreeSet;
use vigie_model::Labels;
use vigie_template::{RuleContext, TemplateError, expand_annotation};

/// Says whether a PromQL text is one; the program passes the parser, which this crate does not know.
pub type ExprCheck<'a> = &'a dyn Fn(&str) -> Result<(), String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, deserialize_with = "or_default")]
    groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    name: Spanned<String>,
    interval: Option<DurationMs>,
    query_offset: Option<DurationMs>,
    #[serde(default)]
    limit: usize,
    #[serde(default, deserialize_with = "or_default")]
    labels: TextMap,
    #[serde(default, deserialize_with = "or_default")]
    rules: Vec<Spanned<WrittenRule>>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRule {
    record: Option<String>,
    alert: Option<String>,
    expr: Spanned<String>,
    r#for: Option<DurationMs>,
    keep_firing_for: Option<DurationMs>,
    #[serde(default, deserialize_with = "or_default")]
    labels: TextMap,
    #[serde(default, deserialize_with = "or_default")]
    annotations: TextMap,
}

/// Reads a rule file. `interval_ms` is the global evaluation interval.
pub(crate) fn read(
    source: &Source<'_>,
    interval_ms: i64,
    check: ExprCheck<'_>,
) -> Result<Vec<RuleGroup>, ConfigError> {
    let file: File = source.parse()?;
    let mut names = BTreeSet::new();
    let mut groups = Vec::new();
    for group in file.groups {
        if !names.insert(group.name.value.clone()) {
            let message = format!("groupname: {:?} is repeated in the same file", group.name.value);
            return Err(source.wrong_at(&group.name, message));
        }
        let rules =
            group.rules.iter().map(|rule| used(source, rule, check)).collect::<Result<_, _>>()?;
        groups.push(RuleGroup {
            file: source.file.to_owned(),
            name: group.name.value,
            interval_ms: more_than_zero(group.interval).unwrap_or(interval_ms),
            limit: group.limit,
            query_offset_ms: group.query_offset.map_or(0, |offset| offset.0),
            labels: Labels::from_pairs(group.labels),
            rules,
        });
    }
    Ok(groups)
}

fn used(
    source: &Source<'_>,
    rule: &Spanned<WrittenRule>,
    check: ExprCheck<'_>,
) -> Result<Rule, ConfigError> {
    let written = &rule.value;
    let kind = match (&written.alert, &written.record) {
        (Some(name), None) => RuleKind::Alert {
            name: name.clone(),
            for_ms: written.r#for.map_or(0, |d| d.0),
            keep_firing_for_ms: written.keep_firing_for.map_or(0, |d| d.0),
            annotations: written.annotations.clone().into_iter().collect(),
        },
        (None, Some(name)) => {
            if written.r#for.is_some()
                || written.keep_firing_for.is_some()
                || !written.annotations.is_empty()
            {
                return Err(source.wrong_at(
                    rule,
                    "a recording rule has no `for`, `keep_firing_for` or `annotations`",
                ));
            }
            RuleKind::Record { name: name.clone() }
        }
        (Some(_), Some(_)) => {
            return Err(source.wrong_at(rule, "only one of 'record' and 'alert' must be set"));
        }
        (None, None) => return Err(source.wrong_at(rule, "one of 'record' or 'alert' must be set")),
    };
    check(&written.expr.value).map_err(|reason| {
        source.wrong_at(&written.expr, format!("could not parse expression: {reason}"))
    })?;
    check_templates(source, rule)?;
    Ok(Rule {
        kind,
        expr: written.expr.value.clone(),
        labels: written.labels.clone().into_iter().collect(),
    })
}

/// A template that is none would only be found out when the alert fires.
fn check_templates(source: &Source<'_>, rule: &Spanned<WrittenRule>) -> Result<(), ConfigError> {
    let Some(alert) = &rule.value.alert else { return Ok(()) };
    let context = RuleContext {
        name: format!("__alert_{alert}"),
        labels: Labels::default(),
        external_labels: Labels::default(),
        value: 0.0,
        external_url: String::new(),
        now_ms: 0,
        query: None,
    };
    for (kind, texts) in [("label", &rule.value.labels), ("annotation", &rule.value.annotations)] {
        for (name, text) in texts {
            // What fails while it runs may do well with the labels of a real alert.
            if let Err(error @ TemplateError::Parse { .. }) = expand_annotation(text, &context) {
                return Err(source.wrong_at(rule, format!("{kind} {name:?}: {error}")));
            }
        }
    }
    Ok(())
}
