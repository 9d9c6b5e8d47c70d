//! Which label set is which series, and which series have which label.
//!
//! A series is a list of *pair* numbers (a name and a value) in one flat array: four bytes a label.
//! Each pair keeps its *posting*, the ascending ids of the series that have it; names and values
//! stand in sorted maps, so that listings come out sorted and a regular expression runs once per
//! distinct value and never per series.
//!
//! Invariants: an id that was given is never given to another label set while the store is open;
//! postings ascend; an entry without labels is vacant (an id that was given but never used before
//! the last restart).

use hashbrown::{HashSet, HashTable};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;
use vigie_model::{Labels, MatchOp, Matcher};

/// A number for "the series has no such label".
pub(crate) const NO_PAIR: u32 = u32::MAX;

#[derive(Default)]
pub(crate) struct Catalog {
    pairs: Vec<Pair>,
    names: BTreeMap<Arc<str>, Name>,
    entries: Vec<Entry>,
    arena: Vec<u32>,
    by_labels: HashTable<u32>,
    hasher: foldhash::fast::RandomState,
}

struct Pair {
    name_id: u32,
    name: Arc<str>,
    value: Arc<str>,
    series: Vec<u32>,
}

struct Name {
    id: u32,
    values: BTreeMap<Arc<str>, u32>,
}

#[derive(Clone, Copy)]
struct Entry {
    start: u32,
    len: u32,
}

impl Catalog {
    /// The id of a label set that is known.
    pub(crate) fn find(&self, labels: &Labels) -> Option<u32> {
        self.by_labels.find(self.hash(labels), |id| self.is(*id, labels)).copied()
    }

    /// The id of a label set, a new one if it is not known.
    pub(crate) fn intern(&mut self, labels: &Labels) -> u32 {
        if let Some(id) = self.find(labels) {
            return id;
        }
        let id = self.entries.len() as u32;
        self.insert(id, labels);
        id
    }

    /// Gives a label set the id that it had before a restart. `false` when one of the two is taken
    /// by another.
    pub(crate) fn define(&mut self, id: u32, labels: &Labels) -> bool {
        if let Some(found) = self.find(labels) {
            return found == id;
        }
        if self.entries.get(id as usize).is_some_and(|entry| entry.len > 0) {
            return false;
        }
        self.insert(id, labels);
        true
    }

    /// How many ids were given.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn labels(&self, id: u32) -> Labels {
        // Sorted already, so the builder only appends.
        Labels::from_pairs(self.pairs_of(id).iter().map(|pair| {
            let pair = &self.pairs[*pair as usize];
            (pair.name.clone(), pair.value.clone())
        }))
    }

    /// The number of the pair with which a series carries `name`.
    pub(crate) fn pair_named(&self, id: u32, name: &str) -> u32 {
        self.names.get(name).map_or(NO_PAIR, |name| self.pair_with(id, name.id))
    }

    /// The series that fulfil all matchers, ascending.
    pub(crate) fn select(&self, matchers: &[Matcher]) -> Vec<u32> {
        let mut tests: Vec<Test> = matchers.iter().map(|m| Test::new(self, m)).collect();
        let smallest = (0..tests.len())
            .filter(|at| !tests[*at].absent_matches)
            .min_by_key(|at| tests[*at].series_count(self));
        let candidates = match smallest {
            Some(at) => tests.swap_remove(at).series(self),
            None => (0..self.len() as u32).filter(|id| !self.pairs_of(*id).is_empty()).collect(),
        };
        let mut selected = candidates;
        selected.retain(|id| tests.iter().all(|test| test.accepts(self, *id)));
        selected
    }

    /// All label names, sorted, each with the pairs of its values.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&Arc<str>, impl Iterator<Item = u32>)> {
        self.names.iter().map(|(name, entry)| (name, entry.values.values().copied()))
    }

    /// The values of a name, sorted, with their pairs.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = (&Arc<str>, u32)> {
        self.names.get(name).into_iter().flat_map(|name| &name.values).map(|(v, pair)| (v, *pair))
    }

    /// The series that have a pair, ascending.
    pub(crate) fn posting(&self, pair: u32) -> &[u32] {
        &self.pairs[pair as usize].series
    }

    /// The labels of a series as pair numbers, in the order of their names.
    pub(crate) fn pairs_of(&self, id: u32) -> &[u32] {
        let Entry { start, len } = self.entries[id as usize];
        &self.arena[start as usize..(start + len) as usize]
    }

    fn pair_with(&self, id: u32, name_id: u32) -> u32 {
        let pairs = self.pairs_of(id).iter().copied();
        pairs.into_iter().find(|p| self.pairs[*p as usize].name_id == name_id).unwrap_or(NO_PAIR)
    }

    fn insert(&mut self, id: u32, labels: &Labels) {
        assert!(!labels.is_empty(), "refused at the door");
        let start = self.arena.len() as u32;
        for label in labels {
            let pair = self.pair(&label.name, &label.value);
            self.arena.push(pair);
            let series = &mut self.pairs[pair as usize].series;
            match series.last() {
                Some(last) if *last > id => {
                    let at = series.partition_point(|other| *other < id);
                    series.insert(at, id);
                }
                _ => series.push(id),
            }
        }
        if self.entries.len() <= id as usize {
            self.entries.resize(id as usize + 1, Entry { start: 0, len: 0 });
        }
        self.entries[id as usize] = Entry { start, len: labels.len() as u32 };
        let hash = self.hash(labels);
        let Catalog { by_labels, pairs, entries, arena, hasher, .. } = self;
        by_labels.insert_unique(hash, id, |other| {
            let Entry { start, len } = entries[*other as usize];
            let mut state = hasher.build_hasher();
            for pair in &arena[start as usize..(start + len) as usize] {
                let pair = &pairs[*pair as usize];
                (&*pair.name, &*pair.value).hash(&mut state);
            }
            state.finish()
        });
    }

    fn pair(&mut self, name: &Arc<str>, value: &Arc<str>) -> u32 {
        let next_id = self.names.len() as u32;
        if !self.names.contains_key(name) {
            self.names.insert(name.clone(), Name { id: next_id, values: BTreeMap::new() });
        }
        let entry = self.names.get_mut(name).expect("inserted above");
        if let Some(pair) = entry.values.get(value) {
            return *pair;
        }
        let pair = self.pairs.len() as u32;
        entry.values.insert(value.clone(), pair);
        let (name_id, name) = (entry.id, name.clone());
        self.pairs.push(Pair { name_id, name, value: value.clone(), series: Vec::new() });
        pair
    }

    fn hash(&self, labels: &Labels) -> u64 {
        let mut state = self.hasher.build_hasher();
        for label in labels {
            (&*label.name, &*label.value).hash(&mut state);
        }
        state.finish()
    }

    fn is(&self, id: u32, labels: &Labels) -> bool {
        let pairs = self.pairs_of(id);
        pairs.len() == labels.len()
            && pairs.iter().zip(labels).all(|(pair, label)| {
                let pair = &self.pairs[*pair as usize];
                pair.value == label.value && pair.name == label.name
            })
    }
}

/// A matcher, asked once per distinct value.
struct Test {
    name_id: Option<u32>,
    pairs: Vec<u32>,
    set: HashSet<u32, foldhash::fast::RandomState>,
    absent_matches: bool,
}

impl Test {
    fn new(catalog: &Catalog, matcher: &Matcher) -> Test {
        let name = catalog.names.get(matcher.name.as_str());
        let pairs: Vec<u32> = match (name, matcher.op) {
            (None, _) => Vec::new(),
            (Some(name), MatchOp::Equal) => {
                name.values.get(matcher.value.as_str()).copied().into_iter().collect()
            }
            (Some(name), _) => name
                .values
                .iter()
                .filter(|(value, _)| matcher.matches(value))
                .map(|(_, pair)| *pair)
                .collect(),
        };
        Test {
            name_id: name.map(|name| name.id),
            set: pairs.iter().copied().collect(),
            pairs,
            absent_matches: matcher.matches_empty(),
        }
    }

    fn series_count(&self, catalog: &Catalog) -> usize {
        self.pairs.iter().map(|pair| catalog.posting(*pair).len()).sum()
    }

    fn series(&self, catalog: &Catalog) -> Vec<u32> {
        let mut series = Vec::with_capacity(self.series_count(catalog));
        for pair in &self.pairs {
            series.extend_from_slice(catalog.posting(*pair));
        }
        // A series has one value per name, so the postings do not overlap.
        series.sort_unstable();
        series
    }

    fn accepts(&self, catalog: &Catalog, id: u32) -> bool {
        let pair = self.name_id.map_or(NO_PAIR, |name_id| catalog.pair_with(id, name_id));
        if pair == NO_PAIR { self.absent_matches } else { self.set.contains(&pair) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog() -> Catalog {
        let mut catalog = Catalog::default();
        for (name, job, mode) in [
            ("up", "node", ""),
            ("up", "api", ""),
            ("cpu", "node", "idle"),
            ("cpu", "node", "user"),
            ("cpu", "api", "idle"),
        ] {
            let labels = Labels::from_pairs([("__name__", name), ("job", job), ("mode", mode)]);
            let id = catalog.intern(&labels);
            assert_eq!(catalog.intern(&labels), id);
            assert_eq!(catalog.labels(id), labels);
        }
        catalog
    }

    #[test]
    fn matchers_select_as_a_scan_of_all_labels_would() {
        let catalog = catalog();
        for matchers in [
            vec![],
            vec![("job", MatchOp::Equal, "node")],
            vec![("job", MatchOp::Equal, "nobody")],
            vec![("mode", MatchOp::Equal, "")],
            vec![("mode", MatchOp::NotEqual, "")],
            vec![("mode", MatchOp::NotEqual, "idle")],
            vec![("mode", MatchOp::Regex, "idle|")],
            vec![("mode", MatchOp::NotRegex, "u.*")],
            vec![("zone", MatchOp::NotEqual, "x"), ("job", MatchOp::Regex, "n.*|api")],
            vec![("zone", MatchOp::Equal, "x")],
            vec![("__name__", MatchOp::Equal, "cpu"), ("job", MatchOp::NotEqual, "api")],
            vec![("__name__", MatchOp::Regex, ".+"), ("mode", MatchOp::Regex, ".+")],
        ] {
            let matchers: Vec<Matcher> =
                matchers.into_iter().map(|(n, op, v)| Matcher::new(n, op, v).unwrap()).collect();
            let scan: Vec<u32> = (0..catalog.len() as u32)
                .filter(|id| matchers.iter().all(|m| m.matches_labels(&catalog.labels(*id))))
                .collect();
            assert_eq!(catalog.select(&matchers), scan, "{matchers:?}");
        }
    }

    #[test]
    fn ids_come_back_after_a_restart_in_any_order_and_with_gaps() {
        let mut catalog = Catalog::default();
        let labels = |n: &str| Labels::from_pairs([("__name__", "m"), ("n", n)]);
        assert!(catalog.define(7, &labels("7")));
        assert!(catalog.define(3, &labels("3")));
        assert!(catalog.define(7, &labels("7")), "again is fine");
        assert!(!catalog.define(8, &labels("7")), "one label set, one id");
        assert!(!catalog.define(7, &labels("x")), "one id, one label set");
        assert_eq!(catalog.select(&[Matcher::equal("__name__", "m")]), [3, 7]);
        assert_eq!(catalog.select(&[]), [3, 7]);
        assert_eq!(catalog.intern(&labels("new")), 8);
    }
}
