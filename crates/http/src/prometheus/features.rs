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
use vigie_promql::AggregateOp;

/// Operators of the language that stand in every build.
const OPERATORS: [&str; 19] = [
    "!=", "!~", "%", "*", "+", "-", "/", "<", "<=", "==", "=~", ">", ">=", "@", "^", "and",
    "atan2", "or", "unless",
];
/// Functions that are known and refused by name.
const NOT_BUILT: [&str; 1] = ["info"];
/// Words of the language that are always on.
const WORDS: [&str; 12] = [
    "at_modifier",
    "bool",
    "by",
    "group_left",
    "group_right",
    "ignoring",
    "negative_offset",
    "offset",
    "on",
    "per_query_lookback_delta",
    "subqueries",
    "without",
];
/// What is told of the rest: category, name, whether it is so.
const FIXED: [(&str, &str, bool); 20] = [
    ("api", "exclude_alerts", true),
    ("api", "label_values_match", true),
    ("api", "openapi_3.1", false),
    ("api", "openapi_3.2", false),
    ("api", "otlp_write_receiver", false),
    ("api", "query_warnings", true),
    ("api", "remote_write_receiver", true),
    ("api", "search_fuzz_alg_jarowinkler", true),
    ("api", "search_fuzz_alg_subsequence", true),
    ("api", "time_range_labels", true),
    ("api", "time_range_series", true),
    ("prometheus", "agent_mode", false),
    ("prometheus", "auto_reload_config", false),
    ("prometheus", "server_mode", true),
    ("promql", "duration_expr", true),
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
    set("api", "search", state.settings.search);
    set("api", "lifecycle", state.settings.lifecycle.is_some());
    for name in OPERATORS {
        set("promql_operators", name, true);
    }
    for (name, op) in AggregateOp::ALL {
        set("promql_operators", name, op != AggregateOp::LimitRatio);
    }
    for name in WORDS {
        set("promql", name, true);
    }
    for function in vigie_promql::functions() {
        set("promql_functions", function.name, !NOT_BUILT.contains(&function.name));
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
