//! The door for series that are known by a key: what somebody pushes.
//!
//! A push names its series by a hash of the bytes of their labels (`codec::remote_write`). The store
//! remembers which series a key means. A sender repeats its series in the same order, so each key
//! also remembers which key came after it: in a stable order no table is looked at, and the next
//! 24 bytes are most often in the cache already. The labels are looked at once per key.
//!
//! The seed of the keys is drawn when the store is opened, and they are kept nowhere.

use crate::sound;
use crate::{Appended, Durability, ExemplarsAppended, MetricsError, Store};
use hashbrown::HashTable;
use std::hash::{BuildHasher, RandomState};
use vigie_model::{ABSENT, Histogram, Labels, Pushed, Row, SeriesId};

/// Keys that are remembered: a series has one for each way in which its labels are written. When
/// there are more, all are forgotten and learned again.
const KEYS_MAX: usize = 4 * vigie_model::limits::SERIES_MAX;
/// Series whose labels are refused, that are told one by one.
const TOLD_MAX: usize = 8;

/// Which series a key means.
pub(crate) struct Keys {
    seed: u64,
    known: Vec<Known>,
    by_key: HashTable<u32>,
}

#[derive(Clone, Copy)]
struct Known {
    key: [u64; 2],
    id: u32,
    /// The one that came after this one last time.
    next: u32,
}

impl Default for Keys {
    fn default() -> Keys {
        // The one source of randomness that std has.
        let seed = RandomState::new().hash_one(0u8);
        Keys { seed, known: Vec::new(), by_key: HashTable::new() }
    }
}

impl Keys {
    /// The place of a key that is known; `before` is the place of the one that came before it.
    #[inline]
    fn find(&mut self, before: u32, key: [u64; 2]) -> Option<u32> {
        let guess = self.known.get(before as usize).map_or(0, |known| known.next);
        if self.known.get(guess as usize).is_some_and(|known| known.key == key) {
            return Some(guess);
        }
        let known = &self.known;
        let at = *self.by_key.find(key[0], |at| known[*at as usize].key == key)?;
        self.follow(before, at);
        Some(at)
    }

    fn follow(&mut self, before: u32, at: u32) {
        if let Some(before) = self.known.get_mut(before as usize) {
            before.next = at;
        }
    }

    fn learn(&mut self, before: u32, key: [u64; 2], id: u32) -> u32 {
        let mut before = before;
        if self.known.len() >= KEYS_MAX {
            self.known.clear();
            self.by_key.clear();
            before = u32::MAX;
        }
        let at = self.known.len() as u32;
        self.known.push(Known { key, id, next: at + 1 });
        let known = &self.known;
        self.by_key.insert_unique(key[0], at, |at| known[*at as usize].key[0]);
        self.follow(before, at);
        at
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
        let ids = self.resolve(pushed, &mut outcome.reasons);
        outcome.samples = self.append(&Rows::of(pushed, &ids).rows(), durability)?;
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
            let key = [*key as u64, (*key >> 64) as u64];
            let at = keys.find(before, key).or_else(|| {
                let id = self.intern_pushed((pushed.labels)(series), reasons)?;
                Some(keys.learn(before, key, id.0))
            });
            ids.push(at.map_or(NO_SERIES, |at| SeriesId(keys.known[at as usize].id)));
            before = at.unwrap_or(before);
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
