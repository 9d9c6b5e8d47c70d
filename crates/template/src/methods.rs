//! Fields and methods of Go's types, found by name.

use crate::data::{self, TYPE, type_of};
use crate::{humanize, moment};
use gotmpl::{TemplateError, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

type Answer = Result<Value, TemplateError>;

pub(crate) fn error(text: impl Into<String>) -> TemplateError {
    TemplateError::Exec(text.into())
}

/// `receiver.name` or `receiver.name arguments`.
pub(crate) fn lookup(receiver: &Value, name: &str, arguments: &[Value]) -> Answer {
    if let Some(answer) = moment::method(receiver, name, arguments) {
        return answer;
    }
    match receiver {
        Value::Map(entries) => match type_of(receiver) {
            _ if arguments.is_empty() && entries.contains_key(name) => {
                Ok(entries.get(name).cloned().unwrap_or(Value::Nil))
            }
            Some(kind) => {
                Err(error(format!("can't evaluate field {name} in type template.{kind}")))
            }
            None => label_set(entries, name, arguments),
        },
        Value::List(items) => list(items, name, arguments),
        Value::Nil => Ok(Value::Nil),
        other => Err(error(format!("can't evaluate field {name} in type {}", other.type_name()))),
    }
}

/// The same where maps are only maps: a key that is not there is nothing.
pub(crate) fn lookup_plain(receiver: &Value, name: &str, arguments: &[Value]) -> Answer {
    if let Some(answer) = moment::method(receiver, name, arguments) {
        return answer;
    }
    match receiver {
        Value::Map(_) if !arguments.is_empty() => {
            Err(error(format!("{name} has arguments but cannot be invoked as function")))
        }
        Value::Map(entries) => Ok(entries.get(name).cloned().unwrap_or(Value::Nil)),
        Value::Nil => Ok(Value::Nil),
        other => Err(error(format!("can't evaluate field {name} in type {}", other.type_name()))),
    }
}

/// `KV`: `SortedPairs`, `Remove`, `Names`, `Values`; any other name is a label, absent ones print nothing.
fn label_set(entries: &Arc<BTreeMap<Arc<str>, Value>>, name: &str, arguments: &[Value]) -> Answer {
    match name {
        "SortedPairs" => Ok(Value::List(sorted_pairs(entries).into())),
        "Names" | "Values" => list(&sorted_pairs(entries), name, &[]),
        "Remove" => {
            let Some(Value::List(names)) = arguments.first() else {
                return Err(error("Remove needs a list of label names"));
            };
            let kept = entries
                .iter()
                .filter(|(key, _)| !names.iter().any(|name| name.as_str() == Some(key)))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            Ok(Value::Map(Arc::new(kept)))
        }
        _ if entries.values().all(|value| matches!(value, Value::String(_))) => Ok(data::text("")),
        _ => Ok(Value::Nil),
    }
}

/// The pairs by name, `alertname` first.
fn sorted_pairs(entries: &BTreeMap<Arc<str>, Value>) -> Vec<Value> {
    let first = entries.get_key_value("alertname");
    let others = entries.iter().filter(|(name, _)| name.as_ref() != "alertname");
    first
        .into_iter()
        .chain(others)
        .map(|(name, value)| {
            data::map([
                (TYPE, data::text("Pair")),
                ("Name", Value::String(name.clone())),
                ("Value", value.clone()),
            ])
        })
        .collect()
}

/// `Alerts.Firing`, `Alerts.Resolved`, `Pairs.Names`, `Pairs.Values`, `Strings.Join`.
fn list(items: &[Value], name: &str, arguments: &[Value]) -> Answer {
    let fields = |field: &str| {
        Value::List(items.iter().filter_map(|item| item.field(field).cloned()).collect())
    };
    let with_status = |status: &str| {
        let wanted = |item: &&Value| item.field("Status").and_then(Value::as_str) == Some(status);
        Value::List(items.iter().filter(wanted).cloned().collect())
    };
    match name {
        "Firing" => Ok(with_status("firing")),
        "Resolved" => Ok(with_status("resolved")),
        "Names" => Ok(fields("Name")),
        "Values" => Ok(fields("Value")),
        "Join" => {
            let separator = arguments.first().and_then(Value::as_str).unwrap_or("");
            let words: Vec<String> = items.iter().map(ToString::to_string).collect();
            Ok(data::text(&words.join(separator)))
        }
        _ => Err(error(format!("can't evaluate field {name} in type list"))),
    }
}

/// What Go prints for a value.
pub(crate) fn printed(value: &Value) -> Value {
    moment::printed(value).map_or_else(|| value.clone(), |text| data::text(&text))
}

/// What a comparison sees: months, weekdays and durations are numbers.
pub(crate) fn number(value: &Value) -> Value {
    moment::number_of(value).map_or_else(|| value.clone(), Value::Int)
}

/// What Go prints for a value that is printed without a format.
pub(crate) fn shown(value: &Value) -> Value {
    match value {
        Value::Float(number) => data::text(&humanize::shortest(*number)),
        other => printed(other),
    }
}
