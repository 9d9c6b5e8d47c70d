//! `anchored` and `smoothed`: windows that know what their samples were at their very ends.
//!
//! An anchored window begins with the last sample at or before its start; a smoothed one with a value
//! interpolated between the samples on both sides of its start, and ends so, too. Differences are
//! then not extrapolated (`extendedRate` in `promql/functions.go`).

use super::kernels::Window;
use super::native_kernels::NativeWindow;
use super::notes::Note;
use super::select::WindowColumn;
use super::value::Point;
use super::{Eval, Result, execution};
use crate::native::FloatHistogram;
use crate::syntax::{Extended, Span};
use std::sync::Arc;
use vigie_model::histogram::ResetHint;

/// Refuses functions that would count the samples outside the window.
pub(super) fn check(extended: Extended, function: &str) -> Result<()> {
    let safe: &[&str] = match extended {
        Extended::No => return Ok(()),
        Extended::Anchored => &["changes", "delta", "increase", "rate", "resets"],
        Extended::Smoothed => &["delta", "increase", "rate"],
    };
    if safe.contains(&function) {
        return Ok(());
    }
    let (modifier, safe) = (extended.as_str(), safe.join(", "));
    Err(execution(format!(
        "{modifier} modifier can only be used with: {safe} - not with {function}"
    )))
}

/// Where the difference over a window begins and ends among its samples.
struct Ends {
    first: usize,
    last: usize,
    smoothed: bool,
}

impl Ends {
    fn of(w: &Window<'_>, smoothed: bool) -> Option<Ends> {
        let times = w.timestamps_ms;
        let mut last = times.len().checked_sub(1)?;
        let first = times[..last].partition_point(|ts_ms| *ts_ms <= w.start_ms).saturating_sub(1);
        if smoothed {
            last = times[..last].partition_point(|ts_ms| *ts_ms < w.end_ms);
        }
        if times[last] <= w.start_ms || (smoothed && times[first] > w.end_ms) {
            return None;
        }
        Some(Ends { first, last, smoothed })
    }
}

/// The value between two samples; a counter that was reset started at zero.
fn between(w: &Window<'_>, at: usize, ts_ms: i64, is_counter: bool) -> f64 {
    let (mut old, new) = (w.values[at], w.values[at + 1]);
    let (before, after) = (w.timestamps_ms[at], w.timestamps_ms[at + 1]);
    if is_counter && new < old {
        old = 0.0;
    }
    old + (new - old) * (ts_ms - before) as f64 / (after - before) as f64
}

/// The values at both ends of the window.
fn float_ends(w: &Window<'_>, ends: &Ends, is_counter: bool) -> (f64, f64) {
    let left = match ends.smoothed && w.timestamps_ms[ends.first] < w.start_ms {
        true => between(w, ends.first, w.start_ms, is_counter),
        false => w.values[ends.first],
    };
    let right = match ends.smoothed && ends.last > 0 && w.timestamps_ms[ends.last] > w.end_ms {
        true => between(w, ends.last - 1, w.end_ms, is_counter),
        false => w.values[ends.last],
    };
    (left, right)
}

/// The samples strictly inside the window.
fn inside(w: &Window<'_>, ends: &Ends) -> std::ops::Range<usize> {
    let first = ends.first + usize::from(w.timestamps_ms[ends.first] <= w.start_ms);
    let last = ends.last + usize::from(w.timestamps_ms[ends.last] < w.end_ms);
    first..last.max(first)
}

/// `rate`, `increase` and `delta` of floats.
fn float_difference(w: &Window<'_>, smoothed: bool, name: &str) -> Option<f64> {
    let is_counter = name != "delta";
    let ends = Ends::of(w, smoothed)?;
    let (left, right) = float_ends(w, &ends, is_counter);
    let mut result = right - left;
    if is_counter {
        let mut before = left;
        for value in w.values[inside(w, &ends)].iter().chain([&right]) {
            if *value < before {
                result += before;
            }
            before = *value;
        }
    }
    Some(if name == "rate" { result / seconds(w) } else { result })
}

fn seconds(w: &Window<'_>) -> f64 {
    w.end_ms.saturating_sub(w.start_ms) as f64 / 1000.0
}

/// The points of an extended range selector: its ends and what lies between.
pub(super) fn points(w: &Window<'_>, extended: Extended) -> Vec<(i64, f64)> {
    let Some(ends) = Ends::of(w, extended == Extended::Smoothed) else { return Vec::new() };
    let (left, right) = float_ends(w, &ends, false);
    let mut points = vec![(w.start_ms, left)];
    points.extend(inside(w, &ends).map(|at| (w.timestamps_ms[at], w.values[at])));
    points.push((w.end_ms, right));
    points
}

/// The window from the last sample at or before its start; nothing when no sample follows.
fn anchored(w: &NativeWindow<'_>) -> Option<usize> {
    let times = w.base.timestamps_ms;
    let first = times.partition_point(|ts_ms| *ts_ms <= w.base.start_ms);
    (first < times.len()).then(|| first.saturating_sub(1))
}

impl Eval<'_> {
    /// Evaluates a function over an extended window; `plain` is what it is over any other.
    pub(super) fn extended_kernel(
        &mut self,
        name: &str,
        extended: Extended,
        w: &NativeWindow<'_>,
        plain: impl FnOnce(&mut Self, NativeWindow<'_>) -> Option<Point>,
    ) -> Option<Point> {
        if matches!(name, "changes" | "resets") {
            let from = anchored(w)?;
            let base = Window {
                timestamps_ms: &w.base.timestamps_ms[from..],
                values: &w.base.values[from..],
                starts_ms: w.base.starts_ms.get(from..).unwrap_or(&[]),
                ..w.base
            };
            let histograms = w.histograms.get(from..).unwrap_or(&[]);
            return plain(self, NativeWindow { base, histograms, ..*w });
        }
        let smoothed = extended == Extended::Smoothed;
        let natives = w.histograms.iter().flatten().count();
        if natives == 0 {
            return float_difference(&w.base, smoothed, name).map(Point::Float);
        }
        if natives < w.base.values.len() {
            self.notes.told(&Note::MixedFloats(w.metric.to_owned()), w.span);
            return None;
        }
        self.native_difference_between_ends(name, smoothed, w)
    }

    fn native_difference_between_ends(
        &mut self,
        name: &str,
        smoothed: bool,
        w: &NativeWindow<'_>,
    ) -> Option<Point> {
        let is_counter = name != "delta";
        let all: Vec<&Arc<FloatHistogram>> = w.histograms.iter().flatten().collect();
        let ends = Ends::of(&w.base, smoothed)?;
        let used = &all[ends.first..=ends.last];
        if used.iter().any(|one| one.has_custom_buckets() != used[0].has_custom_buckets()) {
            self.notes.told(&Note::MixedCustom(w.metric.to_owned()), w.span);
            return None;
        }
        if is_counter && used.iter().any(|one| one.reset_hint == ResetHint::Gauge) {
            self.notes.told(&Note::NotCounter(w.metric.to_owned()), w.span);
        }
        let times = w.base.timestamps_ms;
        let left = match smoothed && times[ends.first] < w.base.start_ms {
            true => self.native_between(&all, ends.first, w.base.start_ms, is_counter, w)?,
            false => FloatHistogram::clone(all[ends.first]),
        };
        let right = match smoothed && ends.last > 0 && times[ends.last] > w.base.end_ms {
            true => self.native_between(&all, ends.last - 1, w.base.end_ms, is_counter, w)?,
            false => FloatHistogram::clone(all[ends.last]),
        };
        let gauge = |one: &FloatHistogram| one.reset_hint == ResetHint::Gauge;
        if !is_counter && !(gauge(&left) && gauge(&right)) {
            self.notes.told(&Note::NotGauge(w.metric.to_owned()), w.span);
        }
        let mut result = right.clone();
        self.take_from(&mut result, &left, w)?;
        if is_counter && let Some(lost) = self.native_correction(&all, &ends, (&left, &right), w)? {
            self.add_to(&mut result, &lost, w)?;
        }
        if name == "rate" {
            result = result.div(seconds(&w.base));
        }
        result.reset_hint = ResetHint::Gauge;
        Some(Point::Histogram(Arc::new(result.compact())))
    }

    /// What the counter had reached before each reset; the outer `None` is a failure.
    fn native_correction(
        &mut self,
        all: &[&Arc<FloatHistogram>],
        ends: &Ends,
        (left, right): (&FloatHistogram, &FloatHistogram),
        w: &NativeWindow<'_>,
    ) -> Option<Option<FloatHistogram>> {
        let (mut first, mut before) = (ends.first + 1, left);
        if ends.smoothed
            && w.base.timestamps_ms[ends.first] < w.base.start_ms
            && all[ends.first + 1].is_reset_after(all[ends.first])
        {
            // The value at the start was interpolated over this reset already.
            before = all[ends.first + 1];
            first += 1;
        }
        if first > ends.last {
            return Some(None);
        }
        let mut lost: Option<FloatHistogram> = None;
        let between = all[first..ends.last.max(first)].iter().map(|one| &***one);
        for now in between.chain([right]) {
            if now.is_reset_after(before) {
                match &mut lost {
                    None => lost = Some(before.clone()),
                    Some(lost) => self.add_to(lost, before, w)?,
                }
            }
            before = now;
        }
        Some(lost)
    }

    /// The histogram between two samples; a counter that was reset started at zero.
    fn native_between(
        &mut self,
        all: &[&Arc<FloatHistogram>],
        at: usize,
        ts_ms: i64,
        is_counter: bool,
        w: &NativeWindow<'_>,
    ) -> Option<FloatHistogram> {
        let (old, new) = (all[at], all[at + 1]);
        let (before, after) = (w.base.timestamps_ms[at], w.base.timestamps_ms[at + 1]);
        if ts_ms == before {
            return Some(FloatHistogram::clone(old));
        }
        if ts_ms == after {
            return Some(FloatHistogram::clone(new));
        }
        let fraction = (ts_ms - before) as f64 / (after - before) as f64;
        if is_counter && new.is_reset_after(old) {
            return Some(FloatHistogram::clone(new).mul(fraction));
        }
        let mut result = FloatHistogram::clone(new);
        self.take_from(&mut result, old, w)?;
        let mut result = result.mul(fraction);
        self.add_to(&mut result, old, w)?;
        Some(result)
    }

    /// The value of a smoothed vector selector at one step.
    pub(super) fn smoothed_at(
        &mut self,
        column: &WindowColumn<'_>,
        step: usize,
        at_ms: i64,
        span: Span,
    ) -> Option<Point> {
        let (low, high) = column.bounds[step];
        if low == high {
            return None;
        }
        let labels = column.metric.labels();
        let metric = labels.metric_name().unwrap_or("");
        let base = Window {
            timestamps_ms: &column.timestamps_ms[low..high],
            values: &column.values[low..high],
            ..Window::nothing(span)
        };
        let histograms = column.histograms.get(low..high).unwrap_or(&[]);
        let w = NativeWindow { base, histograms, metric, span };
        let next = base.timestamps_ms.partition_point(|ts_ms| *ts_ms < at_ms);
        let exact = base.timestamps_ms.get(next) == Some(&at_ms);
        let all: Vec<&Arc<FloatHistogram>> = histograms.iter().flatten().collect();
        if all.is_empty() {
            return match next {
                next if exact => Some(base.values[next]),
                0 => None,
                next if next < base.values.len() => Some(between(&base, next - 1, at_ms, false)),
                next => Some(base.values[next - 1]),
            }
            .map(Point::Float);
        }
        if all.len() < base.values.len() {
            self.notes.told(&Note::MixedFloats(metric.to_owned()), span);
            return None;
        }
        if exact {
            return Some(Point::Histogram(Arc::clone(all[next])));
        }
        let before = next.checked_sub(1)?;
        if next == all.len() {
            let mut last = FloatHistogram::clone(all[before]);
            last.reset_hint = ResetHint::Unknown;
            return Some(Point::Histogram(Arc::new(last)));
        }
        let (old, new) = (all[before], all[next]);
        if old.has_custom_buckets() != new.has_custom_buckets() {
            self.notes.told(&Note::MixedCustom(metric.to_owned()), span);
            return None;
        }
        let gauge = |one: &FloatHistogram| one.reset_hint == ResetHint::Gauge;
        let is_counter = !gauge(old) || !gauge(new);
        let result = self.native_between(&all, before, at_ms, is_counter, &w)?;
        Some(Point::Histogram(Arc::new(result)))
    }
}
