//! Loki's logfmt: `key=value` pairs, with its rules on what is a pair and what is an error.

use super::json::{Wanted, clean, sanitize};
use super::labels::{EXTRACTED_MAX, LineLabels};
use std::sync::Arc;
use vigie_model::limits::LABEL_NAME_BYTES_MAX;

/// The pairs of a line, one after the other.
struct Pairs<'a> {
    line: &'a [u8],
    at: usize,
}

/// A key and its value, or the text of an error at a position.
type Pair<'a> = Result<(&'a [u8], Vec<u8>), String>;

impl<'a> Iterator for Pairs<'a> {
    type Item = Pair<'a>;

    fn next(&mut self) -> Option<Pair<'a>> {
        let line = self.line;
        self.at += line[self.at..].iter().take_while(|b| **b <= b' ').count();
        if self.at >= line.len() {
            return None;
        }
        let start = self.at;
        let length = line[start..].iter().take_while(|b| **b > b' ' && !b"=\"".contains(b)).count();
        self.at += length;
        let key = &line[start..self.at];
        if std::str::from_utf8(key).is_err() || key.windows(3).any(|w| w == "\u{fffd}".as_bytes()) {
            return Some(self.error("invalid key"));
        }
        match line.get(self.at) {
            Some(b'=') if !key.is_empty() => {}
            Some(b'=' | b'"') => return Some(self.unexpected()),
            _ => return Some(Ok((key, Vec::new()))),
        }
        self.at += 1;
        match line.get(self.at) {
            Some(b'"') => Some(self.quoted().map(|value| (key, value))),
            _ => Some(self.plain().map(|value| (key, value))),
        }
    }
}

impl Pairs<'_> {
    /// An error here; what is left of the pair is skipped.
    fn error<T>(&mut self, why: &str) -> Result<T, String> {
        let message = format!("logfmt syntax error at pos {} : {why}", self.at + 1);
        self.at += self.line[self.at..].iter().take_while(|b| **b > b' ').count();
        Err(message)
    }

    fn unexpected<T>(&mut self) -> Result<T, String> {
        self.error(&format!("unexpected '{}'", self.line[self.at] as char))
    }

    fn plain(&mut self) -> Result<Vec<u8>, String> {
        let start = self.at;
        while let Some(byte) = self.line.get(self.at).filter(|b| **b > b' ') {
            if b"=\"".contains(byte) {
                return self.unexpected();
            }
            self.at += 1;
        }
        Ok(self.line[start..self.at].to_vec())
    }

    fn quoted(&mut self) -> Result<Vec<u8>, String> {
        let start = self.at + 1;
        let (mut at, mut escapes) = (start, false);
        while at < self.line.len() && self.line[at] != b'"' {
            let escape = self.line[at] == b'\\';
            escapes |= escape;
            at += if escape { 2 } else { 1 };
        }
        if at >= self.line.len() {
            self.at = self.line.len();
            return self.error("unterminated quoted value");
        }
        self.at = at + 1;
        let body = &self.line[start..at];
        if !escapes {
            return Ok(body.to_vec());
        }
        // Go's logfmt unquotes with JSON's rules; serde_json knows them.
        let unquoted = std::str::from_utf8(&self.line[start - 1..=at])
            .ok()
            .and_then(|quoted| serde_json::from_str::<String>(quoted).ok());
        match unquoted {
            Some(text) => Ok(text.into_bytes()),
            None => self.error("invalid quoted value"),
        }
    }
}

/// `| logfmt`: every pair a label. The error is given only if `strict`.
pub fn flatten(
    line: &[u8],
    strict: bool,
    keep_empty: bool,
    labels: &mut LineLabels,
    wanted: &dyn Wanted,
) -> Result<(), String> {
    for pair in (Pairs { line, at: 0 }) {
        let (key, value) = match pair {
            Ok(pair) => pair,
            Err(error) if strict => return Err(error),
            Err(_) => continue,
        };
        let name = sanitize(&String::from_utf8_lossy(key), true);
        if name.is_empty() || !wanted.wants(&name) || (value.is_empty() && !keep_empty) {
            continue;
        }
        if name.len() > LABEL_NAME_BYTES_MAX || labels.extracted().len() >= EXTRACTED_MAX {
            return Err("the line has too many fields, or too long ones".to_owned());
        }
        let Some(name) = labels.extracted_name(&name) else { continue };
        labels.set(name, clean(&value).into());
        if wanted.satisfied(labels) {
            return Ok(());
        }
    }
    Ok(())
}

/// Checks a key of `| logfmt a="key"`, with Loki's words.
pub fn check_key(key: &str) -> Result<(), String> {
    let error = |why: String| Err(format!("cannot parse expression [{key}]: {why}"));
    let is_word = |c: char| c == '_' || c.is_alphanumeric();
    if key.is_empty() {
        return error("syntax error: unexpected $end, expecting KEY".to_owned());
    }
    if let Some(bad) = key.chars().find(|c| !is_word(*c) && *c != ' ' && *c != '-') {
        return error(format!("unexpected char {bad}"));
    }
    if key.trim().contains(' ') {
        return error("syntax error: unexpected KEY".to_owned());
    }
    Ok(())
}

/// `| logfmt a="key"`: the labels named, empty where the line has no such key.
pub fn extract(
    line: &[u8],
    strict: bool,
    keys: &[(Arc<str>, String)],
    labels: &mut LineLabels,
) -> Result<(), String> {
    let mut found: Vec<Arc<str>> = Vec::new();
    let mut error = Ok(());
    for pair in (Pairs { line, at: 0 }) {
        let (key, value) = match pair {
            Ok(pair) => pair,
            Err(why) if strict => {
                error = Err(why);
                break;
            }
            Err(_) => continue,
        };
        let key = String::from_utf8_lossy(key);
        // Loki compares the key with the label too, where the stream has that label.
        let hit = |(label, wanted): &&(Arc<str>, String)| {
            *wanted == key || (label.as_ref() == key && labels.stream_has(label))
        };
        let hits: Vec<Arc<str>> = keys.iter().filter(hit).map(|(label, _)| label.clone()).collect();
        for label in hits {
            let text = String::from_utf8_lossy(&value);
            let text = if text.contains('\u{fffd}') { "" } else { &text };
            // Unlike for the other parsers the last value of a key counts, unless the name is taken.
            let name = labels.free_name(&label);
            if name == label || labels.get(&name).is_none() {
                labels.set(name, text.into());
            }
            found.push(label);
        }
    }
    for (label, _) in keys {
        if !found.contains(label) && labels.get(label).is_none() {
            labels.set(label.clone(), "".into());
        }
    }
    error
}
