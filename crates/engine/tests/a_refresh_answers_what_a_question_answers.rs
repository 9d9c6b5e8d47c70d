//! A dashboard that refreshes gets from the cache what an evaluation of everything would answer,
//! also after samples have come late.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is the failure report of a test")]

use std::time::{SystemTime, UNIX_EPOCH};
use vigie_engine::{Durability, Embedded, EmbeddedOptions, Engine, QueryOptions, When};
use vigie_model::{Labels, Row, SeriesId};
use vigie_promql::{Answer, Value, parse};

const STEP_MS: i64 = 15_000;
const HOUR_MS: i64 = 3_600_000;

struct House {
    engine: Embedded,
    ids: Vec<SeriesId>,
    /// The instant of the first row.
    start_ms: i64,
    _folder: tempfile::TempDir,
}

impl House {
    /// Two hours of ten counters, one of which begins an hour later, up to now.
    fn new() -> House {
        let folder = tempfile::tempdir().unwrap();
        let options = EmbeddedOptions {
            metrics_retention_ms: 24 * HOUR_MS,
            logs_retention_ms: 24 * HOUR_MS,
            ..Default::default()
        };
        let engine = Embedded::open(folder.path(), options).unwrap();
        let name = |at: usize| {
            Labels::from_pairs([("__name__", "c_total".to_owned()), ("i", at.to_string())])
        };
        let ids = (0..10).map(|at| engine.intern(&name(at)).unwrap()).collect();
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
        let start_ms = (now_ms - 2 * HOUR_MS) / STEP_MS * STEP_MS;
        let house = House { engine, ids, start_ms, _folder: folder };
        for row in 0..2 * HOUR_MS / STEP_MS {
            let from = if row < HOUR_MS / STEP_MS { 1 } else { 0 };
            house.write(row, from);
        }
        house
    }

    fn write(&self, row: i64, from: usize) {
        let ids = &self.ids[from..];
        let values: Vec<f64> = (from..10).map(|at| (row * (at as i64 + 1)) as f64 / 3.0).collect();
        let row = Row::floats(self.start_ms + row * STEP_MS, ids, &values);
        self.engine.append(&[row], Durability::Written).unwrap();
    }

    fn ask(&self, query: &str, start_ms: i64, no_cache: bool) -> Answer {
        let when = When::Range { start_ms, end_ms: start_ms + HOUR_MS, step_ms: STEP_MS };
        let options = QueryOptions { no_cache, ..QueryOptions::default() };
        self.engine.query_metrics(&parse(query).unwrap(), when, &options).unwrap()
    }

    fn same(&self, query: &str, start_ms: i64) {
        let bits = |answer: Answer| {
            let Value::Matrix(series) = answer.value else { panic!("a matrix") };
            let points = |points: Vec<(i64, f64)>| {
                points.into_iter().map(|(ts_ms, v)| (ts_ms, v.to_bits())).collect::<Vec<_>>()
            };
            let series = series.into_iter().map(|s| (s.labels.to_string(), points(s.points)));
            series.collect::<Vec<_>>()
        };
        let (kept, whole) = (self.ask(query, start_ms, false), self.ask(query, start_ms, true));
        assert_eq!(bits(kept), bits(whole), "{query} from {start_ms}");
    }
}

#[test]
fn a_range_that_moves_on_is_answered_from_what_is_kept() {
    let house = House::new();
    let queries = ["c_total", "sum(rate(c_total[5m]))", "topk(2, c_total)", "count(c_total) > 9"];
    for query in queries {
        for refresh in 0..40 {
            // From before the tenth series begins to the last sample.
            house.same(query, house.start_ms + HOUR_MS / 3 + refresh * 4 * STEP_MS);
        }
    }
    let stats = house.engine.stats().queries;
    assert_eq!((stats.cache_misses, stats.cache_hits), (4, 156));
    assert!(stats.cache_bytes > 0);
    // Another step, phase or text is another question, and what is not steady is none.
    house.same("c_total", house.start_ms + 1);
    house.same("c_total @ end()", house.start_ms);
    assert_eq!(house.engine.stats().queries.cache_misses, 5);
}

#[test]
fn a_late_sample_begins_anew() {
    let house = House::new();
    let start_ms = house.start_ms + HOUR_MS / 2;
    house.same("sum(c_total)", start_ms);
    assert_eq!(house.engine.stats().queries.cache_invalidations, 0);
    // The newest instants are never kept: what comes in order disturbs nothing.
    house.write(2 * HOUR_MS / STEP_MS, 0);
    assert_eq!(house.engine.stats().queries.cache_invalidations, 0);
    // The series that began late gets a sample from before.
    let row = Row::floats(house.start_ms + HOUR_MS + 1, &house.ids[..1], &[1e9]);
    assert_eq!(house.engine.append(&[row], Durability::Written).unwrap().appended, 1);
    assert_eq!(house.engine.stats().queries.cache_invalidations, 1);
    house.same("sum(c_total)", start_ms);
    house.same("sum(c_total)", start_ms + STEP_MS);
}
