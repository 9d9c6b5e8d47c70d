//! What a query takes: memory it may hold, samples it has read, time it spent per node.
//!
//! Every query has an [`Account`], which others may look at while it runs; all accounts draw on one
//! [`Budget`]. Memory is taken before it is used, in pieces of a megabyte, and given back when the
//! account is closed, so a query that would need ten gigabytes ends at its own limit and a thousand
//! queries together at the budget's, while the others go on.
//! A question is charged for being there, and for half as much again as it holds: what the process
//! grows by is bounded, not what is asked of the allocator.
//! Samples are counted as eight bytes where an evaluation holds them, and a series with its lists
//! beside them; what a point of an answer costs on its way out is added when the answer is made, and
//! whoever sends it keeps the account until it has left ([`Account::settle`]).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Memory is taken in multiples of this, in bytes.
const PIECE_BYTES: u64 = 1 << 20;
/// What a question takes before it is evaluated, while it waits and while its answer leaves: its
/// connection, its text, its tree. Measured with 512 of them.
const QUESTION_BYTES: u64 = 64 << 10;
/// What is held takes half as much again: lists grow by doubling, and the allocator keeps for each
/// thread what was freed there.
const OVERHEAD_ONE_IN: u64 = 2;
/// Most nodes whose time is noted; a query may be a chain of thousands.
const NODES_MAX: usize = 1000;

/// What all queries together may hold.
#[derive(Debug)]
pub struct Budget {
    held_bytes: AtomicU64,
    bytes_max: u64,
    refused: AtomicU64,
}

impl Budget {
    /// A budget of `bytes_max` bytes.
    pub fn new(bytes_max: u64) -> Arc<Budget> {
        let (held_bytes, refused) = (AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Budget { held_bytes, bytes_max, refused })
    }

    /// Bytes held now.
    pub fn held_bytes(&self) -> u64 {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// Bytes that may be held.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// How often a query was refused for this budget or its own share of it.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: u64) -> bool {
        let more = |held: u64| held.checked_add(bytes).filter(|sum| *sum <= self.bytes_max);
        self.held_bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok()
    }

    /// Takes what is used already.
    fn charge(&self, bytes: u64) {
        self.held_bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    fn give(&self, bytes: u64) {
        self.held_bytes.fetch_sub(bytes, Ordering::AcqRel);
    }
}

/// What is noted beside the sums, because somebody asked for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Detail {
    /// Samples per step.
    pub steps: bool,
    /// Time per node.
    pub nodes: bool,
}

/// A node of a query that was evaluated, in the order in which they began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeCost {
    /// How many nodes stand around it.
    pub depth: usize,
    /// What it is: `sum`, `rate`, `selector`, …
    pub operation: String,
    /// How it was evaluated.
    pub plan: &'static str,
    /// Its place in the text, in bytes.
    pub span: (usize, usize),
    /// Wall time, the nodes below it included, in microseconds.
    pub wall_us: u64,
    /// Series read from the source below it.
    pub series: u64,
    /// Samples read from the source below it.
    pub samples: u64,
}

/// The account of one query.
#[derive(Debug)]
pub struct Account {
    budget: Arc<Budget>,
    bytes_max: u64,
    detail: Detail,
    reserved_bytes: AtomicU64,
    samples_peak: AtomicU64,
    series: AtomicU64,
    samples: AtomicU64,
    steps: Mutex<Vec<u64>>,
    nodes: Mutex<Vec<NodeCost>>,
}

impl Account {
    /// An account that may hold `bytes_max` bytes of the budget.
    pub fn new(budget: Arc<Budget>, bytes_max: u64, detail: Detail) -> Account {
        // Never refused: how many questions there are is bounded elsewhere.
        budget.charge(QUESTION_BYTES);
        Account {
            budget,
            bytes_max,
            detail,
            reserved_bytes: AtomicU64::new(QUESTION_BYTES),
            samples_peak: AtomicU64::new(0),
            series: AtomicU64::new(0),
            samples: AtomicU64::new(0),
            steps: Mutex::default(),
            nodes: Mutex::default(),
        }
    }

    /// What is noted in detail.
    pub fn detail(&self) -> Detail {
        self.detail
    }

    /// Series read from the source so far.
    pub fn series(&self) -> u64 {
        self.series.load(Ordering::Relaxed)
    }

    /// Samples read from the source so far.
    pub fn samples(&self) -> u64 {
        self.samples.load(Ordering::Relaxed)
    }

    /// The most samples held at once.
    pub fn samples_peak(&self) -> u64 {
        self.samples_peak.load(Ordering::Relaxed)
    }

    /// Bytes taken from the budget.
    pub fn bytes(&self) -> u64 {
        self.reserved_bytes.load(Ordering::Relaxed)
    }

    /// Per step of the query, how many samples were looked at, when that was asked for.
    pub fn samples_per_step(&self) -> Vec<u64> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The nodes, when that was asked for.
    pub fn nodes(&self) -> Vec<NodeCost> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes sure of `samples` samples and `bytes` bytes beside them.
    pub(crate) fn hold(&self, samples: u64, bytes: u64) -> Result<(), String> {
        self.samples_peak.fetch_max(samples, Ordering::Relaxed);
        let held = samples.saturating_mul(8).saturating_add(bytes);
        let wanted = held.saturating_add(held / OVERHEAD_ONE_IN).saturating_add(QUESTION_BYTES);
        let reserved = self.reserved_bytes.load(Ordering::Acquire);
        if wanted <= reserved {
            return Ok(());
        }
        let advice = "select fewer series, a shorter range or a longer step";
        if wanted > self.bytes_max {
            self.budget.refused.fetch_add(1, Ordering::Relaxed);
            return Err(format!(
                "query processing would take more than {} bytes of memory in query execution: \
                 {advice}",
                self.bytes_max
            ));
        }
        let target = wanted.next_multiple_of(PIECE_BYTES).min(self.bytes_max);
        if !self.budget.take(target - reserved) {
            self.budget.refused.fetch_add(1, Ordering::Relaxed);
            return Err(format!(
                "all queries together would take more than {} bytes of memory in query execution: \
                 try again when others have ended, or {advice}",
                self.budget.bytes_max
            ));
        }
        self.reserved_bytes.store(target, Ordering::Release);
        Ok(())
    }

    /// Gives back all but `bytes` bytes: the evaluation is over, and that is what its answer takes
    /// while it is on its way. An answer that was underestimated is charged for, whatever the budget.
    pub fn settle(&self, bytes: u64) {
        let bytes = bytes.saturating_add(QUESTION_BYTES);
        let reserved = self.reserved_bytes.swap(bytes, Ordering::AcqRel);
        if bytes > reserved {
            self.budget.charge(bytes - reserved);
        } else {
            self.budget.give(reserved - bytes);
        }
    }

    /// Counts what was read from the source.
    pub(crate) fn read(&self, series: u64, samples: u64) {
        self.series.fetch_add(series, Ordering::Relaxed);
        self.samples.fetch_add(samples, Ordering::Relaxed);
    }

    /// Adds samples looked at, step by step; a shorter list (a subquery's, `@`) counts at the first.
    pub(crate) fn add_steps(&self, counts: &[u64]) {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        if steps.len() < counts.len() {
            steps.resize(counts.len(), 0);
        }
        steps.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }

    /// A node begins; the number is for [`Account::leave`].
    pub(crate) fn enter(&self, node: NodeCost) -> Option<usize> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if nodes.len() >= NODES_MAX {
            return None;
        }
        // Until it ends, what was read before it stands here.
        nodes.push(NodeCost { series: self.series(), samples: self.samples(), ..node });
        Some(nodes.len() - 1)
    }

    /// A node has ended after `wall_us`.
    pub(crate) fn leave(&self, at: usize, wall_us: u64) {
        let (series, samples) = (self.series(), self.samples());
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let node = &mut nodes[at];
        node.wall_us = wall_us;
        node.series = series - node.series;
        node.samples = samples - node.samples;
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.budget.give(self.reserved_bytes.load(Ordering::Acquire));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_share_a_budget_and_give_back_what_they_took() {
        let budget = Budget::new(8 * PIECE_BYTES);
        let account = || Account::new(budget.clone(), 5 * PIECE_BYTES, Detail::default());
        let (one, two) = (account(), account());
        assert_eq!(budget.held_bytes(), 2 * QUESTION_BYTES);
        // With half as much again, and the question itself.
        one.hold(3 * PIECE_BYTES / 8, 0).unwrap();
        assert_eq!(one.bytes(), 5 * PIECE_BYTES);
        assert!(one.hold(PIECE_BYTES / 2, 1).unwrap_err().contains("more than 5242880 bytes"));
        two.hold(1, 0).unwrap();
        assert_eq!(budget.held_bytes(), 6 * PIECE_BYTES);
        assert!(two.hold(0, 2 * PIECE_BYTES).unwrap_err().starts_with("all queries together"));
        drop(one);
        two.hold(0, 2 * PIECE_BYTES).unwrap();
        two.settle(PIECE_BYTES + 1);
        assert_eq!(budget.held_bytes(), PIECE_BYTES + 1 + QUESTION_BYTES);
        let three = account();
        three.settle(9 * PIECE_BYTES);
        assert!(two.hold(0, 3 * PIECE_BYTES).is_err(), "{budget:?}");
        drop((two, three));
        assert_eq!((budget.held_bytes(), budget.refused()), (0, 3));
    }
}
