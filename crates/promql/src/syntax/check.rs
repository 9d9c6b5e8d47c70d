//! The type check: argument counts, types, and what may stand beside what.
//!
//! The order of the checks is Prometheus' (`checkAST`), because only the first error is shown.

use super::ParseError;
use super::ast::{
    Aggregate, AggregateOp, Call, Cardinality, Chain, ChainStep, Node, NodeKind, Span, ValueType,
    VectorSelector,
};
use vigie_model::{METRIC_NAME, go_quote};

/// Checks a whole expression.
pub(super) fn expression(text: &str, root: &Node) -> Result<(), ParseError> {
    Check { text }.node(root)
}

struct Check<'a> {
    text: &'a str,
}

impl Check<'_> {
    fn fail(&self, span: Span, message: impl Into<String>) -> Result<(), ParseError> {
        Err(ParseError::new(self.text, span, message))
    }

    fn node(&self, node: &Node) -> Result<(), ParseError> {
        match &node.kind {
            NodeKind::Number { .. } | NodeKind::Text(_) => Ok(()),
            NodeKind::Paren(inner) => self.node(inner),
            NodeKind::Vector(selector) | NodeKind::Matrix { selector, .. } => {
                self.selector(selector, node.span)
            }
            NodeKind::Unary { operand, .. } => {
                self.node(operand)?;
                let got = operand.value_type();
                if !matches!(got, ValueType::Scalar | ValueType::Vector) {
                    let message = format!(
                        "unary expression only allowed on expressions of type scalar or instant \
                         vector, got \"{}\"",
                        got.documented()
                    );
                    return self.fail(node.span, message);
                }
                Ok(())
            }
            NodeKind::Subquery(subquery) => {
                self.node(&subquery.expr)?;
                let got = subquery.expr.value_type();
                if got != ValueType::Vector {
                    let message = format!(
                        "subquery is only allowed on instant vector, got {} instead",
                        got.short()
                    );
                    return self.fail(node.span, message);
                }
                Ok(())
            }
            NodeKind::Aggregate(aggregate) => self.aggregate(aggregate),
            NodeKind::Call(call) => self.call(call, node.span),
            NodeKind::Binary(chain) => self.chain(chain),
        }
    }

    fn expect(&self, node: &Node, wanted: ValueType, context: &str) -> Result<(), ParseError> {
        self.node(node)?;
        let got = node.value_type();
        if got == wanted {
            return Ok(());
        }
        let (wanted, got) = (wanted.documented(), got.documented());
        self.fail(node.span, format!("expected type {wanted} in {context}, got {got}"))
    }

    fn aggregate(&self, aggregate: &Aggregate) -> Result<(), ParseError> {
        self.expect(&aggregate.expr, ValueType::Vector, "aggregation expression")?;
        let Some(parameter) = &aggregate.parameter else { return Ok(()) };
        let wanted = match aggregate.op {
            AggregateOp::CountValues => ValueType::String,
            _ => ValueType::Scalar,
        };
        self.expect(parameter, wanted, "aggregation parameter")
    }

    fn call(&self, call: &Call, span: Span) -> Result<(), ParseError> {
        let function = call.function;
        let (wanted, got) = (function.args.len(), call.args.len());
        let name = function.name;
        if function.variadic == 0 {
            if wanted != got {
                let message =
                    format!("expected {wanted} argument(s) in call to \"{name}\", got {got}");
                return self.fail(span, message);
            }
        } else {
            let least = wanted - 1;
            let most = usize::try_from(function.variadic).map(|more| least + more);
            if got < least {
                let message = format!(
                    "expected at least {least} argument(s) in call to \"{name}\", got {got}"
                );
                return self.fail(span, message);
            }
            if let Ok(most) = most
                && got > most
            {
                let message =
                    format!("expected at most {most} argument(s) in call to \"{name}\", got {got}");
                return self.fail(span, message);
            }
        }
        if name == "info" && got > 1 {
            self.info_selector(&call.args[1])?;
            return self.expect(&call.args[0], ValueType::Vector, "call to function \"info\"");
        }
        let context = format!("call to function \"{name}\"");
        for (at, arg) in call.args.iter().enumerate() {
            let wanted = function.args[at.min(wanted - 1)];
            self.expect(arg, wanted, &context)?;
        }
        Ok(())
    }

    fn info_selector(&self, arg: &Node) -> Result<(), ParseError> {
        match &arg.kind {
            NodeKind::Vector(selector) if !selector.name.is_empty() => {
                let message = "expected label selectors only, got vector selector instead";
                self.fail(arg.span, message)
            }
            NodeKind::Vector(_) => Ok(()),
            _ => self.fail(arg.span, "expected label selectors only"),
        }
    }

    fn chain(&self, chain: &Chain) -> Result<(), ParseError> {
        self.node(&chain.first)?;
        let (mut left_type, mut left_span) = (chain.first.value_type(), chain.first.span);
        for step in &chain.steps {
            self.node(&step.rhs)?;
            self.step(step, left_type, left_span)?;
            let scalar =
                left_type == ValueType::Scalar && step.rhs.value_type() == ValueType::Scalar;
            left_type = if scalar { ValueType::Scalar } else { ValueType::Vector };
            left_span = left_span.to(step.rhs.span);
        }
        Ok(())
    }

    fn step(&self, step: &ChainStep, left: ValueType, left_span: Span) -> Result<(), ParseError> {
        let right = step.rhs.value_type();
        let span = left_span.to(step.rhs.span);
        let (op, matching) = (step.op, &step.matching);
        if step.return_bool && !op.is_comparison() {
            let message = "bool modifier can only be used on comparison operators";
            return self.fail(step.op_span, message);
        }
        let scalars = left == ValueType::Scalar && right == ValueType::Scalar;
        if op.is_comparison() && !step.return_bool && scalars {
            let message = "comparisons between scalars must use BOOL modifier";
            return self.fail(step.op_span, message);
        }
        let both = matching.labels.iter().find(|label| matching.include.contains(label));
        if let (true, Some(label)) = (matching.on, both) {
            let label = go_quote(label.as_bytes());
            let message = format!("label {label} must not occur in ON and GROUP clause at once");
            return self.fail(step.op_span, message);
        }
        for (side, side_span) in [(left, left_span), (right, step.rhs.span)] {
            if !matches!(side, ValueType::Scalar | ValueType::Vector) {
                let message = "binary expression must contain only scalar and instant vector types";
                return self.fail(side_span, message);
            }
        }
        let vectors = left == ValueType::Vector && right == ValueType::Vector;
        if !vectors && !matching.labels.is_empty() {
            return self.fail(span, "vector matching only allowed between instant vectors");
        }
        if !vectors && matching.fill.is_some() {
            let message = "filling in missing series only allowed between instant vectors";
            return self.fail(span, message);
        }
        if op.is_set() && matching.fill.is_some() {
            return self.fail(span, "filling in missing series not allowed for set operators");
        }
        if vectors && op.is_set() && matching.cardinality != Cardinality::OneToOne {
            return self
                .fail(span, format!("no grouping allowed for \"{}\" operation", op.as_str()));
        }
        if op.is_set() && !vectors {
            let message =
                format!("set operator \"{}\" not allowed in binary scalar expression", op.as_str());
            return self.fail(span, message);
        }
        Ok(())
    }

    fn selector(&self, selector: &VectorSelector, span: Span) -> Result<(), ParseError> {
        if let [others @ .., _] = &selector.matchers[..]
            && !selector.name.is_empty()
        {
            if let Some(other) = others.iter().find(|matcher| matcher.name == METRIC_NAME) {
                let message = format!(
                    "metric name must not be set twice: {} or {}",
                    go_quote(selector.name.as_bytes()),
                    go_quote(other.value.as_bytes())
                );
                return self.fail(span, message);
            }
            return Ok(());
        }
        if selector.matchers.iter().all(|matcher| matcher.matches_empty()) {
            let message = "vector selector must contain at least one non-empty matcher";
            return self.fail(span, message);
        }
        Ok(())
    }
}
