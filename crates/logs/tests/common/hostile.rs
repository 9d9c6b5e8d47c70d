//! Hostile lines through the shredding encoder: sealed, compacted, opened again, and asked for texts.
//! Runs of one shape with values of every type, and values that almost are of a type; lines cut
//! short, with bytes changed, not UTF-8, with escapes, duplicate keys, numbers that no printer gives;
//! lines as long as may be.

use super::*;
use vigie_logs::{Batch, Durability, Options, Store};
use vigie_model::limits::LINE_BYTES_MAX;
use vigie_model::{Direction, Labels, LogEntry};

struct Dice(u64);

impl Dice {
    // Another step than the simulator's: the high bits of a seed's first numbers must differ.
    fn roll(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len() as u64) as usize]
    }
}

/// Lines of a seed through appends, seals, a compaction and a restart; how many there were, or what was
/// wrong.
pub fn round_trip(seed: u64, count: i64) -> Result<usize, String> {
    let dir = tempfile::tempdir().unwrap();
    let options = || Options { head_bytes_max: 64 * 1024 * 1024, ..options() };
    let store = open(dir.path(), options());
    let entries = entries(seed * 7919 + 1, count);
    for chunk in entries.chunks(700) {
        let batch = [Batch { labels: &labels("a"), entries: chunk }];
        let stored = store.append(&batch, Durability::Written).unwrap();
        assert_eq!((stored.refused, stored.duplicates), (0, 0));
        store.seal().unwrap();
    }
    let mut wanted: Vec<_> = entries.into_iter().map(|entry| (labels("a"), entry)).collect();
    wanted.sort_by(|a, b| (a.1.ts_ns, &a.0, &a.1.line).cmp(&(b.1.ts_ns, &b.0, &b.1.line)));
    let compare = |store: &Store, when: &str| {
        let is_same = read_all(store) == wanted;
        if is_same { Ok(()) } else { Err(format!("seed {seed}: other lines when {when}")) }
    };
    compare(&store, "sealed")?;
    ask_for_texts(&store, &wanted, &mut Dice(seed))
        .map_err(|what| format!("seed {seed}: {what}"))?;
    let later_ms = NOW_MS + 2 * DAY_NS / 1_000_000;
    while store.compact(later_ms, &mut |_| true).unwrap() {}
    assert_eq!(store.stats().parts, 1);
    compare(&store, "compacted")?;
    let asked = ask_for_texts(&store, &wanted, &mut Dice(seed + 1));
    asked.map_err(|what| format!("seed {seed}, compacted: {what}"))?;
    drop(store);
    compare(&open(dir.path(), options()), "opened again")?;
    Ok(wanted.len())
}

/// What almost is of a type.
const ODD: &[&[u8]] = &[
    b"1e400",
    b"-0",
    b"01",
    b"",
    b"-",
    b"0.10",
    b"-0.0",
    b"1.",
    b".5",
    b"+1",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"99999999999999999999",
    b"\xff\xfe",
    b"1.0000000000000001",
    b"256.1.1.1",
    b"01.2.3.4",
    b"2026-02-30T00:00:00Z",
    b"2026-11-26T25:00:00Z",
    b"DEADBEEF00",
    b"\\u0041",
    b"\\\"",
    b"u-01",
    b"u-",
    b"\x00",
];

/// A value of a kind; one in `1 / rarity` is something else, so that columns of all types occur.
fn value(dice: &mut Dice, kind: u64, rarity: u64, shape: u64, n: i64) -> Vec<u8> {
    if dice.roll(rarity) == 0 {
        // Of a column that is odd now and then all odd values are the same, so that nothing else
        // keeps it from being of a type.
        let odd = if rarity < 10 {
            dice.roll(ODD.len() as u64)
        } else {
            (shape * 7 + kind) % ODD.len() as u64
        };
        return ODD[odd as usize].to_vec();
    }
    let number = dice.roll(100_000);
    match kind {
        0 => dice.pick(&[&b"GET"[..], b"POST", b"PUT"]).to_vec(),
        1 => number.to_string().into_bytes(),
        2 => format!("{}", number as f64 / 1000.0).into_bytes(),
        3 => format!("{:.3}", number as f64 / 1000.0).into_bytes(),
        4 => format!("2026-11-{:02}T{:02}:00:{:02}.{number:06}Z", 1 + n % 28, n % 24, n % 60)
            .into_bytes(),
        5 => format!("{:032x}", u128::from(dice.0) * 0x9e37_79b9_7f4a_7c15_u128).into_bytes(),
        6 => format!("{:08x}-0000-4000-8000-{number:012x}", dice.roll(u64::from(u32::MAX)))
            .into_bytes(),
        7 => format!("10.{}.{}.{}", dice.roll(3), dice.roll(256), dice.roll(256)).into_bytes(),
        8 => format!("u-{number}").into_bytes(),
        9 => format!("/api/v{}/things/{number}?q={}", dice.roll(3), dice.roll(9)).into_bytes(),
        _ => (number as i64 - 50_000).to_string().into_bytes(),
    }
}

fn line(dice: &mut Dice, shape: u64, rarity: u64, n: i64) -> Vec<u8> {
    let mut line = Vec::new();
    if dice.roll(2_000) == 0 {
        return long_line(dice, shape);
    }
    let is_json = shape % 3 != 1;
    if shape % 7 == 6 {
        let length = dice.roll(200) as usize;
        return (0..length).map(|_| dice.roll(256) as u8).collect();
    }
    let fields = 1 + shape % 11;
    line.extend_from_slice(if is_json { b"{" } else { b"" });
    for field in 0..fields {
        let kind = (shape + field) % 11;
        let value = value(dice, kind, rarity, shape, n);
        // Every fourth name comes twice.
        let name = format!("k{}", field - field % 4 / 3);
        let quotes = kind != 1 && kind != 2 && kind != 10;
        let (open, close) = match (is_json, quotes, field) {
            (true, true, 0) => (format!("\"{name}\":\""), "\""),
            (true, true, _) => (format!(", \"{name}\" : \""), "\""),
            (true, false, 0) => (format!("\"{name}\":"), ""),
            (true, false, _) => (format!(",\"{name}\":"), ""),
            (false, _, 0) => (format!("{name}="), ""),
            (false, true, _) => (format!(" {name}=\""), "\""),
            (false, false, _) => (format!(" {name}="), ""),
        };
        line.extend_from_slice(open.as_bytes());
        line.extend_from_slice(&value);
        line.extend_from_slice(close.as_bytes());
    }
    line.extend_from_slice(if is_json { b"}" } else { b"" });
    match dice.roll(60) {
        0 => line.truncate(dice.roll(line.len() as u64 + 1) as usize),
        1 if !line.is_empty() => {
            let at = dice.roll(line.len() as u64) as usize;
            line[at] = dice.roll(256) as u8;
        }
        _ => {}
    }
    line
}

/// As long as a line may be: one value, many values, or bytes of all kinds.
fn long_line(dice: &mut Dice, shape: u64) -> Vec<u8> {
    let mut line = match shape % 3 {
        0 => b"{\"k0\":\"".to_vec(),
        1 => b"k0=".to_vec(),
        _ => Vec::new(),
    };
    while line.len() < LINE_BYTES_MAX - 8 {
        match shape % 4 {
            0 => line.push(b'x'),
            1 => line.extend_from_slice(format!("\",\"k{}\":\"v", dice.roll(90)).as_bytes()),
            2 => line.extend_from_slice(format!(" k{}={}", dice.roll(90), dice.0).as_bytes()),
            _ => line.push(dice.roll(256) as u8),
        }
    }
    line.truncate(LINE_BYTES_MAX - 2);
    line.extend_from_slice(if shape.is_multiple_of(3) { b"\"}" } else { b"" });
    line
}

fn entries(seed: u64, count: i64) -> Vec<LogEntry> {
    let mut dice = Dice(seed);
    let (shapes, rarity) = (1 + dice.roll(12), dice.pick(&[5, 100, 100, u64::MAX]));
    let first = dice.roll(100);
    (0..count)
        .map(|n| {
            let shape = first + dice.roll(shapes);
            let metadata = match dice.roll(4) {
                0 => Labels::from_pairs([("trace", format!("{:032x}", dice.0)), ("l", "x".into())]),
                1 => Labels::from_pairs([("l", format!("v{}", dice.roll(3)))]),
                _ => Labels::default(),
            };
            LogEntry {
                ts_ns: NOW_NS + n * 1_000_003,
                line: line(&mut dice, shape, rarity, n),
                metadata,
            }
        })
        .collect()
}

/// Texts out of the lines, and some that are not there; every answer must be a search's.
fn ask_for_texts(
    store: &Store,
    wanted: &[(Labels, LogEntry)],
    dice: &mut Dice,
) -> Result<(), String> {
    for _ in 0..12 {
        let line = &wanted[dice.roll(wanted.len() as u64) as usize].1.line;
        let start = dice.roll(line.len() as u64 + 1) as usize;
        let end = (start + 1 + dice.roll(24) as usize).min(line.len());
        let mut needle = line[start.min(end)..end].to_vec();
        if dice.roll(3) == 0 && !needle.is_empty() {
            needle[0] ^= 1;
        }
        if needle.is_empty() {
            continue;
        }
        let hits = wanted.iter().filter(|(_, e)| e.line.windows(needle.len()).any(|w| w == needle));
        let needles = [vigie_model::Needle(needle.clone())];
        let mut blocks = store.select(&[], EVERYTHING, Direction::Forward, &needles).unwrap();
        let mut found = 0;
        while let Some(block) = blocks.next_block() {
            let block = block.unwrap();
            let mut rows = vec![true; block.timestamps_ns().len()];
            block.contains(&needle, &mut rows).unwrap();
            let mut line = Vec::new();
            for (row, found_here) in rows.iter().enumerate() {
                block.line(row, &mut line).unwrap();
                if *found_here != line.windows(needle.len()).any(|w| w == needle) {
                    return Err(format!("asked for {:?}", String::from_utf8_lossy(&needle)));
                }
                found += usize::from(*found_here);
            }
        }
        if found != hits.count() {
            return Err(format!("not found: {:?}", String::from_utf8_lossy(&needle)));
        }
    }
    Ok(())
}
