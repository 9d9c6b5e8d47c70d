//! What is wrong with a file, where, and how it reads there.

use regex::Regex;
use std::fmt;
use std::sync::LazyLock;

/// A configuration that is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {file}: {reason}")]
    Unreadable {
        /// The path as given.
        file: String,
        /// The system's words.
        reason: String,
    },
    /// Something in the file is wrong.
    #[error("{0}")]
    Wrong(Finding),
}

/// One wrong place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The path as given.
    pub file: String,
    /// From 1; 0 when the place is not known.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What is wrong and what would be right.
    pub message: String,
    /// The lines around it, with a caret.
    pub excerpt: String,
}

impl Finding {
    /// A finding with its excerpt cut out of `text`.
    pub(crate) fn new(
        file: &str,
        text: &str,
        line: usize,
        column: usize,
        message: impl Into<String>,
    ) -> Finding {
        let excerpt = excerpt(text, line, column);
        Finding { file: file.to_owned(), line, column, message: message.into(), excerpt }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            return write!(f, "{}: {}", self.file, self.message);
        }
        write!(f, "{}:{}:{}: {}\n{}", self.file, self.line, self.column, self.message, self.excerpt)
    }
}

/// The values of keys that hold secrets.
static SECRET: LazyLock<Regex> = LazyLock::new(|| {
    let keys = "password|secret|token|credentials|routing_key|api_url|dsn";
    Regex::new(&format!(r#"(?i)(\b\w*(?:{keys})\s*:\s*)[^\s,}}][^,}}]*"#))
        .expect("the pattern is a constant")
});

/// Most characters of a line in an excerpt.
const EXCERPT_CHARS_MAX: usize = 120;

/// The line before and the line itself, cut around the place, with a caret below it.
fn excerpt(text: &str, line: usize, column: usize) -> String {
    if line == 0 {
        return String::new();
    }
    let skipped = column.saturating_sub(EXCERPT_CHARS_MAX * 3 / 4);
    let mut out = String::new();
    for number in line.saturating_sub(1).max(1)..=line {
        let Some(content) = text.lines().nth(number - 1) else { continue };
        // A tab would move the caret, and what is secret must not stand in a log.
        let content: String = SECRET
            .replace_all(content, "$1<secret>")
            .chars()
            .map(|c| if c == '\t' { ' ' } else { c })
            .skip(skipped)
            .take(EXCERPT_CHARS_MAX)
            .collect();
        out.push_str(&format!("{number:>5} | {content}\n"));
    }
    out.push_str(&format!("      | {}^", " ".repeat(column.saturating_sub(1 + skipped))));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_shows_the_place_and_no_secret() {
        let text = "  password: hunter2 x\n- {Routing_Key: 'k', nmae: a, password_file: f}\n";
        assert_eq!(
            excerpt(text, 2, 4),
            "    1 |   password: <secret>\n    2 | - {Routing_Key: <secret>, nmae: a, password_file: f}\n      |    ^"
        );
        assert_eq!(excerpt("a\n\tb", 2, 2), "    1 | a\n    2 |  b\n      |  ^");
        assert_eq!(excerpt("a", 0, 0), "");
    }
}
