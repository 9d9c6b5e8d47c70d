//! The functions of rule templates (Prometheus' set) and of messages (Alertmanager's set).

use crate::data::{self, nanoseconds, type_of};
use crate::methods::{self, error};
use crate::moment::{self, Moment};
use crate::rewrite::{CALL, GET, NUMBER, PRINT, SHOW};
use crate::{RuleContext, humanize};
use gotmpl::{FuncMap, TemplateError, Value, ValueFunc};
use regex::Regex;
use std::sync::{Arc, LazyLock};
use vigie_model::duration::parse_duration_ms;

type Answer = Result<Value, TemplateError>;

/// The functions that both sets have, and our own lookups.
static COMMON: LazyLock<FuncMap> = LazyLock::new(|| {
    functions([
        (GET, plain(|args| methods::lookup(arg(args, 0)?, text(args, 1)?, &[]))),
        (
            CALL,
            plain(|args| {
                methods::lookup(arg(args, 0)?, text(args, 1)?, args.get(2..).unwrap_or(&[]))
            }),
        ),
        (SHOW, plain(|args| Ok(methods::shown(arg(args, 0)?)))),
        (PRINT, plain(|args| Ok(methods::printed(arg(args, 0)?)))),
        (NUMBER, plain(|args| Ok(methods::number(arg(args, 0)?)))),
        ("toUpper", plain(|args| Ok(data::text(&text(args, 0)?.to_uppercase())))),
        ("toLower", plain(|args| Ok(data::text(&text(args, 0)?.to_lowercase())))),
        ("title", plain(|args| Ok(data::text(&title(text(args, 0)?))))),
        ("safeHtml", plain(|args| Ok(arg(args, 0)?.clone()))),
        ("match", plain(|args| Ok(Value::Bool(regex(text(args, 0)?)?.is_match(text(args, 1)?))))),
        (
            "reReplaceAll",
            plain(|args| {
                let replaced = regex(text(args, 0)?)?.replace_all(text(args, 2)?, text(args, 1)?);
                Ok(data::text(&replaced))
            }),
        ),
        (
            "humanizeDuration",
            plain(|args| Ok(data::text(&humanize::humanize_duration(number(args, 0)?)))),
        ),
    ])
});

/// What only rules have, apart from what depends on the rule.
static RULES: LazyLock<FuncMap> = LazyLock::new(|| {
    let mut set = COMMON.clone();
    set.extend(functions([
        ("humanize", plain(|args| Ok(data::text(&humanize(number(args, 0)?))))),
        ("humanize1024", plain(|args| Ok(data::text(&humanize::humanize_1024(number(args, 0)?))))),
        (
            "humanizePercentage",
            plain(|args| Ok(data::text(&humanize::humanize_percentage(number(args, 0)?)))),
        ),
        ("humanizeTimestamp", plain(humanize_timestamp)),
        ("toTime", plain(|args| Ok(Moment::from_ns(seconds_to_ns(number(args, 0)?)?).to_value()))),
        ("toDuration", plain(|args| Ok(moment::duration(seconds_to_ns(number(args, 0)?)?)))),
        ("parseDuration", plain(parse_duration)),
        (
            "first",
            plain(|args| match arg(args, 0)? {
                Value::List(items) if !items.is_empty() => Ok(items[0].clone()),
                _ => Err(error("error calling first: first() called on vector with no elements")),
            }),
        ),
        ("label", plain(|args| methods::lookup(&sample_labels(args, 1)?, text(args, 0)?, &[]))),
        ("value", plain(|args| Ok(arg(args, 0)?.field("Value").cloned().unwrap_or(Value::Nil)))),
        ("strvalue", plain(|args| methods::lookup(&sample_labels(args, 0)?, "__value__", &[]))),
        ("sortByLabel", plain(sort_by_label)),
        (
            "args",
            plain(|args| {
                let names: Vec<String> = (0..args.len()).map(|at| format!("arg{at}")).collect();
                Ok(data::map(names.iter().map(String::as_str).zip(args.iter().cloned())))
            }),
        ),
        ("stripPort", plain(|args| Ok(data::text(split_port(text(args, 0)?).0)))),
        ("stripDomain", plain(|args| Ok(data::text(&strip_domain(text(args, 0)?))))),
        ("graphLink", plain(|args| Ok(data::text(&graph_link(text(args, 0)?, 0))))),
        ("tableLink", plain(|args| Ok(data::text(&graph_link(text(args, 0)?, 1))))),
        ("urlQueryEscape", plain(|args| Ok(data::text(&gotmpl::url_encode(text(args, 0)?))))),
    ]));
    set
});

/// What only messages have, apart from what depends on the clock.
static MESSAGES: LazyLock<FuncMap> = LazyLock::new(|| {
    let mut set = COMMON.clone();
    set.extend(functions([
        ("trimSpace", plain(|args| Ok(data::text(text(args, 0)?.trim())))),
        ("join", plain(join)),
        ("stringSlice", plain(|args| Ok(Value::List(args.to_vec().into())))),
        ("list", plain(|args| Ok(Value::List(args.to_vec().into())))),
        ("safeUrl", plain(|args| Ok(arg(args, 0)?.clone()))),
        (
            "date",
            plain(|args| {
                methods::lookup(arg(args, 1)?, "Format", std::slice::from_ref(arg(args, 0)?))
            }),
        ),
        (
            "tz",
            plain(|args| {
                let at = Moment::of(arg(args, 1)?).ok_or_else(|| error("tz needs a time"))?;
                Ok(at.in_zone(text(args, 0)?).to_value())
            }),
        ),
        ("toJson", plain(|args| Ok(data::text(&to_json(arg(args, 0)?).to_string())))),
    ]));
    set
});

/// The functions of a rule's labels and annotations.
pub(crate) fn for_rules(context: &RuleContext) -> FuncMap {
    let mut set = RULES.clone();
    let now_s = context.now_ms as f64 / 1000.0;
    let url = context.external_url.trim_end_matches('/').to_owned();
    let path = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
    let path = path.find('/').map_or(String::new(), |at| path[at..].to_owned());
    let query = context.query.clone();
    set.extend(functions([
        ("now", plain(move |_| Ok(Value::Float(now_s)))),
        ("externalURL", plain(move |_| Ok(data::text(&url)))),
        ("pathPrefix", plain(move |_| Ok(data::text(&path)))),
        (
            "query",
            plain(move |args| {
                let Some(query) = &query else {
                    return Err(error("error calling query: no query is possible here"));
                };
                let found = query(text(args, 0)?)
                    .map_err(|reason| error(format!("error calling query: {reason}")))?;
                Ok(Value::List(found.iter().map(|(labels, v)| data::sample(labels, *v)).collect()))
            }),
        ),
    ]));
    set
}

/// The functions of a message's templates.
pub(crate) fn for_messages(now_ms: i64) -> FuncMap {
    let mut set = MESSAGES.clone();
    let now_ns = now_ms.saturating_mul(1_000_000);
    set.extend(functions([
        ("now", plain(move |_| Ok(Moment::from_ns(now_ns).to_value()))),
        (
            "since",
            plain(move |args| {
                let at = Moment::of(arg(args, 0)?).ok_or_else(|| error("since needs a time"))?;
                Ok(moment::duration(now_ns.saturating_sub(at.ns())))
            }),
        ),
    ]));
    set
}

/// What a rewritten template calls where there are no label sets and no alerts: the lookups of
/// plain maps and of Go's times.
pub(crate) fn plain_methods() -> FuncMap {
    functions([
        (GET, plain(|args| methods::lookup_plain(arg(args, 0)?, text(args, 1)?, &[]))),
        (
            CALL,
            plain(|args| {
                methods::lookup_plain(arg(args, 0)?, text(args, 1)?, args.get(2..).unwrap_or(&[]))
            }),
        ),
        (SHOW, plain(|args| Ok(methods::printed(arg(args, 0)?)))),
        (PRINT, plain(|args| Ok(methods::printed(arg(args, 0)?)))),
        (NUMBER, plain(|args| Ok(methods::number(arg(args, 0)?)))),
    ])
}

fn functions<const N: usize>(entries: [(&str, ValueFunc); N]) -> FuncMap {
    entries.into_iter().map(|(name, function)| (name.to_owned(), function)).collect()
}

fn plain(function: impl Fn(&[Value]) -> Answer + Send + Sync + 'static) -> ValueFunc {
    Arc::new(function)
}

fn arg(args: &[Value], at: usize) -> Result<&Value, TemplateError> {
    args.get(at)
        .ok_or_else(|| error(format!("wrong number of args: want {} got {}", at + 1, args.len())))
}

fn text(args: &[Value], at: usize) -> Result<&str, TemplateError> {
    let value = arg(args, at)?;
    value.as_str().ok_or_else(|| {
        error(format!("wrong type for value; expected string; got {}", value.type_name()))
    })
}

/// A number, or a text that reads as one; a duration counts as its seconds.
fn number(args: &[Value], at: usize) -> Result<f64, TemplateError> {
    let value = arg(args, at)?;
    if let Some(duration_ns) = nanoseconds(value, "Duration") {
        return Ok(duration_ns as f64 / 1e9);
    }
    if let Some(number) = value.as_float() {
        return Ok(number);
    }
    let Some(text) = value.as_str() else {
        return Err(error(format!("can't convert {} to float", value.type_name())));
    };
    vigie_model::value::parse_value(text)
        .ok_or_else(|| error(format!("strconv.ParseFloat: parsing {text:?}: invalid syntax")))
}

fn regex(pattern: &str) -> Result<Regex, TemplateError> {
    vigie_model::regexp::in_text(pattern).map_err(|reason| error(reason.to_string()))
}

/// Upper-cases the first letter of every word and leaves the others alone.
fn title(text: &str) -> String {
    let mut starts = true;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if starts {
            out.extend(c.to_uppercase());
        } else {
            out.push(c);
        }
        starts = !(c.is_alphanumeric() || c == '_' || c == '\'');
    }
    out
}

fn seconds_to_ns(seconds: f64) -> Result<i64, TemplateError> {
    let nanos = seconds * 1e9;
    // `i64::MAX as f64` rounds up to 2^63, which does not fit: hence the strict comparison.
    if nanos.is_nan() || nanos < i64::MIN as f64 || nanos >= i64::MAX as f64 {
        return Err(error(format!(
            "{} cannot be represented as a nanoseconds timestamp since it overflows int64",
            Value::Float(nanos)
        )));
    }
    Ok(nanos as i64)
}

fn humanize_timestamp(args: &[Value]) -> Answer {
    let seconds = number(args, 0)?;
    if !seconds.is_finite() {
        return Ok(data::text(&humanize::significant(seconds, 4)));
    }
    // Milliseconds are what a sample's timestamp carries; the rest is rounding noise.
    let ts_ns = (seconds_to_ns(seconds)? as f64 / 1e6).round() as i64;
    Ok(methods::printed(&data::time_ms(ts_ns)))
}

fn parse_duration(args: &[Value]) -> Answer {
    let written = text(args, 0)?;
    let (sign, digits) = match written.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, written),
    };
    let duration_ms = parse_duration_ms(digits).map_err(error)?;
    Ok(Value::Float(sign * duration_ms as f64 / 1000.0))
}

fn sample_labels(args: &[Value], at: usize) -> Answer {
    let value = arg(args, at)?;
    value.field("Labels").cloned().ok_or_else(|| error("expected a sample"))
}

fn sort_by_label(args: &[Value]) -> Answer {
    let name = text(args, 0)?;
    let Value::List(items) = arg(args, 1)? else { return Err(error("expected query results")) };
    let mut sorted = items.to_vec();
    let key = |item: &Value| {
        let labels = item.field("Labels").unwrap_or(&Value::Nil);
        labels.field(name).and_then(Value::as_str).unwrap_or("").to_owned()
    };
    sorted.sort_by_key(key);
    Ok(Value::List(sorted.into()))
}

/// Host and port of `host:port` or `[v6]:port`; no port when it is neither.
fn split_port(address: &str) -> (&str, Option<&str>) {
    if let Some(rest) = address.strip_prefix('[') {
        return match rest.split_once("]:") {
            Some((host, port)) if !port.contains(':') => (host, Some(port)),
            _ => (address, None),
        };
    }
    match address.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, Some(port)),
        _ => (address, None),
    }
}

fn strip_domain(address: &str) -> String {
    let (host, port) = split_port(address);
    if host.parse::<core::net::IpAddr>().is_ok() {
        return address.to_owned();
    }
    let first = host.split('.').next().unwrap_or(host);
    match port {
        Some(port) => format!("{first}:{port}"),
        None => first.to_owned(),
    }
}

fn graph_link(expr: &str, tab: u8) -> String {
    format!("/graph?g0.expr={}&g0.tab={tab}", gotmpl::url_encode(expr))
}

fn join(args: &[Value]) -> Answer {
    let Value::List(items) = arg(args, 1)? else { return Err(error("join needs a list")) };
    let words: Vec<String> = items.iter().map(|item| methods::printed(item).to_string()).collect();
    Ok(data::text(&words.join(text(args, 0)?)))
}

fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Nil | Value::Function(_) => serde_json::Value::Null,
        Value::Bool(truth) => (*truth).into(),
        Value::Int(number) => (*number).into(),
        Value::Uint(number) => (*number).into(),
        Value::Float(number) => (*number).into(),
        Value::String(text) | Value::Safe { s: text, .. } => text.as_ref().into(),
        Value::List(items) => items.iter().map(to_json).collect(),
        Value::Map(_) if type_of(value) == Some("Time") => {
            let at = Moment::of(value).unwrap_or_else(Moment::zero);
            at.format("2006-01-02T15:04:05.999999999Z07:00").into()
        }
        Value::Map(entries) => entries
            .iter()
            .filter(|(name, _)| name.as_ref() != data::TYPE)
            .map(|(name, value)| (name.to_string(), to_json(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
    }
}
