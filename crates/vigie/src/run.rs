//! Starts the parts in order, says where to look, and ends them in the opposite order.
//!
//! The order matters: ports first (a busy one must not cost a replay), then the lock and the stores,
//! then the ledger, then what reads, what evaluates, and last what answers.

use crate::adapt::{Alerts, Store, Targets};
use crate::listen;
use crate::own_metrics::Sources;
use crate::plan::Plan;
use crate::postgres::Servers;
use anyhow::{Context, Result};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use vigie_collect::host::HostCollector;
use vigie_collect::selfmetrics::SelfMetrics;
use vigie_collect::tail::{TailConfig, Tailer};
use vigie_collect::{Collect, CollectHandle, Collector};
use vigie_engine::{Embedded, EmbeddedOptions, Engine};
use vigie_http::state::{QUERIES_AT_ONCE_MAX, now_ms};
use vigie_http::{Metadata, Parts, State, content, router};
use vigie_ledger::Ledger;
use vigie_model::duration::format_duration_ms;
use vigie_net::HttpClient;
use vigie_watch::{Connections, SystemClock, Watch, WatchConfig, WatchHandle};

/// An exporter's classic port, its name and its page.
type ClassicPage = (u16, &'static str, router::Page);

/// Everything that runs until the program is told to stop.
struct Running {
    embedded: Arc<Embedded>,
    collect: Arc<CollectHandle>,
    watch: Arc<WatchHandle>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// Runs the plan until SIGINT or SIGTERM.
pub async fn run(plan: Plan) -> Result<()> {
    let listeners = listen::main(&plan.listen, plan.behind_proxy).await?;
    let address = format!("http://{}", listeners[0].local_addr()?);
    let running = start(plan, listeners, &address).await?;
    println!("Vigie watches this machine: {address}");
    wait_for_the_end().await?;
    end(running).await
}

async fn start(plan: Plan, listeners: Vec<TcpListener>, address: &str) -> Result<Running> {
    let started_at_ms = now_ms();
    let (stop, stopped) = watch::channel(false);
    let embedded = open_stores(&plan).await?;
    let engine: Arc<dyn Engine> = embedded.clone();
    let metadata = Arc::new(Metadata::default());
    let store = Arc::new(Store { engine: engine.clone(), metadata: metadata.clone() });
    let sources =
        Arc::new(Sources { engine: engine.clone(), watch: OnceLock::new(), tail: OnceLock::new() });
    let client = Arc::new(HttpClient::new());

    let external_url = plan.external_url.clone().unwrap_or_else(|| address.to_owned());
    let (watch, receivers) = start_watch(&plan, &external_url, &store, &client)?;
    let _ = sources.watch.set(watch.clone());

    let own = own_collector(&plan, address, &sources);
    let servers = Servers::of(&plan).await;
    let (collectors, pages) = collectors(&plan, own.clone(), &servers);
    let options = vigie_collect::Options {
        seen_path: Some(plan.directory.join("seen-targets")),
        ..Default::default()
    };
    let collect =
        Arc::new(Collect::start(plan.jobs.clone(), collectors, store.clone(), client, options));

    let mut tasks = vec![tokio::spawn(tick(engine.clone(), stopped.clone()))];
    tasks.push(tokio::spawn(servers.look(collect.clone(), stopped.clone())));
    let tailer =
        Tailer::new(TailConfig::new(plan.logs.clone(), plan.directory.join("positions")), store)?;
    let _ = sources.tail.set(tailer.stats());
    tasks.push(tokio::spawn(tailer.run(until(stopped.clone()))));

    let free = embedded.clone();
    let state = State::new(Parts {
        engine,
        alerts: Arc::new(Alerts { watch: watch.clone(), receivers }),
        targets: Arc::new(Targets(collect.clone())),
        metadata,
        dashboards: dashboards()?,
        started_at_ms,
        retention_text: format_duration_ms(plan.config.metrics_retention_ms),
        logs_retention_text: format_duration_ms(plan.config.logs_retention_ms),
        free_bytes: Box::new(move || free.free_bytes()),
        demo: plan.demo,
        ready: AtomicBool::new(true),
        own_metrics: Box::new(move || own.exporter_page()),
        turns: Arc::new(Semaphore::new(QUERIES_AT_ONCE_MAX)),
    });
    for listener in listeners {
        tasks.push(tokio::spawn(vigie_http::serve(
            listener,
            router::main(state.clone()),
            stopped.clone(),
        )));
    }
    if plan.config.classic_ports {
        tasks.extend(classic_ports(&state, pages, &stopped).await);
    }
    Ok(Running { embedded, collect, watch, stop, tasks })
}

async fn open_stores(plan: &Plan) -> Result<Arc<Embedded>> {
    let options = EmbeddedOptions {
        metrics_retention_ms: plan.config.metrics_retention_ms,
        logs_retention_ms: plan.config.logs_retention_ms,
    };
    let directory = plan.directory.clone();
    let opened = tokio::task::spawn_blocking(move || Embedded::open(&directory, options)).await?;
    opened.map(Arc::new).context("cannot open the data directory")
}

fn start_watch(
    plan: &Plan,
    external_url: &str,
    store: &Arc<Store>,
    client: &Arc<HttpClient>,
) -> Result<(Arc<WatchHandle>, Vec<String>)> {
    let mut alerting = plan
        .config
        .alerting
        .clone()
        .unwrap_or_else(|| vigie_watch::without_receivers(external_url));
    alerting.external_url = external_url.to_owned();
    let receivers = alerting.receivers.iter().map(|receiver| receiver.name.clone()).collect();
    let ledger = Ledger::open(&plan.directory.join("ledger.sqlite"))?;
    let config = WatchConfig { groups: plan.groups.clone(), alerting, language: "en".to_owned() };
    let connections = Connections {
        evaluator: store.clone(),
        sink: store.clone(),
        ledger: Arc::new(ledger),
        transport: client.clone(),
        clock: Arc::new(SystemClock),
    };
    Ok((Arc::new(Watch::start(config, connections)?), receivers))
}

fn own_collector(plan: &Plan, address: &str, sources: &Arc<Sources>) -> Arc<SelfMetrics> {
    let instance = address.trim_start_matches("http://").to_owned();
    let sources = sources.clone();
    let own = SelfMetrics::new(instance, Arc::new(move || sources.read()));
    Arc::new(own.with_interval_ms(plan.own_interval_ms))
}

/// The built-in collectors, and the pages of those that have a classic port.
fn collectors(
    plan: &Plan,
    own: Arc<SelfMetrics>,
    servers: &Servers,
) -> (Vec<Arc<dyn Collector>>, Vec<ClassicPage>) {
    let mut collectors: Vec<Arc<dyn Collector>> = vec![own];
    let mut pages: Vec<ClassicPage> = Vec::new();
    if let Some(config) = &plan.host {
        let host = Arc::new(HostCollector::new(config.clone()));
        collectors.push(host.clone());
        let page: router::Page = Arc::new(move || {
            let host = host.clone();
            Box::pin(async move { host.exporter_page().await })
        });
        pages.push((9100, "Node Exporter", page));
    }
    collectors.extend(servers.collectors.iter().cloned());
    pages.extend(servers.page().map(|page| (9187, "Postgres Exporter", page)));
    (collectors, pages)
}

fn dashboards() -> Result<Vec<vigie_dashboards::Dashboard>> {
    let mut dashboards = Vec::new();
    for (name, text) in content::under("dashboards/") {
        let (dashboard, _) = vigie_dashboards::normalise(text)
            .with_context(|| format!("content/dashboards/{name}"))?;
        dashboards.push(dashboard);
    }
    Ok(dashboards)
}

/// Ends when the program is told to stop.
async fn until(mut stopped: watch::Receiver<bool>) {
    drop(stopped.wait_for(|stop| *stop).await);
}

/// Once a second: syncs, seals, retention. Trouble is said once, until it is over.
async fn tick(engine: Arc<dyn Engine>, mut stopped: watch::Receiver<bool>) {
    let mut timer = tokio::time::interval(Duration::from_secs(1));
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut trouble = String::new();
    loop {
        tokio::select! {
            _ = timer.tick() => {}
            _ = stopped.changed() => return,
        }
        let engine = engine.clone();
        let ticked = tokio::task::spawn_blocking(move || engine.tick(now_ms())).await;
        let now = match ticked {
            Ok(Ok(())) => String::new(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        if now != trouble {
            if now.is_empty() {
                tracing::info!("the stores are written to again");
            } else {
                tracing::error!("{now}");
            }
            trouble = now;
        }
    }
}

async fn classic_ports(
    state: &State,
    pages: Vec<ClassicPage>,
    stopped: &watch::Receiver<bool>,
) -> Vec<JoinHandle<()>> {
    let mut routers = vec![
        (3001, "Grafana", router::grafana(state.clone())),
        (3100, "Loki", router::loki(state.clone())),
        (9093, "Alertmanager", router::alertmanager(state.clone())),
    ];
    routers.extend(
        pages.into_iter().map(|(port, name, page)| (port, name, router::exporter(page, name))),
    );
    let mut tasks = Vec::new();
    for (port, name, router) in routers {
        if let Some(listener) = listen::classic(port, name).await {
            tasks.push(tokio::spawn(vigie_http::serve(listener, router, stopped.clone())));
        }
    }
    tasks
}

async fn wait_for_the_end() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut term, mut hup) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    loop {
        tokio::select! {
            _ = term.recv() => return Ok(()),
            _ = hup.recv() => tracing::warn!("reading the configuration again is not built yet: restart Vigie"),
            ended = tokio::signal::ctrl_c() => return Ok(ended?),
        }
    }
}

async fn end(running: Running) -> Result<()> {
    tracing::info!("stopping");
    running.stop.send_replace(true);
    running.collect.stop().await;
    running.watch.stop().await;
    for task in running.tasks {
        if let Err(error) = task.await {
            tracing::warn!("a part did not end well: {error}");
        }
    }
    tokio::task::spawn_blocking(move || running.embedded.close())
        .await?
        .context("the stores did not close well")
}
