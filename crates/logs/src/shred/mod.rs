//! Shredding: lines with the same fixed text become one *shape* and a column per varying place.
//!
//! [`tokens`] finds the varying places (*slots*) of JSON and logfmt lines; [`shapes`] groups the
//! rows of a block by what is left (*statics*); [`mod@column`] packs the values of one slot by their
//! type, [`planes`] packs integers; [`fuse`] is the filter that answers "is not here";
//! [`needle`] asks for a text across statics and slots.
//! A line is its statics and values interleaved, byte-exact: a value that its column's type would
//! not print back exactly makes the column one of plain texts.

pub(crate) mod column;
pub(crate) mod column_write;
pub(crate) mod frames;
pub(crate) mod fuse;
pub(crate) mod needle;
pub(crate) mod planes;
pub(crate) mod shapes;
pub(crate) mod tokens;
