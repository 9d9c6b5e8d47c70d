//! PromQL over the metrics store.

use crate::{
    Durability, EngineError, QueryError, QueryErrorKind, QueryOptions, SamplesReport, When,
};
use vigie_metrics::{Appended, MetricsError, Store};
use vigie_model::{Matcher, Pushed, ReadError, Selection, TimeRange};
use vigie_promql::{Answer, EvalError, Expr, Options, Source};

/// The store, as the language sees it.
struct StoreSource<'a>(&'a Store);

impl Source for StoreSource<'_> {
    fn select(&self, matchers: &[Matcher], range: TimeRange) -> Result<Selection, ReadError> {
        self.0.select(matchers, range)
    }
}

/// Answers a question.
pub(super) fn query(
    store: &Store,
    expr: &Expr,
    when: When,
    options: &QueryOptions,
) -> Result<Answer, QueryError> {
    let mut language = Options {
        deadline: options.deadline(),
        cancel: options.cancel.clone(),
        ..Options::default()
    };
    if let Some(lookback_ms) = options.lookback_ms {
        language.lookback_ms = lookback_ms;
    }
    let source = StoreSource(store);
    let answer = match when {
        When::Instant(ts_ms) => vigie_promql::instant(&source, expr, ts_ms, &language),
        When::Range { start_ms, end_ms, step_ms } => {
            vigie_promql::range(&source, expr, start_ms, end_ms, step_ms, &language)
        }
    };
    answer.map_err(refused)
}

fn refused(error: EvalError) -> QueryError {
    let kind = match error.error_type() {
        "bad_data" => QueryErrorKind::BadData,
        "execution" => QueryErrorKind::Execution,
        "canceled" => QueryErrorKind::Canceled,
        "timeout" => QueryErrorKind::Timeout,
        _ => QueryErrorKind::Internal,
    };
    QueryError { kind, message: error.to_string() }
}

/// The store's error: a limit will not go away by trying again, a full disk may.
pub(super) fn error(error: MetricsError) -> EngineError {
    match error {
        MetricsError::Limit(message) => EngineError::Refused(message),
        error => EngineError::Unavailable(error.to_string()),
    }
}

/// The store's word for it.
pub(super) fn durability(durability: Durability) -> vigie_metrics::Durability {
    match durability {
        Durability::Synced => vigie_metrics::Durability::Synced,
        Durability::Written => vigie_metrics::Durability::Written,
    }
}

/// Stores what somebody pushed.
pub(super) fn push(
    store: &Store,
    pushed: &Pushed<'_>,
    durability: Durability,
) -> Result<SamplesReport, EngineError> {
    let done = store.push(pushed, self::durability(durability)).map_err(error)?;
    let mut reasons = done.reasons;
    reasons.extend(refused_samples(&done.samples));
    Ok(SamplesReport {
        samples: done.samples.appended + done.samples.duplicates - done.samples.histograms,
        histograms: done.samples.histograms,
        exemplars: done.exemplars.appended + done.exemplars.duplicates,
        refusal: (!reasons.is_empty()).then(|| reasons.join("\n")),
    })
}

/// Prometheus' words (`storage/interface.go`), with our count.
fn refused_samples(counts: &Appended) -> impl Iterator<Item = String> {
    let told = [
        ("duplicate sample for timestamp", counts.conflicting),
        ("out of order sample", counts.out_of_order),
        ("too old sample", counts.too_old),
        ("out of bounds", counts.too_new),
    ];
    told.into_iter().filter(|(_, count)| *count > 0).map(|(words, count)| match count {
        1 => words.to_owned(),
        _ => format!("{words} ({count} samples)"),
    })
}
