//! Start timestamps of remote write 2.0 and OTLP, stored where `st-storage` is on and asked for in PromQL.

use crate::support::{House, encode};
use serde_json::{Value, json};
use vigie_codec::compression::pack_snappy;
use vigie_codec::remote_write::{WireSeries, encode_v1, encode_v2};
use vigie_http::Settings;
use vigie_http::state::now_ms;

const TYPE_V2: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";

/// A counter that is scraped every 10 s and began anew between the third and the fourth sample: its
/// values alone do not tell.
fn hits(now_ms: i64) -> [WireSeries; 2] {
    let labels = [("__name__", "hits"), ("job", "x")];
    let part = |start_ms, samples: &[(i64, f64)]| WireSeries {
        labels: labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
        samples: samples.iter().map(|(ago_s, value)| (now_ms - ago_s * 1000, *value)).collect(),
        start_ms,
        ..WireSeries::default()
    };
    [
        part(now_ms - 100_000, &[(50, 10.0), (40, 20.0), (30, 30.0)]),
        part(now_ms - 25_000, &[(20, 40.0), (10, 50.0), (0, 60.0)]),
    ]
}

async fn value(house: &House, query: &str, ts_ms: i64) -> String {
    let path = format!("/api/v1/query?query={}&time={}", encode(query), ts_ms as f64 / 1000.0);
    let answer = house.get(&path).await.json();
    assert_eq!(answer["status"], "success", "{answer}");
    answer["data"]["result"][0]["value"][1].as_str().unwrap_or("nothing").to_owned()
}

#[tokio::test]
async fn remote_write_2_brings_starts_and_increase_knows_that_a_counter_began_anew() {
    let now = now_ms() / 1000 * 1000;
    let started = ((now - 25_000) as f64 / 1000.0).to_string();
    for (is_on, is_v2, start) in
        [(true, true, started.as_str()), (true, false, "nothing"), (false, true, "nothing")]
    {
        let house = match is_on {
            true => House::with_starts(Settings::default()),
            false => House::new(),
        };
        let (kind, body) = match is_v2 {
            true => (TYPE_V2, encode_v2(&hits(now))),
            false => ("application/x-protobuf", encode_v1(&hits(now))),
        };
        let body = pack_snappy(&body).unwrap();
        let answer = house.send("POST", "/api/v1/write", &[("content-type", kind)], body).await;
        assert_eq!(answer.status, 204, "{}", answer.body);
        assert_eq!(value(&house, "start_timestamp(hits)", now).await, start);
        assert_eq!(value(&house, "count({job=\"x\"})", now).await, "1", "no companion is seen");
        // 50 by the values; with the start known 40 begin from nothing.
        let increase: f64 = value(&house, "increase(hits[1m])", now).await.parse().unwrap();
        assert_eq!(increase > 70.0, start != "nothing", "{increase}");
        let names = house.get("/api/v1/labels").await.json();
        assert_eq!(names["data"], json!(["__name__", "job"]));
        let series = house.get("/api/v1/series?match[]=%7Bjob%3D%22x%22%7D").await.json();
        assert_eq!(series["data"].as_array().unwrap().len(), 1, "{series}");
        let features = house.get("/api/v1/features").await.json();
        assert_eq!(features["data"]["tsdb"]["st_storage"], is_on);
    }
}

#[tokio::test]
async fn points_of_opentelemetry_bring_theirs() {
    let now = now_ms() / 1000 * 1000;
    let ns = |ms: i64| (ms * 1_000_000).to_string();
    let point = |value: Value| {
        let mut point = json!({"timeUnixNano": ns(now), "startTimeUnixNano": ns(now - 9_000)});
        point.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
        point
    };
    let buckets = json!({"offset": 0, "bucketCounts": ["4"]});
    let classic =
        json!({"count": "3", "sum": 4.0, "bucketCounts": ["1", "2"], "explicitBounds": [0.5]});
    let native = json!({"count": "4", "sum": 8.0, "scale": 0, "positive": buckets});
    let body = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [
        {"name": "hits", "sum": {"aggregationTemporality": 2, "isMonotonic": true,
            "dataPoints": [point(json!({"asInt": "5"}))]}},
        {"name": "lat", "histogram": {"aggregationTemporality": 2, "dataPoints": [point(classic)]}},
        {"name": "size", "exponentialHistogram": {"aggregationTemporality": 2,
            "dataPoints": [point(native)]}},
    ]}]}]});
    let house = House::with_starts(Settings { otlp: true, ..Settings::default() });
    let json_type = [("content-type", "application/json")];
    let path = "/api/v1/otlp/v1/metrics";
    let answer = house.send("POST", path, &json_type, body.to_string().into_bytes()).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    let start = ((now - 9_000) as f64 / 1000.0).to_string();
    for selector in ["hits_total", "lat_count", "lat_sum", "lat_bucket{le=\"+Inf\"}", "size"] {
        let query = format!("start_timestamp({selector})");
        assert_eq!(value(&house, &query, now).await, start, "{selector}");
    }
}
