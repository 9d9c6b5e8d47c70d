//! The tables and how older files become today's.

use crate::{LedgerError, sqlite};
use rusqlite::Connection;

/// One step per version; a step that has shipped is never edited.
const MIGRATIONS: [&str; 3] = [
    "
    CREATE TABLE alert_states (
        rule_key TEXT NOT NULL,
        labels TEXT NOT NULL,
        annotations TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('pending', 'firing', 'inactive')),
        value REAL,
        active_at_ms INTEGER NOT NULL,
        fired_at_ms INTEGER,
        resolved_at_ms INTEGER,
        keep_firing_since_ms INTEGER,
        generator_url TEXT NOT NULL,
        PRIMARY KEY (rule_key, labels)
    ) WITHOUT ROWID;
    CREATE TABLE alert_groups (
        group_key TEXT NOT NULL,
        receiver TEXT NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (group_key, receiver)
    ) WITHOUT ROWID;
    CREATE TABLE outbox (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        created_at_ms INTEGER NOT NULL,
        group_key TEXT NOT NULL,
        alertname TEXT NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('firing', 'resolved')),
        receiver TEXT NOT NULL,
        integration INTEGER NOT NULL,
        part INTEGER NOT NULL,
        kind TEXT NOT NULL,
        payload TEXT NOT NULL,
        dedup_key TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('pending', 'sending', 'sent', 'failed', 'dropped')),
        attempts INTEGER NOT NULL DEFAULT 0,
        next_at_ms INTEGER NOT NULL,
        lease_until_ms INTEGER,
        sent_at_ms INTEGER,
        last_error TEXT,
        CHECK ((state = 'sending') = (lease_until_ms IS NOT NULL)),
        CHECK ((state = 'sent') = (sent_at_ms IS NOT NULL))
    );
    CREATE INDEX outbox_open ON outbox (group_key, receiver, integration, part, id)
        WHERE state IN ('pending', 'sending');
    CREATE INDEX outbox_closed ON outbox (created_at_ms)
        WHERE state IN ('sent', 'failed', 'dropped');
",
    "
    CREATE INDEX outbox_open_by_id ON outbox (id) WHERE state IN ('pending', 'sending');
",
    "
    CREATE TABLE rule_groups (
        language TEXT NOT NULL CHECK (language IN ('promql', 'logql')),
        namespace TEXT NOT NULL,
        name TEXT NOT NULL,
        body TEXT NOT NULL,
        written_at_ms INTEGER NOT NULL,
        PRIMARY KEY (language, namespace, name)
    ) WITHOUT ROWID;
",
];

/// Kilobytes of page cache; the ledger is small and read seldom.
const CACHE_KIB: i64 = 256;

/// Durability first, memory second.
pub(crate) fn configure(connection: &Connection) -> Result<(), LedgerError> {
    let set = |name: &str, value: &dyn rusqlite::ToSql| {
        connection.pragma_update(None, name, value).map_err(sqlite("configure"))
    };
    set("journal_mode", &"WAL")?;
    set("synchronous", &"FULL")?;
    set("foreign_keys", &true)?;
    // A negative size is in KiB.
    set("cache_size", &-CACHE_KIB)?;
    set("mmap_size", &0)?;
    connection.busy_timeout(std::time::Duration::from_secs(5)).map_err(sqlite("configure"))
}

/// Brings the file to the newest version.
pub(crate) fn migrate(connection: &mut Connection, path: &str) -> Result<(), LedgerError> {
    let known = MIGRATIONS.len() as i64;
    let found: i64 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(sqlite("read the version"))?;
    if !(0..=known).contains(&found) {
        return Err(LedgerError::Newer { path: path.to_owned(), found, known });
    }
    for (at, step) in MIGRATIONS.iter().enumerate().skip(found as usize) {
        let tx = connection.transaction().map_err(sqlite("migrate"))?;
        tx.execute_batch(step).map_err(sqlite("migrate"))?;
        tx.pragma_update(None, "user_version", at as i64 + 1).map_err(sqlite("migrate"))?;
        tx.commit().map_err(sqlite("migrate"))?;
    }
    Ok(())
}
