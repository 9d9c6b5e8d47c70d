//! The engine over real stores: answers in either language, and the kinds of what goes wrong, from
//! which the API's status codes follow.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is the failure report of a test")]

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use vigie_engine::{
    Durability, Embedded, EmbeddedOptions, Engine, LogWhen, PushBatch, QueryErrorKind,
    QueryOptions, When,
};
use vigie_model::{Direction, Labels, LogEntry, LogRange, Matcher, Row, TimeRange};

const DAY_MS: i64 = 86_400_000;

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// An engine with `up{job="a"}`, `up{job="b"}` and three log lines, all at `now_ms`.
fn engine(directory: &std::path::Path, now_ms: i64) -> Embedded {
    let options = EmbeddedOptions {
        metrics_retention_ms: DAY_MS,
        logs_retention_ms: DAY_MS,
        ..Default::default()
    };
    let engine = Embedded::open(directory, options).unwrap();
    let up = |job: &str| engine.intern(&Labels::from_pairs([("__name__", "up"), ("job", job)]));
    let series = [up("a").unwrap(), up("b").unwrap()];
    let row = Row::floats(now_ms, &series, &[1.0, 0.0]);
    assert_eq!(engine.append(&[row], Durability::Written).unwrap().appended, 2);
    let line = |text: &str| LogEntry {
        ts_ns: now_ms * 1_000_000,
        line: text.as_bytes().to_vec(),
        metadata: Labels::default(),
    };
    let labels = Labels::from_pairs([("job", "a")]);
    let entries = [line("one"), line("two"), line("no json")];
    let batch = PushBatch { labels: &labels, entries: &entries };
    assert_eq!(engine.push(&[batch], Durability::Written).unwrap().appended, 3);
    engine
}

fn given_up() -> [(QueryOptions, QueryErrorKind); 2] {
    let cancel = Some(Arc::new(AtomicBool::new(true)));
    [
        (QueryOptions { cancel, ..QueryOptions::default() }, QueryErrorKind::Canceled),
        (
            QueryOptions { deadline: Some(Instant::now()), ..QueryOptions::default() },
            QueryErrorKind::Timeout,
        ),
    ]
}

#[test]
fn metric_questions_answer_or_fail_in_their_own_kind() {
    let (directory, now_ms) = (tempfile::tempdir().unwrap(), now_ms());
    let engine = engine(directory.path(), now_ms);
    let ask = |query: &str, options: &QueryOptions| {
        let expr = vigie_promql::parse(query).unwrap();
        engine.query_metrics(&expr, When::Instant(now_ms), options)
    };
    let options = QueryOptions::default();
    let answer = ask("sum(up)", &options).unwrap();
    let vigie_promql::Value::Vector(samples) = answer.value else { panic!("a vector") };
    assert_eq!(samples[0].value, 1.0);
    let error = ask("up + on() up", &options).unwrap_err();
    assert_eq!(error.kind, QueryErrorKind::Execution);
    let backwards = When::Range { start_ms: 2, end_ms: 1, step_ms: 1 };
    let expr = vigie_promql::parse("up").unwrap();
    let error = engine.query_metrics(&expr, backwards, &options).unwrap_err();
    assert_eq!(error.kind, QueryErrorKind::BadData);
    for (options, kind) in given_up() {
        assert_eq!(ask("up", &options).unwrap_err().kind, kind);
    }
}

#[test]
fn log_questions_answer_or_fail_in_their_own_kind() {
    let (directory, now_ms) = (tempfile::tempdir().unwrap(), now_ms());
    let engine = engine(directory.path(), now_ms);
    let (end_ns, options) = (now_ms * 1_000_000, QueryOptions::default());
    let range = LogRange { start_ns: 0, end_ns: end_ns + 1 };
    let lines = |limit: usize, options: &QueryOptions| {
        let expr = vigie_logql::parse(r#"{job="a"} != "json""#).unwrap();
        engine.query_logs(&expr, range, Direction::Backward, limit, options)
    };
    assert_eq!(lines(10, &options).unwrap()[0].entries.len(), 2);
    assert_eq!(lines(1_000_000, &options).unwrap_err().kind, QueryErrorKind::BadData);
    let count = |query: &str, options: &QueryOptions| {
        let expr = vigie_logql::parse(query).unwrap();
        engine.query_log_metrics(&expr, LogWhen::Instant(end_ns), options)
    };
    let value = count(r#"count_over_time({job="a"}[1m])"#, &options).unwrap();
    let vigie_logql::Value::Vector(samples) = value else { panic!("a vector") };
    assert_eq!(samples[0].value, 3.0);
    let error = count(r#"count_over_time({job="a"} | json [1m])"#, &options).unwrap_err();
    assert_eq!(error.kind, QueryErrorKind::BadData);
    assert!(error.message.starts_with("pipeline error: 'JSONParserErr'"), "{error}");
    for (options, kind) in given_up() {
        assert_eq!(lines(10, &options).unwrap_err().kind, kind);
        assert_eq!(count(r#"rate({job="a"}[1m])"#, &options).unwrap_err().kind, kind);
    }
}

#[test]
fn what_several_selectors_match_is_listed_once() {
    let (directory, now_ms) = (tempfile::tempdir().unwrap(), now_ms());
    let engine = engine(directory.path(), now_ms);
    let range = TimeRange { start_ms: now_ms - 1, end_ms: now_ms };
    let by_name = vec![Matcher::equal("__name__", "up")];
    let by_job = vec![Matcher::equal("job", "a")];
    let series = engine.metric_series(&[by_name.clone(), by_job.clone()], range).unwrap();
    assert_eq!(series.len(), 2);
    let values = engine.metric_label_values("job", &[by_job, by_name], range).unwrap();
    assert_eq!(values, ["a", "b"]);
    assert_eq!(engine.metric_label_names(&[], range).unwrap(), ["__name__", "job"]);
}
