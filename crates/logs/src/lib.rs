//! The log store: lines of many streams, kept byte-exact, found by label and time.
//!
//! [`Store`] owns one directory. A line that is appended goes into the write-ahead log, then into
//! the *head* (a few MiB in memory, readable at once); the head is *sealed* into immutable part
//! files, one per day it touches, and the log behind it goes. What [`Durability::Synced`] has
//! acknowledged is on disk.
//! Reading keeps the contract of `vigie_model::blocks`: [`Store::select`] hands out blocks,
//! columns first, text only when somebody asks for it.
//! The formats stand in `docs/formats/logs-part.md`.
//!
//! Invariants: a line is in the log before it is in the head, and in a synced part before its log
//! goes; the same line of the same stream, instant and metadata is stored once;
//! rows of a part and of a block ascend by timestamp, equal ones in order of arrival.
//!
//! [`Store::compact`] makes larger parts of small ones and leaves out what [`Store::delete`] and the
//! retention of single streams have taken.

#![forbid(unsafe_code)]

mod block;
mod catalog;
#[doc(hidden)]
pub mod decoders;
mod error;
mod head;
mod numbers;
mod options;
mod part;
mod part_write;
mod picked;
#[doc(hidden)]
pub mod planted;
mod record;
mod select;
mod shred;
mod shredded;
mod store;
mod time;

/// Most labels that a stream or an entry's metadata has in a file. More than any door lets in.
const LABELS_MAX: usize = 4096;

pub use error::LogsError;
pub use options::{Clock, Options, StreamRetention};
pub use store::{
    Appended, Batch, Deletion, Durability, LineTest, LineText, Stats, Store, StreamVolume,
};
