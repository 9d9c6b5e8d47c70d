//! Functions over windows, a whole column at a time.
//!
//! A [`Plan`] answers what the kernel of one window ([`super::super::kernels`]) would answer at every
//! step, bit for bit, at a cost per step that does not grow with the window: what two windows have
//! in common is looked at once. Functions whose compensated sums depend on where a window begins
//! are left to their kernel.

use super::super::kernels::{Kernel, Window};
use super::super::stretch::Stretch;
use crate::syntax::Span;
use std::collections::VecDeque;
use vigie_model::ABSENT;

/// How a function is evaluated over a column.
#[derive(Clone, Copy)]
pub(super) enum Plan {
    /// `rate`, `increase`, `delta`.
    Stretched { is_counter: bool, is_rate: bool },
    /// How many neighbours in the window fulfil the test.
    Pairs(fn(f64, f64) -> bool),
    /// The first value that beats all others; NaN only if all are NaN.
    Extreme(fn(f64, f64) -> bool),
    /// The newest value.
    Last,
    /// How many values.
    Count,
    /// 1 where there is any value.
    Presence,
    /// One window at a time.
    Windows(Kernel),
}

impl Plan {
    /// The plan of a function, whose kernel is at hand.
    pub(super) fn of(function: &str, kernel: Kernel) -> Plan {
        match function {
            "rate" => Plan::Stretched { is_counter: true, is_rate: true },
            "increase" => Plan::Stretched { is_counter: true, is_rate: false },
            "delta" => Plan::Stretched { is_counter: false, is_rate: false },
            "resets" => Plan::Pairs(|a, b| b < a),
            "changes" => Plan::Pairs(|a, b| a != b && !(a.is_nan() && b.is_nan())),
            "max_over_time" => Plan::Extreme(|new, old| new > old),
            "min_over_time" => Plan::Extreme(|new, old| new < old),
            "last_over_time" => Plan::Last,
            "count_over_time" => Plan::Count,
            "present_over_time" | "absent_over_time" => Plan::Presence,
            _ => Plan::Windows(kernel),
        }
    }

    /// Whether it matters only where there are values.
    pub(super) fn only_counts(self) -> bool {
        matches!(self, Plan::Count | Plan::Presence)
    }
}

/// What is the same for all columns of a query.
pub(super) struct Frame<'a> {
    /// Per step: the closed end of its window.
    pub(super) ends_ms: &'a [i64],
    pub(super) length_ms: i64,
    /// Per step: the step itself.
    pub(super) now_ms: &'a [i64],
    /// The scalar arguments, step by step.
    pub(super) scalars: &'a [Vec<f64>],
}

/// The samples of a series: real ones only, neither absent nor stale.
pub(super) struct Samples<'a> {
    pub(super) timestamps_ms: &'a [i64],
    pub(super) values: &'a [f64],
    /// Per step, the half-open range of the samples in the window. Plans that only count look at
    /// nothing else.
    pub(super) bounds: &'a [(usize, usize)],
    /// Per step, the stretch of that window, where the function has one and the window is wide
    /// enough.
    pub(super) stretches: &'a [Option<Stretch>],
}

/// Kept from column to column.
#[derive(Default)]
pub(super) struct Scratch {
    /// Per sample: how many pairs up to it fulfil the test.
    counts: Vec<u32>,
    /// What a counter had reached at each of its resets.
    reached: Vec<f64>,
    queue: VecDeque<usize>,
}

/// The stretches of all windows of a function that has any.
pub(super) fn stretches(
    plan: Plan,
    frame: &Frame<'_>,
    timestamps_ms: &[i64],
    bounds: &[(usize, usize)],
    out: &mut Vec<Option<Stretch>>,
) {
    out.clear();
    let Plan::Stretched { is_rate, .. } = plan else { return };
    out.extend(bounds.iter().zip(frame.ends_ms).map(|((low, high), end_ms)| {
        let gaps = (high - low).checked_sub(1).filter(|gaps| *gaps > 0)?;
        let samples = (timestamps_ms[*low], timestamps_ms[high - 1], gaps);
        let start_ms = end_ms.saturating_sub(frame.length_ms);
        Some(Stretch::new(samples, (start_ms, *end_ms), is_rate))
    }));
}

/// Fills `out`, which is [`ABSENT`] everywhere, step by step; says whether there is any value.
/// `look` is asked now and then whether to go on.
pub(super) fn fill<E>(
    plan: Plan,
    frame: &Frame<'_>,
    samples: &Samples<'_>,
    scratch: &mut Scratch,
    out: &mut [f64],
    look: &dyn Fn() -> Result<(), E>,
) -> Result<bool, E> {
    let values = samples.values;
    let steps = out.iter_mut().zip(samples.bounds).filter(|(_, (low, high))| low < high);
    let mut any = false;
    match plan {
        Plan::Stretched { is_counter, .. } => {
            any = stretched(is_counter, samples, scratch, out);
        }
        Plan::Pairs(test) => {
            count_pairs(values, test, &mut scratch.counts);
            for (out, (low, high)) in steps {
                *out = f64::from(scratch.counts[high - 1] - scratch.counts[*low]);
                any = true;
            }
        }
        Plan::Extreme(beats) => any = extremes(beats, samples, scratch, out),
        Plan::Last => {
            for (out, (_, high)) in steps {
                *out = values[high - 1];
                any = true;
            }
        }
        Plan::Count => {
            for (out, (low, high)) in steps {
                *out = (high - low) as f64;
                any = true;
            }
        }
        Plan::Presence => {
            for (out, _) in steps {
                *out = 1.0;
                any = true;
            }
        }
        Plan::Windows(kernel) => return windows(kernel, frame, samples, out, look),
    }
    Ok(any)
}

/// Per value: how many pairs of neighbours up to it fulfil the test.
fn count_pairs(values: &[f64], test: fn(f64, f64) -> bool, counts: &mut Vec<u32>) {
    counts.clear();
    let mut count = 0;
    counts.extend(values.first().map(|_| 0));
    counts.extend(values.windows(2).map(|pair| {
        count += u32::from(test(pair[0], pair[1]));
        count
    }));
}

fn stretched(
    is_counter: bool,
    samples: &Samples<'_>,
    scratch: &mut Scratch,
    out: &mut [f64],
) -> bool {
    let values = samples.values;
    let is_reset = |pair: &[f64]| pair[1] < pair[0];
    // Looked at to the end, without a branch: most columns have none.
    let resets =
        is_counter && values.windows(2).fold(false, |resets, pair| resets | is_reset(pair));
    if resets {
        count_pairs(values, |a, b| b < a, &mut scratch.counts);
        scratch.reached.clear();
        let pairs = values.windows(2).filter(|pair| is_reset(pair));
        scratch.reached.extend(pairs.map(|pair| pair[0]));
    }
    let mut any = false;
    let windows = samples.bounds.iter().zip(samples.stretches);
    for (out, ((low, high), stretch)) in out.iter_mut().zip(windows) {
        let Some(stretch) = stretch else { continue };
        let (first, last) = (values[*low], values[high - 1]);
        let mut rise = last - first;
        if resets {
            // After a reset the counter starts from zero: what it had reached is added again, in
            // the order of time.
            let (from, to) = (scratch.counts[*low], scratch.counts[high - 1]);
            let reached = &scratch.reached[from as usize..to as usize];
            reached.iter().for_each(|value| rise += value);
        }
        *out = stretch.of(first, rise, is_counter);
        any = true;
    }
    any
}

/// A queue of the values that can still be the extreme of a later window, the best in front.
fn extremes(
    beats: fn(f64, f64) -> bool,
    samples: &Samples<'_>,
    scratch: &mut Scratch,
    out: &mut [f64],
) -> bool {
    let (values, queue) = (samples.values, &mut scratch.queue);
    queue.clear();
    let (mut any, mut seen) = (false, 0);
    for (out, (low, high)) in out.iter_mut().zip(samples.bounds) {
        seen = seen.max(*low);
        while seen < *high {
            let value = values[seen];
            if !value.is_nan() {
                while queue.back().is_some_and(|back| beats(value, values[*back])) {
                    queue.pop_back();
                }
                queue.push_back(seen);
            }
            seen += 1;
        }
        while queue.front().is_some_and(|front| front < low) {
            queue.pop_front();
        }
        if low < high {
            // All are NaN: the last one, as a comparison from left to right would leave it.
            *out = values[queue.front().copied().unwrap_or(high - 1)];
            any = true;
        }
    }
    any
}

/// Samples looked at between two questions whether to go on.
const WORK_PER_LOOK: usize = 1 << 16;

fn windows<E>(
    kernel: Kernel,
    frame: &Frame<'_>,
    samples: &Samples<'_>,
    out: &mut [f64],
    look: &dyn Fn() -> Result<(), E>,
) -> Result<bool, E> {
    // With `@` all windows are the same one, and so are the results.
    let fixed = frame.scalars.is_empty() && frame.ends_ms.first() == frame.ends_ms.last();
    let (mut any, mut work) = (false, 0);
    for step in 0..out.len() {
        let (low, high) = samples.bounds[step];
        work += 1 + high - low;
        if work > WORK_PER_LOOK {
            look()?;
            work = 0;
        }
        if low == high {
            continue;
        }
        let argument = |at: usize| frame.scalars.get(at).map_or(0.0, |scalar| scalar[step]);
        let result = kernel(&Window {
            timestamps_ms: &samples.timestamps_ms[low..high],
            values: &samples.values[low..high],
            start_ms: frame.ends_ms[step].saturating_sub(frame.length_ms),
            end_ms: frame.ends_ms[step],
            now_ms: frame.now_ms[step],
            ascending: false,
            args: [argument(0), argument(1)],
            ..Window::nothing(Span::default())
        });
        any |= result.is_some();
        if fixed {
            out.fill(result.unwrap_or(ABSENT));
            break;
        }
        out[step] = result.unwrap_or(ABSENT);
    }
    Ok(any)
}
