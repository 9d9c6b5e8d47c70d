//! Which series live, which were forgotten, and what is done about those that damage has taken.

use super::{Heads, NO_GROUP, NO_SERIES, Place};
use crate::bitmap::Bitmap;
use crate::catalog::{Catalog, NO_PAIR};
use crate::segment::Scanned;
use std::sync::Arc;
use vigie_model::{Histogram, Row, STALE_NAN, SeriesId};

/// Series written to their list under one hold of the lock, give or take a group.
const SERIES_PER_STEP: usize = 1 << 15;

impl Heads {
    /// The numbers of series that blocks and segments have and nobody knows, ascending.
    pub(crate) fn lost_ids(&self) -> Vec<u32> {
        let mut all = Bitmap::default();
        self.segments.list.iter().for_each(|segment| all.union(&segment.series));
        self.blocks.iter().for_each(|block| all.union(&block.series));
        let mut ids = all.ids();
        ids.retain(|id| self.place(*id).is_none());
        ids
    }

    /// The series of which something is kept.
    pub(crate) fn living(&self) -> Bitmap {
        let mut living = Bitmap::default();
        self.segments.list.iter().for_each(|segment| living.union(&segment.series));
        self.blocks.iter().for_each(|block| living.union(&block.series));
        for group in &self.groups {
            let mut before: Option<&Arc<[u32]>> = None;
            for row in &group.rows {
                if !before.is_some_and(|columns| Arc::ptr_eq(columns, &row.columns)) {
                    let ids = row.columns.iter().map(|column| group.series[*column as usize]);
                    ids.for_each(|id| living.insert(id));
                }
                before = Some(&row.columns);
            }
            let loose = group.loose_cells().map(|(column, ..)| group.series[column as usize]);
            loose.for_each(|id| living.insert(id));
        }
        living
    }

    /// Takes series out of their places, which no other series gets, and follows a catalogue that
    /// numbers its pairs anew.
    pub(crate) fn forget(&mut self, dead: &Bitmap, catalog: &Catalog) {
        for id in dead.ids() {
            let Some(Place { group, column }) = self.place(id) else { continue };
            self.groups[group as usize].series[column as usize] = NO_SERIES;
            self.places[id as usize].group = NO_GROUP;
            self.placed -= 1;
        }
        self.pending.retain(|id| !dead.contains(*id));
        self.unlogged.retain(|id| !dead.contains(*id));
        self.pools.clear();
        for group in &mut self.groups {
            match group.series.iter().find(|id| **id != NO_SERIES) {
                Some(id) => {
                    let pair = |name| catalog.pair_named(*id, name);
                    group.key = (pair("job"), pair("instance"));
                }
                // No series leads to it any more, so none can be added.
                None if group.is_sealed() && group.chunks.is_empty() => {
                    group.series = Vec::new();
                    group.rows = Vec::new();
                    group.loose = None;
                    group.chunks = Vec::new();
                    group.key = (NO_PAIR, NO_PAIR);
                }
                None => {}
            }
        }
    }

    /// Once series are lost, groups of which no series is known may have samples.
    pub(super) fn know_if_lost(&mut self, group: u32) {
        if self.has_lost_series && (group as usize) < self.groups.len() + crate::GROUP_GAP_MAX {
            self.know_groups(group as usize + 1);
        }
    }

    /// The series of a scanned chunk, or `None` when one of its columns is not known, unless it may
    /// be one that the list of series has lost.
    pub(crate) fn series_of(&self, scanned: &Scanned) -> Option<Vec<u32>> {
        let none = Vec::new();
        let may_be_lost = self.has_lost_series || scanned.group < self.closed_groups;
        let series = match self.groups.get(scanned.group as usize) {
            Some(group) => &group.series,
            None if may_be_lost => &none,
            None => return None,
        };
        let mut known = Vec::with_capacity(scanned.columns.len());
        for column in &scanned.columns {
            match series.get(*column as usize) {
                Some(id) if *id != NO_SERIES => known.push(*id),
                Some(_) => {}
                None if may_be_lost => {}
                None => return None,
            }
        }
        Some(known)
    }

    /// Whether a row has a series that was forgotten.
    pub(super) fn has_forgotten(&self, row: &Row<'_>, catalog: &Catalog) -> bool {
        let mut without = row.series.iter().filter(|id| self.place(id.0).is_none());
        without.any(|id| {
            assert!((id.0 as usize) < catalog.len(), "series {} is of another store", id.0);
            !catalog.knows(id.0)
        })
    }

    /// The series of the groups from `first` on, and the group at which to go on.
    pub(crate) fn placed_from(&self, first: usize, end: usize) -> (Vec<u32>, usize) {
        let (mut ids, mut at) = (Vec::new(), first);
        while at < end && ids.len() < SERIES_PER_STEP {
            ids.extend(self.groups[at].series.iter().filter(|id| **id != NO_SERIES));
            at += 1;
        }
        (ids, at)
    }

    /// Gives no column of a group below `count`, nor such a number, to a new series.
    pub(crate) fn close_groups(&mut self, count: u32) {
        self.closed_groups = self.closed_groups.max(count);
        self.know_groups(count as usize);
    }
}

/// A row without the series that were forgotten.
pub(super) struct Known<'a> {
    series: Vec<SeriesId>,
    values: Vec<f64>,
    histograms: Vec<(usize, &'a Histogram)>,
}

impl<'a> Known<'a> {
    /// `None` when a forgotten series has more to say than that it ended.
    pub(super) fn of(row: &Row<'a>, catalog: &Catalog) -> Option<Known<'a>> {
        let mut known = Known { series: vec![], values: vec![], histograms: vec![] };
        let mut histograms = row.histograms.iter().peekable();
        for (at, (id, value)) in row.series.iter().zip(row.values).enumerate() {
            let histogram = histograms.next_if(|(index, _)| *index == at).map(|(_, h)| *h);
            if !catalog.knows(id.0) {
                let says = histogram.map_or(*value, |histogram| histogram.sum);
                if says.to_bits() != STALE_NAN.to_bits() {
                    return None;
                }
                continue;
            }
            known.histograms.extend(histogram.map(|histogram| (known.series.len(), histogram)));
            known.series.push(*id);
            known.values.push(*value);
        }
        Some(known)
    }

    pub(super) fn row(&self, ts_ms: i64) -> Row<'_> {
        let Known { series, values, histograms } = self;
        Row { ts_ms, series, values, histograms }
    }
}
