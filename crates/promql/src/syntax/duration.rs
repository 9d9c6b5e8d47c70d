//! Lengths of time in brackets and after `offset`, arithmetic included.
//!
//! After `offset` only one literal, call or parenthesised expression is taken, so that
//! `m offset 2 ^ 2` is `(m offset 2) ^ 2`; inside brackets the whole expression counts.

use super::ParseError;
use super::ast::{BinaryOp, Length, LengthExpr, LengthKind, Span};
use super::lexer::{Keyword, Kind};
use super::parser::Parser;
use vigie_model::duration::parse_duration_ms;

/// Seconds beyond which Go's nanoseconds overflow.
const SECONDS_MAX: f64 = 9_223_372_036.854_775;

/// The seconds of a duration literal, or Prometheus' error text.
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    parse_duration_ms(text).map(|ms| ms as f64 / 1000.0)
}

/// Most operators in one duration expression: each may put its tree one level deeper.
const OPERATORS_MAX: usize = 128;

/// Whole milliseconds of seconds, by way of nanoseconds as Go does it.
fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1e9).round() as i64 / 1_000_000
}

impl Parser<'_> {
    /// A whole duration expression that must be positive.
    pub(super) fn positive_length(&mut self) -> Result<Length, ParseError> {
        self.length_operators = 0;
        let expr = self.length(0)?;
        match expr.kind {
            LengthKind::Number { value, .. } if value <= 0.0 => {
                Err(self.error(expr.span, "duration must be greater than 0"))
            }
            LengthKind::Number { value, .. } => Ok(Length::Fixed { ms: milliseconds(value) }),
            _ => Ok(Length::Computed(Box::new(expr))),
        }
    }

    /// What follows `offset`.
    pub(super) fn offset_length(&mut self) -> Result<Length, ParseError> {
        const EXPECTED: &str = "number, duration, step(), or range()";
        self.length_operators = 0;
        let expr = self.within("offset", EXPECTED, |parser| {
            let start = parser.token.span;
            match parser.token.kind {
                Kind::Operator(op @ (BinaryOp::Add | BinaryOp::Sub)) => {
                    parser.advance()?;
                    let inner = parser.length_atom()?;
                    parser.signed(op, start, inner)
                }
                Kind::LeftParen => {
                    let inner = parser.length_atom()?;
                    parser.length_rest(inner, 0)
                }
                _ => parser.length_atom(),
            }
        })?;
        Ok(match expr.kind {
            LengthKind::Number { value, .. } => Length::Fixed { ms: milliseconds(value) },
            _ => Length::Computed(Box::new(expr)),
        })
    }

    fn signed(
        &self,
        op: BinaryOp,
        start: Span,
        inner: LengthExpr,
    ) -> Result<LengthExpr, ParseError> {
        let span = start.to(inner.span);
        let kind = match (op, inner.kind) {
            (BinaryOp::Sub, LengthKind::Number { value, duration }) => {
                LengthKind::Number { value: -value, duration }
            }
            (BinaryOp::Sub, kind) => {
                LengthKind::Negative(Box::new(LengthExpr { kind, span: inner.span }))
            }
            (_, kind) => kind,
        };
        Ok(LengthExpr { kind, span })
    }

    fn length(&mut self, precedence_min: u8) -> Result<LengthExpr, ParseError> {
        let start = self.token.span;
        let left = match self.token.kind {
            Kind::Operator(op @ (BinaryOp::Add | BinaryOp::Sub)) => {
                self.advance()?;
                let inner = self.deeper(|parser| parser.length(6))?;
                self.signed(op, start, inner)?
            }
            _ => self.deeper(Self::length_atom)?,
        };
        self.length_rest(left, precedence_min)
    }

    fn length_rest(
        &mut self,
        mut left: LengthExpr,
        precedence_min: u8,
    ) -> Result<LengthExpr, ParseError> {
        loop {
            let op_token = self.token;
            let op = match op_token.kind {
                Kind::Operator(op) if is_arithmetic(op) && op.precedence() >= precedence_min => op,
                _ => return Ok(left),
            };
            self.length_operators += 1;
            if self.length_operators > OPERATORS_MAX {
                let message = "duration expression has too many operators";
                return Err(self.error(op_token.span, message));
            }
            self.advance()?;
            let rhs_min = op.precedence() + u8::from(op != BinaryOp::Pow);
            let right = self.deeper(|parser| parser.length(rhs_min))?;
            if matches!(right.kind, LengthKind::Number { value: 0.0, .. }) {
                match op {
                    BinaryOp::Div => return Err(self.error(op_token.span, "division by zero")),
                    BinaryOp::Mod => return Err(self.error(op_token.span, "modulo by zero")),
                    _ => {}
                }
            }
            let span = left.span.to(right.span);
            let kind = LengthKind::Arithmetic(op, Box::new(left), Box::new(right));
            left = LengthExpr { kind, span };
        }
    }

    fn length_atom(&mut self) -> Result<LengthExpr, ParseError> {
        let start = self.token.span;
        let kind = match self.token.kind {
            Kind::Number | Kind::Duration => {
                let (value, duration, span) = self.number()?;
                if !(-SECONDS_MAX..=SECONDS_MAX).contains(&value) {
                    return Err(self.error(span, "duration out of range"));
                }
                LengthKind::Number { value, duration }
            }
            Kind::LeftParen => {
                self.advance()?;
                let inner = self.deeper(|parser| parser.length(0))?;
                self.take(Kind::RightParen)?;
                LengthKind::Paren(Box::new(inner))
            }
            Kind::Keyword(word @ (Keyword::Step | Keyword::Range)) => {
                self.advance()?;
                self.take(Kind::LeftParen)?;
                self.take(Kind::RightParen)?;
                if word == Keyword::Step { LengthKind::Step } else { LengthKind::Range }
            }
            Kind::Keyword(word @ (Keyword::MinOf | Keyword::MaxOf)) => {
                self.advance()?;
                self.take(Kind::LeftParen)?;
                let left = Box::new(self.deeper(|parser| parser.length(0))?);
                self.take(Kind::Comma)?;
                let right = Box::new(self.deeper(|parser| parser.length(0))?);
                self.take(Kind::RightParen)?;
                match word {
                    Keyword::MinOf => LengthKind::Smaller(left, right),
                    _ => LengthKind::Larger(left, right),
                }
            }
            _ => return Err(self.unexpected_here()),
        };
        Ok(LengthExpr { kind, span: Span { start: start.start, end: self.end } })
    }
}

fn is_arithmetic(op: BinaryOp) -> bool {
    use BinaryOp::{Add, Div, Mod, Mul, Pow, Sub};
    matches!(op, Add | Sub | Mul | Div | Mod | Pow)
}
