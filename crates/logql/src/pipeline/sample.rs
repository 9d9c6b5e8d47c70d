//! What a line gives to a metric query: a number, and the labels of the series it belongs to.

use super::condition::Condition;
use super::labels::{LabelSet, LineLabels};
use crate::ast::{Conversion, Grouping, Unwrap};
use crate::parse::ParseError;
use crate::units::{parse_bytes, parse_go_duration_ns, parse_go_float};

/// What a line contributes to a metric query.
pub(crate) enum Sample {
    /// Its length.
    Bytes,
    /// One.
    Count,
    /// The number in a label.
    Unwrap {
        /// The label.
        label: String,
        /// How it is read.
        conversion: Conversion,
        /// What filters it.
        filters: Vec<Condition>,
    },
}

impl Sample {
    /// Compiles an `unwrap`.
    pub fn unwrap(unwrap: &Unwrap) -> Result<Sample, ParseError> {
        let filters = unwrap
            .filters
            .iter()
            .map(Condition::new)
            .collect::<Result<_, String>>()
            .map_err(|why| ParseError::whole(format!("stage '{unwrap}' : {why}")))?;
        Ok(Sample::Unwrap { label: unwrap.label.clone(), conversion: unwrap.conversion, filters })
    }

    /// The number, or `None` if the line has none; a bad one is 0 and an error on the line.
    pub fn take(&self, line: &[u8], labels: &mut LineLabels) -> Option<f64> {
        let Sample::Unwrap { label, conversion, filters } = self else {
            return Some(if matches!(self, Sample::Count) { 1.0 } else { line.len() as f64 });
        };
        let text = labels.get(label).filter(|text| !text.is_empty())?;
        let number = match conversion {
            Conversion::Number => parse_go_float(text),
            Conversion::Bytes => parse_bytes(text).map(|size| size as f64),
            Conversion::Duration | Conversion::DurationSeconds => {
                parse_go_duration_ns(text).map(|ns| ns as f64 / 1e9)
            }
        };
        let number = number.unwrap_or_else(|why| {
            labels.set_error("SampleExtractionErr", why);
            0.0
        });
        filters.iter().all(|filter| filter.holds(labels)).then_some(number)
    }
}

/// The labels of a sample's series. An error keeps all of them, so that it is not lost.
pub(crate) fn series_labels(
    labels: &LineLabels,
    grouping: Option<&Grouping>,
    unwrapped: Option<&str>,
) -> LabelSet {
    if labels.has_error() {
        return labels.all();
    }
    match grouping {
        Some(grouping) if grouping.without => labels.pick(|name| {
            Some(name) != unwrapped && !grouping.labels.iter().any(|label| label == name)
        }),
        Some(grouping) => labels.pick(|name| grouping.labels.iter().any(|label| label == name)),
        None => labels.pick(|name| Some(name) != unwrapped),
    }
}
