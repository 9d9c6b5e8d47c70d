//! `prometheus.yml` (Prometheus' `config/config.go`).

use super::otlp::Otlp;
use crate::error::ConfigError;
use crate::http_client::{BasicAuth, HttpClientConfig, Secret};
use crate::scrape::{PostgresTarget, ScrapeJob, ScrapeProtocol, StaticTargets};
use crate::yaml::{Accepted, DurationMs, Source, Spanned, TextMap, Unbuilt, or_default};
use serde::Deserialize;
use std::collections::BTreeMap;
use vigie_model::{Labels, relabel};

/// The whole file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Prometheus {
    #[serde(deserialize_with = "or_default")]
    pub(crate) global: Global,
    #[serde(deserialize_with = "or_default")]
    pub(crate) scrape_configs: Vec<Spanned<Scrape>>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) rule_files: Vec<Spanned<String>>,
    /// Vigie's own: PostgreSQL servers watched by the built-in collector.
    #[serde(deserialize_with = "or_default")]
    pub(crate) postgres: Vec<Postgres>,
    /// Vigie's own: whether the host is collected.
    pub(crate) host: Option<bool>,
    /// Accepted: Vigie is its own Alertmanager, see `alerting` of vigie.yml.
    #[serde(rename = "alerting")]
    _alerting: Accepted,
    #[serde(rename = "runtime")]
    _runtime: Accepted,
    #[serde(rename = "scrape_config_files")]
    _scrape_config_files: Option<Unbuilt>,
    #[serde(rename = "remote_write")]
    _remote_write: Option<Unbuilt>,
    #[serde(rename = "remote_read")]
    _remote_read: Option<Unbuilt>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) otlp: Otlp,
    #[serde(deserialize_with = "or_default")]
    pub(crate) storage: Storage,
    #[serde(rename = "tracing")]
    _tracing: Option<Unbuilt>,
}

/// `storage:`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Storage {
    #[serde(deserialize_with = "or_default")]
    pub(crate) tsdb: Tsdb,
    #[serde(deserialize_with = "or_default")]
    pub(crate) exemplars: Exemplars,
}

/// `storage.tsdb:`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tsdb {
    pub(crate) out_of_order_time_window: Option<DurationMs>,
    #[serde(rename = "retention")]
    _retention: Option<Unbuilt>,
}

/// `storage.exemplars:`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Exemplars {
    pub(crate) max_exemplars: Option<Spanned<usize>>,
}

/// `global:`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Global {
    pub(crate) scrape_interval: Option<DurationMs>,
    pub(crate) scrape_timeout: Option<Spanned<DurationMs>>,
    pub(crate) evaluation_interval: Option<DurationMs>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) external_labels: TextMap,
    pub(crate) sample_limit: usize,
    scrape_protocols: Option<Vec<Spanned<String>>>,
    scrape_native_histograms: bool,
    always_scrape_classic_histograms: bool,
    #[serde(rename = "convert_classic_histograms_to_nhcb")]
    _convert_classic_histograms_to_nhcb: Option<Unbuilt>,
    #[serde(rename = "rule_query_offset")]
    _rule_query_offset: Option<Unbuilt>,
    #[serde(rename = "query_log_file")]
    _query_log_file: Option<Unbuilt>,
}

/// A scrape job as written.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scrape {
    job_name: Spanned<String>,
    scrape_interval: Option<DurationMs>,
    scrape_timeout: Option<Spanned<DurationMs>>,
    metrics_path: Option<String>,
    scheme: Option<Spanned<String>>,
    #[serde(default, deserialize_with = "or_default")]
    params: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    honor_labels: bool,
    honor_timestamps: Option<bool>,
    #[serde(default, deserialize_with = "or_default")]
    static_configs: Vec<Static>,
    #[serde(default, deserialize_with = "or_default")]
    relabel_configs: Vec<Spanned<Relabel>>,
    #[serde(default, deserialize_with = "or_default")]
    metric_relabel_configs: Vec<Spanned<Relabel>>,
    sample_limit: Option<usize>,
    basic_auth: Option<Basic>,
    authorization: Option<Authorization>,
    tls_config: Option<Tls>,
    follow_redirects: Option<bool>,
    #[serde(default, deserialize_with = "or_default")]
    http_headers: BTreeMap<String, HeaderValues>,
    scrape_protocols: Option<Vec<Spanned<String>>>,
    fallback_scrape_protocol: Option<Spanned<String>>,
    scrape_native_histograms: Option<bool>,
    always_scrape_classic_histograms: Option<bool>,
    #[serde(default, rename = "convert_classic_histograms_to_nhcb")]
    _convert_classic_histograms_to_nhcb: Option<Unbuilt>,
    #[serde(default, rename = "enable_compression")]
    _enable_compression: Accepted,
    #[serde(default, rename = "enable_http2")]
    _enable_http2: Accepted,
    #[serde(default, rename = "file_sd_configs")]
    _file_sd: Option<Unbuilt>,
    #[serde(default, rename = "http_sd_configs")]
    _http_sd: Option<Unbuilt>,
    #[serde(default, rename = "dns_sd_configs")]
    _dns_sd: Option<Unbuilt>,
    #[serde(default, rename = "docker_sd_configs")]
    _docker_sd: Option<Unbuilt>,
    #[serde(default, rename = "kubernetes_sd_configs")]
    _kubernetes_sd: Option<Unbuilt>,
    #[serde(default, rename = "consul_sd_configs")]
    _consul_sd: Option<Unbuilt>,
    #[serde(default, rename = "oauth2")]
    _oauth2: Option<Unbuilt>,
    #[serde(default, rename = "proxy_url")]
    _proxy_url: Option<Unbuilt>,
    #[serde(default, rename = "proxy_from_environment")]
    _proxy_from_environment: Option<Unbuilt>,
    #[serde(default, rename = "no_proxy")]
    _no_proxy: Option<Unbuilt>,
    #[serde(default, rename = "bearer_token")]
    _bearer_token: Option<Unbuilt>,
    #[serde(default, rename = "bearer_token_file")]
    _bearer_token_file: Option<Unbuilt>,
    #[serde(default, rename = "body_size_limit")]
    _body_size_limit: Option<Unbuilt>,
    #[serde(default, rename = "label_limit")]
    _label_limit: Option<Unbuilt>,
    #[serde(default, rename = "target_limit")]
    _target_limit: Option<Unbuilt>,
    #[serde(default, rename = "label_name_length_limit")]
    _label_name_length_limit: Option<Unbuilt>,
    #[serde(default, rename = "label_value_length_limit")]
    _label_value_length_limit: Option<Unbuilt>,
    #[serde(default, rename = "track_timestamps_staleness")]
    _track_timestamps_staleness: Option<Unbuilt>,
    #[serde(default, rename = "metric_name_validation_scheme")]
    _metric_name_validation_scheme: Accepted,
}

/// A PostgreSQL server as written.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Postgres {
    dsn: String,
    instance: Option<String>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Static {
    #[serde(default, deserialize_with = "or_default")]
    targets: Vec<Spanned<String>>,
    #[serde(default, deserialize_with = "or_default")]
    labels: TextMap,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Relabel {
    #[serde(deserialize_with = "or_default")]
    source_labels: Vec<String>,
    separator: Option<String>,
    regex: Option<Spanned<String>>,
    target_label: String,
    replacement: Option<String>,
    action: Option<Spanned<String>>,
    modulus: Option<u64>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Basic {
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default, rename = "username_file")]
    _username_file: Option<Unbuilt>,
    #[serde(default, rename = "password_file")]
    _password_file: Option<Unbuilt>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Authorization {
    r#type: Option<String>,
    #[serde(default)]
    credentials: String,
    #[serde(default, rename = "credentials_file")]
    _credentials_file: Option<Unbuilt>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tls {
    insecure_skip_verify: bool,
    ca: Option<String>,
    #[serde(rename = "ca_file")]
    _ca_file: Option<Unbuilt>,
    #[serde(rename = "cert")]
    _cert: Option<Unbuilt>,
    #[serde(rename = "cert_file")]
    _cert_file: Option<Unbuilt>,
    #[serde(rename = "key")]
    _key: Option<Unbuilt>,
    #[serde(rename = "key_file")]
    _key_file: Option<Unbuilt>,
    #[serde(rename = "server_name")]
    _server_name: Option<Unbuilt>,
    #[serde(rename = "min_version")]
    _min_version: Option<Unbuilt>,
    #[serde(rename = "max_version")]
    _max_version: Option<Unbuilt>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct HeaderValues {
    #[serde(deserialize_with = "or_default")]
    values: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    secrets: Vec<String>,
}

/// How long a scrape may take when nothing is written.
const SCRAPE_TIMEOUT_MS: i64 = 10_000;

/// What a job inherits.
pub(crate) struct Defaults {
    pub(crate) interval_ms: i64,
    pub(crate) timeout_ms: i64,
    pub(crate) sample_limit: usize,
    pub(crate) protocols: Option<Vec<ScrapeProtocol>>,
    pub(crate) native_histograms: bool,
    pub(crate) classic_histograms: bool,
}

/// The protocols of a list, each once.
fn protocols(
    source: &Source<'_>,
    written: &Option<Vec<Spanned<String>>>,
) -> Result<Option<Vec<ScrapeProtocol>>, ConfigError> {
    let Some(written) = written else { return Ok(None) };
    let mut found = Vec::new();
    for name in written {
        let protocol = protocol(source, name)?;
        if found.contains(&protocol) {
            let words = format!("duplicated protocol in scrape_protocols: {}", name.value);
            return Err(source.wrong_at(name, words));
        }
        found.push(protocol);
    }
    Ok((!found.is_empty()).then_some(found))
}

fn protocol(source: &Source<'_>, name: &Spanned<String>) -> Result<ScrapeProtocol, ConfigError> {
    let known = ScrapeProtocol::ALL.iter().find(|(known, _)| *known == name.value);
    known.map(|(_, protocol)| *protocol).ok_or_else(|| {
        let all: Vec<&str> = ScrapeProtocol::ALL.iter().map(|(name, _)| *name).collect();
        let words =
            format!("unknown scrape protocol {}: supported: {}", name.value, all.join(", "));
        source.wrong_at(name, words)
    })
}

impl Global {
    /// Prometheus' defaults (one minute, ten seconds) where nothing, or zero, is written.
    pub(crate) fn defaults(&self, source: &Source<'_>) -> Result<Defaults, ConfigError> {
        let interval_ms = more_than_zero(self.scrape_interval).unwrap_or(60_000);
        let timeout_ms = match &self.scrape_timeout {
            Some(timeout) if timeout.value.0 > interval_ms => {
                let message = "global scrape timeout greater than scrape interval: make it at most the interval";
                return Err(source.wrong_at(timeout, message));
            }
            Some(timeout) if timeout.value.0 > 0 => timeout.value.0,
            _ => SCRAPE_TIMEOUT_MS.min(interval_ms),
        };
        Ok(Defaults {
            interval_ms,
            timeout_ms,
            sample_limit: self.sample_limit,
            protocols: protocols(source, &self.scrape_protocols)?,
            native_histograms: self.scrape_native_histograms,
            classic_histograms: self.always_scrape_classic_histograms,
        })
    }
}

/// Prometheus takes a zero for a value that is not written.
pub(crate) fn more_than_zero(written: Option<DurationMs>) -> Option<i64> {
    written.map(|d| d.0).filter(|ms| *ms > 0)
}

impl Postgres {
    /// The server as used.
    pub(crate) fn used(&self, interval_ms: i64) -> PostgresTarget {
        let instance = self.instance.clone().unwrap_or_else(|| "localhost:5432".to_owned());
        PostgresTarget { dsn: Secret::new(self.dsn.clone()), instance, interval_ms }
    }
}

/// A job as used.
pub(crate) fn job(
    source: &Source<'_>,
    written: &Spanned<Scrape>,
    defaults: &Defaults,
) -> Result<ScrapeJob, ConfigError> {
    let scrape = &written.value;
    if scrape.job_name.value.is_empty() {
        return Err(source.wrong_at(&scrape.job_name, "job_name is empty"));
    }
    let interval_ms = more_than_zero(scrape.scrape_interval).unwrap_or(defaults.interval_ms);
    let timeout_ms = match &scrape.scrape_timeout {
        Some(timeout) if timeout.value.0 > interval_ms => {
            let message =
                "scrape timeout greater than scrape interval: make it at most the interval";
            return Err(source.wrong_at(timeout, message));
        }
        Some(timeout) if timeout.value.0 > 0 => timeout.value.0,
        _ => defaults.timeout_ms.min(interval_ms),
    };
    let scheme = match &scrape.scheme {
        Some(scheme) if scheme.value != "http" && scheme.value != "https" => {
            return Err(source.wrong_at(scheme, "scheme must be http or https"));
        }
        Some(scheme) => scheme.value.clone(),
        None => "http".to_owned(),
    };
    let native = scrape.scrape_native_histograms.unwrap_or(defaults.native_histograms);
    let asked = protocols(source, &scrape.scrape_protocols)?.or(defaults.protocols.clone());
    let fallback = scrape.fallback_scrape_protocol.as_ref();
    let params = scrape
        .params
        .iter()
        .flat_map(|(name, values)| values.iter().map(move |v| (name.clone(), v.clone())));
    Ok(ScrapeJob {
        job_name: scrape.job_name.value.clone(),
        interval_ms,
        timeout_ms,
        metrics_path: scrape.metrics_path.clone().unwrap_or_else(|| "/metrics".to_owned()),
        scheme,
        params: params.collect(),
        honor_labels: scrape.honor_labels,
        honor_timestamps: scrape.honor_timestamps.unwrap_or(true),
        static_targets: scrape
            .static_configs
            .iter()
            .map(|one| static_targets(source, one))
            .collect::<Result<_, _>>()?,
        relabel: relabel_rules(source, &scrape.relabel_configs)?,
        metric_relabel: relabel_rules(source, &scrape.metric_relabel_configs)?,
        http: http_client(scrape),
        sample_limit: scrape.sample_limit.unwrap_or(defaults.sample_limit),
        body_size_bytes_max: 0,
        protocols_written: asked.is_some(),
        protocols: asked.unwrap_or_else(|| ScrapeProtocol::defaults(native)),
        fallback_protocol: fallback.map(|name| protocol(source, name)).transpose()?,
        native_histograms: native,
        classic_histograms: scrape
            .always_scrape_classic_histograms
            .unwrap_or(defaults.classic_histograms),
        when_seen: false,
    })
}

fn static_targets(source: &Source<'_>, written: &Static) -> Result<StaticTargets, ConfigError> {
    if let Some(target) = written.targets.iter().find(|target| target.value.contains('/')) {
        let message = format!(
            "{:?} is not a valid hostname: write host:port; the path belongs to metrics_path, https to scheme",
            target.value
        );
        return Err(source.wrong_at(target, message));
    }
    Ok(StaticTargets {
        targets: written.targets.iter().map(|target| target.value.clone()).collect(),
        labels: Labels::from_pairs(written.labels.clone()),
    })
}

fn http_client(scrape: &Scrape) -> HttpClientConfig {
    let mut headers = Vec::new();
    for (name, values) in &scrape.http_headers {
        let all = values.values.iter().chain(&values.secrets);
        headers.extend(all.map(|value| (name.clone(), Secret::new(value.clone()))));
    }
    HttpClientConfig {
        basic_auth: scrape.basic_auth.as_ref().map(|basic| BasicAuth {
            username: basic.username.clone(),
            password: Secret::new(basic.password.clone()),
        }),
        authorization: scrape.authorization.as_ref().map(|auth| {
            Secret::new(format!(
                "{} {}",
                auth.r#type.as_deref().unwrap_or("Bearer"),
                auth.credentials
            ))
        }),
        headers,
        follow_redirects: scrape.follow_redirects.unwrap_or(true),
        insecure_skip_verify: scrape
            .tls_config
            .as_ref()
            .is_some_and(|tls| tls.insecure_skip_verify),
        ca_pem: scrape.tls_config.as_ref().and_then(|tls| tls.ca.clone()),
    }
}

fn relabel_rules(
    source: &Source<'_>,
    written: &[Spanned<Relabel>],
) -> Result<Vec<relabel::Rule>, ConfigError> {
    written.iter().map(|rule| relabel_rule(source, rule)).collect()
}

fn relabel_rule(
    source: &Source<'_>,
    written: &Spanned<Relabel>,
) -> Result<relabel::Rule, ConfigError> {
    let rule = &written.value;
    let action = match rule
        .action
        .as_ref()
        .map_or("replace", |action| action.value.as_str())
        .to_lowercase()
        .as_str()
    {
        "replace" => relabel::Action::Replace,
        "keep" => relabel::Action::Keep,
        "drop" => relabel::Action::Drop,
        "keepequal" => relabel::Action::KeepEqual,
        "dropequal" => relabel::Action::DropEqual,
        "labelmap" => relabel::Action::LabelMap,
        "labeldrop" => relabel::Action::LabelDrop,
        "labelkeep" => relabel::Action::LabelKeep,
        "lowercase" => relabel::Action::Lowercase,
        "uppercase" => relabel::Action::Uppercase,
        "hashmod" if rule.modulus.unwrap_or(0) == 0 => {
            return Err(source
                .wrong_at(written, "relabel configuration for hashmod requires non-zero modulus"));
        }
        "hashmod" => relabel::Action::HashMod(rule.modulus.unwrap_or(1)),
        other => {
            let message = format!(
                "unknown relabel action {other:?}: replace, keep, drop, keepequal, dropequal, labelmap, labeldrop, labelkeep, lowercase, uppercase and hashmod are known"
            );
            return Err(source.wrong_at(written, message));
        }
    };
    let needs_target = matches!(
        action,
        relabel::Action::Replace
            | relabel::Action::Lowercase
            | relabel::Action::Uppercase
            | relabel::Action::HashMod(_)
    );
    if needs_target && rule.target_label.is_empty() {
        let action = action.as_str();
        let message =
            format!("relabel configuration for {action} action requires 'target_label' value");
        return Err(source.wrong_at(written, message));
    }
    let pattern = rule.regex.as_ref().map_or("(.*)", |regex| regex.value.as_str());
    let regex = vigie_model::regexp::whole(pattern, true).map_err(|error| match &rule.regex {
        Some(regex) => source.wrong_at(regex, error.to_string()),
        None => source.wrong_at(written, error.to_string()),
    })?;
    Ok(relabel::Rule {
        source_labels: rule.source_labels.clone(),
        separator: rule.separator.clone().unwrap_or_else(|| ";".to_owned()),
        regex,
        target_label: rule.target_label.clone(),
        replacement: rule.replacement.clone().unwrap_or_else(|| "$1".to_owned()),
        action,
    })
}
