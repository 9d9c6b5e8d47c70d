//! Prometheus' relabelling rules (`model/relabel/relabel.go`).

use crate::{Labels, LabelsBuilder};
use md5::{Digest, Md5};
use regex::Regex;

/// What a rule does with what it matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are Prometheus' own")]
pub enum Action {
    Replace,
    Keep,
    Drop,
    KeepEqual,
    DropEqual,
    LabelMap,
    LabelDrop,
    LabelKeep,
    Lowercase,
    Uppercase,
    /// What is left of the MD5 of the joined values, divided by this; never 0.
    HashMod(u64),
}

impl Action {
    /// Prometheus' word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Replace => "replace",
            Action::Keep => "keep",
            Action::Drop => "drop",
            Action::KeepEqual => "keepequal",
            Action::DropEqual => "dropequal",
            Action::LabelMap => "labelmap",
            Action::LabelDrop => "labeldrop",
            Action::LabelKeep => "labelkeep",
            Action::Lowercase => "lowercase",
            Action::Uppercase => "uppercase",
            Action::HashMod(_) => "hashmod",
        }
    }
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The labels whose values are joined.
    pub source_labels: Vec<String>,
    /// What joins them; `;` by default.
    pub separator: String,
    /// Anchored, `.` matching newlines.
    pub regex: Regex,
    /// The label written; may hold `$1` for [`Action::Replace`].
    pub target_label: String,
    /// What is written; `$1` by default.
    pub replacement: String,
    /// What to do.
    pub action: Action,
}

/// Applies the rules in order. `None` when one of them drops the series or target.
pub fn relabel(labels: &Labels, rules: &[Rule]) -> Option<Labels> {
    let mut builder = labels.to_builder();
    for rule in rules {
        if !apply(rule, &mut builder) {
            return None;
        }
    }
    Some(builder.build())
}

fn apply(rule: &Rule, labels: &mut LabelsBuilder) -> bool {
    let joined = rule
        .source_labels
        .iter()
        .map(|name| labels.get(name).unwrap_or(""))
        .collect::<Vec<_>>()
        .join(&rule.separator);
    match rule.action {
        Action::Keep => return rule.regex.is_match(&joined),
        Action::Drop => return !rule.regex.is_match(&joined),
        Action::KeepEqual => return labels.get(&rule.target_label).unwrap_or("") == joined,
        Action::DropEqual => return labels.get(&rule.target_label).unwrap_or("") != joined,
        Action::Replace => replace(rule, &joined, labels),
        Action::Lowercase => {
            labels.set(rule.target_label.as_str(), joined.to_lowercase());
        }
        Action::Uppercase => {
            labels.set(rule.target_label.as_str(), joined.to_uppercase());
        }
        Action::HashMod(modulus) => {
            let hash: [u8; 16] = Md5::digest(&joined).into();
            let low = hash[8..].iter().fold(0u64, |low, byte| low << 8 | u64::from(*byte));
            labels.set(rule.target_label.as_str(), (low % modulus).to_string());
        }
        Action::LabelMap => {
            let mapped: Vec<_> = labels
                .iter()
                .filter(|label| rule.regex.is_match(&label.name))
                .map(|label| {
                    (
                        rule.regex.replace(&label.name, rule.replacement.as_str()).into_owned(),
                        label.value.clone(),
                    )
                })
                .collect();
            for (name, value) in mapped {
                labels.set(name, value);
            }
        }
        Action::LabelDrop => {
            labels.retain(|label| !rule.regex.is_match(&label.name));
        }
        Action::LabelKeep => {
            labels.retain(|label| rule.regex.is_match(&label.name));
        }
    }
    true
}

fn replace(rule: &Rule, joined: &str, labels: &mut LabelsBuilder) {
    let Some(found) = rule.regex.captures(joined) else { return };
    let (mut target, mut value) = (String::new(), String::new());
    found.expand(&rule.target_label, &mut target);
    found.expand(&rule.replacement, &mut value);
    // An invalid target name changes nothing, silently, as upstream does.
    if !target.is_empty() {
        labels.set(target, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(source: &str, regex: &str, target: &str, replacement: &str, action: Action) -> Rule {
        Rule {
            source_labels: source.split(',').filter(|s| !s.is_empty()).map(str::to_owned).collect(),
            separator: ";".to_owned(),
            regex: Regex::new(&format!("^(?s:{regex})$")).unwrap(),
            target_label: target.to_owned(),
            replacement: replacement.to_owned(),
            action,
        }
    }

    #[test]
    fn rules_change_keep_and_drop() {
        let labels = Labels::from_pairs([("a", "foo"), ("b", "bar"), ("__meta_x", "y")]);
        let cases: [(Rule, Option<&str>); 7] = [
            (
                rule("a", "f(.*)", "d", "ch${1}-ch", Action::Replace),
                Some(r#"{__meta_x="y", a="foo", b="bar", d="choo-ch"}"#),
            ),
            (rule("a,b", "foo;bar", "a", "", Action::Replace), Some(r#"{__meta_x="y", b="bar"}"#)),
            (
                rule("a", "no", "a", "z", Action::Replace),
                Some(r#"{__meta_x="y", a="foo", b="bar"}"#),
            ),
            (rule("a", "foo", "", "", Action::Drop), None),
            (
                rule("", "__meta_(.+)", "", "$1", Action::LabelMap),
                Some(r#"{__meta_x="y", a="foo", b="bar", x="y"}"#),
            ),
            (
                // Debian's Prometheus says so too.
                rule("b", "", "d", "", Action::HashMod(1000)),
                Some(r#"{__meta_x="y", a="foo", b="bar", d="922"}"#),
            ),
            (rule("", "a|b", "", "", Action::LabelKeep), Some(r#"{a="foo", b="bar"}"#)),
        ];
        for (rule, wanted) in cases {
            let got = relabel(&labels, std::slice::from_ref(&rule)).map(|l| l.to_string());
            assert_eq!(got.as_deref(), wanted, "{rule:?}");
        }
    }
}
