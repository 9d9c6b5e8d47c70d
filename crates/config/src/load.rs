//! From a path to a [`Config`].

use crate::error::ConfigError;
use crate::rules::{QueryLanguage, RuleGroup};
use crate::shown::{self, Shown};
use crate::written::alertmanager::{self, Alertmanager};
use crate::written::log_metrics;
use crate::written::loki::{self, Loki, SelectorParser};
use crate::written::otlp;
use crate::written::prometheus::{self, Prometheus};
use crate::written::promtail::{self, Promtail};
use crate::written::rules::{self, ExprCheck};
use crate::written::vigie::Vigie;
use crate::yaml::{DurationMs, Location, Section, SizeBytes, Source, Spanned};
use crate::{Config, LogDeletes, env, queries};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use vigie_model::Labels;
use vigie_model::limits::{EXEMPLARS_MAX, EXEMPLARS_MOST, QueryLimits};

/// Retention of metrics when nothing is written: 30 days.
const METRICS_RETENTION_MS: i64 = 30 * 24 * 3_600_000;
/// Retention of logs when nothing is written: 7 days.
const LOGS_RETENTION_MS: i64 = 7 * 24 * 3_600_000;
/// Smallest disk budget: a store keeps the files that it is writing to, whatever they take.
pub const DISK_BUDGET_BYTES_MIN: u64 = 256 << 20;
/// How late samples may be when nothing is written.
const LATE_WINDOW_MS: i64 = 3_600_000;
/// Interval of the built-in collectors and of rules when nothing is written.
const INTERVAL_MS: i64 = 15_000;
/// How long a request to delete lines can be taken back when nothing is written (Loki's 24 h).
const LOG_DELETE_DELAY_MS: i64 = 24 * 3_600_000;
/// Most bytes of one configuration file.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How files are read.
#[derive(Clone, Copy)]
pub struct LoadOptions<'a> {
    /// Whether `${VAR}` is expanded.
    pub expand_env: bool,
    /// Says whether a text is PromQL.
    pub check_expr: ExprCheck<'a>,
    /// Says whether a text is LogQL that yields numbers.
    pub check_log_expr: ExprCheck<'a>,
    /// Reads LogQL's selector of streams.
    pub log_selector: SelectorParser<'a>,
}

impl LoadOptions<'static> {
    /// Takes every expression for a good one and every selector for one of all streams.
    pub fn without_languages() -> LoadOptions<'static> {
        LoadOptions {
            expand_env: false,
            check_expr: &|_| Ok(()),
            check_log_expr: &|_| Ok(()),
            log_selector: &|_| Ok(Vec::new()),
        }
    }
}

/// Reads the configuration, or gives the one that works with no file at all.
pub fn load(path: Option<&Path>, options: &LoadOptions<'_>) -> Result<Config, ConfigError> {
    let mut config = without_files(path);
    config.shown = shown::of_defaults(&config);
    let Some(path) = path else { return Ok(config) };
    let (file, text) = read(path, options)?;
    let source = Source { file: &file, text: &text };
    let directory = path.parent().unwrap_or(Path::new("."));
    if is_prometheus(&source)? {
        metrics(&mut config, &source, source.parse()?, directory, options)?;
        config.shown = shown::of_source(&config, &source, None)?;
        return Ok(config);
    }
    // A file of nothing but comments says nothing.
    let written: Vigie = source.parse::<Option<Vigie>>()?.unwrap_or_default();
    config.classic_ports = written.web.classic_ports;
    let kept = written.storage.retention;
    config.metrics_retention_ms = retention(&source, kept.metrics, METRICS_RETENTION_MS)?;
    let budget = written.storage.disk;
    config.metrics_disk_bytes_max = disk_budget(&source, budget.metrics)?;
    config.logs_disk_bytes_max = disk_budget(&source, budget.logs)?;
    config.queries = queries::read(&source, &written.storage.queries)?;
    let here = Place { source: &source, directory, options };
    if let Some(section) = written.metrics {
        let inline = matches!(section.value, Section::Inline(_)).then_some("metrics");
        here.section(section, |source, written, directory| {
            metrics(&mut config, source, written, directory, options)?;
            config.shown = shown::of_source(&config, source, inline)?;
            Ok(())
        })?;
    }
    if let Some(section) = written.logs {
        logs(&mut config, &here, section)?;
    }
    // What vigie.yml says itself comes last: it wins.
    let streams = loki::streams(&source, &kept.streams, 1, options.log_selector)?;
    if !streams.is_empty() {
        config.logs_retention_streams = streams;
    }
    if let Some(time) = &kept.logs {
        config.logs_retention_ms = retention(&source, Some(time.clone()), LOGS_RETENTION_MS)?;
    }
    if let Some(mode) = &written.storage.deletes {
        config.log_deletes = loki::deletes(&source, mode)?;
    }
    if let Some(section) = written.alerting {
        here.section(section, |source, written: Alertmanager, _| {
            config.alerting = Some(alertmanager::read(source, &written)?);
            Ok(())
        })?;
    }
    config.language = written.language.unwrap_or(config.language);
    Ok(config)
}

/// What counts where nothing is written.
fn without_files(path: Option<&Path>) -> Config {
    Config {
        file: path.map(|path| path.display().to_string()),
        language: crate::Language::of_environment(),
        classic_ports: true,
        metrics_retention_ms: METRICS_RETENTION_MS,
        logs_retention_ms: LOGS_RETENTION_MS,
        metrics_disk_bytes_max: None,
        late_window_ms: LATE_WINDOW_MS,
        exemplars_max: EXEMPLARS_MAX,
        queries: QueryLimits::default(),
        logs_disk_bytes_max: None,
        external_labels: Labels::default(),
        otlp: vigie_codec::otlp_metrics::Settings::default(),
        scrape_interval_ms: INTERVAL_MS,
        evaluation_interval_ms: INTERVAL_MS,
        host: true,
        scrape_jobs: None,
        postgres: None,
        rule_groups: Vec::new(),
        alerting: None,
        shown: Shown::default(),
        log_files: None,
        log_metrics: Vec::new(),
        log_rules_interval_ms: INTERVAL_MS,
        logs_retention_streams: Vec::new(),
        log_deletes: LogDeletes::default(),
        log_delete_delay_ms: LOG_DELETE_DELAY_MS,
        warnings: Vec::new(),
    }
}

fn retention(
    source: &Source<'_>,
    written: Option<Spanned<DurationMs>>,
    default_ms: i64,
) -> Result<i64, ConfigError> {
    match written {
        Some(time) if time.value.0 <= 0 => {
            Err(source.wrong_at(&time, "a retention must be greater than zero, for example 30d"))
        }
        Some(time) => Ok(time.value.0),
        None => Ok(default_ms),
    }
}

fn disk_budget(
    source: &Source<'_>,
    written: Option<Spanned<SizeBytes>>,
) -> Result<Option<u64>, ConfigError> {
    match written {
        Some(size) if size.value.0 < DISK_BUDGET_BYTES_MIN => Err(source.wrong_at(
            &size,
            "a disk budget must be at least 256MB: what is written last is never removed",
        )),
        size => Ok(size.map(|size| size.value.0)),
    }
}

/// The groups of a rule file that is at hand as text (the shipped content).
pub fn rule_groups(
    file: &str,
    text: &str,
    interval_ms: i64,
    check: ExprCheck<'_>,
) -> Result<Vec<RuleGroup>, ConfigError> {
    rules::read(&Source { file, text }, interval_ms, (QueryLanguage::PromQl, check))
}

/// Keys that stand at the top of an original's file, and what to do with the file.
const OTHERS: [(&str, &str); 6] = [
    ("route", "this is Alertmanager's file: name it in vigie.yml, `alerting: FILE`"),
    ("receivers", "this is Alertmanager's file: name it in vigie.yml, `alerting: FILE`"),
    ("clients", "this is promtail's file: name it in vigie.yml, `logs: FILE`"),
    ("positions", "this is promtail's file: name it in vigie.yml, `logs: FILE`"),
    ("groups", "this is a file of rules: name it under `rule_files` of prometheus.yml"),
    ("schema_config", "this is Loki's file: name it in vigie.yml, `logs: FILE`"),
];

fn is_prometheus(source: &Source<'_>) -> Result<bool, ConfigError> {
    let keys: Option<BTreeMap<String, Spanned<serde::de::IgnoredAny>>> = source.parse()?;
    let keys = keys.unwrap_or_default();
    for (name, advice) in OTHERS {
        if let Some(section) = keys.get(name) {
            return Err(source.wrong_at(section, advice));
        }
    }
    Ok(["global", "scrape_configs", "rule_files", "otlp"]
        .iter()
        .any(|name| keys.contains_key(*name)))
}

fn read(path: &Path, options: &LoadOptions<'_>) -> Result<(String, String), ConfigError> {
    let file = path.display().to_string();
    let unreadable = |reason: String| ConfigError::Unreadable { file: file.clone(), reason };
    let size_bytes = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
    if size_bytes > FILE_BYTES_MAX {
        return Err(unreadable(format!("it has {size_bytes} bytes, more than {FILE_BYTES_MAX}")));
    }
    let bytes = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        unreadable(format!("it is not UTF-8 text (byte {at})"))
    })?;
    // What some editors put before the first character.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let text = if options.expand_env {
        env::expand(&file, text, &|name| std::env::var(name).ok())?
    } else {
        text.to_owned()
    };
    Ok((file, text))
}

/// A file that names other files.
#[derive(Clone, Copy)]
struct Place<'a> {
    source: &'a Source<'a>,
    directory: &'a Path,
    options: &'a LoadOptions<'a>,
}

impl Place<'_> {
    /// Hands a section on, inline or read from the file that it names.
    fn section<T: DeserializeOwned>(
        &self,
        section: Spanned<Section<T>>,
        then: impl FnOnce(&Source<'_>, T, &Path) -> Result<(), ConfigError>,
    ) -> Result<(), ConfigError> {
        match section.value {
            Section::Inline(written) => then(self.source, written, self.directory),
            Section::Path(path) => {
                let path = self.directory.join(path);
                let (file, text) = self.named(section.referenced, &path)?;
                let source = Source { file: &file, text: &text };
                then(&source, source.parse()?, path.parent().unwrap_or(self.directory))
            }
        }
    }

    /// Reads a file that is named at `at`, which is where the mistake is when it is not there.
    fn named(&self, at: Location, path: &Path) -> Result<(String, String), ConfigError> {
        read(path, self.options).map_err(|error| match error {
            error @ ConfigError::Unreadable { .. } => {
                self.source.wrong_at_location(at, error.to_string())
            }
            other => other,
        })
    }
}

fn metrics(
    config: &mut Config,
    source: &Source<'_>,
    written: Prometheus,
    directory: &Path,
    options: &LoadOptions<'_>,
) -> Result<(), ConfigError> {
    let defaults = written.global.defaults(source)?;
    config.external_labels = Labels::from_pairs(written.global.external_labels.clone());
    config.scrape_interval_ms =
        prometheus::more_than_zero(written.global.scrape_interval).unwrap_or(INTERVAL_MS);
    config.evaluation_interval_ms =
        prometheus::more_than_zero(written.global.evaluation_interval).unwrap_or(INTERVAL_MS);
    config.log_rules_interval_ms = config.evaluation_interval_ms;
    config.host = written.host.unwrap_or(true);
    if let Some(window) = &written.storage.tsdb.out_of_order_time_window {
        config.late_window_ms = window.0;
    }
    if let Some(most) = &written.storage.exemplars.max_exemplars {
        if most.value > EXEMPLARS_MOST {
            let words = format!("max_exemplars can be at most {EXEMPLARS_MOST}");
            return Err(source.wrong_at(most, words));
        }
        config.exemplars_max = most.value;
    }
    config.otlp = otlp::read(source, &written.otlp)?;
    let mut jobs = Vec::new();
    for scrape in &written.scrape_configs {
        let job = prometheus::job(source, scrape, &defaults)?;
        if jobs.iter().any(|other: &crate::scrape::ScrapeJob| other.job_name == job.job_name) {
            let message = format!("found multiple scrape configs with job name {:?}", job.job_name);
            return Err(source.wrong_at(scrape, message));
        }
        jobs.push(job);
    }
    config.scrape_jobs = Some(jobs);
    if !written.postgres.is_empty() {
        config.postgres =
            Some(written.postgres.iter().map(|one| one.used(config.scrape_interval_ms)).collect());
    }
    let here = Place { source, directory, options };
    for pattern in &written.rule_files {
        let files =
            glob(directory, &pattern.value).map_err(|reason| source.wrong_at(pattern, reason))?;
        for path in files {
            let (file, text) = here.named(pattern.referenced, &path)?;
            let source = Source { file: &file, text: &text };
            config.rule_groups.extend(rules::read(
                &source,
                config.evaluation_interval_ms,
                (QueryLanguage::PromQl, options.check_expr),
            )?);
        }
    }
    Ok(())
}

/// The section `logs`: inline, promtail's file or Loki's.
fn logs(
    config: &mut Config,
    here: &Place<'_>,
    section: Spanned<Section<Promtail>>,
) -> Result<(), ConfigError> {
    let path = match section.value {
        Section::Inline(written) => {
            if let Some(file) = &written.loki {
                loki_file(config, here, file)?;
            }
            return inline_logs(config, here, here.source, &written);
        }
        Section::Path(path) => path,
    };
    let path = here.directory.join(path);
    let (file, text) = here.named(section.referenced, &path)?;
    let source = Source { file: &file, text: &text };
    if is_loki(&source)? {
        let directory = path.parent().unwrap_or(here.directory);
        return loki_config(config, &Place { source: &source, directory, ..*here });
    }
    inline_logs(config, here, &source, &source.parse()?)
}

fn is_loki(source: &Source<'_>) -> Result<bool, ConfigError> {
    let keys: Option<BTreeMap<String, serde::de::IgnoredAny>> = source.parse()?;
    let keys = keys.unwrap_or_default();
    Ok(loki::KEYS.iter().any(|key| keys.contains_key(*key)))
}

/// Loki's file, named by a key.
fn loki_file(
    config: &mut Config,
    here: &Place<'_>,
    named: &Spanned<String>,
) -> Result<(), ConfigError> {
    let path = here.directory.join(&named.value);
    let (file, text) = here.named(named.referenced, &path)?;
    let source = Source { file: &file, text: &text };
    let directory = path.parent().unwrap_or(here.directory);
    loki_config(config, &Place { source: &source, directory, ..*here })
}

fn loki_config(config: &mut Config, here: &Place<'_>) -> Result<(), ConfigError> {
    let written: Option<Loki> = here.source.parse()?;
    let written = written.unwrap_or_default();
    let selector = here.options.log_selector;
    let files = loki::read(config, here.source, &written, here.directory, selector)?;
    files.iter().try_for_each(|(named, path)| log_rules(config, here, named, path))
}

/// Promtail's keys and Vigie's own.
fn inline_logs(
    config: &mut Config,
    here: &Place<'_>,
    source: &Source<'_>,
    written: &Promtail,
) -> Result<(), ConfigError> {
    config.log_metrics = log_metrics::read(source, &written.metrics)?;
    let says_nothing_of_files =
        !written.metrics.is_empty() || !written.rule_files.is_empty() || written.loki.is_some();
    // Then the files are left to be found.
    if written.scrape_configs.is_some() || !says_nothing_of_files {
        config.log_files = Some(promtail::read(source, written)?);
    }
    for pattern in &written.rule_files {
        let files = glob(here.directory, &pattern.value);
        for path in files.map_err(|reason| source.wrong_at(pattern, reason))? {
            log_rules(config, here, pattern, &path)?;
        }
    }
    Ok(())
}

/// Reads a file of LogQL rules that is named at `named`.
fn log_rules(
    config: &mut Config,
    here: &Place<'_>,
    named: &Spanned<String>,
    path: &Path,
) -> Result<(), ConfigError> {
    let (file, text) = here.named(named.referenced, path)?;
    let interval_ms = config.log_rules_interval_ms;
    let check = here.options.check_log_expr;
    for group in loki::rule_file((&file, &text), path, interval_ms, check)? {
        let same = |one: &RuleGroup| {
            (one.language, &one.file, &one.name) == (group.language, &group.file, &group.name)
        };
        if config.rule_groups.iter().any(same) {
            let words = format!(
                "{file}: namespace {:?} has a group {:?} already, from another file of that name: rename the file or the group",
                group.file, group.name
            );
            return Err(here.source.wrong_at(named, words));
        }
        config.rule_groups.push(group);
    }
    Ok(())
}

/// The files a pattern names; `*` stands in the last part only, as Prometheus' rule_files allow.
fn glob(directory: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    let path = directory.join(pattern);
    if !pattern.contains('*') {
        return Ok(vec![path]);
    }
    let (parent, name) =
        (path.parent().unwrap_or(directory), path.file_name().and_then(|name| name.to_str()));
    let name = name.filter(|_| !parent.to_string_lossy().contains('*'));
    let name = name
        .ok_or_else(|| format!("{pattern}: only the last part of a rule file's path may hold *"))?;
    let (prefix, suffix) = name.split_once('*').unwrap_or((name, ""));
    let Ok(entries) = std::fs::read_dir(parent) else { return Ok(Vec::new()) };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| {
                name.len() >= prefix.len() + suffix.len()
                    && name.starts_with(prefix)
                    && name.ends_with(suffix)
            })
        })
        .collect();
    files.sort();
    Ok(files)
}
