//! Tests of the demonstration. The one that starts all of it needs PostgreSQL's programs.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::*;

#[test]
fn attacks_have_the_shape_of_suricata() {
    let mut attacks = eve::Attacks::new(1);
    let backlog = attacks.backlog(1_795_656_000_123_456);
    let mut kinds = HashSet::new();
    let mut signatures = HashSet::new();
    let mut previous = String::new();
    for line in backlog.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let timestamp = event["timestamp"].as_str().unwrap().to_owned();
        assert_eq!((timestamp.len(), &timestamp[19..20]), (31, "."), "{timestamp}");
        assert!(timestamp.ends_with("+0000") && timestamp >= previous, "{timestamp}");
        previous = timestamp;
        assert!(event["src_ip"].is_string() && event["flow_id"].is_u64(), "{line}");
        kinds.insert(event["event_type"].as_str().unwrap().to_owned());
        if event["event_type"] == "alert" {
            assert!((1..=3).contains(&event["alert"]["severity"].as_u64().unwrap()));
            assert!(line.contains(r#""event_type":"alert""#), "the dashboards look for this text");
            signatures.insert(event["alert"]["signature"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(backlog.lines().count(), 120);
    assert_eq!(kinds.len(), 3, "{kinds:?}");
    for kind in ["SQL Injection", "Cross Site Scripting", "traversal", "PORT SCAN"] {
        assert!(signatures.iter().any(|name| name.contains(kind)), "no {kind} in {signatures:?}");
    }
    let again = eve::Attacks::new(1).backlog(1_795_656_000_123_456);
    assert_eq!(backlog, again, "the same seed makes the same attacks");
}

#[test]
fn an_account_is_found_by_its_whole_name() {
    let accounts =
        "root:x:0:0:root:/root:/bin/bash\npostgresql:x:7:7::/:\npostgres:x:105:109::/:\nbad:x\n";
    assert_eq!(postgres::account(accounts, "postgres"), Some(child::User { uid: 105, gid: 109 }));
    assert_eq!(postgres::account(accounts, "nobody"), None);
    assert_eq!(postgres::account(accounts, "bad"), None);
}

#[test]
fn a_demonstration_starts_answers_and_leaves_nothing_behind() {
    if !Path::new("/usr/lib/postgresql").exists() {
        println!("SKIPPED: 1 case, because PostgreSQL's server programs are not installed");
        return;
    }
    let demo =
        prepare(DemoOptions { requests_per_second: 50.0, ..DemoOptions::default() }).unwrap();
    let listen = demo.syndic_url.trim_start_matches("http://").to_owned();
    let has = |what: &str, found: &dyn Fn() -> bool| {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !found() {
            assert!(Instant::now() < deadline, "{what} does not come");
            std::thread::sleep(POLL);
        }
    };
    has("traffic in /metrics", &|| {
        let page = syndic::get(&listen, "/metrics").unwrap_or_default();
        page.contains("path=\"/api/v1/buildings\",status=\"200\"")
            && page.contains("db_connections_active")
    });
    has("a refused password in the log", &|| {
        let log = std::fs::read_to_string(&demo.syndic_log_path).unwrap_or_default();
        log.contains("\"path\":\"/api/v1/auth/login\",\"status\":401")
    });
    assert!(std::fs::read_to_string(&demo.postgres_log).unwrap().contains("ready to accept"));
    let first = std::fs::metadata(&demo.eve_path).unwrap().len();
    has("another attack", &|| std::fs::metadata(&demo.eve_path).unwrap().len() > first);

    let processes = [demo.syndic_pid, demo.postgres_pid].map(|pid| format!("/proc/{pid}"));
    let folder = demo.data_dir.clone();
    assert!(processes.iter().all(|process| Path::new(process).exists()));
    demo.stop();
    assert!(!processes.iter().any(|process| Path::new(process).exists()), "a process is left");
    assert!(!folder.exists(), "the folder is left");
}
