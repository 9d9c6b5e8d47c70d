//! Every query gives the same answer from a sealed store, whose blocks answer from columns, and from
//! one that still has the same lines in its head, where each line is read.
//! Lines and queries are drawn at random from what makes the two ways differ: names that the stream
//! or the metadata has too, duplicate names, empty values, escapes, values that are almost numbers,
//! lines that are no JSON, several shapes and streams.

#![allow(clippy::unwrap_used, reason = "a panic here is the failure report")]

use std::path::Path;
use std::sync::Arc;
use vigie_disk::RealDisk;
use vigie_logql::{LogSource, Options, instant, parse, query_logs, range};
use vigie_logs::{Batch, Clock, Durability, Store};
use vigie_model::{Direction, Labels, LogBlocks, LogEntry, LogRange, Matcher, Needle, ReadError};

const NOW_MS: i64 = 1_795_690_920_000;
const S: i64 = 1_000_000_000;
const ROWS: usize = 400;

struct Dice(u64);

impl Dice {
    fn roll(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len() as u64) as usize]
    }
}

struct Source(Store);

impl LogSource for Source {
    fn select(
        &self,
        matchers: &[Matcher],
        range: LogRange,
        direction: Direction,
        needles: &[Needle],
    ) -> Result<Box<dyn LogBlocks>, ReadError> {
        self.0.select(matchers, range, direction, needles)
    }
}

fn line(dice: &mut Dice) -> String {
    let status = dice.pick(&["200", "200", "404", "500", "503"]);
    let ms = dice.roll(3_000_000) as f64 / 1000.0;
    let odd = dice.pick(&["1", "2.5", "1e3", "-0", "x", "", "1_000", "0x10", "Inf", "5s", "7KB"]);
    let word = dice.pick(&["a", "b", "a b", "q\\\"q", "\\u00e9", "\\ud800", ""]);
    match dice.roll(9) {
        0..4 => format!(
            r#"{{"status":{status},"ms":{ms},"path":"/{word}","app":"line","n":{{"x":"{odd}"}}}}"#
        ),
        4 => format!(
            r#"{{"status":"{status}","ms":{ms},"ms":1,"odd":"{odd}","level":"{word}","z":null}}"#
        ),
        5 => format!(
            r#"{{ "ms" : {}, "status" : {status}, "1 b":"{word}", "list":[1,"{word}"], "ok":true }}"#,
            dice.roll(90)
        ),
        6 => format!(
            "status={status} ms={ms} level={} path=\"/{}\"",
            dice.pick(&["info", "warn"]),
            dice.pick(&["a", "b c"])
        ),
        7 => format!("status={status} odd={odd} ms=\"{ms}\" msg=\"{word}\" bare empty= e=\"\""),
        _ => format!("plain {status} text {word} {{\"status\":{status}"),
    }
}

fn fill(dir: &Path, seed: u64) -> Source {
    let mut dice = Dice(seed);
    let clock = Clock(Arc::new(|| NOW_MS));
    let options = vigie_logs::Options { clock, head_bytes_max: 1 << 26, ..Default::default() };
    let store = Store::open(Arc::new(RealDisk), dir, options).unwrap();
    for n in 0..ROWS as i64 {
        let stream = match dice.roll(3) {
            0 => Labels::from_pairs([("app", "a"), ("status", "stream")]),
            _ => Labels::from_pairs([("app", "a"), ("env", dice.pick(&["x", "y"]))]),
        };
        let metadata = match dice.roll(4) {
            0 => Labels::from_pairs([("level", dice.pick(&["info", "error"]))]),
            1 => Labels::from_pairs([("ms", "9999"), ("trace", dice.pick(&["t1", "t2"]))]),
            _ => Labels::default(),
        };
        let ts_ns = NOW_MS * 1_000_000 - (ROWS as i64 - n) * S;
        let entries = [LogEntry { ts_ns, line: line(&mut dice).into_bytes(), metadata }];
        let batch = [Batch { labels: &stream, entries: &entries }];
        assert_eq!(store.append(&batch, Durability::Written).unwrap().stored, 1);
    }
    Source(store)
}

fn filter(dice: &mut Dice) -> String {
    let name =
        dice.pick(&["status", "ms", "odd", "path", "level", "n_x", "nothing", "app", "ok", "msg"]);
    let name = match dice.roll(6) {
        0 => format!("{name}_extracted"),
        _ => name.to_owned(),
    };
    match dice.roll(7) {
        0 => format!("{name} > {}", dice.pick(&["1000", "400", "0", "1e2", "-1"])),
        1 => format!(
            "{name} {} {}",
            dice.pick(&["=", "==", "!=", "<=", ">="]),
            dice.pick(&["500", "200", "1", "2.5"])
        ),
        2 => format!("{name}=\"{}\"", dice.pick(&["500", "a", "/a", "", "line", "true"])),
        3 => format!("{name}!=\"{}\"", dice.pick(&["500", "", "info"])),
        4 => format!("{name}=~\"{}\"", dice.pick(&["5..", ".*a.*", "2.*|", "/.*"])),
        5 => format!("{name} > 10ms or status=\"500\""),
        _ => format!("(status >= 400 and {name} != \"x\")"),
    }
}

fn pipeline(dice: &mut Dice) -> String {
    let mut query = r#"{app="a"}"#.to_owned();
    for _ in 0..dice.roll(3) {
        let op = dice.pick(&["|=", "|=", "!=", "|~"]);
        let text = dice.pick(&[
            "status",
            "5",
            "00,",
            "\\\"ms\\\":",
            "plain",
            "zzz",
            "a b",
            "\\\"status\\\":50",
            "=",
        ]);
        query += &format!(" {op} \"{text}\"");
    }
    query += dice.pick(&[" | json", " | json", " | logfmt", ""]);
    for _ in 0..dice.roll(3) {
        query += &format!(" | {}", filter(dice));
    }
    if dice.roll(3) == 0 {
        query += " | __error__=\"\"";
    }
    query
}

fn metric(dice: &mut Dice) -> String {
    let pipeline = pipeline(dice);
    let window = dice.pick(&["[1m]", "[10m]", "[7s]"]);
    let by = dice.pick(&[
        "status",
        "path",
        "level",
        "env",
        "status, path",
        "ms",
        "app_extracted",
        "",
        "__error__",
    ]);
    match dice.roll(7) {
        0 => format!("sum(count_over_time({pipeline} {window}))"),
        1 | 2 => format!("sum by ({by}) (count_over_time({pipeline} {window}))"),
        3 => format!("sum by ({by}) (rate({pipeline} {window}))"),
        4 => format!("count_over_time({pipeline} {window})"),
        5 => {
            let op = dice.pick(&["max_over_time", "avg_over_time", "quantile_over_time"]);
            let phi = if op.starts_with('q') { "0.9, " } else { "" };
            let label = dice.pick(&["ms", "odd", "status"]);
            format!("{op}({phi}{pipeline} | unwrap {label} {window}) by ({by})")
        }
        _ => format!("sum by ({by}) (sum_over_time({pipeline} | unwrap ms {window}))"),
    }
}

#[test]
fn sealed_and_unsealed_stores_answer_the_same() {
    let is_soak = std::env::var("VIGIE_SOAK").is_ok_and(|value| value == "1");
    let (seeds, queries) = if is_soak { (60, 1000) } else { (4, 150) };
    let options = Options::default();
    let (mut asked, mut answered) = (0, 0);
    for seed in 0..seeds {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [lines, columns] = dirs.each_ref().map(|dir| fill(dir.path(), seed));
        columns.0.seal().unwrap();
        let mut dice = Dice(seed + 1000);
        let end = NOW_MS * 1_000_000;
        for _ in 0..queries {
            let text = pipeline(&mut dice);
            let expr = parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let direction =
                if dice.roll(2) == 0 { Direction::Forward } else { Direction::Backward };
            let limit = [5, 1000][dice.roll(2) as usize];
            let start_ns = end - dice.roll(500) as i64 * S;
            let span = LogRange { start_ns, end_ns: end };
            let ask = |source: &Source| {
                query_logs(source, &expr, span, direction, limit, &options)
                    .map_err(|e| e.to_string())
            };
            let wanted = ask(&lines);
            answered += wanted.as_ref().map_or(0, Vec::len);
            assert_eq!(ask(&columns), wanted, "seed {seed}: {text}");

            let text = metric(&mut dice);
            let Ok(expr) = parse(&text) else { continue };
            let at = |source: &Source| {
                format!("{:?}", instant(source, &expr, end, &options).map_err(|e| e.to_string()))
            };
            assert_eq!(at(&columns), at(&lines), "seed {seed}: {text}");
            let over = |source: &Source| {
                format!(
                    "{:?}",
                    range(source, &expr, end - 300 * S, end, 20 * S, &options)
                        .map_err(|e| e.to_string())
                )
            };
            assert_eq!(over(&columns), over(&lines), "seed {seed}: {text}");
            asked += 3;
        }
    }
    assert!(answered > 100, "the queries find something");
    println!("{asked} queries answered alike, {answered} streams of lines among them");
}
