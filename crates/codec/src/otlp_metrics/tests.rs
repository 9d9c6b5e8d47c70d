//! What Prometheus makes of OpenTelemetry's metrics. The expectations come from reading its
//! translator and its library of names; where its own tests say the same, they agree.

use super::testing::{Message, counter, metric, number_point, request};
use super::*;
use vigie_model::histogram::{Counts, Histogram, ResetHint, Span};
use vigie_model::is_stale;
use vigie_model::value::format_value;

const PROTOBUF: &str = "application/x-protobuf";
const SERVICE: [(&str, &str); 4] = [
    ("service.name", "api"),
    ("service.namespace", "shop"),
    ("service.instance.id", "h:1"),
    ("host.name", "box"),
];

fn translated(body: &[u8], settings: &Settings) -> Translated {
    decode(PROTOBUF, body, settings).unwrap()
}

/// The samples as `series instant value`, sorted.
fn lines(translated: &Translated) -> Vec<String> {
    let mut lines: Vec<String> = translated
        .samples
        .iter()
        .map(|sample| {
            let value = match is_stale(sample.value) {
                true => "stale".to_owned(),
                false => format_value(sample.value),
            };
            format!("{} {} {value}", translated.series[sample.series as usize], sample.ts_ms)
        })
        .collect();
    lines.sort();
    lines
}

fn named(strategy: Strategy) -> Namer {
    Namer {
        escapes: strategy.escapes(),
        has_suffixes: strategy.has_suffixes(),
        key_before_underscore: true,
        keep_underscores: true,
    }
}

#[test]
fn names_and_units_are_those_of_the_strategy() {
    use MetricType::{Counter, Gauge, Other};
    let strategies = [
        Strategy::UnderscoreEscapingWithSuffixes,
        Strategy::UnderscoreEscapingWithoutSuffixes,
        Strategy::NoUtf8EscapingWithSuffixes,
        Strategy::NoTranslation,
    ];
    for (name, unit, kind, wanted) in [
        (
            "http.requests",
            "1",
            Counter,
            ["http_requests_total", "http_requests", "http.requests_total", "http.requests"],
        ),
        (
            "system.filesystem.usage",
            "By",
            Other,
            [
                "system_filesystem_usage_bytes",
                "system_filesystem_usage",
                "system.filesystem.usage_bytes",
                "system.filesystem.usage",
            ],
        ),
        (
            "net.io",
            "By/s",
            Gauge,
            ["net_io_bytes_per_second", "net_io", "net.io_bytes_per_second", "net.io"],
        ),
        ("hit", "1", Gauge, ["hit_ratio", "hit", "hit_ratio", "hit"]),
        ("a.total", "", Counter, ["a_total", "a_total", "a_total", "a.total"]),
        (
            "total.things",
            "{thing}",
            Counter,
            ["things_total", "total_things", "total.things_total", "total.things"],
        ),
        (
            "time.seconds",
            "s",
            Counter,
            ["time_seconds_total", "time_seconds", "time.seconds_total", "time.seconds"],
        ),
        ("2xx", "", Other, ["_2xx", "_2xx", "2xx", "2xx"]),
        ("a__b", "", Other, ["a_b", "a__b", "a__b", "a__b"]),
        ("q", "k%/{x}", Other, ["q_k_", "q", "q_k%", "q"]),
        ("w", "/m", Other, ["w_per_minute", "w", "w_per_minute", "w"]),
    ] {
        for (strategy, wanted) in strategies.into_iter().zip(wanted) {
            let made = named(strategy).metric(name, unit, kind);
            assert_eq!(made.as_deref(), Ok(wanted), "{name} {unit} {strategy:?}");
        }
    }
    let strict = named(Strategy::default());
    for (name, words) in [
        ("", "normalization for metric \"\" resulted in empty name"),
        ("!!", "normalization for metric \"!!\" resulted in empty name"),
    ] {
        assert_eq!(strict.metric(name, "", Other), Err(words.to_owned()));
    }
    for (unit, wanted) in [
        ("By", "bytes"),
        ("By/s", "bytes_per_second"),
        ("{x}", ""),
        ("1", ""),
        ("m/mo", "meters_per_month"),
    ] {
        assert_eq!(unit_name(unit, true), wanted, "{unit}");
    }
}

#[test]
fn labels_keep_their_words_and_lose_their_dots() {
    let namer = named(Strategy::default());
    let collapsing = Namer { keep_underscores: false, key_before_underscore: false, ..namer };
    for (name, wanted, collapsed) in [
        ("http.method", "http_method", "http_method"),
        ("0a", "key_0a", "key_0a"),
        ("_a", "key_a", "_a"),
        ("__a..b__", "__a__b__", "__a_b__"),
        ("a..b", "a__b", "a_b"),
        ("ü", "", ""),
    ] {
        let or_empty = |made: Result<String, String>| made.unwrap_or_default();
        assert_eq!(or_empty(collapsing.label(name)), collapsed, "{name}");
        // One underscore is an error, unless something stands before it.
        let wanted = if name == "ü" { "key_" } else { wanted };
        assert_eq!(or_empty(namer.label(name)), wanted, "{name}");
    }
    assert_eq!(named(Strategy::NoTranslation).label("a.b"), Ok("a.b".to_owned()));
    assert!(named(Strategy::NoTranslation).label("__").is_err());
}

#[test]
fn a_counter_has_its_resource_and_target_info() {
    let body = request(
        &SERVICE,
        vec![metric(
            "http.requests",
            "",
            7,
            counter(vec![
                number_point(1_000, 2.0, &[("http.code", "200"), ("http_code", "x"), ("e", "")]),
                number_point(400_000, 3.0, &[]),
            ]),
        )],
    );
    let plain = translated(&body, &Settings::default());
    let info = r#"{__name__="target_info", host_name="box", instance="h:1", job="shop/api"}"#;
    assert_eq!(
        lines(&plain),
        [
            r#"{__name__="http_requests_total", http_code="200;x", instance="h:1", job="shop/api"} 1000 2"#.to_owned(),
            r#"{__name__="http_requests_total", instance="h:1", job="shop/api"} 400000 3"#.to_owned(),
            format!("{info} 1000 1"),
            format!("{info} 151000 1"),
            format!("{info} 301000 1"),
            format!("{info} 400000 1"),
        ]
    );
    let described: Vec<_> =
        plain.described.iter().map(|one| (one.name.as_str(), one.kind)).collect();
    assert_eq!(described, [("http_requests_total", "counter"), ("target_info", "gauge")]);
    assert_eq!(plain.described[0].help, "Some help.");
    assert_eq!(plain.keys(1).len(), 3);
    assert_ne!(plain.keys(1), plain.keys(2));

    let all = Settings {
        promote: Promote::AllBut(BTreeSet::from(["service.name".to_owned()])),
        promote_scope: true,
        type_and_unit_labels: true,
        keep_identifying: true,
        strategy: Strategy::NoTranslation,
        ..Settings::default()
    };
    let one =
        request(&SERVICE, vec![metric("t", "By", 7, counter(vec![number_point(1, 1.0, &[])]))]);
    let all = translated(&one, &all);
    assert_eq!(
        all.series[0].to_string(),
        r#"{__name__="t", __type__="counter", __unit__="bytes", host.name="box", instance="h:1", job="shop/api", otel_scope_k="v", otel_scope_name="lib", otel_scope_schema_url="http://schema", otel_scope_version="1.2", service.instance.id="h:1", service.namespace="shop"}"#
    );
    assert!(all.series[1].get("service.name").is_some(), "{}", all.series[1]);

    // Nothing but what identifies, or nothing that identifies: no target_info.
    for resource in [&SERVICE[..3], &SERVICE[3..]] {
        let body =
            request(resource, vec![metric("t", "", 7, counter(vec![number_point(1, 1.0, &[])]))]);
        assert_eq!(translated(&body, &Settings::default()).series.len(), 1);
    }
}

#[test]
fn a_point_without_an_instant_makes_no_flood() {
    let now_ms = 1_700_000_000_000;
    let points = vec![number_point(0, 1.0, &[]), number_point(now_ms, 1.0, &[])];
    let body = request(&SERVICE, vec![metric("t", "", 5, counter(points))]);
    let samples = translated(&body, &Settings::default()).samples;
    assert_eq!(samples.len(), 2 + TARGET_INFO_MAX + 1);
    assert_eq!(samples.last().unwrap().ts_ms, now_ms as i64);
}

/// A histogram of three buckets with an exemplar in the second.
fn histogram(temporality: u64, flags: u64) -> Message {
    let exemplar = |value: f64, time_ms: u64| {
        Message::default()
            .fixed(2, time_ms * 1_000_000)
            .double(3, value)
            .bytes(4, &[1; 8])
            .bytes(5, &[0xab; 16])
            .attributes(7, &[("user", "x")])
    };
    let point = Message::default()
        .fixed(3, 9_000_000)
        .fixed(4, 6)
        .double(5, 7.5)
        .fixeds(6, &[0, 4, 2])
        .doubles(7, &[0.5, 2.0])
        .with(8, exemplar(1.5, 8))
        .with(8, exemplar(9.0, 0))
        .number(10, flags);
    Message::default().with(1, point).number(2, temporality)
}

#[test]
fn a_histogram_becomes_classic_buckets_or_one_with_custom_buckets() {
    let body = request(&[], vec![metric("d", "s", 9, histogram(2, 0))]);
    let classic = translated(&body, &Settings::default());
    assert_eq!(
        lines(&classic),
        [
            r#"{__name__="d_seconds_bucket", le="+Inf"} 9 6"#,
            r#"{__name__="d_seconds_bucket", le="0.5"} 9 0"#,
            r#"{__name__="d_seconds_bucket", le="2"} 9 4"#,
            r#"{__name__="d_seconds_count"} 9 6"#,
            r#"{__name__="d_seconds_sum"} 9 7.5"#,
        ]
    );
    let exemplars: Vec<_> = classic
        .exemplars
        .iter()
        .map(|one| {
            let le = classic.series[one.series as usize].value_or_empty("le").to_owned();
            (le, one.exemplar.ts_ms, one.exemplar.value)
        })
        .collect();
    assert_eq!(exemplars, [("2".to_owned(), 8, 1.5), ("+Inf".to_owned(), 9, 9.0)]);
    assert_eq!(
        classic.exemplars[0].exemplar.labels.to_string(),
        format!(r#"{{span_id="{}", trace_id="{}", user="x"}}"#, "01".repeat(8), "ab".repeat(16))
    );

    let nhcb = Settings { histograms_to_nhcb: true, ..Settings::default() };
    let native = translated(&body, &nhcb);
    assert!(native.samples.is_empty());
    let one = &native.histograms[0].histogram;
    assert_eq!(one.validate(), Ok(()));
    assert_eq!((one.schema, &one.custom_values[..], one.sum), (-53, &[0.5, 2.0][..], 7.5));
    assert_eq!(one.positive_spans, [Span { offset: 1, length: 2 }]);
    let Counts::Integer { count: 6, positive, .. } = &one.counts else { panic!("{one:?}") };
    assert_eq!(positive, &[4, -2]);
    assert_eq!(native.exemplars.len(), 2);

    // Nothing recorded: every series ends.
    let stale = request(&[], vec![metric("d", "s", 9, histogram(2, 1))]);
    assert!(translated(&stale, &Settings::default()).samples.iter().all(|one| is_stale(one.value)));
    assert!(translated(&stale, &nhcb).histograms[0].histogram.is_stale());
}

fn exponential(scale: i64, offset: i64, counts: &[u64]) -> Vec<u8> {
    let buckets = Message::default().signed(1, offset).varints(2, counts);
    let total: u64 = counts.iter().sum();
    let point = Message::default()
        .fixed(3, 9_000_000)
        .fixed(4, total + 1)
        .double(5, 2.0)
        .signed(6, scale)
        .fixed(7, 1)
        .with(8, buckets);
    request(&[], vec![metric("e", "", 10, Message::default().with(1, point).number(2, 2))])
}

/// Bucket indices and counts, as a histogram says them.
fn buckets(histogram: &Histogram) -> Vec<(i64, i64)> {
    let Counts::Integer { positive, .. } = &histogram.counts else { panic!("{histogram:?}") };
    let (mut index, mut count, mut deltas, mut out) = (0, 0, positive.iter(), Vec::new());
    for span in &histogram.positive_spans {
        index += i64::from(span.offset);
        for _ in 0..span.length {
            count += deltas.next().unwrap();
            if count != 0 {
                out.push((index, count));
            }
            index += 1;
        }
    }
    assert_eq!(deltas.next(), None);
    out
}

#[test]
fn an_exponential_histogram_becomes_a_native_one() {
    type Case = (i64, i64, &'static [u64], i32, &'static [(i64, i64)], &'static [(i32, u32)]);
    let cases: [Case; 8] = [
        (0, 0, &[1, 2, 3], 0, &[(1, 1), (2, 2), (3, 3)], &[(1, 3)]),
        (3, -2, &[1, 0, 0, 4], 3, &[(-1, 1), (2, 4)], &[(-1, 4)]),
        // Three empty buckets make a new span.
        (0, 0, &[1, 0, 0, 0, 4], 0, &[(1, 1), (5, 4)], &[(1, 1), (3, 1)]),
        // 2^1 neighbours become one.
        (9, 0, &[1, 1, 1, 1], 8, &[(1, 2), (2, 2)], &[(1, 2)]),
        (9, 1, &[1, 1, 1], 8, &[(1, 1), (2, 2)], &[(1, 2)]),
        // Empty ones in front do not tear the first that is not apart.
        (9, 0, &[0, 0, 1, 1], 8, &[(2, 2)], &[(1, 2)]),
        (10, -5, &[1, 1, 1, 1, 1, 1], 8, &[(-1, 1), (0, 4), (1, 1)], &[(-1, 3)]),
        // As coarse as it gets: every index is −1 or 0.
        (60, -1, &[5, 7], 8, &[(0, 5), (1, 7)], &[(0, 2)]),
    ];
    for (scale, offset, counts, schema, wanted, spans) in cases {
        let out = translated(&exponential(scale, offset, counts), &Settings::default());
        let one = &out.histograms[0].histogram;
        assert_eq!(one.validate(), Ok(()), "{scale} {offset} {counts:?}");
        assert_eq!(
            (one.schema, buckets(one)),
            (schema, wanted.to_vec()),
            "{scale} {offset} {counts:?}"
        );
        let got: Vec<_> = one.positive_spans.iter().map(|s| (s.offset, s.length)).collect();
        assert_eq!(got, spans, "{scale} {offset} {counts:?}");
        assert_eq!((one.zero_threshold, one.reset_hint), (1e-128, ResetHint::Unknown));
    }
    let error = decode(PROTOBUF, &exponential(-5, 0, &[1]), &Settings::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot convert exponential to native histogram. Scale must be >= -4, was -5"
    );
}

#[test]
fn a_summary_and_a_gauge_that_recorded_nothing() {
    let quantile = |q: f64, value: f64| Message::default().double(1, q).double(2, value);
    let point = Message::default()
        .fixed(3, 1_000_000)
        .fixed(4, 3)
        .double(5, 4.5)
        .with(6, quantile(0.5, 1.0))
        .with(6, quantile(0.99, 2.0));
    let gauge = number_point(1, 5.0, &[]).number(8, 1);
    let integer = Message::default().fixed(3, 1_000_000).fixed(6, (-7i64).cast_unsigned());
    let body = request(
        &[],
        vec![
            metric("s", "", 11, Message::default().with(1, point)),
            metric("g", "1", 5, Message::default().with(1, gauge)),
            metric("i", "", 5, Message::default().with(1, integer)),
        ],
    );
    assert_eq!(
        lines(&translated(&body, &Settings::default())),
        [
            r#"{__name__="g_ratio"} 1 stale"#,
            r#"{__name__="i"} 1 -7"#,
            r#"{__name__="s", quantile="0.5"} 1 1"#,
            r#"{__name__="s", quantile="0.99"} 1 2"#,
            r#"{__name__="s_count"} 1 3"#,
            r#"{__name__="s_sum"} 1 4.5"#,
        ]
    );
}

#[test]
fn what_prometheus_does_not_translate_refuses_the_whole_request() {
    let delta = |name: &str| {
        let points = Message::default().with(1, number_point(1, 1.0, &[])).number(2, 1);
        metric(name, "", 7, points)
    };
    let good = metric("good", "", 7, counter(vec![number_point(1, 1.0, &[])]));
    let body = request(
        &[],
        vec![good.clone(), delta("a"), Message::default().text(1, "none"), delta("b")],
    );
    let error = decode(PROTOBUF, &body, &Settings::default()).unwrap_err();
    assert_eq!(
        error,
        OtlpError::Untranslatable(
            "invalid temporality and type combination for metric \"a\"\n\
             could not get aggregation temporality for none as it has unsupported metric type Empty\n\
             invalid temporality and type combination for metric \"b\""
                .to_owned()
        )
    );
    let allowed = Settings { allow_delta: true, ..Settings::default() };
    let out = translated(&request(&[], vec![delta("a")]), &allowed);
    assert_eq!(
        (lines(&out)[0].as_str(), out.described[0].kind),
        (r#"{__name__="a"} 1 1"#, "unknown")
    );

    let many = (0..50).map(|at| delta(&format!("m{at}"))).collect();
    let error =
        decode(PROTOBUF, &request(&[], many), &Settings::default()).unwrap_err().to_string();
    assert_eq!(
        (error.lines().count(), error.lines().last()),
        (REASONS_MAX + 1, Some("and 30 more"))
    );

    let kind = decode("text/plain", b"", &Settings::default()).unwrap_err();
    assert_eq!(
        kind.to_string(),
        "unsupported content type: text/plain, supported: [application/json, application/x-protobuf]"
    );
    assert_eq!(
        decode(PROTOBUF, &[0x0a, 0x05, 0x01], &Settings::default()).unwrap_err().to_string(),
        "proto: unexpected EOF at byte 2"
    );
    assert_eq!(translated(&[], &Settings::default()), Translated::default());
}

#[test]
fn both_forms_say_the_same() {
    let json = br#"{"resourceMetrics":[{"resource":{"attributes":[
        {"key":"service.name","value":{"stringValue":"api"}},
        {"key":"n","value":{"intValue":"5"}}]},
      "scopeMetrics":[{"scope":{"name":"lib"},"metrics":[
        {"name":"c","unit":"By","sum":{"aggregationTemporality":"AGGREGATION_TEMPORALITY_CUMULATIVE","isMonotonic":true,
          "dataPoints":[{"timeUnixNano":"1000000","asInt":"3","exemplars":[
            {"timeUnixNano":"1000000","asDouble":1.5,"traceId":"ABCDEF00000000000000000000000001"}]}]}},
        {"name":"h","histogram":{"aggregation_temporality":2,"data_points":[
          {"time_unix_nano":1000000,"count":"3","sum":4,"bucket_counts":["1","2"],"explicit_bounds":[1.5]}]}},
        {"name":"e","exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[
          {"timeUnixNano":"1000000","count":4,"sum":"NaN","scale":1,"zeroCount":"1",
           "positive":{"offset":-1,"bucketCounts":["1","2"]}}]}},
        {"name":"s","summary":{"dataPoints":[{"timeUnixNano":"1000000","count":"1","sum":2,
          "quantileValues":[{"quantile":0.5,"value":2}]}]}},
        {"name":"g","gauge":{"dataPoints":[{"timeUnixNano":"1000000","asDouble":"Infinity","flags":1}]}}
      ]}]}]}"#;
    let exemplar = Message::default()
        .fixed(2, 1_000_000)
        .double(3, 1.5)
        .bytes(5, &[0xab, 0xcd, 0xef, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    let at = || Message::default().fixed(3, 1_000_000);
    let buckets = Message::default().signed(1, -1).varints(2, &[1, 2]);
    let metrics = [
        ("c", "By", 7, at().fixed(6, 3).with(5, exemplar)),
        ("h", "", 9, at().fixed(4, 3).double(5, 4.0).fixeds(6, &[1, 2]).doubles(7, &[1.5])),
        (
            "e",
            "",
            10,
            at().fixed(4, 4).double(5, f64::NAN).signed(6, 1).fixed(7, 1).with(8, buckets),
        ),
        (
            "s",
            "",
            11,
            at().fixed(4, 1)
                .double(5, 2.0)
                .with(6, Message::default().double(1, 0.5).double(2, 2.0)),
        ),
        ("g", "", 5, at().double(4, f64::INFINITY).number(8, 1)),
    ];
    let mut scope = Message::default().with(1, Message::default().text(1, "lib"));
    for (name, unit, field, point) in metrics {
        let data = Message::default().with(1, point).number(2, 2).number(3, 1);
        scope = scope.with(2, Message::default().text(1, name).text(3, unit).with(field, data));
    }
    let number = Message::default().text(1, "n").with(2, Message::default().number(3, 5));
    let resource = Message::default().attributes(1, &[("service.name", "api")]).with(1, number);
    let body = Message::default().with(1, Message::default().with(1, resource).with(2, scope)).0;
    let settings = Settings { promote: Promote::AllBut(BTreeSet::new()), ..Settings::default() };
    let (proto, json) = (
        translated(&body, &settings),
        decode("application/json; charset=utf-8", json, &settings).unwrap(),
    );
    // NaN is not equal to itself, but its text is.
    assert_eq!(format!("{proto:?}"), format!("{json:?}"));
    assert_eq!(json.exemplars.len(), 1);
    for (wrong, words) in [
        ("{", "ReadObject: "),
        (
            r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"g","gauge":{"dataPoints":[{"asInt":"x"}]}}]}]}]}"#,
            "\"x\" is not an integer",
        ),
    ] {
        let error =
            decode("application/json", wrong.as_bytes(), &settings).unwrap_err().to_string();
        assert!(error.starts_with(words), "{error}");
    }
}
