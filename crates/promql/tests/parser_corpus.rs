//! Prometheus' own parser cases, printer cases included, against a floor that may only rise.

use std::path::PathBuf;

fn corpus(name: &str) -> Option<Vec<serde_json::Value>> {
    let Some(root) = std::env::var_os("VIGIE_CORPORA") else {
        println!("VIGIE_CORPORA is unset: skipped every case of {name}");
        return None;
    };
    let path = PathBuf::from(root).join("prometheus/extracted").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    Some(serde_json::from_str(&text).unwrap())
}

/// The count that `tests/promqltest.floor.toml` holds for `name`.
fn floor(name: &str) -> usize {
    let text = include_str!("promqltest.floor.toml");
    let line = text.lines().find(|line| line.split('=').next().unwrap().trim() == name);
    line.unwrap().split('=').nth(1).unwrap().trim().parse().unwrap()
}

#[test]
fn prometheus_parser_cases_are_accepted_and_rejected_with_its_words() {
    let Some(cases) = corpus("promql_parse_test.cases.json") else { return };
    let mut passed = 0;
    for case in &cases {
        let input = case["input"].as_str().unwrap();
        let result = vigie_promql::parse(input);
        let wrong = match (&result, case["fail"].as_bool().unwrap()) {
            (Ok(_), false) => None,
            (Err(error), true) if error.message.contains(case["errors"][0].as_str().unwrap()) => {
                None
            }
            (Ok(_), true) => Some("accepted".to_owned()),
            (Err(error), _) => Some(error.to_string()),
        };
        match wrong {
            None => passed += 1,
            Some(wrong) => println!("{input:?}: {wrong}; wanted {}", case["errors"]),
        }
    }
    println!("promql_parse_test: {passed} of {} cases pass", cases.len());
    assert!(passed >= floor("promql_parse_test"));
}

#[test]
fn prometheus_printer_cases_print_the_same() {
    let Some(cases) = corpus("printer_test.cases.json") else { return };
    let mut passed = 0;
    for case in &cases {
        let (input, wanted) = (case["in"].as_str().unwrap(), case["out"].as_str().unwrap());
        match vigie_promql::parse(input) {
            Ok(expr) if expr.to_string() == wanted => passed += 1,
            Ok(expr) => println!("{input:?}: printed {expr}, wanted {wanted}"),
            Err(error) => println!("{input:?}: {error}"),
        }
    }
    println!("printer_test: {passed} of {} cases pass", cases.len());
    assert!(passed >= floor("printer_test"));
}

#[test]
fn a_long_chain_costs_linear_time_and_deep_nesting_is_refused() {
    let chain = vec!["1"; 60_000].join("+");
    let expr = vigie_promql::parse(&chain).unwrap();
    assert_eq!(expr.to_string().len(), 60_000 + 3 * 59_999);
    for (open, close) in [("(", ")"), ("-", ""), ("abs(", ")"), ("2^", "")] {
        let text = format!("{}1{}", open.repeat(10_000), close.repeat(10_000));
        let error = vigie_promql::parse(&text).unwrap_err();
        assert!(error.message.contains("nested more than"), "{open}: {error}");
    }
    assert!(vigie_promql::parse(&format!("a{}", "[5m:]".repeat(10_000))).is_err());
}
