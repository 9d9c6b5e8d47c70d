//! PromQL over the metrics store.

use crate::{EngineError, QueryError, QueryErrorKind, QueryOptions, When};
use vigie_metrics::{MetricsError, Store};
use vigie_model::{Matcher, ReadError, Selection, TimeRange};
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
