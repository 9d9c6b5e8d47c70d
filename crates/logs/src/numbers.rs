//! Small numbers, one for each row of a block: streams, shapes, metadata sets, ranks.
//!
//! Mostly all rows have the same, and then nothing is kept for each.

use std::ops::Range;
use vigie_model::blocks::Codes;

/// A number for each row.
#[derive(Debug)]
pub(crate) enum Numbers {
    /// The same for all.
    Same(u32),
    /// One after the other, from 0 on.
    Ascending,
    /// Row by row.
    Each(Vec<u32>),
}

impl Numbers {
    /// The number of a row.
    pub(crate) fn at(&self, row: usize) -> u32 {
        match self {
            Numbers::Same(number) => *number,
            Numbers::Ascending => row as u32,
            Numbers::Each(numbers) => numbers[row],
        }
    }

    /// Those of some rows that follow each other.
    pub(crate) fn of(&self, rows: &Range<usize>) -> Codes<'_> {
        match self {
            Numbers::Same(number) => Codes::Same(*number),
            Numbers::Ascending => Codes::From(rows.start as u32),
            Numbers::Each(numbers) => Codes::Each(&numbers[rows.clone()]),
        }
    }

    /// Those of some rows.
    pub(crate) fn picked(&self, picks: &[usize]) -> Numbers {
        match self {
            Numbers::Same(number) => Numbers::Same(*number),
            Numbers::Ascending => Numbers::Each(picks.iter().map(|&row| row as u32).collect()),
            Numbers::Each(numbers) => {
                Numbers::Each(picks.iter().map(|&row| numbers[row]).collect())
            }
        }
    }

    /// Those of codes.
    pub(crate) fn picked_of(codes: Codes<'_>, picks: &[usize]) -> Numbers {
        match codes {
            Codes::Same(number) => Numbers::Same(number),
            codes => Numbers::Each(picks.iter().map(|&row| codes.at(row)).collect()),
        }
    }
}
