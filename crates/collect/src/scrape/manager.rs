//! Starting, listing, replacing and stopping targets.

use super::rows::{Rules, TargetRows};
use super::said::Said;
use super::seen::Seen;
use super::target::{Target, targets};
use super::task::{Command, Plan, Source, TargetState, Task};
use super::{Health, TargetStatus, now_ms};
use crate::{Collector, MetricSink};
use foldhash::fast::FixedState;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use vigie_codec::exposition::protobuf::Wants;
use vigie_codec::exposition::{Family, MetricKind};
use vigie_config::scrape::ScrapeJob;
use vigie_model::Labels;
use vigie_net::HttpClient;

/// Most targets that run at once; more are refused with a line in the log.
pub const TARGETS_MAX: usize = 10_000;
/// The longest that a built-in collector may take.
const COLLECTOR_TIMEOUT_MS: i64 = 10_000;

/// What does not come from the configuration.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the targets that answered once are remembered; `None` forgets them at exit.
    pub seen_path: Option<PathBuf>,
    /// The first scrapes are spread over this many milliseconds after the start, so that graphs
    /// appear at once; afterwards each target keeps its own place inside its interval.
    pub first_spread_ms: i64,
}

impl Default for Options {
    fn default() -> Self {
        Options { seen_path: None, first_spread_ms: 500 }
    }
}

/// Starts collecting.
pub struct Collect;

/// The running targets. Dropping it stops them.
pub struct CollectHandle {
    sink: Arc<dyn MetricSink>,
    client: Arc<HttpClient>,
    seen: Arc<Seen>,
    options: Options,
    runtime: tokio::runtime::Handle,
    collectors: Mutex<Vec<Arc<dyn Collector>>>,
    /// The interval of all built-in collectors; 0 while each has its own.
    built_in_interval_ms: AtomicI64,
    dropped: Mutex<BTreeMap<String, Vec<Labels>>>,
    running: Mutex<Vec<Running>>,
}

struct Running {
    state: Arc<TargetState>,
    commands: watch::Sender<Command>,
    task: JoinHandle<()>,
}

/// A target that should run.
struct Wanted {
    key: String,
    pool: String,
    labels: Labels,
    discovered: Labels,
    url: String,
    when_seen: bool,
    plan: Plan,
}

impl Collect {
    /// Starts a task for each target of `jobs` and each of `collectors`.
    ///
    /// # Panics
    /// If it is called outside a Tokio runtime.
    pub fn start(
        jobs: Vec<ScrapeJob>,
        collectors: Vec<Arc<dyn Collector>>,
        sink: Arc<dyn MetricSink>,
        client: Arc<HttpClient>,
        options: Options,
    ) -> CollectHandle {
        let handle = CollectHandle {
            sink,
            client,
            seen: Arc::new(Seen::open(options.seen_path.clone())),
            options,
            runtime: tokio::runtime::Handle::current(),
            collectors: Mutex::new(collectors),
            built_in_interval_ms: AtomicI64::new(0),
            dropped: Mutex::new(BTreeMap::new()),
            running: Mutex::new(Vec::new()),
        };
        handle.reload(jobs);
        handle
    }
}

impl CollectHandle {
    /// The targets, in the order of the configuration, built-in collectors first.
    /// Those that are only looked for are not among them before they have answered once.
    pub fn targets(&self) -> Vec<TargetStatus> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running
            .iter()
            .filter(|one| one.state.listed.load(Ordering::Acquire))
            .map(|one| one.state.status.lock().unwrap_or_else(PoisonError::into_inner).clone())
            .collect()
    }

    /// The labels of each of [`CollectHandle::targets`], and what its last page said.
    pub fn said(&self) -> Vec<(Labels, Arc<Said>)> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let listed = running.iter().filter(|one| one.state.listed.load(Ordering::Acquire));
        let of = |one: &Running| {
            let status = one.state.status.lock().unwrap_or_else(PoisonError::into_inner);
            (status.labels.clone(), one.state.said.clone())
        };
        listed.map(of).collect()
    }

    /// What relabelling drops: for each job, built-in collectors not among them, the labels before
    /// it.
    pub fn dropped(&self) -> BTreeMap<String, Vec<Labels>> {
        self.dropped.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the program's own page says about its targets.
    pub fn families(&self) -> Vec<Family> {
        let mut targets = Family::new("vigie_targets", "Targets by health.", MetricKind::Gauge);
        let all = self.targets();
        for health in [Health::Up, Health::Down, Health::Unknown] {
            let count = all.iter().filter(|target| target.health == health).count();
            targets.push(&[("health", health.as_str())], count as f64);
        }
        let (name, help) = ("vigie_targets_limit", "Targets there can be.");
        vec![targets, Family::single(name, help, MetricKind::Gauge, TARGETS_MAX as f64)]
    }

    /// Gives all built-in collectors another interval, from the next [`CollectHandle::reload`] on.
    pub fn set_built_in_interval_ms(&self, interval_ms: i64) {
        self.built_in_interval_ms.store(interval_ms, Ordering::Release);
    }

    fn built_in(&self, collector: &Arc<dyn Collector>) -> Wanted {
        let interval_ms = self.built_in_interval_ms.load(Ordering::Acquire);
        built_in(collector, if interval_ms > 0 { interval_ms } else { collector.interval_ms() })
    }

    /// Replaces the jobs. Targets that stay keep their memory and their schedule; those that are
    /// gone have their series marked stale.
    pub fn reload(&self, jobs: Vec<ScrapeJob>) {
        let wanted = self.wanted(jobs);
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let mut old: HashMap<String, Running> =
            running.drain(..).map(|one| (one.state.key.clone(), one)).collect();
        for target in wanted {
            if let Some(one) = old.remove(&target.key) {
                let mut status = one.state.status.lock().unwrap_or_else(PoisonError::into_inner);
                status.discovered_labels = target.discovered;
                status.interval_ms = target.plan.interval_ms;
                status.timeout_ms = target.plan.timeout_ms;
                drop(status);
                if !target.when_seen {
                    one.state.listed.store(true, Ordering::Release);
                }
                one.commands.send_replace(Command::Run(Arc::new(target.plan)));
                running.push(one);
            } else if running.len() < TARGETS_MAX {
                running.push(self.spawn(target));
            } else {
                tracing::error!(target = %target.key, limit = TARGETS_MAX, "too many targets; this one is not scraped");
            }
        }
        for (_, gone) in old {
            gone.commands.send_replace(Command::End);
        }
    }

    /// Adds a built-in collector to the running ones: a server that was found after the start.
    /// One with the same job and instance as another is not added.
    pub fn add_collector(&self, collector: Arc<dyn Collector>) {
        let wanted = self.built_in(&collector);
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.iter().any(|one| one.state.key == wanted.key) {
            return;
        }
        running.push(self.spawn(wanted));
        self.collectors.lock().unwrap_or_else(PoisonError::into_inner).push(collector);
    }

    /// Stops every target and waits for what is being written. No stale markers are left:
    /// after a restart the series go on.
    pub async fn stop(&self) {
        let running: Vec<Running> =
            self.running.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect();
        for one in &running {
            one.commands.send_replace(Command::Stop);
        }
        for one in running {
            if let Err(error) = one.task.await {
                tracing::warn!(target = %one.state.key, %error, "a target's task did not end well");
            }
        }
    }

    fn wanted(&self, jobs: Vec<ScrapeJob>) -> Vec<Wanted> {
        let collectors = self.collectors.lock().unwrap_or_else(PoisonError::into_inner);
        let mut wanted: Vec<Wanted> = collectors.iter().map(|one| self.built_in(one)).collect();
        drop(collectors);
        let mut dropped = BTreeMap::new();
        for job in jobs {
            let job = Arc::new(job);
            let found = targets(&job);
            for error in found.errors {
                tracing::error!(%error, "a target cannot be used");
            }
            // Targets are limited, and so are those that are only remembered.
            let kept = found.dropped.into_iter().take(TARGETS_MAX).collect();
            dropped.insert(job.job_name.clone(), kept);
            wanted.extend(found.targets.into_iter().map(|target| scraped(&job, target)));
        }
        *self.dropped.lock().unwrap_or_else(PoisonError::into_inner) = dropped;
        wanted
    }

    fn spawn(&self, wanted: Wanted) -> Running {
        let hash = FixedState::with_seed(0x0076_6967_6965).hash_one(&wanted.key);
        let spread = self.options.first_spread_ms.clamp(1, wanted.plan.interval_ms.max(1));
        let delay_ms = i64::try_from(hash % spread.unsigned_abs()).unwrap_or(0);
        let status = TargetStatus {
            labels: wanted.labels.clone(),
            discovered_labels: wanted.discovered,
            scrape_pool: wanted.pool,
            scrape_url: wanted.url,
            last_scrape_ms: 0,
            last_duration_ms: 0.0,
            last_error: String::new(),
            health: Health::Unknown,
            interval_ms: wanted.plan.interval_ms,
            timeout_ms: wanted.plan.timeout_ms,
        };
        let listed = !wanted.when_seen || self.seen.contains(&wanted.key);
        let rules = wanted.plan.rules.clone();
        let rows = TargetRows::new(wanted.labels, rules, Arc::clone(&self.sink));
        let state = Arc::new(TargetState {
            key: wanted.key,
            status: Mutex::new(status),
            said: rows.said(),
            listed: AtomicBool::new(listed),
        });
        let (sender, commands) = watch::channel(Command::Run(Arc::new(wanted.plan)));
        let task = Task {
            state: Arc::clone(&state),
            commands,
            client: Arc::clone(&self.client),
            seen: Arc::clone(&self.seen),
            rows: Some(rows),
            offset_hash: hash,
            first_due_ms: now_ms() + delay_ms,
        };
        Running { state, commands: sender, task: self.runtime.spawn(task.run()) }
    }
}

fn scraped(job: &Arc<ScrapeJob>, target: Target) -> Wanted {
    let rules = Rules {
        honor_labels: job.honor_labels,
        honor_timestamps: job.honor_timestamps,
        metric_relabel: job.metric_relabel.clone(),
        sample_limit: job.sample_limit,
        wants: Wants {
            native: job.native_histograms,
            classic_beside: job.classic_histograms,
            starts: false,
        },
    };
    Wanted {
        key: format!("{} {} {}", job.job_name, target.url, target.labels),
        pool: job.job_name.clone(),
        labels: target.labels.clone(),
        discovered: target.discovered.clone(),
        url: target.url.clone(),
        when_seen: job.when_seen,
        plan: Plan {
            rules,
            interval_ms: target.interval_ms,
            timeout_ms: target.timeout_ms,
            source: Source::Http { job: Arc::clone(job), target },
        },
    }
}

fn built_in(collector: &Arc<dyn Collector>, interval_ms: i64) -> Wanted {
    let labels = Labels::from_pairs([("job", collector.job()), ("instance", collector.instance())]);
    Wanted {
        key: format!("built-in {labels}"),
        pool: collector.job().to_owned(),
        discovered: labels.clone(),
        url: collector.scrape_url(),
        when_seen: false,
        plan: Plan {
            rules: Rules {
                honor_labels: false,
                honor_timestamps: false,
                metric_relabel: Vec::new(),
                sample_limit: 0,
                wants: Wants::default(),
            },
            interval_ms,
            timeout_ms: COLLECTOR_TIMEOUT_MS.min(interval_ms),
            source: Source::Built(Arc::clone(collector)),
        },
        labels,
    }
}

#[cfg(test)]
mod tests;
