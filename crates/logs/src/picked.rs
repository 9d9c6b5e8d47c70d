//! Some rows of a block, as a block: what is left of one in which rows were deleted.

use std::sync::Arc;
use vigie_model::blocks::{LogBlock, Shapes, SlotValues};
use vigie_model::{Labels, ReadError, StreamId};

/// The rows at `picks` of another block.
pub(crate) struct Picked {
    block: Arc<dyn LogBlock>,
    picks: Vec<usize>,
    ts_ns: Vec<i64>,
    shapes: Vec<u32>,
    ranks: Vec<u32>,
}

impl Picked {
    /// The rows that stay; the block itself when all do, `None` when none does.
    pub(crate) fn of(block: Arc<dyn LogBlock>, stays: &[bool]) -> Option<Arc<dyn LogBlock>> {
        if stays.iter().all(|stays| *stays) {
            return Some(block);
        }
        let picks: Vec<usize> = (0..stays.len()).filter(|&row| stays[row]).collect();
        if picks.is_empty() {
            return None;
        }
        let ts_ns = picks.iter().map(|&row| block.timestamps_ns()[row]).collect();
        let of_picks = |all: fn(Shapes<'_>) -> &[u32]| match block.shapes() {
            Some(shapes) => picks.iter().map(|&row| all(shapes)[row]).collect(),
            None => Vec::new(),
        };
        let (shapes, ranks) = (of_picks(|all| all.of_row), of_picks(|all| all.ranks));
        Some(Arc::new(Picked { ts_ns, shapes, ranks, picks, block }))
    }
}

impl LogBlock for Picked {
    fn timestamps_ns(&self) -> &[i64] {
        &self.ts_ns
    }

    fn stream(&self, row: usize) -> StreamId {
        self.block.stream(self.picks[row])
    }

    fn metadata(&self, row: usize) -> Labels {
        self.block.metadata(self.picks[row])
    }

    fn metadata_set(&self, row: usize) -> u32 {
        self.block.metadata_set(self.picks[row])
    }

    fn contains(&self, needle: &[u8], rows: &mut [bool]) -> Result<(), ReadError> {
        let mut all = vec![false; self.block.timestamps_ns().len()];
        self.picks.iter().zip(&*rows).for_each(|(&pick, &row)| all[pick] = row);
        self.block.contains(needle, &mut all)?;
        rows.iter_mut().zip(&self.picks).for_each(|(row, &pick)| *row = all[pick]);
        Ok(())
    }

    fn shapes(&self) -> Option<Shapes<'_>> {
        let shapes = self.block.shapes()?.shapes;
        Some(Shapes { shapes, of_row: &self.shapes, ranks: &self.ranks })
    }

    fn values(&self, shape: usize, slot: usize) -> Result<SlotValues<'_>, ReadError> {
        self.block.values(shape, slot)
    }

    fn value(
        &self,
        shape: usize,
        slot: usize,
        rank: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), ReadError> {
        self.block.value(shape, slot, rank, out)
    }

    fn line(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ReadError> {
        self.block.line(self.picks[row], out)
    }
}
