//! The receivers are down when `API Down` fires; Vigie is killed; both come back; each message
//! arrives, once.

#![allow(clippy::unwrap_used, reason = "a test's panic is its report")]

use std::time::Duration;
use vigie_scenarios::{Receiver, Vigie, free_port, wait_for};

fn config(pagerduty: u16, slack: u16, sms: u16, dead: u16) -> String {
    format!(
        r#"web: {{classic_ports: false}}
metrics:
  global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
  host: false
  scrape_configs:
  - job_name: koprogo-api
    static_configs: [{{targets: ['127.0.0.1:{dead}']}}]
alerting:
  route:
    receiver: medium
    group_wait: 1s
    group_by: [alertname]
    routes:
    - matchers: ['severity="high"']
      receiver: high
  receivers:
  - name: medium
    slack_configs: [{{api_url: 'http://127.0.0.1:{slack}/slack', channel: '#alerts'}}]
  - name: high
    pagerduty_configs: [{{routing_key: key, url: 'http://127.0.0.1:{pagerduty}/v2/enqueue'}}]
    slack_configs: [{{api_url: 'http://127.0.0.1:{slack}/slack', channel: '#alerts'}}]
    sms_configs: [{{url: 'http://127.0.0.1:{sms}/sms', from: '+3200', to: ['+3211']}}]
"#
    )
}

#[test]
fn a_message_survives_a_kill_between_firing_and_delivery() {
    let home = tempfile::tempdir().unwrap();
    let (pagerduty, slack, sms) = (free_port(), free_port(), free_port());
    let file = home.path().join("vigie.yml");
    std::fs::write(&file, config(pagerduty, slack, sms, free_port())).unwrap();
    let data = format!("--storage.path={}", home.path().join("data").display());
    let config = format!("--config.file={}", file.display());
    let vigie = Vigie::start(home.path(), &[&data, &config]);

    wait_for("API Down is pending", 30, || {
        (vigie.alert_state("API Down") == "pending").then_some(())
    });
    wait_for("API Down fires", 90, || (vigie.alert_state("API Down") == "firing").then_some(()));
    // The rows are in the outbox and every attempt fails: nobody listens.
    wait_for("three messages wait", 30, || {
        let rows = vigie_scenarios::get(vigie.port, "/api/vigie/v1/notifications")?.json();
        (rows
            .as_array()?
            .iter()
            .filter(|row| row["alertname"] == "API Down" && row["state"] != "sent")
            .count()
            == 3)
            .then_some(())
    });
    vigie.kill();

    let receivers =
        [Receiver::start_on(pagerduty), Receiver::start_on(slack), Receiver::start_on(sms)];
    receivers[0].answer_with(202);
    receivers[2].answer_with(201);
    let vigie = Vigie::start(home.path(), &[&data, &config]);
    wait_for("each receiver has its message", 60, || {
        receivers.iter().all(|one| !one.received().is_empty()).then_some(())
    });
    // Long enough for a second delivery to show itself, if there were one.
    std::thread::sleep(Duration::from_secs(5));
    for receiver in &receivers {
        assert_eq!(receiver.received().len(), 1, "{:?}", receiver.received());
    }

    let event = receivers[0].received()[0].json();
    assert_eq!(
        (event["event_action"].as_str(), event["payload"]["severity"].as_str()),
        (Some("trigger"), Some("critical")),
        "{event}"
    );
    let text = receivers[1].received()[0].body.clone();
    assert!(text.contains("API Down") && text.contains("/runbooks/api-down"), "{text}");
    let form = receivers[2].received()[0].body.clone();
    assert!(
        form.contains("To=%2B3211")
            && form.contains("From=%2B3200")
            && form.contains("API+Down") | form.contains("API%20Down"),
        "{form}"
    );
    drop(vigie);
}
