//! Loki's template functions: its own, and those of sprig that it keeps.
//!
//! Times and their methods are `vigie_template`'s; `now` is the instant at which the query is asked.

use super::template::Current;
use crate::units::{parse_bytes, parse_go_duration_ns, parse_go_float};
use gotmpl::{FuncMap, TemplateError, Value};
use regex::bytes::Regex;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use vigie_model::{go_quote, regexp};
use vigie_template::moment::{self, Moment};

type Answer = Result<Value, TemplateError>;

/// Longest text that `repeat` and the padding functions make.
const TEXT_BYTES_MAX: usize = 1024 * 1024;

fn error(why: impl Into<String>) -> TemplateError {
    TemplateError::Exec(why.into())
}

fn text(args: &[Value], at: usize) -> String {
    match args.get(at) {
        None | Some(Value::Nil) => String::new(),
        Some(value) => moment::printed(value).unwrap_or_else(|| value.to_string()),
    }
}

fn string(value: impl Into<Arc<str>>) -> Answer {
    Ok(Value::String(value.into()))
}

/// sprig's `toInt64`: whatever is no number is 0.
fn int(args: &[Value], at: usize) -> i64 {
    match args.get(at) {
        Some(Value::Int(value)) => *value,
        Some(Value::Uint(value)) => *value as i64,
        Some(Value::Float(value)) => *value as i64,
        Some(Value::Bool(value)) => i64::from(*value),
        Some(Value::String(value)) => match value.parse() {
            Ok(value) => value,
            Err(_) => parse_go_float(value).unwrap_or(0.0) as i64,
        },
        Some(value) => moment::number_of(value).unwrap_or(0),
        None => 0,
    }
}

/// sprig's `toFloat64`.
fn float(args: &[Value], at: usize) -> f64 {
    match args.get(at) {
        Some(Value::Int(value)) => *value as f64,
        Some(Value::Uint(value)) => *value as f64,
        Some(Value::Float(value)) => *value,
        Some(Value::Bool(value)) => f64::from(u8::from(*value)),
        Some(Value::String(value)) => parse_go_float(value).unwrap_or(0.0),
        Some(value) => moment::number_of(value).unwrap_or(0) as f64,
        None => 0.0,
    }
}

/// All functions, bound to the line at hand.
pub(super) fn all(current: &Arc<Mutex<Current>>) -> FuncMap {
    let mut map = FuncMap::new();
    texts(&mut map);
    patterns(&mut map);
    cuts(&mut map);
    numbers(&mut map);
    conversions(&mut map);
    let cell = current.clone();
    add(&mut map, "__line__", move |_| {
        string(cell.lock().map_err(|_| error("poisoned"))?.line.as_str())
    });
    let cell = current.clone();
    add(&mut map, "__timestamp__", move |_| {
        Ok(Moment::from_ns(cell.lock().map_err(|_| error("poisoned"))?.ts_ns).to_value())
    });
    times(&mut map, current);
    map.extend(vigie_template::method_functions());
    map
}

/// The functions that give times: only a template that has one needs their methods.
pub(super) const TIMES: [&str; 5] =
    ["__timestamp__", "toDate", "toDateInZone", "unixToTime", "now"];

fn time(args: &[Value], at: usize) -> Result<Moment, TemplateError> {
    let given = args.get(at).unwrap_or(&Value::Nil);
    Moment::of(given).ok_or_else(|| {
        let kind = given.type_name();
        error(format!("wrong type for value; expected time.Time; got {kind}"))
    })
}

fn times(map: &mut FuncMap, current: &Arc<Mutex<Current>>) {
    for (name, scale) in
        [("unixEpoch", 1_000_000_000), ("unixEpochMillis", 1_000_000), ("unixEpochNanos", 1)]
    {
        add(map, name, move |args| string(time(args, 0)?.ns().div_euclid(scale).to_string()));
    }
    let cell = current.clone();
    let now = move || {
        let current = cell.lock().map_err(|_| error("poisoned"))?;
        Ok::<_, TemplateError>(Moment::from_ns(current.now_ns))
    };
    // sprig takes a time or seconds; anything else is as good as now.
    let else_now = now.clone();
    add(map, "date", move |args| {
        let at = match args.get(1) {
            Some(Value::Int(seconds)) => Moment::from_seconds(*seconds),
            Some(value) => Moment::of(value).map_or_else(&else_now, Ok)?,
            None => else_now()?,
        };
        string(at.format(&text(args, 0)))
    });
    add(map, "now", move |_| Ok(now()?.to_value()));
    let parsed = |layout: String, text: String, zone: String| {
        Moment::parse(&layout, &text, &zone).unwrap_or_else(Moment::zero).to_value()
    };
    add(map, "toDate", move |args| Ok(parsed(text(args, 0), text(args, 1), String::new())));
    add(map, "toDateInZone", move |args| Ok(parsed(text(args, 0), text(args, 2), text(args, 1))));
    add(map, "unixToTime", |args| Ok(from_epoch(&text(args, 0)).map_err(error)?.to_value()));
}

/// Loki's `unixToTime`: the number of digits tells the unit.
fn from_epoch(text: &str) -> Result<Moment, String> {
    let quoted = go_quote(text);
    let number: i64 = text.parse().map_err(|_| {
        format!("unable to parse time '{text}': strconv.ParseInt: parsing {quoted}: invalid syntax")
    })?;
    match text.len() {
        5 => Ok(Moment::from_seconds(number * 86_400)),
        10 => Ok(Moment::from_seconds(number)),
        13 => Ok(Moment::from_ns(number * 1_000_000)),
        16 => Ok(Moment::from_ns(number * 1_000)),
        19 => Ok(Moment::from_ns(number)),
        // Loki wraps an error that is not there.
        _ => Err(format!("unable to parse time '{text}': %!w(<nil>)")),
    }
}

fn add(
    map: &mut FuncMap,
    name: &str,
    function: impl Fn(&[Value]) -> Answer + Send + Sync + 'static,
) {
    let called = name.to_owned();
    let named = move |args: &[Value]| {
        function(args).map_err(|failure| match failure {
            TemplateError::Exec(why) => error(format!("error calling {called}: {why}")),
            other => other,
        })
    };
    map.insert(name.to_owned(), Arc::new(named));
}

fn each_char(text: &str, change: impl Fn(char) -> char) -> String {
    text.chars().map(change).collect()
}

/// Go changes the case of characters one by one: `ß` stays.
fn single(original: char, mut changed: impl Iterator<Item = char>) -> char {
    match (changed.next(), changed.next()) {
        (Some(one), None) => one,
        _ => original,
    }
}

fn texts(map: &mut FuncMap) {
    for name in ["ToLower", "lower"] {
        add(map, name, |args| string(each_char(&text(args, 0), |c| single(c, c.to_lowercase()))));
    }
    for name in ["ToUpper", "upper"] {
        add(map, name, |args| string(each_char(&text(args, 0), |c| single(c, c.to_uppercase()))));
    }
    add(map, "title", |args| {
        let mut at_start = true;
        let titled: String = text(args, 0)
            .chars()
            .flat_map(|c| {
                let start = std::mem::replace(
                    &mut at_start,
                    !(c.is_alphanumeric() || c == '_' || c == '\''),
                );
                if start { c.to_uppercase().collect::<Vec<_>>() } else { vec![c] }
            })
            .collect();
        string(titled)
    });
    add(map, "Replace", |args| {
        let (from, to) = (text(args, 1), text(args, 2));
        let count = usize::try_from(int(args, 3)).unwrap_or(usize::MAX);
        string(replaced(&text(args, 0), &from, &to, count)?)
    });
    add(map, "replace", |args| {
        string(replaced(&text(args, 2), &text(args, 0), &text(args, 1), usize::MAX)?)
    });
    add(map, "contains", |args| Ok(Value::Bool(text(args, 1).contains(&text(args, 0)))));
    add(map, "hasPrefix", |args| Ok(Value::Bool(text(args, 1).starts_with(&text(args, 0)))));
    add(map, "hasSuffix", |args| Ok(Value::Bool(text(args, 1).ends_with(&text(args, 0)))));
    add(map, "indent", |args| string(indent(args)?));
    add(map, "nindent", |args| string(format!("\n{}", indent(args)?)));
    add(map, "repeat", |args| {
        let (count, part) = (usize::try_from(int(args, 0)).unwrap_or(0), text(args, 1));
        bounded(count, part.len())?;
        string(part.repeat(count))
    });
    add(map, "default", |args| {
        let given = args.get(1).is_some_and(Value::is_truthy);
        Ok(args.get(usize::from(given)).cloned().unwrap_or(Value::Nil))
    });
}

/// The expressions that a template's calls have used, so that none is compiled line by line.
#[derive(Clone, Default)]
struct Patterns(Arc<Mutex<HashMap<String, Regex>>>);

/// Most expressions remembered; a template that makes more of them pays for each.
const PATTERNS_MAX: usize = 8;

impl Patterns {
    fn get(&self, pattern: &str) -> Result<Regex, TemplateError> {
        let mut known = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(regex) = known.get(pattern) {
            return Ok(regex.clone());
        }
        let regex = regexp::in_line(pattern).map_err(|e| error(e.to_string()))?;
        if known.len() < PATTERNS_MAX {
            known.insert(pattern.to_owned(), regex.clone());
        }
        Ok(regex)
    }
}

fn patterns(map: &mut FuncMap) {
    let known = Patterns::default();
    let cache = known.clone();
    add(map, "count", move |args| {
        let regex = cache.get(&text(args, 0))?;
        Ok(Value::Int(regex.find_iter(text(args, 1).as_bytes()).count() as i64))
    });
    let cache = known.clone();
    add(map, "regexReplaceAll", move |args| {
        let regex = cache.get(&text(args, 0))?;
        let (line, to) = (text(args, 1), text(args, 2));
        bounded(regex.find_iter(line.as_bytes()).count() + 1, to.len())?;
        bounded(to.matches('$').count(), line.len())?;
        let replaced = regex.replace_all(line.as_bytes(), to.as_bytes());
        string(String::from_utf8_lossy(&replaced))
    });
    add(map, "regexReplaceAllLiteral", move |args| {
        let regex = known.get(&text(args, 0))?;
        let (line, to) = (text(args, 1), text(args, 2));
        bounded(regex.find_iter(line.as_bytes()).count(), to.len())?;
        let replaced = regex.replace_all(line.as_bytes(), regex::bytes::NoExpand(to.as_bytes()));
        string(String::from_utf8_lossy(&replaced))
    });
}

fn indent(args: &[Value]) -> Result<String, TemplateError> {
    let pad = " ".repeat(usize::try_from(int(args, 0)).unwrap_or(0).min(1024));
    let body = replaced(&text(args, 1), "\n", &format!("\n{pad}"), usize::MAX)?;
    Ok(format!("{pad}{body}"))
}

/// A replacement whose result stays within bounds.
fn replaced(text: &str, from: &str, to: &str, count: usize) -> Result<String, TemplateError> {
    bounded(text.matches(from).take(count).count(), to.len())?;
    Ok(text.replacen(from, to, count))
}

fn bounded(count: usize, bytes: usize) -> Result<(), TemplateError> {
    if count.saturating_mul(bytes) > TEXT_BYTES_MAX {
        return Err(error(format!("result longer than {TEXT_BYTES_MAX} bytes")));
    }
    Ok(())
}

fn cuts(map: &mut FuncMap) {
    let trim = |cut: &str, text: &str| text.trim_matches(|c| cut.contains(c)).to_owned();
    add(map, "Trim", move |args| string(trim(&text(args, 1), &text(args, 0))));
    add(map, "trimAll", move |args| string(trim(&text(args, 0), &text(args, 1))));
    add(map, "TrimLeft", |args| {
        let cut = text(args, 1);
        string(text(args, 0).trim_start_matches(|c| cut.contains(c)))
    });
    add(map, "TrimRight", |args| {
        let cut = text(args, 1);
        string(text(args, 0).trim_end_matches(|c| cut.contains(c)))
    });
    for name in ["TrimSpace", "trim"] {
        add(map, name, |args| string(text(args, 0).trim()));
    }
    for (name, whole, part) in [("TrimPrefix", 0, 1), ("trimPrefix", 1, 0)] {
        add(map, name, move |args| {
            let (whole, part) = (text(args, whole), text(args, part));
            string(whole.strip_prefix(part.as_str()).unwrap_or(&whole))
        });
    }
    for (name, whole, part) in [("TrimSuffix", 0, 1), ("trimSuffix", 1, 0)] {
        add(map, name, move |args| {
            let (whole, part) = (text(args, whole), text(args, part));
            string(whole.strip_suffix(part.as_str()).unwrap_or(&whole))
        });
    }
    add(map, "trunc", |args| {
        let chars: Vec<char> = text(args, 1).chars().collect();
        let count = int(args, 0);
        let kept = count.unsigned_abs() as usize;
        let kept = kept.min(chars.len());
        let part = if count < 0 { &chars[chars.len() - kept..] } else { &chars[..kept] };
        string(part.iter().collect::<String>())
    });
    add(map, "substr", |args| {
        let chars: Vec<char> = text(args, 2).chars().collect();
        let (start, end) = (int(args, 0), int(args, 1));
        let start = usize::try_from(start).unwrap_or(0).min(chars.len());
        let end = usize::try_from(end).unwrap_or(chars.len()).min(chars.len());
        string(chars[start..end.max(start)].iter().collect::<String>())
    });
    for (name, left) in [("alignLeft", true), ("alignRight", false)] {
        add(map, name, move |args| {
            let width = usize::try_from(int(args, 0)).unwrap_or(0).min(TEXT_BYTES_MAX);
            let chars: Vec<char> = text(args, 1).chars().collect();
            let pad = " ".repeat(width.saturating_sub(chars.len()));
            let from = if left { 0 } else { chars.len().saturating_sub(width) };
            let kept: String = chars[from..].iter().take(width).collect();
            string(if left { format!("{kept}{pad}") } else { format!("{pad}{kept}") })
        });
    }
}

fn numbers(map: &mut FuncMap) {
    let whole = |map: &mut FuncMap, name: &str, fold: fn(i64, i64) -> Option<i64>| {
        add(map, name, move |args| {
            let first = int(args, 0);
            (1..args.len())
                .try_fold(first, |left, at| fold(left, int(args, at)))
                .map(Value::Int)
                .ok_or_else(|| error("runtime error: integer divide by zero"))
        });
    };
    whole(map, "add", |a, b| Some(a.wrapping_add(b)));
    whole(map, "sub", |a, b| Some(a.wrapping_sub(b)));
    whole(map, "mul", |a, b| Some(a.wrapping_mul(b)));
    whole(map, "div", |a, b| a.checked_div(b));
    whole(map, "mod", |a, b| a.checked_rem(b));
    whole(map, "max", |a, b| Some(a.max(b)));
    whole(map, "min", |a, b| Some(a.min(b)));
    let real = |map: &mut FuncMap, name: &str, fold: fn(f64, f64) -> f64| {
        add(map, name, move |args| {
            let first = float(args, 0);
            let folded = (1..args.len()).fold(first, |left, at| fold(left, float(args, at)));
            // sprig calculates in decimal: 0.1 + 0.2 is 0.3.
            let decimal = format!("{folded:.14e}").parse().unwrap_or(folded);
            Ok(Value::Float(decimal))
        });
    };
    real(map, "addf", |a, b| a + b);
    real(map, "subf", |a, b| a - b);
    real(map, "mulf", |a, b| a * b);
    real(map, "divf", |a, b| a / b);
    real(map, "maxf", f64::max);
    real(map, "minf", f64::min);
    add(map, "ceil", |args| Ok(Value::Float(float(args, 0).ceil())));
    add(map, "floor", |args| Ok(Value::Float(float(args, 0).floor())));
    add(map, "round", |args| {
        let scale = 10f64.powi(int(args, 1).clamp(-300, 300) as i32);
        let scaled = float(args, 0) * scale;
        let up = scaled - scaled.trunc() >= 0.5;
        Ok(Value::Float(if up { scaled.ceil() } else { scaled.floor() } / scale))
    });
    add(map, "int", |args| Ok(Value::Int(int(args, 0))));
    add(map, "float64", |args| Ok(Value::Float(float(args, 0))));
}

fn conversions(map: &mut FuncMap) {
    for name in ["duration", "duration_seconds"] {
        add(map, name, |args| {
            let ns = parse_go_duration_ns(&text(args, 0)).map_err(error)?;
            Ok(Value::Float(ns as f64 / 1e9))
        });
    }
    add(map, "bytes", |args| Ok(Value::Float(parse_bytes(&text(args, 0)).map_err(error)? as f64)));
    add(map, "fromJson", |args| {
        let text = text(args, 0);
        Ok(serde_json::from_str(&text).map_or(Value::Nil, |json| from_json(&json)))
    });
    add(map, "b64enc", |args| string(base64(text(args, 0).as_bytes())));
    add(map, "b64dec", |args| string(unbase64(&text(args, 0)).map_err(error)?));
    add(map, "urlencode", |args| string(url_encode(&text(args, 0))));
    add(map, "urldecode", |args| string(url_decode(&text(args, 0)).map_err(error)?));
}

fn from_json(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(value) => Value::Bool(*value),
        serde_json::Value::Number(value) => Value::Float(value.as_f64().unwrap_or(f64::NAN)),
        serde_json::Value::String(value) => Value::String(value.as_str().into()),
        serde_json::Value::Array(items) => Value::List(items.iter().map(from_json).collect()),
        serde_json::Value::Object(members) => Value::Map(Arc::new(
            members
                .iter()
                .map(|(key, value)| (Arc::from(key.as_str()), from_json(value)))
                .collect::<BTreeMap<_, _>>(),
        )),
    }
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(data: &[u8]) -> String {
    let mut out = String::new();
    for chunk in data.chunks(3) {
        let bits =
            chunk.iter().fold(0u32, |bits, b| bits << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let digit = BASE64[(bits >> (18 - 6 * at) & 63) as usize];
            out.push(if at <= chunk.len() { digit as char } else { '=' });
        }
    }
    out
}

fn unbase64(text: &str) -> Result<String, String> {
    let (mut bits, mut count, mut out) = (0u32, 0, Vec::new());
    for (at, byte) in text.trim_end_matches('=').bytes().enumerate() {
        let digit = BASE64
            .iter()
            .position(|b| *b == byte)
            .ok_or_else(|| format!("illegal base64 data at input byte {at}"))?;
        bits = bits << 6 | digit as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// Go's `url.QueryEscape`.
fn url_encode(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                (b as char).to_string()
            }
            b' ' => "+".to_owned(),
            b => format!("%{b:02X}"),
        })
        .collect()
}

fn url_decode(text: &str) -> Result<String, String> {
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::new(), 0);
    while at < bytes.len() {
        match bytes[at] {
            b'+' => out.push(b' '),
            b'%' => {
                let code = text
                    .get(at + 1..at + 3)
                    .and_then(|hex| u8::from_str_radix(hex, 16).ok())
                    .ok_or_else(|| {
                        let part = text.get(at..(at + 3).min(text.len())).unwrap_or("%");
                        format!("invalid URL escape {}", go_quote(part))
                    })?;
                out.push(code);
                at += 2;
            }
            byte => out.push(byte),
        }
        at += 1;
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}
