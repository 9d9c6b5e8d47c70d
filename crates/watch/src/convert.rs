//! Between the state machines' types, the ledger's rows and the messages.

use crate::WatchError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use vigie_alerts::{Alert, Group, IntegrationLog, Notification};
use vigie_ledger::{AlertRow, GroupRow};
use vigie_model::Labels;
use vigie_notify::{AlertPart, Message};
use vigie_rules::{ActiveAlert, AlertState};

/// A rule's alert as a row.
pub(crate) fn alert_row(rule_key: &str, alert: &ActiveAlert, generator_url: &str) -> AlertRow {
    AlertRow {
        rule_key: rule_key.to_owned(),
        labels: alert.labels.clone(),
        annotations: alert.annotations.clone(),
        state: alert.state.as_str().to_owned(),
        value: alert.value,
        active_at_ms: alert.active_at_ms,
        fired_at_ms: alert.fired_at_ms,
        resolved_at_ms: alert.resolved_at_ms,
        keep_firing_since_ms: alert.keep_firing_since_ms,
        generator_url: generator_url.to_owned(),
    }
}

/// A row as a rule's alert.
pub(crate) fn active_alert(row: &AlertRow) -> ActiveAlert {
    ActiveAlert {
        labels: row.labels.clone(),
        annotations: row.annotations.clone(),
        // The table's CHECK allows no other word.
        state: AlertState::parse(&row.state).unwrap_or(AlertState::Inactive),
        value: row.value,
        active_at_ms: row.active_at_ms,
        fired_at_ms: row.fired_at_ms,
        resolved_at_ms: row.resolved_at_ms,
        keep_firing_since_ms: row.keep_firing_since_ms,
    }
}

/// A rule's alert as receivers see it; none if it has never fired.
pub(crate) fn routed_alert(alert: &ActiveAlert, generator_url: &str, now_ms: i64) -> Option<Alert> {
    Some(Alert {
        labels: alert.labels.clone(),
        annotations: labels_of(&alert.annotations),
        starts_at_ms: alert.fired_at_ms?,
        ends_at_ms: alert.resolved_at_ms,
        updated_at_ms: now_ms,
        generator_url: generator_url.to_owned(),
        value: alert.value,
    })
}

fn labels_of(pairs: &[(String, String)]) -> Labels {
    Labels::from_pairs(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}

fn pairs_of(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|label| (label.name.to_string(), label.value.to_string())).collect()
}

/// The JSON of a group's row.
#[derive(Serialize, Deserialize)]
struct GroupBody {
    labels: BTreeMap<String, String>,
    next_flush_ms: i64,
    has_flushed: bool,
    logs: BTreeMap<usize, LogBody>,
    alerts: Vec<AlertBody>,
}

/// Fingerprints are hexadecimal: JSON's numbers do not hold 64 bits everywhere.
#[derive(Serialize, Deserialize)]
struct LogBody {
    firing: Vec<String>,
    resolved: Vec<String>,
    told_at_ms: i64,
}

#[derive(Serialize, Deserialize)]
struct AlertBody {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    starts_at_ms: i64,
    ends_at_ms: Option<i64>,
    updated_at_ms: i64,
    generator_url: String,
    /// None for what JSON cannot say: NaN and the infinities.
    value: Option<f64>,
}

/// A group as a row.
pub(crate) fn group_row(group: &Group) -> GroupRow {
    let hex = |set: &std::collections::BTreeSet<u64>| -> Vec<String> {
        set.iter().map(|fingerprint| format!("{fingerprint:016x}")).collect()
    };
    let log = |(at, log): (&usize, &IntegrationLog)| {
        let (firing, resolved) = (hex(&log.firing), hex(&log.resolved));
        (*at, LogBody { firing, resolved, told_at_ms: log.told_at_ms })
    };
    let alert = |alert: &Alert| AlertBody {
        labels: pairs_of(&alert.labels),
        annotations: pairs_of(&alert.annotations),
        starts_at_ms: alert.starts_at_ms,
        ends_at_ms: alert.ends_at_ms,
        updated_at_ms: alert.updated_at_ms,
        generator_url: alert.generator_url.clone(),
        value: Some(alert.value).filter(|value| value.is_finite()),
    };
    let body = GroupBody {
        labels: pairs_of(&group.labels),
        next_flush_ms: group.next_flush_ms,
        has_flushed: group.has_flushed,
        logs: group.logs.iter().map(log).collect(),
        alerts: group.alerts.values().map(alert).collect(),
    };
    GroupRow {
        group_key: group.key.clone(),
        receiver: group.receiver.clone(),
        body: serde_json::to_string(&body).expect("texts and numbers can be written as JSON"),
    }
}

/// A row as a group; its intervals come from the route later.
pub(crate) fn group(row: &GroupRow) -> Result<Group, WatchError> {
    let bad = |reason: String| WatchError::BadGroup { group_key: row.group_key.clone(), reason };
    let body: GroupBody = serde_json::from_str(&row.body).map_err(|e| bad(e.to_string()))?;
    let parse = |texts: &[String]| {
        texts.iter().map(|text| u64::from_str_radix(text, 16)).collect::<Result<_, _>>()
    };
    let mut logs = BTreeMap::new();
    for (at, log) in &body.logs {
        let firing = parse(&log.firing).map_err(|e| bad(e.to_string()))?;
        let resolved = parse(&log.resolved).map_err(|e| bad(e.to_string()))?;
        logs.insert(*at, IntegrationLog { firing, resolved, told_at_ms: log.told_at_ms });
    }
    let alert = |alert: AlertBody| {
        let labels = Labels::from_pairs(alert.labels);
        let alert = Alert {
            labels: labels.clone(),
            annotations: Labels::from_pairs(alert.annotations),
            starts_at_ms: alert.starts_at_ms,
            ends_at_ms: alert.ends_at_ms,
            updated_at_ms: alert.updated_at_ms,
            generator_url: alert.generator_url,
            value: alert.value.unwrap_or(f64::NAN),
        };
        (labels, alert)
    };
    Ok(Group {
        key: row.group_key.clone(),
        receiver: row.receiver.clone(),
        labels: Labels::from_pairs(body.labels),
        alerts: body.alerts.into_iter().map(alert).collect(),
        next_flush_ms: body.next_flush_ms,
        has_flushed: body.has_flushed,
        logs,
        group_wait_ms: 0,
        group_interval_ms: 0,
        repeat_interval_ms: 0,
    })
}

/// What is to be told, in the form that waits in the outbox.
pub(crate) fn message(notification: &Notification, external_url: &str, language: &str) -> Message {
    let part = |alert: &Alert| AlertPart {
        labels: pairs_of(&alert.labels),
        annotations: pairs_of(&alert.annotations),
        starts_at_ms: alert.starts_at_ms,
        ends_at_ms: alert.ends_at_ms,
        generator_url: alert.generator_url.clone(),
        fingerprint: format!("{:016x}", alert.fingerprint()),
        value: vigie_template::short_value(alert.value),
    };
    let mut alerts: Vec<&Alert> = notification.alerts.iter().collect();
    let truncated = alerts.len().saturating_sub(vigie_notify::ALERTS_MAX);
    if truncated > 0 {
        alerts.sort_by_key(|alert| alert.is_resolved());
        alerts.truncate(vigie_notify::ALERTS_MAX);
    }
    Message {
        receiver: notification.receiver.clone(),
        group_key: notification.group_key.clone(),
        group_labels: pairs_of(&notification.group_labels),
        alerts: alerts.into_iter().map(part).collect(),
        truncated,
        external_url: external_url.to_owned(),
        language: language.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_makes_one_bounded_message_that_begins_with_what_fires() {
        let alert = |n: usize| Alert {
            labels: Labels::from_pairs([("alertname", "A"), ("n", format!("{n:05}").as_str())]),
            annotations: Labels::default(),
            starts_at_ms: 1,
            ends_at_ms: (!n.is_multiple_of(10)).then_some(2),
            updated_at_ms: 2,
            generator_url: String::new(),
            value: 1.0,
        };
        let told = Notification {
            group_key: "k".to_owned(),
            receiver: "r".to_owned(),
            integration: 0,
            firing: true,
            group_labels: Labels::default(),
            alerts: (0..5000).map(alert).collect(),
        };
        let message = message(&told, "", "en");
        assert_eq!((message.alerts.len(), message.truncated), (1000, 4000));
        assert!(message.is_firing());
        let firing = message.alerts.iter().take_while(|alert| alert.ends_at_ms.is_none());
        assert_eq!(firing.count(), 500);
    }
}
