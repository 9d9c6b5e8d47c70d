//! The labels of one line while it goes through a pipeline, and the finished label sets.
//!
//! A label belongs to the stream, to the structured metadata or to what a parser found.
//! A parsed label replaces one of the same name; parsers avoid that by appending `_extracted`.
//! Unlike `vigie_model::Labels`, the sets here keep labels with empty values: Loki returns them.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use vigie_model::Labels;

/// The label that names what went wrong with a line.
pub const ERROR_LABEL: &str = "__error__";
/// The label that explains it.
pub const ERROR_DETAILS_LABEL: &str = "__error_details__";
/// Most labels that parsers may take out of one line; a hostile line holds a hundred thousand, and
/// each is compared with those before it.
pub(super) const EXTRACTED_MAX: usize = 2048;
/// Most names remembered from line to line.
const NAMES_MAX: usize = 4096;
/// Appended to a name that is taken.
pub const DUPLICATE_SUFFIX: &str = "_extracted";

/// A sorted label set that may hold empty values.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct LabelSet(Arc<[(Arc<str>, Arc<str>)]>);

impl LabelSet {
    /// The set of these pairs; of a name given twice the last pair counts.
    pub fn from_pairs<N: Into<Arc<str>>, V: Into<Arc<str>>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> LabelSet {
        let mut list: Vec<(Arc<str>, Arc<str>)> = Vec::new();
        for (name, value) in pairs {
            let (name, value) = (name.into(), value.into());
            match list.binary_search_by(|(have, _)| have.cmp(&name)) {
                Ok(at) => list[at].1 = value,
                Err(at) => list.insert(at, (name, value)),
            }
        }
        LabelSet(list.into())
    }

    /// Names and values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// The value under `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(have, _)| have.as_ref().cmp(name)).ok()?;
        Some(&self.0[at].1)
    }

    /// How many labels there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Only the labels that `keep` answers true for.
    pub fn filter(&self, keep: impl Fn(&str) -> bool) -> LabelSet {
        LabelSet(self.0.iter().filter(|(name, _)| keep(name)).cloned().collect())
    }

    /// The set with `name` set to `value`, or removed.
    pub fn with(&self, name: &str, value: Option<&str>) -> LabelSet {
        let rest = self.0.iter().filter(|(have, _)| have.as_ref() != name).cloned();
        LabelSet::from_pairs(rest.chain(value.map(|value| (Arc::from(name), Arc::from(value)))))
    }
}

impl From<&Labels> for LabelSet {
    fn from(labels: &Labels) -> LabelSet {
        LabelSet(labels.iter().map(|l| (l.name.clone(), l.value.clone())).collect())
    }
}

/// Prometheus' text form: `{app="a", env="b"}`.
impl fmt::Display for LabelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (at, (name, value)) in self.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            write!(f, "{comma}{name}={}", vigie_model::go_quote(value))?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for LabelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where a label comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// The stream.
    Stream,
    /// Structured metadata.
    Metadata,
    /// A parser or a format stage.
    Parsed,
}

#[derive(Clone, Debug)]
struct Entry {
    name: Arc<str>,
    value: Arc<str>,
    category: Category,
}

/// The labels of the line at hand.
#[derive(Default)]
pub struct LineLabels {
    stream: Labels,
    entries: Vec<Entry>,
    extracted: Vec<Arc<str>>,
    /// Names met on earlier lines, so that a line copies none.
    names: HashSet<Arc<str>>,
    error: Option<(String, String)>,
}

impl LineLabels {
    /// Starts a line of `stream`.
    pub fn start(&mut self, stream: &Labels, metadata: &Labels) {
        self.entries.clear();
        self.extracted.clear();
        self.error = None;
        self.stream = stream.clone();
        let entry = |label: &vigie_model::Label, category| Entry {
            name: label.name.clone(),
            value: label.value.clone(),
            category,
        };
        self.entries.extend(stream.iter().map(|label| entry(label, Category::Stream)));
        for label in metadata {
            let mut entry = entry(label, Category::Metadata);
            if self.stream.get(&entry.name).is_some() {
                entry.name = format!("{}{DUPLICATE_SUFFIX}", entry.name).into();
            }
            match self.position(&entry.name) {
                Some(at) => self.entries[at] = entry,
                None => self.entries.push(entry),
            }
        }
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.entries.iter().position(|entry| entry.name.as_ref() == name)
    }

    /// The value under `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.position(name).map(|at| self.entries[at].value.as_ref())
    }

    /// The value that a text comparison sees: it alone reads the line's error, and no details.
    pub fn text(&self, name: &str) -> &str {
        match (name, &self.error) {
            (ERROR_LABEL, Some((error, _))) => error,
            _ => self.get(name).unwrap_or(""),
        }
    }

    /// Where the label of this name comes from.
    pub fn category(&self, name: &str) -> Option<Category> {
        self.position(name).map(|at| self.entries[at].category)
    }

    /// Whether the stream, as stored, has the label.
    pub fn stream_has(&self, name: &str) -> bool {
        self.stream.get(name).is_some()
    }

    /// Sets a label of the parsed kind, replacing any other of that name.
    pub fn set(&mut self, name: Arc<str>, value: Arc<str>) {
        let entry = Entry { name, value, category: Category::Parsed };
        match self.position(&entry.name) {
            Some(at) => self.entries[at] = entry,
            None => self.entries.push(entry),
        }
    }

    /// The name under which a parser stores `name`: with the suffix if it is taken by the stream or
    /// by the structured metadata. `None` if a parser stored it already: the first one counts.
    pub fn extracted_name(&mut self, name: &str) -> Option<Arc<str>> {
        let name = self.free_name(name);
        if self.names.len() < NAMES_MAX && !self.names.contains(&name) {
            self.names.insert(name.clone());
        }
        if self.extracted.contains(&name) {
            return None;
        }
        self.extracted.push(name.clone());
        Some(name)
    }

    /// `name`, with the suffix if the stream or the structured metadata has it.
    pub fn free_name(&self, name: &str) -> Arc<str> {
        let taken = self.stream_has(name) || self.category(name) == Some(Category::Metadata);
        if taken {
            return format!("{name}{DUPLICATE_SUFFIX}").into();
        }
        self.names.get(name).cloned().unwrap_or_else(|| name.into())
    }

    /// The names that parsers stored.
    pub fn extracted(&self) -> &[Arc<str>] {
        &self.extracted
    }

    /// Removes a label.
    pub fn remove(&mut self, name: &str) {
        self.entries.retain(|entry| entry.name.as_ref() != name);
    }

    /// Keeps the labels that `keep` answers true for.
    pub fn retain(&mut self, keep: impl Fn(&str, &str) -> bool) {
        self.entries.retain(|entry| keep(&entry.name, &entry.value));
    }

    /// Whether the line has an error.
    pub fn has_error(&self) -> bool {
        self.error.is_some()
    }

    /// Notes an error; a later one replaces it.
    pub fn set_error(&mut self, error: &str, details: impl Into<String>) {
        self.error = Some((error.to_owned(), details.into()));
    }

    /// Forgets the error, or only its details.
    pub fn clear_error(&mut self, details_only: bool) {
        if !details_only {
            self.error = None;
        } else if let Some((_, details)) = &mut self.error {
            details.clear();
        }
    }

    /// The labels of one category; errors are parsed labels.
    pub fn of(&self, category: Category) -> LabelSet {
        let pairs = self
            .entries
            .iter()
            .filter(|entry| entry.category == category)
            .map(|entry| (entry.name.clone(), entry.value.clone()));
        if category == Category::Parsed {
            LabelSet::from_pairs(pairs.chain(self.error_pairs()))
        } else {
            LabelSet::from_pairs(pairs)
        }
    }

    fn error_pairs(&self) -> impl Iterator<Item = (Arc<str>, Arc<str>)> {
        self.error.iter().flat_map(|(error, details)| {
            let details = (!details.is_empty())
                .then(|| (Arc::from(ERROR_DETAILS_LABEL), Arc::from(details.as_str())));
            std::iter::once((Arc::from(ERROR_LABEL), Arc::from(error.as_str()))).chain(details)
        })
    }

    /// The labels that `keep` answers true for; errors are not among them.
    pub fn pick(&self, keep: impl Fn(&str) -> bool) -> LabelSet {
        let kept = self.entries.iter().filter(|entry| keep(&entry.name));
        LabelSet::from_pairs(kept.map(|entry| (entry.name.clone(), entry.value.clone())))
    }

    /// All labels, errors included.
    pub fn all(&self) -> LabelSet {
        let pairs = self.entries.iter().map(|entry| (entry.name.clone(), entry.value.clone()));
        LabelSet::from_pairs(pairs.chain(self.error_pairs()))
    }
}
