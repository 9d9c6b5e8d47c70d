//! The seams between the parts: each adapter is the smallest thing that fits one trait to another.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use vigie_codec::exposition::MetricKind;
use vigie_collect::tail::LogSink;
use vigie_collect::{CollectHandle, LogMetrics, MetricSink, Said, SaidFamily};
use vigie_config::rules::QueryLanguage;
use vigie_engine::{
    Durability, Engine, EngineError, LogObserver, LogWhen, PushBatch, QueryOptions, When,
};
use vigie_http::Metadata;
use vigie_http::views::{
    ActiveView, AlertInstance, AlertRuleView, AlertView, DroppedTargets, GroupView,
    NotificationView, RuleView, SaidBy, SaidOfMetric, Target, TargetView,
};
use vigie_model::{Exemplar, Labels, LogEntry, Row, SeriesId};
use vigie_watch::{
    AlertState, AlertStatus, GroupStatus, Health, RuleEvaluator, RuleStatus, SampleSink,
    WatchHandle,
};

/// The engine, as collectors, followed files and rules see it.
pub struct Store {
    /// Where everything goes.
    pub engine: Arc<dyn Engine>,
    /// What targets say of their metrics.
    pub metadata: Arc<Metadata>,
}

impl MetricSink for Store {
    fn intern(&self, labels: &Labels) -> Result<SeriesId, String> {
        self.engine.intern(labels).map_err(|error| error.to_string())
    }

    fn append(&self, rows: &[Row<'_>]) -> Result<(), String> {
        self.engine.append(rows, Durability::Written).map(drop).map_err(|error| error.to_string())
    }

    fn exemplars(&self, exemplars: &[(SeriesId, Exemplar)]) -> Result<(), String> {
        let done = self.engine.append_exemplars(exemplars, Durability::Written);
        done.map_err(|error| error.to_string())
    }

    fn wants_starts(&self) -> bool {
        self.engine.stores_starts()
    }

    fn starts(&self, starts: &[(SeriesId, i64, i64)]) -> Result<(), String> {
        let done = self.engine.append_starts(starts, Durability::Written);
        done.map_err(|error| error.to_string())
    }

    fn metadata(&self, name: &str, kind: MetricKind, help: &str, unit: &str) {
        self.metadata.learn(name, kind.as_str(), help, unit);
    }
}

impl LogSink for Store {
    fn push(&self, labels: &Labels, entries: &[LogEntry]) -> Result<(), String> {
        match self.engine.push(&[PushBatch { labels, entries }], Durability::Written) {
            Ok(report) => {
                if let Some(refusal) = report.refusal {
                    tracing::warn!("lines of {labels} are not stored: {refusal}");
                }
                Ok(())
            }
            // Sending them again would not help.
            Err(EngineError::Refused(message)) => {
                tracing::warn!("lines of {labels} are not stored: {message}");
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

/// The metrics made of lines, as the engine tells them of pushes.
pub struct Counting {
    metrics: RwLock<Arc<LogMetrics>>,
    interval_ms: AtomicI64,
}

impl Counting {
    /// Counts according to these rules, whose sums are stored at intervals.
    pub fn new(metrics: LogMetrics, interval_ms: i64) -> Counting {
        let metrics = RwLock::new(Arc::new(metrics));
        Counting { metrics, interval_ms: AtomicI64::new(interval_ms) }
    }

    /// How often sums are stored.
    pub fn interval(&self) -> Duration {
        let interval_ms = self.interval_ms.load(Ordering::Relaxed);
        Duration::from_millis(interval_ms.unsigned_abs().max(1))
    }

    /// The rules that count now.
    pub fn current(&self) -> Arc<LogMetrics> {
        self.metrics.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts according to others from now on.
    pub fn replace(&self, metrics: Arc<LogMetrics>, interval_ms: i64) {
        *self.metrics.write().unwrap_or_else(PoisonError::into_inner) = metrics;
        self.interval_ms.store(interval_ms, Ordering::Relaxed);
    }
}

impl LogObserver for Counting {
    fn stored(&self, batches: &[PushBatch<'_>]) {
        let metrics = self.current();
        for batch in batches {
            metrics.look(batch.labels, batch.entries);
        }
    }
}

impl RuleEvaluator for Store {
    fn instant(
        &self,
        language: QueryLanguage,
        expr: &str,
        ts_ms: i64,
    ) -> Result<Vec<(Labels, f64)>, String> {
        match language {
            QueryLanguage::PromQl => self.of_metrics(expr, ts_ms),
            QueryLanguage::LogQl => self.of_lines(expr, ts_ms),
        }
    }

    fn is_fresh(&self, ts_ms: i64) -> bool {
        // A store that cannot answer says so when the rules ask.
        self.of_metrics("count(up)", ts_ms).map_or(true, |vector| !vector.is_empty())
    }
}

impl Store {
    fn of_metrics(&self, expr: &str, ts_ms: i64) -> Result<Vec<(Labels, f64)>, String> {
        let expr = vigie_promql::parse(expr).map_err(|error| error.to_string())?;
        let answer =
            self.engine.query_metrics(&expr, When::Instant(ts_ms), &QueryOptions::default());
        match answer.map_err(|error| error.to_string())?.value {
            vigie_promql::Value::Vector(samples) => {
                match samples.iter().find(|one| one.histogram.is_some()) {
                    Some(native) => Err(format!(
                        "the rule yields a native histogram for {}, which rules cannot store yet; \
                         use histogram_quantile, histogram_count or their like",
                        native.labels
                    )),
                    None => Ok(samples.into_iter().map(|one| (one.labels, one.value)).collect()),
                }
            }
            vigie_promql::Value::Scalar { value, .. } => Ok(vec![(Labels::default(), value)]),
            _ => Err("rule result is not a vector or scalar".to_owned()),
        }
    }

    fn of_lines(&self, expr: &str, ts_ms: i64) -> Result<Vec<(Labels, f64)>, String> {
        let expr = vigie_logql::parse(expr).map_err(|error| error.to_string())?;
        let when = LogWhen::Instant(ts_ms.saturating_mul(1_000_000));
        let answer = self.engine.query_log_metrics(&expr, when, &QueryOptions::default());
        match answer.map_err(|error| error.to_string())? {
            vigie_logql::Value::Vector(samples) => Ok(samples
                .into_iter()
                .map(|one| (Labels::from_pairs(one.labels.iter()), one.value))
                .collect()),
            vigie_logql::Value::Scalar { value, .. } => Ok(vec![(Labels::default(), value)]),
            vigie_logql::Value::Matrix(_) => {
                Err("rule result is not a vector or scalar".to_owned())
            }
        }
    }
}

impl SampleSink for Store {
    fn write(&self, ts_ms: i64, samples: &[(Labels, f64)]) -> Result<(), String> {
        let mut series = Vec::with_capacity(samples.len());
        for (labels, _) in samples {
            series.push(self.engine.intern(labels).map_err(|error| error.to_string())?);
        }
        let values: Vec<f64> = samples.iter().map(|(_, value)| *value).collect();
        let row = Row::floats(ts_ms, &series, &values);
        self.engine.append(&[row], Durability::Written).map(drop).map_err(|error| error.to_string())
    }
}

/// The coordinator, as the API sees it.
pub struct Alerts {
    /// The running coordinator.
    pub watch: Arc<WatchHandle>,
}

impl AlertView for Alerts {
    fn groups(&self) -> Vec<GroupView> {
        self.watch.rules().into_iter().map(group_view).collect()
    }

    fn active(&self) -> Vec<ActiveView> {
        let alerts = self.watch.am_alerts().into_iter();
        alerts
            .map(|alert| ActiveView {
                labels: alert.labels,
                annotations: Labels::from_pairs(alert.annotations),
                fingerprint: alert.fingerprint,
                starts_at_ms: alert.starts_at_ms,
                ends_at_ms: alert.ends_at_ms,
                updated_at_ms: alert.updated_at_ms,
                receivers: alert.receivers,
                generator_url: alert.generator_url,
            })
            .collect()
    }

    fn receivers(&self) -> Vec<String> {
        self.watch.receivers()
    }

    fn notifications(&self, limit: usize) -> Result<Vec<NotificationView>, String> {
        let rows = self.watch.notifications(limit).map_err(|error| error.to_string())?;
        let view = |row: vigie_watch::NotificationStatus| NotificationView {
            id: row.id,
            created_at_ms: row.created_at_ms,
            alertname: row.alertname,
            status: if row.firing { "firing" } else { "resolved" }.to_owned(),
            receiver: row.receiver,
            integration: row.kind,
            state: row.state.as_str().to_owned(),
            attempts: i64::from(row.attempts),
            next_at_ms: row.next_at_ms,
            sent_at_ms: row.sent_at_ms,
            last_error: row.last_error.unwrap_or_default(),
        };
        Ok(rows.into_iter().map(view).collect())
    }
}

fn group_view(group: GroupStatus) -> GroupView {
    let is_logql = group.language == QueryLanguage::LogQl;
    // As the parser prints it, which is what the originals show.
    let printed = |query: String| match is_logql {
        true => vigie_logql::parse(&query).map_or(query, |expr| expr.to_string()),
        false => vigie_promql::parse(&query).map_or(query, |expr| expr.to_string()),
    };
    GroupView {
        is_logql,
        name: group.name,
        file: group.file,
        interval_ms: group.interval_ms,
        limit: group.limit,
        last_evaluation_ms: group.last_evaluation_ms.unwrap_or(0),
        evaluation_ms: group.evaluation_time_s * 1000.0,
        rules: group.rules.into_iter().map(|rule| rule_view(rule, printed)).collect(),
    }
}

fn rule_view(rule: RuleStatus, printed: impl Fn(String) -> String) -> RuleView {
    let alert = rule.alerting.then(|| AlertRuleView {
        state: rule.state.map_or("inactive", AlertState::as_str),
        for_ms: rule.for_ms,
        keep_firing_for_ms: rule.keep_firing_for_ms,
        annotations: Labels::from_pairs(rule.annotations.clone()),
        alerts: rule.alerts.into_iter().map(instance).collect(),
    });
    RuleView {
        name: rule.name,
        expr: printed(rule.query),
        labels: Labels::from_pairs(rule.labels),
        health: Health::as_str(rule.health),
        last_error: rule.last_error.unwrap_or_default(),
        last_evaluation_ms: rule.last_evaluation_ms.unwrap_or(0),
        evaluation_ms: rule.evaluation_time_s * 1000.0,
        alert,
    }
}

fn instance(alert: AlertStatus) -> AlertInstance {
    AlertInstance {
        labels: alert.labels,
        annotations: Labels::from_pairs(alert.annotations),
        state: alert.state.as_str(),
        active_at_ms: alert.active_at_ms,
        keep_firing_since_ms: alert.keep_firing_since_ms,
        value: alert.value,
    }
}

/// The running collectors, as the API sees them.
pub struct Targets(pub Arc<CollectHandle>);

impl TargetView for Targets {
    fn list(&self) -> Vec<Target> {
        let targets = self.0.targets().into_iter();
        targets
            .map(|one| Target {
                discovered_labels: one.discovered_labels,
                labels: one.labels,
                scrape_pool: one.scrape_pool,
                scrape_url: one.scrape_url,
                last_error: one.last_error,
                last_scrape_ms: one.last_scrape_ms,
                last_duration_ms: one.last_duration_ms,
                health: one.health.as_str(),
                interval_ms: one.interval_ms,
                timeout_ms: one.timeout_ms,
            })
            .collect()
    }

    fn said(&self) -> Vec<(Labels, SaidBy)> {
        let by = |(labels, said): (Labels, Arc<Said>)| {
            let list: SaidBy = Arc::new(move |wanted| {
                let families = said.list(wanted).into_iter();
                families
                    .map(|SaidFamily { name, kind, help, unit }| SaidOfMetric {
                        name,
                        kind: kind.as_str(),
                        help,
                        unit,
                    })
                    .collect()
            });
            (labels, list)
        };
        self.0.said().into_iter().map(by).collect()
    }

    fn dropped(&self) -> Vec<DroppedTargets> {
        let job = |(scrape_pool, discovered_labels): (String, Vec<Labels>)| DroppedTargets {
            count: discovered_labels.len(),
            scrape_pool,
            discovered_labels,
        };
        self.0.dropped().into_iter().map(job).collect()
    }
}
