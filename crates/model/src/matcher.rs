//! Label matchers: `=`, `!=`, `=~`, `!~`, with an absent label read as the empty text.

use crate::regexp::{self, RegexpError};
use crate::{Labels, go_quote};
use regex::Regex;
use std::fmt;

/// How a matcher compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

impl MatchOp {
    /// The operator as written.
    pub fn as_str(self) -> &'static str {
        match self {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Regex => "=~",
            MatchOp::NotRegex => "!~",
        }
    }
}

/// One condition on one label. Regular expressions are anchored at both ends.
#[derive(Clone)]
pub struct Matcher {
    /// The label's name.
    pub name: String,
    /// The comparison.
    pub op: MatchOp,
    /// The value or pattern as written.
    pub value: String,
    regex: Option<Regex>,
}

impl Matcher {
    /// A matcher as PromQL reads it: `.` in a pattern matches newlines too (since Prometheus 3.0).
    pub fn new(
        name: impl Into<String>,
        op: MatchOp,
        value: impl Into<String>,
    ) -> Result<Matcher, RegexpError> {
        Matcher::with_dot(name, op, value, true)
    }

    /// A matcher whose `.` matches newlines only if `dot_matches_newline`; LogQL's stream selectors do not.
    pub fn with_dot(
        name: impl Into<String>,
        op: MatchOp,
        value: impl Into<String>,
        dot_matches_newline: bool,
    ) -> Result<Matcher, RegexpError> {
        let (name, value) = (name.into(), value.into());
        let regex = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => Some(regexp::whole(&value, dot_matches_newline)?),
        };
        Ok(Matcher { name, op, value, regex })
    }

    /// An equality.
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Matcher {
        Matcher { name: name.into(), op: MatchOp::Equal, value: value.into(), regex: None }
    }

    /// Whether a label value (empty for an absent label) fulfils the condition.
    pub fn matches(&self, value: &str) -> bool {
        match (self.op, &self.regex) {
            (MatchOp::Equal, _) => value == self.value,
            (MatchOp::NotEqual, _) => value != self.value,
            (MatchOp::Regex, Some(regex)) => regex.is_match(value),
            (MatchOp::NotRegex, Some(regex)) => !regex.is_match(value),
            (MatchOp::Regex | MatchOp::NotRegex, None) => unreachable!("compiled in `with_dot`"),
        }
    }

    /// Whether the label of this name in `labels` fulfils the condition.
    pub fn matches_labels(&self, labels: &Labels) -> bool {
        self.matches(labels.value_or_empty(&self.name))
    }

    /// Whether the empty text fulfils the condition.
    pub fn matches_empty(&self) -> bool {
        self.matches("")
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Matcher) -> bool {
        (&self.name, self.op, &self.value) == (&other.name, other.op, &other.value)
    }
}

impl Eq for Matcher {}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.name, self.op.as_str(), go_quote(&self.value))
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers_anchor_and_read_an_absent_label_as_empty() {
        let labels = Labels::from_pairs([("job", "node")]);
        for (op, name, value, matches) in [
            (MatchOp::Equal, "job", "node", true),
            (MatchOp::Equal, "zone", "", true),
            (MatchOp::NotEqual, "zone", "x", true),
            (MatchOp::Regex, "job", "no", false),
            (MatchOp::Regex, "job", "no.*|x", true),
            (MatchOp::NotRegex, "job", "od", true),
            (MatchOp::Regex, "zone", ".*", true),
        ] {
            let matcher = Matcher::new(name, op, value).unwrap();
            assert_eq!(matcher.matches_labels(&labels), matches, "{matcher}");
        }
        let wrong = Matcher::new("a", MatchOp::Regex, "(").map_err(|e| e.to_string());
        assert_eq!(wrong, Err("error parsing regexp: missing closing ): `(`".to_owned()));
        assert!(!Matcher::new("a", MatchOp::Regex, r"\d").unwrap().matches("٣"));
        assert!(Matcher::new("a", MatchOp::Regex, "a.b").unwrap().matches("a\nb"));
        assert!(!Matcher::with_dot("a", MatchOp::Regex, "a.b", false).unwrap().matches("a\nb"));
    }
}
