//! Selectors: from groups of columns to values per step, and to windows of samples.
//!
//! Windows are left-open: a sample at exactly `end - length` is not in it. The bounds of all windows
//! are found once per group by one walk over its timestamps; a column in which nothing is missing
//! uses them as they are, any other column is packed first and gets bounds of its own.

use super::value::{Metric, Series, Steps, Vector, Visit, absent};
use super::{Eval, Result, scan};
use crate::syntax::{At, Node, NodeKind, Subquery, VectorSelector};
use std::sync::Arc;
use vigie_model::{
    ABSENT, METRIC_NAME, MatchOp, Matcher, MetricGroup, Selection, TimeRange, is_absent, is_stale,
};

/// What a vector selector yields.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// The sample's value.
    Value,
    /// The sample's own time in seconds, for `timestamp()`.
    Timestamp,
}

/// The windows of a range selector or subquery: the same length, one end per step.
pub(super) struct Windows {
    pub(super) length_ms: i64,
    pub(super) ends_ms: Vec<i64>,
    /// The offset, which a subquery needs to find its grid.
    offset_ms: i64,
}

/// One series with its windows.
pub(super) struct WindowColumn<'a> {
    pub(super) metric: &'a Metric,
    pub(super) drop_name: bool,
    pub(super) timestamps_ms: &'a [i64],
    /// Real samples only: neither absent nor stale.
    pub(super) values: &'a [f64],
    /// Per step, the half-open range of the samples in the window.
    pub(super) bounds: &'a [(usize, usize)],
}

impl Eval<'_> {
    fn instant_of(&self, at: At) -> i64 {
        match at {
            At::Instant(ms) => ms,
            At::Start => self.query.start_ms,
            At::End => self.query.end_ms,
        }
    }

    /// The instants that steps look at, after `@` and `offset`.
    fn ends(&self, at: Option<At>, offset_ms: i64, steps: Steps) -> Vec<i64> {
        match at {
            Some(at) => vec![self.instant_of(at).saturating_sub(offset_ms); steps.count],
            None => steps.times().map(|ts_ms| ts_ms.saturating_sub(offset_ms)).collect(),
        }
    }

    /// A vector selector.
    pub(super) fn selector(
        &mut self,
        selector: &VectorSelector,
        steps: Steps,
        reading: Reading,
    ) -> Result<Vector> {
        let one_name = equal_name(&selector.matchers).is_some();
        let mut series = Vec::new();
        self.stream_selector(selector, steps, reading, &mut |eval, metric, drop_name, values| {
            eval.room_for(((series.len() + 1) * steps.count) as u64)?;
            series.push(Series { metric, drop_name, values: values.to_vec() });
            Ok(())
        })?;
        Ok(Vector { series, one_name })
    }

    /// Hands the series of a vector to `visit` one by one; what need not be held is not.
    pub(super) fn stream(&mut self, node: &Node, steps: Steps, visit: Visit<'_>) -> Result<()> {
        let node = node.unparenthesised();
        match &node.kind {
            NodeKind::Vector(selector) => {
                self.tick()?;
                self.timed(node, |eval| {
                    eval.stream_selector(selector, steps, Reading::Value, visit)
                })
            }
            NodeKind::Call(call) if self.can_stream(call) => {
                self.tick()?;
                self.timed(node, |eval| eval.stream_over_time(call, steps, visit))
            }
            _ => {
                let vector = self.vector(node, steps)?;
                let exists = |series: &Series| !series.values.iter().all(|v| is_absent(*v));
                for series in vector.series.into_iter().filter(exists) {
                    visit(self, series.metric, series.drop_name, &series.values)?;
                }
                Ok(())
            }
        }
    }

    fn stream_selector(
        &mut self,
        selector: &VectorSelector,
        steps: Steps,
        reading: Reading,
        visit: Visit<'_>,
    ) -> Result<()> {
        let offset_ms = self.offset_ms(&selector.offset)?;
        self.hold(4 * steps.count)?;
        let ends = self.ends(selector.at, offset_ms, steps);
        let (Some(first), Some(last)) = (ends.first(), ends.last()) else { return Ok(()) };
        let lookback_ms = self.options.lookback_ms;
        let start_ms = first.saturating_sub(lookback_ms).saturating_add(1);
        let range = TimeRange { start_ms, end_ms: *last };
        let selection = self.source.select(&selector.matchers, range)?;
        self.note_selection(&selection)?;
        if scan::is_plain(&selection) {
            return self.scan_instants(&selection, (&ends, lookback_ms), reading, visit);
        }
        let (mut column, mut bounds) = (Vec::new(), Vec::new());
        let mut values = absent(steps.count);
        for group in &selection.groups {
            let timestamps_ms = group.timestamps_ms();
            find_bounds(timestamps_ms, &ends, lookback_ms, &mut bounds);
            for (at, id) in group.series().iter().enumerate() {
                self.tick()?;
                group.read(at, &mut column)?;
                self.room_for(column.len() as u64)?;
                values.fill(ABSENT);
                if latest(timestamps_ms, &column, &bounds, reading, &mut values) {
                    if let Some(account) = self.counting() {
                        let there = values.iter().map(|value| u64::from(!is_absent(*value)));
                        account.add_steps(&there.collect::<Vec<_>>());
                    }
                    let lookup = Arc::clone(&selection.lookup);
                    let metric = Metric::Stored { id: *id, lookup, nameless: false };
                    visit(self, metric, false, &values)?;
                }
            }
        }
        Ok(())
    }

    /// Where the windows of a range selector or subquery lie.
    pub(super) fn windows(&mut self, node: &Node, steps: Steps) -> Result<Windows> {
        let (range, at, offset) = match &node.unparenthesised().kind {
            NodeKind::Matrix { selector, range } => (range, selector.at, &selector.offset),
            NodeKind::Subquery(subquery) => (&subquery.range, subquery.at, &subquery.offset),
            _ => return Err(super::execution("expected a range vector")),
        };
        let length_ms = self.positive_ms(range)?;
        let offset_ms = self.offset_ms(offset)?;
        // Ends, bounds shared by columns, bounds of a column with gaps.
        self.hold(5 * steps.count)?;
        Ok(Windows { length_ms, ends_ms: self.ends(at, offset_ms, steps), offset_ms })
    }

    /// Calls `visit` with every series of a range selector or subquery.
    pub(super) fn each_column(
        &mut self,
        node: &Node,
        windows: &Windows,
        steps: Steps,
        visit: impl FnMut(&mut Self, WindowColumn<'_>) -> Result<()>,
    ) -> Result<()> {
        if steps.count == 0 {
            return Ok(());
        }
        match &node.unparenthesised().kind {
            NodeKind::Matrix { selector, .. } => {
                let selection = self.selected(selector, windows)?;
                self.stored_columns(&selection, windows, visit)
            }
            NodeKind::Subquery(subquery) => self.computed_columns(subquery, windows, steps, visit),
            _ => Err(super::execution("expected a range vector")),
        }
    }

    /// What a range selector selects.
    pub(super) fn selected(
        &mut self,
        selector: &VectorSelector,
        windows: &Windows,
    ) -> Result<Selection> {
        let (first, last) = (windows.ends_ms[0], windows.ends_ms[windows.ends_ms.len() - 1]);
        let range = TimeRange {
            start_ms: first.saturating_sub(windows.length_ms).saturating_add(1),
            end_ms: last,
        };
        let selection = self.source.select(&selector.matchers, range)?;
        self.note_selection(&selection)?;
        Ok(selection)
    }

    /// Calls `visit` with every series of a selection.
    pub(super) fn stored_columns(
        &mut self,
        selection: &Selection,
        windows: &Windows,
        mut visit: impl FnMut(&mut Self, WindowColumn<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut buffers = Buffers::default();
        for group in &selection.groups {
            buffers.enter(group.as_ref(), windows);
            for (at, id) in group.series().iter().enumerate() {
                self.tick()?;
                group.read(at, &mut buffers.column)?;
                self.room_for(buffers.column.len() as u64)?;
                let lookup = Arc::clone(&selection.lookup);
                let metric = Metric::Stored { id: *id, lookup, nameless: false };
                buffers.visit(
                    self,
                    group.timestamps_ms(),
                    windows,
                    (&metric, false),
                    &mut visit,
                )?;
            }
        }
        Ok(())
    }

    fn computed_columns(
        &mut self,
        subquery: &Subquery,
        windows: &Windows,
        steps: Steps,
        mut visit: impl FnMut(&mut Self, WindowColumn<'_>) -> Result<()>,
    ) -> Result<()> {
        let step_ms = match &subquery.step {
            Some(step) => self.positive_ms(step)?,
            None => self.options.default_subquery_step_ms,
        };
        // The grid of a subquery lies on absolute multiples of its step.
        let (first, last) = match subquery.at {
            Some(at) => {
                let end = self.instant_of(at).saturating_sub(windows.offset_ms);
                (end, end)
            }
            None => (
                steps.start_ms.saturating_sub(windows.offset_ms),
                steps.last().saturating_sub(windows.offset_ms),
            ),
        };
        let before = first.saturating_sub(windows.length_ms);
        let step_ms = step_ms.max(1);
        let mut start = step_ms * (before / step_ms);
        if start <= before {
            start += step_ms;
        }
        let grid = Steps::between(start, last, step_ms);
        let held = self.samples;
        self.hold(grid.count)?;
        self.grids += 1;
        let inner = self.vector(&subquery.expr, grid)?;
        self.grids -= 1;
        let timestamps_ms: Vec<i64> = grid.times().collect();
        let mut buffers = Buffers::default();
        find_bounds(&timestamps_ms, &windows.ends_ms, windows.length_ms, &mut buffers.shared);
        for series in inner.series {
            self.tick()?;
            buffers.column = series.values;
            let who = (&series.metric, series.drop_name);
            buffers.visit(self, &timestamps_ms, windows, who, &mut visit)?;
        }
        self.samples = held;
        Ok(())
    }
}

/// Reused from column to column.
#[derive(Default)]
struct Buffers {
    column: Vec<f64>,
    shared: Vec<(usize, usize)>,
    own_times: Vec<i64>,
    own_values: Vec<f64>,
    own_bounds: Vec<(usize, usize)>,
}

impl Buffers {
    fn enter(&mut self, group: &dyn MetricGroup, windows: &Windows) {
        let timestamps_ms = group.timestamps_ms();
        find_bounds(timestamps_ms, &windows.ends_ms, windows.length_ms, &mut self.shared);
    }

    /// Hands the column that was read last to `visit`, packed when samples are missing.
    fn visit<'e, F>(
        &mut self,
        eval: &mut Eval<'e>,
        timestamps_ms: &[i64],
        windows: &Windows,
        (metric, drop_name): (&Metric, bool),
        visit: &mut F,
    ) -> Result<()>
    where
        F: FnMut(&mut Eval<'e>, WindowColumn<'_>) -> Result<()>,
    {
        let missing = |value: &f64| is_absent(*value) || is_stale(*value);
        if !self.column.iter().any(missing) {
            let (values, bounds) = (&self.column[..], &self.shared[..]);
            let column = WindowColumn { metric, drop_name, timestamps_ms, values, bounds };
            return visit(eval, column);
        }
        self.own_times.clear();
        self.own_values.clear();
        for (ts_ms, value) in timestamps_ms.iter().zip(&self.column) {
            if !missing(value) {
                self.own_times.push(*ts_ms);
                self.own_values.push(*value);
            }
        }
        if self.own_times.is_empty() {
            return Ok(());
        }
        let (ends_ms, length_ms) = (&windows.ends_ms, windows.length_ms);
        find_bounds(&self.own_times, ends_ms, length_ms, &mut self.own_bounds);
        visit(
            eval,
            WindowColumn {
                metric,
                drop_name,
                timestamps_ms: &self.own_times,
                values: &self.own_values,
                bounds: &self.own_bounds,
            },
        )
    }
}

/// The name that an equality matcher demands, if one does.
pub(super) fn equal_name(matchers: &[Matcher]) -> Option<&str> {
    matchers
        .iter()
        .find(|m| m.name == METRIC_NAME && m.op == MatchOp::Equal && !m.value.is_empty())
        .map(|m| m.value.as_str())
}

/// Per end, the half-open range of the timestamps in `(end - length, end]`. Ends do not descend.
pub(super) fn find_bounds(
    timestamps_ms: &[i64],
    ends_ms: &[i64],
    length_ms: i64,
    bounds: &mut Vec<(usize, usize)>,
) {
    bounds.clear();
    bounds.reserve(ends_ms.len());
    let (mut low, mut high) = (0, 0);
    for end_ms in ends_ms {
        while high < timestamps_ms.len() && timestamps_ms[high] <= *end_ms {
            high += 1;
        }
        while low < high && timestamps_ms[low] <= end_ms.saturating_sub(length_ms) {
            low += 1;
        }
        bounds.push((low, high));
    }
}

/// Fills `values`, which is [`ABSENT`] everywhere, with the newest sample of each window, unless it is
/// a stale marker; says whether there is any.
pub(super) fn latest(
    timestamps_ms: &[i64],
    column: &[f64],
    bounds: &[(usize, usize)],
    reading: Reading,
    values: &mut [f64],
) -> bool {
    let mut any = false;
    for (out, (low, high)) in values.iter_mut().zip(bounds) {
        let newest = (*low..*high).rev().find(|at| !is_absent(column[*at]));
        if let Some(at) = newest.filter(|at| !is_stale(column[*at])) {
            any = true;
            *out = match reading {
                Reading::Value => column[at],
                Reading::Timestamp => timestamps_ms[at] as f64 / 1000.0,
            };
        }
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_open_at_their_left_end() {
        let mut bounds = Vec::new();
        find_bounds(&[0, 10, 20, 30], &[10, 20, 40, 50], 20, &mut bounds);
        assert_eq!(bounds, [(0, 2), (1, 3), (3, 4), (4, 4)]);
    }

    #[test]
    fn a_stale_marker_hides_what_is_older_than_it() {
        let column = [1.0, vigie_model::STALE_NAN, ABSENT, 4.0];
        let bounds = [(0, 1), (0, 2), (0, 3), (0, 4)];
        let mut values = vec![ABSENT; 4];
        assert!(latest(&[1000, 2000, 3000, 4000], &column, &bounds, Reading::Value, &mut values));
        assert_eq!((values[0], values[3]), (1.0, 4.0));
        assert!(is_absent(values[1]) && is_absent(values[2]));
    }
}
