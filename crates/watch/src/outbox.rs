//! The worker that empties the outbox.
//!
//! It lends messages that are due, a few at a time, sends each with a deadline shorter than its
//! lease, and writes the answer down. A receiver that does not answer is tried again after 1 s, 2 s,
//! 4 s … up to 5 minutes (with jitter, so that messages do not march in step), or when it says so.

use crate::core::Core;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use vigie_ledger::{LedgerError, OutboxRow};
use vigie_notify::{Message, Verdict, deliver, kind_name};

/// Messages on their way at once.
pub(crate) const CONCURRENT_MAX: usize = 8;
/// How long a message is lent; longer than [`vigie_notify::ATTEMPT_TIMEOUT_MS`].
pub(crate) const LEASE_MS: i64 = 15_000;
/// The wait after the first failure; it doubles.
const BACKOFF_MS_MIN: i64 = 1000;
/// The longest wait.
const BACKOFF_MS_MAX: i64 = 5 * 60 * 1000;
/// After this long a message is given up.
const GIVE_UP_MS: i64 = 24 * 60 * 60 * 1000;
/// But not before this many attempts: a clock that was set forward makes everything look old.
const ATTEMPTS_MIN: u32 = 20;
/// How long messages that are over are kept.
const KEPT_MS: i64 = 90 * 24 * 60 * 60 * 1000;
/// The pause after the ledger refused.
const FAILED_MS: u64 = 1000;
/// The pause between two looks while messages are on their way; each answer ends it.
const BUSY_MS: u64 = 250;
/// The longest sleep when nothing is due.
const IDLE_MS_MAX: i64 = 60_000;

const _: () =
    assert!(vigie_ledger::WAIT_MS_MAX >= vigie_notify::RETRY_AFTER_MS_MAX + BACKOFF_MS_MAX);
const _: () = assert!(LEASE_MS > vigie_notify::ATTEMPT_TIMEOUT_MS as i64);

/// Works until told to stop.
pub(crate) async fn run(core: Arc<Core>, wake: Arc<Notify>, mut stopped: watch::Receiver<bool>) {
    let mut under_way = JoinSet::new();
    let mut last_cleaning_ms = None;
    loop {
        let now_ms = core.now_ms();
        if last_cleaning_ms.is_none_or(|at_ms| now_ms - at_ms > 3_600_000) {
            last_cleaning_ms = Some(now_ms);
            blocking(&core, "forget old messages", move |core| {
                core.connections.ledger.forget_before(now_ms - KEPT_MS)
            })
            .await;
        }
        let wait_ms = match lend(&core, &mut under_way, now_ms).await {
            None => FAILED_MS,
            Some(0) => wait_ms(&core, under_way.len()).await,
            Some(_) => BUSY_MS,
        };
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => break,
            () = wake.notified() => {}
            Some(_) = under_way.join_next() => {}
            () = tokio::time::sleep(Duration::from_millis(wait_ms)) => {}
        }
    }
    while under_way.join_next().await.is_some() {}
}

/// Lends what is due, as far as there is room, and begins to send it. Answers how much that was;
/// `None` when the ledger refused.
async fn lend(core: &Arc<Core>, under_way: &mut JoinSet<()>, now_ms: i64) -> Option<usize> {
    let room = CONCURRENT_MAX - under_way.len();
    if room == 0 {
        return Some(0);
    }
    let rows = blocking(core, "lend messages", move |core| {
        core.connections.ledger.lease_due(now_ms, LEASE_MS, room)
    });
    let rows = rows.await?;
    let count = rows.len();
    for row in rows {
        // One whose lease has ended while its answer waits to be written down is not sent again.
        if core.lasting.in_flight.lock().insert(row.id) {
            under_way.spawn(send(core.clone(), row));
        }
    }
    Some(count)
}

/// How long there is nothing to lend.
async fn wait_ms(core: &Arc<Core>, under_way: usize) -> u64 {
    if under_way >= CONCURRENT_MAX {
        return IDLE_MS_MAX as u64;
    }
    let next = blocking(core, "look for messages", |core| core.connections.ledger.next_due_ms());
    let Some(next) = next.await else { return FAILED_MS };
    let until_ms = next.map_or(IDLE_MS_MAX, |at_ms| at_ms - core.now_ms());
    // What waits for a receiver that is busy can go when that has answered, which wakes us.
    let least_ms = if under_way > 0 { BUSY_MS } else { 20 };
    until_ms.clamp(least_ms as i64, IDLE_MS_MAX) as u64
}

/// Runs something that waits for the disk elsewhere; `None` when it failed, which is said once,
/// until it works again: a full disk must not be filled with lines that say so.
async fn blocking<T: Send + 'static>(
    core: &Arc<Core>,
    what: &'static str,
    work: impl FnOnce(&Core) -> Result<T, LedgerError> + Send + 'static,
) -> Option<T> {
    let worker = core.clone();
    let done = tokio::task::spawn_blocking(move || work(&worker)).await;
    let error = match done {
        Ok(Ok(value)) => {
            if core.lasting.said.is_over(what) {
                tracing::info!("outbox: the ledger can {what} again");
            }
            return Some(value);
        }
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    if core.lasting.said.is_new(what, &error) {
        tracing::error!("outbox: the ledger cannot {what}: {error}");
    }
    None
}

/// Takes a message out of those under way, however its sending ends.
struct UnderWay {
    core: Arc<Core>,
    id: i64,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.core.lasting.in_flight.lock().remove(&self.id);
    }
}

/// What is to be written down about an attempt.
#[derive(Clone)]
enum Outcome {
    Sent { at_ms: i64 },
    NotSent { reason: String, retry_at_ms: Option<i64> },
    Overtaken { reason: String },
}

/// Sends one message once and writes the answer down. A ledger that refuses is asked until it takes
/// it: forgotten, the message would be sent again.
async fn send(core: Arc<Core>, row: OutboxRow) {
    let _under_way = UnderWay { core: core.clone(), id: row.id };
    let verdict = attempt(&core, &row).await;
    let outcome = outcome(&core, &row, verdict);
    let id = row.id;
    loop {
        let outcome = outcome.clone();
        let written = blocking(&core, "write answers down", move |core| match outcome {
            Outcome::Sent { at_ms } => core.connections.ledger.mark_sent(id, at_ms),
            Outcome::NotSent { reason, retry_at_ms } => {
                core.connections.ledger.mark_failed(id, &reason, retry_at_ms)
            }
            Outcome::Overtaken { reason } => core.connections.ledger.mark_dropped(id, &reason),
        });
        if written.await.is_some() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(FAILED_MS)).await;
    }
}

/// Counts and says how an attempt went.
fn outcome(core: &Core, row: &OutboxRow, verdict: Verdict) -> Outcome {
    let (id, now_ms, told) = (row.id, core.now_ms(), &row.message);
    let count = |result| {
        *core.lasting.attempts.lock().entry((told.kind.clone(), result)).or_default() += 1;
    };
    let (reason, retry_at_ms) = match verdict {
        Verdict::Delivered => {
            count("sent");
            if core.lasting.said.is_over(&integration_of(row)) {
                tracing::info!("{} ({}) takes messages again", told.receiver, told.kind);
            }
            return Outcome::Sent { at_ms: now_ms };
        }
        Verdict::Refused { reason } => (reason, None),
        Verdict::Retry { reason, .. } if is_overtaken(core, row) => {
            count("dropped");
            return Outcome::Overtaken { reason };
        }
        Verdict::Retry { reason, after_ms } => (reason, retry_at_ms(row, after_ms, now_ms)),
    };
    if retry_at_ms.is_some() {
        count("retried");
        if core.lasting.said.is_new(&integration_of(row), &reason) {
            tracing::warn!(
                "message {id} to {} ({}): {reason}; it is sent again until it arrives",
                told.receiver,
                told.kind
            );
        }
    } else {
        count("failed");
        tracing::error!("message {id} to {} ({}) is lost: {reason}", told.receiver, told.kind);
    }
    Outcome::NotSent { reason, retry_at_ms }
}

fn integration_of(row: &OutboxRow) -> String {
    format!("integration {} of {}", row.message.integration, row.message.receiver)
}

async fn attempt(core: &Core, row: &OutboxRow) -> Verdict {
    let refused = |reason: String| Verdict::Refused { reason };
    let told = &row.message;
    let integration = core.integration(&told.receiver, told.integration);
    let Some(integration) = integration.filter(|one| kind_name(&one.kind) == told.kind) else {
        return refused(format!(
            "the receiver {:?} has no such {} any more",
            told.receiver, told.kind
        ));
    };
    let message: Message = match serde_json::from_str(&told.payload) {
        Ok(message) => message,
        Err(error) => return refused(format!("the message cannot be read: {error}")),
    };
    let transport = core.connections.transport.as_ref();
    deliver(transport, integration, &message, told.part, core.now_ms()).await
}

/// Whether a message says that something fires which does no more, to somebody who wants no
/// resolutions.
fn is_overtaken(core: &Core, row: &OutboxRow) -> bool {
    let told = &row.message;
    let wants_resolved = core
        .integration(&told.receiver, told.integration)
        .is_none_or(|integration| integration.send_resolved);
    let id = (told.group_key.clone(), told.receiver.clone());
    told.firing && !wants_resolved && !core.group_fires(&id)
}

/// When a message is tried again; `None` when it is too old.
fn retry_at_ms(row: &OutboxRow, after_ms: Option<i64>, now_ms: i64) -> Option<i64> {
    if now_ms - row.message.created_at_ms >= GIVE_UP_MS && row.attempts >= ATTEMPTS_MIN {
        return None;
    }
    let wait_ms = match after_ms {
        Some(asked_ms) => asked_ms.max(BACKOFF_MS_MIN),
        None => backoff_ms(row.attempts, row.id as u64),
    };
    Some(now_ms + wait_ms)
}

/// Between half and the whole of 1 s, 2 s, 4 s … 5 min.
fn backoff_ms(attempts: u32, seed: u64) -> i64 {
    let doublings = attempts.saturating_sub(1).min(20);
    let whole_ms = (BACKOFF_MS_MIN << doublings).min(BACKOFF_MS_MAX);
    // A multiplicative hash is jitter enough, and the same in every run.
    let hash = (seed ^ u64::from(attempts) << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
    let half_ms = whole_ms / 2;
    half_ms + (hash % (half_ms as u64 + 1)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes_and_are_spread() {
        for (attempts, least_ms, most_ms) in
            [(1, 500, 1000), (2, 1000, 2000), (5, 8000, 16_000), (60, 150_000, 300_000)]
        {
            for seed in 0..100 {
                let wait_ms = backoff_ms(attempts, seed);
                assert!((least_ms..=most_ms).contains(&wait_ms), "{attempts}: {wait_ms}");
            }
        }
        assert_ne!(backoff_ms(9, 1), backoff_ms(9, 2));
    }
}
