//! What the scenarios share: a running Vigie, plain HTTP, a fake receiver, a private PostgreSQL.
//!
//! A scenario starts the release binary named by `VIGIE_BIN` (set by `cargo xtask test`) with real
//! parts beside it, on free loopback ports, in a folder of its own. Everything that a scenario
//! starts ends with it, by its process id. Waiting is polling with a deadline, never a sleep of a
//! guessed length.

#![forbid(unsafe_code)]

pub mod alike;
pub mod demo;
pub mod http;
pub mod peer;
pub mod postgres;
pub mod push;
pub mod queries;
pub mod receiver;
pub mod tail;
pub mod vigie;

use std::net::TcpListener;
use std::time::{Duration, Instant};

pub use http::{Answer, get, post};
pub use receiver::Receiver;
pub use vigie::Vigie;

/// A loopback port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has free ports");
    listener.local_addr().expect("a bound listener has an address").port()
}

/// Asks again and again until there is an answer.
///
/// # Panics
/// When `timeout_s` seconds have passed, with `what`.
pub fn wait_for<T>(what: &str, timeout_s: u64, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(timeout_s);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{timeout_s} s have passed without: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Nanoseconds since the epoch, as Loki's push wants them.
pub fn now_ns() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
