//! What chunks and blocks say about cells that arrive: are they there already?
//!
//! Late and repeated rows only; a row newer than everything sealed is never compared.

use crate::block::Block;
use crate::head::Heads;
use crate::object::{self, Objects};
use crate::section;
use crate::strip::Strip;
use crate::tombstone::Source;
use crate::{Appended, CHUNK_ROWS_MAX};
use std::cell::Cell;
use std::sync::Arc;
use vigie_disk::DiskError;
use vigie_disk::wire::Bad;
use vigie_model::{ABSENT, Histogram, is_absent};

/// What stands at a place.
pub(crate) enum Stored {
    Nothing,
    Value(f64),
    Object(Arc<Histogram>),
}

impl Stored {
    /// What row `at` of a strip of `rows` rows holds.
    pub(crate) fn in_strip(strip: Strip<'_>, rows: usize, at: usize) -> Result<Stored, Bad> {
        let mut values = [ABSENT; CHUNK_ROWS_MAX];
        strip.decode(&mut values[..rows])?;
        let mut stored = Stored::of(values[at]);
        strip.decode_objects(rows, &mut |row, histogram| {
            if row == at {
                stored = Stored::Object(histogram);
            }
        })?;
        Ok(stored)
    }

    fn of(value: f64) -> Stored {
        if is_absent(value) { Stored::Nothing } else { Stored::Value(value) }
    }

    /// Counts a cell that meets this; `false` when there is nothing to meet.
    pub(crate) fn is_met_by(
        &self,
        value: f64,
        given: Option<&[u8]>,
        counts: &mut Appended,
    ) -> bool {
        let is_same = match (self, given) {
            (Stored::Nothing, _) => return false,
            (Stored::Value(stored), _) => stored.to_bits() == value.to_bits(),
            (Stored::Object(_), None) => false,
            (Stored::Object(stored), Some(given)) => {
                let mut alone = Vec::new();
                object::encode(None, stored, &mut alone);
                object::is_same(&alone, given)
            }
        };
        counts.met(is_same, given.is_some());
        true
    }
}

/// The cells of one instant of a group that a block does not have, or only hidden.
pub(crate) fn without_those_in(
    heads: &Heads,
    block: &Block,
    (group, ts_ms): (u32, i64),
    cells: &[(u32, f64)],
    objects: &Objects,
    counts: &mut Appended,
) -> Result<Vec<(u32, f64)>, DiskError> {
    let mut left = cells.to_vec();
    for place in block.places_of(group, (ts_ms, ts_ms))? {
        let head = block.head(&place)?;
        let Ok(at) = head.timestamps_ms.binary_search(&ts_ms) else { continue };
        let rows = head.timestamps_ms.len();
        let mut still = Vec::with_capacity(left.len());
        for (column, value) in left {
            let id = heads.groups[group as usize].series[column as usize];
            let source = Source::Block(block.entry.id);
            let hidden = heads.tombstones.iter().any(|t| t.hides(source, id, ts_ms));
            let slot = if hidden { None } else { head.slot(column) };
            let body = slot.map(|slot| block.body_in(&head, slot)).transpose()?.flatten();
            let stored = Cell::new(ABSENT);
            let mut object = None;
            if let Some(body) = body {
                let take = &mut |first: usize, page: &[f64]| {
                    if let Some(value) = at.checked_sub(first).and_then(|at| page.get(at)) {
                        stored.set(*value);
                    }
                };
                let wanted = |page: std::ops::Range<usize>| page.contains(&at);
                let corrupt = |what| block.corrupt(place.head_offset, what);
                section::each_page(&body, rows, &wanted, take).map_err(corrupt)?;
                if head.has_objects(column) {
                    section::each_object(&body, rows, &wanted, &mut |row, histogram| {
                        if row == at {
                            object = Some(histogram);
                        }
                    })
                    .map_err(corrupt)?;
                }
            }
            let stored = object.map_or_else(|| Stored::of(stored.get()), Stored::Object);
            if !stored.is_met_by(value, objects.get(column), counts) {
                still.push((column, value));
            }
        }
        left = still;
    }
    Ok(left)
}
