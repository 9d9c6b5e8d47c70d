//! YAML with positions: the one place that knows the YAML library.

use crate::error::{ConfigError, Finding};
use serde::de::{
    self, Deserialize, DeserializeOwned, Deserializer, IgnoredAny, MapAccess, Visitor,
};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use vigie_model::duration::parse_duration_ms;

pub(crate) use serde_saphyr::Spanned;

/// A file with its text, for errors that point into it.
pub(crate) struct Source<'a> {
    pub(crate) file: &'a str,
    pub(crate) text: &'a str,
}

impl Source<'_> {
    /// Parses the whole text.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        serde_saphyr::from_str(self.text).map_err(|error| {
            let at = error.location();
            let (line, column) = at.map_or((0, 0), |at| (at.line() as usize, at.column() as usize));
            self.wrong(line, column, plain_message(&error))
        })
    }

    /// An error at a known place.
    pub(crate) fn wrong(
        &self,
        line: usize,
        column: usize,
        message: impl Into<String>,
    ) -> ConfigError {
        ConfigError::Wrong(Finding::new(self.file, self.text, line, column, message))
    }

    /// An error at the place of `spanned`.
    pub(crate) fn wrong_at<T>(
        &self,
        spanned: &Spanned<T>,
        message: impl Into<String>,
    ) -> ConfigError {
        let at = spanned.referenced;
        self.wrong(at.line() as usize, at.column() as usize, message)
    }
}

/// The library's message without its own position and excerpt: ours carry both.
fn plain_message(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let first = text.lines().next().unwrap_or("").to_owned();
    let cut = first.find(" at line ").unwrap_or(first.len());
    let body = first[..cut].trim();
    let body = body.strip_prefix("error: ").unwrap_or(body);
    match body.strip_prefix("line ").and_then(|rest| rest.split_once(": ")) {
        Some((_, message)) => message.to_owned(),
        None => body.to_owned(),
    }
}

/// A duration as Prometheus writes it, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DurationMs(pub(crate) i64);

impl<'de> Deserialize<'de> for DurationMs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_duration_ms(&text).map(DurationMs).map_err(|reason| {
            de::Error::custom(format!(
                "{reason}: write a number and a unit, for example 30s, 5m, 1h30m or 30d"
            ))
        })
    }
}

/// A key that the original knows and Vigie does not have yet: using it is refused, not ignored.
#[derive(Clone, Debug)]
pub(crate) enum Unbuilt {}

impl<'de> Deserialize<'de> for Unbuilt {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(de::Error::custom(
            "this key is not built yet in this version of Vigie: remove it from the file",
        ))
    }
}

/// A key that changes nothing here and is accepted.
pub(crate) type Accepted = Option<IgnoredAny>;

/// A section that is written inline or as the path of an unchanged original.
#[derive(Clone, Debug)]
pub(crate) enum Section<T> {
    /// A path, relative to the file that names it.
    Path(String),
    /// The section itself.
    Inline(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Section<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SectionVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for SectionVisitor<T> {
            type Value = Section<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the path of a file, or the section itself")
            }
            fn visit_str<E: de::Error>(self, path: &str) -> Result<Self::Value, E> {
                Ok(Section::Path(path.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(de::value::MapAccessDeserializer::new(map)).map(Section::Inline)
            }
        }
        deserializer.deserialize_any(SectionVisitor(PhantomData))
    }
}

/// A mapping of texts whose numbers and booleans are read as the text they are written as.
pub(crate) type TextMap = BTreeMap<String, String>;
