//! A group comes by API: it fires, outlives a restart, hands its alerts on when it is replaced, and
//! resolves them when it goes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::Path;
use std::sync::Arc;
use support::{Api, ReceiverServer, alerting, slack, until};
use vigie_config::rules::{QueryLanguage, RuleGroup, RuleKind};
use vigie_ledger::Ledger;
use vigie_net::HttpClient;
use vigie_watch::{
    AlertState, Connections, SendError, SystemClock, Watch, WatchConfig, WatchHandle,
};

fn group(names: &[&str]) -> RuleGroup {
    let mut group = support::api_down();
    let rule = group.rules[0].clone();
    group.language = QueryLanguage::LogQl;
    group.file = "ns".to_owned();
    group.rules = names
        .iter()
        .map(|one| {
            let mut rule = rule.clone();
            if let RuleKind::Alert { name, .. } = &mut rule.kind {
                *name = (*one).to_owned();
            }
            rule
        })
        .collect();
    group
}

/// Starts with what the ledger knows; the program reads the bodies, here they name the rules.
fn start(path: &Path, server: &ReceiverServer, api: &Arc<Api>) -> WatchHandle {
    let ledger = Ledger::open(path).unwrap();
    let rows = ledger.rule_groups().unwrap();
    let sent = rows.iter().map(|row| group(&row.body.split(',').collect::<Vec<_>>()));
    let config = WatchConfig {
        groups: vec![RuleGroup { file: "file.yml".to_owned(), ..group(&["InFile"]) }],
        sent_groups: sent.collect(),
        alerting: alerting(vec![slack(server.address)]),
        language: "en".to_owned(),
    };
    let connections = Connections {
        evaluator: api.clone(),
        sink: api.clone(),
        ledger: Arc::new(ledger),
        transport: Arc::new(HttpClient::new()),
        clock: Arc::new(SystemClock),
    };
    Watch::start(config, connections).unwrap()
}

fn firing(watch: &WatchHandle) -> Vec<(String, i64)> {
    let alerts = watch.alerts().into_iter().filter(|one| one.state == AlertState::Firing);
    let mut firing: Vec<(String, i64)> = alerts
        .map(|one| (one.labels.value_or_empty("alertname").to_owned(), one.active_at_ms))
        .filter(|(name, _)| name != "InFile")
        .collect();
    firing.sort();
    firing
}

fn names(watch: &WatchHandle) -> Vec<String> {
    firing(watch).into_iter().map(|(name, _)| name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_clients_send_take_effect_and_go_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.sqlite");
    let server = ReceiverServer::start(Vec::new());
    let api = Api::new(true);
    let logql = QueryLanguage::LogQl;

    let watch = start(&path, &server, &api);
    watch.put_group(group(&["A", "B"]), "A,B").unwrap();
    until("both fire", || names(&watch) == ["A", "B"]).await;
    let before = firing(&watch);
    watch.stop().await;
    drop(watch);

    // After a restart the group is there, and its alerts fire since then.
    let watch = start(&path, &server, &api);
    assert_eq!(firing(&watch), before);
    let known: Vec<(String, bool)> =
        watch.known_groups(logql).into_iter().map(|one| (one.group.file, one.is_sent)).collect();
    assert_eq!(known, [("file.yml".to_owned(), false), ("ns".to_owned(), true)]);

    // A rule that stays keeps its alert; one that is gone resolves it.
    watch.put_group(group(&["A", "C"]), "A,C").unwrap();
    until("the new one fires", || names(&watch) == ["A", "C"]).await;
    assert_eq!(firing(&watch)[0], before[0]);
    until("the end of the old one is told", || {
        server.to("/slack").iter().any(|one| one.body.contains("[RESOLVED] B"))
    })
    .await;

    // A group of a file is the file's.
    let fixed = RuleGroup { file: "file.yml".to_owned(), ..group(&["X"]) };
    assert!(matches!(watch.put_group(fixed, "X"), Err(SendError::InFile { .. })));
    assert!(matches!(watch.delete_groups(logql, "file.yml", None), Err(SendError::InFile { .. })));
    for (namespace, name, words) in [
        ("ns", Some("nothing"), "group does not exist"),
        ("nowhere", None, "group namespace does not exist"),
    ] {
        let refused = watch.delete_groups(logql, namespace, name).unwrap_err();
        assert_eq!(refused.to_string(), words);
    }

    watch.delete_groups(logql, "ns", Some("critical")).unwrap();
    assert!(names(&watch).is_empty());
    until("all ends are told", || {
        let told = server.to("/slack");
        ["[RESOLVED] A", "[RESOLVED] C"]
            .iter()
            .all(|end| told.iter().any(|one| one.body.contains(end)))
    })
    .await;
    watch.stop().await;
    drop(watch);
    let ledger = Ledger::open(&path).unwrap();
    assert!(ledger.rule_groups().unwrap().is_empty());
}
