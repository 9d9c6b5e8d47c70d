//! Rule groups that clients sent: rows in, rows out.

use crate::{Ledger, LedgerError, Tx, sqlite};
use rusqlite::{Row, params};

/// A rule group, as a client sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleGroupRow {
    /// `promql` or `logql`.
    pub language: String,
    /// What Loki calls a namespace: a file's name elsewhere.
    pub namespace: String,
    /// The group's name.
    pub name: String,
    /// The YAML text.
    pub body: String,
    /// When it was sent.
    pub written_at_ms: i64,
}

impl Tx<'_> {
    /// Writes a group over the one of its name.
    pub fn put_rule_group(&self, row: &RuleGroupRow) -> Result<(), LedgerError> {
        self.inner
            .execute(
                "INSERT OR REPLACE INTO rule_groups (language, namespace, name, body, written_at_ms)
                 VALUES (?, ?, ?, ?, ?)",
                params![row.language, row.namespace, row.name, row.body, row.written_at_ms],
            )
            .map_err(sqlite("write a rule group"))?;
        Ok(())
    }

    /// Removes a group.
    pub fn delete_rule_group(
        &self,
        language: &str,
        namespace: &str,
        name: &str,
    ) -> Result<(), LedgerError> {
        self.inner
            .execute(
                "DELETE FROM rule_groups WHERE language = ? AND namespace = ? AND name = ?",
                params![language, namespace, name],
            )
            .map_err(sqlite("delete a rule group"))?;
        Ok(())
    }
}

impl Ledger {
    /// All groups, in order of language, namespace and name.
    pub fn rule_groups(&self) -> Result<Vec<RuleGroupRow>, LedgerError> {
        let connection = self.connection.lock();
        let read = |row: &Row<'_>| {
            Ok(RuleGroupRow {
                language: row.get(0)?,
                namespace: row.get(1)?,
                name: row.get(2)?,
                body: row.get(3)?,
                written_at_ms: row.get(4)?,
            })
        };
        connection
            .prepare(
                "SELECT language, namespace, name, body, written_at_ms FROM rule_groups
                 ORDER BY language, namespace, name",
            )
            .and_then(|mut statement| statement.query_map([], read)?.collect())
            .map_err(sqlite("read rule groups"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(namespace: &str, name: &str, body: &str) -> RuleGroupRow {
        RuleGroupRow {
            language: "logql".to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            body: body.to_owned(),
            written_at_ms: 7,
        }
    }

    #[test]
    fn groups_are_replaced_by_name_and_outlive_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.sqlite");
        {
            let ledger = Ledger::open(&path).unwrap();
            let write = |rows: &[RuleGroupRow]| {
                ledger.transaction(|tx| rows.iter().try_for_each(|row| tx.put_rule_group(row)))
            };
            write(&[row("b", "x", "1"), row("a", "y", "2"), row("a", "x", "3")]).unwrap();
            write(&[row("a", "x", "4")]).unwrap();
            ledger.transaction(|tx| tx.delete_rule_group("logql", "b", "x")).unwrap();
        }
        let ledger = Ledger::open(&path).unwrap();
        assert_eq!(ledger.rule_groups().unwrap(), [row("a", "x", "4"), row("a", "y", "2")]);
    }

    #[test]
    fn a_ledger_of_version_two_gets_the_table_and_keeps_its_rows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.sqlite");
        let old = rusqlite::Connection::open(&path).unwrap();
        old.execute_batch(include_str!("../fixtures/version-2.sql")).unwrap();
        drop(old);
        let ledger = Ledger::open(&path).unwrap();
        assert_eq!(ledger.alerts().unwrap()[0].rule_key, "rules.yml;g;alert;API Down;0");
        assert_eq!(ledger.recent(10).unwrap().len(), 1);
        ledger.transaction(|tx| tx.put_rule_group(&row("a", "x", ""))).unwrap();
        assert_eq!(ledger.rule_groups().unwrap().len(), 1);
    }
}
