//! Tokens to a tree: precedence climbing over one token of lookahead.
//!
//! The first error ends the parse, as only the first one is shown. Prometheus' grammar names the
//! construct in which an unexpected token was met; [`Parser::context`] is the stack of those that
//! are open.

use super::ParseError;
use super::ast::{
    Aggregate, At, Call, Chain, ChainStep, Expr, Extended, Grouping, Length, Node, NodeKind, Span,
    Subquery, VectorSelector,
};
use super::check;
use super::functions::function;
use super::lexer::{Keyword, Kind, Lexer, Token};
use super::text::unquote;
use vigie_model::limits::{QUERY_BYTES_MAX, QUERY_DEPTH_MAX};
use vigie_model::{Matcher, go_quote};

/// Most ranges, subqueries, offsets and instants behind one operand. Each range puts the tree one
/// level deeper without being seen by [`Parser::deeper`]; a checked expression has at most three.
const POSTFIXES_MAX: usize = 8;

/// Reads and checks an expression.
pub fn parse(text: &str) -> Result<Expr, ParseError> {
    let mut parser = Parser::new(text)?;
    if parser.token.kind == Kind::End {
        return Err(ParseError::new(text, Span::default(), "no expression found in input"));
    }
    let root = parser.expression(0)?;
    parser.expect_end()?;
    check::expression(text, &root)?;
    Ok(Expr { text: text.into(), root })
}

/// Reads a series selector, as the `match[]` parameters of the HTTP API hold one.
pub fn parse_selector(text: &str) -> Result<Vec<Matcher>, ParseError> {
    let mut parser = Parser::new(text)?;
    let node = match parser.token.kind {
        Kind::LeftBrace => parser.braces(String::new(), parser.token.span)?,
        _ if parser.is_metric_name() => {
            let name = parser.advance()?;
            parser.vector_selector(name)?
        }
        _ => return Err(parser.unexpected("", "")),
    };
    parser.expect_end()?;
    check::expression(text, &node)?;
    match node.kind {
        NodeKind::Vector(selector) => Ok(selector.matchers),
        _ => Err(ParseError::new(text, node.span, "unexpected expression")),
    }
}

pub(super) struct Parser<'a> {
    pub(super) text: &'a str,
    lexer: Lexer<'a>,
    /// The token ahead.
    pub(super) token: Token,
    /// The end of the token behind.
    pub(super) end: usize,
    depth: usize,
    /// Regular expressions met.
    pub(super) regexes: usize,
    /// Operators met in the duration expression at hand.
    pub(super) length_operators: usize,
    /// The constructs that name themselves in an error: where they are, and what they expect.
    context: Vec<(&'static str, &'static str)>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Result<Parser<'a>, ParseError> {
        if text.len() > QUERY_BYTES_MAX {
            let message = format!("query is longer than {QUERY_BYTES_MAX} bytes");
            return Err(ParseError::new(text, Span::default(), message));
        }
        let mut lexer = Lexer::new(text);
        let token = lexer.token();
        let parser = Parser {
            text,
            lexer,
            token,
            end: 0,
            depth: 0,
            regexes: 0,
            length_operators: 0,
            context: Vec::new(),
        };
        if token.kind == Kind::Error { Err(parser.unexpected("", "")) } else { Ok(parser) }
    }

    /// Takes the token ahead; wrong text behind it is an error at once.
    pub(super) fn advance(&mut self) -> Result<Token, ParseError> {
        let token = self.token;
        self.end = token.span.end;
        self.token = self.lexer.token();
        if self.token.kind == Kind::Error { Err(self.unexpected("", "")) } else { Ok(token) }
    }

    pub(super) fn read(&self, token: Token) -> &'a str {
        &self.text[token.span.start..token.span.end]
    }

    pub(super) fn error(&self, span: Span, message: impl Into<String>) -> ParseError {
        ParseError::new(self.text, span, message)
    }

    /// The error for the token ahead.
    pub(super) fn unexpected(&self, place: &str, expected: &str) -> ParseError {
        if self.token.kind == Kind::Error {
            return self.error(self.token.span, self.lexer.error.clone());
        }
        let mut message = format!("unexpected {}", self.describe(self.token));
        if !place.is_empty() {
            message.push_str(&format!(" in {place}"));
        }
        if !expected.is_empty() {
            message.push_str(&format!(", expected {expected}"));
        }
        self.error(self.token.span, message)
    }

    /// The error for the token ahead, in the words of the innermost construct that has some.
    pub(super) fn unexpected_here(&self) -> ParseError {
        let (place, expected) = self.context.last().copied().unwrap_or(("", ""));
        self.unexpected(place, expected)
    }

    pub(super) fn within<T>(
        &mut self,
        place: &'static str,
        expected: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, ParseError>,
    ) -> Result<T, ParseError> {
        self.context.push((place, expected));
        let result = read(self);
        self.context.pop();
        result
    }

    /// Runs `read` one level deeper; the bound keeps the stack of every later walk small.
    pub(super) fn deeper<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, ParseError>,
    ) -> Result<T, ParseError> {
        if self.depth == QUERY_DEPTH_MAX {
            let message = format!("expression is nested more than {QUERY_DEPTH_MAX} levels deep");
            return Err(self.error(self.token.span, message));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    fn describe(&self, token: Token) -> String {
        let text = self.read(token);
        let quoted = go_quote(text.as_bytes());
        match token.kind {
            Kind::End => "end of input".to_owned(),
            Kind::Identifier => format!("identifier {quoted}"),
            Kind::MetricIdentifier => format!("metric identifier {quoted}"),
            Kind::Operator(_) | Kind::At => format!("<op:{text}>"),
            Kind::RegexMatch | Kind::RegexNoMatch => format!("<op:{text}>"),
            Kind::Aggregate(_) => format!("<aggr:{text}>"),
            Kind::Keyword(word) if !word.is_preprocessor() => format!("<{text}>"),
            Kind::Text => format!("string {}", shortened(text)),
            Kind::Number => format!("number {}", shortened(text)),
            Kind::Duration => format!("duration {}", shortened(text)),
            _ => shortened(text),
        }
    }

    pub(super) fn take(&mut self, kind: Kind) -> Result<Token, ParseError> {
        if self.token.kind == kind { self.advance() } else { Err(self.unexpected_here()) }
    }

    fn expect_end(&self) -> Result<(), ParseError> {
        if self.token.kind == Kind::End { Ok(()) } else { Err(self.unexpected_here()) }
    }

    /// An expression of operators that bind at least as tightly as `precedence_min`.
    fn expression(&mut self, precedence_min: u8) -> Result<Node, ParseError> {
        let mut left = self.deeper(Self::operand)?;
        loop {
            let op_token = self.token;
            let op = match op_token.kind {
                Kind::Operator(op) if op.precedence() >= precedence_min => op,
                _ => return Ok(left),
            };
            self.advance()?;
            let (return_bool, matching) = self.modifiers()?;
            let rhs_min = op.precedence() + u8::from(op != super::BinaryOp::Pow);
            let rhs = self.deeper(|parser| parser.expression(rhs_min))?;
            let span = left.span.to(rhs.span);
            let step = ChainStep { op, op_span: op_token.span, return_bool, matching, rhs };
            left = match left.kind {
                NodeKind::Binary(mut chain) => {
                    chain.steps.push(step);
                    Node { kind: NodeKind::Binary(chain), span }
                }
                kind => {
                    let first = Node { kind, span: left.span };
                    let chain = Chain { first, steps: vec![step] };
                    Node { kind: NodeKind::Binary(Box::new(chain)), span }
                }
            };
        }
    }

    /// An operand with its signs and everything that may follow it.
    fn operand(&mut self) -> Result<Node, ParseError> {
        let sign = match self.token.kind {
            Kind::Operator(super::BinaryOp::Sub) => true,
            Kind::Operator(super::BinaryOp::Add) => false,
            _ => {
                let primary = self.primary()?;
                return self.postfix(primary);
            }
        };
        let op = self.advance()?;
        // A sign binds like `*`: `-1^2` is `-(1^2)`.
        let operand = self.deeper(|parser| parser.expression(6))?;
        let span = op.span.to(operand.span);
        let kind = match operand.kind {
            NodeKind::Number { value, duration } => {
                NodeKind::Number { value: if sign { -value } else { value }, duration }
            }
            _ => NodeKind::Unary { negative: sign, operand: Box::new(operand) },
        };
        Ok(Node { kind, span })
    }

    fn primary(&mut self) -> Result<Node, ParseError> {
        match self.token.kind {
            Kind::Number | Kind::Duration => {
                let (value, duration, span) = self.number()?;
                Ok(Node { kind: NodeKind::Number { value, duration }, span })
            }
            Kind::Text => {
                let token = self.advance()?;
                let text = unquote(self.read(token));
                Ok(Node { kind: NodeKind::Text(text), span: token.span })
            }
            Kind::LeftParen => {
                let open = self.advance()?;
                let inner = self.expression(0)?;
                let close = self.take(Kind::RightParen)?;
                let kind = NodeKind::Paren(Box::new(inner));
                Ok(Node { kind, span: open.span.to(close.span) })
            }
            Kind::LeftBrace => self.braces(String::new(), self.token.span),
            _ if self.is_metric_name() => {
                let name = self.advance()?;
                self.named(name)
            }
            _ => Err(self.unexpected_here()),
        }
    }

    /// What starts with a name: an aggregation, a call or a selector.
    fn named(&mut self, name: Token) -> Result<Node, ParseError> {
        match (name.kind, self.token.kind) {
            (
                Kind::Aggregate(op),
                Kind::LeftParen | Kind::Keyword(Keyword::By | Keyword::Without),
            ) => self.within("aggregation", "", |parser| parser.aggregate(op, name)),
            (Kind::Identifier, Kind::LeftParen) => self.call(name),
            (Kind::Keyword(word), Kind::LeftParen) if word.is_preprocessor() => self.call(name),
            _ => self.vector_selector(name),
        }
    }

    fn aggregate(&mut self, op: super::AggregateOp, name: Token) -> Result<Node, ParseError> {
        let mut grouping = self.aggregate_modifier()?;
        let mut args = self.arguments()?;
        if grouping.is_none() {
            grouping = self.aggregate_modifier()?;
        }
        let span = Span { start: name.span.start, end: self.end };
        if args.is_empty() {
            return Err(self.error(span, "no arguments for aggregate expression provided"));
        }
        let wanted = if op.has_parameter() { 2 } else { 1 };
        if args.len() != wanted {
            let got = args.len();
            return Err(self.error(
                span,
                format!(
                    "wrong number of arguments for aggregate expression provided, \
                     expected {wanted}, got {got}"
                ),
            ));
        }
        let expr = args.remove(wanted - 1);
        let grouping = grouping.unwrap_or_default();
        let aggregate = Aggregate { op, grouping, parameter: args.pop(), expr };
        Ok(Node { kind: NodeKind::Aggregate(Box::new(aggregate)), span })
    }

    fn aggregate_modifier(&mut self) -> Result<Option<Grouping>, ParseError> {
        let without = match self.token.kind {
            Kind::Keyword(Keyword::By) => false,
            Kind::Keyword(Keyword::Without) => true,
            _ => return Ok(None),
        };
        self.advance()?;
        Ok(Some(Grouping { without, labels: self.grouping_labels()? }))
    }

    fn call(&mut self, name: Token) -> Result<Node, ParseError> {
        let args = self.arguments()?;
        let text = self.read(name);
        let Some(function) = function(text) else {
            let message = format!("unknown function with name {}", go_quote(text.as_bytes()));
            return Err(self.error(name.span, message));
        };
        let span = Span { start: name.span.start, end: self.end };
        Ok(Node { kind: NodeKind::Call(Call { function, args }), span })
    }

    fn arguments(&mut self) -> Result<Vec<Node>, ParseError> {
        self.take(Kind::LeftParen)?;
        let mut args = Vec::new();
        if self.token.kind == Kind::RightParen {
            self.advance()?;
            return Ok(args);
        }
        loop {
            args.push(self.expression(0)?);
            match self.token.kind {
                Kind::RightParen => {
                    self.advance()?;
                    return Ok(args);
                }
                Kind::Comma => {
                    let comma = self.advance()?;
                    if self.token.kind == Kind::RightParen {
                        let message = "trailing commas not allowed in function call args";
                        return Err(self.error(comma.span, message));
                    }
                }
                _ => return Err(self.unexpected_here()),
            }
        }
    }

    /// Ranges, subqueries, `offset` and `@` after an operand.
    fn postfix(&mut self, mut node: Node) -> Result<Node, ParseError> {
        for _ in 0..=POSTFIXES_MAX {
            match self.token.kind {
                Kind::LeftBracket => node = self.brackets(node)?,
                Kind::Keyword(Keyword::Offset) => {
                    self.advance()?;
                    let offset = self.offset_length()?;
                    self.set_offset(&mut node, offset)?;
                }
                Kind::At => {
                    self.advance()?;
                    let at = self.at_instant(node.span)?;
                    self.set_at(&mut node, at)?;
                }
                Kind::Keyword(Keyword::Anchored | Keyword::Smoothed) => {
                    let word = self.advance()?;
                    self.set_extended(&mut node, word)?;
                }
                _ => return Ok(node),
            }
        }
        let message = format!("more than {POSTFIXES_MAX} ranges and modifiers in a row");
        Err(self.error(self.token.span, message))
    }

    fn brackets(&mut self, node: Node) -> Result<Node, ParseError> {
        const RANGE: (&str, &str) =
            ("subquery or range selector", "number, duration, step(), or range()");
        let open = self.advance()?;
        let range = self.within(RANGE.0, RANGE.1, Self::positive_length)?;
        let span = |end: usize| Span { start: node.span.start, end };
        if self.token.kind == Kind::Colon {
            self.advance()?;
            let step = match self.token.kind {
                Kind::RightBracket => None,
                _ => Some(self.within(
                    "subquery selector",
                    "number, duration, step(), range(), or \"]\"",
                    Self::positive_length,
                )?),
            };
            if self.token.kind != Kind::RightBracket {
                return Err(self.unexpected("subquery selector", "\"]\""));
            }
            let close = self.advance()?;
            let span = span(close.span.end);
            let offset = Length::ZERO;
            let subquery = Subquery { expr: node, range, step, at: None, offset };
            return Ok(Node { kind: NodeKind::Subquery(Box::new(subquery)), span });
        }
        if self.token.kind != Kind::RightBracket {
            return Err(self.unexpected("subquery or range", "\":\" or \"]\""));
        }
        let close = self.advance()?;
        let span = span(close.span.end);
        let message = match node.kind {
            NodeKind::Vector(selector) if selector.offset.is_zero() && selector.at.is_none() => {
                return Ok(Node { kind: NodeKind::Matrix { selector, range }, span });
            }
            NodeKind::Vector(VectorSelector { at: None, .. }) => {
                "no offset modifiers allowed before range"
            }
            NodeKind::Vector(selector) if selector.offset.is_zero() => {
                "no @ modifiers allowed before range"
            }
            NodeKind::Vector(_) => "no offset modifiers allowed before range",
            _ => "ranges only allowed for vector selectors",
        };
        Err(self.error(open.span.to(close.span), message))
    }

    fn set_offset(&self, node: &mut Node, length: Length) -> Result<(), ParseError> {
        let span = node.span;
        let offset = match &mut node.kind {
            NodeKind::Vector(selector) | NodeKind::Matrix { selector, .. } => &mut selector.offset,
            NodeKind::Subquery(subquery) => &mut subquery.offset,
            _ => {
                let message = "offset modifier must be preceded by an instant vector selector \
                               or range vector selector or a subquery";
                return Err(self.error(span, message));
            }
        };
        if !offset.is_zero() {
            return Err(self.error(span, "offset may not be set multiple times"));
        }
        *offset = length;
        node.span.end = self.end;
        Ok(())
    }

    fn set_at(&self, node: &mut Node, instant: At) -> Result<(), ParseError> {
        let span = node.span;
        let at = match &mut node.kind {
            NodeKind::Vector(selector) | NodeKind::Matrix { selector, .. } => &mut selector.at,
            NodeKind::Subquery(subquery) => &mut subquery.at,
            _ => {
                let message = "@ modifier must be preceded by an instant vector selector \
                               or range vector selector or a subquery";
                return Err(self.error(span, message));
            }
        };
        if at.is_some() {
            return Err(self.error(span, "@ <timestamp> may not be set multiple times"));
        }
        *at = Some(instant);
        node.span.end = self.end;
        Ok(())
    }
}

impl Parser<'_> {
    fn set_extended(&self, node: &mut Node, word: Token) -> Result<(), ParseError> {
        let span = node.span;
        let wanted = match word.kind {
            Kind::Keyword(Keyword::Anchored) => Extended::Anchored,
            _ => Extended::Smoothed,
        };
        let name = wanted.as_str();
        let selector = match &mut node.kind {
            NodeKind::Vector(selector) => {
                selector.span.end = self.end;
                selector
            }
            NodeKind::Matrix { selector, .. } => selector,
            NodeKind::Subquery(_) => {
                let message = format!("{name} modifier is not supported for subqueries");
                return Err(self.error(span, message));
            }
            _ => return Err(self.error(span, format!("{name} modifier not implemented"))),
        };
        if selector.extended != Extended::No && selector.extended != wanted {
            let message = "anchored and smoothed modifiers cannot be used together";
            return Err(self.error(span, message));
        }
        selector.extended = wanted;
        node.span.end = self.end;
        Ok(())
    }
}

/// A token's text in quotes, cut after ten characters as Prometheus does.
fn shortened(text: &str) -> String {
    if text.len() <= 10 {
        return go_quote(text.as_bytes());
    }
    let head: String = text.chars().take(10).collect();
    format!("{}...", go_quote(head.as_bytes()))
}
