//! Recording rules: an expression's answer under another name.

use crate::RuleError;
use std::collections::BTreeSet;
use vigie_model::{Labels, METRIC_NAME};

/// A `record:` rule.
#[derive(Clone)]
pub(crate) struct RecordingRule {
    pub(crate) name: String,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) limit: usize,
}

impl RecordingRule {
    /// The series to write.
    pub(crate) fn evaluate(
        &self,
        vector: Vec<(Labels, f64)>,
    ) -> Result<Vec<(Labels, f64)>, RuleError> {
        let mut seen = BTreeSet::new();
        let mut samples = Vec::with_capacity(vector.len());
        for (labels, value) in vector {
            let mut builder = labels.to_builder();
            builder.set(METRIC_NAME, self.name.as_str());
            for (name, text) in &self.labels {
                builder.set(name.as_str(), text.as_str());
            }
            let labels = builder.build();
            if !seen.insert(labels.clone()) {
                return Err(RuleError::Duplicate("rule"));
            }
            samples.push((labels, value));
        }
        if self.limit > 0 && samples.len() > self.limit {
            let got = samples.len();
            return Err(RuleError::Limit { limit: self.limit, got, what: "series" });
        }
        Ok(samples)
    }
}
