//! Loki's lenient JSON: flattening, expressions and `unpack`.
//!
//! Loki walks objects with the library `jsonparser`, which looks only at what it needs: a truncated
//! object gives the labels found before the end and an error, garbage behind the closing brace is
//! never seen, a trailing comma is fine. The walker here accepts and refuses the same lines with the
//! same words, because the labels and the error both reach the user.

use super::labels::{EXTRACTED_MAX, LineLabels};
use std::borrow::Cow;
use std::ops::ControlFlow;
use std::sync::Arc;
use vigie_model::limits::LABEL_NAME_BYTES_MAX;

/// Deepest nesting of objects that is flattened.
const DEPTH_MAX: usize = 128;

const MALFORMED: &str = "Malformed JSON error";
const OBJECT: &str = "Value looks like object, but can't find closing '}' symbol";
const ARRAY: &str = "Value is array, but can't find closing ']' symbol";
const STRING: &str = "Value is string, but can't find closing '\"' symbol";
const ESCAPE: &str = "Encountered an invalid escape sequence in a string";
const UNKNOWN: &str = "Unknown value type";

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `"…"`, given without quotes.
    Text,
    /// A number or a boolean.
    Plain,
    /// `null`
    Null,
    /// `{…}`
    Object,
    /// `[…]`
    Array,
}

/// Why a walk ended early: an error, or the visitor has all it wants.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// The text is not what it should be.
    Error(&'static str),
    /// The visitor is done.
    Done,
}

type Walk<T> = Result<T, Stop>;
/// Sees key, value and type of a member.
type MemberVisitor<'v, 'a> = dyn FnMut(&[u8], &'a [u8], Type) -> Walk<()> + 'v;
/// Sees index, value and type of an element.
type ElementVisitor<'v> = dyn FnMut(usize, &[u8], Type) -> ControlFlow<()> + 'v;

fn fail<T>(why: &'static str) -> Walk<T> {
    Err(Stop::Error(why))
}

/// Offset of the next byte that is not blank.
fn token(data: &[u8], from: usize) -> Option<usize> {
    (from..data.len()).find(|at| !b" \n\r\t".contains(&data[*at]))
}

/// Offset behind the closing quote of a string whose body starts at `from`, and whether it has escapes.
fn string_end(data: &[u8], from: usize) -> Option<(usize, bool)> {
    let (mut at, mut escaped) = (from, false);
    while at < data.len() {
        match data[at] {
            b'"' => return Some((at + 1, escaped)),
            b'\\' => {
                escaped = true;
                at += 2;
            }
            _ => at += 1,
        }
    }
    None
}

/// Offset behind the bracket that closes the one at `from`.
fn block_end(data: &[u8], from: usize, open: u8, close: u8) -> Option<usize> {
    let (mut at, mut level) = (from, 0usize);
    while at < data.len() {
        match data[at] {
            b'"' => at = string_end(data, at + 1)?.0 - 1,
            b if b == open => level += 1,
            b if b == close => {
                level -= 1;
                if level == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// The value at `from`: its bytes, its type and the offset behind it.
fn value(data: &[u8], from: usize) -> Walk<(&[u8], Type, usize)> {
    let Some(start) = token(data, from) else { return fail(MALFORMED) };
    match data[start] {
        b'"' => {
            let (end, _) = string_end(data, start + 1).ok_or(Stop::Error(STRING))?;
            Ok((&data[start + 1..end - 1], Type::Text, end))
        }
        b'[' => {
            let end = block_end(data, start, b'[', b']').ok_or(Stop::Error(ARRAY))?;
            Ok((&data[start..end], Type::Array, end))
        }
        b'{' => {
            let end = block_end(data, start, b'{', b'}').ok_or(Stop::Error(OBJECT))?;
            Ok((&data[start..end], Type::Object, end))
        }
        first => {
            let length = data[start..]
                .iter()
                .position(|b| b" \n\r\t,}]".contains(b))
                .unwrap_or(data.len() - start);
            let text = &data[start..start + length];
            let kind = match (first, text) {
                (b't' | b'f', b"true" | b"false") => Type::Plain,
                (b'n', b"null") => Type::Null,
                (b'0'..=b'9' | b'-', _) => Type::Plain,
                _ => return fail(UNKNOWN),
            };
            Ok((text, kind, start + length))
        }
    }
}

/// Calls `visit` with key, value and type of every member of the object at the start of `data`.
fn each_member<'a>(data: &'a [u8], visit: &mut MemberVisitor<'_, 'a>) -> Walk<()> {
    let Some(open) = token(data, 0).filter(|at| data[*at] == b'{') else { return fail(OBJECT) };
    let Some(mut at) = token(data, open + 1) else { return fail(MALFORMED) };
    loop {
        match data[at] {
            b'"' => at += 1,
            b'}' => return Ok(()),
            _ => return fail(OBJECT),
        }
        let Some((end, escaped)) = string_end(data, at) else { return fail(MALFORMED) };
        let raw_key = &data[at..end - 1];
        let unescaped;
        let key = if escaped {
            unescaped = unescape(raw_key).ok_or(Stop::Error(ESCAPE))?;
            unescaped.as_slice()
        } else {
            raw_key
        };
        let Some(colon) = token(data, end).filter(|at| data[*at] == b':') else {
            return fail(MALFORMED);
        };
        let (found, kind, end) = value(data, colon + 1)?;
        visit(key, found, kind)?;
        let Some(comma) = token(data, end) else { return fail(ARRAY) };
        match data[comma] {
            b'}' => return Ok(()),
            b',' => {}
            _ => return fail(OBJECT),
        }
        let Some(next) = token(data, comma + 1) else { return fail(ARRAY) };
        at = next;
    }
}

/// JSON's escapes; `None` for a bad one.
fn unescape(raw: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(raw.len());
    let mut at = 0;
    while at < raw.len() {
        if raw[at] != b'\\' {
            out.push(raw[at]);
            at += 1;
            continue;
        }
        let simple = match raw.get(at + 1)? {
            b'"' => b'"',
            b'\\' => b'\\',
            b'/' => b'/',
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let (code, taken) = unicode_escape(&raw[at..])?;
                out.extend_from_slice(code.encode_utf8(&mut [0; 4]).as_bytes());
                at += taken;
                continue;
            }
            _ => return None,
        };
        out.push(simple);
        at += 2;
    }
    Some(out)
}

/// `\uXXXX`, or two of them for a surrogate pair.
fn unicode_escape(raw: &[u8]) -> Option<(char, usize)> {
    let unit = |at: usize| -> Option<u32> {
        let digits = raw.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let high = unit(0)?;
    if !(0xd800..0xe000).contains(&high) {
        return Some((char::from_u32(high)?, 6));
    }
    let low = unit(6)?;
    if !(0xd800..0xdc00).contains(&high) || !(0xdc00..0xe000).contains(&low) {
        return None;
    }
    Some((char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))?, 12))
}

/// The text of a string value: a bad escape empties it, invalid characters become spaces.
fn text(raw: &[u8]) -> String {
    let plain = if raw.contains(&b'\\') { unescape(raw) } else { Some(raw.to_vec()) };
    clean(&plain.unwrap_or_default())
}

/// Lossy UTF-8 with Loki's replacement, a space.
pub fn clean(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(raw);
    if text.contains('\u{fffd}') { text.replace('\u{fffd}', " ") } else { text.into_owned() }
}

/// Loki's label name for a key: blanks around it go, other characters become `_`.
pub fn sanitize(key: &str, is_start: bool) -> String {
    let key = key.trim();
    let mut out = String::with_capacity(key.len() + 1);
    if is_start && key.starts_with(|c: char| c.is_ascii_digit()) {
        out.push('_');
    }
    out.extend(key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }));
    out
}

fn is_name(key: &str) -> bool {
    !key.starts_with(|c: char| c.is_ascii_digit())
        && key.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric())
}

/// What a parser is asked to extract.
pub trait Wanted {
    /// Whether the label is of any use.
    fn wants(&self, name: &str) -> bool;
    /// Whether nothing more is needed.
    fn satisfied(&self, labels: &LineLabels) -> bool;
}

/// `| json`: every member, nested keys joined by `_`.
pub fn flatten(line: &[u8], labels: &mut LineLabels, wanted: &dyn Wanted) -> Walk<()> {
    flatten_at(line, "", 0, labels, wanted)
}

fn flatten_at(
    data: &[u8],
    prefix: &str,
    depth: usize,
    labels: &mut LineLabels,
    wanted: &dyn Wanted,
) -> Walk<()> {
    if depth > DEPTH_MAX {
        return fail("JSON is nested too deep");
    }
    each_member(data, &mut |key, found, kind| {
        if matches!(kind, Type::Null | Type::Array) {
            return Ok(());
        }
        let name = match std::str::from_utf8(key) {
            // Most keys are names already.
            Ok(key) if prefix.is_empty() && is_name(key) => Cow::Borrowed(key),
            _ => {
                let part = sanitize(&String::from_utf8_lossy(key), prefix.is_empty());
                Cow::Owned(if prefix.is_empty() { part } else { format!("{prefix}_{part}") })
            }
        };
        if kind == Type::Object {
            return flatten_at(found, &name, depth + 1, labels, wanted);
        }
        if name.is_empty() {
            return Ok(());
        }
        store(&name, found, kind, labels, wanted)
    })
}

fn store(
    name: &str,
    found: &[u8],
    kind: Type,
    labels: &mut LineLabels,
    wanted: &dyn Wanted,
) -> Walk<()> {
    if !wanted.wants(name) {
        return Ok(());
    }
    if name.len() > LABEL_NAME_BYTES_MAX {
        return fail("a field's name is too long");
    }
    if labels.extracted().len() >= EXTRACTED_MAX {
        return fail("the line has too many fields");
    }
    let Some(name) = labels.extracted_name(name) else { return Ok(()) };
    let value = if kind == Type::Text { text(found) } else { clean(found) };
    labels.set(name, value.into());
    if wanted.satisfied(labels) { Err(Stop::Done) } else { Ok(()) }
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A member.
    Key(String),
    /// An element.
    Index(usize),
}

/// Parses `servers[0].name` or `["a b"].c`, with Loki's words for what it refuses.
pub fn parse_path(path: &str) -> Result<Vec<Step>, String> {
    let error = |why: String| format!("cannot parse expression [{path}]: syntax error: {why}");
    let mut steps = Vec::new();
    let (mut rest, mut first) = (path, true);
    loop {
        if rest.is_empty() {
            if first {
                return Err(error("unexpected $end, expecting LSB or FIELD".to_owned()));
            }
            return Ok(steps);
        }
        if let Some(inside) = rest.strip_prefix('[') {
            rest = bracket(inside, &mut steps).map_err(error)?;
        } else {
            if let Some(after) = rest.strip_prefix('.') {
                if first {
                    return Err(error("unexpected DOT, expecting LSB or FIELD".to_owned()));
                }
                rest = after;
            } else if !first {
                return Err(error("unexpected FIELD".to_owned()));
            }
            let length = rest.find(|c| ".[] ".contains(c)).unwrap_or(rest.len());
            if length == 0 {
                let found = if rest.starts_with('.') { "DOT" } else { "$end" };
                return Err(error(format!("unexpected {found}, expecting FIELD")));
            }
            steps.push(Step::Key(rest[..length].to_owned()));
            rest = &rest[length..];
        }
        first = false;
        if steps.len() > DEPTH_MAX {
            return Err(format!("cannot parse expression: more than {DEPTH_MAX} steps"));
        }
    }
}

/// The inside of `[…]`; gives what follows.
fn bracket<'a>(inside: &'a str, steps: &mut Vec<Step>) -> Result<&'a str, String> {
    let expecting = "expecting STRING or INDEX";
    if let Some(quoted) = inside.strip_prefix('"') {
        let end = quoted.find('"').ok_or("unexpected $end, expecting RSB")?;
        steps.push(Step::Key(quoted[..end].to_owned()));
        return quoted[end + 1..].strip_prefix(']').ok_or("unexpected $end, expecting RSB".into());
    }
    let digits = inside.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        let is_field = inside.starts_with(|c: char| c.is_alphabetic() || c == '_');
        let found = if is_field { "FIELD" } else { "$end" };
        return Err(format!("unexpected {found}, {expecting}"));
    }
    let index = inside[..digits].parse().map_err(|_| "index out of range".to_owned())?;
    steps.push(Step::Index(index));
    inside[digits..].strip_prefix(']').ok_or("unexpected $end, expecting RSB".into())
}

/// The value under `path`, as a label value.
fn find(data: &[u8], path: &[Step]) -> Option<String> {
    let Some((step, rest)) = path.split_first() else {
        let (found, kind, _) = value(data, 0).ok()?;
        return Some(as_label(found, kind));
    };
    let mut hit = None;
    let mut take = |found: &[u8], kind: Type| {
        hit = if rest.is_empty() {
            Some(as_label(found, kind))
        } else if matches!(kind, Type::Object | Type::Array) {
            find(found, rest)
        } else {
            None
        };
    };
    match step {
        // A break behind the value does not matter: the walk stops at the first hit.
        Step::Key(name) => {
            let _ = each_member(data, &mut |key, found, kind| {
                if key != name.as_bytes() {
                    return Ok(());
                }
                take(found, kind);
                Err(Stop::Done)
            });
        }
        Step::Index(wanted) => {
            let _ = each_element(data, &mut |at, found, kind| {
                if at != *wanted {
                    return ControlFlow::Continue(());
                }
                take(found, kind);
                ControlFlow::Break(())
            });
        }
    }
    hit
}

fn as_label(found: &[u8], kind: Type) -> String {
    match kind {
        Type::Null => String::new(),
        Type::Object | Type::Array => clean(found),
        Type::Text | Type::Plain => text(found),
    }
}

fn each_element(data: &[u8], visit: &mut ElementVisitor<'_>) -> Option<()> {
    let mut at = token(data, 0).filter(|at| data[*at] == b'[')? + 1;
    for index in 0.. {
        let (found, kind, end) = value(data, at).ok()?;
        if visit(index, found, kind).is_break() {
            return Some(());
        }
        at = token(data, end).filter(|at| data[*at] == b',')? + 1;
    }
    None
}

/// `| json a="b.c"`. The error, if any, has no details.
pub fn extract(
    line: &[u8],
    paths: &[(Arc<str>, Vec<Step>)],
    labels: &mut LineLabels,
) -> Result<(), ()> {
    if line.is_empty() {
        return Ok(());
    }
    if !matches!(line[0], b'{' | b'[' | b'"') {
        return Err(());
    }
    let found: Vec<_> = paths.iter().map(|(_, path)| find(line, path)).collect();
    for ((label, _), value) in paths.iter().zip(&found) {
        let Some(value) = value else { continue };
        if let Some(name) = labels.extracted_name(label) {
            labels.set(name, value.as_str().into());
        }
    }
    for ((label, _), value) in paths.iter().zip(&found) {
        if value.is_none() && labels.get(label).is_none() {
            labels.set(label.clone(), "".into());
        }
    }
    Ok(())
}

/// `| unpack`: text members become labels if `_entry` is among them; gives the new line.
pub fn unpack(
    line: &[u8],
    labels: &mut LineLabels,
    wanted: &dyn Wanted,
) -> Result<Option<Vec<u8>>, &'static str> {
    if line.is_empty() {
        return Ok(None);
    }
    if line[0] != b'{' {
        return Err("expecting json object(6), but it is not");
    }
    let mut entry = None;
    let mut found: Vec<(String, String)> = Vec::new();
    let walked = each_member(line, &mut |key, value, kind| {
        if kind == Type::Text {
            if key == b"_entry" {
                entry = Some(text(value).into_bytes());
            } else if found.len() >= EXTRACTED_MAX {
                return fail("the line has too many fields");
            } else {
                found.push((sanitize(&String::from_utf8_lossy(key), true), text(value)));
            }
        }
        Ok(())
    });
    if let Err(Stop::Error(why)) = walked {
        return Err(why);
    }
    if entry.is_some() {
        for (name, value) in found.into_iter().filter(|(name, _)| wanted.wants(name)) {
            if let Some(name) = labels.extracted_name(&name) {
                labels.set(name, value.into());
            }
        }
    }
    Ok(entry)
}
