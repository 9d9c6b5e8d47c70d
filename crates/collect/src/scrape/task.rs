//! The life of one target: wait, fetch, write, until it is told to end.

use super::fetch::fetch;
use super::rows::{Fetched, Rules, TargetRows};
use super::said::Said;
use super::seen::Seen;
use super::target::Target;
use super::{Health, TargetStatus, now_ms};
use crate::Collector;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use vigie_codec::exposition::{Format, encode_text};
use vigie_config::scrape::ScrapeJob;
use vigie_net::{Bytes, HttpClient};

/// How far a scrape's timestamp may be moved to its place in the schedule: rows that are evenly
/// spaced pack better than rows that are honest about a millisecond of timer noise.
const ALIGN_MS_MAX: i64 = 2;

/// The second scrape comes at most this long after the first, so that rates can be drawn soon after
/// the start; the ones after it keep the target's schedule.
const WARM_UP_MS: i64 = 5_000;

/// What a task is told.
#[derive(Clone)]
pub(super) enum Command {
    /// Scrape according to this.
    Run(Arc<Plan>),
    /// The target was removed: mark its series stale and end.
    End,
    /// The program stops: end without markers.
    Stop,
}

/// How a target is scraped.
pub(super) struct Plan {
    pub source: Source,
    pub rules: Rules,
    pub interval_ms: i64,
    pub timeout_ms: i64,
}

/// Where samples come from.
pub(super) enum Source {
    Http { job: Arc<ScrapeJob>, target: Target },
    Built(Arc<dyn Collector>),
}

/// What a task shares with the list of targets.
pub(super) struct TargetState {
    pub key: String,
    pub status: Mutex<TargetStatus>,
    /// What its last page said of its families.
    pub said: Arc<Said>,
    /// False for a target that is only looked for and has never answered.
    pub listed: AtomicBool,
}

/// What a fetch brought, before it is read.
struct Page {
    body: Option<(Bytes, Format)>,
    error: Option<String>,
}

/// One target's task.
pub(super) struct Task {
    pub state: Arc<TargetState>,
    pub commands: watch::Receiver<Command>,
    pub client: Arc<HttpClient>,
    pub seen: Arc<Seen>,
    pub rows: Option<TargetRows>,
    /// The target's place inside each interval is this modulo the interval.
    pub offset_hash: u64,
    /// When the first scrape is due.
    pub first_due_ms: i64,
}

impl Task {
    /// Runs until it is told to end.
    pub(super) async fn run(mut self) {
        let (mut last_ms, mut scrapes) = (None, 0u64);
        let mut rules_in_use: Option<String> = None;
        loop {
            let command = self.commands.borrow_and_update().clone();
            let plan = match command {
                Command::Run(plan) => plan,
                Command::Stop => return,
                Command::End => return self.end().await,
            };
            let rules = format!("{:?}", plan.rules);
            if rules_in_use.as_ref().is_some_and(|in_use| *in_use != rules)
                && let Some(rows) = &mut self.rows
            {
                rows.set_rules(plan.rules.clone());
            }
            rules_in_use = Some(rules);
            let due_ms = match last_ms {
                None => self.first_due_ms,
                Some(last_ms) => {
                    let due = next_due_ms(now_ms(), last_ms, plan.interval_ms, self.offset_hash);
                    if scrapes == 1 { due.min(last_ms + WARM_UP_MS) } else { due }
                }
            };
            let wait_ms = u64::try_from(due_ms - now_ms()).unwrap_or(0);
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(wait_ms)) => {}
                changed = self.commands.changed() => {
                    if changed.is_err() { return; }
                    continue;
                }
            }
            let ts_ms = aligned_ms(now_ms(), due_ms, plan.interval_ms);
            last_ms = Some(ts_ms);
            scrapes += 1;
            let started = Instant::now();
            let page = tokio::select! {
                page = read_page(&self.client, &plan) => page,
                () = told_to_end(&mut self.commands) => continue,
            };
            self.write(ts_ms, started.elapsed(), page).await;
        }
    }

    async fn end(mut self) {
        let Some(mut rows) = self.rows.take() else { return };
        let ended = tokio::task::spawn_blocking(move || rows.end(now_ms())).await;
        if let Ok(Err(error)) = ended {
            tracing::warn!(target = %self.state.key, %error, "cannot mark a removed target's series");
        }
    }

    async fn write(&mut self, ts_ms: i64, took: Duration, page: Page) {
        if !self.state.listed.load(Ordering::Acquire) && !self.answered(&page) {
            return;
        }
        let Some(mut rows) = self.rows.take() else { return };
        let duration_s = took.as_secs_f64();
        let written = tokio::task::spawn_blocking(move || {
            let body = page.body.as_ref().map(|(body, format)| (&body[..], *format));
            let fetched = Fetched { ts_ms, duration_s, body, error: page.error };
            let outcome = rows.ingest(fetched);
            (rows, outcome)
        })
        .await;
        let outcome = match written {
            Ok((rows, outcome)) => {
                self.rows = Some(rows);
                outcome
            }
            // Only at shutdown, when the runtime refuses new blocking work.
            Err(error) => Err(error.to_string()),
        };
        let mut status = self.state.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.last_scrape_ms = ts_ms;
        status.last_duration_ms = duration_s * 1000.0;
        status.health = if outcome.is_ok() { Health::Up } else { Health::Down };
        let error = outcome.err().unwrap_or_default();
        if !error.is_empty() && error != status.last_error {
            tracing::debug!(target = %self.state.key, %error, "scrape failed");
        }
        status.last_error = error;
    }

    /// Whether a target that is only looked for has answered now; if so, it is remembered.
    fn answered(&self, page: &Page) -> bool {
        let Some((body, format)) = &page.body else { return false };
        if page.error.is_some() || !TargetRows::is_readable(body, *format) {
            return false;
        }
        self.seen.insert(&self.state.key);
        self.state.listed.store(true, Ordering::Release);
        true
    }
}

/// Returns when the task must end; new plans wait until the scrape is over.
async fn told_to_end(commands: &mut watch::Receiver<Command>) {
    let ended = commands.wait_for(|command| !matches!(command, Command::Run(_))).await;
    // A sender that is gone means the same.
    drop(ended);
}

async fn read_page(client: &HttpClient, plan: &Plan) -> Page {
    match &plan.source {
        Source::Http { job, target } => match fetch(client, job, target).await {
            Ok(page) => Page { body: Some(page), error: None },
            Err(error) => Page { body: None, error: Some(error) },
        },
        Source::Built(collector) => {
            let timeout = Duration::from_millis(u64::try_from(plan.timeout_ms).unwrap_or(1));
            match tokio::time::timeout(timeout, collector.collect()).await {
                Ok(collected) => {
                    let text = encode_text(&collected.families);
                    Page { body: Some((text.into(), Format::Text)), error: collected.error }
                }
                Err(_) => {
                    let error = format!("no answer within {} ms", plan.timeout_ms);
                    Page { body: None, error: Some(error) }
                }
            }
        }
    }
}

/// The next instant of the target's schedule, at least half an interval after the last scrape.
fn next_due_ms(now_ms: i64, last_ms: i64, interval_ms: i64, offset_hash: u64) -> i64 {
    let interval = interval_ms.max(1);
    let offset = i64::try_from(offset_hash % interval.unsigned_abs()).unwrap_or(0);
    let mut due = now_ms - (now_ms - offset).rem_euclid(interval) + interval;
    while due - last_ms < interval / 2 && due - now_ms <= interval {
        due += interval;
    }
    due
}

/// `now_ms`, or the scheduled instant when the difference is only noise.
fn aligned_ms(now_ms: i64, due_ms: i64, interval_ms: i64) -> i64 {
    let tolerance = ALIGN_MS_MAX.min(interval_ms / 100);
    if (now_ms - due_ms).abs() <= tolerance { due_ms } else { now_ms }
}

#[cfg(test)]
mod tests {
    use super::{aligned_ms, next_due_ms};

    #[test]
    fn a_schedule_keeps_its_phase_and_skips_what_it_missed() {
        for (now, last, interval, hash, wanted) in [
            (10_000, 9_500, 1_000, 500, 10_500),
            (10_500, 10_500, 1_000, 500, 11_500),
            (10_499, 10_500, 1_000, 500, 11_500),
            (14_700, 10_500, 1_000, 500, 15_500),
            (10_400, 10_300, 1_000, 500, 11_500),
            (5_000, 90_000, 1_000, 500, 6_500),
        ] {
            assert_eq!(next_due_ms(now, last, interval, hash), wanted, "{now} {last}");
        }
        for (now, due, interval, wanted) in [
            (1_002, 1_000, 15_000, 1_000),
            (1_003, 1_000, 15_000, 1_003),
            (1_001, 1_000, 50, 1_001),
        ] {
            assert_eq!(aligned_ms(now, due, interval), wanted);
        }
    }
}
