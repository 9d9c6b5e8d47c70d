//! Outgoing connections: the only crate of Vigie that opens one.
//!
//! Everything that talks to somebody else (scrapes, receivers of notifications, PostgreSQL) does it
//! through this crate, so that limits, deadlines and the treatment of secrets stand in one place.
//! Three rules hold everywhere here:
//! * every request has a deadline and a largest body, both given by the caller;
//! * an error names the host and what went wrong, and never a path, a header value or a password:
//!   the URL of a webhook is itself a secret;
//! * credentials go to the host they were configured for and are dropped when a redirect leaves it.
//!
//! [`http`] is the HTTP/1.1 client, [`postgres`] connects to PostgreSQL.

#![forbid(unsafe_code)]

mod base64;
pub mod http;
pub mod postgres;
mod tls;

pub use crate::base64::encode as base64;
pub use crate::http::{HttpClient, Request, Response};
pub use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
pub use bytes::Bytes;

use std::time::Duration;

/// Why a connection or a request came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// The URL cannot be used.
    #[error("invalid URL for host {host:?}: {what}")]
    BadUrl {
        /// The host, as far as it could be read.
        host: String,
        /// What is wrong with it.
        what: String,
    },
    /// A header cannot be sent.
    #[error("{host}: the header {name:?} cannot be sent: its name or value has a forbidden byte")]
    BadHeader {
        /// The host.
        host: String,
        /// The header's name; its value may be a secret.
        name: String,
    },
    /// The certificate authority given in the configuration cannot be read.
    #[error("{host}: tls_config.ca: {what}")]
    BadCa {
        /// The host.
        host: String,
        /// What is wrong with the PEM text.
        what: String,
    },
    /// Nothing listens there.
    #[error("dial tcp {host}: connect: connection refused")]
    Refused {
        /// The host and port.
        host: String,
    },
    /// The connection could not be made for another reason (name resolution, routing).
    #[error("dial tcp {host}: {what}")]
    Connect {
        /// The host and port.
        host: String,
        /// The system's words.
        what: String,
    },
    /// The answer did not come in time.
    #[error("{host}: no answer within {timeout_ms} ms")]
    Timeout {
        /// The host and port.
        host: String,
        /// The deadline that passed.
        timeout_ms: u64,
    },
    /// The TLS handshake failed.
    #[error("{host}: tls: {what}")]
    Tls {
        /// The host and port.
        host: String,
        /// The library's words.
        what: String,
    },
    /// The answer is longer than the caller accepts.
    #[error("{host}: the answer is longer than {bytes_max} bytes")]
    BodyTooLarge {
        /// The host and port.
        host: String,
        /// The limit.
        bytes_max: usize,
        /// The answer's status code.
        status: u16,
    },
    /// The redirects do not end.
    #[error("{host}: stopped after {redirects_max} redirects")]
    Redirects {
        /// The host the request was meant for.
        host: String,
        /// The limit.
        redirects_max: usize,
    },
    /// The connection broke, or what came back is not HTTP.
    #[error("{host}: {what}")]
    Broken {
        /// The host and port.
        host: String,
        /// The library's words.
        what: String,
    },
    /// PostgreSQL could not be reached or refused the session.
    #[error("PostgreSQL at {instance}: {what}")]
    Postgres {
        /// Host and port, or the socket's directory.
        instance: String,
        /// What it said.
        what: String,
    },
}

/// Whether something accepts a TCP connection at `address` (`host:port`) within the time given.
pub async fn tcp_answers(address: &str, timeout: Duration) -> bool {
    let connect = tokio::net::TcpStream::connect(address);
    matches!(tokio::time::timeout(timeout, connect).await, Ok(Ok(_)))
}
