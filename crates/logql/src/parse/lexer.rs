//! Text → tokens, with the positions that Loki reports.
//!
//! Loki's lexer sits on Go's `text/scanner`; two of its habits are visible in error messages and
//! are kept: a token made of more than one scanned piece (`|=`, `[5m]`, `1s`, `--strict`) has line 0,
//! and any character without a meaning is an `IDENTIFIER`.
//! An error of the lexer is kept as a token, so that it is reported only when the parser gets there.

use crate::units::{parse_bytes, parse_query_duration_ns};

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The end of the text.
    End,
    /// A name, or any character that means nothing.
    Ident,
    /// A quoted text; [`Token::text`] holds it unquoted.
    Str,
    /// A number, as written.
    Number,
    /// `5m`, in [`Token::ns`].
    Duration,
    /// `10KB`, in [`Token::size_bytes`].
    Bytes,
    /// `[5m]`, in [`Token::ns`].
    Range,
    /// `--strict`, `--keep-empty`.
    Flag,
    /// A keyword or an operator.
    Word(&'static str),
    /// A function name followed by a parenthesis (or a grouping): its name in a query and in an error.
    Function(&'static str, &'static str),
    /// The lexer gave up; [`Token::text`] says why.
    Error,
}

/// A piece of the query.
#[derive(Clone, Debug)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Its text; unquoted for [`Kind::Str`].
    pub text: String,
    /// Nanoseconds of a duration or a range.
    pub ns: i64,
    /// Bytes of a size.
    pub size_bytes: u64,
    /// The line as Loki reports it, 0 for composed tokens.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// Byte offset of the first character.
    pub start: usize,
}

impl Token {
    /// The token's name in an error message.
    pub fn name(&self) -> &str {
        match self.kind {
            Kind::End => "$end",
            Kind::Ident => "IDENTIFIER",
            Kind::Str => "STRING",
            Kind::Number => "NUMBER",
            Kind::Duration => "DURATION",
            Kind::Bytes => "BYTES",
            Kind::Range => "RANGE",
            Kind::Flag => "FUNCTION_FLAG",
            Kind::Word(word) => word,
            Kind::Function(_, name) => name,
            Kind::Error => &self.text,
        }
    }
}

const WORDS: [&str; 24] = [
    "by",
    "without",
    "bool",
    "offset",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "or",
    "and",
    "unless",
    "unwrap",
    "json",
    "regexp",
    "logfmt",
    "unpack",
    "pattern",
    "line_format",
    "decolorize",
    "label_format",
    "drop",
    "keep",
    "variants",
    "of",
];
const SYMBOLS_LONG: [&str; 10] = ["!=", "=~", "!~", "|=", "|>", "!>", "|~", "==", ">=", "<="];
const SYMBOLS: [&str; 18] =
    [",", ".", "{", "}", "=", "|", "(", ")", "[", "]", "+", "-", "*", "/", "%", "^", ">", "<"];
const FUNCTIONS: [(&str, &str); 33] = [
    ("rate", "RATE"),
    ("rate_counter", "RATE_COUNTER"),
    ("count_over_time", "COUNT_OVER_TIME"),
    ("bytes_rate", "BYTES_RATE"),
    ("bytes_over_time", "BYTES_OVER_TIME"),
    ("avg_over_time", "AVG_OVER_TIME"),
    ("sum_over_time", "SUM_OVER_TIME"),
    ("min_over_time", "MIN_OVER_TIME"),
    ("max_over_time", "MAX_OVER_TIME"),
    ("stdvar_over_time", "STDVAR_OVER_TIME"),
    ("stddev_over_time", "STDDEV_OVER_TIME"),
    ("quantile_over_time", "QUANTILE_OVER_TIME"),
    ("first_over_time", "FIRST_OVER_TIME"),
    ("last_over_time", "LAST_OVER_TIME"),
    ("absent_over_time", "ABSENT_OVER_TIME"),
    ("vector", "VECTOR"),
    ("sum", "SUM"),
    ("avg", "AVG"),
    ("max", "MAX"),
    ("min", "MIN"),
    ("count", "COUNT"),
    ("stddev", "STDDEV"),
    ("stdvar", "STDVAR"),
    ("bottomk", "BOTTOMK"),
    ("topk", "TOPK"),
    ("approx_topk", "APPROX_TOPK"),
    ("sort", "SORT"),
    ("sort_desc", "SORT_DESC"),
    ("label_replace", "LABEL_REPLACE"),
    ("bytes", "BYTES_CONV"),
    ("duration", "DURATION_CONV"),
    ("duration_seconds", "DURATION_SECONDS_CONV"),
    ("ip", "ip"),
];

/// The tokens of `text`; the last is [`Kind::End`] or [`Kind::Error`].
pub fn tokens(text: &str) -> Vec<Token> {
    let mut lexer = Lexer { text, at: 0, line: 1, column: 1 };
    let mut out = Vec::new();
    loop {
        let token = lexer.next_token();
        let last = matches!(token.kind, Kind::End | Kind::Error);
        out.push(token);
        if last {
            return out;
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    column: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn advance(&mut self, bytes: usize) {
        for c in self.text[self.at..self.at + bytes].chars() {
            if c == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
        self.at += bytes;
    }

    fn skip_blanks_and_comments(&mut self) {
        loop {
            let blank = self.rest().bytes().take_while(|b| b" \t\r\n".contains(b)).count();
            self.advance(blank);
            if self.peek() != Some('#') {
                return;
            }
            let comment = self.rest().find('\n').unwrap_or(self.rest().len());
            self.advance(comment);
        }
    }

    fn next_token(&mut self) -> Token {
        self.skip_blanks_and_comments();
        let mut token = Token {
            kind: Kind::End,
            text: String::new(),
            ns: 0,
            size_bytes: 0,
            line: self.line,
            column: self.column,
            start: self.at,
        };
        let Some(first) = self.peek() else {
            if self.text.is_empty() {
                (token.line, token.column) = (0, 0);
            }
            return token;
        };
        match first {
            '"' | '`' => self.quoted(first, &mut token),
            '[' => self.range(&mut token),
            '-' => self.minus(&mut token),
            '0'..='9' => self.number(&mut token),
            '.' if self.rest().as_bytes().get(1).is_some_and(u8::is_ascii_digit) => {
                self.number(&mut token);
            }
            c if c == '_' || c.is_alphabetic() => self.name(&mut token),
            _ => self.symbol(first, &mut token),
        }
        token
    }

    fn fail(token: &mut Token, why: impl Into<String>) {
        token.kind = Kind::Error;
        token.text = why.into();
    }

    fn quoted(&mut self, quote: char, token: &mut Token) {
        let body = &self.rest()[1..];
        let mut escaped = false;
        let mut end = None;
        for (at, c) in body.char_indices() {
            match c {
                _ if escaped => escaped = false,
                '\\' if quote == '"' => escaped = true,
                '\n' if quote == '"' => break,
                c if c == quote => {
                    end = Some(at);
                    break;
                }
                _ => {}
            }
        }
        let Some(end) = end else { return Self::fail(token, "literal not terminated") };
        match if quote == '`' {
            Some(body[..end].replace('\r', ""))
        } else {
            unescape(&body[..end])
        } {
            Some(text) => (token.kind, token.text) = (Kind::Str, text),
            None => Self::fail(token, "invalid char escape"),
        }
        self.advance(end + 2);
    }

    fn range(&mut self, token: &mut Token) {
        token.line = 0;
        let Some(end) = self.rest().find(']') else {
            return Self::fail(token, "missing closing ']' in duration");
        };
        let inside = &self.rest()[1..end];
        match vigie_model::duration::parse_duration_ms(inside) {
            Ok(ms) => (token.kind, token.ns) = (Kind::Range, ms.saturating_mul(1_000_000)),
            Err(error) => Self::fail(token, error),
        }
        token.text = if token.kind == Kind::Range { inside.to_owned() } else { token.text.clone() };
        self.advance(end + 1);
    }

    fn minus(&mut self, token: &mut Token) {
        for flag in ["--strict", "--keep-empty"] {
            if self.rest().starts_with(flag) {
                (token.kind, token.line, token.text) = (Kind::Flag, 0, flag.to_owned());
                return self.advance(flag.len());
            }
        }
        if !self.duration_after(1, token) {
            token.kind = Kind::Word("-");
            self.advance(1);
        }
    }

    /// A duration whose first `taken` bytes are scanned already.
    fn duration_after(&mut self, taken: usize, token: &mut Token) -> bool {
        let tail = run(&self.rest()[taken..], |c| c.is_numeric() || "nuµmshdwy.".contains(c));
        let text = &self.rest()[..taken + tail];
        let Some(ns) = (tail > 0).then(|| parse_query_duration_ns(text)).flatten() else {
            return false;
        };
        (token.kind, token.line, token.ns, token.text) = (Kind::Duration, 0, ns, text.to_owned());
        self.advance(taken + tail);
        true
    }

    fn number(&mut self, token: &mut Token) {
        let taken = match scan_number(self.rest()) {
            Ok(taken) => taken,
            Err(why) => return Self::fail(token, why),
        };
        if self.duration_after(taken, token) {
            return;
        }
        let tail = run(&self.rest()[taken..], |c| c.is_numeric() || "BikKMGTP.".contains(c));
        let text = &self.rest()[..taken + tail];
        if let Some(size) = (tail > 0).then(|| parse_bytes(text).ok()).flatten() {
            (token.kind, token.line, token.size_bytes) = (Kind::Bytes, 0, size);
            token.text = text.to_owned();
            return self.advance(taken + tail);
        }
        (token.kind, token.text) = (Kind::Number, self.rest()[..taken].to_owned());
        self.advance(taken);
    }

    fn name(&mut self, token: &mut Token) {
        let length = run(self.rest(), |c| c == '_' || c.is_alphanumeric());
        let text = &self.rest()[..length];
        let lower = text.to_ascii_lowercase();
        self.advance(length);
        token.text = text.to_owned();
        token.kind = if let Some((name, shown)) = FUNCTIONS.iter().find(|(name, _)| *name == lower)
        {
            if calls(self.rest()) { Kind::Function(name, shown) } else { Kind::Ident }
        } else {
            WORDS.iter().find(|word| **word == lower).map_or(Kind::Ident, |word| Kind::Word(word))
        };
    }

    fn symbol(&mut self, first: char, token: &mut Token) {
        if let Some(symbol) = SYMBOLS_LONG.iter().find(|symbol| self.rest().starts_with(**symbol)) {
            (token.kind, token.line) = (Kind::Word(symbol), 0);
            return self.advance(symbol.len());
        }
        token.kind = match SYMBOLS.iter().find(|symbol| symbol.starts_with(first)) {
            Some(symbol) => Kind::Word(symbol),
            None => Kind::Ident,
        };
        token.text = first.to_string();
        self.advance(first.len_utf8());
    }
}

fn run(text: &str, accept: impl Fn(char) -> bool) -> usize {
    text.find(|c: char| !accept(c)).unwrap_or(text.len())
}

/// Whether a function name stands before `rest`: `(`, or a grouping with its parenthesis.
fn calls(rest: &str) -> bool {
    let rest = rest.trim_start();
    if rest.starts_with('(') {
        return true;
    }
    let word = run(rest, |c| c.is_ascii_alphabetic());
    (rest[..word].eq_ignore_ascii_case("by") || rest[..word].eq_ignore_ascii_case("without"))
        && rest[word..].trim_start().starts_with('(')
}

/// Length of a Go number literal at the start of `text`, or Go's complaint.
fn scan_number(text: &str) -> Result<usize, &'static str> {
    let bytes = text.as_bytes();
    let is = |at: usize, set: &[u8]| bytes.get(at).is_some_and(|b| set.contains(b));
    let digits = |mut at: usize, hex: bool| {
        while bytes.get(at).is_some_and(|b| {
            *b == b'_' || if hex { b.is_ascii_hexdigit() } else { b.is_ascii_digit() }
        }) {
            at += 1;
        }
        at
    };
    if bytes[0] == b'0' && is(1, b"xXbBoO") {
        let is_hex = is(1, b"xX");
        let mut end = digits(2, is_hex);
        if end == 2 {
            return Err("hexadecimal literal has no digits");
        }
        if is_hex && is(end, b".") {
            end = digits(end + 1, true);
        }
        if is_hex && is(end, b"pP") {
            end = digits(end + 1 + usize::from(is(end + 1, b"+-")), false);
        }
        return Ok(end);
    }
    let mut end = digits(0, false);
    if is(end, b".") {
        end = digits(end + 1, false);
    }
    if is(end, b"pP") {
        return Err("'P' exponent requires hexadecimal mantissa");
    }
    if is(end, b"eE") {
        let sign = usize::from(is(end + 1, b"+-"));
        let exponent = digits(end + 1 + sign, false);
        if exponent == end + 1 + sign {
            return Err("exponent has no digits");
        }
        end = exponent;
    }
    Ok(end)
}

/// Go's escapes inside double quotes; `None` for one that Go does not know.
fn unescape(body: &str) -> Option<String> {
    let mut out = Vec::with_capacity(body.len());
    let mut chars = body.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        match chars.next()? {
            'a' => out.push(7),
            'b' => out.push(8),
            'f' => out.push(12),
            'n' => out.push(b'\n'),
            'r' => out.push(b'\r'),
            't' => out.push(b'\t'),
            'v' => out.push(11),
            '\\' => out.push(b'\\'),
            '"' => out.push(b'"'),
            'x' => out.push(digits_value(&mut chars, 2, 16)? as u8),
            'u' => push_char(&mut out, digits_value(&mut chars, 4, 16)?)?,
            'U' => push_char(&mut out, digits_value(&mut chars, 8, 16)?)?,
            first @ '0'..='7' => {
                let high = first.to_digit(8)? * 64;
                out.push(u8::try_from(high + digits_value(&mut chars, 2, 8)?).ok()?);
            }
            _ => return None,
        }
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}

fn digits_value(chars: &mut std::str::Chars<'_>, count: usize, radix: u32) -> Option<u32> {
    (0..count).try_fold(0u32, |value, _| {
        value.checked_mul(radix)?.checked_add(chars.next()?.to_digit(radix)?)
    })
}

fn push_char(out: &mut Vec<u8>, code: u32) -> Option<()> {
    out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
    Some(())
}
