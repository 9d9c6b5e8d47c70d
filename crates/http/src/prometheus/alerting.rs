//! `rules` and `alerts`.

use super::success;
use crate::error::ApiError;
use crate::json::{Json, float_text};
use crate::params::Params;
use crate::state::{State, rfc3339};
use crate::views::{AlertInstance, GroupView, RuleView};
use axum::extract;
use axum::response::Response;

/// `/api/v1/rules`, with `type`, `rule_name[]`, `rule_group[]`, `file[]` and `exclude_alerts`.
pub async fn rules(
    extract::State(state): extract::State<State>,
    params: Params,
) -> Result<Response, ApiError> {
    let kind = params.get("type").unwrap_or("").to_lowercase();
    if !["", "alert", "record"].contains(&kind.as_str()) {
        return Err(ApiError::bad_data(format!("not supported value {kind:?}")));
    }
    let with_alerts = !matches!(params.get("exclude_alerts"), Some("true" | "1"));
    let named = |list: &str, name: &str| {
        params.all(list).next().is_none() || params.all(list).any(|one| one == name)
    };
    let mut groups = state.alerts.groups();
    groups.retain(|group| named("rule_group[]", &group.name) && named("file[]", &group.file));
    for group in &mut groups {
        group.rules.retain(|rule| {
            let right_kind = kind.is_empty() || (kind == "alert") == rule.alert.is_some();
            right_kind && named("rule_name[]", &rule.name)
        });
    }
    let filtered = !kind.is_empty() || params.all("rule_name[]").next().is_some();
    groups.retain(|group| !filtered || !group.rules.is_empty());
    Ok(success(
        |json| {
            json.raw(r#"{"groups":"#)
                .list(&groups, |json, group| write_group(json, group, with_alerts))
                .raw("}");
        },
        &[],
        &[],
    ))
}

/// `/api/v1/alerts`: everything pending or firing.
pub async fn alerts(extract::State(state): extract::State<State>) -> Response {
    let groups = state.alerts.groups();
    let rules = groups.iter().flat_map(|group| &group.rules);
    let alerts = rules.filter_map(|rule| rule.alert.as_ref()).flat_map(|alert| &alert.alerts);
    success(
        |json| {
            json.raw(r#"{"alerts":"#).list(alerts, write_alert).raw("}");
        },
        &[],
        &[],
    )
}

fn write_group(json: &mut Json, group: &GroupView, with_alerts: bool) {
    json.raw(r#"{"name":"#).text(&group.name);
    json.raw(r#","file":"#).text(&group.file);
    json.raw(r#","rules":"#).list(&group.rules, |json, rule| write_rule(json, rule, with_alerts));
    json.raw(&format!(
        r#","interval":{},"limit":0,"evaluationTime":{},"lastEvaluation":"#,
        group.interval_ms as f64 / 1000.0,
        group.evaluation_ms / 1000.0
    ));
    json.text(&rfc3339(group.last_evaluation_ms)).raw("}");
}

fn write_rule(json: &mut Json, rule: &RuleView, with_alerts: bool) {
    json.raw("{");
    if let Some(alert) = &rule.alert {
        json.raw(r#""state":"#).text(alert.state).raw(",");
    }
    json.raw(r#""name":"#).text(&rule.name);
    json.raw(r#","query":"#).text(&rule.expr);
    if let Some(alert) = &rule.alert {
        let (hold, keep) = (alert.for_ms as f64 / 1000.0, alert.keep_firing_for_ms as f64 / 1000.0);
        json.raw(&format!(r#","duration":{hold},"keepFiringFor":{keep}"#));
    }
    json.raw(r#","labels":"#).labels(&rule.labels);
    if let Some(alert) = &rule.alert {
        json.raw(r#","annotations":"#).labels(&alert.annotations);
        let shown = if with_alerts { alert.alerts.as_slice() } else { &[] };
        json.raw(r#","alerts":"#).list(shown, write_alert);
    }
    json.raw(r#","health":"#).text(rule.health);
    if !rule.last_error.is_empty() {
        json.raw(r#","lastError":"#).text(&rule.last_error);
    }
    json.raw(&format!(r#","evaluationTime":{},"lastEvaluation":"#, rule.evaluation_ms / 1000.0))
        .text(&rfc3339(rule.last_evaluation_ms));
    json.raw(r#","type":"#)
        .text(if rule.alert.is_some() { "alerting" } else { "recording" })
        .raw("}");
}

fn write_alert(json: &mut Json, alert: &AlertInstance) {
    json.raw(r#"{"labels":"#).labels(&alert.labels);
    json.raw(r#","annotations":"#).labels(&alert.annotations);
    json.raw(r#","state":"#).text(alert.state);
    json.raw(r#","activeAt":"#).text(&rfc3339(alert.active_at_ms));
    json.raw(r#","value":"#).text(&float_exponent(alert.value)).raw("}");
}

/// Go's `FormatFloat(v, 'e', -1, 64)`, which Prometheus uses for an alert's value: `1e+00`.
fn float_exponent(value: f64) -> String {
    if !value.is_finite() {
        return float_text(value);
    }
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(("+", exponent), |digits| ("-", digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alerts_value_has_gos_exponent() {
        for (value, text) in [
            (0.0, "0e+00"),
            (1.0, "1e+00"),
            (12.5, "1.25e+01"),
            (1e-7, "1e-07"),
            (1e100, "1e+100"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(float_exponent(value), text);
        }
    }
}
