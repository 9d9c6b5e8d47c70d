//! An ascending list of numbers, packed: what a posting is made of.
//!
//! The list is kept as runs. A run that is complete is `gap × 2 + is_long`, then `length − 2` when it
//! is long, each as LEB128; the last one stays open, so that the usual next number costs an addition.
//! The series of one target are one run; those of one metric on a fleet take two bytes each.

use vigie_disk::wire::put_uint;

#[derive(Default)]
pub(crate) struct Ids {
    complete: Vec<u8>,
    /// Where the last complete run ended.
    end: u32,
    /// The open run.
    start: u32,
    len: u32,
    count: u32,
}

impl Ids {
    /// Adds a number that is not there. It is cheap when it is the largest.
    pub(crate) fn insert(&mut self, id: u32) {
        let next = self.start + self.len;
        if self.count > 0 && id < next {
            return self.insert_within(id);
        }
        if self.count == 0 {
            self.start = id;
        } else if id > next {
            self.complete_run();
            (self.start, self.len) = (id, 0);
        }
        self.len += 1;
        self.count += 1;
    }

    fn complete_run(&mut self) {
        let is_long = self.len > 1;
        let gap = u64::from(self.start - self.end);
        put_uint(&mut self.complete, gap << 1 | u64::from(is_long));
        if is_long {
            put_uint(&mut self.complete, u64::from(self.len - 2));
        }
        self.end = self.start + self.len;
    }

    /// After a restart the ids of two senders may come in another order than they were given.
    fn insert_within(&mut self, id: u32) {
        let mut all: Vec<u32> = self.iter().collect();
        let at = all.partition_point(|other| *other < id);
        assert_ne!(all.get(at), Some(&id), "a number stands in a list once");
        all.insert(at, id);
        *self = Ids::default();
        all.into_iter().for_each(|id| self.insert(id));
    }

    pub(crate) fn len(&self) -> usize {
        self.count as usize
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let mut rest = self.complete.as_slice();
        let mut next = 0;
        let complete = std::iter::from_fn(move || {
            let word = take_uint(&mut rest)?;
            let start = next + (word >> 1) as u32;
            let len = if word & 1 == 1 { take_uint(&mut rest)? as u32 + 2 } else { 1 };
            next = start + len;
            Some(start..next)
        });
        complete.chain(std::iter::once(self.start..self.start + self.len)).flatten()
    }
}

/// What [`put_uint`] wrote in this process: nothing to check.
#[inline]
fn take_uint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    let mut shift = 0;
    loop {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Some(value);
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_come_back_in_order_whatever_the_order_of_their_making() {
        for numbers in [
            vec![],
            vec![0],
            vec![u32::MAX - 1],
            vec![0, 1, 2, 3],
            vec![5, 6, 900, 901, 902, 70_000, 3, 4, 0],
            (0..100).map(|n| n * 507).collect(),
            (0..100).rev().collect(),
        ] {
            let mut ids = Ids::default();
            numbers.iter().for_each(|id| ids.insert(*id));
            let mut sorted = numbers.clone();
            sorted.sort_unstable();
            assert_eq!(ids.iter().collect::<Vec<_>>(), sorted);
            assert_eq!(ids.len(), numbers.len());
        }
    }
}
