//! PromQL: text to tree ([`parse`]), tree to answer ([`instant`], [`range`]), over any [`Source`]
//! of columns.
//!
//! The crate knows no store and does no IO. Grammar, semantics, error texts and annotations are
//! Prometheus 3's; its own test scripts run against it (`tests/promqltest.rs`) with a floor that may
//! only rise. Native histograms are values like floats ([`FloatHistogram`]). The experimental parts of
//! the language are either implemented or refused by name, never answered with nothing.

#![forbid(unsafe_code)]

mod eval;
mod native;
mod syntax;

pub use eval::{
    Answer, EvalError, Features, Options, Sample, Series, Source, Value, instant, range,
};
pub use native::{BucketRange, FloatHistogram};
pub use syntax::*;
