//! Text as Go's `strconv` and `fmt` write it: `%g`, and the escapes of literals.

use super::ast::Text;

/// `fmt.Sprintf("%.{digits}g", value)`; without digits, the shortest text that reads back the same.
pub(crate) fn go_general(value: f64, digits: Option<usize>) -> String {
    if value.is_nan() || value.is_infinite() {
        return vigie_model::value::format_value(value);
    }
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    let scientific = match digits {
        Some(digits) => format!("{value:.*e}", digits.max(1) - 1),
        None => format!("{value:e}"),
    };
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trimmed = if digits.is_some() && mantissa.contains('.') {
        mantissa.trim_end_matches('0').trim_end_matches('.')
    } else {
        mantissa
    };
    let precision = digits.map_or(21, |digits| digits.max(1) as i32);
    if exponent < -4 || exponent >= precision {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{trimmed}e{sign}{:02}", exponent.abs());
    }
    match digits {
        Some(digits) => {
            let decimals = (digits.max(1) as i32 - 1 - exponent).max(0) as usize;
            let fixed = format!("{value:.decimals$}");
            if fixed.contains('.') {
                fixed.trim_end_matches('0').trim_end_matches('.').to_owned()
            } else {
                fixed
            }
        }
        None => format!("{value}"),
    }
}

/// The contents of a literal, quotes included, whose escapes the lexer has checked.
pub(super) fn unquote(literal: &str) -> Text {
    let inner = &literal[1..literal.len() - 1];
    if literal.starts_with('`') || !inner.contains('\\') {
        return Text { value: inner.to_owned(), raw: None };
    }
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        rest = push_escape(&mut bytes, &rest[at + 1..]);
    }
    bytes.extend_from_slice(rest.as_bytes());
    match String::from_utf8(bytes) {
        Ok(value) => Text { value, raw: None },
        Err(error) => Text {
            value: String::from_utf8_lossy(error.as_bytes()).into_owned(),
            raw: Some(error.into_bytes()),
        },
    }
}

/// Decodes one escape after its backslash and returns what follows it.
fn push_escape<'a>(bytes: &mut Vec<u8>, rest: &'a str) -> &'a str {
    let mut number = |skip: usize, digits: usize, radix: u32, is_char: bool| {
        let code = u32::from_str_radix(&rest[skip..skip + digits], radix).unwrap_or(0xfffd);
        if is_char {
            let c = char::from_u32(code).unwrap_or('\u{fffd}');
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            bytes.push(code as u8);
        }
        &rest[skip + digits..]
    };
    let simple = match rest.as_bytes().first() {
        Some(b'x') => return number(1, 2, 16, false),
        Some(b'u') => return number(1, 4, 16, true),
        Some(b'U') => return number(1, 8, 16, true),
        Some(b'0'..=b'7') => return number(0, 3, 8, false),
        Some(b'a') => 7,
        Some(b'b') => 8,
        Some(b'f') => 12,
        Some(b'n') => b'\n',
        Some(b'r') => b'\r',
        Some(b't') => b'\t',
        Some(b'v') => 11,
        Some(other) => *other,
        None => return rest,
    };
    bytes.push(simple);
    &rest[1..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_print_as_go_prints_them() {
        for (value, digits, text) in [
            (0.05, Some(2), "0.05"),
            (1234.5, Some(2), "1.2e+03"),
            (100.0, None, "100"),
            (1e21, None, "1e+21"),
            (0.00001, None, "1e-05"),
            (f64::NAN, None, "NaN"),
            (-1.0, None, "-1"),
        ] {
            assert_eq!(go_general(value, digits), text, "{value}");
        }
    }

    #[test]
    fn literals_lose_their_quotes_and_escapes() {
        for (literal, value) in
            [(r#""a\"b""#, "a\"b"), ("`a\\d`", "a\\d"), (r"'\u00e9\x41\101\n'", "é\u{41}\u{41}\n")]
        {
            assert_eq!(unquote(literal).value, value);
        }
        assert_eq!(vigie_model::go_quote(unquote(r#""a\xc5z""#).bytes()), r#""a\xc5z""#);
    }
}
