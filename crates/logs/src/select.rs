//! One reading of the store: the blocks that a selector and a range touch, in the order that
//! `vigie_model::blocks` promises.
//!
//! Blocks wait in a heap by the instant of their first row to be returned. What the index says
//! is only a bound, because rows are filtered; a block that comes up is therefore decoded and put
//! back under its true instant, and handed out when it comes up again. So the order is exact and
//! no more blocks are decoded than were asked for, plus those that overlap them.

use crate::block::Block;
use crate::catalog::{Catalog, StreamSet};
use crate::part::{OpenPart, Part};
use crate::picked::Picked;
use crate::shredded::may_contain;
use crate::store::Doom;
use parking_lot::RwLock;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;
use vigie_disk::Disk;
use vigie_model::blocks::{LogBlock, LogBlocks};
use vigie_model::{Direction, Labels, LogRange, Needle, ReadError, StreamId};

/// The head's place among the parts' numbers: it came last.
pub(crate) const HEAD_NUMBER: u64 = i64::MAX as u64;

/// What a reading looks for.
pub(crate) struct Wanted {
    pub(crate) streams: StreamSet,
    pub(crate) range: LogRange,
    pub(crate) direction: Direction,
    pub(crate) needles: Vec<Needle>,
    /// Rows that are deleted.
    pub(crate) hidden: Doom,
}

pub(crate) struct Cursor {
    disk: Arc<dyn Disk>,
    catalog: Arc<RwLock<Catalog>>,
    wanted: Wanted,
    waiting: BinaryHeap<Candidate>,
    /// The part read last: its next block is probably the next one wanted.
    open: Option<Arc<OpenPart>>,
}

enum What {
    InPart(Arc<Part>, usize),
    Decoded(Arc<dyn LogBlock>),
}

/// A block that waits; the greatest comes first.
struct Candidate {
    /// Instant, number of the part, block in the part; all reversed for [`Direction::Forward`].
    key: (i64, i64, i64),
    what: What,
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Candidate) -> bool {
        self.key == other.key
    }
}

impl Eq for Candidate {}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Candidate) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Candidate {
    fn cmp(&self, other: &Candidate) -> Ordering {
        self.key.cmp(&other.key)
    }
}

fn key(direction: Direction, ts_ns: i64, number: u64, block: usize) -> (i64, i64, i64) {
    let (number, block) = (number as i64, block as i64);
    match direction {
        Direction::Backward => (ts_ns, number, block),
        // `!n` falls when `n` rises, without the overflow of `-n`.
        Direction::Forward => (!ts_ns, !number, !block),
    }
}

impl Cursor {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        catalog: Arc<RwLock<Catalog>>,
        wanted: Wanted,
        parts: &[Arc<Part>],
        heads: Vec<(u64, Block)>,
    ) -> Cursor {
        let mut cursor = Cursor { disk, catalog, wanted, waiting: BinaryHeap::new(), open: None };
        for part in parts {
            cursor.add_part(part);
        }
        for (number, block) in heads {
            // A block in memory has nothing to fail at.
            if let Ok(Some(block)) = cursor.seen(Arc::new(block)) {
                cursor.add_decoded(block, number, 0);
            }
        }
        cursor
    }

    fn add_part(&mut self, part: &Arc<Part>) {
        let Wanted { streams, range, direction, .. } = &self.wanted;
        let wanted = |(id, span): &(StreamId, crate::head::Span)| {
            span.touches(*range) && streams.contains(*id)
        };
        if !part.span.touches(*range) || !part.streams().iter().any(wanted) {
            return;
        }
        for (at, meta) in part.blocks.iter().enumerate() {
            if meta.touches(*range) && meta.streams.iter().any(|&id| streams.contains(id)) {
                let bound = match direction {
                    Direction::Backward => meta.max_ns.min(range.end_ns.saturating_sub(1)),
                    Direction::Forward => meta.min_ns.max(range.start_ns),
                };
                let key = key(*direction, bound, part.order, at);
                self.waiting.push(Candidate { key, what: What::InPart(part.clone(), at) });
            }
        }
    }

    fn add_decoded(&mut self, block: Arc<dyn LogBlock>, order: u64, at: usize) {
        let ts_ns = block.timestamps_ns();
        let first = match self.wanted.direction {
            Direction::Backward => ts_ns.last(),
            Direction::Forward => ts_ns.first(),
        };
        if let Some(&ts_ns) = first {
            let key = key(self.wanted.direction, ts_ns, order, at);
            self.waiting.push(Candidate { key, what: What::Decoded(block) });
        }
    }

    /// Decodes a block and puts it back if anything in it is wanted.
    fn decode(&mut self, part: &Arc<Part>, at: usize) -> Result<(), ReadError> {
        let known = self.open.take().filter(|open| open.part.number == part.number);
        let open = match known {
            Some(open) => open,
            None => match OpenPart::open(&*self.disk, part)? {
                Some(open) => Arc::new(open),
                None => return Ok(()),
            },
        };
        self.open = Some(open.clone());
        if part.blocks[at].is_shredded() {
            let head = open.head(at)?;
            for needle in &self.wanted.needles {
                if !may_contain(&open, at, &head, &needle.0)? {
                    return Ok(());
                }
            }
        }
        let Wanted { streams, range, .. } = &self.wanted;
        if let Some(block) = open.block(at, Some((streams, *range)))?
            && let Some(block) = self.seen(block)?
        {
            self.add_decoded(block, part.order, at);
        }
        Ok(())
    }

    /// The rows of a block that are not deleted.
    fn seen(&self, block: Arc<dyn LogBlock>) -> Result<Option<Arc<dyn LogBlock>>, ReadError> {
        if self.wanted.hidden.is_empty() {
            return Ok(Some(block));
        }
        let mut stays = vec![true; block.timestamps_ns().len()];
        self.wanted.hidden.clear(&*block, &mut stays)?;
        Ok(Picked::of(block, &stays))
    }
}

impl LogBlocks for Cursor {
    fn next_block(&mut self) -> Option<Result<Arc<dyn LogBlock>, ReadError>> {
        loop {
            match self.waiting.pop()?.what {
                What::Decoded(block) => return Some(Ok(block)),
                What::InPart(part, at) => {
                    if let Err(error) = self.decode(&part, at) {
                        return Some(Err(error));
                    }
                }
            }
        }
    }

    fn labels(&self, id: StreamId) -> Labels {
        self.catalog.read().labels(id).clone()
    }
}
