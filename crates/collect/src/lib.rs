//! Collectors: what Vigie reads by itself, from targets, from this machine and from PostgreSQL.
//!
//! Everything that is collected at intervals is a *target*, whether it is an HTTP endpoint or one of
//! our own collectors: it has a job and an instance, an `up`, a place in the list of targets, and its
//! samples enter the store as rows through [`MetricSink`]. [`scrape`] runs the targets;
//! [`host`], [`postgres`] and [`selfmetrics`] are the built-in collectors.
//!
//! Nothing here serves HTTP and nothing here opens a connection: pages are returned as text for the
//! crate that serves, and connections are made by `vigie-net`.

#![forbid(unsafe_code)]

pub mod collector;
pub mod host;
pub mod logmetrics;
pub mod postgres;
pub mod scrape;
pub mod selfmetrics;
pub mod sink;
pub mod stages;
pub mod tail;

pub use collector::{Collected, Collector};
pub use logmetrics::LogMetrics;
pub use scrape::{Collect, CollectHandle, Health, Options, Said, SaidFamily, TargetStatus};
pub use sink::MetricSink;
