//! API Down fires: PagerDuty, Slack and both telephones hear of it, and of its end.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::{Api, ReceiverServer, alerting, runbook_receivers, start, ticks_pass, until};
use vigie_watch::{AlertState, Health};

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_reaches_every_receiver_of_its_severity() {
    let dir = tempfile::tempdir().unwrap();
    let server = ReceiverServer::start(Vec::new());
    let api = Api::new(true);
    let routing = alerting(runbook_receivers(server.address));
    let watch = start(&dir.path().join("ledger.sqlite"), routing, &api);

    until("both telephones are told", || server.to("/sms").len() == 2).await;
    until("PagerDuty and Slack are told", || {
        (server.to("/pagerduty").len(), server.to("/slack").len()) == (1, 1)
    })
    .await;
    let event: serde_json::Value = serde_json::from_str(&server.to("/pagerduty")[0].body).unwrap();
    assert_eq!(event["event_action"], "trigger");
    assert_eq!(event["payload"]["severity"], "critical");
    assert_eq!(event["links"][0]["href"], "http://vigie.test/runbooks/api-down");
    let numbers: Vec<bool> = ["%2B32470000001", "%2B32470000002"]
        .map(|number| server.to("/sms").iter().any(|sms| sms.body.contains(number)))
        .into();
    assert_eq!(numbers, [true, true]);
    assert!(server.to("/slack")[0].body.contains("h:8080 does not answer"));

    let alerts = watch.alerts();
    assert_eq!((alerts.len(), alerts[0].state), (1, AlertState::Firing));
    assert_eq!(alerts[0].receivers, ["high"]);
    let listed = &watch.am_alerts()[0];
    assert_eq!(listed.annotations[0].1, "h:8080 does not answer");
    assert!(listed.ends_at_ms > listed.updated_at_ms && listed.fingerprint.len() == 16);
    assert_eq!(watch.rules()[0].rules[0].health, Health::Good);
    let states: Vec<String> =
        api.written.lock().unwrap().iter().map(|(labels, _)| labels.to_string()).collect();
    assert!(states.iter().any(|text| text.contains(r#"alertstate="firing""#)), "{states:?}");

    ticks_pass(&watch, 5).await;
    assert_eq!(server.to("/slack").len(), 1, "what is known is not told again");

    api.set_down(false);
    until("all hear of the end", || {
        (server.to("/pagerduty").len(), server.to("/slack").len(), server.to("/sms").len())
            == (2, 2, 4)
    })
    .await;
    let end: serde_json::Value = serde_json::from_str(&server.to("/pagerduty")[1].body).unwrap();
    assert_eq!(end["event_action"], "resolve");
    assert_eq!(end["dedup_key"], event["dedup_key"]);
    assert!(server.to("/slack")[1].body.contains("[RESOLVED] API Down"));
    assert!(watch.alerts().is_empty() && watch.am_alerts().is_empty());
    until("the outbox is empty", || {
        let metrics = watch.metrics();
        metrics.iter().any(|m| m.name == "vigie_outbox_messages" && m.value == 0.0)
    })
    .await;
    let sent = watch.notifications(100).unwrap();
    assert_eq!(sent.len(), 8);
    assert!(sent.iter().all(|one| one.sent_at_ms.is_some() && one.last_error.is_none()));
    watch.stop().await;
}
