//! What strangers send: expositions and pushes.

use super::{seeds, text};
use crate::Target;
use vigie_codec::compression::{unpack_snappy, unpack_zstd};
use vigie_codec::documents::{Documents, decode_bulk, decode_lines};
use vigie_codec::exposition::{Entry, Format, parse};
use vigie_codec::loki_push::{
    PushRequest, PushStream, ServiceName, decode_json, decode_proto, decode_snappy, encode_json,
    encode_proto, encode_snappy, parse_labels,
};
use vigie_codec::otlp_logs;
use vigie_codec::remote_write::{self, Version, WireSeries, encode_v1, encode_v2};
use vigie_model::histogram::{Counts, ResetHint, Span};
use vigie_model::{Histogram, Labels, LogEntry};

pub(super) fn targets() -> Vec<Target> {
    let mut targets = pushes();
    targets.extend([
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
            name: "otlp_logs_proto",
            run: |data| drop(otlp_logs::decode("application/x-protobuf", data, 1)),
            // A record with a body and an attribute.
            seeds: || vec![b"\x0a\x1a\x12\x18\x12\x16\x10\x11\x2a\x06\x0a\x04line\x32\x0a\x0a\x01k\x12\x05\x0a\x03v v".to_vec()],
        },
        Target {
            name: "otlp_logs_json",
            run: |data| drop(otlp_logs::decode("application/json", data, 1)),
            seeds: || seeds(&[OTLP]),
        },
        Target {
            name: "json_documents",
            run: |data| documents(data),
            seeds: || {
                seeds(&[
                    "{\"create\":{\"_index\":\"a\"}}\n{\"@timestamp\":\"2026-01-01T00:00:00Z\",\"a\":{\"b\":\"c\"}}\n",
                    "{\"message\":\"x\",\"time\":1700000000.5}\n{\"level\":\"warn\"}\n",
                ])
            },
        },
        Target {
            name: "loki_labels",
            run: |data| drop(parse_labels(&text(data))),
            seeds: || seeds(&[r#"{app="a", b="c\"\\\u00e9"}"#, "{}", "{a=`b`}"]),
        },
    ]);
    targets
}

/// A request of OpenTelemetry's, with every kind of value.
const OTLP: &str = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"s"}}]},"scopeLogs":[{"logRecords":[{"timeUnixNano":"1","severityNumber":9,"body":{"kvlistValue":{"values":[{"key":"a","value":{"arrayValue":{"values":[{"intValue":"1"},{"doubleValue":0.5},{"boolValue":true},{"bytesValue":"AQI="}]}}}]}}}]}]}]}"#;

fn documents(data: &[u8]) {
    let how = Documents {
        stream_fields: vec!["a.b".to_owned()],
        time_fields: vec!["@timestamp".to_owned(), "time".to_owned()],
        message_fields: vec!["message".to_owned()],
        labels: Vec::new(),
        now_ns: 1,
    };
    drop(decode_lines(data, &how));
    drop(decode_bulk(data, "index", &how));
}

/// Most bytes that a target unpacks.
const UNPACKED_BYTES_MAX: usize = 1 << 20;

fn pushes() -> Vec<Target> {
    vec![
        Target {
            name: "remote_write_1",
            run: |data| remote_write(Version::V1, data),
            seeds: || vec![encode_v1(&series())],
        },
        Target {
            name: "remote_write_2",
            run: |data| remote_write(Version::V2, data),
            seeds: || vec![encode_v2(&series())],
        },
        Target {
            name: "unpack",
            run: |data| {
                let _ = unpack_snappy(data, UNPACKED_BYTES_MAX);
                let _ = unpack_zstd(data, UNPACKED_BYTES_MAX);
            },
            seeds: || {
                vec![encode_snappy(&push()).unwrap_or_default(), vec![0x28, 0xb5, 0x2f, 0xfd]]
            },
        },
    ]
}

/// Everything that a store would ask is asked.
fn remote_write(version: Version, data: &[u8]) {
    let Ok(request) = remote_write::decode(version, data, 1) else { return };
    for series in 0..request.keys.len() {
        if let Ok(labels) = request.labels(series) {
            assert!(labels.metric_name().is_some(), "a series has a name");
        }
    }
    for exemplar in &request.exemplars {
        let _ = request.exemplar_labels(exemplar);
    }
    for pushed in &request.histograms {
        let _ = pushed.histogram.validate();
    }
}

fn series() -> Vec<WireSeries> {
    let labels = |name: &str| {
        let pairs = [("__name__", name), ("instance", "a:9100"), ("job", "node")];
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let histogram = Histogram {
        reset_hint: ResetHint::Unknown,
        schema: 3,
        zero_threshold: 1e-9,
        sum: 4.5,
        counts: Counts::Integer {
            count: 6,
            zero_count: 1,
            positive: vec![2, -1],
            negative: vec![2],
        },
        positive_spans: vec![Span { offset: -2, length: 1 }, Span { offset: 3, length: 1 }],
        negative_spans: vec![Span { offset: 0, length: 1 }],
        custom_values: vec![],
    };
    vec![
        WireSeries {
            labels: labels("up"),
            samples: vec![(1_700_000_000_000, 1.0), (1_700_000_015_000, f64::NAN)],
            exemplars: vec![(vec![("trace_id".to_owned(), "a1".to_owned())], 0.5, 7)],
            ..WireSeries::default()
        },
        WireSeries {
            labels: labels("h"),
            histograms: vec![(1_700_000_000_000, histogram)],
            ..WireSeries::default()
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
