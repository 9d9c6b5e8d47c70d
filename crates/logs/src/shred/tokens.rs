//! Where a line varies: the scalar values of JSON and logfmt.
//!
//! The rules are stricter than those of Loki's parsers, on purpose: what is cut here reads the same
//! to them whatever the values are, so that a reader may parse a shape once instead of every line.
//! * JSON: one object, nothing but blanks around it, no trailing comma. Slots are the insides of
//!   strings (escapes as they stand) and numbers, `true`, `false`; `null`, keys, blanks and
//!   punctuation stay static.
//! * logfmt: `key=value` pairs and bare keys between blanks. A slot is never empty and never holds
//!   an escape, because `| logfmt` drops the first and unquotes the second; a line with escapes is
//!   cut all the same, as [`ShapeKind::Mixed`], which promises nothing.

use memchr::{memchr, memchr2};
use std::ops::Range;
use vigie_model::blocks::ShapeKind;

/// Most slots of a line; with more it is kept as text.
pub(crate) const SLOTS_MAX: usize = 256;
/// Deepest nesting that is cut.
const DEPTH_MAX: usize = 32;
/// A longer line is kept as text.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// Places of the slots, ascending, and what the line is; `None` for text, with `slots` undefined.
pub(crate) fn cut(line: &[u8], slots: &mut Vec<Range<u32>>) -> Option<ShapeKind> {
    slots.clear();
    let first = *line.iter().find(|b| !is_blank(**b))?;
    if line.len() > LINE_BYTES_MAX {
        return None;
    }
    match first {
        b'{' => json(line, slots).map(|()| ShapeKind::Json),
        b'a'..=b'z' | b'A'..=b'Z' | b'_' => logfmt(line, slots),
        _ => None,
    }
}

/// Cuts a line of JSON whose statics may be these: whether they are, and then `slots` are what [`cut`]
/// finds. Comparing takes less time than reading, and most lines are of the shape of one before.
pub(crate) fn cut_like(line: &[u8], statics: &[Vec<u8>], slots: &mut Vec<Range<u32>>) -> bool {
    slots.clear();
    if line.len() > LINE_BYTES_MAX || !line.starts_with(&statics[0]) {
        return false;
    }
    let mut at = statics[0].len();
    for pair in statics.windows(2) {
        // In front of the inside of a string stands its quote; of anything else, none.
        let end = if pair[0].last() == Some(&b'"') {
            string_end(line, at).map(|end| end - 1)
        } else {
            scalar_end(line, at)
        };
        let Some(end) = end.filter(|&end| line[end..].starts_with(&pair[1])) else { return false };
        slots.push(at as u32..end as u32);
        at = end + pair[1].len();
    }
    at == line.len()
}

/// The end of a number, `true` or `false`.
fn scalar_end(line: &[u8], at: usize) -> Option<usize> {
    let rest = &line[at..];
    match rest.first()? {
        b't' => rest.starts_with(b"true").then_some(at + 4),
        b'f' => rest.starts_with(b"false").then_some(at + 5),
        b'0'..=b'9' | b'-' => Some(at + rest.iter().take_while(is_number_part).count()),
        _ => None,
    }
}

fn is_number_part(byte: &&u8) -> bool {
    matches!(**byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

fn skip_blanks(line: &[u8], mut at: usize) -> usize {
    while line.get(at).is_some_and(|b| is_blank(*b)) {
        at += 1;
    }
    at
}

/// Offset behind the closing quote of a string whose inside starts at `at`.
fn string_end(line: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr2(b'"', b'\\', line.get(at..)?)?;
        if line[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

fn add(slots: &mut Vec<Range<u32>>, start: usize, end: usize) -> Option<()> {
    if slots.len() == SLOTS_MAX {
        return None;
    }
    slots.push(start as u32..end as u32);
    Some(())
}

fn json(line: &[u8], slots: &mut Vec<Range<u32>>) -> Option<()> {
    let mut at = skip_blanks(line, 0);
    // A bit per open bracket, the innermost lowest: 1 for an object.
    let (mut objects, mut depth) = (0u64, 0);
    loop {
        // At a value.
        match *line.get(at)? {
            open @ (b'{' | b'[') => {
                let close = if open == b'{' { b'}' } else { b']' };
                if depth == DEPTH_MAX {
                    return None;
                }
                objects = objects << 1 | u64::from(open == b'{');
                depth += 1;
                at = skip_blanks(line, at + 1);
                if line.get(at) != Some(&close) {
                    at = before_value(line, at, objects)?;
                    continue;
                }
            }
            b'"' => {
                let end = string_end(line, at + 1)?;
                add(slots, at + 1, end - 1)?;
                at = end;
            }
            first => at = plain(line, at, first, slots)?,
        }
        // Behind a value, or at the bracket that closes an empty one.
        loop {
            at = skip_blanks(line, at);
            match *line.get(at)? {
                b',' => {
                    at = before_value(line, skip_blanks(line, at + 1), objects)?;
                    break;
                }
                close @ (b'}' | b']') => {
                    if (close == b'}') != (objects & 1 == 1) {
                        return None;
                    }
                    objects >>= 1;
                    depth -= 1;
                    at += 1;
                    if depth == 0 {
                        return (skip_blanks(line, at) == line.len()).then_some(());
                    }
                }
                _ => return None,
            }
        }
    }
}

/// Reads the key of a member if the innermost bracket is an object's; where its value starts.
fn before_value(line: &[u8], at: usize, objects: u64) -> Option<usize> {
    if objects & 1 == 0 {
        return Some(at);
    }
    if line.get(at) != Some(&b'"') {
        return None;
    }
    let colon = skip_blanks(line, string_end(line, at + 1)?);
    (line.get(colon) == Some(&b':')).then(|| skip_blanks(line, colon + 1))
}

/// A number or a literal; gives its end.
fn plain(line: &[u8], at: usize, first: u8, slots: &mut Vec<Range<u32>>) -> Option<usize> {
    if first == b'n' {
        return line[at..].starts_with(b"null").then_some(at + 4);
    }
    let end = scalar_end(line, at)?;
    add(slots, at, end)?;
    Some(end)
}

fn logfmt(line: &[u8], slots: &mut Vec<Range<u32>>) -> Option<ShapeKind> {
    let (mut at, mut pairs, mut kind) = (0, 0, ShapeKind::Logfmt);
    loop {
        at = skip_blanks(line, at);
        if at == line.len() {
            // Text with one `=` in it is no logfmt.
            return (pairs >= 2).then_some(kind);
        }
        let is_key = |b: &&u8| **b > b' ' && **b != b'=' && **b != b'"';
        let length = line[at..].iter().take_while(is_key).count();
        at += length;
        match line.get(at) {
            Some(b'=') if length > 0 => at += 1,
            Some(b) if is_blank(*b) => continue,
            None => continue,
            _ => return None,
        }
        pairs += 1;
        let start = at;
        if line.get(at) == Some(&b'"') {
            at = string_end(line, at + 1)?;
            if line.get(at).is_some_and(|b| !is_blank(*b)) {
                return None;
            }
            if at - start > 2 {
                add(slots, start + 1, at - 1)?;
            }
            if memchr(b'\\', &line[start..at]).is_some() {
                kind = ShapeKind::Mixed;
            }
        } else {
            at += line[at..].iter().take_while(is_key).count();
            if line.get(at).is_some_and(|b| !is_blank(*b)) {
                return None;
            }
            if at > start {
                add(slots, start, at)?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_cut_and_the_rest_stays() {
        use ShapeKind::{Json, Logfmt, Mixed};
        let cases: &[(&str, Option<ShapeKind>, &[&str])] = &[
            (r#"{"a":1,"b":"x y","c":true,"d":null}"#, Some(Json), &["1", "x y", "true"]),
            (
                r#" { "a" : [1, "2", {"b":-0.5e3}], "c":{} , "d":[] } "#,
                Some(Json),
                &["1", "2", "-0.5e3"],
            ),
            (r#"{"a":"q\"\\","a":1e400,"b":01}"#, Some(Json), &[r#"q\"\\"#, "1e400", "01"]),
            (r#"{"a":"","b":""}"#, Some(Json), &["", ""]),
            ("{}", Some(Json), &[]),
            (r#"{"a":1,}"#, None, &[]),
            (r#"{"a":1} x"#, None, &[]),
            (r#"{"a":1"#, None, &[]),
            (r#"{"a":"\"#, None, &[]),
            (r#"{"a":truex}"#, None, &[]),
            (r#"{"a":[1}"#, None, &[]),
            (r#"{a:1}"#, None, &[]),
            (r#"[1]"#, None, &[]),
            ("level=info msg=\"a b\" n=1", Some(Logfmt), &["info", "a b", "1"]),
            ("level=info bare n= m=\"\" k=v", Some(Logfmt), &["info", "v"]),
            ("level=info msg=\"a \\\" b\"", Some(Mixed), &["info", "a \\\" b"]),
            ("a=b", None, &[]),
            ("a=b c=d=e", None, &[]),
            ("a=b c=\"d\"e", None, &[]),
            ("plain text here", None, &[]),
            ("", None, &[]),
            ("   ", None, &[]),
        ];
        let mut slots = Vec::new();
        for (line, kind, values) in cases {
            let found = cut(line.as_bytes(), &mut slots);
            assert_eq!(found, *kind, "{line}");
            if kind.is_some() {
                let cut: Vec<&str> =
                    slots.iter().map(|s| &line[s.start as usize..s.end as usize]).collect();
                assert_eq!(cut, *values, "{line}");
            }
        }
        // A line cut by the statics of another is cut like that one, or not at all.
        let statics = |line: &str, slots: &[Range<u32>]| -> Vec<Vec<u8>> {
            let ends = slots.iter().map(|s| s.start as usize).chain([line.len()]);
            let starts = [0].into_iter().chain(slots.iter().map(|s| s.end as usize));
            starts.zip(ends).map(|(from, to)| line.as_bytes()[from..to].to_vec()).collect()
        };
        let more = [
            r#"{"a":-5e3,"b":"z\"","c":false,"d":null}"#,
            r#"{"a":null,"b":"x","c":true,"d":null}"#,
            r#"{"a":1,"b":"x","c":truefalse,"d":null}"#,
            r#"{"a":"1","b":"x y","c":true,"d":null}"#,
        ];
        let lines = || cases.iter().map(|(line, ..)| *line).chain(more);
        for known in lines() {
            if cut(known.as_bytes(), &mut slots) != Some(Json) {
                continue;
            }
            let statics_of_known = statics(known, &slots);
            for line in lines() {
                let kind = cut(line.as_bytes(), &mut slots);
                let is_like = kind == Some(Json) && statics(line, &slots) == statics_of_known;
                let mut guided = Vec::new();
                let found = cut_like(line.as_bytes(), &statics_of_known, &mut guided);
                assert_eq!(found, is_like, "{line} by {known}");
                assert!(!found || guided == slots, "{line} by {known}");
            }
        }
        let deep = format!("{}1{}", "{\"a\":".repeat(40), "}".repeat(40));
        assert_eq!(cut(deep.as_bytes(), &mut slots), None);
    }
}
