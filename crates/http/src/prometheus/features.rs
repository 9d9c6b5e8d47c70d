//! `features`: what this server can do, by category, in Prometheus' names.
//!
//! Only names that Prometheus has are told, and each says what is so here: a client that looks for a
//! function before it asks must be able to trust the answer.

use super::success;
use crate::json::Json;
use crate::state::State;
use axum::extract;
use axum::response::Response;
use std::collections::BTreeMap;
use vigie_promql::{AggregateOp, Function, ValueType};

/// Operators of the language, each with an expression that has it.
const OPERATORS: [(&str, &str); 21] = [
    ("!=", "a != a"),
    ("!~", "{a!~\"b\",c=\"d\"}"),
    ("%", "a % a"),
    ("*", "a * a"),
    ("+", "a + a"),
    ("-", "a - a"),
    ("/", "a / a"),
    ("<", "a < a"),
    ("</", "a </ 1"),
    ("<=", "a <= a"),
    ("==", "a == a"),
    ("=~", "{a=~\"b\"}"),
    (">", "a > a"),
    (">/", "a >/ 1"),
    (">=", "a >= a"),
    ("@", "a @ 1"),
    ("^", "a ^ a"),
    ("and", "a and a"),
    ("atan2", "a atan2 a"),
    ("or", "a or a"),
    ("unless", "a unless a"),
];
/// Words and abilities of the language, likewise.
const WORDS: [(&str, &str); 18] = [
    ("anchored", "increase(a[1m] anchored)"),
    ("at_modifier", "a @ 1"),
    ("bool", "a > bool 1"),
    ("by", "sum by (b) (a)"),
    ("duration_expr", "a[1m * 2]"),
    ("fill", "a + fill (1) a"),
    ("fill_left", "a + fill_left (1) a"),
    ("fill_right", "a + fill_right (1) a"),
    ("group_left", "a * on (b) group_left () a"),
    ("group_right", "a * on (b) group_right () a"),
    ("ignoring", "a * ignoring (b) a"),
    ("negative_offset", "a offset -1m"),
    ("offset", "a offset 1m"),
    ("on", "a * on (b) a"),
    ("per_query_lookback_delta", "a"),
    ("smoothed", "rate(a[1m] smoothed)"),
    ("subqueries", "a[1h:1m]"),
    ("without", "sum without (b) (a)"),
];
/// What is told of the rest: category, name, whether it is so.
const FIXED: [(&str, &str, bool); 18] = [
    ("api", "exclude_alerts", true),
    ("api", "label_values_match", true),
    ("api", "openapi_3.1", false),
    ("api", "openapi_3.2", false),
    ("api", "query_warnings", true),
    ("api", "remote_write_receiver", true),
    ("api", "search_fuzz_alg_jarowinkler", true),
    ("api", "search_fuzz_alg_subsequence", true),
    ("api", "time_range_labels", true),
    ("api", "time_range_series", true),
    ("prometheus", "agent_mode", false),
    ("prometheus", "auto_reload_config", false),
    ("prometheus", "server_mode", true),
    ("rules", "concurrent_rule_eval", false),
    ("rules", "keep_firing_for", true),
    ("rules", "query_offset", true),
    ("service_discovery_providers", "static", true),
    ("tsdb", "isolation", true),
];

/// `/api/v1/features`.
pub async fn features(extract::State(state): extract::State<State>) -> Response {
    let mut all: BTreeMap<&str, BTreeMap<&str, bool>> = BTreeMap::new();
    let mut set = |category, name, on| {
        all.entry(category).or_default().insert(name, on);
    };
    for (category, name, on) in FIXED {
        set(category, name, on);
    }
    set("api", "admin", state.settings.admin_api);
    set("api", "otlp_write_receiver", state.settings.otlp);
    set("api", "search", state.settings.search);
    set("api", "lifecycle", state.settings.lifecycle.is_some());
    set("tsdb", "st_storage", state.engine.stores_starts());
    for (name, text) in OPERATORS {
        set("promql_operators", name, is_read(&state, text));
    }
    for (name, op) in AggregateOp::ALL {
        let parameter = match op {
            AggregateOp::CountValues => "\"v\", ",
            op if op.has_parameter() => "1, ",
            _ => "",
        };
        set("promql_operators", name, is_read(&state, &format!("{name}({parameter}a)")));
    }
    for (name, text) in WORDS {
        set("promql", name, is_read(&state, text));
    }
    for function in vigie_promql::functions() {
        set("promql_functions", function.name, is_read(&state, &call(function)));
    }
    success(
        |json| {
            write_object(json, &all, |json, names| {
                write_object(json, names, |json, on| {
                    json.raw(if *on { "true" } else { "false" });
                });
            });
        },
        &[],
        &[],
    )
}

/// Whether the language takes an expression with what is switched on.
fn is_read(state: &State, text: &str) -> bool {
    vigie_promql::parse(text).is_ok_and(|expr| state.settings.language.allows(&expr))
}

/// A call with arguments of the right types.
fn call(function: &Function) -> String {
    let argument = |kind: &ValueType| match kind {
        ValueType::Scalar => "1",
        ValueType::String => "\"v\"",
        ValueType::Vector => "a",
        ValueType::Matrix => "a[1m]",
    };
    // `info` wants a selector of labels.
    let last = if function.name == "info" { Some("{b=\"c\"}") } else { None };
    let mut arguments: Vec<&str> = function.args.iter().map(argument).collect();
    if let (Some(last), Some(place)) = (last, arguments.last_mut()) {
        *place = last;
    }
    format!("{}({})", function.name, arguments.join(", "))
}

fn write_object<T>(
    json: &mut Json,
    entries: &BTreeMap<&str, T>,
    mut value: impl FnMut(&mut Json, &T),
) {
    json.raw("{");
    for (at, (name, entry)) in entries.iter().enumerate() {
        json.raw(if at > 0 { "," } else { "" }).text(name).raw(":");
        value(json, entry);
    }
    json.raw("}");
}
