//! Called as `logcli`: Loki's command-line client, its flags and its forms of output.
//!
//! `flags` has the command line, `form` how answers are written; here the server is asked.
//! Flags that would do nothing on a single server are taken and do nothing, those that would do
//! something else are refused with the reason. Colours are not written. What the original writes
//! with its log to stderr (the address, common labels) goes to stderr here too, without the time
//! before it.

mod flags;
mod form;

pub use flags::Logcli;

use super::loki::{Line, Loki, Server, pairs};
use super::page::{Order, Question, Window};
use super::{FOLLOW_BACK_NS, FOLLOW_EVERY, instant_ns, put};
use anyhow::{Context, Result, bail};
use flags::{Command, DeleteCommand, Mode, QueryArgs, ServerArgs, ShownArgs, Span, VolumeArgs};
use form::{Form, Pairs, batch, braces, indented};
use serde_json::Value;
use std::collections::HashSet;
use std::io::Read;
use vigie_http::state::now_ms;
use vigie_net::Method;

/// Does what was asked.
pub async fn run(cli: Logcli) -> Result<()> {
    cli.refuse_what_is_not_there()?;
    let asking = Asking { loki: Loki::new(server(&cli.server)?), cli: &cli };
    match &cli.command {
        Command::Query(query) => asking.query(query).await,
        Command::InstantQuery { query, now, limit, .. } => {
            asking.instant(query, now.as_deref(), *limit).await
        }
        Command::Labels { label, span } => asking.labels(label.as_deref(), span).await,
        Command::Series { matcher, analyze_labels, span } => {
            asking.series(matcher, *analyze_labels, span).await
        }
        Command::Stats { query, span } => asking.stats(query, span).await,
        Command::Volume(volume) => asking.volume(volume, None).await,
        Command::VolumeRange { volume, step } => asking.volume(volume, Some(step)).await,
        Command::DetectedFields { query, field, limit, line_limit, step, span } => {
            let form = [
                ("line_limit", line_limit.to_string()),
                ("limit", limit.to_string()),
                ("step", step.clone()),
            ];
            asking.fields(query, field.as_deref(), &form, span).await
        }
        Command::Fmt { query } => format_query(query.as_deref()),
        Command::Delete(command) => asking.delete(command).await,
    }
}

/// Prints a query in lines; it comes from stdin when it is not given.
fn format_query(query: Option<&str>) -> Result<()> {
    let mut text = query.unwrap_or("").to_owned();
    if query.is_none() {
        std::io::stdin().read_to_string(&mut text).context("stdin cannot be read")?;
    }
    match vigie_logql::parse(&text) {
        Ok(expr) => put(&format!("{}\n", vigie_logql::pretty(&expr))).map(drop),
        Err(error) => bail!("unable to format logql: failed to parse the query: {error}"),
    }
}

/// Whom to ask, with the headers that the flags and the environment name.
fn server(arguments: &ServerArgs) -> Result<Server> {
    let mut server = Server::at("--addr", &arguments.addr)?;
    let tokens = [&arguments.bearer_token, &arguments.bearer_token_file];
    let tokens = tokens.iter().filter(|text| !text.is_empty()).count();
    let has_user = !arguments.username.is_empty() || !arguments.password.is_empty();
    if has_user && tokens > 0 {
        bail!(
            "at most one of HTTP basic auth (username/password), bearer-token & bearer-token-file is allowed to be configured"
        );
    }
    if tokens > 1 {
        bail!(
            "at most one of the options bearer-token & bearer-token-file is allowed to be configured"
        );
    }
    let mut header = |name: &str, value: String| server.headers.push((name.to_owned(), value));
    if !arguments.username.is_empty() && !arguments.password.is_empty() {
        let pair = format!("{}:{}", arguments.username, arguments.password);
        let value = format!("Basic {}", vigie_net::base64(pair.as_bytes()));
        header(&arguments.auth_header, value);
    } else if !arguments.bearer_token.is_empty() {
        header(&arguments.auth_header, format!("Bearer {}", arguments.bearer_token));
    } else if !arguments.bearer_token_file.is_empty() {
        let path = &arguments.bearer_token_file;
        let token = std::fs::read_to_string(path)
            .with_context(|| format!("unable to read authorization credentials file {path}"))?;
        header(&arguments.auth_header, format!("Bearer {}", token.trim()));
    }
    for (name, value) in
        [("X-Scope-OrgID", &arguments.org_id), ("X-Query-Tags", &arguments.query_tags)]
    {
        if !value.is_empty() {
            header(name, value.clone());
        }
    }
    if arguments.nocache {
        header("Cache-Control", "no-cache".to_owned());
    }
    for text in &arguments.header {
        let Some((name, value)) = text.split_once(':') else {
            bail!("invalid header format: {text:?}. Expected format: 'Header-Name: value'");
        };
        if name.trim().is_empty() {
            bail!("header name cannot be empty in header: {text:?}");
        }
        header(name.trim(), value.trim().to_owned());
    }
    if !arguments.ca_cert.is_empty() {
        let path = &arguments.ca_cert;
        let pem = std::fs::read_to_string(path)
            .with_context(|| format!("--ca-cert: {path} cannot be read"))?;
        server.config.ca_pem = Some(pem);
    }
    server.config.insecure_skip_verify = arguments.tls_skip_verify;
    server.retries = arguments.retries;
    server.backoff_s = (arguments.min_backoff, arguments.max_backoff);
    Ok(server)
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
        self.loki.json(path, form).await.context("Error doing request")
    }

    fn form(&self, shown: &ShownArgs) -> Form {
        Form {
            mode: self.cli.output,
            zone: self.cli.timezone.tables(),
            time: self.cli.output_timestamp_format,
            no_labels: shown.no_labels,
        }
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
            return put(&indented(&answer["data"]["result"])?).map(drop);
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
        let all = arguments.limit == 0 || arguments.parallel_max_workers > 1;
        let limit = if all { usize::MAX } else { arguments.limit };
        let first = question.form(window, question.size.min(limit));
        self.say(&self.loki.address("/loki/api/v1/query_range", &first));
        if arguments.tail {
            return self.tail(arguments, question, window).await;
        }
        let form = self.form(&arguments.shown);
        // Nobody reads any more, as behind `head`: that is an end, not a failure.
        let mut is_read = true;
        let asked = question.pages(&self.loki, window, limit, |page| {
            let (said, written) = batch(&page, &arguments.shown, &form);
            said.iter().for_each(|text| self.say(text));
            for line in &written {
                is_read = is_read && put(line)?;
            }
            if is_read { Ok(()) } else { bail!("nobody reads") }
        });
        let asked = asked.await;
        if is_read { asked.context("Query failed") } else { Ok(()) }
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
        let (shown, form) = (&arguments.shown, self.form(&arguments.shown));
        for (names, what) in
            [(&shown.exclude_label, "Ignoring"), (&shown.include_label, "Print only")]
        {
            if !names.is_empty() {
                self.say(&format!("{what} labels key: {}", names.join(",")));
            }
        }
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
                let mut labels = line.labels.clone();
                let include = &shown.include_label;
                labels.retain(|(name, _)| include.is_empty() || include.contains(name));
                labels.retain(|(name, _)| !shown.exclude_label.contains(name));
                if !put(&form.line(&line, &labels, shown.labels_length))? {
                    return Ok(());
                }
                seen.insert(line);
            }
            seen.retain(|line| line.ts_ns >= start_ns);
            tokio::time::sleep(FOLLOW_EVERY).await;
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
        put(&indented(&answer["data"]["result"])?).map(drop)
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

    async fn series(&self, matcher: &str, analyze: bool, span: &Span) -> Result<()> {
        let mut form = over(span.window()?, None);
        form.insert(1, ("match", matcher.to_owned()));
        let answer = self.ask("/loki/api/v1/series", &form).await?;
        let series: Vec<Pairs> =
            answer["data"].as_array().into_iter().flatten().map(pairs).collect();
        if analyze {
            return put(&form::label_table(&series)).map(drop);
        }
        for one in &series {
            if !put(&format!("{}\n", braces(one)))? {
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
            form::human_bytes(number("bytes")),
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
        put(&indented(&answer["data"]["result"])?).map(drop)
    }

    async fn fields(
        &self,
        query: &str,
        field: Option<&str>,
        extra: &[(&str, String)],
        span: &Span,
    ) -> Result<()> {
        let mut form = over(span.window()?, Some(query));
        form.extend(extra.iter().map(|(name, value)| (*name, value.clone())));
        let path = match field {
            Some(name) => {
                format!("/loki/api/v1/detected_field/{}/values", crate::client::encode(name))
            }
            None => "/loki/api/v1/detected_fields".to_owned(),
        };
        let answer = self.ask(&path, &form).await?;
        match self.cli.output {
            Mode::Raw => put(&format!("{}\n", form::go_json(&answer.to_string()))).map(drop),
            _ => put(&form::fields(&answer)).map(drop),
        }
    }

    async fn delete(&self, command: &DeleteCommand) -> Result<()> {
        const PATH: &str = "/loki/api/v1/delete";
        let tell = |text: String| if self.cli.quiet { Ok(true) } else { put(&text) };
        match command {
            DeleteCommand::Create { query, max_interval, span } => {
                let window = span.window()?;
                let seconds = |ns: i64| ns.div_euclid(1_000_000_000).to_string();
                let mut form = vec![
                    ("end", seconds(window.end_ns)),
                    ("query", query.clone()),
                    ("start", seconds(window.start_ns)),
                ];
                form.extend(max_interval.iter().map(|text| ("max_interval", text.clone())));
                self.say(&self.loki.address(PATH, &form));
                let done = self.loki.request(Method::POST, PATH, &form).await;
                done.context("Error creating delete request")?;
                tell("Delete request created successfully\n".to_owned())?;
            }
            DeleteCommand::List => {
                let answer = self.ask(PATH, &[]).await.context("Error listing delete requests")?;
                let text = match self.cli.output {
                    Mode::Jsonl => form::deletions_json(&answer)?,
                    _ => {
                        let zone = self.cli.timezone.tables();
                        form::deletions(&answer, &zone, self.cli.quiet)
                    }
                };
                put(&text)?;
            }
            DeleteCommand::Cancel { request_id, force } => {
                let mut form = vec![("request_id", request_id.clone())];
                form.extend(force.then(|| ("force", "true".to_owned())));
                self.say(&self.loki.address(PATH, &form));
                let done = self.loki.request(Method::DELETE, PATH, &form).await;
                done.context("Error cancelling delete request")?;
                tell(format!("Delete request {request_id} cancelled successfully\n"))?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn parsed(line: &str) -> Logcli {
        let parsed = Logcli::try_parse_from(line.split(' '));
        parsed.unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    #[test]
    fn the_originals_flags_are_taken() {
        for line in [
            r#"logcli query {app="a"} --limit=10 --since=2h -o raw --quiet"#,
            r#"logcli --addr=http://x:1 query --tail {app="a"} --no-labels --forward"#,
            r#"logcli query -t {app="a"} --delay-for=2 --timezone=UTC --output-timestamp-format=rfc3339nano"#,
            r#"logcli query -f {app="a"} --parallel-duration=15m --parallel-max-workers=4 --colored-output"#,
            r#"logcli query {app="a"} --include-label=a --exclude-label b --labels-length=3 --include-common-labels -z Local --log.level=debug --stats"#,
            r#"logcli instant-query rate({app="a"}[5m]) --now=2026-01-01T00:00:00Z --limit=5 --no-labels"#,
            "logcli labels job --from=2026-01-01T00:00:00Z --to=2026-01-02T00:00:00Z",
            r#"logcli series {app="a"} --analyze-labels --since=1h"#,
            r#"logcli volume_range {app="a"} --step=1m --targetLabels=app,env"#,
            r#"logcli detected-fields {app="a"} status --line-limit=5 --step=1m"#,
            r#"logcli delete create {app="a"} --since=1h --max-interval=1h"#,
            "logcli delete list -o jsonl",
            "logcli delete cancel --request-id=1 --force",
            "logcli fmt",
            "logcli labels --retries=3 --min-backoff=1 --max-backoff=5 --compress --nocache --query-tags=a=b --header=A:b",
        ] {
            assert!(parsed(line).refuse_what_is_not_there().is_ok(), "{line}");
        }
        for line in ["logcli tail", "logcli query", "logcli delete cancel", "logcli labels -o json"]
        {
            assert!(Logcli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }

    #[test]
    fn flags_that_would_do_something_else_are_refused() {
        for flag in [
            "--stdin",
            "--cpuprofile=x",
            "--cert=x",
            "--proxy-url=http://x",
            "--part-path-prefix=x",
            "--merge-parts",
            "--store-config=x",
        ] {
            let refused = parsed(&format!("logcli query {{}} {flag}")).refuse_what_is_not_there();
            let words = refused.unwrap_err().to_string();
            assert!(words.starts_with(flag.split('=').next().unwrap()), "{words}");
        }
    }

    #[test]
    fn headers_say_who_asks() {
        let headers = |flags: &str| {
            let cli = parsed(&format!("logcli labels {flags}"));
            server(&cli.server).map(|server| server.headers).map_err(|error| error.to_string())
        };
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(headers("--quiet").unwrap(), []);
        assert_eq!(
            headers("--username=u --password=p --org-id=t --nocache --header=X-A:b").unwrap(),
            [
                pair("Authorization", "Basic dTpw"),
                pair("X-Scope-OrgID", "t"),
                pair("Cache-Control", "no-cache"),
                pair("X-A", "b")
            ]
        );
        assert_eq!(
            headers("--bearer-token=t --auth-header=X-Auth --query-tags=a=b").unwrap(),
            [pair("X-Auth", "Bearer t"), pair("X-Query-Tags", "a=b")]
        );
        for (flags, words) in [
            ("--username=u --bearer-token=t", "at most one of HTTP basic auth"),
            ("--bearer-token=t --bearer-token-file=x", "at most one of the options"),
            ("--header=nothing", "invalid header format"),
            ("--header=:x", "header name cannot be empty"),
        ] {
            let refused = headers(flags).unwrap_err();
            assert!(refused.starts_with(words), "{refused}");
        }
    }
}
