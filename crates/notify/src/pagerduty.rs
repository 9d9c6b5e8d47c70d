//! PagerDuty's Events API v2.

use crate::message::shorten;
use crate::{AlertPart, Message, NotifyError, dedup_key};
use serde_json::{Value, json};
use vigie_config::http_client::Secret;
use vigie_template::format_rfc3339_ms;

/// The API's limits.
const SUMMARY_CHARS_MAX: usize = 1024;
const EVENT_BYTES_MAX: usize = 512_000;
/// How many alerts of a group are spelt out.
const DETAILED_ALERTS_MAX: usize = 50;

/// The templates of the configuration.
pub(crate) struct Texts<'a> {
    pub(crate) description: &'a str,
    pub(crate) severity: &'a str,
}

/// The event: a trigger while anything fires, else a resolve of the same incident.
pub(crate) fn body(
    routing_key: &Secret,
    texts: &Texts<'_>,
    message: &Message,
    now_ms: i64,
) -> Result<Value, NotifyError> {
    const DESCRIPTION: &str = r#"{{ template "pagerduty.default.description" . }}"#;
    let summary = message.render("description", texts.description, DESCRIPTION, now_ms)?;
    let severity =
        message.render("severity", texts.severity, "{{ .CommonLabels.severity }}", now_ms)?;
    let common = message.common_labels();
    let source = ["instance", "job"].iter().find_map(|name| common.get(*name));
    let source = source.cloned().unwrap_or_else(|| message.external_url.clone());
    let mut payload = json!({
        "summary": shorten(&summary, SUMMARY_CHARS_MAX),
        "source": if source.is_empty() { "vigie" } else { source.as_str() },
        "severity": severity_word(&severity),
        "custom_details": details(message),
    });
    if let Some(leading) = message.leading() {
        payload["timestamp"] = format_rfc3339_ms(leading.starts_at_ms).into();
    }
    for (field, label) in [("component", "job"), ("class", "alertname")] {
        if let Some(value) = common.get(label) {
            payload[field] = value.as_str().into();
        }
    }
    let mut event = json!({
        "routing_key": routing_key.expose(),
        "dedup_key": dedup_key(&message.group_key),
        "event_action": if message.is_firing() { "trigger" } else { "resolve" },
        "client": "Vigie",
        "payload": payload,
        "links": links(message),
    });
    if let Some(link) = message.ui_link() {
        event["client_url"] = link.into();
    }
    if event.to_string().len() > EVENT_BYTES_MAX {
        let note = "custom_details were left out: the event is too large for PagerDuty";
        event["payload"]["custom_details"] = json!({ "error": note });
    }
    Ok(event)
}

/// The API knows four words; ours and common ones of others are put into them.
fn severity_word(severity: &str) -> &'static str {
    // Behind the word may stand why a template failed.
    let word = severity.split_ascii_whitespace().next().unwrap_or("");
    match word.to_ascii_lowercase().as_str() {
        "critical" | "high" | "page" | "p1" => "critical",
        "warning" | "medium" | "p3" => "warning",
        "info" | "low" | "p4" => "info",
        _ => "error",
    }
}

fn details(message: &Message) -> Value {
    let of = |status: &str| -> Vec<Value> {
        let wanted = message.alerts.iter().filter(|alert| alert.status() == status);
        wanted.take(DETAILED_ALERTS_MAX).map(detail).collect()
    };
    let firing = message.alerts.iter().filter(|alert| alert.ends_at_ms.is_none()).count();
    json!({
        "firing": of("firing"),
        "resolved": of("resolved"),
        "num_firing": firing,
        "num_not_listed": message.truncated,
        "num_resolved": message.alerts.len() - firing,
        "value": message.leading().map_or("", |alert| alert.value.as_str()),
        "runbook": message.runbook_link(),
    })
}

fn detail(alert: &AlertPart) -> Value {
    json!({
        "labels": alert.labels,
        "annotations": alert.annotations,
        "value": alert.value,
        "since": format_rfc3339_ms(alert.starts_at_ms),
        "source": alert.generator_url,
    })
}

fn links(message: &Message) -> Vec<Value> {
    let named = [
        (message.runbook_link(), message.word("Runbook", "Procédure")),
        (message.dashboard_link(), message.word("Dashboard", "Tableau de bord")),
        (message.ui_link(), message.word("Open Vigie", "Ouvrir Vigie")),
    ];
    // PagerDuty refuses an event whose link is a path.
    let whole = |href: &String| href.starts_with("http");
    let links = named.into_iter().filter_map(|(href, text)| Some((href.filter(whole)?, text)));
    links.map(|(href, text)| json!({ "href": href, "text": text })).collect()
}
