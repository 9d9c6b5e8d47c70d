//! The coordinator: evaluates rules, carries the outcome through routing, and sees that every
//! message arrives.
//!
//! Each tick of a rule group asks the engine ([`RuleEvaluator`]), moves the alerts on (`vigie-rules`),
//! routes them (`vigie-alerts`), and writes what changed and what is to be told in **one** transaction
//! of the ledger (`core`). Then the outbox worker (`outbox`) lends messages from the ledger and
//! sends them (`vigie-notify`) until each is taken, refused, out of date, or a day old.
//!
//! The program may die at any instant: what a tick decided is either whole on disk or will be
//! decided again; a message that was on its way is sent again at the next start, and receivers that
//! know repetitions (PagerDuty) ignore it.
//!
//! Invariants: nothing is sent that has no row in the outbox; a failed write of the ledger changes
//! no group, so the next tick decides the same again.

#![forbid(unsafe_code)]

mod convert;
mod core;
mod outbox;
mod reload;
mod said;
mod schedule;
mod sent;
mod status;

pub use sent::{KnownGroup, SendError};
pub use status::{
    AlertStatus, AlertmanagerAlert, GroupStatus, Metric, NotificationStatus, RuleStatus,
};
pub use vigie_rules::{AlertState, Health};

use crate::core::{Core, Group};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use vigie_config::alerting::{Alerting, Receiver, Route};
use vigie_config::rules::{QueryLanguage, RuleGroup};
use vigie_ledger::{Ledger, LedgerError};
use vigie_model::Labels;
use vigie_notify::Transport;

/// How long [`WatchHandle::stop`] waits for what is under way.
const STOP_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);
/// How long rules wait after a start that finds alerts but no fresh data: longer than the first
/// scrape of every target may take. Evaluated at once, every alert would end for want of data,
/// people would be told so, and a minute later be woken again.
const WARM_UP_MS: i64 = 15_000;
/// How often the timers of groups are looked at, in milliseconds.
const FLUSH_TICK_MS: u64 = 1000;

/// Answers the expressions of rules.
pub trait RuleEvaluator: Send + Sync {
    /// The vector that `expr` yields at an instant (a scalar is a vector of one, without labels).
    fn instant(
        &self,
        language: QueryLanguage,
        expr: &str,
        ts_ms: i64,
    ) -> Result<Vec<(Labels, f64)>, String>;

    /// Whether anything was collected so lately that an expression without an answer means that its
    /// condition does not hold, and not that nobody looked.
    fn is_fresh(&self, ts_ms: i64) -> bool {
        let _ = ts_ms;
        true
    }
}

/// Takes the series that rules write.
pub trait SampleSink: Send + Sync {
    /// Writes samples of one instant; they can be queried when this returns.
    fn write(&self, ts_ms: i64, samples: &[(Labels, f64)]) -> Result<(), String>;
}

/// Says what time it is.
pub trait Clock: Send + Sync {
    /// Milliseconds since the epoch.
    fn now_ms(&self) -> i64;
}

/// The machine's clock.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// What is watched and who is told.
#[derive(Clone, Debug)]
pub struct WatchConfig {
    /// The rule groups of files.
    pub groups: Vec<RuleGroup>,
    /// Those that clients sent before ([`Ledger::rule_groups`]).
    pub sent_groups: Vec<RuleGroup>,
    /// Routes and receivers; [`without_receivers`] when there are none.
    pub alerting: Alerting,
    /// The language of the default texts: `en` or `fr`.
    pub language: String,
}

/// Everything that the coordinator reaches the world through.
#[derive(Clone)]
pub struct Connections {
    /// The engine.
    pub evaluator: Arc<dyn RuleEvaluator>,
    /// The store.
    pub sink: Arc<dyn SampleSink>,
    /// What must not be forgotten.
    pub ledger: Arc<Ledger>,
    /// The network.
    pub transport: Arc<dyn Transport>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Why the coordinator did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The ledger refused.
    #[error("alerts cannot be watched: {0}")]
    Ledger(#[from] LedgerError),
    /// The thread that should have taken up the ledger ended.
    #[error("alerts cannot be watched: {0}")]
    Broken(String),
    /// The ledger holds a group that this program never wrote.
    #[error(
        "ledger, table alert_groups, group {group_key:?}: {reason}; delete the row, the group will be told again"
    )]
    BadGroup {
        /// Which.
        group_key: String,
        /// What is wrong.
        reason: String,
    },
}

/// Routing for a configuration that names no receiver: alerts are listed, nobody is told.
pub fn without_receivers(external_url: &str) -> Alerting {
    const NOBODY: &str = "nobody";
    Alerting {
        route: Route {
            receiver: NOBODY.to_owned(),
            matchers: Vec::new(),
            continue_matching: false,
            group_by: Some(vec!["alertname".to_owned()]),
            group_wait_ms: 30_000,
            group_interval_ms: 300_000,
            repeat_interval_ms: 4 * 3_600_000,
            routes: Vec::new(),
        },
        receivers: vec![Receiver { name: NOBODY.to_owned(), integrations: Vec::new() }],
        resolve_timeout_ms: 300_000,
        external_url: external_url.to_owned(),
    }
}

/// The coordinator, before it runs.
pub struct Watch;

impl Watch {
    /// Takes up what the ledger knows and starts ticking. Needs a Tokio runtime.
    pub fn start(config: WatchConfig, connections: Connections) -> Result<WatchHandle, WatchError> {
        let core = Arc::new(Core::open(config, connections, None)?);
        if let Some(notice) = core.notice() {
            tracing::warn!("{notice}");
        }
        let running = Running::start(&core);
        Ok(WatchHandle {
            core: Arc::new(parking_lot::RwLock::new(core)),
            running: Arc::new(parking_lot::Mutex::new(running)),
            runtime: Handle::current(),
            sending: Arc::default(),
        })
    }
}

/// The tasks of one configuration.
struct Running {
    stop: watch::Sender<bool>,
    /// Tells the one that sends that there is something.
    wake: Arc<Notify>,
    /// Those that evaluate and tell time.
    ticks: Vec<JoinHandle<()>>,
    /// The one that sends.
    outbox: Option<JoinHandle<()>>,
}

impl Running {
    fn start(core: &Arc<Core>) -> Running {
        let (stop, stopped) = watch::channel(false);
        let wake = Arc::new(Notify::new());
        let mut ticks = Vec::new();
        for group in core.groups() {
            let (core, wake, stopped) = (core.clone(), wake.clone(), stopped.clone());
            ticks.push(tokio::spawn(tick_group(core, group, wake, stopped)));
        }
        ticks.push(tokio::spawn(tick_timers(core.clone(), wake.clone(), stopped.clone())));
        let outbox = Some(tokio::spawn(outbox::run(core.clone(), wake.clone(), stopped)));
        Running { stop, wake, ticks, outbox }
    }
}

/// The running coordinator.
pub struct WatchHandle {
    core: Arc<parking_lot::RwLock<Arc<Core>>>,
    running: Arc<parking_lot::Mutex<Running>>,
    runtime: Handle,
    /// Held while the groups that clients send change, and while another configuration takes over.
    sending: Arc<parking_lot::Mutex<()>>,
}

impl WatchHandle {
    fn core(&self) -> Arc<Core> {
        self.core.read().clone()
    }

    /// The receivers' names.
    pub fn receivers(&self) -> Vec<String> {
        self.core().alerting.receivers.iter().map(|receiver| receiver.name.clone()).collect()
    }

    /// The groups, their rules and alerts, for `/api/v1/rules`.
    pub fn rules(&self) -> Vec<GroupStatus> {
        self.core().rules()
    }

    /// Pending and firing alerts, for `/api/v1/alerts`.
    pub fn alerts(&self) -> Vec<AlertStatus> {
        self.core().alerts()
    }

    /// Firing alerts as Alertmanager lists them, for `/api/v2/alerts`.
    pub fn am_alerts(&self) -> Vec<AlertmanagerAlert> {
        self.core().am_alerts()
    }

    /// The newest messages, newest first. Reads the ledger: milliseconds.
    pub fn notifications(&self, limit: usize) -> Result<Vec<NotificationStatus>, LedgerError> {
        self.core().notifications(limit)
    }

    /// The coordinator's own metrics. Reads the ledger: milliseconds.
    pub fn metrics(&self) -> Vec<Metric> {
        self.core().metrics()
    }

    /// What the user should know: for example that nobody is told of alerts.
    pub fn notice(&self) -> Option<String> {
        self.core().notice()
    }

    /// Stops ticking and sending, and waits for what is under way. What is not finished by then is
    /// done at the next start.
    pub async fn stop(&self) {
        let tasks: Vec<_> = {
            let mut running = self.running.lock();
            running.stop.send_replace(true);
            let outbox = running.outbox.take();
            running.ticks.drain(..).chain(outbox).collect()
        };
        for mut task in tasks {
            if tokio::time::timeout(STOP_TIMEOUT, &mut task).await.is_err() {
                task.abort();
            }
        }
    }
}

impl Drop for WatchHandle {
    fn drop(&mut self) {
        let mut running = self.running.lock();
        let outbox = running.outbox.take();
        for task in running.ticks.drain(..).chain(outbox) {
            task.abort();
        }
    }
}

/// Sleeps; answers false when it is time to stop.
pub(crate) async fn sleep_or_stop(duration_ms: u64, stopped: &mut watch::Receiver<bool>) -> bool {
    tokio::select! {
        () = tokio::time::sleep(std::time::Duration::from_millis(duration_ms)) => true,
        // An error means that the handle is gone: that is a stop too.
        _ = stopped.wait_for(|stop| *stop) => false,
    }
}

async fn tick_group(
    core: Arc<Core>,
    group: Arc<Group>,
    wake: Arc<Notify>,
    mut stopped: watch::Receiver<bool>,
) {
    let slots = group.slots();
    let warm_up_ms = if core.is_cold() { WARM_UP_MS } else { 0 };
    let mut slot_ms = slots.first(core.now_ms() + warm_up_ms, group.last_evaluation_ms());
    loop {
        let wait_ms = u64::try_from(slot_ms - core.now_ms()).unwrap_or(0);
        if !sleep_or_stop(wait_ms, &mut stopped).await {
            return;
        }
        if group.is_retired() {
            return;
        }
        let (worker, evaluated) = (core.clone(), group.clone());
        let ticked =
            tokio::task::spawn_blocking(move || worker.evaluate_group(&evaluated, slot_ms)).await;
        if let Err(error) = ticked {
            tracing::error!("rule group {}: {error}", group.name());
        }
        wake.notify_one();
        let next_ms = slots.after(slot_ms, core.now_ms());
        group.count_missed(slots.between(slot_ms, next_ms));
        slot_ms = next_ms;
    }
}

async fn tick_timers(core: Arc<Core>, wake: Arc<Notify>, mut stopped: watch::Receiver<bool>) {
    while sleep_or_stop(FLUSH_TICK_MS, &mut stopped).await {
        if !core.flush_is_due() {
            continue;
        }
        let worker = core.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || worker.flush()).await {
            tracing::error!("group timers: {error}");
        }
        wake.notify_one();
    }
}
