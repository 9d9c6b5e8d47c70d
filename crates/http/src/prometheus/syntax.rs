//! `format_query`, `parse_query`: an expression as text and as a tree.
//!
//! The tree is upstream's (`web/api/v1/translate_ast.go`), keys in alphabetical order as Go writes a
//! map. Operators of one level are a flat chain here and a tree that leans left there, so a chain is
//! written from its last operator inwards without recursion.

use super::success;
use crate::error::ApiError;
use crate::json::{Json, float_text};
use crate::params::Params;
use axum::response::Response;
use vigie_model::Matcher;
use vigie_model::value::format_value;
use vigie_promql::{
    Aggregate, At, Call, Cardinality, Chain, ChainStep, Expr, Extended, Length, LengthExpr,
    LengthKind, Node, NodeKind, Subquery, ValueType, VectorSelector,
};

/// The width at which Prometheus splits an expression (`promql/parser/prettier.go`).
const PRETTY_WIDTH_BYTES: usize = 100;

/// `/api/v1/format_query`: the expression as Prometheus lays it out.
pub async fn format(params: Params) -> Result<Response, ApiError> {
    let pretty = parsed(&params)?.pretty(PRETTY_WIDTH_BYTES);
    Ok(success(
        |json| {
            json.text(&pretty);
        },
        &[],
        &[],
    ))
}

/// `/api/v1/parse_query`: the expression as a tree.
pub async fn parse(params: Params) -> Result<Response, ApiError> {
    let expr = parsed(&params)?;
    Ok(success(|json| write_node(json, expr.root()), &[], &[]))
}

fn parsed(params: &Params) -> Result<Expr, ApiError> {
    let text = params.get("query").unwrap_or("");
    vigie_promql::parse(text).map_err(|error| ApiError::invalid_parameter("query", error))
}

fn write_node(json: &mut Json, node: &Node) {
    match &node.kind {
        NodeKind::Number { value, .. } => {
            json.raw(r#"{"type":"numberLiteral","val":"#).text(&format_value(*value)).raw("}");
        }
        NodeKind::Text(text) => {
            json.raw(r#"{"type":"stringLiteral","val":"#).text(&text.value).raw("}");
        }
        NodeKind::Vector(selector) => write_selector(json, selector, None),
        NodeKind::Matrix { selector, range } => write_selector(json, selector, Some(range)),
        NodeKind::Subquery(subquery) => write_subquery(json, subquery),
        NodeKind::Aggregate(aggregate) => write_aggregate(json, aggregate),
        NodeKind::Call(call) => write_call(json, call),
        NodeKind::Unary { negative, operand } => {
            json.raw(r#"{"expr":"#);
            write_node(json, operand);
            json.raw(r#","op":"#).text(if *negative { "-" } else { "+" });
            json.raw(r#","type":"unaryExpr"}"#);
        }
        NodeKind::Binary(chain) => write_chain(json, chain),
        NodeKind::Paren(inner) => {
            json.raw(r#"{"expr":"#);
            write_node(json, inner);
            json.raw(r#","type":"parenExpr"}"#);
        }
    }
}

fn write_selector(json: &mut Json, selector: &VectorSelector, range: Option<&Length>) {
    let anchored = selector.extended == Extended::Anchored;
    json.raw(&format!(r#"{{"anchored":{anchored},"matchers":"#))
        .list(&selector.matchers, write_matcher);
    json.raw(r#","name":"#).text(&selector.name);
    write_length(json, "offset", &selector.offset);
    if let Some(range) = range {
        write_length(json, "range", range);
    }
    let smoothed = selector.extended == Extended::Smoothed;
    json.raw(&format!(r#","smoothed":{smoothed}"#));
    write_at(json, selector.at);
    let kind = if range.is_some() { "matrixSelector" } else { "vectorSelector" };
    json.raw(r#","type":"#).text(kind).raw("}");
}

fn write_matcher(json: &mut Json, matcher: &Matcher) {
    json.raw(r#"{"name":"#).text(&matcher.name);
    json.raw(r#","type":"#).text(matcher.op.as_str());
    json.raw(r#","value":"#).text(&matcher.value).raw("}");
}

/// `,"name":ms,"nameExpr":tree`: what is computed has no milliseconds yet.
fn write_length(json: &mut Json, name: &str, length: &Length) {
    let (ms, expr) = match length {
        Length::Fixed { ms } => (*ms, None),
        Length::Computed(expr) => (0, Some(expr)),
    };
    json.raw(&format!(r#","{name}":{ms},"{name}Expr":"#));
    match expr {
        Some(expr) => write_length_expr(json, expr),
        None => {
            json.raw("null");
        }
    }
}

fn write_length_expr(json: &mut Json, expr: &LengthExpr) {
    let (mut inner, mut wrapped) = (expr, false);
    while let LengthKind::Paren(one) = &inner.kind {
        (inner, wrapped) = (one, true);
    }
    let (op, left, right) = match &inner.kind {
        LengthKind::Number { value, duration } => {
            json.raw(&format!(r#"{{"duration":{duration},"type":"numberLiteral","val":"#));
            json.text(&format_value(*value)).raw("}");
            return;
        }
        LengthKind::Step => ("step", None, None),
        LengthKind::Range => ("range", None, None),
        LengthKind::Negative(one) | LengthKind::Paren(one) => ("-", None, Some(one)),
        LengthKind::Arithmetic(op, left, right) => (op.as_str(), Some(left), Some(right)),
        LengthKind::Smaller(left, right) => ("min_of", Some(left), Some(right)),
        LengthKind::Larger(left, right) => ("max_of", Some(left), Some(right)),
    };
    json.raw("{");
    for (name, side) in [("lhs", left), ("rhs", right)] {
        if name == "rhs" {
            json.raw(r#","op":"#).text(op).raw(",");
        }
        json.text(name).raw(":");
        match side {
            Some(side) => write_length_expr(json, side),
            None => {
                json.raw("null");
            }
        }
    }
    json.raw(&format!(r#","type":"durationExpr","wrapped":{wrapped}}}"#));
}

/// `,"startOrEnd":…,"timestamp":…`.
fn write_at(json: &mut Json, at: Option<At>) {
    match at {
        None => json.raw(r#","startOrEnd":null,"timestamp":null"#),
        Some(At::Start) => json.raw(r#","startOrEnd":"start","timestamp":null"#),
        Some(At::End) => json.raw(r#","startOrEnd":"end","timestamp":null"#),
        Some(At::Instant(ms)) => json.raw(&format!(r#","startOrEnd":null,"timestamp":{ms}"#)),
    };
}

fn write_subquery(json: &mut Json, subquery: &Subquery) {
    json.raw(r#"{"expr":"#);
    write_node(json, &subquery.expr);
    write_length(json, "offset", &subquery.offset);
    write_length(json, "range", &subquery.range);
    match subquery.at {
        Some(At::Start) => json.raw(r#","startOrEnd":"start""#),
        Some(At::End) => json.raw(r#","startOrEnd":"end""#),
        _ => json.raw(r#","startOrEnd":null"#),
    };
    write_length(json, "step", subquery.step.as_ref().unwrap_or(&Length::Fixed { ms: 0 }));
    match subquery.at {
        Some(At::Instant(ms)) => json.raw(&format!(r#","timestamp":{ms}"#)),
        _ => json.raw(r#","timestamp":null"#),
    };
    json.raw(r#","type":"subquery"}"#);
}

fn write_aggregate(json: &mut Json, aggregate: &Aggregate) {
    json.raw(r#"{"expr":"#);
    write_node(json, &aggregate.expr);
    json.raw(r#","grouping":"#).texts(aggregate.grouping.labels.iter().map(String::as_str));
    json.raw(r#","op":"#).text(aggregate.op.as_str()).raw(r#","param":"#);
    match &aggregate.parameter {
        Some(parameter) => write_node(json, parameter),
        None => {
            json.raw("null");
        }
    }
    json.raw(&format!(r#","type":"aggregation","without":{}}}"#, aggregate.grouping.without));
}

fn write_call(json: &mut Json, call: &Call) {
    json.raw(r#"{"args":"#).list(&call.args, write_node);
    let function = call.function;
    json.raw(r#","func":{"argTypes":"#).texts(function.args.iter().map(|one| one.short()));
    json.raw(r#","name":"#).text(function.name);
    json.raw(r#","returnType":"#).text(function.returns.short());
    json.raw(&format!(r#","variadic":{}}},"type":"call"}}"#, function.variadic));
}

fn write_chain(json: &mut Json, chain: &Chain) {
    for step in chain.steps.iter().rev() {
        json.raw(&format!(r#"{{"bool":{},"lhs":"#, step.return_bool));
    }
    write_node(json, &chain.first);
    let mut left = chain.first.value_type();
    for step in &chain.steps {
        let right = step.rhs.value_type();
        json.raw(r#","matching":"#);
        if left == ValueType::Vector && right == ValueType::Vector {
            write_matching(json, step);
        } else {
            json.raw("null");
        }
        json.raw(r#","op":"#).text(step.op.as_str()).raw(r#","rhs":"#);
        write_node(json, &step.rhs);
        json.raw(r#","type":"binaryExpr"}"#);
        if right == ValueType::Vector {
            left = ValueType::Vector;
        }
    }
}

fn write_matching(json: &mut Json, step: &ChainStep) {
    let cardinality = match step.matching.cardinality {
        _ if step.op.is_set() => "many-to-many",
        Cardinality::OneToOne => "one-to-one",
        Cardinality::ManyToOne => "many-to-one",
        Cardinality::OneToMany => "one-to-many",
    };
    json.raw(r#"{"card":"#).text(cardinality);
    json.raw(r#","fillValues":{"lhs":"#);
    write_fill(json, step.matching.fill.left);
    json.raw(r#","rhs":"#);
    write_fill(json, step.matching.fill.right);
    json.raw(r#"},"include":"#);
    json.texts(step.matching.include.iter().map(String::as_str)).raw(r#","labels":"#);
    json.texts(step.matching.labels.iter().map(String::as_str));
    json.raw(&format!(r#","on":{}}}"#, step.matching.on));
}

/// A number, or nothing where nothing is filled in. JSON has no word for the other floats.
fn write_fill(json: &mut Json, fill: Option<f64>) {
    match fill.filter(|value| value.is_finite()) {
        Some(value) => json.raw(&float_text(value)),
        None => json.raw("null"),
    };
}
