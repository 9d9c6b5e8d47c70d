//! Sample values and the two NaN payloads that mean something.
//!
//! Every other bit pattern of an `f64` is data and passes through the program unchanged,
//! so code that copies values must copy bits and never do arithmetic on the way.

/// Prometheus' stale marker (`model/value/value.go`): the series has ended at this instant.
pub const STALE_NAN: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// The one reserved payload: "this column has no sample in this row".
/// It never enters a store as data: [`canonical`] replaces it at the door.
pub const ABSENT: f64 = f64::from_bits(0x7ff4_0056_4947_4945);

/// The NaN that Prometheus writes for a real NaN.
pub const NORMAL_NAN: f64 = f64::from_bits(0x7ff8_0000_0000_0001);

/// Whether `value` is the stale marker, compared by bits.
#[inline]
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN.to_bits()
}

/// Whether `value` is the "no sample" payload, compared by bits.
#[inline]
pub fn is_absent(value: f64) -> bool {
    value.to_bits() == ABSENT.to_bits()
}

/// `value`, with the reserved payload replaced by an ordinary NaN.
#[inline]
pub fn canonical(value: f64) -> f64 {
    if is_absent(value) { NORMAL_NAN } else { value }
}

/// Formats like Go's `strconv.FormatFloat(v, 'f', -1, 64)`, with Prometheus' `+Inf`, `-Inf`, `NaN`.
pub fn format_value(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() }
    } else {
        format!("{value}")
    }
}

/// Parses a sample value as Go's `strconv.ParseFloat` does for Prometheus' formats:
/// decimal or exponent, `Inf`/`+Inf`/`-Inf`/`Infinity`/`NaN` in any case. `None` when it is not a number.
pub fn parse_value(text: &str) -> Option<f64> {
    match text.parse::<f64>() {
        Ok(value) if value.is_nan() => Some(NORMAL_NAN),
        Ok(value) => Some(value),
        Err(_) => None,
    }
}

/// The `q`-quantile of the values, interpolated; NaN counts as the smallest. Reorders `values`.
pub fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    let order = |left: &f64, right: &f64| match (left.is_nan(), right.is_nan()) {
        (true, true) => std::cmp::Ordering::Equal,
        (true, false) => std::cmp::Ordering::Less,
        (false, true) => std::cmp::Ordering::Greater,
        _ => left.total_cmp(right),
    };
    let last = values.len() - 1;
    let rank = q * last as f64;
    let lower = (rank.floor().max(0.0) as usize).min(last);
    let weight = rank - rank.floor();
    // Two neighbours in order are wanted, not the order of all.
    let (_, &mut low, above) = values.select_nth_unstable_by(lower, order);
    let high = above.iter().copied().min_by(order).unwrap_or(low);
    low * (1.0 - weight) + high * weight
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserved_payloads_are_told_apart_from_ordinary_nan() {
        for (value, stale, absent) in [
            (STALE_NAN, true, false),
            (ABSENT, false, true),
            (NORMAL_NAN, false, false),
            (f64::NAN, false, false),
            (1.0, false, false),
        ] {
            assert_eq!(
                (is_stale(value), is_absent(value)),
                (stale, absent),
                "{:x}",
                value.to_bits()
            );
        }
        assert!(!is_absent(canonical(ABSENT)));
    }

    #[test]
    fn values_print_as_prometheus_prints_them() {
        for (value, text) in [
            (1.0, "1"),
            (0.1, "0.1"),
            (1e21, "1000000000000000000000"),
            (f64::INFINITY, "+Inf"),
            (-0.0, "-0"),
        ] {
            assert_eq!(format_value(value), text);
        }
    }

    #[test]
    fn quantiles_interpolate_and_have_infinite_ends() {
        for (q, wanted) in [(0.5, 2.5), (0.0, 1.0), (1.0, 4.0), (-0.1, f64::NEG_INFINITY)] {
            assert_eq!(quantile(q, &mut [4.0, 1.0, 3.0, 2.0]), wanted, "{q}");
        }
        assert!(quantile(0.0, &mut [1.0, f64::NAN]).is_nan());
    }
}
