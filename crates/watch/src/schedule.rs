//! When a group is evaluated: at its own slot of every interval, so that groups with the same
//! interval do not all run at once, and so that restarts do not move the instants.

/// The instants of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slots {
    interval_ms: i64,
    offset_ms: i64,
}

impl Slots {
    /// The slots of the group that `hash` stands for.
    pub(crate) fn new(interval_ms: i64, hash: u64) -> Slots {
        let interval_ms = interval_ms.max(1);
        Slots { interval_ms, offset_ms: (hash % interval_ms as u64) as i64 }
    }

    /// The first slot after an instant.
    pub(crate) fn next_after(self, now_ms: i64) -> i64 {
        let passed = (now_ms - self.offset_ms).div_euclid(self.interval_ms);
        (passed + 1) * self.interval_ms + self.offset_ms
    }

    /// The slot to begin with. One that came while another configuration was taken over, `done_ms`
    /// being its last, is made up for.
    pub(crate) fn first(self, now_ms: i64, done_ms: Option<i64>) -> i64 {
        let next_ms = self.next_after(now_ms);
        let passed_ms = next_ms - self.interval_ms;
        if done_ms.is_some_and(|done_ms| done_ms < passed_ms) { passed_ms } else { next_ms }
    }

    /// The slot to wait for after one is done. A timer may wake a little early, so the same slot is
    /// not given twice; but when the clock was set back by more than an interval, waiting for it to
    /// catch up would leave the rules unevaluated, and the slots begin anew.
    pub(crate) fn after(self, done_ms: i64, now_ms: i64) -> i64 {
        if now_ms < done_ms - self.interval_ms {
            return self.next_after(now_ms);
        }
        self.next_after(now_ms.max(done_ms))
    }

    /// How many slots lie strictly between two slots: those that were missed.
    pub(crate) fn between(self, slot_ms: i64, next_ms: i64) -> u64 {
        u64::try_from((next_ms - slot_ms) / self.interval_ms - 1).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_keep_their_distance_and_missed_ones_are_counted() {
        let slots = Slots::new(15_000, 7);
        for (now_ms, next_ms) in [(0, 7), (7, 15_007), (15_006, 15_007), (15_007, 30_007)] {
            assert_eq!(slots.next_after(now_ms), next_ms, "after {now_ms}");
        }
        for (now_ms, done_ms, first_ms) in [
            (100, None, 15_007),
            (100, Some(7), 15_007),
            (15_010, Some(7), 15_007),
            (15_010, Some(15_007), 30_007),
            (90_000, Some(7), 75_007),
        ] {
            assert_eq!(slots.first(now_ms, done_ms), first_ms, "{now_ms} after {done_ms:?}");
        }
        for (next_ms, missed) in [(15_007, 0), (30_007, 1), (7, 0)] {
            assert_eq!(slots.between(7, next_ms), missed, "up to {next_ms}");
        }
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_stop_the_slots() {
        let slots = Slots::new(15_000, 7);
        for (done_ms, now_ms, next_ms) in [
            (30_007, 30_008, 45_007),
            (30_007, 30_005, 45_007),
            (30_007, 29_000, 45_007),
            (90_000_007, 20_000, 30_007),
            (30_007, 90_000_000, 90_000_007),
        ] {
            assert_eq!(slots.after(done_ms, now_ms), next_ms, "{done_ms} at {now_ms}");
        }
    }
}
