//! The scrape manager: a task per target, a row per scrape.
//!
//! [`Collect::start`] turns jobs into targets and gives each a task that fetches at its own offset
//! inside the interval. What came back goes through the target's memory of its last scrape, which
//! writes one row: the samples, stale markers for series that are gone, and `up` with its
//! companions. Our own collectors take the same way.
//!
//! Invariants: a target's scrapes never overlap; what a target scraped is in the store in the order
//! of its timestamps; a series that vanishes, a scrape that fails and a target that is removed leave
//! stale markers, a shutdown leaves none, as in Prometheus.

mod cache;
mod fetch;
mod manager;
mod rows;
mod said;
mod seen;
mod target;
mod task;
#[cfg(test)]
mod testing;

pub use manager::{Collect, CollectHandle, Options};
pub use said::{Said, SaidFamily};

#[cfg(test)]
use testing::testing_job;
use vigie_model::Labels;

/// What the list of targets says about one of them.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetStatus {
    /// The target's labels, as its series carry them.
    pub labels: Labels,
    /// The labels before relabelling.
    pub discovered_labels: Labels,
    /// The job's name in the configuration.
    pub scrape_pool: String,
    /// Where it is scraped; for a built-in collector a name of the form `vigie:node`.
    pub scrape_url: String,
    /// When the last scrape started, in milliseconds since the epoch; 0 before the first.
    pub last_scrape_ms: i64,
    /// How long it took, in milliseconds.
    pub last_duration_ms: f64,
    /// What went wrong in it, empty when nothing did.
    pub last_error: String,
    /// How it went.
    pub health: Health,
    /// Milliseconds between scrapes.
    pub interval_ms: i64,
    /// Milliseconds before a scrape is given up.
    pub timeout_ms: i64,
}

/// How the last scrape went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Not scraped yet.
    Unknown,
    /// It answered.
    Up,
    /// It did not, or what it said could not be read.
    Down,
}

impl Health {
    /// Prometheus' word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Unknown => "unknown",
            Health::Up => "up",
            Health::Down => "down",
        }
    }
}

/// The clock, as metrics want it.
pub(crate) fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
