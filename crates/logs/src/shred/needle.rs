//! Where a text can stand in lines of one shape: inside a static, inside a slot, or across them.
//!
//! Each way is a list of questions about slots, all of which must hold; the statics it crosses
//! have been compared already. A line contains the text if any way holds.
//! A [`Case`] says whether letters of either case are alike.

use super::column::{Case, Place};
use std::ops::Range;

/// More ways are not counted: the lines are looked at instead.
const WAYS_MAX: usize = 64;
/// Steps of the search after which it is given up.
const STEPS_MAX: usize = 20_000;

/// A part of the text that the value of a slot must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) slot: usize,
    pub(crate) place: Place,
    /// In the text.
    pub(crate) part: Range<usize>,
}

/// All ways; one without questions holds for every line. `None`: too many to count.
pub(crate) fn ways(statics: &[Vec<u8>], needle: &[u8], case: Case) -> Option<Vec<Vec<Ask>>> {
    if statics.iter().any(|text| case.holds(text, Place::Anywhere, needle)) {
        return Some(vec![Vec::new()]);
    }
    let (ways, asked) = (Vec::new(), Vec::new());
    let mut search = Search { statics, needle, case, ways, asked, steps: 0 };
    let slots = statics.len() - 1;
    for (slot, text) in statics[..slots].iter().enumerate() {
        // The needle starts in the static before the slot …
        for start in 0..text.len() {
            let begun = text.len() - start;
            if begun < needle.len() && case.holds(needle, Place::Starts, &text[start..]) {
                search.at_slot(slot, begun)?;
            }
        }
        // … or in the slot, and ends there or in what follows.
        search.found(Ask { slot, place: Place::Anywhere, part: 0..needle.len() })?;
        for end in 1..needle.len() {
            search.asked.push(Ask { slot, place: Place::Ends, part: 0..end });
            search.at_static(slot + 1, end)?;
            search.asked.pop();
        }
    }
    Some(search.ways)
}

struct Search<'a> {
    statics: &'a [Vec<u8>],
    needle: &'a [u8],
    case: Case,
    ways: Vec<Vec<Ask>>,
    /// The questions of the way at hand.
    asked: Vec<Ask>,
    steps: usize,
}

impl Search<'_> {
    fn found(&mut self, last: Ask) -> Option<()> {
        let way = self.asked.iter().cloned().chain([last]).collect();
        self.note(way)
    }

    fn note(&mut self, way: Vec<Ask>) -> Option<()> {
        self.ways.push(way);
        (self.ways.len() <= WAYS_MAX).then_some(())
    }

    /// What is left of the needle from `from` on starts where the slot's value starts.
    fn at_slot(&mut self, slot: usize, from: usize) -> Option<()> {
        if slot + 1 == self.statics.len() {
            return Some(());
        }
        self.found(Ask { slot, place: Place::Starts, part: from..self.needle.len() })?;
        for end in from..self.needle.len() {
            self.asked.push(Ask { slot, place: Place::Is, part: from..end });
            self.at_static(slot + 1, end)?;
            self.asked.pop();
        }
        Some(())
    }

    /// What is left, at least a byte, starts where the static starts.
    fn at_static(&mut self, at: usize, from: usize) -> Option<()> {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return None;
        }
        let (text, rest) = (&self.statics[at], &self.needle[from..]);
        if self.case.holds(text, Place::Starts, rest) {
            return self.note(self.asked.clone());
        }
        if self.case.holds(rest, Place::Starts, text) {
            return self.at_slot(at, from + text.len());
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every part of every line is found, and nothing that is not there.
    #[test]
    fn ways_find_what_a_search_finds() {
        let statics: Vec<Vec<u8>> =
            [&b"{\"a\":"[..], b",\"b\":\"", b"\"}"].iter().map(|s| s.to_vec()).collect();
        let values: [[&str; 2]; 5] =
            [["1", "x"], ["12", ""], ["", "a\"B"], ["A\":", ",\"b"], ["11", "\""]];
        let line = |values: &[&str; 2]| {
            let mut line = Vec::new();
            for (at, text) in statics.iter().enumerate() {
                line.extend_from_slice(text);
                line.extend_from_slice(values.get(at).unwrap_or(&"").as_bytes());
            }
            line
        };
        let mut needles: Vec<Vec<u8>> = vec![b"zz".to_vec(), b"1,\"b\":\"y".to_vec()];
        for values in &values {
            let line = line(values);
            for start in 0..line.len() {
                needles.extend((start + 1..=line.len()).map(|end| line[start..end].to_vec()));
            }
        }
        for needle in needles {
            for case in [Case::Counts, Case::Ignored] {
                let ways = ways(&statics, &needle, case).unwrap();
                for values in &values {
                    let found = ways.iter().any(|way| {
                        way.iter().all(|ask| {
                            let value = values[ask.slot].as_bytes();
                            case.holds(value, ask.place, &needle[ask.part.clone()])
                        })
                    });
                    let wanted = case.holds(&line(values), Place::Anywhere, &needle);
                    let needle = String::from_utf8_lossy(&needle);
                    assert_eq!(found, wanted, "{needle:?} in {values:?}, {case:?}");
                }
            }
        }
    }
}
