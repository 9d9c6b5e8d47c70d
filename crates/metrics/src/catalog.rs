//! Which label set is which series, and which series have which label.
//!
//! A label set is kept in two *halves*: where it comes from (the labels named in [`TARGET_NAMES`])
//! and what it is (all others). A fleet repeats each half many times and each pair of halves once, so
//! a half is kept once and a series is two numbers. Every name belongs to one of the halves, so a
//! matcher asks halves and never series: a selection is the series whose two halves both pass.
//!
//! A *pair* is a name and a value; it has a number and a posting, the halves that have it; a half
//! has a posting too, the series that have it. Label sets are compared by these numbers, exactly.
//!
//! Invariants: an id that was given is never given to another label set while the store is open;
//! postings ascend; a series without halves is vacant (an id that was given but never used before
//! the last restart). Pairs and halves are numbered anew at every start.

mod halves;
mod ids;
mod pairs;
mod slots;
mod starts;

pub(crate) use slots::Slots;
pub(crate) use starts::START_NAME;

use crate::batch::{Batch, Lists, Member};
use crate::bitmap::Bitmap;
use halves::Halves;
use pairs::Pairs;
use starts::Companions;
use std::sync::Arc;
use vigie_model::{Labels, Matcher};

/// A number for "the series has no such label".
pub(crate) const NO_PAIR: u32 = u32::MAX;
/// A number for "this id is vacant".
const NO_HALF: u32 = u32::MAX;
/// When more than one series in this many may be selected, all are looked at in order, which is
/// faster than sorting postings.
const SCAN_ONE_IN: usize = 16;

/// The labels that say where a series comes from: Prometheus' own, and those that its service
/// discovery, Kubernetes and Telegraf usually put on all series of a target. Sorted.
/// A name that is missing here costs memory and nothing else.
const TARGET_NAMES: [&str; 35] = [
    "arch",
    "availability_zone",
    "az",
    "cluster",
    "container",
    "container_name",
    "datacenter",
    "dc",
    "deployment",
    "endpoint",
    "env",
    "environment",
    "host",
    "hostname",
    "instance",
    "job",
    "namespace",
    "node",
    "nodename",
    "os",
    "pod",
    "pod_name",
    "prometheus",
    "prometheus_replica",
    "rack",
    "region",
    "replica",
    "service",
    "service_environment",
    "service_name",
    "service_version",
    "stage",
    "team",
    "tenant",
    "zone",
];

#[derive(Default)]
pub(crate) struct Catalog {
    pairs: Pairs,
    /// What a series is.
    own: Halves,
    /// Where it comes from.
    target: Halves,
    series: Vec<Series>,
    /// How many of them are not vacant.
    known: usize,
    by_halves: Slots,
    /// Held by everybody who goes by the numbers of halves without the lock.
    looked_at: Arc<()>,
    companions: Companions,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Series {
    pub(crate) own: u32,
    pub(crate) target: u32,
}

const VACANT: Series = Series { own: NO_HALF, target: NO_HALF };

/// What a catalogue knows of a label set, as long as nothing is added to it.
pub(crate) struct Look {
    /// Per label the number of its pair, [`NO_PAIR`] when that is new.
    pairs: Vec<u32>,
    own: Option<u32>,
    target: Option<u32>,
}

/// Which of the two halves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Own,
    Target,
}

impl Catalog {
    /// What is known of a label set.
    pub(crate) fn look(&self, labels: &Labels) -> Look {
        let mut look = Look { pairs: Vec::with_capacity(labels.len()), own: None, target: None };
        let (mut own, mut target) = (Vec::with_capacity(labels.len()), Vec::with_capacity(4));
        let (mut is_new_own, mut is_new_target) = (false, false);
        for label in labels {
            let pair = self.pairs.find(&label.name, &label.value);
            look.pairs.push(pair.unwrap_or(NO_PAIR));
            match pair {
                Some(pair) if self.pairs.is_of_target(pair) => target.push(pair),
                Some(pair) => own.push(pair),
                None if is_target_name(&label.name) => is_new_target = true,
                None => is_new_own = true,
            }
        }
        look.own = if is_new_own { None } else { self.own.find(&own) };
        look.target = if is_new_target { None } else { self.target.find(&target) };
        look
    }

    /// The id of a label set that is known.
    pub(crate) fn find(&self, look: &Look) -> Option<u32> {
        self.id_of(Series { own: look.own?, target: look.target? })
    }

    /// The id of a label set that was looked at and is not known; nothing came in between.
    pub(crate) fn add(&mut self, labels: &Labels, look: &Look) -> u32 {
        let series = self.halves_of(labels, look);
        assert!(self.id_of(series).is_none(), "a label set has one id");
        let id = self.series.len() as u32;
        self.insert(id, series);
        id
    }

    /// The id of a label set, a new one if it is not known.
    pub(crate) fn intern(&mut self, labels: &Labels) -> u32 {
        let look = self.look(labels);
        self.find(&look).unwrap_or_else(|| self.add(labels, &look))
    }

    /// Gives a label set the id that it had before a restart. `false` when one of the two is taken
    /// by another.
    pub(crate) fn define(&mut self, id: u32, labels: &Labels) -> bool {
        let look = self.look(labels);
        let series = self.halves_of(labels, &look);
        self.define_halves(id, series)
    }

    /// [`Catalog::define`] for halves that are known.
    fn define_halves(&mut self, id: u32, series: Series) -> bool {
        if let Some(found) = self.id_of(series) {
            return found == id;
        }
        if self.series.get(id as usize).is_some_and(|series| *series != VACANT) {
            return false;
        }
        self.insert(id, series);
        true
    }

    /// Gives the series of a batch the ids that they had; which of them could have theirs.
    pub(crate) fn take_in(&mut self, batch: &Batch) -> Vec<(Member, bool)> {
        let pairs = batch.pairs.iter().map(|(name, value)| self.pairs.intern(name, value));
        let pairs: Vec<u32> = pairs.collect();
        let owns = self.halves_again(Side::Own, &batch.owns, &pairs);
        let targets = self.halves_again(Side::Target, &batch.targets, &pairs);
        let members = batch.members.iter().map(|member| {
            let (own, target) = (&owns[member.own as usize], &targets[member.target as usize]);
            let is_good = match (own, target) {
                (Ok(own), Ok(target)) => {
                    self.define_halves(member.id, Series { own: *own, target: *target })
                }
                // Another version cut label sets elsewhere.
                (own, target) => {
                    let own = own.as_ref().map_or_else(|own| &own[..], |own| self.own.pairs(*own));
                    let target = match target {
                        Ok(target) => self.target.pairs(*target),
                        Err(target) => target,
                    };
                    let labels = Labels::from_pairs(own.iter().chain(target).map(|pair| {
                        (self.pairs.name(*pair).clone(), self.pairs.value(*pair).clone())
                    }));
                    self.define(member.id, &labels)
                }
            };
            (*member, is_good)
        });
        members.collect()
    }

    /// The numbers of a batch's halves, or the pairs of one that is no half here.
    fn halves_again(
        &mut self,
        side: Side,
        lists: &Lists,
        pairs: &[u32],
    ) -> Vec<Result<u32, Vec<u32>>> {
        let halves = lists.iter().map(|list| {
            let list: Vec<u32> = list.iter().map(|pair| pairs[*pair as usize]).collect();
            let is_of_target = |pair: &u32| self.pairs.is_of_target(*pair);
            match list.iter().all(|pair| is_of_target(pair) == (side == Side::Target)) {
                true => Ok(self.intern_half(side, &list)),
                false => Err(list),
            }
        });
        halves.collect()
    }

    /// The number of a half.
    fn intern_half(&mut self, side: Side, pairs: &[u32]) -> u32 {
        let halves = match side {
            Side::Own => &mut self.own,
            Side::Target => &mut self.target,
        };
        let (half, is_new) = halves.intern(pairs);
        if is_new {
            pairs.iter().for_each(|pair| self.pairs.add_half(*pair, half));
            if side == Side::Own && pairs.iter().any(|pair| self.is_start(*pair)) {
                self.companions.add_half(half);
            }
        }
        half
    }

    /// While this is held, halves keep their numbers.
    pub(crate) fn look_at(&self) -> Arc<()> {
        self.looked_at.clone()
    }

    /// Whether anybody holds what [`Catalog::look_at`] gave.
    pub(crate) fn is_looked_at(&self) -> bool {
        Arc::strong_count(&self.looked_at) > 1
    }

    /// How many ids were given.
    pub(crate) fn len(&self) -> usize {
        self.series.len()
    }

    /// How many series there are, companions included.
    pub(crate) fn known(&self) -> usize {
        self.known
    }

    /// How many series there are that somebody sent.
    pub(crate) fn sent(&self) -> usize {
        self.known - self.companions.len()
    }

    /// Whether an id stands for a label set.
    pub(crate) fn knows(&self, id: u32) -> bool {
        self.series.get(id as usize).is_some_and(|series| *series != VACANT)
    }

    /// The ids of all series.
    pub(crate) fn all_known(&self) -> Bitmap {
        let mut all = Bitmap::default();
        (0..self.series.len() as u32).filter(|id| self.knows(*id)).for_each(|id| all.insert(id));
        all
    }

    /// Takes a series of another catalogue over, under its id.
    pub(crate) fn copy_from(&mut self, other: &Catalog, id: u32) {
        if other.knows(id) {
            let is_free = self.define(id, &other.labels(id));
            assert!(is_free, "one catalogue gives an id once");
        }
    }

    /// Never gives an id that another catalogue has given.
    pub(crate) fn take_numbers_of(&mut self, other: &Catalog) {
        assert!(self.series.len() <= other.series.len(), "it is a part of the other");
        self.series.resize(other.series.len(), VACANT);
    }

    /// The two halves of a series.
    pub(crate) fn series(&self, id: u32) -> Series {
        self.series[id as usize]
    }

    /// The numbers of a series' halves; `None` when it is vacant.
    pub(crate) fn halves_of_series(&self, id: u32) -> Option<[u32; 2]> {
        let Series { own, target } = self.series(id);
        (own != NO_HALF).then_some([own, target])
    }

    /// The pairs of a half, by name.
    pub(crate) fn half(&self, side: Side, half: u32) -> &[u32] {
        self.halves(side).pairs(half)
    }

    /// Name and value of a pair.
    pub(crate) fn pair(&self, pair: u32) -> (&Arc<str>, &Arc<str>) {
        (self.pairs.name(pair), self.pairs.value(pair))
    }

    /// How many series there are of the target from which a label set comes.
    pub(crate) fn series_of_target(&self, look: &Look) -> usize {
        look.target
            .map_or(0, |half| self.target.series(half).len() - self.companions.of_target(half))
    }

    pub(crate) fn labels(&self, id: u32) -> Labels {
        let Series { own, target } = self.series(id);
        if own == NO_HALF {
            return Labels::default();
        }
        let (mut own, mut target) = (self.own.pairs(own), self.target.pairs(target));
        // Sorted already, so the builder only appends.
        Labels::from_pairs(std::iter::from_fn(|| {
            let first = match (own.first(), target.first()) {
                (Some(a), Some(b)) if self.pairs.name(*b) < self.pairs.name(*a) => &mut target,
                (None, _) => &mut target,
                _ => &mut own,
            };
            let (pair, rest) = first.split_first()?;
            *first = rest;
            Some((self.pairs.name(*pair).clone(), self.pairs.value(*pair).clone()))
        }))
    }

    /// The number of the pair with which a series carries `name`.
    pub(crate) fn pair_named(&self, id: u32, name: &str) -> u32 {
        let Series { own, target } = self.series(id);
        let pairs = match (own, is_target_name(name)) {
            (NO_HALF, _) => return NO_PAIR,
            (_, true) => self.target.pairs(target),
            (_, false) => self.own.pairs(own),
        };
        self.pairs.name_id(name).and_then(|name| self.pair_with(pairs, name)).unwrap_or(NO_PAIR)
    }

    /// The series that fulfil all matchers, ascending; no companions.
    pub(crate) fn select(&self, matchers: &[Matcher]) -> Vec<u32> {
        let mut ids = self.select_all(matchers);
        if self.companions.len() > 0 {
            ids.retain(|id| !self.is_companion(*id));
        }
        ids
    }

    /// Those and the companions that fulfil them.
    fn select_all(&self, matchers: &[Matcher]) -> Vec<u32> {
        let own = self.passing(Side::Own, matchers);
        let target = self.passing(Side::Target, matchers);
        let smaller = match (&own, &target) {
            (None, None) => None,
            (Some(own), None) => Some((own, Side::Own)),
            (None, Some(target)) => Some((target, Side::Target)),
            (Some(own), Some(target)) if target.series < own.series => Some((target, Side::Target)),
            (Some(own), Some(_)) => Some((own, Side::Own)),
        };
        let passes = |series: &Series| {
            own.as_ref().is_none_or(|own| own.set.contains(series.own))
                && target.as_ref().is_none_or(|target| target.set.contains(series.target))
        };
        match smaller {
            Some((passing, side)) if passing.series < self.series.len() / SCAN_ONE_IN => {
                let halves = self.halves(side);
                let ids = passing.halves.iter().flat_map(|half| halves.series(*half).iter());
                let mut ids: Vec<u32> = ids.filter(|id| passes(&self.series(*id))).collect();
                ids.sort_unstable();
                ids
            }
            _ => (0..)
                .zip(&self.series)
                .filter(|(_, series)| **series != VACANT && passes(series))
                .map(|(id, _)| id)
                .collect(),
        }
    }

    /// All label names, sorted, each with the pairs of its values.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&Arc<str>, impl Iterator<Item = u32>)> {
        let names = self.pairs.names().into_iter();
        names.map(|(text, name)| (text, in_order(self.pairs.sorted(name))))
    }

    /// The values of a name, sorted, with their pairs.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = (&Arc<str>, u32)> {
        let sorted = self.pairs.name_id(name).map(|name| self.pairs.sorted(name));
        in_order(sorted.unwrap_or_default()).map(|pair| (self.pairs.value(pair), pair))
    }

    /// The pairs that any of the series has.
    pub(crate) fn pairs_among(&self, ids: &[u32]) -> Bitmap {
        let (mut own, mut target) = (Bitmap::default(), Bitmap::default());
        for series in ids.iter().map(|id| self.series(*id)).filter(|series| *series != VACANT) {
            own.insert(series.own);
            target.insert(series.target);
        }
        let mut pairs = Bitmap::default();
        for (halves, seen) in [(&self.own, own), (&self.target, target)] {
            let seen = (0..halves.len() as u32).filter(|half| seen.contains(*half));
            seen.flat_map(|half| halves.pairs(half)).for_each(|pair| pairs.insert(*pair));
        }
        pairs
    }

    /// The halves that pass all matchers of their side; `None` when it has no matcher.
    fn passing(&self, side: Side, matchers: &[Matcher]) -> Option<Passing> {
        let halves = self.halves(side);
        let is_target = side == Side::Target;
        let mut tests: Vec<Test> = matchers
            .iter()
            .filter(|matcher| is_target_name(&matcher.name) == is_target)
            .map(|matcher| Test::new(self, matcher))
            .collect();
        if tests.is_empty() {
            return None;
        }
        let smallest = (0..tests.len())
            .filter(|at| !tests[*at].absent_matches)
            .min_by_key(|at| tests[*at].half_count(self));
        let mut passing: Vec<u32> = match smallest {
            Some(at) => tests.swap_remove(at).halves(self, side),
            None => (0..halves.len() as u32).collect(),
        };
        passing.retain(|half| tests.iter().all(|test| test.accepts(self, halves.pairs(*half))));
        let mut set = Bitmap::default();
        passing.iter().for_each(|half| set.insert(*half));
        let series = passing.iter().map(|half| halves.series(*half).len()).sum();
        Some(Passing { halves: passing, set, series })
    }

    fn halves(&self, side: Side) -> &Halves {
        match side {
            Side::Own => &self.own,
            Side::Target => &self.target,
        }
    }

    fn pair_with(&self, pairs: &[u32], name: u32) -> Option<u32> {
        pairs.iter().copied().find(|pair| self.pairs.name_of(*pair) == name)
    }

    fn halves_of(&mut self, labels: &Labels, look: &Look) -> Series {
        assert!(!labels.is_empty(), "refused at the door");
        if let (Some(own), Some(target)) = (look.own, look.target) {
            return Series { own, target };
        }
        let (mut own, mut target) = (Vec::with_capacity(labels.len()), Vec::with_capacity(4));
        for (label, known) in labels.iter().zip(&look.pairs) {
            let pair = match *known {
                NO_PAIR => self.pairs.intern(&label.name, &label.value),
                known => known,
            };
            if self.pairs.is_of_target(pair) { &mut target } else { &mut own }.push(pair);
        }
        Series {
            own: look.own.unwrap_or_else(|| self.intern_half(Side::Own, &own)),
            target: look.target.unwrap_or_else(|| self.intern_half(Side::Target, &target)),
        }
    }

    fn id_of(&self, series: Series) -> Option<u32> {
        self.by_halves.find(hash(series), |id| self.series[id as usize] == series)
    }

    fn insert(&mut self, id: u32, series: Series) {
        if self.series.len() <= id as usize {
            self.series.resize(id as usize + 1, VACANT);
        }
        self.series[id as usize] = series;
        self.known += 1;
        self.companions.add_series(series);
        self.own.add_series(series.own, id);
        self.target.add_series(series.target, id);
        let all = &self.series;
        self.by_halves.insert(hash(series), id, |other| hash(all[other as usize]));
    }
}

/// Whether a label says where a series comes from.
fn is_target_name(name: &str) -> bool {
    TARGET_NAMES.binary_search(&name).is_ok()
}

/// Of numbers that nobody outside chooses.
fn hash(series: Series) -> u64 {
    let word = u64::from(series.own) << 32 | u64::from(series.target);
    let wide = u128::from(word ^ 0x2d35_8dcc_aa6c_78a5) * 0x9e37_79b9_7f4a_7c15;
    (wide ^ wide >> 64) as u64
}

fn in_order(list: Arc<Vec<u32>>) -> impl Iterator<Item = u32> {
    (0..list.len()).map(move |at| list[at])
}

/// The halves of one side that pass.
struct Passing {
    halves: Vec<u32>,
    set: Bitmap,
    /// How many series have them.
    series: usize,
}

/// A matcher, asked once per distinct value.
struct Test {
    name: Option<u32>,
    pairs: Arc<[u32]>,
    set: Bitmap,
    absent_matches: bool,
}

impl Test {
    fn new(catalog: &Catalog, matcher: &Matcher) -> Test {
        let pairs = catalog.pairs.matched(matcher);
        let mut set = Bitmap::default();
        pairs.iter().for_each(|pair| set.insert(*pair));
        Test {
            name: catalog.pairs.name_id(&matcher.name),
            pairs,
            set,
            absent_matches: matcher.matches_empty(),
        }
    }

    fn half_count(&self, catalog: &Catalog) -> usize {
        self.pairs.iter().map(|pair| catalog.pairs.halves(*pair).len()).sum()
    }

    /// The halves that have one of the pairs, ascending: a half has one value per name, so the
    /// postings do not overlap. A pair belongs to halves of one side only.
    fn halves(&self, catalog: &Catalog, side: Side) -> Vec<u32> {
        let is_target = side == Side::Target;
        debug_assert!(self.pairs.iter().all(|pair| catalog.pairs.is_of_target(*pair) == is_target));
        let postings = self.pairs.iter().map(|pair| catalog.pairs.halves(*pair).iter());
        let mut halves: Vec<u32> = postings.flatten().collect();
        halves.sort_unstable();
        halves
    }

    fn accepts(&self, catalog: &Catalog, pairs: &[u32]) -> bool {
        match self.name.and_then(|name| catalog.pair_with(pairs, name)) {
            Some(pair) => self.set.contains(pair),
            None => self.absent_matches,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vigie_model::MatchOp;

    #[test]
    fn companions_are_selected_by_those_who_ask_for_them_only() {
        let mut catalog = catalog();
        let base = Labels::from_pairs([("__name__", "up"), ("job", "node")]);
        let id = catalog.find(&catalog.look(&base)).unwrap();
        let companion = catalog.intern_companion(id);
        assert_eq!(catalog.intern_companion(id), companion, "one each");
        assert!(catalog.is_companion(companion) && !catalog.is_companion(id));
        assert_eq!(catalog.base_of(companion), Some(id));
        assert_eq!((catalog.known(), catalog.sent()), (6, 5));
        assert_eq!(catalog.series_of_target(&catalog.look(&base)), 3, "up and two of cpu");
        assert!(!catalog.select(&[]).contains(&companion));
        assert_eq!(catalog.select_companions(&[]), [companion]);
        assert_eq!(catalog.select_companions(&[Matcher::equal("__name__", "cpu")]), [] as [u32; 0]);
        assert_eq!(catalog.select(&[Matcher::equal(START_NAME, "1")]), [] as [u32; 0]);
        let mut copy = Catalog::default();
        (0..catalog.len() as u32).for_each(|id| copy.copy_from(&catalog, id));
        assert_eq!((copy.sent(), copy.base_of(companion)), (5, Some(id)), "a copy knows it too");
    }

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

    #[test]
    fn the_names_of_targets_are_sorted() {
        assert!(TARGET_NAMES.is_sorted());
        assert!(is_target_name("instance") && !is_target_name("__name__"));
    }
}
