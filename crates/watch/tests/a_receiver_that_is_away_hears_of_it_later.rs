//! Receivers that are busy, broken or gone.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::net::TcpListener;
use std::time::Duration;
use support::{Api, ReceiverServer, Reply, alerting, slack, start, ticks_pass, until};

#[tokio::test(flavor = "multi_thread")]
async fn one_that_asks_for_time_gets_it() {
    let dir = tempfile::tempdir().unwrap();
    let busy = Reply::Status(429, "Retry-After: 2\r\n");
    let server = ReceiverServer::start(vec![busy]);
    let api = Api::new(true);
    let routing = alerting(vec![slack(server.address)]);
    let watch = start(&dir.path().join("ledger.sqlite"), routing, &api);
    until("it is told again", || server.to("/slack").len() == 2).await;
    let told = server.to("/slack");
    let waited = told[1].at - told[0].at;
    assert!(waited >= Duration::from_millis(1900), "{waited:?}");
    assert_eq!(told[0].body, told[1].body);
    ticks_pass(&watch, 5).await;
    assert_eq!(server.to("/slack").len(), 2, "a message that has arrived is not repeated");
    watch.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_down_hears_when_it_is_up_even_if_all_is_over() {
    let dir = tempfile::tempdir().unwrap();
    // An address where nobody listens.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let api = Api::new(true);
    let routing = alerting(vec![slack(address)]);
    let watch = start(&dir.path().join("ledger.sqlite"), routing, &api);
    until("it is tried in vain", || {
        watch.notifications(1).unwrap().first().is_some_and(|one| one.attempts >= 1)
    })
    .await;
    api.set_down(false);
    until("the end waits behind the beginning", || watch.notifications(9).unwrap().len() == 2)
        .await;
    let server = ReceiverServer::on(address, Vec::new());
    until("both arrive", || server.to("/slack").len() == 2).await;
    let told = server.to("/slack");
    assert!(told[0].body.contains("[FIRING] API Down"), "{told:?}");
    assert!(told[1].body.contains("[RESOLVED] API Down"), "{told:?}");
    watch.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_refuses_is_left_alone_and_the_refusal_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let server = ReceiverServer::start(vec![Reply::Status(404, "")]);
    let api = Api::new(true);
    let routing = alerting(vec![slack(server.address)]);
    let watch = start(&dir.path().join("ledger.sqlite"), routing, &api);
    until("it is refused", || {
        let shown = watch.notifications(1).unwrap();
        shown.first().is_some_and(|one| one.state.as_str() == "failed")
    })
    .await;
    ticks_pass(&watch, 5).await;
    assert_eq!(server.to("/slack").len(), 1);
    let shown = watch.notifications(1).unwrap();
    assert_eq!(shown[0].last_error.as_deref(), Some("unexpected status code 404: ok"));
    watch.stop().await;
}
