//! What the configuration says that counts now, how its last reading went, and the way to ask for
//! another.
//!
//! Handlers take [`Loading::now`] once per request, so that an answer never mixes two configurations.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use tokio::sync::{mpsc, oneshot};
use vigie_model::Labels;
use vigie_model::relabel::Rule;

/// What a configuration says, as the handlers need it. Everything here changes when it is read anew.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The configuration of scraping and rules as Prometheus' file, secrets hidden.
    pub config_yaml: String,
    /// The scrape jobs of that file.
    pub jobs: Vec<JobSettings>,
    /// Added to what leaves the machine.
    pub external_labels: Labels,
    /// What becomes of OpenTelemetry's metrics.
    pub otlp: vigie_codec::otlp_metrics::Settings,
}

/// What the file says of a scrape job.
#[derive(Clone, Debug, Default)]
pub struct JobSettings {
    /// Its name.
    pub name: String,
    /// Its part of the file.
    pub yaml: String,
    /// `relabel_configs`.
    pub relabel: Vec<Rule>,
}

/// How the last reading of the configuration went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastReading {
    /// Whether the configuration that was read is the one that counts.
    pub is_successful: bool,
    /// When a reading last went well.
    pub succeeded_at_ms: i64,
}

/// What counts now.
pub struct Loading {
    loaded: RwLock<Arc<Loaded>>,
    last: Mutex<LastReading>,
}

impl Loading {
    /// What the program started with.
    pub fn new(loaded: Loaded, at_ms: i64) -> Loading {
        Loading {
            loaded: RwLock::new(Arc::new(loaded)),
            last: Mutex::new(LastReading { is_successful: true, succeeded_at_ms: at_ms }),
        }
    }

    /// What counts now.
    pub fn now(&self) -> Arc<Loaded> {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on this counts.
    pub fn replace(&self, loaded: Loaded, at_ms: i64) {
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded);
        *self.last() = LastReading { is_successful: true, succeeded_at_ms: at_ms };
    }

    /// What was read is wrong; what counted goes on counting.
    pub fn fail(&self) {
        self.last().is_successful = false;
    }

    /// How the last reading went.
    pub fn last_reading(&self) -> LastReading {
        *self.last()
    }

    fn last(&self) -> MutexGuard<'_, LastReading> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of a request to read the configuration anew: what still needs a restart, a line each,
/// or why nothing has changed.
pub type Reloaded = Result<Vec<String>, String>;

/// Where such requests are taken, one after the other.
pub type ReloadRequests = mpsc::Receiver<oneshot::Sender<Reloaded>>;

/// Asks for the configuration to be read anew.
#[derive(Clone, Debug)]
pub struct Reload(mpsc::Sender<oneshot::Sender<Reloaded>>);

/// Requests that wait while one is served.
const REQUESTS_MAX: usize = 16;

impl Reload {
    /// A way to ask, and where to answer.
    pub fn channel() -> (Reload, ReloadRequests) {
        let (sender, requests) = mpsc::channel(REQUESTS_MAX);
        (Reload(sender), requests)
    }

    /// Asks, and waits for what becomes of it.
    ///
    /// # Errors
    /// Why the configuration is as it was.
    pub async fn ask(&self) -> Reloaded {
        const STOPPING: &str = "Vigie is stopping";
        let (answer, answered) = oneshot::channel();
        self.0.send(answer).await.map_err(|_| STOPPING.to_owned())?;
        answered.await.unwrap_or_else(|_| Err(STOPPING.to_owned()))
    }
}
