//! What is asked of the server, and how rows become families.
//!
//! Statements use the simple protocol, so every value comes as text and a new column of a later
//! PostgreSQL cannot break the decoding.

use vigie_codec::exposition::{Family, MetricKind};
use vigie_net::postgres::{Client, SimpleQueryMessage, SimpleQueryRow, describe};

/// A statement whose rows are labels followed by values.
struct Query {
    sql: &'static str,
    /// The first columns, which are labels.
    labels: &'static [&'static str],
    /// Metric, help and kind of each column after them.
    values: &'static [(&'static str, &'static str, MetricKind)],
}

const QUERIES: [Query; 6] = [
    Query {
        sql: "SELECT d.datname, s.state, coalesce(a.sessions, 0), coalesce(a.oldest, 0) \
              FROM pg_database d CROSS JOIN (VALUES ('active'), ('idle'), ('idle in transaction'), \
              ('idle in transaction (aborted)'), ('fastpath function call'), ('disabled')) s(state) \
              LEFT JOIN (SELECT datname, state, count(*) AS sessions, \
              max(extract(epoch FROM now() - xact_start)) AS oldest \
              FROM pg_stat_activity GROUP BY datname, state) a \
              ON a.datname = d.datname AND a.state = s.state",
        labels: &["datname", "state"],
        values: &[
            ("pg_stat_activity_count", "Sessions in each state.", MetricKind::Gauge),
            (
                "pg_stat_activity_max_tx_duration",
                "Seconds since the oldest transaction began.",
                MetricKind::Gauge,
            ),
        ],
    },
    Query {
        sql: "SELECT datname, pg_database_size(oid) FROM pg_database \
              WHERE has_database_privilege(oid, 'CONNECT')",
        labels: &["datname"],
        values: &[("pg_database_size_bytes", "Bytes on disk.", MetricKind::Gauge)],
    },
    Query {
        sql: "SELECT d.datname, lower(m.mode), coalesce(l.held, 0) \
              FROM pg_database d CROSS JOIN (VALUES ('AccessShareLock'), ('RowShareLock'), \
              ('RowExclusiveLock'), ('ShareUpdateExclusiveLock'), ('ShareLock'), \
              ('ShareRowExclusiveLock'), ('ExclusiveLock'), ('AccessExclusiveLock'), \
              ('SIReadLock')) m(mode) LEFT JOIN (SELECT database, mode, count(*) AS held \
              FROM pg_locks WHERE database IS NOT NULL GROUP BY database, mode) l \
              ON l.database = d.oid AND l.mode = m.mode",
        labels: &["datname", "mode"],
        values: &[("pg_locks_count", "Locks held or waited for.", MetricKind::Gauge)],
    },
    Query {
        sql: "SELECT extract(epoch FROM pg_postmaster_start_time()), \
              CASE WHEN pg_is_in_recovery() THEN 1 ELSE 0 END, \
              CASE WHEN pg_is_in_recovery() THEN greatest(0, \
              extract(epoch FROM now() - pg_last_xact_replay_timestamp())) ELSE 0 END",
        labels: &[],
        values: &[
            (
                "pg_postmaster_start_time_seconds",
                "When the server started, Unix time.",
                MetricKind::Gauge,
            ),
            ("pg_replication_is_replica", "Whether it replays another's log.", MetricKind::Gauge),
            ("pg_replication_lag", "Seconds a replica is behind.", MetricKind::Gauge),
        ],
    },
    Query {
        sql: "SELECT archived_count, failed_count, \
              extract(epoch FROM now() - last_archived_time) FROM pg_stat_archiver",
        labels: &[],
        values: &[
            ("pg_stat_archiver_archived_count", "Log files archived.", MetricKind::Counter),
            ("pg_stat_archiver_failed_count", "Failures to archive.", MetricKind::Counter),
            (
                "pg_stat_archiver_last_archive_age",
                "Seconds since the last log file was archived.",
                MetricKind::Gauge,
            ),
        ],
    },
    Query {
        sql: "SELECT substring(current_setting('server_version') FROM '^[0-9.]+') || '.0', \
              version(), 1",
        labels: &["short_version", "version"],
        values: &[("pg_static", "The server's version.", MetricKind::Unknown)],
    },
];

/// The settings that dashboards divide by or warn about; hundreds of constants are not read.
const SETTINGS: &str = "SELECT name, unit, CASE setting WHEN 'on' THEN '1' WHEN 'off' THEN '0' \
    ELSE setting END FROM pg_settings WHERE name IN ('max_connections', \
    'superuser_reserved_connections', 'shared_buffers', 'effective_cache_size', 'work_mem', \
    'maintenance_work_mem', 'wal_buffers', 'max_wal_size', 'max_worker_processes', \
    'max_parallel_workers', 'random_page_cost', 'autovacuum', 'fsync', \
    'checkpoint_timeout', 'max_locks_per_transaction', 'seq_page_cost', 'server_version_num', \
    'autovacuum_max_workers', 'autovacuum_freeze_max_age', 'max_wal_senders', \
    'max_replication_slots', 'max_prepared_transactions', 'min_wal_size', 'track_io_timing', \
    'statement_timeout', 'idle_in_transaction_session_timeout', 'log_min_duration_statement', \
    'full_page_writes', 'ssl')";

/// Views of which every number is wanted, with the metric's prefix and suffix.
const VIEWS: [(&str, &str, &str); 3] = [
    (
        "SELECT *, extract(epoch FROM stats_reset) AS stats_reset FROM pg_stat_database",
        "pg_stat_database_",
        "",
    ),
    ("SELECT * FROM pg_stat_database_conflicts", "pg_stat_database_conflicts_", ""),
    (
        "SELECT *, extract(epoch FROM stats_reset) AS stats_reset FROM pg_stat_bgwriter",
        "pg_stat_bgwriter_",
        "_total",
    ),
];

/// Reads everything but the statements. An error means that the session is gone; a statement that
/// fails alone is told beside the families.
pub(super) async fn read_all(client: &Client) -> Result<(Vec<Family>, Option<String>), String> {
    let (mut families, mut trouble) = (Vec::new(), None);
    for query in &QUERIES {
        match rows(client, query.sql).await {
            Ok(rows) => families.extend(listed(query, &rows)),
            Err(what) => note(client, what, &mut trouble)?,
        }
    }
    for (sql, prefix, suffix) in VIEWS {
        match rows(client, sql).await {
            Ok(rows) => families.extend(whole_view(&rows, prefix, suffix)),
            Err(what) => note(client, what, &mut trouble)?,
        }
    }
    match rows(client, SETTINGS).await {
        Ok(rows) => families.extend(rows.iter().filter_map(setting)),
        Err(what) => note(client, what, &mut trouble)?,
    }
    Ok((families, trouble))
}

fn note(client: &Client, what: String, trouble: &mut Option<String>) -> Result<(), String> {
    if client.is_closed() {
        return Err(what);
    }
    trouble.get_or_insert(what);
    Ok(())
}

/// The rows of a statement.
pub(super) async fn rows(client: &Client, sql: &str) -> Result<Vec<SimpleQueryRow>, String> {
    let messages = client.simple_query(sql).await.map_err(|error| describe(&error))?;
    Ok(messages
        .into_iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        })
        .collect())
}

/// What PostgreSQL does not know is a NaN, as in postgres_exporter.
fn value(text: Option<&str>) -> Option<f64> {
    match text {
        None => Some(vigie_model::value::NORMAL_NAN),
        Some(text) => text.parse().ok(),
    }
}

fn listed(query: &Query, rows: &[SimpleQueryRow]) -> Vec<Family> {
    let mut families: Vec<Family> =
        query.values.iter().map(|(name, help, kind)| Family::new(*name, *help, *kind)).collect();
    for row in rows {
        let labels: Vec<(&'static str, &str)> = query
            .labels
            .iter()
            .enumerate()
            .map(|(at, name)| (*name, row.get(at).unwrap_or("")))
            .collect();
        for (at, family) in families.iter_mut().enumerate() {
            if let Some(value) = value(row.get(query.labels.len() + at)) {
                family.push(&labels, value);
            }
        }
    }
    families
}

/// One family per numeric column; `datid` and `datname` are labels where the view has them.
fn whole_view(rows: &[SimpleQueryRow], prefix: &str, suffix: &str) -> Vec<Family> {
    let mut families: Vec<Family> = Vec::new();
    for row in rows {
        let column = |name: &str| {
            row.columns().iter().position(|c| c.name() == name).map(|at| row.get(at).unwrap_or(""))
        };
        let labels: Vec<(&'static str, &str)> =
            ["datid", "datname"].iter().filter_map(|name| Some((*name, column(name)?))).collect();
        for (at, c) in row.columns().iter().enumerate() {
            // The time as text is followed by a column of the same name with seconds.
            let repeated = row.columns()[at + 1..].iter().any(|later| later.name() == c.name());
            if repeated || matches!(c.name(), "datid" | "datname") {
                continue;
            }
            let Some(value) = value(row.get(at)) else { continue };
            let name = format!("{prefix}{}{suffix}", c.name());
            let family = match families.iter().position(|family| family.name == name) {
                Some(at) => &mut families[at],
                None => {
                    let help = format!("{} of {}.", c.name(), prefix.trim_end_matches('_'));
                    families.push(Family::new(name, help, kind_of(c.name())));
                    families.last_mut().expect("just pushed")
                }
            };
            family.push(&labels, value);
        }
    }
    families
}

fn kind_of(column: &str) -> MetricKind {
    match column {
        "numbackends" => MetricKind::Gauge,
        "checksum_failures" | "checksum_last_failure" => MetricKind::Unknown,
        _ => MetricKind::Counter,
    }
}

/// `pg_settings_*`, in bytes and seconds.
fn setting(row: &SimpleQueryRow) -> Option<Family> {
    let (name, number) = (row.get(0)?, value(Some(row.get(2)?))?);
    let (suffix, factor) = match row.get(1).unwrap_or("") {
        "B" => ("_bytes", 1.0),
        "kB" => ("_bytes", 1024.0),
        "8kB" => ("_bytes", 8192.0),
        "MB" => ("_bytes", 1024.0 * 1024.0),
        "ms" => ("_seconds", 0.001),
        "s" => ("_seconds", 1.0),
        "min" => ("_seconds", 60.0),
        _ => ("", 1.0),
    };
    // Minus one means "automatic", not a size.
    let number = if number < 0.0 { number } else { number * factor };
    let help = format!("The setting {name}.");
    Some(Family::single(
        format!("pg_settings_{}{suffix}", name.replace('.', "_")),
        help,
        MetricKind::Gauge,
        number,
    ))
}
