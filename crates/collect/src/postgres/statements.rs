//! `pg_stat_statements`: the slowest statements, wherever the extension is installed.

use super::open;
use super::queries::rows;
use std::time::{Duration, Instant};
use vigie_codec::exposition::{Family, MetricKind};
use vigie_config::http_client::Secret;
use vigie_net::postgres::{Client, SimpleQueryRow};

/// How many statements are shown, the slowest by their mean.
const STATEMENTS_MAX: usize = 20;
/// Characters of a statement's text.
const QUERY_CHARS_MAX: usize = 120;
/// Databases in which the extension is looked for.
const DATABASES_MAX: usize = 8;
/// How long it is believed to be nowhere.
const LOOK_AGAIN: Duration = Duration::from_secs(300);

/// Where the extension is.
#[derive(Default)]
pub(super) enum Place {
    /// Not looked for yet.
    #[default]
    Unknown,
    /// In the database of the first session, in this schema.
    Here(String),
    /// In another database, in this schema.
    Elsewhere(Box<Client>, String),
    /// Nowhere, when it was last looked for.
    Nowhere(Instant),
}

const EXTENSION: &str = "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n \
    ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements'";

impl Place {
    /// The families of the slowest statements; none where the extension is not installed.
    pub(super) async fn read(
        &mut self,
        first: &Client,
        dsn: &Secret,
    ) -> Result<Vec<Family>, String> {
        let stale = match self {
            Place::Unknown => true,
            Place::Nowhere(since) => since.elapsed() > LOOK_AGAIN,
            Place::Elsewhere(client, _) => client.is_closed(),
            Place::Here(_) => false,
        };
        if stale {
            *self = find(first, dsn).await?;
        }
        let (client, schema) = match self {
            Place::Here(schema) => (first, schema),
            Place::Elsewhere(client, schema) => (&**client, schema),
            Place::Unknown | Place::Nowhere(_) => return Ok(Vec::new()),
        };
        match rows(client, &slowest(client, schema).await?).await {
            Ok(rows) => Ok(families(&rows)),
            Err(what) => {
                // Dropped, or moved: look for it anew.
                *self = Place::Unknown;
                Err(format!("pg_stat_statements: {what}"))
            }
        }
    }
}

async fn find(first: &Client, dsn: &Secret) -> Result<Place, String> {
    if let Some(schema) = schema(first).await? {
        return Ok(Place::Here(schema));
    }
    let others = format!(
        "SELECT datname FROM pg_database WHERE datallowconn AND datname <> current_database() \
         AND datname <> 'template1' AND has_database_privilege(oid, 'CONNECT') \
         ORDER BY oid LIMIT {DATABASES_MAX}"
    );
    for row in rows(first, &others).await? {
        let Some(database) = row.get(0) else { continue };
        // A database that refuses us is no reason to give up on the others.
        let Ok(client) = open(dsn, Some(database)).await else { continue };
        if let Some(schema) = schema(&client).await? {
            return Ok(Place::Elsewhere(Box::new(client), schema));
        }
    }
    Ok(Place::Nowhere(Instant::now()))
}

async fn schema(client: &Client) -> Result<Option<String>, String> {
    let found = rows(client, EXTENSION).await?;
    Ok(found.first().and_then(|row| row.get(0)).map(str::to_owned))
}

async fn slowest(client: &Client, schema: &str) -> Result<String, String> {
    let version = rows(client, "SHOW server_version_num").await?;
    let version = version.first().and_then(|row| row.get(0)?.parse::<u32>().ok()).unwrap_or(0);
    let time = if version >= 130_000 { "total_exec_time" } else { "total_time" };
    let schema = schema.replace('"', "\"\"");
    Ok(format!(
        "SELECT d.datname, pg_get_userbyid(s.userid), s.queryid, left(min(s.query), 4096), \
         sum(s.calls), sum(s.{time}) / 1000, sum(s.{time}) / greatest(sum(s.calls), 1) / 1000 \
         AS mean, sum(s.rows) FROM \"{schema}\".pg_stat_statements s \
         JOIN pg_database d ON d.oid = s.dbid WHERE s.calls > 0 \
         GROUP BY d.datname, s.userid, s.queryid ORDER BY mean DESC LIMIT {STATEMENTS_MAX}"
    ))
}

fn families(rows: &[SimpleQueryRow]) -> Vec<Family> {
    let (counter, gauge) = (MetricKind::Counter, MetricKind::Gauge);
    let mut families = vec![
        Family::new("pg_stat_statements_calls_total", "Times it ran.", counter),
        Family::new("pg_stat_statements_seconds_total", "Seconds it ran in all.", counter),
        Family::new("pg_stat_statements_mean_seconds", "Seconds it runs on average.", gauge),
        Family::new("pg_stat_statements_rows_total", "Rows it gave or changed.", counter),
    ];
    for row in rows {
        let query = readable(row.get(3).unwrap_or(""));
        let labels = [
            ("datname", row.get(0).unwrap_or("")),
            ("user", row.get(1).unwrap_or("")),
            ("queryid", row.get(2).unwrap_or("")),
            ("query", &*query),
        ];
        for (at, family) in families.iter_mut().enumerate() {
            if let Some(value) = row.get(4 + at).and_then(|text| text.parse().ok()) {
                family.push(&labels, value);
            }
        }
    }
    families
}

/// A statement as a label: one line, cut, and without what stands in quotes. PostgreSQL replaces
/// constants in queries, but not in utility statements, and those may hold a password.
fn readable(query: &str) -> String {
    let mut text = String::with_capacity(query.len().min(4 * QUERY_CHARS_MAX));
    let mut parts = query.split('\'');
    text.push_str(parts.next().unwrap_or(""));
    while let Some(_hidden) = parts.next() {
        text.push_str("'?'");
        text.push_str(parts.next().unwrap_or(""));
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(QUERY_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::readable;

    #[test]
    fn a_statement_is_one_line_cut_and_without_secrets() {
        for (query, wanted) in [
            ("SELECT  1\n\tFROM x", "SELECT 1 FROM x"),
            ("ALTER ROLE a PASSWORD 'hunter2'", "ALTER ROLE a PASSWORD '?'"),
            ("SELECT 'a', 'it''s' FROM x", "SELECT '?', '?''?' FROM x"),
            ("SELECT 'open", "SELECT '?'"),
        ] {
            assert_eq!(readable(query), wanted);
        }
        assert_eq!(readable(&"é".repeat(500)).chars().count(), 121);
    }
}
