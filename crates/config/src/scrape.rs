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
    /// What is asked for, best first.
    pub protocols: Vec<ScrapeProtocol>,
    /// Whether that is written in the configuration.
    pub protocols_written: bool,
    /// Taken for the format of an answer that does not say which it is.
    pub fallback_protocol: Option<ScrapeProtocol>,
    /// Whether native histograms are taken.
    pub native_histograms: bool,
    /// Whether the classic buckets of native histograms are taken too.
    pub classic_histograms: bool,
    /// A target that is only kept from the moment it has answered once
    /// (the backend on :8080 when there is no configuration).
    pub when_seen: bool,
}

/// `scrape_protocols`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScrapeProtocol {
    /// `PrometheusProto`.
    Protobuf,
    /// `OpenMetricsText0.0.1`.
    OpenMetrics001,
    /// `OpenMetricsText1.0.0`.
    OpenMetrics100,
    /// `PrometheusText0.0.4`.
    Text004,
    /// `PrometheusText1.0.0`.
    Text100,
}

impl ScrapeProtocol {
    /// All of them by the names that Prometheus has for them.
    pub const ALL: [(&'static str, ScrapeProtocol); 5] = [
        ("PrometheusProto", ScrapeProtocol::Protobuf),
        ("OpenMetricsText0.0.1", ScrapeProtocol::OpenMetrics001),
        ("OpenMetricsText1.0.0", ScrapeProtocol::OpenMetrics100),
        ("PrometheusText0.0.4", ScrapeProtocol::Text004),
        ("PrometheusText1.0.0", ScrapeProtocol::Text100),
    ];

    /// What is asked for when nothing is written; protobuf first where native histograms are wanted.
    pub fn defaults(native_histograms: bool) -> Vec<ScrapeProtocol> {
        let texts = [
            ScrapeProtocol::OpenMetrics100,
            ScrapeProtocol::OpenMetrics001,
            ScrapeProtocol::Text100,
            ScrapeProtocol::Text004,
        ];
        let proto = native_histograms.then_some(ScrapeProtocol::Protobuf);
        proto.into_iter().chain(texts).collect()
    }
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
