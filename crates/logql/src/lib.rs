//! LogQL: Loki's query language, over anything that can hand out blocks of log lines.
//!
//! `parse` turns text into a tree ([`Expr`]) or refuses it in Loki's words; `pipeline` compiles the
//! stages of a query and runs lines through them; `eval` walks the blocks of a [`LogSource`] and
//! answers streams of lines ([`query_logs`]) or numbers ([`instant`], [`range`]).
//! The crate does no IO and knows no store: what a block can answer without rebuilding a line is
//! asked first (`contains` for the leading `|=` filters), everything else is done line by line.
//!
//! `variants`, which Loki took out after 3.7, is refused by name.
//! `approx_topk` gives the exact answer.

#![forbid(unsafe_code)]

pub mod ast;
mod eval;
mod parse;
mod pipeline;
mod pretty;
mod printer;
pub mod units;

pub use ast::Expr;
pub use eval::fields::{DetectedField, Fields, is_id};
pub use eval::follow::{Followed, Follower};
pub use eval::logs::{LogRow, Stream, Streams, categorized, query_logs};
pub use eval::metric::{instant, range};
pub use eval::patterns::{PatternCount, patterns};
pub use eval::value::{MatrixSeries, Value, VectorSample};
pub use eval::{EvalError, LogSource, Options, check};
pub use parse::{ParseError, parse, parse_selector};
pub use pipeline::labels::LabelSet;
pub use pretty::pretty;
