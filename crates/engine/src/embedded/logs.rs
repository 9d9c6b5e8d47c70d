//! LogQL over the log store.

use crate::{
    Durability, EmbeddedOptions, EngineError, LogWhen, PushBatch, PushReport, QueryError,
    QueryErrorKind, QueryOptions,
};
use vigie_logql::{EvalError, Expr, LogSource, Options, Streams, Value};
use vigie_logs::{Batch, LogsError, Store, StreamRetention};
use vigie_model::{Direction, LogBlocks, LogRange, Matcher, Needle, ReadError};

/// The store, as the language sees it.
struct StoreSource<'a>(&'a Store);

impl LogSource for StoreSource<'_> {
    fn select(
        &self,
        matchers: &[Matcher],
        range: LogRange,
        direction: Direction,
        needles: &[Needle],
    ) -> Result<Box<dyn LogBlocks>, ReadError> {
        self.0.select(matchers, range, direction, needles)
    }
}

/// How long the store keeps parts, and which streams' lines leave them before. Where a stream is
/// kept for longer than the rest, the rest becomes streams of a shorter time.
pub(super) fn retention(options: &EmbeddedOptions) -> (i64, Vec<StreamRetention>) {
    let own = options.logs_retention_streams.iter();
    let mut streams: Vec<StreamRetention> = own
        .map(|(matchers, retention_ms)| StreamRetention {
            matchers: matchers.clone(),
            retention_ms: *retention_ms,
        })
        .collect();
    let general_ms = options.logs_retention_ms;
    let longest_ms = streams.iter().map(|one| one.retention_ms).max().unwrap_or(general_ms);
    if longest_ms <= general_ms {
        return (general_ms, streams);
    }
    streams.push(StreamRetention { matchers: Vec::new(), retention_ms: general_ms });
    (longest_ms, streams)
}

/// Stores lines.
pub(super) fn push(
    store: &Store,
    batches: &[PushBatch<'_>],
    durability: Durability,
) -> Result<PushReport, EngineError> {
    let durability = match durability {
        Durability::Synced => vigie_logs::Durability::Synced,
        Durability::Written => vigie_logs::Durability::Written,
    };
    let batches: Vec<Batch<'_>> = batches
        .iter()
        .map(|batch| Batch { labels: batch.labels, entries: batch.entries })
        .collect();
    let done = store.append(&batches, durability).map_err(error)?;
    Ok(PushReport { appended: done.stored, duplicates: done.duplicates, refusal: done.refusal })
}

/// Answers a question for lines.
pub(super) fn query(
    store: &Store,
    expr: &Expr,
    range: LogRange,
    direction: Direction,
    limit: usize,
    options: &QueryOptions,
) -> Result<Streams, QueryError> {
    vigie_logql::query_logs(&StoreSource(store), expr, range, direction, limit, &language(options))
        .map_err(refused)
}

/// Answers a question for numbers.
pub(super) fn query_numbers(
    store: &Store,
    expr: &Expr,
    when: LogWhen,
    options: &QueryOptions,
) -> Result<Value, QueryError> {
    let (source, options) = (StoreSource(store), language(options));
    let value = match when {
        LogWhen::Instant(ts_ns) => vigie_logql::instant(&source, expr, ts_ns, &options),
        LogWhen::Range { start_ns, end_ns, step_ns } => {
            vigie_logql::range(&source, expr, start_ns, end_ns, step_ns, &options)
        }
    };
    value.map_err(refused)
}

/// The shapes of the lines of a selector.
pub(super) fn patterns(
    store: &Store,
    selector: &[Matcher],
    range: LogRange,
    step_s: i64,
    options: &QueryOptions,
) -> Result<Vec<vigie_logql::PatternCount>, QueryError> {
    vigie_logql::patterns(&StoreSource(store), selector, range, step_s, &language(options))
        .map_err(refused)
}

fn language(options: &QueryOptions) -> Options {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    Options {
        now_ns: i64::try_from(now.as_nanos()).unwrap_or(i64::MAX),
        deadline: options.deadline(vigie_model::limits::QUERY_TIMEOUT_MS),
        cancel: options.cancel.clone(),
        interval_ns: options.log_interval_ns,
        ..Options::default()
    }
}

fn refused(error: EvalError) -> QueryError {
    let kind = match error {
        EvalError::Timeout => QueryErrorKind::Timeout,
        EvalError::Canceled => QueryErrorKind::Canceled,
        EvalError::Read(ReadError::Limit(_)) => QueryErrorKind::BadData,
        EvalError::Read(_) => QueryErrorKind::Internal,
        _ => QueryErrorKind::BadData,
    };
    QueryError { kind, message: error.to_string() }
}

/// The store's error: a limit will not go away by trying again, a full disk may.
pub(super) fn error(error: LogsError) -> EngineError {
    match error {
        LogsError::Limit(message) => EngineError::Refused(message),
        error @ LogsError::Streams { .. } => EngineError::Refused(error.to_string()),
        error => EngineError::Unavailable(error.to_string()),
    }
}
