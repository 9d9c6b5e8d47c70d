//! Hostile texts: an answer or an error within a thread's small stack, never a crash or an endless run.

#![allow(clippy::unwrap_used, reason = "a panic is the failure report of a test")]

mod support;

use std::time::{Duration, Instant};
use support::Memory;
use vigie_promql::{Options, instant, parse};

/// The stack of a thread that may block, as the server starts them.
const STACK_BYTES: usize = 2 * 1024 * 1024;

/// Nests `inner` into `wrap`, whose `@` is replaced, as long as the text stays below the limit.
fn nested(inner: &str, wrap: &str, levels: usize) -> String {
    let mut text = inner.to_owned();
    for _ in 0..levels {
        let next = wrap.replace('@', &text);
        if next.len() > 120 * 1024 {
            break;
        }
        text = next;
    }
    text
}

#[test]
fn hostile_texts_parse_or_fail_quickly_on_a_small_stack() {
    let plus = format!("(@{})", "+1".repeat(120));
    let texts = [
        vec!["1"; 60_000].join("+"),
        vec!["x"; 60_000].join("+"),
        vec!["x"; 30_000].join(" and "),
        "(".repeat(120_000),
        "-".repeat(120_000),
        "{".repeat(120_000),
        format!("x{}", "[1m:]".repeat(20_000)),
        format!("x{}", " offset 1m".repeat(10_000)),
        nested("1", "(@)", 127),
        nested("x", "abs(@)", 127),
        nested("x", "sum(@)", 127),
        nested("x", "max_over_time(@[1m:])", 60),
        nested("x", "max_over_time((@)[1m:] offset (1+(1)))", 60),
        nested("x", &format!("(@{})", "[1m:]".repeat(120)), 120),
        nested("x", &plus, 120),
        format!("x[{}]", nested("1", &plus, 120)),
        format!("x offset {}", nested("1", &plus, 120)),
        format!("x[{}]", nested("1", "min_of(1,@)", 1000)),
        format!("x[{}1m]", "-".repeat(100_000)),
        nested("2", "2^@", 20_000),
        format!("x{{{}}}", vec!["a=~\"\\\\pL{20}\""; 6_000].join(",")),
        format!("x{{{}}}", vec!["a=\"b\""; 15_000].join(",")),
        format!("x{{a=~\"{}\"}}", "(".repeat(100_000)),
        format!("x{{a=~\"{}\"}}", "(a|".repeat(30_000)),
        format!("x{{a=~\"{}\"}}", "[a".repeat(50_000)),
        format!("sum by ({}) (x)", vec!["a"; 50_000].join(",")),
        format!("x * on({0}) group_left({0}) x", vec!["a"; 25_000].join(",")),
        format!("\"{}\"", "\\n".repeat(50_000)),
        "fill ".repeat(20_000),
    ];
    let parser = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
        for text in texts {
            let start = Instant::now();
            let parsed = parse(&text);
            let outcome = match &parsed {
                Ok(expr) => (expr.to_string() + &expr.pretty(100)).len().to_string(),
                Err(error) => error.to_string().chars().take(100).collect(),
            };
            if let Ok(expr) = &parsed {
                let deadline = Some(Instant::now() + Duration::from_secs(2));
                let options = Options { deadline, ..Options::default() };
                let _ = instant(&Memory::default(), expr, 0, &options);
            }
            let took = start.elapsed();
            let shown: String = text.chars().take(40).collect();
            println!("{took:?}\t{shown}\t{outcome}");
            assert!(took < Duration::from_secs(10), "{shown}: {took:?}");
        }
    });
    parser.unwrap().join().unwrap();
}
