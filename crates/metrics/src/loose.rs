//! Loose cells: the open samples of a group that do not come in rows.
//!
//! Series that have instants of their own would make a row of one cell each, and a row costs a
//! hundred bytes. Their cells stand in one list per group instead, 16 bytes each, in the order in
//! which they came. When there are enough they are turned into a chunk like any other, whose rows are
//! all instants of them.
//!
//! Invariants: a cell stands here or in an open row, never in both; `newest_ms` of a column is not
//! older than any sample of it, open or sealed, so what is newer is met by nothing. Objects are never
//! here.

use crate::CHUNK_ROWS_MAX;
use crate::record::Part;
use vigie_model::{ABSENT, is_absent};

/// A row of more cells than this is kept as a row.
const CELLS_PER_ROW_MAX: usize = 8;
/// The list grows by so many cells: there is one for every eight series.
const GROW_CELLS: usize = 16;
/// Instants lie so far from the first one, at most.
const SPAN_MS: i64 = 1 << 31;
/// What a cell costs.
pub(crate) const CELL_BYTES: usize = size_of::<Cell>();

#[derive(Clone, Copy)]
struct Cell {
    /// Milliseconds after `base_ms`.
    offset: u32,
    column: u32,
    value: f64,
}

/// A cell with its column and instant.
pub(crate) type Sample = (u32, i64, f64);

pub(crate) struct Loose {
    base_ms: i64,
    cells: Vec<Cell>,
    min_ms: i64,
    max_ms: i64,
    /// By column.
    newest_ms: Vec<i64>,
}

/// Whether a part of a group of so many columns is better kept cell by cell.
pub(crate) fn suits(part: &Part, group_columns: usize) -> bool {
    let cells = part.columns.len();
    let few = cells == 1 || (cells <= CELLS_PER_ROW_MAX && cells * 8 <= group_columns);
    few && part.objects.is_empty()
}

impl Loose {
    /// Of a group of so many columns, with no sample that is newer than `newest_ms`.
    pub(crate) fn new(columns: usize, newest_ms: i64) -> Loose {
        Loose {
            base_ms: 0,
            cells: Vec::new(),
            min_ms: i64::MAX,
            max_ms: i64::MIN,
            newest_ms: vec![newest_ms; columns],
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.cells.len()
    }

    /// The oldest instant of a cell.
    pub(crate) fn oldest_ms(&self) -> Option<i64> {
        (!self.is_empty()).then_some(self.min_ms)
    }

    /// Whether the instant lies near enough to the others.
    pub(crate) fn takes(&self, ts_ms: i64) -> bool {
        let is_near =
            ts_ms.checked_sub(self.base_ms).is_some_and(|ms| (0..2 * SPAN_MS).contains(&ms));
        let can_start = ts_ms.checked_sub(SPAN_MS).is_some();
        if self.is_empty() { can_start } else { is_near }
    }

    /// The group has got more columns, which have no sample yet.
    pub(crate) fn grow(&mut self, columns: usize) {
        self.newest_ms.resize(columns, i64::MIN);
    }

    /// An instant that no sample of the column is newer than.
    pub(crate) fn newest_ms(&self, column: u32) -> i64 {
        self.newest_ms[column as usize]
    }

    /// Notes that a column has a sample elsewhere.
    pub(crate) fn note(&mut self, column: u32, ts_ms: i64) {
        let newest_ms = &mut self.newest_ms[column as usize];
        *newest_ms = (*newest_ms).max(ts_ms);
    }

    /// Notes that any column may have a sample elsewhere.
    pub(crate) fn note_all(&mut self, ts_ms: i64) {
        self.newest_ms.iter_mut().for_each(|newest_ms| *newest_ms = (*newest_ms).max(ts_ms));
    }

    /// Adds a cell that is not there yet, at an instant that [`Loose::takes`].
    pub(crate) fn push(&mut self, column: u32, ts_ms: i64, value: f64) {
        if self.cells.is_empty() {
            self.base_ms = ts_ms - SPAN_MS;
        }
        self.add(column, ts_ms, value);
    }

    /// Adds cells that were taken, before others are added.
    pub(crate) fn put_back(&mut self, cells: &[Sample]) {
        cells.iter().for_each(|(column, ts_ms, value)| self.add(*column, *ts_ms, *value));
    }

    fn add(&mut self, column: u32, ts_ms: i64, value: f64) {
        if self.cells.len() == self.cells.capacity() {
            self.cells.reserve_exact(GROW_CELLS);
        }
        let offset = u32::try_from(ts_ms - self.base_ms).expect("the instant was asked about");
        self.cells.push(Cell { offset, column, value });
        self.min_ms = self.min_ms.min(ts_ms);
        self.max_ms = self.max_ms.max(ts_ms);
        self.note(column, ts_ms);
    }

    /// The value at a place.
    pub(crate) fn value(&self, column: u32, ts_ms: i64) -> Option<f64> {
        if !self.may_have(ts_ms) || self.newest_ms(column) < ts_ms {
            return None;
        }
        let offset = u32::try_from(ts_ms - self.base_ms).ok()?;
        let cell = self.cells.iter().find(|cell| cell.offset == offset && cell.column == column);
        cell.map(|cell| cell.value)
    }

    /// Whether a cell may have the instant.
    pub(crate) fn may_have(&self, ts_ms: i64) -> bool {
        self.min_ms <= ts_ms && ts_ms <= self.max_ms
    }

    /// All cells, in the order in which they came.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Sample> + '_ {
        let base_ms = self.base_ms;
        self.cells
            .iter()
            .map(move |cell| (cell.column, base_ms + i64::from(cell.offset), cell.value))
    }

    /// All cells, which are forgotten.
    pub(crate) fn take(&mut self) -> Vec<Sample> {
        let cells = self.iter().collect();
        self.cells = Vec::new();
        (self.min_ms, self.max_ms) = (i64::MAX, i64::MIN);
        cells
    }
}

/// Cells as the rows and columns of one chunk.
pub(crate) struct Matrix {
    pub(crate) timestamps_ms: Vec<i64>,
    pub(crate) columns: Vec<u32>,
    /// Column by column, `ABSENT` where there is no cell.
    pub(crate) values: Vec<f64>,
}

impl Matrix {
    /// The cells again.
    pub(crate) fn cells(&self) -> impl Iterator<Item = Sample> + '_ {
        let rows = self.timestamps_ms.len();
        let cells = self.values.iter().enumerate().filter(|(_, value)| !is_absent(**value));
        cells.map(move |(at, value)| {
            (self.columns[at / rows], self.timestamps_ms[at % rows], *value)
        })
    }
}

/// Takes the oldest instants that a chunk has rows for out of cells, which are sorted by it.
pub(crate) fn take_matrix(cells: &mut Vec<Sample>) -> Matrix {
    cells.sort_unstable_by_key(|(column, ts_ms, _)| (*ts_ms, *column));
    let mut timestamps_ms: Vec<i64> = Vec::with_capacity(CHUNK_ROWS_MAX);
    let mut count = 0;
    for (_, ts_ms, _) in &*cells {
        if timestamps_ms.last() != Some(ts_ms) {
            if timestamps_ms.len() == CHUNK_ROWS_MAX {
                break;
            }
            timestamps_ms.push(*ts_ms);
        }
        count += 1;
    }
    let mut columns: Vec<u32> = cells[..count].iter().map(|cell| cell.0).collect();
    columns.sort_unstable();
    columns.dedup();
    let rows = timestamps_ms.len();
    let mut values = vec![ABSENT; rows * columns.len()];
    let mut row = 0;
    for (column, ts_ms, value) in cells.drain(..count) {
        while timestamps_ms[row] != ts_ms {
            row += 1;
        }
        let at = columns.binary_search(&column).expect("it was collected above");
        values[at * rows + row] = value;
    }
    Matrix { timestamps_ms, columns, values }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_found_and_taken_out() {
        let mut loose = Loose::new(2, 5);
        assert_eq!((loose.len(), loose.newest_ms(1), loose.oldest_ms()), (0, 5, None));
        loose.grow(3);
        assert_eq!(loose.newest_ms(2), i64::MIN);
        let cells = [(0, 10, 1.0), (2, -7, 2.0), (0, 3, 3.0)];
        for (column, ts_ms, value) in cells {
            assert!(loose.takes(ts_ms));
            loose.push(column, ts_ms, value);
        }
        assert_eq!(loose.value(0, 3), Some(3.0));
        assert_eq!((loose.value(0, 4), loose.value(1, 3), loose.value(2, 10)), (None, None, None));
        assert_eq!((loose.newest_ms(0), loose.newest_ms(1), loose.newest_ms(2)), (10, 5, -7));
        assert_eq!(loose.oldest_ms(), Some(-7));
        let taken = loose.take();
        assert_eq!(taken, cells);
        assert!(loose.is_empty() && loose.value(0, 3).is_none());
        // A failed seal puts them back in any order.
        let turned: Vec<Sample> = taken.into_iter().rev().collect();
        loose.put_back(&turned);
        assert_eq!((loose.value(2, -7), loose.len()), (Some(2.0), 3));
    }

    #[test]
    fn instants_that_lie_too_far_apart_are_not_taken() {
        let mut loose = Loose::new(1, i64::MIN);
        assert!(!loose.takes(i64::MIN) && loose.takes(i64::MAX));
        loose.push(0, 1_700_000_000_000, 1.0);
        for (ts_ms, takes) in [
            (1_700_000_000_000 - SPAN_MS, true),
            (1_700_000_000_000 - SPAN_MS - 1, false),
            (1_700_000_000_000 + SPAN_MS - 1, true),
            (1_700_000_000_000 + SPAN_MS, false),
            (i64::MIN, false),
            (i64::MAX, false),
        ] {
            assert_eq!(loose.takes(ts_ms), takes, "{ts_ms}");
        }
        let ends = [1_700_000_000_000 - SPAN_MS, 1_700_000_000_000 + SPAN_MS - 1];
        ends.iter().for_each(|ts_ms| loose.push(0, *ts_ms, 2.0));
        let mut cells = loose.take();
        cells.sort_by_key(|cell| cell.1);
        loose.put_back(&cells);
        assert!(ends.iter().all(|ts_ms| loose.value(0, *ts_ms) == Some(2.0)));
    }

    #[test]
    fn a_matrix_takes_the_oldest_instants_and_leaves_the_rest() {
        let all: Vec<Sample> =
            (0..500).map(|n: u32| (n % 7, i64::from(n * 37 % 250), f64::from(n))).collect();
        let (mut cells, mut found) = (all.clone(), Vec::new());
        let mut before_ms = i64::MIN;
        while !cells.is_empty() {
            let matrix = take_matrix(&mut cells);
            assert!(matrix.timestamps_ms.len() <= CHUNK_ROWS_MAX);
            assert!(matrix.timestamps_ms[0] > before_ms);
            before_ms = *matrix.timestamps_ms.last().unwrap();
            assert_eq!(matrix.values.len(), matrix.timestamps_ms.len() * matrix.columns.len());
            found.extend(matrix.cells());
        }
        let sorted = |mut cells: Vec<Sample>| {
            cells.sort_by_key(|cell| (cell.0, cell.1));
            cells
        };
        assert_eq!(sorted(found), sorted(all));
    }
}
