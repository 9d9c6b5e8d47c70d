//! The labels of a series or an exemplar, built when somebody needs them.

use super::{Request, WireExemplar};
use crate::proto::{ProtoError, Reader, Value};
use vigie_model::limits::LABELS_PER_SERIES_MAX;
use vigie_model::{Labels, METRIC_NAME};

/// Labels that are read before the limit is looked at: what is over it is told with its number.
const PAIRS_MAX: usize = 4 * LABELS_PER_SERIES_MAX;

/// Why the labels of a series cannot be taken; the words are Prometheus'.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LabelsError {
    /// The protobuf is broken, or a reference leads nowhere.
    #[error("proto: {0}")]
    Proto(#[from] ProtoError),
    /// No metric name, an empty label name, or bytes that are not UTF-8.
    #[error("invalid metric name or labels, got {0}")]
    Invalid(String),
    /// A name stands there twice.
    #[error("invalid labels for series, labels {labels}, duplicated label {name}")]
    Duplicate {
        /// All of them.
        labels: String,
        /// The one.
        name: String,
    },
    /// More labels than anybody needs.
    #[error("the series has more than {0} labels: drop some at the sender")]
    TooMany(usize),
}

impl<'a> Request<'a> {
    /// The labels of series `series`: sorted, without empty values, with a metric name.
    ///
    /// # Errors
    /// When they are not acceptable.
    ///
    /// # Panics
    /// If the request has no such series.
    pub fn labels(&self, series: usize) -> Result<Labels, LabelsError> {
        let pairs = self.pairs(self.message(series))?;
        checked(pairs, true)
    }

    /// The metric name of series `series` without building its labels; empty when there is none
    /// or the labels are not acceptable.
    ///
    /// # Panics
    /// If the request has no such series.
    pub fn metric_name(&self, series: usize) -> &'a str {
        let pairs = self.pairs(self.message(series)).unwrap_or_default();
        pairs.iter().find(|(name, _)| *name == METRIC_NAME).map_or("", |(_, value)| value)
    }

    /// The labels of an exemplar.
    ///
    /// # Errors
    /// When they are not acceptable.
    pub fn exemplar_labels(&self, exemplar: &WireExemplar<'a>) -> Result<Labels, LabelsError> {
        let pairs = self.pairs(exemplar.message)?;
        checked(pairs, false)
    }

    fn pairs(&self, mut message: Reader<'a>) -> Result<Vec<(&'a str, &'a str)>, LabelsError> {
        let mut texts = Vec::new();
        while let Some((number, value)) = message.field()? {
            match (number, value) {
                (1, Value::Bytes(label)) if !self.is_v2 => {
                    let (name, value) = pair(label)?;
                    texts.extend([name, value]);
                }
                (1, Value::Bytes(mut references)) => {
                    while !references.is_at_end() && texts.len() <= 2 * PAIRS_MAX {
                        let reference = references.varint()?;
                        texts.push(self.symbol(reference, &references)?);
                    }
                }
                (1, Value::Number(reference)) => texts.push(self.symbol(reference, &message)?),
                _ => {}
            }
            if texts.len() > 2 * PAIRS_MAX {
                return Err(LabelsError::TooMany(PAIRS_MAX));
            }
        }
        if texts.len() % 2 == 1 {
            return Err(message.error("a label name without its value").into());
        }
        Ok(texts.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
    }
}

fn pair<'a>(mut label: Reader<'a>) -> Result<(&'a str, &'a str), LabelsError> {
    let (mut name, mut text) = ("", "");
    while let Some((number, value)) = label.field()? {
        match (number, value) {
            (1, Value::Bytes(bytes)) => name = utf8(&bytes)?,
            (2, Value::Bytes(bytes)) => text = utf8(&bytes)?,
            _ => {}
        }
    }
    Ok((name, text))
}

fn utf8<'a>(bytes: &Reader<'a>) -> Result<&'a str, LabelsError> {
    std::str::from_utf8(bytes.bytes)
        .map_err(|_| LabelsError::Invalid(format!("{:.200}", String::from_utf8_lossy(bytes.bytes))))
}

fn checked(mut pairs: Vec<(&str, &str)>, is_series: bool) -> Result<Labels, LabelsError> {
    pairs.sort_unstable_by_key(|(name, _)| *name);
    let twice = pairs.windows(2).find(|two| two[0].0 == two[1].0).map(|two| two[0].0.to_owned());
    let nameless = pairs.first().is_some_and(|(name, _)| name.is_empty());
    let labels = Labels::from_pairs(pairs.into_iter().filter(|(name, _)| !name.is_empty()));
    if let Some(name) = twice {
        return Err(LabelsError::Duplicate { labels: labels.to_string(), name });
    }
    if nameless || is_series && labels.get(METRIC_NAME).is_none_or(str::is_empty) {
        return Err(LabelsError::Invalid(labels.to_string()));
    }
    Ok(labels)
}
