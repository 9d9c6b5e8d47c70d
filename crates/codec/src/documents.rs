//! JSON documents that become log lines: one to a line (`application/x-ndjson`), and Elasticsearch's
//! bulk form, in which a line that says what to do stands before each document.
//!
//! A document is stored byte for byte as the line, so that `| json` finds its members in it. When
//! [`Documents::message_fields`] names one of its members, that text is the line instead and the
//! other members become structured metadata, flattened with `_`.
//! [`Documents::stream_fields`] become labels of the stream; a member inside another is named with
//! dots. The instant is the first of [`Documents::time_fields`] that is one: RFC 3339, or a number of
//! seconds, milliseconds, microseconds or nanoseconds, told apart by its size.

use crate::loki_push::{
    ITEMS_MAX, PushError, PushRequest, PushStream, ServiceName, finish, metadata_name,
    parse_rfc3339_ns,
};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::HashMap;
use vigie_model::limits::LINE_BYTES_MAX;
use vigie_model::{Labels, LogEntry};

/// How documents are read.
pub struct Documents {
    /// Members that become labels, outer and inner name joined by dots.
    pub stream_fields: Vec<String>,
    /// Members that hold the instant; the first that does counts.
    pub time_fields: Vec<String>,
    /// Members that hold the line; none keeps the document as the line.
    pub message_fields: Vec<String>,
    /// Labels of every line.
    pub labels: Vec<(String, String)>,
    /// The instant of documents without one, in nanoseconds.
    pub now_ns: i64,
}

/// What becomes of one bulk action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// `create` or `index`, or what was asked instead.
    pub verb: String,
    /// Where the document was meant to go.
    pub index: String,
    /// Why the document is not taken.
    pub refusal: Option<String>,
}

/// A bulk body: what was asked, and the lines that come of it.
pub struct Bulk {
    /// One for each action, in order.
    pub actions: Vec<Action>,
    /// The lines; `None` when no document was taken.
    pub request: Option<PushRequest>,
}

/// Decodes JSON lines; empty lines are passed over.
///
/// # Errors
/// A line that is no JSON object (its number is named), or a limit of [`crate::loki_push`].
pub fn decode_lines(body: &[u8], how: &Documents) -> Result<PushRequest, PushError> {
    let mut lines = Lines::default();
    for (at, line) in body.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if !line.is_empty() {
            let refused = |why| PushError::Json(format!("line {}: {why}", at + 1));
            lines.add(line, how, None).map_err(refused)?;
        }
    }
    lines.finish()
}

/// Decodes Elasticsearch's bulk form. A document that cannot be taken is refused alone.
///
/// # Errors
/// A line that says what to do and is no JSON, or a limit of [`crate::loki_push`].
pub fn decode_bulk(body: &[u8], index: &str, how: &Documents) -> Result<Bulk, PushError> {
    let mut rows = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).enumerate();
    let (mut lines, mut actions) = (Lines::default(), Vec::new());
    while let Some((at, row)) = rows.next() {
        if row.is_empty() {
            continue;
        }
        let (verb, target) = action(row).map_err(|error| {
            PushError::Json(format!("Malformed action/metadata line [{}]: {error}", at + 1))
        })?;
        let target = target.unwrap_or_else(|| index.to_owned());
        let refusal = match verb.as_str() {
            "create" | "index" => {
                let document = rows.next().map_or(&b""[..], |(_, row)| row);
                lines.add(document, how, Some(&target)).err()
            }
            "update" => {
                rows.next();
                Some("log lines are not changed: use create or index".to_owned())
            }
            _ => Some("log lines are not deleted one by one".to_owned()),
        };
        actions.push(Action { verb, index: target, refusal });
        if actions.len() > ITEMS_MAX {
            return Err(too_many());
        }
    }
    let request = if lines.count == 0 { None } else { Some(lines.finish()?) };
    Ok(Bulk { actions, request })
}

fn too_many() -> PushError {
    PushError::Limit(format!("the body has more than {ITEMS_MAX} documents: send it in parts"))
}

/// The verb of an action, and its index.
fn action(row: &[u8]) -> Result<(String, Option<String>), serde_json::Error> {
    #[derive(Deserialize)]
    struct Target {
        #[serde(rename = "_index")]
        index: Option<String>,
    }
    let all: HashMap<String, Option<Target>> = serde_json::from_slice(row)?;
    match all.into_iter().next() {
        Some((verb, target)) => Ok((verb, target.and_then(|target| target.index))),
        None => Err(serde::de::Error::custom("it says nothing")),
    }
}

#[derive(Default)]
struct Lines {
    streams: Vec<PushStream>,
    places: HashMap<Labels, usize>,
    count: usize,
}

impl Lines {
    fn add(&mut self, document: &[u8], how: &Documents, index: Option<&str>) -> Result<(), String> {
        if document.len() > LINE_BYTES_MAX {
            return Err(format!("the document is longer than {LINE_BYTES_MAX} bytes"));
        }
        self.count += 1;
        if self.count > ITEMS_MAX {
            return Err(too_many().to_string());
        }
        let members: Map<String, Value> =
            serde_json::from_slice(document).map_err(|error| error.to_string())?;
        let mut labels: Vec<(String, String)> = how.labels.clone();
        labels.extend(index.map(|index| ("index".to_owned(), index.to_owned())));
        for field in &how.stream_fields {
            if let Some(text) = find(&members, field).and_then(text) {
                labels.push((metadata_name(field).into_owned(), text));
            }
        }
        if labels.iter().all(|(_, value)| value.is_empty()) {
            labels.push(("job".to_owned(), "json".to_owned()));
        }
        let instant = how.time_fields.iter().find_map(|field| instant_ns(find(&members, field)?));
        let message = how
            .message_fields
            .iter()
            .find_map(|field| Some((field, find(&members, field)?.as_str()?)));
        let entry = LogEntry {
            ts_ns: instant.unwrap_or(how.now_ns),
            line: message.map_or(document, |(_, text)| text.as_bytes()).to_vec(),
            metadata: message.map_or_else(Labels::default, |(field, _)| rest(&members, how, field)),
        };
        let labels = Labels::from_pairs(labels);
        let at = *self.places.entry(labels.clone()).or_insert_with(|| {
            self.streams.push(PushStream { labels, entries: Vec::new() });
            self.streams.len() - 1
        });
        self.streams[at].entries.push(entry);
        Ok(())
    }

    fn finish(self) -> Result<PushRequest, PushError> {
        finish(PushRequest { streams: self.streams }, ServiceName::Discover)
    }
}

/// The member of this name, with dots in its name or in members of members.
fn find<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(value) = members.get(name) {
        return Some(value);
    }
    let (outer, inner) = name.split_once('.')?;
    find(members.get(outer)?.as_object()?, inner)
}

/// A value as a label; nothing for what is nothing.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// The members that are neither the line, nor the instant, nor labels of the stream.
fn rest(members: &Map<String, Value>, how: &Documents, message: &str) -> Labels {
    let mut pairs = Vec::new();
    let used = |name: &str| {
        name == message
            || how.time_fields.iter().any(|field| field == name)
            || how.stream_fields.iter().any(|field| field == name)
    };
    fn walk(
        prefix: &str,
        members: &Map<String, Value>,
        used: &dyn Fn(&str) -> bool,
        out: &mut Vec<(String, String)>,
    ) {
        for (name, value) in members {
            let full = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            match value {
                _ if used(&full) => {}
                Value::Object(inner) => walk(&full, inner, used, out),
                value => {
                    out.extend(text(value).map(|text| (metadata_name(&full).into_owned(), text)))
                }
            }
        }
    }
    walk("", members, &used, &mut pairs);
    Labels::from_pairs(pairs)
}

/// An instant in nanoseconds.
fn instant_ns(value: &Value) -> Option<i64> {
    let number = match value {
        Value::String(text) => match text.parse::<i64>() {
            Ok(number) => number,
            Err(_) => return parse_rfc3339_ns(text),
        },
        Value::Number(number) => match number.as_i64() {
            Some(number) => number,
            None => return Some((number.as_f64()? * 1e9) as i64),
        },
        _ => return None,
    };
    let scale = match number.unsigned_abs() {
        0..100_000_000_000 => 1_000_000_000,
        100_000_000_000..100_000_000_000_000 => 1_000_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1_000,
        _ => 1,
    };
    number.checked_mul(scale)
}

#[cfg(test)]
mod tests;
