//! Sizes as people write them in configuration files and flags.

/// Parses a size as Prometheus' flags do (`alecthomas/units`, `Base2Bytes`): a number and one of
/// B, KB, MB, GB, TB, which count in powers of 1,024; the spellings KiB … TiB mean the same.
///
/// # Errors
/// When it is not such a text, or larger than 2^63 bytes.
pub fn parse_size_bytes(text: &str) -> Result<u64, String> {
    let wrong = || {
        format!("not a valid size: {text:?}: write a number and a unit, for example 512MB or 20GB")
    };
    let text_end = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(text_end);
    let number: f64 = number.trim().parse().map_err(|_| wrong())?;
    let power = match unit.to_ascii_uppercase().as_str() {
        "B" => 0,
        "KB" | "KIB" => 1,
        "MB" | "MIB" => 2,
        "GB" | "GIB" => 3,
        "TB" | "TIB" => 4,
        _ => return Err(wrong()),
    };
    let bytes = number * 1024f64.powi(power);
    if !(0.0..9.2e18).contains(&bytes) {
        return Err(wrong());
    }
    Ok(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_count_in_powers_of_1024() {
        for (text, wanted) in [
            ("512MB", Some(512 << 20)),
            ("20GiB", Some(20 << 30)),
            ("1.5 KB", Some(1536)),
            ("0B", Some(0)),
            ("1tb", Some(1 << 40)),
            ("512", None),
            ("MB", None),
            ("-1GB", None),
            ("1XB", None),
            ("1e30TB", None),
        ] {
            assert_eq!(parse_size_bytes(text).ok(), wanted, "{text}");
        }
    }
}
