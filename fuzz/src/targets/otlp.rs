//! OpenTelemetry's metrics: whatever comes is translated within its limits, and what comes out holds
//! together.

use super::seeds;
use crate::Target;
use vigie_codec::otlp_metrics::{Promote, Settings, Strategy, decode};

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target {
            name: "otlp_metrics_proto",
            run: |data| translate("application/x-protobuf", data),
            seeds: || vec![request(), exponential()],
        },
        Target {
            name: "otlp_metrics_json",
            run: |data| translate("application/json", data),
            seeds: || seeds(&[JSON]),
        },
    ]
}

/// A request with every kind of metric.
const JSON: &str = r#"{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"s"}},{"key":"a.b","value":{"intValue":"1"}}]},"scopeMetrics":[{"scope":{"name":"l"},"metrics":[{"name":"c.d","unit":"By/s","sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{"timeUnixNano":"1000000","asInt":"3","exemplars":[{"asDouble":1.5,"traceId":"01"}]}]}},{"name":"h","histogram":{"aggregationTemporality":2,"dataPoints":[{"count":"3","sum":4,"bucketCounts":["1","2"],"explicitBounds":[1.5]}]}},{"name":"e","exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[{"count":4,"scale":11,"zeroCount":"1","positive":{"offset":-1,"bucketCounts":["1","0","2"]}}]}},{"name":"s","summary":{"dataPoints":[{"count":"1","sum":2,"quantileValues":[{"quantile":0.5,"value":2}]}]}},{"name":"g","unit":"1","gauge":{"dataPoints":[{"asDouble":"Infinity","flags":1}]}}]}]}]}"#;

fn translate(kind: &str, data: &[u8]) {
    let defaults = Settings::default();
    let other = Settings {
        strategy: Strategy::NoTranslation,
        promote: Promote::AllBut(Default::default()),
        keep_identifying: true,
        histograms_to_nhcb: true,
        promote_scope: true,
        allow_delta: true,
        type_and_unit_labels: true,
        ..Settings::default()
    };
    for settings in [&defaults, &other] {
        let Ok(out) = decode(kind, data, settings) else { continue };
        let count = out.series.len();
        assert_eq!(out.keys(7).len(), count);
        assert!(out.series.iter().all(|labels| labels.metric_name().is_some()));
        assert!(out.samples.iter().all(|one| (one.series as usize) < count));
        assert!(out.exemplars.iter().all(|one| (one.series as usize) < count));
        for one in &out.histograms {
            assert!((one.series as usize) < count);
            // Wrong bounds and too many buckets are the store's to refuse; spans are ours.
            if let Err(words) = one.histogram.validate() {
                assert!(!words.contains("spans"), "{words}");
            }
        }
    }
}

/// A field that holds a message.
fn field(number: u8, inner: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2, u8::try_from(inner.len()).unwrap_or(0)];
    out.extend_from_slice(inner);
    out
}

/// A field of eight bytes.
fn eight(number: u8, value: u64) -> Vec<u8> {
    let mut out = vec![number << 3 | 1];
    out.extend_from_slice(&value.to_le_bytes());
    out
}

fn of_metric(data: u8, point: Vec<u8>) -> Vec<u8> {
    // A temporality that is cumulative, behind the point.
    let data = field(data, &[field(1, &point), vec![0x10, 2]].concat());
    let metric = [field(1, b"m.n"), field(3, b"ms"), data].concat();
    let attribute = field(1, &[field(1, b"service.name"), field(2, &field(1, b"x"))].concat());
    field(1, &[field(1, &attribute), field(2, &field(2, &metric))].concat())
}

fn request() -> Vec<u8> {
    let exemplar = field(5, &[eight(2, 1), eight(3, 1), field(5, &[1; 16])].concat());
    of_metric(7, [eight(3, 1_000_000), eight(6, 5), exemplar].concat())
}

fn exponential() -> Vec<u8> {
    // Scale 9, buckets from −2 on.
    let buckets = field(8, &[vec![0x08, 3], field(2, &[1, 0, 0, 0, 5])].concat());
    of_metric(10, [eight(3, 1_000_000), eight(4, 6), vec![0x30, 18], buckets].concat())
}
