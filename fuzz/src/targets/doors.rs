//! What strangers send: expositions and pushes.

use super::{seeds, text};
use crate::Target;
use vigie_codec::exposition::{Entry, Format, parse};
use vigie_codec::loki_push::{
    PushRequest, PushStream, ServiceName, decode_json, decode_proto, decode_snappy, encode_json,
    encode_proto, encode_snappy, parse_labels,
};
use vigie_model::{Labels, LogEntry};

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target {
            name: "exposition_text",
            run: |data| exposition(data, Format::Text),
            seeds: pages,
        },
        Target {
            name: "exposition_openmetrics",
            run: |data| exposition(data, Format::OpenMetrics),
            seeds: pages,
        },
        Target {
            name: "loki_push_json",
            run: |data| again(decode_json(data, ServiceName::Leave).ok()),
            seeds: || vec![encode_json(&push())],
        },
        Target {
            name: "loki_push_proto",
            run: |data| again(decode_proto(data, ServiceName::Leave).ok()),
            seeds: || vec![encode_proto(&push())],
        },
        Target {
            name: "loki_push_snappy",
            run: |data| drop(decode_snappy(data, ServiceName::Leave)),
            seeds: || encode_snappy(&push()).into_iter().collect(),
        },
        Target {
            name: "loki_labels",
            run: |data| drop(parse_labels(&text(data))),
            seeds: || seeds(&[r#"{app="a", b="c\"\\\u00e9"}"#, "{}", "{a=`b`}"]),
        },
    ]
}

fn exposition(data: &[u8], format: Format) {
    let _ = parse(data, format, &mut |entry| {
        if let Entry::Sample(sample) = entry {
            let _ = sample.labels();
        }
    });
}

/// What was understood must be understood again after it was written.
fn again(request: Option<PushRequest>) {
    // A body without a stream is refused (Loki's 422), so it cannot be written back.
    let Some(request) = request.filter(|request| !request.streams.is_empty()) else { return };
    let written = encode_proto(&request);
    let read = decode_proto(&written, ServiceName::Leave);
    assert_eq!(read.as_ref().ok(), Some(&request), "what is written is read again as the same");
}

fn pages() -> Vec<Vec<u8>> {
    seeds(&[
        "# HELP a x \\n y\n# TYPE a histogram\na_bucket{le=\"1\",b=\"c\\\"\"} 1 2\na_bucket{le=\"+Inf\"} 2\n\
         a_sum 1e3\na_count 2\n",
        "{\"g.h\",i=\"\u{e9}\"} 0x1 # {a=\"b\"} 1 1.5\n# UNIT t_seconds seconds\nt_seconds NaN\n# EOF\n",
        "# TYPE x counter\nx_total{a=\"b\"} 1 1.5 # {trace_id=\"abc\"} 1 2\nx_created 12\n# EOF\n",
        "a -Inf 1e3\n\n  b{} +Inf\n",
    ])
}

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
