//! What must not be forgotten: alert states, groups, the outbox and the rules that came by API, in
//! one SQLite file.
//!
//! [`Ledger::transaction`] hands out a [`Tx`]; what is written through it is on disk, whole, when
//! the call returns, or not at all. A message to a receiver exists as a row of the outbox before
//! anything is sent; [`Ledger::lease_due`] lends rows to workers and
//! [`Ledger::mark_sent`] and [`Ledger::mark_failed`] take their answers.
//! The format is described in `docs/formats/ledger.md`.
//!
//! Invariants: one process has the file open (a lock beside it says so); rows of one target are
//! lent in the order in which they were written, one at a time.

#![forbid(unsafe_code)]

mod outbox;
mod rule_groups;
mod schema;
mod states;

pub use outbox::{MessageState, NewMessage, OutboxRow, OutboxTotals, WAIT_MS_MAX};
pub use rule_groups::RuleGroupRow;
pub use states::{AlertRow, GroupRow};

use parking_lot::Mutex;
use rusqlite::Connection;
use std::fs::File;
use std::path::Path;

/// Why the ledger did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// Another process has it open.
    #[error(
        "{0}: another Vigie is running on this storage directory; stop it or choose another --storage.path"
    )]
    Locked(String),
    /// It was written by a newer program.
    #[error(
        "{path}: format {found} is newer than this Vigie knows ({known}); run the newer Vigie, or restore a backup"
    )]
    Newer {
        /// The file.
        path: String,
        /// The version in the file.
        found: i64,
        /// The newest version known.
        known: i64,
    },
    /// The file is not a ledger, or not a whole one.
    #[error(
        "{path}: the file is damaged ({source}); move it away and start Vigie again: what fires is then told again, and only the list of past messages is lost"
    )]
    Damaged {
        /// The file.
        path: String,
        /// SQLite's words.
        source: rusqlite::Error,
    },
    /// SQLite refused.
    #[error("{what}: {source}{}", advice(source))]
    Sqlite {
        /// What was being done.
        what: String,
        /// SQLite's words.
        source: rusqlite::Error,
    },
    /// The operating system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// The system's words.
        source: std::io::Error,
    },
    /// A row holds what this program never wrote.
    #[error("ledger, table {table}: {reason}; restore a backup or delete the row")]
    Corrupt {
        /// Where.
        table: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// What a person can do about it.
fn advice(error: &rusqlite::Error) -> &'static str {
    use rusqlite::ErrorCode::*;
    match error.sqlite_error_code() {
        Some(DiskFull) => "; the disk is full: make room, nothing is lost meanwhile",
        Some(DatabaseBusy | DatabaseLocked) => {
            "; another program has the file open: end it (sqlite3, a backup)"
        }
        Some(ReadOnly | CannotOpen | PermissionDenied) => {
            "; the storage directory must be writable for the user that Vigie runs as"
        }
        Some(DatabaseCorrupt | NotADatabase) => {
            "; the file is damaged: stop Vigie, move ledger.sqlite away and start it again"
        }
        _ => "",
    }
}

pub(crate) fn sqlite(what: &str) -> impl Fn(rusqlite::Error) -> LedgerError + '_ {
    move |source| LedgerError::Sqlite { what: format!("ledger, {what}"), source }
}

/// The open file.
pub struct Ledger {
    connection: Mutex<Connection>,
    /// Held for as long as the ledger is open.
    _lock: Option<File>,
}

impl Ledger {
    /// Opens or creates the file, and releases the leases of whoever had it open before.
    pub fn open(path: &Path) -> Result<Ledger, LedgerError> {
        let name = path.display().to_string();
        let lock_path = path.with_extension("sqlite.lock");
        let io = |source| LedgerError::Io { path: lock_path.display().to_string(), source };
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(io)?;
        if let Err(error) = lock.try_lock() {
            return Err(match error {
                std::fs::TryLockError::WouldBlock => LedgerError::Locked(name),
                std::fs::TryLockError::Error(source) => io(source),
            });
        }
        let connection = Connection::open(path).map_err(sqlite("open"))?;
        Ledger::prepare(connection, Some(lock), &name).map_err(|error| {
            use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
            match error {
                LedgerError::Sqlite { source, .. }
                    if matches!(
                        source.sqlite_error_code(),
                        Some(DatabaseCorrupt | NotADatabase)
                    ) =>
                {
                    LedgerError::Damaged { path: name, source }
                }
                other => other,
            }
        })
    }

    /// A ledger that lives as long as the value does, for tests and simulations.
    pub fn in_memory() -> Result<Ledger, LedgerError> {
        let connection = Connection::open_in_memory().map_err(sqlite("open"))?;
        Ledger::prepare(connection, None, ":memory:")
    }

    fn prepare(
        mut connection: Connection,
        lock: Option<File>,
        name: &str,
    ) -> Result<Ledger, LedgerError> {
        schema::configure(&connection)?;
        schema::migrate(&mut connection, name)?;
        let ledger = Ledger { connection: Mutex::new(connection), _lock: lock };
        ledger.release_leases()?;
        Ok(ledger)
    }

    /// Runs `work` in one transaction, which is durable when this returns `Ok` and has left no
    /// trace when it returns `Err`.
    pub fn transaction<T, E: From<LedgerError>>(
        &self,
        work: impl FnOnce(&Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut connection = self.connection.lock();
        let inner = connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(sqlite("begin"))?;
        let tx = Tx { inner };
        let value = work(&tx)?;
        tx.inner.commit().map_err(sqlite("commit"))?;
        Ok(value)
    }
}

/// A transaction under way; dropped without commit, it leaves no trace.
pub struct Tx<'a> {
    inner: rusqlite::Transaction<'a>,
}

#[cfg(test)]
mod tests;
