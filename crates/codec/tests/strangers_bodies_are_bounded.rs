//! What a stranger may send: bodies changed at random, and bodies built to take time or memory.
//! No body makes a decoder panic, and none takes longer than its length allows: a decoder that
//! looked at every pair of labels would not end in the hour.

#![allow(clippy::unwrap_used, reason = "a panic here is the failure report")]

use vigie_codec::exposition::{Entry, Format, parse};
use vigie_codec::loki_push::{
    ITEMS_MAX, PushRequest, PushStream, ServiceName, decode, decode_json, decode_proto,
    encode_json, encode_proto, encode_snappy, parse_labels,
};
use vigie_model::{Labels, LogEntry};

const CHANGED_BODIES: usize = 20_000;
const ERROR_BYTES_MAX: usize = 32 * 1024;

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % sides.max(1)
    }

    /// Flips, cuts, doubles and inserts.
    fn change(&mut self, body: &mut Vec<u8>) {
        for _ in 0..1 + self.roll(4) {
            let at = self.roll(body.len());
            let end = (at + 1 + self.roll(12)).min(body.len());
            match self.roll(5) {
                0 if !body.is_empty() => body[at] ^= 1 << self.roll(8),
                1 if !body.is_empty() => body[at] = b"\"\\{}[],:=#\n \x00\xff\x80"[self.roll(15)],
                2 => drop(body.drain(at..end)),
                3 => {
                    let again = body[at..end].to_vec();
                    body.splice(at..at, again);
                }
                _ => body.truncate(body.len() - self.roll(body.len() / 4)),
            }
        }
    }
}

const PAGE: &str = "# HELP a x \\n y\n# TYPE a histogram\na_bucket{le=\"1\",b=\"c\\\"\"} 1 2\n\
    {\"g.h\",i=\"\u{e9}\"} 0x1 # {a=\"b\"} 1 1.5\n# UNIT t_seconds seconds\nt_seconds NaN\n\
    a -Inf 1e3\n# EOF\n";

fn push() -> PushRequest {
    let entry = |n: i64| LogEntry {
        ts_ns: n * 1_000_000_007,
        line: format!("line {n} \"\\ \u{e9}").into_bytes(),
        metadata: Labels::from_pairs([("trace", n.to_string())]),
    };
    let stream = |app: &str| PushStream {
        labels: Labels::from_pairs([("app", app), ("env", "prod\"")]),
        entries: (0..4).map(entry).collect(),
    };
    PushRequest { streams: vec![stream("a"), stream("b")] }
}

#[test]
fn bodies_changed_at_random_are_read_or_refused_in_few_words() {
    let mut dice = Dice(7);
    let (mut read, mut refused) = (0, 0);
    let mut count = |result: Result<(), String>| match result {
        Ok(()) => read += 1,
        Err(words) => {
            assert!(!words.is_empty() && words.len() < ERROR_BYTES_MAX, "{} bytes", words.len());
            refused += 1;
        }
    };
    let (json, proto) = (encode_json(&push()), encode_proto(&push()));
    let snappy = encode_snappy(&push()).unwrap();
    for _ in 0..CHANGED_BODIES {
        let mut body = PAGE.as_bytes().to_vec();
        dice.change(&mut body);
        for format in [Format::Text, Format::OpenMetrics] {
            let parsed = parse(&body, format, &mut |entry| {
                if let Entry::Sample(sample) = entry {
                    let _ = sample.labels();
                }
            });
            count(parsed.map_err(|error| error.to_string()));
        }
        let mut body = json.clone();
        dice.change(&mut body);
        let decoded = decode_json(&body, ServiceName::Discover);
        count(decoded.map(drop).map_err(|error| error.to_string()));
        let mut body = proto.clone();
        dice.change(&mut body);
        let decoded = decode_proto(&body, ServiceName::Leave);
        count(decoded.map(drop).map_err(|error| error.to_string()));
        let mut body = snappy.clone();
        dice.change(&mut body);
        let decoded = decode("", &body, ServiceName::Leave);
        count(decoded.map(drop).map_err(|error| error.to_string()));
    }
    assert!(read > CHANGED_BODIES / 10 && refused > CHANGED_BODIES, "{read} and {refused}");
}

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut rest = bytes.len();
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
    out.extend_from_slice(bytes);
    out
}

#[test]
fn a_push_of_more_things_than_fit_is_refused_by_their_number() {
    let names = |count: usize| (0..count).rev().map(|n| format!("n{n:07}"));
    let texts: Vec<String> = names(300_000).map(|name| format!("{name}=\"\"")).collect();
    let error = parse_labels(&format!("{{{}}}", texts.join(","))).unwrap_err().to_string();
    assert!(error.contains("more than 1024 labels"), "{error}");

    let pairs: Vec<String> = names(300_000).map(|name| format!("\"{name}\":\"x\"")).collect();
    let pairs = pairs.join(",");
    for body in [
        format!("{{\"streams\":[{{\"stream\":{{{pairs}}},\"values\":[]}}]}}"),
        format!("{{\"streams\":[{{\"stream\":{{}},\"values\":[[\"1\",\"x\",{{{pairs}}}]]}}]}}"),
    ] {
        let error = decode_json(body.as_bytes(), ServiceName::Leave).unwrap_err().to_string();
        assert!(error.contains("more than 1024 labels"), "{error}");
    }

    let metadata: Vec<u8> = (0..5000).flat_map(|_| field(3, &[])).collect();
    let body = field(1, &field(2, &metadata));
    let error = decode_proto(&body, ServiceName::Leave).unwrap_err().to_string();
    assert!(error.contains("more than 1024 labels"), "{error}");

    let entries = field(2, &[]).repeat(ITEMS_MAX + 1);
    let streams = field(1, &[]).repeat(ITEMS_MAX + 1);
    let json = format!(
        "{{\"streams\":[{{\"stream\":{{\"a\":\"b\"}},\"values\":[{}]}}]}}",
        vec!["[\"1\",\"\"]"; ITEMS_MAX + 1].join(",")
    );
    for decoded in [
        decode_proto(&field(1, &entries), ServiceName::Leave),
        decode_proto(&streams, ServiceName::Leave),
        decode_json(json.as_bytes(), ServiceName::Leave),
    ] {
        let error = decoded.unwrap_err().to_string();
        assert!(error.contains("streams, entries and labels: send it in parts"), "{error}");
    }
}

#[test]
fn an_error_shows_a_piece_of_a_long_body_and_not_all_of_it() {
    let long = "x".repeat(4 << 20);
    for page in [
        format!("a{{b=\"{long}"),
        format!("a{{b=\"{long}\"}} {long}"),
        format!("{{b=\"{long}\"}} 1"),
        format!("a{} 1", "{".repeat(4 << 20)),
        format!("# TYPE a {long}"),
        format!("a{{{}", "b=\"\\\",".repeat(1 << 20)),
    ] {
        for format in [Format::Text, Format::OpenMetrics] {
            let error = parse(page.as_bytes(), format, &mut |_| {}).unwrap_err().to_string();
            assert!(error.len() < ERROR_BYTES_MAX, "{} bytes", error.len());
        }
    }
    for json in [
        format!("{{\"streams\":\"{long}\"}}"),
        format!("{{\"streams\":[{{\"stream\":{{\"{long}\":\"x\"}},\"values\":[[\"1\",\"\"]]}}]}}"),
        format!("{{\"streams\":[{{\"stream\":{{\"a\":\"{long}\"}},\"values\":[[\"1\",\"\"]]}}]}}"),
        format!("{{\"streams\":[{{\"labels\":\"{{a='{long}',a='b'}}\",\"entries\":[]}}]}}"),
        format!(
            "{{\"streams\":[{{\"labels\":\"{{a='b'}}\",\"entries\":[{{\"ts\":\"{long}\",\"line\":\"\"}}]}}]}}"
        ),
    ] {
        let error = decode_json(json.as_bytes(), ServiceName::Leave).unwrap_err().to_string();
        assert!(error.len() < ERROR_BYTES_MAX, "{} bytes", error.len());
    }
}
