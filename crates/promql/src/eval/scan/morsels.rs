//! Columns in morsels: worked on by several threads, handed over in order.
//!
//! A morsel is a run of columns of one group whose results fit a cache. Threads take morsels as
//! they come and put each result into its place; one thread hands the results over in the order of
//! the columns, so that what is made of them (a compensated sum, say) has the same last bit however
//! many threads there are. Nobody runs ahead of the hand-over by more than [`AHEAD_MAX`] morsels:
//! that bounds the memory, and a result is still in a cache when it is folded.
//!
//! The whole process has one helper per core but the first ([`HELPERS`]); a query that finds none
//! free works alone, at the same answers. The calling thread works too while it waits.

use super::super::Result;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use vigie_model::{SeriesId, is_absent};

/// Most results waiting to be handed over.
const AHEAD_MAX: usize = 8;
/// Cells (series × steps) of a result.
const CELLS_MAX: usize = 16 * 1024;
/// Most columns of a morsel, so that the clock is looked at between them.
const COLUMNS_MAX: usize = 256;
/// With fewer morsels than this no helper is woken.
const WORTH_HELP: usize = 4;
/// Most helpers of the process, however many cores there are.
const HELPERS_MAX: usize = 15;

/// Helpers at work, of all queries.
static HELPERS: AtomicUsize = AtomicUsize::new(0);

/// Some columns of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Morsel {
    pub(super) group: usize,
    pub(super) columns: Range<usize>,
}

/// The cut of groups with that many columns each; it depends on nothing but its arguments.
pub(super) fn cut(columns: impl Iterator<Item = usize>, steps: usize) -> Vec<Morsel> {
    let size = (CELLS_MAX / steps.max(1)).clamp(1, COLUMNS_MAX);
    let mut morsels = Vec::new();
    for (group, count) in columns.enumerate() {
        let starts = (0..count).step_by(size);
        let cuts = starts.map(|start| start..count.min(start + size));
        morsels.extend(cuts.map(|columns| Morsel { group, columns }));
    }
    morsels
}

/// The most cells that [`in_order`] holds at once for these morsels.
pub(super) fn cells_held(morsels: &[Morsel], steps: usize) -> usize {
    let largest = morsels.iter().map(|morsel| morsel.columns.len()).max().unwrap_or(0);
    largest * steps * morsels.len().min(AHEAD_MAX)
}

/// What became of a morsel: the series that have any value, and their values step by step.
#[derive(Default)]
pub(super) struct Block {
    pub(super) ids: Vec<SeriesId>,
    pub(super) values: Vec<f64>,
    /// Samples looked at, step by step; empty when nobody counts.
    pub(super) counts: Vec<u64>,
}

/// The steps of one series, and where samples are counted.
pub(super) struct Cells<'a> {
    pub(super) values: &'a mut [f64],
    counts: &'a mut [u64],
}

impl Cells<'_> {
    /// Adds samples looked at, step by step.
    pub(super) fn count(&mut self, more: impl Iterator<Item = u64>) {
        self.counts.iter_mut().zip(more).for_each(|(count, more)| *count += more);
    }

    /// One sample for each value.
    pub(super) fn count_values(&mut self) {
        let there = self.values.iter().map(|value| u64::from(!is_absent(*value)));
        self.counts.iter_mut().zip(there).for_each(|(count, more)| *count += more);
    }
}

impl Block {
    /// The row that begins at a cell and is the last.
    pub(super) fn row(&mut self, from: usize) -> Cells<'_> {
        Cells { values: &mut self.values[from..], counts: &mut self.counts }
    }

    fn clear(&mut self) {
        self.ids.clear();
        self.values.clear();
        self.counts.clear();
    }
}

/// What the threads share.
struct Bench<'a> {
    morsels: &'a [Morsel],
    state: Mutex<State>,
    /// A result is there, or a place for one.
    moved: Condvar,
}

struct State {
    /// The next morsel that nobody has taken.
    next: usize,
    /// How many were handed over.
    handed: usize,
    /// Results from `handed` on.
    results: VecDeque<Option<Result<Block>>>,
    spare: Vec<Block>,
    over: bool,
}

/// Ends the work of all when its thread ends: the folding one in whatever way, a helper by a panic.
struct Ending<'b, 'm> {
    bench: &'b Bench<'m>,
    is_helper: bool,
}

impl Drop for Ending<'_, '_> {
    fn drop(&mut self) {
        if !self.is_helper || thread::panicking() {
            self.bench.lock().over = true;
            self.bench.moved.notify_all();
        }
    }
}

impl Bench<'_> {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere ends the work; what it left behind is not read.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        self.moved.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a morsel if one may be started.
    fn take(&self, state: &mut State) -> Option<(usize, Block)> {
        let open = state.next < self.morsels.len() && state.next < state.handed + AHEAD_MAX;
        if !open {
            return None;
        }
        state.next += 1;
        state.results.push_back(None);
        let mut block = state.spare.pop().unwrap_or_default();
        block.clear();
        Some((state.next - 1, block))
    }

    fn put(&self, at: usize, result: Result<Block>) {
        let mut state = self.lock();
        let place = at - state.handed;
        state.results[place] = Some(result);
        self.moved.notify_all();
    }
}

/// Runs `work` on every morsel and hands the results to `fold` in the order of the morsels.
/// `work` has a scratch space of its own per thread. The first error in that order ends it all.
pub(super) fn in_order<S: Default>(
    morsels: &[Morsel],
    work: &(dyn Fn(&Morsel, &mut S, &mut Block) -> Result<()> + Sync),
    fold: &mut dyn FnMut(&Block) -> Result<()>,
) -> Result<()> {
    let helpers = Helpers::call(morsels.len());
    if helpers.0 == 0 {
        let (mut scratch, mut block) = (S::default(), Block::default());
        for morsel in morsels {
            block.clear();
            work(morsel, &mut scratch, &mut block)?;
            fold(&block)?;
        }
        return Ok(());
    }
    let state =
        State { next: 0, handed: 0, results: VecDeque::new(), spare: Vec::new(), over: false };
    let bench = Bench { morsels, state: Mutex::new(state), moved: Condvar::new() };
    thread::scope(|scope| {
        for _ in 0..helpers.0 {
            scope.spawn(|| help(&bench, work));
        }
        let _ending = Ending { bench: &bench, is_helper: false };
        let mut scratch = S::default();
        for _ in morsels {
            let Some(result) = next_result(&bench, work, &mut scratch) else { return Ok(()) };
            let block = result?;
            fold(&block)?;
            bench.lock().spare.push(block);
        }
        Ok(())
    })
}

/// The result whose turn it is; works while it is not there. `None` when a helper has panicked.
fn next_result<S>(
    bench: &Bench<'_>,
    work: &(dyn Fn(&Morsel, &mut S, &mut Block) -> Result<()> + Sync),
    scratch: &mut S,
) -> Option<Result<Block>> {
    let mut state = bench.lock();
    loop {
        if state.over {
            return None;
        }
        if let Some(result) = state.results.front_mut().and_then(Option::take) {
            state.results.pop_front();
            state.handed += 1;
            bench.moved.notify_all();
            return Some(result);
        }
        match bench.take(&mut state) {
            Some((at, mut block)) => {
                drop(state);
                let done = work(&bench.morsels[at], scratch, &mut block).map(|()| block);
                bench.put(at, done);
                state = bench.lock();
            }
            None => state = bench.wait(state),
        }
    }
}

fn help<S: Default>(
    bench: &Bench<'_>,
    work: &(dyn Fn(&Morsel, &mut S, &mut Block) -> Result<()> + Sync),
) {
    let mut scratch = S::default();
    let _ending = Ending { bench, is_helper: true };
    let mut state = bench.lock();
    while !state.over && state.next < bench.morsels.len() {
        match bench.take(&mut state) {
            Some((at, mut block)) => {
                drop(state);
                let done = work(&bench.morsels[at], &mut scratch, &mut block).map(|()| block);
                bench.put(at, done);
                state = bench.lock();
            }
            None => state = bench.wait(state),
        }
    }
}

/// How many helpers a query has; they are free again when it is dropped.
struct Helpers(usize);

impl Helpers {
    fn call(morsels: usize) -> Helpers {
        if morsels < WORTH_HELP {
            return Helpers(0);
        }
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let all = (cores - 1).min(HELPERS_MAX);
        let mut taken = 0;
        let _ = HELPERS.fetch_update(Ordering::AcqRel, Ordering::Acquire, |busy| {
            taken = all.saturating_sub(busy).min(morsels / 2);
            Some(busy + taken)
        });
        Helpers(taken)
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        HELPERS.fetch_sub(self.0, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::EvalError;

    fn sum_of_squares(morsels: &[Morsel], fails_at: Option<usize>) -> Result<Vec<f64>> {
        let mut folded = Vec::new();
        let work = |morsel: &Morsel, _: &mut (), block: &mut Block| {
            for column in morsel.columns.clone() {
                if fails_at == Some(column) {
                    return Err(EvalError::Execution(format!("column {column}")));
                }
                block.ids.push(SeriesId(column as u32));
                block.values.push((column * column) as f64);
            }
            Ok(())
        };
        in_order(morsels, &work, &mut |block| {
            folded.extend_from_slice(&block.values);
            Ok(())
        })?;
        Ok(folded)
    }

    #[test]
    fn results_are_handed_over_in_the_order_of_the_columns() {
        let morsels = cut([10_000].into_iter(), 1_000);
        assert!(morsels.len() > WORTH_HELP, "{}", morsels.len());
        let wanted: Vec<f64> = (0..10_000).map(|column| (column * column) as f64).collect();
        for _ in 0..20 {
            assert_eq!(sum_of_squares(&morsels, None).unwrap(), wanted);
        }
    }

    #[test]
    fn the_first_error_in_order_is_the_answer_and_no_thread_is_left() {
        let morsels = cut([10_000].into_iter(), 1_000);
        for _ in 0..20 {
            let error = sum_of_squares(&morsels, Some(5_000)).unwrap_err();
            assert_eq!(error.to_string(), "column 5000");
        }
    }

    #[test]
    fn a_panic_in_a_helper_is_a_panic_and_no_hang() {
        let morsels = cut([10_000].into_iter(), 1_000);
        let work = |morsel: &Morsel, _: &mut (), _: &mut Block| {
            assert!(morsel.columns.start < 4_000, "planted");
            Ok(())
        };
        let run = std::panic::AssertUnwindSafe(|| in_order(&morsels, &work, &mut |_| Ok(())));
        assert!(std::panic::catch_unwind(run).is_err());
    }

    #[test]
    fn cuts_do_not_depend_on_the_machine() {
        let morsels = cut([300, 0, 5].into_iter(), 41);
        let of = |group, columns| Morsel { group, columns };
        assert_eq!(morsels, [of(0, 0..256), of(0, 256..300), of(2, 0..5)]);
        assert_eq!(cut([3].into_iter(), 1_000_000).len(), 3);
    }
}
