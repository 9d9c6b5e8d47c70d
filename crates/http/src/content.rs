//! What Vigie ships beside its code: rules, dashboards and runbooks, embedded as text.

include!(concat!(env!("OUT_DIR"), "/content.rs"));

/// A file under `content/`, by its path there.
pub fn file(path: &str) -> Option<&'static str> {
    FILES.iter().find(|(name, _)| *name == path).map(|(_, text)| *text)
}

/// The files whose path starts with `prefix`, with the rest of the path.
pub fn under(prefix: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    FILES.iter().filter_map(move |(name, text)| name.strip_prefix(prefix).map(|rest| (rest, *text)))
}
