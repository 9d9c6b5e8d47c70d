//! What the metrics store reads from the disk behind a checksum.

use crate::Target;
use vigie_metrics::decoders;

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target { name: "metrics_manifest", run: decoders::manifest, seeds: || seed(0) },
        Target { name: "metrics_section", run: decoders::section, seeds: || seed(1) },
        Target { name: "metrics_column", run: decoders::body, seeds: || seed(2) },
        Target { name: "metrics_chunk", run: decoders::chunk, seeds: || seed(3) },
    ]
}

fn seed(at: usize) -> Vec<Vec<u8>> {
    vec![decoders::seeds()[at].clone()]
}
