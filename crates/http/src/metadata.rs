//! What targets say of their metrics (`# TYPE`, `# HELP`, `# UNIT`), kept in memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most metric names remembered.
const NAMES_MAX: usize = 20_000;

/// One metric's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `counter`, `gauge`, `histogram`, `summary`, `unknown` …
    pub kind: String,
    /// The help text.
    pub help: String,
    /// The unit.
    pub unit: String,
}

/// The table, by metric name; the last word counts.
#[derive(Default)]
pub struct Metadata(Mutex<BTreeMap<String, Entry>>);

impl Metadata {
    /// Remembers what a target said.
    pub fn learn(&self, name: &str, kind: &str, help: &str, unit: &str) {
        let mut known = self.lock();
        if let Some(entry) = known.get(name)
            && entry.kind == kind
            && entry.help == help
            && entry.unit == unit
        {
            return;
        }
        if known.len() < NAMES_MAX || known.contains_key(name) {
            known.insert(
                name.to_owned(),
                Entry { kind: kind.to_owned(), help: help.to_owned(), unit: unit.to_owned() },
            );
        }
    }

    /// At most `limit` entries, in order of their names.
    pub fn list(&self, wanted: Option<&str>, limit: usize) -> Vec<(String, Entry)> {
        let known = self.lock();
        let all =
            known.iter().filter(|(name, _)| wanted.is_none_or(|wanted| wanted == name.as_str()));
        all.take(limit).map(|(name, entry)| (name.clone(), entry.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
