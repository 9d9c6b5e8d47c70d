//! Names, values, and which pairs of the two a matcher means.
//!
//! A *pair* is a name and a value; it has a number, and a posting: the halves that have it. The
//! values of a name stand in a sorted list that is brought up to date when somebody looks for more
//! than one value; new values cost nothing until then. What a regular expression or a negation
//! found is remembered as long as its name gets no new value.

use super::ids::Ids;
use super::slots::Slots;
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;
use vigie_model::{MatchOp, Matcher};

/// Answers of matchers that are remembered.
const REMEMBERED_MAX: usize = 128;
/// A longer answer is not remembered.
const REMEMBERED_PAIRS_MAX: usize = 16 * 1024;

type Fast = foldhash::fast::RandomState;
/// A matcher and how many values its name had; what it matched.
type Remembered = HashMap<(String, MatchOp, String), (usize, Arc<[u32]>), Fast>;

#[derive(Default)]
pub(super) struct Pairs {
    list: Vec<Pair>,
    names: Vec<Name>,
    by_name: HashMap<Arc<str>, u32, Fast>,
    by_text: Slots,
    hasher: Fast,
    remembered: Mutex<Remembered>,
}

struct Pair {
    name: u32,
    value: Arc<str>,
    halves: Ids,
}

struct Name {
    text: Arc<str>,
    is_of_target: bool,
    count: usize,
    dictionary: Mutex<Dictionary>,
}

/// The pairs of a name.
#[derive(Default)]
struct Dictionary {
    /// By value.
    sorted: Arc<Vec<u32>>,
    /// Not in `sorted` yet.
    fresh: Vec<u32>,
}

impl Pairs {
    pub(super) fn name_id(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    pub(super) fn name(&self, pair: u32) -> &Arc<str> {
        &self.names[self.list[pair as usize].name as usize].text
    }

    /// Whether the pair says where a series comes from.
    pub(super) fn is_of_target(&self, pair: u32) -> bool {
        self.names[self.name_of(pair) as usize].is_of_target
    }

    pub(super) fn name_of(&self, pair: u32) -> u32 {
        self.list[pair as usize].name
    }

    pub(super) fn value(&self, pair: u32) -> &Arc<str> {
        &self.list[pair as usize].value
    }

    pub(super) fn halves(&self, pair: u32) -> &Ids {
        &self.list[pair as usize].halves
    }

    pub(super) fn add_half(&mut self, pair: u32, half: u32) {
        self.list[pair as usize].halves.insert(half);
    }

    pub(super) fn find(&self, name: &str, value: &str) -> Option<u32> {
        let name = self.name_id(name)?;
        self.by_text.find(hash(&self.hasher, name, value), |pair| {
            let pair = &self.list[pair as usize];
            pair.name == name && *pair.value == *value
        })
    }

    /// The number of a pair, a new one if it is not known.
    pub(super) fn intern(&mut self, name: &Arc<str>, value: &Arc<str>) -> u32 {
        if let Some(pair) = self.find(name, value) {
            return pair;
        }
        let name = self.by_name.get(name).copied().unwrap_or_else(|| {
            let id = self.names.len() as u32;
            let dictionary = Mutex::default();
            let is_of_target = super::is_target_name(name);
            self.names.push(Name { text: name.clone(), is_of_target, count: 0, dictionary });
            self.by_name.insert(name.clone(), id);
            id
        });
        let pair = self.list.len() as u32;
        self.list.push(Pair { name, value: value.clone(), halves: Ids::default() });
        let entry = &mut self.names[name as usize];
        entry.count += 1;
        entry.dictionary.get_mut().fresh.push(pair);
        let Pairs { list, by_text, hasher, .. } = self;
        by_text.insert(hash(hasher, name, value), pair, |other| {
            let other = &list[other as usize];
            hash(hasher, other.name, &other.value)
        });
        pair
    }

    /// All names, sorted.
    pub(super) fn names(&self) -> Vec<(&Arc<str>, u32)> {
        let mut names: Vec<_> = (0..).zip(&self.names).map(|(id, n)| (&n.text, id)).collect();
        names.sort_unstable();
        names
    }

    /// The pairs of a name, by value.
    pub(super) fn sorted(&self, name: u32) -> Arc<Vec<u32>> {
        let mut dictionary = self.names[name as usize].dictionary.lock();
        if !dictionary.fresh.is_empty() {
            let mut fresh = std::mem::take(&mut dictionary.fresh);
            fresh.sort_unstable_by_key(|pair| self.value(*pair));
            dictionary.sorted = Arc::new(self.merge(&dictionary.sorted, &fresh));
        }
        dictionary.sorted.clone()
    }

    /// Two lists by value, of which the second is usually short.
    fn merge(&self, long: &[u32], short: &[u32]) -> Vec<u32> {
        let mut merged = Vec::with_capacity(long.len() + short.len());
        let mut rest = long;
        for pair in short {
            let value = self.value(*pair);
            let (before, after) =
                rest.split_at(rest.partition_point(|other| self.value(*other) < value));
            merged.extend_from_slice(before);
            merged.push(*pair);
            rest = after;
        }
        merged.extend_from_slice(rest);
        merged
    }

    /// The pairs whose values fulfil a matcher.
    pub(super) fn matched(&self, matcher: &Matcher) -> Arc<[u32]> {
        let Some(name) = self.name_id(&matcher.name) else { return Arc::default() };
        if matcher.op == MatchOp::Equal {
            return self.find(&matcher.name, &matcher.value).into_iter().collect();
        }
        let count = self.names[name as usize].count;
        let question = (matcher.name.clone(), matcher.op, matcher.value.clone());
        if let Some((of, pairs)) = self.remembered.lock().get(&question)
            && *of == count
        {
            return pairs.clone();
        }
        let pairs = self.search(name, matcher);
        if pairs.len() <= REMEMBERED_PAIRS_MAX {
            let mut remembered = self.remembered.lock();
            if remembered.len() >= REMEMBERED_MAX {
                remembered.clear();
            }
            remembered.insert(question, (count, pairs.clone()));
        }
        pairs
    }

    fn search(&self, name: u32, matcher: &Matcher) -> Arc<[u32]> {
        let pattern = match matcher.op {
            MatchOp::Regex => Pattern::of(&matcher.value),
            _ => Pattern::Any,
        };
        let sorted = self.sorted(name);
        let candidates = match pattern {
            Pattern::Values(values) => {
                let found = values.into_iter().filter_map(|value| self.find(&matcher.name, value));
                let mut pairs: Vec<u32> = found.collect();
                pairs.sort_unstable();
                pairs.dedup();
                return pairs.into();
            }
            Pattern::Prefix(prefix) => {
                let start = sorted.partition_point(|pair| **self.value(*pair) < *prefix);
                let after = &sorted[start..];
                &after[..after.partition_point(|pair| self.value(*pair).starts_with(prefix))]
            }
            Pattern::Any => &sorted[..],
        };
        candidates.iter().copied().filter(|pair| matcher.matches(self.value(*pair))).collect()
    }
}

fn hash(hasher: &Fast, name: u32, value: &str) -> u64 {
    let mut state = hasher.build_hasher();
    (name, value).hash(&mut state);
    state.finish()
}

/// What a regular expression gives away without being run.
#[derive(Debug, PartialEq)]
enum Pattern<'a> {
    /// It matches these and nothing else.
    Values(Vec<&'a str>),
    /// What it matches starts so.
    Prefix(&'a str),
    Any,
}

impl Pattern<'_> {
    fn of(pattern: &str) -> Pattern<'_> {
        const MARKS: &str = r"\.+*?()[]{}^$|";
        let Some(mark) = pattern.find(|c| MARKS.contains(c)) else {
            return Pattern::Values(vec![pattern]);
        };
        if !pattern.contains(|c| c != '|' && MARKS.contains(c)) {
            return Pattern::Values(pattern.split('|').collect());
        }
        if pattern.contains('|') {
            return Pattern::Any;
        }
        let mut prefix = &pattern[..mark];
        if pattern[mark..].starts_with(['*', '?', '{']) {
            // The character before it may be missing.
            let last = prefix.char_indices().next_back().map_or(0, |(at, _)| at);
            prefix = &prefix[..last];
        }
        if prefix.is_empty() { Pattern::Any } else { Pattern::Prefix(prefix) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_gives_away_values_or_a_prefix_or_nothing() {
        for (pattern, wanted) in [
            ("", Pattern::Values(vec![""])),
            ("a|b||é", Pattern::Values(vec!["a", "b", "", "é"])),
            ("node_.*", Pattern::Prefix("node_")),
            ("node_cpué*x", Pattern::Prefix("node_cpu")),
            ("ab+", Pattern::Prefix("ab")),
            ("a{2}", Pattern::Any),
            ("ab|c.*", Pattern::Any),
            ("(?i)up", Pattern::Any),
            (r"\d", Pattern::Any),
        ] {
            assert_eq!(Pattern::of(pattern), wanted, "{pattern}");
        }
    }

    #[test]
    fn matchers_find_the_values_that_a_scan_finds_and_new_ones_too() {
        let mut pairs = Pairs::default();
        let name: Arc<str> = "n".into();
        for round in 0..4 {
            for n in (0..300).rev().filter(|n| n % 4 == round) {
                pairs.intern(&name, &format!("v{n:03}").as_str().into());
            }
            for (op, value) in [
                (MatchOp::Equal, "v012"),
                (MatchOp::NotEqual, "v012"),
                (MatchOp::Regex, "v01.*"),
                (MatchOp::Regex, "v01[0-4]"),
                (MatchOp::Regex, "v010|v299|w"),
                (MatchOp::NotRegex, "v0.*"),
                (MatchOp::Regex, ".*7"),
            ] {
                let matcher = Matcher::new("n", op, value).unwrap();
                for _ in 0..2 {
                    let mut found = pairs.matched(&matcher).to_vec();
                    found.sort_unstable();
                    let all = 0..pairs.list.len() as u32;
                    let scan: Vec<u32> = all.filter(|p| matcher.matches(pairs.value(*p))).collect();
                    assert_eq!(found, scan, "{matcher}");
                }
            }
            let sorted = pairs.sorted(0);
            assert!(sorted.is_sorted_by_key(|pair| pairs.value(*pair)));
            assert_eq!(sorted.len(), pairs.list.len());
        }
    }
}
