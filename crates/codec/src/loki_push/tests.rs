//! Pushes as clients send them, and as nobody should.

use super::*;

/// An entry of no level that anybody could guess, which it says already.
fn entry(ts_ns: i64, line: &[u8], metadata: &[(&str, &str)]) -> LogEntry {
    let level = (LEVEL_LABEL, "unknown");
    let metadata = Labels::from_pairs(metadata.iter().copied().chain([level]));
    LogEntry { ts_ns, line: line.to_vec(), metadata }
}

fn sample() -> PushRequest {
    PushRequest {
        streams: vec![
            PushStream {
                labels: Labels::from_pairs([("app", "a"), ("q", "say \"é\"\n")]),
                entries: vec![
                    entry(1_795_431_720_000_000_001, b"first", &[("trace_id", "t0")]),
                    entry(-1, b"", &[]),
                    entry(5, "é\u{0}\"\\\n".as_bytes(), &[]),
                ],
            },
            PushStream {
                labels: Labels::from_pairs([("b", "x")]),
                entries: vec![entry(7, b"z", &[])],
            },
        ],
    }
}

#[test]
fn both_forms_bring_back_what_was_encoded() {
    let request = sample();
    let json =
        decode("application/json; charset=utf-8", &encode_json(&request), ServiceName::Leave);
    assert_eq!(json.unwrap(), request);
    let body = encode_snappy(&request).unwrap();
    assert_eq!(decode("application/x-protobuf", &body, ServiceName::Leave).unwrap(), request);
    assert_eq!(decode("", &body, ServiceName::Leave).unwrap(), request);
}

#[test]
fn protobuf_lines_that_are_not_text_arrive_byte_exact() {
    let mut request = sample();
    request.streams[0].entries[0].line = vec![0xff, 0x00, 0xc3, 0x28];
    let body = encode_snappy(&request).unwrap();
    assert_eq!(decode_snappy(&body, ServiceName::Leave).unwrap(), request);
}

#[test]
fn json_lines_with_bad_utf8_arrive_byte_exact() {
    let mut body = br#"{"streams":[{"stream":{"a":"b"},"values":[["1","x"#.to_vec();
    body.extend([0xff, 0xfe]);
    body.extend(br#""]]}]}"#);
    let request = decode_json(&body, ServiceName::Leave).unwrap();
    assert_eq!(request.streams[0].entries[0].line, b"x\xff\xfe");
}

/// Bodies and what Loki 3.7.6 answered to them.
#[test]
fn refusals_have_lokis_status_and_words() {
    let stream = |body: &str| format!(r#"{{"streams":[{body}]}}"#);
    for (body, status, text) in [
        (r#"{"streams": []}"#.to_owned(), 422, "error at least one valid stream is required for ingestion"),
        ("{}".to_owned(), 422, "error at least one valid stream is required for ingestion"),
        ("hello".to_owned(), 400, "readObjectStart: expect { or n, but found h, error found in #1 byte of ...|hello|..., bigger context ...|hello|..."),
        (
            r#"{"streams": [{"stream": {"app": "golden", "env": "num"}, "values": [[1795431720000000000, "x"]]}]}"#.to_owned(),
            400,
            "loghttp.PushRequest.Streams: []loghttp.LogProtoStream: unmarshalerDecoder: Value looks like Number/Boolean/None, but can't find its end: ',' or '}' symbol, error found in #10 byte of ...|00, \"x\"]]}]}|..., bigger context ...|\": \"num\"}, \"values\": [[1795431720000000000, \"x\"]]}]}|...",
        ),
        (
            r#"{"streams": [{"stream": {"app": "golden", "env": "num"}, "values": [["abc", "x"]]}]}"#.to_owned(),
            400,
            "loghttp.PushRequest.Streams: []loghttp.LogProtoStream: unmarshalerDecoder: Value looks like Number/Boolean/None, but can't find its end: ',' or '}' symbol, error found in #10 byte of ...|c\", \"x\"]]}]}|..., bigger context ...|\"golden\", \"env\": \"num\"}, \"values\": [[\"abc\", \"x\"]]}]}|...",
        ),
        (
            r#"{"streams": [{"stream": {"app": "golden", "env": "smn"}, "values": [["1795431720000000000", "x", {"a": 1}]]}]}"#.to_owned(),
            400,
            "loghttp.PushRequest.Streams: []loghttp.LogProtoStream: unmarshalerDecoder: Value is string, but can't find closing '\"' symbol, error found in #10 byte of ...|\"a\": 1}]]}]}|..., bigger context ...|values\": [[\"1795431720000000000\", \"x\", {\"a\": 1}]]}]}|...",
        ),
        (stream(r#"{"stream":{"a-b":"c"},"values":[["1","x"]]}"#), 400, "couldn't parse labels: 1:3: parse error: unexpected character inside braces: '-'"),
        (stream(r#"{"stream":{"bad-l":"x"},"values":[["1","x"]]}"#), 400, "couldn't parse labels: 1:5: parse error: unexpected character inside braces: '-'"),
        (stream(r#"{"stream":{},"values":[["1","x"]]}"#), 400, "error at least one label pair is required per stream"),
    ] {
        let error = decode_json(body.as_bytes(), ServiceName::Leave).unwrap_err();
        assert_eq!((error.status(), error.to_string().as_str()), (status, text), "{body}");
    }
    let error = decode("text/plain", br#"{"streams":[]}"#, ServiceName::Leave).unwrap_err();
    assert_eq!((error.status(), error.to_string().as_str()), (400, "snappy: corrupt input"));
}

#[test]
fn one_bad_stream_refuses_the_whole_body() {
    let body = r#"{"streams":[{"stream":{"a":"b"},"values":[["1","ok"]]},{"stream":{"bad-l":"x"},"values":[["1","x"]]}]}"#;
    assert!(matches!(decode_json(body.as_bytes(), ServiceName::Leave), Err(PushError::Labels(_))));
}

#[test]
fn what_loki_tolerates_is_tolerated() {
    for (stream, labels, entries) in [
        (
            r#"{"stream":{"a":1},"values":[["1","x"]]}"#,
            r#"{a="1", service_name="unknown_service"}"#,
            1,
        ),
        (r#"{"stream":{},"values":[["1","x"]]}"#, r#"{service_name="unknown_service"}"#, 1),
        (
            r#"{"stream":{"app":"g","e":""},"values":[["1",""]]}"#,
            r#"{app="g", service_name="g"}"#,
            1,
        ),
        (
            r#"{"values":[["1","x"],["2","y",{}]],"stream":{"job":"j"},"other":[{}]}"#,
            r#"{job="j", service_name="j"}"#,
            2,
        ),
        (
            r#"{"labels":"{app=\"g\",env=\"l\"}","entries":[{"ts":"2026-11-23T11:02:00Z","line":"x"}]}"#,
            r#"{app="g", env="l", service_name="g"}"#,
            1,
        ),
    ] {
        let body = format!(r#"{{"streams":[{stream}]}}"#);
        let request = decode_json(body.as_bytes(), ServiceName::Discover).unwrap();
        assert_eq!(request.streams[0].labels.to_string(), labels, "{stream}");
        assert_eq!(request.streams[0].entries.len(), entries, "{stream}");
    }
    let none = br#"{"streams":[{"stream":{"a":"b"},"values":[]}]}"#;
    assert!(decode_json(none, ServiceName::Discover).unwrap().streams.is_empty());
}

#[test]
fn metadata_names_are_made_valid() {
    let body =
        br#"{"streams":[{"stream":{"a":"b"},"values":[["1","x",{"a-b":"c","1x":"d","ok":"e"}]]}]}"#;
    let request = decode_json(body, ServiceName::Leave).unwrap();
    assert_eq!(
        request.streams[0].entries[0].metadata.to_string(),
        r#"{a_b="c", detected_level="unknown", key_1x="d", ok="e"}"#
    );
}

#[test]
fn limits_are_named_with_their_stream() {
    let push = |labels: Labels, line: Vec<u8>, metadata: Labels| {
        let entries = vec![LogEntry { ts_ns: 1, line, metadata }];
        let request = PushRequest { streams: vec![PushStream { labels, entries }] };
        decode_snappy(&encode_snappy(&request).unwrap(), ServiceName::Leave)
            .map_err(|e| e.to_string())
    };
    let few = Labels::from_pairs([("a", "b")]);
    let many = |count: usize| Labels::from_pairs((0..count).map(|n| (format!("l{n:03}"), "x")));
    let none = Labels::default();
    assert!(push(few.clone(), vec![b'x'; LINE_BYTES_MAX], none.clone()).is_ok());
    assert_eq!(
        push(few.clone(), vec![b'x'; LINE_BYTES_MAX + 1], none.clone()).unwrap_err(),
        "Max entry size '1048576' bytes exceeded for stream '{a=\"b\"}' while adding an entry with length '1048577' bytes"
    );
    assert!(
        push(many(65), vec![], none.clone()).unwrap_err().ends_with("has 65 label names; limit 64")
    );
    let long = Labels::from_pairs([("n".repeat(1025), "x")]);
    assert!(push(long, vec![], none.clone()).unwrap_err().contains("has label name too long"));
    let long = Labels::from_pairs([("n", "x".repeat(LABEL_VALUE_BYTES_MAX + 1))]);
    assert!(push(long, vec![], none).unwrap_err().contains("has label value too long"));
    assert!(
        push(few.clone(), vec![], many(129)).unwrap_err().contains("too many structured metadata")
    );
    let big = Labels::from_pairs([("m", "x".repeat(METADATA_BYTES_MAX))]);
    assert!(push(few, vec![], big).unwrap_err().contains("metadata too large"));
}

#[test]
fn a_snappy_body_that_declares_too_much_is_refused_before_it_is_decoded() {
    let declared = PUSH_DECODED_BYTES_MAX as u64 + 1;
    let mut body = Vec::new();
    let mut rest = declared;
    while rest >= 0x80 {
        body.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    body.push(rest as u8);
    body.extend([0u8; 16]);
    let error = decode_snappy(&body, ServiceName::Leave).unwrap_err();
    assert!(error.status() == 413, "{error}");
}

#[test]
fn broken_protobuf_is_an_error_at_every_cut_and_flip() {
    let whole = encode_proto(&sample());
    for end in 1..whole.len() {
        let _ = decode_proto(&whole[..end], ServiceName::Leave);
        let mut flipped = whole.clone();
        flipped[end] ^= 0x80;
        let _ = decode_proto(&flipped, ServiceName::Leave);
    }
    for (bytes, what) in [
        (&[0x0a, 0x05, 1][..], "unexpected EOF"),
        (&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], "integer overflow"),
        (&[0x0b], "illegal wireType"),
        (&[0x02, 0x00], "illegal tag 0"),
    ] {
        let error = decode_proto(bytes, ServiceName::Leave).unwrap_err();
        assert!(error.to_string().contains(what), "{bytes:x?}: {error}");
    }
}

#[test]
fn label_texts_parse_as_prometheus_parses_them() {
    for (text, shown) in [
        (r#"{}"#, Ok("{}")),
        (r#"{a="b"}"#, Ok(r#"{a="b"}"#)),
        (r#" { b = 'c' , a=`\d` , } "#, Ok(r#"{a="\\d", b="c"}"#)),
        (r#"{a="\x41\101\u00e9\"\\"}"#, Ok(r#"{a="AAé\"\\"}"#)),
        (r#"{a=""}"#, Ok("{}")),
        (r#"{a="b",a="c"}"#, Err(r#"stream '{a="b",a="c"}' has duplicate label name: 'a'"#)),
        (
            r#"{1x="d"}"#,
            Err("couldn't parse labels: 1:2: parse error: unexpected character inside braces: '1'"),
        ),
        (
            r#"{a="b"} x"#,
            Err("couldn't parse labels: 1:9: parse error: unexpected character inside braces: 'x'"),
        ),
        (r#"{a="b"#, Err("couldn't parse labels: 1:4: parse error: unterminated quoted string")),
        (
            r#"{a"#,
            Err("couldn't parse labels: 1:3: parse error: unexpected end of input, expected \"=\""),
        ),
        (
            "",
            Err("couldn't parse labels: 1:1: parse error: unexpected end of input, expected \"{\""),
        ),
    ] {
        let parsed = parse_labels(text).map(|labels| labels.to_string()).map_err(|e| e.to_string());
        assert_eq!(parsed.as_deref().map_err(String::as_str), shown, "{text}");
    }
}

#[test]
fn instants_parse_to_the_nanosecond() {
    for (text, ns) in [
        ("1970-01-01T00:00:00Z", Some(0)),
        ("2026-11-23T11:02:00.5Z", Some(1_795_431_720_500_000_000)),
        ("2026-11-23T12:02:00+01:00", Some(1_795_431_720_000_000_000)),
        ("2026-11-23T11:02:00.123456+0000", Some(1_795_431_720_123_456_000)),
        ("2026-11-23 06:02:00.1234567899-0500", Some(1_795_431_720_123_456_789)),
        ("2024-02-29T00:00:00Z", Some(1_709_164_800_000_000_000)),
        ("2023-02-29T00:00:00Z", None),
        ("2026-11-23T11:02:00", None),
        ("2026-11-23", None),
        ("9999-12-31T00:00:00Z", None),
        ("", None),
    ] {
        assert_eq!(parse_rfc3339_ns(text), ns, "{text}");
    }
}
