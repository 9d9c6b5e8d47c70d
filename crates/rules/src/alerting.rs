//! Alerting rules: inactive → pending → firing, as Prometheus' `rules/alerting.go` does it.

use crate::{Change, RESOLVED_RETENTION_MS, RuleError, Surroundings};
use std::collections::{BTreeMap, BTreeSet};
use vigie_model::{Labels, METRIC_NAME};
use vigie_template::{RuleContext, expand_annotation};

/// Where an alert stands; the order is that of badness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlertState {
    /// Resolved, or never was.
    Inactive,
    /// The condition holds, but not for long enough.
    Pending,
    /// It has held for as long as `for` says.
    Firing,
}

impl AlertState {
    /// `inactive`, `pending` or `firing`.
    pub fn as_str(self) -> &'static str {
        match self {
            AlertState::Inactive => "inactive",
            AlertState::Pending => "pending",
            AlertState::Firing => "firing",
        }
    }

    /// The state that [`AlertState::as_str`] names.
    pub fn parse(text: &str) -> Option<AlertState> {
        [AlertState::Inactive, AlertState::Pending, AlertState::Firing]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// One alert of a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct ActiveAlert {
    /// The identity: the sample's labels, the rule's, and `alertname`.
    pub labels: Labels,
    /// The expanded annotations, in the rule's order.
    pub annotations: Vec<(String, String)>,
    /// Where it stands.
    pub state: AlertState,
    /// The last value seen; frozen while `keep_firing_for` holds the alert.
    pub value: f64,
    /// When the condition began to hold.
    pub active_at_ms: i64,
    /// When it fired.
    pub fired_at_ms: Option<i64>,
    /// When it was resolved.
    pub resolved_at_ms: Option<i64>,
    /// Since when only `keep_firing_for` holds it.
    pub keep_firing_since_ms: Option<i64>,
}

/// An `alert:` rule and its alerts.
#[derive(Clone)]
pub(crate) struct AlertingRule {
    pub(crate) name: String,
    pub(crate) for_ms: i64,
    pub(crate) keep_firing_for_ms: i64,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) annotations: Vec<(String, String)>,
    pub(crate) limit: usize,
    pub(crate) active: BTreeMap<Labels, ActiveAlert>,
}

impl AlertingRule {
    /// Takes the answer in, and says which series to write.
    pub(crate) fn evaluate(
        &mut self,
        now_ms: i64,
        vector: &[(Labels, f64)],
        surroundings: &Surroundings,
        changes: &mut Vec<Change>,
    ) -> Result<Vec<(Labels, f64)>, RuleError> {
        let mut seen = BTreeSet::new();
        let mut fresh = Vec::with_capacity(vector.len());
        for (sample, value) in vector {
            let alert = self.expand(sample, *value, now_ms, surroundings);
            if !seen.insert(alert.labels.clone()) {
                return Err(RuleError::Duplicate("alert"));
            }
            fresh.push(alert);
        }
        for alert in fresh {
            self.take(alert, changes);
        }
        let samples = self.advance(now_ms, &seen, changes);
        let active = self.active.values().filter(|a| a.state != AlertState::Inactive).count();
        if self.limit > 0 && active > self.limit {
            changes.clear();
            let all = std::mem::take(&mut self.active);
            changes.extend(all.into_keys().map(Change::Gone));
            return Err(RuleError::Limit { limit: self.limit, got: active, what: "alerts" });
        }
        Ok(samples)
    }

    /// The alert that a sample stands for, pending, with its templates expanded.
    fn expand(
        &self,
        sample: &Labels,
        value: f64,
        now_ms: i64,
        surroundings: &Surroundings,
    ) -> ActiveAlert {
        let context = RuleContext {
            name: format!("__alert_{}", self.name),
            labels: sample.clone(),
            external_labels: surroundings.external_labels.clone(),
            value,
            external_url: surroundings.external_url.clone(),
            now_ms,
            query: surroundings.query.clone(),
        };
        // A template that fails must not hide the alert: its error takes the text's place.
        let expand = |text: &str| {
            expand_annotation(text, &context)
                .unwrap_or_else(|error| format!("<error expanding template: {error}>"))
        };
        let mut labels = sample.to_builder();
        labels.remove(METRIC_NAME);
        for (name, text) in &self.labels {
            labels.set(name.as_str(), expand(text));
        }
        labels.set("alertname", self.name.as_str());
        let annotations =
            self.annotations.iter().map(|(name, text)| (name.clone(), expand(text))).collect();
        ActiveAlert {
            labels: labels.build(),
            annotations,
            state: AlertState::Pending,
            value,
            active_at_ms: now_ms,
            fired_at_ms: None,
            resolved_at_ms: None,
            keep_firing_since_ms: None,
        }
    }

    /// Refreshes a known alert or begins a new one.
    fn take(&mut self, fresh: ActiveAlert, changes: &mut Vec<Change>) {
        match self.active.get_mut(&fresh.labels) {
            Some(known) if known.state != AlertState::Inactive => {
                if known.state == AlertState::Pending && known.active_at_ms > fresh.active_at_ms {
                    // The clock was set back; the alert must not stay pending until it is there again.
                    known.active_at_ms = fresh.active_at_ms;
                    changes.push(Change::Kept(known.clone()));
                }
                known.value = fresh.value;
                known.annotations = fresh.annotations;
                if known.keep_firing_since_ms.take().is_some() {
                    changes.push(Change::Kept(known.clone()));
                }
            }
            _ => {
                if self.for_ms > 0 {
                    changes.push(Change::Kept(fresh.clone()));
                }
                self.active.insert(fresh.labels.clone(), fresh);
            }
        }
    }

    /// Moves every alert on, and says which series to write.
    fn advance(
        &mut self,
        now_ms: i64,
        seen: &BTreeSet<Labels>,
        changes: &mut Vec<Change>,
    ) -> Vec<(Labels, f64)> {
        let mut samples = Vec::new();
        let mut gone = Vec::new();
        for alert in self.active.values_mut() {
            if !seen.contains(&alert.labels)
                && !kept_firing(alert, now_ms, self.keep_firing_for_ms, changes)
            {
                if expires(alert, now_ms) {
                    gone.push(alert.labels.clone());
                } else if alert.state == AlertState::Firing {
                    alert.state = AlertState::Inactive;
                    alert.resolved_at_ms = Some(now_ms);
                    alert.keep_firing_since_ms = None;
                    changes.push(Change::Kept(alert.clone()));
                }
                continue;
            }
            if alert.state == AlertState::Pending && now_ms - alert.active_at_ms >= self.for_ms {
                alert.state = AlertState::Firing;
                alert.fired_at_ms = Some(now_ms);
                changes.push(Change::Kept(alert.clone()));
            }
            samples.push(state_sample(alert));
            samples.push(for_state_sample(alert));
        }
        for labels in gone {
            self.active.remove(&labels);
            changes.push(Change::Gone(labels));
        }
        samples
    }
}

/// Whether `keep_firing_for` holds an alert whose condition is gone.
fn kept_firing(
    alert: &mut ActiveAlert,
    now_ms: i64,
    keep_firing_for_ms: i64,
    changes: &mut Vec<Change>,
) -> bool {
    if alert.state != AlertState::Firing || keep_firing_for_ms == 0 {
        return false;
    }
    if alert.keep_firing_since_ms.is_none_or(|since_ms| since_ms > now_ms) {
        alert.keep_firing_since_ms = Some(now_ms);
        changes.push(Change::Kept(alert.clone()));
    }
    now_ms - alert.keep_firing_since_ms.unwrap_or(now_ms) < keep_firing_for_ms
}

/// Pending alerts go at once when their condition goes, resolved ones after a while.
fn expires(alert: &ActiveAlert, now_ms: i64) -> bool {
    match (alert.state, alert.resolved_at_ms) {
        (AlertState::Pending, _) => true,
        (AlertState::Inactive, Some(at_ms)) => (now_ms - at_ms).abs() > RESOLVED_RETENTION_MS,
        (AlertState::Inactive, None) => true,
        (AlertState::Firing, _) => false,
    }
}

fn state_sample(alert: &ActiveAlert) -> (Labels, f64) {
    let mut labels = alert.labels.to_builder();
    labels.set(METRIC_NAME, "ALERTS");
    labels.set("alertstate", alert.state.as_str());
    (labels.build(), 1.0)
}

fn for_state_sample(alert: &ActiveAlert) -> (Labels, f64) {
    let mut labels = alert.labels.to_builder();
    labels.set(METRIC_NAME, "ALERTS_FOR_STATE");
    (labels.build(), alert.active_at_ms.div_euclid(1000) as f64)
}
