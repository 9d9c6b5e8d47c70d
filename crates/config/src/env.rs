//! `${VAR}` and `${VAR:-default}` in a file's text (Loki's `--config.expand-env`).

use crate::error::{ConfigError, Finding};

/// Replaces every variable; `$$` is a dollar sign. Lines that are comments stay as they are.
/// `lookup` answers for the environment.
pub(crate) fn expand(
    file: &str,
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<String, ConfigError> {
    let mut out = String::with_capacity(text.len());
    for (at, line) in text.split_inclusive('\n').enumerate() {
        if line.trim_start().starts_with('#') {
            out.push_str(line);
            continue;
        }
        expand_line(line, lookup, &mut out).map_err(|(column, message)| {
            ConfigError::Wrong(Finding::new(file, text, at + 1, column, message))
        })?;
    }
    Ok(out)
}

/// Adds the line to `out`, or says at which column what is wrong.
fn expand_line(
    line: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    out: &mut String,
) -> Result<(), (usize, String)> {
    let mut rest = line;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let Some((inner, after)) = after.strip_prefix('{').and_then(|text| text.split_once('}'))
        else {
            out.push('$');
            rest = after;
            continue;
        };
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        let column = line[..line.len() - rest.len() + at].chars().count() + 1;
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            let message = format!(
                "${{{inner}}} names no variable: write ${{NAME}}, ${{NAME:-default}}, or $${{ for the text itself"
            );
            return Err((column, message));
        }
        let value = lookup(name).filter(|value| !value.is_empty());
        match value.as_deref().or(default) {
            Some(value) => out.push_str(value),
            None => {
                let message = format!(
                    "the variable {name} is not set and has no default: set it, or write ${{{name}:-default}} ($${{{name}}} for the text itself)"
                );
                return Err((column, message));
            }
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_and_missing_ones_named() {
        let lookup = |name: &str| match name {
            "A" => Some("1".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        for (text, wanted) in [
            ("x ${A} ${B:-2} $$ $1", Ok("x 1 2 $ $1")),
            ("${A}${A}\n", Ok("11\n")),
            ("${EMPTY:-d} ${B:-} ${A", Ok("d  ${A")),
            ("# ${B}\n  # ${B}\na: $${B}", Ok("# ${B}\n  # ${B}\na: ${B}")),
            ("a\n${B}", Err("f:2:1: the variable B is not set")),
            ("a\r\né ${A} ${B}", Err("f:2:8: the variable B is not set")),
            ("${EMPTY}", Err("f:1:1: the variable EMPTY is not set")),
            ("r: '${1}'", Err("f:1:5: the variable 1 is not set")),
            ("${A?}", Err("f:1:1: ${A?} names no variable")),
        ] {
            match (expand("f", text, &lookup), wanted) {
                (Ok(got), Ok(wanted)) => assert_eq!(got, wanted),
                (Err(got), Err(wanted)) => assert!(got.to_string().starts_with(wanted), "{got}"),
                (got, wanted) => panic!("{text}: {got:?} against {wanted:?}"),
            }
        }
    }
}
