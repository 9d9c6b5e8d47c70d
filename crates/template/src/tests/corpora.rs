//! Prometheus' own cases and Alertmanager's own templates, where they are at hand.

use super::*;

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
    // The two that differ: `.Foo` with `missingkey=error`, an option that rules do not set, and a
    // duration of which the extraction lost a bracket (-2117045 seconds are not two days).
    assert!(agreed >= 78, "{}", differs.join("\n"));
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
