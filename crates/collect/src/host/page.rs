//! Families under construction, found by name.

use std::borrow::Cow;
use std::collections::HashMap;
use vigie_codec::exposition::{Family, MetricKind};

/// The page that the parts write on.
#[derive(Default)]
pub(super) struct Page {
    families: Vec<Family>,
    by_name: HashMap<Cow<'static, str>, usize>,
}

impl Page {
    /// Adds a sample; help and kind count when the name is new.
    pub(super) fn add(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        help: impl Into<Cow<'static, str>>,
        kind: MetricKind,
        labels: &[(&'static str, &str)],
        value: f64,
    ) {
        let name = name.into();
        let at = *self.by_name.entry(name.clone()).or_insert_with(|| {
            self.families.push(Family::new(name, help, kind));
            self.families.len() - 1
        });
        self.families[at].push(labels, value);
    }

    pub(super) fn counter(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        help: impl Into<Cow<'static, str>>,
        labels: &[(&'static str, &str)],
        value: f64,
    ) {
        self.add(name, help, MetricKind::Counter, labels, value);
    }

    pub(super) fn gauge(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        help: impl Into<Cow<'static, str>>,
        labels: &[(&'static str, &str)],
        value: f64,
    ) {
        self.add(name, help, MetricKind::Gauge, labels, value);
    }

    pub(super) fn into_families(self) -> Vec<Family> {
        self.families
    }
}
