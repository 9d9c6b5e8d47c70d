//! Binary operators on samples of which at least one is a native histogram.

use super::notes::Note;
use super::value::Point;
use crate::native::{Combined, FloatHistogram, Mixed};
use crate::syntax::BinaryOp;
use std::sync::Arc;
use vigie_model::histogram::ResetHint;

/// What an operator answers for two samples.
pub(super) struct Outcome {
    /// The result; of a comparison, its left side.
    pub(super) point: Point,
    /// Whether the comparison holds; true of all other operators.
    pub(super) keep: bool,
    /// What is odd although there is a result.
    pub(super) note: Option<Note>,
}

/// Applies the operator; without a result there is a note that says why.
pub(super) fn combine(op: BinaryOp, left: &Point, right: &Point) -> Result<Outcome, Note> {
    match (left, right) {
        (Point::Histogram(left), Point::Histogram(right)) => both(op, left, right),
        (Point::Histogram(left), Point::Float(right)) => {
            let histogram = FloatHistogram::clone(left);
            Ok(kept(match op {
                BinaryOp::Mul => histogram.mul(*right).compact(),
                BinaryOp::Div => histogram.div(*right).compact(),
                BinaryOp::TrimUpper => histogram.trimmed(*right, true),
                BinaryOp::TrimLower => histogram.trimmed(*right, false),
                _ => return Err(incompatible("histogram", op, "float")),
            }))
        }
        (Point::Float(left), Point::Histogram(right)) if op == BinaryOp::Mul => {
            Ok(kept(FloatHistogram::clone(right).mul(*left).compact()))
        }
        (Point::Float(_), Point::Histogram(_)) => Err(incompatible("float", op, "histogram")),
        (Point::Float(_), Point::Float(_)) => Err(incompatible("float", op, "float")),
    }
}

fn both(op: BinaryOp, left: &Arc<FloatHistogram>, right: &FloatHistogram) -> Result<Outcome, Note> {
    let mut result = FloatHistogram::clone(left);
    let (combined, what) = match op {
        BinaryOp::Equal | BinaryOp::NotEqual => {
            let keep = (**left == *right) == (op == BinaryOp::Equal);
            return Ok(Outcome { point: Point::Histogram(Arc::clone(left)), keep, note: None });
        }
        BinaryOp::Add => (result.add(right), "addition"),
        BinaryOp::Sub => (result.sub(right), "subtraction"),
        _ => return Err(incompatible("histogram", op, "histogram")),
    };
    let Combined { resets_collide, bounds_differ } =
        combined.map_err(|Mixed| Note::IncompatibleLayout(op.as_str()))?;
    if resets_collide {
        return Err(Note::ResetsCollide(what));
    }
    if op == BinaryOp::Sub {
        result.reset_hint = ResetHint::Gauge;
    }
    let note = bounds_differ.then_some(Note::BoundsDiffer(what));
    Ok(Outcome { note, ..kept(result.compact()) })
}

fn kept(histogram: FloatHistogram) -> Outcome {
    Outcome { point: Point::Histogram(Arc::new(histogram)), keep: true, note: None }
}

fn incompatible(left: &'static str, op: BinaryOp, right: &'static str) -> Note {
    Note::IncompatibleTypes { left, op: op.as_str(), right }
}
