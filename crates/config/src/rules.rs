//! Rule files: the `groups:` format that Prometheus and Loki share.

use vigie_model::Labels;

/// What a group's expressions are written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum QueryLanguage {
    /// Prometheus' language, over metrics.
    #[default]
    PromQl,
    /// Loki's language, over lines.
    LogQl,
}

/// A group of rules that are evaluated one after the other at one instant.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleGroup {
    /// What its expressions are written in; part of the group's identity.
    pub language: QueryLanguage,
    /// The file it stands in, as the user named it; part of the group's identity. For a group of
    /// LogQL, Loki's namespace: the file's name, or the one that a client gave.
    pub file: String,
    /// Its name, unique in the file.
    pub name: String,
    /// Milliseconds between evaluations.
    pub interval_ms: i64,
    /// Most alerts or series one rule may yield; 0 means no limit.
    pub limit: usize,
    /// How far in the past rules are evaluated, in milliseconds.
    pub query_offset_ms: i64,
    /// Labels added to every rule of the group; a rule's own win.
    pub labels: Labels,
    /// The rules, in order.
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// What it yields.
    pub kind: RuleKind,
    /// The text, in the group's language.
    pub expr: String,
    /// Labels, templates for an alert.
    pub labels: Vec<(String, String)>,
}

/// Alert or recording.
#[derive(Clone, Debug, PartialEq)]
pub enum RuleKind {
    /// `alert:`.
    Alert {
        /// The alert's name.
        name: String,
        /// How long the condition must hold, in milliseconds.
        for_ms: i64,
        /// How long it stays firing after the condition has gone, in milliseconds.
        keep_firing_for_ms: i64,
        /// Annotation templates, in order.
        annotations: Vec<(String, String)>,
    },
    /// `record:`.
    Record {
        /// The metric written.
        name: String,
    },
}
