//! Both forms of one request become the same lines; what is broken is refused by name.

use super::*;
use crate::proto::{put_bytes, put_double, put_number};

fn message(fields: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, bytes) in fields {
        put_bytes(&mut out, *number, bytes);
    }
    out
}

fn text(value: &str) -> Vec<u8> {
    message(&[(1, value.into())])
}

fn pair(key: &str, value: Vec<u8>) -> Vec<u8> {
    message(&[(1, key.into()), (2, value)])
}

fn fixed64(out: &mut Vec<u8>, field: u8, value: u64) {
    out.push(field << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

fn record() -> Vec<u8> {
    let mut record = Vec::new();
    fixed64(&mut record, 1, 1_795_431_720_000_000_000);
    put_number(&mut record, 2, 17);
    put_bytes(&mut record, 3, b"ERROR");
    put_bytes(&mut record, 5, &text("a line"));
    let mut number = Vec::new();
    put_number(&mut number, 3, 500);
    put_bytes(&mut record, 6, &pair("http.status", number));
    let mut double = Vec::new();
    put_double(&mut double, 4, 0.5);
    let list = message(&[(1, text("x")), (1, double)]);
    put_bytes(&mut record, 6, &pair("list", message(&[(5, list)])));
    let nested = message(&[(1, pair("a.b", text("c")))]);
    put_bytes(&mut record, 6, &pair("nested", message(&[(6, nested)])));
    put_bytes(&mut record, 6, &pair("raw", message(&[(7, vec![1, 2])])));
    record.extend_from_slice(&[8 << 3 | 5, 1, 0, 0, 0]);
    put_bytes(&mut record, 9, &[0xab; 16]);
    put_bytes(&mut record, 10, &[0; 8]);
    record
}

#[test]
fn both_forms_become_the_same_lines() {
    let resource = message(&[(1, pair("service.name", text("s"))), (1, pair("_host", text("h1")))]);
    let scope = message(&[(1, "sc".into()), (3, pair("k", text("v")))]);
    let scope_logs = message(&[(1, scope), (2, record())]);
    let body = message(&[(1, message(&[(1, resource), (2, scope_logs)]))]);
    let json = br#"{"resourceLogs":[{"resource":{"attributes":[
        {"key":"service.name","value":{"stringValue":"s"}},
        {"key":"_host","value":{"stringValue":"h1"}}]},
        "scopeLogs":[{"scope":{"name":"sc","attributes":[{"key":"k","value":{"stringValue":"v"}}]},
        "logRecords":[{"timeUnixNano":"1795431720000000000","severityNumber":"SEVERITY_NUMBER_ERROR",
        "severityText":"ERROR","body":{"stringValue":"a line"},"flags":1,
        "traceId":"ABABABABABABABABABABABABABABABAB","spanId":"0000000000000000","attributes":[
        {"key":"http.status","value":{"intValue":"500"}},
        {"key":"list","value":{"arrayValue":{"values":[{"stringValue":"x"},{"doubleValue":0.5}]}}},
        {"key":"nested","value":{"kvlistValue":{"values":[{"key":"a.b","value":{"stringValue":"c"}}]}}},
        {"key":"raw","value":{"bytesValue":"AQI="}}]}]}]}]}"#;
    let proto = decode("application/x-protobuf", &body, 1).unwrap();
    assert_eq!(decode("application/json; charset=utf-8", json, 1).unwrap(), proto);
    let [stream] = proto.streams.as_slice() else { panic!("{proto:?}") };
    assert_eq!(stream.labels.to_string(), r#"{service_name="s"}"#);
    let [entry] = stream.entries.as_slice() else { panic!("{stream:?}") };
    assert_eq!((entry.ts_ns, entry.line.as_slice()), (1_795_431_720_000_000_000, &b"a line"[..]));
    assert_eq!(
        entry.metadata.to_string(),
        r#"{detected_level="error", flags="1", http_status="500", k="v", key_host="h1", list="[\"x\",0.5]", nested_a_b="c", raw="AQI=", scope_name="sc", severity_number="17", severity_text="ERROR", trace_id="abababababababababababababababab"}"#
    );
}

#[test]
fn records_without_an_instant_or_a_text_are_stored_all_the_same() {
    let body = br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[
        {"body":{"kvlistValue":{"values":[{"key":"b","value":{"boolValue":true}},{"key":"a","value":{}}]}}},
        {"observedTimeUnixNano":5}]}]}]}"#;
    let request = decode("application/json", body, 7).unwrap();
    let [stream] = request.streams.as_slice() else { panic!("{request:?}") };
    assert_eq!(stream.labels.to_string(), r#"{service_name="unknown_service"}"#);
    let lines: Vec<_> = stream.entries.iter().map(|one| (one.ts_ns, one.line.clone())).collect();
    assert_eq!(lines, [(7, br#"{"a":null,"b":true}"#.to_vec()), (5, Vec::new())]);
    assert_eq!(decode("application/json", b"{}", 7).unwrap(), PushRequest::default());
}

#[test]
fn what_is_broken_is_refused_by_name() {
    let mut deep = text("x");
    for _ in 0..100 {
        deep = message(&[(5, message(&[(1, deep)]))]);
    }
    let logs = message(&[(2, message(&[(5, deep)]))]);
    let deep = message(&[(1, message(&[(2, logs)]))]);
    for (kind, body, words) in [
        ("text/plain", &b"{}"[..], "content type: text/plain is not supported"),
        ("application/json", b"[", "ReadObject: "),
        (
            "application/json",
            br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"flags":"x"}]}]}]}"#,
            "\"x\" is not an integer",
        ),
        ("application/x-protobuf", b"\x0a\x05x", "proto: PushRequest: unexpected EOF at byte 2"),
        ("application/x-protobuf", &deep, "a value is nested deeper than 32"),
    ] {
        let error = decode(kind, body, 1).unwrap_err();
        assert!(error.to_string().starts_with(words), "{error}");
        assert_eq!(error.status(), 400);
    }
}
