//! An expression over several lines, as Prometheus' `format_query` lays it out.
//!
//! A node whose text fits is left on its line; any other is split into its parts, each one level
//! deeper. Operands stand deeper than their operator.

use super::ast::{Chain, Expr, Node, NodeKind};
use std::fmt::Write;

/// Chains longer than this are left on one line: their indentation would grow with the square.
const CHAIN_SPLIT_MAX: usize = 128;

impl Expr {
    /// The canonical text, split where it is longer than `width` bytes (Prometheus: 100).
    pub fn pretty(&self, width: usize) -> String {
        pretty(&self.root, 0, width)
    }
}

fn indent(level: usize) -> String {
    "  ".repeat(level)
}

fn pretty(node: &Node, level: usize, width: usize) -> String {
    let text = node.to_string();
    let fits = text.len() <= width;
    match &node.kind {
        NodeKind::Unary { negative, operand } => {
            let operand = pretty(operand, level, width);
            let sign = if *negative { '-' } else { '+' };
            format!("{}{sign}{}", indent(level), operand.trim())
        }
        // Prometheus forgets the indentation here.
        NodeKind::Subquery(_) if fits => text,
        NodeKind::Subquery(subquery) => {
            let suffix = &text[subquery.expr.to_string().len()..];
            format!("{}{suffix}", pretty(&subquery.expr, level, width))
        }
        NodeKind::Aggregate(aggregate) if !fits => {
            let mut out =
                format!("{}{}{}(\n", indent(level), aggregate.op.as_str(), aggregate.grouping);
            if let Some(parameter) = &aggregate.parameter {
                let _ = writeln!(out, "{},", pretty(parameter, level + 1, width));
            }
            out + &format!("{}\n{})", pretty(&aggregate.expr, level + 1, width), indent(level))
        }
        NodeKind::Call(call) if !fits => {
            let args: Vec<String> =
                call.args.iter().map(|arg| pretty(arg, level + 1, width)).collect();
            let (name, margin) = (call.function.name, indent(level));
            format!("{margin}{name}(\n{}\n{margin})", args.join(",\n"))
        }
        NodeKind::Paren(inner) if !fits => {
            let margin = indent(level);
            format!("{margin}(\n{}\n{margin})", pretty(inner, level + 1, width))
        }
        NodeKind::Binary(chain) if !fits && chain.steps.len() <= CHAIN_SPLIT_MAX => {
            pretty_chain(chain, chain.steps.len(), level, width)
        }
        _ => format!("{}{text}", indent(level)),
    }
}

/// The first `count` operators of a chain.
fn pretty_chain(chain: &Chain, count: usize, level: usize, width: usize) -> String {
    let Some(last) = count.checked_sub(1) else { return pretty(&chain.first, level, width) };
    let mut text = chain.first.to_string();
    for step in &chain.steps[..count] {
        let _ = write!(text, "{step}");
    }
    if text.len() <= width {
        return format!("{}{text}", indent(level));
    }
    let step = &chain.steps[last];
    let bool = if step.return_bool { " bool" } else { "" };
    format!(
        "{}\n{}{}{bool}{}\n{}",
        pretty_chain(chain, last, level + 1, width),
        indent(level),
        step.op.as_str(),
        step.matching,
        pretty(&step.rhs, level + 1, width)
    )
}
