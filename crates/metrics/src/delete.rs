//! `delete_series`: hides samples at once and durably; a compaction leaves them out for good.

use crate::MetricsError;
use crate::bitmap::Bitmap;
use crate::head::Heads;
use crate::manifest;
use crate::planted::{self, Bug};
use crate::store::Store;
use crate::tombstone::{Source, Tombstone};
use std::sync::Arc;
use vigie_disk::DiskError;
use vigie_model::{Matcher, TimeRange};

/// Deletions that may wait to be folded in.
const TOMBSTONES_MAX: usize = 10_000;

impl Store {
    /// Deletes the samples in a range of the series that fulfil all matchers. Durable when this
    /// returns, and no query sees them any more. Samples that arrive later, in this range too, are
    /// not deleted.
    ///
    /// Returns how many series are affected.
    pub fn delete_series(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<usize, MetricsError> {
        let mut ids = self.live_ids(matchers, range);
        let count = ids.len();
        if ids.is_empty() || range.start_ms > range.end_ms {
            return Ok(0);
        }
        if self.manifest.lock().tombstones.len() >= TOMBSTONES_MAX {
            return Err(MetricsError::Limit(format!(
                "{TOMBSTONES_MAX} deletions wait to be folded in: clean the tombstones first \
                 (POST /api/v1/admin/tsdb/clean_tombstones)"
            )));
        }
        // Their start timestamps go with them.
        let companions = self.catalog.read().select_companions(matchers);
        ids.extend(self.living(companions, range));
        // Open rows have no number to speak of: they are sealed, the log forgets them, and the
        // segment gets no more chunks.
        self.seal_rows_of(&ids, range)?;
        // A compaction that is under way has taken its numbers, so the tombstone speaks of its output.
        let mut manifest = self.manifest.lock();
        let segment_max = self.heads.lock().segments.last_closed();
        let block_max = manifest.block_next.saturating_sub(1);
        let mut next = manifest.clone();
        let span = (range.start_ms, range.end_ms);
        next.tombstones.push(Arc::new(Tombstone::new(segment_max, block_max, span, &ids)));
        if !planted::is(Bug::DeletionForgotten) {
            manifest::store(&*self.disk, &self.dir, &next)?;
        }
        *manifest = next;
        self.heads.lock().tombstones.clone_from(&manifest.tombstones);
        Ok(count)
    }

    fn seal_rows_of(&self, ids: &[u32], range: TimeRange) -> Result<(), DiskError> {
        let mut wanted = Bitmap::default();
        ids.iter().for_each(|id| wanted.insert(*id));
        let groups = {
            let heads = self.heads.lock();
            let has_rows = |group: &&u32| {
                let group = &heads.groups[**group as usize];
                let in_range = group.rows.iter().any(|row| range.contains(row.ts_ms))
                    || group.loose_cells().any(|(_, ts_ms, _)| range.contains(ts_ms));
                in_range && group.series.iter().any(|id| wanted.contains(*id))
            };
            let all: Vec<u32> = (0..heads.groups.len() as u32).collect();
            all.iter().filter(has_rows).copied().collect::<Vec<_>>()
        };
        self.seal_groups(&groups, |_| true)?;
        // Without a new part of the log an old row of it could come back after a crash.
        self.checkpoint()?;
        self.close_active()
    }
}

impl Heads {
    /// Whether a tombstone still hides something.
    pub(crate) fn has_hidden(&self, tombstone: &Tombstone) -> bool {
        let in_segments = self.segments.list.iter().any(|segment| {
            let span = (segment.min_ms, segment.max_ms);
            tombstone.touches(Source::Segment(segment.id), span, &segment.series)
        });
        in_segments
            || self.blocks.iter().any(|block| {
                tombstone.touches(Source::Block(block.entry.id), block.span(), &block.series)
            })
    }

    /// Takes out of `series` those of which a source has nothing in a range that is not hidden.
    pub(crate) fn without_hidden(
        &self,
        series: &mut Bitmap,
        source: Source,
        (min_ms, max_ms): (i64, i64),
    ) {
        for tombstone in &self.tombstones {
            let covers = tombstone.min_ms <= min_ms && max_ms <= tombstone.max_ms;
            if covers && tombstone.speaks_of(source) {
                series.subtract(&tombstone.series);
            }
        }
    }
}
