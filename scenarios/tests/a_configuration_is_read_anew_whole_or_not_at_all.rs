//! `POST /-/reload` and SIGHUP: a new target appears, an old one goes stale, a pending alert keeps
//! its time, files are followed, and a wrong file changes nothing.

#![allow(clippy::unwrap_used, reason = "a test's panic is its report")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use vigie_scenarios::http::exchange;
use vigie_scenarios::{Vigie, get, wait_for};

/// A target that answers one sample, until it is dropped.
struct Target {
    port: u16,
    stop: Arc<AtomicBool>,
}

impl Target {
    fn start() -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, stop) =
            (listener.local_addr().unwrap().port(), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(mut stream) = stream else { continue };
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(
                    b"HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: 9\r\nconnection: close\r\n\r\nsample 1\n",
                );
            }
        });
        Target { port, stop }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Writes the files: jobs by name and port, a rule's `for`, and what is written beside them.
fn write(home: &Path, jobs: &[(&str, u16)], wait: &str, log: &str, storage: &str) {
    let jobs: String = jobs
        .iter()
        .map(|(name, port)| {
            format!(
                "  - job_name: {name}\n    static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n"
            )
        })
        .collect();
    std::fs::write(
        home.join("rules.yml"),
        format!(
            "groups:\n- name: g\n  interval: 1s\n  rules:\n  - {{alert: Pending, expr: sample == 1, for: {wait}}}\n"
        ),
    )
    .unwrap();
    std::fs::write(
        home.join("prometheus.yml"),
        format!(
            "global: {{scrape_interval: 1s, external_labels: {{seen: {log}}}}}\nhost: false\nrule_files: [rules.yml]\nscrape_configs:\n{jobs}"
        ),
    )
    .unwrap();
    let path = home.join(log).display().to_string();
    std::fs::write(
        home.join("vigie.yml"),
        format!(
            "web: {{classic_ports: false}}\n{storage}metrics: prometheus.yml\nlogs:\n  scrape_configs:\n  - job_name: l\n    static_configs: [{{targets: [localhost], labels: {{job: l, __path__: '{path}'}}}}]\n"
        ),
    )
    .unwrap();
}

fn reload(vigie: &Vigie) -> (u16, String) {
    let answer = exchange(vigie.port, "POST", "/-/reload", &[], &[]).unwrap();
    (answer.status, answer.text())
}

fn pending_since(vigie: &Vigie) -> Option<(String, String)> {
    let alerts = get(vigie.port, "/api/v1/alerts")?.json();
    let alert = alerts["data"]["alerts"].as_array()?.iter().find(|alert| {
        alert["labels"]["alertname"] == "Pending" && alert["labels"]["job"] == "stays"
    })?;
    Some((alert["state"].as_str()?.to_owned(), alert["activeAt"].as_str()?.to_owned()))
}

fn pools(vigie: &Vigie) -> String {
    get(vigie.port, "/api/v1/scrape_pools").unwrap().json()["data"]["scrapePools"].to_string()
}

#[test]
fn targets_rules_and_files_change_and_what_stays_keeps_its_state() {
    let (stays, goes, comes) = (Target::start(), Target::start(), Target::start());
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    std::fs::write(home.join("one.log"), "first\n").unwrap();
    std::fs::write(home.join("two.log"), "second\n").unwrap();
    write(home, &[("stays", stays.port), ("goes", goes.port)], "1h", "one.log", "");
    let file = format!("--config.file={}", home.join("vigie.yml").display());
    let data = format!("--storage.path={}", home.join("data").display());
    let vigie = Vigie::start(home, &[&file, &data, "--web.enable-lifecycle"]);
    wait_for("both are scraped", 30, || (vigie.query("sample").len() == 2).then_some(()));
    wait_for("the first file is read", 30, || {
        (vigie.lines("{job=\"l\"}") == ["first"]).then_some(())
    });
    let (state, since) = wait_for("it is pending", 30, || pending_since(&vigie));
    assert_eq!(state, "pending");
    assert_eq!(exchange(vigie.port, "GET", "/-/reload", &[], &[]).unwrap().status, 405);

    // A wrong rule, with its place; nothing changes.
    write(home, &[("comes", comes.port)], "1h", "two.log", "");
    let rules = home.join("rules.yml");
    let right = std::fs::read_to_string(&rules).unwrap();
    std::fs::write(&rules, right.replace("sample == 1", "'sample =='")).unwrap();
    let (status, words) = reload(&vigie);
    assert_eq!(status, 500, "{words}");
    assert!(words.starts_with("failed to reload config: "), "{words}");
    assert!(words.contains("rules.yml:5:"), "{words}");
    assert!(pools(&vigie).contains("goes"), "{}", pools(&vigie));
    let page = get(vigie.port, "/metrics").unwrap().text();
    for line in
        ["prometheus_config_last_reload_successful 0", "vigie_config_last_reload_successful 0"]
    {
        assert!(page.contains(line), "{line}");
    }
    let log = || std::fs::read_to_string(&vigie.log).unwrap();
    assert_eq!(log().matches("failed to reload config").count(), 1);

    // The right one, by a hang-up.
    write(home, &[("stays", stays.port), ("comes", comes.port)], "2h", "two.log", "");
    assert!(
        Command::new("kill").args(["-HUP", &vigie.pid().to_string()]).status().unwrap().success()
    );
    wait_for("the new one is scraped", 30, || {
        (vigie.query("sample{job=\"comes\"}").len() == 1).then_some(())
    });
    // Stale at once, long before the lookback ends.
    wait_for("the old one is stale", 30, || {
        vigie.query("sample{job=\"goes\"}").is_empty().then_some(())
    });
    assert!(vigie.query("up{job=\"goes\"}").is_empty());
    wait_for("the other file is read", 30, || {
        vigie.lines("{job=\"l\"}").contains(&"second".to_owned()).then_some(())
    });
    assert_eq!(pending_since(&vigie), Some(("pending".to_owned(), since.clone())));
    let config = get(vigie.port, "/api/v1/status/config").unwrap().text();
    assert!(config.contains("comes") && config.contains("two.log"), "{config}");
    let page = get(vigie.port, "/metrics").unwrap().text();
    assert!(page.contains("prometheus_config_last_reload_successful 1"));

    // What is opened once is named.
    write(home, &[("stays", stays.port)], "1s", "two.log", "storage: {retention: {metrics: 7d}}\n");
    let (status, words) = reload(&vigie);
    assert_eq!(status, 200);
    assert_eq!(words, "storage.retention.metrics has changed: that needs a restart of Vigie\n");
    // A shorter `for` counts from where it was.
    let (_, fired_since) =
        wait_for("it fires", 30, || pending_since(&vigie).filter(|(state, _)| state == "firing"));
    assert_eq!(fired_since, since);
}

#[test]
fn without_the_flag_nobody_reloads_but_a_hang_up_does() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    write(home, &[("a", 1)], "1h", "one.log", "");
    let file = format!("--config.file={}", home.join("vigie.yml").display());
    let data = format!("--storage.path={}", home.join("data").display());
    let vigie = Vigie::start(home, &[&file, &data]);
    assert_eq!(reload(&vigie), (403, "Lifecycle API is not enabled.".to_owned()));
    write(home, &[("b", 1)], "1h", "one.log", "");
    assert!(
        Command::new("kill").args(["-HUP", &vigie.pid().to_string()]).status().unwrap().success()
    );
    wait_for("the job is another", 30, || pools(&vigie).contains("\"b\"").then_some(()));
}
