//! Companions in the catalogue: series of the store's own, which hold the start timestamps of another.
//!
//! A companion has the labels of its series and one more, [`START_NAME`], which nobody outside may
//! use. So its own half tells that it is one, and a half is looked at once, when it is new: a store
//! without companions pays one comparison of lengths per label of a new half.

use super::{Catalog, NO_HALF, Series, VACANT};
use crate::bitmap::Bitmap;
use hashbrown::HashMap;
use vigie_model::Matcher;

/// The label that makes a series a companion. Label sets with it are refused at the door.
pub(crate) const START_NAME: &str = "__start_ms__";
/// Its value.
const START_VALUE: &str = "1";

/// Which own halves are those of companions, and how many companions there are.
#[derive(Default)]
pub(super) struct Companions {
    halves: Bitmap,
    count: usize,
    /// How many each target has, by its half.
    of_target: HashMap<u32, usize>,
}

impl Companions {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn of_target(&self, half: u32) -> usize {
        self.of_target.get(&half).copied().unwrap_or(0)
    }

    pub(super) fn add_half(&mut self, own: u32) {
        self.halves.insert(own);
    }

    pub(super) fn add_series(&mut self, series: Series) {
        if self.halves.contains(series.own) {
            self.count += 1;
            *self.of_target.entry(series.target).or_default() += 1;
        }
    }
}

impl Catalog {
    /// Whether a pair is the one that makes a companion.
    pub(super) fn is_start(&self, pair: u32) -> bool {
        **self.pairs.name(pair) == *START_NAME
    }

    /// Whether a series is the store's own.
    pub(crate) fn is_companion(&self, id: u32) -> bool {
        let series = self.series.get(id as usize).copied().unwrap_or(VACANT);
        series.own != NO_HALF && self.companions.halves.contains(series.own)
    }

    /// Whether there is any companion.
    pub(crate) fn has_companions(&self) -> bool {
        self.companions.count > 0
    }

    /// The companions whose series fulfil all matchers, ascending.
    pub(crate) fn select_companions(&self, matchers: &[Matcher]) -> Vec<u32> {
        if !self.has_companions() {
            return Vec::new();
        }
        let mut ids = self.select_all(matchers);
        ids.retain(|id| self.is_companion(*id));
        ids
    }

    /// The companion of a series, made when there is none.
    pub(crate) fn intern_companion(&mut self, id: u32) -> u32 {
        let mut labels = self.labels(id).to_builder();
        labels.set(START_NAME, START_VALUE);
        self.intern(&labels.build())
    }

    /// The series that a companion belongs to.
    pub(crate) fn base_of(&self, companion: u32) -> Option<u32> {
        let Series { own, target } = self.series(companion);
        let pairs = self.own.pairs(own).iter().copied();
        let pairs: Vec<u32> = pairs.filter(|pair| !self.is_start(*pair)).collect();
        self.id_of(Series { own: self.own.find(&pairs)?, target })
    }
}
