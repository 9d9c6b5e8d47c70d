//! One tick: evaluate, route, write. Synchronous, so that a test or a simulator can drive it.

use crate::convert;
use crate::said::Said;
use crate::schedule::Slots;
use crate::status::{
    AlertStatus, AlertmanagerAlert, GroupStatus, Metric, NotificationStatus, RuleStatus,
};
use crate::{Connections, WatchConfig, WatchError};
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use vigie_alerts::{Alert, Dispatcher, Flushed, GroupId, Notification};
use vigie_config::alerting::{Alerting, Integration};
use vigie_config::rules::{QueryLanguage, Rule, RuleGroup, RuleKind};
use vigie_ledger::{LedgerError, NewMessage, Tx};
use vigie_model::Labels;
use vigie_notify::{dedup_key, kind_name, parts};
use vigie_rules::{AlertState, Change, GroupState, Leavings, Surroundings};

/// Prometheus' resend delay; with four of it an alert's `endsAt` is told to Alertmanager.
const RESEND_DELAY_MS: i64 = 60_000;

/// The state of everything that is watched.
pub(crate) struct Core {
    pub(crate) connections: Connections,
    pub(crate) alerting: Arc<Alerting>,
    language: String,
    groups: RwLock<Vec<Arc<Group>>>,
    dispatcher: Mutex<Dispatcher>,
    /// Whether alerts were taken up but nothing was collected for a while.
    is_cold: bool,
    /// Whether another has taken over: then nothing is written any more.
    is_retired: AtomicBool,
    /// What outlives a configuration.
    pub(crate) lasting: Arc<Lasting>,
}

/// What one configuration hands on to the next as it is.
#[derive(Default)]
pub(crate) struct Lasting {
    /// Attempts to send, by kind and result.
    pub(crate) attempts: Mutex<BTreeMap<(String, &'static str), u64>>,
    /// Messages that are being sent.
    pub(crate) in_flight: Mutex<BTreeSet<i64>>,
    /// What the log knows.
    pub(crate) said: Said,
}

/// A group of rules that is evaluated.
pub(crate) struct Group {
    pub(crate) run: Mutex<GroupRun>,
    /// Whether a client sent it; the others stand in files.
    pub(crate) is_sent: bool,
    /// Held while it is evaluated or replaced.
    turn: Mutex<()>,
    /// Set when another took its place, or nobody.
    retired: AtomicBool,
}

/// A group's state and how its evaluations went.
pub(crate) struct GroupRun {
    pub(crate) state: GroupState,
    /// Whether a write failed, so that the ledger may lack any of the group's alerts.
    unsaved: bool,
    duration_s: f64,
    rule_durations_s: Vec<f64>,
    last_evaluation_ms: Option<i64>,
    evaluations: u64,
    failures: u64,
    missed: u64,
}

/// What is written in the transaction of something else.
pub(crate) type Also<'a> = &'a dyn Fn(&Tx<'_>) -> Result<(), LedgerError>;

/// Changes of a rule's alerts, under the rule's key.
struct RuleChange {
    rule_key: String,
    generator_url: String,
    change: Change,
}

impl Core {
    /// Takes up what the ledger knows, and what is only in the memory of the one `before` it.
    pub(crate) fn open(
        config: WatchConfig,
        connections: Connections,
        before: Option<&Core>,
    ) -> Result<Core, WatchError> {
        let alerting = Arc::new(config.alerting);
        let now_ms = connections.clock.now_ms();
        let files = config.groups.into_iter().map(|group| (GroupState::new(group), false));
        let sent = config.sent_groups.into_iter().map(|group| (GroupState::new(group), true));
        let mut states: Vec<(GroupState, bool)> = files.chain(sent).collect();
        let saved = connections.ledger.groups()?;
        let saved = saved.iter().map(convert::group).collect::<Result<Vec<_>, _>>()?;
        let mut dispatcher = Dispatcher::new(alerting.clone(), saved);
        let (mut orphans, mut restored) = (Vec::new(), false);
        for row in connections.ledger.alerts()? {
            let alert = convert::active_alert(&row);
            if states.iter_mut().any(|(s, _)| s.restore(&row.rule_key, alert.clone(), now_ms)) {
                restored |= alert.state != AlertState::Inactive;
                continue;
            }
            // Its rule is gone, so nobody will ever resolve it.
            if let Some(routed) = convert::routed_alert(&alert, &row.generator_url, now_ms) {
                let ends_at_ms = routed.ends_at_ms.or(Some(now_ms));
                put_all(&mut dispatcher, &[Alert { ends_at_ms, ..routed }], now_ms);
            }
            orphans.push(row);
        }
        let groups =
            states.into_iter().map(|(state, is_sent)| Group::new(state, is_sent)).collect();
        let is_cold = restored
            && before.is_none_or(|before| before.is_cold)
            && !connections.evaluator.is_fresh(now_ms);
        let core = Core {
            is_cold,
            is_retired: AtomicBool::new(false),
            lasting: before.map(|before| before.lasting.clone()).unwrap_or_default(),
            connections,
            alerting,
            language: config.language,
            groups: RwLock::new(groups),
            dispatcher: Mutex::new(dispatcher),
        };
        let gone = orphans.into_iter().map(|row| RuleChange {
            rule_key: row.rule_key,
            generator_url: row.generator_url,
            change: Change::Gone(row.labels),
        });
        core.commit(&gone.collect::<Vec<_>>(), &[], now_ms, None)?;
        Ok(core)
    }

    /// From now on nothing is written: another takes over. Waits for what is being written.
    pub(crate) fn retire(&self) {
        let _writing = self.dispatcher.lock();
        self.is_retired.store(true, Ordering::Release);
    }

    /// The other could not take over.
    pub(crate) fn come_back(&self) {
        self.is_retired.store(false, Ordering::Release);
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.connections.clock.now_ms()
    }

    pub(crate) fn is_cold(&self) -> bool {
        self.is_cold
    }

    /// The groups as they are now.
    pub(crate) fn groups(&self) -> Vec<Arc<Group>> {
        self.groups.read().clone()
    }

    /// Evaluates a group's rules at an instant and carries the outcome to the ledger.
    pub(crate) fn evaluate_group(&self, group: &Group, ts_ms: i64) {
        let _turn = group.turn.lock();
        if group.is_retired() {
            return;
        }
        let started = Instant::now();
        // The rules run on a copy, so that readers need not wait for queries.
        let mut state = group.run.lock().state.clone();
        let (mut changes, mut durations_s) = (Vec::new(), Vec::new());
        for rule in 0..state.rules().len() {
            let rule_started = Instant::now();
            changes.extend(self.evaluate_rule(&mut state, rule, ts_ms));
            durations_s.push(rule_started.elapsed().as_secs_f64());
        }
        let now_ms = self.now_ms();
        if group.run.lock().unsaved {
            changes = self.all_as_changes(&state, &changes);
        }
        let routed = self.routed_alerts(&state, now_ms);
        let committed = self.commit(&changes, &routed, now_ms, None);
        if let Err(error) = &committed {
            tracing::error!("rule group {}: {error}; trying again", state.config().name);
        }
        let mut run = group.run.lock();
        run.unsaved = committed.is_err();
        run.evaluations += 1;
        let failed = state.rules().iter().filter(|rule| rule.last_error.is_some()).count();
        run.failures += failed as u64;
        run.last_evaluation_ms = Some(ts_ms);
        run.rule_durations_s = durations_s;
        run.duration_s = started.elapsed().as_secs_f64();
        run.state = state;
    }

    /// Puts a group that a client sent into the place of the one of its name, or takes that one
    /// out; `also` is written in the same transaction. When that fails nothing has changed.
    pub(crate) fn change_group(
        &self,
        old: Option<&Arc<Group>>,
        new: Option<RuleGroup>,
        also: Also<'_>,
    ) -> Result<Option<Arc<Group>>, LedgerError> {
        // An evaluation under way ends first, and none begins.
        let _turn = old.map(|group| group.turn.lock());
        let now_ms = self.now_ms();
        let mut state = new.map(GroupState::new);
        let left = match (old.map(|group| group.run.lock().state.clone()), &mut state) {
            (Some(before), Some(state)) => state.take_over(&before, now_ms),
            (Some(before), None) => before.leave(now_ms),
            (None, _) => Leavings::default(),
        };
        let (mut changes, mut ended) = (Vec::new(), Vec::new());
        for (rule_key, alert) in left.alerts {
            if let Some(routed) = convert::routed_alert(&alert, "", now_ms) {
                ended.push(Alert { ends_at_ms: routed.ends_at_ms.or(Some(now_ms)), ..routed });
            }
            let change = Change::Gone(alert.labels);
            changes.push(RuleChange { rule_key, generator_url: String::new(), change });
        }
        self.commit(&changes, &ended, now_ms, Some(also))?;
        if !left.samples.is_empty()
            && let Err(error) = self.connections.sink.write(now_ms, &left.samples)
        {
            tracing::warn!("the series of rules that are gone end late: {error}");
        }
        let group = state.map(|state| Group::new(state, true));
        let mut groups = self.groups.write();
        if let Some(old) = old {
            old.retired.store(true, Ordering::SeqCst);
            groups.retain(|group| !Arc::ptr_eq(group, old));
        }
        groups.extend(group.clone());
        Ok(group)
    }

    fn evaluate_rule(&self, state: &mut GroupState, rule: usize, ts_ms: i64) -> Vec<RuleChange> {
        let config = state.config();
        let (language, expr) = (config.language, config.rules[rule].expr.clone());
        let query_ts_ms = ts_ms - config.query_offset_ms;
        let evaluator = self.connections.evaluator.clone();
        let answer = evaluator.instant(language, &expr, query_ts_ms);
        let surroundings = Surroundings {
            external_url: self.alerting.external_url.clone(),
            external_labels: Labels::default(),
            query: Some(Arc::new(move |query| evaluator.instant(language, query, query_ts_ms))),
        };
        let outcome = state.evaluate(rule, ts_ms, answer, &surroundings);
        let written = match outcome.samples.as_slice() {
            [] => Ok(()),
            samples => self.connections.sink.write(query_ts_ms, samples),
        };
        let rule_state = &state.rules()[rule];
        let (key, trouble) = (&rule_state.key, written.err());
        match trouble.as_ref().or(rule_state.last_error.as_ref()) {
            Some(error) if self.lasting.said.is_new(key, error) => {
                tracing::warn!("rule {key}: {error}")
            }
            Some(_) => {}
            None if self.lasting.said.is_over(key) => tracing::info!("rule {key}: evaluated again"),
            None => {}
        }
        let generator_url = self.generator_url(language, &expr);
        let named = outcome.changes.into_iter().map(|change| RuleChange {
            rule_key: rule_state.key.clone(),
            generator_url: generator_url.clone(),
            change,
        });
        named.collect()
    }

    fn generator_url(&self, language: QueryLanguage, expr: &str) -> String {
        let base = self.alerting.external_url.trim_end_matches('/');
        let expr = vigie_template::query_escape(expr);
        match language {
            QueryLanguage::PromQl => format!("{base}/graph?g0.expr={expr}&g0.tab=1"),
            QueryLanguage::LogQl => format!("{base}/explore?tab=logs&expr={expr}"),
        }
    }

    /// Every alert of a group as a change, and what is gone: for when the ledger missed some.
    fn all_as_changes(&self, state: &GroupState, changes: &[RuleChange]) -> Vec<RuleChange> {
        let gone = changes.iter().filter(|one| matches!(one.change, Change::Gone(_)));
        let mut all: Vec<RuleChange> = gone
            .map(|one| RuleChange {
                rule_key: one.rule_key.clone(),
                generator_url: one.generator_url.clone(),
                change: one.change.clone(),
            })
            .collect();
        for (config, rule) in state.config().rules.iter().zip(state.rules()) {
            all.extend(rule.all_alerts().map(|alert| RuleChange {
                rule_key: rule.key.clone(),
                generator_url: self.generator_url(state.config().language, &config.expr),
                change: Change::Kept(alert.clone()),
            }));
        }
        all
    }

    /// The alerts of a group that receivers may have to hear of.
    fn routed_alerts(&self, state: &GroupState, now_ms: i64) -> Vec<Alert> {
        let mut routed = Vec::new();
        for (config, rule) in state.config().rules.iter().zip(state.rules()) {
            let url = self.generator_url(state.config().language, &config.expr);
            let alerts = rule.all_alerts().filter(|alert| alert.state != AlertState::Pending);
            routed.extend(alerts.filter_map(|a| convert::routed_alert(a, &url, now_ms)));
        }
        routed
    }

    /// Whether a group's timer has run out. Never waits: while a tick holds the dispatcher, it
    /// tells whoever is due itself.
    pub(crate) fn flush_is_due(&self) -> bool {
        self.dispatcher.try_lock().is_some_and(|dispatcher| dispatcher.is_due(self.now_ms()))
    }

    /// Tells whoever is due.
    pub(crate) fn flush(&self) {
        if let Err(error) = self.commit(&[], &[], self.now_ms(), None) {
            tracing::error!("group timers: {error}; trying again");
        }
    }

    /// Routes alerts, decides who is told, and writes everything in one transaction, `also` with it.
    /// When that fails, the groups are as they were before.
    fn commit(
        &self,
        changes: &[RuleChange],
        alerts: &[Alert],
        now_ms: i64,
        also: Option<Also<'_>>,
    ) -> Result<(), LedgerError> {
        let mut current = self.dispatcher.lock();
        if self.is_retired.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut next = current.clone();
        put_all(&mut next, alerts, now_ms);
        let flushed = next.flush(now_ms);
        let touched = next.take_touched();
        if !(changes.is_empty() && touched.is_empty() && also.is_none()) {
            self.connections.ledger.transaction(|tx| {
                also.map_or(Ok(()), |also| also(tx))?;
                write_changes(tx, changes)?;
                for (id, group) in &touched {
                    match group {
                        Some(group) => tx.put_group(&convert::group_row(group))?,
                        None => tx.delete_group(&id.0, &id.1)?,
                    }
                }
                self.enqueue(tx, &flushed, now_ms)
            })?;
        }
        *current = next;
        Ok(())
    }

    fn enqueue(&self, tx: &Tx<'_>, flushed: &Flushed, now_ms: i64) -> Result<(), LedgerError> {
        for ((group_key, receiver), integration) in &flushed.obsolete {
            tx.drop_pending(group_key, receiver, *integration)?;
        }
        for told in &flushed.notifications {
            let Some(integration) = self.integration(&told.receiver, told.integration) else {
                continue;
            };
            let message = convert::message(told, &self.alerting.external_url, &self.language);
            let payload = serde_json::to_string(&message).expect("texts can be written as JSON");
            for part in 0..parts(&integration.kind) {
                tx.enqueue(&NewMessage {
                    created_at_ms: now_ms,
                    group_key: told.group_key.clone(),
                    alertname: alertname(told),
                    firing: told.firing,
                    receiver: told.receiver.clone(),
                    integration: told.integration,
                    part,
                    kind: kind_name(&integration.kind).to_owned(),
                    payload: payload.clone(),
                    dedup_key: dedup_key(&told.group_key),
                })?;
            }
        }
        Ok(())
    }

    /// An integration by its receiver's name and its number.
    pub(crate) fn integration(&self, receiver: &str, number: usize) -> Option<&Integration> {
        let receiver = self.alerting.receivers.iter().find(|one| one.name == receiver)?;
        receiver.integrations.get(number)
    }

    /// Whether a group still has an alert that fires.
    pub(crate) fn group_fires(&self, id: &GroupId) -> bool {
        let dispatcher = self.dispatcher.lock();
        let group = dispatcher.groups().find(|group| group.id() == *id);
        group.is_some_and(|group| group.alerts.values().any(|alert| !alert.is_resolved()))
    }

    /// What the user should know.
    pub(crate) fn notice(&self) -> Option<String> {
        let told = self.alerting.receivers.iter().any(|one| !one.integrations.is_empty());
        (!told).then(|| {
            "nobody is told of alerts: no receiver is configured; add a section `alerting` to vigie.yml"
                .to_owned()
        })
    }
}

impl Group {
    fn new(state: GroupState, is_sent: bool) -> Arc<Group> {
        Arc::new(Group {
            run: Mutex::new(GroupRun::new(state)),
            is_sent,
            turn: Mutex::new(()),
            retired: AtomicBool::new(false),
        })
    }

    /// Whether it is evaluated no more.
    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::SeqCst)
    }

    /// As configured.
    pub(crate) fn config(&self) -> RuleGroup {
        self.run.lock().state.config().clone()
    }

    /// Its name.
    pub(crate) fn name(&self) -> String {
        self.run.lock().state.config().name.clone()
    }

    /// The instants of its evaluations.
    pub(crate) fn slots(&self) -> Slots {
        let run = self.run.lock();
        let config = run.state.config();
        let identity =
            Labels::from_pairs([("name", config.name.as_str()), ("file", config.file.as_str())]);
        Slots::new(config.interval_ms, vigie_alerts::fingerprint(&identity))
    }

    /// The slot evaluated last, by this configuration or the one before it.
    pub(crate) fn last_evaluation_ms(&self) -> Option<i64> {
        self.run.lock().last_evaluation_ms
    }

    /// Counts evaluations that did not take place.
    pub(crate) fn count_missed(&self, missed: u64) {
        self.run.lock().missed += missed;
    }
}

impl GroupRun {
    fn new(state: GroupState) -> GroupRun {
        GroupRun {
            rule_durations_s: vec![0.0; state.rules().len()],
            state,
            unsaved: false,
            duration_s: 0.0,
            last_evaluation_ms: None,
            evaluations: 0,
            failures: 0,
            missed: 0,
        }
    }

    /// Takes over what a run of the same group before knows; answers the series that none of the
    /// group's rules writes any more.
    pub(crate) fn succeed(&mut self, before: &GroupRun) -> Vec<Labels> {
        let ended = self.state.succeed(&before.state);
        if self.state.rules().len() == before.rule_durations_s.len() {
            self.rule_durations_s.clone_from(&before.rule_durations_s);
        }
        self.unsaved = before.unsaved;
        self.duration_s = before.duration_s;
        self.last_evaluation_ms = before.last_evaluation_ms;
        (self.evaluations, self.failures) = (before.evaluations, before.failures);
        self.missed = before.missed;
        ended
    }
}

/// Routes alerts. In a storm thousands may be refused at every tick: one line says so.
fn put_all(dispatcher: &mut Dispatcher, alerts: &[Alert], now_ms: i64) {
    let mut refused = alerts.iter().filter_map(|alert| {
        let error = dispatcher.put(alert, now_ms).err()?;
        Some(format!("alert {} is not routed: {error}", alert.labels))
    });
    if let Some(first) = refused.next() {
        match refused.count() {
            0 => tracing::error!("{first}"),
            others => tracing::error!("{first}; the same holds for {others} others"),
        }
    }
}

fn write_changes(tx: &Tx<'_>, changes: &[RuleChange]) -> Result<(), LedgerError> {
    for one in changes {
        match &one.change {
            Change::Kept(alert) => {
                tx.put_alert(&convert::alert_row(&one.rule_key, alert, &one.generator_url))?;
            }
            Change::Gone(labels) => tx.delete_alert(&one.rule_key, labels)?,
        }
    }
    Ok(())
}

/// The alert's name, or all of them when the group holds several.
fn alertname(told: &Notification) -> String {
    let names: BTreeSet<&str> =
        told.alerts.iter().map(|alert| alert.labels.value_or_empty("alertname")).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

/// What the handle answers.
impl Core {
    pub(crate) fn rules(&self) -> Vec<GroupStatus> {
        self.groups()
            .iter()
            .map(|group| {
                let run = group.run.lock();
                let config = run.state.config();
                GroupStatus {
                    language: config.language,
                    name: config.name.clone(),
                    file: config.file.clone(),
                    interval_ms: config.interval_ms,
                    limit: config.limit,
                    evaluation_time_s: run.duration_s,
                    last_evaluation_ms: run.last_evaluation_ms,
                    rules: (0..config.rules.len()).map(|at| self.rule_status(&run, at)).collect(),
                }
            })
            .collect()
    }

    fn rule_status(&self, run: &GroupRun, at: usize) -> RuleStatus {
        let Rule { kind, expr, .. } = &run.state.config().rules[at];
        let state = &run.state.rules()[at];
        let (name, for_ms, keep_firing_for_ms, annotations) = match kind {
            RuleKind::Alert { name, for_ms, keep_firing_for_ms, annotations } => {
                (name, *for_ms, *keep_firing_for_ms, annotations.clone())
            }
            RuleKind::Record { name } => (name, 0, 0, Vec::new()),
        };
        RuleStatus {
            alerting: matches!(kind, RuleKind::Alert { .. }),
            name: name.clone(),
            query: expr.clone(),
            for_ms,
            keep_firing_for_ms,
            labels: state.labels().to_vec(),
            annotations,
            state: state.state(),
            health: state.health,
            last_error: state.last_error.clone(),
            evaluation_time_s: run.rule_durations_s[at],
            last_evaluation_ms: state.last_evaluation_ms,
            alerts: self.statuses(state.active_alerts()),
        }
    }

    fn statuses<'a>(
        &self,
        alerts: impl Iterator<Item = &'a vigie_rules::ActiveAlert>,
    ) -> Vec<AlertStatus> {
        let status = |alert: &vigie_rules::ActiveAlert| AlertStatus {
            labels: alert.labels.clone(),
            annotations: alert.annotations.clone(),
            state: alert.state,
            active_at_ms: alert.active_at_ms,
            fired_at_ms: alert.fired_at_ms,
            keep_firing_since_ms: alert.keep_firing_since_ms,
            value: alert.value,
            receivers: self.receivers_of(&alert.labels),
        };
        alerts.map(status).collect()
    }

    fn receivers_of(&self, labels: &Labels) -> Vec<String> {
        vigie_alerts::receivers(&self.alerting.route, labels)
    }

    pub(crate) fn alerts(&self) -> Vec<AlertStatus> {
        let mut alerts = Vec::new();
        for group in self.groups() {
            let run = group.run.lock();
            for rule in run.state.rules() {
                alerts.extend(self.statuses(rule.active_alerts()));
            }
        }
        alerts
    }

    pub(crate) fn am_alerts(&self) -> Vec<AlertmanagerAlert> {
        let mut alerts = Vec::new();
        for group in self.groups() {
            let run = group.run.lock();
            let config = run.state.config();
            let updated_at_ms = run.last_evaluation_ms.unwrap_or_else(|| self.now_ms());
            let lives_ms = 4 * config.interval_ms.max(RESEND_DELAY_MS);
            for (rule, state) in config.rules.iter().zip(run.state.rules()) {
                let firing = state.active_alerts().filter(|a| a.state == AlertState::Firing);
                alerts.extend(firing.map(|alert| AlertmanagerAlert {
                    fingerprint: format!("{:016x}", vigie_alerts::fingerprint(&alert.labels)),
                    starts_at_ms: alert.fired_at_ms.unwrap_or(alert.active_at_ms),
                    ends_at_ms: updated_at_ms + lives_ms,
                    updated_at_ms,
                    receivers: self.receivers_of(&alert.labels),
                    labels: alert.labels.clone(),
                    annotations: alert.annotations.clone(),
                    generator_url: self.generator_url(config.language, &rule.expr),
                }));
            }
        }
        alerts.sort_by(|a, b| a.fingerprint.cmp(&b.fingerprint));
        alerts
    }

    pub(crate) fn notifications(
        &self,
        limit: usize,
    ) -> Result<Vec<NotificationStatus>, LedgerError> {
        let rows = self.connections.ledger.recent(limit)?;
        Ok(rows.into_iter().map(NotificationStatus::from).collect())
    }

    pub(crate) fn metrics(&self) -> Vec<Metric> {
        let mut metrics = Vec::new();
        let mut states = [0u64; 2];
        for group in self.groups() {
            let run = group.run.lock();
            let labels = || vec![("rule_group", run.state.config().name.clone())];
            let mut add = |name, value| metrics.push(Metric { name, labels: labels(), value });
            add("vigie_rule_group_evaluations_total", run.evaluations as f64);
            add("vigie_rule_evaluation_failures_total", run.failures as f64);
            add("vigie_rule_group_missed_total", run.missed as f64);
            add("vigie_rule_group_duration_seconds", run.duration_s);
            for alert in run.state.rules().iter().flat_map(|rule| rule.active_alerts()) {
                states[usize::from(alert.state == AlertState::Firing)] += 1;
            }
        }
        for (state, count) in ["pending", "firing"].into_iter().zip(states) {
            let labels = vec![("state", state.to_owned())];
            metrics.push(Metric { name: "vigie_alerts", labels, value: count as f64 });
        }
        for ((kind, result), count) in self.lasting.attempts.lock().iter() {
            let labels = vec![("integration", kind.clone()), ("result", (*result).to_owned())];
            metrics.push(Metric {
                name: "vigie_notifications_total",
                labels,
                value: *count as f64,
            });
        }
        match self.connections.ledger.outbox_totals() {
            Ok(totals) => {
                let age_ms = totals.oldest_at_ms.map_or(0, |at_ms| self.now_ms() - at_ms);
                let mut add = |name, value| metrics.push(Metric { name, labels: vec![], value });
                add("vigie_outbox_messages", totals.open as f64);
                add("vigie_outbox_oldest_seconds", age_ms as f64 / 1000.0);
            }
            Err(error) => tracing::warn!("{error}"),
        }
        metrics
    }
}
