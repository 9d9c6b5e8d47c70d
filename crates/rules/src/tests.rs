//! The state machine, step by step.

use super::*;
use vigie_config::rules::Rule;
use vigie_model::is_stale;

fn group(for_ms: i64, keep_firing_for_ms: i64, limit: usize) -> RuleGroup {
    RuleGroup {
        language: Default::default(),
        file: "rules.yml".to_owned(),
        name: "api".to_owned(),
        interval_ms: 15_000,
        limit,
        query_offset_ms: 0,
        labels: Labels::from_pairs([("team", "core"), ("severity", "low")]),
        rules: vec![
            Rule {
                kind: RuleKind::Alert {
                    name: "API Down".to_owned(),
                    for_ms,
                    keep_firing_for_ms,
                    annotations: vec![(
                        "summary".to_owned(),
                        "{{ $labels.instance }} is {{ $value }}".to_owned(),
                    )],
                },
                expr: "up == 0".to_owned(),
                labels: vec![("severity".to_owned(), "high".to_owned())],
            },
            Rule {
                kind: RuleKind::Record { name: "job:up:sum".to_owned() },
                expr: "sum(up)".to_owned(),
                labels: Vec::new(),
            },
        ],
    }
}

fn up(instances: &[&str], value: f64) -> Vec<(Labels, f64)> {
    let series =
        |instance: &&str| Labels::from_pairs([("__name__", "up"), ("instance", *instance)]);
    instances.iter().map(|instance| (series(instance), value)).collect()
}

/// The states of all alerts, resolved ones included, as `instance:state`.
fn states(group: &GroupState) -> String {
    let words: Vec<String> = group.rules()[0]
        .all_alerts()
        .map(|a| format!("{}:{}", a.labels.value_or_empty("instance"), a.state.as_str()))
        .collect();
    words.join(" ")
}

#[test]
fn an_alert_pends_fires_is_kept_and_resolves() {
    // (seconds, instances down, states after it, changes persisted)
    type Step = (i64, &'static [&'static str], &'static str, usize);
    let cases: [(&str, i64, i64, &[Step]); 4] = [
        (
            "fires at once without for",
            0,
            0,
            &[(0, &["a"], "a:firing", 1), (15, &["a"], "a:firing", 0)],
        ),
        (
            "fires when the condition has held for long enough",
            30_000,
            0,
            &[
                (0, &["a"], "a:pending", 1),
                (15, &["a"], "a:pending", 0),
                (30, &["a", "b"], "a:firing b:pending", 2),
                (45, &["b"], "a:inactive b:pending", 1),
                (46, &["a"], "a:pending", 2),
            ],
        ),
        (
            "a pending alert whose condition goes is forgotten, a resolved one after 15 minutes",
            30_000,
            0,
            &[
                (0, &["a"], "a:pending", 1),
                (15, &[], "", 1),
                (30, &["b"], "b:pending", 1),
                (60, &["b"], "b:firing", 1),
                (75, &[], "b:inactive", 1),
                (975, &[], "b:inactive", 0),
                (976, &[], "", 1),
            ],
        ),
        (
            "keep_firing_for counts from the first evaluation that misses",
            0,
            30_000,
            &[
                (0, &["a"], "a:firing", 1),
                (15, &[], "a:firing", 1),
                (30, &["a"], "a:firing", 1),
                (45, &[], "a:firing", 1),
                (60, &[], "a:firing", 0),
                (75, &[], "a:inactive", 1),
            ],
        ),
    ];
    for (name, for_ms, keep_ms, steps) in cases {
        let mut state = GroupState::new(group(for_ms, keep_ms, 0));
        for (seconds, down, wanted, changes) in steps {
            let outcome =
                state.evaluate(0, seconds * 1000, Ok(up(down, 0.0)), &Surroundings::default());
            assert_eq!(states(&state), *wanted, "{name}, at {seconds} s");
            assert_eq!(outcome.changes.len(), *changes, "{name}, at {seconds} s: {outcome:?}");
        }
    }
}

#[test]
fn series_say_the_state_and_end_with_a_stale_marker() {
    let mut state = GroupState::new(group(15_000, 0, 0));
    let mut write = |seconds: i64, down: &[&str]| {
        let vector = Ok(up(down, 0.0));
        let outcome = state.evaluate(0, seconds * 1000, vector, &Surroundings::default());
        let line = |(labels, value): &(Labels, f64)| {
            let name = labels.metric_name().unwrap_or("");
            let value = if is_stale(*value) { "stale".to_owned() } else { value.to_string() };
            format!("{name} {}={value}", labels.value_or_empty("alertstate"))
        };
        outcome.samples.iter().map(line).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(write(1000, &["a"]), "ALERTS pending=1, ALERTS_FOR_STATE =1000");
    assert_eq!(
        write(1015, &["a"]),
        "ALERTS firing=1, ALERTS_FOR_STATE =1000, ALERTS pending=stale"
    );
    assert_eq!(write(1030, &[]), "ALERTS firing=stale, ALERTS_FOR_STATE =stale");
}

#[test]
fn labels_and_annotations_are_the_samples_and_the_rules() {
    let mut state = GroupState::new(group(0, 0, 0));
    state.evaluate(0, 0, Ok(up(&["a"], 0.5)), &Surroundings::default());
    let alert = state.rules()[0].active_alerts().next().unwrap();
    assert_eq!(
        alert.labels.to_string(),
        r#"{alertname="API Down", instance="a", severity="high", team="core"}"#
    );
    assert_eq!(alert.annotations, [("summary".to_owned(), "a is 0.5".to_owned())]);
    assert_eq!(state.rules()[0].state(), Some(AlertState::Firing));
    assert_eq!(state.rules()[1].state(), None);

    let mut broken = group(0, 0, 0);
    if let RuleKind::Alert { annotations, .. } = &mut broken.rules[0].kind {
        annotations[0].1 = "{{ nothing }}".to_owned();
    }
    let mut state = GroupState::new(broken);
    state.evaluate(0, 0, Ok(up(&["a"], 0.5)), &Surroundings::default());
    let alert = state.rules()[0].active_alerts().next().unwrap();
    assert!(alert.annotations[0].1.starts_with("<error expanding template: "), "{alert:?}");
}

#[test]
fn errors_keep_alerts_and_limits_clear_them() {
    let mut state = GroupState::new(group(0, 0, 1));
    let around = Surroundings::default();
    state.evaluate(0, 0, Ok(up(&["a"], 0.0)), &around);
    for (answer, error, after) in [
        (Err("timed out".to_owned()), "timed out", "a:firing"),
        (
            Ok(up(&["a", "a"], 0.0)),
            "vector contains metrics with the same labelset after applying alert labels",
            "a:firing",
        ),
        (Ok(up(&["a", "b"], 0.0)), "exceeded limit of 1 with 2 alerts", ""),
    ] {
        let outcome = state.evaluate(0, 15_000, answer, &around);
        assert_eq!(state.rules()[0].last_error.as_deref(), Some(error));
        assert_eq!((states(&state).as_str(), state.rules()[0].health), (after, Health::Bad));
        assert!(outcome.samples.is_empty());
    }
    let outcome = state.evaluate(1, 15_000, Ok(up(&["a", "b"], 1.0)), &around);
    assert!(outcome.samples.is_empty());
    let error = state.rules()[1].last_error.as_deref();
    assert_eq!(error, Some("exceeded limit of 1 with 2 series"));
}

#[test]
fn recorded_series_take_the_name_and_labels_of_the_rule() {
    let mut state = GroupState::new(group(0, 0, 0));
    let outcome = state.evaluate(1, 0, Ok(up(&["a"], 3.0)), &Surroundings::default());
    assert_eq!(
        outcome.samples[0].0.to_string(),
        r#"{__name__="job:up:sum", instance="a", severity="low", team="core"}"#
    );
    let outcome = state.evaluate(1, 15_000, Ok(Vec::new()), &Surroundings::default());
    assert!(is_stale(outcome.samples[0].1));
}

#[test]
fn restored_alerts_go_on_where_they_were() {
    let mut state = GroupState::new(group(30_000, 0, 0));
    state.evaluate(0, 0, Ok(up(&["a"], 0.0)), &Surroundings::default());
    let key = state.rules()[0].key.clone();
    let saved: Vec<_> = state.rules()[0].all_alerts().cloned().collect();

    let mut after = GroupState::new(group(30_000, 0, 0));
    assert!(after.restore(&key, saved[0].clone(), 20_000));
    assert!(!after.restore("gone", saved[0].clone(), 20_000));
    after.evaluate(0, 30_000, Ok(up(&["a"], 0.0)), &Surroundings::default());
    assert_eq!(states(&after), "a:firing", "it has held for 30 s over the restart");

    let mut late = GroupState::new(group(30_000, 0, 0));
    let tomorrow_ms = 86_400_000;
    late.restore(&key, saved[0].clone(), tomorrow_ms);
    late.evaluate(0, tomorrow_ms, Ok(up(&["a"], 0.0)), &Surroundings::default());
    assert_eq!(states(&late), "a:pending", "nobody knows what was in between");
}

#[test]
fn an_alert_fires_in_time_although_the_clock_was_set_back() {
    let mut group = GroupState::new(group(30_000, 0, 0));
    let at = |group: &mut GroupState, seconds: i64| {
        let answer = Ok(up(&["a"], 0.0));
        group.evaluate(0, seconds * 1000, answer, &Surroundings::default()).changes.len()
    };
    assert_eq!(at(&mut group, 86_400), 1);
    assert_eq!(at(&mut group, 100), 1, "it counts anew, and that is persisted");
    assert_eq!(at(&mut group, 115), 0);
    assert_eq!(states(&group), "a:pending");
    at(&mut group, 130);
    assert_eq!(states(&group), "a:firing");
}
