//! Numbers: the functions that map one number to one, and the sums that keep their last digits.

/// `math.Max` of Go, which a NaN poisons.
pub(super) fn go_max(left: f64, right: f64) -> f64 {
    if left == f64::INFINITY || right == f64::INFINITY {
        f64::INFINITY
    } else if left.is_nan() || right.is_nan() {
        f64::NAN
    } else {
        left.max(right)
    }
}

/// `math.Min` of Go, which a NaN poisons.
pub(super) fn go_min(left: f64, right: f64) -> f64 {
    -go_max(-left, -right)
}

/// A function of one number, by its PromQL name.
pub(super) fn function(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "abs" => f64::abs,
        "acos" => f64::acos,
        "acosh" => f64::acosh,
        "asin" => f64::asin,
        "asinh" => f64::asinh,
        "atan" => f64::atan,
        "atanh" => f64::atanh,
        "ceil" => f64::ceil,
        "cos" => f64::cos,
        "cosh" => f64::cosh,
        "deg" => |value| value * 180.0 / std::f64::consts::PI,
        "exp" => f64::exp,
        "floor" => f64::floor,
        "ln" => f64::ln,
        "log10" => f64::log10,
        "log2" => f64::log2,
        "rad" => |value| value * std::f64::consts::PI / 180.0,
        "sgn" => |value| match value {
            value if value < 0.0 => -1.0,
            value if value > 0.0 => 1.0,
            value => value,
        },
        "sin" => f64::sin,
        "sinh" => f64::sinh,
        "sqrt" => f64::sqrt,
        "tan" => f64::tan,
        "tanh" => f64::tanh,
        _ => return None,
    })
}

/// A sum with Neumaier's compensation: one step returns the new sum and its error.
#[inline]
pub(crate) fn kahan(increment: f64, sum: f64, error: f64) -> (f64, f64) {
    let total = sum + increment;
    let error = if total.is_infinite() {
        0.0
    } else if sum.abs() >= increment.abs() {
        error + ((sum - total) + increment)
    } else {
        error + ((increment - total) + sum)
    };
    (total, error)
}

/// The sum of the values.
pub(super) fn sum(values: impl IntoIterator<Item = f64>) -> f64 {
    let (mut sum, mut error) = (0.0, 0.0);
    for value in values {
        (sum, error) = kahan(value, sum, error);
    }
    if sum.is_infinite() { sum } else { sum + error }
}

/// A mean that is a plain sum until that would overflow, and incremental from there.
#[derive(Clone, Copy, Default)]
pub(super) struct Mean {
    pub(super) count: f64,
    /// The sum; once incremental, the mean.
    pub(super) value: f64,
    /// What the value lacks.
    pub(super) error: f64,
    pub(super) incremental: bool,
}

impl Mean {
    pub(super) fn add(&mut self, value: f64) {
        self.count += 1.0;
        if self.count == 1.0 {
            self.value = value;
            return;
        }
        if !self.incremental {
            let (sum, error) = kahan(value, self.value, self.error);
            if !sum.is_infinite() {
                (self.value, self.error) = (sum, error);
                return;
            }
            self.incremental = true;
            self.value /= self.count - 1.0;
            self.error /= self.count - 1.0;
        }
        let q = (self.count - 1.0) / self.count;
        (self.value, self.error) = kahan(value / self.count, q * self.value, q * self.error);
    }

    pub(super) fn result(&self) -> f64 {
        if self.incremental {
            self.value + self.error
        } else {
            self.value / self.count + self.error / self.count
        }
    }
}

/// Whether a counter began anew between two samples, told by their (start, instant) in milliseconds;
/// a start of 0 is unknown.
pub(super) fn started_anew((old_start, old): (i64, i64), (start, now): (i64, i64)) -> bool {
    if start == 0 || start >= now || start < old {
        return false;
    }
    start > old || (old_start <= old && old_start != 0 && old_start != old)
}

/// Whether a counter is said to have begun before the sample that an earlier run left.
pub(super) fn starts_overlap(old_start: i64, old: i64, start: i64) -> bool {
    start != 0 && start < old && start != old_start
}

/// Slope and value at `origin_ms` of the least-squares line through the samples.
pub(super) fn regression(timestamps_ms: &[i64], values: &[f64], origin_ms: i64) -> (f64, f64) {
    let first = values[0];
    if values.iter().all(|value| *value == first) {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let (mut x, mut y, mut xy, mut xx) = ((0.0, 0.0), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0));
    for (ts_ms, value) in timestamps_ms.iter().zip(values) {
        let at = ts_ms.saturating_sub(origin_ms) as f64 / 1e3;
        x = kahan(at, x.0, x.1);
        y = kahan(*value, y.0, y.1);
        xy = kahan(at * value, xy.0, xy.1);
        xx = kahan(at * at, xx.0, xx.1);
    }
    let n = values.len() as f64;
    let (x, y, xy, xx) = (x.0 + x.1, y.0 + y.1, xy.0 + xy.1, xx.0 + xx.1);
    let slope = (xy - x * y / n) / (xx - x * x / n);
    (slope, y / n - slope * x / n)
}

/// Whether two numbers differ by less than `epsilon` of their sum; all NaN are equal.
pub(super) fn almost_equal(left: f64, right: f64, epsilon: f64) -> bool {
    if left == right || (left.is_nan() && right.is_nan()) {
        return true;
    }
    let (sum, difference) = (left.abs() + right.abs(), (left - right).abs());
    if left == 0.0 || right == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < epsilon * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < epsilon
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_keep_what_a_plain_sum_would_lose() {
        assert_eq!(sum([1e100, 1.0, -1e100]), 1.0);
        assert_eq!(sum([f64::INFINITY, 1.0]), f64::INFINITY);
        let mut mean = Mean::default();
        [f64::MAX, f64::MAX].into_iter().for_each(|value| mean.add(value));
        assert_eq!(mean.result(), f64::MAX);
    }

    #[test]
    fn a_line_is_found_again() {
        let (slope, value) = regression(&[0, 1000, 2000], &[1.0, 3.0, 5.0], 4000);
        assert!(almost_equal(slope, 2.0, 1e-12) && almost_equal(value, 9.0, 1e-12));
    }
}
