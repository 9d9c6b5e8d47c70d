//! What became of rows, by the values that the query looks at.
//!
//! The outcome of a row depends on a few labels: those that filters read and those that series are
//! grouped by. Rows with the same values there share their outcome, so the pipeline runs once for each
//! combination of values. Where the values are words of dictionaries the combination is a number, and
//! an outcome an element of a table.

use super::columns::{Place, Plan, Recall, number};
use super::groups::Groups;
use std::collections::HashMap;
use vigie_model::ReadError;
use vigie_model::blocks::{LogBlock, SlotValues};

/// Most combinations that are found by index.
const DENSE_MAX: usize = 65_536;
/// Most combinations that are remembered otherwise; further ones go through the pipeline.
const SPARSE_MAX: usize = 1 << 20;

/// What becomes of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcome(u32);

impl Outcome {
    /// Not known yet: the row goes through the pipeline, and what comes out is remembered.
    pub(super) const UNKNOWN: Outcome = Outcome(u32::MAX);
    /// The pipeline drops it.
    pub(super) const DROPPED: Outcome = Outcome(u32::MAX - 1);
    /// Each row goes through the pipeline.
    pub(super) const EACH_ITS_OWN: Outcome = Outcome(u32::MAX - 2);

    /// It belongs to the series collected there.
    pub(super) fn series(at: usize) -> Outcome {
        let at = u32::try_from(at).ok().filter(|at| *at < u32::MAX - 2);
        Outcome(at.expect("a query holds far fewer series"))
    }

    /// The place of its series, if it belongs to one.
    pub(super) fn place(self) -> Option<usize> {
        (self.0 < u32::MAX - 2).then_some(self.0 as usize)
    }
}

/// The memos of a block.
pub(super) struct Memos<'b> {
    /// The memo of each group; `None` where each row is its own case.
    pub(super) of_group: Vec<Option<usize>>,
    pub(super) all: Vec<Memo<'b>>,
}

impl<'b> Memos<'b> {
    pub(super) fn of(
        recall: &Recall<'_>,
        block: &'b dyn LogBlock,
        groups: &Groups<'_>,
        plans: &[Option<Plan>],
    ) -> Result<Memos<'b>, ReadError> {
        let mut known: HashMap<(usize, Vec<Option<Place>>), Option<usize>> = HashMap::new();
        let (mut of_group, mut all) = (Vec::with_capacity(plans.len()), Vec::new());
        for (at, (group, plan)) in groups.all.iter().zip(plans).enumerate() {
            let Some(plan) = plan else {
                of_group.push(None);
                continue;
            };
            // Groups in which the query finds the same in the same places share what it makes of it.
            let places = recall.names().map(|name| plan.place(name)).collect();
            let shape = if recall.kind.is_some() { group.shape } else { 0 };
            let apart = if recall.tells_groups_apart { at } else { shape };
            let memo = match known.get(&(apart, places)) {
                Some(memo) => *memo,
                None => {
                    let memo = Memo::of(recall, plan, block, shape)?.map(|memo| {
                        all.push(memo);
                        all.len() - 1
                    });
                    let places = recall.names().map(|name| plan.place(name)).collect();
                    known.insert((apart, places), memo);
                    memo
                }
            };
            of_group.push(memo);
        }
        Ok(Memos { of_group, all })
    }
}

/// The outcomes of rows of one shape.
pub(super) struct Memo<'b> {
    block: &'b dyn LogBlock,
    shape: usize,
    slots: Vec<usize>,
    /// The codes of each slot and how many words it has, if the combinations are numbered.
    words: Vec<(&'b [u8], usize)>,
    dense: Vec<Outcome>,
    sparse: HashMap<Vec<u8>, Outcome>,
    key: Vec<u8>,
    /// The mantissas and the scale of the numbers that are the samples.
    unwrapped: Option<(&'b [i64], u32)>,
}

impl<'b> Memo<'b> {
    /// `None` if every row of the shape is its own case.
    fn of(
        recall: &Recall<'_>,
        plan: &Plan,
        block: &'b dyn LogBlock,
        shape: usize,
    ) -> Result<Option<Memo<'b>>, ReadError> {
        let slot = |name: &&str| match plan.place(name) {
            Some(Place::Slot(slot)) => Some(slot),
            _ => None,
        };
        let mut slots: Vec<usize> = recall.looked_at.iter().filter_map(slot).collect();
        for slot in recall.compared.iter().filter_map(slot) {
            // Not a column of numbers: some may compare with an error.
            if !matches!(block.values(shape, slot)?, SlotValues::Numbers { .. }) {
                slots.push(slot);
            }
        }
        slots.sort_unstable();
        slots.dedup();
        let mut unwrapped = None;
        if let Some(label) = recall.unwrapped {
            let Some(slot) = slot(&label) else { return Ok(None) };
            let SlotValues::Numbers { mantissas, scale } = block.values(shape, slot)? else {
                return Ok(None);
            };
            unwrapped = Some((mantissas, scale));
        }
        let mut words = Vec::with_capacity(slots.len());
        let mut combinations = 1usize;
        for &slot in &slots {
            let SlotValues::Words { words: of_slot, codes } = block.values(shape, slot)? else {
                combinations = usize::MAX;
                break;
            };
            if !codes.is_empty() {
                words.push((codes, of_slot.len()));
                combinations = combinations.saturating_mul(of_slot.len());
            }
        }
        let is_dense = combinations <= DENSE_MAX;
        let dense = vec![Outcome::UNKNOWN; if is_dense { combinations } else { 0 }];
        let (sparse, key) = (HashMap::new(), Vec::new());
        Ok(Some(Memo { block, shape, slots, words, dense, sparse, key, unwrapped }))
    }

    /// Whether all its rows have the same outcome.
    pub(super) fn is_single(&self) -> bool {
        self.dense.len() == 1
    }

    /// What is known of a row; its combination is at hand for [`Memo::remember`].
    pub(super) fn recall(&mut self, rank: usize) -> Result<Outcome, ReadError> {
        if !self.dense.is_empty() {
            return Ok(self.dense[self.index(rank)]);
        }
        self.key.clear();
        for &slot in &self.slots {
            let start = self.key.len();
            self.block.value(self.shape, slot, rank, &mut self.key)?;
            let length = (self.key.len() - start) as u32;
            self.key.extend_from_slice(&length.to_le_bytes());
        }
        Ok(self.sparse.get(&self.key).copied().unwrap_or(Outcome::UNKNOWN))
    }

    fn index(&self, rank: usize) -> usize {
        match &self.words[..] {
            [] => 0,
            [(codes, _)] => usize::from(codes[rank]),
            words => words
                .iter()
                .fold(0, |index, (codes, count)| index * count + usize::from(codes[rank])),
        }
    }

    /// Remembers what became of the row that [`Memo::recall`] was asked for last.
    pub(super) fn remember(&mut self, rank: usize, outcome: Outcome) {
        if !self.dense.is_empty() {
            let index = self.index(rank);
            self.dense[index] = outcome;
        } else if self.sparse.len() < SPARSE_MAX {
            self.sparse.insert(self.key.clone(), outcome);
        }
    }

    /// The sample of a row that belongs to a series.
    pub(super) fn sample(&self, rank: usize) -> f64 {
        self.unwrapped.map_or(1.0, |(mantissas, scale)| number(mantissas[rank], scale))
    }
}
