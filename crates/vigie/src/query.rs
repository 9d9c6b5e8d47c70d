//! `vigie query`: a PromQL question to a running Vigie, answered as a table, JSON or a line of JSON
//! for each series. What a question is refused for is shown under it, at its place.

use crate::client::{Answered, Refused, Server};
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::Write as _;
use vigie_model::duration::parse_duration_ms;

/// Points of a range when no step is named.
const POINTS_DEFAULT: i64 = 250;

/// Flags of `query`.
#[derive(Debug, Clone, Args)]
pub struct QueryArgs {
    /// The question, in PromQL.
    #[arg(value_name = "EXPR", allow_hyphen_values = true)]
    pub expr: String,
    /// Ask for the last so long instead of one instant, for example 1h.
    #[arg(long, value_name = "DURATION")]
    pub range: Option<String>,
    /// The distance of two points of a range. [default: a 250th of it, a second at least]
    #[arg(long, value_name = "DURATION", requires = "range")]
    pub step: Option<String>,
    /// The instant, or the end of the range: seconds since 1970, or RFC 3339. [default: now]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub time: Option<String>,
    /// How the answer is written.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// The Vigie to ask. [default: http://127.0.0.1:9090]
    #[arg(long, env = "VIGIE_URL", value_name = "URL")]
    pub url: Option<String>,
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Series and values in columns.
    Table,
    /// The server's answer.
    Json,
    /// One line of JSON for each series.
    Jsonl,
}

/// Asks and prints. Warnings go to stderr.
pub async fn query(arguments: QueryArgs) -> Result<()> {
    let server = Server::new(arguments.url.as_deref())?;
    let (path, form) = question(&arguments, vigie_http::state::now_ms())?;
    let answer = match server.post_form(path, &form).await {
        Ok(answer) => answer,
        Err(error) => match error.downcast::<Refused>() {
            Ok(refused) => bail!("{}", at_its_place(&refused.message, &arguments.expr)),
            Err(error) => return Err(error),
        },
    };
    for (kind, texts) in [("warning", &answer.warnings), ("info", &answer.infos)] {
        for text in texts {
            eprintln!("{kind}: {text}");
        }
    }
    let text = written(&answer, arguments.output)?;
    // Nobody may be reading any more, as when the output goes through `head`.
    match std::io::stdout().write_all(&text) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write the answer")
        }
        _ => Ok(()),
    }
}

/// Where to ask, and what.
fn question(
    arguments: &QueryArgs,
    now_ms: i64,
) -> Result<(&'static str, Vec<(&'static str, String)>)> {
    let mut form = vec![("query", arguments.expr.clone())];
    let time_ms = match &arguments.time {
        None => now_ms,
        Some(text) => vigie_http::parse_time_ms(text).with_context(|| {
            format!(
                "--time {text:?}: write seconds since 1970, or for example 2026-01-31T12:00:00Z"
            )
        })?,
    };
    let Some(range) = &arguments.range else {
        form.push(("time", seconds(time_ms)));
        return Ok(("/api/v1/query", form));
    };
    let range_ms = duration("--range", range)?;
    let step_ms = match &arguments.step {
        Some(step) => duration("--step", step)?,
        None => (range_ms / POINTS_DEFAULT).max(1_000),
    };
    form.push(("start", seconds(time_ms.saturating_sub(range_ms))));
    form.push(("end", seconds(time_ms)));
    form.push(("step", seconds(step_ms)));
    Ok(("/api/v1/query_range", form))
}

fn duration(flag: &str, text: &str) -> Result<i64> {
    let ms = parse_duration_ms(text).ok().filter(|ms| *ms > 0);
    ms.with_context(|| {
        format!(
            "{flag} {text:?}: write a number and a unit greater than zero, for example 15s or 1h"
        )
    })
}

fn seconds(ms: i64) -> String {
    format!("{}.{:03}", ms.div_euclid(1000), ms.rem_euclid(1000))
}

/// The refusal, with the question and a mark under the place it is about.
fn at_its_place(message: &str, expr: &str) -> String {
    let words = message.strip_prefix("invalid parameter \"query\": ").unwrap_or(message);
    let mut out = words.to_owned();
    // Errors of the parser start with `line:column`, those of the evaluation may end with it.
    let place = words.split(' ').find_map(place).or_else(|| {
        let end = words.strip_suffix(')')?;
        place(end.rsplit_once('(')?.1)
    });
    if let Some((line, column)) = place
        && let Some(text) = expr.lines().nth(line - 1)
    {
        // The column counts bytes; the mark stands under characters.
        let before = text.get(..(column - 1).min(text.len())).unwrap_or(text);
        let _ = write!(out, "\n  {text}\n  {}^", " ".repeat(before.chars().count()));
    }
    out
}

/// `line:column:`, both from 1.
fn place(word: &str) -> Option<(usize, usize)> {
    let (line, column) = word.trim_end_matches(':').split_once(':')?;
    let (line, column) = (line.parse().ok()?, column.parse().ok()?);
    (line > 0 && column > 0).then_some((line, column))
}

fn written(answer: &Answered, output: Output) -> Result<Vec<u8>> {
    let result = &answer.data["result"];
    match output {
        Output::Json => {
            let mut body = answer.body.to_vec();
            body.push(b'\n');
            Ok(body)
        }
        Output::Jsonl => {
            let mut out = Vec::new();
            let series = result.as_array().filter(|list| list.iter().all(Value::is_object));
            let lines = series.map_or_else(|| vec![result], |list| list.iter().collect());
            for line in lines {
                serde_json::to_writer(&mut out, line)?;
                out.push(b'\n');
            }
            Ok(out)
        }
        Output::Table => Ok(table(answer.data["resultType"].as_str(), result).into_bytes()),
    }
}

fn table(kind: Option<&str>, result: &Value) -> String {
    let series: &[Value] = result.as_array().map_or(&[], Vec::as_slice);
    match kind {
        Some("vector") => {
            let rows = series.iter().map(|one| (metric(&one["metric"]), sample(one)));
            columns(&rows.collect::<Vec<_>>())
        }
        Some("matrix") => {
            let mut out = String::new();
            for one in series {
                let _ = writeln!(out, "{}", metric(&one["metric"]));
                let points = ["values", "histograms"].map(|name| one[name].as_array());
                let rows = points.into_iter().flatten().flatten();
                let rows = rows.map(|point| (format!("  {}", time(&point[0])), value(&point[1])));
                out.push_str(&columns(&rows.collect::<Vec<_>>()));
            }
            out
        }
        // A scalar or a string.
        _ => format!("{}\n", value(&result[1])),
    }
}

/// Two columns, the second under each other.
fn columns(rows: &[(String, String)]) -> String {
    let width = rows.iter().map(|(left, _)| left.chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for (left, right) in rows {
        let pad = " ".repeat(width - left.chars().count());
        let _ = writeln!(out, "{left}{pad}  {right}");
    }
    out
}

/// `name{label="value"}`.
fn metric(labels: &Value) -> String {
    let labels = labels.as_object().into_iter().flatten();
    let (mut name, mut parts) = ("", Vec::new());
    for (label, text) in labels {
        let text = text.as_str().unwrap_or("");
        match label.as_str() {
            "__name__" => name = text,
            label => parts.push(format!("{label}={text:?}")),
        }
    }
    match (name, parts.is_empty()) {
        ("", true) => "{}".to_owned(),
        (name, true) => name.to_owned(),
        (name, false) => format!("{name}{{{}}}", parts.join(", ")),
    }
}

fn sample(one: &Value) -> String {
    let point = if one.get("histogram").is_some() { &one["histogram"] } else { &one["value"] };
    value(&point[1])
}

fn value(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(histogram) => {
            let of = |name: &str| histogram.get(name).and_then(Value::as_str).unwrap_or("?");
            let buckets = histogram.get("buckets").and_then(Value::as_array).map_or(0, Vec::len);
            format!("count:{} sum:{} buckets:{buckets}", of("count"), of("sum"))
        }
        other => other.to_string(),
    }
}

/// Seconds as RFC 3339, fractions only where there are any.
fn time(seconds: &Value) -> String {
    let ms = (seconds.as_f64().unwrap_or(0.0) * 1000.0).round() as i64;
    jiff::Timestamp::from_millisecond(ms)
        .map_or_else(|_| seconds.to_string(), |timestamp| timestamp.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn asked(expr: &str, more: &[&str]) -> QueryArgs {
        use clap::Parser;
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            arguments: QueryArgs,
        }
        let line = [&["query", expr], more].concat();
        Line::try_parse_from(line).map(|line| line.arguments).unwrap()
    }

    #[test]
    fn a_question_becomes_a_form() {
        let form = |more: &[&str]| question(&asked("-up", more), 10_000_500);
        let (path, asked) = form(&[]).unwrap();
        let wanted = vec![("query", "-up".to_owned()), ("time", "10000.500".to_owned())];
        assert_eq!((path, asked), ("/api/v1/query", wanted));
        let (path, asked) = form(&["--range", "1h", "--time", "7200"]).unwrap();
        let of = |name| asked.iter().find(|(one, _)| *one == name).unwrap().1.as_str();
        assert_eq!(path, "/api/v1/query_range");
        assert_eq!((of("start"), of("end"), of("step")), ("3600.000", "7200.000", "14.400"));
        for (more, words) in [
            (["--range", "0s"], "--range \"0s\": write a number"),
            (["--time", "soon"], "--time \"soon\": write seconds"),
        ] {
            let error = form(&more).unwrap_err().to_string();
            assert!(error.starts_with(words), "{error}");
        }
    }

    #[test]
    fn a_refusal_points_at_its_place() {
        for (message, expr, wanted) in [
            (
                "invalid parameter \"query\": 1:4: parse error: unexpected end of input",
                "up{",
                "1:4: parse error: unexpected end of input\n  up{\n     ^",
            ),
            (
                "invalid parameter \"query\": 2:3: parse error: x",
                "sum(\n  é{",
                "2:3: parse error: x\n    é{\n    ^",
            ),
            (
                "query timed out in expression evaluation",
                "up",
                "query timed out in expression evaluation",
            ),
            ("bad at the end (1:2)", "up", "bad at the end (1:2)\n  up\n   ^"),
            ("9:1: nowhere", "up", "9:1: nowhere"),
        ] {
            assert_eq!(at_its_place(message, expr), wanted);
        }
    }

    #[test]
    fn answers_are_written_in_columns() {
        let vector = json!([
            {"metric": {"__name__": "up", "job": "a\"b"}, "value": [1, "1"]},
            {"metric": {}, "value": [1, "NaN"]},
            {"metric": {"__name__": "h"},
                "histogram": [1, {"count": "3", "sum": "4.5", "buckets": [[0, "1", "2", "3"]]}]},
        ]);
        assert_eq!(
            table(Some("vector"), &vector),
            "up{job=\"a\\\"b\"}  1\n{}              NaN\nh               count:3 sum:4.5 buckets:1\n"
        );
        let matrix = json!([{"metric": {"a": "b"}, "values": [[0, "1"], [1.5, "22"]]}]);
        assert_eq!(
            table(Some("matrix"), &matrix),
            "{a=\"b\"}\n  1970-01-01T00:00:00Z    1\n  1970-01-01T00:00:01.5Z  22\n"
        );
        assert_eq!(table(Some("scalar"), &json!([1, "+Inf"])), "+Inf\n");
    }
}
