//! A table of numbers whose keys stand elsewhere: four bytes a slot and nothing else.
//!
//! Open addressing with linear probing. The table grows by half and is at most four fifths full, so
//! a number costs five to eight bytes. Nothing is ever taken out.

/// No number.
const EMPTY: u32 = u32::MAX;
const SLOTS_MIN: usize = 16;

#[derive(Default)]
pub(crate) struct Slots {
    slots: Vec<u32>,
    count: usize,
}

impl Slots {
    /// The number with this hash for which `is` answers true.
    #[inline]
    pub(crate) fn find(&self, hash: u64, is: impl Fn(u32) -> bool) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        let mut at = home(hash, self.slots.len());
        loop {
            match self.slots[at] {
                EMPTY => return None,
                number if is(number) => return Some(number),
                _ => at = if at + 1 == self.slots.len() { 0 } else { at + 1 },
            }
        }
    }

    /// Adds a number that is not there. `hash_of` gives the hashes of those that are.
    pub(crate) fn insert(&mut self, hash: u64, number: u32, hash_of: impl Fn(u32) -> u64) {
        assert_ne!(number, EMPTY, "the largest number stands for none");
        if (self.count + 1) * 5 > self.slots.len() * 4 {
            let len = SLOTS_MIN.max(self.slots.len() + self.slots.len() / 2);
            let old = std::mem::replace(&mut self.slots, vec![EMPTY; len]);
            old.into_iter().filter(|n| *n != EMPTY).for_each(|n| self.put(hash_of(n), n));
        }
        self.put(hash, number);
        self.count += 1;
    }

    fn put(&mut self, hash: u64, number: u32) {
        let mut at = home(hash, self.slots.len());
        while self.slots[at] != EMPTY {
            at = if at + 1 == self.slots.len() { 0 } else { at + 1 };
        }
        self.slots[at] = number;
    }
}

/// The slot at which the search for a hash starts.
fn home(hash: u64, len: usize) -> usize {
    ((hash >> 32) * len as u64 >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_found_whatever_the_hashes_are() {
        for spread in [0u64, 1 << 62, 0x9e37_79b9_7f4a_7c15] {
            let hash = |n: u32| u64::from(n).wrapping_mul(spread);
            let mut slots = Slots::default();
            for n in 0..500 {
                assert_eq!(slots.find(hash(n), |m| m == n), None);
                slots.insert(hash(n), n, hash);
            }
            assert!((0..500).all(|n| slots.find(hash(n), |m| m == n) == Some(n)));
            assert_eq!(slots.find(hash(7), |m| m == 900), None);
        }
    }
}
