//! Slack's incoming webhooks: one attachment, whose colour says the state.

use crate::message::shorten;
use crate::{Message, NotifyError};
use serde_json::{Value, json};

const TITLE_CHARS_MAX: usize = 1024;
/// Slack cuts longer texts behind a "show more".
const TEXT_CHARS_MAX: usize = 7000;

/// The JSON of a webhook.
pub(crate) fn body(
    channel: &str,
    title: &str,
    text: &str,
    message: &Message,
    now_ms: i64,
) -> Result<Value, NotifyError> {
    const TITLE: &str = r#"{{ template "slack.default.title" . }}"#;
    const TEXT: &str = r#"{{ template "slack.default.text" . }}"#;
    const FALLBACK: &str = r#"{{ template "slack.default.fallback" . }}"#;
    let title = shorten(&message.render("title", title, TITLE, now_ms)?, TITLE_CHARS_MAX);
    let text = shorten(&message.render("text", text, TEXT, now_ms)?, TEXT_CHARS_MAX);
    let since_ms = message.leading().map_or(now_ms, |alert| alert.starts_at_ms);
    let mut attachment = json!({
        "color": colour(message),
        "fallback": message.render("fallback", "", FALLBACK, now_ms)?,
        "title": title,
        "text": format!("{text}\n{}", links(message)).trim(),
        "fields": fields(message),
        "footer": "Vigie",
        "ts": since_ms.div_euclid(1000),
        "mrkdwn_in": ["text", "fallback"],
    });
    if let Some(link) = message.ui_link() {
        attachment["title_link"] = link.into();
    }
    let mut body = json!({ "username": "Vigie", "attachments": [attachment] });
    if !channel.is_empty() {
        body["channel"] = channel.into();
    }
    Ok(body)
}

/// Slack's Web API (`chat.postMessage`) says no with a status that says yes.
pub(crate) fn refusal(body: &str) -> Option<String> {
    let answer: Value = serde_json::from_str(body).ok()?;
    let refused = answer.get("ok") == Some(&Value::Bool(false));
    let error = answer.get("error").and_then(Value::as_str).unwrap_or("no reason given");
    refused.then(|| format!("Slack answered ok: false, {error}"))
}

fn colour(message: &Message) -> &'static str {
    let severity = message.common_labels().remove("severity").unwrap_or_default();
    match (message.is_firing(), severity.as_str()) {
        (false, _) => "good",
        (true, "medium" | "warning" | "low" | "info") => "warning",
        (true, _) => "danger",
    }
}

fn fields(message: &Message) -> Vec<Value> {
    let mut fields = Vec::new();
    if let [alert] = message.alerts.as_slice() {
        let title = message.word("Value", "Valeur");
        fields
            .push(json!({ "title": title, "value": message.written(&alert.value), "short": true }));
    }
    if let Some(severity) = message.common_labels().get("severity") {
        let title = message.word("Severity", "Gravité");
        fields.push(json!({ "title": title, "value": severity, "short": true }));
    }
    fields
}

/// `<url|Runbook> · <url|Dashboard> · <url|Open Vigie>`; a path that is no link stands as it is.
fn links(message: &Message) -> String {
    let named = [
        (message.runbook_link(), message.word("Runbook", "Procédure")),
        (message.dashboard_link(), message.word("Dashboard", "Tableau de bord")),
        (message.ui_link(), message.word("Open Vigie", "Ouvrir Vigie")),
    ];
    let link = |(href, text): (Option<String>, &str)| match href? {
        href if href.starts_with("http") => Some(format!("<{href}|{text}>")),
        path => Some(format!("{text}{}{path}", message.word(": ", " : "))),
    };
    let links = named.into_iter().filter_map(link);
    links.collect::<Vec<_>>().join(" · ")
}
