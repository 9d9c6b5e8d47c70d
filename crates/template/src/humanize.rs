//! Numbers as people read them: Prometheus' `humanize*` functions and Go's `%.4g`.

/// The number with a metric prefix and four significant digits: `1.235M`, `120m`.
pub fn humanize(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return significant(value, 4);
    }
    let (scaled, prefix) = if value.abs() >= 1.0 {
        grow(value, 1000.0, &["k", "M", "G", "T", "P", "E", "Z", "Y"])
    } else {
        shrink(value)
    };
    format!("{}{prefix}", significant(scaled, 4))
}

/// The number with a binary prefix: `1.177Mi`.
pub(crate) fn humanize_1024(value: f64) -> String {
    if value.abs() <= 1.0 || !value.is_finite() {
        return significant(value, 4);
    }
    let (scaled, prefix) = grow(value, 1024.0, &["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"]);
    format!("{}{prefix}", significant(scaled, 4))
}

/// Seconds as a duration: `1d 2h 3m 4s`, `123.5ms`.
pub fn humanize_duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return significant(seconds, 4);
    }
    if seconds == 0.0 {
        return "0s".to_owned();
    }
    if seconds.abs() < 1.0 {
        let (scaled, prefix) = shrink(seconds);
        return format!("{}{prefix}s", significant(scaled, 4));
    }
    let sign = if seconds < 0.0 { "-" } else { "" };
    // Truncated, as Go's conversion to an integer does.
    let whole = seconds.abs() as u64;
    let (days, hours) = (whole / 86_400, whole / 3600 % 24);
    let (minutes, rest) = (whole / 60 % 60, whole % 60);
    if days > 0 {
        format!("{sign}{days}d {hours}h {minutes}m {rest}s")
    } else if hours > 0 {
        format!("{sign}{hours}h {minutes}m {rest}s")
    } else if minutes > 0 {
        format!("{sign}{minutes}m {rest}s")
    } else {
        format!("{sign}{}s", significant(seconds.abs(), 4))
    }
}

/// A ratio as a percentage: `12.35%`.
pub(crate) fn humanize_percentage(ratio: f64) -> String {
    format!("{}%", significant(ratio * 100.0, 4))
}

/// A value for a message: whole numbers as they are, others with four significant digits.
pub fn short_value(value: f64) -> String {
    if value.is_finite() && value.fract() == 0.0 && value.abs() < 1e15 {
        format!("{value}")
    } else {
        significant(value, 4)
    }
}

fn grow<'a>(mut value: f64, step: f64, prefixes: &[&'a str]) -> (f64, &'a str) {
    let mut prefix = "";
    for next in prefixes {
        if value.abs() < step {
            break;
        }
        prefix = next;
        value /= step;
    }
    (value, prefix)
}

fn shrink(mut value: f64) -> (f64, &'static str) {
    let mut prefix = "";
    for next in ["m", "u", "n", "p", "f", "a", "z", "y"] {
        if value.abs() >= 1.0 {
            break;
        }
        prefix = next;
        value *= 1000.0;
    }
    (value, prefix)
}

/// Go's `%.<digits>g`.
pub(crate) fn significant(value: f64, digits: usize) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{value:.*e}", digits - 1);
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if exponent < -4 || exponent >= digits as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trim_zeros(mantissa), exponent.abs());
    }
    let decimals = (digits as i32 - 1 - exponent).max(0) as usize;
    trim_zeros(&format!("{value:.decimals$}")).to_owned()
}

/// Go's `%v`: the shortest digits that give the number back, with an exponent from 1e+06 on.
pub(crate) fn shortest(value: f64) -> String {
    const EXPONENT_FROM: i32 = 6;
    if !value.is_finite() {
        return significant(value, 4);
    }
    let scientific = format!("{value:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..EXPONENT_FROM).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    format!("{value}")
}

fn trim_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}
