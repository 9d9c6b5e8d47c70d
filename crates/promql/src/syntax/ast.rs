//! The tree of a checked expression. Every node carries its [`Span`] in the text.
//!
//! Two shapes differ from Prometheus' tree. A run of left-associative operators is one flat
//! [`Chain`] (`first op rhs op rhs …`, evaluated from left to right), so `1+1+…` of any length
//! neither recurses nor costs more than linear time; and a matrix selector holds its vector selector
//! by value. Depth is bounded by `model::limits::QUERY_DEPTH_MAX`.

use super::functions::Function;
use std::sync::Arc;
use vigie_model::Matcher;

/// Byte offsets into the text, the end excluded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// From the start of `self` to the end of `other`.
    pub fn to(self, other: Span) -> Span {
        Span { start: self.start, end: other.end }
    }

    /// `line:column` of the start, as Prometheus counts them.
    pub fn line_column(self, text: &str) -> String {
        if text.is_empty() {
            return "unknown position".to_owned();
        }
        let before = &text.as_bytes()[..self.start.min(text.len())];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        format!("{line}:{}", before.len() - line_start + 1)
    }
}

/// A parsed and checked expression together with its text, which error positions refer to.
#[derive(Clone, Debug)]
pub struct Expr {
    pub(crate) text: Arc<str>,
    pub(crate) root: Node,
}

impl Expr {
    /// The text that was parsed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The top of the tree.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// What the expression evaluates to.
    pub fn value_type(&self) -> ValueType {
        self.root.value_type()
    }

    /// The conditions of every selector in the expression, from left to right.
    pub fn selectors(&self) -> Vec<&[Matcher]> {
        let (mut found, mut left) = (Vec::new(), vec![&self.root]);
        while let Some(node) = left.pop() {
            match &node.kind {
                NodeKind::Number { .. } | NodeKind::Text(_) => {}
                NodeKind::Vector(selector) | NodeKind::Matrix { selector, .. } => {
                    found.push(&selector.matchers[..]);
                }
                NodeKind::Subquery(subquery) => left.push(&subquery.expr),
                NodeKind::Aggregate(aggregate) => {
                    left.push(&aggregate.expr);
                    left.extend(&aggregate.parameter);
                }
                NodeKind::Call(call) => left.extend(call.args.iter().rev()),
                NodeKind::Unary { operand, .. } => left.push(operand),
                NodeKind::Paren(inner) => left.push(inner),
                NodeKind::Binary(chain) => {
                    left.extend(chain.steps.iter().rev().map(|step| &step.rhs));
                    left.push(&chain.first);
                }
            }
        }
        found
    }
}

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// One number per instant.
    Scalar,
    /// A text.
    String,
    /// Many series, one number each per instant.
    Vector,
    /// Many series, many points each.
    Matrix,
}

impl ValueType {
    /// The name that Prometheus' documentation and error texts use.
    pub fn documented(self) -> &'static str {
        match self {
            ValueType::Scalar => "scalar",
            ValueType::String => "string",
            ValueType::Vector => "instant vector",
            ValueType::Matrix => "range vector",
        }
    }

    /// The short name that the HTTP API and a few error texts use.
    pub fn short(self) -> &'static str {
        match self {
            ValueType::Scalar => "scalar",
            ValueType::String => "string",
            ValueType::Vector => "vector",
            ValueType::Matrix => "matrix",
        }
    }
}

/// One node of the tree.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Where it stands.
    pub span: Span,
}

/// The kinds of node.
#[derive(Clone, Debug)]
pub enum NodeKind {
    /// A number, or a duration read as seconds.
    Number {
        /// The value.
        value: f64,
        /// Whether it was written as a duration (`1h30m`).
        duration: bool,
    },
    /// A string literal.
    Text(Text),
    /// `metric{a="b"}`.
    Vector(VectorSelector),
    /// `metric{a="b"}[5m]`.
    Matrix {
        /// The series.
        selector: VectorSelector,
        /// The window.
        range: Length,
    },
    /// `expr[1h:5m]`.
    Subquery(Box<Subquery>),
    /// `sum by (a) (expr)`.
    Aggregate(Box<Aggregate>),
    /// `rate(expr)`.
    Call(Call),
    /// `+expr`, `-expr`.
    Unary {
        /// `-`.
        negative: bool,
        /// The operand.
        operand: Box<Node>,
    },
    /// `a + b + c`.
    Binary(Box<Chain>),
    /// `(expr)`.
    Paren(Box<Node>),
}

impl Node {
    /// What the node evaluates to.
    pub fn value_type(&self) -> ValueType {
        match &self.kind {
            NodeKind::Number { .. } => ValueType::Scalar,
            NodeKind::Text(_) => ValueType::String,
            NodeKind::Vector(_) | NodeKind::Aggregate(_) => ValueType::Vector,
            NodeKind::Matrix { .. } | NodeKind::Subquery(_) => ValueType::Matrix,
            NodeKind::Call(call) => call.function.returns,
            NodeKind::Unary { operand, .. } => operand.value_type(),
            NodeKind::Paren(inner) => inner.value_type(),
            NodeKind::Binary(chain) => chain.value_type(),
        }
    }

    /// The node without the parentheses around it.
    pub fn unparenthesised(&self) -> &Node {
        let mut node = self;
        while let NodeKind::Paren(inner) = &node.kind {
            node = inner;
        }
        node
    }
}

/// A string literal. Its escapes may spell bytes that are not UTF-8.
#[derive(Clone, Debug, PartialEq)]
pub struct Text {
    /// The text, with U+FFFD where the bytes are not UTF-8.
    pub value: String,
    /// The bytes, when they are not UTF-8.
    pub raw: Option<Vec<u8>>,
}

impl Text {
    /// The bytes as written.
    pub fn bytes(&self) -> &[u8] {
        self.raw.as_deref().unwrap_or(self.value.as_bytes())
    }
}

/// A length of time in brackets or after `offset`.
#[derive(Clone, Debug, PartialEq)]
pub enum Length {
    /// Known from the text.
    Fixed {
        /// Its milliseconds.
        ms: i64,
    },
    /// Known when the query's step and range are.
    Computed(Box<LengthExpr>),
}

impl Length {
    pub(crate) const ZERO: Length = Length::Fixed { ms: 0 };

    pub(crate) fn is_zero(&self) -> bool {
        matches!(self, Length::Fixed { ms: 0 })
    }
}

/// A duration expression: `[5m * 2]`, `offset step()`.
#[derive(Clone, Debug, PartialEq)]
pub struct LengthExpr {
    /// What it is.
    pub kind: LengthKind,
    /// Where it stands.
    pub span: Span,
}

/// The kinds of duration expression.
#[derive(Clone, Debug, PartialEq)]
pub enum LengthKind {
    /// Seconds.
    Number {
        /// The seconds.
        value: f64,
        /// Whether it was written as a duration.
        duration: bool,
    },
    /// `step()`.
    Step,
    /// `range()`.
    Range,
    /// `-x`.
    Negative(Box<LengthExpr>),
    /// `(x)`.
    Paren(Box<LengthExpr>),
    /// `x + y`.
    Arithmetic(BinaryOp, Box<LengthExpr>, Box<LengthExpr>),
    /// `min_of(x, y)`.
    Smaller(Box<LengthExpr>, Box<LengthExpr>),
    /// `max_of(x, y)`.
    Larger(Box<LengthExpr>, Box<LengthExpr>),
}

/// The instant after `@`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// Milliseconds since the epoch.
    Instant(i64),
    /// The first instant of the query.
    Start,
    /// The last instant of the query.
    End,
}

/// How a window treats its ends: `anchored` and `smoothed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extended {
    /// Only samples inside count.
    #[default]
    No,
    /// The last sample before the window counts as its beginning.
    Anchored,
    /// Values at both ends are interpolated.
    Smoothed,
}

impl Extended {
    /// The modifier as written, or nothing.
    pub fn as_str(self) -> &'static str {
        match self {
            Extended::No => "",
            Extended::Anchored => "anchored",
            Extended::Smoothed => "smoothed",
        }
    }
}

/// Which series, at which time.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSelector {
    /// The name before the braces, empty when there is none.
    pub name: String,
    /// All conditions; the name before the braces is the last of them.
    pub matchers: Vec<Matcher>,
    /// `@`.
    pub at: Option<At>,
    /// `offset`.
    pub offset: Length,
    /// `anchored` or `smoothed`.
    pub extended: Extended,
    /// Where the selector stands, with its modifiers but without a range.
    pub span: Span,
}

/// `expr[range:step]`.
#[derive(Clone, Debug)]
pub struct Subquery {
    /// What is evaluated at each step.
    pub expr: Node,
    /// The window.
    pub range: Length,
    /// The step, when one is written.
    pub step: Option<Length>,
    /// `@`.
    pub at: Option<At>,
    /// `offset`.
    pub offset: Length,
}

/// The aggregation operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum AggregateOp {
    Avg,
    BottomK,
    Count,
    CountValues,
    Group,
    LimitK,
    LimitRatio,
    Max,
    Min,
    Quantile,
    Stddev,
    Stdvar,
    Sum,
    TopK,
}

impl AggregateOp {
    /// All of them by name.
    pub const ALL: [(&'static str, AggregateOp); 14] = [
        ("avg", AggregateOp::Avg),
        ("bottomk", AggregateOp::BottomK),
        ("count", AggregateOp::Count),
        ("count_values", AggregateOp::CountValues),
        ("group", AggregateOp::Group),
        ("limitk", AggregateOp::LimitK),
        ("limit_ratio", AggregateOp::LimitRatio),
        ("max", AggregateOp::Max),
        ("min", AggregateOp::Min),
        ("quantile", AggregateOp::Quantile),
        ("stddev", AggregateOp::Stddev),
        ("stdvar", AggregateOp::Stdvar),
        ("sum", AggregateOp::Sum),
        ("topk", AggregateOp::TopK),
    ];

    /// The operator as written.
    pub fn as_str(self) -> &'static str {
        AggregateOp::ALL.iter().find(|(_, op)| *op == self).map_or("", |(name, _)| name)
    }

    /// Whether it takes a parameter before the vector.
    pub fn has_parameter(self) -> bool {
        use AggregateOp::{BottomK, CountValues, LimitK, LimitRatio, Quantile, TopK};
        matches!(self, BottomK | CountValues | LimitK | LimitRatio | Quantile | TopK)
    }
}

/// `by (…)` or `without (…)`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grouping {
    /// `without` instead of `by`.
    pub without: bool,
    /// The labels.
    pub labels: Vec<String>,
}

/// `op by (…) (parameter, expr)`.
#[derive(Clone, Debug)]
pub struct Aggregate {
    /// The operator.
    pub op: AggregateOp,
    /// The labels that make a group.
    pub grouping: Grouping,
    /// `k`, the quantile or the label of `count_values`.
    pub parameter: Option<Node>,
    /// What is aggregated.
    pub expr: Node,
}

/// A function call.
#[derive(Clone, Debug)]
pub struct Call {
    /// The function.
    pub function: &'static Function,
    /// Its arguments; count and types are right.
    pub args: Vec<Node>,
}

/// The binary operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterEqual,
    LessEqual,
    TrimUpper,
    TrimLower,
    And,
    Or,
    Unless,
}

impl BinaryOp {
    /// The operator as written.
    pub fn as_str(self) -> &'static str {
        match self {
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::Mod => "%",
            BinaryOp::Pow => "^",
            BinaryOp::Atan2 => "atan2",
            BinaryOp::Equal => "==",
            BinaryOp::NotEqual => "!=",
            BinaryOp::Greater => ">",
            BinaryOp::Less => "<",
            BinaryOp::GreaterEqual => ">=",
            BinaryOp::LessEqual => "<=",
            BinaryOp::TrimUpper => "</",
            BinaryOp::TrimLower => ">/",
            BinaryOp::And => "and",
            BinaryOp::Or => "or",
            BinaryOp::Unless => "unless",
        }
    }

    /// `==` and its like.
    pub fn is_comparison(self) -> bool {
        use BinaryOp::{Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual};
        matches!(self, Equal | NotEqual | Greater | Less | GreaterEqual | LessEqual)
    }

    /// `</` and `>/`, which cut native histograms.
    pub fn is_trim(self) -> bool {
        matches!(self, BinaryOp::TrimUpper | BinaryOp::TrimLower)
    }

    /// `and`, `or`, `unless`.
    pub fn is_set(self) -> bool {
        matches!(self, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless)
    }

    /// How tightly it binds; `^` tightest.
    pub(crate) fn precedence(self) -> u8 {
        match self {
            BinaryOp::Or => 1,
            BinaryOp::And | BinaryOp::Unless => 2,
            op if op.is_comparison() || op.is_trim() => 3,
            BinaryOp::Add | BinaryOp::Sub => 4,
            BinaryOp::Pow => 6,
            _ => 5,
        }
    }
}

/// How many series of one side may meet one of the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cardinality {
    /// One to one.
    #[default]
    OneToOne,
    /// `group_left`.
    ManyToOne,
    /// `group_right`.
    OneToMany,
}

/// What takes the place of series that one side lacks: `fill`, `fill_left`, `fill_right`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Fill {
    /// For the left side.
    pub left: Option<f64>,
    /// For the right side.
    pub right: Option<f64>,
}

impl Fill {
    /// Whether anything is filled in.
    pub fn is_some(&self) -> bool {
        self.left.is_some() || self.right.is_some()
    }
}

/// `on (…) group_left (…) fill (…)`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matching {
    /// `on` instead of `ignoring`.
    pub on: bool,
    /// The labels of `on` or `ignoring`.
    pub labels: Vec<String>,
    /// Grouping.
    pub cardinality: Cardinality,
    /// The labels of `group_left` or `group_right`.
    pub include: Vec<String>,
    /// What stands for missing series.
    pub fill: Fill,
}

/// `first op rhs op rhs …`, from left to right.
#[derive(Clone, Debug)]
pub struct Chain {
    /// The leftmost operand.
    pub first: Node,
    /// The rest, never empty.
    pub steps: Vec<ChainStep>,
}

/// One operator of a [`Chain`] with its right operand.
#[derive(Clone, Debug)]
pub struct ChainStep {
    /// The operator.
    pub op: BinaryOp,
    /// Where the operator stands.
    pub op_span: Span,
    /// `bool`.
    pub return_bool: bool,
    /// How the sides are matched, when both are vectors.
    pub matching: Matching,
    /// The right operand.
    pub rhs: Node,
}

impl Chain {
    /// What the whole chain evaluates to.
    pub fn value_type(&self) -> ValueType {
        let scalar = |node: &Node| node.value_type() == ValueType::Scalar;
        if scalar(&self.first) && self.steps.iter().all(|step| scalar(&step.rhs)) {
            ValueType::Scalar
        } else {
            ValueType::Vector
        }
    }
}
