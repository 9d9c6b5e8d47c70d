//! Several threads at once: what readers see, and what is left when all are done.

#![allow(clippy::unwrap_used, reason = "a panic here is the failure report")]

mod common;

use common::*;
use vigie_logs::{Batch, Durability, Options};
use vigie_model::Direction;

/// What a reader sees at any moment while others append and seal: whole requests in order, each
/// line once, and never fewer than were acknowledged before.
#[test]
fn readers_see_each_line_once_while_others_append_and_seal() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), Options { head_bytes_max: 20_000, ..options() });
    let (writers, rounds) = (3, 60);
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..writers)
            .map(|writer| {
                let store = &store;
                scope.spawn(move || {
                    for n in 0..rounds {
                        let ts_ns = NOW_NS + n * SECOND_NS;
                        let lines = [0, 1].map(|at| entry(ts_ns + at, format!("{n} {at}")));
                        append(store, &format!("app{writer}"), &lines);
                        if n % 7 == writer {
                            store.seal().unwrap();
                        }
                    }
                })
            })
            .collect();
        while !handles.iter().all(|handle| handle.is_finished()) {
            let stored_before = store.stats().stored as usize;
            for direction in [Direction::Forward, Direction::Backward] {
                let rows = read(&store, &[], EVERYTHING, direction);
                assert!(rows.len() >= stored_before, "{} of {stored_before}", rows.len());
                assert_eq!(rows.len() % 2, 0, "requests are seen whole");
                let mut once = rows.clone();
                once.sort_by(|a, b| (&a.0, a.1.ts_ns).cmp(&(&b.0, b.1.ts_ns)));
                once.dedup();
                assert_eq!(once.len(), rows.len(), "a line is there twice");
            }
        }
    });
    assert_eq!(read_all(&store).len(), (writers * rounds * 2) as usize);
    drop(store);
    let store = open(dir.path(), options());
    assert_eq!(read_all(&store).len(), (writers * rounds * 2) as usize);
}

/// Of several threads that find the head full one seals it. The others used to seal, after it, the
/// few lines that had come since.
#[test]
fn threads_that_find_the_head_full_at_once_do_not_make_small_parts() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), Options { head_bytes_max: 60_000, ..options() });
    let (writers, rounds, line) = (8, 300, "x".repeat(400));
    std::thread::scope(|scope| {
        for writer in 0..writers {
            let (store, line) = (&store, &line);
            scope.spawn(move || {
                for n in 0..rounds {
                    let lines = [entry(NOW_NS + n, format!("{n} {line}"))];
                    let app = labels(&format!("app{writer}"));
                    let batch = [Batch { labels: &app, entries: &lines }];
                    store.append(&batch, Durability::Written).unwrap();
                }
            });
        }
    });
    let stats = store.stats();
    assert_eq!(stats.part_rows + stats.head_rows, (writers * rounds) as u64);
    // A head is full after some 130 of these lines.
    assert!(stats.part_rows >= 120 * stats.parts as u64, "{stats:?}");
}
