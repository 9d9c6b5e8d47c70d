//! What the rest of the program may know: plain values for the APIs and the UI.

use vigie_config::rules::QueryLanguage;
use vigie_ledger::{MessageState, OutboxRow};
use vigie_model::Labels;
use vigie_rules::{AlertState, Health};

/// A group of rules, as `/api/v1/rules` lists it.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupStatus {
    /// What its expressions are written in.
    pub language: QueryLanguage,
    /// `name`.
    pub name: String,
    /// `file`.
    pub file: String,
    /// `interval`.
    pub interval_ms: i64,
    /// `limit`.
    pub limit: usize,
    /// `evaluationTime`, in seconds.
    pub evaluation_time_s: f64,
    /// `lastEvaluation`.
    pub last_evaluation_ms: Option<i64>,
    /// `rules`.
    pub rules: Vec<RuleStatus>,
}

/// A rule, as `/api/v1/rules` lists it.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleStatus {
    /// `type`: alerting, else recording.
    pub alerting: bool,
    /// `name`.
    pub name: String,
    /// `query`.
    pub query: String,
    /// `duration`: the rule's `for`.
    pub for_ms: i64,
    /// `keepFiringFor`.
    pub keep_firing_for_ms: i64,
    /// `labels`, those of the group included.
    pub labels: Vec<(String, String)>,
    /// `annotations`, as written.
    pub annotations: Vec<(String, String)>,
    /// `state`; none for a recording rule.
    pub state: Option<AlertState>,
    /// `health`.
    pub health: Health,
    /// `lastError`.
    pub last_error: Option<String>,
    /// `evaluationTime`, in seconds.
    pub evaluation_time_s: f64,
    /// `lastEvaluation`.
    pub last_evaluation_ms: Option<i64>,
    /// `alerts`: pending and firing ones.
    pub alerts: Vec<AlertStatus>,
}

/// A pending or firing alert, as `/api/v1/alerts` lists it.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertStatus {
    /// `labels`.
    pub labels: Labels,
    /// `annotations`, expanded.
    pub annotations: Vec<(String, String)>,
    /// `state`.
    pub state: AlertState,
    /// `activeAt`.
    pub active_at_ms: i64,
    /// When it fired.
    pub fired_at_ms: Option<i64>,
    /// `keepFiringSince`.
    pub keep_firing_since_ms: Option<i64>,
    /// `value`.
    pub value: f64,
    /// The receivers it is routed to.
    pub receivers: Vec<String>,
}

/// A firing alert, as `/api/v2/alerts` lists it; its `status.state` is `active`.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertmanagerAlert {
    /// `fingerprint`, 16 hexadecimal digits.
    pub fingerprint: String,
    /// `startsAt`.
    pub starts_at_ms: i64,
    /// `endsAt`: when it would be resolved if its rule were evaluated no more.
    pub ends_at_ms: i64,
    /// `updatedAt`.
    pub updated_at_ms: i64,
    /// `receivers`, by name.
    pub receivers: Vec<String>,
    /// `labels`.
    pub labels: Labels,
    /// `annotations`.
    pub annotations: Vec<(String, String)>,
    /// `generatorURL`.
    pub generator_url: String,
}

/// A message to a receiver.
#[derive(Clone, Debug, PartialEq)]
pub struct NotificationStatus {
    /// Ascending in the order of writing.
    pub id: i64,
    /// When it was decided.
    pub created_at_ms: i64,
    /// Which alert.
    pub alertname: String,
    /// Whether it says that something fires.
    pub firing: bool,
    /// The receiver's name.
    pub receiver: String,
    /// `pagerduty`, `slack`, `sms`, `webhook`.
    pub kind: String,
    /// `pending`, `sending`, `sent`, `failed`, `dropped`.
    pub state: MessageState,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next, while it is pending.
    pub next_at_ms: Option<i64>,
    /// When the receiver took it.
    pub sent_at_ms: Option<i64>,
    /// What the receiver said last, if it was not yes.
    pub last_error: Option<String>,
}

impl From<OutboxRow> for NotificationStatus {
    fn from(row: OutboxRow) -> NotificationStatus {
        NotificationStatus {
            id: row.id,
            created_at_ms: row.message.created_at_ms,
            alertname: row.message.alertname,
            firing: row.message.firing,
            receiver: row.message.receiver,
            kind: row.message.kind,
            state: row.state,
            attempts: row.attempts,
            next_at_ms: (row.state == MessageState::Pending).then_some(row.next_at_ms),
            sent_at_ms: row.sent_at_ms,
            last_error: row.last_error,
        }
    }
}

/// One sample of the coordinator's own metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// The metric's name; counters end in `_total`.
    pub name: &'static str,
    /// Its labels.
    pub labels: Vec<(&'static str, String)>,
    /// Its value.
    pub value: f64,
}
