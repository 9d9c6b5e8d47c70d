//! Prometheus' own cases where they are at hand, and ours for messages.

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

/// A Go literal of the corpus as a value; `None` when it is Go code that the extraction kept as text.
fn corpus_value(json: &serde_json::Value) -> Option<Value> {
    use serde_json::Value as Json;
    Some(match json {
        Json::Null => Value::Nil,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::String(words) => data::text(words),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::Int(whole),
            None => Value::Float(number.as_f64()?),
        },
        Json::Array(items) => Value::List(items.iter().map(corpus_value).collect::<Option<_>>()?),
        Json::Object(fields) => {
            match fields.get("_id").or_else(|| fields.get("_call"))?.as_str()? {
                "math.MaxInt64" => Value::Int(i64::MAX),
                "math.MinInt64" => Value::Int(i64::MIN),
                "math.MaxUint64" => Value::Uint(u64::MAX),
                "math.NaN" => Value::Float(f64::NAN),
                "math.Inf" => Value::Float(f64::INFINITY * fields.get("args")?.get(0)?.as_f64()?),
                _ => return None,
            }
        }
    })
}

#[test]
fn prometheus_own_cases_agree() {
    let Ok(corpora) = std::env::var("VIGIE_CORPORA") else {
        eprintln!("SKIPPED 89 template cases: VIGIE_CORPORA is not set");
        return;
    };
    let path = format!("{corpora}/prometheus/extracted/template_test.cases.json");
    let cases: Vec<serde_json::Value> =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let (mut agreed, mut skipped, mut differs) = (0, 0, Vec::new());
    for case in &cases {
        let text = case["text"].as_str().unwrap();
        let (input, fails) = (corpus_value(&case["input"]), case["shouldFail"] == true);
        let html = case["html"] == true;
        let (Some(input), false) = (input, html || case["queryResult"] == "SKIP") else {
            skipped += 1;
            continue;
        };
        let got = run("test", text, functions::for_rules(&corpus_context(case)), &[], &input);
        match (&got, case["output"].as_str()) {
            (Ok(got), Some(wanted)) if !fails && got == wanted => agreed += 1,
            (Err(_), _) if fails => agreed += 1,
            _ => differs.push(format!("{text}: {got:?}, wanted {}", case["output"])),
        }
    }
    eprintln!("template cases: {agreed} agree, {skipped} skipped, {} differ", differs.len());
    // The differing ones: `.Foo` with `missingkey=error`, an option that rules do not set,
    // a histogram's own text, and a no-break space that Go's lexer refuses.
    assert!(agreed >= 77, "{}", differs.join("\n"));
}

fn corpus_context(case: &serde_json::Value) -> RuleContext {
    let mut result = Vec::new();
    for sample in case["queryResult"].as_array().into_iter().flatten() {
        let labels = sample["metric"].as_object().unwrap().iter();
        let labels = labels.map(|(name, value)| (name.as_str(), value.as_str().unwrap()));
        result.push((Labels::from_pairs(labels), sample["value"].as_f64().unwrap()));
    }
    let number: Option<f64> = case["text"].as_str().unwrap().contains("\"1.5\"").then_some(1.5);
    let query: QueryFn = Arc::new(move |_| match number {
        Some(number) => Ok(vec![(Labels::default(), number)]),
        None => Ok(result.clone()),
    });
    RuleContext { query: Some(query), ..context(0.0) }
}

#[test]
fn alertmanagers_own_templates_run() {
    let Ok(corpora) = std::env::var("VIGIE_CORPORA") else {
        eprintln!("SKIPPED the templates of Alertmanager: VIGIE_CORPORA is not set");
        return;
    };
    let text = std::fs::read_to_string(format!("{corpora}/alertmanager/default.tmpl")).unwrap();
    let (_, definitions) = parse("default.tmpl", &text).unwrap();
    assert!(definitions.len() >= 60, "{} definitions", definitions.len());
    let mut failed = Vec::new();
    for (name, _) in &definitions {
        // These take a list of alerts, not the whole message.
        let list = name.starts_with("__text_alert_list") || name == "pagerduty.default.instances";
        let argument = if list { ".Alerts" } else { "." };
        let call = format!("{{{{ template {name:?} {argument} }}}}");
        let functions = functions::for_messages(0);
        if let Err(error) = run("x", &call, functions, &definitions, &data(false).to_value()) {
            failed.push(format!("{name}: {error}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    let call = "{{ template \"__subject\" . }}";
    let functions = functions::for_messages(0);
    let subject = run("x", call, functions, &definitions, &data(false).to_value());
    assert_eq!(subject.as_deref(), Ok("[FIRING:1] API Down (h:8080 high)"));
}
