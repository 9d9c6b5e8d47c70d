//! The part of promtail's file that says which files are followed.

use super::log_metrics::Metric;
use crate::LogFiles;
use crate::error::ConfigError;
use crate::stages::{One, PlacedStage};
use crate::yaml::{Accepted, Source, Spanned, TextMap, Unbuilt, or_default};
use serde::Deserialize;
use vigie_model::Labels;

/// promtail's file, or the `logs` section of vigie.yml.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Promtail {
    pub(crate) scrape_configs: Option<Vec<Spanned<Scrape>>>,
    /// Vigie's own addition.
    #[serde(deserialize_with = "or_default")]
    pub(crate) metrics: Vec<Spanned<Metric>>,
    /// Vigie's own: files of LogQL rules.
    #[serde(deserialize_with = "or_default")]
    pub(crate) rule_files: Vec<Spanned<String>>,
    /// Vigie's own: Loki's file.
    pub(crate) loki: Option<Spanned<String>>,
    #[serde(rename = "server")]
    _server: Accepted,
    #[serde(rename = "positions")]
    _positions: Accepted,
    #[serde(rename = "clients")]
    _clients: Accepted,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scrape {
    job_name: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    static_configs: Vec<Static>,
    #[serde(default, deserialize_with = "or_default")]
    pipeline_stages: Vec<Spanned<One>>,
    #[serde(default, rename = "journal")]
    _journal: Option<Unbuilt>,
    #[serde(default, rename = "syslog")]
    _syslog: Option<Unbuilt>,
    #[serde(default, rename = "docker_sd_configs")]
    _docker: Option<Unbuilt>,
    #[serde(default, rename = "relabel_configs")]
    _relabel: Option<Unbuilt>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Static {
    #[serde(default, rename = "targets")]
    _targets: Accepted,
    #[serde(deserialize_with = "or_default")]
    labels: TextMap,
}

/// The files as used.
pub(crate) fn read(source: &Source<'_>, written: &Promtail) -> Result<Vec<LogFiles>, ConfigError> {
    let mut files = Vec::new();
    for scrape in written.scrape_configs.iter().flatten() {
        for one in &scrape.value.static_configs {
            let Some(path) = one.labels.get("__path__") else {
                let message =
                    "static_configs needs the label __path__: the glob of the files to follow";
                return Err(source.wrong_at(scrape, message));
            };
            let mut labels = one.labels.clone();
            labels.retain(|name, _| !name.starts_with("__"));
            if let (false, Some(job)) = (labels.contains_key("job"), &scrape.value.job_name) {
                labels.insert("job".to_owned(), job.clone());
            }
            let exclude = one.labels.get("__path_exclude__").cloned();
            files.push(LogFiles {
                paths: vec![path.clone()],
                exclude,
                labels: Labels::from_pairs(labels),
                stages: stages(source, &scrape.value),
            });
        }
    }
    Ok(files)
}

/// The stages, each with its place.
fn stages(source: &Source<'_>, scrape: &Scrape) -> Vec<PlacedStage> {
    let placed = |one: &Spanned<One>| PlacedStage {
        place: format!("{}:{}", source.file, one.referenced.line()),
        stage: one.value.0.clone(),
    };
    scrape.pipeline_stages.iter().map(placed).collect()
}
