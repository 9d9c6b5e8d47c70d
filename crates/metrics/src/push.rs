//! The door for series that are known by a key: what somebody pushes.
//!
//! A push names its series by a hash of the bytes of their labels (`codec::remote_write`). The store
//! remembers which series a key means. A sender repeats its series in the same order, so each series
//! also remembers which one came after it: in a stable order no table is looked at, and the next
//! twelve bytes are most often in the cache already. The labels are looked at once per key.
//!
//! Of a key 64 bits are kept, 12 bytes a series in all. A key is compared with the one series that
//! is expected or with the few in its part of the table, never with all, so a new label set is taken
//! for another with a probability of about 2⁻⁶² — and nobody can try on purpose, because the seed of
//! the keys is drawn when the store is opened, and is kept nowhere.
//! A series has one key for each way in which its labels are written. The first is the usual one;
//! others stand in a table of their own.

use crate::catalog::Slots;
use crate::{Appended, Durability, ExemplarsAppended, MetricsError, Store};
use hashbrown::HashMap;
use std::hash::{BuildHasher, RandomState};
use vigie_model::{Labels, Pushed, PushedSample, Row, SeriesId};

/// Other keys of known series that are remembered. When there are more, all are forgotten and
/// learned again.
const OTHER_KEYS_MAX: usize = vigie_model::limits::SERIES_MAX;
/// Series whose labels are refused, that are told one by one.
const TOLD_MAX: usize = 8;
/// The key of a series that was never pushed.
const NO_KEY: [u32; 2] = [0; 2];

/// Which series a key means.
pub(crate) struct Keys {
    seed: u64,
    /// By series id.
    known: Vec<Known>,
    by_key: Slots,
    others: HashMap<u128, u32, foldhash::fast::RandomState>,
}

#[derive(Clone, Copy)]
struct Known {
    /// Half of the usual key, low bits first.
    key: [u32; 2],
    /// The series that came after this one last time.
    next: u32,
}

impl Default for Keys {
    fn default() -> Keys {
        // The one source of randomness that std has.
        let seed = RandomState::new().hash_one(0u8);
        Keys { seed, known: Vec::new(), by_key: Slots::default(), others: HashMap::default() }
    }
}

/// The half of a key that is kept. The other half is used for nothing.
fn kept(key: u128) -> [u32; 2] {
    match [key as u32, (key >> 32) as u32] {
        NO_KEY => [1, 0],
        kept => kept,
    }
}

fn hash(key: [u32; 2]) -> u64 {
    u64::from(key[1]) << 32 | u64::from(key[0])
}

impl Keys {
    /// The series of a key that is known; `before` is the series of the one that came before it.
    #[inline]
    fn find(&mut self, before: u32, key: u128) -> Option<u32> {
        let half = kept(key);
        let guess = self.known.get(before as usize).map_or(0, |known| known.next);
        if self.known.get(guess as usize).is_some_and(|known| known.key == half) {
            return Some(guess);
        }
        let known = &self.known;
        let found = self.by_key.find(hash(half), |id| known[id as usize].key == half);
        let id = found.or_else(|| self.others.get(&key).copied())?;
        self.follow(before, id);
        Some(id)
    }

    fn follow(&mut self, before: u32, id: u32) {
        if let Some(before) = self.known.get_mut(before as usize) {
            before.next = id;
        }
    }

    fn learn(&mut self, before: u32, key: u128, id: u32) {
        // Ids are given in the order in which series are first seen, so the next one is a good guess.
        let first = self.known.len() as u32;
        self.known.extend((first..=id).map(|id| Known { key: NO_KEY, next: id.wrapping_add(1) }));
        if self.known[id as usize].key == NO_KEY {
            let half = kept(key);
            self.known[id as usize].key = half;
            let known = &self.known;
            self.by_key.insert(hash(half), id, |id| hash(known[id as usize].key));
        } else {
            if self.others.len() >= OTHER_KEYS_MAX {
                self.others.clear();
            }
            self.others.insert(key, id);
        }
        self.follow(before, id);
    }
}

/// What became of a push.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushOutcome {
    /// Of the floats of series whose labels are acceptable.
    pub samples: Appended,
    /// Of the exemplars of the same.
    pub exemplars: ExemplarsAppended,
    /// Why labels or whole kinds of samples are not acceptable: the first reasons.
    pub reasons: Vec<String>,
}

const NO_SERIES: SeriesId = SeriesId(u32::MAX);

impl Store {
    /// What goes into the keys of [`Store::push`].
    pub fn key_seed(&self) -> u64 {
        self.keys.lock().seed
    }

    /// Takes in what somebody pushed, and returns when it is as durable as asked for.
    /// What is refused is counted, and the rest is kept.
    ///
    /// # Errors
    /// When nothing can be kept now; then the push may be partly in the store, and sending it again
    /// is right.
    pub fn push(
        &self,
        pushed: &Pushed<'_>,
        durability: Durability,
    ) -> Result<PushOutcome, MetricsError> {
        self.floor.check()?;
        let mut outcome = PushOutcome::default();
        let ids = self.resolve(pushed, &mut outcome.reasons);
        outcome.samples = self.append(&Rows::of(pushed.samples, &ids).rows(), durability)?;
        let exemplars: Vec<_> = pushed
            .exemplars
            .iter()
            .map(|one| (ids[one.series as usize], one.exemplar.clone()))
            .filter(|(id, _)| *id != NO_SERIES)
            .collect();
        outcome.exemplars = self.append_exemplars(&exemplars, durability)?;
        if !pushed.histograms.is_empty() {
            let count = pushed.histograms.len();
            outcome.reasons.push(format!(
                "native histograms are not stored yet ({count} refused): send classic ones"
            ));
        }
        Ok(outcome)
    }

    /// The series of each key, [`NO_SERIES`] where the labels are not acceptable.
    fn resolve(&self, pushed: &Pushed<'_>, reasons: &mut Vec<String>) -> Vec<SeriesId> {
        let mut ids = Vec::with_capacity(pushed.keys.len());
        let mut keys = self.keys.lock();
        let mut before = u32::MAX;
        for (series, key) in pushed.keys.iter().enumerate() {
            let id = keys.find(before, *key).or_else(|| {
                let id = self.intern_pushed((pushed.labels)(series), reasons)?;
                keys.learn(before, *key, id.0);
                Some(id.0)
            });
            ids.push(id.map_or(NO_SERIES, SeriesId));
            before = id.unwrap_or(before);
        }
        ids
    }

    fn intern_pushed(
        &self,
        labels: Result<Labels, String>,
        reasons: &mut Vec<String>,
    ) -> Option<SeriesId> {
        let interned =
            labels.and_then(|labels| self.intern(&labels).map_err(|error| error.to_string()));
        match interned {
            Ok(id) => Some(id),
            Err(reason) => {
                if reasons.len() < TOLD_MAX {
                    reasons.push(reason);
                }
                None
            }
        }
    }
}

/// Samples put together into rows: those of one instant stand side by side.
struct Rows {
    ids: Vec<SeriesId>,
    values: Vec<f64>,
    /// The instant of each row and where it ends.
    ends: Vec<(i64, usize)>,
}

impl Rows {
    fn of(samples: &[PushedSample], ids: &[SeriesId]) -> Rows {
        let mut rows = Rows {
            ids: Vec::with_capacity(samples.len()),
            values: Vec::with_capacity(samples.len()),
            ends: Vec::new(),
        };
        let ascend = samples.is_sorted_by_key(|sample| sample.ts_ms);
        if ascend {
            samples.iter().for_each(|sample| rows.add(sample, ids));
        } else {
            // The order of a row's series is kept: it is the order in which they will come again.
            let mut order: Vec<u32> = (0..samples.len() as u32).collect();
            order.sort_by_key(|at| samples[*at as usize].ts_ms);
            order.iter().for_each(|at| rows.add(&samples[*at as usize], ids));
        }
        rows
    }

    fn add(&mut self, sample: &PushedSample, ids: &[SeriesId]) {
        let id = ids[sample.series as usize];
        if id == NO_SERIES {
            return;
        }
        self.ids.push(id);
        self.values.push(sample.value);
        match self.ends.last_mut() {
            Some((ts_ms, end)) if *ts_ms == sample.ts_ms => *end += 1,
            _ => self.ends.push((sample.ts_ms, self.ids.len())),
        }
    }

    fn rows(&self) -> Vec<Row<'_>> {
        let mut start = 0;
        let rows = self.ends.iter().map(|(ts_ms, end)| {
            let row = Row::floats(*ts_ms, &self.ids[start..*end], &self.values[start..*end]);
            start = *end;
            row
        });
        rows.collect()
    }
}
