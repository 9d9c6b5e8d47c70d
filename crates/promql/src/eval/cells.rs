//! What the groups of an aggregation have seen: one cell per group and step, however many series
//! there are.
//!
//! What is kept of a cell stands in lists side by side, so that the loops of the operators of large
//! fleets (`sum`, `count`, `max`, `min`) decide nothing and become vector instructions. The order of
//! the operations is Prometheus' (`promql/engine.go`, `aggregation`), to the last bit.

use super::math::{Mean, kahan};
use crate::syntax::AggregateOp;
use vigie_model::{ABSENT, is_absent};

/// The cells of all groups, group after group.
pub(super) struct Cells {
    op: AggregateOp,
    /// How many values were seen.
    counts: Vec<f64>,
    /// The sum, the extreme, the mean of `avg` once that is incremental, or the sum of squares.
    values: Vec<f64>,
    /// What the value lacks; the running mean of `stddev` and `stdvar`.
    errors: Vec<f64>,
    /// Whether the mean of `avg` is incremental.
    incremental: Vec<bool>,
}

impl Cells {
    pub(super) fn new(op: AggregateOp) -> Cells {
        Cells {
            op,
            counts: Vec::new(),
            values: Vec::new(),
            errors: Vec::new(),
            incremental: Vec::new(),
        }
    }

    /// Adds a group of `steps` cells.
    pub(super) fn grow(&mut self, steps: usize) {
        let cells = self.counts.len() + steps;
        self.counts.resize(cells, 0.0);
        if !matches!(self.op, AggregateOp::Count | AggregateOp::Group) {
            self.values.resize(cells, 0.0);
            self.errors.resize(cells, 0.0);
        }
        if self.op == AggregateOp::Avg {
            self.incremental.resize(cells, false);
        }
    }

    /// Values seen in a cell.
    pub(super) fn count(&self, at: usize) -> f64 {
        self.counts[at]
    }

    /// Adds a series to its group, whose first cell is `first`.
    pub(super) fn add_row(&mut self, first: usize, row: &[f64]) {
        let cells = first..first + row.len();
        let counts = &mut self.counts[cells.clone()];
        match self.op {
            AggregateOp::Count | AggregateOp::Group => {
                for (count, value) in counts.iter_mut().zip(row) {
                    *count += f64::from(u8::from(!is_absent(*value)));
                }
            }
            AggregateOp::Sum => {
                let cells = (&mut self.values[cells.clone()], &mut self.errors[cells]);
                add_to_sums(counts, cells.0, cells.1, row);
            }
            AggregateOp::Max => extend(counts, &mut self.values[cells], row, |new, old| new > old),
            AggregateOp::Min => extend(counts, &mut self.values[cells], row, |new, old| new < old),
            _ => {
                for (at, value) in cells.zip(row).filter(|(_, value)| !is_absent(**value)) {
                    self.add(at, *value);
                }
            }
        }
    }

    /// Adds a value to a cell.
    pub(super) fn add(&mut self, at: usize, value: f64) {
        match self.op {
            AggregateOp::Avg => {
                let mut mean = self.mean(at);
                mean.add(value);
                self.counts[at] = mean.count;
                (self.values[at], self.errors[at]) = (mean.value, mean.error);
                self.incremental[at] = mean.incremental;
            }
            AggregateOp::Stddev | AggregateOp::Stdvar => {
                self.counts[at] += 1.0;
                if self.counts[at] == 1.0 {
                    self.errors[at] = value;
                    self.values[at] = if value.is_finite() { 0.0 } else { f64::NAN };
                    return;
                }
                let delta = value - self.errors[at];
                self.errors[at] += delta / self.counts[at];
                self.values[at] += delta * (value - self.errors[at]);
            }
            _ => self.add_row(at, &[value]),
        }
    }

    fn mean(&self, at: usize) -> Mean {
        Mean {
            count: self.counts[at],
            value: self.values[at],
            error: self.errors[at],
            incremental: self.incremental[at],
        }
    }

    /// The result of a cell.
    pub(super) fn result(&self, at: usize) -> f64 {
        let count = self.counts[at];
        if count == 0.0 {
            return ABSENT;
        }
        match self.op {
            AggregateOp::Sum => self.values[at] + self.errors[at],
            AggregateOp::Avg => self.mean(at).result(),
            AggregateOp::Count => count,
            AggregateOp::Group => 1.0,
            AggregateOp::Stdvar => self.values[at] / count,
            AggregateOp::Stddev => (self.values[at] / count).sqrt(),
            _ => self.values[at],
        }
    }
}

fn add_to_sums(counts: &mut [f64], sums: &mut [f64], errors: &mut [f64], row: &[f64]) {
    let cells = counts.iter_mut().zip(sums).zip(errors).zip(row);
    for (((count, sum), error), value) in cells {
        let there = !is_absent(*value);
        // Upstream takes the first value as it is; added to zero it is the same, but for the sign
        // of a zero, which the sum of value and error loses in any case.
        let (total, lost) = kahan(*value, *sum, *error);
        *sum = if there { total } else { *sum };
        *error = if there { lost } else { *error };
        *count += f64::from(u8::from(there));
    }
}

fn extend(
    counts: &mut [f64],
    extremes: &mut [f64],
    row: &[f64],
    beats: impl Fn(f64, f64) -> bool + Copy,
) {
    for ((count, extreme), value) in counts.iter_mut().zip(extremes).zip(row) {
        let there = !is_absent(*value);
        let better = *count == 0.0 || beats(*value, *extreme) || extreme.is_nan();
        *extreme = if there && better { *value } else { *extreme };
        *count += f64::from(u8::from(there));
    }
}
