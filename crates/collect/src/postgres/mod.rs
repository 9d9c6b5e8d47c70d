//! PostgreSQL, with postgres_exporter's names.
//!
//! [`PostgresCollector`] keeps one session, and a second one to the database that has the extension
//! `pg_stat_statements` when that is not the first. A session that breaks is opened again at once;
//! a server that is gone makes the target's `up` 0 and leaves `pg_up 0` on the page.
//! Everything is bounded: five seconds for a collection, four for a statement on the server's side,
//! twenty statements in the list of the slowest.
//!
//! The label `server` of postgres_exporter is left out: `instance` says the same.

mod queries;
mod statements;

use crate::collector::{Collected, Collecting, Collector};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use vigie_codec::exposition::{Family, MetricKind, encode_text};
use vigie_config::http_client::Secret;
use vigie_config::scrape::PostgresTarget;
use vigie_net::postgres::{self, Client};

/// The longest a collection may take.
const COLLECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest the server works on one statement of ours.
const STATEMENT_TIMEOUT_MS: u32 = 4_000;
/// How long connecting may take when looking for a server.
const DISCOVER_TIMEOUT: Duration = Duration::from_secs(2);
/// Where Debian's server listens.
const SOCKET_DIRECTORY: &str = "/var/run/postgresql";
const PORT: u16 = 5432;

/// Watches one server. Job `postgresql`.
pub struct PostgresCollector {
    target: PostgresTarget,
    session: Mutex<Session>,
}

/// The open connections, if any.
#[derive(Default)]
struct Session {
    client: Option<Client>,
    statements: statements::Place,
    scrapes: u64,
}

impl PostgresCollector {
    /// A collector for `target`; connects at the first collection.
    pub fn new(target: PostgresTarget) -> PostgresCollector {
        PostgresCollector { target, session: Mutex::new(Session::default()) }
    }

    /// The page that port 9187 serves; it answers when the server does not.
    pub async fn exporter_page(&self) -> String {
        encode_text(&self.read().await.families)
    }

    async fn read(&self) -> Collected {
        let started = Instant::now();
        let mut session = self.session.lock().await;
        session.scrapes += 1;
        let scrapes = session.scrapes;
        let outcome = tokio::time::timeout(COLLECT_TIMEOUT, session.read(&self.target.dsn)).await;
        let (mut families, error) = match outcome {
            Ok(Ok((families, trouble))) => {
                if let Some(trouble) = &trouble {
                    tracing::debug!(instance = %self.target.instance, %trouble, "a statement failed");
                }
                (with_state(families, true, trouble.is_some()), None)
            }
            Ok(Err(what)) => (with_state(Vec::new(), false, true), Some(what)),
            Err(_) => {
                let what = format!("no answer within {} ms", COLLECT_TIMEOUT.as_millis());
                (with_state(Vec::new(), false, true), Some(what))
            }
        };
        if error.is_some() {
            // Whatever state the connections are in, the next collection starts with new ones.
            *session = Session { scrapes, ..Session::default() };
        }
        let took_s = started.elapsed().as_secs_f64();
        let (name, help) = ("pg_exporter_last_scrape_duration_seconds", "How long reading took.");
        families.push(Family::single(name, help, MetricKind::Gauge, took_s));
        let (name, help) = ("pg_exporter_scrapes_total", "Collections so far.");
        families.push(Family::single(name, help, MetricKind::Counter, scrapes as f64));
        Collected { families, error }
    }
}

/// The page where there is no server to be asked: `pg_up 0`.
pub fn page_without_server() -> String {
    encode_text(&with_state(Vec::new(), false, true))
}

fn with_state(mut families: Vec<Family>, up: bool, trouble: bool) -> Vec<Family> {
    for (name, help, yes) in [
        ("pg_up", "Whether the server answers.", up),
        ("pg_exporter_last_scrape_error", "Whether some of it could not be read.", trouble),
    ] {
        families.push(Family::single(name, help, MetricKind::Gauge, f64::from(u8::from(yes))));
    }
    families
}

impl Collector for PostgresCollector {
    fn job(&self) -> &str {
        "postgresql"
    }

    fn instance(&self) -> &str {
        &self.target.instance
    }

    fn interval_ms(&self) -> i64 {
        self.target.interval_ms
    }

    fn collect(&self) -> Collecting<'_> {
        Box::pin(self.read())
    }
}

impl Session {
    /// Everything, or why the server counts as down. The text beside the families says which
    /// statements failed.
    async fn read(&mut self, dsn: &Secret) -> Result<(Vec<Family>, Option<String>), String> {
        if self.client.as_ref().is_none_or(|client| client.is_closed()) {
            self.client = Some(open(dsn, None).await?);
        }
        let mut result = self.read_once(dsn).await;
        if result.is_err() && self.client.as_ref().is_some_and(|client| client.is_closed()) {
            // A restarted server has closed our session; that is no outage.
            self.client = Some(open(dsn, None).await?);
            self.statements = statements::Place::default();
            result = self.read_once(dsn).await;
        }
        result
    }

    async fn read_once(&mut self, dsn: &Secret) -> Result<(Vec<Family>, Option<String>), String> {
        let Some(client) = &self.client else { return Err("no session".to_owned()) };
        let (mut families, mut trouble) = queries::read_all(client).await?;
        match self.statements.read(client, dsn).await {
            Ok(more) => families.extend(more),
            Err(what) => {
                trouble.get_or_insert(what);
            }
        }
        Ok((families, trouble))
    }
}

/// A session in which no statement of ours can run for long.
async fn open(dsn: &Secret, database: Option<&str>) -> Result<Client, String> {
    let opened = match database {
        None => postgres::connect(dsn, COLLECT_TIMEOUT).await,
        Some(database) => postgres::connect_database(dsn, database, COLLECT_TIMEOUT).await,
    };
    let client = opened.map_err(|error| error.to_string())?;
    let settings = format!("SET statement_timeout = {STATEMENT_TIMEOUT_MS}");
    client.batch_execute(&settings).await.map_err(|error| postgres::describe(&error))?;
    Ok(client)
}

/// Looks for a server that lets us in where Debian's packages put it: the socket first, then TCP.
///
/// `None` when there is none or when it refuses every user tried; a refusal is said in the log once,
/// because then a person has to give `DATA_SOURCE_NAME`. Call it again now and then: a server that
/// starts later is found later.
pub async fn discover() -> Option<PostgresTarget> {
    discover_at(SOCKET_DIRECTORY, PORT).await
}

/// Like [`discover`], for a server with another socket directory and port.
pub async fn discover_at(directory: &str, port: u16) -> Option<PostgresTarget> {
    static SAID: AtomicBool = AtomicBool::new(false);
    let socket = format!("{directory}/.s.PGSQL.{port}");
    let mut places = Vec::new();
    if std::path::Path::new(&socket).exists() {
        places.push((format!("host={directory} port={port}"), socket));
    }
    let address = format!("127.0.0.1:{port}");
    if vigie_net::tcp_answers(&address, DISCOVER_TIMEOUT).await {
        places.push((format!("host=127.0.0.1 port={port}"), address));
    }
    for (host, instance) in places {
        let mut refusals = Vec::new();
        for user in users() {
            let dsn = Secret::new(format!("{host} user={user} dbname=postgres sslmode=disable"));
            match postgres::connect(&dsn, DISCOVER_TIMEOUT).await {
                Ok(_) => {
                    let interval_ms = crate::collector::INTERVAL_MS;
                    return Some(PostgresTarget { dsn, instance, interval_ms });
                }
                Err(error) => refusals.push(error.to_string()),
            }
        }
        if !SAID.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "PostgreSQL is here but lets none of the usual users in ({}); \
                 set DATA_SOURCE_NAME to watch it",
                refusals.join("; ")
            );
        }
    }
    None
}

/// The users worth trying: the one asked for, the one we run as, the administrator.
fn users() -> Vec<String> {
    let mut users = Vec::new();
    users.extend(std::env::var("PGUSER").ok().filter(|user| is_plain(user)));
    let uid = rustix::process::geteuid().as_raw().to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let own = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    });
    users.extend(own);
    users.push("postgres".to_owned());
    let mut seen = std::collections::HashSet::new();
    users.retain(|user| seen.insert(user.clone()));
    users
}

/// Whether `user` needs no quoting in a connection string.
fn is_plain(user: &str) -> bool {
    !user.is_empty() && user.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
}
