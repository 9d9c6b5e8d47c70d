//! The parts of a selector: names, matchers, label lists, and the instant after `@`.

use super::ParseError;
use super::ast::{
    At, BinaryOp, Cardinality, Extended, Fill, Length, Matching, Node, NodeKind, Span,
    VectorSelector,
};
use super::lexer::{Keyword, Kind, Token};
use super::parser::Parser;
use super::text::{go_general, unquote};
use vigie_model::limits::QUERY_REGEXES_MAX;
use vigie_model::{METRIC_NAME, MatchOp, Matcher, go_quote};

impl Parser<'_> {
    /// Whether the token ahead may name a metric; most keywords may.
    pub(super) fn is_metric_name(&self) -> bool {
        match self.token.kind {
            Kind::Identifier | Kind::MetricIdentifier | Kind::Aggregate(_) => true,
            Kind::Operator(op) => op.is_set(),
            Kind::Keyword(word) => !matches!(
                word,
                Keyword::On
                    | Keyword::Ignoring
                    | Keyword::GroupLeft
                    | Keyword::GroupRight
                    | Keyword::Bool
            ),
            _ => false,
        }
    }

    /// A selector whose name has just been read.
    pub(super) fn vector_selector(&mut self, name: Token) -> Result<Node, ParseError> {
        let text = self.read(name).to_owned();
        if self.token.kind == Kind::LeftBrace {
            return self.braces(text, name.span);
        }
        Ok(selector(text, Vec::new(), name.span))
    }

    /// `{…}` of a selector that starts at `start`.
    pub(super) fn braces(&mut self, name: String, start: Span) -> Result<Node, ParseError> {
        const PLACE: &str = "label matching";
        self.advance()?;
        let mut matchers = Vec::new();
        loop {
            match self.token.kind {
                // A comma may end the list, but not be all of it.
                Kind::RightBrace => break,
                Kind::Identifier | Kind::Text => matchers.push(self.matcher()?),
                _ => return Err(self.unexpected(PLACE, "identifier or \"}\"")),
            }
            match self.token.kind {
                Kind::RightBrace => break,
                Kind::Comma => self.advance()?,
                _ => return Err(self.unexpected(PLACE, "\",\" or \"}\"")),
            };
        }
        let close = self.advance()?;
        Ok(selector(name, matchers, start.to(close.span)))
    }

    fn matcher(&mut self) -> Result<Matcher, ParseError> {
        const PLACE: &str = "label matching";
        let label = self.advance()?;
        let quoted = label.kind == Kind::Text;
        let name = match quoted {
            true => unquote(self.read(label)).value,
            false => self.read(label).to_owned(),
        };
        let op = match self.token.kind {
            Kind::Assign => MatchOp::Equal,
            Kind::Operator(BinaryOp::NotEqual) => MatchOp::NotEqual,
            Kind::RegexMatch => MatchOp::Regex,
            Kind::RegexNoMatch => MatchOp::NotRegex,
            _ if quoted => return Ok(Matcher::equal(METRIC_NAME, name)),
            _ => return Err(self.unexpected(PLACE, "label matching operator")),
        };
        self.advance()?;
        if self.token.kind != Kind::Text {
            return Err(self.unexpected(PLACE, "string"));
        }
        let value = self.advance()?;
        let text = unquote(self.read(value));
        if text.raw.is_some() {
            // Label values are UTF-8 everywhere, so this could only be a mistake.
            return Err(self.error(value.span, "invalid UTF-8 in label matching"));
        }
        self.regexes += usize::from(matches!(op, MatchOp::Regex | MatchOp::NotRegex));
        if self.regexes > QUERY_REGEXES_MAX {
            let message = format!("query has more than {QUERY_REGEXES_MAX} regular expressions");
            return Err(self.error(value.span, message));
        }
        Matcher::new(name, op, text.value)
            .map_err(|error| self.error(label.span.to(value.span), error.to_string()))
    }

    /// `(a, b)` after `by`, `on` and their like.
    pub(super) fn grouping_labels(&mut self) -> Result<Vec<String>, ParseError> {
        const PLACE: &str = "grouping opts";
        if self.token.kind != Kind::LeftParen {
            return Err(self.unexpected(PLACE, "\"(\""));
        }
        self.advance()?;
        let mut labels = Vec::new();
        loop {
            match self.token.kind {
                Kind::RightParen => break,
                Kind::Text
                | Kind::Identifier
                | Kind::MetricIdentifier
                | Kind::Aggregate(_)
                | Kind::Keyword(_)
                | Kind::Operator(
                    BinaryOp::And | BinaryOp::Or | BinaryOp::Unless | BinaryOp::Atan2,
                ) => labels.push(self.grouping_label()?),
                _ => return Err(self.unexpected(PLACE, "label")),
            }
            match self.token.kind {
                Kind::RightParen => break,
                Kind::Comma => self.advance()?,
                _ => return Err(self.unexpected(PLACE, "\",\" or \")\"")),
            };
        }
        self.advance()?;
        Ok(labels)
    }

    fn grouping_label(&mut self) -> Result<String, ParseError> {
        let token = self.advance()?;
        if token.kind != Kind::Text {
            return Ok(self.read(token).to_owned());
        }
        let text = unquote(self.read(token));
        if text.raw.is_some() || text.value.is_empty() {
            let quoted = go_quote(text.bytes());
            let message = format!("invalid label name for grouping: {quoted}");
            return Err(self.error(token.span, message));
        }
        Ok(text.value)
    }

    /// `bool`, `on`, `group_left` and their like after an operator.
    pub(super) fn modifiers(&mut self) -> Result<(bool, Matching), ParseError> {
        let mut matching = Matching::default();
        let return_bool = self.token.kind == Kind::Keyword(Keyword::Bool);
        if return_bool {
            self.advance()?;
        }
        let matched = match self.token.kind {
            Kind::Keyword(Keyword::On) => Some(true),
            Kind::Keyword(Keyword::Ignoring) => Some(false),
            _ => None,
        };
        if let Some(on) = matched {
            matching.on = on;
            self.advance()?;
            matching.labels = self.grouping_labels()?;
            matching.cardinality = match self.token.kind {
                Kind::Keyword(Keyword::GroupLeft) => Cardinality::ManyToOne,
                Kind::Keyword(Keyword::GroupRight) => Cardinality::OneToMany,
                _ => Cardinality::OneToOne,
            };
            if matching.cardinality != Cardinality::OneToOne {
                self.advance()?;
                if self.token.kind == Kind::LeftParen {
                    matching.include = self.grouping_labels()?;
                }
            }
        }
        matching.fill = self.fill()?;
        Ok((return_bool, matching))
    }

    /// `fill (x)`, or `fill_left (x)` and `fill_right (y)` in any order.
    fn fill(&mut self) -> Result<Fill, ParseError> {
        let mut fill = Fill::default();
        while let Kind::Keyword(word @ (Keyword::Fill | Keyword::FillLeft | Keyword::FillRight)) =
            self.token.kind
        {
            let taken = match word {
                Keyword::FillLeft => fill.left.is_some(),
                Keyword::FillRight => fill.right.is_some(),
                _ => fill.is_some(),
            };
            if taken {
                return Err(self.unexpected_here());
            }
            self.advance()?;
            self.take(Kind::LeftParen)?;
            let is_negative = self.token.kind == Kind::Operator(BinaryOp::Sub);
            if is_negative || self.token.kind == Kind::Operator(BinaryOp::Add) {
                self.advance()?;
            }
            if !matches!(self.token.kind, Kind::Number | Kind::Duration) {
                return Err(self.unexpected_here());
            }
            let value = self.number()?.0;
            let value = Some(if is_negative { -value } else { value });
            self.take(Kind::RightParen)?;
            match word {
                Keyword::FillLeft => fill.left = value,
                Keyword::FillRight => fill.right = value,
                _ => {
                    fill = Fill { left: value, right: value };
                    break;
                }
            }
        }
        Ok(fill)
    }

    /// What follows `@`.
    pub(super) fn at_instant(&mut self, operand: Span) -> Result<At, ParseError> {
        const EXPECTED: &str = "timestamp";
        let keyword = match self.token.kind {
            Kind::Keyword(Keyword::Start) => Some(At::Start),
            Kind::Keyword(Keyword::End) => Some(At::End),
            _ => None,
        };
        if let Some(at) = keyword {
            self.advance()?;
            for paren in [Kind::LeftParen, Kind::RightParen] {
                if self.token.kind != paren {
                    return Err(self.unexpected("@", EXPECTED));
                }
                self.advance()?;
            }
            return Ok(at);
        }
        let sign = match self.token.kind {
            Kind::Operator(BinaryOp::Sub) => -1.0,
            _ => 1.0,
        };
        if matches!(self.token.kind, Kind::Operator(BinaryOp::Add | BinaryOp::Sub)) {
            self.advance()?;
        }
        if !matches!(self.token.kind, Kind::Number | Kind::Duration) {
            return Err(self.unexpected("@", EXPECTED));
        }
        let seconds = sign * self.number()?.0;
        if !seconds.is_finite() || seconds.abs() >= i64::MAX as f64 {
            let text = match seconds.is_finite() {
                true => format!("{seconds:.6}"),
                false => go_general(seconds, None),
            };
            let message = format!("timestamp out of bounds for @ modifier: {text}");
            return Err(self.error(operand, message));
        }
        Ok(At::Instant((seconds * 1000.0).round() as i64))
    }

    /// A number or a duration in seconds; whether it was a duration; where it stands.
    pub(super) fn number(&mut self) -> Result<(f64, bool, Span), ParseError> {
        let token = self.advance()?;
        let text = self.read(token);
        let duration = token.kind == Kind::Duration;
        let value = match duration {
            true => super::duration::seconds(text),
            false => parse_number(text),
        };
        match value {
            Ok(value) => Ok((value, duration, token.span)),
            Err(message) => Err(self.error(token.span, message)),
        }
    }
}

fn selector(name: String, mut matchers: Vec<Matcher>, span: Span) -> Node {
    if !name.is_empty() {
        matchers.push(Matcher::equal(METRIC_NAME, name.clone()));
    }
    let (offset, extended) = (Length::ZERO, Extended::No);
    let selector = VectorSelector { name, matchers, at: None, offset, extended, span };
    Node { kind: NodeKind::Vector(selector), span }
}

/// Go's `strconv.ParseInt(text, 0, 64)`, else `ParseFloat`.
fn parse_number(text: &str) -> Result<f64, String> {
    let plain = text.replace('_', "");
    let lower = plain.to_ascii_lowercase();
    let integer = match lower.as_bytes() {
        [b'0', b'x', ..] => i64::from_str_radix(&lower[2..], 16),
        [b'0', rest @ ..] if !rest.is_empty() => i64::from_str_radix(&lower[1..], 8),
        _ => lower.parse(),
    };
    if let Ok(integer) = integer {
        return Ok(integer as f64);
    }
    let word = matches!(lower.as_str(), "inf" | "nan");
    match vigie_model::value::parse_value(&lower) {
        Some(value) if value.is_finite() || word => Ok(value),
        Some(_) => Err(format!(
            "error parsing number: strconv.ParseFloat: parsing {}: value out of range",
            go_quote(text.as_bytes())
        )),
        None => Err(format!(
            "error parsing number: strconv.ParseFloat: parsing {}: invalid syntax",
            go_quote(text.as_bytes())
        )),
    }
}
