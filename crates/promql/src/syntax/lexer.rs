//! Text to tokens, one at a time, so that an error late in the text does not hide an earlier one.
//!
//! What a character means depends on where it stands: inside braces keywords are plain names, inside
//! brackets only a duration expression may stand. Both states live in [`Lexer`].
//! Wrong text is a token of kind [`Kind::Error`]; the lexer is not asked again after it.

use super::ast::{AggregateOp, BinaryOp, Span};
use vigie_model::go_quote;
use vigie_model::quote::go_quote_char;

/// A token's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    End,
    Error,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    Comma,
    Assign,
    Colon,
    Identifier,
    MetricIdentifier,
    Text,
    Number,
    Duration,
    Operator(BinaryOp),
    RegexMatch,
    RegexNoMatch,
    At,
    Aggregate(AggregateOp),
    Keyword(Keyword),
}

/// Words with a meaning of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    Offset,
    Smoothed,
    Anchored,
    By,
    Without,
    On,
    Ignoring,
    GroupLeft,
    GroupRight,
    Fill,
    FillLeft,
    FillRight,
    Bool,
    Start,
    End,
    Step,
    Range,
    MaxOf,
    MinOf,
}

const KEYWORDS: [(&str, Keyword); 19] = [
    ("offset", Keyword::Offset),
    ("smoothed", Keyword::Smoothed),
    ("anchored", Keyword::Anchored),
    ("by", Keyword::By),
    ("without", Keyword::Without),
    ("on", Keyword::On),
    ("ignoring", Keyword::Ignoring),
    ("group_left", Keyword::GroupLeft),
    ("group_right", Keyword::GroupRight),
    ("fill", Keyword::Fill),
    ("fill_left", Keyword::FillLeft),
    ("fill_right", Keyword::FillRight),
    ("bool", Keyword::Bool),
    ("start", Keyword::Start),
    ("end", Keyword::End),
    ("step", Keyword::Step),
    ("range", Keyword::Range),
    ("max_of", Keyword::MaxOf),
    ("min_of", Keyword::MinOf),
];

impl Keyword {
    /// The words that read the query's own time, which Prometheus prints without angle brackets.
    pub(super) fn is_preprocessor(self) -> bool {
        use Keyword::{End, MaxOf, MinOf, Range, Start, Step};
        matches!(self, Start | End | Step | Range | MaxOf | MinOf)
    }
}

/// One token: its kind and place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) span: Span,
}

/// The state of reading.
pub(super) struct Lexer<'a> {
    text: &'a str,
    pos: usize,
    start: usize,
    parens: usize,
    in_braces: bool,
    in_brackets: bool,
    /// Directly after `[` or a token of a duration expression, where the stricter rules hold.
    in_length: bool,
    got_colon: bool,
    got_duration: bool,
    /// The text of the last [`Kind::Error`].
    pub(super) error: String,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Lexer<'a> {
        Lexer {
            text,
            pos: 0,
            start: 0,
            parens: 0,
            in_braces: false,
            in_brackets: false,
            in_length: false,
            got_colon: false,
            got_duration: false,
            error: String::new(),
        }
    }

    /// The next token; [`Kind::End`] for ever once the text is read.
    pub(super) fn token(&mut self) -> Token {
        loop {
            self.skip_spaces();
            self.start = self.pos;
            let comments = !self.in_length;
            if comments && self.text[self.pos..].starts_with('#') {
                let rest = &self.text[self.pos..];
                self.pos += rest.find(['\r', '\n']).unwrap_or(rest.len());
                continue;
            }
            break;
        }
        let kind = if self.in_length {
            self.length_token()
        } else if self.in_braces {
            self.brace_token()
        } else {
            self.plain_token()
        };
        let start = self.start;
        let end = if kind == Kind::Error { self.text.len() } else { self.pos };
        Token { kind, span: Span { start, end } }
    }

    fn peek(&self) -> Option<char> {
        self.text[self.pos..].chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.pos += c.len_utf8();
        Some(c)
    }

    fn accept(&mut self, valid: &str) -> bool {
        let hit = self.is(valid);
        if hit {
            self.pos += 1;
        }
        hit
    }

    fn is(&self, valid: &str) -> bool {
        self.peek().is_some_and(|c| valid.contains(c))
    }

    fn skip_spaces(&mut self) {
        while self.is(" \t\n\r") {
            self.pos += 1;
        }
    }

    fn fail(&mut self, message: impl Into<String>) -> Kind {
        self.error = message.into();
        Kind::Error
    }

    fn read(&self) -> &'a str {
        &self.text[self.start..self.pos]
    }

    /// Outside braces and duration expressions.
    fn plain_token(&mut self) -> Kind {
        let Some(c) = self.bump() else {
            return match (self.parens, self.in_brackets) {
                (0, false) => Kind::End,
                (0, true) => self.fail("unclosed left bracket"),
                _ => self.fail("unclosed left parenthesis"),
            };
        };
        match c {
            ',' => Kind::Comma,
            '*' => Kind::Operator(BinaryOp::Mul),
            '/' => Kind::Operator(BinaryOp::Div),
            '%' => Kind::Operator(BinaryOp::Mod),
            '+' => Kind::Operator(BinaryOp::Add),
            '-' => Kind::Operator(BinaryOp::Sub),
            '^' => Kind::Operator(BinaryOp::Pow),
            '=' | '!' | '<' | '>' => self.comparison(c),
            '(' => {
                self.parens += 1;
                Kind::LeftParen
            }
            ')' => self.right_paren(),
            '{' => {
                self.in_braces = true;
                Kind::LeftBrace
            }
            '[' if self.in_brackets => self.fail("unexpected left bracket '['"),
            '[' => {
                (self.in_brackets, self.in_length) = (true, true);
                (self.got_colon, self.got_duration) = (false, false);
                Kind::LeftBracket
            }
            ']' if !self.in_brackets => self.fail("unexpected right bracket ']'"),
            ']' => {
                self.in_brackets = false;
                Kind::RightBracket
            }
            '@' => Kind::At,
            '"' | '\'' => self.quoted(c),
            '`' => self.raw(),
            c if c.is_ascii_digit() || (c == '.' && self.is("0123456789")) => self.number(),
            c if is_alpha(c) || c == ':' => self.word(c),
            c => self.fail(format!("unexpected character: {}", go_quote_char(c))),
        }
    }

    fn right_paren(&mut self) -> Kind {
        if self.parens == 0 {
            self.start = self.pos;
            return self.fail("unexpected right parenthesis ')'");
        }
        self.parens -= 1;
        Kind::RightParen
    }

    fn comparison(&mut self, first: char) -> Kind {
        match (first, self.peek()) {
            ('=', Some('=')) => self.wide(Kind::Operator(BinaryOp::Equal)),
            ('=', Some('~')) => self.fail("unexpected character after '=': '~'"),
            ('=', _) => Kind::Assign,
            ('!', Some('=')) => self.wide(Kind::Operator(BinaryOp::NotEqual)),
            ('!', Some(c)) => {
                self.fail(format!("unexpected character after '!': {}", go_quote_char(c)))
            }
            ('!', None) => self.fail("unexpected character after '!': '\u{fffd}'"),
            ('<', Some('=')) => self.wide(Kind::Operator(BinaryOp::LessEqual)),
            ('<', Some('/')) => self.wide(Kind::Operator(BinaryOp::TrimUpper)),
            ('<', _) => Kind::Operator(BinaryOp::Less),
            (_, Some('=')) => self.wide(Kind::Operator(BinaryOp::GreaterEqual)),
            (_, Some('/')) => self.wide(Kind::Operator(BinaryOp::TrimLower)),
            _ => Kind::Operator(BinaryOp::Greater),
        }
    }

    /// Takes the second character of an operator.
    fn wide(&mut self, kind: Kind) -> Kind {
        self.pos += 1;
        kind
    }

    /// A name or keyword; inside brackets only `:` and the words of a duration expression.
    fn word(&mut self, first: char) -> Kind {
        if self.in_brackets {
            if first == ':' {
                if self.got_colon {
                    return self.fail("unexpected colon ':'");
                }
                self.got_colon = true;
                return Kind::Colon;
            }
            if is_length_start(first)
                && let Some(kind) = self.length_word()
            {
                return kind;
            }
            let message = format!("unexpected character: {}, expected ':'", go_quote_char(first));
            return self.fail(message);
        }
        while self.peek().is_some_and(|c| is_alphanumeric(c) || c == ':') {
            self.pos += 1;
        }
        let word = self.read().to_ascii_lowercase();
        match keyword(&word) {
            Some(Kind::Keyword(Keyword::Fill | Keyword::FillLeft | Keyword::FillRight))
                if !self.paren_follows() =>
            {
                Kind::Identifier
            }
            Some(kind) => kind,
            None if word.contains(':') => Kind::MetricIdentifier,
            None => Kind::Identifier,
        }
    }

    fn paren_follows(&self) -> bool {
        self.text[self.pos..].trim_start_matches([' ', '\t', '\n', '\r']).starts_with('(')
    }

    fn length_word(&mut self) -> Option<Kind> {
        while self.peek().is_some_and(is_alpha) {
            self.pos += 1;
        }
        let word = self.read().to_ascii_lowercase();
        match keyword(&word) {
            Some(Kind::Keyword(
                word @ (Keyword::Step | Keyword::Range | Keyword::MaxOf | Keyword::MinOf),
            )) => Some(Kind::Keyword(word)),
            _ => None,
        }
    }

    /// Directly inside brackets, before the first number.
    fn length_token(&mut self) -> Kind {
        let Some(c) = self.bump() else {
            return self.fail("unexpected end of input in duration expression");
        };
        match c {
            ']' => {
                (self.in_brackets, self.in_length, self.got_colon) = (false, false, false);
                Kind::RightBracket
            }
            ':' if !self.got_duration => {
                self.fail("unexpected colon before duration in duration expression")
            }
            ':' if self.got_colon => self.fail("unexpected repeated colon in duration expression"),
            ':' => {
                self.got_colon = true;
                Kind::Colon
            }
            '(' => {
                self.parens += 1;
                Kind::LeftParen
            }
            ')' => self.right_paren(),
            '+' => Kind::Operator(BinaryOp::Add),
            '-' => Kind::Operator(BinaryOp::Sub),
            '*' => Kind::Operator(BinaryOp::Mul),
            '/' => Kind::Operator(BinaryOp::Div),
            '%' => Kind::Operator(BinaryOp::Mod),
            '^' => Kind::Operator(BinaryOp::Pow),
            ',' => Kind::Comma,
            c if c.is_ascii_digit() || (c == '.' && self.is("0123456789")) => {
                (self.got_duration, self.in_length) = (true, false);
                self.number()
            }
            c => {
                if is_length_start(c)
                    && let Some(kind) = self.length_word()
                {
                    return kind;
                }
                self.fail(format!(
                    "unexpected character in duration expression: {}",
                    go_quote_char(c)
                ))
            }
        }
    }

    /// Inside braces.
    fn brace_token(&mut self) -> Kind {
        let Some(c) = self.bump() else {
            return self.fail("unexpected end of input inside braces");
        };
        match c {
            ',' => Kind::Comma,
            '"' | '\'' => self.quoted(c),
            '`' => self.raw(),
            '=' if self.accept("~") => Kind::RegexMatch,
            '=' => Kind::Assign,
            '!' if self.accept("~") => Kind::RegexNoMatch,
            '!' if self.accept("=") => Kind::Operator(BinaryOp::NotEqual),
            '!' => {
                let after = self.peek().unwrap_or('\u{fffd}');
                let after = go_quote_char(after);
                self.fail(format!("unexpected character after '!' inside braces: {after}"))
            }
            '{' => self.fail("unexpected left brace '{'"),
            '}' => {
                self.in_braces = false;
                Kind::RightBrace
            }
            c if is_alpha(c) => {
                while self.peek().is_some_and(is_alphanumeric) {
                    self.pos += 1;
                }
                Kind::Identifier
            }
            c => self.fail(format!("unexpected character inside braces: {}", go_quote_char(c))),
        }
    }

    fn quoted(&mut self, quote: char) -> Kind {
        loop {
            match self.bump() {
                None | Some('\n') => return self.fail("unterminated quoted string"),
                Some('\u{fffd}') => return self.fail("invalid UTF-8 rune"),
                Some('\\') => {
                    if let Err(message) = self.escape(quote) {
                        return self.fail(message);
                    }
                }
                Some(c) if c == quote => return Kind::Text,
                Some(_) => {}
            }
        }
    }

    fn raw(&mut self) -> Kind {
        loop {
            match self.bump() {
                None => return self.fail("unterminated raw string"),
                Some('\u{fffd}') => return self.fail("invalid UTF-8 rune"),
                Some('`') => return Kind::Text,
                Some(_) => {}
            }
        }
    }

    fn escape(&mut self, quote: char) -> Result<(), String> {
        let unfinished = || "escape sequence not terminated".to_owned();
        let first = self.bump().ok_or_else(unfinished)?;
        let (digits, radix, max) = match first {
            'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' => return Ok(()),
            c if c == quote => return Ok(()),
            '0'..='7' => {
                self.pos -= 1;
                (3, 8, 255)
            }
            'x' => (2, 16, 255),
            'u' => (4, 16, 0x10_ffff),
            'U' => (8, 16, 0x10_ffff),
            c => return Err(format!("unknown escape sequence {}", go_unicode(c))),
        };
        let mut code = 0u64;
        for _ in 0..digits {
            let c = self.bump().ok_or_else(unfinished)?;
            let digit = c
                .to_digit(radix)
                .ok_or_else(|| format!("illegal character {} in escape sequence", go_unicode(c)))?;
            code = code * u64::from(radix) + u64::from(digit);
        }
        if code > max || (0xd800..0xe000).contains(&code) {
            return Err("escape sequence is an invalid Unicode code point".to_owned());
        }
        Ok(())
    }

    fn number(&mut self) -> Kind {
        self.pos = self.start;
        if self.scan_number() {
            return Kind::Number;
        }
        if self.scan_duration() {
            return Kind::Duration;
        }
        let read = go_quote(self.read().as_bytes());
        self.fail(format!("bad number or duration syntax: {read}"))
    }

    /// The rest of a duration after its first digits; on failure the offending character is read too.
    fn scan_duration(&mut self) -> bool {
        if !self.accept("smhdwy") {
            return false;
        }
        self.accept("s");
        while self.accept("0123456789") {
            while self.accept("0123456789") {}
            if !self.accept("smhdw") {
                return false;
            }
            self.accept("s");
        }
        if self.peek().is_some_and(is_alphanumeric) {
            self.pos += 1;
            return false;
        }
        true
    }

    fn scan_number(&mut self) -> bool {
        let mut digits = "0123456789";
        if self.accept("0") && self.accept("xX") {
            self.accept("_");
            digits = "0123456789abcdefABCDEF";
        }
        let hexadecimal = digits.len() > 10;
        self.accept(".");
        self.accept(digits);
        let (mut dot, mut exponent) = (false, false);
        loop {
            if self.is(".") {
                let repeated = dot;
                self.pos += 1;
                dot = true;
                if repeated || self.accept("_.") || hexadecimal {
                    return false;
                }
            } else if self.is("eE") && !hexadecimal {
                let repeated = exponent;
                self.pos += 1;
                if repeated {
                    return false;
                }
                exponent = true;
                self.accept("+-");
                if self.accept("._eE") || self.peek().is_none() {
                    return false;
                }
            } else if self.accept("_") {
                if self.accept("._eE") || self.peek().is_none() {
                    return false;
                }
            } else if self.is(digits) {
                while self.accept(digits) {}
            } else {
                break;
            }
        }
        !self.peek().is_some_and(is_alphanumeric)
    }
}

fn keyword(word: &str) -> Option<Kind> {
    let kind = match word {
        "and" => Kind::Operator(BinaryOp::And),
        "or" => Kind::Operator(BinaryOp::Or),
        "unless" => Kind::Operator(BinaryOp::Unless),
        "atan2" => Kind::Operator(BinaryOp::Atan2),
        "inf" | "nan" => Kind::Number,
        word => {
            let aggregate = AggregateOp::ALL.iter().find(|(name, _)| *name == word);
            let keyword = || KEYWORDS.iter().find(|(name, _)| *name == word);
            return match aggregate {
                Some((_, op)) => Some(Kind::Aggregate(*op)),
                None => keyword().map(|(_, keyword)| Kind::Keyword(*keyword)),
            };
        }
    };
    Some(kind)
}

/// Go's `%#U`.
fn go_unicode(c: char) -> String {
    format!("U+{:04X} '{c}'", c as u32)
}

fn is_length_start(c: char) -> bool {
    matches!(c.to_ascii_lowercase(), 's' | 'r' | 'm')
}

pub(super) fn is_alpha(c: char) -> bool {
    c == '_' || c.is_ascii_alphabetic()
}

pub(super) fn is_alphanumeric(c: char) -> bool {
    is_alpha(c) || c.is_ascii_digit()
}
