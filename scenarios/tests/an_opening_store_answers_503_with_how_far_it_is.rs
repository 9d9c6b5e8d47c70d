//! While the stores open, every answer is 503 with what is read and how far, and says when to come
//! again; then everything that was there is answered.
//!
//! The opening is held for as long as the test likes: a named pipe lies in the folder of the log of
//! metrics, whose files are measured first, and opening a pipe waits for somebody to write to it.

#![allow(clippy::unwrap_used, reason = "a test's panic is its report")]

use std::process::Command;
use vigie_scenarios::{Vigie, get, now_ns, post, wait_for};

#[test]
fn an_opening_store_answers_503_with_how_far_it_is() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("vigie.yml");
    std::fs::write(
        &file,
        "web: {classic_ports: false}\nlogs: {scrape_configs: []}\nmetrics:\n  host: false\n",
    )
    .unwrap();
    let data = home.path().join("data");
    let arguments =
        [format!("--config.file={}", file.display()), format!("--storage.path={}", data.display())];
    let arguments = arguments.each_ref().map(String::as_str);

    let vigie = Vigie::start(home.path(), &arguments);
    let line = format!(
        r#"{{"streams":[{{"stream":{{"job":"kept"}},"values":[["{}","before"]]}}]}}"#,
        now_ns()
    );
    let pushed = post(vigie.port, "/loki/api/v1/push", "application/json", line.as_bytes());
    assert_eq!(pushed.unwrap().status, 204);
    let own = || vigie.query(r#"up{job="vigie"}"#);
    wait_for("a sample of its own", 60, || own().first().cloned());
    vigie.kill();

    let pipe = data.join("metrics").join("wal").join("held");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut vigie = Vigie::spawn(home.path(), &arguments);
    let port = vigie.port;
    // Nobody is ready before the pipe is written to, however fast this machine is.
    wait_for("what it reads", 60, || {
        let answer = get(port, "/-/ready")?;
        assert_eq!(answer.status, 503, "{}", answer.text());
        answer.text().contains("reading the ").then_some(())
    });
    for path in
        ["/", "/-/ready", "/metrics", "/graph", "/api/v1/query?query=up", "/loki/api/v1/labels"]
    {
        let answer = get(port, path).unwrap();
        assert_eq!(answer.status, 503, "{path}: {}", answer.text());
        assert!(answer.head.contains("retry-after: 1"), "{path}: {}", answer.head);
        assert!(answer.text().contains("Vigie is starting: reading the "), "{}", answer.text());
    }
    let pushed = post(port, "/loki/api/v1/push", "application/json", line.as_bytes()).unwrap();
    assert_eq!(pushed.status, 503, "a sender keeps it and comes again");
    let json = get(port, "/api/v1/query?query=up").unwrap().json();
    assert_eq!((&json["status"], &json["errorType"]), (&"error".into(), &"unavailable".into()));
    let progress = &json["progress"];
    assert!(progress["phase"].as_str().is_some_and(|phase| phase.starts_with("the ")), "{json}");
    assert!(progress["done"].as_u64() <= progress["total"].as_u64(), "{json}");
    assert_eq!(get(port, "/-/healthy").unwrap().status, 200, "it is alive");
    let replay = get(port, "/api/v1/status/walreplay").unwrap().json();
    assert_eq!((&replay["status"], &replay["data"]["min"]), (&"success".into(), &0.into()));

    drop(std::fs::File::options().write(true).open(&pipe).unwrap());
    vigie.wait_until_ready();
    assert_eq!(vigie.lines(r#"{job="kept"}"#), ["before"]);
    assert!(!vigie.query(r#"count_over_time(up{job="vigie"}[1h])"#).is_empty());
    vigie.kill();
}
