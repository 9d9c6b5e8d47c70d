//! What the log has been told already: a trouble that lasts is said once, and again when it is over.
//! A full disk must not be filled with lines that say so, nor a storm of alerts become one of lines.

use parking_lot::Mutex;
use std::collections::BTreeMap;

/// The troubles there are now.
#[derive(Default)]
pub(crate) struct Said(Mutex<BTreeMap<String, String>>);

impl Said {
    /// Notes a trouble; whether it is another than the last one about the same thing.
    pub(crate) fn is_new(&self, about: &str, trouble: &str) -> bool {
        let before = self.0.lock().insert(about.to_owned(), trouble.to_owned());
        before.as_deref() != Some(trouble)
    }

    /// Forgets a trouble; whether there was one.
    pub(crate) fn is_over(&self, about: &str) -> bool {
        self.0.lock().remove(about).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::Said;

    #[test]
    fn a_trouble_is_news_once_and_so_is_its_end() {
        let said = Said::default();
        assert!(said.is_new("disk", "full"));
        assert!(!said.is_new("disk", "full"));
        assert!(said.is_new("disk", "gone") && said.is_new("net", "gone"));
        assert!(said.is_over("disk") && !said.is_over("disk"));
        assert!(said.is_new("disk", "full"));
    }
}
