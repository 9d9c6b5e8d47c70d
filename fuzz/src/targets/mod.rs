//! The targets, in the order in which bytes travel: doors, languages, lines, disk.

mod disk;
mod doors;
mod languages;
mod lines;
mod otlp;
mod protobuf;
mod questions;

use crate::Target;

/// All of them.
pub fn targets() -> Vec<Target> {
    let all = [
        doors::targets(),
        protobuf::targets(),
        otlp::targets(),
        languages::targets(),
        questions::targets(),
        lines::targets(),
        disk::targets(),
    ];
    all.into_iter().flatten().collect()
}

/// Text of an input; what is not UTF-8 is replaced, since the doors of text refuse it before.
fn text(data: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(data)
}

/// Owned seeds of texts.
fn seeds<T: AsRef<[u8]>>(texts: &[T]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_ref().to_vec()).collect()
}
