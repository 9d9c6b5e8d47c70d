//! The way from bodies to rows, without a network.

use super::*;
use crate::scrape::testing::Memory;
use regex::Regex;
use vigie_model::relabel::Action;

fn rules() -> Rules {
    Rules {
        honor_labels: false,
        honor_timestamps: true,
        metric_relabel: Vec::new(),
        sample_limit: 0,
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
}
