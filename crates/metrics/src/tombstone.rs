//! Deletions: which samples of which series are hidden until a compaction leaves them out.
//!
//! A tombstone speaks of what was there when it was made: segments and blocks up to two numbers.
//! What comes in later, the same samples sent again included, has higher numbers and is not hidden;
//! the output of a compaction that applied a tombstone has, too.

use crate::bitmap::Bitmap;
use crate::manifest::{put_span, span};
use std::sync::Arc;
use vigie_disk::wire::{Bad, Bytes, put_runs, put_uint};

/// Most series of one tombstone, as a guard against damage.
const SERIES_MAX: usize = 1 << 24;

/// Where samples stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Segment(u32),
    Block(u32),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tombstone {
    /// A new segment has a larger number, after a restart too.
    pub(crate) segment_max: u32,
    block_max: u32,
    pub(crate) min_ms: i64,
    pub(crate) max_ms: i64,
    pub(crate) series: Bitmap,
}

impl Tombstone {
    /// Hides the samples of `series` from one instant to another, both included, in segments and
    /// blocks up to these numbers.
    pub(crate) fn new(
        segment_max: u32,
        block_max: u32,
        (min_ms, max_ms): (i64, i64),
        series: &[u32],
    ) -> Tombstone {
        assert!(min_ms <= max_ms, "a tombstone ends before it starts");
        let mut bitmap = Bitmap::default();
        series.iter().for_each(|id| bitmap.insert(*id));
        Tombstone { segment_max, block_max, min_ms, max_ms, series: bitmap }
    }

    pub(crate) fn speaks_of(&self, source: Source) -> bool {
        match source {
            Source::Segment(id) => id <= self.segment_max,
            Source::Block(id) => id <= self.block_max,
        }
    }

    /// Whether samples of these series from `min_ms` to `max_ms` in `source` may be hidden.
    pub(crate) fn touches(
        &self,
        source: Source,
        (min_ms, max_ms): (i64, i64),
        series: &Bitmap,
    ) -> bool {
        let overlaps = self.min_ms <= max_ms && min_ms <= self.max_ms;
        overlaps && self.speaks_of(source) && self.series.meets(series)
    }

    /// Whether a sample is hidden.
    pub(crate) fn hides(&self, source: Source, series: u32, ts_ms: i64) -> bool {
        let inside = (self.min_ms..=self.max_ms).contains(&ts_ms);
        inside && self.speaks_of(source) && self.series.contains(series)
    }
}

/// The tombstones that speak of a source and overlap a span.
pub(crate) fn of(
    all: &[Arc<Tombstone>],
    source: Source,
    (min_ms, max_ms): (i64, i64),
) -> Vec<Arc<Tombstone>> {
    let here = all.iter().filter(|tombstone| {
        let overlaps = tombstone.min_ms <= max_ms && min_ms <= tombstone.max_ms;
        overlaps && tombstone.speaks_of(source)
    });
    here.cloned().collect()
}

pub(crate) fn put(out: &mut Vec<u8>, tombstone: &Tombstone) {
    put_uint(out, u64::from(tombstone.segment_max));
    put_uint(out, u64::from(tombstone.block_max));
    put_span(out, tombstone.min_ms, tombstone.max_ms);
    put_runs(out, &tombstone.series.ids());
}

pub(crate) fn get(input: &mut Bytes<'_>) -> Result<Tombstone, Bad> {
    let segment_max = input.count(u32::MAX as usize)? as u32;
    let block_max = input.count(u32::MAX as usize)? as u32;
    let times = span(input)?;
    Ok(Tombstone::new(segment_max, block_max, times, &input.runs(SERIES_MAX)?))
}
