//! Selectors: from groups of columns to values per step, and to windows of samples.
//!
//! Windows are left-open: a sample at exactly `end - length` is not in it. The bounds of all windows
//! are found once per group by one walk over its timestamps; a column in which nothing is missing
//! uses them as they are, any other column is packed first and gets bounds of its own.

use super::value::{Histograms, IS_HISTOGRAM, Metric, Row, Series, Steps, Vector, Visit, put};
use super::{Eval, Hints, Result, scan};
use crate::native::FloatHistogram;
use crate::syntax::{At, Extended, Node, NodeKind, Span, Subquery, VectorSelector};
use std::sync::Arc;
use vigie_model::histogram::ResetHint;
use vigie_model::{
    ABSENT, Histogram, METRIC_NAME, MatchOp, Matcher, MetricGroup, STALE_NAN, Selection, TimeRange,
    is_absent, is_stale,
};

/// What a vector selector yields.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// The sample's value.
    Value,
    /// Whether there is a sample: anything but [`ABSENT`]. Values are read only where that is not
    /// known otherwise.
    Presence,
    /// The sample's own time in seconds, for `timestamp()`.
    Timestamp,
    /// The sample's own time in seconds, and its histogram if it is one, for `info()`.
    Origin,
    /// When the sample's counter began in seconds, for `start_timestamp()`; 0 when that is unknown.
    Start,
}

/// The windows of a range selector or subquery: the same length, one end per step.
pub(super) struct Windows {
    pub(super) length_ms: i64,
    pub(super) ends_ms: Vec<i64>,
    /// The offset, which a subquery needs to find its grid.
    offset_ms: i64,
    pub(super) extended: Extended,
    /// How far before the windows samples are handed out, too.
    before_ms: i64,
    /// Where samples end to be handed out, when that is not at the ends.
    reach_ends_ms: Option<Vec<i64>>,
}

impl Windows {
    /// The ends of what is handed out, and how long that is.
    fn reach(&self) -> (&[i64], i64) {
        let ends_ms = self.reach_ends_ms.as_ref().unwrap_or(&self.ends_ms);
        let after_ms = ends_ms[0].saturating_sub(self.ends_ms[0]);
        let length_ms = self.length_ms.saturating_add(self.before_ms).saturating_add(after_ms);
        (ends_ms, length_ms)
    }
}

/// One series with its windows.
pub(super) struct WindowColumn<'a> {
    pub(super) metric: &'a Metric,
    pub(super) drop_name: bool,
    pub(super) timestamps_ms: &'a [i64],
    /// Real samples only: neither absent nor stale.
    pub(super) values: &'a [f64],
    /// Empty when all samples are floats.
    pub(super) histograms: &'a [Option<Arc<FloatHistogram>>],
    /// When the counters began, 0 where that is unknown; empty when nothing is known.
    pub(super) starts_ms: &'a [i64],
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
        self.stream_selector(selector, steps, reading, &mut |eval, metric, drop_name, row| {
            eval.room_for_rows(series.len() + 1, steps.count)?;
            let (values, histograms) = (row.values.to_vec(), row.histograms.to_vec());
            series.push(Series { metric, drop_name, values, histograms });
            Ok(())
        })?;
        Ok(Vector { series, one_name })
    }

    /// Hands the series of a vector to `visit` one by one; what need not be held is not.
    /// Of a selector a [`Reading::Presence`] may be wanted; anything else has its values.
    pub(super) fn stream(
        &mut self,
        node: &Node,
        steps: Steps,
        reading: Reading,
        visit: Visit<'_>,
    ) -> Result<()> {
        let node = node.unparenthesised();
        match &node.kind {
            NodeKind::Vector(selector) => {
                self.tick()?;
                self.timed(node, |eval| eval.stream_selector(selector, steps, reading, visit))
            }
            NodeKind::Call(call) if self.can_stream(call) => {
                self.tick()?;
                self.timed(node, |eval| eval.stream_over_time(call, steps, visit))
            }
            _ => {
                let vector = self.vector(node, steps)?;
                self.hand_over(vector, visit)
            }
        }
    }

    fn hand_over(&mut self, vector: Vector, visit: Visit<'_>) -> Result<()> {
        let exists = |series: &Series| !series.values.iter().all(|v| is_absent(*v));
        for series in vector.series.into_iter().filter(exists) {
            visit(self, series.metric.clone(), series.drop_name, series.row())?;
        }
        Ok(())
    }

    fn stream_selector(
        &mut self,
        selector: &VectorSelector,
        steps: Steps,
        reading: Reading,
        visit: Visit<'_>,
    ) -> Result<()> {
        let is_value = matches!(reading, Reading::Value | Reading::Presence);
        if selector.extended == Extended::Smoothed && is_value {
            return self.stream_smoothed(selector, selector.span, steps, visit);
        }
        let offset_ms = self.offset_ms(&selector.offset)?;
        self.hold(4 * steps.count)?;
        let ends = self.ends(selector.at, offset_ms, steps);
        let (Some(first), Some(last)) = (ends.first(), ends.last()) else { return Ok(()) };
        let lookback_ms = self.options.lookback_ms;
        let start_ms = first.saturating_sub(lookback_ms).saturating_add(1);
        let range = TimeRange { start_ms, end_ms: *last };
        let selection = self.source.select(&selector.matchers, range)?;
        self.note_selection(&selection)?;
        if reading != Reading::Start && scan::is_plain(&selection) {
            return self.scan_instants(&selection, (&ends, lookback_ms), reading, visit);
        }
        let (mut samples, mut bounds) = (Samples::default(), Vec::new());
        let mut row = (Vec::new(), Histograms::new());
        for group in &selection.groups {
            let timestamps_ms = group.timestamps_ms();
            find_bounds(timestamps_ms, &ends, lookback_ms, &mut bounds);
            for (at, id) in group.series().iter().enumerate() {
                self.tick()?;
                samples.read(group.as_ref(), at, self)?;
                if latest(timestamps_ms, &samples, &bounds, reading, &mut row) {
                    if let Some(account) = self.counting() {
                        let floats = row.0.iter().map(|value| u64::from(!is_absent(*value)));
                        account.add_steps(&floats.collect::<Vec<_>>());
                    }
                    let lookup = Arc::clone(&selection.lookup);
                    let metric = Metric::Stored { id: *id, lookup, nameless: false };
                    visit(self, metric, false, Row { values: &row.0, histograms: &row.1 })?;
                }
            }
        }
        Ok(())
    }

    /// Where the windows of a range selector or subquery lie.
    pub(super) fn windows(&mut self, node: &Node, steps: Steps) -> Result<Windows> {
        let (range, at, offset, extended) = match &node.unparenthesised().kind {
            NodeKind::Matrix { selector, range } => {
                (range, selector.at, &selector.offset, selector.extended)
            }
            NodeKind::Subquery(subquery) => {
                (&subquery.range, subquery.at, &subquery.offset, Extended::No)
            }
            _ => return Err(super::execution("expected a range vector")),
        };
        let length_ms = self.positive_ms(range)?;
        let offset_ms = self.offset_ms(offset)?;
        // Ends, bounds shared by columns, bounds of a column with gaps.
        self.hold(6 * steps.count)?;
        let ends_ms = self.ends(at, offset_ms, steps);
        Ok(self.reaching(length_ms, ends_ms, offset_ms, extended))
    }

    fn reaching(
        &self,
        length_ms: i64,
        ends_ms: Vec<i64>,
        offset_ms: i64,
        extended: Extended,
    ) -> Windows {
        let lookback_ms = self.options.lookback_ms;
        let before_ms = if extended == Extended::No { 0 } else { lookback_ms };
        let reach_ends_ms = (extended == Extended::Smoothed)
            .then(|| ends_ms.iter().map(|end_ms| end_ms.saturating_add(lookback_ms)).collect());
        Windows { length_ms, ends_ms, offset_ms, extended, before_ms, reach_ends_ms }
    }

    /// A smoothed vector selector: every value is interpolated between its neighbours.
    fn stream_smoothed(
        &mut self,
        selector: &VectorSelector,
        span: Span,
        steps: Steps,
        visit: Visit<'_>,
    ) -> Result<()> {
        let offset_ms = self.offset_ms(&selector.offset)?;
        let ends_ms = self.ends(selector.at, offset_ms, steps);
        if ends_ms.is_empty() {
            return Ok(());
        }
        self.hold(6 * steps.count)?;
        let windows = self.reaching(0, ends_ms, offset_ms, Extended::Smoothed);
        let selection = self.selected(selector, &windows)?;
        self.stored_columns(&selection, &windows, |eval, column| {
            let (mut values, mut histograms) = (vec![ABSENT; steps.count], Histograms::new());
            let mut any = false;
            for step in 0..steps.count {
                let point = eval.smoothed_at(&column, step, windows.ends_ms[step], span);
                any |= point.is_some();
                put(&mut values, &mut histograms, step, point);
            }
            if !any {
                return Ok(());
            }
            let row = Row { values: &values, histograms: &histograms };
            visit(eval, column.metric.clone(), column.drop_name, row)
        })
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
        let (ends_ms, length_ms) = windows.reach();
        let (first, last) = (ends_ms[0], ends_ms[ends_ms.len() - 1]);
        let start_ms = first.saturating_sub(length_ms).saturating_add(1);
        let range = TimeRange { start_ms, end_ms: last };
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
                buffers.samples.read(group.as_ref(), at, self)?;
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
        let held = (self.samples, self.series);
        self.hold(grid.count)?;
        let hints = std::mem::replace(&mut self.hints, Hints::StoredBelow);
        self.grids += 1;
        let inner = self.vector(&subquery.expr, grid);
        self.grids -= 1;
        self.hints = hints;
        let inner = inner?;
        let timestamps_ms: Vec<i64> = grid.times().collect();
        let mut buffers = Buffers::default();
        find_bounds(&timestamps_ms, &windows.ends_ms, windows.length_ms, &mut buffers.shared);
        for mut series in inner.series {
            self.tick()?;
            forget_hints(&mut series.histograms);
            buffers.samples = Samples {
                values: series.values,
                histograms: series.histograms,
                ..Samples::default()
            };
            let who = (&series.metric, series.drop_name);
            buffers.visit(self, &timestamps_ms, windows, who, &mut visit)?;
        }
        (self.samples, self.series) = held;
        Ok(())
    }
}

/// One column: its floats and, where they are absent, its native histograms.
#[derive(Default)]
struct Samples {
    values: Vec<f64>,
    /// Empty when there is none.
    histograms: Histograms,
    /// Empty when there is none.
    starts_ms: Vec<i64>,
    stored: Vec<(usize, Arc<Histogram>)>,
}

impl Samples {
    fn read(&mut self, group: &dyn MetricGroup, at: usize, eval: &mut Eval<'_>) -> Result<()> {
        group.read(at, &mut self.values)?;
        eval.room_for(self.values.len() as u64)?;
        self.histograms.clear();
        self.starts_ms.clear();
        if eval.options.features.start_timestamps {
            group.read_starts_ms(at, &mut self.starts_ms)?;
        }
        if !group.may_have_histograms(at) {
            return Ok(());
        }
        group.read_histograms(at, &mut self.stored)?;
        if self.stored.is_empty() {
            return Ok(());
        }
        self.histograms.resize(self.values.len(), None);
        let mut cells = 0;
        let mut before: Option<FloatHistogram> = None;
        for (row, stored) in self.stored.drain(..) {
            // A stale histogram ends the series as a stale float does.
            if stored.is_stale() {
                self.values[row] = STALE_NAN;
                continue;
            }
            let mut histogram = FloatHistogram::from_stored(&stored);
            if eval.hints == Hints::Resolved {
                if let (ResetHint::Unknown, Some(before)) = (histogram.reset_hint, &before) {
                    histogram.reset_hint = match histogram.is_reset_after(before) {
                        true => ResetHint::Reset,
                        false => ResetHint::NotReset,
                    };
                }
                before = Some(histogram.clone());
            }
            let histogram = Arc::new(histogram);
            cells += histogram.cells();
            self.values[row] = IS_HISTOGRAM;
            self.histograms[row] = Some(histogram);
        }
        eval.room_for(cells as u64)
    }
}

/// Reused from column to column.
#[derive(Default)]
struct Buffers {
    samples: Samples,
    shared: Vec<(usize, usize)>,
    own_times: Vec<i64>,
    own_values: Vec<f64>,
    own_histograms: Histograms,
    own_starts_ms: Vec<i64>,
    own_bounds: Vec<(usize, usize)>,
}

impl Buffers {
    fn enter(&mut self, group: &dyn MetricGroup, windows: &Windows) {
        let timestamps_ms = group.timestamps_ms();
        let (ends_ms, length_ms) = windows.reach();
        find_bounds(timestamps_ms, ends_ms, length_ms, &mut self.shared);
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
        let samples = &self.samples;
        let missing = |value: &f64| is_absent(*value) || is_stale(*value);
        if !samples.values.iter().any(missing) {
            let column = WindowColumn {
                metric,
                drop_name,
                timestamps_ms,
                values: &samples.values,
                histograms: &samples.histograms,
                starts_ms: &samples.starts_ms,
                bounds: &self.shared,
            };
            return visit(eval, column);
        }
        self.own_times.clear();
        self.own_values.clear();
        self.own_histograms.clear();
        self.own_starts_ms.clear();
        for (at, (ts_ms, value)) in timestamps_ms.iter().zip(&samples.values).enumerate() {
            if missing(value) {
                continue;
            }
            self.own_times.push(*ts_ms);
            self.own_values.push(*value);
            self.own_histograms.extend(samples.histograms.get(at).cloned());
            self.own_starts_ms.extend(samples.starts_ms.get(at));
        }
        if self.own_times.is_empty() {
            return Ok(());
        }
        let (ends_ms, length_ms) = windows.reach();
        find_bounds(&self.own_times, ends_ms, length_ms, &mut self.own_bounds);
        visit(
            eval,
            WindowColumn {
                metric,
                drop_name,
                timestamps_ms: &self.own_times,
                values: &self.own_values,
                histograms: &self.own_histograms,
                starts_ms: &self.own_starts_ms,
                bounds: &self.own_bounds,
            },
        )
    }
}

/// Forgets what is known about resets: a subquery may have skipped the samples that it was true of.
fn forget_hints(histograms: &mut Histograms) {
    for histogram in histograms.iter_mut().flatten() {
        if matches!(histogram.reset_hint, ResetHint::Reset | ResetHint::NotReset) {
            Arc::make_mut(histogram).reset_hint = ResetHint::Unknown;
        }
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

/// The newest sample of a window, unless that is a stale marker.
fn newest(values: &[f64], (low, high): (usize, usize)) -> Option<usize> {
    let newest = (low..high).rev().find(|at| !is_absent(values[*at]));
    newest.filter(|at| !is_stale(values[*at]))
}

/// Fills `values`, which is [`ABSENT`] everywhere, with the newest sample of each window of a column
/// of floats; says whether there is any.
pub(super) fn latest_floats(
    timestamps_ms: &[i64],
    column: &[f64],
    bounds: &[(usize, usize)],
    reading: Reading,
    values: &mut [f64],
) -> bool {
    let mut any = false;
    for (out, window) in values.iter_mut().zip(bounds) {
        let Some(at) = newest(column, *window) else { continue };
        any = true;
        *out = match reading {
            Reading::Value => column[at],
            Reading::Presence => 1.0,
            _ => timestamps_ms[at] as f64 / 1000.0,
        };
    }
    any
}

/// Fills a row with the newest sample of each window, unless it is a stale marker; says whether
/// there is any.
fn latest(
    timestamps_ms: &[i64],
    samples: &Samples,
    bounds: &[(usize, usize)],
    reading: Reading,
    (values, histograms): &mut (Vec<f64>, Histograms),
) -> bool {
    values.clear();
    values.resize(bounds.len(), ABSENT);
    histograms.clear();
    let mut any = false;
    for (step, window) in bounds.iter().enumerate() {
        let Some(at) = newest(&samples.values, *window) else { continue };
        values[step] = match reading {
            Reading::Value | Reading::Presence => samples.values[at],
            Reading::Timestamp | Reading::Origin => timestamps_ms[at] as f64 / 1000.0,
            Reading::Start => match samples.starts_ms.get(at) {
                Some(start_ms) => *start_ms as f64 / 1000.0,
                None => continue,
            },
        };
        any = true;
        let histogram = samples.histograms.get(at).and_then(Option::as_ref);
        let kept = matches!(reading, Reading::Value | Reading::Presence | Reading::Origin);
        if let (true, Some(histogram)) = (kept, histogram) {
            if histograms.is_empty() {
                histograms.resize(bounds.len(), None);
            }
            histograms[step] = Some(Arc::clone(histogram));
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
        let values = vec![1.0, STALE_NAN, ABSENT, 4.0];
        let samples = Samples { values, ..Samples::default() };
        let bounds = [(0, 1), (0, 2), (0, 3), (0, 4)];
        let mut row = (Vec::new(), Vec::new());
        assert!(latest(&[1000, 2000, 3000, 4000], &samples, &bounds, Reading::Value, &mut row));
        let values = row.0;
        assert_eq!((values[0], values[3]), (1.0, 4.0));
        assert!(is_absent(values[1]) && is_absent(values[2]));
    }
}
