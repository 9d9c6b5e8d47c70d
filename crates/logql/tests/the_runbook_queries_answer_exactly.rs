//! The queries of the users' runbook, and the metric queries of their dashboards, on their lines.

#![allow(clippy::unwrap_used, reason = "a panic is the failure report of a test")]

mod common;

use common::Memory;
use vigie_logql::{EvalError, LogRow, Options, Streams, Value, instant, parse, query_logs, range};
use vigie_model::Labels;
use vigie_model::blocks::{Direction, LogRange};

const S: i64 = 1_000_000_000;
const ALL: LogRange = LogRange { start_ns: 0, end_ns: i64::MAX };

fn lines() -> Memory {
    let mut memory = Memory::default();
    let api = Labels::from_pairs([("job", "koprogo-api"), ("service_name", "koprogo-api")]);
    let db = Labels::from_pairs([("job", "postgresql")]);
    for (second, line) in [
        (1, r#"{"level":"INFO","path":"/api/v1/buildings","status":200,"duration_ms":12.5}"#),
        (2, r#"{"level":"INFO","path":"/api/v1/auth/login","status":401,"duration_ms":48}"#),
        (
            3,
            r#"{"level":"ERROR","path":"/api/v1/expenses","status":500,"duration_ms":1500.25,"error":{"kind":"db","retry":true}}"#,
        ),
        (4, r#"{"level":"INFO","path":"/api/v1/expenses/401","status":200,"duration_ms":1000}"#),
        (5, "ERROR panicked at src/main.rs:401"),
        (6, r#"{"level":"INFO","path":"/api/v1/auth/login","status":401,"duration_ms":2001}"#),
    ] {
        memory.push(&api, second * S, line, Labels::default());
    }
    for (second, line) in [
        (1, r#"level=LOG msg="checkpoint complete""#),
        (2, r#"level=ERROR code=42P01 msg="relation \"expences\" does not exist" user=koprogo"#),
        (3, r#"level=ERROR code=40P01 msg="deadlock detected" broken="x"#),
    ] {
        memory.push(&db, second * S, line, Labels::default());
    }
    memory
}

fn ask(query: &str, direction: Direction, limit: usize) -> Streams {
    let expr = parse(query).unwrap();
    assert!(expr.is_log());
    query_logs(&lines(), &expr, ALL, direction, limit, &Options::default()).unwrap()
}

/// `labels @seconds,seconds` per stream.
fn shape(streams: &Streams) -> Vec<String> {
    let seconds = |row: &LogRow| (row.ts_ns / S).to_string();
    streams
        .iter()
        .map(|stream| {
            let at: Vec<_> = stream.entries.iter().map(seconds).collect();
            format!("{} @{}", stream.labels, at.join(","))
        })
        .collect()
}

#[test]
fn the_four_queries_give_the_lines_and_labels_that_loki_gives() {
    let job = r#"job="koprogo-api""#;
    let service = r#"service_name="koprogo-api""#;
    for (query, wanted) in [
        (
            r#"{job="koprogo-api"} |= "ERROR" | json"#,
            vec![
                format!(
                    "{{__error__=\"JSONParserErr\", __error_details__=\"Value looks like object, \
                     but can't find closing '}}' symbol\", {job}, {service}}} @5"
                ),
                format!(
                    "{{duration_ms=\"1500.25\", error_kind=\"db\", error_retry=\"true\", {job}, \
                     level=\"ERROR\", path=\"/api/v1/expenses\", {service}, status=\"500\"}} @3"
                ),
            ],
        ),
        (
            r#"{job="koprogo-api"} | json | duration_ms > 1000"#,
            vec![
                format!(
                    "{{duration_ms=\"1500.25\", error_kind=\"db\", error_retry=\"true\", {job}, \
                     level=\"ERROR\", path=\"/api/v1/expenses\", {service}, status=\"500\"}} @3"
                ),
                format!(
                    "{{duration_ms=\"2001\", {job}, level=\"INFO\", \
                     path=\"/api/v1/auth/login\", {service}, status=\"401\"}} @6"
                ),
            ],
        ),
        (
            r#"{job="koprogo-api"} |= "401" | json | path="/api/v1/auth/login""#,
            vec![
                format!(
                    "{{duration_ms=\"2001\", {job}, level=\"INFO\", \
                     path=\"/api/v1/auth/login\", {service}, status=\"401\"}} @6"
                ),
                format!(
                    "{{duration_ms=\"48\", {job}, level=\"INFO\", \
                     path=\"/api/v1/auth/login\", {service}, status=\"401\"}} @2"
                ),
            ],
        ),
        (
            r#"{job="postgresql"} |= "ERROR" | logfmt"#,
            vec![
                r#"{code="40P01", job="postgresql", level="ERROR", msg="deadlock detected"} @3"#
                    .to_owned(),
                "{code=\"42P01\", job=\"postgresql\", level=\"ERROR\", msg=\"relation \
                 \\\"expences\\\" does not exist\", user=\"koprogo\"} @2"
                    .to_owned(),
            ],
        ),
    ] {
        assert_eq!(shape(&ask(query, Direction::Backward, 100)), wanted, "{query}");
    }
}

#[test]
fn the_limit_is_global_in_time_order_and_lines_come_back_byte_exact() {
    let streams = ask(r#"{job=~".+"}"#, Direction::Backward, 4);
    assert_eq!(shape(&streams), [r#"{job="koprogo-api", service_name="koprogo-api"} @6,5,4,3"#,]);
    assert_eq!(streams[0].entries[1].line, b"ERROR panicked at src/main.rs:401");
    let streams = ask(r#"{job=~".+"}"#, Direction::Forward, 4);
    assert_eq!(
        shape(&streams),
        [r#"{job="koprogo-api", service_name="koprogo-api"} @1,2"#, r#"{job="postgresql"} @1,2"#,]
    );
}

#[test]
fn categories_of_labels_are_told_apart() {
    let mut memory = Memory::default();
    let stream = Labels::from_pairs([("app", "a"), ("level", "x")]);
    let metadata = Labels::from_pairs([("trace_id", "t1"), ("level", "info")]);
    memory.push(&stream, S, r#"{"level":"warn","trace_id":"t2","empty":""}"#, metadata);
    let expr = parse(r#"{app="a"} | json"#).unwrap();
    let streams =
        query_logs(&memory, &expr, ALL, Direction::Backward, 10, &Options::default()).unwrap();
    assert_eq!(streams[0].stream_labels.to_string(), r#"{app="a", level="x"}"#);
    let row = &streams[0].entries[0];
    assert_eq!(row.structured_metadata.to_string(), r#"{trace_id="t1"}"#);
    assert_eq!(
        row.parsed.to_string(),
        r#"{empty="", level_extracted="warn", trace_id_extracted="t2"}"#
    );
}

fn vector(query: &str, ts_ns: i64) -> Vec<String> {
    match instant(&lines(), &parse(query).unwrap(), ts_ns, &Options::default()).unwrap() {
        Value::Vector(samples) => {
            samples.iter().map(|s| format!("{} {}", s.labels, s.value)).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn metric_queries_count_group_and_divide() {
    for (query, wanted) in [
        (
            r#"count_over_time({job="koprogo-api"} |= "ERROR" [1m])"#,
            vec![r#"{job="koprogo-api", service_name="koprogo-api"} 2"#],
        ),
        (
            r#"sum by (job) (rate({job=~".+"}[10s]))"#,
            vec![r#"{job="koprogo-api"} 0.6"#, r#"{job="postgresql"} 0.3"#],
        ),
        (
            r#"sum by (path) (count_over_time({job="koprogo-api"} | json | __error__="" | status="401" [1m]))"#,
            vec![r#"{path="/api/v1/auth/login"} 2"#],
        ),
        (
            r#"max_over_time({job="koprogo-api"} | json | __error__="" | unwrap duration_ms [1m]) by (status)"#,
            vec![r#"{status="200"} 1000"#, r#"{status="401"} 2001"#, r#"{status="500"} 1500.25"#],
        ),
        (r#"absent_over_time({job="none"}[1m])"#, vec![r#"{job="none"} 1"#]),
        (r#"count_over_time({job="none"}[1m])"#, vec![]),
        ("vector(1)+vector(1)", vec!["{} 2"]),
        (
            r#"topk(1, sum by (job) (count_over_time({job=~".+"}[1m])))"#,
            vec![r#"{job="koprogo-api"} 6"#],
        ),
        (
            r#"sum(count_over_time({job="koprogo-api"} |= "ERROR" [1m])) / sum(count_over_time({job="koprogo-api"}[1m])) * 100 > 30"#,
            vec!["{} 33.33333333333333"],
        ),
    ] {
        assert_eq!(vector(query, 10 * S), wanted, "{query}");
    }
}

#[test]
fn a_window_is_open_on_the_left_and_closed_on_the_right() {
    let expr = parse(r#"sum(count_over_time({job="koprogo-api"}[2s]))"#).unwrap();
    let Value::Matrix(matrix) =
        range(&lines(), &expr, 0, 9 * S, 2 * S, &Options::default()).unwrap()
    else {
        panic!("a range query answers a matrix")
    };
    let points: Vec<_> = matrix[0].points.iter().map(|(ts, v)| (ts / S, *v)).collect();
    assert_eq!(points, [(2, 2.0), (4, 2.0), (6, 2.0)]);
}

#[test]
fn lines_with_errors_fail_a_metric_query_in_lokis_words() {
    let expr = parse(r#"count_over_time({job="koprogo-api"} | json [1m])"#).unwrap();
    let error = instant(&lines(), &expr, 10 * S, &Options::default()).unwrap_err();
    assert!(matches!(error, EvalError::Pipeline { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.starts_with("pipeline error: 'JSONParserErr' for series: '{__error__="), "{text}");
    assert!(
        text.contains(".\nUse a label filter to intentionally skip this error. (e.g | __error__!=\"JSONParserErr\").\n"),
        "{text}"
    );
}

#[test]
fn limits_and_kinds_are_refused_by_name() {
    let log = parse(r#"{job="x"}"#).unwrap();
    let metric = parse(r#"rate({job="x"}[1m])"#).unwrap();
    let options = Options::default();
    let most = options.entries_max;
    let error =
        query_logs(&lines(), &log, ALL, Direction::Forward, most + 1, &options).unwrap_err();
    assert_eq!(
        error.to_string(),
        "max entries limit per query exceeded, limit > max_entries_limit_per_query (5001 > 5000)"
    );
    assert!(query_logs(&lines(), &metric, ALL, Direction::Forward, 1, &options).is_err());
    assert!(instant(&lines(), &log, S, &options).is_err());
    assert!(range(&lines(), &metric, 0, 11_001 * S, S, &options).is_err());
    let few = Options { lines_scanned_max: 2, ..Options::default() };
    let all = parse(r#"{job=~".+"}"#).unwrap();
    let error = query_logs(&lines(), &all, ALL, Direction::Forward, 9, &few).unwrap_err();
    assert!(error.to_string().contains("more than 2 lines"));
    let deep = "(".repeat(5_000) + "1" + &")".repeat(5_000);
    assert!(parse(&deep).unwrap_err().to_string().contains("nested deeper"));
}
