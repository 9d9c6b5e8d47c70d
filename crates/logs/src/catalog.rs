//! The streams of an open store: label sets and the numbers that stand for them.
//!
//! A number is given once and kept while the store is open, also when the stream's last line goes.
//! The catalogue is not written down: every part and every log record carries its labels.

use hashbrown::HashMap;
use vigie_model::{Labels, Matcher, StreamId};

#[derive(Default)]
pub(crate) struct Catalog {
    ids: HashMap<Labels, StreamId>,
    labels: Vec<Labels>,
    live: Vec<bool>,
    live_count: usize,
    /// The newest instant of each stream that stands in a part; lines up to it may be duplicates.
    sealed_max_ns: Vec<i64>,
}

impl Catalog {
    /// The number of a stream; `None` when it would be one too many.
    pub(crate) fn intern(&mut self, labels: &Labels, streams_max: usize) -> Option<StreamId> {
        let known = self.ids.get(labels).copied();
        if known.is_some_and(|id| self.live[id.0 as usize]) {
            return known;
        }
        if self.live_count >= streams_max {
            return None;
        }
        self.live_count += 1;
        if let Some(id) = known {
            self.live[id.0 as usize] = true;
            return known;
        }
        let id = StreamId(u32::try_from(self.labels.len()).ok()?);
        self.ids.insert(labels.clone(), id);
        self.labels.push(labels.clone());
        self.live.push(true);
        self.sealed_max_ns.push(i64::MIN);
        Some(id)
    }

    /// The number of a stream that holds data.
    pub(crate) fn live_id(&self, labels: &Labels) -> Option<StreamId> {
        self.ids.get(labels).copied().filter(|id| self.live[id.0 as usize])
    }

    pub(crate) fn labels(&self, id: StreamId) -> &Labels {
        &self.labels[id.0 as usize]
    }

    pub(crate) fn live_count(&self) -> usize {
        self.live_count
    }

    pub(crate) fn sealed_max_ns(&self, id: StreamId) -> i64 {
        self.sealed_max_ns[id.0 as usize]
    }

    pub(crate) fn raise_sealed_max(&mut self, id: StreamId, ts_ns: i64) {
        let max = &mut self.sealed_max_ns[id.0 as usize];
        *max = (*max).max(ts_ns);
    }

    /// Replaces the knowledge of which streams hold data.
    pub(crate) fn set_live(&mut self, ids: impl Iterator<Item = StreamId>) {
        self.live.fill(false);
        self.live_count = 0;
        for id in ids {
            let live = &mut self.live[id.0 as usize];
            self.live_count += usize::from(!std::mem::replace(live, true));
        }
    }

    /// Which streams fulfil all the matchers.
    pub(crate) fn matching(&self, matchers: &[Matcher]) -> StreamSet {
        let fulfils = |labels: &Labels| matchers.iter().all(|m| m.matches_labels(labels));
        StreamSet(self.labels.iter().zip(&self.live).map(|(l, &live)| live && fulfils(l)).collect())
    }
}

/// Some of the streams known at one time.
pub(crate) struct StreamSet(Vec<bool>);

impl StreamSet {
    /// Takes out what `other` holds.
    pub(crate) fn remove_all(&mut self, other: &StreamSet) {
        self.0.iter_mut().zip(&other.0).for_each(|(mine, &other)| *mine &= !other);
    }

    pub(crate) fn contains(&self, id: StreamId) -> bool {
        self.0.get(id.0 as usize).copied().unwrap_or(false)
    }
}
