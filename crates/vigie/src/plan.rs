//! What is to be watched and served: arguments and files, put together before anything is started.

use crate::cli::{DemoArgs, QueryFlags, RunArgs};
use crate::demo::Demo;
use anyhow::{Context, Result, anyhow, bail};
use std::path::{Path, PathBuf};
use vigie_collect::host::HostConfig;
use vigie_collect::tail::{StartAt, TailSource, TimestampFrom};
use vigie_config::http_client::{HttpClientConfig, Secret};
use vigie_config::rules::RuleGroup;
use vigie_config::scrape::{PostgresTarget, ScrapeJob, ScrapeProtocol, StaticTargets};
use vigie_config::{Config, LoadOptions};
use vigie_model::duration::parse_duration_ms;
use vigie_model::limits::QueryLimits;
use vigie_model::{Labels, Matcher};

/// Longest time a scrape of a job that no file describes may take.
const TIMEOUT_MS: i64 = 10_000;

/// Everything that the program starts with.
pub struct Plan {
    /// The configuration.
    pub config: Config,
    /// The data directory.
    pub directory: PathBuf,
    /// Addresses that were named.
    pub listen: Vec<String>,
    /// Whether a proxy guards addresses other than loopback.
    pub behind_proxy: bool,
    /// The address in messages, when it was named.
    pub external_url: Option<String>,
    /// The host's roots; `None` when the host is not collected.
    pub host: Option<HostConfig>,
    /// The scrape jobs.
    pub jobs: Vec<ScrapeJob>,
    /// PostgreSQL servers; `None` to look for one.
    pub postgres: Option<Vec<PostgresTarget>>,
    /// The log files.
    pub logs: Vec<TailSource>,
    /// The rule groups, the shipped ones first.
    pub groups: Vec<RuleGroup>,
    /// Milliseconds between collections of Vigie's own metrics.
    pub own_interval_ms: i64,
    /// Whether this is the demonstration.
    pub demo: bool,
    /// Every flag and its value.
    pub flags: Vec<(String, String)>,
    /// Prometheus' experimental features that are on.
    pub features: Vec<String>,
    /// Whether the admin API answers.
    pub admin_api: bool,
    /// The pages of other sites that may read.
    pub cors_origin: Option<String>,
    /// Whether OpenTelemetry's metrics are taken.
    pub otlp: bool,
    /// Whether `/-/quit` ends the program.
    pub lifecycle: bool,
}

/// The feature of Prometheus that stores start timestamps.
pub const STARTS: &str = "st-storage";

/// The plan of `vigie run`.
pub fn from_arguments(arguments: &RunArgs) -> Result<Plan> {
    if arguments.web_config.is_some() {
        bail!(
            "--web.config.file: TLS and users are not built yet: put a proxy in front and add --web.behind-proxy"
        );
    }
    if arguments.route_prefix.is_some() {
        bail!("--web.route-prefix is not built yet: serve Vigie at the root of a host name");
    }
    let external_url = arguments.external_url.as_deref().map(external_url).transpose()?;
    let mut config = load(arguments.config_file.as_deref(), arguments.expand_env)?;
    if let Some(text) = &arguments.retention {
        config.metrics_retention_ms = parse_duration_ms(text)
            .ok()
            .filter(|ms| *ms > 0)
            .with_context(|| format!("--storage.tsdb.retention.time {text:?}: write a number and a unit greater than zero, for example 30d"))?;
    }
    if let Some(text) = &arguments.retention_size {
        let least = vigie_config::DISK_BUDGET_BYTES_MIN;
        let bytes = vigie_model::size::parse_size_bytes(text).map_err(anyhow::Error::msg);
        let bytes = bytes.and_then(|bytes| match bytes {
            0 => Ok(None),
            _ if bytes < least => bail!("{text:?} is less than 256MB, the smallest disk budget"),
            _ => Ok(Some(bytes)),
        });
        config.metrics_disk_bytes_max = bytes.context("--storage.tsdb.retention.size")?;
    }
    limit_queries(&mut config.queries, &arguments.queries)?;
    let host = HostConfig {
        procfs: arguments.procfs.clone(),
        sysfs: arguments.sysfs.clone(),
        rootfs: arguments.rootfs.clone(),
        interval_ms: config.scrape_interval_ms,
        ..HostConfig::default()
    };
    let postgres = match (&arguments.postgres_dsn, &config.postgres) {
        (Some(dsn), _) => Some(vec![target_of(dsn, config.scrape_interval_ms)?]),
        (None, Some(named)) => Some(named.clone()),
        // A file that names scrape jobs describes the whole of what is watched.
        (None, None) => config.scrape_jobs.is_some().then(Vec::new),
    };
    Ok(Plan {
        directory: arguments.storage_path.clone(),
        listen: arguments.listen.clone(),
        behind_proxy: arguments.behind_proxy,
        external_url,
        host: config.host.then_some(host),
        jobs: jobs(arguments, &config),
        postgres,
        logs: config
            .log_files
            .as_ref()
            .map_or_else(usual_logs, |files| files.iter().map(named_logs).collect()),
        groups: groups(&config, config.evaluation_interval_ms)?,
        own_interval_ms: config.scrape_interval_ms,
        demo: false,
        flags: crate::flags::of(arguments, &config),
        features: arguments.features.clone(),
        admin_api: arguments.admin_api,
        cors_origin: arguments.cors_origin.clone(),
        otlp: arguments.otlp,
        lifecycle: arguments.lifecycle,
        config,
    })
}

/// What is scraped. With start timestamps protobuf is asked for first, as upstream does: text says
/// them in lines that few targets write.
fn jobs(arguments: &RunArgs, config: &Config) -> Vec<ScrapeJob> {
    let usual = || vec![backend("localhost:8080", config.scrape_interval_ms, true)];
    let mut jobs = config.scrape_jobs.clone().unwrap_or_else(usual);
    if arguments.features.iter().any(|feature| feature == STARTS) {
        for job in jobs.iter_mut().filter(|job| !job.protocols_written) {
            job.protocols = ScrapeProtocol::defaults(true);
        }
    }
    jobs
}

/// The limits of questions with those that flags override.
fn limit_queries(limits: &mut QueryLimits, flags: &QueryFlags) -> Result<()> {
    let duration_ms = |flag: &str, text: &str| {
        parse_duration_ms(text).map_err(|reason| {
            anyhow!("--query.{flag} {text:?}: {reason}: write a number and a unit, for example 2m")
        })
    };
    limits.samples_max = flags.samples.unwrap_or(limits.samples_max);
    limits.at_once_max = flags.at_once.or(limits.at_once_max);
    if let Some(text) = &flags.timeout {
        limits.timeout_ms = u64::try_from(duration_ms("timeout", text)?).unwrap_or(0);
    }
    if let Some(text) = &flags.lookback {
        limits.lookback_ms = duration_ms("lookback-delta", text)?;
    }
    vigie_config::check_queries(limits).map_err(|(limit, words)| {
        let flag = match limit {
            "samples" => "max-samples",
            "at_once" => "max-concurrency",
            "lookback" => "lookback-delta",
            other => other,
        };
        anyhow!("--query.{flag}: {words}")
    })
}

/// The address that links start with, without a slash at its end.
fn external_url(text: &str) -> Result<String> {
    let host = ["http://", "https://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    if host.is_none_or(|host| host.is_empty() || host.starts_with(['/', ':', '?', '#'])) {
        bail!(
            "--web.external-url {text:?} is not an address: write for example https://vigie.example.org"
        );
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// The plan of `vigie demo`: everything of the demonstration, every second.
pub fn for_demo(arguments: &DemoArgs, demo: &Demo) -> Result<Plan> {
    const SECOND_MS: i64 = 1_000;
    let mut config = load(arguments.config_file.as_deref(), false)?;
    config.classic_ports = arguments.classic_ports;
    let address = demo.syndic_url.trim_start_matches("http://").to_owned();
    let logs = [
        (&demo.syndic_log_path, "koprogo-api"),
        (&demo.postgres_log, "postgresql"),
        (&demo.eve_path, "suricata"),
    ];
    Ok(Plan {
        directory: demo.data_dir.join("vigie-data"),
        listen: arguments.listen.clone(),
        behind_proxy: false,
        external_url: None,
        host: Some(HostConfig { interval_ms: SECOND_MS, ..HostConfig::default() }),
        jobs: vec![backend(&address, SECOND_MS, false)],
        postgres: Some(vec![target_of(&demo.postgres_dsn, SECOND_MS)?]),
        logs: logs
            .into_iter()
            .map(|(path, job)| followed(vec![path.display().to_string()], job, StartAt::Beginning))
            .collect(),
        groups: groups(&config, SECOND_MS)?
            .into_iter()
            .map(|group| RuleGroup { interval_ms: SECOND_MS, ..group })
            .collect(),
        own_interval_ms: SECOND_MS,
        demo: true,
        flags: Vec::new(),
        features: Vec::new(),
        admin_api: false,
        cors_origin: None,
        otlp: false,
        lifecycle: false,
        config,
    })
}

fn load(file: Option<&Path>, expand_env: bool) -> Result<Config> {
    let options = LoadOptions {
        expand_env,
        check_expr: &check_expr,
        check_log_expr: &check_log_expr,
        log_selector: &log_selector,
    };
    Ok(vigie_config::load(file, &options)?)
}

/// Whether a text is LogQL that a rule can evaluate; the words are the parser's.
pub fn check_log_expr(text: &str) -> Result<(), String> {
    let expr = vigie_logql::parse(text).map_err(|error| error.to_string())?;
    vigie_logql::check(&expr).map_err(|error| error.to_string())?;
    if expr.is_log() {
        return Err(
            "the query yields lines, and a rule needs numbers: count them, count_over_time({…} [5m])"
                .to_owned(),
        );
    }
    Ok(())
}

fn log_selector(text: &str) -> Result<Vec<Matcher>, String> {
    vigie_logql::parse_selector(text).map_err(|error| error.to_string())
}

fn check_expr(text: &str) -> Result<(), String> {
    vigie_promql::parse(text).map(drop).map_err(|error| error.to_string())
}

/// The shipped rules and those of the user's files.
fn groups(config: &Config, interval_ms: i64) -> Result<Vec<RuleGroup>> {
    let mut groups = Vec::new();
    for (name, text) in vigie_http::content::under("rules/") {
        let shipped = vigie_config::rule_groups(
            &format!("content/rules/{name}"),
            text,
            interval_ms,
            &check_expr,
        );
        groups.extend(shipped.context("a shipped rule file is wrong")?);
    }
    groups.extend(config.rule_groups.iter().cloned());
    Ok(groups)
}

fn target_of(dsn: &str, interval_ms: i64) -> Result<PostgresTarget> {
    let dsn = Secret::new(dsn);
    let instance = vigie_net::postgres::instance(&dsn)
        .context("DATA_SOURCE_NAME is not a PostgreSQL address")?;
    Ok(PostgresTarget { dsn, instance, interval_ms })
}

/// The backend of the runbook. Without configuration it becomes a target once it has answered.
fn backend(address: &str, interval_ms: i64, when_seen: bool) -> ScrapeJob {
    ScrapeJob {
        job_name: "koprogo-api".to_owned(),
        interval_ms,
        timeout_ms: TIMEOUT_MS.min(interval_ms),
        metrics_path: "/metrics".to_owned(),
        scheme: "http".to_owned(),
        params: Vec::new(),
        honor_labels: false,
        honor_timestamps: true,
        static_targets: vec![StaticTargets {
            targets: vec![address.to_owned()],
            labels: Labels::default(),
        }],
        relabel: Vec::new(),
        metric_relabel: Vec::new(),
        http: HttpClientConfig::default(),
        sample_limit: 0,
        body_size_bytes_max: 0,
        protocols: ScrapeProtocol::defaults(false),
        protocols_written: false,
        fallback_protocol: None,
        native_histograms: false,
        classic_histograms: false,
        when_seen,
    }
}

/// The log files that the runbook names, followed when they are there, from now on: what is old in
/// them would get today's instants.
fn usual_logs() -> Vec<TailSource> {
    vec![
        followed(vec!["/var/log/koprogo/api.log".to_owned()], "koprogo-api", StartAt::End),
        followed(vec!["/var/log/postgresql/*.log".to_owned()], "postgresql", StartAt::End),
        followed(vec!["/var/log/suricata/eve.json".to_owned()], "suricata", StartAt::End),
    ]
}

fn followed(paths: Vec<String>, job: &str, start_at: StartAt) -> TailSource {
    let labels = Labels::from_pairs([("job", job)]);
    TailSource {
        paths,
        exclude: Vec::new(),
        labels,
        stages: Vec::new(),
        timestamp: TimestampFrom::Line,
        start_at,
    }
}

fn named_logs(files: &vigie_config::LogFiles) -> TailSource {
    TailSource {
        paths: files.paths.clone(),
        exclude: files.exclude.iter().cloned().collect(),
        labels: files.labels.clone(),
        stages: files.stages.clone(),
        timestamp: TimestampFrom::Line,
        start_at: StartAt::Beginning,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protobuf_is_asked_for_first_where_starts_are_stored_and_nothing_else_is_written() {
        let protocols = |features: &[&str]| {
            let features = features.iter().map(|name| (*name).to_owned()).collect();
            let arguments = RunArgs { features, ..RunArgs::default() };
            let written = ScrapeJob {
                protocols: vec![ScrapeProtocol::Text004],
                protocols_written: true,
                ..backend("h:1", 1000, false)
            };
            let scrape_jobs = Some(vec![backend("h:2", 1000, false), written]);
            let config = Config { scrape_jobs, ..load(None, false).unwrap() };
            jobs(&arguments, &config).into_iter().map(|job| job.protocols).collect::<Vec<_>>()
        };
        let written = vec![ScrapeProtocol::Text004];
        assert_eq!(protocols(&[]), [ScrapeProtocol::defaults(false), written.clone()]);
        let with_starts = protocols(&[STARTS]);
        assert_eq!(with_starts, [ScrapeProtocol::defaults(true), written]);
    }

    #[test]
    fn an_external_url_has_a_scheme_and_a_host() {
        assert_eq!(external_url("https://v.example/x/").unwrap(), "https://v.example/x");
        for wrong in ["v.example", "https://", "ftp://v.example", "http:///x", ""] {
            assert!(external_url(wrong).is_err(), "{wrong}");
        }
    }
}
