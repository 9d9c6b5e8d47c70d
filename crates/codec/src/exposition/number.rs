//! Floats as Go writes and reads them, which is how the formats are defined in practice.

/// Reads a float as Go's `strconv.ParseFloat` does before hexadecimal and underscores were allowed.
/// The error is Go's sentence.
pub(super) fn parse_float(bytes: &[u8]) -> Result<f64, String> {
    if let Some(value) = small_integer(bytes) {
        return Ok(value);
    }
    if bytes.iter().any(|byte| matches!(byte, b'p' | b'P' | b'_')) {
        return Err("unsupported character in float".to_owned());
    }
    let text = String::from_utf8_lossy(bytes);
    match text.parse::<f64>() {
        // Go has a sign before an infinity, and none before what is no number.
        Ok(value) if value.is_nan() && bytes.len() == 3 => Ok(vigie_model::value::NORMAL_NAN),
        Ok(value) if value.is_nan() => {
            Err(format!("strconv.ParseFloat: parsing {}: invalid syntax", quote(bytes)))
        }
        Ok(value) if value.is_infinite() && bytes.iter().any(u8::is_ascii_digit) => {
            Err(format!("strconv.ParseFloat: parsing {}: value out of range", quote(bytes)))
        }
        Ok(value) => Ok(value),
        Err(_) => Err(format!("strconv.ParseFloat: parsing {}: invalid syntax", quote(bytes))),
    }
}

/// Most samples are small counts; fifteen digits fit a float exactly.
#[inline]
fn small_integer(bytes: &[u8]) -> Option<f64> {
    if bytes.is_empty() || bytes.len() > 15 {
        return None;
    }
    let mut value = 0u64;
    for &byte in bytes {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    Some(value as f64)
}

/// Longest piece of a body in an error text: a line may be as long as the body.
const QUOTED_BYTES_MAX: usize = 4096;

/// Go's `%q`, near enough for error texts: bytes outside UTF-8 as `\xff`. What is very long is cut.
pub(super) fn quote(bytes: &[u8]) -> String {
    if let Some(start) = bytes.get(..QUOTED_BYTES_MAX).filter(|start| start.len() < bytes.len()) {
        return quote(start) + "...";
    }
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if c.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out.push('"');
    out
}

/// Go's `strconv.FormatFloat(v, 'g', -1, 64)` with Prometheus' `+Inf`, `-Inf` and `NaN`:
/// the form in which Prometheus' client libraries write values.
pub fn format_float(value: f64) -> String {
    if value.is_nan() || value.is_infinite() || value == 0.0 {
        return vigie_model::value::format_value(value);
    }
    let scientific = format!("{value:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    // For 'g' with the shortest precision Go decides as if the precision were six.
    if (-4..6).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// Prometheus 3's form of bucket bounds and quantiles: like [`format_float`], with `.0` where
/// neither a point nor an exponent stands.
pub fn format_openmetrics_float(value: f64) -> String {
    let mut text = format_float(value);
    if value.is_finite() && !text.contains(['e', '.']) {
        text.push_str(".0");
    }
    text
}
