//! The queries of the operators' runbook, on data made by hand so that each alert is seen both ways.

#![allow(clippy::unwrap_used)]

mod support;

use support::{Memory, almost_equal, labels};
use vigie_promql::{Options, Value, instant, parse};

/// Ten minutes of samples, one per minute.
fn server() -> Memory {
    let mut memory = Memory::default();
    memory.load(
        60_000,
        r#"
        up{job="koprogo-api", instance="localhost:8080"} 1x8 0 0
        up{job="postgresql", instance="localhost:9187"} 1x10
        node_cpu_seconds_total{instance="host", cpu="0", mode="idle"} 0+6x10
        node_cpu_seconds_total{instance="host", cpu="1", mode="idle"} 0+12x10
        node_cpu_seconds_total{instance="host", cpu="0", mode="user"} 0+54x10
        node_memory_MemTotal_bytes{instance="host"} 2000000000x10
        node_memory_MemAvailable_bytes{instance="host"} 500000000x9 90000000
        node_filesystem_size_bytes{instance="host", mountpoint="/"} 1000x10
        node_filesystem_avail_bytes{instance="host", mountpoint="/"} 50x10
        node_filesystem_size_bytes{instance="host", mountpoint="/boot"} 1000x10
        node_filesystem_avail_bytes{instance="host", mountpoint="/boot"} 400x10
        node_network_receive_bytes_total{instance="host", device="eth0"} 0+6000x10
        node_network_transmit_bytes_total{instance="host", device="eth0"} 0+3000x10
        pg_stat_activity_count{datname="koprogo_db", state="active"} 85x10
        pg_stat_activity_count{datname="koprogo_db", state="idle"} 5x10
        pg_database_size_bytes{datname="koprogo_db"} 123456789x10
        pg_stat_database_xact_commit{datname="koprogo_db"} 0+600x10
        pg_stat_database_xact_rollback{datname="koprogo_db"} 0+6x10
        http_requests_errors_total{status="500"} 0+660x10
        http_requests_errors_total{status="502"} 0+60x10
        http_request_duration_seconds_bucket{le="0.5"} 0+90x10
        http_request_duration_seconds_bucket{le="1.0"} 0+95x10
        http_request_duration_seconds_bucket{le="2.5"} 0+100x10
        http_request_duration_seconds_bucket{le="+Inf"} 0+100x10
        "#,
    );
    memory
}

#[test]
fn the_runbooks_queries_and_alerts_give_what_they_should() {
    let memory = server();
    let idle = r#"rate(node_cpu_seconds_total{mode="idle"}[5m])"#;
    let cpu = format!("100 - (avg by (instance) ({idle}) * 100)");
    let cpu_alert = format!("avg({idle}) < 0.2");
    let host = r#"{instance="host"}"#;
    let root = r#"{instance="host", mountpoint="/"}"#;
    for (query, wanted) in [
        (cpu.as_str(), &[(host, 85.0)][..]),
        (
            "(node_memory_MemTotal_bytes - node_memory_MemAvailable_bytes) \
             / node_memory_MemTotal_bytes * 100",
            &[(host, 95.5)],
        ),
        (
            "(node_filesystem_size_bytes - node_filesystem_avail_bytes) \
             / node_filesystem_size_bytes * 100",
            &[(root, 95.0), (r#"{instance="host", mountpoint="/boot"}"#, 60.0)],
        ),
        (
            "rate(node_network_receive_bytes_total[5m])",
            &[(r#"{instance="host", device="eth0"}"#, 100.0)],
        ),
        (
            "rate(node_network_transmit_bytes_total[5m])",
            &[(r#"{instance="host", device="eth0"}"#, 50.0)],
        ),
        (
            "pg_stat_activity_count",
            &[
                (r#"pg_stat_activity_count{datname="koprogo_db", state="active"}"#, 85.0),
                (r#"pg_stat_activity_count{datname="koprogo_db", state="idle"}"#, 5.0),
            ],
        ),
        (
            r#"pg_database_size_bytes{datname="koprogo_db"}"#,
            &[(r#"pg_database_size_bytes{datname="koprogo_db"}"#, 123456789.0)],
        ),
        (
            r#"rate(pg_stat_database_xact_commit{datname="koprogo_db"}[5m])"#,
            &[(r#"{datname="koprogo_db"}"#, 10.0)],
        ),
        (
            r#"rate(pg_stat_database_xact_rollback{datname="koprogo_db"}[5m])"#,
            &[(r#"{datname="koprogo_db"}"#, 0.1)],
        ),
        (
            r#"up{job="koprogo-api"} == 0"#,
            &[(r#"up{job="koprogo-api", instance="localhost:8080"}"#, 0.0)],
        ),
        (r#"up{job="postgresql"} == 0"#, &[]),
        ("node_filesystem_avail_bytes / node_filesystem_size_bytes < 0.1", &[(root, 0.05)]),
        ("rate(http_requests_errors_total[5m]) > 10", &[(r#"{status="500"}"#, 11.0)]),
        (
            "node_memory_MemAvailable_bytes < 104857600",
            &[(r#"node_memory_MemAvailable_bytes{instance="host"}"#, 90000000.0)],
        ),
        (cpu_alert.as_str(), &[("{}", 0.15)]),
        (
            "pg_stat_activity_count > 80",
            &[(r#"pg_stat_activity_count{datname="koprogo_db", state="active"}"#, 85.0)],
        ),
        (
            "histogram_quantile(0.99, rate(http_request_duration_seconds_bucket[5m])) > 1",
            &[("{}", 2.2)],
        ),
    ] {
        let answer = instant(&memory, &parse(query).unwrap(), 600_000, &Options::default());
        let Value::Vector(samples) = answer.unwrap().value else { panic!("{query}") };
        assert_eq!(samples.len(), wanted.len(), "{query}: {samples:?}");
        for (metric, value) in wanted {
            let metric = labels(metric);
            let sample = samples.iter().find(|sample| sample.labels == metric);
            let got = sample.unwrap_or_else(|| panic!("{query}: {samples:?}")).value;
            assert!(almost_equal(got, *value), "{query}: {got}, wanted {value}");
        }
    }
}

#[test]
fn the_runbooks_slow_api_alert_says_why_it_can_never_fire() {
    let mut memory = Memory::default();
    memory.load(60_000, r#"http_request_duration_seconds{path="/"} 1x10"#);
    let query = "histogram_quantile(0.99, http_request_duration_seconds) > 1";
    let answer = instant(&memory, &parse(query).unwrap(), 600_000, &Options::default()).unwrap();
    assert_eq!(answer.value, Value::Vector(Vec::new()));
    assert_eq!(
        answer.warnings,
        ["PromQL warning: bucket label \"le\" is missing or has a malformed value of \"\" (1:26)"]
    );
}
