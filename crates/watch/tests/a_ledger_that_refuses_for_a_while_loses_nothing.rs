//! Somebody else holds the file while the alert fires: it is shown, and told when it can be written.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use support::{Api, ReceiverServer, alerting, slack, start, start_with, ticks_pass, until};
use vigie_notify::{Answer, Post, Posting, Transport};

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_refuses_for_a_while_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.sqlite");
    let server = ReceiverServer::start(Vec::new());
    let api = Api::new(false);
    let watch = start(&path, alerting(vec![slack(server.address)]), &api);
    ticks_pass(&watch, 1).await;

    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    api.set_down(true);
    until("the alert is shown", || watch.am_alerts().len() == 1).await;
    assert!(server.to("/slack").is_empty(), "nothing is sent that is not written");

    other.execute_batch("ROLLBACK").unwrap();
    until("it is told", || server.to("/slack").len() == 1).await;
    ticks_pass(&watch, 5).await;
    assert_eq!(server.to("/slack").len(), 1, "once");
    watch.stop().await;
    drop(watch);
    let saved: i64 =
        other.query_row("SELECT COUNT(*) FROM alert_states", [], |row| row.get(0)).unwrap();
    assert_eq!(saved, 1, "the alert's state was written too");
}

/// A receiver that takes everything; the ledger is locked by somebody else while it answers.
struct Locker {
    path: std::path::PathBuf,
    posts: AtomicUsize,
    locked: Mutex<Option<rusqlite::Connection>>,
}

impl Transport for Locker {
    fn post(&self, _: Post) -> Posting<'_> {
        Box::pin(async {
            if self.posts.fetch_add(1, Ordering::SeqCst) == 0 {
                let other = rusqlite::Connection::open(&self.path).unwrap();
                other.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
                other.execute_batch("BEGIN IMMEDIATE").unwrap();
                *self.locked.lock().unwrap() = Some(other);
            }
            Ok(Answer { status: 200, retry_after: None, body: String::new() })
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_cannot_be_written_down_is_not_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.sqlite");
    let locker = Arc::new(Locker {
        path: path.clone(),
        posts: AtomicUsize::new(0),
        locked: Mutex::new(None),
    });
    let address = "127.0.0.1:1".parse().unwrap();
    let api = Api::new(true);
    let watch = start_with(&path, alerting(vec![slack(address)]), &api, locker.clone());
    until("it is sent", || locker.locked.lock().unwrap().is_some()).await;
    // Longer than the ledger waits for whoever holds it.
    let begun = Instant::now();
    until("the ledger has refused", || begun.elapsed().as_secs() >= 6).await;
    drop(locker.locked.lock().unwrap().take());
    let sent = || watch.notifications(1).unwrap()[0].state.as_str() == "sent";
    until("it is written down", sent).await;
    assert!(begun.elapsed().as_secs() < 15, "not because it was sent again");
    assert_eq!(locker.posts.load(Ordering::SeqCst), 1);
    watch.stop().await;
}
