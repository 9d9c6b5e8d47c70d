//! Loki's ruler (`pkg/ruler/base/api.go`): rules of LogQL as YAML by namespace, and their states in
//! Prometheus' form.
//!
//! A group that is sent is durable and evaluated when it is answered (202, as Loki says). Groups of
//! rule files are listed like the others and can only be changed in their file.

use crate::json::{Json, float_exponent};
use crate::params::Params;
use crate::state::{State, rfc3339, rfc3339_or_never};
use crate::views::{AlertInstance, AlertRuleView, GroupView, RuleView, RulerRefusal};
use axum::extract::{self, Path};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use vigie_model::limits::RULES_BODY_BYTES_MAX;

const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
/// The envelope of an answer without data.
const DONE: &str = r#"{"status":"success","data":null,"errorType":"","error":""}"#;

/// `GET /loki/api/v1/rules`, with `labels=name:value,…`.
pub async fn list(extract::State(state): extract::State<State>, params: Params) -> Response {
    listed(state, None, &params).await
}

/// `GET /loki/api/v1/rules/{namespace}`.
pub async fn namespace(
    extract::State(state): extract::State<State>,
    Path(namespace): Path<String>,
    params: Params,
) -> Response {
    match leads_out("namespace", &namespace) {
        None => listed(state, Some(namespace), &params).await,
        Some(refused) => refused,
    }
}

async fn listed(state: State, namespace: Option<String>, params: &Params) -> Response {
    let pairs = params.get("labels").unwrap_or("").split(',').filter(|pair| !pair.is_empty());
    let labels: Vec<(String, String)> = pairs
        .map(|pair| {
            let (name, value) = pair.split_once(':').unwrap_or((pair, ""));
            (name.to_owned(), value.to_owned())
        })
        .collect();
    let work = move || state.ruler.list(namespace.as_deref(), &labels);
    match crate::state::blocking(work).await {
        Ok(Some(yaml)) => ([(CONTENT_TYPE, YAML)], yaml).into_response(),
        Ok(None) => plain(StatusCode::NOT_FOUND, "no rule groups found"),
        Err(error) => plain(error.status(), error.message()),
    }
}

/// `GET /loki/api/v1/rules/{namespace}/{group}`.
pub async fn group(
    extract::State(state): extract::State<State>,
    Path((namespace, name)): Path<(String, String)>,
) -> Response {
    let namespaces = leads_out("namespace", &namespace);
    if let Some(refused) = namespaces.or_else(|| leads_out("groupname", &name)) {
        return refused;
    }
    match crate::state::blocking(move || state.ruler.group(&namespace, &name)).await {
        Ok(Some(yaml)) => ([(CONTENT_TYPE, YAML)], yaml).into_response(),
        Ok(None) => plain(StatusCode::NOT_FOUND, "group does not exist"),
        Err(error) => plain(error.status(), error.message()),
    }
}

/// `POST /loki/api/v1/rules/{namespace}`: one group as YAML.
pub async fn put(
    extract::State(state): extract::State<State>,
    Path(namespace): Path<String>,
    body: axum::body::Body,
) -> Response {
    if let Some(refused) = leads_out("namespace", &namespace) {
        return refused;
    }
    let text = match axum::body::to_bytes(body, RULES_BODY_BYTES_MAX).await {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => return plain(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    answer(crate::state::blocking(move || state.ruler.put(&namespace, &text)).await)
}

/// `DELETE /loki/api/v1/rules/{namespace}`.
pub async fn remove_namespace(
    extract::State(state): extract::State<State>,
    Path(namespace): Path<String>,
) -> Response {
    if let Some(refused) = leads_out("namespace", &namespace) {
        return refused;
    }
    answer(crate::state::blocking(move || state.ruler.remove(&namespace, None)).await)
}

/// `DELETE /loki/api/v1/rules/{namespace}/{group}`.
pub async fn remove_group(
    extract::State(state): extract::State<State>,
    Path((namespace, name)): Path<(String, String)>,
) -> Response {
    let namespaces = leads_out("namespace", &namespace);
    if let Some(refused) = namespaces.or_else(|| leads_out("groupname", &name)) {
        return refused;
    }
    answer(crate::state::blocking(move || state.ruler.remove(&namespace, Some(&name))).await)
}

/// A namespace is a file's name in Loki, and must not lead out of its directory.
fn leads_out(what: &str, name: &str) -> Option<Response> {
    let leads_out = name.is_empty() || name.starts_with('/') || name.split('/').any(|p| p == "..");
    let words = format!("invalid {what}: path traversal not allowed");
    leads_out.then(|| error_envelope(StatusCode::INTERNAL_SERVER_ERROR, "server_error", &words))
}

fn answer(done: Result<Result<(), RulerRefusal>, crate::error::ApiError>) -> Response {
    match done {
        Ok(Ok(())) => (StatusCode::ACCEPTED, [(CONTENT_TYPE, JSON)], DONE).into_response(),
        Ok(Err(RulerRefusal::Missing(words))) => plain(StatusCode::NOT_FOUND, &words),
        Ok(Err(RulerRefusal::Bad(words))) => plain(StatusCode::BAD_REQUEST, &words),
        Ok(Err(RulerRefusal::Failed(words))) => plain(StatusCode::INTERNAL_SERVER_ERROR, &words),
        Err(error) => plain(error.status(), error.message()),
    }
}

/// `/prometheus/api/v1/rules`, with `type`, `rule_name`, `rule_group` and `file`.
pub async fn states(extract::State(state): extract::State<State>, params: Params) -> Response {
    let kind = params.get("type").unwrap_or("").to_lowercase();
    if !["", "alert", "record"].contains(&kind.as_str()) {
        let words = format!("not supported value {kind:?}");
        return error_envelope(StatusCode::BAD_REQUEST, "bad_data", &words);
    }
    let named = |list: &str, name: &str| {
        params.all(list).next().is_none() || params.all(list).any(|one| one == name)
    };
    let mut groups = groups_of_logql(&state);
    groups.retain(|group| named("rule_group", &group.name) && named("file", &group.file));
    for group in &mut groups {
        group.rules.retain(|rule| {
            let right_kind = kind.is_empty() || (kind == "alert") == rule.alert.is_some();
            right_kind && named("rule_name", &rule.name)
        });
    }
    groups.retain(|group| !group.rules.is_empty());
    groups.sort_by(|a, b| a.file.cmp(&b.file));
    envelope(|json| {
        json.raw(r#"{"groups":"#).list(&groups, write_group).raw("}");
    })
}

/// `/prometheus/api/v1/alerts`.
pub async fn alerts(extract::State(state): extract::State<State>) -> Response {
    let groups = groups_of_logql(&state);
    let rules = groups.iter().flat_map(|group| &group.rules);
    let alerts = rules.filter_map(|rule| rule.alert.as_ref()).flat_map(|alert| &alert.alerts);
    envelope(|json| {
        json.raw(r#"{"alerts":"#).list(alerts, write_alert).raw("}");
    })
}

fn groups_of_logql(state: &State) -> Vec<GroupView> {
    state.alerts.groups().into_iter().filter(|group| group.is_logql).collect()
}

fn write_group(json: &mut Json, group: &GroupView) {
    json.raw(r#"{"name":"#).text(&group.name);
    json.raw(r#","file":"#).text(&group.file);
    json.raw(r#","rules":"#).list(&group.rules, write_rule);
    json.raw(&format!(
        r#","interval":{},"limit":{},"lastEvaluation":"#,
        group.interval_ms as f64 / 1000.0,
        group.limit
    ));
    json.text(&rfc3339_or_never(group.last_evaluation_ms));
    json.raw(&format!(r#","evaluationTime":{}}}"#, group.evaluation_ms / 1000.0));
}

fn write_rule(json: &mut Json, rule: &RuleView) {
    json.raw("{");
    if let Some(alert) = &rule.alert {
        json.raw(r#""state":"#).text(alert.state).raw(",");
    }
    json.raw(r#""name":"#).text(&rule.name);
    json.raw(r#","query":"#).text(&rule.expr);
    if let Some(alert) = &rule.alert {
        json.raw(&format!(r#","duration":{}"#, alert.for_ms as f64 / 1000.0));
    }
    json.raw(r#","labels":"#).labels(&rule.labels);
    if let Some(AlertRuleView { annotations, alerts, .. }) = &rule.alert {
        json.raw(r#","annotations":"#).labels(annotations);
        json.raw(r#","alerts":"#).list(alerts, write_alert);
    }
    json.raw(r#","health":"#).text(rule.health);
    json.raw(r#","lastError":"#).text(&rule.last_error);
    let kind = if rule.alert.is_some() { "alerting" } else { "recording" };
    json.raw(&format!(r#","type":"{kind}","lastEvaluation":"#));
    json.text(&rfc3339_or_never(rule.last_evaluation_ms));
    json.raw(&format!(r#","evaluationTime":{}}}"#, rule.evaluation_ms / 1000.0));
}

fn write_alert(json: &mut Json, alert: &AlertInstance) {
    json.raw(r#"{"labels":"#).labels(&alert.labels);
    json.raw(r#","annotations":"#).labels(&alert.annotations);
    json.raw(r#","state":"#).text(alert.state);
    json.raw(r#","activeAt":"#).text(&rfc3339(alert.active_at_ms));
    json.raw(r#","value":"#).text(&float_exponent(alert.value)).raw("}");
}

fn envelope(data: impl FnOnce(&mut Json)) -> Response {
    let mut json = Json::default();
    json.raw(r#"{"status":"success","data":"#);
    data(&mut json);
    json.raw(r#","errorType":"","error":""}"#);
    ([(CONTENT_TYPE, JSON)], json.into_bytes()).into_response()
}

fn error_envelope(status: StatusCode, kind: &str, words: &str) -> Response {
    let mut json = Json::default();
    json.raw(r#"{"status":"error","data":null,"errorType":"#).text(kind);
    json.raw(r#","error":"#).text(words).raw("}");
    (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], json.into_bytes()).into_response()
}

fn plain(status: StatusCode, words: &str) -> Response {
    let body = format!("{words}\n");
    (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response()
}
