//! Whether the answer at an instant depends on that instant and what lies before it, and on nothing
//! else of the query: then it may be kept and used again when the range has moved on.

use super::{AggregateOp, Expr, Length, Node, NodeKind};

/// Functions that look at the query's own range.
const OF_THE_RANGE: [&str; 5] = ["start", "end", "range", "step", "info"];

impl Expr {
    /// Whether every value of the answer depends only on its instant and on samples not newer.
    /// `false` where that is not certain: `@`, negative offsets, `start()`, `limitk` and their like.
    pub fn is_steady(&self) -> bool {
        let mut left = vec![&self.root];
        while let Some(node) = left.pop() {
            if !is_steady(node, &mut left) {
                return false;
            }
        }
        true
    }
}

/// Judges one node and hands on those below it.
fn is_steady<'a>(node: &'a Node, left: &mut Vec<&'a Node>) -> bool {
    match &node.kind {
        NodeKind::Number { .. } | NodeKind::Text(_) => true,
        NodeKind::Vector(selector) => selector.at.is_none() && is_past(&selector.offset),
        NodeKind::Matrix { selector, range } => {
            selector.at.is_none() && is_past(&selector.offset) && is_past(range)
        }
        NodeKind::Subquery(subquery) => {
            left.push(&subquery.expr);
            let step = subquery.step.as_ref().is_none_or(is_past);
            subquery.at.is_none() && is_past(&subquery.offset) && is_past(&subquery.range) && step
        }
        NodeKind::Aggregate(aggregate) => {
            left.push(&aggregate.expr);
            left.extend(&aggregate.parameter);
            // They keep the series that a selection happens to hand out first.
            !matches!(aggregate.op, AggregateOp::LimitK | AggregateOp::LimitRatio)
        }
        NodeKind::Call(call) => {
            left.extend(&call.args);
            !OF_THE_RANGE.contains(&call.function.name)
        }
        NodeKind::Unary { operand, .. } => {
            left.push(operand);
            true
        }
        NodeKind::Paren(inner) => {
            left.push(inner);
            true
        }
        NodeKind::Binary(chain) => {
            left.extend(chain.steps.iter().map(|step| &step.rhs));
            left.push(&chain.first);
            true
        }
    }
}

fn is_past(length: &Length) -> bool {
    matches!(length, Length::Fixed { ms } if *ms >= 0)
}

#[cfg(test)]
mod tests {
    use crate::syntax::parse;

    #[test]
    fn what_looks_beyond_its_instant_is_not_steady() {
        for (query, steady) in [
            ("sum by(a)(rate(m[5m] offset 1h)) / 2", true),
            ("max_over_time(rate(m[1m])[10m:])", true),
            ("topk(3, -m) unless vector(time())", true),
            ("m @ 100", false),
            ("m offset -1m", false),
            ("rate(m[1m] @ end())", false),
            ("sum(max_over_time(m[10m:1m] @ start()))", false),
            ("m > start()", false),
            ("limitk(2, m)", false),
        ] {
            let expr = parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
            assert_eq!(expr.is_steady(), steady, "{query}");
        }
    }
}
