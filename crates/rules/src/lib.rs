//! The states of rules: what an evaluation's answer does to alerts and to series.
//!
//! [`GroupState`] holds the rules of one group. The caller asks the engine for each rule's
//! expression, one after the other, and hands the answer to [`GroupState::evaluate`], which says
//! what to write ([`RuleOutcome::samples`], stale markers included) and which alerts changed state
//! ([`RuleOutcome::changes`], to be persisted). An alert goes inactive → pending → firing →
//! inactive; resolved ones are kept for 15 minutes so that their message is not missed.
//!
//! Pure: time and answers go in, decisions come out. Alerts that were persisted come back by
//! [`GroupState::restore`], so nothing is guessed from `ALERTS_FOR_STATE` after a restart.
//!
//! Invariants: an alert's labels are its identity inside a rule; `fired_at_ms` is set exactly when
//! the alert has fired; `resolved_at_ms` exactly when it is inactive.

#![forbid(unsafe_code)]

mod alerting;
mod recording;
mod succession;

pub use alerting::{ActiveAlert, AlertState};

use alerting::AlertingRule;
use recording::RecordingRule;
use std::collections::BTreeSet;
use vigie_config::rules::{QueryLanguage, RuleGroup, RuleKind};
use vigie_model::{Labels, STALE_NAN};
use vigie_template::QueryFn;

/// How long a resolved alert is kept.
pub const RESOLVED_RETENTION_MS: i64 = 15 * 60 * 1000;
/// The longest time between two runs of the program over which a pending alert still counts as
/// having held all the while; Prometheus' outage tolerance.
pub const OUTAGE_TOLERANCE_MS: i64 = 60 * 60 * 1000;

/// Why a rule yielded nothing. The texts are Prometheus' own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// The engine refused the expression.
    #[error("{0}")]
    Query(String),
    /// Two samples gave the same labels.
    #[error("vector contains metrics with the same labelset after applying {0} labels")]
    Duplicate(&'static str),
    /// More alerts or series than `limit` allows.
    #[error("exceeded limit of {limit} with {got} {what}")]
    Limit {
        /// The group's `limit`.
        limit: usize,
        /// How many there were.
        got: usize,
        /// `alerts` or `series`.
        what: &'static str,
    },
}

/// What the templates of a group's rules can see besides the sample.
#[derive(Clone, Default)]
pub struct Surroundings {
    /// The address that links start with.
    pub external_url: String,
    /// `$externalLabels`.
    pub external_labels: Labels,
    /// What `query` asks inside a template.
    pub query: Option<QueryFn>,
}

/// Whether a rule's last evaluation went well; the words are the API's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Not evaluated yet.
    Unknown,
    /// Well.
    Good,
    /// Not.
    Bad,
}

impl Health {
    /// `unknown`, `ok` or `err`.
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Unknown => "unknown",
            Health::Good => "ok",
            Health::Bad => "err",
        }
    }
}

/// What one rule's answer led to.
#[derive(Clone, Debug, Default)]
pub struct RuleOutcome {
    /// Series to write at the evaluation's instant (shifted by the query offset), before the next
    /// rule is evaluated.
    pub samples: Vec<(Labels, f64)>,
    /// Alerts whose persisted state must change.
    pub changes: Vec<Change>,
}

/// What rules that are gone leave behind.
#[derive(Clone, Debug, Default)]
pub struct Leavings {
    /// Their alerts, each with the key of its rule: nobody else will ever resolve them.
    pub alerts: Vec<(String, ActiveAlert)>,
    /// The end of their series.
    pub samples: Vec<(Labels, f64)>,
}

/// One change of persisted state.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The alert is new or has changed state.
    Kept(ActiveAlert),
    /// The alert with these labels is gone.
    Gone(Labels),
}

/// A rule and what is known of it.
#[derive(Clone)]
pub struct RuleState {
    /// Identifies the rule over restarts: language, file, group, kind, name and position among its namesakes.
    pub key: String,
    /// Whether the last evaluation went well.
    pub health: Health,
    /// What went wrong in it.
    pub last_error: Option<String>,
    /// When it was.
    pub last_evaluation_ms: Option<i64>,
    kind: Kind,
    /// The series written by the last evaluation that went well.
    written: BTreeSet<Labels>,
}

#[derive(Clone)]
enum Kind {
    Alert(AlertingRule),
    Record(RecordingRule),
}

impl RuleState {
    /// The alerts that are pending or firing, in order of their labels.
    pub fn active_alerts(&self) -> impl Iterator<Item = &ActiveAlert> {
        self.all_alerts().filter(|alert| alert.state != AlertState::Inactive)
    }

    /// The alerts, resolved ones included, in order of their labels.
    pub fn all_alerts(&self) -> impl Iterator<Item = &ActiveAlert> {
        let alerts = match &self.kind {
            Kind::Alert(rule) => Some(rule.active.values()),
            Kind::Record(_) => None,
        };
        alerts.into_iter().flatten()
    }

    /// The worst state of the rule's alerts; `None` for a recording rule.
    pub fn state(&self) -> Option<AlertState> {
        match &self.kind {
            Kind::Alert(_) => {
                Some(self.all_alerts().map(|a| a.state).max().unwrap_or(AlertState::Inactive))
            }
            Kind::Record(_) => None,
        }
    }

    /// The rule's labels, those of its group included.
    pub fn labels(&self) -> &[(String, String)] {
        match &self.kind {
            Kind::Alert(rule) => &rule.labels,
            Kind::Record(rule) => &rule.labels,
        }
    }
}

/// The rules of one group.
#[derive(Clone)]
pub struct GroupState {
    config: RuleGroup,
    rules: Vec<RuleState>,
}

impl GroupState {
    /// A group in which nothing has happened yet.
    pub fn new(config: RuleGroup) -> GroupState {
        let mut seen: Vec<String> = Vec::new();
        let rules = config
            .rules
            .iter()
            .map(|rule| {
                let labels = with_group_labels(&config.labels, &rule.labels);
                let (kind, name) = match &rule.kind {
                    RuleKind::Alert { name, .. } => ("alert", name),
                    RuleKind::Record { name } => ("record", name),
                };
                // The keys of PromQL's rules are as they were before there was another language.
                let language = match config.language {
                    QueryLanguage::PromQl => "",
                    QueryLanguage::LogQl => "logql;",
                };
                let base = format!("{language}{};{};{kind};{name}", config.file, config.name);
                let nth = seen.iter().filter(|other| **other == base).count();
                let key = format!("{base};{nth}");
                seen.push(base);
                let kind = match &rule.kind {
                    RuleKind::Alert { name, for_ms, keep_firing_for_ms, annotations } => {
                        Kind::Alert(AlertingRule {
                            name: name.clone(),
                            for_ms: *for_ms,
                            keep_firing_for_ms: *keep_firing_for_ms,
                            labels,
                            annotations: annotations.clone(),
                            limit: config.limit,
                            active: Default::default(),
                        })
                    }
                    RuleKind::Record { name } => Kind::Record(RecordingRule {
                        name: name.clone(),
                        labels,
                        limit: config.limit,
                    }),
                };
                RuleState {
                    key,
                    health: Health::Unknown,
                    last_error: None,
                    last_evaluation_ms: None,
                    kind,
                    written: BTreeSet::new(),
                }
            })
            .collect();
        GroupState { config, rules }
    }

    /// The group as configured.
    pub fn config(&self) -> &RuleGroup {
        &self.config
    }

    /// The rules, in order.
    pub fn rules(&self) -> &[RuleState] {
        &self.rules
    }

    /// Puts back an alert that was persisted under the rule's key. Answers whether the rule is here.
    ///
    /// A pending alert goes on counting from where it was unless it is older than its `for` and the
    /// [`OUTAGE_TOLERANCE_MS`] together: then nobody knows whether its condition held.
    pub fn restore(&mut self, rule_key: &str, mut alert: ActiveAlert, now_ms: i64) -> bool {
        let Some(rule) = self.rules.iter_mut().find(|rule| rule.key == rule_key) else {
            return false;
        };
        let Kind::Alert(alerting) = &mut rule.kind else { return false };
        let oldest_ms = now_ms - alerting.for_ms - OUTAGE_TOLERANCE_MS;
        if alert.state == AlertState::Pending && alert.active_at_ms < oldest_ms {
            alert.active_at_ms = now_ms;
        }
        alerting.active.insert(alert.labels.clone(), alert);
        true
    }

    /// Takes up where a group of the same name leaves off: rules that are in both go on with their
    /// alerts and series, and what is left of the others is answered.
    pub fn take_over(&mut self, old: &GroupState, now_ms: i64) -> Leavings {
        let mut left = Leavings::default();
        for before in &old.rules {
            let after = self.rules.iter_mut().find(|rule| rule.key == before.key);
            match after {
                Some(after) => after.written.clone_from(&before.written),
                None => {
                    left.samples.extend(before.written.iter().map(|one| (one.clone(), STALE_NAN)));
                }
            }
            for alert in before.all_alerts() {
                if !self.restore(&before.key, alert.clone(), now_ms) {
                    left.alerts.push((before.key.clone(), alert.clone()));
                }
            }
        }
        left
    }

    /// What is left when the group goes.
    pub fn leave(&self, now_ms: i64) -> Leavings {
        let nothing = RuleGroup { rules: Vec::new(), ..self.config.clone() };
        GroupState::new(nothing).take_over(self, now_ms)
    }

    /// Carries the answer of rule number `at` through its state machine.
    ///
    /// # Panics
    /// If the group has no rule of that number.
    pub fn evaluate(
        &mut self,
        at: usize,
        now_ms: i64,
        answer: Result<Vec<(Labels, f64)>, String>,
        surroundings: &Surroundings,
    ) -> RuleOutcome {
        let rule = &mut self.rules[at];
        rule.last_evaluation_ms = Some(now_ms);
        let mut changes = Vec::new();
        let evaluated = answer.map_err(RuleError::Query).and_then(|vector| match &mut rule.kind {
            Kind::Alert(alert) => alert.evaluate(now_ms, &vector, surroundings, &mut changes),
            Kind::Record(record) => record.evaluate(vector),
        });
        let samples = match evaluated {
            Ok(mut samples) => {
                (rule.health, rule.last_error) = (Health::Good, None);
                let written = samples.iter().map(|(labels, _)| labels.clone()).collect();
                let before = std::mem::replace(&mut rule.written, written);
                let ended = before.into_iter().filter(|labels| !rule.written.contains(labels));
                samples.extend(ended.map(|labels| (labels, STALE_NAN)));
                samples
            }
            Err(error) => {
                // As upstream: no stale markers, the series end by the lookback alone.
                (rule.health, rule.last_error) = (Health::Bad, Some(error.to_string()));
                Vec::new()
            }
        };
        RuleOutcome { samples, changes }
    }
}

/// The group's labels, overwritten by the rule's own.
fn with_group_labels(group: &Labels, own: &[(String, String)]) -> Vec<(String, String)> {
    let inherited = group
        .iter()
        .filter(|label| !own.iter().any(|(name, _)| name.as_str() == label.name.as_ref()))
        .map(|label| (label.name.to_string(), label.value.to_string()));
    inherited.chain(own.iter().cloned()).collect()
}

#[cfg(test)]
mod tests;
