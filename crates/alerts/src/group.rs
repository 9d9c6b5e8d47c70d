//! One group of alerts: its timer, and what each integration was last told.

use crate::{Alert, Flushed, GroupId, Notification, fingerprint};
use std::collections::{BTreeMap, BTreeSet};
use vigie_config::alerting::Integration;
use vigie_model::Labels;

/// What an integration was last told about a group (an entry of Alertmanager's notification log).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IntegrationLog {
    /// Fingerprints of the alerts that fired.
    pub firing: BTreeSet<u64>,
    /// Fingerprints of the alerts that were resolved.
    pub resolved: BTreeSet<u64>,
    /// When.
    pub told_at_ms: i64,
}

/// Alerts that are told together.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Alertmanager's group key.
    pub key: String,
    /// The receiver's name.
    pub receiver: String,
    /// The labels that make the group.
    pub labels: Labels,
    /// The alerts by their labels.
    pub alerts: BTreeMap<Labels, Alert>,
    /// When the group is looked at next.
    pub next_flush_ms: i64,
    /// Whether it has been looked at.
    pub has_flushed: bool,
    /// What the integrations were last told, by their number.
    pub logs: BTreeMap<usize, IntegrationLog>,
    /// From the route.
    pub group_wait_ms: i64,
    /// From the route.
    pub group_interval_ms: i64,
    /// From the route.
    pub repeat_interval_ms: i64,
}

impl Group {
    /// The group's identity.
    pub fn id(&self) -> GroupId {
        (self.key.clone(), self.receiver.clone())
    }

    /// Whether its timer has run out. A timer further off than it was ever set was set by a clock
    /// that has since been set back; waiting for that clock would leave people untold.
    pub(crate) fn is_due(&self, now_ms: i64) -> bool {
        let longest_ms = self.group_wait_ms.max(self.group_interval_ms);
        self.next_flush_ms <= now_ms || self.next_flush_ms > now_ms.saturating_add(longest_ms)
    }

    /// Takes an alert in; answers whether something changed that must survive a restart.
    pub(crate) fn put(&mut self, alert: &Alert, now_ms: i64) -> bool {
        // An alert that has been firing for longer than group_wait is late already.
        if !self.has_flushed && alert.starts_at_ms + self.group_wait_ms < now_ms {
            self.next_flush_ms = self.next_flush_ms.min(now_ms);
        }
        let before = self.alerts.insert(alert.labels.clone(), alert.clone());
        before.is_none_or(|before| {
            (before.starts_at_ms, before.ends_at_ms) != (alert.starts_at_ms, alert.ends_at_ms)
        })
    }

    /// Tells the integrations that need it, forgets resolved alerts, and sets the timer. Answers
    /// whether something changed that must survive a restart.
    pub(crate) fn flush(
        &mut self,
        now_ms: i64,
        integrations: &[Integration],
        flushed: &mut Flushed,
    ) -> bool {
        let mut changed = !self.has_flushed;
        let fingerprints = |resolved: bool| -> BTreeSet<u64> {
            let wanted = self.alerts.values().filter(|alert| alert.is_resolved() == resolved);
            wanted.map(|alert| fingerprint(&alert.labels)).collect()
        };
        let (firing, resolved) = (fingerprints(false), fingerprints(true));
        for (at, integration) in integrations.iter().enumerate() {
            let log = self.logs.get(&at);
            let repeat_ms = self.repeat_interval_ms;
            let resolves = integration.send_resolved;
            if !must_tell(log, &firing, &resolved, resolves, repeat_ms, now_ms) {
                continue;
            }
            changed = true;
            if firing.is_empty() && !integration.send_resolved {
                flushed.obsolete.push((self.id(), at));
            } else {
                flushed.notifications.push(self.notification(at, integration.send_resolved));
            }
            let (firing, resolved) = (firing.clone(), resolved.clone());
            self.logs.insert(at, IntegrationLog { firing, resolved, told_at_ms: now_ms });
        }
        self.alerts.retain(|_, alert| !alert.is_resolved());
        self.has_flushed = true;
        self.next_flush_ms = now_ms + self.group_interval_ms;
        changed || !resolved.is_empty()
    }

    fn notification(&self, integration: usize, send_resolved: bool) -> Notification {
        let wanted = self.alerts.values().filter(|alert| send_resolved || !alert.is_resolved());
        let alerts: Vec<Alert> = wanted.cloned().collect();
        assert!(!alerts.is_empty(), "an integration is told about at least one alert");
        Notification {
            group_key: self.key.clone(),
            receiver: self.receiver.clone(),
            integration,
            firing: alerts.iter().any(|alert| !alert.is_resolved()),
            group_labels: self.labels.clone(),
            alerts,
        }
    }
}

/// Alertmanager's `DedupStage.needsUpdate`.
fn must_tell(
    log: Option<&IntegrationLog>,
    firing: &BTreeSet<u64>,
    resolved: &BTreeSet<u64>,
    send_resolved: bool,
    repeat_interval_ms: i64,
    now_ms: i64,
) -> bool {
    let Some(log) = log else { return !firing.is_empty() };
    if !firing.is_subset(&log.firing) {
        return true;
    }
    if firing.is_empty() {
        return !log.firing.is_empty();
    }
    if send_resolved && !resolved.is_subset(&log.resolved) {
        return true;
    }
    // A clock that was set back by more than the interval must not make the silence longer.
    (now_ms - log.told_at_ms).abs() >= repeat_interval_ms
}
