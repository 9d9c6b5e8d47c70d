//! The flags and commands of Loki's client, and those of them that are refused.

use crate::lines::page::Window;
use crate::lines::{duration_ns, instant_ns};
use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use vigie_http::state::now_ms;

/// A command-line for Loki.
#[derive(Debug, Parser)]
#[command(name = "logcli", version)]
pub struct Logcli {
    #[command(subcommand)]
    pub(super) command: Command,
    #[command(flatten)]
    pub(super) server: ServerArgs,
    /// Specify output mode.
    #[arg(short, long, global = true, value_enum, default_value_t = Mode::Default)]
    pub(super) output: Mode,
    /// Specify the format of timestamps in the default output mode.
    #[arg(long, global = true, value_enum, default_value_t = TimeForm::Rfc3339)]
    pub(super) output_timestamp_format: TimeForm,
    /// Suppress query metadata.
    #[arg(short, long, global = true)]
    pub(super) quiet: bool,
    /// Show query statistics; there are none, and the flag changes nothing.
    #[arg(long, global = true, hide = true)]
    _stats: bool,
    /// There is no log; the flag changes nothing.
    #[arg(long = "log.level", global = true, hide = true)]
    _log_level: Option<String>,
    /// The timezone of instants, UTC or Local, which is the machine's.
    #[arg(short = 'z', long, global = true, value_enum, ignore_case = true, default_value_t = Zone::Local)]
    pub(super) timezone: Zone,
    /// Take input logs from stdin.
    #[arg(long, global = true, hide = true)]
    stdin: bool,
    #[arg(long, global = true, hide = true)]
    cpuprofile: Option<String>,
    #[arg(long, global = true, hide = true)]
    memprofile: Option<String>,
}

/// Who is asked, and how.
#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    /// Server address.
    #[arg(long, global = true, env = "LOKI_ADDR", default_value = "http://localhost:3100")]
    pub(super) addr: String,
    /// Username for HTTP basic auth.
    #[arg(long, global = true, env = "LOKI_USERNAME", default_value = "")]
    pub(super) username: String,
    /// Password for HTTP basic auth.
    #[arg(long, global = true, env = "LOKI_PASSWORD", default_value = "", hide_env_values = true)]
    pub(super) password: String,
    /// The X-Scope-OrgID to send.
    #[arg(long, global = true, env = "LOKI_ORG_ID", default_value = "")]
    pub(super) org_id: String,
    /// The bearer token to send.
    #[arg(
        long,
        global = true,
        env = "LOKI_BEARER_TOKEN",
        default_value = "",
        hide_env_values = true
    )]
    pub(super) bearer_token: String,
    /// A file with the bearer token to send.
    #[arg(long, global = true, env = "LOKI_BEARER_TOKEN_FILE", default_value = "")]
    pub(super) bearer_token_file: String,
    /// The authorization header used.
    #[arg(long, global = true, env = "LOKI_AUTH_HEADER", default_value = "Authorization")]
    pub(super) auth_header: String,
    /// Add custom HTTP headers to requests: `Header-Name: value`. Can be repeated.
    #[arg(long, global = true)]
    pub(super) header: Vec<String>,
    /// Adds X-Query-Tags to requests.
    #[arg(long, global = true, env = "LOKI_QUERY_TAGS", default_value = "")]
    pub(super) query_tags: String,
    /// Adds Cache-Control: no-cache to requests.
    #[arg(long, global = true, env = "LOKI_NO_CACHE")]
    pub(super) nocache: bool,
    /// Path to the server Certificate Authority.
    #[arg(long, global = true, env = "LOKI_CA_CERT_PATH", default_value = "")]
    pub(super) ca_cert: String,
    /// Server certificate TLS skip verify.
    #[arg(long, global = true, env = "LOKI_TLS_SKIP_VERIFY")]
    pub(super) tls_skip_verify: bool,
    /// How many times to retry each query when getting an error response.
    #[arg(long, global = true, env = "LOKI_CLIENT_RETRIES", default_value_t = 0)]
    pub(super) retries: u32,
    /// Seconds before the first retry.
    #[arg(long, global = true, env = "LOKI_CLIENT_MIN_BACKOFF", default_value_t = 0)]
    pub(super) min_backoff: u64,
    /// Most seconds before a retry.
    #[arg(long, global = true, env = "LOKI_CLIENT_MAX_BACKOFF", default_value_t = 0)]
    pub(super) max_backoff: u64,
    /// What is sent is small here; the flag changes nothing.
    #[arg(long, global = true, hide = true, env = "LOKI_HTTP_COMPRESSION")]
    _compress: bool,
    #[arg(long, global = true, hide = true, env = "LOKI_CLIENT_CERT_PATH", default_value = "")]
    cert: String,
    #[arg(long, global = true, hide = true, env = "LOKI_CLIENT_KEY_PATH", default_value = "")]
    key: String,
    #[arg(long, global = true, hide = true, env = "LOKI_HTTP_PROXY_URL", default_value = "")]
    proxy_url: String,
    #[arg(long, global = true, hide = true, env = "LOKI_ENV_PROXY")]
    envproxy: bool,
}

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Mode {
    Default,
    Raw,
    Jsonl,
}

/// Go's layouts by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lowercase")]
pub(super) enum TimeForm {
    Rfc3339,
    Rfc3339Nano,
    Rfc822Z,
    Rfc1123Z,
    StampMilli,
    StampMicro,
    StampNano,
    UnixDate,
}

/// Whose clock instants are written by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Zone {
    #[value(name = "Local")]
    Local,
    #[value(name = "UTC")]
    Utc,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a LogQL query.
    Query(Box<QueryArgs>),
    /// Run an instant LogQL query.
    InstantQuery {
        /// The query.
        query: String,
        /// Time at which to execute the instant query.
        #[arg(long)]
        now: Option<String>,
        /// Limit on number of entries.
        #[arg(long, default_value_t = 30)]
        limit: usize,
        #[command(flatten)]
        _shown: ShownArgs,
    },
    /// Find values for a given label.
    Labels {
        /// The name of the label.
        label: Option<String>,
        #[command(flatten)]
        span: Span,
    },
    /// Run series query.
    Series {
        /// The selector.
        matcher: String,
        /// Print a summary of labels: useful for debugging high cardinality series.
        #[arg(long)]
        analyze_labels: bool,
        #[command(flatten)]
        span: Span,
    },
    /// Run a stats query.
    Stats {
        /// The selector.
        query: String,
        #[command(flatten)]
        span: Span,
    },
    /// Run a volume query.
    Volume(VolumeArgs),
    /// Run a volume query and return a time series.
    #[command(name = "volume_range")]
    VolumeRange {
        #[command(flatten)]
        volume: VolumeArgs,
        /// Query resolution step width.
        #[arg(long, default_value = "1h")]
        step: String,
    },
    /// Run a query for detected fields.
    DetectedFields {
        /// The query.
        query: String,
        /// The field whose values are asked for.
        field: Option<String>,
        /// Limit on number of fields or values to return.
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Limit the number of lines each subquery is allowed to process.
        #[arg(long, default_value_t = 1000)]
        line_limit: usize,
        /// Query resolution step width, for metric queries.
        #[arg(long, default_value = "10s")]
        step: String,
        #[command(flatten)]
        span: Span,
    },
    /// Format a LogQL query, read from stdin or given.
    Fmt {
        /// The query; stdin when it is not given.
        query: Option<String>,
    },
    /// Manage log deletion requests.
    #[command(subcommand)]
    Delete(DeleteCommand),
}

#[derive(Debug, Subcommand)]
pub(super) enum DeleteCommand {
    /// Create a new log deletion request.
    Create {
        /// LogQL query to match log lines for deletion.
        query: String,
        /// Maximum time interval for delete request.
        #[arg(long)]
        max_interval: Option<String>,
        #[command(flatten)]
        span: Span,
    },
    /// List existing log deletion requests.
    List,
    /// Cancel a log deletion request.
    Cancel {
        /// ID of the delete request to cancel.
        #[arg(long)]
        request_id: String,
        /// Force cancellation of partially completed request.
        #[arg(long)]
        force: bool,
    },
}

/// From when to when.
#[derive(Debug, Args)]
pub(super) struct Span {
    /// Lookback window.
    #[arg(long, default_value = "1h")]
    pub(super) since: String,
    /// Start looking for logs at this absolute time (inclusive).
    #[arg(long)]
    pub(super) from: Option<String>,
    /// Stop looking for logs at this absolute time (exclusive).
    #[arg(long)]
    pub(super) to: Option<String>,
}

impl Span {
    pub(super) fn window(&self) -> Result<Window> {
        let end_ns = match &self.to {
            Some(text) => instant_ns("--to", text)?,
            None => now_ms().saturating_mul(1_000_000),
        };
        let start_ns = match &self.from {
            Some(text) => instant_ns("--from", text)?,
            None => end_ns.saturating_sub(duration_ns("--since", &self.since)?),
        };
        Ok(Window { start_ns, end_ns })
    }
}

#[derive(Debug, Args)]
pub(super) struct QueryArgs {
    /// The query.
    pub(super) query: String,
    #[command(flatten)]
    pub(super) span: Span,
    #[command(flatten)]
    pub(super) shown: ShownArgs,
    /// Limit on number of entries to print; 0 for all.
    #[arg(long, default_value_t = 30)]
    pub(super) limit: usize,
    /// Query batch size to use until `limit` is reached.
    #[arg(long, default_value_t = 1000)]
    pub(super) batch: usize,
    /// Query resolution step width, for metric queries.
    #[arg(long)]
    pub(super) step: Option<String>,
    /// Query interval, for log queries.
    #[arg(long)]
    pub(super) interval: Option<String>,
    /// Scan forwards through logs.
    #[arg(long)]
    pub(super) forward: bool,
    /// Tail the logs.
    #[arg(short, long, alias = "follow", short_alias = 'f')]
    pub(super) tail: bool,
    /// Lines are in order as they come; the flag changes nothing.
    #[arg(long, hide = true)]
    _delay_for: Option<u64>,
    /// One server answers no faster in parts; the flag changes nothing.
    #[arg(long, hide = true)]
    _parallel_duration: Option<String>,
    /// More than one takes away the limit, as in the original; lines come in order all the same.
    #[arg(long, hide = true, default_value_t = 1)]
    pub(super) parallel_max_workers: usize,
    #[arg(long, hide = true)]
    part_path_prefix: Option<String>,
    #[arg(long, hide = true)]
    overwrite_completed_parts: bool,
    #[arg(long, hide = true)]
    merge_parts: bool,
    #[arg(long, hide = true)]
    keep_parts: bool,
    #[arg(long, hide = true)]
    store_config: Option<String>,
    #[arg(long, hide = true)]
    remote_schema: bool,
    #[arg(long, hide = true)]
    schema_store: Option<String>,
}

/// Which labels are printed.
#[derive(Debug, Args)]
pub(super) struct ShownArgs {
    /// Do not print any labels.
    #[arg(long)]
    pub(super) no_labels: bool,
    /// Exclude labels given the provided key during output.
    #[arg(long)]
    pub(super) exclude_label: Vec<String>,
    /// Include labels given the provided key during output.
    #[arg(long)]
    pub(super) include_label: Vec<String>,
    /// Include common labels in output for each log line.
    #[arg(long)]
    pub(super) include_common_labels: bool,
    /// Set a fixed padding to labels.
    #[arg(long, default_value_t = 0)]
    pub(super) labels_length: usize,
    /// Colours are not written; the flag changes nothing.
    #[arg(long, hide = true)]
    _colored_output: bool,
}

#[derive(Debug, Args)]
pub(super) struct VolumeArgs {
    /// The selector.
    pub(super) query: String,
    #[command(flatten)]
    pub(super) span: Span,
    /// Limit on number of series to return volumes for.
    #[arg(long, default_value_t = 30)]
    pub(super) limit: usize,
    /// List of labels to aggregate results into.
    #[arg(long = "targetLabels", value_delimiter = ',')]
    pub(super) target_labels: Vec<String>,
    /// Whether to aggregate results by label name only.
    #[arg(long = "aggregateByLabels")]
    pub(super) aggregate_by_labels: bool,
}

impl Logcli {
    /// Flags of the original that would do nothing, or something else, here.
    pub(super) fn refuse_what_is_not_there(&self) -> Result<()> {
        let server = &self.server;
        let everywhere = [
            (
                self.stdin,
                "--stdin",
                "lines are asked from a server; pipe them through grep, or push them",
            ),
            (self.cpuprofile.is_some(), "--cpuprofile", "there is no profiler"),
            (self.memprofile.is_some(), "--memprofile", "there is no profiler"),
            (!server.cert.is_empty(), "--cert", "client certificates are not sent yet"),
            (!server.key.is_empty(), "--key", "client certificates are not sent yet"),
            (!server.proxy_url.is_empty(), "--proxy-url", "proxies are not used yet"),
            (server.envproxy, "--envproxy", "proxies are not used yet"),
        ];
        let mut all = everywhere.to_vec();
        if let Command::Query(query) = &self.command {
            let parts = "part files are not written: redirect the output, lines come in order";
            let store = "there is no store to read but the server's: leave it out and name --addr";
            all.extend([
                (query.part_path_prefix.is_some(), "--part-path-prefix", parts),
                (query.overwrite_completed_parts, "--overwrite-completed-parts", parts),
                (query.merge_parts, "--merge-parts", parts),
                (query.keep_parts, "--keep-parts", parts),
                (query.store_config.is_some(), "--store-config", store),
                (query.remote_schema, "--remote-schema", store),
                (query.schema_store.is_some(), "--schema-store", store),
            ]);
        }
        match all.iter().find(|(given, ..)| *given) {
            Some((_, flag, why)) => bail!("{flag}: {why}"),
            None => Ok(()),
        }
    }
}
