//! The nouns that every other crate speaks: labels, matchers, samples, log entries, time and limits.
//!
//! This crate owns no data and does no IO.
//! Two of its modules are the interfaces that the whole program hangs on, written down in
//! `docs/decisions/0001-the-two-interfaces.md`: [`columns`] is how metrics leave a store
//! (groups with shared timestamps, columns, label ids) and [`blocks`] is how logs do
//! (blocks that answer column, dictionary or text questions).
//! The stores implement them, the languages consume them, and neither knows the other.
//!
//! Invariants: a [`Labels`] is sorted by name and has no empty value and no duplicate name;
//! times of metrics are milliseconds and times of logs are nanoseconds since the Unix epoch,
//! and the unit stands last in every name.

#![forbid(unsafe_code)]

pub mod blocks;
pub mod civil;
pub mod columns;
pub mod duration;
pub mod histogram;
pub mod labels;
pub mod limits;
pub mod matcher;
pub mod quote;
pub mod regexp;
pub mod relabel;
pub mod size;
pub mod value;

pub use blocks::{Direction, LogBlock, LogBlocks, LogEntry, LogRange, Needle, StreamId};
pub use columns::{
    Column, Exemplar, LabelLookup, MetricGroup, Pushed, PushedExemplar, PushedHistogram,
    PushedSample, PushedStart, ReadError, Row, Selection, SeriesId, TimeRange,
};
pub use histogram::Histogram;
pub use labels::{Label, Labels, LabelsBuilder, METRIC_NAME};
pub use matcher::{MatchOp, Matcher};
pub use quote::go_quote;
pub use regexp::RegexpError;
pub use value::{ABSENT, STALE_NAN, is_absent, is_stale};
