//! What `rate`, `increase` and `delta` know of a window before they see a value: how far its samples
//! reach and by which factor their difference is stretched to the window's ends.
//!
//! It depends on timestamps only, so series that share their timestamps share it too; what a value
//! can still change is the point at which a counter would have been zero.
//! The order of the floating-point operations is Prometheus' (`promql/functions.go`,
//! `extrapolatedRate`), so that the last bit is the same.

/// A window of at least two samples.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    /// Seconds from the first sample to the last.
    sampled_s: f64,
    /// Seconds that count before the first sample and behind the last.
    to_start_s: f64,
    to_end_s: f64,
    /// Seconds to divide by for a rate, 1 for none: dividing by it changes no bit.
    divisor_s: f64,
    factor: f64,
}

impl Stretch {
    /// For the samples from `first_ms` to `last_ms` with `gaps` gaps between them (at least one), in
    /// the window from `start_ms` (open) to `end_ms`.
    pub(super) fn new(
        (first_ms, last_ms, gaps): (i64, i64, usize),
        (start_ms, end_ms): (i64, i64),
        is_rate: bool,
    ) -> Stretch {
        let seconds = |ms: i64| ms as f64 / 1000.0;
        let sampled_s = seconds(last_ms - first_ms);
        let gap_s = sampled_s / gaps as f64;
        let bounded = |distance_s: f64| {
            if distance_s >= gap_s * 1.1 { gap_s / 2.0 } else { distance_s }
        };
        let to_start_s = bounded(seconds(first_ms.saturating_sub(start_ms)));
        let to_end_s = bounded(seconds(end_ms.saturating_sub(last_ms)));
        let divisor_s = if is_rate { seconds(end_ms.saturating_sub(start_ms)) } else { 1.0 };
        let factor = (sampled_s + to_start_s + to_end_s) / sampled_s / divisor_s;
        Stretch { sampled_s, to_start_s, to_end_s, divisor_s, factor }
    }

    /// For a counter that began at `began_ms`, inside the window: nothing counts before that. There
    /// may be one sample only.
    pub(super) fn begun(
        began_ms: i64,
        (first_ms, last_ms, gaps): (i64, i64, usize),
        (start_ms, end_ms): (i64, i64),
        is_rate: bool,
    ) -> Stretch {
        let seconds = |ms: i64| ms as f64 / 1000.0;
        let gap_s = if gaps > 0 { seconds(last_ms - first_ms) / gaps as f64 } else { 0.0 };
        let mut to_end_s = seconds(end_ms.saturating_sub(last_ms));
        if to_end_s >= gap_s * 1.1 {
            to_end_s = gap_s / 2.0;
        }
        let sampled_s = seconds(last_ms - began_ms);
        let divisor_s = if is_rate { seconds(end_ms.saturating_sub(start_ms)) } else { 1.0 };
        let whole = if sampled_s == 0.0 { 1.0 } else { (sampled_s + to_end_s) / sampled_s };
        let factor = whole / divisor_s;
        Stretch { sampled_s, to_start_s: 0.0, to_end_s, divisor_s, factor }
    }

    /// The answer for a window whose first value is `first` and whose values rise by `rise`.
    #[inline]
    pub(super) fn of(&self, first: f64, rise: f64, is_counter: bool) -> f64 {
        rise * self.factor_of(first, rise, is_counter)
    }

    /// The factor for a window whose first value is `first` and whose values rise by `rise`.
    #[inline]
    pub(super) fn factor_of(&self, first: f64, rise: f64, is_counter: bool) -> f64 {
        if !is_counter || !(rise > 0.0) || !(first >= 0.0) {
            return self.factor;
        }
        // A counter cannot have been below zero. Most are far above it, which a product shows with
        // room to spare for its rounding; only the others pay for a division.
        let reach = self.sampled_s * first;
        if reach > self.to_start_s * rise * 1.000_001 && reach.is_finite() {
            return self.factor;
        }
        let to_zero_s = self.sampled_s * (first / rise);
        if to_zero_s >= self.to_start_s {
            return self.factor;
        }
        let span_s = self.sampled_s + to_zero_s + self.to_end_s;
        span_s / self.sampled_s / self.divisor_s
    }
}
