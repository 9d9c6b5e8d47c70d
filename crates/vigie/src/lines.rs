//! `vigie logs`: lines of a running Vigie (or a Loki) on the command line, the oldest first, as a
//! person reads a journal. [`logcli`] answers in the words of Loki's own client instead, [`import`] copies a
//! Loki's lines, and [`loki`] is what all three ask with.

pub mod import;
pub mod logcli;
mod loki;
mod page;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use loki::{Line, Loki, Server};
use page::{Order, Window, pages};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::io::Write;
use std::time::Duration;
use vigie_http::state::now_ms;
use vigie_model::duration::parse_duration_ms;

/// How often new lines are asked for.
const FOLLOW_EVERY: Duration = Duration::from_millis(500);
/// How late a line may come and still be shown while lines are followed, in nanoseconds.
const FOLLOW_BACK_NS: i64 = 30_000_000_000;
/// Points of a range of numbers.
const POINTS: i64 = 250;

/// Flags of `logs`.
#[derive(Debug, Clone, Args)]
pub struct LogsArgs {
    /// The question, in LogQL, for example '{job="nginx"} |= "error"'.
    #[arg(value_name = "QUERY")]
    pub query: String,
    /// Go on with lines as they arrive, until interrupted.
    #[arg(short, long)]
    pub follow: bool,
    /// How far back, for example 30m, 1h, 7d.
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    pub since: String,
    /// Most lines, the newest; 0 for all.
    #[arg(long, value_name = "LINES", default_value_t = 1000)]
    pub limit: usize,
    /// How lines are written.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// The Vigie to ask. [default: http://127.0.0.1:9090]
    #[arg(long, env = "VIGIE_URL", value_name = "URL")]
    pub url: Option<String>,
}

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// The line and nothing else.
    Raw,
    /// One JSON object for each line.
    Jsonl,
    /// Instant, labels and line.
    Table,
}

/// Asks and prints.
pub async fn logs(arguments: LogsArgs) -> Result<()> {
    let expr = vigie_logql::parse(&arguments.query).map_err(|error| anyhow::anyhow!("{error}"))?;
    let loki = Loki::new(Server::of_vigie(arguments.url.as_deref())?);
    let now_ns = now_ms().saturating_mul(1_000_000);
    let since_ns = duration_ns("--since", &arguments.since)?;
    let window =
        Window { start_ns: now_ns.saturating_sub(since_ns), end_ns: now_ns + 1_000_000_000 };
    if !expr.is_log() {
        if arguments.follow {
            bail!("only lines can be followed: leave -f out, or ask for lines");
        }
        return numbers(&loki, &arguments.query, window, arguments.output).await;
    }
    let mut lines = Vec::new();
    let limit = if arguments.limit == 0 { usize::MAX } else { arguments.limit };
    pages(&loki, &arguments.query, window, Order::Backward, limit, |page| {
        lines.extend(page);
        Ok(())
    })
    .await?;
    lines.reverse();
    let mut seen = HashSet::new();
    for line in &lines {
        if !put(&written(line, arguments.output))? {
            return Ok(());
        }
        if arguments.follow {
            seen.insert(line.clone());
        }
    }
    if arguments.follow {
        return follow(&loki, &arguments, window.start_ns, seen).await;
    }
    Ok(())
}

/// Prints what arrives, each line once, until the program is told to stop or nobody reads.
async fn follow(
    loki: &Loki,
    arguments: &LogsArgs,
    start_ns: i64,
    mut seen: HashSet<Line>,
) -> Result<()> {
    loop {
        tokio::time::sleep(FOLLOW_EVERY).await;
        let now_ns = now_ms().saturating_mul(1_000_000);
        let from_ns = (now_ns - FOLLOW_BACK_NS).max(start_ns);
        let window = Window { start_ns: from_ns, end_ns: now_ns + 1_000_000_000 };
        let mut fresh = Vec::new();
        pages(loki, &arguments.query, window, Order::Forward, usize::MAX, |page| {
            fresh.extend(page.into_iter().filter(|line| !seen.contains(line)));
            Ok(())
        })
        .await?;
        for line in fresh {
            if !put(&written(&line, arguments.output))? {
                return Ok(());
            }
            seen.insert(line);
        }
        seen.retain(|line| line.ts_ns >= from_ns);
    }
}

async fn numbers(loki: &Loki, query: &str, window: Window, output: Output) -> Result<()> {
    let width_s = (window.end_ns - window.start_ns) / 1_000_000_000;
    let form = [
        ("query", query.to_owned()),
        ("start", window.start_ns.to_string()),
        ("end", window.end_ns.to_string()),
        ("step", format!("{}s", (width_s / POINTS).max(1))),
    ];
    let answer = loki.json("/loki/api/v1/query_range", &form).await?;
    for series in answer["data"]["result"].as_array().into_iter().flatten() {
        if output == Output::Jsonl {
            if !put(&format!("{series}\n"))? {
                return Ok(());
            }
            continue;
        }
        let labels = loki::labels_text(&series["metric"]);
        for point in series["values"].as_array().into_iter().flatten() {
            let at_ms = (point[0].as_f64().unwrap_or(0.0) * 1000.0) as i64;
            let value = point[1].as_str().unwrap_or("");
            let text = match output {
                Output::Raw => format!("{value}\n"),
                _ => format!("{} {labels} {value}\n", vigie_http::state::rfc3339(at_ms)),
            };
            if !put(&text)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// A line as it is printed, with its end.
fn written(line: &Line, output: Output) -> String {
    match output {
        Output::Raw => format!("{}\n", line.text),
        Output::Jsonl => {
            let labels: Value =
                line.labels.iter().cloned().map(|(a, b)| (a, Value::from(b))).collect();
            let object = json!({"timestamp": loki::rfc3339_ns(line.ts_ns), "labels": labels, "line": line.text});
            format!("{object}\n")
        }
        Output::Table => {
            let labels: Vec<String> =
                line.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
            format!("{} {{{}}} {}\n", loki::rfc3339_ns(line.ts_ns), labels.join(", "), line.text)
        }
    }
}

/// Prints; `false` when nobody reads any more, as when the output goes through `head`.
fn put(text: &str) -> Result<bool> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("cannot write the lines"),
        Ok(()) => Ok(true),
    }
}

/// A duration of the command line, in nanoseconds.
fn duration_ns(flag: &str, text: &str) -> Result<i64> {
    let ms = parse_duration_ms(text).ok().filter(|ms| *ms > 0);
    let ms = ms.with_context(|| {
        format!(
            "{flag} {text:?}: write a number and a unit greater than zero, for example 30m or 1h"
        )
    })?;
    ms.checked_mul(1_000_000).with_context(|| format!("{flag} {text:?} is too long"))
}

/// An instant of the command line, in nanoseconds: RFC 3339, or as Loki reads numbers.
fn instant_ns(flag: &str, text: &str) -> Result<i64> {
    vigie_http::parse_loki_time_ns(text)
        .with_context(|| format!("{flag} {text:?}: write for example 2026-01-31T12:00:00Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_written_in_three_ways() {
        let line = Line {
            ts_ns: 1_500_000_001,
            labels: vec![("app".to_owned(), "a".to_owned())],
            metadata: Vec::new(),
            text: "say \"hi\"".to_owned(),
        };
        for (output, text) in [
            (Output::Raw, "say \"hi\"\n"),
            (
                Output::Jsonl,
                "{\"timestamp\":\"1970-01-01T00:00:01.500000001Z\",\"labels\":{\"app\":\"a\"},\"line\":\"say \\\"hi\\\"\"}\n",
            ),
            (Output::Table, "1970-01-01T00:00:01.500000001Z {app=\"a\"} say \"hi\"\n"),
        ] {
            assert_eq!(written(&line, output), text);
        }
    }

    #[test]
    fn times_of_the_command_line_are_read_or_explained() {
        assert_eq!(duration_ns("--since", "1h").unwrap(), 3_600_000_000_000);
        let error = duration_ns("--since", "x").unwrap_err().to_string();
        assert!(error.starts_with("--since \"x\": write a number"), "{error}");
        assert_eq!(instant_ns("--from", "1970-01-01T00:00:01Z").unwrap(), 1_000_000_000);
        assert!(instant_ns("--from", "soon").is_err());
    }
}
