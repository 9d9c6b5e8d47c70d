//! Twenty times: lines are pushed and a target is scraped, Vigie is killed at a moment that differs
//! each time, and comes back with every line it had acknowledged and every sample it had shown.

#![allow(clippy::unwrap_used, reason = "a test's panic is its report")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use vigie_scenarios::{Vigie, now_ns, post};

const KILLS: u64 = 20;

/// A target whose one counter grows by one with every scrape.
fn counter_target() -> (u16, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, scrapes) = (listener.local_addr().unwrap().port(), Arc::new(AtomicU64::new(0)));
    let counter = scrapes.clone();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = [0; 2048];
            let _ = stream.read(&mut head);
            let body = format!(
                "# TYPE scrapes_total counter\nscrapes_total {}\n",
                counter.fetch_add(1, Ordering::SeqCst) + 1
            );
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    (port, scrapes)
}

/// Pushes numbered lines from three writers until told to stop or the server has gone; answers the
/// numbers that were acknowledged.
fn push_until_killed(
    port: u16,
    round: u64,
    stop: &Arc<AtomicBool>,
) -> Vec<thread::JoinHandle<Vec<String>>> {
    (0..3)
        .map(|writer| {
            let stop = stop.clone();
            thread::spawn(move || {
                let mut acknowledged = Vec::new();
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let line = format!("round={round} writer={writer} n={number}");
                    let body = format!(r#"{{"streams":[{{"stream":{{"job":"kill","writer":"{writer}"}},"values":[["{}","{line}"]]}}]}}"#, now_ns());
                    match post(port, "/loki/api/v1/push", "application/json", body.as_bytes()) {
                        Some(answer) if answer.status == 204 => acknowledged.push(line),
                        Some(answer) => panic!("push answered {}: {}", answer.status, answer.text()),
                        None => break,
                    }
                }
                acknowledged
            })
        })
        .collect()
}

#[test]
fn kill_nine_twenty_times_loses_nothing_acknowledged() {
    let home = tempfile::tempdir().unwrap();
    let (target, _) = counter_target();
    let file = home.path().join("vigie.yml");
    let config = format!(
        "web: {{classic_ports: false}}\nlogs: {{scrape_configs: []}}\nmetrics:\n  global: {{scrape_interval: 100ms, scrape_timeout: 100ms}}\n  host: false\n  scrape_configs:\n  - job_name: counter\n    static_configs: [{{targets: ['127.0.0.1:{target}']}}]\n"
    );
    std::fs::write(&file, config).unwrap();
    let arguments = [
        format!("--config.file={}", file.display()),
        format!("--storage.path={}", home.path().join("data").display()),
    ];
    let arguments = [arguments[0].as_str(), arguments[1].as_str()];
    let mut acknowledged: Vec<String> = Vec::new();
    let mut shown_max = 0.0f64;
    let mut shown_count = 0.0f64;
    for round in 0..KILLS {
        let vigie = Vigie::start(home.path(), &arguments);
        let stop = Arc::new(AtomicBool::new(false));
        let writers = push_until_killed(vigie.port, round, &stop);
        // A different moment each time: early, mid-batch, after a seal.
        thread::sleep(Duration::from_millis(150 + (round * 137) % 700));
        let seen = vigie.query("max_over_time(scrapes_total[1h])");
        if let Some((_, value)) = seen.first() {
            shown_max = shown_max.max(*value);
        }
        if let Some((_, value)) = vigie.query("count_over_time(scrapes_total[1h])").first() {
            shown_count = shown_count.max(*value);
        }
        vigie.kill();
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            acknowledged.extend(writer.join().unwrap());
        }
    }
    let vigie = Vigie::start(home.path(), &arguments);
    let mut kept = Vec::new();
    for writer in 0..3 {
        for round in 0..KILLS {
            kept.extend(
                vigie.lines(&format!(r#"{{job="kill", writer="{writer}"}} |= "round={round} ""#)),
            );
        }
    }
    kept.sort();
    let lost: Vec<&String> =
        acknowledged.iter().filter(|line| kept.binary_search(line).is_err()).collect();
    println!(
        "{KILLS} kills, {} lines acknowledged, {} kept, {} lost",
        acknowledged.len(),
        kept.len(),
        lost.len()
    );
    assert!(acknowledged.len() > 100, "the writers got through: {}", acknowledged.len());
    assert!(lost.is_empty(), "lost: {lost:?}");
    let unique: std::collections::BTreeSet<&String> = kept.iter().collect();
    assert_eq!(unique.len(), kept.len(), "no line is kept twice");

    let count = vigie.query("count_over_time(scrapes_total[1h])")[0].1;
    let max = vigie.query("max_over_time(scrapes_total[1h])")[0].1;
    println!("{KILLS} kills, {shown_count} samples shown, {count} kept");
    assert!(
        shown_count > 20.0 && count >= shown_count && max >= shown_max,
        "shown {shown_count} up to {shown_max}, kept {count} up to {max}"
    );
}
