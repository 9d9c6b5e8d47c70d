//! Mutated queries over mutated lines: an answer or an error, never a panic, never an endless run.

#![allow(clippy::unwrap_used, reason = "a panic is the failure report of a test")]

mod common;

use common::Memory;
use vigie_logql::{Options, instant, parse, query_logs};
use vigie_model::Labels;
use vigie_model::blocks::{Direction, LogRange};

const QUERIES: [&str; 9] = [
    r#"{job="a"} |= "x" or ip("10.0.0.0/8") !~ "(?i)[a-z&&[^b]]{2,3}\\d" | json | a_b > 1.5e3 or d <= 1h30m and s >= 1KiB"#,
    r#"{job=~"a|b",x!=""} | logfmt --strict --keep-empty a="b", c | label_format é=a, b="{{.a | upper}}" | drop x=~"é.*""#,
    r#"{job="a"} | pattern "<ip> - <_> [<ts>] é" |> "<_> a <_>" | unpack | keep a | decolorize"#,
    r#"{job="a"} | regexp "(?P<é>a)(?P<b>\\w+)" | line_format "{{ __timestamp__ | date \"Jan _2 15:04:05.000\" }}{{ substr 1 -1 .a }}{{ trunc -2 .a }}""#,
    r#"{job="a"} | json x="a[0].b[\"c d\"].é", y="z" | line_format `{{ range $i, $v := fromJson __line__ }}{{ $v }}{{ end }}{{ regexReplaceAll "(a)" .x "$1$1" }}`"#,
    r#"sum by (é, b) (quantile_over_time(0.5, {job="a"} | json | unwrap duration(d) | __error__="" [1h1ms] offset -5m) by (x)) / on(b) group_left(c) vector(1) > bool 2"#,
    r#"topk without (a) (3, rate(({job="a"}[5m] | json | unwrap bytes(s)))) and ignoring(x) label_replace(absent_over_time({job="a"}[5s]), "a", "$1", "b", "(.*)")"#,
    r#"stdvar_over_time({job="a"} | unwrap é [1s]) or rate_counter({job="a"} | unwrap v [1m]) unless vector(-1)"#,
    r#"{job="a"} | json | d = ip("1.1.1.1-1.1.1.9") | x == 0x1p-3 , y != -1.5s (z = .5 or "q" = 1)"#,
];

const LINES: [&str; 8] = [
    r#"{"a":{"b":1.5,"é":"\ud83d\ude00\"x"},"d":"1h","s":"10 KB","list":[{"b":{"c d":null}}],"z":tru}"#,
    r#"level=é a="b \"c\" \u00e9" c= =x d=1s "q"=1 s=1KB"#,
    "10.0.0.1 - bob [10/Oct/2000] é ::1 fe80::1%eth0 999.1.1.1",
    "\u{1b}[31mred\u{1b}[0m",
    r#"{"_entry":"é","a":"b"}"#,
    "{\"a\":\"\\",
    "",
    "é",
];

/// A small generator of its own, so that a failure names its seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % bound.max(1)
    }
}

fn mutated(text: &str, others: &[&str], dice: &mut Dice) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..dice.below(4) {
        let at = dice.below(chars.len());
        match dice.below(4) {
            0 if !chars.is_empty() => {
                chars.remove(at);
            }
            1 => chars.insert(
                at.min(chars.len()),
                ['"', '(', '[', '{', '\\', 'é', '-', '0', '|', '.'][dice.below(10)],
            ),
            2 => chars.truncate(at),
            _ => {
                let other: Vec<char> = others[dice.below(others.len())].chars().collect();
                let from = dice.below(other.len());
                let to = (from + dice.below(12)).min(other.len());
                chars.splice(at..at, other[from..to].iter().copied());
            }
        }
    }
    chars.into_iter().collect()
}

#[test]
fn mutated_queries_over_mutated_lines_answer_or_fail() {
    let rounds: u64 =
        std::env::var("VIGIE_ROUNDS").ok().and_then(|r| r.parse().ok()).unwrap_or(1500);
    let stream = Labels::from_pairs([("job", "a"), ("b", "é")]);
    let (mut parsed, mut answered) = (0, 0);
    for seed in 0..rounds {
        let mut dice = Dice(seed);
        let query = mutated(QUERIES[dice.below(QUERIES.len())], &QUERIES, &mut dice);
        let Ok(expr) = parse(&query) else { continue };
        parsed += 1;
        // Loki's canonical form does not always parse again; printing must still not panic.
        assert!(!expr.to_string().is_empty());
        let mut memory = Memory::default();
        for at in 0..8 {
            let line = mutated(LINES[dice.below(LINES.len())], &LINES, &mut dice);
            memory.push(&stream, at * 1_000_000_000, &line, Labels::from_pairs([("t", "é")]));
        }
        let all = LogRange { start_ns: 0, end_ns: i64::MAX };
        let options = Options::default();
        answered += usize::from(if expr.is_log() {
            query_logs(&memory, &expr, all, Direction::Backward, 5, &options).is_ok()
        } else {
            instant(&memory, &expr, 9_000_000_000, &options).is_ok()
        });
    }
    println!("{rounds} queries: {parsed} parsed, {answered} answered");
    assert!(parsed > rounds as usize / 10, "the mutations leave too few queries alive");
}
