//! PostgreSQL: a small pool of connections, the schema with its first rows, and the queries.
//!
//! A connection is taken for one request and given back when it is dropped; a closed one is thrown
//! away, so that a restart of the database heals by itself. Every query is timed.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, Row};

use crate::metrics::Metrics;

/// How long a request waits for a connection, and for the server to accept one.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

const SCHEMA: &str = include_str!("schema.sql");

/// Why a query gave nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No connection, or it broke: the database is away or has no room.
    Unavailable(String),
    /// The database answered with an error.
    Query(tokio_postgres::Error),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Unavailable(reason) => write!(out, "database unreachable: {reason}"),
            Failure::Query(error) => match error.as_db_error() {
                Some(error) => {
                    write!(out, "database error {}: {}", error.code().code(), error.message())
                }
                None => write!(out, "database error: {error}"),
            },
        }
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(_) => Failure::Query(error),
            None => Failure::Unavailable(error.to_string()),
        }
    }
}

/// Connections, at most as many as its permits.
pub(crate) struct Pool {
    config: Config,
    permits: Semaphore,
    idle: Mutex<Vec<Client>>,
    metrics: Arc<Metrics>,
    /// The runtime that drives connections: it outlives the web server's own threads.
    runtime: Handle,
}

/// A connection on loan.
pub(crate) struct Loan<'a> {
    client: Option<Client>,
    pool: &'a Pool,
    _permit: SemaphorePermit<'a>,
}

impl Pool {
    pub(crate) fn new(
        dsn: &str,
        connections_max: usize,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        let mut config: Config = dsn.parse().context("DATABASE_URL is no PostgreSQL address")?;
        config.application_name("syndic").connect_timeout(CONNECT_TIMEOUT);
        Ok(Pool {
            config,
            permits: Semaphore::new(connections_max),
            idle: Mutex::default(),
            metrics,
            runtime: Handle::current(),
        })
    }

    /// Takes a connection, an idle one if there is one.
    pub(crate) async fn take(&self) -> Result<Loan<'_>, Failure> {
        let waiting = tokio::time::timeout(CONNECT_TIMEOUT, self.permits.acquire());
        let permit = match waiting.await {
            Ok(Ok(permit)) => permit,
            _ => return Err(Failure::Unavailable("all connections are in use".into())),
        };
        let idle = loop {
            let mut idle = self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            match idle.pop() {
                Some(client) if client.is_closed() => {}
                other => break other,
            }
        };
        let client = match idle {
            Some(client) => client,
            None => self.connect().await?,
        };
        self.metrics.connections(1);
        Ok(Loan { client: Some(client), pool: self, _permit: permit })
    }

    async fn connect(&self) -> Result<Client, Failure> {
        let (client, connection) = self.config.connect(NoTls).await.map_err(|error| {
            Failure::Unavailable(error.as_db_error().map_or(error.to_string(), ToString::to_string))
        })?;
        // An error of the connection reaches the queries on it, which report it.
        self.runtime.spawn(async move { connection.await.is_ok() });
        Ok(client)
    }

    /// Creates tables and first rows where they are missing.
    pub(crate) async fn prepare_schema(&self) -> Result<(), Failure> {
        let loan = self.take().await?;
        loan.client().batch_execute(SCHEMA).await?;
        // Only a superuser may: without it the application lacks nothing, its watchers do.
        let extension = "CREATE EXTENSION IF NOT EXISTS pg_stat_statements";
        let _ = loan.client().batch_execute(extension).await;
        Ok(())
    }

    /// Distinct people who signed in during the last day and the last 30 days.
    pub(crate) async fn active_users(&self) -> Result<(i64, i64), Failure> {
        let sql = "SELECT count(DISTINCT user_id) FILTER (WHERE at > now() - interval '1 day'), \
                   count(DISTINCT user_id) FROM sessions WHERE at > now() - interval '30 days'";
        let row = self.take().await?.one(sql, &[]).await?;
        Ok((row.try_get(0)?, row.try_get(1)?))
    }
}

impl Loan<'_> {
    /// All rows of a query.
    pub(crate) async fn all(
        &self,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Failure> {
        let start = Instant::now();
        let rows = self.client().query(sql, values).await;
        self.pool.metrics.query(start.elapsed());
        Ok(rows?)
    }

    /// The first row of a query, if any.
    pub(crate) async fn first(
        &self,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, Failure> {
        Ok(self.all(sql, values).await?.into_iter().next())
    }

    /// The one row of a query that always gives one.
    pub(crate) async fn one(
        &self,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, Failure> {
        let row = self.first(sql, values).await?;
        row.ok_or_else(|| Failure::Unavailable("an answer without rows".into()))
    }

    fn client(&self) -> &Client {
        self.client.as_ref().expect("a loan holds its connection until it is dropped")
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        self.pool.metrics.connections(-1);
        if let Some(client) = self.client.take().filter(|client| !client.is_closed()) {
            self.pool.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(client);
        }
    }
}
