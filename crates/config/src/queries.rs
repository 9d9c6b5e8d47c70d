//! `storage.queries`: what questions may take. Flags of Prometheus' set the same limits, so the
//! check of a value stands here for both.

use crate::error::ConfigError;
use crate::written::vigie::Queries;
use crate::yaml::{DurationMs, Source, Spanned};
use vigie_model::limits::{
    QUERIES_AT_ONCE_MOST, QUERY_MEMORY_BYTES_LEAST, QUERY_MEMORY_BYTES_MOST, QUERY_QUEUE_MOST,
    QueryLimits,
};

/// Longest time that a query may be given: a day.
const TIMEOUT_MS_MOST: u64 = 24 * 3_600_000;

/// What is wrong with one of the limits, as a sentence that says what would be right.
pub fn check_queries(limits: &QueryLimits) -> Result<(), (&'static str, String)> {
    let memory = QUERY_MEMORY_BYTES_LEAST..=QUERY_MEMORY_BYTES_MOST;
    let between = "must lie between 1MB and 1TB";
    if !memory.contains(&limits.memory_bytes_max) {
        return Err(("memory", format!("the memory of a query {between}")));
    }
    if !memory.contains(&limits.all_memory_bytes_max) {
        return Err(("memory_of_all", format!("the memory of all queries {between}")));
    }
    if limits.all_memory_bytes_max < limits.memory_bytes_max {
        let words = "the memory of all queries must be at least that of one";
        return Err(("memory_of_all", words.to_owned()));
    }
    if limits.samples_max == 0 {
        return Err((
            "samples",
            "the most samples of a query must be greater than zero".to_owned(),
        ));
    }
    if limits.at_once_max.is_some_and(|count| !(1..=QUERIES_AT_ONCE_MOST).contains(&count)) {
        let words = format!("queries at once must lie between 1 and {QUERIES_AT_ONCE_MOST}");
        return Err(("at_once", words));
    }
    if !(1..=QUERY_QUEUE_MOST).contains(&limits.queue_max) {
        let words = format!("the queue of queries must lie between 1 and {QUERY_QUEUE_MOST}");
        return Err(("queue", words));
    }
    if !(1..=TIMEOUT_MS_MOST).contains(&limits.timeout_ms) {
        let words = "the timeout of a query must lie between 1ms and 1d, for example 2m";
        return Err(("timeout", words.to_owned()));
    }
    if limits.lookback_ms <= 0 {
        let words = "the lookback of a query must be greater than zero, for example 5m";
        return Err(("lookback", words.to_owned()));
    }
    if limits.cache_bytes_max as u64 > QUERY_MEMORY_BYTES_MOST {
        return Err(("cache", "the cache of answers can be at most 1TB".to_owned()));
    }
    Ok(())
}

/// The limits of a file.
pub(crate) fn read(source: &Source<'_>, written: &Queries) -> Result<QueryLimits, ConfigError> {
    let mut limits = QueryLimits::default();
    let (one, all) = (&written.memory, &written.memory_of_all);
    if let Some(size) = one {
        limits.memory_bytes_max = size.value.0;
        // Whoever gives one query more means that it may have it.
        limits.all_memory_bytes_max = limits.all_memory_bytes_max.max(size.value.0);
    }
    if let Some(size) = all {
        limits.all_memory_bytes_max = size.value.0;
        if one.is_none() {
            limits.memory_bytes_max = limits.memory_bytes_max.min(size.value.0);
        }
    }
    set(&mut limits.samples_max, &written.samples, |count| *count);
    set(&mut limits.at_once_max, &written.at_once, |count| Some(*count));
    set(&mut limits.queue_max, &written.queue, |count| *count);
    let ms = |time: &DurationMs| u64::try_from(time.0).unwrap_or(0);
    set(&mut limits.timeout_ms, &written.timeout, ms);
    set(&mut limits.lookback_ms, &written.lookback, |time| time.0);
    set(&mut limits.cache_bytes_max, &written.cache, |size| {
        usize::try_from(size.0).unwrap_or(usize::MAX)
    });
    check_queries(&limits).map_err(|(key, words)| {
        let place = match key {
            "memory" => one.as_ref().or(all.as_ref()).map(|at| at.referenced),
            "memory_of_all" => all.as_ref().or(one.as_ref()).map(|at| at.referenced),
            "samples" => written.samples.as_ref().map(|at| at.referenced),
            "at_once" => written.at_once.as_ref().map(|at| at.referenced),
            "queue" => written.queue.as_ref().map(|at| at.referenced),
            "timeout" => written.timeout.as_ref().map(|at| at.referenced),
            "lookback" => written.lookback.as_ref().map(|at| at.referenced),
            _ => written.cache.as_ref().map(|at| at.referenced),
        };
        match place {
            Some(place) => source.wrong_at_location(place, words),
            None => source.wrong(1, 1, words),
        }
    })?;
    Ok(limits)
}

fn set<T, W>(limit: &mut T, written: &Option<Spanned<W>>, used: impl Fn(&W) -> T) {
    if let Some(written) = written {
        *limit = used(&written.value);
    }
}
