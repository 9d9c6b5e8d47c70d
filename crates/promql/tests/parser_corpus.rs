//! Prometheus' own parser cases, printer cases included, against a floor that may only rise.

#![allow(clippy::unwrap_used)]

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
fn prometheus_prettier_cases_are_laid_out_the_same() {
    let Some(cases) = corpus("prettier_test.cases.json") else { return };
    let mut passed = 0;
    for case in &cases {
        let (input, wanted) = (case["in"].as_str().unwrap(), case["out"].as_str().unwrap());
        // Upstream's cases are made for lines of ten characters.
        match vigie_promql::parse(input) {
            Ok(expr) if expr.pretty(10) == wanted => passed += 1,
            Ok(expr) => println!("{input:?}: got\n{}\nwanted\n{wanted}", expr.pretty(10)),
            Err(error) => println!("{input:?}: {error}"),
        }
    }
    println!("prettier_test: {passed} of {} cases pass", cases.len());
    assert!(passed >= floor("prettier_test"));
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

/// A small generator, so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

#[test]
fn what_is_printed_reads_back_the_same_and_broken_text_never_panics() {
    let own = [
        r#"sum by (a, "b.c") (rate(x{y=~"z|\\d", q!='r'}[5m] @ start() offset -1h30m)) > bool 0.5"#,
        r#"label_replace(-a ^ 2 or b{"é"="\u00ff"}, "d", `$1`, "s", '(.*)') # comment"#,
        r#"a * on (x) group_left (y) max_over_time(b[1h:5m] offset (step() * 2))"#,
        r#"histogram_quantile(0.9, {"my.metric", le="1"}) + 0x1F + 1_000 + Inf + 1h30m"#,
    ];
    let mut texts: Vec<String> = own.map(str::to_owned).into();
    for case in corpus("prometheus_exprs.json").unwrap_or_default() {
        texts.push(case["q"].as_str().unwrap().to_owned());
    }
    let mut read = 0;
    for text in &texts {
        let Ok(expr) = vigie_promql::parse(text) else { continue };
        let printed = expr.to_string();
        let again = vigie_promql::parse(&printed).unwrap_or_else(|e| panic!("{printed}: {e}"));
        assert_eq!(again.to_string(), printed, "{text}");
        vigie_promql::parse(&expr.pretty(20)).unwrap_or_else(|e| panic!("{text}: {e}"));
        read += 1;
    }
    println!("{read} of {} expressions read back", texts.len());
    let mut dice = Dice(1);
    for _ in 0..20_000 {
        let first = &texts[dice.below(texts.len())];
        let second = &texts[dice.below(texts.len())];
        let cut = |text: &str, dice: &mut Dice| {
            let cuts: Vec<usize> =
                text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
            cuts[dice.below(cuts.len())]
        };
        let (head, tail) = (cut(first, &mut dice), cut(second, &mut dice));
        let broken = format!("{}{}", &first[..head], &second[tail..]);
        let _ = vigie_promql::parse_selector(&broken);
        if let Err(error) = vigie_promql::parse(&broken) {
            assert!(error.to_string().contains(": parse error: "), "{broken}: {error}");
        }
    }
}
