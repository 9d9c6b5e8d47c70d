//! The targets that have answered once, kept across restarts.
//!
//! A target that is only looked for (the backend on its usual port, when there is no configuration)
//! must not be reported as down on a machine that never had it, but its death must be seen after a
//! restart too. The file is a JSON list of texts, replaced as a whole; losing it costs nothing but
//! that memory, so a file that cannot be read counts as empty and is said so in the log.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// Most targets remembered.
const SEEN_MAX: usize = 10_000;

pub(super) struct Seen {
    path: Option<PathBuf>,
    keys: Mutex<BTreeSet<String>>,
}

impl Seen {
    /// Reads the file, if there is one.
    pub(super) fn open(path: Option<PathBuf>) -> Seen {
        let mut keys = BTreeSet::new();
        if let Some(path) = &path {
            match std::fs::read(path) {
                Ok(text) => match serde_json::from_slice(&text) {
                    Ok(read) => keys = read,
                    Err(error) => {
                        tracing::warn!(file = %path.display(), %error, "not a list of targets; starting anew");
                    }
                },
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::warn!(file = %path.display(), %error, "cannot read the targets seen");
                }
            }
        }
        Seen { path, keys: Mutex::new(keys) }
    }

    pub(super) fn contains(&self, key: &str) -> bool {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).contains(key)
    }

    /// Remembers `key`, on disk before this returns.
    pub(super) fn insert(&self, key: &str) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= SEEN_MAX || !keys.insert(key.to_owned()) {
            return;
        }
        let Some(path) = &self.path else { return };
        let written =
            serde_json::to_vec_pretty(&*keys).map_err(std::io::Error::other).and_then(|text| {
                let temporary = path.with_extension("tmp");
                let mut file = std::fs::File::create(&temporary)?;
                std::io::Write::write_all(&mut file, &text)?;
                file.sync_all()?;
                std::fs::rename(&temporary, path)
            });
        if let Err(error) = written {
            tracing::warn!(file = %path.display(), %error, "cannot remember the targets seen");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_survives_and_a_broken_file_counts_as_empty() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("targets_seen.json");
        Seen::open(Some(path.clone())).insert("a");
        assert!(Seen::open(Some(path.clone())).contains("a"));
        std::fs::write(&path, "{").unwrap();
        assert!(!Seen::open(Some(path)).contains("a"));
    }
}
