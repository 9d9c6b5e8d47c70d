//! The language as text: lexer, parser, type check, printer, and the tree between them.
//!
//! [`parse`] owns the whole way from text to a checked [`Expr`]; nothing that fails the type check
//! leaves this module, so the evaluator may rely on argument counts and types.
//! Error texts are Prometheus' own (`promql/parser`), because people and tools match on them.

mod ast;
mod check;
mod duration;
mod functions;
mod lexer;
mod parser;
mod pretty;
mod printer;
mod selector;
mod text;

pub use ast::{
    Aggregate, AggregateOp, At, BinaryOp, Call, Cardinality, Chain, ChainStep, Expr, Extended,
    Fill, Grouping, Length, LengthExpr, LengthKind, Matching, Node, NodeKind, Span, Subquery, Text,
    ValueType, VectorSelector,
};
pub use functions::{Function, function, functions};
pub use parser::{parse, parse_selector};

pub(crate) use text::go_general;

/// A text that is not PromQL. It displays as Prometheus prints it: `1:5: parse error: …`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{position}: parse error: {message}")]
pub struct ParseError {
    /// Where, as `line:column`, both counted from 1 (the column in bytes).
    pub position: String,
    /// What, in Prometheus' words.
    pub message: String,
    /// The same place as byte offsets into the text.
    pub span: Span,
}

impl ParseError {
    pub(crate) fn new(text: &str, span: Span, message: impl Into<String>) -> ParseError {
        ParseError { position: span.line_column(text), message: message.into(), span }
    }
}
