//! Somebody else holds the file while the alert fires: it is shown, and told when it can be written.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::{Api, ReceiverServer, alerting, slack, start, ticks_pass, until};

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
