//! `detected_level`: how Loki guesses the level of a line that arrives (`pkg/distributor/
//! field_detection.go`, 3.7.6), kept as structured metadata.
//!
//! The first of these that says something counts: `detected_level` in the metadata, a level label of
//! the stream, a level label of the metadata, OpenTelemetry's `severity_number`, a level member of a
//! JSON line (two objects deep), a level key of a logfmt line, and last the words of the line.
//! A line that says nothing has the level `unknown`.

use std::borrow::Cow;
use std::sync::LazyLock;
use vigie_model::{Labels, LogEntry};

/// The label that holds the level.
pub const LEVEL_LABEL: &str = "detected_level";

/// Labels and members that hold a level, in the order in which they are looked for.
const FIELDS: [&str; 14] = [
    "level",
    "LEVEL",
    "Level",
    "log.level",
    "severity",
    "SEVERITY",
    "Severity",
    "SeverityText",
    "lvl",
    "LVL",
    "Lvl",
    "severity_text",
    "Severity_Text",
    "SEVERITY_TEXT",
];
/// The words that are looked for in a line, in order of rank.
const WORDS: [(&str, &str); 9] = [
    ("trace", "trace"),
    ("debug", "debug"),
    ("fatal", "fatal"),
    ("critical", "critical"),
    ("error", "error"),
    ("err", "error"),
    ("warning", "warn"),
    ("warn", "warn"),
    ("info", "info"),
];
/// The spellings of a level in a field.
const SPELLINGS: [(&str, &str); 14] = [
    ("trace", "trace"),
    ("trc", "trace"),
    ("debug", "debug"),
    ("dbg", "debug"),
    ("info", "info"),
    ("inf", "info"),
    ("information", "info"),
    ("warn", "warn"),
    ("wrn", "warn"),
    ("warning", "warn"),
    ("error", "error"),
    ("err", "error"),
    ("critical", "critical"),
    ("fatal", "fatal"),
];
/// For each byte that a word may begin with, the only one that follows it there; 0 for the others.
const SECONDS: [u8; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < WORDS.len() {
        let word = WORDS[at].0.as_bytes();
        let first = word[0] as usize;
        assert!(table[first] == 0 || table[first] == word[1]);
        table[first] = word[1];
        table[word[0].to_ascii_uppercase() as usize] = word[1];
        at += 1;
    }
    table
};
/// How deep a level is looked for in JSON (Loki's `log_level_from_json_max_depth`).
const JSON_DEPTH_MAX: usize = 2;

/// The metadata of a line that has nothing but its level: made once, shared by all lines.
static ALONE: LazyLock<Vec<(&str, Labels)>> = LazyLock::new(|| {
    ["trace", "debug", "info", "warn", "error", "critical", "fatal", "unknown"]
        .map(|level| (level, Labels::from_pairs([(LEVEL_LABEL, level)])))
        .into()
});

/// Adds the level to an entry's metadata.
pub fn add_level(stream: &Labels, entry: &mut LogEntry) {
    let level = match entry.metadata.get(LEVEL_LABEL) {
        Some(level) => match normal(level.as_bytes()) {
            Some(known) if known != level => Cow::Borrowed(known),
            _ => return,
        },
        None => level_of(stream, &entry.metadata, &entry.line),
    };
    let alone = ALONE.iter().find(|(name, _)| *name == level);
    entry.metadata = match alone {
        Some((_, labels)) if entry.metadata.is_empty() => labels.clone(),
        _ => {
            let own = entry.metadata.iter().map(|one| (one.name.clone(), one.value.clone()));
            let level = (LEVEL_LABEL.into(), level.as_ref().into());
            Labels::from_pairs_with_empty(own.chain([level]))
        }
    };
}

/// The level of a line.
fn level_of<'a>(stream: &'a Labels, metadata: &'a Labels, line: &[u8]) -> Cow<'a, str> {
    // Sets are small, and most names are none of a level's.
    let rank = |name: &str| FIELDS.iter().position(|field| *field == name);
    let named = |labels: &'a Labels| {
        let ranked = labels.iter().filter_map(|label| Some((rank(&label.name)?, &*label.value)));
        ranked.min_by_key(|(rank, _)| *rank).map(|(_, value)| value)
    };
    if let Some(text) = named(stream).or_else(|| named(metadata)) {
        return normal(text.as_bytes()).unwrap_or(text).into();
    }
    if let Some(number) = metadata.get("severity_number").filter(|text| !text.is_empty()) {
        return of_severity(number).into();
    }
    let said = if is_json(line) {
        in_json(line)
    } else if line.contains(&b'=') {
        in_logfmt(line)
    } else {
        None
    };
    said.and_then(normal).unwrap_or_else(|| in_words(line)).into()
}

/// OpenTelemetry's severity numbers, four to a level.
fn of_severity(number: &str) -> &'static str {
    match number.parse::<i64>() {
        Err(_) => "info",
        Ok(0) => "unknown",
        Ok(..=4) => "trace",
        Ok(5..=8) => "debug",
        Ok(9..=12) => "info",
        Ok(13..=16) => "warn",
        Ok(17..=20) => "error",
        Ok(21..=24) => "fatal",
        Ok(_) => "unknown",
    }
}

/// The level that a text spells.
fn normal(text: &[u8]) -> Option<&'static str> {
    let known = |(spelling, _): &&(&str, &str)| text.eq_ignore_ascii_case(spelling.as_bytes());
    SPELLINGS.iter().find(known).map(|(_, level)| *level)
}

fn is_json(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    line.first() == Some(&b'{') && line.last() == Some(&b'}')
}

/// The first text member with a level's name.
fn in_json(line: &[u8]) -> Option<&[u8]> {
    let mut scan = Scan { rest: line.trim_ascii() };
    scan.object(0).ok().flatten()
}

/// What is left of a line.
struct Scan<'a> {
    rest: &'a [u8],
}

/// The line is not what it seemed.
struct Broken;

impl<'a> Scan<'a> {
    fn object(&mut self, depth: usize) -> Result<Option<&'a [u8]>, Broken> {
        self.take(b'{')?;
        if self.peek() == Some(b'}') {
            return self.take(b'}').map(|()| None);
        }
        loop {
            self.peek();
            let key = self.text()?;
            self.take(b':')?;
            match self.peek().ok_or(Broken)? {
                b'"' => {
                    let value = self.text()?;
                    if FIELDS.iter().any(|field| field.as_bytes() == key) {
                        return Ok(Some(value));
                    }
                }
                b'{' if depth + 1 < JSON_DEPTH_MAX => {
                    if let Some(found) = self.object(depth + 1)? {
                        return Ok(Some(found));
                    }
                }
                b'{' | b'[' => self.skip_block()?,
                _ => {
                    let end = self.rest.iter().position(|byte| b",}] \t\n\r".contains(byte));
                    self.rest = &self.rest[end.ok_or(Broken)?..];
                }
            }
            match self.peek() {
                Some(b',') => self.take(b',')?,
                Some(b'}') => return self.take(b'}').map(|()| None),
                _ => return Err(Broken),
            }
        }
    }

    fn peek(&mut self) -> Option<u8> {
        self.rest = self.rest.trim_ascii_start();
        self.rest.first().copied()
    }

    fn take(&mut self, byte: u8) -> Result<(), Broken> {
        if self.peek() != Some(byte) {
            return Err(Broken);
        }
        self.rest = &self.rest[1..];
        Ok(())
    }

    /// A quoted text, its escapes left in.
    fn text(&mut self) -> Result<&'a [u8], Broken> {
        let inner = self.rest.strip_prefix(b"\"").ok_or(Broken)?;
        let mut at = 0;
        while let Some(found) = memchr::memchr2(b'"', b'\\', &inner[at.min(inner.len())..]) {
            at += found;
            if inner[at] == b'"' {
                self.rest = &inner[at + 1..];
                return Ok(&inner[..at]);
            }
            at += 2;
        }
        Err(Broken)
    }

    /// An object or a list, whatever is in it.
    fn skip_block(&mut self) -> Result<(), Broken> {
        let mut open = 0usize;
        loop {
            match self.rest.first().ok_or(Broken)? {
                b'"' => {
                    self.text()?;
                    continue;
                }
                b'{' | b'[' => open += 1,
                b'}' | b']' => open -= 1,
                _ => {}
            }
            self.rest = &self.rest[1..];
            if open == 0 {
                return Ok(());
            }
        }
    }
}

/// The value under the level key of the best rank.
fn in_logfmt(line: &[u8]) -> Option<&[u8]> {
    let mut best: Option<(usize, &[u8])> = None;
    let mut rest = line;
    while let Some(start) = rest.iter().position(|byte| *byte > b' ') {
        rest = &rest[start..];
        let end = rest.iter().position(|byte| *byte == b'=' || *byte <= b' ').unwrap_or(rest.len());
        let key = &rest[..end];
        if key.is_empty() || key.contains(&b'"') {
            break;
        }
        rest = &rest[end..];
        let value = match rest.strip_prefix(b"=") {
            None => &b""[..],
            Some(after) if after.first() == Some(&b'"') => {
                let mut scan = Scan { rest: after };
                let Ok(text) = scan.text() else { break };
                rest = scan.rest;
                text
            }
            Some(after) => {
                let end = after.iter().position(|byte| *byte <= b' ').unwrap_or(after.len());
                rest = &after[end..];
                if after[..end].iter().any(|byte| b"=\"".contains(byte)) {
                    break;
                }
                &after[..end]
            }
        };
        let rank = FIELDS.iter().position(|field| key.eq_ignore_ascii_case(field.as_bytes()));
        match rank {
            Some(0) => return Some(value),
            Some(rank) if best.is_none_or(|(have, _)| rank < have) => best = Some((rank, value)),
            _ => {}
        }
    }
    best.map(|(_, value)| value)
}

/// The best word of a line. Of each word only the first place counts, as in Loki, and it counts
/// only when it stands alone.
fn in_words(line: &[u8]) -> &'static str {
    // 0: not met, 1: met inside another word, 2: met alone.
    let mut met = [0u8; WORDS.len()];
    for (at, two) in line.windows(2).enumerate() {
        // Nearly every place ends here.
        if two[1].to_ascii_lowercase() != SECONDS[usize::from(two[0])] {
            continue;
        }
        for (met, (word, _)) in met.iter_mut().zip(WORDS) {
            let here = line.get(at..at + word.len());
            if *met == 0 && here.is_some_and(|here| here.eq_ignore_ascii_case(word.as_bytes())) {
                let before = at == 0 || is_boundary(line[at - 1]);
                let after = line.get(at + word.len()).is_none_or(|byte| is_boundary(*byte));
                *met = if before && after { 2 } else { 1 };
            }
        }
    }
    let best = met.iter().position(|met| *met == 2);
    best.map_or("unknown", |at| WORDS[at].1)
}

/// Loki takes a byte for a character of Latin-1 here.
fn is_boundary(byte: u8) -> bool {
    !(byte == b'_' || char::from(byte).is_alphabetic() || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_guessed_as_loki_guesses_it() {
        let none = Labels::default();
        let labels = |name: &str, value: &str| Labels::from_pairs([(name, value)]);
        for (stream, metadata, line, level) in [
            (labels("level", "WARNING"), none.clone(), "plain error", "warn"),
            (labels("level", "notice"), none.clone(), "plain", "notice"),
            (none.clone(), labels("lvl", "DBG"), "error", "debug"),
            (none.clone(), labels("severity_number", "17"), "info", "error"),
            (none.clone(), labels("severity_number", "x"), "error", "info"),
            (
                none.clone(),
                none.clone(),
                r#" {"a":{"b":[1,{"level":"x"}],"level":"ERR"}} "#,
                "error",
            ),
            (none.clone(), none.clone(), r#"{"a":{"b":{"level":"error"}},"x":1}"#, "error"),
            (none.clone(), none.clone(), r#"{"level":3,"msg":"an \" info"}"#, "info"),
            (none.clone(), none.clone(), r#"{"level":"odd"}"#, "unknown"),
            (none.clone(), none.clone(), r#"{"broken":, "level":"debug" warn}"#, "debug"),
            (none.clone(), none.clone(), "ts=1 severity=error lvl=info", "error"),
            (none.clone(), none.clone(), "lvl=info severity=error LEVEL=\"wrn\"", "warn"),
            (none.clone(), none.clone(), "a=b=c level=info debug", "debug"),
            (none.clone(), none.clone(), "2026 ERROR: no", "error"),
            (none.clone(), none.clone(), "errors err", "unknown"),
            (none.clone(), none.clone(), "information WARN", "warn"),
            (none.clone(), none.clone(), "trace_id x", "unknown"),
            (none.clone(), none.clone(), "info then fatal", "fatal"),
            (none.clone(), none.clone(), "", "unknown"),
            (none.clone(), labels("detected_level", "Warning"), "error", "warn"),
            (none.clone(), labels("detected_level", "mine"), "error", "mine"),
        ] {
            let mut entry = LogEntry { ts_ns: 0, line: line.into(), metadata };
            add_level(&stream, &mut entry);
            assert_eq!(entry.metadata.get(LEVEL_LABEL), Some(level), "{stream} {line}");
        }
    }
}
