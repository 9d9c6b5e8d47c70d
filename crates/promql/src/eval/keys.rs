//! Numbers for what a projection leaves of label sets: series are grouped and joined by them.
//!
//! A stored series comes in two parts ([`LabelLookup::parts`]). What the projection leaves of a part
//! is found once per part, and which key two such rests have once per pair of them, so a series
//! costs a few look-ups of numbers; neighbours usually share a part and save one of those.
//! What has no parts goes by its labels. A label set has one key, whichever way it came, and keys
//! are given from 0 on in the order in which they are met.

use super::labels::Projection;
use super::value::{METADATA, Metric};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use vigie_model::{LabelLookup, Labels};

/// The keys of one projection.
pub(super) struct Keys<'a> {
    projection: Projection<'a>,
    /// Per place, which rest is left of a part.
    rests: [HashMap<u64, u32, ByNumber>; 2],
    /// The part that was met last at each place, and its rest.
    last: [Option<(u64, u32)>; 2],
    /// The rests, and their numbers.
    rest_labels: Vec<Labels>,
    rest_numbers: HashMap<Labels, u32>,
    /// The key of two rests.
    pairs: HashMap<u64, usize, ByNumber>,
    last_pair: Option<(u64, usize)>,
    keys: HashMap<Labels, usize>,
    labels: Vec<Labels>,
}

impl<'a> Keys<'a> {
    pub(super) fn new(projection: Projection<'a>) -> Keys<'a> {
        Keys {
            projection,
            rests: Default::default(),
            last: [None; 2],
            rest_labels: Vec::new(),
            rest_numbers: HashMap::new(),
            pairs: HashMap::default(),
            last_pair: None,
            keys: HashMap::new(),
            labels: Vec::new(),
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.labels.len()
    }

    /// The labels of a key.
    pub(super) fn labels(&self, key: usize) -> &Labels {
        &self.labels[key]
    }

    /// The key of a series.
    pub(super) fn of(&mut self, metric: &Metric) -> usize {
        if let Metric::Stored { id, lookup, nameless } = metric
            && let Some(parts) = lookup.parts(*id)
        {
            return self.of_parts(lookup.as_ref(), parts, *nameless);
        }
        let labels = self.projection.of(&metric.labels());
        self.key(labels)
    }

    fn of_parts(&mut self, lookup: &dyn LabelLookup, parts: [u32; 2], nameless: bool) -> usize {
        let [own, other] = [0, 1].map(|place| {
            // The same part with and without its name is two.
            let part = u64::from(parts[place]) << 1 | u64::from(nameless);
            match self.last[place] {
                Some((last, rest)) if last == part => u64::from(rest),
                _ => u64::from(self.rest(lookup, place, part)),
            }
        });
        let pair = own << 32 | other;
        if let Some((last, key)) = self.last_pair
            && last == pair
        {
            return key;
        }
        let key = match self.pairs.get(&pair) {
            Some(key) => *key,
            None => {
                let rests = [own, other].map(|rest| &self.rest_labels[rest as usize]);
                let labels = rests.into_iter().flat_map(Labels::iter);
                let labels = labels.map(|label| (label.name.clone(), label.value.clone()));
                let key = self.key(Labels::from_pairs(labels));
                self.pairs.insert(pair, key);
                key
            }
        };
        self.last_pair = Some((pair, key));
        key
    }

    fn rest(&mut self, lookup: &dyn LabelLookup, place: usize, part: u64) -> u32 {
        let rest = match self.rests[place].get(&part) {
            Some(rest) => *rest,
            None => {
                let mut labels = lookup.part(place, (part >> 1) as u32);
                if part & 1 == 1 {
                    labels = labels.without(&METADATA);
                }
                let labels = self.projection.of(&labels);
                let next = self.rest_labels.len() as u32;
                let rest = *self.rest_numbers.entry(labels.clone()).or_insert(next);
                if rest == next {
                    self.rest_labels.push(labels);
                }
                self.rests[place].insert(part, rest);
                rest
            }
        };
        self.last[place] = Some((part, rest));
        rest
    }

    fn key(&mut self, labels: Labels) -> usize {
        if let Some(key) = self.keys.get(&labels) {
            return *key;
        }
        self.keys.insert(labels.clone(), self.labels.len());
        self.labels.push(labels);
        self.labels.len() - 1
    }
}

/// A hash of one number that nobody outside chooses: parts and rests are counted from 0.
#[derive(Default)]
struct OfNumber(u64);

type ByNumber = BuildHasherDefault<OfNumber>;

impl Hasher for OfNumber {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        let mixed = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ mixed >> 32;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use vigie_model::SeriesId;

    /// Own labels by the number below the hundreds, the target's by the hundreds.
    struct Parted(bool);

    impl LabelLookup for Parted {
        fn labels(&self, id: SeriesId) -> Labels {
            let parts = [id.0 % 100, id.0 / 100];
            let parts = [self.part(0, parts[0]), self.part(1, parts[1])];
            let labels = parts.iter().flat_map(Labels::iter);
            Labels::from_pairs(labels.map(|label| (label.name.clone(), label.value.clone())))
        }
        fn parts(&self, id: SeriesId) -> Option<[u32; 2]> {
            self.0.then_some([id.0 % 100, id.0 / 100])
        }
        fn part(&self, place: usize, number: u32) -> Labels {
            let number = number.to_string();
            let name = format!("m{}", number.len());
            match place {
                0 => Labels::from_pairs([("__name__", name), ("mode", number)]),
                _ => Labels::from_pairs([("instance", number), ("job", "node".to_owned())]),
            }
        }
    }

    #[test]
    fn a_label_set_has_one_key_whichever_way_it_came() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let lists: [Vec<String>; 5] = [
            names(&[]),
            names(&["mode"]),
            names(&["instance", "__name__"]),
            names(&["job"]),
            names(&["job", "mode", "nobody"]),
        ];
        for (list, keep) in lists.iter().flat_map(|list| [(list, true), (list, false)]) {
            let mut keys = Keys::new(Projection::new(list, keep));
            let projection = Projection::new(list, keep);
            for number in (0..900).step_by(7).chain(0..30) {
                for nameless in [false, true] {
                    let of = |lookup: Arc<dyn LabelLookup>| Metric::Stored {
                        id: SeriesId(number),
                        lookup,
                        nameless,
                    };
                    let parted = of(Arc::new(Parted(true)));
                    let key = keys.of(&parted);
                    assert_eq!(*keys.labels(key), projection.of(&parted.labels()), "{list:?}");
                    assert_eq!(key, keys.of(&of(Arc::new(Parted(false)))));
                    assert_eq!(key, keys.of(&Metric::Built(parted.labels())));
                }
            }
        }
    }
}
