//! Alertmanager's webhook, version 4.

use crate::{AlertPart, Message};
use serde_json::{Value, json};
use vigie_template::format_rfc3339_ms;

/// What Go prints for an instant that is not set.
const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// The JSON, its keys in Alertmanager's order.
pub(crate) fn body(message: &Message, alerts_max: usize) -> Value {
    let count = message.alerts.len();
    let shown = if alerts_max == 0 { count } else { count.min(alerts_max) };
    json!({
        "receiver": message.receiver,
        "status": message.status(),
        "alerts": message.alerts[..shown].iter().map(alert).collect::<Vec<_>>(),
        "groupLabels": message.group_labels,
        "commonLabels": message.common_labels(),
        "commonAnnotations": message.common_annotations(),
        "externalURL": message.external_url,
        "version": "4",
        "groupKey": message.group_key,
        "truncatedAlerts": message.alert_count() - shown,
    })
}

fn alert(part: &AlertPart) -> Value {
    json!({
        "status": part.status(),
        "labels": part.labels,
        "annotations": part.annotations,
        "startsAt": format_rfc3339_ms(part.starts_at_ms),
        "endsAt": part.ends_at_ms.map_or_else(|| ZERO_TIME.to_owned(), format_rfc3339_ms),
        "generatorURL": part.generator_url,
        "fingerprint": part.fingerprint,
    })
}
