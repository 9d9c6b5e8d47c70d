//! The questions that are being answered, those that wait, and those that took longest.
//!
//! Whoever asks gets a [`Ticket`] first. It says who asks what, holds the account of what the
//! question takes, and can be told to stop ([`Queries::kill`]); when it is dropped the question
//! leaves the list, and stays among the slowest for a while if it was slow.

use crate::{QueryError, QueryErrorKind};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use vigie_model::limits::QueryLimits;
use vigie_promql::{Account, Budget, Detail};

/// Questions kept among the slowest.
const SLOWEST_MAX: usize = 50;
/// How long one is kept there.
const SLOWEST_KEPT: Duration = Duration::from_secs(3600);
/// Longest part of a text that is listed.
const TEXT_BYTES_MAX: usize = 4096;

/// A question and who asks it.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The text.
    pub text: String,
    /// `promql` or `logql`.
    pub language: &'static str,
    /// Who asks: an address, or what a client says of itself.
    pub client: String,
}

/// All questions of an engine.
#[derive(Debug)]
pub struct Queries {
    limits: QueryLimits,
    budget: Arc<Budget>,
    next_id: AtomicU64,
    listed: Mutex<Listed>,
}

#[derive(Debug, Default)]
struct Listed {
    open: BTreeMap<u64, Arc<Question>>,
    /// The slowest first.
    slowest: Vec<(Instant, QueryView)>,
    total: u64,
    killed: u64,
}

#[derive(Debug)]
struct Question {
    id: u64,
    about: About,
    asked: Instant,
    asked_at_ms: i64,
    began: OnceLock<Instant>,
    cancel: Arc<AtomicBool>,
    account: Arc<Account>,
}

/// One question, as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryView {
    /// Its number, for [`Queries::kill`].
    pub id: u64,
    /// Its text, cut when it is long.
    pub text: String,
    /// `promql` or `logql`.
    pub language: &'static str,
    /// Who asks.
    pub client: String,
    /// `queued`, `running` or `done`.
    pub state: &'static str,
    /// When it was asked, in milliseconds since the epoch.
    pub asked_at_ms: i64,
    /// How long it waited for its turn.
    pub queued_ms: f64,
    /// How long it has been running, or ran.
    pub running_ms: f64,
    /// Series read.
    pub series: u64,
    /// Samples read.
    pub samples: u64,
    /// Memory reserved, in bytes.
    pub bytes: u64,
}

/// What [`Queries::list`] shows.
#[derive(Clone, Debug, Default)]
pub struct QueryList {
    /// Being answered or waiting, the oldest first.
    pub open: Vec<QueryView>,
    /// Answered during the last hour, the slowest first.
    pub slowest: Vec<QueryView>,
    /// Memory that all together have reserved, in bytes.
    pub held_bytes: u64,
    /// And may reserve.
    pub bytes_max: u64,
}

/// Sums for Vigie's own metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueryStats {
    /// Questions that were asked.
    pub total: u64,
    /// Being answered now.
    pub running: u64,
    /// Waiting now.
    pub queued: u64,
    /// Killed by somebody.
    pub killed: u64,
    /// Refused because of memory.
    pub refused_memory: u64,
    /// Memory reserved now, in bytes.
    pub held_bytes: u64,
    /// Range queries answered in part from the cache.
    pub cache_hits: u64,
    /// Range queries that could have been and were not.
    pub cache_misses: u64,
    /// How often a late sample or a deletion emptied the cache.
    pub cache_invalidations: u64,
    /// Memory of the cache, in bytes.
    pub cache_bytes: u64,
}

impl Default for Queries {
    fn default() -> Queries {
        Queries::new(QueryLimits::default())
    }
}

impl Queries {
    /// No question yet.
    pub fn new(limits: QueryLimits) -> Queries {
        Queries {
            limits,
            budget: Budget::new(limits.all_memory_bytes_max),
            next_id: AtomicU64::new(1),
            listed: Mutex::default(),
        }
    }

    /// What a question may take.
    pub fn limits(&self) -> &QueryLimits {
        &self.limits
    }

    /// Puts a question on the list, waiting.
    pub fn ask(self: &Arc<Queries>, about: About, detail: Detail) -> Result<Ticket, QueryError> {
        let mut about = about;
        if about.text.len() > TEXT_BYTES_MAX {
            let end = (0..=TEXT_BYTES_MAX).rev().find(|at| about.text.is_char_boundary(*at));
            let end = end.unwrap_or(0);
            about.text.truncate(end);
            about.text.push('…');
        }
        let asked_at_ms = SystemTime::now().duration_since(UNIX_EPOCH);
        let question = Arc::new(Question {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            about,
            asked: Instant::now(),
            asked_at_ms: asked_at_ms.map_or(0, |since| since.as_millis() as i64),
            began: OnceLock::new(),
            cancel: Arc::default(),
            account: Arc::new(self.account(detail)),
        });
        let mut listed = self.lock();
        let queue_max = self.limits.queue_max;
        if listed.open.len() >= queue_max {
            return Err(QueryError {
                kind: QueryErrorKind::Timeout,
                message: format!(
                    "query queue is full: {queue_max} queries are waiting; try again later"
                ),
            });
        }
        listed.total += 1;
        listed.open.insert(question.id, question.clone());
        Ok(Ticket { queries: self.clone(), question })
    }

    /// An account for a question that nobody lists.
    pub fn account(&self, detail: Detail) -> Account {
        Account::new(self.budget.clone(), self.limits.memory_bytes_max, detail)
    }

    /// Tells a question to stop. `false` when there is none of that number.
    pub fn kill(&self, id: u64) -> bool {
        let mut listed = self.lock();
        let Some(question) = listed.open.get(&id) else { return false };
        question.cancel.store(true, Ordering::Relaxed);
        listed.killed += 1;
        true
    }

    /// What there is.
    pub fn list(&self) -> QueryList {
        let listed = self.lock();
        let recent = listed.slowest.iter().filter(|(ended, _)| ended.elapsed() < SLOWEST_KEPT);
        QueryList {
            open: listed.open.values().map(|question| question.view(false)).collect(),
            slowest: recent.map(|(_, view)| view.clone()).collect(),
            held_bytes: self.budget.held_bytes(),
            bytes_max: self.budget.bytes_max(),
        }
    }

    /// Sums.
    pub fn stats(&self) -> QueryStats {
        let listed = self.lock();
        let running = listed.open.values().filter(|question| question.began.get().is_some());
        let running = running.count() as u64;
        QueryStats {
            total: listed.total,
            running,
            queued: listed.open.len() as u64 - running,
            killed: listed.killed,
            refused_memory: self.budget.refused(),
            held_bytes: self.budget.held_bytes(),
            ..QueryStats::default()
        }
    }

    fn lock(&self) -> MutexGuard<'_, Listed> {
        // Nothing is done under the lock that can leave the lists half changed.
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Question {
    fn view(&self, done: bool) -> QueryView {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let began = self.began.get();
        QueryView {
            id: self.id,
            text: self.about.text.clone(),
            language: self.about.language,
            client: self.about.client.clone(),
            state: match (done, began) {
                (true, _) => "done",
                (false, Some(_)) => "running",
                (false, None) => "queued",
            },
            asked_at_ms: self.asked_at_ms,
            queued_ms: ms(began.map_or_else(|| self.asked.elapsed(), |at| *at - self.asked)),
            running_ms: ms(began.map_or(Duration::ZERO, Instant::elapsed)),
            series: self.account.series(),
            samples: self.account.samples(),
            bytes: self.account.bytes(),
        }
    }
}

/// A question's place on the list.
#[derive(Debug)]
pub struct Ticket {
    queries: Arc<Queries>,
    question: Arc<Question>,
}

impl Ticket {
    /// Its turn has come.
    pub fn begin(&self) {
        let _ = self.question.began.set(Instant::now());
    }

    /// Set when it is to stop; whoever asks sets it when he has gone.
    pub fn cancel(&self) -> &Arc<AtomicBool> {
        &self.question.cancel
    }

    /// What it takes.
    pub fn account(&self) -> &Arc<Account> {
        &self.question.account
    }

    /// How long it waited for its turn.
    pub fn queued(&self) -> Duration {
        let began = self.question.began.get();
        began.map_or_else(|| self.question.asked.elapsed(), |at| *at - self.question.asked)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut listed = self.queries.lock();
        listed.open.remove(&self.question.id);
        if self.question.began.get().is_none() {
            return;
        }
        let view = self.question.view(true);
        listed.slowest.retain(|(ended, _)| ended.elapsed() < SLOWEST_KEPT);
        let at = listed.slowest.partition_point(|(_, other)| other.running_ms >= view.running_ms);
        listed.slowest.insert(at, (Instant::now(), view));
        listed.slowest.truncate(SLOWEST_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(text: &str) -> About {
        About { text: text.to_owned(), language: "promql", client: "a test".to_owned() }
    }

    #[test]
    fn a_question_is_queued_running_and_then_among_the_slowest() {
        let queries = Arc::new(Queries::default());
        let ticket = queries.ask(about("up"), Detail::default()).unwrap();
        assert_eq!(queries.list().open[0].state, "queued");
        ticket.begin();
        let open = queries.list().open;
        assert_eq!((open[0].state, open[0].text.as_str()), ("running", "up"));
        assert!(!ticket.cancel().load(Ordering::Relaxed));
        assert!(queries.kill(open[0].id));
        assert!(ticket.cancel().load(Ordering::Relaxed));
        drop(ticket);
        let list = queries.list();
        assert!(list.open.is_empty());
        assert_eq!((list.slowest.len(), list.slowest[0].state), (1, "done"));
        assert!(!queries.kill(1), "it has ended");
        let stats = queries.stats();
        assert_eq!((stats.total, stats.running, stats.queued, stats.killed), (1, 0, 0, 1));
    }

    #[test]
    fn the_queue_has_an_end() {
        let limits = QueryLimits { queue_max: 7, ..QueryLimits::default() };
        let queries = Arc::new(Queries::new(limits));
        let ask = |_| queries.ask(about("up"), Detail::default());
        let tickets: Vec<_> = (0..7).map(ask).collect();
        assert!(tickets.iter().all(Result::is_ok));
        let error = ask(0).unwrap_err();
        assert!(error.message.starts_with("query queue is full"), "{}", error.message);
        drop(tickets);
        assert!(ask(0).is_ok());
    }
}
