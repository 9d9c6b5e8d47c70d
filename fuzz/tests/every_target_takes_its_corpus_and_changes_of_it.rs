//! Every target takes its whole corpus, and a fixed number of changes of it: the same ones each time.

#![allow(clippy::unwrap_used, reason = "a panic is the failure report of a test")]

use std::panic::catch_unwind;
use vigie_fuzz::{Dice, targets};

/// Changes per target in an ordinary run, and in a soak.
const CHANGES: u64 = 5_000;
const CHANGES_SOAK: u64 = 300_000;

#[test]
fn nothing_panics() {
    let soak = std::env::var("VIGIE_SOAK").is_ok_and(|value| value == "1");
    let all = if soak { CHANGES_SOAK } else { CHANGES };
    let mut failures = Vec::new();
    for target in targets() {
        let changes = target.share_of(all);
        let corpus = target.corpus().unwrap();
        assert!(!corpus.is_empty(), "{} has nothing to start from", target.name);
        let fails = |input: &[u8]| catch_unwind(|| (target.run)(input)).is_err();
        let files = corpus.iter().enumerate().filter(|(_, input)| fails(input));
        failures.extend(files.map(|(at, _)| format!("{}: corpus input {at}", target.name)));
        let seeds = (0..changes).filter(|seed| fails(&Dice(*seed).change(&corpus)));
        failures.extend(seeds.take(3).map(|seed| format!("{}: seed {seed}", target.name)));
        println!("{:<28} {:>4} corpus inputs, {changes} changes", target.name, corpus.len());
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
