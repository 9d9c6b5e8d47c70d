//! Every configuration file, first *as written* (YAML with positions), then *as used* (defaults
//! filled in, durations in milliseconds, names cross-checked).
//!
//! The types of this crate's public modules are the second form; nothing outside sees the first.
//! A file that is wrong is refused whole, with file, line, column, an excerpt and what would be right.
//! This crate reads files and does no other IO.

#![forbid(unsafe_code)]

pub mod alerting;
pub mod http_client;
pub mod rules;
pub mod scrape;
