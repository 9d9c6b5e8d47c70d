//! `vigie.yml`: Vigie's own file, whose sections hold the originals inline or name them.

use super::alertmanager::Alertmanager;
use super::loki::StreamPeriod;
use super::prometheus::Prometheus;
use super::promtail::Promtail;
use crate::yaml::{DurationMs, Section, SizeBytes, Spanned, Unbuilt, or_default};
use serde::Deserialize;

/// The whole file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Vigie {
    #[serde(deserialize_with = "or_default")]
    pub(crate) web: Web,
    #[serde(deserialize_with = "or_default")]
    pub(crate) storage: Storage,
    pub(crate) metrics: Option<Spanned<Section<Prometheus>>>,
    pub(crate) logs: Option<Spanned<Section<Promtail>>>,
    pub(crate) alerting: Option<Spanned<Section<Alertmanager>>>,
    #[serde(rename = "oncall")]
    _oncall: Option<Unbuilt>,
    #[serde(rename = "security")]
    _security: Option<Unbuilt>,
    pub(crate) language: Option<crate::Language>,
}

/// `web:`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Web {
    pub(crate) classic_ports: bool,
}

impl Default for Web {
    fn default() -> Self {
        Web { classic_ports: true }
    }
}

/// `storage:`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Storage {
    #[serde(deserialize_with = "or_default")]
    pub(crate) retention: Retention,
    #[serde(deserialize_with = "or_default")]
    pub(crate) disk: DiskBudget,
    /// What becomes of requests to delete lines: Loki's `deletion_mode`.
    pub(crate) deletes: Option<Spanned<String>>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) queries: Queries,
}

/// `storage.queries:`: what questions may take.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Queries {
    /// Of one.
    pub(crate) memory: Option<Spanned<SizeBytes>>,
    /// Of all together.
    pub(crate) memory_of_all: Option<Spanned<SizeBytes>>,
    pub(crate) samples: Option<Spanned<u64>>,
    pub(crate) at_once: Option<Spanned<usize>>,
    pub(crate) queue: Option<Spanned<usize>>,
    pub(crate) timeout: Option<Spanned<DurationMs>>,
    pub(crate) lookback: Option<Spanned<DurationMs>>,
    /// Kept answers.
    pub(crate) cache: Option<Spanned<SizeBytes>>,
}

/// `storage.disk:`: the oldest is removed while there is more than this.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DiskBudget {
    pub(crate) metrics: Option<Spanned<SizeBytes>>,
    pub(crate) logs: Option<Spanned<SizeBytes>>,
}

/// `storage.retention:`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Retention {
    pub(crate) metrics: Option<Spanned<DurationMs>>,
    pub(crate) logs: Option<Spanned<DurationMs>>,
    /// Streams whose lines are kept for a time of their own, as in Loki's `retention_stream`.
    #[serde(deserialize_with = "or_default")]
    pub(crate) streams: Vec<Spanned<StreamPeriod>>,
}
