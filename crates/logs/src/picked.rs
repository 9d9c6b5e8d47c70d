//! Some rows of a block, as a block: what is left of one in which rows were deleted.

use crate::numbers::Numbers;
use std::sync::Arc;
use vigie_model::blocks::{AnyOf, Keys, LogBlock, Shapes, SlotValues};
use vigie_model::{Labels, ReadError, StreamId};

/// The rows at `picks` of another block.
pub(crate) struct Picked {
    block: Arc<dyn LogBlock>,
    picks: Vec<usize>,
    ts_ns: Vec<i64>,
    /// Streams and metadata sets, if the block has them.
    keys: Option<(Numbers, Numbers)>,
    /// Shapes and ranks, likewise.
    shapes: Option<(Numbers, Numbers)>,
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
        let picked = |codes| Numbers::picked_of(codes, &picks);
        let keys = block.keys().map(|k| (picked(k.stream_of_row), picked(k.set_of_row)));
        let shapes = block.shapes().map(|shapes| (picked(shapes.of_row), picked(shapes.ranks)));
        Some(Arc::new(Picked { ts_ns, keys, shapes, picks, block }))
    }

    /// Asks a question about some of the rows of the whole block.
    fn among_all(
        &self,
        rows: &mut [bool],
        ask: impl FnOnce(&mut [bool]) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let mut all = vec![false; self.block.timestamps_ns().len()];
        self.picks.iter().zip(&*rows).for_each(|(&pick, &row)| all[pick] = row);
        ask(&mut all)?;
        rows.iter_mut().zip(&self.picks).for_each(|(row, &pick)| *row = all[pick]);
        Ok(())
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

    fn keys(&self) -> Option<Keys<'_>> {
        let Keys { streams, sets, .. } = self.block.keys()?;
        let (of_streams, of_sets) = self.keys.as_ref()?;
        let all = 0..self.picks.len();
        let (stream_of_row, set_of_row) = (of_streams.of(&all), of_sets.of(&all));
        Some(Keys { streams, stream_of_row, sets, set_of_row })
    }

    fn contains(&self, needle: &[u8], rows: &mut [bool]) -> Result<(), ReadError> {
        self.among_all(rows, |all| self.block.contains(needle, all))
    }

    fn contains_any(&self, any: &AnyOf, rows: &mut [bool]) -> Result<(), ReadError> {
        self.among_all(rows, |all| self.block.contains_any(any, all))
    }

    fn shapes(&self) -> Option<Shapes<'_>> {
        let shapes = self.block.shapes()?.shapes;
        let (of_row, ranks) = self.shapes.as_ref()?;
        let all = 0..self.picks.len();
        Some(Shapes { shapes, of_row: of_row.of(&all), ranks: ranks.of(&all) })
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
