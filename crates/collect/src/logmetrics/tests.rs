//! Access lines become requests and durations; what is wrong or too much is bounded and named.

use super::*;
use std::collections::BTreeMap;
use vigie_config::{LoadOptions, load};

/// Remembers what is stored.
#[derive(Default)]
struct Sink(Mutex<(Vec<Labels>, BTreeMap<String, f64>)>);

impl MetricSink for Sink {
    fn intern(&self, labels: &Labels) -> Result<SeriesId, String> {
        let mut held = self.0.lock().unwrap();
        held.0.push(labels.clone());
        Ok(SeriesId(held.0.len() as u32 - 1))
    }

    fn append(&self, rows: &[Row<'_>]) -> Result<(), String> {
        let mut held = self.0.lock().unwrap();
        for row in rows {
            for (id, value) in row.series.iter().zip(row.values) {
                let labels = held.0[id.0 as usize].to_string();
                held.1.insert(labels, *value);
            }
        }
        Ok(())
    }
}

fn rules(yaml: &str) -> Result<LogMetrics, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vigie.yml");
    std::fs::write(&path, format!("logs:\n  metrics:\n{yaml}")).unwrap();
    let options = LoadOptions::without_languages();
    let config = load(Some(&path), &options).map_err(|error| error.to_string())?;
    LogMetrics::new(&config.log_metrics)
}

fn stored(metrics: &LogMetrics, lines: &[&str]) -> BTreeMap<String, f64> {
    let stream = Labels::from_pairs([("job", "web")]);
    let entry = |line: &&str| LogEntry {
        ts_ns: 0,
        line: line.as_bytes().to_vec(),
        metadata: Labels::default(),
    };
    metrics.look(&stream, &lines.iter().map(entry).collect::<Vec<_>>());
    metrics.look(&Labels::from_pairs([("job", "else")]), &[entry(&lines[0])]);
    let sink = Sink::default();
    metrics.write(&sink, 1_000).unwrap();
    sink.0.into_inner().unwrap().1
}

#[test]
fn every_preset_counts_requests_and_durations() {
    for (preset, lines, seconds) in [
        (
            "actix-web",
            vec![
                r#"127.0.0.1 "GET /a HTTP/1.1" 200 20 "-" "curl/8" 0.250000"#,
                r#"127.0.0.1 "GET /b?x=1 HTTP/1.1" 200 20 "-" "curl \"8\"" 0.5"#,
                "something else",
            ],
            Some(0.25),
        ),
        (
            "actix-web-json",
            vec![
                r#"{"method":"GET","path":"/a","status":200,"duration_ms":200}"#,
                r#"{"method":"GET","path":"/b","status":200,"duration_ms":50.5}"#,
                r#"{"level":"INFO","message":"started"}"#,
            ],
            Some(0.2505),
        ),
        (
            "nginx",
            vec![
                r#"5.2.1.6 - - [26/Jan/2019:19:45:25 +0330] "GET / HTTP/1.1" 200 30975 "https://x" "Mozilla/5.0" "-""#,
                r#"5.2.1.6 - - [26/Jan/2019:19:45:25 +0330] "GET /c HTTP/1.1" 200 - "-" "Mozilla/5.0" 0.125"#,
            ],
            Some(0.125),
        ),
        (
            "traefik",
            vec![
                r#"10.0.0.1 - - [1/Jan/2026:00:00:00 +0000] "GET /a HTTP/1.1" 200 5 "-" "curl" 1 "web@docker" "http://10.0.0.2:80" 20ms"#,
                r#"10.0.0.1 - - [1/Jan/2026:00:00:00 +0000] "GET /b HTTP/2.0" 200 5 "-" "curl" 2 "web@docker" "http://10.0.0.2:80" 5ms"#,
            ],
            Some(0.025),
        ),
        (
            "traefik-json",
            vec![
                r#"{"DownstreamStatus":200,"Duration":20000000,"RequestMethod":"GET","RequestPath":"/a"}"#,
                r#"{"DownstreamStatus":200,"Duration":5000000,"RequestMethod":"GET","RequestPath":"/b"}"#,
            ],
            Some(0.025),
        ),
    ] {
        let rules =
            rules(&format!("    - {{preset: {preset}, match: '{{job=\"web\"}}'}}\n")).unwrap();
        let stored = stored(&rules, &lines);
        let requests = r#"{__name__="http_requests_total", job="web", method="GET", status="200"}"#;
        assert_eq!(stored.get(requests), Some(&2.0), "{preset}: {stored:?}");
        let sum = r#"{__name__="http_request_duration_seconds_sum", job="web", method="GET"}"#;
        let sum = stored.get(sum).copied();
        assert!(
            sum.zip(seconds).is_some_and(|(a, b)| (a - b).abs() < 1e-9),
            "{preset}: {stored:?}"
        );
    }
}

#[test]
fn a_rule_of_ones_own_observes_what_it_names() {
    let metrics = rules(
        "    - match: '{job=\"web\"} | logfmt | level=\"error\"'\n      name: errors_total\n      labels: [job, code]\n    - match: '{job=\"web\"} | logfmt'\n      name: size_bytes\n      type: histogram\n      value: size\n      scale: 1024\n      labels: []\n      buckets: [1024, 4096]\n    - match: '{job=\"web\"} | logfmt'\n      name: sent_bytes_total\n      value: size\n",
    )
    .unwrap();
    let lines = [
        "level=error code=7 size=1",
        "level=info size=3",
        "size=x",
        "level=error code=7 size=9",
        "size=-1",
    ];
    let told: Vec<String> = stored(&metrics, &lines)
        .iter()
        .map(|(labels, value)| format!("{labels} {value}"))
        .collect();
    assert_eq!(
        told,
        [
            r#"{__name__="errors_total", code="7", job="web"} 2"#,
            r#"{__name__="sent_bytes_total", job="web"} 13"#,
            r#"{__name__="size_bytes_bucket", le="+Inf"} 3"#,
            r#"{__name__="size_bytes_bucket", le="1024"} 1"#,
            r#"{__name__="size_bytes_bucket", le="4096"} 2"#,
            r#"{__name__="size_bytes_count"} 3"#,
            r#"{__name__="size_bytes_sum"} 13312"#,
        ]
    );
}

#[test]
fn one_series_per_request_is_absorbed() {
    let metrics =
        rules("    - {match: '{job=\"web\"} | logfmt', name: a_total, labels: [id]}\n").unwrap();
    let lines: Vec<String> = (0..SERIES_MAX * 3).map(|id| format!("id={id}")).collect();
    let stored = stored(&metrics, &lines.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(stored.len(), SERIES_MAX + 1);
    assert_eq!(stored[r#"{__name__="a_total", id="other"}"#], 2.0 * SERIES_MAX as f64);
}

#[test]
fn what_is_wrong_is_named() {
    for (yaml, words) in [
        ("{match: '{a=\"b\"}'}", "needs a `name`, or a `preset`"),
        (
            "{match: '{a=\"b\"}', preset: apache}",
            "there is no preset \"apache\": write one of actix-web,",
        ),
        ("{match: '{a=\"b\"}', preset: nginx, name: x}", "a preset brings its own name"),
        ("{match: '{a=\"b\"}', name: 1x}", "\"1x\" is not the name of a metric"),
        ("{match: '{a=\"b\"}', name: x, type: histogram}", "a histogram needs `value`"),
        (
            "{match: '{a=\"b\"}', name: x, type: histogram, value: v, buckets: [2, 1]}",
            "numbers that rise",
        ),
        ("{match: '{a=', name: x}", "logs.metrics: x: parse error"),
        ("{match: 'rate({a=\"b\"}[1m])', name: x}", "logs.metrics: x: only log queries"),
    ] {
        let error = rules(&format!("    - {yaml}\n")).map(drop).unwrap_err();
        assert!(error.contains(words), "{yaml}: {error}");
    }
}

#[test]
fn rules_that_stay_keep_their_sums_and_the_others_end() {
    let stays = "    - {match: '{job=\"web\"} | logfmt', name: stays_total, labels: []}\n";
    let goes = "    - {match: '{job=\"web\"} | logfmt', name: goes_total, labels: []}\n";
    let before = rules(&format!("{stays}{goes}")).unwrap();
    let wanted = rules(stays).unwrap().rules[0].lock().unwrap().metric.clone();
    let stream = Labels::from_pairs([("job", "web")]);
    let entry = LogEntry { ts_ns: 0, line: b"a=1".to_vec(), metadata: Labels::default() };
    let sink = Sink::default();
    before.look(&stream, std::slice::from_ref(&entry));
    before.write(&sink, 1_000).unwrap();

    let after = before.succeeded_by(&[wanted]).unwrap();
    before.end(&after, &sink, 2_000).unwrap();
    after.look(&stream, &[entry]);
    after.write(&sink, 3_000).unwrap();
    let sums = sink.0.into_inner().unwrap().1;
    assert_eq!(sums[r#"{__name__="stays_total"}"#], 2.0);
    assert!(vigie_model::is_stale(sums[r#"{__name__="goes_total"}"#]));
}
