//! A query that would take too much memory or time is refused before it has taken them.

#![allow(clippy::unwrap_used, reason = "a panic is the failure report of a test")]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};
use support::Memory;
use vigie_promql::{Account, Answer, Budget, Detail, EvalError, Options, instant, parse, range};

fn memory() -> Memory {
    let mut memory = Memory::default();
    memory.load(10_000, "lone 7x60\nmany{i=\"0\"} 1x60\nmany{i=\"1\"} 2x60");
    memory
}

/// At 11,000 steps, as many as the API allows.
fn over_time(query: &str, options: &Options) -> Result<Answer, EvalError> {
    range(&memory(), &parse(query).unwrap(), 0, 10_999_000, 1_000, options)
}

#[test]
fn memory_is_refused_before_it_is_taken() {
    let deep = format!("{}1{}", "(1+".repeat(60), ")".repeat(60));
    for query in [
        // Scalars of a large subquery take as much as vectors do.
        format!("sum_over_time(vector({deep})[100d:1s])"),
        "sum_over_time(vector(1)[100y:1s])".to_owned(),
        // The instants of an inner query, its windows and its bounds count too.
        "max_over_time(max_over_time(lone[1s])[40d:1s])".to_owned(),
        // Every step has a value of its own, and so a series.
        "count_values(\"v\", vector(time()))".to_owned(),
    ] {
        let start = Instant::now();
        let options = Options { samples_max: 10_000_000, ..Options::default() };
        let error = over_time(&query, &options).unwrap_err();
        let too_many =
            "query processing would load too many samples into memory in query execution";
        assert_eq!((error.error_type(), error.to_string().as_str()), ("execution", too_many));
        assert!(start.elapsed() < Duration::from_secs(20), "{query}: {:?}", start.elapsed());
    }
}

#[test]
fn a_long_chain_is_charged_for_what_it_holds_only() {
    let chain = vec!["many"; 10_000].join("+");
    let options = Options { samples_max: 100, ..Options::default() };
    assert!(instant(&memory(), &parse(&chain).unwrap(), 600_000, &options).is_ok());
}

/// What an answer holds is more than its samples: labels, lists, text.
#[test]
fn answers_are_charged_whole() {
    let mut memory = Memory::default();
    for at in 0..300 {
        memory.load(10_000, &format!("wide{{i=\"{at}\"}} 1x60"));
    }
    let account = |bytes_max| Account::new(Budget::new(u64::MAX), bytes_max, Detail::default());
    for (query, least_bytes) in [
        ("wide", 300 * 600),
        ("wide * 2", 300 * 600),
        ("sort(wide)", 300 * 600),
        ("wide[5m]", 300 * (600 + 30 * 50)),
        ("count(wide)", 0),
    ] {
        let ask = |bytes_max| {
            let account = Arc::new(account(bytes_max));
            let options = Options { account: Some(account.clone()), ..Options::default() };
            let answer = instant(&memory, &parse(query).unwrap(), 600_000, &options);
            (answer, account.bytes())
        };
        let (answer, held) = ask(64 << 20);
        assert!(answer.is_ok() && held >= least_bytes, "{query} holds {held} bytes");
        let (refused, held) = ask(200_000);
        assert!(held <= 200_000, "{query} holds {held} bytes");
        match least_bytes {
            0 => assert!(refused.is_ok(), "{query}"),
            _ => assert!(refused.unwrap_err().to_string().contains("more than 200000 bytes")),
        }
    }
}

#[test]
fn the_deadline_is_looked_at_inside_one_series() {
    let deadline = Some(Instant::now() + Duration::from_millis(5));
    let options = Options { deadline, ..Options::default() };
    let start = Instant::now();
    let error = over_time("quantile_over_time(0.5, lone[12h:1s])", &options).unwrap_err();
    assert_eq!(error.error_type(), "timeout");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn labels_do_not_grow_without_bound() {
    let twice = |inner: &str| format!("label_replace({inner},\"a\",\"$1$1\",\"a\",\"(.*)\")");
    let mut query = "label_replace(lone,\"a\",\"xx\",\"\",\"\")".to_owned();
    for _ in 0..40 {
        query = twice(&query);
    }
    let error = instant(&memory(), &parse(&query).unwrap(), 600_000, &Options::default());
    assert_eq!(
        error.unwrap_err().to_string(),
        "label value of more than 65536 bytes in label_replace()"
    );
}

#[test]
fn of_many_annotations_only_the_first_are_told() {
    let mut memory = Memory::default();
    for at in 0..25 {
        memory.load(10_000, &format!("gauge_{at} 1x60"));
    }
    let expr = parse("sum(rate({__name__=~\"gauge_.*\"}[1m]))").unwrap();
    let options = Options { delayed_name_removal: true, ..Options::default() };
    let answer = instant(&memory, &expr, 600_000, &options).unwrap();
    assert_eq!(answer.infos.len(), 11);
    assert_eq!(answer.infos[10], "15 more info annotations omitted");
}
