//! Text in quotes as Go's `strconv.Quote` writes it, which error texts, label sets and canonical
//! queries of all the originals hold.

/// Bytes that are text, if not always UTF-8, in double quotes.
pub fn go_quote(text: impl AsRef<[u8]>) -> String {
    let bytes = text.as_ref();
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '"' { out.push_str("\\\"") } else { push_quoted(&mut out, c) }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out.push('"');
    out
}

/// A character in single quotes, as `fmt.Sprintf("%q", c)` writes it.
pub fn go_quote_char(c: char) -> String {
    let mut out = String::from("'");
    if c == '\'' {
        out.push_str("\\'")
    } else {
        push_quoted(&mut out, c)
    }
    out.push('\'');
    out
}

fn push_quoted(out: &mut String, c: char) {
    match c {
        '\\' => out.push_str("\\\\"),
        '\u{7}' => out.push_str("\\a"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{b}' => out.push_str("\\v"),
        c if c == ' ' || !(c.is_control() || c.is_whitespace() || c == '\u{feff}') => out.push(c),
        c if (c as u32) < 0x80 => out.push_str(&format!("\\x{:02x}", c as u32)),
        c if (c as u32) < 0x1_0000 => out.push_str(&format!("\\u{:04x}", c as u32)),
        c => out.push_str(&format!("\\U{:08x}", c as u32)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_quoted_as_go_does() {
        for (text, quoted) in [
            (&b"plain"[..], r#""plain""#),
            (b"a\"b\\c\nd'", r#""a\"b\\c\nd'""#),
            ("é\u{a0}\u{7f}".as_bytes(), r#""é\u00a0\x7f""#),
            (b"a\xc5z", r#""a\xc5z""#),
        ] {
            assert_eq!(go_quote(text), quoted);
        }
        assert_eq!((go_quote_char('\''), go_quote_char('"')), (r"'\''".into(), "'\"'".into()));
    }
}
