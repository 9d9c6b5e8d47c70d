//! Loki's ruler: the rules of LogQL that clients list, send and remove, over the coordinator.

use crate::plan::{Plan, check_log_expr};
use std::sync::Arc;
use vigie_config::log_rules::{group_to_yaml, namespaces_to_yaml, parse_group};
use vigie_config::rules::{QueryLanguage, RuleGroup};
use vigie_http::views::{RulerRefusal, RulerView};
use vigie_ledger::RuleGroupRow;
use vigie_watch::{SendError, WatchHandle};

/// The coordinator, as the ruler's clients see it.
pub struct Ruler {
    /// The running coordinator.
    pub watch: Arc<WatchHandle>,
    /// Milliseconds between evaluations of a group that names no interval.
    pub interval_ms: i64,
}

/// The groups that clients sent before; one that does not parse any more is left out, loudly.
pub fn sent_before(rows: &[RuleGroupRow], interval_ms: i64) -> Vec<RuleGroup> {
    let mut groups = Vec::new();
    for row in rows.iter().filter(|row| row.language == "logql") {
        match parse_group(&row.namespace, &row.body, interval_ms, &check_log_expr) {
            Ok(group) => groups.push(group),
            Err(reason) => tracing::error!(
                "rule group {} of namespace {} is not evaluated, send it again: {reason}",
                row.name,
                row.namespace
            ),
        }
    }
    groups
}

impl Ruler {
    /// Over a coordinator that runs.
    pub fn new(watch: &Arc<WatchHandle>, plan: &Plan) -> Ruler {
        Ruler { watch: watch.clone(), interval_ms: plan.config.log_rules_interval_ms }
    }

    fn groups(&self, namespace: Option<&str>) -> Vec<RuleGroup> {
        let known = self.watch.known_groups(QueryLanguage::LogQl).into_iter();
        known
            .map(|one| one.group)
            .filter(|group| namespace.is_none_or(|namespace| namespace == group.file))
            .collect()
    }
}

impl RulerView for Ruler {
    fn list(&self, namespace: Option<&str>, labels: &[(String, String)]) -> Option<String> {
        let mut groups = self.groups(namespace);
        if groups.is_empty() {
            return None;
        }
        if !labels.is_empty() {
            for group in &mut groups {
                group.rules.retain(|rule| rule.labels.iter().any(|own| labels.contains(own)));
            }
            groups.retain(|group| !group.rules.is_empty());
        }
        Some(namespaces_to_yaml(&groups, self.interval_ms))
    }

    fn group(&self, namespace: &str, name: &str) -> Option<String> {
        let groups = self.groups(Some(namespace));
        let group = groups.iter().find(|group| group.name == name)?;
        Some(group_to_yaml(group, self.interval_ms))
    }

    fn put(&self, namespace: &str, text: &str) -> Result<(), RulerRefusal> {
        let group = parse_group(namespace, text, self.interval_ms, &check_log_expr)
            .map_err(RulerRefusal::Bad)?;
        self.watch.put_group(group, text).map_err(refusal)
    }

    fn remove(&self, namespace: &str, name: Option<&str>) -> Result<(), RulerRefusal> {
        self.watch.delete_groups(QueryLanguage::LogQl, namespace, name).map_err(refusal)
    }
}

fn refusal(error: SendError) -> RulerRefusal {
    let words = error.to_string();
    match error {
        SendError::NoGroup | SendError::NoNamespace => RulerRefusal::Missing(words),
        SendError::Ledger(_) => RulerRefusal::Failed(words),
        _ => RulerRefusal::Bad(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapt::Store;
    use std::time::{Duration, Instant};
    use vigie_engine::{Durability, Embedded, EmbeddedOptions, Engine, PushBatch};
    use vigie_http::Metadata;
    use vigie_http::state::now_ms;
    use vigie_ledger::Ledger;
    use vigie_model::{Labels, LogEntry};
    use vigie_net::HttpClient;
    use vigie_watch::{
        AlertState, Connections, RuleEvaluator, SystemClock, Watch, WatchConfig, without_receivers,
    };

    const RULES: &str = r#"
name: g
interval: 1s
rules:
- alert: Panics
  expr: sum by (job) (count_over_time({job="api"} |= "panic" [5m])) > 0
  labels: {severity: high}
  annotations: {summary: "{{ $labels.job }} panicked {{ $value }} time"}
- record: job:panics:count5m
  expr: sum by (job) (count_over_time({job="api"} |= "panic" [5m]))
"#;

    fn push(engine: &dyn Engine, line: &str) {
        let labels = Labels::from_pairs([("job", "api")]);
        let entry = LogEntry {
            ts_ns: now_ms() * 1_000_000,
            line: line.as_bytes().to_vec(),
            metadata: Labels::default(),
        };
        let batch = PushBatch { labels: &labels, entries: &[entry] };
        engine.push(&[batch], Durability::Written).unwrap();
    }

    /// Waits until `done`, or fails after a minute.
    async fn until(what: &str, mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !done() {
            assert!(Instant::now() < deadline, "never happened: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_line_that_says_panic_fires_an_alert_and_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let engine: Arc<dyn Engine> =
            Arc::new(Embedded::open(dir.path(), EmbeddedOptions::default()).unwrap());
        let metadata = Arc::new(Metadata::default());
        let store = Arc::new(Store { engine: engine.clone(), metadata });
        let config = WatchConfig {
            groups: Vec::new(),
            sent_groups: Vec::new(),
            alerting: without_receivers("http://vigie.test"),
            language: "en".to_owned(),
        };
        let ledger = Arc::new(Ledger::open(&dir.path().join("ledger.sqlite")).unwrap());
        let connections = Connections {
            evaluator: store.clone(),
            sink: store.clone(),
            ledger: ledger.clone(),
            transport: Arc::new(HttpClient::new()),
            clock: Arc::new(SystemClock),
        };
        let watch = Arc::new(Watch::start(config, connections).unwrap());
        let ruler = Ruler { watch: watch.clone(), interval_ms: 15_000 };

        push(&*engine, "all is well");
        ruler.put("ns", RULES).unwrap();
        until("the rules are evaluated", || {
            watch.rules().first().is_some_and(|group| group.last_evaluation_ms.is_some())
        })
        .await;
        assert!(watch.alerts().is_empty(), "{:?}", watch.alerts());

        let evaluations = || {
            let metrics = watch.metrics().into_iter();
            let mut metrics =
                metrics.filter(|one| one.name == "vigie_rule_group_evaluations_total");
            metrics.next().map_or(0.0, |one| one.value)
        };
        push(&*engine, "thread 'main' panicked at src/main.rs: panic");
        let before = evaluations();
        until("the alert fires", || watch.alerts().len() == 1).await;
        // One evaluation may have been under way when the line came; the next one sees it.
        assert!(evaluations() - before <= 3.0, "{} evaluations", evaluations() - before);
        let alert = &watch.alerts()[0];
        assert_eq!(alert.state, AlertState::Firing);
        assert_eq!(alert.annotations[0].1, "api panicked 1 time");
        let generator = &watch.am_alerts()[0].generator_url;
        assert!(generator.starts_with("http://vigie.test/explore?tab=logs&expr="), "{generator}");

        until("the series is there", || {
            let answer = store.instant(
                QueryLanguage::PromQl,
                r#"job:panics:count5m{job="api"}"#,
                now_ms() + 2_000,
            );
            answer.is_ok_and(|vector| vector.first().is_some_and(|(_, value)| *value == 1.0))
        })
        .await;
        assert!(ruler.list(None, &[]).unwrap().starts_with("ns:\n- name: g\n  interval: 1s\n"));
        let high = [("severity".to_owned(), "high".to_owned())];
        assert!(!ruler.list(None, &high).unwrap().contains("record"));

        // What does not parse is refused, and what a newer parser refuses is left out at a start.
        let wrong = RULES.replace("[5m]", "[5x]");
        let Err(RulerRefusal::Bad(words)) = ruler.put("ns", &wrong) else { panic!("taken") };
        assert!(
            words.starts_with(
                "could not parse expression for alert 'Panics' in group 'g': parse error at line"
            ),
            "{words}"
        );
        let rows = ledger.rule_groups().unwrap();
        assert_eq!(sent_before(&rows, 15_000).len(), 1);
        let broken = RuleGroupRow { body: wrong, ..rows[0].clone() };
        assert!(sent_before(&[broken], 15_000).is_empty());

        ruler.remove("ns", None).unwrap();
        assert!(watch.alerts().is_empty() && ruler.list(None, &[]).is_none());
        watch.stop().await;
    }
}
