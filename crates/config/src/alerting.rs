//! Routes and receivers: Alertmanager's `route` and `receivers`, with Vigie's own `sms_configs`.

use crate::http_client::{HttpClientConfig, Secret};
use vigie_model::Matcher;

/// The whole of it, cross-checked: every route names a receiver that exists.
#[derive(Clone, Debug)]
pub struct Alerting {
    /// The root route; it matches everything.
    pub route: Route,
    /// The receivers, by unique names.
    pub receivers: Vec<Receiver>,
    /// `global.resolve_timeout` in milliseconds (5 minutes).
    pub resolve_timeout_ms: i64,
    /// The address that links in messages start with.
    pub external_url: String,
}

/// A node of the routing tree, with inherited values filled in.
#[derive(Clone, Debug)]
pub struct Route {
    /// The receiver's name.
    pub receiver: String,
    /// All must match; the root has none.
    pub matchers: Vec<Matcher>,
    /// Whether siblings after this one are tried too.
    pub continue_matching: bool,
    /// The labels that make a group; `None` means all of them (`...`).
    pub group_by: Option<Vec<String>>,
    /// Milliseconds to wait for more alerts before the first message of a group.
    pub group_wait_ms: i64,
    /// Milliseconds between messages of a group that has changed.
    pub group_interval_ms: i64,
    /// Milliseconds after which an unchanged group is sent again.
    pub repeat_interval_ms: i64,
    /// Children, first match first.
    pub routes: Vec<Route>,
}

/// Where messages go.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// Its name.
    pub name: String,
    /// Its integrations, in order.
    pub integrations: Vec<Integration>,
}

/// One way to reach somebody.
#[derive(Clone, Debug)]
pub struct Integration {
    /// What kind, with its own settings.
    pub kind: IntegrationKind,
    /// Whether resolved alerts are sent too.
    pub send_resolved: bool,
    /// How to connect.
    pub http: HttpClientConfig,
}

/// The kinds that are built.
#[derive(Clone, Debug)]
pub enum IntegrationKind {
    /// `pagerduty_configs`: Events API v2.
    PagerDuty {
        /// `routing_key`.
        routing_key: Secret,
        /// `url`, by default `https://events.pagerduty.com/v2/enqueue`.
        url: String,
        /// Template; by default `{{ template "pagerduty.default.description" . }}`.
        description: String,
        /// Template of the severity.
        severity: String,
    },
    /// `slack_configs`: incoming webhook.
    Slack {
        /// `api_url`.
        api_url: Secret,
        /// `channel`.
        channel: String,
        /// Template of the title.
        title: String,
        /// Template of the text.
        text: String,
    },
    /// `sms_configs`, Vigie's own: Twilio's API or any gateway that takes a form.
    Sms {
        /// `https://api.twilio.com/2010-04-01/Accounts/{SID}/Messages.json` or a gateway.
        url: String,
        /// User of the gateway (Twilio: the account's SID), sent as basic auth.
        username: String,
        /// Its password (Twilio: the auth token).
        password: Secret,
        /// The sender.
        from: String,
        /// The telephone numbers, one message each.
        to: Vec<String>,
        /// Template of the text, cut to 1,600 characters.
        text: String,
    },
    /// `webhook_configs`: Alertmanager's JSON, version 4.
    Webhook {
        /// Where it is posted.
        url: Secret,
        /// Most alerts in one message; 0 means all.
        alerts_max: usize,
    },
}
