//! `rules` and `alerts`.

use super::{selectors, success};
use crate::error::ApiError;
use crate::json::{Json, float_exponent};
use crate::params::Params;
use crate::state::{State, rfc3339, rfc3339_or_never};
use crate::views::{AlertInstance, GroupView, RuleView};
use axum::extract;
use axum::response::Response;
use sha2::{Digest, Sha256};

/// `/api/v1/rules`, with `type`, `rule_name[]`, `rule_group[]`, `file[]`, `match[]`,
/// `exclude_alerts`, `group_limit` and `group_next_token`. A group that keeps no rule is left out.
pub async fn rules(
    extract::State(state): extract::State<State>,
    params: Params,
) -> Result<Response, ApiError> {
    let selectors = selectors(&params).map_err(ApiError::bad_data)?;
    let kind = params.get("type").unwrap_or("").to_lowercase();
    if !["", "alert", "record"].contains(&kind.as_str()) {
        return Err(ApiError::invalid_parameter("type", format!("not supported value {kind:?}")));
    }
    let with_alerts = !exclude_alerts(&params)?;
    let page = Page::asked(&params)?;
    let named = |list: &str, name: &str| {
        params.all(list).next().is_none() || params.all(list).any(|one| one == name)
    };
    let mut groups = page.starting_at_token(groups_of_promql(&state))?;
    groups.retain(|group| named("rule_group[]", &group.name) && named("file[]", &group.file));
    for group in &mut groups {
        group.rules.retain(|rule| {
            let selected = selectors.is_empty()
                || selectors.iter().any(|one| one.iter().all(|m| m.matches_labels(&rule.labels)));
            let right_kind = kind.is_empty() || (kind == "alert") == rule.alert.is_some();
            selected && right_kind && named("rule_name[]", &rule.name)
        });
    }
    groups.retain(|group| !group.rules.is_empty());
    let next = groups.get(page.limit).map(token);
    groups.truncate(page.limit);
    Ok(success(
        |json| {
            json.raw(r#"{"groups":"#)
                .list(&groups, |json, group| write_group(json, group, with_alerts));
            if let Some(next) = &next {
                json.raw(r#","groupNextToken":"#).text(next);
            }
            json.raw("}");
        },
        &[],
        &[],
    ))
}

/// Which groups of a long list.
struct Page {
    limit: usize,
    token: Option<String>,
}

impl Page {
    fn asked(params: &Params) -> Result<Page, ApiError> {
        let token = params.get("group_next_token").map(str::to_owned);
        let Some(text) = params.get("group_limit") else {
            return match token {
                Some(_) => Err(ApiError::invalid_parameter(
                    "group_next_token",
                    "group_limit needs to be present in order to paginate over the groups",
                )),
                None => Ok(Page { limit: usize::MAX, token: None }),
            };
        };
        let wrong = |reason: String| ApiError::invalid_parameter("group_limit", reason);
        match text.parse::<i32>() {
            Ok(limit) if limit > 0 => Ok(Page { limit: limit.unsigned_abs() as usize, token }),
            Ok(_) => Err(wrong("group_limit needs to be greater than 0".to_owned())),
            Err(error) => {
                use std::num::IntErrorKind::{NegOverflow, PosOverflow};
                let far = matches!(error.kind(), PosOverflow | NegOverflow);
                let what = if far { "value out of range" } else { "invalid syntax" };
                Err(wrong(format!(
                    "group_limit needs to be a valid number: strconv.ParseInt: parsing {text:?}: {what}"
                )))
            }
        }
    }

    /// The groups from the one that the token names on.
    fn starting_at_token(&self, mut groups: Vec<GroupView>) -> Result<Vec<GroupView>, ApiError> {
        let Some(wanted) = &self.token else { return Ok(groups) };
        match groups.iter().position(|group| token(group) == *wanted) {
            Some(at) => {
                groups.drain(..at);
                Ok(groups)
            }
            None => Err(ApiError::invalid_parameter(
                "group_next_token",
                format!("invalid group_next_token '{wanted}'. were rule groups changed?"),
            )),
        }
    }
}

/// What names a group in a token: SHA-256 of file and name, as upstream makes it.
fn token(group: &GroupView) -> String {
    let digest = Sha256::digest(format!("{};{}", group.file, group.name));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn exclude_alerts(params: &Params) -> Result<bool, ApiError> {
    match params.get("exclude_alerts").unwrap_or("").to_lowercase().as_str() {
        "" | "0" | "f" | "false" => Ok(false),
        "1" | "t" | "true" => Ok(true),
        other => Err(ApiError::invalid_parameter(
            "exclude_alerts",
            format!(
                "error converting exclude_alerts: strconv.ParseBool: parsing {other:?}: invalid syntax"
            ),
        )),
    }
}

/// `/api/v1/alerts`: everything pending or firing.
pub async fn alerts(extract::State(state): extract::State<State>) -> Response {
    let groups = groups_of_promql(&state);
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

/// The others are Loki's ruler's (`loki::ruler`).
fn groups_of_promql(state: &State) -> Vec<GroupView> {
    let groups = state.alerts.groups().into_iter();
    groups.filter(|group| !group.is_logql).collect()
}

fn write_group(json: &mut Json, group: &GroupView, with_alerts: bool) {
    json.raw(r#"{"name":"#).text(&group.name);
    json.raw(r#","file":"#).text(&group.file);
    json.raw(r#","rules":"#).list(&group.rules, |json, rule| write_rule(json, rule, with_alerts));
    json.raw(&format!(
        r#","interval":{},"limit":{},"evaluationTime":{},"lastEvaluation":"#,
        group.interval_ms as f64 / 1000.0,
        group.limit,
        group.evaluation_ms / 1000.0
    ));
    json.text(&rfc3339_or_never(group.last_evaluation_ms)).raw("}");
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
        json.raw(r#","alerts":"#);
        if with_alerts {
            json.list(&alert.alerts, write_alert);
        } else {
            json.raw("null");
        }
    }
    json.raw(r#","health":"#).text(rule.health);
    if !rule.last_error.is_empty() {
        json.raw(r#","lastError":"#).text(&rule.last_error);
    }
    json.raw(&format!(r#","evaluationTime":{},"lastEvaluation":"#, rule.evaluation_ms / 1000.0))
        .text(&rfc3339_or_never(rule.last_evaluation_ms));
    json.raw(r#","type":"#)
        .text(if rule.alert.is_some() { "alerting" } else { "recording" })
        .raw("}");
}

fn write_alert(json: &mut Json, alert: &AlertInstance) {
    json.raw(r#"{"labels":"#).labels(&alert.labels);
    json.raw(r#","annotations":"#).labels(&alert.annotations);
    json.raw(r#","state":"#).text(alert.state);
    json.raw(r#","activeAt":"#).text(&rfc3339(alert.active_at_ms));
    if let Some(since_ms) = alert.keep_firing_since_ms {
        json.raw(r#","keepFiringSince":"#).text(&rfc3339(since_ms));
    }
    json.raw(r#","value":"#).text(&float_exponent(alert.value)).raw("}");
}
