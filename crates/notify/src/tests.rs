//! What each receiver is sent, and what answers mean.

use super::*;
use std::collections::BTreeMap;
use vigie_config::http_client::{HttpClientConfig, Secret};

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn message(instances: &[&str], resolved: bool) -> Message {
    let alert = |instance: &&str| AlertPart {
        labels: pairs(&[("alertname", "API Down"), ("instance", instance), ("severity", "high")]),
        annotations: pairs(&[
            ("summary", "the API does not answer"),
            ("runbook_url", "/runbooks/api-down"),
            ("dashboard", "/d/api/overview"),
        ]),
        starts_at_ms: 1_762_767_000_000,
        ends_at_ms: resolved.then_some(1_762_767_060_500),
        generator_url: "http://vigie.test/graph?g0.expr=up&g0.tab=1".to_owned(),
        fingerprint: "00112233445566ff".to_owned(),
        value: "0".to_owned(),
    };
    Message {
        receiver: "high".to_owned(),
        group_key: "{}:{alertname=\"API Down\"}".to_owned(),
        group_labels: pairs(&[("alertname", "API Down")]),
        alerts: instances.iter().map(alert).collect(),
        truncated: 0,
        external_url: "http://vigie.test".to_owned(),
        language: "en".to_owned(),
    }
}

fn integration(kind: IntegrationKind) -> Integration {
    Integration { kind, send_resolved: true, http: HttpClientConfig::default() }
}

fn pagerduty() -> Integration {
    integration(IntegrationKind::PagerDuty {
        routing_key: Secret::new("R0KEY"),
        url: "https://events.pagerduty.com/v2/enqueue".to_owned(),
        description: String::new(),
        severity: String::new(),
    })
}

fn slack() -> Integration {
    integration(IntegrationKind::Slack {
        api_url: Secret::new("https://hooks.slack.com/services/T/B/X"),
        channel: "#alerts".to_owned(),
        title: String::new(),
        text: String::new(),
    })
}

fn sms() -> Integration {
    integration(IntegrationKind::Sms {
        url: "https://api.twilio.com/2010-04-01/Accounts/AC1/Messages.json".to_owned(),
        username: "AC1".to_owned(),
        password: Secret::new("TOKEN"),
        from: "+3220000000".to_owned(),
        to: vec!["+32470000001".to_owned(), "+32470000002".to_owned()],
        text: String::new(),
    })
}

fn json_of(integration: &Integration, message: &Message) -> serde_json::Value {
    serde_json::from_str(&prepare(integration, message, 0, 1_762_767_120_000).unwrap().body)
        .unwrap()
}

#[test]
fn pagerduty_gets_a_trigger_and_a_resolve_of_the_same_incident() {
    let event = json_of(&pagerduty(), &message(&["h:8080"], false));
    // The SHA-256 of "abc" is in every textbook.
    assert!(dedup_key("abc").starts_with("ba7816bf8f01cfea") && dedup_key("abc").len() == 64);
    assert_eq!(event["dedup_key"], dedup_key("{}:{alertname=\"API Down\"}"));
    for (pointer, wanted) in [
        ("/routing_key", "R0KEY"),
        ("/event_action", "trigger"),
        ("/payload/severity", "critical"),
        ("/payload/source", "h:8080"),
        ("/payload/class", "API Down"),
        ("/payload/timestamp", "2025-11-10T09:30:00Z"),
        ("/payload/summary", "[FIRING] API Down (high) h:8080: the API does not answer (value 0)"),
        ("/payload/custom_details/value", "0"),
        ("/links/0/href", "http://vigie.test/runbooks/api-down"),
        ("/links/1/href", "http://vigie.test/d/api/overview"),
        ("/links/2/href", "http://vigie.test/alerts"),
        ("/client_url", "http://vigie.test/alerts"),
    ] {
        assert_eq!(event.pointer(pointer).and_then(|v| v.as_str()), Some(wanted), "{pointer}");
    }
    let french = Message { language: "fr".to_owned(), ..message(&["h:8080"], false) };
    assert_eq!(
        json_of(&pagerduty(), &french)["payload"]["summary"],
        "[ALERTE] API Down (high) h:8080 : the API does not answer (valeur 0)"
    );
    let resolve = json_of(&pagerduty(), &message(&["h:8080"], true));
    assert_eq!(resolve["event_action"], "resolve");
    assert_eq!(resolve["dedup_key"], event["dedup_key"]);
    let many: Vec<String> = (0..3000).map(|n| format!("host-{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let event = json_of(&pagerduty(), &message(&many, false));
    assert_eq!(event["payload"]["custom_details"]["num_firing"], 3000);
    assert!(event.to_string().len() < 512_000);
}

#[test]
fn slack_gets_a_coloured_attachment_with_value_and_links() {
    let body = json_of(&slack(), &message(&["h:8080"], false));
    let attachment = &body["attachments"][0];
    assert_eq!(body["channel"], "#alerts");
    assert_eq!(attachment["color"], "danger");
    assert_eq!(attachment["title"], "[FIRING] API Down (high) h:8080");
    assert_eq!(attachment["fields"][0]["value"], "0");
    let text = attachment["text"].as_str().unwrap();
    for part in [
        "the API does not answer",
        "<http://vigie.test/runbooks/api-down|Runbook>",
        "<http://vigie.test/alerts|Open Vigie>",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let body = json_of(&slack(), &message(&["a", "b"], true));
    assert_eq!(body["attachments"][0]["color"], "good");
    let french = Message { language: "fr".to_owned(), ..message(&["a", "b"], false) };
    let attachment = &json_of(&slack(), &french)["attachments"][0];
    assert_eq!(attachment["title"], "[ALERTE:2] API Down (high)");
    assert!(attachment["text"].as_str().unwrap().contains("|Procédure>"));
    let storm = Message { truncated: 4000, ..message(&["a", "b"], false) };
    assert_eq!(json_of(&slack(), &storm)["attachments"][0]["title"], "[FIRING:2+] API Down (high)");
}

#[test]
fn french_messages_say_the_french_annotations() {
    let with_french = |language: &str| {
        let mut message = Message { language: language.to_owned(), ..message(&["a", "b"], false) };
        for alert in &mut message.alerts {
            let french =
                [("summary_fr", "l’API ne répond plus"), ("description_fr", "depuis 1 min")];
            alert.annotations.extend(pairs(&french));
            alert.annotations.insert("description".to_owned(), "for a minute".to_owned());
        }
        message
    };
    for (language, said, not_said) in [
        ("fr", ["l’API ne répond plus", "depuis 1 min"], ["does not answer", "for a minute"]),
        ("en", ["the API does not answer", "for a minute"], ["ne répond plus", "depuis 1 min"]),
    ] {
        let message = with_french(language);
        let text = json_of(&slack(), &message)["attachments"][0]["text"].to_string();
        assert!(said.iter().all(|part| text.contains(part)), "{text}");
        assert!(!not_said.iter().any(|part| text.contains(part)), "{text}");
    }
    let french = with_french("fr");
    let summary = json_of(&pagerduty(), &french)["payload"]["summary"].clone();
    let summary = summary.as_str().unwrap();
    assert!(summary.starts_with("[ALERTE:2] API Down (high)"), "{summary}");
    assert!(summary.ends_with(": l’API ne répond plus"), "{summary}");
    let mut own = slack();
    if let IntegrationKind::Slack { title, .. } = &mut own.kind {
        *title = "{{ .CommonAnnotations.summary }}".to_owned();
    }
    let title = json_of(&own, &french)["attachments"][0]["title"].clone();
    assert_eq!(title, "l’API ne répond plus", "a template of the user speaks French too");
    let url = Secret::new("http://h/x");
    let webhook = integration(IntegrationKind::Webhook { url, alerts_max: 0 });
    let body = json_of(&webhook, &french);
    let annotations = &body["alerts"][0]["annotations"];
    assert_eq!(annotations["summary"], "the API does not answer", "as it was written");
    assert_eq!(annotations["summary_fr"], "l’API ne répond plus");
    assert_eq!(body["commonAnnotations"], *annotations);
    let mut measured = Message { language: "fr".to_owned(), ..message(&["a"], false) };
    measured.alerts[0].value = "0.043".to_owned();
    let attachment = &json_of(&slack(), &measured)["attachments"][0];
    assert_eq!(attachment["fields"][0]["value"], "0,043");
    assert!(attachment["text"].as_str().unwrap().contains("valeur 0,043"), "{attachment}");
    let untranslated = Message { language: "fr".to_owned(), ..message(&["a"], false) };
    let text = json_of(&slack(), &untranslated)["attachments"][0]["text"].to_string();
    assert!(text.contains("the API does not answer"), "{text}");
}

#[test]
fn without_an_external_url_the_runbook_is_named_by_its_path() {
    let homeless = Message { external_url: String::new(), ..message(&["h:8080"], false) };
    let text = json_of(&slack(), &homeless)["attachments"][0]["text"].to_string();
    assert!(text.contains("Runbook: /runbooks/api-down"), "{text}");
    let event = json_of(&pagerduty(), &homeless);
    assert_eq!(event["links"], serde_json::json!([]), "PagerDuty takes whole links only");
    assert_eq!(event["payload"]["custom_details"]["runbook"], "/runbooks/api-down");
    let sms = prepare(&sms(), &homeless, 0, 0).unwrap().body;
    assert!(sms.contains("%2Frunbooks%2Fapi-down"), "{sms}");
}

#[test]
fn each_number_gets_a_short_text() {
    for (part, number) in [(0, "%2B32470000001"), (1, "%2B32470000002")] {
        let post = prepare(&sms(), &message(&["h:8080"], false), part, 0).unwrap();
        let fields: Vec<&str> = post.body.split('&').collect();
        assert_eq!(fields[..2], ["From=%2B3220000000", &format!("To={number}")]);
        assert_eq!(
            fields[2],
            "Body=FIRING+API+Down+%28high%29+h%3A8080+%3D+0+\
             http%3A%2F%2Fvigie.test%2Frunbooks%2Fapi-down+http%3A%2F%2Fvigie.test%2Falerts"
        );
        assert_eq!(post.config.basic_auth.unwrap().username, "AC1");
    }
    assert_eq!((parts(&sms().kind), parts(&slack().kind)), (2, 1));
    assert!(prepare(&sms(), &message(&["a"], false), 2, 0).is_err());
}

#[test]
fn a_webhook_gets_alertmanagers_version_4() {
    let hook = |alerts_max| {
        integration(IntegrationKind::Webhook { url: Secret::new("http://h/x"), alerts_max })
    };
    let post = prepare(&hook(1), &message(&["a", "b"], true), 0, 0).unwrap();
    assert_eq!(
        post.body,
        concat!(
            r#"{"receiver":"high","status":"resolved","alerts":[{"status":"resolved","labels":"#,
            r#"{"alertname":"API Down","instance":"a","severity":"high"},"annotations":"#,
            r#"{"dashboard":"/d/api/overview","runbook_url":"/runbooks/api-down","#,
            r#""summary":"the API does not answer"},"startsAt":"2025-11-10T09:30:00Z","#,
            r#""endsAt":"2025-11-10T09:31:00.5Z","#,
            r#""generatorURL":"http://vigie.test/graph?g0.expr=up&g0.tab=1","#,
            r#""fingerprint":"00112233445566ff"}],"groupLabels":{"alertname":"API Down"},"#,
            r#""commonLabels":{"alertname":"API Down","severity":"high"},"#,
            r#""commonAnnotations":{"dashboard":"/d/api/overview","#,
            r#""runbook_url":"/runbooks/api-down","summary":"the API does not answer"},"#,
            r#""externalURL":"http://vigie.test","version":"4","#,
            r#""groupKey":"{}:{alertname=\"API Down\"}","truncatedAlerts":1}"#,
        )
    );
    let firing = json_of(&hook(0), &message(&["a"], false));
    assert_eq!(firing["alerts"][0]["endsAt"], "0001-01-01T00:00:00Z");
}

#[test]
fn the_payload_of_the_outbox_comes_back() {
    let message = message(&["a"], false);
    let text = serde_json::to_string(&message).unwrap();
    assert_eq!(serde_json::from_str::<Message>(&text).unwrap(), message);
}

/// A transport that answers what it is told to.
struct Canned(Result<Answer, String>);

impl Transport for Canned {
    fn post(&self, _: Post) -> Posting<'_> {
        Box::pin(std::future::ready(self.0.clone()))
    }
}

/// Runs a future that never waits.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("the transport of this test answers at once"),
    }
}

#[test]
fn answers_mean_delivered_later_or_never_and_errors_hold_no_secret() {
    let retry = |reason: &str, after_ms| Verdict::Retry { reason: reason.to_owned(), after_ms };
    let refused = |reason: &str| Verdict::Refused { reason: reason.to_owned() };
    let answer = |status, retry_after: Option<&str>, body: &str| {
        let retry_after = retry_after.map(str::to_owned);
        Ok(Answer { status, retry_after, body: body.to_owned() })
    };
    let now_ms = 60_000;
    for (given, wanted) in [
        (answer(200, None, "ok"), Verdict::Delivered),
        (answer(202, None, "{}"), Verdict::Delivered),
        (answer(200, None, r#"{"ok":true}"#), Verdict::Delivered),
        (
            answer(200, None, r#"{"ok":false,"error":"channel_not_found"}"#),
            refused("Slack answered ok: false, channel_not_found"),
        ),
        (answer(429, Some("7"), ""), retry("unexpected status code 429", Some(7000))),
        (
            answer(429, Some("Thu, 01 Jan 1970 00:01:30 GMT"), ""),
            retry("unexpected status code 429", Some(30_000)),
        ),
        (
            answer(503, Some("999999"), "x"),
            retry("unexpected status code 503: x", Some(RETRY_AFTER_MS_MAX)),
        ),
        (answer(500, Some("soon"), ""), retry("unexpected status code 500", None)),
        (answer(408, None, ""), retry("unexpected status code 408", None)),
        (
            answer(404, None, "no_service services/T/B/X"),
            refused("unexpected status code 404: no_service <secret>"),
        ),
        (
            answer(400, None, "invalid_payload"),
            refused("unexpected status code 400: invalid_payload"),
        ),
        (
            Err("dial https://hooks.slack.com/services/T/B/X".to_owned()),
            retry("dial <secret>", None),
        ),
    ] {
        let transport = Canned(given.clone());
        let got = at_once(deliver(&transport, &slack(), &message(&["a"], false), 0, now_ms));
        assert_eq!(got, wanted, "{given:?}");
    }
    let moved = at_once(deliver(
        &Canned(answer(301, None, "")),
        &slack(),
        &message(&["a"], false),
        0,
        now_ms,
    ));
    assert!(matches!(moved, Verdict::Refused { reason } if reason.contains("has moved")));
}

#[test]
fn a_template_that_fails_tells_so_and_hides_no_alert() {
    let mut broken = slack();
    if let IntegrationKind::Slack { title, .. } = &mut broken.kind {
        *title = "{{ nothing }}".to_owned();
    }
    let body = json_of(&broken, &message(&["a"], false));
    let title = body["attachments"][0]["title"].as_str().unwrap();
    assert!(title.starts_with("[FIRING] API Down (high) a (title: error"), "{title}");
    let mut broken = pagerduty();
    if let IntegrationKind::PagerDuty { severity, .. } = &mut broken.kind {
        *severity = "{{ range .Alerts }}{{ .Nope }}{{ end }}".to_owned();
    }
    let event = json_of(&broken, &message(&["a"], false));
    assert_eq!(event["payload"]["severity"], "critical");
}

#[test]
fn no_error_holds_a_key_a_password_or_an_address_that_is_one() {
    let secrets =
        ["R0KEY", "TOKEN", "T/B/X", "hunter2", "s3cret-path", "Bearer abc", "eA==", "QUMxOlRPS0VO"];
    let webhook = Integration {
        http: HttpClientConfig {
            authorization: Some(Secret::new("Bearer abc")),
            basic_auth: Some(vigie_config::http_client::BasicAuth {
                username: "u".to_owned(),
                password: Secret::new("hunter2"),
            }),
            ..HttpClientConfig::default()
        },
        ..integration(IntegrationKind::Webhook {
            url: Secret::new("https://u:hunter2@h/s3cret-path?x=1"),
            alerts_max: 0,
        })
    };
    for integration in [pagerduty(), slack(), sms(), webhook] {
        // A receiver that gives everything back that it was sent.
        let body = "R0KEY https://hooks.slack.com/services/T/B/X TOKEN AC1 hunter2 \
                    Basic QUMxOlRPS0VO /s3cret-path?x=1 Bearer abc";
        let echo = Answer { status: 400, retry_after: None, body: body.to_owned() };
        let own: Vec<&str> = secrets_in(&integration);
        let verdict =
            at_once(deliver(&Canned(Ok(echo)), &integration, &message(&["a"], false), 0, 0));
        let Verdict::Refused { reason } = verdict else { panic!("{verdict:?}") };
        for secret in own {
            assert!(!reason.contains(secret), "{secret} in {reason}");
        }
        assert!(secrets.iter().any(|secret| reason.contains(secret)), "others are not ours");
    }
}

fn secrets_in(integration: &Integration) -> Vec<&'static str> {
    match integration.kind {
        IntegrationKind::PagerDuty { .. } => vec!["R0KEY"],
        IntegrationKind::Slack { .. } => vec!["T/B/X"],
        IntegrationKind::Sms { .. } => vec!["TOKEN", "QUMxOlRPS0VO"],
        IntegrationKind::Webhook { .. } => vec!["hunter2", "s3cret-path", "Bearer abc"],
    }
}

#[test]
fn a_usual_text_message_is_short_in_both_languages() {
    for (language, state) in [("en", "FIRING"), ("fr", "ALERTE")] {
        let message =
            Message { language: language.to_owned(), ..message(&["10.0.0.1:8080"], false) };
        let body = prepare(&sms(), &message, 0, 0).unwrap().body;
        let text = body.split("Body=").nth(1).unwrap();
        let text = text.replace("%2F", "/").replace("%3A", ":").replace('+', " ");
        assert!(text.starts_with(state), "{text}");
        assert!(text.chars().count() <= 160, "{}: {text}", text.chars().count());
    }
}
