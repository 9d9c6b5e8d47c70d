//! Bytes to model and back: the wire formats that Vigie speaks. No IO.
//!
//! Every decoder here takes bytes that a stranger sent: it is bounded, never panics, and says in its
//! error where the input stopped making sense.

#![forbid(unsafe_code)]

pub mod compression;
pub mod documents;
pub mod exposition;
pub mod loki_push;
pub mod otlp_logs;
pub mod otlp_metrics;
mod proto;
pub mod remote_read;
pub mod remote_write;
pub mod xor_chunk;

pub use proto::ProtoError;
