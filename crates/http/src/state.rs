//! What every handler can reach, and how it runs work that blocks.

use crate::error::ApiError;
use crate::guard::Hosts;
use crate::loading::{Loading, Reload};
use crate::loki::tail::Hub;
use crate::metadata::Metadata;
use crate::notices::Notices;
use crate::views::{AlertView, RulerView, TargetView};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use vigie_dashboards::Dashboard;
use vigie_engine::{
    About, Detail, Engine, EngineError, QueryError, QueryErrorKind, QueryOptions, Ticket,
};

/// Pushes unpacked and stored at once; more wait their turn with their bodies still packed.
const PUSHES_AT_ONCE_MAX: usize = 4;

/// Shared by all handlers; cloning is one atomic increment.
#[derive(Clone)]
pub struct State(Arc<Shared>);

struct Shared {
    parts: Parts,
    tails: Arc<Hub>,
    queries: Arc<Semaphore>,
    pushes: Arc<Semaphore>,
}

/// What the program hands over when it starts to serve.
pub struct Parts {
    /// Metrics and logs.
    pub engine: Arc<dyn Engine>,
    /// Rules, alerts, notifications.
    pub alerts: Arc<dyn AlertView>,
    /// Loki's ruler.
    pub ruler: Arc<dyn RulerView>,
    /// Targets and collectors.
    pub targets: Arc<dyn TargetView>,
    /// What the operator must know about the server itself.
    pub notices: Arc<Notices>,
    /// What the program was told.
    pub settings: Settings,
    /// What the configuration says.
    pub loading: Arc<Loading>,
    /// How another is asked for.
    pub reload: Reload,
    /// What targets say of their metrics.
    pub metadata: Arc<Metadata>,
    /// The dashboards, in the order they are listed.
    pub dashboards: Vec<Dashboard>,
    /// When the program started.
    pub started_at_ms: i64,
    /// Retention of metrics, as Prometheus writes it.
    pub retention_text: String,
    /// Retention of logs, likewise.
    pub logs_retention_text: String,
    /// Free bytes on the file system of the data directory.
    pub free_bytes: Box<dyn Fn() -> u64 + Send + Sync>,
    /// Whether this is `vigie demo`.
    pub demo: bool,
    /// The names that browsers may ask for.
    pub hosts: Hosts,
    /// Vigie's own metrics as text.
    pub own_metrics: Box<dyn Fn() -> String + Send + Sync>,
}

/// What the program was told when it was started, as the status pages show it.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Every flag and its value, by name.
    pub flags: Vec<(String, String)>,
    /// The address that people use; targets on this machine are shown under its host.
    pub external_url: String,
    /// The port of the main listener.
    pub port: u16,
    /// The working directory.
    pub directory: String,
    /// The machine's name.
    pub host_name: String,
    /// Whether `/api/v1/admin/tsdb/*` answers.
    pub admin_api: bool,
    /// Whether requests to delete lines are refused (Loki's `deletion_mode: disabled`).
    pub log_deletes_refused: bool,
    /// Which experimental parts of PromQL may be used.
    pub language: vigie_promql::Features,
    /// Whether `/api/v1/otlp/v1/metrics` takes anything.
    pub otlp: bool,
    /// Whether `/api/v1/search/*` answers.
    pub search: bool,
    /// Notified by `/-/quit`, when that is allowed; then so is `/-/reload`.
    pub lifecycle: Option<Arc<Notify>>,
}

impl Deref for State {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0.parts
    }
}

impl State {
    /// Shares the parts.
    pub fn new(parts: Parts) -> State {
        let tails = Arc::new(Hub::default());
        parts.engine.observe_logs(tails.clone());
        let queries = Arc::new(Semaphore::new(parts.engine.queries().limits().at_once()));
        State(Arc::new(Shared {
            parts,
            tails,
            queries,
            pushes: Arc::new(Semaphore::new(PUSHES_AT_ONCE_MAX)),
        }))
    }

    /// Everybody who follows lines.
    pub(crate) fn tails(&self) -> &Arc<Hub> {
        &self.0.tails
    }

    /// Runs a listing when its turn comes, on a thread that may block.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let timeout_ms = self.engine.queries().limits().timeout_ms;
        let deadline = Instant::now() + Duration::from_millis(timeout_ms);
        let turn = self.turn(deadline).await?;
        let done = blocking(move || {
            let answer = work();
            drop(turn);
            answer
        });
        Ok(done.await??)
    }

    /// Runs a question about logs that is no text of its own (a volume, a pattern) when its turn
    /// comes, like [`State::ask`].
    pub async fn run_query<T: Send + 'static>(
        &self,
        timeout_ms: u64,
        question: impl FnOnce(QueryOptions) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let about = About { language: "logql", ..About::default() };
        self.ask(about, (timeout_ms, Detail::default()), |options, _| question(options)).await
    }

    /// Runs a question when its turn comes. It is told to stop at its deadline, when somebody kills
    /// it, and when the client goes away (this future is dropped). Until then it is on the list of
    /// questions.
    pub async fn ask<T: Send + 'static>(
        &self,
        about: About,
        (timeout_ms, detail): (u64, Detail),
        question: impl FnOnce(QueryOptions, &Ticket) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let deadline = Instant::now() + Duration::from_millis(timeout_ms);
        let ticket = self.engine.queries().ask(about, detail)?;
        let cancel = CancelOnDrop(ticket.cancel().clone());
        let turn = self.turn(deadline).await?;
        let options = QueryOptions {
            deadline: Some(deadline),
            cancel: Some(cancel.0.clone()),
            account: Some(ticket.account().clone()),
            ..QueryOptions::default()
        };
        let done = blocking(move || {
            ticket.begin();
            let answer = question(options, &ticket);
            drop(ticket);
            drop(turn);
            answer
        });
        let answer = done.await?;
        drop(cancel);
        Ok(answer?)
    }

    /// Runs a push when its turn comes.
    pub(crate) async fn run_push<T: Send + 'static>(
        &self,
        push: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let turn = self.0.pushes.clone().acquire_owned().await;
        let turn = turn.map_err(|_| ApiError::unavailable("Vigie is stopping"))?;
        blocking(move || {
            let done = push();
            drop(turn);
            done
        })
        .await
    }

    async fn turn(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, ApiError> {
        let turn = tokio::time::timeout_at(deadline.into(), self.0.queries.clone().acquire_owned());
        match turn.await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(ApiError::from(QueryError {
                kind: QueryErrorKind::Timeout,
                message: "query timed out in query queue".to_owned(),
            })),
        }
    }
}

/// Runs what blocks on a thread that may. A panic there is logged by its hook; the client learns
/// only that it was ours.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| ApiError::internal("internal error: the log of Vigie says more"))
}

struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Milliseconds since the epoch, now.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// Nanoseconds since the epoch: what is cut to milliseconds is older than a line of the same one.
pub(crate) fn now_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64)
}

/// RFC 3339 with milliseconds, in UTC.
pub fn rfc3339(ts_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ts_ms).map_or_else(|_| String::new(), |at| format!("{at:.3}"))
}

/// The same, and Go's zero time for what has not happened yet.
pub fn rfc3339_or_never(ts_ms: i64) -> String {
    if ts_ms == 0 { "0001-01-01T00:00:00Z".to_owned() } else { rfc3339(ts_ms) }
}
