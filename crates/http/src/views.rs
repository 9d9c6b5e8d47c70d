//! What the API shows of the parts that this crate does not own, in the shapes it needs.
//!
//! The program adapts `watch` and `collect` to these two traits, so that handlers can be tested
//! with a table and the parts can change without touching the wire.

use std::sync::Arc;
use vigie_model::Labels;

/// Rules, alerts and what was sent.
pub trait AlertView: Send + Sync {
    /// The rule groups in order of file and name.
    fn groups(&self) -> Vec<GroupView>;
    /// Alertmanager's list of active alerts.
    fn active(&self) -> Vec<ActiveView>;
    /// The receivers' names.
    fn receivers(&self) -> Vec<String>;
    /// The newest rows of the outbox.
    fn notifications(&self, limit: usize) -> Result<Vec<NotificationView>, String>;
}

/// Loki's ruler: its rules as YAML, listed, sent and removed. Everything blocks.
pub trait RulerView: Send + Sync {
    /// All groups, or those of a namespace, by namespace; with labels, only the rules that have one
    /// of them. `None`: there is no group.
    fn list(&self, namespace: Option<&str>, labels: &[(String, String)]) -> Option<String>;
    /// One group.
    fn group(&self, namespace: &str, name: &str) -> Option<String>;
    /// Writes a group over the one of its name; it is durable and evaluated when this returns.
    fn put(&self, namespace: &str, text: &str) -> Result<(), RulerRefusal>;
    /// Removes a group, or a namespace.
    fn remove(&self, namespace: &str, name: Option<&str>) -> Result<(), RulerRefusal>;
}

/// Why the ruler did not do it, in Loki's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RulerRefusal {
    /// There is no such group or namespace.
    Missing(String),
    /// What was sent cannot be taken.
    Bad(String),
    /// It could not be written down.
    Failed(String),
}

/// A rule group.
#[derive(Clone, Debug)]
pub struct GroupView {
    /// Whether its rules are written in LogQL, else in PromQL.
    pub is_logql: bool,
    /// Its name.
    pub name: String,
    /// Its file.
    pub file: String,
    /// Milliseconds between evaluations.
    pub interval_ms: i64,
    /// Most alerts or series of one rule; 0 for no limit.
    pub limit: usize,
    /// When it was evaluated last; 0 before the first time.
    pub last_evaluation_ms: i64,
    /// How long that took.
    pub evaluation_ms: f64,
    /// Its rules in order.
    pub rules: Vec<RuleView>,
}

/// A rule.
#[derive(Clone, Debug)]
pub struct RuleView {
    /// The alert's or the metric's name.
    pub name: String,
    /// The text, as its parser prints it.
    pub expr: String,
    /// Labels.
    pub labels: Labels,
    /// `ok`, `err` or `unknown`.
    pub health: &'static str,
    /// Why it is not ok.
    pub last_error: String,
    /// When it was evaluated last.
    pub last_evaluation_ms: i64,
    /// How long that took.
    pub evaluation_ms: f64,
    /// For an alert.
    pub alert: Option<AlertRuleView>,
}

/// What only alerting rules have.
#[derive(Clone, Debug)]
pub struct AlertRuleView {
    /// `inactive`, `pending` or `firing`.
    pub state: &'static str,
    /// `for`, in milliseconds.
    pub for_ms: i64,
    /// `keep_firing_for`, in milliseconds.
    pub keep_firing_for_ms: i64,
    /// Annotations as written.
    pub annotations: Labels,
    /// What is pending or firing.
    pub alerts: Vec<AlertInstance>,
}

/// One pending or firing alert.
#[derive(Clone, Debug)]
pub struct AlertInstance {
    /// Labels, `alertname` included.
    pub labels: Labels,
    /// Annotations, expanded.
    pub annotations: Labels,
    /// `pending` or `firing`.
    pub state: &'static str,
    /// Since when.
    pub active_at_ms: i64,
    /// Since when only `keep_firing_for` holds it.
    pub keep_firing_since_ms: Option<i64>,
    /// The value of the expression.
    pub value: f64,
}

/// An alert as Alertmanager lists it.
#[derive(Clone, Debug)]
pub struct ActiveView {
    /// Labels.
    pub labels: Labels,
    /// Annotations.
    pub annotations: Labels,
    /// 16 hex digits.
    pub fingerprint: String,
    /// When it fired.
    pub starts_at_ms: i64,
    /// When it ends unless it is said again.
    pub ends_at_ms: i64,
    /// When it was said last.
    pub updated_at_ms: i64,
    /// The receivers it is routed to.
    pub receivers: Vec<String>,
    /// Where it comes from.
    pub generator_url: String,
}

/// A row of the outbox.
#[derive(Clone, Debug)]
pub struct NotificationView {
    /// Its number.
    pub id: i64,
    /// When it was written.
    pub created_at_ms: i64,
    /// The alert.
    pub alertname: String,
    /// `firing` or `resolved`.
    pub status: String,
    /// The receiver.
    pub receiver: String,
    /// The kind of integration.
    pub integration: String,
    /// `pending`, `sending`, `sent` or `failed`.
    pub state: String,
    /// How often it was tried.
    pub attempts: i64,
    /// When it is tried next.
    pub next_at_ms: Option<i64>,
    /// When it was accepted.
    pub sent_at_ms: Option<i64>,
    /// Why it was not.
    pub last_error: String,
}

/// Targets.
pub trait TargetView: Send + Sync {
    /// All targets, collectors included, in order of job and instance.
    fn list(&self) -> Vec<Target>;
    /// What relabelling dropped: for each job, those that are kept in memory and how many there
    /// are.
    fn dropped(&self) -> Vec<DroppedTargets>;
    /// The labels of each target of [`TargetView::list`], and what its last page says of its metrics.
    fn said(&self) -> Vec<(Labels, SaidBy)>;
}

/// What a target says of all its metrics in the order of their names, or of the one that is named.
pub type SaidBy = Arc<dyn Fn(Option<&str>) -> Vec<SaidOfMetric> + Send + Sync>;

/// What a target says of a metric.
#[derive(Clone, Debug)]
pub struct SaidOfMetric {
    /// The metric.
    pub name: String,
    /// Its type, in Prometheus' word.
    pub kind: &'static str,
    /// The help text.
    pub help: String,
    /// The unit.
    pub unit: String,
}

/// The targets of one job that relabelling dropped.
#[derive(Clone, Debug)]
pub struct DroppedTargets {
    /// The job.
    pub scrape_pool: String,
    /// Their labels before relabelling.
    pub discovered_labels: Vec<Labels>,
    /// How many there are.
    pub count: usize,
}

/// One target.
#[derive(Clone, Debug)]
pub struct Target {
    /// Labels before relabelling.
    pub discovered_labels: Labels,
    /// Labels.
    pub labels: Labels,
    /// The job it belongs to.
    pub scrape_pool: String,
    /// Where it is scraped.
    pub scrape_url: String,
    /// Why the last scrape failed; empty when it did not.
    pub last_error: String,
    /// When it was scraped last; 0 before the first time.
    pub last_scrape_ms: i64,
    /// How long that took, in milliseconds.
    pub last_duration_ms: f64,
    /// `up`, `down` or `unknown`.
    pub health: &'static str,
    /// Milliseconds between scrapes.
    pub interval_ms: i64,
    /// Milliseconds before a scrape is given up.
    pub timeout_ms: i64,
}
