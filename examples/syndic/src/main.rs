//! Syndic: the backend of a condominium, as small as one can be and still be watched like a real
//! one.
//!
//! It is the demonstration's application: Actix-web in front of PostgreSQL, `/metrics` and
//! `/health` as the team's runbook describes them, one JSON line per request, and now and then a
//! slow query, a refused password, an error. `syndic` serves; `syndic load` sends it traffic.
//!
//! Environment: `DATABASE_URL`, `LISTEN` (default `127.0.0.1:8080`), `LOG_FILE` (default: standard
//! output).
#![forbid(unsafe_code)]

mod api;
mod database;
mod journal;
mod load;
mod metrics;
mod random;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use anyhow::{Context, bail};

use crate::database::Pool;
use crate::journal::Journal;
use crate::metrics::Metrics;

/// Threads that answer requests; the machine it is shown on has two processors.
const WORKERS: usize = 2;
/// Connections to PostgreSQL at the same time.
const CONNECTIONS_MAX: usize = 8;
/// How often the number of active users is counted again.
const ACTIVE_USERS_EVERY: Duration = Duration::from_secs(10);
/// How long to wait before asking an unreachable database again.
const DATABASE_RETRY: Duration = Duration::from_secs(1);

const USAGE: &str = "usage: syndic
       syndic load [--url http://127.0.0.1:8080] [--rate REQUESTS_PER_SECOND] [--seed NUMBER]

environment of the server: DATABASE_URL, LISTEN (127.0.0.1:8080), LOG_FILE (standard output)";

/// What every handler can reach.
struct Service {
    pool: Pool,
    metrics: Arc<Metrics>,
    journal: Journal,
    /// The schema is there: until then the application is not healthy.
    ready: AtomicBool,
    /// Yearly reports asked for.
    reports: AtomicU64,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        None => serve().await,
        Some("load") => load::run(load::Options::parse(&arguments[1..])?).await,
        Some("-h" | "--help") => {
            println!("{USAGE}");
            Ok(())
        }
        Some(other) => bail!("unknown command {other:?}\n{USAGE}"),
    }
}

async fn serve() -> anyhow::Result<()> {
    let dsn = std::env::var("DATABASE_URL")
        .context("DATABASE_URL is not set; try postgres://USER:PASSWORD@127.0.0.1/koprogo_db")?;
    let listen = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    let metrics = Arc::new(Metrics::new());
    let service = web::Data::new(Service {
        pool: Pool::new(&dsn, CONNECTIONS_MAX, metrics.clone())?,
        metrics,
        journal: Journal::open(std::env::var_os("LOG_FILE").map(Into::into))?,
        ready: AtomicBool::new(false),
        reports: AtomicU64::new(0),
    });
    // Tried before listening, so that the first answer finds its tables. A database that is away
    // does not keep us from listening: somebody has to say so at `/health`.
    prepare_database(&service).await;
    tokio::spawn(tend_database(service.clone()));
    let shared = service.clone();
    let server = HttpServer::new(move || {
        App::new().app_data(shared.clone()).wrap(from_fn(api::observe)).configure(api::routes)
    })
    .workers(WORKERS)
    .shutdown_timeout(2)
    .bind(&listen)
    .with_context(|| format!("LISTEN={listen}: cannot listen there"))?;
    service
        .journal
        .event("INFO", &format!("syndic {} listens on {listen}", env!("CARGO_PKG_VERSION")));
    server.run().await.context("the server stopped")
}

/// Creates the schema and notes that it is there.
async fn prepare_database(service: &Service) {
    match service.pool.prepare_schema().await {
        Ok(()) => {
            service.ready.store(true, Ordering::Release);
            service.journal.event("INFO", "database is ready");
        }
        Err(error) => {
            service.journal.event("ERROR", &format!("database is not ready: {error}"));
        }
    }
}

/// Creates the schema as soon as the database answers, then keeps the count of active users.
async fn tend_database(service: web::Data<Service>) {
    while !service.ready.load(Ordering::Acquire) {
        tokio::time::sleep(DATABASE_RETRY).await;
        prepare_database(&service).await;
    }
    loop {
        match service.pool.active_users().await {
            Ok((day, month)) => service.metrics.active_users(day, month),
            Err(error) => {
                service.journal.event("ERROR", &format!("active users not counted: {error}"));
            }
        }
        tokio::time::sleep(ACTIVE_USERS_EVERY).await;
    }
}
