//! codec
pub mod loki_push;
