//! The parsed query: what Loki's grammar accepts, nothing compiled yet.
//!
//! Regular expressions of stream selectors and label matchers are compiled here (Loki checks them
//! while parsing); line filters, templates and paths are compiled by `pipeline`.
//! `Display` prints Loki's canonical form.

use vigie_model::Matcher;

/// A whole query.
#[derive(Clone, Debug)]
pub enum Expr {
    /// A query for lines.
    Log(LogExpr),
    /// A query for numbers.
    Metric(MetricExpr),
}

impl Expr {
    /// The query for all lines of a selector.
    pub fn of_selector(matchers: &[Matcher]) -> Expr {
        Expr::Log(LogExpr { matchers: matchers.to_vec(), stages: Vec::new() })
    }

    /// The stream selectors of the query, in order.
    pub fn selectors(&self) -> Vec<&[Matcher]> {
        match self {
            Expr::Log(log) => vec![&log.matchers],
            Expr::Metric(metric) => {
                let mut selectors: Vec<&[Matcher]> = Vec::new();
                metric.each_range(&mut |range| selectors.push(&range.log.matchers));
                selectors
            }
        }
    }

    /// Whether the query asks for lines.
    pub fn is_log(&self) -> bool {
        matches!(self, Expr::Log(_))
    }
}

/// A stream selector and what is done with each of its lines.
#[derive(Clone, Debug)]
pub struct LogExpr {
    /// The selector.
    pub matchers: Vec<Matcher>,
    /// The pipeline, in order.
    pub stages: Vec<Stage>,
}

/// One stage of a pipeline.
#[derive(Clone, Debug)]
pub enum Stage {
    /// `|= "a" or "b"`.
    Line(LineFilter),
    /// `| json`, with the labels to extract if named.
    Json(Vec<Extraction>),
    /// `| logfmt`.
    Logfmt {
        /// `--strict`.
        strict: bool,
        /// `--keep-empty`.
        keep_empty: bool,
        /// The labels to extract, if named.
        extractions: Vec<Extraction>,
    },
    /// `| regexp "…"`.
    Regexp(String),
    /// `| pattern "…"`.
    Pattern(String),
    /// `| unpack`.
    Unpack,
    /// `| status >= 500`.
    Label(LabelFilter),
    /// `| line_format "…"`.
    LineFormat(String),
    /// `| label_format a=b, c="…"`.
    LabelFormat(Vec<(String, LabelSource)>),
    /// `| decolorize`.
    Decolorize,
    /// `| drop a, b="c"`.
    Drop(Vec<LabelChoice>),
    /// `| keep a, b="c"`.
    Keep(Vec<LabelChoice>),
}

/// A label and the path or key that it is taken from.
#[derive(Clone, Debug)]
pub struct Extraction {
    /// The label.
    pub label: String,
    /// The path.
    pub path: String,
}

/// Where a formatted label comes from.
#[derive(Clone, Debug)]
pub enum LabelSource {
    /// Another label, which disappears.
    Rename(String),
    /// A template.
    Template(String),
}

/// A label by name, or by name and value.
#[derive(Clone, Debug)]
pub enum LabelChoice {
    /// Any value.
    Name(String),
    /// Values that match.
    Match(Matcher),
}

/// How a line filter compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineOp {
    /// `|=`
    Contains,
    /// `!=`
    NotContains,
    /// `|~`
    Regex,
    /// `!~`
    NotRegex,
    /// `|>`
    Pattern,
    /// `!>`
    NotPattern,
}

impl LineOp {
    /// The operator as written.
    pub fn as_str(self) -> &'static str {
        match self {
            LineOp::Contains => "|=",
            LineOp::NotContains => "!=",
            LineOp::Regex => "|~",
            LineOp::NotRegex => "!~",
            LineOp::Pattern => "|>",
            LineOp::NotPattern => "!>",
        }
    }

    /// Whether a match drops the line.
    pub fn is_negative(self) -> bool {
        matches!(self, LineOp::NotContains | LineOp::NotRegex | LineOp::NotPattern)
    }
}

/// A filter on the line's text: any of the texts, or none of them if negative.
#[derive(Clone, Debug)]
pub struct LineFilter {
    /// The comparison.
    pub op: LineOp,
    /// The texts joined by `or`, at least one.
    pub texts: Vec<FilterText>,
}

/// One text of a line filter.
#[derive(Clone, Debug)]
pub struct FilterText {
    /// The text, the pattern or the address.
    pub text: String,
    /// Whether it was `ip("…")`.
    pub is_ip: bool,
}

/// How two numbers, durations or sizes are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `==` (also written `=`)
    Equal,
    /// `!=`
    NotEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
}

impl Comparison {
    /// The operator in canonical form.
    pub fn as_str(self) -> &'static str {
        match self {
            Comparison::Equal => "==",
            Comparison::NotEqual => "!=",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
        }
    }

    /// Whether the comparison holds; NaN equals nothing.
    pub fn holds<T: PartialOrd>(self, left: T, right: T) -> bool {
        match self {
            Comparison::Equal => left == right,
            Comparison::NotEqual => left != right,
            Comparison::Greater => left > right,
            Comparison::GreaterOrEqual => left >= right,
            Comparison::Less => left < right,
            Comparison::LessOrEqual => left <= right,
        }
    }
}

/// A condition on labels.
#[derive(Clone, Debug)]
pub enum LabelFilter {
    /// Both.
    And(Box<LabelFilter>, Box<LabelFilter>),
    /// Either.
    Or(Box<LabelFilter>, Box<LabelFilter>),
    /// A text comparison.
    Text(Matcher),
    /// A comparison with a number.
    Number {
        /// The label.
        name: String,
        /// The comparison.
        op: Comparison,
        /// The right side.
        value: f64,
    },
    /// A comparison with a duration.
    Duration {
        /// The label.
        name: String,
        /// The comparison.
        op: Comparison,
        /// The right side.
        ns: i64,
    },
    /// A comparison with a size.
    Bytes {
        /// The label.
        name: String,
        /// The comparison.
        op: Comparison,
        /// The right side.
        size_bytes: u64,
    },
    /// `addr = ip("10.0.0.0/8")`.
    Ip {
        /// The label.
        name: String,
        /// Whether it was `!=`.
        negative: bool,
        /// Address, range or network.
        pattern: String,
    },
}

/// `by (…)` or `without (…)`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grouping {
    /// The labels named.
    pub labels: Vec<String>,
    /// Whether they are left out instead of kept.
    pub without: bool,
}

/// How the text of an unwrapped label becomes a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conversion {
    /// As a number.
    Number,
    /// `bytes(…)`.
    Bytes,
    /// `duration(…)`, in seconds.
    Duration,
    /// `duration_seconds(…)`.
    DurationSeconds,
}

/// `| unwrap duration(x) | __error__=""`.
#[derive(Clone, Debug)]
pub struct Unwrap {
    /// The label.
    pub label: String,
    /// The conversion.
    pub conversion: Conversion,
    /// Filters applied to the extracted sample.
    pub filters: Vec<LabelFilter>,
}

/// A function over the lines of a window.
#[derive(Clone, Debug)]
pub struct RangeAggregation {
    /// Its name in a query.
    pub op: &'static str,
    /// `quantile_over_time`'s quantile.
    pub parameter: Option<f64>,
    /// The lines.
    pub log: LogExpr,
    /// The number taken from each line.
    pub unwrap: Option<Unwrap>,
    /// Length of the window.
    pub range_ns: i64,
    /// How far back the window lies.
    pub offset_ns: i64,
    /// How extracted samples are grouped.
    pub grouping: Option<Grouping>,
    /// Byte offset in the query.
    pub at: usize,
}

/// A function over the series of an instant.
#[derive(Clone, Debug)]
pub struct VectorAggregation {
    /// Its name in a query.
    pub op: &'static str,
    /// `topk`'s count.
    pub parameter: usize,
    /// The series.
    pub inner: Box<MetricExpr>,
    /// How they are grouped.
    pub grouping: Option<Grouping>,
    /// Byte offset in the query.
    pub at: usize,
}

/// Which side of a binary operation may have many series per group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cardinality {
    /// One to one.
    OneToOne,
    /// `group_left`.
    ManyToOne,
    /// `group_right`.
    OneToMany,
}

/// `on`, `ignoring`, `group_left`, `group_right`.
#[derive(Clone, Debug)]
pub struct VectorMatching {
    /// The cardinality.
    pub cardinality: Cardinality,
    /// Whether labels are `on` (else `ignoring`).
    pub on: bool,
    /// The labels compared, or left out of the comparison.
    pub labels: Vec<String>,
    /// Labels copied from the "one" side.
    pub include: Vec<String>,
    /// Whether `on` or `ignoring` was written.
    pub explicit: bool,
}

impl Default for VectorMatching {
    fn default() -> Self {
        VectorMatching {
            cardinality: Cardinality::OneToOne,
            on: false,
            labels: Vec::new(),
            include: Vec::new(),
            explicit: false,
        }
    }
}

/// An operation on two sides.
#[derive(Clone, Debug)]
pub struct Binary {
    /// The operator, in lower case.
    pub op: &'static str,
    /// Left side.
    pub left: Box<MetricExpr>,
    /// Right side.
    pub right: Box<MetricExpr>,
    /// Whether `bool` was written.
    pub return_bool: bool,
    /// How series are paired.
    pub matching: VectorMatching,
}

/// `label_replace(v, "dst", "$1", "src", "regex")`.
#[derive(Clone, Debug)]
pub struct LabelReplace {
    /// The series.
    pub inner: Box<MetricExpr>,
    /// The label written.
    pub target: String,
    /// Its value, with `$1`.
    pub replacement: String,
    /// The label read.
    pub source: String,
    /// The pattern as written.
    pub pattern: String,
}

/// A query for numbers.
#[derive(Clone, Debug)]
pub enum MetricExpr {
    /// `rate({…}[5m])`.
    Range(RangeAggregation),
    /// `sum by (x) (…)`.
    Vector(VectorAggregation),
    /// `a / b`.
    Binary(Binary),
    /// `1`.
    Literal(f64),
    /// `vector(1)`.
    VectorLiteral(f64),
    /// `label_replace(…)`.
    LabelReplace(LabelReplace),
}

impl MetricExpr {
    /// Calls `visit` on every range aggregation inside.
    pub fn each_range<'a>(&'a self, visit: &mut dyn FnMut(&'a RangeAggregation)) {
        match self {
            MetricExpr::Range(range) => visit(range),
            MetricExpr::Vector(vector) => vector.inner.each_range(visit),
            MetricExpr::Binary(binary) => {
                binary.left.each_range(visit);
                binary.right.each_range(visit);
            }
            MetricExpr::LabelReplace(replace) => replace.inner.each_range(visit),
            MetricExpr::Literal(_) | MetricExpr::VectorLiteral(_) => {}
        }
    }
}
