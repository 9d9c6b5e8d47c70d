//! A configuration is read anew while an alert is pending, one is firing and a message is on its way:
//! time goes on where it was, what is gone ends with a stale marker, and people are told once.

#![allow(clippy::unwrap_used, reason = "a panic is the failure report")]

mod support;

use std::sync::Arc;
use std::time::Duration;
use support::{Api, ReceiverServer, Reply, alerting, api_down, slack, start, until};
use vigie_config::alerting::Alerting;
use vigie_config::rules::{Rule, RuleGroup, RuleKind};
use vigie_model::{Labels, is_stale};
use vigie_watch::{AlertState, AlertStatus, WatchConfig, WatchHandle};

/// The group of the runbook with a `for` and an annotation.
fn pending_for(for_ms: i64, summary: &str) -> RuleGroup {
    let mut group = api_down();
    group.name = "slow".to_owned();
    group.rules[0].kind = RuleKind::Alert {
        name: "API Slow".to_owned(),
        for_ms,
        keep_firing_for_ms: 0,
        annotations: vec![("summary".to_owned(), summary.to_owned())],
    };
    group
}

fn recording(name: &str) -> RuleGroup {
    let rule = Rule {
        kind: RuleKind::Record { name: name.to_owned() },
        expr: "up".to_owned(),
        labels: Vec::new(),
    };
    RuleGroup { name: "records".to_owned(), rules: vec![rule], ..api_down() }
}

fn config(groups: Vec<RuleGroup>, alerting: Alerting) -> WatchConfig {
    WatchConfig { groups, sent_groups: Vec::new(), alerting, language: "en".to_owned() }
}

fn alert(watch: &WatchHandle, name: &str) -> Option<AlertStatus> {
    let mut alerts = watch.alerts().into_iter();
    alerts.find(|alert| alert.labels.value_or_empty("alertname") == name)
}

fn wrote(api: &Api, name: &str) -> Vec<f64> {
    let written = api.written.lock().unwrap();
    let named = |labels: &Labels| labels.metric_name() == Some(name);
    written.iter().filter(|(labels, _)| named(labels)).map(|(_, value)| *value).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_alert_keeps_its_time_and_a_rule_that_is_gone_leaves_a_stale_marker() {
    let directory = tempfile::tempdir().unwrap();
    let receiver = ReceiverServer::start(Vec::new());
    let routing = || alerting(vec![slack(receiver.address)]);
    let api = Api::new(true);
    let watch = start(&directory.path().join("ledger"), routing(), &api);
    let groups = vec![api_down(), pending_for(3_600_000, "old"), recording("old:up")];
    watch.reload(config(groups, routing())).await.unwrap();
    until("it is pending", || alert(&watch, "API Slow").is_some()).await;
    until("a series is recorded", || !wrote(&api, "old:up").is_empty()).await;
    until("the other has been told", || receiver.to("/slack").len() == 1).await;
    let (slow, down) = (alert(&watch, "API Slow").unwrap(), alert(&watch, "API Down").unwrap());
    assert_eq!((slow.state, down.state), (AlertState::Pending, AlertState::Firing));

    let groups = vec![api_down(), pending_for(3_600_000, "new"), recording("new:up")];
    watch.reload(config(groups, routing())).await.unwrap();
    // Nothing is forgotten between the two.
    assert_eq!(alert(&watch, "API Slow").unwrap().active_at_ms, slow.active_at_ms);
    until("the new text is there", || alert(&watch, "API Slow").unwrap().annotations[0].1 == "new")
        .await;
    until("the new series is recorded", || !wrote(&api, "new:up").is_empty()).await;
    let after = alert(&watch, "API Slow").unwrap();
    assert_eq!((after.state, after.active_at_ms), (AlertState::Pending, slow.active_at_ms));
    let old = wrote(&api, "old:up");
    assert!(is_stale(*old.last().unwrap()), "{old:?}");
    assert_eq!(old.iter().filter(|value| is_stale(**value)).count(), 1);

    // A shorter `for` counts from the same instant on.
    watch.reload(config(vec![pending_for(1, "new")], routing())).await.unwrap();
    until("it fires", || {
        alert(&watch, "API Slow").is_some_and(|alert| alert.state == AlertState::Firing)
    })
    .await;
    assert_eq!(alert(&watch, "API Slow").unwrap().active_at_ms, slow.active_at_ms);
    assert!(alert(&watch, "API Down").is_none(), "its rule is gone");
    let told = |word: &str| {
        let all = receiver.to("/slack");
        all.iter().filter(|one| one.body.contains(word) && one.body.contains("API Down")).count()
    };
    until("its end is told", || told("RESOLVED") + told("resolved") > 0 || told("") >= 2).await;
    watch.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_on_its_way_is_sent_once_and_the_new_receiver_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) =
        (ReceiverServer::start(vec![Reply::Silence]), ReceiverServer::start(Vec::new()));
    let api = Api::new(true);
    let watch =
        Arc::new(start(&directory.path().join("ledger"), alerting(vec![slack(old.address)]), &api));
    until("the message is on its way", || old.to("/slack").len() == 1).await;
    let mut routing = alerting(vec![slack(new.address)]);
    let other = |name: &mut String| *name = "other".to_owned();
    routing.route.routes.iter_mut().for_each(|route| other(&mut route.receiver));
    routing.receivers.iter_mut().skip(1).for_each(|receiver| other(&mut receiver.name));
    let reloaded = tokio::time::timeout(
        Duration::from_secs(8),
        watch.reload(config(vec![api_down()], routing)),
    );
    reloaded.await.expect("nobody waits for the silent receiver").unwrap();
    assert_eq!(watch.receivers(), ["nobody", "other"]);
    until("the new one is told", || new.to("/slack").len() == 1).await;
    assert_eq!(old.to("/slack").len(), 1, "the message is still on its way");
    watch.stop().await;
}
