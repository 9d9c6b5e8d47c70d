//! Groups of LogQL rules as Loki's ruler exchanges them with its clients: one group to a request, all
//! groups by namespace in an answer, both YAML.

use crate::rules::{QueryLanguage, Rule, RuleGroup, RuleKind};
use crate::tree::Tree;
use crate::written::rules::{self, ExprCheck};
use crate::yaml::Source;
use crate::{ConfigError, Finding};
use std::collections::BTreeMap;
use vigie_model::duration::format_duration_ms;

/// What Loki says of a text that is no group.
const UNDECODABLE: &str = "unable to decoded rule group";

/// Reads a group that a client sent to `namespace`; the error is in Loki's words.
pub fn parse_group(
    namespace: &str,
    text: &str,
    interval_ms: i64,
    check: ExprCheck<'_>,
) -> Result<RuleGroup, String> {
    let source = Source { file: namespace, text };
    // What does not parse is told apart from what is wrong: only the second has words of its own.
    source.parse::<BTreeMap<String, Tree>>().map_err(|_| UNDECODABLE.to_owned())?;
    let group = rules::read_group(&source, interval_ms, (QueryLanguage::LogQl, check));
    let group = group.map_err(|error| match error {
        ConfigError::Wrong(Finding { message, .. }) if is_about_a_rule(&message) => message,
        _ => UNDECODABLE.to_owned(),
    })?;
    if group.name.is_empty() {
        return Err("invalid rules config: rule group name must not be empty".to_owned());
    }
    if group.rules.is_empty() {
        return Err(format!("invalid rules config: rule group '{}' has no rules", group.name));
    }
    Ok(group)
}

/// Whether the words are a validator's, not the YAML reader's.
fn is_about_a_rule(message: &str) -> bool {
    ["could not parse", "invalid ", "only one of", "one of", "label ", "annotation "]
        .iter()
        .any(|start| message.starts_with(start))
}

/// All groups by namespace; an interval that is `interval_ms` goes without saying.
pub fn namespaces_to_yaml<'a>(
    groups: impl IntoIterator<Item = &'a RuleGroup>,
    interval_ms: i64,
) -> String {
    let mut namespaces: BTreeMap<&str, Vec<Tree>> = BTreeMap::new();
    for group in groups {
        namespaces.entry(&group.file).or_default().push(tree_of(group, interval_ms));
    }
    let list = |(namespace, groups): (&str, Vec<Tree>)| (namespace.to_owned(), Tree::List(groups));
    Tree::Map(namespaces.into_iter().map(list).collect()).to_yaml()
}

/// One group.
pub fn group_to_yaml(group: &RuleGroup, interval_ms: i64) -> String {
    tree_of(group, interval_ms).to_yaml()
}

fn tree_of(group: &RuleGroup, interval_ms: i64) -> Tree {
    let mut map = vec![text("name", &group.name)];
    if group.interval_ms != interval_ms {
        map.push(text("interval", &format_duration_ms(group.interval_ms)));
    }
    if group.query_offset_ms != 0 {
        map.push(text("query_offset", &format_duration_ms(group.query_offset_ms)));
    }
    if group.limit != 0 {
        map.push(("limit".to_owned(), Tree::Plain(group.limit.to_string())));
    }
    map.push(("rules".to_owned(), Tree::List(group.rules.iter().map(tree_of_rule).collect())));
    let labels: Vec<(String, String)> =
        group.labels.iter().map(|one| (one.name.to_string(), one.value.to_string())).collect();
    map.extend(texts("labels", &labels));
    Tree::Map(map)
}

fn tree_of_rule(rule: &Rule) -> Tree {
    let mut map = Vec::new();
    let expr = text("expr", &rule.expr);
    match &rule.kind {
        RuleKind::Record { name } => {
            map.extend([text("record", name), expr]);
            map.extend(texts("labels", &rule.labels));
        }
        RuleKind::Alert { name, for_ms, keep_firing_for_ms, annotations } => {
            map.extend([text("alert", name), expr]);
            for (key, ms) in [("for", *for_ms), ("keep_firing_for", *keep_firing_for_ms)] {
                if ms != 0 {
                    map.push(text(key, &format_duration_ms(ms)));
                }
            }
            map.extend(texts("labels", &rule.labels));
            map.extend(texts("annotations", annotations));
        }
    }
    Tree::Map(map)
}

fn text(key: &str, value: &str) -> (String, Tree) {
    (key.to_owned(), Tree::Text(value.to_owned()))
}

fn texts(key: &str, pairs: &[(String, String)]) -> Option<(String, Tree)> {
    let map = pairs.iter().map(|(name, value)| text(name, value)).collect();
    (!pairs.is_empty()).then(|| (key.to_owned(), Tree::Map(map)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<RuleGroup, String> {
        let check = |expr: &str| match expr.contains("((") {
            true => Err("parse error at line 1, col 2: syntax error".to_owned()),
            false => Ok(()),
        };
        parse_group("ns", text, 60_000, &check)
    }

    const GROUP: &str = "\
name: g
interval: 30s
limit: 2
rules:
- alert: Panics
  expr: \"sum by (job) (count_over_time({job=~\\\"a|b\\\"} |= \\\"panic\\\" [1m])) > 0\"
  for: 5m
  labels:
    severity: high
  annotations:
    summary: \"{{ $labels.job }}\"
- record: \"job:panics:rate1m\"
  expr: \"sum by (job) (rate({job=\\\"a\\\"}[1m]))\"
";

    #[test]
    fn a_group_is_written_as_it_is_read() {
        let group = parsed(GROUP).unwrap();
        assert_eq!(group_to_yaml(&group, 60_000), GROUP);
        assert_eq!((group.file.as_str(), group.language), ("ns", QueryLanguage::LogQl));
        let all = namespaces_to_yaml([&group], 30_000);
        assert!(all.starts_with("ns:\n- name: g\n  limit: 2\n  rules:\n"), "{all}");
        // Groups of a file's form are no group.
        assert!(parsed(&all).is_err());
    }

    #[test]
    fn a_wrong_group_is_refused_in_lokis_words() {
        for (text, words) in [
            ("- 1", UNDECODABLE),
            ("a: [", UNDECODABLE),
            ("groups: []", UNDECODABLE),
            ("name: ''\nrules: []", "invalid rules config: rule group name must not be empty"),
            ("name: g\nrules: []", "invalid rules config: rule group 'g' has no rules"),
            ("name: g\nrules: [{expr: x}]", "one of 'record' or 'alert' must be set"),
            (
                "name: g\nrules: [{expr: x, record: a, alert: b}]",
                "only one of 'record' and 'alert' must be set",
            ),
            (
                "name: g\nrules: [{record: a, expr: 'sum(('}]",
                "could not parse expression for record 'a' in group 'g': parse error at line 1, col 2: syntax error",
            ),
            (
                "name: g\nrules: [{record: a, for: 1m, expr: x}]",
                "invalid field 'for' in recording rule",
            ),
            ("name: g\nrules: [{record: a-b, expr: x}]", "invalid recording rule name: a-b"),
            ("name: g\nrules: [{alert: a, expr: x, labels: {a.b: c}}]", "invalid label name: a.b"),
        ] {
            assert_eq!(parsed(text).unwrap_err(), words, "{text}");
        }
    }
}
