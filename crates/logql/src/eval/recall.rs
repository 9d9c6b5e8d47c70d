//! What became of rows, by the values that the query looks at.
//!
//! The outcome of a row depends on a few labels: those that filters read and those that series are
//! grouped by. Rows with the same values there share their outcome, so the pipeline runs once for each
//! combination of values. Where the values are words of dictionaries the combination is a number, and
//! an outcome an element of a table.

use super::columns::{Place, Plan, Recall, as_label, number};
use super::groups::Groups;
use crate::pipeline::labels::LabelSet;
use crate::units::parse_go_float;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
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
            let shape = if recall.kind.is_some() { group.shape } else { 0 };
            let compared = compared(recall, plan, block, shape)?;
            // Groups in which the query finds the same in the same places share what it makes of it.
            let names = recall.looked_at.iter().copied().chain(recall.unwrapped);
            let mut places: Vec<Option<Place>> = names.map(|name| plan.place(name)).collect();
            // Where a comparison fails the outcome is an error, and not that of the others.
            places.extend(recall.compared.iter().map(|name| match plan.place(name) {
                Some(Place::Fixed(word)) if parse_go_float(&word).is_err() => {
                    Some(Place::Fixed(word))
                }
                _ => None,
            }));
            let in_slot = |place: &Option<Place>| matches!(place, Some(Place::Slot(_)));
            let has_slots = !compared.is_empty() || places.iter().any(in_slot);
            let apart = match recall.tells_groups_apart {
                true => at,
                false if has_slots => shape,
                false => usize::MAX,
            };
            let memo = match known.entry((apart, places)) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(new) => {
                    let memo = Memo::of(recall, plan, block, shape, compared)?.map(|memo| {
                        all.push(memo);
                        all.len() - 1
                    });
                    *new.insert(memo)
                }
            };
            of_group.push(memo);
        }
        Ok(Memos { of_group, all })
    }
}

/// The slots of numbers that are compared, whose columns do not say that all of them compare.
fn compared(
    recall: &Recall<'_>,
    plan: &Plan,
    block: &dyn LogBlock,
    shape: usize,
) -> Result<Vec<usize>, ReadError> {
    let mut slots = Vec::new();
    for slot in recall.compared.iter().filter_map(|name| plan.slot(name)) {
        if !compares(block, shape, slot)? {
            slots.push(slot);
        }
    }
    Ok(slots)
}

/// Whether all values of a slot are numbers, as its column shows.
fn compares(block: &dyn LogBlock, shape: usize, slot: usize) -> Result<bool, ReadError> {
    let is_number = |word: &Vec<u8>| as_label(word).is_some_and(|w| parse_go_float(w).is_ok());
    Ok(match block.values(shape, slot)? {
        SlotValues::Numbers { .. } => true,
        SlotValues::Words { words, .. } => words.iter().all(is_number),
        SlotValues::Texts => false,
    })
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
    /// The labels that decide, and where they stand; `None` where a comparison may fail.
    places: Option<Vec<(String, Option<Place>)>>,
}

impl<'b> Memo<'b> {
    /// `None` if every row of the shape is its own case.
    fn of(
        recall: &Recall<'_>,
        plan: &Plan,
        block: &'b dyn LogBlock,
        shape: usize,
        compared: Vec<usize>,
    ) -> Result<Option<Memo<'b>>, ReadError> {
        let slot = |name: &&str| plan.slot(name);
        let mut slots: Vec<usize> = recall.looked_at.iter().filter_map(slot).collect();
        let mut may_fail = false;
        for name in &recall.numbers {
            may_fail |= match plan.place(name) {
                None => false,
                Some(Place::Fixed(word)) => parse_go_float(&word).is_err(),
                Some(Place::Slot(slot)) => !compares(block, shape, slot)?,
            };
        }
        let looked_at = recall.looked_at.iter().map(|&name| (name.to_owned(), plan.place(name)));
        let places = (!may_fail).then(|| looked_at.collect());
        slots.extend(compared);
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
        Ok(Some(Memo { block, shape, slots, words, dense, sparse, key, unwrapped, places }))
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

    /// The labels of a row's series among `grouped`, without its line; `None` where only the pipeline
    /// knows what becomes of the row. For rows that pass all filters as long as nothing fails.
    pub(super) fn labels(
        &self,
        grouped: &[String],
        rank: usize,
    ) -> Result<Option<LabelSet>, ReadError> {
        let Some(places) = &self.places else { return Ok(None) };
        let mut pairs = Vec::with_capacity(grouped.len());
        let mut text = Vec::new();
        for (name, place) in places {
            let value: Arc<str> = match place {
                None => continue,
                Some(Place::Fixed(value)) => value.clone(),
                Some(Place::Slot(slot)) => {
                    text.clear();
                    self.block.value(self.shape, *slot, rank, &mut text)?;
                    let Some(value) = as_label(&text) else { return Ok(None) };
                    value.into()
                }
            };
            if grouped.contains(name) {
                pairs.push((name.as_str(), value));
            }
        }
        Ok(Some(LabelSet::from_pairs(pairs)))
    }

    /// The sample of a row that belongs to a series.
    pub(super) fn sample(&self, rank: usize) -> f64 {
        self.unwrapped.map_or(1.0, |(mantissas, scale)| number(mantissas[rank], scale))
    }
}
