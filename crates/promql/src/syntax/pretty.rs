//! An expression over several lines, as Prometheus' `format_query` lays it out.
//!
//! A node whose text fits is left on its line; any other is split into its parts, each one level
//! deeper. Operands stand deeper than their operator.

use super::ast::{Chain, Expr, Node, NodeKind};
use std::fmt::Write;

/// Chains longer than this are left on one line: their indentation would grow with the square.
const CHAIN_SPLIT_MAX: usize = 128;
/// What lies deeper than this is left on one line, for the same reason.
const LEVEL_MAX: usize = 128;

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
    let fits = text.len() <= width || level > LEVEL_MAX;
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
            pretty_chain(chain, level, width)
        }
        _ => format!("{}{text}", indent(level)),
    }
}

/// A chain that does not fit: each operator stands on a line of its own, the last one least deep;
/// the longest beginning that fits stays together.
fn pretty_chain(chain: &Chain, level: usize, width: usize) -> String {
    let count = chain.steps.len();
    let (mut text, mut together, mut kept) = (chain.first.to_string(), 0, 0);
    for (at, step) in chain.steps.iter().enumerate() {
        let _ = write!(text, "{step}");
        if text.len() > width {
            break;
        }
        (together, kept) = (at + 1, text.len());
    }
    let deepest = level + count - together;
    let mut out = match together {
        0 => pretty(&chain.first, deepest, width),
        _ => format!("{}{}", indent(deepest), &text[..kept]),
    };
    for (at, step) in chain.steps.iter().enumerate().skip(together) {
        let level = level + count - 1 - at;
        let bool = if step.return_bool { " bool" } else { "" };
        let (margin, op, matching) = (indent(level), step.op.as_str(), &step.matching);
        let rhs = pretty(&step.rhs, level + 1, width);
        let _ = write!(out, "\n{margin}{op}{bool}{matching}\n{rhs}");
    }
    out
}
