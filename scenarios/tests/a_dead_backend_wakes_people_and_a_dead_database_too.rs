//! In the demonstration the backend is ended: `API Down` is pending at the next evaluation and fires
//! one minute later, PagerDuty, Slack and SMS are told in well-formed requests; it is started again
//! and the end is told too. Then PostgreSQL is ended: `Database Down` after 30 seconds, and the
//! exporter's page still answers.

#![allow(clippy::unwrap_used, reason = "a test's panic is its report")]

use serde_json::Value;
use std::time::Instant;
use vigie_scenarios::demo::{Again, Demo, alerting, end};
use vigie_scenarios::{Receiver, Vigie, get, wait_for};

/// The requests of an alert, as (PagerDuty's events, Slack's texts, SMS forms).
fn told(receivers: &[Receiver; 3], alert: &str) -> [Vec<String>; 3] {
    receivers.each_ref().map(|receiver| {
        let bodies = receiver.received().into_iter().map(|one| one.body);
        bodies.filter(|body| body.replace('+', " ").replace("%20", " ").contains(alert)).collect()
    })
}

fn seconds_until(
    what: &str,
    since: Instant,
    timeout_s: u64,
    ask: impl FnMut() -> Option<()>,
) -> f64 {
    wait_for(what, timeout_s, ask);
    since.elapsed().as_secs_f64()
}

fn state_is(vigie: &Vigie, alert: &str, state: &str) -> Option<()> {
    (vigie.alert_state(alert) == state).then_some(())
}

#[test]
fn a_dead_backend_wakes_people_and_a_dead_database_too() {
    let receivers = [Receiver::start(), Receiver::start(), Receiver::start()];
    receivers[0].answer_with(202);
    receivers[2].answer_with(201);
    let demo = Demo::start(&alerting(receivers[0].port, receivers[1].port, receivers[2].port));
    let vigie = &demo.vigie;
    wait_for("the backend is up", 30, || {
        vigie.query(r#"up{job="koprogo-api"} == 1"#).first().map(|_| ())
    });

    let pid = demo.backend_pid();
    let again = Again::of(pid);
    let killed = Instant::now();
    end(pid, "-KILL");
    let pending_s =
        seconds_until("API Down is pending", killed, 10, || state_is(vigie, "API Down", "pending"));
    let firing_s =
        seconds_until("API Down fires", killed, 90, || state_is(vigie, "API Down", "firing"));
    println!("API Down: pending after {pending_s:.1} s, firing after {firing_s:.1} s");
    assert!((60.0..75.0).contains(&firing_s), "a minute after it is pending, not {firing_s}");
    wait_for("all three are told", 20, || {
        told(&receivers, "API Down").iter().all(|one| !one.is_empty()).then_some(())
    });
    check_firing(&told(&receivers, "API Down"), "api-down");
    // A busy machine has other alerts too.
    let listed = get(vigie.port, "/api/v2/alerts").unwrap().json();
    let names: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|alert| alert["labels"]["alertname"].as_str())
        .collect();
    assert!(names.contains(&"API Down"), "{listed}");

    let restarted = again.start();
    wait_for("API Down is over", 20, || state_is(vigie, "API Down", "inactive"));
    wait_for("the end is told", 20, || {
        told(&receivers, "API Down").iter().all(|one| one.len() == 2).then_some(())
    });
    let end_of_it = told(&receivers, "API Down");
    let event: Value = serde_json::from_str(&end_of_it[0][1]).unwrap();
    assert_eq!(event["event_action"], "resolve");
    let first: Value = serde_json::from_str(&end_of_it[0][0]).unwrap();
    assert_eq!(
        event["dedup_key"], first["dedup_key"],
        "PagerDuty ties the two together by its key"
    );

    let killed = Instant::now();
    end(demo.postgres_pid(), "-QUIT");
    let firing_s = seconds_until("Database Down fires", killed, 60, || {
        state_is(vigie, "Database Down", "firing")
    });
    println!("Database Down: firing after {firing_s:.1} s");
    assert!((30.0..45.0).contains(&firing_s), "thirty seconds, not {firing_s}");
    wait_for("all three are told", 20, || {
        told(&receivers, "Database Down").iter().all(|one| !one.is_empty()).then_some(())
    });
    check_firing(&told(&receivers, "Database Down"), "database-down");
    assert_eq!(vigie.query(r#"up{job="postgresql"}"#)[0].1, 0.0);
    let page = get(9187, "/metrics").expect("port 9187 answers");
    assert!(page.status == 200 && page.text().contains("\npg_up 0\n"), "{}", page.text());
    drop(restarted);
}

fn check_firing(told: &[Vec<String>; 3], runbook: &str) {
    let event: Value = serde_json::from_str(&told[0][0]).unwrap();
    assert_eq!(event["routing_key"], "0123456789abcdef0123456789abcdef");
    assert_eq!(
        (&event["event_action"], &event["payload"]["severity"]),
        (&Value::from("trigger"), &Value::from("critical"))
    );
    assert!(
        event["payload"]["summary"].as_str().unwrap().len() <= 1024
            && event["payload"]["source"].is_string(),
        "{event}"
    );
    assert!(event["links"].to_string().contains(&format!("/runbooks/{runbook}")), "{event}");
    let slack: Value = serde_json::from_str(&told[1][0]).unwrap();
    assert!(
        slack.to_string().contains(&format!("/runbooks/{runbook}"))
            && slack.to_string().contains("http://127.0.0.1:"),
        "{slack}"
    );
    assert!(
        told[2][0].contains("To=%2B3211111111") && told[2][0].contains("Body="),
        "{}",
        told[2][0]
    );
}
