//! What an import could not carry over: one sentence each, with the panel it is about.

use serde::Serialize;

/// Most notes of one report; a dashboard of a thousand unknown panels needs no thousand lines.
const NOTES_MAX: usize = 200;

/// The findings of one import, in the order of the dashboard.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ImportReport {
    /// Sentences for the person who imports. Empty: everything was carried over.
    pub notes: Vec<String>,
}

impl ImportReport {
    /// Adds a finding about a panel; an empty title means the dashboard as a whole.
    /// The same sentence is kept once.
    pub(crate) fn note(&mut self, panel_title: &str, finding: impl AsRef<str>) {
        let finding = finding.as_ref();
        let note = if panel_title.is_empty() {
            finding.to_owned()
        } else {
            format!("{panel_title}: {finding}")
        };
        if self.notes.len() < NOTES_MAX && !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}
