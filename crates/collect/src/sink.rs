//! Where collected samples go: the store, seen from here.

use vigie_codec::exposition::MetricKind;
use vigie_model::{Exemplar, Labels, Row, SeriesId};

/// The store, as far as collecting needs it. Calls may block, so they are made from threads that may.
pub trait MetricSink: Send + Sync {
    /// The id of a series, new or known. The error is a sentence (a limit, a full disk).
    fn intern(&self, labels: &Labels) -> Result<SeriesId, String>;

    /// Stores rows; each series stands in a row at most once.
    fn append(&self, rows: &[Row<'_>]) -> Result<(), String>;

    /// Stores what stands behind samples that were appended before.
    fn exemplars(&self, exemplars: &[(SeriesId, Exemplar)]) -> Result<(), String> {
        let _ = exemplars;
        Ok(())
    }

    /// Whether start timestamps are stored: otherwise nobody looks for them.
    fn wants_starts(&self) -> bool {
        false
    }

    /// Stores when samples that were appended before began to count: series, instant and start.
    fn starts(&self, starts: &[(SeriesId, i64, i64)]) -> Result<(), String> {
        let _ = starts;
        Ok(())
    }

    /// What a target says about a family. Called when it is first said and when it changes.
    fn metadata(&self, name: &str, kind: MetricKind, help: &str, unit: &str) {
        let _ = (name, kind, help, unit);
    }
}
