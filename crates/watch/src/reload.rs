//! Another configuration for a coordinator that runs.
//!
//! The evaluations under way end first; then the new configuration takes up what the ledger knows, as
//! at a start, and what stands only in memory: how the evaluations of its groups went, and which
//! series they wrote. Series that no rule writes any more end with a stale marker. Messages that are
//! on their way are not waited for: who sends them and who sends from now on share the list of them.
//!
//! Invariants: two configurations never write to the ledger at the same time; a configuration that
//! cannot be started leaves the old one running.

use crate::core::Core;
use crate::{Running, STOP_TIMEOUT, WatchConfig, WatchError, WatchHandle};
use std::collections::BTreeSet;
use std::sync::Arc;
use vigie_model::{Labels, STALE_NAN};

impl WatchHandle {
    /// Goes on with another configuration. Rules that stay, by file, group and name, keep their
    /// alerts and the time for which these have been pending. Not to be called twice at once.
    ///
    /// # Errors
    /// What the ledger says; the old configuration goes on then.
    pub async fn reload(&self, config: WatchConfig) -> Result<(), WatchError> {
        let ticks = {
            let mut running = self.running.lock();
            running.stop.send_replace(true);
            std::mem::take(&mut running.ticks)
        };
        for mut task in ticks {
            if tokio::time::timeout(STOP_TIMEOUT, &mut task).await.is_err() {
                task.abort();
            }
        }
        let (core, running, sending) =
            (self.core.clone(), self.running.clone(), self.sending.clone());
        let taking_over = tokio::task::spawn_blocking(move || {
            // Who sends a group meanwhile waits and finds the new configuration.
            let _sending = sending.lock();
            let before = core.read().clone();
            let (next, answer) = take_over(&before, config);
            *core.write() = next.clone();
            // The sender of the old configuration ends when its messages have arrived.
            *running.lock() = Running::start(&next);
            answer
        });
        // It does not answer when the thread panicked or the program ends.
        taking_over.await.unwrap_or_else(|error| Err(WatchError::Broken(error.to_string())))
    }
}

/// Who goes on: the new configuration, or the old one when the new one cannot be started.
fn take_over(before: &Arc<Core>, mut config: WatchConfig) -> (Arc<Core>, Result<(), WatchError>) {
    // What clients sent stays as they sent it.
    let groups = before.groups();
    let sent = groups.iter().filter(|group| group.is_sent);
    config.sent_groups = sent.map(|group| group.config()).collect();
    before.retire();
    match Core::open(config, before.connections.clone(), Some(before)) {
        Ok(core) => {
            core.succeed(before);
            (Arc::new(core), Ok(()))
        }
        Err(error) => {
            before.come_back();
            (before.clone(), Err(error))
        }
    }
}

impl Core {
    /// Takes over what only the memory of `before` holds, and ends the series that nobody writes
    /// any more.
    fn succeed(&self, before: &Core) {
        let mut ended: BTreeSet<Labels> = BTreeSet::new();
        let groups = self.groups();
        for old in before.groups() {
            let old = old.run.lock();
            let config = old.state.config();
            let follower = groups.iter().find(|group| {
                let run = group.run.lock();
                let own = run.state.config();
                (own.language, &own.file, &own.name)
                    == (config.language, &config.file, &config.name)
            });
            match follower {
                Some(group) => ended.extend(group.run.lock().succeed(&old)),
                None => ended.extend(old.state.written().cloned()),
            }
        }
        // A rule may have moved to another group with its series.
        for group in &groups {
            group.run.lock().state.written().for_each(|labels| {
                ended.remove(labels);
            });
        }
        let samples: Vec<(Labels, f64)> =
            ended.into_iter().map(|labels| (labels, STALE_NAN)).collect();
        if samples.is_empty() {
            return;
        }
        if let Err(error) = self.connections.sink.write(self.now_ms(), &samples) {
            tracing::warn!("series of rules that are gone cannot be marked stale: {error}");
        }
    }
}
