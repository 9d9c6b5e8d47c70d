//! Connections to PostgreSQL, over TCP and unix sockets.
//!
//! TLS is not spoken yet: a connection string that demands it is refused with a sentence saying so,
//! rather than being downgraded silently.

use crate::NetError;
use std::time::Duration;
pub use tokio_postgres::{Client, Error, Row, SimpleQueryMessage, SimpleQueryRow, types};
use tokio_postgres::{
    Config, NoTls,
    config::{Host, SslMode},
};
use vigie_config::http_client::Secret;

/// Opens a session with the server that `dsn` names (a `postgres://` URL or `key=value` pairs).
///
/// The session's driver runs as a task of its own and ends when the client is dropped or the
/// connection breaks; the client's calls then fail, and the caller connects again.
pub async fn connect(dsn: &Secret, timeout: Duration) -> Result<Client, NetError> {
    open(parse(dsn)?, timeout).await
}

/// Like [`connect`], but to another database of the same server.
pub async fn connect_database(
    dsn: &Secret,
    database: &str,
    timeout: Duration,
) -> Result<Client, NetError> {
    let mut config = parse(dsn)?;
    config.dbname(database);
    open(config, timeout).await
}

async fn open(mut config: Config, timeout: Duration) -> Result<Client, NetError> {
    let instance = instance_of(&config);
    config.connect_timeout(timeout).application_name("vigie");
    let attempt = tokio::time::timeout(timeout, config.connect(NoTls)).await;
    let (client, connection) = match attempt {
        Err(_) => {
            let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            return Err(NetError::Timeout { host: instance, timeout_ms });
        }
        Ok(Err(error)) => return Err(NetError::Postgres { instance, what: describe(&error) }),
        Ok(Ok(pair)) => pair,
    };
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%instance, error = %describe(&error), "the PostgreSQL session ended");
        }
    });
    Ok(client)
}

/// The label `instance` of a connection string: `host:port`, or the socket's directory.
pub fn instance(dsn: &Secret) -> Result<String, NetError> {
    Ok(instance_of(&parse(dsn)?))
}

/// An error of PostgreSQL in one line, with the server's own words and SQLSTATE when it gave some.
pub fn describe(error: &Error) -> String {
    match error.as_db_error() {
        Some(server) => {
            format!("{}: {} ({})", server.severity(), server.message(), server.code().code())
        }
        None => {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(error);
            while let Some(inner) = source {
                let inner_text = inner.to_string();
                if !text.contains(&inner_text) {
                    text = format!("{text}: {inner_text}");
                }
                source = inner.source();
            }
            text
        }
    }
}

fn parse(dsn: &Secret) -> Result<Config, NetError> {
    let unusable =
        |what: String| NetError::Postgres { instance: "the configured address".to_owned(), what };
    if dsn.expose().contains("sslmode=verify-") {
        return Err(no_tls("the configured address".to_owned()));
    }
    let config: Config = dsn.expose().parse().map_err(|error: Error| unusable(describe(&error)))?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(unusable("the connection string names no host".to_owned()));
    }
    if config.get_ssl_mode() == SslMode::Require {
        return Err(no_tls(instance_of(&config)));
    }
    Ok(config)
}

fn no_tls(instance: String) -> NetError {
    let what = "the connection string demands TLS, which this collector does not speak yet; \
                use sslmode=disable over loopback or the unix socket"
        .to_owned();
    NetError::Postgres { instance, what }
}

fn instance_of(config: &Config) -> String {
    let port = config.get_ports().first().copied().unwrap_or(5432);
    match config.get_hosts().first() {
        Some(Host::Tcp(host)) => format!("{host}:{port}"),
        Some(Host::Unix(directory)) => directory.display().to_string(),
        None => match config.get_hostaddrs().first() {
            Some(address) => format!("{address}:{port}"),
            None => "unknown".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instance_is_read_from_the_connection_string_and_tls_is_refused() {
        for (dsn, wanted) in [
            ("postgres://u:pw@localhost/db?sslmode=disable", "localhost:5432"),
            ("postgresql://u:pw@10.0.0.1:6000/db", "10.0.0.1:6000"),
            ("host=/var/run/postgresql user=postgres", "/var/run/postgresql"),
        ] {
            assert_eq!(instance(&Secret::new(dsn)).unwrap(), wanted);
        }
        for dsn in [
            "postgres://u:hunter2@h/db?sslmode=require",
            "postgres://u:hunter2@h/db?sslmode=verify-full",
            "user=hunter2",
            "host=h port=hunter2",
        ] {
            let text = instance(&Secret::new(dsn)).expect_err(dsn).to_string();
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_named() {
        let dsn = Secret::new("postgres://u:hunter2@127.0.0.1:1/db?sslmode=disable");
        let text = connect(&dsn, Duration::from_secs(2)).await.map(|_| ()).unwrap_err().to_string();
        assert!(text.contains("127.0.0.1:1") && text.contains("refused"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}
