//! What stands on the disk: a store must open whatever a failing disk hands back.

use crate::Target;

pub(super) fn targets() -> Vec<Target> {
    let metrics = vigie_metrics::decoders::decoders();
    let logs = vigie_logs::decoders::decoders();
    let decoders = metrics.into_iter().chain(logs);
    decoders.map(|(name, run, seeds)| Target { name, run, seeds }).collect()
}
