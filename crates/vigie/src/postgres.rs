//! The PostgreSQL servers that are watched: those that were named, or the one that is found.
//!
//! Where nobody named a server, one is looked for at the start and then once a minute, so a database
//! that starts after Vigie is found too. One that was found is remembered in `seen-postgresql`, so
//! that its death is seen after a restart as well. Port 9187 answers from the first moment on:
//! `pg_up 0` until there is a server.

use crate::plan::Plan;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::watch;
use vigie_collect::postgres::{PostgresCollector, discover, page_without_server};
use vigie_collect::{CollectHandle, Collector};
use vigie_config::http_client::Secret;
use vigie_config::scrape::PostgresTarget;
use vigie_http::router;

/// The pause between two looks for a server.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// The servers known so far.
pub struct Servers {
    /// The collectors to start with.
    pub collectors: Vec<Arc<dyn Collector>>,
    /// The one that port 9187 shows.
    first: Arc<OnceLock<Arc<PostgresCollector>>>,
    /// Where a server that is found later is remembered; `None` when none is looked for.
    look_for: Option<PathBuf>,
    interval_ms: i64,
    /// Whether the configuration says that there is none.
    none_wanted: bool,
}

impl Servers {
    /// The servers that were named, or the one found now or at an earlier start.
    pub async fn of(plan: &Plan) -> Servers {
        let remembered = plan.directory.join("seen-postgresql");
        let interval_ms = plan.config.scrape_interval_ms;
        let targets = match &plan.postgres {
            Some(named) => named.clone(),
            None => match find(&remembered, interval_ms).await {
                Some(found) => vec![found],
                None => recall(&remembered, interval_ms).into_iter().collect(),
            },
        };
        let look_for = (plan.postgres.is_none() && targets.is_empty()).then_some(remembered);
        let none_wanted = targets.is_empty() && look_for.is_none();
        let first = Arc::new(OnceLock::new());
        let mut collectors: Vec<Arc<dyn Collector>> = Vec::new();
        for target in targets {
            let collector = Arc::new(PostgresCollector::new(target));
            let _ = first.set(collector.clone());
            collectors.push(collector);
        }
        Servers { collectors, first, look_for, interval_ms, none_wanted }
    }

    /// What port 9187 answers; `None` when there is nothing to answer for.
    pub fn page(&self) -> Option<router::Page> {
        let first = self.first.clone();
        let page: router::Page = Arc::new(move || {
            let first = first.get().cloned();
            Box::pin(async move {
                match first {
                    Some(server) => server.exporter_page().await,
                    None => page_without_server(),
                }
            })
        });
        (!self.none_wanted).then_some(page)
    }

    /// Looks for a server until one is found or the program stops; ends at once when none is to be
    /// looked for.
    pub async fn look(self, collect: Arc<CollectHandle>, mut stopped: watch::Receiver<bool>) {
        let Some(remembered) = &self.look_for else { return };
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                _ = stopped.wait_for(|stop| *stop) => return,
            }
            if let Some(found) = find(remembered, self.interval_ms).await {
                tracing::info!("PostgreSQL is found at {} and watched from now on", found.instance);
                let collector = Arc::new(PostgresCollector::new(found));
                let _ = self.first.set(collector.clone());
                collect.add_collector(collector);
                return;
            }
        }
    }
}

/// Looks for a server, and remembers the one that is found.
async fn find(remembered: &Path, interval_ms: i64) -> Option<PostgresTarget> {
    let found = PostgresTarget { interval_ms, ..discover().await? };
    // Only sessions that need no password are found, so the file holds none.
    let text = format!("{}\n{}\n", found.instance, found.dsn.expose());
    if let Err(error) = std::fs::write(remembered, text) {
        tracing::warn!("{}: {error}", remembered.display());
    }
    Some(found)
}

/// The server that an earlier start found.
fn recall(remembered: &Path, interval_ms: i64) -> Option<PostgresTarget> {
    let text = std::fs::read_to_string(remembered).ok()?;
    let [instance, dsn] = text.lines().collect::<Vec<_>>()[..] else { return None };
    let instance = instance.to_owned();
    Some(PostgresTarget { dsn: Secret::new(dsn), instance, interval_ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_was_found_once_is_recalled() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("seen-postgresql");
        assert!(recall(&path, 1).is_none());
        std::fs::write(&path, "localhost:5432\nhost=127.0.0.1 user=postgres\n").unwrap();
        let target = recall(&path, 7).unwrap();
        assert_eq!((target.instance.as_str(), target.interval_ms), ("localhost:5432", 7));
        std::fs::write(&path, "half").unwrap();
        assert!(recall(&path, 1).is_none());
    }

    #[tokio::test]
    async fn port_9187_answers_before_there_is_a_server() {
        let servers = |look_for: Option<&str>| Servers {
            collectors: Vec::new(),
            first: Arc::default(),
            none_wanted: look_for.is_none(),
            look_for: look_for.map(PathBuf::from),
            interval_ms: 1,
        };
        let page = servers(Some("x")).page().unwrap();
        assert!(page().await.contains("\npg_up 0\n"));
        assert!(servers(None).page().is_none(), "a configuration without PostgreSQL");
    }
}
