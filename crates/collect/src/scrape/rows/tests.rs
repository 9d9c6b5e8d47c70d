//! The way from bodies to rows, without a network.

use super::*;
use crate::scrape::testing::Memory;
use regex::Regex;
use std::io::Read;
use std::sync::atomic::Ordering;
use vigie_model::relabel::Action;

fn rules() -> Rules {
    Rules {
        honor_labels: false,
        honor_timestamps: true,
        metric_relabel: Vec::new(),
        sample_limit: 0,
        wants: Wants::default(),
    }
}

fn target(rules: Rules) -> (TargetRows, Arc<Memory>) {
    let sink = Arc::new(Memory::default());
    let labels = Labels::from_pairs([("job", "j"), ("instance", "i")]);
    (TargetRows::new(labels, rules, Arc::clone(&sink) as Arc<dyn MetricSink>), sink)
}

fn scrape(rows: &mut TargetRows, ts_ms: i64, body: &str) -> Result<(), String> {
    let body = Some((body.as_bytes(), Format::Text));
    rows.ingest(Fetched { ts_ms, duration_s: 0.25, body, error: None })
}

#[test]
fn one_scrape_is_one_row_with_up_and_its_companions() {
    let (mut rows, sink) = target(rules());
    scrape(&mut rows, 1000, "a 1\nb{x=\"y\"} 2\na 3\n").unwrap();
    assert_eq!(
        sink.row(1000),
        [
            r#"a{instance="i",job="j"} 1"#,
            r#"b{instance="i",job="j",x="y"} 2"#,
            r#"scrape_duration_seconds{instance="i",job="j"} 0.25"#,
            r#"scrape_samples_post_metric_relabeling{instance="i",job="j"} 2"#,
            r#"scrape_samples_scraped{instance="i",job="j"} 3"#,
            r#"scrape_series_added{instance="i",job="j"} 2"#,
            r#"up{instance="i",job="j"} 1"#,
        ]
    );
    let interned = sink.interned();
    scrape(&mut rows, 2000, "a 1\nb{x=\"y\"} 2\na 3\n").unwrap();
    assert_eq!(sink.interned(), interned, "a steady scrape asks for no id");
    assert!(sink.row(2000).contains(&r#"scrape_series_added{instance="i",job="j"} 0"#.to_owned()));
}

#[test]
fn series_that_vanish_and_scrapes_that_fail_leave_stale_markers() {
    let (mut rows, sink) = target(rules());
    scrape(&mut rows, 1, "a 1\nb 2\n").unwrap();
    scrape(&mut rows, 2, "a 1\n").unwrap();
    assert!(sink.row(2).contains(&r#"b{instance="i",job="j"} stale"#.to_owned()));
    let error = scrape(&mut rows, 3, "a 1\nb oh\n").unwrap_err();
    assert!(error.contains("strconv.ParseFloat: parsing \"oh\": invalid syntax"), "{error}");
    let row = sink.row(3);
    assert!(row.contains(&r#"a{instance="i",job="j"} stale"#.to_owned()), "{row:?}");
    assert!(!row.iter().any(|sample| sample.starts_with("b{")), "{row:?}");
    assert!(row.contains(&r#"up{instance="i",job="j"} 0"#.to_owned()), "{row:?}");
    rows.ingest(Fetched { ts_ms: 4, duration_s: 0.0, body: None, error: Some("no".into()) })
        .unwrap_err();
    assert_eq!(sink.row(4).len(), 5, "stale markers are written once: {:?}", sink.row(4));
    scrape(&mut rows, 5, "a 1\nb 1\n").unwrap();
    rows.end(6).unwrap();
    assert_eq!(sink.row(6).iter().filter(|sample| sample.ends_with(" stale")).count(), 7);
}

#[test]
fn a_collector_may_bring_samples_and_be_down() {
    let (mut rows, sink) = target(rules());
    let body = Some((&b"pg_up 0\n"[..], Format::Text));
    rows.ingest(Fetched { ts_ms: 1, duration_s: 0.0, body, error: Some("refused".into()) })
        .unwrap_err();
    let row = sink.row(1);
    assert!(row.contains(&r#"pg_up{instance="i",job="j"} 0"#.to_owned()), "{row:?}");
    assert!(row.contains(&r#"up{instance="i",job="j"} 0"#.to_owned()), "{row:?}");
}

#[test]
fn labels_of_the_target_win_unless_its_own_are_honoured() {
    let body = "a{job=\"x\",exported_job=\"y\"} 1\nb{instance=\"\"} 2\n";
    let (mut rows, sink) = target(rules());
    scrape(&mut rows, 1, body).unwrap();
    let row = sink.row(1);
    let wanted = r#"a{exported_exported_job="x",exported_job="y",instance="i",job="j"} 1"#;
    assert_eq!(row[0], wanted);
    assert_eq!(row[1], r#"b{instance="i",job="j"} 2"#);
    let (mut rows, sink) = target(Rules { honor_labels: true, ..rules() });
    scrape(&mut rows, 1, body).unwrap();
    assert_eq!(sink.row(1)[0], r#"a{exported_job="y",instance="i",job="x"} 1"#);
    assert_eq!(sink.row(1)[1], r#"b{job="j"} 2"#);
}

fn drop_rule(regex: &str) -> Rule {
    Rule {
        source_labels: vec![METRIC_NAME.to_owned()],
        separator: ";".to_owned(),
        regex: Regex::new(&format!("^(?s:{regex})$")).unwrap(),
        target_label: String::new(),
        replacement: String::new(),
        action: Action::Drop,
    }
}

#[test]
fn relabelling_drops_and_merges_and_a_reload_marks_what_does_not_return() {
    let label_drop = Rule { action: Action::LabelDrop, ..drop_rule("x") };
    let merging = Rules { metric_relabel: vec![drop_rule("b"), label_drop], ..rules() };
    let (mut rows, sink) = target(merging);
    let body = "a{x=\"1\"} 1\na{x=\"2\"} 2\nb 3\nup 9\n";
    for ts in [1, 2, 3] {
        scrape(&mut rows, ts, body).unwrap();
        let row = sink.row(ts);
        assert_eq!(row[0], r#"a{instance="i",job="j"} 1"#, "{row:?}");
        assert_eq!(row.len(), 6, "{row:?}");
    }
    rows.set_rules(Rules { metric_relabel: vec![drop_rule("a")], ..rules() });
    scrape(&mut rows, 4, body).unwrap();
    let row = sink.row(4);
    assert!(row.contains(&r#"a{instance="i",job="j"} stale"#.to_owned()), "{row:?}");
    assert!(row.contains(&r#"b{instance="i",job="j"} 3"#.to_owned()), "{row:?}");
}

#[test]
fn limits_fail_the_scrape_and_own_times_have_their_own_rows() {
    let (mut rows, sink) = target(Rules { sample_limit: 1, ..rules() });
    assert_eq!(scrape(&mut rows, 1, "a 1\nb 1\n").unwrap_err(), "sample limit exceeded");
    assert!(sink.row(1).contains(&r#"up{instance="i",job="j"} 0"#.to_owned()));
    let (mut rows, sink) = target(rules());
    scrape(&mut rows, 5000, "a 1 4000\nb 2\n").unwrap();
    assert_eq!(sink.row(4000), [r#"a{instance="i",job="j"} 1"#]);
    scrape(&mut rows, 6000, "b 2\n").unwrap();
    assert!(!sink.row(6000).iter().any(|sample| sample.ends_with("stale")));
    let (mut rows, sink) = target(Rules { honor_timestamps: false, ..rules() });
    scrape(&mut rows, 5000, "a 1 4000\n").unwrap();
    assert_eq!(sink.row(5000)[0], r#"a{instance="i",job="j"} 1"#);
    let long = format!("a{{x=\"{}\"}} 1\n", "y".repeat(LABEL_VALUE_BYTES_MAX + 1));
    assert!(scrape(&mut rows, 6000, &long).unwrap_err().starts_with("label_value_length_limit"));
}

#[test]
fn metadata_is_told_once_and_when_it_changes() {
    let (mut rows, sink) = target(rules());
    for body in ["# HELP a x\n# TYPE a gauge\na 1\n", "# HELP a x\n# TYPE a gauge\na 1\nb 1\n"] {
        scrape(&mut rows, 1, body).unwrap();
    }
    scrape(&mut rows, 2, "# HELP a z\n# TYPE a gauge\na 1\n").unwrap();
    assert_eq!(*sink.metadata.lock().unwrap(), ["a gauge x ", "a gauge z "]);
    let said = rows.said().list(None);
    assert_eq!((said.len(), said[0].name.as_str(), said[0].help.as_str()), (1, "a", "z"));
    assert_eq!((rows.said().list(Some("a")).len(), rows.said().list(Some("b")).len()), (1, 0));
}

#[test]
fn a_clock_that_steps_back_a_little_keeps_the_order_and_a_lot_is_left_to_the_store() {
    let (mut rows, sink) = target(rules());
    for (ts, wanted) in [(10_000, 10_000), (10_000, 10_001), (9_500, 10_002), (2_000, 2_000)] {
        scrape(&mut rows, ts, "a 1\n").unwrap();
        assert_eq!(sink.instants().last(), Some(&wanted), "{ts}");
    }
    for (body, wanted) in [("", false), ("# HELP a b\n", false), ("<html>", false), ("a 1", true)] {
        assert_eq!(TargetRows::is_readable(body.as_bytes(), Format::Text), wanted, "{body}");
    }
}

/// The first files of a tar archive; headers are blocks of 512 bytes, sizes octal.
fn untar(mut bytes: &[u8], count: usize) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    while bytes.len() > 512 && bytes[0] != 0 && files.len() < count {
        let text = |range: std::ops::Range<usize>| {
            String::from_utf8_lossy(&bytes[range]).trim_matches(['\0', ' ']).to_owned()
        };
        let size = usize::from_str_radix(&text(124..136), 8).unwrap();
        if bytes[156] == b'0' {
            files.push((text(0..100), bytes[512..512 + size].to_vec()));
        }
        bytes = &bytes[512 + size.div_ceil(512) * 512..];
    }
    files
}

#[test]
fn sixty_real_scrapes_in_a_row_ask_for_each_id_once() {
    let Some(root) = std::env::var_os("VIGIE_CORPORA") else {
        eprintln!("SKIPPED: 60 real scrapes: VIGIE_CORPORA is not set");
        return;
    };
    let path = std::path::Path::new(&root).join("node_exporter/scrapes_2s_763.tar.gz");
    let mut archive = Vec::new();
    let file = std::fs::File::open(path).unwrap();
    flate2::read::GzDecoder::new(file).take(8 << 20).read_to_end(&mut archive).unwrap();
    let mut files = untar(&archive, 60);
    files.sort();
    assert_eq!(files.len(), 60);
    let (mut rows, sink) = target(rules());
    let mut ids = Vec::new();
    for (at, (name, body)) in files.iter().enumerate() {
        let body = Some((&body[..], Format::Text));
        rows.ingest(Fetched { ts_ms: 2000 * at as i64, duration_s: 0.1, body, error: None })
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        ids.push(sink.interned());
    }
    let row = sink.row(2000 * 59);
    let stale = row.iter().filter(|sample| sample.ends_with(" stale")).count();
    println!("{} samples a row, {} ids asked for in 60 scrapes", row.len(), ids[59]);
    assert_eq!(stale, 0);
    assert!(ids[59] - ids[0] < 20, "new series only where the machine changed: {ids:?}");
    assert!(row.len() >= 500, "{}", row.len());
}

#[test]
fn a_store_that_refuses_a_row_still_hears_what_ended() {
    let (mut rows, sink) = target(rules());
    scrape(&mut rows, 1, "a 1\nb 2\nc 3\n").unwrap();
    sink.refuse.store(true, Ordering::Release);
    assert_eq!(scrape(&mut rows, 2, "a 1\nc 3\n").unwrap_err(), "no space left on device");
    assert!(scrape(&mut rows, 3, "a 1\noh dear\n").is_err());
    assert!(scrape(&mut rows, 4, "a 1\n").is_err());
    sink.refuse.store(false, Ordering::Release);
    scrape(&mut rows, 5, "a 1\n").unwrap();
    let row = sink.row(5);
    for wanted in [
        "a{instance=\"i\",job=\"j\"} 1",
        "b{instance=\"i\",job=\"j\"} stale",
        "c{instance=\"i\",job=\"j\"} stale",
    ] {
        assert_eq!(row.iter().filter(|sample| *sample == wanted).count(), 1, "{wanted}: {row:?}");
    }
    scrape(&mut rows, 6, "a 1\n").unwrap();
    assert_eq!(sink.row(6).iter().filter(|sample| sample.ends_with("stale")).count(), 0);
}

/// A family of one histogram with a native and two classic buckets and an exemplar, as protobuf.
fn histogram_page(sum: f64) -> Vec<u8> {
    let mut exemplar = vec![0x0a, 4, 0x0a, 0, 0x12, 0];
    exemplar.extend([&[0x11][..], &0.5f64.to_le_bytes()].concat());
    let bucket = |count: u8, upper: f64| [&[8, count, 0x11][..], &upper.to_le_bytes()].concat();
    let mut histogram = [&[8, 3, 0x11][..], &sum.to_le_bytes()].concat();
    for bucket in [bucket(1, 1.0), bucket(3, f64::INFINITY)] {
        histogram.extend([&[0x1a, bucket.len() as u8][..], &bucket].concat());
    }
    // Schema 0, a zero bucket of width 0.5, one span of one bucket that holds 3.
    histogram.extend([0x28, 0, 0x31]);
    histogram.extend(0.5f64.to_le_bytes());
    histogram.extend([0x62, 4, 8, 0, 0x10, 1, 0x6a, 1, 6]);
    // It began at 2 s.
    histogram.extend([0x7a, 2, 8, 2]);
    histogram.extend([&[0x82, 1, exemplar.len() as u8][..], &exemplar].concat());
    let metric = [&[0x3a, histogram.len() as u8][..], &histogram].concat();
    let mut family = vec![0x0a, 1, b'h', 0x12, 4, b'h', b'e', b'l', b'p', 0x18, 4];
    family.extend([&[0x22, metric.len() as u8][..], &metric].concat());
    [&[family.len() as u8][..], &family].concat()
}

#[test]
fn protobuf_brings_native_histograms_where_they_are_wanted() {
    for (native, classic_beside) in [(false, false), (true, false), (true, true)] {
        let (mut rows, sink) =
            target(Rules { wants: Wants { native, classic_beside, starts: false }, ..rules() });
        for (ts_ms, sum) in [(1000, 4.5), (2000, 5.5)] {
            let page = histogram_page(sum);
            let body = Some((&page[..], Format::Protobuf));
            rows.ingest(Fetched { ts_ms, duration_s: 0.0, body, error: None }).unwrap();
        }
        let natives = sink.natives.lock().unwrap().clone();
        let floats = sink.history("h_bucket").len();
        let exemplars = sink.exemplars.lock().unwrap().clone();
        if native {
            let series = r#"h{instance="i",job="j"}"#;
            assert_eq!(natives, [format!("{series} 4.5 @1000"), format!("{series} 5.5 @2000")]);
            assert_eq!(exemplars.len(), 2, "{exemplars:?}");
            assert!(exemplars[0].ends_with("@1000"), "{exemplars:?}");
        }
        assert_eq!(floats, if native && !classic_beside { 0 } else { 4 });
        assert_eq!(*sink.metadata.lock().unwrap(), ["h histogram help "]);
        // It ends as other series do.
        rows.ingest(Fetched {
            ts_ms: 3000,
            duration_s: 0.0,
            body: Some((b"", Format::Text)),
            error: None,
        })
        .unwrap();
        let name = if native { "h{" } else { "h_sum" };
        assert!(sink.history(name).iter().any(|text| text.ends_with("stale")));
    }
}

const CREATED: &str = "# TYPE hits counter\nhits_total{p=\"/\"} 7 50\nhits_created{p=\"/\"} 2.5\n\
     # TYPE lat summary\nlat{quantile=\"0.5\"} 1\nlat_count 4\nlat_sum 9\nlat_created 3\n\
     # TYPE idle gauge\nidle_created 4\n# EOF\n";

#[test]
fn created_lines_of_openmetrics_are_starts_where_those_are_stored() {
    for wanted in [false, true] {
        let (mut rows, sink) = target(rules());
        sink.wants_starts.store(wanted, Ordering::Release);
        for ts_ms in [60_000, 120_000] {
            let body = Some((CREATED.as_bytes(), Format::OpenMetrics));
            rows.ingest(Fetched { ts_ms, duration_s: 0.0, body, error: None }).unwrap();
        }
        let of_name = |name: &str| sink.history(name).len();
        assert_eq!((of_name("hits_total"), of_name("lat"), of_name("idle_created")), {
            (2, if wanted { 6 } else { 8 }, 2)
        });
        assert_eq!(of_name("hits_created"), if wanted { 0 } else { 2 });
        let at = |ts_ms: i64| {
            [
                // Its own time is that of the sample.
                r#"hits_total{instance="i",job="j",p="/"} 2500 @50000"#.to_owned(),
                format!(r#"lat{{instance="i",job="j",quantile="0.5"}} 3000 @{ts_ms}"#),
                format!(r#"lat_count{{instance="i",job="j"}} 3000 @{ts_ms}"#),
                format!(r#"lat_sum{{instance="i",job="j"}} 3000 @{ts_ms}"#),
            ]
        };
        let all = [at(60_000), at(120_000)].concat();
        assert_eq!(*sink.starts.lock().unwrap(), if wanted { all } else { Vec::new() });
    }
}

#[test]
fn a_created_timestamp_of_protobuf_is_the_start_of_every_line_of_its_metric() {
    // A counter of 3 that began at 1.5 s.
    let counter =
        [&[0x09][..], &3f64.to_le_bytes(), &[0x1a, 8, 8, 1, 0x10, 0x80, 0xca, 0xb5, 0xee, 1]];
    let counter = counter.concat();
    let metric = [&[0x1a, counter.len() as u8][..], &counter].concat();
    let mut family = vec![0x0a, 1, b'c', 0x18, 0];
    family.extend([&[0x22, metric.len() as u8][..], &metric].concat());
    let page = [&[family.len() as u8][..], &family].concat();
    for wanted in [false, true] {
        let (mut rows, sink) = target(rules());
        sink.wants_starts.store(wanted, Ordering::Release);
        let body = Some((&page[..], Format::Protobuf));
        rows.ingest(Fetched { ts_ms: 9000, duration_s: 0.0, body, error: None }).unwrap();
        assert_eq!(sink.history("c{"), [r#"c{instance="i",job="j"} 3"#]);
        let all = vec![r#"c{instance="i",job="j"} 1500 @9000"#.to_owned()];
        assert_eq!(*sink.starts.lock().unwrap(), if wanted { all } else { Vec::new() });
    }
    // Classic buckets, count and sum have that of their histogram, and a native one has it too.
    for (native, lines) in [(false, 4), (true, 1)] {
        let wants = Wants { native, ..Wants::default() };
        let (mut rows, sink) = target(Rules { wants, ..rules() });
        sink.wants_starts.store(true, Ordering::Release);
        let page = histogram_page(4.5);
        let body = Some((&page[..], Format::Protobuf));
        rows.ingest(Fetched { ts_ms: 9000, duration_s: 0.0, body, error: None }).unwrap();
        let starts = sink.starts.lock().unwrap().clone();
        assert_eq!(starts.len(), lines, "{starts:?}");
        assert!(starts.iter().all(|text| text.ends_with(" 2000 @9000")), "{starts:?}");
    }
}
