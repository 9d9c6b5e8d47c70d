//! Without receivers, without a rule, with a rule that fails.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use support::{Api, api_down, start, until};
use vigie_ledger::Ledger;
use vigie_watch::{Connections, Health, SystemClock, Watch, WatchConfig, without_receivers};

#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_listed_even_if_nobody_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let routing = without_receivers("http://vigie.test");
    let watch = start(&dir.path().join("ledger.sqlite"), routing, &Api::new(true));
    until("the alert fires", || watch.am_alerts().len() == 1).await;
    assert!(watch.notice().is_some_and(|text| text.contains("no receiver is configured")));
    assert!(watch.notifications(10).unwrap().is_empty());
    assert_eq!(watch.am_alerts()[0].receivers, ["nobody"]);
    watch.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_fails_is_reported_and_one_that_is_gone_is_resolved() {
    let api = Api::new(true);
    let ledger = Arc::new(Ledger::in_memory().unwrap());
    let connections = Connections {
        evaluator: api.clone(),
        sink: api.clone(),
        ledger: ledger.clone(),
        transport: Arc::new(vigie_net::HttpClient::new()),
        clock: Arc::new(SystemClock),
    };
    let config = |groups| WatchConfig {
        groups,
        sent_groups: Vec::new(),
        alerting: without_receivers(""),
        language: "fr".to_owned(),
    };
    let watch = Watch::start(config(vec![api_down()]), connections.clone()).unwrap();
    until("the alert fires", || watch.am_alerts().len() == 1).await;
    watch.stop().await;
    assert_eq!(ledger.alerts().unwrap().len(), 1);

    let mut broken = api_down();
    broken.name = "other".to_owned();
    broken.rules[0].expr = "broken".to_owned();
    let watch = Watch::start(config(vec![broken]), connections).unwrap();
    assert!(ledger.alerts().unwrap().is_empty(), "its rule is gone");
    until("the rule fails", || watch.rules()[0].rules[0].health == Health::Bad).await;
    let rule = &watch.rules()[0].rules[0];
    assert_eq!(rule.last_error.as_deref(), Some("1:1: parse error: broken"));
    let failures = |name: &str| watch.metrics().iter().find(|m| m.name == name).unwrap().value;
    assert!(failures("vigie_rule_evaluation_failures_total") >= 1.0);
    watch.stop().await;
}
