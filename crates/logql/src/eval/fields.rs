//! `detected_fields`: which fields the lines of an answer have, of which type, in how many values,
//! and which parser finds them (`pkg/querier/queryrange/detected_fields.go`).
//!
//! Loki counts values with a sketch; here they are counted, up to [`VALUES_MAX`] for a field.

use super::logs::Stream;
use crate::pipeline::labels::{Category, ERROR_DETAILS_LABEL, ERROR_LABEL, LabelSet, LineLabels};
use crate::pipeline::{json_fields, logfmt_fields};
use crate::units::{parse_bytes, parse_go_duration_ns, parse_go_float};
use std::collections::{BTreeMap, BTreeSet};
use vigie_model::Labels;

/// Most values that are told apart for one field.
const VALUES_MAX: usize = 10_000;

/// A field of some lines.
#[derive(Clone, Debug, Default)]
pub struct DetectedField {
    /// `int`, `float`, `boolean`, `duration`, `bytes` or `string`: what the last value was.
    pub kind: &'static str,
    /// Its values.
    pub values: BTreeSet<String>,
    /// The parsers that find it; none for structured metadata.
    pub parsers: Vec<&'static str>,
}

/// The fields of the lines seen so far.
pub struct Fields {
    limit: usize,
    fields: BTreeMap<String, DetectedField>,
}

impl Fields {
    /// At most `limit` fields.
    pub fn new(limit: usize) -> Fields {
        Fields { limit, fields: BTreeMap::new() }
    }

    /// Looks at the lines of a stream.
    pub fn add(&mut self, stream: &Stream) {
        let own = Labels::from_pairs(stream.stream_labels.iter());
        let mut labels = LineLabels::default();
        for row in &stream.entries {
            self.note(&row.structured_metadata, None);
            labels.start(&own, &Labels::default());
            let mut parser = "json";
            json_fields(&row.line, &mut labels);
            if labels.has_error() {
                parser = "logfmt";
                labels.start(&own, &Labels::default());
                logfmt_fields(&row.line, &mut labels);
            }
            let parser = (!labels.has_error()).then_some(parser);
            self.note(&row.parsed, parser);
            if parser.is_some() {
                self.note(&labels.of(Category::Parsed), parser);
            }
        }
    }

    fn note(&mut self, labels: &LabelSet, parser: Option<&'static str>) {
        for (name, value) in labels.iter() {
            if [ERROR_LABEL, ERROR_DETAILS_LABEL].contains(&name) {
                continue;
            }
            if self.fields.len() >= self.limit && !self.fields.contains_key(name) {
                continue;
            }
            let field = self.fields.entry(name.to_owned()).or_default();
            field.kind = kind(value);
            if field.values.len() < VALUES_MAX && !field.values.contains(value) {
                field.values.insert(value.to_owned());
            }
            if let Some(parser) = parser.filter(|parser| !field.parsers.contains(parser)) {
                field.parsers.push(parser);
            }
        }
    }

    /// The fields by name.
    pub fn into_inner(self) -> BTreeMap<String, DetectedField> {
        self.fields
    }
}

fn kind(value: &str) -> &'static str {
    if value.parse::<i64>().is_ok() {
        "int"
    } else if parse_go_float(value).is_ok() {
        "float"
    } else if matches!(
        value,
        "t" | "T" | "true" | "TRUE" | "True" | "f" | "F" | "false" | "FALSE" | "False"
    ) {
        "boolean"
    } else if parse_go_duration_ns(value).is_ok() {
        "duration"
    } else if parse_bytes(value).is_ok() {
        "bytes"
    } else {
        "string"
    }
}

/// Whether a label's value is an id (a number or a UUID): `detected_labels` leaves out labels that
/// have nothing else.
pub fn is_id(value: &str) -> bool {
    let is_uuid = value.len() == 36
        && value.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    is_uuid || parse_go_float(value).is_ok()
}
