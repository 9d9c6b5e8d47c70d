//! The words of a parse error, which quote the offending token as Prometheus' lexer would cut it.
//!
//! Prometheus prints the token that it met, its kind, and the entry so far, each with one byte of
//! what follows. Those texts reach users (`lastError` of a target) and are matched on, so the token
//! is cut here by the same rules; only after something has gone wrong, so speed does not matter.

use super::number::quote;

/// What the scanner was in the middle of, which decides how the next bytes form a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expecting {
    /// The start of an entry.
    Start,
    /// The name after `# TYPE` and its like.
    MetaName,
    /// Something inside braces.
    Labels,
    /// A quoted value.
    LabelValue,
    /// A sample's value.
    Value,
    /// A timestamp, an exemplar or the end of the line.
    Timestamp,
}

/// `expected …, got … while parsing: …` for the bytes at `at`.
pub(super) fn unexpected(
    body: &[u8],
    openmetrics: bool,
    start: usize,
    previous: usize,
    at: usize,
    expecting: Expecting,
    expected: &str,
) -> String {
    // Prometheus appends a newline to a body of the older format before it reads it.
    let mut whole = body[start..body.len().min(at + 4096)].to_vec();
    if !openmetrics && at + 4096 >= body.len() {
        whole.push(b'\n');
    }
    let at = at - start;
    let (kind, token_start, stop) = if at >= whole.len() {
        ("EOF", previous - start, whole.len())
    } else {
        let (kind, stop) = token(&whole, at, openmetrics, expecting);
        (kind, at, stop)
    };
    let end = whole.len().min(stop + 1);
    let (got, seen) = (quote(&whole[token_start.min(end)..end]), quote(&whole[..end]));
    format!("{expected}, got {got} ({kind:?}) while parsing: {seen}")
}

/// The entry from `start` to `end`, as far as there is one.
pub(super) fn entry(body: &[u8], start: usize, end: usize) -> &[u8] {
    &body[start..end.min(body.len())]
}

/// The kind of the token at `at` and where the lexer stands after it; for an invalid one, where the
/// lexer gave up.
fn token(body: &[u8], at: usize, openmetrics: bool, expecting: Expecting) -> (&'static str, usize) {
    let first = body[at];
    match (expecting, first) {
        (Expecting::Labels, b'}') => ("BCLOSE", at + 1),
        (Expecting::Labels, b'=') => ("EQUAL", at + 1),
        (Expecting::Labels, b',') => ("COMMA", at + 1),
        (Expecting::Labels, b'"') => quoted(body, at, "QSTRING", false),
        (Expecting::Labels, b'a'..=b'z' | b'A'..=b'Z' | b'_') => {
            let length = body[at..]
                .iter()
                .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_')
                .count();
            ("LNAME", at + length)
        }
        (Expecting::LabelValue, b'"') => quoted(body, at, "LVALUE", openmetrics),
        (Expecting::Timestamp, b'\n') => ("LINEBREAK", at + 1),
        (Expecting::Timestamp | Expecting::Value, b' ') if openmetrics => {
            let length = body[at + 1..].iter().take_while(|b| !b" \n".contains(b)).count();
            let kind = match (length, expecting) {
                (0, _) => "INVALID",
                (_, Expecting::Value) => "VALUE",
                _ => "TIMESTAMP",
            };
            (kind, at + 1 + length)
        }
        (Expecting::Value, b'{') => ("BOPEN", at + 1),
        (Expecting::Start, b'#') if openmetrics => ("INVALID", at + comment_prefix(&body[at..])),
        _ => ("INVALID", at),
    }
}

/// How far the bytes agree with one of the comments that OpenMetrics knows.
fn comment_prefix(bytes: &[u8]) -> usize {
    ["# HELP ", "# TYPE ", "# UNIT ", "# EOF"]
        .iter()
        .map(|word| word.bytes().zip(bytes).take_while(|(a, b)| a == *b).count())
        .max()
        .unwrap_or(0)
}

fn quoted(body: &[u8], at: usize, kind: &'static str, one_line: bool) -> (&'static str, usize) {
    let mut position = at + 1;
    while let Some(&byte) = body.get(position) {
        match byte {
            b'"' => return (kind, position + 1),
            b'\\' => position += 2,
            b'\n' if one_line => break,
            _ => position += 1,
        }
    }
    ("INVALID", position)
}
