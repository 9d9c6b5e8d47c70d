//! What Prometheus' scripts do not say: defaults, limits, errors and their kinds.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use support::Memory;
use vigie_model::Labels;
use vigie_promql::{EvalError, Options, Value, instant, parse, parse_selector, range};

fn memory() -> Memory {
    let mut memory = Memory::default();
    memory.load(
        60_000,
        r#"
        a_total{host="x"} 0+1x10
        b_total{host="x"} 0+2x10
        a_total{host="y"} 0+3x10
        gone{host="x"} 1 2 stale
        lone 7x10
        "#,
    );
    memory
}

fn ask(query: &str) -> Result<Value, EvalError> {
    instant(&memory(), &parse(query).unwrap(), 600_000, &Options::default())
        .map(|answer| answer.value)
}

fn series(value: &Value) -> String {
    match value {
        Value::Vector(samples) => {
            let texts: Vec<String> =
                samples.iter().map(|s| format!("{} {}", s.labels, s.value)).collect();
            texts.join("; ")
        }
        Value::Scalar { value, .. } => format!("{value}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn names_are_dropped_at_once_by_default() {
    for (query, wanted) in [
        (r#"sum by (__name__) (rate({host="x",__name__=~"a.*"}[5m]))"#, "{} 0.016666666666666666"),
        ("lone * 2", "{} 14"),
        ("lone > 2", r#"{__name__="lone"} 7"#),
        ("lone > bool 2", "{} 1"),
        ("last_over_time(lone[5m])", r#"{__name__="lone"} 7"#),
        ("-lone", "{} -7"),
        ("count(a_total)", "{} 2"),
        ("sum by (host) (a_total)", r#"{host="y"} 30; {host="x"} 10"#),
        ("gone", ""),
        ("topk(1, a_total)", r#"{__name__="a_total", host="y"} 30"#),
        (r#"absent(nothing{a="1",b=~"2"})"#, r#"{a="1"} 1"#),
        ("1 + 2 * 3 ^ 2 - -1", "20"),
        ("2 ^ 3 ^ 2", "512"),
        ("-2 ^ 2", "-4"),
        ("scalar(lone) == bool 7", "1"),
    ] {
        let value = ask(query).unwrap_or_else(|error| panic!("{query}: {error}"));
        // The order of a vector is unspecified where the query names none.
        let mut got: Vec<String> = series(&value).split("; ").map(str::to_owned).collect();
        let mut wanted: Vec<&str> = wanted.split("; ").collect();
        got.sort();
        wanted.sort();
        assert_eq!(got, wanted, "{query}");
    }
}

#[test]
fn errors_carry_prometheus_words_and_kind() {
    for (query, kind, text) in [
        (
            r#"rate({host="x"}[5m])"#,
            "execution",
            "vector cannot contain metrics with the same labelset",
        ),
        (
            "a_total + on() b_total",
            "execution",
            "multiple matches for labels: many-to-one matching must be explicit \
             (group_left/group_right)",
        ),
        (
            "b_total + on() a_total",
            "execution",
            "found duplicate series for the match group {} on the right hand-side of the \
             operation: [{__name__=\"a_total\", host=\"x\"}, {__name__=\"a_total\", host=\"y\"}];\
             many-to-many matching not allowed: matching labels must be unique on one side",
        ),
        ("topk(NaN, a_total)", "execution", "Parameter value is NaN"),
        (
            r#"label_replace(a_total, "host", "", "host", "(")"#,
            "execution",
            "invalid regular expression in label_replace(): (",
        ),
        ("limit_ratio(NaN, a_total)", "execution", "Ratio value is NaN"),
        (
            "max_over_time(a_total[5m] anchored)",
            "execution",
            "anchored modifier can only be used with: changes, delta, increase, rate, resets - not \
             with max_over_time",
        ),
        ("rate(a_total[step()])", "bad_data", "13:19: duration must be greater than 0"),
    ] {
        let error = ask(query).unwrap_err();
        assert_eq!((error.error_type(), error.to_string().as_str()), (kind, text), "{query}");
    }
}

#[test]
fn limits_end_an_evaluation_in_prometheus_words() {
    let (memory, expr) = (memory(), parse("sum(rate(a_total[5m]))").unwrap());
    let cancel = Some(Arc::new(AtomicBool::new(true)));
    for (options, kind, text) in [
        (Options { cancel, ..Options::default() }, "canceled", "query was canceled"),
        (
            Options { deadline: Some(Instant::now()), ..Options::default() },
            "timeout",
            "query timed out in expression evaluation",
        ),
        (
            Options { samples_max: 3, ..Options::default() },
            "execution",
            "query processing would load too many samples into memory in query execution",
        ),
    ] {
        let error = range(&memory, &expr, 0, 600_000, 60_000, &options).unwrap_err();
        assert_eq!(error.error_type(), kind);
        assert!(error.to_string().starts_with(text), "{error}");
    }
    for (query, start, end, step, text) in [
        ("a_total[5m]", 0, 1, 1, "invalid expression type \"range vector\" for range query"),
        ("\"x\"", 0, 1, 1, "invalid expression type \"string\" for range query"),
        ("lone", 0, 1, 0, "zero or negative query resolution step widths are not accepted"),
        ("lone", 1, 0, 1, "end timestamp must not be before start time"),
    ] {
        let expr = parse(query).unwrap();
        let error = range(&memory, &expr, start, end, step, &Options::default()).unwrap_err();
        assert_eq!(error.error_type(), "bad_data");
        assert!(error.to_string().starts_with(text), "{error}");
    }
    let huge = parse("sum_over_time(vector(1)[100y:1ms])").unwrap();
    assert!(instant(&memory, &huge, 0, &Options::default()).is_err());
    let far = parse("lone @ 9e15 offset -100y").unwrap();
    assert!(instant(&memory, &far, 0, &Options::default()).is_ok());
}

#[test]
fn a_range_query_ends_at_its_last_whole_step_and_sorts_by_labels() {
    let expr = parse("a_total").unwrap();
    let answer = range(&memory(), &expr, 60_000, 250_000, 60_000, &Options::default()).unwrap();
    let Value::Matrix(found) = answer.value else { panic!() };
    let hosts: Vec<&str> = found.iter().map(|s| s.labels.value_or_empty("host")).collect();
    assert_eq!(hosts, ["x", "y"]);
    assert_eq!(found[0].points, [(60_000, 1.0), (120_000, 2.0), (180_000, 3.0), (240_000, 4.0)]);
    let answer =
        range(&memory(), &parse("time()").unwrap(), 0, 2000, 1000, &Options::default()).unwrap();
    let Value::Matrix(found) = answer.value else { panic!() };
    assert_eq!(found[0].labels, Labels::default());
    assert_eq!(found[0].points, [(0, 0.0), (1000, 1.0), (2000, 2.0)]);
}

#[test]
fn rates_of_what_looks_like_a_gauge_are_told() {
    let memory = memory();
    for (query, infos) in [
        (
            "rate(lone[5m])",
            vec![
                "PromQL info: metric might not be a counter, name does not end in \
                 _total/_sum/_count/_bucket: \"lone\" (1:6)"
                    .to_owned(),
            ],
        ),
        ("rate(a_total[5m])", vec![]),
    ] {
        let options = Options::default();
        let answer = instant(&memory, &parse(query).unwrap(), 600_000, &options).unwrap();
        assert_eq!(answer.infos, infos);
    }
}

#[test]
fn a_chain_of_thousands_of_operators_is_evaluated_without_recursion() {
    let text = vec!["1"; 60_000].join("+");
    assert_eq!(series(&ask(&text).unwrap()), "60000");
}

#[test]
fn the_deepest_expression_that_parses_is_evaluated_too() {
    for (open, close) in [("abs(", ")"), ("(", ")"), ("-", ""), ("max_over_time(", "[5m:])")] {
        let nested = |depth| format!("{}lone{}", open.repeat(depth), close.repeat(depth));
        let deepest = (1..200).rev().find(|depth| parse(&nested(*depth)).is_ok()).unwrap();
        assert!(deepest > 60, "{open}: {deepest}");
        if open != "max_over_time(" {
            ask(&nested(deepest)).unwrap_or_else(|error| panic!("{open}: {error}"));
        }
    }
}

#[test]
fn windows_fixed_by_at_are_the_same_at_every_step() {
    let expr = parse("sum(increase(a_total[5m] @ end()))").unwrap();
    let answer = range(&memory(), &expr, 0, 600_000, 60_000, &Options::default()).unwrap();
    let Value::Matrix(found) = answer.value else { panic!() };
    assert_eq!(found[0].points.len(), 11);
    assert!(found[0].points.iter().all(|(_, value)| *value == found[0].points[10].1));
}

#[test]
fn selectors_of_the_http_api_are_read_alone() {
    let matchers = parse_selector(r#"up{job=~"a|b", "x.y"!="z"}"#).unwrap();
    let texts: Vec<String> = matchers.iter().map(ToString::to_string).collect();
    assert_eq!(texts, [r#"job=~"a|b""#, r#"x.y!="z""#, r#"__name__="up""#]);
    for (text, error) in [
        ("up[5m]", "1:3: parse error: unexpected \"[\""),
        ("rate(up)", "1:5: parse error: unexpected \"(\""),
        ("{}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
        ("up{", "1:4: parse error: unexpected end of input inside braces"),
        ("", "unknown position: parse error: unexpected end of input"),
        ("\n sum(up)) ", "2:10: parse error: unexpected right parenthesis ')'"),
    ] {
        let got = parse_selector(text).map(|_| ()).unwrap_err().to_string();
        if !text.contains("sum") {
            assert_eq!(got, error, "{text}");
        } else {
            assert_eq!(parse(text).map(|_| ()).unwrap_err().to_string(), error);
        }
    }
}
