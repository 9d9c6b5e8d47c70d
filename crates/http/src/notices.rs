//! Prometheus' notifications (`util/notifications`): what the operator must know about the server
//! itself, as a list and as a live stream.
//!
//! A notice is on until it is taken back. A subscriber is first told everything that is on, then
//! every change. There are at most [`SUBSCRIBERS_MAX`] of them, and one that does not read loses what
//! does not fit into its queue, as upstream's does: nobody who writes a notice ever waits.

use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// Most subscribers at once (Prometheus' `web.max-notifications-subscribers`).
pub const SUBSCRIBERS_MAX: usize = 16;
/// Notices that wait for a subscriber.
const WAITING_MAX: usize = 10;

/// One notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What it says.
    pub text: String,
    /// When it was said last, in milliseconds since the epoch.
    pub at_ms: i64,
    /// Whether it is on; a stream also tells when it no longer is.
    pub active: bool,
}

/// All notices that are on, and who listens.
#[derive(Default)]
pub struct Notices(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    on: Vec<Notice>,
    subscribers: Vec<mpsc::Sender<Notice>>,
    closed: bool,
}

impl Notices {
    /// Turns a notice on, or says it again.
    pub fn add(&self, text: &str, at_ms: i64) {
        let mut inner = self.lock();
        let notice = Notice { text: text.to_owned(), at_ms, active: true };
        match inner.on.iter_mut().find(|known| known.text == text) {
            Some(known) => known.at_ms = at_ms,
            None => inner.on.push(notice.clone()),
        }
        inner.tell(&notice);
    }

    /// Takes a notice back.
    pub fn remove(&self, text: &str) {
        let mut inner = self.lock();
        if let Some(at) = inner.on.iter().position(|known| known.text == text) {
            let notice = Notice { active: false, ..inner.on.remove(at) };
            inner.tell(&notice);
        }
    }

    /// What is on.
    pub fn list(&self) -> Vec<Notice> {
        self.lock().on.clone()
    }

    /// Everything that is on, then every change. `None` when there are enough subscribers.
    pub fn subscribe(&self) -> Option<mpsc::Receiver<Notice>> {
        let mut inner = self.lock();
        inner.subscribers.retain(|one| !one.is_closed());
        if inner.closed || inner.subscribers.len() >= SUBSCRIBERS_MAX {
            return None;
        }
        let (sender, receiver) = mpsc::channel(WAITING_MAX.max(inner.on.len()));
        for notice in &inner.on {
            let _ = sender.try_send(notice.clone());
        }
        inner.subscribers.push(sender);
        Some(receiver)
    }

    /// Ends every stream, so that a stopping server does not wait for those who listen.
    pub fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.subscribers.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn tell(&self, notice: &Notice) {
        for subscriber in &self.subscribers {
            // A full queue loses it.
            let _ = subscriber.try_send(notice.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscriber_hears_what_is_on_and_what_changes() {
        let notices = Notices::default();
        notices.add("full", 1);
        let mut heard = notices.subscribe().unwrap();
        notices.add("full", 2);
        notices.add("stopping", 3);
        notices.remove("full");
        notices.remove("never said");
        assert_eq!(notices.list().len(), 1);
        notices.close();
        let mut all = Vec::new();
        while let Ok(notice) = heard.try_recv() {
            all.push((notice.text, notice.at_ms, notice.active));
        }
        let wanted =
            [("full", 1, true), ("full", 2, true), ("stopping", 3, true), ("full", 2, false)];
        assert_eq!(all, wanted.map(|(text, at_ms, active)| (text.to_owned(), at_ms, active)));
        assert!(notices.subscribe().is_none(), "nobody joins a closed house");
    }

    #[test]
    fn places_are_counted_and_given_again() {
        let notices = Notices::default();
        let mut all: Vec<_> = (0..SUBSCRIBERS_MAX).map(|_| notices.subscribe().unwrap()).collect();
        assert!(notices.subscribe().is_none());
        for at_ms in 0..100 {
            notices.add("nobody reads this", at_ms);
        }
        all.pop();
        assert!(notices.subscribe().is_some());
    }
}
