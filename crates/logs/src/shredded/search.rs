//! Texts are looked for in a shredded block: in its head and filters, in its columns, last in lines.

use super::{ShreddedBlock, print_value};
use crate::part::OpenPart;
use crate::shred::column::{Column, Place, Values, filter_admits, holds};
use crate::shred::needle::{Ask, ways};
use crate::shred::shapes::{Columns, Head};
use memchr::memmem::Finder;
use vigie_model::ReadError;
use vigie_model::blocks::{Codes, LogBlock};

/// Which rows of a shape hold a text.
enum Found {
    None,
    All,
    /// By rank.
    Some(Vec<bool>),
    /// Their lines have to be looked at.
    Unknown,
}

/// Whether some line of the block may contain the text, from the head and the filters.
pub(crate) fn may_contain(
    part: &OpenPart,
    block: usize,
    head: &Head,
    needle: &[u8],
) -> Result<bool, ReadError> {
    for (shape, columns) in head.shapes.iter().zip(&head.columns) {
        let Some(ways) = ways(&shape.statics, needle) else { return Ok(true) };
        for way in ways {
            if way_is_open(part, block, columns, &way, needle)? {
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
    needle: &[u8],
) -> Result<bool, ReadError> {
    let known = |ask: &Ask| columns.slots[ask.slot].may_hold(ask.place, &needle[ask.part.clone()]);
    if !way.iter().all(known) {
        return Ok(false);
    }
    for ask in way {
        if let Some((filter, keys)) = columns.slots[ask.slot].filter_for(&needle[ask.part.clone()])
        {
            let admits = filter_admits(&part.frame(block, filter)?, &keys);
            if !admits.map_err(|what| part.corrupt(block, what))? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}


impl ShreddedBlock {
    /// Which ranks hold `part` at `place`.
    fn answers(
        &self,
        shape: usize,
        slot: usize,
        place: Place,
        part: &[u8],
    ) -> Result<Vec<bool>, ReadError> {
        let column = &self.head.columns[shape].slots[slot];
        let rows = self.head.columns[shape].rows;
        match (column, self.loaded(shape, slot)?) {
            (Column::Words { words, .. }, Values::Codes(codes)) => {
                let by_word: Vec<bool> =
                    words.iter().map(|word| holds(word, place, part)).collect();
                if codes.is_empty() {
                    return Ok(vec![by_word[0]; rows]);
                }
                Ok(codes.iter().map(|&code| by_word[usize::from(code)]).collect())
            }
            (Column::Texts { frames, .. }, Values::Texts(places)) => {
                let finder = Finder::new(part);
                let mut out = Vec::with_capacity(rows);
                let mut places = places.iter();
                for (at, (values, frame)) in frames.iter().enumerate() {
                    let text = self.text_frame(shape, slot, at, frame)?;
                    let places: Vec<&(u32, u32)> = places.by_ref().take(*values).collect();
                    if place == Place::Anywhere {
                        find_all(&finder, text, &places, &mut out);
                    } else {
                        let value = |place: &&(u32, u32)| &text[place.0 as usize..place.1 as usize];
                        out.extend(places.iter().map(|at| holds(value(at), place, part)));
                    }
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
                        holds(&text, place, part)
                    })
                    .collect())
            }
        }
    }

    /// Clears the rows whose line does not contain the needle.
    pub(super) fn find(&self, needle: &[u8], rows: &mut [bool]) -> Result<(), ReadError> {
        let found = (0..self.head.shapes.len()).map(|shape| self.find_in_shape(shape, needle));
        let found = found.collect::<Result<Vec<Found>, ReadError>>()?;
        let shapes = self.shapes().expect("the block has shapes");
        match (shapes.of_row, shapes.ranks, &found[..]) {
            (_, _, all) if all.iter().all(|found| matches!(found, Found::None)) => {
                rows.fill(false);
                return Ok(());
            }
            (Codes::Same(_), Codes::From(first), [Found::Some(found)]) => {
                let found = &found[first as usize..];
                rows.iter_mut().zip(found).for_each(|(row, found)| *row &= found);
                return Ok(());
            }
            _ => {}
        }
        let finder = Finder::new(needle);
        let mut line = Vec::new();
        for at in (0..rows.len()).filter(|row| rows[*row]).collect::<Vec<usize>>() {
            rows[at] = match &found[shapes.of_row.at(at) as usize] {
                Found::None => false,
                Found::All => true,
                Found::Some(found) => found[shapes.ranks.at(at) as usize],
                Found::Unknown => {
                    self.line(at, &mut line)?;
                    finder.find(&line).is_some()
                }
            };
        }
        Ok(())
    }

    fn find_in_shape(&self, shape: usize, needle: &[u8]) -> Result<Found, ReadError> {
        let Some(ways) = ways(&self.head.shapes[shape].statics, needle) else {
            return Ok(Found::Unknown);
        };
        let columns = &self.head.columns[shape];
        let mut found: Option<Vec<bool>> = None;
        for way in ways {
            if way.is_empty() {
                return Ok(Found::All);
            }
            if !way_is_open(&self.part, self.block, columns, &way, needle)? {
                continue;
            }
            let mut all: Option<Vec<bool>> = None;
            for ask in &way {
                let answers =
                    self.answers(shape, ask.slot, ask.place, &needle[ask.part.clone()])?;
                match &mut all {
                    None => all = Some(answers),
                    Some(all) => all.iter_mut().zip(answers).for_each(|(all, one)| *all &= one),
                }
            }
            match (&mut found, all) {
                (Some(found), Some(all)) => {
                    found.iter_mut().zip(all).for_each(|(found, one)| *found |= one);
                }
                (None, all) => found = all,
                _ => {}
            }
        }
        Ok(found.map_or(Found::None, Found::Some))
    }
}

/// Notes for each value of a frame whether the finder's needle is in it.
fn find_all(finder: &Finder<'_>, text: &[u8], places: &[&(u32, u32)], out: &mut Vec<bool>) {
    let start = out.len();
    out.resize(start + places.len(), false);
    let mut from = 0;
    while let Some(hit) = finder.find(&text[from..]) {
        let (hit, end) = (from + hit, from + hit + finder.needle().len());
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

