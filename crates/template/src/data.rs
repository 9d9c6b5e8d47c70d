//! What a template sees: Alertmanager's `Data`, and the engine's values that stand for Go's types.
//!
//! A Go struct is a map with the key [`TYPE`]; a map of texts without it is a label set.

use crate::moment::Moment;
use gotmpl::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use vigie_model::Labels;

/// The key that tells a struct from a label set and names its type. No label can have this name.
pub(crate) const TYPE: &str = "\u{0}type";

/// Everything a message's template can see (Alertmanager's `template.Data`).
#[derive(Clone, Debug, PartialEq)]
pub struct Data {
    /// `.Receiver`.
    pub receiver: String,
    /// `.Alerts`, firing and resolved.
    pub alerts: Vec<AlertData>,
    /// `.TruncatedAlerts`, Vigie's own: how many were left out of `.Alerts`.
    pub truncated_alerts: usize,
    /// `.GroupLabels`.
    pub group_labels: Labels,
    /// `.CommonLabels`.
    pub common_labels: Labels,
    /// `.CommonAnnotations`.
    pub common_annotations: Labels,
    /// `.ExternalURL`.
    pub external_url: String,
    /// `.Language`, Vigie's own: `en` or `fr`, for the default templates.
    pub language: String,
    /// What `now` and `since` answer.
    pub now_ms: i64,
}

/// One alert of a message.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertData {
    /// `.Labels`.
    pub labels: Labels,
    /// `.Annotations`.
    pub annotations: Labels,
    /// `.StartsAt`.
    pub starts_at_ms: i64,
    /// `.EndsAt`; the alert is resolved when it is there.
    pub ends_at_ms: Option<i64>,
    /// `.GeneratorURL`.
    pub generator_url: String,
    /// `.Fingerprint`, 16 hexadecimal digits.
    pub fingerprint: String,
    /// `.Value`, Vigie's own: the value that the rule saw last, short.
    pub value: String,
}

impl AlertData {
    /// `firing` or `resolved`.
    pub fn status(&self) -> &'static str {
        if self.ends_at_ms.is_some() { "resolved" } else { "firing" }
    }

    fn to_value(&self, language: &str) -> Value {
        map([
            (TYPE, text("Alert")),
            ("Status", text(self.status())),
            ("Labels", labels(&self.labels)),
            ("Annotations", labels(&self.annotations)),
            ("StartsAt", time_ms(self.starts_at_ms)),
            ("EndsAt", self.ends_at_ms.map_or_else(|| Moment::zero().to_value(), time_ms)),
            ("GeneratorURL", text(&self.generator_url)),
            ("Fingerprint", text(&self.fingerprint)),
            ("Value", text(&self.value)),
            ("Language", text(language)),
        ])
    }
}

impl Data {
    /// `firing` when any alert fires, else `resolved`.
    pub fn status(&self) -> &'static str {
        if self.alerts.iter().any(|alert| alert.ends_at_ms.is_none()) {
            "firing"
        } else {
            "resolved"
        }
    }

    pub(crate) fn to_value(&self) -> Value {
        let alerts = self.alerts.iter().map(|alert| alert.to_value(&self.language));
        map([
            (TYPE, text("Data")),
            ("Receiver", text(&self.receiver)),
            ("Status", text(self.status())),
            ("Alerts", Value::List(alerts.collect())),
            (
                "TruncatedAlerts",
                Value::Int(i64::try_from(self.truncated_alerts).unwrap_or(i64::MAX)),
            ),
            ("GroupLabels", labels(&self.group_labels)),
            ("CommonLabels", labels(&self.common_labels)),
            ("CommonAnnotations", labels(&self.common_annotations)),
            ("ExternalURL", text(&self.external_url)),
            ("Language", text(&self.language)),
        ])
    }
}

pub(crate) fn text(text: &str) -> Value {
    Value::String(text.into())
}

pub(crate) fn map<'a>(entries: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    let entries: BTreeMap<Arc<str>, Value> =
        entries.into_iter().map(|(name, value)| (name.into(), value)).collect();
    Value::Map(Arc::new(entries))
}

pub(crate) fn labels(labels: &Labels) -> Value {
    let entries: BTreeMap<Arc<str>, Value> = labels
        .iter()
        .map(|label| (label.name.clone(), Value::String(label.value.clone())))
        .collect();
    Value::Map(Arc::new(entries))
}

/// Milliseconds since the epoch as a `time.Time` in UTC.
pub(crate) fn time_ms(ts_ms: i64) -> Value {
    Moment::from_ns(ts_ms.saturating_mul(1_000_000)).to_value()
}

pub(crate) fn sample(of: &Labels, value: f64) -> Value {
    map([(TYPE, text("sample")), ("Labels", labels(of)), ("Value", Value::Float(value))])
}

/// The type that [`TYPE`] names.
pub(crate) fn type_of(value: &Value) -> Option<&str> {
    value.field(TYPE).and_then(Value::as_str)
}

/// The number of a value of the type `wanted`.
pub(crate) fn nanoseconds(value: &Value, wanted: &str) -> Option<i64> {
    (type_of(value) == Some(wanted)).then(|| value.field("ns").and_then(Value::as_int)).flatten()
}
