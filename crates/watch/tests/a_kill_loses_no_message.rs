//! The program is killed while a message is on its way, and after it has arrived.
//!
//! The test runs itself again as a child, which is killed for good.
//! A kill cannot show a missing fsync; that is for a simulated disk.
//!
//! Planted bugs that these tests and those of `vigie-ledger` and `vigie-rules` were seen to catch:
//! groups not saved · alerts not restored · leases not released at start · a message marked sent
//! before it is · the lock not taken · later messages overtaking earlier ones of the same target ·
//! `Retry-After` ignored · resolved alerts not kept · a decision forgotten after the write ·
//! a transaction committed although its work failed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::process::{Child, Command};
use support::{Api, ReceiverServer, Reply, alerting, runbook_receivers, start, ticks_pass, until};

const CHILD_LEDGER: &str = "VIGIE_TEST_CHILD_LEDGER";
const CHILD_RECEIVER: &str = "VIGIE_TEST_CHILD_RECEIVER";

/// Not a test of its own: what the child does until it is killed.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let (Ok(ledger), Ok(address)) = (std::env::var(CHILD_LEDGER), std::env::var(CHILD_RECEIVER))
    else {
        return;
    };
    let mut integrations = runbook_receivers(address.parse().unwrap());
    integrations.truncate(1);
    let _watch = start(ledger.as_ref(), alerting(integrations), &Api::new(true));
    std::future::pending::<()>().await;
}

fn spawn_child(ledger: &std::path::Path, server: &ReceiverServer) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child"])
        .env(CHILD_LEDGER, ledger)
        .env(CHILD_RECEIVER, server.address.to_string())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap()
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_on_its_way_arrives_once_and_its_end_too() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ledger.sqlite");
    let server = ReceiverServer::start(vec![Reply::Silence]);
    let child = spawn_child(&ledger, &server);
    until("the child has begun to send", || server.to("/pagerduty").len() == 1).await;
    kill(child);

    let api = Api::new(true);
    let mut integrations = runbook_receivers(server.address);
    integrations.truncate(1);
    let watch = start(&ledger, alerting(integrations.clone()), &api);
    until("it is sent again", || server.to("/pagerduty").len() == 2).await;
    let told = server.to("/pagerduty");
    assert_eq!(told[0].body, told[1].body, "PagerDuty sees the same event");
    ticks_pass(&watch, 10).await;
    assert_eq!(server.to("/pagerduty").len(), 2, "once");
    watch.stop().await;
    drop(watch);

    // It ends while nobody looks: the next start says so.
    api.set_down(false);
    let watch = start(&ledger, alerting(integrations), &api);
    until("the end is told", || server.to("/pagerduty").len() == 3).await;
    assert!(server.to("/pagerduty")[2].body.contains(r#""event_action":"resolve""#));
    watch.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_arrived_is_not_repeated_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ledger.sqlite");
    let server = ReceiverServer::start(Vec::new());
    let child = spawn_child(&ledger, &server);
    until("it has arrived", || server.to("/pagerduty").len() == 1).await;
    // The answer is written down right after it has come; give the child the time to read it.
    let path = ledger.clone();
    until("and is written down", move || marked_sent(&path)).await;
    kill(child);

    let mut integrations = runbook_receivers(server.address);
    integrations.truncate(1);
    let watch = start(&ledger, alerting(integrations), &Api::new(true));
    until("the alert fires on", || watch.am_alerts().len() == 1).await;
    ticks_pass(&watch, 10).await;
    assert_eq!(server.to("/pagerduty").len(), 1);
    watch.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_pause_ends_no_alert_before_somebody_has_looked() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ledger.sqlite");
    let server = ReceiverServer::start(Vec::new());
    let mut integrations = runbook_receivers(server.address);
    integrations.truncate(1);
    let watch = start(&ledger, alerting(integrations.clone()), &Api::new(true));
    until("it has arrived", || server.to("/pagerduty").len() == 1).await;
    watch.stop().await;
    drop(watch);

    // An hour later nothing is known of the API yet.
    let api = Api::new(false);
    api.stale.store(true, std::sync::atomic::Ordering::SeqCst);
    let watch = start(&ledger, alerting(integrations.clone()), &api);
    assert_eq!(watch.am_alerts().len(), 1, "it is listed meanwhile");
    let begun = std::time::Instant::now();
    until("a second has passed", || begun.elapsed().as_secs() >= 1).await;
    assert_eq!(watch.rules()[0].last_evaluation_ms, None);
    assert_eq!(server.to("/pagerduty").len(), 1, "nobody is told that it is over");
    watch.stop().await;
}

/// Looks into the child's file, as `sqlite3` would.
fn marked_sent(path: &std::path::Path) -> bool {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let connection = rusqlite::Connection::open_with_flags(path, flags).unwrap();
    let count = "SELECT COUNT(*) FROM outbox WHERE state = 'sent'";
    connection.query_row(count, [], |row| row.get::<_, i64>(0)).is_ok_and(|count| count == 1)
}
