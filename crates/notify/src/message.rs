//! The content of a message, as it stands in the outbox.

use crate::NotifyError;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use vigie_model::Labels;
use vigie_template::{AlertData, Data};

/// Most alerts that one message spells out. A storm of thousands would make every message of every
/// receiver megabytes long, again at each repetition, and no reader would be wiser.
pub const ALERTS_MAX: usize = 1_000;

type Pairs = BTreeMap<String, String>;

/// What is told: a group and its alerts. Serialised, it is an outbox row's payload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// The receiver's name.
    pub receiver: String,
    /// Alertmanager's group key.
    pub group_key: String,
    /// The labels that make the group.
    pub group_labels: Pairs,
    /// The alerts, at least one and at most [`ALERTS_MAX`]; those that fire come first when some
    /// were left out.
    pub alerts: Vec<AlertPart>,
    /// How many were left out.
    #[serde(default)]
    pub truncated: usize,
    /// The address that links start with.
    pub external_url: String,
    /// `en` or `fr`.
    pub language: String,
}

/// One alert of a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertPart {
    /// Its labels.
    pub labels: Pairs,
    /// Its annotations.
    pub annotations: Pairs,
    /// When it fired.
    pub starts_at_ms: i64,
    /// When it was resolved.
    pub ends_at_ms: Option<i64>,
    /// The link to its expression.
    pub generator_url: String,
    /// 16 hexadecimal digits.
    pub fingerprint: String,
    /// The value as text, short.
    pub value: String,
}

impl AlertPart {
    pub(crate) fn status(&self) -> &'static str {
        if self.ends_at_ms.is_some() { "resolved" } else { "firing" }
    }
}

impl Message {
    /// Whether any alert fires.
    pub fn is_firing(&self) -> bool {
        self.alerts.iter().any(|alert| alert.ends_at_ms.is_none())
    }

    /// `firing` or `resolved`.
    pub fn status(&self) -> &'static str {
        if self.is_firing() { "firing" } else { "resolved" }
    }

    /// How many alerts there are, those that were left out included.
    pub(crate) fn alert_count(&self) -> usize {
        self.alerts.len() + self.truncated
    }

    /// The labels that all alerts share.
    pub fn common_labels(&self) -> Pairs {
        common(self.alerts.iter().map(|alert| &alert.labels))
    }

    /// The annotations that all alerts share.
    pub fn common_annotations(&self) -> Pairs {
        common(self.alerts.iter().map(|alert| &alert.annotations))
    }

    /// The alert that a message with room for one speaks of: the first that fires.
    pub(crate) fn leading(&self) -> Option<&AlertPart> {
        self.alerts.iter().find(|alert| alert.ends_at_ms.is_none()).or(self.alerts.first())
    }

    /// The page of the UI that shows what this is about; none without an external URL.
    pub(crate) fn ui_link(&self) -> Option<String> {
        self.absolute("/alerts").filter(|link| link.starts_with("http"))
    }

    /// The leading alert's `runbook_url` (or `runbook`).
    pub(crate) fn runbook_link(&self) -> Option<String> {
        let annotations = &self.leading()?.annotations;
        let link = annotations.get("runbook_url").or_else(|| annotations.get("runbook"))?;
        self.absolute(link)
    }

    /// The leading alert's `dashboard` (or `dashboard_url`).
    pub(crate) fn dashboard_link(&self) -> Option<String> {
        let annotations = &self.leading()?.annotations;
        let link = annotations.get("dashboard").or_else(|| annotations.get("dashboard_url"))?;
        self.absolute(link)
    }

    /// A whole link as written, a path below the external URL; a path as written when there is
    /// no such URL: it still says what to look for. Anything else is no link.
    fn absolute(&self, link: &str) -> Option<String> {
        if link.starts_with("http://") || link.starts_with("https://") {
            return Some(link.to_owned());
        }
        let base = self.external_url.trim_end_matches('/');
        link.starts_with('/').then(|| format!("{base}{link}"))
    }

    /// The word of the message's language.
    pub(crate) fn word<'a>(&self, english: &'a str, french: &'a str) -> &'a str {
        if self.language == "fr" { french } else { english }
    }

    /// Renders a template of the configuration; an empty one is replaced by `default`. A template
    /// that fails must not keep the alert from people: the default takes its place, and the error
    /// is told with it.
    pub(crate) fn render(
        &self,
        setting: &'static str,
        text: &str,
        default: &str,
        now_ms: i64,
    ) -> Result<String, NotifyError> {
        let data = self.data(now_ms);
        let failed = |source| NotifyError::Template { setting, source };
        let wanted = if text.is_empty() { default } else { text };
        let rendered = match vigie_template::render(wanted, &data) {
            Ok(rendered) => rendered,
            Err(source) if text.is_empty() => return Err(failed(source)),
            Err(source) => {
                let usual = vigie_template::render(default, &data).map_err(failed)?;
                format!("{} ({})", usual.trim(), failed(source))
            }
        };
        Ok(rendered.trim().to_owned())
    }

    fn data(&self, now_ms: i64) -> Data {
        let alert = |part: &AlertPart| AlertData {
            labels: labels(&part.labels),
            annotations: self.spoken(&part.annotations),
            starts_at_ms: part.starts_at_ms,
            ends_at_ms: part.ends_at_ms,
            generator_url: part.generator_url.clone(),
            fingerprint: part.fingerprint.clone(),
            value: self.written(&part.value).into_owned(),
        };
        Data {
            receiver: self.receiver.clone(),
            alerts: self.alerts.iter().map(alert).collect(),
            truncated_alerts: self.truncated,
            group_labels: labels(&self.group_labels),
            common_labels: labels(&self.common_labels()),
            common_annotations: self.spoken(&self.common_annotations()),
            external_url: self.external_url.trim_end_matches('/').to_owned(),
            language: self.language.clone(),
            now_ms,
        }
    }

    /// Annotations as they are read: one that has a text in the message's language (`summary_fr`
    /// beside `summary`) is that text.
    fn spoken(&self, annotations: &Pairs) -> Labels {
        let mut spoken = annotations.clone();
        for (name, text) in annotations {
            let in_language = name.strip_suffix(&self.language);
            if let Some(name) = in_language.and_then(|name| name.strip_suffix('_')) {
                spoken.insert(name.to_owned(), text.clone());
            }
        }
        labels(&spoken)
    }

    /// A value as people write it: French has a decimal comma.
    pub(crate) fn written<'a>(&self, value: &'a str) -> Cow<'a, str> {
        if self.language == "fr" { value.replace('.', ",").into() } else { value.into() }
    }
}

fn labels(pairs: &Pairs) -> Labels {
    Labels::from_pairs(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}

fn common<'a>(mut sets: impl Iterator<Item = &'a Pairs>) -> Pairs {
    let mut shared = sets.next().cloned().unwrap_or_default();
    for set in sets {
        shared.retain(|name, value| set.get(name) == Some(value));
    }
    shared
}

/// At most `chars_max` characters, the last of which is `…` when something was cut.
pub(crate) fn shorten(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    text.chars().take(chars_max.saturating_sub(1)).chain(['…']).collect()
}
