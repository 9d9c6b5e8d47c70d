//! PromQL over the metrics store.

use crate::cache::{Cache, Key, Span};
use crate::{
    Detail, Durability, EngineError, Queries, QueryError, QueryErrorKind, QueryOptions,
    SamplesReport, When,
};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use vigie_metrics::{Appended, MetricsError, Store};
use vigie_model::{Matcher, Pushed, ReadError, Selection, TimeRange};
use vigie_promql::{Answer, EvalError, Expr, Features, Options, Source, Value};

/// The store, as the language sees it.
struct StoreSource<'a> {
    store: &'a Store,
    /// Whether the question looks at start timestamps.
    with_starts: bool,
}

impl Source for StoreSource<'_> {
    fn select(&self, matchers: &[Matcher], range: TimeRange) -> Result<Selection, ReadError> {
        match self.with_starts {
            true => self.store.select_with_starts(matchers, range),
            false => self.store.select(matchers, range),
        }
    }
}

/// Which PromQL is spoken.
#[derive(Clone, Copy)]
pub(super) struct Language {
    pub(super) features: Features,
    pub(super) delayed_name_removal: bool,
}

/// A question on its way to the store.
pub(super) struct Asked<'a> {
    pub(super) store: &'a Store,
    pub(super) queries: &'a Queries,
    pub(super) language: Language,
    pub(super) options: &'a QueryOptions,
}

/// Answers a question, with what is kept of its answer where that is still good.
pub(super) fn answer(
    asked: &Asked<'_>,
    cache: &Cache,
    expr: &Expr,
    when: When,
) -> Result<Answer, QueryError> {
    let When::Range { start_ms, end_ms, step_ms } = when else {
        return asked.evaluate(expr, when);
    };
    let sound = step_ms > 0 && start_ms <= end_ms;
    if asked.options.no_cache || !sound || !expr.is_steady() {
        return asked.evaluate(expr, when);
    }
    let key = Key {
        text: expr.text().to_owned(),
        step_ms,
        phase_ms: start_ms.rem_euclid(step_ms),
        lookback_ms: asked.options.lookback_ms,
    };
    let last_ms = start_ms + (end_ms - start_ms) / step_ms * step_ms;
    let span = Span { start_ms, last_ms, step_ms };
    let Some(visit) = cache.visit(key, span, now_ms()) else {
        return asked.evaluate(expr, when);
    };
    let mut answer = if visit.from_ms > last_ms {
        Answer { value: Value::Matrix(Vec::new()), warnings: Vec::new(), infos: Vec::new() }
    } else {
        asked.evaluate(expr, When::Range { start_ms: visit.from_ms, end_ms, step_ms })?
    };
    if let Value::Matrix(found) = &mut answer.value {
        let keep = answer.warnings.is_empty() && answer.infos.is_empty();
        *found = cache.complete(visit, std::mem::take(found), keep);
    }
    Ok(answer)
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}

impl Asked<'_> {
    fn evaluate(&self, expr: &Expr, when: When) -> Result<Answer, QueryError> {
        let (options, limits) = (self.options, self.queries.limits());
        let own = || Arc::new(self.queries.account(Detail::default()));
        let mut language = Options {
            lookback_ms: limits.lookback_ms,
            samples_max: limits.samples_max,
            deadline: options.deadline(limits.timeout_ms),
            cancel: options.cancel.clone(),
            account: Some(options.account.clone().unwrap_or_else(own)),
            features: self.language.features,
            delayed_name_removal: self.language.delayed_name_removal,
            ..Options::default()
        };
        if let Some(lookback_ms) = options.lookback_ms {
            language.lookback_ms = lookback_ms;
        }
        let with_starts = self.language.features.start_timestamps;
        let source = StoreSource { store: self.store, with_starts };
        let answer = match when {
            When::Instant(ts_ms) => vigie_promql::instant(&source, expr, ts_ms, &language),
            When::Range { start_ms, end_ms, step_ms } => {
                vigie_promql::range(&source, expr, start_ms, end_ms, step_ms, &language)
            }
        };
        answer.map_err(refused)
    }
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
