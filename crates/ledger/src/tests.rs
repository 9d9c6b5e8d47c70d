//! What is written comes back, in the right order, and nothing half.

use super::*;
use vigie_model::Labels;

fn message(group: &str, firing: bool) -> NewMessage {
    NewMessage {
        created_at_ms: 1000,
        group_key: group.to_owned(),
        alertname: "API Down".to_owned(),
        firing,
        receiver: "high".to_owned(),
        integration: 0,
        part: 0,
        kind: "slack".to_owned(),
        payload: "{}".to_owned(),
        dedup_key: "k".to_owned(),
    }
}

fn enqueue(ledger: &Ledger, message: &NewMessage) -> i64 {
    ledger.transaction(|tx| tx.enqueue(message)).unwrap()
}

fn leased(ledger: &Ledger, now_ms: i64) -> Vec<i64> {
    ledger.lease_due(now_ms, 15_000, 10).unwrap().iter().map(|row| row.id).collect()
}

fn alert() -> AlertRow {
    AlertRow {
        rule_key: "f;g;alert;API Down;0".to_owned(),
        labels: Labels::from_pairs([("alertname", "API Down"), ("q", "a\"b")]),
        annotations: vec![("summary".to_owned(), String::new())],
        state: "firing".to_owned(),
        value: 0.25,
        active_at_ms: 5,
        fired_at_ms: Some(6),
        resolved_at_ms: None,
        keep_firing_since_ms: None,
        generator_url: "http://x".to_owned(),
    }
}

#[test]
fn states_come_back_after_a_restart_and_only_one_process_has_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.sqlite");
    let group =
        GroupRow { group_key: "k".to_owned(), receiver: "r".to_owned(), body: "{}".to_owned() };
    {
        let ledger = Ledger::open(&path).unwrap();
        ledger
            .transaction(|tx| {
                tx.put_alert(&alert())?;
                tx.put_group(&group)
            })
            .unwrap();
        assert!(matches!(Ledger::open(&path), Err(LedgerError::Locked(_))));
    }
    let ledger = Ledger::open(&path).unwrap();
    assert_eq!(ledger.alerts().unwrap(), [alert()]);
    assert_eq!(ledger.groups().unwrap(), [group]);
    ledger
        .transaction(|tx| {
            tx.delete_alert(&alert().rule_key, &alert().labels)?;
            tx.delete_group("k", "r")
        })
        .unwrap();
    assert!(ledger.alerts().unwrap().is_empty() && ledger.groups().unwrap().is_empty());
}

#[test]
fn a_transaction_that_fails_leaves_no_trace() {
    let ledger = Ledger::in_memory().unwrap();
    let failed: Result<(), LedgerError> = ledger.transaction(|tx| {
        tx.enqueue(&message("a", true))?;
        tx.put_alert(&alert())?;
        Err(LedgerError::Locked("on purpose".to_owned()))
    });
    assert!(failed.is_err());
    assert!(ledger.recent(10).unwrap().is_empty() && ledger.alerts().unwrap().is_empty());
    let nan = AlertRow { value: f64::NAN, ..alert() };
    ledger.transaction(|tx| tx.put_alert(&nan)).unwrap();
    assert!(ledger.alerts().unwrap()[0].value.is_nan());
}

#[test]
fn messages_of_one_target_leave_in_order_and_others_do_not_wait() {
    let ledger = Ledger::in_memory().unwrap();
    let firing = enqueue(&ledger, &message("a", true));
    let resolved = enqueue(&ledger, &message("a", false));
    let other = enqueue(&ledger, &message("b", true));
    assert_eq!(leased(&ledger, 2000), [firing, other]);
    assert_eq!(leased(&ledger, 2000), [0i64; 0], "they are lent");
    ledger.mark_failed(firing, "503", Some(9000)).unwrap();
    ledger.mark_sent(other, 2100).unwrap();
    assert_eq!(leased(&ledger, 3000), [0i64; 0], "the resolution waits for the firing one");
    assert_eq!(ledger.next_due_ms().unwrap(), Some(9000));
    assert_eq!(leased(&ledger, 9000), [firing]);
    ledger.mark_sent(firing, 9100).unwrap();
    assert_eq!(leased(&ledger, 9200), [resolved]);
    ledger.mark_failed(resolved, "400", None).unwrap();
    assert_eq!(ledger.outbox_totals().unwrap(), OutboxTotals::default());
    let recent = ledger.recent(10).unwrap();
    assert!(recent.iter().all(|row| row.message.payload.is_empty()), "what is over is short");
    let states: Vec<_> =
        ledger.recent(10).unwrap().iter().map(|row| (row.id, row.state, row.attempts)).collect();
    assert_eq!(
        states,
        [
            (other, MessageState::Sent, 1),
            (resolved, MessageState::Failed, 1),
            (firing, MessageState::Sent, 2)
        ]
    );
    assert_eq!(ledger.forget_before(1001).unwrap(), 3);
}

#[test]
fn newer_firing_messages_replace_waiting_ones_and_obsolete_ones_are_dropped() {
    let ledger = Ledger::in_memory().unwrap();
    let first = enqueue(&ledger, &message("a", true));
    let second = enqueue(&ledger, &message("a", true));
    assert_eq!(leased(&ledger, 2000), [second], "{first} was replaced");
    let third = enqueue(&ledger, &message("a", true));
    assert_eq!(leased(&ledger, 2000), [0i64; 0], "{third} waits for what is on its way");
    ledger.mark_failed(second, "503", Some(3000)).unwrap();
    let fourth = enqueue(&ledger, &message("a", true));
    assert_eq!(leased(&ledger, 3000), [fourth], "{second} and {third} are out of date");
    ledger.mark_failed(fourth, "503", Some(4000)).unwrap();
    assert_eq!(ledger.transaction(|tx| tx.drop_pending("a", "high", 0)).unwrap(), 1);
    assert_eq!(leased(&ledger, 9000), [0i64; 0]);
    let fifth = enqueue(&ledger, &message("a", true));
    assert_eq!(leased(&ledger, 9000), [fifth]);
    ledger.mark_dropped(fifth, "503").unwrap();
    assert_eq!(ledger.recent(1).unwrap()[0].state, MessageState::Dropped);
}

#[test]
fn leases_end_by_time_or_with_the_process_that_held_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.sqlite");
    let ledger = Ledger::open(&path).unwrap();
    let id = enqueue(&ledger, &message("a", true));
    assert_eq!(leased(&ledger, 2000), [id]);
    assert_eq!(leased(&ledger, 16_999), [0i64; 0]);
    assert_eq!(leased(&ledger, 17_000), [id], "the lease of 15 s has ended");
    drop(ledger);
    let ledger = Ledger::open(&path).unwrap();
    assert_eq!(leased(&ledger, 17_001), [id], "whoever held it is dead");
}

#[test]
fn a_file_from_a_newer_program_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.sqlite");
    drop(Ledger::open(&path).unwrap());
    let connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    assert!(matches!(Ledger::open(&path), Err(LedgerError::Newer { found: 99, .. })));
}

#[test]
fn a_clock_that_was_set_back_holds_no_message_up() {
    let ledger = Ledger::in_memory().unwrap();
    let id = enqueue(&ledger, &message("a", true));
    let day_ms = 24 * 3_600_000;
    assert_eq!(leased(&ledger, day_ms), [id]);
    ledger.mark_failed(id, "503", Some(day_ms + 300_000)).unwrap();
    assert_eq!(leased(&ledger, day_ms), [0i64; 0], "it waits for its time");
    assert_eq!(leased(&ledger, 2000), [id], "a day back: its time may never come");
    assert_eq!(leased(&ledger, 3000), [0i64; 0], "the lease counts");
}

#[test]
fn a_damaged_file_is_named_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.sqlite");
    std::fs::write(&path, "no database ".repeat(1000)).unwrap();
    let text = Ledger::open(&path).map(|_| ()).unwrap_err().to_string();
    assert!(text.contains("ledger.sqlite: the file is damaged"), "{text}");
    assert!(text.contains("move it away"), "{text}");
}

#[test]
fn a_receiver_that_hangs_holds_up_nobody_else() {
    let ledger = Ledger::in_memory().unwrap();
    for group in 0..20 {
        let slack = message(&format!("group {group}"), true);
        enqueue(&ledger, &slack);
        enqueue(&ledger, &NewMessage { integration: 1, kind: "pagerduty".to_owned(), ..slack });
    }
    let kinds = |now_ms| -> Vec<String> {
        let rows = ledger.lease_due(now_ms, 15_000, 8).unwrap();
        for row in rows.iter().filter(|row| row.message.kind == "pagerduty") {
            ledger.mark_sent(row.id, now_ms).unwrap();
        }
        rows.into_iter().map(|row| row.message.kind).collect()
    };
    assert_eq!(kinds(2000), ["slack", "pagerduty", "slack", "pagerduty"]);
    for _ in 0..9 {
        assert_eq!(kinds(2000), ["pagerduty", "pagerduty"], "Slack has not answered yet");
    }
    assert!(kinds(2000).is_empty());
}

#[test]
fn no_look_at_the_outbox_reads_what_is_over() {
    let ledger = Ledger::in_memory().unwrap();
    let connection = ledger.connection.lock();
    for statement in [
        outbox::lease_statement(),
        outbox::replace_statement(),
        outbox::drop_statement(),
        outbox::release_statement(),
    ] {
        let explained = format!("EXPLAIN QUERY PLAN {statement}");
        let mut statement = connection.prepare(&explained).unwrap();
        let count = statement.parameter_count();
        let nulls = rusqlite::params_from_iter(vec![rusqlite::types::Null; count]);
        let steps: Vec<String> = statement
            .query_map(nulls, |row| row.get(3))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        for step in steps.iter().filter(|step| step.contains("outbox") || step.contains("one")) {
            assert!(step.contains("INDEX outbox_open"), "{step} in {explained}");
        }
    }
}
