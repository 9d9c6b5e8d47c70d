//! OpenTelemetry's collector and SDKs at Prometheus' address.

use crate::support::{Answer, House, encode};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use std::io::Write;
use vigie_codec::otlp_metrics::{Promote, Settings as Otlp};
use vigie_http::state::now_ms;
use vigie_http::{Loaded, Settings};

const PATH: &str = "/api/v1/otlp/v1/metrics";

fn open(otlp: Otlp) -> House {
    let settings = Settings { otlp: true, ..Settings::default() };
    House::told(settings, Loaded { otlp, ..Loaded::default() })
}

fn request(metrics: Value) -> Vec<u8> {
    let attribute = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let body = json!({"resourceMetrics": [{
        "resource": {"attributes": [
            attribute("service.name", "api"),
            attribute("service.instance.id", "h:1"),
            attribute("host.name", "box"),
        ]},
        "scopeMetrics": [{"metrics": metrics}],
    }]});
    body.to_string().into_bytes()
}

/// A sum, a histogram and an exponential one.
fn metrics(now_ms: i64, temporality: u8) -> Value {
    let at = (now_ms * 1_000_000).to_string();
    json!([
        {"name": "http.requests", "unit": "1", "description": "How many.", "sum": {
            "aggregationTemporality": temporality, "isMonotonic": true,
            "dataPoints": [{"timeUnixNano": at, "asInt": "5", "exemplars": [
                {"timeUnixNano": at, "asDouble": 1.0, "traceId": "0123456789abcdef0123456789abcdef"}]}]}},
        {"name": "latency", "unit": "s", "histogram": {
            "aggregationTemporality": temporality,
            "dataPoints": [{"timeUnixNano": at, "count": "3", "sum": 4.0,
                "bucketCounts": ["1", "2"], "explicitBounds": [0.5]}]}},
        {"name": "size", "unit": "By", "exponentialHistogram": {
            "aggregationTemporality": temporality,
            "dataPoints": [{"timeUnixNano": at, "count": "4", "sum": 8.0, "scale": 0,
                "positive": {"offset": 0, "bucketCounts": ["4"]}}]}},
    ])
}

async fn push(house: &House, body: Vec<u8>, encoding: &str) -> Answer {
    let headers = [("content-type", "application/json"), ("content-encoding", encoding)];
    house.send("POST", PATH, &headers, body).await
}

async fn value(house: &House, query: &str) -> String {
    let answer = house.get(&format!("/api/v1/query?query={}", encode(query))).await.json();
    answer["data"]["result"][0]["value"][1].as_str().unwrap_or("nothing").to_owned()
}

#[tokio::test]
async fn metrics_are_taken_where_it_is_allowed_and_can_be_asked_for() {
    let now = now_ms();
    let body = request(metrics(now, 2));
    let shut = House::new();
    let answer = push(&shut, body.clone(), "").await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (404, "otlp write receiver needs to be enabled with --web.enable-otlp-receiver\n")
    );
    let house = open(Otlp::default());
    assert_eq!(house.get(PATH).await.status, 405);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&body).unwrap();
    let answer = push(&house, gzip.finish().unwrap(), "gzip").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    for (query, wanted) in [
        (r#"http_requests_total{job="api",instance="h:1"}"#, "5"),
        (r#"latency_seconds_bucket{le="0.5"}"#, "1"),
        (r#"latency_seconds_bucket{le="+Inf"}"#, "3"),
        ("histogram_count(size_bytes)", "4"),
        ("histogram_sum(size_bytes)", "8"),
        (r#"target_info{job="api",host_name="box"}"#, "1"),
        (
            "count by (host_name) (http_requests_total * on (job, instance) group_left (host_name) target_info)",
            "1",
        ),
    ] {
        assert_eq!(value(&house, query).await, wanted, "{query}");
    }
    let range = format!("start={}&end={}", now / 1000 - 60, now / 1000 + 60);
    let path = format!("/api/v1/query_exemplars?query=http_requests_total&{range}");
    let exemplars = house.get(&path).await.json();
    assert_eq!(
        exemplars["data"][0]["exemplars"][0]["labels"]["trace_id"],
        "0123456789abcdef0123456789abcdef"
    );
    let said = house.get("/api/v1/metadata?metric=http_requests_total").await.json();
    assert_eq!(
        said["data"]["http_requests_total"],
        json!([{"type": "counter", "unit": "", "help": "How many."}])
    );
    let features = house.get("/api/v1/features").await.json();
    assert_eq!(features["data"]["api"]["otlp_write_receiver"], true);
    // Twice is once.
    assert_eq!(push(&house, body, "identity").await.status, 200);
}

#[tokio::test]
async fn the_configuration_says_what_becomes_of_names_and_histograms() {
    let promoted = Otlp {
        promote: Promote::Only(["host.name".to_owned()].into()),
        histograms_to_nhcb: true,
        allow_delta: true,
        ..Otlp::default()
    };
    let house = open(promoted);
    assert_eq!(push(&house, request(metrics(now_ms(), 1)), "").await.status, 200);
    assert_eq!(value(&house, r#"http_requests_total{host_name="box"}"#).await, "5");
    assert_eq!(value(&house, "histogram_count(latency_seconds)").await, "3");
    assert_eq!(value(&house, "latency_seconds_count").await, "nothing");
    // What is read anew counts for the next push.
    house.loading.replace(Loaded::default(), 0);
    let answer = push(&house, request(metrics(now_ms(), 1)), "").await;
    let words: Vec<&str> = answer.body.lines().collect();
    assert_eq!((answer.status, words.len()), (500, 3), "{words:?}");
    assert_eq!(words[0], "invalid temporality and type combination for metric \"http.requests\"");
}

#[tokio::test]
async fn what_is_wrong_is_refused_in_upstreams_words() {
    let house = open(Otlp::default());
    let body = request(metrics(now_ms(), 2));
    for (kind, encoding, body, status, words) in [
        (
            "text/plain",
            "",
            body.clone(),
            400,
            "unsupported content type: text/plain, supported: [application/json, application/x-protobuf]\n",
        ),
        (
            "application/json",
            "br",
            body.clone(),
            400,
            "unsupported compression: br. Only \"gzip\" or no compression supported\n",
        ),
        ("application/x-protobuf", "", vec![0x0a, 0x02], 400, "proto: unexpected EOF at byte 2\n"),
        ("application/json", "gzip", body, 400, "gzip: invalid gzip header\n"),
    ] {
        let headers = [("content-type", kind), ("content-encoding", encoding)];
        let answer = house.send("POST", PATH, &headers, body).await;
        assert_eq!((answer.status, answer.body.as_str()), (status, words));
    }
    assert_eq!(value(&house, "count({__name__=~\".+\"})").await, "nothing");
    // Another value for an instant that has one; the rest is stored.
    let now = now_ms();
    assert_eq!(push(&house, request(metrics(now, 2)), "").await.status, 200);
    let mut twice = metrics(now, 2);
    twice[0]["sum"]["dataPoints"][0]["asInt"] = json!("6");
    twice[1]["name"] = json!("other");
    let answer = push(&house, request(twice), "").await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("duplicate sample for timestamp"), "{}", answer.body);
    assert_eq!(value(&house, "other_seconds_count").await, "3");
    assert_eq!(value(&house, "http_requests_total").await, "5");
}
