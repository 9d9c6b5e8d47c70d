//! Bits flipped anywhere in the files of a store: harmless or reported, never a wrong line, never a
//! store that stays closed; how that is looked at stands in `common/flipped.rs`.
//! 500 flips in every run, 10,000 with `VIGIE_SOAK=1`.

#![allow(clippy::unwrap_used, reason = "a panic here is the failure report")]

mod common;

use common::flipped::flips;
use common::slice_or_soak;

#[test]
fn flips_are_harmless_or_reported() {
    let count = slice_or_soak(500, 10_000);
    let reported = flips(count).unwrap_or_else(|what| panic!("{what}"));
    println!("{count} flips, {reported} reported, no wrong line, no closed store");
    assert!(reported > count / 2);
}
