//! The files as they are written: one module for each original, field names as in the files.
//!
//! Unknown keys are errors. A key of the original that Vigie does not have yet is
//! [`crate::yaml::Unbuilt`], and one that changes nothing here is [`crate::yaml::Accepted`].

pub(crate) mod alertmanager;
pub(crate) mod log_metrics;
pub(crate) mod loki;
pub(crate) mod otlp;
pub(crate) mod prometheus;
pub(crate) mod promtail;
pub(crate) mod rules;
pub(crate) mod vigie;
