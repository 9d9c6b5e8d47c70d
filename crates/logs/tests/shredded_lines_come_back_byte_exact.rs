//! Hostile lines come back byte-exact after a seal, a compaction and a restart; how they are made stands
//! in `common/hostile.rs`. 20,000 lines in every run, a million with `VIGIE_SOAK=1`.

#![allow(clippy::unwrap_used, reason = "a panic here is the failure report")]

mod common;

use common::hostile::round_trip;
use common::slice_or_soak;

#[test]
fn hostile_lines_come_back_after_seal_compaction_and_restart() {
    let per_store = 2_000;
    let stores = slice_or_soak(20_000, 1_000_000) / per_store;
    let lines: usize = (0..stores)
        .map(|seed| round_trip(seed, per_store as i64).unwrap_or_else(|what| panic!("{what}")))
        .sum();
    println!("{lines} hostile lines, byte-exact");
}
