//! Answers that are used again when a dashboard refreshes.
//!
//! Of a range query whose values depend on their instants only ([`vigie_promql::Expr::is_steady`]),
//! the steps that lie far enough in the past are kept: the next question with the same text, step
//! and phase evaluates only the steps behind them. Kept is what is older than [`SETTLED_MS`] and a
//! step.
//!
//! Invariants: nothing is kept beyond `kept_until_ms`, which is raised *before* a question is
//! evaluated; a write at or before it, or a deletion, begins a new epoch; an answer is kept only if
//! the epoch is still the one in which its evaluation began. So a kept value is the value that
//! would be computed now. (What retention removes meanwhile is the one exception: a kept answer may
//! outlive its samples until it leaves the cache.)
//! Answers with annotations are not kept: which step one belongs to is not known.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use vigie_promql::Series;

/// Steps younger than this are evaluated again: samples arrive late by a scrape or two.
const SETTLED_MS: i64 = 5 * 60 * 1000;
/// One answer takes at most this part of the room.
const ENTRY_ONE_IN: usize = 4;
/// What a native histogram costs, about.
const HISTOGRAM_BYTES: usize = 1024;
/// What a series costs beside its points, about.
const SERIES_BYTES: usize = 300;

/// What makes two questions the same but for their range.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) step_ms: i64,
    /// Where the steps lie: `start % step`.
    pub(crate) phase_ms: i64,
    pub(crate) lookback_ms: Option<i64>,
}

/// The steps of a range query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start_ms: i64,
    /// The last step, not the end that was asked for.
    pub(crate) last_ms: i64,
    pub(crate) step_ms: i64,
}

struct Entry {
    start_ms: i64,
    last_ms: i64,
    /// Sorted by labels.
    series: Vec<Series>,
    bytes: usize,
    used: u64,
}

#[derive(Default)]
struct Kept {
    entries: HashMap<Key, Entry>,
    bytes: usize,
    clock: u64,
}

/// The cache.
pub(crate) struct Cache {
    bytes_max: usize,
    kept: Mutex<Kept>,
    epoch: AtomicU64,
    kept_until_ms: AtomicI64,
    pub(crate) hits: AtomicU64,
    pub(crate) misses: AtomicU64,
    pub(crate) invalidations: AtomicU64,
}

impl Cache {
    /// An empty one with room for `bytes_max` bytes.
    pub(crate) fn new(bytes_max: usize) -> Cache {
        Cache {
            bytes_max,
            kept: Mutex::default(),
            epoch: AtomicU64::new(0),
            kept_until_ms: AtomicI64::new(i64::MIN),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            invalidations: AtomicU64::new(0),
        }
    }
}

/// A question that may be answered in part.
pub(crate) struct Visit {
    key: Key,
    span: Span,
    epoch: u64,
    until_ms: i64,
    /// What is known of the first steps.
    known: Vec<Series>,
    /// The first step that is not known.
    pub(crate) from_ms: i64,
}

impl Cache {
    /// Looks a question up. `None` when no step of it is old enough to be kept.
    pub(crate) fn visit(&self, key: Key, span: Span, now_ms: i64) -> Option<Visit> {
        let until_ms = now_ms.saturating_sub(SETTLED_MS).saturating_sub(span.step_ms);
        if span.start_ms > until_ms || self.bytes_max == 0 {
            return None;
        }
        self.kept_until_ms.fetch_max(until_ms, Ordering::SeqCst);
        let epoch = self.epoch.load(Ordering::SeqCst);
        let mut kept = self.lock();
        kept.clock += 1;
        let clock = kept.clock;
        let mut visit =
            Visit { key, span, epoch, until_ms, known: Vec::new(), from_ms: span.start_ms };
        let found = kept.entries.get_mut(&visit.key);
        if let Some(entry) = found.filter(|e| (e.start_ms..=e.last_ms).contains(&span.start_ms)) {
            entry.used = clock;
            let last_ms = entry.last_ms.min(span.last_ms);
            visit.known = between(&entry.series, span.start_ms, last_ms);
            visit.from_ms = last_ms + span.step_ms;
            self.hits.fetch_add(1, Ordering::Relaxed);
        } else {
            self.misses.fetch_add(1, Ordering::Relaxed);
        }
        Some(visit)
    }

    /// Puts what was known before what was found, and keeps it when that is allowed.
    pub(crate) fn complete(&self, visit: Visit, found: Vec<Series>, keep: bool) -> Vec<Series> {
        let whole = joined(visit.known, found);
        let last_ms = visit.span.last_ms.min(
            visit.span.start_ms
                + (visit.until_ms - visit.span.start_ms) / visit.span.step_ms * visit.span.step_ms,
        );
        if keep && last_ms >= visit.span.start_ms {
            let series = between(&whole, visit.span.start_ms, last_ms);
            let entry = Entry { start_ms: visit.span.start_ms, last_ms, bytes: 0, series, used: 0 };
            self.keep(visit.key, entry, visit.epoch);
        }
        whole
    }

    fn keep(&self, key: Key, mut entry: Entry, epoch: u64) {
        entry.bytes = key.text.len() + entry.series.iter().map(bytes_of).sum::<usize>();
        if entry.bytes > self.bytes_max / ENTRY_ONE_IN {
            return;
        }
        let mut kept = self.lock();
        if self.epoch.load(Ordering::SeqCst) != epoch {
            return;
        }
        kept.clock += 1;
        entry.used = kept.clock;
        kept.bytes += entry.bytes;
        if let Some(before) = kept.entries.insert(key, entry) {
            kept.bytes -= before.bytes;
        }
        while kept.bytes > self.bytes_max {
            let oldest = kept.entries.iter().min_by_key(|(_, entry)| entry.used);
            let Some(key) = oldest.map(|(key, _)| key.clone()) else { break };
            if let Some(entry) = kept.entries.remove(&key) {
                kept.bytes -= entry.bytes;
            }
        }
    }

    /// Somebody wrote samples, the oldest at `oldest_ms`.
    pub(crate) fn wrote(&self, oldest_ms: i64) {
        if oldest_ms <= self.kept_until_ms.load(Ordering::SeqCst) {
            self.invalidate();
        }
    }

    /// What is stored has changed in the past.
    pub(crate) fn invalidate(&self) {
        let mut kept = self.lock();
        self.epoch.fetch_add(1, Ordering::SeqCst);
        self.invalidations.fetch_add(1, Ordering::Relaxed);
        kept.entries.clear();
        kept.bytes = 0;
    }

    /// Bytes of what is kept.
    pub(crate) fn bytes(&self) -> u64 {
        self.lock().bytes as u64
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // A half-changed sum of bytes is all that a panic could leave.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bytes_of(series: &Series) -> usize {
    let histograms = series.histograms.len() * HISTOGRAM_BYTES;
    SERIES_BYTES + size_of_val(&series.points[..]) + histograms
}

/// The points from one instant to another, both included, of the series that have any.
fn between(series: &[Series], start_ms: i64, last_ms: i64) -> Vec<Series> {
    let cut = series.iter().filter_map(|series| {
        let points = within(&series.points, start_ms, last_ms);
        let histograms = within(&series.histograms, start_ms, last_ms);
        let any = !points.is_empty() || !histograms.is_empty();
        any.then(|| Series { labels: series.labels.clone(), points, histograms })
    });
    cut.collect()
}

fn within<T: Clone>(points: &[(i64, T)], start_ms: i64, last_ms: i64) -> Vec<(i64, T)> {
    let from = points.partition_point(|(ts_ms, _)| *ts_ms < start_ms);
    let to = points.partition_point(|(ts_ms, _)| *ts_ms <= last_ms).max(from);
    points[from..to].to_vec()
}

/// Two lists sorted by labels, the points of the second behind those of the first.
fn joined(first: Vec<Series>, second: Vec<Series>) -> Vec<Series> {
    if first.is_empty() {
        return second;
    }
    let mut joined = Vec::with_capacity(first.len().max(second.len()));
    let (mut first, mut second) = (first.into_iter().peekable(), second.into_iter().peekable());
    while let (Some(left), Some(right)) = (first.peek(), second.peek()) {
        let order = left.labels.cmp(&right.labels);
        let (left, right) = match order {
            std::cmp::Ordering::Less => (first.next(), None),
            std::cmp::Ordering::Equal => (first.next(), second.next()),
            std::cmp::Ordering::Greater => (None, second.next()),
        };
        match (left, right) {
            (Some(mut left), Some(right)) => {
                left.points.extend(right.points);
                left.histograms.extend(right.histograms);
                joined.push(left);
            }
            (one, other) => joined.extend(one.or(other)),
        }
    }
    joined.extend(first);
    joined.extend(second);
    joined
}
