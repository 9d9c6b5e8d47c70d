//! `groups:` (Prometheus' `model/rulefmt`).

use super::prometheus::more_than_zero;
use crate::error::ConfigError;
use crate::rules::{QueryLanguage, Rule, RuleGroup, RuleKind};
use crate::yaml::{DurationMs, Source, Spanned, TextMap, or_default};
use serde::Deserialize;
use std::collections::BTreeSet;
use vigie_model::{Labels, METRIC_NAME};
use vigie_template::{RuleContext, TemplateError, expand_annotation};

/// Says whether a text is one of a language; the program passes the parser, which this crate does
/// not know.
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
    (language, check): (QueryLanguage, ExprCheck<'_>),
) -> Result<Vec<RuleGroup>, ConfigError> {
    let file: File = source.parse()?;
    let mut names = BTreeSet::new();
    let mut groups = Vec::new();
    for group in file.groups {
        if !names.insert(group.name.value.clone()) {
            let message = format!("groupname: {:?} is repeated in the same file", group.name.value);
            return Err(source.wrong_at(&group.name, message));
        }
        groups.push(group.used(source, interval_ms, (language, check))?);
    }
    Ok(groups)
}

/// Reads one group, as Loki's ruler takes it.
pub(crate) fn read_group(
    source: &Source<'_>,
    interval_ms: i64,
    language: (QueryLanguage, ExprCheck<'_>),
) -> Result<RuleGroup, ConfigError> {
    source.parse::<Group>()?.used(source, interval_ms, language)
}

impl Group {
    fn used(
        self,
        source: &Source<'_>,
        interval_ms: i64,
        (language, check): (QueryLanguage, ExprCheck<'_>),
    ) -> Result<RuleGroup, ConfigError> {
        let house = House { source, language, check, group: &self.name.value };
        let rules = self.rules.iter().map(|rule| house.used(rule)).collect::<Result<_, _>>()?;
        Ok(RuleGroup {
            language,
            file: source.file.to_owned(),
            name: self.name.value.clone(),
            interval_ms: more_than_zero(self.interval).unwrap_or(interval_ms),
            limit: self.limit,
            query_offset_ms: self.query_offset.map_or(0, |offset| offset.0),
            labels: Labels::from_pairs(self.labels),
            rules,
        })
    }
}

/// Where a rule stands.
struct House<'a> {
    source: &'a Source<'a>,
    language: QueryLanguage,
    check: ExprCheck<'a>,
    group: &'a str,
}

impl House<'_> {
    fn used(&self, rule: &Spanned<WrittenRule>) -> Result<Rule, ConfigError> {
        let (source, written) = (self.source, &rule.value);
        let kind = match (&written.alert, &written.record) {
            (Some(name), None) => RuleKind::Alert {
                name: name.clone(),
                for_ms: written.r#for.map_or(0, |d| d.0),
                keep_firing_for_ms: written.keep_firing_for.map_or(0, |d| d.0),
                annotations: written.annotations.clone().into_iter().collect(),
            },
            (None, Some(name)) => {
                self.check_record(rule)?;
                RuleKind::Record { name: name.clone() }
            }
            (Some(_), Some(_)) => {
                return Err(source.wrong_at(rule, "only one of 'record' and 'alert' must be set"));
            }
            (None, None) => {
                return Err(source.wrong_at(rule, "one of 'record' or 'alert' must be set"));
            }
        };
        (self.check)(&written.expr.value)
            .map_err(|reason| source.wrong_at(&written.expr, self.not_parsed(&kind, &reason)))?;
        if self.language == QueryLanguage::LogQl {
            check_names(source, rule)?;
        }
        check_templates(source, rule)?;
        Ok(Rule {
            kind,
            expr: written.expr.value.clone(),
            labels: written.labels.clone().into_iter().collect(),
        })
    }

    /// The words of Prometheus, or of Loki.
    fn not_parsed(&self, kind: &RuleKind, reason: &str) -> String {
        let (kind, name) = match kind {
            RuleKind::Alert { name, .. } => ("alert", name),
            RuleKind::Record { name } => ("record", name),
        };
        match self.language {
            QueryLanguage::PromQl => format!("could not parse expression: {reason}"),
            QueryLanguage::LogQl => format!(
                "could not parse expression for {kind} '{name}' in group '{}': {reason}",
                self.group
            ),
        }
    }

    fn check_record(&self, rule: &Spanned<WrittenRule>) -> Result<(), ConfigError> {
        let written = &rule.value;
        let message = match self.language {
            QueryLanguage::LogQl if !written.annotations.is_empty() => {
                "invalid field 'annotations' in recording rule"
            }
            QueryLanguage::LogQl if written.r#for.is_some_and(|hold| hold.0 != 0) => {
                "invalid field 'for' in recording rule"
            }
            QueryLanguage::LogQl => return Ok(()),
            _ if written.r#for.is_some()
                || written.keep_firing_for.is_some()
                || !written.annotations.is_empty() =>
            {
                "a recording rule has no `for`, `keep_firing_for` or `annotations`"
            }
            _ => return Ok(()),
        };
        Err(self.source.wrong_at(rule, message))
    }
}

/// The names that Loki's ruler checks.
fn check_names(source: &Source<'_>, rule: &Spanned<WrittenRule>) -> Result<(), ConfigError> {
    let is_label = |name: &str| {
        let first = |c: char| c.is_ascii_alphabetic() || c == '_';
        name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit())
    };
    let written = &rule.value;
    let label = written.labels.keys().find(|name| !is_label(name) || *name == METRIC_NAME);
    let annotation = written.annotations.keys().find(|name| !is_label(name));
    let record = written.record.as_ref().filter(|name| !is_label(&name.replace(':', "_")));
    let message = match (record, label, annotation) {
        (Some(name), ..) => format!("invalid recording rule name: {name}"),
        (_, Some(name), _) => format!("invalid label name: {name}"),
        (.., Some(name)) => format!("invalid annotation name: {name}"),
        (None, None, None) => return Ok(()),
    };
    Err(source.wrong_at(rule, message))
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
