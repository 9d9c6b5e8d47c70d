//! How metrics leave and enter a store: groups of columns that share their timestamps.
//!
//! A scrape is a row: one instant, many series. A store keeps it so, and a reader gets it so:
//! [`MetricGroup`] is a matrix whose rows are instants and whose columns are series, and a series
//! is only a number until somebody asks [`LabelLookup`] for its labels.
//! A query can therefore find the bounds of a window once per group, run a kernel over a column,
//! and never touch a label of a series that does not reach the answer.
//!
//! Contract of a [`Selection`], which every implementation keeps and every reader may rely on:
//! * each selected series stands in exactly one column of exactly one group: merging of late data,
//!   open rows and blocks is the store's work;
//! * [`MetricGroup::timestamps_ms`] is strictly ascending and inside the range asked for;
//! * a column read has as many values as the group has timestamps; rows in which the series has no
//!   sample hold [`crate::ABSENT`]; every other bit pattern, stale markers included, is data;
//! * a selection is a snapshot: what is appended later does not appear in it.

use crate::{Histogram, Labels};
use std::sync::Arc;

/// A series inside one store, dense from 0, stable while the store is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesId(pub u32);

/// Milliseconds since the epoch, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// The first instant wanted.
    pub start_ms: i64,
    /// The last instant wanted.
    pub end_ms: i64,
}

impl TimeRange {
    /// Whether `ts_ms` lies inside.
    pub fn contains(&self, ts_ms: i64) -> bool {
        self.start_ms <= ts_ms && ts_ms <= self.end_ms
    }
}

/// Why stored data could not be read. The text names the file and the offset.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A checksum or an invariant of the format does not hold.
    #[error("{file} at byte {offset}: {what}")]
    Corrupt {
        /// The file.
        file: String,
        /// Where in it.
        offset: u64,
        /// What does not hold.
        what: String,
    },
    /// The operating system refused.
    #[error("{file}: {what}")]
    Io {
        /// The file.
        file: String,
        /// The system's words.
        what: String,
    },
    /// A limit was reached; the text says which one and what to change.
    #[error("{0}")]
    Limit(String),
    /// The source is somewhere else and did not answer.
    #[error("{0}")]
    Remote(String),
}

/// A matrix: rows are instants, columns are series.
pub trait MetricGroup: Send + Sync {
    /// The rows' instants, strictly ascending.
    fn timestamps_ms(&self) -> &[i64];
    /// The columns' series.
    fn series(&self) -> &[SeriesId];
    /// Replaces `out` by the values of column `column`, one per timestamp, [`crate::ABSENT`] where
    /// there is none. The caller reuses `out` from column to column.
    /// Rows that hold a native histogram count as absent here.
    fn read(&self, column: usize, out: &mut Vec<f64>) -> Result<(), ReadError>;
    /// Whether every row of a column certainly has a float that is no stale marker. It is told from
    /// what is known without reading the column, so `false` says nothing. A reader that needs only
    /// to know where samples are has its answer in [`MetricGroup::timestamps_ms`] then.
    fn is_plain(&self, _column: usize) -> bool {
        false
    }
    /// Whether any row of a column may hold a native histogram. `false` must be certain.
    fn may_have_histograms(&self, _column: usize) -> bool {
        false
    }
    /// Replaces `out` by the native histograms of a column, each with the index of its timestamp,
    /// ascending. A row holds a float or a histogram, never both.
    fn read_histograms(
        &self,
        _column: usize,
        out: &mut Vec<(usize, Arc<Histogram>)>,
    ) -> Result<(), ReadError> {
        out.clear();
        Ok(())
    }
    /// Bytes of memory that the group holds for its columns, about.
    fn held_bytes(&self) -> usize {
        16 * self.timestamps_ms().len()
    }
    /// Replaces `out` by the start timestamps (when the counter began) of a column's samples, one
    /// per row, 0 where there is none; leaves it empty when the column has none at all.
    fn read_starts_ms(&self, _column: usize, out: &mut Vec<i64>) -> Result<(), ReadError> {
        out.clear();
        Ok(())
    }
}

/// Turns series ids into labels, when an answer needs them.
pub trait LabelLookup: Send + Sync {
    /// The labels of `id`, metric name included.
    ///
    /// # Panics
    /// If `id` did not come from the same store.
    fn labels(&self, id: SeriesId) -> Labels;
    /// The labels of `id` in two parts, each by a number, when the store keeps them so.
    ///
    /// A part is a label set. No name is in a first part of one series and in a second part of
    /// another, so two series whose parts are the same, or the same in the names that matter, have
    /// the same labels in those names: series are grouped and joined without a text being compared.
    fn parts(&self, _id: SeriesId) -> Option<[u32; 2]> {
        None
    }
    /// The labels of a part: a number that [`LabelLookup::parts`] answered at place `place`, 0 or 1.
    fn part(&self, _place: usize, _number: u32) -> Labels {
        Labels::default()
    }
}

/// What matched a selector in a range.
pub struct Selection {
    /// The groups, in an order that does not depend on the number of cores.
    pub groups: Vec<Box<dyn MetricGroup>>,
    /// Resolves the ids in `groups`.
    pub lookup: Arc<dyn LabelLookup>,
}

/// A column held in memory: the simplest group there is, used by tests and by answers from elsewhere.
pub struct Column {
    /// The series.
    pub series: SeriesId,
    /// The instants, strictly ascending.
    pub timestamps_ms: Vec<i64>,
    /// As many values.
    pub values: Vec<f64>,
    /// `[series]`, for [`MetricGroup::series`].
    ids: [SeriesId; 1],
}

impl Column {
    /// A group of one column.
    ///
    /// # Panics
    /// If the two vectors differ in length or the timestamps are not strictly ascending.
    pub fn new(series: SeriesId, timestamps_ms: Vec<i64>, values: Vec<f64>) -> Column {
        assert_eq!(timestamps_ms.len(), values.len(), "one value per timestamp");
        assert!(timestamps_ms.windows(2).all(|pair| pair[0] < pair[1]), "timestamps ascend");
        Column { series, timestamps_ms, values, ids: [series] }
    }
}

impl MetricGroup for Column {
    fn timestamps_ms(&self) -> &[i64] {
        &self.timestamps_ms
    }
    fn series(&self) -> &[SeriesId] {
        &self.ids
    }
    fn read(&self, column: usize, out: &mut Vec<f64>) -> Result<(), ReadError> {
        assert_eq!(column, 0, "a lone column");
        out.clear();
        out.extend_from_slice(&self.values);
        Ok(())
    }
}

/// One instant of many series, on its way into a store.
///
/// The ids come from the same store's `intern`; they and the values have the same length.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The instant.
    pub ts_ms: i64,
    /// The series, each at most once.
    pub series: &'a [SeriesId],
    /// Their values; the stale marker is a value like any other. A series whose sample is a
    /// histogram has [`crate::ABSENT`] here.
    pub values: &'a [f64],
    /// The native histograms, each with its index in `series`, ascending.
    pub histograms: &'a [(usize, &'a Histogram)],
}

impl<'a> Row<'a> {
    /// A row without native histograms.
    pub fn floats(ts_ms: i64, series: &'a [SeriesId], values: &'a [f64]) -> Row<'a> {
        Row { ts_ms, series, values, histograms: &[] }
    }
}

/// One sample that somebody pushed; its series is a number inside the push.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PushedSample {
    /// Which series of the push.
    pub series: u32,
    /// The instant.
    pub ts_ms: i64,
    /// The value; the stale marker is a value like any other.
    pub value: f64,
}

/// One native histogram that somebody pushed.
#[derive(Clone, Debug, PartialEq)]
pub struct PushedHistogram {
    /// Which series of the push.
    pub series: u32,
    /// The instant.
    pub ts_ms: i64,
    /// The sample.
    pub histogram: Histogram,
}

/// What stands behind a sample: usually the trace that it counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// When it was observed.
    pub ts_ms: i64,
    /// What was observed.
    pub value: f64,
    /// Its own labels, `trace_id` and the like.
    pub labels: Labels,
}

/// One exemplar that somebody pushed.
#[derive(Clone, Debug, PartialEq)]
pub struct PushedExemplar {
    /// Which series of the push.
    pub series: u32,
    /// The exemplar.
    pub exemplar: Exemplar,
}

/// When what a pushed sample counts began: a start timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushedStart {
    /// Which series of the push.
    pub series: u32,
    /// The instant of the sample.
    pub ts_ms: i64,
    /// When the count began.
    pub start_ms: i64,
}

/// Samples of many series, the series known by a key of the bytes in which their labels came.
///
/// A store that has met a key needs no labels; for one it has not it calls `labels`, once.
#[derive(Clone, Copy)]
pub struct Pushed<'a> {
    /// A key for each series, made with the store's own seed.
    pub keys: &'a [u64],
    /// The samples, in any order.
    pub samples: &'a [PushedSample],
    /// The native histograms, in any order.
    pub histograms: &'a [PushedHistogram],
    /// The exemplars; those of a series in the order of their times.
    pub exemplars: &'a [PushedExemplar],
    /// The start timestamps, in any order.
    pub starts: &'a [PushedStart],
    /// The labels of a series, or why they are not acceptable.
    pub labels: &'a dyn Fn(usize) -> Result<Labels, String>,
}
