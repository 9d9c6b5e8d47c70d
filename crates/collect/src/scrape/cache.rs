//! What a target's last scrapes looked like: from the raw bytes of a series to its id.
//!
//! A target repeats its series in the same order, so an entry remembers which entry followed it, and
//! a steady scrape compares each line with the one predicted: no hashing, no labels, no allocation.
//! Entries live in one vector and are found by hash only when a prediction fails.

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher;
use vigie_model::SeriesId;

/// Dead entries tolerated before the cache is rebuilt, beside half the living ones.
const DEAD_MAX: usize = 256;

/// A number for each scrape of a target, ascending. Zero is before the first.
pub(super) type Generation = u32;

/// One line that a target has shown.
struct Entry {
    key: Box<[u8]>,
    /// `None` for a series that metric relabelling drops.
    id: Option<SeriesId>,
    /// The scrape that showed it last.
    seen: Generation,
    /// The scrape that showed it before that.
    before: Generation,
    /// The entry that followed it last time.
    next: u32,
    /// It carries its own timestamps, so its end is not ours to mark.
    own_ts: bool,
}

/// What the cache knows about a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// The entry's place.
    pub index: u32,
    /// Its id, unless relabelling drops it.
    pub id: Option<SeriesId>,
    /// It has been shown in this scrape already.
    pub twice: bool,
    /// It was not in the last scrape.
    pub added: bool,
}

/// The cache of one target.
pub(super) struct Cache {
    entries: Vec<Entry>,
    index: HashTable<u32>,
    hasher: FixedState,
    first: u32,
    last: Option<u32>,
    generation: Generation,
    /// Ids that were live when the mapping was forgotten, to be marked stale if they do not return.
    orphans: Vec<SeriesId>,
    /// Whether every line so far stood where the last scrape had it.
    steady: bool,
    live: usize,
    live_before: usize,
}

impl Cache {
    pub(super) fn new() -> Cache {
        Cache {
            entries: Vec::new(),
            index: HashTable::new(),
            hasher: FixedState::with_seed(0x0076_6967_6965),
            first: 0,
            last: None,
            generation: 1,
            orphans: Vec::new(),
            steady: true,
            live: 0,
            live_before: 0,
        }
    }

    /// Starts a scrape.
    pub(super) fn begin(&mut self) {
        self.generation += 1;
        self.last = None;
        self.steady = true;
        self.live_before = std::mem::take(&mut self.live);
    }

    /// The entry of `key`, marked as shown. `None` for a line never seen.
    #[inline]
    pub(super) fn find(&mut self, key: &[u8], own_ts: bool) -> Option<Known> {
        let predicted = self.last.map_or(self.first, |last| self.entries[last as usize].next);
        let hit = self.entries.get(predicted as usize).is_some_and(|entry| *entry.key == *key);
        let index = if hit {
            predicted
        } else {
            self.steady = false;
            let hash = self.hasher.hash_one(key);
            *self.index.find(hash, |at| *self.entries[*at as usize].key == *key)?
        };
        Some(self.touch(index, own_ts))
    }

    /// The id of a line, without taking it for shown.
    pub(super) fn id_of(&self, key: &[u8]) -> Option<SeriesId> {
        let hash = self.hasher.hash_one(key);
        let at = self.index.find(hash, |at| *self.entries[*at as usize].key == *key)?;
        self.entries[*at as usize].id
    }

    /// Remembers a new line.
    pub(super) fn insert(&mut self, key: &[u8], id: Option<SeriesId>, own_ts: bool) -> Known {
        let index = u32::try_from(self.entries.len()).expect("fewer than 2^32 lines in a body");
        let entry = Entry { key: key.into(), id, seen: 0, before: 0, next: index + 1, own_ts };
        self.entries.push(entry);
        let (entries, hasher) = (&self.entries, &self.hasher);
        self.index.insert_unique(hasher.hash_one(key), index, |at| {
            hasher.hash_one(&*entries[*at as usize].key)
        });
        self.steady = false;
        self.touch(index, own_ts)
    }

    fn touch(&mut self, index: u32, own_ts: bool) -> Known {
        match self.last {
            Some(last) => self.entries[last as usize].next = index,
            None => self.first = index,
        }
        self.last = Some(index);
        let generation = self.generation;
        let entry = &mut self.entries[index as usize];
        let twice = entry.seen == generation;
        let added = !twice && entry.seen != generation - 1;
        if !twice {
            entry.before = entry.seen;
            entry.seen = generation;
            self.live += 1;
        }
        entry.own_ts = own_ts;
        Known { index, id: entry.id, twice, added }
    }

    /// Whether this scrape showed exactly the lines of the last one, in order.
    pub(super) fn is_steady(&self) -> bool {
        self.steady && self.live == self.live_before && self.orphans.is_empty()
    }

    /// Ends a scrape that succeeded: the ids that the last one had and this one has not.
    pub(super) fn vanished(&mut self) -> Vec<SeriesId> {
        let mut gone = std::mem::take(&mut self.orphans);
        if !self.steady || self.live != self.live_before {
            let generation = self.generation;
            let was_live = self.entries.iter().filter(|e| e.seen == generation - 1 && !e.own_ts);
            gone.extend(was_live.filter_map(|entry| entry.id));
        }
        self.sweep();
        gone
    }

    /// Ends a scrape that failed: everything that was live ends with it.
    pub(super) fn failed(&mut self) -> Vec<SeriesId> {
        let generation = self.generation;
        let mut gone = std::mem::take(&mut self.orphans);
        for entry in &mut self.entries {
            if entry.seen == generation {
                entry.seen = entry.before;
            }
            if entry.seen == generation - 1 && !entry.own_ts {
                gone.extend(entry.id);
            }
        }
        // One number further, so that nothing counts as live before the next success.
        self.generation += 1;
        self.live = 0;
        gone
    }

    /// Takes back what [`Cache::vanished`] or [`Cache::failed`] handed out: its end could not be
    /// written. The next scrape hands out again what has not returned by then.
    pub(super) fn owe(&mut self, gone: Vec<SeriesId>) {
        self.orphans.extend(gone);
    }

    /// What is live now, for the markers of a target that is removed.
    pub(super) fn live_ids(&self) -> Vec<SeriesId> {
        let live = self.entries.iter().filter(|e| e.seen == self.generation && !e.own_ts);
        live.filter_map(|entry| entry.id).chain(self.orphans.iter().copied()).collect()
    }

    /// Forgets which line is which series (the relabelling changed), but not what is live.
    pub(super) fn forget_mapping(&mut self) {
        let orphans = self.live_ids();
        let generation = self.generation;
        *self = Cache { orphans, generation, ..Cache::new() };
    }

    /// Drops entries that are not shown any more, once they are many.
    fn sweep(&mut self) {
        let dead = self.entries.len() - self.live;
        if dead <= DEAD_MAX + self.live / 2 {
            return;
        }
        let generation = self.generation;
        let mut kept: Vec<Entry> = std::mem::take(&mut self.entries);
        kept.retain(|entry| entry.seen == generation);
        // The order of insertion is the best guess that is left; the next scrape corrects it.
        for (entry, next) in kept.iter_mut().zip(1..) {
            entry.next = next;
        }
        self.first = 0;
        self.last = None;
        let hasher = &self.hasher;
        self.index.clear();
        for (entry, at) in kept.iter().zip(0u32..) {
            self.index.insert_unique(hasher.hash_one(&*entry.key), at, |at| {
                hasher.hash_one(&*kept[*at as usize].key)
            });
        }
        self.entries = kept;
        assert_eq!(self.entries.len(), self.index.len(), "each entry is found by its hash");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrape(cache: &mut Cache, lines: &str) -> (Vec<u32>, bool) {
        cache.begin();
        for line in lines.split_whitespace() {
            if cache.find(line.as_bytes(), false).is_none() {
                let number = u32::from(line.as_bytes()[0]);
                cache.insert(line.as_bytes(), Some(SeriesId(number)), false);
            }
        }
        let steady = cache.is_steady();
        let mut gone: Vec<u32> = cache.vanished().iter().map(|id| id.0 - u32::from(b'a')).collect();
        gone.sort_unstable();
        (gone, steady)
    }

    #[test]
    fn what_vanishes_is_told_once_and_order_does_not_matter() {
        let mut cache = Cache::new();
        for (lines, gone, steady) in [
            ("a b c", vec![], false),
            ("a b c", vec![], true),
            ("a c", vec![1], false),
            ("a c", vec![], true),
            ("c a", vec![], false),
            ("c a", vec![], true),
            ("b c a", vec![], false),
            ("c", vec![0, 1], false),
            ("c", vec![], true),
        ] {
            assert_eq!(scrape(&mut cache, lines), (gone, steady), "{lines}");
        }
    }

    #[test]
    fn a_failure_ends_what_was_live_and_half_a_body_does_not_count() {
        let mut cache = Cache::new();
        scrape(&mut cache, "a b");
        cache.begin();
        cache.find(b"a", false).unwrap();
        cache.insert(b"z", Some(SeriesId(9)), false);
        assert_eq!(cache.failed().len(), 2);
        cache.begin();
        assert!(cache.failed().is_empty());
        cache.begin();
        assert!(cache.find(b"a", false).unwrap().added);
        assert!(cache.vanished().is_empty());
    }

    #[test]
    fn a_changed_mapping_marks_only_what_does_not_return_and_dead_entries_are_swept() {
        let mut cache = Cache::new();
        scrape(&mut cache, "a b");
        cache.forget_mapping();
        cache.begin();
        cache.insert(b"a", Some(SeriesId(u32::from(b'a'))), false);
        assert_eq!(cache.vanished().len(), 2);
        for round in 0..2000 {
            cache.begin();
            let key = format!("series{round}");
            cache.insert(key.as_bytes(), Some(SeriesId(round)), false);
            cache.vanished();
        }
        assert!(cache.entries.len() < 1000, "{}", cache.entries.len());
    }
}
