//! Every configuration file, first *as written* (YAML with positions), then *as used* (defaults
//! filled in, durations in milliseconds, names cross-checked).
//!
//! [`load()`] is the only entrance. A file is recognised by its top-level keys: `vigie.yml` holds
//! sections, each inline or the path of an unchanged original, and an unchanged `prometheus.yml`
//! works by itself. The types of the public modules are the second form; nothing outside sees the
//! first. A file that is wrong is refused whole, with file, line, column, an excerpt and what would
//! be right. This crate reads files and does no other IO.

#![forbid(unsafe_code)]

pub mod alerting;
mod env;
mod error;
pub mod http_client;
mod language;
mod load;
pub mod log_rules;
mod matchers;
mod queries;
pub mod rules;
pub mod scrape;
mod shown;
pub mod stages;
mod tree;
mod written;
mod yaml;

pub use error::{ConfigError, Finding};
pub use language::Language;
pub use load::{DISK_BUDGET_BYTES_MIN, LoadOptions, load, rule_groups};
pub use matchers::parse_matchers;
pub use queries::check_queries;
pub use shown::Shown;
pub use written::loki::SelectorParser;
pub use written::rules::ExprCheck;

use vigie_model::limits::QueryLimits;
use vigie_model::{Labels, Matcher};

/// Everything the program is told, as used.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it came from, as the user named it.
    pub file: Option<String>,
    /// The language of messages.
    pub language: Language,
    /// Whether the classic ports are opened on loopback.
    pub classic_ports: bool,
    /// How long metrics are kept, in milliseconds.
    pub metrics_retention_ms: i64,
    /// How long log lines are kept, in milliseconds.
    pub logs_retention_ms: i64,
    /// The streams whose lines are kept for a time of their own; the first that matches counts.
    pub logs_retention_streams: Vec<StreamRetention>,
    /// What becomes of requests to delete lines.
    pub log_deletes: LogDeletes,
    /// How long such a request can be taken back before lines leave the disk, in milliseconds.
    pub log_delete_delay_ms: i64,
    /// The oldest metrics are removed while their files are larger than this.
    pub metrics_disk_bytes_max: Option<u64>,
    /// How much older than the newest of its target a sample may be, in milliseconds; 0 takes
    /// samples in order only.
    pub late_window_ms: i64,
    /// Exemplars that are kept; 0 keeps none.
    pub exemplars_max: usize,
    /// What questions may take.
    pub queries: QueryLimits,
    /// The oldest log lines are removed while their files are larger than this.
    pub logs_disk_bytes_max: Option<u64>,
    /// Added to what leaves the machine; never stored.
    pub external_labels: Labels,
    /// What becomes of OpenTelemetry's metrics; what flags say is left at its default.
    pub otlp: vigie_codec::otlp_metrics::Settings,
    /// Milliseconds between scrapes of the built-in collectors.
    pub scrape_interval_ms: i64,
    /// Milliseconds between evaluations of a rule group that names no interval.
    pub evaluation_interval_ms: i64,
    /// Whether the host is collected.
    pub host: bool,
    /// The scrape jobs; `None` when no file names any, and the program looks around by itself.
    pub scrape_jobs: Option<Vec<scrape::ScrapeJob>>,
    /// The PostgreSQL servers; `None` when no file names any.
    pub postgres: Option<Vec<scrape::PostgresTarget>>,
    /// The rule groups of the user's rule files, in PromQL and in LogQL.
    pub rule_groups: Vec<rules::RuleGroup>,
    /// Milliseconds between evaluations of a group of LogQL that names no interval.
    pub log_rules_interval_ms: i64,
    /// Routes and receivers, when there are any.
    pub alerting: Option<alerting::Alerting>,
    /// The configuration of scraping and rules for people to read.
    pub shown: Shown,
    /// The log files to follow; `None` when no file names any.
    pub log_files: Option<Vec<LogFiles>>,
    /// The metrics that are made of lines.
    pub log_metrics: Vec<LogMetric>,
    /// What is written and has no effect here, for the log of the program.
    pub warnings: Vec<String>,
}

/// How long the lines of some streams are kept.
#[derive(Clone, Debug)]
pub struct StreamRetention {
    /// Which streams.
    pub matchers: Vec<Matcher>,
    /// For how long, in milliseconds.
    pub period_ms: i64,
}

/// Loki's `deletion_mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogDeletes {
    /// Requests are refused.
    Disabled,
    /// Lines are hidden and stay on the disk.
    FilterOnly,
    /// Lines are hidden at once and leave the disk later.
    #[default]
    FilterAndDelete,
}

/// A metric that is made of lines as they arrive.
#[derive(Clone, Debug, PartialEq)]
pub struct LogMetric {
    /// The LogQL query whose lines count; not checked yet.
    pub query: String,
    /// The metric's name, without a histogram's suffixes.
    pub name: String,
    /// One line for people.
    pub help: String,
    /// What becomes of the numbers.
    pub kind: LogMetricKind,
    /// The labels of a line that tell series apart.
    pub labels: Vec<String>,
    /// The label that holds the number; none counts lines.
    pub value: Option<String>,
    /// What the number is multiplied with.
    pub scale: f64,
}

/// What becomes of the numbers of lines.
#[derive(Clone, Debug, PartialEq)]
pub enum LogMetricKind {
    /// Their sum.
    Counter,
    /// How many are at most each of these bounds, which rise.
    Histogram(Vec<f64>),
}

/// Files that are followed, and the labels of their lines.
#[derive(Clone, Debug, PartialEq)]
pub struct LogFiles {
    /// Globs.
    pub paths: Vec<String>,
    /// A glob of files left out.
    pub exclude: Option<String>,
    /// The stream's labels.
    pub labels: Labels,
    /// What is made of the lines, in order.
    pub stages: Vec<stages::PlacedStage>,
}
