//! Texts are looked for in a shredded block: in its head and filters, in its columns, last in lines.

use super::{ShreddedBlock, print_value};
use crate::part::OpenPart;
use crate::shred::column::{Case, Column, Place, Values, filter_admits};
use crate::shred::needle::{Ask, ways};
use crate::shred::shapes::{Columns, Head};
use vigie_model::ReadError;
use vigie_model::blocks::{AnyOf, Codes, LogBlock, TextFinder};

/// Which rows of a shape hold a text.
enum Found {
    None,
    All,
    /// By rank.
    Some(Vec<bool>),
    /// Their lines have to be looked at.
    Unknown,
}

/// Texts of which a line must contain one, and how they are looked for.
pub(super) struct Sought<'a> {
    any: &'a AnyOf,
    case: Case,
    finder: TextFinder,
}

impl<'a> Sought<'a> {
    pub(super) fn new(any: &'a AnyOf) -> Sought<'a> {
        let case = if any.ignores_case() { Case::Ignored } else { Case::Counts };
        Sought { any, case, finder: any.finder() }
    }
}

/// Whether some line of the block may contain the text, from the head and the filters.
pub(crate) fn may_contain(
    part: &OpenPart,
    block: usize,
    head: &Head,
    needle: &[u8],
) -> Result<bool, ReadError> {
    for (shape, columns) in head.shapes.iter().zip(&head.columns) {
        let Some(ways) = ways(&shape.statics, needle, Case::Counts) else { return Ok(true) };
        for way in ways {
            if way_is_open(part, block, columns, &way, (needle, Case::Counts))? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn way_is_open(
    part: &OpenPart,
    block: usize,
    columns: &Columns,
    way: &[Ask],
    (needle, case): (&[u8], Case),
) -> Result<bool, ReadError> {
    let known =
        |ask: &Ask| columns.slots[ask.slot].may_hold(ask.place, &needle[ask.part.clone()], case);
    if !way.iter().all(known) {
        return Ok(false);
    }
    for ask in way {
        let column = &columns.slots[ask.slot];
        if let Some((filter, keys)) = column.filter_for(&needle[ask.part.clone()], case) {
            let admits = filter_admits(&part.frame(block, filter)?, &keys);
            if !admits.map_err(|what| part.corrupt(block, what))? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

impl ShreddedBlock {
    /// Clears the rows whose line contains none of the texts.
    pub(super) fn find(&self, sought: &Sought<'_>, rows: &mut [bool]) -> Result<(), ReadError> {
        let found = (0..self.head.shapes.len()).map(|shape| self.find_in_shape(shape, sought));
        let found = found.collect::<Result<Vec<Found>, ReadError>>()?;
        let shapes = self.shapes().expect("the block has shapes");
        if found.iter().all(|found| matches!(found, Found::None)) {
            rows.fill(false);
            return Ok(());
        }
        if let (Codes::Same(shape), Codes::From(first)) = (shapes.of_row, shapes.ranks)
            && let Found::Some(found) = &found[shape as usize]
        {
            let found = &found[first as usize..];
            rows.iter_mut().zip(found).for_each(|(row, found)| *row &= found);
            return Ok(());
        }
        for (row, wanted) in rows.iter_mut().enumerate() {
            *wanted &= match &found[shapes.of_row.at(row) as usize] {
                Found::None => false,
                Found::All | Found::Unknown => true,
                Found::Some(found) => found[shapes.ranks.at(row) as usize],
            };
        }
        if found.iter().any(|found| matches!(found, Found::Unknown)) {
            let mut line = Vec::new();
            for (row, wanted) in rows.iter_mut().enumerate().filter(|(_, wanted)| **wanted) {
                if let Found::Unknown = found[shapes.of_row.at(row) as usize] {
                    self.line(row, &mut line)?;
                    *wanted = sought.finder.is_match(&line);
                }
            }
        }
        Ok(())
    }

    fn find_in_shape(&self, shape: usize, sought: &Sought<'_>) -> Result<Found, ReadError> {
        let columns = &self.head.columns[shape];
        // Slots that may hold a whole text; all texts are looked for in them at once.
        let mut inside: Vec<usize> = Vec::new();
        let mut across: Vec<(Vec<Ask>, &[u8])> = Vec::new();
        for text in sought.any.texts() {
            let Some(ways) = ways(&self.head.shapes[shape].statics, text, sought.case) else {
                return Ok(Found::Unknown);
            };
            for way in ways {
                if way.is_empty() {
                    return Ok(Found::All);
                }
                let asked = (&text[..], sought.case);
                if !way_is_open(&self.part, self.block, columns, &way, asked)? {
                    continue;
                }
                match &way[..] {
                    [Ask { slot, place: Place::Anywhere, .. }] => inside.push(*slot),
                    _ => across.push((way, text)),
                }
            }
        }
        inside.sort_unstable();
        inside.dedup();
        let mut found: Option<Vec<bool>> = None;
        let mut add = |all: Vec<bool>| match &mut found {
            Some(found) => found.iter_mut().zip(all).for_each(|(found, one)| *found |= one),
            None => found = Some(all),
        };
        for slot in inside {
            add(self.slot_holds_any(shape, slot, sought)?);
        }
        for (way, text) in across {
            let mut all: Option<Vec<bool>> = None;
            for ask in &way {
                let part = &text[ask.part.clone()];
                let holds = |value: &[u8]| sought.case.holds(value, ask.place, part);
                let one = self.answers(shape, ask.slot, &holds)?;
                match &mut all {
                    None => all = Some(one),
                    Some(all) => all.iter_mut().zip(one).for_each(|(all, one)| *all &= one),
                }
            }
            all.into_iter().for_each(&mut add);
        }
        Ok(found.map_or(Found::None, Found::Some))
    }

    /// Which ranks hold one of the texts inside the value of a slot.
    fn slot_holds_any(
        &self,
        shape: usize,
        slot: usize,
        sought: &Sought<'_>,
    ) -> Result<Vec<bool>, ReadError> {
        let column = &self.head.columns[shape].slots[slot];
        let (Column::Texts { frames, .. }, Values::Texts(places)) =
            (column, self.loaded(shape, slot)?)
        else {
            return self.answers(shape, slot, &|value| sought.finder.is_match(value));
        };
        let mut out = Vec::with_capacity(places.len());
        let mut rest = &places[..];
        for (at, (values, frame)) in frames.iter().enumerate() {
            let text = self.text_frame(shape, slot, at, frame)?;
            let (of_frame, behind) = rest.split_at(*values);
            find_all(&sought.finder, text, of_frame, &mut out);
            rest = behind;
        }
        Ok(out)
    }

    /// Of which ranks `holds` is true.
    fn answers(
        &self,
        shape: usize,
        slot: usize,
        holds: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Vec<bool>, ReadError> {
        let column = &self.head.columns[shape].slots[slot];
        let rows = self.head.columns[shape].rows;
        match (column, self.loaded(shape, slot)?) {
            (Column::Words { words, .. }, Values::Codes(codes)) => {
                let by_word: Vec<bool> = words.iter().map(|word| holds(word)).collect();
                if codes.is_empty() {
                    return Ok(vec![by_word[0]; rows]);
                }
                Ok(codes.iter().map(|&code| by_word[usize::from(code)]).collect())
            }
            (Column::Texts { frames, .. }, Values::Texts(places)) => {
                let mut out = Vec::with_capacity(rows);
                let mut rest = &places[..];
                for (at, (values, frame)) in frames.iter().enumerate() {
                    let text = self.text_frame(shape, slot, at, frame)?;
                    let (of_frame, behind) = rest.split_at(*values);
                    let value = |place: &(u32, u32)| &text[place.0 as usize..place.1 as usize];
                    out.extend(of_frame.iter().map(|place| holds(value(place))));
                    rest = behind;
                }
                Ok(out)
            }
            (_, values) => {
                let mut text = Vec::new();
                Ok((0..rows)
                    .map(|rank| {
                        text.clear();
                        let origin_ns = self.origin_ns(shape, column, rank);
                        print_value(column, values, rank, origin_ns, &mut text);
                        holds(&text)
                    })
                    .collect())
            }
        }
    }
}

/// Notes for each value of a frame whether one of the finder's texts is in it.
fn find_all(finder: &TextFinder, text: &[u8], places: &[(u32, u32)], out: &mut Vec<bool>) {
    let start = out.len();
    out.resize(start + places.len(), false);
    let mut from = 0;
    while let Some((hit, end)) = finder.find(&text[from..]) {
        let (hit, end) = (from + hit, from + end);
        let at = places.partition_point(|place| place.1 as usize <= hit);
        let Some(place) = places.get(at) else { return };
        if end <= place.1 as usize {
            out[start + at] = true;
            from = place.1 as usize;
        } else {
            // It crosses into the next value; another may start inside it.
            from = hit + 1;
        }
    }
}
