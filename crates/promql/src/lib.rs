//! PromQL: text to tree, tree to answer, over any source of columns.
#![forbid(unsafe_code)]

mod syntax;

pub use syntax::*;
