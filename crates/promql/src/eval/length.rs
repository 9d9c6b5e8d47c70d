//! The milliseconds of a [`Length`], once the query's step and range are known.

use super::math::{go_max, go_min};
use super::{Eval, EvalError, Result};
use crate::syntax::{BinaryOp, Length, LengthExpr, LengthKind, Span};

impl Eval<'_> {
    /// A length that must be positive.
    pub(super) fn positive_ms(&self, length: &Length) -> Result<i64> {
        self.length_ms(length, false)
    }

    /// A length of either sign.
    pub(super) fn offset_ms(&self, length: &Length) -> Result<i64> {
        self.length_ms(length, true)
    }

    fn length_ms(&self, length: &Length, negative_allowed: bool) -> Result<i64> {
        let expr = match length {
            Length::Fixed { ms } => return Ok(*ms),
            Length::Computed(expr) => expr,
        };
        let seconds = self.seconds(expr)?;
        if !seconds.is_finite() {
            return Err(bad(expr.span, "duration is NaN or infinite"));
        }
        if seconds <= 0.0 && !negative_allowed {
            return Err(bad(expr.span, "duration must be greater than 0"));
        }
        if seconds.abs() > i64::MAX as f64 / 1e9 {
            return Err(bad(expr.span, "duration is out of range"));
        }
        Ok((seconds * 1000.0) as i64)
    }

    fn seconds(&self, expr: &LengthExpr) -> Result<f64> {
        Ok(match &expr.kind {
            LengthKind::Number { value, .. } => *value,
            LengthKind::Step => self.query.step_ms as f64 / 1000.0,
            LengthKind::Range => {
                self.query.end_ms.saturating_sub(self.query.start_ms) as f64 / 1000.0
            }
            LengthKind::Negative(inner) => -self.seconds(inner)?,
            LengthKind::Paren(inner) => self.seconds(inner)?,
            LengthKind::Smaller(left, right) => go_min(self.seconds(left)?, self.seconds(right)?),
            LengthKind::Larger(left, right) => go_max(self.seconds(left)?, self.seconds(right)?),
            LengthKind::Arithmetic(op, left, right) => {
                let (left, right) = (self.seconds(left)?, self.seconds(right)?);
                match op {
                    BinaryOp::Div if right == 0.0 => {
                        return Err(bad(expr.span, "division by zero"));
                    }
                    BinaryOp::Mod if right == 0.0 => return Err(bad(expr.span, "modulo by zero")),
                    op => super::binary::number(*op, left, right),
                }
            }
        })
    }
}

/// Prometheus gives the byte offsets here, not line and column.
fn bad(span: Span, text: &str) -> EvalError {
    EvalError::BadData(format!("{}:{}: {text}", span.start, span.end))
}
