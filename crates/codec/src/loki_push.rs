//! Loki's push bodies ↔ model: the JSON form and the snappy-compressed `logproto.PushRequest`.
//!
//! [`decode`] picks the form by content type as Loki does: `application/json` is JSON, anything else
//! is taken for snappy and protobuf. Either way the answer is a whole [`PushRequest`] or an error
//! whose text and [`PushError::status`] are Loki's, and then nothing of the body counts.
//!
//! What is checked here needs no clock and no store: the syntax, the labels, the length of lines.
//! Whether an entry is too old or a stream one too many is the store's business.
//! `gzip` and `deflate` content encodings are undone by the caller, who also limits the body;
//! the declared length of a snappy body is checked against [`PUSH_DECODED_BYTES_MAX`] before
//! anything is allocated, and [`ITEMS_MAX`] bounds what a body can become in memory.
//!
//! Who takes lines in adds their `detected_level` with [`add_level`]: pushed lines here, lines of
//! OpenTelemetry, Elasticsearch and JSON documents through the same `finish`, followed files by
//! their collector.

mod json;
mod labels;
mod level;
mod proto;
mod quick;
mod time;

pub use json::encode_json;
pub use labels::parse_labels;
pub use level::{LEVEL_LABEL, add_level};
pub use proto::{encode_proto, encode_snappy};
pub use time::parse_rfc3339_ns;

use crate::compression::{UnpackError, unpack_snappy};
use std::borrow::Cow;
use std::cell::Cell;
use vigie_model::limits::{
    LABEL_NAME_BYTES_MAX, LABEL_VALUE_BYTES_MAX, LABELS_PER_SERIES_MAX, LINE_BYTES_MAX,
    PUSH_DECODED_BYTES_MAX,
};
use vigie_model::{Labels, LogEntry};

/// Most metadata labels of one entry (Loki's `max_structured_metadata_entries_count`).
pub const METADATA_LABELS_MAX: usize = 128;
/// Most bytes of metadata names and values of one entry (Loki's `max_structured_metadata_size`).
pub const METADATA_BYTES_MAX: usize = 64 * 1024;

/// Most streams, entries and labels of one push, taken together: two bytes of a body can be an entry,
/// which is fifty in memory.
pub const ITEMS_MAX: usize = 1 << 20;

/// Most labels that are read of one set, before the limits are looked at.
const PAIRS_MAX: usize = 1024;

/// Longest piece of a body in an error text.
const SHOWN_BYTES_MAX: usize = 2048;

/// The label that Loki adds to a stream that has none of this name.
pub const SERVICE_NAME: &str = "service_name";

/// Where Loki looks for a service's name, first match first.
const SERVICE_NAME_SOURCES: [&str; 13] = [
    "service",
    "app",
    "application",
    "app_name",
    "name",
    "app_kubernetes_io_name",
    "container",
    "container_name",
    "k8s_container_name",
    "component",
    "workload",
    "job",
    "k8s_job_name",
];

/// What one push carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushRequest {
    /// The streams, in the order of the body; the same labels may occur more than once.
    pub streams: Vec<PushStream>,
}

/// The entries of one label set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushStream {
    /// The stream.
    pub labels: Labels,
    /// Its entries, in the order of the body.
    pub entries: Vec<LogEntry>,
}

/// Whether a stream without the label `service_name` gets one, as in Loki
/// (`discover_service_name`, on by default there).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceName {
    /// Take it from the usual labels, or say `unknown_service`.
    Discover,
    /// Leave the labels as they came.
    Leave,
}

/// Why a push was refused. The texts are Loki's where a client can see Loki's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// The body is neither JSON by its content type nor snappy, or says that it is larger than we
    /// decode.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// The protobuf is broken.
    #[error("proto: PushRequest: {what} at byte {offset}")]
    Proto {
        /// What is wrong.
        what: &'static str,
        /// Where, in the decompressed body.
        offset: usize,
    },
    /// The JSON is broken or has another shape.
    #[error("{0}")]
    Json(String),
    /// A stream's labels are not labels.
    #[error("couldn't parse labels: {0}")]
    Labels(String),
    /// The body has no stream at all.
    #[error("error at least one valid stream is required for ingestion")]
    NoStreams,
    /// A stream has no label.
    #[error("error at least one label pair is required per stream")]
    NoLabels,
    /// A limit is exceeded; the text names the stream and the limit.
    #[error("{0}")]
    Limit(String),
}

impl PushError {
    /// The HTTP status that Loki answers.
    pub fn status(&self) -> u16 {
        match self {
            PushError::NoStreams => 422,
            PushError::Unpack(UnpackError::TooLarge { .. }) => 413,
            _ => 400,
        }
    }
}

/// How many streams, entries and labels a push may still have.
pub(crate) struct Budget {
    left: Cell<usize>,
    what: &'static str,
}

impl Budget {
    pub(crate) fn new() -> Budget {
        Budget::of("streams, entries and labels")
    }

    /// The same for a push of something else.
    pub(crate) fn of(what: &'static str) -> Budget {
        Budget { left: Cell::new(ITEMS_MAX), what }
    }

    pub(crate) fn take(&self, items: usize) -> Result<(), PushError> {
        let left = self.left.get().checked_sub(items).ok_or_else(|| {
            let what = self.what;
            PushError::Limit(format!("the push has more than {ITEMS_MAX} {what}: send it in parts"))
        })?;
        self.left.set(left);
        Ok(())
    }
}

/// A set that nobody means to send, refused before it takes memory.
fn check_pairs(count: usize) -> Result<(), PushError> {
    if count < PAIRS_MAX {
        return Ok(());
    }
    Err(PushError::Limit(format!("a stream or an entry has more than {PAIRS_MAX} labels")))
}

/// A piece of a body as an error text shows it: whole, unless it is very long.
fn shown(text: &str) -> Cow<'_, str> {
    if text.len() <= SHOWN_BYTES_MAX {
        return text.into();
    }
    let end = (0..=SHOWN_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}...", &text[..end]).into()
}

/// Decodes a body by its content type; a missing content type is an empty text.
pub fn decode(
    content_type: &str,
    body: &[u8],
    service_name: ServiceName,
) -> Result<PushRequest, PushError> {
    let media_type = content_type.split(';').next().unwrap_or("").trim();
    if media_type.eq_ignore_ascii_case("application/json") {
        decode_json(body, service_name)
    } else {
        decode_snappy(body, service_name)
    }
}

/// Decodes the JSON form, current (`stream` and `values`) or legacy (`labels` and `entries`).
pub fn decode_json(body: &[u8], service_name: ServiceName) -> Result<PushRequest, PushError> {
    let request = quick::decode(body).map_or_else(|| json::decode(body), Ok)?;
    finish(request, service_name)
}

/// Decodes a snappy-compressed `logproto.PushRequest`.
pub fn decode_snappy(body: &[u8], service_name: ServiceName) -> Result<PushRequest, PushError> {
    let decoded = unpack_snappy(body, PUSH_DECODED_BYTES_MAX)?;
    decode_proto(&decoded, service_name)
}

/// Decodes a `logproto.PushRequest` that is not compressed any more.
pub fn decode_proto(body: &[u8], service_name: ServiceName) -> Result<PushRequest, PushError> {
    finish(proto::decode(body)?, service_name)
}

/// The value that Loki would give the label `service_name` of a stream that lacks it.
pub fn discovered_service_name(labels: &Labels) -> &str {
    SERVICE_NAME_SOURCES.iter().find_map(|name| labels.get(name)).unwrap_or("unknown_service")
}

/// What both forms have in common once their syntax is read: enrichment, limits, empty streams.
pub(crate) fn finish(
    mut request: PushRequest,
    service_name: ServiceName,
) -> Result<PushRequest, PushError> {
    if request.streams.is_empty() {
        return Err(PushError::NoStreams);
    }
    request.streams.retain(|stream| !stream.entries.is_empty());
    for stream in &mut request.streams {
        if service_name == ServiceName::Discover && stream.labels.get(SERVICE_NAME).is_none() {
            let mut builder = stream.labels.to_builder();
            builder.set(SERVICE_NAME, discovered_service_name(&stream.labels));
            stream.labels = builder.build();
        }
        check_labels(&stream.labels)?;
        for entry in &mut stream.entries {
            check_entry(&stream.labels, entry)?;
            add_level(&stream.labels, entry);
        }
    }
    Ok(request)
}

/// Checks a stream's labels against the limits, in Loki's order and words.
pub fn check_labels(labels: &Labels) -> Result<(), PushError> {
    if labels.is_empty() {
        return Err(PushError::NoLabels);
    }
    if labels.len() > LABELS_PER_SERIES_MAX {
        return Err(PushError::Limit(format!(
            "entry for stream '{}' has {} label names; limit {LABELS_PER_SERIES_MAX}",
            shown(&labels.to_string()),
            labels.len()
        )));
    }
    for label in labels {
        let too_long = |what: &str, text: &str| {
            let (stream, text) = (labels.to_string(), shown(text));
            let stream = shown(&stream);
            Err(PushError::Limit(format!("stream '{stream}' has label {what} too long: '{text}'")))
        };
        if label.name.len() > LABEL_NAME_BYTES_MAX {
            return too_long("name", &label.name);
        }
        if label.value.len() > LABEL_VALUE_BYTES_MAX {
            return too_long("value", &label.value);
        }
    }
    Ok(())
}

/// Checks an entry's sizes, in Loki's words.
fn check_entry(labels: &Labels, entry: &LogEntry) -> Result<(), PushError> {
    if entry.line.len() > LINE_BYTES_MAX {
        return Err(PushError::Limit(format!(
            "Max entry size '{LINE_BYTES_MAX}' bytes exceeded for stream '{labels}' while adding an entry with length '{}' bytes",
            entry.line.len()
        )));
    }
    if entry.metadata.len() > METADATA_LABELS_MAX {
        return Err(PushError::Limit(format!(
            "stream '{labels}' has too many structured metadata labels: '{}', limit: '{METADATA_LABELS_MAX}'. Please see `limits_config.max_structured_metadata_entries_count` or contact your Loki administrator to increase it.",
            entry.metadata.len()
        )));
    }
    let bytes: usize = entry.metadata.iter().map(|l| l.name.len() + l.value.len()).sum();
    if bytes > METADATA_BYTES_MAX {
        return Err(PushError::Limit(format!(
            "stream '{labels}' has structured metadata too large: '{bytes}' bytes, limit: '{METADATA_BYTES_MAX}' bytes. Please see `limits_config.max_structured_metadata_size` or contact your Loki administrator to increase it."
        )));
    }
    Ok(())
}

/// A metadata name as Loki stores it: what a label name may not hold becomes `_`,
/// and a name that begins with a digit gets the prefix `key_`.
pub(crate) fn metadata_name(name: &str) -> Cow<'_, str> {
    if labels::is_label_name(name) || name.is_empty() {
        return name.into();
    }
    let digit_first = name.starts_with(|c: char| c.is_ascii_digit());
    let prefix = if digit_first { "key_" } else { "" };
    let clean = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' });
    prefix.chars().chain(clean).collect::<String>().into()
}

#[cfg(test)]
mod tests;
