//! The built-in collectors: Vigie itself, the host, PostgreSQL; and the pages of those that have a
//! classic port.

use crate::own_metrics::Sources;
use crate::plan::Plan;
use std::path::Path;
use std::sync::Arc;
use vigie_collect::Collector;
use vigie_collect::host::HostCollector;
use vigie_collect::postgres::PostgresCollector;
use vigie_collect::selfmetrics::SelfMetrics;
use vigie_config::http_client::Secret;
use vigie_config::scrape::PostgresTarget;
use vigie_http::router;

/// The collectors and what else is known of them.
pub struct Builtin {
    /// Vigie's own metrics, for `/metrics`.
    pub own: Arc<SelfMetrics>,
    /// All of them.
    pub collectors: Vec<Arc<dyn Collector>>,
    /// What the classic ports of the exporters answer.
    pub pages: Vec<Page>,
}

/// The page of an exporter.
pub struct Page {
    /// Its classic port.
    pub port: u16,
    /// The exporter's name.
    pub name: &'static str,
    /// Writes it.
    pub text: router::Page,
}

/// Those that the plan names or that are found.
pub async fn collectors(plan: &Plan, address: &str, sources: &Arc<Sources>) -> Builtin {
    let own = own(plan, address, sources.clone());
    let mut all = Builtin { own: own.clone(), collectors: vec![own], pages: Vec::new() };
    if let Some(config) = &plan.host {
        let host = Arc::new(HostCollector::new(config.clone()));
        all.collectors.push(host.clone());
        let text: router::Page = Arc::new(move || {
            let host = host.clone();
            Box::pin(async move { host.exporter_page().await })
        });
        all.pages.push(Page { port: 9100, name: "Node Exporter", text });
    }
    for (at, target) in postgres_targets(plan).await.into_iter().enumerate() {
        let postgres = Arc::new(PostgresCollector::new(target));
        all.collectors.push(postgres.clone());
        if at == 0 {
            let text: router::Page = Arc::new(move || {
                let postgres = postgres.clone();
                Box::pin(async move { postgres.exporter_page().await })
            });
            all.pages.push(Page { port: 9187, name: "Postgres Exporter", text });
        }
    }
    all
}

fn own(plan: &Plan, address: &str, sources: Arc<Sources>) -> Arc<SelfMetrics> {
    let instance = address.trim_start_matches("http://").to_owned();
    let own = SelfMetrics::new(instance, Box::new(move || sources.read()));
    Arc::new(own.with_interval_ms(plan.own_interval_ms))
}

/// The servers that were named, or the one found now or at an earlier start: a server that has been
/// seen stays a target, so that its death is seen.
async fn postgres_targets(plan: &Plan) -> Vec<PostgresTarget> {
    if let Some(named) = &plan.postgres {
        return named.clone();
    }
    let remembered = plan.directory.join("seen-postgresql");
    if let Some(found) = vigie_collect::postgres::discover().await {
        let text = format!("{}\n{}\n", found.instance, found.dsn.expose());
        if let Err(error) = std::fs::write(&remembered, text) {
            tracing::warn!("{}: {error}", remembered.display());
        }
        return vec![found];
    }
    remembered_target(&remembered, plan.config.scrape_interval_ms).into_iter().collect()
}

fn remembered_target(file: &Path, interval_ms: i64) -> Option<PostgresTarget> {
    let text = std::fs::read_to_string(file).ok()?;
    let (instance, dsn) = text.trim_end().split_once('\n')?;
    Some(PostgresTarget { dsn: Secret::new(dsn), instance: instance.to_owned(), interval_ms })
}
