//! The blocks of a store, for people to see.

use crate::Store;

/// A block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockInfo {
    /// Its number; no other block of the store has or had it.
    pub number: u32,
    /// The checksum of its footer.
    pub checksum: u32,
    /// Its first instant, in milliseconds.
    pub min_ms: i64,
    /// Its last instant.
    pub max_ms: i64,
    /// Samples in it, deleted ones included.
    pub samples: u64,
    /// Series in it.
    pub series: u64,
    /// Its sections: a group of series over some time each.
    pub sections: u64,
}

impl Store {
    /// The blocks, those that end first before the others.
    pub fn blocks(&self) -> Vec<BlockInfo> {
        let heads = self.heads.lock();
        let info = |block: &crate::block::Block| BlockInfo {
            number: block.entry.id,
            checksum: block.entry.footer_crc,
            min_ms: block.entry.min_ms,
            max_ms: block.entry.max_ms,
            samples: block.samples,
            series: block.series.words().iter().map(|word| u64::from(word.count_ones())).sum(),
            sections: u64::from(block.sections),
        };
        let mut blocks: Vec<BlockInfo> = heads.blocks.iter().map(|block| info(block)).collect();
        drop(heads);
        blocks.sort_unstable_by_key(|block| (block.max_ms, block.number));
        blocks
    }
}
