//! Go's regular expressions on Rust's engine.
//!
//! The syntaxes differ at the edges: in Go `\d`, `\w`, `\s` and `\b` are ASCII, a `{` that starts no
//! repetition and a `[` inside a class are literals, and an escaped punctuation mark is always itself.
//! The errors that users see are Go's.

use regex::bytes::{Regex, RegexBuilder};

/// Largest compiled expression.
const REGEX_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Go's limit on a repetition count.
const REPEAT_MAX: u64 = 1000;

/// Compiles an expression; the error starts with Go's `error parsing regexp:`.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    let translated = translate(pattern)?;
    RegexBuilder::new(&translated).size_limit(REGEX_BYTES_MAX).build().map_err(|error| {
        let text = error.to_string();
        let last = text.lines().last().unwrap_or("").trim_start_matches("error: ").to_owned();
        format!("error parsing regexp: {last}: `{pattern}`")
    })
}

/// Checks the expression of `| regexp`: it must compile, and name captures, each once.
pub fn check_captures(pattern: &str) -> Result<(), String> {
    let duplicate = duplicate_name(pattern);
    if let Some(name) = duplicate {
        return Err(format!("duplicate extracted label name '{name}'"));
    }
    let regex = compile(pattern)?;
    if regex.capture_names().flatten().next().is_none() {
        return Err("at least one named capture must be supplied".to_owned());
    }
    Ok(())
}

fn duplicate_name(pattern: &str) -> Option<&str> {
    let mut names: Vec<&str> = Vec::new();
    for (at, _) in pattern.match_indices("(?") {
        let rest = &pattern[at + 2..];
        let Some(rest) = rest.strip_prefix("P<").or_else(|| rest.strip_prefix('<')) else {
            continue;
        };
        let name = &rest[..rest.find('>')?];
        if names.contains(&name) {
            return Some(name);
        }
        names.push(name);
    }
    None
}

/// Go's syntax → Rust's, or Go's error.
pub fn translate(pattern: &str) -> Result<String, String> {
    let mut state =
        Translation { pattern, chars: pattern.char_indices().collect(), at: 0, out: String::new() };
    state.run()?;
    Ok(state.out)
}

struct Translation<'a> {
    pattern: &'a str,
    chars: Vec<(usize, char)>,
    at: usize,
    out: String,
}

impl Translation<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).map(|(_, c)| *c)
    }

    fn error(&self, what: &str, text: &str) -> String {
        format!("error parsing regexp: {what}: `{text}`")
    }

    fn rest(&self) -> &str {
        self.chars.get(self.at).map_or("", |(at, _)| &self.pattern[*at..])
    }

    fn run(&mut self) -> Result<(), String> {
        let (mut open, mut repeatable) = (0usize, false);
        while let Some(c) = self.peek(0) {
            let was_repeatable = std::mem::replace(&mut repeatable, true);
            match c {
                '\\' => self.escape(false)?,
                '[' => self.class()?,
                '(' => {
                    open += 1;
                    repeatable = false;
                    self.group()?;
                }
                ')' => {
                    if open == 0 {
                        return Err(self.error("unexpected )", self.pattern));
                    }
                    open -= 1;
                    self.copy();
                }
                '*' | '+' | '?' => {
                    if !was_repeatable {
                        let text = c.to_string();
                        return Err(self.error("missing argument to repetition operator", &text));
                    }
                    self.copy();
                }
                '{' => self.brace()?,
                '|' => {
                    repeatable = false;
                    self.copy();
                }
                _ => self.copy(),
            }
        }
        if open > 0 {
            return Err(self.error("missing closing )", self.pattern));
        }
        Ok(())
    }

    fn copy(&mut self) {
        if let Some(c) = self.peek(0) {
            self.out.push(c);
            self.at += 1;
        }
    }

    /// `(`, `(?:`, `(?P<name>`, `(?i)`.
    fn group(&mut self) -> Result<(), String> {
        let rest = self.rest();
        let named = ["(?P<", "(?<"].iter().find(|start| rest.starts_with(**start));
        let length = match named {
            Some(start) => {
                let Some(end) = rest.find('>') else {
                    return Err(self.error("invalid named capture", rest));
                };
                let name = &rest[start.len()..end];
                let shaped = !name.is_empty()
                    && name.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric());
                if !shaped {
                    return Err(self.error("invalid named capture", &rest[..=end]));
                }
                rest[..=end].chars().count()
            }
            None if rest.starts_with("(?") => {
                let flags = rest.find([')', ':']).map_or(2, |end| end + 1);
                let text = &rest[..flags];
                if !text[2..].bytes().all(|b| b"imsU-:)".contains(&b)) {
                    return Err(self.error("invalid or unsupported Perl syntax", &rest[..3]));
                }
                let length = text.chars().count() - usize::from(text.ends_with(')'));
                // `(?i)` closes itself through the `)` that follows.
                length
            }
            None => 1,
        };
        for _ in 0..length {
            self.copy();
        }
        Ok(())
    }

    /// `{2,5}`, or a literal brace.
    fn brace(&mut self) -> Result<(), String> {
        let rest = self.rest();
        let inside = rest.find('}').map(|end| &rest[1..end]).unwrap_or("");
        let (low, high) = inside.split_once(',').unwrap_or((inside, inside));
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if low.is_empty() || !digits(low) || !digits(high) {
            self.out.push('\\');
            self.copy();
            return Ok(());
        }
        let bound = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
        let too_many = bound(low) > REPEAT_MAX || (!high.is_empty() && bound(high) > REPEAT_MAX);
        if too_many || (!high.is_empty() && bound(high) < bound(low)) {
            let text = format!("{{{inside}}}");
            return Err(self.error("invalid repeat count", &text));
        }
        for _ in 0..inside.chars().count() + 2 {
            self.copy();
        }
        Ok(())
    }

    fn class(&mut self) -> Result<(), String> {
        let start = self.rest().to_owned();
        self.copy();
        if self.peek(0) == Some('^') {
            self.copy();
        }
        let mut first = true;
        loop {
            match self.peek(0) {
                None => return Err(self.error("missing closing ]", &start)),
                Some(']') if !first => {
                    self.copy();
                    return Ok(());
                }
                Some('\\') => self.escape(true)?,
                Some('[') if self.peek(1) == Some(':') => {
                    let length = self.rest().find(":]").map_or(1, |end| end + 2);
                    for _ in 0..length {
                        self.copy();
                    }
                }
                Some('[' | ']' | '&' | '~') => {
                    self.out.push('\\');
                    self.copy();
                }
                Some('-') if self.peek(1) == Some('-') => {
                    self.out.push('\\');
                    self.copy();
                }
                Some(_) => self.copy(),
            }
            first = false;
        }
    }

    fn escape(&mut self, in_class: bool) -> Result<(), String> {
        let Some(escaped) = self.peek(1) else {
            return Err("error parsing regexp: trailing backslash at end of expression: ``".into());
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
            'a' | 'f' | 't' | 'n' | 'r' | 'v' | 'x' | 'p' | 'P' | 'A' | 'z' => {
                self.copy();
                self.copy();
            }
            'Q' if !in_class => {
                let rest = self.rest()[2..].to_owned();
                let literal = rest.split("\\E").next().unwrap_or("");
                self.out.push_str(&regex::escape(literal));
                let closed = if rest.contains("\\E") { 2 } else { 0 };
                self.at += 2 + literal.chars().count() + closed;
            }
            c if c.is_ascii_punctuation() => {
                self.out.push_str(&regex::escape(&c.to_string()));
                self.at += 2;
            }
            c => return Err(self.error("invalid escape sequence", &format!("\\{c}"))),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_expressions_match_as_in_go() {
        for (pattern, text, matches) in [
            (r"\d+", "12", true),
            (r"\d", "٣", false),
            (r"a{b", "a{b", true),
            (r#"\{"a""#, r#"{"a""#, true),
            (r"[[a]", "[", true),
            (r"a\<b", "a<b", true),
            (r"(?i)error", "ERROR", true),
            ("multi.line", "multi\nline", false),
            (r"(?s)multi.line", "multi\nline", true),
            (r"(?:a|b)+c", "abac", true),
            (r"[\w.-]+@", "a.b-c@", true),
        ] {
            let regex = compile(pattern).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(regex.is_match(text.as_bytes()), matches, "{pattern} {text}");
        }
        for (pattern, error) in [
            ("(", "error parsing regexp: missing closing ): `(`"),
            ("a)", "error parsing regexp: unexpected ): `a)`"),
            ("a{1001}", "error parsing regexp: invalid repeat count: `{1001}`"),
            ("*a", "error parsing regexp: missing argument to repetition operator: `*`"),
            ("[a", "error parsing regexp: missing closing ]: `[a`"),
        ] {
            assert_eq!(compile(pattern).map(|_| ()), Err(error.to_owned()));
        }
    }
}
