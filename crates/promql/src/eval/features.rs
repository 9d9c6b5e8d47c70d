//! Which experimental parts of the language a query may use, under the names of Prometheus' flags.
//!
//! The parser reads all of the language, so that any query can be printed and formatted; whether
//! it may be evaluated is found out here, in Prometheus' words for what is not enabled.

use super::{EvalError, Result};
use crate::syntax::{AggregateOp, Expr, Extended, Length, LengthExpr, Node, NodeKind, Span};
use vigie_model::go_quote;

/// Parts of the language and of its evaluation that Prometheus keeps behind feature flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// `promql-experimental-functions`: functions, `limitk` and `limit_ratio`.
    pub experimental_functions: bool,
    /// `promql-extended-range-selectors`: `anchored` and `smoothed`.
    pub extended_range_selectors: bool,
    /// `promql-binop-fill-modifiers`: `fill`, `fill_left`, `fill_right`.
    pub binop_fill_modifiers: bool,
    /// `use-start-timestamps`: counters are known to begin when their samples say so.
    pub start_timestamps: bool,
    /// `type-and-unit-labels`: what is no counter is told by `__type__`.
    pub type_and_unit_labels: bool,
    /// `promql-duration-expr`: lengths of time that are calculated.
    pub duration_expressions: bool,
}

impl Default for Features {
    /// What a caller that has no flags may use: functions and calculated lengths.
    fn default() -> Features {
        Features { experimental_functions: true, duration_expressions: true, ..Features::NONE }
    }
}

/// Functions that Prometheus calls experimental (`promql/parser/functions.go`), sorted.
const EXPERIMENTAL: [&str; 17] = [
    "double_exponential_smoothing",
    "end",
    "histogram_quantiles",
    "info",
    "mad_over_time",
    "max_of",
    "min_of",
    "range",
    "sort_by_label",
    "sort_by_label_desc",
    "start",
    "start_timestamp",
    "step",
    "ts_of_first_over_time",
    "ts_of_last_over_time",
    "ts_of_max_over_time",
    "ts_of_min_over_time",
];

impl Features {
    /// Nothing experimental.
    pub const NONE: Features = Features {
        experimental_functions: false,
        extended_range_selectors: false,
        binop_fill_modifiers: false,
        start_timestamps: false,
        type_and_unit_labels: false,
        duration_expressions: false,
    };

    /// Everything.
    pub const ALL: Features = Features {
        experimental_functions: true,
        extended_range_selectors: true,
        binop_fill_modifiers: true,
        start_timestamps: true,
        type_and_unit_labels: true,
        duration_expressions: true,
    };

    /// Switches on what the flag of that name (`--enable-feature=NAME`) switches on; whether it is
    /// one of the language.
    pub fn enable(&mut self, name: &str) -> bool {
        let feature = match name {
            "promql-experimental-functions" => &mut self.experimental_functions,
            "promql-extended-range-selectors" => &mut self.extended_range_selectors,
            "promql-binop-fill-modifiers" => &mut self.binop_fill_modifiers,
            "use-start-timestamps" => &mut self.start_timestamps,
            "type-and-unit-labels" => &mut self.type_and_unit_labels,
            "promql-duration-expr" => &mut self.duration_expressions,
            _ => return false,
        };
        *feature = true;
        true
    }

    /// Whether an expression may be evaluated.
    pub fn allows(self, expr: &Expr) -> bool {
        self.check(expr).is_ok()
    }

    /// Refuses an expression that uses what is not enabled; the first such place is told.
    pub(super) fn check(self, expr: &Expr) -> Result<()> {
        let mut first: Option<(Span, String)> = None;
        let mut left = vec![expr.root()];
        while let Some(node) = left.pop() {
            if let Some(found) = self.refused(node)
                && first.as_ref().is_none_or(|first| found.0 < first.0)
            {
                first = Some(found);
            }
            match &node.kind {
                NodeKind::Number { .. } | NodeKind::Text(_) => {}
                NodeKind::Vector(_) | NodeKind::Matrix { .. } => {}
                NodeKind::Subquery(subquery) => left.push(&subquery.expr),
                NodeKind::Aggregate(aggregate) => {
                    left.push(&aggregate.expr);
                    left.extend(&aggregate.parameter);
                }
                NodeKind::Call(call) => left.extend(&call.args),
                NodeKind::Unary { operand, .. } => left.push(operand),
                NodeKind::Paren(inner) => left.push(inner),
                NodeKind::Binary(chain) => {
                    left.push(&chain.first);
                    left.extend(chain.steps.iter().map(|step| &step.rhs));
                }
            }
        }
        let Some((span, text)) = first else { return Ok(()) };
        let position = span.line_column(expr.text());
        Err(EvalError::BadData(format!("{position}: parse error: {text}")))
    }

    fn refused(self, node: &Node) -> Option<(Span, String)> {
        if let Some(length) = calculated_length(node).filter(|_| !self.duration_expressions) {
            let text = "experimental duration expression is not enabled";
            return Some((length.span, text.to_owned()));
        }
        let text = match &node.kind {
            NodeKind::Vector(selector) | NodeKind::Matrix { selector, .. }
                if selector.extended != Extended::No && !self.extended_range_selectors =>
            {
                let modifier = selector.extended.as_str();
                format!("{modifier} modifier is experimental and not enabled")
            }
            NodeKind::Call(call)
                if !self.experimental_functions
                    && EXPERIMENTAL.binary_search(&call.function.name).is_ok() =>
            {
                let name = go_quote(call.function.name.as_bytes());
                format!("function {name} is not enabled")
            }
            NodeKind::Aggregate(aggregate)
                if !self.experimental_functions
                    && matches!(aggregate.op, AggregateOp::LimitK | AggregateOp::LimitRatio) =>
            {
                format!(
                    "{}() is experimental and must be enabled with \
                     --enable-feature=promql-experimental-functions",
                    aggregate.op.as_str()
                )
            }
            NodeKind::Binary(chain)
                if !self.binop_fill_modifiers
                    && chain.steps.iter().any(|step| step.matching.fill.is_some()) =>
            {
                "binop fill modifiers are experimental and not enabled".to_owned()
            }
            _ => return None,
        };
        Some((node.span, text))
    }
}

/// A length of time of a node that is calculated.
fn calculated_length(node: &Node) -> Option<&LengthExpr> {
    let lengths: [Option<&Length>; 3] = match &node.kind {
        NodeKind::Vector(selector) => [Some(&selector.offset), None, None],
        NodeKind::Matrix { selector, range } => [Some(range), Some(&selector.offset), None],
        NodeKind::Subquery(subquery) => {
            [Some(&subquery.range), subquery.step.as_ref(), Some(&subquery.offset)]
        }
        _ => [None, None, None],
    };
    lengths.into_iter().flatten().find_map(|length| match length {
        Length::Computed(length) => Some(&**length),
        Length::Fixed { .. } => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_enabled_is_refused_in_prometheus_words() {
        for (query, flag, text) in [
            (
                "1 + sum(mad_over_time(x[5m]))",
                "promql-experimental-functions",
                "1:9: parse error: function \"mad_over_time\" is not enabled",
            ),
            (
                "limitk(1, x)",
                "promql-experimental-functions",
                "1:1: parse error: limitk() is experimental and must be enabled with \
                 --enable-feature=promql-experimental-functions",
            ),
            (
                "rate(x[5m] anchored)",
                "promql-extended-range-selectors",
                "1:6: parse error: anchored modifier is experimental and not enabled",
            ),
            (
                "x + fill(0) y",
                "promql-binop-fill-modifiers",
                "1:1: parse error: binop fill modifiers are experimental and not enabled",
            ),
            (
                "rate(x[5m * 2])",
                "promql-duration-expr",
                "1:8: parse error: experimental duration expression is not enabled",
            ),
        ] {
            let expr = crate::syntax::parse(query).unwrap();
            assert_eq!(Features::NONE.check(&expr).unwrap_err().to_string(), text);
            let mut features = Features::NONE;
            assert!(features.enable(flag));
            features.check(&expr).unwrap();
        }
        let mut none = Features::NONE;
        assert!(!none.enable("agent"));
        assert!(EXPERIMENTAL.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
