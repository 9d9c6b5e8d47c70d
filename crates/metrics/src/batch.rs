//! A batch: many series with their labels and places, each text and each half of a label set once.
//!
//! What the write-ahead log and `series.log` say about series. A batch stands for itself: it refers
//! to nothing outside, so one that is lost or met twice takes no other with it. A fleet's series take
//! a byte each beside the halves. The bytes stand in `docs/formats/metrics-log.md`.

use crate::GROUP_COLUMNS_MAX;
use crate::catalog::{Catalog, Series, Side};
use crate::head::Place;
use hashbrown::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use vigie_disk::wire::{Bad, Bytes, put_bytes, put_int, put_uint};
use vigie_model::limits::LABELS_PER_SERIES_MAX;

/// Series in one batch.
const SERIES_MAX: usize = 1 << 16;
/// A batch is ended when its texts are longer than this.
const TEXT_BYTES_MAX: usize = 4 * 1024 * 1024;

const OTHER_ID: u8 = 1;
const OTHER_GROUP: u8 = 2;
const OTHER_COLUMN: u8 = 4;
const OTHER_OWN: u8 = 8;
const OTHER_TARGET: u8 = 16;

/// A series of a batch: its id and place, and its halves by their numbers in the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) id: u32,
    pub(crate) group: u32,
    pub(crate) column: u32,
    pub(crate) own: u32,
    pub(crate) target: u32,
}

/// The member before the first: what follows it differs in nothing from the usual first member.
const BEFORE: Member =
    Member { id: u32::MAX, group: 0, column: u32::MAX, own: u32::MAX, target: 0 };

impl Member {
    /// What the next member usually is.
    fn next(self) -> Member {
        Member {
            id: self.id.wrapping_add(1),
            column: self.column.wrapping_add(1),
            own: self.own.wrapping_add(1),
            ..self
        }
    }
}

/// Writes the series of `ids`, which have places, as batches: `done` gets each one's bytes and how
/// many series it has.
pub(crate) fn encode<E>(
    catalog: &Catalog,
    ids: &[u32],
    place_of: impl Fn(u32) -> Place,
    mut done: impl FnMut(&[u8], usize) -> Result<(), E>,
) -> Result<(), E> {
    let mut rest = ids;
    let mut out = Vec::new();
    while !rest.is_empty() {
        let mut writer = Writer::new(catalog);
        let mut count = 0;
        for id in rest.iter().take(SERIES_MAX) {
            if writer.text_bytes > TEXT_BYTES_MAX {
                break;
            }
            writer.add(*id, place_of(*id));
            count += 1;
        }
        out.clear();
        writer.put(&mut out);
        done(&out, count)?;
        rest = &rest[count..];
    }
    Ok(())
}

/// Numbers things in the order in which they are first met.
struct Numbers<T> {
    known: HashMap<T, u32, foldhash::fast::RandomState>,
    bytes: Vec<u8>,
}

impl<T: Eq + Hash> Numbers<T> {
    fn new() -> Numbers<T> {
        Numbers { known: HashMap::default(), bytes: Vec::new() }
    }

    /// The number of a thing; `put` writes it when it is new.
    fn of(&mut self, thing: T, put: impl FnOnce(&mut Vec<u8>)) -> u32 {
        let next = self.known.len() as u32;
        let bytes = &mut self.bytes;
        *self.known.entry(thing).or_insert_with(|| {
            put(bytes);
            next
        })
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_uint(out, self.known.len() as u64);
        out.extend_from_slice(&self.bytes);
    }
}

struct Writer<'a> {
    catalog: &'a Catalog,
    texts: Numbers<&'a str>,
    text_bytes: usize,
    pairs: Numbers<u32>,
    owns: Numbers<u32>,
    targets: Numbers<u32>,
    before: Member,
    members: Vec<u8>,
    count: u64,
}

impl<'a> Writer<'a> {
    fn new(catalog: &'a Catalog) -> Writer<'a> {
        Writer {
            catalog,
            texts: Numbers::new(),
            text_bytes: 0,
            pairs: Numbers::new(),
            owns: Numbers::new(),
            targets: Numbers::new(),
            before: BEFORE,
            members: Vec::new(),
            count: 0,
        }
    }

    fn add(&mut self, id: u32, place: Place) {
        let Series { own, target } = self.catalog.series(id);
        let own = self.half(Side::Own, own);
        let target = self.half(Side::Target, target);
        let member = Member { id, group: place.group, column: place.column, own, target };
        put_member(&mut self.members, self.before, member);
        self.before = member;
        self.count += 1;
    }

    fn half(&mut self, side: Side, half: u32) -> u32 {
        let catalog = self.catalog;
        let Writer { texts, text_bytes, pairs, owns, targets, .. } = self;
        let halves = if side == Side::Own { owns } else { targets };
        halves.of(half, |out| {
            let of_half = catalog.half(side, half);
            put_uint(out, of_half.len() as u64);
            for pair in of_half {
                let number = pairs.of(*pair, |out| {
                    let (name, value) = catalog.pair(*pair);
                    for text in [name, value] {
                        let number = texts.of(text, |out| put_bytes(out, text.as_bytes()));
                        put_uint(out, u64::from(number));
                    }
                    *text_bytes = texts.bytes.len();
                });
                put_uint(out, u64::from(number));
            }
        })
    }

    fn put(&self, out: &mut Vec<u8>) {
        self.texts.put(out);
        self.pairs.put(out);
        self.owns.put(out);
        self.targets.put(out);
        put_uint(out, self.count);
        out.extend_from_slice(&self.members);
    }
}

fn put_member(out: &mut Vec<u8>, before: Member, member: Member) {
    let mut usual = before.next();
    if member.group != usual.group {
        usual.column = 0;
    }
    let at = out.len();
    out.push(0);
    let mut other = |bit: u8, usual: u32, is: u32| {
        if usual != is {
            out[at] |= bit;
            put_int(out, i64::from(is) - i64::from(usual));
        }
    };
    other(OTHER_ID, usual.id, member.id);
    other(OTHER_GROUP, usual.group, member.group);
    other(OTHER_COLUMN, usual.column, member.column);
    other(OTHER_OWN, usual.own, member.own);
    other(OTHER_TARGET, usual.target, member.target);
}

/// Lists of numbers, one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    ends: Vec<u32>,
    numbers: Vec<u32>,
}

impl Lists {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u32]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.numbers[start as usize..*end as usize])
    }
}

/// A batch that was read: every number in it is good.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Name and value of each pair.
    pub(crate) pairs: Vec<(Arc<str>, Arc<str>)>,
    /// Lists of pairs, by name.
    pub(crate) owns: Lists,
    pub(crate) targets: Lists,
    pub(crate) members: Vec<Member>,
}

/// Reads what [`encode`] wrote.
pub(crate) fn decode(payload: &[u8]) -> Result<Batch, Bad> {
    let mut input = Bytes::new(payload);
    let texts = (0..input.count_here()?)
        .map(|_| Ok(Arc::from(input.text()?)))
        .collect::<Result<Vec<Arc<str>>, Bad>>()?;
    let text = |number: usize| texts.get(number).cloned().ok_or("a label has no text");
    let mut pairs = Vec::new();
    for _ in 0..input.count_here()? {
        let (name, value) = (text(input.count_here()?)?, text(input.count_here()?)?);
        if name.is_empty() || value.is_empty() {
            return Err("a label has an empty text");
        }
        pairs.push((name, value));
    }
    let owns = halves(&mut input, &pairs)?;
    let targets = halves(&mut input, &pairs)?;
    let mut members = Vec::new();
    let mut before = BEFORE;
    for _ in 0..input.count_here()? {
        before = member(&mut input, before)?;
        let half = |lists: &Lists, at: u32| {
            let end = *lists.ends.get(at as usize)?;
            Some(end - at.checked_sub(1).map_or(0, |before| lists.ends[before as usize]))
        };
        let own = half(&owns, before.own).ok_or("a series has no half")?;
        let target = half(&targets, before.target).ok_or("a series has no half")?;
        if !(1..=LABELS_PER_SERIES_MAX as u32).contains(&(own + target)) {
            return Err("a series has no label or too many");
        }
        members.push(before);
    }
    input.end()?;
    Ok(Batch { pairs, owns, targets, members })
}

/// Reads halves: lists of pairs whose names ascend.
fn halves(input: &mut Bytes<'_>, pairs: &[(Arc<str>, Arc<str>)]) -> Result<Lists, Bad> {
    let mut lists = Lists::default();
    for _ in 0..input.count_here()? {
        let start = lists.numbers.len();
        for _ in 0..input.count(LABELS_PER_SERIES_MAX)? {
            let pair = input.uint()?;
            if pair >= pairs.len() as u64 {
                return Err("a half has a pair that is not there");
            }
            lists.numbers.push(pair as u32);
        }
        let name = |pair: &u32| &pairs[*pair as usize].0;
        if lists.numbers[start..].windows(2).any(|two| name(&two[0]) >= name(&two[1])) {
            return Err("the names of a half do not ascend");
        }
        lists.ends.push(u32::try_from(lists.numbers.len()).map_err(|_| "too many labels")?);
    }
    Ok(lists)
}

fn member(input: &mut Bytes<'_>, before: Member) -> Result<Member, Bad> {
    let flags = input.byte()?;
    if flags & !(OTHER_ID | OTHER_GROUP | OTHER_COLUMN | OTHER_OWN | OTHER_TARGET) != 0 {
        return Err("a series has unknown flags");
    }
    let usual = before.next();
    let mut other = |bit: u8, usual: u32| {
        if flags & bit == 0 {
            return Ok(usual);
        }
        let is = i64::from(usual).checked_add(input.int()?).ok_or("a number is impossible")?;
        u32::try_from(is).map_err(|_| "a number is impossible")
    };
    let id = other(OTHER_ID, usual.id)?;
    let group = other(OTHER_GROUP, usual.group)?;
    let column = other(OTHER_COLUMN, if group == usual.group { usual.column } else { 0 })?;
    let own = other(OTHER_OWN, usual.own)?;
    let target = other(OTHER_TARGET, usual.target)?;
    if id == u32::MAX || group == u32::MAX || column as usize >= GROUP_COLUMNS_MAX {
        return Err("a series has an impossible place");
    }
    Ok(Member { id, group, column, own, target })
}

#[cfg(test)]
mod tests {
    use super::*;
    use vigie_model::Labels;

    fn fleet() -> Catalog {
        let mut catalog = Catalog::default();
        for (name, instance, mode) in [
            ("up", "a", ""),
            ("cpu", "a", "idle"),
            ("cpu", "a", "user"),
            ("up", "b", ""),
            ("cpu", "b", "idle"),
            ("", "b", ""),
            ("x", "", "é"),
        ] {
            let pairs = [("__name__", name), ("instance", instance), ("job", "j"), ("mode", mode)];
            catalog.intern(&Labels::from_pairs(pairs));
        }
        catalog
    }

    fn bytes_of(catalog: &Catalog, ids: &[u32]) -> Vec<u8> {
        let mut all = Vec::new();
        let place = |id: u32| Place { group: id / 3, column: id % 3 };
        encode(catalog, ids, place, |bytes, count| {
            assert_eq!(count, ids.len());
            all.extend_from_slice(bytes);
            Ok::<(), ()>(())
        })
        .unwrap();
        all
    }

    #[test]
    fn a_batch_comes_back_into_another_catalogue() {
        let catalog = fleet();
        let ids = [0, 1, 2, 3, 4, 5, 6];
        let batch = decode(&bytes_of(&catalog, &ids)).unwrap();
        let places: Vec<_> = batch.members.iter().map(|m| (m.id, m.group, m.column)).collect();
        assert_eq!(places, ids.map(|id| (id, id / 3, id % 3)));
        let mut again = Catalog::default();
        again.define(9, &Labels::from_pairs([("job", "j"), ("zone", "numbered otherwise")]));
        for (member, is_good) in again.take_in(&batch) {
            assert!(is_good, "{member:?}");
        }
        for id in ids {
            assert_eq!(again.labels(id), catalog.labels(id));
        }
        assert!(again.take_in(&batch).iter().all(|(_, is_good)| *is_good), "twice is fine");
    }

    #[test]
    fn a_fleet_takes_a_byte_a_series() {
        let mut catalog = Catalog::default();
        for at in 0..10_000 {
            let (instance, name) = (format!("host-{}", at / 100), format!("metric_{}", at % 100));
            catalog.intern(&Labels::from_pairs([("__name__", name), ("instance", instance)]));
        }
        let ids: Vec<u32> = (0..10_000).collect();
        let bytes = bytes_of(&catalog, &ids).len();
        assert!(bytes < 10_000 * 7 / 2, "{bytes} bytes");
    }

    #[test]
    fn no_damage_makes_a_batch_panic() {
        let bytes = bytes_of(&fleet(), &[3, 1, 2]);
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len]).is_err(), "{len} bytes");
        }
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            if let Ok(batch) = decode(&bad) {
                Catalog::default().take_in(&batch);
            }
        }
    }
}
