//! What the durability suites are worth: each of these bugs is planted, and a suite must find it.
//!
//! The simulated lives (`common/simulated.rs`) find
//! 1. a sync of the log left out before a `Synced` append is answered;
//! 2. a part's file not synced before it is listed;
//! 3. the directory not synced after a part's rename;
//! 4. the directory of the log not synced after a new segment;
//! 5. the file of delete requests not synced;
//! 6. the directory not synced after its rename;
//! 7. a segment of the log dropped before its part is durable;
//! 8. a seal that loses its last line;
//! 9. a replay that applies a record twice;
//! 10. lines that the log refused, left in the head;
//! 11. no duplicates looked for in the head that is being sealed;
//! 12. parts read beside the one that replaced them;
//! 13. a compaction that drops its sources before the part made of them is listed;
//! 14. a merged part whose write failed at the end, forgotten under its name;
//! 15. a compaction that takes lines of two streams at one instant for the same;
//! 16. a compaction that writes deleted lines again;
//! 17. a delete request noted as done while the log still holds its lines;
//! 18. one noted as done while a part that could not be opened may hold its lines;
//! 19. a delete request forgotten after a restart;
//! 20. retention that takes a part still needed.
//!
//! The flips (`common/flipped.rs`) find
//! 21. a checksum not verified.
//!
//! The hostile lines (`common/hostile.rs`) find
//! 22. a dictionary code off by one;
//! 23. a text looked for in the first word of a dictionary only.

#![cfg(debug_assertions)]
#![allow(clippy::unwrap_used, reason = "a panic here is the failure report")]

mod common;

use common::{flipped, hostile, simulated};
use vigie_disk::sim::Lies;
use vigie_logs::planted::{Bug, plant};

/// Most seeds that a bug may take to be noticed.
const SEEDS_MAX: u64 = 300;

/// The seed at which the lives notice, with what they say.
fn noticed_by_lives(lies: Lies) -> Option<(u64, String)> {
    (0..SEEDS_MAX).find_map(|seed| Some((seed, simulated::run(seed, lies).err()?)))
}

#[test]
fn syncs_left_out_by_the_disk_are_noticed() {
    let file = |of| Lies { file_sync: true, of, ..Lies::default() };
    let dir = |of| Lies { dir_sync: true, of, ..Lies::default() };
    for lies in [
        file(".part"),
        file("wal-"),
        file("deletes"),
        dir("/parts"),
        dir("/wal"),
        dir("/logs"),
        file(""),
        dir(""),
    ] {
        let (seed, what) = noticed_by_lives(lies).unwrap_or_else(|| panic!("{lies:?}"));
        println!("{lies:?}: seed {seed}: {what}");
    }
}

#[test]
fn bugs_planted_in_the_store_are_noticed_by_its_lives() {
    for bug in [
        Bug::SyncLeftOut,
        Bug::LogGoesFirst,
        Bug::LastLineLost,
        Bug::ReplayedTwice,
        Bug::RefusedStays,
        Bug::FrozenNotAsked,
        Bug::ReplacedAreRead,
        Bug::SourcesGoFirst,
        Bug::MergedForgotten,
        Bug::EqualInstantsLost,
        Bug::DeletedComesBack,
        Bug::LogOutlivesDelete,
        Bug::LeftOutForgotten,
        Bug::RequestForgotten,
        Bug::RetentionTooEarly,
    ] {
        plant(Some(bug));
        let noticed = noticed_by_lives(Lies::default());
        plant(None);
        let (seed, what) = noticed.unwrap_or_else(|| panic!("{bug:?} is not noticed"));
        println!("{bug:?}: seed {seed}: {what}");
    }
}

#[test]
fn a_checksum_that_is_not_verified_is_noticed_by_the_flips() {
    plant(Some(Bug::ChecksumsNotVerified));
    let noticed = flipped::flips(500).err();
    plant(None);
    println!("{}", noticed.expect("no flip is noticed"));
}

#[test]
fn bugs_planted_in_the_dictionaries_are_noticed_by_the_hostile_lines() {
    for bug in [Bug::CodeOffByOne, Bug::FirstWordOnly] {
        plant(Some(bug));
        let noticed = (0..10).find_map(|seed| hostile::round_trip(seed, 1_000).err());
        plant(None);
        println!("{bug:?}: {}", noticed.unwrap_or_else(|| panic!("{bug:?} is not noticed")));
    }
}
