//! Reading the configuration anew: on SIGHUP, and on `POST /-/reload` of Prometheus or Alertmanager.
//!
//! Every file is read and checked whole before anything changes, so a wrong one leaves everything as
//! it was: the answer and one line of the log name the place. Then the parts take the new one over,
//! the coordinator first, which is the only one that can still refuse. Targets, groups, alerts and
//! followed files that stay keep what is known of them.
//!
//! What is opened once at the start cannot change ([`fixed`]); if the files say something else of it
//! now, the log and the answer say that a restart is needed. Requests are served one after the other.

use crate::adapt::{Counting, Store};
use crate::plan::Plan;
use crate::run;
use anyhow::{Context, Result};
use std::sync::Arc;
use tokio::signal::unix::Signal;
use tokio::sync::watch;
use vigie_collect::CollectHandle;
use vigie_collect::tail::{TailConfig, TailSource};
use vigie_http::state::now_ms;
use vigie_http::{Loading, Notices, Reload, ReloadRequests, Reloaded};
use vigie_watch::WatchHandle;

/// Prometheus' notice while the files are not what counts.
const UNSUCCESSFUL: &str = "Configuration reload has failed.";

/// Reads all files again and puts the plan together.
pub type Replan = Box<dyn Fn() -> Result<Plan> + Send + Sync>;

/// What takes over a new configuration.
pub struct Parts {
    /// Rules, routing, receivers.
    pub watch: Arc<WatchHandle>,
    /// Scrape jobs.
    pub collect: Arc<CollectHandle>,
    /// Followed files.
    pub logs: watch::Sender<Vec<TailSource>>,
    /// Metrics made of lines.
    pub counting: Arc<Counting>,
    /// Where their series are.
    pub store: Arc<Store>,
    /// What the pages show.
    pub loading: Arc<Loading>,
    /// What the operator is told.
    pub notices: Arc<Notices>,
    /// The address of the first listener.
    pub url: String,
}

/// Serves requests to read the configuration anew.
pub struct Reloader {
    replan: Replan,
    parts: Parts,
    fixed: Vec<(&'static str, String)>,
}

impl Reloader {
    /// For a program that was started with `plan`.
    pub fn new(replan: Replan, parts: Parts, plan: &Plan) -> Reloader {
        Reloader { replan, parts, fixed: fixed(plan) }
    }

    /// Serves until the program stops.
    pub async fn run(self, mut requests: ReloadRequests, mut stopped: watch::Receiver<bool>) {
        loop {
            let answer = tokio::select! {
                request = requests.recv() => match request {
                    Some(answer) => answer,
                    None => return,
                },
                _ = stopped.wait_for(|stop| *stop) => return,
            };
            let reloaded = self.reload().await;
            match &reloaded {
                Ok(for_restart) => {
                    self.parts.notices.remove(UNSUCCESSFUL);
                    tracing::info!("the configuration was read anew");
                    for_restart.iter().for_each(|line| tracing::warn!("{line}"));
                }
                Err(why) => {
                    self.parts.loading.fail();
                    self.parts.notices.add(UNSUCCESSFUL, now_ms());
                    tracing::error!("failed to reload config: {why}");
                }
            }
            // Who asked may have gone away.
            drop(answer.send(reloaded));
        }
    }

    async fn reload(&self) -> Reloaded {
        self.take_over().await.map_err(|error| format!("{error:#}"))
    }

    async fn take_over(&self) -> Result<Vec<String>> {
        let parts = &self.parts;
        let plan = (self.replan)()?;
        let counted = parts.counting.current().succeeded_by(&plan.config.log_metrics);
        let counted = Arc::new(counted.map_err(anyhow::Error::msg)?);
        TailConfig::new(plan.logs.clone(), "").check()?;
        // From here on only the ledger can refuse, and then the old rules go on.
        let rules = run::watch_config(&plan, &parts.url);
        parts.watch.reload(rules).await.context("the rules go on as they were")?;
        parts.collect.set_built_in_interval_ms(plan.own_interval_ms);
        parts.collect.reload(plan.jobs.clone());
        parts.logs.send_if_modified(|logs| {
            let is_new = *logs != plan.logs;
            logs.clone_from(&plan.logs);
            is_new
        });
        let before = parts.counting.current();
        parts.counting.replace(counted.clone(), plan.own_interval_ms);
        let store = parts.store.clone();
        let ended = tokio::task::spawn_blocking(move || before.end(&counted, &*store, now_ms()));
        if let Ok(Err(error)) = ended.await {
            tracing::warn!("metrics made of lines that are gone cannot be marked stale: {error}");
        }
        parts.loading.replace(run::loaded(&plan), now_ms());
        Ok(for_restart(&self.fixed, &fixed(&plan)))
    }
}

/// Passes hang-ups on as requests.
pub async fn hangups(mut hangup: Signal, reload: Reload, mut stopped: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            _ = hangup.recv() => {}
            _ = stopped.wait_for(|stop| *stop) => return,
        }
        // How it went stands in the log.
        drop(reload.ask().await);
    }
}

/// What the parts that are opened once were told, by the name that stands in the files. The values
/// are compared, never shown.
fn fixed(plan: &Plan) -> Vec<(&'static str, String)> {
    let config = &plan.config;
    let servers = plan.postgres.as_ref().map(|servers| {
        let named = servers.iter().map(|one| (&one.instance, one.dsn.expose()));
        format!("{:?}", named.collect::<Vec<_>>())
    });
    vec![
        ("web.classic_ports", config.classic_ports.to_string()),
        ("storage.retention.metrics", config.metrics_retention_ms.to_string()),
        ("storage.retention.logs", config.logs_retention_ms.to_string()),
        ("storage.disk.metrics", format!("{:?}", config.metrics_disk_bytes_max)),
        ("storage.disk.logs", format!("{:?}", config.logs_disk_bytes_max)),
        ("storage.tsdb.out_of_order_time_window", config.late_window_ms.to_string()),
        ("storage.exemplars.max_exemplars", config.exemplars_max.to_string()),
        ("metrics.host", plan.host.is_some().to_string()),
        ("metrics.postgres", format!("{servers:?}")),
    ]
}

/// A line for each thing that is not as the files say.
fn for_restart(started: &[(&'static str, String)], now: &[(&'static str, String)]) -> Vec<String> {
    let changed = started.iter().zip(now).filter(|(before, now)| before != now);
    changed
        .map(|((name, _), _)| format!("{name} has changed: that needs a restart of Vigie"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::for_restart;

    #[test]
    fn what_is_opened_once_is_named_when_it_changes() {
        let before = [("a", "1".to_owned()), ("b", "2".to_owned())];
        let after = [("a", "1".to_owned()), ("b", "3".to_owned())];
        assert!(for_restart(&before, &before).is_empty());
        assert_eq!(for_restart(&before, &after), ["b has changed: that needs a restart of Vigie"]);
    }
}
