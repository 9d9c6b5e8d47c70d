//! The fast evaluation of selectors: columns of floats, whole, in morsels.
//!
//! What a selection holds is read column by column: the bounds of all windows are found once per
//! group, a kernel fills the steps of a column ([`kernels`]), and several threads do so at once
//! while the results come out in the order of the columns ([`morsels`]). An aggregation takes them
//! as they come, so that its cells are all it holds.
//!
//! Columns that may hold native histograms are left to the evaluation of one series at a time; the
//! answers are the same bit for bit, which `tests/the_scan_is_exact.rs` holds it to.

mod kernels;
mod morsels;

use super::kernels::Kernel;
use super::select::{Reading, Windows, find_bounds, latest_floats};
use super::stretch::Stretch;
use super::value::{Metric, Row, Visit};
use super::{Eval, Result, Steps};
use crate::syntax::Span;
use kernels::{Frame, Plan, Samples};
use morsels::{Block, Cells, Morsel};
use std::sync::Arc;
use vigie_model::{ABSENT, MetricGroup, Selection, is_absent, is_stale};

/// Whether every column of a selection is one of floats only.
pub(super) fn is_plain(selection: &Selection) -> bool {
    let plain = |group: &dyn MetricGroup| {
        (0..group.series().len()).all(|column| !group.may_have_histograms(column))
    };
    selection.groups.iter().all(|group| plain(group.as_ref()))
}

/// A function over windows.
pub(super) struct OverTime<'a> {
    pub(super) name: &'a str,
    pub(super) kernel: Kernel,
    pub(super) scalars: &'a [Vec<f64>],
    /// Where the first argument stands.
    pub(super) first_span: Span,
}

/// What a thread keeps from column to column.
#[derive(Default)]
struct Scratch {
    /// The group that `shared` and `stretches` are of.
    group: Option<usize>,
    column: Vec<f64>,
    shared: Vec<(usize, usize)>,
    /// Per step, 1 where a column without gaps has a sample; and whether it has any.
    presence: Vec<f64>,
    any: bool,
    stretches: Vec<Option<Stretch>>,
    packed: Packed,
    kernels: kernels::Scratch,
}

impl Scratch {
    /// Finds where a column without gaps has samples, from the bounds of its group.
    fn note_presence(&mut self) {
        self.presence.clear();
        let there = self.shared.iter().map(|(low, high)| if low < high { 1.0 } else { ABSENT });
        self.presence.extend(there);
        self.any = self.shared.iter().any(|(low, high)| low < high);
    }
}

/// A column with gaps, without them.
#[derive(Default)]
struct Packed {
    timestamps_ms: Vec<i64>,
    values: Vec<f64>,
    bounds: Vec<(usize, usize)>,
    stretches: Vec<Option<Stretch>>,
}

/// Fills the steps of one column, [`ABSENT`] so far; says whether there is any value. The flag says
/// that the group is another than before.
type Fill<'f> = &'f (
        dyn Fn(&dyn MetricGroup, usize, bool, &mut Scratch, &mut Cells<'_>) -> Result<bool> + Sync
    );

impl<'a> Eval<'a> {
    /// Hands the values of a vector selector to `visit`, series by series.
    pub(super) fn scan_instants(
        &mut self,
        selection: &Selection,
        (ends_ms, lookback_ms): (&[i64], i64),
        reading: Reading,
        visit: Visit<'_>,
    ) -> Result<()> {
        let fill = |group: &dyn MetricGroup,
                    at: usize,
                    is_new: bool,
                    scratch: &mut Scratch,
                    out: &mut Cells<'_>| {
            let timestamps_ms = group.timestamps_ms();
            if is_new {
                find_bounds(timestamps_ms, ends_ms, lookback_ms, &mut scratch.shared);
                scratch.note_presence();
            }
            let presence = reading == Reading::Presence;
            let is_plain = presence && group.is_plain(at);
            if !is_plain {
                group.read(at, &mut scratch.column)?;
            }
            let column = &scratch.column[..];
            if presence && (is_plain || !column.iter().any(|value| value.is_nan())) {
                out.values.copy_from_slice(&scratch.presence);
                out.count_values();
                return Ok(scratch.any);
            }
            if reading != Reading::Value || column.iter().any(|value| value.is_nan()) {
                let shared = &scratch.shared;
                let any = latest_floats(timestamps_ms, column, shared, reading, out.values);
                out.count_values();
                return Ok(any);
            }
            let mut any = false;
            for (out, (low, high)) in out.values.iter_mut().zip(&scratch.shared) {
                if low < high {
                    *out = column[high - 1];
                    any = true;
                }
            }
            out.count_values();
            Ok(any)
        };
        self.scan(selection, ends_ms.len(), &fill, visit)
    }

    /// Hands the results of a function over the windows of a range selector to `visit`.
    pub(super) fn scan_windows(
        &mut self,
        selection: &Selection,
        windows: &Windows,
        function: &OverTime<'_>,
        steps: Steps,
        visit: Visit<'_>,
    ) -> Result<()> {
        let plan = Plan::of(function.name, function.kernel);
        self.hold(steps.count)?;
        let now_ms: Vec<i64> = steps.times().collect();
        let frame = Frame {
            ends_ms: &windows.ends_ms,
            length_ms: windows.length_ms,
            now_ms: &now_ms,
            scalars: function.scalars,
        };
        let options = self.options;
        let fill = |group: &dyn MetricGroup,
                    at: usize,
                    is_new: bool,
                    scratch: &mut Scratch,
                    out: &mut Cells<'_>| {
            let timestamps_ms = group.timestamps_ms();
            let Scratch { column, shared, stretches, packed, kernels, .. } = scratch;
            if is_new {
                find_bounds(timestamps_ms, frame.ends_ms, frame.length_ms, shared);
                kernels::stretches(plan, &frame, timestamps_ms, shared, stretches);
            }
            let is_plain = plan.only_counts() && group.is_plain(at);
            if !is_plain {
                group.read(at, column)?;
            }
            let has_gaps = |value: &f64| is_absent(*value) || is_stale(*value);
            let samples = if !is_plain && column.iter().any(has_gaps) {
                packed.pack(timestamps_ms, column, plan, &frame)
            } else {
                Samples { timestamps_ms, values: column, bounds: shared, stretches }
            };
            out.count(samples.bounds.iter().map(|(low, high)| (high - low) as u64));
            kernels::fill(plan, &frame, &samples, kernels, out.values, &|| options.look())
        };
        self.scan(selection, steps.count, &fill, visit)
    }

    fn scan(
        &mut self,
        selection: &Selection,
        steps: usize,
        fill: Fill<'_>,
        visit: Visit<'_>,
    ) -> Result<()> {
        let groups = &selection.groups;
        if steps == 0 {
            return Ok(());
        }
        let morsels = morsels::cut(groups.iter().map(|group| group.series().len()), steps);
        self.hold(morsels::cells_held(&morsels, steps))?;
        let rows = groups.iter().map(|group| group.timestamps_ms().len()).max().unwrap_or(0);
        self.room_for(rows as u64)?;
        let (options, counting) = (self.options, self.counting());
        let work = |morsel: &Morsel, scratch: &mut Scratch, block: &mut Block| {
            options.look()?;
            let group = groups[morsel.group].as_ref();
            let mut is_new = scratch.group.replace(morsel.group) != Some(morsel.group);
            block.counts.resize(if counting.is_some() { steps } else { 0 }, 0);
            for at in morsel.columns.clone() {
                let from = block.values.len();
                block.values.resize(from + steps, ABSENT);
                if fill(group, at, is_new, scratch, &mut block.row(from))? {
                    block.ids.push(group.series()[at]);
                } else {
                    block.values.truncate(from);
                }
                is_new = false;
            }
            Ok(())
        };
        morsels::in_order(&morsels, &work, &mut |block| {
            if let Some(account) = &counting {
                account.add_steps(&block.counts);
            }
            for (id, values) in block.ids.iter().zip(block.values.chunks_exact(steps)) {
                let lookup = Arc::clone(&selection.lookup);
                let metric = Metric::Stored { id: *id, lookup, nameless: false };
                visit(self, metric, false, Row { values, histograms: &[] })?;
            }
            Ok(())
        })
    }
}

impl Packed {
    fn pack(
        &mut self,
        timestamps_ms: &[i64],
        column: &[f64],
        plan: Plan,
        frame: &Frame<'_>,
    ) -> Samples<'_> {
        self.timestamps_ms.clear();
        self.values.clear();
        for (ts_ms, value) in timestamps_ms.iter().zip(column) {
            if !is_absent(*value) && !is_stale(*value) {
                self.timestamps_ms.push(*ts_ms);
                self.values.push(*value);
            }
        }
        find_bounds(&self.timestamps_ms, frame.ends_ms, frame.length_ms, &mut self.bounds);
        let Packed { timestamps_ms, values, bounds, stretches } = self;
        kernels::stretches(plan, frame, timestamps_ms, bounds, stretches);
        Samples { timestamps_ms, values, bounds, stretches }
    }
}
