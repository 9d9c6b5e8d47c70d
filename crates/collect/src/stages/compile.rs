//! Stages as they are run, made of stages as they are written.

use super::{Bucket, Item, Stamp};
use regex::bytes::Regex;
use vigie_config::stages::{Action, Drop, Limit, Match, Names, OnFailure, Stage, Timestamp};
use vigie_logql::{Follower, parse};
use vigie_model::{go_quote, regexp};

/// Where a text is taken from: a name, or the line.
pub(super) type Source = Option<String>;

/// A stage, ready to run.
pub(super) enum Compiled {
    Parse {
        source: Source,
        query: Follower,
        /// Names, and what the query calls them.
        names: Vec<(String, String)>,
        drop_malformed: bool,
    },
    Replace {
        source: Source,
        regex: Regex,
        query: Follower,
    },
    Template {
        source: String,
        query: Follower,
    },
    Labels(Vec<(String, String)>),
    Metadata(Vec<(String, String)>),
    Static(Vec<(String, String)>),
    LabelDrop(Vec<String>),
    LabelAllow(Vec<String>),
    Timestamp(Stamp),
    Output(String),
    Decolorize(Follower),
    Drop(Test),
    Match {
        query: Follower,
        stages: Vec<Compiled>,
        drops: bool,
    },
    Pack {
        names: Vec<String>,
        stamps: bool,
    },
    Sampling(f64),
    Limit(Bucket),
    /// One after the other.
    All(Vec<Compiled>),
    Nothing,
}

/// Docker's JSON lines, as stages.
const DOCKER: &str = "| json log=\"log\", stream=\"stream\", time=\"time\"";
/// The lines of a container runtime. A line that it cut in parts stays in parts.
const CRI: &str =
    "(?s)^(?P<time>\\S+?) (?P<stream>stdout|stderr) (?P<flags>\\S+?) (?P<content>.*)$";

impl Compiled {
    pub(super) fn new(stage: &Stage) -> Result<Compiled, String> {
        Ok(match stage {
            Stage::Docker(_) => container(query(DOCKER)?, "log")?,
            Stage::Cri(_) => container(query(&format!("| regexp {}", go_quote(CRI)))?, "content")?,
            Stage::Regex(regex) => {
                let compiled = compiled(&regex.expression)?;
                let names = compiled.capture_names().flatten();
                let names: Vec<_> = names.map(|one| (one.to_owned(), one.to_owned())).collect();
                if names.is_empty() {
                    return Err("regex: the expression needs a named group".to_owned());
                }
                let stages = format!("| regexp {}", go_quote(&regex.expression));
                parser(&regex.source, &stages, names, false)?
            }
            Stage::Json(json) => {
                let (stages, names) = expressions(&json.expressions);
                parser(&json.source, &format!("| json {stages}"), names, json.drop_malformed)?
            }
            Stage::Logfmt(logfmt) => {
                let (stages, names) = expressions(&logfmt.mapping);
                parser(&logfmt.source, &format!("| logfmt {stages}"), names, false)?
            }
            Stage::Replace(replace) => Compiled::Replace {
                source: replace.source.clone(),
                regex: compiled(&replace.expression)?,
                query: template(&replace.replace)?,
            },
            Stage::Template(one) => {
                Compiled::Template { source: one.source.clone(), query: template(&one.template)? }
            }
            Stage::Labels(names) => Compiled::Labels(pairs(names)),
            Stage::StructuredMetadata(names) => Compiled::Metadata(pairs(names)),
            Stage::StaticLabels(labels) => {
                let some = labels.iter().filter_map(|(name, value)| {
                    Some((name.clone(), value.clone().filter(|value| !value.is_empty())?))
                });
                Compiled::Static(some.collect())
            }
            Stage::LabelDrop(names) => Compiled::LabelDrop(names.clone()),
            Stage::LabelAllow(names) => Compiled::LabelAllow(names.clone()),
            Stage::Timestamp(stamp) => Compiled::Timestamp(Stamp::new(stamp)),
            Stage::Output(output) => Compiled::Output(output.source.clone()),
            Stage::Decolorize(_) => Compiled::Decolorize(query("| decolorize")?),
            Stage::Drop(drop) => Compiled::Drop(Test::new(drop)?),
            Stage::Match(wanted) => matching(wanted)?,
            Stage::Pack(pack) => {
                Compiled::Pack { names: pack.labels.clone(), stamps: pack.ingest_timestamp }
            }
            Stage::Sampling(sampling) if (0.0..=1.0).contains(&sampling.rate) => {
                Compiled::Sampling(sampling.rate)
            }
            Stage::Sampling(_) => {
                return Err("sampling: the rate must be between 0 and 1".to_owned());
            }
            Stage::Limit(limit) => Compiled::Limit(bucket(limit)?),
            Stage::Tenant(_) => Compiled::Nothing,
        })
    }
}

/// A query of some stages; the selector is never asked.
fn query(stages: &str) -> Result<Follower, String> {
    let text = format!("{{stage=\"any\"}} {stages}");
    let expr = parse(&text).map_err(|error| error.to_string())?;
    Follower::new(&expr).map_err(|error| error.to_string())
}

fn parser(
    source: &Source,
    stages: &str,
    names: Vec<(String, String)>,
    drop_malformed: bool,
) -> Result<Compiled, String> {
    Ok(Compiled::Parse { source: source.clone(), query: query(stages)?, names, drop_malformed })
}

/// What a container's runtime writes around a line: the stages that take it off again.
fn container(query: Follower, content: &str) -> Result<Compiled, String> {
    let names = ["stream", "time", content].map(|one| (one.to_owned(), one.to_owned())).into();
    let parse = Compiled::Parse { source: None, query, names, drop_malformed: false };
    let time = Timestamp {
        source: "time".to_owned(),
        format: "RFC3339Nano".to_owned(),
        fallback_formats: Vec::new(),
        location: None,
        action_on_failure: OnFailure::Fudge,
    };
    let stages = vec![
        parse,
        Compiled::Labels(vec![("stream".to_owned(), "stream".to_owned())]),
        Compiled::Timestamp(Stamp::new(&time)),
        Compiled::Output(content.to_owned()),
    ];
    Ok(Compiled::All(stages))
}

/// A template as a query's stage, whose line is what it writes.
fn template(text: &str) -> Result<Follower, String> {
    query(&format!("| line_format {}", go_quote(text)))
}

/// `name="path", …`, and the names; names that LogQL would not take get numbers.
fn expressions(written: &Names) -> (String, Vec<(String, String)>) {
    let (mut stages, mut names) = (Vec::new(), Vec::new());
    for (at, (name, path)) in written.iter().enumerate() {
        let path = path.as_deref().filter(|path| !path.is_empty()).unwrap_or(name);
        stages.push(format!("found_{at}={}", go_quote(path)));
        names.push((name.clone(), format!("found_{at}")));
    }
    (stages.join(", "), names)
}

/// Names and their sources, which are the names themselves when nothing is written.
fn pairs(names: &Names) -> Vec<(String, String)> {
    let source = |name: &String, source: &Option<String>| {
        source.clone().filter(|text| !text.is_empty()).unwrap_or_else(|| name.clone())
    };
    names.iter().map(|(name, from)| (name.clone(), source(name, from))).collect()
}

fn compiled(expression: &str) -> Result<Regex, String> {
    regexp::in_line(expression)
        .map_err(|error| format!("could not compile regular expression: {error}"))
}

fn matching(wanted: &Match) -> Result<Compiled, String> {
    let expr = parse(&wanted.selector)
        .map_err(|error| format!("invalid selector syntax for match stage: {error}"))?;
    let query = Follower::new(&expr).map_err(|error| error.to_string())?;
    let drops = wanted.action == Action::Drop;
    match (drops, wanted.stages.is_empty()) {
        (false, true) => {
            Err("match stage requires at least one additional stage to be defined in '- stages'"
                .to_owned())
        }
        (true, false) => {
            Err("match stage configured to drop entries cannot contains stages".to_owned())
        }
        _ => {
            let stages = wanted.stages.iter().map(Compiled::new).collect::<Result<_, _>>()?;
            Ok(Compiled::Match { query, stages, drops })
        }
    }
}

fn bucket(limit: &Limit) -> Result<Bucket, String> {
    if !limit.drop {
        return Err(
            "limit: lines are not held back, a file waits by itself: write `drop: true`".to_owned()
        );
    }
    if !(limit.rate > 0.0 && limit.rate.is_finite()) || limit.burst == 0 {
        return Err("limit: rate and burst must be greater than zero".to_owned());
    }
    Ok(Bucket::new(limit.rate, limit.burst.into()))
}

impl Stamp {
    pub(super) fn new(stamp: &Timestamp) -> Stamp {
        Stamp {
            source: stamp.source.clone(),
            formats: std::iter::once(&stamp.format)
                .chain(&stamp.fallback_formats)
                .cloned()
                .collect(),
            zone: stamp.location.clone().unwrap_or_default(),
            fudges: stamp.action_on_failure == OnFailure::Fudge,
            newest: Default::default(),
        }
    }
}

/// A `drop` stage's conditions, all of which must hold.
pub(super) struct Test {
    sources: Vec<String>,
    separator: String,
    regex: Option<Regex>,
    older_than_ms: Option<i64>,
    longer_than_bytes: Option<u64>,
}

impl Test {
    fn new(drop: &Drop) -> Result<Test, String> {
        let nothing = drop.source.is_empty()
            && drop.expression.is_none()
            && drop.older_than.is_none()
            && drop.longer_than.is_none();
        if nothing {
            return Err("drop stage config must contain at least one of `source`, `expression`, `older_than` or `longer_than`".to_owned());
        }
        let regex = match (&drop.value, &drop.expression) {
            (Some(_), Some(_)) => {
                return Err("only one of `value` or `expression` can be specified".to_owned());
            }
            (Some(_), None) if drop.source.is_empty() => {
                return Err("source is required if `value` is specified".to_owned());
            }
            (Some(value), None) => Some(compiled(&format!("^{}$", regex::escape(value)))?),
            (None, expression) => expression.as_deref().map(compiled).transpose()?,
        };
        Ok(Test {
            sources: drop.source.clone(),
            separator: drop.separator.clone().unwrap_or_else(|| ";".to_owned()),
            regex,
            older_than_ms: drop.older_than,
            longer_than_bytes: drop.longer_than,
        })
    }

    pub(super) fn holds(&self, item: &Item, now_ns: i64) -> bool {
        if self.longer_than_bytes.is_some_and(|most| item.line.len() as u64 <= most) {
            return false;
        }
        let before_ns = |age_ms: i64| now_ns.saturating_sub(age_ms.saturating_mul(1_000_000));
        if self.older_than_ms.is_some_and(|age_ms| item.ts_ns >= before_ns(age_ms)) {
            return false;
        }
        let texts = self.sources.iter().filter_map(|name| item.extracted.get(name));
        match (&self.regex, self.sources.is_empty()) {
            (None, true) => true,
            (None, false) => texts.count() == self.sources.len(),
            (Some(regex), true) => regex.is_match(item.line.as_bytes()),
            (Some(regex), false) => {
                let texts: Vec<&str> = texts.map(String::as_str).collect();
                !texts.is_empty() && regex.is_match(texts.join(&self.separator).as_bytes())
            }
        }
    }
}
