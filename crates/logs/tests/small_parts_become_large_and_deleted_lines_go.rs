//! Compaction, delete requests and the retention of single streams: what is merged answers as
//! before, what is deleted is gone at once and for good, and what replaced others is what counts
//! when a crash left both.
//! Faults planted by hand that this file found: replaced parts read beside the part that replaced
//! them; a delete request that is not written down; a compaction that keeps deleted rows.

#![allow(clippy::unwrap_used, reason = "a panic here is the failure report")]

mod common;

use common::*;
use std::path::Path;
use vigie_logs::{LineTest, LineText, Options, Store, StreamRetention};
use vigie_model::{Direction, LogRange, Matcher};

const DAY_MS: i64 = DAY_NS / 1_000_000;

fn compact(store: &Store, now_ms: i64) {
    while store.compact(now_ms, &mut |_| true).unwrap() {}
}

fn contains(text: &str) -> LineTest {
    LineTest { negative: false, what: LineText::Contains(text.as_bytes().to_vec()) }
}

fn part_files(dir: &Path) -> Vec<std::path::PathBuf> {
    let parts = std::fs::read_dir(dir.join("parts")).unwrap();
    let mut parts: Vec<_> = parts.map(|file| file.unwrap().path()).collect();
    parts.sort();
    parts
}

/// Parts of ten lines each, with equal instants across parts.
fn filled(dir: &Path, parts: i64, options: Options) -> Store {
    let store = open(dir, options);
    for part in 0..parts {
        for n in 0..10 {
            let line =
                format!("{{\"n\":{},\"part\":{part},\"word\":\"w{}\"}}", part * 10 + n, n % 3);
            append(&store, ["a", "b"][n as usize % 2], &[entry(NOW_NS + n / 5, line)]);
        }
        store.seal().unwrap();
    }
    store
}

#[test]
fn merged_parts_answer_in_the_same_order() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), 7, options());
    let before = read(&store, &[], EVERYTHING, Direction::Forward);
    assert_eq!((before.len(), store.stats().parts), (70, 7));
    compact(&store, NOW_MS);
    assert_eq!((store.stats().parts, part_files(dir.path()).len()), (1, 1));
    assert_eq!(read(&store, &[], EVERYTHING, Direction::Forward), {
        // Blocks that overlapped came one after the other; one block is in the order of arrival.
        let mut sorted = before.clone();
        sorted.sort_by_key(|(_, entry)| entry.ts_ns);
        sorted
    });
    // What comes later stands behind, though its number is the greater one either way.
    append(&store, "a", &[entry(NOW_NS, "later")]);
    store.seal().unwrap();
    let newest = read(&store, &[], EVERYTHING, Direction::Forward);
    assert_eq!(newest.len(), 71);
    // A line that is sent again is found in the merged part.
    let again = before[3].1.clone();
    let app = before[3].0.get("app").unwrap().to_owned();
    assert_eq!(append(&store, &app, &[again]).duplicates, 1);
    drop(store);
    assert_eq!(read_all(&open(dir.path(), options())).len(), 71);
}

#[test]
fn of_a_part_and_those_it_replaces_the_part_counts() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), 6, options());
    let wanted = read_all(&store);
    let old: Vec<_> = part_files(dir.path())
        .into_iter()
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    compact(&store, NOW_MS);
    drop(store);
    // As after a crash before the files went.
    old.iter().for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
    let store = open(dir.path(), options());
    assert_eq!((read_all(&store), store.stats().parts), (wanted, 1));
    store.tick(NOW_MS).unwrap();
    assert_eq!(part_files(dir.path()).len(), 1);
}

#[test]
fn deleted_lines_are_hidden_at_once_and_leave_the_disk_later() {
    let dir = tempfile::tempdir().unwrap();
    let of_a = || vec![Matcher::equal("app", "a")];
    let range = LogRange { start_ns: NOW_NS, end_ns: NOW_NS + 1 };
    let options = || Options { delete_delay_ms: DAY_MS, ..options() };
    let store = filled(dir.path(), 3, options());
    append(&store, "a", &[entry(NOW_NS, "w1 in the head")]);
    let count = |store: &Store| read_all(store).len();
    assert_eq!(count(&store), 31);

    // n = 0, 2, 4 of each part are of `a` and in the range; words w0, w2, w1.
    let id = store.delete(of_a(), range, vec![contains("w1")]).unwrap();
    assert_eq!(count(&store), 27);
    assert!(store.cancel_deletion(id).unwrap());
    assert_eq!(count(&store), 31);
    let pattern = LineText::Matches("w[01]".to_owned());
    let not = LineTest { negative: true, what: LineText::Contains(b"head".to_vec()) };
    let is_word = LineTest { negative: false, what: pattern };
    store.delete(of_a(), range, vec![is_word, not]).unwrap();
    assert_eq!(count(&store), 25);
    drop(store);
    let store = open(dir.path(), options());
    assert_eq!(count(&store), 25);
    compact(&store, NOW_MS + DAY_MS - 1);
    assert!(store.deletions()[0].done_ms.is_none());
    compact(&store, NOW_MS + DAY_MS);
    assert_eq!((count(&store), store.deletions()[0].done_ms), (25, Some(NOW_MS + DAY_MS)));
    store.seal().unwrap();
    assert_eq!(store.stats().part_rows, 25, "they are not on disk any more");
    assert!(!store.cancel_deletion(store.deletions()[0].id).unwrap());
    drop(store);
    assert_eq!(count(&open(dir.path(), options())), 25);
}

#[test]
fn a_request_that_could_delete_by_mistake_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), options());
    let range = LogRange { start_ns: 0, end_ns: 1 };
    let of_a = || vec![Matcher::equal("app", "a")];
    let bad = LineTest { negative: false, what: LineText::Matches("(".to_owned()) };
    for (matchers, range, lines, why) in [
        (vec![], range, vec![], "a delete request needs a stream selector"),
        (of_a(), LogRange { start_ns: 1, end_ns: 1 }, vec![], "ends before it starts"),
        (of_a(), range, vec![bad], "error parsing regexp"),
        (of_a(), range, vec![contains("x"); 65], "more than 64 line filters"),
    ] {
        let error = store.delete(matchers, range, lines).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    assert!(store.deletions().is_empty());
}

#[test]
fn a_damaged_file_of_requests_is_told_and_its_twin_counts() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), options());
    append(&store, "a", &[entry(NOW_NS, "x"), entry(NOW_NS, "y")]);
    store.delete(vec![Matcher::equal("app", "a")], EVERYTHING, vec![contains("x")]).unwrap();
    drop(store);
    let (path, twin) = (dir.path().join("deletes"), dir.path().join("deletes.twin"));
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(std::fs::read(&twin).unwrap(), bytes);
    let seen = |store: &Store| (read_all(store).len(), store.stats().damaged);
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        for one in [&path, &twin] {
            std::fs::write(one, &damaged).unwrap();
            assert_eq!(seen(&open(dir.path(), options())), (1, 1), "byte {at}");
            assert_eq!(std::fs::read(one).unwrap(), bytes, "written again");
        }
        assert_eq!(seen(&open(dir.path(), options())), (1, 0), "byte {at}");
    }
    // A store from before the twin has none.
    std::fs::remove_file(&twin).unwrap();
    assert_eq!(seen(&open(dir.path(), options())), (1, 0));
    // Both: nothing says any more which line was meant.
    std::fs::write(&path, &bytes[1..]).unwrap();
    std::fs::write(&twin, &bytes[1..]).unwrap();
    let store = open(dir.path(), options());
    assert_eq!((seen(&store), store.deletions().len()), ((2, 2), 0));
    assert_eq!(std::fs::read(dir.path().join("deletes.damaged")).unwrap(), bytes[1..]);
    store.delete(vec![Matcher::equal("app", "a")], EVERYTHING, vec![contains("x")]).unwrap();
    drop(store);
    assert_eq!(seen(&open(dir.path(), options())), (1, 0));
}

#[test]
fn requests_of_a_newer_version_keep_the_store_closed() {
    let dir = tempfile::tempdir().unwrap();
    let newer = vigie_disk::frame::FrameKind { magic: *b"VIGIEDEL", version: 2 };
    let bytes = vigie_disk::frame::encode(newer, b"of tomorrow");
    std::fs::write(dir.path().join("deletes"), &bytes).unwrap();
    let disk = std::sync::Arc::new(vigie_disk::RealDisk);
    let error = Store::open(disk, dir.path(), options()).err().unwrap().to_string();
    assert!(error.contains("deletes at byte 8: has version 2"), "{error}");
    assert_eq!(std::fs::read(dir.path().join("deletes")).unwrap(), bytes);
}

#[test]
fn streams_are_kept_for_their_own_time() {
    let dir = tempfile::tempdir().unwrap();
    let own = |app: &str, days: i64| StreamRetention {
        matchers: vec![Matcher::equal("app", app)],
        retention_ms: days * DAY_MS,
    };
    // The second rule for `a` is never reached.
    let retention_streams = vec![own("a", 2), own("b", 4), own("a", 0)];
    let store = open(dir.path(), Options { retention_streams, ..options() });
    for app in ["a", "b", "c"] {
        append(&store, app, &[entry(NOW_NS, app)]);
    }
    store.seal().unwrap();
    let kept = |now_ms: i64| {
        compact(&store, now_ms);
        let rows = read_all(&store);
        rows.iter().map(|(labels, _)| labels.get("app").unwrap().to_owned()).collect::<String>()
    };
    assert_eq!(kept(NOW_MS + 2 * DAY_MS - 1), "abc");
    assert_eq!(kept(NOW_MS + 2 * DAY_MS + 1), "bc");
    assert_eq!(kept(NOW_MS + 4 * DAY_MS + 1), "c");
    assert_eq!(store.stats().part_rows, 1);
}
