//! Fields and methods of Go's types, found by name.

use crate::data::{self, TYPE, nanoseconds, type_of};
use crate::{gotime, humanize};
use gotmpl::{TemplateError, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

type Answer = Result<Value, TemplateError>;

pub(crate) fn error(text: impl Into<String>) -> TemplateError {
    TemplateError::Exec(text.into())
}

/// `receiver.name` or `receiver.name arguments`.
pub(crate) fn lookup(receiver: &Value, name: &str, arguments: &[Value]) -> Answer {
    match receiver {
        Value::Map(entries) => match type_of(receiver) {
            Some("Time") => time(receiver, name, arguments),
            Some("Duration") => duration(receiver, name),
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

/// The methods of `time.Time` that templates use.
fn time(receiver: &Value, name: &str, arguments: &[Value]) -> Answer {
    let ts_ns = nanoseconds(receiver, "Time").unwrap_or(0);
    let zone = receiver.field("zone").and_then(Value::as_str).unwrap_or("UTC");
    let other = || {
        arguments
            .first()
            .and_then(|value| nanoseconds(value, "Time"))
            .ok_or_else(|| error(format!("{name} needs a time")))
    };
    match name {
        "Format" => {
            let layout = arguments.first().and_then(Value::as_str);
            let layout = layout.ok_or_else(|| error("Format needs a layout"))?;
            Ok(data::text(&gotime::format_layout(&gotime::zoned(ts_ns, zone), layout)))
        }
        "String" => Ok(data::text(&gotime::format_time(&gotime::zoned(ts_ns, zone)))),
        "Unix" => Ok(Value::Int(ts_ns.div_euclid(1_000_000_000))),
        "UnixMilli" => Ok(Value::Int(ts_ns.div_euclid(1_000_000))),
        "UnixNano" => Ok(Value::Int(ts_ns)),
        "UTC" | "Local" => Ok(data::time(ts_ns, "UTC")),
        "IsZero" => Ok(Value::Bool(ts_ns == i64::MIN)),
        "Before" => Ok(Value::Bool(ts_ns < other()?)),
        "After" => Ok(Value::Bool(ts_ns > other()?)),
        "Sub" => Ok(data::duration(ts_ns.saturating_sub(other()?))),
        "Add" => {
            let by = arguments.first().and_then(|value| nanoseconds(value, "Duration"));
            let by = by.ok_or_else(|| error("Add needs a duration"))?;
            Ok(data::time(ts_ns.saturating_add(by), zone))
        }
        _ => Err(error(format!("can't evaluate field {name} in type time.Time"))),
    }
}

/// The methods of `time.Duration` that templates use.
fn duration(receiver: &Value, name: &str) -> Answer {
    let duration_ns = nanoseconds(receiver, "Duration").unwrap_or(0);
    match name {
        "String" => Ok(data::text(&gotime::format_duration(duration_ns))),
        "Seconds" => Ok(Value::Float(duration_ns as f64 / 1e9)),
        "Minutes" => Ok(Value::Float(duration_ns as f64 / 60e9)),
        "Hours" => Ok(Value::Float(duration_ns as f64 / 3600e9)),
        "Milliseconds" => Ok(Value::Int(duration_ns / 1_000_000)),
        _ => Err(error(format!("can't evaluate field {name} in type time.Duration"))),
    }
}

/// What Go prints for a value.
pub(crate) fn printed(value: &Value) -> Value {
    match type_of(value) {
        Some("Time") => time(value, "String", &[]).unwrap_or(Value::Nil),
        Some("Duration") => duration(value, "String").unwrap_or(Value::Nil),
        _ => value.clone(),
    }
}

/// What Go prints for a value that is printed without a format.
pub(crate) fn shown(value: &Value) -> Value {
    match value {
        Value::Float(number) => data::text(&humanize::shortest(*number)),
        other => printed(other),
    }
}
