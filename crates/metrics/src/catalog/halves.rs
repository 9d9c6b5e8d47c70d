//! One half of many label sets, each kept once.
//!
//! A half is an ascending-by-name list of pair numbers in one flat array. It has a posting: the
//! series that carry it.

use super::ids::Ids;
use super::slots::Slots;
use std::hash::BuildHasher;

#[derive(Default)]
pub(super) struct Halves {
    /// Where the pairs of each half start and end in `arena`.
    spans: Vec<(u32, u32)>,
    arena: Vec<u32>,
    series: Vec<Ids>,
    by_pairs: Slots,
    hasher: foldhash::fast::RandomState,
}

impl Halves {
    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }

    pub(super) fn find(&self, pairs: &[u32]) -> Option<u32> {
        self.by_pairs.find(self.hasher.hash_one(pairs), |half| self.pairs(half) == pairs)
    }

    /// The number of a half, and whether it is new.
    pub(super) fn intern(&mut self, pairs: &[u32]) -> (u32, bool) {
        if let Some(half) = self.find(pairs) {
            return (half, false);
        }
        let half = self.spans.len() as u32;
        let start = self.arena.len() as u32;
        self.arena.extend_from_slice(pairs);
        self.spans.push((start, self.arena.len() as u32));
        self.series.push(Ids::default());
        let Halves { spans, arena, by_pairs, hasher, .. } = self;
        by_pairs.insert(hasher.hash_one(pairs), half, |other| {
            let (start, end) = spans[other as usize];
            hasher.hash_one(&arena[start as usize..end as usize])
        });
        (half, true)
    }

    pub(super) fn pairs(&self, half: u32) -> &[u32] {
        let (start, end) = self.spans[half as usize];
        &self.arena[start as usize..end as usize]
    }

    pub(super) fn series(&self, half: u32) -> &Ids {
        &self.series[half as usize]
    }

    pub(super) fn add_series(&mut self, half: u32, id: u32) {
        self.series[half as usize].insert(id);
    }
}
