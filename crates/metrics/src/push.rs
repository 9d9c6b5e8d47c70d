//! The door for series that are known by a key: what somebody pushes.
//!
//! A push names its series by a hash of the bytes of their labels (`codec::remote_write`). The store
//! remembers which series a key means. A sender repeats its series in the same order, so each series
//! also remembers which one came after it: in a stable order no table is looked at, and the next
//! twelve bytes are most often in the cache already. The labels are looked at once per key.
//!
//! A key has 64 bits and takes 12 bytes a series in all. It is compared with the one series that
//! is expected or with the few in its part of the table, never with all, so a new label set is taken
//! for another with a probability of about 2⁻⁶² — and nobody can try on purpose, because the seed of
//! the keys is drawn when the store is opened, and is kept nowhere.
//! A series has one key for each way in which its labels are written. The first is the usual one;
//! others stand in a table of their own.

use crate::catalog::Slots;
use crate::sound;
use crate::{Appended, Durability, ExemplarsAppended, MetricsError, Store};
use hashbrown::HashMap;
use std::hash::{BuildHasher, RandomState};
use vigie_model::{ABSENT, Histogram, Labels, Pushed, Row, SeriesId};

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
    others: HashMap<u64, u32, foldhash::fast::RandomState>,
}

#[derive(Clone, Copy)]
struct Known {
    /// The usual key, low bits first.
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

/// A key as it is kept.
fn split(key: u64) -> [u32; 2] {
    match [key as u32, (key >> 32) as u32] {
        NO_KEY => [1, 0],
        halves => halves,
    }
}

fn hash(key: [u32; 2]) -> u64 {
    u64::from(key[1]) << 32 | u64::from(key[0])
}

impl Keys {
    /// The series of a key that is known; `before` is the series of the one that came before it.
    #[inline]
    fn find(&mut self, before: u32, key: u64) -> Option<u32> {
        let halves = split(key);
        let guess = self.known.get(before as usize).map_or(0, |known| known.next);
        if self.known.get(guess as usize).is_some_and(|known| known.key == halves) {
            return Some(guess);
        }
        let known = &self.known;
        let found = self.by_key.find(hash(halves), |id| known[id as usize].key == halves);
        let id = found.or_else(|| self.others.get(&key).copied())?;
        self.follow(before, id);
        Some(id)
    }

    /// Forgets which series a key means; the seed stays, since pushes under way have used it.
    pub(crate) fn forget(&mut self) {
        *self = Keys { seed: self.seed, ..Keys::default() };
    }

    fn follow(&mut self, before: u32, id: u32) {
        if let Some(before) = self.known.get_mut(before as usize) {
            before.next = id;
        }
    }

    fn learn(&mut self, before: u32, key: u64, id: u32) {
        // Ids are given in the order in which series are first seen, so the next one is a good guess.
        let first = self.known.len() as u32;
        self.known.extend((first..=id).map(|id| Known { key: NO_KEY, next: id.wrapping_add(1) }));
        if self.known[id as usize].key == NO_KEY {
            let halves = split(key);
            self.known[id as usize].key = halves;
            let known = &self.known;
            self.by_key.insert(hash(halves), id, |id| hash(known[id as usize].key));
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
    /// Of the floats and native histograms of series whose labels are acceptable.
    pub samples: Appended,
    /// Of the exemplars of the same.
    pub exemplars: ExemplarsAppended,
    /// Why labels or histograms are not acceptable: the first reasons.
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
        let mut ids = self.resolve(pushed, &mut outcome.reasons);
        // With start timestamps behind them the samples are synced together with those.
        let has_starts = self.options.starts && !pushed.starts.is_empty();
        let first = if has_starts { Durability::Written } else { durability };
        outcome.samples = match self.append(&Rows::of(pushed, &ids).rows(), first) {
            Err(MetricsError::Forgotten) => {
                outcome.reasons.clear();
                ids = self.resolve(pushed, &mut outcome.reasons);
                self.append(&Rows::of(pushed, &ids).rows(), first)?
            }
            done => done?,
        };
        if has_starts {
            let starts = pushed.starts.iter();
            let starts = starts.map(|one| (ids[one.series as usize], one.ts_ms, one.start_ms));
            let starts: Vec<_> = starts.filter(|(id, ..)| *id != NO_SERIES).collect();
            self.append_starts(&starts, durability)?;
        }
        if outcome.samples.invalid > 0 {
            let given = pushed.histograms.iter().map(|pushed| &pushed.histogram);
            outcome.reasons.extend(sound::reasons(given, TOLD_MAX));
        }
        let exemplars: Vec<_> = pushed
            .exemplars
            .iter()
            .map(|one| (ids[one.series as usize], one.exemplar.clone()))
            .filter(|(id, _)| *id != NO_SERIES)
            .collect();
        outcome.exemplars = self.append_exemplars(&exemplars, durability)?;
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
struct Rows<'a> {
    ids: Vec<SeriesId>,
    values: Vec<f64>,
    /// Each with its index in its row.
    histograms: Vec<(usize, &'a Histogram)>,
    ends: Vec<End>,
}

/// Where a row ends.
struct End {
    ts_ms: i64,
    cells: usize,
    histograms: usize,
}

impl<'a> Rows<'a> {
    fn of(pushed: &Pushed<'a>, ids: &[SeriesId]) -> Rows<'a> {
        let count = pushed.samples.len() + pushed.histograms.len();
        let mut rows = Rows {
            ids: Vec::with_capacity(count),
            values: Vec::with_capacity(count),
            histograms: Vec::with_capacity(pushed.histograms.len()),
            ends: Vec::new(),
        };
        let samples = pushed.samples;
        if pushed.histograms.is_empty() && samples.is_sorted_by_key(|sample| sample.ts_ms) {
            for sample in samples {
                rows.add(ids[sample.series as usize], sample.ts_ms, sample.value, None);
            }
            return rows;
        }
        // The order of a row's series is kept: it is the order in which they will come again.
        // Histograms stand behind the floats of their instant.
        let floats = samples.iter().map(|sample| sample.ts_ms);
        let histograms = pushed.histograms.iter().map(|pushed| pushed.ts_ms);
        let mut order: Vec<(i64, u32)> = floats.chain(histograms).zip(0..).collect();
        order.sort_by_key(|(ts_ms, _)| *ts_ms);
        for (ts_ms, at) in order {
            match samples.get(at as usize) {
                Some(sample) => rows.add(ids[sample.series as usize], ts_ms, sample.value, None),
                None => {
                    let pushed = &pushed.histograms[at as usize - samples.len()];
                    let id = ids[pushed.series as usize];
                    rows.add(id, ts_ms, ABSENT, Some(&pushed.histogram));
                }
            }
        }
        rows
    }

    fn add(&mut self, id: SeriesId, ts_ms: i64, value: f64, histogram: Option<&'a Histogram>) {
        if id == NO_SERIES {
            return;
        }
        if self.ends.last().is_none_or(|last| last.ts_ms != ts_ms) {
            let (cells, histograms) = (self.ids.len(), self.histograms.len());
            self.ends.push(End { ts_ms, cells, histograms });
        }
        let start = self.ends.len().checked_sub(2).map_or(0, |before| self.ends[before].cells);
        self.histograms.extend(histogram.map(|histogram| (self.ids.len() - start, histogram)));
        self.ids.push(id);
        self.values.push(value);
        if let Some(end) = self.ends.last_mut() {
            (end.cells, end.histograms) = (self.ids.len(), self.histograms.len());
        }
    }

    fn rows(&self) -> Vec<Row<'_>> {
        let (mut start, mut histograms) = (0, 0);
        let rows = self.ends.iter().map(|end| {
            let row = Row {
                ts_ms: end.ts_ms,
                series: &self.ids[start..end.cells],
                values: &self.values[start..end.cells],
                histograms: &self.histograms[histograms..end.histograms],
            };
            (start, histograms) = (end.cells, end.histograms);
            row
        });
        rows.collect()
    }
}
