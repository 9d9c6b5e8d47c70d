//! Every flag with the value it has, as `/api/v1/status/flags` shows it. What the file says or what
//! is fixed here, and is a flag of Prometheus', stands among them, so that a client finds what
//! counts.

use crate::cli::RunArgs;
use vigie_config::Config;
use vigie_model::duration::format_duration_ms;

/// Connections of one listener.
const CONNECTIONS_MAX: &str = "512";

/// The flags by name.
pub fn of(arguments: &RunArgs, config: &Config) -> Vec<(String, String)> {
    let path = |path: &std::path::Path| path.display().to_string();
    let queries = &config.queries;
    let timeout_ms = i64::try_from(queries.timeout_ms).unwrap_or(i64::MAX);
    let size = config.metrics_disk_bytes_max.map_or("0B".to_owned(), |bytes| format!("{bytes}B"));
    let config_file = arguments.config_file.as_deref().map(path).unwrap_or_default();
    let mut flags = vec![
        ("config.expand-env", arguments.expand_env.to_string()),
        ("config.file", config_file),
        ("enable-feature", arguments.features.join(",")),
        ("log.level", arguments.log_level.clone()),
        ("path.procfs", path(&arguments.procfs)),
        ("path.rootfs", path(&arguments.rootfs)),
        ("path.sysfs", path(&arguments.sysfs)),
        ("query.lookback-delta", format_duration_ms(queries.lookback_ms)),
        ("query.max-concurrency", queries.at_once().to_string()),
        ("query.max-samples", queries.samples_max.to_string()),
        ("query.timeout", format_duration_ms(timeout_ms)),
        ("storage.path", path(&arguments.storage_path)),
        ("storage.tsdb.path", path(&arguments.storage_path)),
        ("storage.tsdb.retention.size", size),
        ("storage.tsdb.retention.time", format_duration_ms(config.metrics_retention_ms)),
        ("web.behind-proxy", arguments.behind_proxy.to_string()),
        ("web.cors.origin", arguments.cors_origin.clone().unwrap_or_default()),
        ("web.enable-admin-api", arguments.admin_api.to_string()),
        ("web.enable-lifecycle", arguments.lifecycle.to_string()),
        ("web.enable-otlp-receiver", arguments.otlp.to_string()),
        ("web.enable-remote-write-receiver", true.to_string()),
        ("web.external-url", arguments.external_url.clone().unwrap_or_default()),
        ("web.listen-address", arguments.listen.join(",")),
        ("web.max-connections", CONNECTIONS_MAX.to_owned()),
        ("web.route-prefix", "/".to_owned()),
    ];
    flags.sort_unstable();
    flags.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
