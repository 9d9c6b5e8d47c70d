//! The outbox: messages that must arrive.

use crate::{Ledger, LedgerError, Tx, sqlite};
use rusqlite::{Connection, Row, params};

/// Where a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageState {
    /// Waits for its time.
    Pending,
    /// Lent to a worker.
    Sending,
    /// The receiver took it.
    Sent,
    /// Given up.
    Failed,
    /// Overtaken by events before it was sent.
    Dropped,
}

impl MessageState {
    const ALL: [MessageState; 5] = [
        MessageState::Pending,
        MessageState::Sending,
        MessageState::Sent,
        MessageState::Failed,
        MessageState::Dropped,
    ];

    /// The word in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            MessageState::Pending => "pending",
            MessageState::Sending => "sending",
            MessageState::Sent => "sent",
            MessageState::Failed => "failed",
            MessageState::Dropped => "dropped",
        }
    }
}

/// A message to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMessage {
    /// Now.
    pub created_at_ms: i64,
    /// The group it speaks of.
    pub group_key: String,
    /// For people: which alert.
    pub alertname: String,
    /// Whether the group fires.
    pub firing: bool,
    /// The receiver's name.
    pub receiver: String,
    /// Which of its integrations.
    pub integration: usize,
    /// Which of the integration's messages for one event (a telephone number).
    pub part: usize,
    /// For people: `pagerduty`, `slack`, `sms`, `webhook`.
    pub kind: String,
    /// JSON, without secrets; emptied when the message is over, because a storm of alerts makes it
    /// long and what is over is kept for months.
    pub payload: String,
    /// What lets the receiver recognise a repetition.
    pub dedup_key: String,
}

/// A message as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRow {
    /// Ascending in the order of writing.
    pub id: i64,
    /// What it says.
    pub message: NewMessage,
    /// Where it stands.
    pub state: MessageState,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next.
    pub next_at_ms: i64,
    /// Until when a worker has it.
    pub lease_until_ms: Option<i64>,
    /// When the receiver took it.
    pub sent_at_ms: Option<i64>,
    /// What the receiver said last, if it was not yes.
    pub last_error: Option<String>,
}

/// How full the outbox is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxTotals {
    /// Messages that are pending or being sent.
    pub open: u64,
    /// When the oldest of them was written.
    pub oldest_at_ms: Option<i64>,
}

/// The longest that a message may have to wait, in milliseconds: an hour, and five minutes more. A
/// time further off was written by a clock that has since been set back, and counts as now.
pub const WAIT_MS_MAX: i64 = 65 * 60 * 1000;

/// Most messages that one integration is sent at a time.
pub const LENT_PER_INTEGRATION_MAX: usize = 2;
/// Most due messages among which those to lend are chosen.
const CANDIDATES_MAX: usize = 256;

/// Stands beside narrower conditions, because SQLite takes a partial index only for the index's own
/// condition; without it every look would read the messages of three months.
const OPEN: &str = "state IN ('pending', 'sending')";

const COLUMNS: &str =
    "id, created_at_ms, group_key, alertname, status, receiver, integration, part,
    kind, payload, dedup_key, state, attempts, next_at_ms, lease_until_ms, sent_at_ms, last_error";

impl Tx<'_> {
    /// Writes a message. A firing one takes the place of older firing ones of the same target that
    /// wait: it says all that they say, as it is now.
    pub fn enqueue(&self, message: &NewMessage) -> Result<i64, LedgerError> {
        let failed = sqlite("write a message");
        if message.firing {
            let (integration, part) = (message.integration as i64, message.part as i64);
            self.inner
                .prepare_cached(&replace_statement())
                .and_then(|mut statement| {
                    let target = params![message.group_key, message.receiver, integration, part];
                    statement.execute(target)
                })
                .map_err(&failed)?;
        }
        self.inner
            .prepare_cached(
                "INSERT INTO outbox (created_at_ms, group_key, alertname, status, receiver,
                 integration, part, kind, payload, dedup_key, state, next_at_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 'pending', ?1)",
            )
            .map_err(&failed)?
            .execute(params![
                message.created_at_ms,
                message.group_key,
                message.alertname,
                if message.firing { "firing" } else { "resolved" },
                message.receiver,
                message.integration as i64,
                message.part as i64,
                message.kind,
                message.payload,
                message.dedup_key,
            ])
            .map_err(&failed)?;
        Ok(self.inner.last_insert_rowid())
    }

    /// Drops what an integration has not got yet about a group that fires no more.
    pub fn drop_pending(
        &self,
        group_key: &str,
        receiver: &str,
        integration: usize,
    ) -> Result<usize, LedgerError> {
        self.inner
            .execute(&drop_statement(), params![group_key, receiver, integration as i64])
            .map_err(sqlite("drop messages"))
    }
}

impl Ledger {
    /// Lends up to `count` messages that are due; about one group only the oldest, and to one
    /// integration at most `LENT_PER_INTEGRATION_MAX` at a time, so that a receiver that hangs
    /// holds up nobody else.
    pub fn lease_due(
        &self,
        now_ms: i64,
        lease_ms: i64,
        count: usize,
    ) -> Result<Vec<OutboxRow>, LedgerError> {
        self.transaction(|tx| {
            let mut rows =
                read(&tx.inner, &lease_statement(), params![now_ms, count as i64, WAIT_MS_MAX])?;
            for row in &mut rows {
                row.state = MessageState::Sending;
                row.attempts += 1;
                row.lease_until_ms = Some(now_ms + lease_ms);
                tx.inner
                    .execute(
                        "UPDATE outbox SET state = 'sending', attempts = ?, lease_until_ms = ?
                         WHERE id = ?",
                        params![row.attempts, row.lease_until_ms, row.id],
                    )
                    .map_err(sqlite("lease a message"))?;
            }
            Ok(rows)
        })
    }

    /// When [`Ledger::lease_due`] has something to lend next; more than [`WAIT_MS_MAX`] ahead means
    /// now.
    pub fn next_due_ms(&self) -> Result<Option<i64>, LedgerError> {
        self.connection
            .lock()
            .query_row(
                "SELECT MIN(CASE state WHEN 'pending' THEN next_at_ms ELSE lease_until_ms END)
                 FROM outbox AS one WHERE state IN ('pending', 'sending')
                 AND NOT EXISTS (SELECT 1 FROM outbox AS earlier
                     WHERE earlier.group_key = one.group_key AND earlier.receiver = one.receiver
                     AND earlier.integration = one.integration AND earlier.part = one.part
                     AND earlier.id < one.id AND earlier.state IN ('pending', 'sending'))",
                [],
                |row| row.get(0),
            )
            .map_err(sqlite("read the outbox"))
    }

    /// The receiver took the message.
    pub fn mark_sent(&self, id: i64, now_ms: i64) -> Result<(), LedgerError> {
        self.finish(
            "UPDATE outbox SET state = 'sent', payload = '', sent_at_ms = ?2, lease_until_ms = NULL,
             last_error = NULL WHERE id = ?1 AND state = 'sending'",
            params![id, now_ms],
        )
    }

    /// The receiver did not take it: it is tried again at `retry_at_ms`, or given up without one.
    pub fn mark_failed(
        &self,
        id: i64,
        error: &str,
        retry_at_ms: Option<i64>,
    ) -> Result<(), LedgerError> {
        let state = if retry_at_ms.is_some() { "pending" } else { "failed" };
        self.finish(
            "UPDATE outbox SET state = ?2, next_at_ms = COALESCE(?3, next_at_ms),
             payload = CASE ?2 WHEN 'failed' THEN '' ELSE payload END,
             lease_until_ms = NULL, last_error = ?4 WHERE id = ?1 AND state = 'sending'",
            params![id, state, retry_at_ms, error],
        )
    }

    /// The message was overtaken by events while it was on its way and did not arrive.
    pub fn mark_dropped(&self, id: i64, error: &str) -> Result<(), LedgerError> {
        self.finish(
            "UPDATE outbox SET state = 'dropped', payload = '', lease_until_ms = NULL,
             last_error = ?2 WHERE id = ?1 AND state = 'sending'",
            params![id, error],
        )
    }

    fn finish(&self, update: &str, values: &[&dyn rusqlite::ToSql]) -> Result<(), LedgerError> {
        self.transaction(|tx| {
            tx.inner.execute(update, values).map_err(sqlite("finish a message"))?;
            Ok(())
        })
    }

    /// Makes every lent message pending again: for the start, when whoever had them is dead.
    pub(crate) fn release_leases(&self) -> Result<(), LedgerError> {
        self.connection
            .lock()
            .execute(&release_statement(), [])
            .map_err(sqlite("release leases"))?;
        Ok(())
    }

    /// The newest messages, newest first.
    pub fn recent(&self, limit: usize) -> Result<Vec<OutboxRow>, LedgerError> {
        let select = format!("SELECT {COLUMNS} FROM outbox ORDER BY id DESC LIMIT ?1");
        read(&self.connection.lock(), &select, params![limit as i64])
    }

    /// How full the outbox is.
    pub fn outbox_totals(&self) -> Result<OutboxTotals, LedgerError> {
        let read = |row: &Row<'_>| {
            Ok(OutboxTotals { open: row.get::<_, i64>(0)? as u64, oldest_at_ms: row.get(1)? })
        };
        self.connection
            .lock()
            .query_row(
                "SELECT COUNT(*), MIN(created_at_ms) FROM outbox
                 WHERE state IN ('pending', 'sending')",
                [],
                read,
            )
            .map_err(sqlite("read the outbox"))
    }

    /// Deletes messages that are over and were written before an instant.
    pub fn forget_before(&self, before_ms: i64) -> Result<usize, LedgerError> {
        self.connection
            .lock()
            .execute(
                "DELETE FROM outbox
                 WHERE created_at_ms < ? AND state IN ('sent', 'failed', 'dropped')",
                params![before_ms],
            )
            .map_err(sqlite("forget messages"))
    }
}

/// Chooses what is lent: now, how many, the longest wait.
pub(crate) fn lease_statement() -> String {
    format!(
                "WITH due AS (SELECT * FROM outbox AS one INDEXED BY outbox_open_by_id
                     WHERE {OPEN} AND ((state = 'pending' AND (next_at_ms <= ?1 OR next_at_ms > ?1 + ?3))
                         OR (state = 'sending'
                             AND (lease_until_ms <= ?1 OR lease_until_ms > ?1 + ?3)))
                     AND NOT EXISTS (SELECT 1 FROM outbox AS earlier
                         WHERE earlier.group_key = one.group_key
                         AND earlier.receiver = one.receiver
                         AND earlier.integration = one.integration AND earlier.part = one.part
                         AND earlier.id < one.id AND earlier.state IN ('pending', 'sending'))
                     ORDER BY id LIMIT {CANDIDATES_MAX}),
                 lent AS (SELECT receiver, integration, COUNT(*) AS busy FROM outbox
                     WHERE state = 'sending' AND {OPEN} AND lease_until_ms > ?1
                     AND lease_until_ms <= ?1 + ?3 GROUP BY receiver, integration)
                 SELECT {COLUMNS} FROM (SELECT due.*, ROW_NUMBER() OVER
                     (PARTITION BY receiver, integration ORDER BY id) AS nth FROM due)
                 LEFT JOIN lent USING (receiver, integration)
                 WHERE nth + COALESCE(busy, 0) <= {LENT_PER_INTEGRATION_MAX}
                 ORDER BY id LIMIT ?2"
    )
}

/// Drops what a newer message says too.
pub(crate) fn replace_statement() -> String {
    format!(
        "UPDATE outbox SET state = 'dropped', payload = '',
                 last_error = 'replaced by a newer message'
                 WHERE group_key = ? AND receiver = ? AND integration = ? AND part = ?
                 AND state = 'pending' AND status = 'firing' AND {OPEN}"
    )
}

/// Drops what is out of date.
pub(crate) fn drop_statement() -> String {
    format!(
        "UPDATE outbox SET state = 'dropped', payload = '',
                     last_error = COALESCE(last_error, 'resolved before it was sent')
                     WHERE group_key = ? AND receiver = ? AND integration = ?
                     AND state = 'pending' AND {OPEN}"
    )
}

/// Ends every lease.
pub(crate) fn release_statement() -> String {
    format!(
        "UPDATE outbox SET state = 'pending', lease_until_ms = NULL
                     WHERE state = 'sending' AND {OPEN}"
    )
}

fn read(
    connection: &Connection,
    select: &str,
    values: &[&dyn rusqlite::ToSql],
) -> Result<Vec<OutboxRow>, LedgerError> {
    connection
        .prepare_cached(select)
        .and_then(|mut statement| statement.query_map(values, read_row)?.collect())
        .map_err(sqlite("read the outbox"))
}

fn read_row(row: &Row<'_>) -> rusqlite::Result<OutboxRow> {
    let state: String = row.get(11)?;
    let state = MessageState::ALL
        .into_iter()
        .find(|known| known.as_str() == state)
        .expect("the table's CHECK allows only the known states");
    Ok(OutboxRow {
        id: row.get(0)?,
        message: NewMessage {
            created_at_ms: row.get(1)?,
            group_key: row.get(2)?,
            alertname: row.get(3)?,
            firing: row.get::<_, String>(4)? == "firing",
            receiver: row.get(5)?,
            integration: row.get::<_, i64>(6)? as usize,
            part: row.get::<_, i64>(7)? as usize,
            kind: row.get(8)?,
            payload: row.get(9)?,
            dedup_key: row.get(10)?,
        },
        state,
        attempts: row.get(12)?,
        next_at_ms: row.get(13)?,
        lease_until_ms: row.get(14)?,
        sent_at_ms: row.get(15)?,
        last_error: row.get(16)?,
    })
}
