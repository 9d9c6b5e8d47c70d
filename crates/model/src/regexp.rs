//! Go's regular expressions (RE2 syntax) on Rust's engine, for both languages and for templates.
//!
//! The syntaxes differ at the edges: in Go `\d`, `\w`, `\s` and `\b` are ASCII, a `{` that starts no
//! repetition and a `[` inside a class are literals, an escaped mark is always itself, `\12` is an
//! octal character, and repetitions do not stack.
//! A pattern is read once from left to right and written in Rust's syntax; every step looks a bounded
//! way ahead, so a hostile pattern costs linear time. The errors that users see are Go's.

mod literals;

pub use literals::{Literals, literals};

use regex::{Regex, RegexBuilder, bytes};
use std::sync::{Mutex, PoisonError};

/// Largest compiled expression, so that a hostile one cannot take the memory.
const REGEX_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Go's limit on a repetition count.
const REPEAT_MAX: u32 = 1000;
/// The named ASCII classes, as in `[[:alpha:]]`.
const ASCII_CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

/// A pattern that is not a regular expression, in Go's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("error parsing regexp: {what}: `{place}`")]
pub struct RegexpError {
    /// What is wrong.
    pub what: String,
    /// The part of the pattern that it is about.
    pub place: String,
}

/// Compiled patterns that are remembered, and the longest of them: dashboards ask with the same
/// list of instances again and again, and compiling it costs more than running it.
const REMEMBERED_MAX: usize = 16;
const REMEMBERED_BYTES_MAX: usize = 4096;

/// A pattern and whether its dot matches a new line; the one used last stands last.
type Remembered = Vec<((String, bool), Regex)>;
static REMEMBERED: Mutex<Remembered> = Mutex::new(Vec::new());

/// Compiles a pattern that must match a whole text, as matchers and relabelling rules do.
pub fn whole(pattern: &str, dot_matches_newline: bool) -> Result<Regex, RegexpError> {
    // Nothing is half done under the lock.
    let lock = || REMEMBERED.lock().unwrap_or_else(PoisonError::into_inner);
    {
        let mut remembered = lock();
        let is_same = |(known, _): &((String, bool), Regex)| {
            known.1 == dot_matches_newline && known.0 == pattern
        };
        if let Some(at) = remembered.iter().position(is_same) {
            let found = remembered.remove(at);
            remembered.push(found);
            return Ok(remembered[remembered.len() - 1].1.clone());
        }
    }
    let regex = compile_whole(pattern, dot_matches_newline)?;
    if pattern.len() <= REMEMBERED_BYTES_MAX {
        let mut remembered = lock();
        if remembered.len() >= REMEMBERED_MAX {
            remembered.remove(0);
        }
        remembered.push(((pattern.to_owned(), dot_matches_newline), regex.clone()));
    }
    Ok(regex)
}

fn compile_whole(pattern: &str, dot_matches_newline: bool) -> Result<Regex, RegexpError> {
    RegexBuilder::new(&format!("^(?:{})$", translate(pattern)?))
        .dot_matches_new_line(dot_matches_newline)
        .size_limit(REGEX_BYTES_MAX)
        .build()
        .map_err(|error| refused(pattern, &error))
}

/// Compiles a pattern that may match anywhere in a text.
pub fn in_text(pattern: &str) -> Result<Regex, RegexpError> {
    RegexBuilder::new(&translate(pattern)?)
        .size_limit(REGEX_BYTES_MAX)
        .build()
        .map_err(|error| refused(pattern, &error))
}

/// Compiles a pattern that may match anywhere in a line, which is not always UTF-8.
pub fn in_line(pattern: &str) -> Result<bytes::Regex, RegexpError> {
    bytes::RegexBuilder::new(&translate(pattern)?)
        .size_limit(REGEX_BYTES_MAX)
        .build()
        .map_err(|error| refused(pattern, &error))
}

/// The engine's reason, where Go would have had one that [`translate`] does not know.
fn refused(pattern: &str, error: &regex::Error) -> RegexpError {
    let what = match error {
        regex::Error::CompiledTooBig(_) => "expression too large".to_owned(),
        error => {
            let text = error.to_string();
            text.lines().last().unwrap_or("").trim_start_matches("error: ").to_owned()
        }
    };
    RegexpError { what, place: pattern.to_owned() }
}

/// Go's syntax → Rust's, or Go's error.
fn translate(pattern: &str) -> Result<String, RegexpError> {
    let out = String::with_capacity(pattern.len());
    let mut state = Translation { pattern, at: 0, out };
    state.run()?;
    Ok(state.out)
}

/// What the piece before a repetition operator is.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    /// Nothing that could be repeated.
    Nothing,
    /// A character, a class or a group.
    Piece,
    /// A repetition that starts at this byte.
    Repetition(usize),
}

struct Translation<'a> {
    pattern: &'a str,
    /// The next byte to read, on a character boundary.
    at: usize,
    out: String,
}

impl<'a> Translation<'a> {
    fn rest(&self) -> &'a str {
        &self.pattern[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn error<T>(&self, what: &str, place: &str) -> Result<T, RegexpError> {
        Err(RegexpError { what: what.to_owned(), place: place.to_owned() })
    }

    /// Copies the next `bytes` bytes as they are.
    fn copy(&mut self, bytes: usize) {
        self.out.push_str(&self.rest()[..bytes]);
        self.at += bytes;
    }

    /// Writes a character that means itself.
    fn literal(&mut self, c: char) {
        self.out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
    }

    fn run(&mut self) -> Result<(), RegexpError> {
        let (mut open, mut before) = (0usize, Before::Nothing);
        while let Some(c) = self.peek() {
            let was = std::mem::replace(&mut before, Before::Piece);
            match c {
                '\\' => self.escape(false)?,
                '[' => self.class()?,
                '(' => {
                    open += 1;
                    before = Before::Nothing;
                    self.group()?;
                }
                ')' => {
                    if open == 0 {
                        return self.error("unexpected )", self.pattern);
                    }
                    open -= 1;
                    self.copy(1);
                }
                '*' | '+' | '?' => before = self.repetition(was, 1)?,
                '{' => match self.braces()? {
                    Some(length) => before = self.repetition(was, length)?,
                    None => {
                        self.out.push('\\');
                        self.copy(1);
                    }
                },
                '|' => {
                    before = Before::Nothing;
                    self.copy(1);
                }
                c => self.copy(c.len_utf8()),
            }
        }
        if open > 0 {
            return self.error("missing closing )", self.pattern);
        }
        Ok(())
    }

    /// A repetition operator of `length` bytes and the `?` that may follow it.
    fn repetition(&mut self, before: Before, length: usize) -> Result<Before, RegexpError> {
        let start = self.at;
        if before == Before::Nothing {
            let operator = &self.rest()[..length];
            return self.error("missing argument to repetition operator", operator);
        }
        let lazy = usize::from(self.rest()[length..].starts_with('?'));
        self.copy(length + lazy);
        if let Before::Repetition(first) = before {
            let both = &self.pattern[first..self.at];
            return self.error("invalid nested repetition operator", both);
        }
        Ok(Before::Repetition(start))
    }

    /// The length of `{2}`, `{2,}` or `{2,5}` ahead; `None` for a brace that is only a brace.
    fn braces(&self) -> Result<Option<usize>, RegexpError> {
        let rest = self.rest();
        let digits =
            |from: usize| rest[from..].bytes().take_while(u8::is_ascii_digit).count() + from;
        let low_end = digits(1);
        let comma = rest[low_end..].starts_with(',');
        let high_start = low_end + usize::from(comma);
        let high_end = if comma { digits(high_start) } else { low_end };
        if low_end == 1 || !rest[high_end..].starts_with('}') {
            return Ok(None);
        }
        let count = |text: &str| text.parse::<u32>().unwrap_or(u32::MAX);
        let low = count(&rest[1..low_end]);
        let high = match (comma, high_end > high_start) {
            (false, _) | (true, false) => low,
            (true, true) => count(&rest[high_start..high_end]),
        };
        if low.max(high) > REPEAT_MAX || high < low {
            return self.error("invalid repeat count", &rest[..=high_end]);
        }
        Ok(Some(high_end + 1))
    }

    /// `(`, `(?:`, `(?P<name>`, and `(?i` up to its parenthesis.
    fn group(&mut self) -> Result<(), RegexpError> {
        let rest = self.rest();
        let Some(inside) = rest.strip_prefix("(?") else {
            self.copy(1);
            return Ok(());
        };
        if let Some(start) = ["(?P<", "(?<"].iter().find(|start| rest.starts_with(**start)) {
            let name = rest[start.len()..].bytes();
            let name_end =
                start.len() + name.take_while(|b| *b == b'_' || b.is_ascii_alphanumeric()).count();
            if name_end == start.len() || !rest[name_end..].starts_with('>') {
                let end = rest.find('>').map_or(rest.len(), |end| end + 1);
                return self.error("invalid named capture", &rest[..end]);
            }
            self.copy(name_end + 1);
            return Ok(());
        }
        let flags = inside.bytes().take_while(|b| b"imsU-".contains(b)).count();
        match inside[flags..].chars().next() {
            Some(':') => self.copy(2 + flags + 1),
            // `(?i)` closes itself through the `)` that follows.
            Some(')') => self.copy(2 + flags),
            Some(bad) => {
                let place = &rest[..2 + flags + bad.len_utf8()];
                return self.error("invalid or unsupported Perl syntax", place);
            }
            None => return self.error("missing closing )", self.pattern),
        }
        Ok(())
    }

    fn class(&mut self) -> Result<(), RegexpError> {
        let start = self.at;
        self.copy(1);
        if self.rest().starts_with('^') {
            self.copy(1);
        }
        let first = self.at;
        loop {
            let rest = self.rest();
            match self.peek() {
                None => return self.error("missing closing ]", &self.pattern[start..]),
                Some(']') if self.at > first => {
                    self.copy(1);
                    return Ok(());
                }
                Some('\\') => self.escape(true)?,
                Some('[') if named_class(rest).is_some() => {
                    self.copy(named_class(rest).unwrap_or(1));
                }
                Some(c @ ('[' | ']' | '&' | '~')) => {
                    self.out.push('\\');
                    self.copy(c.len_utf8());
                }
                Some('-') if rest.starts_with("--") => {
                    self.out.push('\\');
                    self.copy(1);
                }
                Some(c) => self.copy(c.len_utf8()),
            }
        }
    }

    /// What starts with a backslash.
    fn escape(&mut self, in_class: bool) -> Result<(), RegexpError> {
        let rest = self.rest();
        let Some(escaped) = rest[1..].chars().next() else {
            return self.error("trailing backslash at end of expression", "");
        };
        let ascii = match (escaped, in_class) {
            ('d', _) => "[0-9]",
            ('D', _) => "[^0-9]",
            ('w', _) => "[0-9A-Za-z_]",
            ('W', _) => "[^0-9A-Za-z_]",
            ('s', _) => "[\\t\\n\\f\\r ]",
            ('S', _) => "[^\\t\\n\\f\\r ]",
            ('b', false) => "(?-u:\\b)",
            ('B', false) => "(?-u:\\B)",
            _ => "",
        };
        if !ascii.is_empty() {
            self.out.push_str(ascii);
            self.at += 2;
            return Ok(());
        }
        match escaped {
            'a' | 'f' | 't' | 'n' | 'r' | 'v' => self.copy(2),
            'A' | 'z' if !in_class => self.copy(2),
            'p' | 'P' | 'x' => self.braced_escape(),
            'Q' if !in_class => self.quoted(),
            '0'..='7' => return self.octal(),
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => {
                self.literal(c);
                self.at += 2;
            }
            c => return self.error("invalid escape sequence", &rest[..1 + c.len_utf8()]),
        }
        Ok(())
    }

    /// `\pL`, `\p{Greek}`, `\p{^Greek}`, `\x41`, `\x{1F600}`; their insides are the engine's to check.
    fn braced_escape(&mut self) {
        let rest = self.rest();
        let letter = &rest[1..2];
        let Some(inside) = rest[2..].strip_prefix('{') else { return self.copy(2) };
        let word = |b: &u8| b.is_ascii_alphanumeric() || b"_^-".contains(b);
        let length = inside.bytes().take_while(word).count();
        match (inside[..length].strip_prefix('^'), letter) {
            (Some(name), "p") => self.out.push_str(&format!("\\P{{{name}")),
            (Some(name), "P") => self.out.push_str(&format!("\\p{{{name}")),
            _ => self.out.push_str(&rest[..3 + length]),
        }
        self.at += 3 + length;
        if self.rest().starts_with('}') {
            self.copy(1);
        }
    }

    /// `\Q…\E`, where the end may be missing.
    fn quoted(&mut self) {
        let inside = &self.rest()[2..];
        let (literal, skipped) = match inside.find("\\E") {
            Some(end) => (&inside[..end], end + 4),
            None => (inside, inside.len() + 2),
        };
        self.out.push_str(&regex::escape(literal));
        self.at += skipped;
    }

    /// `\0`, `\12`, `\123`; a lone digit but 0 would be a backreference, which RE2 does not have.
    fn octal(&mut self) -> Result<(), RegexpError> {
        let rest = self.rest();
        let digits = rest[1..].bytes().take(3).take_while(|b| (b'0'..=b'7').contains(b)).count();
        if digits == 1 && !rest.starts_with("\\0") {
            return self.error("invalid escape sequence", &rest[..2]);
        }
        let code = u32::from_str_radix(&rest[1..=digits], 8).unwrap_or(0);
        self.out.push_str(&format!("\\x{{{code:x}}}"));
        self.at += 1 + digits;
        Ok(())
    }
}

/// The length of `[:alpha:]` or `[:^alpha:]` at the start of `text`.
fn named_class(text: &str) -> Option<usize> {
    let inside = text.strip_prefix("[:")?;
    let plain = inside.strip_prefix('^').unwrap_or(inside);
    let name = ASCII_CLASSES
        .iter()
        .find(|name| plain.strip_prefix(**name).is_some_and(|rest| rest.starts_with(":]")))?;
    Some(text.len() - plain.len() + name.len() + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remembered_pattern_is_the_one_that_was_asked_for() {
        for round in 0..3 {
            for number in 0..2 * REMEMBERED_MAX {
                let pattern = format!("host-{number:02}.*");
                let text = format!("host-{number:02}\n{round}");
                for dot_matches_newline in [false, true] {
                    let regex = whole(&pattern, dot_matches_newline).unwrap();
                    assert_eq!(regex.is_match(&text), dot_matches_newline, "{pattern}");
                }
            }
        }
        assert!(REMEMBERED.lock().unwrap().len() <= REMEMBERED_MAX);
    }

    #[test]
    fn patterns_match_as_in_go() {
        for (pattern, text, matches) in [
            (r"\d+", "12", true),
            (r"\d", "٣", false),
            (r"a{b", "a{b", true),
            (r"a{,2}", "a{,2}", true),
            (r"a{2,}", "aaa", true),
            (r#"\{"a""#, r#"{"a""#, true),
            (r"[[a]", "[", true),
            (r"[[:a]", ":", true),
            (r"[[:^alpha:]]", "1", true),
            (r"[[:alpha:]-]", "-", true),
            (r"[]a]", "]", true),
            (r"[^]a]", "]", false),
            (r"[a&&b]", "&", true),
            (r"[\w-.]", "-", true),
            (r"a\<b\ c", "a<b c", true),
            (r"(?i)error", "ERROR", true),
            ("multi.line", "multi\nline", false),
            (r"(?s)multi.line", "multi\nline", true),
            (r"(?:a|b)+c", "abac", true),
            (r"[\w.-]+@", "a.b-c@", true),
            (r"^\p{Greek}\pL$", "αé", true),
            (r"^\p{^Greek}$", "α", false),
            (r"^\x{4f}\x41\101\x{1F600}$", "OAA😀", true),
            (r"^\Qa.b\E.$", "a.bc", true),
            (r"^\Qa.b", "a.b", true),
            (r"(?P<a_1>x)(?<b>y)", "xy", true),
            (r"a*?b", "b", true),
            (r"\bé", "é", false),
        ] {
            let regex = in_line(pattern).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(regex.is_match(text.as_bytes()), matches, "{pattern} {text}");
        }
        assert!(whole("a.b|c", true).is_ok_and(|r| r.is_match("a\nb") && !r.is_match("ac")));
        assert!(whole("a.b", false).is_ok_and(|r| !r.is_match("a\nb")));
    }

    #[test]
    fn errors_are_gos() {
        for (pattern, error) in [
            ("(", "missing closing ): `(`"),
            ("a)", "unexpected ): `a)`"),
            ("(?i", "missing closing ): `(?i`"),
            ("a{1001}", "invalid repeat count: `{1001}`"),
            ("a{3,2}", "invalid repeat count: `{3,2}`"),
            ("*a", "missing argument to repetition operator: `*`"),
            ("a|{2}", "missing argument to repetition operator: `{2}`"),
            ("a**", "invalid nested repetition operator: `**`"),
            ("a{2}?+", "invalid nested repetition operator: `{2}?+`"),
            ("x[a", "missing closing ]: `[a`"),
            ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
            ("(?P=a)", "invalid or unsupported Perl syntax: `(?P`"),
            ("(?P<a-b>c)", "invalid named capture: `(?P<a-b>`"),
            (r"\1", r"invalid escape sequence: `\1`"),
            (r"\8", r"invalid escape sequence: `\8`"),
            (r"\q", r"invalid escape sequence: `\q`"),
            ("a\\", "trailing backslash at end of expression: ``"),
            ("((a{100}){100}){100}", "expression too large: `((a{100}){100}){100}`"),
        ] {
            let got = in_line(pattern).map(|_| ()).map_err(|e| e.to_string());
            assert_eq!(got, Err(format!("error parsing regexp: {error}")), "{pattern}");
        }
    }

    #[test]
    fn hostile_patterns_cost_linear_time() {
        for piece in ["[a", "[[:", "{", "\\Qa\\E", "(?P<", "[a]", "\\p{"] {
            // An answer of either kind; squared, these would take minutes.
            let _ = translate(&piece.repeat(200_000));
        }
    }
}
