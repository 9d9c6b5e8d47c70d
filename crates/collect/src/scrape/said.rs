//! What a target's last page said of its families, shared between the target's task, which writes,
//! and who lists it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use vigie_codec::exposition::{MetricKind, unescape_help};

/// Most families that are remembered of a target.
pub(super) const FAMILIES_MAX: usize = 10_000;

/// One family, as a page says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaidFamily {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: MetricKind,
    /// The help text.
    pub help: String,
    /// The unit.
    pub unit: String,
}

/// All families of one target.
#[derive(Debug, Default)]
pub struct Said(Mutex<BTreeMap<String, Words>>);

/// Type, help as the page writes it, and unit.
type Words = (MetricKind, Box<str>, Box<str>);

impl Said {
    /// The families in the order of their names, or the one that is wanted.
    pub fn list(&self, wanted: Option<&str>) -> Vec<SaidFamily> {
        let family = |(name, (kind, help, unit)): (&String, &Words)| SaidFamily {
            name: name.clone(),
            kind: *kind,
            help: unescape_help(help),
            unit: unit.to_string(),
        };
        let known = self.lock();
        match wanted {
            None => known.iter().map(family).collect(),
            Some(name) => known.get_key_value(name).map(family).into_iter().collect(),
        }
    }

    /// Takes what a whole page says; families that it no longer names are forgotten. `changed` is
    /// told what is new or otherwise than before.
    pub(super) fn take(
        &self,
        page: &BTreeMap<&str, (MetricKind, &str, &str)>,
        mut changed: impl FnMut(&str, MetricKind, &str, &str),
    ) {
        let mut known = self.lock();
        known.retain(|name, _| page.contains_key(name.as_str()));
        for (name, (kind, help, unit)) in page {
            let before = known.get(*name);
            if before.is_some_and(|one| one.0 == *kind && *one.1 == **help && *one.2 == **unit) {
                continue;
            }
            if before.is_none() && known.len() >= FAMILIES_MAX {
                continue;
            }
            changed(name, *kind, help, unit);
            known.insert((*name).to_owned(), (*kind, (*help).into(), (*unit).into()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Words>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
