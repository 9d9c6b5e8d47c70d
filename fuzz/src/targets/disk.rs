//! What stands on the disk: a store must open whatever a failing disk hands back.

use crate::Target;

pub(super) fn targets() -> Vec<Target> {
    let decoders = vigie_metrics::decoders::decoders();
    decoders.into_iter().map(|(name, run, seeds)| Target { name, run, seeds }).collect()
}
