//! Built-in collectors, seen as targets.

use std::future::Future;
use std::pin::Pin;
use vigie_codec::exposition::Family;

/// Milliseconds between two collections where a collector does not say otherwise.
pub const INTERVAL_MS: i64 = 15_000;

/// What one collection brought.
#[derive(Clone, Debug, Default)]
pub struct Collected {
    /// The samples; they are stored even when the collection failed.
    pub families: Vec<Family>,
    /// Why the thing that is watched counts as down; `None` when it is up.
    pub error: Option<String>,
}

/// A future that a collector returns.
pub type Collecting<'a> = Pin<Box<dyn Future<Output = Collected> + Send + 'a>>;

/// A source of samples inside the program.
pub trait Collector: Send + Sync {
    /// The label `job`.
    fn job(&self) -> &str;
    /// The label `instance`.
    fn instance(&self) -> &str;
    /// Milliseconds between two collections.
    fn interval_ms(&self) -> i64 {
        INTERVAL_MS
    }
    /// What the list of targets shows as its address.
    fn scrape_url(&self) -> String {
        format!("vigie:{}", self.job())
    }
    /// Reads everything once.
    fn collect(&self) -> Collecting<'_>;
}
