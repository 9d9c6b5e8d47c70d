//! Scrape jobs: Prometheus' `scrape_configs`.

use crate::http_client::HttpClientConfig;
use vigie_model::{Labels, relabel};

/// One job with its static targets.
#[derive(Clone, Debug)]
pub struct ScrapeJob {
    /// `job_name`, the value of the label `job`.
    pub job_name: String,
    /// Milliseconds between scrapes.
    pub interval_ms: i64,
    /// Milliseconds before a scrape is given up; at most the interval.
    pub timeout_ms: i64,
    /// `/metrics` by default.
    pub metrics_path: String,
    /// `http` or `https`.
    pub scheme: String,
    /// Query parameters, in order.
    pub params: Vec<(String, String)>,
    /// Whether the target's own `job` and `instance` labels win.
    pub honor_labels: bool,
    /// Whether the target's own timestamps are kept.
    pub honor_timestamps: bool,
    /// `static_configs`.
    pub static_targets: Vec<StaticTargets>,
    /// Applied to targets.
    pub relabel: Vec<relabel::Rule>,
    /// Applied to scraped series.
    pub metric_relabel: Vec<relabel::Rule>,
    /// How to connect.
    pub http: HttpClientConfig,
    /// Most samples of one scrape; 0 means no limit.
    pub sample_limit: usize,
    /// Largest body in bytes; 0 means the program's own limit.
    pub body_size_bytes_max: usize,
    /// A target that is only kept from the moment it has answered once
    /// (the backend on :8080 when there is no configuration).
    pub when_seen: bool,
}

/// Addresses that share labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticTargets {
    /// `host:port` each.
    pub targets: Vec<String>,
    /// Labels of all of them.
    pub labels: Labels,
}

/// The PostgreSQL servers that are watched by the built-in collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresTarget {
    /// A `postgres://` URL or key=value string (`DATA_SOURCE_NAME`).
    pub dsn: crate::http_client::Secret,
    /// The label `instance`; host:port or the socket's path.
    pub instance: String,
    /// Milliseconds between collections.
    pub interval_ms: i64,
}
