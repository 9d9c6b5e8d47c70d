//! The metric half of the grammar: range and vector aggregations, binary operations, literals.

use super::lexer::Kind;
use super::{ParseError, Parsed, Parser};
use crate::ast::{
    Binary, Cardinality, Conversion, Expr, Grouping, LabelReplace, LogExpr, MetricExpr,
    RangeAggregation, Stage, Unwrap, VectorAggregation, VectorMatching,
};
use crate::eval::binary::fold;
use vigie_model::regexp;
use vigie_model::value::format_value;

/// Range aggregations that take `by` and `without`.
const GROUPED: [&str; 8] = [
    "avg_over_time",
    "stddev_over_time",
    "stdvar_over_time",
    "quantile_over_time",
    "max_over_time",
    "min_over_time",
    "first_over_time",
    "last_over_time",
];
/// Range aggregations that count lines, without a number of their own.
const OVER_LINES: [&str; 5] =
    ["bytes_rate", "bytes_over_time", "count_over_time", "rate", "absent_over_time"];
/// Range aggregations that refuse `unwrap`.
const NEVER_UNWRAPPED: [&str; 3] = ["bytes_rate", "bytes_over_time", "count_over_time"];
/// Functions over the series of an instant.
const VECTOR_OPS: [&str; 12] = [
    "sum",
    "avg",
    "max",
    "min",
    "count",
    "stddev",
    "stdvar",
    "bottomk",
    "topk",
    "approx_topk",
    "sort",
    "sort_desc",
];
const UNWRAP_EXPECTING: &str = "IDENTIFIER or BYTES_CONV or DURATION_CONV or DURATION_SECONDS_CONV";

/// How tight an operator binds, and whether to the right.
fn binding(op: &str) -> Option<(u8, bool)> {
    Some(match op {
        "or" => (1, false),
        "and" | "unless" => (2, false),
        "==" | "!=" | "<" | "<=" | ">" | ">=" => (3, false),
        "+" | "-" => (4, false),
        "*" | "/" | "%" => (5, false),
        "^" => (6, true),
        _ => return None,
    })
}

/// A log expression with its window.
struct LogRange {
    log: LogExpr,
    unwrap: Option<Unwrap>,
    range_ns: i64,
    offset_ns: i64,
}

impl Parser {
    /// An expression whose operators bind tighter than `floor`.
    pub(super) fn expression(&mut self, floor: u8) -> Parsed<Expr> {
        let mut left = self.deeper(|parser| parser.operand())?;
        loop {
            let Kind::Word(op) = self.kind() else { return Ok(left) };
            let Some((power, right_associative)) = binding(op).filter(|(power, _)| *power > floor)
            else {
                return Ok(left);
            };
            self.operation()?;
            self.take();
            let (return_bool, matching) = self.modifiers()?;
            let floor = if right_associative { power - 1 } else { power };
            let right = self.deeper(|parser| parser.expression(floor))?;
            left = Expr::Metric(binary(op, left, right, return_bool, matching)?);
        }
    }

    fn operand(&mut self) -> Parsed<Expr> {
        match self.kind() {
            Kind::Word("{") => {
                let log = self.log_expr()?;
                if self.is("|") {
                    // Only `| unwrap` is left behind a pipeline, and it needs a range.
                    self.take();
                    return Err(self.unexpected(""));
                }
                Ok(Expr::Log(log))
            }
            Kind::Word("(") => {
                self.take();
                let inner = self.expression(0)?;
                self.expect(")", "")?;
                // `({app="a"}) |= "x"` goes on with the pipeline.
                if let Expr::Log(mut log) = inner {
                    log.stages.extend(self.pipeline()?);
                    return Ok(Expr::Log(log));
                }
                Ok(inner)
            }
            Kind::Word("+" | "-") | Kind::Number => {
                Ok(Expr::Metric(MetricExpr::Literal(self.literal()?)))
            }
            Kind::Function("vector", _) => {
                self.take();
                self.expect("(", "(")?;
                let value = self.number()?;
                self.expect(")", ")")?;
                Ok(Expr::Metric(MetricExpr::VectorLiteral(value)))
            }
            Kind::Function("label_replace", _) => self.label_replace(),
            Kind::Function(name, _) if VECTOR_OPS.contains(&name) => self.vector_aggregation(name),
            Kind::Function(name, _) if name.ends_with("_over_time") || name.contains("rate") => {
                self.range_aggregation(name)
            }
            Kind::Word("variants") => {
                let token = self.token();
                Err(ParseError {
                    message: "variants(…) of (…) is not supported; write one query per variant"
                        .to_owned(),
                    line: token.line,
                    column: token.column,
                })
            }
            _ => Err(self.unexpected("")),
        }
    }

    fn literal(&mut self) -> Parsed<f64> {
        if self.accept("-") {
            Ok(-self.number()?)
        } else {
            self.accept("+");
            self.number()
        }
    }

    /// A metric expression; a log expression ends in an error at the token behind it.
    fn metric(&mut self) -> Parsed<MetricExpr> {
        match self.deeper(|parser| parser.expression(0))? {
            Expr::Metric(metric) => Ok(metric),
            Expr::Log(_) => Err(self.unexpected("")),
        }
    }

    fn modifiers(&mut self) -> Parsed<(bool, VectorMatching)> {
        let return_bool = self.accept("bool");
        let mut matching = VectorMatching::default();
        let on = self.is("on");
        if !on && !self.is("ignoring") {
            return Ok((return_bool, matching));
        }
        self.take();
        (matching.on, matching.explicit) = (on, true);
        matching.labels = self.label_list("(")?;
        if self.is("group_left") || self.is("group_right") {
            matching.cardinality = match self.take().kind {
                Kind::Word("group_left") => Cardinality::ManyToOne,
                _ => Cardinality::OneToMany,
            };
            if self.is("(") && self.looks_like_labels() {
                matching.include = self.label_list("(")?;
            }
        }
        Ok((return_bool, matching))
    }

    /// Whether `(` starts `(a, b)` or `()`, not an expression.
    fn looks_like_labels(&self) -> bool {
        matches!(self.next_kind(), Kind::Ident | Kind::Word(")"))
    }

    /// `(a, b)` or `()`.
    fn label_list(&mut self, expecting: &str) -> Parsed<Vec<String>> {
        self.expect("(", expecting)?;
        let mut labels = Vec::new();
        if self.accept(")") {
            return Ok(labels);
        }
        let mut expecting = "IDENTIFIER or )";
        loop {
            labels.push(self.identifier(expecting)?);
            if self.accept(")") {
                return Ok(labels);
            }
            self.expect(",", ", or )")?;
            expecting = "IDENTIFIER";
        }
    }

    fn grouping(&mut self) -> Parsed<Option<Grouping>> {
        let without = self.is("without");
        if !without && !self.is("by") {
            return Ok(None);
        }
        self.take();
        Ok(Some(Grouping { labels: self.label_list("(")?, without }))
    }

    fn vector_aggregation(&mut self, op: &'static str) -> Parsed<Expr> {
        let at = self.take().start;
        let before = self.grouping()?;
        self.expect("(", "(")?;
        let mut parameter = None;
        if self.kind() == Kind::Number && self.next_kind() == Kind::Word(",") {
            parameter = Some(self.take().text);
            self.take();
        }
        let inner = Box::new(self.metric()?);
        self.expect(")", "")?;
        let grouping = if before.is_some() { before } else { self.grouping()? };
        let parameter =
            aggregation_parameter(op, parameter, grouping.is_some()).map_err(ParseError::whole)?;
        Ok(Expr::Metric(MetricExpr::Vector(VectorAggregation {
            op,
            parameter,
            inner,
            grouping,
            at,
        })))
    }

    fn range_aggregation(&mut self, op: &'static str) -> Parsed<Expr> {
        let at = self.take().start;
        self.expect("(", "(")?;
        let mut parameter = None;
        let mut expecting = "NUMBER or { or (";
        if self.kind() == Kind::Number {
            parameter = Some((self.token().text.clone(), self.number()?));
            self.expect(",", ",")?;
            expecting = "{ or (";
        }
        let range = self.log_range(expecting)?;
        self.expect(")", ")")?;
        let grouping = self.grouping()?;
        let aggregation = RangeAggregation {
            op,
            parameter: parameter.as_ref().map(|(_, value)| *value),
            log: range.log,
            unwrap: range.unwrap,
            range_ns: range.range_ns,
            offset_ns: range.offset_ns,
            grouping,
            at,
        };
        check_range(&aggregation).map_err(ParseError::whole)?;
        Ok(Expr::Metric(MetricExpr::Range(aggregation)))
    }

    /// `{…} | … [5m] offset 1h`, also with the range before the pipeline, also in parentheses.
    fn log_range(&mut self, expecting: &str) -> Parsed<LogRange> {
        if self.is("(") {
            self.take();
            return self.deeper(Parser::log_range_in_parentheses);
        }
        if !self.is("{") {
            return Err(self.unexpected(expecting));
        }
        let log = self.log_expr()?;
        let unwrap = self.unwrap()?;
        self.log_range_tail(log, unwrap)
    }

    /// After `(`: a whole range, or a log expression whose range stands behind the `)`.
    fn log_range_in_parentheses(&mut self) -> Parsed<LogRange> {
        let mut log = if self.accept("(") {
            let start = self.at;
            let inner = self.deeper(Parser::log_range_in_parentheses);
            match inner {
                Ok(range) => {
                    self.expect(")", "")?;
                    return Ok(range);
                }
                Err(error) => {
                    self.at = start;
                    match self.deeper(|parser| parser.expression(0)) {
                        Ok(Expr::Log(log)) if self.accept(")") => log,
                        _ => return Err(error),
                    }
                }
            }
        } else if self.is("{") {
            self.log_expr()?
        } else {
            return Err(self.unexpected("{ or ("));
        };
        let mut unwrap = self.unwrap()?;
        if self.accept(")") {
            if unwrap.is_none() {
                log.stages.extend(self.pipeline()?);
                unwrap = self.unwrap()?;
            }
            return self.log_range_tail(log, unwrap);
        }
        let range = self.log_range_tail(log, unwrap)?;
        self.expect(")", "")?;
        Ok(range)
    }

    fn log_range_tail(&mut self, mut log: LogExpr, mut unwrap: Option<Unwrap>) -> Parsed<LogRange> {
        if self.kind() != Kind::Range {
            return Err(self.unexpected(if unwrap.is_some() { "RANGE or |" } else { "" }));
        }
        let range_ns = self.take().ns;
        let offset_ns = if self.accept("offset") {
            self.expect_kind(Kind::Duration, "DURATION")?.ns
        } else {
            0
        };
        if unwrap.is_none() {
            let stages: Vec<Stage> = self.pipeline()?;
            log.stages.extend(stages);
            unwrap = self.unwrap()?;
        }
        Ok(LogRange { log, unwrap, range_ns, offset_ns })
    }

    fn unwrap(&mut self) -> Parsed<Option<Unwrap>> {
        if !(self.is("|") && self.next_kind() == Kind::Word("unwrap")) {
            return Ok(None);
        }
        self.take();
        self.take();
        let conversion = match self.kind() {
            Kind::Function("bytes", _) => Conversion::Bytes,
            Kind::Function("duration", _) => Conversion::Duration,
            Kind::Function("duration_seconds", _) => Conversion::DurationSeconds,
            _ => Conversion::Number,
        };
        let label = if conversion == Conversion::Number {
            self.identifier(UNWRAP_EXPECTING)?
        } else {
            self.take();
            self.expect("(", "(")?;
            let label = self.identifier("IDENTIFIER")?;
            self.expect(")", ")")?;
            label
        };
        let mut filters = Vec::new();
        while self.accept("|") {
            filters.push(self.label_filter("IDENTIFIER or (")?);
        }
        Ok(Some(Unwrap { label, conversion, filters }))
    }

    fn label_replace(&mut self) -> Parsed<Expr> {
        self.take();
        self.expect("(", "(")?;
        let inner = Box::new(self.metric()?);
        let mut texts = [const { String::new() }; 4];
        for (at, text) in texts.iter_mut().enumerate() {
            self.expect(",", if at == 0 { "" } else { "," })?;
            *text = self.string("STRING")?;
        }
        self.expect(")", ")")?;
        let [target, replacement, source, pattern] = texts;
        self.regex()?;
        // Loki's message shows the pattern with its anchors.
        regexp::in_line(&format!("^(?:{pattern})$"))
            .map_err(|e| ParseError::whole(format!("invalid regex in label_replace: {e}")))?;
        Ok(Expr::Metric(MetricExpr::LabelReplace(LabelReplace {
            inner,
            target,
            replacement,
            source,
            pattern,
        })))
    }
}

/// Loki's rules on the parameter and the grouping of a vector aggregation.
fn aggregation_parameter(
    op: &str,
    parameter: Option<String>,
    grouped: bool,
) -> Result<usize, String> {
    let takes_count = op.ends_with('k');
    let count = match (parameter, takes_count) {
        (None, true) => return Err(format!("parameter required for operation {op}")),
        (Some(text), true) => {
            let count: i64 = text.parse().map_err(|_| format!("invalid parameter {op}({text},"))?;
            if count <= 0 {
                return Err(format!("invalid parameter (must be greater than 0) {op}({text}"));
            }
            count as usize
        }
        (Some(text), false) => {
            return Err(format!("unsupported parameter for operation {op}({text},"));
        }
        (None, false) => 0,
    };
    if grouped && op.starts_with("sort") {
        return Err("sort and sort_desc doesn't allow grouping by ".to_owned());
    }
    if grouped && op == "approx_topk" {
        return Err("grouping not allowed for approx_topk aggregation".to_owned());
    }
    Ok(count)
}

/// Loki's rules on parameter, grouping and `unwrap` of a range aggregation.
fn check_range(range: &RangeAggregation) -> Result<(), String> {
    let op = range.op;
    match (op == "quantile_over_time", range.parameter) {
        (true, None) => return Err(format!("parameter required for operation {op}")),
        (false, Some(value)) => {
            let value = format_value(value);
            return Err(format!("parameter {value} not supported for operation {op}"));
        }
        _ => {}
    }
    if range.grouping.is_some() && !GROUPED.contains(&op) {
        return Err(format!("grouping not allowed for {op} aggregation"));
    }
    match range.unwrap {
        Some(_) if NEVER_UNWRAPPED.contains(&op) => {
            Err(format!("invalid aggregation {op} with unwrap"))
        }
        None if !OVER_LINES.contains(&op) => {
            Err(format!("invalid aggregation {op} without unwrap"))
        }
        _ => Ok(()),
    }
}

/// Joins two sides, folding literals, with Loki's errors for sides of the wrong type.
fn binary(
    op: &'static str,
    left: Expr,
    right: Expr,
    return_bool: bool,
    matching: VectorMatching,
) -> Parsed<MetricExpr> {
    let left = metric_side(op, "left", left)?;
    let right = metric_side(op, "right", right)?;
    if matches!(op, "and" | "or" | "unless") {
        for (leg, side) in [("left", &left), ("right", &right)] {
            if let MetricExpr::Literal(value) = side {
                return Err(ParseError::whole(format!(
                    "unexpected literal for {leg} leg of logical/set binary operation ({op}): \
                     {value:.6}"
                )));
            }
        }
    }
    if let (MetricExpr::Literal(left), MetricExpr::Literal(right)) = (&left, &right) {
        return Ok(MetricExpr::Literal(fold(op, *left, *right)));
    }
    Ok(MetricExpr::Binary(Binary {
        op,
        left: Box::new(left),
        right: Box::new(right),
        return_bool,
        matching,
    }))
}

fn metric_side(op: &str, leg: &str, side: Expr) -> Parsed<MetricExpr> {
    match side {
        Expr::Metric(metric) => Ok(metric),
        Expr::Log(log) => {
            let kind = if log.stages.is_empty() { "MatchersExpr" } else { "PipelineExpr" };
            Err(ParseError::whole(format!(
                "unexpected type for {leg} leg of binary operation ({op}): *syntax.{kind}"
            )))
        }
    }
}
