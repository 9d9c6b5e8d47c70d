//! The engine of one machine: the languages over the stores in the data directory.
//!
//! It owns the directory's lock. The layout below the data directory is `metrics/`, `logs/` and
//! whatever other parts of the program keep beside them.

mod deletions;
mod logs;
mod metrics;
mod snapshot;

use crate::cache::Cache;
use crate::{
    AppendReport, Durability, Engine, EngineError, EngineStats, LogDeletion, LogObserver,
    LogVolume, LogWhen, MetricsBlock, PushBatch, PushReport, Queries, QueryError, QueryOptions,
    QueryStats, SamplesReport, When,
};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use vigie_disk::{DirLock, Disk, DiskError, Meter, RealDisk, Tell};
use vigie_model::limits::QueryLimits;
use vigie_model::{
    Direction, Exemplar, Labels, LogRange, Matcher, Pushed, Row, Selection, SeriesId, TimeRange,
};

/// What the owner of the directory decides.
#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    /// How long metrics are kept, in milliseconds.
    pub metrics_retention_ms: i64,
    /// How long lines are kept, in milliseconds.
    pub logs_retention_ms: i64,
    /// Streams whose lines are kept for a shorter or a longer time, in milliseconds; the first that
    /// matches a stream counts.
    pub logs_retention_streams: Vec<(Vec<Matcher>, i64)>,
    /// How long a request to delete lines waits before they leave the disk; `i64::MAX` hides them
    /// only.
    pub log_delete_delay_ms: i64,
    /// The oldest metrics are removed while their files are larger than this.
    pub metrics_disk_bytes_max: Option<u64>,
    /// The oldest lines are removed while their files are larger than this.
    pub logs_disk_bytes_max: Option<u64>,
    /// Which experimental parts of PromQL may be used.
    pub features: vigie_promql::Features,
    /// Whether PromQL drops metric names at the end only.
    pub delayed_name_removal: bool,
    /// How much older than the newest of its target a sample may be, in milliseconds.
    pub late_window_ms: i64,
    /// Whether start timestamps are stored.
    pub starts: bool,
    /// Exemplars that are kept.
    pub exemplars_max: usize,
    /// What questions may take.
    pub queries: QueryLimits,
    /// New data is refused while the disk has less than this left.
    pub free_bytes_min: u64,
}

impl Default for EmbeddedOptions {
    fn default() -> EmbeddedOptions {
        let (metrics, logs) = (vigie_metrics::Options::default(), vigie_logs::Options::default());
        EmbeddedOptions {
            metrics_retention_ms: metrics.retention_ms,
            logs_retention_ms: logs.retention_ms,
            logs_retention_streams: Vec::new(),
            log_delete_delay_ms: logs.delete_delay_ms,
            metrics_disk_bytes_max: None,
            logs_disk_bytes_max: None,
            features: vigie_promql::Features::NONE,
            delayed_name_removal: false,
            late_window_ms: metrics.late_window_ms,
            starts: metrics.starts,
            exemplars_max: metrics.exemplars_max,
            queries: QueryLimits::default(),
            free_bytes_min: metrics.free_bytes_min,
        }
    }
}

/// Both stores of a data directory.
pub struct Embedded {
    disk: Arc<dyn Disk>,
    directory: std::path::PathBuf,
    metrics: vigie_metrics::Store,
    stores_starts: bool,
    logs: vigie_logs::Store,
    queries: Arc<Queries>,
    cache: Cache,
    language: metrics::Language,
    observers: RwLock<Vec<Arc<dyn LogObserver>>>,
    _lock: DirLock,
}

impl Embedded {
    /// Locks the directory (made when it is missing) and opens both stores.
    pub fn open(directory: &Path, options: EmbeddedOptions) -> Result<Embedded, EngineError> {
        Embedded::open_telling(directory, options, &|_| ())
    }

    /// [`Embedded::open`] that tells how far it is.
    pub fn open_telling(
        directory: &Path,
        options: EmbeddedOptions,
        tell: &Tell<'_>,
    ) -> Result<Embedded, EngineError> {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        disk.create_dir_all(directory).map_err(unavailable)?;
        let lock = DirLock::acquire(directory).map_err(unavailable)?;
        let metrics = vigie_metrics::Options {
            retention_ms: options.metrics_retention_ms,
            disk_bytes_max: options.metrics_disk_bytes_max,
            late_window_ms: options.late_window_ms,
            starts: options.starts,
            exemplars_max: options.exemplars_max,
            // A selection is held by its query.
            selection_bytes_max: usize::try_from(options.queries.memory_bytes_max)
                .unwrap_or(usize::MAX),
            free_bytes_min: options.free_bytes_min,
            ..Default::default()
        };
        let metrics_dir = directory.join("metrics");
        let metrics = vigie_metrics::Store::open_telling(disk.clone(), &metrics_dir, metrics, tell);
        Meter::start(tell, "the logs", 0);
        let (retention_ms, retention_streams) = logs::retention(&options);
        let logs = vigie_logs::Options {
            retention_ms,
            retention_streams,
            delete_delay_ms: options.log_delete_delay_ms,
            disk_bytes_max: options.logs_disk_bytes_max,
            free_bytes_min: options.free_bytes_min,
            ..Default::default()
        };
        let logs = vigie_logs::Store::open(disk.clone(), directory.join("logs"), logs);
        Ok(Embedded {
            disk,
            directory: directory.to_owned(),
            metrics: metrics.map_err(metrics::error)?,
            stores_starts: options.starts,
            logs: logs.map_err(logs::error)?,
            queries: Arc::new(Queries::new(options.queries)),
            cache: Cache::new(options.queries.cache_bytes_max),
            language: metrics::Language {
                features: options.features,
                delayed_name_removal: options.delayed_name_removal,
            },
            observers: RwLock::default(),
            _lock: lock,
        })
    }

    /// Bytes that may still be written to the data directory's file system.
    pub fn free_bytes(&self) -> u64 {
        self.disk.free_bytes(&self.directory).unwrap_or(0)
    }

    /// Makes everything durable and closes the stores.
    pub fn close(&self) -> Result<(), EngineError> {
        self.metrics.close().map_err(metrics::error)?;
        self.logs.close().map_err(logs::error)
    }
}

impl Engine for Embedded {
    fn intern(&self, labels: &Labels) -> Result<SeriesId, EngineError> {
        self.metrics.intern(labels).map_err(metrics::error)
    }

    fn append(
        &self,
        rows: &[Row<'_>],
        durability: Durability,
    ) -> Result<AppendReport, EngineError> {
        let durability = metrics::durability(durability);
        let done = self.metrics.append(rows, durability).map_err(metrics::error);
        if let Some(oldest_ms) = rows.iter().map(|row| row.ts_ms).min() {
            self.cache.wrote(oldest_ms);
        }
        let done = done?;
        Ok(AppendReport {
            appended: done.appended,
            duplicates: done.duplicates,
            refused: done.conflicting
                + done.out_of_order
                + done.too_old
                + done.too_new
                + done.invalid,
        })
    }

    fn key_seed(&self) -> u64 {
        self.metrics.key_seed()
    }

    fn push_samples(
        &self,
        pushed: &Pushed<'_>,
        durability: Durability,
    ) -> Result<SamplesReport, EngineError> {
        let done = metrics::push(&self.metrics, pushed, durability);
        let floats = pushed.samples.iter().map(|sample| sample.ts_ms);
        let times = floats.chain(pushed.histograms.iter().map(|sample| sample.ts_ms));
        if let Some(oldest_ms) = times.min() {
            self.cache.wrote(oldest_ms);
        }
        done
    }

    fn append_exemplars(
        &self,
        exemplars: &[(SeriesId, Exemplar)],
        durability: Durability,
    ) -> Result<(), EngineError> {
        let done = self.metrics.append_exemplars(exemplars, metrics::durability(durability));
        done.map(drop).map_err(metrics::error)
    }

    fn stores_starts(&self) -> bool {
        self.stores_starts
    }

    fn append_starts(
        &self,
        starts: &[(SeriesId, i64, i64)],
        durability: Durability,
    ) -> Result<(), EngineError> {
        let done = self.metrics.append_starts(starts, metrics::durability(durability));
        if let Some(oldest_ms) = starts.iter().map(|(_, ts_ms, _)| *ts_ms).min() {
            self.cache.wrote(oldest_ms);
        }
        done.map(drop).map_err(metrics::error)
    }

    fn exemplars(
        &self,
        selectors: &[Vec<Matcher>],
        range: TimeRange,
    ) -> Result<Vec<(Labels, Vec<Exemplar>)>, EngineError> {
        // A series that several selectors match is listed once.
        let mut found = std::collections::BTreeMap::new();
        for matchers in selectors {
            found.extend(self.metrics.exemplars(matchers, range));
        }
        Ok(found.into_iter().collect())
    }

    fn queries(&self) -> &Arc<Queries> {
        &self.queries
    }

    fn select_metrics(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<Selection, EngineError> {
        Ok(self.metrics.select(matchers, range)?)
    }

    fn query_metrics(
        &self,
        expr: &vigie_promql::Expr,
        when: When,
        options: &QueryOptions,
    ) -> Result<vigie_promql::Answer, QueryError> {
        let asked = metrics::Asked {
            store: &self.metrics,
            queries: &self.queries,
            language: self.language,
            options,
        };
        metrics::answer(&asked, &self.cache, expr, when)
    }

    fn metric_label_names(
        &self,
        selectors: &[Vec<Matcher>],
        range: TimeRange,
    ) -> Result<Vec<String>, EngineError> {
        let names = |matchers: &[Matcher]| self.metrics.label_names(matchers, range, usize::MAX);
        Ok(union(selectors, names)?)
    }

    fn metric_label_values(
        &self,
        name: &str,
        selectors: &[Vec<Matcher>],
        range: TimeRange,
    ) -> Result<Vec<String>, EngineError> {
        let values =
            |matchers: &[Matcher]| self.metrics.label_values(name, matchers, range, usize::MAX);
        Ok(union(selectors, values)?)
    }

    fn metric_series(
        &self,
        selectors: &[Vec<Matcher>],
        range: TimeRange,
    ) -> Result<Vec<Labels>, EngineError> {
        let series = |matchers: &[Matcher]| self.metrics.series(matchers, range, usize::MAX);
        Ok(union(selectors, series)?)
    }

    fn push(
        &self,
        batches: &[PushBatch<'_>],
        durability: Durability,
    ) -> Result<PushReport, EngineError> {
        let report = logs::push(&self.logs, batches, durability)?;
        if report.appended > 0 {
            let observers = self.observers.read().unwrap_or_else(PoisonError::into_inner);
            observers.iter().for_each(|observer| observer.stored(batches));
        }
        Ok(report)
    }

    fn query_logs(
        &self,
        expr: &vigie_logql::Expr,
        range: LogRange,
        direction: Direction,
        limit: usize,
        options: &QueryOptions,
    ) -> Result<vigie_logql::Streams, QueryError> {
        logs::query(&self.logs, expr, range, direction, limit, options)
    }

    fn query_log_metrics(
        &self,
        expr: &vigie_logql::Expr,
        when: LogWhen,
        options: &QueryOptions,
    ) -> Result<vigie_logql::Value, QueryError> {
        logs::query_numbers(&self.logs, expr, when, options)
    }

    fn log_label_names(
        &self,
        selector: &[Matcher],
        range: LogRange,
    ) -> Result<Vec<String>, EngineError> {
        Ok(self.logs.label_names(selector, range)?)
    }

    fn log_label_values(
        &self,
        name: &str,
        selector: &[Matcher],
        range: LogRange,
    ) -> Result<Vec<String>, EngineError> {
        Ok(self.logs.label_values(name, selector, range)?)
    }

    fn log_series(
        &self,
        selectors: &[Vec<Matcher>],
        range: LogRange,
    ) -> Result<Vec<Labels>, EngineError> {
        Ok(union(selectors, |matchers| self.logs.series(matchers, range))?)
    }

    fn metric_blocks(&self) -> Vec<MetricsBlock> {
        let block = |block: vigie_metrics::BlockInfo| MetricsBlock {
            number: block.number,
            checksum: block.checksum,
            min_ms: block.min_ms,
            max_ms: block.max_ms,
            samples: block.samples,
            series: block.series,
            sections: block.sections,
        };
        self.metrics.blocks().into_iter().map(block).collect()
    }

    fn log_volumes(
        &self,
        selector: &[Matcher],
        range: LogRange,
    ) -> Result<Vec<LogVolume>, EngineError> {
        let volumes = self.logs.volumes(selector, range)?.into_iter();
        let volume = |one: vigie_logs::StreamVolume| LogVolume {
            labels: one.labels,
            entries: one.entries,
            bytes: one.bytes,
            chunks: one.chunks,
        };
        Ok(volumes.map(volume).collect())
    }

    fn log_patterns(
        &self,
        selector: &[Matcher],
        range: LogRange,
        step_s: i64,
        options: &QueryOptions,
    ) -> Result<Vec<vigie_logql::PatternCount>, QueryError> {
        logs::patterns(&self.logs, selector, range, step_s, options)
    }

    fn delete_logs(&self, expr: &vigie_logql::Expr, range: LogRange) -> Result<u64, EngineError> {
        deletions::delete(&self.logs, expr, range)
    }

    fn log_deletions(&self) -> Vec<LogDeletion> {
        self.logs.deletions().into_iter().map(deletions::shown).collect()
    }

    fn cancel_log_deletion(&self, id: u64) -> Result<bool, EngineError> {
        self.logs.cancel_deletion(id).map_err(logs::error)
    }

    fn observe_logs(&self, observer: Arc<dyn LogObserver>) {
        self.observers.write().unwrap_or_else(PoisonError::into_inner).push(observer);
    }

    fn tick(&self, now_ms: i64) -> Result<(), EngineError> {
        // Both have their turn, whatever becomes of the first.
        let metrics = self.metrics.tick(now_ms).map_err(metrics::error);
        self.logs.tick(now_ms).map_err(logs::error)?;
        metrics
    }

    fn delete_series(&self, matchers: &[Matcher], range: TimeRange) -> Result<usize, EngineError> {
        let deleted = self.metrics.delete_series(matchers, range).map_err(metrics::error);
        self.cache.invalidate();
        deleted
    }

    fn clean_tombstones(&self) -> Result<(), EngineError> {
        self.metrics.clean_tombstones(&mut |_| true).map_err(metrics::error)
    }

    fn snapshot(&self, skip_head: bool) -> Result<String, EngineError> {
        let name = snapshot::name();
        // A data directory of its own, so that it can be opened with --storage.path.
        let to = self.directory.join("snapshots").join(&name).join("metrics");
        self.metrics.snapshot(&to, skip_head).map_err(metrics::error)?;
        Ok(name)
    }

    fn compact(&self, now_ms: i64, pace: &mut dyn FnMut(u64) -> bool) -> Result<bool, EngineError> {
        let metrics = self.metrics.compact(now_ms, pace).map_err(metrics::error);
        // One store's trouble is not the other's.
        let logs = self.logs.compact(now_ms, pace).map_err(logs::error);
        Ok(metrics? | logs?)
    }

    fn stats(&self) -> EngineStats {
        let (metrics, logs) = (self.metrics.stats(), self.logs.stats());
        EngineStats {
            series: metrics.series,
            samples_appended: metrics.samples_appended,
            metrics_bytes: metrics.disk_bytes,
            metrics_chunks: metrics.chunks,
            metrics_oldest_ms: metrics.oldest_ms,
            metrics_newest_ms: metrics.newest_ms,
            streams: logs.streams as u64,
            lines_appended: logs.stored,
            logs_bytes: logs.part_file_bytes + logs.wal_bytes,
            metrics_damaged: metrics.damaged,
            logs_damaged: logs.damaged + logs.broken_parts,
            metrics_paused: metrics.is_paused,
            logs_paused: logs.is_paused,
            metrics_free_bytes: metrics.free_bytes,
            logs_free_bytes: logs.free_bytes,
            queries: QueryStats {
                cache_hits: self.cache.hits.load(Ordering::Relaxed),
                cache_misses: self.cache.misses.load(Ordering::Relaxed),
                cache_invalidations: self.cache.invalidations.load(Ordering::Relaxed),
                cache_bytes: self.cache.bytes(),
                ..self.queries.stats()
            },
        }
    }
}

/// What matches any of the selectors, sorted, without duplicates; all when there is no selector.
fn union<T: Ord, E>(
    selectors: &[Vec<Matcher>],
    list: impl Fn(&[Matcher]) -> Result<Vec<T>, E>,
) -> Result<Vec<T>, E> {
    let mut all = match selectors {
        [] => list(&[])?,
        [one] => list(one)?,
        many => {
            let mut all = Vec::new();
            for matchers in many {
                all.extend(list(matchers)?);
            }
            all
        }
    };
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

fn unavailable(error: DiskError) -> EngineError {
    EngineError::Unavailable(error.to_string())
}
