//! An open row: one instant of a group, in memory until a chunk takes it.
//!
//! A cell is a float or an object (a native histogram): the value of an object's cell is [`ABSENT`],
//! a payload that no float has here, and its bytes stand beside. So rows of floats, nearly all there
//! are, pay a null pointer for it.

use crate::Appended;
use crate::chunk::ObjectColumn;
use crate::object::{self, Objects};
use crate::record::Part;
use std::collections::BTreeMap;
use std::sync::Arc;
use vigie_model::{ABSENT, is_absent};

/// What an open row costs beside its values.
const ROW_BYTES: usize = 88;
static NO_OBJECTS: Objects = Objects::NONE;

/// One instant of a group.
#[derive(Clone, Debug)]
pub(crate) struct OpenRow {
    pub(crate) ts_ms: i64,
    /// Ascending; shared with the row before when it has the same.
    pub(crate) columns: Arc<[u32]>,
    /// [`ABSENT`] where there is an object.
    pub(crate) values: Vec<f64>,
    objects: Option<Box<Objects>>,
}

impl OpenRow {
    /// The cells of a part; `like` has the columns of another row, which are shared if they are the
    /// same.
    pub(crate) fn new(part: Part, like: Option<&Arc<[u32]>>) -> OpenRow {
        let columns = match like {
            Some(columns) if **columns == *part.columns => columns.clone(),
            _ => part.columns.into(),
        };
        let mut row = OpenRow { ts_ms: part.ts_ms, columns, values: part.values, objects: None };
        row.set_objects(part.objects);
        row
    }

    /// The cells again, for the door.
    pub(crate) fn to_part(&self, group: u32) -> Part {
        Part {
            group,
            ts_ms: self.ts_ms,
            columns: self.columns.to_vec(),
            values: self.values.clone(),
            objects: self.objects().clone(),
        }
    }

    /// Memory of the row.
    pub(crate) fn bytes(&self) -> usize {
        ROW_BYTES + 8 * self.values.len() + self.object_bytes()
    }

    /// Of that, what the objects take.
    pub(crate) fn object_bytes(&self) -> usize {
        self.objects.as_ref().map_or(0, |objects| size_of::<Objects>() + objects.heap_bytes())
    }

    pub(crate) fn objects(&self) -> &Objects {
        self.objects.as_deref().unwrap_or(&NO_OBJECTS)
    }

    pub(crate) fn value(&self, column: u32) -> Option<f64> {
        // The usual row has all columns of its group.
        match self.columns.get(column as usize) {
            Some(found) if *found == column => Some(self.values[column as usize]),
            _ => self.columns.binary_search(&column).ok().map(|at| self.values[at]),
        }
    }

    /// Adds the cells of a part that are not there yet.
    pub(crate) fn merge(&mut self, part: &Part, counts: &mut Appended) {
        let mut new = Vec::new();
        for (column, value) in part.columns.iter().zip(&part.values) {
            let Some(known) = self.value(*column) else {
                new.push((*column, *value));
                continue;
            };
            let objects = (self.objects().get(*column), part.objects.get(*column));
            counts.met(known.to_bits() == value.to_bits() && is_same(objects), objects.1.is_some());
        }
        if new.is_empty() {
            return;
        }
        let known = self.columns.iter().copied().zip(self.values.iter().copied());
        let mut cells: Vec<(u32, f64)> = known.chain(new).collect();
        cells.sort_unstable_by_key(|(column, _)| *column);
        let mut objects = Objects::default();
        for (column, _) in cells.iter().filter(|(_, value)| is_absent(*value)) {
            let found = self.objects().get(*column).or_else(|| part.objects.get(*column));
            objects.push(*column, found.expect("a cell without a value has an object"));
        }
        let (columns, values): (Vec<u32>, Vec<f64>) = cells.into_iter().unzip();
        self.columns = columns.into();
        self.values = values;
        self.set_objects(objects);
    }

    fn set_objects(&mut self, objects: Objects) {
        self.objects = (!objects.is_empty()).then(|| Box::new(objects));
    }
}

fn is_same(objects: (Option<&[u8]>, Option<&[u8]>)) -> bool {
    match objects {
        (None, None) => true,
        (Some(known), Some(given)) => object::is_same(known, given),
        _ => false,
    }
}

/// The columns that have a cell in any of the rows, ascending.
pub(crate) fn columns_of(rows: &[Arc<OpenRow>]) -> Arc<[u32]> {
    let first = &rows[0].columns;
    if rows.iter().all(|row| Arc::ptr_eq(&row.columns, first)) {
        return first.clone();
    }
    let mut columns: Vec<u32> = first.to_vec();
    for pair in rows.windows(2) {
        if !Arc::ptr_eq(&pair[0].columns, &pair[1].columns) {
            columns.extend_from_slice(&pair[1].columns);
        }
    }
    columns.sort_unstable();
    columns.dedup();
    columns.into()
}

/// Turns rows into columns, which must be asked for in order.
pub(crate) struct Turned<'a> {
    /// Per row: its columns and values that were not handed out yet.
    rest: Vec<(&'a [u32], &'a [f64])>,
    columns: &'a [u32],
    /// All rows have all columns.
    is_full: bool,
}

impl<'a> Turned<'a> {
    pub(crate) fn new(rows: &'a [Arc<OpenRow>], columns: &'a [u32]) -> Turned<'a> {
        let is_full = rows.iter().all(|row| row.columns.len() == columns.len());
        let rest = rows.iter().map(|row| (&*row.columns, &row.values[..])).collect();
        Turned { rest, columns, is_full }
    }

    /// Fills `out` with the rows of the column at an index: `ABSENT` where there is none.
    pub(crate) fn fill(&mut self, at: usize, out: &mut [f64]) {
        if self.is_full {
            out.iter_mut().zip(&self.rest).for_each(|(out, (_, values))| *out = values[at]);
            return;
        }
        let column = self.columns[at];
        for (out, (columns, values)) in out.iter_mut().zip(&mut self.rest) {
            *out = ABSENT;
            if columns.first() == Some(&column) {
                *out = values[0];
                (*columns, *values) = (&columns[1..], &values[1..]);
            }
        }
    }
}

/// The objects of the rows by column.
pub(crate) fn objects_of(rows: &[Arc<OpenRow>]) -> Vec<ObjectColumn> {
    let mut columns: BTreeMap<u32, _> = BTreeMap::new();
    for (at, row) in rows.iter().enumerate() {
        for (column, bytes) in row.objects().iter() {
            let histogram = object::decode_alone(bytes).expect("open rows hold what was checked");
            columns.entry(column).or_insert_with(Vec::new).push((at as u32, histogram));
        }
    }
    columns.into_iter().collect()
}
