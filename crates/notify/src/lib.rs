//! The receivers: what each of them is sent, and what its answers mean.
//!
//! A [`Message`] is the content of an outbox row: which alerts of which group, without secrets.
//! [`deliver`] turns it into the receiver's wire format with the settings of the [`Integration`],
//! posts it through a [`Transport`], and reads the answer as a [`Verdict`]: delivered, to be tried
//! again, or refused for good. Every message carries what happened, the value, the link to the
//! runbook and a link into the UI.
//!
//! Invariant: no text that leaves this crate by another way than the wire holds a key, a password
//! or the address of a webhook.

#![forbid(unsafe_code)]

mod answer;
mod message;
mod pagerduty;
mod slack;
mod sms;
mod transport;
mod webhook;

pub use answer::{RETRY_AFTER_MS_MAX, Verdict};
pub use message::{ALERTS_MAX, AlertPart, Message};
pub use transport::{Answer, Post, Posting, Transport};

use vigie_config::alerting::{Integration, IntegrationKind};
use vigie_config::http_client::Secret;
use vigie_template::TemplateError;

/// The deadline of one attempt.
pub const ATTEMPT_TIMEOUT_MS: u64 = 10_000;
/// The largest answer that is read.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Why a message could not be put into words.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum NotifyError {
    /// A template of the configuration failed.
    #[error("{setting}: {source}; correct the template and reload")]
    Template {
        /// Which setting holds it.
        setting: &'static str,
        /// What failed.
        source: TemplateError,
    },
    /// The integration has no such telephone number.
    #[error(
        "sms_configs: there is no number {0} any more; the message was for one that was removed"
    )]
    NoSuchNumber(usize),
}

/// The word for an integration in the outbox and in metrics.
pub fn kind_name(kind: &IntegrationKind) -> &'static str {
    match kind {
        IntegrationKind::PagerDuty { .. } => "pagerduty",
        IntegrationKind::Slack { .. } => "slack",
        IntegrationKind::Sms { .. } => "sms",
        IntegrationKind::Webhook { .. } => "webhook",
    }
}

/// How many messages an integration sends for one event: one per telephone number, else one.
pub fn parts(kind: &IntegrationKind) -> usize {
    match kind {
        IntegrationKind::Sms { to, .. } => to.len(),
        _ => 1,
    }
}

/// What lets a receiver recognise a repetition: the hexadecimal SHA-256 of the group key.
pub fn dedup_key(group_key: &str) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(group_key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Sends part `part` of a message once.
pub async fn deliver(
    transport: &dyn Transport,
    integration: &Integration,
    message: &Message,
    part: usize,
    now_ms: i64,
) -> Verdict {
    let post = match prepare(integration, message, part, now_ms) {
        Ok(post) => post,
        Err(error) => return Verdict::Refused { reason: error.to_string() },
    };
    let verdict = match transport.post(post).await {
        Ok(answer) => match answer::judge(&answer, now_ms) {
            Verdict::Delivered => accepted(&integration.kind, &answer),
            other => other,
        },
        Err(reason) => Verdict::Retry { reason, after_ms: None },
    };
    verdict.without(&secrets(integration))
}

/// What an answer means whose status is good.
fn accepted(kind: &IntegrationKind, answer: &Answer) -> Verdict {
    match kind {
        IntegrationKind::Slack { .. } => slack::refusal(&answer.body)
            .map_or(Verdict::Delivered, |reason| Verdict::Refused { reason }),
        _ => Verdict::Delivered,
    }
}

/// The request that tells an integration.
pub fn prepare(
    integration: &Integration,
    message: &Message,
    part: usize,
    now_ms: i64,
) -> Result<Post, NotifyError> {
    match &integration.kind {
        IntegrationKind::PagerDuty { routing_key, url, description, severity } => {
            let texts = pagerduty::Texts { description, severity };
            let body = pagerduty::body(routing_key, &texts, message, now_ms)?;
            Ok(Post::json(url.clone(), body, integration.http.clone()))
        }
        IntegrationKind::Slack { api_url, channel, title, text } => {
            let body = slack::body(channel, title, text, message, now_ms)?;
            Ok(Post::json(api_url.expose().to_owned(), body, integration.http.clone()))
        }
        IntegrationKind::Sms { url, username, password, from, to, text } => {
            let number = to.get(part).ok_or(NotifyError::NoSuchNumber(part))?;
            let body = sms::body(from, number, text, message, now_ms)?;
            let mut config = integration.http.clone();
            if !username.is_empty() {
                config.basic_auth = Some(vigie_config::http_client::BasicAuth {
                    username: username.clone(),
                    password: password.clone(),
                });
            }
            Ok(Post::form(url.clone(), body, config))
        }
        IntegrationKind::Webhook { url, alerts_max } => {
            let body = webhook::body(message, *alerts_max);
            Ok(Post::json(url.expose().to_owned(), body, integration.http.clone()))
        }
    }
}

/// The texts of an integration that must not appear in an error.
fn secrets(integration: &Integration) -> Vec<String> {
    let mut secrets = match &integration.kind {
        IntegrationKind::PagerDuty { routing_key, .. } => vec![routing_key.expose().to_owned()],
        IntegrationKind::Slack { api_url: url, .. } | IntegrationKind::Webhook { url, .. } => {
            let url = url.expose();
            let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            let login = host.rsplit_once('@').map_or("", |(login, _)| login);
            let password = login.split_once(':').map_or("", |(_, password)| password);
            [url, path, login, password].map(str::to_owned).to_vec()
        }
        IntegrationKind::Sms { username, password, .. } => login(username, password),
    };
    let http = &integration.http;
    secrets.extend(http.authorization.iter().map(|secret| secret.expose().to_owned()));
    secrets.extend(http.basic_auth.iter().flat_map(|auth| login(&auth.username, &auth.password)));
    secrets.extend(http.headers.iter().map(|(_, secret)| secret.expose().to_owned()));
    secrets
}

/// A password as it is written and as it is sent.
fn login(username: &str, password: &Secret) -> Vec<String> {
    let password = password.expose();
    vec![password.to_owned(), vigie_net::base64(format!("{username}:{password}").as_bytes())]
}

#[cfg(test)]
mod tests;
