//! Start timestamps: when what a sample counts began.
//!
//! A series with start timestamps has a *companion*, a series of the store's own (see
//! `catalog::starts`): its samples are the starts in milliseconds, at the instants of the samples
//! they belong to. So the log, the chunks, compaction, retention,
//! deletions and forgetting treat them as they treat samples, and no format speaks of them.
//!
//! A companion is made with the first start of its series, is in no list and no selection, and counts
//! against no limit. Only [`Store::select_with_starts`] reads it, and joins the two by series and
//! instant: a start whose sample was refused is therefore never seen.
//! A start is kept as it was said, also one after its sample, as Prometheus keeps it. Left out are 0,
//! which means that it is not known, and what a float cannot hold exactly.

use crate::head::Heads;
use crate::{Appended, Durability, MetricsError, Store};
use hashbrown::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use vigie_model::{
    Histogram, Matcher, MetricGroup, ReadError, Row, Selection, SeriesId, TimeRange, is_absent,
};

/// Up to here a float holds every whole number.
const START_MS_MAX: u64 = 1 << 53;
/// A series whose companion is not looked up yet.
const NOT_KNOWN: u32 = u32::MAX;

impl Store {
    /// Takes in start timestamps of samples that were appended before: the series, the instant of
    /// the sample, and the start. What becomes of each is counted as samples are.
    /// Does nothing where [`crate::Options::starts`] is off.
    ///
    /// # Errors
    /// As [`Store::append`].
    pub fn append_starts(
        &self,
        starts: &[(SeriesId, i64, i64)],
        durability: Durability,
    ) -> Result<Appended, MetricsError> {
        if !self.options.starts {
            return Ok(Appended::default());
        }
        let is_known = |(.., start_ms): &&(SeriesId, i64, i64)| {
            *start_ms != 0 && start_ms.unsigned_abs() <= START_MS_MAX
        };
        let mut starts: Vec<_> = starts.iter().filter(is_known).copied().collect();
        // The order of the series of an instant stays: it is that in which they come again.
        starts.sort_by_key(|(_, ts_ms, _)| *ts_ms);
        let done = match self.append_companions(&starts, durability) {
            Err(MetricsError::Forgotten) => self.append_companions(&starts, durability)?,
            done => done?,
        };
        self.starts_appended.fetch_add(done.appended, Ordering::Relaxed);
        Ok(done)
    }

    fn append_companions(
        &self,
        starts: &[(SeriesId, i64, i64)],
        durability: Durability,
    ) -> Result<Appended, MetricsError> {
        let ids = self.companions_of(starts)?;
        let values: Vec<f64> = starts.iter().map(|(.., start_ms)| *start_ms as f64).collect();
        let mut rows = Vec::new();
        let mut first = 0;
        for of_instant in starts.chunk_by(|a, b| a.1 == b.1) {
            let end = first + of_instant.len();
            rows.push(Row::floats(of_instant[0].1, &ids[first..end], &values[first..end]));
            first = end;
        }
        self.append(&rows, durability)
    }

    /// The companion of each series, made where there is none.
    fn companions_of(
        &self,
        starts: &[(SeriesId, i64, i64)],
    ) -> Result<Vec<SeriesId>, MetricsError> {
        let mut companions = self.companions.lock();
        let mut ids = Vec::with_capacity(starts.len());
        for (SeriesId(id), ..) in starts {
            let at = *id as usize;
            if companions.get(at).is_none_or(|companion| *companion == NOT_KNOWN) {
                let mut catalog = self.catalog.write();
                if !catalog.knows(*id) {
                    return Err(MetricsError::Forgotten);
                }
                if companions.len() <= at {
                    companions.resize(at + 1, NOT_KNOWN);
                }
                companions[at] = catalog.intern_companion(*id);
            }
            ids.push(SeriesId(companions[at]));
        }
        Ok(ids)
    }

    /// [`Store::select`], whose groups also answer [`MetricGroup::read_starts_ms`].
    ///
    /// # Errors
    /// As [`Store::select`].
    pub fn select_with_starts(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<Selection, ReadError> {
        let mut selection = self.select(matchers, range)?;
        let companions = self.catalog.read().select_companions(matchers);
        if companions.is_empty() || selection.groups.is_empty() {
            return Ok(selection);
        }
        let groups = self.select_ids(companions, range)?.groups;
        let held_bytes = groups.iter().map(|group| group.held_bytes()).sum::<usize>();
        let share_bytes = held_bytes / selection.groups.len();
        let starts = Arc::new(self.starts_of(groups));
        let with_starts = |group| -> Box<dyn MetricGroup> {
            Box::new(WithStarts { group, starts: starts.clone(), share_bytes })
        };
        selection.groups = selection.groups.into_iter().map(with_starts).collect();
        Ok(selection)
    }

    fn starts_of(&self, groups: Vec<Box<dyn MetricGroup>>) -> Starts {
        let catalog = self.catalog.read();
        let mut places = HashMap::new();
        for (number, group) in groups.iter().enumerate() {
            for (column, companion) in group.series().iter().enumerate() {
                if let Some(id) = catalog.base_of(companion.0) {
                    places.insert(SeriesId(id), (number, column));
                }
            }
        }
        Starts { groups, places }
    }

    /// How many companions have a place among the groups.
    pub(crate) fn placed_companions(&self, heads: &Heads) -> usize {
        let catalog = self.catalog.read();
        if !catalog.has_companions() {
            return 0;
        }
        let ids = 0..catalog.len() as u32;
        ids.filter(|id| catalog.is_companion(*id) && heads.place(*id).is_some()).count()
    }
}

/// The columns of companions, found by their series.
struct Starts {
    groups: Vec<Box<dyn MetricGroup>>,
    /// Group and column of the companion of a series.
    places: HashMap<SeriesId, (usize, usize)>,
}

/// A group and the start timestamps of its columns.
struct WithStarts {
    group: Box<dyn MetricGroup>,
    starts: Arc<Starts>,
    /// This group's share of what `starts` holds.
    share_bytes: usize,
}

impl MetricGroup for WithStarts {
    fn timestamps_ms(&self) -> &[i64] {
        self.group.timestamps_ms()
    }
    fn series(&self) -> &[SeriesId] {
        self.group.series()
    }
    fn read(&self, column: usize, out: &mut Vec<f64>) -> Result<(), ReadError> {
        self.group.read(column, out)
    }
    fn is_plain(&self, column: usize) -> bool {
        self.group.is_plain(column)
    }
    fn may_have_histograms(&self, column: usize) -> bool {
        self.group.may_have_histograms(column)
    }
    fn read_histograms(
        &self,
        column: usize,
        out: &mut Vec<(usize, Arc<Histogram>)>,
    ) -> Result<(), ReadError> {
        self.group.read_histograms(column, out)
    }
    fn held_bytes(&self) -> usize {
        self.group.held_bytes() + self.share_bytes
    }
    fn read_starts_ms(&self, column: usize, out: &mut Vec<i64>) -> Result<(), ReadError> {
        out.clear();
        let Some((number, at)) = self.starts.places.get(&self.series()[column]) else {
            return Ok(());
        };
        let group = &self.starts.groups[*number];
        let mut values = Vec::new();
        group.read(*at, &mut values)?;
        let mut known = group.timestamps_ms().iter().zip(&values).peekable();
        let mut has_any = false;
        out.extend(self.timestamps_ms().iter().map(|ts_ms| {
            while known.next_if(|(at_ms, _)| *at_ms < ts_ms).is_some() {}
            match known.next_if(|(at_ms, _)| *at_ms == ts_ms) {
                Some((_, value)) if !is_absent(*value) => {
                    has_any = true;
                    *value as i64
                }
                _ => 0,
            }
        }));
        if !has_any {
            out.clear();
        }
        Ok(())
    }
}
