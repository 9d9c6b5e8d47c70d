//! Another server scrapes native histograms: in protobuf where it accepts that, and those with custom
//! buckets as classic ones in both forms.

use crate::support::House;
use serde_json::json;
use vigie_codec::exposition::protobuf::{Page, Wants};
use vigie_codec::otlp_metrics::Settings as Otlp;
use vigie_http::state::now_ms;
use vigie_http::{Loaded, Settings};
use vigie_model::Labels;
use vigie_model::histogram::{Counts, Span};

const PROTOBUF: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// A house with a float, a native histogram and one with custom buckets.
async fn house(at_ms: i64) -> House {
    let otlp = Otlp { histograms_to_nhcb: true, ..Otlp::default() };
    let external_labels = Labels::from_pairs([("site", "paris")]);
    let loaded = Loaded { otlp, external_labels, ..Loaded::default() };
    let house = House::told(Settings { otlp: true, ..Settings::default() }, loaded);
    let at = (at_ms * 1_000_000).to_string();
    let body = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [
        {"name": "a.float", "gauge": {"dataPoints": [{"timeUnixNano": at, "asDouble": 2.5}]}},
        {"name": "custom", "histogram": {"aggregationTemporality": 2, "dataPoints": [
            {"timeUnixNano": at, "count": "6", "sum": 7.5,
             "bucketCounts": ["1", "0", "3", "2"], "explicitBounds": [0.5, 1, 2]}]}},
        {"name": "native", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [
            {"timeUnixNano": at, "count": "8", "sum": 8.0, "scale": 2, "zeroCount": "1",
             "positive": {"offset": 3, "bucketCounts": ["4", "0", "1"]},
             "negative": {"offset": -1, "bucketCounts": ["2"]}}]}},
    ]}]}]});
    let headers = [("content-type", "application/json")];
    let pushed = house.ask("POST", "/api/v1/otlp/v1/metrics", &headers, &body.to_string()).await;
    assert_eq!(pushed.status, 200, "{}", pushed.body);
    house
}

#[tokio::test]
async fn native_histograms_leave_in_protobuf() {
    let at_ms = now_ms() - 1_000;
    let house = house(at_ms).await;
    let path = "/federate?match[]=%7B__name__=~%22.%2B%22%7D";
    let accept = [("accept", format!("{PROTOBUF};q=0.6,text/plain;q=0.4"))];
    let accept = accept.each_ref().map(|(name, value)| (*name, value.as_str()));
    let answer = house.ask("GET", path, &accept, "").await;
    assert_eq!(answer.content_type(), format!("{PROTOBUF}; escaping=underscores"));
    let page =
        Page::read(&answer.bytes, Wants { native: true, classic_beside: false, starts: false })
            .unwrap();
    let text = String::from_utf8(page.text).unwrap();
    for line in [
        format!("a_float{{instance=\"\",site=\"paris\"}} 2.5 {at_ms}"),
        format!("custom_count{{instance=\"\",site=\"paris\"}} 6 {at_ms}"),
        format!("custom_sum{{instance=\"\",site=\"paris\"}} 7.5 {at_ms}"),
    ] {
        assert!(text.lines().any(|one| one == line), "{line} in {text}");
    }
    for (le, below) in [("0.5", 1), ("1.0", 1), ("2.0", 4), ("+Inf", 6)] {
        let bucket =
            |one: &str| one.starts_with("custom_bucket{") && one.contains(&format!("le=\"{le}\""));
        let line = text.lines().find(|one| bucket(one)).unwrap_or_else(|| panic!("{le} in {text}"));
        assert!(line.ends_with(&format!(" {below} {at_ms}")), "{line}");
    }
    assert_eq!(page.natives.len(), 1);
    let one = &page.natives[0];
    assert_eq!(one.series, b"native{instance=\"\",site=\"paris\"}");
    assert_eq!((one.ts_ms, one.histogram.schema, one.histogram.sum), (Some(at_ms), 2, 8.0));
    let Counts::Float { count, zero_count, positive, negative } = &one.histogram.counts else {
        panic!("{one:?}")
    };
    assert_eq!((*count, *zero_count), (8.0, 1.0));
    assert_eq!((&positive[..], &negative[..]), (&[4.0, 0.0, 1.0][..], &[2.0][..]));
    assert_eq!(one.histogram.positive_spans, [Span { offset: 4, length: 3 }]);
    assert_eq!(one.histogram.negative_spans, [Span { offset: 0, length: 1 }]);
}

#[tokio::test]
async fn text_has_custom_buckets_and_no_other() {
    let at = now_ms() - 1_000;
    let house = house(at).await;
    let text = house.get("/federate?match[]=custom&match[]=native").await.body;
    assert_eq!(
        text,
        format!(
            "# TYPE custom histogram\n\
             custom_bucket{{instance=\"\",site=\"paris\",le=\"0.5\"}} 1 {at}\n\
             custom_bucket{{instance=\"\",site=\"paris\",le=\"1\"}} 1 {at}\n\
             custom_bucket{{instance=\"\",site=\"paris\",le=\"2\"}} 4 {at}\n\
             custom_bucket{{instance=\"\",site=\"paris\",le=\"+Inf\"}} 6 {at}\n\
             custom_sum{{instance=\"\",site=\"paris\"}} 7.5 {at}\n\
             custom_count{{instance=\"\",site=\"paris\"}} 6 {at}\n"
        )
    );
}
