//! Alertmanager's matcher texts: `severity="high"`, `severity=~"a|b"`, `team=ops`, several with commas.

use vigie_model::{MatchOp, Matcher};

/// Reads one or more matchers; braces around them are allowed. The error says what was expected where.
pub fn parse_matchers(text: &str) -> Result<Vec<Matcher>, String> {
    let inner = text.trim();
    let inner = inner.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(inner);
    let mut rest = inner.trim();
    let mut matchers = Vec::new();
    while !rest.is_empty() {
        let (matcher, after) = parse_one(text, rest)?;
        matchers.push(matcher);
        rest = after.trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after.trim_start(),
            None if rest.is_empty() => {}
            None => {
                return Err(format!(
                    "bad matcher format: {text}: expected a comma before {rest:?}"
                ));
            }
        }
    }
    Ok(matchers)
}

fn parse_one<'a>(whole: &str, text: &'a str) -> Result<(Matcher, &'a str), String> {
    let bad =
        |what: &str| format!("bad matcher format: {whole}: {what}, for example severity=\"high\"");
    let (name, rest) = word(text).map_err(|what| bad(&what))?;
    let rest = rest.trim_start();
    let (op, rest) = [
        ("=~", MatchOp::Regex),
        ("!~", MatchOp::NotRegex),
        ("!=", MatchOp::NotEqual),
        ("=", MatchOp::Equal),
    ]
    .into_iter()
    .find_map(|(sign, op)| rest.strip_prefix(sign).map(|rest| (op, rest)))
    .ok_or_else(|| bad("expected one of = != =~ !~ after the label's name"))?;
    let (value, rest) = word(rest.trim_start()).map_err(|what| bad(&what))?;
    if name.is_empty() {
        return Err(bad("expected a label's name"));
    }
    Ok((Matcher::new(name, op, value).map_err(|error| error.to_string())?, rest))
}

/// A quoted text or a bare word up to an operator, a comma or a brace.
fn word(text: &str) -> Result<(String, &str), String> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(['=', '!', '~', ',', '{', '}', '"']).unwrap_or(text.len());
        return Ok((text[..end].trim().to_owned(), &text[end..]));
    };
    let (mut out, mut chars) = (String::new(), quoted.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((out, &quoted[at + 1..])),
            '\\' => match chars.next() {
                Some((_, 'n')) => out.push('\n'),
                Some((_, c @ ('"' | '\\'))) => out.push(c),
                Some((_, c)) => out.extend(['\\', c]),
                None => break,
            },
            c => out.push(c),
        }
    }
    Err("a quote is not closed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matcher_texts_are_read_as_alertmanager_reads_them() {
        for (text, wanted) in [
            (r#"severity="high""#, r#"severity="high""#),
            ("severity=high", r#"severity="high""#),
            (r#"{a=~"x|y", b != z}"#, r#"a=~"x|y" b!="z""#),
            (r#"a="b\"c\\d""#, r#"a="b\"c\\d""#),
            ("a=", r#"a="""#),
        ] {
            let got = parse_matchers(text)
                .unwrap()
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" ");
            assert_eq!(got, wanted, "{text}");
        }
        for text in ["severity", "=x", r#"a="b"#, r#"a="b" c="d""#, r#"a=~"(""#] {
            assert!(parse_matchers(text).is_err(), "{text}");
        }
    }
}
