//! The JSON form: `{"streams":[{"stream":{…},"values":[["ts_ns","line",{…}?]]}]}`,
//! and the legacy one, `{"streams":[{"labels":"{…}","entries":[{"ts":"RFC 3339","line":"…"}]}]}`.
//!
//! The body is read in one pass without a tree. Lines are taken as bytes, so that what a sender
//! escaped badly still arrives as it was sent.
//! An error is looked at again to give it the words that Loki's JSON library has for it:
//! clients and people search for them.

use super::labels::{checked_pairs, parse_labels};
use super::{Budget, PushError, PushRequest, PushStream, check_pairs, metadata_name, shown};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use vigie_model::{Labels, LogEntry};

/// What jsonparser says of a number where a text is wanted, or of a timestamp without digits.
const NOT_A_TIMESTAMP: &str =
    "Value looks like Number/Boolean/None, but can't find its end: ',' or '}' symbol";
/// What jsonparser says of metadata whose value is not a text.
const NOT_A_TEXT: &str = "Value is string, but can't find closing '\"' symbol";
/// Marks, inside a serde error, that the rest is a label error's own text.
const LABELS_MARK: &str = "\u{1}labels\u{1}";
/// The same for a text that is complete already.
const LIMIT_MARK: &str = "\u{1}limit\u{1}";

/// Decodes a whole body.
pub(super) fn decode(body: &[u8]) -> Result<PushRequest, PushError> {
    let budget = Budget::new();
    let mut parser = serde_json::Deserializer::from_slice(body);
    let parsed = BodySeed(&budget).deserialize(&mut parser);
    let streams = parsed.and_then(|streams| parser.end().map(|()| streams));
    Ok(PushRequest { streams: streams.map_err(|error| explain(body, &error))? })
}

/// The whole body; of several `streams` the last counts.
struct BodySeed<'a>(&'a Budget);

impl<'de> DeserializeSeed<'de> for BodySeed<'_> {
    type Value = Vec<PushStream>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for BodySeed<'_> {
    type Value = Vec<PushStream>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("struct Body")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut streams = Vec::new();
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match key.as_ref() {
                "streams" => streams = map.next_value_seed(Streams(self.0))?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(streams)
    }
}

struct Streams<'a>(&'a Budget);

impl<'de> DeserializeSeed<'de> for Streams<'_> {
    type Value = Vec<PushStream>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Streams<'_> {
    type Value = Vec<PushStream>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut streams = Vec::new();
        while let Some(stream) = seq.next_element_seed(StreamSeed(self.0))? {
            streams.push(stream);
        }
        Ok(streams)
    }
}

/// Encodes a request in the current JSON form. Bytes that are not UTF-8 become U+FFFD:
/// JSON has no way to carry them.
pub fn encode_json(request: &PushRequest) -> Vec<u8> {
    #[derive(Serialize)]
    struct OutBody<'a> {
        streams: Vec<OutStream<'a>>,
    }
    #[derive(Serialize)]
    struct OutStream<'a> {
        stream: serde_json::Map<String, serde_json::Value>,
        values: Vec<OutEntry<'a>>,
    }
    #[derive(Serialize)]
    #[serde(untagged)]
    enum OutEntry<'a> {
        Plain(String, Cow<'a, str>),
        Rich(String, Cow<'a, str>, serde_json::Map<String, serde_json::Value>),
    }
    let map =
        |labels: &Labels| labels.iter().map(|l| (l.name.to_string(), (*l.value).into())).collect();
    let entry = |entry: &'_ LogEntry| -> OutEntry<'static> {
        let (ts, line) =
            (entry.ts_ns.to_string(), String::from_utf8_lossy(&entry.line).into_owned().into());
        if entry.metadata.is_empty() {
            OutEntry::Plain(ts, line)
        } else {
            OutEntry::Rich(ts, line, map(&entry.metadata))
        }
    };
    let streams = request.streams.iter().map(|stream| OutStream {
        stream: map(&stream.labels),
        values: stream.entries.iter().map(entry).collect(),
    });
    serde_json::to_vec(&OutBody { streams: streams.collect() })
        .expect("maps with text keys always serialise")
}

/// Turns serde's error into the text that Loki answers.
fn explain(body: &[u8], error: &serde_json::Error) -> PushError {
    let text = error.to_string();
    let whole = shown(without_position(&text));
    if let Some(rest) = whole.strip_prefix(LABELS_MARK) {
        return PushError::Labels(rest.to_owned());
    }
    if let Some(rest) = whole.strip_prefix(LIMIT_MARK) {
        return PushError::Limit(rest.to_owned());
    }
    let first = body.iter().position(|b| !b.is_ascii_whitespace());
    match first.map(|at| (at, body[at])) {
        Some((at, byte)) if byte != b'{' => {
            let what = format!("readObjectStart: expect {{ or n, but found {}", byte as char);
            PushError::Json(with_context(&what, body, at + 1))
        }
        _ => {
            let at = failed_stream_end(body).unwrap_or_else(|| offset_of(body, error));
            let what = format!(
                "loghttp.PushRequest.Streams: []loghttp.LogProtoStream: unmarshalerDecoder: {whole}"
            );
            PushError::Json(with_context(&what, body, at))
        }
    }
}

/// serde_json appends ` at line L column C`; ours is given as bytes of context instead.
fn without_position(text: &str) -> &str {
    text.rfind(" at line ").map_or(text, |at| &text[..at])
}

/// The first byte after the first stream that does not decode, which is where Loki's reader stands.
fn failed_stream_end(body: &[u8]) -> Option<usize> {
    #[derive(Deserialize)]
    struct RawBody<'a> {
        #[serde(borrow)]
        streams: Vec<&'a RawValue>,
    }
    let raw: RawBody<'_> = serde_json::from_slice(body).ok()?;
    let failed = raw.streams.iter().find(|raw| {
        let mut parser = serde_json::Deserializer::from_str(raw.get());
        StreamSeed(&Budget::new()).deserialize(&mut parser).is_err()
    })?;
    let start = (failed.get().as_ptr() as usize).checked_sub(body.as_ptr() as usize)?;
    Some(start + failed.get().len())
}

fn offset_of(body: &[u8], error: &serde_json::Error) -> usize {
    let lines = body.split_inclusive(|&b| b == b'\n').take(error.line().saturating_sub(1));
    let before: usize = lines.map(<[u8]>::len).sum();
    (before + error.column()).min(body.len())
}

/// jsoniter's frame around a message: ten bytes on either side, then fifty.
fn with_context(what: &str, body: &[u8], head: usize) -> String {
    let near = |reach: usize| {
        let (from, to) = (head.saturating_sub(reach), (head + reach).min(body.len()));
        (head - from, String::from_utf8_lossy(&body[from..to]).into_owned())
    };
    let ((at, parsing), (_, context)) = (near(10), near(50));
    format!(
        "{what}, error found in #{at} byte of ...|{parsing}|..., bigger context ...|{context}|..."
    )
}

struct StreamSeed<'a>(&'a Budget);

impl<'de> DeserializeSeed<'de> for StreamSeed<'_> {
    type Value = PushStream;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<PushStream, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for StreamSeed<'_> {
    type Value = PushStream;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a stream")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PushStream, A::Error> {
        let budget = self.0;
        budget.take(1).map_err(marked)?;
        let mut stream = PushStream::default();
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match key.as_ref() {
                "stream" => {
                    let pairs = map.next_value_seed(Pairs { texts_only: false, budget })?;
                    stream.labels = checked_pairs(pairs).map_err(marked)?;
                }
                "labels" => {
                    let text = map.next_value::<Cow<'de, str>>()?;
                    stream.labels = parse_labels(&text).map_err(marked)?;
                }
                "values" => {
                    let out = &mut stream.entries;
                    map.next_value_seed(Entries { legacy: false, out, budget })?
                }
                "entries" => {
                    let out = &mut stream.entries;
                    map.next_value_seed(Entries { legacy: true, out, budget })?
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(stream)
    }
}

/// Carries a label error through serde.
fn marked<E: Error>(error: PushError) -> E {
    match error {
        PushError::Labels(text) => E::custom(format!("{LABELS_MARK}{text}")),
        other => E::custom(format!("{LIMIT_MARK}{other}")),
    }
}

/// An object of texts. Loki takes the digits of a number for a stream label's text,
/// but refuses anything but texts in metadata.
struct Pairs<'a> {
    texts_only: bool,
    budget: &'a Budget,
}

impl<'de> DeserializeSeed<'de> for Pairs<'_> {
    type Value = Vec<(String, String)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Pairs<'_> {
    type Value = Vec<(String, String)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            check_pairs(pairs.len()).and_then(|()| self.budget.take(1)).map_err(marked)?;
            let raw = map.next_value::<&RawValue>()?.get();
            let value = if raw.starts_with('"') {
                serde_json::from_str(raw).map_err(A::Error::custom)?
            } else if self.texts_only {
                return Err(A::Error::custom(NOT_A_TEXT));
            } else {
                raw.to_owned()
            };
            pairs.push((name, value));
        }
        Ok(pairs)
    }
}

/// A list of entries, appended to `out`.
struct Entries<'a> {
    legacy: bool,
    out: &'a mut Vec<LogEntry>,
    budget: &'a Budget,
}

impl<'de> DeserializeSeed<'de> for Entries<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        if self.legacy {
            while let Some(entry) = seq.next_element::<LegacyEntry<'de>>()? {
                self.budget.take(1).map_err(marked)?;
                self.out.push(entry.into_entry().map_err(A::Error::custom)?);
            }
        } else {
            while let Some(entry) = seq.next_element_seed(EntrySeed(self.budget))? {
                self.budget.take(1).map_err(marked)?;
                self.out.push(entry);
            }
        }
        Ok(())
    }
}

struct EntrySeed<'a>(&'a Budget);

impl<'de> DeserializeSeed<'de> for EntrySeed<'_> {
    type Value = LogEntry;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<LogEntry, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for EntrySeed<'_> {
    type Value = LogEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an entry of timestamp and line")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<LogEntry, A::Error> {
        let short = || A::Error::custom("an entry needs a timestamp and a line");
        let ts = seq.next_element::<Timestamp>()?.ok_or_else(short)?;
        let line = seq.next_element::<Line>()?.ok_or_else(short)?;
        let pairs = Pairs { texts_only: true, budget: self.0 };
        let pairs = seq.next_element_seed(pairs)?.unwrap_or_default();
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(LogEntry { ts_ns: ts.0, line: line.0, metadata: metadata(&pairs) })
    }
}

/// The metadata of an entry.
pub(super) fn metadata<T: AsRef<str>>(pairs: &[(T, T)]) -> Labels {
    let named = pairs.iter().filter(|(name, _)| !name.as_ref().is_empty());
    let named = named.map(|(name, value)| (metadata_name(name.as_ref()), value.as_ref()));
    Labels::from_pairs_with_empty(named)
}

struct Timestamp(i64);

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        deserializer.deserialize_any(TimestampVisitor)
    }
}

struct TimestampVisitor;

impl Visitor<'_> for TimestampVisitor {
    type Value = Timestamp;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nanoseconds as a text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Timestamp, E> {
        text.parse().map(Timestamp).map_err(|_| E::custom(NOT_A_TIMESTAMP))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Timestamp, E> {
        Err(E::custom(NOT_A_TIMESTAMP))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Timestamp, E> {
        Err(E::custom(NOT_A_TIMESTAMP))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Timestamp, E> {
        Err(E::custom(NOT_A_TIMESTAMP))
    }
}

struct Line(Vec<u8>);

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Line, D::Error> {
        deserializer.deserialize_bytes(LineVisitor)
    }
}

struct LineVisitor;

impl Visitor<'_> for LineVisitor {
    type Value = Line;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a line as a text")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Line, E> {
        Ok(Line(bytes.to_vec()))
    }
}

#[derive(Deserialize)]
struct LegacyEntry<'a> {
    #[serde(borrow)]
    ts: Cow<'a, str>,
    line: Line,
}

impl LegacyEntry<'_> {
    fn into_entry(self) -> Result<LogEntry, String> {
        let ts_ns = super::time::parse_rfc3339_ns(&self.ts)
            .ok_or_else(|| format!("the timestamp {:?} is not RFC 3339", self.ts))?;
        Ok(LogEntry { ts_ns, line: self.line.0, metadata: Labels::default() })
    }
}
