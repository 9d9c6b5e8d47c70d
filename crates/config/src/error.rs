//! What is wrong with a file, where, and how it reads there.

use std::fmt;

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
        // A tab would move the caret.
        let content: String = content
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
