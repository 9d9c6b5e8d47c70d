//! The functions over windows in which there is a native histogram.
//!
//! Most functions of floats pass histograms over and say so; the counter functions and the sums work
//! on either kind, but not on both in one window.

use super::kernels::{Kernel, Window};
use super::native_aggregate::NativeMean;
use super::notes::Note;
use super::stretch::Stretch;
use super::value::Point;
use super::{Eval, math};
use crate::native::FloatHistogram;
use crate::syntax::Span;
use std::sync::Arc;
use vigie_model::histogram::ResetHint;

/// A window of samples of both kinds.
pub(super) struct NativeWindow<'a> {
    pub(super) base: Window<'a>,
    /// One place per sample.
    pub(super) histograms: &'a [Option<Arc<FloatHistogram>>],
    /// The metric name, for notes.
    pub(super) metric: &'a str,
    /// Where notes point to.
    pub(super) span: Span,
}

/// A histogram with its time and, where known, when its counter began.
#[derive(Clone, Copy)]
struct Dated<'a> {
    ts_ms: i64,
    start_ms: i64,
    histogram: &'a Arc<FloatHistogram>,
}

impl Eval<'_> {
    /// Evaluates the function `name` over a window with histograms.
    pub(super) fn native_kernel(
        &mut self,
        name: &str,
        kernel: Kernel,
        w: &NativeWindow<'_>,
    ) -> Option<Point> {
        let all = w.histograms.iter().all(Option::is_some);
        let last = w.histograms.len() - 1;
        let float = |value: f64| Some(Point::Float(value));
        let point = |at: usize| match &w.histograms[at] {
            Some(histogram) => Some(Point::Histogram(Arc::clone(histogram))),
            None => float(w.base.values[at]),
        };
        match name {
            "count_over_time" => float(w.histograms.len() as f64),
            "present_over_time" | "absent_over_time" => float(1.0),
            "first_over_time" => point(0),
            "last_over_time" => point(last),
            "ts_of_first_over_time" => float(w.base.timestamps_ms[0] as f64 / 1000.0),
            "ts_of_last_over_time" => float(w.base.timestamps_ms[last] as f64 / 1000.0),
            "changes" => float(w.pairs(|_, old, new| old != new)),
            "resets" => float(w.pairs(|starts, old, new| starts || new.is_reset_after(old))),
            "irate" | "idelta" => self.native_last_two(name == "irate", w),
            "avg_over_time" | "sum_over_time" | "rate" | "increase" | "delta" if !all => {
                self.notes.told(&Note::MixedFloats(w.metric.to_owned()), w.span);
                None
            }
            "avg_over_time" | "sum_over_time" => self.native_sum(name == "avg_over_time", w),
            "rate" | "increase" => self.native_extrapolated(w, true, name == "rate"),
            "delta" => self.native_extrapolated(w, false, false),
            _ => self.floats_only(name, kernel, w),
        }
    }

    /// A function that passes histograms over.
    fn floats_only(&mut self, name: &str, kernel: Kernel, w: &NativeWindow<'_>) -> Option<Point> {
        let is_float = |at: &usize| w.histograms[*at].is_none();
        let places: Vec<usize> = (0..w.histograms.len()).filter(is_float).collect();
        if places.is_empty() {
            return None;
        }
        let values: Vec<f64> = places.iter().map(|at| w.base.values[*at]).collect();
        let timestamps_ms: Vec<i64> = places.iter().map(|at| w.base.timestamps_ms[*at]).collect();
        let span = if name == "quantile_over_time" { w.base.first_span } else { w.span };
        self.notes.told(&Note::IgnoredInRange(w.metric.to_owned()), span);
        let window = Window { values: &values, timestamps_ms: &timestamps_ms, ..w.base };
        kernel(&window).map(Point::Float)
    }

    fn native_sum(&mut self, mean: bool, w: &NativeWindow<'_>) -> Option<Point> {
        let mut histograms = w.histograms.iter().flatten();
        let mut sum = NativeMean::new(histograms.next()?, mean);
        let mut is_mixed = false;
        for histogram in histograms {
            if sum.add(histogram).is_err() {
                is_mixed = true;
                break;
            }
        }
        if is_mixed {
            self.notes.told(&Note::MixedCustom(w.metric.to_owned()), w.span);
            return None;
        }
        if sum.resets_collide() {
            self.notes.told(&Note::ResetsCollide("aggregation"), w.span);
        }
        if sum.bounds_differ {
            self.notes.told(&Note::BoundsDiffer("aggregation"), w.span);
        }
        Some(Point::Histogram(Arc::new(sum.result())))
    }

    fn native_last_two(&mut self, is_rate: bool, w: &NativeWindow<'_>) -> Option<Point> {
        let last = w.histograms.len().checked_sub(1)?;
        let before = last.checked_sub(1)?;
        let seconds = (w.base.timestamps_ms[last] - w.base.timestamps_ms[before]) as f64 / 1000.0;
        match (&w.histograms[before], &w.histograms[last]) {
            (None, None) => {
                let (old, new) = (w.base.values[before], w.base.values[last]);
                let is_reset = new < old || w.started_anew(before);
                let difference = if is_rate && is_reset { new } else { new - old };
                Some(Point::Float(if is_rate { difference / seconds } else { difference }))
            }
            (Some(old), Some(new)) => {
                self.check_kind(&[old, new], is_rate, w);
                let mut result = FloatHistogram::clone(new);
                if !is_rate || !(w.started_anew(before) || new.is_reset_after(old)) {
                    self.take_from(&mut result, old, w)?;
                }
                result.reset_hint = ResetHint::Gauge;
                let result = result.compact();
                let result = if is_rate { result.div(seconds) } else { result };
                Some(Point::Histogram(Arc::new(result)))
            }
            _ => {
                self.notes.told(&Note::MixedFloats(w.metric.to_owned()), w.span);
                None
            }
        }
    }

    /// Tells when counters are gauges or gauges counters.
    fn check_kind(&mut self, all: &[&FloatHistogram], is_counter: bool, w: &NativeWindow<'_>) {
        let is_gauge = |histogram: &&FloatHistogram| histogram.reset_hint == ResetHint::Gauge;
        if is_counter && all.iter().any(is_gauge) {
            self.notes.told(&Note::NotCounter(w.metric.to_owned()), w.span);
        }
        if !is_counter && !all.iter().all(is_gauge) {
            self.notes.told(&Note::NotGauge(w.metric.to_owned()), w.span);
        }
    }

    /// Subtracts; without a result the reason is told.
    pub(super) fn take_from(
        &mut self,
        target: &mut FloatHistogram,
        other: &FloatHistogram,
        w: &NativeWindow<'_>,
    ) -> Option<()> {
        let combined = target.sub(other);
        self.note_combined(combined, "subtraction", w)
    }

    /// Adds; without a result the reason is told.
    pub(super) fn add_to(
        &mut self,
        target: &mut FloatHistogram,
        other: &FloatHistogram,
        w: &NativeWindow<'_>,
    ) -> Option<()> {
        let combined = target.add(other);
        self.note_combined(combined, "addition", w)
    }

    fn note_combined(
        &mut self,
        combined: Result<crate::native::Combined, crate::native::Mixed>,
        what: &'static str,
        w: &NativeWindow<'_>,
    ) -> Option<()> {
        match combined {
            Err(_) => {
                self.notes.told(&Note::MixedCustom(w.metric.to_owned()), w.span);
                None
            }
            Ok(combined) => {
                if combined.bounds_differ {
                    self.notes.told(&Note::BoundsDiffer(what), w.span);
                }
                Some(())
            }
        }
    }

    fn native_extrapolated(
        &mut self,
        w: &NativeWindow<'_>,
        is_counter: bool,
        is_rate: bool,
    ) -> Option<Point> {
        let dated = w.dated();
        let (first, last) = (dated[0], dated[dated.len() - 1]);
        let mut result = match dated.len() {
            1 => None,
            _ => Some(self.native_difference(w, &dated, is_counter)?),
        };
        let samples = (first.ts_ms, last.ts_ms, dated.len() - 1);
        let ends = (w.base.start_ms, w.base.end_ms);
        let began = is_counter
            && first.start_ms != 0
            && first.start_ms > w.base.start_ms
            && first.start_ms < first.ts_ms;
        let stretch = if began {
            match &mut result {
                None => result = Some(FloatHistogram::clone(first.histogram)),
                Some(sum) => self.add_to(sum, first.histogram, w)?,
            }
            Stretch::begun(first.start_ms, samples, ends, is_rate)
        } else {
            result.as_ref()?;
            Stretch::new(samples, ends, is_rate)
        };
        let result = result?;
        let factor = stretch.factor_of(first.histogram.count, result.count, is_counter);
        Some(Point::Histogram(Arc::new(result.mul(factor))))
    }

    /// The difference between the last and the first histogram, resets added again.
    fn native_difference(
        &mut self,
        w: &NativeWindow<'_>,
        dated: &[Dated<'_>],
        is_counter: bool,
    ) -> Option<FloatHistogram> {
        let (first, last) = (dated[0].histogram, dated[dated.len() - 1].histogram);
        let gauge = |histogram: &FloatHistogram| histogram.reset_hint == ResetHint::Gauge;
        let mut not_counter = gauge(first) || gauge(last);
        let mut base = Arc::clone(first);
        if is_counter {
            if not_counter {
                self.notes.told(&Note::NotCounter(w.metric.to_owned()), w.span);
            }
            let second = dated[1].histogram;
            if w.started_anew_between(&dated[0], &dated[1]) || second.is_reset_after(first) {
                // What came before the reset does not count, and need not be of the same kind.
                let custom_values = Arc::clone(&second.custom_values);
                base = Arc::new(FloatHistogram::empty(second.schema, custom_values));
            }
        }
        let custom = base.has_custom_buckets();
        let mut schema = last.schema.min(base.schema);
        let mixed = |histogram: &FloatHistogram| histogram.has_custom_buckets() != custom;
        let mut is_mixed = mixed(last);
        if is_counter && !is_mixed {
            for between in &dated[1..dated.len() - 1] {
                not_counter |= gauge(between.histogram);
                schema = schema.min(between.histogram.schema);
                is_mixed |= mixed(between.histogram);
            }
        }
        if is_mixed {
            self.notes.told(&Note::MixedCustom(w.metric.to_owned()), w.span);
            return None;
        }
        if is_counter && not_counter {
            self.notes.told(&Note::NotCounter(w.metric.to_owned()), w.span);
        }
        let mut result = last.at_schema(schema);
        self.take_from(&mut result, &base, w)?;
        if is_counter {
            let mut before = base;
            for pair in dated.windows(2) {
                let now = pair[1].histogram;
                if w.started_anew_between(&pair[0], &pair[1]) || now.is_reset_after(&before) {
                    self.add_to(&mut result, &before, w)?;
                }
                before = Arc::clone(now);
            }
            self.note_overlap(dated, w);
        } else {
            self.check_kind(&[first, last], false, w);
        }
        result.reset_hint = ResetHint::Gauge;
        Some(result.compact())
    }

    fn note_overlap(&mut self, dated: &[Dated<'_>], w: &NativeWindow<'_>) {
        let overlaps = |pair: &[Dated<'_>]| {
            math::starts_overlap(pair[0].start_ms, pair[0].ts_ms, pair[1].start_ms)
        };
        if dated.windows(2).any(overlaps) {
            self.notes.starts_overlap(w.metric, w.span);
        }
    }
}

impl NativeWindow<'_> {
    fn dated(&self) -> Vec<Dated<'_>> {
        let all = self.histograms.iter().enumerate();
        all.filter_map(|(at, histogram)| {
            Some(Dated {
                ts_ms: self.base.timestamps_ms[at],
                start_ms: self.base.starts_ms.get(at).copied().unwrap_or(0),
                histogram: histogram.as_ref()?,
            })
        })
        .collect()
    }

    /// Whether the start timestamps tell of a reset between two samples.
    fn started_anew_between(&self, old: &Dated<'_>, new: &Dated<'_>) -> bool {
        math::started_anew((old.start_ms, old.ts_ms), (new.start_ms, new.ts_ms))
    }

    fn started_anew(&self, old: usize) -> bool {
        self.base.started_anew(old)
    }

    /// How many neighbours differ: floats by the same rule as in windows of floats, kinds always.
    fn pairs(&self, differs: impl Fn(bool, &FloatHistogram, &FloatHistogram) -> bool) -> f64 {
        let values = self.base.values;
        let is_changes = self.base.counts_changes;
        let count = (1..values.len()).filter(|new| {
            let old = new - 1;
            match (&self.histograms[old], &self.histograms[*new]) {
                (Some(before), Some(now)) => differs(self.started_anew(old), before, now),
                (None, None) => {
                    let (before, now) = (values[old], values[*new]);
                    match is_changes {
                        true => before != now && !(before.is_nan() && now.is_nan()),
                        false => now < before || self.started_anew(old),
                    }
                }
                _ => true,
            }
        });
        count.count() as f64
    }
}
