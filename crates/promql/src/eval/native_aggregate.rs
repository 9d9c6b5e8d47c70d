//! Aggregations over native histograms, beside the cells that hold floats.
//!
//! A group that meets a histogram gets a cell of its own per step, so that vectors of floats pay
//! nothing. A group that has met both kinds, or both exponential and custom buckets, has no result.

use super::cells::Cells;
use super::notes::Note;
use super::value::{Metric, Point, Row, Series, Steps};
use super::{Eval, Result};
use crate::native::{Combined, FloatHistogram, Mixed};
use crate::syntax::{AggregateOp, Span};
use std::collections::HashMap;
use std::sync::Arc;
use vigie_model::histogram::ResetHint;
use vigie_model::{ABSENT, Labels, is_absent};

/// A sum or mean of histograms. The mean is a plain sum until that would overflow, and incremental
/// from there.
pub(super) struct NativeMean {
    value: FloatHistogram,
    count: f64,
    incremental: bool,
    mean: bool,
    reset_seen: bool,
    not_reset_seen: bool,
    pub(super) bounds_differ: bool,
}

impl NativeMean {
    pub(super) fn new(first: &FloatHistogram, mean: bool) -> NativeMean {
        let mut new = NativeMean {
            value: first.clone(),
            count: 1.0,
            incremental: false,
            mean,
            reset_seen: false,
            not_reset_seen: false,
            bounds_differ: false,
        };
        new.track(first);
        new
    }

    fn track(&mut self, histogram: &FloatHistogram) {
        self.reset_seen |= histogram.reset_hint == ResetHint::Reset;
        self.not_reset_seen |= histogram.reset_hint == ResetHint::NotReset;
    }

    pub(super) fn add(&mut self, histogram: &FloatHistogram) -> std::result::Result<(), Mixed> {
        self.track(histogram);
        self.count += 1.0;
        if !self.mean {
            let combined = self.value.add_compensated(histogram)?;
            self.note(combined);
            return Ok(());
        }
        if !self.incremental {
            let mut sum = self.value.clone();
            let combined = sum.add_compensated(histogram)?;
            self.note(combined);
            if !sum.overflows() {
                self.value = sum;
                return Ok(());
            }
            self.incremental = true;
            self.value = self.take().div(self.count - 1.0);
        }
        let q = (self.count - 1.0) / self.count;
        self.value = self.take().mul(q);
        let combined = self.value.add_compensated(&histogram.clone().div(self.count))?;
        self.note(combined);
        Ok(())
    }

    fn take(&mut self) -> FloatHistogram {
        let empty = FloatHistogram::empty(0, Arc::from([]));
        std::mem::replace(&mut self.value, empty)
    }

    fn note(&mut self, combined: Combined) {
        self.bounds_differ |= combined.bounds_differ;
    }

    pub(super) fn resets_collide(&self) -> bool {
        self.reset_seen && self.not_reset_seen
    }

    pub(super) fn result(self) -> FloatHistogram {
        let value =
            if self.mean && !self.incremental { self.value.div(self.count) } else { self.value };
        value.settle()
    }
}

/// One group at one step.
struct Cell {
    sum: Option<NativeMean>,
    /// Both exponential and custom buckets were met: nothing more is looked at.
    is_broken: bool,
}

/// The cells of an aggregation that have met a histogram.
pub(super) struct NativeCells {
    op: AggregateOp,
    span: Span,
    cells: HashMap<usize, Cell>,
}

impl NativeCells {
    pub(super) fn new(op: AggregateOp, span: Span) -> NativeCells {
        NativeCells { op, span, cells: HashMap::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Adds a series in which there may be histograms to its group, whose first cell is `first`.
    pub(super) fn add_row(
        &mut self,
        eval: &mut Eval<'_>,
        metric: &Metric,
        row: Row<'_>,
        first: usize,
        floats: &mut Cells,
    ) -> Result<()> {
        for step in 0..row.values.len() {
            if is_absent(row.values[step]) {
                continue;
            }
            let native = self.cells.get(&(first + step));
            if native.is_some_and(|native| native.is_broken) {
                continue;
            }
            match (row.histogram(step), self.op) {
                (None, _) => floats.add(first + step, row.values[step]),
                (Some(_), AggregateOp::Count | AggregateOp::Group) => floats.add(first + step, 1.0),
                (Some(histogram), AggregateOp::Sum | AggregateOp::Avg) => {
                    self.add(eval, metric, first + step, histogram)?;
                }
                (Some(_), op) => {
                    eval.notes.told(&Note::IgnoredInAggregation(op.as_str()), self.span);
                }
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        eval: &mut Eval<'_>,
        metric: &Metric,
        at: usize,
        histogram: &FloatHistogram,
    ) -> Result<()> {
        let mean = self.op == AggregateOp::Avg;
        let cell = self.cells.entry(at).or_insert(Cell { sum: None, is_broken: false });
        let Some(sum) = &mut cell.sum else {
            eval.hold(histogram.cells())?;
            cell.sum = Some(NativeMean::new(histogram, mean));
            return Ok(());
        };
        if sum.add(histogram).is_err() {
            cell.is_broken = true;
            let name = metric.labels().metric_name().unwrap_or("").to_owned();
            eval.notes.told(&Note::MixedCustom(name), self.span);
        } else if std::mem::take(&mut sum.bounds_differ) {
            eval.notes.told(&Note::BoundsDiffer("aggregation"), self.span);
        }
        Ok(())
    }

    /// Puts the results into the series, one per group.
    pub(super) fn finish(
        self,
        eval: &mut Eval<'_>,
        floats: &Cells,
        series: &mut [Series],
        steps: Steps,
    ) {
        for (at, cell) in self.cells {
            let (place, step) = (at / steps.count, at % steps.count);
            if floats.count(at) > 0.0 {
                eval.notes.told(&Note::MixedFloatsInAggregation, self.span);
                series[place].values[step] = ABSENT;
                continue;
            }
            let Some(sum) = cell.sum.filter(|_| !cell.is_broken) else { continue };
            if sum.resets_collide() {
                eval.notes.told(&Note::ResetsCollide("aggregation"), self.span);
            }
            let result = Arc::new(sum.result().compact());
            series[place].put(step, Some(Point::Histogram(result)));
        }
    }
}

/// The place of a series between 0 and 1, which depends on its labels only: xxHash of the labels as
/// Prometheus packs them, over the largest hash.
pub(super) fn ratio_offset(labels: &Labels) -> f64 {
    let mut packed = Vec::new();
    for label in labels.iter() {
        for text in [label.name.as_ref(), label.value.as_ref()] {
            let text: &str = text;
            match u8::try_from(text.len()) {
                Ok(length) if length < 255 => packed.push(length),
                _ => {
                    let length = text.len() as u32;
                    packed.push(255);
                    packed.extend_from_slice(&length.to_le_bytes()[..3]);
                }
            }
            packed.extend_from_slice(text.as_bytes());
        }
    }
    xxhash_rust::xxh64::xxh64(&packed, 0) as f64 / u64::MAX as f64
}
