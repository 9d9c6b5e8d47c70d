//! SMS by Twilio's form, or any gateway that takes `From`, `To` and `Body`.
//!
//! A text of at most 160 characters is one message of the telephone network: what happened comes
//! first, the links follow as far as there is room.

use crate::message::shorten;
use crate::{Message, NotifyError};

/// What fits into one message of the network.
const SHORT_CHARS_MAX: usize = 160;
/// Twilio's limit.
const TEXT_CHARS_MAX: usize = 1600;

/// The form that tells one number.
pub(crate) fn body(
    from: &str,
    to: &str,
    text: &str,
    message: &Message,
    now_ms: i64,
) -> Result<String, NotifyError> {
    const TEXT: &str = r#"{{ template "sms.default.text" . }}"#;
    let text = message.render("text", text, TEXT, now_ms)?;
    let text = shorten(&with_links(text, message), TEXT_CHARS_MAX);
    let fields = [("From", from), ("To", to), ("Body", text.as_str())];
    let pairs = fields.map(|(name, value)| format!("{name}={}", form_escape(value)));
    Ok(pairs.join("&"))
}

/// The runbook always; the UI too unless the runbook is a page of it and there is no room.
fn with_links(mut text: String, message: &Message) -> String {
    let runbook = message.runbook_link().filter(|link| !text.contains(link.as_str()));
    let ui = message.ui_link().filter(|link| !text.contains(link.as_str()));
    let in_ui =
        |link: &String| !message.external_url.is_empty() && link.starts_with(&message.external_url);
    let runbook_leads_to_ui = runbook.as_ref().is_some_and(in_ui);
    if let Some(link) = runbook {
        text = format!("{text} {link}");
    }
    if let Some(link) = ui {
        let longer = format!("{text} {link}");
        if !runbook_leads_to_ui || longer.chars().count() <= SHORT_CHARS_MAX {
            text = longer;
        }
    }
    text
}

/// `application/x-www-form-urlencoded`.
fn form_escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' => {
                escaped.push(char::from(byte));
            }
            b' ' => escaped.push('+'),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}
