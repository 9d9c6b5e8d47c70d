//! Hostile queries and hostile lines: an answer or an error on a small stack, within memory and time.

#![allow(clippy::unwrap_used, reason = "a panic is the failure report of a test")]

mod common;

use common::Memory;
use std::time::{Duration, Instant};
use vigie_logql::{EvalError, Options, Value, check, instant, parse, query_logs, range};
use vigie_model::Labels;
use vigie_model::blocks::{Direction, LogRange};

/// The stack of a thread that may block, as the server starts them.
const STACK_BYTES: usize = 2 * 1024 * 1024;

fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(STACK_BYTES).spawn(work).unwrap().join().unwrap();
}

fn nested(inner: &str, wrap: &str, levels: usize) -> String {
    (0..levels).fold(inner.to_owned(), |text, _| wrap.replace('@', &text))
}

/// A store of one stream with these lines, one a second.
fn memory(lines: &[String]) -> Memory {
    let mut memory = Memory::default();
    let stream = Labels::from_pairs([("a", "b")]);
    for (at, line) in lines.iter().enumerate() {
        memory.push(&stream, at as i64 * 1_000_000_000, line, Labels::default());
    }
    memory
}

fn run(memory: &Memory, query: &str, options: &Options) -> Result<String, EvalError> {
    let expr = parse(query)?;
    let printed = expr.to_string().len();
    check(&expr)?;
    let all = LogRange { start_ns: 0, end_ns: i64::MAX };
    if expr.is_log() {
        let streams = query_logs(memory, &expr, all, Direction::Backward, 5, options)?;
        let line = streams.first().map_or(0, |stream| stream.entries[0].line.len());
        return Ok(format!("{printed} bytes printed, {} streams, line {line}", streams.len()));
    }
    instant(memory, &expr, 9_000_000_000, options)?;
    Ok(format!("{printed} bytes printed"))
}

#[test]
fn hostile_queries_answer_or_fail_quickly() {
    let x = r#"{a="b"}"#;
    let texts = [
        vec!["1"; 60_000].join("+"),
        vec!["vector(1)"; 10_000].join("+"),
        vec!["vector(1)"; 250].join("+"),
        format!("{x} | {}", vec!["a=`b`"; 250].join(" and ")),
        format!("{x} | {}", vec!["a>5"; 250].join(" or ")),
        format!("{x}{}", " | json | logfmt".repeat(120)),
        format!("{x}{}", " | json | logfmt".repeat(8)),
        "(".repeat(120_000),
        "-".repeat(120_000),
        "{".repeat(120_000),
        nested("1", "(@)", 120),
        nested("rate({a=\"b\"}[1m])", "sum(@)", 60),
        "rate(((".repeat(17_000),
        format!("{}{x}[1m]{}", "rate(((".repeat(30), "))))".repeat(30)),
        format!("rate({}{x}[1m]{})", "(".repeat(100), ")".repeat(100)),
        format!("{x} | {}", vec!["a=`b`"; 12_000].join(" and ")),
        format!("{x} | {}", "(".repeat(100_000)),
        format!("{x} | {}a=`b`{}", "(".repeat(100), ")".repeat(100)),
        format!("{x} |= {}", vec!["`q`"; 15_000].join(" or ")),
        format!("{x} |~ {}", vec!["`\\pL{20}`"; 8_000].join(" or ")),
        format!("{x}{}", " |~ `\\pL{20}`".repeat(8_000)),
        format!("{{{}}}", vec!["a=~`\\pL{20}`"; 8_000].join(",")),
        format!("{x} | regexp `{}`", "(?P<a".repeat(20_000)),
        format!(
            "{x} | regexp `{}`",
            (0..8_000).map(|i| format!("(?P<a{i}>b)")).collect::<String>()
        ),
        format!("{x} | pattern `{}`", "<".repeat(120_000)),
        format!("{x} | pattern `{}`", "<a> ".repeat(30_000)),
        format!("{x} | json z=`{}`", vec!["a"; 60_000].join(".")),
        format!("{x} | json z=`{}`", "[0]".repeat(40_000)),
        format!(
            "{x} | label_format {}",
            (0..10_000).map(|i| format!("l{i}=a")).collect::<Vec<_>>().join(",")
        ),
        format!("{x} | line_format `{}`", "{{if .a}}".repeat(7_000) + &"{{end}}".repeat(7_000)),
        format!("{x} | line_format `{{{{ {}1{} }}}}`", "(".repeat(50_000), ")".repeat(50_000)),
        format!("{x} | line_format `{}`", "{{with .a}}".repeat(10_000)),
        format!(
            "{x} | line_format `{{{{define \"t\"}}}}{{{{template \"t\"}}}}{{{{end}}}}{{{{template \"t\"}}}}`"
        ),
        format!("{x} | line_format `{{{{ printf \"%0999999999d\" 1 }}}}`"),
        format!("{x} | line_format `{{{{ printf \"%999999999s\" .a }}}}`"),
        format!("{x} | line_format `{{{{ alignLeft 999999999 .a }}}}`"),
        format!("{x} | line_format `{{{{ repeat 999999 .a }}}}`"),
        format!(
            "{x} | line_format `{}`",
            "{{ __line__ | repeat 1000 | repeat 1000 }}".repeat(2_000)
        ),
        format!("{x} | line_format `{}`", "{{ .a | urlencode | b64enc }}".repeat(4_000)),
    ];
    let lines = [
        nested("1", "{\"a\":@}", 60_000),
        nested("1", "[@]", 60_000),
        "{\"a\":".repeat(60_000),
        "a=b ".repeat(30_000),
        "<".repeat(60_000),
    ];
    on_a_small_stack(move || {
        let memory = memory(&lines);
        for text in texts {
            let deadline = Some(Instant::now() + Duration::from_secs(20));
            let start = Instant::now();
            let outcome = match run(&memory, &text, &Options { deadline, ..Options::default() }) {
                Ok(text) => text,
                Err(error) => error.to_string().chars().take(100).collect(),
            };
            let shown: String = text.chars().take(50).collect();
            println!("{:?}\t{shown}\t{outcome}", start.elapsed());
            assert!(start.elapsed() < Duration::from_secs(15), "{shown}");
        }
    });
}

#[test]
fn hostile_lines_do_not_blow_up_in_the_parsers() {
    let fields: String = (0..40_000).map(|i| format!("\"k{i}\":1,")).collect();
    let pairs: String = (0..40_000).map(|i| format!("k{i}=1 ")).collect();
    let long = "n".repeat(300_000);
    let lines = [
        format!("{{{fields}\"z\":1}}"),
        pairs,
        format!("{{\"{long}\":{{{fields}\"z\":1}}}}"),
        format!("{{{fields}\"_entry\":\"z\"}}"),
    ];
    on_a_small_stack(move || {
        let memory = memory(&lines);
        for query in ["json", "logfmt", "unpack", "json z=`k39999`"] {
            let start = Instant::now();
            let answer = run(&memory, &format!("{{a=\"b\"}} | {query}"), &Options::default());
            println!("{:?} {query} {answer:?}", start.elapsed());
            assert!(answer.is_ok() && start.elapsed() < Duration::from_secs(10), "{query}");
        }
    });
}

#[test]
fn answers_stay_within_their_budgets() {
    let lines: Vec<String> = (0..3_000).map(|i| format!("v={} pad={:0>99}", i % 7, i)).collect();
    let memory = memory(&lines);
    let options = Options { samples_max: 2_500, answer_bytes_max: 10_000, ..Options::default() };
    let ask = |query: &str| {
        let expr = parse(query).unwrap();
        match expr.is_log() {
            true => {
                let all = LogRange { start_ns: 0, end_ns: i64::MAX };
                query_logs(&memory, &expr, all, Direction::Forward, 1_000, &options).map(|_| ())
            }
            false => instant(&memory, &expr, 3_000_000_000_000, &options).map(|_| ()),
        }
    };
    // Counting keeps one number, whatever the lines; samples and series are kept, and lines too.
    assert!(ask(r#"count_over_time({a="b"}[1h])"#).is_ok());
    assert!(ask(r#"bytes_rate({a="b"} | logfmt | drop pad [1h])"#).is_ok());
    assert!(matches!(
        ask(r#"sum_over_time({a="b"} | logfmt | keep v | unwrap v [1h])"#),
        Err(EvalError::Samples(2_500))
    ));
    assert!(matches!(
        ask(r#"count_over_time({a="b"} | logfmt [1h])"#),
        Err(EvalError::Samples(2_500))
    ));
    assert!(matches!(ask(r#"{a="b"}"#), Err(EvalError::AnswerBytes(10_000))));
    assert!(ask(r#"{a="b"} | v="9""#).is_ok());
}

#[test]
fn counting_agrees_with_adding_up_samples() {
    let lines: Vec<String> = (0..200).map(|i| format!("one=1 group={}", i % 3)).collect();
    let memory = memory(&lines);
    let options = Options::default();
    for window in ["1s", "7s", "1500ms", "90s", "1h"] {
        for offset in ["", " offset 3s", " offset -2500ms"] {
            for (start_ms, step_ms) in [(0, 1_000), (-5_000, 700), (50_300, 13_000)] {
                let ask = |query: String| {
                    let (start_ns, step_ns) = (start_ms * 1_000_000, step_ms * 1_000_000);
                    let end_ns = start_ns + 300 * step_ns;
                    let expr = parse(&query).unwrap();
                    let value = range(&memory, &expr, start_ns, end_ns, step_ns, &options);
                    let Value::Matrix(series) = value.unwrap() else { panic!("{query}") };
                    assert!(!series.is_empty(), "{query}");
                    series
                };
                let pipe = r#"{a="b"} | logfmt | keep a, group"#;
                let counted = ask(format!("count_over_time({pipe} [{window}]{offset})"));
                let added = ask(format!(
                    "sum_over_time({{a=\"b\"}} | logfmt | unwrap one [{window}]{offset})"
                ));
                assert_eq!(counted, added, "[{window}]{offset} {start_ms} {step_ms}");
                let rate = ask(format!("sum(rate({pipe} [{window}]{offset}))"));
                let sum = ask(format!("sum(count_over_time({pipe} [{window}]{offset}))"));
                assert_eq!(rate[0].points.len(), sum[0].points.len());
            }
        }
    }
}
