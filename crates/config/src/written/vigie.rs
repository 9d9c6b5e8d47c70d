//! `vigie.yml`: Vigie's own file, whose sections hold the originals inline or name them.

use super::alertmanager::Alertmanager;
use super::prometheus::Prometheus;
use super::promtail::Promtail;
use crate::yaml::{DurationMs, Section, Unbuilt};
use serde::Deserialize;

/// The whole file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Vigie {
    pub(crate) web: Web,
    pub(crate) storage: Storage,
    pub(crate) metrics: Option<Section<Prometheus>>,
    pub(crate) logs: Option<Section<Promtail>>,
    pub(crate) alerting: Option<Section<Alertmanager>>,
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
    pub(crate) retention: Retention,
}

/// `storage.retention:`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Retention {
    pub(crate) metrics: Option<DurationMs>,
    pub(crate) logs: Option<DurationMs>,
}
