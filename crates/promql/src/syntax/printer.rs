//! The canonical text of an expression, as Prometheus' `Expr.String()` prints it.

use super::ast::{
    Aggregate, At, Cardinality, Chain, ChainStep, Expr, Extended, Grouping, Length, LengthExpr,
    LengthKind, Matching, Node, NodeKind, Subquery, VectorSelector,
};
use super::lexer::{is_alpha, is_alphanumeric};
use std::fmt::{self, Display, Formatter};
use vigie_model::duration::format_duration_ms;
use vigie_model::value::format_value;
use vigie_model::{METRIC_NAME, MatchOp, Matcher, go_quote};

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.root.fmt(f)
    }
}

impl Display for Node {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            NodeKind::Number { value, duration } => f.write_str(&number(*value, *duration)),
            NodeKind::Text(text) => f.write_str(&go_quote(text.bytes())),
            NodeKind::Vector(selector) => selector.fmt(f),
            NodeKind::Matrix { selector, range } => {
                write!(f, "{}[{range}]", Series(selector))?;
                modifiers(f, selector)
            }
            NodeKind::Subquery(subquery) => subquery.fmt(f),
            NodeKind::Aggregate(aggregate) => aggregate.fmt(f),
            NodeKind::Call(call) => {
                write!(f, "{}(", call.function.name)?;
                for (at, arg) in call.args.iter().enumerate() {
                    write!(f, "{}{arg}", if at > 0 { ", " } else { "" })?;
                }
                f.write_str(")")
            }
            NodeKind::Unary { negative, operand } => {
                write!(f, "{}{operand}", if *negative { "-" } else { "+" })
            }
            NodeKind::Binary(chain) => chain.fmt(f),
            NodeKind::Paren(inner) => write!(f, "({inner})"),
        }
    }
}

fn number(value: f64, duration: bool) -> String {
    if duration { format_duration_ms((value * 1000.0).round() as i64) } else { format_value(value) }
}

/// A selector without its times.
struct Series<'a>(&'a VectorSelector);

impl Display for Series<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let selector = self.0;
        let is_name = |matcher: &&Matcher| {
            matcher.name == METRIC_NAME
                && matcher.op == MatchOp::Equal
                && matcher.value == selector.name
                && !matcher.value.is_empty()
        };
        let mut texts: Vec<String> =
            selector.matchers.iter().filter(|m| !is_name(m)).map(matcher).collect();
        texts.sort();
        f.write_str(&selector.name)?;
        if texts.is_empty() { Ok(()) } else { write!(f, "{{{}}}", texts.join(",")) }
    }
}

fn matcher(matcher: &Matcher) -> String {
    let value = go_quote(matcher.value.as_bytes());
    format!("{}{}{value}", label_name(&matcher.name), matcher.op.as_str())
}

/// A label name, in quotes unless it is a plain one.
fn label_name(name: &str) -> String {
    let plain = name.starts_with(is_alpha) && name.chars().all(is_alphanumeric);
    if plain { name.to_owned() } else { go_quote(name.as_bytes()) }
}

fn modifiers(f: &mut Formatter<'_>, selector: &VectorSelector) -> fmt::Result {
    if selector.extended != Extended::No {
        write!(f, " {}", selector.extended.as_str())?;
    }
    times(f, selector.at, &selector.offset)
}

fn times(f: &mut Formatter<'_>, at: Option<At>, offset: &Length) -> fmt::Result {
    match at {
        None => {}
        Some(At::Start) => f.write_str(" @ start()")?,
        Some(At::End) => f.write_str(" @ end()")?,
        Some(At::Instant(ms)) => write!(f, " @ {:.3}", ms as f64 / 1000.0)?,
    }
    if offset.is_zero() { Ok(()) } else { write!(f, " offset {offset}") }
}

impl Display for VectorSelector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Series(self).fmt(f)?;
        modifiers(f, self)
    }
}

impl Display for Subquery {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}:", self.expr, self.range)?;
        if let Some(step) = &self.step {
            step.fmt(f)?;
        }
        f.write_str("]")?;
        times(f, self.at, &self.offset)
    }
}

fn labels(labels: &[String]) -> String {
    labels.iter().map(|label| label_name(label)).collect::<Vec<_>>().join(", ")
}

impl Display for Grouping {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match (self.without, self.labels.is_empty()) {
            (true, _) => write!(f, " without ({}) ", labels(&self.labels)),
            (false, false) => write!(f, " by ({}) ", labels(&self.labels)),
            (false, true) => Ok(()),
        }
    }
}

impl Display for Aggregate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}(", self.op.as_str(), self.grouping)?;
        if let Some(parameter) = &self.parameter {
            write!(f, "{parameter}, ")?;
        }
        write!(f, "{})", self.expr)
    }
}

impl Display for Chain {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.first.fmt(f)?;
        self.steps.iter().try_for_each(|step| step.fmt(f))
    }
}

impl Display for ChainStep {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let bool = if self.return_bool { " bool" } else { "" };
        write!(f, " {}{bool}{} {}", self.op.as_str(), self.matching, self.rhs)
    }
}

impl Display for Matching {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let grouped = self.cardinality != Cardinality::OneToOne;
        if self.on || grouped || !self.labels.is_empty() {
            let word = if self.on { "on" } else { "ignoring" };
            write!(f, " {word} ({})", labels(&self.labels))?;
        }
        match self.cardinality {
            Cardinality::OneToOne => {}
            Cardinality::ManyToOne => write!(f, " group_left ({})", labels(&self.include))?,
            Cardinality::OneToMany => write!(f, " group_right ({})", labels(&self.include))?,
        }
        let number = |value: f64| super::go_general(value, None);
        match (self.fill.left, self.fill.right) {
            (Some(left), Some(right)) if left == right => write!(f, " fill ({})", number(left)),
            (left, right) => {
                if let Some(left) = left {
                    write!(f, " fill_left ({})", number(left))?;
                }
                match right {
                    Some(right) => write!(f, " fill_right ({})", number(right)),
                    None => Ok(()),
                }
            }
        }
    }
}

impl Display for Length {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Length::Fixed { ms } => f.write_str(&format_duration_ms(*ms)),
            Length::Computed(expr) => expr.fmt(f),
        }
    }
}

impl Display for LengthExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            LengthKind::Number { value, duration } => f.write_str(&number(*value, *duration)),
            LengthKind::Step => f.write_str("step()"),
            LengthKind::Range => f.write_str("range()"),
            LengthKind::Negative(inner) => write!(f, "-{inner}"),
            LengthKind::Paren(inner) => write!(f, "({inner})"),
            LengthKind::Arithmetic(op, left, right) => write!(f, "{left} {} {right}", op.as_str()),
            LengthKind::Smaller(left, right) => write!(f, "min_of({left}, {right})"),
            LengthKind::Larger(left, right) => write!(f, "max_of({left}, {right})"),
        }
    }
}
