//! What rules and messages may write, and what they may not take.

mod corpora;

use super::*;

fn context(value: f64) -> RuleContext {
    RuleContext {
        name: "test".to_owned(),
        labels: Labels::from_pairs([("instance", "a:80"), ("job", "koprogo-api")]),
        external_labels: Labels::from_pairs([("site", "lyon")]),
        value,
        external_url: "http://testhost:9090/path/prefix".to_owned(),
        now_ms: 1_353_755_652_000,
        query: None,
    }
}

fn data(resolved: bool) -> Data {
    let labels = Labels::from_pairs([
        ("alertname", "API Down"),
        ("instance", "h:8080"),
        ("severity", "high"),
    ]);
    Data {
        receiver: "team".to_owned(),
        alerts: vec![AlertData {
            labels: labels.clone(),
            annotations: Labels::from_pairs([("summary", "no answer")]),
            starts_at_ms: 1_353_755_652_000,
            ends_at_ms: resolved.then_some(1_353_755_712_000),
            generator_url: String::new(),
            fingerprint: "0011223344556677".to_owned(),
            value: "0".to_owned(),
        }],
        truncated_alerts: 0,
        group_labels: labels.only(&["alertname"]),
        common_labels: labels,
        common_annotations: Labels::from_pairs([("summary", "no answer")]),
        external_url: "http://vigie".to_owned(),
        language: "en".to_owned(),
        now_ms: 1_353_755_712_000,
    }
}

#[test]
fn rule_templates_see_labels_value_and_links() {
    for (text, wanted) in [
        ("no braces", "no braces"),
        (
            "{{ $labels.instance }} of {{ .Labels.job }} is {{ $value }}",
            "a:80 of koprogo-api is 0.25",
        ),
        (
            "{{ $labels.nothing }}|{{ $externalLabels.site }}|{{ $externalURL }}",
            "|lyon|http://testhost:9090/path/prefix",
        ),
        ("{{ $value | humanizePercentage }} {{ printf \"%.1f\" $value }}", "25% 0.2"),
        ("{{ with $labels.job }}{{ . | toUpper }}{{ end }}", "KOPROGO-API"),
    ] {
        assert_eq!(expand_annotation(text, &context(0.25)).as_deref(), Ok(wanted), "{text}");
    }
    let failed = expand_annotation("{{ query \"up\" }}", &context(0.0));
    assert!(matches!(failed, Err(TemplateError::Execute { .. })), "{failed:?}");
}

#[test]
fn message_templates_know_the_methods_of_alertmanager() {
    for (text, wanted) in [
        (
            "{{ .Alerts.Firing | len }} {{ len .Alerts.Resolved }} {{ .Status | title }}",
            "1 0 Firing",
        ),
        (
            "{{ range .CommonLabels.SortedPairs }}{{ .Name }}={{ .Value }};{{ end }}",
            "alertname=API Down;instance=h:8080;severity=high;",
        ),
        ("{{ (.CommonLabels.Remove .GroupLabels.Names).Values | join \" \" }}", "h:8080 high"),
        ("{{ .GroupLabels.SortedPairs.Values | join \" \" }}", "API Down"),
        (
            "{{ range .Alerts }}{{ .StartsAt.Format \"2006-01-02 15:04:05\" }} {{ .StartsAt.Unix }}{{ end }}",
            "2012-11-24 11:14:12 1353755652",
        ),
        (
            "{{ range .Alerts }}{{ since .StartsAt }} {{ .StartsAt | tz \"Europe/Paris\" | date \"15:04 MST\" }}{{ end }}",
            "1m0s 12:14 CET",
        ),
        ("{{ .CommonLabels.zz }}|{{ match \"^API\" .CommonLabels.alertname }}", "|true"),
        ("{{ toJson .GroupLabels }}", "{\"alertname\":\"API Down\"}"),
        ("{{ define \"x\" }}<{{ . }}>{{ end }}{{ template \"x\" .Receiver }}", "<team>"),
        ("{{ stringSlice \"a\" \"b\" | join \"-\" }}", "a-b"),
        ("{{ template \"__subject\" . }}", "[FIRING] API Down (high) h:8080"),
        (
            "{{ template \"pagerduty.default.description\" . }}",
            "[FIRING] API Down (high) h:8080: no answer (value 0)",
        ),
        ("{{ template \"sms.default.text\" . }}", "FIRING API Down (high) h:8080 = 0"),
        ("{{ template \"slack.default.text\" . }}", "🔴 API Down h:8080 — value 0\n  no answer\n"),
        (
            "{{ template \"slack.default.fallback\" . }}",
            "[FIRING] API Down (high) h:8080 | http://vigie/alerts",
        ),
    ] {
        assert_eq!(render(text, &data(false)).as_deref(), Ok(wanted), "{text}");
    }
    let french = Data { language: "fr".to_owned(), ..data(true) };
    let subject = render("{{ template \"__subject\" . }}", &french);
    assert_eq!(subject.as_deref(), Ok("[RÉSOLU] API Down (high) h:8080"));
}

#[test]
fn a_template_cannot_take_the_memory_or_loop_for_ever() {
    let endless = "{{ define \"r\" }}{{ template \"r\" . }}{{ end }}{{ template \"r\" . }}";
    assert!(render(endless, &data(false)).is_err());
    let wide = "{{ range 50000 }}aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa{{ end }}";
    let failed = render(wide, &data(false));
    assert!(matches!(failed, Err(TemplateError::TooLong { .. })), "{failed:?}");
    assert!(render("{{ range 1000000 }}{{ end }}", &data(false)).is_err());
    assert!(matches!(render("{{ .X", &data(false)), Err(TemplateError::Parse { .. })));
}

#[test]
fn numbers_print_as_go_prints_them() {
    for (value, wanted) in [
        (0.0, "0"),
        (-1.5, "-1.5"),
        (100_000.0, "100000"),
        (104_857_600.0, "1.048576e+08"),
        (1e-5, "1e-05"),
        (0.0001, "0.0001"),
        (f64::INFINITY, "+Inf"),
        (f64::NAN, "NaN"),
    ] {
        let printed = expand_annotation("{{ $value }}", &context(value));
        assert_eq!(printed.as_deref(), Ok(wanted));
    }
    let formatted = expand_annotation("{{ printf \"%.1f\" $value }}", &context(1e7));
    assert_eq!(formatted.as_deref(), Ok("10000000.0"));
}

#[test]
fn instants_print_as_go_prints_them() {
    for (ts_ms, wanted) in [
        (0, "1970-01-01T00:00:00Z"),
        (1_435_065_584_128, "2015-06-23T13:19:44.128Z"),
        (1_435_065_584_100, "2015-06-23T13:19:44.1Z"),
    ] {
        assert_eq!(format_rfc3339_ms(ts_ms), wanted);
    }
    for (duration_ns, wanted) in
        [(0, "0s"), (1_500_000_000, "1.5s"), (100_000_000, "100ms"), (3_600_000_000_000, "1h0m0s")]
    {
        assert_eq!(gotime::format_duration(duration_ns), wanted);
    }
    assert_eq!(parse_retry_after_date("Thu, 01 Jan 1970 00:01:00 GMT"), Some(60_000));
}
