//! Documents as lines: which member becomes what, and what is refused alone.

use super::*;

fn how(stream_fields: &[&str], message_fields: &[&str]) -> Documents {
    let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    Documents {
        stream_fields: owned(stream_fields),
        time_fields: owned(&["@timestamp", "time"]),
        message_fields: owned(message_fields),
        labels: Vec::new(),
        now_ns: 9,
    }
}

fn told(request: &PushRequest) -> Vec<String> {
    let line = |stream: &PushStream, entry: &LogEntry| {
        let text = String::from_utf8_lossy(&entry.line);
        format!("{} {} {text} {}", stream.labels, entry.ts_ns, entry.metadata)
    };
    let lines = |stream: &PushStream| {
        stream.entries.iter().map(|entry| line(stream, entry)).collect::<Vec<_>>()
    };
    request.streams.iter().flat_map(lines).collect()
}

#[test]
fn a_document_is_the_line_or_holds_it() {
    let body = b"{\"@timestamp\":\"1970-01-01T00:00:01Z\",\"message\":\"an error\",\"host\":{\"name\":\"h\",\"n\":1}}\n\n{\"time\":2000000000000}\r\n";
    let whole = decode_lines(body, &how(&["host.name"], &[])).unwrap();
    assert_eq!(
        told(&whole),
        [
            r#"{host_name="h", service_name="unknown_service"} 1000000000 {"@timestamp":"1970-01-01T00:00:01Z","message":"an error","host":{"name":"h","n":1}} {detected_level="error"}"#,
            r#"{job="json", service_name="json"} 2000000000000000000 {"time":2000000000000} {detected_level="unknown"}"#,
        ]
    );
    let told_apart = decode_lines(body, &how(&["host.name"], &["message"])).unwrap();
    assert_eq!(
        told(&told_apart)[0],
        r#"{host_name="h", service_name="unknown_service"} 1000000000 an error {detected_level="error", host_n="1"}"#
    );
}

#[test]
fn a_bulk_is_taken_document_by_document() {
    let body = br#"{"create":{"_index":"logs"}}
{"message":"one"}
{"index":{}}
{"message":"two"}
{"delete":{"_id":"1"}}
{"update":{"_id":"1"}}
{"doc":{}}
{"create":{}}
[1]
"#;
    let bulk = decode_bulk(body, "mine", &how(&[], &[])).unwrap();
    let verbs: Vec<_> = bulk
        .actions
        .iter()
        .map(|one| (one.verb.as_str(), one.index.as_str(), one.refusal.is_some()))
        .collect();
    assert_eq!(
        verbs,
        [
            ("create", "logs", false),
            ("index", "mine", false),
            ("delete", "mine", true),
            ("update", "mine", true),
            ("create", "mine", true)
        ]
    );
    assert_eq!(told(&bulk.request.unwrap()).len(), 2);
    assert!(decode_bulk(b"{\"delete\":{}}\n", "i", &how(&[], &[])).unwrap().request.is_none());
    assert!(decode_bulk(b"x\n{}\n", "i", &how(&[], &[])).is_err());
}

#[test]
fn what_is_no_document_is_named_by_its_line() {
    let error = decode_lines(b"{}\nx", &how(&[], &[])).unwrap_err();
    assert!(error.to_string().starts_with("line 2: expected value"), "{error}");
    assert_eq!(decode_lines(b"\n", &how(&[], &[])).unwrap_err().status(), 422);
}

#[test]
fn instants_are_told_apart_by_their_size() {
    for (text, ns) in [
        ("1700000000", Some(1_700_000_000_000_000_000)),
        ("1700000000.5", Some(1_700_000_000_500_000_000)),
        ("1700000000123", Some(1_700_000_000_123_000_000)),
        ("1700000000123456", Some(1_700_000_000_123_456_000)),
        ("1700000000123456789", Some(1_700_000_000_123_456_789)),
        ("\"1700000000\"", Some(1_700_000_000_000_000_000)),
        ("\"yesterday\"", None),
        ("null", None),
    ] {
        assert_eq!(instant_ns(&serde_json::from_str(text).unwrap()), ns, "{text}");
    }
}
