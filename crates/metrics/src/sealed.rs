//! What a block says about cells that arrive: are they there already?
//!
//! Late and repeated rows only; a row newer than everything sealed is never compared.

use crate::Appended;
use crate::block::Block;
use crate::head::Heads;
use crate::section;
use crate::tombstone::Source;
use std::cell::Cell;
use vigie_disk::DiskError;
use vigie_model::ABSENT;

/// The cells of one instant of a group that a block does not have, or only hidden.
pub(crate) fn without_those_in(
    heads: &Heads,
    block: &Block,
    group: u32,
    ts_ms: i64,
    cells: &[(u32, f64)],
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
            if let Some(body) = body {
                let take = &mut |first: usize, page: &[f64]| {
                    if let Some(value) = at.checked_sub(first).and_then(|at| page.get(at)) {
                        stored.set(*value);
                    }
                };
                section::each_page(&body, rows, &|page| page.contains(&at), take)
                    .map_err(|what| block.corrupt(place.head_offset, what))?;
            }
            match stored.get().to_bits() {
                bits if bits == ABSENT.to_bits() => still.push((column, value)),
                bits if bits == value.to_bits() => counts.duplicates += 1,
                _ => counts.conflicting += 1,
            }
        }
        left = still;
    }
    Ok(left)
}
