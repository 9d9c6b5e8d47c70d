//! Routing, grouping and deciding when which receiver hears what: Alertmanager's dispatcher.
//!
//! A [`Dispatcher`] takes alerts in ([`Dispatcher::put`]) and says, when asked what is due
//! ([`Dispatcher::flush`]), which integration of which receiver must be told about which alerts.
//! Routing, group keys, `group_wait`, `group_interval`, `repeat_interval` and the deduplication
//! per integration are Alertmanager's. What differs is delivery: a [`Notification`] returned here is
//! written to the outbox in the transaction that also saves the group, so it counts as told; there
//! is no notification log that can be lost.
//!
//! Pure: times go in, decisions come out. A dispatcher is cloned, changed, persisted and only then
//! put in the place of the old one, so that a failed write loses nothing.
//!
//! Invariants: a group is known by its key and its receiver and holds at least one alert;
//! an alert stands in a group once.

#![forbid(unsafe_code)]

mod group;
mod routing;

pub use group::{Group, IntegrationLog};
pub use routing::{RouteMatch, receivers, route};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use vigie_config::alerting::Alerting;
use vigie_model::Labels;

/// Most groups at once; alerts that would make another one are refused.
pub const GROUPS_MAX: usize = 10_000;
/// Most alerts in one group.
pub const ALERTS_PER_GROUP_MAX: usize = 10_000;

/// Why an alert was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DispatchError {
    /// A limit was reached.
    #[error("more than {limit} {what}; group by fewer labels or make the rule yield fewer alerts")]
    Limit {
        /// Which things.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
}

/// An alert as receivers see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// The identity.
    pub labels: Labels,
    /// Annotations.
    pub annotations: Labels,
    /// When it fired.
    pub starts_at_ms: i64,
    /// When it was resolved.
    pub ends_at_ms: Option<i64>,
    /// When it was put here last.
    pub updated_at_ms: i64,
    /// Where it comes from.
    pub generator_url: String,
    /// The value that the rule saw last.
    pub value: f64,
}

impl Alert {
    /// Whether it is over.
    pub fn is_resolved(&self) -> bool {
        self.ends_at_ms.is_some()
    }

    /// See [`fingerprint`].
    pub fn fingerprint(&self) -> u64 {
        fingerprint(&self.labels)
    }
}

/// Prometheus' fingerprint of a label set: FNV-1a over names and values, each ended by `0xff`.
pub fn fingerprint(labels: &Labels) -> u64 {
    const SEPARATOR: u8 = 255;
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    for label in labels {
        label.name.bytes().for_each(&mut add);
        add(SEPARATOR);
        label.value.bytes().for_each(&mut add);
        add(SEPARATOR);
    }
    hash
}

/// What is to be told to one integration of a receiver.
#[derive(Clone, Debug, PartialEq)]
pub struct Notification {
    /// Alertmanager's group key.
    pub group_key: String,
    /// The receiver's name.
    pub receiver: String,
    /// Which of its integrations.
    pub integration: usize,
    /// Whether any of the alerts fires.
    pub firing: bool,
    /// The labels that make the group.
    pub group_labels: Labels,
    /// The alerts, by their labels; without the resolved ones where the integration wants none.
    pub alerts: Vec<Alert>,
}

/// A group by its key and its receiver.
pub type GroupId = (String, String);

/// What [`Dispatcher::flush`] decided.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flushed {
    /// What is to be told.
    pub notifications: Vec<Notification>,
    /// Integrations that were told of firing alerts, want nothing of resolved ones, and whose group
    /// fires no more: what they have not got yet is obsolete.
    pub obsolete: Vec<(GroupId, usize)>,
}

/// The groups of all routes.
#[derive(Clone)]
pub struct Dispatcher {
    alerting: Arc<Alerting>,
    groups: BTreeMap<GroupId, Group>,
    /// Groups that differ from what is persisted.
    touched: BTreeSet<GroupId>,
}

impl Dispatcher {
    /// A dispatcher with the groups that were persisted. Groups whose receiver is gone are dropped;
    /// they are among [`Dispatcher::take_touched`].
    pub fn new(alerting: Arc<Alerting>, saved: Vec<Group>) -> Dispatcher {
        let mut dispatcher =
            Dispatcher { alerting, groups: BTreeMap::new(), touched: BTreeSet::new() };
        for group in saved {
            let id = group.id();
            let routed = group.alerts.values().next().and_then(|alert| {
                route(&dispatcher.alerting.route, &alert.labels)
                    .into_iter()
                    .find(|found| found.group_id() == id)
                    .map(|found| {
                        (found.group_wait_ms, found.group_interval_ms, found.repeat_interval_ms)
                    })
            });
            match routed {
                Some((wait_ms, interval_ms, repeat_ms)) => {
                    let group = Group {
                        group_wait_ms: wait_ms,
                        group_interval_ms: interval_ms,
                        repeat_interval_ms: repeat_ms,
                        ..group
                    };
                    dispatcher.groups.insert(id, group);
                }
                None => {
                    dispatcher.touched.insert(id);
                }
            }
        }
        dispatcher
    }

    /// The groups, by key and receiver.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.values()
    }

    /// Takes an alert into the groups of its routes. Doing so again changes nothing.
    ///
    /// A resolved alert that no group knows is nobody's business: its group was told already, or
    /// it came and went before anybody was.
    pub fn put(&mut self, alert: &Alert, now_ms: i64) -> Result<(), DispatchError> {
        for found in route(&self.alerting.route, &alert.labels) {
            let id = found.group_id();
            let known = self.groups.get(&id).is_some_and(|g| g.alerts.contains_key(&alert.labels));
            if !known && alert.is_resolved() {
                continue;
            }
            if !self.groups.contains_key(&id) && self.groups.len() >= GROUPS_MAX {
                return Err(DispatchError::Limit { what: "groups", limit: GROUPS_MAX });
            }
            let group = self.groups.entry(id.clone()).or_insert_with(|| found.new_group(now_ms));
            if !known && group.alerts.len() >= ALERTS_PER_GROUP_MAX {
                let (what, limit) = ("alerts in one group", ALERTS_PER_GROUP_MAX);
                return Err(DispatchError::Limit { what, limit });
            }
            if group.put(alert, now_ms) {
                self.touched.insert(id);
            }
        }
        Ok(())
    }

    /// Whether [`Dispatcher::flush`] has something to do.
    pub fn is_due(&self, now_ms: i64) -> bool {
        self.groups.values().any(|group| group.is_due(now_ms))
    }

    /// Decides for every group that is due.
    pub fn flush(&mut self, now_ms: i64) -> Flushed {
        let mut flushed = Flushed::default();
        let due: Vec<GroupId> = self
            .groups
            .iter()
            .filter(|(_, group)| group.is_due(now_ms))
            .map(|(id, _)| id.clone())
            .collect();
        for id in due {
            let integrations = self
                .alerting
                .receivers
                .iter()
                .find(|receiver| receiver.name == id.1)
                .map_or(&[][..], |receiver| receiver.integrations.as_slice());
            let Some(group) = self.groups.get_mut(&id) else { continue };
            let changed = group.flush(now_ms, integrations, &mut flushed);
            if group.alerts.is_empty() {
                self.groups.remove(&id);
                self.touched.insert(id);
            } else if changed {
                self.touched.insert(id);
            }
        }
        flushed
    }

    /// The groups that changed since this was last asked; `None` stands for one that is gone.
    pub fn take_touched(&mut self) -> Vec<(GroupId, Option<Group>)> {
        let touched = std::mem::take(&mut self.touched);
        touched.into_iter().map(|id| (id.clone(), self.groups.get(&id).cloned())).collect()
    }
}

#[cfg(test)]
mod tests;
