//! Alert states and groups: rows in, rows out.

use crate::{Ledger, LedgerError, Tx, sqlite};
use rusqlite::{Row, params};
use vigie_model::Labels;

/// A persisted alert of a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertRow {
    /// The rule.
    pub rule_key: String,
    /// The alert's identity inside it.
    pub labels: Labels,
    /// Expanded annotations, in order.
    pub annotations: Vec<(String, String)>,
    /// `pending`, `firing` or `inactive`.
    pub state: String,
    /// The value at the last change of state.
    pub value: f64,
    /// When the condition began to hold.
    pub active_at_ms: i64,
    /// When it fired.
    pub fired_at_ms: Option<i64>,
    /// When it was resolved.
    pub resolved_at_ms: Option<i64>,
    /// Since when only `keep_firing_for` holds it.
    pub keep_firing_since_ms: Option<i64>,
    /// The link to its expression.
    pub generator_url: String,
}

/// A persisted group; its body is the caller's JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRow {
    /// Alertmanager's group key.
    pub group_key: String,
    /// The receiver's name.
    pub receiver: String,
    /// JSON.
    pub body: String,
}

impl Tx<'_> {
    /// Writes an alert over what was known of it.
    pub fn put_alert(&self, row: &AlertRow) -> Result<(), LedgerError> {
        let mut statement = self
            .inner
            .prepare_cached(
                "INSERT OR REPLACE INTO alert_states (rule_key, labels, annotations, state, value,
                 active_at_ms, fired_at_ms, resolved_at_ms, keep_firing_since_ms, generator_url)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )
            .map_err(sqlite("write an alert"))?;
        let annotations = serde_json::json!(row.annotations).to_string();
        statement
            .execute(params![
                row.rule_key,
                labels_json(&row.labels),
                annotations,
                row.state,
                // SQLite has no NaN: it is kept as NULL.
                Some(row.value).filter(|value| !value.is_nan()),
                row.active_at_ms,
                row.fired_at_ms,
                row.resolved_at_ms,
                row.keep_firing_since_ms,
                row.generator_url,
            ])
            .map_err(sqlite("write an alert"))?;
        Ok(())
    }

    /// Forgets an alert.
    pub fn delete_alert(&self, rule_key: &str, labels: &Labels) -> Result<(), LedgerError> {
        self.inner
            .execute(
                "DELETE FROM alert_states WHERE rule_key = ? AND labels = ?",
                params![rule_key, labels_json(labels)],
            )
            .map_err(sqlite("delete an alert"))?;
        Ok(())
    }

    /// Writes a group over what was known of it.
    pub fn put_group(&self, row: &GroupRow) -> Result<(), LedgerError> {
        self.inner
            .execute(
                "INSERT OR REPLACE INTO alert_groups (group_key, receiver, body) VALUES (?, ?, ?)",
                params![row.group_key, row.receiver, row.body],
            )
            .map_err(sqlite("write a group"))?;
        Ok(())
    }

    /// Forgets a group.
    pub fn delete_group(&self, group_key: &str, receiver: &str) -> Result<(), LedgerError> {
        self.inner
            .execute(
                "DELETE FROM alert_groups WHERE group_key = ? AND receiver = ?",
                params![group_key, receiver],
            )
            .map_err(sqlite("delete a group"))?;
        Ok(())
    }
}

impl Ledger {
    /// All alerts.
    pub fn alerts(&self) -> Result<Vec<AlertRow>, LedgerError> {
        let connection = self.connection.lock();
        let mut statement = connection
            .prepare(
                "SELECT rule_key, labels, annotations, state, value, active_at_ms, fired_at_ms,
                 resolved_at_ms, keep_firing_since_ms, generator_url FROM alert_states",
            )
            .map_err(sqlite("read alerts"))?;
        let mut rows = statement.query([]).map_err(sqlite("read alerts"))?;
        let mut alerts = Vec::new();
        while let Some(row) = rows.next().map_err(sqlite("read alerts"))? {
            alerts.push(read_alert(row)?);
        }
        Ok(alerts)
    }

    /// All groups.
    pub fn groups(&self) -> Result<Vec<GroupRow>, LedgerError> {
        let connection = self.connection.lock();
        let read = |row: &Row<'_>| {
            Ok(GroupRow { group_key: row.get(0)?, receiver: row.get(1)?, body: row.get(2)? })
        };
        connection
            .prepare("SELECT group_key, receiver, body FROM alert_groups")
            .and_then(|mut statement| statement.query_map([], read)?.collect())
            .map_err(sqlite("read groups"))
    }
}

fn read_alert(row: &Row<'_>) -> Result<AlertRow, LedgerError> {
    let corrupt = |error: serde_json::Error| LedgerError::Corrupt {
        table: "alert_states",
        reason: error.to_string(),
    };
    let text = |at: usize| row.get::<_, String>(at).map_err(sqlite("read alerts"));
    let time = |at: usize| row.get::<_, Option<i64>>(at).map_err(sqlite("read alerts"));
    let value: Option<f64> = row.get(4).map_err(sqlite("read alerts"))?;
    let pairs: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&text(1)?).map_err(corrupt)?;
    let pairs = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap_or("")));
    Ok(AlertRow {
        rule_key: text(0)?,
        labels: Labels::from_pairs(pairs),
        annotations: serde_json::from_str(&text(2)?).map_err(corrupt)?,
        state: text(3)?,
        value: value.unwrap_or(f64::NAN),
        active_at_ms: time(5)?.unwrap_or(0),
        fired_at_ms: time(6)?,
        resolved_at_ms: time(7)?,
        keep_firing_since_ms: time(8)?,
        generator_url: text(9)?,
    })
}

/// A label set as JSON; its labels are sorted, so equal sets give equal texts.
fn labels_json(labels: &Labels) -> String {
    let pairs = labels.iter().map(|label| (label.name.to_string(), label.value.as_ref().into()));
    serde_json::Value::Object(pairs.collect()).to_string()
}
