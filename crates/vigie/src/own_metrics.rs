//! Vigie's own metrics: what the stores, the coordinator and the followed files count.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use vigie_codec::exposition::{Family, MetricKind};
use vigie_collect::tail::TailStats;
use vigie_engine::{Engine, QueryStats};
use vigie_http::Loading;
use vigie_model::limits::QueryLimits;
use vigie_watch::WatchHandle;

/// Help of `vigie_metrics_damaged`.
const METRICS_DAMAGED: &str = "Damaged places in the files of metrics that are passed over.";
/// Help of `vigie_logs_damaged`.
const LOGS_DAMAGED: &str = "Damaged places in the files of logs that are passed over.";

/// Help of `vigie_storage_paused`, which the shipped rule asks.
const PAUSED: &str = "Whether a store refuses new data because the disk is full.";
/// Help of `vigie_storage_free_bytes`.
const FREE: &str = "What the disk of a store has left.";

/// What is counted; the later parts are filled in when they have started.
pub struct Sources {
    /// The stores.
    pub engine: Arc<dyn Engine>,
    /// The coordinator.
    pub watch: OnceLock<Arc<WatchHandle>>,
    /// The followed files.
    pub tail: Arc<TailStats>,
    /// How the configuration was read.
    pub loading: Arc<Loading>,
}

impl Sources {
    /// What is there before the coordinator.
    pub fn new(engine: Arc<dyn Engine>, loading: Arc<Loading>) -> Sources {
        Sources { engine, watch: OnceLock::new(), tail: Arc::default(), loading }
    }

    /// Everything, read now.
    pub fn read(&self) -> Vec<Family> {
        let mut families = self.stores();
        families.extend(tail_families(&self.tail));
        families.extend(loading_families(&self.loading));
        if let Some(watch) = self.watch.get() {
            families.extend(watch_families(watch));
        }
        families.extend(query_families(&self.engine.stats().queries));
        families.extend(limit_families(self.engine.queries().limits()));
        families
    }

    fn stores(&self) -> Vec<Family> {
        use MetricKind::{Counter, Gauge};
        let stats = self.engine.stats();
        let mut build = Family::new("vigie_build_info", "The version of this program.", Gauge);
        build.push(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
        let one = |name, help, kind, value: u64| Family::single(name, help, kind, value as f64);
        vec![
            build,
            one("vigie_metrics_series", "Series that have had a sample.", Gauge, stats.series),
            one(
                "vigie_metrics_samples_appended_total",
                "Samples stored since the start.",
                Counter,
                stats.samples_appended,
            ),
            one(
                "vigie_metrics_disk_bytes",
                "Bytes of metrics on disk.",
                Gauge,
                stats.metrics_bytes,
            ),
            one("vigie_logs_streams", "Streams that hold lines.", Gauge, stats.streams),
            one(
                "vigie_logs_lines_appended_total",
                "Lines stored since the start.",
                Counter,
                stats.lines_appended,
            ),
            one("vigie_logs_disk_bytes", "Bytes of logs on disk.", Gauge, stats.logs_bytes),
            one("vigie_metrics_damaged", METRICS_DAMAGED, Gauge, stats.metrics_damaged),
            one("vigie_logs_damaged", LOGS_DAMAGED, Gauge, stats.logs_damaged),
            each_store(
                "vigie_storage_paused",
                PAUSED,
                [
                    Some(f64::from(u8::from(stats.metrics_paused))),
                    Some(f64::from(u8::from(stats.logs_paused))),
                ],
            ),
            each_store(
                "vigie_storage_free_bytes",
                FREE,
                [
                    stats.metrics_free_bytes.map(|bytes| bytes as f64),
                    stats.logs_free_bytes.map(|bytes| bytes as f64),
                ],
            ),
        ]
    }
}

/// Under the originals' names too, because people's alerts ask for them.
fn loading_families(loading: &Loading) -> Vec<Family> {
    let last = loading.last_reading();
    let is_successful = f64::from(u8::from(last.is_successful));
    let succeeded_at_s = last.succeeded_at_ms as f64 / 1000.0;
    let good = "Whether the configuration was right when it was read last.";
    let when = "When the configuration was read and right.";
    [
        ("vigie_config_last_reload_successful", good, is_successful),
        ("vigie_config_last_reload_success_timestamp_seconds", when, succeeded_at_s),
        ("prometheus_config_last_reload_successful", good, is_successful),
        ("prometheus_config_last_reload_success_timestamp_seconds", when, succeeded_at_s),
        ("alertmanager_config_last_reload_successful", good, is_successful),
        ("alertmanager_config_last_reload_success_timestamp_seconds", when, succeeded_at_s),
    ]
    .map(|(name, help, value)| Family::single(name, help, MetricKind::Gauge, value))
    .into()
}

/// A gauge with a value for each store that knows it: of metrics, then of logs.
fn each_store(name: &'static str, help: &'static str, values: [Option<f64>; 2]) -> Family {
    let mut family = Family::new(name, help, MetricKind::Gauge);
    for (store, value) in ["metrics", "logs"].into_iter().zip(values) {
        if let Some(value) = value {
            family.push(&[("store", store)], value);
        }
    }
    family
}

fn query_families(stats: &QueryStats) -> Vec<Family> {
    use MetricKind::{Counter, Gauge};
    let counted = [
        ("vigie_queries_total", "Questions asked.", stats.total),
        ("vigie_queries_killed_total", "Questions ended by somebody.", stats.killed),
        (
            "vigie_queries_refused_memory_total",
            "Questions refused because of the memory they would take.",
            stats.refused_memory,
        ),
        (
            "vigie_query_cache_hits_total",
            "Range queries answered in part from kept answers.",
            stats.cache_hits,
        ),
        (
            "vigie_query_cache_misses_total",
            "Range queries of which nothing was kept.",
            stats.cache_misses,
        ),
        (
            "vigie_query_cache_invalidations_total",
            "Times that a late sample or a deletion emptied the cache.",
            stats.cache_invalidations,
        ),
    ];
    let now = [
        ("vigie_queries_running", "Questions that are being answered.", stats.running),
        ("vigie_queries_queued", "Questions that wait for their turn.", stats.queued),
        ("vigie_queries_memory_bytes", "Memory that questions have reserved.", stats.held_bytes),
        ("vigie_query_cache_bytes", "Memory of kept answers.", stats.cache_bytes),
    ];
    let counted =
        counted.map(|(name, help, value)| Family::single(name, help, Counter, value as f64));
    let now = now.map(|(name, help, value)| Family::single(name, help, Gauge, value as f64));
    counted.into_iter().chain(now).collect()
}

/// The limits of questions, by the names under which the figures beside them are exported.
fn limit_families(limits: &QueryLimits) -> Vec<Family> {
    let limits = [
        (
            "vigie_query_memory_limit_bytes",
            "Memory that one question may hold.",
            limits.memory_bytes_max as f64,
        ),
        (
            "vigie_queries_memory_limit_bytes",
            "Memory that all questions together may hold.",
            limits.all_memory_bytes_max as f64,
        ),
        (
            "vigie_query_samples_limit",
            "Samples that one question may hold.",
            limits.samples_max as f64,
        ),
        ("vigie_queries_running_limit", "Questions answered at once.", limits.at_once() as f64),
        (
            "vigie_queries_queued_limit",
            "Questions that are answered or wait.",
            limits.queue_max as f64,
        ),
        (
            "vigie_query_timeout_seconds",
            "How long a question may take.",
            limits.timeout_ms as f64 / 1000.0,
        ),
        (
            "vigie_query_lookback_seconds",
            "How far back an instant looks for a sample.",
            limits.lookback_ms as f64 / 1000.0,
        ),
        (
            "vigie_query_cache_limit_bytes",
            "Memory that kept answers may take.",
            limits.cache_bytes_max as f64,
        ),
    ];
    let gauge = |(name, help, value)| Family::single(name, help, MetricKind::Gauge, value);
    limits.into_iter().map(gauge).collect()
}

fn tail_families(tail: &TailStats) -> Vec<Family> {
    use MetricKind::{Counter, Gauge};
    let one = |name, help, kind, value: &std::sync::atomic::AtomicU64| {
        Family::single(name, help, kind, value.load(Ordering::Relaxed) as f64)
    };
    vec![
        one("vigie_tail_files", "Files followed now.", Gauge, &tail.files),
        one("vigie_tail_lines_total", "Lines read from files and stored.", Counter, &tail.lines),
        one(
            "vigie_tail_cut_lines_total",
            "Lines cut because they were too long.",
            Counter,
            &tail.cut_lines,
        ),
        one(
            "vigie_tail_refused_pushes_total",
            "Pushes that the store refused.",
            Counter,
            &tail.refused_pushes,
        ),
        one(
            "vigie_tail_unreadable_total",
            "Files that could not be opened or read.",
            Counter,
            &tail.unreadable,
        ),
    ]
}

fn watch_families(watch: &WatchHandle) -> Vec<Family> {
    let mut families: Vec<Family> = Vec::new();
    for metric in watch.metrics() {
        let kind =
            if metric.name.ends_with("_total") { MetricKind::Counter } else { MetricKind::Gauge };
        let labels: Vec<(&'static str, &str)> =
            metric.labels.iter().map(|(name, text)| (*name, text.as_str())).collect();
        match families.iter_mut().find(|family| family.name == metric.name) {
            Some(family) => {
                family.push(&labels, metric.value);
            }
            None => {
                let mut family =
                    Family::new(metric.name, "What the coordinator of alerts counts.", kind);
                family.push(&labels, metric.value);
                families.push(family);
            }
        }
    }
    families
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is the failure report of a test")]

    use super::*;
    use std::time::{SystemTime, UNIX_EPOCH};
    use vigie_config::rules::RuleKind;
    use vigie_engine::{Durability, Embedded, EmbeddedOptions, EngineError, QueryOptions, When};
    use vigie_model::{Labels, Row};

    /// The expression of the shipped rule.
    fn shipped_rule() -> String {
        let texts = vigie_http::content::under("rules/");
        let groups = texts.flat_map(|(name, text)| {
            vigie_config::rule_groups(name, text, 15_000, &|_| Ok(())).unwrap()
        });
        let rules: Vec<_> = groups.flat_map(|group| group.rules).collect();
        let is_meant = |rule: &vigie_config::rules::Rule| matches!(&rule.kind, RuleKind::Alert { name, .. } if name == "VigieStoragePaused");
        rules.into_iter().find(is_meant).unwrap().expr
    }

    /// The program's own page, stored as its collector does; then what the rule answers.
    fn asked(engine: &Arc<Embedded>, ts_ms: i64) -> Vec<(Labels, f64)> {
        let loading = Arc::new(Loading::new(vigie_http::Loaded::default(), 0));
        let own = Sources::new(engine.clone(), loading);
        let mut series = Vec::new();
        let mut values = Vec::new();
        for family in own.read().iter().filter(|family| family.name.starts_with("vigie_storage")) {
            for sample in &family.samples {
                let pairs =
                    sample.labels.iter().map(|(name, text)| (name.to_string(), text.clone()));
                let name = [("__name__".to_owned(), family.name.clone().into_owned())];
                series.push(
                    engine.intern(&Labels::from_pairs(name.into_iter().chain(pairs))).unwrap(),
                );
                values.push(sample.value);
            }
        }
        let row = Row::floats(ts_ms, &series, &values);
        engine.append(&[row], Durability::Written).unwrap();
        let rule = vigie_promql::parse(&shipped_rule()).unwrap();
        let answer = engine.query_metrics(&rule, When::Instant(ts_ms), &QueryOptions::default());
        match answer.unwrap().value {
            vigie_promql::Value::Vector(found) => {
                found.into_iter().map(|one| (one.labels, one.value)).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_shipped_rule_fires_on_a_full_disk_though_pushes_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now_ms = now.as_millis() as i64;
        let open = |free_bytes_min| {
            let options = EmbeddedOptions { free_bytes_min, ..EmbeddedOptions::default() };
            Arc::new(Embedded::open(folder.path(), options).unwrap())
        };
        let engine = open(1);
        assert!(asked(&engine, now_ms).is_empty(), "there is room");
        let free_bytes = engine.free_bytes();
        drop(engine);
        // What is free is less than what is to be left, and more than half of it.
        let engine = open(free_bytes / 2 * 3);
        let up = engine.intern(&Labels::from_pairs([("__name__", "up")])).unwrap();
        let pushed = engine.append(&[Row::floats(now_ms, &[up], &[1.0])], Durability::Synced);
        assert!(matches!(pushed, Err(EngineError::Unavailable(_))), "{pushed:?}");
        let firing = asked(&engine, now_ms + 1000);
        let stores: Vec<_> =
            firing.iter().map(|(labels, _)| labels.value_or_empty("store")).collect();
        assert_eq!(stores, ["metrics", "logs"]);
        drop(engine);
        assert!(asked(&open(1), now_ms + 2000).is_empty(), "there is room again");
    }
}
