//! Thirty seconds after the demonstration has started, every query of every panel of the five
//! dashboards has an answer that is not empty.

#![allow(clippy::unwrap_used, reason = "a test's panic is its report")]

use serde_json::Value;
use vigie_scenarios::demo::Demo;
use vigie_scenarios::{get, http::encode, wait_for};

/// The panels of a dashboard, those inside rows included.
fn panels(value: &Value) -> Vec<Value> {
    let own = value["panels"].as_array().cloned().unwrap_or_default();
    own.iter().flat_map(|panel| std::iter::once(panel.clone()).chain(panels(panel))).collect()
}

/// How many series or streams a query answers for the five minutes before `end_s`.
fn rows(port: u16, target: &Value, end_s: i64) -> usize {
    let expr = target["expr"].as_str().unwrap_or("");
    let expr = ["$__rate_interval", "$__interval", "$__auto"]
        .iter()
        .fold(expr.to_owned(), |expr, name| expr.replace(name, "15s"));
    let expr = expr.replace("$__range", "300s");
    let logs = target["datasource"]["type"] == "loki";
    let (prefix, end) = if logs { ("/loki", 1_000_000_000) } else { ("", 1) };
    let range = format!("start={}&end={}&step=1", (end_s - 300) * end, end_s * end);
    let answer = get(port, &format!("{prefix}/api/v1/query_range?{range}&query={}", encode(&expr)));
    let Some(answer) = answer else { return 0 };
    assert_eq!(answer.status, 200, "{expr}: {}", answer.text());
    answer.json()["data"]["result"].as_array().map_or(0, Vec::len)
}

#[test]
fn every_panel_has_data_within_thirty_seconds() {
    let demo = Demo::start("web: {classic_ports: false}\n");
    let (port, started_s) = (demo.vigie.port, now_s());
    let list = get(port, "/api/search").unwrap().json();
    let uids: Vec<String> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["uid"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(uids.len(), 5, "{list}");
    let french = get(port, "/api/search?query=sant%C3%A9").unwrap().json();
    assert_eq!(french[0]["title_fr"], "Santé du système", "found by its French title: {french}");
    let mut asked = Vec::new();
    for uid in &uids {
        let dashboard = get(port, &format!("/api/dashboards/uid/{uid}")).unwrap().json();
        for panel in panels(&dashboard["dashboard"]) {
            assert!(panel["title_fr"].is_string(), "the French title is served: {panel}");
            let title = format!("{uid}: {}", panel["title"].as_str().unwrap_or(""));
            let targets = panel["targets"].as_array().cloned().unwrap_or_default();
            if !targets.is_empty() {
                asked.push((title, targets));
            }
        }
    }
    let panels = asked.len();
    // What was collected in the first thirty seconds is asked for when they are over: a slow machine
    // may take longer to answer, but not to collect. A panel lives when one of its queries does: an
    // error series that never occurred stays empty.
    let end_s = started_s + 30;
    wait_for("thirty seconds are over", 60, || (now_s() >= end_s + 2).then_some(()));
    asked.retain(|(_, targets)| targets.iter().all(|target| rows(port, target, end_s) == 0));
    println!("{panels} panels of {} dashboards, {} without data", uids.len(), asked.len());
    assert!(asked.is_empty(), "{asked:#?}");
}

fn now_s() -> i64 {
    vigie_scenarios::now_ns() / 1_000_000_000
}
