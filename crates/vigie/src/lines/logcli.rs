//! Called as `logcli`: Loki's command-line client, its flags and its forms of output.
//!
//! Flags that tune what a single server has no use for (`--parallel-…`) do not exist. Colours are
//! not written. What the original writes with its log to stderr (the address, common labels) goes
//! to stderr here too, without the time before it.

use super::loki::{Line, Loki, Server, braces, labels_text};
use super::page::{Order, Question, Window};
use super::{FOLLOW_BACK_NS, FOLLOW_EVERY, duration_ns, instant_ns, put};
use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde_json::{Value, json};
use std::collections::HashSet;
use vigie_http::state::now_ms;

/// A command-line for Loki.
#[derive(Debug, Parser)]
#[command(name = "logcli", version)]
pub struct Logcli {
    #[command(subcommand)]
    command: Command,
    /// Server address.
    #[arg(long, global = true, env = "LOKI_ADDR", default_value = "http://localhost:3100")]
    addr: String,
    /// Username for HTTP basic auth.
    #[arg(long, global = true, env = "LOKI_USERNAME", default_value = "")]
    username: String,
    /// Password for HTTP basic auth.
    #[arg(long, global = true, env = "LOKI_PASSWORD", default_value = "", hide_env_values = true)]
    password: String,
    /// The X-Scope-OrgID to send.
    #[arg(long = "org-id", global = true, env = "LOKI_ORG_ID", default_value = "")]
    org_id: String,
    /// The bearer token to send.
    #[arg(
        long = "bearer-token",
        global = true,
        env = "LOKI_BEARER_TOKEN",
        default_value = "",
        hide_env_values = true
    )]
    bearer_token: String,
    /// Specify output mode.
    #[arg(short, long, global = true, value_enum, default_value_t = Mode::Default)]
    output: Mode,
    /// Suppress query metadata.
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Show query statistics; there are none, and the flag changes nothing.
    #[arg(long, global = true, hide = true)]
    stats: bool,
    /// The timezone of instants, UTC or Local, which is the machine's.
    #[arg(short = 'z', long, global = true, default_value = "Local")]
    timezone: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    Default,
    Raw,
    Jsonl,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a LogQL query.
    Query(QueryArgs),
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
        /// Limit on number of fields to return.
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Limit the number of lines each subquery is allowed to process.
        #[arg(long = "line-limit", default_value_t = 1000)]
        line_limit: usize,
        #[command(flatten)]
        span: Span,
    },
    /// Format a LogQL query.
    Fmt {
        /// The query.
        query: String,
    },
}

/// From when to when.
#[derive(Debug, Args)]
struct Span {
    /// Lookback window.
    #[arg(long, default_value = "1h")]
    since: String,
    /// Start looking for logs at this absolute time (inclusive).
    #[arg(long)]
    from: Option<String>,
    /// Stop looking for logs at this absolute time (exclusive).
    #[arg(long)]
    to: Option<String>,
}

#[derive(Debug, Args)]
struct QueryArgs {
    /// The query.
    query: String,
    #[command(flatten)]
    span: Span,
    /// Limit on number of entries to print; 0 for all.
    #[arg(long, default_value_t = 30)]
    limit: usize,
    /// Query batch size to use until `limit` is reached.
    #[arg(long, default_value_t = 1000)]
    batch: usize,
    /// Query resolution step width, for metric queries.
    #[arg(long)]
    step: Option<String>,
    /// Query interval, for log queries.
    #[arg(long)]
    interval: Option<String>,
    /// Scan forwards through logs.
    #[arg(long)]
    forward: bool,
    /// Tail the logs.
    #[arg(short, long, alias = "follow", short_alias = 'f')]
    tail: bool,
    /// Do not print any labels.
    #[arg(long = "no-labels")]
    no_labels: bool,
    /// Exclude labels given the provided key during output.
    #[arg(long = "exclude-label")]
    exclude_label: Vec<String>,
    /// Include labels given the provided key during output.
    #[arg(long = "include-label")]
    include_label: Vec<String>,
    /// Set a fixed padding to labels.
    #[arg(long = "labels-length", default_value_t = 0)]
    labels_length: usize,
}

#[derive(Debug, Args)]
struct VolumeArgs {
    /// The selector.
    query: String,
    #[command(flatten)]
    span: Span,
    /// Limit on number of series to return volumes for.
    #[arg(long, default_value_t = 30)]
    limit: usize,
    /// List of labels to aggregate results into.
    #[arg(long = "targetLabels", value_delimiter = ',')]
    target_labels: Vec<String>,
    /// Whether to aggregate results by label name only.
    #[arg(long = "aggregateByLabels")]
    aggregate_by_labels: bool,
}

impl Span {
    fn window(&self) -> Result<Window> {
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

/// Does what was asked.
pub async fn run(cli: Logcli) -> Result<()> {
    let mut server = Server::at("--addr", &cli.addr)?;
    let mut header = |name: &str, value: String| server.headers.push((name.to_owned(), value));
    if !cli.username.is_empty() {
        let pair = format!("{}:{}", cli.username, cli.password);
        header("Authorization", format!("Basic {}", vigie_net::base64(pair.as_bytes())));
    } else if !cli.bearer_token.is_empty() {
        header("Authorization", format!("Bearer {}", cli.bearer_token));
    }
    if !cli.org_id.is_empty() {
        header("X-Scope-OrgID", cli.org_id.clone());
    }
    let asking = Asking { loki: Loki::new(server), cli: &cli };
    match &cli.command {
        Command::Query(query) => asking.query(query).await,
        Command::InstantQuery { query, now, limit } => {
            asking.instant(query, now.as_deref(), *limit).await
        }
        Command::Labels { label, span } => asking.labels(label.as_deref(), span).await,
        Command::Series { matcher, span } => asking.series(matcher, span).await,
        Command::Stats { query, span } => asking.stats(query, span).await,
        Command::Volume(volume) => asking.volume(volume, None).await,
        Command::VolumeRange { volume, step } => asking.volume(volume, Some(step)).await,
        Command::DetectedFields { query, limit, line_limit, span } => {
            let form = [("line_limit", line_limit.to_string()), ("limit", limit.to_string())];
            asking.fields(query, &form, span).await
        }
        Command::Fmt { query } => {
            let expr = vigie_logql::parse(query).map_err(|error| anyhow::anyhow!("{error}"))?;
            put(&format!("{}\n", vigie_logql::pretty(&expr))).map(drop)
        }
    }
}

struct Asking<'a> {
    loki: Loki,
    cli: &'a Logcli,
}

impl Asking<'_> {
    /// What goes to stderr unless `--quiet`.
    fn say(&self, text: &str) {
        if !self.cli.quiet {
            eprintln!("{text}");
        }
    }

    async fn ask(&self, path: &str, form: &[(&str, String)]) -> Result<Value> {
        self.say(&self.loki.address(path, form));
        self.loki.json(path, form).await
    }

    async fn query(&self, arguments: &QueryArgs) -> Result<()> {
        let window = arguments.span.window()?;
        let expr = vigie_logql::parse(&arguments.query);
        if expr.is_ok_and(|expr| !expr.is_log()) {
            let mut form = vec![
                ("end", window.end_ns.to_string()),
                ("query", arguments.query.clone()),
                ("start", window.start_ns.to_string()),
            ];
            form.extend(arguments.step.clone().map(|step| ("step", step)));
            let answer = self.ask("/loki/api/v1/query_range", &form).await?;
            return indented(&answer["data"]["result"]);
        }
        let extra: Vec<_> =
            arguments.interval.iter().map(|one| ("interval", one.clone())).collect();
        let question = Question {
            query: &arguments.query,
            order: if arguments.forward { Order::Forward } else { Order::Backward },
            size: arguments.batch.clamp(1, 5000),
            categorize: false,
            extra: &extra,
        };
        let limit = if arguments.limit == 0 { usize::MAX } else { arguments.limit };
        let first = question.form(window, question.size.min(limit));
        self.say(&self.loki.address("/loki/api/v1/query_range", &first));
        if arguments.tail {
            return self.tail(arguments, question, window).await;
        }
        let mut lines: Vec<Line> = Vec::new();
        question
            .pages(&self.loki, window, limit, |page| {
                lines.extend(page);
                Ok(())
            })
            .await?;
        let common = if arguments.no_labels { Vec::new() } else { common(&lines) };
        if !common.is_empty() {
            self.say(&format!("Common labels: {}", braces(&common)));
        }
        let shown: Vec<String> =
            lines.iter().map(|line| own_labels(line, arguments, &common)).collect();
        let width = shown.iter().map(String::len).max().unwrap_or(0).max(arguments.labels_length);
        for (line, labels) in lines.iter().zip(&shown) {
            if !put(&self.written(line, labels, width, arguments.no_labels))? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Prints what arrives, each line once.
    async fn tail(
        &self,
        arguments: &QueryArgs,
        question: Question<'_>,
        from: Window,
    ) -> Result<()> {
        let mut seen: HashSet<Line> = HashSet::new();
        let question = Question { order: Order::Forward, ..question };
        loop {
            let now_ns = now_ms().saturating_mul(1_000_000);
            let start_ns = from.start_ns.max(now_ns - FOLLOW_BACK_NS);
            let window = Window { start_ns, end_ns: now_ns + 1_000_000_000 };
            let mut fresh = Vec::new();
            question
                .pages(&self.loki, window, usize::MAX, |page| {
                    fresh.extend(page.into_iter().filter(|line| !seen.contains(line)));
                    Ok(())
                })
                .await?;
            for line in fresh {
                let labels = own_labels(&line, arguments, &[]);
                let width = arguments.labels_length;
                if !put(&self.written(&line, &labels, width, arguments.no_labels))? {
                    return Ok(());
                }
                seen.insert(line);
            }
            seen.retain(|line| line.ts_ns >= start_ns);
            tokio::time::sleep(FOLLOW_EVERY).await;
        }
    }

    /// A line as it is printed, with its end.
    fn written(&self, line: &Line, labels: &str, width: usize, no_labels: bool) -> String {
        let text = &line.text;
        match self.cli.output {
            Mode::Raw => format!("{text}\n"),
            Mode::Jsonl => {
                let labels: Value =
                    line.labels.iter().cloned().map(|(a, b)| (a, Value::from(b))).collect();
                let at = self.instant_text(line.ts_ns, true);
                format!("{}\n", json!({"labels": labels, "line": text, "timestamp": at}))
            }
            Mode::Default if no_labels => {
                format!("{} {text}\n", self.instant_text(line.ts_ns, false))
            }
            Mode::Default => {
                format!("{} {labels:<width$} {text}\n", self.instant_text(line.ts_ns, false))
            }
        }
    }

    /// RFC 3339 in the zone that was asked for, in seconds or with all digits.
    fn instant_text(&self, ts_ns: i64, all: bool) -> String {
        let zone = if self.cli.timezone.eq_ignore_ascii_case("utc") {
            jiff::tz::TimeZone::UTC
        } else {
            jiff::tz::TimeZone::system()
        };
        let Ok(at) = jiff::Timestamp::from_nanosecond(i128::from(ts_ns)) else {
            return ts_ns.to_string();
        };
        let offset = zone.to_offset(at);
        let text = at.display_with_offset(offset).to_string();
        let text = text.strip_suffix("+00:00").map_or(text.clone(), |plain| format!("{plain}Z"));
        match text.split_once('.') {
            Some((seconds, rest)) if !all => {
                let zone = rest.trim_start_matches(|c: char| c.is_ascii_digit());
                format!("{seconds}{zone}")
            }
            _ => text,
        }
    }

    async fn instant(&self, query: &str, now: Option<&str>, limit: usize) -> Result<()> {
        let time_ns = match now {
            Some(text) => instant_ns("--now", text)?,
            None => now_ms().saturating_mul(1_000_000),
        };
        let form = [
            ("direction", "BACKWARD".to_owned()),
            ("limit", limit.to_string()),
            ("query", query.to_owned()),
            ("time", time_ns.to_string()),
        ];
        let answer = self.ask("/loki/api/v1/query", &form).await?;
        indented(&answer["data"]["result"])
    }

    async fn labels(&self, label: Option<&str>, span: &Span) -> Result<()> {
        let path = match label {
            Some(label) => format!("/loki/api/v1/label/{}/values", crate::client::encode(label)),
            None => "/loki/api/v1/labels".to_owned(),
        };
        let answer = self.ask(&path, &over(span.window()?, None)).await?;
        for text in answer["data"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !put(&format!("{text}\n"))? {
                break;
            }
        }
        Ok(())
    }

    async fn series(&self, matcher: &str, span: &Span) -> Result<()> {
        let mut form = over(span.window()?, None);
        form.insert(1, ("match", matcher.to_owned()));
        let answer = self.ask("/loki/api/v1/series", &form).await?;
        for series in answer["data"].as_array().into_iter().flatten() {
            if !put(&format!("{}\n", labels_text(series)))? {
                break;
            }
        }
        Ok(())
    }

    async fn stats(&self, query: &str, span: &Span) -> Result<()> {
        let form = over(span.window()?, Some(query));
        let answer = self.ask("/loki/api/v1/index/stats", &form).await?;
        let number = |name: &str| answer[name].as_u64().unwrap_or(0);
        let text = format!(
            "{{\n  bytes: {}\n  chunks: {}\n  streams: {}\n  entries: {}\n}}\n",
            human_bytes(number("bytes")),
            number("chunks"),
            number("streams"),
            number("entries")
        );
        put(&text).map(drop)
    }

    async fn volume(&self, arguments: &VolumeArgs, step: Option<&String>) -> Result<()> {
        let mut form = over(arguments.span.window()?, Some(&arguments.query));
        form.push(("limit", arguments.limit.to_string()));
        if !arguments.target_labels.is_empty() {
            form.push(("targetLabels", arguments.target_labels.join(",")));
        }
        if arguments.aggregate_by_labels {
            form.push(("aggregateBy", "labels".to_owned()));
        }
        form.extend(step.map(|step| ("step", step.clone())));
        let kind = if step.is_some() { "volume_range" } else { "volume" };
        let answer = self.ask(&format!("/loki/api/v1/index/{kind}"), &form).await?;
        indented(&answer["data"]["result"])
    }

    async fn fields(&self, query: &str, extra: &[(&str, String)], span: &Span) -> Result<()> {
        let mut form = over(span.window()?, Some(query));
        form.extend(extra.iter().map(|(name, value)| (*name, value.clone())));
        let answer = self.ask("/loki/api/v1/detected_fields", &form).await?;
        if self.cli.output == Mode::Jsonl {
            return put(&format!("{answer}\n")).map(drop);
        }
        for field in answer["fields"].as_array().into_iter().flatten() {
            let text = |name: &str| field[name].as_str().unwrap_or("").to_owned();
            let (label, kind) = (text("label"), text("type"));
            let line = format!(
                "label: {label}\t\ttype: {kind}\t\tcardinality: {}\n",
                field["cardinality"]
            );
            if !put(&line)? {
                break;
            }
        }
        Ok(())
    }
}

/// `end`, `query`, `start`.
fn over(window: Window, query: Option<&str>) -> Vec<(&'static str, String)> {
    let mut form = vec![("end", window.end_ns.to_string())];
    form.extend(query.map(|query| ("query", query.to_owned())));
    form.push(("start", window.start_ns.to_string()));
    form
}

fn indented(result: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(result).context("the answer cannot be written")?;
    put(&text).map(drop)
}

/// The labels that all lines share.
fn common(lines: &[Line]) -> Vec<(String, String)> {
    let Some(first) = lines.first() else { return Vec::new() };
    let mut common = first.labels.clone();
    common.retain(|pair| lines.iter().all(|line| line.labels.contains(pair)));
    common
}

/// The labels that are printed before a line.
fn own_labels(line: &Line, arguments: &QueryArgs, common: &[(String, String)]) -> String {
    let shown: Vec<(String, String)> = line
        .labels
        .iter()
        .filter(|pair| match arguments.include_label.is_empty() {
            false => arguments.include_label.contains(&pair.0),
            true => !common.contains(pair) && !arguments.exclude_label.contains(&pair.0),
        })
        .cloned()
        .collect();
    braces(&shown)
}

/// As go-humanize writes it: powers of a thousand, one digit below ten.
fn human_bytes(bytes: u64) -> String {
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let power = (bytes as f64).log(1000.0).floor();
    let value = (bytes as f64 / 1000f64.powf(power) * 10.0 + 0.5).floor() / 10.0;
    let unit = units[power as usize];
    if value < 10.0 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::super::loki::{pairs, rfc3339_ns};
    use super::*;

    #[test]
    fn the_originals_flags_are_taken() {
        for line in [
            r#"logcli query {app="a"} --limit=10 --since=2h -o raw --quiet"#,
            r#"logcli --addr=http://x:1 query --tail {app="a"} --no-labels --forward"#,
            r#"logcli instant-query rate({app="a"}[5m]) --now=2026-01-01T00:00:00Z"#,
            "logcli labels job --from=2026-01-01T00:00:00Z --to=2026-01-02T00:00:00Z",
            r#"logcli volume_range {app="a"} --step=1m --targetLabels=app,env"#,
            r#"logcli detected-fields {app="a"} --line-limit=5"#,
        ] {
            let parsed = Logcli::try_parse_from(line.split(' '));
            assert!(parsed.is_ok(), "{line}: {parsed:?}");
        }
        assert!(Logcli::try_parse_from(["logcli", "tail"]).is_err());
    }

    #[test]
    fn labels_that_all_lines_share_stand_once() {
        let pairs = |text: &str| pairs(&serde_json::from_str(text).unwrap());
        let line = |labels: &str| Line {
            ts_ns: 0,
            labels: pairs(labels),
            metadata: Vec::new(),
            text: String::new(),
        };
        let lines = [line(r#"{"app":"a","env":"x"}"#), line(r#"{"app":"a","env":"y"}"#)];
        assert_eq!(common(&lines), pairs(r#"{"app":"a"}"#));
        let cli = Logcli::try_parse_from(["logcli", "query", "{}"]).unwrap();
        let Command::Query(arguments) = &cli.command else { panic!("{cli:?}") };
        assert_eq!(own_labels(&lines[1], arguments, &common(&lines)), r#"{env="y"}"#);
        for (bytes, text) in [(0, "0 B"), (564, "564 B"), (1104, "1.1 kB"), (61_299_587, "61 MB")] {
            assert_eq!(human_bytes(bytes), text);
        }
        assert_eq!(rfc3339_ns(0), "1970-01-01T00:00:00Z");
    }
}
