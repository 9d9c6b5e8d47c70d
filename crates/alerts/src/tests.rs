//! Routing tables and a day of one group, with the clock in hand.

use super::*;
use vigie_config::alerting::{Integration, IntegrationKind, Receiver, Route};
use vigie_config::http_client::{HttpClientConfig, Secret};
use vigie_model::Matcher;

fn integration(send_resolved: bool) -> Integration {
    Integration {
        kind: IntegrationKind::Webhook { url: Secret::new("http://x"), alerts_max: 0 },
        send_resolved,
        http: HttpClientConfig::default(),
    }
}

fn leaf(receiver: &str, matchers: Vec<Matcher>, continue_matching: bool) -> Route {
    Route {
        receiver: receiver.to_owned(),
        matchers,
        continue_matching,
        group_by: Some(vec!["alertname".to_owned()]),
        group_wait_ms: 10_000,
        group_interval_ms: 60_000,
        repeat_interval_ms: 3_600_000,
        routes: Vec::new(),
    }
}

fn alerting() -> Arc<Alerting> {
    let mut root = leaf("all", Vec::new(), false);
    let mut high = leaf("pager", vec![Matcher::equal("severity", "high")], false);
    high.routes = vec![leaf("dba", vec![Matcher::equal("job", "postgresql")], true)];
    let mut medium = leaf("slack", vec![Matcher::equal("severity", "medium")], true);
    medium.group_by = None;
    let audit = leaf("audit", vec![Matcher::equal("severity", "medium")], false);
    root.routes = vec![high, medium, audit];
    let receiver = |name: &str, resolved: &[bool]| Receiver {
        name: name.to_owned(),
        integrations: resolved.iter().map(|resolved| integration(*resolved)).collect(),
    };
    Arc::new(Alerting {
        route: root,
        receivers: vec![
            receiver("all", &[]),
            receiver("pager", &[true, false]),
            receiver("dba", &[true]),
            receiver("slack", &[true]),
            receiver("audit", &[true]),
        ],
        resolve_timeout_ms: 300_000,
        external_url: String::new(),
    })
}

fn alert(pairs: &[(&str, &str)], starts_s: i64, ends_s: Option<i64>) -> Alert {
    Alert {
        labels: Labels::from_pairs(pairs.iter().copied()),
        annotations: Labels::default(),
        starts_at_ms: starts_s * 1000,
        ends_at_ms: ends_s.map(|s| s * 1000),
        updated_at_ms: 0,
        generator_url: String::new(),
        value: 1.0,
    }
}

#[test]
fn alerts_take_the_first_route_that_matches_unless_it_continues() {
    for (pairs, wanted) in [
        (&[("alertname", "x")][..], "all {}:{alertname=\"x\"}"),
        (
            &[("alertname", "API Down"), ("severity", "high")],
            "pager {}/{severity=\"high\"}:{alertname=\"API Down\"}",
        ),
        (
            &[("alertname", "DB"), ("severity", "high"), ("job", "postgresql")],
            "dba {}/{severity=\"high\"}/{job=\"postgresql\"}:{alertname=\"DB\"}",
        ),
        (
            &[("alertname", "Slow"), ("severity", "medium")],
            "slack {}/{severity=\"medium\"}:{alertname=\"Slow\", severity=\"medium\"} \
             audit {}/{severity=\"medium\"}:{alertname=\"Slow\"}",
        ),
    ] {
        let alerting = alerting();
        let found = route(&alerting.route, &Labels::from_pairs(pairs.iter().copied()));
        let texts: Vec<_> =
            found.iter().map(|f| format!("{} {}", f.receiver, f.group_key)).collect();
        assert_eq!(texts.join(" "), wanted);
    }
}

/// `integration:firing/resolved` of everything that a flush at `seconds` tells.
fn flush(dispatcher: &mut Dispatcher, seconds: i64) -> String {
    let flushed = dispatcher.flush(seconds * 1000);
    let told = flushed.notifications.iter().map(|n| {
        let resolved = n.alerts.iter().filter(|a| a.is_resolved()).count();
        format!("{}:{}/{resolved}", n.integration, n.alerts.len() - resolved)
    });
    let obsolete = flushed.obsolete.iter().map(|(_, at)| format!("{at}:obsolete"));
    told.chain(obsolete).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_group_waits_tells_repeats_and_resolves() {
    let high = |instance| [("alertname", "API Down"), ("severity", "high"), ("instance", instance)];
    let (a, b) = (high("a"), high("b"));
    let mut d = Dispatcher::new(alerting(), Vec::new());
    d.put(&alert(&a, 100, None), 100_000).unwrap();
    assert_eq!(flush(&mut d, 109), "", "group_wait is not over");
    assert_eq!(flush(&mut d, 110), "0:1/0 1:1/0");
    d.put(&alert(&a, 100, None), 125_000).unwrap();
    d.put(&alert(&b, 125, None), 125_000).unwrap();
    assert_eq!(flush(&mut d, 169), "", "group_interval is not over");
    assert_eq!(flush(&mut d, 170), "0:2/0 1:2/0", "b is new");
    assert_eq!(flush(&mut d, 230), "", "nothing new");
    d.put(&alert(&b, 125, Some(240)), 240_000).unwrap();
    assert_eq!(flush(&mut d, 290), "0:1/1", "only one of them wants resolved alerts");
    d.put(&alert(&b, 125, Some(240)), 300_000).unwrap();
    assert_eq!(flush(&mut d, 350), "", "b was told already");
    assert_eq!(flush(&mut d, 3800), "1:1/0", "repeat_interval since 170 s");
    assert_eq!(flush(&mut d, 3900), "0:1/0", "repeat_interval since 290 s");
    d.put(&alert(&a, 100, Some(3950)), 3_950_000).unwrap();
    assert_eq!(flush(&mut d, 3960), "0:0/1 1:obsolete");
    assert_eq!((d.groups().count(), d.is_due(i64::MAX)), (0, false), "the group is over");
    d.put(&alert(&a, 100, Some(3950)), 3_970_000).unwrap();
    assert_eq!(d.groups().count(), 0, "a resolved alert opens no group");
}

#[test]
fn what_fires_and_resolves_within_one_interval_says_nothing() {
    let labels = [("alertname", "x"), ("severity", "high")];
    let mut d = Dispatcher::new(alerting(), Vec::new());
    d.put(&alert(&labels, 100, None), 100_000).unwrap();
    d.put(&alert(&labels, 100, Some(105)), 105_000).unwrap();
    assert_eq!(flush(&mut d, 110), "");
    assert_eq!(d.groups().count(), 0);
}

#[test]
fn an_old_alert_does_not_wait() {
    let mut d = Dispatcher::new(alerting(), Vec::new());
    d.put(&alert(&[("alertname", "x"), ("severity", "high")], 50, None), 100_000).unwrap();
    assert_eq!(flush(&mut d, 100), "0:1/0 1:1/0");
}

#[test]
fn saved_groups_go_on_and_those_of_lost_routes_are_dropped() {
    let labels = [("alertname", "x"), ("severity", "high")];
    let mut d = Dispatcher::new(alerting(), Vec::new());
    d.put(&alert(&labels, 100, None), 100_000).unwrap();
    assert_eq!(d.take_touched().len(), 1);
    assert_eq!(flush(&mut d, 110), "0:1/0 1:1/0");
    let saved: Vec<Group> = d.take_touched().into_iter().filter_map(|(_, group)| group).collect();

    let mut after = Dispatcher::new(alerting(), saved.clone());
    after.put(&alert(&labels, 100, None), 120_000).unwrap();
    assert!(after.take_touched().is_empty(), "nothing has changed");
    assert_eq!(flush(&mut after, 170), "", "it was told before the restart");
    after.put(&alert(&labels, 100, Some(180)), 180_000).unwrap();
    assert_eq!(flush(&mut after, 230), "0:0/1 1:obsolete");
    assert_eq!(after.take_touched(), [(saved[0].id(), None)]);

    let mut other = alerting().as_ref().clone();
    other.route.routes.clear();
    let mut moved = Dispatcher::new(Arc::new(other), saved);
    assert_eq!((moved.groups().count(), moved.take_touched().len()), (0, 1));
}

#[test]
fn fingerprints_are_prometheus_own() {
    // `model.LabelSet{}.Fingerprint()` of prometheus/common is the FNV offset basis.
    assert_eq!(format!("{:016x}", fingerprint(&Labels::default())), "cbf29ce484222325");
    let labels = Labels::from_pairs([("name", "garland, briggs"), ("fear", "love is not enough")]);
    assert_eq!(fingerprint(&labels), 5_799_056_148_416_392_346, "its own test's value");
}

#[test]
fn a_clock_that_was_set_back_leaves_nobody_untold() {
    let mut d = Dispatcher::new(alerting(), Vec::new());
    let day_s = 86_400;
    let high = |host: &str, starts_s| {
        alert(&[("alertname", "A"), ("severity", "high"), ("h", host)], starts_s, None)
    };
    d.put(&high("a", day_s), day_s * 1000).unwrap();
    assert_eq!(d.flush(day_s * 1000 + 10_000).notifications.len(), 2);
    assert!(!d.is_due(day_s * 1000 + 20_000), "the next look is in a minute");
    // A day back: another host fails; the timer still stands at tomorrow.
    d.put(&high("b", 100), 100_000).unwrap();
    assert!(d.is_due(100_000));
    assert_eq!(d.flush(100_000).notifications.len(), 2);
    assert!(!d.is_due(100_000), "the timer is set anew");
}
