//! `vigie import loki URL`: a Loki's lines, copied over its API.
//!
//! Lines are read oldest first, page by page, their labels and their structured metadata told
//! apart, and pushed; how far it came is written down after every page, so that the same command
//! goes on where it stopped. Pages overlap by an instant, and a line that Vigie has already is not
//! stored twice. In the end both are asked how many lines they have, hour by hour as the server
//! allows, and what differs is said.

use super::loki::{Line, Loki, Server};
use super::page::{Order, PAGE_LINES, Question, Window};
use super::{duration_ns, instant_ns};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;
use vigie_http::state::now_ms;

/// The widest range asked for at once: servers refuse wide ones (Loki's `max_query_length` is 30 days).
const WINDOW_NS: i64 = 24 * 3_600_000_000_000;
/// What the bar is wide.
const BAR: usize = 30;

/// What is imported.
#[derive(Debug, Clone, Subcommand)]
pub enum Import {
    /// Copy a Loki's lines.
    Loki(LokiArgs),
}

/// Flags of `import loki`.
#[derive(Debug, Clone, Args)]
pub struct LokiArgs {
    /// The Loki to copy from, for example http://localhost:3100.
    #[arg(value_name = "URL")]
    pub source: String,
    /// Only these streams. [default: all]
    #[arg(long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// How far back, when --from is not given.
    #[arg(long, value_name = "DURATION", default_value = "7d")]
    pub since: String,
    /// The first instant.
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// The first instant no longer wanted. [default: now]
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// The tenant to read (X-Scope-OrgID).
    #[arg(long = "org-id", value_name = "ID")]
    pub org_id: Option<String>,
    /// Where it is written down how far the copy came.
    #[arg(long, value_name = "FILE", default_value = "vigie-import.json")]
    pub state: PathBuf,
    /// The Vigie to copy to. [default: http://127.0.0.1:9090]
    #[arg(long, env = "VIGIE_URL", value_name = "URL")]
    pub url: Option<String>,
}

/// What is written down: what is copied, and how far it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Progress {
    source: String,
    target: String,
    selector: String,
    start_ns: i64,
    end_ns: i64,
    at_ns: i64,
    lines: u64,
}

/// Copies.
pub async fn import(what: Import) -> Result<()> {
    let Import::Loki(arguments) = what;
    let mut server = Server::at("URL", &arguments.source)?;
    server
        .headers
        .extend(arguments.org_id.iter().map(|id| ("X-Scope-OrgID".to_owned(), id.clone())));
    let target = Server::of_vigie(arguments.url.as_deref())?;
    let (source_url, target_url) = (server.url.clone(), target.url.clone());
    let (source, target) = (Loki::new(server), Loki::new(target));
    let mut progress = begin(&arguments, &source, source_url, target_url).await?;
    let mut bar = Bar::new(&progress);
    while progress.at_ns < progress.end_ns {
        let end_ns = progress.end_ns.min(progress.at_ns.saturating_add(WINDOW_NS));
        let window = Window { start_ns: progress.at_ns, end_ns };
        copy(&source, &target, window, &mut progress, &arguments.state, &mut bar).await?;
        progress.at_ns = end_ns;
        write_down(&arguments.state, &progress)?;
    }
    bar.end(&progress);
    compare(&source, &target, &progress).await?;
    std::fs::remove_file(&arguments.state)
        .with_context(|| format!("cannot remove {}", arguments.state.display()))
}

/// A new copy, or the one that was not finished.
async fn begin(
    arguments: &LokiArgs,
    source: &Loki,
    source_url: String,
    target_url: String,
) -> Result<Progress> {
    let known = match std::fs::read(&arguments.state) {
        Ok(bytes) => Some(serde_json::from_slice::<Progress>(&bytes).with_context(|| {
            let path = arguments.state.display();
            format!("{path} is not what an import wrote: name another file with --state")
        })?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(|| arguments.state.display().to_string()),
    };
    if let Some(known) = known {
        let same_selector = arguments.selector.as_ref().is_none_or(|one| *one == known.selector);
        if known.source != source_url || known.target != target_url || !same_selector {
            bail!(
                "{} belongs to a copy of {} that is not finished: remove it, or name another file with --state",
                arguments.state.display(),
                known.source
            );
        }
        eprintln!("Going on after {} lines.", known.lines);
        return Ok(known);
    }
    let end_ns = match &arguments.to {
        Some(text) => instant_ns("--to", text)?,
        None => now_ms().saturating_mul(1_000_000),
    };
    let start_ns = match &arguments.from {
        Some(text) => instant_ns("--from", text)?,
        None => end_ns.saturating_sub(duration_ns("--since", &arguments.since)?),
    };
    let selector = match &arguments.selector {
        Some(selector) => selector.clone(),
        None => everything(source, Window { start_ns, end_ns }).await?,
    };
    vigie_logql::parse_selector(&selector)
        .map_err(|error| anyhow::anyhow!("--selector {selector:?}: {error}"))?;
    Ok(Progress {
        source: source_url,
        target: target_url,
        selector,
        start_ns,
        end_ns,
        at_ns: start_ns,
        lines: 0,
    })
}

/// A selector that every stream fulfils: one label has to be on all of them.
async fn everything(source: &Loki, window: Window) -> Result<String> {
    let form = [("start", window.start_ns.to_string()), ("end", window.end_ns.to_string())];
    let answer = source.json("/loki/api/v1/labels", &form).await?;
    let names: Vec<&str> =
        answer["data"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    // Loki adds this one itself since 3.0.
    match ["service_name", "job"].into_iter().find(|name| names.contains(name)) {
        Some(name) => Ok(format!("{{{name}=~\".+\"}}")),
        None if names.is_empty() => bail!("there are no lines from then to then"),
        None => bail!(
            "no label is on every stream for sure: say with --selector what to copy; the labels are {}",
            names.join(", ")
        ),
    }
}

async fn copy(
    source: &Loki,
    target: &Loki,
    window: Window,
    progress: &mut Progress,
    state: &Path,
    bar: &mut Bar,
) -> Result<()> {
    let selector = progress.selector.clone();
    let question = Question {
        query: &selector,
        order: Order::Forward,
        size: PAGE_LINES,
        categorize: true,
        extra: &[],
    };
    let mut from = window;
    loop {
        let page = question.page(source, from, PAGE_LINES).await?;
        let Some(last_ns) = page.last().map(|line| line.ts_ns) else { return Ok(()) };
        target.push(body(&page)).await.context("cannot store the lines")?;
        let is_last = page.len() < PAGE_LINES;
        // The lines of the last instant come again with the next page, but for the last page.
        let again = page.iter().rev().take_while(|line| line.ts_ns == last_ns).count();
        progress.lines += (page.len() - if is_last { 0 } else { again }) as u64;
        progress.at_ns = last_ns;
        write_down(state, progress)?;
        bar.show(progress);
        if is_last {
            return Ok(());
        }
        if again == page.len() {
            bail!(
                "{PAGE_LINES} lines or more have the same instant, {last_ns}, and {} hands out no more: copy the streams one by one with --selector",
                progress.source
            );
        }
        from.start_ns = last_ns;
    }
}

/// The lines as a push.
fn body(lines: &[Line]) -> String {
    let mut streams: BTreeMap<&[(String, String)], Vec<Value>> = BTreeMap::new();
    let object = |pairs: &[(String, String)]| -> Value {
        pairs.iter().cloned().map(|(name, value)| (name, Value::from(value))).collect()
    };
    for line in lines {
        let mut value = vec![Value::from(line.ts_ns.to_string()), Value::from(line.text.as_str())];
        if !line.metadata.is_empty() {
            value.push(object(&line.metadata));
        }
        streams.entry(&line.labels).or_default().push(Value::Array(value));
    }
    let streams: Vec<Value> = streams
        .into_iter()
        .map(|(labels, values)| json!({"stream": object(labels), "values": values}))
        .collect();
    json!({ "streams": streams }).to_string()
}

/// Written whole under another name first: a power cut leaves the old or the new one.
fn write_down(path: &Path, progress: &Progress) -> Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    let fresh = path.with_extension("new");
    let mut file = std::fs::File::create(&fresh).with_context(cannot)?;
    file.write_all(&serde_json::to_vec(progress)?).with_context(cannot)?;
    file.sync_all().with_context(cannot)?;
    std::fs::rename(&fresh, path).with_context(cannot)
}

/// Asks both how many lines they have.
async fn compare(source: &Loki, target: &Loki, progress: &Progress) -> Result<()> {
    let (mut at_ns, mut sums, mut wrong) = (progress.start_ns, (0.0, 0.0), Vec::new());
    while at_ns < progress.end_ns {
        let end_ns = progress.end_ns.min(at_ns.saturating_add(WINDOW_NS));
        let theirs = count(source, &progress.selector, at_ns, end_ns).await?;
        let ours = count(target, &progress.selector, at_ns, end_ns).await?;
        if theirs != ours {
            let from = super::loki::rfc3339_ns(at_ns);
            wrong
                .push(format!("from {from} on there are {theirs} lines, of which {ours} are here"));
        }
        sums = (sums.0 + theirs, sums.1 + ours);
        at_ns = end_ns;
    }
    println!("{} lines there, {} lines here, {} of them read now.", sums.0, sums.1, progress.lines);
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("the counts differ: {}", wrong.join("; "))
}

/// The lines from an instant to another, which is not in it.
async fn count(loki: &Loki, selector: &str, start_ns: i64, end_ns: i64) -> Result<f64> {
    // A window has its end and not its start: both are a nanosecond earlier than asked for.
    let width_ms = (end_ns - start_ns) / 1_000_000;
    let form = [
        ("query", format!("sum(count_over_time({selector}[{}ms]))", width_ms.max(1))),
        ("time", (end_ns - 1).to_string()),
    ];
    let answer = loki.json("/loki/api/v1/query", &form).await?;
    let text = answer["data"]["result"][0]["value"][1].as_str().unwrap_or("0");
    text.parse().with_context(|| format!("{text:?} is not a number of lines"))
}

/// How far it is, on stderr.
struct Bar {
    started: Instant,
    lines_before: u64,
    tenth: u64,
    draws: bool,
}

impl Bar {
    fn new(progress: &Progress) -> Bar {
        let draws = std::io::stderr().is_terminal();
        Bar { started: Instant::now(), lines_before: progress.lines, tenth: 0, draws }
    }

    fn show(&mut self, progress: &Progress) {
        let whole = (progress.end_ns - progress.start_ns).max(1) as f64;
        let part = ((progress.at_ns - progress.start_ns) as f64 / whole).clamp(0.0, 1.0);
        let seconds = self.started.elapsed().as_secs_f64().max(0.001);
        let speed = (progress.lines - self.lines_before) as f64 / seconds;
        let text = format!("{:3.0} %  {} lines, {speed:.0} a second", part * 100.0, progress.lines);
        if self.draws {
            let full = (part * BAR as f64) as usize;
            eprint!("\r[{}{}] {text}  ", "#".repeat(full), ".".repeat(BAR - full));
        } else if (part * 10.0) as u64 > self.tenth {
            self.tenth = (part * 10.0) as u64;
            eprintln!("{text}");
        }
    }

    fn end(&mut self, progress: &Progress) {
        self.show(&Progress { at_ns: progress.end_ns, ..progress.clone() });
        if self.draws {
            eprintln!();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_becomes_a_push_with_its_metadata() {
        let line = |text: &str, metadata: &[(&str, &str)]| Line {
            ts_ns: 7,
            labels: vec![("app".to_owned(), "a".to_owned())],
            metadata: metadata.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect(),
            text: text.to_owned(),
        };
        assert_eq!(
            body(&[line("x", &[]), line("y\"", &[("t", "1")])]),
            r#"{"streams":[{"stream":{"app":"a"},"values":[["7","x"],["7","y\"",{"t":"1"}]]}]}"#
        );
    }
}
