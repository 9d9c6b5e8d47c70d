//! What Prometheus and its kin send to `/api/v1/write`, and what they look for in the answer.

use super::support::House;
use vigie_codec::compression::pack_snappy;
use vigie_codec::remote_write::{WireSeries, encode_v1, encode_v2};
use vigie_model::Histogram;
use vigie_model::histogram::{Counts, ResetHint, Span};

const NOW_MS: i64 = 1_700_000_000_000;
const TYPE_V2: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";

fn series(name: &str, job: &str, samples: &[(i64, f64)]) -> WireSeries {
    let labels = [("__name__", name), ("job", job)];
    WireSeries {
        labels: labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
        samples: samples.to_vec(),
        ..WireSeries::default()
    }
}

#[tokio::test]
async fn what_is_pushed_is_there_when_the_answer_comes() {
    let house = House::new();
    let pushed = [
        series("a", "x", &[(NOW_MS, 1.5), (NOW_MS + 1000, 2.5)]),
        series("b", "x", &[(NOW_MS, 3.0)]),
    ];
    let v1 = pack_snappy(&encode_v1(&pushed)).unwrap();
    let answer = house
        .send(
            "POST",
            "/api/v1/write",
            &[("content-encoding", "snappy"), ("content-type", "application/x-protobuf")],
            v1.clone(),
        )
        .await;
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    // The same again changes nothing, in either protocol and either compression.
    let zstd = zstd::encode_all(&encode_v2(&pushed)[..], 1).unwrap();
    let answer = house
        .send(
            "POST",
            "/api/v1/write",
            &[("content-encoding", "zstd"), ("content-type", TYPE_V2)],
            zstd,
        )
        .await;
    assert_eq!(answer.status, 204, "{}", answer.body);
    for (header, count) in [("samples", "3"), ("histograms", "0"), ("exemplars", "0")] {
        let name = format!("x-prometheus-remote-write-{header}-written");
        assert_eq!(
            answer.headers.get(&name).map(|value| value.to_str().unwrap()),
            Some(count),
            "{name}"
        );
    }
    let found = house
        .get(&format!("/api/v1/query?query=a%7Bjob=%22x%22%7D&time={}", NOW_MS / 1000 + 1))
        .await;
    assert!(found.body.contains(r#""value":[1700000001,"2.5"]"#), "{}", found.body);
}

#[tokio::test]
async fn what_is_refused_is_named_and_the_rest_is_kept() {
    let house = House::new();
    let first = [series("a", "x", &[(NOW_MS, 1.0)])];
    let body = pack_snappy(&encode_v1(&first)).unwrap();
    assert_eq!(house.send("POST", "/api/v1/write", &[], body).await.status, 204);
    let mut nameless = series("", "x", &[(NOW_MS, 1.0)]);
    nameless.labels.remove(0);
    let second = [series("a", "x", &[(NOW_MS, 2.0)]), nameless, series("c", "x", &[(NOW_MS, 7.0)])];
    let body = pack_snappy(&encode_v2(&second)).unwrap();
    let answer = house.send("POST", "/api/v1/write", &[("content-type", TYPE_V2)], body).await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("duplicate sample for timestamp"), "{}", answer.body);
    assert!(
        answer.body.contains("invalid metric name or labels, got {job=\"x\"}"),
        "{}",
        answer.body
    );
    assert_eq!(answer.headers["x-prometheus-remote-write-samples-written"], "1");
    let found = house.get(&format!("/api/v1/query?query=c&time={}", NOW_MS / 1000)).await;
    assert!(found.body.contains(r#""7""#), "{}", found.body);
}

#[tokio::test]
async fn what_is_not_a_request_gets_one_clear_sentence() {
    let house = House::new();
    for (headers, body, status, words) in [
        (
            vec![("content-type", "text/plain")],
            b"x".to_vec(),
            415,
            "expected application/x-protobuf as the first",
        ),
        (
            vec![("content-encoding", "br")],
            b"x".to_vec(),
            415,
            "br encoding (compression) is not accepted by this server",
        ),
        (vec![], b"\xff".to_vec(), 400, "snappy: corrupt input"),
        (vec![("content-encoding", "zstd")], b"\xff".to_vec(), 400, "zstd: corrupt input"),
        (vec![], pack_snappy(b"\x0a\x05").unwrap(), 400, "proto: unexpected EOF at byte 2"),
        (
            vec![],
            vec![0xff, 0xff, 0xff, 0xff, 0x0f],
            413,
            "request body too large after decompression",
        ),
    ] {
        let answer = house.send("POST", "/api/v1/write", &headers, body).await;
        assert_eq!(answer.status, status, "{}", answer.body);
        assert!(answer.body.starts_with(words) && answer.body.ends_with('\n'), "{}", answer.body);
    }
}

/// Histograms are stored and counted; one that does not fit together takes nothing with it: neither
/// the floats of its request nor the good histograms of its series.
#[tokio::test]
async fn native_histograms_are_stored_and_counted() {
    let histogram = |length| Histogram {
        reset_hint: ResetHint::Unknown,
        schema: 0,
        zero_threshold: 0.0,
        sum: 2.5,
        counts: Counts::Integer { count: 3, zero_count: 0, positive: vec![1, 1], negative: vec![] },
        positive_spans: vec![Span { offset: 0, length }],
        negative_spans: vec![],
        custom_values: vec![],
    };
    for (encode, headers) in [
        (encode_v1 as fn(&[WireSeries]) -> Vec<u8>, vec![]),
        (encode_v2, vec![("content-type", TYPE_V2)]),
    ] {
        let house = House::new();
        let mut mixed = series("h", "x", &[(NOW_MS, 5.0)]);
        mixed.histograms = vec![(NOW_MS + 1000, histogram(2)), (NOW_MS + 2000, histogram(2))];
        let good = [mixed, series("a", "x", &[(NOW_MS, 7.0)])];
        let mut bad = good.clone();
        bad[0].histograms.push((NOW_MS + 3000, histogram(3)));
        // Sent again, they are there already; that is no reason to refuse them.
        for (sent, status, words) in
            [(&good, 204, ""), (&good, 204, ""), (&bad, 400, "positive side: spans need 3 buckets")]
        {
            let body = pack_snappy(&encode(sent)).unwrap();
            let answer = house.send("POST", "/api/v1/write", &headers, body).await;
            assert_eq!(answer.status, status, "{}", answer.body);
            assert!(answer.body.starts_with(words), "{}", answer.body);
            if !headers.is_empty() {
                let written =
                    |kind| &answer.headers[format!("x-prometheus-remote-write-{kind}-written")];
                assert_eq!(
                    (written("samples"), written("histograms")),
                    (&"2".parse().unwrap(), &"2".parse().unwrap())
                );
            }
        }
        for (name, value) in [("h", "5"), ("a", "7")] {
            let path = format!("/api/v1/query?query={name}&time={}", NOW_MS / 1000);
            let found = house.get(&path).await.body;
            assert!(found.contains(&format!("\"{value}\"")), "{name}: {found}");
        }
    }
}

#[tokio::test]
async fn exemplars_that_are_pushed_are_found_by_query() {
    let house = House::new();
    let trace = |id: &str| vec![("trace_id".to_owned(), id.to_owned())];
    let mut one = series("lat_bucket", "x", &[(NOW_MS, 1.0)]);
    one.exemplars = vec![
        (trace("a"), 0.25, NOW_MS),
        (trace("b"), 0.5, NOW_MS + 1500),
        // Out of order: passed over, and no reason to refuse the push.
        (trace("c"), 0.5, NOW_MS - 1),
    ];
    let pushed = [one, series("other", "x", &[(NOW_MS, 1.0)])];
    let body = zstd::encode_all(&encode_v2(&pushed)[..], 1).unwrap();
    let headers = [("content-encoding", "zstd"), ("content-type", TYPE_V2)];
    let answer = house.send("POST", "/api/v1/write", &headers, body).await;
    assert_eq!(answer.status, 204, "{}", answer.body);
    let written = answer.headers.get("x-prometheus-remote-write-exemplars-written").unwrap();
    assert_eq!(written, "2");
    let start = NOW_MS / 1000;
    let ask = |query: &str, end: i64| {
        format!("/api/v1/query_exemplars?query={query}&start={start}&end={end}")
    };
    let found = house.get(&ask("rate(lat_bucket%5B5m%5D)%2Bother", start + 2)).await;
    assert_eq!(
        found.body,
        concat!(
            r#"{"status":"success","data":[{"seriesLabels":{"__name__":"lat_bucket","job":"x"},"#,
            r#""exemplars":[{"labels":{"trace_id":"a"},"value":"0.25","timestamp":1700000000},"#,
            r#"{"labels":{"trace_id":"b"},"value":"0.5","timestamp":1700000001.500}]}]}"#
        )
    );
    let found = house.get(&ask("lat_bucket", start)).await;
    assert!(found.body.contains("\"a\"") && !found.body.contains("\"b\""), "{}", found.body);
    let found = house.get(&ask("lat_bucket", start - 1)).await;
    assert_eq!(found.status, 400, "{}", found.body);
}

/// A remote read request for `job="x"`, not compressed.
fn read_request(accepted: &[u8]) -> Vec<u8> {
    let matcher = [&[0x12, 3][..], b"job", &[0x1a, 1], b"x"].concat();
    let mut query = vec![0x08];
    varint(&mut query, (NOW_MS - 1000) as u64);
    query.push(0x10);
    varint(&mut query, (NOW_MS + 10_000_000) as u64);
    query.extend([&[0x1a, matcher.len() as u8][..], &matcher].concat());
    let mut request = [&[0x0a, query.len() as u8][..], &query].concat();
    if !accepted.is_empty() {
        request.extend([&[0x12, accepted.len() as u8][..], accepted].concat());
    }
    request
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[tokio::test]
async fn another_prometheus_reads_samples_or_frames_of_chunks() {
    let house = House::new();
    let many: Vec<(i64, f64)> = (0..500).map(|n| (NOW_MS + n * 1000, n as f64)).collect();
    let pushed =
        [series("a", "x", &many), series("b", "x", &[(NOW_MS, 3.0)]), series("c", "y", &many)];
    let body = pack_snappy(&encode_v1(&pushed)).unwrap();
    assert_eq!(
        house.send("POST", "/api/v1/write", &[("content-encoding", "snappy")], body).await.status,
        204
    );
    let ask = |accepted: &[u8]| pack_snappy(&read_request(accepted)).unwrap();
    for accepted in [&[][..], &[0], &[0, 1]] {
        let answer = house.send("POST", "/api/v1/read", &[], ask(accepted)).await;
        assert_eq!(
            (answer.status, answer.header("content-encoding")),
            (200, "snappy"),
            "{}",
            answer.body
        );
        let body = snap::raw::Decoder::new().decompress_vec(&answer.bytes).unwrap();
        // The same bytes as a write request of the two series, one level deeper.
        let wanted = encode_v1(&[series("a", "x", &many), series("b", "x", &[(NOW_MS, 3.0)])]);
        assert!(body.ends_with(&wanted), "{} bytes, wanted {}", body.len(), wanted.len());
    }
    let answer = house.send("POST", "/api/v1/read", &[], ask(&[1, 0])).await;
    let kind = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";
    assert_eq!((answer.status, answer.header("content-type")), (200, kind));
    let (mut at, mut frames) = (0, 0);
    while at < answer.bytes.len() {
        let (mut len, mut shift) = (0, 0);
        loop {
            let byte = answer.bytes[at];
            at += 1;
            len |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                break;
            }
        }
        at += 4 + len;
        frames += 1;
    }
    assert_eq!((at, frames), (answer.bytes.len(), 2), "a frame for each series");
    let answer = house.send("POST", "/api/v1/read", &[], b"no snappy".to_vec()).await;
    assert_eq!(answer.status, 400, "{}", answer.body);
}
