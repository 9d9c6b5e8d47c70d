//! YAML with positions: the one place that knows the YAML library.

use crate::error::{ConfigError, Finding};
use serde::de::{
    self, Deserialize, DeserializeOwned, Deserializer, IgnoredAny, MapAccess, Visitor,
};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use vigie_model::duration::parse_duration_ms;

pub(crate) use serde_saphyr::{Location, Spanned};

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
        self.wrong_at_location(spanned.referenced, message)
    }

    /// An error at the place that the library gave.
    pub(crate) fn wrong_at_location(
        &self,
        at: Location,
        message: impl Into<String>,
    ) -> ConfigError {
        self.wrong(at.line() as usize, at.column() as usize, message)
    }
}

/// What is wrong and what would be right. The library's own position and excerpt are left out, since
/// ours carry both, and so are its words where they speak to its callers.
fn plain_message(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error;
    match error.without_snippet() {
        Error::SerdeUnknownField { field, expected, .. } => unknown_key(field, expected),
        Error::SerdeMissingField { field, .. } => format!("the key `{field}` is missing"),
        Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().unwrap_or("?");
            format!("the key `{key}` stands here a second time: keep one")
        }
        Error::MultipleDocuments { .. } => {
            "a second document begins here: a file holds one, keep one".to_owned()
        }
        Error::InvalidScalar { ty: "boolean", .. } | Error::InvalidBooleanStrict { .. } => {
            "this is not a yes or no: write true or false".to_owned()
        }
        other => without_position(&other.to_string()),
    }
}

fn without_position(text: &str) -> String {
    let first = text.lines().next().unwrap_or("").to_owned();
    let cut = first.find(" at line ").unwrap_or(first.len());
    let body = first[..cut].trim();
    let body = body.strip_prefix("error: ").unwrap_or(body);
    match body.strip_prefix("line ").and_then(|rest| rest.split_once(": ")) {
        Some((_, message)) => message.to_owned(),
        None => body.to_owned(),
    }
}

fn unknown_key(key: &str, known: &[&str]) -> String {
    let nearest = known.iter().map(|one| (distance(key, one), one)).min();
    let hint = match nearest {
        Some((far, one)) if far <= 1 + key.len() / 4 => format!(": did you mean `{one}`?"),
        _ => String::new(),
    };
    format!("there is no key `{key}` here{hint} (the keys are {})", known.join(", "))
}

/// How many letters must be changed, added, taken away or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = changed.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

/// A list or a section that may be left empty (`rule_files:` with nothing but comments below it, as
/// in the file that Prometheus ships).
pub(crate) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
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

/// A size as Prometheus' flags write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SizeBytes(pub(crate) u64);

impl<'de> Deserialize<'de> for SizeBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        vigie_model::size::parse_size_bytes(&text).map(SizeBytes).map_err(de::Error::custom)
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
