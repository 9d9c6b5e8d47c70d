//! The command line: Vigie's flags, and those that compose files pass to the programs it replaces,
//! each accepted, or refused with a reason.

use crate::lines::LogsArgs;
use crate::lines::import::Import;
use crate::query::QueryArgs;
use anyhow::{Result, anyhow, bail};
use clap::{Args, Parser, Subcommand};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Watches this server and its application, and wakes the right person with the right page open.
#[derive(Debug, Parser)]
#[command(name = "vigie", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do; `run` when nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Flags of `run`.
    #[command(flatten)]
    pub run: RunArgs,
}

/// The sub-commands that are built.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch this machine (the same as no command).
    Run(Box<RunArgs>),
    /// Watch a demonstration: a backend, its PostgreSQL, a load generator, all on this machine.
    Demo(DemoArgs),
    /// Ask a running Vigie in PromQL.
    Query(QueryArgs),
    /// Look at the stored metrics: what takes the room, every sample, or whether all is whole.
    Tsdb(TsdbArgs),
    /// Show lines of a running Vigie, by LogQL.
    Logs(LogsArgs),
    /// Copy what another program has kept.
    Import {
        /// From what.
        #[command(subcommand)]
        what: Import,
    },
}

/// What to look at.
#[derive(Debug, Clone, Args)]
pub struct TsdbArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: TsdbCommand,
}

/// Nothing is written, and a Vigie may be running.
#[derive(Debug, Clone, Subcommand)]
pub enum TsdbCommand {
    /// What takes how much room, by file and by metric.
    Analyze {
        /// The data directory, or a snapshot.
        #[arg(value_name = "DIR", default_value = "./vigie-data")]
        directory: PathBuf,
        /// Metrics that are listed.
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Write every sample, as `promtool tsdb dump` does.
    Dump {
        /// The data directory, or a snapshot.
        #[arg(value_name = "DIR", default_value = "./vigie-data")]
        directory: PathBuf,
        /// Only the series of a selector; may be repeated.
        #[arg(long = "match", value_name = "SELECTOR")]
        matches: Vec<String>,
        /// The first instant, in milliseconds.
        #[arg(long, value_name = "MS", default_value_t = i64::MIN, hide_default_value = true, allow_hyphen_values = true)]
        min_time: i64,
        /// The last instant, in milliseconds.
        #[arg(long, value_name = "MS", default_value_t = i64::MAX, hide_default_value = true, allow_hyphen_values = true)]
        max_time: i64,
    },
    /// Check every checksum and invariant; name file and offset of damage, and exit with 1.
    Verify {
        /// The data directory, or a snapshot.
        #[arg(value_name = "DIR", default_value = "./vigie-data")]
        directory: PathBuf,
    },
}

/// Flags of `run`.
#[derive(Debug, Default, Clone, Args)]
pub struct RunArgs {
    /// vigie.yml, or an unchanged prometheus.yml. Without it Vigie looks around by itself.
    #[arg(long = "config.file", value_name = "FILE")]
    pub config_file: Option<PathBuf>,
    /// Expand ${VAR} and ${VAR:-default} in configuration files.
    #[arg(long = "config.expand-env", num_args = 0..=1, default_missing_value = "true", default_value = "false", action = clap::ArgAction::Set)]
    pub expand_env: bool,
    /// Where everything is stored.
    #[arg(
        long = "storage.path",
        alias = "storage.tsdb.path",
        value_name = "DIR",
        default_value = "./vigie-data"
    )]
    pub storage_path: PathBuf,
    /// How long metrics are kept (overrides the file), for example 30d.
    #[arg(long = "storage.tsdb.retention.time", value_name = "DURATION")]
    pub retention: Option<String>,
    /// Most that the metrics' files may take (overrides the file), for example 20GB.
    #[arg(long = "storage.tsdb.retention.size", value_name = "SIZE")]
    pub retention_size: Option<String>,
    /// Where to listen; may be repeated. [default: 127.0.0.1:9090, or the next free port]
    #[arg(long = "web.listen-address", value_name = "ADDRESS")]
    pub listen: Vec<String>,
    /// The address under which people reach the UI; messages link to it.
    #[arg(long = "web.external-url", value_name = "URL")]
    pub external_url: Option<String>,
    /// A proxy in front does TLS and sign-in: addresses other than loopback are allowed.
    #[arg(long = "web.behind-proxy")]
    pub behind_proxy: bool,
    /// TLS and users of the listener. Not built yet.
    #[arg(long = "web.config.file", value_name = "FILE", hide = true)]
    pub web_config: Option<PathBuf>,
    /// A prefix of all paths. Not built yet.
    #[arg(long = "web.route-prefix", value_name = "PATH", hide = true)]
    pub route_prefix: Option<String>,
    /// Where the host's root is mounted (in a container).
    #[arg(long = "path.rootfs", value_name = "DIR", default_value = "/")]
    pub rootfs: PathBuf,
    /// Where the host's /proc is mounted.
    #[arg(long = "path.procfs", value_name = "DIR", default_value = "/proc")]
    pub procfs: PathBuf,
    /// Where the host's /sys is mounted.
    #[arg(long = "path.sysfs", value_name = "DIR", default_value = "/sys")]
    pub sysfs: PathBuf,
    /// PostgreSQL to watch, as postgres_exporter is told.
    #[arg(
        long = "postgres.dsn",
        env = "DATA_SOURCE_NAME",
        value_name = "DSN",
        hide_env_values = true
    )]
    pub postgres_dsn: Option<String>,
    /// Prometheus' experimental features, by name, with commas between them.
    #[arg(long = "enable-feature", value_name = "NAMES", value_delimiter = ',', value_parser = FEATURES)]
    pub features: Vec<String>,
    /// Limits of questions.
    #[command(flatten)]
    pub queries: QueryFlags,
    /// How much is written to stderr.
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info", value_parser = LEVELS)]
    pub log_level: String,
    /// Let POST /-/quit end the program, and POST /-/reload read the configuration anew.
    #[arg(long = "web.enable-lifecycle")]
    pub lifecycle: bool,
    /// Let /api/v1/admin/tsdb/* delete series and make snapshots.
    #[arg(long = "web.enable-admin-api")]
    pub admin_api: bool,
    /// Let pages of other sites whose origin matches this pattern read Prometheus' API. Without it
    /// none may, because without sign-in a browser would be a way in.
    #[arg(long = "web.cors.origin", value_name = "REGEX")]
    pub cors_origin: Option<String>,
    /// Take OpenTelemetry's metrics at /api/v1/otlp/v1/metrics.
    #[arg(long = "web.enable-otlp-receiver")]
    pub otlp: bool,
    /// Accepted for compose files written for Prometheus; changes nothing.
    #[arg(long = "web.enable-remote-write-receiver", hide = true)]
    pub remote_write: bool,
    /// Accepted for compose files written for Prometheus; changes nothing.
    #[arg(long = "web.console.libraries", hide = true)]
    pub console_libraries: Option<PathBuf>,
    /// Accepted for compose files written for Prometheus; changes nothing.
    #[arg(long = "web.console.templates", hide = true)]
    pub console_templates: Option<PathBuf>,
}

/// Prometheus' flags for the limits of questions; `storage.queries` of vigie.yml has them all.
#[derive(Debug, Default, Clone, Args)]
pub struct QueryFlags {
    /// Most samples that one question may hold (overrides the file).
    #[arg(long = "query.max-samples", value_name = "COUNT")]
    pub samples: Option<u64>,
    /// How long a question may take (overrides the file), for example 2m.
    #[arg(long = "query.timeout", value_name = "DURATION")]
    pub timeout: Option<String>,
    /// Questions answered at once (overrides the file). [default: as many as there are cores]
    #[arg(long = "query.max-concurrency", value_name = "COUNT")]
    pub at_once: Option<usize>,
    /// How far back an instant looks for a sample (overrides the file), for example 5m.
    #[arg(long = "query.lookback-delta", value_name = "DURATION")]
    pub lookback: Option<String>,
}

/// Flags of `demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Where the demonstration keeps its files. [default: a new folder, removed at the end]
    #[arg(long = "storage.path", value_name = "DIR")]
    pub storage_path: Option<PathBuf>,
    /// Where to listen. [default: 127.0.0.1:9090, or the next free port]
    #[arg(long = "web.listen-address", value_name = "ADDRESS")]
    pub listen: Vec<String>,
    /// vigie.yml with `alerting`, to try the delivery of alerts.
    #[arg(long = "config.file", value_name = "FILE")]
    pub config_file: Option<PathBuf>,
    /// Requests per second of the load generator.
    #[arg(long, default_value_t = 20)]
    pub rate: u32,
    /// How much is written to stderr.
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info", value_parser = LEVELS)]
    pub log_level: String,
    /// Open the classic ports too.
    #[arg(long)]
    pub classic_ports: bool,
}

/// Features that are built; the others are refused by name.
const FEATURES: [&str; 10] = [
    "otlp-native-delta-ingestion",
    "promql-binop-fill-modifiers",
    "promql-delayed-name-removal",
    "promql-duration-expr",
    "promql-experimental-functions",
    "promql-extended-range-selectors",
    "search-api",
    "st-storage",
    "type-and-unit-labels",
    "use-start-timestamps",
];

/// What `--log.level` may be.
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// Flags that other programs know and Vigie refuses, with the reason. A name that ends with a dot
/// stands for all that begin with it.
const REFUSED: [(&str, &str); 14] = [
    ("--cluster.", "Vigie has no cluster of Alertmanagers: remove the flag"),
    ("--storage.tsdb.", "Vigie's store has no such switch: remove the flag"),
    ("--agent", "agent mode is not built yet"),
    ("--web.max-connections", "the limit is fixed at 512 for each port: remove the flag"),
    ("--web.telemetry-path", "the pages of the exporters are at /metrics: remove the flag"),
    ("--query.", "it is no flag of Prometheus': see `storage.queries` of vigie.yml"),
    ("--rules.", "the timing of rules is fixed: remove the flag"),
    ("--alertmanager.", "Vigie is its own Alertmanager: remove the flag"),
    ("--log.format", "there is one format, a line each on stderr: remove the flag"),
    ("--collector.", "the host's collector has no switches yet: remove the flag"),
    ("--no-collector.", "the host's collector has no switches yet: remove the flag"),
    ("--extend.query-path", "queries of your own to PostgreSQL are not built yet: remove the flag"),
    ("--target", "Loki's -target has no meaning here: Vigie is one process"),
    ("--client.url", "promtail's -client.url has no meaning here: Vigie stores the lines itself"),
];
/// Flags that are taken although a refused name is the beginning of theirs.
const TAKEN: [&str; 7] = [
    "--query.lookback-delta",
    "--query.max-concurrency",
    "--query.max-samples",
    "--query.timeout",
    "--storage.tsdb.path",
    "--storage.tsdb.retention.time",
    "--storage.tsdb.retention.size",
];

/// Commands that take no flags of the originals.
const COMMANDS_OF_OUR_OWN: [&str; 1] = ["query"];

/// The arguments as text.
pub fn arguments(all: impl IntoIterator<Item = OsString>) -> Result<Vec<String>> {
    let text = |argument: OsString| {
        argument.into_string().map_err(|argument| anyhow!("the argument {argument:?} is not UTF-8"))
    };
    all.into_iter().map(text).collect()
}

/// The arguments as clap wants them: Go's single dash before a long name becomes two.
/// A flag that is known and refused ends with its reason.
pub fn normalise(arguments: impl IntoIterator<Item = String>) -> Result<Vec<String>> {
    let mut arguments = arguments.into_iter().peekable();
    let mut out: Vec<String> = arguments.by_ref().take(1).collect();
    // A question may begin with a minus, and is none of the originals' flags.
    if arguments.peek().is_some_and(|command| COMMANDS_OF_OUR_OWN.contains(&command.as_str())) {
        out.extend(arguments);
        return Ok(out);
    }
    for argument in arguments {
        let long = argument.strip_prefix('-').is_some_and(|name| {
            name.len() > 1 && name.starts_with(|first: char| first.is_ascii_alphabetic())
        });
        let argument = if long { format!("-{argument}") } else { argument };
        let name = argument.split('=').next().unwrap_or_default();
        let refused = REFUSED
            .iter()
            .find(|(flag, _)| name == *flag || (flag.ends_with('.') && name.starts_with(flag)));
        if let Some((_, reason)) = refused.filter(|_| !TAKEN.contains(&name)) {
            bail!("{name}: {reason}");
        }
        out.push(argument);
    }
    Ok(out)
}

/// An address to listen on: `host:port`, or `:port` for every interface, as Go writes it.
pub fn parse_address(text: &str) -> Result<SocketAddr> {
    let full = if text.starts_with(':') {
        format!("0.0.0.0{text}")
    } else {
        text.replacen("localhost:", "127.0.0.1:", 1)
    };
    match full.parse() {
        Ok(address) => Ok(address),
        Err(_) => bail!(
            "--web.listen-address {text:?} is not an address: write for example 127.0.0.1:9090"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_the_originals_are_accepted_or_refused_with_a_reason() {
        let line = |text: &str| normalise(text.split(' ').map(str::to_owned));
        let cli = Cli::try_parse_from(line("vigie -config.file=/a.yml -config.expand-env=true --storage.tsdb.path=/d --web.enable-lifecycle --web.listen-address=:9090").unwrap()).unwrap();
        assert_eq!(cli.run.config_file, Some(PathBuf::from("/a.yml")));
        assert!(cli.run.expand_env && cli.run.storage_path.as_os_str() == "/d");
        for (text, reason) in [
            ("vigie --cluster.listen-address=", "--cluster.listen-address: Vigie has no cluster"),
            ("vigie -target=all", "--target: Loki's"),
            ("vigie --collector.disable-defaults", "--collector.disable-defaults: the host"),
            ("vigie --query.replica-label=a", "--query.replica-label: it is no flag"),
            ("vigie --storage.tsdb.wal-compression", "--storage.tsdb.wal-compression: Vigie's"),
        ] {
            let error = line(text).unwrap_err().to_string();
            assert!(error.starts_with(reason), "{error}");
        }
        for taken in [
            "-version",
            "-h",
            "--storage.tsdb.retention.size=1GB",
            "--targets",
            "--query.timeout=1m",
        ] {
            assert!(line(taken).is_ok(), "{taken}");
        }
        assert!(Cli::try_parse_from(["vigie", "--log.level=loud"]).is_err());
        assert!(Cli::try_parse_from(line("vigie demo --rate 5").unwrap()).is_ok());
        assert!(Cli::try_parse_from(line("vigie query -up -o json").unwrap()).is_ok());
        assert!(Cli::try_parse_from(line("vigie frobnicate").unwrap()).is_err());
    }

    #[test]
    fn addresses_are_read_as_go_reads_them() {
        assert_eq!(parse_address(":9090").unwrap().to_string(), "0.0.0.0:9090");
        assert_eq!(parse_address("localhost:1").unwrap().to_string(), "127.0.0.1:1");
        assert!(parse_address("nowhere").is_err());
    }
}
