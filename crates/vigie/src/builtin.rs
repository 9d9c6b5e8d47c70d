//! The built-in collectors: Vigie itself, the host, PostgreSQL; and the pages of those that have a
//! classic port.

use crate::own_metrics::Sources;
use crate::plan::Plan;
use crate::postgres::Servers;
use std::sync::Arc;
use vigie_collect::Collector;
use vigie_collect::host::HostCollector;
use vigie_collect::selfmetrics::SelfMetrics;
use vigie_http::router;

/// The collectors and what else is known of them.
pub struct Builtin {
    /// Vigie's own metrics, for `/metrics`.
    pub own: Arc<SelfMetrics>,
    /// All of them.
    pub collectors: Vec<Arc<dyn Collector>>,
    /// What the classic ports of the exporters answer.
    pub pages: Vec<Page>,
    /// The PostgreSQL servers, one of which may still be looked for.
    pub servers: Servers,
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
    let servers = Servers::of(plan).await;
    let mut all = Builtin { own: own.clone(), collectors: vec![own], pages: Vec::new(), servers };
    if let Some(config) = &plan.host {
        let host = Arc::new(HostCollector::new(config.clone()));
        all.collectors.push(host.clone());
        let text: router::Page = Arc::new(move || {
            let host = host.clone();
            Box::pin(async move { host.exporter_page().await })
        });
        all.pages.push(Page { port: 9100, name: "Node Exporter", text });
    }
    let servers = &all.servers;
    all.collectors.extend(servers.collectors.iter().cloned());
    let page = servers.page().map(|text| Page { port: 9187, name: "Postgres Exporter", text });
    all.pages.extend(page);
    all
}

fn own(plan: &Plan, address: &str, sources: Arc<Sources>) -> Arc<SelfMetrics> {
    let instance = address.trim_start_matches("http://").to_owned();
    let own = SelfMetrics::new(instance, Arc::new(move || sources.read()));
    Arc::new(own.with_interval_ms(plan.own_interval_ms))
}
