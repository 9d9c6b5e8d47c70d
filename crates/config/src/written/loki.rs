//! The parts of Loki's file that say something here: retention, delete requests, and the ruler's
//! rules. The rest of the file sizes a cluster and is Loki's own business.

use super::rules::{self, ExprCheck};
use crate::error::ConfigError;
use crate::rules::{QueryLanguage, RuleGroup};
use crate::yaml::{DurationMs, Source, Spanned, or_default};
use crate::{Config, LogDeletes, StreamRetention};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use vigie_model::Matcher;

/// Reads a selector of streams; the program passes the parser.
pub type SelectorParser<'a> = &'a dyn Fn(&str) -> Result<Vec<Matcher>, String>;

/// Keys that stand at the top of Loki's file and of no other.
pub(crate) const KEYS: [&str; 8] = [
    "schema_config",
    "storage_config",
    "common",
    "ruler",
    "compactor",
    "ingester",
    "auth_enabled",
    "query_range",
];
/// Loki's shortest period of a stream.
const PERIOD_MS_MIN: i64 = 24 * 3_600_000;
/// As good as for ever: three hundred years.
const FOR_EVER_MS: i64 = 300 * 365 * 24 * 3_600_000;

/// Loki's file.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Loki {
    #[serde(deserialize_with = "or_default")]
    common: Common,
    #[serde(deserialize_with = "or_default")]
    limits_config: Limits,
    #[serde(deserialize_with = "or_default")]
    compactor: Compactor,
    #[serde(deserialize_with = "or_default")]
    ruler: Ruler,
    #[serde(deserialize_with = "or_default")]
    ruler_storage: Storage,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Common {
    #[serde(deserialize_with = "or_default")]
    storage: CommonStorage,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CommonStorage {
    #[serde(deserialize_with = "or_default")]
    filesystem: Filesystem,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Filesystem {
    rules_directory: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Limits {
    retention_period: Option<Spanned<DurationMs>>,
    #[serde(deserialize_with = "or_default")]
    retention_stream: Vec<Spanned<StreamPeriod>>,
    deletion_mode: Option<Spanned<String>>,
}

/// One of `retention_stream`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StreamPeriod {
    selector: Spanned<String>,
    #[serde(default)]
    priority: i64,
    period: Spanned<DurationMs>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Compactor {
    retention_enabled: bool,
    deletion_mode: Option<Spanned<String>>,
    delete_request_store: Option<String>,
    delete_request_cancel_period: Option<DurationMs>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Ruler {
    evaluation_interval: Option<DurationMs>,
    #[serde(deserialize_with = "or_default")]
    storage: Storage,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Storage {
    #[serde(rename = "type", alias = "backend")]
    kind: Option<Spanned<String>>,
    #[serde(deserialize_with = "or_default")]
    local: Local,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Local {
    directory: Option<Spanned<String>>,
}

/// Carries what the file says into the configuration. Answers the rule files, each with the place
/// that named it.
pub(crate) fn read(
    config: &mut Config,
    source: &Source<'_>,
    written: &Loki,
    directory: &Path,
    selector: SelectorParser<'_>,
) -> Result<Vec<(Spanned<String>, PathBuf)>, ConfigError> {
    let (limits, compactor) = (&written.limits_config, &written.compactor);
    let mode = limits.deletion_mode.as_ref().or(compactor.deletion_mode.as_ref());
    let streams = streams(source, &limits.retention_stream, PERIOD_MS_MIN, selector)?;
    if let Some(mode) = mode {
        config.log_deletes = deletes(source, mode)?;
    }
    if compactor.retention_enabled {
        if compactor.delete_request_store.as_ref().is_none_or(String::is_empty) {
            let file = source.file;
            config.warnings.push(format!(
                "{file}: Loki wants compactor.delete_request_store with retention_enabled; Vigie keeps delete requests with the lines"
            ));
        }
        if let Some(period) = &limits.retention_period {
            config.logs_retention_ms =
                if period.value.0 == 0 { FOR_EVER_MS } else { period.value.0 };
        }
        config.logs_retention_streams = streams;
    } else if limits.retention_period.is_some() || !limits.retention_stream.is_empty() {
        config.warnings.push(format!(
            "{}: limits_config names a retention, but compactor.retention_enabled is not true, so neither Loki nor Vigie applies it; lines are kept as storage.retention.logs says",
            source.file
        ));
    }
    if let Some(delay) = compactor.delete_request_cancel_period {
        config.log_delete_delay_ms = delay.0;
    }
    // Loki's own default is a minute.
    config.log_rules_interval_ms =
        super::prometheus::more_than_zero(written.ruler.evaluation_interval).unwrap_or(60_000);
    rule_files(source, written, directory)
}

/// The files of the ruler: `DIRECTORY/TENANT/FILE`.
fn rule_files(
    source: &Source<'_>,
    written: &Loki,
    directory: &Path,
) -> Result<Vec<(Spanned<String>, PathBuf)>, ConfigError> {
    let mut named = None;
    for storage in [&written.ruler_storage, &written.ruler.storage] {
        if let Some(kind) = &storage.kind
            && !["local", "filesystem"].contains(&kind.value.as_str())
        {
            let words = format!(
                "rules in {:?} are not read: put the files into a directory and write `type: local` and `local: {{directory: …}}`",
                kind.value
            );
            return Err(source.wrong_at(kind, words));
        }
        named = named.or(storage.local.directory.as_ref());
    }
    let named = named.or(written.common.storage.filesystem.rules_directory.as_ref());
    let Some(named) = named.filter(|named| !named.value.is_empty()) else { return Ok(Vec::new()) };
    let root = directory.join(&named.value);
    let unreadable = |path: &Path, error: std::io::Error| {
        source.wrong_at(named, format!("unable to read rule dir {}: {error}", path.display()))
    };
    let mut files = Vec::new();
    for tenant in entries(&root).map_err(|error| unreadable(&root, error))? {
        if !tenant.is_dir() {
            continue;
        }
        for file in entries(&tenant).map_err(|error| unreadable(&tenant, error))? {
            if !file.is_dir() {
                files.push((named.clone(), file));
            }
        }
    }
    Ok(files)
}

/// What is in a directory, by name, without what is hidden.
fn entries(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// The streams with a period of their own: the highest priority first, and of equals the shortest
/// period, which is whom Loki asks.
pub(crate) fn streams(
    source: &Source<'_>,
    written: &[Spanned<StreamPeriod>],
    period_ms_min: i64,
    selector: SelectorParser<'_>,
) -> Result<Vec<StreamRetention>, ConfigError> {
    let mut ordered = Vec::new();
    for one in written {
        let StreamPeriod { selector: text, priority, period } = &one.value;
        let matchers = selector(&text.value).map_err(|reason| {
            source.wrong_at(text, format!("invalid labels matchers: {reason}"))
        })?;
        if period.value.0 < period_ms_min {
            let (least, was) = (duration(period_ms_min), duration(period.value.0));
            let words = format!("retention period must be >= {least} was {was}");
            return Err(source.wrong_at(period, words));
        }
        ordered.push((*priority, StreamRetention { matchers, period_ms: period.value.0 }));
    }
    ordered.sort_by_key(|(priority, one)| (std::cmp::Reverse(*priority), one.period_ms));
    Ok(ordered.into_iter().map(|(_, one)| one).collect())
}

fn duration(ms: i64) -> String {
    if ms == PERIOD_MS_MIN {
        return "24h".to_owned();
    }
    vigie_model::duration::format_duration_ms(ms)
}

/// Loki's `deletion_mode`.
pub(crate) fn deletes(
    source: &Source<'_>,
    mode: &Spanned<String>,
) -> Result<LogDeletes, ConfigError> {
    match mode.value.as_str() {
        "disabled" => Ok(LogDeletes::Disabled),
        "filter-only" => Ok(LogDeletes::FilterOnly),
        "filter-and-delete" => Ok(LogDeletes::FilterAndDelete),
        _ => Err(source.wrong_at(
            mode,
            "invalid deletion mode: write disabled, filter-only or filter-and-delete",
        )),
    }
}

/// The groups of one file of LogQL; its namespace is the file's name.
pub(crate) fn rule_file(
    (file, text): (&str, &str),
    path: &Path,
    interval_ms: i64,
    check: ExprCheck<'_>,
) -> Result<Vec<RuleGroup>, ConfigError> {
    let source = Source { file, text };
    let namespace = path.file_name().map_or(file.into(), |name| name.to_string_lossy());
    let mut groups = rules::read(&source, interval_ms, (QueryLanguage::LogQl, check))?;
    groups.iter_mut().for_each(|group| group.file = namespace.clone().into_owned());
    Ok(groups)
}
