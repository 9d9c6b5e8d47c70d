//! Label sets: the identity of a series and of a log stream.

use std::fmt;
use std::sync::Arc;

/// The label that holds a metric's name.
pub const METRIC_NAME: &str = "__name__";

/// One name and its value; both are shared, so cloning a label copies no text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label {
    /// The name, never empty.
    pub name: Arc<str>,
    /// The value, never empty in the labels of a series or a stream: an empty label is an absent one.
    pub value: Arc<str>,
}

/// A set of labels, sorted by name, without duplicates, and but for a log line's structured metadata
/// without empty values.
///
/// Cloning is one atomic increment. The order is Prometheus' `labels.Compare`:
/// pair by pair, name before value, a prefix before the longer set.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels(Arc<[Label]>);

impl Default for Labels {
    fn default() -> Self {
        Labels(Arc::from([]))
    }
}

impl Labels {
    /// The set of these pairs; of a name given twice the last pair counts, empty values are left out.
    pub fn from_pairs<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Labels
    where
        N: Into<Arc<str>>,
        V: Into<Arc<str>>,
    {
        let pairs = pairs.into_iter().map(|(name, value)| (name.into(), value.into()));
        let labels: Vec<Label> = pairs.map(|(name, value)| Label { name, value }).collect();
        let mut labels = Labels::unique(labels);
        labels.retain(|label| !label.value.is_empty());
        LabelsBuilder { labels }.build()
    }

    /// The same, with empty values kept: Loki's structured metadata is the one set in which an empty
    /// label is not an absent one.
    pub fn from_pairs_with_empty<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Labels
    where
        N: Into<Arc<str>>,
        V: Into<Arc<str>>,
    {
        let pairs = pairs.into_iter().map(|(name, value)| (name.into(), value.into()));
        let labels = pairs.map(|(name, value)| Label { name, value }).collect();
        LabelsBuilder { labels: Labels::unique(labels) }.build()
    }

    /// Sorted by name; of a name given twice the last label counts.
    fn unique(mut labels: Vec<Label>) -> Vec<Label> {
        // One sort, and no insertions one by one: the pairs may be a stranger's.
        if !labels.is_sorted_by(|a, b| a.name < b.name) {
            labels.sort_by(|a, b| a.name.cmp(&b.name));
            labels.dedup_by(|later, earlier| {
                let again = later.name == earlier.name;
                if again {
                    std::mem::swap(later, earlier);
                }
                again
            });
        }
        labels
    }

    /// The value under `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .binary_search_by(|label| label.name.as_ref().cmp(name))
            .ok()
            .map(|at| self.0[at].value.as_ref())
    }

    /// The value under `name`, or the empty text that PromQL reads for an absent label.
    pub fn value_or_empty(&self, name: &str) -> &str {
        self.get(name).unwrap_or("")
    }

    /// The metric name, if the set has one.
    pub fn metric_name(&self) -> Option<&str> {
        self.get(METRIC_NAME)
    }

    /// The labels in order of their names.
    pub fn iter(&self) -> std::slice::Iter<'_, Label> {
        self.0.iter()
    }

    /// How many labels the set has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the set has no label.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A builder that starts from this set.
    pub fn to_builder(&self) -> LabelsBuilder {
        LabelsBuilder { labels: self.0.to_vec() }
    }

    /// Only the labels whose names `keep` answers true for.
    pub fn filter(&self, keep: impl Fn(&str) -> bool) -> Labels {
        Labels(self.0.iter().filter(|label| keep(&label.name)).cloned().collect())
    }

    /// This set without the labels named.
    pub fn without(&self, names: &[&str]) -> Labels {
        self.filter(|name| !names.contains(&name))
    }

    /// Only the labels named.
    pub fn only(&self, names: &[&str]) -> Labels {
        self.filter(|name| names.contains(&name))
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = &'a Label;
    type IntoIter = std::slice::Iter<'a, Label>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// Prometheus' text form: `{__name__="up", job="node"}`.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (at, label) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{}={}", label.name, crate::go_quote(&*label.value))?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Changes labels before they become a [`Labels`]; keeps them sorted at every step.
#[derive(Clone, Debug, Default)]
pub struct LabelsBuilder {
    labels: Vec<Label>,
}

impl LabelsBuilder {
    /// Sets `name` to `value`; an empty value removes the label.
    pub fn set(&mut self, name: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> &mut Self {
        let (name, value) = (name.into(), value.into());
        match self.labels.binary_search_by(|label| label.name.cmp(&name)) {
            Ok(at) if value.is_empty() => {
                self.labels.remove(at);
            }
            Ok(at) => self.labels[at].value = value,
            Err(_) if value.is_empty() => {}
            Err(at) => self.labels.insert(at, Label { name, value }),
        }
        self
    }

    /// Removes `name`.
    pub fn remove(&mut self, name: &str) -> &mut Self {
        self.labels.retain(|label| label.name.as_ref() != name);
        self
    }

    /// The value under `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.labels
            .binary_search_by(|label| label.name.as_ref().cmp(name))
            .ok()
            .map(|at| self.labels[at].value.as_ref())
    }

    /// The labels so far, in order of their names.
    pub fn iter(&self) -> std::slice::Iter<'_, Label> {
        self.labels.iter()
    }

    /// Keeps the labels that `keep` answers true for.
    pub fn retain(&mut self, mut keep: impl FnMut(&Label) -> bool) -> &mut Self {
        self.labels.retain(|label| keep(label));
        self
    }

    /// The finished set.
    pub fn build(self) -> Labels {
        debug_assert!(self.labels.windows(2).all(|pair| pair[0].name < pair[1].name));
        Labels(self.labels.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_sorted_and_drops_empty_values_and_earlier_duplicates() {
        let labels =
            Labels::from_pairs([("job", "a"), ("__name__", "up"), ("x", ""), ("job", "b")]);
        assert_eq!(labels.to_string(), r#"{__name__="up", job="b"}"#);
        assert_eq!(labels.get("x"), None);
        assert_eq!(labels.without(&["job"]).len(), 1);
        let metadata = Labels::from_pairs_with_empty([("x", "1"), ("a", "2"), ("x", "")]);
        assert_eq!(metadata.to_string(), r#"{a="2", x=""}"#);
        assert!(Labels::default() < labels);
    }
}
