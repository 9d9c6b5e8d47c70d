//! Starts the parts in order, says where to look, and ends them in the opposite order.
//!
//! The order matters: ports first (a busy one must not cost a replay; they answer 503 until the end
//! of the start), then the lock and the stores, then the ledger, then what reads and what evaluates,
//! and last what answers.

use crate::adapt::{Alerts, Counting, Store, Targets};
use crate::builtin::{self, Builtin};
use crate::compaction;
use crate::listen;
use crate::own_metrics::Sources;
use crate::plan::{Plan, STARTS};
use crate::reload::{self, Reloader, Replan};
use crate::ruler::{self, Ruler};
use anyhow::{Context, Result};
use std::io::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use vigie_collect::tail::{TailConfig, TailSource, TailStats, Tailer};
use vigie_collect::{Collect, CollectHandle, Collector, LogMetrics};
use vigie_config::LogDeletes;
use vigie_engine::{Embedded, EmbeddedOptions, Engine};
use vigie_http::state::now_ms;
use vigie_http::{
    Door, Hosts, JobSettings, Loaded, Loading, Metadata, Notices, Parts, Reload, Settings, State,
    content, router,
};
use vigie_ledger::Ledger;
use vigie_model::duration::format_duration_ms;
use vigie_net::HttpClient;
use vigie_watch::{Connections, SystemClock, Watch, WatchConfig, WatchHandle};

/// Prometheus' notice while it ends.
const SHUTTING_DOWN: &str = "Prometheus is shutting down and gracefully stopping all operations.";

/// Everything that runs until the program is told to stop.
struct Running {
    notices: Arc<Notices>,
    quit: Arc<Notify>,
    embedded: Arc<Embedded>,
    collect: Arc<CollectHandle>,
    watch: Arc<WatchHandle>,
    reloader: JoinHandle<()>,
    tasks: Vec<JoinHandle<()>>,
}

/// Where the program listens.
struct Addresses {
    /// The first, as a browser writes it.
    url: String,
    port: u16,
    ips: Vec<IpAddr>,
}

/// Runs the plan until SIGINT or SIGTERM; a second one does not wait for a good end.
/// `replan` reads the files again.
pub async fn run(plan: Plan, replan: Replan) -> Result<()> {
    // Before anything else, because a hang-up that nobody expects ends the program.
    let hangup = signal(SignalKind::hangup())?;
    let listeners = listen::main(&plan.listen, plan.behind_proxy).await?;
    let addresses = addresses_of(&listeners)?;
    let (stop, stopped) = watch::channel(false);
    let door = Door::default();
    let doors: Vec<JoinHandle<()>> = listeners
        .into_iter()
        .map(|one| tokio::spawn(vigie_http::serve(one, door.clone(), stopped.clone())))
        .collect();
    let (mut running, reload) = start((plan, replan), &addresses, &door, &stopped).await?;
    running.tasks.extend(doors);
    running.tasks.push(tokio::spawn(reload::hangups(hangup, reload, stopped)));
    // Nobody may be reading; that is no reason to end.
    let _ = writeln!(std::io::stdout(), "Vigie watches this machine: {}", addresses.url);
    tokio::select! {
        asked = wait_for_the_end() => asked?,
        () = running.quit.notified() => tracing::info!("/-/quit was asked for"),
    }
    tracing::info!("stopping");
    running.notices.add(SHUTTING_DOWN, now_ms());
    stop.send_replace(true);
    running.notices.close();
    tokio::select! {
        ended = end(running) => ended,
        asked_again = wait_for_the_end() => {
            tracing::warn!("ending at once: what was acknowledged is on disk");
            asked_again
        }
    }
}

fn addresses_of(listeners: &[TcpListener]) -> Result<Addresses> {
    let all = listeners.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
    let first = all.first().context("there is no address to listen on")?;
    Ok(Addresses {
        url: format!("http://{first}"),
        port: first.port(),
        ips: all.iter().map(|address| address.ip()).collect(),
    })
}

async fn start(
    (plan, replan): (Plan, Replan),
    addresses: &Addresses,
    door: &Door,
    stopped: &watch::Receiver<bool>,
) -> Result<(Running, Reload)> {
    let started_at_ms = now_ms();
    let counting = Arc::new(counting(&plan)?);
    let embedded = open_stores(&plan, door).await?;
    let engine: Arc<dyn Engine> = embedded.clone();
    let metadata = Arc::new(Metadata::default());
    let store = Arc::new(Store { engine: engine.clone(), metadata: metadata.clone() });
    let loading = Arc::new(Loading::new(loaded(&plan), started_at_ms));
    let sources = Arc::new(Sources::new(engine.clone(), loading.clone()));
    let client = Arc::new(HttpClient::new());

    let watch = start_watch(&plan, &addresses.url, &store, &client)?;
    let _ = sources.watch.set(watch.clone());

    let Builtin { own, collectors, pages, servers } =
        builtin::collectors(&plan, &addresses.url, &sources).await;
    let collect = start_collect(&plan, collectors, &store, client);

    let (notices, quit) = (Arc::new(Notices::default()), Arc::new(Notify::new()));
    let mut tasks = vec![tokio::spawn(tick(engine.clone(), notices.clone(), stopped.clone()))];
    tasks.push(tokio::spawn(compaction::run(engine.clone(), stopped.clone())));
    tasks.push(tokio::spawn(servers.look(collect.clone(), stopped.clone())));
    engine.observe_logs(counting.clone());
    tasks.push(count_lines(&counting, &store, stopped));
    let (logs, following) = start_following(&plan, &sources.tail, &store, stopped);
    tasks.push(following);

    let (reload, requests) = Reload::channel();
    let parts = reload::Parts {
        watch: watch.clone(),
        collect: collect.clone(),
        logs,
        counting,
        store,
        loading: loading.clone(),
        notices: notices.clone(),
        url: addresses.url.clone(),
    };
    let reloader = tokio::spawn(Reloader::new(replan, parts, &plan).run(requests, stopped.clone()));

    let free = embedded.clone();
    let state = State::new(Parts {
        engine,
        alerts: Arc::new(Alerts { watch: watch.clone() }),
        ruler: Arc::new(Ruler::new(&watch, &plan)),
        targets: Arc::new(Targets(collect.clone())),
        notices: notices.clone(),
        settings: settings(&plan, addresses, &quit)?,
        loading,
        reload: reload.clone(),
        metadata,
        dashboards: dashboards()?,
        started_at_ms,
        retention_text: format_duration_ms(plan.config.metrics_retention_ms),
        logs_retention_text: format_duration_ms(plan.config.logs_retention_ms),
        free_bytes: Box::new(move || free.free_bytes()),
        demo: plan.demo,
        hosts: hosts(&plan, addresses)?,
        own_metrics: Box::new(move || own.exporter_page()),
    });
    door.open(router::main(state.clone()));
    if plan.config.classic_ports {
        tasks.extend(classic_ports(&state, pages, stopped).await);
    }
    Ok((Running { notices, quit, embedded, collect, watch, reloader, tasks }, reload))
}

fn start_collect(
    plan: &Plan,
    collectors: Vec<Arc<dyn Collector>>,
    store: &Arc<Store>,
    client: Arc<HttpClient>,
) -> Arc<CollectHandle> {
    let options = vigie_collect::Options {
        seen_path: Some(plan.directory.join("seen-targets")),
        ..Default::default()
    };
    Arc::new(Collect::start(plan.jobs.clone(), collectors, store.clone(), client, options))
}

/// The metrics made of lines; the patterns of the followed files are checked with them.
fn counting(plan: &Plan) -> Result<Counting> {
    let metrics = LogMetrics::new(&plan.config.log_metrics).map_err(anyhow::Error::msg)?;
    TailConfig::new(plan.logs.clone(), "").check()?;
    Ok(Counting::new(metrics, plan.own_interval_ms))
}

/// Begins to follow files; others can be sent.
fn start_following(
    plan: &Plan,
    stats: &Arc<TailStats>,
    store: &Arc<Store>,
    stopped: &watch::Receiver<bool>,
) -> (watch::Sender<Vec<TailSource>>, JoinHandle<()>) {
    let (logs, followed) = watch::channel(plan.logs.clone());
    let positions = plan.directory.join("positions");
    let following = follow(followed, positions, stats.clone(), store.clone(), stopped.clone());
    (logs, tokio::spawn(following))
}

/// Whom the listeners answer.
fn hosts(plan: &Plan, addresses: &Addresses) -> Result<Hosts> {
    let hosts = Hosts::new(&addresses.ips, plan.external_url.as_deref(), plan.behind_proxy);
    match &plan.cors_origin {
        None => Ok(hosts),
        Some(pattern) => hosts.with_cors(pattern).map_err(anyhow::Error::msg),
    }
}

/// Follows the files that the configuration names, and others when it names others.
async fn follow(
    mut sources: watch::Receiver<Vec<TailSource>>,
    positions: PathBuf,
    stats: Arc<TailStats>,
    store: Arc<Store>,
    stopped: watch::Receiver<bool>,
) {
    loop {
        let config = TailConfig::new(sources.borrow_and_update().clone(), &positions);
        let tailer = match Tailer::new(config, store.clone()) {
            Ok(tailer) => tailer.with_stats(stats.clone()),
            Err(error) => return tracing::error!("log files are not followed: {error}"),
        };
        let ended = async {
            tokio::select! {
                () = until(stopped.clone()) => {}
                // The sender lives as long as the program.
                _ = sources.changed() => {}
            }
        };
        tailer.run(ended).await;
        if *stopped.borrow() {
            return;
        }
    }
}

/// What the handlers show of the configuration.
pub fn loaded(plan: &Plan) -> Loaded {
    Loaded {
        config_yaml: plan.config.shown.yaml.clone(),
        jobs: job_settings(plan),
        external_labels: plan.config.external_labels.clone(),
        otlp: vigie_codec::otlp_metrics::Settings {
            allow_delta: has_feature(plan, DELTAS),
            type_and_unit_labels: has_feature(plan, TYPE_AND_UNIT_LABELS),
            ..plan.config.otlp.clone()
        },
    }
}

/// The flags of Prometheus that change what becomes of OpenTelemetry's metrics.
const DELTAS: &str = "otlp-native-delta-ingestion";
const TYPE_AND_UNIT_LABELS: &str = "type-and-unit-labels";

fn has_feature(plan: &Plan, name: &str) -> bool {
    plan.features.iter().any(|feature| feature == name)
}

fn job_settings(plan: &Plan) -> Vec<JobSettings> {
    let job = |(name, yaml): &(String, String)| JobSettings {
        relabel: plan
            .jobs
            .iter()
            .find(|job| job.job_name == *name)
            .map_or_else(Vec::new, |job| job.relabel.clone()),
        name: name.clone(),
        yaml: yaml.clone(),
    };
    plan.config.shown.jobs.iter().map(job).collect()
}

/// What the status pages show of what the program was told.
fn settings(plan: &Plan, addresses: &Addresses, quit: &Arc<Notify>) -> Result<Settings> {
    let directory = std::env::current_dir().context("there is no working directory")?;
    Ok(Settings {
        flags: plan.flags.clone(),
        external_url: plan.external_url.clone().unwrap_or_else(|| addresses.url.clone()),
        port: addresses.port,
        directory: directory.display().to_string(),
        host_name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        language: language_features(plan),
        search: has_feature(plan, "search-api"),
        admin_api: plan.admin_api,
        otlp: plan.otlp,
        log_deletes_refused: plan.config.log_deletes == LogDeletes::Disabled,
        lifecycle: plan.lifecycle.then(|| quit.clone()),
    })
}

/// The flag of Prometheus that keeps metric names to the end of an evaluation.
const DELAYED_NAME_REMOVAL: &str = "promql-delayed-name-removal";

/// The experimental parts of PromQL that were switched on by name.
fn language_features(plan: &Plan) -> vigie_promql::Features {
    let mut features = vigie_promql::Features::NONE;
    for name in &plan.features {
        features.enable(name);
    }
    features
}

async fn open_stores(plan: &Plan, door: &Door) -> Result<Arc<Embedded>> {
    let options = EmbeddedOptions {
        features: language_features(plan),
        delayed_name_removal: has_feature(plan, DELAYED_NAME_REMOVAL),
        metrics_retention_ms: plan.config.metrics_retention_ms,
        logs_retention_ms: plan.config.logs_retention_ms,
        logs_retention_streams: (plan.config.logs_retention_streams.iter())
            .map(|one| (one.matchers.clone(), one.period_ms))
            .collect(),
        log_delete_delay_ms: match plan.config.log_deletes {
            LogDeletes::FilterOnly => i64::MAX,
            _ => plan.config.log_delete_delay_ms,
        },
        late_window_ms: plan.config.late_window_ms,
        exemplars_max: plan.config.exemplars_max,
        starts: has_feature(plan, STARTS),
        queries: plan.config.queries,
        metrics_disk_bytes_max: plan.config.metrics_disk_bytes_max,
        logs_disk_bytes_max: plan.config.logs_disk_bytes_max,
        ..EmbeddedOptions::default()
    };
    for warning in &plan.config.warnings {
        tracing::warn!("{warning}");
    }
    let (directory, door) = (plan.directory.clone(), door.clone());
    tracing::info!("opening {}", directory.display());
    let opened = tokio::task::spawn_blocking(move || {
        let tell = |progress| door.tell(progress);
        let stores = Embedded::open_telling(&directory, options, &tell)?;
        // The stores judge what is too new by their last tick: the first comes before any sample.
        stores.tick(now_ms())?;
        Ok::<_, vigie_engine::EngineError>(stores)
    });
    opened.await?.map(Arc::new).context("cannot open the data directory")
}

/// The rules and who is told, links beginning with `address` when no other is known.
pub fn watch_config(plan: &Plan, address: &str) -> WatchConfig {
    let external_url = plan.external_url.as_deref().unwrap_or(address);
    let mut alerting = plan
        .config
        .alerting
        .clone()
        .unwrap_or_else(|| vigie_watch::without_receivers(external_url));
    alerting.external_url = external_url.to_owned();
    let language = plan.config.language.code().to_owned();
    // Those that clients sent are the ledger's, or of who ran before.
    WatchConfig { groups: plan.groups.clone(), sent_groups: Vec::new(), alerting, language }
}

fn start_watch(
    plan: &Plan,
    address: &str,
    store: &Arc<Store>,
    client: &Arc<HttpClient>,
) -> Result<Arc<WatchHandle>> {
    let ledger = Ledger::open(&plan.directory.join("ledger.sqlite"))?;
    let mut config = watch_config(plan, address);
    config.sent_groups =
        ruler::sent_before(&ledger.rule_groups()?, plan.config.log_rules_interval_ms);
    let connections = Connections {
        evaluator: store.clone(),
        sink: store.clone(),
        ledger: Arc::new(ledger),
        transport: client.clone(),
        clock: Arc::new(SystemClock),
    };
    Ok(Arc::new(Watch::start(config, connections)?))
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

/// Stores the sums of counted lines at intervals.
fn count_lines(
    counting: &Arc<Counting>,
    store: &Arc<Store>,
    stopped: &watch::Receiver<bool>,
) -> JoinHandle<()> {
    let (counting, store, mut stopped) = (counting.clone(), store.clone(), stopped.clone());
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = tokio::time::sleep(counting.interval()) => {}
                _ = stopped.changed() => return,
            }
            let (current, store) = (counting.current(), store.clone());
            if current.is_empty() {
                continue;
            }
            let written = tokio::task::spawn_blocking(move || current.write(&*store, now_ms()));
            if let Ok(Err(error)) = written.await {
                tracing::warn!("the metrics made of lines are stored the next time: {error}");
            }
        }
    })
}

/// Ends when the program is told to stop.
async fn until(mut stopped: watch::Receiver<bool>) {
    drop(stopped.wait_for(|stop| *stop).await);
}

/// Once a second: syncs, seals, retention. Trouble is said once, until it is over.
async fn tick(engine: Arc<dyn Engine>, notices: Arc<Notices>, mut stopped: watch::Receiver<bool>) {
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
            notices.remove(&trouble);
            if now.is_empty() {
                tracing::info!("the stores are written to again");
            } else {
                tracing::error!("{now}");
                notices.add(&now, now_ms());
            }
            trouble = now;
        }
    }
}

async fn classic_ports(
    state: &State,
    pages: Vec<builtin::Page>,
    stopped: &watch::Receiver<bool>,
) -> Vec<JoinHandle<()>> {
    let mut routers = vec![
        (3001, "Grafana", router::grafana(state.clone())),
        (3100, "Loki", router::loki(state.clone())),
        (9093, "Alertmanager", router::alertmanager(state.clone())),
    ];
    routers.extend(pages.into_iter().map(|page| {
        (page.port, page.name, router::exporter(page.text, page.name, state.hosts.clone()))
    }));
    let mut tasks = Vec::new();
    for (port, name, router) in routers {
        if let Some(listener) = listen::classic(port, name).await {
            let door = Door::open_with(router);
            tasks.push(tokio::spawn(vigie_http::serve(listener, door, stopped.clone())));
        }
    }
    tasks
}

async fn wait_for_the_end() -> Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = term.recv() => Ok(()),
        ended = tokio::signal::ctrl_c() => Ok(ended?),
    }
}

/// Everybody has been told to stop: what reads first, then what evaluates, then the stores.
async fn end(running: Running) -> Result<()> {
    // A configuration that is being taken over starts what must be stopped after it.
    if let Err(error) = running.reloader.await {
        tracing::warn!("a part did not end well: {error}");
    }
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
