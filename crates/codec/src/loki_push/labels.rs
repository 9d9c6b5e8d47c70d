//! The text form of a stream's labels, `{app="a", env='b'}`, as Prometheus' metric parser reads it.
//!
//! Errors carry Prometheus' position (`line:column`, from 1) because Loki passes them on to clients.

use super::{PushError, check_pairs, shown};
use std::collections::HashSet;
use vigie_model::Labels;

/// Whether `name` may be the name of a label.
pub(super) fn is_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Parses `{name="value", …}`; empty values are left out, a name given twice is an error.
pub fn parse_labels(text: &str) -> Result<Labels, PushError> {
    Parser { text, at: 0 }.labels()
}

/// The error that the text form of these pairs would give, for labels that came as a JSON object.
pub(super) fn checked_pairs(pairs: Vec<(String, String)>) -> Result<Labels, PushError> {
    if pairs.iter().all(|(name, _)| is_label_name(name)) {
        return Ok(Labels::from_pairs(pairs));
    }
    let mut sorted: Vec<_> = pairs.iter().filter(|(_, value)| !value.is_empty()).collect();
    sorted.sort();
    let shown: Vec<String> =
        sorted.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    parse_labels(&format!("{{{}}}", shown.join(", ")))
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn labels(mut self) -> Result<Labels, PushError> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        let mut names = HashSet::new();
        self.expect(b'{', "\"{\"")?;
        while self.peek() != Some(b'}') {
            let name = self.name()?;
            self.expect(b'=', "\"=\"")?;
            let value = self.string()?;
            if !names.insert(name) {
                return Err(PushError::Limit(format!(
                    "stream '{}' has duplicate label name: '{}'",
                    shown(self.text),
                    shown(name)
                )));
            }
            check_pairs(pairs.len())?;
            pairs.push((name.to_owned(), value));
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {}
                _ => return Err(self.unexpected("\",\" or \"}\"")),
            }
        }
        self.at += 1;
        match self.peek() {
            None => Ok(Labels::from_pairs(pairs)),
            Some(_) => Err(self.unexpected("end of input")),
        }
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().take_while(|b| b.is_ascii_whitespace()).count();
        self.text.as_bytes().get(self.at).copied()
    }

    fn expect(&mut self, byte: u8, shown: &str) -> Result<(), PushError> {
        if self.peek() != Some(byte) {
            return Err(self.unexpected(shown));
        }
        self.at += 1;
        Ok(())
    }

    fn name(&mut self) -> Result<&'a str, PushError> {
        match self.peek() {
            Some(b) if b.is_ascii_alphabetic() || b == b'_' => {}
            _ => return Err(self.unexpected("label name")),
        }
        let rest = &self.text[self.at..];
        let end =
            rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        self.at += end;
        Ok(&rest[..end])
    }

    fn string(&mut self) -> Result<String, PushError> {
        let quote = match self.peek() {
            Some(quote @ (b'"' | b'\'' | b'`')) => quote as char,
            _ => return Err(self.unexpected("string")),
        };
        let start = self.at;
        let mut out = String::new();
        let mut chars = self.text[start + 1..].char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                _ if c == quote => {
                    self.at = start + 1 + at + 1;
                    return Ok(out);
                }
                '\n' if quote != '`' => break,
                '\\' if quote != '`' => match unescape(&mut chars, quote) {
                    Some(c) => out.push(c),
                    None => return Err(self.error(start, "invalid escape in quoted string")),
                },
                c => out.push(c),
            }
        }
        Err(self.error(start, "unterminated quoted string"))
    }

    fn unexpected(&mut self, expected: &str) -> PushError {
        let at = self.at;
        match self.text[at.min(self.text.len())..].chars().next() {
            None => self.error(at, &format!("unexpected end of input, expected {expected}")),
            Some(c) if at > 0 => {
                self.error(at, &format!("unexpected character inside braces: {c:?}"))
            }
            Some(c) => self.error(at, &format!("unexpected character: {c:?}")),
        }
    }

    fn error(&self, at: usize, what: &str) -> PushError {
        let before = &self.text[..at.min(self.text.len())];
        let line = before.matches('\n').count() + 1;
        let column = before.len() - before.rfind('\n').map_or(0, |newline| newline + 1) + 1;
        PushError::Labels(format!("{line}:{column}: parse error: {what}"))
    }
}

/// One of Go's escapes, after the backslash. `\x` and octal escapes of bytes that are not ASCII
/// cannot be text and are refused.
fn unescape(chars: &mut std::str::CharIndices<'_>, quote: char) -> Option<char> {
    let (_, kind) = chars.next()?;
    let mut number = |seed: u32, count: usize, radix: u32| {
        let mut value = seed;
        for _ in 0..count {
            value = value.checked_mul(radix)? + chars.next()?.1.to_digit(radix)?;
        }
        Some(value)
    };
    let code = match kind {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => 0x0a,
        'r' => 0x0d,
        't' => 0x09,
        'v' => 0x0b,
        '\\' => 0x5c,
        'x' => number(0, 2, 16).filter(|&code| code < 0x80)?,
        'u' => number(0, 4, 16)?,
        'U' => number(0, 8, 16)?,
        '0'..='7' => number(kind as u32 - '0' as u32, 2, 8).filter(|&code| code < 0x80)?,
        c if c == quote => c as u32,
        _ => return None,
    };
    char::from_u32(code)
}
