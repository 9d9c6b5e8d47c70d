//! `alertmanager.yml` (Alertmanager's `config/config.go`), with Vigie's `sms_configs`.

use crate::alerting::{Alerting, Integration, IntegrationKind, Receiver, Route};
use crate::error::ConfigError;
use crate::http_client::{HttpClientConfig, Secret};
use crate::matchers::parse_matchers;
use crate::yaml::{Accepted, DurationMs, Source, Spanned, TextMap, Unbuilt, or_default};
use serde::Deserialize;
use std::collections::BTreeSet;
use vigie_model::{Labels, MatchOp, Matcher};
use vigie_template::{Data, TemplateError, render};

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Alertmanager {
    #[serde(default, deserialize_with = "or_default")]
    global: Global,
    route: Spanned<WrittenRoute>,
    #[serde(deserialize_with = "or_default")]
    receivers: Vec<Spanned<WrittenReceiver>>,
    #[serde(default, rename = "templates")]
    _templates: Option<Unbuilt>,
    #[serde(default, rename = "inhibit_rules")]
    _inhibit_rules: Option<Unbuilt>,
    #[serde(default, rename = "time_intervals")]
    _time_intervals: Option<Unbuilt>,
    #[serde(default, rename = "mute_time_intervals")]
    _mute_time_intervals: Option<Unbuilt>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Global {
    resolve_timeout: Option<DurationMs>,
    slack_api_url: Option<String>,
    pagerduty_url: Option<String>,
    #[serde(rename = "smtp_smarthost")]
    _smtp_smarthost: Accepted,
    #[serde(rename = "smtp_from")]
    _smtp_from: Accepted,
    #[serde(rename = "smtp_require_tls")]
    _smtp_require_tls: Accepted,
    #[serde(rename = "smtp_hello")]
    _smtp_hello: Accepted,
    #[serde(rename = "smtp_auth_username")]
    _smtp_auth_username: Accepted,
    #[serde(rename = "smtp_auth_password")]
    _smtp_auth_password: Accepted,
    #[serde(rename = "smtp_auth_identity")]
    _smtp_auth_identity: Accepted,
    #[serde(rename = "http_config")]
    _http_config: Option<Unbuilt>,
    #[serde(rename = "slack_api_url_file")]
    _slack_api_url_file: Option<Unbuilt>,
    #[serde(rename = "smtp_auth_password_file")]
    _smtp_auth_password_file: Option<Unbuilt>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenRoute {
    receiver: Option<Spanned<String>>,
    #[serde(deserialize_with = "or_default")]
    matchers: Vec<Spanned<String>>,
    #[serde(deserialize_with = "or_default")]
    r#match: TextMap,
    #[serde(deserialize_with = "or_default")]
    match_re: TextMap,
    r#continue: bool,
    group_by: Option<Vec<String>>,
    group_wait: Option<DurationMs>,
    group_interval: Option<DurationMs>,
    repeat_interval: Option<DurationMs>,
    #[serde(deserialize_with = "or_default")]
    routes: Vec<Spanned<WrittenRoute>>,
    #[serde(rename = "mute_time_intervals")]
    _mute: Option<Unbuilt>,
    #[serde(rename = "active_time_intervals")]
    _active: Option<Unbuilt>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenReceiver {
    name: Spanned<String>,
    #[serde(default, deserialize_with = "or_default")]
    pagerduty_configs: Vec<Spanned<PagerDuty>>,
    #[serde(default, deserialize_with = "or_default")]
    slack_configs: Vec<Spanned<Slack>>,
    #[serde(default, deserialize_with = "or_default")]
    sms_configs: Vec<Spanned<Sms>>,
    #[serde(default, deserialize_with = "or_default")]
    webhook_configs: Vec<Spanned<Webhook>>,
    #[serde(default, rename = "email_configs")]
    _email: Option<Unbuilt>,
    #[serde(default, rename = "opsgenie_configs")]
    _opsgenie: Option<Unbuilt>,
    #[serde(default, rename = "telegram_configs")]
    _telegram: Option<Unbuilt>,
    #[serde(default, rename = "discord_configs")]
    _discord: Option<Unbuilt>,
    #[serde(default, rename = "msteams_configs")]
    _msteams: Option<Unbuilt>,
    #[serde(default, rename = "pushover_configs")]
    _pushover: Option<Unbuilt>,
    #[serde(default, rename = "victorops_configs")]
    _victorops: Option<Unbuilt>,
    #[serde(default, rename = "sns_configs")]
    _sns: Option<Unbuilt>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct PagerDuty {
    send_resolved: Option<bool>,
    routing_key: Option<String>,
    url: Option<String>,
    description: Option<String>,
    severity: Option<String>,
    #[serde(default, rename = "service_key")]
    _service_key: Option<Unbuilt>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Slack {
    send_resolved: Option<bool>,
    api_url: Option<String>,
    #[serde(default)]
    channel: String,
    title: Option<String>,
    text: Option<String>,
    #[serde(default, rename = "color")]
    _color: Accepted,
    #[serde(default, rename = "username")]
    _username: Accepted,
    #[serde(default, rename = "icon_emoji")]
    _icon_emoji: Accepted,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sms {
    send_resolved: Option<bool>,
    url: Option<String>,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    from: String,
    #[serde(deserialize_with = "or_default")]
    to: Vec<String>,
    text: Option<String>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Webhook {
    send_resolved: Option<bool>,
    url: String,
    #[serde(default)]
    max_alerts: usize,
}

const PAGERDUTY_URL: &str = "https://events.pagerduty.com/v2/enqueue";
const GROUP_WAIT_MS: i64 = 30_000;
const GROUP_INTERVAL_MS: i64 = 300_000;
const REPEAT_INTERVAL_MS: i64 = 4 * 3_600_000;
/// Deepest routing tree.
const ROUTE_DEPTH_MAX: usize = 32;

/// The file as used.
pub(crate) fn read(source: &Source<'_>, written: &Alertmanager) -> Result<Alerting, ConfigError> {
    let mut names = BTreeSet::new();
    let mut receivers = Vec::new();
    for receiver in &written.receivers {
        let name = &receiver.value.name;
        if !names.insert(name.value.clone()) {
            return Err(source.wrong_at(
                name,
                format!("notification config name {:?} is not unique", name.value),
            ));
        }
        receivers.push(used_receiver(source, &receiver.value, &written.global)?);
    }
    let root = &written.route;
    if root.value.receiver.is_none() {
        return Err(source.wrong_at(root, "root route must specify a default receiver"));
    }
    if !root.value.matchers.is_empty()
        || !root.value.r#match.is_empty()
        || !root.value.match_re.is_empty()
    {
        return Err(source.wrong_at(root, "root route must not have any matchers"));
    }
    if root.value.r#continue {
        return Err(source.wrong_at(root, "cannot have continue in root route"));
    }
    let top = Route {
        receiver: String::new(),
        matchers: Vec::new(),
        continue_matching: false,
        group_by: Some(Vec::new()),
        group_wait_ms: GROUP_WAIT_MS,
        group_interval_ms: GROUP_INTERVAL_MS,
        repeat_interval_ms: REPEAT_INTERVAL_MS,
        routes: Vec::new(),
    };
    Ok(Alerting {
        route: used_route(source, root, &top, &names, 0)?,
        receivers,
        resolve_timeout_ms: written.global.resolve_timeout.map_or(300_000, |d| d.0),
        external_url: String::new(),
    })
}

fn used_route(
    source: &Source<'_>,
    written: &Spanned<WrittenRoute>,
    parent: &Route,
    receivers: &BTreeSet<String>,
    depth: usize,
) -> Result<Route, ConfigError> {
    if depth > ROUTE_DEPTH_MAX {
        return Err(
            source.wrong_at(written, format!("routes are nested more than {ROUTE_DEPTH_MAX} deep"))
        );
    }
    let route = &written.value;
    if let Some(receiver) = &route.receiver
        && !receivers.contains(&receiver.value)
    {
        let known = receivers.iter().cloned().collect::<Vec<_>>().join(", ");
        let message = format!(
            "undefined receiver {:?} used in route: the receivers are {known}",
            receiver.value
        );
        return Err(source.wrong_at(receiver, message));
    }
    let zero = |d: &Option<DurationMs>| d.is_some_and(|d| d.0 == 0);
    if zero(&route.group_interval) || zero(&route.repeat_interval) {
        return Err(source.wrong_at(written, "group_interval and repeat_interval cannot be zero"));
    }
    let mut used = Route {
        receiver: route
            .receiver
            .as_ref()
            .map_or_else(|| parent.receiver.clone(), |r| r.value.clone()),
        matchers: route_matchers(source, written)?,
        continue_matching: route.r#continue,
        group_by: match &route.group_by {
            None => parent.group_by.clone(),
            Some(names) if names.iter().any(|name| name == "...") => None,
            Some(names) => Some(names.clone()),
        },
        group_wait_ms: route.group_wait.map_or(parent.group_wait_ms, |d| d.0),
        group_interval_ms: route.group_interval.map_or(parent.group_interval_ms, |d| d.0),
        repeat_interval_ms: route.repeat_interval.map_or(parent.repeat_interval_ms, |d| d.0),
        routes: Vec::new(),
    };
    let children: Result<Vec<Route>, ConfigError> = route
        .routes
        .iter()
        .map(|child| used_route(source, child, &used, receivers, depth + 1))
        .collect();
    used.routes = children?;
    Ok(used)
}

fn route_matchers(
    source: &Source<'_>,
    written: &Spanned<WrittenRoute>,
) -> Result<Vec<Matcher>, ConfigError> {
    let route = &written.value;
    let mut matchers = Vec::new();
    for text in &route.matchers {
        matchers
            .extend(parse_matchers(&text.value).map_err(|reason| source.wrong_at(text, reason))?);
    }
    matchers.extend(route.r#match.iter().map(|(name, value)| Matcher::equal(name, value)));
    for (name, pattern) in &route.match_re {
        let matcher = Matcher::new(name, MatchOp::Regex, pattern);
        matchers.push(matcher.map_err(|error| source.wrong_at(written, error.to_string()))?);
    }
    Ok(matchers)
}

fn used_receiver(
    source: &Source<'_>,
    written: &WrittenReceiver,
    global: &Global,
) -> Result<Receiver, ConfigError> {
    let mut integrations = Vec::new();
    // Alertmanager leaves it off for Slack; the runbook's people want to see the end too.
    let mut push = |kind: Result<IntegrationKind, ConfigError>, send_resolved: Option<bool>| {
        integrations.push(Integration {
            kind: kind?,
            send_resolved: send_resolved.unwrap_or(true),
            http: HttpClientConfig::default(),
        });
        Ok::<(), ConfigError>(())
    };
    for one in &written.pagerduty_configs {
        push(pagerduty(source, one, global), one.value.send_resolved)?;
    }
    for one in &written.slack_configs {
        push(slack(source, one, global), one.value.send_resolved)?;
    }
    for one in &written.sms_configs {
        push(sms(source, one), one.value.send_resolved)?;
    }
    for one in &written.webhook_configs {
        push(webhook(source, one), one.value.send_resolved)?;
    }
    Ok(Receiver { name: written.name.value.clone(), integrations })
}

fn pagerduty(
    source: &Source<'_>,
    one: &Spanned<PagerDuty>,
    global: &Global,
) -> Result<IntegrationKind, ConfigError> {
    let Some(routing_key) = &one.value.routing_key else {
        return Err(source.wrong_at(one, "missing routing_key of PagerDuty's Events API v2"));
    };
    let url = one.value.url.clone().or_else(|| global.pagerduty_url.clone());
    let described = r#"{{ template "pagerduty.default.description" . }}"#;
    Ok(IntegrationKind::PagerDuty {
        routing_key: Secret::new(routing_key.clone()),
        url: address(source, one, url.unwrap_or_else(|| PAGERDUTY_URL.to_owned()))?,
        description: template(source, one, &one.value.description, described)?,
        severity: template(source, one, &one.value.severity, "")?,
    })
}

fn slack(
    source: &Source<'_>,
    one: &Spanned<Slack>,
    global: &Global,
) -> Result<IntegrationKind, ConfigError> {
    let Some(api_url) = one.value.api_url.clone().or_else(|| global.slack_api_url.clone()) else {
        return Err(source.wrong_at(
            one,
            "no global Slack API URL set: write api_url here or slack_api_url under global",
        ));
    };
    let (title, text) =
        (r#"{{ template "slack.default.title" . }}"#, r#"{{ template "slack.default.text" . }}"#);
    Ok(IntegrationKind::Slack {
        api_url: Secret::new(address(source, one, api_url)?),
        channel: one.value.channel.clone(),
        title: template(source, one, &one.value.title, title)?,
        text: template(source, one, &one.value.text, text)?,
    })
}

fn sms(source: &Source<'_>, one: &Spanned<Sms>) -> Result<IntegrationKind, ConfigError> {
    let (Some(url), false) = (&one.value.url, one.value.to.is_empty()) else {
        return Err(source.wrong_at(one, "sms_configs needs url (Twilio's Messages.json or a gateway) and at least one number under to"));
    };
    let text = r#"{{ template "sms.default.text" . }}"#;
    Ok(IntegrationKind::Sms {
        url: address(source, one, url.clone())?,
        username: one.value.username.clone(),
        password: Secret::new(one.value.password.clone()),
        from: one.value.from.clone(),
        to: one.value.to.clone(),
        text: template(source, one, &one.value.text, text)?,
    })
}

fn webhook(source: &Source<'_>, one: &Spanned<Webhook>) -> Result<IntegrationKind, ConfigError> {
    Ok(IntegrationKind::Webhook {
        url: Secret::new(address(source, one, one.value.url.clone())?),
        alerts_max: one.value.max_alerts,
    })
}

/// An address that messages are sent to; a wrong one would only be found out at night.
fn address<T>(source: &Source<'_>, at: &Spanned<T>, url: String) -> Result<String, ConfigError> {
    let host = ["http://", "https://"].iter().find_map(|scheme| url.strip_prefix(scheme));
    match host {
        Some(host) if !host.is_empty() && !host.starts_with(['/', ':']) => Ok(url),
        _ => Err(source.wrong_at(
            at,
            "unsupported scheme for URL: an address begins with http:// or https:// and a host",
        )),
    }
}

/// A template, the default one when none is written. One that is none would only be found out when
/// a message is due.
fn template<T>(
    source: &Source<'_>,
    at: &Spanned<T>,
    written: &Option<String>,
    default: &str,
) -> Result<String, ConfigError> {
    let text = written.clone().unwrap_or_else(|| default.to_owned());
    let nothing = Data {
        receiver: String::new(),
        alerts: Vec::new(),
        truncated_alerts: 0,
        group_labels: Labels::default(),
        common_labels: Labels::default(),
        common_annotations: Labels::default(),
        external_url: String::new(),
        language: "en".to_owned(),
        now_ms: 0,
    };
    match render(&text, &nothing) {
        Err(error @ TemplateError::Parse { .. }) => Err(source.wrong_at(at, error.to_string())),
        // What fails while it runs may do well with real alerts.
        _ => Ok(text),
    }
}
